"""Runs the jobs that people confirmed (routing.jobs): one leader, in the timetable's process, in small steps beside everything else.

What a step does is committed together with how far the job is: whoever leads next goes on right there, and nothing is done twice.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from typing import Final, Protocol

from routing.actions import Job
from routing.jobs import AT_ONCE, JobState, Progress, Stop, next_step
from routing.ports import Registry
from routing.register import Register
from routing.work import Lease, LeaseLost
from schemas.contract import MessageKind
from workers.actions import Aimer, JobBook
from workers.clock import Clock
from workers.loop import Leader, Stopping, Worker, lead

log = logging.getLogger("koppelpunt.jobs")

#: Seconds between two looks at the jobs that run, at what became of what they began, and for one that was just confirmed.
STEP_S: Final = 0.5
#: Seconds until a job is tried again in which something went wrong that should not.
STUCK_S: Final = 60.0
#: Seconds between two parts of what is read, or removed, once; and between two batches of a job that may go faster than one for each look.
PART_S: Final = 0.02


class RunningJobs(JobBook, Protocol):
    """The store's side of running."""

    def running(self) -> list[tuple[Job, Progress]]: ...

    def progress(self, job: str) -> tuple[Job, Progress]: ...

    def look(self, job: str, *, lease: Lease, now_us: int) -> int: ...

    def passed(self, job: str, *, lease: Lease) -> None: ...

    def end(self, job: str, to: JobState, *, lease: Lease, actor: str, now_us: int, why: Stop | None = None) -> None: ...

    def sweep(self, *, now_us: int) -> bool: ...

    def learn(self, actions: Sequence[str]) -> bool: ...


class JobRunner:
    """Goes on with every job that runs, a little at a time."""

    def __init__(
        self,
        worker: Worker,
        jobs: RunningJobs,
        registry: Registry,
        register: Callable[[], Register],
        kinds: Sequence[MessageKind],
        clock: Clock,
    ) -> None:
        self._worker, self._jobs, self._register, self._clock = worker, jobs, register, clock
        self._states = sorted(kind.action for kind in kinds if kind.newest_replaces)
        self._leader = Leader(worker, registry, "jobs")
        self._learning = True  #: which states are the newest is not read to the end yet: nothing is offered again before that
        self._allowance: dict[str, tuple[float, float]] = {}  #: by job: how many may begin, as of when
        self._stuck: dict[str, float] = {}  #: by job that failed by a mistake of ours: until when it is left alone
        self._looked: dict[str, float] = {}  #: by job: when it was last asked what became of what is under way

    async def run(self) -> None:
        """Leads until the worker stops."""
        await lead(self._worker, self._leader, self._cycle)

    async def _cycle(self, lease: Lease) -> float:
        insist, now_us = self._worker.insist, self._clock.now_us()
        if self._learning:
            self._learning = await insist("newest states", lambda: self._jobs.learn(self._states))
            return PART_S
        running = await insist("jobs", self._jobs.running)
        known = {job.id for job, _ in running}
        self._allowance = {id: kept for id, kept in self._allowance.items() if id in known}
        self._looked = {id: kept for id, kept in self._looked.items() if id in known}
        full = [await self._try(lease, job, progress) for job, progress in running]
        if running:
            return PART_S if any(full) else STEP_S
        return PART_S if await insist("previews", lambda: self._jobs.sweep(now_us=now_us)) else STEP_S

    async def _try(self, lease: Lease, job: Job, progress: Progress) -> bool:
        """One job; a defect in it holds up neither the others nor the timetable, and it is tried again later."""
        if time.monotonic() < self._stuck.get(job.id, 0.0):
            return False
        try:
            return await self._go_on(lease, job, progress)
        except (LeaseLost, Stopping):
            raise
        except Exception as error:
            self._stuck[job.id] = time.monotonic() + STUCK_S
            log.error("job_stuck", extra={"job": job.id, "error": type(error).__name__, "retry_in_s": STUCK_S}, exc_info=error)
            return False

    async def _go_on(self, lease: Lease, job: Job, progress: Progress) -> bool:
        """Whether it may begin more at once."""
        insist, jobs, now_us, now = self._worker.insist, self._jobs, self._clock.now_us(), time.monotonic()
        if progress.figures.under_way and now >= self._looked.get(job.id, 0.0) + STEP_S:
            self._looked[job.id] = now
            if await insist("outcomes", lambda: jobs.look(job.id, lease=lease, now_us=now_us)):
                job, progress = await insist("jobs", lambda: jobs.progress(job.id))
        if job.state is not JobState.RUNNING:
            return False
        step = next_step(progress, job.terms, allowance=self._allowed(job))
        if step.stop or step.done:
            to = JobState.STOPPED if step.stop else JobState.DONE
            await insist("end", lambda: jobs.end(job.id, to, lease=lease, actor=self._worker.id, now_us=now_us, why=step.stop))
            figures = {"succeeded": progress.figures.succeeded, "failed": progress.figures.failed, "left": progress.figures.planned}
            if step.stop:
                log.warning("job_stopped", extra={"job": job.id, "action": job.order.action, "why": step.stop, **figures})
            else:
                log.info("job_done", extra={"job": job.id, "action": job.order.action, **figures})
        elif step.passed:
            await insist("trial", lambda: jobs.passed(job.id, lease=lease))
        elif step.begin:
            await self._begin(lease, job, step.begin, now_us)
        return step.begin >= AT_ONCE

    async def _begin(self, lease: Lease, job: Job, count: int, now_us: int) -> None:
        insist, jobs = self._worker.insist, self._jobs
        errands = await insist("errands", lambda: jobs.next_errands(job.id, count))
        register = await insist("register", self._register)
        aims = await insist("places", lambda: Aimer(register, self._clock).aims(job.order, errands))
        done = await insist("begin", lambda: jobs.begin(job.id, errands, aims, lease=lease, now_us=now_us))
        allowance, at = self._allowance[job.id]
        self._allowance[job.id] = (allowance - len(done), at)
        self._worker.handled += len(done)

    def _allowed(self, job: Job) -> float:
        """How many the rate lets begin now: what a second allows at most, however long nothing began."""
        now = time.monotonic()
        allowance, at = self._allowance.get(job.id, (1.0, now))
        allowance = min(allowance + (now - at) * job.terms.rate, max(1.0, job.terms.rate))
        self._allowance[job.id] = (allowance, now)
        return allowance
