"""where a worker can be asked how it is"""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("worker", sa.Column("metrics", sa.Text(), nullable=True))


def downgrade() -> None:
    op.drop_column("worker", "metrics")
