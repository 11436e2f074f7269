"""Alerts: one per cause and partner, never one per message. What is opened, told, escalated and closed, as pure functions.

A *signal* is what can be seen now (so many failures of one cause, an endpoint that is held, an answer that did not come). An *alert* is
what we remember of it: since when, how large, who was told, who took it. `decide` makes the second from the first.

There is no storm, whatever happens: a contact gets at most one message of alerts each quarter of an hour and a dozen in any day, with all
that is new in one of them, and the digest besides. What is urgent, and what is our own turn, has a dozen of its own: no partner can use
those up. And of one partner we ourselves hear every four hours at most, of all its causes together.
"""

from __future__ import annotations

import base64
import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, time, timedelta
from enum import StrEnum
from functools import lru_cache
from typing import Any, Final, Protocol

from routing.amsterdam import AMSTERDAM
from routing.contacts import Contact, ContactRole, for_cause
from routing.people import Scope
from routing.said import Said

_HOUR_US: Final = 3_600_000_000
_MINUTE_US: Final = 60_000_000
_DAY_US: Final = 24 * _HOUR_US


class Kind(StrEnum):
    """What sort of thing is amiss."""

    FAILURES = "failures"  #: messages fall out
    UNANSWERED = "unanswered"  #: answers that were expected did not come
    PAUSED = "paused"  #: an endpoint is held, because calls fail
    UNFETCHED = "unfetched"  #: nobody empties a mailbox
    SILENT = "silent"  #: sends nothing, while comparable ones do
    WARNING = "warning"  #: a certificate, mandate or endpoint is about to end
    BEHIND = "behind"  #: one of our own workers lags, or is gone


class AlertState(StrEnum):
    """Where an alert stands."""

    OPEN = "open"
    ACKNOWLEDGED = "acknowledged"  #: somebody took it: nobody else is told
    CLOSED = "closed"  #: it is over; opens again when it comes back


class Pace(StrEnum):
    """Among which messages one counts for the most a day; each has its own number."""

    ORDINARY = "ordinary"
    OWN = "own"  #: of what is our own turn
    URGENT = "urgent"


@dataclass(frozen=True, slots=True, kw_only=True)
class Cause:
    """What one alert is about."""

    kind: Kind
    partner: str  #: OIN of whose turn it is, and who is told; our own where it is our turn
    dienst: str = ""
    code: str = ""  #: a fault's code, or which warning it is
    about: str = ""  #: a system, lane, school or worker, where the partner alone does not say it

    @property
    def id(self) -> str:
        """What people and programs call the alert; always the same for the same cause. Letters in fives: never the shape of a personal
        number."""
        return _id_of("\n".join((self.kind, self.partner, self.dienst, self.code, self.about)))


@lru_cache(maxsize=16_384)
def _id_of(text: str) -> str:
    letters = base64.b32encode(hashlib.sha256(text.encode()).digest())[:10].decode()
    return f"{letters[:5]}-{letters[5:]}"


@dataclass(frozen=True, slots=True)
class Count:
    """So many, of how many in the same time (None: not known, and then it counts as all)."""

    n: int
    of: int | None = None

    @property
    def share(self) -> float:
        """From 0 to 1."""
        return 1.0 if self.of is None else min(1.0, self.n / max(1, self.of, self.n))


@dataclass(frozen=True, slots=True, kw_only=True)
class Signal:
    """What is seen of one cause now."""

    cause: Cause
    counts: tuple[Count, ...]  #: of the last hour, and of the last day; or only how many there are now
    since_us: int
    last_us: int  #: when it was last seen to happen
    size: int  #: what people are told: how many
    says: tuple[str, str]  #: what is wrong, in Dutch and in English
    do: tuple[str, str]  #: what to do about it
    role: ContactRole = ContactRole.TECHNICAL
    urgent: bool = False  #: told in quiet hours as well
    sure: bool = False  #: one is enough
    ticket: str | None = None  #: the partner has it already, under this ticket: that is as good as somebody who takes it


