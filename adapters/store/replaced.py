"""A failure ends by itself when its sender delivers a document that names the failed one in `vervangtBedrijfsdocument`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from sqlalchemy import Connection

from adapters.store.rows import Row, event_row, ids_of
from adapters.store.sql import Sql
from routing.work import RoutedMessage
from schemas.events import Event

#: Ids are per sender: nobody closes another's failure.
_MEANT: Final = Sql(
    "SELECT u.key, m.seq, m.state, m.code, m.receiver, m.reference, m.message_id, m.business_id, m.system, m.sender, m.dienst, m.versie, "
    "m.bericht FROM used_id u JOIN message m ON m.reference = u.reference WHERE u.key IN @keys"
)
_DELIVERIES: Final = Sql(
    "UPDATE delivery SET state = 'superseded', code = NULL, owner = NULL, reason = NULL, at_us = :now "
    "WHERE message_seq = :seq AND state = 'failed' RETURNING id, receiver, receiver_system"
)
#: The lifecycle knows no superseded message; it was closed without delivery.
_MESSAGE: Final = Sql("UPDATE message SET state = 'archived' WHERE seq = :seq AND state = 'failed' RETURNING seq")


def close_replaced(tx: Connection, routes: Iterable[RoutedMessage], actor: str, now_us: int) -> list[Row]:
    """Closes what these routed messages replace, as far as it failed; returns the events."""
    by_key = {f"b:{route.replaces}:{route.message.sender}": route for route in routes if route.replaces and not route.code}
    if not by_key:
        return []
    events: list[Row] = []
    for row in _MEANT(tx, keys=sorted(by_key)).all():
        new = by_key[row.key].message
        if row.seq >= new.seq:
            continue
        if row.state == "failed":
            if _MESSAGE(tx, seq=row.seq).first() is not None:
                events.append(_closed(row, "archived", actor, now_us, new.reference, receiver=row.receiver))
            continue
        for one in _DELIVERIES(tx, seq=row.seq, now=now_us).all():
            about = {"delivery": one.id, "receiver": one.receiver, "receiver_system": one.receiver_system}
            events.append(_closed(row, "superseded", actor, now_us, new.reference, **about))
    return events


def _closed(row: Any, kind: str, actor: str, now_us: int, by: str, **about: Any) -> Row:
    happened = Event(
        kind=kind, at_us=now_us, actor=actor, state=kind, details={"by": by, "why": "vervangtBedrijfsdocument"}, **about, **ids_of(row)
    )
    return event_row(happened, tell=row.system)
