"""Overview: is the chain healthy, what waits, what fell out, and how all of it flows. And the stream that tells pages there is news."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from aiohttp import web

from portal import chain_map
from portal.charts import Chart, Series, columns
from portal.directory import Directory
from portal.formats import Formats, moment
from portal.health import OURS, judge, link
from portal.live import stream
from portal.pages.kit import Kit
from portal.shell import Answer, Visit, page
from portal.texts import text
from routing.amsterdam import AMSTERDAM
from routing.board import DienstLine, Flow, Link, Overview, Silent
from routing.people import SEE, Role
from schemas.faults import Owner

_DAY_US = 86_400_000_000
#: Of the map: how far back it looks, by the word in the URL.
SPANS = {"dag": _DAY_US, "week": 7 * _DAY_US, "seizoen": 366 * _DAY_US}


def routes(kit: Kit) -> list[web.RouteDef]:
    """Its paths."""

    @page(permission=SEE)
    async def overview(request: web.Request, visit: Visit) -> Answer:
        now_us = kit.now_us
        span = request.query.get("kaart", "dag")
        since_us = now_us - SPANS.get(span, _DAY_US)
        found, links = await asyncio.gather(
            kit.ask(kit.board.overview, visit.scope, now_us=now_us),
            kit.ask(kit.board.chain_map, visit.scope, since_us=since_us, now_us=now_us),
        )
        names = await kit.directory()
        formats = Formats(visit.language, moment(now_us))
        layout = await kit.ask(lay_out, links, found, names, visit.language)
        return await kit.show(
            request,
            visit,
            "overview.html",
            overview=found,
            health=judge(found, now_us=now_us, mine=mine_of(visit), processes=await processes_of(kit, visit)),
            chart=hours_chart(found.diensten, formats, now_us),
            totals=totals(found),
            hourly=any(flow != Flow() for line in found.diensten for flow in line.hours) or visit.scope.everything,
            silent={line.law.name: by_supplier(line.silent, names) for line in found.calendar},
            map_svg=chain_map.draw(layout, formats, map_words(visit.language)),
            map_rows=chain_map.rows(layout),
            span=span if span in SPANS else "dag",
            spans=tuple(SPANS),
        )

    @page(permission=SEE)
    async def live(request: web.Request, visit: Visit) -> Answer:
        async def look() -> dict[str, str]:
            fresh = await kit.ask(kit.board.fresh, now_us=kit.now_us)
            return {"board": str(fresh.at_us // 1_000_000)}

        return await stream(request, visit, look, every_s=1.0)

    return [web.get("/", overview), web.get("/live", live)]


#: Whose turn is whose, of those who see their own traffic only.
_TURNS: Final = {
    Role.SCHOOL: frozenset({Owner.SCHOOL}),
    Role.PARTNER: frozenset({Owner.SUPPLIER, Owner.RECEIVER, Owner.MUNICIPALITY}),
}


def mine_of(visit: Visit) -> frozenset[Owner]:
    """Whose turn is this visitor's."""
    if visit.scope.everything:
        return OURS
    return frozenset().union(*(turns for role, turns in _TURNS.items() if role in visit.account.roles))


async def processes_of(kit: Kit, visit: Visit) -> Sequence[Mapping[str, Any]]:
    """Our own, for those who see everything."""
    return await kit.ask(kit.desk.processes) if visit.scope.everything and kit.desk.processes else ()


def by_supplier(silent: Sequence[Silent], names: Directory) -> list[tuple[str, list[Silent]]]:
    """Schools that are behind, by who runs their system; whoever has most of them first."""
    found: dict[str, list[Silent]] = {}
    for one in silent:
        found.setdefault(names.supplier(one.system) or names.name(one.system), []).append(one)
    return sorted(found.items(), key=lambda pair: (-len(pair[1]), pair[0]))


