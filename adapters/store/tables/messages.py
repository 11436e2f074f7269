"""Tables of what was handed in: messages, their bodies, the ids that are used up, and refusals.

A message's `seq` is the store's order; `reference` is what partners know it by.
"""

from __future__ import annotations

from typing import Final

from sqlalchemy import BigInteger, Boolean, Column, ForeignKey, Index, Integer, LargeBinary, Table, Text, UniqueConstraint, text

from adapters.store.tables.shared import BYTEWISE, ID, metadata, partial

#: Predicates of partial indexes; queries must repeat them word for word to use the index.
RECEIVED: Final = "state = 'received'"
RECEIVED_ORDERED: Final = "order_key IS NOT NULL AND state = 'received'"
#: Failed as a whole, and offered to routing again by an operator: it has no code until it is routed, or fails once more.
AGAIN: Final = "state = 'failed' AND code IS NULL"
KEPT: Final = "kept"
UNSETTLED: Final = "unsettled"

message = Table(
    "message",
    metadata,
    Column("seq", ID, primary_key=True, autoincrement=False),
    Column("reference", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("release", Integer, nullable=False, server_default="0"),  # 0: not handed to the route workers yet
    Column("sender", Text, nullable=False),
    Column("system", Text, nullable=False),
    Column("receiver", Text, nullable=False),
    Column("message_id", Text, nullable=False),
    Column("business_id", Text),
    Column("address", Text, nullable=False),  # wsa:To, whole: it travels on in our envelope
    Column("action", Text, nullable=False),
    Column("dienst", Text, nullable=False),
    Column("versie", Text, nullable=False),
    Column("bericht", Text, nullable=False),
    Column("order_key", LargeBinary),  # keyed hash
    Column("subject", LargeBinary),  # keyed hash of the personal number
    Column("digest", LargeBinary, nullable=False),  # SHA-256 of content, To and Action
    Column("received_us", BigInteger, nullable=False),
    Column("created_us", BigInteger, nullable=False),  # wsu:Created
    Column("expires_us", BigInteger),
    Column("stale", Boolean, nullable=False),  # unsigned, or its Timestamp was not valid any more at hand-in: it travels on in our envelope
    Column("via", Text, nullable=False),
    Column("size", Integer, nullable=False),
    Column("warnings", Text, nullable=False, server_default="[]"),
    Column("register_version", Integer, nullable=False),
    Column("code", Text),
    Column("owner", Text),
    Column("kept", Boolean, nullable=False, server_default=text("true")),  # its body has not been erased
    Column("law_day", Integer),  # days since 1970; the day by which a date of the law counts it, as its contract says
    UniqueConstraint("reference"),
)
Index("message_received", message.c.release, message.c.seq, **partial(RECEIVED))
Index("message_order", message.c.order_key, message.c.seq, **partial(RECEIVED_ORDERED))
Index("message_again", message.c.seq, **partial(AGAIN))
Index("message_kept", message.c.action, message.c.received_us, **partial(KEPT))

#: Body and facts under the message's own key; `wrapped_key` NULL: erased.
body = Table(
    "body",
    metadata,
    Column("seq", ID, ForeignKey("message.seq"), primary_key=True, autoincrement=False),
    Column("wrapped_key", LargeBinary),
    Column("facts", LargeBinary),
    Column("body", LargeBinary),
)

#: Ids a sender has used, as `m:<MessageID>:<sender>` and `b:<business id>:<sender>`. Kept 400 days, per sender (rule 2). The id
#: comes first, so that people can find a message by it.
used_id = Table(
    "used_id",
    metadata,
    Column("key", BYTEWISE, primary_key=True),
    Column("reference", Text, nullable=False),
    Column("digest", LargeBinary, nullable=False),
    Column("received_us", BigInteger, nullable=False),
    sqlite_with_rowid=False,
)

#: The last number and status of a stream of messages (the contract's sequence rule), per sender.
stream = Table(
    "stream",
    metadata,
    Column("key", LargeBinary, primary_key=True),  # keyed hash of sender, dienst and stream key
    Column("number", BigInteger, nullable=False),
    Column("status", Text, nullable=False),
    sqlite_with_rowid=False,
)

refusal = Table(
    "refusal",
    metadata,
    Column("reference", Text, primary_key=True),
    Column("at_us", BigInteger, nullable=False),
    Column("system", Text),
    Column("sender", Text),
    Column("message_id", Text),
    Column("business_id", Text),
    Column("dienst", Text),
    Column("bericht", Text),
    Column("code", Text, nullable=False),
    Column("owner", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("details", Text, nullable=False, server_default="[]"),
    Column("digest", LargeBinary, nullable=False),  # SHA-256 of the bytes as handed in; of a good message refused by the store: as there
    Column("via", Text, nullable=False),
    Column("unsettled", Boolean, nullable=False, server_default=text("false")),  # the broker may still deliver its hand-in again
)
Index("refusal_at", refusal.c.at_us)
Index("refusal_unsettled", refusal.c.digest, **partial(UNSETTLED))
Index("refusal_message_id", refusal.c.message_id)
Index("refusal_business_id", refusal.c.business_id)

#: Refusals that need nobody any more; the board leaves them out.
refusal_closed = Table(
    "refusal_closed",
    metadata,
    Column("reference", BYTEWISE, primary_key=True),
    Column("at_us", BigInteger, nullable=False),
    Column("who", Text, nullable=False),
    Column("why", Text, nullable=False),  # a person's words, or `made good` or `forgotten`
    sqlite_with_rowid=False,
)
#: Hand-ins that name another in `vervangtBedrijfsdocument`: `key` is that business id as in `used_id` (b:<id>:<sender>).
replacement = Table(
    "replacement",
    metadata,
    Column("key", BYTEWISE, primary_key=True),
    Column("reference", BYTEWISE, primary_key=True),  # of the newcomer
    Column("at_us", BigInteger, nullable=False),
    sqlite_with_rowid=False,
)
Index("replacement_reference", replacement.c.reference)
