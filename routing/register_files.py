"""Bulk files of the register: CSV of one list, or JSON; what is different from the register, and what each row of a file asks for.

An operator's file is taken whole or not at all: it becomes a document, which is read with every check there is. Anybody else's rows are
wishes, each judged by the rules on its own.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, cast

from routing.register import Endpoint, Mandate, Register
from routing.register_case import Sentence
from routing.register_endpoints import MORE
from routing.register_rows import FIELDS, key_of, read_row
from routing.register_wishes import (
    Actor,
    AddEndpoint,
    ChangeEndpoint,
    EndMandate,
    GiveMandate,
    RevokeMandate,
    Role,
    RuleBroken,
    Wish,
)
from schemas.oin import institution_of
from schemas.privacy import plain, redact

Row = Mapping[str, Any]
Document = dict[str, list[dict[str, Any]]]

#: Between the values of one cell that holds several.
SEPARATOR: Final = "|"
#: Fields of mandates and endpoints that are no text.
_KINDS: Final[Mapping[str, Any]] = {"attributes": list, "mailbox": bool, "revoked": bool, "at_once": int | float, "per_second": int | float}
_YES: Final = {"true": True, "ja": True, "1": True, "false": False, "nee": False, "0": False}
#: Columns in the order in which people read them; the rest of a list's fields follow.
_ORDER: Final = (
    *("oin", "id", "token", "name", "kind", "organisation", "municipality", "routeringskenmerk"),
    *("dienst", "versie", "system", "region", "url", "mailbox"),
)
_LAST: Final = ("from", "until")


class FileError(ValueError):
    """The file cannot be read; its text is a sentence that says where and what to do. Nothing of it was used."""

    def __init__(self, sentence: str) -> None:
        super().__init__(plain(redact(sentence)))


@dataclass(frozen=True, slots=True)
class Bulk:
    """A file as it was read. `whole`: it is the register, and what it does not hold is to be no more; else rows to add or replace."""

    rows: Mapping[str, Sequence[Row]]
    whole: bool


def read_file(name: str, content: bytes, *, list_name: str | None = None, add: bool = False) -> Bulk:
    """A file by its name: `endpoints.csv` (or any .csv with `list_name`), else JSON; with `add` rows to add too. Raises FileError."""
    text = _text(name, content)
    if name.lower().endswith(".csv"):
        which = list_name or next((one for one in FIELDS if name.rpartition("/")[2].lower().startswith(one)), None)
        if which is None or which not in FIELDS:
            raise FileError(
                f"{name}: of which list is it? Name the file endpoints.csv and so on, or say --list; lists: {', '.join(FIELDS)}."
            )
        return Bulk({which: read_csv(name, text, which)}, whole=False)
    try:
        document = json.loads(text)
    except ValueError as error:
        raise FileError(f"{name} is not JSON in UTF-8: {error}. Nothing was loaded.") from error
    if isinstance(document, dict) and add:
        return Bulk({one: rows for one, rows in document.items() if isinstance(rows, list)}, whole=False)
    return Bulk(document, whole=True)


def read_csv(name: str, text: str, list_name: str) -> list[dict[str, Any]]:
    """Rows of one list. The first line names the fields; between cells a comma, semicolon or tab; an empty cell is no value.

    Raises FileError.
    """
    first = text.partition("\n")[0]
    delimiter = max(",;\t", key=first.count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    try:
        header = [cell.strip() for cell in next(reader, [])]
        unknown = [cell for cell in header if cell not in FIELDS[list_name]]
        if not header or unknown or len(set(header)) < len(header):
            what = f"column {unknown[0][:40]!r} is not a field" if unknown else "the first line must name each column once"
            raise FileError(f"{name}: {what}; {list_name} has {', '.join(columns(list_name))}.")
        rows = []
        for number, cells in enumerate(reader, 1):
            if not any(cell.strip() for cell in cells):
                continue
            if len(cells) != len(header):
                raise FileError(f"{name} row {number} (line {reader.line_num}) has {len(cells)} cells and the first line {len(header)}.")
            where = f"{name} row {number} (line {reader.line_num})"
            rows.append({field: _cell(where, field, cell.strip()) for field, cell in zip(header, cells, strict=True) if cell.strip()})
    except csv.Error as error:
        raise FileError(f"{name} line {reader.line_num}: {error}; a cell that holds quotes or line ends stands between quotes.") from error
    return rows


def write_csv(list_name: str, rows: Sequence[Row]) -> str:
    """The rows of one list as `read_csv` reads them: all fields that any row has."""
    names = [name for name in columns(list_name) if any(name in row for row in rows)] or list(columns(list_name))
    out = io.StringIO(newline="")
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(names)
    writer.writerows([[_as_cell(name, row.get(name)) for name in names] for row in rows])
    return out.getvalue()


def columns(list_name: str) -> tuple[str, ...]:
    """The fields of a list, in the order of its columns."""
    fields = FIELDS[list_name]
    first = [name for name in _ORDER if name in fields]
    return (*first, *sorted(fields - {*first, *_LAST}), *_LAST)


def merged(current: Mapping[str, Sequence[Row]], bulk: Bulk) -> Document:
    """The document that a file makes of the register. The file's own rows come first, so a problem's row number is the file's."""
    if bulk.whole:
        return with_tokens(current, bulk.rows)
    document: Document = {name: [dict(row) for row in current.get(name, ())] for name in FIELDS}
    for name, rows in with_tokens(current, bulk.rows).items():
        keys = {key for row in rows if (key := _key(name, row))}
        document[name] = [*rows, *(row for row in document.get(name, ()) if _key(name, row) not in keys)]
    return document


