"""Repairs by people: what failed goes out again, with the same ids, and the journal says who did it."""

from __future__ import annotations

from typing import Final

from adapters.store.database import Database
from adapters.store.rows import event_row, ids_of, write_events
from adapters.store.sql import Sql
from schemas.events import Event

#: A note in the store that the relay looks at: another value means that somebody released something by hand.
NUDGE: Final = "nudge"

_AGAIN: Final = Sql(
    "UPDATE delivery SET state = 'released', release = release + 1, claim = NULL, claim_until_us = NULL, code = NULL, owner = NULL, "
    "reason = NULL, hold_code = NULL, at_us = :now WHERE state = 'failed' "
    "AND message_seq = (SELECT seq FROM message WHERE reference = :reference) RETURNING id, receiver, receiver_system"
)
_MESSAGE: Final = Sql(
    "SELECT reference, message_id, business_id, system, sender, dienst, versie, bericht FROM message WHERE reference = :reference"
)
_NUDGE: Final = Sql("INSERT INTO note (name, value) VALUES ('nudge', :value) ON CONFLICT (name) DO UPDATE SET value = :value")


class Repair:
    """The store's side of `retry`."""

    def __init__(self, database: Database) -> None:
        self._db = database

    def retry(self, reference: str, *, actor: str, now_us: int) -> int:
        """Releases the failed deliveries of one message again; returns how many. The relay publishes their tickets within a second."""
        with self._db.write() as tx:
            rows = _AGAIN(tx, reference=reference, now=now_us).all()
            if not rows:
                return 0
            message = _MESSAGE(tx, reference=reference).one()
            write_events(
                tx,
                [
                    event_row(
                        Event(
                            kind="retried",
                            at_us=now_us,
                            actor=actor,
                            delivery=row.id,
                            receiver=row.receiver,
                            receiver_system=row.receiver_system,
                            state="released",
                            **ids_of(message),
                        )
                    )
                    for row in rows
                ],
            )
            _NUDGE(tx, value=str(now_us))
            return len(rows)
