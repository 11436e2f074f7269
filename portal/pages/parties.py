"""Parties and endpoints: how each system does, as a sender's and as a receiver's; what is paused; what will end; whom to call."""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import quote

from aiohttp import web

from portal.charts import Chart, Series, columns
from portal.desk import Heed
from portal.directory import Directory
from portal.formats import Formats, moment
from portal.pages.kit import Kit
from portal.pages.overview import hours_of
from portal.shell import Answer, Visit, page
from portal.texts import text
from routing.amsterdam import amsterdam_day
from routing.board import LaneLine, Party, PartyLine
from routing.people import SEE, Permission
from routing.proef import DIENST, NoProef, Proef
from routing.register_people import whose_of
from routing.release import CircuitState

#: Test messages that a page shows.
PROEFS = 10

KINDS = ("las", "sis", "municipality", "central", "other")


def routes(kit: Kit) -> list[web.RouteDef]:
    """Its paths."""

    @page(permission=SEE)
    async def parties(request: web.Request, visit: Visit) -> Answer:
        found = await kit.ask(kit.board.parties, visit.scope, now_us=kit.now_us)
        names = await kit.directory()
        kinds = await kit.ask(lambda: {line.system: names.kind(line.system) for line in found})
        kind, words = request.query.get("soort"), request.query.get("zoek", "").strip()
        shown = [line for line in found if not kind or kinds[line.system] == kind]
        hits = await kit.ask(names.search, words) if words and visit.scope.everything else []
        if words:
            shown = [line for line in shown if _matches(line, words, names)]
        return await kit.show(
            request,
            visit,
            "parties.html",
            parties=sorted(shown, key=lambda line: (-_trouble(line), -line.waiting, names.name(line.system).casefold())),
            kinds=kinds,
            every_kind=KINDS,
            kind=kind,
            words=words,
            hits=[hit for hit in hits if hit[0] not in kinds],
            heeds=await _heeds(kit, visit),
        )

    @page(permission=SEE)
    async def party(request: web.Request, visit: Visit) -> Answer:
        return await _show(kit, request, visit, await _found(kit, request, visit))

    @page(permission=Permission.ACT_TECHNICAL)
    async def pause(request: web.Request, visit: Visit) -> Answer:
        """Holds one of its endpoints, or lets it go."""
        oin = request.match_info["oin"]
        form = await request.post()
        lane = str(form.get("wachtrij", ""))
        if lane not in await kit.ask(_lanes_of, kit, visit, oin):
            raise web.HTTPNotFound
        act = kit.desk.lanes.let_go if form.get("wat") == "hervatten" else kit.desk.lanes.hold
        await kit.ask(act, lane, who=visit.account.name, now_us=kit.now_us)
        raise web.HTTPSeeOther(f"/partijen/{quote(oin)}?gedaan={'hervat' if form.get('wat') == 'hervatten' else 'gepauzeerd'}")

    @page(permission=Permission.ACT_TECHNICAL)
    async def proef(request: web.Request, visit: Visit) -> Answer:
        """Sends a test message to one of its endpoints."""
        found = await _found(kit, request, visit)
        if kit.desk.proefs is None:
            raise web.HTTPNotFound
        lane = str((await request.post()).get("wachtrij", "")) or None
        names = await kit.directory()
        to = {"system": found.oin} if lane or await kit.ask(names.supplier, found.oin) else {"organisation": found.oin}
        try:
            await kit.ask(kit.desk.proefs.ask, visit.scope, **to, lane=lane, who=visit.account.name)
        except NoProef as error:
            return await _show(kit, request, visit, found, status=409, problem=error.in_language(visit.language))
        raise web.HTTPSeeOther(f"/partijen/{quote(found.oin)}?gedaan=proef#proeven")

    return [
        web.get("/partijen", parties),
        web.get("/partijen/{oin}", party),
        web.post("/partijen/{oin}/pauze", pause),
        web.post("/partijen/{oin}/proef", proef),
    ]


async def _found(kit: Kit, request: web.Request, visit: Visit) -> Party:
    """Raises HTTPNotFound, also for one of which the visit may see nothing."""
    oin = request.match_info["oin"].upper()
    found = await kit.ask(kit.board.party, visit.scope, oin, now_us=kit.now_us) if len(oin) == 20 else None
    if found is None:
        names = await kit.directory()
        if len(oin) != 20 or not visit.scope.everything or not names.known(oin):
            raise web.HTTPNotFound
        return Party(oin=oin, lines=(), organisations=(), hours=(), groups=())
    return found


