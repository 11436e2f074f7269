#!/usr/bin/env python3
"""Koppelpunt's command line, and the only place where a worker meets its adapters: it builds those, and passes them to the command.

Each command imports what it needs when it runs: `verify` answers in a fraction of a second and knows no broker or store.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Callable, Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

ROOT = Path(__file__).resolve().parent
if str(ROOT) not in sys.path:
    sys.path.insert(0, str(ROOT))

from adapters.cli import Arguments, Parser, Wired, given, home_and_json, home_option, json_option, of  # noqa: E402
from adapters.cli import run as run_command  # noqa: E402

if TYPE_CHECKING:
    from adapters.assembly import Assembly, PortalAssembly
    from adapters.store import Store
    from broker_config.settings import Settings
    from schemas.contracts import Contracts
    from workers.actions import ActionDesk
    from workers.clock import Clock
    from workers.loop import Worker
    from workers.parts import Parts, Tasks
    from workers.register_cache import RegisterCache
    from workers.snapshots import Follower


#: Every command, and what it says of itself in `--help`. What each does is wired below, in `commands`.
COMMANDS = {
    "demo": "a private broker, a small chain, a season's messages with mistakes in them, and what became of them",
    "up": "everything on this machine for real: broker, store, gateway and all workers, until SIGTERM",
    "work": "one worker, for real deployments",
    "status": "what runs, what is queued, what is open, how old register and CRLs are",
    "send": "hand in signed messages over AMQP or HTTPS, and print the receipts",
    "sandbox": "a partner to test against: plays a receiver's WUS endpoint, well or badly",
    "bench": "how fast it is on this machine, beside what a message costs at least",
    "pki": "a test PKI: root, intermediate, party certificates with their OIN, CRL",
    "sign": "an unsigned envelope becomes a signed one",
    "verify": "is this message signed, by whom, and what does the signature cover",
    "settings": "every setting with its value and meaning",
    "topology": "what the broker must look like: check or apply",
    "crl": "revocation lists: fetch them now, so that a revocation counts within seconds",
    "certificate": "our own certificate, the next one, and which is used towards whom",
    "account": "who may look at the portal: accounts, passwords, API tokens; and the portal's own keys",
    "register": "the service register: load, show, change, plan, explain",
    "wsdl": "the WSDL of a dienst version, for a supplier's software",
    "openapi": "the OpenAPI description of everything under /rest, for a supplier's software",
    "validate": "the content of messages: dienst, XSD and rules, without signature",
    "outbox": "what is open",
    "failures": "what fell out, and whose turn it is",
    "message": "one message's whole timeline",
    "retry": "offer again what failed, with the same ids",
    "return": "tell the system that handed it in what was wrong, and that nothing more comes of it here",
    "redirect": "offer it to another endpoint that the register allows",
    "archive": "close without delivery, or reopen",
    "job": "what became of actions on many; pause, resume, approve",
    "resolve": "record whether a delivery of which nobody knew it has arrived",
    "lanes": "receivers' endpoints that fail or are held; hold one, or let it go",
    "proef": "send a test message to a receiver's endpoint, and see what comes back",
    "alerts": "what is amiss, and who was told: take an alert, try an address",
    "contacts": "whom parties want to be told, and how",
    "journal": "the hash-chained journal: verify; and the board that is made of it",
    "prepare": "see to the system packages this needs, through apt where they are missing and we may",
}


def commands() -> dict[str, Wired]:
    """Of each command what adds its options, and what runs.

    `of` names a function of another module. `on` names one that gets, besides its arguments, these parts of what is `Here`, and other
    functions. All others stand below.
    """
    cmds, failed, json = "workers.commands", "workers.job_commands", "workers.tables:print_json"
    wsse, told, hand_in, sandbox = (
        "adapters.wsse_cli",
        "adapters.descriptions_cli",
        "adapters.parties.hand_in",
        "adapters.parties.sandbox_cli",
    )
    both, on_failed = home_and_json, on(f"{failed}:act", "desk", "store", who="who", now="clock.now")
    return {
        "demo": (of("adapters.parties.demo:add_arguments", both), demo),
        "up": (up_arguments, up),
        "work": (work_arguments, work),
        "status": (both, status),
        "send": (of(f"{hand_in}:add_arguments", both), on(f"{hand_in}:run", "settings", print_json=json, print_table="workers.tables:print_table")),
        "sandbox": (of(f"{sandbox}:add_arguments"), on(f"{sandbox}:run", until_signal="workers.supervisor:until_signal")),
        "bench": (of("benchmarks.cli:add_arguments", json_option), of("benchmarks.cli:run")),
        "pki": (of(f"{wsse}:pki_arguments"), of(f"{wsse}:pki_command")),
        "sign": (of(f"{wsse}:sign_arguments"), of(f"{wsse}:sign")),
        "verify": (of(f"{wsse}:verify_arguments"), of(f"{wsse}:verify")),
        "settings": (both, on(f"{cmds}:show_settings", "rows")),
        "topology": (of("adapters.topology_cli:add_arguments", both), on("adapters.topology_cli:run", "keeper", print_json=json)),
        "crl": (of(f"{cmds}:crl_arguments", both), crl),
        "certificate": (of("workers.certificate_commands:add_arguments", within=both), certificate),
        "account": (of("workers.account_commands:add_arguments", within=both), account),
        "register": (of("workers.register_commands:add_arguments", within=both), register),
        "wsdl": (of(f"{told}:wsdl_arguments", home_option), on(f"{told}:wsdl", "contracts", address="settings.gateway_address")),
        "openapi": (of(f"{told}:openapi_arguments", home_option), on(f"{told}:openapi", "contracts", address="settings.gateway_address", print_json=json)),
        "validate": (of("schemas.validate_cli:add_arguments"), on("schemas.validate_cli:run", parse="adapters.soap:parse", contracts="contracts")),
        "outbox": (of(f"{cmds}:outbox_arguments", both), on(f"{cmds}:outbox", "store")),
        "failures": (of(f"{cmds}:failures_arguments", both), on(f"{cmds}:failures", "store")),
        "message": (of(f"{cmds}:message_arguments", both), on(f"{cmds}:message", "store")),
        "retry": (of(f"{failed}:retry_arguments", both), on_failed),
        "return": (of(f"{failed}:return_arguments", both), on_failed),
        "redirect": (of(f"{failed}:redirect_arguments", both), on_failed),
        "archive": (of(f"{failed}:archive_arguments", both), on_failed),
        "job": (of(f"{failed}:job_arguments", both), on(f"{failed}:job", "desk", who="who")),
        "resolve": (of(f"{cmds}:resolve_arguments", both), on(f"{cmds}:resolve", "store", who="who")),
        "lanes": (of("workers.lane_commands:arguments", both), on("workers.lane_commands:lanes", "store.outbox", "register", who="who")),
        "proef": (of("workers.proef_commands:arguments", both), on("workers.proef_commands:proef", "proefs", who="who")),
        "alerts": (of("workers.alert_commands:alerts_arguments", both), alerts),
        "contacts": (of("workers.alert_commands:contacts_arguments", within=both), contacts),
        "journal": (of(f"{cmds}:journal_arguments", both), on(f"{cmds}:journal", "store")),
        "prepare": (of("broker_config.install:add_arguments"), of("broker_config.install:prepare")),
    }  # fmt: skip


def workers() -> dict[str, Callable[[Parts, Assembly], Tasks]]:
    """What each worker but the portal runs: `tasks` of its module, which gets these adapters besides its parts."""
    return {
        "audit": given("workers.dead:tasks"),
        "deliver": given("workers.deliver:tasks", "forwarder", "passes_through"),
        "gateway": _gateway,
        "intake": given("workers.intake:tasks", "contracts", "amqp_verifier"),
        "push": _push,
        "relay": given("workers.relay:tasks", "keeper"),
        "route": given("workers.route:tasks", "contracts.kind"),
        "timetable": _timetable,
    }


def every_worker() -> list[str]:
    """What may be named."""
    return sorted((*workers(), "portal"))


#: Two of the one that works hardest: verifying is half of what a message costs us.
EVERY_WORKER = ("intake", "intake", "relay", "route", "deliver", "audit", "timetable")


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command; returns the exit status: 0 only for success."""
    return run_command(COMMANDS, commands(), list(sys.argv[1:] if argv is None else argv))


