#!/usr/bin/env python3
"""Koppelpunt's command line, and the only place where a worker meets its adapters.

Each command imports what it needs when it runs: `verify` answers in a fraction of a second and knows no broker or store.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Mapping, Sequence
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
    from broker_config.settings import Settings

    settings = Settings.from_environment(os.environ, home=getattr(arguments, "home", None))
    private = settings.home / "up.json"  # what `up` made for a private home, unless the environment says otherwise
    if private.exists():
        import json

        made = {name: value for name, value in json.loads(private.read_text()).items() if name not in os.environ}
        settings = Settings.from_environment({**os.environ, **made}, home=settings.home)
    return settings


def open_store_of(settings: Settings) -> Store:
    from adapters.store import open_store

    return open_store(settings.store)


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


def amqp_urls(settings: Settings) -> tuple[str, str | None]:
    """The broker for workers and its management address; the private node of the home when no AMQP_URL is set."""
    if settings.amqp_url:
        return settings.amqp_url, settings.amqp_management
    from broker_config.node import PrivateNode

    node = PrivateNode(settings.home, port=settings.amqp_port)
    return node.url, node.management_url


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
    from adapters.rabbit import Publisher
    from adapters.vault import Vault, read_master_key
    from workers.clock import Clock
    from workers.loop import Worker
    from workers.register_cache import RegisterCache

    store = open_store_of(settings)
    clock = Clock()
    vault = Vault(read_master_key(settings.master_key))  # first of all: without the key nothing may be taken in
    worker = Worker(name, store.registry, clock)
    register = RegisterCache(store.registry)
    amqp, _ = amqp_urls(settings)
    publisher = Publisher(amqp)
    parts = Parts(settings, store, worker, vault, register, publisher, clock, amqp)
    try:
        await worker.run(*WORKERS[name](parts))
    finally:
        for consumer in parts.consumers:
            await consumer.close()
        await publisher.close()
        store.close()


class Parts:
    """What the workers of one process are built from."""

    def __init__(
        self, settings: Settings, store: Store, worker: Any, vault: Any, register: Any, publisher: Any, clock: Any, amqp: str
    ) -> None:
        self.settings, self.store, self.worker, self.vault, self.register = settings, store, worker, vault, register
        self.publisher, self.clock, self.amqp = publisher, clock, amqp
        self.consumers: list[Any] = []

    def consumer(self, *queues: str, prefetch: int, **more: Any) -> Any:
        """A consumer of its own connection, closed when the worker ends."""
        from adapters.rabbit import Consumer

        made = Consumer(self.amqp, queues, prefetch=prefetch, **more)
        self.consumers.append(made)
        return made

    def systems(self) -> list[str]:
        """OINs of the systems that connect over AMQP, as the register has them now, and of those that left something to be handled."""
        from adapters.broker_keeper import followed_systems

        return followed_systems(self.register(), self.store.registry)

    def keeper(self) -> Any:
        """What looks after the broker as a whole."""
        from adapters.broker_keeper import Keeper

        return Keeper(self.settings, self.store.registry, self.register, *amqp_urls(self.settings))


def _intake(parts: Parts) -> list[Any]:
    from adapters.crls import FollowingVerifier
    from workers.desk import Desk, step_judge
    from workers.intake import Intake, Share
    from workers.loop import consume

    contracts = contracts_of(parts.settings)
    verifier = FollowingVerifier.for_amqp(parts.settings, parts.store.registry)
    desk = Desk(verifier=verifier, contracts=contracts, vault=parts.vault, own_oins=parts.settings.own_oins, clock=parts.clock)
    intake = Intake(parts.worker, parts.store, parts.publisher, desk, parts.register, step_judge(contracts))
    consumer = parts.consumer(prefetch=4 * parts.settings.batch_size, least=20, in_order=True)
    return [
        consume(parts.worker, consumer, intake.handle, limit=parts.settings.batch_size, wait_s=parts.settings.batch_ms / 1000, at_once=2),
        Share(parts.worker, consumer, parts.store.registry, parts.systems).follow(),
    ]


def _relay(parts: Parts) -> list[Any]:
    from routing.release import is_mailbox
    from workers.relay import Relay

    mailbox, push = parts.settings.mailbox_window, parts.settings.push_window
    relay = Relay(parts.worker, parts.store, parts.publisher, parts.keeper(), lambda lane: mailbox if is_mailbox(lane) else push)
    return [relay.run()]


def _route(parts: Parts) -> list[Any]:
    from workers.loop import consume
    from workers.route import Router

    router = Router(parts.worker, parts.store, parts.vault, parts.register, contracts_of(parts.settings).kind, parts.clock)
    return [consume(parts.worker, parts.consumer("route", prefetch=20), router.handle, limit=4, wait_s=0)]


def _deliver(parts: Parts) -> list[Any]:
    from adapters.forwarding import Forwarding
    from adapters.pki import read_certificate, read_key
    from adapters.signing import Signer
    from adapters.soap import Limits
    from workers.deliver import Courier
    from workers.loop import consume, follow_queues

    settings, contracts = parts.settings, contracts_of(parts.settings)
    if settings.key is None or settings.cert is None:
        from adapters.errors import UsageError

        raise UsageError(
            "Set KOPPELPUNT_KEY and KOPPELPUNT_CERT to our signing key and certificate, or let `run.py up` make a private home."
        )
    forwarding = Forwarding(Signer(read_key(settings.key), read_certificate(settings.cert)), Limits(size=64 << 20))
    courier = Courier(
        parts.worker,
        parts.store,
        parts.publisher,
        parts.vault,
        parts.register,
        forwarding,
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


def _audit(parts: Parts) -> list[Any]:
    from workers.audit import Auditor
    from workers.dead import Dead
    from workers.loop import consume

    dead = Dead(parts.worker, parts.store, parts.publisher)
    return [
        Auditor(parts.worker, parts.store, parts.publisher).run(),
        consume(parts.worker, parts.consumer("dead", prefetch=1), dead.handle, limit=1),
    ]


def _timetable(parts: Parts) -> list[Any]:
    from adapters.crls import CrlFetcher
    from adapters.mailroom import Mailroom
    from adapters.second_opinions import SecondOpinions
    from workers.mailboxes import TakingBack, Withdrawal
    from workers.timetable import Job, Timetable

    contracts, keeper = contracts_of(parts.settings), parts.keeper()
    crls = CrlFetcher.of(parts.settings, parts.store.registry)
    opinions = SecondOpinions(parts.store, parts.vault)
    more = (
        Job(name="crls", every_s=60, act=crls.fetch_due),
        Job(name="topology", every_s=2, act=keeper.follow_register),
        Job(name="second opinion", every_s=600, act=opinions.ask),
    )
    return [
        Timetable(parts.worker, parts.store, parts.register, list(contracts.kinds), parts.clock, more).run(),
        Withdrawal(parts.worker, parts.store, parts.register, parts.clock).run(),
        TakingBack(parts.worker, parts.store, parts.register, Mailroom(parts.amqp), parts.clock).run(),
    ]


WORKERS: dict[str, Callable[[Parts], list[Any]]] = {
    "audit": _audit,
    "deliver": _deliver,
    "intake": _intake,
    "relay": _relay,
    "route": _route,
    "timetable": _timetable,
}


# -- everything on this machine -------------------------------------------------------------------------------------------------------------


def make_private_home(settings: Settings, environment: Mapping[str, str] | None = None) -> Settings:
    """What a home needs before its workers can start: a master key, and (unless set) a test PKI with our own certificate."""
    import json

    from adapters import pki
    from adapters.vault import create_master_key

    settings.home.mkdir(parents=True, exist_ok=True)
    create_master_key(settings.master_key)
    made: dict[str, str] = {}
    folder = settings.home / "pki"
    if settings.key is None:
        if not (folder / "ca.pem").exists():
            pki.init(folder)
        ours = pki.issue(folder, oin=settings.own_oins[0], name="Koppelpunt")
        made |= {"KOPPELPUNT_KEY": str(ours.key), "KOPPELPUNT_CERT": str(ours.certificate)}
    if settings.trust is None:
        made |= {"KOPPELPUNT_TRUST": str(folder / "ca.pem")}
        if not settings.crl:
            made |= {"KOPPELPUNT_CRL": str(folder / "crl.pem")}
    if made:
        (settings.home / "up.json").write_text(json.dumps(made, indent=1) + "\n")
    return type(settings).from_environment({**(os.environ if environment is None else environment), **made}, home=settings.home)


def environment_of(settings: Settings) -> dict[str, str]:
    """For our own worker processes; the broker's password goes this way and not over the command line."""
    amqp, management = amqp_urls(settings)
    private = {"AMQP_URL": amqp, "KOPPELPUNT_HOME": str(settings.home)}
    return {**os.environ, **private, **({"KOPPELPUNT_AMQP_MANAGEMENT": management} if management else {})}


