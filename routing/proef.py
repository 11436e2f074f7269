"""Proefs of our own: a message without personal data that the backbone sends to an endpoint, to see whether it works (dienst `proef`).

Somebody asks for one, and is told at once why it cannot be. A worker makes it and hands it in; from there on it goes as any message does,
and what came of the first attempt is its outcome: whoever tests is waiting, and asks again. So it stays nowhere open for long.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from enum import StrEnum
from typing import Final, Protocol

from routing.actions import CannotAct
from routing.amsterdam import amsterdam_day
from routing.decisions import Decision, decide
from routing.mandate import judge_version
from routing.people import Scope
from routing.register import Endpoint, Register
from routing.resolver import Resolution, resolve
from schemas.contract import MessageKind
from schemas.oin import Oin, institution_of

#: The one dienst of which the backbone is a sender itself.
DIENST, VERSIE, ACTION = "proef", "1", "urn:x-backbone:proef:1/proef"
#: How such a message came in, where others have `amqp` or `https`.
VIA: Final = "proef"
#: Seconds between two proefs to one endpoint; and how many one receiving system gets in an hour.
EVERY_S, PER_HOUR, HOUR_S = 30, 30, 3_600
#: What decisions about messages say at their end: here nothing waits.
_WAITS: Final = re.compile(r"[;,] (?:het bericht wacht|the message waits)[^.]*\.\Z")
#: Endpoints looked at for one that may be used: a supplier has one for each of its hundreds of schools.
_LOOKED_AT: Final = 50


class ProefState(StrEnum):
    """How a proef stands."""

    ASKED = "asked"  #: a worker is to make it
    UNDER_WAY = "under_way"  #: handed in; waits for its turn, or for the endpoint's answer
    DELIVERED = "delivered"  #: stands in the mailbox; its system has not confirmed it yet
    ACKNOWLEDGED = "acknowledged"  #: the endpoint took it, or its system confirmed it
    FAILED = "failed"
    REFUSED = "refused"  #: no message could be made of it


#: It stays as it is.
ENDED: Final = frozenset({ProefState.ACKNOWLEDGED, ProefState.FAILED, ProefState.REFUSED})


@dataclass(frozen=True, slots=True, kw_only=True)
class Proef:
    """One of them."""

    id: str  #: a UUID: the reference of its message, its MessageID and its business id
    state: ProefState = ProefState.ASKED
    receiver: str  #: OIN or routeringskenmerk
    organisation: str
    system: str  #: the receiving one
    endpoint: str
    lane: str
    asked_by: str
    asked_us: int
    code: str | None = None  #: why it failed
    owner: str | None = None  #: of the next action
    reason: str | None = None  #: what the endpoint answered, or what was wrong
    took_us: int | None = None  #: how long the endpoint took to answer, or its system to confirm
    ended_us: int | None = None

    @property
    def ended(self) -> bool:
        """Whether anything may still come of it."""
        return self.state in ENDED


class NoProef(CannotAct):
    """It cannot be sent; one sentence in each language that says why, and what to do."""

    def __init__(self, en: str, nl: str, *, after_s: int | None = None) -> None:
        super().__init__(en, nl)
        self.after_s = after_s  #: seconds after which it may be tried again


class Proefs(Protocol):
    """How proefs are asked for, and what came of them. Everything is limited to a scope. Raises StoreUnavailable."""

    def ask(self, scope: Scope, *, organisation: str | None = None, system: str | None = None, lane: str | None = None, who: str) -> Proef:
        """To this organisation (or routeringskenmerk), to this system, or by this lane: at least one of them is given. Raises NoProef."""

    def proefs(self, scope: Scope, *, party: str | None = None, lane: str | None = None, limit: int = 20) -> Sequence[Proef]:
        """To this system or organisation, the newest first."""

    def proef(self, scope: Scope, id: str) -> Proef | None:
        """One of them; None also where it is another's."""


