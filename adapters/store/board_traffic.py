"""What passed, added up out of events: per hour and pair of systems, per day and organisation, per season, and failures by cause."""

from __future__ import annotations

from datetime import UTC, date, datetime
from functools import lru_cache
from typing import Any, Final

from sqlalchemy import Connection

from adapters.store.board_own import Own
from adapters.store.sql import Sql
from routing.amsterdam import amsterdam_day, end_of_day, start_of_day
from schemas.events import Glance
from schemas.oin import institution_of

FLOW: Final = ("handed_in", "refused", "delivered", "failed", "took_s", "in_minute", "in_hour", "in_day")
HOUR_US: Final = 3_600_000_000
#: The parties of a row of `traffic`, and which part of a scope names such.
TRAFFIC_SIDES: Final = {"system": "systems", "receiver_system": "systems"}
_EPOCH: Final = date(1970, 1, 1)
#: The school year begins in August (rule 4: in Amsterdam).
_FIRST_MONTH: Final = 8

_PLACE: Final = {"received": 0, "refused": 1, "acknowledged": 2, "failed": 3}


def hour_of(at_us: int) -> int:
    """Hours since 1970."""
    return at_us // HOUR_US


@lru_cache(maxsize=256)
def _day(hour: int) -> tuple[int, int]:
    """The Amsterdam day (since 1970) of an hour, and the year in which its school year began. No day begins within an hour of UTC."""
    day = amsterdam_day(datetime.fromtimestamp(hour * 3_600, UTC))
    return (day - _EPOCH).days, season_of(day)


_institution: Final = lru_cache(maxsize=20_000)(institution_of)


def day_number(day: date) -> int:
    """Days since 1970."""
    return (day - _EPOCH).days


def season_of(day: date) -> int:
    """The year in which the school year of this day began."""
    return day.year if day.month >= _FIRST_MONTH else day.year - 1


def _upsert(table: str, key: tuple[str, ...], add: tuple[str, ...], *, span: bool = False) -> tuple[str, str]:
    columns = (*key, *add, *(("first_us", "last_us") if span else ()))
    changes = [f"{name} = {table}.{name} + excluded.{name}" for name in add]
    if span:  # events of one block stand in the order in which they were written, which is nearly that of time
        changes += [
            f"first_us = CASE WHEN excluded.first_us < {table}.first_us THEN excluded.first_us ELSE {table}.first_us END",
            f"last_us = CASE WHEN excluded.last_us > {table}.last_us THEN excluded.last_us ELSE {table}.last_us END",
        ]
    insert = f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({{}}) ON CONFLICT ({', '.join(key)}) DO UPDATE SET {', '.join(changes)}"
    first, second = (insert.format(", ".join([mark] * len(columns))) for mark in ("?", "%s"))
    return first, second


_TRAFFIC: Final = _upsert("traffic", ("hour", "dienst", "bericht", "system", "receiver_system"), FLOW)
_YEAR: Final = _upsert("traffic_year", ("year", "dienst", "system", "receiver_system"), FLOW)
_PARTY: Final = _upsert("traffic_party", ("organisation", "day", "side", "dienst", "system"), FLOW)
_SEASON: Final = _upsert("season", ("year", "dienst", "bericht", "side", "organisation", "system"), ("n",), span=True)
_FALLOUT: Final = _upsert("fallout", ("hour", "code", "owner", "dienst", "system", "receiver_system", "school", "organisation"), ("n",))


class Sums:
    """What some events add up to."""

    def __init__(self) -> None:
        self.failures = 0
        self._traffic: dict[tuple[Any, ...], list[int]] = {}
        self._year: dict[tuple[Any, ...], list[int]] = {}
        self._party: dict[tuple[Any, ...], list[int]] = {}
        self._season: dict[tuple[Any, ...], list[int]] = {}
        self._fallout: dict[tuple[Any, ...], list[int]] = {}
        self._own = Own()

    def add(self, e: Glance, *, proven: bool = True) -> None:
        """Counts one event; of a kind that is not counted: nothing. Not `proven`: the sender it names is only claimed, so it counts for the
        connection's system and for no organisation."""
        place = _PLACE.get(e.kind)
        if place is None:
            return
        hour = hour_of(e.at_us)
        day, year = _day(hour)
        dienst, bericht, system, there = e.dienst or "", e.bericht or "", e.system or "", e.receiver_system or ""
        took_s = _took_s(e) if e.kind == "acknowledged" else None
        sender = _institution(e.sender) if e.sender and proven else ""
        receiver = _institution(e.receiver) if e.receiver else ""
        to = there if place >= 2 else ""
        _add(self._traffic, (hour, dienst, bericht, system, to), place, took_s)
        _add(self._year, (year, dienst, system, to), place, took_s)
        if sender:
            _add(self._party, (sender, day, "from", dienst, system), place, took_s)
            self._own.add(hour, sender, "from", dienst, system, there if place >= 2 else "", place)
        if receiver and place >= 2:
            _add(self._party, (receiver, day, "to", dienst, there), place, took_s)
            self._own.add(hour, receiver, "to", dienst, system, there, place)
        if e.kind == "received" and sender:
            self._seen((year, dienst, bericht, "from", sender, system), e.at_us)
        elif e.kind == "acknowledged" and receiver:
            self._seen((year, dienst, bericht, "to", receiver, there), e.at_us)
        elif e.code and place in (1, 3):
            self.failures += 1
            cause = (hour, e.code, e.owner or "", dienst, system, there, sender, receiver)
            self._fallout.setdefault(cause, [0])[0] += 1

    def _seen(self, key: tuple[Any, ...], at_us: int) -> None:
        known = self._season.setdefault(key, [0, at_us, at_us])
        known[0] += 1
        known[1], known[2] = min(known[1], at_us), max(known[2], at_us)

    def write(self, tx: Connection) -> None:
        """Adds them to what is there, in the order of the keys."""
        sqlite = tx.dialect.name == "sqlite"
        for statements, sums in (
            (_TRAFFIC, self._traffic),
            (_YEAR, self._year),
            (_PARTY, self._party),
            (_SEASON, self._season),
            (_FALLOUT, self._fallout),
        ):
            if sums:
                tx.exec_driver_sql(statements[0 if sqlite else 1], [(*key, *sums[key]) for key in sorted(sums)])
        self._own.write(tx)


