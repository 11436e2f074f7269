"""Alerts (meldingen): what people were told of, one for each cause and partner; who took it; and what is over."""

from __future__ import annotations

from aiohttp import web

from portal.pages.kit import Kit
from portal.shell import Answer, Visit, page
from portal.texts import text
from routing.actions import CannotAct, checked_reason
from routing.alerts import AlertState, CannotAcknowledge
from routing.people import SEE, Permission


def routes(kit: Kit) -> list[web.RouteDef]:
    """Its paths; none where nobody is told anything."""
    alerts = kit.desk.alerts
    if alerts is None:
        return []

    async def show(request: web.Request, visit: Visit, *, status: int = 200, problem: str | None = None) -> Answer:
        closed = request.query.get("over") == "ja"
        found = await kit.ask(alerts.alerts, visit.scope, closed=closed)
        return await kit.show(
            request, visit, "alerts.html", status=status, alerts=found, closed=closed, problem=problem, open_state=str(AlertState.OPEN)
        )

    @page(permission=SEE)
    async def listed(request: web.Request, visit: Visit) -> Answer:
        return await show(request, visit)

    @page(permission=Permission.GROUPS)
    async def take(request: web.Request, visit: Visit) -> Answer:
        """Somebody takes it: nobody else is told."""
        id, form = request.match_info["id"][:100], await request.post()
        try:
            why = checked_reason(str(form.get("waarom", "")))
        except CannotAct:
            return await show(request, visit, status=400, problem=text("content.reason.wrong", visit.language))
        try:
            await kit.ask(alerts.acknowledge, visit.scope, id, who=visit.account.name, why=why, now_us=kit.now_us)
        except CannotAcknowledge as error:
            return await show(request, visit, status=409, problem=error.in_language(visit.language))
        raise web.HTTPSeeOther("/meldingen")

    return [web.get("/meldingen", listed), web.post("/meldingen/{id}", take)]
