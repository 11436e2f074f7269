"""The register in the store: rows that are never overwritten, the versions that changed them, and suppliers' API keys."""

from __future__ import annotations

import builtins
import json
from collections.abc import Callable, Mapping, Sequence
from datetime import date, timedelta
from functools import cache
from typing import Any, Final

from sqlalchemy import Connection, CursorResult

from adapters.store.database import Database
from adapters.store.followed import read_followed, write_followed
from adapters.store.register_changes import NEWEST, Wanted, add_version, adopt, apply, newest, wanted_by, wanted_of
from adapters.store.rows import event_row, write_events
from adapters.store.sql import Insert, Sql
from adapters.store.tables.register import register_api_key
from routing.following import Followed
from routing.register_book import RegisterMoved, RowChange
from routing.register_rows import FIELDS
from routing.register_wishes import RuleBroken
from schemas.events import Event

_LOCK: Final = b"register"
_AS_OF: Final = "since <= :version AND (before IS NULL OR before > :version)"

_VERSION_AT: Final = Sql("SELECT coalesce(max(version), 0) FROM register_version WHERE at_us <= :at")
_VERSIONS: Final = Sql("SELECT version, at_us, who, why FROM register_version WHERE version > :after ORDER BY version LIMIT :limit")
_EXISTS: Final = Sql("SELECT 1 FROM register_version WHERE version = :version")
_WHOLE: Final = Sql(f"SELECT list, fields FROM register_row WHERE {_AS_OF} ORDER BY id")
_HISTORY: Final = Sql(
    "SELECT v.version, v.at_us, v.who, v.why, r.fields FROM register_row AS r JOIN register_version AS v ON v.version = r.since "
    "WHERE r.list = :list AND r.key = :key UNION ALL "
    "SELECT v.version, v.at_us, v.who, v.why, NULL FROM register_row AS r JOIN register_version AS v ON v.version = r.before "
    "WHERE r.list = :list AND r.key = :key AND NOT EXISTS "
    "(SELECT 1 FROM register_row AS n WHERE n.list = r.list AND n.key = r.key AND n.since = r.before) ORDER BY 1"
)
_CHANGED: Final = Sql(
    "SELECT list, key, organisation, system FROM register_row WHERE since > :since AND since <= :upto UNION "
    "SELECT list, key, organisation, system FROM register_row WHERE before IS NOT NULL AND before > :since AND before <= :upto LIMIT :limit"
)
_OF_ORGANISATION: Final = Sql(
    f"SELECT list, fields FROM register_row WHERE organisation = :oin AND list IN ('mandates', 'endpoints') AND {_AS_OF} ORDER BY id"
)
_OF_SYSTEM: Final = Sql(f"SELECT list, fields FROM register_row WHERE system = :system AND {_AS_OF} ORDER BY id")
_SCHOOLS_OF: Final = Sql(f"SELECT count(DISTINCT organisation) FROM register_row WHERE system = :system AND list = 'mandates' AND {_AS_OF}")
_ENDPOINTS_OF: Final = Sql(f"SELECT count(*) FROM register_row WHERE system = :system AND list = 'endpoints' AND {_AS_OF}")
_NEXT_DAYS: Final = Sql(
    "SELECT min(CASE WHEN start_day > :day THEN start_day END) AS start, "
    "min(CASE WHEN until_day >= :day AND until_day < '9999-12-31' THEN until_day END) AS until "
    f"FROM register_row WHERE list IN ('mandates', 'endpoints') AND {_AS_OF}"
)
_COUNTS: Final = Sql(f"SELECT list, count(*) AS rows_ FROM register_row WHERE {_AS_OF} GROUP BY list")
#: A field of a row, by whether the store is SQLite.
_FIELD: Final = {True: "json_extract(fields, '$.{}')", False: "(CAST(fields AS json) ->> '{}')"}
_ADD_KEY: Final = Insert(register_api_key, "hash", "system", "label", "made_us")
_KEY: Final = Sql("SELECT system FROM register_api_key WHERE hash = :hash AND ended_us IS NULL")
_END_KEY: Final = Sql("UPDATE register_api_key SET ended_us = :now WHERE hash = :hash AND ended_us IS NULL RETURNING system")
_KEYS: Final = Sql("SELECT hash, system, label, made_us, ended_us FROM register_api_key WHERE system = :system ORDER BY made_us, hash")

#: In SQLite no limit is -1, in PostgreSQL NULL; this is enough for both.
_NO_LIMIT: Final = 2**31 - 1


_FILTERS: Final = {"after": "key > :after", "keys": "key IN @keys"}


@cache
def _rows(filters: tuple[str, ...], as_of: bool) -> Sql:
    """The statement for these filters. `as_of`: of an earlier version."""
    where = ["list = :list", _AS_OF if as_of else "before IS NULL", *(_FILTERS.get(name, f"{name} = :{name}") for name in filters)]
    return Sql(f"SELECT fields FROM register_row WHERE {' AND '.join(where)} ORDER BY key LIMIT :limit")


