"""Uitval: what fell out, grouped by cause, so that one faulty release of a system is one line; and the life of each group."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from datetime import date
from typing import Any
from urllib.parse import urlencode

from aiohttp import web

from portal.pages.kit import Kit
from portal.shell import Answer, Visit, page
from routing.board import BoardError, FailureGroup, GroupKey, GroupState, ItemFilter, Sort, View
from routing.people import SEE, Permission
from schemas.faults import Owner

#: Items shown on the page of a group; the rest is a link away.
_SOME = 10


def routes(kit: Kit) -> list[web.RouteDef]:
    """Its paths."""

    @page(permission=SEE)
    async def groups(request: web.Request, visit: Visit) -> Answer:
        owner, state = request.query.get("aanzet"), request.query.get("stand")
        solved = request.query.get("opgelost") == "ja" or state == GroupState.SOLVED
        found = await kit.ask(
            kit.board.groups,
            visit.scope,
            now_us=kit.now_us,
            state=GroupState(state) if state in set(GroupState) else None,
            owner=owner if owner in set(Owner) else None,
            solved=solved,
        )
        dienst = request.query.get("dienst")
        shown = [group for group in found if not dienst or group.key.dienst == dienst]
        return await kit.show(
            request,
            visit,
            "failures.html",
            groups=shown,
            asked=defaultdict(str, request.query),
            owners=by_owner(shown),
            every_owner=tuple(Owner),
            states=tuple(GroupState),
            total=sum(group.still_open for group in shown),
            most=max((group.still_open for group in shown), default=0),
        )

    @page(permission=SEE)
    async def group(request: web.Request, visit: Visit) -> Answer:
        key = _key(request.query.get("groep", ""))
        found = await kit.ask(kit.board.group, visit.scope, key, now_us=kit.now_us)
        if found is None:
            raise web.HTTPNotFound
        wanted = ItemFilter(view=View.FALLEN, group=key)
        items = await kit.ask(kit.board.items, visit.scope, wanted, now_us=kit.now_us, sort=Sort.NEWEST, limit=_SOME)
        return await kit.show(
            request,
            visit,
            "failure_group.html",
            detail=found,
            group=found.group,
            items=items.items,
            places=await kit.places(visit, items.items),
            wanted=wanted,
            said=request.query.get("gedaan"),
        )

    @page(permission=Permission.GROUPS)
    async def change(request: web.Request, visit: Visit) -> Answer:
        form = {name: str(value).strip() for name, value in (await request.post()).items()}
        key = _key(form.get("groep", ""))
        if await kit.ask(kit.board.group, visit.scope, key, now_us=kit.now_us) is None:
            raise web.HTTPNotFound
        act = _change(kit, visit, key, form)
        if act is None:  # something was left empty: the page, as it was
            raise web.HTTPSeeOther(f"{request.path}?{urlencode({'groep': str(key)})}")
        try:
            await kit.ask(act)
        except BoardError as error:
            back, problem = f"{request.path}?{urlencode({'groep': str(key)})}", error.in_language(visit.language)
            return await kit.show(request, visit, "cannot_act.html", status=400, problem=problem, back=back)
        raise web.HTTPSeeOther(f"{request.path}?{urlencode({'groep': str(key), 'gedaan': form['wat']})}")

    return [
        web.get("/uitval", groups),
        web.get("/uitval/groep", group),
        web.post("/uitval/groep", change),
    ]


def by_owner(groups: list[FailureGroup]) -> list[tuple[str, int]]:
    """Whose turn it is, and of how many; the most first."""
    tally: dict[str, int] = {}
    for group in groups:
        tally[group.key.owner] = tally.get(group.key.owner, 0) + group.still_open
    return sorted(((owner, count) for owner, count in tally.items() if count), key=lambda row: -row[1])


def _key(value: str) -> GroupKey:
    try:
        return GroupKey.read(value)
    except BoardError as error:
        raise web.HTTPNotFound from error


def _change(kit: Kit, visit: Visit, key: GroupKey, form: dict[str, str]) -> Callable[[], Any] | None:
    """What the form asks for; None when it lacks what that needs."""
    board, who, now_us, why = kit.board, visit.account.name, kit.now_us, form.get("waarom", "")
    match form.get("wat"):
        case "notitie" if form.get("tekst"):
            return lambda: board.note(key, form["tekst"], who=who, now_us=now_us)
        case "toewijzen":
            return lambda: board.assign(key, form.get("aan") or None, who=who, now_us=now_us, why=why)
        case "bij_partner" if form.get("ticket"):
            try:
                day = date.fromisoformat(form["dag"]) if form.get("dag") else None
            except ValueError:
                return None
            return lambda: board.with_partner(key, ticket=form["ticket"], agreed_on=day, who=who, now_us=now_us, why=why)
        case "opgelost" if why:
            return lambda: board.solve(key, who=who, now_us=now_us, why=why)
        case "heropenen" if why:
            return lambda: board.reopen(key, who=who, now_us=now_us, why=why)
    return None
