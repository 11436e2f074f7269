"""Which items: a filter and a scope as conditions in SQL, and the index by which they are found fastest.

Jobs freeze their selections with these same conditions (`conditions`), so that what is done is what was shown.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from functools import lru_cache
from typing import Any, Final

from sqlalchemy import Connection, CursorResult

from adapters.store.database import Database
from adapters.store.sql import Sql
from routing.amsterdam import end_of_day, start_of_day
from routing.board import BoardError, ItemFilter, Kind, View
from routing.people import Scope

#: Columns of `item` that hold a party of it, and which part of a scope names such.
SIDES: Final = {"school": "organisations", "organisation": "organisations", "system": "systems", "receiver_system": "systems"}
#: Up to so many rows are read and sorted; of more, those of a page are taken from an index that has them in order.
FEW: Final = 2_000
#: Where that index has everybody's rows: up to so many are rather read and sorted, as hardly any of the others may be wanted.
SOME: Final = 30_000
#: Parties of a scope that are looked up one by one and merged in order.
MANY_PARTIES: Final = 16


#: Whether the sender that a refusal names is who it says (`r`): the system's own organisation, or one that mandated it. Anybody may write a
#: school's OIN in wsa:From.
PROVEN: Final = (
    "(r.sender = r.system OR EXISTS (SELECT 1 FROM decision d WHERE d.reference = r.reference AND d.question = 'sender' "
    "AND d.outcome = 'yes'))"
)


#: Indexes of which the table `standing` knows how much is under each key.
_COUNTED: Final = frozenset(f"item_{name}" for name in ("dienst", "bericht", "system", "receiver_system", "lane", "state", "code", "owner"))


@dataclass(frozen=True, slots=True)
class Where:
    """A condition, and its values."""

    sql: str
    values: Mapping[str, Any] = field(default_factory=dict)

    def __and__(self, other: Where) -> Where:
        return Where(f"{self.sql} AND {other.sql}", {**self.values, **other.values})


EVERY: Final = Where("TRUE")


@lru_cache(maxsize=512)
def _statement(sql: str) -> Sql:
    return Sql(sql)


def ask(connection: Connection, sql: str, values: Mapping[str, Any]) -> CursorResult[Any]:
    """Runs a statement that was put together here; the same one is compiled once."""
    return _statement(sql)(connection, **values)


def of_scope(scope: Scope, *, columns: Mapping[str, str] = SIDES, prefix: str = "") -> Where:
    """Rows of which a party is in the scope. `columns`: which part of a scope names each column."""
    if scope.everything:
        return Where("TRUE")
    parts, values = [], {}
    for part in ("organisations", "systems"):
        mine = [_side(column, of, prefix, items=columns is SIDES) for column, of in columns.items() if of == part]
        if mine and getattr(scope, part):
            parts += mine
            values[f"scope_{part}"] = sorted(getattr(scope, part))
    return Where(f"({' OR '.join(parts)})" if parts else "FALSE", values)


def _side(column: str, part: str, prefix: str = "", *, items: bool = True) -> str:
    """Whether this column names somebody in the scope. Who is merely named as the receiver of a message that was not routed is no party."""
    named = f"{prefix}{column} IN @scope_{part}"
    return f"({named} AND {prefix}kind <> '{Kind.MESSAGE}')" if items and column == "organisation" else named


def mine(connection: Connection, scope: Scope) -> tuple[str, Where]:
    """Where to read items of a scope from that names organisations, all of them, and the condition. SQLite would rather go through
    everybody's in the order in which they are to be grouped, so the rows are found first."""
    ours = of_scope(scope)
    if connection.dialect.name != "sqlite":
        return "item", ours
    found = " UNION ".join(f"SELECT n FROM item INDEXED BY {way} WHERE {condition}" for way, condition in _ways_of(scope))
    return "item NOT INDEXED", Where(f"n IN ({found})", ours.values)


@contextmanager
def reading(database: Database) -> Iterator[Connection]:
    """To read the board with. SQLite keeps but little in memory for those who pass messages on; who looks at many rows reads the file as it
    stands in the system's memory (at most two gigabytes of it). PostgreSQL is to think of each question anew, as a filter may find one row
    or a hundred thousand, and to compile none: that takes longer than all of them."""
    with database.read() as connection:
        if not connection.connection.info.get("board"):
            for setting in _SQLITE if database.is_sqlite else _POSTGRESQL:
                connection.exec_driver_sql(setting)
            connection.connection.info["board"] = True
        yield connection


