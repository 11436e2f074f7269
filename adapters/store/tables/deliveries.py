"""Tables of where messages go: deliveries, attempts, answers, and how each endpoint's lane stands."""

from __future__ import annotations

from typing import Final

from sqlalchemy import BigInteger, Boolean, Column, ForeignKey, Index, Integer, LargeBinary, Table, Text, UniqueConstraint, text

from adapters.store.tables.shared import BYTEWISE, ID, metadata, partial, quoted
from schemas.lifecycle import UNFINISHED

#: Predicates of partial indexes; queries must repeat them word for word to use the index.
ROUTED: Final = "state = 'routed' AND lane IS NOT NULL"
DUE: Final = "state = 'postponed' AND lane IS NOT NULL"
WAITING: Final = "hold_code IS NOT NULL AND state IN ('routed', 'postponed')"
OPEN: Final = "state IN ('released', 'delivered')"
ORDERED: Final = f"order_key IS NOT NULL AND state IN ({quoted([str(s) for s in UNFINISHED])})"
UNKNOWN_CODE: Final = "state = 'failed' AND code = 'GEMEENTECODE_UNKNOWN'"
NOT_FETCHED: Final = "state = 'failed' AND code = 'MAILBOX_NOT_FETCHED' AND lane IS NOT NULL"
UNSENT: Final = "state IN ('routed', 'postponed')"
AWAITING_ANSWER: Final = "state = 'acknowledged' AND answer_within_us IS NOT NULL"

delivery = Table(
    "delivery",
    metadata,
    Column("seq", ID, primary_key=True, autoincrement=False),
    Column("id", Text, nullable=False),  # delivery_id; a UUID, and in our own envelope its MessageID
    Column("message_seq", ID, ForeignKey("message.seq"), nullable=False),
    Column("target", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("release", Integer, nullable=False, server_default="0"),
    Column("claim", Text),  # worker that claimed this release
    Column("claim_until_us", BigInteger),
    Column("receiver", Text, nullable=False),  # organisation OIN or routeringskenmerk
    Column("endpoint", Text),  # key in the service register; NULL: none now
    Column("lane", Text),  # what shares one window: as `Endpoint.lane` says; NULL with endpoint
    Column("receiver_system", Text),
    Column("order_key", LargeBinary),
    Column("hold_code", Text),  # why it waits, while it waits
    Column("code", Text),
    Column("owner", Text),
    Column("reason", Text),
    Column("attempts", Integer, nullable=False, server_default="0"),
    Column("not_before_us", BigInteger, nullable=False, server_default="0"),
    Column("deadline_us", BigInteger, nullable=False),
    Column("delivered_us", BigInteger),
    Column("answer_within_us", BigInteger),  # an answer must come so long after delivery; NULL: none
    Column("at_us", BigInteger, nullable=False),  # of the last move
    Column("again_of", BigInteger),  # offered anew after the final state of this delivery; NULL: it is the first
    UniqueConstraint("id"),
)
Index("delivery_message", delivery.c.message_seq)
Index("delivery_routed", delivery.c.lane, delivery.c.seq, **partial(ROUTED))
Index("delivery_open", delivery.c.lane, delivery.c.seq, **partial(OPEN))
Index("delivery_due", delivery.c.lane, delivery.c.not_before_us, **partial(DUE))
Index("delivery_waiting", delivery.c.seq, **partial(WAITING))
Index("delivery_unsent_deadline", delivery.c.deadline_us, **partial(UNSENT))
Index("delivery_not_fetched", delivery.c.lane, delivery.c.endpoint, **partial(NOT_FETCHED))
Index("delivery_unknown_code", delivery.c.receiver, delivery.c.seq, **partial(UNKNOWN_CODE))
Index("delivery_order", delivery.c.order_key, delivery.c.receiver, delivery.c.message_seq, **partial(ORDERED))
#: When the answer must be there. On an expression, so that whoever delivers or confirms need not know of answers.
ANSWER_BY: Final = "(COALESCE(delivered_us, at_us) + answer_within_us)"
Index("delivery_unanswered", text(ANSWER_BY), _table=delivery, **partial(AWAITING_ANSWER))

#: State messages: the newest that was ever routed, by order key and receiver. Whatever is older is not offered again.
newest = Table(
    "newest",
    metadata,
    Column("order_key", LargeBinary, primary_key=True),
    Column("receiver", BYTEWISE, primary_key=True),
    Column("message_seq", BigInteger, nullable=False),
    sqlite_with_rowid=False,
)

#: What was returned to the system that handed it in; `delivery` is "" for a message that had failed as a whole.
retour = Table(
    "retour",
    metadata,
    Column("reference", BYTEWISE, primary_key=True),
    Column("delivery", BYTEWISE, primary_key=True),
    Column("deliver_again", Boolean, nullable=False),
    sqlite_with_rowid=False,
)

#: Messages that answer a delivery. Only the first moved it; more may have come.
answer = Table(
    "answer",
    metadata,
    Column("message_seq", ID, ForeignKey("message.seq"), primary_key=True, autoincrement=False),
    Column("delivery_seq", ID, ForeignKey("delivery.seq"), nullable=False),
)
Index("answer_delivery", answer.c.delivery_seq)

#: Copies that may still be in a system's mailbox, or in its hands, of deliveries that are not that system's any more. A row goes when its
#: copy was taken back, or was looked for often enough; so the table is empty but for the days after a supplier switch.
withdrawal = Table(
    "withdrawal",
    metadata,
    Column("system", Text, primary_key=True),
    Column("delivery", Text, primary_key=True),  # delivery_id
    Column("at_us", BigInteger, nullable=False),
    Column("certain", Boolean, nullable=False),  # it did stand there; false: it may have
    Column("looks", Integer, nullable=False, server_default="0"),  # how often the mailbox was looked through for it
    Column("look_at_us", BigInteger, nullable=False),
    sqlite_with_rowid=False,
)
Index("withdrawal_look", withdrawal.c.look_at_us)

#: Circuit breakers: a row for each lane that had trouble, and how it stands (routing.release). Held without a probe: by an operator.
lane = Table(
    "lane",
    metadata,
    Column("lane", Text, primary_key=True),
    Column("state", Text, nullable=False),
    Column("failures", Integer, nullable=False),
    Column("probes", Integer, nullable=False),
    Column("probe_at_us", BigInteger),
    Column("code", Text),
    Column("at_us", BigInteger, nullable=False),
    Column("who", Text, nullable=False),
    Column("since_us", BigInteger),  # of the first failure since the last success; means nothing while it flows without any
    sqlite_with_rowid=False,
)

attempt = Table(
    "attempt",
    metadata,
    Column("delivery_seq", ID, ForeignKey("delivery.seq"), primary_key=True, autoincrement=False),
    Column("number", Integer, primary_key=True),
    Column("at_us", BigInteger, nullable=False),
    Column("took_us", BigInteger, nullable=False),
    Column("endpoint", Text),
    Column("register_version", Integer, nullable=False),  # the receiver's mandate and endpoint were judged by this version
    Column("envelope", Text, nullable=False),  # `original`, `ours`, `none` or `unknown`: routing.work
    Column("outcome", Text, nullable=False),
    Column("code", Text),
    Column("reason", Text),
    Column("fetched_us", BigInteger),  # when its party first read it over REST
    sqlite_with_rowid=False,
)