# -- what several commands need -------------------------------------------------------------------------------------------------------------


def on(name: str, *parts: str, **named: str) -> Callable[[Arguments], int]:
    """The command `module:name`, with these parts of what is here."""
    call = given(name, *parts, **named)
    return lambda arguments: int(call(arguments, Here(arguments)))


def read_settings(arguments: Arguments) -> Settings:
    """The settings: the environment, read once, and `--home`."""
    from adapters import home

    return home.read_settings(os.environ, home=getattr(arguments, "home", None))


def open_store_of(settings: Settings) -> Store:
    from adapters.store import open_store

    return open_store(settings.store)


def contracts_of(settings: Settings) -> Contracts:
    from schemas.contracts import load_contracts

    return load_contracts(*settings.diensten)


class Here:
    """What a command works on: the settings, and what stands at the places they name, each opened when it is first asked for."""

    def __init__(self, arguments: Arguments) -> None:
        self._arguments = arguments

    @cached_property
    def settings(self) -> Settings:
        return read_settings(self._arguments)

    @property
    def rows(self) -> Any:
        """Every setting with its value, default and meaning; passwords masked."""
        return self.settings.rows()

    @cached_property
    def store(self) -> Store:
        """For what only looks, and for what changes what is there. Raises UsageError where there is none."""
        from adapters.home import require_store

        require_store(self.settings)
        return open_store_of(self.settings)

    @cached_property
    def register(self) -> RegisterCache:
        from workers.register_cache import RegisterCache

        return RegisterCache(self.store.register)

    @cached_property
    def contracts(self) -> Contracts:
        return contracts_of(self.settings)

    @cached_property
    def clock(self) -> Any:
        from workers.clock import Clock

        return Clock()

    @property
    def desk(self) -> ActionDesk:
        return action_desk_of(self.settings, self.store)

    @property
    def proefs(self) -> Any:
        """Where people ask for a test message."""
        from workers.proefs import ProefDesk

        return ProefDesk(self.store.proefs, _asking(self.settings, self.register, self.clock), self.clock)

    @property
    def keeper(self) -> Any:
        """What looks after the broker."""
        from adapters.broker_keeper import Keeper
        from adapters.home import amqp_urls

        return Keeper(self.settings, self.store.registry, self.register, *amqp_urls(self.settings))

    def vault(self) -> Any:
        """Raises VaultError without the master key."""
        from adapters.vault import open_vault

        return open_vault(self.settings.master_key)

    @property
    def who(self) -> str:
        """Who is at the keyboard."""
        from workers.commands import operator

        return operator(os.environ)


