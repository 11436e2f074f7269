"""The overview: what passes, what waits, which endpoints stand still, and how the law's dates stand."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields
from datetime import UTC, date, datetime
from typing import Any, Final

from sqlalchemy import Connection

from adapters.store.board_own import hours_of, links_of
from adapters.store.board_standing import counts_of
from adapters.store.board_traffic import FLOW, HOUR_US, TRAFFIC_SIDES, day_number, first_hour, hour_of, season_of
from adapters.store.board_where import Where, ask, of_scope, only, reading
from adapters.store.database import Database
from adapters.store.sql import Sql
from routing.amsterdam import amsterdam_day
from routing.board import FEW, LEGAL_DATES, CalendarLine, DienstLine, Flow, Freshness, LaneLine, LegalDate, Link, Overview, Silent
from routing.people import Scope
from routing.release import Circuit, CircuitState, as_of, is_mailbox

_PLACES: Final = Sql(
    "SELECT c.name, c.value FROM counter c WHERE c.name LIKE 'board%' UNION ALL SELECT 'newest', COALESCE(max(seq), 0) FROM journal "
    "UNION ALL SELECT 'message', COALESCE(max(seq), 0) FROM message UNION ALL SELECT 'delivery', COALESCE(max(seq), 0) FROM delivery"
)
_SEEN_TO: Final = Sql("SELECT at_us FROM journal WHERE seq = :seq")
_LANES: Final = Sql("SELECT lane, state, failures, probes, probe_at_us, code, at_us, who FROM lane WHERE state <> 'closed' ORDER BY lane")
#: Numbers the board may be behind the store without being said to be filled: some seconds of a busy day.
_BEHIND: Final = 100_000
#: A mailbox in which something stands for longer is not emptied.
UNREAD_US: Final = HOUR_US
_MOST_LANES: Final = 50
_MOST_SILENT: Final = 200
_MOST_LINKS: Final = 500
_SUMS: Final = ", ".join(f"sum({name}) AS {name}" for name in FLOW)
SEASON_SIDES: Final = {"organisation": "organisations", "system": "systems"}


class BoardOverview:
    """Questions about the whole."""

    def __init__(self, database: Database) -> None:
        self._db = database

    def fresh(self, *, now_us: int) -> Freshness:
        """See routing.board."""
        with reading(self._db) as connection:
            return fresh(connection, now_us)

    def overview(self, scope: Scope, *, now_us: int) -> Overview:
        """See routing.board."""
        with reading(self._db) as connection:
            standing = _standing(connection, scope)
            owners: dict[str, int] = {}
            for row in standing:
                if row.fallen:
                    owners[row.owner] = owners.get(row.owner, 0) + int(row.n)
            lanes = lane_lines(connection, scope, now_us)
            unread = [line for line in lanes if is_mailbox(line.lane) and line.oldest_us and line.oldest_us < now_us - UNREAD_US]
            return Overview(
                fresh=fresh(connection, now_us),
                diensten=_diensten(connection, scope, standing, now_us),
                lanes=tuple([line for line in lanes if line.state != "closed"][:_MOST_LANES]),
                unread=tuple(unread[:_MOST_LANES]),
                calendar=tuple(_line(connection, scope, law, now_us) for law in LEGAL_DATES),
                owners=dict(sorted(owners.items(), key=lambda pair: -pair[1])),
            )

    def chain_map(self, scope: Scope, *, since_us: int, now_us: int) -> list[Link]:
        """See routing.board."""
        links: dict[tuple[str, str, str], dict[str, int]] = {}
        where = of_scope(scope, columns=TRAFFIC_SIDES) if not scope.organisations else Where("FALSE")
        if scope.organisations:  # of those `links_of` knows who sends to whom
            where = of_scope(Scope(systems=scope.systems, everything=scope.everything), columns=TRAFFIC_SIDES)
        with reading(self._db) as connection:
            year, hour = season_of(amsterdam_day(_moment(now_us))), hour_of(since_us)
            table, span = ("traffic_year", "year = :year") if hour <= first_hour(year) else ("traffic", "hour >= :hour")
            sql = (
                f"SELECT dienst, system, receiver_system, sum(delivered) AS delivered, sum(failed) AS failed FROM {table} "
                f"WHERE {span} AND {where.sql} GROUP BY dienst, system, receiver_system"
            )
            passed = ask(connection, sql, only(sql, {**where.values, "hour": hour, "year": year}))
            for row in passed:
                if row.delivered or row.failed:
                    links.setdefault((row.dienst, row.system, row.receiver_system), {}).update(delivered=row.delivered, failed=row.failed)
            for row in links_of(connection, scope, hour_of(since_us), hour_of(now_us)):
                if row.delivered or row.failed:
                    links.setdefault((row.dienst, row.system, row.receiver_system), {}).update(delivered=row.delivered, failed=row.failed)
            table, ours = counts_of(connection, scope)
            there = ask(
                connection,
                f"SELECT dienst, system, receiver_system, fallen, sum(n) AS n FROM {table} "
                f"WHERE {ours.sql} GROUP BY dienst, system, receiver_system, fallen",
                ours.values,
            )
            for row in there:
                link = links.setdefault((row.dienst, row.system, row.receiver_system), {})
                link["fallen" if row.fallen else "waiting"] = row.n
        made = [
            Link(
                dienst=dienst,
                system=system,
                receiver_system=to,
                **{name: int(found.get(name, 0)) for name in ("delivered", "failed", "waiting", "fallen")},
            )
            for (dienst, system, to), found in links.items()
        ]
        made.sort(key=lambda link: (-(link.delivered + link.failed + link.waiting + link.fallen), link.dienst, link.system))
        return made[:_MOST_LINKS]

    def lanes(self, scope: Scope, *, now_us: int) -> list[LaneLine]:
        """See routing.board."""
        with reading(self._db) as connection:
            return lane_lines(connection, scope, now_us)


def fresh(connection: Connection, now_us: int) -> Freshness:
    """How far the board is."""
    places = {row.name: int(row.value) for row in _PLACES(connection)}
    behind = max(0, places["newest"] - places["board"])
    at_us = int(_SEEN_TO(connection, seq=places["board"]).scalar() or 0) if behind else now_us
    left = [places[name] - places[f"board_{name}"] for name in ("message", "delivery")]
    filling = not places["board_refusal_us"] or max(left) > _BEHIND or places["newest"] - places["board_count"] > _BEHIND // 100
    return Freshness(at_us=at_us, behind=behind, filling=filling)


def _standing(connection: Connection, scope: Scope) -> list[Any]:
    """What is on the board, by dienst, view and owner."""
    table, where = counts_of(connection, scope)
    sql = (
        f"SELECT dienst, fallen, owner, sum(n) AS n, min(first_us) AS oldest_us FROM {table} "
        f"WHERE {where.sql} GROUP BY dienst, fallen, owner"
    )
    return list(ask(connection, sql, where.values))


def flow_of(row: Mapping[Any, Any]) -> Flow:
    """The sums of a row."""
    return Flow(**{name: int(row[name] or 0) for name in FLOW})


def plus(flows: Iterable[Flow]) -> Flow:
    """All together."""
    listed = list(flows)
    return Flow(**{f.name: sum(getattr(flow, f.name) for flow in listed) for f in fields(Flow)})


def _diensten(connection: Connection, scope: Scope, standing: list[Any], now_us: int) -> tuple[DienstLine, ...]:
    hour = hour_of(now_us)
    today = amsterdam_day(_moment(now_us))
    august = date(season_of(today), 8, 1)
    hours: dict[str, dict[int, Flow]] = {}
    season: dict[str, list[Flow]] = {}
    if scope.everything or scope.systems:
        where = of_scope(scope, columns=TRAFFIC_SIDES)
        sql = f"SELECT dienst, hour, {_SUMS} FROM traffic WHERE hour > :hour AND {where.sql} GROUP BY dienst, hour"
        for row in ask(connection, sql, {**where.values, "hour": hour - 24}):
            hours.setdefault(row.dienst, {})[row.hour] = flow_of(row._mapping)
        sql = f"SELECT dienst, {_SUMS} FROM traffic_year WHERE year = :year AND {where.sql} GROUP BY dienst"
        for row in ask(connection, sql, {**where.values, "year": august.year}):
            season.setdefault(row.dienst, []).append(flow_of(row._mapping))
    if not scope.everything and scope.organisations:
        not_twice = "AND NOT (system IN @mine)" if scope.systems else ""
        values = {"organisations": sorted(scope.organisations), "mine": sorted(scope.systems)}
        sql = f"SELECT dienst, {_SUMS} FROM traffic_party WHERE organisation IN @organisations AND day >= :day {not_twice} GROUP BY dienst"
        given = {**values, "day": day_number(august)}
        if not scope.systems:
            del given["mine"]
        for row in ask(connection, sql, given):
            season.setdefault(row.dienst, []).append(flow_of(row._mapping))
        for dienst, at, flow in hours_of(connection, scope, hour - 23, hour):
            passed = hours.setdefault(dienst, {})
            passed[at] = plus([flow, passed.get(at, Flow())])
    names = sorted({*hours, *season, *(row.dienst for row in standing)})
    lines = []
    for name in names:
        passed = hours.get(name, {})
        there = [row for row in standing if row.dienst == name]
        lines.append(
            DienstLine(
                dienst=name,
                hour=plus(flow for at, flow in passed.items() if at >= hour - 1),
                day=plus(passed.values()),
                season=plus(season.get(name, ())),
                waiting=sum(int(row.n) for row in there if not row.fallen),
                fallen=sum(int(row.n) for row in there if row.fallen),
                oldest_us=min((row.oldest_us for row in there if not row.fallen), default=None),
                hours=tuple(passed.get(at, Flow()) for at in range(hour - 23, hour + 1)) if passed else (),
            )
        )
    return tuple(lines)


def _waiting(connection: Connection, scope: Scope, systems: Sequence[str] | None) -> dict[str, tuple[int, int]]:
    """By lane: how much waits for it, and since when the oldest of that is with us."""
    table, where = counts_of(connection, scope)
    if systems is not None:
        where &= Where("receiver_system IN @waiting_for", {"waiting_for": list(systems)})
    sql = (
        f"SELECT lane, sum(n) AS n, min(first_us) AS oldest_us FROM {table} "
        f"WHERE lane <> '' AND fallen = FALSE AND {where.sql} GROUP BY lane"
    )
    return {row.lane: (int(row.n), row.oldest_us) for row in ask(connection, sql, where.values)}


def lane_lines(connection: Connection, scope: Scope, now_us: int, systems: Sequence[str] | None = None) -> list[LaneLine]:
    """Lanes that are held, or for which something waits; those that waited longest first. A party sees those for which something of its
    own waits, and those of its own systems. `systems`: whoever asks looks at no lanes but theirs."""
    waiting = _waiting(connection, scope, systems)
    held = {row.lane: row for row in _LANES(connection).all()}
    now, lines = _moment(now_us), []
    for lane in sorted({*waiting, *held}):
        system = lane.split(" ")[1] if " " in lane else ""
        if lane not in waiting and not scope.everything and system not in scope.systems:
            continue
        row, there = held.get(lane), waiting.get(lane)
        state, by_hand = "closed", False
        if row is not None:
            probe_at = None if row.probe_at_us is None else _moment(row.probe_at_us)
            circuit = Circuit(state=CircuitState(row.state), failures=row.failures, probes=row.probes, probe_at=probe_at)
            state, by_hand = str(as_of(circuit, now).state), row.probe_at_us is None and row.state == "held"
        lines.append(
            LaneLine(
                lane=lane,
                system=system,
                state=state,
                by=row.who if row is not None and by_hand and scope.everything else None,
                by_hand=by_hand,
                code=row.code if row is not None else None,
                since_us=row.at_us if row is not None else None,
                probe_at_us=row.probe_at_us if row is not None else None,
                waiting=there[0] if there else 0,
                oldest_us=there[1] if there else None,
            )
        )
    return sorted(lines, key=lambda line: (line.oldest_us is None, line.oldest_us or 0, line.lane))


def _line(connection: Connection, scope: Scope, law: LegalDate, now_us: int) -> CalendarLine:
    today = amsterdam_day(_moment(now_us))
    year = season_of(today)
    day, watch = (date(year + (month < 8), month, number) for month, number in ((law.month, law.day), (law.watch_month, law.watch_day)))
    where = of_scope(scope, columns=SEASON_SIDES)
    sql = (
        "SELECT year, organisation, system, n, last_us FROM season "
        f"WHERE year >= :last AND year <= :year AND dienst = :dienst AND bericht = :bericht AND side = 'from' AND {where.sql}"
    )
    sent: tuple[dict[str, list[Any]], dict[str, list[Any]]] = ({}, {})
    for row in ask(connection, sql, {**where.values, "year": year, "last": year - 1, "dienst": law.dienst, "bericht": law.bericht}):
        sent[year - row.year].setdefault(row.organisation, []).append(row)
    now, before = sent
    silent = [] if today < watch or law.at_receivers else list(_silent(now, before))
    late = _late(connection, scope, law, day.year) if law.at_receivers else 0
    return CalendarLine(
        law=law,
        day=day,
        days_left=(day - today).days,
        handed_in=sum(row.n for rows in now.values() for row in rows),
        last_season=sum(row.n for rows in before.values() for row in rows),
        late=late,
        schools=len(now),
        silent=tuple(silent[:_MOST_SILENT]),
        silent_count=len(silent),
    )


def _late(connection: Connection, scope: Scope, law: LegalDate, year: int) -> int:
    """Dated up to and including the law's day in this year, and still on the board; refusals were not handed in."""
    table, where = counts_of(connection, scope)
    sql = (
        f"SELECT COALESCE(sum(n), 0) FROM {table} WHERE bericht = :bericht AND law_year BETWEEN 1 AND :law_year "
        f"AND state <> 'refused' AND {where.sql}"
    )
    return int(ask(connection, sql, {**where.values, "bericht": law.bericht, "law_year": year}).scalar_one())


def _silent(now: Mapping[str, list[Any]], before: Mapping[str, list[Any]]) -> list[Silent]:
    """Schools that sent nothing, or few; those that sent most last season first."""
    found = []
    for school, rows in before.items():
        these, much = now.get(school, []), sum(row.n for row in rows)
        sent = sum(row.n for row in these)
        if sent < much * FEW:
            newest = max(these or rows, key=lambda row: row.last_us)
            found.append(Silent(school=school, system=newest.system, now=sent, last_season=much, last_us=newest.last_us))
    return sorted(found, key=lambda one: (-one.last_season, one.school))


def _moment(at_us: int) -> datetime:
    return datetime.fromtimestamp(at_us / 1e6, UTC)


def _us(moment: datetime) -> int:
    return round(moment.timestamp() * 1e6)
