"""The tables of proefs (routing.proef)."""

from __future__ import annotations

from typing import Final

from sqlalchemy import BigInteger, Column, Index, Table, Text

from adapters.store.tables.shared import ID, metadata, partial

#: Predicate of a partial index; queries must repeat it word for word to use the index.
STANDING: Final = "ended_us IS NULL"

proef = Table(
    "proef",
    metadata,
    Column("seq", ID, primary_key=True),
    Column("id", Text, nullable=False, unique=True),  # and the reference of its message
    Column("state", Text, nullable=False),
    Column("receiver", Text, nullable=False),
    Column("organisation", Text, nullable=False),
    Column("system", Text, nullable=False),
    Column("endpoint", Text, nullable=False),
    Column("lane", Text, nullable=False),
    Column("asked_by", Text, nullable=False),
    Column("asked_us", BigInteger, nullable=False),
    Column("code", Text),
    Column("owner", Text),
    Column("reason", Text),
    Column("took_us", BigInteger),
    Column("ended_us", BigInteger),
)
Index("proef_standing", proef.c.seq, **partial(STANDING))
for _name in ("lane", "system", "organisation"):
    Index(f"proef_{_name}", proef.c[_name], proef.c.seq)
