"""Health and metrics of one process, on a local port of its own (http).

It runs in a thread and not on the worker's event loop, and with the standard library's server instead of aiohttp: it must answer just when
that loop does not turn, and a look at a store that hangs must not hold up the worker.
"""

from __future__ import annotations

import contextlib
import json
import logging
import socket
import threading
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final, NamedTuple

from cryptography import x509
from prometheus_client import generate_latest
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4

from adapters import checks
from adapters.metrics import Pages, Requests, Working, registry_of
from adapters.store import Store
from broker_config.settings import Settings
from routing.work import StoreUnavailable

log = logging.getLogger("koppelpunt.operations")

#: A process whose port another has takes the next free one of so many.
PORTS: Final = 100
#: Seconds without a turn of its event loop after which a process is ill. A large batch may keep it busy for twenty.
STUCK_AFTER_S: Final = 30.0
#: Seconds for a request to come in; and how many are answered at a time.
_READ_S, _AT_A_TIME = 5.0, 16
#: Workers that verify what comes in.
_VERIFY: Final = frozenset({"intake", "gateway", "push"})
#: The one that shows figures about the whole store: everything else about the store by the clock is its work too.
_STORE_WIDE: Final = "timetable"


class Page(NamedTuple):
    """An answer."""

    status: int
    body: bytes
    content_type: str = "application/json"


class Operations:
    """What one process shows its operator."""

    def __init__(
        self, settings: Settings, store: Store, worker: Working, *, now: Callable[[], datetime] = lambda: datetime.now(UTC)
    ) -> None:
        self._settings, self._store, self._worker, self._now = settings, store, worker, now
        self._own: Callable[[], x509.Certificate] | None = None
        self._registry = registry_of(worker, store, own=lambda: self._own() if self._own else None, store_wide=worker.name == _STORE_WIDE)
        self.requests = Requests(self._registry) if worker.name == "gateway" else None
        self.pages = Pages(self._registry) if worker.name == "portal" else None
        self.connections: list[checks.BrokerConnection] = []
        self.checks: dict[str, checks.Check] = {
            "stopping": lambda: "it was told to stop" if worker.stopping else None,
            "store": checks.store_answers(store),
            "register": checks.register_loaded(store.registry),
            "broker": checks.broker_answers(self.connections),
            "clock": checks.clock_right(settings, store, now),
        }
        if worker.name in _VERIFY:
            self.checks["crls"] = checks.crls_current(settings.crl, store.registry, now)
        self._ready = checks.Readiness(self.checks)
        self._server: _Server | None = None

    def watch_certificate(self, own: Callable[[], x509.Certificate]) -> None:
        """The certificate of ours that this process uses."""
        self._own = own
        self.checks["certificate"] = checks.certificate_valid(own, self._now)

    def start(self) -> str | None:
        """Listens from now on; returns host:port. None when the setting says so, or no port can be had: the worker works all the same."""
        first, host = self._settings.metrics_port, self._settings.metrics_host
        pages = {"/healthz": self.health, "/readyz": self.readiness, "/metrics": self.metrics, "/targets": self.targets}
        why = ""
        for port in range(first, min(first + PORTS, 65_536)) if first else ():
            try:
                self._server = _Server(host, port, pages)
                break
            except OSError as error:
                why = error.strerror or str(error)
        if self._server is None:
            if first:
                log.error("metrics_cannot_listen", extra={"worker": self._worker.id, "host": host, "port": first, "error": why})
            return None
        threading.Thread(target=self._server.serve_forever, name="operations", daemon=True).start()
        address = f"[{host}]:{self._server.server_port}" if ":" in host else f"{host}:{self._server.server_port}"
        log.info("metrics_listen", extra={"worker": self._worker.id, "address": address})
        return address

    def close(self) -> None:
        """Answers nobody any more."""
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None

    def health(self) -> Page:
        """Whether the event loop turns: if not, only a new process helps."""
        idle_s = round(time.monotonic() - self._worker.turned_at, 1)
        well = idle_s < STUCK_AFTER_S
        return _json(200 if well else 503, {"worker": self._worker.name, "id": self._worker.id, "healthy": well, "loop_idle_s": idle_s})

    def readiness(self) -> Page:
        """Whether it can do its work now, and if not, each reason."""
        reasons = self._ready()
        return _json(
            503 if reasons else 200, {"worker": self._worker.name, "id": self._worker.id, "ready": not reasons, "reasons": reasons}
        )

    def metrics(self) -> Page:
        """Everything that is counted, for Prometheus."""
        return Page(200, generate_latest(self._registry), CONTENT_TYPE_PLAIN_0_0_4)

    def targets(self) -> Page:
        """Where every process of this backbone can be asked, for Prometheus' `http_sd_configs`."""
        try:
            workers = self._store.registry.workers()
        except StoreUnavailable as error:
            return _json(503, {"error": str(error)})
        return _json(
            200,
            [{"targets": [w["metrics"]], "labels": {"worker": w["name"], "machine": w["host"]}} for w in workers if w["metrics"]],
        )


def _json(status: int, document: object) -> Page:
    return Page(status, json.dumps(document).encode() + b"\n")


class _Server(ThreadingHTTPServer):
    """Answers so many at a time, and hangs up on the others."""

    daemon_threads = True

    def __init__(self, host: str, port: int, pages: Mapping[str, Callable[[], Page]]) -> None:
        self.address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self.pages = pages
        self._room = threading.BoundedSemaphore(_AT_A_TIME)
        super().__init__((host, port), _Handler)

    def server_bind(self) -> None:
        """Without asking what this machine is called: that may take a name server that is away."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind(self.server_address)
        self.server_address = self.socket.getsockname()
        self.server_name, self.server_port = str(self.server_address[0]), self.server_address[1]

    def process_request(self, request: Any, client_address: Any) -> None:
        if self._room.acquire(blocking=False):
            super().process_request(request, client_address)
        else:
            self.shutdown_request(request)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._room.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that hung up is no news."""


def _hang_up(request: Any) -> None:
    with contextlib.suppress(OSError):  # its client was first
        request.shutdown(socket.SHUT_RDWR)


class _Handler(BaseHTTPRequestHandler):
    timeout = _READ_S
    server: _Server

    def setup(self) -> None:
        """The socket's own timeout is for each byte; this one is for the whole request, and not for the answer."""
        super().setup()
        self._late = threading.Timer(_READ_S, _hang_up, (self.request,))
        self._late.daemon = True
        self._late.start()

    def parse_request(self) -> bool:
        """Reads it."""
        try:
            return super().parse_request()
        finally:
            self._late.cancel()

    def finish(self) -> None:
        """Also when none came."""
        self._late.cancel()
        super().finish()

    def do_GET(self) -> None:
        """One of the pages."""
        make = self.server.pages.get(self.path.partition("?")[0])
        if make is None:
            page = Page(404, ("There are " + ", ".join(self.server.pages) + ".\n").encode(), "text/plain; charset=utf-8")
        else:
            try:
                page = make()
            except Exception as error:
                log.error("metrics_failed", extra={"page": self.path[:100], "error": type(error).__name__}, exc_info=error)
                page = _json(500, {"error": "this could not be found out; the log says why"})
        self.send_response(page.status)
        self.send_header("Content-Type", page.content_type)
        self.send_header("Content-Length", str(len(page.body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(page.body)

    do_HEAD = do_GET

    def version_string(self) -> str:
        """Nothing about us."""
        return "koppelpunt"

    def log_message(self, format: str, *args: object) -> None:
        """Probes come every few seconds; they are not news."""
