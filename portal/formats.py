"""Numbers, ages and moments as people write them, in Dutch and in English, in the time of Europe/Amsterdam.

Moments are microseconds since 1970 in UTC, as the store keeps them. None is what is not known, and reads as a dash.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Final

from routing.amsterdam import AMSTERDAM

#: What is not known, or does not apply.
NOTHING: Final = "–"

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MINUTE, _HOUR, _DAY = 60, 3_600, 86_400

_MONTHS: Final = {
    "nl": ("jan", "feb", "mrt", "apr", "mei", "jun", "jul", "aug", "sep", "okt", "nov", "dec"),
    "en": ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"),
}
_WEEKDAYS: Final = {
    "nl": ("ma", "di", "wo", "do", "vr", "za", "zo"),
    "en": ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"),
}
#: Hour, minute, second, day: short, as in a table.
_UNITS: Final = {"nl": ("u", "min", "s", "d"), "en": ("h", "min", "s", "d")}
_DAYS: Final = {"nl": ("dag", "dagen"), "en": ("day", "days")}


@dataclass(frozen=True, slots=True)
class Formats:
    """How one language writes. `now`: of the visit, so that a page speaks of one moment only."""

    language: str  #: `nl` or `en`
    now: datetime  #: UTC

    def number(self, value: int | None) -> str:
        """`1.234.567` or `1,234,567`."""
        if value is None:
            return NOTHING
        return f"{value:,}".replace(",", ".") if self.language == "nl" else f"{value:,}"

    def share(self, part: int, whole: int) -> str:
        """A part as a percentage. What is there is never written as 0%, and what is missing never as 100%."""
        if whole <= 0:
            return NOTHING
        percent = 100 * part / whole
        if part and percent < 0.1:
            return f"<{self._decimal(0.1)}%"
        if part < whole and percent > 99.9:
            return f">{self._decimal(99.9)}%"
        return f"{self._decimal(percent)}%"

    def _decimal(self, value: float) -> str:
        shown = f"{value:.1f}".removesuffix(".0")
        return shown.replace(".", ",") if self.language == "nl" else shown

    def duration(self, seconds: float | None) -> str:
        """`40 ms`, `3,2 s`, `12 min`, `2 u 05 min`, `3 dagen`: two parts at most."""
        if seconds is None:
            return NOTHING
        hour, minute, second, _ = _UNITS[self.language]
        if seconds < 1:
            return f"{round(max(seconds, 0) * 1000)} ms"
        if seconds < 10:
            return f"{self._decimal(seconds)} {second}"
        if seconds < _MINUTE:
            return f"{int(seconds)} {second}"
        if seconds < _HOUR:
            return f"{int(seconds // _MINUTE)} {minute}"
        if seconds < 2 * _DAY:
            hours, left = divmod(int(seconds), _HOUR)
            return f"{hours} {hour} {left // _MINUTE:02d} {minute}"
        days = int(seconds // _DAY)
        return f"{self.number(days)} {_DAYS[self.language][days != 1]}"

    def age(self, at_us: int | None) -> str:
        """How long ago this was; what our clock has not reached yet was just now."""
        return NOTHING if at_us is None else self.duration(max((self.now - moment(at_us)).total_seconds(), 1))

    def when(self, at_us: int | None) -> str:
        """`14:03` today, `gisteren 14:03`, `ma 23 nov 14:03`, or with the year where that is another one."""
        if at_us is None:
            return NOTHING
        there, today = moment(at_us).astimezone(AMSTERDAM), self.now.astimezone(AMSTERDAM).date()
        clock = f"{there:%H:%M}"
        if there.date() == today:
            return clock
        if there.date() == today - timedelta(days=1):
            return f"{'gisteren' if self.language == 'nl' else 'yesterday'} {clock}"
        if there.date() == today + timedelta(days=1):
            return f"{'morgen' if self.language == 'nl' else 'tomorrow'} {clock}"
        return f"{self.day(there.date())} {clock}"

    def day(self, value: date | None) -> str:
        """`ma 23 nov`, with the year where it is not this one."""
        if value is None:
            return NOTHING
        shown = f"{_WEEKDAYS[self.language][value.weekday()]} {value.day} {_MONTHS[self.language][value.month - 1]}"
        return shown if value.year == self.now.astimezone(AMSTERDAM).year else f"{shown} {value.year}"

    def moment(self, at_us: int | None) -> str:
        """To the millisecond, in Amsterdam, with its offset: what one quotes. `2026-11-23 14:03:07.123 +01:00`."""
        if at_us is None:
            return NOTHING
        there = moment(at_us).astimezone(AMSTERDAM)
        return there.isoformat(" ", "milliseconds").replace("+", " +")

    def size(self, octets: int | None) -> str:
        """`312 B`, `4,1 kB`, `1 MB`."""
        if octets is None:
            return NOTHING
        for limit, unit in ((1_000, "B"), (1_000_000, "kB"), (1_000_000_000, "MB")):
            if octets < limit:
                return f"{self._decimal(octets / (limit / 1_000))} {unit}"
        return f"{self._decimal(octets / 1_000_000_000)} GB"


def moment(at_us: int) -> datetime:
    """The store's microseconds as a UTC moment."""
    return _EPOCH + timedelta(microseconds=at_us)


def iso(at_us: int | None) -> str:
    """For `<time datetime>` and CSV: `2026-11-23T13:03:07Z`; empty where there is none."""
    return "" if at_us is None else f"{moment(at_us):%Y-%m-%dT%H:%M:%SZ}"


def microseconds(at: datetime) -> int:
    """A moment as the store keeps it."""
    return round((at - _EPOCH) / timedelta(microseconds=1))


def brin(oin: str | None) -> str | None:
    """The BRIN inside a school's OIN (domain facts 8.1), or None: it is no school's."""
    if oin is None or len(oin) != 20 or not oin.startswith("00000007000") or not oin.endswith("00000"):
        return None
    inside = oin[11:15]
    return inside if inside[:2].isdigit() and inside[2:].isalpha() else None