@dataclass(frozen=True, slots=True, kw_only=True)
class Alert:
    """What is remembered of one cause."""

    cause: Cause
    state: AlertState
    size: int
    since_us: int  #: when it began, this time
    last_us: int
    opened_us: int
    says: tuple[str, str]
    do: tuple[str, str]
    role: ContactRole
    urgent: bool = False
    times: int = 1  #: how often it was opened
    absent_us: int | None = None  #: since when nothing is seen of it any more
    step: int = 0  #: how far it was escalated; 0: nobody was told
    step_us: int = 0  #: since when
    told: frozenset[str] = frozenset()  #: ids of contacts, since it was opened or told anew
    told_us: int = 0  #: when somebody was last told
    who: str | None = None  #: who took it
    why: str | None = None
    acknowledged_us: int | None = None
    by_ticket: bool = False  #: taken because the partner has it under a ticket; open again when it has not
    closed_us: int | None = None

    @property
    def id(self) -> str:
        """As its cause's."""
        return self.cause.id


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """When something is an alert, and how soon who hears of it."""

    #: (at least so many, at least this share): few when nearly all fail, many when few of them do. Any of these is enough.
    steps: tuple[tuple[int, float], ...] = ((5, 0.5), (20, 0.1), (100, 0.01), (1_000, 0.0))
    #: How long it must last. Failures are counted instead.
    lasting: Mapping[Kind, timedelta] = field(
        default_factory=lambda: {Kind.PAUSED: timedelta(minutes=15), Kind.BEHIND: timedelta(minutes=2)}
    )
    calm: timedelta = timedelta(hours=4)  #: without a failure before it is over
    calm_state: timedelta = timedelta(minutes=15)  #: the same for what is not counted
    escalate_after: timedelta = timedelta(hours=4)  #: nobody took it: the next contact is told
    #: One that came back is told again so long after it was told before; and so often we hear of one partner.
    again_after: timedelta = timedelta(hours=4)
    between: timedelta = timedelta(minutes=15)  #: a contact gets no two messages of alerts sooner
    most_a_day: int = 12  #: nor more of them in any 24 hours, for each `Pace`
    digest_at: time = time(8, 0)  #: Amsterdam; on Mondays the weekly report too

    def opens(self, signal: Signal, now_us: int) -> bool:
        """Whether this is enough for an alert."""
        if signal.cause.kind in (Kind.FAILURES, Kind.UNANSWERED):
            return signal.sure or self._exceeds(signal, 1.0)
        return now_us - signal.since_us >= _us(self.lasting.get(signal.cause.kind, timedelta()))

    def goes_on(self, signal: Signal, now_us: int) -> bool:
        """Whether an alert that is open stays so: with half of what opened it, so that it does not flap."""
        if signal.cause.kind in (Kind.FAILURES, Kind.UNANSWERED):
            return now_us - signal.last_us < _us(self.calm) and (signal.sure or self._exceeds(signal, 0.5))
        return True

    def _exceeds(self, signal: Signal, slack: float) -> bool:
        return any(count.n >= least * slack and count.share >= share * slack for count in signal.counts for least, share in self.steps)

    def calm_for(self, kind: Kind) -> int:
        """Microseconds for which nothing must be seen before it is over."""
        return 0 if kind in (Kind.FAILURES, Kind.UNANSWERED) else _us(self.calm_state)  # of failures `goes_on` says it


