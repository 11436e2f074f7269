"""A register that stays in the store: the same answers as in memory, read once, and a change lets go only of what it changed."""

from __future__ import annotations

import asyncio
import json
from datetime import date
from typing import Any

import pytest

from adapters.store import Store
from routing.ports import Incoming
from routing.register import Register, read_register
from routing.register_book import RowChange
from routing.register_parts import Parts
from routing.register_stored import NotKept, Recent, StoredParts, follow, read_stored, without_waiting
from routing.release import narrowed
from routing.resolver import resolve
from routing.work import StoreUnavailable
from tests.support.register import (
    ADDRESSED,
    AMERSFOORT,
    CENTRAAL,
    CIVIC,
    DOCUMENT,
    LAS,
    MBO,
    NOW,
    OTHER_LAS,
    SIS,
    UTRECHT,
    VO,
    VO_NORTH,
    document,
)
from tests.support.store import NOW as NOW_US
from tests.support.store import VAULT, run_sql, take
from workers.clock import Clock
from workers.loop import Worker
from workers.register_cache import RegisterCache
from workers.route import Router

NORTH = {"id": "n1", "organisation": VO, "routeringskenmerk": VO_NORTH, "dienst": "vva", "versie": "1", "system": LAS, "mailbox": True}
LIMITED = [
    {"id": f"l{n}", "organisation": MBO, "dienst": "vva", "versie": "1", "system": SIS, "url": "https://sis.example/in"}
    | {"at_once": at_once, "per_second": 2.5, "from": "2027-01-01", "until": "2027-06-30"}
    for n, at_once in enumerate((7, 3))
]
WHOLE = document(endpoints=[*DOCUMENT["endpoints"], NORTH, *LIMITED])


class Counting:
    """A book that counts what it is asked, and can be away."""

    def __init__(self, store: Store) -> None:
        self._book, self.asked, self.away = store.register, [], False  # type: ignore[var-annotated]

    def __getattr__(self, name: str) -> Any:
        def ask(*given: Any, **more: Any) -> Any:
            if self.away:
                raise StoreUnavailable("the store is unavailable: test")
            self.asked.append((name, *given))
            return getattr(self._book, name)(*given, **more)

        return ask


def save(store: Store, wanted: dict[str, Any] = WHOLE) -> int:
    return store.register.save(wanted, who="test", why="", now_us=NOW_US)


def change(store: Store, *changes: RowChange) -> int:
    return store.register.change(changes, who="test", why="", now_us=NOW_US)


def stored(store: Store) -> tuple[Counting, Register]:
    save(store)
    book = Counting(store)
    return book, read_stored(book, 1)


def answers(parts: Parts) -> list[Any]:
    """All that can be asked, without tokens, and in one order where there is none."""
    whose = (VO, MBO, UTRECHT, AMERSFOORT, CENTRAAL, LAS)
    systems = (LAS, OTHER_LAS, SIS, CIVIC, CENTRAAL)

    def plain(mandates: Any) -> list[Any]:
        return sorted((row.organisation, row.dienst, row.system, row.key) for row in mandates)

    def by_id(endpoints: Any) -> list[Any]:
        return sorted(endpoints, key=lambda row: row.id)

    return [
        [(plain(parts.of_organisation(oin).mandates), by_id(parts.of_organisation(oin).endpoints)) for oin in whose],
        [sorted(parts.of_organisation(oin).by_place) for oin in whose],
        [(plain(parts.of_system(oin).mandates), by_id(parts.of_system(oin).endpoints)) for oin in systems],
        [parts.schools_of(oin) for oin in systems],
        [parts.endpoint(id) for id in ("n1", "l1", f"{VO}/vva/1/{LAS}", "none")],
        sorted(parts.lanes(), key=lambda place: place.lane),
        [parts.next_change(date.fromisoformat(day)) for day in ("2026-01-01", "2027-01-01", "2027-06-30", "2027-07-01")],
        plain(parts.every_mandate()),
        by_id(parts.every_endpoint()),
        parts.sizes(),
    ]


def test_a_register_in_the_store_answers_as_one_in_memory(store: Store) -> None:
    _, register = stored(store)
    assert answers(register.parts) == answers(read_register(WHOLE, version=1).parts)
    assert register.sizes() == read_register(WHOLE, version=1).sizes()
    assert narrowed(register) == narrowed(read_register(WHOLE, version=1)) == {f"push {SIS} https://sis.example/in": 3}


