"""Gateway processes on one port, with a store and a PKI of their own and without a broker: a gateway needs none."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import aiohttp
from cryptography import x509

import run as program
from adapters import pki, soap
from adapters.crls import CrlFetcher
from adapters.home import make_private_home
from adapters.parties import invented
from adapters.signing import BodyPart, Signer
from adapters.trust import TrustStore
from adapters.verify_policy import VerifyPolicy
from adapters.wsse import Verifier
from broker_config.settings import Settings
from schemas.envelope import Envelope
from tests.support.broker import free_port
from tests.support.exchange import DOCUMENT, HUB, LAS, MBO, PROEF, SCHOOL


class Sender:
    """A school's LAS, and how its software connects."""

    def __init__(self, folder: Path, party: pki.Party) -> None:
        """`folder`: the PKI."""
        self.folder, self.party = folder, party

    def message(self, party: pki.Party | None = None, *, message_id: str | None = None) -> bytes:
        """A good message of the school, signed by its LAS."""
        party = party or self.party
        content = invented.proef(business_id=str(uuid.uuid4()), sender=SCHOOL, receiver=MBO, created=datetime.now(UTC))
        return Signer(pki.read_key(party.key), pki.read_certificate(party.certificate)).envelope(
            BodyPart.around(content),
            to=soap.address(MBO),
            sender=soap.address(SCHOOL),
            action=PROEF,
            message_id=message_id or f"urn:uuid:{uuid.uuid4()}",
        )

    def session(self, port: int, party: pki.Party | None = None) -> aiohttp.ClientSession:
        """Connections, inside a running loop."""
        connector = aiohttp.TCPConnector(ssl=self.context(party))
        headers = {"Content-Type": "text/xml; charset=utf-8", "SOAPAction": f'"{PROEF}"'}
        return aiohttp.ClientSession(f"https://localhost:{port}", connector=connector, headers=headers)

    def context(self, party: pki.Party | None = None) -> ssl.SSLContext:
        """TLS as a supplier's software sets it up."""
        party = party or self.party
        context = ssl.create_default_context(cafile=self.folder / "ca.pem")
        context.load_cert_chain(party.certificate, party.key)
        return context

    async def post(self, session: aiohttp.ClientSession, body: bytes) -> tuple[int, bytes]:
        """One hand-in."""
        async with session.post("/wus/proef/1", data=body) as answer:
            return answer.status, await answer.read()


