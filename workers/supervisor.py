"""Keeps a machine's workers running for `up` and `demo`: one process each, started again when it dies, drained on SIGTERM."""

from __future__ import annotations

import asyncio
import logging
import signal
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from workers.loop import DRAIN_S

log = logging.getLogger("koppelpunt.supervisor")

#: A worker that dies is started again at once; one that dies again within this many seconds waits as long first.
RESTART_PAUSE_S: Final = 2.0
#: After the drain, what still runs is killed.
KILL_AFTER_S: Final = DRAIN_S + 5.0
#: What a worker's environment leaves out: people reach the portal, and it needs no broker.
NOT_FOR: Final = {"portal": frozenset({"AMQP_URL", "KOPPELPUNT_AMQP_MANAGEMENT"})}
#: What glibc (another C library ignores it) keeps at hand for the next of its size: 500 pieces of memory instead of 7. libxml2 takes and
#: gives back hundreds for each message; a sixth of the time that parsing takes.
TUNABLES: Final = {"GLIBC_TUNABLES": "glibc.malloc.tcache_count=500"}


class Supervisor:
    """Runs `python run.py work NAME` for each name, with the environment given, and TUNABLES where it says nothing of those."""

    def __init__(self, program: Path, names: Sequence[str], environment: Mapping[str, str], log_file: Path | None = None) -> None:
        self._program, self._names, self._environment, self._log_file = program, tuple(names), {**TUNABLES, **environment}, log_file
        self._processes: dict[str, asyncio.subprocess.Process] = {}
        self._keepers: list[asyncio.Task[None]] = []
        self._stopping = False

    @property
    def pids(self) -> dict[str, int]:
        """Worker name (numbered where there are several) -> process id, of those that run now."""
        return {key: process.pid for key, process in self._processes.items() if process.returncode is None}

    async def start(self) -> None:
        """Starts every worker."""
        for key in numbered(self._names):
            await self._launch(key)
            self._keepers.append(asyncio.create_task(self._keep(key)))

    async def _launch(self, key: str) -> None:
        name = key.partition("#")[0]
        environment = {variable: value for variable, value in self._environment.items() if variable not in NOT_FOR.get(name, ())}
        output = self._log_file.open("ab") if self._log_file else None
        try:
            self._processes[key] = await asyncio.create_subprocess_exec(
                sys.executable,
                str(self._program),
                "work",
                name,
                env=environment,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )
        finally:
            if output:
                output.close()

    async def _keep(self, key: str) -> None:
        started = time.monotonic()
        while True:
            code = await self._processes[key].wait()
            if self._stopping:
                return
            log.warning("worker_died", extra={"worker": key, "exit_status": code})
            if time.monotonic() - started < RESTART_PAUSE_S:
                await asyncio.sleep(RESTART_PAUSE_S)
            started = time.monotonic()
            await self._launch(key)

    async def stop(self) -> None:
        """Asks every worker to drain; kills what does not."""
        self._stopping = True
        for process in self._processes.values():
            if process.returncode is None:
                process.send_signal(signal.SIGTERM)
        waits = [asyncio.ensure_future(process.wait()) for process in self._processes.values()]
        if waits:
            _, late = await asyncio.wait(waits, timeout=KILL_AFTER_S)
            if late:
                for key, process in self._processes.items():
                    if process.returncode is None:
                        log.error("worker_killed", extra={"worker": key, "after_s": KILL_AFTER_S})
                        process.kill()
                await asyncio.wait(late)
        await asyncio.gather(*self._keepers)


def numbered(names: Sequence[str]) -> list[str]:
    """`["intake", "intake"]` -> `["intake", "intake#2"]`."""
    seen: dict[str, int] = {}
    keys = []
    for name in names:
        seen[name] = seen.get(name, 0) + 1
        keys.append(name if seen[name] == 1 else f"{name}#{seen[name]}")
    return keys


def until_signal() -> asyncio.Event:
    """An event that SIGTERM or Ctrl-C sets; or a terminal that is closed, for the workers, to whom SIGHUP means something else, go on."""
    stopped = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    return stopped
