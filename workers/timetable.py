"""The timetable: everything that is due by the clock and not by a message. One leader; APScheduler keeps the times.

Each job is short, asks the store what is due, and writes what it did in one transaction. A job that fails is logged and comes again.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Final

from apscheduler.schedulers.asyncio import AsyncIOScheduler
from apscheduler.triggers.interval import IntervalTrigger

from routing.ports import Store
from routing.work import Lease, LeaseLost, StoreUnavailable
from schemas.contract import MessageKind
from workers.clock import Clock
from workers.loop import SEEN_EVERY_S, Leader, Worker, lead

log = logging.getLogger("koppelpunt.timetable")

#: Workers not heard of for this long are forgotten.
FORGET_AFTER_US: Final = int(SEEN_EVERY_S * 12 * 1e6)
#: A sender's ids are recognised for this long (rule 2).
IDS_KEPT_US: Final = 400 * 86_400_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """What is done, and how often (seconds)."""

    name: str
    every_s: float
    act: Callable[[], Awaitable[None]]


class Timetable:
    """Runs the jobs while it leads."""

    def __init__(self, worker: Worker, store: Store, kinds: Sequence[MessageKind], clock: Clock, more: Sequence[Job] = ()) -> None:
        self._worker, self._store, self._kinds, self._clock = worker, store, kinds, clock
        self._leader = Leader(worker, store.registry, "timetable")
        self._scheduler = AsyncIOScheduler(timezone="UTC")
        self._leading = False
        jobs = (
            Job(name="deadlines", every_s=10, act=self._deadlines),
            Job(name="unfetched", every_s=60, act=self._unfetched),
            Job(name="unanswered", every_s=60, act=self._unanswered),
            Job(name="retention", every_s=3600, act=self._retention),
            Job(name="workers", every_s=30, act=self._workers),
            *more,
        )
        for job in jobs:
            self._scheduler.add_job(
                self._run,
                IntervalTrigger(seconds=job.every_s),
                args=[job],
                id=job.name,
                max_instances=1,
                coalesce=True,
                misfire_grace_time=None,
            )
        self._first = jobs

    async def run(self) -> None:
        """Leads until the worker stops."""
        self._scheduler.start()
        try:
            await lead(self._worker, self._leader, self._cycle)
        finally:
            self._scheduler.shutdown(wait=False)

    async def _cycle(self, lease: Lease) -> float:
        if self._leader.took_over:
            self._leader.took_over = False
            self._leading = True
            for job in self._first:  # a new leader does not know when each was done last
                await self._run(job)
        return 1.0

    async def _run(self, job: Job) -> None:
        try:
            if self._worker.stopping or not self._leading or await self._leader.lease() is None:
                return
            await job.act()
            self._worker.handled += 1
        except (StoreUnavailable, LeaseLost) as error:
            log.warning("job_put_off", extra={"job": job.name, "error": str(error)})
        except Exception as error:
            log.error("job_failed", extra={"job": job.name, "error": type(error).__name__}, exc_info=error)

    async def _deadlines(self) -> None:
        while self._store.outbox.expire(actor=self._worker.id, now_us=self._clock.now_us()):
            continue

    async def _unfetched(self) -> None:
        within = {kind.action: int(kind.fetch_within.total_seconds() * 1e6) for kind in self._kinds}
        self._store.outbox.unfetched(actor=self._worker.id, now_us=self._clock.now_us(), fetch_within_us=within)

    async def _unanswered(self) -> None:
        while self._store.outbox.unanswered(actor=self._worker.id, now_us=self._clock.now_us()):
            await asyncio.sleep(0)

    async def _retention(self) -> None:
        keep = {kind.action: int(kind.retention.total_seconds() * 1e6) for kind in self._kinds}
        now_us = self._clock.now_us()
        while self._store.outbox.erase_finished(now_us=now_us, retention_us=keep):
            await asyncio.sleep(0)
        while self._store.outbox.forget_ids(before_us=now_us - IDS_KEPT_US):
            await asyncio.sleep(0)

    async def _workers(self) -> None:
        self._store.registry.forget_workers(self._clock.now_us() - FORGET_AFTER_US)
