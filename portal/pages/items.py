"""Openstaand: every unfinished delivery and all that fell out, by filters that stand in the URL; saved views; CSV.

A pupil's number and a ketenId are POSTed, hashed with the vault's key, and forgotten: the URL holds a handle of this session that ends
by itself (issue 5). Nothing that is shown or exported holds personal data.
"""

from __future__ import annotations

import asyncio
import csv
import io
import json
import re
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any, Final
from urllib.parse import parse_qsl, urlencode

from aiohttp import web

from portal.directory import Directory
from portal.formats import iso, microseconds
from portal.pages.kit import Kit, Told, csv_answer, safe_cell, sentence
from portal.shell import Answer, Visit, page
from portal.texts import text
from routing.amsterdam import AMSTERDAM
from routing.board import MOST, PAGE, BoardError, Item, ItemFilter, Page, Place, Sort, View, order_text, subject_text
from routing.people import SEE, Permission, Scope
from schemas.faults import CODES, Owner
from schemas.privacy import redact

#: Rows of an export, at most: more is for the API.
EXPORT_MOST: Final = 50_000
#: Rows asked for at a time while exporting.
_AT_A_TIME: Final = 500
#: Ages one can choose, in seconds.
AGES: Final = (3_600, 14_400, 86_400, 172_800, 604_800)
#: The states one can choose, in the order of a message's life.
STATES: Final = ("received", "routed", "released", "postponed", "uncertain", "delivered", "acknowledged", "failed", "refused")
_KIND: Final = "zoek"
_ADDRESS: Final = re.compile(r"[0-9]{8}[0-9A-Za-z]{12}\Z")
_PUPIL: Final = re.compile(r"[0-9]{9}\Z")
_COLUMNS: Final = (
    "received",
    "kind",
    "reference",
    "delivery",
    "dienst",
    "versie",
    "bericht",
    "school",
    "school_name",
    "system",
    "system_name",
    "receiver",
    "receiver_name",
    "receiver_system",
    "state",
    "code",
    "owner",
    "attempts",
    "last_move",
    "deadline",
    "business_id",
    "message_id",
)


def routes(kit: Kit) -> list[web.RouteDef]:
    """Its paths."""

    @page(permission=SEE)
    async def items(request: web.Request, visit: Visit) -> Answer:
        asked = dict(request.query)
        if "lijst" not in asked and "status" not in asked:
            asked["lijst"] = str(View.OPEN)
        try:
            wanted = await wanted_of(kit, visit, asked)
            sort = sort_of(request.query)
            after, backwards = place_of(request.query)
        except BoardError as error:
            return await _show(kit, request, visit, ItemFilter(view=View.OPEN), asked, problem=sentence(error))
        found, count = await asyncio.gather(
            kit.ask(kit.board.items, visit.scope, wanted, now_us=kit.now_us, sort=sort, after=after, backwards=backwards),
            kit.ask(kit.board.count, visit.scope, wanted, now_us=kit.now_us),
        )
        return await _show(kit, request, visit, wanted, asked, found=found, count=count, sort=sort)

    @page(permission=SEE)
    async def search(request: web.Request, visit: Visit) -> Answer:
        """A pupil or a ketenId: POSTed, hashed, and forgotten."""
        form = await request.post()
        back = {key: value for key, value in _pairs(str(form.get("terug", ""))).items() if key != _KIND}
        number, keten = (re.sub(r"[\s.]", "", str(form.get(name, ""))) for name in ("leerling", "keten"))
        if number and not _PUPIL.match(number):
            return await _show(kit, request, visit, ItemFilter(view=View.OPEN), back, problem=text("items.pupil.wrong", visit.language))
        if not number and not 1 <= len(keten) <= 100:
            raise web.HTTPSeeOther(_address(back))
        if visit.session is None:
            raise web.HTTPForbidden(reason="permission")
        handle = await kit.shell.keep(visit.session.key, _KIND, hashed(kit, number, keten))
        raise web.HTTPSeeOther(_address({"lijst": str(View.ALL), **back, _KIND: handle}))

    @page(permission=Permission.EXPORT)
    async def export(request: web.Request, visit: Visit) -> Answer:
        names = await kit.directory()
        try:
            wanted, sort = await wanted_of(kit, visit, request.query), sort_of(request.query)
        except BoardError as error:
            raise web.HTTPBadRequest(reason="filter") from error
        rows = await kit.ask(export_rows, kit, visit.scope, wanted, sort, names)
        return csv_answer(f"koppelpunt-{wanted.view}.csv", rows)

    @page(permission=SEE)
    async def save(request: web.Request, visit: Visit) -> Answer:
        form = await request.post()
        name, query = " ".join(str(form.get("naam", "")).split())[:60], _pairs(str(form.get("terug", "")))
        kept = {key: value for key, value in query.items() if key not in (_KIND, "na", "terug")}
        if name and redact(name) == name:
            await kit.ask(kit.desk.views.save, visit.account.name, name, urlencode(kept), now_us=kit.now_us)
        raise web.HTTPSeeOther(_address(query))

    @page(permission=SEE)
    async def forget(request: web.Request, visit: Visit) -> Answer:
        form = await request.post()
        await kit.ask(kit.desk.views.forget, visit.account.name, str(form.get("naam", "")))
        raise web.HTTPSeeOther(_address(_pairs(str(form.get("terug", "")))))

    return [
        web.get("/openstaand", items),
        web.post("/openstaand/zoek", search),
        web.get("/openstaand.csv", export),
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
        page=found,
        count=count,
        most=MOST,
        size=PAGE,
        wanted=wanted,
        asked=defaultdict(str, asked),
        query=urlencode({key: value for key, value in asked.items() if key not in ("na", "terug")}),
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
    )


