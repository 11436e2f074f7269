"""Tables of what the portal shows: the board, its counts, and what people made of groups of failures."""

from __future__ import annotations

from sqlalchemy import BigInteger, Boolean, Column, Index, Integer, LargeBinary, Table, Text, text

from adapters.store.tables.shared import BYTEWISE, ID, metadata

#: The board (routing.board): one row for each thing that is open or fell out, kept by the audit worker out of the tables above, and made
#: anew from them at any time. `n` is only the place of a row among others with the same time: rows of one time stand together.
item = Table(
    "item",
    metadata,
    Column("n", ID, primary_key=True, autoincrement=False),
    Column("id", BYTEWISE, nullable=False, unique=True),  # delivery_id; of a message or refusal its reference
    Column("kind", Text, nullable=False),  # delivery, message, refusal
    Column("seq", BigInteger, nullable=False),  # of the delivery or the message; 0 of a refusal
    Column("reference", BYTEWISE, nullable=False),
    Column("dienst", BYTEWISE),
    Column("versie", BYTEWISE),
    Column("bericht", BYTEWISE),
    Column("sender", BYTEWISE),
    Column("school", BYTEWISE),  # the institution behind the sender
    Column("brin", BYTEWISE),
    Column("system", BYTEWISE),
    Column("receiver", BYTEWISE),
    Column("organisation", BYTEWISE),  # the institution behind the receiver
    Column("receiver_system", BYTEWISE),
    Column("target", Text),
    Column("fallen", Boolean, nullable=False),  # uitval; else openstaand
    Column("state", BYTEWISE, nullable=False),
    Column("code", BYTEWISE),  # or what it waits for
    Column("owner", BYTEWISE),
    Column("reason", Text),
    Column("received_us", BigInteger, nullable=False),
    Column("at_us", BigInteger, nullable=False),  # of its last move; of a message that is not routed: its hand-in
    Column("deadline_us", BigInteger),
    Column("business_id", BYTEWISE),  # in small letters
    Column("message_id", BYTEWISE),
    Column("order_key", LargeBinary),
    Column("subject", LargeBinary),
    Column("lane", BYTEWISE),
    Column("endpoint", Text),
    Column("attempts", Integer, nullable=False),
    Column("kept", Boolean, nullable=False, server_default=text("true")),  # of its message; nothing is erased while it is on the board
    Column("message_seq", BigInteger),  # of a delivery; NULL: no delivery, or written by 0.5
    Column("law_day", Integer),  # of its message
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
    Column("sort", ID, primary_key=True, autoincrement=False),
    *(
        Column(_name, BYTEWISE, nullable=False)
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
    Column("dienst", BYTEWISE, primary_key=True),
    Column("bericht", BYTEWISE, primary_key=True),
    Column("system", BYTEWISE, primary_key=True),
    Column("receiver_system", BYTEWISE, primary_key=True),  # "": handed in or refused
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
    Column("dienst", BYTEWISE, primary_key=True),
    Column("system", BYTEWISE, primary_key=True),
    Column("receiver_system", BYTEWISE, primary_key=True),
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
    Column("organisation", BYTEWISE, primary_key=True),
    Column("day", Integer, primary_key=True, autoincrement=False),
    Column("side", BYTEWISE, primary_key=True),
    Column("dienst", BYTEWISE, primary_key=True),
    Column("system", BYTEWISE, primary_key=True),  # the organisation's own, on this side
    *(
        Column(name, Integer, nullable=False, server_default="0")
        for name in ("handed_in", "refused", "delivered", "failed", "took_s", "in_minute", "in_hour", "in_day")
    ),
    sqlite_with_rowid=False,
)
#: The same per organisation and pair of systems, by the hour for eight days and then by the school year (`-year`), of what its own people
#: see of it (adapters.store.board_own).
traffic_own = Table(
    "traffic_own",
    metadata,
    Column("hour", Integer, primary_key=True, autoincrement=False),
    Column("organisation", BYTEWISE, primary_key=True),
    Column("side", BYTEWISE, primary_key=True),
    Column("dienst", BYTEWISE, primary_key=True),
    Column("system", BYTEWISE, primary_key=True),
    Column("receiver_system", BYTEWISE, primary_key=True),  # "": handed in, refused, or routed nowhere
    *(Column(name, Integer, nullable=False, server_default="0") for name in ("handed_in", "refused", "delivered", "failed")),
    sqlite_with_rowid=False,
)
#: Who was heard of in a school year (named by the year in which it begins), for "sent nothing" and "less than half of last season".
season = Table(
    "season",
    metadata,
    Column("year", Integer, primary_key=True, autoincrement=False),
    Column("dienst", BYTEWISE, primary_key=True),
    Column("bericht", BYTEWISE, primary_key=True),
    Column("side", BYTEWISE, primary_key=True),  # `from`: handed in; `to`: acknowledged
    Column("organisation", BYTEWISE, primary_key=True),
    Column("system", BYTEWISE, primary_key=True),
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
    Column("code", BYTEWISE, primary_key=True),
    Column("owner", BYTEWISE, primary_key=True),
    Column("dienst", BYTEWISE, primary_key=True),
    Column("system", BYTEWISE, primary_key=True),
    Column("receiver_system", BYTEWISE, primary_key=True),
    Column("school", BYTEWISE, primary_key=True),
    Column("organisation", BYTEWISE, primary_key=True),
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
    Column("id", ID, primary_key=True),
    Column("key", BYTEWISE, nullable=False),  # GroupKey, as it stands in URLs
    Column("at_us", BigInteger, nullable=False),
    Column("who", Text, nullable=False),
    Column("what", Text, nullable=False),
    Column("text", Text, nullable=False),
)
Index("group_note_key", group_note.c.key)

#: Filters of the portal's lists that people gave a name; without personal data.
saved_view = Table(
    "saved_view",
    metadata,
    Column("account", BYTEWISE, primary_key=True),
    Column("name", BYTEWISE, primary_key=True),
    Column("query", Text, nullable=False),
    Column("at_us", BigInteger, nullable=False),
    sqlite_with_rowid=False,
)
