"""Server-sent events: a page that stays up to date. htmx's `sse` extension swaps each event's HTML in where the page says."""

from __future__ import annotations

import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Final

from aiohttp import web

from portal.shell import SHELL, VISIT, Visit
from routing.work import StoreUnavailable

log = logging.getLogger("koppelpunt.portal")

#: Seconds after which a stream says that it is still there, so that no proxy cuts it off; and after which it ends, for the browser to ask
#: again: its session is looked at then.
STILL_HERE_S, LONGEST_S = 15.0, 120.0
#: Seconds between two looks whether the session still stands.
LOOK_AGAIN_S: Final = 5.0
#: Milliseconds after which a browser asks again.
RETRY_MS: Final = 3_000
#: Streams of one account at a time; the browser keeps six connections, so one more would only wait.
STREAMS: Final = 6

#: Event name -> HTML, as it is now.
Look = Callable[[], Awaitable[Mapping[str, str]]]


async def stream(request: web.Request, visit: Visit, look: Look, *, every_s: float = 2.0) -> web.StreamResponse:
    """Tells the browser what `look` returns, whenever it is something else than before. It ends when the worker stops, when the browser
    leaves, and every two minutes. Raises HTTPTooManyRequests for more streams of one account than a browser makes."""
    shell = request.app[SHELL]
    if shell.streams[visit.account.name] >= STREAMS:
        raise web.HTTPTooManyRequests(headers={"Retry-After": "5"})
    shell.streams[visit.account.name] += 1
    try:
        return await _stream(request, visit, look, every_s)
    finally:
        shell.streams[visit.account.name] -= 1
        if not shell.streams[visit.account.name]:
            del shell.streams[visit.account.name]


async def _stream(request: web.Request, visit: Visit, look: Look, every_s: float) -> web.StreamResponse:
    shell = request.app[SHELL]
    response = web.StreamResponse(headers={"Content-Type": "text/event-stream; charset=utf-8", "X-Accel-Buffering": "no"})
    await response.prepare(request)
    worker, began, told = shell.ports.worker, time.monotonic(), dict[str, str]()
    said = looked = began
    await response.write(f"retry: {RETRY_MS}\n\n".encode())
    while not worker.stopping and time.monotonic() - began < LONGEST_S:
        try:
            fresh = {name: html for name, html in (await look()).items() if told.get(name) != html}
        except StoreUnavailable:
            fresh = {}
        try:
            for name, html in fresh.items():
                await response.write(event(name, html))
            if fresh:
                said = time.monotonic()
            elif time.monotonic() - said > STILL_HERE_S:
                await response.write(b": still here\n\n")
                said = time.monotonic()
        except ConnectionError:
            break  # the browser left
        told.update(fresh)
        await worker.pause(every_s)
        if request.transport is None or request.transport.is_closing():
            break
        if time.monotonic() - looked > LOOK_AGAIN_S:
            looked = time.monotonic()
            if not await _may_stay(request, visit):
                break
    return response


async def _may_stay(request: web.Request, visit: Visit) -> bool:
    """Whether it is still the same account, which may do and see the same; while the store is away, yes: nothing is shown then."""
    request.pop(VISIT, None)
    try:
        now = await request.app[SHELL].visitor(request)
        return now is not None and (now.account.name, now.permissions, now.scope) == (visit.account.name, visit.permissions, visit.scope)
    except StoreUnavailable:
        return True


def event(name: str, html: str) -> bytes:
    """One event. Lines of its own would end it; HTML reads the same with each behind `data:`."""
    lines = html.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    return (f"event: {name}\n" + "".join(f"data: {line}\n" for line in lines) + "\n").encode()
