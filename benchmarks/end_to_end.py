"""End to end on this machine: from a party's hand-in queue to the receiver's mailbox, with everything on it that runs in production.

Messages are signed beforehand and pass through, one delivery each. The hand-in queue is filled while nothing runs; then the workers
start, and the rate counts from the tenth part to the last message in the mailbox, which its owner empties and confirms meanwhile. The
floor program, where it is present, runs on the same broker in the same run: quote the ratios, not the times.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import uuid
from collections import Counter
from collections.abc import Sequence
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

from adapters import pki, soap
from adapters.backbone import Backbone
from adapters.broker_keeper import password_file
from adapters.home import amqp_urls, make_private_home
from adapters.parties.season import Season
from adapters.parties.sender import CONTENT_TYPE
from adapters.parties.world import CENTRAAL, CIVIC, LASSEN, SISSEN, build_world
from adapters.rabbit import Consumer, Publisher
from adapters.signing import BodyPart, Signer
from benchmarks.crypto_costs import FLOOR, median_us, ours
from broker_config.settings import Settings
from routing.ports import Incoming, Outgoing
from schemas.content import read_content
from schemas.contracts import load_contracts
from schemas.oin import Oin
from workers.clock import Clock
from workers.supervisor import Supervisor
from workers.tables import print_json, print_table

HERE = Path(__file__).parent
DIENSTEN = HERE / "diensten"
#: Several parties hand in, as in a season; each has its own queue, and several intake workers share them.
SENDERS = tuple(Oin(f"0000000390000041000{number}") for number in range(8))
RECEIVER = Oin("00000003900000420000")
NAMESPACE = "urn:x-backbone:bench:1"


def register() -> dict[str, Any]:
    """Senders and one receiver, each with a certificate of its own."""
    return {
        "organisations": [{"oin": oin, "name": f"Partij {oin}", "kind": "central"} for oin in (*SENDERS, RECEIVER)],
        "systems": [{"oin": oin, "name": oin, "supplier": oin, "channels": ["amqp"]} for oin in (*SENDERS, RECEIVER)],
        "diensten": [{"dienst": "bench", "versie": "1", "namespace": NAMESPACE}],
        "endpoints": [{"organisation": RECEIVER, "dienst": "bench", "versie": "1", "system": RECEIVER, "mailbox": True}],
    }


def content(sender: Oin, receiver: Oin, pupils: int) -> bytes:
    """One message's content; the pupils are invented, and no number of theirs is a BSN."""
    rows = "".join(
        f"<leerling><bsn>{999990000 + i}</bsn><voornamen>Sanne Maria</voornamen><achternaam>Jansen{i}</achternaam>"
        f"<geboortedatum>2009-03-0{i % 9 + 1}</geboortedatum><postcode>2712PB</postcode><gemeentecode>0637</gemeentecode>"
        "<brin>00AA00</brin><leerjaar>4</leerjaar></leerling>"
        for i in range(pupils)
    )
    header = (
        f"<identificatiecodeBedrijfsdocument>{uuid.uuid4()}</identificatiecodeBedrijfsdocument>"
        f"<verzendendeInstantie>{sender}</verzendendeInstantie><ontvangendeInstantie>{receiver}</ontvangendeInstantie>"
        f"<datumTijdBedrijfsdocument>{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}</datumTijdBedrijfsdocument>"
    )
    return f'<melding xmlns="{NAMESPACE}"><bedrijfsdocument>{header}</bedrijfsdocument>{rows}</melding>'.encode()


