"""A school changes its supplier while messages stand in the old system's mailbox, with everything running; and a system that leaves."""

from __future__ import annotations

import asyncio
import json
import time
import uuid
from collections import Counter
from collections.abc import Iterator
from copy import deepcopy
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import text

from adapters.broker_keeper import Keeper
from adapters.errors import UsageError
from adapters.home import amqp_urls
from adapters.parties.receiver import ReceivingSystem
from adapters.parties.world import LASSEN, STRANGER, School
from adapters.rabbit import BrokerUnavailable, Consumer, Inspector, Publisher
from routing.amsterdam import amsterdam_day
from routing.ports import Incoming, Outgoing
from schemas.events import Event
from schemas.oin import Oin
from tests.support.broker import require_rabbitmq, until
from tests.support.chain import Chain
from workers.register_cache import RegisterCache

pytestmark = [pytest.mark.broker, pytest.mark.slow]

OLD, NEW, SENDING = LASSEN
MAILBOX = f"mailbox.{OLD}"
PROEF = "urn:x-backbone:proef:1"
MOVING, STAYING = 30, 20


@pytest.fixture(scope="module")
def chain() -> Iterator[Chain]:
    require_rabbitmq()
    with Chain(workers=("intake", "relay", "route", "deliver", "audit", "timetable")) as started:
        yield started


def load(chain: Chain, document: dict[str, Any]) -> None:
    chain.store.registry.save_register(document, who="test", now_us=int(time.time() * 1e6))


def switched(chain: Chain, *schools: School) -> dict[str, Any]:
    """The register in which these schools' mandates for their old system ran until yesterday, and their new system has one."""
    document = deepcopy(chain.world.document)
    yesterday = (amsterdam_day(datetime.now(UTC)) - timedelta(days=1)).isoformat()
    for school in schools:
        for row in document["mandates"]:
            if (row["organisation"], row["system"]) == (school.oin, OLD):
                row["until"] = yesterday
        mandate = {"organisation": school.oin, "dienst": "proef", "system": NEW}
        document["mandates"].append(mandate)
        document["endpoints"].append(mandate | {"versie": "1", "mailbox": True})
    return document


async def hand_in(chain: Chain, receivers: list[School]) -> None:
    """One proef message to each of these schools, from a school of the third system."""
    sender = next(school for school in chain.world.vo if school.system == SENDING)
    with chain.people._engines[SENDING].begin() as transaction:
        for receiver in receivers:
            content = (
                f'<proef xmlns="{PROEF}"><bedrijfsdocument><identificatiecodeBedrijfsdocument>{uuid.uuid4()}'
                f"</identificatiecodeBedrijfsdocument><verzendendeInstantie>{sender.brin}</verzendendeInstantie>"
                f"<ontvangendeInstantie>{receiver.brin}</ontvangendeInstantie><datumTijdBedrijfsdocument>"
                f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}</datumTijdBedrijfsdocument></bedrijfsdocument></proef>"
            )
            chain.people.senders[SENDING].outbox.add(
                transaction,
                sender=sender.oin,
                receiver=receiver.oin,
                address="http://www.w3.org/2005/08/addressing/anonymous",
                action=f"{PROEF}/proef",
                content=content.encode(),
            )
    await until(lambda: not chain.people.without_receipt(), within_s=30)


def deliveries(chain: Chain, school: School) -> dict[str, dict[str, Any]]:
    """delivery_id -> state and whose it is, of the school's proef messages."""
    rows = chain.rows(
        "SELECT d.id, d.state, d.receiver_system, m.reference, m.message_id FROM delivery d JOIN message m ON m.seq = d.message_seq "
        "WHERE d.receiver = :r AND m.dienst = 'proef' ORDER BY d.seq",
        r=school.oin,
    )
    return {row["id"]: row for row in rows}


def states(chain: Chain, school: School) -> set[tuple[str, str | None]]:
    return {(row["state"], row["receiver_system"]) for row in deliveries(chain, school).values()}


def said(id: str, outcome: str = "confirmed") -> Outgoing:
    return Outgoing(exchange="confirm", routing_key=OLD, body=json.dumps({"delivery_id": id, "outcome": outcome, "reason": None}).encode())


async def leave_work(receiver: ReceivingSystem) -> None:
    """The system goes away, and takes nothing along."""
    receiver.stop()
    await asyncio.sleep(0.5)
    await receiver._consumer.close()  # type: ignore[attr-defined]


