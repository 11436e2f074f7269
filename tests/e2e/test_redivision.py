"""Municipalities go up in another one, or delegate, while messages are under way to them: with everything running, on the day itself."""

from __future__ import annotations

import copy
import uuid
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest

from adapters.parties import invented
from routing.amsterdam import amsterdam_day
from routing.register import Register
from routing.register_rules import OPERATOR, judge
from routing.register_wishes import Delegate, Redivide, Wish
from schemas.events import decode
from schemas.oin import Oin
from tests.support import signing as s
from tests.support.broker import until
from tests.support.exchange import CIVIC, DOCUMENT, GANGER, HUB, LAS, SCHOOL, SIS, UTRECHT, Exchange
from workers.register_cache import RegisterCache

pytestmark = [pytest.mark.broker, pytest.mark.slow]

BUNNIK, CODE = Oin("00000001001234570000"), "0312"
WORKERS = ("intake", "relay", "route", "deliver", "push", "audit", "timetable")
#: Nobody listens there; an operator holds it anyway.
URL = "https://localhost:9/vva"


def document(**endpoint: Any) -> dict[str, Any]:
    """The register with a second municipality, which receives there; nowhere without `endpoint`."""
    made = copy.deepcopy(DOCUMENT)
    codes = [{"code": CODE}]
    made["organisations"].append({"oin": BUNNIK, "name": "Gemeente Bunnik", "kind": "municipality", "gemeentecodes": codes})
    if endpoint:
        made["mandates"].append({"organisation": BUNNIK, "dienst": "vva", "system": SIS})
        made["endpoints"].append({"id": "bunnik", "organisation": BUNNIK, "dienst": "vva", "versie": "1", "system": SIS, **endpoint})
    return made


@pytest.fixture(scope="module")
def exchange() -> Iterator[Exchange]:
    with Exchange(processes=WORKERS, document=document()) as made:
        yield made


def register(exchange: Exchange) -> Register:
    return RegisterCache(exchange.store.register)()


def start(exchange: Exchange, **endpoint: Any) -> None:
    exchange.store.registry.save_register(document(**endpoint), who="test", now_us=exchange.clock.now_us())


def change(exchange: Exchange, wish: Wish) -> None:
    """As an operator types it."""
    known = register(exchange)
    judged = judge(known, OPERATOR, wish, amsterdam_day(exchange.clock.now()))
    exchange.store.register.change(judged.changes, who="beheer", why="", now_us=exchange.clock.now_us(), expected=known.version)


def redivide(exchange: Exchange, *, codes: tuple[str, ...] = (CODE,)) -> None:
    """Bunnik goes up in Utrecht today."""
    change(exchange, Redivide(ended=(BUNNIK,), into=Oin(UTRECHT), day=amsterdam_day(exchange.clock.now()), codes=codes))


async def hand_in(exchange: Exchange, count: int = 5) -> list[str]:
    """Messages about pupils who live in Bunnik; their MessageIDs."""
    now, ids, outgoing = exchange.clock.now(), [], []
    year = now.year if now.month >= 8 else now.year - 1
    for number in range(count):
        content = invented.mbo_ganger_bericht(
            business_id=str(uuid.uuid4()),
            sender="25BE",
            receiver=HUB,
            created=now,
            brin="25BE",
            schooljaar=f"{year}-{year + 1}",
            geboortedatum=f"{now.year - 16}-03-04",
            peildatum=f"{now - timedelta(days=1):%Y-%m-%d}",
            burgerservicenummer=invented.bsn(uuid.uuid4().int % 100_000 + number),
            gemeentecode=CODE,
        )
        ids.append(s.message_id())
        outgoing.append(exchange.hand_in(exchange.signed(content, ids[-1], GANGER, sender=SCHOOL), ids[-1], system=LAS))
    await (await exchange.publisher(LAS)).publish_many(outgoing)
    return ids


def deliveries(exchange: Exchange, ids: list[str]) -> list[dict[str, Any]]:
    rows = exchange.rows("SELECT m.message_id, m.reference, d.* FROM delivery d JOIN message m ON m.seq = d.message_seq ORDER BY d.seq")
    return [row for row in rows if row["message_id"] in ids]


async def until_all(exchange: Exchange, ids: list[str], **facts: Any) -> list[dict[str, Any]]:
    def there() -> bool:
        rows = deliveries(exchange, ids)
        return len(rows) == len(ids) and all(facts.items() <= row.items() for row in rows)

    try:
        await until(there, within_s=40)
    except (AssertionError, TimeoutError):
        raise AssertionError(f"{facts}: {deliveries(exchange, ids)}") from None
    return deliveries(exchange, ids)


TO_UTRECHT = {"receiver": UTRECHT, "receiver_system": CIVIC, "state": "delivered", "hold_code": None}


