"""Circuit breakers and pushed deliveries in the store: what attempts say of an endpoint, and what may leave because of it (rule 7)."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Any

import pytest

from adapters.store import Store, lanes, open_store
from routing.outcome import Lane
from routing.release import CLOSED, PROBE_AFTER_S, CircuitState, as_of, window
from routing.work import Claimed, Lease, OutboxFilter, Settlement, Ticket
from schemas.events import Event, decode
from tests.support.store import (
    DAY,
    LANE,
    NOW,
    SECOND,
    a_delivery,
    a_message,
    claim,
    fresh_url,
    lead,
    outcome,
    release,
    route,
    run_sql,
    settle,
    states,
    take,
)

URL = "push 00000001900000002000 https://ontvanger.test/wus"
OTHER = "push 00000001900000002000 https://ontvanger.test/anders"
FIRST_PROBE = PROBE_AFTER_S[0] * SECOND


def push(store: Store, *names: str, lane: str = URL, **more: Any) -> list[str]:
    """Messages routed to an endpoint; the ids of their deliveries."""
    order = {"order": more.pop("order")} if "order" in more else {}
    return [route(store, reference, to=[a_delivery(lane=lane, **more)])[0].id for reference in take(store, *names, **order)]


def leave(store: Store, lease: Lease, now_us: int = NOW) -> list[Ticket]:
    """What may leave, as the relay asks for it: first what never left, then what is due again, in the window that each lane has now."""
    circuits = store.outbox.circuits()
    now = datetime.fromtimestamp(now_us / 1e6, UTC)

    def room(lane: str) -> int:
        return window(lane, as_of(circuits.get(lane, CLOSED), now))

    fresh, _ = store.outbox.release_deliveries(lease, [(lane, room(lane)) for lane in store.outbox.lanes()], now_us=now_us, limit=500)
    return fresh + store.outbox.release_due(lease, now_us=now_us, limit=500, window_of=room)[0]


def took(one: Claimed, at_us: int = NOW) -> Settlement:
    return outcome(one, "acknowledged", heard=str(Lane.WORKS), at_us=at_us)


def failed(one: Claimed, at_us: int = NOW, **more: Any) -> Settlement:
    fields = {"hold_code": "ENDPOINT_UNREACHABLE", "owner": "receiver", "reason": "no", "not_before_us": at_us + 3600 * SECOND}
    return outcome(one, "postponed", at_us=at_us, **({"heard": str(Lane.FAILS)} | fields | more))


def busy(one: Claimed, until_us: int, at_us: int = NOW) -> Settlement:
    return failed(one, at_us, heard=str(Lane.STOP), stop_until_us=until_us, hold_code="ENDPOINT_UNAVAILABLE")


def hold(store: Store, lease: Lease, *, waiting: int = 3) -> list[Claimed]:
    """Three fail, and more wait."""
    push(store, *(f"h{number}" for number in range(3)))
    claimed = claim(store, leave(store, lease))
    push(store, *(f"w{number}" for number in range(waiting)))
    assert settle(store, *map(failed, claimed)) == 3
    return claimed


def standing(store: Store, lane: str = URL) -> CircuitState:
    return store.outbox.circuits().get(lane, CLOSED).state


def lane_events(store: Store) -> list[Event]:
    rows = run_sql(store, "SELECT payload, schema FROM event WHERE reference IS NULL ORDER BY id")
    return [event for row in rows if (event := decode(row.payload, row.schema)).kind.startswith("lane_")]


def told(store: Store) -> list[str]:
    return [event.kind for event in lane_events(store)]


# -- holding ----------------------------------------------------------------------------------------------------------------------------
def test_three_failures_in_a_row_hold_a_lane_and_nothing_leaves_it(store: Store) -> None:
    lease = lead(store)
    push(store, *"123")
    first, second, third = claim(store, leave(store, lease))
    push(store, "4", "5")
    settle(store, failed(first), failed(second))
    assert standing(store) is CircuitState.CLOSED
    settle(store, failed(third))
    assert standing(store) is CircuitState.HELD
    assert leave(store, lease, NOW + FIRST_PROBE - 1) == []
    (event,) = lane_events(store)
    assert (event.kind, event.code, event.details["lane"], event.receiver_system) == (
        "lane_held",
        "ENDPOINT_UNREACHABLE",
        URL,
        third.receiver_system,
    )


def test_a_success_in_between_begins_the_count_anew(store: Store) -> None:
    lease = lead(store)
    push(store, *"12345")
    one, two, three, four, five = claim(store, leave(store, lease))
    settle(store, failed(one), failed(two))
    settle(store, took(three))
    settle(store, failed(four), failed(five))
    assert standing(store) is CircuitState.CLOSED
    assert told(store) == []


def test_another_lane_flows_on_and_so_do_mailboxes(store: Store) -> None:
    lease = lead(store)
    hold(store, lease)
    other, mailbox = push(store, "o", lane=OTHER), push(store, "m", lane=LANE)
    assert {one.id for one in claim(store, leave(store, lease))} == {*other, *mailbox}


def test_half_open_exactly_one_leaves_however_often_is_asked(store: Store) -> None:
    lease = lead(store)
    hold(store, lease)
    assert len(leave(store, lease, NOW + FIRST_PROBE)) == 1
    assert leave(store, lease, NOW + FIRST_PROBE) == leave(store, lease, NOW + DAY) == []


def test_a_probe_that_fails_doubles_the_wait_and_one_that_is_answered_lets_all_go_in_order(store: Store) -> None:
    lease = lead(store)
    hold(store, lease)
    at = NOW + FIRST_PROBE
    (probe,) = claim(store, leave(store, lease, at), now_us=at)
    settle(store, failed(probe, at))
    assert leave(store, lease, at + PROBE_AFTER_S[1] * SECOND - 1) == []
    at += PROBE_AFTER_S[1] * SECOND
    (probe,) = claim(store, leave(store, lease, at), now_us=at)
    settle(store, took(probe, at))
    assert standing(store) is CircuitState.CLOSED
    postponed = [row.seq for row in run_sql(store, "SELECT seq FROM delivery WHERE state = 'postponed' ORDER BY seq")]
    assert len(postponed) == 4
    due = store.outbox.release_due(lease, now_us=at, limit=2)[0] + store.outbox.release_due(lease, now_us=at, limit=9)[0]
    assert [ticket.seq for ticket in due] == postponed, "not in the order in which they were handed in"
    assert told(store) == ["lane_held", "lane_flows"]


def test_what_waits_in_a_held_lane_goes_as_a_probe_though_its_own_time_has_not_come(store: Store) -> None:
    """Otherwise an endpoint at which one message waits, tried every hour, would be found out to be back after an hour."""
    lease = lead(store)
    hold(store, lease, waiting=0)
    at, seen = NOW, []
    for wait in (*PROBE_AFTER_S, PROBE_AFTER_S[-1]):
        at += wait * SECOND
        assert leave(store, lease, at - 1) == []
        (probe,) = claim(store, leave(store, lease, at + SECOND), now_us=at)
        settle(store, failed(probe, at))
        seen.append(probe.seq)
    assert seen == [1, 2, 3, 1, 2], "one that the endpoint will never take must not be the only probe"


def test_what_fails_after_the_hold_waits_for_the_probe_too(store: Store) -> None:
    lease = lead(store)
    push(store, *"1234")
    claimed = claim(store, leave(store, lease))
    settle(store, *map(failed, claimed[:3]))
    settle(store, failed(claimed[3], NOW + SECOND))
    assert run_sql(store, "SELECT max(not_before_us) AS most FROM delivery")[0].most == NOW + FIRST_PROBE + 1


def test_retry_after_holds_a_lane_until_then_and_not_for_less_when_somebody_says_so(store: Store) -> None:
    lease = lead(store)
    push(store, *"123")
    first, second, third = claim(store, leave(store, lease))
    settle(store, busy(first, NOW + 600 * SECOND))
    settle(store, busy(second, NOW + 60 * SECOND), failed(third))
    assert leave(store, lease, NOW + 600 * SECOND - 1) == []
    assert len(leave(store, lease, NOW + 600 * SECOND + 1)) == 1
    assert told(store) == ["lane_held"]


def test_a_late_success_closes_a_lane_that_asked_us_to_wait(store: Store) -> None:
    lease = lead(store)
    push(store, "1", "2")
    first, second = claim(store, leave(store, lease))
    settle(store, busy(first, NOW + 600 * SECOND))
    settle(store, took(second, NOW + SECOND))
    assert standing(store) is CircuitState.CLOSED
    assert len(leave(store, lease, NOW + SECOND)) == 1


def test_in_one_settlement_each_lane_stands_by_what_ended_last_in_it(store: Store) -> None:
    lease = lead(store)
    push(store, *"1234")
    push(store, *"abc", lane=OTHER)
    claimed = claim(store, leave(store, lease))
    here, there = [one for one in claimed if one.lane == URL], [one for one in claimed if one.lane == OTHER]
    said = [took(here[0], NOW + 9), *(failed(one, NOW + n) for n, one in enumerate(here[1:])), *map(failed, there)]
    settle(store, *said)
    assert (standing(store), standing(store, OTHER)) == (CircuitState.CLOSED, CircuitState.HELD)


def test_an_attempt_that_ended_when_its_delivery_had_gone_on_changes_nothing_and_is_journalled(store: Store) -> None:
    lease = lead(store)
    push(store, "1")
    (one,) = claim(store, leave(store, lease))
    assert settle(store, took(one)) == 1
    assert settle(store, failed(one)) == 0
    with store.database.read() as connection:
        rows = connection.exec_driver_sql("SELECT payload FROM event ORDER BY id").scalars()
        kinds = [(event.kind, event.details.get("would_be")) for event in (decode(bytes(row)) for row in rows)]
    assert kinds[-2:] == [("acknowledged", None), ("attempt_late", "postponed")]


def test_an_attempt_whose_claim_was_lost_says_nothing_of_its_lane(store: Store) -> None:
    lease = lead(store)
    push(store, *"123")
    claimed = claim(store, leave(store, lease))
    assert settle(store, *map(failed, claimed), worker="another") == 0
    assert standing(store) is CircuitState.CLOSED


# -- stuck? -----------------------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("ending", ["erased", "moved", "waits for the register", "uncertain"])
def test_a_probe_that_says_nothing_makes_room_for_the_next(store: Store, ending: str) -> None:
    lease = lead(store)
    hold(store, lease)
    at = NOW + FIRST_PROBE
    (probe,) = claim(store, leave(store, lease, at), now_us=at)
    settle(
        store,
        {
            "erased": outcome(probe, "failed", code="DEADLINE_PASSED", owner="us", at_us=at),
            "moved": outcome(probe, "routed", endpoint="e2", lane=OTHER, receiver_system="s", at_us=at),
            "waits for the register": outcome(probe, "routed", hold_code="ROUTE_NO_MANDATE", owner="receiver", at_us=at),
            "uncertain": outcome(probe, "uncertain", code="ANSWER_NOT_HEARD", owner="receiver", at_us=at),
        }[ending],
    )
    (following,) = [one for one in claim(store, leave(store, lease, at), now_us=at) if one.lane == URL]
    assert following.seq != probe.seq
    settle(store, took(following, at))
    assert standing(store) is CircuitState.CLOSED


def test_what_waits_for_an_uncertain_one_is_the_probe_when_the_uncertainty_ends_and_another_key_does_not_wait(store: Store) -> None:
    lease = lead(store)
    push(store, "k1", "k2", order="k")
    push(store, "x", "y")
    claimed = claim(store, leave(store, lease))
    doubt = outcome(claimed[0], "uncertain", code="ANSWER_NOT_HEARD", owner="receiver", heard=str(Lane.FAILS))
    settle(store, doubt)
    for one in claimed[1:]:
        settle(store, outcome(one, "failed", code="Client.EK0030", owner="us", heard=str(Lane.FAILS)))
    at = NOW + FIRST_PROBE
    assert standing(store) is CircuitState.HELD
    assert leave(store, lease, at) == [], "all that waits has the key of the uncertain one"
    store.repair.resolve(claimed[0].reference, delivery=claimed[0].id, arrived=True, actor="operator", now_us=at)
    at += SECOND  # a look in vain is not repeated at once
    (probe,) = claim(store, leave(store, lease, at), now_us=at)
    settle(store, took(probe, at))
    assert standing(store) is CircuitState.CLOSED


# -- by hand ----------------------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("late", [took, failed, lambda one: busy(one, NOW + 9)], ids=["success", "failure", "come back later"])
def test_what_an_operator_holds_is_not_opened_by_what_was_under_way(store: Store, late: Any) -> None:
    lease = lead(store)
    push(store, "1", "2")
    first, _ = claim(store, leave(store, lease))
    push(store, "3")
    store.outbox.hold(URL, who="operator", now_us=NOW)
    settle(store, late(first))
    assert leave(store, lease, NOW + DAY) == []
    assert told(store) == ["lane_held"]
    assert store.outbox.let_go(URL, who="operator", now_us=NOW + DAY)
    assert not store.outbox.let_go(URL, who="operator", now_us=NOW + DAY)
    assert leave(store, lease, NOW + DAY)
    assert [(event.kind, event.actor) for event in lane_events(store)] == [("lane_held", "operator"), ("lane_let_go", "operator")]


def test_across_a_pause_everything_leaves_in_the_order_in_which_it_came(store: Store) -> None:
    lease, key, later = lead(store), {"order": "k"}, NOW + DAY
    ids = push(store, "1", "2") + push(store, "3", "4", **key)
    first, second, third = claim(store, leave(store, lease))
    settle(store, took(first), failed(second))  # the second is to be tried again in an hour
    store.outbox.hold(URL, who="operator", now_us=NOW)
    settle(store, took(third))  # it was under way
    ids += push(store, "5") + push(store, "6", **key)
    assert leave(store, lease, later) == []
    store.outbox.let_go(URL, who="operator", now_us=later)
    left = [first.id, third.id]
    while tickets := store.outbox.release_due(lease, now_us=later, limit=1)[0] or release(store, lease, window=1, now_us=later):
        (one,) = claim(store, tickets, now_us=later)
        left.append(one.id)
        settle(store, took(one, later))
    assert left == [ids[0], ids[2], ids[1], ids[3], ids[4], ids[5]], "what was postponed has its place, and nothing overtakes anything"


def test_let_go_lets_what_was_postponed_go_at_once(store: Store) -> None:
    lease = lead(store)
    hold(store, lease, waiting=0)
    assert not store.outbox.let_go(OTHER, who="operator", now_us=NOW)
    assert store.outbox.let_go(URL, who="operator", now_us=NOW)
    assert len(leave(store, lease)) == 3


@pytest.mark.postgres
def test_a_hold_that_comes_between_the_look_and_the_word_of_an_attempt_stands_and_no_event_says_that_it_flows(
    tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On SQLite there is one writer at a time."""
    url = fresh_url("postgresql", tmp_path)
    store, desk = open_store(url), open_store(url)
    lease = lead(store)
    hold(store, lease)
    at = NOW + FIRST_PROBE
    (probe,) = claim(store, leave(store, lease, at), now_us=at)
    judged = lanes._after

    def meanwhile(circuit: Any, s: Settlement) -> Any:
        desk.outbox.hold(URL, who="operator", now_us=at)
        return judged(circuit, s)

    monkeypatch.setattr(lanes, "_after", meanwhile)
    settle(store, took(probe, at))
    assert leave(store, lease, at + DAY) == []
    assert told(store) == ["lane_held", "lane_held"]
    store.close()
    desk.close()


