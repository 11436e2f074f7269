"""A partner to test against: an Edukoppeling WUS endpoint (2W-be-S) over HTTPS with mutual TLS, which behaves as it is told.

It verifies what it is pushed as any receiver must, remembers what came (ids and hashes only), and answers as its `behaviour` says. A
message that is wrong itself is refused with a signed fault, whatever the behaviour.
"""

from __future__ import annotations

import asyncio
import hashlib
import socket
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from aiohttp import web

from adapters.answers import Answers, Request
from adapters.errors import UsageError
from adapters.https import CUT_OFF, LIMITS, context_of, read_body, who
from adapters.parties.behaviour import GOOD, Behaviour, Content, Reply, Voice
from adapters.pki import PkiError, read_certificate, read_key
from adapters.signing import Signer
from adapters.trust import TrustStore
from adapters.verify_policy import VerifyPolicy
from adapters.wsse import Verifier, content_digest
from adapters.wus import soap_action, wrong_properties
from broker_config.settings import Settings
from schemas.envelope import Envelope
from schemas.faults import Fault, NotAllowed, Owner, Refused
from schemas.oin import Oin

#: Messages that are remembered; older ones are forgotten, and still counted.
REMEMBERED: Final = 10_000
#: Seconds that requests under way get when the sandbox stops.
SHUTDOWN_S: Final = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Received:
    """What is remembered of a request. Nothing of a message that was refused is trusted."""

    at: datetime  #: when it had come in
    behaviour: Behaviour  #: with which it was met
    code: str | None  #: with which it was refused, because it was wrong itself
    message_id: str | None
    sender: Oin | None  #: wsa:From
    receiver: Oin | None  #: wsa:To
    signed_by: Oin | None  #: the OIN in the signing certificate
    connected: Oin | None  #: the OIN in the TLS client certificate
    path: str  #: with the query
    soap_action: str | None
    content_type: str
    sha256: str  #: hex, of the HTTP body
    content_sha256: str | None  #: hex, of the canonical content: the same in whatever envelope it comes


def signer_of(cert: Path, key: Path) -> Signer:
    """Signs with the certificate and key of these files. Raises UsageError, PkiError or OSError."""
    try:
        return Signer(read_key(key), read_certificate(cert))
    except PkiError:
        raise
    except ValueError:
        raise UsageError(f"The private key in {key} does not belong to the certificate in {cert}.") from None


