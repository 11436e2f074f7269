"""What the modules of tables share: the metadata they add themselves to, and kinds of columns and indexes."""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import BigInteger, Integer, MetaData, Text, text

metadata: Final = MetaData()

#: SQLite numbers rows by itself only for INTEGER PRIMARY KEY.
ID = BigInteger().with_variant(Integer, "sqlite")


def quoted(states: tuple[str, ...] | list[str]) -> str:
    """As a list of SQL strings."""
    return ", ".join(f"'{state}'" for state in states)


def partial(predicate: str) -> dict[str, Any]:
    """What makes an index one of only those rows, on either database."""
    return {"sqlite_where": text(predicate), "postgresql_where": text(predicate)}


#: Compared by bytes and not by a language's rules: cheaper, and a prefix is a range of keys on both databases.
BYTEWISE = Text().with_variant(Text(collation="C"), "postgresql")
