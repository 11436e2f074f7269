"""Content that a person opens, and views that people save, on both databases."""

from __future__ import annotations

import pytest

from adapters.store import Store
from adapters.store.contents import Contents
from adapters.store.views import MOST, SavedViews
from adapters.vault import Vault, VaultError
from tests.support.store import NOW, VAULT, kinds, run_sql, take
from tests.support.store import store as store


def test_what_is_opened_is_what_was_handed_in_and_the_journal_says_who_looked_and_why(store: Store) -> None:
    (reference,) = take(store, "1", content="inhoud")
    opened = Contents(store.database, VAULT).open(reference, who="anna", why="leerling 999990019 belde", now_us=NOW)
    assert opened == b"<x>inhoud</x>"
    (event,) = [event for event in store.journal.of_message(reference) if event.kind == "content_opened"]
    assert (event.actor, event.reason, event.message_id) == ("anna", "leerling [*********] belde", "urn:uuid:m-1")


def test_a_look_that_could_not_decrypt_is_journalled_all_the_same(store: Store) -> None:
    (reference,) = take(store, "1")
    with pytest.raises(VaultError):
        Contents(store.database, Vault(b"x" * 32)).open(reference, who="anna", why="kijken", now_us=NOW)
    assert "content_opened" in kinds(store, reference)


def test_an_erased_body_and_an_unknown_reference_open_nothing_and_note_nothing(store: Store) -> None:
    (reference,) = take(store, "1")
    run_sql(store, "UPDATE body SET wrapped_key = NULL, body = NULL, facts = NULL")
    contents = Contents(store.database, VAULT)
    assert contents.open(reference, who="anna", why="kijken", now_us=NOW) is None
    assert contents.open("nergens", who="anna", why="kijken", now_us=NOW) is None
    assert "content_opened" not in kinds(store, reference)


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
