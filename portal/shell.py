"""What every page of the portal stands on: who visits, what they may, and how a page says what it asks for.

A handler is made with `page`, which names its permission, or (where nobody is known yet) with `open_to_all`; `checked` refuses any other.
"""

from __future__ import annotations

import asyncio
import functools
import hashlib
import hmac
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv6Network, ip_address
from typing import Any, Final, Protocol, TypeVar
from urllib.parse import quote, urlsplit

from aiohttp import http_exceptions, web

from portal.desk import Desk
from portal.personal import may_be_personal, refuse_personal
from routing.people import (
    HANDLE,
    TOKEN_SHAPE,
    Account,
    IdentityProvider,
    Passwords,
    People,
    Permission,
    Role,
    Scope,
    Session,
    digest_of,
    new_secret,
)
from routing.warning_board import Warnings
from schemas.privacy import plain

T = TypeVar("T")

#: Threads that ask the store, of one portal process, and those that make files: together fewer than it has connections (SQLAlchemy's 15).
ASK_AT_A_TIME, EXPORT_AT_A_TIME = 12, 2
#: Seconds for a request to come in.
READ_S: Final = 20.0
#: Where one signs in and out, and where one chooses a password.
SIGN_IN, SIGN_OUT, PASSWORD = "/inloggen", "/uitloggen", "/wachtwoord"
#: Where one gets a second factor.
SECOND_FACTOR: Final = "/tweede-factor"
#: What a page asks for that is for everybody who signed in.
EVERYBODY: Final = frozenset(Permission)
#: Methods that change nothing, and so need no token against forged requests.
_SAFE: Final = frozenset({"GET", "HEAD", "OPTIONS"})
_DAY_US: Final = 86_400_000_000
#: What is under here answers in JSON.
API: Final = "/api/"


@dataclass(frozen=True, slots=True, kw_only=True)
class Visit:
    """Who asks for a page, by the store and not by the request."""

    account: Account
    session: Session | None  #: None: a program with a token
    language: str  #: nl or en
    token: bytes | None = field(default=None, repr=False)  #: SHA-256 of the program's token

    @property
    def scope(self) -> Scope:
        """What every query of this visit is limited to."""
        return self.account.scope

    @property
    def permissions(self) -> frozenset[Permission]:
        """What the account may do."""
        return self.account.permissions

    @property
    def proof(self) -> bytes:
        """By which another process finds in the store that this account is here."""
        return self.session.key if self.session else self.token or b""

    def may(self, permission: str) -> bool:
        """Whether it may do this. Raises ValueError for a permission that does not exist."""
        return Permission(permission) in self.permissions


Answer = web.StreamResponse
Handler = Callable[[web.Request, Visit], Awaitable[Answer]]
OpenHandler = Callable[[web.Request], Awaitable[Answer]]
Bare = Callable[[web.Request], Awaitable[Answer]]


class Worker(Protocol):
    """The process around it, as much of it as is needed here."""

    id: str

    @property
    def stopping(self) -> bool:
        """Whether it was told to stop."""

    async def pause(self, seconds: float) -> None:
        """Sleeps, but not through a stop."""


class Clock(Protocol):
    """Our clock."""

    def now_us(self) -> int:
        """Microseconds since 1970 UTC."""


@dataclass(slots=True, kw_only=True)
class Ports:
    """What the pages see of the backbone; `run.py` passes the real things in."""

    people: People
    passwords: Passwords
    clock: Clock
    worker: Worker
    provider: IdentityProvider | None = None
    desk: Desk | None = None  #: what the pages with data ask; None: there are none
    warnings: Warnings | None = None  #: what will break; the API shows since when