def come_back(chain: Chain, receiver: ReceivingSystem) -> None:
    """The same system with the same memory, on a new connection."""
    receiver._consumer = Consumer(chain.people._url(receiver.oin), [MAILBOX], prefetch=200)
    chain.people._connections.append(receiver._consumer)
    chain.people._tasks.append(asyncio.create_task(receiver.run()))


def events(chain: Chain, reference: str) -> list[Event]:
    return chain.store.journal.of_message(reference)


@pytest.mark.timeout(120)
def test_after_a_supplier_switch_the_successor_gets_all_that_was_unconfirmed_and_another_school_notices_nothing(chain: Chain) -> None:
    school, other = [school for school in chain.world.vo if school.system == OLD][:2]
    receiver = chain.people.receivers[OLD]

    async def act() -> None:
        await leave_work(receiver)
        await hand_in(chain, [school, other] * STAYING + [school] * (MOVING - STAYING))
        await until(lambda: states(chain, school) | states(chain, other) == {("delivered", OLD)}, within_s=20)
        moving, staying = deliveries(chain, school), deliveries(chain, other)
        assert (len(moving), len(staying)) == (MOVING, STAYING)

        async with Inspector(chain.people._url(OLD)) as theirs:
            held: list[Incoming] = []
            while sum(one.headers["delivery_id"] in moving for one in held) < MOVING // 2:
                found = await theirs.get(MAILBOX)
                assert found is not None
                held.append(found)
            mine = [one for one in held if one.headers["delivery_id"] in moving]
            others = [one for one in held if one.headers["delivery_id"] in staying]
            assert len(mine) == MOVING // 2
            assert others

            changed = time.monotonic()
            load(chain, switched(chain, school))
            await until(lambda: ("delivered", OLD) not in states(chain, school), within_s=10)
            await until(lambda: states(chain, school) == {("acknowledged", NEW)}, within_s=10)
            assert time.monotonic() - changed < 12
            await until(lambda: not _looked_for(chain, looks=0), within_s=10)

            # the old system says its word about all it has in hand: what was the school's counts no more, the rest does
            publisher = chain.people._publishers[OLD]
            await publisher.publish_many([said(one.headers["delivery_id"], o) for o in ("confirmed", "refused") for one in mine[:10]])
            receiver._stop = asyncio.Event()
            await receiver.take(others)
            for one in [*mine[:5], *others]:
                theirs.ack(one)
            await theirs.depth(MAILBOX)
        # it has gone: ten copies that were in its hands are in the queue again, and at the next look they are taken out of it
        await until(lambda: _is_depth(chain, STAYING - len(others) + 10), within_s=10)
        _look_now(chain)
        await until(lambda: len(_looked_for(chain)) == 5, within_s=15)
        assert await _depth(chain) == STAYING - len(others)

        come_back(chain, receiver)
        await until(lambda: states(chain, other) == {("acknowledged", OLD)}, within_s=20)
        await chain.settled()

        new = Counter(chain.people.receivers[NEW].delivery_ids())
        assert {id: new[id] for id in moving} == dict.fromkeys(moving, 1), "the successor got all of them, once"
        old = Counter(receiver.delivery_ids())
        assert {id: old[id] for id in staying} == dict.fromkeys(staying, 1), "the other school's were worked on once"
        assert not set(old) & set(moving)
        assert (receiver.counts()["repeats"], chain.people.receivers[NEW].counts()["repeats"]) == (0, 0)
        assert not [e for row in staying.values() for e in events(chain, row["reference"]) if e.kind in ("withdrawn", "seen", "taken_back")]
        _the_timelines_tell_the_story(chain, moving, {one.headers["delivery_id"] for one in mine}, mine)

    chain.run(act(), within_s=110)
    chain.nothing_lost_nothing_doubled()


def _the_timelines_tell_the_story(chain: Chain, moving: dict[str, dict[str, Any]], held: set[str], in_order: list[Incoming]) -> None:
    for id, row in moving.items():
        told = events(chain, row["reference"])
        kinds = [event.kind for event in told]
        aside = ("seen", "taken_back", "confirmation_refused", "duplicate")  # the last: on a busy machine a sender hands in once more
        assert [k for k in kinds if k not in aside] == [
            *("received", "routed", "delivered", "withdrawn", "resolved", "delivered", "acknowledged"),
        ]
        by = {event.kind: event for event in told}
        assert (by["withdrawn"].receiver_system, by["resolved"].receiver_system, by["acknowledged"].receiver_system) == (OLD, NEW, NEW)
        assert "mandaat" in (by["withdrawn"].reason or "")
        assert (kinds.count("seen"), "taken_back" in kinds) == ((1, id in [*_ids(in_order)[5:]]) if id in held else (0, True))
        if id in held:
            assert by["seen"].receiver_system == OLD
        assert kinds.count("confirmation_refused") == (2 if id in _ids(in_order)[:10] else 0)
        rules = [decision["rule"] for decision in chain.store.journal.decisions_of(row["reference"])]
        assert rules[-2:] == ["endpoint-mandate-ended", "endpoint"]


