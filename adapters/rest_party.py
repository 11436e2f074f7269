"""What the REST pages of parties have in common: store calls aside of the event loop, requests that wait, and answers in JSON."""

from __future__ import annotations

import asyncio
import json
from collections import Counter as Tally
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any, Final, TypeVar
from weakref import WeakValueDictionary

from aiohttp import web

from adapters import problem
from adapters.https import OUTCOME, Door, fault_in
from routing.work import StoreUnavailable
from schemas.faults import OurFailure, Refused
from schemas.oin import Oin, is_oin

T = TypeVar("T")
R = TypeVar("R", bound=web.StreamResponse)

#: Seconds that a request may wait for something to come, at most.
LONGEST_WAIT: Final = 30
#: Seconds between two looks for those who wait.
LOOK_EVERY_S: Final = 1.0
#: Requests that may wait: of one certificate, and in all, in this process. A look costs half a millisecond.
WAITING_EACH: Final = 20
WAITING: Final = 200
#: Threads that ask the store; what is asked is short.
THREADS: Final = 4


class Visits:
    """How parties' requests are handled: admitted at the door, answered from the store, made to wait."""

    def __init__(self, door: Door, pause: Callable[[float], Awaitable[None]], stopping: Callable[[], bool]) -> None:
        """`pause`: sleeps so many seconds, and not through a stop. `stopping`: whether the gateway is to stop."""
        self._door, self._pause, self._stopping = door, pause, stopping
        self._waiting: Tally[Oin] = Tally()
        self._lines: WeakValueDictionary[Oin | None, asyncio.Lock] = WeakValueDictionary()  #: of those that have something under way
        self._threads = ThreadPoolExecutor(max_workers=THREADS, thread_name_prefix="party")

    async def aside(self, act: Callable[[], T]) -> T:
        """Does something that waits for the store, while the event loop goes on; one thing of each system at a time, so that others have a
        thread too. Raises OurFailure when the store is away."""
        line = self._lines.setdefault(OUTCOME.get().system, asyncio.Lock())
        try:
            async with line:
                return await asyncio.get_running_loop().run_in_executor(self._threads, act)
        except StoreUnavailable:
            raise OurFailure("the store is not available now") from None

    async def answer(self, request: web.Request, act: Callable[[Oin], Awaitable[R]]) -> R | web.Response:
        """What `act` answers to the system that is connected, or what is wrong, as problem+json."""
        try:
            with self._door.admitted(request) as system:
                return await act(system)
        except Exception as error:  # noqa: BLE001 (`fault_in` logs what nobody expected)
            return self._problem(request, error)

    async def answer_when(
        self,
        request: web.Request,
        look: Callable[[Oin], T],
        *,
        wait_s: Callable[[], int],
        enough: Callable[[T], bool],
        show: Callable[[T], web.Response],
    ) -> web.Response:
        """What `look` finds, once it is enough or the time is over. The first look is a request like any other; whoever waits after that
        stands aside of the door, so that waiting does not keep its other requests out."""
        try:
            with self._door.admitted(request) as system:
                until = asyncio.get_running_loop().time() + wait_s()
                found = await self.aside(lambda: look(system))
            if not enough(found) and until > asyncio.get_running_loop().time():
                found = await self._wait(request, lambda: look(system), enough, found, system, until)
            return show(found)
        except Exception as error:  # noqa: BLE001 (as above)
            return self._problem(request, error)

    async def _wait(
        self, request: web.Request, look: Callable[[], T], enough: Callable[[T], bool], found: T, system: Oin, until: float
    ) -> T:
        if self._waiting[system] >= WAITING_EACH or self._waiting.total() >= WAITING:
            raise OurFailure("too many requests wait here already; ask again without waiting, or later")
        self._waiting[system] += 1
        try:
            clock = asyncio.get_running_loop().time
            while not enough(found) and (left := until - clock()) > 0 and not self._stopping() and _is_there(request):
                await self._pause(min(LOOK_EVERY_S, left))
                found = await self.aside(look)
            return found
        finally:
            self._waiting[system] -= 1
            if not self._waiting[system]:
                del self._waiting[system]

    @staticmethod
    def _problem(request: web.Request, error: Exception) -> web.Response:
        fault = fault_in(error)
        OUTCOME.get().code = fault.code
        response = problem.response(fault)
        if not request.content.is_eof():  # what is still to come of it is not waited for
            response.force_close()
        return response


def _is_there(request: web.Request) -> bool:
    return request.transport is not None and not request.transport.is_closing()


class Asked:
    """The parameters behind the question mark. Each reading raises Refused (REQUEST_INVALID) that names the parameter."""

    def __init__(self, request: web.Request, *names: str) -> None:
        """`names`: those that mean something here; any other, and one that is given twice, is refused."""
        for name in request.query:
            if name not in names:
                raise wrong(f"there is no such parameter here; there are: {', '.join(names) or 'none'}", where=name[:40])
            if len(request.query.getall(name)) > 1:
                raise wrong("it is given more than once", where=name)
        self._query = request.query

    def text(self, name: str) -> str | None:
        """Its value; None when it is not given."""
        value = self._query.get(name)
        if value is not None and not (0 < len(value) <= 200 and value.isprintable()):
            raise wrong("it must be a text of 1 to 200 characters", where=name)
        return value

    def must(self, name: str) -> str:
        """Its value."""
        value = self.text(name)
        if value is None:
            raise wrong("it is missing", where=name)
        return value

    def oin(self, name: str) -> Oin | None:
        """An OIN of 20 positions."""
        value = self.text(name)
        if value is not None and not is_oin(value):
            raise wrong("it is not an OIN of 20 positions", where=name)
        return None if value is None else Oin(value)

    def number(self, name: str, *, most: int, default: int, least: int = 0) -> int:
        """A whole number."""
        value = self.text(name)
        if value is None:
            return default
        if not (value.isascii() and value.isdigit() and len(value) < 10 and least <= int(value) <= most):
            raise wrong(f"it must be a whole number from {least} to {most}", where=name)
        return int(value)


def wrong(reason: str, *, where: str) -> Refused:
    """A mistake in a request."""
    return Refused("REQUEST_INVALID", reason, where=where)


def as_json(said: Mapping[str, Any], *, status: int = 200) -> web.Response:
    """An answer; nobody between us and the party is to keep it."""
    body = json.dumps(said, ensure_ascii=False, separators=(",", ":")).encode()
    return web.Response(status=status, body=body, content_type="application/json", headers={"Cache-Control": "no-store"})


def moment(at_us: int | None) -> str | None:
    """As in receipts: ISO 8601, UTC."""
    return None if at_us is None else datetime.fromtimestamp(at_us / 1e6, UTC).isoformat()
