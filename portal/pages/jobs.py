"""Jobs (opdrachten): what would happen is shown first, and what is confirmed is exactly that; then how far each is, live."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, replace
from functools import partial
from typing import Any, Final

from aiohttp import web
from multidict import MultiDictProxy

from portal.live import stream
from portal.pages.filters import address_of, asked_in, wanted_of
from portal.pages.kit import Kit, Told
from portal.shell import Answer, Visit, page
from portal.texts import text
from routing.actions import WHY, Action, CannotAct, Job, Order, Preview, Selection, Why, checked_reason
from routing.board import MOST, BoardError
from routing.jobs import JobState, Terms
from routing.people import SEE, Permission
from routing.said import Said

_PREVIEW: Final = "voorstel"
_RESULTS: Final = 100
#: The numbers of a preview's form, and what they are called.
_NUMBERS: Final = {"proef": "proefbatch", "tempo": "preview.rate", "stop": "preview.stop"}


def routes(kit: Kit) -> list[web.RouteDef]:
    """Its paths."""
    see, act, approve = page(permission=SEE), page(permission=Permission.ACT), page(permission=Permission.APPROVE)
    return [
        web.get("/opdrachten", see(partial(_list, kit))),
        web.post("/opdrachten/voorstel", act(partial(_freeze, kit))),
        web.get("/opdrachten/voorstel/{handle}", act(partial(_proposed, kit))),
        web.post("/opdrachten/voorstel/{handle}", act(partial(_confirm, kit))),
        web.get("/opdrachten/{id}", see(partial(_one, kit))),
        web.post("/opdrachten/{id}", act(partial(_steer, kit))),
        web.post("/opdrachten/{id}/akkoord", approve(partial(_approve, kit))),
        web.get("/opdrachten/{id}/live", see(partial(_live, kit))),
    ]


async def _list(kit: Kit, request: web.Request, visit: Visit) -> Answer:
    found = await kit.ask(kit.desk.actions.jobs, visit.scope, limit=100)
    return await kit.show(request, visit, "jobs.html", jobs=found)


async def _freeze(kit: Kit, request: web.Request, visit: Visit) -> Answer:
    """Freezes what was chosen, and shows what would happen."""
    form = await request.post()
    try:
        order = _order(form)
        selection = await _selection(kit, visit, form)
        preview = await kit.ask(kit.desk.actions.preview, visit.scope, selection, order, who=visit.account.name)
    except Said as error:
        problem = error.in_language(visit.language)
        return await kit.show(request, visit, "cannot_act.html", status=409, problem=problem, back=_back(form))
    handle = await _keep(kit, visit, preview, _listed(form))
    raise web.HTTPSeeOther(f"/opdrachten/voorstel/{handle}")


async def _proposed(kit: Kit, request: web.Request, visit: Visit) -> Answer:
    preview = await _kept(kit, visit, request.match_info["handle"])
    return await _propose(kit, request, visit, preview, Terms())


async def _confirm(kit: Kit, request: web.Request, visit: Visit) -> Answer:
    handle = request.match_info["handle"]
    preview = await _kept(kit, visit, handle)
    form = await request.post()
    terms = Terms()
    try:
        terms = _terms(form)
        reason = checked_reason(str(form.get("waarom", "")))
        job = await kit.ask(
            kit.desk.actions.confirm,
            visit.scope,
            preview["id"],
            who=visit.account.name,
            reason=reason,
            terms=terms,
            deliver_again=_again(form),
        )
    except Said as error:
        problem = error.in_language(visit.language)
        return await _propose(kit, request, visit, preview, terms, problem=problem, reason=str(form.get("waarom", ""))[:500])
    raise web.HTTPSeeOther(f"/opdrachten/{job.id}")


async def _one(kit: Kit, request: web.Request, visit: Visit) -> Answer:
    return await _show(kit, request, visit, await _job(kit, request, visit))


async def _steer(kit: Kit, request: web.Request, visit: Visit) -> Answer:
    """Pauses, resumes or cancels."""
    found, form = await _job(kit, request, visit), await request.post()
    acts = {"pauzeren": kit.desk.actions.pause, "hervatten": kit.desk.actions.resume, "annuleren": kit.desk.actions.cancel}
    act = acts.get(str(form.get("wat", "")))
    if act is None:
        raise web.HTTPBadRequest
    try:
        await kit.ask(act, visit.scope, found.id, who=visit.account.name)
    except CannotAct as error:
        return await _show(kit, request, visit, found, status=409, problem=error.in_language(visit.language))
    raise web.HTTPSeeOther(f"/opdrachten/{found.id}")


async def _approve(kit: Kit, request: web.Request, visit: Visit) -> Answer:
    """The second person says yes."""
    found = await _job(kit, request, visit)
    try:
        await kit.ask(kit.desk.actions.approve, visit.scope, found.id, who=visit.account.name)
    except CannotAct as error:
        return await _show(kit, request, visit, found, status=409, problem=error.in_language(visit.language))
    raise web.HTTPSeeOther(f"/opdrachten/{found.id}")


async def _live(kit: Kit, request: web.Request, visit: Visit) -> Answer:
    found = await _job(kit, request, visit)

    async def look() -> Mapping[str, str]:
        now = await kit.ask(kit.desk.actions.job, visit.scope, found.id)
        return {} if now is None else {"job": f"{now.state} {now.figures}"}

    return await stream(request, visit, look, every_s=0.5)


Form = MultiDictProxy[Any]


def _order(form: Form) -> Order:
    """Raises Told."""
    action = str(form.get("actie", ""))
    if action not in set(Action):
        raise Told("act.unknown")
    endpoint = str(form.get("endpoint", "")) if action == Action.REDIRECT else ""
    return Order(action=Action(action), endpoint=endpoint or None, deliver_again=_again(form))


def _again(form: Form) -> bool | None:
    """Of a return: whether its source is to hand it in again; None: by its code."""
    return {"ja": True, "nee": False}.get(str(form.get("opnieuw", "")))


async def _selection(kit: Kit, visit: Visit, form: Form) -> Selection:
    """Of what was ticked, of all that a filter finds, or of what an earlier job left. Raises BoardError, and CannotAct."""
    if form.get("rest"):
        return Selection(job=str(form["rest"])[:100])
    if form.get("welke") != "alle":
        ids = tuple(str(id) for id in form.getall("id", ()))
        if not ids:
            raise Told("act.none")
        return Selection(ids=ids)
    asked = asked_in(str(form.get("filter", "")))
    if since := str(form.get("sinds", "")).strip():  # only what fell out since then
        asked["sinds"] = since
    return Selection(wanted=await wanted_of(kit, visit, asked))


def _listed(form: Form) -> int | None:
    """How many the list had of which all were chosen, and one more than `MOST` when there are more; None for what was no list."""
    given = str(form.get("getoond", ""))
    if form.get("welke") != "alle" or form.get("sinds") or not (given.isascii() and given.isdigit() and len(given) < 10):
        return None
    return min(int(given), MOST + 1)


def _terms(form: Form) -> Terms:
    """Raises CannotAct, and TermsWrong."""

    def number(name: str, otherwise: float) -> float:
        given = str(form.get(name, "")).strip().replace(",", ".")
        try:
            found = float(given) if given else otherwise
        except ValueError:
            found = math.nan
        if not math.isfinite(found):
            raise CannotAct(*(text("preview.number", language, name=text(_NUMBERS[name], language)) for language in ("en", "nl")))
        return found

    plain = Terms()
    return replace(
        plain,
        trial=int(number("proef", plain.trial)),
        rate=number("tempo", plain.rate),
        stop_below=number("stop", plain.stop_below * 100) / 100,
    )


async def _keep(kit: Kit, visit: Visit, preview: Preview, listed: int | None) -> str:
    if visit.session is None:
        raise web.HTTPForbidden(reason="permission")
    shown = {name: getattr(preview, name) for name in Preview.__dataclass_fields__}
    shown |= {"order": asdict(preview.order), "not_possible": dict(preview.not_possible), "codes": dict(preview.codes), "listed": listed}
    return await kit.shell.keep(visit.session.key, _PREVIEW, json.dumps(shown).encode())


async def _kept(kit: Kit, visit: Visit, handle: str) -> dict[str, Any]:
    """What was shown. Raises HTTPGone when it is over, and for what is another session's."""
    kept = await kit.shell.kept(visit.session.key, _PREVIEW, handle) if visit.session else None
    if kept is None:
        raise web.HTTPNotFound
    found: dict[str, Any] = json.loads(kept)
    return found


