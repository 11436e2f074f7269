"""What passed of each organisation, by hour and pair of systems: the hourly chart and the map of those who see their own traffic only.

Whoever sees systems, or everything, is answered from `traffic`, which says nothing of organisations. The hours of more than eight days ago
are added up by school year, some organisations at a time: a season's row has minus the year, in which it began, for its hour.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime
from typing import Any, Final

from sqlalchemy import Connection

from adapters.store.board_where import ask
from adapters.store.sql import Sql
from routing.amsterdam import start_of_day
from routing.board import Flow
from routing.people import Scope

COUNTS: Final = ("handed_in", "refused", "delivered", "failed")
_KEY: Final = ("hour", "organisation", "side", "dienst", "system", "receiver_system")
_HOUR_S: Final = 3_600
#: Hours for which rows are looked up one by one: those that are kept, and those that wait a little to be added up.
_HOURS: Final = 240
#: Organisations of an hour that are added up in one transaction.
FOLD: Final = 500

_ADD: Final = (
    f"INSERT INTO traffic_own ({', '.join((*_KEY, *COUNTS))}) {{}} ON CONFLICT ({', '.join(_KEY)}) DO UPDATE SET "
    f"{', '.join(f'{name} = traffic_own.{name} + excluded.{name}' for name in COUNTS)}"
)
_ADDS: Final = tuple(_ADD.format(f"VALUES ({', '.join([mark] * (len(_KEY) + len(COUNTS)))})") for mark in ("?", "%s"))
_OLDEST: Final = Sql("SELECT min(hour) FROM traffic_own WHERE hour > 0 AND hour < :until")
_SOME: Final = Sql("SELECT DISTINCT organisation FROM traffic_own WHERE hour = :hour ORDER BY organisation LIMIT :limit")
_FOLD: Final = Sql(
    _ADD.format(f"SELECT :season, {', '.join((*_KEY[1:], *COUNTS))} FROM traffic_own WHERE hour = :hour AND organisation <= :last")
)
_FOLDED: Final = Sql("DELETE FROM traffic_own WHERE hour = :hour AND organisation <= :last")


class Own:
    """What some events add up to."""

    def __init__(self) -> None:
        self._sums: dict[tuple[Any, ...], list[int]] = {}

    def add(self, hour: int, organisation: str, side: str, dienst: str, system: str, receiver_system: str, place: int) -> None:
        """`place`: which of COUNTS. `side`: `from` the organisation, or `to` it."""
        counts = self._sums.setdefault((hour, organisation, side, dienst, system, receiver_system), [0] * len(COUNTS))
        counts[place] += 1

    def write(self, tx: Connection) -> None:
        """Adds them to what is there, in the order of the keys."""
        if self._sums:
            rows = [(*key, *self._sums[key]) for key in sorted(self._sums)]
            tx.exec_driver_sql(_ADDS[0 if tx.dialect.name == "sqlite" else 1], rows)


def fold(tx: Connection, until: int) -> bool:
    """Adds up, by school year, a part of the oldest hour before this one; False when there is none."""
    hour = _OLDEST(tx, until=until).scalar()
    if hour is None:
        return False
    last = _SOME(tx, hour=hour, limit=FOLD).scalars().all()[-1]
    _FOLD(tx, season=-_year(hour), hour=hour, last=last)
    _FOLDED(tx, hour=hour, last=last)
    return True


def _year(hour: int) -> int:
    """In which the school year of an hour began."""
    year = datetime.fromtimestamp(hour * _HOUR_S, UTC).year
    return year if hour >= _august(year) else year - 1


def _august(year: int) -> int:
    """The hour in which the school year begins."""
    return int(start_of_day(date(year, 8, 1)).timestamp()) // _HOUR_S


def hours_of(connection: Connection, scope: Scope, first: int, last: int) -> Iterator[tuple[str, int, Flow]]:
    """Dienst, hour, and what passed of the scope's organisations, from the first hour to the last; without what its systems show."""
    rows = _rows(connection, scope, list(range(first, last + 1)), "hour")
    return ((row.dienst, row.hour, Flow(**{name: int(getattr(row, name)) for name in COUNTS})) for row in rows)


def links_of(connection: Connection, scope: Scope, since: int, now: int) -> list[Any]:
    """Dienst, system, receiver_system, delivered and failed of the scope's organisations since this hour; without what its systems show."""
    years = [-year for year in range(_year(since), _year(now) + 1) if _august(year) >= since]
    return _rows(connection, scope, [*years, *range(max(since, now - _HOURS), now + 1)], "system, receiver_system")


def _rows(connection: Connection, scope: Scope, hours: list[int], by: str) -> list[Any]:
    if scope.everything or not scope.organisations:
        return []
    mine = "AND NOT (system IN @systems) AND NOT (receiver_system IN @systems)" if scope.systems else ""
    values = {"hours": hours, "organisations": sorted(scope.organisations)} | ({"systems": sorted(scope.systems)} if mine else {})
    sums = ", ".join(f"sum({name}) AS {name}" for name in COUNTS)
    # both in lists, so that each row is looked up by its place in the key, and nobody else's is read
    sql = (
        f"SELECT dienst, {by}, {sums} FROM traffic_own WHERE hour IN @hours AND organisation IN @organisations {mine} GROUP BY dienst, {by}"
    )
    return list(ask(connection, sql, values))
