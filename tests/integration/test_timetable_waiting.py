"""What waits for the register, as the timetable looks at it: by version and day, and a little later once more."""

from __future__ import annotations

import asyncio
from dataclasses import asdict
from datetime import timedelta
from typing import Any

import pytest

from adapters.store import Store, upkeep
from routing.actions import Action, Order, Selection
from routing.jobs import Terms
from routing.people import Scope
from routing.recipients import recipients
from schemas.oin import Oin
from tests.support.board import keep
from tests.support.register import AMERSFOORT, CIVIC, DOCUMENT, FACTS, LAS, UTRECHT, VO, but, document, message_kind
from tests.support.store import DAY, NOW, a_delivery, kinds, lead, route, run_sql, take, waiting_delivery
from tests.support.store import store as store
from workers import waiting
from workers.actions import ActionDesk
from workers.clock import Clock, moment
from workers.register_cache import Records, RegisterCache
from workers.route import new_delivery
from workers.waiting import WaitingRoom

TODAY = moment(NOW).date()
#: Action of what `wait_for` makes with `state`.
STATE = "vva/1/state"


class Still(Clock):
    at_us = NOW

    def now(self) -> Any:
        return moment(self.at_us)


class Looking:
    def __init__(self, store: Store) -> None:
        self.store, self.clock = store, Still()
        self.cache = RegisterCache(store.register)
        self.room = WaitingRoom(store.outbox, self.cache.newest, self.clock, actor="timetable", states=(STATE,))

    def load(self, **changes: Any) -> None:
        self.store.registry.save_register(document(**changes), who="test", now_us=NOW)

    def look(self) -> None:
        asyncio.run(self.room.look())

    def deliveries(self) -> list[Any]:
        return run_sql(self.store, "SELECT state, receiver, lane, hold_code, code, owner FROM delivery ORDER BY seq")

    def wait_for(self, receiver: str, *, of: dict[str, str] | None = None, **facts: str) -> str:
        """`of`: fields of the message."""
        (reference,) = take(self.store, str(len(self.deliveries())), dienst="vva", **(of or {}))
        for target in recipients(message_kind(), FACTS | facts, receiver=receiver, register=self.cache.newest(), now=self.clock.now()):  # type: ignore[arg-type]
            if target.target == "woongemeente":
                route(self.store, reference, to=[new_delivery(target, Records(), NOW + 30 * DAY)])
        return reference