# -- workers --------------------------------------------------------------------------------------------------------------------------------


def work_arguments(parser: Parser) -> None:
    parser.add_argument("name", choices=every_worker(), metavar="NAME", help=", ".join(every_worker()))
    home_option(parser)


def work(arguments: Arguments) -> int:
    """One worker, until SIGTERM."""
    from workers.logs import configure

    settings = read_settings(arguments)
    configure(settings.log_level)
    asyncio.run(_work(arguments.name, settings))
    return 0


async def _work(name: str, settings: Settings) -> None:
    from adapters.assembly import Assembly, PortalAssembly
    from workers.clock import Clock
    from workers.loop import Worker
    from workers.register_cache import RegisterCache

    store, clock = open_store_of(settings), Clock()
    worker, register = Worker(name, store.registry, clock), RegisterCache(store.register)
    its = PortalAssembly(settings, store, worker, clock.now) if name == "portal" else Assembly(settings, store, worker, register, clock.now)
    async with its:
        if isinstance(its, PortalAssembly):
            tasks = _portal(its, worker, register, clock)
        else:
            tasks = workers()[name](parts_of(its, worker, register, clock), its)
        worker.on_hangup = its.hang_up
        worker.metrics_address = its.operations.start()
        await worker.run(*tasks, prompt=name in ("gateway", "portal"))


