"""The store's tables (SQLAlchemy Core), the same on SQLite and PostgreSQL.

Every index costs a write per row, and one on random ids a page per row: there is one for each hot question and none besides.

Times are microseconds since 1970 UTC in `*_us` columns: one integer, the same in both databases and cheap to write.
A message's `seq` is the store's order; `reference` is what partners know it by.
"""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Float,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    UniqueConstraint,
    text,
)

from schemas.lifecycle import DELIVERY_BORN, DELIVERY_MOVES, MESSAGE_MOVES, UNFINISHED, MessageState

metadata: Final = MetaData()

#: SQLite numbers rows by itself only for INTEGER PRIMARY KEY.
_Id = BigInteger().with_variant(Integer, "sqlite")


def _quoted(states: tuple[str, ...] | list[str]) -> str:
    return ", ".join(f"'{state}'" for state in states)


def _partial(predicate: str) -> dict[str, Any]:
    return {"sqlite_where": text(predicate), "postgresql_where": text(predicate)}


#: Compared by bytes and not by a language's rules: cheaper, and a prefix is a range of keys on both databases.
_Bytewise = Text().with_variant(Text(collation="C"), "postgresql")

#: Predicates of partial indexes; queries must repeat them word for word to use the index.
RECEIVED: Final = "state = 'received'"
RECEIVED_ORDERED: Final = "order_key IS NOT NULL AND state = 'received'"
#: Failed as a whole, and offered to routing again by an operator: it has no code until it is routed, or fails once more.
AGAIN: Final = "state = 'failed' AND code IS NULL"
KEPT: Final = "kept"
UNSETTLED: Final = "unsettled"
ROUTED: Final = "state = 'routed' AND lane IS NOT NULL"
DUE: Final = "state = 'postponed' AND lane IS NOT NULL"
WAITING: Final = "hold_code IS NOT NULL AND state IN ('routed', 'postponed')"
OPEN: Final = "state IN ('released', 'delivered')"
ORDERED: Final = f"order_key IS NOT NULL AND state IN ({_quoted([str(s) for s in UNFINISHED])})"
NOT_FETCHED: Final = "state = 'failed' AND code = 'MAILBOX_NOT_FETCHED' AND lane IS NOT NULL"
UNSENT: Final = "state IN ('routed', 'postponed')"
AWAITING_ANSWER: Final = "state = 'acknowledged' AND answer_within_us IS NOT NULL"
UNCHAINED: Final = "block IS NULL"
REPLACED: Final = "before IS NOT NULL"
UNTOLD: Final = "tell_after_us IS NOT NULL"
ACTIVE: Final = "(state IN ('preview', 'running') OR under_way > 0)"
UNDER_WAY: Final = "state = 'under_way'"
STANDING: Final = "ended_us IS NULL"

message = Table(
    "message",
    metadata,
    Column("seq", _Id, primary_key=True, autoincrement=False),
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
    UniqueConstraint("reference"),
)
Index("message_received", message.c.release, message.c.seq, **_partial(RECEIVED))
Index("message_order", message.c.order_key, message.c.seq, **_partial(RECEIVED_ORDERED))
Index("message_again", message.c.seq, **_partial(AGAIN))
Index("message_kept", message.c.action, message.c.received_us, **_partial(KEPT))

#: Body and facts under the message's own key; `wrapped_key` NULL: erased.
body = Table(
    "body",
    metadata,
    Column("seq", _Id, ForeignKey("message.seq"), primary_key=True, autoincrement=False),
    Column("wrapped_key", LargeBinary),
    Column("facts", LargeBinary),
    Column("body", LargeBinary),
)

