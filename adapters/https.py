"""The gateway's HTTPS side: mutual TLS, who may enter, limits, and one line in the access log for each request. Facts 4.1 and 5.4.

TLS -> certificate and its OIN -> how much at a time -> size, time -> pages: what is at each path (adapters.wus)
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import socket
import ssl
import time
import zlib
from collections import Counter as Tally
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final, Protocol

from aiohttp import http_exceptions, web

from adapters import problem, soap
from adapters.connections import GOODBYE_S, HANDSHAKE_S, Connections
from adapters.trust import TrustedCertificate
from broker_config.settings import Settings
from routing.ports import Counter
from schemas.faults import Fault, NotAllowed, OurFailure, Owner, Refused
from schemas.oin import Oin

log = logging.getLogger("koppelpunt.access")
#: It writes a traceback, with what the client sent, for each request that is not HTTP.
logging.getLogger("aiohttp.server").setLevel(logging.CRITICAL)

#: Bytes of one message. More does not fit through the broker into a mailbox.
LARGEST: Final = 3 << 20
LIMITS: Final = soap.Limits(size=LARGEST)
#: A request's headers, each line of them, in bytes.
LARGEST_HEADER: Final = 8_190
#: Seconds for the whole of a request to come in. 3 MiB take 12 at 2 Mbit/s.
READ_S: Final = 20.0
#: The least part of that which a request gets: they differ, so that many slow ones do not all come back, with new handshakes, at once.
LEAST: Final = 0.75
#: Seconds without a request, after which an idle connection is closed.
KEEP_ALIVE_S: Final = 75.0
#: Seconds that requests under way get when the worker stops, and then their connections.
FINISH_S, SHUTDOWN_S = 10.0, 3.0
#: Requests of one certificate at a time: so many, and one more for so many schools for which it may act, up to the last number.
AT_A_TIME, SCHOOLS_FOR_ONE_MORE, MOST_AT_A_TIME = 16, 10, 100
#: Seconds for which that answer is held back.
HOLD_BACK_S: Final = 1.0

#: TLS 1.2 with forward secrecy and authenticated encryption only (facts 4.1); TLS 1.3 has nothing else.
CIPHERS: Final = ":".join(
    f"ECDHE-{kind}-{cipher}" for cipher in ("AES256-GCM-SHA384", "CHACHA20-POLY1305", "AES128-GCM-SHA256") for kind in ("ECDSA", "RSA")
)
#: OpenSSL's X509_V_FLAG_NO_CHECK_TIME (openssl/x509_vfy.h), for which the ssl module has no name.
_LEAVE_DATES: Final = ssl.VerifyFlags(0x200000)
#: What to do about who connects, in Dutch and English.
_SHOW_ONE: Final = ("Stel het clientcertificaat van het systeem in.", "Set your system's client certificate.")
_SHOW_A_GOOD_ONE: Final = (
    "Gebruik een clientcertificaat dat nu geldig is, van een CA die wij vertrouwen.",
    "Use a client certificate that is valid now, of a CA that we trust.",
)
_REGISTER: Final = (
    "Laat de beheerder dit systeem met het kanaal https in het serviceregister zetten.",
    "Have the operator put this system in the service register, with the channel https.",
)
#: What aiohttp and the socket raise for a body that does not come as announced.
CUT_OFF: Final = (http_exceptions.HttpProcessingError, web.RequestPayloadError, ConnectionError)


#: System (None: no certificate), HTTP status, code (None: accepted), seconds.
Observe = Callable[[str | None, int, str | None, float], None]


class Certificates(Protocol):
    """Who may connect at all."""

    def certificate(self, der: bytes, *, at: datetime) -> TrustedCertificate:
        """The certificate. Raises NotAllowed or OurFailure."""


@dataclass(slots=True)
class Outcome:
    """What became of a request, for the access log."""

    system: Oin | None = None
    reference: str | None = None
    code: str | None = None


#: Of the request that this task handles.
OUTCOME: Final[ContextVar[Outcome]] = ContextVar("outcome")


class Pages(Protocol):
    """What answers at some paths."""

    def routes(self) -> Iterable[web.RouteDef]:
        """The paths and their handlers. A handler answers whatever happens; what it raises becomes a bare HTTP 500."""


def context_of(settings: Settings) -> ssl.SSLContext:
    """TLS as facts 4.1 have it. A certificate that no CA of ours signed ends the handshake. Everything else about it is for `who` to
    judge, its dates and those of the CAs above it among them: then the client is told. Raises OSError or ssl.SSLError when a file cannot
    be used."""
    if settings.key is None or settings.cert is None or settings.trust is None:
        raise OSError("the gateway needs KOPPELPUNT_KEY, KOPPELPUNT_CERT and KOPPELPUNT_TRUST")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(CIPHERS)
    context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION | ssl.OP_CIPHER_SERVER_PREFERENCE
    context.load_cert_chain(settings.cert, settings.key)
    context.load_verify_locations(settings.trust)
    context.verify_mode = ssl.CERT_OPTIONAL
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN  # each configured CA is trusted, as for signatures
    context.verify_flags |= _LEAVE_DATES
    context.sslobject_class = _Handshake
    return context


class _Handshake(ssl.SSLObject):
    """One side of a connection. Why a client's certificate ends it is told to nobody else: the client only sees it close."""

    def do_handshake(self) -> None:
        """As `ssl.SSLObject.do_handshake`."""
        try:
            super().do_handshake()
        except ssl.SSLCertVerificationError as error:
            log.warning("tls_refused", extra={"reason": error.verify_message})
            raise


