"""Pages of items: the few of a narrow question are read and sorted; of a wide one only the page is, out of an index that is in order."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from sqlalchemy import Connection

from adapters.store import board_where
from adapters.store.board_standing import counted
from adapters.store.board_where import MANY_PARTIES, Driver, Where, ask, best, by, check_by, conditions, drivers, only, reading, views_of
from adapters.store.database import Database
from adapters.store.sql import Sql
from adapters.store.waits import explained
from routing.board import MOST, PAGE, Item, ItemFilter, Kind, Page, Place, Sort
from routing.people import Scope
from schemas.ids import uuid_name

#: Column, whether it falls, and the index that has all items of a view in that order.
_ORDER: Final = {
    Sort.OLDEST: ("received_us", False, "item_received"),
    Sort.NEWEST: ("received_us", True, "item_received"),
    Sort.MOVED: ("at_us", True, "item_moved"),
    Sort.DEADLINE: ("deadline_us", False, "item_deadline"),
}
_FIELDS: Final = tuple(name for name in Item.__dataclass_fields__ if name != "again")
_ROWS: Final = Sql(f"SELECT n, {', '.join(_FIELDS)}, kept FROM item WHERE n IN @numbers")
_OF_MESSAGE: Final = Sql("SELECT n FROM item WHERE reference = :reference ORDER BY seq, n")
_TALLIED: Final = 100


class BoardItems:
    """Questions about items."""

    def __init__(self, database: Database) -> None:
        self._db = database

    def items(
        self,
        scope: Scope,
        wanted: ItemFilter,
        *,
        now_us: int,
        sort: Sort = Sort.OLDEST,
        after: Place | None = None,
        backwards: bool = False,
        limit: int = PAGE,
    ) -> Page:
        """See routing.board."""
        with reading(self._db) as connection:
            found = _Question(connection, scope, wanted, now_us, sort, after, backwards).numbers(limit + 1)
            more, found = len(found) > limit, found[:limit]
            if backwards:
                found.reverse()
            rows = read_items(connection, [n for _, n in found])
        first, last = (Place(*found[0]), Place(*found[-1])) if found else (None, None)
        if backwards:  # we came from a later page, so there is one
            return Page(items=rows, next=last, before=first if more else None, more=True)
        return Page(items=rows, next=last if more else None, before=first if after else None, more=more)

    def count(self, scope: Scope, wanted: ItemFilter, *, now_us: int, most: int = MOST) -> int:
        """See routing.board."""
        where = conditions(scope, wanted, now_us=now_us)
        with reading(self._db) as connection:
            if (known := counted(connection, scope, wanted)) is not None:
                return min(known, most + 1)
            driver, few = best(connection, drivers(scope, wanted), where.values)
            source = _few(connection, driver, where) if driver and few else _all(connection)
            sql = f"SELECT count(*) FROM (SELECT 1 {source} AND {where.sql} LIMIT {most + 1}) AS found"
            return int(ask(connection, sql, where.values).scalar_one())

    def tally(self, scope: Scope, wanted: ItemFilter, by: str, *, now_us: int) -> dict[str, int]:
        """See routing.board."""
        column, where = check_by(by), conditions(scope, wanted, now_us=now_us)
        with reading(self._db) as connection:
            driver, few = best(connection, drivers(scope, wanted), where.values)
            source = _few(connection, driver, where) if driver and few else _all(connection)
            sql = f"SELECT {column} AS value, count(*) AS n {source} AND {where.sql} GROUP BY {column} ORDER BY 2 DESC, 1 LIMIT {_TALLIED}"
            return {row.value or "": row.n for row in ask(connection, sql, where.values)}


class _Question:
    """One page's worth of a question."""

    def __init__(
        self, connection: Connection, scope: Scope, wanted: ItemFilter, now_us: int, sort: Sort, after: Place | None, backwards: bool
    ) -> None:
        self._connection, self._scope, self._wanted = connection, scope, wanted
        self._column, falls, self._index = _ORDER[sort]
        self._falls = falls is not backwards
        where = conditions(scope, wanted, now_us=now_us)
        if sort is Sort.DEADLINE:
            where &= Where("deadline_us IS NOT NULL")
        if after:
            than = "<" if self._falls else ">"
            where &= Where(
                f"{self._column} {than}= :value AND ({self._column} {than} :value OR n {than} :n)", {"value": after.value, "n": after.n}
            )
        self._where = where
        down = " DESC" if self._falls else ""
        self._order = f"ORDER BY {self._column}{down}, n{down}"

    def numbers(self, limit: int) -> list[tuple[int, int]]:
        """The value sorted by, and the number, of so many items."""
        if counted(self._connection, self._scope, self._wanted) == 0:
            return []
        enough = board_where.FEW if self._column == "received_us" else board_where.SOME
        driver, few = best(self._connection, drivers(self._scope, self._wanted), self._where.values, few=enough)
        if driver and few:
            return self._all(f"SELECT {self._column} AS v, n {_few(self._connection, driver, self._where)} AND {self._where.sql}", limit)
        ways = self._ways(driver)
        parts = [
            f"SELECT v, n FROM (SELECT {self._column} AS v, n FROM item {by(self._connection, index)} "
            f"WHERE {condition} AND {self._where.sql} {self._order} LIMIT {limit}) AS part_{number}"
            for number, (index, condition) in enumerate(ways)
        ]
        return self._all(" UNION ".join(parts), limit, named=True)

    def _ways(self, driver: Driver | None) -> list[tuple[str, str]]:
        """Indexes in the order of the sort, whose rows together are what is asked for."""
        if driver and self._column == "received_us":
            ways = [way for index, condition in driver.ways for way in self._each(index, condition)]
            if ways and len(ways) <= MANY_PARTIES:
                return ways
        return [(self._index, f"fallen = {view}") for view in views_of(self._wanted.view)]

    def _each(self, index: str, condition: str) -> list[tuple[str, str]]:
        """A condition on several parties, as one for each: only of one the index has the rows in order."""
        found = re.fullmatch(r"(\w+) IN @(\w+)", condition)
        if not found:
            return [(index, condition)]
        column, name = found.groups()
        listed = self._where.values[name]
        if len(listed) > MANY_PARTIES:
            return [(index, condition)] * (MANY_PARTIES + 1)
        self._where &= Where("TRUE", {f"{name}_{column}_{number}": value for number, value in enumerate(listed)})
        return [(index, f"{column} = :{name}_{column}_{number}") for number in range(len(listed))]

    def _all(self, sql: str, limit: int, *, named: bool = False) -> list[tuple[int, int]]:
        down = " DESC" if self._falls else ""
        order = f"ORDER BY v{down}, n{down}" if named else self._order
        rows = ask(self._connection, f"{sql} {order} LIMIT {limit}", only(sql, self._where.values))
        return [(row.v, row.n) for row in rows]


