"""How the register's rows change: what is different becomes new rows of a new version, in the caller's transaction."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from sqlalchemy import Connection

from adapters.store.rows import event_row, write_events
from adapters.store.sql import Insert, Sql
from adapters.store.tables.register import register_row, register_version
from routing.register_book import RowChange
from routing.register_rows import FIELDS, key_of, read_row, text_of
from routing.register_values import Dated, Delegation, DienstVersion, Endpoint, Mandate
from schemas.events import Event
from schemas.ids import new_id
from schemas.privacy import redact

#: The columns of a row from `organisation` on: all but its list, key and version. The last is its text. Made before the transaction, which
#: keeps everybody else from writing to SQLite: a national register takes twelve seconds to read and three to store.
Columns = tuple[str | None, ...]
#: list -> key -> the row from now on; None: it is no more
Wanted = dict[str, dict[str, Columns | None]]

#: Rows that are looked up, ended or written by one statement.
PAGE: Final = 5_000
#: A register of this many rows at most is also written as a document, for workers of the version before, which read nothing else. A
#: larger one they could hardly have read; they log an error and wait to be replaced. This goes in the next version.
DOCUMENT_ROWS: Final = 2_000

NEWEST: Final = Sql("SELECT version, why FROM register_version ORDER BY version DESC LIMIT 1")
_OF_KEYS: Final = Sql("SELECT id, key, fields FROM register_row WHERE list = :list AND key IN @keys AND before IS NULL")
_OF_LIST: Final = Sql("SELECT id, key, fields FROM register_row WHERE list = :list AND before IS NULL")
_END: Final = Sql("UPDATE register_row SET before = :version WHERE id IN @ids")
_MORE: Final = Sql("SELECT id FROM register_row WHERE before IS NULL LIMIT 1 OFFSET :most")
_CURRENT: Final = Sql("SELECT list, fields FROM register_row WHERE before IS NULL ORDER BY id")
_NOT_ADOPTED: Final = Sql("SELECT version, document FROM register_version WHERE why IS NULL ORDER BY version")
_ADOPTED: Final = Sql("UPDATE register_version SET why = '' WHERE version = :version")
#: The version before reads the newest only; its rows are there.
_FORGET_DOCUMENT: Final = Sql("UPDATE register_version SET document = 'null' WHERE version = :version AND why IS NOT NULL")
_ADD_VERSION: Final = Insert(register_version, "version", "at_us", "who", "document", "why")
_ADD_ROWS: Final = Insert(
    register_row,
    "list",
    "key",
    "since",
    "organisation",
    "system",
    "receiver",
    "dienst",
    "versie",
    "start_day",
    "until_day",
    "fields",
)


def newest(tx: Connection) -> int:
    """The newest version; 0 when there is none."""
    row = NEWEST(tx).first()
    return row.version if row else 0


def wanted_by(changes: Sequence[RowChange]) -> Wanted:
    """What these changes want; of two of one row the last counts. Raises ValueError for one that cannot be read."""
    found: Wanted = {}
    for change in changes:
        if change.list not in FIELDS:
            raise ValueError(f"{change.list[:40]!r} is not a list of the register; use {', '.join(FIELDS)}")
        if change.row is None:
            found.setdefault(change.list, {})[change.key] = None
            continue
        row = with_token(read_row(change.list, change.row), change.key)
        if change.key and key_of(row) != change.key:
            raise ValueError(f"the row of {change.list} is known by {key_of(row)}, and not by {change.key}")
        found.setdefault(change.list, {})[key_of(row)] = _columns(row)
    return found


def with_token(row: Dated, token: str = "") -> Dated:
    """A mandate has a token: its own, else this one, else a new one."""
    return replace(row, token=token or new_id()) if isinstance(row, Mandate) and row.token is None else row


def wanted_of(connection: Connection, document: Mapping[str, Any]) -> Wanted:
    """What a whole document wants, with the newest version's tokens: rows that it does not name are no more. Raises ValueError for one that
    cannot be read."""
    found: Wanted = {}
    for name in FIELDS:
        values: Iterable[Dated] = (read_row(name, row) for row in document.get(name) or ())
        if name == "mandates":
            values = _with_tokens(connection, list(values))
        found[name] = {key_of(value): _columns(value) for value in values}
    return found


def _with_tokens(connection: Connection, mandates: Sequence[Dated]) -> Iterator[Dated]:
    """A mandate that names no token is the one in the store with the same days; else with the same first day; else a new one."""
    named = {row.token for row in mandates if isinstance(row, Mandate)}
    known: dict[tuple[object, ...], list[str]] = {}
    if None in named:
        for current in _OF_LIST(connection, list="mandates"):
            row = read_row("mandates", json.loads(current.fields))
            if isinstance(row, Mandate) and row.token not in named:
                for likeness in _likenesses(row):
                    known.setdefault(likeness, []).append(current.key)
    taken: set[str] = set()
    found: dict[int, str] = {}
    for which in (0, 1):  # exact ones first, so that none takes another's token
        for place, row in enumerate(mandates):
            if isinstance(row, Mandate) and row.token is None and place not in found:
                token = next((one for one in known.get(_likenesses(row)[which], ()) if one not in taken), None)
                if token is not None:
                    taken.add(token)
                    found[place] = token
    return (with_token(row, found.get(place, "")) for place, row in enumerate(mandates))


def _likenesses(row: Mandate) -> tuple[tuple[object, ...], tuple[object, ...]]:
    whose = (row.organisation, row.dienst, row.system)
    return (*whose, row.start, row.until), (*whose, row.start)


def apply(tx: Connection, version: int, wanted: Wanted, *, whole: bool) -> tuple[int, bytes]:
    """Makes the rows of this version: how many are different, and the digest of what is. `whole`: what is not wanted is no more."""
    digest, count = hashlib.sha256(), 0
    ended: list[int] = []
    born: list[tuple[Any, ...]] = []

    def differs(name: str, key: str, row: Columns | None) -> None:
        nonlocal count
        count += 1
        digest.update(f"{name}\n{key}\n{row[-1] if row else ''}\n".encode())
        if row is not None:
            born.append((name, key, version, *row))

    for name, rows in wanted.items():
        left = dict(rows)
        for current in _OF_LIST(tx, list=name) if whole else _of_keys(tx, name, list(rows)):
            row = left.pop(current.key, None)
            if row is None or row[-1] != current.fields:
                ended.append(current.id)
                differs(name, current.key, row)
        for key, row in left.items():
            if row is not None:
                differs(name, key, row)
    for start in range(0, len(ended), PAGE):
        _END(tx, version=version, ids=ended[start : start + PAGE])
    for start in range(0, len(born), PAGE):
        _ADD_ROWS(tx, born[start : start + PAGE])
    return count, digest.digest()


def _of_keys(tx: Connection, name: str, keys: Sequence[str]) -> Iterator[Any]:
    for start in range(0, len(keys), PAGE):
        yield from _OF_KEYS(tx, list=name, keys=keys[start : start + PAGE])


def _columns(row: Dated) -> Columns:
    organisation = system = receiver = dienst = versie = None
    match row:
        case Mandate():
            organisation, system, dienst = row.organisation, row.system, row.dienst
        case Endpoint():
            organisation, system, dienst, versie = row.organisation, row.system, row.dienst, row.versie
            receiver = row.routeringskenmerk or row.organisation
        case Delegation():
            organisation, receiver, dienst = row.municipality, row.region, row.dienst
        case DienstVersion():
            dienst, versie = row.dienst, row.versie
    days = row.days()
    return (organisation, system, receiver, dienst, versie, days.get("from"), days.get("until"), text_of(row))


def add_version(tx: Connection, version: int, *, kind: str, who: str, why: str, now_us: int, count: int, digest: bytes) -> None:
    """The version itself, and its event in the journal."""
    _FORGET_DOCUMENT(tx, version=version - 1)
    _ADD_VERSION(tx, [(version, now_us, who, _document(tx), redact(why))])
    happened = Event(
        kind=kind,
        at_us=now_us,
        actor=who,
        register_version=version,
        reason=redact(why) or None,
        digest=digest,
        details={"rows": str(count)},
    )
    write_events(tx, [event_row(happened)])


def _document(tx: Connection) -> str:
    """The newest rows as the version before reads them; `null`, which it refuses, when they are too many."""
    if _MORE(tx, most=DOCUMENT_ROWS).first() is not None:
        return "null"
    return json.dumps(_for_the_version_before(_CURRENT(tx)), ensure_ascii=False)


def _for_the_version_before(rows: Iterable[Any]) -> dict[str, list[dict[str, Any]]]:
    """Without the lists and fields that it does not know, and would refuse."""
    new = {"organisations": ("board", "oa_id"), "diensten": ("name", "description", "status"), "mandates": ("token",)}
    document: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        if row.list not in ("boards", "delegations"):
            fields = {name: value for name, value in json.loads(row.fields).items() if name not in new.get(row.list, ())}
            document.setdefault(row.list, []).append(fields)
    return document


def adopt(tx: Connection) -> None:
    """Turns documents that the version before wrote into rows; its versions keep their numbers, and are in the journal already."""
    for row in _NOT_ADOPTED(tx).all():
        apply(tx, row.version, wanted_of(tx, json.loads(row.document)), whole=True)
        _ADOPTED(tx, version=row.version)
