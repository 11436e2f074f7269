"""Taking in: what is kept once, what is refused, and what a refusal leaves behind (rules 1 and 2)."""

from __future__ import annotations

import json
import multiprocessing
import random
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from adapters.store import Store, open_store
from routing.work import NewMessage, NewRefusal, StoreUnavailable, StreamStep
from schemas.rules import Judgement
from tests.support.content import STATUS, contracts
from tests.support.store import (
    DAY,
    MAILBOX,
    NOW,
    SENDER,
    SYSTEM,
    a_message,
    a_refusal,
    fresh_url,
    hand_in,
    kinds,
    rising,
    run_sql,
)
from workers.desk import step_judge


def messages(store: Store) -> int:
    return int(run_sql(store, "SELECT count(*) AS n FROM message")[0].n)


def refusals(store: Store) -> int:
    return int(run_sql(store, "SELECT count(*) AS n FROM refusal")[0].n)


@pytest.mark.parametrize(
    "again",
    [
        {"business_id": "b-1", "message_id": "urn:uuid:m-1"},
        {"business_id": "b-1", "message_id": "urn:uuid:m-2"},
        {"business_id": "b-2", "message_id": "urn:uuid:m-1"},
        {"business_id": "B-1", "message_id": "urn:uuid:m-2"},
    ],
    ids=["both ids", "same business id, new MessageID", "same MessageID, new business id", "business id in capitals"],
)
@pytest.mark.parametrize("together", [True, False], ids=["in one batch", "one after another"])
def test_the_same_message_from_the_same_sender_is_kept_once(store: Store, again: dict[str, str], together: bool) -> None:
    first, retry = a_message(), a_message(content="1", received_us=a_message().received_us + 5, **again)
    results = hand_in(store, first, retry) if together else hand_in(store, first) + hand_in(store, retry)
    assert [r.accepted for r in results] == [True, True]
    assert [r.duplicate for r in results] == [False, True]
    assert results[1].reference == first.reference
    assert results[1].received_us == first.received_us
    assert messages(store) == 1
    assert kinds(store, first.reference) == ["received", "duplicate"]


def test_every_id_a_retry_brings_names_the_first_message_from_then_on(store: Store) -> None:
    first = hand_in(store, a_message("1"))[0]
    batch = hand_in(store, *(a_message(content="1", business_id="b-1", message_id="urn:uuid:m-2") for _ in range(3)))
    later = hand_in(store, a_message(content="1", business_id=None, message_id="urn:uuid:m-2"))
    assert {r.reference for r in batch + later} == {first.reference}
    assert store.queries.find("urn:uuid:m-2") == first.reference
    assert messages(store) == 1


def test_the_same_id_with_other_content_is_refused_and_does_not_use_up_its_other_ids(store: Store) -> None:
    first = hand_in(store, a_message("1"))[0]
    (other,) = hand_in(store, a_message(content="other", business_id="b-1", message_id="urn:uuid:m-2"))
    assert not other.accepted
    assert other.code == "DUPLICATE_OTHER_CONTENT"
    assert "identificatiecodeBedrijfsdocument" in (other.reason or "")
    assert first.reference in (other.reason or "")
    (fresh,) = hand_in(store, a_message(content="third", business_id="b-3", message_id="urn:uuid:m-2"))
    assert fresh.accepted
    assert not fresh.duplicate
    assert messages(store) == 2
    assert kinds(store, other.reference) == ["refused"]


@pytest.mark.parametrize("together", [True, False], ids=["in one batch", "one after another"])
@pytest.mark.parametrize(
    "again", [{"business_id": "b-1", "message_id": "urn:uuid:m-2"}, {"business_id": "b-2", "message_id": "urn:uuid:m-1"}]
)
def test_after_a_supplier_switch_the_new_system_learns_of_an_id_only_that_it_was_used(
    store: Store, again: dict[str, str], together: bool
) -> None:
    first, later = a_message("1"), NOW + DAY
    theirs, own = (a_message(content="other", received_us=later, system=system, **again) for system in (MAILBOX, SYSTEM))
    results = hand_in(store, first, theirs, own) if together else [hand_in(store, one)[0] for one in (first, theirs, own)]
    assert [result.code for result in results] == [None, *["DUPLICATE_OTHER_CONTENT"] * 2]
    reason = results[1].reason or ""
    assert reason.endswith("was used before for a message with other content")
    assert first.reference in (results[2].reason or ""), "whoever handed it in may know which one it is"
    assert results[1].received_us == later, "not the moment of the other's"
    (kept,) = run_sql(store, "SELECT reason FROM refusal WHERE reference = :r", r=theirs.reference)
    told = [event.reason for event in store.journal.of_message(theirs.reference)]
    assert [kept.reason, *told] == [reason] * 2


