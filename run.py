#!/usr/bin/env python3
"""Koppelpunt's command line, and the only place where a worker meets its adapters: it builds those, and passes them to the command.

Each command imports what it needs when it runs: `verify` answers in a fraction of a second and knows no broker or store.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from adapters.store import Store
    from broker_config.settings import Settings
    from schemas.contracts import Contracts

ROOT = Path(__file__).resolve().parent
if str(ROOT) not in sys.path:
    sys.path.insert(0, str(ROOT))

Parser = argparse.ArgumentParser
Arguments = argparse.Namespace


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command; returns the exit status: 0 only for success."""
    argv = list(sys.argv[1:] if argv is None else argv)
    parser = Parser(
        prog="koppelpunt",
        description="Message exchange between schools, municipalities and central services: Edukoppeling in, RabbitMQ between, proof kept.",
    )
    commands = parser.add_subparsers(metavar="COMMAND", title="commands", dest="command")
    for name, (add, _, about) in COMMANDS.items():
        sub = commands.add_parser(name, help=about, description=about[0].upper() + about[1:] + ".")
        if name in argv:
            add(sub)
    arguments = parser.parse_args(argv)
    if arguments.command is None:
        parser.print_help()
        return 2
    from adapters.errors import in_one_sentence

    try:
        return COMMANDS[arguments.command][1](arguments)
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except Exception as error:
        sentence = in_one_sentence(error)
        if sentence is None:
            raise
        print(f"koppelpunt: {sentence}", file=sys.stderr)
        return 1


# -- what several commands need -------------------------------------------------------------------------------------------------------------


def read_settings(arguments: Arguments) -> Settings:
    """The settings: the environment, read once, and `--home`."""
    from adapters import home

    return home.read_settings(os.environ, home=getattr(arguments, "home", None))


def open_store_of(settings: Settings) -> Store:
    from adapters.store import open_store

    return open_store(settings.store)


def existing_store_of(settings: Settings) -> Store:
    """For what only looks, and for what changes what is there."""
    from adapters.home import require_store

    require_store(settings)
    return open_store_of(settings)


def contracts_of(settings: Settings) -> Contracts:
    from schemas.contracts import load_contracts

    return load_contracts(*settings.diensten)


def _home(parser: Parser) -> None:
    parser.add_argument("--home", type=Path, metavar="DIR", help="folder that holds all state (default: KOPPELPUNT_HOME, or ./var)")


def _json(parser: Parser) -> None:
    parser.add_argument("--json", action="store_true", help="print JSON instead of tables")


def _home_and_json(parser: Parser) -> None:
    _home(parser)
    _json(parser)