#: Ids a sender has used, as `m:<MessageID>:<sender>` and `b:<business id>:<sender>`. Kept 400 days, per sender (rule 2). The id
#: comes first, so that people can find a message by it.
used_id = Table(
    "used_id",
    metadata,
    Column("key", _Bytewise, primary_key=True),
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
Index("refusal_unsettled", refusal.c.digest, **_partial(UNSETTLED))
Index("refusal_message_id", refusal.c.message_id)
Index("refusal_business_id", refusal.c.business_id)

delivery = Table(
    "delivery",
    metadata,
    Column("seq", _Id, primary_key=True, autoincrement=False),
    Column("id", Text, nullable=False),  # delivery_id; a UUID, and in our own envelope its MessageID
    Column("message_seq", _Id, ForeignKey("message.seq"), nullable=False),
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
Index("delivery_routed", delivery.c.lane, delivery.c.seq, **_partial(ROUTED))
Index("delivery_open", delivery.c.lane, delivery.c.seq, **_partial(OPEN))
Index("delivery_due", delivery.c.lane, delivery.c.not_before_us, **_partial(DUE))
Index("delivery_waiting", delivery.c.seq, **_partial(WAITING))
Index("delivery_unsent_deadline", delivery.c.deadline_us, **_partial(UNSENT))
Index("delivery_not_fetched", delivery.c.lane, delivery.c.endpoint, **_partial(NOT_FETCHED))
Index("delivery_order", delivery.c.order_key, delivery.c.receiver, delivery.c.message_seq, **_partial(ORDERED))
#: When the answer must be there. On an expression, so that whoever delivers or confirms need not know of answers.
ANSWER_BY: Final = "(COALESCE(delivered_us, at_us) + answer_within_us)"
Index("delivery_unanswered", text(ANSWER_BY), _table=delivery, **_partial(AWAITING_ANSWER))

#: State messages: the newest that was ever routed, by order key and receiver. Whatever is older is not offered again.
newest = Table(
    "newest",
    metadata,
    Column("order_key", LargeBinary, primary_key=True),
    Column("receiver", _Bytewise, primary_key=True),
    Column("message_seq", BigInteger, nullable=False),
    sqlite_with_rowid=False,
)

#: What was returned to the system that handed it in; `delivery` is "" for a message that had failed as a whole.
retour = Table(
    "retour",
    metadata,
    Column("reference", _Bytewise, primary_key=True),
    Column("delivery", _Bytewise, primary_key=True),
    Column("deliver_again", Boolean, nullable=False),
    sqlite_with_rowid=False,
)

#: An action of a person's on a frozen selection: a preview, or a job (routing.jobs).
job = Table(
    "job",
    metadata,
    Column("seq", _Id, primary_key=True),
    Column("id", _Bytewise, nullable=False, unique=True),
    Column("state", Text, nullable=False),  # `preview`, or a JobState
    Column("action", Text, nullable=False),
    Column("endpoint", Text),
    Column("deliver_again", Boolean),
    Column("selection", Text, nullable=False),  # JSON, as it was asked for
    Column("scope", Text, nullable=False),  # JSON: under which it was made
    Column("shown", Text, nullable=False),  # JSON: what its preview said
    Column("count", Integer, nullable=False),
    Column("digest", LargeBinary, nullable=False),
    Column("trial", Integer, nullable=False, server_default="0"),
    Column("rate", Float, nullable=False, server_default="0"),
    Column("stop_below", Float, nullable=False, server_default="0"),
    Column("patience_s", Integer, nullable=False, server_default="0"),
    Column("reason", Text, nullable=False, server_default=text("''")),
    Column("made_by", Text, nullable=False),
    Column("made_us", BigInteger, nullable=False),
    Column("confirmed_us", BigInteger),
    Column("approved_by", Text),
    Column("changed_by", Text),
    Column("changed_us", BigInteger, nullable=False),
    Column("stopped", Text),
    Column("last", Integer, nullable=False, server_default="0"),  # number of the last one that was begun
    Column("trial_left", Integer, nullable=False, server_default="0"),
    Column("in_trial", Boolean, nullable=False, server_default=text("false")),
    Column("since", Integer, nullable=False, server_default="0"),  # it is judged by those after this number: when it was last let go
    *(
        Column(name, Integer, nullable=False, server_default="0")
        for name in ("planned", "under_way", "succeeded", "failed", "superseded", "skipped")
    ),
)
Index("job_active", job.c.state, **_partial(ACTIVE))

job_item = Table(
    "job_item",
    metadata,
    Column("job", BigInteger, primary_key=True, autoincrement=False),
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("subject", Text, nullable=False),
    Column("seq", BigInteger),  # of the delivery, or of the message; NULL: a refusal
    Column("reference", Text),  # of a refusal
    Column("state", Text, nullable=False),
    Column("why", Text),
    Column("at_us", BigInteger),  # when it was begun, or ended
    Column("made", BigInteger),  # the new delivery, where it was offered anew
    sqlite_with_rowid=False,
)
Index("job_item_under_way", job_item.c.job, job_item.c.number, **_partial(UNDER_WAY))

#: Messages that answer a delivery. Only the first moved it; more may have come.
answer = Table(
    "answer",
    metadata,
    Column("message_seq", _Id, ForeignKey("message.seq"), primary_key=True, autoincrement=False),
    Column("delivery_seq", _Id, ForeignKey("delivery.seq"), nullable=False),
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
    Column("delivery_seq", _Id, ForeignKey("delivery.seq"), primary_key=True, autoincrement=False),
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

#: Answers to the three questions of rule 4, as the functions in `routing` gave them.
decision = Table(
    "decision",
    metadata,
    Column("id", _Id, primary_key=True),
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
    Column("id", _Id, primary_key=True),
    Column("at_us", BigInteger, nullable=False),
    Column("reference", Text),
    Column("schema", Integer, nullable=False),
    Column("payload", LargeBinary, nullable=False),
    Column("block", BigInteger),  # the journal block that binds it; NULL: not chained yet
    Column("tell", Text),  # certificate OIN of the system to be told; NULL: nobody
    Column("tell_after_us", BigInteger),  # not before this moment; NULL: told, or never to be
)
Index("event_unchained", event.c.id, **_partial(UNCHAINED))
Index("event_untold", event.c.tell_after_us, event.c.id, **_partial(UNTOLD))
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
    Column("system", _Bytewise, primary_key=True),
    Column("block", BigInteger, primary_key=True, autoincrement=False),
    Column("reference", _Bytewise, primary_key=True),
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

#: The board (routing.board): one row for each thing that is open or fell out, kept by the audit worker out of the tables above, and made
#: anew from them at any time. `n` is only the place of a row among others with the same time: rows of one time stand together.
item = Table(
    "item",
    metadata,
    Column("n", _Id, primary_key=True, autoincrement=False),
    Column("id", _Bytewise, nullable=False, unique=True),  # delivery_id; of a message or refusal its reference
    Column("kind", Text, nullable=False),  # delivery, message, refusal
    Column("seq", BigInteger, nullable=False),  # of the delivery or the message; 0 of a refusal
    Column("reference", _Bytewise, nullable=False),
    Column("dienst", _Bytewise),
    Column("versie", _Bytewise),
    Column("bericht", _Bytewise),
    Column("sender", _Bytewise),
    Column("school", _Bytewise),  # the institution behind the sender
    Column("brin", _Bytewise),
    Column("system", _Bytewise),
    Column("receiver", _Bytewise),
    Column("organisation", _Bytewise),  # the institution behind the receiver
    Column("receiver_system", _Bytewise),
    Column("target", Text),
    Column("fallen", Boolean, nullable=False),  # uitval; else openstaand
    Column("state", _Bytewise, nullable=False),
    Column("code", _Bytewise),  # or what it waits for
    Column("owner", _Bytewise),
    Column("reason", Text),
    Column("received_us", BigInteger, nullable=False),
    Column("at_us", BigInteger, nullable=False),  # of its last move; of a message that is not routed: its hand-in
    Column("deadline_us", BigInteger),
    Column("business_id", _Bytewise),  # in small letters
    Column("message_id", _Bytewise),
    Column("order_key", LargeBinary),
    Column("subject", LargeBinary),
    Column("lane", _Bytewise),
    Column("endpoint", Text),
    Column("attempts", Integer, nullable=False),
    Column("kept", Boolean, nullable=False, server_default=text("true")),  # of its message; nothing is erased while it is on the board
)
#: One for each thing that people narrow a list down by, in the order in which lists are shown.
for _name in (
    *("reference", "dienst", "bericht", "school", "system", "organisation", "receiver_system"),
    *("state", "code", "owner", "business_id", "message_id", "order_key", "subject"),
):
    Index(f"item_{_name}", item.c[_name], item.c.received_us)
Index("item_received", item.c.fallen, item.c.received_us)
Index("item_moved", item.c.fallen, item.c.at_us)
Index("item_deadline", item.c.fallen, item.c.deadline_us)
#: Counted for the overview, for parties and for groups without reading a row.
Index("item_lane", item.c.lane, item.c.fallen, item.c.received_us)
Index("item_parties", item.c.dienst, item.c.system, item.c.receiver_system, item.c.fallen, item.c.received_us)
Index("item_overview", item.c.dienst, item.c.fallen, item.c.owner, item.c.received_us)
Index("item_group", item.c.fallen, item.c.code, item.c.owner, item.c.dienst, item.c.system, item.c.receiver_system, item.c.received_us)

#: How many items there are of each sort, and since when (adapters.store.board_standing), so that no page need count them. `sort` is a hash
#: of the columns that name it; "" where an item names none.
standing = Table(
    "standing",
    metadata,
    Column("sort", _Id, primary_key=True, autoincrement=False),
    *(
        Column(_name, _Bytewise, nullable=False)
        for _name in ("dienst", "bericht", "system", "receiver_system", "lane", "state", "code", "owner")
    ),
    Column("fallen", Boolean, nullable=False),
    Column("law_year", Integer, nullable=False),  # of the law's date by which it is to be at its receivers; 0: there is none
    Column("n", Integer, nullable=False),
    Column("first_us", BigInteger, nullable=False),  # hand-in of the oldest
    Column("last_us", BigInteger, nullable=False),  # and of the newest there was
)

#: What passed, per hour since 1970; hours of long ago are added up in the first hour of their day. Delivered and failed stand in the hour
#: in which they were. Counter `board_count` is the last block of the journal that is in it.
traffic = Table(
    "traffic",
    metadata,
    Column("hour", Integer, primary_key=True, autoincrement=False),
    Column("dienst", _Bytewise, primary_key=True),
    Column("bericht", _Bytewise, primary_key=True),
    Column("system", _Bytewise, primary_key=True),
    Column("receiver_system", _Bytewise, primary_key=True),  # "": handed in or refused
    *(
        Column(name, Integer, nullable=False, server_default="0")
        for name in ("handed_in", "refused", "delivered", "failed", "took_s", "in_minute", "in_hour", "in_day")
    ),
    sqlite_with_rowid=False,
)
#: The same per school year, named by the year in which it begins.
traffic_year = Table(
    "traffic_year",
    metadata,
    Column("year", Integer, primary_key=True, autoincrement=False),
    Column("dienst", _Bytewise, primary_key=True),
    Column("system", _Bytewise, primary_key=True),
    Column("receiver_system", _Bytewise, primary_key=True),
    *(
        Column(name, BigInteger, nullable=False, server_default="0")
        for name in ("handed_in", "refused", "delivered", "failed", "took_s", "in_minute", "in_hour", "in_day")
    ),
    sqlite_with_rowid=False,
)
#: The same per Amsterdam day (days since 1970) and organisation: `from` it (what became of what it sent), or `to` it.
traffic_party = Table(
    "traffic_party",
    metadata,
    Column("organisation", _Bytewise, primary_key=True),
    Column("day", Integer, primary_key=True, autoincrement=False),
    Column("side", _Bytewise, primary_key=True),
    Column("dienst", _Bytewise, primary_key=True),
    Column("system", _Bytewise, primary_key=True),  # the organisation's own, on this side
    *(
        Column(name, Integer, nullable=False, server_default="0")
        for name in ("handed_in", "refused", "delivered", "failed", "took_s", "in_minute", "in_hour", "in_day")
    ),
    sqlite_with_rowid=False,
)
#: Who was heard of in a school year (named by the year in which it begins), for "sent nothing" and "less than half of last season".
season = Table(
    "season",
    metadata,
    Column("year", Integer, primary_key=True, autoincrement=False),
    Column("dienst", _Bytewise, primary_key=True),
    Column("bericht", _Bytewise, primary_key=True),
    Column("side", _Bytewise, primary_key=True),  # `from`: handed in; `to`: acknowledged
    Column("organisation", _Bytewise, primary_key=True),
    Column("system", _Bytewise, primary_key=True),
    Column("n", Integer, nullable=False),
    Column("first_us", BigInteger, nullable=False),
    Column("last_us", BigInteger, nullable=False),
    sqlite_with_rowid=False,
)
Index("season_organisation", season.c.organisation, season.c.year)
Index("season_system", season.c.system, season.c.year)
#: Failures per hour by cause and parties: the trend of a group, and the numbers of a report.
fallout = Table(
    "fallout",
    metadata,
    Column("hour", Integer, primary_key=True, autoincrement=False),
    Column("code", _Bytewise, primary_key=True),
    Column("owner", _Bytewise, primary_key=True),
    Column("dienst", _Bytewise, primary_key=True),
    Column("system", _Bytewise, primary_key=True),
    Column("receiver_system", _Bytewise, primary_key=True),
    Column("school", _Bytewise, primary_key=True),
    Column("organisation", _Bytewise, primary_key=True),
    Column("n", Integer, nullable=False),
    sqlite_with_rowid=False,
)
Index("fallout_system", fallout.c.system, fallout.c.hour)
Index("fallout_receiver_system", fallout.c.receiver_system, fallout.c.hour)
Index("fallout_school", fallout.c.school, fallout.c.hour)
Index("fallout_organisation", fallout.c.organisation, fallout.c.hour)

#: What people made of a group of failures; no row: nobody did anything yet.
group_life = Table(
    "group_life",
    metadata,
    *(Column(name, Text, primary_key=True) for name in ("code", "owner", "dienst", "system", "receiver_system")),
    Column("state", Text, nullable=False),
    Column("ticket", Text),
    Column("agreed_on", Text),  # ISO day
    Column("assignee", Text),
    Column("changed_us", BigInteger, nullable=False),  # of the state
    sqlite_with_rowid=False,
)
group_note = Table(
    "group_note",
    metadata,
    Column("id", _Id, primary_key=True),
    Column("key", _Bytewise, nullable=False),  # GroupKey, as it stands in URLs
    Column("at_us", BigInteger, nullable=False),
    Column("who", Text, nullable=False),
    Column("what", Text, nullable=False),
    Column("text", Text, nullable=False),
)
Index("group_note_key", group_note.c.key)

#: Refusals that need nobody any more; the board leaves them out.
refusal_closed = Table(
    "refusal_closed",
    metadata,
    Column("reference", _Bytewise, primary_key=True),
    Column("at_us", BigInteger, nullable=False),
    Column("who", Text, nullable=False),
    Column("why", Text, nullable=False),  # a person's words, or `made good` or `forgotten`
    sqlite_with_rowid=False,
)
#: Hand-ins that name another in `vervangtBedrijfsdocument`: `key` is that business id as in `used_id` (b:<id>:<sender>).
replacement = Table(
    "replacement",
    metadata,
    Column("key", _Bytewise, primary_key=True),
    Column("reference", _Bytewise, primary_key=True),  # of the newcomer
    Column("at_us", BigInteger, nullable=False),
    sqlite_with_rowid=False,
)
Index("replacement_reference", replacement.c.reference)

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
    Column("id", _Id, primary_key=True),
    Column("list", _Bytewise, nullable=False),
    Column("key", _Bytewise, nullable=False),
    Column("since", Integer, nullable=False),
    Column("before", Integer),
    Column("organisation", _Bytewise),  # of a delegation: the municipality
    Column("system", _Bytewise),
    Column("receiver", _Bytewise),  # the routeringskenmerk, or the organisation; of a delegation: the region
    Column("dienst", _Bytewise),
    Column("versie", _Bytewise),
    Column("start_day", _Bytewise),
    Column("until_day", _Bytewise),
    Column("fields", Text, nullable=False),  # JSON, as in a document
)
Index("register_row_key", register_row.c.list, register_row.c.key, register_row.c.since, unique=True)
Index("register_row_organisation", register_row.c.organisation, register_row.c.list)
Index("register_row_system", register_row.c.system, register_row.c.list)
Index("register_row_since", register_row.c.since)
Index("register_row_before", register_row.c.before, **_partial(REPLACED))

register_api_key = Table(
    "register_api_key",
    metadata,
    Column("hash", LargeBinary, primary_key=True),  # SHA-256 of the key
    Column("system", _Bytewise, nullable=False),
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

#: Who may look at the portal (routing.people). A name that begins with `oidc:` is an identity provider's.
account = Table(
    "account",
    metadata,
    Column("name", _Bytewise, primary_key=True),
    Column("source", Text, nullable=False),
    Column("label", Text, nullable=False, server_default=text("''")),
    Column("roles", Text, nullable=False),  # JSON lists, as the two below
    Column("organisations", Text, nullable=False, server_default="[]"),
    Column("systems", Text, nullable=False, server_default="[]"),
    Column("disabled", Boolean, nullable=False, server_default=text("false")),
    Column("password", Text),  # argon2 hash
    Column("one_time", Boolean, nullable=False, server_default=text("false")),
    Column("totp", LargeBinary),  # sealed with the master key
    Column("totp_step", BigInteger, nullable=False, server_default="0"),
    Column("made_us", BigInteger, nullable=False),
    sqlite_with_rowid=False,
)

account_session = Table(
    "account_session",
    metadata,
    Column("key", LargeBinary, primary_key=True),  # SHA-256 of what the cookie holds
    Column("account", _Bytewise, ForeignKey("account.name"), nullable=False),
    Column("began_us", BigInteger, nullable=False),
    Column("seen_us", BigInteger, nullable=False),
    sqlite_with_rowid=False,
)
Index("account_session_account", account_session.c.account)

#: What a session asked for that must not stand in an address: a pupil's keyed hash, a sign-in under way.
handle = Table(
    "handle",
    metadata,
    Column("key", LargeBinary, primary_key=True),  # SHA-256 of the handle
    Column("session", LargeBinary, nullable=False),
    Column("kind", Text, nullable=False),
    Column("value", LargeBinary, nullable=False),
    Column("until_us", BigInteger, nullable=False),
    sqlite_with_rowid=False,
)

#: How often somebody tried to sign in, by hashes of names and addresses.
sign_in_try = Table(
    "sign_in_try",
    metadata,
    Column("key", LargeBinary, primary_key=True),
    Column("tries", Integer, nullable=False),
    Column("until_us", BigInteger, nullable=False),  # when the count begins anew
    sqlite_with_rowid=False,
)

account_token = Table(
    "account_token",
    metadata,
    Column("hash", LargeBinary, primary_key=True),  # SHA-256 of the token
    Column("account", _Bytewise, ForeignKey("account.name"), nullable=False),
    Column("label", Text, nullable=False),
    Column("made_us", BigInteger, nullable=False),
    Column("until_us", BigInteger, nullable=False),
    Column("ended_us", BigInteger),
    sqlite_with_rowid=False,
)
Index("account_token_account", account_token.c.account)
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
Index("warning_organisation", warning.c.organisation, **_partial(STANDING))
Index("warning_system", warning.c.system, **_partial(STANDING))

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

#: Filters of the portal's lists that people gave a name; without personal data.
saved_view = Table(
    "saved_view",
    metadata,
    Column("account", _Bytewise, primary_key=True),
    Column("name", _Bytewise, primary_key=True),
    Column("query", Text, nullable=False),
    Column("at_us", BigInteger, nullable=False),
    sqlite_with_rowid=False,
)

#: The numbers `seq` columns are drawn from on SQLite (PostgreSQL has sequences) and single values such as the broker's epoch.
counter = Table("counter", metadata, Column("name", Text, primary_key=True), Column("value", BigInteger, nullable=False))
note = Table("note", metadata, Column("name", Text, primary_key=True), Column("value", Text, nullable=False))


def _moves(table: dict[str, list[str]]) -> str:
    return ", ".join(f"'{before}>{after}'" for before, afters in table.items() for after in afters)


MESSAGE_PAIRS: Final = _moves({str(b): [str(a) for a in sorted(after)] for b, after in MESSAGE_MOVES.items()})
DELIVERY_PAIRS: Final = _moves({str(b): [str(a) for a in sorted(after)] for b, after in DELIVERY_MOVES.items()})


def lifecycle_triggers(dialect: str) -> list[str]:
    """Statements that make the database refuse any move that `schemas.lifecycle` does not list, and any other birth."""
    born = {"message": _quoted([str(MessageState.RECEIVED)]), "delivery": _quoted([str(s) for s in sorted(DELIVERY_BORN)])}
    pairs = {"message": MESSAGE_PAIRS, "delivery": DELIVERY_PAIRS}
    statements = []
    for name in ("message", "delivery"):
        if dialect == "sqlite":
            statements += [
                f"CREATE TRIGGER {name}_born BEFORE INSERT ON {name} WHEN NEW.state NOT IN ({born[name]}) "
                f"BEGIN SELECT RAISE(ABORT, 'lifecycle: a {name} is not born in this state'); END",
                f"CREATE TRIGGER {name}_moves BEFORE UPDATE OF state ON {name} "
                f"WHEN OLD.state <> NEW.state AND OLD.state || '>' || NEW.state NOT IN ({pairs[name]}) "
                f"BEGIN SELECT RAISE(ABORT, 'lifecycle: a {name} may not make this move'); END",
            ]
        else:
            statements += [
                f"CREATE FUNCTION {name}_lifecycle() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
                f"IF TG_OP = 'INSERT' THEN IF NEW.state NOT IN ({born[name]}) THEN "
                f"RAISE EXCEPTION 'lifecycle: a {name} is not born in this state'; END IF; "
                f"ELSIF OLD.state <> NEW.state AND OLD.state || '>' || NEW.state NOT IN ({pairs[name]}) THEN "
                f"RAISE EXCEPTION 'lifecycle: a {name} may not make this move'; END IF; RETURN NEW; END $$",
                f"CREATE TRIGGER {name}_born BEFORE INSERT ON {name} FOR EACH ROW EXECUTE FUNCTION {name}_lifecycle()",
                f"CREATE TRIGGER {name}_moves BEFORE UPDATE OF state ON {name} FOR EACH ROW EXECUTE FUNCTION {name}_lifecycle()",
            ]
    return statements


def drop_lifecycle_triggers(dialect: str) -> list[str]:
    """Statements that remove them, so that a changed lifecycle can take their place."""
    if dialect == "sqlite":
        return [f"DROP TRIGGER IF EXISTS {name}_{what}" for name in ("message", "delivery") for what in ("born", "moves")]
    return [f"DROP FUNCTION IF EXISTS {name}_lifecycle() CASCADE" for name in ("message", "delivery")]
