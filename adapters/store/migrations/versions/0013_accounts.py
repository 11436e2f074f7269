"""accounts, sessions and tokens of the portal"""

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None

_bytewise = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def upgrade() -> None:
    op.create_table(
        "account",
        sa.Column("name", _bytewise, primary_key=True),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("label", sa.Text(), nullable=False, server_default=""),
        sa.Column("roles", sa.Text(), nullable=False),
        sa.Column("organisations", sa.Text(), nullable=False, server_default="[]"),
        sa.Column("systems", sa.Text(), nullable=False, server_default="[]"),
        sa.Column("disabled", sa.Boolean(), nullable=False, server_default=sa.text("false")),
        sa.Column("password", sa.Text()),
        sa.Column("one_time", sa.Boolean(), nullable=False, server_default=sa.text("false")),
        sa.Column("totp", sa.LargeBinary()),
        sa.Column("totp_step", sa.BigInteger(), nullable=False, server_default="0"),
        sa.Column("made_us", sa.BigInteger(), nullable=False),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "account_session",
        sa.Column("key", sa.LargeBinary(), primary_key=True),
        sa.Column("account", _bytewise, sa.ForeignKey("account.name"), nullable=False),
        sa.Column("began_us", sa.BigInteger(), nullable=False),
        sa.Column("seen_us", sa.BigInteger(), nullable=False),
        sqlite_with_rowid=False,
    )
    op.create_index("account_session_account", "account_session", ["account"])
    op.create_table(
        "handle",
        sa.Column("key", sa.LargeBinary(), primary_key=True),
        sa.Column("session", sa.LargeBinary(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("value", sa.LargeBinary(), nullable=False),
        sa.Column("until_us", sa.BigInteger(), nullable=False),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "sign_in_try",
        sa.Column("key", sa.LargeBinary(), primary_key=True),
        sa.Column("tries", sa.Integer(), nullable=False),
        sa.Column("until_us", sa.BigInteger(), nullable=False),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "account_token",
        sa.Column("hash", sa.LargeBinary(), primary_key=True),
        sa.Column("account", _bytewise, sa.ForeignKey("account.name"), nullable=False),
        sa.Column("label", sa.Text(), nullable=False),
        sa.Column("made_us", sa.BigInteger(), nullable=False),
        sa.Column("until_us", sa.BigInteger(), nullable=False),
        sa.Column("ended_us", sa.BigInteger()),
        sqlite_with_rowid=False,
    )
    op.create_index("account_token_account", "account_token", ["account"])


def downgrade() -> None:
    for name in ("account_token", "sign_in_try", "handle", "account_session", "account"):
        op.drop_table(name)
