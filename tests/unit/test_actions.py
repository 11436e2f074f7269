"""What people may do in which state, and how a job goes through its selection: pure decisions."""

from __future__ import annotations

from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from routing.actions import WHY, Action, CannotAct, Stand, Subject, Why, checked_reason, is_doubtful, judge, wants_again
from routing.jobs import (
    AT_ONCE,
    ENOUGH,
    JOB_MOVES,
    UNDER_WAY,
    Figures,
    ItemState,
    JobState,
    Progress,
    Step,
    Stop,
    Terms,
    next_step,
    outcome_of,
)
from schemas.lifecycle import DELIVERY_MOVES, MESSAGE_MOVES, DeliveryState, MessageState

DELIVERIES = [
    Stand(subject=Subject.DELIVERY, state=str(state), kept=kept, outdated=outdated)
    for state, kept, outdated in product(DeliveryState, (True, False), (True, False))
]
MESSAGES = [
    Stand(subject=Subject.MESSAGE, state=str(state), again=again, kept=kept)
    for state, again, kept in product(MessageState, (True, False), (True, False))
]
#: Where each action leads a delivery, by the moves it makes one after another.
WAYS = {
    Action.RETRY: ("released", "routed"),
    Action.RETURN: ("failed", "returned"),
    Action.ARCHIVE: ("archived",),
    Action.REOPEN: ("failed",),
}


def delivery(state: str, **more: bool) -> Stand:
    return Stand(subject=Subject.DELIVERY, state=state, **more)


@pytest.mark.parametrize("action", WAYS)
def test_what_is_allowed_is_a_way_through_the_lifecycle(action: Action) -> None:
    for stand in DELIVERIES:
        if not judge(action, stand).acts:
            continue
        at = DeliveryState(stand.state)
        for after in WAYS[action]:
            if at != after:
                assert after in DELIVERY_MOVES[at], f"{action}: {stand}"
                at = DeliveryState(after)


@pytest.mark.parametrize("action", Action)
def test_no_action_moves_a_message_against_the_lifecycle(action: Action) -> None:
    to = {Action.RETRY: "routed", Action.RETURN: "returned", Action.ARCHIVE: "archived", Action.REOPEN: "failed"}
    for stand in MESSAGES:
        if judge(action, stand).acts:
            at = MessageState("failed") if action is Action.RETURN else MessageState(stand.state)
            assert to[action] in MESSAGE_MOVES[at]
            assert not stand.again


def test_what_is_superseded_may_become_so() -> None:
    late = [stand for action in Action for stand in DELIVERIES if judge(action, stand).supersedes]
    assert {stand.state for stand in late} == {"failed", "routed", "postponed"}
    assert all("superseded" in DELIVERY_MOVES[DeliveryState(stand.state)] and stand.outdated for stand in late)


@pytest.mark.parametrize("action", Action)
def test_each_is_acted_upon_or_superseded_or_left_alone_with_a_reason(action: Action) -> None:
    for stand in [*DELIVERIES, *MESSAGES, Stand(subject=Subject.REFUSAL, state="refused", kept=False)]:
        verdict = judge(action, stand)
        assert not (verdict.acts and verdict.supersedes)
        assert verdict.acts == (verdict.why is None)


@pytest.mark.parametrize("subject", (Subject.DELIVERY, Subject.MESSAGE))
def test_once_its_body_is_erased_a_failure_can_only_be_returned_or_stay_closed(subject: Subject) -> None:
    erased = Stand(subject=subject, state="failed", kept=False)
    assert {action for action in Action if judge(action, erased).acts} == {Action.RETURN, Action.ARCHIVE}
    closed = Stand(subject=subject, state="archived", kept=False)
    assert {action for action in Action if judge(action, closed).acts} == {Action.RETURN}


