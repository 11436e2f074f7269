"""Answers: a later message of the receiver closes the delivery it answers, in the transaction of its hand-in, whatever stood there."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import event

from adapters.store import OutboxFilter, Store
from routing.work import MAYBE_SENT, NOT_SENT, Answer, Claimed, HandInResult, NewDelivery, NewMessage, StreamStep
from schemas.rules import Judgement
from tests.support.store import (
    ACTION,
    DAY,
    LANE,
    MAILBOX,
    NOW,
    RECEIVER,
    SECOND,
    SENDER,
    SYSTEM,
    a_delivery,
    a_message,
    claim,
    confirm,
    deliver,
    hand_in,
    kinds,
    lead,
    outcome,
    release,
    route,
    run_sql,
    settle,
    states,
    take,
)

WITHIN = 14 * DAY


def an_answer(name: str = "a", *, to: str | None = "b-1", relates_to: tuple[str, ...] = (), **changes: Any) -> NewMessage:
    """An answer of the receiver's, to the message with this business id."""
    said = Answer(fact="beantwoord", business_id=to, relates_to=relates_to, kinds=(ACTION,))
    fields = {"sender": RECEIVER, "system": MAILBOX, "receiver": SENDER, "action": "answer", "bericht": "antwoord", "answer": said}
    return a_message(name, **(fields | {"received_us": NOW + SECOND} | changes))


def sent(store: Store, *names: str, **changes: Any) -> list[NewDelivery]:
    """Messages to be answered, each with a delivery that is not released yet."""
    return route(store, *take(store, *names, **changes), answer_within_us=WITHIN)


def confirmed(store: Store, *names: str) -> list[NewDelivery]:
    """The same, delivered and confirmed."""
    made = sent(store, *names)
    deliver(store, lead(store))
    confirm(store, *(one.id for one in made))
    return made


def told(store: Store, system: str = SYSTEM) -> list[tuple[str, str | None]]:
    return [(t.event.kind, t.event.code) for t in store.journal.untold(now_us=10**17) if t.system == system]


def refusal(result: HandInResult) -> str | None:
    assert not result.accepted
    return result.code


# -- what closes a delivery -------------------------------------------------------------------------------------------------------------
def test_an_answer_closes_the_delivery_it_names_and_both_timelines_name_each_other(store: Store) -> None:
    (one,) = confirmed(store, "1")
    answer = an_answer()
    (result,) = hand_in(store, answer)
    assert (result.accepted, result.warnings) == (True, ())
    assert states(store) == {one.id: "answered"}
    assert told(store) == [("acknowledged", None), ("answered", None)]
    (first,) = run_sql(store, "SELECT reference FROM message WHERE business_id = 'b-1'")
    assert kinds(store, first.reference) == ["received", "routed", "delivered", "acknowledged", "answered"]
    assert kinds(store, answer.reference) == ["received", "answers"]
    theirs, ours = store.journal.of_message(first.reference)[-1], store.journal.of_message(answer.reference)[-1]
    assert (theirs.details, theirs.delivery, theirs.reason) == ({"answer": answer.reference}, one.id, "antwoord urn:uuid:m-a")
    assert (ours.details, ours.delivery) == ({"answers": first.reference}, one.id)
    shown, back = store.queries.message(first.reference), store.queries.message(answer.reference)
    assert shown is not None
    assert back is not None
    assert shown["deliveries"][0]["answers"] == [answer.reference]
    assert (shown["answers"], back["answers"]) == (None, {"reference": first.reference, "delivery": one.id})
    assert [store.outbox.routable([_ticket(store, answer.reference)])[0].reference] == [answer.reference], "and it goes on as any message"


def _ticket(store: Store, reference: str) -> Any:
    return run_sql(store, "SELECT seq, 1 AS release FROM message WHERE reference = :r", r=reference)[0]


def _delivered(store: Store) -> None:
    deliver(store, lead(store))


