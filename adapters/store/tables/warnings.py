"""Tables of what will break unless somebody acts, and of what that is known from."""

from __future__ import annotations

from typing import Final

from sqlalchemy import BigInteger, Column, Index, Integer, Table, Text

from adapters.store.tables.shared import metadata, partial

#: Predicates of partial indexes; queries must repeat them word for word to use the index.
STANDING: Final = "ended_us IS NULL"

#: Certificates that were good when a system used them: written when one is seen for the first time.
seen_certificate = Table(
    "seen_certificate",
    metadata,
    Column("system", Text, primary_key=True),
    Column("use", Text, primary_key=True),
    Column("place", Text, primary_key=True),  # of a server: host:port; else empty
    Column("sha256", Text, primary_key=True),
    Column("until_us", BigInteger, nullable=False),
    Column("seen_us", BigInteger, nullable=False),
    sqlite_with_rowid=False,
)

#: When each system last handed in for an organisation in a dienst. Counter `last hand-in` is the last message that was looked at.
last_hand_in = Table(
    "last_hand_in",
    metadata,
    Column("system", Text, primary_key=True),
    Column("dienst", Text, primary_key=True),
    Column("organisation", Text, primary_key=True),
    Column("last_us", BigInteger, nullable=False),
    sqlite_with_rowid=False,
)

#: What will break unless somebody acts (routing.warnings). Counter `warnings <kind>` is the moment of the last look at that kind, which
#: saw all of it that has not ended.
warning = Table(
    "warning",
    metadata,
    Column("key", Text, primary_key=True),
    Column("kind", Text, nullable=False),
    Column("nl", Text, nullable=False),
    Column("en", Text, nullable=False),
    Column("owner", Text, nullable=False),
    Column("organisation", Text),
    Column("system", Text),
    Column("day", Text),
    Column("within", Integer),
    Column("since_us", BigInteger, nullable=False),
    Column("seen_us", BigInteger, nullable=False),  # when its row was last written
    Column("moved_us", BigInteger, nullable=False),  # when it began, ended or came nearer: what alerts go by
    Column("ended_us", BigInteger),
    sqlite_with_rowid=False,
)
Index("warning_moved", warning.c.moved_us)
Index("warning_organisation", warning.c.organisation, **partial(STANDING))
Index("warning_system", warning.c.system, **partial(STANDING))
