"""views of the portal's lists that people gave a name"""

import sqlalchemy as sa
from alembic import op

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None


def upgrade() -> None:
    bytewise = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
    op.create_table(
        "saved_view",
        sa.Column("account", bytewise, nullable=False),
        sa.Column("name", bytewise, nullable=False),
        sa.Column("query", sa.Text(), nullable=False),
        sa.Column("at_us", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("account", "name"),
        sqlite_with_rowid=False,
    )


def downgrade() -> None:
    op.drop_table("saved_view")
