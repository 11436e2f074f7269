"""Deciding with a register that may have to ask another one: asked aside, and decided again when the answer is there."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from datetime import date
from typing import TypeVar

from routing.register import Register
from routing.register_asked import NotAsked, OtherRegister, Source, asking
from workers.loop import Worker
from workers.register_cache import RegisterCache

T = TypeVar("T")
U = TypeVar("U")


class AskingCache(RegisterCache):
    """`RegisterCache` for whoever routes: what it gives asks the other register too, or instead. Lists, and the register's own API, are of
    a plain one."""

    # all of it is the plain one's, which is looked after there
    def __init__(self, own: RegisterCache, other: OtherRegister, today: Callable[[], date], *, source: Source) -> None:
        self._own, self.other, self._today, self._source = own, other, today, source
        self._made: tuple[Register, Register] | None = None  # ours, and the same that asks

    def __call__(self) -> Register:
        """As RegisterCache."""
        return self._asking(self._own())

    def known(self) -> Register:
        """As RegisterCache."""
        return self._asking(self._own.known())

    def newest(self) -> Register:
        """As RegisterCache."""
        return self._asking(self._own.newest())

    def _asking(self, own: Register) -> Register:
        made = self._made
        if made is None or made[0] is not own:
            made = self._made = (own, asking(own, self.other, self._today, source=self._source))
        return made[1]


async def answered(missing: NotAsked) -> None:
    """Until the other register answered, or did not. Whoever is cancelled meanwhile does not take the question from others who wait."""
    await asyncio.shield(asyncio.wrap_future(missing.begin()))


async def decide(worker: Worker, what: str, act: Callable[[], T]) -> T:
    """`Worker.insist`, for one decision. Raises Stopping."""
    while True:
        try:
            return await worker.insist(what, act)
        except NotAsked as missing:
            await answered(missing)


async def decide_each(
    worker: Worker, what: str, items: Sequence[U], act: Callable[[U], T], *, within_s: float | None = None
) -> list[T | None]:
    """A decision for each, in their order: what is missing is asked at the same time. None for those that still miss something after
    `within_s` seconds, while it goes on being asked. Raises Stopping."""
    found: list[T | None] = [None] * len(items)
    missing = list(range(len(items)))
    until = None if within_s is None else asyncio.get_running_loop().time() + within_s
    while True:
        left: list[int] = []
        begun: list[asyncio.Future[None]] = []
        for place in missing:
            try:
                found[place] = await worker.insist(what, lambda place=place: act(items[place]))  # type: ignore[misc]
            except NotAsked as unknown:
                left.append(place)
                begun.append(asyncio.wrap_future(unknown.begin()))
        if not left:
            return found
        missing = left
        wait_s = None if until is None else until - asyncio.get_running_loop().time()
        if wait_s is not None and wait_s <= 0:
            return found
        await asyncio.wait(begun, timeout=wait_s, return_when=asyncio.ALL_COMPLETED if wait_s is not None else asyncio.FIRST_COMPLETED)