class Parties:
    """The senders: their keys, and a connection of its own for each."""

    def __init__(self, home: Path) -> None:
        files = {oin: pki.issue(home / "pki", oin=oin, name=f"zender-{oin}") for oin in SENDERS}
        self._signers = {
            oin: Signer(pki.read_key(f.key), pki.read_certificate(f.certificate), lifetime=timedelta(hours=2)) for oin, f in files.items()
        }
        self._publishers: dict[str, Publisher] = {}

    def signed(self, count: int, pupils: int, receiver: Oin = RECEIVER) -> list[Outgoing]:
        """Hand-ins of all in turn, ready to be published."""
        made = []
        for number in range(count):
            sender, message_id = SENDERS[number % len(SENDERS)], f"urn:uuid:{uuid.uuid4()}"
            xml = self._signers[sender].envelope(
                BodyPart.around(content(sender, receiver, pupils)),
                to=soap.address(receiver, "https://koppelpunt.example/bench"),
                sender=soap.address(sender),
                action=f"{NAMESPACE}/melding",
                message_id=message_id,
            )
            made.append(Outgoing(exchange="intake", routing_key=sender, body=xml, content_type=CONTENT_TYPE, message_id=message_id))
        return made

    async def connect(self, amqp: str, home: Path, stack: AsyncExitStack) -> None:
        """Opens a connection for each, until the stack is left."""
        for oin in SENDERS:
            self._publishers[oin] = await stack.enter_async_context(Publisher(party_url(amqp, home, oin)))

    async def publish(self, messages: Sequence[Outgoing]) -> None:
        """Each party hands in its own."""
        by_sender: dict[str, list[Outgoing]] = {}
        for one in messages:
            by_sender.setdefault(one.routing_key, []).append(one)
        await asyncio.gather(*(self._publishers[sender].publish_many(some) for sender, some in by_sender.items()))


class Mailbox:
    """Empties mailboxes, confirms, and notes when each message arrived."""

    def __init__(self, url: str, oin: Oin) -> None:
        self._oin = oin
        self._consumer, self._publisher = Consumer(url, [f"mailbox.{oin}"], prefetch=600), Publisher(url)
        self.arrived: Counter[str] = Counter()
        self.moments: dict[str, float] = {}
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Mailbox:
        await self._consumer.open()
        await self._publisher.open()
        self._task = asyncio.create_task(self._empty())
        return self

    async def _empty(self) -> None:
        while True:
            batch = await self._consumer.next_batch(200, 0.01, idle_s=0.5)
            now = time.perf_counter()
            for incoming in batch:
                name = incoming.message_id or ""
                self.arrived[name] += 1
                self.moments.setdefault(name, now)
            await self._publisher.publish_many([self._confirmation(incoming) for incoming in batch])
            self._consumer.ack(batch)

    def _confirmation(self, incoming: Incoming) -> Outgoing:
        said = json.dumps({"delivery_id": incoming.headers["delivery_id"], "outcome": "confirmed", "reason": None})
        return Outgoing(exchange="confirm", routing_key=self._oin, body=said.encode())

    async def until(self, count: int, patience_s: float) -> None:
        """Waits until this many different messages arrived."""
        end = time.monotonic() + patience_s
        while len(self.arrived) < count and time.monotonic() < end:
            await asyncio.sleep(0.02)

    async def __aexit__(self, *_: object) -> None:
        assert self._task is not None
        self._task.cancel()
        await asyncio.wait([self._task])
        await self._consumer.close()
        await self._publisher.close()


def run(*, messages: int, pupils: int, as_json: bool) -> int:
    """The `bench` command."""
    home = Path(tempfile.mkdtemp(prefix="koppelpunt-bench-"))
    home.chmod(0o755)
    try:
        result = asyncio.run(_run(home, messages, pupils))
    finally:
        shutil.rmtree(home, ignore_errors=True)
    if as_json:
        print_json(result)
    else:
        print_table(("what", "figure"), [{"what": name, "figure": json.dumps(value)} for name, value in result.items()])
    return 1 if result["lost"] or result["duplicated"] else 0


