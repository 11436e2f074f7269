"""A partner's report by mail: what would go, and to whom, is shown first; and what was shown is what goes (`routing.reporting`)."""

from __future__ import annotations

from datetime import date
from typing import Final

from aiohttp import web

from portal.pages.kit import Kit
from portal.pages.reports import monday_of, week_of
from portal.shell import Answer, Visit, page
from routing.people import Permission
from routing.reporting import CannotSend, Draft, ReportPost

_DRAFT: Final = "rapport"


def routes(kit: Kit) -> list[web.RouteDef]:
    """Its paths; none where nothing is sent."""
    post = kit.desk.reports
    if post is None:
        return []

    @page(permission=Permission.TELL)
    async def propose(request: web.Request, visit: Visit) -> Answer:
        form = await request.post()
        system, monday = str(form.get("systeem", ""))[:20], monday_of(str(form.get("week", "")), kit.now_us)
        draft = await kit.ask(post.draft, visit.scope, system, monday, now_us=kit.now_us)
        if draft is None or visit.session is None:
            raise web.HTTPNotFound
        handle = await kit.shell.keep(visit.session.key, _DRAFT, draft.as_json().encode())
        raise web.HTTPSeeOther(f"/rapporten/versturen/{handle}")

    @page(permission=Permission.TELL)
    async def proposed(request: web.Request, visit: Visit) -> Answer:
        return await _show(kit, post, request, visit, await _kept(kit, request, visit))

    @page(permission=Permission.TELL)
    async def send(request: web.Request, visit: Visit) -> Answer:
        draft, form = await _kept(kit, request, visit), await request.post()
        chosen = {str(id) for id in form.getall("aan", ())}
        if not chosen:  # and then it may be tried again
            return await _show(kit, post, request, visit, draft, nobody=True)
        await _kept(kit, request, visit, once=True)  # whoever presses twice sends once
        try:
            await kit.ask(post.send, visit.scope, draft, chosen, who=visit.account.name, now_us=kit.now_us)
        except CannotSend as error:
            return await kit.show(
                request,
                visit,
                "cannot_act.html",
                status=409,
                problem=error.in_language(visit.language),
                back=_back(draft.system, draft.monday),
            )
        raise web.HTTPSeeOther(f"{_back(draft.system, draft.monday)}&gedaan=verstuurd")

    return [
        web.post("/rapporten/versturen", propose),
        web.get("/rapporten/versturen/{handle}", proposed),
        web.post("/rapporten/versturen/{handle}", send),
    ]


def _back(system: str, monday: date) -> str:
    return f"/rapporten?week={week_of(monday)}&systeem={system}"


async def _kept(kit: Kit, request: web.Request, visit: Visit, *, once: bool = False) -> Draft:
    """What was shown. Raises HTTPNotFound when it is over or was sent, and for what is another session's."""
    handle = request.match_info["handle"]
    kept = await kit.shell.kept(visit.session.key, _DRAFT, handle, once=once) if visit.session else None
    if kept is None:
        raise web.HTTPNotFound
    return Draft.from_json(kept.decode())


async def _show(kit: Kit, post: ReportPost, request: web.Request, visit: Visit, draft: Draft, *, nobody: bool = False) -> web.Response:
    return await kit.show(
        request,
        visit,
        "report_post.html",
        status=422 if nobody else 200,
        draft=draft,
        written=draft.written["en" if visit.language == "en" else "nl"],
        contacts=await kit.ask(post.contacts, visit.scope, draft.system),
        ready=post.ready,
        nobody=nobody,
        week=week_of(draft.monday),
        back=_back(draft.system, draft.monday),
        handle=request.match_info["handle"],
    )
