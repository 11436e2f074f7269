"""How much may leave, when something is tried again, and when not."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from routing.release import CLOSED, PROBE_AFTER_S, CircuitState, after_failure, as_of, room, window
from routing.retry import RETRY_AFTER_S, Retry, Stop, Wait, next_try
from tests.support.register import DOCUMENT, NOW, but, chain

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
