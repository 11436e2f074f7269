"""What people do about what fell out: the previews and jobs of routing.actions, on the store and the register.

What is small enough to be one batch is done at once, in the transaction after the one that confirms it; anything else by workers.jobs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any, Protocol

from routing.actions import (
    Action,
    CannotAct,
    Done,
    Errand,
    Job,
    Order,
    Place,
    Preview,
    Result,
    Selection,
    checked_reason,
)
from routing.amsterdam import amsterdam_day
from routing.board import ItemFilter
from routing.decisions import Decision
from routing.jobs import AT_ONCE, JobState, Terms
from routing.people import Scope
from routing.recipients import code_in, of_gemeentecode
from routing.register import Register
from routing.resolver import places, resolve
from routing.work import Lease, NewDelivery
from schemas.oin import Oin
from workers.clock import Clock, moment
from workers.register_cache import Records

Aims = Mapping[int, NewDelivery | None]


class JobBook(Protocol):
    """The store's side; see adapters.store.previews, jobs and job_runs for what each promises."""

    def freeze(
        self,
        scope: Scope,
        selection: Selection,
        order: Order,
        *,
        shown: Mapping[str, object],
        allowed: Callable[[str, str, str], bool],
        approve_above: int,
        who: str,
        now_us: int,
    ) -> Preview: ...

    def confirm(
        self, scope: Scope, preview: str, *, who: str, reason: str, terms: Terms, deliver_again: bool | None, now_us: int
    ) -> Job: ...

    def jobs(self, scope: Scope, *, limit: int) -> list[Job]: ...

    def job(self, scope: Scope, id: str) -> Job | None: ...

    def results(self, scope: Scope, id: str, *, state: str | None, after: int, limit: int) -> list[Result]: ...

    def move(self, scope: Scope, id: str, to: JobState, *, who: str, now_us: int, approves: bool = False) -> Job: ...

    def next_errands(self, job: str, limit: int) -> list[Errand]: ...

    def begin(self, job: str, errands: Any, aims: Aims, *, lease: Lease | None, now_us: int) -> list[Done]: ...

    def line(self, scope: Scope, delivery: str, *, now_us: int) -> Errand | None: ...


class Aimer:
    """Where the register has things now. One look at it for each place."""

    def __init__(self, register: Register, clock: Clock) -> None:
        self._register, self._now, self._record = register, clock.now(), Records()
        self._found: dict[tuple[str, ...], NewDelivery | None] = {}

    def aims(self, order: Order, errands: Iterable[Errand]) -> Aims:
        """Where each goes that is to be pointed somewhere: what is redirected or offered anew, and what has no place yet."""
        found: dict[int, NewDelivery | None] = {}
        for errand in errands:
            if errand.seq is None or not errand.receiver:
                continue
            if order.action is Action.REDIRECT:
                found[errand.seq] = self._at(order.endpoint or "", errand)
            elif order.action is Action.RESEND or (order.action is Action.RETRY and not errand.placed):
                found[errand.seq] = self._now_at(errand)
        return found

    def allows(self, endpoint: str, receiver: str, dienst: str, versie: str) -> bool:
        """Whether something may go there."""
        return any(row.id == endpoint for row in self.places(receiver, dienst, versie))

    def places(self, receiver: str, dienst: str, versie: str) -> list[Any]:
        """The endpoints that the register allows."""
        return list(places(self._register, receiver=Oin(receiver), dienst=dienst, versie=versie, now=self._now))

    def _at(self, endpoint: str, errand: Errand) -> NewDelivery | None:
        key = (endpoint, errand.receiver, errand.dienst, errand.versie)
        if key not in self._found:
            row = next((row for row in self.places(*key[1:]) if row.id == endpoint), None)
            self._found[key] = None if row is None else self._to(errand, row)
        found = self._found[key]
        return None if found is None else replace(found, id=errand.id, target=errand.target)

    def _now_at(self, errand: Errand) -> NewDelivery:
        key = (errand.receiver, errand.dienst, errand.versie)
        if key not in self._found:
            code = code_in(errand.receiver)
            self._found[key] = self._resolved(errand) if code is None else self._of_code(errand, code)
        known = self._found[key]
        assert known is not None
        return replace(known, id=errand.id, target=errand.target)

    def _resolved(self, errand: Errand) -> NewDelivery:
        found = resolve(self._register, receiver=Oin(errand.receiver), dienst=errand.dienst, versie=errand.versie, now=self._now)
        return self._by(found.decision, errand, found.endpoint)

    def _of_code(self, errand: Errand, code: str) -> NewDelivery:
        """What failed because nobody had this gemeentecode goes to whoever has it now."""
        who, decision = of_gemeentecode(code, self._register, amsterdam_day(self._now), {"target": errand.target})
        if who is None or decision.outcome == "no":
            return self._by(decision, errand, None)
        there = replace(errand, receiver=who.oin)
        if decision.outcome == "wait":
            return self._by(decision, there, None)
        found = self._resolved(there)
        return replace(found, decisions=(self._record(decision), *found.decisions))

    def _by(self, decision: Decision, errand: Errand, endpoint: Any) -> NewDelivery:
        return replace(
            self._to(errand, endpoint),
            hold_code=decision.code if endpoint is None and decision.outcome != "no" else None,
            code=decision.code if decision.outcome == "no" else None,
            owner=str(decision.owner) if endpoint is None and decision.owner else None,
            reason=decision.text_nl if endpoint is None else None,
            decisions=(self._record(decision),),
        )

    @staticmethod
    def _to(errand: Errand, row: Any) -> NewDelivery:
        return NewDelivery(
            id=errand.id,
            target=errand.target,
            receiver=errand.receiver,
            endpoint=row.id if row else None,
            lane=row.lane if row else None,
            receiver_system=row.system if row else None,
        )


