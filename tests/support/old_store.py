"""Stores as earlier versions left them: every row of one, in `stores/`, which its own code wrote."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

from alembic import command
from sqlalchemy import Column, LargeBinary, MetaData, Table, create_engine, delete, insert, inspect, text

from adapters.store import schema
from adapters.store.database import Database

#: The newest revision that each of them knew.
REVISIONS = {"0.4.0": "0011"}


def lay_down(url: str, version: str) -> dict[str, str]:
    """Makes this empty database what that version left. Returns what is in it: in words, and its id."""
    database = Database(url)
    with database.write() as connection:
        config = schema._config()
        config.attributes["connection"] = connection
        command.upgrade(config, REVISIONS[version])
    database.close()
    kept = json.loads(gzip.decompress((Path(__file__).parent / "stores" / f"{version}.json.gz").read_bytes()))
    engine = create_engine(url)
    with engine.begin() as connection:
        there = inspect(connection)
        tables = {
            name: Table(name, MetaData(), *(Column(c["name"], c["type"]) for c in there.get_columns(name))) for name in kept["tables"]
        }
        for table in reversed(tables.values()):  # what the migrations put there
            connection.execute(delete(table))
        for name, content in kept["tables"].items():
            if content["rows"]:
                connection.execute(insert(tables[name]), [_row(tables[name], content["columns"], row) for row in content["rows"]])
            if engine.dialect.name == "postgresql":
                for column in content["columns"]:
                    if (sequence := connection.scalar(text(f"SELECT pg_get_serial_sequence('{name}', '{column}')"))) is not None:
                        connection.execute(text(f"SELECT setval('{sequence}', max({column})) FROM {name}"))
        connection.execute(text("DELETE FROM note WHERE name = 'lifecycle'"))  # the triggers are the database's own: they are made anew
    engine.dispose()
    names: dict[str, str] = kept["ids"]
    return names


def _row(table: Table, columns: list[str], values: list[Any]) -> dict[str, Any]:
    binary = {column.name for column in table.c if isinstance(column.type, LargeBinary)}
    return {
        name: bytes.fromhex(value) if name in binary and value is not None else value for name, value in zip(columns, values, strict=True)
    }