def test_what_was_asked_once_is_not_asked_of_the_store_again(store: Store) -> None:
    book, register = stored(store)
    assert resolve(register, receiver=VO_NORTH, dienst="vva", versie="1", now=NOW).endpoint is not None
    book.asked.clear()
    for _ in range(3):
        assert resolve(register, receiver=VO_NORTH, dienst="vva", versie="1", now=NOW).endpoint is not None
    assert register.endpoint("none") is None
    assert register.endpoint("none") is None
    assert [name for name, *_ in book.asked] == ["rows", "rows"], "there is no end to what is none, so it is not kept"


def test_a_change_lets_go_of_what_it_changed_and_of_nothing_else(store: Store) -> None:
    book, before = stored(store)
    for oin in (VO, MBO, UTRECHT):
        before.parts.of_organisation(oin)
    for system in (LAS, SIS):
        before.parts.schools_of(system)
        before.parts.of_system(system)
    assert (before.endpoint("n1"), before.endpoint("l0")) != (None, None)
    before.parts.lanes()
    version = change(store, RowChange("endpoints", "n1", NORTH | {"until": "2026-07-31"}))
    after = follow(book, before, version)
    book.asked.clear()
    assert after.parts.of_organisation(MBO) is before.parts.of_organisation(MBO)
    assert after.parts.of_system(SIS) is before.parts.of_system(SIS)
    assert after.endpoint("l0") is before.endpoint("l0")
    assert (after.parts.schools_of(SIS), len(after.parts.lanes())) == (1, 4)
    assert book.asked == []
    assert [str(row.until) for row in after.endpoints_of(VO_NORTH, "vva", "1")] == ["2026-07-31"]
    changed = after.endpoint("n1")
    assert changed is not None and str(changed.until) == "2026-07-31"
    assert after.organisations is before.organisations


def test_a_system_s_stamp_lasts_until_something_of_it_changes(store: Store) -> None:
    book, before = stored(store)
    stamps = {system: before.parts.stamp(system) for system in (LAS, SIS, OTHER_LAS)}
    after = follow(book, before, change(store, RowChange("endpoints", "n1", NORTH | {"system": OTHER_LAS})))
    assert after.parts.stamp(SIS) is stamps[SIS]
    assert after.parts.stamp(LAS) is not stamps[LAS]
    assert after.parts.stamp(OTHER_LAS) is not stamps[OTHER_LAS]


def test_a_register_of_before_goes_on_saying_what_it_said(store: Store) -> None:
    """A batch in hand is judged by one version from beginning to end."""
    book, before = stored(store)
    after = follow(book, before, change(store, RowChange("endpoints", "n1", NORTH | {"system": OTHER_LAS})))
    assert [row.system for row in after.endpoints_of(VO_NORTH, "vva", "1")] == [OTHER_LAS]
    assert [row.system for row in before.endpoints_of(VO_NORTH, "vva", "1")] == [LAS]
    assert [row.system for row in after.endpoints_of(VO_NORTH, "vva", "1")] == [OTHER_LAS]


def test_an_organisation_or_system_that_changes_is_seen_and_one_that_is_no_more_is_gone(store: Store) -> None:
    book, before = stored(store)
    name = {"oin": VO, "name": "Nieuwe Naam", "kind": "school", "roles": ["mbo"]}
    version = change(store, RowChange("organisations", VO, name), RowChange("systems", OTHER_LAS, None))
    after = follow(book, before, version)
    assert after.organisations[VO].name == "Nieuwe Naam"
    assert {row.oin for row in after.by_role("mbo", NOW.date())} == {VO, MBO}
    assert after.system(OTHER_LAS) is None
    assert after.system(LAS) is before.system(LAS)
    assert after.parts.lanes() == before.parts.lanes()


def test_an_endpoint_that_changes_hands_is_in_one_place_and_not_in_the_other(store: Store) -> None:
    book, before = stored(store)
    assert {place.lane for place in before.parts.lanes()} >= {f"push {SIS} https://sis.example/in"}
    moved = [RowChange("endpoints", row["id"], row | {"system": OTHER_LAS}) for row in LIMITED]
    lanes = {place.lane for place in follow(book, before, change(store, *moved)).parts.lanes()}
    assert f"push {OTHER_LAS} https://sis.example/in" in lanes
    assert f"push {SIS} https://sis.example/in" not in lanes


