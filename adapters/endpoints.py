"""Receivers' endpoints: one call each, over mutual TLS. What was heard becomes a `Heard`; what that means is for routing.outcome.

The address comes from the service register, the answer from somebody else's server: neither leads us anywhere else. Redirects are not
followed, names that lead to private addresses are refused unless the operator allows them, certificates are always verified.
"""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import socket
import ssl
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import partial
from types import SimpleNamespace
from typing import Any, Final

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.connector import Connection
from yarl import URL

from adapters import soap
from adapters.addressing import glance
from adapters.credentials import Credentials, FollowingContext
from adapters.crls import FollowingVerifier
from adapters.https import CIPHERS
from adapters.reloading import Following
from adapters.reply import LARGEST, LIMITS, Judge, read
from adapters.store.registry import Registry
from broker_config.settings import Settings
from routing.addresses import is_odd_number, public
from routing.outcome import Asked, Heard, Wire
from schemas.faults import Fault
from schemas.oin import Oin

log = logging.getLogger("koppelpunt.push")

Network = ipaddress.IPv4Network | ipaddress.IPv6Network

#: What we send may be as large as what we take in.
SENT: Final = soap.Limits(size=64 << 20)
#: Seconds to get a connection, TLS included. Nothing has been sent by then.
CONNECT_S: Final = 10.0
#: Seconds an idle connection is kept: less than what servers do, so that we close it and not they in the midst of our request.
IDLE_S: Final = 10.0
#: Seconds a name's addresses are remembered: an endpoint that moves is followed within a minute.
NAMES_S: Final = 60
#: A longer line or header is not an answer.
LONGEST_LINE: Final = 8_190
#: How a server's TLS says that it does not take our certificate (RFC 8446, 6.2).
_REFUSES_US: Final = (
    *(f"CERTIFICATE_{why}" for why in ("REQUIRED", "UNKNOWN", "REVOKED", "EXPIRED")),
    *("BAD_CERTIFICATE", "UNSUPPORTED_CERTIFICATE", "UNKNOWN_CA", "ACCESS_DENIED"),
    "DECRYPT_ERROR",  # its CA has the name of ours, and another key
)


#: NAT64, and the old way to write an IPv4 address: the last 32 bits are one.
_CARRYING: Final = (ipaddress.IPv6Network("64:ff9b::/96"), ipaddress.IPv6Network("::/96"))
#: Names that are looked up at the same time.
LOOK_UPS: Final = 64


#: What an address that may not be called is told as.
_INSIDE: Final = "an address inside this network; the operator allows it with KOPPELPUNT_PUSH_NETWORKS"


class AddressNotAllowed(OSError):
    """The name leads to an address that may not be called."""


class Resolver(AbstractResolver):
    """Names to addresses that may be called. Also guards against a name that leads elsewhere a moment after it was looked at: what is
    checked is what is connected to."""

    def __init__(self, allowed: Sequence[Network]) -> None:
        self._allowed = allowed
        # threads of its own: a look-up may take as long as somebody's name servers like, and nobody can stop it
        self._threads = ThreadPoolExecutor(max_workers=LOOK_UPS, thread_name_prefix="names")

    async def resolve(self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC) -> list[ResolveResult]:
        look_up = partial(socket.getaddrinfo, host, port, type=socket.SOCK_STREAM, family=family, flags=socket.AI_ADDRCONFIG)
        found = await asyncio.get_running_loop().run_in_executor(self._threads, look_up)
        usable = [(kind, address) for kind, _, _, _, address in found if may_call(str(address[0]), self._allowed)]
        if not usable:
            raise AddressNotAllowed(f"{host} leads to {_INSIDE}")
        return [
            ResolveResult(hostname=host, host=str(address[0]), port=port, family=kind, proto=0, flags=socket.AI_NUMERICHOST)
            for kind, address in usable
        ]

    async def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)


def may_call(address: str, allowed: Sequence[Network]) -> bool:
    """Whether an IP address is public, or in a network that the operator allows. Raises ValueError when it is no address."""
    return all(
        any(one in network for network in allowed if network.version == one.version) or public(str(one))
        for one in _meant(ipaddress.ip_address(address.partition("%")[0]))
    )


