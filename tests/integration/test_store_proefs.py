"""Proefs in the store: how often one may be asked for, and what is noted of each, whatever became of its delivery."""

from __future__ import annotations

import asyncio
import uuid
from typing import Any

import pytest

from adapters.proef import compose
from adapters.store import Store, proefs
from routing.outcome import Lane
from routing.people import Scope
from routing.proef import EVERY_S, PER_HOUR, NoProef, Proef, ProefState
from routing.release import CircuitState
from routing.work import Lease
from schemas.contracts import load_contracts
from schemas.oin import Oin
from tests.support.register import chain
from tests.support.store import (
    DAY,
    LANE,
    MAILBOX,
    NOW,
    RECEIVER,
    SECOND,
    VAULT,
    a_delivery,
    claim,
    confirm,
    kinds,
    lead,
    outcome,
    release,
    route,
    run_sql,
    settle,
    take,
    waiting_delivery,
)
from tests.support.store import store as store
from workers.clock import Clock, moment
from workers.desk import step_judge
from workers.loop import Worker
from workers.proefs import ProefRunner

ALL = Scope(everything=True)
URL = f"push {MAILBOX} https://ontvanger.test/wus"
OWN = Oin("00000001800866472000")


class Still(Clock):
    def now(self) -> Any:
        return moment(NOW)


def wanted(**changes: Any) -> Proef:
    fields = {"receiver": RECEIVER, "organisation": RECEIVER, "system": MAILBOX, "endpoint": "e1", "lane": URL}
    return Proef(id=str(uuid.uuid4()), asked_by="anna", **({"asked_us": NOW} | fields | changes))


def sent(store: Store, lease: Lease, *, to: Any = None, **changes: Any) -> Proef:
    """One that was handed in and routed."""
    one = store.proefs.ask(wanted(**changes))
    (reference,) = take(store, one.id, reference=one.id, via="proef", system=OWN, sender=OWN)
    store.proefs.handed_in(one.id, lease=lease)
    route(store, reference, to=[to or a_delivery(lane=one.lane)])
    return store.proefs.standing()[-1]


def look(store: Store, lease: Lease) -> Proef:
    """The last one, after a look at what became of all."""
    store.proefs.look([one for one in store.proefs.standing() if one.state is not ProefState.ASKED], lease=lease, now_us=NOW)
    return store.proefs.proefs(ALL)[0]


def stands(store: Store, one: Proef) -> str:
    (row,) = run_sql(store, "SELECT d.state FROM delivery d JOIN message m ON m.seq = d.message_seq WHERE m.reference = :r", r=one.id)
    return str(row.state)


@pytest.fixture
def lease(store: Store) -> Lease:
    return lead(store, "proefs", "timetable-1")


@pytest.fixture
def relay(store: Store) -> Lease:
    return lead(store)


# -- asking --------------------------------------------------------------------------------------------------------------------------------


def test_one_that_is_asked_for_is_journalled_and_waits_for_a_worker(store: Store) -> None:
    one = store.proefs.ask(wanted())
    assert store.proefs.standing() == [one]
    (event,) = store.journal.of_message(one.id)
    assert (event.kind, event.actor, event.receiver_system, event.details) == ("proef_asked", "anna", MAILBOX, {"lane": URL})


def test_there_is_one_at_a_time_to_an_endpoint_and_then_half_a_minute_nothing(store: Store, lease: Lease) -> None:
    one = store.proefs.ask(wanted())
    with pytest.raises(NoProef, match="still on its way"):
        store.proefs.ask(wanted(asked_us=NOW + 3600 * SECOND))
    store.proefs.ask(wanted(lane=LANE))  # another endpoint
    store.proefs.refuse(one, code="UNKNOWN_DIENST", owner="us", reason="no", lease=lease, now_us=NOW)
    with pytest.raises(NoProef) as told:
        store.proefs.ask(wanted(asked_us=NOW + SECOND))
    assert told.value.after_s == EVERY_S - 1
    store.proefs.ask(wanted(asked_us=NOW + EVERY_S * SECOND))


