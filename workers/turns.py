"""Whose turn it is: work that holds the event loop is done one piece in each of its rounds, and for each system in turn (rule 7)."""

from __future__ import annotations

import asyncio
from collections import deque

from schemas.oin import Oin


class Turns:
    """Systems take turns, whatever each of them has waiting: one that floods waits for itself."""

    def __init__(self) -> None:
        self._lines: dict[Oin, deque[asyncio.Future[None]]] = {}  #: the system whose turn it is next comes first
        self._taken = False  #: somebody works in this round of the loop

    async def take(self, system: Oin) -> None:
        """Waits until this system may do a piece of work: all that its task does until it awaits something."""
        loop = asyncio.get_running_loop()
        if not self._taken:
            self._taken = True
            loop.call_soon(self._next)
            return
        turn: asyncio.Future[None] = loop.create_future()
        self._lines.setdefault(system, deque()).append(turn)
        await turn

    def _next(self) -> None:
        """Wakes who is next. It works in the coming round, before this is called again: in between, the loop looks what came in."""
        while self._lines:
            system = next(iter(self._lines))
            line = self._lines.pop(system)
            turn = line.popleft()
            if line:
                self._lines[system] = line
            if not turn.done():  # its connection may be gone
                turn.set_result(None)
                asyncio.get_running_loop().call_soon(self._next)
                return
        self._taken = False