def _released(store: Store) -> Claimed:
    (claimed,) = claim(store, release(store, lead(store)))
    return claimed


def _settled(state: str, **why: Any) -> Callable[[Store], None]:
    def act(store: Store) -> None:
        settle(store, outcome(_released(store), state, **why))

    return act


def _not_fetched(store: Store) -> None:
    _delivered(store)
    store.outbox.unfetched(actor="timetable-1", now_us=NOW + 9 * DAY, fetch_within_us={ACTION: DAY})


def _not_answered(store: Store) -> None:
    _delivered(store)
    confirm(store, *states(store))
    assert store.outbox.unanswered(actor="timetable-1", now_us=NOW + WITHIN + 1) == 1


LEARNED = ["delivered", "acknowledged", "answered"]


@pytest.mark.parametrize(
    ("act", "before", "events"),
    [
        (_delivered, "delivered", ["acknowledged", "answered"]),
        (_released, "released", LEARNED),
        (_settled("uncertain"), "uncertain", LEARNED),
        (_settled("postponed", hold_code="ENDPOINT_UNREACHABLE", not_before_us=NOW + DAY), "postponed", LEARNED),
        (_settled("routed", hold_code="ROUTE_NO_MANDATE", owner="school"), "routed", LEARNED),
        (_settled("failed", code="Server.DK0050", owner="receiver", reason="x"), "failed", ["acknowledged", "answered"]),
        (_not_fetched, "failed", ["acknowledged", "answered"]),
        (_not_answered, "failed", ["acknowledged", "answered"]),
    ],
    ids=["unconfirmed", "on its way", "uncertain", "postponed", "back in routing", "failed", "not fetched", "too late"],
)
def test_an_answer_proves_that_a_delivery_arrived_whatever_we_knew_of_it(
    store: Store, act: Callable[[Store], object], before: str, events: list[str]
) -> None:
    (one,) = sent(store, "1")
    claimed = act(store)
    assert states(store) == {one.id: before}
    earlier = len(told(store))
    hand_in(store, an_answer(received_us=NOW + 20 * DAY))
    (row,) = run_sql(store, "SELECT * FROM delivery")
    assert row.state == "answered"
    assert [row.code, row.owner, row.reason, row.hold_code, row.claim] == [None] * 5
    assert row.delivered_us is not None
    (reference,) = [r.reference for r in run_sql(store, "SELECT reference FROM message WHERE business_id = 'b-1'")]
    assert kinds(store, reference)[-len(events) :] == events
    assert told(store)[earlier:] == [("answered", None)], "one outcome, the last"
    if isinstance(claimed, Claimed):
        assert settle(store, outcome(claimed)) == 0, "the worker that was sending it finds that it has ended"
    confirm(store, one.id)
    confirm(store, one.id, confirmed=False, code="MAILBOX_REFUSED", owner="school")
    assert states(store) == {one.id: "answered"}
    assert store.outbox.unanswered(actor="timetable-1", now_us=NOW + 99 * DAY) == 0


@pytest.mark.parametrize("state", ["routed", "filtered"])
def test_what_was_never_sent_cannot_be_answered(store: Store, state: str) -> None:
    (one,) = route(store, *take(store, "1"), to=[a_delivery(filtered=state == "filtered")], answer_within_us=WITHIN)
    assert refusal(hand_in(store, an_answer())[0]) == "ANSWER_UNKNOWN"
    assert states(store) == {one.id: state}


