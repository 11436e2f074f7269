"""what passed of each organisation, by hour and pair of systems"""

import sqlalchemy as sa
from alembic import op

revision = "0020"
down_revision = "0019"
branch_labels = None
depends_on = None

_text = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def upgrade() -> None:
    op.create_table(
        "traffic_own",
        sa.Column("hour", sa.Integer(), nullable=False),
        *(sa.Column(name, _text, nullable=False) for name in ("organisation", "side", "dienst", "system", "receiver_system")),
        *(sa.Column(name, sa.Integer(), nullable=False, server_default="0") for name in ("handed_in", "refused", "delivered", "failed")),
        sa.PrimaryKeyConstraint("hour", "organisation", "side", "dienst", "system", "receiver_system"),
        sqlite_with_rowid=False,
    )


def downgrade() -> None:
    op.drop_table("traffic_own")
