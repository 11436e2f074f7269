"""who the portal's people are and for how long their word counts; and requests to open a message's content"""

import sqlalchemy as sa
from alembic import op

revision = "0019"
down_revision = "0018"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("account", sa.Column("email", sa.Text(), nullable=False, server_default=sa.text("''")))
    op.add_column("account", sa.Column("confirmed_us", sa.BigInteger(), nullable=True))
    op.add_column("account", sa.Column("one_time_until_us", sa.BigInteger(), nullable=True))
    op.create_table(
        "content_request",
        sa.Column("id", sa.LargeBinary(), nullable=False),
        sa.Column("account", sa.Text(), nullable=False),
        sa.Column("proof", sa.LargeBinary(), nullable=False),
        sa.Column("reference", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("public_key", sa.LargeBinary(), nullable=False),
        sa.Column("until_us", sa.BigInteger(), nullable=False),
        sa.Column("taken", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("outcome", sa.Text(), nullable=True),
        sa.Column("answer", sa.LargeBinary(), nullable=True),
        sa.PrimaryKeyConstraint("id"),
    )


def downgrade() -> None:
    op.drop_table("content_request")
    for name in ("one_time_until_us", "confirmed_us", "email"):
        op.drop_column("account", name)
