"""How the chain does: the overview and the map, parties, their endpoints, and their weeks."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Final

from portal.api.calls import Asked, found, get, post
from portal.api.problems import not_found
from portal.api.values import BOUND, LANE, OIN, Field, whole
from routing.amsterdam import amsterdam_day
from routing.board import LaneLine, Link, Overview, Party, PartyLine, Report
from routing.people import SEE, Permission

_HOUR_US: Final = 3_600_000_000
_LANE: Final = Field(name="lane", kind=LANE, required=True, about="As /lanes names it.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Me:
    """Whose token it is, and what it may do and see."""

    account: str
    roles: tuple[str, ...]
    permissions: tuple[str, ...]
    everything: bool
    organisations: tuple[str, ...]
    systems: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ChainMap:
    """Who sends to whom, most traffic first."""

    links: tuple[Link, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Parties:
    """The systems of which there was traffic this season or last."""

    parties: tuple[PartyLine, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Lanes:
    """Endpoints and mailboxes that are held, or for which something waits."""

    lanes: tuple[LaneLine, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class LaneChanged:
    """An endpoint or mailbox after a change."""

    lane: str
    paused: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Reports:
    """Partners' weeks."""

    monday: date
    reports: tuple[Report, ...]


@get("/me", tag="overview", summary="Whose token this is, and what it may do and see", permission=Permission, answer=Me)
def me(asked: Asked) -> Me:
    """From the store, at this very request."""
    account, scope = asked.visit.account, asked.scope
    return Me(
        account=account.name,
        roles=tuple(sorted(account.roles)),
        permissions=tuple(sorted(account.permissions)),
        everything=scope.everything,
        organisations=tuple(sorted(scope.organisations)),
        systems=tuple(sorted(scope.systems)),
    )


@get("/overview", tag="overview", summary="Whether the chain is healthy", permission=SEE, answer=Overview)
def overview(asked: Asked) -> Overview:
    """The first page."""
    return asked.desk.board.overview(asked.scope, now_us=asked.now_us)


@get(
    "/chain-map",
    tag="overview",
    summary="Who sends to whom, how much, and how much fails",
    permission=SEE,
    answer=ChainMap,
    query=(Field(name="hours", kind=whole(1, 24 * 400), default=24, about="Of the last so many hours."),),
)
def chain_map(asked: Asked) -> ChainMap:
    """At the level of systems."""
    since_us = asked.now_us - asked["hours"] * _HOUR_US
    return ChainMap(links=tuple(asked.desk.board.chain_map(asked.scope, since_us=since_us, now_us=asked.now_us)))


@get("/parties", tag="parties", summary="Systems, and how each does", permission=SEE, answer=Parties)
def parties(asked: Asked) -> Parties:
    """By OIN."""
    return Parties(parties=tuple(asked.desk.board.parties(asked.scope, now_us=asked.now_us)))


@get(
    "/parties/{oin}",
    tag="parties",
    summary="One system or organisation",
    permission=SEE,
    answer=Party,
    place=(Field(name="oin", kind=OIN, required=True, about="Of a system or an organisation."),),
)
def party(asked: Asked) -> Party:
    """Opened."""
    opened: Party = found(asked.desk.board.party(asked.scope, asked["oin"], now_us=asked.now_us))
    return opened


@get("/lanes", tag="parties", summary="Endpoints and mailboxes that are held, or for which something waits", permission=SEE, answer=Lanes)
def lanes(asked: Asked) -> Lanes:
    """Those of the scope."""
    return Lanes(lanes=tuple(asked.desk.board.lanes(asked.scope, now_us=asked.now_us)))


@post(
    "/lanes/pause",
    tag="parties",
    summary="Nothing leaves for it any more, in order, until it is resumed",
    permission=Permission.ACT_TECHNICAL,
    answer=LaneChanged,
    body=(_LANE,),
)
def pause_lane(asked: Asked) -> LaneChanged:
    """Held by hand."""
    lane = _known(asked)
    asked.desk.lanes.hold(lane, who=asked.who, now_us=asked.now_us)
    return LaneChanged(lane=lane, paused=True)


@post(
    "/lanes/resume",
    tag="parties",
    summary="Let it flow again, whoever paused it",
    permission=Permission.ACT_TECHNICAL,
    answer=LaneChanged,
    body=(_LANE,),
)
def resume_lane(asked: Asked) -> LaneChanged:
    """Whether or not it was held."""
    lane = _known(asked)
    asked.desk.lanes.let_go(lane, who=asked.who, now_us=asked.now_us)
    return LaneChanged(lane=lane, paused=False)


def _known(asked: Asked) -> str:
    """The lane, when it is on record or in the register, and the scope sees its system."""
    lane: str = asked["lane"]
    system = lane.split(" ")[1]
    if not (asked.scope.everything or system in asked.scope.systems):
        raise not_found()
    if lane not in {row.lane for row in asked.desk.board.lanes(asked.scope, now_us=asked.now_us)} | {
        place.lane for place in asked.desk.register().parts.lanes()
    }:
        raise not_found()
    return lane


@get(
    "/reports",
    tag="reports",
    summary="A week of each partner: numbers per code, how long things took, what is open; without personal data",
    permission=SEE,
    answer=Reports,
    query=(
        Field(name="week", kind=BOUND, about="Any day of the week. Left out: the last whole week."),
        Field(name="system", kind=OIN, about="Of one system."),
    ),
)
def reports(asked: Asked) -> Reports:
    """Of one system, or of all in the scope."""
    today = amsterdam_day(datetime.fromtimestamp(asked.now_us / 1e6, UTC))
    day = asked["week"] or today - timedelta(days=7)
    monday = day - timedelta(days=day.weekday())
    found_ = asked.desk.board.reports(asked.scope, monday=monday, now_us=asked.now_us, system=asked["system"])
    return Reports(monday=monday, reports=tuple(found_))


CALLS: Final = (me, overview, chain_map, parties, party, lanes, pause_lane, resume_lane, reports)
