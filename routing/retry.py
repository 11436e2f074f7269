"""When is a delivery tried again, or not at all? Pure; the worker obeys. No standard fixes a number (Edukoppeling facts 6.3)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from routing.amsterdam import amsterdam_day, start_of_day
from routing.register import Register
from schemas.faults import Cause, kind_of

#: Seconds before attempts 2, 3 and on; the last one is repeated. A restart is bridged in minutes, a night with one try an hour.
#: The end is set by the contract's deadline and not by a count: a receiver that was away for a weekend loses nothing.
RETRY_AFTER_S: Final = (30, 120, 600, 1_800, 3_600)


@dataclass(frozen=True, slots=True)
class Retry:
    """Try again at this instant (UTC)."""

    at: datetime


@dataclass(frozen=True, slots=True)
class Wait:
    """The register has no answer: no clock helps. Look again when the register changes, or at `until` (UTC), when its days do so."""

    until: datetime | None


@dataclass(frozen=True, slots=True)
class Stop:
    """No more tries: the delivery has failed with this code."""

    code: str


def next_try(code: str, attempt: int, *, register: Register, now: datetime, deadline: datetime) -> Retry | Wait | Stop:
    """What follows after attempt number `attempt` (from 1) ended with this code. Raises KeyError for an unknown code.

    A code that says retrying is pointless stops at once; a passed deadline stops everything with `DEADLINE_PASSED`.
    The last try is at the deadline itself, never after it.
    """
    kind = kind_of(code)
    if not kind.retry:
        return Stop(code)
    if now >= deadline:
        return Stop("DEADLINE_PASSED")
    if kind.cause is Cause.ROUTE:
        return Wait(look_again(register, now))
    return Retry(min(now + timedelta(seconds=RETRY_AFTER_S[min(attempt, len(RETRY_AFTER_S)) - 1]), deadline))


def look_again(register: Register, now: datetime) -> datetime | None:
    """The instant at which this version of the register first gives another answer: the next first day, or day after a last one."""
    day = register.next_change(amsterdam_day(now))
    return None if day is None else start_of_day(day)
