"""The gateway's HTTPS side: mutual TLS, limits, and the path to a `Counter` (routing.ports). Facts 1.4, 4.1 and 5.4.

    TLS -> certificate and its OIN -> how much at a time -> content type, size, time -> the message itself (desk) -> signed answer

A message that is refused is answered with a SOAP fault and HTTP 500, as SOAP 1.1 has it, whatever was wrong with it.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
import resource
import ssl
import time
import zlib
from collections import Counter as Tally
from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, Protocol

from aiohttp import http_exceptions, web

from adapters import soap, wsdl
from adapters.answers import Answers, Request, fault_of
from adapters.trust import TrustedCertificate
from broker_config.settings import Settings
from routing.ports import Counter
from routing.work import NewRefusal
from schemas.contract import Contract
from schemas.contracts import Contracts
from schemas.envelope import Envelope
from schemas.faults import Fault, NotAllowed, OurFailure, Refused
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
#: Seconds without a request, after which an idle connection is closed.
KEEP_ALIVE_S: Final = 75.0
#: Seconds that requests under way get when the worker stops, and then their connections.
FINISH_S, SHUTDOWN_S = 10.0, 3.0
#: Requests of one certificate at a time: so many, and one more for so many schools for which it may act, up to the last number.
AT_A_TIME, SCHOOLS_FOR_ONE_MORE, MOST_AT_A_TIME = 16, 10, 100
#: Seconds after which a sender that came too often, or at a bad moment, is asked to come again.
COME_AGAIN_S: Final = 2

#: TLS 1.2 with forward secrecy and authenticated encryption only (facts 4.1); TLS 1.3 has nothing else.
CIPHERS: Final = ":".join(
    f"ECDHE-{kind}-{cipher}" for cipher in ("AES256-GCM-SHA384", "CHACHA20-POLY1305", "AES128-GCM-SHA256") for kind in ("ECDSA", "RSA")
)
#: What aiohttp and the socket raise for a body that does not come as announced.
_CUT_OFF: Final = (http_exceptions.HttpProcessingError, web.RequestPayloadError, ConnectionError)
_TYPE = re.compile(r"\s*([^;\s]+)\s*((?:;[^;]*)*)\Z")
_CHARSET = re.compile(r""";\s*charset\s*=\s*"?([^";\s]+)"?""", re.IGNORECASE)


class Certificates(Protocol):
    """Who may connect at all."""

    def certificate(self, der: bytes, *, at: datetime) -> TrustedCertificate:
        """The certificate. Raises NotAllowed or OurFailure."""


@dataclass(slots=True)
class _Outcome:
    """What became of a request, for the access log."""

    system: str | None = None
    reference: str | None = None
    code: str | None = None


#: Of the request that this task handles.
_OUTCOME: Final[ContextVar[_Outcome]] = ContextVar("outcome")


def context_of(settings: Settings) -> ssl.SSLContext:
    """TLS as facts 4.1 have it. A certificate that no CA of ours signed, or that has expired, ends the handshake; one without an OIN, a
    revoked one, and none at all are told so in a fault. Raises OSError or ssl.SSLError when a file cannot be used."""
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
    return context