class What(StrEnum):
    """What became of an alert, for the journal."""

    OPENED = "alert_opened"
    REOPENED = "alert_reopened"
    TOLD = "alert_told"
    ESCALATED = "alert_escalated"
    CLOSED = "alert_closed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Letter:
    """One message to one contact, of all that is new to it."""

    contact: Contact
    alerts: tuple[Alert, ...]  #: the most pressing first
    pace: Pace = Pace.ORDINARY


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What is to be done: all in one transaction."""

    changed: tuple[Alert, ...]  #: as they are from now on
    happened: tuple[tuple[What, Alert], ...]
    letters: tuple[Letter, ...]


def decide(
    now: datetime,
    signals: Iterable[Signal],
    known: Iterable[Alert],
    contacts: Sequence[Contact],
    sent: Mapping[str, Sequence[tuple[int, Pace]]],
    rules: Rules,
    *,
    ours: str,
) -> Plan:
    """What to open, tell, escalate and close. `sent`: contact id -> when messages of alerts were made for it, and of which pace, the last
    24 hours at least; `ours`: our own OIN, whose contacts hear of what is ours and of what nobody else took."""
    now_us = _micros(now)
    before = {alert.cause: alert for alert in known}
    after, happened = _judge(now_us, {signal.cause: signal for signal in signals}, before, rules)
    letters = _tell(now, after, happened, contacts, sent, rules, ours)
    changed = tuple(alert for cause, alert in after.items() if alert != before.get(cause))
    return Plan(changed=changed, happened=tuple(happened), letters=letters)


def _judge(
    now_us: int, signals: Mapping[Cause, Signal], before: Mapping[Cause, Alert], rules: Rules
) -> tuple[dict[Cause, Alert], list[tuple[What, Alert]]]:
    after, happened = dict(before), list[tuple[What, Alert]]()
    for cause, signal in signals.items():
        alert = before.get(cause)
        if alert is None or alert.state is AlertState.CLOSED:
            if rules.opens(signal, now_us):
                after[cause] = _with_ticket(_opened(alert, signal, now_us), signal, now_us)
                happened.append((What.OPENED if alert is None else What.REOPENED, after[cause]))
        elif rules.goes_on(signal, now_us):
            same = replace(
                alert, size=signal.size, last_us=signal.last_us, says=signal.says, do=signal.do, urgent=signal.urgent, absent_us=None
            )
            after[cause] = _with_ticket(same, signal, now_us)
    for cause, alert in before.items():
        found = signals.get(cause)
        if alert.state is AlertState.CLOSED or (found is not None and rules.goes_on(found, now_us)):
            continue
        absent_us = now_us if alert.absent_us is None else alert.absent_us
        if now_us - absent_us >= rules.calm_for(cause.kind):
            after[cause] = replace(alert, state=AlertState.CLOSED, closed_us=now_us, absent_us=absent_us)
            happened.append((What.CLOSED, after[cause]))
        else:
            after[cause] = replace(alert, absent_us=absent_us)
    return after, happened


def _opened(before: Alert | None, signal: Signal, now_us: int) -> Alert:
    return Alert(
        cause=signal.cause,
        state=AlertState.OPEN,
        size=signal.size,
        since_us=signal.since_us,
        last_us=signal.last_us,
        opened_us=now_us,
        says=signal.says,
        do=signal.do,
        role=signal.role,
        urgent=signal.urgent,
        times=1 if before is None else before.times + 1,
        step=before.step if before else 0,
        step_us=before.step_us if before else 0,
        told=before.told if before else frozenset(),
        told_us=before.told_us if before else 0,
    )


def _with_ticket(alert: Alert, signal: Signal, now_us: int) -> Alert:
    """Nobody is told of what the partner has under a ticket, until the day has passed that it named; then they are told anew."""
    if signal.ticket is not None and alert.state is AlertState.OPEN:
        return replace(alert, state=AlertState.ACKNOWLEDGED, by_ticket=True, who="ticket", why=signal.ticket, acknowledged_us=now_us)
    if signal.ticket is None and alert.by_ticket:
        return replace(alert, state=AlertState.OPEN, by_ticket=False, who=None, why=None, acknowledged_us=None, opened_us=now_us)
    return alert


def _tell(
    now: datetime,
    alerts: dict[Cause, Alert],
    happened: list[tuple[What, Alert]],
    contacts: Sequence[Contact],
    sent: Mapping[str, Sequence[tuple[int, Pace]]],
    rules: Rules,
    ours: str,
) -> tuple[Letter, ...]:
    """Letters to make; `alerts` and `happened` are brought up to date with them."""
    now_us = _micros(now)
    rested = {one.id: _rested(now_us, sent.get(one.id, ()), rules) for one in contacts}
    lately = {(id, cause.partner) for cause, one in alerts.items() if now_us - one.told_us < _us(rules.again_after) for id in one.told}
    to_tell: dict[str, list[Cause]] = {}
    for cause, alert in alerts.items():
        if alert.state is not AlertState.OPEN or alert.absent_us is not None:
            continue
        anew = _anew(alert, now_us, rules)
        groups = groups_of(anew, contacts, ours)
        on = anew.step < len(groups) and (anew.step == 0 or now_us - anew.step_us >= _us(rules.escalate_after))
        steps = groups[: anew.step + 1 if on else anew.step]
        pace = _pace(anew, ours)

        def hears(one: Contact, anew: Alert = anew, pace: Pace = pace) -> bool:
            heard = pace is Pace.ORDINARY and one.party == ours and (one.id, anew.cause.partner) in lately
            return pace in rested[one.id] and not heard and one.id not in anew.told and one.hears(now, urgent=anew.urgent)

        hear = [list(filter(hears, group)) for group in steps]
        told = {one.id for group in hear for one in group}
        # a group that was told already, as part of an earlier one, is passed over
        moved = on and (bool(hear[-1]) or all(one.id in anew.told for one in groups[anew.step]))
        if not told and not moved:
            continue
        step, step_us = (anew.step + 1, now_us) if moved else (anew.step, anew.step_us)
        alerts[cause] = replace(anew, step=step, step_us=step_us, told=anew.told | told, told_us=now_us if told else anew.told_us)
        for id in told:
            to_tell.setdefault(id, []).append(cause)
        if told:
            happened.append((What.ESCALATED if moved and anew.step else What.TOLD, alerts[cause]))
    by_id = {one.id: one for one in contacts}
    return tuple(_letter(by_id[id], [alerts[cause] for cause in causes], ours) for id, causes in sorted(to_tell.items()))


def _letter(contact: Contact, alerts: Iterable[Alert], ours: str) -> Letter:
    ordered = tuple(sorted(alerts, key=lambda one: (-_RANK[_pace(one, ours)], -one.size, one.id)))
    return Letter(contact=contact, alerts=ordered, pace=_pace(ordered[0], ours))


_RANK: Final = {pace: rank for rank, pace in enumerate(Pace)}


def _pace(alert: Alert, ours: str) -> Pace:
    if alert.urgent:
        return Pace.URGENT
    return Pace.OWN if alert.cause.partner == ours else Pace.ORDINARY


def groups_of(alert: Alert, contacts: Sequence[Contact], ours: str) -> tuple[tuple[Contact, ...], ...]:
    """Who is told of it, in this order: the partner's contacts, then ours."""
    cause = alert.cause
    theirs = for_cause(contacts, cause.partner, cause.dienst, alert.role)
    return theirs if cause.partner == ours else theirs + for_cause(contacts, ours, cause.dienst, alert.role)


