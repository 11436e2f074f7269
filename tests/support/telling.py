"""What hears of alerts: a real mail server, and a real HTTPS server that takes webhooks. Each can be told to misbehave."""

from __future__ import annotations

import asyncio
import email
import email.policy
import json
import ssl
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from email.message import EmailMessage
from pathlib import Path
from types import TracebackType
from typing import Any

from aiohttp import web
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult, LoginPassword

from adapters.mail import Mail
from adapters.store import Store
from adapters.webhook import check_secret, signature
from broker_config.settings import MailServer
from routing.alerts import Rules
from routing.contacts import Channel
from routing.people import Scope
from tests.support import signing as s
from workers.alert_words import Words
from workers.alerts import Sources, Teller
from workers.clock import Clock
from workers.loop import Leader, Worker

CA = s.folder() / "ca.pem"
USER, PASSWORD = "koppelpunt", "correct horse"


def server_context(name: str = "tells") -> ssl.SSLContext:
    """TLS as a server on localhost."""
    files = s.party(name)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(files.certificate, files.key)
    return context


class _AnyPort(Controller):
    """On a port that the system chooses: aiosmtpd itself would knock at port 0."""

    def _trigger_server(self) -> None:
        assert self.server is not None
        self.port = self.server.sockets[0].getsockname()[1]
        super()._trigger_server()


@dataclass
class Post:
    """A mail server on this machine, with STARTTLS and a log-in; `answers` are what it says to the next messages instead."""

    tls: bool = True
    mails: list[EmailMessage] = field(default_factory=list)
    raw: list[bytes] = field(default_factory=list)
    answers: list[str] = field(default_factory=list)
    refused: set[str] = field(default_factory=set)  #: addresses it does not know
    encrypted: list[bool] = field(default_factory=list)

    def __enter__(self) -> Post:
        options: dict[str, Any] = {"tls_context": server_context(), "require_starttls": True} if self.tls else {"auth_require_tls": False}
        self._controller = _AnyPort(self, hostname="127.0.0.1", port=0, authenticator=self._check, auth_required=True, **options)
        self._controller.start()
        return self

    def __exit__(self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None) -> None:
        self._controller.stop()

    @property
    def server(self) -> MailServer:
        """Where it is."""
        return MailServer("localhost", self._controller.port, False, USER)

    def _check(self, _server: Any, session: Any, _envelope: Any, _mechanism: str, given: Any) -> AuthResult:
        self.encrypted.append(session.ssl is not None)
        right = isinstance(given, LoginPassword) and (given.login, given.password) == (USER.encode(), PASSWORD.encode())
        return AuthResult(success=right, handled=right)

    async def handle_RCPT(self, _server: Any, _session: Any, envelope: Any, address: str, _options: Any) -> str:
        if address in self.refused:
            return "550 5.1.1 no such mailbox"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, _server: Any, _session: Any, envelope: Any) -> str:
        if self.answers:
            return self.answers.pop(0)
        self.raw.append(envelope.content)
        made = email.message_from_bytes(envelope.content, policy=email.policy.default)
        assert isinstance(made, EmailMessage)
        self.mails.append(made)
        return "250 OK"

    def text(self, at: int = -1) -> str:
        """The plain text of a message."""
        body = self.mails[at].get_body(("plain",))
        assert body is not None
        return str(body.get_content())

    def html(self, at: int = -1) -> str:
        """The same as HTML."""
        body = self.mails[at].get_body(("html",))
        assert body is not None
        return str(body.get_content())


@dataclass
class Hook:
    """Takes webhooks at https://localhost:PORT/hook, in the event loop that it is started in."""

    secret: str
    answers: list[web.Response] = field(default_factory=list)  #: to the next calls, instead of 204
    calls: list[tuple[str, dict[str, Any]]] = field(default_factory=list)  #: id and content of those whose signature was right
    wrong: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    async def __aenter__(self) -> Hook:
        app = web.Application()
        app.router.add_post("/hook", self._take)
        self._runner = web.AppRunner(app)
        await self._runner.setup()
        self._site = web.TCPSite(self._runner, "127.0.0.1", 0, ssl_context=server_context())
        await self._site.start()
        return self

    async def __aexit__(self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None) -> None:
        await self._runner.cleanup()

    @property
    def url(self) -> str:
        """Its address."""
        assert self._site._server is not None
        return f"https://localhost:{self._site._server.sockets[0].getsockname()[1]}/hook"  # type: ignore[attr-defined]

    async def _take(self, request: web.Request) -> web.Response:
        body = await request.read()
        id, at = request.headers["webhook-id"], int(request.headers["webhook-timestamp"])
        if request.headers["webhook-signature"] != signature(check_secret(self.secret), id, at, body):
            self.wrong += 1
            return web.Response(status=401)
        if self.answers:
            return self.answers.pop(0)
        self.calls.append((id, json.loads(body)))
        return web.Response(status=204)


def send_all(store: Store, clock: Clock, post: Post, folder: Path) -> None:
    """What the worker that tells people sends now, to this mail server. In a thread of its own: beside a browser, this one has a loop."""
    password = folder / "mail-password"
    password.write_text(f"{PASSWORD}\n")

    async def act() -> None:
        mail = Mail(server=post.server, sender="kp@example.nl", password=password, ca=CA)
        worker = Worker("timetable", store.registry, clock)
        sources = Sources(facts=store.alert_facts, workers=list, scope_of=lambda _: Scope(), board=store.board)
        words = Words(portal="", ours="", name=lambda oin: oin)
        teller = Teller(worker, store.alerts, sources, {Channel.EMAIL: mail}, words, Rules(), Leader(worker, store.registry, "alerts"))
        await teller.send()
        await teller.wait()
        await mail.close()

    with ThreadPoolExecutor(1) as pool:
        pool.submit(asyncio.run, act()).result(60)
