"""Tables of alerts: what is amiss, whom parties want to be told, what was told, and counts to judge by. They are small."""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import BigInteger, Boolean, Column, Index, Integer, LargeBinary, Table, Text, text

from adapters.store.tables import metadata

_Bytewise = Text().with_variant(Text(collation="C"), "postgresql")

STANDING: Final = "state <> 'closed'"
UNSENT: Final = "sent_us IS NULL AND given_up_us IS NULL"


def _partial(predicate: str) -> dict[str, Any]:
    return {"sqlite_where": text(predicate), "postgresql_where": text(predicate)}


contact = Table(
    "contact",
    metadata,
    Column("id", _Bytewise, primary_key=True),
    Column("party", _Bytewise, nullable=False),
    Column("dienst", _Bytewise, nullable=False),  # empty: every one
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
    Column("id", _Bytewise, primary_key=True),  # follows from the five columns behind it
    Column("kind", _Bytewise, nullable=False),
    Column("partner", _Bytewise, nullable=False),
    Column("dienst", _Bytewise, nullable=False),
    Column("code", _Bytewise, nullable=False),
    Column("about", _Bytewise, nullable=False),
    Column("state", _Bytewise, nullable=False),
    Column("size", BigInteger, nullable=False),
    Column("since_us", BigInteger, nullable=False),
    Column("last_us", BigInteger, nullable=False),
    Column("opened_us", BigInteger, nullable=False),
    Column("told_us", BigInteger, nullable=False),
    Column("closed_us", BigInteger),
    Column("more", Text, nullable=False),  # JSON: what nobody searches by
)
Index("alert_standing", alert.c.partner, **_partial(STANDING))
Index("alert_closed", alert.c.closed_us)

#: The outbox of mails and webhooks: written with what they tell of, sent afterwards, by id as often as it takes.
telling = Table(
    "telling",
    metadata,
    Column("id", _Bytewise, primary_key=True),  # its Message-ID, and its webhook-id
    Column("key", _Bytewise, nullable=False, unique=True),  # what is made once: a day's digest for a contact
    Column("kind", _Bytewise, nullable=False),
    Column("contact", _Bytewise, nullable=False),
    Column("party", _Bytewise, nullable=False),
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
Index("telling_unsent", telling.c.due_us, **_partial(UNSENT))
Index("telling_made", telling.c.made_us)

#: How many failures of a cause were counted in each ten minutes of the last day, and how many ever.
tally = Table(
    "alert_tally",
    metadata,
    Column("cause", _Bytewise, primary_key=True),
    Column("slot", BigInteger, primary_key=True, autoincrement=False),
    Column("n", BigInteger, nullable=False),
)
Index("alert_tally_slot", tally.c.slot)
total = Table("alert_total", metadata, Column("cause", _Bytewise, primary_key=True), Column("total", BigInteger, nullable=False))
