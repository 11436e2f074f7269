"""Failures by cause: how many, since when, whose turn it is, and what people made of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import date
from typing import Any, Final

from sqlalchemy import Connection

from adapters.store.board_standing import counts_of, counts_of_party
from adapters.store.board_traffic import HOUR_US, hour_of
from adapters.store.board_where import EVERY, Where, ask, of_filter, of_scope, reading
from adapters.store.database import Database
from adapters.store.rows import event_row, write_events
from adapters.store.sql import Sql
from routing.board import BoardError, FailureGroup, GroupDetail, GroupKey, GroupNote, GroupState, ItemFilter, Part
from routing.people import Scope
from schemas.events import Event
from schemas.oin import brin_of
from schemas.privacy import plain, redact

KEY: Final = ("code", "owner", "dienst", "system", "receiver_system")
#: The parties of a row of `fallout`.
FALLOUT_SIDES: Final = {"school": "organisations", "organisation": "organisations", "system": "systems", "receiver_system": "systems"}
_HOURS: Final = 24
_MOST_PARTS: Final = 200
_LONGEST: Final = 2_000
_LONGEST_NAME: Final = 80

_OURS: Final = " AND ".join(f"{name} = :{name}" for name in KEY)
_GROUPS: Final = "SELECT code, owner, dienst, system, receiver_system, count, first_us, last_us, example FROM failure_group"
_ONE: Final = Sql(f"{_GROUPS} WHERE {_OURS}")
_LIVES: Final = Sql("SELECT * FROM group_life")
_LIFE: Final = Sql(f"SELECT * FROM group_life WHERE {_OURS}")
_SET_LIFE: Final = Sql(
    f"INSERT INTO group_life ({', '.join(KEY)}, state, ticket, agreed_on, assignee, changed_us) "
    f"VALUES ({', '.join(f':{name}' for name in KEY)}, :state, :ticket, :agreed_on, :assignee, :changed_us) "
    f"ON CONFLICT ({', '.join(KEY)}) DO UPDATE SET state = :state, ticket = :ticket, agreed_on = :agreed_on, assignee = :assignee, "
    "changed_us = :changed_us"
)
_NOTES: Final = Sql("SELECT at_us, who, what, text FROM group_note WHERE key = :key ORDER BY id DESC LIMIT 200")
_ADD_NOTE: Final = Sql("INSERT INTO group_note (key, at_us, who, what, text) VALUES (:key, :now, :who, :what, :text)")


class BoardGroups:
    """Questions about groups, and what people do with them."""

    def __init__(self, database: Database) -> None:
        self._db = database

    def groups(
        self,
        scope: Scope,
        *,
        now_us: int,
        state: GroupState | None = None,
        owner: str | None = None,
        solved: bool = False,
        limit: int = 200,
    ) -> list[FailureGroup]:
        """See routing.board."""
        with reading(self._db) as connection:
            found = _found(connection, scope, now_us)
        wanted = [
            group
            for group in found
            if (group.still_open or solved) and state in (None, group.state) and (owner is None or group.key.owner == owner)
        ]
        wanted.sort(key=lambda group: (-group.still_open, -group.last_us, str(group.key)))
        return wanted[:limit]

    def group(self, scope: Scope, key: GroupKey, *, now_us: int) -> GroupDetail | None:
        """See routing.board."""
        with reading(self._db) as connection:
            group = next(iter(_found(connection, scope, now_us, key)), None)
            if group is None:
                return None
            notes = _NOTES(connection, key=str(key)).all() if scope.everything else []
            return GroupDetail(
                group=group,
                schools=_parts(connection, scope, key, "school", now_us),
                receivers=_parts(connection, scope, key, "organisation", now_us),
                notes=tuple(GroupNote(**row._mapping) for row in notes),
            )

    def note(self, key: GroupKey, text: str, *, who: str, now_us: int) -> None:
        """See routing.board."""
        if not text.strip():
            raise BoardError("A note says something: write it down.", "Een notitie zegt iets: schrijf het op.")
        with self._db.write() as tx:
            _known(tx, key)
            _write(tx, key, "note", text, who, now_us)

    def assign(self, key: GroupKey, assignee: str | None, *, who: str, now_us: int, why: str = "") -> None:
        """See routing.board."""
        assignee = _clean(assignee or "")[:_LONGEST_NAME] or None
        with self._db.write() as tx:
            _change(tx, key, now_us, assignee=assignee)
            _write(tx, key, "assigned", f"{assignee or '-'} {why}".strip(), who, now_us, assignee=assignee or "")

    def with_partner(self, key: GroupKey, *, ticket: str, agreed_on: date | None, who: str, now_us: int, why: str = "") -> None:
        """See routing.board."""
        ticket = _clean(ticket)[:100]
        if not ticket:
            raise BoardError(
                "Give the partner's ticket number, by which both sides find it again.",
                "Geef het ticketnummer van de partner, waarmee beide kanten het terugvinden.",
            )
        day = agreed_on.isoformat() if agreed_on else None
        with self._db.write() as tx:
            _change(tx, key, now_us, state=GroupState.WITH_PARTNER, ticket=ticket, agreed_on=day)
            words = " ".join(filter(None, (ticket, day, why)))
            _write(tx, key, "with_partner", words, who, now_us, ticket=ticket, agreed_on=day or "")

    def solve(self, key: GroupKey, *, who: str, now_us: int, why: str) -> None:
        """See routing.board."""
        with self._db.write() as tx:
            _change(tx, key, now_us, state=GroupState.SOLVED)
            _write(tx, key, "solved", why, who, now_us)

    def reopen(self, key: GroupKey, *, who: str, now_us: int, why: str) -> None:
        """See routing.board."""
        with self._db.write() as tx:
            _change(tx, key, now_us, state=GroupState.OPEN, ticket=None, agreed_on=None)
            _write(tx, key, "reopened", why, who, now_us)


def _found(connection: Connection, scope: Scope, now_us: int, key: GroupKey | None = None) -> list[FailureGroup]:
    """The groups of which the scope sees something; or the one with this key."""
    narrow, values = ("TRUE", {}) if key is None else (_OURS, {name: getattr(key, name) for name in KEY})
    still = _still(connection, *counts_of(connection, scope), Where(narrow, values))
    known: dict[tuple[str, ...], Any]
    if scope.everything:
        rows = ask(connection, f"{_GROUPS} WHERE {narrow}", values)
        known = {tuple(row[:5]): row for row in rows}
    else:
        where = of_scope(scope, columns=FALLOUT_SIDES)
        sql = (
            "SELECT code, owner, dienst, system, receiver_system, sum(n) AS count, min(hour) AS first_hour, max(hour) AS last_hour "
            f"FROM fallout WHERE {narrow} AND {where.sql} GROUP BY code, owner, dienst, system, receiver_system"
        )
        known = {tuple(row[:5]): row for row in ask(connection, sql, {**values, **where.values})}
    lives = {tuple(row[:5]): row for row in (_LIVES(connection) if key is None else _LIFE(connection, **values))}
    trends = _trends(connection, scope, narrow, values, now_us)
    found = []
    for names in sorted({*known, *still}):
        row: Any = known.get(names)
        there: Any = still.get(names)
        life = lives.get(names)
        first_us, last_us = _span(row, there)
        found.append(
            FailureGroup(
                key=GroupKey(**dict(zip(KEY, names, strict=True))),
                count=int((row or there)._mapping["count"]),
                still_open=0 if there is None else int(there._mapping["count"]),
                first_us=first_us,
                last_us=last_us,
                example=row.example if row is not None and scope.everything else None,
                state=GroupState(life.state) if life is not None else GroupState.OPEN,
                ticket=life.ticket if life is not None else None,
                agreed_on=date.fromisoformat(life.agreed_on) if life is not None and life.agreed_on else None,
                assignee=life.assignee if life is not None and scope.everything else None,
                changed_us=life.changed_us if life is not None else None,
                hours=trends.get(names, (0,) * _HOURS),
            )
        )
    return found


def _span(row: Any, there: Any) -> tuple[int, int]:
    """When the first and the last of them fell out, as far as known."""
    if row is None:
        return there.first_us, there.last_us
    if hasattr(row, "first_hour"):
        last_us = (row.last_hour + 1) * HOUR_US - 1
        return row.first_hour * HOUR_US, last_us if there is None else max(there.last_us, row.last_hour * HOUR_US)
    return row.first_us, row.last_us


def groups_of(connection: Connection, scope: Scope, oin: str, now_us: int, *, most: int) -> tuple[FailureGroup, ...]:
    """Groups of which a party has something on the board, largest first; `still_open` is the party's part."""
    found = _found(connection, scope, now_us)
    if of_system := [group for group in found if group.still_open and oin in (group.key.system, group.key.receiver_system)]:
        return tuple(sorted(of_system, key=lambda group: (-group.still_open, str(group.key)))[:most])
    theirs = _still(connection, *counts_of_party(scope, oin))
    found = [group for group in found if tuple(getattr(group.key, name) for name in KEY) in theirs]
    parts = [replace(group, still_open=int(theirs[tuple(getattr(group.key, name) for name in KEY)]._mapping["count"])) for group in found]
    return tuple(sorted(parts, key=lambda group: (-group.still_open, str(group.key)))[:most])