class Sandbox:
    """Listens between `start` and `stop`, or inside `async with`. Everything happens in one event loop."""

    def __init__(
        self,
        *oins: Oin,
        cert: Path,
        key: Path,
        trust: Path,
        crls: Sequence[Path] = (),
        peers: Sequence[Oin] = (),
        content: Content | None = None,
        other: Signer | None = None,
        tell: Callable[[Received], None] = lambda _: None,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        port: int = 0,
        host: str = "127.0.0.1",
    ) -> None:
        """`oins`: for whom it receives. `crls`: who connects or signs with a certificate that these lists revoke, or whose CA they do not
        speak for, is refused. `peers`: who may connect; none: whoever has a trusted certificate. `tell`: is told of each message.
        `now`: its clock, for verifying and for answers that are no refusal. `port`: 0 is any; while it is `down` nobody keeps it for us.
        `content` and `other`: see `Voice`. Raises UsageError, PkiError, TrustError or OSError for files that cannot be used.
        """
        if not oins:
            raise UsageError("A sandbox needs at least one OIN for which it receives.")
        signer = signer_of(cert, key)
        self._trust = TrustStore.from_files([trust], crls)
        self._oins, self._peers, self._tell, self._now = oins, frozenset(peers), tell, now
        files = {"KOPPELPUNT_CERT": str(cert), "KOPPELPUNT_KEY": str(key), "KOPPELPUNT_TRUST": str(trust)}
        self._context = context_of(Settings.from_environment(files))
        self._verifier = Verifier(self._trust, VerifyPolicy(own_oins=frozenset(oins), limits=LIMITS))
        self._voice, self._answers = Voice(signer, oins, content=content, other=other, now=now), Answers(signer, oins[0])
        self._plan: list[Behaviour] = []
        self._runner: web.AppRunner | None = None
        self._socket: socket.socket | None = None
        self._opening: asyncio.Task[Any] | None = None
        self._server: asyncio.Server | None = None
        self._host, self.port = host, port
        #: What holds for single messages, before anything else; each first in its list, as `plan`.
        self.by_message_id: dict[str, list[Behaviour]] = {}
        self.received: deque[Received] = deque(maxlen=REMEMBERED)  #: oldest first
        self.requests = 0  #: ever begun
        self.at_once = 0  #: whose bodies have not come or that are not answered yet
        self.most_at_once = 0

    # -- how it behaves ------------------------------------------------------------------------------------------------------------------

    @property
    def behaviour(self) -> Behaviour:
        """How the next message is met. Setting it forgets what was planned."""
        return self._plan[0] if self._plan else GOOD

    @behaviour.setter
    def behaviour(self, behaviour: Behaviour) -> None:
        self.plan = [behaviour]

    @property
    def plan(self) -> list[Behaviour]:
        """One after another; when the last one's times are over, it is good."""
        return list(self._plan)

    @plan.setter
    def plan(self, plan: Sequence[Behaviour]) -> None:
        if len(plan) > 1 and any(one.name == "down" for one in plan):
            raise UsageError("A sandbox that is down sees no messages, so nothing can come after: set down alone.")
        before, self._plan = self._plan, list(plan)
        if self._runner is not None:
            try:
                self._follow()
            except OSError:  # somebody else took the port meanwhile
                self._plan = before
                raise

    def _take(self, message_id: str | None) -> Behaviour:
        """How this message is met, which is then once less to come."""
        own = self.by_message_id.get(message_id or "")
        plan = own or self._plan
        if not plan:
            return GOOD
        first = plan[0]
        if first.times is not None:
            plan[:1] = [replace(first, times=first.times - 1)] if first.times > 1 else []
        return first

    # -- listening -----------------------------------------------------------------------------------------------------------------------

    @property
    def url(self) -> str:
        """Where messages can be pushed; any path behind it will do."""
        return f"https://localhost:{self.port}"

    async def start(self) -> None:
        """Listens from now on, unless its behaviour is `down`. Raises OSError when the port cannot be had."""
        app = web.Application()
        app.router.add_post("/{path:.*}", self._request)
        self._runner = web.AppRunner(app, access_log=None, auto_decompress=False, handler_cancellation=True, shutdown_timeout=SHUTDOWN_S)
        await self._runner.setup()
        try:
            self._open()  # also when it is to be down: so the port is known
        except OSError:
            await self.stop()
            raise
        self._follow()
        if self._opening is not None:
            await self._opening

    async def stop(self) -> None:
        """Closes the port and every connection, whoever waits on it."""
        self._close()
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    async def __aenter__(self) -> Sandbox:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    def _follow(self) -> None:
        if self.behaviour.name == "down":
            self._close()
        elif self._socket is None:
            self._open()

    def _open(self) -> None:
        """From here on the system takes connections; they are served in a moment."""
        self._socket = socket.create_server((self._host, self.port), backlog=512)
        self.port = self._socket.getsockname()[1]
        self._opening = asyncio.ensure_future(self._serve(self._socket))

    async def _serve(self, opened: socket.socket) -> None:
        assert self._runner is not None
        assert self._runner.server is not None
        loop, protocol = asyncio.get_running_loop(), self._runner.server
        self._server = await loop.create_server(protocol, sock=opened, ssl=self._context, backlog=512, start_serving=False)
        await self._server.start_serving()

    def _close(self) -> None:
        if self._opening is not None:
            self._opening.cancel()
        if self._server is not None:
            self._server.close()
        if self._socket is not None:
            self._socket.close()
        self._opening = self._server = self._socket = None
        if self._runner is not None and self._runner.server is not None:
            for connection in self._runner.server.connections:
                connection.force_close()

    # -- one request ---------------------------------------------------------------------------------------------------------------------

    async def _request(self, request: web.Request) -> web.StreamResponse:
        self.requests += 1
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            return await self._send(request, await self._meet(request))
        except (ConnectionError, *CUT_OFF):  # whoever asked has gone
            return web.Response(status=400)
        finally:
            self.at_once -= 1

    async def _meet(self, request: web.Request) -> Reply:
        connected: Oin | None = None
        envelope: Envelope | None = None
        fault: Fault | None = None
        raw = b""
        try:
            connected = who(request, lambda der: self._trust.check(der, at=self._now()))
            if self._peers and connected not in self._peers:
                raise NotAllowed("Client.DK0002", f"{connected} may not connect here", where="TLS", owner=Owner.SUPPLIER)
            raw = await read_body(request)
            envelope = self._judge(request, raw)
        except Fault as found:
            fault = found
        asked = Request.of(envelope) if envelope else Request.glance(raw, LIMITS) if raw else Request(sender=connected, unread=True)
        behaviour = self._take(asked.message_id) if envelope else GOOD
        one = Received(
            at=self._now(),
            behaviour=behaviour,
            code=fault.code if fault else None,
            message_id=asked.message_id,
            sender=asked.sender,
            receiver=envelope.receiver if envelope else None,
            signed_by=envelope.certificate_oin if envelope else None,
            connected=connected,
            path=request.path_qs,
            soap_action=soap_action(request),
            content_type=request.headers.get("Content-Type", ""),
            sha256=hashlib.sha256(raw).hexdigest(),
            content_sha256=content_digest(envelope).hex() if envelope else None,
        )
        self.received.append(one)
        self._tell(one)
        if envelope is not None:
            return behaviour.reply(self._voice, envelope)
        assert fault is not None
        return Reply(status=500, body=self._answers.fault(asked, fault))

    def _judge(self, request: web.Request, raw: bytes) -> Envelope:
        """The message, verified as it is now. Raises Refused."""
        if (wrong := wrong_properties(request)) is not None:
            raise wrong
        envelope = self._verifier.verify(raw, at=self._now())
        if soap_action(request) not in ("", envelope.action):
            raise Refused("Client.DK0003", "the HTTP header SOAPAction is missing, or not equal to wsa:Action", where="SOAPAction")
        return envelope

    async def _send(self, request: web.Request, reply: Reply) -> web.StreamResponse:
        if reply.wait_s:
            await asyncio.sleep(reply.wait_s)
        if not reply.part:
            return self._hang_up(request, at_once=True)
        if reply.plain:
            whole = web.Response(status=reply.status, body=reply.body, headers=reply.headers)
            if not request.content.is_eof():  # what is still to come of the request is not waited for
                whole.force_close()
            return whole
        response = web.StreamResponse(status=reply.status, headers=reply.headers)
        if not reply.pad:
            response.content_length = len(reply.body)
        await response.prepare(request)
        for piece in reply.pieces():
            if piece:
                await response.write(piece)
            await asyncio.sleep(reply.between_s or 0)
        if reply.part < 1:
            return self._hang_up(request, at_once=False)
        await response.write_eof()
        return response

    @staticmethod
    def _hang_up(request: web.Request, *, at_once: bool) -> web.StreamResponse:
        """`at_once`: without sending what was written. Nothing more can be sent; what is returned is for form's sake."""
        if request.transport is not None:
            (request.transport.abort if at_once else request.transport.close)()
        return web.Response()


