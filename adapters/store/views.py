"""Filters of the portal's lists that people gave a name: `portal.desk.SavedViews`."""

from __future__ import annotations

from typing import Final

from adapters.store.database import Database
from adapters.store.sql import Sql

#: Of one account.
MOST: Final = 20

_OF: Final = Sql("SELECT name, query FROM saved_view WHERE account = :account ORDER BY name")
_COUNT: Final = Sql("SELECT count(*) FROM saved_view WHERE account = :account AND name <> :name")
_SAVE: Final = Sql(
    "INSERT INTO saved_view (account, name, query, at_us) VALUES (:account, :name, :query, :now) "
    "ON CONFLICT (account, name) DO UPDATE SET query = :query, at_us = :now"
)
_FORGET: Final = Sql("DELETE FROM saved_view WHERE account = :account AND name = :name")


class SavedViews:
    """Of each account, by name."""

    def __init__(self, database: Database) -> None:
        self._db = database

    def views(self, account: str) -> list[tuple[str, str]]:
        """Name and query of each, by name."""
        with self._db.read() as connection:
            return [(row.name, row.query) for row in _OF(connection, account=account).all()]

    def save(self, account: str, name: str, query: str, *, now_us: int) -> bool:
        """Under its name, instead of what had it. False when the account has as many as it may."""
        with self._db.write() as tx:
            if _COUNT(tx, account=account, name=name).scalar_one() >= MOST:
                return False
            _SAVE(tx, account=account, name=name, query=query, now=now_us)
            return True

    def forget(self, account: str, name: str) -> None:
        """It is gone."""
        with self._db.write() as tx:
            _FORGET(tx, account=account, name=name)
