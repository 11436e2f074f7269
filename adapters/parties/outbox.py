"""A sender's own transactional outbox: the business row and its message are committed together, so neither exists without the other.

`add` runs in the supplier's transaction, in the supplier's database (anything SQLAlchemy speaks). A relay sends what stands here until a
receipt comes; receipts and later outcomes are written back to the row, where the pupil administration can show them.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import Column, Connection, Engine, Float, Index, Integer, LargeBinary, MetaData, Table, Text, func, or_, select, update

metadata: Final = MetaData()

#: A refusal that says nothing about the message: the backbone could not judge it now.
SEND_AGAIN: Final = frozenset({"Server.DK0051"})

outgoing = Table(
    "koppelpunt_outgoing",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("message_id", Text, nullable=False, unique=True),
    Column("sender", Text, nullable=False),
    Column("receiver", Text, nullable=False),
    Column("address", Text, nullable=False),
    Column("action", Text, nullable=False),
    Column("content", LargeBinary, nullable=False),
    Column("signed", LargeBinary),  # for a message that somebody else has signed already; NULL: signed when it is sent
    Column("state", Text, nullable=False),  # queued, sent, accepted, refused
    Column("tries", Integer, nullable=False),
    Column("sent_at", Float),  # seconds since 1970
    Column("reference", Text),
    Column("code", Text),
    Column("reason", Text),
    Column("warnings", Text),
    Column("outcomes", Text, nullable=False),  # JSON list, as received
)
Index("koppelpunt_outgoing_state", outgoing.c.state, outgoing.c.sent_at)
Index("koppelpunt_outgoing_reference", outgoing.c.reference)


@dataclass(frozen=True, slots=True, kw_only=True)
class ToSend:
    """One message that has no receipt yet."""

    id: int
    message_id: str
    sender: str
    receiver: str
    address: str
    action: str
    content: bytes
    signed: bytes | None
    tries: int


class PartyOutbox:
    """The outbox table in a supplier's database."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        metadata.create_all(engine)

    def add(
        self,
        transaction: Connection,
        *,
        sender: str,
        receiver: str,
        address: str,
        action: str,
        content: bytes,
        signed: tuple[str, bytes] | None = None,
    ) -> str:
        """Adds a message in the caller's transaction; returns its MessageID. It is signed when it is sent, not now: a signature ages.

        `signed`: MessageID and bytes of an envelope that is signed already.
        """
        message_id = signed[0] if signed else f"urn:uuid:{uuid.uuid4()}"
        transaction.execute(
            outgoing.insert(),
            {
                "message_id": message_id,
                "sender": sender,
                "receiver": receiver,
                "address": address,
                "action": action,
                "content": content,
                "signed": signed[1] if signed else None,
                "state": "queued",
                "tries": 0,
                "outcomes": "[]",
            },
        )
        return message_id

    def to_send(self, *, now: datetime, resend_after_s: float, limit: int = 200) -> list[ToSend]:
        """What was never sent, and what was sent but has no receipt after `resend_after_s`: a broker's confirm is not a receipt."""
        late = (outgoing.c.state == "sent") & (outgoing.c.sent_at < now.timestamp() - resend_after_s)
        names = ("id", "message_id", "sender", "receiver", "address", "action", "content", "signed", "tries")
        query = (
            select(*(outgoing.c[name] for name in names))
            .where(or_(outgoing.c.state == "queued", late))
            .order_by(outgoing.c.id)
            .limit(limit)
        )
        with self._engine.connect() as connection:
            return [ToSend(**row._mapping) for row in connection.execute(query)]

    def sent(self, ids: Sequence[int], *, now: datetime) -> None:
        """The broker has these."""
        with self._engine.begin() as tx:
            done = update(outgoing).where(outgoing.c.id.in_(ids), outgoing.c.state.in_(("queued", "sent")))
            tx.execute(done.values(state="sent", sent_at=now.timestamp(), tries=outgoing.c.tries + 1))

    def answered(self, answers: Sequence[tuple[str | None, Mapping[str, Any]]]) -> None:
        """Receipts and outcomes as they came: (correlation_id, JSON object). Repeats are recognised and change nothing."""
        with self._engine.begin() as tx:
            for message_id, answer in answers:
                if "accepted" in answer:
                    self._receipt(tx, message_id, answer)
                else:
                    self._outcome(tx, answer)

    def _receipt(self, tx: Connection, message_id: str | None, answer: Mapping[str, Any]) -> None:
        if answer.get("code") in SEND_AGAIN:
            return  # not judged: without a receipt that counts, it is sent again in a while
        tx.execute(
            update(outgoing)
            .where(outgoing.c.message_id == message_id, outgoing.c.state.in_(("queued", "sent")))
            .values(
                state="accepted" if answer["accepted"] else "refused",
                reference=answer.get("reference"),
                code=answer.get("code"),
                reason=answer.get("reason"),
                warnings=json.dumps(answer.get("warnings") or []),
            )
        )

    def _outcome(self, tx: Connection, answer: Mapping[str, Any]) -> None:
        row = tx.execute(select(outgoing.c.id, outgoing.c.outcomes).where(outgoing.c.reference == answer.get("reference"))).first()
        if row is None:
            return
        known = json.loads(row.outcomes)
        same = ("reference", "receiver", "state")
        if not any(all(one.get(k) == answer.get(k) for k in same) for one in known):
            more = json.dumps([*known, dict(answer)], ensure_ascii=False)
            tx.execute(update(outgoing).where(outgoing.c.id == row.id).values(outcomes=more))

    def counts(self) -> dict[str, int]:
        """How many messages stand in each state."""
        with self._engine.connect() as connection:
            return dict(connection.execute(select(outgoing.c.state, func.count()).group_by(outgoing.c.state)).all())

    def codes(self) -> dict[str, int]:
        """Refused hand-ins by code."""
        with self._engine.connect() as connection:
            query = select(outgoing.c.code, func.count()).where(outgoing.c.state == "refused").group_by(outgoing.c.code)
            return dict(connection.execute(query).all())

    def row(self, message_id: str) -> dict[str, Any] | None:
        """Everything about one message, for the screen of a pupil administration."""
        with self._engine.connect() as connection:
            found = connection.execute(select(outgoing).where(outgoing.c.message_id == message_id)).first()
            return dict(found._mapping) if found else None
