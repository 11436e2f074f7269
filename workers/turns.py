"""Whose turn it is, when one system floods and another has little: the other hardly waits (rule 7).

Work that holds the event loop is done a few pieces in each of its rounds, one for each system in turn. And while there are several, each
has but one message more than the others between judging and commit: a commit of many takes long, and the more so while others are being
judged.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import Counter, deque
from collections.abc import AsyncIterator
from typing import Final

from schemas.oin import Oin

#: Messages that one system may have in hand more than all others together, while there are others. With 4 a sender of 50 a second waited
#: twice as long beside a flood as alone, with 1 as long as alone; and the flood was as fast.
FEW: Final = 1
#: Pieces of work in one round of the loop, of as many systems; some 0.3 ms each.
A_ROUND: Final = 4
#: Seconds for which a system counts after its last message.
THERE_S: Final = 1.0


class Turns:
    """Systems take turns, whatever each of them has waiting: one that floods waits for itself."""

    def __init__(self) -> None:
        self._there: dict[Oin, float] = {}  #: when each handed in last, in that order
        self._in_hand: Counter[Oin] = Counter()
        self._held: dict[Oin, deque[asyncio.Future[None]]] = {}
        self._lines: dict[Oin, deque[asyncio.Future[None]]] = {}  #: the system whose turn it is next comes first
        self._took: set[Oin] = set()  #: who does a piece of work in this round of the loop
        self._coming = False  #: `_next` will be called

    @contextlib.asynccontextmanager
    async def in_hand(self, system: Oin) -> AsyncIterator[None]:
        """While a message is judged and committed; waits until this system has few enough."""
        self._there.pop(system, None)
        self._there[system] = time.monotonic()
        while 2 * self._in_hand[system] - self._in_hand.total() >= FEW and self._several():
            place: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._held.setdefault(system, deque()).append(place)
            try:
                await place
            except asyncio.CancelledError:
                if place.done():
                    self._let_one_go_on(system)
                raise
        self._in_hand[system] += 1
        try:
            yield
        finally:
            self._in_hand[system] -= 1
            if not self._in_hand[system]:
                del self._in_hand[system]
            self._let_one_go_on(system)

    def _several(self) -> bool:
        """Whether more than one system handed in of late."""
        while self._there and (first := next(iter(self._there))) and time.monotonic() - self._there[first] > THERE_S:
            del self._there[first]
        return len(self._there) > 1

    def _let_one_go_on(self, system: Oin) -> None:
        line = self._held.get(system)
        while line:
            if not (place := line.popleft()).done():
                place.set_result(None)
                return
        self._held.pop(system, None)

    async def take(self, system: Oin) -> None:
        """Waits until this system may do a piece of work: all that its task does until it awaits something. Its first in a round of the
        loop waits for nobody."""
        loop = asyncio.get_running_loop()
        if system not in self._took and system not in self._lines and len(self._took) < A_ROUND:
            self._took.add(system)
            self._come_back()
            return
        turn: asyncio.Future[None] = loop.create_future()
        self._lines.setdefault(system, deque()).append(turn)
        await turn

    def _come_back(self) -> None:
        if not self._coming:
            self._coming = True
            asyncio.get_running_loop().call_soon(self._next)

    def _next(self) -> None:
        """Wakes who is next. They work in the coming round, before this is called again: in between, the loop looks what came in."""
        self._coming = False
        self._took.clear()
        for system in list(self._lines):  # one piece of each system: one that floods alone has one in a round
            line = self._lines.pop(system)
            turn = line.popleft()
            if line:
                self._lines[system] = line
            if not turn.done():  # its connection may be gone
                turn.set_result(None)
                self._took.add(system)
                if len(self._took) == A_ROUND:
                    break
        if self._took or self._lines:
            self._come_back()