# -- for people -------------------------------------------------------------------------------------------------------------------------
def test_people_see_how_a_lane_stands_and_what_waits_for_it(store: Store) -> None:
    lease = lead(store)
    hold(store, lease)
    (row,) = store.outbox.standing(NOW)
    assert (row["lane"], row["state"], row["code"], row["waiting"], row["probe_at_us"]) == (
        URL,
        "held",
        "ENDPOINT_UNREACHABLE",
        6,
        NOW + FIRST_PROBE,
    )
    assert store.outbox.standing(NOW + FIRST_PROBE)[0]["state"] == "half-open"


def told_of(store: Store, reference: str) -> set[tuple[Any, ...]]:
    """Why its delivery waits, as the outbox, the message's own page and its sender's status say it."""
    (outbox,) = [row for row in store.queries.outbox(OutboxFilter()) if row["reference"] == reference]
    (shown,) = (store.queries.message(reference) or {})["deliveries"]
    (status,) = store.enquiries.by_reference(a_message().system, reference)[0].deliveries
    return {
        (outbox["code"], outbox["owner"], outbox["reason"]),
        (shown["code"] or shown["hold_code"], shown["owner"], shown["reason"]),
        (status.code or status.hold_code, status.owner, status.reason),
    }


def test_people_and_senders_see_why_a_message_waits_before_an_endpoint_that_is_held(store: Store) -> None:
    hold(store, lead(store), waiting=0)
    (elsewhere,) = take(store, "elsewhere")
    route(store, elsewhere, to=[a_delivery(lane=OTHER)])
    assert told_of(store, elsewhere) == {(None, None, None)}
    (reference,) = take(store, "late")
    route(store, reference, to=[a_delivery(lane=URL)])
    ((code, owner, reason),) = told_of(store, reference)
    assert (code, owner) == ("ENDPOINT_UNREACHABLE", "receiver")
    assert "this message waits for it" in reason
    store.outbox.hold(OTHER, who="operator jan", now_us=NOW)
    assert told_of(store, elsewhere) == {("HELD_BY_OPERATOR", "us", None)}
    assert store.outbox.let_go(OTHER, who="operator jan", now_us=NOW)
    assert told_of(store, elsewhere) == {(None, None, None)}


