"""Openstaand: every unfinished delivery and all that fell out, by filters that stand in the URL; saved views; CSV.

A pupil's number and a ketenId are POSTed, hashed with the vault's key, and forgotten: the URL holds a handle of this session that ends
by itself (issue 5). Nothing that is shown or exported holds personal data.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections import defaultdict
from collections.abc import Mapping
from typing import Final
from urllib.parse import urlencode

from aiohttp import web

from portal.directory import Directory
from portal.formats import moment
from portal.pages.filters import PLACES, SEARCH, address_of, asked_in, asked_of, place_of, query_of, sort_of, wanted_of
from portal.pages.kit import Kit, Told
from portal.personal import may_be_personal
from portal.shell import Answer, Visit, page
from portal.texts import text
from routing.amsterdam import amsterdam_day
from routing.board import MOST, PAGE, BoardError, ItemFilter, Page, Sort, View, order_text, subject_text
from routing.people import SEE, Permission
from schemas.faults import CODES, Owner

#: Ages one can choose, in seconds.
AGES: Final = (3_600, 14_400, 86_400, 172_800, 604_800)
#: The states one can choose, in the order of a message's life.
STATES: Final = ("received", "routed", "released", "postponed", "uncertain", "delivered", "acknowledged", "failed", "refused")
_PUPIL: Final = re.compile(r"[0-9]{9}\Z")


def routes(kit: Kit) -> list[web.RouteDef]:
    """Its paths."""

    @page(permission=SEE)
    async def items(request: web.Request, visit: Visit) -> Answer:
        asked: dict[str, str] = {}
        try:
            asked = asked_of(request.query.items())
            if "" in request.query.values():  # a form that was hardly filled in: its list has a short address
                raise web.HTTPSeeOther(address_of(asked))
            if "lijst" not in asked and "status" not in asked:
                asked["lijst"] = str(View.OPEN)
            wanted = await wanted_of(kit, visit, asked)
            sort = sort_of(asked)
            after, backwards = place_of(asked)
        except BoardError as error:
            return await _show(kit, request, visit, ItemFilter(view=View.OPEN), asked, problem=error.in_language(visit.language))
        found, count = await asyncio.gather(
            kit.ask(kit.board.items, visit.scope, wanted, now_us=kit.now_us, sort=sort, after=after, backwards=backwards),
            kit.ask(kit.board.count, visit.scope, wanted, now_us=kit.now_us),
        )
        return await _show(kit, request, visit, wanted, asked, found=found, count=count, sort=sort)

    @page(permission=SEE)
    async def search(request: web.Request, visit: Visit) -> Answer:
        """A pupil or a ketenId: POSTed, hashed, and forgotten."""
        form = await request.post()
        try:
            back = asked_in(str(form.get("terug", "")))
        except BoardError as error:
            return await _show(kit, request, visit, ItemFilter(view=View.OPEN), {}, problem=error.in_language(visit.language))
        back.pop(SEARCH, None)
        number, keten = (re.sub(r"[\s.]", "", str(form.get(name, ""))) for name in ("leerling", "keten"))
        if number and not _PUPIL.match(number):
            return await _show(kit, request, visit, ItemFilter(view=View.OPEN), back, problem=text("items.pupil.wrong", visit.language))
        if not number and not 1 <= len(keten) <= 100:
            raise web.HTTPSeeOther(address_of(back))
        if visit.session is None:
            raise web.HTTPForbidden(reason="permission")
        handle = await kit.shell.keep(visit.session.key, SEARCH, hashed(kit, number, keten))
        raise web.HTTPSeeOther(address_of({"lijst": str(View.ALL), **back, SEARCH: handle}))

    @page(permission=SEE)
    async def save(request: web.Request, visit: Visit) -> Answer:
        form = await request.post()
        name = " ".join(str(form.get("naam", "")).split())
        try:
            asked = asked_in(str(form.get("terug", "")))
            if may_be_personal(name):
                raise Told("views.personal")
        except BoardError as error:
            return await _show(kit, request, visit, ItemFilter(view=View.OPEN), {}, problem=error.in_language(visit.language))
        kept = {key: value for key, value in asked.items() if key not in (SEARCH, *PLACES)}
        if name:
            await kit.ask(kit.desk.views.save, visit.account.name, name[:60], urlencode(kept), now_us=kit.now_us)
        raise web.HTTPSeeOther(address_of(asked))

    @page(permission=SEE)
    async def forget(request: web.Request, visit: Visit) -> Answer:
        form = await request.post()
        await kit.ask(kit.desk.views.forget, visit.account.name, str(form.get("naam", "")))
        try:
            asked = asked_in(str(form.get("terug", "")))
        except BoardError:
            asked = {}
        raise web.HTTPSeeOther(address_of(asked))

    return [
        web.get("/openstaand", items),
        web.post("/openstaand/zoek", search),
        web.post("/weergaven", save),
        web.post("/weergaven/vergeet", forget),
    ]


async def _show(
    kit: Kit,
    request: web.Request,
    visit: Visit,
    wanted: ItemFilter,
    asked: Mapping[str, str],
    *,
    found: Page | None = None,
    count: int = 0,
    sort: Sort = Sort.OLDEST,
    problem: str | None = None,
) -> web.Response:
    names = await kit.directory()
    return await kit.show(
        request,
        visit,
        "items.html",
        status=400 if problem else 200,
        dropped=False,  # `problem` says it
        page=found,
        count=count,
        most=MOST,
        size=PAGE,
        wanted=wanted,
        asked=defaultdict(str, asked),
        query=query_of(wanted, asked),
        bare={key: value for key, value in asked.items() if value and key not in ("na", "terug", "lijst", "sorteer")},
        sort=sort,
        sorts=tuple(Sort),
        lists=tuple(View),
        states=STATES,
        ages=AGES,
        codes=sorted(CODES),
        owners=tuple(Owner),
        problem=problem,
        chips=chips(asked, names, visit.language),
        views=await kit.ask(kit.desk.views.views, visit.account.name),
        selectable=visit.may(Permission.ACT),
        places=await kit.places(visit, found.items if found else ()),
        ready=ready(kit.now_us),
    )


def ready(now_us: int) -> list[tuple[str, str]]:
    """Lists that people ask for every day: the key of their word, and their address."""
    today = amsterdam_day(moment(now_us))
    return [
        ("never", address_of({"lijst": str(View.ALL), "nooit": "ja"})),
        ("today", address_of({"lijst": str(View.FALLEN), "sinds": f"{today}T00:00"})),
        ("old", address_of({"lijst": str(View.OPEN), "ouder": "172800"})),
    ]


def hashed(kit: Kit, number: str, keten: str) -> bytes:
    """What is kept under a handle: keyed hashes only."""
    index = kit.desk.index
    if number:
        return json.dumps({"subject": index(subject_text(number)).hex()}).encode()
    return json.dumps({"orders": [index(order_text(dienst, kind, keten)).hex() for dienst, kind in kit.desk.ordered]}).encode()


def chips(asked: Mapping[str, str], names: Directory, language: str) -> list[tuple[str, str, str]]:
    """The filters that are on: parameter, its word, and its value in words."""
    found = []
    for key, value in asked.items():
        if not value or key in ("na", "terug", "lijst", "sorteer") or f"filter.{key}" not in _WORDS:
            continue
        shown = value
        if key in ("systeem", "ontvanger", "ontvangend", "partij", "school", "routeringskenmerk"):
            shown = ", ".join(names.name(part) for part in value.split(","))
        elif key == "aanzet":
            shown = text(f"owner.{value}", language) if value in set(Owner) else value
        elif key == "code" and value in CODES:
            shown = CODES[value].nl if language == "nl" else CODES[value].en
        elif key in (SEARCH, "groep", "nooit"):
            shown = text(f"filter.{key}.on", language)
        elif key == "sinds":
            shown = value.replace("T", " ")
        elif key == "ouder" and value.isascii() and value.isdigit():
            shown = _age(int(value), language)
        found.append((key, text(f"filter.{key}", language), shown))
    return found


def _age(seconds: int, language: str) -> str:
    if seconds % 86_400 == 0:
        return text("age.days", language, n=seconds // 86_400)
    return text("age.hours", language, n=seconds // 3_600)


_WORDS: Final = frozenset(
    f"filter.{key}"
    for key in (
        *("dienst", "versie", "bericht", "brin", "school", "systeem", "ontvanger", "ontvangend", "partij", "status", "code", "aanzet"),
        *("van", "tot", "ouder", "bedrijfsdocument", "bericht-id", "kenmerk", "routeringskenmerk", "wachtrij", "groep", "nooit", "zoek"),
        *("leverancier", "nummer", "sinds"),
    )
)
