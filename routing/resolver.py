"""Where is it delivered? The recipe at the end of domain facts section 1, judged on the day of the attempt (rule 4)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime

from routing.amsterdam import amsterdam_day
from routing.decisions import Decision, decide
from routing.mandate import judge_endpoint, judge_party, owner_of
from routing.register import Delegation, Endpoint, Kind, Organisation, Register, Standing
from routing.register_asked import RegisterAway
from schemas.oin import Oin, institution_of


@dataclass(frozen=True, slots=True)
class Resolution:
    """The endpoint to deliver to, or why there is none now. `decision.outcome` is yes, wait, or no (final)."""

    endpoint: Endpoint | None
    decision: Decision


def resolve(register: Register, *, receiver: Oin, dienst: str, versie: str, now: datetime) -> Resolution:
    """Where a message for this organisation or routeringskenmerk goes now.

    Only an endpoint whose system may act for the receiver counts: one without a mandate is passed over for one that has it,
    so after a supplier switch the successor is found. Two that may both act for an organisation are for its people to choose from.
    """
    day = amsterdam_day(now)
    organisation = register.organisation(institution_of(receiver))
    inputs = {"receiver": str(receiver), "dienst": dienst, "versie": versie, "day": str(day)}
    if organisation is None:
        return Resolution(None, decide("party-unknown", register.version, inputs))
    inputs["name"] = organisation.name
    if not organisation.covers(day):
        return Resolution(None, judge_party(register, organisation, inputs, day))
    delegation = register.delegation(organisation.oin, dienst, day)
    if delegation is not None:
        return _at_region(register, organisation, delegation, inputs, day)
    return _at(register, organisation, receiver, inputs, day)


def places(register: Register, *, receiver: Oin, dienst: str, versie: str, now: datetime) -> tuple[Endpoint, ...]:
    """Every endpoint to which the register lets a message for this organisation or routeringskenmerk go now: what `resolve` finds; where
    it finds several, those from which a person may choose."""
    day = amsterdam_day(now)
    organisation = register.organisation(institution_of(receiver))
    if organisation is None or not organisation.covers(day):
        return ()
    delegation = register.delegation(organisation.oin, dienst, day)
    if delegation is not None:
        region = register.organisation(delegation.region)
        if region is None or not region.covers(day):
            return ()
        receiver = region.oin
    rows = register.endpoints_of(receiver, dienst, versie)
    return tuple(row for row in rows if row.covers(day) and judge_endpoint(register, row, day).outcome == "yes")


def may_pass_on(register: Register, receiver: str, day: date) -> bool:
    """Whether a receiver is a municipality that takes part no more: the one that has its gemeentecode may get what was meant for it."""
    organisation = register.organisation(institution_of(Oin(receiver)))
    return organisation is not None and organisation.kind is Kind.MUNICIPALITY and organisation.standing(day) is Standing.ENDED


def _at_region(register: Register, municipality: Organisation, delegation: Delegation, inputs: dict[str, str], day: date) -> Resolution:
    """What a municipality has delegated goes where the region receives; not further: a region's own delegations are of its own messages."""
    more = {
        "receiver": inputs["receiver"],
        "municipality": str(municipality.oin),
        "municipality_name": municipality.name,
        "delegation": delegation.id,
        "region": str(delegation.region),
    }
    region = register.organisation(delegation.region)
    if region is None or not region.covers(day):
        days = region.days() if region else {}
        return Resolution(None, decide("delegation-region-gone", register.version, inputs | days | more, (delegation.id,)))
    found = _at(register, region, region.oin, inputs | {"receiver": str(region.oin), "name": region.name}, day)
    decision = found.decision
    rule = "endpoint-delegated" if found.endpoint else decision.rule
    candidates = (delegation.id, *decision.candidates)
    named = decide(rule, register.version, {**decision.inputs, **more}, candidates, code=decision.code, owner=decision.owner)
    return Resolution(found.endpoint, named)


def _at(register: Register, organisation: Organisation, receiver: Oin, inputs: dict[str, str], day: date) -> Resolution:
    """Where this organisation, which takes part on this day, receives it."""
    try:
        rows, asked = register.endpoints_for(receiver, inputs["dienst"], inputs["versie"], day)
    except RegisterAway as away:
        return Resolution(None, decide("endpoint-register-away", register.version, inputs | away.facts()))
    inputs = {**inputs, **asked}
    judged = [(row, judge_endpoint(register, row, day, asked)) for row in rows if row.covers(day)]
    usable = [(row, decision) for row, decision in judged if decision.outcome == "yes"]
    if len(usable) == 1:
        endpoint, decision = usable[0]
        if len(rows) > 1:  # which others there were is part of the answer
            decision = decide(decision.rule, register.version, decision.inputs, tuple(row.id for row in rows))
        return Resolution(endpoint, decision)
    candidates = tuple(row.id for row in rows)
    if usable:
        return Resolution(None, decide("ambiguous", register.version, inputs, candidates, owner=owner_of(organisation)))
    if judged:  # the row that started last is the one its people think of
        _, decision = max(judged, key=lambda found: found[0].start or date.min)
        return Resolution(
            None, decide(decision.rule, register.version, decision.inputs, candidates, code=decision.code, owner=decision.owner)
        )
    return Resolution(None, _no_endpoint(register, organisation, rows, inputs, day, asked=bool(asked)))


def _no_endpoint(
    register: Register, organisation: Organisation, rows: Sequence[Endpoint], inputs: Mapping[str, str], day: date, *, asked: bool
) -> Decision:
    """Nothing is current: whose turn it is depends on what there was, will be, and who holds a mandate. Another register that was `asked`
    does not tell who holds one, but for a system that is named."""
    inputs = dict(inputs)
    candidates = tuple(row.id for row in rows)
    connected = organisation.kind is not Kind.MUNICIPALITY
    code, owner = (None, None) if connected else ("ROUTE_GEMEENTE_NOT_CONNECTED", owner_of(organisation))
    coming = [row for row in rows if row.standing(day) is Standing.NOT_YET]
    if coming:
        first = min(coming, key=lambda row: row.start or date.min)
        return decide("endpoint-not-yet", register.version, inputs | first.days(), candidates, code=code, owner=owner)
    mandated = (
        asked
        or organisation.oin in register.systems
        or any(row.covers(day) and not row.revoked for row in register.mandates_of(organisation.oin, inputs["dienst"]))
    )
    if not mandated:
        return decide("no-system", register.version, inputs, candidates, code=code, owner=owner_of(organisation))
    if rows:
        last = max(rows, key=lambda row: row.until or date.max)
        return decide("endpoint-ended", register.version, inputs | last.days(), candidates, code=code, owner=owner)
    return decide("no-endpoint", register.version, inputs, candidates, code=code, owner=owner)
