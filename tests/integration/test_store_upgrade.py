"""Two versions side by side during an upgrade, and migrations that make nobody wait."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
from alembic import command
from sqlalchemy import text

from adapters.store import LifecycleError, Store, migrate, open_store, schema
from adapters.store.database import Database
from routing.work import StoreUnavailable
from tests.support import board
from tests.support.old_store import lay_down
from tests.support.store import NOW, a_message, confirm, fresh_url, hand_in, release, route, run_sql, states, take


def upgraded_by_a_newer_version(store: Store, usable_by: str) -> None:
    run_sql(store, "UPDATE alembic_version SET version_num = '9999'")
    run_sql(store, "UPDATE note SET value = :value WHERE name = 'usable_by'", value=usable_by)
    run_sql(store, "UPDATE note SET value = 'of a newer version' WHERE name = 'lifecycle'")


def test_a_store_that_the_next_version_has_upgraded_is_used_and_stays_as_it_is(store: Store) -> None:
    upgraded_by_a_newer_version(store, schema.head())
    again = open_store(store.database.url.render_as_string(hide_password=False))
    assert hand_in(again, a_message())[0].accepted
    assert store.registry.note("lifecycle") == "of a newer version"
    route(again, *take(again, "2"))
    with pytest.raises(LifecycleError):
        run_sql(again, "UPDATE delivery SET state = 'acknowledged'")
    again.close()


def test_a_store_that_a_much_newer_version_has_upgraded_is_refused_in_one_sentence(store: Store) -> None:
    upgraded_by_a_newer_version(store, "9998")
    with pytest.raises(StoreUnavailable, match="cannot work with: install that version"):
        open_store(store.database.url.render_as_string(hide_password=False))


def test_what_the_version_before_writes_still_fits(store: Store) -> None:
    """Columns that came after it may be left out."""
    before = "id, name, pid, host, state, started_us, seen_us, handled"
    run_sql(store, f"INSERT INTO worker ({before}) VALUES ('w', 'route', 1, 'h', 'running', 1, 1, 0)")
    assert [row["metrics"] for row in store.registry.workers()] == [None]


@pytest.mark.postgres
def test_a_migration_that_must_wait_for_a_table_lets_everybody_else_go_first(tmp_path: Path) -> None:
    database = Database(fresh_url("postgresql", tmp_path, empty=True))
    with database.write() as connection:
        config = schema._config()
        config.attributes["connection"] = connection
        command.upgrade(config, "0004")
    waited, two = [0.0], threading.Event()

    def pause(seconds: float) -> None:
        waited.append(seconds)
        if len(waited) > 2:
            two.set()

    migrating = threading.Thread(target=lambda: migrate(database, pause=pause))
    with database.engine.connect() as slow:  # a report that takes its time: nobody may change this table meanwhile
        slow.execute(text("SELECT count(*) FROM worker"))
        migrating.start()
        while not two.is_set():
            with database.engine.connect() as other:
                other.execute(text("SET statement_timeout = '5s'"))
                other.execute(text("SELECT count(*) FROM worker"))
        assert migrating.is_alive()
        slow.rollback()
    migrating.join(30)
    with database.read() as connection:
        assert schema._revision(connection) == schema.head()
    database.close()


#: What a store of 0.4.0 holds, and how it stands on the board: kind, state and code. What is not open and did not fall out is not there.
LEFT_BY_0_4_0 = {
    "message received": ("message", "received", None),
    "message received, not in a block yet": ("message", "received", None),
    "message failed": ("message", "failed", "ROUTE_UNKNOWN"),
    "routed": ("delivery", "routed", None),
    "waits for the register": ("delivery", "routed", "ROUTE_NO_ENDPOINT"),
    "the newer one": ("delivery", "routed", "ROUTE_NO_ENDPOINT"),
    "released": ("delivery", "released", None),
    "delivered": ("delivery", "delivered", None),
    "postponed": ("delivery", "postponed", "ENDPOINT_UNREACHABLE"),
    "uncertain": ("delivery", "uncertain", "ANSWER_NOT_TRUSTED"),
    "failed": ("delivery", "failed", "ENDPOINT_REFUSES_US"),
    "refused by its receiver": ("delivery", "failed", "NOT_ENROLLED"),
    "a refused hand-in": ("refusal", "refused", "Client.DK0004"),
}
GONE = {"acknowledged", "answered", "returned", "archived", "filtered", "superseded"}


def test_a_store_that_0_4_0_left_with_a_message_in_every_state_fills_its_board_and_goes_on(empty_url: str) -> None:
    ids = lay_down(empty_url, "0.4.0")
    store = open_store(empty_url)
    assert {name: states(store)[ids[name]] for name in GONE} == {name: name for name in GONE}
    assert store.journal.verify().whole
    board.keep(store)
    names = {id: name for name, id in ids.items()}
    assert {names.get(id, "a refused hand-in"): row for id, row in board.on_board(store).items()} == LEFT_BY_0_4_0

    while store.jobs.learn(["proef/1/proefBericht"]):
        pass
    (of,) = run_sql(
        store, "SELECT reference FROM message JOIN delivery ON message_seq = message.seq WHERE delivery.id = :id", id=ids["failed"]
    )
    assert store.repair.retry(of.reference, actor="operator anna", now_us=NOW).deliveries == 1
    release(store, board.take(store, "relay"))
    confirm(store, ids["delivered"])
    board.keep(store)
    now = {name: states(store)[ids[name]] for name in ("failed", "routed", "delivered", "the newer one", "superseded")}
    assert now == {
        "failed": "released",
        "routed": "released",
        "delivered": "acknowledged",
        "the newer one": "routed",
        "superseded": "superseded",
    }
    assert ids["delivered"] not in board.on_board(store)
    verification = store.journal.verify()
    assert (verification.whole, verification.waiting) == (True, 0)
    store.close()
