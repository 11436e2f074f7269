"""how much of each sort stands on the board; the keeper counts it at its next turn"""

import sqlalchemy as sa
from alembic import op

revision = "0018"
down_revision = "0017"
branch_labels = None
depends_on = None


def upgrade() -> None:
    bytewise = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
    op.create_table(
        "standing",
        sa.Column("sort", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=False, nullable=False),
        *(
            sa.Column(name, bytewise, nullable=False)
            for name in ("dienst", "bericht", "system", "receiver_system", "lane", "state", "code", "owner")
        ),
        sa.Column("fallen", sa.Boolean(), nullable=False),
        sa.Column("law_year", sa.Integer(), nullable=False),
        sa.Column("n", sa.Integer(), nullable=False),
        sa.Column("first_us", sa.BigInteger(), nullable=False),
        sa.Column("last_us", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("sort"),
    )
    if op.get_bind().dialect.name == "postgresql":  # its few rows are written again and again: they find room beside themselves
        op.execute("ALTER TABLE standing SET (fillfactor = 30)")


def downgrade() -> None:
    op.drop_table("standing")
