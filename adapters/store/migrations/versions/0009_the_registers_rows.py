"""the register's rows, with their history, and API keys; `adapters.store.register.adopt` turns the old documents into rows"""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    bytewise = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
    op.add_column("register_version", sa.Column("why", sa.Text(), nullable=True))
    op.create_table(
        "register_row",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("list", bytewise, nullable=False),
        sa.Column("key", bytewise, nullable=False),
        sa.Column("since", sa.Integer(), nullable=False),
        sa.Column("before", sa.Integer(), nullable=True),
        sa.Column("organisation", bytewise, nullable=True),
        sa.Column("system", bytewise, nullable=True),
        sa.Column("receiver", bytewise, nullable=True),
        sa.Column("dienst", bytewise, nullable=True),
        sa.Column("versie", bytewise, nullable=True),
        sa.Column("start_day", bytewise, nullable=True),
        sa.Column("until_day", bytewise, nullable=True),
        sa.Column("fields", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("register_row_key", "register_row", ["list", "key", "since"], unique=True)
    op.create_index("register_row_organisation", "register_row", ["organisation", "list"], unique=False)
    op.create_index("register_row_system", "register_row", ["system", "list"], unique=False)
    op.create_index("register_row_since", "register_row", ["since"], unique=False)
    replaced = sa.text("before IS NOT NULL")
    op.create_index("register_row_before", "register_row", ["before"], unique=False, sqlite_where=replaced, postgresql_where=replaced)
    op.create_table(
        "register_api_key",
        sa.Column("hash", sa.LargeBinary(), nullable=False),
        sa.Column("system", bytewise, nullable=False),
        sa.Column("label", sa.Text(), nullable=False),
        sa.Column("made_us", sa.BigInteger(), nullable=False),
        sa.Column("ended_us", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("hash"),
    )
    op.create_index("register_api_key_system", "register_api_key", ["system"], unique=False)


def downgrade() -> None:
    op.drop_table("register_api_key")
    op.drop_table("register_row")
    op.drop_column("register_version", "why")
