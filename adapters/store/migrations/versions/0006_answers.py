"""answers: by when one must come to a delivery, and which message answered which"""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

#: Must stay as they are in adapters.store.tables.
_AWAITING_ANSWER = "state = 'acknowledged' AND answer_within_us IS NOT NULL"
_ANSWER_BY = "(COALESCE(delivered_us, at_us) + answer_within_us)"


def upgrade() -> None:
    op.add_column("delivery", sa.Column("answer_within_us", sa.BigInteger(), nullable=True))
    where = sa.text(_AWAITING_ANSWER)
    op.create_index("delivery_unanswered", "delivery", [sa.text(_ANSWER_BY)], unique=False, sqlite_where=where, postgresql_where=where)
    op.create_table(
        "answer",
        sa.Column("message_seq", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=False, nullable=False),
        sa.Column("delivery_seq", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.ForeignKeyConstraint(["message_seq"], ["message.seq"]),
        sa.ForeignKeyConstraint(["delivery_seq"], ["delivery.seq"]),
        sa.PrimaryKeyConstraint("message_seq"),
    )
    op.create_index("answer_delivery", "answer", ["delivery_seq"], unique=False)


def downgrade() -> None:
    op.drop_index("answer_delivery", table_name="answer")
    op.drop_table("answer")
    op.drop_index("delivery_unanswered", table_name="delivery")
    op.drop_column("delivery", "answer_within_us")