def with_tokens(current: Mapping[str, Sequence[Row]], rows: Mapping[str, Sequence[Row]]) -> Document:
    """The rows, with mandates that name no token taken for those of the register with the same days, else with the same first day."""
    document: Any = {name: _copies(found) for name, found in rows.items()} if isinstance(rows, Mapping) else rows
    mandates = document.get("mandates") if isinstance(document, dict) else None
    named = {str(row.get("token")) for row in mandates if isinstance(row, dict)} if isinstance(mandates, list) else set()
    bare = [row for row in mandates if isinstance(row, dict) and not row.get("token")] if isinstance(mandates, list) else []
    whose = ("organisation", "dienst", "system", "from")
    for fields in ((*whose, "until", "revoked"), (*whose, "until"), whose):
        known: dict[str, list[str]] = {}
        for one in current.get("mandates", ()):
            if one.get("token") and one["token"] not in named:
                known.setdefault(str([one.get(field) for field in fields]), []).append(one["token"])
        for row in bare:
            tokens = known.get(str([row.get(field) for field in fields])) if not row.get("token") else None
            if tokens:
                row["token"] = tokens.pop(0)
                named.add(row["token"])
    return cast(Document, document)


def _copies(rows: object) -> object:
    return [dict(row) if isinstance(row, Mapping) else row for row in rows] if isinstance(rows, list) else rows


@dataclass(frozen=True, slots=True)
class Difference:
    """One row that is not as it was. `before` None: it is new; `after` None: it is no more."""

    list: str
    key: str  #: "" for a mandate that gets its token when it is saved
    before: Row | None
    after: Row | None

    def in_words(self) -> str:
        """`+ mandates …`, `- …`, or `~ …` with the fields that differ: now, and before."""
        if self.before is None or self.after is None:
            sign, row = ("+", self.after) if self.before is None else ("-", self.before)
            return f"{sign} {self.list} {self.key}: " + ", ".join(f"{name} {_shown(value)}" for name, value in (row or {}).items())
        names = [name for name in (*self.before, *self.after) if self.before.get(name) != self.after.get(name)]
        fields = [f"{name} {_shown(self.after.get(name))} (was {_shown(self.before.get(name))})" for name in dict.fromkeys(names)]
        return f"~ {self.list} {self.key}: " + ", ".join(fields)


def differences(before: Mapping[str, Sequence[Row]], after: Mapping[str, Sequence[Row]]) -> list[Difference]:
    """What is different between two documents whose rows can be read, list by list, in the order of their keys."""
    found = []
    for name in FIELDS:
        old = {key_of(read_row(name, row)): row for row in before.get(name, ())}
        rows = [(key_of(read_row(name, row)), row) for row in after.get(name, ())]
        new = {key: row for key, row in rows if key}
        for key in sorted(old.keys() | new.keys()):
            if old.get(key) != new.get(key):
                found.append(Difference(name, key, old.get(key), new.get(key)))
        found += [Difference(name, "", None, row) for key, row in rows if not key]
    return found


