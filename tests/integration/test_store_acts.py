"""What each action does to what fell out: return, redirect, close and reopen, offer anew; and what is superseded instead."""

from __future__ import annotations

import json
from typing import Any

import pytest

from adapters.store import Store
from adapters.store.repair import CannotRetry, Retried
from routing.actions import Action, CannotAct, Why
from routing.jobs import Figures
from routing.register import read_register
from routing.work import RoutedMessage, Ticket
from tests.support.board import fail_whole, keep, on_board
from tests.support.jobs import ALL, ANNA, DOCUMENT, OTHER, Bench
from tests.support.store import (
    DAY,
    LANE,
    MAILBOX,
    NOW,
    RECEIVER,
    SECOND,
    SENDER,
    SYSTEM,
    a_delivery,
    confirm,
    deliver,
    kinds,
    route,
    run_sql,
    states,
    take,
)
from workers.audit import to_tell


@pytest.fixture
def bench(store: Store) -> Bench:
    return Bench(store)


def told(store: Store, now_us: int = NOW + DAY) -> list[dict[str, Any]]:
    """What goes to the systems' receipt queues, oldest first."""
    return [json.loads(to_tell(telling).body) | {"to": telling.system} for telling in store.journal.untold(now_us=now_us)]


def the_delivery(store: Store, reference: str) -> Any:
    statement = "SELECT d.* FROM delivery d JOIN message m ON m.seq = d.message_seq WHERE m.reference = :r ORDER BY d.seq"
    return run_sql(store, statement, r=reference)


# -- return -------------------------------------------------------------------------------------------------------------------------------
def test_a_retour_tells_the_system_whose_it_is_what_was_wrong_and_whether_to_deliver_again(bench: Bench, store: Store) -> None:
    (reference,) = bench.fail("1", code="NOT_OUR_RESIDENT")
    job = bench.confirm(bench.preview(Action.RETURN, reference), reason="agreed with Jan of the municipality")
    assert job.figures == Figures(succeeded=1)
    said = told(store)[-1]
    assert said == {
        "to": SYSTEM,
        "reference": reference,
        "state": "returned",
        "code": "NOT_OUR_RESIDENT",
        "owner": "receiver",
        "remedy": said["remedy"],
        "receiver": RECEIVER,
        "reason": None,
        "message_id": "urn:uuid:m-1",
        "business_id": "b-1",
        "deliver_again": True,
    }
    assert "woonadres" in said["remedy"]
    assert "Jan" not in str(said), "what a person writes for the journal stays here"
    returned = store.journal.of_message(reference)[-1]
    assert (returned.kind, returned.actor, returned.sender) == ("returned", ANNA, SENDER)
    assert returned.details["why"] == "agreed with Jan of the municipality"


def test_a_retour_is_seen_in_the_status_that_a_system_asks_for(bench: Bench, store: Store) -> None:
    (reference,) = bench.fail("1", code="RECEIVER_DUPLICATE")
    bench.act(Action.RETURN, reference)
    (status,) = store.enquiries.by_reference(SYSTEM, reference)
    (delivery,) = status.deliveries
    assert (delivery.state, delivery.code, delivery.deliver_again) == ("returned", "RECEIVER_DUPLICATE", False)
    assert status.deliver_again is None


@pytest.mark.parametrize("wanted", (True, False))
def test_whether_to_deliver_again_can_be_said_by_the_person(bench: Bench, store: Store, wanted: bool) -> None:
    (reference,) = bench.fail("1", code="RECEIVER_DUPLICATE")
    bench.act(Action.RETURN, reference, deliver_again=wanted)
    assert told(store)[-1]["deliver_again"] is wanted
    assert store.enquiries.by_reference(SYSTEM, reference)[0].deliveries[0].deliver_again is wanted


def test_a_message_that_failed_as_a_whole_is_returned_and_leaves_the_board(bench: Bench, store: Store) -> None:
    (reference,) = take(store, "1")
    fail_whole(store, reference, code="ROUTE_MANDATE_REVOKED")
    keep(store)
    assert on_board(store)
    bench.confirm(bench.preview(Action.RETURN, code="ROUTE_MANDATE_REVOKED"))
    assert told(store)[-1]["state"] == "returned"
    (status,) = store.enquiries.by_reference(SYSTEM, reference)
    assert (status.state, status.deliver_again, status.code) == ("returned", True, "ROUTE_MANDATE_REVOKED")
    keep(store)
    assert on_board(store) == {}


