"""Tells people: looks what is amiss, keeps alerts of it, writes mails and webhooks, and sends them. One leader, in the timetable's process.

What is written stands in the store before it is sent, and is sent until somebody takes it: a crash in between sends it again, under the
same id. Sending goes on beside the looking, so that a slow mail server holds nothing up.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from functools import partial
from typing import Any, Final, Protocol, TypeVar

from routing.alert_signals import Facts, signals
from routing.alerts import Alert, AlertState, Letter, Pace, Plan, Rules, What, backoff_s, decide, digest_day, report_week
from routing.board import Board, ItemFilter, View
from routing.contacts import Channel, Contact
from routing.people import Scope
from routing.register import Register
from routing.tellings import Due, NotSent, Sender, Written
from routing.warnings import Warning
from routing.work import Lease, LeaseLost, StoreUnavailable
from schemas.oin import Oin
from workers.alert_words import Day, Words, write_alerts, write_digest, write_report
from workers.clock import micros
from workers.loop import Leader, Stopping, Worker, lead

log = logging.getLogger("koppelpunt.alerts")

T = TypeVar("T")

#: Seconds between two looks, and between two looks for digests and old things.
LOOK_S: Final = 30.0
DAILY_S: Final = 60.0
#: Warnings change once a day.
WARNINGS_S: Final = 300.0
FORGET_S: Final = 3_600.0
#: Messages under way at a time, and how many a look for digests writes.
AT_ONCE: Final = 8
WRITE: Final = 50
#: Kinds of worker without which nothing moves, and how long one may be unheard of (microseconds).
NEEDED: Final = ("audit", "deliver", "relay", "route")
UNHEARD_US: Final = 60_000_000
#: What is openstaand is counted up to this.
COUNTED: Final = 1_000_000
EVERYTHING: Final = Scope(everything=True)


class AlertStore(Protocol):
    """The store's side; see adapters.store.alerts."""

    def look(
        self,
        lease: Lease,
        signalled: Collection[str],
        decide: Callable[[Sequence[Alert], Sequence[Contact], Mapping[str, Sequence[tuple[int, Pace]]]], Plan],
        write: Callable[[Letter], Written],
        *,
        now_us: int,
    ) -> Plan: ...

    def made(self, keys: Collection[str]) -> set[str]: ...

    def add_once(self, lease: Lease, letters: Sequence[tuple[str, str, Contact, Written]], *, now_us: int) -> int: ...

    def due(self, *, now_us: int, limit: int = 50) -> list[Due]: ...

    def sent(self, id: str, *, now_us: int) -> None: ...

    def not_sent(self, id: str, error: str, *, again_us: int | None, now_us: int) -> None: ...

    def forget(self, *, now_us: int) -> None: ...

    def contacts(self, scope: Scope, party: str | None = None) -> Sequence[Contact]: ...

    def alerts(self, scope: Scope, *, closed: bool = False, limit: int = 200) -> Sequence[Alert]: ...


class AlertFacts(Protocol):
    """What is to be seen; see adapters.store.alert_facts."""

    def look(self, lease: Lease, *, missing: Mapping[str, int], now_us: int) -> Facts: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Sources:
    """Where it is seen that something is amiss."""

    facts: AlertFacts
    workers: Callable[[], Sequence[Mapping[str, Any]]]  #: as `Registry.workers`
    scope_of: Callable[[str], Scope]  #: what is a party's own
    board: Board
    warnings: Callable[[], Sequence[Warning]] = lambda: ()