@pytest.mark.parametrize("state", ["postponed", "routed", "failed"])
def test_what_was_tried_and_never_came_to_its_receiver_cannot_be_answered_and_after_it_did_it_can(store: Store, state: str) -> None:
    """No connection, a mailbox that was full, a mandate that was over: nobody can answer what nobody was offered."""
    (one,) = sent(store, "1")
    why = {"code": "ENDPOINT_UNREACHABLE", "owner": "receiver"} if state == "failed" else {"hold_code": "ENDPOINT_UNREACHABLE"}
    lease = lead(store)
    (tried,) = claim(store, release(store, lease))
    settle(store, outcome(tried, state, envelope=NOT_SENT, endpoint="e1", lane=LANE, receiver_system=MAILBOX, **why))
    assert refusal(hand_in(store, an_answer())[0]) == "ANSWER_UNKNOWN"
    assert states(store) == {one.id: state}
    if state == "failed":
        return
    tickets = release(store, lease) if state == "routed" else store.outbox.release_due(lease, now_us=NOW, limit=9)[0]
    settle(store, *(outcome(claimed, "postponed", hold_code="ANSWER_NOT_HEARD") for claimed in claim(store, tickets)))
    assert hand_in(store, an_answer())[0].accepted


def test_what_somebody_who_died_may_have_sent_can_be_answered(store: Store) -> None:
    one, another = sent(store, "1", "2")
    tickets = release(store, lead(store))
    (first,) = claim(store, tickets[:1])
    settle(store, outcome(first, "failed", code="Client.DK0002", envelope=MAYBE_SENT))
    assert store.outbox.fail_poison(messages=[], deliveries=tickets[1:], actor="dead-1", now_us=NOW) == (1, [])
    assert set(states(store).values()) == {"failed"}
    assert [result.accepted for result in hand_in(store, an_answer("a"), an_answer("b", to="b-2"))] == [True, True]
    assert states(store) == {one.id: "answered", another.id: "answered"}


# -- how it names it --------------------------------------------------------------------------------------------------------------------
def test_a_message_is_named_by_its_business_id_by_the_message_id_of_any_honest_retry_or_by_that_of_our_envelope(store: Store) -> None:
    made = confirmed(store, "1", "2", "3", "4")
    hand_in(store, a_message("2", message_id="urn:uuid:m-again"))
    by = {
        0: an_answer("a", to="b-1"),
        1: an_answer("b", to=None, relates_to=("urn:uuid:m-again",)),
        2: an_answer("c", to=None, relates_to=(f"urn:uuid:{made[2].id}",)),
        3: an_answer("d", to="b-4", relates_to=("urn:uuid:m-4", f"urn:uuid:{made[3].id}")),
    }
    assert all(result.accepted for result in hand_in(store, *by.values()))
    for number, answer in by.items():
        found = store.queries.message(answer.reference)
        assert found is not None
        assert found["answers"]["delivery"] == made[number].id
    assert set(states(store).values()) == {"answered"}


def test_of_a_message_to_several_receivers_each_answers_its_own(store: Store) -> None:
    other = "00000001800000003000"
    to = [a_delivery(), a_delivery(target="ander", receiver=other, receiver_system="00000001900000003000", lane="mailbox 3")]
    route(store, *take(store, "1"), to=to, answer_within_us=WITHIN)
    deliver(store, lead(store))
    hand_in(store, an_answer(sender=other))
    assert states(store) == {to[0].id: "delivered", to[1].id: "answered"}
    (wrong,) = hand_in(store, an_answer("b", relates_to=(f"urn:uuid:{to[1].id}",)))
    assert refusal(wrong) == "Client.DK0011"
    (good,) = hand_in(store, an_answer("b", relates_to=(f"urn:uuid:{to[0].id}",)))
    assert good.accepted
    assert set(states(store).values()) == {"answered"}


@pytest.mark.parametrize("id", ["b", "b-1:x", "%"])
def test_a_name_is_the_whole_of_an_id_and_not_its_beginning(store: Store, id: str) -> None:
    route(store, *take(store, "1", business_id=f"{id}:y"), answer_within_us=WITHIN)
    deliver(store, lead(store))
    assert refusal(hand_in(store, an_answer(to=id))[0]) == "ANSWER_UNKNOWN"
    assert hand_in(store, an_answer(to=f"{id}:y"))[0].accepted