def test_an_older_state_is_not_sent_whatever_is_asked() -> None:
    for state in DeliveryState:
        for action in (Action.RETRY, Action.REDIRECT, Action.RESEND):
            assert not judge(action, delivery(str(state), outdated=True)).acts
    assert judge(Action.RETURN, delivery("failed", outdated=True)).acts, "its source may hear of it"


def test_after_a_final_state_only_a_new_delivery_can_come() -> None:
    for state in ("acknowledged", "answered"):
        assert {action for action in Action if judge(action, delivery(state)).acts} == {Action.RESEND}
    assert not judge(Action.RESEND, delivery("failed")).acts


def test_a_refusal_is_its_senders_to_mend_and_can_only_be_closed() -> None:
    verdicts = {action: judge(action, Stand(subject=Subject.REFUSAL, state="refused")) for action in Action}
    assert verdicts.pop(Action.ARCHIVE).acts
    assert {verdict.why for verdict in verdicts.values()} == {Why.REFUSED}


def test_every_reason_is_there_in_both_languages() -> None:
    assert set(WHY) == set(Why)
    assert all(nl and en and nl != en for nl, en in WHY.values())


def test_a_receivers_own_word_makes_offering_again_doubtful_and_a_dropped_line_does_not() -> None:
    assert is_doubtful(Action.RETRY, "RECEIVER_REJECTED")
    assert not is_doubtful(Action.RETRY, "ENDPOINT_UNREACHABLE")
    assert not is_doubtful(Action.RETURN, "RECEIVER_REJECTED")


def test_what_its_receiver_has_already_need_not_be_handed_in_again() -> None:
    assert not wants_again("RECEIVER_DUPLICATE")
    assert wants_again("NOT_OUR_RESIDENT")
    assert wants_again(None)


@pytest.mark.parametrize(
    ("text", "says"),
    [("", "Say why"), (" \n", "Say why"), ("leerling 123456782", "nine digits"), ("123 456 782", "nine digits"), ("x" * 501, "501")],
)
def test_a_reason_that_cannot_go_into_the_journal_is_refused(text: str, says: str) -> None:
    with pytest.raises(CannotAct, match=says):
        checked_reason(text)


def test_a_reason_is_kept_on_one_line() -> None:
    assert checked_reason("  mailbox was\nfull; ticket 12345 ") == "mailbox was full; ticket 12345"


# -- jobs -------------------------------------------------------------------------------------------------------------------------------
def run(count: int, terms: Terms, fails: set[int] = frozenset(), patience: int = 3) -> tuple[Step, Figures, int]:  # type: ignore[assignment]
    """A job of so many, of which these fail, each known `patience` steps after it began. How it ends, with most that was under way."""
    figures, trial_left, in_trial = Figures(planned=count), terms.trial, terms.trial > 0
    waiting: list[tuple[int, int]] = []
    begun = succeeded = failed = most = 0
    for turn in range(100_000):
        for number, at in list(waiting):
            if turn - at >= patience:
                waiting.remove((number, at))
                succeeded, failed = (succeeded, failed + 1) if number in fails else (succeeded + 1, failed)
        figures = Figures(planned=count - begun, under_way=len(waiting), succeeded=succeeded, failed=failed)
        most = max(most, len(waiting))
        progress = Progress(figures=figures, trial_left=trial_left, in_trial=in_trial, succeeded=succeeded, failed=failed)
        step = next_step(progress, terms, allowance=terms.rate)
        if step.done or step.stop:
            return step, figures, most
        in_trial = in_trial and not step.passed
        waiting += [(begun + one, turn) for one in range(step.begin)]
        begun += step.begin
        trial_left = max(0, trial_left - step.begin)
    raise AssertionError("it never ended")


@given(count=st.integers(1, 300), trial=st.integers(0, 60), rate=st.sampled_from([1.0, 7.0, 50.0, 1000.0]))
def test_a_job_of_which_nothing_fails_goes_through_all_of_it(count: int, trial: int, rate: float) -> None:
    step, figures, most = run(count, Terms(trial=trial, rate=rate))
    assert step.done
    assert figures == Figures(succeeded=count)
    assert most <= UNDER_WAY


