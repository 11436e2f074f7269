"""The service register, to look at: an organisation, a board, a system, what will change, and what became of one row.

Whoever sees the whole chain sees all of it; a party sees the rows of its own organisations and systems (docs/register.md).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from functools import partial
from typing import Any, Final

from aiohttp import web

from portal.formats import moment
from portal.pages.kit import Kit
from portal.pages.register_wishes import kind_of, rows_of
from portal.register_view import (
    LISTS,
    PAGE,
    STANDINGS,
    UNUSED_DAYS,
    YEARS,
    RowFilter,
    changes_of,
    day_typed,
    days_on,
    in_order,
    is_live,
    lines_of,
    loose,
    next_of,
    oin_typed,
    paged,
    places_of,
    standing,
)
from portal.shell import Answer, Visit, page
from routing.amsterdam import AMSTERDAM, amsterdam_day
from routing.people import SEE, Permission
from routing.register import Endpoint, Register
from routing.register_files import Difference
from routing.register_people import Whose, whose_of
from routing.register_plan import endpoints_nobody_uses, systems_mandates_without_endpoint
from routing.register_rows import FIELDS
from routing.register_values import Dated

#: Days that a plan looks ahead.
AHEAD: Final = 92
#: Turns on a page of a plan.
TURNS: Final = 100


def routes(kit: Kit) -> list[web.RouteDef]:
    """Its paths."""
    see = page(permission=Permission.SEE_REGISTER)
    return [
        web.get("/register", see(partial(_start, kit))),
        web.get("/register/plan", see(partial(_plan, kit))),
        web.get("/register/organisatie/{oin}", see(partial(_organisation, kit))),
        web.get("/register/systeem/{oin}", see(partial(_system, kit))),
        web.get("/register/geschiedenis/{list}/{key:.+}", see(partial(_history, kit))),
    ]


async def _start(kit: Kit, request: web.Request, visit: Visit) -> Answer:
    seen = await _seen(kit, request, visit)
    words = request.query.get("zoek", "").strip()[:100]
    typed = oin_typed(words)
    for kind, known in (("organisatie", seen.organisations), ("systeem", seen.register.systems)):
        if typed and typed in known and seen.sees(kind, typed):
            raise web.HTTPSeeOther(f"/register/{kind}/{typed}")
    own = await kit.ask(seen.own, await kit.directory())
    if not seen.whose.sees_all and len(own) == 1 and not words:
        raise web.HTTPSeeOther(f"/register/{own[0][0]}/{own[0][1]}")
    wanted = words.casefold()
    found = [one for one in own if not wanted or any(wanted in str(part).casefold() for part in one)]
    if seen.whose.sees_all and not words:  # thousands of schools are searched for
        found = [one for one in own if one[0] == "systeem"]
    listed = paged(found, request.query.get("blad"))
    return await kit.show(request, visit, "register.html", listed=listed, words=words, sees_all=seen.whose.sees_all, **seen.days())


async def _organisation(kit: Kit, request: web.Request, visit: Visit) -> Answer:
    seen, oin = await _seen(kit, request, visit), request.match_info["oin"]
    if not seen.whose.sees_organisation(oin) or oin not in seen.organisations:
        raise web.HTTPNotFound
    names = await kit.directory()
    if seen.register.organisation(oin) is None:
        schools = sorted((row for row in seen.register.organisations.values() if row.board == oin), key=lambda row: row.name.casefold())
        board = seen.register.boards.get(oin)
        shown = paged(schools, request.query.get("blad"))
        return await kit.show(request, visit, "register_board.html", board=board, oin=oin, schools=shown, **seen.shared(request))
    pair = await kit.ask(seen.register.parts.of_organisation, oin)
    mandates, endpoints = (
        [row for row in pair.mandates if seen.whose.sees(row)],
        [row for row in pair.endpoints if seen.whose.sees(row)],
    )
    lines = in_order(lines_of(mandates, endpoints, seen.day), names, seen.day)
    delegations = [row for row in seen.register.delegations.values() if oin in (row.municipality, row.region)]
    turns = await kit.ask(changes_of, seen.register, seen.whose, oin, days_on(seen.day, 1), days_on(seen.day, 366))
    return await kit.show(
        request,
        visit,
        "register_organisation.html",
        organisation=seen.register.organisation(oin),
        has_traffic=await _has_page(kit, visit, oin),
        lines=[line for line in lines if is_live(line.mandate, seen.day)],
        ended=[line for line in lines if not is_live(line.mandate, seen.day)],
        loose=[row for row in in_order(loose(pair.endpoints, lines), names, seen.day) if is_live(row, seen.day)],
        delegations=in_order(delegations, names, seen.day),
        turns=(turns or [])[:12],
        more_turns=max(0, len(turns or []) - 12),
        **seen.shared(request),
    )


async def _system(kit: Kit, request: web.Request, visit: Visit) -> Answer:
    seen, oin = await _seen(kit, request, visit), request.match_info["oin"]
    found = seen.register.system(oin)
    if not seen.whose.sees_system(oin) or found is None:
        raise web.HTTPNotFound
    shown = request.query.get("lijst", LISTS[0])
    if shown not in LISTS:
        raise web.HTTPBadRequest
    pair, names = await kit.ask(seen.register.parts.of_system, oin), await kit.directory()
    wanted = RowFilter(
        words=request.query.get("zoek", "")[:100], dienst=request.query.get("dienst", ""), when=request.query.get("stand", "")
    )
    keep, contact = wanted.keep(names, seen.day), {}
    gaps = {id(gap.row): gap.days for gap in systems_mandates_without_endpoint(pair.mandates, pair.endpoints, seen.day)}
    rows: list[Any]
    if shown == "mandaten":
        rows = list(pair.mandates)
    elif shown == "zonder-endpoint":
        rows = [row for row in pair.mandates if id(row) in gaps]
    else:
        rows = list(pair.endpoints)
        if shown == "ongebruikt":
            contact = await _contact(kit, visit, oin, pair.endpoints)
            rows = endpoints_nobody_uses(rows, contact, days_on(seen.day, -UNUSED_DAYS), seen.day)
    listed = paged(in_order(filter(keep, rows), names, seen.day), request.query.get("blad"), PAGE)
    on_page = {row.organisation for row in listed.rows}
    return await kit.show(
        request,
        visit,
        "register_system.html",
        system=found,
        has_traffic=await _has_page(kit, visit, oin),
        list=shown,
        lists=LISTS,
        standings=STANDINGS,
        wanted=wanted,
        listed=listed,
        lines=lines_of(listed.rows, [row for row in pair.endpoints if row.organisation in on_page], seen.day)
        if shown in ("mandaten", "zonder-endpoint")
        else (),
        missing=len(gaps),
        contact=contact,
        places=places_of(pair.endpoints, seen.day),
        **seen.shared(request),
    )


async def _plan(kit: Kit, request: web.Request, visit: Visit) -> Answer:
    seen, of = await _seen(kit, request, visit), oin_typed(request.query.get("van-wie", ""))
    today, query = seen.day, request.query
    first = _day(query.get("vanaf")) or days_on(today, 1)
    last = _day(query.get("tot")) or (max(first, days_on(today, AHEAD)) if "vanaf" not in query else first)
    if of and not (seen.whose.sees_organisation(of) or seen.whose.sees_system(of)):
        raise web.HTTPNotFound
    asked = bool(query.get("van-wie", "").strip())
    wrong = "reg.wrong.oin" if asked and of is None else "reg.plan.turned" if last < first else None
    turns = None if wrong else await kit.ask(changes_of, seen.register, seen.whose, of, first, last)
    listed = paged([turn for turn in turns or () if not query.get("mis") or turn.is_trouble], query.get("blad"), TURNS)
    return await kit.show(
        request,
        visit,
        "register_plan.html",
        status=422 if wrong else 200,
        turns=turns,
        listed=listed,
        trouble=sum(1 for turn in turns or () if turn.is_trouble),
        only_trouble=bool(query.get("mis")),
        first=first,
        last=last,
        of=of,
        typed=query.get("van-wie", "").strip()[:40],
        wrong=wrong,
        **seen.days(),
    )


async def _history(kit: Kit, request: web.Request, visit: Visit) -> Answer:
    seen, name, key = await _seen(kit, request, visit), request.match_info["list"], request.match_info["key"]
    if kit.desk.changes is None or name not in FIELDS or len(key) > 250:
        raise web.HTTPNotFound
    found = _changes(seen.whose, name, key, await kit.ask(kit.desk.changes.history, name, key))
    if not found:
        raise web.HTTPNotFound
    return await kit.show(
        request, visit, "register_history.html", list=name, key=key, changes=found, row=_row(found), **seen.shared(request)
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Seen:
    """The register of a visit: the newest, or as it was known at a moment; how rows stand on a day; and what of it is the visitor's."""

    register: Register
    whose: Whose
    day: date
    today: date
    known: str  #: the moment, as it was asked for; "": now
    at: date | None  #: the day, where one was asked for
    said: str  #: what was done on the page before

    @property
    def organisations(self) -> Mapping[str, Any]:
        """Boards too."""
        return {**self.register.organisations, **self.register.boards}

    def sees(self, kind: str, oin: str) -> bool:
        """Whether there is a page of it for this visitor."""
        return self.whose.sees_organisation(oin) if kind == "organisatie" else self.whose.sees_system(oin)

    def own(self, names: Any) -> list[tuple[str, str, str, str]]:
        """Kind of page, OIN, name and BRIN or supplier, of all that the visitor sees, by name."""
        register = self.register
        found = [
            *(("organisatie", str(row.oin), row.name, "") for row in register.boards.values() if row.oin not in register.organisations),
            *(("organisatie", str(row.oin), row.name, row.brin or "") for row in register.organisations.values()),
            *(("systeem", str(row.oin), row.name, row.supplier) for row in register.systems.values()),
        ]
        return sorted((one for one in found if self.sees(*one[:2])), key=lambda one: (one[0], one[2].casefold()))

    def days(self) -> dict[str, Any]:
        """For each page."""
        return {
            "day": self.day,
            "today": self.today,
            "august": next_of(self.today, 8, 1),
            "january": next_of(self.today, 1, 1),
            "year_on": days_on(self.day, 366),
        }

    def shared(self, request: web.Request) -> dict[str, Any]:
        """For pages of rows. Nothing is changed as of another time."""
        then = bool(self.known or self.at)
        return {
            **self.days(),
            "whose": self.whose,
            "standing": lambda row: standing(row, self.day),
            "known": self.known,
            "at": self.at,
            "then": then,
            "said": self.said,
            "may_change": lambda row: not then and self.whose.may_change(row),
            "may_mandate": lambda oin: not then and self.whose.may_mandate(oin),
            "may_keep": lambda oin: not then and self.whose.may_keep(oin),
            "register": self.register,
            "live": lambda row: is_live(row, self.day),
        }


