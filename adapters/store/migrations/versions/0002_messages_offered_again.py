"""messages that failed as a whole and are offered to routing again are found without reading the others"""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

#: Must stay as it is in adapters.store.tables.
_AGAIN = "state = 'failed' AND code IS NULL"


def upgrade() -> None:
    op.create_index("message_again", "message", ["seq"], unique=False, sqlite_where=sa.text(_AGAIN), postgresql_where=sa.text(_AGAIN))


def downgrade() -> None:
    op.drop_index("message_again", table_name="message")