def test_the_cache_follows_the_version_number(store: Store) -> None:
    cache = RegisterCache(store.register)
    assert cache().version == 0
    assert cache.newest() is cache.newest()
    save(store)
    assert cache().version == 0, "it looks once a second"
    register = cache.newest()
    assert (register.version, register.organisations[VO].name) == (1, "Emmaus College")
    change(store, RowChange("endpoints", "n1", None))
    assert cache.newest().endpoints_of(VO_NORTH, "vva", "1") == ()


# a store that is away, and those who may not wait for it


def test_what_is_in_memory_is_answered_while_the_store_is_away_and_the_rest_is_an_error_of_ours(store: Store) -> None:
    book, register = stored(store)
    register.mandates_of(VO, "vva")
    book.away = True
    assert register.mandates_of(VO, "vva")
    with pytest.raises(StoreUnavailable):
        register.mandates_of(MBO, "vva")
    book.away = False
    assert register.mandates_of(MBO, "vva")


def test_whoever_may_not_wait_is_told_what_to_fetch(store: Store) -> None:
    book, register = stored(store)
    kept = without_waiting(register)
    book.asked.clear()
    with pytest.raises(NotKept) as missing:
        kept.mandates_of(VO, "vva")
    assert book.asked == []
    missing.value.fetch()
    assert kept.mandates_of(VO, "vva") == register.mandates_of(VO, "vva")
    assert kept.version == register.version
    with pytest.raises(AttributeError, match="asks the store"):
        kept.parts.of_system(LAS)
    whole = read_register(WHOLE, version=1)
    assert without_waiting(whole) is whole


def test_a_worker_holds_its_batch_while_the_store_is_away_in_the_midst_of_it(store: Store) -> None:
    """Not even the mandate of a sender that it has seen before need be in memory."""
    book, _ = stored(store)
    cache, worker = RegisterCache(book), Worker("route", store.registry, Clock())
    assert cache().version == 1
    cache._looked_at = float("inf")
    router = Router(worker, store, VAULT, cache, lambda _: ADDRESSED, worker.clock)
    (reference,) = take(store, "1", sender=VO, system=LAS, receiver=UTRECHT, dienst="vva")
    run_sql(store, "UPDATE message SET release = 1")
    (row,) = run_sql(store, "SELECT seq FROM message")
    ticket = Incoming(
        queue="route", tag=1, generation=1, redelivered=False, exchange="", routing_key="route", content_type=None, correlation_id=None,
        headers={}, body=json.dumps([[row.seq, 1]]).encode(),
    )  # fmt: skip

    async def act() -> None:
        book.away = True
        routing = asyncio.create_task(router.handle([ticket]))
        async with asyncio.timeout(20):
            while worker.state != "holding":
                await asyncio.sleep(0.01)
            assert run_sql(store, "SELECT id FROM delivery") == []
            book.away = False
            assert await routing == ()

    asyncio.run(act())
    assert [tuple(one) for one in run_sql(store, "SELECT receiver, endpoint FROM delivery")] == [(UTRECHT, f"{UTRECHT}/vva/1/{CIVIC}")]
    assert store.journal.of_message(reference)


# memory


def test_what_was_used_lately_is_kept_and_there_is_never_more_than_there_is_room_for() -> None:
    recent: Recent[int, str] = Recent(10)
    for number in range(1_000):
        recent.put(number, "x")
        assert recent.get(0) == "x", "it is asked for all the time"
    assert recent.get(999) == "x"
    assert recent.get(500) is None
    assert len(recent._young) + len(recent._old) <= 10


def test_a_large_one_counts_for_as_much_as_it_is() -> None:
    recent: Recent[str, str] = Recent(100, len)
    for name in "abcdef":
        recent.put(name, name * 40)
    assert sum(len(value) for value in (*recent._young.values(), *recent._old.values())) <= 100
    without = recent.without({"f"})
    assert without.get("f") is None
    assert recent.get("f") is not None


def test_parts_of_a_version_that_never_was_have_nothing(store: Store) -> None:
    assert answers(StoredParts(store.register, 0)) == answers(read_register({}, version=0).parts)
