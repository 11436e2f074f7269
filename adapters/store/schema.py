"""Bringing a store's tables up to date with Alembic: safe to call from many processes at once, beside those of the version before."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, text

from adapters.store.database import Database
from adapters.store.register_changes import adopt
from adapters.store.registry import SET_NOTE
from adapters.store.tables.lifecycle import drop_lifecycle_triggers, lifecycle_triggers
from routing.work import StoreUnavailable

#: One number, for PostgreSQL's advisory lock, that means "somebody migrates Koppelpunt's store".
_MIGRATING: Final = 0x6B6F7070
#: The tables of the oldest version that still works with ours: that of the release before this one, so that both can run side by side
#: during an upgrade. A migration that the release before cannot live with waits for the release after.
USABLE_BY: Final = "0004"
_NOTE: Final = "usable_by"
#: PostgreSQL: who waits for a table's lock makes everybody wait who comes after. So a migration waits this long (milliseconds), lets
#: everybody go first, and tries again so often, half a second later.
LOCK_WAIT_MS: Final = 500
LOCK_TRIES: Final = 120
_LOCK_NOT_AVAILABLE: Final = "55P03"


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    return config


def head() -> str:
    """The newest revision in the code."""
    return str(ScriptDirectory.from_config(_config()).get_current_head())


def migrate(database: Database, *, pause: Callable[[float], None] = time.sleep) -> None:
    """Upgrades to the newest revision, with the lifecycle's triggers as the code has them. A store that a newer version has upgraded stays
    as it is. Raises StoreUnavailable, also when that version says that ours cannot work with it any more."""
    for tries_left in reversed(range(LOCK_TRIES)):
        try:
            _migrate(database)
            return
        except StoreUnavailable as error:
            if not tries_left or getattr(getattr(error.__cause__, "orig", None), "sqlstate", None) != _LOCK_NOT_AVAILABLE:
                raise
            pause(LOCK_WAIT_MS / 1e3)


def _migrate(database: Database) -> None:
    rules = lifecycle_triggers(database.engine.dialect.name)
    wanted = hashlib.sha256("\n".join(rules).encode()).hexdigest()
    with database.read() as connection:
        if _is_newer(connection) or (_revision(connection) == head() and _note(connection, "lifecycle") == wanted):
            return
    with database.write() as connection:
        if not database.is_sqlite:
            connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _MIGRATING})
            connection.execute(text(f"SET LOCAL lock_timeout = {LOCK_WAIT_MS}"))
        if _is_newer(connection):
            return
        config = _config()
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
        adopt(connection)
        connection.execute(SET_NOTE, {"name": _NOTE, "value": USABLE_BY})
        if _note(connection, "lifecycle") != wanted:
            for statement in (*drop_lifecycle_triggers(database.engine.dialect.name), *rules):
                connection.exec_driver_sql(statement)
            connection.execute(SET_NOTE, {"name": "lifecycle", "value": wanted})


def _revision(connection: Connection) -> str | None:
    return MigrationContext.configure(connection).get_current_revision()


def _is_newer(connection: Connection) -> bool:
    """Whether a version that is newer than ours has upgraded the store. Raises StoreUnavailable when we cannot work with it."""
    found = _revision(connection)
    if found is None or found in {script.revision for script in ScriptDirectory.from_config(_config()).walk_revisions()}:
        return False
    usable_by = _note(connection, _NOTE)
    if usable_by is None or usable_by > head():
        raise StoreUnavailable(
            f"the store's tables ({found}) are those of a newer version, which this one ({head()}) cannot work with: install that version"
        )
    return True


def _note(connection: Connection, name: str) -> str | None:
    return connection.execute(text("SELECT value FROM note WHERE name = :name"), {"name": name}).scalar()