def test_a_refused_hand_in_leaves_its_ids_to_the_next_of_the_same_batch_and_only_once(store: Store) -> None:
    hand_in(store, a_message("1"))
    wrong = a_message(content="other", business_id="b-1", message_id="urn:uuid:m-2")
    right, again = (a_message(content="right", business_id=None, message_id="urn:uuid:m-2") for _ in range(2))
    results = hand_in(store, wrong, right, again)
    assert [(r.accepted, r.duplicate) for r in results] == [(False, False), (True, False), (True, True)]
    assert results[2].reference == right.reference
    assert messages(store) == 2


def test_a_retry_takes_a_messageid_that_a_refused_one_of_its_batch_gave_back(store: Store) -> None:
    first = hand_in(store, a_message("1"), a_message("9"))[0]
    wrong = a_message(content="other", business_id="b-9", message_id="urn:uuid:m-2")
    retry = a_message(content="1", business_id="b-1", message_id="urn:uuid:m-2")
    results = hand_in(store, wrong, retry)
    assert [r.accepted for r in results] == [False, True]
    (later,) = hand_in(store, a_message(content="new", business_id=None, message_id="urn:uuid:m-2"))
    assert not later.accepted  # the retry's MessageID is in use
    assert results[1].reference == first.reference


def test_another_senders_same_ids_are_fine(store: Store) -> None:
    results = hand_in(store, a_message("1"), a_message("1", sender=SENDER[:-1] + "7"))
    assert [r.duplicate for r in results] == [False, False]
    assert messages(store) == 2


def test_nobody_can_shape_an_id_that_is_anothers(store: Store) -> None:
    """An id with a colon and an OIN in it is still the id of whoever signed it."""
    crafted = a_message("1", message_id=f"x:{SENDER}", business_id=None, sender="00000001800000009000")
    plain = a_message("2", message_id="x", business_id=None)
    assert [r.duplicate for r in hand_in(store, crafted, plain)] == [False, False]
    assert store.queries.find("x") == plain.reference
    assert store.queries.find(f"x:{SENDER}") == crafted.reference


def test_the_day_by_which_the_law_counts_a_message_is_kept(store: Store) -> None:
    hand_in(store, a_message("1", law_day=20_532), a_message("2"))
    assert [row.law_day for row in run_sql(store, "SELECT law_day FROM message ORDER BY message_id")] == [20_532, None]


def test_a_message_is_found_by_each_of_its_ids(store: Store) -> None:
    (result,) = hand_in(store, a_message("1"))
    (refused,) = hand_in(store, a_refusal(message_id="urn:uuid:r"))
    assert store.queries.find("urn:uuid:m-1") == store.queries.find("b-1") == store.queries.find(result.reference) == result.reference
    assert store.queries.find("urn:uuid:r") == refused.reference
    assert store.queries.find("urn:uuid:m-") is None


def test_a_commit_whose_answer_was_lost_is_not_stored_twice_when_tried_again(store: Store) -> None:
    hand_in(store, a_message("0"))
    step = StreamStep(key=b"s" * 16, number=1, status="nieuw")
    batch = [
        a_message("1"),
        a_message("2", step=step),
        a_refusal(),
        a_message("3", content="other", business_id="b-0"),  # refused: other content
        a_message("4", step=step),  # refused: out of order
        a_message("5", content="0", business_id="b-0"),  # a duplicate
    ]
    first = hand_in(store, *batch)
    second = hand_in(store, *batch)
    assert [(r.accepted, r.reference, r.code) for r in second] == [(r.accepted, r.reference, r.code) for r in first]
    assert [r.accepted for r in first] == [True, True, False, False, False, True]
    assert messages(store) == 3
    assert refusals(store) == 3
    for item in batch[:5]:
        assert len(kinds(store, item.reference)) == 1


