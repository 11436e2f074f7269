"""The content of messages, opened with a reason (break-glass): both sides of `routing.contents` on the store."""

from __future__ import annotations

import secrets
from typing import Final

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from adapters.sealed_answer import open_sealed, seal_to
from adapters.store.database import Database
from adapters.store.rows import event_row, ids_of, write_events
from adapters.store.sql import Sql
from adapters.vault import VaultError
from routing.contents import KEPT, Asked, ContentRequest, Opened, Outcome
from routing.ports import Vault
from schemas.events import Event
from schemas.privacy import redact

_SEALED: Final = Sql(
    "SELECT m.reference, m.message_id, m.business_id, m.system, m.sender, m.dienst, m.versie, m.bericht, b.wrapped_key, b.body "
    "FROM message m JOIN body b ON b.seq = m.seq WHERE m.reference = :reference AND b.wrapped_key IS NOT NULL"
)
_ASK: Final = Sql(
    "INSERT INTO content_request (id, account, proof, reference, reason, public_key, until_us) "
    "VALUES (:id, :account, :proof, :reference, :reason, :public_key, :until)"
)
_ANSWERED: Final = Sql("SELECT outcome, answer FROM content_request WHERE id = :id AND outcome IS NOT NULL")
_GONE: Final = Sql("DELETE FROM content_request WHERE id = :id")
_WAITING: Final = Sql(
    "SELECT id, account, proof, reference, reason, public_key FROM content_request WHERE NOT taken AND until_us > :now "
    "ORDER BY until_us LIMIT 20"
)
_TAKE: Final = Sql("UPDATE content_request SET taken = true WHERE id = :id AND NOT taken AND until_us > :now RETURNING id")
_ANSWER: Final = Sql("UPDATE content_request SET outcome = :outcome, answer = :answer WHERE id = :id")
_OVER: Final = Sql("SELECT 1 FROM content_request WHERE until_us <= :now LIMIT 1")
_REMOVE: Final = Sql("DELETE FROM content_request WHERE until_us <= :now")


class ContentRequests:
    """`routing.contents.Contents`: it has no key that opens a message."""

    def __init__(self, database: Database) -> None:
        self._db = database

    def ask(self, reference: str, *, account: str, proof: bytes, reason: str, now_us: int) -> Asked:
        """See `routing.contents.Contents`."""
        key = X25519PrivateKey.generate()
        asked = Asked(id=secrets.token_bytes(16), reference=reference, private_key=key.private_bytes_raw())
        with self._db.write() as tx:
            _ASK(
                tx,
                id=asked.id,
                account=account,
                proof=proof,
                reference=reference,
                reason=reason,
                public_key=key.public_key().public_bytes_raw(),
                until=now_us + int(KEPT.total_seconds() * 1e6),
            )
        return asked

    def answer(self, asked: Asked) -> Opened | None:
        """See `routing.contents.Contents`. Raises VaultError when somebody else answered."""
        with self._db.read() as connection:
            row = _ANSWERED(connection, id=asked.id).first()
        if row is None:
            return None
        self.withdraw(asked)
        if row.answer is None:
            return Opened(outcome=Outcome(row.outcome))
        content = open_sealed(asked.private_key, bytes(row.answer), _context(asked.id, asked.reference))
        return Opened(outcome=Outcome(row.outcome), content=content)

    def withdraw(self, asked: Asked) -> None:
        """See `routing.contents.Contents`."""
        with self._db.write() as tx:
            _GONE(tx, id=asked.id)


class Contents:
    """`routing.contents.ContentBook`: it has the master key."""

    def __init__(self, database: Database, vault: Vault) -> None:
        self._db, self._vault = database, vault

    def waiting(self, *, now_us: int) -> list[ContentRequest]:
        """See `routing.contents.ContentBook`."""
        with self._db.read() as connection:
            rows = _WAITING(connection, now=now_us).all()
        return [
            ContentRequest(
                id=bytes(row.id),
                account=row.account,
                proof=bytes(row.proof),
                reference=row.reference,
                reason=row.reason,
                public_key=bytes(row.public_key),
            )
            for row in rows
        ]

    def open(self, request: ContentRequest, *, now_us: int) -> Outcome | None:
        """See `routing.contents.ContentBook`."""
        with self._db.write() as tx:
            if _TAKE(tx, id=request.id, now=now_us).first() is None:
                return None
            row = _SEALED(tx, reference=request.reference).first()
            if row is None:
                _ANSWER(tx, id=request.id, outcome=str(Outcome.GONE), answer=None)
                return Outcome.GONE
            why = redact(request.reason)
            write_events(tx, [event_row(Event(kind="content_opened", at_us=now_us, actor=request.account, reason=why, **ids_of(row)))])
        answer, outcome = None, Outcome.OPENED
        try:
            content = self._vault.open(row.reference, bytes(row.wrapped_key), "body", bytes(row.body))
            answer = seal_to(request.public_key, content, _context(request.id, request.reference))
        except VaultError:
            outcome = Outcome.FAILED
        with self._db.write() as tx:
            _ANSWER(tx, id=request.id, outcome=str(outcome), answer=answer)
        return outcome

    def refuse(self, request: ContentRequest, outcome: Outcome, *, why: str, now_us: int) -> None:
        """See `routing.contents.ContentBook`."""
        details = {"account": redact(request.account[:100]), "reference": redact(request.reference[:100]), "why": why}
        with self._db.write() as tx:
            if _TAKE(tx, id=request.id, now=now_us).first() is None:
                return
            _ANSWER(tx, id=request.id, outcome=str(outcome), answer=None)
            write_events(tx, [event_row(Event(kind="content_refused", at_us=now_us, actor=details["account"], details=details))])

    def tidy(self, *, now_us: int) -> int:
        """See `routing.contents.ContentBook`."""
        with self._db.read() as connection:
            if _OVER(connection, now=now_us).first() is None:
                return 0
        with self._db.write() as tx:
            return int(_REMOVE(tx, now=now_us).rowcount)


def _context(id: bytes, reference: str) -> bytes:
    return id + reference.encode()