def _ids(copies: list[Incoming]) -> list[str]:
    return [str(copy.headers["delivery_id"]) for copy in copies]


def _looked_for(chain: Chain, *, looks: int | None = None) -> list[dict[str, Any]]:
    rows = chain.rows("SELECT delivery, looks FROM withdrawal WHERE system = :s", s=OLD)
    return [row for row in rows if looks is None or row["looks"] == looks]


def _timetable_leads(chain: Chain) -> bool:
    query = "SELECT worker.pid FROM lease JOIN worker ON worker.id = lease.holder WHERE lease.name = 'timetable'"
    return {row["pid"] for row in chain.rows(query)} <= set(chain.supervisor.pids.values()) and bool(chain.rows(query))


def _look_now(chain: Chain) -> None:
    """As if the time for the next look had come."""
    with chain.store.database.write() as tx:
        tx.execute(text("UPDATE withdrawal SET look_at_us = 0"))


async def _is_depth(chain: Chain, count: int) -> bool:
    return await _depth(chain) == count


async def _depth(chain: Chain) -> int | None:
    async with Inspector(chain.node.url) as inspector:
        return await inspector.depth(MAILBOX)


@pytest.mark.timeout(120)
def test_the_timetable_may_be_killed_again_and_again_during_a_switch_and_nothing_is_lost(chain: Chain) -> None:
    """What is repeated at the worst moment keeps its MessageID: whoever gets it twice works on it once."""
    school, other = [school for school in chain.world.vo if school.system == OLD][2:4]
    receiver = chain.people.receivers[OLD]

    async def act() -> None:
        await leave_work(receiver)
        await hand_in(chain, [school, other] * 60)
        await until(lambda: states(chain, school) | states(chain, other) == {("delivered", OLD)}, within_s=30)
        load(chain, switched(chain, school))
        for pause_s in (1.2, 1.0, 11.0, 0.3):  # the last ones once the leases of those that were killed have ended
            await asyncio.sleep(pause_s)
            chain.kill("timetable")
        await until(lambda: states(chain, school) == {("acknowledged", NEW)}, within_s=30)
        await until(lambda: not _looked_for(chain, looks=0), within_s=30)
        receiver._stop = asyncio.Event()
        come_back(chain, receiver)
        await until(lambda: states(chain, other) == {("acknowledged", OLD)}, within_s=20)
        await chain.settled()
        assert not set(receiver.delivery_ids()) & set(deliveries(chain, school)), "a copy of what was withdrawn stood there still"

    chain.run(act(), within_s=110)
    chain.nothing_lost_nothing_doubled()


@pytest.mark.timeout(60)
def test_a_system_that_leaves_the_register_is_shut_out_of_the_broker_within_ten_seconds(chain: Chain) -> None:
    async def act() -> None:
        await until(lambda: _timetable_leads(chain))  # the one the test before killed last may hold the lease for ten seconds more
        url = chain.people._url(Oin(STRANGER))
        async with Publisher(url) as theirs:
            document = deepcopy(chain.world.document)
            document["systems"] = [row for row in document["systems"] if row["oin"] != STRANGER]
            load(chain, document)
            await until(lambda: not theirs.is_connected, within_s=10)
            with pytest.raises(BrokerUnavailable, match="does not let this user in"):
                await Publisher(url).open(wait_s=3)
        await until(lambda: chain.store.registry.note("departed") == json.dumps([STRANGER]), within_s=5)
        keeper = Keeper(
            chain._backbone.settings,
            chain.store.registry,
            RegisterCache(chain.store.register),
            *amqp_urls(chain._backbone.settings),
        )
        with pytest.raises(UsageError, match="is connected"):
            await keeper.remove(NEW)
        assert [s for s in await keeper.differences() if f"queue receipt.{STRANGER}" in s]
        await keeper.remove(STRANGER)
        assert await keeper.differences() == []
        assert chain.store.registry.note("departed") == "[]"
        load(chain, chain.world.document)

        async def back() -> bool:
            try:
                async with Publisher(url) as theirs:
                    return theirs.is_connected
            except BrokerUnavailable:
                return False

        await until(back, within_s=20)

    chain.run(act(), within_s=50)