def filter_of(query: Mapping[str, str], names: Directory) -> ItemFilter:
    """What an address asks for. Beside the board's own filters: `leverancier` (its systems), `nummer`, whichever number that is, and
    `sinds`, the moment in Amsterdam from which on it last moved. Raises BoardError."""
    wanted = ItemFilter.from_query({key: value for key, value in query.items() if key not in ("na", "terug", "sorteer")})
    if supplier := query.get("leverancier", "").strip():
        wanted = replace(wanted, systems=names.systems_of(supplier) or ("-",))
    if since := query.get("sinds", "").strip():
        wanted = replace(wanted, failed_since_us=_moment(since))
    if (number := query.get("nummer", "").strip()) != "":
        if redact(number) != number:
            raise Told(text("items.number.personal", "nl"))
        wanted = replace(wanted, address=number.upper()) if _ADDRESS.match(number) else replace(wanted, reference=number)
    return wanted


def _moment(text: str) -> int:
    try:
        at = datetime.strptime(text, "%Y-%m-%dT%H:%M")  # noqa: DTZ007 - its zone is the next thing that is said
    except ValueError:
        raise BoardError("sinds is a moment in Amsterdam, such as 2026-02-01T10:00.") from None
    return microseconds(at.replace(tzinfo=AMSTERDAM))


async def wanted_of(kit: Kit, visit: Visit, query: Mapping[str, str]) -> ItemFilter:
    """The same, with what its handle stands for, if it still does and is this session's, and with the message that has the number,
    whichever of its ids that is. Raises BoardError."""
    wanted = filter_of(query, await kit.directory())
    if (number := query.get("nummer", "").strip()) and wanted.reference == number:
        found = await kit.ask(kit.board.find, visit.scope, number)
        wanted = replace(wanted, reference=found or number)
    if wanted.handle is None or visit.session is None:
        return wanted
    kept = await kit.shell.kept(visit.session.key, _KIND, wanted.handle)
    if kept is None:
        return wanted
    hashes = json.loads(kept)
    subject = bytes.fromhex(hashes["subject"]) if "subject" in hashes else None
    return replace(wanted, subject=subject, orders=tuple(bytes.fromhex(order) for order in hashes.get("orders", ())))


def sort_of(query: Mapping[str, str]) -> Sort:
    """The order. Raises BoardError."""
    asked = query.get("sorteer") or Sort.OLDEST
    if asked not in set(Sort):
        raise BoardError(f"sorteer is {', '.join(Sort)}.")
    return Sort(asked)


def place_of(query: Mapping[str, str]) -> tuple[Place | None, bool]:
    """Where the page begins, and whether it is the one before that place. Raises BoardError."""
    if back := query.get("terug"):
        return Place.read(back), True
    return (Place.read(query["na"]), False) if query.get("na") else (None, False)


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
        elif key in (_KIND, "groep", "nooit"):
            shown = text(f"filter.{key}.on", language)
        elif key == "sinds":
            shown = value.replace("T", " ")
        elif key == "ouder" and value.isdigit():
            shown = _age(int(value), language)
        found.append((key, text(f"filter.{key}", language), shown))
    return found


def _age(seconds: int, language: str) -> str:
    if seconds % 86_400 == 0:
        return text("age.days", language, n=seconds // 86_400)
    return text("age.hours", language, n=seconds // 3_600)


def export_rows(kit: Kit, scope: Scope, wanted: ItemFilter, sort: Sort, names: Directory) -> str:
    """The items as CSV, without personal data: ids, codes, organisations and times."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\r\n")
    writer.writerow(_COLUMNS)
    after, written = None, 0
    while written < EXPORT_MOST:
        found = kit.board.items(scope, wanted, now_us=kit.now_us, sort=sort, after=after, limit=_AT_A_TIME)
        for item in found.items:
            writer.writerow([safe_cell(value) for value in _row(item, names)])
        written += len(found.items)
        if found.next is None or not found.items:
            break
        after = found.next
    return out.getvalue()


def _row(item: Item, names: Directory) -> list[Any]:
    return [
        iso(item.received_us),
        item.kind,
        item.reference,
        item.id,
        item.dienst,
        item.versie,
        item.bericht,
        item.brin or item.school or item.sender,
        names.name(item.school),
        item.system,
        names.name(item.system),
        item.receiver,
        names.name(item.organisation or item.receiver),
        item.receiver_system,
        item.state,
        item.code,
        item.owner,
        item.attempts,
        iso(item.at_us),
        iso(item.deadline_us),
        item.business_id,
        item.message_id,
    ]


def _pairs(query: str) -> dict[str, str]:
    """The parameters of one of our own addresses, sent back to us in a form."""
    return dict(parse_qsl(query[:4_000], max_num_fields=40))


def _address(query: Mapping[str, str]) -> str:
    return f"/openstaand?{urlencode(query)}" if query else "/openstaand"


_WORDS: Final = frozenset(
    f"filter.{key}"
    for key in (
        *("dienst", "versie", "bericht", "brin", "school", "systeem", "ontvanger", "ontvangend", "partij", "status", "code", "aanzet"),
        *("van", "tot", "ouder", "bedrijfsdocument", "bericht-id", "kenmerk", "routeringskenmerk", "wachtrij", "groep", "nooit", "zoek"),
        *("leverancier", "nummer", "sinds"),
    )
)