def _read(found: CursorResult[Any]) -> builtins.list[tuple[str, Mapping[str, Any]]]:
    """Lists and rows. Fifty texts are read as one: half the time, and somebody waits."""
    rows = found.all()
    fields = json.loads(f"[{','.join([row.fields for row in rows])}]")
    return list(zip([row.list for row in rows], fields, strict=True))


class RegisterBook:
    """See `routing.register_book.RegisterBook`."""

    def __init__(self, database: Database) -> None:
        self._db = database

    # -- versions ----------------------------------------------------------------------------------------------------------------------
    def newest(self) -> int:
        """See the port."""
        with self._db.read() as connection:
            row = NEWEST(connection).first()
        if row is not None and row.why is None:
            self._adopt()
        return row.version if row else 0

    def _adopt(self) -> None:
        """A process of the version before, which runs beside ours during an upgrade, wrote a document."""
        with self._db.write() as tx:
            self._db.one_at_a_time(tx, [_LOCK])
            adopt(tx)

    def version_at(self, at_us: int) -> int:
        """See the port."""
        with self._db.read() as connection:
            return int(_VERSION_AT(connection, at=at_us).scalar_one())

    def versions(self, after: int = 0, limit: int | None = None) -> builtins.list[dict[str, Any]]:
        """See the port."""
        with self._db.read() as connection:
            return [dict(row._mapping) for row in _VERSIONS(connection, after=after, limit=limit or _NO_LIMIT)]

    # -- changes -----------------------------------------------------------------------------------------------------------------------
    def change(self, changes: Sequence[RowChange], *, who: str, why: str, now_us: int, expected: int | None = None) -> int:
        """See the port."""
        wanted = wanted_by(changes)
        with self._db.write() as tx:
            last = self._begin(tx)
            if expected is not None and expected != last:
                raise RegisterMoved(expected, last)
            return self._make(tx, last, wanted, whole=False, kind="register_changed", who=who, why=why, now_us=now_us)

    def save(
        self, document: Mapping[str, Any], *, who: str, why: str = "", now_us: int, followed: Callable[[int], Followed] | None = None
    ) -> int:
        """See the port. The first document makes a version even when it is empty: somebody said that the register is that."""
        while True:
            seen = self.newest()
            with self._db.read() as connection:
                wanted = wanted_of(connection, document)
            with self._db.write() as tx:
                last = self._begin(tx, follower=followed is not None)
                if last == seen:  # else another change came first, and tokens are to be looked up again
                    made = self._make(tx, last, wanted, whole=True, kind="register_loaded", who=who, why=why, now_us=now_us)
                    if followed is not None:
                        write_followed(tx, followed(made), who)
                    return made

    def _begin(self, tx: Connection, *, follower: bool = False) -> int:
        self._db.one_at_a_time(tx, [_LOCK])
        followed = None if follower else read_followed(tx)
        if followed is not None:
            raise RuleBroken(
                "FOLLOWS",
                f"Dit register volgt dat van {followed.issuer}; wijzig het daar.",
                f"This register follows that of {followed.issuer}; change it there.",
            )
        adopt(tx)
        return newest(tx)

    def _make(self, tx: Connection, last: int, wanted: Wanted, *, whole: bool, kind: str, who: str, why: str, now_us: int) -> int:
        count, digest = apply(tx, last + 1, wanted, whole=whole)
        if not count and not (whole and last == 0):
            return last
        add_version(tx, last + 1, kind=kind, who=who, why=why, now_us=now_us, count=count, digest=digest)
        return last + 1

    # -- rows --------------------------------------------------------------------------------------------------------------------------
    def document(self, version: int) -> dict[str, builtins.list[dict[str, Any]]]:
        """See the port."""
        document: dict[str, list[dict[str, Any]]] = {name: [] for name in FIELDS}
        with self._db.snapshot() as connection:
            if version and _EXISTS(connection, version=version).first() is None:
                raise KeyError(version)
            for row in _WHOLE(connection, version=version):
                document[row.list].append(json.loads(row.fields))
        return document

    def rows(
        self,
        list: str,
        *,
        version: int | None = None,
        organisation: str | None = None,
        system: str | None = None,
        dienst: str | None = None,
        versie: str | None = None,
        receiver: str | None = None,
        key: str | None = None,
        keys: Sequence[str] | None = None,
        after: str | None = None,
        limit: int | None = None,
    ) -> builtins.list[dict[str, Any]]:
        """See the port."""
        given: dict[str, Any] = {
            "organisation": organisation,
            "system": system,
            "dienst": dienst,
            "versie": versie,
            "receiver": receiver,
            "key": key,
            "keys": keys,
            "after": after,
        }
        filters = {name: value for name, value in given.items() if value is not None}
        values: dict[str, Any] = {**filters, "list": list, "limit": _NO_LIMIT if limit is None else limit}
        if version is not None:
            values["version"] = version
        with self._db.read() as connection:
            return [json.loads(row.fields) for row in _rows(tuple(filters), version is not None)(connection, **values)]

    def history(self, list: str, key: str) -> builtins.list[dict[str, Any]]:
        """See the port."""
        with self._db.read() as connection:
            return [
                {
                    "version": row.version,
                    "at_us": row.at_us,
                    "who": row.who,
                    "why": row.why,
                    "row": None if row.fields is None else json.loads(row.fields),
                }
                for row in _HISTORY(connection, list=list, key=key)
            ]

    def changed(self, since: int, upto: int, limit: int | None = None) -> builtins.list[tuple[str, str, str | None, str | None]]:
        """See the port."""
        with self._db.read() as connection:
            found = _CHANGED(connection, since=since, upto=upto, limit=_NO_LIMIT if limit is None else limit)
            return [(row.list, row.key, row.organisation, row.system) for row in found]

    # -- for `routing.register_stored` -------------------------------------------------------------------------------------------------
    def of_organisation(self, oin: str, version: int) -> builtins.list[tuple[str, Mapping[str, Any]]]:
        """See the port."""
        with self._db.read() as connection:
            return _read(_OF_ORGANISATION(connection, oin=oin, version=version))

    def of_system(self, system: str, version: int) -> builtins.list[tuple[str, Mapping[str, Any]]]:
        """See the port."""
        with self._db.read() as connection:
            return _read(_OF_SYSTEM(connection, system=system, version=version))

    def schools_of(self, system: str, version: int) -> int:
        """See the port."""
        with self._db.read() as connection:
            return int(_SCHOOLS_OF(connection, system=system, version=version).scalar_one())

    def endpoints_of(self, system: str, version: int) -> int:
        """See the port."""
        with self._db.read() as connection:
            return int(_ENDPOINTS_OF(connection, system=system, version=version).scalar_one())

    def places(self, version: int, systems: Sequence[str] | None = None) -> builtins.list[tuple[str, str | None, int | None, float | None]]:
        """See the port."""
        url, at_once, per_second = (_FIELD[self._db.is_sqlite].format(name) for name in ("url", "at_once", "per_second"))
        of_these = "" if systems is None else "AND system IN @systems "
        statement = Sql(
            f"SELECT system, {url} AS url, min(CAST({at_once} AS integer)) AS at_once, min(CAST({per_second} AS real)) AS per_second "
            f"FROM register_row WHERE list = 'endpoints' {of_these}AND {_AS_OF} GROUP BY 1, 2"
        )
        values: dict[str, Any] = {"version": version} | ({} if systems is None else {"systems": systems})
        with self._db.read() as connection:
            return [(row.system, row.url, row.at_once, row.per_second) for row in statement(connection, **values)]

    def next_day(self, version: int, day: str) -> str | None:
        """See the port."""
        with self._db.read() as connection:
            found = _NEXT_DAYS(connection, version=version, day=day).one()
        over = (date.fromisoformat(found.until) + timedelta(days=1)).isoformat() if found.until else None
        return min(filter(None, (found.start, over)), default=None)

    def counts(self, version: int) -> dict[str, int]:
        """See the port."""
        with self._db.read() as connection:
            return {row.list: int(row.rows_) for row in _COUNTS(connection, version=version)}

    def followed(self) -> Followed | None:
        """See the port."""
        with self._db.read() as connection:
            return read_followed(connection)

    # -- API keys ----------------------------------------------------------------------------------------------------------------------
    def add_api_key(self, hash: bytes, system: str, label: str, now_us: int, *, who: str = "") -> None:
        """See the port."""
        with self._db.write() as tx:
            _ADD_KEY(tx, [(hash, system, label, now_us)])
            self._tell(tx, "register_key_made", hash, system, now_us, who)

    def system_of_api_key(self, hash: bytes) -> str | None:
        """See the port."""
        with self._db.read() as connection:
            return _KEY(connection, hash=hash).scalar()

    def end_api_key(self, hash: bytes, now_us: int, *, who: str = "") -> bool:
        """See the port."""
        with self._db.write() as tx:
            system = _END_KEY(tx, hash=hash, now=now_us).scalar()
            if system is not None:
                self._tell(tx, "register_key_ended", hash, system, now_us, who)
            return system is not None

    def api_keys(self, system: str) -> builtins.list[dict[str, Any]]:
        """See the port."""
        with self._db.read() as connection:
            return [{**row._mapping, "hash": bytes(row.hash)} for row in _KEYS(connection, system=system)]

    @staticmethod
    def _tell(tx: Connection, kind: str, hash: bytes, system: str, now_us: int, who: str) -> None:
        write_events(tx, [event_row(Event(kind=kind, at_us=now_us, actor=who or system, system=system, digest=hash))])
