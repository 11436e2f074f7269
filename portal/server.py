"""The portal's application: its headers, its errors in the visitor's language, one log line for each request, and its life as a process."""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from typing import Any, Final, Protocol

from aiohttp import web

from portal import second_factor, sign_in, statics
from portal.api import server as api
from portal.api.problems import Problem
from portal.pages import MENU, PAGES
from portal.personal import local
from portal.rendering import NAV, THEMES, NavItem, render
from portal.shell import API, LANGUAGES, READ_S, SHELL, VISIT, Answer, Shell, checked, language_of
from portal.texts import TEXTS, text
from routing.people import NotConfirmed
from routing.work import StoreUnavailable
from schemas.privacy import plain, redact

log = logging.getLogger("koppelpunt.portal")
#: It writes a traceback, with what the client sent, for each request that is not HTTP.
logging.getLogger("aiohttp.server").setLevel(logging.CRITICAL)

#: Bytes of a form; none of ours is nearly so large.
LARGEST_FORM: Final = 256 * 1024
#: A browser loads and runs nothing that is not ours, and nobody shows our pages inside theirs.
CSP: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; font-src 'self'; connect-src 'self'; "
    "form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
)
HEADERS: Final = {
    "Server": "Koppelpunt",
    "Content-Security-Policy": CSP,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
}
#: Seconds for which a browser remembers that we are reached over TLS only: a year.
HSTS: Final = "max-age=31536000"
#: Seconds after which a page that had no store tries again.
AGAIN_S: Final = 5
#: The least part of READ_S that a request gets to come in: they differ, so that slow ones do not all come back at once.
READ_LEAST: Final = 0.75
#: Seconds between two tries to get the port; that requests under way get when the worker stops; between two looks for what is over.
LISTEN_AGAIN_S, FINISH_S, TIDY_EVERY_S = 5.0, 8.0, 300.0
#: Seconds for which a browser remembers language and theme: a year.
_YEAR_S: Final = 31_536_000

#: HTTP status, seconds.
Observe = Callable[[int, float], None]


def application(
    shell: Shell,
    *,
    pages: Sequence[Callable[[Shell], Iterable[web.RouteDef]]] = PAGES,
    menu: Sequence[NavItem] = MENU,
    observe: Observe | None = None,
) -> web.Application:
    """Everything at its path. Raises TypeError when a handler does not say who may come to it."""
    app = web.Application(client_max_size=LARGEST_FORM, middlewares=[_logged(observe), _told, _switched])
    app[SHELL], app[NAV] = shell, tuple(menu)
    made: list[Callable[[Shell], Iterable[web.RouteDef]]] = [statics.routes, sign_in.routes, second_factor.routes, api.routes, *pages]
    for routes in made:
        app.router.add_routes(checked(routes(shell)))
    app.on_response_prepare.append(_protect)
    return app


async def _protect(request: web.Request, response: web.StreamResponse) -> None:
    response.headers.update(HEADERS)
    if request.app[SHELL].https:
        response.headers["Strict-Transport-Security"] = HSTS
    response.headers.setdefault("Cache-Control", "no-store")


_Handler = Callable[[web.Request], Awaitable[Answer]]


def _logged(observe: Observe | None) -> Any:
    """One line for each request: its path, without what stands behind a `?`."""

    @web.middleware
    async def logged(request: web.Request, handler: _Handler) -> Answer:
        started, status = time.perf_counter(), 500
        try:
            response = await handler(request)
            status = response.status
            return response
        finally:
            seconds = time.perf_counter() - started
            if observe is not None and "text/event-stream" not in request.headers.get("Accept", ""):
                observe(status, seconds)
            visit = request.get(VISIT)
            log.info(
                "portal_request",
                extra={
                    "method": request.method,
                    "path": plain(redact(request.path[:200])),
                    "status": status,
                    "account": visit.account.name if visit else None,
                    "ms": round(seconds * 1e3, 1),
                },
            )

    return logged


@web.middleware
async def _told(request: web.Request, handler: _Handler) -> Answer:
    """Whatever went wrong is told on a page, or under /api/ in JSON, and never with a traceback."""
    try:
        return await handler(request)
    except web.HTTPException as told:
        if told.status < 400:
            return web.Response(status=told.status, headers={"Location": told.headers["Location"]})
        return await _error(request, told.status, told.reason, headers=told.headers)
    except StoreUnavailable as error:
        log.warning("portal_without_store", extra={"error": str(error)})
        return await _error(request, 503, headers={"Retry-After": str(AGAIN_S)})
    except asyncio.CancelledError:
        raise
    except Exception as error:
        log.error("portal_failed", extra={"path": plain(redact(request.path[:200])), "error": type(error).__name__}, exc_info=error)
        return await _error(request, 500)


