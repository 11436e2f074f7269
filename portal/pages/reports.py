"""Reports: one partner's week, without personal data: numbers per code, how long things took, what is still open. As page and CSV;
by mail in `portal.pages.report_post`."""

from __future__ import annotations

import csv
import io
import re
from datetime import UTC, date, datetime, timedelta
from typing import Final

from aiohttp import web

from portal.directory import Directory
from portal.pages.kit import Kit, csv_answer, safe_cell
from portal.shell import Answer, Visit, page
from routing.amsterdam import amsterdam_day
from routing.board import BoardError, Report
from routing.people import SEE, Permission

_WEEK: Final = re.compile(r"(20[0-9]{2})-W([0-9]{2})\Z")
_COLUMNS: Final = ("week", "system", "name", "dienst", "what", "code", "owner", "count", "schools", "still_open", "mean_s")


def routes(kit: Kit) -> list[web.RouteDef]:
    """Its paths."""

    async def reports_of(request: web.Request, visit: Visit) -> tuple[date, list[Report]]:
        monday = monday_of(request.query.get("week"), kit.now_us)
        try:
            found = await kit.ask(
                kit.board.reports, visit.scope, monday=monday, now_us=kit.now_us, system=request.query.get("systeem") or None
            )
        except BoardError as error:
            raise web.HTTPBadRequest from error
        return monday, found

    @page(permission=SEE)
    async def reports(request: web.Request, visit: Visit) -> Answer:
        monday, found = await reports_of(request, visit)
        partners = await kit.ask(kit.board.partners, visit.scope, monday=monday)
        names, post, system = await kit.directory(), kit.desk.reports, request.query.get("systeem") or None
        sent = await kit.ask(post.sent, visit.scope, system, monday) if post and system and found else ()
        today = amsterdam_day(datetime.fromtimestamp(kit.now_us / 1e6, UTC))
        return await kit.show(
            request,
            visit,
            "reports.html",
            monday=monday,
            sunday=monday + timedelta(days=6),
            week=week_of(monday),
            before=week_of(monday - timedelta(days=7)),
            after=week_of(monday + timedelta(days=7)) if monday + timedelta(days=7) <= today else None,
            partners=sorted(partners, key=lambda oin: names.name(oin).casefold()),
            system=system,
            sent=sent,
            said=request.query.get("gedaan"),
            may_mail=post is not None and visit.may(Permission.TELL),
            reports=sorted(found, key=lambda report: names.name(report.system).casefold()),
        )

    @page(permission=Permission.EXPORT)
    async def export(request: web.Request, visit: Visit) -> Answer:
        monday, found = await reports_of(request, visit)
        return csv_answer(f"koppelpunt-{week_of(monday)}.csv", rows_of(found, await kit.directory()))

    return [web.get("/rapporten", reports), web.get("/rapporten.csv", export)]


def monday_of(week: str | None, now_us: int) -> date:
    """The Monday of `2026-W48`, or of this week. Raises HTTPBadRequest."""
    if not week:
        today = amsterdam_day(datetime.fromtimestamp(now_us / 1e6, UTC))
        return today - timedelta(days=today.weekday())
    found = _WEEK.match(week)
    try:
        return date.fromisocalendar(int(found.group(1)), int(found.group(2)), 1) if found else date.fromisoformat("")
    except ValueError as error:
        raise web.HTTPBadRequest(reason="week") from error


def week_of(monday: date) -> str:
    """As it stands in URLs."""
    year, week, _ = monday.isocalendar()
    return f"{year}-W{week:02d}"


def rows_of(found: list[Report], names: Directory) -> str:
    """As CSV: one line for each figure."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\r\n")
    writer.writerow(_COLUMNS)
    for report in found:
        start = [week_of(report.monday), report.system, names.name(report.system)]
        for side, flows in (("sent", report.flows), ("received", report.received)):
            for dienst, flow in sorted(flows.items()):
                mean = round(flow.took_s / flow.delivered) if flow.delivered else ""
                for what in ("handed_in", "refused", "delivered", "failed"):
                    if side == "sent" or what in ("delivered", "failed"):
                        line = [dienst, f"{side}:{what}", "", "", getattr(flow, what), "", "", mean if what == "delivered" else ""]
                        writer.writerow([safe_cell(cell) for cell in (*start, *line)])
        for what, code in [*(("fallen", line) for line in report.codes), *(("received:fallen", line) for line in report.received_codes)]:
            line = [code.dienst, what, code.code, code.owner, code.fallen, code.schools, code.still_open, ""]
            writer.writerow([safe_cell(cell) for cell in (*start, *line)])
        writer.writerow([safe_cell(cell) for cell in (*start, "", "waiting_now", "", "", report.waiting, "", "", "")])
        writer.writerow([safe_cell(cell) for cell in (*start, "", "fallen_now", "", "", report.fallen, "", "", "")])
    return out.getvalue()