def test_people_and_senders_see_that_a_message_waits_for_a_mailbox_that_is_not_emptied(store: Store) -> None:
    lease, (first, second) = lead(store), take(store, "1", "2")
    route(store, first)
    route(store, second)
    (one,) = claim(store, release(store, lease, window=1))
    assert told_of(store, second) == {(None, None, None)}  # the other is on its way, and nobody's turn
    settle(store, outcome(one, "delivered"))
    assert told_of(store, second) == {("MAILBOX_FULL", "receiver", None)}
    run_sql(store, "UPDATE delivery SET at_us = :now WHERE state = 'routed'", now=time.time_ns() // 1_000)
    assert told_of(store, second) == {(None, None, None)}  # came this moment


def test_what_was_released_after_a_wait_is_nobodys_turn_any_more(store: Store) -> None:
    lease, (reference,) = lead(store), take(store, "1")
    route(store, reference, to=[a_delivery(lane=URL, hold_code="ROUTE_NO_ENDPOINT", owner="receiver", reason="none")])
    leave(store, lease)
    assert told_of(store, reference) == {(None, None, None)}


# -- attempts ---------------------------------------------------------------------------------------------------------------------------
def test_an_acknowledged_push_was_delivered_at_that_moment_and_has_its_attempt(store: Store) -> None:
    lease = lead(store)
    (id,) = push(store, "1")
    (ticket,) = leave(store, lease)
    assert ticket.push
    (one,) = claim(store, [ticket])
    settle(store, took(one, NOW + 5))
    (row,) = run_sql(store, "SELECT state, delivered_us, at_us, claim FROM delivery")
    assert tuple(row) == ("acknowledged", NOW + 5, NOW + 5, None)
    assert states(store) == {id: "acknowledged"}
    assert [tuple(row) for row in run_sql(store, "SELECT number, outcome, code FROM attempt")] == [(1, "acknowledged", None)]


def test_every_try_leaves_an_attempt_and_what_was_sent_unheard_is_remembered(store: Store) -> None:
    lease = lead(store)
    codes = ["ENDPOINT_UNREACHABLE", "ANSWER_NOT_HEARD", "ENDPOINT_UNREACHABLE"]
    push(store, "1")
    tickets, remembered = leave(store, lease), []
    for number, code in enumerate(codes):
        (one,) = claim(store, tickets)
        assert one.attempts == number
        remembered.append(store.outbox.unheard([one.seq]) == {one.seq})
        settle(store, outcome(one, "postponed", hold_code=code, not_before_us=NOW))
        tickets = store.outbox.release_due(lease, now_us=NOW, limit=9)[0]
    assert [tuple(row) for row in run_sql(store, "SELECT number, code FROM attempt ORDER BY number")] == list(enumerate(codes, 1))
    assert remembered == [False, False, True]
    assert store.outbox.unheard([1, 2, 3]) == {1}


@pytest.mark.parametrize(
    ("code", "may_have_arrived"),
    [
        ("ANSWER_NOT_HEARD", True),
        ("ENDPOINT_UNAVAILABLE", True),  # HTTP 504: a proxy says that it heard nothing
        ("RESPONSE_NOT_TRUSTED", True),  # and somebody offered it again
        ("ENDPOINT_UNREACHABLE", False),
        ("ENDPOINT_NOT_THERE", False),
    ],
)
def test_after_which_attempts_the_receiver_may_have_it(store: Store, code: str, may_have_arrived: bool) -> None:
    lease = lead(store)
    push(store, "1")
    (one,) = claim(store, leave(store, lease))
    settle(store, outcome(one, "postponed", hold_code=code))
    assert store.outbox.unheard([one.seq]) == ({one.seq} if may_have_arrived else set())


@pytest.mark.parametrize("by", ["push-2", "push-1"], ids=["another worker", "the same, after its batch failed"])
def test_a_release_that_was_claimed_before_may_have_been_sent(store: Store, by: str) -> None:
    lease = lead(store)
    push(store, "1")
    tickets = leave(store, lease)
    (first,) = claim(store, tickets, "push-1")
    assert not first.taken_over
    (again,) = claim(store, tickets, by, now_us=NOW + 11 * SECOND)
    assert again.taken_over
    assert settle(store, took(again), worker=by) == 1
    assert settle(store, took(first), worker="push-1") == 0
    assert len(run_sql(store, "SELECT 1 FROM attempt")) == 1


def test_a_broker_wipe_leaves_calls_alone_that_are_under_way_and_their_tickets_are_there_again(store: Store) -> None:
    lease = lead(store)
    push(store, "1", "2")
    tickets = leave(store, lease)
    (calling,) = claim(store, tickets[:1])
    store.outbox.release_after_wipe(lease, now_us=NOW)
    assert store.outbox.unclaimed(now_us=NOW, wiped=True)[1] == tickets
    assert store.outbox.unclaimed(now_us=NOW)[1] == tickets[1:]
    assert settle(store, took(calling)) == 1, "the answer came, and was thrown away"


# -- deadlines --------------------------------------------------------------------------------------------------------------------------
def test_what_waited_behind_a_held_endpoint_until_its_deadline_failed_for_what_the_endpoint_was_held_for(store: Store) -> None:
    lease = lead(store)
    push(store, *"123", deadline_us=NOW + DAY)
    claimed = claim(store, leave(store, lease))
    push(store, "never tried", deadline_us=NOW + DAY)
    push(store, "elsewhere", lane=OTHER, deadline_us=NOW + DAY)
    settle(store, *map(failed, claimed))
    assert store.outbox.expire(actor="timetable-1", now_us=NOW + DAY + 1) == 5
    rows = run_sql(store, "SELECT state, code, owner FROM delivery ORDER BY seq")
    assert [tuple(row) for row in rows] == [
        *[("failed", "ENDPOINT_UNREACHABLE", "receiver")] * 4,
        ("failed", "DEADLINE_PASSED", "us"),
    ]


def test_what_an_operator_held_until_its_deadline_is_ours(store: Store) -> None:
    push(store, "1", deadline_us=NOW + DAY)
    store.outbox.hold(URL, who="operator", now_us=NOW)
    store.outbox.expire(actor="timetable-1", now_us=NOW + DAY + 1)
    assert [tuple(row) for row in run_sql(store, "SELECT code, owner FROM delivery")] == [("DEADLINE_PASSED", "us")]
