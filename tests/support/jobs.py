"""Actions and jobs for tests: a desk and a runner by hand, whose clock the test moves."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from adapters.store import Store
from routing.actions import Action, Job, Order, Preview, Selection
from routing.board import ItemFilter
from routing.jobs import JobState, Terms, next_step
from routing.people import Scope
from routing.register import Register, read_register
from routing.work import Lease
from schemas.events import decode
from tests.support.board import keep
from tests.support.store import MAILBOX, NOW, RECEIVER, SECOND, SENDER, SYSTEM, deliver, lead, route, run_sql, take
from workers.actions import ActionDesk, Aimer
from workers.clock import Clock

ALL = Scope(everything=True)
ANNA, BOB = "operator anna", "operator bob"
#: The receiver's second administration system, with a mandate, and a stranger's.
OTHER, STRANGER = "00000001900000003000", "00000001900000004000"
DOCUMENT: dict[str, list[dict[str, Any]]] = {
    "organisations": [
        {"oin": SENDER, "name": "De Bron", "kind": "central", "roles": ["vo"]},
        {"oin": RECEIVER, "name": "De Monding", "kind": "central", "roles": ["mbo"]},
        {"oin": "00000001800000005000", "name": "Elders", "kind": "central", "roles": ["mbo"]},
    ],
    "systems": [
        {"oin": oin, "name": name, "supplier": f"{name} BV", "channels": ["amqp"]}
        for oin, name in ((SYSTEM, "Bronsysteem"), (MAILBOX, "Postvak"), (OTHER, "Ander"), (STRANGER, "Vreemd"))
    ],
    "diensten": [{"dienst": "proef", "versie": "1", "namespace": "urn:x-backbone:proef:1"}],
    "mandates": [
        {"organisation": RECEIVER, "dienst": "proef", "system": MAILBOX},
        {"organisation": RECEIVER, "dienst": "proef", "system": OTHER},
        {"organisation": "00000001800000005000", "dienst": "proef", "system": STRANGER},
    ],
    "endpoints": [
        {"id": "e1", "organisation": RECEIVER, "dienst": "proef", "versie": "1", "system": MAILBOX, "mailbox": True},
        {"id": "e2", "organisation": RECEIVER, "dienst": "proef", "versie": "1", "system": OTHER, "mailbox": True},
        {"id": "e3", "organisation": "00000001800000005000", "dienst": "proef", "versie": "1", "system": STRANGER, "mailbox": True},
    ],
}


class StillClock(Clock):
    """It is what the test says."""

    def __init__(self, at_us: int = NOW) -> None:
        self.at_us = at_us

    def now(self) -> datetime:
        return datetime.fromtimestamp(self.at_us / 1e6, UTC)


class Bench:
    """A store with a desk at which people act, and a hand that runs the jobs step by step."""

    def __init__(self, store: Store, *, approve_above: int = 10_000, document: Any = DOCUMENT) -> None:
        self.store, self.clock = store, StillClock()
        self.register: Register = read_register(document, version=1)
        self.desk = ActionDesk(store.jobs, lambda: self.register, self.clock, approve_above=approve_above)
        self.lease: Lease = lead(store, "jobs", "timetable-1")
        self.relay: Lease = lead(store)

    def fail(self, *names: str, code: str = "ENDPOINT_REFUSES_US", to: Any = (), **message: Any) -> list[str]:
        """Messages whose delivery failed; their references. They stand on the board."""
        references = take(self.store, *names, **message)
        for reference in references:
            route(self.store, reference, to=to)
        deliver(self.store, self.relay, "failed", code=code, owner="receiver", at_us=self.clock.at_us)
        keep(self.store, now_us=self.clock.at_us)
        return references

    def preview(self, action: Action = Action.RETRY, *ids: str, who: str = ANNA, scope: Scope = ALL, **more: Any) -> Preview:
        """Of these, or of what a filter finds."""
        order = {name: more.pop(name) for name in ("endpoint", "deliver_again") if name in more}
        selection = Selection(ids=ids) if ids else Selection(wanted=ItemFilter(**more))
        return self.desk.preview(scope, selection, Order(action=action, **order), who=who)

    def confirm(self, preview: Preview, *, who: str = ANNA, reason: str = "mended", **terms: Any) -> Job:
        return self.desk.confirm(ALL, preview.id, who=who, reason=reason, terms=Terms(**terms))

    def act(self, action: Action, *ids: str, **more: Any) -> Job:
        """Preview and confirm."""
        return self.confirm(self.preview(action, *ids, **more))

    def job(self, id: str) -> Job:
        found = self.desk.job(ALL, id)
        assert found is not None
        return found

    def job_events(self) -> list[tuple[str, str]]:
        """What was journalled of jobs themselves: kind and actor."""
        rows = run_sql(self.store, "SELECT schema, payload FROM event WHERE reference IS NULL ORDER BY id")
        events = [decode(bytes(row.payload), row.schema) for row in rows]
        return [(event.kind, event.actor) for event in events if event.kind.startswith("job_")]

    def step(self, job: str, *, allowance: float = 1_000) -> bool:
        """One look and one step, as workers.jobs takes them; False when the job runs no more."""
        jobs, now_us = self.store.jobs, self.clock.at_us
        jobs.look(job, lease=self.lease, now_us=now_us)
        found, progress = jobs.progress(job)
        if found.state is not JobState.RUNNING:
            return False
        step = next_step(progress, found.terms, allowance=allowance)
        if step.stop or step.done:
            to = JobState.STOPPED if step.stop else JobState.DONE
            jobs.end(job, to, lease=self.lease, actor="timetable-1", now_us=now_us, why=step.stop)
        elif step.passed:
            jobs.passed(job, lease=self.lease)
        elif step.begin:
            errands = jobs.next_errands(job, step.begin)
            jobs.begin(job, errands, Aimer(self.register, self.clock).aims(found.order, errands), lease=self.lease, now_us=now_us)
        return True

    def deliver(self, state: str = "acknowledged", **more: Any) -> int:
        """What the relay lets go is delivered, or not; a moment passes."""
        self.clock.at_us += SECOND
        return len(deliver(self.store, self.relay, state, at_us=self.clock.at_us, **more))