def test_what_is_returned_cannot_be_offered_again_but_anew(bench: Bench, store: Store) -> None:
    (reference,) = bench.fail("1")
    bench.act(Action.RETURN, reference)
    with pytest.raises(CannotAct, match="Nothing of it can be done"):
        bench.act(Action.RETRY, reference)
    assert bench.preview(Action.RESEND, reference).acts == 1


def test_once_its_body_is_erased_it_can_only_be_returned(bench: Bench, store: Store) -> None:
    (reference,) = bench.fail("1")
    bench.act(Action.ARCHIVE, reference)
    run_sql(store, "UPDATE message SET kept = false")
    run_sql(store, "UPDATE body SET wrapped_key = NULL, facts = NULL, body = NULL")
    for action in (Action.REOPEN, Action.RESEND, Action.RETRY):
        assert bench.preview(action, reference).not_possible == {Why.ERASED: 1}
    bench.act(Action.RETURN, reference)
    assert kinds(store, reference)[-1] == "returned"
    assert set(states(store).values()) == {"returned"}


def test_what_was_not_fetched_in_time_and_is_returned_leaves_the_mailbox(bench: Bench, store: Store) -> None:
    (reference,) = take(store, "1")
    (made,) = route(store, reference)
    deliver(store, bench.relay)
    store.outbox.unfetched(actor="timetable-1", now_us=NOW + 2 * DAY, fetch_within_us={"proef/1/proefBericht": DAY})
    bench.act(Action.RETURN, reference)
    assert store.mailboxes.due(NOW + 3 * DAY) == MAILBOX, "its copy is looked for"
    assert store.mailboxes.copies([made.id])[0].receiver_system is None
    assert confirm(store, made.id) == []
    assert states(store) == {made.id: "returned"}, "nobody can confirm it any more"


# -- close and reopen ---------------------------------------------------------------------------------------------------------------------
def test_what_is_closed_without_delivery_can_be_reopened_with_its_code_and_then_be_offered_again(bench: Bench, store: Store) -> None:
    (reference,) = bench.fail("1")
    bench.act(Action.ARCHIVE, reference)
    keep(store)
    assert on_board(store) == {}
    bench.act(Action.REOPEN, reference)
    keep(store)
    assert [(kind, state, code) for kind, state, code in on_board(store).values()] == [("delivery", "failed", "ENDPOINT_REFUSES_US")]
    bench.act(Action.RETRY, reference)
    assert bench.deliver() == 1
    assert kinds(store, reference) == ["received", "routed", "failed", "archived", "reopened", "retried", "acknowledged"]


def test_a_message_that_failed_as_a_whole_is_closed_reopened_and_routed_again(bench: Bench, store: Store) -> None:
    (reference,) = take(store, "1")
    fail_whole(store, reference, code="POISON")
    for action in (Action.ARCHIVE, Action.REOPEN):
        bench.act(action, reference)
    job = bench.act(Action.RETRY, reference)
    assert bench.preview(Action.RETRY, reference).not_possible == {Why.AGAIN: 1}
    assert bench.step(job.id)
    assert bench.job(job.id).figures == Figures(under_way=1)
    route(store, reference)
    while bench.step(job.id):
        pass
    assert bench.job(job.id).figures == Figures(succeeded=1)
    assert kinds(store, reference) == ["received", "failed", "archived", "reopened", "retried", "routed"]


def test_a_message_that_fails_at_routing_again_is_a_failure_of_the_job(bench: Bench, store: Store) -> None:
    (reference,) = take(store, "1")
    fail_whole(store, reference, code="POISON")
    job = bench.act(Action.RETRY, reference)
    fail_whole(store, reference, code="ROUTE_UNKNOWN_PARTY")
    while bench.step(job.id):
        pass
    assert [(one.state, one.why) for one in bench.desk.results(ALL, job.id)] == [("failed", "ROUTE_UNKNOWN_PARTY")]