def _anew(alert: Alert, now_us: int, rules: Rules) -> Alert:
    """An alert that came back after it was told is told once more, but not before its time."""
    if alert.told_us and alert.told_us < alert.opened_us and now_us - alert.told_us >= _us(rules.again_after):
        return replace(alert, step=0, step_us=0, told=frozenset())
    return alert


def _rested(now_us: int, sent: Sequence[tuple[int, Pace]], rules: Rules) -> frozenset[Pace]:
    """Of which paces it may get a message now."""
    lately = [(at, pace) for at, pace in sent if now_us - at < _DAY_US]
    if any(now_us - at < _us(rules.between) for at, _ in lately):
        return frozenset()
    counts = Counter(pace for _, pace in lately)
    return frozenset(pace for pace in Pace if counts[pace] < rules.most_a_day)


def digest_day(now: datetime, rules: Rules) -> date | None:
    """The day whose digest is due now; None before its hour."""
    there = now.astimezone(AMSTERDAM)
    return there.date() if there.time() >= rules.digest_at else None


def report_week(now: datetime, rules: Rules) -> date | None:
    """The Monday of the week that the report is of: from the next Monday's digest hour on; None before."""
    there = now.astimezone(AMSTERDAM)
    if there.weekday() == 0 and there.time() < rules.digest_at:
        return None
    return there.date() - timedelta(days=there.weekday() + 7)


def backoff_s(attempts: int) -> float | None:
    """Seconds until a message that could not be sent is tried again, after so many attempts; None: it is given up, after two days."""
    waits = (30, 120, 600, 1_800, *[3_600] * 4, *[14_400] * 11)
    return float(waits[attempts - 1]) if 0 < attempts <= len(waits) else None


def _us(span: timedelta) -> int:
    return span // timedelta(microseconds=1)


def _micros(at: datetime) -> int:
    return (at - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)


class CannotAcknowledge(Said):
    """There is no such alert, or it is over."""


class Alerts(Protocol):
    """What pages ask of alerts; every answer is what the scope may see. Raises StoreUnavailable."""

    def alerts(self, scope: Scope, *, closed: bool = False, limit: int = 200) -> Sequence[Alert]:
        """Those that are open or taken, the most pressing first; `closed`: those that are over instead, the newest first."""
        ...

    def alert(self, scope: Scope, id: str) -> Alert | None:
        """One of them."""
        ...

    def acknowledge(self, scope: Scope, id: str, *, who: str, why: str, now_us: int) -> Alert:
        """Somebody takes it: nobody is told any more. Raises CannotAcknowledge."""
        ...

    def contacts(self, scope: Scope, party: str | None = None) -> Sequence[Contact]:
        """Whom parties want to be told, by party, dienst and step."""
        ...

    def tellings(self, scope: Scope, *, limit: int = 200) -> Sequence[Mapping[str, Any]]:
        """Messages made lately, newest first: `id, kind, party, channel, address, subject, made_us, sent_us, attempts, error`."""
        ...
