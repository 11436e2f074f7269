"""What one process does by the clock and not for a message: the timetable, jobs, mailboxes that change hands, and alerts."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Protocol

from routing import ports
from routing.alerts import Rules
from routing.contacts import Channel
from routing.ports import Mailroom
from routing.tellings import Sender
from routing.warning_board import WarningFacts, Warnings
from routing.warning_rules import OwnCertificate
from schemas.contract import MessageKind
from workers.alert_words import words_of
from workers.alerts import AlertFacts, AlertStore, Sources, Teller, scope_of
from workers.jobs import JobRunner, RunningJobs
from workers.loop import Leader
from workers.mailboxes import TakingBack, Withdrawal
from workers.parts import Parts, Tasks
from workers.timetable import Job, Timetable
from workers.waiting import WaitingRoom
from workers.warnings import Watch

#: A job of the timetable: its name, every how many seconds, and what is done.
Chore = tuple[str, float, Callable[[], Awaitable[None]]]


class Store(ports.Store, Protocol):
    """The store, with what only this worker asks of it."""

    @property
    def jobs(self) -> RunningJobs: ...

    @property
    def alerts(self) -> AlertStore: ...

    @property
    def alert_facts(self) -> AlertFacts: ...

    @property
    def warnings(self) -> Warnings: ...

    @property
    def warning_facts(self) -> WarningFacts: ...


def tasks(
    parts: Parts,
    store: Store,
    kinds: Sequence[MessageKind],
    *,
    chores: Iterable[Chore],
    mailroom: Mailroom,
    channels: Mapping[Channel, Sender],
    rules: Rules,
    own: Callable[[], OwnCertificate | None],
) -> Tasks:
    """What the worker `timetable` runs. `own`: our certificate, which a warning may be about."""
    worker, register, clock = parts.worker, parts.register, parts.clock
    room = WaitingRoom(store.outbox, parts.asking, clock, actor=worker.id)
    watch = Watch(store.warnings, store.warning_facts, register, store.register, kinds, clock, own=own)
    jobs = [Job(name=name, every_s=every_s, act=act) for name, every_s, act in (("waiting", 2, room.look), *chores)]
    return [
        Timetable(worker, store, kinds, clock, [*jobs, *watch.jobs()]).run(),
        JobRunner(worker, store.jobs, store.registry, register, kinds, clock).run(),
        Withdrawal(worker, store, register, clock).run(),
        TakingBack(worker, store, register, mailroom, clock).run(),
        _teller(parts, store, channels, rules).run(),
    ]


def _teller(parts: Parts, store: Store, channels: Mapping[Channel, Sender], rules: Rules) -> Teller:
    """What tells people that something is amiss."""
    sources = Sources(
        facts=store.alert_facts,
        workers=store.registry.workers,
        scope_of=lambda party: scope_of(party, parts.register()),
        board=store.board,
        warnings=lambda: [kept.warning for kept in store.warnings.standing()],
    )
    leader = Leader(parts.worker, store.registry, "alerts")
    return Teller(parts.worker, store.alerts, sources, channels, words_of(parts.settings, parts.register), rules, leader)