def _add(sums: dict[tuple[Any, ...], list[int]], key: tuple[Any, ...], place: int, took_s: int | None) -> None:
    flow = sums.get(key)
    if flow is None:
        flow = sums[key] = [0] * len(FLOW)
    flow[place] += 1
    if took_s is not None:
        flow[4] += took_s
        flow[5] += took_s <= 60
        flow[6] += took_s <= 3_600
        flow[7] += took_s <= 86_400


def _took_s(e: Glance) -> int:
    """Seconds since hand-in: a reference of ours begins with its milliseconds (schemas.ids). 0 for one that is no such id."""
    reference = e.reference or ""
    if len(reference) != 36 or reference[14] != "7":
        return 0
    return max(0, e.at_us // 1_000_000 - int(reference[:8] + reference[9:13], 16) // 1_000)


_NO_YEARS: Final = Sql("DELETE FROM traffic_year")
_FIRST_HOUR: Final = Sql("SELECT min(hour) FROM traffic")
_WHOLE_YEAR: Final = Sql(
    f"INSERT INTO traffic_year (year, dienst, system, receiver_system, {', '.join(FLOW)}) "
    f"SELECT :year, dienst, system, receiver_system, {', '.join(f'sum({name})' for name in FLOW)} FROM traffic "
    "WHERE hour >= :first AND hour < :until GROUP BY dienst, system, receiver_system"
)


def first_hour(year: int) -> int:
    """In which this school year began."""
    return int(start_of_day(date(year, _FIRST_MONTH, 1)).timestamp()) // 3_600


def add_years_anew(tx: Connection, now_us: int) -> None:
    """Makes what passed in each school year out of what passed in its hours. The caller sees to it that nobody counts meanwhile."""
    _NO_YEARS(tx)
    if (first := _FIRST_HOUR(tx).scalar()) is not None:
        for year in range(_day(first)[1], _day(hour_of(now_us))[1] + 1):
            _WHOLE_YEAR(tx, year=year, first=first_hour(year), until=first_hour(year + 1))


_OLDEST: Final = Sql("SELECT min(hour) FROM traffic WHERE hour >= :first AND hour < :until")
_PACKED: Final = Sql(
    f"INSERT INTO traffic (hour, dienst, bericht, system, receiver_system, {', '.join(FLOW)}) "
    f"SELECT :first, dienst, bericht, system, receiver_system, {', '.join(f'sum({name})' for name in FLOW)} FROM traffic "
    "WHERE hour > :first AND hour < :until GROUP BY dienst, bericht, system, receiver_system "
    "ON CONFLICT (hour, dienst, bericht, system, receiver_system) DO UPDATE SET "
    f"{', '.join(f'{name} = traffic.{name} + excluded.{name}' for name in FLOW)}"
)
_UNPACKED: Final = Sql("DELETE FROM traffic WHERE hour > :first AND hour < :until")


def pack(tx: Connection, after: int, until: int) -> int | None:
    """Adds up the hours of the first Amsterdam day that has any from hour `after` on, if it ends by `until`; returns when it ends."""
    oldest = _OLDEST(tx, first=after, until=until).scalar()
    if oldest is None:
        return None
    day = amsterdam_day(datetime.fromtimestamp(oldest * 3_600, UTC))
    first, end = (int(moment.timestamp()) // 3_600 for moment in (start_of_day(day), end_of_day(day)))
    if end > until:
        return None
    _PACKED(tx, first=first, until=end)
    _UNPACKED(tx, first=first, until=end)
    return end
