"""Tables of what processes share: workers, leases, revocation lists, and single numbers and values."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Integer, LargeBinary, Table, Text

from adapters.store.tables.shared import metadata

crl = Table(
    "crl",
    metadata,
    Column("source", Text, primary_key=True),
    Column("pem", LargeBinary, nullable=False),
    Column("this_update_us", BigInteger, nullable=False),
    Column("next_update_us", BigInteger, nullable=False),
    Column("fetched_us", BigInteger, nullable=False),
)

lease = Table(
    "lease",
    metadata,
    Column("name", Text, primary_key=True),
    Column("holder", Text, nullable=False),
    Column("token", BigInteger, nullable=False),
    Column("until_us", BigInteger, nullable=False),
)

worker = Table(
    "worker",
    metadata,
    Column("id", Text, primary_key=True),
    Column("name", Text, nullable=False),
    Column("pid", Integer, nullable=False),
    Column("host", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("started_us", BigInteger, nullable=False),
    Column("seen_us", BigInteger, nullable=False),
    Column("handled", BigInteger, nullable=False, server_default="0"),
    Column("metrics", Text),  # host:port of its health and metrics; NULL: it has none
)

#: The numbers `seq` columns are drawn from on SQLite (PostgreSQL has sequences) and single values such as the broker's epoch.
counter = Table("counter", metadata, Column("name", Text, primary_key=True), Column("value", BigInteger, nullable=False))
note = Table("note", metadata, Column("name", Text, primary_key=True), Column("value", Text, nullable=False))
