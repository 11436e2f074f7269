"""Tables of the service register: its versions and rows, keys to its API, and the snapshot that others follow."""

from __future__ import annotations

from typing import Final

from sqlalchemy import BigInteger, Column, Index, Integer, LargeBinary, Table, Text

from adapters.store.tables.shared import BYTEWISE, ID, metadata, partial

#: Predicates of partial indexes; queries must repeat them word for word to use the index.
REPLACED: Final = "before IS NOT NULL"

register_version = Table(
    "register_version",
    metadata,
    Column("version", Integer, primary_key=True, autoincrement=False),
    Column("at_us", BigInteger, nullable=False),
    Column("who", Text, nullable=False),
    Column("document", Text, nullable=False),  # for the version before, which reads nothing else; see adapters.store.register
    Column("why", Text),  # NULL: written by the version before, and not turned into rows yet
)

#: The register's rows, and every row there ever was. As of version v: since <= v, and `before` is NULL or above v.
register_row = Table(
    "register_row",
    metadata,
    Column("id", ID, primary_key=True),
    Column("list", BYTEWISE, nullable=False),
    Column("key", BYTEWISE, nullable=False),
    Column("since", Integer, nullable=False),
    Column("before", Integer),
    Column("organisation", BYTEWISE),  # of a delegation: the municipality
    Column("system", BYTEWISE),
    Column("receiver", BYTEWISE),  # the routeringskenmerk, or the organisation; of a delegation: the region
    Column("dienst", BYTEWISE),
    Column("versie", BYTEWISE),
    Column("start_day", BYTEWISE),
    Column("until_day", BYTEWISE),
    Column("fields", Text, nullable=False),  # JSON, as in a document
)
Index("register_row_key", register_row.c.list, register_row.c.key, register_row.c.since, unique=True)
Index("register_row_organisation", register_row.c.organisation, register_row.c.list)
Index("register_row_system", register_row.c.system, register_row.c.list)
Index("register_row_since", register_row.c.since)
Index("register_row_before", register_row.c.before, **partial(REPLACED))

register_api_key = Table(
    "register_api_key",
    metadata,
    Column("hash", LargeBinary, primary_key=True),  # SHA-256 of the key
    Column("system", BYTEWISE, nullable=False),
    Column("label", Text, nullable=False),
    Column("made_us", BigInteger, nullable=False),
    Column("ended_us", BigInteger),
)
Index("register_api_key_system", register_api_key.c.system)

#: The newest signed snapshot of our register: one row, or none.
register_snapshot = Table(
    "register_snapshot",
    metadata,
    Column("version", Integer, primary_key=True, autoincrement=False),
    Column("made_us", BigInteger, nullable=False),
    Column("until_us", BigInteger, nullable=False),
    Column("raw", LargeBinary, nullable=False),
)