@given(count=st.integers(2, 300), trial=st.integers(1, 60))
def test_a_trial_batch_that_fails_leaves_the_rest_untouched(count: int, trial: int) -> None:
    step, figures, _ = run(count, Terms(trial=trial, stop_below=0.9), fails=set(range(trial)))
    assert step.stop is Stop.TRIAL_FAILED
    assert figures == Figures(planned=max(0, count - trial), failed=min(count, trial))


@given(st.integers(ENOUGH, 200))
def test_a_job_stops_when_too_much_of_it_fails_after_the_trial_batch(good: int) -> None:
    fails = set(range(good, 10_000))
    step, figures, _ = run(10_000, Terms(trial=5, rate=10, stop_below=0.8), fails=fails)
    assert step.stop is Stop.RATIO
    assert figures.planned > 9_000, "hardly more was begun than what it took to notice"


def test_without_a_ratio_it_never_stops_by_itself() -> None:
    step, figures, _ = run(200, Terms(trial=10, stop_below=0), fails=set(range(200)))
    assert step.done
    assert figures.failed == 200


@given(
    planned=st.integers(0, 2_000),
    under_way=st.integers(0, UNDER_WAY + 5),
    allowance=st.floats(0, 2_000),
    trial_left=st.integers(0, 100),
    in_trial=st.booleans(),
)
def test_no_step_begins_more_than_rate_window_and_batch_allow(
    planned: int, under_way: int, allowance: float, trial_left: int, in_trial: bool
) -> None:
    figures = Figures(planned=planned, under_way=under_way)
    step = next_step(Progress(figures=figures, trial_left=trial_left, in_trial=in_trial), Terms(), allowance=allowance)
    assert 0 <= step.begin <= min(planned, allowance, AT_ONCE, max(0, UNDER_WAY - under_way))
    assert not in_trial or step.begin <= trial_left


def test_a_job_that_has_ended_does_not_begin_again() -> None:
    assert JOB_MOVES[JobState.DONE] == JOB_MOVES[JobState.CANCELLED] == frozenset()
    assert set(JOB_MOVES) == set(JobState)


@pytest.mark.parametrize(
    ("state", "hold", "moved_us", "now_us", "became"),
    [
        ("delivered", None, 2, 3, ItemState.SUCCEEDED),
        ("acknowledged", None, 2, 3, ItemState.SUCCEEDED),
        ("answered", None, 2, 3, ItemState.SUCCEEDED),
        ("failed", None, 2, 3, ItemState.FAILED),
        ("uncertain", None, 2, 3, ItemState.FAILED),
        ("postponed", "ENDPOINT_UNREACHABLE", 2, 3, ItemState.FAILED),
        ("postponed", None, 1, 3, ItemState.UNDER_WAY),  # as it stood when it was redirected
        ("routed", "ROUTE_NO_ENDPOINT", 1, 3, ItemState.FAILED),
        ("routed", None, 1, 3, ItemState.UNDER_WAY),
        ("released", None, 1, 3, ItemState.UNDER_WAY),
        ("released", None, 1, 60_000_001, ItemState.FAILED),
        ("superseded", None, 2, 3, ItemState.SUPERSEDED),
        ("archived", None, 2, 3, ItemState.SKIPPED),
    ],
)
def test_what_became_of_something_offered_again(state: str, hold: str | None, moved_us: int, now_us: int, became: ItemState) -> None:
    assert outcome_of(state, hold, since_us=1, moved_us=moved_us, now_us=now_us, patience_s=60) is became


@pytest.mark.parametrize("wrong", [{"trial": -1}, {"rate": 0}, {"stop_below": 1.1}, {"patience_s": 0}])
def test_terms_that_make_no_sense_are_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(ValueError, match=r"is a number|from 0 to|from 1 to"):
        Terms(**wrong)