@dataclass(slots=True, kw_only=True)
class Shell:
    """One portal process: its ports, and how it is reached."""

    ports: Ports
    url: str | None = None  #: as browsers know it; None: as each request says
    api_calls: int = 600  #: how often a minute one API token may ask
    second_factor: frozenset[Role] = frozenset()  #: local accounts with one of these roles must have a second factor
    token_days: int = 30  #: days after its owner's last sign-in at the identity provider for which a token counts
    one_time_h: int = 72  #: hours for which a password is good that somebody else made
    https: bool = False  #: whether browsers reach it over TLS, here or at a proxy
    proxied: Callable[[str], bool] = lambda address: False  #: whether this address is a proxy's, whose X-Forwarded-For counts
    streams: Counter[str] = field(default_factory=Counter)  #: of server-sent events, by account (portal.live)
    threads: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(ASK_AT_A_TIME, thread_name_prefix="ask"))

    exporters: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(EXPORT_AT_A_TIME, thread_name_prefix="export"))

    async def ask(self, act: Callable[..., T], *given: Any, **named: Any) -> T:
        """Calls something that asks the store, in a thread: the event loop never waits for the store."""
        return await asyncio.get_running_loop().run_in_executor(self.threads, functools.partial(act, *given, **named))

    # -- cookies -------------------------------------------------------------------------------------------------------------------------

    def cookie(self, name: str) -> str:
        """A cookie's name: with https one that no other host or path can set (RFC 6265bis, 4.1.3.2)."""
        return f"__Host-{name}" if self.https else name

    def set_cookie(self, response: Answer, name: str, value: str, *, max_age: int | None = None) -> None:
        """A cookie of ours, which no script can read."""
        response.set_cookie(self.cookie(name), value, max_age=max_age, path="/", secure=self.https, httponly=True, samesite="Lax")

    def drop_cookie(self, response: Answer, name: str) -> None:
        """The browser forgets it."""
        response.del_cookie(self.cookie(name), path="/", secure=self.https, httponly=True, samesite="Lax")

    def secret(self, request: web.Request) -> str | None:
        """What the browser's session cookie holds, signed in or not."""
        found = request.cookies.get(self.cookie(SESSION))
        return found if found and len(found) < 100 and found.isascii() else None

    # -- who visits ----------------------------------------------------------------------------------------------------------------------

    async def visitor(self, request: web.Request) -> Visit | None:
        """Who it is, by session cookie or (under /api/) by token. None: nobody we know. Raises StoreUnavailable, and NotConfirmed for a
        token whose owner the identity provider has not let in for too long."""
        if VISIT in request:
            known: Visit | None = request[VISIT]
            return known
        now_us, session, account, key = self.ports.clock.now_us(), None, None, None
        if request.path.startswith(API) and "Authorization" in request.headers:  # and then no cookie counts, whatever stands in it
            if (token := bearer(request)) is not None:
                key, after_us = digest_of(token), now_us - self.token_days * _DAY_US
                account = await self.ask(self.ports.people.by_token, key, now_us=now_us, confirmed_after_us=after_us)
        elif (secret := self.secret(request)) is not None:
            watched = not _by_itself(request)
            session = await self.ask(self.ports.people.session, digest_of(secret), now_us=now_us, touch=watched)
            account = session.account if session else None
        visit = Visit(account=account, session=session, language=language_of(request), token=key) if account else None
        request[VISIT] = visit
        return visit

    def csrf(self, request: web.Request) -> str:
        """The token that every form of this browser's session carries; empty without a session cookie."""
        secret = self.secret(request) or request.get(FRESH)
        return _csrf(secret) if secret else ""

    async def refuse_forged(self, request: web.Request) -> None:
        """Raises HTTPForbidden for a request that changes something and that no page of ours made."""
        if request.method in _SAFE:
            return
        origin, secret, form = request.headers.get("Origin"), self.secret(request), await _form(request)
        given = request.headers.get("X-CSRF-Token") or str(form.get("csrf", ""))
        host = urlsplit(self.url).netloc if self.url else request.host
        if origin is not None and _host_of(origin) != host:
            raise web.HTTPForbidden(reason="forged")
        if not secret or not hmac.compare_digest(_csrf(secret).encode(), given.encode(errors="replace")):
            raise web.HTTPForbidden(reason="forged")

    # -- handles: what must not stand in an address ----------------------------------------------------------------------------------------

    async def keep(self, session: bytes, kind: str, value: bytes) -> str:
        """Keeps something for half an hour for one session; returns the handle that may stand in a URL."""
        people, made = self.ports.people, new_secret()
        until_us = self.ports.clock.now_us() + int(HANDLE.total_seconds() * 1e6)
        await self.ask(people.keep_handle, digest_of(made), session, kind, value, until_us=until_us)
        return made

    async def kept(self, session: bytes, kind: str, handle: str, *, once: bool = False) -> bytes | None:
        """What was kept under a handle; None when it is over or another session's."""
        now_us = self.ports.clock.now_us()
        return await self.ask(self.ports.people.handle, digest_of(handle), session, kind, now_us=now_us, once=once)

    def address_of(self, request: web.Request) -> str:
        """From where the request came, as far as we can tell."""
        peer = request.remote or ""
        if self.proxied(peer) and (chain := request.headers.getall("X-Forwarded-For", [])):
            return plain(chain[-1].rpartition(",")[2].strip()[:45])  # the proxy itself wrote the last one
        return peer


SHELL: Final = web.AppKey("shell", Shell)
VISIT: Final[web.RequestKey[Visit | None]] = web.RequestKey("visit")
#: The session cookie; and a value of it that this very answer sets.
SESSION: Final = "koppelpunt"
FRESH: Final = web.RequestKey("fresh", str)
LANGUAGES: Final = ("nl", "en")
#: What portal.js sends along when a page refreshes itself.
QUIET: Final = "X-Koppelpunt-Quiet"


def network_of(address: str) -> str:
    """What tries of one visitor are counted under: of IPv6 the /64, for whoever has one address there has all of them (RFC 6177)."""
    try:
        found = ip_address(address)
    except ValueError:
        return address
    if isinstance(found, IPv4Address):
        return address
    return str(found.ipv4_mapped or IPv6Network((int(found) >> 64 << 64, 64)))


