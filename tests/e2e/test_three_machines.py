"""Three machines, played on one: a broker of three nodes, PostgreSQL with a standby, workers on two of them, and a TCP pass-through in
front of the gateways. A broker node and the database's primary are lost while a sender goes on."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import tempfile
import uuid
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import aiohttp
import pytest
from sqlalchemy import text

import run as program
from adapters import pki
from adapters.broker_keeper import Keeper, password_file
from adapters.crls import CrlFetcher
from adapters.home import amqp_urls, make_private_home
from adapters.rabbit import Consumer, Publisher
from adapters.store import Store
from broker_config.settings import Settings
from routing.ports import BrokerError, Outgoing, Published
from routing.work import StoreUnavailable
from tests.support.broker import free_port
from tests.support.cluster import Cluster, PostgresPair
from tests.support.exchange import DOCUMENT, HUB, LAS, SIS
from tests.support.gateways import Sender
from workers.clock import Clock
from workers.register_cache import RegisterCache
from workers.supervisor import Supervisor

pytestmark = [pytest.mark.broker, pytest.mark.postgres, pytest.mark.slow]

WORKERS = ("gateway", "intake", "relay", "route", "deliver", "audit", "timetable")
MESSAGES, BROKER_NODE_LOST_AT, PRIMARY_LOST_AT = 150, 40, 90
#: It takes half a minute; a loaded machine takes its time to elect leaders.
WITHIN_S = 150


@pytest.fixture
def home() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="koppelpunt-three-"))
    folder.chmod(0o755)  # so that RabbitMQ's own user may enter
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


class PassThrough:
    """What stands before the gateways: it knows nothing of TLS, and leaves out one that does not answer."""

    def __init__(self, ports: list[int]) -> None:
        self._ports, self._turn = ports, 0
        self.port = free_port()

    async def __aenter__(self) -> PassThrough:
        self._server = await asyncio.start_server(self._connect, "127.0.0.1", self.port)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()

    async def _connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._turn += 1
        for place in range(len(self._ports)):
            try:
                upstream = await asyncio.open_connection("127.0.0.1", self._ports[(self._turn + place) % len(self._ports)])
                break
            except OSError:
                continue
        else:
            writer.close()
            return
        await asyncio.gather(_copy(reader, upstream[1]), _copy(upstream[0], writer))


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while data := await reader.read(65_536):
            writer.write(data)
            await writer.drain()
    except OSError:
        pass
    finally:
        writer.close()


def machine(folder: Path, cluster: Cluster, node: int, postgres: PostgresPair, ours: pki.Party, authority: Path) -> dict[str, str]:
    """The environment of one machine's workers. All but home, port and broker node is the same everywhere."""
    broker = cluster.nodes[node]
    return {
        "KOPPELPUNT_HOME": str(folder / f"machine{node}"),
        "KOPPELPUNT_MASTER_KEY": str(folder / "master.key"),
        "KOPPELPUNT_STORE": postgres.url,
        "AMQP_URL": broker.url,
        "KOPPELPUNT_AMQP_MANAGEMENT": broker.management_url,
        "KOPPELPUNT_OIN": HUB,
        "KOPPELPUNT_KEY": str(ours.key),
        "KOPPELPUNT_CERT": str(ours.certificate),
        "KOPPELPUNT_TRUST": str(authority / "ca.pem"),
        "KOPPELPUNT_CRL": str(authority / "crl.pem"),
        "KOPPELPUNT_GATEWAY_PORT": str(free_port()),
        "KOPPELPUNT_METRICS_PORT": "0",
    }


class Mailbox:
    """The receiver's software: takes whatever comes from a node that stays, and confirms it."""

    def __init__(self, url: str) -> None:
        # what was on its way to a queue whose leader is lost is never confirmed: it does not wait for that as long as we do
        self._consumer, self._publisher = Consumer(url, [f"mailbox.{SIS}"], prefetch=200), Publisher(url, confirm_s=3.0)
        self.seen: Counter[str] = Counter()

    async def follow(self) -> None:
        try:
            while True:
                for one in await self._consumer.next_batch(50, idle_s=0.5):
                    self.seen[one.message_id or ""] += 1
                    await self._confirm(one.headers["delivery_id"])
                    self._consumer.ack([one])
        finally:
            await self._consumer.close()
            await self._publisher.close()

    async def _confirm(self, delivery_id: str) -> None:
        """Until the broker has it: the queue's leader may just have been lost."""
        said = json.dumps({"delivery_id": delivery_id, "outcome": "confirmed"}).encode()
        while True:
            try:
                if await self._publisher.publish(Outgoing(exchange="confirm", routing_key=SIS, body=said)) is Published.CONFIRMED:
                    return
            except BrokerError:
                await asyncio.sleep(0.2)


