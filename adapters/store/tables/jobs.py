"""Tables of what people do with many at once: a preview or a job, and each one of its selection."""

from __future__ import annotations

from typing import Final

from sqlalchemy import BigInteger, Boolean, Column, Float, Index, Integer, LargeBinary, Table, Text, text

from adapters.store.tables.shared import BYTEWISE, ID, metadata, partial

#: Predicates of partial indexes; queries must repeat them word for word to use the index.
ACTIVE: Final = "(state IN ('preview', 'running') OR under_way > 0)"
UNDER_WAY: Final = "state = 'under_way'"

#: An action of a person's on a frozen selection: a preview, or a job (routing.jobs).
job = Table(
    "job",
    metadata,
    Column("seq", ID, primary_key=True),
    Column("id", BYTEWISE, nullable=False, unique=True),
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
Index("job_active", job.c.state, **partial(ACTIVE))

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
Index("job_item_under_way", job_item.c.job, job_item.c.number, **partial(UNDER_WAY))
