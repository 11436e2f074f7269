"""What others do to a sender at one gateway process: idle and slow connections, a flood, documents made to take long.

    python benchmarks/gateway_load.py [--repeat 3] [--seconds 8] [--json]

Each round measures, one after the other: full rate and p99 at half of it, alone and beside 200 idle and 200 slow connections; then a sender
at a steady 50 a second, alone, beside one that floods on 64 connections, and beside one that hands in documents that take long. Those who
disturb run in processes of their own and are nicer: they stand for other machines. Quote the ratios, not the times. RSA-2048, five pupils
a message.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import gzip
import itertools
import json
import multiprocessing
import os
import random
import shutil
import ssl
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import contextmanager, suppress
from datetime import timedelta
from multiprocessing.synchronize import Event
from pathlib import Path
from typing import Any

import aiohttp

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from adapters import pki, soap  # noqa: E402 - runs from any folder
from adapters.backbone import Backbone  # noqa: E402
from adapters.home import make_private_home  # noqa: E402
from adapters.signing import BodyPart, Signer  # noqa: E402
from benchmarks import end_to_end as e2e  # noqa: E402
from broker_config.settings import Settings  # noqa: E402
from run import open_store_of  # noqa: E402
from schemas.ids import new_id  # noqa: E402
from schemas.oin import Oin  # noqa: E402
from tests.support.broker import free_port  # noqa: E402
from workers.clock import Clock  # noqa: E402
from workers.supervisor import Supervisor  # noqa: E402

STEADY, *OTHERS, FLOOD = e2e.SENDERS
#: Those who only keep connections open; of one certificate the gateway keeps 128.
GUESTS = tuple(Oin(f"0000000390000043000{number}") for number in range(4))
IDLE, SLOW, FLOOD_CONNECTIONS, STEADY_PER_S, AT_ONCE = 200, 200, 64, 50, 32
#: Seconds in which those slow ones come; the gateway sends each away after so many, and it comes again.
SPREAD_S = 20.0
PATH = "/wus/bench/1"
HEADERS = {"Content-Type": "text/xml; charset=utf-8", "SOAPAction": f'"{e2e.NAMESPACE}/melding"'}


class Party:
    """A sender: its key, its TLS, its messages."""

    def __init__(self, folder: Path, oin: Oin, port: int) -> None:
        files = pki.Party(key=folder / f"zender-{oin}.key", certificate=folder / f"zender-{oin}.crt")
        self.oin, self.port = oin, port
        self.tls = ssl.create_default_context(cafile=folder / "ca.pem")
        self.tls.load_cert_chain(files.certificate, files.key)
        self._signer = Signer(pki.read_key(files.key), pki.read_certificate(files.certificate), lifetime=timedelta(hours=2))

    def message(self, change: Callable[[bytes], bytes] = bytes, pupils: int = 5) -> bytes:
        """A signed message; `change` is made to its content first."""
        return self._signer.envelope(
            BodyPart.around(change(e2e.content(self.oin, e2e.RECEIVER, pupils))),
            to=soap.address(e2e.RECEIVER, "https://koppelpunt.example/bench"),
            sender=soap.address(self.oin),
            action=f"{e2e.NAMESPACE}/melding",
            message_id=f"urn:uuid:{new_id()}",
        )

    def session(self, connections: int) -> aiohttp.ClientSession:
        """Connections that are kept, also while others are made."""
        connector = aiohttp.TCPConnector(ssl=self.tls, limit=connections, keepalive_timeout=70)
        return aiohttp.ClientSession(f"https://localhost:{self.port}", connector=connector)


# -- those who disturb ----------------------------------------------------------------------------------------------------------------


def guests(folder: Path, port: int, ready: Event, stop: Event) -> None:
    """200 connections that asked something once, and 200 on which a byte a second comes: half of them in a header, half in a body."""

    async def act() -> None:
        parties = [Party(folder, oin, port) for oin in GUESTS]
        dripping = [asyncio.create_task(drip(parties[number % len(parties)], number)) for number in range(SLOW)]
        idle = [await ask_once(parties[number % len(parties)]) for number in range(IDLE)]
        await asyncio.sleep(SPREAD_S)  # all are there
        ready.set()
        while not stop.is_set():
            await asyncio.sleep(0.1)
        for task in dripping:
            task.cancel()
        print(f"  of {IDLE} idle connections {sum(1 for reader, _ in idle if not reader.at_eof())} are open", file=sys.stderr)

    async def ask_once(party: Party) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        reader, writer = await asyncio.open_connection("localhost", port, ssl=party.tls)
        writer.write(f"POST {PATH} HTTP/1.1\r\nHost: localhost\r\nContent-Type: text/xml\r\nContent-Length: 1\r\n\r\nx".encode())
        await reader.readuntil(b"</soapenv:Envelope>")
        return reader, writer

    async def drip(party: Party, number: int) -> None:
        head = f"POST {PATH} HTTP/1.1\r\nHost: localhost\r\nContent-Type: text/xml\r\nContent-Length: 999"
        await asyncio.sleep(random.random() * SPREAD_S)  # they do not know each other, so they do not act as one
        while True:
            with suppress(OSError):
                _, writer = await asyncio.open_connection("localhost", port, ssl=party.tls)
                writer.write(f"{head}{'' if number % 2 else chr(13) + chr(10) + chr(13) + chr(10)}".encode())
                for _ in range(60):
                    writer.write(b"9")
                    await writer.drain()
                    await asyncio.sleep(1.0)

    _nicely(act())


def flood(folder: Path, port: int, ready: Event, stop: Event) -> None:
    """One sender, as fast as it can, whatever it is told."""
    party = Party(folder, FLOOD, port)
    bodies = itertools.cycle([party.message() for _ in range(4_000)])
    _nicely(_hammer(party, bodies, FLOOD_CONNECTIONS, {}, ready, stop))


def bombs(folder: Path, port: int, ready: Event, stop: Event) -> None:
    """One sender of documents that take as long to judge as it can make them, in all ways at once."""
    party = Party(folder, FLOOD, port)
    made = [
        b"<a>" + b"<b/>" * 280_000 + b"</a>",
        party.message(lambda content: content.replace(b"</melding>", b"<b/>" * 280_000 + b"</melding>")),
        party.message(lambda content: content.replace(b"<postcode>2712PB", b"<postcode>XX"), pupils=8_000),
        party.message(lambda content: content.replace(b"<postcode>2712PB", b"<postcode>XX"), pupils=200),
        party.message(pupils=8_000),
    ]
    bodies = itertools.cycle([gzip.compress(one, 1) for one in made])
    _nicely(_hammer(party, bodies, FLOOD_CONNECTIONS, {"Content-Encoding": "gzip"}, ready, stop))


async def _hammer(party: Party, bodies: Any, connections: int, more: dict[str, str], ready: Event, stop: Event) -> None:
    answers: dict[int, int] = {}

    async def one(session: aiohttp.ClientSession) -> None:
        while not stop.is_set():
            with suppress(aiohttp.ClientError):
                async with session.post(PATH, data=next(bodies), headers=HEADERS | more) as answer:
                    await answer.read()
                    answers[answer.status] = answers.get(answer.status, 0) + 1

    async with party.session(connections) as session:
        tasks = [asyncio.create_task(one(session)) for _ in range(connections)]
        await asyncio.sleep(1.5)  # the second process of the gateway is there
        answers.clear()
        start = time.perf_counter()
        ready.set()
        await asyncio.gather(*tasks)
    print(f"  answers a second: { {status: round(n / (time.perf_counter() - start)) for status, n in answers.items()} }", file=sys.stderr)


def _nicely(work: Any) -> None:
    os.nice(10)
    asyncio.run(work)


@contextmanager
def beside(who: Callable[[Path, int, Event, Event], None] | None, folder: Path, port: int) -> Any:
    """While somebody disturbs."""
    if who is None:
        yield
        return
    spawn = multiprocessing.get_context("spawn")
    ready, stop = spawn.Event(), spawn.Event()
    process = spawn.Process(target=who, args=(folder, port, ready, stop))
    process.start()
    try:
        if not ready.wait(90):
            raise RuntimeError(f"{who.__name__} did not come to it")
        yield
    finally:
        stop.set()
        process.join(60)


# -- those who measure ----------------------------------------------------------------------------------------------------------------


async def paced(sessions: dict[Oin, aiohttp.ClientSession], messages: Sequence[tuple[Oin, bytes]], per_s: float) -> list[float]:
    """How long each message took, from the moment at which it was due, in milliseconds."""
    took: list[float] = []
    gc.collect()
    gc.disable()  # the client's own pauses are not the gateway's

    async def send(oin: Oin, body: bytes, due: float) -> None:
        while True:
            async with sessions[oin].post(PATH, data=body, headers=HEADERS) as answer:
                said = await answer.text()
                if answer.status == 200:
                    break
            assert "DK0051" in said, said
            await asyncio.sleep(float(answer.headers["Retry-After"]))  # as it was told to
        took.append((time.perf_counter() - due) * 1e3)

    start, waits = time.perf_counter() + 0.1, []
    for number, (oin, body) in enumerate(messages):
        due = start + number / per_s
        await asyncio.sleep(max(0.0, due - time.perf_counter()))
        waits.append(asyncio.create_task(send(oin, body, due)))
    await asyncio.gather(*waits)
    gc.enable()
    return took


async def full_speed(sessions: dict[Oin, aiohttp.ClientSession], messages: Sequence[tuple[Oin, bytes]]) -> float:
    """Messages a second that one gateway takes from 32 at once."""
    left = iter(messages)

    async def one() -> None:
        for oin, body in left:
            async with sessions[oin].post(PATH, data=body, headers=HEADERS) as answer:
                assert answer.status == 200, await answer.text()
                await answer.read()

    start = time.perf_counter()
    await asyncio.gather(*(one() for _ in range(AT_ONCE)))
    return len(messages) / (time.perf_counter() - start)


def p99(took: Sequence[float]) -> float:
    """The 99th percentile."""
    return sorted(took)[int(len(took) * 0.99)]


async def one_round(home: Path, port: int, seconds: float, only: str | None = None) -> dict[str, float]:
    """Every figure once, or those of one part."""
    folder = home / "pki"
    parties = {oin: Party(folder, oin, port) for oin in e2e.SENDERS}
    sessions = {oin: party.session(AT_ONCE if oin == STEADY else AT_ONCE // 8) for oin, party in parties.items()}
    result: dict[str, float] = {}

    def signed(count: int, *senders: Oin) -> list[tuple[Oin, bytes]]:
        return [(oin, parties[oin].message()) for oin, _ in zip(itertools.cycle(senders), range(count), strict=False)]

    try:
        rate = 0.0
        await full_speed(sessions, signed(400, *e2e.SENDERS))
        for name, who in (("alone", None), ("beside_idle_and_slow", guests)) if only != "flood" else ():
            batch = signed(int(400 * seconds), *e2e.SENDERS)
            with beside(who, folder, port):
                result[f"per_s_{name}"] = await full_speed(sessions, batch)
            rate = rate or result[f"per_s_{name}"]
            batch = signed(int(rate / 2 * seconds), *e2e.SENDERS)
            with beside(who, folder, port):
                took = await paced(sessions, batch, rate / 2)
            result[f"p50_ms_at_half_{name}"], result[f"p99_ms_at_half_{name}"] = statistics.median(took), p99(took)
        disturbers = (("alone", None), ("beside_flood", flood), ("beside_bombs", bombs), ("alone_again", None))
        for name, who in disturbers if only != "guests" else ():
            batch = signed(int(STEADY_PER_S * seconds), STEADY)
            with beside(who, folder, port):
                took = await paced(sessions, batch, STEADY_PER_S)
            result[f"steady_p50_ms_{name}"], result[f"steady_p99_ms_{name}"] = statistics.median(took), p99(took)
    finally:
        for session in sessions.values():
            await session.close()
    return result


async def measure(home: Path, repeat: int, seconds: float, only: str | None = None) -> dict[str, Any]:
    """All rounds at one gateway process, and the ratios of their medians."""
    port = free_port()
    given = {"KOPPELPUNT_DIENSTEN": str(e2e.DIENSTEN), "KOPPELPUNT_LOG_LEVEL": "ERROR", "KOPPELPUNT_GATEWAY_PORT": str(port)}
    settings = make_private_home(Settings.from_environment(given, home=home), environment=given)
    document = e2e.register()
    document["systems"] += [{"oin": oin, "name": oin, "supplier": oin} for oin in GUESTS]
    for system in document["systems"]:
        system["channels"] = ["amqp", "https"]
    store = open_store_of(settings)
    store.registry.save_register(document, who="bench", now_us=Clock().now_us())
    store.close()
    for oin in (*e2e.SENDERS, *GUESTS):
        pki.issue(home / "pki", oin=oin, name=f"zender-{oin}")
    async with Backbone(settings, port=0) as backbone:
        assert backbone.node is not None
        floor = await asyncio.to_thread(e2e._floor, backbone.node.admin_url, 5)
        private = {name: value for name, value in os.environ.items() if not name.startswith("KOPPELPUNT_") and name != "AMQP_URL"}
        environment = {**private, **given, "KOPPELPUNT_HOME": str(home)}
        supervisor = Supervisor(ROOT / "run.py", ["gateway", "timetable"], environment, home / "workers.log")
        await supervisor.start()
        try:
            await _until_it_listens(port)
            rounds = [await one_round(home, port, seconds, only) for _ in range(repeat)]
            rss = {name: e2e._rss_mb(pid) for name, pid in supervisor.pids.items()}
        finally:
            await supervisor.stop()
    middle = {name: round(statistics.median(one[name] for one in rounds), 1) for name in rounds[0]}

    ratios: dict[str, Any] = {}
    for name, above, below in (
        ("rate beside idle and slow, to alone (0.9 or more)", "per_s_beside_idle_and_slow", "per_s_alone"),
        ("p99 at half beside idle and slow, to alone (1.1 or less)", "p99_ms_at_half_beside_idle_and_slow", "p99_ms_at_half_alone"),
        ("p50 at half beside idle and slow, to alone", "p50_ms_at_half_beside_idle_and_slow", "p50_ms_at_half_alone"),
        ("steady p99 beside a flood, to alone (1.5 or less)", "steady_p99_ms_beside_flood", "steady_p99_ms_alone"),
        ("steady p99 beside bombs, to alone", "steady_p99_ms_beside_bombs", "steady_p99_ms_alone"),
        ("steady p99 alone again, to alone (noise)", "steady_p99_ms_alone_again", "steady_p99_ms_alone"),
    ):
        if above in rounds[0]:
            each = [round(one[above] / one[below], 2) for one in rounds]
            ratios[name] = {"median": round(statistics.median(each), 2), "each": each}
    if floor and "per_s_alone" in middle:
        bare = floor["bare_1_worker_per_s"]
        ratios["rate to bare_1_worker (0.2 or more)"] = {
            "median": round(middle["per_s_alone"] / bare, 3),
            "each": [round(one["per_s_alone"] / bare, 3) for one in rounds],
        }
    return {"ratios": ratios, "figures": middle, "bare_1_worker_per_s": floor and floor["bare_1_worker_per_s"], "rss_mb": rss}


async def _until_it_listens(port: int) -> None:
    end = time.monotonic() + 30
    while True:
        try:
            _, writer = await asyncio.open_connection("localhost", port)
            writer.close()
        except OSError:
            if time.monotonic() > end:
                raise
            await asyncio.sleep(0.1)
        else:
            return


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=8.0, help="of each measurement, about")
    parser.add_argument("--only", choices=("guests", "flood"), help="idle and slow connections, or a flood and documents that take long")
    parser.add_argument("--json", action="store_true", help="without the table")
    options = parser.parse_args()
    home = Path(tempfile.mkdtemp(prefix="koppelpunt-bench-"))
    home.chmod(0o755)
    try:
        result = asyncio.run(measure(home, options.repeat, options.seconds, options.only))
    finally:
        shutil.rmtree(home, ignore_errors=True)
    if not options.json:
        for name, value in result["ratios"].items():
            print(f"{name:<60} {value['median']:>7}   {value['each']}")
        for name, value in result["figures"].items():
            print(f"{name:<60} {value:>7}")
    print(json.dumps(result))


if __name__ == "__main__":
    main()
