"""Tables of alerts: what is amiss, whom parties want to be told, what was told, and counts to judge by. They are small."""

from __future__ import annotations

from typing import Final

from sqlalchemy import BigInteger, Boolean, Column, Index, Integer, LargeBinary, Table, Text

from adapters.store.tables.shared import BYTEWISE, metadata, partial

STANDING: Final = "state <> 'closed'"
UNSENT: Final = "sent_us IS NULL AND given_up_us IS NULL"

contact = Table(
    "contact",
    metadata,
    Column("id", BYTEWISE, primary_key=True),
    Column("party", BYTEWISE, nullable=False),
    Column("dienst", BYTEWISE, nullable=False),  # empty: every one
    Column("role", Text, nullable=False),
    Column("channel", Text, nullable=False),
    Column("address", Text, nullable=False),
    Column("language", Text, nullable=False),
    Column("quiet", Text, nullable=False),
    Column("step", Integer, nullable=False),
    Column("digest", Boolean, nullable=False),
    Column("secret", LargeBinary),  # of a webhook, sealed with the master key
    Column("made_us", BigInteger, nullable=False),
    Column("ended_us", BigInteger),
)
Index("contact_party", contact.c.party)

alert = Table(
    "alert",
    metadata,
    Column("id", BYTEWISE, primary_key=True),  # follows from the five columns behind it
    Column("kind", BYTEWISE, nullable=False),
    Column("partner", BYTEWISE, nullable=False),
    Column("dienst", BYTEWISE, nullable=False),
    Column("code", BYTEWISE, nullable=False),
    Column("about", BYTEWISE, nullable=False),
    Column("state", BYTEWISE, nullable=False),
    Column("size", BigInteger, nullable=False),
    Column("since_us", BigInteger, nullable=False),
    Column("last_us", BigInteger, nullable=False),
    Column("opened_us", BigInteger, nullable=False),
    Column("told_us", BigInteger, nullable=False),
    Column("closed_us", BigInteger),
    Column("more", Text, nullable=False),  # JSON: what nobody searches by
)
Index("alert_standing", alert.c.partner, **partial(STANDING))
Index("alert_closed", alert.c.closed_us)

#: The outbox of mails and webhooks: written with what they tell of, sent afterwards, by id as often as it takes.
telling = Table(
    "telling",
    metadata,
    Column("id", BYTEWISE, primary_key=True),  # its Message-ID, and its webhook-id
    Column("key", BYTEWISE, nullable=False, unique=True),  # what is made once: a day's digest for a contact
    Column("kind", BYTEWISE, nullable=False),
    Column("contact", BYTEWISE, nullable=False),
    Column("party", BYTEWISE, nullable=False),
    Column("alerts", Text, nullable=False),  # JSON: ids
    Column("subject", Text, nullable=False),
    Column("content", Text, nullable=False),  # JSON; empty once it is old
    Column("made_us", BigInteger, nullable=False),
    Column("due_us", BigInteger, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("sent_us", BigInteger),
    Column("given_up_us", BigInteger),
    Column("error", Text),
)
Index("telling_unsent", telling.c.due_us, **partial(UNSENT))
Index("telling_made", telling.c.made_us)

#: How many failures of a cause were counted in each ten minutes of the last day, and how many ever.
tally = Table(
    "alert_tally",
    metadata,
    Column("cause", BYTEWISE, primary_key=True),
    Column("slot", BigInteger, primary_key=True, autoincrement=False),
    Column("n", BigInteger, nullable=False),
)
Index("alert_tally_slot", tally.c.slot)
total = Table("alert_total", metadata, Column("cause", BYTEWISE, primary_key=True), Column("total", BigInteger, nullable=False))