def _still(connection: Connection, table: str, where: Where, narrow: Where = EVERY) -> dict[tuple[str, ...], Any]:
    """How many of each are on the board."""
    columns, where = ", ".join(KEY), where & narrow
    sql = (
        f"SELECT {columns}, sum(n) AS count, min(first_us) AS first_us, max(last_us) AS last_us FROM {table} "
        f"WHERE fallen = TRUE AND code <> '' AND {where.sql} GROUP BY {columns}"
    )
    return {tuple(row[:5]): row for row in ask(connection, sql, where.values)}


def _trends(
    connection: Connection, scope: Scope, narrow: str, values: Mapping[str, Any], now_us: int
) -> dict[tuple[str, ...], tuple[int, ...]]:
    where, first = of_scope(scope, columns=FALLOUT_SIDES), hour_of(now_us) - _HOURS + 1
    sql = (
        "SELECT code, owner, dienst, system, receiver_system, hour, sum(n) AS n FROM fallout "
        f"WHERE hour >= :first AND {narrow} AND {where.sql} GROUP BY code, owner, dienst, system, receiver_system, hour"
    )
    found: dict[tuple[str, ...], list[int]] = {}
    for row in ask(connection, sql, {**values, **where.values, "first": first}):
        if row.hour < first + _HOURS:
            found.setdefault(tuple(row[:5]), [0] * _HOURS)[row.hour - first] = int(row.n)
    return {names: tuple(hours) for names, hours in found.items()}