async def _error(request: web.Request, status: int, reason: str = "", headers: Any = None) -> Answer:
    kept = {name: headers[name] for name in ("Allow", "Retry-After", "WWW-Authenticate", "HX-Redirect") if headers and name in headers}
    if request.path.startswith(API):
        return Problem(status, headers=kept).response()
    language, known = language_of(request), str(status) if f"error.{status}" in TEXTS else "400" if status < 500 else "500"
    told = f"error.{status}.{reason}" if f"error.{status}.{reason}" in TEXTS else f"error.{known}.what"
    minutes = -(-int(kept.get("Retry-After", "60")) // 60)
    title, what = text(f"error.{known}", language), text(told, language, minutes=minutes)
    await _look_who(request)
    response = render(request, "error.html", status=status, title=title, what=what, again_s=AGAIN_S if status == 503 else 0)
    response.headers.update(kept)
    return response


async def _look_who(request: web.Request) -> None:
    """So that somebody who signed in finds the menu on an error page too."""
    if VISIT not in request:
        try:
            await request.app[SHELL].visitor(request)
        except (StoreUnavailable, NotConfirmed):
            request[VISIT] = None


@web.middleware
async def _switched(request: web.Request, handler: _Handler) -> Answer:
    """`?taal=en` and `?thema=donker` are remembered, and leave the address."""
    given = {"taal": LANGUAGES, "thema": THEMES}
    switches = {name: request.query[name] for name, values in given.items() if request.query.get(name) in values}
    if not switches or request.method != "GET" or request.path.startswith(API):
        return await handler(request)
    location = local(str(request.rel_url.without_query_params(*given)))
    response = web.Response(status=303, headers={"Location": location})
    for name, value in switches.items():
        response.set_cookie(name, value, max_age=_YEAR_S, path="/", secure=request.app[SHELL].https, samesite="Lax", httponly=True)
    return response


class Connections(Protocol):
    """How many there may be, and who must go."""

    def listeners(self, host: str, port: int, *, shared: bool) -> list[socket.socket]:
        """Sockets on every address of this host, bound and not listening yet. Raises OSError."""

    def busy(self, request: web.Request) -> AbstractContextManager[bool]:
        """While a request is under way its connection is not idle. Yields whether it may stay open afterwards."""

    def hang_up_on_the_silent(self, after_s: float, least: float) -> None:
        """Closes what brought no whole request in this time, or in a part of it, `least` at least."""


class PortalServer:
    """Listens until its worker stops."""

    def __init__(
        self,
        shell: Shell,
        *,
        host: str,
        port: int,
        connections: Connections,
        context: ssl.SSLContext | None = None,
        observe: Observe | None = None,
    ) -> None:
        self._shell, self._host, self._wanted, self._context, self._observe = shell, host, port, context, observe
        self._connections = connections
        self.port = 0  #: 0: it does not listen

    async def run(self) -> None:
        """Listens, and lets whoever waits for an answer have it before it ends. A port that somebody else has is tried again."""
        worker, runner = self._shell.ports.worker, self._runner()
        await runner.setup()
        try:
            while not worker.stopping and not self.port:
                await self._listen(runner)
            tidied = time.monotonic()
            while not worker.stopping:
                await worker.pause(1.0)
                self._connections.hang_up_on_the_silent(READ_S, READ_LEAST)
                if time.monotonic() - tidied > TIDY_EVERY_S:
                    tidied = time.monotonic()
                    await self._tidy()
        finally:
            await runner.cleanup()
            self._shell.threads.shutdown(wait=False)
            self._shell.exporters.shutdown(wait=False)

    def _runner(self) -> web.AppRunner:
        app = application(self._shell, observe=self._observe)

        @web.middleware
        async def connected(request: web.Request, handler: _Handler) -> Answer:
            with self._connections.busy(request) as stays:
                response = await handler(request)
                if not stays or self._shell.ports.worker.stopping:
                    response.force_close()
                return response

        app.middlewares.insert(0, connected)
        return web.AppRunner(app, access_log=None, shutdown_timeout=FINISH_S, keepalive_timeout=75.0)

    async def _listen(self, runner: web.AppRunner) -> None:
        worker = self._shell.ports.worker
        try:
            for listener in self._connections.listeners(self._host, self._wanted, shared=False):
                await web.SockSite(runner, listener, ssl_context=self._context).start()
        except OSError as error:
            log.error("portal_cannot_listen", extra={"host": self._host, "port": self._wanted, "error": error.strerror or str(error)})
            await worker.pause(LISTEN_AGAIN_S)
            return
        self.port = runner.addresses[0][1]
        log.info("portal_listens", extra={"worker": worker.id, "host": self._host, "port": self.port})

    async def _tidy(self) -> None:
        people, clock = self._shell.ports.people, self._shell.ports.clock
        try:
            await self._shell.ask(people.tidy, now_us=clock.now_us())
        except StoreUnavailable:
            return
