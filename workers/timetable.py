"""The timetable: everything that is due by the clock and not by a message. One leader; APScheduler keeps the times.

Each job is short, asks the store what is due, and writes what it did in one transaction. A job that fails is logged and comes again.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from apscheduler.schedulers.asyncio import AsyncIOScheduler
from apscheduler.triggers.interval import IntervalTrigger

from routing.amsterdam import amsterdam_day
from routing.decisions import Decision
from routing.ports import Store
from routing.register import Register
from routing.register_asked import AskedParts, NotAsked, Question
from routing.release import CircuitState
from routing.resolver import resolve
from routing.work import Lease, LeaseLost, NewDelivery, StoreUnavailable, Waiting
from schemas.contract import MessageKind
from schemas.oin import Oin
from workers.asking import answered
from workers.clock import Clock, micros
from workers.loop import SEEN_EVERY_S, Leader, Worker, lead
from workers.places import is_strange
from workers.register_cache import Records, RegisterCache

log = logging.getLogger("koppelpunt.timetable")

#: Workers not heard of for this long are forgotten.
FORGET_AFTER_US: Final = int(SEEN_EVERY_S * 12 * 1e6)
WAITING_PAGE: Final = 1_000
#: Questions about waiting deliveries that another register is asked at a time, every two seconds; and how long a look waits for answers.
ASKED_AT_ONCE: Final = 8
ASKING_S: Final = 1.5
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

    def __init__(
        self, worker: Worker, store: Store, register: RegisterCache, kinds: Sequence[MessageKind], clock: Clock, more: Sequence[Job] = ()
    ) -> None:
        self._worker, self._store, self._register, self._kinds, self._clock = worker, store, register, kinds, clock
        self._record = Records()
        self._seen: tuple[int, object] | None = None  # register version and day the waiting deliveries were last looked at with
        self._asked_after = 0  # up to which waiting delivery another register was asked
        self._leader = Leader(worker, store.registry, "timetable")
        self._scheduler = AsyncIOScheduler(timezone="UTC")
        self._leading = False
        jobs = (
            Job(name="waiting", every_s=2, act=self.look_at_waiting),
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

    async def look_at_waiting(self) -> None:
        """Whoever waited for the register is looked at again when it changed, or when a new day began."""
        register, now = self._register(), self._clock.now()
        seen = (register.version, amsterdam_day(now))
        if seen == self._seen:
            if isinstance(register.parts, AskedParts):
                await self._ask_again(register)
            return
        after = 0
        while page := self._store.outbox.waiting(after=after, limit=WAITING_PAGE):
            after = page[-1].seq
            await self._look_at(page, register)
        self._follow_held_lanes(register)
        self._seen = seen

    async def _ask_again(self, register: Register) -> None:
        """Another register does not say when it changed: so it is asked, some questions at a time, about one page after another."""
        page = self._store.outbox.waiting(after=self._asked_after, limit=WAITING_PAGE)
        looked = await self._look_at(page, register)
        over = looked == len(page) < WAITING_PAGE
        self._asked_after = 0 if over or not looked else page[looked - 1].seq
        self._follow_held_lanes(register)

    async def _look_at(self, page: Sequence[Waiting], register: Register) -> int:
        """What waits for the register, and has another answer now. Where another register must be asked, so much as may be at a time;
        returns up to where the page was looked at."""
        changes: list[tuple[Waiting, NewDelivery]] = []
        asked: dict[Question, asyncio.Future[None]] = {}
        unknown: list[Waiting] = []
        looked = len(page)
        for place, row in enumerate(page):
            if not row.hold_code.startswith("ROUTE_"):
                continue
            try:
                changes += self._changed(row, register)
            except NotAsked as missing:
                if missing.question not in asked and len(asked) >= ASKED_AT_ONCE:
                    looked = min(looked, place)
                    continue
                asked[missing.question] = asyncio.ensure_future(answered(missing))
                unknown.append(row)
        if asked:
            await asyncio.wait(asked.values(), timeout=ASKING_S)
        for row in unknown:
            with suppress(NotAsked):  # the next look will do
                changes += self._changed(row, register)
        if changes:
            self._store.outbox.reroute_waiting(changes, actor=self._worker.id, now_us=self._clock.now_us())
        return looked

    def _changed(self, row: Waiting, register: Register) -> list[tuple[Waiting, NewDelivery]]:
        """Raises NotAsked."""
        new = self._again(row, register)
        return [] if new is None else [(row, new)]

    def _follow_held_lanes(self, register: Register) -> None:
        """What waits in a held lane leaves it when the register has another place for it: nobody tries it there, so nobody notices."""
        outbox, now = self._store.outbox, self._clock.now()
        for lane in [lane for lane, circuit in outbox.circuits().items() if circuit.state is not CircuitState.CLOSED]:
            for endpoint, system in outbox.places_in(lane):
                try:
                    if not is_strange((endpoint, system, lane, None), register, now):
                        continue
                except NotAsked as missing:
                    missing.begin()  # the next look will do
                    continue
                after = 0
                while page := outbox.waiting_in(lane, endpoint, after=after, limit=WAITING_PAGE):
                    after = page[-1].seq
                    changes = [change for row in page for change in self._leaves(row, register)]
                    outbox.move(lane, changes, actor=self._worker.id, now_us=micros(now))

    def _leaves(self, row: Waiting, register: Register) -> list[tuple[Waiting, NewDelivery]]:
        """Where it goes from a held lane; it stays while nobody can say."""
        try:
            new = self._now(row, register)
        except NotAsked as missing:
            missing.begin()
            return []
        return [] if new.hold_code == "ROUTE_REGISTER_AWAY" else [(row, new)]

    def _again(self, row: Waiting, register: Register) -> NewDelivery | None:
        new = self._now(row, register)
        if new.endpoint is None and (new.hold_code in (row.hold_code, "ROUTE_REGISTER_AWAY") or new.decisions[0].outcome == "no"):
            return None  # nothing new; at its deadline it fails with what it waits for
        return new

    def _now(self, row: Waiting, register: Register) -> NewDelivery:
        """Where the register has it now, or why nowhere."""
        found = resolve(register, receiver=Oin(row.receiver), dienst=row.dienst, versie=row.versie, now=self._clock.now())
        endpoint, decision = found.endpoint, found.decision
        return NewDelivery(
            id=row.id,
            target=row.target,
            receiver=row.receiver,
            endpoint=endpoint.id if endpoint else None,
            lane=endpoint.lane if endpoint else None,
            receiver_system=endpoint.system if endpoint else None,
            hold_code=None if endpoint else decision.code,
            owner=None if endpoint else _owner(decision),
            reason=None if endpoint else decision.text_nl,
            decisions=(self._record(decision),),
        )

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


def _owner(decision: Decision) -> str | None:
    return str(decision.owner) if decision.owner else None