def _in_group(connection: Connection) -> str:
    """Where the items of one group are read from."""
    return "item INDEXED BY item_group" if connection.dialect.name == "sqlite" else "item"


def _parts(connection: Connection, scope: Scope, key: GroupKey, column: str, now_us: int) -> tuple[Part, ...]:
    where = of_scope(scope) & of_filter(ItemFilter(group=key), now_us=now_us)
    sql = (
        f"SELECT {column} AS oin, count(*) AS count, min(received_us) AS oldest_us FROM {_in_group(connection)} "
        f"WHERE {where.sql} AND {column} IS NOT NULL GROUP BY {column} ORDER BY 2 DESC, 1 LIMIT {_MOST_PARTS}"
    )
    return tuple(Part(**row._mapping, brin=brin_of(row.oin)) for row in ask(connection, sql, where.values))


def _known(tx: Connection, key: GroupKey) -> None:
    """Raises BoardError for a group of which nothing ever fell out."""
    if _ONE(tx, **{name: getattr(key, name) for name in KEY}).first() is None:
        raise BoardError("There is no such group of failures.", "Deze groep van uitgevallen berichten is er niet.")


def _change(tx: Connection, key: GroupKey, now_us: int, **changes: Any) -> None:
    """Its life goes on; a change of state notes its moment."""
    names = {name: getattr(key, name) for name in KEY}
    _known(tx, key)
    life = _LIFE(tx, **names).first()
    fresh = {"state": "open", "ticket": None, "agreed_on": None, "assignee": None, "changed_us": now_us}
    values = fresh if life is None else {name: getattr(life, name) for name in fresh}
    changed = {"changed_us": now_us} if "state" in changes else {}
    _SET_LIFE(tx, **names, **(values | changes | changed))


def _clean(text: str) -> str:
    return plain(redact(text.strip()))


def _write(tx: Connection, key: GroupKey, what: str, text: str, who: str, now_us: int, **details: str) -> None:
    """The note, and the event that nobody can take away."""
    words = redact(text.strip())[:_LONGEST]
    _ADD_NOTE(tx, key=str(key), now=now_us, who=who, what=what, text=words)
    happened = Event(
        kind=f"group_{what}",
        at_us=now_us,
        actor=who,
        code=key.code or None,
        owner=key.owner or None,
        dienst=key.dienst or None,
        reason=words or None,
        details={"group": str(key), **details},
    )
    write_events(tx, [event_row(happened)])
