"""Days in Europe/Amsterdam: the register speaks of days, the clock of UTC instants (rule 4)."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, time, timedelta
from typing import Final
from zoneinfo import ZoneInfo

AMSTERDAM: Final = ZoneInfo("Europe/Amsterdam")
_ISO_DAY: Final = re.compile(r"\b([0-9]{4})-([0-9]{2})-([0-9]{2})\b")


def amsterdam_day(now: datetime) -> date:
    """The day it is in Amsterdam at this instant. Raises ValueError for a time without a zone, which is no instant."""
    if now.tzinfo is None:
        raise ValueError(f"{now.isoformat()} has no time zone; use UTC")
    return now.astimezone(AMSTERDAM).date()


def start_of_day(day: date) -> datetime:
    """The first instant of this Amsterdam day, in UTC."""
    return datetime.combine(day, time(), tzinfo=AMSTERDAM).astimezone(UTC)


def end_of_day(day: date) -> datetime:
    """The first instant after this Amsterdam day, in UTC: 23, 24 or 25 hours after its start."""
    return start_of_day(day + timedelta(days=1))


def dutch_days(text: str) -> str:
    """The text with its days as people in the Netherlands write them: 31-07-2026."""
    return _ISO_DAY.sub(r"\3-\2-\1", text)
