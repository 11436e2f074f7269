"""The calls at their paths: whose token it is, how often it may ask, and what is read and answered."""

from __future__ import annotations

import asyncio
import base64
import csv
import functools
import hashlib
import io
import json
import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from typing import Any, Final, TypeVar

from aiohttp import web

from portal.api import accounts, alerts, groups, items, jobs, messages, parties, proefs
from portal.api.calls import BASE, Asked, Call, Rows
from portal.api.description import PATH, description
from portal.api.problems import Problem, cannot, invalid
from portal.api.shapes import as_json
from portal.api.values import read
from portal.shell import Answer, Ports, Shell, Visit, bearer, network_of, open_to_all, page
from routing.people import NotConfirmed, digest_of
from routing.rate import MOST, Rate
from routing.said import Said
from schemas.cells import cell

T = TypeVar("T")

log = logging.getLogger("koppelpunt.portal")

#: All of them, in the order of the description.
CALLS: Final[tuple[Call, ...]] = (
    *(*parties.CALLS, *proefs.CALLS, *items.CALLS, *groups.CALLS, *messages.CALLS, *jobs.CALLS),
    *(*alerts.CALLS, *alerts.WARNING_CALLS, *accounts.CALLS),
)
#: How often a minute one address may come with tokens that do not count.
UNKNOWN_A_MINUTE: Final = 60
#: Requests of one token under way at a time; and threads that ask for all of them together, so that pages always have some left.
EACH_AT_A_TIME, AT_A_TIME = 4, 8
#: Rows of a file that are made at a time.
_AT_A_TIME: Final = 500
_CHALLENGE: Final = {"WWW-Authenticate": 'Bearer realm="koppelpunt"'}


def routes(shell: Shell) -> list[web.RouteDef]:
    """Its paths; none in a process that has nothing to ask."""
    return Api(shell).routes() if shell.ports.desk else []


def served(ports: Ports) -> list[Call]:
    """The calls for which there is something to ask in this process."""
    without = (() if ports.desk and ports.desk.alerts else alerts.CALLS) + (() if ports.warnings else alerts.WARNING_CALLS)
    without += () if ports.desk and ports.desk.proefs else proefs.CALLS
    return [call for call in CALLS if call not in without]


class Api:
    """The API of one portal process."""

    def __init__(self, shell: Shell) -> None:
        self._shell = shell
        self._rate = Rate[bytes](shell.api_calls)
        self._unknown = Rate[str](UNKNOWN_A_MINUTE)
        self._known: dict[bytes, None] = {}  #: digests of tokens that were good when they were last used
        self._busy = Counter[bytes]()
        self._room = asyncio.Semaphore(AT_A_TIME)
        self._calls = served(shell.ports)
        self._document = json.dumps(description(self._calls, url=shell.url), ensure_ascii=False).encode()

    def routes(self) -> list[web.RouteDef]:
        """Their paths, and the description's."""
        made = [web.route(call.method, BASE + call.path, self._handler(call)) for call in self._calls]
        return [*made, web.get(PATH, open_to_all(self._describe))]

    async def _describe(self, request: web.Request) -> Answer:
        return _json(request, self._document)

    def _handler(self, call: Call) -> Callable[[web.Request], Awaitable[Answer]]:
        @page(permission=call.permission)
        async def answer(request: web.Request, visit: Visit) -> Answer:
            return await self._answer(call, request, visit)

        @functools.wraps(answer)  # and with that, what `portal.shell.checked` looks for
        async def guarded(request: web.Request) -> Answer:
            try:
                with self._one_of(await self._admit(request)):
                    return await answer(request)
            except Problem as problem:
                return problem.response()

        return guarded

    @contextmanager
    def _one_of(self, key: bytes) -> Iterator[None]:
        """Raises Problem when as many requests of this token are under way as may be."""
        if self._busy[key] >= EACH_AT_A_TIME:
            raise _too_often(1)
        self._busy[key] += 1
        try:
            yield
        finally:
            self._busy[key] -= 1
            if not self._busy[key]:
                del self._busy[key]

    async def _ask(self, act: Callable[..., T], *given: Any) -> T:
        """As the shell's, on some of its threads."""
        async with self._room:
            return await self._shell.ask(act, *given)

    async def _admit(self, request: web.Request) -> bytes:
        """The digest of the token. Raises Problem unless there is one that counts, and it may ask again."""
        token = bearer(request)
        if token is None:
            raise Problem(401, headers=_CHALLENGE)
        key = digest_of(token)
        address = network_of(self._shell.address_of(request))
        wait_s = self._rate.take(key) if key in self._known else self._unknown.wait(address)
        if wait_s:
            raise _too_often(wait_s)
        try:
            known = await self._shell.visitor(request) is not None
            why = Problem(401, headers=_CHALLENGE)
        except NotConfirmed:
            known, why = False, _not_confirmed(self._shell.token_days)
        if not known:
            self._known.pop(key, None)
            self._unknown.take(address)
            raise why
        if key not in self._known:
            if len(self._known) >= MOST:
                del self._known[next(iter(self._known))]
            self._known[key] = None
        return key

    async def _answer(self, call: Call, request: web.Request, visit: Visit) -> Answer:
        ports = self._shell.ports
        if len(set(request.query)) != len(request.query):
            raise invalid(("query", "een parameter staat er twee keer", "a parameter is there twice"))
        given = read(call.place, request.match_info, in_url=True) | read(call.query, request.query, in_url=True)
        given |= read(call.body, await _body(request)) if call.method == "POST" else {}
        asked = Asked(visit=visit, ports=ports, given=given, query=dict(request.query), now_us=ports.clock.now_us())
        made = await self._ask(_made, call, asked)
        return _json(request, made, call.status) if isinstance(made, bytes) else await self._csv(request, made)

    async def _csv(self, request: web.Request, made: Rows) -> Answer:
        """Sends the rows as they are made. When they cannot go on, the connection is cut: half a file must not look like a whole one."""
        lines = _lines(made)
        chunk = await self._ask(next, lines)  # what is wrong from the beginning is answered as such
        headers = {"Content-Disposition": f'attachment; filename="{made.name}"', "Content-Type": "text/csv; charset=utf-8"}
        response = web.StreamResponse(headers=headers)
        await response.prepare(request)
        try:
            while chunk:
                await response.write(chunk.encode())
                chunk = await self._ask(next, lines, "")
        except (ConnectionError, asyncio.CancelledError):
            raise
        except Exception as error:
            log.error("api_file_cut", extra={"path": request.path, "error": type(error).__name__}, exc_info=error)
            if request.transport is not None:
                request.transport.abort()
        return response


