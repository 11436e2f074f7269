"""proefs: test messages that the backbone itself sends to an endpoint; and an index of what failed on an unknown gemeentecode"""

import sqlalchemy as sa
from alembic import op

revision = "0021"
down_revision = "0020"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "proef",
        sa.Column("seq", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        *(sa.Column(name, sa.Text(), nullable=False) for name in ("id", "state", "receiver", "organisation", "system")),
        *(sa.Column(name, sa.Text(), nullable=False) for name in ("endpoint", "lane", "asked_by")),
        sa.Column("asked_us", sa.BigInteger(), nullable=False),
        *(sa.Column(name, sa.Text(), nullable=True) for name in ("code", "owner", "reason")),
        *(sa.Column(name, sa.BigInteger(), nullable=True) for name in ("took_us", "ended_us")),
        sa.PrimaryKeyConstraint("seq"),
        sa.UniqueConstraint("id"),
    )
    standing = sa.text("ended_us IS NULL")
    op.create_index("proef_standing", "proef", ["seq"], unique=False, sqlite_where=standing, postgresql_where=standing)
    for name in ("lane", "system", "organisation"):
        op.create_index(f"proef_{name}", "proef", [name, "seq"], unique=False)
    unknown = sa.text("state = 'failed' AND code = 'GEMEENTECODE_UNKNOWN'")
    op.create_index(
        "delivery_unknown_code",
        "delivery",
        ["receiver", "seq"],
        unique=False,
        sqlite_where=unknown,
        postgresql_where=unknown,
        if_not_exists=True,
    )


def downgrade() -> None:
    op.drop_index("delivery_unknown_code", "delivery")
    op.drop_table("proef")
