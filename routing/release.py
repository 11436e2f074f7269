"""How much may leave now: the window of each lane, and the circuit breaker that holds a lane whose receiver fails (rule 7).

A lane is what `Endpoint.lane` names: a URL of a system, or a system's mailbox. The breaker is a value; who keeps it, and
who sends the probes, is for the workers.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from routing.register import Register

#: Deliveries of a push lane that may be on their way at once.
PUSH_WINDOW: Final = 20
#: And of all push lanes of one system together.
SYSTEM_WINDOW: Final = 400
#: Open deliveries that a mailbox shows at once (design section 4).
MAILBOX_WINDOW: Final = 1_000
#: While we find out whether a receiver is back.
PROBE_WINDOW: Final = 1
#: Failures in a row after which a lane is held. One dropped connection is no outage; three are.
HOLD_AFTER: Final = 3
#: Seconds until the first probe, the second, and on; the last one is repeated: a receiver that is back waits five minutes at most.
PROBE_AFTER_S: Final = (30, 60, 120, 300)


class CircuitState(StrEnum):
    """Whether a lane flows."""

    CLOSED = "closed"  #: it flows
    HELD = "held"  #: nothing leaves
    HALF_OPEN = "half-open"  #: one delivery leaves, as a probe


@dataclass(frozen=True, slots=True, kw_only=True)
class Circuit:
    """The breaker of one lane."""

    state: CircuitState = CircuitState.CLOSED
    failures: int = 0  #: in a row, while it flows
    probes: int = 0  #: that failed since it is held
    probe_at: datetime | None = None  #: UTC; while held, when one delivery may try. None: an operator holds it, and lets it go


#: How a breaker starts, and what it becomes at any success: a late answer to something sent before the hold proves as much.
CLOSED: Final = Circuit()


def is_mailbox(lane: str) -> bool:
    """Whether this lane is a mailbox."""
    return lane.startswith("mailbox ")


def window(lane: str, circuit: Circuit = CLOSED) -> int:
    """How many deliveries of this lane may be open at once."""
    if circuit.state is CircuitState.HELD:
        return 0
    if circuit.state is CircuitState.HALF_OPEN:
        return PROBE_WINDOW
    return MAILBOX_WINDOW if is_mailbox(lane) else PUSH_WINDOW


def room(lane: str, opened: int, circuit: Circuit = CLOSED) -> int:
    """How many more may leave now, when `opened` have left and are unfinished. Never negative: a window may have shrunk since."""
    return max(0, window(lane, circuit) - opened)


def narrowed(register: Register) -> dict[str, int]:
    """The windows that the register gives to lanes: by a number of calls at a time, or by a rate, of which two seconds may be under way.
    A lane that several endpoints share has the smallest. A system with a URL for each of its hundreds of organisations has no more calls
    under way in all than `SYSTEM_WINDOW`, but one for each."""
    found: dict[str, int] = {}
    lanes: dict[str, set[str]] = {}
    for place in register.parts.lanes():
        limits = [] if place.at_once is None else [place.at_once]
        if place.per_second is not None:
            limits.append(math.ceil(2 * place.per_second))
        if place.url is not None:
            lanes.setdefault(place.system, set()).add(place.lane)
        if limits:
            found[place.lane] = min(limits)
    for some in lanes.values():
        if len(some) * PUSH_WINDOW > SYSTEM_WINDOW:
            most = max(1, SYSTEM_WINDOW // len(some))
            found |= {lane: min(most, found.get(lane, most)) for lane in some}
    return found


def after_failure(circuit: Circuit, now: datetime) -> Circuit:
    """The receiver was silent. While held nothing changes: what fails then was sent before, and says nothing new."""
    if circuit.state is CircuitState.HELD:
        return circuit
    if circuit.state is CircuitState.HALF_OPEN:
        return _held(circuit.probes + 1, now)
    failures = circuit.failures + 1
    return _held(0, now) if failures >= HOLD_AFTER else replace(circuit, failures=failures)


def after_success(circuit: Circuit) -> Circuit:
    """The receiver answered. What an operator holds stays held: the answer is to something sent before."""
    return circuit if held_by_hand(circuit) else CLOSED


def stopped(circuit: Circuit, until: datetime) -> Circuit:
    """The receiver asked us to come back at `until` (UTC), or later than it asked before."""
    if held_by_hand(circuit) or (circuit.probe_at is not None and circuit.probe_at >= until):
        return circuit
    return Circuit(state=CircuitState.HELD, failures=circuit.failures, probes=circuit.probes, probe_at=until)


def held_by_hand(circuit: Circuit) -> bool:
    """Whether an operator holds it: no probe leaves until the operator lets it go."""
    return circuit.state is CircuitState.HELD and circuit.probe_at is None


def as_of(circuit: Circuit, now: datetime) -> Circuit:
    """The breaker as it is at this instant: a held lane opens by one delivery when its probe is due."""
    if circuit.state is CircuitState.HELD and circuit.probe_at is not None and now >= circuit.probe_at:
        return replace(circuit, state=CircuitState.HALF_OPEN, probe_at=None)
    return circuit


def _held(probes: int, now: datetime) -> Circuit:
    wait = timedelta(seconds=PROBE_AFTER_S[min(probes, len(PROBE_AFTER_S) - 1)])
    return Circuit(state=CircuitState.HELD, probes=probes, probe_at=now + wait)