async def _run(home: Path, messages: int, pupils: int) -> dict[str, Any]:
    from run import EVERY_WORKER, ROOT, open_store_of

    given = {"KOPPELPUNT_DIENSTEN": str(DIENSTEN), "KOPPELPUNT_LOG_LEVEL": "ERROR"}
    settings = make_private_home(Settings.from_environment(given, home=home), environment=given)
    store = open_store_of(settings)
    store.registry.save_register(register(), who="bench", now_us=Clock().now_us())
    store.close()
    parties = Parties(home)
    result: dict[str, Any] = dict(_single_costs(pupils))
    async with Backbone(settings, port=0) as backbone:
        assert backbone.node is not None
        assert backbone.store is not None
        floor = await asyncio.to_thread(_floor, backbone.node.admin_url, pupils)
        amqp = amqp_urls(settings)[0]
        batch = await asyncio.to_thread(parties.signed, messages, pupils)
        private = {name: value for name, value in os.environ.items() if not name.startswith("KOPPELPUNT_") and name != "AMQP_URL"}
        supervisor = Supervisor(ROOT / "run.py", EVERY_WORKER, {**private, **given, "KOPPELPUNT_HOME": str(home)}, home / "workers.log")
        async with Mailbox(party_url(amqp, home, RECEIVER), RECEIVER) as mailbox, AsyncExitStack() as stack:
            await parties.connect(amqp, home, stack)
            await parties.publish(batch)
            await supervisor.start()
            try:
                rate = await _rate(mailbox, messages)
                result["end_to_end_per_s"] = rate
                result |= await _latency(mailbox, parties, pupils, rate / 4)
                result["worker_rss_mb"] = {name: _rss_mb(pid) for name, pid in supervisor.pids.items()}
                expected = messages + result.pop("paced")
                result["lost"] = expected - len(mailbox.arrived)
                result["duplicated"] = sum(mailbox.arrived.values()) - len(mailbox.arrived)
                result["fan_out_per_s"] = await _fan_out(home, backbone, settings)
            finally:
                await supervisor.stop()
        journal = backbone.store.journal.verify()
        result["journal_whole"] = journal.whole
    result["floor"] = floor
    if floor:
        result["ratios"] = {
            "verify": round(result["verify_us"] / floor["floor_verify_us"], 2),
            "sign": round(result["sign_us"] / floor["floor_sign_us"], 2),
            "to_bare_2_worker": round(rate / floor["bare_2_worker_per_s"], 2),
            "to_naive": round(rate / floor["naive_route_per_s"], 2),
        }
    return result


def party_url(amqp: str, home: Path, oin: str) -> str:
    """The broker's address for this party."""
    parts = urlsplit(amqp)
    password = quote(password_file(home, oin).read_text().strip(), safe="")
    return f"{parts.scheme}://{oin}:{password}@{parts.netloc.rpartition('@')[2]}{parts.path}"


def _single_costs(pupils: int) -> dict[str, float]:
    costs = ours(pupils)
    contracts, now = load_contracts(DIENSTEN), datetime.now(UTC)
    sender = SENDERS[0]
    element = soap.parse(content(sender, RECEIVER, pupils))
    action = f"{NAMESPACE}/melding"
    schema = median_us(lambda: read_content(element, action=action, sender=sender, receiver=RECEIVER, contracts=contracts, now=now))
    with tempfile.TemporaryDirectory() as folder:
        pki.init(Path(folder))
        files = pki.issue(Path(folder), oin=sender, name="groot", key_size=3072)
        large = Signer(pki.read_key(files.key), pki.read_certificate(files.certificate))
    part = BodyPart.around(content(sender, RECEIVER, pupils))
    to, who = soap.address(RECEIVER), soap.address(sender)
    rsa3072 = median_us(lambda: large.envelope(part, to=to, sender=who, action=action, message_id="urn:uuid:0"))
    return {"verify_us": costs["verify_us"], "sign_us": costs["sign_us"], "schema_us": schema, "rsa3072_sign_us": rsa3072}


def _floor(amqp: str, pupils: int) -> dict[str, Any] | None:
    if not FLOOR.exists():
        return None
    done = subprocess.run(
        [sys.executable, str(FLOOR), "--amqp", amqp, "--pupils", str(pupils)], capture_output=True, text=True, check=False
    )
    return dict(json.loads(done.stdout)) if done.returncode == 0 else None


