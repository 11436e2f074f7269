"""How many endpoints one gateway process looks up in a second through the register's API, over mutual TLS."""

from __future__ import annotations

import asyncio
import json
import random
import ssl
import tempfile
import time
from pathlib import Path
from urllib.parse import quote

from adapters import pki
from adapters.osr_shapes import BASE
from adapters.pki import Party
from schemas.oin import Oin
from tests.support.gateways import Gateways

STRANGER = Oin("00000003999999990000")

#: Connections, and questions under way, of the one certificate that asks.
CONNECTIONS = 8
#: Schools that are asked about. A process keeps some thousands in memory: of a whole national register at random, about half must be read
#: from the store first, at a third of the rate.
SCHOOLS = 1_000


class _Client:
    """One connection that is kept; as little Python as a client can be, so that the gateway is what is measured."""

    def __init__(self, port: int, context: ssl.SSLContext) -> None:
        self._port, self._context = port, context

    async def open(self) -> _Client:
        self._reader, self._writer = await asyncio.open_connection("localhost", self._port, ssl=self._context)
        return self

    async def get(self, path: str) -> tuple[int, bytes]:
        """Status and body."""
        self._writer.write(f"GET {BASE}{path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        head = (await self._reader.readuntil(b"\r\n\r\n")).lower()
        size = int(head.partition(b"content-length:")[2].partition(b"\r\n")[0])
        return int(head[9:12]), await self._reader.readexactly(size)


def api_reads_per_s(port: int, party: Party, seconds: float, *, trust: Path | None = None) -> float:
    """Endpoints of a thousand schools and all diensten at random, looked up one after another on a few connections; the first time each
    school is read from the store. The gateway's KOPPELPUNT_REGISTER_READS
    must be high enough. `trust`: the CA; not given: `ca.pem` beside the party's files. Raises AssertionError for an answer that is none."""
    return asyncio.run(_measure(port, party, seconds, trust or party.certificate.parent / "ca.pem"))


def of_a_store(url: str, seconds: float = 10.0) -> float:
    """The same of one gateway process with the register of this store, by a party that is not in it."""
    home = Path(tempfile.mkdtemp(prefix="koppelpunt-api-"))
    settings = {"KOPPELPUNT_STORE": url, "KOPPELPUNT_REGISTER_READS": "1000000", "KOPPELPUNT_LOG_LEVEL": "WARNING"}
    with Gateways(home, settings=settings, document=None) as gateways:
        return api_reads_per_s(
            gateways.port, pki.issue(gateways.folder, oin=STRANGER, name="stranger"), seconds, trust=gateways.folder / "ca.pem"
        )


async def _measure(port: int, party: Party, seconds: float, trust: Path) -> float:
    context = ssl.create_default_context(cafile=trust)
    context.load_cert_chain(party.certificate, party.key)
    clients = [await _Client(port, context).open() for _ in range(CONNECTIONS)]
    schools: list[str] = []
    after = "0" * 20
    while page := json.loads((await clients[0].get(f"/schools?after={after}"))[1]):
        schools += [row["oin"] for row in page]
        after = schools[-1]
    versions = [quote(row["namespace"], safe="") for row in json.loads((await clients[0].get("/service-versions"))[1])]
    done = 0
    draw = random.Random(2026)
    started = time.perf_counter()

    async def ask(client: _Client) -> None:
        nonlocal done
        while time.perf_counter() - started < seconds:
            status, _ = await client.get(
                f"/endpoints?school_oin={draw.choice(schools[:SCHOOLS])}&service_version_namespace={draw.choice(versions)}"
            )
            assert status == 200, status
            done += 1

    await asyncio.gather(*(ask(client) for client in clients))
    return done / (time.perf_counter() - started)
