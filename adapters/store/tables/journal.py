"""Tables of what happened: decisions, events, the chain that binds these, and what is counted from them."""

from __future__ import annotations

from typing import Final

from sqlalchemy import BigInteger, Column, Index, Integer, LargeBinary, Table, Text

from adapters.store.tables.shared import BYTEWISE, ID, metadata, partial

#: Predicates of partial indexes; queries must repeat them word for word to use the index.
UNCHAINED: Final = "block IS NULL"
UNTOLD: Final = "tell_after_us IS NOT NULL"

#: Answers to the three questions of rule 4, as the functions in `routing` gave them.
decision = Table(
    "decision",
    metadata,
    Column("id", ID, primary_key=True),
    Column("reference", Text, nullable=False),
    Column("delivery", Text),
    Column("at_us", BigInteger, nullable=False),
    Column("question", Text, nullable=False),
    Column("outcome", Text, nullable=False),
    Column("code", Text),
    Column("register_version", Integer, nullable=False),
    Column("record", Text, nullable=False),  # JSON: inputs, rule, candidates, words
)
Index("decision_reference", decision.c.reference)

event = Table(
    "event",
    metadata,
    Column("id", ID, primary_key=True),
    Column("at_us", BigInteger, nullable=False),
    Column("reference", Text),
    Column("schema", Integer, nullable=False),
    Column("payload", LargeBinary, nullable=False),
    Column("block", BigInteger),  # the journal block that binds it; NULL: not chained yet
    Column("tell", Text),  # certificate OIN of the system to be told; NULL: nobody
    Column("tell_after_us", BigInteger),  # not before this moment; NULL: told, or never to be
)
Index("event_unchained", event.c.id, **partial(UNCHAINED))
Index("event_untold", event.c.tell_after_us, event.c.id, **partial(UNTOLD))
Index("event_reference", event.c.reference)

#: The chain. `previous` is unique as well as `seq`, so two writers cannot both add a block after the same one.
journal = Table(
    "journal",
    metadata,
    Column("seq", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=False),
    Column("previous", LargeBinary, nullable=False, unique=True),
    Column("hash", LargeBinary, nullable=False),
    Column("events", Integer, nullable=False),
    Column("first_id", BigInteger, nullable=False),  # where its events stand; another block's may stand between them
    Column("last_id", BigInteger, nullable=False),
    Column("at_us", BigInteger, nullable=False),
)

#: Of which messages and refusals of a system a block of the journal tells. Counter `changes` is the last block that was looked at, so
#: that an audit worker of an earlier version, which leaves it alone, leaves nothing out.
change = Table(
    "change",
    metadata,
    Column("system", BYTEWISE, primary_key=True),
    Column("block", BigInteger, primary_key=True, autoincrement=False),
    Column("reference", BYTEWISE, primary_key=True),
    sqlite_with_rowid=False,
)

#: Failures by cause and owner, kept up to date by the audit worker.
failure_group = Table(
    "failure_group",
    metadata,
    Column("code", Text, primary_key=True),
    Column("owner", Text, primary_key=True),
    Column("dienst", Text, primary_key=True),
    Column("system", Text, primary_key=True),
    Column("receiver_system", Text, primary_key=True),
    Column("count", Integer, nullable=False),
    Column("first_us", BigInteger, nullable=False),
    Column("last_us", BigInteger, nullable=False),
    Column("example", Text, nullable=False),  # reference
    sqlite_with_rowid=False,
)
