"""Snapshots of the register in the store: the newest of ours, for whoever follows us, and how far we are in following another one."""

from __future__ import annotations

from sqlalchemy import delete, insert, select

from adapters.store.database import Database
from adapters.store.registry import SET_NOTE
from adapters.store.rows import event_row, write_events
from adapters.store.tables import note, register_snapshot
from routing.following import NOTE, Followed, Made
from schemas.events import Event


class Snapshots:
    """One snapshot, and one note."""

    def __init__(self, database: Database) -> None:
        self._db = database

    def made(self) -> Made | None:
        """The newest of ours; None when none was made."""
        with self._db.read() as connection:
            row = connection.execute(select(register_snapshot.c.version, register_snapshot.c.made_us, register_snapshot.c.until_us)).first()
            return Made(row.version, row.made_us, row.until_us) if row else None

    def put(self, made: Made, raw: bytes) -> None:
        """Replaces it."""
        with self._db.write() as tx:
            tx.execute(delete(register_snapshot))
            tx.execute(insert(register_snapshot), {"version": made.version, "made_us": made.made_us, "until_us": made.until_us, "raw": raw})

    def raw(self, made: Made) -> bytes | None:
        """That snapshot, whole; None when another one has taken its place."""
        with self._db.read() as connection:
            found = connection.execute(
                select(register_snapshot.c.raw).where(
                    register_snapshot.c.version == made.version, register_snapshot.c.made_us == made.made_us
                )
            ).scalar()
            return bytes(found) if found is not None else None

    def follow(self, followed: Followed, *, actor: str) -> None:
        """A snapshot was taken over."""
        with self._db.write() as tx:
            tx.execute(SET_NOTE, {"name": NOTE, "value": followed.to_json()})
            details = {"issuer": followed.issuer, "version": str(followed.version)}
            write_events(
                tx,
                [
                    event_row(
                        Event(
                            kind="register_followed",
                            at_us=followed.fetched_us,
                            actor=actor,
                            register_version=followed.ours,
                            details=details,
                        )
                    )
                ],
            )

    def stop_following(self) -> None:
        """From now on the register is our own, as it is."""
        with self._db.write() as tx:
            tx.execute(delete(note).where(note.c.name == NOTE))
