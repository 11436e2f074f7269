"""Content that a person opens, and views that people save, on both databases."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from adapters.store import Store
from adapters.store.contents import ContentRequests, Contents
from adapters.store.views import MOST, SavedViews
from adapters.vault import Vault, VaultError
from routing.contents import KEPT, Asked, Opened, Outcome
from routing.people import Role, Source, digest_of, new_account
from schemas.events import decode
from tests.support.jobs import StillClock
from tests.support.store import DAY, NOW, SECOND, SYSTEM, VAULT, kinds, run_sql, take
from tests.support.store import store as store
from workers.contents import Opener
from workers.loop import Worker


class Room:
    """The portal's side, and a process with the master key, which looks when the test says so."""

    def __init__(self, store: Store, vault: Vault = VAULT, **opener: Any) -> None:
        self.store, self.clock = store, StillClock()
        self.requests = ContentRequests(store.database)
        worker = Worker("timetable", store.registry, self.clock)
        self.opener = Opener(worker, Contents(store.database, vault), store.people, store.board, self.clock, **opener)
        self.account("anna", Role.CHAIN_MANAGER)

    def account(self, name: str, role: Role, **more: Any) -> bytes:
        """With a session, whose key it returns."""
        own = {key: more.pop(key) for key in ("organisations", "systems") if key in more}
        given: dict[str, Any] = {"password": "h", "one_time": False, "totp": None, "who": "x", "now_us": NOW, **more}
        self.store.people.add(new_account(name, [role], **own), **given)
        self.store.people.open_session(_session(name), name, now_us=NOW)
        return _session(name)

    def ask(self, reference: str, who: str = "anna", why: str = "leerling belde", proof: bytes | None = None) -> Asked:
        key = proof or _session(who)
        return self.requests.ask(reference, account=who, proof=key, reason=why, now_us=self.clock.now_us())

    def look(self, reference: str, who: str = "anna", **more: Any) -> Opened | None:
        """Asks, and has it answered."""
        asked = self.ask(reference, who, **more)
        self.opener.look()
        return self.requests.answer(asked)

    def rows(self) -> int:
        return len(run_sql(self.store, "SELECT id FROM content_request"))

    def refusals(self) -> list[tuple[str, str]]:
        """Who was refused and why, by the journal."""
        rows = run_sql(self.store, "SELECT schema, payload FROM event ORDER BY id")
        events = [decode(bytes(row.payload), row.schema) for row in rows]
        return [(event.actor, event.details["why"]) for event in events if event.kind == "content_refused"]


def _session(name: str) -> bytes:
    return digest_of(f"session of {name}")


def test_what_is_opened_is_what_was_handed_in_and_the_journal_says_who_looked_and_why(store: Store) -> None:
    (reference,) = take(store, "1", content="inhoud")
    room = Room(store)
    assert room.look(reference) == Opened(outcome=Outcome.OPENED, content=b"<x>inhoud</x>")
    (event,) = [event for event in store.journal.of_message(reference) if event.kind == "content_opened"]
    assert (event.actor, event.reason, event.message_id) == ("anna", "leerling belde", "urn:uuid:m-1")
    assert room.rows() == 0, "nothing is left behind"


def test_what_lies_in_the_store_meanwhile_is_opened_by_who_asked_alone(store: Store) -> None:
    (reference,) = take(store, "1", content="inhoud")
    room = Room(store)
    asked = room.ask(reference)
    room.opener.look()
    (row,) = run_sql(store, "SELECT * FROM content_request")
    assert b"inhoud" not in bytes(row.answer) and asked.private_key not in (bytes(row.answer), bytes(row.public_key))
    with pytest.raises(VaultError):
        room.requests.answer(replace(asked, private_key=b"y" * 32))


def test_a_look_that_could_not_decrypt_is_journalled_all_the_same(store: Store) -> None:
    (reference,) = take(store, "1")
    assert Room(store, Vault(b"x" * 32)).look(reference) == Opened(outcome=Outcome.FAILED)
    assert "content_opened" in kinds(store, reference)


def test_an_erased_body_opens_nothing_and_notes_nothing(store: Store) -> None:
    (reference,) = take(store, "1")
    run_sql(store, "UPDATE body SET wrapped_key = NULL, body = NULL, facts = NULL")
    room = Room(store)
    assert room.look(reference) == Opened(outcome=Outcome.GONE)
    assert "content_opened" not in kinds(store, reference)


def test_a_question_is_answered_once_by_whoever_takes_it_first(store: Store) -> None:
    (reference,) = take(store, "1")
    room = Room(store)
    asked, book = room.ask(reference), Contents(store.database, VAULT)
    (one,), (same,) = book.waiting(now_us=NOW), book.waiting(now_us=NOW)
    assert book.open(one, now_us=NOW) is Outcome.OPENED
    assert book.open(same, now_us=NOW) is None
    book.refuse(same, Outcome.REFUSED, why="late", now_us=NOW)
    assert kinds(store, reference).count("content_opened") == 1
    found = room.requests.answer(asked)
    assert found is not None and found.outcome is Outcome.OPENED and room.refusals() == []


def test_a_question_that_nobody_waits_for_any_more_is_not_opened(store: Store) -> None:
    (reference,) = take(store, "1")
    room = Room(store)
    room.requests.withdraw(room.ask(reference))
    assert room.opener.look() == 0
    late = room.ask(reference)
    room.clock.at_us += int(KEPT.total_seconds() * 1e6)
    assert room.opener.look() == 0
    assert room.requests.answer(late) is None
    assert "content_opened" not in kinds(store, reference)
    assert room.rows() == 0, "what is over is gone"