def test_two_senders_may_use_one_business_id_and_the_answer_goes_to_the_one_it_is_addressed_to(store: Store) -> None:
    other = "00000001800000009000"
    (one, another) = [*sent(store, "1"), *sent(store, "2", sender=other, business_id="b-1")]
    deliver(store, lead(store))
    hand_in(store, an_answer(receiver=other))
    assert states(store) == {one.id: "delivered", another.id: "answered"}


# -- what is refused --------------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"to": "b-9"}, "ANSWER_UNKNOWN"),
        ({"to": None, "relates_to": ("urn:uuid:m-9",)}, "ANSWER_UNKNOWN"),
        ({"sender": "00000001800000009000"}, "ANSWER_UNKNOWN"),
        ({"receiver": "00000001800000009000"}, "ANSWER_UNKNOWN"),
        ({"answer": Answer(fact="f", business_id="b-1", relates_to=(), kinds=("other",))}, "ANSWER_UNKNOWN"),
        ({"relates_to": ("urn:uuid:m-2",)}, "Client.DK0011"),
        ({"relates_to": ("urn:uuid:m-9",)}, "Client.DK0011"),
        ({"to": "b-9", "relates_to": ("urn:uuid:m-1",)}, "Client.DK0011"),
    ],
    ids=[
        "unknown id",
        "unknown MessageID",
        "not delivered to this one",
        "not sent by that one",
        "not of this kind",
        "two",
        "one unknown",
        "id unknown",
    ],
)
def test_an_answer_that_fits_nothing_is_refused_with_a_code_and_an_owner_and_does_not_use_up_its_ids(
    store: Store, changes: dict[str, Any], code: str
) -> None:
    confirmed(store, "1", "2")
    (result,) = hand_in(store, an_answer(**changes))
    assert refusal(result) == code
    assert code in str(result.reason)
    (row,) = run_sql(store, "SELECT code, owner, reference FROM refusal")
    assert (row.code, row.owner) == (code, "supplier")
    assert kinds(store, row.reference) == ["refused"]
    assert set(states(store).values()) == {"acknowledged"}
    assert hand_in(store, an_answer())[0].accepted, "with the same ids"


def test_an_answer_that_may_not_follow_in_its_stream_closes_nothing(store: Store) -> None:
    (one,) = confirmed(store, "1")

    def never(*_: object) -> Judgement:
        return Judgement("STATUS_ORDER")

    (result,) = hand_in(store, an_answer(step=StreamStep(key=b"k" * 32, number=1, status="A")), judge_step=never)
    assert refusal(result) == "STATUS_ORDER"
    assert states(store) == {one.id: "acknowledged"}
    assert hand_in(store, an_answer(step=StreamStep(key=b"k" * 32, number=1, status="A")))[0].accepted


# -- more than one ----------------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("together", [True, False], ids=["in one batch", "one after another"])
def test_a_second_answer_is_carried_with_a_warning_in_its_receipt(store: Store, together: bool) -> None:
    (one,) = confirmed(store, "1")
    first, second = an_answer("a"), an_answer("b")
    results = hand_in(store, first, second) if together else [hand_in(store, answer)[0] for answer in (first, second)]
    assert [result.accepted for result in results] == [True, True]
    assert results[0].warnings == ()
    assert "already (answered)" in results[1].warnings[0]
    assert "al afgesloten" in results[1].warnings[0]
    (reference,) = [r.reference for r in run_sql(store, "SELECT reference FROM message WHERE business_id = 'b-1'")]
    assert kinds(store, reference)[-2:] == ["answered", "answered_again"]
    assert told(store) == [("acknowledged", None), ("answered", None)]
    shown = store.queries.message(reference)
    assert shown is not None
    assert shown["deliveries"][0]["answers"] == [first.reference, second.reference]
    assert states(store) == {one.id: "answered"}
    (again,) = hand_in(store, an_answer("b", reference="new"))
    assert (again.duplicate, again.reference, again.warnings) == (True, second.reference, results[1].warnings)


