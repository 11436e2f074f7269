"""What is amiss now, as signals: failures by cause and partner, endpoints that are held, mailboxes nobody empties, warnings, our own lag.

One faulty release of a LAS is one signal, however many schools and receivers it meets: failures count by code, dienst and whoever must
act, and warnings by kind and partner.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from routing.alerts import Cause, Count, Kind, Signal
from routing.amsterdam import amsterdam_day
from routing.contacts import ContactRole
from routing.release import PROBE_AFTER_S
from routing.warnings import Warning, WarningKind
from schemas.faults import CODES, Owner, remedy_of
from schemas.faults import Cause as Class
from schemas.oin import is_oin

#: A mailbox in which something has stood for so long is emptied by nobody.
UNFETCHED_AFTER: Final = timedelta(hours=24)
#: The audit worker chains each event within a second, and the timetable looks at deadlines every ten.
UNCHAINED_AFTER: Final = timedelta(seconds=60)
OVERDUE_AFTER: Final = timedelta(minutes=5)
#: Fault classes that are for whoever sees to the software; the others are for whoever sees to the content.
_TECHNICAL: Final = frozenset({Class.TRANSPORT, Class.CERT, Class.SCHEMA, Class.INTERNAL, Class.DUPLICATE})
_AT_RECEIVER: Final = frozenset({Owner.RECEIVER, Owner.MUNICIPALITY})
_ANSWER_MISSING: Final = "ANSWER_MISSING"


@dataclass(frozen=True, slots=True, kw_only=True)
class Failing:
    """Failures of one code, owner and dienst, at one party: the connecting system, or the receiving one where that must act."""

    code: str
    owner: str
    dienst: str
    party: str  #: certificate OIN; empty where nobody is known
    hour: int  #: in the last hour
    day: int
    first_us: int  #: of these, or of all there ever were
    last_us: int
    ticket: str | None = None  #: the partner has all of it under this ticket (routing.board.GroupState), and its day has not passed


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldLane:
    """A lane that the circuit breaker holds (routing.release)."""

    lane: str
    code: str | None
    probes: int  #: that failed
    at_us: int  #: when the last one did, or when it was held
    by_hand: bool
    waiting: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """What stands in a mailbox, unconfirmed."""

    system: str
    oldest_us: int
    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """All of it, as one look saw it."""

    failures: Sequence[Failing] = ()
    sent: Mapping[tuple[str, str], tuple[int, int]] = field(default_factory=dict)  #: (system, dienst) -> handed in: last hour, last day
    received: Mapping[tuple[str, str], tuple[int, int]] = field(default_factory=dict)  #: the same of what was for it
    held: Sequence[HeldLane] = ()
    mailboxes: Sequence[Standing] = ()
    unchained_us: int | None = None  #: when the oldest event happened that is not chained
    overdue_us: int | None = None  #: the oldest deadline that was passed and not acted on
    missing: Mapping[str, int] = field(default_factory=dict)  #: kinds of worker that were not heard of -> since when


def signals(
    facts: Facts, warnings: Iterable[Warning], now: datetime, *, ours: str, knows: Callable[[str], bool] = lambda party: True
) -> list[Signal]:
    """Everything that may become an alert. `ours`: our own OIN; `knows`: whether a party has contacts."""
    now_us = int(now.timestamp() * 1e6)
    found = [_failing(one, facts, ours) for one in facts.failures if one.day]
    found += _held(facts.held, ours)
    found += [_standing(one) for one in facts.mailboxes if now_us - one.oldest_us >= _us(UNFETCHED_AFTER)]
    found += _warned(warnings, now, ours, knows)
    found += _behind(facts, now_us, ours)
    return found


def party_of(owner: str, system: str, receiver_system: str) -> str:
    """Who must act on failures that a group has by its two systems; empty where that is us, or nobody is known. A school's own are told to
    the system it works with, which is what it will turn to."""
    if owner in (Owner.SUPPLIER, Owner.SCHOOL):
        return system
    return receiver_system if owner in _AT_RECEIVER else ""


def _failing(one: Failing, facts: Facts, ours: str) -> Signal:
    kind = CODES.get(one.code)
    partner = one.party if is_oin(one.party) else ours
    remedy = remedy_of(one.code, one.owner)
    passed = (facts.received if one.owner in _AT_RECEIVER else facts.sent).get((one.party, one.dienst), (None, None))
    return Signal(
        cause=Cause(
            kind=Kind.UNANSWERED if one.code == _ANSWER_MISSING else Kind.FAILURES,
            partner=partner,
            dienst=one.dienst,
            code=one.code,
            about=one.owner,
        ),
        counts=(Count(one.hour, passed[0]), Count(one.day, passed[1])),
        since_us=one.first_us,
        last_us=one.last_us,
        size=one.day,
        says=(kind.nl, kind.en) if kind else (one.code, one.code),
        do=remedy if remedy[0] is not None else ("", ""),
        role=ContactRole.TECHNICAL if kind is None or kind.cause in _TECHNICAL else ContactRole.FUNCTIONAL,
        sure=one.owner == Owner.US and one.code == "POISON",
        ticket=one.ticket,
    )


def held_since(one: HeldLane) -> int:
    """When a lane was first held, from how many probes have failed since: only the last moment is kept."""
    waits = PROBE_AFTER_S + (PROBE_AFTER_S[-1],) * max(0, one.probes - len(PROBE_AFTER_S))
    return one.at_us - int(sum(waits[: one.probes]) * 1e6)


def _held(lanes: Iterable[HeldLane], ours: str) -> list[Signal]:
    """One for each system whose endpoints are held: what ails one of its URLs ails the others."""
    grouped: dict[Cause, list[HeldLane]] = defaultdict(list)
    for one in lanes:
        system = one.lane.split(" ")[1] if " " in one.lane else ""
        if one.by_hand:
            grouped[Cause(kind=Kind.PAUSED, partner=ours, about=one.lane, code="HELD_BY_OPERATOR")].append(one)
        else:
            grouped[Cause(kind=Kind.PAUSED, partner=system if is_oin(system) else ours)].append(one)
    return [_paused(cause, members) for cause, members in grouped.items()]


def _paused(cause: Cause, lanes: Sequence[HeldLane]) -> Signal:
    kind = None if cause.code else next((found for one in lanes if (found := CODES.get(one.code or ""))), None)
    why = (f": {_low(kind.nl)}", f": {_low(kind.en)}") if kind else ("", "")
    said, do = _BY_HAND if cause.code else _BY_ITSELF
    return Signal(
        cause=cause,
        counts=(Count(len(lanes)),),
        since_us=min(map(held_since, lanes)),
        last_us=max(one.at_us for one in lanes),
        size=sum(one.waiting for one in lanes),
        says=(said[0] + why[0], said[1] + why[1]),
        do=do,
    )


_BY_ITSELF: Final = (
    ("Een endpoint is gepauzeerd", "An endpoint is paused"),
    ("Herstel het endpoint; de berichten wachten en gaan daarna vanzelf.", "Mend the endpoint; messages wait, and go by themselves then."),
)
_BY_HAND: Final = (
    ("De beheerder houdt een endpoint vast", "The operator holds an endpoint"),
    ("Laat het gaan zodra het weer mag: run.py lanes --let-go.", "Let it go as soon as it may: run.py lanes --let-go."),
)


def _standing(one: Standing) -> Signal:
    return Signal(
        cause=Cause(kind=Kind.UNFETCHED, partner=one.system),
        counts=(Count(one.count),),
        since_us=one.oldest_us,
        last_us=one.oldest_us,
        size=one.count,
        says=("Een postbus wordt niet geleegd", "Nobody empties a mailbox"),
        do=(
            "Laat het systeem zijn berichten ophalen en bevestigen; wat te lang blijft staan, valt uit.",
            "Have the system fetch and confirm its messages; what stands too long falls out.",
        ),
    )


#: Warnings that become alerts: what is wrong, and what to do. The others are to know, and stand in the portal. An endpoint that cannot be
#: reached is told sooner, as one that is held.
_WARNED: Final[Mapping[WarningKind, tuple[Kind, tuple[str, str], tuple[str, str]]]] = {
    WarningKind.CERTIFICATE_ENDS: (
        Kind.WARNING,
        ("Een certificaat verloopt binnen {days} dagen", "A certificate ends within {days} days"),
        ("Vervang het certificaat voordat het verloopt.", "Replace the certificate before it ends."),
    ),
    WarningKind.MANDATE_ENDS: (
        Kind.WARNING,
        ("Mandaten eindigen binnen {days} dagen, zonder opvolger", "Mandates end within {days} days, without a successor"),
        ("Verleng de mandaten in het serviceregister, of leg de opvolger vast.", "Extend the mandates, or record the successor."),
    ),
    WarningKind.ENDPOINT_ENDS: (
        Kind.WARNING,
        ("Endpoints eindigen binnen {days} dagen, zonder opvolger", "Endpoints end within {days} days, without a successor"),
        ("Verleng de endpoints in het serviceregister, of leg de opvolger vast.", "Extend the endpoints, or record the successor."),
    ),
    WarningKind.MAIL_CHANGES_HANDS: (
        Kind.WARNING,
        ("Openstaande berichten komen binnen een week bij een ander systeem", "Open messages will be another system's within a week"),
        ("Haal ze nu op, of zorg dat de opvolger ze kan ontvangen.", "Fetch them now, or see to it that the successor can receive them."),
    ),
    WarningKind.SCHOOL_SILENT: (
        Kind.SILENT,
        (
            "Scholen leveren al een week niets aan, terwijl vergelijkbare scholen dat wel doen",
            "Schools have handed in nothing for a week, while comparable ones have",
        ),
        ("Ga na of de aanlevering van deze scholen nog aanstaat.", "Find out whether handing in is still switched on for these schools."),
    ),
}
_SCHOOLS_TURN: Final = (Owner.SCHOOL, Owner.MUNICIPALITY)


def _warned(warnings: Iterable[Warning], now: datetime, ours: str, knows: Callable[[str], bool]) -> list[Signal]:
    grouped: dict[Cause, list[Warning]] = defaultdict(list)
    for one in warnings:
        if one.kind in _WARNED:
            kind = _WARNED[one.kind][0]
            about = "" if one.within is None else str(one.within)
            grouped[Cause(kind=kind, partner=_warned_partner(one, ours, knows), code=str(one.kind), about=about)].append(one)
    now_us, today = int(now.timestamp() * 1e6), amsterdam_day(now)
    found = []
    for cause, members in grouped.items():
        _, (nl, en), do = _WARNED[members[0].kind]
        left = min((days for one in members if (days := one.days_left(today)) is not None), default=None)
        found.append(
            Signal(
                cause=cause,
                counts=(Count(len(members)),),
                since_us=now_us,
                last_us=now_us,
                size=len(members),
                says=(nl.format(days=cause.about or "60"), en.format(days=cause.about or "60")),
                do=do,
                role=ContactRole.TECHNICAL if members[0].kind is WarningKind.CERTIFICATE_ENDS else ContactRole.FUNCTIONAL,
                urgent=cause.partner == ours and members[0].kind is WarningKind.CERTIFICATE_ENDS and left is not None and left < 2,
            )
        )
    return found


def _warned_partner(one: Warning, ours: str, knows: Callable[[str], bool]) -> str:
    """Whose turn it is, if they told us whom to write to; else the other one that it is about."""
    both = (one.organisation, one.system) if one.owner in _SCHOOLS_TURN else (one.system, one.organisation)
    named = [str(party) for party in both if party is not None]
    return next((party for party in named if knows(party)), str(one.system or one.organisation or ours))


def _behind(facts: Facts, now_us: int, ours: str) -> list[Signal]:
    found = [
        ("audit", facts.unchained_us, UNCHAINED_AFTER, "Het journaal loopt achter", "The journal lags behind"),
        ("timetable", facts.overdue_us, OVERDUE_AFTER, "Verlopen termijnen worden niet afgehandeld", "Passed deadlines are not acted on"),
    ]
    late = [(name, since, nl, en) for name, since, after, nl, en in found if since is not None and now_us - since >= _us(after)]
    late += [(f"no {name}", since, f"Er draait geen {name}", f"No {name} worker runs") for name, since in sorted(facts.missing.items())]
    do = (
        "Bekijk `run.py status` en de logboeken van deze werker, en start hem opnieuw.",
        "See `run.py status` and this worker's logs, and start it again.",
    )
    return [
        Signal(
            cause=Cause(kind=Kind.BEHIND, partner=ours, about=about),
            counts=(Count(1),),
            since_us=since,
            last_us=now_us,
            size=1,
            says=(nl, en),
            do=do,
            urgent=True,
        )
        for about, since, nl, en in late
    ]


def _low(text: str) -> str:
    return text[:1].lower() + text[1:]


def _us(span: timedelta) -> int:
    return span // timedelta(microseconds=1)