@pytest.mark.timeout(300)
def test_a_broker_node_and_the_primary_are_lost_while_a_sender_goes_on_and_every_message_arrives(home: Path) -> None:
    _on_three_machines(home)


def _on_three_machines(home: Path) -> None:
    authority = home / "pki"
    pki.init(authority)
    ours, las = (pki.issue(authority, oin=oin, name=name) for oin, name in ((HUB, "hub"), (LAS, "las")))
    with PostgresPair() as postgres, Cluster(home) as cluster:
        environments = [machine(home, cluster, node, postgres, ours, authority) for node in (0, 1)]
        settings = [make_private_home(Settings.from_environment(one), environment=one) for one in environments]
        store = program.open_store_of(settings[0])
        store.registry.save_register(DOCUMENT, who="test", now_us=Clock().now_us())
        try:
            asyncio.run(_play(home, cluster, postgres, environments, settings, store, Sender(authority, las)))
        except BaseException:
            print((home / "workers.log").read_text()[-6000:])
            raise
        finally:
            store.close()


async def _play(
    home: Path,
    cluster: Cluster,
    postgres: PostgresPair,
    environments: list[dict[str, str]],
    settings: list[Settings],
    store: Store,
    sender: Sender,
) -> None:
    await CrlFetcher.of(settings[0], store.registry).fetch_all()
    await Keeper(settings[0], store.registry, RegisterCache(store.register), *amqp_urls(settings[0])).apply_topology()
    others = {name: value for name, value in os.environ.items() if not name.startswith("KOPPELPUNT_") and name != "AMQP_URL"}
    machines = [Supervisor(program.ROOT / "run.py", WORKERS, others | one, home / "workers.log") for one in environments]
    password = quote(password_file(settings[0].home, SIS).read_text().strip(), safe="")
    mailbox = Mailbox(f"amqp://{SIS}:{password}@{cluster.nodes[2].url.rpartition('@')[2]}")
    reading = asyncio.create_task(mailbox.follow())
    messages = {f"urn:uuid:{uuid.uuid4()}": b"" for _ in range(MESSAGES)}
    messages = {message_id: sender.message(message_id=message_id) for message_id in messages}
    answered: set[str] = set()

    async def send(mine: list[str], port: int) -> None:
        while mine:
            async with sender.session(port) as session:
                try:
                    while mine:
                        status, body = await sender.post(session, messages[mine[0]])
                        if status != 200:
                            assert b"Server.DK0051" in body, body
                            await asyncio.sleep(0.2)
                            continue
                        answered.add(mine.pop(0))
                except aiohttp.ClientError:
                    await asyncio.sleep(0.2)

    async def lose() -> None:
        while len(answered) < BROKER_NODE_LOST_AT:
            await asyncio.sleep(0.01)
        await asyncio.to_thread(cluster.nodes[0].kill)
        while len(answered) < PRIMARY_LOST_AT:
            await asyncio.sleep(0.01)
        await asyncio.to_thread(postgres.fail_over)

    try:
        for one in machines:
            await one.start()
        async with PassThrough([one.gateway_port for one in settings]) as front, asyncio.timeout(WITHIN_S):
            ids = list(messages)
            async with asyncio.TaskGroup() as group:
                group.create_task(lose())
                for place in range(4):
                    group.create_task(send(ids[place::4], front.port))
            while (states := _states(store)) != {"acknowledged": MESSAGES}:
                assert not reading.done(), (states, reading)
                await asyncio.sleep(0.2)
        assert set(mailbox.seen) == set(messages)
        while not (whole := store.journal.verify()).whole or whole.waiting:
            await asyncio.sleep(0.2)
    finally:
        reading.cancel()
        await asyncio.gather(reading, return_exceptions=True)
        await asyncio.gather(*(one.stop() for one in machines))


def _states(store: Store) -> dict[str, int]:
    try:
        with store.database.read() as connection:
            return {row.state: row.n for row in connection.execute(text("SELECT state, count(*) AS n FROM delivery GROUP BY state"))}
    except StoreUnavailable:
        return {}
