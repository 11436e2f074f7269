"""Warnings in the store, and the facts they are made from. The timetable alone writes; certificates come from whoever saw them."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from datetime import date
from typing import Any, Final

from sqlalchemy import Connection

from adapters.store.database import Database
from adapters.store.lanes import WAITING_IN
from adapters.store.sql import Insert, Sql
from adapters.store.tables.deliveries import DUE, OPEN, ROUTED
from adapters.store.tables.warnings import STANDING, seen_certificate
from routing.warning_board import CertificateUse, KeptWarning, LastHandIn, SeenCertificate, SilentLane
from routing.warnings import Warning, WarningKind
from schemas.faults import Owner
from schemas.oin import Oin, institution_of

_COLUMNS: Final = "key, kind, nl, en, owner, organisation, system, day, within, since_us, seen_us, ended_us"
_SELECT: Final = f"SELECT {_COLUMNS} FROM warning"
_LOOKS: Final = Sql("SELECT name, value FROM counter WHERE name LIKE 'warnings %'")
_STANDING: Final = Sql(f"{_SELECT} WHERE {STANDING} ORDER BY day, key")
_OF_PARTIES: Final = Sql(
    f"{_SELECT} WHERE {STANDING} AND organisation IN @parties UNION {_SELECT} WHERE {STANDING} AND system IN @parties ORDER BY day, key"
)
_MOVED: Final = Sql(f"{_SELECT} WHERE moved_us >= :since ORDER BY moved_us, key")
_COUNTS: Final = Sql(f"SELECT kind, count(*) AS n FROM warning WHERE {STANDING} GROUP BY kind")
_OF_KINDS: Final = Sql(f"{_SELECT} WHERE {STANDING} AND kind IN @kinds")
_OF_ORGANISATIONS: Final = Sql(f"{_SELECT} WHERE {STANDING} AND kind IN @kinds AND organisation IN @organisations")
_SET: Final = Sql(
    "INSERT INTO warning (key, kind, nl, en, owner, organisation, system, day, within, since_us, seen_us, moved_us) "
    "VALUES (:key, :kind, :nl, :en, :owner, :organisation, :system, :day, :within, :now, :now, :now) ON CONFLICT (key) DO UPDATE SET "
    "nl = :nl, en = :en, owner = :owner, organisation = :organisation, system = :system, day = :day, within = :within, seen_us = :now, "
    "since_us = CASE WHEN warning.ended_us IS NULL THEN warning.since_us ELSE :now END, "
    "moved_us = CASE WHEN :moved = 1 THEN :now ELSE warning.moved_us END, ended_us = NULL"
)
_END: Final = Sql(f"UPDATE warning SET ended_us = :now, moved_us = :now WHERE {STANDING} AND key IN @keys")
_LOOKED: Final = Sql("INSERT INTO counter (name, value) VALUES (:name, :now) ON CONFLICT (name) DO UPDATE SET value = :now")
_FORGET: Final = Sql("DELETE FROM warning WHERE ended_us < :before")

_CERTIFICATES: Final = Sql(
    "SELECT system, use, place, sha256, until_us, seen_us FROM seen_certificate ORDER BY system, use, place, seen_us"
)
_SEE: Final = Insert(seen_certificate, "system", "use", "place", "sha256", "until_us", "seen_us", unless_there=True)
_UNREACHABLE: Final = Sql(
    "SELECT lane, since_us, code FROM lane WHERE state <> 'closed' AND failures > 0 AND probe_at_us IS NOT NULL AND since_us <= :before "
    "AND lane LIKE 'push %' ORDER BY lane"
)
#: Of the few endpoints asked about: each part is read from its index, by lane.
_OPEN_AT: Final = Sql(
    "SELECT endpoint, receiver, count(*) AS n FROM ("
    + " UNION ALL ".join(f"SELECT endpoint, receiver FROM delivery WHERE {which} AND lane IN @lanes" for which in (ROUTED, DUE, OPEN))
    + ") AS d WHERE endpoint IN @endpoints GROUP BY endpoint, receiver"
)
_LAST_LOOK: Final = Sql("SELECT value FROM counter WHERE name = 'last hand-in'")
_ARRIVED: Final = Sql("SELECT seq, system, sender, dienst, received_us FROM message WHERE seq > :after ORDER BY seq LIMIT :limit")
_MOVE: Final = Sql("UPDATE counter SET value = :to WHERE name = 'last hand-in' AND value = :after RETURNING value")
_SENT: Final = Sql(
    "INSERT INTO last_hand_in (system, dienst, organisation, last_us) VALUES (:system, :dienst, :organisation, :last) "
    "ON CONFLICT (system, dienst, organisation) DO UPDATE SET last_us = :last WHERE last_hand_in.last_us < :last"
)
_TRAFFIC: Final = Sql("SELECT system, dienst, organisation, last_us FROM last_hand_in")
_TURNING: Final = Sql(
    "SELECT list, fields FROM register_row WHERE before IS NULL AND list IN ('mandates', 'endpoints') "
    "AND ((until_day >= :first AND until_day <= :last) OR (start_day >= :first AND start_day <= :last))"
)
#: Warnings written in one transaction: before 1 August there are tens of thousands, and others want to write too.
PAGE: Final = 1_000
#: Messages that came in less than so long ago are left for the next look: one with a lower number may not be committed yet.
_SETTLED_US: Final = 60_000_000


class Warnings:
    """See `routing.warning_board.Warnings`."""

    def __init__(self, database: Database) -> None:
        self._db = database

    def standing(self, *, parties: Collection[str] | None = None, kinds: Collection[WarningKind] | None = None) -> list[KeptWarning]:
        """See the port."""
        with self._db.read() as connection:
            rows = _STANDING(connection) if parties is None else _OF_PARTIES(connection, parties=sorted(parties))
            found = list(_kept(connection, rows))
        return [one for one in found if kinds is None or one.warning.kind in kinds]

    def changed(self, since_us: int) -> list[KeptWarning]:
        """See the port."""
        with self._db.read() as connection:
            return list(_kept(connection, _MOVED(connection, since=since_us)))

    def counts(self) -> dict[str, int]:
        """See the port."""
        with self._db.read() as connection:
            return {row.kind: int(row.n) for row in _COUNTS(connection)}

    def keep(
        self, found: Sequence[Warning], *, kinds: Collection[WarningKind], now_us: int, organisations: Collection[str] | None = None
    ) -> tuple[int, int]:
        """See the port. What stands as it did is not written again."""
        names = sorted(str(kind) for kind in kinds)
        wanted = {one.key: one for one in found}
        with self._db.read() as connection:
            if organisations is None:
                rows = _OF_KINDS(connection, kinds=names)
            else:
                rows = _OF_ORGANISATIONS(connection, kinds=names, organisations=sorted(organisations))
            known = {one.warning.key: one.warning for one in _kept(connection, rows)}
        ended = sorted(known.keys() - wanted.keys())
        different = [one for key, one in wanted.items() if known.get(key) != one]
        for start in range(0, len(different), PAGE):
            with self._db.write() as tx:
                for one in different[start : start + PAGE]:
                    before = known.get(one.key)
                    _SET(tx, **_values(one), now=now_us, moved=int(before is None or before.within != one.within))
        with self._db.write() as tx:
            if ended:
                _END(tx, keys=ended, now=now_us)
            for name in names if organisations is None else ():
                _LOOKED(tx, name=f"warnings {name}", now=now_us)
        return len(wanted.keys() - known.keys()), len(ended)

    def forget(self, before_us: int) -> int:
        """See the port."""
        with self._db.write() as tx:
            return _FORGET(tx, before=before_us).rowcount


def _values(one: Warning) -> dict[str, Any]:
    return {
        "key": one.key,
        "kind": str(one.kind),
        "nl": one.nl,
        "en": one.en,
        "owner": str(one.owner),
        "organisation": one.organisation,
        "system": one.system,
        "day": one.day.isoformat() if one.day else None,
        "within": one.within,
    }


def _kept(connection: Connection, rows: Iterable[Any]) -> Iterator[KeptWarning]:
    rows = list(rows)
    looks = {row.name.removeprefix("warnings "): row.value for row in _LOOKS(connection)} if rows else {}
    for row in rows:
        warning = Warning(
            key=row.key,
            kind=WarningKind(row.kind),
            nl=row.nl,
            en=row.en,
            owner=Owner(row.owner),
            organisation=Oin(row.organisation) if row.organisation else None,
            system=Oin(row.system) if row.system else None,
            day=date.fromisoformat(row.day) if row.day else None,
            within=row.within,
        )
        seen_us = row.seen_us if row.ended_us is not None else max(row.seen_us, looks.get(row.kind, 0))
        yield KeptWarning(warning=warning, since_us=row.since_us, seen_us=seen_us, ended_us=row.ended_us)


class WarningFacts:
    """See `routing.warning_board.WarningFacts`."""

    def __init__(self, database: Database) -> None:
        self._db = database

    def certificates(self) -> list[SeenCertificate]:
        """See the port."""
        with self._db.read() as connection:
            return [
                SeenCertificate(
                    system=row.system,
                    use=CertificateUse(row.use),
                    place=row.place,
                    sha256=row.sha256,
                    until_us=row.until_us,
                    seen_us=row.seen_us,
                )
                for row in _CERTIFICATES(connection)
            ]

    def unreachable(self, before_us: int) -> list[SilentLane]:
        """See the port."""
        with self._db.read() as connection:
            return [
                SilentLane(
                    lane=row.lane,
                    since_us=row.since_us,
                    code=row.code,
                    waiting=int(WAITING_IN(connection, lane=row.lane).scalar_one()),
                )
                for row in _UNREACHABLE(connection, before=before_us).all()
            ]

    def open_at(self, endpoints: Collection[str], lanes: Collection[str]) -> Mapping[tuple[str, str], int]:
        """See the port."""
        with self._db.read() as connection:
            rows = _OPEN_AT(connection, endpoints=sorted(endpoints), lanes=sorted(lanes)) if endpoints else ()
            return {(row.endpoint, row.receiver): int(row.n) for row in rows}

    def follow_traffic(self, *, now_us: int, limit: int) -> int:
        """See the port."""
        with self._db.read() as connection:
            after = int(_LAST_LOOK(connection).scalar_one())
            last: dict[tuple[str, str, str], int] = {}
            to = looked = 0
            for row in _ARRIVED(connection, after=after, limit=limit):
                if row.received_us > now_us - _SETTLED_US:
                    break
                place = (row.system, row.dienst, institution_of(Oin(row.sender)))
                last[place] = max(row.received_us, last.get(place, 0))
                to, looked = row.seq, looked + 1
        if looked:
            with self._db.write() as tx:
                if _MOVE(tx, after=after, to=to).first() is not None:  # else another leader was first
                    for (system, dienst, organisation), last_us in sorted(last.items()):
                        _SENT(tx, system=system, dienst=dienst, organisation=organisation, last=last_us)
        return looked

    def last_hand_ins(self) -> Iterable[LastHandIn]:
        """See the port."""
        with self._db.read() as connection:
            return [
                LastHandIn(system=row.system, organisation=row.organisation, dienst=row.dienst, last_us=row.last_us)
                for row in _TRAFFIC(connection)
            ]

    def turning(self, first: str, last: str) -> list[tuple[str, Mapping[str, object]]]:
        """See the port."""
        with self._db.read() as connection:
            return [(row.list, json.loads(row.fields)) for row in _TURNING(connection, first=first, last=last)]


def saw_certificates(tx: Connection, seen: Iterable[SeenCertificate]) -> int:
    """Keeps those that are new, in the caller's transaction; returns how many."""
    rows = [(one.system, str(one.use), one.place, one.sha256, one.until_us, one.seen_us) for one in seen]
    return _SEE(tx, rows)
