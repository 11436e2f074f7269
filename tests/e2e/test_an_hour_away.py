"""A receiver that is away for an hour, and one that is away for a day.

The clock by which leases, claims, retries, deadlines and Timestamps are judged runs ahead of the real one: an hour takes some twenty
seconds. Broker, store and workers are the real ones; the workers run inside the test, because a process would go by its own clock.
"""

from __future__ import annotations

import asyncio
import itertools
from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import timedelta
from typing import Any, Final

import pika
import pytest
from sqlalchemy import create_engine, text

from adapters.home import amqp_urls
from adapters.parties import invented
from adapters.parties.receiver import ReceivingSystem, Verdict
from adapters.rabbit import Publisher, get_all, put
from adapters.wsse import Verifier
from routing.ports import Incoming, Outgoing, Published
from routing.work import Ticket
from schemas.envelope import Envelope
from schemas.oin import Oin
from tests.support import signing as s
from tests.support.broker import require_rabbitmq, until
from tests.support.content import ganger, status
from tests.support.exchange import CENTRAAL, CIVIC, GANGER, HUB, LAS, MBO, SIS, STATUS, Exchange, MovedClock, said
from workers.deliver import CLAIM_S
from workers.relay import encode_tickets

pytestmark = [pytest.mark.broker, pytest.mark.slow]

WORKERS: Final = ("intake", "relay", "route", "deliver", "deliver", "audit")
#: The clock is put ahead by this much at a time; less than a claim lasts.
STEP: Final = timedelta(seconds=5)
#: What a step takes in earnest.
STEP_S: Final = 0.02
MINUTE: Final = timedelta(minutes=1)


@pytest.fixture
def clock() -> MovedClock:
    return MovedClock()


@pytest.fixture
def exchange(clock: MovedClock) -> Iterator[Exchange]:
    require_rabbitmq()
    with Exchange(clock=clock) as exchange:
        yield exchange


class Traffic:
    """What is handed in while the clock runs, and what came of it."""

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange
        self._numbers = itertools.count(1)
        self._ids = (f"{n:08x}-0000-4000-8000-000000000000" for n in itertools.count(1))
        self.handed_in: dict[str, str] = {}  #: MessageID -> what it is
        self.ketens: dict[str, list[str]] = {}  #: ketenId -> MessageIDs of its statuses, in the order of handing in
        self.receipts: dict[str, dict[str, Any]] = {}

    async def hand_in_some(self, *, stale: bool) -> None:
        """A proef to the other school, a pupil for the municipality, and the next status of an application; `stale`: their Timestamps
        have ended already, as those of a sender that kept them for a while."""
        exchange, now, number = self._exchange, self._exchange.clock.now(), next(self._numbers)
        created = now - timedelta(hours=3) if stale else now
        proef = s.message_id()
        await self._publish(LAS, proef, "proef", exchange.proef(proef, created=created))
        start = now.year if now.month >= 8 else now.year - 1
        common = {"created": now, "receiver": HUB, "geboortedatum": f"{now.year - 16}-03-04", "gemeentecode": "0344"}
        pupil = ganger(
            **common,
            business_id=next(self._ids),
            sender="25BE",
            brin="25BE",
            schooljaar=f"{start}-{start + 1}",
            peildatum=f"{now - timedelta(days=1):%Y-%m-%d}",
            burgerservicenummer=invented.bsn(number),
        )
        message_id = s.message_id()
        await self._publish(LAS, message_id, "ganger", exchange.signed(pupil, message_id, GANGER, created=created))
        keten = f"04XY:{number % 3:08d}"
        steps = self.ketens.setdefault(keten, [])
        step = status(
            **common,
            business_id=next(self._ids),
            sender="04XY",
            brin="04XY",
            keten_id=keten,
            volgnummer=len(steps) + 1,
            status="AO",
            statusdatum=f"{now - timedelta(days=1):%Y-%m-%d}",
            studiejaar=f"{start}-{start + 1}",
            latende_brin="25BE",
            burgerservicenummer=invented.bsn(number % 3),
        )
        message_id = s.message_id()
        signed = exchange.signed(step, message_id, STATUS, sender=MBO, created=created, signer=s.signer("sis", oin=SIS))
        await self._publish(SIS, message_id, "status", signed)
        steps.append(message_id)

    async def _publish(self, system: Oin, message_id: str, kind: str, signed: bytes) -> None:
        self.handed_in[message_id] = kind
        fate = await (await self._exchange.publisher(system)).publish(self._exchange.hand_in(signed, message_id, system=system))
        assert fate is Published.CONFIRMED

    async def take_receipts(self) -> None:
        """Until each hand-in has its receipt."""
        for system in (LAS, SIS):
            consumer = await self._exchange.consumer("receipt", system)
            while batch := await consumer.next_batch(500, 0.02, idle_s=0.5):
                for incoming in batch:
                    if "accepted" in (receipt := said(incoming.body)):
                        self.receipts[str(incoming.correlation_id)] = receipt
                consumer.ack(batch)