def test_an_answer_handed_in_again_or_committed_unheard_closes_once(store: Store) -> None:
    confirmed(store, "1")
    answer = an_answer()
    (first,) = hand_in(store, answer)
    (unheard,) = hand_in(store, answer)
    (repeat,) = hand_in(store, an_answer(reference="another"))
    assert (unheard.warnings, unheard.duplicate) == ((), False)
    assert (repeat.duplicate, repeat.reference, repeat.warnings) == (True, first.reference, ())
    assert told(store).count(("answered", None)) == 1
    assert kinds(store, answer.reference) == ["received", "answers", "duplicate"]


def test_of_answers_that_come_at_the_same_moment_one_closes(store: Store) -> None:
    names = [str(n) for n in range(20)]
    confirmed(store, *names)
    batches = [[an_answer(f"{who}-{name}", to=f"b-{name}") for name in order] for who, order in (("x", names), ("y", names[::-1]))]
    ready = threading.Barrier(2)
    results: list[HandInResult] = []

    def act(batch: list[NewMessage]) -> None:
        ready.wait()
        results.extend(hand_in(store, *batch))

    threads = [threading.Thread(target=act, args=(batch,)) for batch in batches]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert [result.accepted for result in results] == [True] * 40
    assert sum(bool(result.warnings) for result in results) == 20
    assert told(store).count(("answered", None)) == 20
    assert set(states(store).values()) == {"answered"}


# -- the clock --------------------------------------------------------------------------------------------------------------------------
def test_an_answer_that_does_not_come_in_time_is_a_failure_of_the_receivers_and_is_told(store: Store) -> None:
    (one,) = sent(store, "1")
    (other,) = route(store, *take(store, "2"))  # of a kind without answers
    deliver(store, lead(store))
    confirm(store, one.id, other.id)
    assert store.outbox.unanswered(actor="timetable-1", now_us=NOW + WITHIN) == 0
    assert store.outbox.unanswered(actor="timetable-1", now_us=NOW + WITHIN + 1) == 1
    (row,) = run_sql(store, "SELECT id, code, owner FROM delivery WHERE state = 'failed'")
    assert tuple(row) == (one.id, "ANSWER_MISSING", "receiver")
    assert states(store)[other.id] == "acknowledged"
    assert told(store)[-1] == ("failed", "ANSWER_MISSING")
    assert store.outbox.unanswered(actor="timetable-1", now_us=NOW + WITHIN + 2) == 0


def test_what_waits_for_an_answer_is_shown_as_open_until_it_comes(store: Store) -> None:
    (one,) = confirmed(store, "1")
    deliver_another = route(store, *take(store, "2"))
    assert {row["id"] for row in store.queries.outbox(OutboxFilter())} == {one.id, deliver_another[0].id}
    answer = an_answer()
    hand_in(store, answer)
    route(store, answer.reference)
    assert one.id not in {row["id"] for row in store.queries.outbox(OutboxFilter())}


def test_a_body_is_kept_while_an_answer_to_it_is_awaited(store: Store) -> None:
    confirmed(store, "1")
    long_after = {"now_us": NOW + 300 * DAY, "retention_us": {ACTION: DAY}}
    assert store.outbox.erase_finished(**long_after) == 0  # type: ignore[arg-type]
    hand_in(store, an_answer())
    assert store.outbox.erase_finished(**long_after) == 1  # type: ignore[arg-type]


# -- everything else --------------------------------------------------------------------------------------------------------------------
def test_a_batch_without_answers_asks_the_store_nothing_about_them(store: Store) -> None:
    statements: list[str] = []
    event.listen(store.database.engine, "before_cursor_execute", lambda *call: statements.append(call[2]))
    hand_in(store, a_message("1"), a_message("2"))
    plain = len(statements)
    assert not [statement for statement in statements if "answer" in statement or "FROM delivery" in statement]
    (one,) = sent(store, "3")
    deliver(store, lead(store))
    statements.clear()
    hand_in(store, an_answer(to="b-3"), a_message("4"))
    assert states(store)[one.id] == "answered"
    assert len(statements) > plain
