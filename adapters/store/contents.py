"""The content of a message, opened by a person with a reason (break-glass): `portal.desk.Contents`."""

from __future__ import annotations

from typing import Final

from adapters.store.database import Database
from adapters.store.rows import event_row, ids_of, write_events
from adapters.store.sql import Sql
from routing.ports import Vault
from schemas.events import Event
from schemas.privacy import redact

_SEALED: Final = Sql(
    "SELECT m.reference, m.message_id, m.business_id, m.system, m.sender, m.dienst, m.versie, m.bericht, b.wrapped_key, b.body "
    "FROM message m JOIN body b ON b.seq = m.seq WHERE m.reference = :reference AND b.wrapped_key IS NOT NULL"
)


class Contents:
    """Opens what is sealed."""

    def __init__(self, database: Database, vault: Vault) -> None:
        self._db, self._vault = database, vault

    def open(self, reference: str, *, who: str, why: str, now_us: int) -> bytes | None:
        """The envelope as it was handed in. That somebody looks, who and why, is in the journal before anything is decrypted. None when
        there is no such message, or its body was erased. Raises StoreUnavailable."""
        with self._db.write() as tx:
            row = _SEALED(tx, reference=reference).first()
            if row is None:
                return None
            happened = Event(kind="content_opened", at_us=now_us, actor=who, reason=redact(why), **ids_of(row))
            write_events(tx, [event_row(happened)])
        return self._vault.open(reference, bytes(row.wrapped_key), "body", bytes(row.body))