# -- redirect -----------------------------------------------------------------------------------------------------------------------------
def test_a_failure_is_redirected_to_another_endpoint_that_the_register_allows_now(bench: Bench, store: Store) -> None:
    (reference,) = bench.fail("1")
    delivery = the_delivery(store, reference)[0]
    assert [place.endpoint for place in bench.desk.places(ALL, delivery.id)] == ["e1", "e2"]
    bench.act(Action.REDIRECT, reference, endpoint="e2")
    (after,) = the_delivery(store, reference)
    assert (after.state, after.endpoint, after.lane, after.receiver_system) == ("routed", "e2", f"mailbox {OTHER}", OTHER)
    assert (after.id, after.code) == (delivery.id, None)
    redirected = store.journal.of_message(reference)[-1]
    assert redirected.details | {"job": ""} == {"was": "e1", "to": "e2", "why": "mended", "job": ""}
    assert bench.deliver() == 1


def test_a_redirect_to_a_place_that_is_not_allowed_is_refused(bench: Bench, store: Store) -> None:
    (reference,) = bench.fail("1")
    preview = bench.preview(Action.REDIRECT, reference, endpoint="e3")
    assert (preview.acts, preview.not_possible) == (0, {Why.NOT_ALLOWED: 1})
    with pytest.raises(CannotAct, match="Nothing of it can be done"):
        bench.confirm(preview)
    with pytest.raises(CannotAct, match="no endpoint nowhere"):
        bench.preview(Action.REDIRECT, reference, endpoint="nowhere")
    with pytest.raises(CannotAct, match="names the endpoint"):
        bench.preview(Action.REDIRECT, reference)
    assert the_delivery(store, reference)[0].state == "failed"


def test_an_endpoint_whose_mandate_ended_since_the_preview_gets_nothing(bench: Bench, store: Store) -> None:
    references = bench.fail(*map(str, range(3)))
    job = bench.confirm(bench.preview(Action.REDIRECT, code="ENDPOINT_REFUSES_US", endpoint="e2"), trial=1)
    mandates = [row for row in DOCUMENT["mandates"] if row["system"] != OTHER]
    bench.register = read_register(DOCUMENT | {"mandates": mandates}, version=2)
    while bench.step(job.id):
        pass
    assert bench.job(job.id).figures == Figures(skipped=3)
    assert {kinds(store, reference)[-1] for reference in references} == {"failed"}


def test_what_waits_for_an_endpoint_or_its_next_attempt_is_redirected_too(bench: Bench, store: Store) -> None:
    waiting, postponed = take(store, "waiting", "postponed")
    route(store, waiting, to=[a_delivery(endpoint=None, lane=None, receiver_system=None, hold_code="ROUTE_AMBIGUOUS", owner="school")])
    route(store, postponed)
    deliver(store, bench.relay, "postponed", hold_code="ENDPOINT_UNREACHABLE", not_before_us=NOW + DAY)
    keep(store)
    found = bench.preview(Action.REDIRECT, dienst="proef", endpoint="e2")
    assert (found.acts, found.codes) == (2, {}), "what something waits for is not why it failed"
    for reference in (waiting, postponed):
        job = bench.act(Action.REDIRECT, reference, endpoint="e2")
        bench.step(job.id)
        assert bench.job(job.id).figures == Figures(under_way=1), "it was postponed before, and not since"
    tickets, _ = store.outbox.release_due(bench.relay, now_us=bench.clock.at_us, limit=10)
    assert len(tickets) == 1
    assert [row.receiver_system for row in run_sql(store, "SELECT receiver_system FROM delivery")] == [OTHER, OTHER]
    assert store.mailboxes.due(NOW + DAY) == MAILBOX, "a copy of what was tried may stand where it was"


# -- anew ---------------------------------------------------------------------------------------------------------------------------------
def test_after_a_final_state_the_same_message_is_offered_anew_as_a_linked_delivery_of_its_own(bench: Bench, store: Store) -> None:
    (reference,) = take(store, "1")
    (first,) = route(store, reference)
    deliver(store, bench.relay)
    confirm(store, first.id)
    job = bench.confirm(bench.preview(Action.RESEND, reference), reason="the receiver restored a backup of last week")
    old, new = the_delivery(store, reference)
    assert (old.state, new.state, new.again_of) == ("acknowledged", "routed", old.seq)
    assert new.id != old.id
    assert (new.receiver, new.target, new.message_seq) == (old.receiver, old.target, old.message_seq)
    assert new.deadline_us == NOW + 30 * DAY, "as long as the first one had"
    (waits,) = [event for event in store.journal.of_message(reference) if event.delivery == new.id]
    assert (waits.kind, waits.code) == ("waiting", "ROUTE_AMBIGUOUS"), "the register has two places for it now"
    assert waits.details["again_of"] == old.id
    resent = next(event for event in store.journal.of_message(reference) if event.kind == "resent")
    assert (resent.delivery, resent.details["new"], resent.details["why"]) == (
        old.id,
        new.id,
        "the receiver restored a backup of last week",
    )
    bench.step(job.id)
    assert bench.job(job.id).figures == Figures(failed=1), "it waits for the register"
    bench.act(Action.REDIRECT, new.id, endpoint="e1")
    (claimed,) = deliver(store, bench.relay)
    assert (claimed.again_of, claimed.message_id, claimed.attempts) == (old.seq, "urn:uuid:m-1", 0)


