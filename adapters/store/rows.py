"""Rows that every part of the store writes: events and decisions, in the transaction of the work they tell of."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final

from sqlalchemy import Connection

from adapters.store.sql import Insert
from adapters.store.tables.journal import decision, event
from routing.work import RecordedDecision
from schemas import events as avro
from schemas.events import Event

Row = tuple[Any, ...]

_EVENTS: Final = Insert(event, "at_us", "reference", "schema", "payload", "tell", "tell_after_us")
_DECISIONS: Final = Insert(decision, "reference", "delivery", "at_us", "question", "outcome", "code", "register_version", "record")


def event_row(happened: Event, *, tell: str | None = None, told: bool = False) -> Row:
    """A row for the event table. `tell`: the certificate OIN of the system that is to hear of it; `told`: the worker does so itself,
    right after the commit, and the event is only told again after a broker wipe."""
    after_us = happened.at_us if tell and not told else None
    return (happened.at_us, happened.reference, avro.CURRENT, avro.encode(happened), tell, after_us)


def write_events(connection: Connection, rows: Sequence[Row]) -> None:
    """Adds events in the caller's transaction."""
    _EVENTS(connection, rows)


def decision_rows(reference: str, delivery: str | None, at_us: int, decisions: Iterable[RecordedDecision]) -> list[Row]:
    """Rows for the decision table."""
    return [(reference, delivery, at_us, d.question, d.outcome, d.code, d.register_version, d.record) for d in decisions]


def write_decisions(connection: Connection, rows: Sequence[Row]) -> None:
    """Adds decisions in the caller's transaction."""
    _DECISIONS(connection, rows)


def ids_of(row: Any) -> dict[str, Any]:
    """The fields of an event that name a message, from anything that has them."""
    return {
        "reference": row.reference,
        "message_id": row.message_id,
        "business_id": row.business_id,
        "system": row.system,
        "sender": row.sender,
        "dienst": row.dienst,
        "versie": row.versie,
        "bericht": row.bericht,
    }
