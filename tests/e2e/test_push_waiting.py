"""Endpoints that are away, and what becomes of what waits for them: order, successors, revoked mandates, deadlines.

The clock runs ahead of the real one, as in test_an_hour_away; broker, store and workers are the real ones, and so are the sockets.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest

from schemas.oin import Oin
from tests.support.broker import free_port, require_rabbitmq, until
from tests.support.exchange import MBO, SCHOOL, UTRECHT, Exchange, MovedClock
from tests.support.push import (
    all_are,
    arrivals,
    as_time_passes,
    deliveries,
    document,
    hand_in,
    hand_in_steps,
    municipality,
    receiver,
    save,
    stand,
)
from workers import push as pushing
from workers import register_cache

pytestmark = [pytest.mark.broker, pytest.mark.slow]

HOUR = timedelta(hours=1)
NEW_SYSTEM = Oin("00000003272448990000")


class Clocked(Exchange):
    """With the clock that tests move."""

    clock: MovedClock


@pytest.fixture
def exchange(monkeypatch: pytest.MonkeyPatch) -> Iterator[Clocked]:
    require_rabbitmq()
    monkeypatch.setattr(register_cache, "LOOK_EVERY_S", 0.0)  # the clock runs some minutes in the second that it takes otherwise
    with Clocked(clock=MovedClock(), settings={"KOPPELPUNT_PUSH_ANSWER_S": "20"}) as made:
        yield made


def start(exchange: Exchange, changed: dict[str, Any], *more: str) -> None:
    save(exchange, changed)
    for name in ("intake", "relay", "route", "push", "audit", *more):
        exchange.start_worker(name)


def held(exchange: Exchange) -> list[str]:
    return [row["lane"] for row in exchange.rows("SELECT lane FROM lane WHERE state = 'held'")]


async def wait_at(exchange: Clocked, port: int, count: int) -> list[str]:
    """So many messages wait for an endpoint at which nobody listens, and which is held."""
    ids = await hand_in(exchange, count)
    await until(lambda: len(deliveries(exchange, ids)) == count and held(exchange), within_s=30)
    await until(lambda: not exchange.rows("SELECT 1 FROM delivery WHERE state = 'released'"))
    return ids


@pytest.mark.timeout(150)
def test_after_an_hour_away_an_endpoint_gets_everything_once_in_order_per_key_and_the_oldest_do_not_come_last(exchange: Clocked) -> None:
    vva, proef = free_port(), free_port()

    async def act() -> None:
        start(exchange, document(proef=proef, vva=vva))
        ketens = await hand_in_steps(exchange, ketens=15, steps=10)
        ids = [one for steps in zip(*ketens.values(), strict=True) for one in steps]
        others = await hand_in(exchange, 150)  # without an order key, to another endpoint
        await until(
            lambda: len(deliveries(exchange, ids, to=UTRECHT)) == len(ids) and len(deliveries(exchange, others)) == 150, within_s=60
        )
        await until(lambda: len(held(exchange)) == 2, within_s=30)
        began = exchange.clock.ahead
        while exchange.clock.ahead < began + HOUR:
            exchange.clock.ahead += timedelta(seconds=15)
            await asyncio.sleep(0.03)
        tries = exchange.rows("SELECT delivery_seq FROM attempt")
        assert len(tries) < 2 * (20 + 20), f"{len(tries)} tries in an hour at two endpoints at which nobody listens"
        tried = {row["delivery_seq"] for row in tries}
        async with municipality(exchange, "slow=0.02", port=vva) as civic, receiver(exchange, "slow=0.02", port=proef) as school:
            await as_time_passes(
                exchange, lambda: len(civic.received) >= len(ids) and len(school.received) >= 150, step=timedelta(seconds=1), within=HOUR
            )
            await until(
                lambda: not exchange.rows("SELECT 1 FROM delivery WHERE state IN ('routed', 'released', 'postponed') AND lane LIKE 'push%'")
            )
            assert [one.code for one in (*civic.received, *school.received) if one.code] == []
            to_civic = deliveries(exchange, ids, to=UTRECHT)
            own = {f"urn:uuid:{row['id']}": one for one, row in to_civic.items()}
            came = [own[str(one.message_id)] for one in civic.received]
            assert sorted(came) == sorted(ids), "lost or duplicated"
            assert set(arrivals(school).items()) == {(one, 1) for one in others}, "lost or duplicated"
            for keten, steps in ketens.items():
                assert [one for one in came if one in set(steps)] == steps, f"the statuses of {keten} came in another order"
            at_school = [str(one.message_id) for one in school.received]
            early = [at_school.index(one) for one, row in deliveries(exchange, others).items() if row["seq"] in tried]
            assert early and max(early) < 100, f"what was tried first came last: {sorted(early)}"
        assert held(exchange) == []

    exchange.run(act(), within_s=140)


@pytest.mark.timeout(90)
def test_when_the_receivers_mandate_ends_what_waits_goes_to_the_successor_and_without_one_it_waits(exchange: Clocked) -> None:
    old, new = free_port(), free_port()

    async def act() -> None:
        start(exchange, document(proef=old), "timetable")
        ids = await wait_at(exchange, old, 30)
        ended = document(proef=old)
        yesterday = f"{exchange.clock.now() - timedelta(days=1):%Y-%m-%d}"
        next(row for row in ended["mandates"] if (row["organisation"], row["dienst"]) == (MBO, "proef"))["until"] = yesterday
        save(exchange, ended)
        async with receiver(exchange, port=old) as predecessor:
            # those that were tried before the endpoint was held are postponed
            waiting = all_are(exchange, ids, "routed", "postponed", hold_code="ROUTE_NO_MANDATE", lane=None)
            try:
                await as_time_passes(exchange, waiting, step=timedelta(seconds=5), within=HOUR)
            except TimeoutError:
                raise AssertionError(stand(exchange, ids)) from None
            assert predecessor.requests == 0, "it came to a system that had no mandate any more"
        succeeded = document(proef=old)
        succeeded["systems"].append({"oin": NEW_SYSTEM, "name": "Nieuw", "supplier": "Nieuw BV", "channels": ["https"]})
        for rows in (succeeded["mandates"], succeeded["endpoints"]):
            row = next(row for row in rows if (row["organisation"], row["dienst"]) == (MBO, "proef"))
            row["until"] = yesterday
            rows.append({name: value for name, value in row.items() if name != "until"} | {"system": NEW_SYSTEM})
        succeeded["endpoints"][-1]["url"] = f"https://localhost:{new}/proef"
        save(exchange, succeeded)
        async with receiver(exchange, port=new, system=NEW_SYSTEM) as successor:
            try:
                await as_time_passes(exchange, all_are(exchange, ids, "acknowledged"), step=timedelta(seconds=5), within=HOUR)
            except TimeoutError:
                raise AssertionError(stand(exchange, ids)) from None
            assert arrivals(successor) == dict.fromkeys(ids, 1)

    exchange.run(act(), within_s=80)


@pytest.mark.timeout(60)
def test_what_waits_when_the_senders_mandate_is_revoked_at_once_is_not_sent_any_more(exchange: Clocked) -> None:
    port = free_port()

    async def act() -> None:
        start(exchange, document(proef=port))
        ids = await wait_at(exchange, port, 5)
        revoked = document(proef=port)
        next(row for row in revoked["mandates"] if (row["organisation"], row["dienst"]) == (SCHOOL, "proef"))["revoked"] = True
        save(exchange, revoked)
        async with receiver(exchange, port=port) as school:
            try:
                await as_time_passes(
                    exchange,
                    all_are(exchange, ids, "failed", code="ROUTE_MANDATE_REVOKED", owner="school"),
                    step=timedelta(seconds=5),
                    within=HOUR,
                )
            except TimeoutError:
                raise AssertionError(stand(exchange, ids)) from None
            assert school.requests == 0

    exchange.run(act(), within_s=50)


@pytest.mark.timeout(60)
def test_what_waits_at_a_held_endpoint_until_its_deadline_fails_for_what_it_waited_for_and_its_sender_is_told(exchange: Clocked) -> None:
    port = free_port()

    async def act() -> None:
        start(exchange, document(proef=port))
        ids = await wait_at(exchange, port, 30)
        assert exchange.rows("SELECT 1 FROM delivery WHERE state = 'routed'"), "all were tried"
        exchange.clock.ahead += timedelta(days=1, seconds=1)
        exchange.start_worker("timetable")
        facts = {"code": "ENDPOINT_UNREACHABLE", "owner": "receiver"}
        try:
            await until(all_are(exchange, ids, "failed", **facts), within_s=20)
        except TimeoutError:
            raise AssertionError(stand(exchange, ids)) from None

    exchange.run(act(), within_s=50)


@pytest.mark.timeout(60)
def test_a_worker_that_stops_while_an_endpoint_thinks_says_nothing_of_the_endpoint(
    exchange: Clocked, monkeypatch: pytest.MonkeyPatch
) -> None:
    port = free_port()
    monkeypatch.setattr(pushing, "LAST_S", 0.2)

    async def act() -> None:
        start(exchange, document(proef=port))
        async with receiver(exchange, "hang*5", port=port) as school:
            ids = await hand_in(exchange, 5)
            await until(lambda: school.at_once == 5, within_s=20)
            await exchange.stop_workers("push")
            assert all_are(exchange, ids, "postponed", hold_code="ANSWER_NOT_HEARD")(), stand(exchange, ids)
            assert held(exchange) == []
            exchange.start_worker("push")
            await as_time_passes(exchange, all_are(exchange, ids, "acknowledged"), step=timedelta(seconds=5), within=HOUR)
            assert arrivals(school) == dict.fromkeys(ids, 2), "they are the same messages, by their ids"

    exchange.run(act(), within_s=50)


@pytest.mark.timeout(60)
def test_one_path_that_hangs_does_not_hold_up_another_receiver_on_the_same_host(exchange: Clocked) -> None:
    port = free_port()

    async def act() -> None:
        start(exchange, document(proef=port, vva=port))
        async with receiver(exchange, "hang*20", port=port) as host:
            await hand_in(exchange, 20)
            await until(lambda: host.at_once == 20, within_s=30)
            host.plan = []
            await hand_in_steps(exchange, ketens=3, steps=1)
            await until(lambda: [one for one in host.received if one.path == "/vva"], within_s=8)

    exchange.run(act(), within_s=50)


@pytest.mark.timeout(60)
def test_a_call_whose_turn_has_not_come_when_its_worker_stops_is_made_later_and_not_in_a_hurry(exchange: Clocked) -> None:
    port = free_port()

    async def act() -> None:
        slowly = document(proef=port)
        next(row for row in slowly["endpoints"] if "url" in row)["per_second"] = 0.25
        start(exchange, slowly)
        async with receiver(exchange, port=port) as school:
            ids = await hand_in(exchange, 3)
            await until(lambda: len(school.received) == 1, within_s=20)
            await until(lambda: len(exchange.rows("SELECT 1 FROM delivery WHERE claim IS NOT NULL")) == 1)  # its turn comes in 4 s
            await exchange.stop_workers("push")
            assert len(school.received) == 1, "the endpoint was called in a hurry"
            fast = document(proef=port)
            save(exchange, fast)
            exchange.start_worker("push")
            await as_time_passes(exchange, all_are(exchange, ids, "acknowledged"), step=timedelta(seconds=1), within=HOUR)
            assert arrivals(school) == dict.fromkeys(ids, 1)

    exchange.run(act(), within_s=50)


@pytest.mark.timeout(90)
def test_two_hundred_calls_that_hang_one_by_one_leave_the_worker_free_for_others() -> None:
    """As many as ten endpoints have under way. Each came alone, so each is a batch of its own."""
    require_rabbitmq()
    hanging, port = free_port(), free_port()

    async def act(exchange: Exchange) -> None:
        start(exchange, document(proef=hanging, vva=port))
        async with receiver(exchange, "hang", port=hanging) as silent, municipality(exchange, port=port) as civic:
            for number in range(1, 206):
                await hand_in(exchange, 1)
                await until(lambda number=number: silent.requests == number)  # type: ignore[misc]
            await hand_in_steps(exchange, ketens=1, steps=1)
            await until(lambda: civic.requests)

    settings = {"KOPPELPUNT_PUSH_ANSWER_S": "60", "KOPPELPUNT_PUSH_WINDOW": "1000"}
    with Exchange(settings=settings) as exchange:
        exchange.run(act(exchange), within_s=80)
        exchange.run(leave_at_once(exchange))


async def leave_at_once(exchange: Exchange) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pushing, "LAST_S", 0.1)
        await exchange.stop_workers("push")
