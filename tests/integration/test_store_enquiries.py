"""What a sender asks the store: how its hand-ins stand, and a list of changes that leaves nothing out, whoever commits when."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from adapters.store import Store
from adapters.store.rows import event_row, write_events
from routing.party import Cursor, Status, WrongCursor
from routing.work import Lease, LeaseLost
from schemas.events import Event
from tests.support.store import (
    MAILBOX,
    NOW,
    SECOND,
    SENDER,
    SYSTEM,
    a_delivery,
    a_message,
    a_refusal,
    confirm,
    deliver,
    hand_in,
    lead,
    route,
    take,
    waiting_delivery,
)

OTHER = "00000001900000009000"


def chain(store: Store, lease: Lease) -> None:
    """The audit worker's turn."""
    while store.journal.chain(lease, now_us=NOW, limit=7):
        pass
    while store.enquiries.follow(lease):
        pass


def walk(store: Store, after: Cursor | None = None, *, system: str = SYSTEM, limit: int = 200) -> tuple[list[str], Cursor]:
    """References page by page, and where the list ends."""
    found: list[str] = []
    after = after or Cursor()
    while True:
        page = store.enquiries.changed(system, after, limit=limit)
        found += [status.reference for status in page.found]
        after = page.next
        if not page.more:
            return found, after


def only(found: list[Status]) -> Status:
    (status,) = found
    return status


# -- one by one --------------------------------------------------------------------------------------------------------------------------


def test_a_message_is_found_by_each_of_its_ids_with_how_its_deliveries_stand(store: Store) -> None:
    lease, (reference,) = lead(store), take(store, "1", business_id="B-Een")
    good, waits = route(store, reference, to=[a_delivery(), waiting_delivery(target="gemeente")])
    deliver(store, lease)
    asked = store.enquiries
    found = only(asked.by_reference(SYSTEM, reference))
    assert found == only(asked.by_message_id(SYSTEM, "urn:uuid:m-1"))
    assert found == only(asked.by_business_id(SYSTEM, "b-een", SENDER)) == only(asked.by_business_id(SYSTEM, "B-EEN", None))
    assert (found.state, found.code, found.sender, found.received_us) == ("routed", None, SENDER, NOW)
    assert [(one.delivery_id, one.state, one.hold_code, one.owner) for one in found.deliveries] == [
        (good.id, "delivered", None, None),
        (waits.id, "routed", "ROUTE_NO_ENDPOINT", "receiver"),
    ]
    confirm(store, good.id, confirmed=False, code="NOT_OUR_RESIDENT", owner="school", reason="moved away")
    told = only(asked.by_reference(SYSTEM, reference)).deliveries[0]
    assert (told.state, told.code, told.owner, told.reason) == ("failed", "NOT_OUR_RESIDENT", "school", "moved away")


def test_a_refusal_is_found_by_each_of_its_ids_beside_the_message_that_came_of_it_later(store: Store) -> None:
    (refused,) = hand_in(store, a_refusal(message_id="urn:uuid:m-1", business_id="B-1", sender=SENDER, details=("one", "two")))
    (accepted,) = hand_in(store, a_message("1", received_us=NOW + SECOND))
    asked = store.enquiries
    status = only(asked.by_reference(SYSTEM, refused.reference))
    assert (status.state, status.code, status.owner, status.details) == ("refused", "Client.DK0004", "supplier", ("one", "two"))
    for found in (asked.by_message_id(SYSTEM, "urn:uuid:m-1"), asked.by_business_id(SYSTEM, "b-1", None)):
        assert [one.reference for one in found] == [refused.reference, accepted.reference]
    assert [one.reference for one in asked.by_business_id(SYSTEM, "b-1", SENDER[:-1] + "9")] == []


def test_a_repeated_message_id_names_the_first_message(store: Store) -> None:
    (reference,) = take(store, "1")
    hand_in(store, a_message("2", business_id="b-1", content="1"))
    assert only(store.enquiries.by_message_id(SYSTEM, "urn:uuid:m-2")).reference == reference


def test_another_system_finds_nothing_by_any_id_and_in_no_list(store: Store) -> None:
    lease = lead(store, "audit")
    (reference,) = take(store, "1")
    (refused,) = hand_in(store, a_refusal(message_id="urn:uuid:r", business_id="r"))
    chain(store, lease)
    asked = store.enquiries
    assert walk(store)[0] == [reference, refused.reference] or walk(store)[0] == [refused.reference, reference]
    for system in (OTHER, MAILBOX):
        assert [*asked.by_reference(system, reference), *asked.by_reference(system, refused.reference)] == []
        assert [*asked.by_message_id(system, "urn:uuid:m-1"), *asked.by_message_id(system, "urn:uuid:r")] == []
        assert [*asked.by_business_id(system, "b-1", None), *asked.by_business_id(system, "r", None)] == []
        assert walk(store, system=system)[0] == []


def test_one_business_id_of_two_senders_is_two_messages_unless_one_is_named(store: Store) -> None:
    other = SENDER[:-1] + "5"
    first, second = (take(store, name, business_id="same", sender=sender)[0] for name, sender in (("1", SENDER), ("2", other)))
    take(store, "3", business_id="same", sender=SENDER[:-1] + "6", system=OTHER)
    assert {one.reference for one in store.enquiries.by_business_id(SYSTEM, "same", None)} == {first, second}
    assert only(store.enquiries.by_business_id(SYSTEM, "same", other)).reference == second