def _meant(one: ipaddress.IPv4Address | ipaddress.IPv6Address) -> list[ipaddress.IPv4Address | ipaddress.IPv6Address]:
    """The address; and where IPv6 only carries an IPv4 one, that as well, or instead."""
    if isinstance(one, ipaddress.IPv4Address):
        return [one]
    if one.ipv4_mapped is not None:
        return [one.ipv4_mapped]
    inside = one.sixtofour or (one.teredo[1] if one.teredo else None)
    if inside is None and any(one in network for network in _CARRYING) and int(one) > 1:
        inside = ipaddress.IPv4Address(int(one) & 0xFFFFFFFF)
    return [one] if inside is None else [inside] if one in _CARRYING[0] else [one, inside]


def not_allowed(url: str, allowed: Sequence[Network]) -> str | None:
    """Why an address may not be called, as far as can be told without looking up a name (the resolver does that); None when it may."""
    try:
        parts = URL(url)  # as aiohttp reads it: there are digits that are none to others
        usable = parts.scheme == "https" and parts.user is None and bool(parts.raw_host) and url.isascii()
    except ValueError:
        usable = False
    if not usable:
        return "the endpoint's address is not https://host/path, in plain letters"
    host = (parts.raw_host or "").rstrip(".")
    try:
        public_or_allowed = may_call(host, allowed)
    except ValueError:  # a name: the resolver looks
        return "the endpoint's host is no name and no IP address; write four decimal numbers" if is_odd_number(host) else None
    return None if public_or_allowed else f"the endpoint's address is {_INSIDE}"


def context_of(settings: Settings) -> ssl.SSLContext:
    """TLS as a client, with our certificate (facts 4.1). Raises OSError or ssl.SSLError when a file cannot be used."""
    if settings.key is None or settings.cert is None or settings.trust is None:
        raise OSError("calling endpoints needs KOPPELPUNT_KEY, KOPPELPUNT_CERT and KOPPELPUNT_TRUST")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(CIPHERS)
    context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION
    context.load_cert_chain(settings.cert, settings.key)
    context.load_verify_locations(settings.trust)
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    return context


#: What is known of the call that this task makes: whether it was `sent`, and the certificate (DER) that the server has `shown`.
_CALL: Final[ContextVar[SimpleNamespace]] = ContextVar("call")


class _Connector(aiohttp.TCPConnector):
    """Notes whose server it is when a call gets its connection: a short answer has given it back by the time that it can be asked."""

    async def connect(self, *arguments: Any, **named: Any) -> Connection:
        connection = await super().connect(*arguments, **named)
        peer = connection.transport.get_extra_info("ssl_object") if connection.transport else None
        _CALL.get().shown = peer.getpeercert(binary_form=True) if peer else None
        return connection


class _Pool:
    """Connections that were made with one TLS context, and how many calls are under way on them."""

    def __init__(self, session: aiohttp.ClientSession, context: ssl.SSLContext) -> None:
        self.session, self.context = session, context
        self.calls = 0