def _few(connection: Connection, driver: Driver, where: Where) -> str:
    """`FROM item WHERE ...` for a driver that finds few."""
    if not driver.ways:  # a scope that names nobody
        return "FROM item WHERE FALSE"
    if len(driver.ways) == 1:
        index, condition = driver.ways[0]
        return f"FROM item {by(connection, index)} WHERE {condition}"
    found = " UNION ".join(f"SELECT n FROM item {by(connection, index)} WHERE {condition}" for index, condition in driver.ways)
    return f"FROM item WHERE n IN ({found})"


def _all(connection: Connection) -> str:
    """One row after another as they stand is faster than in the order of an index."""
    return f"FROM item {'NOT INDEXED' if connection.dialect.name == 'sqlite' else ''} WHERE TRUE"


def read_items(connection: Connection, numbers: list[int]) -> tuple[Item, ...]:
    """These, in this order, with what they wait for as it stands now."""
    if not numbers:
        return ()
    rows = {row.n: row for row in _ROWS(connection, numbers=numbers)}
    there = [rows[n] for n in numbers if n in rows]
    waits = explained(connection, ({**row._mapping, "hold_code": None} for row in there))
    return tuple(as_item({**row, "code": row["code"] or row["hold_code"]}) for row in waits)


def as_item(row: Mapping[str, Any]) -> Item:
    """A row of the table."""
    again = bool(row["kept"]) and row["kind"] != Kind.REFUSAL
    values = {name: row[name] for name in _FIELDS} | {"kind": Kind(row["kind"])}
    if values["kind"] is Kind.REFUSAL:  # the sender's words, which nobody checked
        values["message_id"] = uuid_name(values["message_id"])
    return Item(**values, again=again)


def items_of(connection: Connection, reference: str) -> tuple[Item, ...]:
    """What of a message is on the board."""
    return read_items(connection, list(_OF_MESSAGE(connection, reference=reference).scalars()))