def who(request: web.Request, certificate: Callable[[bytes], TrustedCertificate]) -> Oin:
    """The OIN in the client's certificate, which `certificate` judges, dates and all: TLS left them. Raises NotAllowed (EK0030), and
    OurFailure when a CRL of ours has expired."""
    transport = request.transport
    peer = transport.get_extra_info("ssl_object") if transport else None
    der = peer.getpeercert(binary_form=True) if peer else None
    if not der:
        raise NotAllowed("Client.EK0030", "the connection has no client certificate", where="TLS", remedy=_SHOW_ONE)
    try:
        return certificate(der).oin
    except NotAllowed as refused:
        reason, remedy = refused.reason.replace("signing certificate", "client certificate"), _SHOW_A_GOOD_ONE
        raise NotAllowed("Client.EK0030", reason, where="TLS", remedy=None if refused.code == "Client.EK0030" else remedy) from None


class Door:
    """Who may enter, and how many requests of each at a time."""

    def __init__(self, counter: Counter, certificates: Certificates) -> None:
        self._counter, self._certificates = counter, certificates
        self._busy: Tally[Oin] = Tally()

    @contextlib.contextmanager
    def admitted(self, request: web.Request, *, anyone: bool = False) -> Iterator[Oin]:
        """Whose system it is, while its request is under way. `anyone`: it need not be in the register. Raises NotAllowed or OurFailure."""
        system = OUTCOME.get().system = who(request, lambda der: self._certificates.certificate(der, at=datetime.now(UTC)))
        self._enter(system, anyone)
        try:
            yield system
        finally:
            self._busy[system] -= 1
            if not self._busy[system]:
                del self._busy[system]

    def _enter(self, system: Oin, anyone: bool) -> None:
        """Raises NotAllowed (DK0002) for a system that the register does not have, and OurFailure when it has too much under way."""
        if not anyone and not self._counter.may_connect(system):
            raise NotAllowed(
                "Client.DK0002",
                f"system {system} is not in the service register today with the channel https",
                where="TLS",
                owner=Owner.SUPPLIER,
                remedy=_REGISTER,
            )
        most = min(MOST_AT_A_TIME, AT_A_TIME + self._counter.schools_of(system) // SCHOOLS_FOR_ONE_MORE)
        if self._busy[system] >= most:
            raise OurFailure(f"system {system} has {most} requests under way already", where="TLS")
        self._busy[system] += 1


class GatewayServer:
    """Listens, and has each request answered by the page at its path."""

    def __init__(
        self,
        pages: Sequence[Pages],
        *,
        context: ssl.SSLContext,
        connections: Connections | None = None,
        observe: Observe | None = None,
    ) -> None:
        """`observe`: told of each answer, for metrics."""
        self._pages, self._context, self._observe = pages, context, observe
        self._connections = connections or Connections()
        self._runner: web.AppRunner | None = None
        self._servers: list[asyncio.Server] = []
        self._watch: asyncio.Task[None] | None = None
        self._in_hand = 0
        self._stopping = False
        self.port = 0

    async def start(self, host: str, port: int) -> None:
        """Listens from now on; several processes may do so on one port. Raises OSError when the port cannot be had."""
        app = web.Application(client_max_size=LARGEST, middlewares=[self._logged])
        for pages in self._pages:
            app.router.add_routes(pages.routes())
        self._runner = web.AppRunner(
            app,
            access_log=None,
            auto_decompress=False,
            keepalive_timeout=KEEP_ALIVE_S,
            max_line_size=LARGEST_HEADER,
            max_field_size=LARGEST_HEADER,
            shutdown_timeout=SHUTDOWN_S,
        )
        await self._runner.setup()
        try:
            for listener in self._connections.listeners(host, port):
                self._servers.append(await self._listen(listener))
        except OSError:
            self._close()
            await self._runner.cleanup()
            raise
        self._watch = asyncio.create_task(self._hang_up_on_the_silent())
        self.port = self._servers[0].sockets[0].getsockname()[1]

    async def _listen(self, listener: socket.socket) -> asyncio.Server:
        assert self._runner is not None and self._runner.server is not None
        return await asyncio.get_running_loop().create_server(
            self._runner.server,
            sock=listener,
            ssl=self._context,
            backlog=512,
            ssl_handshake_timeout=HANDSHAKE_S,
            ssl_shutdown_timeout=GOODBYE_S,
        )

    def _close(self) -> None:
        while self._servers:
            self._servers.pop().close()

    async def stop(self) -> None:
        """Takes no more connections, and lets those that wait for an answer have it."""
        self._stopping = True
        self._close()
        until = time.monotonic() + FINISH_S  # aiohttp's own way to stop reads no more of what is still coming in
        while self._in_hand and time.monotonic() < until:
            await asyncio.sleep(0.02)
        if self._watch is not None:
            self._watch.cancel()
        if self._runner is not None:
            await self._runner.cleanup()

    async def _hang_up_on_the_silent(self) -> None:
        while True:
            await asyncio.sleep(READ_S / 20)
            self._connections.hang_up_on_the_silent(READ_S, LEAST)

    # -- one request ---------------------------------------------------------------------------------------------------------------------

    @web.middleware
    async def _logged(self, request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]) -> web.StreamResponse:
        """One line for each request, whatever became of it; and no traceback to whoever sent it."""
        started, outcome = time.perf_counter(), Outcome()
        OUTCOME.set(outcome)
        self._in_hand += 1
        response: web.StreamResponse = web.Response(status=500, text="Something went wrong here. Try again later.\n")
        stays = True
        try:
            with self._connections.busy(request) as stays:
                response = await handler(request)
                await self._hold_back(response)
        except web.HTTPException as told:  # no such path, or another method
            response = _elsewhere(request, told)
        except Exception as error:
            log.error("request_failed", extra={"system": outcome.system, "error": type(error).__name__}, exc_info=error)
        finally:
            self._in_hand -= 1
            seconds = time.perf_counter() - started
            if self._observe is not None:
                self._observe(outcome.system, response.status, outcome.code, seconds)
            log.info(
                "request",
                extra={
                    "method": request.method,
                    "path": _shown(request),
                    "status": response.status,
                    "system": outcome.system,
                    "reference": outcome.reference,
                    "code": outcome.code,
                    "ms": round(seconds * 1e3, 1),
                },
            )
        if self._stopping or not stays or outcome.system is None:  # who shows no certificate gets one answer a connection
            response.force_close()
        return response

    async def _hold_back(self, response: web.StreamResponse) -> None:
        """Who is asked to come again hears so a moment later: it might come again at once, a thousand times a second."""
        until = time.monotonic() + HOLD_BACK_S * random.uniform(0.5, 1.5)  # noqa: S311 - so that they do not come again all at once
        while "Retry-After" in response.headers and not self._stopping and time.monotonic() < until:
            await asyncio.sleep(0.1)


