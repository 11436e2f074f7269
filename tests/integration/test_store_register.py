"""The register in the store: every change is a new version, nothing is overwritten, and a store of the version before is taken over."""

from __future__ import annotations

import hashlib
import json
import threading
from typing import Any

import pytest
from alembic import command
from sqlalchemy import text

from adapters.store import Store, open_store, register, register_changes, schema
from adapters.store.database import Database
from routing.register import read_register
from routing.register_book import RegisterMoved, RowChange
from schemas.events import Event, decode
from tests.support.register import CIVIC, DOCUMENT, LAS, MBO, OTHER_LAS, SIS, UTRECHT, VO, VO_NORTH, but, document
from tests.support.store import NOW, SECOND, run_sql

ENDPOINT = {"id": "e1", "organisation": VO, "routeringskenmerk": VO_NORTH, "dienst": "vva", "versie": "1", "system": LAS, "mailbox": True}


def save(store: Store, wanted: dict[str, Any], *, at: int = 0) -> int:
    return store.register.save(wanted, who="beheer", why="", now_us=NOW + at * SECOND)


def change(store: Store, *changes: RowChange, at: int = 0, **more: Any) -> int:
    return store.register.change(changes, who="las", why="umzug", now_us=NOW + at * SECOND, **more)


def endpoint(**changes: Any) -> RowChange:
    return RowChange("endpoints", "e1", ENDPOINT | changes)


def events(store: Store) -> list[Event]:
    return [decode(bytes(row.payload)) for row in run_sql(store, "SELECT payload FROM event ORDER BY id")]


def without_tokens(found: dict[str, Any]) -> dict[str, Any]:
    return found | {"mandates": [{name: value for name, value in row.items() if name != "token"} for row in found["mandates"]]}


def read_back(store: Store, version: int) -> dict[str, Any]:
    return read_register(without_tokens(store.register.document(version)), version=1).to_document()


def in_order(register: dict[str, Any]) -> dict[str, list[str]]:
    return {name: sorted(json.dumps(row, sort_keys=True) for row in rows) for name, rows in register.items()}


# versions


def test_a_document_comes_back_as_it_was_saved_with_a_token_for_each_mandate(store: Store) -> None:
    assert store.register.newest() == 0
    assert save(store, DOCUMENT) == 1 == store.register.newest()
    assert read_back(store, 1) == read_register(DOCUMENT, version=1).to_document()
    tokens = [row["token"] for row in store.register.rows("mandates")]
    assert len(set(tokens)) == 3
    assert all(len(token) == 36 for token in tokens)


def test_saving_the_same_again_changes_nothing_and_tokens_stay(store: Store) -> None:
    save(store, DOCUMENT)
    before = store.register.rows("mandates")
    assert save(store, DOCUMENT, at=1) == 1
    assert store.register.rows("mandates") == before
    assert [event.kind for event in events(store)] == ["register_loaded"]


def test_a_mandate_that_ends_in_a_new_document_keeps_its_token_and_a_second_one_does_not_take_it(store: Store) -> None:
    save(store, DOCUMENT)
    (token,) = [row["token"] for row in store.register.rows("mandates", organisation=VO)]
    mandates = [
        {"organisation": VO, "dienst": "vva", "system": LAS, "until": "2026-07-31"},
        {"organisation": VO, "dienst": "vva", "system": LAS, "from": "2027-08-01"},
        {"organisation": VO, "dienst": "vva", "system": OTHER_LAS},
    ]
    save(store, document(mandates=mandates), at=1)
    found = {(row["system"], row.get("until")): row["token"] for row in store.register.rows("mandates")}
    assert found.pop((LAS, "2026-07-31")) == token
    assert token not in found.values()
    assert len(store.register.history("mandates", token)) == 2


def test_two_mandates_that_are_like_one_in_the_store_do_not_both_take_its_token(store: Store) -> None:
    save(store, DOCUMENT)
    like = {"organisation": VO, "dienst": "vva", "system": LAS}
    save(store, document(mandates=[like | {"until": "2026-07-31"}, like | {"until": "2026-12-31", "revoked": True}]), at=1)
    assert len({row["token"] for row in store.register.rows("mandates")}) == 2


