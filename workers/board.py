"""Keeping the board, in the audit worker: beside chaining and telling, and never in their way.

It has a lease and a thread of its own. When it fails it says so and tries again later; when it is slow it does less: after each turn it
rests for a multiple of what that took, so that it never has more than a part of a processor. What fails comes first.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from routing.board import BoardKeeper
from routing.ports import Registry
from routing.work import Lease, LeaseLost, StoreUnavailable
from workers.loop import Leader, Worker, lead

log = logging.getLogger("koppelpunt.board")

#: How long everything rests after something went wrong. Seconds.
SULK_S: Final = 10.0
#: How long to wait before looking whether anything is due.
LOOK_S: Final = 0.1


@dataclass(slots=True)
class _Chore:
    act: Callable[[Lease], int]
    every_s: float  #: between two turns, when there is nothing left to do
    rest: float  #: after a turn it rests for so many times what that took
    full: int  #: a turn that did so much has left something: then only that rest
    due: float = 0.0


class BoardKeeping:
    """The loop that keeps the board."""

    def __init__(self, worker: Worker, registry: Registry, keeper: BoardKeeper) -> None:
        self._worker = worker
        self._leader = Leader(worker, registry, "board")
        now = worker.clock.now_us
        self._chores = (
            # a failure is to be seen within two seconds, so this may take a fifth of a processor when much is in trouble
            _Chore(lambda lease: keeper.follow(lease, now_us=now()), every_s=0.25, rest=4, full=20),
            _Chore(lambda lease: keeper.sweep(lease, now_us=now()), every_s=1.0, rest=15, full=20_000),
            _Chore(lambda lease: keeper.count(lease, now_us=now()), every_s=1.0, rest=20, full=20),
            _Chore(lambda lease: keeper.close(lease, now_us=now()), every_s=5.0, rest=50, full=200),
            _Chore(lambda lease: keeper.pack(lease, now_us=now()), every_s=600.0, rest=50, full=1),
        )

    async def run(self) -> None:
        """Keeps it until the worker stops."""
        await lead(self._worker, self._leader, self._cycle)

    async def _cycle(self, lease: Lease) -> float:
        for chore in self._chores:
            began = time.monotonic()
            if began < chore.due:
                continue
            try:
                done = await asyncio.to_thread(chore.act, lease)
            except LeaseLost:
                raise
            except StoreUnavailable as error:
                log.warning("board_held", extra={"error": str(error)})
                return SULK_S
            except Exception as error:  # whatever it is: the journal goes on, and the board can be made anew
                log.error("board_failed", extra={"error": type(error).__name__}, exc_info=error)
                return SULK_S
            now = time.monotonic()
            chore.due = now + max((now - began) * chore.rest, 0.0 if done >= chore.full else chore.every_s)
        return LOOK_S
