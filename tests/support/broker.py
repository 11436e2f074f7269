"""A real RabbitMQ for tests: one private node per session, one fresh vhost per test."""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
import tempfile
import uuid
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any, TypeVar

import pytest

from adapters.rabbit import Inspector, Publisher
from adapters.rabbit_admin import BrokerAdmin
from broker_config.node import NodeError, PrivateNode, find_server
from broker_config.topology import Bounds, Definitions, Party, password_hash, topology

T = TypeVar("T")

#: Two invented systems; each is a user of the broker with this password.
LAS, GEMEENTE = "00000001003214345000", "00000001001799600000"
PASSWORD = "p:w/for@tests"
_HASH = password_hash(PASSWORD)
_BOUNDS = Bounds()


def run(work: Coroutine[Any, Any, T], *, within_s: float = 60.0) -> T:
    """Runs a test's coroutine to its end."""

    async def limited() -> T:
        async with asyncio.timeout(within_s):
            return await work

    return asyncio.run(limited())


async def until(holds: Callable[[], Awaitable[object] | object], *, within_s: float = 20.0) -> None:
    """Waits until something holds; fails when it takes too long."""
    async with asyncio.timeout(within_s):
        while True:
            found = holds()
            if await found if isinstance(found, Awaitable) else found:
                return
            await asyncio.sleep(0.02)


class TestBroker:
    """The session's node, seen through one test's vhost."""

    __test__ = False

    def __init__(self, node: PrivateNode) -> None:
        self.node = node
        self.vhost = f"test-{uuid.uuid4().hex[:12]}"

    @property
    def url(self) -> str:
        """For the backbone itself."""
        return self.node.url.rpartition("/")[0] + f"/{self.vhost}"

    @property
    def admin_url(self) -> str:
        """For someone who may do all."""
        return self.node.admin_url.rpartition("/")[0] + f"/{self.vhost}"

    def url_of(self, oin: str, password: str = PASSWORD) -> str:
        """For a party."""
        address = self.node.url.rpartition("@")[2].rpartition("/")[0]
        return f"amqp://{oin}:{password.replace(':', '%3A').replace('/', '%2F').replace('@', '%40')}@{address}/{self.vhost}"

    def admin(self, *, settle_s: float = 0.0) -> BrokerAdmin:
        """The management interface of this vhost. A test that kills the node needs the usual `settle_s` (2)."""
        return BrokerAdmin(self.node.management_url, vhost=self.vhost, settle_s=settle_s)

    def topology(self, *parties: Party, bounds: Bounds = _BOUNDS) -> Definitions:
        """What is applied: these parties, or the two of this module."""
        return topology(parties or (party(LAS), party(GEMEENTE)), vhost=self.vhost, bounds=bounds)

    def apply(self, *parties: Party, bounds: Bounds = _BOUNDS, settle_s: float = 0.0) -> Definitions:
        """Applies the topology; returns what was changed."""

        async def act() -> Definitions:
            async with self.admin(settle_s=settle_s) as admin:
                return await admin.apply(self.topology(*parties, bounds=bounds))

        return run(act())

    def publisher(self, oin: str | None = None, **options: Any) -> Publisher:
        """A publisher for a party, or for the backbone."""
        return Publisher(self.url_of(oin) if oin else self.url, **options)

    async def depth(self, queue: str) -> int | None:
        """Messages ready in a queue, exactly."""
        async with Inspector(self.url) as inspector:
            return await inspector.depth(queue)

    def remove(self) -> None:
        """Takes away what the test made, its users included."""

        async def act() -> None:
            async with self.admin() as admin:
                for user in (await admin.read())["users"]:
                    if user["name"][:1].isdigit():
                        await admin.remove_party(user["name"], even_with_messages=True)
                await admin.delete_vhost()

        run(act())


def party(oin: str, **options: bool) -> Party:
    """A party with the tests' password."""
    return Party(oin=oin, password_hash=_HASH, **options)


def free_port() -> int:
    """A port of this machine that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def require_rabbitmq() -> None:
    """Skips at home, fails in CI: a suite that leaves out the broker proves little."""
    try:
        find_server()
    except NodeError as error:
        if os.environ.get("CI") == "true":
            pytest.fail(str(error))
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def broker_node() -> Iterator[PrivateNode]:
    """One running node for the whole session. A test that stops it must start it again."""
    require_rabbitmq()
    home = Path(tempfile.mkdtemp(prefix="koppelpunt-"))
    home.chmod(0o755)  # so that RabbitMQ's own user may enter when the tests run as root
    node = PrivateNode(home)
    try:
        node.start()
        yield node
    finally:
        node.kill()
        shutil.rmtree(home, ignore_errors=True)


@pytest.fixture
def broker(broker_node: PrivateNode) -> Iterator[TestBroker]:
    """A vhost of its own, empty until `apply`."""
    found = TestBroker(broker_node)
    yield found
    if not broker_node.is_running():
        broker_node.start()
    found.remove()
