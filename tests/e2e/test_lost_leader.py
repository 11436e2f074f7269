"""A broker node is lost just when a worker publishes to its queues for the first time."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pika
import pytest

from adapters.rabbit import Outgoing, Published, Publisher
from tests.support.broker import run, until
from tests.support.cluster import Cluster

pytestmark = [pytest.mark.broker, pytest.mark.slow]

QUEUES = [f"mailbox.{number}" for number in range(150)]


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    home = Path(tempfile.mkdtemp(prefix="koppelpunt-leader-"))
    home.chmod(0o755)  # so that RabbitMQ's own user may enter
    with Cluster(home) as cluster:
        yield cluster
    shutil.rmtree(home, ignore_errors=True)


def test_a_channel_that_holds_on_to_a_lost_leader_is_left_so_that_every_mailbox_is_reached_again(cluster: Cluster) -> None:
    """RabbitMQ 3.10: such a channel refuses all for those queues as long as it lives, though they got new leaders within a second. From 4.0
    on (4.0.5 and 4.3.6 tried) nothing is refused: what is published meanwhile waits for the new leader."""
    waits = declare(cluster.nodes[0].admin_url) >= 4

    async def act() -> None:
        async with Publisher(cluster.nodes[1].admin_url) as worker:
            killing = asyncio.create_task(asyncio.to_thread(cluster.nodes[0].kill))
            first = []
            for queue in QUEUES:
                first.append(asyncio.create_task(worker.publish(Outgoing(routing_key=queue, body=b"first"))))
                await asyncio.sleep(0.006)
            fates = await asyncio.gather(*first)
            await killing
            refused = [queue for queue, fate in zip(QUEUES, fates, strict=True) if fate is Published.NACKED]
            if waits:
                assert set(fates) == {Published.CONFIRMED}
                return
            assert refused, "the node went too early or too late: nothing was published while its queues had no leader"

            async def all_taken() -> bool:
                fates = await worker.publish_many([Outgoing(routing_key=queue, body=b"again") for queue in refused])
                refused[:] = [queue for queue, fate in zip(refused, fates, strict=True) if fate is Published.NACKED]
                await asyncio.sleep(0.2)
                return not refused

            await until(all_taken, within_s=30)
            assert worker.connections == 2

    run(act(), within_s=90)


def declare(url: str) -> int:
    """Every queue's leader is on this node. Returns RabbitMQ's major version."""
    with pika.BlockingConnection(pika.URLParameters(url)) as connection:
        channel = connection.channel()
        for queue in QUEUES:
            channel.queue_declare(queue, durable=True, arguments={"x-queue-type": "quorum", "x-queue-leader-locator": "client-local"})
        return int(connection._impl.server_properties["version"].split(".")[0])
