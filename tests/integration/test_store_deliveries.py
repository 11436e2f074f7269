"""What parties say of their deliveries, and what ends by the clock, by the register, or because nobody could handle it."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from adapters.store import OutboxFilter, Store
from adapters.vault import VaultError
from routing.work import Confirmation, Ticket
from schemas.contract import MessageKind
from tests.support.store import (
    ACTION,
    DAY,
    LANE,
    MAILBOX,
    NOW,
    SECOND,
    SYSTEM,
    VAULT,
    YES,
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
    waiting_delivery,
)


def told(store: Store) -> list[tuple[str, str | None]]:
    return [(t.event.kind, t.event.code) for t in store.journal.untold(now_us=10**17)]


# -- confirmations ----------------------------------------------------------------------------------------------------------------------
def test_a_confirmed_delivery_is_acknowledged_once_and_its_sender_told_once(store: Store) -> None:
    lease = lead(store)
    (one,) = route(store, *take(store, "1"))
    deliver(store, lease)
    assert confirm(store, one.id, one.id) == []
    assert confirm(store, one.id) == []
    assert states(store) == {one.id: "acknowledged"}
    assert told(store) == [("acknowledged", None)]


def test_a_confirmation_that_overtakes_our_own_commit_is_handed_back(store: Store) -> None:
    lease = lead(store)
    (one,) = route(store, *take(store, "1"))
    (claimed,) = claim(store, release(store, lease))
    (early,) = confirm(store, one.id)
    assert early.delivery_id == one.id
    settle(store, outcome(claimed))
    assert confirm(store, one.id) == []
    assert states(store) == {one.id: "acknowledged"}


def test_the_wrong_systems_word_changes_nothing_and_is_journalled(store: Store) -> None:
    lease, references = lead(store), take(store, "1")
    (one,) = route(store, *references)
    deliver(store, lease)
    assert confirm(store, one.id, system=SYSTEM) == []
    assert confirm(store, one.id, system=SYSTEM, confirmed=False, code="NOT_OUR_RESIDENT", owner="school") == []
    assert confirm(store, "no-such-delivery") == []
    assert states(store) == {one.id: "delivered"}
    assert kinds(store, references[0]).count("confirmation_refused") == 2


def test_a_refused_delivery_has_failed_with_the_partys_code_and_owner(store: Store) -> None:
    lease, references = lead(store), take(store, "1")
    (one,) = route(store, *references)
    deliver(store, lease)
    confirm(store, one.id, confirmed=False, code="NOT_OUR_RESIDENT", owner="school", reason="moved away")
    (row,) = run_sql(store, "SELECT state, code, owner, reason FROM delivery")
    assert tuple(row) == ("failed", "NOT_OUR_RESIDENT", "school", "moved away")
    assert told(store) == [("failed", "NOT_OUR_RESIDENT")]
    confirm(store, one.id)
    assert states(store) == {one.id: "failed"}, "what was refused cannot be confirmed afterwards"


@pytest.mark.parametrize("first", [True, False], ids=["confirmed first", "refused first"])
def test_of_two_words_about_one_delivery_in_one_batch_the_first_counts(store: Store, first: bool) -> None:
    lease = lead(store)
    (one,) = route(store, *take(store, "1"))
    deliver(store, lease)
    said = [
        Confirmation(delivery_id=one.id, system=MAILBOX, confirmed=good, code=None if good else "MAILBOX_REFUSED", owner="receiver")
        for good in (first, not first)
    ]
    assert store.outbox.confirm(said, actor="deliver-1", now_us=NOW) == []
    assert states(store) == {one.id: "acknowledged" if first else "failed"}
    assert len(told(store)) == 1


def test_a_mailbox_that_is_not_emptied_in_time_has_failed_and_a_late_confirmation_still_ends_well(store: Store) -> None:
    lease = lead(store)
    (one,) = route(store, *take(store, "1"))
    deliver(store, lease)
    within = {ACTION: 5 * DAY}
    assert store.outbox.unfetched(actor="timetable-1", now_us=NOW + 5 * DAY, fetch_within_us=within) == 0
    assert store.outbox.unfetched(actor="timetable-1", now_us=NOW + 5 * DAY + 1, fetch_within_us=within) == 1
    (row,) = run_sql(store, "SELECT state, code, owner FROM delivery")
    assert tuple(row) == ("failed", "MAILBOX_NOT_FETCHED", "receiver")
    confirm(store, one.id, now_us=NOW + 6 * DAY)
    (row,) = run_sql(store, "SELECT state, code, owner FROM delivery")
    assert tuple(row) == ("acknowledged", None, None)
    assert told(store) == [("failed", "MAILBOX_NOT_FETCHED"), ("acknowledged", None)]


# -- the register -----------------------------------------------------------------------------------------------------------------------
def test_an_attempt_whose_endpoint_is_gone_waits_with_an_owner_or_goes_to_the_successor(store: Store) -> None:
    lease = lead(store)
    route(store, *take(store, "1", "2"))
    waits, moves = claim(store, release(store, lease))
    settle(
        store,
        outcome(waits, "routed", hold_code="ROUTE_NO_MANDATE", owner="school", decisions=(YES,)),
        outcome(moves, "routed", endpoint="e2", lane="mailbox next", receiver_system="next"),
    )
    assert [(w.id, w.hold_code) for w in store.outbox.waiting()] == [(waits.id, "ROUTE_NO_MANDATE")]
    assert store.outbox.lanes() == ["mailbox next"]
    assert told(store) == [("waiting", "ROUTE_NO_MANDATE")]
    (again,) = deliver(store, lease)
    assert (again.id, again.endpoint, again.receiver_system, again.release) == (moves.id, "e2", "next", 2)


def test_what_waits_is_read_page_by_page_and_released_once_resolved(store: Store) -> None:
    lease = lead(store)
    for name in "123":
        route(store, *take(store, name), to=[waiting_delivery()])
    assert store.outbox.lanes() == []
    first = store.outbox.waiting(limit=2)
    assert [w.seq for w in first + store.outbox.waiting(after=first[-1].seq, limit=2)] == [1, 2, 3]
    store.outbox.reroute_waiting([(first[0], a_delivery(id=first[0].id))], actor="timetable-1", now_us=NOW)
    assert [c.id for c in deliver(store, lease)] == [first[0].id]
    assert len(store.outbox.waiting()) == 2


def test_the_register_says_nothing_of_a_delivery_that_waits_no_more(store: Store) -> None:
    references = take(store, "1", order="k")
    route(store, *references, to=[waiting_delivery()], newest_replaces=True)
    (waiting,) = store.outbox.waiting()
    route(store, *take(store, "2", order="k"), newest_replaces=True)
    before = kinds(store, references[0])
    store.outbox.reroute_waiting([(waiting, a_delivery(decisions=(YES,)))], actor="timetable-1", now_us=NOW)
    assert kinds(store, references[0]) == before
    assert run_sql(store, "SELECT state, lane FROM delivery ORDER BY seq")[0] == ("superseded", None)


def test_at_its_deadline_a_delivery_fails_with_what_it_waited_for(store: Store) -> None:
    lease = lead(store)
    route(store, *take(store, "1"), to=[waiting_delivery(deadline_us=NOW + 1)])
    route(store, *take(store, "2"), to=[a_delivery(deadline_us=NOW + 2)])
    route(store, *take(store, "3"), to=[a_delivery(deadline_us=NOW + 1)])
    (under_way, *_) = claim(store, release(store, lease))
    settle(store, outcome(under_way, "postponed", hold_code="ENDPOINT_UNREACHABLE", owner="receiver", not_before_us=NOW + DAY))
    assert store.outbox.expire(actor="timetable-1", now_us=NOW + 1) == 0
    assert store.outbox.expire(actor="timetable-1", now_us=NOW + 2, limit=1) == 1
    assert store.outbox.expire(actor="timetable-1", now_us=NOW + 3) == 1
    rows = run_sql(store, "SELECT state, code, owner FROM delivery ORDER BY seq")
    assert [tuple(row) for row in rows] == [
        ("failed", "ROUTE_NO_ENDPOINT", "receiver"),
        ("failed", "ENDPOINT_UNREACHABLE", "receiver"),
        ("released", None, None),
    ]
    assert told(store)[-2:] == [("failed", "ROUTE_NO_ENDPOINT"), ("failed", "ENDPOINT_UNREACHABLE")]


def fail_poison(
    store: Store, messages: Sequence[Ticket] = (), deliveries: Sequence[Ticket] = (), *, now_us: int = NOW
) -> tuple[int, list[Ticket]]:
    return store.outbox.fail_poison(messages=messages, deliveries=deliveries, actor="dead-1", now_us=now_us)


# -- poison -----------------------------------------------------------------------------------------------------------------------------
def test_what_no_worker_can_handle_has_failed_and_is_the_operators(store: Store) -> None:
    lease = lead(store)
    poisonous, bad = take(store, "1", "2")
    route(store, bad)
    messages, deliveries = store.outbox.release_messages(lease, window=9, limit=9), release(store, lease)
    assert fail_poison(store, messages, [*deliveries, Ticket(99, 1)]) == (2, [])
    assert fail_poison(store, messages, deliveries) == (0, [])
    assert store.queries.message(poisonous)["state"] == "failed"  # type: ignore[index]
    assert set(states(store).values()) == {"failed"}
    assert told(store) == [("failed", "POISON")] * 2


def test_a_poisonous_release_ends_nothing_that_was_released_again_since(store: Store) -> None:
    lease = lead(store)
    route(store, *take(store, "1"))
    (first,) = release(store, lease)
    settle(store, outcome(claim(store, [first])[0], "postponed", hold_code="ENDPOINT_UNREACHABLE"))
    assert fail_poison(store, deliveries=[first]) == (0, []), "its time has not come yet"
    (second,), _ = store.outbox.release_due(lease, now_us=NOW, limit=9)
    assert second.release == first.release + 1
    assert fail_poison(store, deliveries=[first]) == (0, [])
    assert set(states(store).values()) == {"released"}
    assert fail_poison(store, deliveries=[second]) == (1, [])


def test_a_message_offered_again_is_not_ended_by_a_ticket_of_before(store: Store) -> None:
    (reference,) = take(store, "1")
    (first,) = store.outbox.release_messages(lead(store), window=9, limit=9)
    assert fail_poison(store, [first]) == (1, [])
    store.repair.retry(reference, actor="operator", now_us=NOW)
    assert fail_poison(store, [first]) == (0, [])
    (again,) = store.outbox.routable([Ticket(first.seq, first.release + 1)])
    assert fail_poison(store, [Ticket(again.seq, again.release)]) == (1, [])


def test_a_poisonous_release_is_not_ended_while_somebody_may_be_sending_it(store: Store) -> None:
    route(store, *take(store, "1"))
    (ticket,) = release(store, lead(store))
    (claimed,) = claim(store, [ticket])
    assert fail_poison(store, deliveries=[ticket]) == (0, [ticket])
    assert set(states(store).values()) == {"released"}
    assert settle(store, outcome(claimed)) == 1
    assert fail_poison(store, deliveries=[ticket]) == (0, []), "it was delivered after all"


def test_a_poisonous_release_whose_worker_died_ends_when_the_claim_does(store: Store) -> None:
    route(store, *take(store, "1"))
    (ticket,) = release(store, lead(store))
    claim(store, [ticket])
    assert fail_poison(store, deliveries=[ticket], now_us=NOW + 10 * SECOND) == (0, [ticket])
    assert fail_poison(store, deliveries=[ticket], now_us=NOW + 10 * SECOND + 1) == (1, [])
    (row,) = run_sql(store, "SELECT state, code, claim FROM delivery")
    assert tuple(row) == ("failed", "POISON", None)


@pytest.mark.parametrize("system", [MAILBOX, SYSTEM], ids=["of the receiver", "of another party"])
def test_a_dead_confirmation_stands_in_the_timeline_of_its_delivery_only_when_it_is_the_receivers(store: Store, system: str) -> None:
    (reference,) = take(store, "1")
    (made,) = route(store, reference)
    store.outbox.note_dead(
        actor="dead-1", now_us=NOW, queue=f"confirm.{system}", system=system, digest=b"d" * 32, message_id=None, delivery=made.id
    )
    assert (kinds(store, reference)[-1] == "dead") is (system == MAILBOX)
    assert run_sql(store, "SELECT count(*) AS n FROM event")[0].n == 3
    assert told(store) == []


# -- retention --------------------------------------------------------------------------------------------------------------------------
def test_a_finished_message_is_erased_after_its_retention_and_can_never_be_opened_again(store: Store) -> None:
    relay, audit = lead(store), lead(store, "audit", "audit-1")
    done, still_open = take(store, "1", "2", content="<geheim/>")[:1] + take(store, "3")
    (one,) = route(store, done)
    route(store, still_open, to=[waiting_delivery()])
    sealed = run_sql(store, "SELECT wrapped_key, body FROM body WHERE seq = 1")[0]
    assert VAULT.open(done, bytes(sealed.wrapped_key), "body", bytes(sealed.body)) == b"<x><geheim/></x>"
    deliver(store, relay)
    confirm(store, one.id)
    while store.journal.chain(audit, now_us=NOW):
        continue
    keep = {ACTION: 10 * DAY}
    assert store.outbox.erase_finished(now_us=NOW + 10 * DAY, retention_us=keep) == 0
    assert store.outbox.erase_finished(now_us=NOW + 10 * DAY + 1, retention_us=keep) == 1
    assert store.outbox.erase_finished(now_us=NOW + 10 * DAY + 1, retention_us=keep) == 0
    rows = run_sql(store, "SELECT wrapped_key, facts, body FROM body ORDER BY seq")
    assert tuple(rows[0]) == (None, None, None)
    assert rows[-1].wrapped_key is not None, "what is not finished is kept"
    with pytest.raises(VaultError):  # a copy of the body somebody kept: its key is gone, and no other opens it
        VAULT.open(done, bytes(rows[-1].wrapped_key), "body", bytes(sealed.body))
    assert store.journal.verify().whole


def test_retention_counts_from_the_end_of_the_last_delivery(store: Store) -> None:
    lease = lead(store)
    (one,) = route(store, *take(store, "1"))
    deliver(store, lease)
    confirm(store, one.id, now_us=NOW + 5 * DAY)
    assert store.outbox.erase_finished(now_us=NOW + 10 * DAY + 1, retention_us={ACTION: 10 * DAY}) == 0
    assert store.outbox.erase_finished(now_us=NOW + 15 * DAY + 1, retention_us={ACTION: 10 * DAY}) == 1


def test_a_delivery_whose_body_was_erased_is_still_handed_out_so_that_it_can_fail(store: Store) -> None:
    lease = lead(store)
    route(store, *take(store, "1"))
    run_sql(store, "UPDATE body SET wrapped_key = NULL, facts = NULL, body = NULL")
    (claimed,) = claim(store, release(store, lease))
    assert claimed.wrapped_key is claimed.body is None


# -- reading ----------------------------------------------------------------------------------------------------------------------------
def test_a_claimed_delivery_has_all_that_is_needed_to_send_it(store: Store) -> None:
    lease = lead(store)
    message = a_message("1", stale=True, expires_us=NOW + SECOND)
    hand_in(store, message)
    (one,) = route(store, message.reference)
    (claimed,) = claim(store, release(store, lease))
    assert (claimed.id, claimed.release, claimed.endpoint, claimed.receiver_system) == (one.id, 1, "e1", MAILBOX)
    assert (claimed.message_id, claimed.address, claimed.action) == (message.message_id, message.address, message.action)
    assert (claimed.receiver, claimed.message_receiver) == (one.receiver, message.receiver)
    assert claimed.stale == True  # noqa: E712 - SQLite's 1 is not `True`, but must count as it
    assert VAULT.open(claimed.reference, claimed.wrapped_key or b"", "body", claimed.body or b"") == b"<x>1</x>"


def test_people_see_what_is_open_what_failed_and_one_messages_timeline(store: Store) -> None:
    lease = lead(store)
    references = take(store, *"1234")
    made = route(store, *references[:2])
    route(store, references[2], to=[waiting_delivery()])
    deliver(store, lease)
    confirm(store, made[0].id)
    confirm(store, made[1].id, confirmed=False, code="MAILBOX_REFUSED", owner="receiver")
    assert {row["state"] for row in store.queries.outbox(OutboxFilter())} == {"routed", "received"}
    assert [row["code"] for row in store.queries.failures()] == ["MAILBOX_REFUSED"]
    assert store.queries.open_deliveries() == 1
    counts = store.queries.counts()
    assert counts["deliveries"] == {"acknowledged": 1, "failed": 1, "waiting": 1}
    shown = store.queries.message(references[0])
    assert shown is not None
    assert "order_key" not in shown
    assert store.queries.find(made[0].id) == references[0]
    assert store.queries.message("unknown") is None
    assert kinds(store, references[0]) == ["received", "routed", "delivered", "acknowledged"]
    assert [d["question"] for d in store.journal.decisions_of(references[0])] == ["sender"]


def test_the_contract_names_the_times_the_store_is_asked_for() -> None:
    """`unfetched` and `erase_finished` take their periods per action; both stand in every contract."""
    assert {"fetch_within", "retention"} <= set(MessageKind.__dataclass_fields__)


def test_lanes_name_only_what_can_be_sent(store: Store) -> None:
    assert store.outbox.lanes() == []
    route(store, *take(store, "1"))
    route(store, *take(store, "2"), to=[waiting_delivery()])
    route(store, *take(store, "3"), to=[a_delivery(lane="push x")])
    assert store.outbox.lanes() == [LANE, "push x"]
    assert store.outbox.routable([Ticket(1, 1)]) == []


def test_ids_are_recognised_for_as_long_as_they_are_kept_and_then_forgotten(store: Store) -> None:
    first = hand_in(store, a_message(received_us=1_000))[0]
    assert store.outbox.forget_ids(before_us=1_000) == 0
    repeat = hand_in(store, a_message(reference="another", received_us=2_000))[0]
    assert (repeat.duplicate, repeat.reference) == (True, first.reference)
    assert store.outbox.forget_ids(before_us=1_001) >= 1
    assert store.outbox.forget_ids(before_us=1_001) == 0