@dataclass(frozen=True, slots=True)
class Asked:
    """What one row of somebody's file asks for: a wish, or why it is none. Both None: the register says so already."""

    list: str
    number: int  #: of the row in the file, from 1; the line with the names does not count
    key: str
    wish: Wish | None
    problem: Sentence | None = None


def asked(register: Register, actor: Actor, bulk: Bulk) -> Iterator[Asked]:
    """The wishes in a file of a school, a board (mandates) or a supplier (endpoints), row by row. Raises FileError for what has no rows."""
    if not isinstance(bulk.rows, Mapping) or not all(isinstance(rows, list) for rows in bulk.rows.values()):
        raise FileError('The file must be a JSON object with lists of rows, such as {"endpoints": [...]}.')
    for name, rows in bulk.rows.items():
        for number, row in enumerate(rows, 1):
            yield _asked(register, actor, name, number, row)


def _asked(register: Register, actor: Actor, name: str, number: int, row: Row) -> Asked:
    make = _WISHES.get((actor.role, name))
    if make is None:
        allowed = [one for role, one in _WISHES if role is actor.role]
        nl = f"Als {actor.role} kunt u alleen {', '.join(allowed) or 'niets'} laden, en geen {name[:40]}."
        en = f"As {actor.role} you can load {', '.join(allowed) or 'nothing'} only, and no {name[:40]}."
        return Asked(name, number, "", None, Sentence(plain(redact(nl)), plain(redact(en))))
    key = ""
    try:
        filled = _filled(actor, name, row)
        value = read_row(name, filled)
        key = key_of(value)
        return Asked(name, number, key, make(register, value, filled))
    except RuleBroken as broken:
        return Asked(name, number, key, None, Sentence(broken.nl, broken.en))
    except ValueError as error:
        why = plain(redact(str(error)))
        return Asked(name, number, key, None, Sentence(f"De rij kan niet worden gelezen: {why}.", f"The row cannot be read: {why}."))


def _filled(actor: Actor, name: str, row: Row) -> dict[str, Any]:
    """A supplier need not repeat who it is, nor a school; and a routeringskenmerk says whose it is. Raises ValueError."""
    if not isinstance(row, Mapping):
        raise ValueError("a row must be an object")
    for field, value in row.items():
        kind = _KINDS.get(field, str)
        if value is not None and (not isinstance(value, kind) or (kind is list and not all(isinstance(word, str) for word in value))):
            raise ValueError(f"{str(field)[:40]} cannot be {str(value)[:40]}")
    filled = dict(row)
    if actor.role is Role.SUPPLIER:
        filled.setdefault("system", actor.oin)
    if actor.role in (Role.ORGANISATION, Role.BOARD):
        filled.setdefault("organisation", actor.oin)
    if name == "endpoints" and isinstance(filled.get("routeringskenmerk"), str):
        filled.setdefault("organisation", institution_of(filled["routeringskenmerk"]))
    if name == "endpoints" and bool(filled.get("url")) is bool(filled.get("mailbox")):
        raise ValueError("write exactly one of url and mailbox")
    return filled


def _endpoint_wish(register: Register, value: Any, row: Row) -> Wish | None:
    endpoint: Endpoint = value
    more = {name: getattr(endpoint, name) for name in MORE}
    there = register.endpoint(endpoint.id)
    if there is None:
        return AddEndpoint(
            id=row.get("id"),
            organisation=endpoint.organisation,
            dienst=endpoint.dienst,
            versie=endpoint.versie,
            system=endpoint.system,
            routeringskenmerk=endpoint.routeringskenmerk,
            url=endpoint.url,
            attributes=endpoint.attributes,
            start=endpoint.start,
            until=endpoint.until,
            more={name: value for name, value in more.items() if value is not None},
        )
    if there == endpoint:
        return None
    if replace(there, **_changeable(endpoint)) != endpoint:
        raise ValueError(f"endpoint {there.id} is for another organisation, dienst or system; give this row another id")
    return ChangeEndpoint(
        id=there.id, url=endpoint.url, attributes=endpoint.attributes, start=endpoint.start, until=endpoint.until, more=more
    )


