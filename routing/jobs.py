"""How a job goes through its selection: a trial batch first, then at a rate, and no further when too much of it fails (issue 5).

A job is a value; the worker that runs it asks `next_step` what to do now, does that in one small transaction, and asks again. Everything
it needs to go on stands in the store, so whoever takes over after a crash goes on where it was.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Final

from routing.said import Said
from schemas.lifecycle import DeliveryState as _D

#: Of one job that are under way at a time, at most: what is offered again waits in the store, behind each receiver's own window.
UNDER_WAY: Final = 500
#: Acted upon in one transaction, at most: new traffic waits for no longer than that.
AT_ONCE: Final = 50
#: The live success ratio is that of the last so many with an outcome, and says nothing before there are enough of them.
WINDOW: Final = 200
ENOUGH: Final = 20
#: Seconds after which something that was offered again and of which nothing was heard counts as failed.
PATIENCE_S: Final = 300
#: A preview that nobody confirmed is forgotten after this (seconds).
PREVIEW_S: Final = 3_600


class JobState(StrEnum):
    """Where a job stands."""

    TO_APPROVE = "to_approve"  #: confirmed; a second person must say yes
    RUNNING = "running"
    PAUSED = "paused"  #: by a person
    STOPPED = "stopped"  #: by itself: too much failed
    CANCELLED = "cancelled"
    DONE = "done"


_J = JobState

JOB_MOVES: Final[Mapping[JobState, frozenset[JobState]]] = MappingProxyType(
    {
        _J.TO_APPROVE: frozenset({_J.RUNNING, _J.CANCELLED}),
        _J.RUNNING: frozenset({_J.PAUSED, _J.STOPPED, _J.CANCELLED, _J.DONE}),
        _J.PAUSED: frozenset({_J.RUNNING, _J.CANCELLED}),
        _J.STOPPED: frozenset({_J.RUNNING, _J.CANCELLED}),
        _J.CANCELLED: frozenset(),
        _J.DONE: frozenset(),
    }
)


class ItemState(StrEnum):
    """What became of one of a job's selection."""

    PLANNED = "planned"  #: not begun
    UNDER_WAY = "under_way"  #: offered again, and not heard of yet
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    SUPERSEDED = "superseded"  #: not sent: a newer state came
    SKIPPED = "skipped"  #: it was not possible (any more)


class TermsWrong(Said, ValueError):
    """A number of a job is too small or too large."""


class Stop(StrEnum):
    """Why a job stopped by itself."""

    TRIAL_FAILED = "trial_failed"
    RATIO = "ratio"
    CONFIRMER = "confirmer"  #: the account of whoever confirmed it was disabled, or may not act any more


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """How a job is to go."""

    trial: int = 10  #: this many first (proefbatch); the rest waits for what becomes of them. 0: none
    rate: float = 50.0  #: a second, at most
    stop_below: float = 0.9  #: of those with an outcome, at least this share must have succeeded; 0: it never stops by itself
    patience_s: int = PATIENCE_S  #: seconds in which something must be heard of each

    def __post_init__(self) -> None:
        """Raises TermsWrong."""
        if not 0 <= self.trial <= 10_000:
            raise TermsWrong("The trial batch is a number from 0 to 10000.", "De proefbatch is een getal van 0 tot 10000.")
        if not 0.1 <= self.rate <= 1_000:
            raise TermsWrong("The rate is a number from 0.1 to 1000 a second.", "Het tempo is een getal van 0,1 tot 1000 per seconde.")
        if not 0 <= self.stop_below <= 1:
            raise TermsWrong(
                "The success ratio is a number from 0 to 1, such as 0.9.", "Het deel dat moet lukken is een getal van 0 tot 1, zoals 0,9."
            )
        if not 1 <= self.patience_s <= 86_400:
            raise TermsWrong("The patience is a number of seconds from 1 to 86400.", "Het geduld is een aantal seconden van 1 tot 86400.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """How many of a job's selection came to what."""

    planned: int = 0
    under_way: int = 0
    succeeded: int = 0
    failed: int = 0
    superseded: int = 0
    skipped: int = 0

    @property
    def ratio(self) -> float | None:
        """Of those with an outcome, the share that succeeded; None before there is one."""
        ended = self.succeeded + self.failed
        return self.succeeded / ended if ended else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """Where a running job is."""

    figures: Figures  #: of all its selection
    trial_left: int  #: of the trial batch, still to be begun
    in_trial: bool  #: the trial batch has not passed yet
    succeeded: int = 0  #: of the last ones with an outcome (`WINDOW`, or all of the trial batch), since it was last let go
    failed: int = 0


@dataclass(frozen=True, slots=True)
class Step:
    """What to do now: begin so many; or nothing yet; or end, or stop."""

    begin: int = 0
    passed: bool = False  #: the trial batch went well
    done: bool = False
    stop: Stop | None = None


def next_step(progress: Progress, terms: Terms, *, allowance: float) -> Step:
    """`allowance`: how many the rate lets begin now."""
    figures, ended = progress.figures, progress.succeeded + progress.failed
    poor = terms.stop_below > 0 and ended > 0 and progress.succeeded < terms.stop_below * ended
    if progress.in_trial:
        if progress.trial_left and figures.planned:
            return Step(begin=_most(progress.trial_left, figures, allowance))
        if figures.under_way:
            return Step()
        if poor:
            return Step(stop=Stop.TRIAL_FAILED)
        return Step(done=True) if not figures.planned else Step(passed=True)
    if poor and ended >= ENOUGH and figures.planned:
        return Step(stop=Stop.RATIO)
    if not figures.planned:
        return Step(done=not figures.under_way)
    return Step(begin=_most(figures.planned, figures, allowance))


def _most(wanted: int, figures: Figures, allowance: float) -> int:
    return max(0, min(wanted, figures.planned, UNDER_WAY - figures.under_way, AT_ONCE, int(allowance)))


_ARRIVED: Final = frozenset({_D.DELIVERED, _D.ACKNOWLEDGED, _D.ANSWERED})


def outcome_of(state: str, hold_code: str | None, *, since_us: int, moved_us: int, now_us: int, patience_s: int) -> ItemState:
    """What has become of a delivery that a job offered again at `since_us`, and that moved last at `moved_us`.

    It succeeded when it reached its receiver: in a mailbox when it was placed there. It failed when it failed again, when its receiver
    gave an answer for which it must wait and try again, when it waits for the register, or when nothing was heard of it in time; the
    backbone may still bring it there later.
    """
    now = _D(state)
    if now in _ARRIVED:
        return ItemState.SUCCEEDED
    if now in (_D.FAILED, _D.UNCERTAIN) or (now is _D.POSTPONED and moved_us > since_us):
        return ItemState.FAILED
    if now is _D.SUPERSEDED:
        return ItemState.SUPERSEDED
    if now in (_D.RETURNED, _D.ARCHIVED, _D.FILTERED):
        return ItemState.SKIPPED
    if hold_code is not None or now_us - since_us >= patience_s * 1_000_000:
        return ItemState.FAILED
    return ItemState.UNDER_WAY