def test_a_step_out_of_order_is_refused_and_gives_its_ids_back(store: Store) -> None:
    def step(number: int) -> StreamStep:
        return StreamStep(key=b"s" * 16, number=number, status="nieuw")

    assert hand_in(store, a_message("1", step=step(2)))[0].accepted
    early, next_one = hand_in(store, a_message("2", step=step(1)), a_message("3", step=step(3)))
    assert (early.accepted, early.code, next_one.accepted) == (False, "STATUS_ORDER", True)
    (mended,) = hand_in(store, a_message("2", content="mended", step=step(4)))
    assert mended.accepted
    assert not mended.duplicate
    assert run_sql(store, "SELECT number FROM stream")[0].number == 4


def test_a_refused_step_does_not_move_its_stream(store: Store) -> None:
    hand_in(store, a_message("1", step=StreamStep(key=b"s" * 16, number=5, status="nieuw")))
    hand_in(store, a_message("2", step=StreamStep(key=b"s" * 16, number=3, status="nieuw")))
    assert run_sql(store, "SELECT number FROM stream")[0].number == 5


def _status(name: str, number: int, status: str, **changes: object) -> NewMessage:
    """A status message of one application of vva."""
    return a_message(name, action=STATUS, step=StreamStep(key=b"s" * 16, number=number, status=status), **changes)


def test_a_gap_or_a_repeat_in_a_stream_is_told_in_the_receipt_and_in_the_journal(store: Store) -> None:
    judge = step_judge(contracts())
    first, gap, repeat = hand_in(
        store,
        _status("1", 1, "AO", warnings=("buiten de periode / outside the window",)),
        _status("2", 3, "IN", warnings=("buiten de periode / outside the window",)),
        _status("3", 3, "IN"),
        judge_step=judge,
    )
    assert first.warnings == ("buiten de periode / outside the window",)
    assert gap.warnings[0] == first.warnings[0]
    assert gap.warnings[1].startswith("Er ontbreken eerdere statussen") and "/ Earlier statuses" in gap.warnings[1]
    (warning,) = repeat.warnings
    assert warning.startswith("Deze status was al ontvangen met hetzelfde volgnummer")
    for result in (first, gap, repeat):
        (event,) = store.journal.of_message(result.reference)
        assert json.loads(event.details["warnings"]) == list(result.warnings)
        assert store.queries.message(result.reference)["warnings"] == list(result.warnings)  # type: ignore[index]


@pytest.mark.parametrize("together", [True, False], ids=["in one batch", "one after another"])
def test_a_receipt_that_is_repeated_repeats_its_warnings(store: Store, together: bool) -> None:
    judge = step_judge(contracts())
    batch = [_status("1", 1, "AO"), _status("2", 3, "IN"), _status("2", 3, "IN", warnings=("iets van nu / something of now",))]
    results = hand_in(store, *batch, judge_step=judge) if together else [hand_in(store, one, judge_step=judge)[0] for one in batch]
    _, gap, again = results
    assert (again.duplicate, again.reference, again.warnings) == (True, gap.reference, gap.warnings)
    assert len(gap.warnings) == 1
    received, duplicate = store.journal.of_message(gap.reference)
    assert received.details == duplicate.details


def test_a_commit_whose_answer_was_lost_still_gives_the_same_warnings(store: Store) -> None:
    judge = step_judge(contracts())
    batch = [_status("1", 1, "AO"), _status("2", 3, "IN")]
    assert [r.warnings for r in hand_in(store, *batch, judge_step=judge)] == [r.warnings for r in hand_in(store, *batch, judge_step=judge)]


