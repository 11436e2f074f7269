"""Rows of jobs as values, and what every part of them asks first."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any, Final

from sqlalchemy import Connection

from adapters.store.people import account_named
from adapters.store.rows import event_row
from adapters.store.sql import Sql
from routing.actions import Action, CannotAct, Job, Order
from routing.jobs import Figures, JobState, Terms
from routing.people import Permission, Scope
from schemas.events import Event

FIGURES: Final = ("planned", "under_way", "succeeded", "failed", "superseded", "skipped")
JOB: Final = Sql("SELECT * FROM job WHERE id = :id")
_LOCKED: Final = Sql("SELECT * FROM job WHERE id = :id FOR UPDATE")
_LIKE: Final = Sql("SELECT id FROM job WHERE id >= :start AND id < :end AND state <> 'preview' ORDER BY id LIMIT 2")
KINDS: Final = {
    JobState.RUNNING: "job_resumed",
    JobState.PAUSED: "job_paused",
    JobState.CANCELLED: "job_cancelled",
    JobState.STOPPED: "job_stopped",
    JobState.DONE: "job_done",
}


def job_of(row: Any) -> Job:
    again = None if row.deliver_again is None else bool(row.deliver_again)
    return Job(
        id=row.id,
        state=JobState(row.state),
        order=Order(action=Action(row.action), endpoint=row.endpoint, deliver_again=again),
        selection=json.loads(row.selection),
        count=row.count,
        digest=bytes(row.digest).hex(),
        terms=Terms(trial=row.trial, rate=row.rate, stop_below=row.stop_below, patience_s=row.patience_s),
        figures=figures_of(row),
        reason=row.reason,
        made_by=row.made_by,
        made_us=row.made_us,
        confirmed_us=row.confirmed_us,
        approved_by=row.approved_by,
        changed_by=row.changed_by,
        changed_us=row.changed_us,
        stopped=row.stopped,
    )


def figures_of(row: Any) -> Figures:
    return Figures(**{name: getattr(row, name) for name in FIGURES})


def scope_text(scope: Scope) -> str:
    if scope.everything:
        return "{}"
    return json.dumps({name: sorted(oins) for name, oins in asdict(scope).items() if name != "everything"})


def sees(scope: Scope, row: Any) -> bool:
    """Whether all that a job was allowed to be about is in this scope."""
    if scope.everything:
        return True
    under = json.loads(row.scope)
    return bool(under) and scope.organisations.issuperset(under["organisations"]) and scope.systems.issuperset(under["systems"])


def job_event(kind: str, row: Any, who: str, now_us: int) -> Any:
    figures = {name: str(getattr(row, name)) for name in FIGURES if getattr(row, name)}
    details = {
        "job": row.id,
        "action": row.action,
        "count": str(row.count),
        "digest": bytes(row.digest).hex(),
        "selection": row.selection,
        **({"stopped": row.stopped} if row.stopped else {}),
        **({"why": row.reason} if row.reason else {}),
        **figures,
    }
    return event_row(Event(kind=kind, at_us=now_us, actor=who, details=details))


def locked(tx: Connection, id: str) -> Any:
    """The job with this id; nobody else changes it during this transaction."""
    return (JOB if tx.dialect.name == "sqlite" else _LOCKED)(tx, id=id).first()


def may_act(connection: Connection, row: Any) -> bool:
    """Whether whoever confirmed the job still may act, where that is an account of the portal."""
    known = account_named(connection, row.made_by)
    return known is None or Permission.ACT in known.permissions


def no_job(id: str) -> CannotAct:
    """To whoever asks for one that is not there, or not theirs."""
    return CannotAct(f"There is no job {id[:40]}; `job list` shows them.", f"Er is geen opdracht {id[:40]}; zie de pagina Opdrachten.")


def found(connection: Connection, id: str) -> Any:
    """The job with this id, or the one whose id begins so; None when there is none, or more than one."""
    ids = _LIKE(connection, start=id, end=id + "~").scalars().all() if id else []
    if len(ids) != 1 and id not in ids:
        return None
    return JOB(connection, id=id if id in ids else ids[0]).first()