class Endpoints:
    """Calls them, with a pool of connections for each. `context` may be one that follows files (`credentials.FollowingContext`): when it
    changes, connections made with what it was before are used no more, and closed when the calls on them have ended."""

    def __init__(
        self,
        context: ssl.SSLContext,
        judge: Judge,
        *,
        allowed: Sequence[Network] = (),
        answer_s: float,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        saw_server: Callable[[str, str, bytes], None] = lambda system, where, der: None,
    ) -> None:
        """`allowed`: networks that may be called though they are not public. `answer_s`: seconds for the whole of a call. `saw_server`:
        told which certificate (DER) the server of a system showed, and at which host and port."""
        self._now, self._saw_server = now, saw_server
        self._context, self._judge, self._allowed = context, judge, tuple(allowed)
        self._answer_s = answer_s
        self._resolver = Resolver(self._allowed)
        self._pool: _Pool | None = None

    @classmethod
    def of(cls, settings: Settings, credentials: Following[Credentials], registry: Registry, now: Callable[[], datetime]) -> Endpoints:
        """As the settings say, with our certificate as it is at each call; which certificates servers show is kept in the store."""
        verifier = FollowingVerifier.for_https(settings, registry, LIMITS)
        return cls(
            FollowingContext(lambda: credentials().context, ssl.PROTOCOL_TLS_CLIENT),
            verifier,
            allowed=settings.push_networks,
            answer_s=settings.push_answer_s,
            now=now,
            saw_server=verifier.sightings.saw_server,
        )

    async def offer(self, url: str, message: bytes, *, action: str, asked: Asked) -> Heard:
        """One attempt: what was heard. `url` is where it is; whom it is for stands in the message."""
        if (reason := not_allowed(url, self._allowed)) is not None:
            return Heard(wire=Wire.NOT_ALLOWED, says=reason)
        went = SimpleNamespace(sent=False, shown=None)
        _CALL.set(went)
        try:
            async with asyncio.timeout(self._answer_s):
                return await self._call(url, message, action, asked, went)
        except TimeoutError:
            if went.sent:
                return Heard(wire=Wire.SILENT, says=f"no whole answer came within {self._answer_s:g} s")
            return Heard(wire=Wire.UNREACHABLE, says="no connection could be made in time")
        except Exception as error:  # noqa: BLE001 (whatever somebody else's server brought about is heard as something)
            return _failed(error, sent=went.sent)

    async def close(self) -> None:
        """Hangs up."""
        if self._pool is not None:
            await self._pool.session.close()

    async def _call(self, url: str, message: bytes, action: str, asked: Asked, went: SimpleNamespace) -> Heard:
        async with self._session() as session:
            return await self._post(session, url, message, action, asked, went)

    async def _post(
        self, session: aiohttp.ClientSession, url: str, message: bytes, action: str, asked: Asked, went: SimpleNamespace
    ) -> Heard:
        headers = {
            "Content-Type": "text/xml; charset=utf-8",
            "SOAPAction": f'"{action}"',
            "Accept": "text/xml",
            "Accept-Encoding": "identity",
        }
        async with session.post(url, data=message, headers=headers, allow_redirects=False, trace_request_ctx=went) as response:
            if went.shown is not None:
                self._saw_server(asked.system, f"{response.url.host}:{response.url.port}", went.shown)
            server = None if asked.signed else self._server(went.shown)
            if response.headers.get("Content-Encoding", "identity").strip().lower() not in ("", "identity"):
                return Heard(wire=Wire.UNREADABLE, status=response.status, says="the answer is packed, though that was not offered")
            parts, size = [], 0
            async for part in response.content.iter_any():
                parts.append(part)
                if (size := size + len(part)) > LARGEST:
                    response.close()
                    return Heard(wire=Wire.UNREADABLE, status=response.status, says=f"the answer is larger than {LARGEST:,} bytes")
            return read(
                b"".join(parts),
                status=response.status,
                content_type=response.headers.get("Content-Type", ""),
                asked=asked,
                signature_value=glance(message, SENT).signature_value,
                server=server,
                judge=self._judge,
                at=self._now(),
                retry_after_s=retry_after(response.headers.get("Retry-After"), self._now()),
            )

    def _server(self, der: bytes | None) -> Oin | None:
        """Whose server it is, where its certificate is all that says so (2W-be); None when it names nobody, or has been revoked."""
        try:
            return self._judge.certificate(der, at=self._now()).oin if der else None
        except Fault:
            return None

    @asynccontextmanager
    async def _session(self) -> AsyncIterator[aiohttp.ClientSession]:
        """One whose connections show what is our certificate now."""
        context = self._context.current() if isinstance(self._context, FollowingContext) else self._context
        before, pool = self._pool, self._pool
        if pool is None or pool.context is not context:
            pool = self._pool = _Pool(self._open(), context)
        pool.calls += 1
        try:
            if before is not None and before is not pool and not before.calls:
                await before.session.close()
            yield pool.session
        finally:
            pool.calls -= 1
            if pool is not self._pool and not pool.calls:
                await pool.session.close()

    def _open(self) -> aiohttp.ClientSession:
        trace = aiohttp.TraceConfig()
        trace.on_request_headers_sent.append(_note_sent)
        connector = _Connector(
            ssl=self._context,
            limit=0,
            limit_per_host=0,  # the window of each lane is what limits
            keepalive_timeout=IDLE_S,
            ttl_dns_cache=NAMES_S,
            resolver=self._resolver,
        )
        return aiohttp.ClientSession(
            connector=connector,
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_S),
            trace_configs=[trace],
            trust_env=False,
            auto_decompress=False,
            cookie_jar=aiohttp.DummyCookieJar(),
            max_line_size=LONGEST_LINE,
            max_field_size=LONGEST_LINE,
            headers={"User-Agent": "koppelpunt"},
        )


