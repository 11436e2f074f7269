"""What one process does by the clock and not for a message: the timetable, jobs, mailboxes that change hands, and alerts."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Protocol

from routing import ports
from routing.alerts import Rules
from routing.contacts import Channel
from routing.contents import ContentBook
from routing.people import People, Role
from routing.ports import Mailroom
from routing.tellings import Sender
from routing.warning_board import WarningFacts, Warnings
from routing.warning_rules import OwnCertificate
from schemas.contracts import Contracts
from schemas.oin import Oin
from workers.alert_words import words_of
from workers.alerts import AlertFacts, AlertStore, Sources, Teller, scope_of
from workers.contents import Opener
from workers.desk import step_judge
from workers.job_retention import OldJobs, Retention
from workers.jobs import JobRunner, RunningJobs
from workers.loop import Leader
from workers.mailboxes import TakingBack, Withdrawal
from workers.parts import Parts, Tasks
from workers.proefs import Compose, ProefBook, ProefRunner
from workers.timetable import Job, Timetable
from workers.waiting import WaitingRoom
from workers.warnings import Watch

#: A job of the timetable: its name, every how many seconds, and what is done.
Chore = tuple[str, float, Callable[[], Awaitable[None]]]


class Store(ports.Store, Protocol):
    """The store, with what only this worker asks of it."""

    @property
    def people(self) -> People: ...

    @property
    def proefs(self) -> ProefBook: ...

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
    contracts: Contracts,
    *,
    chores: Iterable[Chore],
    mailroom: Mailroom,
    channels: Mapping[Channel, Sender],
    rules: Rules,
    own: Callable[[], OwnCertificate | None],
    retention: Retention,
    contents: ContentBook,
    compose: Compose,
) -> Tasks:
    """What the worker `timetable` runs. `own`: our certificate, which a warning may be about. `compose`: makes a proef."""
    worker, register, clock, settings, kinds = parts.worker, parts.register, parts.clock, parts.settings, list(contracts.kinds)
    states = [kind.action for kind in kinds if kind.newest_replaces]
    room = WaitingRoom(store.outbox, parts.asking, clock, actor=worker.id, states=states)
    old_jobs = OldJobs(retention, clock, days=settings.jobs_kept_days)
    watch = Watch(store.warnings, store.warning_facts, register, store.register, kinds, clock, own=own)
    jobs = [
        Job(name=name, every_s=every_s, act=act)
        for name, every_s, act in (("waiting", 2, room.look), ("old jobs", 3600, old_jobs.forget), *chores)
    ]
    return [
        Timetable(worker, store, kinds, clock, [*jobs, *watch.jobs()]).run(),
        JobRunner(worker, store.jobs, store.registry, register, kinds, clock).run(),
        Withdrawal(worker, store, register, clock).run(),
        TakingBack(worker, store, register, mailroom, clock).run(),
        _teller(parts, store, channels, rules).run(),
        _proefs(parts, store, contracts, compose).run(),
        Opener(
            worker,
            contents,
            store.people,
            store.board,
            clock,
            second_factor=frozenset(map(Role, settings.portal_second_factor)),
            token_days=settings.oidc_token_days,
        ).run(),
    ]


def _proefs(parts: Parts, store: Store, contracts: Contracts, compose: Compose) -> ProefRunner:
    """What sends proefs of our own."""
    return ProefRunner(
        parts.worker,
        store.proefs,
        store.hand_ins,
        store.registry,
        parts.register,
        contracts,
        parts.vault,
        compose,
        step_judge(contracts),
        parts.clock,
        own=Oin(parts.settings.own_oins[0]),
    )


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
