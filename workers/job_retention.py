"""Jobs that ended long ago are forgotten: by the timetable, in small steps beside everything else."""

from __future__ import annotations

import asyncio
import logging
from typing import Final, Protocol

from workers.clock import Clock

log = logging.getLogger("koppelpunt.jobs")

_DAY_US: Final = 86_400_000_000
#: Seconds between two parts: nobody who writes waits for more than one of them.
PAUSE_S: Final = 0.05


class Retention(Protocol):
    """The store's side; see adapters.store.job_retention."""

    def forget(self, *, before_us: int) -> tuple[int, int] | None: ...


class OldJobs:
    """What is kept for so many days, and no longer."""

    def __init__(self, retention: Retention, clock: Clock, *, days: int) -> None:
        self._retention, self._clock, self._days = retention, clock, days

    async def forget(self) -> None:
        """All that is too old now. Raises StoreUnavailable."""
        before_us, jobs, results = self._clock.now_us() - self._days * _DAY_US, 0, 0
        while (gone := await asyncio.to_thread(self._retention.forget, before_us=before_us)) is not None:
            jobs, results = jobs + gone[0], results + gone[1]
            await asyncio.sleep(PAUSE_S)
        if jobs:
            log.info("jobs_forgotten", extra={"jobs": jobs, "results": results})