# -- everything that changed -------------------------------------------------------------------------------------------------------------


def test_the_list_goes_on_where_it_ended_and_holds_what_changed_since(store: Store) -> None:
    lease, audit = lead(store), lead(store, "audit")
    first, second = take(store, "1", "2")
    assert walk(store)[0] == [], "what the journal has not bound yet has no place in its order"
    chain(store, audit)
    found, place = walk(store)
    assert sorted(found) == sorted([first, second])
    assert walk(store, place) == ([], place)
    (one,) = route(store, second)
    deliver(store, lease)
    chain(store, audit)
    page = store.enquiries.changed(SYSTEM, place, limit=200)
    assert [(status.reference, status.deliveries[0].state) for status in page.found] == [(second, "delivered")]
    confirm(store, one.id)
    chain(store, audit)
    assert walk(store, page.next)[0] == [second]
    assert store.enquiries.newest() > page.next
    assert walk(store, store.enquiries.newest())[0] == []


@pytest.mark.parametrize("limit", [1, 2, 3, 200])
def test_pages_of_any_size_hold_the_same(store: Store, limit: int) -> None:
    references = take(store, *map(str, range(11)))
    chain(store, lead(store, "audit"))
    assert sorted(walk(store, limit=limit)[0]) == sorted(references)


def test_blocks_of_an_audit_worker_that_did_not_note_changes_are_noted_afterwards(store: Store) -> None:
    audit = lead(store, "audit")
    references = []
    for name in map(str, range(30)):  # more blocks than are looked at in one go
        references += take(store, name)
        store.journal.chain(audit, now_us=NOW)
    assert store.enquiries.follow(audit, limit=4) == 4
    assert len(walk(store)[0]) == 4
    chain(store, audit)
    assert walk(store)[0] == references, "in the order of the journal"


def test_who_is_no_leader_any_more_notes_nothing(store: Store) -> None:
    audit = lead(store, "audit")
    (reference,) = take(store, "1")
    store.journal.chain(audit, now_us=NOW)
    store.registry.give_lease(audit)
    newer = lead(store, "audit", "audit-2", now_us=NOW + 1)
    with pytest.raises(LeaseLost):
        store.enquiries.follow(audit)
    assert walk(store)[0] == []
    chain(store, newer)
    assert walk(store)[0] == [reference]


def test_what_commits_after_a_reader_looked_is_in_the_readers_next_page(store: Store) -> None:
    """Its event's number was drawn before the number of one that the reader has seen already: on PostgreSQL also while another commits."""
    audit, (first, second) = lead(store, "audit"), take(store, "1", "2")
    chain(store, audit)
    _, place = walk(store)

    def happened(reference: str) -> list[tuple[object, ...]]:
        return [event_row(Event(kind="routed", at_us=NOW, actor="t", reference=reference))]

    with store.database.write() as late:
        write_events(late, happened(first))
        if not store.database.is_sqlite:  # where there is one writer at a time, nobody else can commit now
            with store.database.write() as quick:
                write_events(quick, happened(second))
            chain(store, audit)
        found, place = walk(store, place)
        assert found == ([] if store.database.is_sqlite else [second])
    chain(store, audit)
    assert walk(store, place)[0] == [first]


def test_nothing_is_missed_by_a_reader_that_keeps_its_cursor_while_many_hand_in_and_one_chains(store: Store) -> None:
    audit, done = lead(store, "audit"), threading.Event()
    expected: set[str] = set()

    def send(worker: int) -> list[str]:
        return [hand_in(store, a_message(f"{worker}-{n}"))[0].reference for n in range(25)]

    def lead_on() -> None:
        while not done.wait(0.002):  # as a worker, which does not take the store's one write lock without a pause
            chain(store, audit)

    def read() -> tuple[set[str], Cursor]:
        found: set[str] = set()
        place = Cursor()
        while not done.wait(0.001):
            some, place = walk(store, place, limit=3)
            found.update(some)
        return found, place

    with ThreadPoolExecutor(7) as threads:
        chaining, reading = threads.submit(lead_on), threads.submit(read)
        try:
            for sent in threads.map(send, range(4)):
                expected.update(sent)
        finally:  # whatever happened: the others must not go on for ever
            done.set()
        chaining.result()
        found, place = reading.result()
    chain(store, audit)
    assert len(expected) == 100
    assert found.union(walk(store, place, limit=3)[0]) == expected


# -- cursors -----------------------------------------------------------------------------------------------------------------------------


def test_a_cursor_comes_back_as_it_was_and_another_text_is_none() -> None:
    cursor = Cursor(42, "5c324577-0000-4000-8000-000000000000")
    assert Cursor.read(str(cursor)) == cursor
    assert Cursor.read(str(Cursor())) == Cursor()
    assert "=" not in str(cursor)
    for text in ("", "x", "MTox", "é", str(cursor)[:-3], str(cursor) + "!", "MToxOg\n", "MTotMTph", "MjoxOmE"):
        with pytest.raises(WrongCursor):
            Cursor.read(text)