def test_a_batch_is_stored_whole_or_not_at_all(store: Store) -> None:
    def fails(*_: object) -> Judgement:
        raise RuntimeError("in the middle of a batch")

    batch = [a_message("1"), a_message("2", step=StreamStep(key=b"s" * 16, number=1, status="nieuw"))]
    with pytest.raises(RuntimeError):
        hand_in(store, *batch, judge_step=fails)
    assert messages(store) == 0
    assert run_sql(store, "SELECT count(*) AS n FROM used_id")[0].n == 0
    assert all(r.accepted and not r.duplicate for r in hand_in(store, *batch))


def _out_of_order(**changes: object) -> NewMessage:
    """A good message that only the store can refuse."""
    return a_message("late", step=StreamStep(key=b"s" * 16, number=1, status="nieuw"), **changes)


REFUSED = {"by the desk": a_refusal, "by the store": _out_of_order}


@pytest.fixture(params=REFUSED)
def refused(request: pytest.FixtureRequest, store: Store) -> Callable[..., NewMessage | NewRefusal]:
    """Makes hand-ins of the same bytes that are refused."""
    hand_in(store, a_message("newest", step=StreamStep(key=b"s" * 16, number=5, status="nieuw")))
    return REFUSED[request.param]  # type: ignore[no-any-return]


Refused = Callable[..., NewMessage | NewRefusal]


def test_a_refused_hand_in_that_the_broker_delivers_again_is_recorded_once_and_answered_alike(store: Store, refused: Refused) -> None:
    (first,) = hand_in(store, refused())
    for _ in range(2):  # whoever recorded it died before it could acknowledge it, and the next one too
        (again,) = hand_in(store, refused(redelivered=True))
        assert (again.accepted, again.reference, again.code, again.reason) == (False, first.reference, first.code, first.reason)
        assert again.received_us == first.received_us
    assert refusals(store) == 1
    assert kinds(store, first.reference) == ["refused"]


def test_an_honest_second_hand_in_of_the_same_wrong_message_is_a_refusal_of_its_own(store: Store, refused: Refused) -> None:
    first, second = hand_in(store, refused()) + hand_in(store, refused())
    assert first.reference != second.reference
    assert refusals(store) == 2


def test_of_many_equal_hand_ins_each_is_recorded_once_whatever_was_recorded_before_a_crash(store: Store, refused: Refused) -> None:
    """Five were on their way to a worker; it recorded two of them and died."""
    before = hand_in(store, refused(), refused())
    after = hand_in(store, *(refused(redelivered=True) for _ in range(5)))
    assert len({result.reference for result in after}) == 5
    assert {result.reference for result in before} < {result.reference for result in after}
    assert refusals(store) == 5


def test_a_refusal_whose_hand_in_was_acknowledged_is_not_taken_for_another_that_comes_later(store: Store, refused: Refused) -> None:
    (first,) = hand_in(store, refused())
    hand_in(store, settled=(first.reference,))  # a tuple, as workers.intake has it: PostgreSQL took lists only
    (second,) = hand_in(store, refused(redelivered=True))  # a second copy, in the hands of a worker that died before it looked at it
    assert second.reference != first.reference
    assert refusals(store) == 2


def test_a_redelivery_takes_over_nothing_of_another_system_or_for_another_reason(store: Store) -> None:
    hand_in(store, a_refusal())
    hand_in(store, a_refusal(redelivered=True, system="00000001900000009000"), a_refusal(redelivered=True, code="Client.DK0002"))
    hand_in(store, a_refusal(via="https", name="2"))
    hand_in(store, a_refusal(redelivered=True, name="2"))
    assert refusals(store) == 5


def test_a_redelivered_batch_whose_commit_was_answered_late_is_stored_once(store: Store, refused: Refused) -> None:
    hand_in(store, refused())
    batch = [refused(redelivered=True), refused(redelivered=True)]
    first, second = hand_in(store, *batch), hand_in(store, *batch)
    assert {r.reference for r in first} == {r.reference for r in second}
    assert refusals(store) == 2


def test_a_hand_in_over_https_is_not_told_on_a_queue_and_one_over_amqp_only_again(store: Store) -> None:
    hand_in(store, a_message("1", via="https"), a_message("2"))
    assert store.journal.untold(now_us=10**17) == []
    assert store.journal.tell_again(since_us=0, now_us=5) == 1