@contextmanager
def in_parallel(connection: Connection) -> Iterator[None]:
    """For one question about rows that stand far apart in a large table: PostgreSQL then asks the disk for several at a time."""
    if connection.dialect.name == "sqlite":
        yield
        return
    names = ("parallel_setup_cost", "parallel_tuple_cost", "min_parallel_table_scan_size")
    connection.exec_driver_sql("; ".join(["SET max_parallel_workers_per_gather = 4", *(f"SET {name} = 0" for name in names)]))
    try:
        yield
    finally:
        connection.exec_driver_sql("; ".join(f"RESET {name}" for name in ("max_parallel_workers_per_gather", *names)))


_SQLITE: Final = (f"PRAGMA mmap_size={2 << 30}",)
_POSTGRESQL: Final = ("SET jit = off", "SET plan_cache_mode = force_custom_plan")


def conditions(scope: Scope, wanted: ItemFilter, *, now_us: int) -> Where:
    """Items of the scope that are wanted."""
    return of_scope(scope) & of_filter(wanted, now_us=now_us)


#: A filter's fields that are equal to a column.
_EQUAL: Final = {
    "dienst": "dienst",
    "versie": "versie",
    "bericht": "bericht",
    "brin": "brin",
    "school": "school",
    "receiver": "organisation",
    "state": "state",
    "code": "code",
    "owner": "owner",
    "message_id": "message_id",
    "reference": "reference",
    "lane": "lane",
}


def of_filter(wanted: ItemFilter, *, now_us: int, nothing: str = "IS NULL") -> Where:
    """Items that are wanted, whoever's they are. `nothing`: how a column says that an item names none."""
    parts, values = [], dict[str, Any]()

    def add(sql: str, **more: Any) -> None:
        parts.append(sql)
        values.update(more)

    if wanted.view is not View.ALL:
        parts.append(f"fallen = {'TRUE' if wanted.view is View.FALLEN else 'FALSE'}")
    for name, column in _EQUAL.items():
        if (value := getattr(wanted, name)) is not None:
            add(f"{column} = :{name}", **{name: value})
    for name, column in (("systems", "system"), ("receiver_systems", "receiver_system")):
        if value := getattr(wanted, name):
            add(f"{column} IN @{name}", **{name: list(value)})
    if wanted.party is not None:
        add(f"({' OR '.join(f'{column} = :party' for column in SIDES)})", party=wanted.party)
    if wanted.address is not None:
        add("(sender = :address OR receiver = :address)", address=wanted.address)
    if wanted.business_id is not None:
        add("business_id = :business_id", business_id=wanted.business_id.lower())
    if wanted.since_day is not None:
        add("received_us >= :since_day", since_day=_us(start_of_day(wanted.since_day)))
    if wanted.until_day is not None:
        add("received_us < :until_day", until_day=_us(end_of_day(wanted.until_day)))
    if wanted.since_us is not None:
        add("received_us >= :since_us", since_us=wanted.since_us)
    if wanted.failed_since_us is not None:
        add("fallen = TRUE AND at_us >= :failed_since_us", failed_since_us=wanted.failed_since_us)
    if wanted.older_than_s is not None:
        add("received_us < :older", older=now_us - wanted.older_than_s * 1_000_000)
    if wanted.never_attempted:
        add("kind <> 'refusal' AND attempts = 0")
    if wanted.group is not None:
        _add_group(wanted, add, nothing)
    if wanted.subject is not None:
        add("subject = :subject", subject=wanted.subject)
    if wanted.orders:
        names = [f"order_{n}" for n in range(len(wanted.orders))]
        add(f"order_key IN ({', '.join(f':{name}' for name in names)})", **dict(zip(names, wanted.orders, strict=True)))
    if wanted.handle is not None and wanted.subject is None and not wanted.orders:
        parts.append("FALSE")  # it has expired, or is another session's
    return Where(" AND ".join(parts) or "TRUE", values)


def _add_group(wanted: ItemFilter, add: Any, nothing: str) -> None:
    group = wanted.group
    assert group is not None
    add("fallen = TRUE AND code = :group_code", group_code=group.code)
    for name in ("owner", "dienst", "system", "receiver_system"):
        value = getattr(group, name)
        if value:
            add(f"{name} = :group_{name}", **{f"group_{name}": value})
        else:
            add(f"{name} {nothing}")


