"""Does an endpoint that hangs slow the others?

    python benchmarks/push.py [--messages 3000] [--waiting 5000] [--others 50] [--rounds 3] [--json]

Messages wait in the store for as many endpoints as `--others`; then relay and push start, and the time until the last of them is
acknowledged is taken. Once alone, and once with `--waiting` messages for one more endpoint, which takes each call and never answers
(time-out 30 s). The endpoints are sandbox partners in another process: they verify each message, and sign each answer.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from adapters import pki  # noqa: E402 - runs from any folder
from adapters.backbone import Backbone  # noqa: E402
from adapters.crls import CrlFetcher, FollowingVerifier  # noqa: E402
from adapters.home import make_private_home  # noqa: E402
from adapters.parties.behaviour import Behaviour  # noqa: E402
from adapters.parties.sandbox import Sandbox  # noqa: E402
from adapters.store import Store  # noqa: E402
from adapters.vault import Vault, read_master_key  # noqa: E402
from benchmarks import end_to_end as e2e  # noqa: E402
from broker_config.settings import Settings  # noqa: E402
from run import contracts_of, open_store_of  # noqa: E402
from schemas.oin import Oin  # noqa: E402
from tests.support.broker import free_port  # noqa: E402
from workers.clock import Clock  # noqa: E402
from workers.desk import Desk, Hints, step_judge  # noqa: E402
from workers.register_cache import RegisterCache  # noqa: E402
from workers.supervisor import Supervisor  # noqa: E402

SYSTEM = Oin("00000003900000440000")


def receivers(count: int) -> list[Oin]:
    """One organisation for each endpoint; the last one hangs."""
    return [Oin(f"00000003900001{number:06}") for number in range(count + 1)]


def register(parties: Sequence[Oin], ports: Sequence[int]) -> dict[str, Any]:
    """The bench's register, and an endpoint at a port of its own for each of these."""
    document = e2e.register()
    document["organisations"] += [{"oin": oin, "name": f"Ontvanger {oin}", "kind": "central"} for oin in parties]
    document["systems"].append({"oin": SYSTEM, "name": "Ontvangers", "supplier": "O", "channels": ["https"]})
    document["mandates"] = [{"organisation": oin, "dienst": "bench", "system": SYSTEM} for oin in parties]
    document["endpoints"] += [
        {"organisation": oin, "dienst": "bench", "versie": "1", "system": SYSTEM, "url": f"https://localhost:{port}/wus"}
        for oin, port in zip(parties, ports, strict=True)
    ]
    return document


async def serve(home: Path, parties: Sequence[Oin], ports: Sequence[int]) -> None:
    """The receivers, until SIGTERM."""
    files = pki.Party(key=home / "pki" / "ontvangers.key", certificate=home / "pki" / "ontvangers.crt")
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    async with AsyncExitStack() as stack:
        for oin, port in zip(parties, ports, strict=True):
            one = Sandbox(oin, cert=files.certificate, key=files.key, trust=home / "pki" / "ca.pem", port=port)
            await stack.enter_async_context(one)
        one.behaviour = Behaviour("hang")
        print("ready", flush=True)
        await stop.wait()


