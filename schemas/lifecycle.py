"""The life of a message and of a delivery: every state, and the moves allowed between them.

This is the only such table; the store turns it into triggers, so that no statement of anybody's can make another move.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import Final


class MessageState(StrEnum):
    """Where a handed-in message stands. A refused hand-in is no message: it stands in a table of its own and is final."""

    RECEIVED = "received"
    ROUTED = "routed"
    FAILED = "failed"
    RETURNED = "returned"
    ARCHIVED = "archived"


class DeliveryState(StrEnum):
    """Where one message for one receiver stands."""

    ROUTED = "routed"  #: the receiver is known; waits for its turn, its endpoint or its mandate
    FILTERED = "filtered"  #: this receiver is not to have this message; recorded, never sent
    RELEASED = "released"  #: handed to the deliver workers
    POSTPONED = "postponed"  #: the endpoint did not answer; tried again later
    UNCERTAIN = "uncertain"  #: the receiver answered, but the answer cannot be trusted (WB013)
    DELIVERED = "delivered"  #: stands in the mailbox, or the endpoint took it; not finished until confirmed
    ACKNOWLEDGED = "acknowledged"
    ANSWERED = "answered"
    SUPERSEDED = "superseded"  #: a newer state message took its place before it was sent
    FAILED = "failed"
    RETURNED = "returned"
    ARCHIVED = "archived"


_M = MessageState
_D = DeliveryState

MESSAGE_MOVES: Final[Mapping[MessageState, frozenset[MessageState]]] = MappingProxyType(
    {
        _M.RECEIVED: frozenset({_M.ROUTED, _M.FAILED}),
        _M.FAILED: frozenset({_M.ROUTED, _M.RETURNED, _M.ARCHIVED}),
        _M.ARCHIVED: frozenset({_M.FAILED}),
        _M.ROUTED: frozenset(),
        _M.RETURNED: frozenset(),
    }
)

DELIVERY_MOVES: Final[Mapping[DeliveryState, frozenset[DeliveryState]]] = MappingProxyType(
    {
        _D.ROUTED: frozenset({_D.RELEASED, _D.SUPERSEDED, _D.FAILED}),
        _D.FILTERED: frozenset(),
        _D.RELEASED: frozenset({_D.ROUTED, _D.DELIVERED, _D.POSTPONED, _D.UNCERTAIN, _D.FAILED}),
        _D.POSTPONED: frozenset({_D.RELEASED, _D.SUPERSEDED, _D.FAILED}),
        _D.DELIVERED: frozenset({_D.ACKNOWLEDGED, _D.RELEASED, _D.FAILED}),
        _D.ACKNOWLEDGED: frozenset({_D.ANSWERED, _D.FAILED}),
        _D.UNCERTAIN: frozenset({_D.DELIVERED, _D.FAILED}),
        _D.FAILED: frozenset({_D.RELEASED, _D.ACKNOWLEDGED, _D.SUPERSEDED, _D.RETURNED, _D.ARCHIVED}),
        _D.ARCHIVED: frozenset({_D.FAILED}),
        _D.ANSWERED: frozenset(),
        _D.SUPERSEDED: frozenset(),
        _D.RETURNED: frozenset(),
    }
)

#: How a delivery may be born.
DELIVERY_BORN: Final = frozenset({_D.ROUTED, _D.FILTERED})

#: For order: while one of these stands, nothing later with the same order key goes to the same receiver. A failed one does not block.
UNFINISHED: Final = (_D.ROUTED, _D.RELEASED, _D.POSTPONED, _D.UNCERTAIN, _D.DELIVERED)

#: An answer proves that a delivery arrived, whatever we knew of it: which move brings it nearer to `answered`.
TOWARDS_ANSWERED: Final[Mapping[DeliveryState, DeliveryState]] = MappingProxyType(
    {
        _D.ROUTED: _D.RELEASED,
        _D.POSTPONED: _D.RELEASED,
        _D.RELEASED: _D.DELIVERED,
        _D.UNCERTAIN: _D.DELIVERED,
        _D.DELIVERED: _D.ACKNOWLEDGED,
        _D.FAILED: _D.ACKNOWLEDGED,
        _D.ACKNOWLEDGED: _D.ANSWERED,
    }
)


def steps_to_answered(state: DeliveryState) -> tuple[DeliveryState, ...]:
    """The states through which a delivery that was answered goes; none when it has ended already."""
    steps = []
    while (after := TOWARDS_ANSWERED.get(state)) is not None:
        steps.append(after)
        state = after
    return tuple(steps)


def may_move(before: DeliveryState, after: DeliveryState) -> bool:
    """Whether a delivery in `before` may go to `after`."""
    return after in DELIVERY_MOVES[before]
