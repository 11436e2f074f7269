"""One journal: append-only, hash-chained, verifiable; and what of it is still to be told (rule 6)."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

from adapters.store import Store, StoreRefused
from schemas.events import Event, digest, encode, link
from tests.support.store import NOW, SECOND, SYSTEM, a_message, a_refusal, confirm, deliver, hand_in, lead, route, run_sql, take


def chained(store: Store, blocks: int = 5) -> None:
    """A journal of some blocks of three events."""
    lease = lead(store, "audit", "audit-1")
    take(store, *map(str, range(blocks * 3)))
    for _ in range(blocks):
        assert store.journal.chain(lease, now_us=NOW, limit=3) == 3


def test_a_journal_is_whole_and_says_what_still_waits(store: Store) -> None:
    assert store.journal.verify() == type(store.journal.verify())(True, 0, 0, 0, None)
    chained(store)
    take(store, "later")
    found = store.journal.verify()
    assert (found.whole, found.blocks, found.events, found.waiting) == (True, 5, 15, 1)


def _tamper(store: Store) -> None:
    run_sql(store, "UPDATE event SET payload = :p WHERE id = 7", p=encode(Event(kind="received", at_us=NOW, actor="nobody")))


def _tamper_schema(store: Store) -> None:
    run_sql(store, "UPDATE event SET schema = 2 WHERE id = 7")


def _remove_event(store: Store) -> None:
    run_sql(store, "DELETE FROM event WHERE id = 7")


def _remove_event_and_count(store: Store) -> None:
    run_sql(store, "DELETE FROM event WHERE id = 7")
    run_sql(store, "UPDATE journal SET events = 2 WHERE seq = 3")


def _unchain_event(store: Store) -> None:
    run_sql(store, "UPDATE event SET block = NULL WHERE id = 7")


def _move_event(store: Store) -> None:
    run_sql(store, "UPDATE event SET block = 2 WHERE id = 7")


def _hide_event(store: Store) -> None:
    run_sql(store, "UPDATE event SET reference = NULL WHERE id = 7")


def _file_event_elsewhere(store: Store) -> None:
    run_sql(store, "UPDATE event SET reference = (SELECT reference FROM event WHERE id = 8) WHERE id = 7")


def _swap_events(store: Store) -> None:
    run_sql(store, "UPDATE event SET id = 100 WHERE id = 7")
    run_sql(store, "UPDATE event SET id = 7 WHERE id = 8")
    run_sql(store, "UPDATE event SET id = 8 WHERE id = 100")


def _remove_block(store: Store) -> None:
    run_sql(store, "DELETE FROM journal WHERE seq = 3")


def _remove_block_and_events(store: Store) -> None:
    run_sql(store, "DELETE FROM journal WHERE seq = 3")
    run_sql(store, "DELETE FROM event WHERE block = 3")


def _remove_first_block(store: Store) -> None:
    run_sql(store, "DELETE FROM journal WHERE seq = 1")
    run_sql(store, "DELETE FROM event WHERE block = 1")


def _remove_last_block(store: Store) -> None:
    run_sql(store, "DELETE FROM journal WHERE seq = 5")


def _swap_blocks(store: Store) -> None:
    for table, column in (("journal", "seq"), ("event", "block")):
        for before, after in ((2, 99), (3, 2), (99, 3)):
            run_sql(store, f"UPDATE {table} SET {column} = :a WHERE {column} = :b", a=after, b=before)


def _rewrite_hash(store: Store) -> None:
    run_sql(store, "UPDATE journal SET hash = :h WHERE seq = 3", h=bytes(32))


def _stretch_block(store: Store) -> None:
    run_sql(store, "UPDATE journal SET first_id = first_id + 1 WHERE seq = 3")


def _add_event(store: Store) -> None:
    payload = encode(Event(kind="received", at_us=NOW, actor="nobody"))
    run_sql(store, "INSERT INTO event (id, at_us, schema, payload, block) VALUES (1000, 1, 1, :p, 3)", p=payload)


@pytest.mark.parametrize(
    "crime",
    [
        _tamper,
        _tamper_schema,
        _remove_event,
        _remove_event_and_count,
        _unchain_event,
        _move_event,
        _swap_events,
        _hide_event,
        _file_event_elsewhere,
        _remove_block,
        _remove_block_and_events,
        _remove_first_block,
        _remove_last_block,
        _swap_blocks,
        _rewrite_hash,
        _stretch_block,
        _add_event,
    ],
    ids=lambda crime: crime.__name__.strip("_").replace("_", " "),
)
def test_whatever_is_done_to_the_journal_is_found(store: Store, crime: Callable[[Store], None]) -> None:
    chained(store)
    assert store.journal.verify().whole
    crime(store)
    found = store.journal.verify()
    assert not found.whole
    assert found.problem
    assert found.blocks < 5 or crime in (_remove_last_block, _add_event)


def test_rewriting_one_block_with_a_right_hash_breaks_the_next(store: Store) -> None:
    chained(store)
    reference = run_sql(store, "SELECT reference FROM event WHERE id = 7")[0].reference
    payload = encode(Event(kind="received", at_us=NOW, actor="nobody", reference=reference))
    run_sql(store, "UPDATE event SET payload = :p WHERE id = 7", p=payload)
    digests = [digest(bytes(r.payload), 1) for r in run_sql(store, "SELECT payload FROM event WHERE block = 3 ORDER BY id")]
    previous = bytes(run_sql(store, "SELECT hash FROM journal WHERE seq = 2")[0].hash)
    run_sql(store, "UPDATE journal SET hash = :h WHERE seq = 3", h=link(previous, 3, digests))
    found = store.journal.verify()
    assert (found.whole, found.blocks) == (False, 3)


def test_two_writers_cannot_fork_the_chain(store: Store) -> None:
    chained(store, 2)
    (last,) = run_sql(store, "SELECT * FROM journal WHERE seq = 2")
    add = "INSERT INTO journal (seq, previous, hash, events, first_id, last_id, at_us) VALUES (:seq, :previous, :hash, 0, 0, 0, 0)"
    for seq, previous in ((2, b"x" * 32), (3, bytes(last.previous))):
        with pytest.raises(StoreRefused):
            run_sql(store, add, seq=seq, previous=previous, hash=b"h" * 32)
    assert store.journal.verify().whole


def test_verifying_while_the_journal_grows_finds_it_whole(store: Store) -> None:
    lease, stop, wrong = lead(store, "audit", "audit-1"), threading.Event(), []

    def grow() -> None:
        number = 0
        while not stop.is_set():
            take(store, *(f"{number}-{i}" for i in range(5)))
            store.journal.chain(lease, now_us=NOW, limit=3)
            number += 1

    writer = threading.Thread(target=grow)
    writer.start()
    for _ in range(40):
        found = store.journal.verify()
        if not found.whole:
            wrong.append(found)
    stop.set()
    writer.join(20)
    assert wrong == []


def test_events_are_chained_by_flag_and_not_by_number(store: Store) -> None:
    """On PostgreSQL a transaction that began earlier may commit later: its events have lower numbers than chained ones."""
    lease = lead(store, "audit", "audit-1")
    take(store, "1", "2")
    run_sql(store, "UPDATE event SET id = 10 WHERE id = 2")
    store.journal.chain(lease, now_us=NOW)
    payload = encode(Event(kind="received", at_us=NOW, actor="late"))
    run_sql(store, "INSERT INTO event (id, at_us, schema, payload) VALUES (5, 1, 1, :p)", p=payload)
    assert store.journal.chain(lease, now_us=NOW) == 1
    found = store.journal.verify()
    assert (found.whole, found.blocks, found.events) == (True, 2, 3)


def test_failures_are_grouped_by_cause_and_owner_when_they_are_chained(store: Store) -> None:
    relay, audit = lead(store), lead(store, "audit", "audit-1")
    hand_in(store, *(a_refusal(str(i)) for i in range(3)), a_refusal(code="Client.EK0031", dienst="failed-looking"))
    (one,) = route(store, *take(store, "1", bericht="failedBericht"))
    deliver(store, relay)
    confirm(store, one.id, confirmed=False, code="NOT_OUR_RESIDENT", owner="school")
    while store.journal.chain(audit, now_us=NOW, limit=2):
        continue
    groups = [(g["code"], g["owner"], g["dienst"], g["count"]) for g in store.queries.failure_groups()]
    assert groups == [
        ("Client.DK0004", "supplier", "", 3),
        ("Client.EK0031", "supplier", "failed-looking", 1),
        ("NOT_OUR_RESIDENT", "school", "proef", 1),
    ]


def test_an_outcome_is_told_put_off_and_told_again(store: Store) -> None:
    lease = lead(store)
    made = route(store, *take(store, "1", "2"))
    deliver(store, lease)
    confirm(store, *(one.id for one in made))
    first, second = store.journal.untold(now_us=NOW)
    assert (first.system, first.event.kind) == (SYSTEM, "acknowledged")
    store.journal.mark_told([first.event_id], put_off=[second.event_id], until_us=NOW + SECOND)
    assert store.journal.untold(now_us=NOW) == []
    assert [t.event_id for t in store.journal.untold(now_us=NOW + SECOND)] == [second.event_id]
    store.journal.mark_told([second.event_id], put_off=[], until_us=0)
    assert store.journal.untold(now_us=10**17) == []
    again = store.journal.tell_again(since_us=NOW, now_us=NOW + 2 * SECOND)
    assert again == 4, "two receipts and two outcomes"
    assert store.journal.tell_again(since_us=NOW + 1, now_us=NOW) == 0
    kinds = [t.event.kind for t in store.journal.untold(now_us=NOW + 2 * SECOND)]
    assert kinds == ["received", "received", "acknowledged", "acknowledged"]


def test_tellings_come_in_the_order_they_happened_and_no_more_than_asked_for(store: Store) -> None:
    hand_in(store, *(a_message(str(i)) for i in range(5)))
    store.journal.tell_again(since_us=0, now_us=NOW)
    assert [t.event.message_id for t in store.journal.untold(now_us=NOW, limit=3)] == [f"urn:uuid:m-{i}" for i in range(3)]
