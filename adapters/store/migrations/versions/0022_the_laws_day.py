"""the day by which a date of the law counts a message"""

import sqlalchemy as sa
from alembic import op

revision = "0022"
down_revision = "0021"
branch_labels = None
depends_on = None


def upgrade() -> None:
    for table in ("message", "item"):
        op.add_column(table, sa.Column("law_day", sa.Integer(), nullable=True))


def downgrade() -> None:
    for table in ("item", "message"):
        op.drop_column(table, "law_day")