@dataclass(frozen=True, slots=True)
class Driver:
    """A way to find items: by any of these conditions, each with its index, in which they stand by time of hand-in."""

    ways: tuple[tuple[str, str], ...]  #: index, condition


def drivers(scope: Scope, wanted: ItemFilter) -> list[Driver]:
    """The ways there are for this filter and scope; values as in `conditions`. Those that as a rule leave least come first."""
    found: list[Driver] = []

    def one(index: str, condition: str) -> None:
        found.append(Driver(((f"item_{index}", condition),)))

    for name in ("reference", "message_id", "business_id"):
        if getattr(wanted, name) is not None:
            one(name, f"{name} = :{name}")
    if wanted.subject is not None:
        one("subject", "subject = :subject")
    if len(wanted.orders) == 1:
        one("order_key", "order_key = :order_0")
    if wanted.school is not None:
        one("school", "school = :school")
    if wanted.receiver is not None:
        one("organisation", "organisation = :receiver")
    if wanted.party is not None:
        found.append(Driver(tuple((f"item_{column}", f"{column} = :party") for column in SIDES)))
    if wanted.lane is not None:
        found.append(Driver(tuple(("item_lane", f"lane = :lane AND fallen = {view}") for view in views_of(wanted.view))))
    if wanted.group is not None:
        for name in ("receiver_system", "system"):
            if getattr(wanted.group, name):
                one(name, f"{name} = :group_{name}")
        one("code", "code = :group_code")
    if len(wanted.receiver_systems) == 1:
        one("receiver_system", "receiver_system IN @receiver_systems")
    if len(wanted.systems) == 1:
        one("system", "system IN @systems")
    for name in ("code", "state", "owner", "bericht", "dienst"):
        if getattr(wanted, name) is not None:
            one(name, f"{name} = :{name}")
    if not scope.everything:
        found.append(Driver(tuple(_ways_of(scope))))
    return found


def _ways_of(scope: Scope) -> list[tuple[str, str]]:
    return [(f"item_{column}", _side(column, part)) for column, part in SIDES.items() if getattr(scope, part)]


def views_of(view: View) -> tuple[str, ...]:
    """The values of `fallen` in this view."""
    return {View.OPEN: ("FALSE",), View.FALLEN: ("TRUE",), View.ALL: ("FALSE", "TRUE")}[view]


def size(connection: Connection, driver: Driver, values: Mapping[str, Any], *, most: int) -> int:
    """How many rows it finds; more than `most` when there are more."""
    total = 0
    for index, condition in driver.ways:
        if index in _COUNTED:
            sql = f"SELECT COALESCE(sum(n), 0) FROM standing WHERE {condition}"
            total += int(ask(connection, sql, only(condition, values)).scalar_one())
            continue
        sql = f"SELECT count(*) FROM (SELECT 1 FROM item {by(connection, index)} WHERE {condition} LIMIT :most) AS found"
        total += int(ask(connection, sql, {**only(condition, values), "most": most + 1}).scalar_one())
        if total > most:
            break
    return total


def by(connection: Connection, index: str) -> str:
    """SQLite keeps no statistics of a table that changes all the time, so it is told; PostgreSQL knows better itself."""
    return f"INDEXED BY {index}" if connection.dialect.name == "sqlite" else ""


def only(sql: str, values: Mapping[str, Any]) -> dict[str, Any]:
    """Those of the values that a statement names."""
    return {name: value for name, value in values.items() if f":{name}" in sql or f"@{name}" in sql}


def best(
    connection: Connection, ways: Sequence[Driver], values: Mapping[str, Any], *, few: int | None = None
) -> tuple[Driver | None, bool]:
    """The driver that finds least, and whether that is few."""
    n, least = SOME + 1, None
    for driver in ways:
        found = size(connection, driver, values, most=n - 1)
        if found < n:
            n, least = found, driver
        if n <= 200:
            break
    if least is None:
        return (ways[0] if ways else None), False
    return least, n <= (SOME if few is None else few)


def check_by(by: str) -> str:
    """Raises BoardError."""
    if by not in ("state", "code", "owner", "dienst", "bericht", "system", "receiver_system"):
        raise BoardError(
            "This cannot be counted by: state, code, owner, dienst, bericht, system or receiver_system.",
            "Hierop is niet te tellen; wel op state, code, owner, dienst, bericht, system of receiver_system.",
        )
    return by


def _us(moment: datetime) -> int:
    return round(moment.timestamp() * 1e6)