def test_what_a_document_leaves_out_is_no_more_and_the_version_before_still_has_it(store: Store) -> None:
    save(store, DOCUMENT)
    assert save(store, document(endpoints=DOCUMENT["endpoints"][:1]), at=1) == 2
    assert len(store.register.rows("endpoints")) == 1
    assert len(store.register.rows("endpoints", version=1)) == 3
    assert in_order(read_back(store, 1)) == in_order(read_register(DOCUMENT, version=1).to_document())


def test_an_empty_first_document_is_a_version_and_a_change_of_nothing_is_none(store: Store) -> None:
    assert save(store, {}) == 1
    assert change(store) == 1
    assert change(store, endpoint()) == 2
    assert change(store, endpoint()) == 2


def test_what_the_register_said_at_a_moment_has_one_answer(store: Store) -> None:
    save(store, DOCUMENT)
    change(store, endpoint(), at=10)
    change(store, endpoint(until="2026-07-31"), at=20)
    change(store, RowChange("endpoints", "e1", None), at=30)
    book = store.register
    assert [book.version_at(NOW + at * SECOND) for at in (-1, 0, 9, 10, 25, 30)] == [0, 1, 1, 2, 3, 4]
    assert [book.rows("endpoints", key="e1", version=version) for version in (1, 2, 3, 4)] == [
        [],
        [ENDPOINT],
        [ENDPOINT | {"until": "2026-07-31"}],
        [],
    ]
    history = book.history("endpoints", "e1")
    assert [(one["version"], one["who"], one["why"]) for one in history] == [(2, "las", "umzug"), (3, "las", "umzug"), (4, "las", "umzug")]
    assert [one["row"] and one["row"].get("until") for one in history] == [None, "2026-07-31", None]
    assert [one["row"] is None for one in history] == [False, False, True]
    assert [one["version"] for one in book.versions(after=1, limit=2)] == [2, 3]


def test_a_row_that_comes_back_is_in_its_history_once_for_each_time(store: Store) -> None:
    change(store, endpoint())
    change(store, RowChange("endpoints", "e1", None))
    change(store, endpoint(system=OTHER_LAS))
    assert [(one["version"], one["row"] and one["row"]["system"]) for one in store.register.history("endpoints", "e1")] == [
        (1, LAS),
        (2, None),
        (3, OTHER_LAS),
    ]


def test_only_the_newest_version_stands_there_as_a_document_too(store: Store) -> None:
    for at in range(3):
        save(store, document(mandates=DOCUMENT["mandates"][at:]), at=at)
    written = [row.document for row in run_sql(store, "SELECT document FROM register_version ORDER BY version")]
    assert written[:2] == ["null", "null"]
    assert json.loads(written[2])["systems"], "for workers of the version before"


def test_a_document_of_a_version_that_never_was_is_an_error(store: Store) -> None:
    with pytest.raises(KeyError):
        store.register.document(1)


# changes


def test_a_change_is_journalled_with_its_version_and_the_digest_of_what_changed(store: Store) -> None:
    save(store, DOCUMENT)
    change(store, endpoint())
    change(store, endpoint(until="2026-07-31"))
    loaded, first, second = events(store)
    assert (loaded.kind, loaded.register_version, loaded.actor) == ("register_loaded", 1, "beheer")
    assert (first.kind, first.register_version, first.actor, first.reason, first.details) == (
        "register_changed",
        2,
        "las",
        "umzug",
        {"rows": "1"},
    )
    assert first.digest and second.digest and first.digest != second.digest


