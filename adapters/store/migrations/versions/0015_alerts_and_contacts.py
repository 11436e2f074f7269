"""alerts, whom parties want to be told, and what is told to them"""

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None

_BYTEWISE = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
_UNSENT = sa.text("sent_us IS NULL AND given_up_us IS NULL")
_STANDING = sa.text("state <> 'closed'")


def upgrade() -> None:
    op.create_table(
        "contact",
        sa.Column("id", _BYTEWISE, primary_key=True),
        sa.Column("party", _BYTEWISE, nullable=False),
        sa.Column("dienst", _BYTEWISE, nullable=False),
        sa.Column("role", sa.Text(), nullable=False),
        sa.Column("channel", sa.Text(), nullable=False),
        sa.Column("address", sa.Text(), nullable=False),
        sa.Column("language", sa.Text(), nullable=False),
        sa.Column("quiet", sa.Text(), nullable=False),
        sa.Column("step", sa.Integer(), nullable=False),
        sa.Column("digest", sa.Boolean(), nullable=False),
        sa.Column("secret", sa.LargeBinary(), nullable=True),
        sa.Column("made_us", sa.BigInteger(), nullable=False),
        sa.Column("ended_us", sa.BigInteger(), nullable=True),
    )
    op.create_index("contact_party", "contact", ["party"])
    op.create_table(
        "alert",
        sa.Column("id", _BYTEWISE, primary_key=True),
        sa.Column("kind", _BYTEWISE, nullable=False),
        sa.Column("partner", _BYTEWISE, nullable=False),
        sa.Column("dienst", _BYTEWISE, nullable=False),
        sa.Column("code", _BYTEWISE, nullable=False),
        sa.Column("about", _BYTEWISE, nullable=False),
        sa.Column("state", _BYTEWISE, nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("since_us", sa.BigInteger(), nullable=False),
        sa.Column("last_us", sa.BigInteger(), nullable=False),
        sa.Column("opened_us", sa.BigInteger(), nullable=False),
        sa.Column("told_us", sa.BigInteger(), nullable=False),
        sa.Column("closed_us", sa.BigInteger(), nullable=True),
        sa.Column("more", sa.Text(), nullable=False),
    )
    op.create_index("alert_standing", "alert", ["partner"], sqlite_where=_STANDING, postgresql_where=_STANDING)
    op.create_index("alert_closed", "alert", ["closed_us"])
    op.create_table(
        "telling",
        sa.Column("id", _BYTEWISE, primary_key=True),
        sa.Column("key", _BYTEWISE, nullable=False, unique=True),
        sa.Column("kind", _BYTEWISE, nullable=False),
        sa.Column("contact", _BYTEWISE, nullable=False),
        sa.Column("party", _BYTEWISE, nullable=False),
        sa.Column("alerts", sa.Text(), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("content", sa.Text(), nullable=False),
        sa.Column("made_us", sa.BigInteger(), nullable=False),
        sa.Column("due_us", sa.BigInteger(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("sent_us", sa.BigInteger(), nullable=True),
        sa.Column("given_up_us", sa.BigInteger(), nullable=True),
        sa.Column("error", sa.Text(), nullable=True),
    )
    op.create_index("telling_unsent", "telling", ["due_us"], sqlite_where=_UNSENT, postgresql_where=_UNSENT)
    op.create_index("telling_made", "telling", ["made_us"])
    op.create_table(
        "alert_tally",
        sa.Column("cause", _BYTEWISE, primary_key=True),
        sa.Column("slot", sa.BigInteger(), primary_key=True, autoincrement=False),
        sa.Column("n", sa.BigInteger(), nullable=False),
    )
    op.create_index("alert_tally_slot", "alert_tally", ["slot"])
    op.create_table(
        "alert_total",
        sa.Column("cause", _BYTEWISE, primary_key=True),
        sa.Column("total", sa.BigInteger(), nullable=False),
    )


def downgrade() -> None:
    for table in ("alert_total", "alert_tally", "telling", "alert", "contact"):
        op.drop_table(table)
