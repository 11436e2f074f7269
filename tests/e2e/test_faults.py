"""What the exchange must survive under load. Each test hurts it, waits until it has recovered, and counts: nothing lost, nothing twice."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import Any

import pytest
from sqlalchemy import text

from adapters.parties import sabotage
from adapters.parties.season import Planned
from adapters.parties.world import CENTRAAL, CIVIC, LASSEN
from schemas.oin import Oin
from tests.support.broker import require_rabbitmq, until
from tests.support.chain import Chain
from workers.loop import DRAIN_S, LEASE_S

pytestmark = [pytest.mark.broker, pytest.mark.slow]


@pytest.fixture(scope="module")
def started() -> Iterator[Chain]:
    """One exchange for all tests here: starting it takes longer than most of them."""
    require_rabbitmq()
    with Chain() as chain:
        yield chain


@pytest.fixture
def chain(started: Chain) -> Iterator[Chain]:
    """The exchange, with nothing left over from the test before."""
    started.run(until(started.all_workers_run))
    started.run(started.settled())
    started.nothing_lost_nothing_doubled()
    return started


async def under_load(chain: Chain, hurt: Callable[[], Awaitable[Any]], *, messages: int = 80, over_s: float = 3.0) -> None:
    """Hands in messages all the time, hurts the exchange a while after the first, and waits until all is well again."""
    before = _answered(chain)
    planned = chain.plan(messages)
    sending = asyncio.create_task(chain.hand_in(planned, over_s=over_s))
    try:
        await asyncio.sleep(over_s / 4)
        await until(chain.unfinished)
        assert not sending.done(), "nothing is under way when the harm is done"
        await hurt()
    finally:
        await sending
    await chain.settled()
    chain.nothing_lost_nothing_doubled()
    assert _answered(chain) - before == len(planned), chain.log()


def _answered(chain: Chain) -> int:
    """Hand-ins whose sender has a receipt, yes or no."""
    counts = [party.outbox.counts() for party in chain.people.senders.values()]
    return sum(count.get("accepted", 0) + count.get("refused", 0) for count in counts)


@pytest.mark.timeout(90)
@pytest.mark.parametrize("name", ["intake", "relay", "route", "deliver", "audit", "timetable"])
def test_every_worker_of_a_kind_is_killed_under_load_and_nothing_is_lost_or_doubled(chain: Chain, name: str) -> None:
    async def kill() -> None:
        """With something in hand that is neither committed nor acknowledged: work piles up before it, and then the store is locked."""
        pids = [pid for key, pid in chain.supervisor.pids.items() if key.partition("#")[0] == name]
        for pid in pids:
            chain.freeze(pid)
        await asyncio.sleep(0.6)
        locked = asyncio.create_task(chain.lock_store(1.5))
        await asyncio.sleep(0.5)
        for pid in pids:
            chain.thaw(pid)
        await asyncio.sleep(0.4)
        killed = chain.kill(name)
        assert killed
        await locked
        await until(lambda: not set(killed) & set(chain.supervisor.pids.values()) and len(chain.supervisor.pids) == 8)

    chain.run(under_load(chain, kill), within_s=80)


@pytest.mark.timeout(90)
def test_a_broker_that_is_killed_and_restarted_under_load_loses_nothing(chain: Chain) -> None:
    chain.run(under_load(chain, chain.kill_broker), within_s=80)


@pytest.mark.timeout(90)
def test_a_broker_whose_data_folder_is_wiped_under_load_gets_everything_back_from_the_store(chain: Chain) -> None:
    """What waited in a mailbox, too: one receiver is away, so its messages were in the broker only."""
    receiver = chain.people.receivers[CIVIC[0]]

    async def wipe() -> None:
        await chain.kill_broker(wipe=True)
        receiver.away = False

    receiver.away = True
    epoch = chain.store.registry.note("epoch")
    chain.run(under_load(chain, wipe), within_s=80)
    assert chain.store.registry.note("epoch") != epoch, "the relay did not notice that the broker was wiped"


@pytest.mark.timeout(60)
def test_a_store_that_another_process_locks_for_three_seconds_is_waited_for(chain: Chain) -> None:
    chain.run(under_load(chain, lambda: chain.lock_store(3.0)), within_s=50)


@pytest.mark.timeout(60)
def test_a_receiver_that_is_away_for_a_while_gets_everything_once_when_it_is_back(chain: Chain) -> None:
    receiver = chain.people.receivers[CENTRAAL]

    async def come_back() -> None:
        await asyncio.sleep(0.5)  # what it had in hand when it left it still finishes
        had = len(receiver.delivery_ids())
        await asyncio.sleep(3)
        assert len(receiver.delivery_ids()) == had, "it was not away"
        others = chain.people.worked_on().total() - had
        assert others, "one receiver that is away slowed all others"
        receiver.away = False

    receiver.away = True
    try:
        chain.run(under_load(chain, come_back), within_s=50)
    finally:
        receiver.away = False


@pytest.mark.timeout(60)
def test_the_same_message_handed_in_twice_at_the_same_moment_is_one_message_with_two_equal_receipts(chain: Chain) -> None:
    """Twenty pairs, each of which two intake workers get at the same moment: the queue of a party whom the other worker serves gets a copy
    of all, as RabbitMQ 3.10 does for a header CC."""

    async def act() -> None:
        copies: dict[str, str] = {}

        async def shared_out() -> bool:
            """Every LAS has a queue beside its own that the other worker serves."""
            served_by = {name: by for name, by in (await chain.served_by()).items() if name.startswith("intake.")}
            for system in LASSEN:
                mine = served_by.get(f"intake.{system}")
                if other := next((name for name, by in sorted(served_by.items()) if mine and by != mine), None):
                    copies[system] = other.removeprefix("intake.")
            return copies.keys() == set(LASSEN)

        await until(lambda: len(_handled_by(chain, "intake")) == 2)
        await until(shared_out)
        for system, other in copies.items():
            chain.copy_hand_ins(system, to=other)
        pairs = [p for p in chain.plan(120) if p.mistake is None and p.system in LASSEN][:20]
        assert len(pairs) == 20, len(pairs)
        made: list[tuple[Oin, sabotage.Sabotaged, sabotage.Sabotaged]] = []
        for planned in pairs:
            signer = chain.people._signers[planned.system][0]
            first = sabotage.envelope(planned, chain.own, signer)
            again = sabotage.envelope(planned, chain.own, signer, message_id=first.message_id)  # an honest retry: signed once more
            made.append((planned.system, first, again))
            with chain.people._engines[planned.system].begin() as transaction:
                outbox = chain.people.senders[planned.system].outbox
                outbox.add(
                    transaction,
                    sender=planned.sender,
                    receiver=chain.own,
                    address="",
                    action=planned.action,
                    content=planned.content,
                    signed=(first.message_id, first.signed),
                )
                # the test sends it, not the outbox
                transaction.execute(
                    text("UPDATE koppelpunt_outgoing SET state = 'sent', sent_at = :now WHERE message_id = :id"),
                    {"now": time.time(), "id": first.message_id},
                )
        before = _handled_by(chain, "intake")
        await asyncio.gather(
            *(chain.publish(system, one.message_id, one.signed) for system, first, again in made for one in (first, again))
        )
        await chain.settled()
        for system, first, _ in made:
            row = chain.people.senders[system].outbox.row(first.message_id)
            found = chain.rows("SELECT reference FROM message WHERE message_id = :id", id=first.message_id)
            assert [one["reference"] for one in found] == [row["reference"] if row else None]
        await until(lambda: all(now > before[one] for one, now in _handled_by(chain, "intake").items()))  # each had one of each pair

    chain.run(act(), within_s=50)
    chain.nothing_lost_nothing_doubled()


@pytest.mark.timeout(60)
def test_a_burst_of_one_applications_statuses_is_stored_in_order_by_two_intake_workers(chain: Chain) -> None:
    """Its sender does not wait for receipts in between: out of order, all but the newest would be STATUS_STALE."""

    async def act() -> None:
        bursts = [list(chain.season._application(chain.season._new_pupil(), path=("AO",) * 40)) for _ in range(4)]
        await asyncio.gather(*(chain.people.hand_in(burst) for burst in bursts))
        await chain.settled()
        codes = [row["code"] for row in chain.rows("SELECT code FROM refusal WHERE code LIKE 'STATUS%' AND at_us > :t", t=started_us)]
        assert codes == []

    started_us = int(time.time() * 1e6)
    chain.run(act(), within_s=50)
    chain.nothing_lost_nothing_doubled()


def _handled_by(chain: Chain, name: str) -> dict[str, int]:
    """Worker id -> how much it handled, of those that live."""
    pids = set(chain.supervisor.pids.values())
    return {
        row["id"]: row["handled"] for row in chain.rows("SELECT id, pid, handled FROM worker WHERE name = :n", n=name) if row["pid"] in pids
    }


@pytest.mark.timeout(90)
def test_a_relay_that_was_frozen_while_another_took_over_does_no_harm_when_it_wakes_up(chain: Chain) -> None:
    async def freeze() -> None:
        was, pid = chain.leader("relay")
        chain.freeze(pid)
        try:
            await asyncio.sleep(LEASE_S + 2)
            await until(lambda: chain.leader("relay")[0] != was)
        finally:
            chain.thaw(pid)
        await asyncio.sleep(1)
        assert chain.leader("relay")[0] != was, "the relay that slept took the lead back from one that lives"
        assert pid in chain.supervisor.pids.values(), "the relay that slept must live on, as the next to lead"

    chain.run(under_load(chain, freeze, messages=120, over_s=14), within_s=80)


@pytest.mark.timeout(90)
def test_sigterm_under_load_drains_in_time_and_a_restart_finishes_the_rest(chain: Chain) -> None:
    async def restart() -> None:
        seconds, statuses = await chain.stop_workers()
        assert seconds < DRAIN_S
        assert set(statuses) == {0}, f"exit statuses {statuses}\n{chain.log()}"
        assert not chain.rows("SELECT id FROM worker WHERE state = 'draining'"), "a worker left without a goodbye"
        await chain.start_workers()

    chain.run(under_load(chain, restart, messages=120), within_s=80)


@pytest.mark.timeout(120)
def test_ten_messages_with_one_order_key_arrive_in_order_while_workers_are_killed(chain: Chain) -> None:
    """A sender that minds the order waits for each receipt; the deliveries pile up behind workers that are being killed."""

    async def act() -> None:
        steps = list(chain.season._application(chain.season._new_pupil(), path=("AO",) * 10))
        kills = itertools.cycle(["route", "deliver", "intake", "audit", "deliver", "relay"])

        async def killing() -> None:
            while True:
                chain.kill(next(kills))
                await asyncio.sleep(1.5)

        receiver = chain.people.receivers[CENTRAAL]
        receiver.away = True
        await asyncio.sleep(0.5)  # what it has in hand it still finishes
        murderer = asyncio.create_task(killing())
        try:
            load = asyncio.create_task(chain.hand_in(chain.plan(60), over_s=6))
            ids = [await _hand_in_one(chain, step) for step in steps]
            await load
            murderer.cancel()
            # a mailbox keeps the order of what is in it; that the next waits until this one is finished is for the release to see to
            await until(lambda: len(_states(chain, "centraalAanmelden", ids)) == 10)
            await until(lambda: "delivered" in _states(chain, "centraalAanmelden", ids))
            left = [state for state in _states(chain, "centraalAanmelden", ids) if state in ("released", "delivered")]
            assert left == ["delivered"], f"{len(left)} of ten left while the first was not confirmed"
        finally:
            murderer.cancel()
            receiver.away = False
        await chain.settled(within_s=60)
        rows = [chain.people.senders[steps[0].system].outbox.row(one) for one in ids]
        references = [row["reference"] for row in rows if row and row["state"] == "accepted"]
        assert len(references) == 10, [(row["state"], row["code"]) for row in rows if row]
        assert _arrivals(chain, "centraalAanmelden", CENTRAAL, references) == references

    chain.run(act(), within_s=110)
    chain.nothing_lost_nothing_doubled()


async def _hand_in_one(chain: Chain, planned: Planned) -> str:
    system = planned.system
    with chain.people._engines[system].begin() as transaction:
        message_id = chain.people.senders[system].outbox.add(
            transaction,
            sender=planned.sender,
            receiver=chain.own,
            address="https://koppelpunt.example/vva",
            action=planned.action,
            content=planned.content,
        )
    await chain.people._receipt_of(system, message_id)
    return message_id


def _states(chain: Chain, target: str, ids: Sequence[str]) -> list[str]:
    """Where the deliveries of these messages to that receiver stand, in the order of handing in."""
    rows = chain.rows(
        "SELECT m.message_id, d.state FROM delivery d JOIN message m ON m.seq = d.message_seq WHERE d.target = :t ORDER BY m.seq", t=target
    )
    return [row["state"] for row in rows if row["message_id"] in set(ids)]


def _arrivals(chain: Chain, target: str, receiver: Oin, references: Sequence[str]) -> list[str]:
    """References in the order in which the receiver worked on them."""
    wanted = {
        row["id"]: row["reference"]
        for row in chain.rows(
            "SELECT d.id, m.reference FROM delivery d JOIN message m ON m.seq = d.message_seq WHERE d.target = :t", t=target
        )
        if row["reference"] in set(references)
    }
    with chain.people._engines[receiver].connect() as connection:
        arrived = connection.execute(text("SELECT delivery_id FROM koppelpunt_received ORDER BY rowid")).scalars()
        return [wanted[one] for one in arrived if one in wanted]
