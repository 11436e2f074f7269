"""Signing in: a local account with its password and code, or an identity provider's; and signing out."""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, Final, TypeVar

from aiohttp import web

from portal.rendering import render
from portal.shell import (
    EVERYBODY,
    FRESH,
    PASSWORD,
    SESSION,
    SIGN_IN,
    SIGN_OUT,
    Answer,
    Shell,
    Visit,
    language_of,
    network_of,
    open_to_all,
    page,
)
from portal.texts import text
from routing.people import (
    LONGEST_PASSWORD,
    SHORTEST_PASSWORD,
    Account,
    Flow,
    SecondFactorUnreadable,
    SignIn,
    SignInRefused,
    Source,
    digest_of,
    new_secret,
)

log = logging.getLogger("koppelpunt.portal")

T = TypeVar("T")

#: Tries within a quarter of an hour: of one name from one address (IPv6: one /64), of one name, from one address.
WINDOW_US: Final = 15 * 60 * 1_000_000
TRIES_BOTH, TRIES_NAME, TRIES_ADDRESS = 5, 50, 30
#: And of leaving for the identity provider, from one address.
TRIES_OIDC: Final = 100
#: Passwords that are judged at a time: each takes 64 MiB and a tenth of a second of a processor.
JUDGED_AT_A_TIME: Final = 2
_OIDC: Final = f"{SIGN_IN}/oidc"
_BACK: Final = f"{SIGN_IN}/oidc/terug"
_FLOW: Final = "oidc"
#: Why somebody who knows all the rest does not come in.
_OVER: Final = "one-time password over"


def routes(shell: Shell) -> list[web.RouteDef]:
    """Its paths."""
    desk = _Desk(shell)
    return [
        web.get(SIGN_IN, desk.form),
        web.post(SIGN_IN, desk.enter),
        web.get(_OIDC, desk.leave_for_provider),
        web.get(_BACK, desk.back_from_provider),
        web.post(SIGN_OUT, desk.sign_out),
        web.get(PASSWORD, desk.password_form),
        web.post(PASSWORD, desk.set_password),
    ]


class Judge:
    """Judges passwords and codes beside the event loop, some at a time."""

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(JUDGED_AT_A_TIME, thread_name_prefix="judge")

    async def __call__(self, act: Callable[..., T], *given: Any, **named: Any) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._threads, partial(act, *given, **named))