async def measure(home: Path, messages: int, waiting: int, others: int, rounds: int) -> dict[str, Any]:
    """Rates without and with the one that hangs, in turn."""
    parties, ports = receivers(others), [free_port() for _ in range(others + 1)]
    given = {"KOPPELPUNT_DIENSTEN": str(e2e.DIENSTEN), "KOPPELPUNT_LOG_LEVEL": "ERROR", "KOPPELPUNT_PUSH_NETWORKS": "127.0.0.0/8,::1/128"}
    settings = make_private_home(Settings.from_environment(given, home=home), environment=given)
    store = open_store_of(settings)
    store.registry.save_register(register(parties, ports), who="bench", now_us=Clock().now_us())
    senders = e2e.Parties(home)
    pki.issue(home / "pki", oin=SYSTEM, name="ontvangers")
    await CrlFetcher.of(settings, store.registry).fetch_due()
    private = {name: value for name, value in os.environ.items() if not name.startswith("KOPPELPUNT_") and name != "AMQP_URL"}
    environment = {**private, **given, "KOPPELPUNT_HOME": str(home)}
    command = [sys.executable, __file__, "--serve", str(home), "--ports", ",".join(map(str, ports))]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as serving:
        try:
            assert serving.stdout is not None
            await asyncio.to_thread(serving.stdout.readline)
            async with Backbone(settings, port=0):

                async def rate(hanging: int) -> int:
                    for number, oin in enumerate(parties[:-1]):
                        share = messages // others + (number < messages % others)
                        await asyncio.to_thread(hand_in, senders, settings, store, oin, share)
                    if hanging:
                        await asyncio.to_thread(hand_in, senders, settings, store, parties[-1], hanging)
                    async with running(environment, home, "relay", "route"):
                        await until(lambda: not store.queries.counts()["messages"].get("received"))
                    before = done(store)
                    async with running(environment, home, "relay", "push"):
                        await until(lambda: done(store) > before)  # how long workers take to start is not asked here
                        begun, started = done(store), time.perf_counter()
                        await until(lambda: done(store) >= before + messages)
                        return round((before + messages - begun) / (time.perf_counter() - started))

                alone = [await rate(0) for _ in range(rounds)]
                beside = [await rate(0 if turn else waiting) for turn in range(rounds)]  # they wait there still
                counts = store.queries.counts()["deliveries"]
        finally:
            serving.terminate()
    store.close()
    return {
        "per_s_alone": statistics.median(alone),
        "per_s_beside_one_that_hangs": statistics.median(beside),
        "ratio": round(statistics.median(beside) / statistics.median(alone), 2),
        "rates_alone": alone,
        "rates_beside": beside,
        "deliveries": counts,
    }


def hand_in(senders: e2e.Parties, settings: Settings, store: Store, receiver: Oin, count: int) -> None:
    """Stores so many messages for this receiver, as intake does."""
    contracts, vault = contracts_of(settings), Vault(read_master_key(settings.master_key))
    verifier = FollowingVerifier.for_amqp(settings, store.registry)
    desk = Desk(verifier=verifier, contracts=contracts, vault=vault, own_oins=settings.own_oins, clock=Clock())
    current, judge_step = RegisterCache(store.register)(), step_judge(contracts)
    for start in range(0, count, 200):
        batch = senders.signed(min(200, count - start), 5, receiver)
        items = [desk.judge(one.body, system=Oin(one.routing_key), register=current, via="amqp", hints=Hints()) for one in batch]
        results = store.hand_ins.accept(items, actor="bench", judge_step=judge_step)
        if refused := next((one for one in results if not one.accepted), None):
            raise SystemExit(f"a message for the benchmark was refused: {refused.code} {refused.reason}")


def done(store: Store) -> int:
    """Deliveries that were acknowledged."""
    return int(store.queries.counts()["deliveries"].get("acknowledged", 0))


@asynccontextmanager
async def running(environment: dict[str, str], home: Path, *workers: str) -> AsyncIterator[None]:
    """These workers as processes."""
    supervisor = Supervisor(ROOT / "run.py", workers, environment, home / "workers.log")
    await supervisor.start()
    try:
        yield
    finally:
        await supervisor.stop()


async def until(holds: Callable[[], bool]) -> None:
    """Looks twenty times a second."""
    while not holds():
        await asyncio.sleep(0.05)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--messages", type=int, default=3_000)
    parser.add_argument("--waiting", type=int, default=5_000)
    parser.add_argument("--others", type=int, default=50)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--serve", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--ports", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        ports = [int(port) for port in options.ports.split(",")]
        asyncio.run(serve(options.serve, receivers(len(ports) - 1), ports))
        return
    home = Path(tempfile.mkdtemp(prefix="koppelpunt-push-"))
    home.chmod(0o755)
    try:
        result = asyncio.run(measure(home, options.messages, options.waiting, options.others, options.rounds))
    finally:
        shutil.rmtree(home, ignore_errors=True)
    print(json.dumps(result) if options.json else "\n".join(f"{name}: {value}" for name, value in result.items()))


if __name__ == "__main__":
    main()
