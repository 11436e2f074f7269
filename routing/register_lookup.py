"""What the register is asked through its API: which schools, mandates and endpoints there are on a day. Source: domain facts 1.3."""

from __future__ import annotations

from collections.abc import Collection
from datetime import date

from routing.mandate import judge_endpoint, receives_for
from routing.register import DienstVersion, Endpoint, Kind, Mandate, Organisation, Register
from schemas.oin import institution_of


def schools(register: Register, *, name: str | None, oin: str | None, brin: str | None, oa_id: str | None) -> list[Organisation]:
    """Schools to which all of this applies, by OIN; `name`: a part of it, capitals or not. None: it does not matter."""
    found: list[Organisation | None]
    if oin is not None:
        found = [register.organisation(oin)]
    elif brin is not None:
        found = [register.by_brin(brin)]
    else:
        found = [register.organisations[key] for key in sorted(register.organisations)]
    part = (name or "").casefold()
    return [
        row
        for row in found
        if row is not None
        and row.kind is Kind.SCHOOL
        and part in row.name.casefold()
        and (brin is None or row.brin == brin)
        and (oa_id is None or row.oa_id == oa_id)
    ]


def service_codes(register: Register) -> list[str]:
    """Each dienst once, in alphabetical order."""
    return sorted({row.dienst for row in register.diensten.values()})


def versions_of(register: Register, dienst: str | None) -> list[DienstVersion]:
    """All versions of a dienst, of every day; None: of every dienst."""
    return sorted((row for row in register.diensten.values() if dienst in (None, row.dienst)), key=lambda row: (row.dienst, row.versie))


def version_by_namespace(register: Register, namespace: str) -> DienstVersion | None:
    """The version whose key this namespace is."""
    return next((row for row in register.diensten.values() if row.namespace == namespace), None)


def mandate_on(register: Register, *, school: str, system: str, dienst: str, day: date) -> Mandate | None:
    """The mandate by which this system acts for this organisation on this day; of several the one that lasts longest."""
    organisation, known = register.organisation(institution_of(school)), register.system(system)
    if organisation is None or known is None or not organisation.covers(day) or not known.covers(day):
        return None
    found = [row for row in register.mandates_of(organisation.oin, dienst) if row.system == system and not row.revoked and row.covers(day)]
    return max(found, key=lambda row: row.until or date.max, default=None)


def endpoints_on(
    register: Register, *, receiver: str, version: DienstVersion, day: date, future: bool = False, attributes: Collection[str] = ()
) -> list[Endpoint]:
    """Where this organisation, with all its administrations, or this routeringskenmerk can be reached on this day.

    An endpoint whose system may not act for the organisation is none. A municipality that delegated this dienst is reached where its region
    is. `future`: those that begin later too, in the order of their days.
    `attributes`: only endpoints that have all of these.
    """
    found = []
    if receiver == institution_of(receiver):
        receiver = receives_for(register, institution_of(receiver), version.dienst, day)
    for row in register.endpoints_of(receiver, version.dienst, version.versie):
        first = max(day, row.start or day) if future else day
        if set(attributes) <= set(row.attributes) and judge_endpoint(register, row, first).outcome == "yes":
            found.append(row)
    return sorted(found, key=lambda row: (row.start or date.min, row.id))
