"""when what an attempt put in a mailbox was first read over REST"""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("attempt", sa.Column("fetched_us", sa.BigInteger(), nullable=True))


def downgrade() -> None:
    op.drop_column("attempt", "fetched_us")