class Teller:
    """Looks, writes and sends."""

    def __init__(
        self,
        worker: Worker,
        store: AlertStore,
        sources: Sources,
        senders: Mapping[Channel, Sender],
        words: Words,
        rules: Rules,
        leader: Leader,
    ) -> None:
        self._worker, self._store, self._sources, self._senders = worker, store, sources, senders
        self._words, self._rules, self._leader = words, rules, leader
        self._due_us = {"look": 0, "daily": 0, "warnings": 0, "forget": 0}
        self._missing: dict[str, int] = {}
        self._warnings: Sequence[Warning] = ()
        self._nothing: set[str] = set()  #: digests and reports of today that would be empty
        self._sending: dict[str, asyncio.Task[None]] = {}

    async def run(self) -> None:
        """Leads until the worker stops; what is being sent then, is finished."""
        try:
            await lead(self._worker, self._leader, self._cycle)
        finally:
            await asyncio.gather(*self._sending.values(), return_exceptions=True)

    async def _cycle(self, lease: Lease) -> float:
        try:
            if self._is_time("look", LOOK_S):
                await self.look(lease)
            if self._is_time("daily", DAILY_S):
                await self.daily(lease)
            await self.send()
        except (LeaseLost, Stopping):
            raise
        except Exception as error:
            log.error("alerts_failed", extra={"worker": self._worker.id, "error": type(error).__name__}, exc_info=error)
        return 1.0

    def _is_time(self, what: str, every_s: float) -> bool:
        now_us = self._worker.clock.now_us()
        if now_us < self._due_us[what]:
            return False
        self._due_us[what] = now_us + int(every_s * 1e6)
        return True

    async def _ask(self, what: str, act: Callable[[], T]) -> T:
        """In a thread, so that the timetable goes on."""
        asked: Callable[[], Awaitable[T]] = partial(asyncio.to_thread, act)
        return await self._worker.insist_async(what, asked)

    # -- looking ------------------------------------------------------------
    async def look(self, lease: Lease) -> Plan:
        """One look: what is amiss, and whom to write to about it."""
        now = self._worker.clock.now()
        plan = await self._ask("look", partial(self._look, lease, now))
        for what, alert in plan.happened:
            facts = {
                "alert": alert.id,
                "cause": str(alert.cause.kind),
                "partner": alert.cause.partner,
                "dienst": alert.cause.dienst,
                "code": alert.cause.code,
                "size": alert.size,
            }
            if what in (What.OPENED, What.REOPENED):
                log.warning("alert_opened", extra={**facts, "times": alert.times})
            elif what is What.CLOSED:
                log.info("alert_closed", extra=facts)
        return plan

    def _look(self, lease: Lease, now: datetime) -> Plan:
        now_us = micros(now)
        if self._is_time("warnings", WARNINGS_S):
            self._warnings = self._sources.warnings()
        self._note_missing(now_us)
        facts = self._sources.facts.look(lease, missing=self._missing, now_us=now_us)
        parties = {one.party for one in self._store.contacts(EVERYTHING)}
        ours = self._words.ours
        found = {one.cause: one for one in signals(facts, self._warnings, now, ours=ours, knows=parties.__contains__)}.values()

        def judge(known: Sequence[Alert], contacts: Sequence[Contact], sent: Mapping[str, Sequence[tuple[int, Pace]]]) -> Plan:
            return decide(now, found, known, contacts, sent, self._rules, ours=ours)

        return self._store.look(lease, [one.cause.id for one in found], judge, partial(write_alerts, words=self._words), now_us=now_us)

    def _note_missing(self, now_us: int) -> None:
        heard = {row["name"] for row in self._sources.workers() if now_us - row["seen_us"] < UNHEARD_US}
        self._missing = {name: self._missing.get(name, now_us) for name in NEEDED if name not in heard}

    # -- digests and reports ------------------------------------------------------------
    async def daily(self, lease: Lease) -> int:
        """Digests and weekly reports that are due, a part of them at a time; returns how many were written."""
        return await self._ask("digests", partial(self._daily, lease, self._worker.clock.now()))

    def _daily(self, lease: Lease, now: datetime) -> int:
        now_us = micros(now)
        if self._is_time("forget", FORGET_S):
            self._store.forget(now_us=now_us)
        contacts = [one for one in self._store.contacts(EVERYTHING) if one.digest and one.hears(now)]
        wanted: dict[str, tuple[str, Contact, date]] = {}
        for kind, day in (("digest", digest_day(now, self._rules)), ("report", report_week(now, self._rules))):
            if day is not None:
                wanted |= {f"{kind} {one.id} {day}": (kind, one, day) for one in contacts}
        self._nothing &= wanted.keys()
        left = sorted(wanted.keys() - self._nothing - self._store.made(wanted.keys()))[:WRITE]
        letters = []
        for key in left:
            kind, one, day = wanted[key]
            written = self._of_a_day(key, kind, one, day, now_us)
            if written is None:
                self._nothing.add(key)
            else:
                letters.append((key, kind, one, written))
        return self._store.add_once(lease, letters, now_us=now_us) if letters else 0

    def _of_a_day(self, key: str, kind: str, one: Contact, day: date, now_us: int) -> Written | None:
        try:
            return self._digest(one, day, now_us) if kind == "digest" else self._report(one, day, now_us)
        except StoreUnavailable:
            raise
        except Exception as error:  # one party's must not keep the others from theirs
            log.error("digest_failed", extra={"key": key, "error": type(error).__name__}, exc_info=error)
            return None

    def _scope(self, party: str) -> Scope:
        """What a party may be told of: what is its own."""
        return EVERYTHING if party == self._words.ours else self._sources.scope_of(party)

    def _digest(self, one: Contact, day: date, now_us: int) -> Written | None:
        scope, board = self._scope(one.party), self._sources.board
        closed = [alert for alert in self._store.alerts(scope, closed=True) if (alert.closed_us or 0) > now_us - 86_400_000_000]
        made = Day(
            day=day,
            standing=[alert for alert in self._store.alerts(scope) if alert.state is not AlertState.CLOSED],
            closed=closed,
            fallen=board.tally(scope, ItemFilter(view=View.FALLEN), "code", now_us=now_us),
            waiting=board.count(scope, ItemFilter(view=View.OPEN), now_us=now_us, most=COUNTED),
        )
        return write_digest(made, one, self._words) if made else None

    def _report(self, one: Contact, monday: date, now_us: int) -> Written | None:
        reports = self._sources.board.reports(self._scope(one.party), monday=monday, now_us=now_us)
        return write_report(reports, monday, one, self._words) if reports else None

    # -- sending ------------------------------------------------------------
    async def send(self) -> None:
        """Begins to send what is due, some at a time."""
        self._sending = {id: task for id, task in self._sending.items() if not task.done()}
        room = AT_ONCE - len(self._sending)
        if room <= 0 or self._worker.stopping:
            return
        now_us = self._worker.clock.now_us()
        due = await self._ask("messages", lambda: self._store.due(now_us=now_us, limit=2 * AT_ONCE))
        for one in [one for one in due if one.id not in self._sending][:room]:
            self._sending[one.id] = asyncio.create_task(self._send(one))

    async def wait(self) -> None:
        """Until what is being sent now has been taken, or not."""
        await asyncio.gather(*self._sending.values())

    async def _send(self, due: Due) -> None:
        facts = {"id": due.id, "kind": due.kind, "contact": due.contact.id, "channel": str(due.contact.channel)}
        try:
            try:
                await self._hand_over(due)
            except NotSent as error:
                await self._not_sent(due, error, facts)
                return
            await self._ask("sent", lambda: self._store.sent(due.id, now_us=self._worker.clock.now_us()))
            self._worker.handled += 1
            self._count(due, "sent")
            log.info("message_sent", extra=facts)
        except Stopping:
            return
        except Exception as error:
            log.error("message_failed", extra={**facts, "error": type(error).__name__}, exc_info=error)
            await self._not_sent(due, NotSent(f"a mistake of ours: {type(error).__name__}"), facts)

    async def _hand_over(self, due: Due) -> None:
        if due.ended:
            raise NotSent("the contact has ended", final=True)
        sender = self._senders.get(due.contact.channel)
        if sender is None:
            raise NotSent("no mail server is set: KOPPELPUNT_MAIL_SERVER")
        await sender.send(due)

    async def _not_sent(self, due: Due, error: NotSent, facts: Mapping[str, str]) -> None:
        now_us = self._worker.clock.now_us()
        wait_s = None if error.final else backoff_s(due.attempts + 1)
        if wait_s is not None and error.after_s is not None:
            wait_s = max(wait_s, min(error.after_s, 86_400.0))
        again_us = None if wait_s is None else now_us + int(wait_s * 1e6)
        await self._ask("not sent", lambda: self._store.not_sent(due.id, str(error), again_us=again_us, now_us=now_us))
        self._count(due, "given_up" if again_us is None else "put_off")
        if again_us is None:
            log.error("message_given_up", extra={**facts, "attempts": due.attempts + 1, "error": str(error)})
        else:
            log.warning("message_not_sent", extra={**facts, "attempts": due.attempts + 1, "error": str(error), "retry_in_s": wait_s})

    def _count(self, due: Due, outcome: str) -> None:
        self._worker.counts["telling", str(due.contact.channel), outcome] += 1


def scope_of(party: str, register: Register) -> Scope:
    """What is a party's own: of a system what goes through it, of a board its schools', else of the organisation itself."""
    if register.system(party) is not None:
        return Scope(systems=frozenset({Oin(party)}))
    schools = frozenset(one.oin for one in register.organisations.values() if one.board == party)
    return Scope(organisations=schools | {Oin(party)})
