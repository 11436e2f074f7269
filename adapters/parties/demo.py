"""The demo: every party of the invented chain in one process, its own key, outbox or mailbox for each, a season, and the count."""

from __future__ import annotations

import argparse
import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final, Protocol
from urllib.parse import quote, urlsplit

from sqlalchemy import Engine, create_engine, event, text

from adapters import pki
from adapters.backbone import Backbone
from adapters.broker_keeper import password_file
from adapters.home import amqp_urls, make_private_home
from adapters.parties import sabotage
from adapters.parties.outbox import PartyOutbox
from adapters.parties.receiver import ReceivingSystem, Verdict
from adapters.parties.season import ADDRESS, NAMESPACE, Planned, Season
from adapters.parties.sender import CONTENT_TYPE, SendingSystem
from adapters.parties.world import CENTRAAL, CIVIC, LASSEN, NAMES, SISSEN, STRANGER, World, build_world
from adapters.rabbit import Consumer, Publisher
from adapters.signing import Signer
from adapters.store import Store, open_store
from adapters.trust import TrustStore
from adapters.wsse import Verifier
from broker_config.settings import Settings
from routing.ports import Incoming, Outgoing
from schemas.envelope import Envelope
from schemas.oin import Oin

SENDERS: Final = (*LASSEN, *SISSEN, STRANGER)
RECEIVERS: Final = (*LASSEN, *CIVIC, CENTRAAL)
#: This municipal system does not come to work for the first part of the season.
AWAY: Final = CIVIC[1]
AWAY_UNTIL: Final = 0.5
#: Hand-ins put into the outboxes at a time; the relays send meanwhile.
WAVE: Final = 50
#: How long to wait for the last message to come to its end.
PATIENCE_S: Final = 120.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """`demo`."""
    parser.add_argument("--messages", type=int, default=2000, metavar="N", help="hand-ins, at least (default: %(default)s)")
    parser.add_argument("--stay", action="store_true", help="keep everything running afterwards, to look at with the other commands")
    parser.add_argument("--seed", type=int, default=2026, help="another season (default: %(default)s)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """What became of a season."""

    sent: int  #: hand-ins, repeats included
    delivered: int
    filtered: int
    superseded: int
    waiting: int
    failed: dict[str, int]  #: refused hand-ins, failed deliveries and holds, by code
    lost: int  #: accepted messages' expected deliveries that are nowhere
    duplicated: int  #: worked on a second time by a receiver
    seconds: float

    def as_dict(self) -> dict[str, Any]:
        """As `demo --json` prints it."""
        return asdict(self)


def _engine(path: Path) -> Engine:
    engine = create_engine(f"sqlite:///{path}")

    def quick(connection: Any, _record: object) -> None:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=NORMAL")

    event.listen(engine, "connect", quick)
    return engine


class People:
    """All parties of the chain. Use as `async with`."""

    def __init__(self, *, home: Path, world: World, own_oin: str, amqp: str, passwords: Callable[[str], str]) -> None:
        self._home, self._world, self._own = home, world, own_oin
        self._amqp, self._passwords = urlsplit(amqp), passwords
        self._pki = home / "pki"
        self.senders: dict[Oin, SendingSystem] = {}
        self.receivers: dict[Oin, ReceivingSystem] = {}
        self._signers: dict[Oin, tuple[Signer, Signer]] = {}
        self._publishers: dict[Oin, Publisher] = {}
        self._connections: list[Publisher | Consumer] = []
        self._tasks: list[asyncio.Task[None]] = []
        self._engines: dict[Oin, Engine] = {}
        self._not_residents: set[str] = set()
        self._not_enrolled: set[str] = set()
        self.repeats = 0  #: hand-ins that repeat one

    def issue_certificates(self) -> None:
        """Keys and certificates for everybody, and revoked ones for the systems that will use them."""
        for oin in dict.fromkeys((*SENDERS, *RECEIVERS)):
            self._signers[oin] = (
                self._signer(oin, "", revoked=False),
                self._signer(oin, "-revoked", revoked=True) if oin in SENDERS else None,
            )  # type: ignore[assignment]

    def _signer(self, oin: Oin, suffix: str, *, revoked: bool) -> Signer:
        files = pki.issue(self._pki, oin=oin, name=NAMES[oin].replace(" ", "") + suffix, revoked=revoked)
        return Signer(pki.read_key(files.key), pki.read_certificate(files.certificate))

    def _url(self, oin: Oin) -> str:
        host = self._amqp.netloc.rpartition("@")[2]
        return f"{self._amqp.scheme}://{oin}:{quote(self._passwords(oin), safe='')}@{host}{self._amqp.path}"

    async def __aenter__(self) -> People:
        verifier = Verifier(TrustStore.from_files([self._pki / "ca.pem"]))
        for oin in dict.fromkeys((*SENDERS, *RECEIVERS)):
            url, engine = self._url(oin), _engine(self._home / "parties" / f"{oin}.db")
            publisher = await self._opened(Publisher(url, name=f"{NAMES[oin]} publisher"))
            self._publishers[oin], self._engines[oin] = publisher, engine
            if oin in SENDERS:
                receipts = await self._opened(Consumer(url, [f"receipt.{oin}"], prefetch=400, name=f"{NAMES[oin]} receipts"))
                self.senders[oin] = SendingSystem(
                    oin, outbox=PartyOutbox(engine), signer=self._signers[oin][0], publisher=publisher, consumer=receipts
                )
                self._tasks.append(asyncio.create_task(self.senders[oin].run()))
            if oin in RECEIVERS:
                mailbox = await self._opened(Consumer(url, [f"mailbox.{oin}"], prefetch=200, name=f"{NAMES[oin]} mailbox"))
                self.receivers[oin] = ReceivingSystem(
                    oin, engine=engine, verifier=verifier, publisher=publisher, consumer=mailbox, work=self._work(oin)
                )
                self._tasks.append(asyncio.create_task(self.receivers[oin].run()))
        return self

    async def _opened(self, connection: Any) -> Any:
        await connection.open()
        self._connections.append(connection)
        return connection

    async def __aexit__(self, *_: object) -> None:
        for sender in self.senders.values():
            sender.stop()
        for receiver in self.receivers.values():
            receiver.stop()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for connection in self._connections:
            await connection.close()
        for engine in self._engines.values():
            engine.dispose()

    def _work(self, oin: Oin) -> Callable[[Envelope, Incoming], Verdict]:
        """A municipality knows its residents, a school its pupils; Centraal Aanmelden takes everything."""
        unknown, word = (self._not_residents, "not_our_resident") if oin in CIVIC else (self._not_enrolled, "not_enrolled")

        def work(envelope: Envelope, _incoming: Incoming) -> Verdict:
            pgn = envelope.content.findtext(f"{{{NAMESPACE}}}burgerservicenummer")
            return Verdict(False, word) if oin != CENTRAAL and pgn in unknown else Verdict(True)

        return work

    async def hand_in(self, wave: Sequence[Planned]) -> int:
        """Puts a wave into the outboxes; returns how many hand-ins that are."""
        count = 0
        for planned in wave:
            if planned.pgn and planned.mistake == "NOT_OUR_RESIDENT":
                self._not_residents.add(planned.pgn)
            if planned.pgn and planned.mistake == "NOT_ENROLLED":
                self._not_enrolled.add(planned.pgn)
            count += await self._one(planned)
        return count

    async def _one(self, planned: Planned) -> int:
        system = STRANGER if planned.sabotage == "no mandate" else planned.system
        signer, revoked = self._signers[system]
        signed = None
        if planned.sabotage not in (None, "sent twice", "same id, other content"):
            made = sabotage.sabotaged(planned, self._own, signer, revoked)
            signed = (made.message_id, made.signed)
        with self._engines[system].begin() as transaction:
            message_id = self.senders[system].outbox.add(
                transaction,
                sender=planned.sender,
                receiver=self._own,
                address=ADDRESS,
                action=planned.action,
                content=planned.content,
                signed=signed,
            )
        if planned.sabotage not in ("sent twice", "same id, other content"):
            return 1
        again = planned
        if planned.sabotage == "same id, other content":
            again = Planned(**{**asdict(planned), "content": planned.content.replace(b">JA<", b">VERVALLEN<")})
        else:
            self.repeats += 1
        await self._receipt_of(system, message_id)  # the first one comes first, whatever the relay does
        second = sabotage.envelope(again, self._own, signer, message_id=message_id)
        out = Outgoing(exchange="intake", routing_key=system, body=second.signed, content_type=CONTENT_TYPE, message_id=message_id)
        await self._publishers[system].publish(out)
        return 2

    async def _receipt_of(self, system: Oin, message_id: str) -> None:
        until = time.monotonic() + PATIENCE_S
        while time.monotonic() < until:
            row = self.senders[system].outbox.row(message_id)
            if row and row["state"] in ("accepted", "refused"):
                return
            await asyncio.sleep(0.02)

    def without_receipt(self) -> int:
        """Hand-ins that have no receipt yet."""
        return sum(party.outbox.counts().get(state, 0) for party in self.senders.values() for state in ("queued", "sent"))

    def worked_on(self) -> Counter[str]:
        """delivery_id -> how often a receiver worked on it."""
        return Counter(delivery for party in self.receivers.values() for delivery in party.delivery_ids())

    def accepted(self) -> list[str]:
        """References of all receipts that said yes."""
        query = text("SELECT reference FROM koppelpunt_outgoing WHERE state = 'accepted'")
        found: list[str] = []
        for oin in self.senders:
            with self._engines[oin].connect() as connection:
                found += connection.execute(query).scalars()
        return found


class Workers(Protocol):
    """The backbone's own processes."""

    async def start(self) -> None: ...

    async def stop(self) -> None: ...


class Progress(Protocol):
    """Tells somebody how far it is."""

    def say(self, what: str) -> None: ...

    def tick(self, sent: int, finished: int) -> None: ...


#: failures by cause, as the store counts them
Groups = Sequence[dict[str, Any]]


async def perform(
    home: Path,
    *,
    workers: Workers,
    progress: Progress,
    messages: int,
    seed: int,
    afterwards: Callable[[Backbone, Summary, Groups], Awaitable[None]] | None = None,
) -> tuple[Summary, Groups]:
    """A whole exchange in this home, from nothing: keys, broker, store, `workers` and the chain; its season; and everything stopped again.

    `afterwards` is awaited while all of it still runs.
    """
    quiet = {"KOPPELPUNT_LOG_LEVEL": "WARNING"}
    progress.say("keys and certificates")
    settings = make_private_home(Settings.from_environment(quiet, home=home), quiet)
    own = settings.own_oins[0]
    world = build_world(own)
    empty = open_store(settings.store)
    empty.registry.save_register(world.document, who="demo", now_us=time.time_ns() // 1_000)
    empty.close()
    progress.say("a private broker")
    async with Backbone(settings, port=0) as backbone:
        store = backbone.store
        assert store is not None
        people = People(
            home=home,
            world=world,
            own_oin=own,
            amqp=amqp_urls(settings)[0],
            passwords=lambda oin: password_file(home, oin).read_text().strip(),
        )
        await asyncio.to_thread(people.issue_certificates)
        await backbone.fetch_crls()
        progress.say("the workers")
        await workers.start()
        try:
            async with people:
                result = await play(people, store, Season(world, own, seed=seed), messages, progress.tick)
                groups = store.queries.failure_groups()
                if afterwards is not None:
                    await afterwards(backbone, result, groups)
        finally:
            progress.say("stopping")
            await workers.stop()
    return result, groups


async def play(people: People, store: Store, season: Season, messages: int, tick: Callable[[int, int], None]) -> Summary:
    """Sends a season and waits until every message has come to its end. `tick` is told how many were sent and how many are finished."""
    started, sent = time.monotonic(), 0
    people.receivers[AWAY].away = True
    wave: list[Planned] = []
    for planned in season.plan(messages):
        wave.append(planned)
        if len(wave) >= WAVE:
            sent += await people.hand_in(wave)
            wave = []
            if sent >= messages * AWAY_UNTIL:
                people.receivers[AWAY].away = False
            tick(sent, finished(store))
            await asyncio.sleep(0.01)
    sent += await people.hand_in(wave)
    people.receivers[AWAY].away = False
    until = time.monotonic() + PATIENCE_S
    while time.monotonic() < until:
        tick(sent, finished(store))
        settled = finished(store) >= sent - people.repeats and not people.without_receipt()
        if settled and store.queries.open_deliveries() == 0:
            break
        await asyncio.sleep(0.1)
    tick(sent, finished(store))
    return summary(people, store, sent=sent, seconds=time.monotonic() - started)


def finished(store: Store) -> int:
    """Hand-ins that were answered: messages and refusals."""
    counts = store.queries.counts()
    return sum(counts["messages"].values()) + sum(counts["refused"].values())


#: Where an accepted message's deliveries stand, and how many its contract expects.
_STAND: Final = text(
    "SELECT m.reference, m.state, d.id, d.state AS delivery, d.hold_code FROM message m LEFT JOIN delivery d ON d.message_seq = m.seq"
)
_ENDED: Final = frozenset({"filtered", "superseded", "failed", "returned", "archived"})


def summary(people: People, store: Store, *, sent: int, seconds: float) -> Summary:
    """Counts from both sides: what receipts promised, what the store says, and what receivers worked on."""
    counts, worked = store.queries.counts(), people.worked_on()
    with store.database.read() as connection:
        rows = connection.execute(_STAND).all()
    known = {row.reference for row in rows}
    lost = sum(1 for reference in people.accepted() if reference not in known)
    for row in rows:
        if row.id is None:
            lost += row.state != "failed"
        elif row.delivery not in _ENDED and not row.hold_code and not worked[row.id]:
            lost += 1
    failed: Counter[str] = Counter()
    for part in ("refused", "failed", "failed_messages", "held"):
        failed.update(counts[part])
    deliveries = counts["deliveries"]
    return Summary(
        sent=sent,
        delivered=deliveries.get("acknowledged", 0) + deliveries.get("delivered", 0),
        filtered=deliveries.get("filtered", 0),
        superseded=deliveries.get("superseded", 0),
        waiting=deliveries.get("waiting", 0),
        failed=dict(failed.most_common()),
        lost=lost,
        duplicated=sum(times - 1 for times in worked.values() if times > 1),
        seconds=round(seconds, 1),
    )
