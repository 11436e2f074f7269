"""Rows of the register as documents and the store hold them (JSON objects), and as the values of `register_values`; both ways.

Nothing is checked here but that a row can be read: `routing.register` checks documents, `routing.register_rules` changes.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from datetime import date
from functools import lru_cache
from sys import intern
from typing import Any, Final

from routing.register_values import (
    ACTIVE,
    Board,
    Channel,
    Dated,
    Delegation,
    DienstVersion,
    Endpoint,
    Gemeentecode,
    Kind,
    Mandate,
    Organisation,
    System,
)
from schemas.oin import Oin, brin_of

CHANNELS: Final[Mapping[str, Channel]] = {"amqp": "amqp", "https": "https"}

#: list in the document -> fields its rows may have
FIELDS: Final[Mapping[str, frozenset[str]]] = {
    "organisations": frozenset({"oin", "name", "kind", "roles", "brin", "gemeentecodes", "board", "oa_id", "from", "until"}),
    "boards": frozenset({"oin", "name", "from", "until"}),
    "systems": frozenset({"oin", "name", "supplier", "channels", "from", "until"}),
    "diensten": frozenset({"dienst", "versie", "namespace", "name", "description", "status", "from", "until"}),
    "mandates": frozenset({"token", "organisation", "dienst", "system", "revoked", "from", "until"}),
    "endpoints": frozenset(
        {"id", "organisation", "routeringskenmerk", "dienst", "versie", "system", "url", "mailbox", "attributes", "from", "until"}
        | {"address", "at_once", "per_second"}
    ),
    "delegations": frozenset({"id", "municipality", "dienst", "region", "from", "until"}),
}

#: A register says the same few days tens of thousands of times; one object each will do.
day_of: Final = lru_cache(maxsize=4_096)(date.fromisoformat)

_ENCODE: Final = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


def endpoint_id(receiver: str, dienst: str, versie: str, system: str, start: date | None) -> str:
    """The id of an endpoint that has none of its own: it stays the same."""
    return f"{receiver}/{dienst}/{versie}/{system}" + (f"/{start}" if start else "")


def delegation_id(municipality: str, dienst: str, start: date | None) -> str:
    """The id of a delegation that has none of its own."""
    return f"{municipality}/{dienst}" + (f"/{start}" if start else "")


def read_row(list: str, row: Mapping[str, Any]) -> Dated:
    """The row as a value. Raises ValueError when it is none of this list: a field is missing, or is of another kind."""
    if list not in _READ:
        raise ValueError(f"{list[:40]!r} is not a list of the register; use {', '.join(FIELDS)}")
    unknown = row.keys() - FIELDS[list]
    if unknown:
        raise ValueError(f"{sorted(unknown)[0][:40]!r} is not a field of {list}; use {', '.join(sorted(FIELDS[list]))}")
    try:
        return _READ[list](row)
    except KeyError as error:
        raise ValueError(f"a row of {list} has no {error.args[0]}") from error
    except (TypeError, ValueError, AttributeError) as error:
        raise ValueError(f"a row of {list} cannot be read: {error}") from error


def value_of(list: str, row: Mapping[str, Any]) -> Dated:
    """A row of the store, which was read with `read_row` before it got there; fields that a newer version of ours wrote do not count."""
    return _READ[list](row)


def key_of(row: Dated) -> str:
    """What a row is known by in its list, for as long as there is a register. "" for a mandate that has no token yet."""
    match row:
        case Organisation() | Board() | System():
            return row.oin
        case DienstVersion():
            return f"{row.dienst} {row.versie}"
        case Mandate():
            return row.token or ""
        case Endpoint() | Delegation():
            return row.id
        case _:
            raise TypeError(type(row).__name__)


def text_of(row: Dated) -> str:
    """The row as compact JSON; equal rows have equal texts."""
    return _ENCODE(write_row(row))


def write_row(row: Dated) -> dict[str, object]:
    """The JSON object of a row: fields that are set, its days last."""
    match row:
        case Organisation():
            codes = [_row(code, code=code.code) for code in row.gemeentecodes]
            fields = {"oin": row.oin, "name": row.name, "kind": str(row.kind), "roles": [*row.roles], "brin": row.brin}
            return _row(row, **fields, gemeentecodes=codes, board=row.board, oa_id=row.oa_id)
        case Board():
            return _row(row, oin=row.oin, name=row.name)
        case System():
            return _row(row, oin=row.oin, name=row.name, supplier=row.supplier, channels=[*row.channels])
        case DienstVersion():
            status = None if row.status == ACTIVE else row.status
            more = {"name": row.name or None, "description": row.description or None, "status": status}
            return _row(row, dienst=row.dienst, versie=row.versie, namespace=row.namespace, **more)
        case Mandate():
            return _row(row, token=row.token, organisation=row.organisation, dienst=row.dienst, system=row.system, revoked=row.revoked)
        case Endpoint():
            return _endpoint_row(row)
        case Delegation():
            return _row(row, id=row.id, municipality=row.municipality, dienst=row.dienst, region=row.region)
        case _:
            raise TypeError(type(row).__name__)


def _row(dated: Dated, **fields: object) -> dict[str, object]:
    return {name: value for name, value in fields.items() if value not in (None, [], False)} | dict(dated.days())


def _endpoint_row(row: Endpoint) -> dict[str, object]:
    return _row(
        row,
        id=row.id,
        organisation=row.organisation,
        routeringskenmerk=row.routeringskenmerk,
        dienst=row.dienst,
        versie=row.versie,
        system=row.system,
        url=row.url,
        mailbox=row.url is None,
        address=row.address,
        at_once=row.at_once,
        per_second=row.per_second,
        attributes=list(row.attributes),
    )


def _day(row: Mapping[str, Any], name: str) -> date | None:
    value = row.get(name)
    return None if value is None else day_of(value)


def _oin(row: Mapping[str, Any], name: str) -> Oin:
    return Oin(intern(row[name]))


def _some_oin(row: Mapping[str, Any], name: str) -> Oin | None:
    value = row.get(name)
    return None if value is None else Oin(intern(value))


def _organisation(row: Mapping[str, Any]) -> Organisation:
    oin = _oin(row, "oin")
    codes = row.get("gemeentecodes") or ()
    return Organisation(
        oin=oin,
        name=row["name"],
        kind=Kind(row["kind"]),
        roles=tuple(map(intern, row.get("roles") or ())),
        brin=brin_of(oin),
        gemeentecodes=tuple(Gemeentecode(code=code["code"], start=_day(code, "from"), until=_day(code, "until")) for code in codes),
        board=_some_oin(row, "board"),
        oa_id=row.get("oa_id"),
        start=_day(row, "from"),
        until=_day(row, "until"),
    )


def _board(row: Mapping[str, Any]) -> Board:
    return Board(oin=_oin(row, "oin"), name=row["name"], start=_day(row, "from"), until=_day(row, "until"))


def _system(row: Mapping[str, Any]) -> System:
    return System(
        oin=_oin(row, "oin"),
        name=row["name"],
        supplier=row["supplier"],
        channels=tuple(CHANNELS[name] for name in row.get("channels") or CHANNELS),
        start=_day(row, "from"),
        until=_day(row, "until"),
    )


def _dienst(row: Mapping[str, Any]) -> DienstVersion:
    return DienstVersion(
        dienst=intern(row["dienst"]),
        versie=intern(row["versie"]),
        namespace=row["namespace"],
        name=row.get("name") or "",
        description=row.get("description") or "",
        status=row.get("status") or ACTIVE,
        start=_day(row, "from"),
        until=_day(row, "until"),
    )


def _mandate(row: Mapping[str, Any]) -> Mandate:
    return Mandate(
        organisation=_oin(row, "organisation"),
        dienst=intern(row["dienst"]),
        system=_oin(row, "system"),
        revoked=bool(row.get("revoked")),
        token=row.get("token"),
        start=_day(row, "from"),
        until=_day(row, "until"),
    )


def _endpoint(row: Mapping[str, Any]) -> Endpoint:
    organisation, system, kenmerk = _oin(row, "organisation"), _oin(row, "system"), _some_oin(row, "routeringskenmerk")
    dienst, versie, start, url = intern(row["dienst"]), intern(row["versie"]), _day(row, "from"), row.get("url")
    return Endpoint(
        id=row.get("id") or endpoint_id(kenmerk or organisation, dienst, versie, system, start),
        organisation=organisation,
        routeringskenmerk=kenmerk,
        dienst=dienst,
        versie=versie,
        system=system,
        url=None if url is None else intern(url),
        address=row.get("address"),
        at_once=row.get("at_once"),
        per_second=row.get("per_second"),
        attributes=tuple(row.get("attributes") or ()),
        start=start,
        until=_day(row, "until"),
    )


def _delegation(row: Mapping[str, Any]) -> Delegation:
    municipality, dienst, start = _oin(row, "municipality"), intern(row["dienst"]), _day(row, "from")
    return Delegation(
        id=row.get("id") or delegation_id(municipality, dienst, start),
        municipality=municipality,
        dienst=dienst,
        region=_oin(row, "region"),
        start=start,
        until=_day(row, "until"),
    )


_READ: Final[Mapping[str, Callable[[Mapping[str, Any]], Dated]]] = {
    "organisations": _organisation,
    "boards": _board,
    "systems": _system,
    "diensten": _dienst,
    "mandates": _mandate,
    "endpoints": _endpoint,
    "delegations": _delegation,
}