def up_arguments(parser: Parser) -> None:
    _home(parser)
    parser.add_argument(
        "--workers", metavar="NAMES", default=",".join(EVERY_WORKER), help="which workers, one process each (default: %(default)s)"
    )


#: Two of the one that works hardest: verifying is half of what a message costs us.
EVERY_WORKER = ("intake", "intake", "relay", "route", "deliver", "audit", "timetable")


def up(arguments: Arguments) -> int:
    """Broker (private node, or AMQP_URL), store and workers, until SIGTERM."""
    import asyncio

    from adapters.errors import UsageError
    from workers.logs import configure

    settings = read_settings(arguments)
    configure(settings.log_level)
    names = [name for name in arguments.workers.split(",") if name]
    unknown = sorted(set(names) - set(WORKERS))
    if unknown:
        raise UsageError(f"There is no worker {unknown[0]!r}; there are {', '.join(sorted(WORKERS))}.")
    settings = make_private_home(settings)
    for warning in settings.warnings():
        print(f"koppelpunt: {warning}", file=sys.stderr)
    return asyncio.run(_up(settings, names))


async def _up(settings: Settings, names: Sequence[str]) -> int:

    from broker_config.settings import mask
    from workers.supervisor import Supervisor

    async with Backbone(settings) as backbone:
        supervisor = Supervisor(ROOT / "run.py", names, environment_of(settings))
        await supervisor.start()
        amqp, management = amqp_urls(settings)
        print(f"Koppelpunt runs. home {settings.home}\n  AMQP        {mask(amqp)}\n  management  {mask(management or '(not known)')}")
        print(f"  trust       {settings.trust}\n  workers     {', '.join(supervisor.pids)}\nStop it with Ctrl-C or SIGTERM.", flush=True)
        try:
            await backbone.keep(_until_signal())
        finally:
            await supervisor.stop()
    return 0


