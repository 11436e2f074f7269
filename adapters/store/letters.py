"""The store's side of mailboxes that are read over REST: what stands there, what was fetched, and what the party says of it.

A delivery stands in its system's mailbox while it is `delivered`, or `failed` only because it was not fetched in time.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Final

from adapters.store.database import Database
from adapters.store.deliveries import CLAIMED_COLUMNS, CLAIMED_FIELDS, Deliveries
from adapters.store.rows import event_row, ids_of, write_events
from adapters.store.sql import Sql
from adapters.store.tables.deliveries import NOT_FETCHED, OPEN
from routing.party import NOT_FETCHED as NOT_FETCHED_CODE
from routing.party import Letter, Pile, WordHeard
from routing.work import Claimed, Confirmation
from schemas.events import Event

_HERE: Final = f"{OPEN} AND state = 'delivered'"
_PILES: Final = (
    "SELECT endpoint, count(*) AS many, min(delivered_us) AS oldest FROM delivery WHERE {} AND lane = :lane AND endpoint IS NOT NULL "
    "GROUP BY endpoint"
)
_OPEN_PILES: Final = Sql(_PILES.format(_HERE))
_OVERDUE_PILES: Final = Sql(_PILES.format(NOT_FETCHED))
_LETTERS: Final = (
    "SELECT d.seq, d.id, d.receiver, d.attempts, d.state, d.delivered_us, d.again_of, m.received_us, m.dienst, m.versie, m.bericht, "
    "m.action, m.sender, m.message_id, m.size FROM "
    "(SELECT * FROM delivery WHERE {} AND lane = :lane AND endpoint IN @endpoints ORDER BY seq LIMIT :limit) AS d "
    "JOIN message m ON m.seq = d.message_seq ORDER BY d.seq"
)
_OPEN_LETTERS: Final = Sql(_LETTERS.format(_HERE))
_OVERDUE_LETTERS: Final = Sql(_LETTERS.format(NOT_FETCHED))
_THEIRS: Final = (
    "d.id = :id AND d.lane = :lane AND d.endpoint IS NOT NULL "
    f"AND (d.state = 'delivered' OR (d.state = 'failed' AND d.code = '{NOT_FETCHED_CODE}'))"
)
_SEALED: Final = Sql(
    f"SELECT {CLAIMED_COLUMNS} FROM delivery d JOIN message m ON m.seq = d.message_seq JOIN body b ON b.seq = m.seq WHERE {_THEIRS}"
)
_ATTEMPTS: Final = Sql(f"SELECT d.attempts FROM delivery d WHERE {_THEIRS}")
_FIRST_TIME: Final = Sql(
    "UPDATE attempt SET fetched_us = :now WHERE delivery_seq = :seq AND number = :attempt AND fetched_us IS NULL RETURNING number"
)


class Letters:
    """Reading a mailbox."""

    def __init__(self, database: Database) -> None:
        self._db = database

    def piles(self, system: str) -> list[Pile]:
        """How much stands in this system's mailbox, by endpoint."""
        with self._db.read() as connection:
            here = {row.endpoint: row for row in _OPEN_PILES(connection, lane=_lane(system)).all()}
            overdue = {row.endpoint: row for row in _OVERDUE_PILES(connection, lane=_lane(system)).all()}
        self._db.sync()
        piles = []
        for endpoint in sorted(here.keys() | overdue.keys()):
            found = [rows[endpoint] for rows in (here, overdue) if endpoint in rows]
            piles.append(
                Pile(
                    endpoint=endpoint,
                    open=here[endpoint].many if endpoint in here else 0,
                    overdue=overdue[endpoint].many if endpoint in overdue else 0,
                    oldest_us=min((row.oldest for row in found if row.oldest is not None), default=None),
                )
            )
        return piles

    def standing(self, system: str, endpoints: Iterable[str], *, limit: int) -> list[Letter]:
        """What stands in this system's mailbox for these endpoints, the oldest first."""
        wanted = sorted(endpoints)
        with self._db.read() as connection:
            rows = [
                row
                for ask in (_OPEN_LETTERS, _OVERDUE_LETTERS)
                for row in ask(connection, lane=_lane(system), endpoints=wanted, limit=limit).all()
            ]
        if rows:
            self._db.sync()
        rows.sort(key=lambda row: row.seq)
        return [
            Letter(
                delivery_id=row.id,
                received_us=row.received_us,
                delivered_us=row.delivered_us or row.received_us,
                dienst=row.dienst,
                versie=row.versie,
                bericht=row.bericht,
                action=row.action,
                receiver=row.receiver,
                sender=row.sender,
                message_id=row.message_id,
                size=row.size,
                attempt=row.attempts,
                overdue=row.state == "failed",
                anew=row.again_of is not None,
            )
            for row in rows[:limit]
        ]

    def sealed(self, system: str, delivery_id: str) -> Claimed | None:
        """A delivery that stands in this system's mailbox, as the courier had it when it put it there; None when it does not."""
        with self._db.read() as connection:
            row = _SEALED(connection, id=delivery_id, lane=_lane(system)).first()
        if row is None:
            return None
        one = Claimed(**dict(zip(CLAIMED_FIELDS, row, strict=True)))
        return replace(one, attempts=one.attempts - 1)

    def fetched(self, one: Claimed, *, actor: str, now_us: int) -> bool:
        """Journals that the system has seen it, once per attempt. False when it does not stand in its mailbox any more."""
        attempt = one.attempts + 1
        with self._db.write() as tx:
            if _ATTEMPTS(tx, id=one.id, lane=_lane(one.receiver_system)).scalar() != attempt:
                return False
            if _FIRST_TIME(tx, seq=one.seq, attempt=attempt, now=now_us).first() is None:
                return True
            happened = Event(
                kind="fetched",
                at_us=now_us,
                actor=actor,
                delivery=one.id,
                receiver=one.receiver,
                receiver_system=one.receiver_system,
                details={"attempt": str(attempt)},
                **ids_of(one),
            )
            write_events(tx, [event_row(happened)])
        return True

    def hear(self, confirmation: Confirmation, *, actor: str, now_us: int) -> WordHeard:
        """What a party says of one delivery, and what that came to."""
        return Deliveries(self._db).hear(confirmation, actor=actor, now_us=now_us)


def _lane(system: str) -> str:
    return f"mailbox {system}"
