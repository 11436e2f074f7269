"""The list of Openstaand as a file, made page by page while it is sent: it is never in memory as a whole."""

from __future__ import annotations

import asyncio
import csv
import functools
import io
import logging
from collections.abc import Iterator
from typing import Any, Final

from aiohttp import web

from portal.directory import Directory
from portal.formats import iso
from portal.pages.filters import asked_of, sort_of, wanted_of
from portal.pages.kit import Kit, fault_words, safe_cell, word
from portal.shell import Answer, Visit, page
from portal.texts import text
from routing.board import BoardError, Item, ItemFilter, Place, Sort
from routing.people import Permission

log = logging.getLogger("koppelpunt.portal")

#: Rows asked for at a time.
AT_A_TIME: Final = 500
#: What each column is called: keys of portal.texts.
_COLUMNS: Final = (
    *("col.received", "csv.kind", "filter.kenmerk", "message.delivery_id", "filter.dienst", "filter.versie", "filter.bericht"),
    *("school", "csv.school", "csv.system_oin", "systeem", "csv.receiver_oin", "ontvanger", "filter.ontvangend"),
    *("col.state", "col.code", "csv.code", "filter.aanzet", "col.attempts", "sort.laatst", "col.deadline"),
    *("filter.bedrijfsdocument", "filter.bericht-id"),
)


def routes(kit: Kit) -> list[web.RouteDef]:
    """Its path."""
    busy: set[str] = set()

    @page(permission=Permission.EXPORT)
    async def export(request: web.Request, visit: Visit) -> Answer:
        names, who = await kit.directory(), visit.account.name
        try:
            asked = asked_of(request.query.items())
            wanted, sort = await wanted_of(kit, visit, asked), sort_of(asked)
        except BoardError as error:
            return await kit.show(
                request, visit, "cannot_act.html", status=400, problem=error.in_language(visit.language), back="/openstaand"
            )
        if who in busy:
            raise web.HTTPTooManyRequests(reason="export", headers={"Retry-After": "60"})
        busy.add(who)
        try:
            return await _send(kit, request, f"koppelpunt-{wanted.view}.csv", lines(kit, visit, wanted, sort, names))
        finally:
            busy.discard(who)

    return [web.get("/openstaand.csv", export)]


async def _send(kit: Kit, request: web.Request, name: str, made: Iterator[str]) -> web.StreamResponse:
    """When it cannot go on, the connection is cut: half a file must not look like a whole one."""
    ask = functools.partial(asyncio.get_running_loop().run_in_executor, kit.shell.exporters, next, made, "")
    chunk = await ask()  # what is wrong from the beginning is told on a page
    headers = {"Content-Disposition": f'attachment; filename="{name}"', "Content-Type": "text/csv; charset=utf-8"}
    response = web.StreamResponse(headers=headers)
    await response.prepare(request)
    try:
        await response.write("\ufeff".encode())  # by which spreadsheets know that it is UTF-8
        while chunk:
            await response.write(chunk.encode())
            chunk = await ask()
        await response.write_eof()
    except (ConnectionError, asyncio.CancelledError):
        raise
    except Exception as error:
        log.error("portal_file_cut", extra={"path": request.path, "error": type(error).__name__}, exc_info=error)
        if request.transport is not None:
            request.transport.abort()
    return response


def lines(kit: Kit, visit: Visit, wanted: ItemFilter, sort: Sort, names: Directory) -> Iterator[str]:
    """The items as CSV, some hundreds at a time, without personal data: ids, codes, organisations and times, in the
    words of the pages."""
    rows: list[list[Any]] = [[text(key, visit.language) for key in _COLUMNS]]
    after: Place | None = None
    while True:
        found = kit.board.items(visit.scope, wanted, now_us=kit.now_us, sort=sort, after=after, limit=AT_A_TIME)
        out = io.StringIO()
        rows += [_row(item, names, visit.language) for item in found.items]
        csv.writer(out, lineterminator="\r\n").writerows([safe_cell(value) for value in row] for row in rows)
        yield out.getvalue()
        if found.next is None or not found.items:
            return
        after, rows = found.next, []


def _row(item: Item, names: Directory, language: str) -> list[Any]:
    return [
        iso(item.received_us),
        text(f"csv.{item.kind}", language),
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
        word(item, language=language),
        fault_words(item.code, language=language),
        item.code,
        text(f"owner.{item.owner}", language) if item.owner else None,
        item.attempts,
        iso(item.at_us),
        iso(item.deadline_us),
        item.business_id,
        item.message_id,
    ]
