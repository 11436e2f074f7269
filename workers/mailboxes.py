"""Mailboxes whose schools leave (rule 4): unconfirmed deliveries go to the successor, and copies of them are taken back.

Two leaders, so that a broker that is away never delays the judging: `Withdrawal` looks at the store when the register changed or a new
day began, `TakingBack` at the mailboxes the store says have lost something. Both run in the timetable's process.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Sequence
from contextlib import aclosing
from functools import partial
from typing import Any, Final

from routing.amsterdam import amsterdam_day
from routing.mailbox import SUCCESSOR_S, InMailbox, Move, SecondLook, Standing, Withdrawn, has_queue, same_place
from routing.ports import BrokerError, Mailroom, Store
from routing.resolver import may_pass_on
from routing.work import Lease
from workers.clock import Clock, micros
from workers.loop import Leader, Worker, lead
from workers.register_cache import Records, RegisterCache

log = logging.getLogger("koppelpunt.mailboxes")

#: How often the register's version and the day are compared.
LOOK_EVERY_S: Final = 1.0
#: A look that began this long after a change is the last one: every deliver worker has the new register by then (`RegisterCache`).
SETTLED_S: Final = 3.0
#: Deliveries withdrawn in one transaction.
PAGE: Final = 200
#: A mailbox that could not be looked through is tried again after this.
TRY_AGAIN_S: Final = 10.0


class Withdrawal:
    """Judges what stands in mailboxes again when the register changed, or when a new day began. Otherwise a look is one comparison."""

    def __init__(self, worker: Worker, store: Store, register: RegisterCache, clock: Clock) -> None:
        self._worker, self._store, self._register, self._clock = worker, store, register, clock
        self._record = Records()
        self._leader = Leader(worker, store.registry, "mailboxes")
        self._seen: tuple[int, object] | None = None  # register version and day of the last look
        self._changed_at = 0.0
        self._lanes: list[str] | None = None  #: what is to be looked at; None: every mailbox

    async def run(self) -> None:
        """Leads until the worker stops."""
        await lead(self._worker, self._leader, self._cycle)

    async def _cycle(self, lease: Lease) -> float:
        register, now = await self._worker.insist("register", self._register), self._clock.now()
        if self._leader.took_over or (register.version, amsterdam_day(now)) != self._seen:
            self._leader.took_over = False
            self._seen = (register.version, amsterdam_day(now))
            self._lanes, self._changed_at = None, time.monotonic()
        if self._lanes is None or self._lanes:
            began = time.monotonic()
            under_way = await self._look(lease, SecondLook(register, now), self._lanes)
            # until then a worker may still deliver by the register before; and what it has claimed already is under way
            self._lanes = under_way if began - self._changed_at >= SETTLED_S else None
        return LOOK_EVERY_S

    async def _look(self, lease: Lease, look: SecondLook, lanes: Sequence[str] | None) -> list[str]:
        """Looks at these mailboxes (or at all). Returns those where something is under way that does not belong there."""
        insist, mailboxes = self._worker.insist, self._store.mailboxes
        under_way: list[str] = []
        for lane in await insist("mailboxes", mailboxes.open_lanes) if lanes is None else lanes:
            system = lane.removeprefix("mailbox ")
            standing = await insist("mailbox", partial(mailboxes.standing, lane))
            strange = await insist("judge", partial(_suspects, look, standing, system))
            if any(row.state == "released" for row in strange):
                under_way.append(lane)
            for state in ("delivered", "failed"):
                if gone := {row.endpoint for row in strange if row.state == state}:
                    await self._empty(lease, look, lane, gone, state)
            await asyncio.sleep(0)
        return under_way

    async def _empty(self, lease: Lease, look: SecondLook, lane: str, endpoints: set[str], state: str) -> None:
        """Everything unconfirmed in a mailbox that goes to these endpoints finds its new place; what has failed there only leaves it."""
        insist, mailboxes = self._worker.insist, self._store.mailboxes
        counts = {"moved": 0, "waiting": 0, "failed": 0}
        after = 0
        while not self._worker.stopping:
            page = await insist("mailbox", partial(mailboxes.unconfirmed, lane, endpoints, state, after=after, limit=PAGE))
            if not page:
                break
            after = page[-1].seq
            moves = await insist("judge", partial(_moves, look, page))
            stay = [self._leaves(one, move, look) for one, move in moves if same_place(move.to.endpoint, one.receiver_system)]
            leave = [self._leaves(one, move, look) for one, move in moves if not same_place(move.to.endpoint, one.receiver_system)]
            now_us = self._clock.now_us()
            if stay:
                await insist("point", partial(mailboxes.point, lease, lane, stay, now_us=now_us))
            if leave:
                await insist("withdraw", partial(mailboxes.withdraw, lease, lane, leave, actor=self._worker.id, now_us=now_us))
            for one in leave:
                counts["failed" if one.code or state == "failed" else "waiting" if one.hold_code else "moved"] += 1
            self._worker.handled += len(leave)
            await self._leader.lease()  # keeps it through a long one
        if any(counts.values()):
            log.warning("deliveries_withdrawn", extra={"mailbox": lane.removeprefix("mailbox "), **counts})

    def _leaves(self, delivery: InMailbox, move: Move, look: SecondLook) -> Withdrawn:
        endpoint, decision = move.to.endpoint, move.to.decision
        decisions = (move.because, decision) if move.because != decision else (decision,)
        rest: dict[str, Any] = {}
        if endpoint is not None:
            rest = {
                "endpoint": endpoint.id,
                "lane": endpoint.lane,
                "receiver_system": endpoint.system,
                "deadline_us": micros(look.now) + SUCCESSOR_S * 1_000_000,
            }
        else:
            passed_on = may_pass_on(look.register, delivery.receiver, amsterdam_day(look.now))  # the timetable finds out to whom
            final = decision.outcome == "no" and not passed_on
            rest = {"code" if final else "hold_code": decision.code, "owner": str(decision.owner), "reason": decision.text_nl}
        return Withdrawn(
            delivery=delivery,
            state="failed" if rest.get("code") else "routed",
            because=move.because.text_nl,
            copied=has_queue(look.register, delivery.receiver_system),
            register_version=look.register.version,
            decisions=tuple(self._record(one) for one in decisions),
            **rest,
        )


def _suspects(look: SecondLook, standing: Sequence[Standing], system: str) -> list[Standing]:
    return [row for row in standing if look.suspect(row.endpoint, system)]


def _moves(look: SecondLook, page: Sequence[InMailbox]) -> list[tuple[InMailbox, Move]]:
    return [(delivery, move) for delivery in page if (move := look.judge(delivery)) is not None]


class TakingBack:
    """Looks through mailboxes for copies of what was withdrawn from them."""

    def __init__(self, worker: Worker, store: Store, register: RegisterCache, mailroom: Mailroom, clock: Clock) -> None:
        self._worker, self._store, self._register, self._mailroom, self._clock = worker, store, register, mailroom, clock
        self._leader = Leader(worker, store.registry, "copies")

    async def run(self) -> None:
        """Leads until the worker stops."""
        await lead(self._worker, self._leader, self._cycle)

    async def _cycle(self, lease: Lease) -> float:
        insist, mailboxes = self._worker.insist, self._store.mailboxes
        began_us = self._clock.now_us()
        system = await insist("copies", lambda: mailboxes.due(began_us))
        if system is None:
            return LOOK_EVERY_S
        try:
            await self._look_through(lease, system, began_us)
        except BrokerError as error:
            log.warning("mailbox_not_looked_through", extra={"mailbox": system, "error": str(error), "retry_in_s": TRY_AGAIN_S})
            until_us = self._clock.now_us() + int(TRY_AGAIN_S * 1e6)
            await insist("copies", lambda: mailboxes.put_off(system, until_us=until_us))
        return 0.05

    async def _look_through(self, lease: Lease, system: str, began_us: int) -> None:
        insist, mailboxes, actor = self._worker.insist, self._store.mailboxes, self._worker.id
        look = SecondLook(await insist("register", self._register), self._clock.now())

        async def foreign(ids: Sequence[str]) -> set[str]:
            found = await insist("copies", lambda: mailboxes.copies(ids))
            return await insist("judge", lambda: {copy.id for copy in found if not look.belongs(copy, system)})

        count = handed_out = 0
        async with aclosing(self._mailroom.sift(system, foreign)) as parts:
            async for part in parts:
                now_us = self._clock.now_us()
                if part:
                    await insist("take back", partial(mailboxes.took_back, lease, system, part, actor=actor, now_us=now_us))
                count, handed_out = count + len(part), handed_out + sum(copy.handed_out for copy in part)
                if self._worker.stopping or await self._leader.lease() is None:
                    return
        seen = await insist(
            "looked through", lambda: mailboxes.looked_through(lease, system, began_us=began_us, actor=actor, now_us=self._clock.now_us())
        )
        if count or seen:
            log.warning("copies_taken_back", extra={"mailbox": system, "count": count, "handed_out": handed_out + seen})
        self._worker.handled += count