def _made(call: Call, asked: Asked) -> bytes | Rows:
    """The answer, made in a thread. Raises Problem."""
    try:
        said = call.act(asked)
    except Said as error:
        raise cannot(error) from error
    return said if isinstance(said, Rows) else _dumped(said)


def _dumped(said: Any) -> bytes:
    return json.dumps(as_json(said), ensure_ascii=False, separators=(",", ":")).encode()


def _not_confirmed(days: int) -> Problem:
    return Problem(
        401,
        nl=f"De eigenaar van dit token heeft zich {days} dagen niet bij de aanmelddienst aangemeld. Na een aanmelding telt het token weer.",
        en=f"The owner of this token has not signed in at the identity provider for {days} days. After signing in the token counts again.",
        headers=_CHALLENGE,
    )


def _too_often(wait_s: int) -> Problem:
    return Problem(
        429,
        nl=f"Dit token vraagt te vaak; kom over {wait_s} s terug.",
        en=f"This token asks too often; come again in {wait_s} s.",
        headers={"Retry-After": str(wait_s)},
    )


async def _body(request: web.Request) -> dict[str, Any]:
    """The JSON object that was sent; an empty one where nothing was. Raises Problem."""
    raw = await request.read()
    if not raw:
        return {}
    if request.content_type != "application/json":
        raise Problem(415)
    try:
        said = json.loads(raw.decode("utf-8"), object_pairs_hook=_once, parse_constant=_no_number)
    except (ValueError, RecursionError):
        raise invalid(("body", "dit is geen geldige JSON", "this is no valid JSON")) from None
    if not isinstance(said, dict):
        raise invalid(("body", "dit is geen JSON-object", "this is no JSON object"))
    return said


def _once(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    said = dict(pairs)
    if len(said) != len(pairs):
        raise ValueError("a name is there twice")
    return said


def _no_number(text: str) -> Any:
    raise ValueError(text)


def _json(request: web.Request, body: bytes, status: int = 200) -> web.Response:
    """The answer; to who has it already, that it is the same."""
    headers = {"Cache-Control": "private, no-cache"}
    if request.method in ("GET", "HEAD"):
        tag = base64.urlsafe_b64encode(hashlib.sha256(body).digest()[:15]).decode()
        headers["ETag"] = f'"{tag}"'
        if any(one.value in (tag, "*") for one in request.if_none_match or ()):
            return web.Response(status=304, headers=headers)
    return web.Response(status=status, body=body, content_type="application/json", headers=headers)


def _lines(made: Rows) -> Iterator[str]:
    """Some hundreds of lines at a time."""
    rows = iter(made.rows)
    header: list[Sequence[object]] = [made.header]
    while batch := [*header, *islice(rows, _AT_A_TIME)]:
        out = io.StringIO()
        csv.writer(out).writerows([cell(value) for value in row] for row in batch)
        yield out.getvalue()
        header = []