def _until_signal() -> Any:
    """An event that SIGTERM or Ctrl-C sets."""
    import asyncio
    import signal

    stopped = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    return stopped


class Backbone:
    """Broker and store of one machine, made ready: node started, tables there, topology applied and checked."""

    def __init__(self, settings: Settings, *, port: int | None = None) -> None:
        """`port`: of a private node, instead of the setting; 0 draws a free one."""
        from broker_config.node import PrivateNode

        self.settings = settings
        self.node = None if settings.amqp_url else PrivateNode(settings.home, port=settings.amqp_port if port is None else port)
        self.store: Store | None = None

    async def __aenter__(self) -> Backbone:
        import asyncio

        started = asyncio.create_task(asyncio.to_thread(self.node.start)) if self.node else None
        try:
            self.store = open_store_of(self.settings)
            if started:
                await started
            await self.apply_topology()
            await self.fetch_crls()
        except BaseException:
            if started:
                await asyncio.wait([started])
            await self.__aexit__()
            raise
        return self

    async def apply_topology(self) -> None:
        """Applies what the register wants and checks it; says so when the broker does not look as it must."""
        from adapters.broker_keeper import Keeper
        from workers.register_cache import RegisterCache

        assert self.store is not None
        register = RegisterCache(self.store.registry)
        keeper = Keeper(self.settings, self.store.registry, register, *amqp_urls(self.settings))
        await keeper.apply_topology()
        for sentence in await keeper.differences():
            print(f"koppelpunt: broker: {sentence}", file=sys.stderr)

    async def fetch_crls(self) -> None:
        """Without CRLs no signature can be judged, so they come before the workers do."""
        from adapters import pki
        from adapters.crls import CrlFetcher

        assert self.store is not None
        if (self.settings.home / "pki").is_dir():
            pki.renew_crl(self.settings.home / "pki")
        await CrlFetcher.of(self.settings, self.store.registry).fetch_all()

    async def keep(self, stopped: Any) -> None:
        """Until told to stop: starts a private node again that died, and renews the CRLs of a private PKI."""
        import asyncio
        import time

        from adapters import pki

        renew_at = 0.0
        while not stopped.is_set():
            if self.node and not self.node.is_running():
                print("koppelpunt: the private broker died; it is started again.", file=sys.stderr)
                await asyncio.to_thread(self.node.start)
            if (self.settings.home / "pki").is_dir() and time.monotonic() >= renew_at:
                renew_at = time.monotonic() + 12 * 3600
                await asyncio.to_thread(pki.renew_crl, self.settings.home / "pki")
            try:
                await asyncio.wait_for(stopped.wait(), 1.0)
            except TimeoutError:
                continue

    async def __aexit__(self, *_: object) -> None:
        import asyncio

        if self.store:
            self.store.close()
        if self.node:
            await asyncio.to_thread(self.node.stop)


