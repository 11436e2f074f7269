"""How far we are in following another register: one note, and an event for each snapshot that was taken over."""

from __future__ import annotations

from typing import Final

from sqlalchemy import Connection

from adapters.store.rows import event_row, write_events
from adapters.store.sql import Sql
from routing.following import NOTE, Followed
from schemas.events import Event

_READ: Final = Sql("SELECT value FROM note WHERE name = :name")
_WRITE: Final = Sql("INSERT INTO note (name, value) VALUES (:name, :value) ON CONFLICT (name) DO UPDATE SET value = :value")
_FORGET: Final = Sql("DELETE FROM note WHERE name = :name")


def read_followed(connection: Connection) -> Followed | None:
    """The last snapshot that was taken over; None when none is followed."""
    return Followed.from_json(_READ(connection, name=NOTE).scalar())


def write_followed(tx: Connection, followed: Followed, actor: str) -> None:
    """A snapshot was taken over: in the transaction that makes the register the same."""
    _WRITE(tx, name=NOTE, value=followed.to_json())
    details = {"issuer": followed.issuer, "version": str(followed.version)}
    happened = Event(kind="register_followed", at_us=followed.fetched_us, actor=actor, register_version=followed.ours, details=details)
    write_events(tx, [event_row(happened)])


def forget_followed(tx: Connection) -> None:
    """None is followed any more."""
    _FORGET(tx, name=NOTE)