class Receiver:
    """A receiving system as our library makes it, and what it saw of each message."""

    def __init__(self, exchange: Exchange, oin: Oin) -> None:
        self._exchange, self.oin = exchange, oin
        self._engine = create_engine(f"sqlite:///{exchange.home / f'{oin}.db'}")
        self.worked_on: list[tuple[str, str]] = []  #: delivery_id and the sender's MessageID, in order

    async def come_to_work(self) -> None:
        """Empties the mailbox from now on."""
        publisher, consumer = await self._exchange.publisher(self.oin), await self._exchange.consumer("mailbox", self.oin)
        verifier = Verifier(s.trust())
        self.system = ReceivingSystem(
            self.oin, engine=self._engine, verifier=verifier, publisher=publisher, consumer=consumer, work=self._work
        )
        self._task = asyncio.create_task(self.system.run())

    async def go(self) -> None:
        """Stops working."""
        self.system.stop()
        await self._task
        await self._exchange.let_go("mailbox", self.oin)
        self._engine.dispose()

    def _work(self, envelope: Envelope, incoming: Incoming) -> Verdict:
        original = dict(envelope.relates_to).get("urn:x-backbone:original", envelope.message_id)
        self.worked_on.append((str(incoming.headers["delivery_id"]), original))
        return Verdict(True)

    def refused(self) -> list[str]:
        """Reasons it gave."""
        with self._engine.connect() as connection:
            return list(connection.execute(text("SELECT reason FROM koppelpunt_received WHERE outcome <> 'confirmed'")).scalars())


async def delete_queue(exchange: Exchange, queue: str) -> None:
    """As an operator who makes a mistake; only an empty one, for what stands in a queue is the broker's to lose."""
    assert await (await exchange.inspector()).depth(queue) == 0
    with pika.BlockingConnection(pika.URLParameters(exchange.node.admin_url)) as connection:
        connection.channel().queue_delete(queue)


