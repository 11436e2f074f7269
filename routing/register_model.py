"""The service register in memory: organisations, systems, dienst versions, mandates and endpoints, each with its days.

`read_register` checks a whole document and names every problem in it; what it returns never changes and answers each
question by one dictionary look-up. Days are Europe/Amsterdam days, the end day included (rule 4). Source: domain facts 1.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from enum import StrEnum
from typing import Final, Literal

from schemas.oin import Oin

Channel = Literal["amqp", "https"]


class Standing(StrEnum):
    """How something that has days stands on a day."""

    CURRENT = "current"
    ENDED = "ended"
    NOT_YET = "not-yet"
    UNKNOWN = "unknown"  #: never in the register


class Kind(StrEnum):
    """What an organisation is; it decides who must act when something of it is missing."""

    SCHOOL = "school"
    MUNICIPALITY = "municipality"
    CENTRAL = "central"
    HUB = "hub"


@dataclass(frozen=True, slots=True, kw_only=True)
class Dated:
    """Anything with days. None: no such limit."""

    start: date | None = None  #: first day; `from` in the document
    until: date | None = None  #: last day, itself included

    def covers(self, day: date) -> bool:
        """Whether it is valid on this day."""
        return (self.start is None or self.start <= day) and (self.until is None or day <= self.until)

    def standing(self, day: date) -> Standing:
        """Current, ended, or not yet."""
        if self.start is not None and day < self.start:
            return Standing.NOT_YET
        return Standing.CURRENT if self.until is None or day <= self.until else Standing.ENDED

    def days(self) -> dict[str, str]:
        """Its days as decisions and documents hold them: `from` and `until`, absent when there is no limit."""
        named = (("from", self.start), ("until", self.until))
        return {name: day.isoformat() for name, day in named if day is not None}


@dataclass(frozen=True, slots=True, kw_only=True)
class Gemeentecode(Dated):
    """A municipality code (CBS, four digits) for as long as it is this municipality's."""

    code: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Organisation(Dated):
    """Who speaks or is spoken to."""

    oin: Oin
    name: str
    kind: Kind
    roles: tuple[str, ...] = ()
    brin: str | None = None  #: of a school, as its OIN says
    gemeentecodes: tuple[Gemeentecode, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class System(Dated):
    """What connects: its certificate's OIN is its name everywhere."""

    oin: Oin
    name: str
    supplier: str
    channels: tuple[Channel, ...] = ("amqp", "https")


@dataclass(frozen=True, slots=True, kw_only=True)
class DienstVersion(Dated):
    """A version of a dienst, and the days on which it may be used to hand in."""

    dienst: str
    versie: str
    namespace: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Mandate(Dated):
    """An organisation lets a system act for it in a dienst, in both directions."""

    organisation: Oin
    dienst: str
    system: Oin
    revoked: bool = False  #: withdrawn at once: counts on no day, and stops messages that were handed in under it (rule 4)

    @property
    def key(self) -> str:
        """What decisions call it: the system, and its days where it has any."""
        days = f" {self.start or ''}..{self.until or ''}" if self.start or self.until else ""
        return f"{self.system}{days}{' revoked' if self.revoked else ''}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint(Dated):
    """Where one organisation, or one administration of it, receives one dienst version: a URL, or a mailbox of its system."""

    id: str
    organisation: Oin
    routeringskenmerk: Oin | None = None
    dienst: str
    versie: str
    system: Oin
    url: str | None = None  #: None: the system's mailbox
    address: str | None = None  #: logical address for wsa:To, without oin, where we write the envelope; None: anonymous
    at_once: int | None = None  #: calls under way at a time, less than the usual
    per_second: float | None = None  #: calls a second, of each process that pushes
    attributes: tuple[str, ...] = ()

    def address_for(self, receiver: str) -> str | None:
        """wsa:To of a message for this receiver; None: whoever writes the envelope uses the anonymous address (facts 2.3)."""
        if self.address is None:
            return None
        return f"{self.address}{'&' if '?' in self.address else '?'}oin={receiver}"

    @property
    def lane(self) -> str:
        """What the window and the circuit breaker count by: all endpoints that are in truth one queue or one URL share it (rule 7)."""
        return f"mailbox {self.system}" if self.url is None else f"push {self.system} {self.url}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What a look-up on a day gave: the organisation there was, is or will be, and `row`, whose days say when."""

    standing: Standing
    organisation: Organisation | None = None
    row: Dated | None = None


_NOWHERE: Final = Found(standing=Standing.UNKNOWN)


@dataclass(frozen=True, slots=True, eq=False)
class Register:
    """One version of the register; immutable, shared by all decisions made with it."""

    version: int
    organisations: Mapping[str, Organisation]
    systems: Mapping[str, System]
    diensten: Mapping[tuple[str, str], DienstVersion]
    mandates: Sequence[Mandate] = field(repr=False)
    endpoints: Mapping[str, Endpoint] = field(repr=False)
    _by_brin: Mapping[str, Organisation] = field(repr=False)
    _by_gemeentecode: Mapping[str, tuple[tuple[Gemeentecode, Organisation], ...]] = field(repr=False)
    _by_role: Mapping[str, tuple[Organisation, ...]] = field(repr=False)
    _mandates: Mapping[tuple[str, str], tuple[Mandate, ...]] = field(repr=False)
    _endpoints: Mapping[tuple[str, str, str], tuple[Endpoint, ...]] = field(repr=False)
    _changes: Sequence[date] = field(repr=False)

    @classmethod
    def build(
        cls,
        version: int,
        *,
        organisations: Iterable[Organisation] = (),
        systems: Iterable[System] = (),
        diensten: Iterable[DienstVersion] = (),
        mandates: Iterable[Mandate] = (),
        endpoints: Iterable[Endpoint] = (),
    ) -> Register:
        """Index rows that `read_register` has checked."""
        by_oin: dict[str, Organisation] = {row.oin: row for row in organisations}
        by_system: dict[str, System] = {row.oin: row for row in systems}
        by_version = {(row.dienst, row.versie): row for row in diensten}
        by_id = {row.id: row for row in endpoints}
        all_mandates = tuple(mandates)
        codes: dict[str, list[tuple[Gemeentecode, Organisation]]] = {}
        roles: dict[str, list[Organisation]] = {}
        for organisation in by_oin.values():
            for code in organisation.gemeentecodes:
                codes.setdefault(code.code, []).append((within(code, organisation), organisation))
            for role in organisation.roles:
                roles.setdefault(role, []).append(organisation)
        allowed: dict[tuple[str, str], tuple[Mandate, ...]] = {}
        for mandate in all_mandates:
            owner = (mandate.organisation, mandate.dienst)
            allowed[owner] = (*allowed.get(owner, ()), mandate)
        places: dict[tuple[str, str, str], tuple[Endpoint, ...]] = {}
        for endpoint in by_id.values():
            for receiver in filter(None, (endpoint.organisation, endpoint.routeringskenmerk)):
                place = (receiver, endpoint.dienst, endpoint.versie)
                places[place] = (*places.get(place, ()), endpoint)
        dated: list[Iterable[Dated]] = [by_oin.values(), by_system.values(), by_version.values(), all_mandates, by_id.values()]
        dated.extend(organisation.gemeentecodes for organisation in by_oin.values())
        return cls(
            version=version,
            organisations=by_oin,
            systems=by_system,
            diensten=by_version,
            mandates=all_mandates,
            endpoints=by_id,
            _by_brin={row.brin: row for row in by_oin.values() if row.brin},
            _by_gemeentecode={code: tuple(rows) for code, rows in codes.items()},
            _by_role={role: tuple(rows) for role, rows in roles.items()},
            _mandates=allowed,
            _endpoints=places,
            _changes=sorted({day for rows in dated for row in rows for day in _turns(row)}),
        )

    def organisation(self, oin: str) -> Organisation | None:
        """The organisation with this OIN, whatever its days. For a routeringskenmerk, ask for its `schemas.oin.institution_of`."""
        return self.organisations.get(oin)

    def by_brin(self, brin: str) -> Organisation | None:
        """The school with this BRIN, whatever its days."""
        return self._by_brin.get(brin)

    def by_role(self, role: str, day: date) -> tuple[Organisation, ...]:
        """The organisations that have this role on this day."""
        return tuple(row for row in self._by_role.get(role, ()) if row.covers(day))

    def by_gemeentecode(self, code: str, day: date) -> Found:
        """Whose this code is on this day; else who had it last, else who will have it first; else unknown."""
        rows = self._by_gemeentecode.get(code)
        if not rows:
            return _NOWHERE
        for row, organisation in rows:
            if row.covers(day):
                return Found(standing=Standing.CURRENT, organisation=organisation, row=row)
        ended = [found for found in rows if found[0].standing(day) is Standing.ENDED]
        if ended:
            row, organisation = max(ended, key=lambda found: found[0].until or date.max)
            return Found(standing=Standing.ENDED, organisation=organisation, row=row)
        row, organisation = min(rows, key=lambda found: found[0].start or date.min)
        return Found(standing=Standing.NOT_YET, organisation=organisation, row=row)

    def system(self, oin: str) -> System | None:
        """The system with this certificate OIN, whatever its days."""
        return self.systems.get(oin)

    def dienst(self, dienst: str, versie: str) -> DienstVersion | None:
        """This version of the dienst, whatever its days."""
        return self.diensten.get((dienst, versie))

    def mandates_of(self, organisation: str, dienst: str) -> tuple[Mandate, ...]:
        """All mandates of this organisation for this dienst, of every day."""
        return self._mandates.get((organisation, dienst), ())

    def endpoint(self, id: str) -> Endpoint | None:
        """The endpoint with this id, whatever its days."""
        return self.endpoints.get(id)

    def endpoints_of(self, receiver: str, dienst: str, versie: str) -> tuple[Endpoint, ...]:
        """All endpoints, of every day, of an organisation (those of its administrations too) or of one routeringskenmerk."""
        return self._endpoints.get((receiver, dienst, versie), ())

    def next_change(self, day: date) -> date | None:
        """The first day after `day` on which anything starts, or is over; None when nothing ever does.

        Answers of this version hold until then, so caches and waiting deliveries are looked at again on that day.
        """
        place = bisect_right(self._changes, day)
        return self._changes[place] if place < len(self._changes) else None

    def to_document(self) -> dict[str, object]:
        """The document `read_register` makes this register from; ids of endpoints are written out."""
        return {
            "organisations": [_organisation_row(row) for row in self.organisations.values()],
            "systems": [
                _row(row, oin=row.oin, name=row.name, supplier=row.supplier, channels=list(row.channels)) for row in self.systems.values()
            ],
            "diensten": [_row(row, dienst=row.dienst, versie=row.versie, namespace=row.namespace) for row in self.diensten.values()],
            "mandates": [
                _row(row, organisation=row.organisation, dienst=row.dienst, system=row.system, revoked=row.revoked) for row in self.mandates
            ],
            "endpoints": [_endpoint_row(row) for row in self.endpoints.values()],
        }


def within(code: Gemeentecode, organisation: Organisation) -> Gemeentecode:
    """The code for the days on which its municipality exists too."""
    if organisation.start is None and organisation.until is None:
        return code
    return Gemeentecode(
        code=code.code,
        start=max(filter(None, (code.start, organisation.start)), default=None),
        until=min(filter(None, (code.until, organisation.until)), default=None),
    )


def _turns(row: Dated) -> Iterable[date]:
    """The days on which this row becomes valid, and on which it is so no more."""
    if row.start is not None:
        yield row.start
    if row.until is not None and row.until < date.max:
        yield row.until + timedelta(days=1)


def _row(dated: Dated, **fields: object) -> dict[str, object]:
    return {name: value for name, value in fields.items() if value not in (None, [], False)} | dict(dated.days())


def _organisation_row(row: Organisation) -> dict[str, object]:
    codes = [_row(code, code=code.code) for code in row.gemeentecodes]
    return _row(row, oin=row.oin, name=row.name, kind=str(row.kind), roles=list(row.roles), brin=row.brin, gemeentecodes=codes)


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