@pytest.fixture
def looking(store: Store) -> Looking:
    return Looking(store)


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is put off."""
    monkeypatch.setattr(waiting, "LOOK_AGAIN_S", 0.0)
    monkeypatch.setattr(waiting, "PASS_ON_S", 0.0)


def codes(*rows: dict[str, str]) -> list[dict[str, Any]]:
    """Amersfoort with these gemeentecodes."""
    return but(DOCUMENT["organisations"], 3, gemeentecodes=list(rows))


def test_what_was_decided_by_the_register_of_before_is_found_a_little_later(looking: Looking, at_once: None) -> None:
    looking.load()
    looking.look()
    (reference,) = take(looking.store, "1", dienst="vva")
    route(looking.store, reference, to=[waiting_delivery(receiver=VO)])
    looking.look()
    assert [(row.lane, row.hold_code) for row in looking.deliveries()] == [(f"mailbox {LAS}", None)]


def test_a_message_for_a_municipality_that_is_still_to_come_waits_for_its_day(looking: Looking) -> None:
    begins = (TODAY + timedelta(days=9)).isoformat()
    mandates = [*DOCUMENT["mandates"], {"organisation": AMERSFOORT, "dienst": "vva", "system": CIVIC}]
    endpoints = [*DOCUMENT["endpoints"], {"organisation": AMERSFOORT, "dienst": "vva", "versie": "1", "system": CIVIC, "mailbox": True}]
    looking.load(organisations=codes({"code": "0307", "from": begins}), mandates=mandates, endpoints=endpoints)
    looking.wait_for(UTRECHT, gemeentecode="0307")
    for _ in range(2):
        looking.look()
        (row,) = looking.deliveries()
        assert (row.state, row.receiver, row.lane, row.hold_code) == ("routed", AMERSFOORT, None, "ROUTE_GEMEENTE_NOT_CONNECTED")
        looking.load(organisations=codes({"code": "0307", "from": begins}), mandates=mandates, endpoints=endpoints[:-1] + endpoints[-1:])
    looking.clock.at_us = NOW + 9 * DAY
    looking.look()
    assert [(row.receiver, row.lane, row.hold_code) for row in looking.deliveries()] == [(AMERSFOORT, f"mailbox {CIVIC}", None)]


def test_a_code_that_was_another_ones_by_mistake_takes_what_waits_along(looking: Looking) -> None:
    looking.load(organisations=codes({"code": "0307"}))
    reference = looking.wait_for(UTRECHT, gemeentecode="0307")
    looking.look()
    assert looking.deliveries()[0].receiver == AMERSFOORT
    both = but(codes({"code": "0999"}), 2, gemeentecodes=[{"code": "0344"}, {"code": "0307"}])
    looking.load(organisations=both)
    looking.look()
    assert [(row.receiver, row.lane) for row in looking.deliveries()] == [(UTRECHT, f"mailbox {CIVIC}")]
    assert kinds(looking.store, reference)[-1] == "resolved"


def test_what_a_worker_left_for_a_municipality_that_ended_is_passed_on(looking: Looking, at_once: None) -> None:
    looking.load(organisations=codes({"code": "0307"}))
    looking.wait_for(UTRECHT, gemeentecode="0307")
    ended = (TODAY - timedelta(days=1)).isoformat()
    organisations = but(
        codes({"code": "0307", "until": ended}), 2, gemeentecodes=[{"code": "0344"}, {"code": "0307", "from": TODAY.isoformat()}]
    )
    organisations[3]["until"] = ended
    looking.load(organisations=organisations)
    looking.look()
    run_sql(
        looking.store, "UPDATE delivery SET receiver = :r, lane = NULL, endpoint = NULL, hold_code = 'ROUTE_GEMEENTE_ENDED'", r=AMERSFOORT
    )
    for _ in range(2):
        looking.look()
    assert [(row.receiver, row.lane) for row in looking.deliveries()] == [(UTRECHT, f"mailbox {CIVIC}")]


def test_what_was_addressed_to_a_municipality_that_ended_fails_when_a_worker_left_it(looking: Looking, at_once: None) -> None:
    organisations = codes({"code": "0307"})
    organisations[3]["until"] = (TODAY - timedelta(days=1)).isoformat()
    looking.load(organisations=organisations)
    looking.look()
    (reference,) = take(looking.store, "1", dienst="vva")
    route(looking.store, reference, to=[waiting_delivery(receiver=AMERSFOORT, hold_code="ROUTE_GEMEENTE_ENDED")])
    for _ in range(2):
        looking.look()
    assert [(row.state, row.code, row.hold_code) for row in looking.deliveries()] == [("failed", "ROUTE_GEMEENTE_ENDED", None)]


def test_in_a_lane_only_what_is_for_a_receiver_that_changed_is_moved(looking: Looking) -> None:
    lead(looking.store)
    lane = f"push {CIVIC} https://civic.example/in"
    endpoint = {"id": "civic", "organisation": UTRECHT, "dienst": "vva", "versie": "1", "system": CIVIC, "url": "https://civic.example/in"}
    region = {"organisation": AMERSFOORT, "dienst": "vva", "versie": "1", "system": LAS, "mailbox": True}
    mandates = [*DOCUMENT["mandates"], {"organisation": AMERSFOORT, "dienst": "vva", "system": LAS}]
    given = {"municipality": AMERSFOORT, "dienst": "vva", "region": UTRECHT}
    looking.load(mandates=mandates, endpoints=[endpoint, region], delegations=[given])
    looking.store.outbox.hold(lane, who="beheer", now_us=NOW)
    for receiver in (UTRECHT, AMERSFOORT):
        (reference,) = take(looking.store, receiver, dienst="vva")
        route(looking.store, reference, to=[a_delivery(receiver=receiver, endpoint="civic", lane=lane, receiver_system=CIVIC)])
    looking.look()
    assert {row.lane for row in looking.deliveries()} == {lane}
    looking.load(mandates=mandates, endpoints=[endpoint, region])
    looking.look()
    assert [(row.receiver, row.lane) for row in looking.deliveries()] == [(UTRECHT, lane), (AMERSFOORT, f"mailbox {LAS}")]


# -- what failed because nobody had its gemeentecode ---------------------------------------------------------------------------------------

NEW = Oin("00000001001234580000")


def with_new(**code: str) -> dict[str, Any]:
    """A municipality more, which has code 0888 and an endpoint."""
    row = {"oin": NEW, "name": "Gemeente Nieuw", "kind": "municipality", "roles": ["gemeente"], "gemeentecodes": [{"code": "0888", **code}]}
    return {
        "organisations": [*DOCUMENT["organisations"], row],
        "mandates": [*DOCUMENT["mandates"], {"organisation": NEW, "dienst": "vva", "system": CIVIC}],
        "endpoints": [*DOCUMENT["endpoints"], {"organisation": NEW, "dienst": "vva", "versie": "1", "system": CIVIC, "mailbox": True}],
    }


FAILED = ("failed", "gemeentecode 0888", None, None, "GEMEENTECODE_UNKNOWN")
GOES = ("routed", NEW, f"mailbox {CIVIC}", None, None)


def stand(looking: Looking) -> list[tuple[Any, ...]]:
    return [tuple(row)[:5] for row in looking.deliveries()]


def test_what_failed_on_an_unknown_code_goes_on_when_a_municipality_is_added_that_has_it(looking: Looking) -> None:
    looking.load()
    reference = looking.wait_for(UTRECHT, gemeentecode="0888")
    looking.wait_for(UTRECHT, gemeentecode="0889")
    looking.look()
    assert stand(looking)[0] == FAILED
    looking.load(**with_new())
    looking.look()
    assert stand(looking)[0] == GOES
    assert stand(looking)[1][:2] == ("failed", "gemeentecode 0889"), "that code is nobody's still"
    event = looking.store.journal.of_message(reference)[-1]
    assert (event.kind, event.actor, event.receiver, event.details["failed"]) == ("retried", "timetable", NEW, "GEMEENTECODE_UNKNOWN")
    assert [one["rule"] for one in looking.store.journal.decisions_of(reference)[-2:]] == ["gemeente", "endpoint"]
    looking.look()
    assert kinds(looking.store, reference).count("retried") == 1


def test_what_failed_on_a_code_that_begins_later_waits_for_its_day(looking: Looking) -> None:
    looking.load()
    looking.wait_for(UTRECHT, gemeentecode="0888")
    looking.load(**with_new(**{"from": (TODAY + timedelta(days=9)).isoformat()}))
    looking.look()
    assert stand(looking) == [("routed", NEW, None, "ROUTE_GEMEENTE_NOT_CONNECTED", None)]
    looking.clock.at_us = NOW + 9 * DAY
    looking.look()
    assert stand(looking) == [GOES]


def test_what_failed_by_the_register_of_before_is_found_a_little_later_too(looking: Looking, at_once: None) -> None:
    looking.load()
    looking.look()
    looking.wait_for(UTRECHT, gemeentecode="0888")
    looking.load(**with_new())
    looking.look()
    assert stand(looking) == [GOES]
    run_sql(
        looking.store, "UPDATE delivery SET state = 'failed', receiver = 'gemeentecode 0888', code = 'GEMEENTECODE_UNKNOWN', lane = NULL"
    )
    looking.look()
    assert stand(looking) == [GOES]


@pytest.mark.parametrize("why", ["late", "erased", "closed", "ended"])
def test_what_is_late_erased_or_closed_and_a_code_that_is_over_stay_for_a_person(looking: Looking, why: str) -> None:
    looking.load()
    looking.wait_for(UTRECHT, gemeentecode="0888")
    run_sql(
        looking.store,
        {
            "late": f"UPDATE delivery SET deadline_us = {NOW}",
            "erased": "UPDATE message SET kept = false",
            "closed": "UPDATE delivery SET state = 'archived'",
            "ended": "SELECT 1",
        }[why],
    )
    before = stand(looking)
    looking.load(**with_new(**({"until": (TODAY - timedelta(days=1)).isoformat()} if why == "ended" else {})))
    looking.look()
    assert stand(looking) == before


def test_of_states_that_failed_on_a_code_only_the_newest_goes_on(looking: Looking) -> None:
    looking.load()
    of = {"order": "pupil", "action": STATE}
    references = [looking.wait_for(UTRECHT, gemeentecode="0888", of=of) for _ in range(2)]
    looking.load(**with_new())
    looking.wait_for(UTRECHT, gemeentecode="0344", of={"order": "another", "action": STATE})
    looking.look()
    assert [row.state for row in looking.deliveries()] == ["superseded", "routed", "routed"]
    assert kinds(looking.store, references[0])[-2:] == ["retried", "superseded"]
    assert kinds(looking.store, references[1])[-1] == "retried"


def test_what_is_looked_for_costs_nothing_where_much_has_failed(looking: Looking) -> None:
    with looking.store.database.read() as connection:
        plan = upkeep._UNKNOWN.explain(connection, receivers=["gemeentecode 0888"], now=NOW, after=0, limit=10)
    assert "delivery_unknown_code" in "\n".join(str(row[-1]) for row in plan) or not looking.store.database.is_sqlite


def test_a_person_who_offers_it_again_sends_it_to_whoever_has_the_code_now(looking: Looking) -> None:
    looking.load()
    looking.wait_for(UTRECHT, gemeentecode="0888")
    run_sql(looking.store, f"UPDATE delivery SET deadline_us = {NOW}")
    (id,) = [row.id for row in run_sql(looking.store, "SELECT id FROM delivery")]
    keep(looking.store)
    desk = ActionDesk(looking.store.jobs, looking.cache.newest, looking.clock, approve_above=100)

    def retry() -> dict[str, int]:
        preview = desk.preview(Scope(everything=True), Selection(ids=(id,)), Order(action=Action.RETRY), who="anna")
        job = desk.confirm(Scope(everything=True), preview.id, who="anna", reason="known now", terms=Terms())
        return {name: n for name, n in asdict(job.figures).items() if n}

    assert retry() == {"failed": 1}, "nobody has it still"
    assert stand(looking) == [FAILED]
    looking.load(**with_new())
    assert retry() == {"under_way": 1}
    assert stand(looking) == [GOES]
