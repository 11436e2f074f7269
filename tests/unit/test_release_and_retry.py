"""How much may leave, when something is tried again, and when not."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from routing.register import read_register
from routing.release import (
    CLOSED,
    PROBE_AFTER_S,
    Circuit,
    CircuitState,
    after_failure,
    after_success,
    as_of,
    held_by_hand,
    narrowed,
    room,
    stopped,
    window,
)
from routing.retry import RETRY_AFTER_S, Retry, Stop, Wait, next_try
from tests.support.register import DOCUMENT, NOW, but, chain, document
from workers.relay import Windows

DEADLINE = NOW + timedelta(days=14)


def following(code, attempt=1, *, now=NOW, deadline=DEADLINE, register=None):
    return next_try(code, attempt, register=register or chain(), now=now, deadline=deadline)


def test_a_silent_receiver_is_tried_again_ever_less_often_until_the_deadline():
    waits = [following("ENDPOINT_UNREACHABLE", attempt).at - NOW for attempt in range(1, 8)]
    assert [wait.total_seconds() for wait in waits] == [*RETRY_AFTER_S, RETRY_AFTER_S[-1], RETRY_AFTER_S[-1]]


def test_the_last_try_is_at_the_deadline_and_after_it_the_delivery_has_failed():
    assert following("ENDPOINT_UNREACHABLE", now=DEADLINE - timedelta(seconds=5)) == Retry(DEADLINE)
    assert following("ENDPOINT_UNREACHABLE", now=DEADLINE) == Stop("DEADLINE_PASSED")


@pytest.mark.parametrize("code", ["Client.DK0002", "Client.EK0031", "Server.DK0050", "MAILBOX_REFUSED", "NOT_OUR_RESIDENT", "POISON"])
def test_what_cannot_get_better_by_itself_is_not_tried_again(code):
    assert following(code) == Stop(code)


def test_a_receiver_that_says_it_is_busy_is_tried_again():
    assert following("Server.DK0051") == Retry(NOW + timedelta(seconds=RETRY_AFTER_S[0]))


def test_a_gap_in_the_register_waits_for_the_register_or_for_its_next_day():
    register = chain(mandates=but(DOCUMENT["mandates"], 0, from_="2026-08-01"))
    assert following("ROUTE_NO_MANDATE", register=register) == Wait(datetime(2026, 7, 31, 22, 0, tzinfo=UTC))
    assert following("ROUTE_NO_MANDATE") == Wait(None)
    assert following("ROUTE_GEMEENTE_NOT_CONNECTED", now=DEADLINE) == Stop("DEADLINE_PASSED")


PUSH, MAILBOX = "push 1 https://las.example", "mailbox 1"


def test_a_window_is_20_for_a_push_endpoint_and_1000_for_a_mailbox():
    assert (window(PUSH), window(MAILBOX)) == (20, 1_000)
    assert [room(PUSH, opened) for opened in (0, 19, 20, 21)] == [20, 1, 0, 0]


def test_a_receiver_that_fails_three_times_in_a_row_is_held_and_nothing_leaves():
    circuit = CLOSED
    for _ in range(2):
        circuit = after_failure(circuit, NOW)
        assert window(PUSH, circuit) == 20
    circuit = after_failure(circuit, NOW)
    assert circuit.state is CircuitState.HELD
    assert room(MAILBOX, 0, circuit) == 0


def held(times=3):
    circuit = CLOSED
    for _ in range(times):
        circuit = after_failure(circuit, NOW)
    return circuit


def test_what_fails_after_the_hold_was_sent_before_it_and_does_not_postpone_the_probe():
    assert after_failure(held(), NOW + timedelta(seconds=20)) == held()


def test_one_delivery_leaves_as_a_probe_when_it_is_due():
    due = NOW + timedelta(seconds=PROBE_AFTER_S[0])
    assert as_of(held(), due - timedelta(microseconds=1)).state is CircuitState.HELD
    assert [room(PUSH, opened, as_of(held(), due)) for opened in (0, 1)] == [1, 0]


def test_a_failed_probe_holds_again_and_longer_but_never_more_than_five_minutes():
    circuit, now, waits = held(), NOW, []
    for _ in range(6):
        assert circuit.probe_at is not None
        waits.append((circuit.probe_at - now).total_seconds())
        now = circuit.probe_at
        circuit = after_failure(as_of(circuit, now), now)
    assert waits == [30, 60, 120, 300, 300, 300]
    assert circuit.failures == 3 + 6, "an operator who looks sees how often in a row it went wrong"


BY_HAND = Circuit(state=CircuitState.HELD)
LATER = NOW + timedelta(minutes=10)


def test_a_success_closes_whatever_went_before():
    for before in (CLOSED, after_failure(CLOSED, NOW), held(), as_of(held(), LATER), stopped(held(), LATER)):
        assert after_success(before) == CLOSED


def test_a_receiver_that_names_a_time_is_left_alone_until_then_and_gets_one_delivery_then():
    circuit = stopped(CLOSED, LATER)
    assert room(PUSH, 0, as_of(circuit, LATER - timedelta(microseconds=1))) == 0
    assert [room(PUSH, opened, as_of(circuit, LATER)) for opened in (0, 1)] == [1, 0]


def test_an_earlier_time_takes_nothing_back_and_a_later_one_counts():
    circuit = stopped(CLOSED, LATER)
    assert stopped(circuit, NOW) == circuit
    assert stopped(circuit, LATER + timedelta(seconds=1)).probe_at == LATER + timedelta(seconds=1)
    assert stopped(held(), LATER).probe_at == LATER


def test_a_probe_that_fails_after_a_named_time_waits_as_after_any_other_hold():
    circuit = after_failure(as_of(stopped(held(), LATER), LATER), LATER)
    assert circuit.probe_at == LATER + timedelta(seconds=PROBE_AFTER_S[1])


def test_what_an_operator_holds_no_attempt_changes_and_no_time_opens():
    assert held_by_hand(BY_HAND)
    assert after_success(BY_HAND) == after_failure(BY_HAND, NOW) == stopped(BY_HAND, LATER) == as_of(BY_HAND, LATER) == BY_HAND
    for other in (CLOSED, held(), as_of(held(), LATER), stopped(CLOSED, LATER)):
        assert not held_by_hand(other)


_RESULTS = st.lists(
    st.tuples(st.sampled_from(["works", "fails", "stop", "nothing"]), st.integers(0, 90_000), st.integers(0, 86_400)), max_size=40
)


@given(_RESULTS)
def test_whatever_happens_a_lane_lets_something_leave_within_five_minutes_or_when_its_receiver_said(results):
    """Each: seconds pass, and then this is heard. The store keeps only what `as_of` was not asked for; so does this."""
    circuit, now, said = CLOSED, NOW, NOW
    for heard, pause_s, until_s in results:
        now += timedelta(seconds=pause_s)
        if heard == "works":
            circuit = after_success(circuit)
        elif heard == "fails":
            circuit = after_failure(as_of(circuit, now), now)
        elif heard == "stop":
            said = max(said, now + timedelta(seconds=until_s))
            circuit = stopped(circuit, now + timedelta(seconds=until_s))
        assert circuit.state is not CircuitState.HALF_OPEN, "a probe would leave at once again, however the last one ended"
        latest = max(said, now + timedelta(seconds=PROBE_AFTER_S[-1]))
        assert room(PUSH, 0, as_of(circuit, latest)) >= 1


CENTRAL_ENDPOINT = DOCUMENT["endpoints"][2]


def endpoints(*, version=7, **fields):
    """The chain with one more push endpoint."""
    rows = [*DOCUMENT["endpoints"], {**CENTRAL_ENDPOINT, "dienst": "proef", "url": "https://portaal.example/proef"} | fields]
    return read_register(document(endpoints=rows), version=version)


LANE = "push 00000004003214345000 https://portaal.example/proef"


@pytest.mark.parametrize(
    ("fields", "narrow"),
    [
        ({}, {}),
        ({"at_once": 3}, {LANE: 3}),
        ({"at_once": 50}, {LANE: 50}),
        ({"per_second": 5}, {LANE: 10}),
        ({"per_second": 0.2}, {LANE: 1}),
        ({"per_second": 1.2}, {LANE: 3}),
        ({"per_second": 30}, {LANE: 60}),
        ({"at_once": 4, "per_second": 10}, {LANE: 4}),
        ({"at_once": 40, "per_second": 1}, {LANE: 2}),
    ],
)
def test_the_register_narrows_a_lane_by_calls_at_a_time_or_by_two_seconds_of_its_rate(fields, narrow):
    assert narrowed(endpoints(**fields)) == narrow


@pytest.mark.parametrize("limits", [(2, 7), (7, 2), (None, 2), (2, None)])
def test_endpoints_that_share_a_lane_have_the_smallest_window_of_all(limits):
    rows = [{**CENTRAL_ENDPOINT, "dienst": dienst, "at_once": most} for dienst, most in zip(("vva", "proef"), limits, strict=True)]
    assert list(narrowed(chain(endpoints=[*DOCUMENT["endpoints"][:2], *rows])).values()) == [2]


def test_a_window_is_what_the_settings_say_or_less_where_the_register_does_and_follows_the_register():
    now = [endpoints(at_once=5)]
    windows = Windows(lambda: now[0], mailbox=700, push=40)
    assert (windows.of("mailbox 1"), windows.of("push 1 https://elsewhere.example/"), windows.of(LANE)) == (700, 40, 5)
    for version, (fields, wide) in enumerate([({"at_once": 50}, 40), ({"per_second": 15}, 30), ({"per_second": 30}, 40), ({}, 40)], 8):
        now[0] = endpoints(version=version, **fields)
        assert windows.of(LANE) == wide
