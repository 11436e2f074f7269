"""Bringing a store's tables up to date with Alembic; safe to call from many processes at once."""

from __future__ import annotations

import hashlib
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, text

from adapters.store.database import Database
from adapters.store.tables import drop_lifecycle_triggers, lifecycle_triggers

#: One number, for PostgreSQL's advisory lock, that means "somebody migrates Koppelpunt's store".
_MIGRATING = 0x6B6F7070


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    return config


def head() -> str:
    """The newest revision in the code."""
    return str(ScriptDirectory.from_config(_config()).get_current_head())


def migrate(database: Database) -> None:
    """Upgrades to the newest revision, with the lifecycle's triggers as the code has them. Raises StoreUnavailable."""
    rules = lifecycle_triggers(database.engine.dialect.name)
    wanted = hashlib.sha256("\n".join(rules).encode()).hexdigest()
    with database.read() as connection:
        if MigrationContext.configure(connection).get_current_revision() == head() and _lifecycle_in_force(connection) == wanted:
            return
    with database.write() as connection:
        if not database.is_sqlite:
            connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _MIGRATING})
        config = _config()
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
        if _lifecycle_in_force(connection) != wanted:
            for statement in (*drop_lifecycle_triggers(database.engine.dialect.name), *rules):
                connection.exec_driver_sql(statement)
            connection.execute(text("DELETE FROM note WHERE name = 'lifecycle'"))
            connection.execute(text("INSERT INTO note (name, value) VALUES ('lifecycle', :wanted)"), {"wanted": wanted})


def _lifecycle_in_force(connection: Connection) -> str | None:
    """The digest of the triggers this store has."""
    return connection.execute(text("SELECT value FROM note WHERE name = 'lifecycle'")).scalar()