def parts_of(its: Assembly, worker: Worker, register: RegisterCache, clock: Clock) -> Parts:
    """What every worker is built from. Raises UsageError."""
    from workers.parts import Parts

    worker.broker_away = its.broker_away
    return Parts(
        settings=its.settings,
        worker=worker,
        clock=clock,
        store=its.store,
        vault=its.vault,
        publisher=its.publisher,
        register=register,
        asking=_asking(its.settings, register, clock, partial(_heard, worker)),
        consumer=its.consumer,
        systems=its.systems,
    )


def _heard(worker: Worker, outcome: str) -> None:
    """Counts what became of a question to another register."""
    worker.counts.update([("asked", outcome)])


def _asking(settings: Settings, cache: Any, clock: Any, heard: Callable[[str], None] = lambda outcome: None) -> Any:
    """The register as routing asks it: ours, another one too, or another one instead. `heard`: what became of each question to that one.
    Raises UsageError."""
    from adapters.osr_watch import asked_register
    from routing.amsterdam import amsterdam_day
    from workers.asking import AskingCache

    other, source = asked_register(settings, clock.now, heard), cast("Any", settings.register_source)
    return cache if other is None else AskingCache(cache, other, lambda: amsterdam_day(clock.now()), source=source)


def _push(parts: Parts, its: Assembly) -> Tasks:
    from adapters.endpoints import Endpoints, context_of
    from workers.push import tasks

    credentials = its.credentials(context_of)
    endpoints = Endpoints.of(its.settings, credentials, its.store.registry, its.now)
    its.closing.append(endpoints)
    return tasks(parts, its.contracts, its.forwarding(credentials), endpoints)


def _gateway(parts: Parts, its: Assembly) -> Tasks:
    from adapters import gateway_pages
    from adapters.crls import FollowingVerifier
    from adapters.endpoints import may_call
    from adapters.https import LIMITS, context_of
    from routing.warning_board import CertificateUse
    from workers.apart import Apart
    from workers.gateway import tasks

    settings, credentials = its.settings, its.credentials(context_of)
    verifier = FollowingVerifier.for_https(settings, its.store.registry, LIMITS, waits=False, shown=CertificateUse.CLIENT)
    return tasks(
        parts,
        its.contracts,
        verifier,
        its.forwarding(credentials),
        apart=Apart(partial(judge_apart, settings)),
        beside=verifier.refresh,
        may_call=partial(may_call, allowed=settings.push_networks),
        serve=partial(gateway_pages.server, its, credentials, verifier, parts.worker, parts.register),
    )


def judge_apart(settings: Settings) -> Any:
    """The desk of a gateway's second process (workers.apart), with a store, register and verifier of its own."""
    from adapters.answers import Request
    from adapters.crls import FollowingVerifier
    from adapters.https import LIMITS
    from adapters.reloading import keep_looking
    from adapters.store import open_store
    from adapters.vault import open_vault
    from workers.apart import Judge
    from workers.clock import Clock
    from workers.desk import Desk
    from workers.logs import configure
    from workers.register_cache import RegisterCache

    configure(settings.log_level)
    keep_looking("gateway, its second process")
    store, clock = open_store(settings.store, upgrade=False), Clock()
    verifier, vault = FollowingVerifier.for_https(settings, store.registry, LIMITS), open_vault(settings.master_key)
    desk = Desk(verifier=verifier, contracts=contracts_of(settings), vault=vault, own_oins=settings.own_oins, clock=clock)
    return Judge(desk, _asking(settings, RegisterCache(store.register), clock), partial(Request.glance, limits=LIMITS))