# -- looking ----------------------------------------------------------------------------------------------------------------------------------


def status(arguments: Arguments) -> int:
    """What runs, what is queued, what is open, how old register and CRLs are. Exit 1 when a worker is missing."""
    import asyncio

    from adapters.crls import past_half_life
    from workers.clock import Clock
    from workers.commands import show_status
    from workers.loop import SEEN_EVERY_S
    from workers.tables import age

    settings = read_settings(arguments)
    store = open_store_of(settings)
    now_us = Clock().now_us()
    alive = [w for w in store.registry.workers() if now_us - w["seen_us"] < 3 * SEEN_EVERY_S * 1e6]
    loaded = store.registry.register_age()
    counts = store.queries.counts()
    found = {
        "workers": [
            {
                "name": w["name"],
                "pid": w["pid"],
                "host": w["host"],
                "state": w["state"],
                "handled": w["handled"],
                "seen": age(w["seen_us"], now_us),
            }
            for w in alive
        ],
        "queues": asyncio.run(_depths(settings)),
        "messages": counts["messages"],
        "open": {
            s: n for s, n in counts["deliveries"].items() if s in ("routed", "waiting", "released", "postponed", "uncertain", "delivered")
        },
        "register": {"version": loaded[0] if loaded else 0, "age": age(loaded[1], now_us) if loaded else None},
        "crls": [
            {
                "source": crl.source,
                "age": age(crl.fetched_us, now_us),
                "next_update_us": crl.next_update_us,
                "state": "expired" if crl.next_update_us < now_us else "past half life" if past_half_life(crl, now_us) else "current",
            }
            for crl in store.registry.crls()
        ],
    }
    show_status(found, as_json=arguments.json)
    return 0 if {w["name"] for w in alive} >= set(EVERY_WORKER) else 1


async def _depths(settings: Settings) -> dict[str, int]:
    from adapters.rabbit_admin import AdminError, BrokerAdmin
    from broker_config.node import NodeError
    from broker_config.topology import vhost_of

    try:
        amqp, management = amqp_urls(settings)
        if management is None:
            return {}
        async with BrokerAdmin(management, vhost=vhost_of(amqp)) as admin:
            return {name: depth.ready + depth.unacknowledged for name, depth in (await admin.depths()).items()}
    except (AdminError, NodeError) as error:
        print(f"koppelpunt: {error}", file=sys.stderr)
        return {}


def settings_(arguments: Arguments) -> int:
    """Every setting with its value, default and meaning; passwords masked."""
    from dataclasses import asdict

    from workers.tables import print_json, print_table

    rows = [asdict(row) for row in read_settings(arguments).rows()]
    if arguments.json:
        print_json(rows)
    else:
        print_table(("name", "value", "meaning"), rows)
    return 0


def topology_arguments(parser: Parser) -> None:
    parser.add_argument(
        "what",
        choices=("check", "apply", "remove"),
        help="compare the running broker with what it must look like, make it so, or remove the queues of a system that left",
    )
    parser.add_argument("oin", nargs="?", metavar="OIN", help="with remove: whose queues")
    parser.add_argument("--even-with-messages", action="store_true", help="with remove: also queues that are not empty")
    _home_and_json(parser)


def topology(arguments: Arguments) -> int:
    """Exit 1 when the broker does not look as it must."""
    import asyncio

    from adapters.broker_keeper import Keeper
    from workers.register_cache import RegisterCache
    from workers.tables import print_json

    settings = read_settings(arguments)
    store = open_store_of(settings)
    keeper = Keeper(settings, store.registry, RegisterCache(store.registry), *amqp_urls(settings))
    if (arguments.what == "remove") != (arguments.oin is not None):
        from adapters.errors import UsageError

        raise UsageError("Name the system whose queues are to go: `topology remove OIN`; check and apply take no OIN.")
    if arguments.what == "apply":
        asyncio.run(keeper.apply_topology())
    if arguments.what == "remove":
        asyncio.run(keeper.remove(arguments.oin, even_with_messages=arguments.even_with_messages))
    sentences = asyncio.run(keeper.differences())
    if arguments.json:
        print_json({"differences": sentences})
    else:
        print("\n".join(sentences) or "The broker looks as it must.")
    return 1 if sentences else 0


