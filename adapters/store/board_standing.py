"""How many items there are of each sort, and since when: what pages ask of all of them at once.

A sort is what `KEY` names. The table `standing` has a row for each sort of which there is an item, some thousands of them where there are
some hundred thousand items. It is written in the transactions that change items, and made anew out of them whenever somebody else takes the
keeper's lease. Who sees an organisation's part reads that part's items: there are few, and a sort does not tell whose they are.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import date
from functools import lru_cache
from typing import Any, Final

from sqlalchemy import Connection

from adapters.store.board_traffic import TRAFFIC_SIDES, day_number
from adapters.store.board_where import Where, ask, by, conditions, mine, of_filter, of_scope
from adapters.store.sql import Sql
from routing.board import LEGAL_DATES, ItemFilter
from routing.people import Scope

_TEXTS: Final = ("dienst", "bericht", "system", "receiver_system", "lane", "state", "code", "owner")
#: What makes a sort; "" where an item names none.
KEY: Final = (*_TEXTS, "fallen", "law_year")
#: Years of which a date of the law is told apart from that of the next.
_YEARS: Final = range(2024, 2050)
_NEVER: Final = 2**62


#: Kind of message -> the days, one in each of the years, by which it is to be at its receivers.
_DAYS: Final = {
    law.bericht: tuple(day_number(date(year, law.month, law.day)) for year in _YEARS) for law in LEGAL_DATES if law.at_receivers
}


def law_year(bericht: str | None, law_day: int | None) -> int:
    """The year of the law's date by which it is to be at its receivers, going by the day that it names; 0: there is no such date for it."""
    days = _DAYS.get(bericht or "")
    if days is None or law_day is None:
        return 0
    return next((year for year, day in zip(_YEARS, days, strict=True) if law_day <= day), _YEARS[-1])


def _law_year_sql() -> str:
    """The same, of a row of `item`."""
    kinds = []
    for bericht, days in _DAYS.items():
        years = " ".join(f"WHEN law_day <= {day} THEN {year}" for year, day in zip(_YEARS, days, strict=True))
        kinds.append(f"WHEN bericht = '{bericht}' AND law_day IS NOT NULL THEN CASE {years} ELSE {_YEARS[-1]} END")
    return f"CASE {' '.join(kinds)} ELSE 0 END"


_NAMED: Final = ", ".join(f"COALESCE({name}, '') AS {name}" for name in _TEXTS)
_SORTED: Final = f"{_NAMED}, fallen, {_law_year_sql()} AS law_year"
_COLUMNS: Final = ("sort", *KEY, "n", "first_us", "last_us")
_ADD: Final = tuple(
    f"INSERT INTO standing ({', '.join(_COLUMNS)}) VALUES ({', '.join([mark] * len(_COLUMNS))}) ON CONFLICT (sort) DO UPDATE SET "
    "n = standing.n + excluded.n, "
    "first_us = CASE WHEN excluded.first_us < standing.first_us THEN excluded.first_us ELSE standing.first_us END, "
    "last_us = CASE WHEN excluded.last_us > standing.last_us THEN excluded.last_us ELSE standing.last_us END"
    for mark in ("?", "%s")
)
_LEFT: Final = Sql("SELECT sort, n, first_us FROM standing WHERE sort IN @sorts")
_EMPTY: Final = Sql("DELETE FROM standing WHERE sort IN @sorts AND n <= 0")
_SINCE: Final = Sql("UPDATE standing SET first_us = :first WHERE sort = :sort")
_MADE: Final = Sql("SELECT EXISTS (SELECT 1 FROM standing)")
_CLEAR: Final = Sql("DELETE FROM standing")
_ONE: Final = f"{_SORTED}, 1 AS n, received_us AS first_us, received_us AS last_us"
_ALL: Final = Sql(f"SELECT {_SORTED}, count(*), min(received_us), max(received_us) FROM item GROUP BY {', '.join(map(str, range(1, 11)))}")
#: What of an item tells its sort, and when it was handed in.
OF_ITEM: Final = (*_TEXTS, "fallen", "law_day", "received_us")