async def _has_page(kit: Kit, visit: Visit, oin: str) -> bool:
    """Whether there is a page of its traffic for this visitor (portal.pages.parties)."""
    if not visit.permissions & SEE:
        return False
    return visit.scope.everything or await kit.ask(kit.board.party, visit.scope, oin, now_us=kit.now_us) is not None


async def _seen(kit: Kit, request: web.Request, visit: Visit) -> _Seen:
    """`?dag=`: how rows stand on another day; `?kennis=`: as it was known at a moment. Raises HTTPBadRequest."""
    today = amsterdam_day(moment(kit.now_us))
    newest = await kit.ask(kit.desk.register)
    whose = await kit.ask(whose_of, visit.account, newest)
    known, register, day = request.query.get("kennis", ""), newest, today
    if known and kit.desk.changes is not None:
        try:
            at = datetime.fromisoformat(known[:40])
        except ValueError:
            raise web.HTTPBadRequest from None
        if at.year not in YEARS:
            raise web.HTTPBadRequest
        at = at if at.tzinfo else at.replace(tzinfo=AMSTERDAM)
        register, day = await kit.ask(kit.desk.changes.at, at), amsterdam_day(at)
    on = _day(request.query.get("dag"))
    said = request.query.get("gedaan", "")
    return _Seen(register=register, whose=whose, day=on or day, today=today, known=known, at=on, said=said)


