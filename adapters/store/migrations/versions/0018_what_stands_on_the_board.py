"""how much of each sort stands on the board, and what passed per school year; the next leader of the board adds both up"""

import sqlalchemy as sa
from alembic import op

revision = "0018"
down_revision = "0017"
branch_labels = None
depends_on = None


def upgrade() -> None:
    bytewise = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
    op.create_table(
        "standing",
        sa.Column("sort", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=False, nullable=False),
        *(
            sa.Column(name, bytewise, nullable=False)
            for name in ("dienst", "bericht", "system", "receiver_system", "lane", "state", "code", "owner")
        ),
        sa.Column("fallen", sa.Boolean(), nullable=False),
        sa.Column("law_year", sa.Integer(), nullable=False),
        sa.Column("n", sa.Integer(), nullable=False),
        sa.Column("first_us", sa.BigInteger(), nullable=False),
        sa.Column("last_us", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("sort"),
    )
    if op.get_bind().dialect.name == "postgresql":  # its few rows are written again and again: they find room beside themselves
        op.execute("ALTER TABLE standing SET (fillfactor = 30)")
    op.create_table(
        "traffic_year",
        sa.Column("year", sa.Integer(), autoincrement=False, nullable=False),
        *(sa.Column(name, bytewise, nullable=False) for name in ("dienst", "system", "receiver_system")),
        *(
            sa.Column(name, sa.BigInteger(), nullable=False, server_default="0")
            for name in ("handed_in", "refused", "delivered", "failed", "took_s", "in_minute", "in_hour", "in_day")
        ),
        sa.PrimaryKeyConstraint("year", "dienst", "system", "receiver_system"),
        sqlite_with_rowid=False,
    )
    op.add_column("item", sa.Column("kept", sa.Boolean(), nullable=False, server_default=sa.text("true")))
    op.add_column("item", sa.Column("message_seq", sa.BigInteger()))


def downgrade() -> None:
    op.drop_column("item", "message_seq")
    op.drop_column("item", "kept")
    op.drop_table("traffic_year")
    op.drop_table("standing")
