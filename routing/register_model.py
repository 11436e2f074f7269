"""The service register in memory: one version of it, which never changes and answers every question.

`read_register` checks a whole document and names every problem in it. Days are Europe/Amsterdam days, the end day included (rule 4).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Final

from routing.register_parts import Parts, WholeParts, days_of, next_of
from routing.register_rows import write_row
from routing.register_values import (
    ACTIVE,
    Board,
    Channel,
    Dated,
    Delegation,
    DienstVersion,
    Endpoint,
    Found,
    Gemeentecode,
    Kind,
    Mandate,
    Organisation,
    Standing,
    System,
    within,
)
from schemas.oin import institution_of

__all__ = [
    "ACTIVE",
    "Board",
    "Channel",
    "Dated",
    "Delegation",
    "DienstVersion",
    "Endpoint",
    "Found",
    "Gemeentecode",
    "Kind",
    "Mandate",
    "Organisation",
    "Register",
    "Standing",
    "System",
    "within",
]

_NOWHERE: Final = Found(standing=Standing.UNKNOWN)


@dataclass(frozen=True, slots=True, eq=False)
class Register:
    """One version of the register; immutable, shared by all decisions made with it. Most of it is in memory; mandates and endpoints are
    asked of its `parts`, and questions about those raise StoreUnavailable where these are a store's."""

    version: int
    organisations: Mapping[str, Organisation]
    boards: Mapping[str, Board] = field(repr=False)
    systems: Mapping[str, System]
    diensten: Mapping[tuple[str, str], DienstVersion]
    delegations: Mapping[str, Delegation] = field(repr=False)
    parts: Parts = field(repr=False)
    _by_brin: Mapping[str, Organisation] = field(repr=False)
    _by_gemeentecode: Mapping[str, tuple[tuple[Gemeentecode, Organisation], ...]] = field(repr=False)
    _by_role: Mapping[str, tuple[Organisation, ...]] = field(repr=False)
    _delegated: Mapping[tuple[str, str], tuple[Delegation, ...]] = field(repr=False)
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
        boards: Iterable[Board] = (),
        delegations: Iterable[Delegation] = (),
        parts: Parts | None = None,
    ) -> Register:
        """Index rows that were checked. `parts`: instead of `mandates` and `endpoints`."""
        by_oin: dict[str, Organisation] = {row.oin: row for row in organisations}
        by_system: dict[str, System] = {row.oin: row for row in systems}
        by_version = {(row.dienst, row.versie): row for row in diensten}
        by_board: dict[str, Board] = {row.oin: row for row in boards}
        by_id = {row.id: row for row in delegations}
        codes: dict[str, list[tuple[Gemeentecode, Organisation]]] = {}
        roles: dict[str, list[Organisation]] = {}
        for organisation in by_oin.values():
            for code in organisation.gemeentecodes:
                codes.setdefault(code.code, []).append((within(code, organisation), organisation))
            for role in organisation.roles:
                roles.setdefault(role, []).append(organisation)
        delegated: dict[tuple[str, str], tuple[Delegation, ...]] = {}
        for row in by_id.values():
            given = (row.municipality, row.dienst)
            delegated[given] = (*delegated.get(given, ()), row)
        gemeentecodes = (code for organisation in by_oin.values() for code in organisation.gemeentecodes)
        small: tuple[Iterable[Dated], ...] = (by_oin.values(), by_system.values(), by_version.values(), by_board.values(), by_id.values())
        return cls(
            version=version,
            organisations=by_oin,
            boards=by_board,
            systems=by_system,
            diensten=by_version,
            delegations=by_id,
            parts=WholeParts(mandates, endpoints) if parts is None else parts,
            _by_brin={row.brin: row for row in by_oin.values() if row.brin},
            _by_gemeentecode={code: tuple(rows) for code, rows in codes.items()},
            _by_role={role: tuple(rows) for role, rows in roles.items()},
            _delegated=delegated,
            _changes=days_of(*small, gemeentecodes),
        )

    def organisation(self, oin: str) -> Organisation | None:
        """The organisation with this OIN, whatever its days. For a routeringskenmerk, ask for its `schemas.oin.institution_of`."""
        return self.organisations.get(oin)

    def by_brin(self, brin: str) -> Organisation | None:
        """The school with this BRIN, whatever its days."""
        return self._by_brin.get(brin)

    def gemeentecodes(self) -> Iterable[str]:
        """Every code that a municipality has, had or will have."""
        return self._by_gemeentecode.keys()

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

    def delegation(self, municipality: str, dienst: str, day: date) -> Delegation | None:
        """To which region the municipality's messages of this dienst go on this day; None: to itself."""
        given = self._delegated.get((municipality, dienst))
        return next((row for row in given if row.covers(day)), None) if given else None

    def delegates(self, dienst: str) -> bool:
        """Whether anybody ever delegated this dienst."""
        return any(row.dienst == dienst for row in self.delegations.values())

    def mandates_of(self, organisation: str, dienst: str) -> tuple[Mandate, ...]:
        """All mandates of this organisation for this dienst, of every day."""
        return self.parts.of_organisation(organisation).by_dienst.get(dienst, ())

    def endpoints_of(self, receiver: str, dienst: str, versie: str) -> tuple[Endpoint, ...]:
        """All endpoints, of every day, of an organisation (those of its administrations too) or of one routeringskenmerk."""
        return self.parts.of_organisation(institution_of(receiver)).by_place.get((receiver, dienst, versie), ())

    def mandates_between(
        self, organisation: str, dienst: str, system: str, day: date, *, mailbox: bool = False
    ) -> tuple[Sequence[Mandate], Mapping[str, str]]:
        """What decides on this day whether this system may act for the organisation; and which other register said so, where one did.
        Raises RegisterAway, and NotAsked (routing.register_asked)."""
        return self.parts.mandates(organisation, dienst, system, day, mailbox=mailbox)

    def endpoints_for(self, receiver: str, dienst: str, versie: str, day: date) -> tuple[Sequence[Endpoint], Mapping[str, str]]:
        """What decides on this day where this receiver is reached; the rest as above."""
        return self.parts.endpoints(receiver, dienst, versie, day)

    def endpoint(self, id: str) -> Endpoint | None:
        """The endpoint with this id, whatever its days."""
        return self.parts.endpoint(id)

    def next_change(self, day: date) -> date | None:
        """The first day after `day` on which anything starts, or is over; None when nothing ever does.

        Answers of this version hold until then, so caches and waiting deliveries are looked at again on that day.
        """
        return min(filter(None, (next_of(self._changes, day), self.parts.next_change(day))), default=None)

    def sizes(self) -> dict[str, int]:
        """How many rows each list has."""
        mandates, endpoints = self.parts.sizes()
        return {
            "organisations": len(self.organisations),
            "boards": len(self.boards),
            "systems": len(self.systems),
            "diensten": len(self.diensten),
            "mandates": mandates,
            "endpoints": endpoints,
            "delegations": len(self.delegations),
        }

    def to_document(self) -> dict[str, object]:
        """The document `read_register` makes this register from; ids of endpoints are written out."""
        lists: dict[str, Iterable[Dated]] = {
            "organisations": self.organisations.values(),
            "boards": self.boards.values(),
            "systems": self.systems.values(),
            "diensten": self.diensten.values(),
            "mandates": self.parts.every_mandate(),
            "endpoints": self.parts.every_endpoint(),
            "delegations": self.delegations.values(),
        }
        return {name: [write_row(row) for row in rows] for name, rows in lists.items()}
