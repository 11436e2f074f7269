"""Actions on what is open or fell out: previewed, confirmed as a job, followed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from portal.api.calls import Act, Asked, Call, found, get, post
from portal.api.items import FILTER, wanted
from portal.api.problems import Problem, invalid
from portal.api.values import ID, YES, Field, many, nested, number, one_of, shaped, text_of, whole
from routing.actions import LONGEST_REASON, Action, Job, Order, Preview, Result, Selection, checked_reason
from routing.jobs import PATIENCE_S, ItemState, Terms
from routing.people import SEE, Permission

_ID: Final = shaped("[A-Za-z0-9_-]{4,64}", "dit is de id van een taak of voorvertoning", "it is the id of a job or preview")
_JOB: Final = Field(name="id", kind=_ID, required=True, about="Of the job.")
_TERMS: Final = Terms()
_SELECTION: Final = ("ids", "filter", "job")


@dataclass(frozen=True, slots=True, kw_only=True)
class Jobs:
    """The newest first."""

    jobs: tuple[Job, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Results:
    """What became of each of a job's messages, in order."""

    results: tuple[Result, ...]
    after: int | None  #: for the next page; None: there is none


@get(
    "/jobs",
    tag="jobs",
    summary="Jobs",
    permission=SEE,
    answer=Jobs,
    query=(Field(name="limit", kind=whole(1, 200), default=50, about="Jobs, at most."),),
)
def jobs(asked: Asked) -> Jobs:
    """Of the scope."""
    return Jobs(jobs=tuple(asked.desk.actions.jobs(asked.scope, limit=asked["limit"])))


@get("/jobs/{id}", tag="jobs", summary="One job, and how far it is", permission=SEE, answer=Job, place=(_JOB,))
def job(asked: Asked) -> Job:
    """One of them."""
    return _job(asked)


def _job(asked: Asked) -> Job:
    made: Job = found(asked.desk.actions.job(asked.scope, asked["id"]))
    return made


@get(
    "/jobs/{id}/results",
    tag="jobs",
    summary="What became of each of its messages",
    permission=SEE,
    answer=Results,
    place=(_JOB,),
    query=(
        Field(name="state", kind=one_of(ItemState, str), about="Only those."),
        Field(name="after", kind=whole(0, 10**9), default=0, about="From `after`."),
        Field(name="limit", kind=whole(1, 1_000), default=100, about="Results of one page."),
    ),
)
def job_results(asked: Asked) -> Results:
    """Page by page."""
    _job(asked)
    given = {name: asked[name] for name in ("state", "after", "limit")}
    rows = asked.desk.actions.results(asked.scope, asked["id"], **given)
    return Results(results=tuple(rows), after=rows[-1].number if len(rows) == asked["limit"] else None)


@post(
    "/previews",
    tag="jobs",
    summary="Freeze a selection, and see what an action would do with it",
    permission=Permission.ACT,
    answer=Preview,
    status=201,
    body=(
        Field(name="action", kind=one_of(Action), required=True, about="What is to be done."),
        Field(name="ids", kind=many(ID, 1_000), about="References, delivery_ids, MessageIDs or business ids."),
        Field(name="filter", kind=nested("filter", FILTER), about="As of /items. With `group`: one cause."),
        Field(name="job", kind=_ID, about="What an earlier job did not finish."),
        Field(name="endpoint", kind=ID, about="redirect: id of an endpoint in the register."),
        Field(name="deliver_again", kind=YES, about="return: whether its source is to hand it in again; left out: by its code."),
    ),
)
def preview_job(asked: Asked) -> Preview:
    """Exactly what is confirmed later."""
    named = [name for name in _SELECTION if asked[name] is not None]
    if len(named) != 1:
        raise invalid(("ids", "geef precies een van ids, filter en job", "give exactly one of ids, filter and job"))
    selection = Selection(ids=asked["ids"] or (), wanted=None if asked["filter"] is None else wanted(asked["filter"]), job=asked["job"])
    order = Order(action=asked["action"], endpoint=asked["endpoint"], deliver_again=asked["deliver_again"])
    return asked.desk.actions.preview(asked.scope, selection, order, who=asked.who)


@post(
    "/jobs",
    tag="jobs",
    summary="Confirm a preview: it begins, or waits for a second person",
    permission=Permission.ACT,
    answer=Job,
    status=201,
    body=(
        Field(name="preview", kind=_ID, required=True, about="Id of the preview."),
        Field(name="reason", kind=text_of(LONGEST_REASON), required=True, about="Why, for the journal."),
        Field(name="trial", kind=whole(0, 10_000), default=_TERMS.trial, about="So many first (proefbatch); 0: none."),
        Field(name="rate", kind=number(0.1, 1_000), default=_TERMS.rate, about="A second, at most."),
        Field(name="stop_below", kind=number(0, 1), default=_TERMS.stop_below, about="Share that must succeed; 0: any will do."),
        Field(name="patience_s", kind=whole(1, 86_400), default=PATIENCE_S, about="Seconds in which something must be heard of each."),
    ),
)
def confirm_job(asked: Asked) -> Job:
    """Once."""
    terms = Terms(**{name: asked[name] for name in ("trial", "rate", "stop_below", "patience_s")})
    reason = checked_reason(asked["reason"])
    return asked.desk.actions.confirm(asked.scope, asked["preview"], who=asked.who, reason=reason, terms=terms)


def _step(name: str, summary: str, permission: Permission = Permission.ACT) -> Callable[[Act], Call]:
    return post(f"/jobs/{{id}}/{name}", tag="jobs", summary=summary, permission=permission, answer=Job, place=(_JOB,))


@_step("pause", "Begin nothing more; what is under way goes on")
def pause_job(asked: Asked) -> Job:
    """By hand."""
    _job(asked)
    return asked.desk.actions.pause(asked.scope, asked["id"], who=asked.who)


@_step("resume", "Go on with the rest; one that stopped by itself begins with a trial batch again")
def resume_job(asked: Asked) -> Job:
    """By hand."""
    _job(asked)
    return asked.desk.actions.resume(asked.scope, asked["id"], who=asked.who)


@_step("cancel", "Leave the rest as it is, for good")
def cancel_job(asked: Asked) -> Job:
    """By hand."""
    _job(asked)
    return asked.desk.actions.cancel(asked.scope, asked["id"], who=asked.who)


@_step("approve", "Always refused: the second person approves in the portal", Permission.APPROVE)
def approve_job(asked: Asked) -> Job:
    """Never by a token: the second pair of eyes is a person's, who signed in."""
    _job(asked)
    raise Problem(
        403,
        nl="Een token kan geen akkoord geven: een tweede persoon meldt zich aan in het portaal en doet het op de pagina van de taak.",
        en="A token cannot approve: a second person signs in to the portal and does so on the job's page.",
    )


CALLS: Final[tuple[Call, ...]] = (
    *(jobs, preview_job, confirm_job, job, job_results),
    *(pause_job, resume_job, cancel_job, approve_job),
)
