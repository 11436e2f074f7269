"""Is the chain healthy? One verdict and its reasons, from the overview, so that ten seconds are enough.

What another party must do is a reason to look, not an alarm: the verdict is about whether messages flow, and about what is ours.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any, Final
from urllib.parse import urlencode

from routing.board import CalendarLine, DienstLine, Freshness, LaneLine, Overview
from schemas.faults import Owner

_S: Final = 1_000_000
_HOUR_S, _DAY_S = 3_600, 86_400

#: Share of an hour's outcomes that fell out: from here on it is worth a look, or it is trouble; and how many there must be to say so.
LOOK, TROUBLE = 0.02, 0.10
ENOUGH: Final = 10
#: Seconds that the board may be behind before its figures are old.
BEHIND_S: Final = 60
#: Something that is openstaand for so long is named: longer than every retry of a working day, and a night.
OLD_S: Final = 2 * _DAY_S
#: A mailbox in which something stands for so long is nobody's oversight any more.
UNREAD_S: Final = _DAY_S
#: A process that was not heard of for so long is gone; and those without which messages do not flow.
UNHEARD_S: Final = 60
NEEDED: Final = frozenset({"audit", "deliver", "relay", "route", "timetable"})
#: Days before a date of the law from which on it is named.
SOON_DAYS: Final = 21


class Level(IntEnum):
    """How bad."""

    GOOD = 0
    NOTE = 1  #: worth knowing
    LOOK = 2  #: somebody should look at it today
    TROUBLE = 3  #: now

    @property
    def key(self) -> str:
        """For words and colours."""
        return self.name.lower()


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One reason: the key of its sentence, what is filled in, and where to look."""

    level: Level
    key: str
    count: int = 0
    at_us: int | None = None
    name: str | None = None  #: an OIN, a dienst, a day: what it is about
    href: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Health:
    """The verdict, and its reasons, the worst first."""

    level: Level
    findings: tuple[Finding, ...] = field(default=())


#: Whose turn is the turn of those who watch the whole chain.
OURS: Final = frozenset({Owner.US})


def judge(overview: Overview, *, now_us: int, mine: frozenset[Owner] = OURS, processes: Sequence[Mapping[str, Any]] = ()) -> Health:
    """What there is to say. `mine`: whose turn is the turn of whoever looks; others than `OURS` see their own traffic only. `processes`:
    our own, as far as known."""
    found = [
        *_working(processes, now_us),
        *_fresh(overview.fresh, now_us),
        *_lanes(overview.lanes),
        *_unread(overview.unread, now_us),
        *_failing(overview.diensten),
        *(finding for line in overview.diensten for finding in _old(line, now_us)),
        *_owners(overview, mine),
        *(finding for line in overview.calendar for finding in _calendar(line)),
    ]
    found.sort(key=lambda finding: (-finding.level, -finding.count))
    return Health(level=max((finding.level for finding in found), default=Level.GOOD), findings=tuple(found))


def link(path: str, **query: str) -> str:
    """An address with its parameters."""
    return f"{path}?{urlencode(query)}" if query else path


def _working(processes: Sequence[Mapping[str, Any]], now_us: int) -> Iterable[Finding]:
    """Whether there is somebody to do each kind of work, and a broker to do it with. Who has just begun may not have met the others yet."""
    heard = [one for one in processes if now_us - one["seen_us"] < UNHEARD_S * _S]
    for name in sorted(NEEDED - {one["name"] for one in heard}):
        if any(now_us - one["started_us"] > UNHEARD_S * _S for one in heard):
            yield Finding(level=Level.TROUBLE, key="health.no_worker", name=name)
    if without := sum(one["state"] == "no broker" for one in heard):
        yield Finding(level=Level.TROUBLE, key="health.no_broker", count=without)


def _fresh(fresh: Freshness, now_us: int) -> Iterable[Finding]:
    if fresh.filling:
        yield Finding(level=Level.LOOK, key="health.filling")
    elif fresh.behind and now_us - fresh.at_us > BEHIND_S * _S:
        yield Finding(level=Level.TROUBLE, key="health.behind", at_us=fresh.at_us)


def _lanes(lanes: Sequence[LaneLine]) -> Iterable[Finding]:
    for line in lanes:
        if line.state == "closed":
            continue
        level = Level.NOTE if line.by_hand else Level.TROUBLE if line.waiting else Level.LOOK
        key = "health.held" if line.by_hand else "health.paused"
        href = link("/openstaand", lijst="openstaand", wachtrij=line.lane)
        yield Finding(level=level, key=key, count=line.waiting, at_us=line.since_us, name=line.system, href=href)


def _unread(unread: Sequence[LaneLine], now_us: int) -> Iterable[Finding]:
    for line in unread:
        if line.oldest_us is None:
            continue
        level = Level.LOOK if now_us - line.oldest_us > UNREAD_S * _S else Level.NOTE
        href = link("/openstaand", lijst="openstaand", wachtrij=line.lane)
        yield Finding(level=level, key="health.unread", count=line.waiting, at_us=line.oldest_us, name=line.system, href=href)


def _failing(lines: Sequence[DienstLine]) -> Iterable[Finding]:
    """Of each dienst, what fell out in this hour. What could not be read belongs to none, and is weighed against all."""
    whole = sum(line.hour.delivered + line.hour.failed + line.hour.refused for line in lines)
    for line in lines:
        bad = line.hour.failed + line.hour.refused
        ended = line.hour.delivered + bad if line.dienst else whole
        if bad >= ENOUGH and bad >= LOOK * ended:
            level = Level.TROUBLE if bad >= TROUBLE * ended else Level.LOOK
            key = "health.failing" if line.dienst else "health.unreadable"
            yield Finding(level=level, key=key, count=bad, name=line.dienst, href=link("/uitval", dienst=line.dienst))


def _old(line: DienstLine, now_us: int) -> Iterable[Finding]:
    if line.oldest_us is not None and now_us - line.oldest_us > OLD_S * _S:
        href = link("/openstaand", lijst="openstaand", dienst=line.dienst, ouder=str(OLD_S))
        yield Finding(level=Level.LOOK, key="health.old", at_us=line.oldest_us, name=line.dienst, href=href)


def _owners(overview: Overview, mine: frozenset[Owner]) -> Iterable[Finding]:
    for owner in sorted(mine):
        if count := overview.owners.get(owner, 0):
            level, key = (Level.TROUBLE, "health.ours") if mine == OURS else (Level.LOOK, "health.yours")
            yield Finding(level=level, key=key, count=count, href=link("/uitval", aanzet=str(owner)))
    others = sum(count for owner, count in overview.owners.items() if owner not in mine)
    if others:
        yield Finding(level=Level.NOTE, key="health.theirs" if mine == OURS else "health.others", count=others, href="/uitval")


def _calendar(line: CalendarLine) -> Iterable[Finding]:
    if line.late and line.days_left <= SOON_DAYS:
        level = Level.TROUBLE if line.days_left < 0 else Level.LOOK
        href = link("/openstaand", dienst=line.law.dienst, bericht=line.law.bericht, lijst="alles")
        yield Finding(level=level, key="health.late", count=line.late, name=line.law.name, href=href)
    if line.silent_count and not line.law.at_receivers:
        yield Finding(level=Level.LOOK, key="health.silent", count=line.silent_count, name=line.law.name, href="/#kalender")
