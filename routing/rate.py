"""So many a minute for each: of what asks, and may not ask without end."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Hashable
from typing import Final, Generic, TypeVar

Who = TypeVar("Who", bound=Hashable)

#: Of those that ask, so many are remembered; more than that at once, and those that asked longest ago begin anew.
MOST: Final = 10_000


class Rate(Generic[Who]):
    """So many a minute for each, of which a whole minute's may come at once. For several threads."""

    def __init__(self, per_minute: int, clock: Callable[[], float] = time.monotonic) -> None:
        self.per_minute, self._clock = per_minute, clock
        self._left: dict[Who, tuple[float, float]] = {}  #: how many it had left, and when; in the order in which they asked last
        self._turn = threading.Lock()

    def take(self, who: Who, count: int = 1) -> int:
        """0 when it may; else the seconds after which it may again. Who may have one may have `count`, and then waits for longer."""
        with self._turn:
            left, now = self._left_of(who), self._clock()
            self._left.pop(who, None)
            if len(self._left) >= MOST:
                del self._left[next(iter(self._left))]
            self._left[who] = (left - count if left >= 1 else left, now)
        return self._wait(left)

    def wait(self, who: Who) -> int:
        """As `take`, without taking anything."""
        with self._turn:
            return self._wait(self._left_of(who))

    def _left_of(self, who: Who) -> float:
        now = self._clock()
        left, since = self._left.get(who, (float(self.per_minute), now))
        return min(self.per_minute, left + (now - since) * self.per_minute / 60)

    def _wait(self, left: float) -> int:
        return 0 if left >= 1 else max(1, math.ceil((1 - left) * 60 / self.per_minute))