async def counted(shell: Shell, keys: Mapping[bytes, int], address: str) -> None:
    """Counts one more try under each key. Raises HTTPTooManyRequests when one of them has had as many as its number says."""
    now_us = shell.ports.clock.now_us()
    wait_us = await shell.ask(shell.ports.people.too_many, keys, now_us=now_us, window_us=WINDOW_US)
    if wait_us:
        log.warning("sign_in_held_back", extra={"address": address, "seconds": wait_us // 1_000_000})
        raise web.HTTPTooManyRequests(headers={"Retry-After": str(wait_us // 1_000_000 + 1)})


class _Desk:
    def __init__(self, shell: Shell) -> None:
        self._shell, self._ports = shell, shell.ports
        self._judge = Judge()
        self.form, self.enter = open_to_all(self._form), open_to_all(self._enter)
        self.leave_for_provider, self.back_from_provider = open_to_all(self._leave), open_to_all(self._back)
        self.sign_out = page(permission=EVERYBODY)(self._sign_out)
        self.password_form = page(permission=EVERYBODY)(self._password_form)
        self.set_password = page(permission=EVERYBODY)(self._set_password)

    # -- with a password -----------------------------------------------------------------------------------------------------------------

    async def _form(self, request: web.Request) -> Answer:
        if await self._shell.visitor(request) is not None:
            raise web.HTTPSeeOther(_inside(request.query.get("naar", "")))
        return self._show(request)

    def _show(self, request: web.Request, wrong: str = "", status: int = 200, to: str | None = None) -> Answer:
        """The form, with a cookie whose token the form carries: nobody can sign somebody else's browser in as himself."""
        fresh = None
        if self._shell.secret(request) is None:
            fresh = request[FRESH] = new_secret()
        to = _inside(request.query.get("naar", "") if to is None else to)
        provider = self._ports.provider.name if self._ports.provider else ""
        response = render(request, "sign_in.html", status=status, wrong=wrong, provider=provider, to="" if to == "/" else to)
        if fresh is not None:
            self._shell.set_cookie(response, SESSION, fresh)
        return response

    async def _enter(self, request: web.Request) -> Answer:
        given = await request.post()
        name, password, code, to = (str(given.get(key, "")) for key in ("name", "password", "code", "naar"))
        name, address, now_us = name.strip().lower(), self._shell.address_of(request), self._ports.clock.now_us()
        network = network_of(address)
        mine, theirs = [key_of("both", name, network), key_of("name", name)], key_of("address", network)
        keys = {**dict(zip(mine, (TRIES_BOTH, TRIES_NAME), strict=True)), theirs: TRIES_ADDRESS}
        people = self._ports.people
        await self._count(keys, address)
        known = await self._shell.ask(people.sign_in, name) if name.isprintable() else None
        try:
            why = await self._why_not(known, password, code)
        except SecondFactorUnreadable as error:
            log.error("second_factor_unreadable", extra={"account": name, "error": str(error)})
            return self._show(request, text("sign_in.unreadable", language_of(request)), 503, to)
        if why or known is None:
            if name.isprintable():  # whether there is such an account or not: it must not take longer for one that is
                await self._shell.ask(people.refused, name, why, now_us=now_us)
            log.warning("sign_in_refused", extra={"account": known.account.name if known else None, "address": address, "reason": why})
            told = "sign_in.one_time_over" if why == _OVER else "sign_in.wrong"  # only to who knew all the rest
            return self._show(request, text(told, language_of(request)), 403, to)
        await self._shell.ask(people.forget_tries, mine, take_back=[theirs])
        return await self._open(request, known.account, to)

    async def _count(self, keys: Mapping[bytes, int], address: str) -> None:
        await counted(self._shell, keys, address)

    async def _why_not(self, known: SignIn | None, password: str, code: str) -> str:
        """Why this is not the account's owner; empty when it is. The password is judged whatever else is wrong: all takes equally long."""
        passwords, kept = self._ports.passwords, known.password if known else None
        right = len(password) <= LONGEST_PASSWORD and await self._judge(passwords.check, kept, password)
        if known is None:
            return "no such account"
        if not right:
            return "password"
        if known.account.disabled:
            return "disabled"
        now_us = self._ports.clock.now_us()
        if known.totp is not None:
            step = await self._judge(passwords.totp_step, known.account.name, known.totp, code, now_us=now_us)
            if step is None:
                return "code"
            if not await self._shell.ask(self._ports.people.use_totp, known.account.name, step):
                return "code used before"
        return _OVER if known.one_time and now_us >= (known.one_time_until_us or now_us + 1) else ""

    async def _open(self, request: web.Request, account: Account, to: str) -> Answer:
        """Another secret than the browser had before: whoever knew that one knows nothing now."""
        secret, now_us = new_secret(), self._ports.clock.now_us()
        before = self._shell.secret(request)
        if before:
            await self._shell.ask(self._ports.people.end_session, digest_of(before), now_us=now_us)
        await self._shell.ask(self._ports.people.open_session, digest_of(secret), account.name, now_us=now_us)
        log.info("signed_in", extra={"account": account.name, "address": self._shell.address_of(request)})
        response = web.Response(status=303, headers={"Location": _inside(to)})
        self._shell.set_cookie(response, SESSION, secret)
        return response

    async def _sign_out(self, request: web.Request, visit: Visit) -> Answer:
        if visit.session is not None:
            await self._shell.ask(self._ports.people.end_session, visit.session.key, now_us=self._ports.clock.now_us())
        response = web.Response(status=303, headers={"Location": SIGN_IN})
        self._shell.drop_cookie(response, SESSION)
        return response

    # -- at an identity provider ---------------------------------------------------------------------------------------------------------

    async def _leave(self, request: web.Request) -> Answer:
        provider = self._ports.provider
        if provider is None:
            raise web.HTTPNotFound
        address = self._shell.address_of(request)
        await self._count({key_of("oidc", network_of(address)): TRIES_OIDC}, address)  # each leaves something in the store
        secret = self._shell.secret(request)
        own = secret or new_secret()
        try:
            where, flow = await provider.begin(self._return_to(request))
        except SignInRefused as refused:
            return await self._not_let_in(request, refused)
        kept = {**flow.to_dict(), "to": _inside(request.query.get("naar", ""))}
        handle = await self._shell.keep(digest_of(own), _FLOW, json.dumps(kept).encode())
        response = web.Response(status=303, headers={"Location": where})
        if secret is None:
            self._shell.set_cookie(response, SESSION, own)
        self._shell.set_cookie(response, _FLOW, handle, max_age=600)
        return response

    async def _back(self, request: web.Request) -> Answer:
        provider, secret = self._ports.provider, self._shell.secret(request)
        if provider is None:
            raise web.HTTPNotFound
        handle = request.cookies.get(self._shell.cookie(_FLOW), "")
        kept = await self._shell.kept(digest_of(secret), _FLOW, handle, once=True) if secret and handle else None
        if kept is None:
            return self._show(request, text("sign_in.stale", language_of(request)), 403)
        begun = json.loads(kept)
        to = begun.pop("to")
        try:
            described = await provider.finish(Flow(**begun), request.query, self._return_to(request))
            account = await self._shell.ask(self._ports.people.from_provider, described, now_us=self._ports.clock.now_us())
            if account.disabled:
                raise SignInRefused("the account is disabled")
        except SignInRefused as refused:
            return await self._not_let_in(request, refused)
        response = await self._open(request, account, to)
        self._shell.drop_cookie(response, _FLOW)
        return response

    async def _not_let_in(self, request: web.Request, refused: SignInRefused) -> Answer:
        address = self._shell.address_of(request)
        log.warning("sign_in_refused", extra={"account": None, "address": address, "reason": str(refused)})
        assert self._ports.provider is not None
        return self._show(request, text("sign_in.refused", language_of(request), provider=self._ports.provider.name), 403, "")

    def _return_to(self, request: web.Request) -> str:
        """Where the provider sends the browser back to."""
        origin = self._shell.url or f"{request.scheme}://{request.host}"
        return f"{origin.rstrip('/')}{_BACK}"

    # -- another password ------------------------------------------------------------------------------------------------------------------

    async def _password_form(self, request: web.Request, visit: Visit) -> Answer:
        return self._show_password(request, visit)

    def _show_password(self, request: web.Request, visit: Visit, wrong: str = "") -> Answer:
        local, one_time = visit.account.source is Source.LOCAL, bool(visit.session and visit.session.one_time)
        return render(request, "password.html", status=422 if wrong else 200, wrong=wrong, local=local, one_time=one_time)

    async def _set_password(self, request: web.Request, visit: Visit) -> Answer:
        given, people, session = await request.post(), self._ports.people, visit.session
        now, new, again = (str(given.get(name, "")) for name in ("now", "new", "again"))
        known = await self._shell.ask(people.sign_in, visit.account.name)
        if session is None or known is None or known.account.source is not Source.LOCAL:
            raise web.HTTPForbidden(reason="permission")
        now_us = self._ports.clock.now_us()
        tries = {key_of("password", visit.account.name): TRIES_BOTH}
        await self._count(tries, self._shell.address_of(request))
        if not await self._judge(self._ports.passwords.check, known.password, now[: LONGEST_PASSWORD + 1]):
            return self._show_password(request, visit, "password.wrong")
        if wrong := _what_is_wrong(now, new, again):
            return self._show_password(request, visit, wrong)
        hashed = await self._judge(self._ports.passwords.hash, new)
        await self._shell.ask(
            people.set_password, visit.account.name, hashed, one_time=False, who=visit.account.name, now_us=now_us, keep=session.key
        )
        await self._shell.ask(people.forget_tries, list(tries))
        raise web.HTTPSeeOther("/")


def _what_is_wrong(now: str, new: str, again: str) -> str:
    """Key of the sentence that says what is wrong with a new password; empty: nothing."""
    if new != again:
        return "password.differs"
    if len(new) < SHORTEST_PASSWORD:
        return "password.short"
    if len(new) > LONGEST_PASSWORD:
        return "password.long"
    return "password.same" if new == now else ""


def key_of(*parts: str) -> bytes:
    """What tries are counted under. Not the name itself: people type passwords where their names belong."""
    return hashlib.sha256("\0".join(parts).encode(errors="replace")).digest()


def _inside(to: str) -> str:
    """Where to go afterwards: a path of ours, whatever was asked for."""
    if not to.startswith("/") or to.startswith(("//", "/\\", SIGN_IN)) or not to.isprintable() or len(to) > 2_000:
        return "/"
    return to
