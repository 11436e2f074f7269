"""the board: what is open and what fell out, what passed, and what people made of failures; the audit worker fills it"""

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None

COUNTERS = ("board", "board_message", "board_delivery", "board_count", "board_refusal_us", "board_packed")
FLOW = ("handed_in", "refused", "delivered", "failed", "took_s", "in_minute", "in_hour", "in_day")


def upgrade() -> None:
    number = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    bytewise = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")

    def texts(*names: str, nullable: bool = False) -> list[sa.Column[Any]]:
        return [sa.Column(name, bytewise, nullable=nullable) for name in names]

    def flows() -> list[sa.Column[Any]]:
        return [sa.Column(name, sa.Integer(), nullable=False, server_default="0") for name in FLOW]

    op.create_table(
        "item",
        sa.Column("n", number, autoincrement=False, nullable=False),
        sa.Column("id", bytewise, nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.Column("reference", bytewise, nullable=False),
        *texts("dienst", "versie", "bericht", "sender", "school", "brin", "system", nullable=True),
        *texts("receiver", "organisation", "receiver_system", nullable=True),
        sa.Column("target", sa.Text(), nullable=True),
        sa.Column("fallen", sa.Boolean(), nullable=False),
        sa.Column("state", bytewise, nullable=False),
        *texts("code", "owner", nullable=True),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("received_us", sa.BigInteger(), nullable=False),
        sa.Column("at_us", sa.BigInteger(), nullable=False),
        sa.Column("deadline_us", sa.BigInteger(), nullable=True),
        *texts("business_id", "message_id", nullable=True),
        sa.Column("order_key", sa.LargeBinary(), nullable=True),
        sa.Column("subject", sa.LargeBinary(), nullable=True),
        sa.Column("lane", bytewise, nullable=True),
        sa.Column("endpoint", sa.Text(), nullable=True),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("n"),
        sa.UniqueConstraint("id"),
    )
    for name in (
        *("reference", "dienst", "bericht", "school", "system", "organisation", "receiver_system"),
        *("state", "code", "owner", "business_id", "message_id", "order_key", "subject"),
    ):
        op.create_index(f"item_{name}", "item", [name, "received_us"], unique=False)
    op.create_index("item_received", "item", ["fallen", "received_us"], unique=False)
    op.create_index("item_moved", "item", ["fallen", "at_us"], unique=False)
    op.create_index("item_deadline", "item", ["fallen", "deadline_us"], unique=False)
    op.create_index("item_lane", "item", ["lane", "fallen", "received_us"], unique=False)
    op.create_index("item_parties", "item", ["dienst", "system", "receiver_system", "fallen", "received_us"], unique=False)
    op.create_index("item_overview", "item", ["dienst", "fallen", "owner", "received_us"], unique=False)
    group = ["fallen", "code", "owner", "dienst", "system", "receiver_system", "received_us"]
    op.create_index("item_group", "item", group, unique=False)

    op.create_table(
        "traffic",
        sa.Column("hour", sa.Integer(), nullable=False),
        *texts("dienst", "bericht", "system", "receiver_system"),
        *flows(),
        sa.PrimaryKeyConstraint("hour", "dienst", "bericht", "system", "receiver_system"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "traffic_party",
        *texts("organisation"),
        sa.Column("day", sa.Integer(), nullable=False),
        *texts("side", "dienst", "system"),
        *flows(),
        sa.PrimaryKeyConstraint("organisation", "day", "side", "dienst", "system"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "season",
        sa.Column("year", sa.Integer(), nullable=False),
        *texts("dienst", "bericht", "side", "organisation", "system"),
        sa.Column("n", sa.Integer(), nullable=False),
        sa.Column("first_us", sa.BigInteger(), nullable=False),
        sa.Column("last_us", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("year", "dienst", "bericht", "side", "organisation", "system"),
        sqlite_with_rowid=False,
    )
    op.create_index("season_organisation", "season", ["organisation", "year"], unique=False)
    op.create_index("season_system", "season", ["system", "year"], unique=False)
    cause = ("code", "owner", "dienst", "system", "receiver_system")
    op.create_table(
        "fallout",
        sa.Column("hour", sa.Integer(), nullable=False),
        *texts(*cause, "school", "organisation"),
        sa.Column("n", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("hour", *cause, "school", "organisation"),
        sqlite_with_rowid=False,
    )
    for name in ("system", "receiver_system", "school", "organisation"):
        op.create_index(f"fallout_{name}", "fallout", [name, "hour"], unique=False)

    op.create_table(
        "group_life",
        *(sa.Column(name, sa.Text(), nullable=False) for name in cause),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("ticket", sa.Text(), nullable=True),
        sa.Column("agreed_on", sa.Text(), nullable=True),
        sa.Column("assignee", sa.Text(), nullable=True),
        sa.Column("changed_us", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint(*cause),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "group_note",
        sa.Column("id", number, nullable=False),
        *texts("key"),
        sa.Column("at_us", sa.BigInteger(), nullable=False),
        *(sa.Column(name, sa.Text(), nullable=False) for name in ("who", "what", "text")),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("group_note_key", "group_note", ["key"], unique=False)
    op.create_table(
        "refusal_closed",
        *texts("reference"),
        sa.Column("at_us", sa.BigInteger(), nullable=False),
        sa.Column("who", sa.Text(), nullable=False),
        sa.Column("why", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("reference"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "replacement",
        *texts("key", "reference"),
        sa.Column("at_us", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("key", "reference"),
        sqlite_with_rowid=False,
    )
    op.create_index("replacement_reference", "replacement", ["reference"], unique=False)
    op.execute("INSERT INTO counter (name, value) VALUES " + ", ".join(f"('{name}', 0)" for name in COUNTERS))
    # what fails from now on is on the board at once; what was there before comes with the sweep
    op.execute("UPDATE counter SET value = (SELECT COALESCE(max(seq), 0) FROM journal) WHERE name = 'board'")


def downgrade() -> None:
    op.execute("DELETE FROM counter WHERE name IN (" + ", ".join(f"'{name}'" for name in COUNTERS) + ")")
    for name in ("replacement", "refusal_closed", "group_note", "group_life", "fallout", "season", "traffic_party", "traffic", "item"):
        op.drop_table(name)
