"""Register snapshots over HTTPS: a page of the gateway that hands out ours, and a client that fetches another register's."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable, Collection, Iterable
from typing import Final, Protocol

import aiohttp
from aiohttp import web

from adapters import problem
from adapters.rest_party import Visits
from adapters.snapshot import LARGEST_PACKED
from routing.following import Made
from schemas.faults import NotAllowed, OurFailure, Owner, Refused
from schemas.oin import Oin

PATH: Final = "/osr/api/v2/snapshot"
MEDIA_TYPE: Final = "application/vnd.koppelpunt.register-snapshot"
#: Seconds to get a connection, and for the whole of a snapshot: ten megabytes take eighty at 1 Mbit/s.
CONNECT_S: Final = 10.0
FETCH_S: Final = 120.0
#: Bytes that are given to the connection at a time.
PIECE: Final = 64 << 10


class Shelf(Protocol):
    """Where our newest snapshot is. Both raise StoreUnavailable."""

    def made(self) -> Made | None: ...

    def raw(self, made: Made) -> bytes | None: ...


class SnapshotPages:
    """`GET /osr/api/v2/snapshot`, for systems of the register that may connect. Ours: the sources have no such call."""

    def __init__(self, shelf: Shelf, visits: Visits, followers: Collection[str]) -> None:
        """`followers`: the systems that may have all of the register; nobody else may."""
        self._shelf, self._visits, self._followers = shelf, visits, frozenset(followers)
        self._sending: set[Oin] = set()
        self._kept: tuple[str, bytes] | None = None  # ten megabytes, asked for by every follower every half minute

    def routes(self) -> Iterable[web.RouteDef]:
        """See `https.Pages`."""
        return (web.get(PATH, self._show, allow_head=False),)

    async def _show(self, request: web.Request) -> web.StreamResponse:
        async def act(system: Oin) -> web.StreamResponse:
            if system not in self._followers:
                raise NotAllowed("Client.DK0002", f"system {system} may not follow this register", where="TLS", owner=Owner.SUPPLIER)
            known = request.headers.get("If-None-Match")
            found = await self._visits.aside(lambda: self._newest(known))
            if found is None:
                none = Refused("REQUEST_INVALID", "no snapshots of the register are made here", where="path")
                return problem.response(none, status=404)
            mark, raw = found
            if raw is None:
                return web.Response(status=304, headers={"ETag": mark})
            return await self._send(request, system, mark, raw)

        return await self._visits.answer(request, act)

    async def _send(self, request: web.Request, system: Oin, mark: str, raw: bytes) -> web.StreamResponse:
        """Piece by piece, to each one at a time: what nobody reads would stand in memory once more."""
        if system in self._sending:
            raise OurFailure(f"system {system} is being sent the snapshot already")
        self._sending.add(system)
        try:
            response = web.StreamResponse(headers={"ETag": mark, "Cache-Control": "no-cache", "Content-Type": MEDIA_TYPE})
            response.content_length = len(raw)
            async with asyncio.timeout(FETCH_S):
                await response.prepare(request)
                for start in range(0, len(raw), PIECE):
                    await response.write(raw[start : start + PIECE])
                await response.write_eof()
            return response
        except (TimeoutError, ConnectionError):  # a part of it was sent: no other answer can follow on this connection
            if request.transport is not None:
                request.transport.abort()
            return response
        finally:
            self._sending.discard(system)

    def _newest(self, known: str | None) -> tuple[str, bytes | None] | None:
        """Its mark; and its bytes, unless whoever asks has them. None when no snapshots are made here."""
        made = self._shelf.made()
        while made is not None:
            if made.mark == known:
                return made.mark, None
            if self._kept is not None and self._kept[0] == made.mark:
                return self._kept
            raw = self._shelf.raw(made)
            if raw is not None:
                self._kept = (made.mark, raw)
                return self._kept
            made = self._shelf.made()  # another one took its place in between
        return None


class SnapshotSource:
    """Another register's snapshots, over mutual TLS."""

    def __init__(self, url: str, context: Callable[[], ssl.SSLContext]) -> None:
        """`context`: TLS with our certificate, made anew for each fetch, because that may have been replaced; raises OSError."""
        self._url, self._context = url, context

    async def fetch(self, known: str | None) -> tuple[bytes, str] | None:
        """A snapshot that is another one than `known`, with its mark; None when there is none. Raises OSError with a sentence."""
        try:
            return await self._fetch(known)
        except (aiohttp.ClientError, TimeoutError) as error:
            raise OSError(f"the other register does not answer: {type(error).__name__}: {error}"[:300]) from None

    async def _fetch(self, known: str | None) -> tuple[bytes, str] | None:
        connector = aiohttp.TCPConnector(ssl=self._context(), limit=1)
        timeout = aiohttp.ClientTimeout(total=FETCH_S, connect=CONNECT_S)
        headers = {"If-None-Match": known} if known else {}
        async with (
            aiohttp.ClientSession(connector=connector, timeout=timeout, auto_decompress=False) as session,
            session.get(self._url, headers=headers, allow_redirects=False) as answer,
        ):
            if answer.status == 304 and known:
                return None
            if answer.status != 200:
                raise OSError(f"the other register answers with HTTP status {answer.status}")
            parts, size = [], 0
            async for part in answer.content.iter_any():
                parts.append(part)
                if (size := size + len(part)) > LARGEST_PACKED:
                    raise OSError(f"the other register's snapshot is larger than {LARGEST_PACKED:,} bytes")
            return b"".join(parts), answer.headers.get("ETag", "")[:100]