async def _show(kit: Kit, request: web.Request, visit: Visit, found: Party, *, status: int = 200, problem: str | None = None) -> Answer:
    names = await kit.directory()
    formats = Formats(visit.language, moment(kit.now_us))
    contacts = await kit.ask(kit.desk.alerts.contacts, visit.scope, found.oin) if kit.desk.alerts else ()
    known = [lane for line in found.lines if line.system == found.oin for lane in line.lanes] if found.lines else None
    lanes = await kit.ask(_lanes_of, kit, visit, found.oin, known)
    may_send = kit.desk.proefs is not None and visit.may(Permission.ACT_TECHNICAL)
    return await kit.show(
        request,
        visit,
        "party.html",
        status=status,
        party=found,
        kind=await kit.ask(names.kind, found.oin),
        supplier=names.supplier(found.oin),
        chart=_chart(found, formats, kit.now_us),
        lanes=list(lanes.values()),
        held=str(CircuitState.HELD),
        contacts=contacts,
        heeds=[heed for heed in await _heeds(kit, visit) if found.oin in (heed.system, heed.organisation)],
        proefs=await _proefs(kit, visit, found.oin),
        proef_lanes=await kit.ask(_proef_lanes, kit, found.oin) if may_send else (),
        may_send=may_send,
        problem=problem,
        said=request.query.get("gedaan"),
        in_register=await kit.ask(_in_register, kit, visit, found.oin),
    )


def _in_register(kit: Kit, visit: Visit, oin: str) -> str | None:
    """Where the register's page of it is, that the visitor sees."""
    register = kit.desk.register()
    whose = whose_of(visit.account, register)
    if oin in register.systems and whose.sees_system(oin):
        return f"/register/systeem/{oin}"
    known = oin in register.organisations or oin in register.boards
    return f"/register/organisatie/{oin}" if known and whose.sees_organisation(oin) else None


def _chart(found: Party, formats: Formats, now_us: int) -> Chart | None:
    if not found.hours:
        return None
    names = ("delivered", "failed", "refused")
    series = [Series(name, text(f"flow.{name}", formats.language), [getattr(flow, name) for flow in found.hours]) for name in names]
    title = text("party.chart", formats.language)
    return columns(hours_of(len(found.hours), now_us), series, formats, title=title, over=text("hour", formats.language), width=720)


def _lanes_of(kit: Kit, visit: Visit, oin: str, known: Sequence[LaneLine] | None = None) -> dict[str, LaneLine]:
    """Its endpoints: those on the board (`known`, from who asked it already), and those of the register of which nothing is known yet."""
    there = kit.board.lanes(visit.scope, now_us=kit.now_us) if known is None else known
    found = {line.lane: line for line in there if line.system == oin}
    for endpoint in kit.desk.register().parts.of_system(oin).endpoints if visit.scope.everything or oin in visit.scope.systems else ():
        lane = endpoint.lane
        if lane not in found:
            found[lane] = LaneLine(
                lane=lane,
                system=oin,
                state=str(CircuitState.CLOSED),
                by=None,
                by_hand=False,
                code=None,
                since_us=None,
                probe_at_us=None,
                waiting=0,
                oldest_us=None,
            )
    return found


async def _proefs(kit: Kit, visit: Visit, oin: str) -> Sequence[Proef]:
    """The newest test messages to it."""
    return await kit.ask(kit.desk.proefs.proefs, visit.scope, party=oin, limit=PROEFS) if kit.desk.proefs else ()


def _proef_lanes(kit: Kit, oin: str) -> frozenset[str]:
    """Those of its endpoints that take a test message."""
    day = amsterdam_day(moment(kit.now_us))
    rows = kit.desk.register().parts.of_system(oin).endpoints
    return frozenset(row.lane for row in rows if row.dienst == DIENST and row.covers(day))


async def _heeds(kit: Kit, visit: Visit) -> list[Heed]:
    return list(await kit.ask(kit.desk.heeds, visit.scope)) if kit.desk.heeds else []


def _matches(line: PartyLine, words: str, names: Directory) -> bool:
    wanted = words.casefold()
    return any(wanted in text.casefold() for text in (line.system, names.name(line.system), names.supplier(line.system) or ""))


def _trouble(line: PartyLine) -> int:
    return sum(1 for lane in line.lanes if lane.state != CircuitState.CLOSED)
