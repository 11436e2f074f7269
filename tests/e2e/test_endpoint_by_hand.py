"""What people do with an endpoint while everything runs: pause it and let it go on, and try it with a test message (proef), which is asked
for at the desk, made by the timetable, and goes the whole way of a message."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest

import run as program
from adapters.parties.sandbox import Sandbox
from routing.people import Scope
from routing.ports import Incoming, Outgoing
from routing.proef import NoProef, Proef, ProefState
from tests.support.broker import free_port, require_rabbitmq, until
from tests.support.exchange import CIVIC, HUB, LAS, MBO, SCHOOL, SIS, UTRECHT, Exchange, MovedClock
from tests.support.push import arrivals, deliveries, document, hand_in, hand_in_steps, municipality, receiver
from tests.support.store import run_sql
from workers.proefs import ProefDesk
from workers.register_cache import RegisterCache

pytestmark = [pytest.mark.broker, pytest.mark.slow]

ALL = Scope(everything=True)
PORT, CIVIC_PORT = free_port(), free_port()
CIVIC_LANE = f"push {CIVIC} https://localhost:{CIVIC_PORT}/vva"
LANE = f"push {SIS} https://localhost:{PORT}/proef"
WORKERS = ("relay", "route", "deliver", "push", "audit", "timetable", "intake")


@pytest.fixture(scope="module")
def exchange() -> Iterator[Exchange]:
    require_rabbitmq()
    with Exchange(document=document(proef=PORT, vva=CIVIC_PORT), clock=MovedClock()) as made:
        made.run(awake(made))
        yield made


async def awake(exchange: Exchange) -> None:
    for name in WORKERS:
        exchange.start_worker(name)
    inspector = await exchange.inspector()
    await until(lambda: inspector.depth("epoch"), within_s=30)


@pytest.fixture
def desk(exchange: Exchange) -> ProefDesk:
    assert isinstance(exchange.clock, MovedClock)
    exchange.clock.ahead += timedelta(minutes=1)  # so that another one may be sent there
    return ProefDesk(exchange.store.proefs, RegisterCache(exchange.store.register), exchange.clock)


async def comes_to(desk: ProefDesk, asked: Proef, *states: ProefState) -> Proef:
    def now() -> Proef:
        found = desk.proef(ALL, asked.id)
        assert found is not None
        return found

    try:
        await until(lambda: now().state in states, within_s=30)
    except TimeoutError:
        raise AssertionError(now()) from None
    return now()


def events(exchange: Exchange, asked: Proef) -> list[str]:
    return [event.kind for event in exchange.store.journal.of_message(asked.id)]


def test_an_endpoint_that_is_paused_gets_nothing_and_when_it_is_resumed_everything_in_order(exchange: Exchange) -> None:
    async def play() -> tuple[dict[str, list[str]], list[str], int, int]:
        outbox, now_us = exchange.store.outbox, exchange.clock.now_us
        async with municipality(exchange, "slow=0.05", port=CIVIC_PORT) as civic, receiver(exchange, port=PORT) as school:
            ketens = await hand_in_steps(exchange, ketens=6, steps=6)
            ids = [one for steps in ketens.values() for one in steps]
            await until(lambda: len(civic.received) >= 8, within_s=60)
            outbox.hold(CIVIC_LANE, who="olga", now_us=now_us())
            under_way = "SELECT 1 FROM delivery WHERE state = 'released' AND lane = :lane"
            await until(lambda: not exchange.rows(under_way, lane=CIVIC_LANE), within_s=30)
            before = len(civic.received)
            await until(lambda: len(deliveries(exchange, ids, to=UTRECHT)) == len(ids), within_s=60)
            others = await hand_in(exchange, 3)  # to another endpoint: the relay has looked at all of them meanwhile
            await until(lambda: len(arrivals(school)) == len(others), within_s=30)
            paused = len(civic.received)
            outbox.let_go(CIVIC_LANE, who="olga", now_us=now_us())
            await until(lambda: len(civic.received) >= len(ids), within_s=60)
            await until(lambda: settled(exchange, ids), within_s=30)
        own = {f"urn:uuid:{row['id']}": one for one, row in deliveries(exchange, ids, to=UTRECHT).items()}
        return ketens, [own[str(one.message_id)] for one in civic.received], before, paused

    ketens, came, before, paused = exchange.run(play(), within_s=150)
    assert before == paused < len(came), "something left while it was paused, or all had gone before"
    assert sorted(came) == sorted(one for steps in ketens.values() for one in steps), "lost or doubled"
    for keten, steps in ketens.items():
        assert [one for one in came if one in set(steps)] == steps, f"the statuses of {keten} came in another order"


def settled(exchange: Exchange, ids: list[str]) -> bool:
    return all(row["state"] == "acknowledged" for row in deliveries(exchange, ids, to=UTRECHT).values())


def test_an_endpoint_takes_a_proef_that_goes_the_whole_way_of_a_message(exchange: Exchange, desk: ProefDesk) -> None:
    async def play() -> tuple[Proef, Sandbox]:
        async with receiver(exchange, port=PORT) as school:
            asked = desk.ask(ALL, organisation=MBO, who="anna")
            return await comes_to(desk, asked, ProefState.ACKNOWLEDGED, ProefState.FAILED), school

    done, school = exchange.run(play())
    assert (done.state, done.code, done.lane, done.system) == (ProefState.ACKNOWLEDGED, None, LANE, SIS)
    assert done.took_us and done.ended_us
    (got,) = school.received
    assert got.message_id == f"urn:uuid:{done.id}", "signed by us, and found good by the receiver"
    assert events(exchange, done) == ["proef_asked", "received", "routed", "acknowledged"]
    rules = [one["rule"] for one in exchange.store.journal.decisions_of(done.id)]
    assert rules[:2] == ["made-here", "own-proef"]
    assert {"addressed", "endpoint"} <= set(rules)
    untold = "SELECT 1 FROM event WHERE tell = :own AND tell_after_us IS NOT NULL"
    exchange.run(until(lambda: not exchange.rows(untold, own=HUB), within_s=20))  # no letters to ourselves


def test_what_an_endpoint_answers_is_shown_and_it_is_not_offered_again(exchange: Exchange, desk: ProefDesk) -> None:
    async def play() -> tuple[Proef, int]:
        async with receiver(exchange, "fault=Client.DK0004*9", port=PORT) as school:
            asked = desk.ask(ALL, system=SIS, lane=LANE, who="anna")
            return await comes_to(desk, asked, ProefState.ACKNOWLEDGED, ProefState.FAILED), len(school.received)

    done, _ = exchange.run(play())
    assert (done.state, done.code, done.owner) == (ProefState.FAILED, "Client.DK0004", "us"), "it travelled in our envelope"
    assert done.reason and done.took_us
    assert events(exchange, done)[-2:] == ["failed", "archived"], "closed: there is nothing that anybody must do about it"


def test_an_endpoint_that_is_not_there_is_told_at_once(exchange: Exchange, desk: ProefDesk) -> None:
    done = exchange.run(comes_to(desk, desk.ask(ALL, organisation=MBO, who="anna"), ProefState.FAILED))
    assert (done.code, done.owner) == ("ENDPOINT_UNREACHABLE", "receiver")
    (row,) = exchange.rows(
        "SELECT d.state, d.attempts, d.code FROM delivery d JOIN message m ON m.seq = d.message_seq WHERE m.reference = :id", id=done.id
    )
    assert row == {"state": "archived", "attempts": 1, "code": "ENDPOINT_UNREACHABLE"}


def test_to_an_endpoint_that_failed_a_proef_goes_first_and_lets_everything_go_in_order(exchange: Exchange, desk: ProefDesk) -> None:
    async def play() -> tuple[Proef, list[str], Sandbox]:
        ids = await hand_in(exchange, 8)
        await until(lambda: exchange.store.outbox.circuits()[LANE].probe_at, within_s=30)
        async with receiver(exchange, port=PORT) as school:
            done = await comes_to(desk, desk.ask(ALL, organisation=MBO, who="anna"), ProefState.ACKNOWLEDGED)
            await until(lambda: len(school.received) == 9, within_s=30)
        return done, ids, school

    done, ids, school = exchange.run(play())
    got = [str(one.message_id) for one in school.received]
    assert got[0] == f"urn:uuid:{done.id}"
    assert set(got[1:]) == set(ids)


def test_nothing_goes_to_an_endpoint_that_somebody_paused(exchange: Exchange, desk: ProefDesk) -> None:
    now_us = exchange.clock.now_us()
    exchange.store.outbox.hold(LANE, who="olga", now_us=now_us)
    with pytest.raises(NoProef, match="paused by olga"):
        desk.ask(ALL, organisation=MBO, who="anna")
    exchange.store.outbox.let_go(LANE, who="olga", now_us=now_us)
    exchange.run(comes_to(desk, desk.ask(ALL, organisation=MBO, who="anna"), ProefState.FAILED))  # nobody listens


def test_in_a_mailbox_it_stands_until_its_system_confirms_it(exchange: Exchange, desk: ProefDesk) -> None:
    async def play() -> tuple[Proef, Proef]:
        asked = desk.ask(ALL, organisation=SCHOOL, who="anna")
        stands = await comes_to(desk, asked, ProefState.DELIVERED, ProefState.FAILED)
        (letter,) = [one for one in await take(exchange) if one.headers["dienst"] == "proef"]
        word = {"delivery_id": letter.headers["delivery_id"], "outcome": "confirmed", "reason": None}
        publisher = await exchange.publisher(LAS)
        await publisher.publish_many([Outgoing(exchange="confirm", routing_key=LAS, body=json.dumps(word).encode())])
        return stands, await comes_to(desk, asked, ProefState.ACKNOWLEDGED, ProefState.FAILED)

    stands, done = exchange.run(play())
    assert (stands.state, stands.ended_us) == (ProefState.DELIVERED, None)
    assert (done.state, done.lane) == (ProefState.ACKNOWLEDGED, f"mailbox {LAS}")


def test_the_command_sends_one_and_shows_what_came_back(exchange: Exchange, desk: ProefDesk, capsys: pytest.CaptureFixture[str]) -> None:
    home = ["--home", str(exchange.home), "--json"]

    async def play(*wanted: str) -> tuple[int, Any]:
        async with receiver(exchange, port=PORT):
            status = await asyncio.to_thread(program.main, ["proef", *wanted, *home])
        return status, json.loads(capsys.readouterr().out)

    # by the real clock, which is behind the exchange's: what went before is of later
    run_sql(exchange.store, "DELETE FROM proef")
    status, shown = exchange.run(play("--organisation", MBO, "--system", SIS))
    assert (status, shown["state"], shown["lane"]) == (0, "acknowledged", LANE)
    assert shown["took_ms"] is not None
    status, rows = exchange.run(play("--list", "--system", SIS))
    assert (status, [row["reference"] for row in rows]) == (0, [shown["reference"]])
    assert program.main(["proef", "--organisation", MBO, *home]) == 1
    assert "a moment ago" in capsys.readouterr().err


async def take(exchange: Exchange) -> list[Incoming]:
    """What stands in the school's mailbox."""
    consumer = await exchange.consumer("mailbox", LAS)
    batch = list(await consumer.next_batch(idle_s=10.0))
    consumer.ack(batch)
    return batch