def test_what_waits_for_a_municipality_that_is_redivided_goes_to_the_new_one(exchange: Exchange) -> None:
    async def play() -> list[dict[str, Any]]:
        start(exchange)
        ids = await hand_in(exchange)
        await until_all(exchange, ids, hold_code="ROUTE_GEMEENTE_NOT_CONNECTED", receiver=BUNNIK)
        redivide(exchange)
        return await until_all(exchange, ids, **TO_UTRECHT)

    reference = exchange.run(play(), within_s=120)[0]["reference"]
    decisions = exchange.store.journal.decisions_of(reference)
    who = [one["inputs"]["name"] for one in decisions if one["question"] == "recipients"]
    assert who == ["Gemeente Bunnik", "Gemeente Utrecht"]


def test_what_failed_on_a_code_that_nobody_had_goes_to_the_municipality_that_is_added_for_it(exchange: Exchange) -> None:
    async def play() -> list[dict[str, Any]]:
        exchange.store.registry.save_register(DOCUMENT, who="test", now_us=exchange.clock.now_us())
        ids = await hand_in(exchange)
        await until_all(exchange, ids, state="failed", code="GEMEENTECODE_UNKNOWN", receiver=f"gemeentecode {CODE}")
        start(exchange, mailbox=True)
        return await until_all(exchange, ids, receiver=BUNNIK, receiver_system=SIS, state="delivered", code=None)

    reference = exchange.run(play(), within_s=120)[0]["reference"]
    kinds = [event.kind for event in exchange.store.journal.of_message(reference)]
    assert kinds == ["received", "failed", "retried", "delivered"]


def test_what_stands_in_a_held_lane_leaves_it_for_the_new_municipality(exchange: Exchange) -> None:
    async def play() -> None:
        exchange.store.outbox.hold(f"push {SIS} {URL}", who="beheer", now_us=exchange.clock.now_us())
        start(exchange, url=URL)
        ids = await hand_in(exchange)
        await until_all(exchange, ids, lane=f"push {SIS} {URL}", receiver=BUNNIK, state="routed")
        redivide(exchange)
        await until_all(exchange, ids, **TO_UTRECHT)

    exchange.run(play(), within_s=120)


def test_what_stands_in_a_held_lane_leaves_it_for_a_region_though_its_endpoint_is_as_it_was(exchange: Exchange) -> None:
    async def play() -> None:
        exchange.store.outbox.hold(f"push {SIS} {URL}", who="beheer", now_us=exchange.clock.now_us())
        start(exchange, url=URL)
        ids = await hand_in(exchange)
        await until_all(exchange, ids, lane=f"push {SIS} {URL}", receiver=BUNNIK, state="routed")
        change(exchange, Delegate(municipality=BUNNIK, dienst="vva", region=Oin(UTRECHT)))
        await until_all(exchange, ids, **{**TO_UTRECHT, "receiver": BUNNIK})

    exchange.run(play(), within_s=120)


def test_what_waits_goes_to_the_region_that_is_to_receive_it(exchange: Exchange) -> None:
    async def play() -> None:
        start(exchange)
        ids = await hand_in(exchange)
        await until_all(exchange, ids, hold_code="ROUTE_GEMEENTE_NOT_CONNECTED")
        change(exchange, Delegate(municipality=BUNNIK, dienst="vva", region=Oin(UTRECHT)))
        await until_all(exchange, ids, **{**TO_UTRECHT, "receiver": BUNNIK})

    exchange.run(play(), within_s=120)


def test_what_stands_unread_in_the_mailbox_of_a_municipality_that_ended_passes_to_the_new_one(exchange: Exchange) -> None:
    async def play() -> None:
        start(exchange, mailbox=True)
        ids = await hand_in(exchange)
        await until_all(exchange, ids, receiver=BUNNIK, receiver_system=SIS, state="delivered")
        redivide(exchange)
        await until_all(exchange, ids, **TO_UTRECHT)

    exchange.run(play(), within_s=120)


def test_what_waits_for_a_gemeentecode_that_is_nobodys_any_more_fails_and_the_school_is_told(exchange: Exchange) -> None:
    async def play() -> str:
        start(exchange)
        ids = await hand_in(exchange, 2)
        await until_all(exchange, ids, hold_code="ROUTE_GEMEENTE_NOT_CONNECTED")
        redivide(exchange, codes=())
        rows = await until_all(exchange, ids, state="failed", code="ROUTE_GEMEENTE_ENDED", owner="school", hold_code=None)
        return str(rows[0]["reference"])

    reference = exchange.run(play(), within_s=120)
    told = exchange.rows("SELECT payload, tell FROM event WHERE reference = :r ORDER BY id", r=reference)
    last = decode(bytes(told[-1]["payload"]))
    assert (last.kind, last.code, last.owner, told[-1]["tell"]) == ("failed", "ROUTE_GEMEENTE_ENDED", "school", LAS)
