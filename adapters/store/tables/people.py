"""Tables of who may look at the portal: accounts, their sessions and tokens."""

from __future__ import annotations

from sqlalchemy import BigInteger, Boolean, Column, ForeignKey, Index, Integer, LargeBinary, Table, Text, text

from adapters.store.tables.shared import BYTEWISE, metadata

#: Who may look at the portal (routing.people). A name that begins with `oidc:` is an identity provider's.
account = Table(
    "account",
    metadata,
    Column("name", BYTEWISE, primary_key=True),
    Column("source", Text, nullable=False),
    Column("label", Text, nullable=False, server_default=text("''")),
    Column("roles", Text, nullable=False),  # JSON lists, as the two below
    Column("organisations", Text, nullable=False, server_default="[]"),
    Column("systems", Text, nullable=False, server_default="[]"),
    Column("disabled", Boolean, nullable=False, server_default=text("false")),
    Column("password", Text),  # argon2 hash
    Column("one_time", Boolean, nullable=False, server_default=text("false")),
    Column("totp", LargeBinary),  # sealed with the key for signing in
    Column("totp_step", BigInteger, nullable=False, server_default="0"),
    Column("made_us", BigInteger, nullable=False),
    Column("email", Text, nullable=False, server_default=text("''")),
    Column("confirmed_us", BigInteger),  # when its identity provider last said who it is
    Column("one_time_until_us", BigInteger),
    sqlite_with_rowid=False,
)

account_session = Table(
    "account_session",
    metadata,
    Column("key", LargeBinary, primary_key=True),  # SHA-256 of what the cookie holds
    Column("account", BYTEWISE, ForeignKey("account.name"), nullable=False),
    Column("began_us", BigInteger, nullable=False),
    Column("seen_us", BigInteger, nullable=False),
    sqlite_with_rowid=False,
)
Index("account_session_account", account_session.c.account)

#: What a session asked for that must not stand in an address: a pupil's keyed hash, a sign-in under way.
handle = Table(
    "handle",
    metadata,
    Column("key", LargeBinary, primary_key=True),  # SHA-256 of the handle
    Column("session", LargeBinary, nullable=False),
    Column("kind", Text, nullable=False),
    Column("value", LargeBinary, nullable=False),
    Column("until_us", BigInteger, nullable=False),
    sqlite_with_rowid=False,
)

#: How often somebody tried to sign in, by hashes of names and addresses.
sign_in_try = Table(
    "sign_in_try",
    metadata,
    Column("key", LargeBinary, primary_key=True),
    Column("tries", Integer, nullable=False),
    Column("until_us", BigInteger, nullable=False),  # when the count begins anew
    sqlite_with_rowid=False,
)

#: Content that somebody at the portal wants to see, until a process with the master key answers; a minute at most (routing.contents).
content_request = Table(
    "content_request",
    metadata,
    Column("id", LargeBinary, primary_key=True),
    Column("account", Text, nullable=False),
    Column("proof", LargeBinary, nullable=False),  # of its session or token
    Column("reference", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("public_key", LargeBinary, nullable=False),  # X25519; the other half never leaves the portal's memory
    Column("until_us", BigInteger, nullable=False),
    Column("taken", Boolean, nullable=False, server_default=text("false")),
    Column("outcome", Text),
    Column("answer", LargeBinary),  # sealed to that key
)

account_token = Table(
    "account_token",
    metadata,
    Column("hash", LargeBinary, primary_key=True),  # SHA-256 of the token
    Column("account", BYTEWISE, ForeignKey("account.name"), nullable=False),
    Column("label", Text, nullable=False),
    Column("made_us", BigInteger, nullable=False),
    Column("until_us", BigInteger, nullable=False),
    Column("ended_us", BigInteger),
    sqlite_with_rowid=False,
)
Index("account_token_account", account_token.c.account)