def test_a_receiving_system_gets_so_many_in_an_hour(store: Store) -> None:
    for number in range(PER_HOUR):
        store.proefs.ask(wanted(lane=f"{URL}/{number}", asked_us=NOW + number * SECOND))
    with pytest.raises(NoProef) as told:
        store.proefs.ask(wanted(lane=f"{URL}/more", asked_us=NOW + 60 * SECOND))
    assert told.value.after_s == 3600 - 60
    store.proefs.ask(wanted(lane="another's", system="00000001900000009000", asked_us=NOW + 60 * SECOND))
    store.proefs.ask(wanted(lane=f"{URL}/more", asked_us=NOW + 3600 * SECOND))


def test_to_a_lane_that_an_operator_holds_none_may_go_and_to_one_that_failed_it_may(store: Store, relay: Lease) -> None:
    store.outbox.hold(URL, who="olga", now_us=NOW)
    with pytest.raises(NoProef, match="paused by olga"):
        store.proefs.ask(wanted())
    store.outbox.let_go(URL, who="olga", now_us=NOW)
    broken(store, relay)
    store.proefs.ask(wanted())


def test_somebody_sees_those_to_their_own(store: Store) -> None:
    one = store.proefs.ask(wanted())
    two = store.proefs.ask(wanted(system="00000001900000009000", organisation="00000001800000009000", lane="other"))
    for scope, seen in (
        (ALL, [two, one]),
        (Scope(systems=frozenset({Oin(MAILBOX)})), [one]),
        (Scope(organisations=frozenset({Oin("00000001800000009000")})), [two]),
        (Scope(), []),
    ):
        assert store.proefs.proefs(scope) == seen
        assert [found for each in (two, one) if (found := store.proefs.proef(scope, each.id))] == seen
    assert store.proefs.proefs(ALL, party=MAILBOX) == [one] == store.proefs.proefs(ALL, lane=URL)
    assert store.proefs.proefs(Scope(systems=frozenset({Oin(MAILBOX)})), party=two.organisation) == []
    assert store.proefs.proefs(ALL, lane=URL, party=two.organisation) == []


# -- what becomes of it --------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settled", "code"),
    [
        ({"state": "postponed", "hold_code": "ENDPOINT_UNREACHABLE", "owner": "receiver", "reason": "refused"}, "ENDPOINT_UNREACHABLE"),
        ({"state": "uncertain", "code": "RESPONSE_NOT_TRUSTED", "owner": "receiver", "reason": "refused"}, "RESPONSE_NOT_TRUSTED"),
        ({"state": "failed", "code": "RECEIVER_REFUSED", "owner": "receiver", "reason": "refused"}, "RECEIVER_REFUSED"),
        ({"state": "routed", "hold_code": "ROUTE_NO_MANDATE", "owner": "school", "reason": "refused"}, "ROUTE_NO_MANDATE"),
    ],
)
def test_the_first_attempt_is_its_outcome_and_nothing_stays_open(
    store: Store, lease: Lease, relay: Lease, settled: dict[str, str], code: str
) -> None:
    one = sent(store, lease)
    (claimed,) = claim(store, release(store, relay))
    assert look(store, lease).state is ProefState.UNDER_WAY
    settle(store, outcome(claimed, **settled, took_us=4_000))
    done = look(store, lease)
    assert (done.state, done.code, done.owner, done.reason, done.took_us) == (
        ProefState.FAILED,
        code,
        settled["owner"],
        "refused",
        4_000,
    )
    assert stands(store, one) == "archived"
    assert kinds(store, one.id)[-1] == "archived"
    assert store.proefs.standing() == []


