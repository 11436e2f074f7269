"""Refusals of which nothing more will come: a person takes them off the board, and the journal says who and why."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from sqlalchemy import Connection

from adapters.store.board_standing import OF_ITEM, Changes
from adapters.store.rows import event_row, write_events
from adapters.store.sql import Sql
from schemas.events import Event

_THESE: Final = Sql("SELECT reference, system, sender, dienst, bericht, code, owner FROM refusal WHERE reference IN @references")
_CLOSE: Final = Sql(
    "INSERT INTO refusal_closed (reference, at_us, who, why) VALUES (:reference, :now, :who, :why) "
    "ON CONFLICT DO NOTHING RETURNING reference"
)
_OFF: Final = Sql(f"DELETE FROM item WHERE reference IN @references AND state = 'refused' RETURNING {', '.join(OF_ITEM)}")


def close_refusals(
    tx: Connection, references: Sequence[str], *, who: str, why: str, now_us: int, details: Mapping[str, str] | None = None
) -> set[str]:
    """Closes these; returns those that were there and not closed yet."""
    if not references:
        return set()
    rows = _THESE(tx, references=list(references)).all()
    closed = [row for row in rows if _CLOSE(tx, reference=row.reference, now=now_us, who=who, why=why).first() is not None]
    if closed:
        changes = Changes()
        changes.go(_OFF(tx, references=[row.reference for row in closed]).all())
        changes.write(tx)
    write_events(tx, [event_row(_event(row, who, why, now_us, details)) for row in closed])
    return {row.reference for row in closed}


def _event(row: Any, who: str, why: str, now_us: int, details: Mapping[str, str] | None) -> Event:
    return Event(kind="refusal_closed", at_us=now_us, actor=who, reason=why, details=dict(details or {}), **row._mapping)