def test_what_has_not_ended_is_not_offered_anew(bench: Bench, store: Store) -> None:
    (reference,) = bench.fail("1")
    assert bench.preview(Action.RESEND, reference).not_possible == {Why.NOT_FINAL: 1}


def test_something_without_a_place_goes_to_where_the_register_has_it_now_or_waits_for_it(bench: Bench, store: Store) -> None:
    placeless = {"endpoint": None, "lane": None, "receiver_system": None, "hold_code": "ROUTE_NO_ENDPOINT", "owner": "school"}
    (reference,) = take(store, "1")
    route(store, reference, to=[a_delivery(deadline_us=NOW - SECOND, **placeless)])
    assert store.outbox.expire(actor="timetable-1", now_us=NOW) == 1
    job = bench.act(Action.RETRY, reference)
    (after,) = the_delivery(store, reference)
    assert (after.state, after.hold_code, after.endpoint) == ("routed", "ROUTE_AMBIGUOUS", None)
    assert after.deadline_us == NOW + DAY
    assert [decision["question"] for decision in store.journal.decisions_of(reference)][-1] == "endpoint"
    bench.step(job.id)
    assert bench.job(job.id).figures == Figures(failed=1)


# -- older states -------------------------------------------------------------------------------------------------------------------------
def a_state(bench: Bench, name: str, became: str = "acknowledged", order: str = "leerling", **more: Any) -> str:
    """A state message of the same pupil, and what became of it."""
    store = bench.store
    (reference,) = take(store, name, order=order)
    route(store, reference, newest_replaces=True, **more)
    failing = {"code": "ENDPOINT_REFUSES_US", "owner": "receiver"} if became == "failed" else {}
    deliver(store, bench.relay, became, **failing)
    keep(store)
    return reference


def test_an_older_state_becomes_superseded_and_is_not_sent_when_it_is_offered_again(bench: Bench, store: Store) -> None:
    old, new = a_state(bench, "old", "failed"), a_state(bench, "new")
    other = a_state(bench, "other", "failed", order="another pupil")
    preview = bench.preview(code="ENDPOINT_REFUSES_US")
    assert (preview.count, preview.acts, preview.superseded) == (2, 1, 1)
    job = bench.confirm(preview)
    assert job.figures == Figures(under_way=1, superseded=1)
    assert kinds(store, old)[-1] == "superseded"
    assert store.journal.of_message(old)[-1].details["by"] == new
    assert kinds(store, other)[-1] == "retried"
    assert bench.deliver() == 1


def test_of_two_failed_states_only_the_newer_is_sent(bench: Bench, store: Store) -> None:
    old, new = a_state(bench, "old", "failed"), a_state(bench, "new", "failed")
    bench.confirm(bench.preview(code="ENDPOINT_REFUSES_US"))
    assert (kinds(store, old)[-1], kinds(store, new)[-1]) == ("superseded", "retried")


def test_a_newer_state_that_comes_between_preview_and_turn_is_seen(bench: Bench, store: Store) -> None:
    old = a_state(bench, "old", "failed")
    preview = bench.preview(code="ENDPOINT_REFUSES_US")
    assert preview.superseded == 0
    a_state(bench, "new")
    assert bench.confirm(preview).figures == Figures(superseded=1)
    assert kinds(store, old)[-1] == "superseded"


def test_an_older_state_is_not_redirected_or_offered_anew_either(bench: Bench, store: Store) -> None:
    failed, delivered = a_state(bench, "failed", "failed"), a_state(bench, "delivered")
    a_state(bench, "new")
    assert bench.preview(Action.RESEND, delivered).not_possible == {Why.NEWER: 1}
    assert bench.preview(Action.REDIRECT, failed, endpoint="e2").superseded == 1


