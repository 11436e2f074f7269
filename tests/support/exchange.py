"""A small exchange for tests: private broker, SQLite store, and the parties of `tests.support.signing`, each a user of the broker.

Two schools, a municipality, Centraal Aanmelden and their systems. Its workers are processes, as `up` starts them; or they run inside the
test, by a clock that the test moves. Either way they are built from the parts that `run.py` builds them from.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import tempfile
import uuid
from collections.abc import Coroutine, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, TypeVar
from urllib.parse import quote

from sqlalchemy import text

import run as program
from adapters import soap
from adapters.assembly import Assembly
from adapters.backbone import Backbone
from adapters.broker_keeper import Keeper, password_file
from adapters.home import amqp_urls, make_private_home
from adapters.parties import invented
from adapters.rabbit import Consumer, Inspector, Publisher
from adapters.signing import BodyPart, Signer
from adapters.store import Store
from broker_config.node import PrivateNode
from broker_config.settings import Settings
from routing.ports import Outgoing
from schemas.oin import Oin
from tests.support import signing as s
from tests.support.broker import free_port, until
from workers.clock import Clock
from workers.loop import Worker
from workers.register_cache import RegisterCache
from workers.supervisor import Supervisor

T = TypeVar("T")

LAS: Final = Oin(s.LAS)  #: acts for the vo school
SIS: Final = Oin("00000003272448360000")  #: acts for the mbo school
CIVIC: Final = Oin("00000003272448370000")  #: acts for the municipality
SCHOOL: Final = Oin(s.SCHOOL)
MBO: Final = Oin("0000000700004XY00000")
UTRECHT: Final = Oin("00000001001234560000")
HUB: Final = Oin(s.HUB)
CENTRAAL: Final = Oin("00000004003214345000")  #: Centraal Aanmelden, which is its own system
CONTENT_TYPE: Final = "text/xml; charset=utf-8"
PROEF, GANGER = "urn:x-backbone:proef:1/proef", "urn:x-backbone:vva:1/mboGangerBericht"
STATUS = "urn:x-backbone:vva:1/aanmeldStatusBericht"

DOCUMENT: Final[dict[str, list[dict[str, Any]]]] = {
    "organisations": [
        {"oin": SCHOOL, "name": "Emmaus College", "kind": "school", "roles": ["vo"]},
        {"oin": MBO, "name": "ROC de Vecht", "kind": "school", "roles": ["mbo"]},
        {"oin": UTRECHT, "name": "Gemeente Utrecht", "kind": "municipality", "roles": ["gemeente"], "gemeentecodes": [{"code": "0344"}]},
        {"oin": CENTRAAL, "name": "Centraal Aanmelden", "kind": "central", "roles": ["centraal-aanmelden"]},
        {"oin": HUB, "name": "Koppelpunt", "kind": "hub", "roles": ["hub"]},
    ],
    "systems": [
        {"oin": oin, "name": name, "supplier": f"{name} BV", "channels": channels}
        for oin, name, channels in (
            (LAS, "Leerlingwijzer", ["amqp", "https"]),
            (SIS, "Studiekern", ["amqp", "https"]),
            (CIVIC, "Burgerbalie", ["amqp"]),
            (CENTRAAL, "Portaal", ["amqp"]),
        )
    ],
    "diensten": [
        {"dienst": "vva", "versie": "1", "namespace": "urn:x-backbone:vva:1"},
        {"dienst": "proef", "versie": "1", "namespace": "urn:x-backbone:proef:1"},
    ],
    "mandates": [
        {"organisation": SCHOOL, "dienst": "vva", "system": LAS},
        {"organisation": SCHOOL, "dienst": "proef", "system": LAS},
        {"organisation": MBO, "dienst": "proef", "system": SIS},
        {"organisation": MBO, "dienst": "vva", "system": SIS},
        {"organisation": UTRECHT, "dienst": "vva", "system": CIVIC},
    ],
    "endpoints": [
        {"organisation": MBO, "dienst": "proef", "versie": "1", "system": SIS, "mailbox": True},
        {"organisation": SCHOOL, "dienst": "proef", "versie": "1", "system": LAS, "mailbox": True},
        {"organisation": SCHOOL, "dienst": "vva", "versie": "1", "system": LAS, "mailbox": True},
        {"organisation": UTRECHT, "dienst": "vva", "versie": "1", "system": CIVIC, "mailbox": True},
        {"organisation": CENTRAAL, "dienst": "vva", "versie": "1", "system": CENTRAAL, "mailbox": True},
    ],
}


class MovedClock(Clock):
    """A clock that runs ahead of the real one by as much as the test says."""

    def __init__(self) -> None:
        self.ahead = timedelta()

    def now(self) -> datetime:
        """UTC, some time from now."""
        return super().now() + self.ahead


class Exchange:
    """Everything runs in one event loop, which stands still between tests. Use as `with`."""

    def __init__(
        self,
        *,
        processes: Sequence[str] = (),
        clock: Clock | None = None,
        document: Mapping[str, Any] = MappingProxyType(DOCUMENT),
        diensten: Path | None = None,
        settings: Mapping[str, str] | None = None,
    ) -> None:
        """`processes`: workers that run as processes; others can be started inside, by `clock`. `document`: the service register;
        `diensten`: a folder with more of them; `settings`: more than the usual ones."""
        self._more = dict(settings or {})
        self.home = Path(tempfile.mkdtemp(prefix="koppelpunt-exchange-"))
        self.home.chmod(0o755)  # so that RabbitMQ's own user may enter when the tests run as root
        self.clock = clock or Clock()
        self._processes = tuple(processes)
        self._document, self._diensten = document, diensten
        self._runner = asyncio.Runner()
        self._inside: list[tuple[Worker, RegisterCache, Assembly, asyncio.Task[Any]]] = []
        self._publishers: dict[str, Publisher] = {}
        self._consumers: dict[str, Consumer] = {}
        self._inspector: Inspector | None = None

    def __enter__(self) -> Exchange:
        try:
            self.run(self._start(), within_s=90)
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._end()

    def run(self, work: Coroutine[Any, Any, T], *, within_s: float = 60.0) -> T:
        """Runs a test's coroutine to its end, while the exchange runs."""

        async def limited() -> T:
            async with asyncio.timeout(within_s):
                return await work

        return self._runner.run(limited())

    # -- starting and ending -----------------------------------------------------------------------------------------------------------
    async def _start(self) -> None:
        ours = s.party("hub", oin=HUB)
        environment = {
            "KOPPELPUNT_OIN": HUB,
            "KOPPELPUNT_KEY": str(ours.key),
            "KOPPELPUNT_CERT": str(ours.certificate),
            "KOPPELPUNT_TRUST": str(s.folder() / "ca.pem"),
            "KOPPELPUNT_CRL": str(s.folder() / "crl.pem"),
            "KOPPELPUNT_LOG_LEVEL": "DEBUG",
            "KOPPELPUNT_GATEWAY_PORT": str(free_port()),
            "KOPPELPUNT_PUSH_NETWORKS": "127.0.0.0/8,::1/128",
            **self._more,
        }
        if self._diensten:
            environment["KOPPELPUNT_DIENSTEN"] = str(self._diensten)
        self.settings = make_private_home(Settings.from_environment(environment, home=self.home), environment=environment)
        store = program.open_store_of(self.settings)
        store.registry.save_register(dict(self._document), who="test", now_us=self.clock.now_us())
        store.close()
        self._backbone = Backbone(self.settings, port=0)
        await self._backbone.__aenter__()
        assert self._backbone.store is not None and self._backbone.node is not None
        self.store: Store = self._backbone.store
        self.node: PrivateNode = self._backbone.node
        others = {name: value for name, value in os.environ.items() if not name.startswith("KOPPELPUNT_") and name != "AMQP_URL"}
        environment["KOPPELPUNT_HOME"] = str(self.home)
        self.supervisor = Supervisor(program.ROOT / "run.py", self._processes, others | environment, self.home / "workers.log")
        await self.supervisor.start()
        await until(lambda: len(self.rows("SELECT pid FROM worker")) == len(self._processes), within_s=60)

    def _end(self) -> None:
        async def end() -> None:
            await self.stop_workers()
            for connection in (*self._publishers.values(), *self._consumers.values(), *((self._inspector,) if self._inspector else ())):
                await connection.close()
            if hasattr(self, "supervisor"):
                await self.supervisor.stop()
            if hasattr(self, "_backbone"):
                await self._backbone.__aexit__()

        try:
            self.run(end(), within_s=90)
        finally:
            self._runner.close()
            PrivateNode(self.home).kill()
            shutil.rmtree(self.home, ignore_errors=True)

    def start_worker(self, name: str, *, publisher: Publisher | None = None) -> Worker:
        """A worker inside the test, built as `run.py work NAME` builds it, by this exchange's clock, perhaps with a hampered publisher."""
        store = program.open_store_of(self.settings)
        worker = Worker(name, store.registry, self.clock)
        register = RegisterCache(store.register)
        its = Assembly(self.settings, store, worker, register, self.clock.now, publisher=publisher)
        parts = program.parts_of(its, worker, register, self.clock)
        task = asyncio.ensure_future(_all(program.workers()[name](parts, its)))
        self._inside.append((worker, register, its, task))
        return worker

    def register_versions(self) -> set[int]:
        """The versions of the register that the workers inside go by."""
        return {register().version for _, register, _, _ in self._inside}

    async def stop_workers(self, name: str | None = None) -> None:
        """Stops the workers inside (of this name), and waits for what they have in hand. Raises what one of them ended with."""
        leaving = [one for one in self._inside if name in (None, one[0].name)]
        self._inside = [one for one in self._inside if one not in leaving]
        for worker, _, its, task in leaving:
            worker.stop()
            await task
            await its.close()

    # -- parties -----------------------------------------------------------------------------------------------------------------------
    def url(self, system: Oin) -> str:
        """The broker, as this party connects to it."""
        host = amqp_urls(self.settings)[0].rpartition("@")[2]
        return f"amqp://{system}:{quote(password_file(self.home, system).read_text().strip(), safe='')}@{host}"

    async def publisher(self, system: Oin) -> Publisher:
        """A party's connection for publishing."""
        if system not in self._publishers:
            self._publishers[system] = Publisher(self.url(system), name=f"{system} publisher")
            await self._publishers[system].open()
        return self._publishers[system]

    async def consumer(self, kind: str, system: Oin, *, prefetch: int = 2_000) -> Consumer:
        """A party's connection for `receipt` or `mailbox`; it takes whatever comes, also while nobody looks."""
        queue = f"{kind}.{system}"
        if queue not in self._consumers:
            self._consumers[queue] = Consumer(self.url(system), [queue], prefetch=prefetch, name=queue)
            await self._consumers[queue].open()
        return self._consumers[queue]

    async def inspector(self) -> Inspector:
        """The backbone's own look into queues."""
        if self._inspector is None:
            self._inspector = Inspector(amqp_urls(self.settings)[0])
            await self._inspector.open()
        return self._inspector

    async def let_go(self, kind: str, system: Oin) -> None:
        """The party's software stops listening."""
        await self._consumers.pop(f"{kind}.{system}").close()

    def hand_in(self, body: bytes, message_id: str, *, system: Oin = LAS, **properties: Any) -> Outgoing:
        """A hand-in as it is published."""
        properties = {"content_type": CONTENT_TYPE, "message_id": message_id} | properties
        return Outgoing(exchange="intake", routing_key=system, body=body, **properties)

    def proef(self, message_id: str, *, created: datetime | None = None, receiver: Oin = MBO, signer: Signer | None = None) -> bytes:
        """A good message of the vo school to another school, by its LAS."""
        now = self.clock.now()
        content = invented.proef(business_id=str(uuid.uuid4()), sender=SCHOOL, receiver=receiver, created=now)
        return self.signed(content, message_id, PROEF, receiver=receiver, created=created, signer=signer)

    def signed(
        self,
        content: bytes,
        message_id: str,
        action: str,
        *,
        sender: Oin = SCHOOL,
        receiver: Oin = HUB,
        created: datetime | None = None,
        signer: Signer | None = None,
    ) -> bytes:
        """Content in an envelope, unless told otherwise of the vo school and signed by its LAS."""
        return (signer or s.signer()).envelope(
            BodyPart.around(content),
            to=soap.address(receiver, "https://koppelpunt.example/proef/v1"),
            sender=soap.address(sender),
            action=action,
            message_id=message_id,
            created=created or self.clock.now(),
        )

    # -- looking -----------------------------------------------------------------------------------------------------------------------
    def rows(self, query: str, **values: object) -> list[dict[str, Any]]:
        """Rows of the store."""
        with self.store.database.read() as connection:
            return [dict(row._mapping) for row in connection.execute(text(query), values)]

    def log(self) -> str:
        """What the worker processes said."""
        file = self.home / "workers.log"
        return file.read_text(errors="replace") if file.exists() else ""

    def keeper(self) -> Keeper:
        """Who looks after the broker, as the relay does."""
        return Keeper(self.settings, self.store.registry, RegisterCache(self.store.register), *amqp_urls(self.settings))


async def _all(tasks: Sequence[Coroutine[Any, Any, None]]) -> None:
    """Until all of a worker's loops have ended; one that fails ends the others."""
    async with asyncio.TaskGroup() as group:
        for task in tasks:
            group.create_task(task)


def said(body: bytes) -> dict[str, Any]:
    """A receipt or outcome."""
    with contextlib.suppress(ValueError):
        return dict(json.loads(body))
    raise AssertionError(f"not a receipt: {body[:200]!r}")


def today() -> datetime:
    """Now, for content that names a day."""
    return datetime.now(UTC)
