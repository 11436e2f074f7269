"""Snapshots of our register in the store, for whoever follows it: the newest. And the end of following another one."""

from __future__ import annotations

from sqlalchemy import delete, insert, select

from adapters.store.database import Database
from adapters.store.followed import forget_followed
from adapters.store.tables.register import register_snapshot
from routing.following import Made


class Snapshots:
    """One snapshot."""

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

    def stop_following(self) -> None:
        """From now on the register is our own, as it is."""
        with self._db.write() as tx:
            forget_followed(tx)
