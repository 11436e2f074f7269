"""Repairs: what failed is offered again by an operator, and the journal says by whom."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import run as program
from adapters.store import OutboxFilter, Store, open_store
from adapters.store.repair import CannotRetry, Retried
from routing.work import RoutedMessage, Ticket
from tests.support.store import (
    NOW,
    SECOND,
    a_refusal,
    confirm,
    deliver,
    fresh_url,
    hand_in,
    kinds,
    lead,
    release,
    route,
    run_sql,
    states,
    take,
)

WHO = "operator anna"


def fails_at_routing(store: Store, name: str = "1", code: str = "ROUTE_MANDATE_REVOKED") -> str:
    """A message that failed as a whole; its reference."""
    (reference,) = take(store, name)
    _fail(store, reference, code)
    return reference


def _fail(store: Store, reference: str, code: str) -> None:
    seq = run_sql(store, "SELECT seq FROM message WHERE reference = :r", r=reference)[0].seq
    (message,) = store.outbox.routable([Ticket(seq, 1)])
    failed = RoutedMessage(message=message, deliveries=(), code=code, owner="school", reason="revoked")
    assert store.outbox.commit_routes([failed], actor="route-1", now_us=NOW) == 1


def poison(store: Store, ticket: Ticket) -> int:
    return store.outbox.fail_poison(messages=[ticket], deliveries=[], actor="dead-1", now_us=NOW)[0]


def message_of(store: Store, reference: str) -> dict[str, Any]:
    found = store.queries.message(reference)
    assert found is not None
    return found


def test_a_message_that_failed_as_a_whole_is_routed_when_it_is_offered_again(store: Store) -> None:
    lease, reference = lead(store), fails_at_routing(store)
    assert store.outbox.unclaimed(now_us=NOW)[0] == []
    nudge = store.registry.note("nudge")
    assert store.repair.retry(reference, actor=WHO, now_us=NOW + SECOND) == Retried(message=True, deliveries=0)
    assert store.registry.note("nudge") != nudge, "the relay is told to look"
    (ticket,) = store.outbox.unclaimed(now_us=NOW)[0]
    assert (ticket.seq, ticket.release) == (1, 1)
    assert [row["reference"] for row in store.queries.outbox(OutboxFilter())] == [reference], "it is open again"
    assert store.queries.failures() == []
    assert store.queries.open_deliveries() == 1
    (made,) = route(store, reference)
    assert store.outbox.unclaimed(now_us=NOW)[0] == []
    deliver(store, lease)
    confirm(store, made.id)
    found = message_of(store, reference)
    assert (found["state"], found["code"], found["owner"]) == ("routed", None, None)
    assert kinds(store, reference) == ["received", "failed", "retried", "routed", "delivered", "acknowledged"]
    retried = store.journal.of_message(reference)[2]
    assert (retried.actor, retried.details, retried.message_id) == (WHO, {"failed": "ROUTE_MANDATE_REVOKED"}, "urn:uuid:m-1")


def test_a_message_that_is_offered_again_in_vain_fails_again_and_its_sender_is_told_again(store: Store) -> None:
    reference = fails_at_routing(store)
    for round_ in (1, 2):
        store.repair.retry(reference, actor=WHO, now_us=NOW + round_)
        _fail(store, reference, "ROUTE_MANDATE_REVOKED")
    found = message_of(store, reference)
    assert (found["state"], found["code"], found["release"]) == ("failed", "ROUTE_MANDATE_REVOKED", 2)
    assert kinds(store, reference) == ["received", "failed", "retried", "failed", "retried", "failed"]
    assert [telling.event.code for telling in store.journal.untold(now_us=NOW)] == ["ROUTE_MANDATE_REVOKED"] * 3
    assert store.queries.counts()["failed_messages"] == {"ROUTE_MANDATE_REVOKED": 1}


def test_a_poisonous_message_that_is_offered_again_can_end_as_poison_again(store: Store) -> None:
    (reference,) = take(store, "1")
    (ticket,) = store.outbox.release_messages(lead(store), window=9, limit=9)
    assert poison(store, ticket) == 1
    store.repair.retry(reference, actor=WHO, now_us=NOW)
    assert poison(store, Ticket(ticket.seq, ticket.release + 1)) == 1
    assert message_of(store, reference)["code"] == "POISON"


def test_a_ticket_of_before_routes_no_message_that_failed_and_was_not_offered_again(store: Store) -> None:
    fails_at_routing(store)
    assert store.outbox.routable([Ticket(1, 1)]) == []
    assert poison(store, Ticket(1, 0)) == poison(store, Ticket(1, 1)) == 0


def test_of_two_routers_that_hold_its_ticket_one_routes_a_message_offered_again(store: Store) -> None:
    reference = fails_at_routing(store)
    store.repair.retry(reference, actor=WHO, now_us=NOW)
    (message,) = store.outbox.routable([Ticket(1, 1)])
    route(store, reference)
    late = RoutedMessage(message=message, deliveries=(), code="ROUTE_MANDATE_REVOKED", owner="school")
    assert store.outbox.commit_routes([late], actor="route-2", now_us=NOW) == 0
    assert message_of(store, reference)["state"] == "routed"


def test_failed_deliveries_are_released_again_with_the_same_ids(store: Store) -> None:
    lease = lead(store)
    made = route(store, *take(store, "1"))
    (claimed,) = deliver(store, lease, "failed", code="ENDPOINT_UNREACHABLE", owner="receiver")
    assert store.repair.retry(claimed.reference, actor=WHO, now_us=NOW) == Retried(message=False, deliveries=1)
    assert states(store) == {made[0].id: "released"}
    assert [ticket.release for ticket in store.outbox.unclaimed(now_us=NOW)[1]] == [2]
    retried = store.journal.of_message(claimed.reference)[-1]
    assert (retried.kind, retried.actor, retried.delivery) == ("retried", WHO, made[0].id)
    assert release(store, lease) == []


def test_what_cannot_be_offered_again_is_said_with_the_reason_and_changes_nothing(store: Store) -> None:
    refused = hand_in(store, a_refusal(code="Client.DK0004"))[0].reference
    fine, erased = take(store, "1", "2")
    route(store, fine)
    _fail(store, erased, "POISON")
    run_sql(store, "UPDATE message SET kept = false WHERE reference = :r", r=erased)
    twice = fails_at_routing(store, "3")
    store.repair.retry(twice, actor=WHO, now_us=NOW)
    events = run_sql(store, "SELECT count(*) AS n FROM event")[0].n
    for reference, sentence in (
        (refused, r"was refused at hand-in \(Client.DK0004\)"),
        (fine, "Nothing of .* has failed: the message is routed, its deliveries are: 1 routed"),
        (erased, "was erased at the end of its retention"),
        (twice, "is being offered to routing again already"),
        ("unknown", "There is no message unknown"),
    ):
        with pytest.raises(CannotRetry, match=sentence):
            store.repair.retry(reference, actor=WHO, now_us=NOW)
    assert run_sql(store, "SELECT count(*) AS n FROM event")[0].n == events


def test_the_command_says_what_it_did_and_exits_0_only_then(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    url = fresh_url("sqlite", tmp_path)
    store = open_store(url)
    reference = fails_at_routing(store)
    monkeypatch.setenv("KOPPELPUNT_STORE", url)
    monkeypatch.setenv("SUDO_USER", "anna")
    assert program.main(["retry", "urn:uuid:m-1", "--home", str(tmp_path), "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"reference": reference, "message": True, "deliveries": 0, "superseded": 0}
    assert store.journal.of_message(reference)[-1].actor == WHO
    assert program.main(["retry", reference, "--home", str(tmp_path)]) == 1
    said = capsys.readouterr()
    assert (said.out, said.err.count("\n")) == ("", 1)
    assert said.err.startswith(f"koppelpunt: {reference} is being offered to routing again already")
    store.close()
