"""copies in mailboxes of deliveries that were withdrawn from them"""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "withdrawal",
        sa.Column("system", sa.Text(), nullable=False),
        sa.Column("delivery", sa.Text(), nullable=False),
        sa.Column("at_us", sa.BigInteger(), nullable=False),
        sa.Column("certain", sa.Boolean(), nullable=False),
        sa.Column("looks", sa.Integer(), server_default="0", nullable=False),
        sa.Column("look_at_us", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("system", "delivery"),
        sqlite_with_rowid=False,
    )
    op.create_index("withdrawal_look", "withdrawal", ["look_at_us"], unique=False)
    not_fetched = sa.text("state = 'failed' AND code = 'MAILBOX_NOT_FETCHED' AND lane IS NOT NULL")
    op.create_index(
        "delivery_not_fetched", "delivery", ["lane", "endpoint"], unique=False, sqlite_where=not_fetched, postgresql_where=not_fetched
    )


def downgrade() -> None:
    op.drop_index("delivery_not_fetched", "delivery")
    op.drop_table("withdrawal")