def _shown(request: web.Request) -> str:
    """The path as it may stand in a log: a token in it (of a mandate, or of an endpoint) is its system's."""
    resource = request.match_info.route.resource
    return resource.canonical if resource is not None and "{token" in resource.canonical else request.path[:200]


def _elsewhere(request: web.Request, told: web.HTTPException) -> web.Response:
    """Where no page is, or not for this method: in the form of what answers beside it."""
    allowed = told.headers.get("Allow")
    if request.path == "/rest" or request.path.startswith("/rest/"):
        why = f"only {allowed} is taken here" if allowed else "nothing is at this path"
        response = problem.response(Refused("REQUEST_INVALID", why, where="method" if allowed else "path"), status=told.status)
    else:
        response = web.Response(status=told.status, text=f"{told.reason}\n")
    if allowed:
        response.headers["Allow"] = allowed
    return response


def fault_in(error: Exception) -> Fault:
    """What went wrong with a request, as a fault that its sender may be told. What nobody expected is logged."""
    if isinstance(error, Fault):
        return error
    if isinstance(error, CUT_OFF):
        return Refused("Client.NOT_XML", "the request's body is cut off, or not what its headers say", where="HTTP body")
    # whatever it is: the sender may come again, and somebody must look at it here
    log.error("request_failed", extra={"system": OUTCOME.get().system, "error": type(error).__name__}, exc_info=error)
    return OurFailure("the request could not be handled")


