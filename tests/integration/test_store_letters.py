"""A mailbox as it is read from the store: what stands there, what was seen, and what its party says."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from sqlalchemy import event

from adapters.store import Store, letters
from adapters.store.rows import write_events
from routing.mailbox import TakenBack
from routing.party import Letter, Pile, Said, WordHeard
from routing.work import Claimed, Confirmation
from schemas.faults import kind_of
from tests.integration.test_store_mailboxes import sought, to_successor, unconfirmed
from tests.support.store import (
    ACTION,
    DAY,
    LANE,
    MAILBOX,
    NOW,
    SECOND,
    SYSTEM,
    VAULT,
    a_delivery,
    claim,
    confirm,
    deliver,
    kinds,
    lead,
    outcome,
    release,
    route,
    run_sql,
    settle,
    take,
)


def standing(store: Store, *endpoints: str, system: str = MAILBOX, limit: int = 100) -> list[Letter]:
    return store.letters.standing(system, endpoints or ("e1",), limit=limit)


def sealed(store: Store, delivery_id: str, system: str = MAILBOX) -> Claimed:
    one = store.letters.sealed(system, delivery_id)
    assert one is not None
    return one


def say(store: Store, delivery_id: str, code: str | None = None, *, system: str = MAILBOX) -> WordHeard:
    owner = str(kind_of(code).owner) if code else None
    word = Confirmation(delivery_id=delivery_id, system=system, confirmed=code is None, code=code, owner=owner)
    return store.letters.hear(word, actor="gateway-1", now_us=NOW)


def test_a_mailbox_shows_what_stands_there_oldest_first_and_nothing_of_anothers(store: Store) -> None:
    lease, references = lead(store), take(store, "1", "2", "3", "4")
    ones = route(store, *references[:2])
    (elsewhere,) = route(store, references[2], to=[a_delivery(endpoint="e9")])
    (others,) = route(store, references[3], to=[a_delivery(lane=f"mailbox {SYSTEM}", receiver_system=SYSTEM)])
    assert standing(store) == [], "not delivered yet"
    deliver(store, lease)
    assert [one.delivery_id for one in standing(store)] == [one.id for one in ones]
    assert [one.delivery_id for one in standing(store, limit=1)] == [ones[0].id]
    assert [one.delivery_id for one in standing(store, "e9")] == [elsewhere.id]
    assert [one.delivery_id for one in standing(store, system=SYSTEM)] == [others.id]
    assert store.letters.piles(MAILBOX) == [
        Pile(endpoint="e1", open=2, overdue=0, oldest_us=NOW),
        Pile(endpoint="e9", open=1, overdue=0, oldest_us=NOW),
    ]
    letter = standing(store)[0]
    assert (letter.attempt, letter.size, letter.overdue, letter.bericht) == (1, 100, False, "proefBericht")


def test_what_was_not_fetched_in_time_still_stands_there_and_what_was_finished_does_not(store: Store) -> None:
    lease = lead(store)
    late, done = route(store, *take(store, "1", "2"))
    deliver(store, lease)
    confirm(store, done.id)
    store.outbox.unfetched(actor="t", now_us=NOW + 2 * DAY, fetch_within_us={ACTION: DAY})
    assert [(one.delivery_id, one.overdue) for one in standing(store)] == [(late.id, True)]
    assert store.letters.piles(MAILBOX) == [Pile(endpoint="e1", open=0, overdue=1, oldest_us=NOW)]
    assert store.letters.sealed(MAILBOX, late.id) is not None
    assert store.letters.sealed(MAILBOX, done.id) is None
    assert say(store, late.id).said is Said.COUNTED


def test_a_sealed_delivery_is_what_the_courier_had_and_only_its_own_system_gets_it(store: Store) -> None:
    lease = lead(store)
    (one,) = route(store, *take(store, "1"))
    (claimed,) = claim(store, release(store, lease))
    assert store.letters.sealed(MAILBOX, one.id) is None, "still under way"
    assert settle(store, outcome(claimed)) == 1
    got = sealed(store, one.id)
    assert got == claimed
    assert VAULT.open(got.reference, got.wrapped_key or b"", "body", got.body or b"") == b"<x>1</x>"
    assert store.letters.sealed(SYSTEM, one.id) is None
    assert store.letters.sealed(MAILBOX, "no such thing") is None


def test_that_it_was_seen_is_journalled_once_for_each_attempt_even_by_many_at_once(store: Store) -> None:
    lease, references = lead(store), take(store, "1")
    (one,) = route(store, *references)
    deliver(store, lease)
    got = sealed(store, one.id)
    with ThreadPoolExecutor(8) as threads:
        assert list(threads.map(lambda _: store.letters.fetched(got, actor="g", now_us=NOW), range(16))) == [True] * 16
    assert kinds(store, references[0]) == ["received", "routed", "delivered", "fetched"]
    run_sql(store, "UPDATE delivery SET state = 'released', release = release + 1")
    run_sql(store, "UPDATE delivery SET state = 'delivered', attempts = attempts + 1")
    fields = "at_us, took_us, register_version, envelope, outcome"
    run_sql(store, f"INSERT INTO attempt (delivery_seq, number, {fields}) SELECT delivery_seq, number + 1, {fields} FROM attempt")
    assert not store.letters.fetched(got, actor="g", now_us=NOW), "that attempt is over"
    assert store.letters.fetched(sealed(store, one.id), actor="g", now_us=NOW)
    assert kinds(store, references[0]).count("fetched") == 2
    confirm(store, one.id)
    assert not store.letters.fetched(got, actor="g", now_us=NOW)


def test_to_journal_that_it_was_seen_costs_as_much_for_one_receiver_as_for_hundreds(store: Store) -> None:
    """What happened to the message may be a long story: it is not read again for each of its receivers."""
    (reference,) = take(store, "1")
    ones = route(store, reference, to=[a_delivery(target=str(number)) for number in range(3)])
    deliver(store, lead(store))
    got = [sealed(store, one.id) for one in ones]
    statements: list[str] = []
    event.listen(store.database.engine, "before_cursor_execute", lambda *call: statements.append(call[2]))
    for _ in range(2):
        assert all(store.letters.fetched(one, actor="g", now_us=NOW) for one in got)
    assert not [statement for statement in statements if "FROM event" in statement]
    assert kinds(store, reference).count("fetched") == len(ones)


def test_two_that_fetch_at_the_same_moment_are_journalled_once(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    lease, references = lead(store), take(store, "1")
    (one,) = route(store, *references)
    deliver(store, lease)
    got, both, writers = sealed(store, one.id), threading.Event(), []

    def write(*given: Any) -> None:
        writers.append(given)
        if len(writers) == 2:
            both.set()
        both.wait(0.5)  # gives the other the time to come as far as this, if nothing keeps it
        write_events(*given)

    monkeypatch.setattr(letters, "write_events", write)
    with ThreadPoolExecutor(2) as threads:
        assert list(threads.map(lambda _: store.letters.fetched(got, actor="g", now_us=NOW), range(2))) == [True, True]
    assert len(writers) == 1
    assert kinds(store, references[0]).count("fetched") == 1


@pytest.mark.parametrize("first", [None, "MAILBOX_DOUBLE"])
def test_a_word_is_told_whether_it_counted(store: Store, first: str | None) -> None:
    lease = lead(store)
    (one,) = route(store, *take(store, "1"))
    deliver(store, lease)
    assert say(store, one.id, system=SYSTEM) == say(store, "nothing") == WordHeard(said=Said.UNKNOWN)
    state, code = ("failed", first) if first else ("acknowledged", None)
    other = None if first else "MAILBOX_DOUBLE"
    assert say(store, one.id, first) == WordHeard(said=Said.COUNTED, state=state, code=code)
    assert say(store, one.id, first) == WordHeard(said=Said.REPEATED, state=state, code=code)
    assert say(store, one.id, other) == WordHeard(said=Said.FINISHED, state=state, code=code)


def test_a_word_about_a_delivery_that_is_put_there_again_at_this_moment_is_early(store: Store) -> None:
    lease = lead(store)
    (one,) = route(store, *take(store, "1"))
    release(store, lease)
    assert say(store, one.id).said is Said.EARLY


def test_what_had_no_copy_on_the_broker_is_not_called_seen_when_it_leaves_the_mailbox(store: Store) -> None:
    lease, references = lead(store), take(store, "1")
    (one,) = route(store, *references)
    deliver(store, lease)
    leaving = [to_successor(letter, copied=False) for letter in unconfirmed(store)]
    assert store.mailboxes.withdraw(lead(store, "mailboxes"), LANE, leaving, actor="t", now_us=NOW) == 1
    assert sought(store) == [(MAILBOX, one.id, 0)], "one of before may stand there"
    copies = lead(store, "copies")
    assert store.mailboxes.looked_through(copies, MAILBOX, began_us=NOW + SECOND, actor="t", now_us=NOW + SECOND) == 0
    assert "seen" not in kinds(store, references[0])
    store.mailboxes.took_back(copies, MAILBOX, [TakenBack(id=one.id, handed_out=False)], actor="t", now_us=NOW + SECOND)
    assert sought(store) == []