class ActionDesk:
    """See routing.actions.Actions. May be used by several threads."""

    def __init__(self, jobs: JobBook, register: Callable[[], Register], clock: Clock, *, approve_above: int) -> None:
        """`approve_above`: a second person must approve what acts on more than so many."""
        self._jobs, self._register, self._clock, self._approve_above = jobs, register, clock, approve_above

    def preview(self, scope: Scope, selection: Selection, order: Order, *, who: str) -> Preview:
        """See the Protocol."""
        if (order.action is Action.REDIRECT) != (order.endpoint is not None):
            raise CannotAct(
                "A redirect names the endpoint to go to, and no other action does.",
                "Bij omleiden hoort een adres om heen te gaan, en bij niets anders.",
            )
        aimer = Aimer(self._register(), self._clock)
        if order.endpoint is not None and self._register().endpoint(order.endpoint) is None:
            raise CannotAct(
                f"There is no endpoint {order.endpoint[:80]} in the service register; `register show endpoints` lists them.",
                f"Het serviceregister heeft geen endpoint {order.endpoint[:80]}; zoek het op bij Register.",
            )
        return self._jobs.freeze(
            scope,
            selection,
            order,
            shown=_in_words(selection),
            allowed=lambda receiver, dienst, versie: aimer.allows(order.endpoint or "", receiver, dienst, versie),
            approve_above=self._approve_above,
            who=who,
            now_us=self._clock.now_us(),
        )

    def confirm(self, scope: Scope, preview: str, *, who: str, reason: str, terms: Terms, deliver_again: bool | None = None) -> Job:
        """See the Protocol."""
        now_us = self._clock.now_us()
        reason = checked_reason(reason)
        job = self._jobs.confirm(scope, preview, who=who, reason=reason, terms=terms, deliver_again=deliver_again, now_us=now_us)
        planned = job.figures.planned
        if job.state is not JobState.RUNNING or planned > AT_ONCE or 0 < terms.trial < planned:
            return job
        errands = self._jobs.next_errands(job.id, planned)
        aims = Aimer(self._register(), self._clock).aims(job.order, errands)
        self._jobs.begin(job.id, errands, aims, lease=None, now_us=now_us)
        return self._jobs.job(scope, job.id) or job

    def jobs(self, scope: Scope, *, limit: int = 50) -> list[Job]:
        """See the Protocol."""
        return self._jobs.jobs(scope, limit=limit)

    def job(self, scope: Scope, id: str) -> Job | None:
        """See the Protocol."""
        return self._jobs.job(scope, id)

    def results(self, scope: Scope, id: str, *, state: str | None = None, after: int = 0, limit: int = 100) -> list[Result]:
        """See the Protocol."""
        return self._jobs.results(scope, id, state=state, after=after, limit=limit)

    def pause(self, scope: Scope, id: str, *, who: str) -> Job:
        """See the Protocol."""
        return self._jobs.move(scope, id, JobState.PAUSED, who=who, now_us=self._clock.now_us())

    def resume(self, scope: Scope, id: str, *, who: str) -> Job:
        """See the Protocol."""
        return self._jobs.move(scope, id, JobState.RUNNING, who=who, now_us=self._clock.now_us())

    def cancel(self, scope: Scope, id: str, *, who: str) -> Job:
        """See the Protocol."""
        return self._jobs.move(scope, id, JobState.CANCELLED, who=who, now_us=self._clock.now_us())

    def approve(self, scope: Scope, id: str, *, who: str) -> Job:
        """See the Protocol."""
        return self._jobs.move(scope, id, JobState.RUNNING, who=who, now_us=self._clock.now_us(), approves=True)

    def places(self, scope: Scope, delivery: str) -> list[Place]:
        """See the Protocol."""
        line = self._jobs.line(scope, delivery, now_us=self._clock.now_us())
        if line is None:
            raise CannotAct(f"There is no delivery {delivery[:60]}.", f"Er is geen levering {delivery[:60]}.")
        found = Aimer(self._register(), self._clock).places(line.receiver, line.dienst, line.versie)
        return [Place(endpoint=row.id, system=row.system, lane=row.lane) for row in found]


def _in_words(selection: Selection) -> dict[str, object]:
    """A selection as it is kept and shown: without personal data, which filters by handle only."""
    if selection.ids:
        return {"ids": list(selection.ids)}
    if selection.job:
        return {"job": selection.job}
    wanted = selection.wanted or ItemFilter()
    words: dict[str, object] = dict(wanted.as_query())
    for name in ("since_us", "failed_since_us"):
        if (at_us := getattr(wanted, name)) is not None:
            words[name.removesuffix("_us")] = moment(at_us).isoformat(timespec="seconds")
    return words
