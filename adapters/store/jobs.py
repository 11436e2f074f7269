"""Jobs, for people: what there is, what became of each message, and what a person does to a job."""

from __future__ import annotations

from typing import Any, Final

from adapters.store.job_rows import KINDS, found, job_event, job_of, locked, may_act, no_job, sees
from adapters.store.job_runs import JobRuns
from adapters.store.people import names_of_person
from adapters.store.previews import Previews
from adapters.store.rows import write_events
from adapters.store.selections import selected
from adapters.store.sql import Sql
from routing.actions import Action, CannotAct, Errand, Job, Result, Selection, Subject
from routing.jobs import JOB_MOVES, JobState
from routing.people import Scope

_JOBS: Final = Sql("SELECT * FROM job WHERE state <> 'preview' ORDER BY seq DESC LIMIT :limit")
_TO: Final = Sql(
    "UPDATE job SET state = :state, changed_us = :now, changed_by = :who, stopped = NULL, "
    "approved_by = COALESCE(:approved, approved_by) WHERE seq = :job"
)
#: Let go after it stopped by itself: with a trial batch again, and judged by what comes now.
_ANEW: Final = Sql("UPDATE job SET trial_left = trial, in_trial = trial > 0, since = last WHERE seq = :job")
_RESULTS: Final = (
    "SELECT i.number, i.subject, COALESCE(i.reference, m.reference) AS reference, d.id AS delivery, i.state, i.why, i.at_us "
    "FROM (SELECT * FROM job_item WHERE job = :job AND number > :after{} ORDER BY number LIMIT :limit) AS i "
    "LEFT JOIN delivery d ON i.subject = 'delivery' AND d.seq = i.seq "
    "LEFT JOIN message m ON m.seq = CASE i.subject WHEN 'delivery' THEN d.message_seq ELSE i.seq END ORDER BY i.number"
)
_ALL_RESULTS, _SOME_RESULTS = Sql(_RESULTS.format("")), Sql(_RESULTS.format(" AND state = :state"))


class Jobs(Previews, JobRuns):
    """Previews and jobs."""

    def jobs(self, scope: Scope, *, limit: int) -> list[Job]:
        """See routing.actions.Actions."""
        with self._db.read() as connection:
            return [job_of(row) for row in _JOBS(connection, limit=limit).all() if sees(scope, row)]

    def job(self, scope: Scope, id: str) -> Job | None:
        """See routing.actions.Actions."""
        with self._db.read() as connection:
            row = found(connection, id)
        return None if row is None or not sees(scope, row) else job_of(row)

    def results(self, scope: Scope, id: str, *, state: str | None, after: int, limit: int) -> list[Result]:
        """See routing.actions.Actions."""
        with self._db.read() as connection:
            row = found(connection, id)
            if row is None or not sees(scope, row):
                return []
            given = {"job": row.seq, "after": after, "limit": limit}
            rows = _SOME_RESULTS(connection, state=state, **given) if state else _ALL_RESULTS(connection, **given)
            return [Result(**{**one._mapping, "subject": Subject(one.subject)}) for one in rows.all()]

    def line(self, scope: Scope, delivery: str, *, now_us: int) -> Errand | None:
        """One delivery, with what is needed to find its place."""
        with self._db.read() as connection:
            rows = selected(connection, scope, Selection(ids=(delivery,)), Action.REDIRECT, now_us)
        row = next((row for row in rows if row.delivery == delivery), None)
        if row is None:
            return None
        return Errand(number=0, subject=Subject.DELIVERY, seq=row.seq, receiver=row.receiver, dienst=row.dienst, versie=row.versie)

    def move(self, scope: Scope, id: str, to: JobState, *, who: str, now_us: int, approves: bool = False) -> Job:
        """A person pauses, lets go, cancels or approves a job. Raises CannotAct."""
        with self._db.write() as tx:
            meant = found(tx, id)
            row = None if meant is None or not sees(scope, meant) else locked(tx, meant.id)
            if row is None:
                raise no_job(id)
            before = JobState(row.state)
            if approves != (before is JobState.TO_APPROVE and to is JobState.RUNNING) or to not in JOB_MOVES[before]:
                raise _cannot(row, to, approves)
            if approves and row.changed_by == who:
                raise CannotAct(
                    "Whoever confirmed a job cannot approve it: another person must.",
                    "Wie een opdracht bevestigde kan er geen akkoord op geven: dat moet een ander doen.",
                )
            if approves and {row.made_by, row.changed_by} & set(names_of_person(tx, who)):
                raise CannotAct(
                    f"{row.made_by}, who confirmed this job, is the same person by e-mail address: another person must approve it.",
                    f"{row.made_by}, die deze opdracht bevestigde, is naar het e-mailadres dezelfde persoon: een ander moet akkoord geven.",
                )
            if to is JobState.RUNNING and not may_act(tx, row):
                raise CannotAct(
                    f"{row.made_by}, who confirmed this job, may not act any more: cancel it, and make it anew.",
                    f"{row.made_by}, die deze opdracht bevestigde, mag dit niet meer: annuleer haar en maak haar opnieuw.",
                )
            _TO(tx, job=row.seq, state=str(to), who=who, now=now_us, approved=who if approves else None)
            if before is JobState.STOPPED and to is JobState.RUNNING:
                _ANEW(tx, job=row.seq)
            kind = "job_approved" if approves else KINDS[to]
            write_events(tx, [job_event(kind, row, who, now_us)])
            return job_of(locked(tx, row.id))


#: What a job is, in Dutch, as its page says it.
_IS: Final = {
    "to_approve": "wacht op akkoord",
    "running": "loopt",
    "paused": "is gepauzeerd",
    "stopped": "is gestopt",
    "cancelled": "is geannuleerd",
    "done": "is klaar",
}


def _cannot(row: Any, to: JobState, approves: bool) -> CannotAct:
    if approves or row.state == JobState.TO_APPROVE:
        return CannotAct(
            f"Job {row.id} is {row.state}: only one that waits for approval can be approved, and it must be before it runs.",
            f"Opdracht {row.id} {_IS[row.state]}: alleen een die op akkoord wacht krijgt akkoord, en zonder akkoord loopt die niet.",
        )
    return CannotAct(
        f"Job {row.id} is {row.state}, so it cannot become {to}.",
        f"Opdracht {row.id} {_IS[row.state]}; dan kan dit niet meer.",
    )
