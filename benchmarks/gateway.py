"""How many messages a second one gateway process takes over mutual TLS, from request to signed receipt, client included.

    python benchmarks/gateway.py [--messages 8000] [--at-once 32] [--json]

Messages are signed beforehand; the client keeps its connections and does not verify the receipts. Beside it run the timetable,
which looks after the store's log, and the broker (idle), on which the floor program runs first. RSA-2048, five pupils a message.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import os
import shutil
import ssl
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import aiohttp

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from adapters import pki  # noqa: E402 - runs from any folder
from adapters.backbone import Backbone  # noqa: E402
from adapters.home import make_private_home  # noqa: E402
from benchmarks import end_to_end as e2e  # noqa: E402
from broker_config.settings import Settings  # noqa: E402
from run import open_store_of  # noqa: E402
from tests.support.broker import free_port  # noqa: E402
from workers.clock import Clock  # noqa: E402
from workers.supervisor import Supervisor  # noqa: E402


async def measure(home: Path, messages: int, at_once: int, seconds: float) -> dict[str, Any]:
    """Full speed first, then half of that for some seconds."""
    port = free_port()
    given = {"KOPPELPUNT_DIENSTEN": str(e2e.DIENSTEN), "KOPPELPUNT_LOG_LEVEL": "ERROR", "KOPPELPUNT_GATEWAY_PORT": str(port)}
    settings = make_private_home(Settings.from_environment(given, home=home), environment=given)
    document = e2e.register()
    for system in document["systems"]:
        system["channels"] = ["amqp", "https"]
    store = open_store_of(settings)
    store.registry.save_register(document, who="bench", now_us=Clock().now_us())
    store.close()
    parties = e2e.Parties(home)
    async with Backbone(settings, port=0) as backbone:
        assert backbone.node is not None
        floor = await asyncio.to_thread(e2e._floor, backbone.node.admin_url, 5)
        private = {name: value for name, value in os.environ.items() if not name.startswith("KOPPELPUNT_") and name != "AMQP_URL"}
        supervisor = Supervisor(
            ROOT / "run.py", ["gateway", "timetable"], {**private, **given, "KOPPELPUNT_HOME": str(home)}, home / "workers.log"
        )
        await supervisor.start()
        sessions = {oin: _session(home, oin, at_once) for oin in e2e.SENDERS}
        url = f"https://localhost:{port}/wus/bench/1"
        headers = {"Content-Type": "text/xml; charset=utf-8", "SOAPAction": f'"{e2e.NAMESPACE}/melding"'}
        took: list[float] = []

        async def send(message: Any) -> None:
            start = time.perf_counter()
            async with sessions[message.routing_key].post(url, data=message.body, headers=headers) as answer:
                body = await answer.read()
                assert answer.status == 200, body
            took.append(time.perf_counter() - start)

        try:
            await _until_it_answers(sessions[e2e.SENDERS[0]], url)
            batch = await asyncio.to_thread(parties.signed, messages, 5)
            gate = asyncio.Semaphore(at_once)

            async def gated(message: Any) -> None:
                async with gate:
                    await send(message)

            await asyncio.gather(*(gated(message) for message in batch[: messages // 10]))
            start = time.perf_counter()
            await asyncio.gather(*(gated(message) for message in batch[messages // 10 :]))
            rate = (messages - messages // 10) / (time.perf_counter() - start)
            paced = await asyncio.to_thread(parties.signed, int(rate / 2 * seconds), 5)
            took.clear()
            gc.freeze()  # the client's own pauses are not the gateway's
            gc.disable()
            start, waits = time.perf_counter(), []
            for number, message in enumerate(paced):
                pause = start + number / (rate / 2) - time.perf_counter()
                if pause > 0:
                    await asyncio.sleep(pause)
                waits.append(asyncio.create_task(send(message)))
            await asyncio.gather(*waits)
            rss = {name: e2e._rss_mb(pid) for name, pid in supervisor.pids.items()}
        finally:
            for session in sessions.values():
                await session.close()
            await supervisor.stop()
    took.sort()
    return {
        "per_s": round(rate),
        "p50_ms": round(statistics.median(took) * 1e3, 1),
        "p99_ms": round(took[int(len(took) * 0.99)] * 1e3, 1),
        "to_bare_1_worker": round(rate / floor["bare_1_worker_per_s"], 3) if floor else None,
        "bare_1_worker_per_s": floor["bare_1_worker_per_s"] if floor else None,
        "rss_mb": rss,
    }


def _session(home: Path, oin: str, at_once: int) -> aiohttp.ClientSession:
    files = pki.Party(key=home / "pki" / f"zender-{oin}.key", certificate=home / "pki" / f"zender-{oin}.crt")
    context = ssl.create_default_context(cafile=home / "pki" / "ca.pem")
    context.load_cert_chain(files.certificate, files.key)
    return aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=context, limit=max(1, at_once // len(e2e.SENDERS))))


async def _until_it_answers(session: aiohttp.ClientSession, url: str) -> None:
    end = time.monotonic() + 30
    while True:
        try:
            async with session.get(f"{url}?wsdl") as answer:
                if answer.status == 200:
                    return
        except aiohttp.ClientError:
            if time.monotonic() > end:
                raise
        await asyncio.sleep(0.1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--messages", type=int, default=8_000)
    parser.add_argument("--at-once", type=int, default=32)
    parser.add_argument("--seconds", type=float, default=8.0)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    home = Path(tempfile.mkdtemp(prefix="koppelpunt-bench-"))
    home.chmod(0o755)
    try:
        result = asyncio.run(measure(home, options.messages, options.at_once, options.seconds))
    finally:
        shutil.rmtree(home, ignore_errors=True)
    print(json.dumps(result) if options.json else "\n".join(f"{name}: {value}" for name, value in result.items()))


if __name__ == "__main__":
    main()