async def _note_sent(_session: aiohttp.ClientSession, context: SimpleNamespace, _parameters: Any) -> None:
    context.trace_request_ctx.sent = True


def _failed(error: Exception, *, sent: bool) -> Heard:
    """How far it came. What the exceptions say is ours or Python's, not the server's, but for an odd answer's first line."""
    chain = causes(error)
    if any(isinstance(one, AddressNotAllowed) for one in chain):
        return Heard(wire=Wire.NOT_ALLOWED, says=f"the endpoint's name leads to {_INSIDE}")
    if any(isinstance(one, ssl.SSLCertVerificationError | ssl.CertificateError) for one in chain):
        told = next(one for one in chain if isinstance(one, ssl.SSLCertVerificationError | ssl.CertificateError))
        return Heard(wire=Wire.NOT_TRUSTED, says=getattr(told, "verify_message", "") or "its certificate does not belong to its name")
    alerts = [reason for one in chain if isinstance(one, ssl.SSLError) and isinstance(reason := getattr(one, "reason", None), str)]
    if any(name in alert for alert in alerts for name in _REFUSES_US):
        return Heard(wire=Wire.REFUSES_US, says=f"TLS: {alerts[0].replace('_', ' ').lower()}")
    if not sent:
        if isinstance(error, aiohttp.InvalidURL):
            return Heard(wire=Wire.NOT_ALLOWED, says="the endpoint's address is not https://host/path")
        return Heard(wire=Wire.UNREACHABLE, says=_reason(error))
    if isinstance(error, aiohttp.ClientConnectionError | aiohttp.ClientPayloadError | OSError) and not isinstance(error, ValueError):
        return Heard(wire=Wire.CUT, says="the connection ended before a whole answer had come")
    if not isinstance(error, aiohttp.ClientError | ValueError):
        log.error("answer_not_handled", extra={"error": type(error).__name__}, exc_info=error)
    return Heard(wire=Wire.UNREADABLE, says="the answer is not HTTP")


def causes(error: BaseException) -> list[BaseException]:
    """The error and what it came from."""
    found: list[BaseException] = []
    todo: list[BaseException | None] = [error]
    while todo:
        one = todo.pop()
        if one is not None and one not in found:
            found.append(one)
            todo += [one.__cause__, one.__context__, getattr(one, "os_error", None), getattr(one, "certificate_error", None)]
    return found


def _reason(error: Exception) -> str:
    inner = getattr(error, "os_error", None) or error
    if isinstance(inner, socket.gaierror) or isinstance(error, aiohttp.ClientConnectorDNSError):
        return "the endpoint's name is not known"
    return (getattr(inner, "strerror", None) or type(inner).__name__)[:120]


def retry_after(value: str | None, now: datetime) -> float | None:
    """Seconds, from seconds or a date (RFC 9110, 10.2.3); None when it is neither."""
    if value is None:
        return None
    if value.strip().isascii() and value.strip().isdigit():
        return float(value.strip()[:9])
    try:
        at = parsedate_to_datetime(value)
    except (ValueError, TypeError, OverflowError):  # the last for a year of eleven digits
        return None
    return max(0.0, (at - now).total_seconds()) if at.tzinfo else None