class Changes:
    """Items that come, change and go in one transaction."""

    def __init__(self) -> None:
        self._sorts: dict[int, list[Any]] = {}  #: number of the sort -> its key, how many more, the first and the last that came
        self._gone: dict[int, set[int]] = {}  #: number of the sort -> hand-ins of those that went

    def come(self, before: Mapping[str, Any], after: Mapping[str, Mapping[str, Any]]) -> None:
        """Items by id, as they are now and (those that were there) as they were; each with the columns OF_ITEM."""
        for id, row in after.items():
            key, was = _key(row), before.get(id)
            if was is not None:
                if _key(was._mapping) == key:
                    continue
                self.go([was])
            sort, at_us = self._sort(key), row["received_us"]
            sort[1] += 1
            sort[2], sort[3] = min(sort[2], at_us), max(sort[3], at_us)

    def go(self, rows: Iterable[Any]) -> None:
        """Items that are not there any more, with the columns OF_ITEM."""
        for row in rows:
            key = _key(row._mapping)
            self._sort(key)[1] -= 1
            self._gone.setdefault(_number(key), set()).add(row.received_us)

    def _sort(self, key: tuple[Any, ...]) -> list[Any]:
        return self._sorts.setdefault(_number(key), [key, 0, _NEVER, 0])

    def write(self, tx: Connection) -> None:
        """Adds them up, once the items are written. In the order of the sorts, so that of two who do so one waits, and neither for long."""
        _add(tx, [(number, *key, *more) for number, (key, *more) in sorted(self._sorts.items())])
        if not self._gone:
            return
        sorts = sorted(self._gone)
        left = _LEFT(tx, sorts=sorts).all()
        if any(row.n <= 0 for row in left):
            _EMPTY(tx, sorts=sorts)
        for row in left:
            if row.n > 0 and row.first_us in self._gone[row.sort]:
                _SINCE(tx, sort=row.sort, first=_first(tx, self._sorts[row.sort][0], row.first_us))


def count_anew(tx: Connection) -> None:
    """Makes the table out of the items."""
    if tx.dialect.name != "sqlite":
        tx.exec_driver_sql("LOCK TABLE standing IN EXCLUSIVE MODE")  # whoever changes an item meanwhile adds that afterwards
    rows = _ALL(tx).all()
    _CLEAR(tx)
    keys = [(*row[: len(_TEXTS)], bool(row.fallen), row.law_year) for row in rows]
    _add(tx, [(_number(key), *key, *row[-3:]) for key, row in zip(keys, rows, strict=True)])


def counts_of(connection: Connection, scope: Scope) -> tuple[str, Where]:
    """A table with the columns KEY, `n`, `first_us` and `last_us` (the oldest and the newest hand-in) in which each item of the scope is
    counted once, and the condition."""
    if scope.everything or not scope.organisations:
        if _MADE(connection).scalar_one():
            return "standing", of_scope(scope, columns=TRAFFIC_SIDES)
        items, where = "item", of_scope(scope)  # the keeper is still one of the version before
    else:
        items, where = mine(connection, scope)
    return f"(SELECT {_ONE} FROM {items} WHERE {where.sql}) AS standing", Where("TRUE", where.values)


def counts_of_party(scope: Scope, oin: str) -> tuple[str, Where]:
    """The same, of items of which this is a party."""
    where = conditions(scope, ItemFilter(party=oin), now_us=0)
    return f"(SELECT {_ONE} FROM item WHERE {where.sql}) AS standing", Where("TRUE", where.values)


def counted(connection: Connection, scope: Scope, wanted: ItemFilter) -> int | None:
    """How many items a filter finds; None when that must be counted one by one."""
    if (scope.organisations and not scope.everything) or replace(wanted, **_TOLD) != _ANY or not _MADE(connection).scalar_one():
        return None
    where = of_scope(scope, columns=TRAFFIC_SIDES) & of_filter(wanted, now_us=0, nothing="= ''")
    return int(ask(connection, f"SELECT COALESCE(sum(n), 0) FROM standing WHERE {where.sql}", where.values).scalar_one())


_ANY: Final = ItemFilter()
#: What a filter may name of a sort.
_TOLD: Final[dict[str, Any]] = {
    name: getattr(_ANY, name)
    for name in ("view", "dienst", "bericht", "systems", "receiver_systems", "state", "code", "owner", "lane", "group")
}


def _key(row: Mapping[str, Any]) -> tuple[Any, ...]:
    return (*(row[name] or "" for name in _TEXTS), bool(row["fallen"]), law_year(row["bericht"], row["law_day"]))


@lru_cache(maxsize=20_000)
def _number(key: tuple[Any, ...]) -> int:
    """Of a sort: 63 bits of a hash."""
    return int.from_bytes(hashlib.sha256(repr(key).encode()).digest()[:8]) >> 1


def _add(tx: Connection, rows: Sequence[tuple[Any, ...]]) -> None:
    if rows:
        tx.exec_driver_sql(_ADD[0 if tx.dialect.name == "sqlite" else 1], list(rows))


def _first(tx: Connection, key: tuple[Any, ...], since_us: int) -> int:
    """The oldest hand-in of a sort, of which this was the oldest."""
    values: dict[str, Any] = {"since": since_us, "fallen": key[-2], "law_year": key[-1]}
    parts = ["fallen = :fallen", f"{_law_year_sql()} = :law_year", "received_us >= :since"]
    for name, value in zip(_TEXTS, key, strict=False):
        parts.append(f"{name} = :{name}" if value else f"{name} IS NULL")
        values |= {name: value} if value else {}
    sql = f"SELECT min(received_us) FROM item {by(tx, 'item_group')} WHERE {' AND '.join(parts)}"
    return int(ask(tx, sql, values).scalar() or since_us)