def test_one_that_arrives_is_done(store: Store, lease: Lease, relay: Lease) -> None:
    one = sent(store, lease)
    settle(store, outcome(claim(store, release(store, relay))[0], "acknowledged", took_us=7_000))
    done = look(store, lease)
    assert (done.state, done.code, done.took_us, done.ended_us) == (ProefState.ACKNOWLEDGED, None, 7_000, NOW)
    assert stands(store, one) == "acknowledged"


def test_in_a_mailbox_what_took_time_is_confirming_it(store: Store, lease: Lease, relay: Lease) -> None:
    one = sent(store, lease, lane=LANE)
    (claimed,) = claim(store, release(store, relay))
    settle(store, outcome(claimed))
    assert look(store, lease).state is ProefState.DELIVERED
    store.proefs.ask(wanted(lane=LANE, asked_us=NOW + EVERY_S * SECOND))  # another school's, in the same mailbox
    confirm(store, claimed.id, now_us=NOW + 5 * SECOND)
    look(store, lease)
    done = store.proefs.proef(ALL, one.id)
    assert done is not None
    assert (done.state, done.took_us, done.ended_us) == (ProefState.ACKNOWLEDGED, 5 * SECOND, NOW + 5 * SECOND)


def test_one_that_its_system_never_fetches_fails_and_its_copy_is_taken_back(store: Store, lease: Lease, relay: Lease) -> None:
    one = sent(store, lease, lane=LANE)
    settle(store, outcome(claim(store, release(store, relay))[0]))
    store.outbox.unfetched(actor="timetable-1", now_us=NOW + 2 * DAY, fetch_within_us={"proef/1/proefBericht": DAY})
    assert look(store, lease).code == "MAILBOX_NOT_FETCHED"
    assert stands(store, one) == "archived"
    assert len(run_sql(store, "SELECT * FROM withdrawal")) == 1


def test_without_a_place_in_the_register_it_fails_at_once(store: Store, lease: Lease) -> None:
    one = sent(store, lease, to=waiting_delivery())
    assert look(store, lease).code == "ROUTE_NO_ENDPOINT"
    assert stands(store, one) == "archived"


def test_while_another_register_is_away_it_waits(store: Store, lease: Lease) -> None:
    sent(store, lease, to=waiting_delivery(hold_code="ROUTE_REGISTER_AWAY"))
    assert look(store, lease).state is ProefState.UNDER_WAY


def test_it_is_noted_where_it_went(store: Store, lease: Lease, relay: Lease) -> None:
    sent(store, lease, to=a_delivery(lane=f"{URL}/anders", endpoint="e2"))
    settle(store, outcome(claim(store, release(store, relay))[0], "acknowledged"))
    done = look(store, lease)
    assert (done.lane, done.endpoint) == (f"{URL}/anders", "e2")


def broken(store: Store, relay: Lease) -> None:
    """Three failed at the endpoint, and it is held."""
    for reference in take(store, "x1", "x2", "x3"):
        route(store, reference, to=[a_delivery(lane=URL)])
    fails = {"hold_code": "ENDPOINT_UNREACHABLE", "owner": "receiver", "heard": str(Lane.FAILS), "not_before_us": NOW + 3600 * SECOND}
    settle(store, *(outcome(one, "postponed", **fails) for one in claim(store, release(store, relay))))
    assert store.outbox.circuits()[URL].state is CircuitState.HELD


def test_of_a_lane_that_failed_it_is_the_probe_and_leaves_before_what_waits(store: Store, lease: Lease, relay: Lease) -> None:
    broken(store, relay)
    (waits,) = take(store, "w")
    route(store, waits, to=[a_delivery(lane=URL)])
    one = sent(store, lease)
    assert look(store, lease).state is ProefState.UNDER_WAY
    assert stands(store, one) == "released"
    _, tickets = store.outbox.unclaimed(now_us=NOW)
    (claimed,) = claim(store, tickets)
    assert claimed.reference == one.id
    settle(store, outcome(claimed, "acknowledged", heard=str(Lane.WORKS)))
    assert look(store, lease).state is ProefState.ACKNOWLEDGED
    assert store.outbox.circuits()[URL].state is CircuitState.CLOSED