class Gateways:
    """Use as `with`. `folder`: the PKI, made by whoever needs a special one."""

    def __init__(
        self,
        home: Path,
        *,
        count: int = 1,
        settings: Mapping[str, str] | None = None,
        document: Mapping[str, Any] | None = DOCUMENT,
        **pki_options: Any,
    ) -> None:
        """`settings`: more than the usual ones. `document`: the service register; None: as it is in the store."""
        self.home, self.folder = home, home / "own-pki"
        if not self.folder.exists():
            pki.init(self.folder, **pki_options)
        size = pki_options.get("key_size", 2048)
        self.ours = pki.issue(self.folder, oin=HUB, name="hub", key_size=size)
        self.las = pki.issue(self.folder, oin=LAS, name="las", key_size=size)
        self.sender = Sender(self.folder, self.las)
        self.port, self.first_metrics_port = free_port(), free_port()
        self.environment = {
            "KOPPELPUNT_HOME": str(home),
            "KOPPELPUNT_OIN": HUB,
            "KOPPELPUNT_KEY": str(self.ours.key),
            "KOPPELPUNT_CERT": str(self.ours.certificate),
            "KOPPELPUNT_TRUST": str(self.folder / "ca.pem"),
            "KOPPELPUNT_CRL": str(self.folder / "crl.pem"),
            "KOPPELPUNT_GATEWAY_PORT": str(self.port),
            "KOPPELPUNT_METRICS_PORT": str(self.first_metrics_port),
            "AMQP_URL": "amqp://nobody:x@127.0.0.1:1/none",
            **(settings or {}),
        }
        self.settings = make_private_home(Settings.from_environment(self.environment), environment=self.environment)
        self.store = program.open_store_of(self.settings)
        if document is not None:
            self.store.registry.save_register(document, who="test", now_us=int(time.time() * 1e6))
        self.fetch_crls()
        self._count = count
        self.processes: list[subprocess.Popen[bytes]] = []
        self._log = home / "gateways.log"

    def __enter__(self) -> Gateways:
        for _ in range(self._count):
            self.start()
        wait(lambda: len(self.addresses()) == self._count)
        wait(lambda: all(get(address, "/readyz")[0] == 200 for address in self.addresses()))
        return self

    def __exit__(self, *_: object) -> None:
        for process in self.processes:
            process.send_signal(signal.SIGCONT)
            process.terminate()
        for process in self.processes:
            process.wait(30)
        self.store.close()
        shutil.rmtree(self.home, ignore_errors=True)

    def start(self) -> subprocess.Popen[bytes]:
        """One more process."""
        self.processes.append(self._launch("gateway"))
        return self.processes[-1]

    @contextmanager
    def beside(self, worker: str) -> Iterator[subprocess.Popen[bytes]]:
        """Another worker, for a while."""
        process = self._launch(worker)
        try:
            yield process
        finally:
            process.terminate()
            process.wait(30)

    def _launch(self, worker: str) -> subprocess.Popen[bytes]:
        with self._log.open("ab") as log:
            command = [sys.executable, str(program.ROOT / "run.py"), "work", worker]
            return subprocess.Popen(command, env=self.shell(), stdout=log, stderr=log)

    def shell(self) -> dict[str, str]:
        """Of a process, or of an operator's shell."""
        others = {name: value for name, value in os.environ.items() if not name.startswith("KOPPELPUNT_") and name != "AMQP_URL"}
        return others | self.environment

    def fetch_crls(self) -> None:
        """As the timetable does."""
        asyncio.run(CrlFetcher.of(self.settings, self.store.registry).fetch_all())

    def addresses(self) -> list[str]:
        """Where the processes that run show their health."""
        running = {process.pid for process in self.processes if process.poll() is None}
        return [row["metrics"] for row in self.store.registry.workers() if row["pid"] in running and row["metrics"]]

    def log(self) -> str:
        """What the processes said."""
        return self._log.read_text()

    def ask(self, body: bytes, party: pki.Party | None = None) -> tuple[int, bytes]:
        """One hand-in on a connection of its own."""

        async def act() -> tuple[int, bytes]:
            async with self.sender.session(self.port, party) as session:
                return await self.sender.post(session, body)

        return asyncio.run(act())

    def answer(self, body: bytes, *, trust: Path | None = None) -> Envelope:
        """An answer, verified."""
        return Verifier(TrustStore.from_files([trust or self.folder / "ca.pem"]), VerifyPolicy()).verify(body, at=datetime.now(UTC))

    def shown(self) -> x509.Certificate:
        """The certificate with which a new connection is answered."""
        with (
            socket.create_connection(("localhost", self.port), timeout=10) as plain,
            self.sender.context().wrap_socket(plain, server_hostname="localhost") as connection,
        ):
            return x509.load_der_x509_certificate(connection.getpeercert(binary_form=True) or b"")


def get(address: str, page: str) -> tuple[int, Any]:
    """A page of health and metrics; JSON read."""
    try:
        with urllib.request.urlopen(f"http://{address}{page}", timeout=20) as answer:
            status, body = answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        status, body = error.code, error.read().decode()
    return status, json.loads(body) if body.startswith(("{", "[")) else body


def wait(condition: Callable[[], bool], within_s: float = 30.0) -> None:
    """Until it is so. Fails when that takes too long."""
    until = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < until, "it did not come so far"
        time.sleep(0.05)
