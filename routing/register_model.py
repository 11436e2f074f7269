"""The service register in memory: one version of it, which never changes and answers every question.

`read_register` checks a whole document and names every problem in it. Days are Europe/Amsterdam days, the end day included (rule 4).
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Final

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
    turns,
    within,
)

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
    """One version of the register; immutable, shared by all decisions made with it."""

    version: int
    organisations: Mapping[str, Organisation]
    systems: Mapping[str, System]
    diensten: Mapping[tuple[str, str], DienstVersion]
    boards: Mapping[str, Board] = field(repr=False)
    delegations: Sequence[Delegation] = field(repr=False)
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
        boards: Iterable[Board] = (),
        delegations: Iterable[Delegation] = (),
    ) -> Register:
        """Index rows that `read_register` has checked."""
        by_oin: dict[str, Organisation] = {row.oin: row for row in organisations}
        by_system: dict[str, System] = {row.oin: row for row in systems}
        by_version = {(row.dienst, row.versie): row for row in diensten}
        by_id = {row.id: row for row in endpoints}
        by_board: dict[str, Board] = {row.oin: row for row in boards}
        all_mandates, all_delegations = tuple(mandates), tuple(delegations)
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
        dated += [by_board.values(), all_delegations]
        dated.extend(organisation.gemeentecodes for organisation in by_oin.values())
        return cls(
            version=version,
            organisations=by_oin,
            systems=by_system,
            diensten=by_version,
            boards=by_board,
            delegations=all_delegations,
            mandates=all_mandates,
            endpoints=by_id,
            _by_brin={row.brin: row for row in by_oin.values() if row.brin},
            _by_gemeentecode={code: tuple(rows) for code, rows in codes.items()},
            _by_role={role: tuple(rows) for role, rows in roles.items()},
            _mandates=allowed,
            _endpoints=places,
            _changes=sorted({day for rows in dated for row in rows for day in turns(row)}),
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
        lists: dict[str, Iterable[Dated]] = {
            "organisations": self.organisations.values(),
            "boards": self.boards.values(),
            "systems": self.systems.values(),
            "diensten": self.diensten.values(),
            "mandates": self.mandates,
            "endpoints": self.endpoints.values(),
            "delegations": self.delegations,
        }
        return {name: [write_row(row) for row in rows] for name, rows in lists.items()}
