"""Does a backlog slow what still flows, or fill memory?

    python benchmarks/backlog.py [--waiting 100000] [--messages 4000] [--rounds 3] [--store URL | --postgres] [--json]

Messages for a receiver that does not empty its mailbox pile up in the store: a thousand stand in the mailbox, the others wait in their
lane. Before and after, the end-to-end rate of messages for another receiver is measured as `bench` measures it, in the same run, and the
largest memory that each worker took is read from the kernel.
"""

from __future__ import annotations

import argparse
import asyncio
import dataclasses
import hashlib
import os
import shutil
import statistics
import sys
import tempfile
import time
import uuid
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from adapters.backbone import Backbone  # noqa: E402 - runs from any folder
from adapters.crls import CrlFetcher, FollowingVerifier  # noqa: E402
from adapters.home import make_private_home  # noqa: E402
from adapters.store import Store  # noqa: E402
from adapters.vault import Vault, read_master_key  # noqa: E402
from benchmarks import end_to_end as e2e  # noqa: E402
from broker_config.settings import Settings  # noqa: E402
from routing.work import NewMessage  # noqa: E402
from run import EVERY_WORKER, contracts_of, open_store_of  # noqa: E402
from schemas.ids import new_id  # noqa: E402
from schemas.oin import Oin  # noqa: E402
from workers.clock import Clock  # noqa: E402
from workers.desk import Desk, Hints, step_judge  # noqa: E402
from workers.register_cache import RegisterCache  # noqa: E402
from workers.supervisor import Supervisor  # noqa: E402
from workers.tables import print_json, print_table  # noqa: E402

ASLEEP = Oin("00000003900000430000")


def register() -> dict[str, Any]:
    """The bench's register, and one more receiver."""
    document = e2e.register()
    document["organisations"].append({"oin": ASLEEP, "name": "Slaapt", "kind": "central"})
    document["systems"].append({"oin": ASLEEP, "name": "S", "supplier": "S", "channels": ["amqp"]})
    document["endpoints"].append({"organisation": ASLEEP, "dienst": "bench", "versie": "1", "system": ASLEEP, "mailbox": True})
    return document


def one_for(receiver: Oin, parties: e2e.Parties, settings: Settings, store: Store, vault: Vault) -> tuple[NewMessage, bytes]:
    """A hand-in for this receiver as the desk judges it, and its bytes."""
    asyncio.run(CrlFetcher.of(settings, store.registry).fetch_due())
    contracts, clock = contracts_of(settings), Clock()
    desk = Desk(
        verifier=FollowingVerifier.for_amqp(settings, store.registry),
        contracts=contracts,
        vault=vault,
        own_oins=settings.own_oins,
        clock=clock,
    )
    (handed_in,) = parties.signed(1, 5, receiver)
    raw, sender = handed_in.body, Oin(handed_in.routing_key)
    judged = desk.judge(raw, system=sender, register=RegisterCache(store.register)(), via="amqp", hints=Hints())
    if not isinstance(judged, NewMessage):
        raise SystemExit(f"the message for the backlog was refused: {judged.code} {judged.reason}")
    return judged, raw


def pile_up(store: Store, vault: Vault, model: NewMessage, raw: bytes, settings: Settings, count: int) -> None:
    """Stores `count` messages like this one, as intake does."""
    judge_step = step_judge(contracts_of(settings))
    for start in range(0, count, 500):
        items = []
        for _ in range(min(500, count - start)):
            reference, message_id = new_id(), f"urn:uuid:{uuid.uuid4()}"
            items.append(
                dataclasses.replace(
                    model,
                    reference=reference,
                    message_id=message_id,
                    business_id=str(uuid.uuid4()),
                    digest=hashlib.sha256(message_id.encode()).digest(),
                    received_us=Clock().now_us(),
                    sealed=vault.seal(reference, raw, b"{}"),
                )
            )
        store.hand_ins.accept(items, actor="backlog", judge_step=judge_step)


