"""From a document (a JSON object) to a `Register`, or to the list of everything that is wrong with it.

The document holds the lists in `register_rows.FIELDS`. Every problem names the
list, the row (counted from 1) and its key, and says what to do, so that one round of mending is enough.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from datetime import date
from sys import intern
from typing import Any, Final, TypeVar
from urllib.parse import urlsplit

from routing.register_checks import (
    delegations_do_not_overlap,
    gemeentecodes_do_not_overlap,
    namespaces_differ,
    routeringskenmerken_do_not_overlap,
)
from routing.register_model import (
    ACTIVE,
    Board,
    Dated,
    Delegation,
    DienstVersion,
    Endpoint,
    Found,
    Gemeentecode,
    Kind,
    Mandate,
    Organisation,
    Register,
    Standing,
    System,
)
from routing.register_rows import CHANNELS, FIELDS, day_of, delegation_id, endpoint_id
from schemas.oin import BRIN_SHAPE, Oin, brin_of, institution_of, is_oin, school_oin
from schemas.privacy import redact

#: The register is one thing to its users, in two files: what it is (`register_model`), and how a document becomes it (here).
__all__ = [
    "FIELDS",
    "Board",
    "Delegation",
    "DienstVersion",
    "Endpoint",
    "Found",
    "Gemeentecode",
    "Kind",
    "Mandate",
    "Organisation",
    "Register",
    "RegisterError",
    "Standing",
    "System",
    "read_register",
]

#: Roles, dienst codes and versions: they become parts of names and routing keys.
_WORD: Final = re.compile(r"[a-z0-9][a-z0-9._-]{0,39}\Z")
_ADDRESS: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:[^\s<>\"#]{1,500}\Z")
_CODE: Final = re.compile(r"[0-9]{4}\Z")
_DAY: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}\Z")
_LOOPBACK: Final = frozenset({"localhost", "127.0.0.1", "::1"})

D = TypeVar("D", bound=Dated)


class RegisterError(Exception):
    """The document is no register. `problems` is everything that must be mended; nothing of the document was used."""

    def __init__(self, problems: Iterable[str]) -> None:
        self.problems = tuple(redact(problem) for problem in problems)
        more = f" (and {len(self.problems) - 1} more)" if len(self.problems) > 1 else ""
        super().__init__(f"The register was not loaded: {self.problems[0]}{more}")


class _Row:
    """One row while it is read: gives fields of the right shape, and collects what is wrong."""

    __slots__ = ("fields", "number", "problems", "where")

    def __init__(self, where: str, number: int, fields: Mapping[str, object], problems: list[str]) -> None:
        self.where, self.number, self.fields, self.problems = where, number, fields, problems

    @property
    def key(self) -> str:
        """What the row calls itself, for people."""
        names = ("id", "oin", "code", "routeringskenmerk", "organisation", "dienst", "system", "versie")
        found = [str(self.fields[name]) for name in names if isinstance(self.fields.get(name), str)]
        return " ".join(found[:3]) or "no key"

    def wrong(self, sentence: str) -> None:
        """Note a problem; the sentence says what to do."""
        self.problems.append(f"{self.where} row {self.number} ({self.key}): {sentence}")

    def text(self, name: str) -> str:
        """A text that must be there."""
        value = self.fields.get(name)
        if isinstance(value, str) and value.strip():
            return value
        self.wrong(f"{name} is missing; write it as text" if value is None else f"{name} must be a text that is not empty")
        return ""

    def some_text(self, name: str) -> str | None:
        """A text that may be left out."""
        return None if self.fields.get(name) is None else self.text(name)

    def word(self, name: str) -> str:
        """A code of small letters, digits, dots and dashes."""
        value = self.text(name)
        if value and not _WORD.match(value):
            self.wrong(f"{name} {value!r} must be small letters, digits, '.', '_' or '-', at most 40")
        return intern(value)

    def oin(self, name: str, *, whole: bool = True) -> Oin:
        """An OIN; `whole`: of an institution, not a routeringskenmerk."""
        value = self.text(name)
        if value and not is_oin(value):
            self.wrong(f"{name} {value!r} is not an OIN; write 20 positions, eight digits and then twelve digits or capitals")
        elif whole and value and institution_of(value) != value:
            self.wrong(f"{name} {value} is a routeringskenmerk; write the OIN of the institution, {institution_of(value)}")
        return Oin(intern(value))

    def words(self, name: str) -> tuple[str, ...]:
        """A list of different texts; absent is empty."""
        value = self.fields.get(name, [])
        if isinstance(value, list) and all(isinstance(item, str) and item for item in value) and len(set(value)) == len(value):
            return tuple(value)
        self.wrong(f'{name} must be a list of different texts, such as ["vo"]')
        return ()

    def flag(self, name: str) -> bool:
        """True or false; absent is false."""
        value = self.fields.get(name, False)
        if isinstance(value, bool):
            return value
        self.wrong(f"{name} must be true or false")
        return False

    def day(self, name: str) -> date | None:
        """A day as YYYY-MM-DD; absent or null is no limit."""
        value = self.fields.get(name)
        if value is None:
            return None
        try:
            if isinstance(value, str) and _DAY.match(value):
                return day_of(value)
        except ValueError:
            pass  # no such day in the calendar: the same advice
        self.wrong(f"{name} {value!r} is not a day; write it as YYYY-MM-DD")
        return None

    def days(self) -> tuple[date | None, date | None]:
        """`from` and `until`."""
        start, until = self.day("from"), self.day("until")
        if start and until and until < start:
            self.wrong(f"until {until} lies before from {start}; the end day itself is included, so write {start} or later")
        return start, until

    def known(self, fields: frozenset[str]) -> None:
        """A misspelt `until` must not make a mandate endless."""
        for name in self.fields:
            if name not in fields:
                self.wrong(f"{str(name)[:40]!r} is not a field of {self.where}; use {', '.join(sorted(fields))}")


def read_register(document: object, *, version: int) -> Register:
    """The register a document describes. Raises RegisterError with every problem found."""
    problems: list[str] = []
    if not isinstance(document, Mapping):
        raise RegisterError([f"the document must be a JSON object with the lists {', '.join(FIELDS)}"])
    problems += [f"{str(name)[:40]!r} is not a list of the register; use {', '.join(FIELDS)}" for name in document if name not in FIELDS]
    read = _Reader(problems)
    boards = read.rows(document, "boards", read.board, lambda row: row.oin)
    read.boards = {row.oin for _, row in boards}
    organisations = read.rows(document, "organisations", read.organisation, lambda row: row.oin)
    systems = read.rows(document, "systems", read.system, lambda row: row.oin)
    diensten = read.rows(document, "diensten", read.dienst, lambda row: f"{row.dienst} {row.versie}")
    read.known(organisations, systems, diensten)
    mandates = read.rows(document, "mandates", read.mandate, _mandate_key)
    endpoints = read.rows(document, "endpoints", read.endpoint, lambda row: row.id)
    delegations = read.rows(document, "delegations", read.delegation, lambda row: row.id)
    _tokens_differ(mandates, problems)
    namespaces_differ(diensten, problems)
    gemeentecodes_do_not_overlap(organisations, problems)
    routeringskenmerken_do_not_overlap(endpoints, problems)
    delegations_do_not_overlap(delegations, problems)
    if problems:
        raise RegisterError(problems)
    return Register.build(
        version,
        organisations=(row for _, row in organisations),
        systems=(row for _, row in systems),
        diensten=(row for _, row in diensten),
        mandates=(row for _, row in mandates),
        endpoints=(row for _, row in endpoints),
        boards=(row for _, row in boards),
        delegations=(row for _, row in delegations),
    )


class _Reader:
    """Reads rows of each list; knows, once the first three are read, what mandates and endpoints may refer to."""

    def __init__(self, problems: list[str]) -> None:
        self.problems = problems
        self.organisations: dict[str, Organisation] = {}
        self.systems: dict[str, System] = {}
        self.versions: dict[str, set[str]] = {}
        self.boards: set[Oin] = set()

    def rows(
        self, document: Mapping[str, object], where: str, read: Callable[[_Row], D], key: Callable[[D], object]
    ) -> list[tuple[int, D]]:
        """The list's rows with their numbers; rows that are no objects or repeat another are noted and left out."""
        found = document.get(where, [])
        if not isinstance(found, list):
            self.problems.append(f"{where} must be a list of objects")
            return []
        rows: list[tuple[int, D]] = []
        first: dict[object, int] = {}
        for number, fields in enumerate(found, 1):
            if not isinstance(fields, Mapping):
                self.problems.append(f"{where} row {number}: must be an object")
                continue
            row = _Row(where, number, fields, self.problems)
            row.known(FIELDS[where])
            value = read(row)
            earlier = first.setdefault(key(value), number)
            if earlier == number:
                rows.append((number, value))
            else:
                row.wrong(f"says the same as row {earlier}; remove one of them")
        return rows

    def known(
        self, organisations: list[tuple[int, Organisation]], systems: list[tuple[int, System]], diensten: list[tuple[int, DienstVersion]]
    ) -> None:
        """What the other lists may refer to from here on."""
        self.organisations = {row.oin: row for _, row in organisations}
        self.systems = {row.oin: row for _, row in systems}
        for _, row in diensten:
            self.versions.setdefault(row.dienst, set()).add(row.versie)

    def organisation(self, row: _Row) -> Organisation:
        start, until = row.days()
        oin, name, word = row.oin("oin"), row.text("name"), row.text("kind")
        kind = Kind(word) if word in set(Kind) else None
        if word and kind is None:
            row.wrong(f"kind {word!r} is unknown; use {', '.join(Kind)}")
        roles = row.words("roles")
        for role in roles:
            if not _WORD.match(role):
                row.wrong(f"role {role!r} must be small letters, digits, '.', '_' or '-', at most 40")
        codes = self._gemeentecodes(row)
        if kind is Kind.MUNICIPALITY and not codes:
            row.wrong('a municipality has gemeentecodes; write them as [{"code": "0344"}], with from and until where they began or ended')
        if kind is not Kind.MUNICIPALITY and codes:
            row.wrong("only a municipality has gemeentecodes; remove them, or make its kind municipality")
        return Organisation(
            oin=oin,
            name=name,
            kind=kind or Kind.CENTRAL,
            roles=roles,
            brin=self._brin(row, oin, kind),
            gemeentecodes=codes,
            board=self._board(row, kind),
            oa_id=row.some_text("oa_id"),
            start=start,
            until=until,
        )

    def _board(self, row: _Row, kind: Kind | None) -> Oin | None:
        if row.fields.get("board") is None:
            return None
        board = row.oin("board")
        if board and board not in self.boards:
            row.wrong(f"board {board} is not in boards; add it there, or correct the OIN")
        if kind not in (None, Kind.SCHOOL):
            row.wrong("only a school has a board; remove it, or make its kind school")
        return board

    def board(self, row: _Row) -> Board:
        start, until = row.days()
        return Board(oin=row.oin("oin"), name=row.text("name"), start=start, until=until)

    def _brin(self, row: _Row, oin: Oin, kind: Kind | None) -> str | None:
        """A school's BRIN stands in its OIN (Edukoppeling facts 5.2); the field may repeat it."""
        inside = brin_of(oin)
        said = row.fields.get("brin")
        if said is not None and not (isinstance(said, str) and BRIN_SHAPE.match(said)):
            row.wrong(f"brin {said!r} is not a BRIN; write two digits and two capitals")
            return inside
        if kind is Kind.SCHOOL and inside is None and is_oin(oin):
            right = school_oin(str(said)) if said else "00000007000<BRIN>00000"
            row.wrong(f"a school's OIN holds its BRIN; write {right}, or choose another kind")
        elif kind is Kind.SCHOOL and said is not None and inside is not None and said != inside:
            row.wrong(f"brin {said} is not the BRIN in its OIN, {inside}; correct one of them")
        elif kind is not None and kind is not Kind.SCHOOL and (said is not None or inside is not None):
            row.wrong(f"only a school has a BRIN, and this is a {kind}; make its kind school, or correct oin and brin")
        return inside

    def _gemeentecodes(self, row: _Row) -> tuple[Gemeentecode, ...]:
        found = row.fields.get("gemeentecodes", [])
        if not (isinstance(found, list) and all(isinstance(item, Mapping) for item in found)):
            row.wrong('gemeentecodes must be a list of objects, such as [{"code": "0344", "from": "2026-01-01"}]')
            return ()
        codes = []
        for number, fields in enumerate(found, 1):
            inner = _Row(f"organisations row {row.number} gemeentecodes", number, fields, self.problems)
            inner.known(frozenset({"code", "from", "until"}))
            start, until = inner.days()
            code = inner.text("code")
            if code and not _CODE.match(code):
                inner.wrong(f"code {code!r} is not a gemeentecode; write four digits, leading zeros included")
            codes.append(Gemeentecode(code=code, start=start, until=until))
        return tuple(codes)

    def system(self, row: _Row) -> System:
        start, until = row.days()
        names = row.words("channels") if "channels" in row.fields else tuple(CHANNELS)
        if not names or any(name not in CHANNELS for name in names):
            row.wrong(f"channels must name at least one of {', '.join(CHANNELS)}; leave the field out for all")
        channels = tuple(CHANNELS[name] for name in names if name in CHANNELS)
        return System(oin=row.oin("oin"), name=row.text("name"), supplier=row.text("supplier"), channels=channels, start=start, until=until)

    def dienst(self, row: _Row) -> DienstVersion:
        start, until = row.days()
        return DienstVersion(
            dienst=row.word("dienst"),
            versie=row.word("versie"),
            namespace=row.text("namespace"),
            name=row.some_text("name") or "",
            description=row.some_text("description") or "",
            status=row.some_text("status") or ACTIVE,
            start=start,
            until=until,
        )

    def _organisation_and_system(self, row: _Row) -> tuple[Oin, Oin]:
        organisation, system = row.oin("organisation"), row.oin("system", whole=False)
        if organisation and organisation not in self.organisations:
            row.wrong(f"organisation {organisation} is not in organisations; add it there, or correct the OIN")
        if system and system not in self.systems:
            row.wrong(f"system {system} is not in systems; add it there, or correct the OIN")
        return organisation, system

    def mandate(self, row: _Row) -> Mandate:
        start, until = row.days()
        organisation, system = self._organisation_and_system(row)
        dienst = row.word("dienst")
        if dienst and dienst not in self.versions:
            row.wrong(f"dienst {dienst} is not in diensten; add it there, or correct it")
        return Mandate(
            organisation=organisation,
            dienst=dienst,
            system=system,
            revoked=row.flag("revoked"),
            token=row.some_text("token"),
            start=start,
            until=until,
        )

    def delegation(self, row: _Row) -> Delegation:
        start, until = row.days()
        municipality, region, dienst = row.oin("municipality"), row.oin("region"), row.word("dienst")
        for name, oin in (("municipality", municipality), ("region", region)):
            if oin and oin not in self.organisations:
                row.wrong(f"{name} {oin} is not in organisations; add it there, or correct the OIN")
        if municipality in self.organisations and self.organisations[municipality].kind is not Kind.MUNICIPALITY:
            row.wrong(f"municipality {municipality} is none; only a municipality delegates its messages")
        if municipality and municipality == region:
            row.wrong("region is the municipality itself; remove the row")
        if dienst and dienst not in self.versions:
            row.wrong(f"dienst {dienst} is not in diensten; add it there, or correct it")
        id = row.some_text("id") or delegation_id(municipality, dienst, start)
        return Delegation(id=id, municipality=municipality, dienst=dienst, region=region, start=start, until=until)

    def endpoint(self, row: _Row) -> Endpoint:
        start, until = row.days()
        organisation, system = self._organisation_and_system(row)
        dienst, versie = row.word("dienst"), row.word("versie")
        if dienst and versie and versie not in self.versions.get(dienst, ()):
            row.wrong(f"dienst {dienst} version {versie} is not in diensten; add it there, or correct it")
        kenmerk = row.oin("routeringskenmerk", whole=False) if row.fields.get("routeringskenmerk") is not None else None
        if kenmerk and is_oin(kenmerk):
            if kenmerk == organisation:
                row.wrong("routeringskenmerk is the organisation's own OIN; leave it out for an endpoint of the whole organisation")
            elif institution_of(kenmerk) != organisation:
                row.wrong(f"routeringskenmerk {kenmerk} is not one of {organisation}; its first 15 positions must be the same")
        derived = endpoint_id(kenmerk or organisation, dienst, versie, system, start)
        return Endpoint(
            id=derived if row.fields.get("id") is None else row.text("id"),
            organisation=organisation,
            routeringskenmerk=kenmerk,
            dienst=dienst,
            versie=versie,
            system=system,
            url=self._url(row),
            address=self._address(row),
            at_once=self._number(row, "at_once", 1, 1_000),
            per_second=self._number(row, "per_second", 0.01, 10_000),
            attributes=row.words("attributes"),
            start=start,
            until=until,
        )

    def _address(self, row: _Row) -> str | None:
        """A logical address: nothing is ever connected to there."""
        if row.fields.get("address") is None:
            return None
        address = row.text("address")
        if address and not is_address(address):
            row.wrong(f"address {address[:80]!r} is not usable; write the absolute URI of the service, without oin (that is added)")
        return address

    def _number(self, row: _Row, name: str, least: float, most: float) -> Any:
        value = row.fields.get(name)
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int if isinstance(least, int) else int | float) or not least <= value <= most:
            row.wrong(f"{name} must be a number from {least:g} to {most:g}{', whole' if isinstance(least, int) else ''}")
            return None
        return value

    def _url(self, row: _Row) -> str | None:
        mailbox = row.flag("mailbox")
        if (row.fields.get("url") is not None) == mailbox:
            row.wrong('an endpoint has a url or a mailbox; write exactly one of url and "mailbox": true')
            return None
        if mailbox:
            return None
        url = row.text("url")
        if url and not is_https(url):
            row.wrong(f"url {url[:80]!r} is not usable; write https://host/path, without name or password (http only for localhost)")
        return url


def _tokens_differ(mandates: list[tuple[int, Mandate]], problems: list[str]) -> None:
    first: dict[str, int] = {}
    for number, row in mandates:
        if row.token is not None and first.setdefault(row.token, number) != number:
            problems.append(
                f"mandates row {number} ({row.organisation} {row.dienst}): token is that of row {first[row.token]}; leave it out"
            )


def _mandate_key(row: Mandate) -> object:
    """With a token it is what it is, also when an equal one was revoked; without, two equal ones are a mistake."""
    return row.token or (row.organisation, row.dienst, row.system, row.start, row.until)


def is_address(address: str) -> bool:
    """Whether it may be a logical address: an absolute URI, to which `oin=` is still to be added."""
    return _ADDRESS.match(address) is not None and "oin=" not in address.lower()


def is_https(url: str) -> bool:
    """Whether it may stand in an endpoint: https, or http for this machine only, and nothing secret in it."""
    try:
        parts = urlsplit(url)
        secure = parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in _LOOPBACK)
        return (
            secure
            and bool(parts.hostname)
            and parts.username is None
            and parts.port != 0
            and url.isascii()
            and url.isprintable()
            and " " not in url
        )
    except ValueError:  # a port that is no number, a bracket too many
        return False
