"""refusals whose hand-in has not been acknowledged to the broker yet, so that a redelivery is not recorded again"""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

#: Must stay as it is in adapters.store.tables.
_UNSETTLED = "unsettled"


def upgrade() -> None:
    op.add_column("refusal", sa.Column("unsettled", sa.Boolean(), nullable=False, server_default=sa.text("false")))
    where = sa.text(_UNSETTLED)
    op.create_index("refusal_unsettled", "refusal", ["digest"], unique=False, sqlite_where=where, postgresql_where=where)


def downgrade() -> None:
    op.drop_index("refusal_unsettled", table_name="refusal")
    op.drop_column("refusal", "unsettled")