def aim(register: Register, *, organisation: str | None, system: str | None, lane: str | None, now: datetime) -> tuple[str, Endpoint]:
    """The receiver to address, and the endpoint to which the register then lets a proef go now. Where several would do, the first.
    Raises NoProef."""
    day, first = amsterdam_day(now), None
    for receiver in _receivers(register, organisation, system, lane, day):
        found = resolve(register, receiver=Oin(receiver), dienst=DIENST, versie=VERSIE, now=now)
        if found.endpoint is None:
            first = first or found
        elif system in (None, found.endpoint.system) and lane in (None, found.endpoint.lane):
            return receiver, found.endpoint
    raise _no_way(first, organisation, system)


def _receivers(register: Register, organisation: str | None, system: str | None, lane: str | None, day: date) -> Iterator[str]:
    """Who may be addressed to reach it, in an order of their own. An organisation that has delegated is reached by its own name."""
    if organisation is not None:
        yield organisation
    by = system if system is not None else lane.split(" ")[1] if lane is not None else None
    rows = (
        register.parts.of_system(by).endpoints
        if by is not None
        else register.parts.of_organisation(institution_of(Oin(organisation or ""))).endpoints
    )
    wanted = [row for row in rows if (row.dienst, row.versie) == (DIENST, VERSIE) and row.covers(day)]
    wanted = [row for row in wanted if lane in (None, row.lane) and organisation in (None, row.organisation, row.routeringskenmerk)]
    for row in sorted(wanted, key=lambda row: (row.organisation, row.routeringskenmerk or ""))[:_LOOKED_AT]:
        yield row.routeringskenmerk or row.organisation


def _no_way(found: Resolution | None, organisation: str | None, system: str | None) -> NoProef:
    if found is not None:
        return NoProef(*(_WAITS.sub(".", said) for said in (found.decision.text_en, found.decision.text_nl)))
    whom_nl, whom_en = "dit adres", "this address"
    if organisation or system:
        whom_nl = f"organisatie {organisation}" if organisation else f"systeem {system}"
        whom_en = f"organisation {organisation}" if organisation else f"system {system}"
    return NoProef(
        f"In the service register {whom_en} has no endpoint for {DIENST} version {VERSIE} now; its supplier must record one.",
        f"In het serviceregister heeft {whom_nl} nu geen endpoint voor {DIENST} versie {VERSIE}; de leverancier moet het vastleggen.",
    )


def judge_own(register: Register, *, own: Oin, kind: MessageKind, now: datetime) -> tuple[Decision, Decision]:
    """May the backbone itself send this: whose message it is, and whether it may be sent (rule 4). Of dienst `proef`, and no other: what
    anybody else sends is judged by `routing.mandate`, and nobody hands in as us. Raises ValueError for any other dienst."""
    if kind.dienst != DIENST:
        raise ValueError(f"the backbone sends no {kind.dienst}")
    day = str(amsterdam_day(now))
    inputs = {
        "system": str(own),
        "sender": str(own),
        "dienst": kind.dienst,
        "versie": kind.versie,
        "bericht": kind.name,
        "day": day,
    }
    made = decide("made-here", register.version, {"system": str(own)})
    version = judge_version(register, kind.dienst, kind.versie, amsterdam_day(now), inputs)
    return made, version if version.outcome != "yes" else decide("own-proef", register.version, inputs)


def paused(lane: str, who: str) -> NoProef:
    """An operator holds it: nothing leaves for it, a proef neither."""
    return NoProef(
        f"This address was paused by {who}: nothing goes there, and no test message either. Resume it first.",
        f"Dit adres is gepauzeerd door {who}: er gaat niets heen, ook geen proefbericht. Hervat het eerst.",
    )


def waits() -> NoProef:
    """An earlier one to this endpoint has not ended."""
    return NoProef(
        "The test message before is still on its way to this address; see first what comes of that.",
        "Het vorige proefbericht naar dit adres is nog onderweg; kijk eerst wat daarvan komt.",
    )


def too_soon(after_s: int) -> NoProef:
    """One was sent a moment ago, or many in an hour."""
    return NoProef(
        f"A test message went there a moment ago; in {after_s} s there may be another.",
        f"Hierheen ging net al een proefbericht; over {after_s} s kan het weer.",
        after_s=after_s,
    )