def _timetable(parts: Parts, its: Assembly) -> Tasks:
    from adapters.chores import chores, own_certificate
    from adapters.mailroom import Mailroom
    from adapters.proef import compose
    from adapters.snapshot import maker
    from adapters.store.contents import Contents
    from adapters.store.job_retention import JobRetention
    from adapters.telling import rules
    from workers.chores import tasks
    from workers.snapshots import chore

    settings, store, clock, other = its.settings, its.store, parts.clock, getattr(parts.asking, "other", None)
    follower = partial(_follower, settings, store, clock, parts.worker.id)
    snapshots = chore(settings, store.register, store.snapshots, clock, follower=follower, maker=maker)
    return tasks(
        parts,
        store,
        its.contracts,
        chores=[*chores(its, parts.register, other), ("register snapshot", 30, snapshots)],
        mailroom=Mailroom(its.amqp),
        channels=its.channels(),
        rules=rules(settings),
        own=own_certificate(settings, store.certificates.read),
        retention=JobRetention(store.database),
        contents=Contents(store.database, its.vault),
        compose=compose,
    )


def _follower(settings: Settings, store: Store, clock: Any, actor: str) -> Follower:
    """Follows another register. Raises UsageError without its address, or without the OIN of whoever keeps it."""
    from adapters.other_register import other_register
    from workers.snapshots import Follower

    other = other_register(settings, store.registry)
    return Follower(store.register, clock, actor=actor, issuer=other.issuer, fetch=other.fetch, read=other.read)


def _portal(its: PortalAssembly, worker: Worker, register: RegisterCache, clock: Clock) -> Tasks:
    from adapters.connections import Connections
    from adapters.passwords import Passwords
    from adapters.portal_reach import context_of, most_connections, provider_of, proxied
    from portal.server import PortalServer
    from portal.shell import Ports, Shell
    from routing.people import Role

    settings, store, provider = its.settings, its.store, provider_of(its.settings)
    if provider is not None:
        its.closing.append(provider)
    ports = Ports(
        people=store.people,
        passwords=Passwords(its.keys),
        clock=clock,
        worker=worker,
        provider=provider,
        desk=_portal_desk(its, register, clock, partial(_heard, worker)),
        warnings=store.warnings,
    )
    shell = Shell(
        ports=ports,
        url=settings.portal_url,
        https=settings.portal_https,
        proxied=proxied(settings),
        api_calls=settings.api_calls,
        second_factor=frozenset(map(Role, settings.portal_second_factor)),
        token_days=settings.oidc_token_days,
        one_time_h=settings.portal_one_time_h,
    )
    server = PortalServer(
        shell,
        host=settings.portal_host,
        port=settings.portal_port,
        connections=Connections(*most_connections(settings)),
        context=context_of(settings),
        observe=its.operations.pages,
    )
    its.operations.checks["port"] = lambda: None if server.port else f"port {settings.portal_port} cannot be had"
    del its.operations.checks["register"], its.operations.checks["broker"]  # people may look before there is one, and it needs no other
    return [server.run()]