class Control:
    """`GET` and `PUT /behaviour`, and `GET /received`, over plain HTTP for programs on this machine."""

    def __init__(self, sandbox: Sandbox, port: int = 0) -> None:
        self.port = port
        self._sandbox = sandbox
        self._runner: web.AppRunner | None = None

    async def __aenter__(self) -> Control:
        """Raises OSError when the port cannot be had."""
        app = web.Application()
        app.router.add_get("/behaviour", self._told)
        app.router.add_put("/behaviour", self._tell)
        app.router.add_get("/received", self._received)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=SHUTDOWN_S)
        await self._runner.setup()
        try:
            await web.TCPSite(self._runner, "127.0.0.1", self.port).start()
        except OSError:
            await self._runner.cleanup()
            raise
        self.port = self._runner.addresses[0][1]
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._runner is not None:
            await self._runner.cleanup()

    async def _told(self, _request: web.Request) -> web.Response:
        by_id = {message_id: [str(one) for one in plan] for message_id, plan in self._sandbox.by_message_id.items() if plan}
        return web.json_response({"behaviour": [str(one) for one in self._sandbox.plan or (GOOD,)], "by_message_id": by_id})

    async def _tell(self, request: web.Request) -> web.Response:
        """What is not named stays as it is."""
        try:
            said = await request.json()
            if not isinstance(said, dict) or not said or said.keys() - {"behaviour", "by_message_id"}:
                raise UsageError('Say {"behaviour": "NAME=VALUE"}, or a list of those, or {"by_message_id": {"urn:uuid:…": "NAME=VALUE"}}.')
            by_id = {message_id: _plan(plan) for message_id, plan in dict(said.get("by_message_id", {})).items()}
            if "behaviour" in said:
                self._sandbox.plan = _plan(said["behaviour"])
            if "by_message_id" in said:
                self._sandbox.by_message_id = by_id
        except (UsageError, OSError) as error:
            return web.json_response({"error": str(error)}, status=400)
        except (ValueError, TypeError):
            return web.json_response({"error": "This is not JSON as it should be."}, status=400)
        return await self._told(request)

    async def _received(self, _request: web.Request) -> web.Response:
        sandbox = self._sandbox
        messages = [{"message_id": one.message_id, "at": one.at.isoformat(), "code": one.code} for one in sandbox.received]
        return web.json_response({"requests": sandbox.requests, "most_at_once": sandbox.most_at_once, "received": messages})


def _plan(said: object) -> list[Behaviour]:
    """From one text or a list of them. Raises UsageError or TypeError."""
    texts = [said] if isinstance(said, str) else said
    if not isinstance(texts, list):
        raise TypeError
    return [Behaviour.of(str(text)) for text in texts]
