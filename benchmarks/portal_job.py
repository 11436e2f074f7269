"""What a bulk retry costs new traffic: rounds with the job and without it, in pairs, while the portal's benchmark lets messages pass.

    python benchmarks/portal_job.py URL

as a process of its own runs the jobs as the timetable does, until standard input ends. What a job offers again is at its receiver half a
second later: that is written straight into the table, for those receivers are others than those of the new messages.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from statistics import fmean
from typing import Any, Final

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from sqlalchemy import text  # noqa: E402 - runs from any folder

from adapters.store import Store, open_store  # noqa: E402 - runs from any folder
from benchmarks import portal_store as season  # noqa: E402 - runs from any folder
from routing.register import read_register  # noqa: E402
from workers.clock import Clock  # noqa: E402
from workers.jobs import JobRunner  # noqa: E402
from workers.loop import Worker  # noqa: E402

#: Seconds that are left out before each half of a pair.
SETTLE_S: Final = 1.0
_ON_THEIR_WAY: Final = (
    "SELECT d.seq FROM job_item i JOIN delivery d ON d.seq = i.seq WHERE i.state = 'under_way' AND i.subject = 'delivery' "
    "AND d.state IN ('routed', 'released') LIMIT 200"
)


def rounds(
    passing: Callable[[], dict[str, Any]],
    pause: Callable[[], object],
    resume: Callable[[], object],
    *,
    url: str,
    pairs: int,
    round_s: float,
) -> dict[str, Any]:
    """Milliseconds that a new message took from hand-in to confirmation, without and with the job, and how much slower that is: the mean of
    the pairs, each of twice `round_s` seconds. `passing`: how many passed since it was last asked, and how long each took."""
    command = [sys.executable, __file__, url]
    found: dict[bool, list[float]] = {False: [], True: []}
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None and process.stdin is not None
        process.stdout.readline()  # it has begun
        for pair in range(pairs):
            for busy in (pair % 2 == 0, pair % 2 == 1):
                (resume if busy else pause)()
                time.sleep(SETTLE_S)
                passing()
                time.sleep(round_s)
                found[busy].append(passing()["ms"])
        process.stdin.close()
        process.wait(60)
    slower = [100 * (busy / idle - 1) for idle, busy in zip(found[False], found[True], strict=True)]
    return {
        "pairs": pairs,
        "ms_without": round(fmean(found[False]), 2),
        "ms_with": round(fmean(found[True]), 2),
        "slower_percent": round(fmean(slower), 1),
    }


def _deliver(store: Store, done: threading.Event) -> None:
    """What was offered again arrives."""
    while not done.wait(0.5):
        with store.database.write() as tx:
            seqs = [{"seq": seq} for seq in tx.execute(text(_ON_THEIR_WAY)).scalars()]
            for state in ("released", "delivered") if seqs else ():
                move = text("UPDATE delivery SET state = :state WHERE seq = :seq AND state <> :state")
                tx.execute(move, [{**seq, "state": state} for seq in seqs])


async def _run(store: Store) -> None:
    register, clock = read_register(season.register(), version=1), Clock()
    worker = Worker("timetable", store.registry, clock)
    runner = JobRunner(worker, store.jobs, store.registry, lambda: register, [], clock)
    threading.Thread(target=lambda: (sys.stdin.read(), loop.call_soon_threadsafe(worker.stop)), daemon=True).start()
    loop = asyncio.get_running_loop()
    print("begun", flush=True)
    await runner.run()


def run(url: str) -> None:
    """Until standard input ends."""
    store, done = open_store(url), threading.Event()
    season.take(store, "jobs")  # so that nobody waits for whoever had it
    with store.database.write() as tx:
        tx.execute(text("UPDATE lease SET until_us = 0 WHERE name = 'jobs'"))
    delivering = threading.Thread(target=_deliver, args=(store, done))
    delivering.start()
    try:
        asyncio.run(_run(store))
    finally:
        done.set()
        delivering.join()
        store.close()


if __name__ == "__main__":
    run(sys.argv[1])