def _portal_desk(its: PortalAssembly, register: RegisterCache, clock: Clock, heard: Callable[[str], None]) -> Any:
    """What the portal's pages ask."""
    from adapters.endpoints import may_call
    from adapters.store.contents import ContentRequests
    from adapters.store.report_post import ReportRows
    from adapters.store.views import SavedViews
    from portal.desk import Desk, heeds_of
    from workers.actions import ActionDesk
    from workers.alert_words import words_of
    from workers.proefs import ProefDesk
    from workers.register_changes import RegisterChanges
    from workers.report_desk import ReportDesk

    settings, store, words = its.settings, its.store, words_of(its.settings, register.for_people)
    may, mail = partial(may_call, allowed=settings.push_networks), settings.mail_server is not None
    return Desk(
        board=store.board,
        actions=ActionDesk(store.jobs, register, clock, approve_above=settings.approve_above),
        register=register.for_people,
        lanes=store.outbox,
        contents=ContentRequests(store.database),
        views=SavedViews(store.database),
        index=its.keys.index,
        ordered=[(kind.dienst, kind.name) for kind in its.contracts.kinds if kind.order_key],
        heeds=heeds_of(store.warnings),
        processes=store.registry.workers,
        alerts=store.alerts,
        changes=RegisterChanges(store.register, register, clock, may_call=may),
        reports=ReportDesk(ReportRows(store.database), store.alerts.contacts, store.board, words, ready=mail),
        proefs=ProefDesk(store.proefs, _asking(settings, register, clock, heard), clock),
    )


# -- everything on this machine -------------------------------------------------------------------------------------------------------------


def up_arguments(parser: Parser) -> None:
    from adapters.up_cli import add_arguments

    home_option(parser)
    add_arguments(parser, usual=(*EVERY_WORKER, "push", "gateway", "portal"))


def up(arguments: Arguments) -> int:
    """Broker (private node, or AMQP_URL), store and workers, until SIGTERM."""
    from adapters import up_cli
    from workers.logs import configure
    from workers.supervisor import Supervisor, until_signal

    settings, processes = read_settings(arguments), partial(Supervisor, ROOT / "run.py")
    configure(settings.log_level)
    return up_cli.run(arguments, settings, os.environ, known=every_worker(), workers=processes, until_signal=until_signal)


def demo(arguments: Arguments) -> int:
    """A private broker and store in a temporary home, a small chain, a season with mistakes. Exit 1 when anything was lost or doubled."""
    from adapters.parties import demo_cli
    from workers.commands import show_demo
    from workers.logs import configure
    from workers.progress import Progress
    from workers.supervisor import Supervisor, until_signal
    from workers.tables import print_json, print_table

    configure("ERROR")
    progress, processes = partial(Progress, quiet=arguments.json), partial(Supervisor, ROOT / "run.py")
    terminal = demo_cli.Terminal(progress=progress, show=show_demo, print_json=print_json, print_table=print_table)
    return demo_cli.run(arguments, os.environ, names=EVERY_WORKER, workers=processes, until_signal=until_signal, terminal=terminal)


# -- looking ----------------------------------------------------------------------------------------------------------------------------------


def status(arguments: Arguments) -> int:
    """Exit 1 when a worker is missing."""
    from adapters.crls import standing
    from adapters.home import queue_depths
    from adapters.osr_watch import shown
    from workers import commands

    here = Here(arguments)
    store, settings = here.store, here.settings
    crls, queues = standing(store.registry, here.clock.now_us()), asyncio.run(queue_depths(settings))
    pushes = any(place.url for place in here.register().parts.lanes())
    wanted = (*EVERY_WORKER, "push") if pushes or settings.register_source != "own" else EVERY_WORKER
    other, warnings = shown(settings, store.registry), store.warnings.counts()
    return commands.status(arguments, store, queues=queues, crls=crls, wanted=wanted, warnings=warnings, other=other)


def crl(arguments: Arguments) -> int:
    """Exit 1 unless every list could be used."""
    import logging

    from adapters.crls import CrlFetcher, standing
    from workers import commands

    logging.disable()  # the table says it
    here = Here(arguments)
    refused = asyncio.run(CrlFetcher.of(here.settings, here.store.registry).fetch_all())
    return commands.crls(arguments, here.settings.crl, standing(here.store.registry, here.clock.now_us()), refused)


# -- acting -----------------------------------------------------------------------------------------------------------------------------------


