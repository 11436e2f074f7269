"""the first tables"""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "counter",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("value", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("name"),
    )
    op.create_table(
        "crl",
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("pem", sa.LargeBinary(), nullable=False),
        sa.Column("this_update_us", sa.BigInteger(), nullable=False),
        sa.Column("next_update_us", sa.BigInteger(), nullable=False),
        sa.Column("fetched_us", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("source"),
    )
    op.create_table(
        "decision",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("reference", sa.Text(), nullable=False),
        sa.Column("delivery", sa.Text(), nullable=True),
        sa.Column("at_us", sa.BigInteger(), nullable=False),
        sa.Column("question", sa.Text(), nullable=False),
        sa.Column("outcome", sa.Text(), nullable=False),
        sa.Column("code", sa.Text(), nullable=True),
        sa.Column("register_version", sa.Integer(), nullable=False),
        sa.Column("record", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("decision_reference", "decision", ["reference"], unique=False)
    op.create_table(
        "event",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("at_us", sa.BigInteger(), nullable=False),
        sa.Column("reference", sa.Text(), nullable=True),
        sa.Column("schema", sa.Integer(), nullable=False),
        sa.Column("payload", sa.LargeBinary(), nullable=False),
        sa.Column("block", sa.BigInteger(), nullable=True),
        sa.Column("tell", sa.Text(), nullable=True),
        sa.Column("tell_after_us", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("event_reference", "event", ["reference"], unique=False)
    op.create_index(
        "event_unchained", "event", ["id"], unique=False, sqlite_where=sa.text("block IS NULL"), postgresql_where=sa.text("block IS NULL")
    )
    op.create_index(
        "event_untold",
        "event",
        ["tell_after_us", "id"],
        unique=False,
        sqlite_where=sa.text("tell_after_us IS NOT NULL"),
        postgresql_where=sa.text("tell_after_us IS NOT NULL"),
    )
    op.create_table(
        "failure_group",
        sa.Column("code", sa.Text(), nullable=False),
        sa.Column("owner", sa.Text(), nullable=False),
        sa.Column("dienst", sa.Text(), nullable=False),
        sa.Column("system", sa.Text(), nullable=False),
        sa.Column("receiver_system", sa.Text(), nullable=False),
        sa.Column("count", sa.Integer(), nullable=False),
        sa.Column("first_us", sa.BigInteger(), nullable=False),
        sa.Column("last_us", sa.BigInteger(), nullable=False),
        sa.Column("example", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("code", "owner", "dienst", "system", "receiver_system"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "journal",
        sa.Column("seq", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=False, nullable=False),
        sa.Column("previous", sa.LargeBinary(), nullable=False),
        sa.Column("hash", sa.LargeBinary(), nullable=False),
        sa.Column("events", sa.Integer(), nullable=False),
        sa.Column("first_id", sa.BigInteger(), nullable=False),
        sa.Column("last_id", sa.BigInteger(), nullable=False),
        sa.Column("at_us", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("seq"),
        sa.UniqueConstraint("previous"),
    )
    op.create_table(
        "lease",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("holder", sa.Text(), nullable=False),
        sa.Column("token", sa.BigInteger(), nullable=False),
        sa.Column("until_us", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("name"),
    )
    op.create_table(
        "message",
        sa.Column("seq", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=False, nullable=False),
        sa.Column("reference", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("release", sa.Integer(), server_default="0", nullable=False),
        sa.Column("sender", sa.Text(), nullable=False),
        sa.Column("system", sa.Text(), nullable=False),
        sa.Column("receiver", sa.Text(), nullable=False),
        sa.Column("message_id", sa.Text(), nullable=False),
        sa.Column("business_id", sa.Text(), nullable=True),
        sa.Column("address", sa.Text(), nullable=False),
        sa.Column("action", sa.Text(), nullable=False),
        sa.Column("dienst", sa.Text(), nullable=False),
        sa.Column("versie", sa.Text(), nullable=False),
        sa.Column("bericht", sa.Text(), nullable=False),
        sa.Column("order_key", sa.LargeBinary(), nullable=True),
        sa.Column("subject", sa.LargeBinary(), nullable=True),
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.Column("received_us", sa.BigInteger(), nullable=False),
        sa.Column("created_us", sa.BigInteger(), nullable=False),
        sa.Column("expires_us", sa.BigInteger(), nullable=True),
        sa.Column("stale", sa.Boolean(), nullable=False),
        sa.Column("via", sa.Text(), nullable=False),
        sa.Column("size", sa.Integer(), nullable=False),
        sa.Column("warnings", sa.Text(), server_default="[]", nullable=False),
        sa.Column("register_version", sa.Integer(), nullable=False),
        sa.Column("code", sa.Text(), nullable=True),
        sa.Column("owner", sa.Text(), nullable=True),
        sa.Column("kept", sa.Boolean(), server_default=sa.text("true"), nullable=False),
        sa.PrimaryKeyConstraint("seq"),
        sa.UniqueConstraint("reference"),
    )
    op.create_index(
        "message_kept", "message", ["action", "received_us"], unique=False, sqlite_where=sa.text("kept"), postgresql_where=sa.text("kept")
    )
    op.create_index(
        "message_order",
        "message",
        ["order_key", "seq"],
        unique=False,
        sqlite_where=sa.text("order_key IS NOT NULL AND state = 'received'"),
        postgresql_where=sa.text("order_key IS NOT NULL AND state = 'received'"),
    )
    op.create_index(
        "message_received",
        "message",
        ["release", "seq"],
        unique=False,
        sqlite_where=sa.text("state = 'received'"),
        postgresql_where=sa.text("state = 'received'"),
    )
    op.create_table(
        "note", sa.Column("name", sa.Text(), nullable=False), sa.Column("value", sa.Text(), nullable=False), sa.PrimaryKeyConstraint("name")
    )
    op.create_table(
        "refusal",
        sa.Column("reference", sa.Text(), nullable=False),
        sa.Column("at_us", sa.BigInteger(), nullable=False),
        sa.Column("system", sa.Text(), nullable=True),
        sa.Column("sender", sa.Text(), nullable=True),
        sa.Column("message_id", sa.Text(), nullable=True),
        sa.Column("business_id", sa.Text(), nullable=True),
        sa.Column("dienst", sa.Text(), nullable=True),
        sa.Column("bericht", sa.Text(), nullable=True),
        sa.Column("code", sa.Text(), nullable=False),
        sa.Column("owner", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("details", sa.Text(), server_default="[]", nullable=False),
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.Column("via", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("reference"),
    )
    op.create_index("refusal_at", "refusal", ["at_us"], unique=False)
    op.create_index("refusal_message_id", "refusal", ["message_id"], unique=False)
    op.create_table(
        "register_version",
        sa.Column("version", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("at_us", sa.BigInteger(), nullable=False),
        sa.Column("who", sa.Text(), nullable=False),
        sa.Column("document", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("version"),
    )
    op.create_table(
        "stream",
        sa.Column("key", sa.LargeBinary(), nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("key"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "used_id",
        sa.Column("key", sa.Text().with_variant(sa.Text(collation="C"), "postgresql"), nullable=False),
        sa.Column("reference", sa.Text(), nullable=False),
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.Column("received_us", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("key"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "worker",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("pid", sa.Integer(), nullable=False),
        sa.Column("host", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("started_us", sa.BigInteger(), nullable=False),
        sa.Column("seen_us", sa.BigInteger(), nullable=False),
        sa.Column("handled", sa.BigInteger(), server_default="0", nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_table(
        "body",
        sa.Column("seq", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=False, nullable=False),
        sa.Column("wrapped_key", sa.LargeBinary(), nullable=True),
        sa.Column("facts", sa.LargeBinary(), nullable=True),
        sa.Column("body", sa.LargeBinary(), nullable=True),
        sa.ForeignKeyConstraint(
            ["seq"],
            ["message.seq"],
        ),
        sa.PrimaryKeyConstraint("seq"),
    )
    op.create_table(
        "delivery",
        sa.Column("seq", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=False, nullable=False),
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("message_seq", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("target", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("release", sa.Integer(), server_default="0", nullable=False),
        sa.Column("claim", sa.Text(), nullable=True),
        sa.Column("claim_until_us", sa.BigInteger(), nullable=True),
        sa.Column("receiver", sa.Text(), nullable=False),
        sa.Column("endpoint", sa.Text(), nullable=True),
        sa.Column("lane", sa.Text(), nullable=True),
        sa.Column("receiver_system", sa.Text(), nullable=True),
        sa.Column("order_key", sa.LargeBinary(), nullable=True),
        sa.Column("hold_code", sa.Text(), nullable=True),
        sa.Column("code", sa.Text(), nullable=True),
        sa.Column("owner", sa.Text(), nullable=True),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("attempts", sa.Integer(), server_default="0", nullable=False),
        sa.Column("not_before_us", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("deadline_us", sa.BigInteger(), nullable=False),
        sa.Column("delivered_us", sa.BigInteger(), nullable=True),
        sa.Column("at_us", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["message_seq"],
            ["message.seq"],
        ),
        sa.PrimaryKeyConstraint("seq"),
        sa.UniqueConstraint("id"),
    )
    op.create_index("delivery_message", "delivery", ["message_seq"], unique=False)
    op.create_index(
        "delivery_open",
        "delivery",
        ["lane", "seq"],
        unique=False,
        sqlite_where=sa.text("state IN ('released', 'delivered')"),
        postgresql_where=sa.text("state IN ('released', 'delivered')"),
    )
    op.create_index(
        "delivery_order",
        "delivery",
        ["order_key", "receiver", "message_seq"],
        unique=False,
        sqlite_where=sa.text("order_key IS NOT NULL AND state IN ('routed', 'released', 'postponed', 'uncertain', 'delivered')"),
        postgresql_where=sa.text("order_key IS NOT NULL AND state IN ('routed', 'released', 'postponed', 'uncertain', 'delivered')"),
    )
    op.create_index(
        "delivery_routed",
        "delivery",
        ["lane", "seq"],
        unique=False,
        sqlite_where=sa.text("state = 'routed' AND lane IS NOT NULL"),
        postgresql_where=sa.text("state = 'routed' AND lane IS NOT NULL"),
    )
    op.create_index(
        "delivery_due",
        "delivery",
        ["lane", "not_before_us"],
        unique=False,
        sqlite_where=sa.text("state = 'postponed' AND lane IS NOT NULL"),
        postgresql_where=sa.text("state = 'postponed' AND lane IS NOT NULL"),
    )
    op.create_index(
        "delivery_unsent_deadline",
        "delivery",
        ["deadline_us"],
        unique=False,
        sqlite_where=sa.text("state IN ('routed', 'postponed')"),
        postgresql_where=sa.text("state IN ('routed', 'postponed')"),
    )
    op.create_index(
        "delivery_waiting",
        "delivery",
        ["seq"],
        unique=False,
        sqlite_where=sa.text("hold_code IS NOT NULL AND state IN ('routed', 'postponed')"),
        postgresql_where=sa.text("hold_code IS NOT NULL AND state IN ('routed', 'postponed')"),
    )
    op.create_table(
        "attempt",
        sa.Column("delivery_seq", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=False, nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("at_us", sa.BigInteger(), nullable=False),
        sa.Column("took_us", sa.BigInteger(), nullable=False),
        sa.Column("endpoint", sa.Text(), nullable=True),
        sa.Column("register_version", sa.Integer(), nullable=False),
        sa.Column("envelope", sa.Text(), nullable=False),
        sa.Column("outcome", sa.Text(), nullable=False),
        sa.Column("code", sa.Text(), nullable=True),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(
            ["delivery_seq"],
            ["delivery.seq"],
        ),
        sa.PrimaryKeyConstraint("delivery_seq", "number"),
        sqlite_with_rowid=False,
    )
    if op.get_bind().dialect.name == "sqlite":
        op.execute("INSERT INTO counter (name, value) VALUES ('message', 0), ('delivery', 0)")
    else:
        op.execute("CREATE SEQUENCE message_seq")
        op.execute("CREATE SEQUENCE delivery_seq")


def downgrade() -> None:
    raise RuntimeError("the first tables hold the journal: they are never dropped by a migration")