async def _rate(mailbox: Mailbox, messages: int) -> int:
    """Messages a second into the mailbox, from the tenth part on: the workers' start is not counted."""
    await mailbox.until(messages // 10, 120)
    first, start = len(mailbox.arrived), time.perf_counter()
    await mailbox.until(messages, 600)
    return round((len(mailbox.arrived) - first) / (time.perf_counter() - start))


async def _latency(mailbox: Mailbox, parties: Parties, pupils: int, rate: float, seconds: float = 8.0) -> dict[str, Any]:
    """From the broker's confirm of a hand-in being asked for to the arrival in the mailbox, at a steady rate."""
    batch = await asyncio.to_thread(parties.signed, int(rate * seconds), pupils)
    sent: dict[str, float] = {}
    before, start, waits = len(mailbox.arrived), time.perf_counter(), []
    step = max(1, int(rate * 0.02))
    for at in range(0, len(batch), step):
        part = batch[at : at + step]
        pause = start + at / rate - time.perf_counter()
        if pause > 0:
            await asyncio.sleep(pause)
        sent |= dict.fromkeys((one.message_id or "" for one in part), time.perf_counter())
        waits.append(asyncio.create_task(parties.publish(part)))
    await asyncio.gather(*waits)
    await mailbox.until(before + len(batch), 60)
    took = sorted((mailbox.moments[name] - moment) * 1e3 for name, moment in sent.items() if name in mailbox.moments)
    return {
        "hand_in_to_mailbox_p50_ms": round(statistics.median(took), 1),
        "hand_in_to_mailbox_p99_ms": round(took[int(len(took) * 0.99)], 1),
        "paced": len(batch),
    }


async def _fan_out(home: Path, backbone: Any, settings: Settings, count: int = 600) -> int | None:
    """Deliveries a second when one message goes to up to three receivers, each in an envelope of ours (RSA-2048)."""
    world = build_world(settings.own_oins[0])
    document = register()
    for name, rows in world.document.items():
        document[name] = [*document.get(name, []), *rows]
    backbone.store.registry.save_register(document, who="bench", now_us=Clock().now_us())
    await backbone.apply_topology()
    await asyncio.sleep(3)
    system = SISSEN[0]
    files = pki.issue(home / "pki", oin=system, name="sis")
    signer = Signer(pki.read_key(files.key), pki.read_certificate(files.certificate))
    season = Season(world, settings.own_oins[0], seed=1)
    planned = [p for p in season.plan(count * 6) if p.system == system and not p.mistake and p.action.endswith("aanmeldStatusBericht")][
        :count
    ]
    hand_ins = [
        Outgoing(
            exchange="intake",
            routing_key=system,
            content_type=CONTENT_TYPE,
            message_id=(message_id := f"urn:uuid:{uuid.uuid4()}"),
            body=signer.envelope(
                BodyPart.around(p.content),
                to=soap.address(Oin(settings.own_oins[0])),
                sender=soap.address(Oin(p.sender)),
                action=p.action,
                message_id=message_id,
            ),
        )
        for p in planned
    ]
    amqp = settings.amqp_url or backbone.node.url
    counts = backbone.store.queries.counts()
    before, already = counts["deliveries"], sum(counts["messages"].values()) + sum(counts["refused"].values())
    async with Publisher(party_url(amqp, home, system)) as publisher, AsyncExitStack() as mailboxes:
        for oin in (CENTRAAL, *LASSEN, *CIVIC):  # every receiver confirms: the next status of an application waits for that
            await mailboxes.enter_async_context(Mailbox(party_url(amqp, home, oin), oin))
        start = time.perf_counter()
        await publisher.publish_many(hand_ins)
        while time.perf_counter() - start < 60:
            counts = backbone.store.queries.counts()
            done = sum(counts["deliveries"].get(s, 0) - before.get(s, 0) for s in ("delivered", "acknowledged"))
            handled = sum(counts["messages"].values()) + sum(counts["refused"].values())
            if handled >= already + len(hand_ins) and backbone.store.queries.open_deliveries() == 0:
                break
            await asyncio.sleep(0.05)
        return round(done / (time.perf_counter() - start))


def _rss_mb(pid: int) -> int:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS"):
            return int(line.split()[1]) // 1024
    return 0