def test_an_answer_that_nobody_fetched_is_gone_after_a_minute_with_or_without_its_process(store: Store) -> None:
    (reference,) = take(store, "1")
    room = Room(store)
    asked = room.ask(reference)
    room.opener.look()
    assert room.rows() == 1
    room.store.people.tidy(now_us=NOW + int(KEPT.total_seconds() * 1e6))
    assert room.rows() == 0 and room.requests.answer(asked) is None


def test_what_the_portal_says_of_an_account_is_not_taken_for_true(store: Store) -> None:
    (reference,) = take(store, "1")
    room = Room(store, second_factor={Role.AUDITOR})
    reader, late = room.account("rina", Role.READER), room.account("olga", Role.CHAIN_MANAGER)
    room.account("bert", Role.CHAIN_MANAGER, one_time=True)
    room.account("adam", Role.AUDITOR)
    room.account("anja", Role.AUDITOR, totp=b"sealed")
    room.account("dirk", Role.PARTNER, systems=[SYSTEM])
    store.people.end_session(late, now_us=NOW)
    no = Opened(outcome=Outcome.REFUSED)
    assert room.look(reference, "anna", proof=reader) == no, "another's session"
    assert room.look(reference, "rina") == no, "the role"
    assert room.look(reference, "olga") == no, "it signed out"
    assert room.look(reference, "bert") == no, "it has still to choose a password"
    assert room.look(reference, "adam") == no, "it has still to get a second factor"
    assert room.look(reference, "dirk") == no, "the role, though it is its own message"
    assert room.look(reference, "anna", why="  ") == no
    assert room.look(reference, "anna", why="leerling 999990019") == no
    assert room.look("nergens", "anna") == no
    anna = store.people.account("anna")
    assert anna is not None
    store.people.change(replace(anna, roles=frozenset({Role.READER})), who="x", now_us=NOW)
    assert room.look(reference, "anna") == no, "as it is now, and not as it was when it signed in"
    assert "content_opened" not in kinds(store, reference)
    assert room.refusals()[:2] == [("anna", "no such session or token of this account"), ("rina", "role")]
    assert len(room.refusals()) == 10
    found = room.look(reference, "anja")
    assert found is not None and found.outcome is Outcome.OPENED


def test_a_token_is_as_good_as_a_session_while_it_counts(store: Store) -> None:
    (reference,) = take(store, "1")
    room = Room(store)
    bea = new_account("oidc:7", [Role.AUDITOR], source=Source.OIDC)
    store.people.from_provider(bea, now_us=NOW)
    store.people.add_token(b"token", bea.name, "script", until_us=NOW + 99 * DAY, who="x", now_us=NOW)
    found = room.look(reference, bea.name, proof=b"token")
    assert found is not None and found.outcome is Outcome.OPENED
    assert room.look(reference, "anna", proof=b"token") == Opened(outcome=Outcome.REFUSED), "another's"
    room.clock.at_us += 31 * DAY
    assert room.look(reference, bea.name, proof=b"token") == Opened(outcome=Outcome.REFUSED), "its owner did not sign in since"


def test_one_account_sees_so_many_messages_an_hour_and_no_more(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("workers.contents.MOST_AN_HOUR", 2)
    (reference,) = take(store, "1")
    room = Room(store)
    room.account("bert", Role.AUDITOR)
    looks = [room.look(reference) for _ in range(3)]
    assert [one and one.outcome for one in looks] == [Outcome.OPENED, Outcome.OPENED, Outcome.TOO_OFTEN]
    other = room.look(reference, "bert")
    assert other is not None and other.outcome is Outcome.OPENED
    room.clock.at_us += 3_600 * SECOND
    store.people.open_session(b"later", "anna", now_us=room.clock.at_us)
    later = room.look(reference, proof=b"later")
    assert later is not None and later.outcome is Outcome.OPENED


def test_accounts_that_somebody_makes_for_it_do_not_open_more_and_more(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("workers.contents.MOST_OF_ALL", 2)
    (reference,) = take(store, "1")
    room = Room(store)
    for name in ("bert", "carla"):
        room.account(name, Role.AUDITOR)
    looks = [room.look(reference, who) for who in ("anna", "bert", "carla")]
    assert [one and one.outcome for one in looks] == [Outcome.OPENED, Outcome.OPENED, Outcome.TOO_OFTEN]


def test_a_number_for_a_reference_is_not_logged(store: Store, caplog: pytest.LogCaptureFixture) -> None:
    found = Room(store).look("123456782")
    assert found is not None and found.outcome is Outcome.REFUSED
    assert "123456782" not in str([vars(record) for record in caplog.records])


def test_a_view_is_kept_under_its_name_for_its_owner_only(store: Store) -> None:
    views = SavedViews(store.database)
    assert views.save("anna", "Mijn school", "brin=01AA", now_us=NOW)
    assert views.save("anna", "Mijn school", "brin=02BB", now_us=NOW)
    assert views.save("bert", "Mijn school", "brin=03CC", now_us=NOW)
    assert views.views("anna") == [("Mijn school", "brin=02BB")]
    views.forget("anna", "Mijn school")
    assert (views.views("anna"), len(views.views("bert"))) == ([], 1)


def test_an_account_keeps_so_many_views_and_no_more(store: Store) -> None:
    views = SavedViews(store.database)
    assert all(views.save("anna", f"{number:02d}", "", now_us=NOW) for number in range(MOST))
    assert not views.save("anna", "een te veel", "", now_us=NOW)
    assert views.save("anna", "00", "brin=01AA", now_us=NOW), "an old one may still be changed"
    assert len(views.views("anna")) == MOST