def test_messages_of_which_every_one_counts_are_never_superseded(bench: Bench, store: Store) -> None:
    old, _ = (take(store, name, order="keten")[0] for name in ("old", "new"))
    for reference in run_sql(store, "SELECT reference FROM message ORDER BY seq"):
        route(store, reference.reference)
        deliver(store, bench.relay, "failed", code="ENDPOINT_REFUSES_US", owner="receiver")
    assert bench.preview(Action.RETRY, old).acts == 1


def test_one_message_that_is_offered_again_by_its_id_is_compared_with_what_came_since(bench: Bench, store: Store) -> None:
    old = a_state(bench, "old", "failed")
    a_state(bench, "new")
    assert store.repair.retry(old, actor=ANNA, now_us=NOW) == Retried(message=False, deliveries=0, superseded=1)
    assert kinds(store, old)[-1] == "superseded"


def test_an_older_state_that_is_routed_late_is_superseded_at_once(bench: Bench, store: Store) -> None:
    (old,) = take(store, "old", order="leerling")
    fail_whole(store, old, code="POISON")
    new = a_state(bench, "new")
    store.repair.retry(old, actor=ANNA, now_us=NOW)
    route(store, old, newest_replaces=True)
    assert kinds(store, old)[-2:] == ["routed", "superseded"]
    assert store.journal.of_message(old)[-1].details == {"by": new}


def test_states_from_before_the_upgrade_are_read_before_anything_is_offered_again(bench: Bench, store: Store) -> None:
    old, _ = a_state(bench, "old", "failed"), a_state(bench, "new")
    run_sql(store, "DELETE FROM newest")
    run_sql(store, "UPDATE counter SET value = (SELECT max(seq) FROM delivery) WHERE name = 'newest_until'")
    with pytest.raises(CannotRetry, match="still being read"):
        store.repair.retry(old, actor=ANNA, now_us=NOW)
    while store.jobs.learn(["proef/1/proefBericht"]):
        pass
    assert bench.preview(Action.RETRY, old).superseded == 1


# -- replaced -----------------------------------------------------------------------------------------------------------------------------
def test_a_new_delivery_that_names_a_failed_document_closes_its_failure(bench: Bench, store: Store) -> None:
    (failed,) = bench.fail("1")
    (new,) = take(store, "2")
    route(store, new, replaces="b-1")
    assert [row.state for row in the_delivery(store, failed)] == ["superseded"]
    closed = store.journal.of_message(failed)[-1]
    assert (closed.kind, closed.details) == ("superseded", {"by": new, "why": "vervangtBedrijfsdocument"})
    assert told(store)[-1]["state"] == "superseded"
    keep(store)
    assert list(on_board(store).values()) == [("delivery", "routed", None)]


def test_a_message_that_failed_as_a_whole_is_closed_by_what_replaces_it(bench: Bench, store: Store) -> None:
    (failed,) = take(store, "1")
    fail_whole(store, failed)
    (new,) = take(store, "2")
    route(store, new, replaces="b-1")
    assert kinds(store, failed)[-1] == "archived"


def test_nobody_closes_anothers_failure_and_a_failing_replacement_closes_none(bench: Bench, store: Store) -> None:
    (failed,) = bench.fail("1")
    (others,) = take(store, "2", sender="00000001800000005000")
    route(store, others, replaces="b-1")
    (late,) = take(store, "3")
    seq = run_sql(store, "SELECT seq FROM message WHERE reference = :r", r=late)[0].seq
    (message,) = store.outbox.routable([Ticket(seq, 1)])
    store.outbox.commit_routes(
        [RoutedMessage(message=message, deliveries=(), code="POISON", owner="us", replaces="b-1")], actor="route-1", now_us=NOW
    )
    assert [row.state for row in the_delivery(store, failed)] == ["failed"]


def test_what_is_under_way_is_not_touched_by_what_replaces_it(bench: Bench, store: Store) -> None:
    (under_way,) = take(store, "1")
    route(store, under_way)
    (new,) = take(store, "2")
    route(store, new, replaces="b-1")
    assert [row.state for row in the_delivery(store, under_way)] == ["routed"]
    assert LANE in store.outbox.lanes()
