"""Days as spans: what a row covers, what several rows cover together, and what of a row is left within that."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date, timedelta
from typing import Final

from routing.register_model import Dated

#: First and last day, both included; `date.min` and `date.max` where there is no limit.
Span = tuple[date, date]

DAY: Final = timedelta(days=1)


def span(row: Dated) -> Span:
    """The days of a row."""
    return row.start or date.min, row.until or date.max


def limits(days: Span) -> tuple[date | None, date | None]:
    """The other way round: `start` and `until` of a row."""
    return (None if days[0] == date.min else days[0]), (None if days[1] == date.max else days[1])


def shared(one: Span, other: Span) -> Span | None:
    """The days both have."""
    both = max(one[0], other[0]), min(one[1], other[1])
    return both if both[0] <= both[1] else None


def union(spans: Iterable[Span]) -> list[Span]:
    """What they cover together, in order; those that follow each other without a day between become one."""
    joined: list[Span] = []
    for start, until in sorted(spans):
        if start > until:
            continue
        if joined and (joined[-1][1] == date.max or start <= joined[-1][1] + DAY):
            joined[-1] = joined[-1][0], max(joined[-1][1], until)
        else:
            joined.append((start, until))
    return joined


def holds(outer: Iterable[Span], inner: Span) -> bool:
    """Whether one of the (joined) spans covers all days of this one."""
    return any(start <= inner[0] and inner[1] <= until for start, until in outer)


def in_words(days: Span) -> tuple[str, str]:
    """The days in Dutch and English."""
    start, until = limits(days)
    if start is None and until is None:
        return "altijd", "always"
    nl = " ".join(part for part in (f"vanaf {start}" if start else "", f"tot en met {until}" if until else "") if part)
    return nl, " ".join(part for part in (f"from {start}" if start else "", f"up to and including {until}" if until else "") if part)
