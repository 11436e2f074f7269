"""The timetable: everything that is due by the clock and not by a message. One leader; APScheduler keeps the times.

Each job is short, asks the store what is due, and writes what it did in one transaction. A job that fails is logged and comes again.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Final

from apscheduler.schedulers.asyncio import AsyncIOScheduler
from apscheduler.triggers.interval import IntervalTrigger

from routing.amsterdam import amsterdam_day
from routing.decisions import Decision
from routing.ports import Store
from routing.recipients import of_gemeentecode, without_their_codes
from routing.register import Gemeentecode, Register
from routing.release import CircuitState
from routing.resolver import resolve
from routing.work import Lease, LeaseLost, NewDelivery, StoreUnavailable, Waiting
from schemas.contract import MessageKind
from schemas.oin import Oin
from workers.clock import Clock
from workers.loop import SEEN_EVERY_S, Leader, Worker, lead
from workers.places import is_strange
from workers.register_cache import Records, RegisterCache

log = logging.getLogger("koppelpunt.timetable")

#: Workers not heard of for this long are forgotten.
FORGET_AFTER_US: Final = int(SEEN_EVERY_S * 12 * 1e6)
WAITING_PAGE: Final = 1_000
#: Seconds after a change of the register: by then every worker has seen it, and what they had in hand is stored.
LOOK_AGAIN_S: Final = 5.0
#: How often it is found out to whom goes what was meant for a municipality that ended.
PASS_ON_S: Final = 6.0
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
        self._look_again_at: float | None = None
        self._pass_on_at = float("-inf")
        self._codes: dict[str, frozenset[Gemeentecode]] = {}  # of every municipality, at the last look
        self._without: Mapping[str, object] = {}  # those that do not have all of theirs
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
        """Whoever waited for the register is looked at again when it changed, or when a new day began; and a little later once more, for
        what was decided meanwhile by the register of before."""
        register, now = self._register(), self._clock.now()
        seen = (register.version, amsterdam_day(now))
        if seen != self._seen:
            lost = self._lost(register, seen[1])
            self._look(register, lost)
            self._follow_held_lanes(register)
            self._follow_municipalities(register, lost)
            self._seen, self._look_again_at = seen, time.monotonic() + LOOK_AGAIN_S
        elif self._look_again_at is not None and time.monotonic() >= self._look_again_at:
            self._look(register, frozenset(self._without))
            self._look_again_at = None
            self._pass_on_at = time.monotonic() + PASS_ON_S
        elif self._without and time.monotonic() >= self._pass_on_at:  # workers find what was meant for a municipality that ended
            self._look(register, frozenset(self._without), only=True)
            self._pass_on_at = time.monotonic() + PASS_ON_S

    def _lost(self, register: Register, day: date) -> frozenset[str]:
        """The municipalities that have fewer gemeentecodes than their rows name, or other ones than at the last look."""
        before, self._codes = self._codes, {row.oin: frozenset(row.gemeentecodes) for row in register.organisations.values()}
        self._without = without_their_codes(register, day)
        changed = {oin for oin, codes in before.items() if codes - self._codes.get(Oin(oin), frozenset())}
        return frozenset(changed | self._without.keys())

    def _look(self, register: Register, lost: frozenset[str], *, only: bool = False) -> None:
        """At everything that waits, or only at what waits for these."""
        outbox, now_us, after = self._store.outbox, self._clock.now_us(), 0
        while page := outbox.waiting(after=after, limit=WAITING_PAGE, receivers=lost if only else None):
            after = page[-1].seq
            codes = self._codes_of(page, lost)
            rows = [row for row in page if row.hold_code.startswith("ROUTE_")]
            changes = [(row, new) for row in rows if (new := self._again(row, register, codes.get(row.id))) is not None]
            if changes:
                outbox.reroute_waiting(changes, actor=self._worker.id, now_us=now_us)

    def _codes_of(self, rows: Sequence[Waiting], lost: frozenset[str]) -> Mapping[str, str]:
        """By which gemeentecode these were found, of what is for a municipality that may not have it any more."""
        some = [row for row in rows if row.receiver in lost]
        return self._store.outbox.gemeentecodes(some) if some else {}

    def _follow_held_lanes(self, register: Register) -> None:
        """What waits in a held lane leaves it when the register has another place for it: nobody tries it there, so nobody notices."""
        outbox, now = self._store.outbox, self._clock.now()
        for lane in [lane for lane, circuit in outbox.circuits().items() if circuit.state is not CircuitState.CLOSED]:
            for endpoint, system, receiver in outbox.places_in(lane):
                if is_strange((endpoint, system, lane, receiver), register, now):
                    self._empty(register, lane, endpoint, receiver)

    def _follow_municipalities(self, register: Register, lost: frozenset[str]) -> None:
        """What has not left for a municipality that lost its gemeentecode goes to the one that has it."""
        for oin in sorted(lost):
            regions = [row.region for row in register.delegations.values() if row.municipality == oin]
            for endpoint in (row for one in (oin, *regions) for row in register.parts.of_organisation(one).endpoints):
                self._empty(register, endpoint.lane, endpoint.id, oin, lost=lost)

    def _empty(self, register: Register, lane: str, endpoint: str, receiver: str, *, lost: frozenset[str] = frozenset()) -> None:
        """Moves what waits in a lane for an endpoint and receiver to where the register has it now."""
        outbox, now_us, after = self._store.outbox, self._clock.now_us(), 0
        while page := outbox.waiting_in(lane, endpoint, receiver, after=after, limit=WAITING_PAGE):
            after = page[-1].seq
            codes = self._codes_of(page, lost or frozenset(self._without))
            changes = [(row, self._now(row, register, codes.get(row.id))) for row in page]
            there = [(new.lane, new.endpoint, new.receiver) == (lane, row.endpoint, row.receiver) for row, new in changes]
            moved = [change for change, stays in zip(changes, there, strict=True) if not stays]
            if moved:
                outbox.move(lane, moved, actor=self._worker.id, now_us=now_us)

    def _again(self, row: Waiting, register: Register, code: str | None) -> NewDelivery | None:
        new = self._now(row, register, code)
        if new.code is not None:
            return new
        if new.endpoint is None and new.hold_code == row.hold_code and new.receiver == row.receiver:
            return None  # nothing new; at its deadline it fails with what it waits for
        return new if new.endpoint is not None or new.decisions[-1].outcome != "no" else None

    def _now(self, row: Waiting, register: Register, code: str | None) -> NewDelivery:
        """Where the register has it now, or why nowhere. `code`: the gemeentecode by which its receiver was found, and which may be another
        one's now; when it is nobody's any more, the delivery has failed."""
        receiver, decisions = Oin(row.receiver), []
        if code is not None:
            who, decision = of_gemeentecode(code, register, amsterdam_day(self._clock.now()), {"target": row.target})
            if decision.rule == "gemeente-ended":
                return self._failed(row, decision)
            if who is not None and decision.outcome == "wait":  # its day has not come
                return self._waits(row, who.oin, decision)
            if who is not None and decision.outcome == "yes" and who.oin != receiver:
                receiver = who.oin
                decisions.append(self._record(decision))
        found = resolve(register, receiver=receiver, dienst=row.dienst, versie=row.versie, now=self._clock.now())
        endpoint, decision = found.endpoint, found.decision
        if decision.outcome == "no" and row.hold_code == decision.code:  # whoever had it in hand left it to us
            return self._failed(row, decision)
        return NewDelivery(
            id=row.id,
            target=row.target,
            receiver=receiver,
            endpoint=endpoint.id if endpoint else None,
            lane=endpoint.lane if endpoint else None,
            receiver_system=endpoint.system if endpoint else None,
            hold_code=None if endpoint else decision.code,
            owner=None if endpoint else _owner(decision),
            reason=None if endpoint else decision.text_nl,
            decisions=(*decisions, self._record(decision)),
        )

    def _waits(self, row: Waiting, receiver: Oin, decision: Decision) -> NewDelivery:
        return NewDelivery(
            id=row.id,
            target=row.target,
            receiver=receiver,
            hold_code=decision.code,
            owner=_owner(decision),
            reason=decision.text_nl,
            decisions=(self._record(decision),),
        )

    def _failed(self, row: Waiting, decision: Decision) -> NewDelivery:
        return NewDelivery(
            id=row.id,
            target=row.target,
            receiver=row.receiver,
            code=decision.code,
            owner=_owner(decision),
            reason=decision.text_nl,
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