def bearer(request: web.Request) -> str | None:
    """The token that a program sends along; None when there is none, or anything else (RFC 6750, 2.1; the scheme in any case)."""
    given = request.headers.getall("Authorization", [])
    scheme, _, token = given[0].partition(" ") if len(given) == 1 else ("", "", "")
    return token if scheme.lower() == "bearer" and TOKEN_SHAPE.match(token) else None


def language_of(request: web.Request) -> str:
    """Dutch, unless the visitor chose otherwise; for a program English, unless it asks for Dutch."""
    if request.path.startswith(API):
        return "nl" if request.headers.get("Accept-Language", "").startswith("nl") else "en"
    chosen = request.cookies.get("taal")
    return chosen if chosen in LANGUAGES else LANGUAGES[0]


async def _form(request: web.Request) -> Mapping[str, Any]:
    """What a form sent. Raises HTTPRequestTimeout when it does not come in, and HTTPBadRequest for what is none."""
    try:
        async with asyncio.timeout(READ_S):
            form = await request.post()
        for part in (*form.keys(), *form.values()):
            if isinstance(part, str):
                part.encode()  # half a character, which some charsets let in, is nothing to ask a password or the store with
        return form
    except TimeoutError:
        raise web.HTTPRequestTimeout from None
    except (ValueError, LookupError, AssertionError, http_exceptions.HttpProcessingError):  # what aiohttp raises for forms that are broken
        raise web.HTTPBadRequest from None


def _by_itself(request: web.Request) -> bool:
    """Whether a page that was left open asks this, and nobody who works: the session does not begin anew for it. It says so itself, and
    nothing else may follow from what it says."""
    quiet = request.method == "GET" and QUIET in request.headers
    return quiet or "text/event-stream" in request.headers.get("Accept", "")


def _host_of(origin: str) -> str | None:
    try:
        return urlsplit(origin).netloc
    except ValueError:
        return None


def _csrf(secret: str) -> str:
    return hashlib.blake2b(b"csrf", key=secret.encode()[:64], digest_size=24).hexdigest()


def page(*, permission: Permission | Iterable[Permission]) -> Callable[[Handler], Bare]:
    """Makes a handler that only visitors with the permission (with several: any of them) come to.

    Nobody known: to the sign-in page. No permission: 403. A request that changes something without the session's token: 403.
    """
    wanted = frozenset({permission} if isinstance(permission, Permission) else permission)
    if not wanted:
        raise ValueError("a page names at least one permission")

    def decorate(handler: Handler) -> Bare:
        @functools.wraps(handler)
        async def guarded(request: web.Request) -> Answer:
            shell = request.app[SHELL]
            if request.method in _SAFE and not request.path.startswith(API):
                refuse_personal(request)
            visit = await shell.visitor(request)
            if visit is None:
                raise _unknown(request)
            if visit.session is not None:
                await shell.refuse_forged(request)
                if visit.session.one_time and request.path not in (PASSWORD, SIGN_OUT):
                    raise web.HTTPSeeOther(PASSWORD)
                if visit.session.lacks_second_factor(shell.second_factor) and request.path not in (PASSWORD, SECOND_FACTOR, SIGN_OUT):
                    raise web.HTTPSeeOther(SECOND_FACTOR)
            if not visit.permissions & wanted:
                raise web.HTTPForbidden(reason="permission")
            return await handler(request, visit)

        setattr(guarded, _ACCESS, wanted)
        return guarded

    return decorate


def open_to_all(handler: OpenHandler) -> Bare:
    """Makes a handler for everybody: signing in, and what the browser needs for that."""

    @functools.wraps(handler)
    async def guarded(request: web.Request) -> Answer:
        await request.app[SHELL].refuse_forged(request)
        return await handler(request)

    setattr(guarded, _ACCESS, frozenset())
    return guarded


_ACCESS: Final = "portal_access"


def access_of(handler: object) -> frozenset[Permission] | None:
    """What a handler asks for: none of them for everybody; None when it was made with neither `page` nor `open_to_all`."""
    found: frozenset[Permission] | None = getattr(handler, _ACCESS, None)
    return found


def checked(routes: Iterable[web.RouteDef]) -> list[web.RouteDef]:
    """The same routes. Raises TypeError for a handler that does not say who may come to it."""
    listed = list(routes)
    for route in listed:
        if access_of(route.handler) is None:
            raise TypeError(f"{route.method} {route.path}: its handler says nothing about who may come; use @page(permission=...)")
    return listed


def _unknown(request: web.Request) -> web.HTTPException:
    """What somebody hears who did not sign in."""
    if request.path.startswith(API):
        return web.HTTPUnauthorized(headers={"WWW-Authenticate": "Bearer"})
    to = request.path_qs if request.method == "GET" and not may_be_personal(request.path) else "/"
    where = SIGN_IN if to == "/" else f"{SIGN_IN}?naar={quote(to)}"
    if "HX-Request" in request.headers:
        return web.HTTPUnauthorized(headers={"HX-Redirect": SIGN_IN})
    return web.HTTPSeeOther(where)
