"""How far our certificates' roll-over is, shared by all processes. Each step and its journal event are one transaction."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from typing import Final

from sqlalchemy import Connection, select

from adapters.store.database import Database
from adapters.store.registry import SET_NOTE
from adapters.store.rows import event_row, write_events
from adapters.store.tables.processes import note
from routing.rollover import RollOver
from schemas.events import Event

_NOTE: Final = "certificates"


class Certificates:
    """The roll-over in the store."""

    def __init__(self, database: Database) -> None:
        self._db = database

    def read(self) -> RollOver:
        """Where we are."""
        with self._db.read() as connection:
            return _read(connection)

    def change(self, step: Callable[[RollOver], RollOver], *, kind: str, who: str, now_us: int, systems: Iterable[str] = ()) -> RollOver:
        """Takes one step, which may raise CannotRollOver, and journals it: an event of this kind for each of the systems it is about, or
        one when it is about none. Returns where we are now."""
        with self._db.write() as tx:
            self._db.one_at_a_time(tx, [b"rollover"])
            before = _read(tx)
            after = step(before)
            tx.execute(SET_NOTE, {"name": _NOTE, "value": json.dumps(after.to_dict())})
            subject = after.next or before.next
            details = {"sha256": subject.sha256} if subject else {}
            events = []
            for oin in tuple(systems) or (None,):
                said_by = after.parties[oin].confirmed_by if oin and kind == "certificate_confirmed" else None
                more = {"confirmed_by": said_by} if said_by else {}
                events.append(event_row(Event(kind=kind, at_us=now_us, actor=who, system=oin, details=details | more)))
            write_events(tx, events)
            return after


def _read(connection: Connection) -> RollOver:
    value = connection.execute(select(note.c.value).where(note.c.name == _NOTE)).scalar()
    return RollOver.from_dict(json.loads(value)) if value else RollOver()
