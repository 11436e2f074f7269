"""Statements that run on both databases, and inserts that cost little per row.

SQLAlchemy Core builds a dictionary and a compiled parameter set for every row of an executemany: 5 µs a row, more than either database
needs to store it. The dozen rows a message leaves behind are therefore written as plain tuples under a statement compiled once.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any, Final

from sqlalchemy import Connection, CursorResult, Table, text

_LIST: Final = re.compile(r"(?:IN|FROM) @(\w+)")
_IN: Final = re.compile(r"IN @(\w+)")
_FROM: Final = re.compile(r"FROM @(\w+) AS (\w+)")


class Sql:
    """One statement. Parameters are `:name`; in `column IN @name` and `FROM @name AS x` (with column x.value) it is a sequence,
    of numbers or texts, and one parameter however long it is."""

    def __init__(self, statement: str) -> None:
        self._lists = tuple(_LIST.findall(statement))
        self.sqlite = _FROM.sub(r"FROM json_each(:\1) AS \2", _IN.sub(r"IN (SELECT value FROM json_each(:\1))", statement))
        self.postgresql = _FROM.sub(r"FROM unnest(CAST(:\1 AS text[])) AS \2(value)", _IN.sub(r"= ANY(:\1)", statement))
        self._sqlite, self._postgresql = text(self.sqlite), text(self.postgresql)

    def __call__(self, connection: Connection, **values: Any) -> CursorResult[Any]:
        """Runs it."""
        if connection.dialect.name != "sqlite":
            return connection.execute(self._postgresql, self._as_lists(values))
        return connection.execute(self._sqlite, self._as_json(values))

    def explain(self, connection: Connection, **values: Any) -> Sequence[Any]:
        """How the database would answer it: lines of text in the last column. For tests and for operators who wonder."""
        if connection.dialect.name != "sqlite":
            return connection.execute(text(f"EXPLAIN {self.postgresql}"), self._as_lists(values)).all()
        return connection.execute(text(f"EXPLAIN QUERY PLAN {self.sqlite}"), self._as_json(values)).all()

    def _as_lists(self, values: dict[str, Any]) -> dict[str, Any]:
        """psycopg takes a list for an array, and any other sequence for a row."""
        return values | {name: list(values[name]) for name in self._lists}

    def _as_json(self, values: dict[str, Any]) -> dict[str, Any]:
        return values | {name: json.dumps(list(values[name])) for name in self._lists}


class Insert:
    """Rows of one table as tuples, in the order of `columns`. With `unless_there`, a row whose key exists already is left out."""

    def __init__(self, table: Table, *columns: str, unless_there: bool = False) -> None:
        unknown = set(columns) - set(table.columns.keys())
        if unknown:
            raise ValueError(f"{table.name} has no column {sorted(unknown)}")
        end = " ON CONFLICT DO NOTHING" if unless_there else ""
        self.columns = columns
        self._sqlite, self._postgresql = (
            f"INSERT INTO {table.name} ({', '.join(columns)}) VALUES ({', '.join([mark] * len(columns))}){end}" for mark in ("?", "%s")
        )

    def __call__(self, connection: Connection, rows: Sequence[tuple[Any, ...]]) -> int:
        """Adds them; returns how many were added."""
        if not rows:
            return 0
        statement = self._sqlite if connection.dialect.name == "sqlite" else self._postgresql
        return connection.exec_driver_sql(statement, list(rows)).rowcount