def outbox_arguments(parser: Parser) -> None:
    parser.add_argument("--party", metavar="OIN", help="sender, receiver or connecting system")
    parser.add_argument("--dienst", metavar="D")
    parser.add_argument("--state", metavar="S", help="only this state, finished ones included")
    parser.add_argument("--older-than", metavar="T", help="handed in longer ago than this, such as 15m, 4h or 2d")
    _home_and_json(parser)


def outbox(arguments: Arguments) -> int:
    """What is open."""
    from adapters.store import OutboxFilter
    from workers.clock import Clock
    from workers.commands import parse_age, show_outbox

    now_us = Clock().now_us()
    before = now_us - int(_usage(parse_age, arguments.older_than).total_seconds() * 1e6) if arguments.older_than else None
    wanted = OutboxFilter(party=arguments.party, dienst=arguments.dienst, state=arguments.state, before_us=before)
    show_outbox(open_store_of(read_settings(arguments)).queries.outbox(wanted), now_us=now_us, as_json=arguments.json)
    return 0


def _usage(parse: Callable[[str], Any], value: str) -> Any:
    from adapters.errors import UsageError

    try:
        return parse(value)
    except ValueError as error:
        raise UsageError(str(error)) from error


def failures_arguments(parser: Parser) -> None:
    parser.add_argument("--group", action="store_true", help="by cause and owner")
    _home_and_json(parser)


def failures(arguments: Arguments) -> int:
    """What fell out."""
    from workers.commands import show_failure_groups, show_failures

    queries = open_store_of(read_settings(arguments)).queries
    if arguments.group:
        show_failure_groups(queries.failure_groups(), as_json=arguments.json)
    else:
        show_failures(queries.failures(), as_json=arguments.json)
    return 0


def message_arguments(parser: Parser) -> None:
    parser.add_argument("id", metavar="ID", help="reference, delivery_id, MessageID or identificatiecodeBedrijfsdocument")
    _home_and_json(parser)


def _found(store: Store, id: str) -> str:
    from adapters.errors import UsageError

    reference = store.queries.find(id)
    if reference is None:
        raise UsageError(f"There is no message, delivery or refusal {id[:60]}; give a reference, delivery_id, MessageID or business id.")
    return reference


def message(arguments: Arguments) -> int:
    """One message's whole timeline."""
    from workers.commands import show_message

    store = open_store_of(read_settings(arguments))
    reference = _found(store, arguments.id)
    found = store.queries.message(reference) or {"reference": reference}
    show_message(found, store.journal.of_message(reference), store.journal.decisions_of(reference), as_json=arguments.json)
    return 0


def retry(arguments: Arguments) -> int:
    """What failed of one message is offered again: the whole of it to routing, or failed deliveries with the same ids; the journal says by
    whom. Exit 1 when there is nothing to offer again, with the reason."""
    from workers.clock import Clock
    from workers.commands import operator
    from workers.tables import print_json

    store = open_store_of(read_settings(arguments))
    reference = _found(store, arguments.id)
    done = store.repair.retry(reference, actor=operator(os.environ), now_us=Clock().now_us())
    if arguments.json:
        print_json({"reference": reference, "message": done.message, "deliveries": done.deliveries})
    elif done.message:
        print(f"{reference} is offered to routing again; see what comes of it with `message`.")
    else:
        print(f"{done.deliveries} failed deliveries of {reference} are offered again.")
    return 0


def journal_arguments(parser: Parser) -> None:
    parser.add_argument("what", choices=("verify",), help="walk the hash chain, end to end")
    _home_and_json(parser)


def journal(arguments: Arguments) -> int:
    """Exit 1 when the chain is broken."""
    from dataclasses import asdict

    from workers.tables import print_json

    result = open_store_of(read_settings(arguments)).journal.verify()
    if arguments.json:
        print_json(asdict(result))
    elif result.whole:
        print(f"The journal is whole: {result.events} events in {result.blocks} blocks; {result.waiting} wait to be chained.")
    else:
        print(f"The journal is BROKEN after {result.events} good events: {result.problem}.")
    return 0 if result.whole else 1


# -- service register and diensten ------------------------------------------------------------------------------------------------------------