def test_a_change_that_was_judged_by_an_older_version_is_refused_and_nothing_of_it_is_there(store: Store) -> None:
    save(store, DOCUMENT)
    assert change(store, endpoint(), expected=1) == 2
    with pytest.raises(RegisterMoved) as moved:
        change(store, endpoint(until="2026-07-31"), RowChange("boards", VO, {"oin": VO, "name": "Bestuur"}), expected=1)
    assert moved.value.newest == 2
    assert store.register.newest() == 2
    assert store.register.rows("boards") == []


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (RowChange("endpoints", "e1", {"id": "e1"}), "has no organisation"),
        (RowChange("endpoints", "e2", ENDPOINT), "known by e1, and not by e2"),
        (RowChange("endpoint", "e1", ENDPOINT), "not a list of the register"),
        (RowChange("endpoints", "e1", ENDPOINT | {"untill": "2026-07-31"}), "'untill' is not a field"),
        (RowChange("endpoints", "e1", ENDPOINT | {"until": "2026-02-30"}), "cannot be read"),
    ],
)
def test_a_row_that_nobody_could_read_never_gets_in(store: Store, wrong: RowChange, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        change(store, endpoint(), wrong)
    assert store.register.newest() == 0


def test_two_who_change_at_once_make_two_versions_in_a_row(store: Store) -> None:
    save(store, {})
    made: list[int] = []

    def work(name: str) -> None:
        other = open_store(store.database.url.render_as_string(hide_password=False), upgrade=False)
        made.extend(change(other, RowChange("endpoints", f"{name}{n}", ENDPOINT | {"id": f"{name}{n}"})) for n in range(10))
        other.close()

    threads = [threading.Thread(target=work, args=(name,)) for name in "ab"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert sorted(made) == list(range(2, 22))
    assert len(store.register.rows("endpoints")) == 20


def test_what_changed_names_the_rows_and_whose_they_were_and_are(store: Store) -> None:
    save(store, DOCUMENT)
    change(store, endpoint())
    change(store, endpoint(system=OTHER_LAS))
    change(store, RowChange("systems", SIS, {"oin": SIS, "name": "Studiekern 2", "supplier": "Kern BV"}))
    assert set(store.register.changed(1, 2)) == {("endpoints", "e1", VO, LAS)}
    assert set(store.register.changed(2, 3)) == {("endpoints", "e1", VO, LAS), ("endpoints", "e1", VO, OTHER_LAS)}
    assert set(store.register.changed(3, 9)) == {("systems", SIS, None, None)}


# rows


def test_rows_are_found_by_whose_they_are_in_the_order_of_their_keys(store: Store) -> None:
    whole = {"id": "a0", "organisation": VO, "dienst": "proef", "versie": "1", "system": LAS, "url": "https://las.example/in"}
    save(store, DOCUMENT)
    change(store, endpoint(), RowChange("endpoints", "a0", whole))
    rows = store.register.rows
    assert [row["id"] for row in rows("endpoints", organisation=VO)] == [f"{VO}/vva/1/{LAS}", "a0", "e1"]
    assert [row["id"] for row in rows("endpoints", organisation=VO, limit=1, after="a0")] == ["e1"]
    assert [row["id"] for row in rows("endpoints", receiver=VO_NORTH)] == ["e1"]
    assert [row["id"] for row in rows("endpoints", receiver=VO, dienst="proef")] == ["a0"]
    assert [row["organisation"] for row in rows("endpoints", system=CIVIC, versie="1")] == [UTRECHT]
    assert [row["organisation"] for row in rows("mandates", system=SIS)] == [MBO]
    assert rows("organisations", key="nobody") == []


def test_boards_delegations_and_the_other_new_fields_are_kept(store: Store) -> None:
    wanted = document(
        boards=[{"oin": "00000003000000010000", "name": "Stichting Scholen"}],
        organisations=but(DOCUMENT["organisations"], 0, board="00000003000000010000", oa_id="101"),
        diensten=but(DOCUMENT["diensten"], 0, name="Van vo naar mbo", description="Overstap", status="deprecated"),
        delegations=[{"id": "d1", "municipality": UTRECHT, "dienst": "vva", "region": DOCUMENT["organisations"][3]["oin"]}],
    )
    save(store, wanted)
    assert read_back(store, 1) == read_register(wanted, version=1).to_document()
    assert store.register.rows("delegations") == wanted["delegations"]
    assert store.register.rows("diensten", key="vva 1")[0]["status"] == "deprecated"


# API keys


def test_an_api_key_is_known_by_its_hash_until_it_ends(store: Store) -> None:
    book, hash = store.register, hashlib.sha256(b"secret").digest()
    book.add_api_key(hash, LAS, "productie", NOW)
    assert book.system_of_api_key(hash) == LAS
    assert book.system_of_api_key(hashlib.sha256(b"other").digest()) is None
    assert book.end_api_key(hash, NOW + 1)
    assert not book.end_api_key(hash, NOW + 2)
    assert book.system_of_api_key(hash) is None
    assert book.api_keys(LAS) == [{"hash": hash, "system": LAS, "label": "productie", "made_us": NOW, "ended_us": NOW + 1}]
    assert book.api_keys(SIS) == []
    assert [(event.kind, event.system) for event in events(store)] == [("register_key_made", LAS), ("register_key_ended", LAS)]


# the version before


def old_document(tx: Any, version: int, wanted: dict[str, Any]) -> None:
    """What a process of the version before writes."""
    values = {"version": version, "at": NOW + version, "document": json.dumps(wanted)}
    tx.execute(text("INSERT INTO register_version (version, at_us, who, document) VALUES (:version, :at, 'oud', :document)"), values)


def test_a_store_of_the_version_before_becomes_rows_with_all_its_versions(empty_url: str) -> None:
    second = document(mandates=but(DOCUMENT["mandates"], 0, until="2026-07-31"), endpoints=DOCUMENT["endpoints"][1:])
    third = document(mandates=but(DOCUMENT["mandates"], 0, until="2026-07-31"))
    database = Database(empty_url)
    with database.write() as tx:
        config = schema._config()
        config.attributes["connection"] = tx
        command.upgrade(config, "0008")
        for version, wanted in enumerate((DOCUMENT, second, third), 1):
            old_document(tx, version, wanted)
    database.close()
    store = open_store(empty_url)
    assert store.register.newest() == 3
    for version, wanted in enumerate((DOCUMENT, second, third), 1):
        assert in_order(read_back(store, version)) == in_order(read_register(wanted, version=1).to_document())
    (token,) = {row["token"] for row in store.register.rows("mandates", organisation=VO)}
    assert [one["row"].get("until") for one in store.register.history("mandates", token)] == [None, "2026-07-31"]
    assert [(one["version"], one["who"]) for one in store.register.versions()] == [(1, "oud"), (2, "oud"), (3, "oud")]
    assert save(store, third, at=9) == 3
    store.close()


def test_a_register_that_the_version_before_loads_beside_us_is_taken_over(store: Store) -> None:
    save(store, DOCUMENT)
    with store.database.write() as tx:
        old_document(tx, 2, document(endpoints=DOCUMENT["endpoints"][:2]))
    assert store.register.newest() == 2
    assert len(store.register.rows("endpoints")) == 2
    assert change(store, endpoint()) == 3


def test_a_register_that_is_too_large_for_the_version_before_is_one_that_it_refuses(store: Store) -> None:
    """Not one that it takes for empty."""
    save(store, {})
    change(store, *(RowChange("endpoints", f"e{n}", ENDPOINT | {"id": f"e{n}"}) for n in range(register_changes.DOCUMENT_ROWS + 1)))
    assert [row.document for row in run_sql(store, "SELECT document FROM register_version ORDER BY version")][1:] == ["null"]


def test_the_version_before_can_read_what_we_write(store: Store) -> None:
    """It knows five lists, and refuses fields that it does not know."""
    save(store, document(boards=[{"oin": LAS, "name": "Bestuur"}], diensten=but(DOCUMENT["diensten"], 0, name="Overstap")))
    change(store, endpoint())
    (found,) = run_sql(store, "SELECT document FROM register_version WHERE version = 2")
    known = json.loads(found.document)
    assert set(known) == {"organisations", "systems", "diensten", "mandates", "endpoints"}
    assert "e1" in {row["id"] for row in known["endpoints"]}
    assert not {"token", "name"} & {name for row in (*known["mandates"], *known["diensten"]) for name in row}


def test_a_document_that_meets_another_change_is_looked_at_again(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tokens are looked up before the transaction, which keeps everybody from writing; a mandate that came in between keeps its own."""
    save(store, document(mandates=[]))
    came: list[int] = []

    def looked_up(connection: Any, wanted: Any) -> Any:
        found = register_changes.wanted_of(connection, wanted)
        if not came:
            came.append(change(store, RowChange("mandates", "t1", {"token": "t1", **DOCUMENT["mandates"][0]})))
        return found

    monkeypatch.setattr(register, "wanted_of", looked_up)
    assert save(store, document(mandates=DOCUMENT["mandates"][:1])) == came[0] == 2, "it is there already"
    assert [row["token"] for row in store.register.rows("mandates")] == ["t1"]
