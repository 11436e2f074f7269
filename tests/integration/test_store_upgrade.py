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
from tests.support.store import a_message, fresh_url, hand_in, route, run_sql, take


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