async def read_body(request: web.Request, *, most: int = LARGEST) -> bytes:
    """The request's body, unpacked. Raises Refused when it is larger than `most` bytes, packed or not, or packed in a way we do not know;
    OurFailure when it takes too long to come."""
    packing = request.headers.get("Content-Encoding", "identity").strip().lower()
    if packing not in ("identity", "gzip"):
        raise Refused("Client.DK0009", "only gzip is taken as Content-Encoding", where="Content-Encoding")
    unpacker = zlib.decompressobj(wbits=31) if packing == "gzip" else None
    parts: list[bytes] = []
    packed = size = 0
    try:
        async with asyncio.timeout(READ_S * random.uniform(LEAST, 1.0)):  # noqa: S311
            async for part in request.content.iter_any():
                packed += len(part)
                if unpacker is not None and packed <= most:
                    if unpacker.eof:
                        raise zlib.error
                    part = unpacker.decompress(part, most + 1 - size)
                size += len(part)
                parts.append(part)
                if packed > most or size > most or (unpacker is not None and unpacker.unconsumed_tail):
                    raise Refused("Client.TOO_LARGE", f"more than {most:,} bytes; at most that many are taken here")
                if unpacker is not None and unpacker.unused_data:  # another member, or anything: it would be kept, and never be looked at
                    raise zlib.error
    except TimeoutError:
        raise OurFailure(f"the request did not come in within {READ_S * LEAST:g} s") from None
    except zlib.error:
        raise Refused("Client.NOT_XML", "the body is not what its Content-Encoding says: not gzip", where="Content-Encoding") from None
    if unpacker is not None and not unpacker.eof:
        raise Refused("Client.NOT_XML", "the gzip body is cut off", where="Content-Encoding")
    return b"".join(parts)
