"""what people do about what fell out: jobs on frozen selections, retours, deliveries offered anew, and the newest of each state"""

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None


def upgrade() -> None:
    bytewise = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
    op.add_column("delivery", sa.Column("again_of", sa.BigInteger(), nullable=True))
    op.create_table(
        "newest",
        sa.Column("order_key", sa.LargeBinary(), nullable=False),
        sa.Column("receiver", bytewise, nullable=False),
        sa.Column("message_seq", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("order_key", "receiver"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "retour",
        sa.Column("reference", bytewise, nullable=False),
        sa.Column("delivery", bytewise, nullable=False),
        sa.Column("deliver_again", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("reference", "delivery"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "job",
        sa.Column("seq", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("id", bytewise, nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("action", sa.Text(), nullable=False),
        sa.Column("endpoint", sa.Text(), nullable=True),
        sa.Column("deliver_again", sa.Boolean(), nullable=True),
        sa.Column("selection", sa.Text(), nullable=False),
        sa.Column("scope", sa.Text(), nullable=False),
        sa.Column("shown", sa.Text(), nullable=False),
        sa.Column("count", sa.Integer(), nullable=False),
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.Column("trial", sa.Integer(), server_default="0", nullable=False),
        sa.Column("rate", sa.Float(), server_default="0", nullable=False),
        sa.Column("stop_below", sa.Float(), server_default="0", nullable=False),
        sa.Column("patience_s", sa.Integer(), server_default="0", nullable=False),
        sa.Column("reason", sa.Text(), server_default="", nullable=False),
        sa.Column("made_by", sa.Text(), nullable=False),
        sa.Column("made_us", sa.BigInteger(), nullable=False),
        sa.Column("confirmed_us", sa.BigInteger(), nullable=True),
        sa.Column("approved_by", sa.Text(), nullable=True),
        sa.Column("changed_by", sa.Text(), nullable=True),
        sa.Column("changed_us", sa.BigInteger(), nullable=False),
        sa.Column("stopped", sa.Text(), nullable=True),
        sa.Column("last", sa.Integer(), server_default="0", nullable=False),
        sa.Column("trial_left", sa.Integer(), server_default="0", nullable=False),
        sa.Column("in_trial", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("since", sa.Integer(), server_default="0", nullable=False),
        sa.Column("planned", sa.Integer(), server_default="0", nullable=False),
        sa.Column("under_way", sa.Integer(), server_default="0", nullable=False),
        sa.Column("succeeded", sa.Integer(), server_default="0", nullable=False),
        sa.Column("failed", sa.Integer(), server_default="0", nullable=False),
        sa.Column("superseded", sa.Integer(), server_default="0", nullable=False),
        sa.Column("skipped", sa.Integer(), server_default="0", nullable=False),
        sa.PrimaryKeyConstraint("seq"),
        sa.UniqueConstraint("id"),
    )
    active = sa.text("(state IN ('preview', 'running') OR under_way > 0)")
    op.create_index("job_active", "job", ["state"], sqlite_where=active, postgresql_where=active)
    op.create_table(
        "job_item",
        sa.Column("job", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("number", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("seq", sa.BigInteger(), nullable=True),
        sa.Column("reference", sa.Text(), nullable=True),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("why", sa.Text(), nullable=True),
        sa.Column("at_us", sa.BigInteger(), nullable=True),
        sa.Column("made", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("job", "number"),
        sqlite_with_rowid=False,
    )
    under_way = sa.text("state = 'under_way'")
    op.create_index("job_item_under_way", "job_item", ["job", "number"], sqlite_where=under_way, postgresql_where=under_way)
    # what was routed before has to be read once: workers.jobs does that, a little at a time
    op.execute("INSERT INTO counter (name, value) VALUES ('newest', 0)")
    op.execute("INSERT INTO counter (name, value) SELECT 'newest_until', COALESCE(max(seq), 0) FROM delivery")


def downgrade() -> None:
    op.execute("DELETE FROM counter WHERE name IN ('newest', 'newest_until')")
    for name in ("job_item", "job", "retour", "newest"):
        op.drop_table(name)
    op.drop_column("delivery", "again_of")