def action_desk_of(settings: Settings, store: Store) -> ActionDesk:
    """Where people act on what fell out."""
    from workers.actions import ActionDesk
    from workers.clock import Clock
    from workers.register_cache import RegisterCache

    return ActionDesk(store.jobs, RegisterCache(store.register), Clock(), approve_above=settings.approve_above)


def alerts(arguments: Arguments) -> int:
    """Exit 1 when a test message was not taken."""
    from adapters.telling import senders
    from workers import alert_commands
    from workers.alert_words import words_of

    here = Here(arguments)
    book, words = here.store.alerts, words_of(here.settings, here.register)
    return alert_commands.alerts(arguments, book, words, lambda: senders(here.settings, here.vault()), book.book.secret, who=here.who)


def contacts(arguments: Arguments) -> int:
    """Whom parties want to be told."""
    from adapters.endpoints import not_allowed
    from adapters.telling import WebhookSecrets
    from workers import alert_commands

    here = Here(arguments)
    book, check_url = here.store.alerts, partial(not_allowed, allowed=here.settings.push_networks)
    return alert_commands.contacts(arguments, book, book.book, lambda: WebhookSecrets(here.vault()), check_url=check_url, who=here.who)


# -- service register, certificates and accounts ----------------------------------------------------------------------------------------------


def register(arguments: Arguments) -> int:
    """The service register."""
    from adapters.credentials import standing_of
    from adapters.crls import FollowingVerifier
    from adapters.endpoints import may_call
    from routing.register_stored import read_stored
    from workers import register_commands
    from workers.register_work import Work

    here = Here(arguments)
    settings, store = here.settings, open_store_of(here.settings) if arguments.what in ("load", "follow") else here.store
    if arguments.what in ("follow", "unfollow"):
        return _follow_or_not(arguments.what, here, store)
    return register_commands.run(
        arguments,
        Work(
            book=store.register,
            register_at=partial(read_stored, store.register),
            who=here.who,
            now=here.clock.now,
            may_call=partial(may_call, allowed=settings.push_networks),
            most=settings.register_endpoints,
        ),
        contracts=lambda: here.contracts,
        verifier=lambda: FollowingVerifier.for_amqp(settings, store.registry),
        last_delivered=store.queries.last_delivered,
        certificate=standing_of,
        warnings=store.warnings,
        asking=lambda register: _asking(settings, lambda: register, here.clock)(),
    )


def _follow_or_not(what: str, here: Here, store: Store) -> int:
    """`register follow`, and `register unfollow`."""
    from workers.snapshots import follow_now, unfollow

    if what == "unfollow":
        return unfollow(store.register, store.snapshots)
    return asyncio.run(follow_now(_follower(here.settings, store, here.clock, here.who), store.register))


def certificate(arguments: Arguments) -> int:
    """Our own certificate and the one that is to follow it."""
    from adapters.credentials import ours, read
    from workers import certificate_commands

    here = Here(arguments)
    book, current = here.store.certificates, ours(here.settings)()
    return certificate_commands.run(arguments, book, here.register(), current=current, read=read, who=here.who, now=here.clock.now())


def account(arguments: Arguments) -> int:
    """Who may look at the portal."""
    from datetime import timedelta

    from adapters import portal_keys
    from adapters.passwords import Passwords, show_qr
    from workers.account_commands import Desk, run
    from workers.tables import print_json

    here = Here(arguments)
    settings = here.settings
    if arguments.does == "keys":  # which needs no store
        return portal_keys.make(arguments, settings, print_json=print_json)
    desk = Desk(
        people=here.store.people,
        passwords=Passwords(portal_keys.portal_keys(settings)),
        clock=here.clock,
        who=here.who,
        address=settings.portal_address,
        show_qr=show_qr,
        one_time=timedelta(hours=settings.portal_one_time_h),
        token_days=settings.oidc_token_days,
    )
    return run(arguments, desk)


if __name__ == "__main__":
    sys.exit(main())