def _of(module: str, name: str, *then: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """A function of this module, imported when it is called; `then` are called with the same."""

    def call(given: Any) -> Any:
        result = getattr(import_module(module), name)(given)
        for another in then:
            another(given)
        return result

    return call


# -- workers --------------------------------------------------------------------------------------------------------------------------------


def work_arguments(parser: Parser) -> None:
    parser.add_argument("name", choices=sorted(WORKERS), metavar="NAME", help=", ".join(sorted(WORKERS)))
    _home(parser)


def work(arguments: Arguments) -> int:
    """One worker, until SIGTERM."""
    import asyncio

    from workers.logs import configure

    settings = read_settings(arguments)
    configure(settings.log_level)
    asyncio.run(_work(arguments.name, settings))
    return 0


async def _work(name: str, settings: Settings) -> None:
    from adapters.home import amqp_urls
    from adapters.portal_keys import PortalKeys
    from adapters.rabbit import Publisher
    from adapters.reloading import keep_looking, look_again
    from adapters.vault import Vault, read_master_key
    from workers.clock import Clock
    from workers.loop import Worker
    from workers.register_cache import RegisterCache

    store = open_store_of(settings)
    clock = Clock()
    keys: Any  # first of all: without the key nothing may be taken in
    if name == "portal":  # what people reach has neither the key that opens messages nor a way to the broker
        keys, publisher, amqp = PortalKeys.read(settings.portal_secrets), None, ""
    else:
        keys, amqp = Vault(read_master_key(settings.master_key)), amqp_urls(settings)[0]
        publisher = Publisher(amqp)
    worker = Worker(name, store.registry, clock)
    register = RegisterCache(store.register)
    parts = Parts(settings, store, worker, keys, register, publisher, clock, amqp)
    look_no_more = keep_looking(worker.id)
    try:
        tasks = WORKERS[name](parts)
        worker.on_hangup = parts.hang_up
        parts.on_hangup.append(look_again)
        worker.metrics_address = parts.operations.start()
        await worker.run(*tasks, prompt=name in ("gateway", "portal"))
    finally:
        look_no_more()
        parts.operations.close()
        for connection in (*parts.consumers, *parts.closing):
            await connection.close()
        if publisher is not None:
            await publisher.close()
        store.close()


def _asking(settings: Settings, cache: Any, clock: Any, heard: Callable[[str], None] = lambda outcome: None) -> Any:
    """The register as routing asks it: ours, another one too, or another one instead. `heard`: what became of each question to that one.
    Raises UsageError."""
    from adapters.osr_watch import asked_register
    from routing.amsterdam import amsterdam_day
    from workers.asking import AskingCache

    other = asked_register(settings, clock.now, heard)
    return cache if other is None else AskingCache(cache, other, lambda: amsterdam_day(clock.now()), source=settings.register_source)


def _watch(parts: Parts) -> list[Any]:
    """Looks how the other register is."""
    from adapters.osr_watch import Watch
    from workers.timetable import Job

    if parts.asking is parts.register:
        return []
    key = parts.settings.osr_key is not None
    watch = Watch(parts.asking.other, parts.store.registry, parts.register, parts.clock.now, key=key)
    return [Job(name="other register", every_s=30, act=watch.act)]


class Parts:
    """What the workers of one process are built from."""

    def __init__(
        self, settings: Settings, store: Store, worker: Any, vault: Any, register: Any, publisher: Any, clock: Any, amqp: str
    ) -> None:
        self.settings, self.store, self.worker, self.vault, self.register = settings, store, worker, vault, register
        self.publisher, self.clock, self.amqp = publisher, clock, amqp
        self.consumers: list[Any] = []
        self.closing: list[Any] = []  #: what else is to be closed when the worker ends
        self.on_hangup: list[Callable[[], None]] = []  #: what is done on SIGHUP
        from adapters.checks import broker_answers
        from adapters.operations import Operations

        #: the register as routing asks it
        self.asking = _asking(settings, register, clock, lambda outcome: worker.counts.update([("asked", outcome)]))
        self.operations = Operations(settings, store, worker, now=clock.now)
        if publisher is not None:
            self.operations.connections.append(publisher)
            broker = broker_answers(self.operations.connections)
            worker.broker_away = lambda: broker() is not None

    def hang_up(self) -> None:
        """SIGHUP came."""
        for act in self.on_hangup:
            act()

    def consumer(self, *queues: str, prefetch: int, **more: Any) -> Any:
        """A consumer of its own connection, closed when the worker ends."""
        from adapters.rabbit import Consumer

        made = Consumer(self.amqp, queues, prefetch=prefetch, **more)
        self.consumers.append(made)
        self.operations.connections.append(made)
        return made

    def systems(self) -> list[str]:
        """OINs of the systems that connect over AMQP, as the register has them now, and of those that left something to be handled."""
        from adapters.broker_keeper import followed_systems

        return followed_systems(self.register(), self.store.registry)

    def keeper(self) -> Any:
        """What looks after the broker as a whole."""
        from adapters.broker_keeper import Keeper
        from adapters.home import amqp_urls

        return Keeper(self.settings, self.store.registry, self.register, *amqp_urls(self.settings))


def _intake(parts: Parts) -> list[Any]:
    from adapters.crls import FollowingVerifier
    from workers.desk import Desk, step_judge
    from workers.intake import Intake, Share
    from workers.loop import consume

    contracts = contracts_of(parts.settings)
    verifier = FollowingVerifier.for_amqp(parts.settings, parts.store.registry)
    desk = Desk(verifier=verifier, contracts=contracts, vault=parts.vault, own_oins=parts.settings.own_oins, clock=parts.clock)
    intake = Intake(parts.worker, parts.store, parts.publisher, desk, parts.asking, step_judge(contracts))
    consumer = parts.consumer(prefetch=4 * parts.settings.batch_size, least=20, in_order=True)
    return [
        consume(parts.worker, consumer, intake.handle, limit=parts.settings.batch_size, wait_s=parts.settings.batch_ms / 1000, at_once=2),
        Share(parts.worker, consumer, parts.store.registry, parts.systems).follow(),
    ]


def judge_apart(settings: Settings) -> Any:
    """The desk of a gateway's second process (workers.apart), with a store, register and verifier of its own."""
    from adapters.answers import Request
    from adapters.crls import FollowingVerifier
    from adapters.https import LIMITS
    from adapters.reloading import keep_looking
    from adapters.store import open_store
    from adapters.vault import Vault, read_master_key
    from workers.apart import Judge
    from workers.clock import Clock
    from workers.desk import Desk
    from workers.logs import configure
    from workers.register_cache import RegisterCache

    configure(settings.log_level)
    keep_looking("gateway, its second process")
    store = open_store(settings.store, upgrade=False)
    verifier, vault = FollowingVerifier.for_https(settings, store.registry, LIMITS), Vault(read_master_key(settings.master_key))
    desk = Desk(verifier=verifier, contracts=contracts_of(settings), vault=vault, own_oins=settings.own_oins, clock=Clock())
    return Judge(desk, _asking(settings, RegisterCache(store.register), Clock()), partial(Request.glance, limits=LIMITS))


def _gateway(parts: Parts) -> list[Any]:
    from adapters.answers import Answers
    from adapters.certificate_pages import CertificatePages
    from adapters.connections import Connections
    from adapters.credentials import FollowingContext, FollowingSigner, ours
    from adapters.crls import FollowingVerifier
    from adapters.https import LIMITS, Door, GatewayServer, context_of
    from adapters.rest import RestPages
    from adapters.wus import WusPages
    from routing.warning_board import CertificateUse
    from schemas.oin import Oin
    from workers.apart import Apart
    from workers.desk import Desk, step_judge
    from workers.gateway import Gateway

    settings, contracts = parts.settings, contracts_of(parts.settings)
    credentials = ours(settings, context_of)
    parts.operations.watch_certificate(lambda: credentials().certificate)
    verifier = FollowingVerifier.for_https(settings, parts.store.registry, LIMITS, waits=False, shown=CertificateUse.CLIENT)
    desk = Desk(verifier=verifier, contracts=contracts, vault=parts.vault, own_oins=settings.own_oins, clock=parts.clock)
    gateway = Gateway(
        parts.worker,
        parts.store,
        desk,
        parts.asking,
        step_judge(contracts),
        apart=Apart(partial(judge_apart, settings)),
        beside=verifier.refresh,
        batch_size=settings.batch_size,
    )
    answers = Answers(FollowingSigner(lambda: credentials().signer), Oin(settings.own_oins[0]))
    door = Door(gateway, verifier)
    pages = [WusPages(gateway, door, contracts, answers, url=settings.gateway_address), RestPages(gateway, door, contracts)]
    pages += [*_party_pages(parts, door, contracts, credentials), *_register_pages(parts, door)]
    pages += [CertificatePages(credentials, parts.store.certificates.read)]
    connections = Connections(settings.gateway_connections, settings.gateway_connections_per_address)
    context = FollowingContext(lambda: credentials().context)
    server = GatewayServer(pages, context=context, connections=connections, observe=parts.operations.requests)
    parts.operations.checks["port"] = lambda: None if server.port else f"port {settings.gateway_port} cannot be had"
    return [gateway.run(), gateway.serve(server, settings.gateway_host, settings.gateway_port)]


def _party_pages(parts: Parts, door: Any, contracts: Contracts, credentials: Any) -> list[Any]:
    """What a party asks of the gateway over REST."""
    from adapters.credentials import RollOverSigner
    from adapters.forwarding import Forwarding
    from adapters.openapi import OpenApiPages, description
    from adapters.rest_explain import ExplainPages
    from adapters.rest_mailbox import MailboxPages
    from adapters.rest_party import Visits
    from adapters.rest_status import StatusPages
    from adapters.rest_where import WherePages
    from adapters.snapshot_http import SnapshotPages
    from routing.amsterdam import amsterdam_day
    from workers.parcel import Parcels
    from workers.postbox import Postbox

    worker, store = parts.worker, parts.store
    visits = Visits(door, worker.pause, lambda: worker.stopping)
    forwarding = Forwarding(RollOverSigner(credentials, store.certificates.read))
    parcels = Parcels(parts.vault, forwarding, lambda action: contracts.kind(action).passes_through)
    postbox = Postbox(store.letters, parts.register, parcels, parts.clock, actor=worker.id)
    explain = ExplainPages(parts.register, visits, lambda: amsterdam_day(parts.clock.now()))
    openapi = OpenApiPages(description(contracts, url=parts.settings.gateway_address))
    snapshots = SnapshotPages(store.snapshots, visits, parts.settings.followers)
    where = WherePages(parts.register, visits, contracts, parts.clock.now)
    return [openapi, StatusPages(store.enquiries, visits), MailboxPages(postbox, visits), explain, where, snapshots]


def _follower(settings: Settings, store: Store, clock: Any, actor: str) -> Any:
    """Follows another register. Raises UsageError without its address, or without the OIN of whoever keeps it."""
    from adapters.other_register import other_register
    from workers.snapshots import Follower

    other = other_register(settings, store.registry)
    return Follower(store.register, clock, actor=actor, issuer=other.issuer, fetch=other.fetch, read=other.read)


def _snapshots(parts: Parts) -> Any:
    """Follows another register, or signs snapshots of ours, or neither. Raises UsageError."""
    from collections.abc import Mapping
    from datetime import datetime, timedelta

    from adapters import snapshot
    from adapters.credentials import ours
    from workers.snapshots import Publishing, look_whether_followed

    settings, store, clock = parts.settings, parts.store, parts.clock
    if settings.follow_url or settings.follow_oin:
        return _follower(settings, store, clock, parts.worker.id).act
    if not settings.snapshot_hours:
        return partial(look_whether_followed, store.register)
    credentials, valid_for = ours(settings), timedelta(hours=settings.snapshot_hours)

    def make(document: Mapping[str, Any], version: int, now: datetime) -> bytes:
        own = credentials()
        return snapshot.make(document, version=version, issuer=own.oin, sealer=own.signer, now=now, valid_for=valid_for)

    publishing = Publishing(store.register, store.snapshots, make, clock, valid_for=valid_for)

    async def act() -> None:
        await look_whether_followed(store.register)
        await publishing.act()

    return act


def _register_pages(parts: Parts, door: Any) -> list[Any]:
    """The register's API."""
    from adapters.endpoints import may_call
    from adapters.osr import OsrPages
    from adapters.osr_openapi import OsrOpenApiPages, description
    from adapters.rest_party import Visits
    from workers.register_desk import RegisterDesk

    settings, worker = parts.settings, parts.worker
    desk = RegisterDesk(
        parts.store.register,
        parts.register,
        parts.clock,
        may_call=lambda address: may_call(address, settings.push_networks),
        most=settings.register_endpoints,
    )
    visits = Visits(door, worker.pause, lambda: worker.stopping)  # its own: a large register is read in other threads than mailboxes are
    return [OsrPages(desk, door, visits, settings.register_reads), OsrOpenApiPages(description(url=settings.gateway_address))]


def _relay(parts: Parts) -> list[Any]:
    from workers.relay import Relay, Windows

    windows = Windows(parts.register, mailbox=parts.settings.mailbox_window, push=parts.settings.push_window)
    return [Relay(parts.worker, parts.store, parts.publisher, parts.keeper(), windows.of).run()]


def _route(parts: Parts) -> list[Any]:
    from workers.loop import consume
    from workers.route import Router

    router = Router(parts.worker, parts.store, parts.vault, parts.asking, contracts_of(parts.settings).kind, parts.clock)
    return [consume(parts.worker, parts.consumer("route", prefetch=20), router.handle, limit=4, wait_s=0)]


def _deliver(parts: Parts) -> list[Any]:
    from adapters.credentials import RollOverSigner, ours
    from adapters.forwarding import Forwarding
    from workers.deliver import Courier
    from workers.loop import consume, follow_queues

    settings, contracts = parts.settings, contracts_of(parts.settings)
    credentials = ours(settings)
    parts.operations.watch_certificate(lambda: credentials().certificate)
    courier = Courier(
        parts.worker,
        parts.store,
        parts.publisher,
        parts.vault,
        parts.asking,
        Forwarding(RollOverSigner(credentials, parts.store.certificates.read)),
        lambda action: contracts.kind(action).passes_through,
        parts.clock,
    )
    confirmations = parts.consumer(prefetch=2 * settings.batch_size, least=settings.batch_size)  # small things, of few parties at a time
    return [
        consume(parts.worker, parts.consumer("deliver", prefetch=20), courier.handle, limit=4, wait_s=0, at_once=2),
        # nobody waits for what a confirmation becomes, so a batch may take longer to fill
        consume(parts.worker, confirmations, courier.handle_confirmations, limit=settings.batch_size, wait_s=4 * settings.batch_ms / 1000),
        follow_queues(parts.worker, confirmations, "confirm", parts.systems),
    ]


def _push(parts: Parts) -> list[Any]:
    import ssl

    from adapters.credentials import FollowingContext, RollOverSigner, ours
    from adapters.crls import FollowingVerifier
    from adapters.endpoints import Endpoints, context_of
    from adapters.forwarding import Forwarding
    from adapters.reply import LIMITS
    from workers.loop import consume
    from workers.push import AT_ONCE, TOGETHER, Pusher

    settings, contracts = parts.settings, contracts_of(parts.settings)
    credentials = ours(settings, context_of)
    parts.operations.watch_certificate(lambda: credentials().certificate)
    verifier = FollowingVerifier.for_https(settings, parts.store.registry, LIMITS)
    endpoints = Endpoints(
        FollowingContext(lambda: credentials().context, ssl.PROTOCOL_TLS_CLIENT),
        verifier,
        allowed=settings.push_networks,
        answer_s=settings.push_answer_s,
        now=parts.clock.now,
        saw_server=verifier.sightings.saw_server,
    )
    pusher = Pusher(
        parts.worker,
        parts.store,
        parts.vault,
        parts.asking,
        Forwarding(RollOverSigner(credentials, parts.store.certificates.read)),
        endpoints,
        contracts.kind,
        contracts.signed,
        parts.clock,
        answer_s=settings.push_answer_s,
    )
    parts.closing.append(endpoints)
    consumer = parts.consumer("push", prefetch=AT_ONCE)
    return [consume(parts.worker, consumer, pusher.handle, limit=TOGETHER, at_once=AT_ONCE)]


def _audit(parts: Parts) -> list[Any]:
    from workers.audit import Auditor
    from workers.board import BoardKeeping
    from workers.dead import Dead
    from workers.loop import consume

    dead = Dead(parts.worker, parts.store, parts.publisher)
    return [
        Auditor(parts.worker, parts.store, parts.publisher, parts.register, own=parts.settings.own_oins).run(),
        BoardKeeping(parts.worker, parts.store.registry, parts.store.board_keeper).run(),
        consume(parts.worker, parts.consumer("dead", prefetch=1), dead.handle, limit=1),
    ]


def _timetable(parts: Parts) -> list[Any]:
    import asyncio

    from adapters.crls import CrlFetcher
    from adapters.mailroom import Mailroom
    from adapters.second_opinions import SecondOpinions
    from adapters.store.contents import Contents
    from adapters.store.job_retention import JobRetention
    from routing.people import Role
    from workers.contents import Opener
    from workers.job_retention import OldJobs
    from workers.jobs import JobRunner
    from workers.mailboxes import TakingBack, Withdrawal
    from workers.timetable import Job, Timetable
    from workers.waiting import WaitingRoom

    contracts, keeper = contracts_of(parts.settings), parts.keeper()
    crls = CrlFetcher.of(parts.settings, parts.store.registry)
    parts.on_hangup.append(crls.ask)
    opinions = SecondOpinions(parts.store, parts.vault)
    states = [kind.action for kind in contracts.kinds if kind.newest_replaces]
    room = WaitingRoom(parts.store.outbox, parts.asking, parts.clock, actor=parts.worker.id, states=states)
    waiting = Job(name="waiting", every_s=2, act=room.look)
    old_jobs = OldJobs(JobRetention(parts.store.database), parts.clock, days=parts.settings.jobs_kept_days)
    more = (
        Job(name="crls", every_s=60, act=crls.fetch_due),
        Job(name="crl files", every_s=2, act=crls.follow),
        Job(name="topology", every_s=2, act=keeper.follow_register),
        Job(name="second opinion", every_s=600, act=opinions.ask),
        Job(name="log", every_s=2, act=lambda: asyncio.to_thread(parts.store.database.tidy_log)),
        Job(name="accounts", every_s=60, act=lambda: asyncio.to_thread(_catch_up, parts)),
        Job(name="register snapshot", every_s=30, act=_snapshots(parts)),
        *_warnings(parts, contracts).jobs(),
        *_watch(parts),
        Job(name="old jobs", every_s=3600, act=old_jobs.forget),
    )
    return [
        Timetable(parts.worker, parts.store, list(contracts.kinds), parts.clock, (waiting, *more)).run(),
        JobRunner(parts.worker, parts.store.jobs, parts.store.registry, parts.register, list(contracts.kinds), parts.clock).run(),
        Withdrawal(parts.worker, parts.store, parts.register, parts.clock).run(),
        TakingBack(parts.worker, parts.store, parts.register, Mailroom(parts.amqp), parts.clock).run(),
        _teller(parts).run(),
        _proefs(parts, contracts).run(),
        Opener(
            parts.worker,
            Contents(parts.store.database, parts.vault),
            parts.store.people,
            parts.store.board,
            parts.clock,
            second_factor=frozenset(map(Role, parts.settings.portal_second_factor)),
            token_days=parts.settings.oidc_token_days,
        ).run(),
    ]


def _proefs(parts: Parts, contracts: Contracts) -> Any:
    """What sends proefs of our own."""
    from adapters.proef import compose
    from schemas.oin import Oin
    from workers.desk import step_judge
    from workers.proefs import ProefRunner

    store = parts.store
    return ProefRunner(
        parts.worker,
        store.proefs,
        store.hand_ins,
        store.registry,
        parts.register,
        contracts,
        parts.vault,
        compose,
        step_judge(contracts),
        parts.clock,
        own=Oin(parts.settings.own_oins[0]),
    )


def _catch_up(parts: Parts) -> None:
    """Makes what a version before left of accounts as this one has it."""
    from adapters.passwords import reseal
    from adapters.portal_keys import PortalKeys
    from adapters.vault import read_master_key

    people, now_us = parts.store.people, parts.clock.now_us()
    people.catch_up(now_us=now_us, one_time_until_us=now_us + parts.settings.portal_one_time_h * 3_600_000_000)
    reseal(people, parts.vault, PortalKeys.of(read_master_key(parts.settings.master_key)))


def _words(settings: Settings, register: Callable[[], Any]) -> Any:
    """What messages to contacts are written with."""
    from workers.alert_words import Words

    def name(oin: str) -> str:
        found = register().organisation(oin) or register().system(oin)
        return found.name if found else ""

    return Words(portal=(settings.portal_url or "").rstrip("/"), ours=settings.own_oins[0], name=name)


def _teller(parts: Parts) -> Any:
    """What tells people that something is amiss."""
    from adapters.telling import rules, senders
    from workers.alerts import Sources, Teller, scope_of
    from workers.loop import Leader

    settings, store = parts.settings, parts.store
    channels = senders(settings, parts.vault)
    parts.closing += channels.values()
    sources = Sources(
        facts=store.alert_facts,
        workers=store.registry.workers,
        scope_of=lambda party: scope_of(party, parts.register()),
        board=store.board,
        warnings=lambda: [kept.warning for kept in store.warnings.standing()],
    )
    leader = Leader(parts.worker, store.registry, "alerts")
    return Teller(parts.worker, store.alerts, sources, channels, _words(settings, parts.register), rules(settings), leader)


def _portal(parts: Parts) -> list[Any]:
    from adapters.connections import Connections
    from adapters.passwords import Passwords
    from adapters.portal_reach import context_of, most_connections, provider_of, proxied
    from portal.server import PortalServer
    from portal.shell import Ports, Shell
    from routing.people import Role

    settings, store, provider = parts.settings, parts.store, provider_of(parts.settings)
    if provider is not None:
        parts.closing.append(provider)
    ports = Ports(
        people=store.people,
        passwords=Passwords(parts.vault),  # its own keys: see _work
        clock=parts.clock,
        worker=parts.worker,
        provider=provider,
        desk=_portal_desk(parts),
        warnings=store.warnings,
    )
    server = PortalServer(
        Shell(
            ports=ports,
            url=settings.portal_url,
            https=settings.portal_https,
            proxied=proxied(settings),
            api_calls=settings.api_calls,
            second_factor=frozenset(map(Role, settings.portal_second_factor)),
            token_days=settings.oidc_token_days,
            one_time_h=settings.portal_one_time_h,
        ),
        host=settings.portal_host,
        port=settings.portal_port,
        connections=Connections(*most_connections(settings)),
        context=context_of(settings),
        observe=parts.operations.pages,
    )
    parts.operations.checks["port"] = lambda: None if server.port else f"port {settings.portal_port} cannot be had"
    del parts.operations.checks["register"], parts.operations.checks["broker"]  # people may look before there is one, and it needs no other
    return [server.run()]


def _warnings(parts: Parts, contracts: Contracts) -> Any:
    """Looks for what will break unless somebody acts."""
    from adapters.credentials import ours
    from routing.warning_rules import OwnCertificate
    from workers.warnings import Watch

    settings, store = parts.settings, parts.store
    credentials = ours(settings) if settings.key and settings.cert else None

    def own() -> OwnCertificate | None:
        if credentials is None:
            return None
        return OwnCertificate(credentials().certificate.not_valid_after_utc, followed=store.certificates.read().next is not None)

    return Watch(store.warnings, store.warning_facts, parts.register, store.register, contracts.kinds, parts.clock, own=own)


def _portal_desk(parts: Parts) -> Any:
    """What the portal's pages ask."""
    from adapters.store.contents import ContentRequests
    from adapters.store.views import SavedViews
    from portal.desk import Desk
    from routing.work import StoreUnavailable
    from workers.actions import ActionDesk
    from workers.proefs import ProefDesk

    settings, store = parts.settings, parts.store

    def register() -> Any:
        try:
            return parts.register()
        except StoreUnavailable:  # a followed register whose time is over stops messages, not people: they see it by the names of before
            return parts.register.known()

    def heeds(scope: Any) -> Any:
        parties = None if scope.everything else sorted(scope.organisations | scope.systems)
        return [kept.warning for kept in store.warnings.standing(parties=parties)]

    return Desk(
        board=store.board,
        actions=ActionDesk(store.jobs, parts.register, parts.clock, approve_above=settings.approve_above),
        register=register,
        lanes=store.outbox,
        contents=ContentRequests(store.database),
        views=SavedViews(store.database),
        index=parts.vault.index,
        ordered=[(kind.dienst, kind.name) for kind in contracts_of(settings).kinds if kind.order_key],
        heeds=heeds,
        processes=store.registry.workers,
        alerts=store.alerts,
        changes=_portal_register(parts),
        reports=_portal_reports(parts, register),
        proefs=ProefDesk(store.proefs, parts.asking, parts.clock),
    )


def _portal_reports(parts: Parts, register: Callable[[], Any]) -> Any:
    """What leaves partners' reports for whatever tells people."""
    from adapters.store.report_post import ReportRows
    from workers.report_desk import ReportDesk

    store, words = parts.store, _words(parts.settings, register)
    ready = parts.settings.mail_server is not None
    return ReportDesk(ReportRows(store.database), store.alerts.contacts, store.board, words, ready=ready)


def _portal_register(parts: Parts) -> Any:
    """What changes the service register from the portal."""
    from adapters.endpoints import may_call
    from workers.register_changes import RegisterChanges

    networks = parts.settings.push_networks
    return RegisterChanges(parts.store.register, parts.register, parts.clock, may_call=lambda address: may_call(address, networks))


WORKERS: dict[str, Callable[[Parts], list[Any]]] = {
    "audit": _audit,
    "deliver": _deliver,
    "gateway": _gateway,
    "intake": _intake,
    "portal": _portal,
    "push": _push,
    "relay": _relay,
    "route": _route,
    "timetable": _timetable,
}


# -- everything on this machine -------------------------------------------------------------------------------------------------------------


def up_arguments(parser: Parser) -> None:
    _home(parser)
    parser.add_argument(
        "--workers",
        metavar="NAMES",
        default=",".join((*EVERY_WORKER, "push", "gateway", "portal")),
        help="which workers, one process each (default: %(default)s)",
    )


#: Two of the one that works hardest: verifying is half of what a message costs us.
EVERY_WORKER = ("intake", "intake", "relay", "route", "deliver", "audit", "timetable")


def up(arguments: Arguments) -> int:
    """Broker (private node, or AMQP_URL), store and workers, until SIGTERM."""
    import asyncio

    from adapters.errors import UsageError
    from adapters.home import alone_in, make_private_home
    from workers.logs import configure

    settings = read_settings(arguments)
    configure(settings.log_level)
    names = [name for name in arguments.workers.split(",") if name]
    unknown = sorted(set(names) - set(WORKERS))
    if unknown:
        raise UsageError(f"There is no worker {unknown[0]!r}; there are {', '.join(sorted(WORKERS))}.")
    with alone_in(settings.home):
        settings = make_private_home(settings, os.environ)
        for warning in settings.warnings():
            print(f"koppelpunt: {warning}", file=sys.stderr)
        return asyncio.run(_up(settings, names))


async def _up(settings: Settings, names: Sequence[str]) -> int:
    from adapters.backbone import Backbone
    from adapters.home import amqp_urls, worker_environment
    from broker_config.settings import mask
    from workers.supervisor import Supervisor, until_signal

    async with Backbone(settings) as backbone:
        supervisor = Supervisor(ROOT / "run.py", names, worker_environment(settings, os.environ))
        await supervisor.start()
        amqp, management = amqp_urls(settings)
        print(f"Koppelpunt runs. home {settings.home}\n  AMQP        {mask(amqp)}\n  management  {mask(management or '(not known)')}")
        if "gateway" in names:
            print(f"  gateway     {settings.gateway_address}/wus/DIENST/VERSIE")
        if "portal" in names:
            _say_portal(settings, backbone.store)
        print(f"  trust       {settings.trust}\n  workers     {', '.join(supervisor.pids)}\nStop it with Ctrl-C or SIGTERM.", flush=True)
        try:
            await backbone.keep(until_signal())
            _say("Stopping: workers finish what they have in hand ...")
        finally:
            await supervisor.stop()
    _say("Stopped.")
    return 0


def _say_portal(settings: Settings, store: Store | None) -> None:
    """Where the portal is, and how the first one gets in."""
    print(f"  portal      {settings.portal_address}")
    if store is not None and not settings.oidc_issuer and not store.people.accounts():
        home = f" --home {settings.home}" if "KOPPELPUNT_HOME" in settings.named else ""
        print(f"              nobody has an account yet: run.py account add NAME --role chain_manager{home}")


def _say(sentence: str) -> None:
    import contextlib

    with contextlib.suppress(OSError):  # the terminal may be what was closed
        print(sentence, flush=True)


# -- looking ----------------------------------------------------------------------------------------------------------------------------------


def status(arguments: Arguments) -> int:
    """Exit 1 when a worker is missing."""
    import asyncio

    from adapters.crls import standing
    from adapters.home import queue_depths
    from workers import commands
    from workers.clock import Clock
    from workers.register_cache import RegisterCache

    settings = read_settings(arguments)
    store = existing_store_of(settings)
    crls, queues = standing(store.registry, Clock().now_us()), asyncio.run(queue_depths(settings))
    pushes = any(place.url for place in RegisterCache(store.register)().parts.lanes())
    wanted = (*EVERY_WORKER, "push") if pushes or settings.register_source != "own" else EVERY_WORKER
    other, warnings = _other_register(settings, store), store.warnings.counts()
    return commands.status(arguments, store, queues=queues, crls=crls, wanted=wanted, warnings=warnings, other=other)


def _other_register(settings: Settings, store: Store) -> Any:
    """How it was when somebody looked last; None where ours alone decides."""
    from adapters.osr_watch import standing

    if settings.register_source == "own":
        return None
    return {"source": settings.register_source, "url": settings.osr_url, **(standing(store.registry) or {})}


def settings_(arguments: Arguments) -> int:
    """Every setting with its value, default and meaning; passwords masked."""
    from workers.commands import show_settings

    return show_settings(arguments, read_settings(arguments).rows())


def crl(arguments: Arguments) -> int:
    """Exit 1 unless every list could be used."""
    import asyncio
    import logging

    from adapters.crls import CrlFetcher, standing
    from workers import commands
    from workers.clock import Clock

    logging.disable()  # the table says it
    settings = read_settings(arguments)
    registry = existing_store_of(settings).registry
    refused = asyncio.run(CrlFetcher.of(settings, registry).fetch_all())
    return commands.crls(arguments, settings.crl, standing(registry, Clock().now_us()), refused)


def topology(arguments: Arguments) -> int:
    """Exit 1 when the broker does not look as it must."""
    from adapters import topology_cli
    from adapters.broker_keeper import Keeper
    from adapters.home import amqp_urls
    from workers.register_cache import RegisterCache
    from workers.tables import print_json

    settings = read_settings(arguments)
    store = existing_store_of(settings)
    keeper = Keeper(settings, store.registry, RegisterCache(store.register), *amqp_urls(settings))
    return topology_cli.run(arguments, keeper, print_json=print_json)


def action_desk_of(settings: Settings, store: Store) -> Any:
    """Where people act on what fell out."""
    from workers.actions import ActionDesk
    from workers.clock import Clock
    from workers.register_cache import RegisterCache

    return ActionDesk(store.jobs, RegisterCache(store.register), Clock(), approve_above=settings.approve_above)


def act(arguments: Arguments) -> int:
    """`retry`, `return`, `redirect` and `archive`: exit 1 when there is nothing with which it can be done."""
    from workers import job_commands
    from workers.clock import Clock
    from workers.commands import operator

    settings = read_settings(arguments)
    store = existing_store_of(settings)
    return job_commands.act(arguments, action_desk_of(settings, store), store, who=operator(os.environ), now=Clock().now)


def job(arguments: Arguments) -> int:
    """The jobs that actions became."""
    from workers import job_commands
    from workers.commands import operator

    settings = read_settings(arguments)
    return job_commands.job(arguments, action_desk_of(settings, existing_store_of(settings)), who=operator(os.environ))


def resolve(arguments: Arguments) -> int:
    """Exit 1 when nothing of it is uncertain."""
    from workers import commands

    return commands.resolve(arguments, existing_store_of(read_settings(arguments)), who=commands.operator(os.environ))


def lanes(arguments: Arguments) -> int:
    """Exit 1 when there is no such lane."""
    from workers import lane_commands
    from workers.commands import operator
    from workers.register_cache import RegisterCache

    store = existing_store_of(read_settings(arguments))
    return lane_commands.lanes(arguments, store.outbox, RegisterCache(store.register), who=operator(os.environ))


def proef(arguments: Arguments) -> int:
    """Exit 1 unless it arrived."""
    from workers import proef_commands
    from workers.clock import Clock
    from workers.commands import operator
    from workers.proefs import ProefDesk
    from workers.register_cache import RegisterCache

    settings, clock = read_settings(arguments), Clock()
    store = existing_store_of(settings)
    desk = ProefDesk(store.proefs, _asking(settings, RegisterCache(store.register), clock), clock)
    return proef_commands.proef(arguments, desk, who=operator(os.environ))


def _on_store(name: str) -> Callable[[Arguments], int]:
    """A command that is about the store and nothing else."""

    def call(arguments: Arguments) -> int:
        from workers import commands

        return getattr(commands, name)(arguments, existing_store_of(read_settings(arguments)))

    return call


def alerts(arguments: Arguments) -> int:
    """Exit 1 when a test message was not taken."""
    from adapters.telling import senders
    from adapters.vault import Vault, read_master_key
    from workers import alert_commands
    from workers.commands import operator
    from workers.register_cache import RegisterCache

    settings = read_settings(arguments)
    store = existing_store_of(settings)
    return alert_commands.alerts(
        arguments,
        store.alerts,
        _words(settings, RegisterCache(store.register)),
        lambda: senders(settings, Vault(read_master_key(settings.master_key))),
        store.alerts.book.secret,
        who=operator(os.environ),
    )


def contacts_arguments(parser: Parser) -> None:
    from workers.alert_commands import contacts_arguments

    contacts_arguments(parser, _home_and_json)


def contacts(arguments: Arguments) -> int:
    """Whom parties want to be told."""
    from adapters.endpoints import not_allowed
    from adapters.telling import WebhookSecrets
    from adapters.vault import Vault, read_master_key
    from workers import alert_commands
    from workers.commands import operator

    settings = read_settings(arguments)
    store = existing_store_of(settings)
    return alert_commands.contacts(
        arguments,
        store.alerts,
        store.alerts.book,
        lambda: WebhookSecrets(Vault(read_master_key(settings.master_key))),
        check_url=lambda url: not_allowed(url, settings.push_networks),
        who=operator(os.environ),
    )


# -- service register and diensten ------------------------------------------------------------------------------------------------------------


def register_arguments(parser: Parser) -> None:
    from workers.register_commands import add_arguments

    add_arguments(parser, _home_and_json)


def register(arguments: Arguments) -> int:
    """The service register."""
    from adapters.credentials import standing_of
    from adapters.crls import FollowingVerifier
    from adapters.endpoints import may_call
    from routing.register import read_register
    from routing.register_stored import follow
    from workers import register_commands as commands
    from workers.clock import Clock
    from workers.commands import operator
    from workers.register_work import Work

    settings = read_settings(arguments)
    store = open_store_of(settings) if arguments.what in ("load", "follow") else existing_store_of(settings)
    if arguments.what in ("follow", "unfollow"):
        return _follow_or_not(arguments.what, settings, store)
    empty = read_register({}, version=0)
    return commands.run(
        arguments,
        Work(
            book=store.register,
            register_at=lambda version: follow(store.register, empty, version),
            who=operator(os.environ),
            now=Clock().now,
            may_call=lambda address: may_call(address, settings.push_networks),
            most=settings.register_endpoints,
        ),
        contracts=lambda: contracts_of(settings),
        verifier=lambda: FollowingVerifier.for_amqp(settings, store.registry),
        last_delivered=store.queries.last_delivered,
        certificate=standing_of,
        warnings=store.warnings,
        asking=lambda register: _asking(settings, lambda: register, Clock())(),
    )


def _follow_or_not(what: str, settings: Settings, store: Store) -> int:
    """`register follow`, and `register unfollow`."""
    import asyncio

    from workers.clock import Clock
    from workers.commands import operator
    from workers.snapshots import follow_now, unfollow

    who = operator(os.environ)
    if what == "unfollow":
        return unfollow(store.register, store.snapshots)
    return asyncio.run(follow_now(_follower(settings, store, Clock(), who), store.register))


def certificate_arguments(parser: Parser) -> None:
    from workers.certificate_commands import add_arguments

    add_arguments(parser, _home_and_json)


def certificate(arguments: Arguments) -> int:
    """Our own certificate and the one that is to follow it."""
    from adapters.credentials import ours, read
    from workers import certificate_commands as commands
    from workers.clock import Clock
    from workers.commands import operator
    from workers.register_cache import RegisterCache

    settings = read_settings(arguments)
    store, current = existing_store_of(settings), ours(settings)()
    register, who = RegisterCache(store.register)(), operator(os.environ)
    return commands.run(arguments, store.certificates, register, current=current, read=read, who=who, now=Clock().now())


def account(arguments: Arguments) -> int:
    """Who may look at the portal."""
    if arguments.does == "keys":
        return _make_portal_keys(arguments)
    from datetime import timedelta

    import segno

    from adapters.passwords import Passwords
    from workers.account_commands import Desk, run
    from workers.clock import Clock
    from workers.commands import operator

    settings = read_settings(arguments)
    store, passwords = existing_store_of(settings), Passwords(_portal_keys(settings))
    desk = Desk(
        people=store.people,
        passwords=passwords,
        clock=Clock(),
        who=operator(os.environ),
        address=settings.portal_address,
        show_qr=lambda text: segno.make(text).terminal(compact=True),
        one_time=timedelta(hours=settings.portal_one_time_h),
        token_days=settings.oidc_token_days,
    )
    return run(arguments, desk)


def _portal_keys(settings: Settings) -> Any:
    """Those of the portal: from the master key where that is, which is the truth; else from the portal's file."""
    from adapters.portal_keys import PortalKeys
    from adapters.vault import read_master_key

    return PortalKeys.of(read_master_key(settings.master_key)) if settings.master_key.exists() else PortalKeys.read(settings.portal_secrets)


def _make_portal_keys(arguments: Arguments) -> int:
    """`account keys`: the portal's keys, out of the master key. Needs no store."""
    from adapters.portal_keys import PortalKeys
    from adapters.vault import read_master_key
    from workers.tables import print_json

    settings = read_settings(arguments)
    made = PortalKeys.of(read_master_key(settings.master_key)).write(settings.portal_secrets)
    if arguments.json:
        print_json({"file": str(settings.portal_secrets), "changed": made})
    else:
        print(
            f"The portal's keys {'are now' if made else 'were already'} in {settings.portal_secrets}, for the portal's machine and user only."
        )
    return 0


def account_arguments(parser: Parser) -> None:
    from workers.account_commands import add_arguments

    add_arguments(parser, _home_and_json)


def validate(arguments: Arguments) -> int:
    """Content only: dienst, XSD, rules."""
    from adapters import soap
    from schemas.validate_cli import run

    return run(arguments, parse=soap.parse, contracts=contracts_of(read_settings(arguments)))


def send(arguments: Arguments) -> int:
    """Hands in signed messages and prints their receipts. Exit 1 unless every one was accepted."""
    import asyncio

    from adapters.parties import hand_in
    from workers.tables import print_json, print_table

    party = (arguments.cert, arguments.key) if arguments.cert and arguments.key else None
    rows = asyncio.run(hand_in.send(arguments.files, read_settings(arguments), to=arguments.to, wait_s=arguments.wait, party=party))
    if arguments.json:
        for row in rows:
            print_json(row)
    else:
        print_table(("file", "accepted", "reference", "code", "reason", "warnings"), rows)
    return 0 if all(row["accepted"] for row in rows) else 1


def sandbox(arguments: Arguments) -> int:
    """A partner that plays a WUS endpoint, until SIGTERM or Ctrl-C."""
    import asyncio

    from adapters.parties.sandbox_cli import serve
    from workers.supervisor import until_signal

    asyncio.run(serve(arguments, until_signal))
    return 0


def wsdl(arguments: Arguments) -> int:
    """The WSDL of a dienst version with its XSDs inside; nothing needs to run."""
    from adapters.descriptions_cli import wsdl

    settings = read_settings(arguments)
    return wsdl(arguments, contracts_of(settings), address=settings.gateway_address)


def openapi(arguments: Arguments) -> int:
    """The OpenAPI description of what is under /rest; nothing needs to run."""
    from adapters.descriptions_cli import openapi
    from workers.tables import print_json

    settings = read_settings(arguments)
    return openapi(arguments, contracts_of(settings), address=settings.gateway_address, print_json=print_json)


def demo(arguments: Arguments) -> int:
    """A private broker and store in a temporary home, a small chain, a season with mistakes. Exit 1 when anything was lost or doubled."""
    import asyncio
    import shutil
    import tempfile

    from adapters.home import alone_in
    from workers.logs import configure

    configure("ERROR")
    home = arguments.home or Path(tempfile.mkdtemp(prefix="koppelpunt-demo-"))
    home.mkdir(parents=True, exist_ok=True)
    home.chmod(0o755)  # the broker's own user must be able to reach its folder
    try:
        with alone_in(home):
            return asyncio.run(_demo(home, arguments))
    finally:
        if not arguments.home:
            shutil.rmtree(home, ignore_errors=True)


async def _demo(home: Path, arguments: Arguments) -> int:
    from adapters.parties.demo import perform
    from adapters.parties.demo_accounts import portal_port
    from workers.commands import show_demo
    from workers.progress import Progress
    from workers.supervisor import Supervisor, until_signal
    from workers.tables import print_json

    async def stay(backbone: Any, result: Any, groups: Any) -> None:
        progress.close()
        show_demo(result.as_dict(), groups)
        _show_demo_accounts(backbone, port)
        print(f"Everything keeps running; look at it with --home {home}. Ctrl-C stops it.", flush=True)
        await backbone.keep(until_signal())

    private = {name: value for name, value in os.environ.items() if not name.startswith("KOPPELPUNT_") and name != "AMQP_URL"}
    port = portal_port()
    portal = {"KOPPELPUNT_PORTAL_PORT": str(port), "KOPPELPUNT_PORTAL_SECOND_FACTOR": "none"}  # whoever looks at a demo has its passwords
    environment = {**private, "KOPPELPUNT_LOG_LEVEL": "WARNING", "KOPPELPUNT_HOME": str(home), **portal}
    names = (*EVERY_WORKER, "portal") if arguments.stay else EVERY_WORKER
    workers = Supervisor(ROOT / "run.py", names, environment, home / "workers.log")
    with Progress(quiet=arguments.json) as progress:
        result, groups = await perform(
            home,
            workers=workers,
            progress=progress,
            messages=arguments.messages,
            seed=arguments.seed,
            afterwards=stay if arguments.stay else None,
        )
    if arguments.json:
        print_json(result.as_dict())
    elif not arguments.stay:
        show_demo(result.as_dict(), groups)
    return 1 if result.lost or result.duplicated else 0


def _show_demo_accounts(backbone: Any, port: int) -> None:
    """Makes an account for each role, and says what to sign in with."""
    from adapters.parties.demo_accounts import accounts, make
    from adapters.parties.world import build_world
    from adapters.passwords import Passwords
    from workers.clock import Clock
    from workers.tables import print_table

    settings = backbone.settings
    passwords, world = Passwords(_portal_keys(settings)), build_world(settings.own_oins[0])
    rows = make(backbone.store.people, passwords, accounts(world), now_us=Clock().now_us())
    print_table(("name", "password", "role", "sees"), rows, title=f"The portal: http://localhost:{port}, and who may sign in there")


Command = tuple[Callable[[Parser], None], Callable[[Arguments], int], str]

COMMANDS: dict[str, Command] = {
    "demo": (
        _of("adapters.parties.demo", "add_arguments", _home_and_json),
        demo,
        "a private broker, a small chain, a season's messages with mistakes in them, and what became of them",
    ),
    "up": (up_arguments, up, "everything on this machine for real: broker, store, gateway and all workers, until SIGTERM"),
    "work": (work_arguments, work, "one worker, for real deployments"),
    "status": (_home_and_json, status, "what runs, what is queued, what is open, how old register and CRLs are"),
    "send": (
        _of("adapters.parties.hand_in", "add_arguments", _home_and_json),
        send,
        "hand in signed messages over AMQP or HTTPS, and print the receipts",
    ),
    "sandbox": (
        _of("adapters.parties.sandbox_cli", "add_arguments"),
        sandbox,
        "a partner to test against: plays a receiver's WUS endpoint, well or badly",
    ),
    "bench": (
        _of("benchmarks.cli", "add_arguments", _json),
        _of("benchmarks.cli", "run"),
        "how fast it is on this machine, beside what a message costs at least",
    ),
    "pki": (
        _of("adapters.wsse_cli", "pki_arguments"),
        _of("adapters.wsse_cli", "pki_command"),
        "a test PKI: root, intermediate, party certificates with their OIN, CRL",
    ),
    "sign": (_of("adapters.wsse_cli", "sign_arguments"), _of("adapters.wsse_cli", "sign"), "an unsigned envelope becomes a signed one"),
    "verify": (
        _of("adapters.wsse_cli", "verify_arguments"),
        _of("adapters.wsse_cli", "verify"),
        "is this message signed, by whom, and what does the signature cover",
    ),
    "settings": (_home_and_json, settings_, "every setting with its value and meaning"),
    "topology": (_of("adapters.topology_cli", "add_arguments", _home_and_json), topology, "what the broker must look like: check or apply"),
    "crl": (
        _of("workers.commands", "crl_arguments", _home_and_json),
        crl,
        "revocation lists: fetch them now, so that a revocation counts within seconds",
    ),
    "certificate": (certificate_arguments, certificate, "our own certificate, the next one, and which is used towards whom"),
    "account": (account_arguments, account, "who may look at the portal: accounts, passwords, API tokens; and the portal's own keys"),
    "register": (register_arguments, register, "the service register: load, show, change, plan, explain"),
    "wsdl": (_of("adapters.descriptions_cli", "wsdl_arguments", _home), wsdl, "the WSDL of a dienst version, for a supplier's software"),
    "openapi": (
        _of("adapters.descriptions_cli", "openapi_arguments", _home),
        openapi,
        "the OpenAPI description of everything under /rest, for a supplier's software",
    ),
    "validate": (
        _of("schemas.validate_cli", "add_arguments"),
        validate,
        "the content of messages: dienst, XSD and rules, without signature",
    ),
    "outbox": (_of("workers.commands", "outbox_arguments", _home_and_json), _on_store("outbox"), "what is open"),
    "failures": (
        _of("workers.commands", "failures_arguments", _home_and_json),
        _on_store("failures"),
        "what fell out, and whose turn it is",
    ),
    "message": (_of("workers.commands", "message_arguments", _home_and_json), _on_store("message"), "one message's whole timeline"),
    "retry": (_of("workers.job_commands", "retry_arguments", _home_and_json), act, "offer again what failed, with the same ids"),
    "return": (
        _of("workers.job_commands", "return_arguments", _home_and_json),
        act,
        "tell the system that handed it in what was wrong, and that nothing more comes of it here",
    ),
    "redirect": (
        _of("workers.job_commands", "redirect_arguments", _home_and_json),
        act,
        "offer it to another endpoint that the register allows",
    ),
    "archive": (_of("workers.job_commands", "archive_arguments", _home_and_json), act, "close without delivery, or reopen"),
    "job": (_of("workers.job_commands", "job_arguments", _home_and_json), job, "what became of actions on many; pause, resume, approve"),
    "resolve": (
        _of("workers.commands", "resolve_arguments", _home_and_json),
        resolve,
        "record whether a delivery of which nobody knew it has arrived",
    ),
    "lanes": (
        _of("workers.lane_commands", "arguments", _home_and_json),
        lanes,
        "receivers' endpoints that fail or are held; hold one, or let it go",
    ),
    "proef": (
        _of("workers.proef_commands", "arguments", _home_and_json),
        proef,
        "send a test message to a receiver's endpoint, and see what comes back",
    ),
    "alerts": (
        _of("workers.alert_commands", "alerts_arguments", _home_and_json),
        alerts,
        "what is amiss, and who was told: take an alert, try an address",
    ),
    "contacts": (contacts_arguments, contacts, "whom parties want to be told, and how"),
    "journal": (
        _of("workers.commands", "journal_arguments", _home_and_json),
        _on_store("journal"),
        "the hash-chained journal: verify; and the board that is made of it",
    ),
    "prepare": (
        _of("broker_config.install", "add_arguments"),
        _of("broker_config.install", "prepare"),
        "see to the system packages this needs, through apt where they are missing and we may",
    ),
}

if __name__ == "__main__":
    sys.exit(main())