def _day(given: str | None) -> date | None:
    """Raises HTTPBadRequest."""
    try:
        return day_typed(given)
    except ValueError:
        raise web.HTTPBadRequest from None


async def _contact(kit: Kit, visit: Visit, system: str, endpoints: tuple[Endpoint, ...]) -> dict[str, date]:
    """By endpoint, when something for its organisation and dienst came to the system last."""
    last = await kit.ask(kit.board.last_received, visit.scope, system, now_us=kit.now_us)
    found: dict[str, date] = {}
    for row in endpoints:
        times = [last[oin, row.dienst] for oin in (row.routeringskenmerk, row.organisation) if oin and (oin, row.dienst) in last]
        if times:
            found[row.id] = amsterdam_day(moment(max(times)))
    return found


def _changes(whose: Whose, name: str, key: str, changes: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """What the visitor sees of what became of a row, the newest first. A party is told by which party, and not by whom there."""
    found, before = [], None
    for change in changes:
        one = Difference(name, key, before, change["row"])
        rows = [row for row in rows_of(one) if row is not None]
        if rows and all(_theirs(whose, name, row) for row in rows):
            who = change["who"] if whose.sees_all else change["who"].rpartition(" for ")[2] if " for " in change["who"] else None
            found.append({**change, "who": who, "kind": kind_of(one), "fields": _fields(one)})
        before = change["row"]
    return found[::-1]


def _theirs(whose: Whose, name: str, row: Dated) -> bool:
    if name in ("mandates", "endpoints", "delegations"):
        return whose.sees(row)
    oin = getattr(row, "oin", "")
    return whose.sees_all or (whose.sees_system(oin) if name == "systems" else whose.sees_organisation(oin))


def _fields(one: Difference) -> list[tuple[str, Any, Any]]:
    """Name, before and after of what is different."""
    before, after = one.before or {}, one.after or {}
    return [(name, before.get(name), after.get(name)) for name in dict.fromkeys((*before, *after)) if before.get(name) != after.get(name)]


def _row(changes: list[dict[str, Any]]) -> Mapping[str, Any]:
    """As it is, or was before it was taken away."""
    return next((change["row"] for change in changes if change["row"]), {})