class GatewayServer:
    """Listens, and answers each hand-in after its commit."""

    def __init__(
        self, counter: Counter, certificates: Certificates, contracts: Contracts, answers: Answers, *, context: ssl.SSLContext, url: str
    ) -> None:
        """`url`: our address as senders know it, without a path; it stands in the WSDLs."""
        self._counter, self._certificates, self._contracts, self._answers = counter, certificates, contracts, answers
        self._context, self._url = context, url
        self._busy: Tally[Oin] = Tally()
        self._runner: web.AppRunner | None = None
        self._site: web.TCPSite | None = None
        self._watch: asyncio.Task[None] | None = None
        self._in_hand = 0
        self._stopping = False
        self._silent: dict[Any, float] = {}  #: connections that brought no request yet, and since when
        self._spoke: set[Any] = set()
        self.port = 0

    async def start(self, host: str, port: int) -> None:
        """Listens from now on; several processes may do so on one port. Raises OSError when the port cannot be had."""
        app = web.Application(client_max_size=LARGEST, middlewares=[self._logged])
        app.router.add_post("/wus/{dienst}/{versie}", self._wus)
        app.router.add_get("/wus/{dienst}/{versie}", self._description)
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
        _allow_many_files()
        self._site = site = web.TCPSite(self._runner, host, port, ssl_context=self._context, reuse_port=True, backlog=512)
        try:
            await site.start()
        except OSError:
            await self._runner.cleanup()
            raise
        self._watch = asyncio.create_task(self._hang_up_on_the_silent())
        assert site._server is not None
        self.port = site._server.sockets[0].getsockname()[1]  # type: ignore[attr-defined]

    async def stop(self) -> None:
        """Takes no more connections, and lets those that wait for an answer have it."""
        self._stopping = True
        if self._site is not None:
            await self._site.stop()
        until = time.monotonic() + FINISH_S  # aiohttp's own way to stop reads no more of what is still coming in
        while self._in_hand and time.monotonic() < until:
            await asyncio.sleep(0.02)
        if self._watch is not None:
            self._watch.cancel()
        if self._runner is not None:
            await self._runner.cleanup()

    async def _hang_up_on_the_silent(self) -> None:
        """Closes connections whose first request's headers do not come: aiohttp waits for those as long as it takes."""
        while True:
            await asyncio.sleep(READ_S / 4)
            assert self._runner is not None and self._runner.server is not None
            now, connections = time.monotonic(), set(self._runner.server.connections)
            self._spoke &= connections
            self._silent = {one: self._silent.get(one, now) for one in connections - self._spoke}
            for connection, since in self._silent.items():
                if now - since > READ_S:
                    connection.force_close()

    # -- one request ---------------------------------------------------------------------------------------------------------------------

    @web.middleware
    async def _logged(self, request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]) -> web.StreamResponse:
        """One line for each request, whatever became of it; and no traceback to whoever sent it."""
        started, outcome = time.perf_counter(), _Outcome()
        _OUTCOME.set(outcome)
        self._spoke.add(request.protocol)
        self._in_hand += 1
        response: web.StreamResponse = web.Response(status=500, text="Something went wrong here. Try again later.\n")
        try:
            response = await handler(request)
        except web.HTTPException as told:  # no such path, or another method
            allowed = {name: value for name, value in told.headers.items() if name == "Allow"}
            response = web.Response(status=told.status, text=f"{told.reason}\n", headers=allowed)
        except Exception as error:
            log.error("request_failed", extra={"system": outcome.system, "error": type(error).__name__}, exc_info=error)
        finally:
            self._in_hand -= 1
            log.info(
                "request",
                extra={
                    "method": request.method,
                    "path": request.path[:200],
                    "status": response.status,
                    "system": outcome.system,
                    "reference": outcome.reference,
                    "code": outcome.code,
                    "ms": round((time.perf_counter() - started) * 1e3, 1),
                },
            )
        if self._stopping or outcome.system is None:  # who shows no certificate gets one answer a connection
            response.force_close()
        return response

    async def _wus(self, request: web.Request) -> web.Response:
        """`POST /wus/{dienst}/{versie}`: one signed message in, a signed receipt or fault out."""
        outcome = _OUTCOME.get()
        system: Oin | None = None
        try:
            system = self._who(request)
            outcome.system = system
            self._enter(system)
            try:
                return await self._hand_in(request, system, outcome)
            finally:
                self._busy[system] -= 1
        except Exception as error:
            if isinstance(error, Fault):
                fault: Fault = error
            elif isinstance(error, _CUT_OFF):
                fault = Refused("Client.NOT_XML", "the request's body is cut off, or not what its headers say", where="HTTP body")
            else:  # whatever it is: the sender may come again, and somebody must look at it here
                log.error("request_failed", extra={"system": outcome.system, "error": type(error).__name__}, exc_info=error)
                fault = OurFailure("the request could not be handled")
            # its From was not read: the answer is for whoever is connected
            return self._refused(Request(sender=system, unread=True), fault, outcome, close=not request.content.is_eof())

    def _who(self, request: web.Request) -> Oin:
        """The OIN in the client's certificate. Raises NotAllowed (EK0030) or OurFailure (a CRL of ours has expired)."""
        transport = request.transport
        peer = transport.get_extra_info("ssl_object") if transport else None
        der = peer.getpeercert(binary_form=True) if peer else None
        if not der:
            raise NotAllowed("Client.EK0030", "the connection has no client certificate", where="TLS")
        try:
            return self._certificates.certificate(der, at=datetime.now(UTC)).oin
        except NotAllowed as refused:
            raise NotAllowed("Client.EK0030", refused.reason, where="TLS") from None

    def _enter(self, system: Oin) -> None:
        """Raises NotAllowed (DK0002) for a system that the register does not have, and OurFailure when it has too much under way."""
        if not self._counter.may_connect(system):
            raise NotAllowed("Client.DK0002", f"system {system} is not in the service register today with the channel https", where="TLS")
        most = min(MOST_AT_A_TIME, AT_A_TIME + self._counter.schools_of(system) // SCHOOLS_FOR_ONE_MORE)
        if self._busy[system] >= most:
            raise OurFailure(f"system {system} has {most} requests under way already", where="TLS")
        self._busy[system] += 1

    async def _hand_in(self, request: web.Request, system: Oin, outcome: _Outcome) -> web.Response:
        contract = self._contracts.find(request.match_info["dienst"], request.match_info["versie"])
        action = _soap_action(request)
        fault = _wrong_properties(request)
        if contract is None:
            fault = Refused("UNKNOWN_DIENST", "there is no such dienst and version", where="path")
        raw = await _body(request)
        verified: list[Envelope] = []
        glanced: list[Request] = []

        def question(envelope: Envelope) -> None:
            verified.append(envelope)
            if action is None or action not in ("", envelope.action):
                what = "is missing" if action is None else "is not equal to wsa:Action"
                raise Refused("Client.DK0003", f"the HTTP header SOAPAction {what}", where="SOAPAction")
            if contract is not None and envelope.action not in contract.kinds:
                raise Refused("UNKNOWN_DIENST", f"{contract.dienst} {contract.versie} has no message with this Action", where="wsa:Action")

        def asked() -> Request:
            if verified:
                return Request.of(verified[0])
            if not glanced:
                glanced.append(Request.glance(raw, LIMITS))
            return glanced[0]

        try:
            item, result = await self._counter.hand_in(
                raw, system=system, via="https", message_id=lambda: asked().message_id, fault=fault, question=question
            )
        except OurFailure as failure:
            return self._refused(asked(), failure, outcome)
        outcome.reference, outcome.code = result.reference, result.code
        if result.accepted:
            received_at = datetime.fromtimestamp(result.received_us / 1e6, UTC)
            return _xml(200, self._answers.receipt(asked(), reference=result.reference, received_at=received_at, warnings=result.warnings))
        details = item.details if isinstance(item, NewRefusal) else ()
        return self._refused(asked(), fault_of(result.code or "", result.reason or "", details), outcome, reference=result.reference)

    def _refused(
        self, asked: Request, fault: Fault, outcome: _Outcome, *, reference: str | None = None, close: bool = False
    ) -> web.Response:
        outcome.code = fault.code
        response = _xml(500, self._answers.fault(asked, fault, reference=reference))
        if fault.kind.retry:
            response.headers["Retry-After"] = str(COME_AGAIN_S)
        if close:  # what is still to come of the request is not waited for
            response.force_close()
        return response

    async def _description(self, request: web.Request) -> web.Response:
        """`GET …?wsdl`, and the XSDs it names. No certificate is needed: it says nothing that the documentation does not."""
        contract = self._contracts.find(request.match_info["dienst"], request.match_info["versie"])
        if contract is None:
            return web.Response(status=404, text="There is no such dienst and version.\n")
        asked = {name.lower(): value for name, value in request.query.items()}
        if "wsdl" in asked:
            return _xml(200, wsdl.description(contract, url=self._place(contract)))
        document = wsdl.documents(contract).get(asked.get("xsd", ""))
        if document is None:
            return web.Response(status=404, text="Ask for ?wsdl, or hand in a message with POST.\n")
        return _xml(200, document)

    def _place(self, contract: Contract) -> str:
        return f"{self._url}/wus/{contract.dienst}/{contract.versie}"


def _allow_many_files() -> None:
    """As many connections as the system lets this process have; the usual 1,024 are soon taken by idle ones."""
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def _xml(status: int, body: bytes) -> web.Response:
    return web.Response(status=status, body=body, headers={"Content-Type": "text/xml; charset=utf-8"})


def _soap_action(request: web.Request) -> str | None:
    """The header's value without its quotes; None when it is not there exactly once."""
    values = request.headers.getall("SOAPAction", [])
    return values[0].strip().strip('"') if len(values) == 1 else None


def _wrong_properties(request: web.Request) -> Fault | None:
    """What is wrong with the content type (facts 1.4; SOAP 1.1, 6)."""
    given = _TYPE.match(request.headers.get("Content-Type", ""))
    kind, parameters = (given.group(1).lower(), given.group(2)) if given else ("", "")
    if kind == "application/soap+xml":
        return Refused("VersionMismatch.DK0001", "the content type is that of SOAP 1.2; only SOAP 1.1 is taken", where="Content-Type")
    if kind != "text/xml":
        return Refused("Client.DK0009", "the content type must be text/xml; charset=utf-8", where="Content-Type")
    charset = _CHARSET.search(parameters)
    if charset and charset.group(1).lower() not in ("utf-8", "utf8"):
        return Refused("Client.DK0009", "the content type names another charset; only UTF-8 is taken", where="Content-Type")
    return None


async def _body(request: web.Request) -> bytes:
    """The request's body, unpacked. Raises Refused when it is larger than we take, packed or not, or packed in a way we do not know;
    OurFailure when it takes too long to come."""
    packing = request.headers.get("Content-Encoding", "identity").strip().lower()
    if packing not in ("identity", "gzip"):
        raise Refused("Client.DK0009", "only gzip is taken as Content-Encoding", where="Content-Encoding")
    unpacker = zlib.decompressobj(wbits=31) if packing == "gzip" else None
    parts: list[bytes] = []
    packed = size = 0
    try:
        async with asyncio.timeout(READ_S):
            async for part in request.content.iter_any():
                packed += len(part)
                if unpacker is not None and packed <= LARGEST:
                    if unpacker.eof:
                        raise zlib.error
                    part = unpacker.decompress(part, LARGEST + 1 - size)
                size += len(part)
                parts.append(part)
                if packed > LARGEST or size > LARGEST or (unpacker is not None and unpacker.unconsumed_tail):
                    raise Refused("Client.TOO_LARGE", f"more than {LARGEST:,} bytes; at most that many are taken here")
                if unpacker is not None and unpacker.unused_data:  # another member, or anything: it would be kept, and never be looked at
                    raise zlib.error
    except TimeoutError:
        raise OurFailure(f"the request did not come in within {READ_S:g} s") from None
    except zlib.error:
        raise Refused("Client.NOT_XML", "the body is not what its Content-Encoding says: not gzip", where="Content-Encoding") from None
    if unpacker is not None and not unpacker.eof:
        raise Refused("Client.NOT_XML", "the gzip body is cut off", where="Content-Encoding")
    return b"".join(parts)