def _changeable(endpoint: Endpoint) -> dict[str, Any]:
    return {name: getattr(endpoint, name) for name in ("url", "attributes", "start", "until", *MORE)}


def _mandate_wish(register: Register, value: Any, row: Row) -> Wish | None:
    mandate: Mandate = value
    rows = register.mandates_of(mandate.organisation, mandate.dienst)
    there = next((one for one in rows if mandate.token and one.token == mandate.token), None)
    if there is None and mandate.token is None:
        alike = [one for one in rows if (one.system, one.start, one.revoked) == (mandate.system, mandate.start, False)]
        there = alike[0] if alike and mandate.start is not None else None
    if there is None:
        if mandate.revoked or mandate.token is not None:
            raise ValueError("there is no such mandate; a new one has no token and is not revoked")
        return GiveMandate(
            organisation=mandate.organisation, dienst=mandate.dienst, system=mandate.system, start=mandate.start, until=mandate.until
        )
    token = key_of(there)
    if mandate.revoked and not there.revoked:
        return RevokeMandate(organisation=there.organisation, token=token)
    if there == replace(mandate, token=there.token):
        return None
    if mandate.until is None or replace(there, until=mandate.until, token=None) != replace(mandate, token=None):
        raise ValueError(f"of mandate {token} only the last day can change; give a new one beside it")
    return EndMandate(organisation=there.organisation, token=token, until=mandate.until)


#: What a row of a list is to whom; an operator's rows are no wishes.
_WISHES: Final[Mapping[tuple[Role, str], Callable[[Register, Any, Row], Wish | None]]] = {
    (Role.SUPPLIER, "endpoints"): _endpoint_wish,
    (Role.ORGANISATION, "mandates"): _mandate_wish,
    (Role.BOARD, "mandates"): _mandate_wish,
}


def _text(name: str, content: bytes) -> str:
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise FileError(f"{name} is not UTF-8 (byte {error.start}); save it as UTF-8. Nothing was loaded.") from error


def _key(name: str, row: object) -> str | None:
    """What a row is known by; None where it cannot be read, which `read_register` will say better."""
    try:
        return key_of(read_row(name, row)) if isinstance(row, Mapping) else None
    except ValueError:
        return None


def _cell(where: str, field: str, text: str) -> Any:
    if field in ("roles", "channels", "attributes"):
        return [part.strip() for part in text.split(SEPARATOR) if part.strip()]
    if field == "gemeentecodes":
        return [_code(part.strip()) for part in text.split(SEPARATOR) if part.strip()]
    if field in ("mailbox", "revoked"):
        if text.lower() not in _YES:
            raise FileError(f"{where}: {field} must be true or false.")
        return _YES[text.lower()]
    if field in ("at_once", "per_second"):
        try:
            return int(text) if field == "at_once" else float(text)
        except ValueError:
            raise FileError(f"{where}: {field} {text[:20]!r} is not a number.") from None
    return text


def _code(text: str) -> dict[str, str]:
    """`0344`, or with its days `0344:2026-01-01..2026-12-31`; either day may be left out."""
    code, _, days = text.partition(":")
    start, _, until = days.partition("..")
    return {name: value for name, value in (("code", code), ("from", start), ("until", until)) if value}


def _as_cell(name: str, value: Any) -> str:
    if value is None:
        return ""
    if name == "gemeentecodes":
        return SEPARATOR.join(_code_as_cell(code) for code in value)
    if isinstance(value, list | tuple):
        return SEPARATOR.join(value)
    return str(value).lower() if isinstance(value, bool) else str(value)


def _code_as_cell(code: Row) -> str:
    days = f":{code.get('from', '')}..{code.get('until', '')}" if "from" in code or "until" in code else ""
    return f"{code['code']}{days}"


def _shown(value: Any) -> str:
    if value is None:
        return "-"
    return plain(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False))
