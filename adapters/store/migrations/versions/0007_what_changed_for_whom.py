"""what changed for whom, in the journal's order; and refusals by business id"""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    bytewise = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
    op.create_table(
        "change",
        sa.Column("system", bytewise, nullable=False),
        sa.Column("block", sa.BigInteger(), nullable=False),
        sa.Column("reference", bytewise, nullable=False),
        sa.PrimaryKeyConstraint("system", "block", "reference"),
        sqlite_with_rowid=False,
    )
    op.execute("INSERT INTO counter (name, value) VALUES ('changes', 0)")
    op.create_index("refusal_business_id", "refusal", ["business_id"], unique=False)


def downgrade() -> None:
    op.drop_index("refusal_business_id", "refusal")
    op.execute("DELETE FROM counter WHERE name = 'changes'")
    op.drop_table("change")