def totals(overview: Overview) -> dict[str, int | None]:
    """Of all diensten together."""
    lines = overview.diensten
    oldest = [line.oldest_us for line in lines if line.oldest_us is not None]
    return {
        "waiting": sum(line.waiting for line in lines),
        "fallen": sum(line.fallen for line in lines),
        "oldest_us": min(oldest, default=None),
        "hour_in": sum(line.hour.handed_in for line in lines),
        "hour_delivered": sum(line.hour.delivered for line in lines),
        "hour_bad": sum(line.hour.failed + line.hour.refused for line in lines),
        "day_in": sum(line.day.handed_in for line in lines),
        "day_delivered": sum(line.day.delivered for line in lines),
        "day_bad": sum(line.day.failed + line.day.refused for line in lines),
        "paused": sum(1 for line in overview.lanes if line.state != "closed"),
        "held_up": sum(line.waiting for line in overview.lanes if line.state != "closed"),
        "unread": len(overview.unread),
    }


def hours_of(count: int, now_us: int) -> list[str]:
    """So many hours of the clock, up to the present one, as they are called in Amsterdam."""
    start = datetime.fromtimestamp(now_us / 1e6, UTC).replace(minute=0, second=0, microsecond=0) - timedelta(hours=max(count - 1, 0))
    return [f"{(start + timedelta(hours=hour)).astimezone(AMSTERDAM):%H}" for hour in range(count)]


def hours_chart(lines: Sequence[DienstLine], formats: Formats, now_us: int) -> Chart:
    """The last 24 hours of the clock, of all diensten together."""
    count = max((len(line.hours) for line in lines), default=0)

    def of(name: str) -> list[int]:
        return [sum(getattr(line.hours[hour], name) for line in lines if hour < len(line.hours)) for hour in range(count)]

    language = formats.language
    series = [
        Series("delivered", text("flow.delivered", language), of("delivered")),
        Series("failed", text("flow.failed", language), of("failed")),
        Series("refused", text("flow.refused", language), of("refused")),
    ]
    return columns(hours_of(count, now_us), series, formats, title=text("overview.chart", language), over=text("hour", language), width=720)


def map_words(language: str) -> chain_map.Words:
    """What the map says."""
    return chain_map.Words(**{name: text(f"map.{name}", language) for name in chain_map.Words.__dataclass_fields__})


def lay_out(links: Sequence[Link], overview: Overview, names: Directory, language: str) -> chain_map.Layout:
    """Systems on the left, kinds of receiver on the right."""
    sources: dict[str, chain_map.Node] = {}
    targets: dict[str, chain_map.Node] = {}
    flows: dict[tuple[str, str], list[int]] = {}
    paused = {line.system for line in overview.lanes if line.state != "closed"}
    paused_kinds = {names.kind(system) for system in paused if system}
    for one in links:
        kind = names.kind(one.receiver_system) if one.receiver_system else "refused"
        if one.system not in sources:
            href = link(f"/partijen/{one.system}")
            sources[one.system] = chain_map.Node(key=one.system, name=names.name(one.system), kind=names.kind(one.system), href=href)
        if kind not in targets:
            name = text(f"map.to.{kind}", language)
            href = link("/uitval") if kind == "refused" else link("/partijen", soort=kind)
            targets[kind] = chain_map.Node(key=kind, name=name, kind=kind, href=href, paused=kind in paused_kinds)
        flow = flows.setdefault((one.system, kind), [0, 0, 0])
        flow[0] += one.delivered + one.failed + one.waiting
        flow[1] += one.failed
        flow[2] += one.waiting
    made = [
        chain_map.Flow(
            source=system,
            target=kind,
            messages=messages,
            failed=failed,
            waiting=waiting,
            href=link("/openstaand", lijst="alles", systeem=system) if failed or waiting else None,
        )
        for (system, kind), (messages, failed, waiting) in flows.items()
    ]
    return chain_map.lay_out(list(sources.values()), list(targets.values()), made, others=text("map.others", language))
