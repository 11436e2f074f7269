"""A whole exchange for tests: private broker, SQLite store, workers as processes and all parties, as `run.py demo` starts them.

A `Chain` can be hurt: workers killed or frozen, the broker killed or wiped, the store locked. What became of the messages is counted from
both sides, by `adapters.parties.demo.summary`.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Coroutine, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final, TypeVar

import aiohttp
import pika
import pytest
from sqlalchemy import text

import run as program
from adapters.backbone import Backbone
from adapters.broker_keeper import password_file
from adapters.home import amqp_urls, make_private_home
from adapters.parties.demo import People, Summary, summary
from adapters.parties.season import Planned, Season
from adapters.parties.world import World, build_world
from adapters.store import Store
from broker_config.node import PrivateNode
from broker_config.settings import Settings
from routing.ports import Outgoing
from schemas.oin import Oin
from workers.clock import Clock
from workers.supervisor import Supervisor

T = TypeVar("T")

#: Two of those that work side by side, and of those that lead one at a time.
WORKERS: Final = ("intake", "intake", "relay", "relay", "route", "deliver", "audit", "timetable")
#: A sender waits this long for a receipt before it sends again: half a minute in earnest, less in a test.
RESEND_AFTER_S: Final = 4.0
#: Takes the store's write lock from another process and holds it.
_LOCK: Final = """
import sqlite3, sys, time
connection = sqlite3.connect(sys.argv[1], timeout=10, isolation_level=None)
connection.execute("BEGIN IMMEDIATE")
print("locked", flush=True)
time.sleep(float(sys.argv[2]))
connection.execute("ROLLBACK")
"""


class Chain:
    """Everything runs in one event loop, which stands still between tests. Use as `with`."""

    def __init__(self, *, workers: Sequence[str] = WORKERS, seed: int = 2026) -> None:
        self.home = Path(tempfile.mkdtemp(prefix="koppelpunt-faults-"))
        self.home.chmod(0o755)  # so that RabbitMQ's own user may enter when the tests run as root
        self._workers, self._seed = tuple(workers), seed
        self._runner = asyncio.Runner()
        self._frozen: set[int] = set()

    def __enter__(self) -> Chain:
        try:
            self.run(self._start(), within_s=90)
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._end()

    def run(self, work: Coroutine[Any, Any, T], *, within_s: float = 60.0) -> T:
        """Runs a test's coroutine to its end, while workers, broker and parties run."""

        async def limited() -> T:
            async with asyncio.timeout(within_s):
                return await work

        return self._runner.run(limited())

    # -- starting and ending -----------------------------------------------------------------------------------------------------------
    async def _start(self) -> None:
        quiet = {"KOPPELPUNT_LOG_LEVEL": "WARNING"}
        settings = make_private_home(Settings.from_environment(quiet, home=self.home), environment=quiet)
        self.own = settings.own_oins[0]
        self.world: World = build_world(self.own)
        self.season = Season(self.world, self.own, seed=self._seed)
        store = program.open_store_of(settings)
        store.registry.save_register(self.world.document, who="test", now_us=Clock().now_us())
        store.close()
        self._backbone = Backbone(settings, port=0)
        await self._backbone.__aenter__()
        assert self._backbone.store is not None
        assert self._backbone.node is not None
        self.store: Store = self._backbone.store
        self.node: PrivateNode = self._backbone.node
        amqp, _ = amqp_urls(settings)
        self.people = People(
            home=self.home,
            world=self.world,
            own_oin=self.own,
            amqp=amqp,
            passwords=lambda oin: password_file(self.home, Oin(oin)).read_text().strip(),
        )
        await asyncio.to_thread(self.people.issue_certificates)
        await self._backbone.fetch_crls()
        await self.start_workers()
        await self.people.__aenter__()
        for system in self.people.senders.values():
            system._resend_after_s = RESEND_AFTER_S

    async def start_workers(self) -> None:
        """Starts every worker, each as a process, and keeps it running."""
        ours = {name: value for name, value in os.environ.items() if not name.startswith("KOPPELPUNT_") and name != "AMQP_URL"}
        environment = {**ours, "KOPPELPUNT_LOG_LEVEL": "WARNING", "KOPPELPUNT_HOME": str(self.home)}
        self.supervisor = Supervisor(program.ROOT / "run.py", self._workers, environment, self.home / "workers.log")
        await self.supervisor.start()

    def _end(self) -> None:
        for pid in self._frozen:
            _signal(pid, signal.SIGCONT)

        async def end() -> None:
            if hasattr(self, "people"):
                await self.people.__aexit__()
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

    # -- traffic -----------------------------------------------------------------------------------------------------------------------
    def plan(self, messages: int) -> list[Planned]:
        """At least so many more hand-ins of the season, mistakes included; not those whose sender waits for a receipt in between."""
        return [p for p in self.season.plan(messages) if p.sabotage not in ("sent twice", "same id, other content")]

    async def hand_in(self, planned: Sequence[Planned], *, over_s: float = 4.0) -> None:
        """Puts hand-ins into the senders' outboxes, spread over some seconds."""
        step = max(1, len(planned) // 20)
        for start in range(0, len(planned), step):
            await self.people.hand_in(planned[start : start + step])
            await asyncio.sleep(over_s / 20)

    async def publish(self, system: Oin, message_id: str, signed: bytes) -> None:
        """Hands in bytes once more, past the sender's outbox."""
        content_type = "text/xml; charset=utf-8"
        await self.people._publishers[system].publish(
            Outgoing(exchange="intake", routing_key=system, body=signed, content_type=content_type, message_id=message_id)
        )

    def all_workers_run(self) -> bool:
        """Whether every worker process has said in the store that it runs."""
        pids = self.supervisor.pids.values()
        return len(pids) == len(self._workers) and set(pids) <= {row["pid"] for row in self.rows("SELECT pid FROM worker")}

    def copy_hand_ins(self, system: str, *, to: str) -> None:
        """From now on what this system hands in also comes into the hand-in queue of that one."""
        with pika.BlockingConnection(pika.URLParameters(self.node.admin_url)) as connection:
            connection.channel().queue_bind(f"intake.{to}", "intake", routing_key=system)

    async def served_by(self) -> dict[str, str]:
        """Queue -> the connection that is given all that comes into it, of the queues that have just one such."""
        async with aiohttp.ClientSession() as session, session.get(f"{self.node.management_url}/api/consumers/koppelpunt") as answer:
            consumers = await answer.json()
        active = [one for one in consumers if one["activity_status"] == "single_active"]
        return {one["queue"]["name"]: one["channel_details"]["connection_name"] for one in active}

    async def settled(self, *, within_s: float = 45.0) -> None:
        """Waits until every hand-in is answered and every delivery has ended or waits for somebody. Fails when that takes too long."""
        until = time.monotonic() + within_s
        while unfinished := self.unfinished():
            if time.monotonic() > until:
                raise AssertionError(f"after {within_s:g} s there still are {unfinished}; the workers said:\n{self.log()}")
            await asyncio.sleep(0.1)

    def unfinished(self) -> dict[str, int]:
        """What is on its way, counted; empty when nothing is."""
        postponed = self.rows("SELECT count(*) AS n FROM delivery WHERE state = 'postponed' AND hold_code = 'ENDPOINT_UNREACHABLE'")[0]["n"]
        open_ones = {
            "hand-ins without a receipt": self.people.without_receipt(),
            "open deliveries": self.store.queries.open_deliveries(),
            "deliveries to be tried again": postponed,
        }
        return {what: count for what, count in open_ones.items() if count}

    def count(self) -> Summary:
        """What became of everything handed in so far."""
        return summary(self.people, self.store, sent=0, seconds=0.0)

    def nothing_lost_nothing_doubled(self) -> None:
        """Fails unless all that was promised is there, once; at the receivers, in the store, and in the receipts."""
        count = self.count()
        assert (count.lost, count.duplicated) == (0, 0), f"{asdict(count)}\n{self.log()}"
        accepted = self.people.accepted()
        messages = [row["reference"] for row in self.rows("SELECT reference FROM message")]
        assert sorted(accepted) == sorted(messages), "a receipt was given without a message, or a message without a receipt"
        doubled = self.rows("SELECT message_seq, target, count(*) AS n FROM delivery GROUP BY message_seq, target, receiver HAVING n > 1")
        assert not doubled, f"deliveries made twice: {doubled}"
        worked = self.people.worked_on()
        acknowledged = self.rows("SELECT id FROM delivery WHERE state = 'acknowledged'")
        assert all(worked[row["id"]] == 1 for row in acknowledged), (
            "a delivery was acknowledged that no receiver worked on, or one did twice"
        )

    # -- looking -----------------------------------------------------------------------------------------------------------------------
    def rows(self, query: str, **values: object) -> list[dict[str, Any]]:
        """Rows of the store."""
        with self.store.database.read() as connection:
            return [dict(row._mapping) for row in connection.execute(text(query), values)]

    def leader(self, name: str) -> tuple[str, int]:
        """Who leads: worker id and process id."""
        query = "SELECT worker.id, worker.pid FROM lease JOIN worker ON worker.id = lease.holder WHERE lease.name = :name"
        (row,) = self.rows(query, name=name)
        return row["id"], row["pid"]

    def log(self, lines: int = 30) -> str:
        """The last lines of what the workers said."""
        file = self.home / "workers.log"
        return "\n".join(file.read_text(errors="replace").splitlines()[-lines:]) if file.exists() else ""

    # -- hurting -----------------------------------------------------------------------------------------------------------------------
    def kill(self, name: str) -> list[int]:
        """kill -9 of every process of a worker; the supervisor starts them again. Returns which they were."""
        pids = [pid for key, pid in self.supervisor.pids.items() if key.partition("#")[0] == name]
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
        return pids

    def freeze(self, pid: int) -> None:
        """SIGSTOP: the process stands still and notices nothing."""
        os.kill(pid, signal.SIGSTOP)
        self._frozen.add(pid)

    def thaw(self, pid: int) -> None:
        """SIGCONT: it goes on as if no time had passed."""
        _signal(pid, signal.SIGCONT)
        self._frozen.discard(pid)

    async def kill_broker(self, *, wipe: bool = False, away_s: float = 1.0) -> None:
        """kill -9 of the broker, with all it held if `wipe`; it starts again after a while. Our relay puts the topology back."""
        await asyncio.to_thread(self.node.kill)
        if wipe:
            await asyncio.to_thread(self.node.wipe)
        await asyncio.sleep(away_s)
        await asyncio.to_thread(self.node.start)

    async def lock_store(self, seconds: float) -> None:
        """Another process holds the store's write lock for so long."""
        path = str(self.home / "koppelpunt.db")
        locker = await asyncio.create_subprocess_exec(sys.executable, "-c", _LOCK, path, str(seconds), stdout=subprocess.PIPE)
        assert locker.stdout is not None
        assert await locker.stdout.readline() == b"locked\n"
        connection = sqlite3.connect(path, timeout=0)
        with pytest.raises(sqlite3.OperationalError, match="locked"):
            connection.execute("BEGIN IMMEDIATE")
        connection.close()
        assert await locker.wait() == 0

    async def stop_workers(self) -> tuple[float, list[int | None]]:
        """SIGTERM to every worker. Returns how many seconds they took, and their exit statuses."""
        started = time.monotonic()
        await self.supervisor.stop()
        return time.monotonic() - started, [process.returncode for process in self.supervisor._processes.values()]


def _signal(pid: int, number: signal.Signals) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return