def register_arguments(parser: Parser) -> None:
    what = parser.add_subparsers(dest="what", required=True, metavar="load|show|explain")
    load = what.add_parser("load", help="check a file (JSON) and make it the newest version; all or nothing")
    load.add_argument("file", type=Path, metavar="FILE")
    load.add_argument("--dry-run", action="store_true", help="only check")
    show = what.add_parser("show", help="one list of the register, with how each row stands on a day")
    show.add_argument(
        "list", nargs="?", default="organisations", help="organisations, systems, diensten, mandates or endpoints (default: %(default)s)"
    )
    show.add_argument("--on", metavar="DAY", help="another day, as YYYY-MM-DD")
    show.add_argument("--find", metavar="TEXT", default="", help="only rows that hold this text")
    explain = what.add_parser("explain", help="the dry run: where would this message go, and why")
    explain.add_argument("--message", type=Path, required=True, metavar="FILE", help="a signed message")
    for sub in (load, show, explain):
        _home_and_json(sub)


def register(arguments: Arguments) -> int:
    """The service register."""
    return {"load": _register_load, "show": _register_show, "explain": _register_explain}[arguments.what](arguments)


def _register_load(arguments: Arguments) -> int:
    import json

    from adapters.errors import UsageError
    from routing.register import read_register
    from workers.clock import Clock
    from workers.commands import operator
    from workers.tables import print_json

    try:
        document = json.loads(arguments.file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise UsageError(f"{arguments.file} is not JSON in UTF-8: {error}. Nothing was loaded.") from error
    settings = read_settings(arguments)
    contracts = contracts_of(settings)
    checked = read_register(document, version=0)
    unknown = sorted({(d.dienst, d.versie) for d in checked.diensten.values()} - {(k.dienst, k.versie) for k in contracts.kinds})
    for dienst, versie in unknown:
        print(
            f"koppelpunt: there is no contract for dienst {dienst} version {versie}; its messages are refused until there is.",
            file=sys.stderr,
        )
    version = 0
    if not arguments.dry_run:
        version = open_store_of(settings).registry.save_register(document, who=operator(os.environ), now_us=Clock().now_us())
    counts = {name: len(getattr(checked, name)) for name in ("organisations", "systems", "diensten", "mandates", "endpoints")}
    if arguments.json:
        print_json({"version": version, **counts})
    else:
        said = "The register is in order" if arguments.dry_run else f"This is version {version} of the register"
        print(f"{said}: " + ", ".join(f"{count} {name}" for name, count in counts.items()) + ".")
    return 0


def _register_show(arguments: Arguments) -> int:
    from datetime import date

    from adapters.errors import UsageError
    from routing.amsterdam import amsterdam_day
    from routing.register_cli import SHOWN, lines, show
    from workers.clock import Clock
    from workers.register_cache import RegisterCache
    from workers.tables import print_json

    if arguments.list not in SHOWN:
        raise UsageError(f"The register has no list {arguments.list!r}; it has {', '.join(SHOWN)}.")
    day = _usage(date.fromisoformat, arguments.on) if arguments.on else amsterdam_day(Clock().now())
    table = show(RegisterCache(open_store_of(read_settings(arguments)).registry)(), arguments.list, day, find=arguments.find)
    if arguments.json:
        print_json(table.records())
    else:
        print("\n".join([table.title, *lines(table)]))
    return 0


def _register_explain(arguments: Arguments) -> int:
    from adapters.crls import FollowingVerifier
    from routing.explain import explain
    from routing.register_cli import explained
    from schemas.content import read_content
    from workers.clock import Clock
    from workers.register_cache import RegisterCache
    from workers.tables import print_json

    settings = read_settings(arguments)
    store, contracts, now = open_store_of(settings), contracts_of(settings), Clock().now()
    envelope = FollowingVerifier.for_amqp(settings, store.registry).verify(arguments.message.read_bytes(), at=now)
    content = read_content(
        envelope.content, action=envelope.action, sender=envelope.sender, receiver=envelope.receiver, contracts=contracts, now=now
    )
    decisions = explain(
        RegisterCache(store.registry)(),
        content.kind,
        content.facts,
        envelope.sender,
        envelope.receiver,
        envelope.certificate_oin,
        now,
    )
    if arguments.json:
        print_json([decision.to_dict() for decision in decisions])
    else:
        print("\n".join(explained(decisions)))
    return 0 if all(decision.outcome in ("yes", "filtered") for decision in decisions) else 1


def _of(name: str) -> Callable[[Any], Any]:
    """A function of the signing commands, imported when it is called."""

    def call(given: Any) -> Any:
        from adapters import wsse_cli

        return getattr(wsse_cli, name)(given)

    return call


def validate_arguments(parser: Parser) -> None:
    from schemas.validate_cli import add_arguments

    add_arguments(parser)


def validate(arguments: Arguments) -> int:
    """Content only: dienst, XSD, rules."""
    from adapters import soap
    from schemas.validate_cli import run

    return run(arguments, parse=soap.parse, contracts=contracts_of(read_settings(arguments)))


def prepare_arguments(parser: Parser) -> None:
    parser.add_argument("--tests", action="store_true", help="also what the tests need: PostgreSQL")


def prepare(arguments: Arguments) -> int:
    """RabbitMQ (and PostgreSQL for the tests) are there, or installed where we may."""
    from broker_config.install import require

    for what in ("rabbitmq", "postgresql") if arguments.tests else ("rabbitmq",):
        require(what)
    return 0


def send_arguments(parser: Parser) -> None:
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE", help="signed messages of one system")
    parser.add_argument("--to", metavar="URL", help="amqp(s)://OIN:password@host/vhost; default: the private broker of the home")
    parser.add_argument("--wait", type=float, default=30.0, metavar="SECONDS", help="how long to wait for receipts (default: %(default)s)")
    _home_and_json(parser)


def send(arguments: Arguments) -> int:
    """Hands in signed messages over AMQP and prints their receipts. Exit 1 unless every one was accepted."""
    import asyncio
    from urllib.parse import quote, urlsplit

    from adapters.broker_keeper import password_file
    from adapters.errors import UsageError
    from adapters.parties.hand_in import HandIn, hand_in
    from adapters.trust import TrustStore
    from adapters.wsse import Verifier
    from workers.tables import print_json, print_table

    settings = read_settings(arguments)
    if settings.trust is None:
        raise UsageError("Set KOPPELPUNT_TRUST to the CA certificates, or name a home that `run.py up` made with --home.")
    verifier = Verifier(TrustStore.from_files([settings.trust]))
    read = [(file, verifier.verify(file.read_bytes(), at=None)) for file in arguments.files]
    systems = sorted({envelope.certificate_oin for _, envelope in read})
    if len(systems) > 1:
        raise UsageError(f"These files were signed by several systems ({', '.join(systems)}); send those of one system at a time.")
    url = arguments.to
    if url is None:
        parts, secret = urlsplit(amqp_urls(settings)[0]), password_file(settings.home, systems[0])
        if not secret.exists():
            raise UsageError(f"There is no password for {systems[0]} in {secret}: load a register that has this system, or use --to.")
        host = parts.netloc.rpartition("@")[2]
        url = f"{parts.scheme}://{systems[0]}:{quote(secret.read_text().strip(), safe='')}@{host}{parts.path}"
    files = [HandIn(file=str(file), message_id=envelope.message_id, signed=envelope.xml) for file, envelope in read]
    receipts = asyncio.run(hand_in(url, systems[0], files, wait_s=arguments.wait))
    rows = [
        {"file": one.file, **receipts.get(one.message_id, {"accepted": None, "reason": "no receipt yet; send it again"})} for one in files
    ]
    if arguments.json:
        for row in rows:
            print_json(row)
    else:
        print_table(("file", "accepted", "reference", "code", "reason", "warnings"), rows)
    return 0 if all(row["accepted"] for row in rows) else 1


def bench_arguments(parser: Parser) -> None:
    parser.add_argument("--messages", type=int, default=10_000, metavar="N", help="end to end (default: %(default)s)")
    parser.add_argument("--pupils", type=int, default=5, metavar="N", help="per message (default: %(default)s)")
    _json(parser)


def bench(arguments: Arguments) -> int:
    """End to end on this machine, in one run with what a message costs at least."""
    from benchmarks.end_to_end import run

    return run(messages=arguments.messages, pupils=arguments.pupils, as_json=arguments.json)


def demo_arguments(parser: Parser) -> None:
    parser.add_argument("--messages", type=int, default=2000, metavar="N", help="hand-ins, at least (default: %(default)s)")
    parser.add_argument("--stay", action="store_true", help="keep everything running afterwards, to look at with the other commands")
    parser.add_argument("--seed", type=int, default=2026, help="another season (default: %(default)s)")
    _home_and_json(parser)


def demo(arguments: Arguments) -> int:
    """A private broker and store in a temporary home, a small chain, a season with mistakes. Exit 1 when anything was lost or doubled."""
    import asyncio
    import shutil
    import tempfile

    from workers.logs import configure

    configure("ERROR")
    home = arguments.home or Path(tempfile.mkdtemp(prefix="koppelpunt-demo-"))
    home.mkdir(parents=True, exist_ok=True)
    home.chmod(0o755)  # the broker's own user must be able to reach its folder
    try:
        return asyncio.run(_demo(home, arguments))
    finally:
        if not arguments.home:
            shutil.rmtree(home, ignore_errors=True)


async def _demo(home: Path, arguments: Arguments) -> int:
    import asyncio

    from adapters.broker_keeper import password_file
    from adapters.parties.demo import People, play
    from adapters.parties.season import Season
    from adapters.parties.world import build_world
    from broker_config.settings import Settings
    from workers.clock import Clock
    from workers.commands import show_demo
    from workers.progress import Progress
    from workers.supervisor import Supervisor
    from workers.tables import print_json

    private = {name: value for name, value in os.environ.items() if not name.startswith("KOPPELPUNT_") and name != "AMQP_URL"}
    settings = Settings.from_environment({"KOPPELPUNT_LOG_LEVEL": "WARNING"}, home=home)
    with Progress(quiet=arguments.json) as progress:
        progress.say("keys and certificates")
        settings = make_private_home(settings, environment={"KOPPELPUNT_LOG_LEVEL": "WARNING"})
        world, own = build_world(settings.own_oins[0]), settings.own_oins[0]
        backbone = Backbone(settings, port=0)
        store = open_store_of(settings)
        store.registry.save_register(world.document, who="demo", now_us=Clock().now_us())
        store.close()
        progress.say("a private broker")
        async with backbone:
            amqp, _ = amqp_urls(settings)
            people = People(
                home=home, world=world, own_oin=own, amqp=amqp, passwords=lambda oin: password_file(home, oin).read_text().strip()
            )
            await asyncio.to_thread(people.issue_certificates)
            await backbone.fetch_crls()
            supervisor = Supervisor(
                ROOT / "run.py",
                EVERY_WORKER,
                {**private, "KOPPELPUNT_LOG_LEVEL": "WARNING", "KOPPELPUNT_HOME": str(home)},
                home / "workers.log",
            )
            progress.say("the workers")
            await supervisor.start()
            assert backbone.store is not None
            try:
                async with people:
                    result = await play(people, backbone.store, Season(world, own, seed=arguments.seed), arguments.messages, progress.tick)
                    groups = backbone.store.queries.failure_groups()
                    if arguments.stay:
                        progress.close()
                        show_demo(result.as_dict(), groups)
                        print(f"Everything keeps running; look at it with --home {home}. Ctrl-C stops it.", flush=True)
                        await backbone.keep(_until_signal())
            finally:
                progress.say("stopping")
                await supervisor.stop()
    if arguments.json:
        print_json(result.as_dict())
    elif not arguments.stay:
        show_demo(result.as_dict(), groups)
    return 1 if result.lost or result.duplicated else 0


Command = tuple[Callable[[Parser], None], Callable[[Arguments], int], str]

COMMANDS: dict[str, Command] = {
    "demo": (demo_arguments, demo, "a private broker, a small chain, a season's messages with mistakes in them, and what became of them"),
    "up": (up_arguments, up, "everything on this machine for real: broker, store and all workers, until SIGTERM"),
    "work": (work_arguments, work, "one worker, for real deployments"),
    "status": (_home_and_json, status, "what runs, what is queued, what is open, how old register and CRLs are"),
    "send": (send_arguments, send, "hand in signed messages over AMQP, and print the receipts"),
    "bench": (bench_arguments, bench, "how fast it is on this machine, beside what a message costs at least"),
    "pki": (_of("pki_arguments"), _of("pki_command"), "a test PKI: root, intermediate, party certificates with their OIN, CRL"),
    "sign": (_of("sign_arguments"), _of("sign"), "an unsigned envelope becomes a signed one"),
    "verify": (_of("verify_arguments"), _of("verify"), "is this message signed, by whom, and what does the signature cover"),
    "settings": (_home_and_json, settings_, "every setting with its value and meaning"),
    "topology": (topology_arguments, topology, "what the broker must look like: check or apply"),
    "register": (register_arguments, register, "the service register: load, show, explain"),
    "validate": (validate_arguments, validate, "the content of messages: dienst, XSD and rules, without signature"),
    "outbox": (outbox_arguments, outbox, "what is open"),
    "failures": (failures_arguments, failures, "what fell out, and whose turn it is"),
    "message": (message_arguments, message, "one message's whole timeline"),
    "retry": (message_arguments, retry, "offer again what failed, with the same ids"),
    "journal": (journal_arguments, journal, "the hash-chained journal: verify"),
    "prepare": (prepare_arguments, prepare, "see to the system packages this needs, through apt where they are missing and we may"),
}

if __name__ == "__main__":
    sys.exit(main())
