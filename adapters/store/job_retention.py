"""Jobs that ended long ago, and what became of their messages: removed a little at a time. The journal keeps what they did."""

from __future__ import annotations

from typing import Final

from adapters.store.database import Database
from adapters.store.sql import Sql

#: Results of a job that are removed in one transaction: some ten milliseconds for whoever wants to write too.
PART: Final = 2_000
_OLD: Final = Sql("SELECT seq FROM job WHERE state IN ('done', 'cancelled') AND changed_us < :before ORDER BY seq LIMIT 1")
_RESULTS: Final = Sql(
    "DELETE FROM job_item WHERE job = :job AND number IN (SELECT number FROM job_item WHERE job = :job ORDER BY number LIMIT :limit)"
)
_JOB: Final = Sql("DELETE FROM job WHERE seq = :job AND state IN ('done', 'cancelled')")


class JobRetention:
    """Forgets."""

    def __init__(self, database: Database) -> None:
        self._db = database

    def forget(self, *, before_us: int) -> tuple[int, int] | None:
        """A part of the first job that ended before this; returns how many jobs and results are gone. None: there is none."""
        with self._db.read() as connection:
            job = _OLD(connection, before=before_us).scalar()
        if job is None:
            return None
        with self._db.write() as tx:
            results = _RESULTS(tx, job=job, limit=PART).rowcount
            return (0, results) if results == PART else (_JOB(tx, job=job).rowcount, results)
