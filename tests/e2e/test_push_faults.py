"""Pushing under faults: workers, broker and store are hurt while endpoints are called. Nothing is lost, and what comes twice is known.

The workers are processes and the clock is the real one. The endpoint is a sandbox partner in the test, so it sees each call.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sqlite3
import time
from collections.abc import Iterator

import pytest

from adapters.parties.behaviour import Behaviour
from adapters.parties.sandbox import Sandbox
from routing.release import PUSH_WINDOW
from tests.support.broker import free_port, require_rabbitmq, until
from tests.support.exchange import Exchange
from tests.support.push import all_are, arrivals, document, hand_in, receiver, stand
from workers.loop import DRAIN_S
from workers.supervisor import Supervisor

pytestmark = [pytest.mark.broker, pytest.mark.slow]

PORT = free_port()
#: Seconds a call may take; a dead worker's claim is taken over this long, and half a minute, after it began.
ANSWER_S = 5
WORKERS = ("intake", "relay", "route", "push", "push", "audit")


@pytest.fixture(scope="module")
def started() -> Iterator[Exchange]:
    require_rabbitmq()
    settings = {"KOPPELPUNT_PUSH_ANSWER_S": str(ANSWER_S), "KOPPELPUNT_LOG_LEVEL": "INFO"}
    with Exchange(processes=WORKERS, document=document(proef=PORT), settings=settings) as made:
        yield made


@pytest.fixture
def exchange(started: Exchange) -> Iterator[Exchange]:
    """With nothing left over from the test before."""
    started.run(until(lambda: len(started.supervisor.pids) == len(WORKERS)))
    started.run(until(lambda: not started.rows("SELECT 1 FROM lane WHERE state = 'held'")))
    return started


async def end_well(exchange: Exchange, ids: list[str], *, within_s: float = 30.0) -> None:
    try:
        await until(all_are(exchange, ids, "acknowledged"), within_s=within_s)
    except TimeoutError:
        raise AssertionError(f"{stand(exchange, ids)}\n{exchange.log()[-3000:]}") from None


def pushing(exchange: Exchange) -> list[int]:
    return [pid for key, pid in exchange.supervisor.pids.items() if key.partition("#")[0] == "push"]


async def under_way(school: Sandbox, count: int) -> None:
    await until(lambda: school.at_once >= count)


def tries(exchange: Exchange, ids: list[str]) -> list[tuple[str, int]]:
    rows = exchange.rows(
        "SELECT m.message_id, a.number, a.outcome, a.code FROM attempt a JOIN delivery d ON d.seq = a.delivery_seq "
        "JOIN message m ON m.seq = d.message_seq ORDER BY a.delivery_seq, a.number"
    )
    return [(row["outcome"], row["number"]) for row in rows if row["message_id"] in set(ids)]


@pytest.mark.timeout(120)
def test_push_workers_killed_while_calls_hang_and_come_back_lose_nothing_and_what_comes_twice_has_the_same_ids(exchange: Exchange) -> None:
    async def act() -> None:
        async with receiver(exchange, "hang*4", "slow=0.1", port=PORT) as school:
            ids = await hand_in(exchange, 60)
            await until(lambda: len(arrivals(school)) >= 24)  # some are answered by now, and four hang
            killed = pushing(exchange)
            for pid in killed:
                os.kill(pid, signal.SIGKILL)
            await until(lambda: len(pushing(exchange)) == 2 and not set(killed) & set(pushing(exchange)))
            await end_well(exchange, ids, within_s=90)
            came = arrivals(school)
            assert came.keys() == set(ids), "lost, or never handed in"
            twice = {one for one, times in came.items() if times > 1}
            assert max(came.values()) <= 2 and 0 < len(twice) <= PUSH_WINDOW, "only what was under way may come twice"
            contents = {one: {got.content_sha256 for got in school.received if got.message_id == one} for one in ids}
            assert all(len(digests) == 1 for digests in contents.values())
            marked = [event for one in twice for event in events_of(exchange, one) if event.details.get("claimed_before")]
            assert len(marked) == len(twice), "what came twice is not to be found in the journal"

    exchange.run(act(), within_s=115)


def events_of(exchange: Exchange, message_id: str) -> list:
    (row,) = exchange.rows("SELECT reference FROM message WHERE message_id = :id", id=message_id)
    return list(exchange.store.journal.of_message(row["reference"]))


@pytest.mark.timeout(60)
def test_two_push_workers_share_the_work_and_call_for_each_message_once(exchange: Exchange) -> None:
    async def act() -> None:
        async with receiver(exchange, "slow=0.05", port=PORT) as school:
            ids = await hand_in(exchange, 80)
            await end_well(exchange, ids)
            assert arrivals(school) == dict.fromkeys(ids, 1)
            assert 1 < school.most_at_once <= PUSH_WINDOW, "the window is of the endpoint, not of each worker"
            actors = {event.actor for one in ids for event in events_of(exchange, one) if event.kind == "acknowledged"}
            assert len(actors) == 2

    exchange.run(act(), within_s=55)


@pytest.mark.timeout(90)
def test_sigterm_with_calls_under_way_waits_for_their_answers_and_a_restart_does_the_rest(exchange: Exchange) -> None:
    async def act() -> None:
        async with receiver(exchange, "slow=1", port=PORT) as school:
            ids = await hand_in(exchange, 60)
            await under_way(school, 15)
            old, began = exchange.supervisor, time.monotonic()
            await old.stop()
            assert time.monotonic() - began < DRAIN_S
            assert {process.returncode for process in old._processes.values()} == {0}, exchange.log()[-3000:]
            assert school.at_once == 0
            left = exchange.rows("SELECT claim FROM delivery WHERE state = 'released'")
            assert all(row["claim"] is None for row in left), "a worker left with a claim in hand"
            queued = await (await exchange.inspector()).depth("push")
            assert queued is not None and queued >= len(left), "a delivery is released, and no ticket says so"
            exchange.supervisor = Supervisor(old._program, old._names, old._environment, old._log_file)
            await exchange.supervisor.start()
            await end_well(exchange, ids)
            assert arrivals(school) == dict.fromkeys(ids, 1)
            assert set(tries(exchange, ids)) == {("acknowledged", 1)}

    exchange.run(act(), within_s=85)


@pytest.mark.timeout(90)
@pytest.mark.parametrize("wipe", [False, True], ids=["killed", "wiped"])
def test_calls_under_way_when_the_broker_dies_are_answered_and_made_once(exchange: Exchange, wipe: bool) -> None:
    async def act() -> None:
        async with receiver(exchange, "slow=3*20", port=PORT) as school:
            ids = await hand_in(exchange, 40)
            await under_way(school, 20)
            await asyncio.to_thread(exchange.node.kill)
            if wipe:
                await asyncio.to_thread(exchange.node.wipe)
            school.plan = [Behaviour.of("slow=0.2")]
            await asyncio.to_thread(exchange.node.start)
            await end_well(exchange, ids, within_s=60)
            assert arrivals(school) == dict.fromkeys(ids, 1), "what was under way was made again"

    exchange.run(act(), within_s=85)
    exchange.run(forget_connections(exchange))


async def forget_connections(exchange: Exchange) -> None:
    """The test's own to the broker that died."""
    for connection in (*exchange._publishers.values(), *exchange._consumers.values(), *filter(None, [exchange._inspector])):
        await connection.close()
    exchange._publishers.clear()
    exchange._consumers.clear()
    exchange._inspector = None


@pytest.mark.timeout(60)
def test_answers_that_come_while_the_store_is_locked_are_heard(exchange: Exchange) -> None:
    async def act() -> None:
        async with receiver(exchange, f"slow={ANSWER_S - 2}*10", "slow=0.3*10", port=PORT) as school:
            ids = await hand_in(exchange, 20)
            await under_way(school, 10)
            await until(lambda: len(school.received) == 20)
            locker = sqlite3.connect(exchange.store.database.url.database or "", timeout=10, isolation_level=None)
            locker.execute("BEGIN IMMEDIATE")
            await asyncio.sleep(ANSWER_S + 1)  # those that take a while are answered in the midst of it, and their time ends in it
            assert school.at_once == 0, "they are not answered yet"
            locker.execute("ROLLBACK")
            locker.close()
            await end_well(exchange, ids)
            assert set(tries(exchange, ids)) == {("acknowledged", 1)}, "an answer was there, and was not heard"
            assert arrivals(school) == dict.fromkeys(ids, 1)

    exchange.run(act(), within_s=55)
