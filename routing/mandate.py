"""May this system act for this organisation? Judged for the sender at hand-in, for the receiver at every attempt (rule 4)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, datetime
from types import MappingProxyType
from typing import Final

from routing.amsterdam import amsterdam_day
from routing.decisions import Decision, decide
from routing.register import Endpoint, Kind, Mandate, Organisation, Register, Standing, System
from routing.register_asked import RegisterAway
from schemas.contract import MessageKind
from schemas.faults import Owner
from schemas.oin import Oin, institution_of

#: Who acts for an organisation, when it is the organisation itself that must.
_ACTS: Final[Mapping[Kind, Owner]] = {
    Kind.SCHOOL: Owner.SCHOOL,
    Kind.MUNICIPALITY: Owner.MUNICIPALITY,
    Kind.CENTRAL: Owner.RECEIVER,
    Kind.HUB: Owner.US,
}


def owner_of(organisation: Organisation) -> Owner:
    """Whose turn it is when this organisation itself must act."""
    return _ACTS[organisation.kind]


def judge_sender(register: Register, *, system: Oin, sender: Oin, kind: MessageKind, now: datetime) -> Decision:
    """May this system hand in this kind of message for this sender now? In the order of Edukoppeling facts 5.4.

    `now` is our clock at hand-in, never a date the sender wrote. A yes stays good when the mandate merely ends later;
    see `judge_standing` for one that is revoked at once.
    """
    day = amsterdam_day(now)
    inputs = {
        "system": str(system),
        "sender": str(sender),
        "dienst": kind.dienst,
        "versie": kind.versie,
        "bericht": kind.name,
        "day": str(day),
    }
    connecting = register.system(system)
    if connecting is None:
        return decide("system-unknown", register.version, inputs)
    inputs["system_name"] = connecting.name
    if not connecting.covers(day):
        return decide(f"system-{connecting.standing(day)}", register.version, inputs | connecting.days())
    version = judge_version(register, kind.dienst, kind.versie, day, inputs)
    if version.outcome != "yes":
        return version
    organisation = register.organisation(institution_of(sender))
    if organisation is None:
        return decide("sender-unknown", register.version, inputs)
    inputs["sender_name"] = organisation.name
    if not organisation.covers(day):
        return judge_gone(register, organisation, day, inputs)
    if kind.senders and not set(kind.senders).intersection(organisation.roles):
        return decide("role-not-allowed", register.version, inputs | {"roles": ", ".join(kind.senders)})
    return judge_acting(register, connecting, organisation, kind.dienst, day, inputs)


def judge_version(register: Register, dienst: str, versie: str, day: date, inputs: Mapping[str, str]) -> Decision:
    """May this dienst version be used on this day?"""
    version = register.dienst(dienst, versie)
    if version is None:
        return decide("dienst-unknown", register.version, inputs)
    if not version.covers(day):
        return decide(f"dienst-{version.standing(day)}", register.version, {**inputs, **version.days()})
    return decide("dienst-current", register.version, inputs)


def judge_gone(register: Register, organisation: Organisation, day: date, inputs: Mapping[str, str]) -> Decision:
    """Why an organisation that does not take part on this day is no sender."""
    dated = {**inputs, **organisation.days()}
    return decide(f"sender-{organisation.standing(day)}", register.version, dated, owner=_owner_of_sender(organisation))


def judge_acting(
    register: Register, system: System, organisation: Organisation, dienst: str, day: date, inputs: Mapping[str, str]
) -> Decision:
    """May this system act for this organisation in this dienst on this day? `inputs` has their names."""
    if organisation.oin == system.oin:
        return decide("own-certificate", register.version, inputs)
    try:
        standing, mandate, looked_at, asked = find_mandate(register, organisation.oin, dienst, system.oin, day)
    except RegisterAway as away:
        return decide("sender-register-away", register.version, {**inputs, **away.facts()})
    if standing == "valid":
        return decide("mandate", register.version, {**inputs, **asked}, looked_at)
    dated = {**inputs, **(mandate.days() if mandate else {}), **asked}
    return decide(f"mandate-{standing}", register.version, dated, looked_at, owner=_owner_of_sender(organisation))


def _owner_of_sender(organisation: Organisation) -> Owner:
    return Owner.SUPPLIER if organisation.kind is Kind.CENTRAL else owner_of(organisation)


def judge_standing(register: Register, *, system: Oin, sender: Oin, kind: MessageKind, received_at: datetime, now: datetime) -> Decision:
    """May a message that was rightly accepted still go on? Only an immediate revocation of its mandate stops it (rule 4).

    A mandate that ended, or a row that is gone from the register, does not: the recorded decision at hand-in stands. Another register does
    not tell third parties whether a mandate ended or was revoked, so only a row of ours stops anything.
    """
    institution, day = institution_of(sender), str(amsterdam_day(now))
    inputs = {"system": str(system), "sender": str(sender), "dienst": kind.dienst, "day": day}
    rows = [row for row in register.mandates_of(institution, kind.dienst) if row.system == system]
    if any(row.revoked for row in rows) and institution != system:
        handed_in = amsterdam_day(received_at)
        then = [row for row in rows if row.covers(handed_in)]
        if then and all(row.revoked for row in then):
            organisation = register.organisations[institution]
            inputs |= {"received": str(handed_in), "sender_name": organisation.name, "system_name": register.systems[system].name}
            looked_at = tuple(row.key for row in rows)
            return decide("mandate-revoked-since", register.version, inputs, looked_at, owner=owner_of(organisation))
    return decide("mandate-still-good", register.version, inputs)


def judge_receiver(register: Register, endpoint: str, now: datetime, *, system: str | None = None, receiver: str | None = None) -> Decision:
    """May a delivery go to the endpoint with this id now: is it still there and current, and does its system have the mandate?

    `system`: whose it was when the delivery was pointed there; a row that kept its id and changed hands is another place.
    `receiver`: for whom it is, which may have delegated that, or have ended its delegation, since. A wait means: ask `resolve` for a
    successor.
    """
    inputs = {"endpoint": endpoint, "day": str(amsterdam_day(now))}
    try:
        row = register.endpoint(endpoint)
    except RegisterAway as away:
        return decide("endpoint-register-away", register.version, inputs | away.facts())
    if row is None:
        return decide("endpoint-gone", register.version, inputs)
    if system is not None and row.system != system:
        return decide("endpoint-moved", register.version, inputs | {"system": system, "successor": row.system})
    day = amsterdam_day(now)
    if receiver is not None and row.organisation != receives_for(register, institution_of(Oin(receiver)), row.dienst, day):
        return decide("endpoint-not-theirs", register.version, inputs | {"receiver": receiver, "dienst": row.dienst})
    return judge_endpoint(register, row, day)


def receives_for(register: Register, organisation: Oin, dienst: str, day: date) -> Oin:
    """Whose endpoint gets an organisation's messages of this dienst: its own, or its region's."""
    delegation = register.delegation(organisation, dienst, day)
    return organisation if delegation is None else delegation.region


def judge_endpoint(register: Register, endpoint: Endpoint, day: date, asked: Mapping[str, str] = MappingProxyType({})) -> Decision:
    """The same for an endpoint of this register, on a day. `asked`: which other register named it, and when."""
    organisation, system = register.organisations[endpoint.organisation], register.system(endpoint.system)
    inputs = {
        "receiver": str(endpoint.routeringskenmerk or organisation.oin),
        "name": organisation.name,
        "dienst": endpoint.dienst,
        "versie": endpoint.versie,
        "endpoint": endpoint.id,
        "system": str(endpoint.system),
        "day": str(day),
        **asked,
    }
    if system is None:  # another register's endpoint
        return decide("endpoint-system-unknown", register.version, inputs)
    inputs["system_name"] = system.name
    code = "ROUTE_GEMEENTE_NOT_CONNECTED" if organisation.kind is Kind.MUNICIPALITY else None
    owner = owner_of(organisation)
    if not organisation.covers(day):
        return judge_party(register, organisation, inputs, day)
    if not endpoint.covers(day):
        acts = owner if code else None
        return decide(f"endpoint-{endpoint.standing(day)}", register.version, inputs | endpoint.days(), code=code, owner=acts)
    if not system.covers(day):
        return decide("endpoint-system-not-current", register.version, inputs | system.days(), code=code, owner=owner if code else None)
    if organisation.oin == system.oin:
        return decide("endpoint", register.version, inputs)
    try:
        standing, mandate, looked_at, said = find_mandate(
            register, organisation.oin, endpoint.dienst, system.oin, day, mailbox=endpoint.url is None
        )
    except RegisterAway as away:
        return decide("endpoint-register-away", register.version, inputs | away.facts())
    inputs |= said
    if standing == "valid":
        return decide("endpoint", register.version, inputs, looked_at)
    days = mandate.days() if mandate else {}
    return decide(f"endpoint-mandate-{standing}", register.version, inputs | days, looked_at, code=code, owner=owner)


def judge_party(register: Register, organisation: Organisation, inputs: Mapping[str, str], day: date) -> Decision:
    """What to do for a receiver that is not there on this day: over is final, coming is worth waiting for."""
    inputs = {**inputs, **organisation.days()}
    if organisation.standing(day) is Standing.NOT_YET:
        return decide("party-not-yet", register.version, inputs, owner=owner_of(organisation))
    if organisation.kind is Kind.MUNICIPALITY:
        return decide("party-ended", register.version, inputs, code="ROUTE_GEMEENTE_ENDED", owner=Owner.SCHOOL)
    return decide("party-ended", register.version, inputs)


def find_mandate(
    register: Register, organisation: Oin, dienst: str, system: Oin, day: date, *, mailbox: bool = False
) -> tuple[str, Mandate | None, tuple[str, ...], Mapping[str, str]]:
    """How the mandate stands (valid, missing, ended, not-yet, revoked), the row that says so, all rows looked at, and which other register
    was asked, and when. `mailbox`: it is needed for an endpoint that is a mailbox. Raises RegisterAway."""
    rows, asked = register.mandates_between(organisation, dienst, system, day, mailbox=mailbox)
    return *_standing(rows, day), tuple([row.key for row in rows]), asked


def _standing(rows: Sequence[Mandate], day: date) -> tuple[str, Mandate | None]:
    """Of several ended rows the last one counts; of several that start later, the first."""
    for row in rows:
        if not row.revoked and row.covers(day):
            return "valid", row
    if not rows:
        return "missing", None
    for row in rows:
        if row.revoked and row.covers(day):
            return "revoked", row
    ended = [row for row in rows if not row.revoked and row.standing(day) is Standing.ENDED]
    if ended:
        return "ended", max(ended, key=lambda row: row.until or date.max)
    coming = [row for row in rows if not row.revoked]
    if coming:
        return "not-yet", min(coming, key=lambda row: row.start or date.min)
    return "revoked", rows[0]


class DecisionCache:
    """`judge_sender` with a memory. Equal questions get the very same Decision, so its record is made once. For one thread.

    Keys name the register's version and the day, so nothing is forgotten too late; at `limit` answers, some 2 kB each, the oldest leaves.
    """

    def __init__(self, limit: int = 5_000) -> None:
        self._limit = limit
        self._known: dict[tuple[int, date, str, str, str], Decision] = {}

    def judge_sender(self, register: Register, *, system: Oin, sender: Oin, kind: MessageKind, now: datetime) -> Decision:
        """As the function."""
        key = (register.version, amsterdam_day(now), system, sender, kind.action)
        known = self._known.get(key)
        if known is None:
            known = judge_sender(register, system=system, sender=sender, kind=kind, now=now)
            if known.fleeting:
                return known
            if len(self._known) >= self._limit:
                del self._known[next(iter(self._known))]
            self._known[key] = known
        return known

    def __len__(self) -> int:
        return len(self._known)
