"""The same data for programs, as JSON under `/api/v1`: by API token (or the browser's session), scoped as the pages are.

The filters of a list are the pages' own parameters. What a page does not show is not here either: no content, and no hash of a number.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from datetime import date
from enum import Enum
from typing import Any, Final

from aiohttp import web

from portal.api_schema import description
from portal.pages.items import place_of, sort_of, wanted_of
from portal.pages.kit import Kit
from portal.pages.reports import monday_of
from portal.shell import Answer, Visit, page
from routing.board import MOST, PAGE, BoardError, GroupKey
from routing.people import SEE

#: Rows of one answer, at most.
MOST_ROWS: Final = 500
_HIDDEN: Final = frozenset({"subject", "orders", "order_key", "digest", "payload", "claim", "claim_until_us", "message_seq", "seq"})


def routes(kit: Kit) -> list[web.RouteDef]:
    """Its paths."""
    board = kit.board

    @page(permission=SEE)
    async def overview(request: web.Request, visit: Visit) -> Answer:
        return _answer(await kit.ask(board.overview, visit.scope, now_us=kit.now_us))

    @page(permission=SEE)
    async def items(request: web.Request, visit: Visit) -> Answer:
        try:
            wanted, sort, (after, backwards) = await wanted_of(kit, visit, request.query), sort_of(request.query), place_of(request.query)
            limit = _limit(request)
        except BoardError as error:
            return _problem(400, str(error))
        found = await kit.ask(board.items, visit.scope, wanted, now_us=kit.now_us, sort=sort, after=after, backwards=backwards, limit=limit)
        count = await kit.ask(board.count, visit.scope, wanted, now_us=kit.now_us)
        body = {"items": found.items, "next": str(found.next) if found.next else None, "count": min(count, MOST), "more": count > MOST}
        return _answer(body)

    @page(permission=SEE)
    async def groups(request: web.Request, visit: Visit) -> Answer:
        solved = request.query.get("opgelost") == "ja"
        return _answer({"groups": await kit.ask(board.groups, visit.scope, now_us=kit.now_us, solved=solved)})

    @page(permission=SEE)
    async def group(request: web.Request, visit: Visit) -> Answer:
        try:
            key = GroupKey.read(request.match_info["key"])
        except BoardError as error:
            return _problem(404, str(error))
        found = await kit.ask(board.group, visit.scope, key, now_us=kit.now_us)
        return _answer(found) if found else _problem(404, "There is no such group of failures.")

    @page(permission=SEE)
    async def message(request: web.Request, visit: Visit) -> Answer:
        asked = request.match_info["id"]
        reference = await kit.ask(board.find, visit.scope, asked) if len(asked) <= 200 else None
        found = await kit.ask(board.message, visit.scope, reference) if reference else None
        return _answer(found) if found else _problem(404, "There is no such message.")

    @page(permission=SEE)
    async def parties(request: web.Request, visit: Visit) -> Answer:
        return _answer({"parties": await kit.ask(board.parties, visit.scope, now_us=kit.now_us)})

    @page(permission=SEE)
    async def party(request: web.Request, visit: Visit) -> Answer:
        oin = request.match_info["oin"].upper()
        found = await kit.ask(board.party, visit.scope, oin, now_us=kit.now_us) if len(oin) == 20 else None
        return _answer(found) if found else _problem(404, "There is no such party.")

    @page(permission=SEE)
    async def reports(request: web.Request, visit: Visit) -> Answer:
        monday, system = monday_of(request.query.get("week"), kit.now_us), request.query.get("systeem") or None
        return _answer({"reports": await kit.ask(board.reports, visit.scope, monday=monday, now_us=kit.now_us, system=system)})

    @page(permission=SEE)
    async def jobs(request: web.Request, visit: Visit) -> Answer:
        return _answer({"jobs": await kit.ask(kit.desk.actions.jobs, visit.scope, limit=_LATEST)})

    @page(permission=SEE)
    async def job(request: web.Request, visit: Visit) -> Answer:
        found = await kit.ask(kit.desk.actions.job, visit.scope, request.match_info["id"][:100])
        return _answer(found) if found else _problem(404, "There is no such job.")

    @page(permission=SEE)
    async def openapi(request: web.Request, visit: Visit) -> Answer:
        return web.json_response(description())

    return [
        web.get("/api/v1/overview", overview),
        web.get("/api/v1/items", items),
        web.get("/api/v1/groups", groups),
        web.get("/api/v1/groups/{key}", group),
        web.get("/api/v1/messages/{id}", message),
        web.get("/api/v1/parties", parties),
        web.get("/api/v1/parties/{oin}", party),
        web.get("/api/v1/reports", reports),
        web.get("/api/v1/jobs", jobs),
        web.get("/api/v1/jobs/{id}", job),
        web.get("/api/v1/openapi.json", openapi),
    ]


_LATEST: Final = 100


def _limit(request: web.Request) -> int:
    text = request.query.get("aantal") or str(PAGE)
    if not (text.isascii() and text.isdigit() and 1 <= int(text[:6]) <= MOST_ROWS):
        raise BoardError(f"aantal is a number from 1 to {MOST_ROWS}.")
    return int(text)


def _answer(value: object) -> web.Response:
    return web.json_response(plain(value))


def _problem(status: int, detail: str) -> web.Response:
    return web.json_response(
        {"type": "about:blank", "status": status, "detail": detail}, status=status, content_type="application/problem+json"
    )


def plain(value: object) -> Any:
    """Ready for JSON: dataclasses as objects, days as YYYY-MM-DD; bytes (keyed hashes) and the store's own numbers are left out."""
    if isinstance(value, GroupKey):
        return {"key": str(value), **{f.name: getattr(value, f.name) for f in fields(value)}}
    if is_dataclass(value) and not isinstance(value, type):
        return {f.name: plain(getattr(value, f.name)) for f in fields(value) if f.name not in _HIDDEN}
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items() if key not in _HIDDEN and not isinstance(item, bytes)}
    if isinstance(value, tuple | list | frozenset | set):
        return [plain(item) for item in value]
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, date):
        return value.isoformat()
    return None if isinstance(value, bytes) else value