async def _run(home: Path, store_url: str | None, waiting: int, messages: int, rounds: int) -> dict[str, Any]:
    given = {"KOPPELPUNT_DIENSTEN": str(e2e.DIENSTEN), "KOPPELPUNT_LOG_LEVEL": "ERROR"} | (
        {"KOPPELPUNT_STORE": store_url} if store_url else {}
    )
    settings = make_private_home(Settings.from_environment(given, home=home), environment=given)
    store = open_store_of(settings)
    store.registry.save_register(register(), who="bench", now_us=Clock().now_us())
    parties = e2e.Parties(home)
    vault = Vault(read_master_key(settings.master_key))
    model, raw = await asyncio.to_thread(one_for, ASLEEP, parties, settings, store, vault)
    private = {name: value for name, value in os.environ.items() if not name.startswith("KOPPELPUNT_") and name != "AMQP_URL"}
    environment = {**private, **given, "KOPPELPUNT_HOME": str(home)}
    memory: dict[str, int] = {}
    async with Backbone(settings, port=0) as backbone:
        assert backbone.node is not None
        amqp = backbone.node.url

        async def rate() -> int:
            batch = await asyncio.to_thread(parties.signed, messages, 5)
            supervisor = Supervisor(ROOT / "run.py", EVERY_WORKER, environment, home / "workers.log")
            async with e2e.Mailbox(e2e.party_url(amqp, home, e2e.RECEIVER), e2e.RECEIVER) as mailbox, AsyncExitStack() as stack:
                await parties.connect(amqp, home, stack)
                await parties.publish(batch)
                await supervisor.start()
                try:
                    found = await e2e._rate(mailbox, messages)
                    for name, pid in supervisor.pids.items():
                        memory[name] = max(memory.get(name, 0), _peak_mb(pid))
                    if len(mailbox.arrived) < messages or sum(mailbox.arrived.values()) != len(mailbox.arrived):
                        raise SystemExit(f"{messages} sent, {sum(mailbox.arrived.values())} arrived, {len(mailbox.arrived)} different ones")
                finally:
                    await supervisor.stop()
            return found

        without = [await rate() for _ in range(rounds)]
        before, memory = dict(memory), {}
        started = time.perf_counter()
        await asyncio.to_thread(pile_up, store, vault, model, raw, settings, waiting)
        stored_s = time.perf_counter() - started
        supervisor = Supervisor(ROOT / "run.py", EVERY_WORKER, environment, home / "workers.log")
        await supervisor.start()
        started = time.perf_counter()
        while store.queries.counts()["messages"].get("received", 0):
            await asyncio.sleep(1)
        routed_s = time.perf_counter() - started
        await supervisor.stop()
        behind = [await rate() for _ in range(rounds)]
        counts = store.queries.counts()["deliveries"]
    store.close()
    return {
        "store": settings.store.partition(":")[0],
        "waiting": counts.get("routed", 0) + counts.get("delivered", 0),
        "rate_without": round(statistics.median(without)),
        "rate_behind": round(statistics.median(behind)),
        "ratio": round(statistics.median(behind) / statistics.median(without), 2),
        "rates_without": without,
        "rates_behind": behind,
        "peak_rss_mb_without": before,
        "peak_rss_mb_behind": memory,
        "stored_per_s": round(waiting / stored_s),
        "routed_per_s": round(waiting / routed_s),
    }


def _peak_mb(pid: int) -> int:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM"):
            return int(line.split()[1]) // 1024
    return 0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--waiting", type=int, default=100_000)
    parser.add_argument("--messages", type=int, default=4_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--store", metavar="URL", help="SQLAlchemy address of an empty database (default: SQLite in a temporary home)")
    parser.add_argument("--postgres", action="store_true", help="a private PostgreSQL server, with synced commits")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    url = options.store
    if options.postgres:
        from tests.support import postgres

        url = postgres.server(durable=True).format(database="postgres")
    home = Path(tempfile.mkdtemp(prefix="koppelpunt-backlog-"))
    home.chmod(0o755)
    try:
        result = asyncio.run(_run(home, url, options.waiting, options.messages, options.rounds))
    finally:
        shutil.rmtree(home, ignore_errors=True)
    if options.json:
        print_json(result)
    else:
        print_table(("what", "figure"), [{"what": name, "figure": value} for name, value in result.items()])


if __name__ == "__main__":
    main()
