"""warnings before things break, and what they are made from: certificates that were seen, and who sent when"""

import sqlalchemy as sa
from alembic import op

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "seen_certificate",
        sa.Column("system", sa.Text(), nullable=False),
        sa.Column("use", sa.Text(), nullable=False),
        sa.Column("place", sa.Text(), nullable=False),
        sa.Column("sha256", sa.Text(), nullable=False),
        sa.Column("until_us", sa.BigInteger(), nullable=False),
        sa.Column("seen_us", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("system", "use", "place", "sha256"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "last_hand_in",
        sa.Column("system", sa.Text(), nullable=False),
        sa.Column("dienst", sa.Text(), nullable=False),
        sa.Column("organisation", sa.Text(), nullable=False),
        sa.Column("last_us", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("system", "dienst", "organisation"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "warning",
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("nl", sa.Text(), nullable=False),
        sa.Column("en", sa.Text(), nullable=False),
        sa.Column("owner", sa.Text(), nullable=False),
        sa.Column("organisation", sa.Text(), nullable=True),
        sa.Column("system", sa.Text(), nullable=True),
        sa.Column("day", sa.Text(), nullable=True),
        sa.Column("within", sa.Integer(), nullable=True),
        sa.Column("since_us", sa.BigInteger(), nullable=False),
        sa.Column("seen_us", sa.BigInteger(), nullable=False),
        sa.Column("moved_us", sa.BigInteger(), nullable=False),
        sa.Column("ended_us", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("key"),
        sqlite_with_rowid=False,
    )
    standing = sa.text("ended_us IS NULL")
    op.create_index("warning_moved", "warning", ["moved_us"], unique=False)
    for name in ("organisation", "system"):
        op.create_index(f"warning_{name}", "warning", [name], unique=False, sqlite_where=standing, postgresql_where=standing)
    op.execute("INSERT INTO counter (name, value) VALUES ('last hand-in', 0)")
    op.add_column("lane", sa.Column("since_us", sa.BigInteger(), nullable=True))


def downgrade() -> None:
    op.drop_column("lane", "since_us")
    op.execute("DELETE FROM counter WHERE name = 'last hand-in' OR name LIKE 'warnings %'")
    op.drop_table("warning")
    op.drop_table("last_hand_in")
    op.drop_table("seen_certificate")