async def _job(kit: Kit, request: web.Request, visit: Visit) -> Job:
    """Raises HTTPNotFound, also for one that the visit may not see."""
    id = request.match_info["id"]
    found = await kit.ask(kit.desk.actions.job, visit.scope, id) if len(id) <= 100 else None
    if found is None:
        raise web.HTTPNotFound
    return found


async def _show(kit: Kit, request: web.Request, visit: Visit, found: Job, *, status: int = 200, problem: str | None = None) -> web.Response:
    state, after = request.query.get("uitkomst") or None, request.query.get("na", "0")
    number = int(after) if after.isascii() and after.isdigit() and len(after) < 12 else 0
    results = await kit.ask(kit.desk.actions.results, visit.scope, found.id, state=state, after=number, limit=_RESULTS)
    return await kit.show(
        request,
        visit,
        "job.html",
        status=status,
        job=found,
        results=results,
        outcome=state,
        next=results[-1].number if len(results) == _RESULTS else None,
        ended=found.state in (JobState.DONE, JobState.CANCELLED),
        own=found.made_by == visit.account.name,
        why=lambda key: why_words(key, visit.language),
        problem=problem,
    )


async def _propose(
    kit: Kit,
    request: web.Request,
    visit: Visit,
    preview: Mapping[str, Any],
    terms: Terms,
    *,
    problem: str | None = None,
    reason: str = "",
) -> web.Response:
    return await kit.show(
        request,
        visit,
        "preview.html",
        status=409 if problem else 200,
        preview=preview,
        listed=_other_than_listed(preview),
        terms=terms,
        problem=problem,
        reason=reason,
        handle=request.match_info["handle"],
        why=lambda key: why_words(key, visit.language),
    )


def why_words(key: str | None, language: str) -> str:
    """Why something was not possible, in words; a fault's code as it is."""
    if key in set(Why):
        return WHY[Why(key)][0 if language == "nl" else 1]
    return key or ""


def _other_than_listed(preview: Mapping[str, Any]) -> int | None:
    """How many stood on the list, when the preview is about another number."""
    listed: int | None = preview["listed"]
    return None if listed is None or listed == min(preview["count"], MOST + 1) else listed


def _back(form: Form) -> str:
    try:
        return address_of(asked_in(str(form.get("filter", ""))))
    except BoardError:
        return "/openstaand"