def test_a_probe_waits_for_what_is_under_way_there(store: Store, lease: Lease, relay: Lease) -> None:
    for reference in take(store, "slow"):
        route(store, reference, to=[a_delivery(lane=URL)])
    (hangs,) = claim(store, release(store, relay))
    broken(store, relay)
    one = sent(store, lease)
    look(store, lease)
    assert stands(store, one) == "routed"
    settle(store, outcome(hangs, "acknowledged"))
    look(store, lease)
    assert stands(store, one) == "released"


def test_a_lane_that_an_operator_pauses_afterwards_keeps_it(store: Store, lease: Lease) -> None:
    one = sent(store, lease)
    store.outbox.hold(URL, who="olga", now_us=NOW)
    assert look(store, lease).state is ProefState.UNDER_WAY
    assert stands(store, one) == "routed"


def test_one_that_moved_on_since_it_was_looked_at_is_left_alone(
    store: Store, lease: Lease, relay: Lease, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = sent(store, lease)
    (claimed,) = claim(store, release(store, relay))
    settle(store, outcome(claimed, "postponed", hold_code="ENDPOINT_UNREACHABLE", not_before_us=NOW))
    look_at = proefs._what

    def meanwhile(*given: Any) -> Any:
        run_sql(store, "UPDATE delivery SET state = 'released' WHERE id = :id", id=claimed.id)
        return look_at(*given)

    monkeypatch.setattr(proefs, "_what", meanwhile)
    assert look(store, lease).state is ProefState.UNDER_WAY
    assert stands(store, one) == "released"


def test_a_proef_is_forgotten_when_its_ids_are(store: Store, lease: Lease) -> None:
    ended = store.proefs.ask(wanted())
    store.proefs.refuse(ended, code="UNKNOWN_DIENST", owner="us", reason="no", lease=lease, now_us=NOW)
    stands_ = store.proefs.ask(wanted(lane=LANE))
    store.proefs.forget(now_us=NOW + 401 * DAY)
    assert store.proefs.proefs(ALL) == [stands_]


# -- the worker ----------------------------------------------------------------------------------------------------------------------------


def runner(store: Store, register: Any) -> ProefRunner:
    contracts = load_contracts()
    worker = Worker("timetable", store.registry, Still())
    parts = (worker, store.proefs, store.hand_ins, store.registry, lambda: register, contracts, VAULT, compose, step_judge(contracts))
    return ProefRunner(*parts, Still(), own=OWN)


def test_what_a_worker_that_died_had_made_already_is_made_once(store: Store, lease: Lease) -> None:
    one = store.proefs.ask(wanted())
    for _ in range(2):
        asyncio.run(runner(store, chain())._cycle(lease))
        run_sql(store, "UPDATE proef SET state = 'asked'")
    assert kinds(store, one.id) == ["proef_asked", "received"]
    (row,) = run_sql(store, "SELECT sender, system, via, stale, reference FROM message")
    assert (row.sender, row.system, row.via, bool(row.stale), row.reference) == (OWN, OWN, "proef", True, one.id)


def test_whoever_asked_is_told_when_it_cannot_be_made(store: Store, lease: Lease) -> None:
    store.proefs.ask(wanted())
    asyncio.run(runner(store, chain(diensten=[{"dienst": "vva", "versie": "1", "namespace": "urn:x"}]))._cycle(lease))
    (done,) = store.proefs.proefs(ALL)
    assert (done.state, done.code, done.owner) == (ProefState.REFUSED, "UNKNOWN_DIENST", "us")
    assert done.reason and "serviceregister" in done.reason
    assert run_sql(store, "SELECT * FROM message") == []