@pytest.mark.timeout(150)
def test_receivers_that_are_away_for_an_hour_get_every_message_once_and_in_order_and_can_read_it(
    exchange: Exchange, clock: MovedClock, caplog: pytest.LogCaptureFixture
) -> None:
    """The municipality, the mbo school and Centraal Aanmelden stay away; the first two do not even have a mailbox for half of the time."""
    traffic = Traffic(exchange)
    away, present = [Receiver(exchange, oin) for oin in (CIVIC, SIS, CENTRAAL)], Receiver(exchange, LAS)

    async def act() -> None:
        for name in WORKERS:
            exchange.start_worker(name)
        inspector = await exchange.inspector()
        await until(lambda: inspector.depth("epoch"))  # then the relay has applied the topology, and does not again
        await present.come_to_work()
        for oin in (CIVIC, SIS):
            await delete_queue(exchange, f"mailbox.{oin}")
        began, leaders = clock.now_us(), set()
        for minute in range(60):
            if minute == 30:
                outcomes = exchange.rows(
                    "SELECT DISTINCT a.outcome, a.code FROM attempt a JOIN delivery d ON d.seq = a.delivery_seq "
                    "WHERE d.receiver_system IN (:a, :b)",
                    a=CIVIC,
                    b=SIS,
                )
                assert outcomes == [{"outcome": "postponed", "code": "ENDPOINT_UNREACHABLE"}]
                exchange.start_worker("timetable")  # its first deed is to put back what is missing
                exchange.start_worker("relay")  # another to lead, each time that a lease ends
            if minute < 45:
                await traffic.hand_in_some(stale=minute % 5 == 0)
            for _ in range(MINUTE // STEP):
                clock.ahead += STEP
                await asyncio.sleep(STEP_S)
            leaders |= {row["holder"] for row in exchange.rows("SELECT holder FROM lease WHERE name = 'relay'")}
        assert clock.now_us() - began >= 3_600_000_000
        assert len(leaders) == 2, "no lease ended while the clock ran"
        fenced = [record for record in caplog.records if record.getMessage() == "lease_lost" and hasattr(record, "error")]
        assert fenced, "a relay whose lease had ended was let write"
        assert not exchange.rows("SELECT id FROM delivery WHERE state = 'failed'")
        states = Counter(row["state"] for row in exchange.rows("SELECT state FROM delivery"))
        assert states["acknowledged"] == len(present.worked_on) == 45, f"the school that is there did not get its statuses: {states}"
        for receiver in away:
            await receiver.come_to_work()
        await until(lambda: not exchange.store.queries.open_deliveries(), within_s=60)
        await traffic.take_receipts()
        await exchange.stop_workers()
        for receiver in (*away, present):
            await receiver.go()

    exchange.run(act(), within_s=140)
    assert [receiver.refused() for receiver in (*away, present)] == [[], [], [], []], "a message that its receiver cannot read"
    refused = {kind: receipt for id, kind in traffic.handed_in.items() if not (receipt := traffic.receipts[id])["accepted"]}
    assert not refused
    assert len(traffic.handed_in) == 3 * 45
    civic, sis, centraal = (Counter(original for _, original in receiver.worked_on) for receiver in away)
    wanted = {kind: Counter(id for id, what in traffic.handed_in.items() if what == kind) for kind in ("proef", "ganger", "status")}
    assert sis == wanted["proef"], "lost or duplicated"
    assert civic == wanted["ganger"] + wanted["status"], "lost or duplicated"
    assert centraal == wanted["status"], "lost or duplicated"
    for receiver in (away[0], away[2], present):
        for keten, steps in traffic.ketens.items():
            got = [original for _, original in receiver.worked_on if original in set(steps)]
            assert got == steps, f"the statuses of {keten} came to {receiver.oin} in another order"
    tries = exchange.rows("SELECT max(attempts) AS most, min(attempts) AS least FROM delivery WHERE receiver_system = :s", s=SIS)
    assert tries[0]["most"] > 10 and tries[0]["least"] == 1, tries
    envelopes = exchange.rows(
        "SELECT a.envelope, m.stale, m.action, count(*) AS n FROM attempt a JOIN delivery d ON d.seq = a.delivery_seq "
        "JOIN message m ON m.seq = d.message_seq WHERE a.outcome = 'delivered' GROUP BY 1, 2, 3"
    )
    assert {(row["envelope"], bool(row["stale"]), row["action"].rpartition("/")[2]) for row in envelopes} == {
        ("original", False, "proef"),
        ("ours", True, "proef"),
        *(("ours", stale, kind) for stale in (False, True) for kind in ("mboGangerBericht", "aanmeldStatusBericht")),
    }


@pytest.mark.timeout(60)
def test_a_message_not_fetched_for_a_day_is_the_receivers_failure_and_a_late_confirmation_still_counts(
    exchange: Exchange, clock: MovedClock
) -> None:
    id = s.message_id()

    def row() -> dict[str, Any]:
        return exchange.rows("SELECT d.* FROM delivery d JOIN message m ON m.seq = d.message_seq WHERE m.message_id = :id", id=id)[0]

    async def outcomes(count: int) -> list[dict[str, Any]]:
        consumer, found = await exchange.consumer("receipt", LAS), list[dict[str, Any]]()
        async with asyncio.timeout(15):
            while len(found) < count:
                batch = await consumer.next_batch(10, 0.02, idle_s=0.5)
                found += [outcome for one in batch if "accepted" not in (outcome := said(one.body))]
                consumer.ack(batch)
        return found

    async def act() -> None:
        for name in ("intake", "relay", "route", "deliver", "audit"):
            exchange.start_worker(name)
        await (await exchange.publisher(LAS)).publish(exchange.hand_in(exchange.proef(id), id))
        await until(lambda: exchange.rows("SELECT 1 FROM delivery WHERE state = 'delivered'"))

        clock.ahead += timedelta(hours=23, minutes=59)
        await the_timetable_does_what_is_due()
        assert row()["state"] == "delivered", "a day has not passed yet"
        clock.ahead += timedelta(minutes=2)
        await the_timetable_does_what_is_due()
        assert (row()["state"], row()["code"], row()["owner"]) == ("failed", "MAILBOX_NOT_FETCHED", "receiver")
        (failed,) = await outcomes(1)
        assert (failed["state"], failed["code"], failed["owner"], failed["receiver"]) == ("failed", "MAILBOX_NOT_FETCHED", "receiver", MBO)
        assert exchange.store.queries.failures()[0]["code"] == "MAILBOX_NOT_FETCHED"

        clock.ahead += timedelta(hours=5)
        late = Receiver(exchange, SIS)
        await late.come_to_work()
        await until(lambda: row()["state"] == "acknowledged")
        assert (row()["code"], row()["owner"]) == (None, None)
        (acknowledged,) = await outcomes(1)
        assert acknowledged["state"] == "acknowledged"
        assert [original for _, original in late.worked_on] == [id]
        assert not exchange.store.queries.failures()
        await late.go()
        await exchange.stop_workers()

    async def the_timetable_does_what_is_due() -> None:
        """A new leader begins with every job, whenever it was done last."""
        worker = exchange.start_worker("timetable")
        await until(lambda: worker.handled >= 5)
        await exchange.stop_workers("timetable")

    exchange.run(act(), within_s=55)


class Slow(Publisher):
    """A publisher that stands still until it is told to go on."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.may_go_on = asyncio.Event()

    async def publish_many(self, messages: Sequence[Outgoing]) -> list[Published]:
        """Later."""
        await self.may_go_on.wait()
        return await super().publish_many(messages)


@pytest.mark.timeout(60)
def test_a_ticket_handed_out_twice_is_worked_on_by_one_worker_until_its_claim_ends(exchange: Exchange, clock: MovedClock) -> None:
    """As after a change of the relay's leader. Whoever wakes up after its claim has gone to another settles nothing any more."""
    id = s.message_id()

    def row() -> dict[str, Any]:
        rows = exchange.rows("SELECT d.* FROM delivery d JOIN message m ON m.seq = d.message_seq WHERE m.message_id = :id", id=id)
        return rows[0] if rows else {"claim": None, "state": None}

    async def act() -> None:
        for name in ("intake", "relay", "route"):
            exchange.start_worker(name)
        stuck = Slow(amqp_urls(exchange.settings)[0])
        first = exchange.start_worker("deliver", publisher=stuck)
        await (await exchange.publisher(LAS)).publish(exchange.hand_in(exchange.proef(id), id))
        await until(lambda: row()["claim"] == first.id)

        try:
            second = exchange.start_worker("deliver")
            (ticket,) = encode_tickets([Ticket(row()["seq"], row()["release"])])
            await put(amqp_urls(exchange.settings)[0], "deliver", [ticket] * 50)  # more than the first one takes in advance
            await asyncio.sleep(2.5)  # it is offered to the second one again each second
            assert (row()["state"], row()["claim"]) == ("released", first.id)
            inspector = await exchange.inspector()
            assert await inspector.depth(f"mailbox.{SIS}") == 0, "two workers delivered the same release"

            clock.ahead += timedelta(seconds=CLAIM_S + 1)
            await until(lambda: row()["state"] == "delivered")
        finally:
            stuck.may_go_on.set()
        await until(lambda: first.handled)
        await exchange.stop_workers()
        assert second.handled
        assert len(exchange.rows("SELECT 1 FROM attempt")) == 1, "an attempt was settled by a worker whose claim had ended"
        copies = await get_all(exchange.url(SIS), f"mailbox.{SIS}")
        assert len(copies) == 2 and copies[0] == copies[1], "what may come twice is the same message, so that its receiver knows it"

    exchange.run(act(), within_s=55)
