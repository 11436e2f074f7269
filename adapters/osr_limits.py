"""How often one certificate may read endpoints: the register is not to be copied through its API (domain facts 1.3)."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable
from typing import Final

from adapters.osr_problem import Wrong
from schemas.oin import Oin

#: Certificates remembered; more than that at once, and those that asked longest ago begin anew.
MOST: Final = 10_000


class Rate:
    """So many a minute for each, of which a whole minute's may come at once. For several threads."""

    def __init__(self, per_minute: int, clock: Callable[[], float] = time.monotonic) -> None:
        self.per_minute, self._clock = per_minute, clock
        self._left: dict[Oin, tuple[float, float]] = {}  #: how many it had left, and when; in the order in which they asked last
        self._turn = threading.Lock()

    def take(self, system: Oin, count: int = 1) -> int:
        """0 when it may; else the seconds after which it may again. Who may have one may have `count`, and then waits for longer."""
        with self._turn:
            now = self._clock()
            left, since = self._left.pop(system, (float(self.per_minute), now))
            left = min(self.per_minute, left + (now - since) * self.per_minute / 60)
            if len(self._left) >= MOST:
                del self._left[next(iter(self._left))]
            self._left[system] = (left - count if left >= 1 else left, now)
        return 0 if left >= 1 else max(1, math.ceil((1 - left) * 60 / self.per_minute))

    def check(self, system: Oin, count: int = 1) -> None:
        """Raises Wrong (429) when it may not."""
        wait_s = self.take(system, count)
        if wait_s:
            raise Wrong(
                429,
                "REGISTER_TOO_OFTEN",
                "Too Many Requests",
                en=f"this may be asked {self.per_minute:,} times a minute here; keep answers, and come again in {wait_s} s",
                nl=f"Systeem {system} vraagt dit te vaak; bewaar antwoorden en kom over {wait_s} s terug.",
                retry_after=wait_s,
            )
