"""Is a system ready for a school: are certificate, mandate and endpoint right on a day? The same rules as for a message, before there is
one, and only about the system that asks: what others may do for a school is not shown."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any

from routing.decisions import Decision, decide
from routing.mandate import judge_acting, judge_gone, judge_version
from routing.register import Endpoint, Organisation, Register, Standing, System
from schemas.faults import remedy_of
from schemas.oin import Oin, institution_of


@dataclass(frozen=True, slots=True, kw_only=True)
class SchoolReadiness:
    """How things are for one organisation."""

    organisation: Oin
    name: str | None  #: None: not in the register
    mandate: Decision
    endpoint: Decision


@dataclass(frozen=True, slots=True, kw_only=True)
class Readiness:
    """How things are for a system in one dienst version."""

    system: Oin
    dienst: str
    versie: str
    day: date
    register_version: int
    certificate: Decision  #: of the connection: may this system connect?
    version: Decision  #: may this dienst version be used?
    schools: tuple[SchoolReadiness, ...]

    def sends(self, school: SchoolReadiness) -> bool:
        """Whether the system may hand in for it."""
        return all(one.outcome == "yes" for one in (self.certificate, self.version, school.mandate))

    def receives(self, school: SchoolReadiness) -> bool:
        """Whether what is for it is delivered to the system."""
        return self.sends(school) and school.endpoint.outcome == "yes"


def readiness(
    register: Register,
    *,
    system: Oin,
    dienst: str,
    versie: str,
    day: date,
    schools: Iterable[Oin] | None = None,
    certificate_until: date | None = None,
) -> Readiness:
    """For these organisations; without them, for every one that ever gave this system a mandate for the dienst, and itself if it is one.
    `certificate_until`: the last day of the certificate that it connects with, where that is known."""
    connecting = register.system(system)
    wanted = _known_to(register, system, dienst) if schools is None else [institution_of(oin) for oin in schools]
    inputs = {"system": str(system), "dienst": dienst, "versie": versie, "day": str(day)}
    if connecting is not None:
        inputs["system_name"] = connecting.name
    return Readiness(
        system=system,
        dienst=dienst,
        versie=versie,
        day=day,
        register_version=register.version,
        certificate=_certificate(register, connecting, day, inputs, certificate_until),
        version=judge_version(register, dienst, versie, day, inputs),
        schools=tuple(_school(register, connecting, oin, day, inputs) for oin in dict.fromkeys(wanted)),
    )


def _known_to(register: Register, system: Oin, dienst: str) -> list[Oin]:
    mandated = {row.organisation for row in register.parts.of_system(system).mandates if row.dienst == dienst}
    itself = {system} if register.organisation(system) is not None else set()
    return sorted(mandated | itself)


def _certificate(register: Register, system: System | None, day: date, inputs: Mapping[str, str], until: date | None) -> Decision:
    if system is None:
        return decide("system-unknown", register.version, inputs)
    if not system.covers(day):
        return decide(f"system-{system.standing(day)}", register.version, {**inputs, **system.days()})
    if until is not None and until < day:
        return decide("certificate-ended", register.version, {**inputs, "until": until.isoformat()})
    return decide("connection", register.version, inputs)


def _school(register: Register, system: System | None, oin: Oin, day: date, inputs: Mapping[str, str]) -> SchoolReadiness:
    organisation = register.organisation(oin)
    about = {**inputs, "sender": str(oin), "receiver": str(oin)}
    if organisation is None:
        unknown = decide("sender-unknown", register.version, about)
        return SchoolReadiness(organisation=oin, name=None, mandate=unknown, endpoint=decide("party-unknown", register.version, about))
    about |= {"sender_name": organisation.name, "name": organisation.name}
    return SchoolReadiness(
        organisation=oin,
        name=organisation.name,
        mandate=_mandate(register, system, organisation, day, about),
        endpoint=_endpoint(register, system, organisation, day, about),
    )


def _mandate(register: Register, system: System | None, organisation: Organisation, day: date, about: Mapping[str, str]) -> Decision:
    if not organisation.covers(day):
        return judge_gone(register, organisation, day, about)
    if system is None:
        return decide("system-unknown", register.version, about)
    return judge_acting(register, system, organisation, about["dienst"], day, about)


def _endpoint(register: Register, system: System | None, organisation: Organisation, day: date, about: Mapping[str, str]) -> Decision:
    """Whether this system recorded an endpoint that is there on the day; the mandate behind it is a question of its own."""
    every = register.endpoints_of(organisation.oin, about["dienst"], about["versie"])
    rows = [row for row in every if system is not None and row.system == system.oin]
    ids = tuple(row.id for row in rows)
    current = [row for row in rows if row.covers(day)]
    if current:
        how = ", ".join(sorted({row.url or "mailbox" for row in current}))
        return decide("endpoint-there", register.version, {**about, "how": how}, ids)
    coming = [row for row in rows if row.standing(day) is Standing.NOT_YET]
    if coming:
        return decide("endpoint-not-yet", register.version, {**about, **_first(coming).days()}, ids)
    if rows:
        return decide("endpoint-ended", register.version, {**about, **max(rows, key=lambda row: row.until or date.max).days()}, ids)
    return decide("no-endpoint", register.version, about)


def _first(rows: Iterable[Endpoint]) -> Endpoint:
    return min(rows, key=lambda row: row.start or date.min)


def to_dict(found: Readiness) -> dict[str, Any]:
    """As JSON has it, here and over REST."""
    certificate = check(found.certificate)
    return {
        "system": found.system,
        "dienst": found.dienst,
        "versie": found.versie,
        "as_of": found.day.isoformat(),
        "register_version": found.register_version,
        "version": check(found.version),
        "schools": [
            {
                "organisation": school.organisation,
                "name": school.name,
                "sends": found.sends(school),
                "receives": found.receives(school),
                "certificate": certificate,
                "mandate": check(school.mandate),
                "endpoint": check(school.endpoint),
            }
            for school in found.schools
        ],
    }


def check(decision: Decision) -> dict[str, Any]:
    """One decision as JSON has it: whether it is right, and if not whose turn it is."""
    remedy_nl, remedy_en = remedy_of(decision.code, decision.owner)
    return {
        "ok": decision.outcome == "yes",
        "rule": decision.rule,
        "code": decision.code,
        "owner": str(decision.owner) if decision.owner else None,
        "nl": decision.text_nl,
        "en": decision.text_en,
        "remedy": remedy_nl,
        "remedy_en": remedy_en,
    }