def _hand_in_batches(url: str, seed: int, rounds: int, ready: object, answers: object) -> None:
    """One intake process: batches of the same messages as its rival, in another order."""
    store = open_store(url, upgrade=False)
    shuffled = random.Random(seed)
    seen: list[tuple[str, str, bool]] = []
    for number in range(rounds):
        batch = [a_message(f"{number}-{i}", order=f"{i % 3}", step=_step(number, i)) for i in range(12)]
        shuffled.shuffle(batch)
        ready.wait()  # type: ignore[attr-defined]
        while True:
            try:
                results = store.hand_ins.accept(batch, actor=f"intake-{seed}", judge_step=rising)
                break
            except StoreUnavailable as error:
                answers.put(("unavailable", str(error)))  # type: ignore[attr-defined]
        seen += [(item.message_id, r.reference, r.duplicate) for item, r in zip(batch, results, strict=True) if r.accepted]
    answers.put(("done", seen))  # type: ignore[attr-defined]
    store.close()


def _step(number: int, i: int) -> StreamStep | None:
    return StreamStep(key=f"{number}-{i}".encode().ljust(16), number=1, status="nieuw") if i % 4 == 0 else None


@pytest.mark.parametrize("kind", ["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
def test_two_processes_with_crossed_batches_of_duplicates_never_deadlock_and_keep_each_once(kind: str, tmp_path: Path) -> None:
    url, rounds = fresh_url(kind, tmp_path), 40
    spawn = multiprocessing.get_context("spawn")
    ready, answers = spawn.Barrier(2, timeout=60), spawn.Queue()
    rivals = [spawn.Process(target=_hand_in_batches, args=(url, seed, rounds, ready, answers)) for seed in (1, 2)]
    for rival in rivals:
        rival.start()
    found = [answers.get(timeout=90) for _ in rivals]
    for rival in rivals:
        rival.join(30)
    assert [what for what, _ in found] == ["done", "done"]  # nobody was ever refused for a deadlock
    references: dict[str, set[str]] = {}
    for _, seen in found:
        for message_id, reference, _ in seen:
            references.setdefault(message_id, set()).add(reference)
    assert len(references) == rounds * 12
    assert all(len(names) == 1 for names in references.values())
    assert sum(not duplicate for _, seen in found for _, _, duplicate in seen) == rounds * 12
    store = open_store(url, upgrade=False)
    assert messages(store) == rounds * 12
    store.close()


def test_of_two_messages_with_one_order_key_the_first_to_commit_has_the_lower_number(store: Store) -> None:
    """Otherwise a later one could be released before the earlier one is even visible."""
    references: dict[str, str] = {}
    inside, go_on = threading.Event(), threading.Event()

    def slowly(*_: object) -> Judgement:
        inside.set()
        go_on.wait(10)
        return Judgement()

    def first() -> None:
        step = StreamStep(key=b"s" * 16, number=1, status="nieuw")
        references["first"] = hand_in(store, a_message("1", order="k", step=step), judge_step=slowly)[0].reference

    def second() -> None:
        references["second"] = hand_in(store, a_message("2", order="k"))[0].reference

    threads = [threading.Thread(target=first), threading.Thread(target=second)]
    threads[0].start()
    assert inside.wait(10)
    threads[1].start()
    threads[1].join(0.3)
    go_on.set()
    for thread in threads:
        thread.join(20)
    rows = run_sql(store, "SELECT reference FROM message ORDER BY seq")
    assert [row.reference for row in rows] == [references["first"], references["second"]]


def test_two_first_steps_of_one_stream_at_the_same_moment_cannot_both_pass(store: Store) -> None:
    barrier, results = threading.Barrier(2), []

    def step(name: str, number: int) -> None:
        message: NewMessage = a_message(name, step=StreamStep(key=b"s" * 16, number=number, status="nieuw"))
        barrier.wait()
        results.extend(hand_in(store, message))

    for round_ in range(10):
        results.clear()
        run_sql(store, "DELETE FROM stream")
        threads = [threading.Thread(target=step, args=(f"{round_}-{i}", 1)) for i in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(20)
        assert sorted(r.accepted for r in results) == [False, True]
