"""Systems and organisations: how they do, and what a partner's week came to."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from typing import Any, Final

from sqlalchemy import Connection

from adapters.store.board_groups import FALLOUT_SIDES, groups_of
from adapters.store.board_overview import SEASON_SIDES, flow_of, lane_lines
from adapters.store.board_standing import counts_of
from adapters.store.board_traffic import FLOW, TRAFFIC_SIDES, day_number, hour_of, season_of
from adapters.store.board_where import Where, ask, of_scope, only, reading
from adapters.store.database import Database
from routing.amsterdam import amsterdam_day, end_of_day, start_of_day
from routing.board import BoardError, Flow, OrganisationLine, Party, PartyLine, Report, ReportLine
from routing.people import Scope
from schemas.oin import Oin, brin_of

_MOST_SYSTEMS: Final = 500
_MOST_ORGANISATIONS: Final = 500
_MOST_GROUPS: Final = 50
_HOURS: Final = 48
_WEEK_HOURS: Final = 168
_SUMS: Final = ", ".join(f"sum({name}) AS {name}" for name in FLOW)


class BoardParties:
    """Questions about parties."""

    def __init__(self, database: Database) -> None:
        self._db = database

    def parties(self, scope: Scope, *, now_us: int) -> list[PartyLine]:
        """See routing.board."""
        with reading(self._db) as connection:
            return _lines(connection, scope, now_us)[:_MOST_SYSTEMS]

    def party(self, scope: Scope, oin: str, *, now_us: int) -> Party | None:
        """See routing.board."""
        with reading(self._db) as connection:
            rows = _seasons(connection, scope, oin, now_us)
            if not rows:
                return None
            systems = {row.system for row in rows} if any(row.organisation == oin for row in rows) else {oin}
            lines = [line for line in _lines(connection, scope, now_us, sorted(systems)) if line.system in systems]
            hours = _hours(connection, scope, oin, now_us)
            groups = groups_of(connection, scope, oin, now_us, most=_MOST_GROUPS)
        organisations = _organisations(rows, season_of(_day(now_us)))
        return Party(oin=oin, lines=tuple(lines), organisations=organisations, hours=hours, groups=groups)

    def last_received(self, scope: Scope, system: str, *, now_us: int) -> dict[tuple[str, str], int]:
        """See routing.board."""
        with self._db.read() as connection:
            rows = [row for row in _seasons(connection, scope, system, now_us) if row.system == system and row.side == "to"]
        found: dict[tuple[str, str], int] = {}
        for row in rows:
            found[row.organisation, row.dienst] = max(row.last_us, found.get((row.organisation, row.dienst), 0))
        return found

    def partners(self, scope: Scope, *, monday: date) -> list[str]:
        """See routing.board."""
        first, until = _week(monday)
        where = of_scope(scope, columns=TRAFFIC_SIDES)
        values = {**where.values, "first": first, "until": until}
        with reading(self._db) as connection:
            if scope.organisations and not scope.everything:
                ours = of_scope(scope, columns=SEASON_SIDES)
                sql = f"SELECT DISTINCT system FROM traffic_party WHERE day >= :monday AND day < :monday + 7 AND {ours.sql}"
                return sorted(filter(None, ask(connection, sql, {**ours.values, "monday": day_number(monday)}).scalars()))
            sql = f"SELECT DISTINCT system, receiver_system FROM traffic WHERE hour >= :first AND hour < :until AND {where.sql}"
            found = {party for row in ask(connection, sql, values) for party in row} - {""}
        return sorted(found if scope.everything else found & scope.systems)

    def reports(self, scope: Scope, *, monday: date, now_us: int, system: str | None = None) -> list[Report]:
        """See routing.board."""
        hours = _week(monday)
        wanted = [one for one in self.partners(scope, monday=monday) if system in (None, one)]
        with reading(self._db) as connection:
            return _reports(connection, scope, wanted, monday, hours) if wanted else []


def _week(monday: date) -> tuple[int, int]:
    """The hours of the week that begins then."""
    if monday.weekday():
        raise BoardError("A week begins on a Monday: give the day of one.", "Een week begint op maandag: geef de dag van een maandag.")
    first, until = start_of_day(monday), end_of_day(monday + timedelta(days=6))
    return hour_of(_us(first)), hour_of(_us(until))


def _reports(connection: Connection, scope: Scope, wanted: list[str], monday: date, hours: tuple[int, int]) -> list[Report]:
    """Of these systems, in this order; all that is counted is counted of all of them at once."""
    values = {"wanted": wanted, "first": hours[0], "until": hours[1], "monday": day_number(monday)}
    flows = {side: _week_flows(connection, scope, side, values) for side in ("from", "to")}
    fell = {column: _fell(connection, scope, column, values) for column in ("system", "receiver_system")}
    table, where = counts_of(connection, scope)
    columns = "fallen, code, owner, dienst, system, receiver_system"
    sql = (
        f"SELECT {columns}, sum(n) AS n, min(first_us) AS oldest_us FROM {table} "
        f"WHERE (system IN @wanted OR receiver_system IN @wanted) AND {where.sql} GROUP BY {columns}"
    )
    there: dict[str, list[Any]] = {}
    for row in ask(connection, sql, {**where.values, "wanted": wanted}):
        for system in filter(None, {row.system, row.receiver_system} if row.system else ()):
            there.setdefault(system, []).append(row)
    return [
        _report(
            system,
            monday,
            {side: found.get(system, {}) for side, found in flows.items()},
            {column: found.get(system, []) for column, found in fell.items()},
            there.get(system, []),
        )
        for system in wanted
    ]


def _fell(connection: Connection, scope: Scope, column: str, values: Mapping[str, Any]) -> dict[str, list[Any]]:
    """What fell out in the week, by code, of what the systems of this column handed in or were to receive."""
    where = of_scope(scope, columns=FALLOUT_SIDES)
    sql = (
        f"SELECT {column} AS party, code, owner, dienst, sum(n) AS fallen, count(DISTINCT school) AS schools FROM fallout "
        f"WHERE {column} IN @wanted AND hour >= :first AND hour < :until AND {where.sql} "
        f"GROUP BY {column}, code, owner, dienst ORDER BY 5 DESC, 2"
    )
    found: dict[str, list[Any]] = {}
    for row in ask(connection, sql, only(sql, {**where.values, **values})):
        found.setdefault(row.party, []).append(row)
    return found


def _week_flows(connection: Connection, scope: Scope, side: str, values: Mapping[str, Any]) -> dict[str, dict[str, Flow]]:
    """What passed in the week, by system and dienst: `from` the systems, or `to` them."""
    if scope.organisations and not scope.everything:
        ours = of_scope(Scope(organisations=scope.organisations), columns=SEASON_SIDES)
        column, days = "system", f"side = '{side}' AND day >= :monday AND day < :monday + 7 AND {ours.sql}"
        table = "traffic_party"
    else:
        ours, table = Where("TRUE"), "traffic"
        column, days = {"from": "system", "to": "receiver_system"}[side], "hour >= :first AND hour < :until"
    sql = f"SELECT {column} AS party, dienst, {_SUMS} FROM {table} WHERE {column} IN @wanted AND {days} GROUP BY {column}, dienst"
    found: dict[str, dict[str, Flow]] = {}
    for row in ask(connection, sql, only(sql, {**ours.values, **values})):
        found.setdefault(row.party, {})[row.dienst] = flow_of(row._mapping)
    return found


def _report(system: str, monday: date, flows: Mapping[str, dict[str, Flow]], fell: Mapping[str, list[Any]], there: list[Any]) -> Report:
    """`there`: what is on the board, that it sent or is to receive."""
    return Report(
        system=system,
        monday=monday,
        flows=flows["from"],
        received=flows["to"],
        codes=_codes(fell["system"], [row for row in there if row.fallen and row.system == system]),
        received_codes=_codes(fell["receiver_system"], [row for row in there if row.fallen and row.receiver_system == system]),
        waiting=sum(int(row.n) for row in there if not row.fallen),
        fallen=sum(int(row.n) for row in there if row.fallen),
        oldest_us=min((row.oldest_us for row in there if not row.fallen), default=None),
    )


def _codes(fell: list[Any], there: list[Any]) -> tuple[ReportLine, ...]:
    """`there`: what of it is on the board."""
    still: Counter[tuple[str, ...]] = Counter()
    for row in there:
        still[row.code, row.owner, row.dienst] += int(row.n)
    return tuple(
        ReportLine(
            code=row.code,
            owner=row.owner,
            dienst=row.dienst,
            fallen=int(row.fallen),
            schools=row.schools,
            still_open=still[row.code, row.owner, row.dienst],
        )
        for row in fell
    )


def _lines(connection: Connection, scope: Scope, now_us: int, systems: list[str] | None = None) -> list[PartyLine]:
    """Systems of which the scope sees something."""
    found: dict[str, dict[str, Any]] = {}
    where = of_scope(scope, columns=SEASON_SIDES)
    sql = (
        "SELECT system, side, count(DISTINCT organisation) AS organisations, max(last_us) AS last_us FROM season "
        f"WHERE year >= :year AND {where.sql} GROUP BY system, side"
    )
    for row in ask(connection, sql, {**where.values, "year": season_of(_day(now_us)) - 1}):
        one = found.setdefault(row.system, {})
        one["organisations"] = max(one.get("organisations", 0), row.organisations)
        one["sent_us" if row.side == "from" else "heard_us"] = row.last_us
    _add_week(connection, scope, found, now_us)
    _add_items(connection, scope, found)
    lanes = lane_lines(connection, scope, now_us, systems)
    return [
        PartyLine(**(_NOTHING | one), system=system, lanes=tuple(line for line in lanes if line.system == system))
        for system, one in sorted(found.items())
        if system and (systems is None or system in systems)
    ]


#: A system of which nothing is known.
_NOTHING: Final[dict[str, Any]] = {
    **dict.fromkeys(("organisations", "handed_in", "delivered", "waiting", "fallen", "fallen_to"), 0),
    **dict.fromkeys(("sent_us", "heard_us", "oldest_us")),
}


def _add_week(connection: Connection, scope: Scope, found: dict[str, dict[str, Any]], now_us: int) -> None:
    """What passed in seven days."""
    if scope.organisations and not scope.everything:
        where = of_scope(Scope(organisations=scope.organisations), columns=SEASON_SIDES)
        day = day_number(_day(now_us)) - 7
        for side, name in (("from", "handed_in"), ("to", "delivered")):
            sql = f"SELECT system, sum({name}) AS n FROM traffic_party WHERE side = '{side}' AND day > :day AND {where.sql} GROUP BY system"
            for row in ask(connection, sql, {**where.values, "day": day}):
                found.setdefault(row.system, {})[name] = int(row.n)
        return
    where = of_scope(scope, columns=TRAFFIC_SIDES)
    sql = (
        "SELECT system, receiver_system, sum(handed_in) AS handed_in, sum(delivered) AS delivered FROM traffic "
        f"WHERE hour > :hour AND {where.sql} GROUP BY system, receiver_system"
    )
    for row in ask(connection, sql, {**where.values, "hour": hour_of(now_us) - _WEEK_HOURS}):
        for party, name in ((row.system, "handed_in"), (row.receiver_system, "delivered")):
            if scope.everything or party in scope.systems:
                one = found.setdefault(party, {})
                one[name] = one.get(name, 0) + int(row._mapping[name])


def _add_items(connection: Connection, scope: Scope, found: dict[str, dict[str, Any]]) -> None:
    """What is on the board."""
    table, where = counts_of(connection, scope)
    columns = "system, receiver_system, fallen"
    sql = f"SELECT {columns}, sum(n) AS n, min(first_us) AS oldest_us FROM {table} WHERE {where.sql} GROUP BY {columns}"

    def add(system: str, name: str, row: Any) -> None:
        if not system or (not scope.everything and not scope.organisations and system not in scope.systems):
            return
        one = found.setdefault(system, {})
        one[name] = one.get(name, 0) + int(row.n)
        if name == "waiting":
            one["oldest_us"] = min(one.get("oldest_us") or row.oldest_us, row.oldest_us)

    for row in ask(connection, sql, where.values):
        if row.fallen:
            add(row.system, "fallen", row)
            add(row.receiver_system, "fallen_to", row)
        else:
            add(row.receiver_system, "waiting", row)


def _seasons(connection: Connection, scope: Scope, oin: str, now_us: int) -> list[Any]:
    """What is known of this season and the last, of a system or an organisation."""
    where = of_scope(scope, columns=SEASON_SIDES)
    values = {**where.values, "oin": oin, "year": season_of(_day(now_us)) - 1}
    columns = "year, dienst, bericht, side, organisation, system, n, last_us"
    sql = " UNION ".join(
        f"SELECT {columns} FROM season WHERE {column} = :oin AND year >= :year AND {where.sql}" for column in ("organisation", "system")
    )
    return list(ask(connection, sql, values))


def _organisations(rows: list[Any], year: int) -> tuple[OrganisationLine, ...]:
    found: dict[tuple[str, ...], dict[str, int]] = {}
    for row in rows:
        one = found.setdefault(
            (row.organisation, row.system, row.side, row.dienst, row.bericht), {"season": 0, "last_season": 0, "last_us": 0}
        )
        one["season" if row.year == year else "last_season"] += row.n
        one["last_us"] = max(one["last_us"], row.last_us)
    lines = [
        OrganisationLine(organisation=oin, brin=brin_of(oin), system=system, side=side, dienst=dienst, bericht=bericht, **one)
        for (oin, system, side, dienst, bericht), one in found.items()
    ]
    return tuple(sorted(lines, key=lambda line: (-line.last_us, line.organisation, line.system, line.bericht))[:_MOST_ORGANISATIONS])


def _hours(connection: Connection, scope: Scope, oin: str, now_us: int) -> tuple[Flow, ...]:
    """Of a system that is in the scope itself: what it handed in, and what it was to receive."""
    if not scope.everything and Oin(oin) not in scope.systems:
        return ()
    last = hour_of(now_us)
    sql = f"SELECT hour, {_SUMS} FROM traffic WHERE hour > :hour AND (system = :oin OR receiver_system = :oin) GROUP BY hour"
    rows = {row.hour: flow_of(row._mapping) for row in ask(connection, sql, {"oin": oin, "hour": last - _HOURS})}
    return tuple(rows.get(hour, Flow()) for hour in range(last - _HOURS + 1, last + 1)) if rows else ()


def _day(now_us: int) -> date:
    return amsterdam_day(datetime.fromtimestamp(now_us / 1e6, UTC))


def _us(moment: datetime) -> int:
    return round(moment.timestamp() * 1e6)
