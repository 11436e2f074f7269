"""How fast the portal's pages are in a large store, while traffic goes on.

    python run.py bench portal [--messages 1000000] [--postgres] [--home DIR] [--json]

A store is built with so many messages, a fifth of them open, at most 200,000 (benchmarks/portal_store.py); its board is filled by the
audit worker's own code, as after an upgrade. With `--home` it stays in that folder, and the next run with that folder measures it again.
Then `run.py work portal` runs on it, and a chain manager and, every fourth turn, a partner of one large supplier ask for each page with
the filters that people use (benchmarks/portal_pages.py), while another process hands in, routes, delivers and confirms messages and keeps
the board (benchmarks/portal_traffic.py).

    messages, open    in the store; on the board, openstaand and uitval together
    p95_ms            per page: the server's time, as the portal logs it with each request (`ms`), store and template together
    bulk_slows        milliseconds that a new message takes from hand-in to confirmation without and with that job running, in pairs of
                      rounds, and how much slower that is (benchmarks/portal_job.py)
    bulk_accept_s     from asking for the preview of a retry of 100,000 (`bulk`, where fewer are open) until it is frozen and confirmed

Beside these are printed the medians, how long building and filling took, and how much traffic there was.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from sqlalchemy import text  # noqa: E402 - runs from any folder

from adapters.store import Store, open_store  # noqa: E402 - runs from any folder
from benchmarks import portal_job  # noqa: E402
from benchmarks import portal_store as season  # noqa: E402
from benchmarks.portal_pages import ACCOUNTS, THEIRS, Portal, Visitor, pages  # noqa: E402
from benchmarks.portal_store import now_us  # noqa: E402
from routing.actions import Action, Order, Selection  # noqa: E402
from routing.board import ItemFilter  # noqa: E402
from routing.jobs import JobState, Terms  # noqa: E402
from routing.people import Scope  # noqa: E402
from routing.register import read_register  # noqa: E402
from workers.actions import ActionDesk  # noqa: E402
from workers.clock import Clock  # noqa: E402
from workers.tables import print_json, print_table  # noqa: E402

PAGES: Final = ("overview", "openstaand", "uitval", "message", "parties", "reports")
#: Turns in which each page is asked for, after two that are not counted.
TURNS: Final = 60
#: Messages that are retried at once.
BULK: Final = 100_000
#: Pairs of rounds with that job and without it, and seconds of each round; and in a store of fewer messages than that.
PAIRS, SMALL_PAIRS, SMALL = (10, 4.0), (1, 1.0), 100_000
EVERYTHING: Final = Scope(everything=True)
#: Of the PostgreSQL server: memory as a small database machine has it; and what is copied into new tables is not logged besides.
SERVER: Final = ("shared_buffers=1GB", "wal_level=minimal", "max_wal_senders=0", "max_wal_size=8GB")


def quantile(times: Sequence[float], share: float) -> float:
    """In milliseconds."""
    return round(sorted(times)[int(len(times) * share)] * 1_000, 1)


@dataclass(frozen=True, slots=True)
class Built:
    """A store that was filled, as its folder keeps it."""

    messages: int
    began_us: int
    build_s: float  #: how long it took
    fill_s: float  #: and its board


def built(home: Path, url: str, count: int) -> Built:
    """Fills the empty store at this URL; or finds in the folder that it is filled. Raises SystemExit when it holds another number."""
    note = home / "built.json"
    if note.exists():
        found = Built(**json.loads(note.read_text()))
        if found.messages != count:
            raise SystemExit(f"{home} holds a store of {found.messages} messages: give that --messages, or another --home.")
        return found
    began_us = now_us()
    build_s = season.build(url, count, began_us)
    store = open_store(url)
    try:
        store.registry.save_register(season.register(), who="bench", now_us=now_us())
        fill_s = season.fill(store)
    finally:
        store.close()
    made = Built(count, began_us, round(build_s, 1), round(fill_s, 1))
    note.write_text(json.dumps(asdict(made)))
    return made


def measure(home: Path, url: str, count: int) -> dict[str, Any]:
    """Everything, on a store that is empty, or was built in this folder before."""
    there = built(home, url, count)
    store = open_store(url)
    try:
        open_ones = sum(store.board.tally(EVERYTHING, ItemFilter(), "state", now_us=now_us()).values())
        traffic = Traffic(url)
        with TemporaryDirectory() as own, Portal(Path(own) / "portal", url, store) as portal, traffic:
            times = visit(portal, count, there.began_us)
            bulk, bulk_accept_s, bulk_slows = beside(url, store, open_ones, traffic, PAIRS if count >= SMALL else SMALL_PAIRS)
    finally:
        store.close()
    return {
        "messages": count,
        "open": open_ones,
        "p95_ms": {name: quantile(some, 0.95) for name, some in times.items()},
        "bulk_accept_s": round(bulk_accept_s, 2),
        "bulk": bulk,
        "bulk_slows": bulk_slows,
        "p50_ms": {name: quantile(some, 0.5) for name, some in times.items()},
        "build_s": there.build_s,
        "fill_s": there.fill_s,
        **traffic.said,
    }


def visit(portal: Portal, count: int, began_us: int) -> dict[str, list[float]]:
    """Seconds of each request, by page."""
    manager, partner = (
        Visitor(portal, account.name, pages(count, began_us, systems))
        for account, systems in zip(ACCOUNTS, (season.SENDING, THEIRS), strict=True)
    )
    times: dict[str, list[float]] = {name: [] for name in PAGES}
    for turn in range(-2, TURNS):
        for name, some in times.items():
            took = (partner if turn in (-1, *range(3, TURNS, 4)) else manager).look(name, abs(turn))
            if turn >= 0:
                some += took
    return times


class Traffic:
    """Messages that pass, in a process of its own. Use as `with`."""

    def __init__(self, url: str) -> None:
        self.said: dict[str, Any] = {}  #: afterwards: how much there was
        self._command = [sys.executable, str(ROOT / "benchmarks" / "portal_traffic.py"), url]

    def __enter__(self) -> Traffic:
        self._process = subprocess.Popen(self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        self._process.stdout.readline()  # it has begun
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self.said = json.loads(self._process.communicate("stop\n", timeout=60)[0])
        finally:
            self._process.kill()

    def look(self) -> dict[str, Any]:
        """How many passed since the last look, and how long each took."""
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write("look\n")
        self._process.stdin.flush()
        found: dict[str, Any] = json.loads(self._process.stdout.readline())
        return found


def beside(url: str, store: Store, open_ones: int, traffic: Traffic, pairs: tuple[int, float]) -> tuple[int, float, dict[str, Any]]:
    """Previews and confirms a retry of the newest 100,000 that are open: how many, the seconds until the job may begin, and what it then
    costs the traffic."""
    desk, who = ActionDesk(store.jobs, lambda: read_register({}, version=0), Clock(), approve_above=1_000_000), ACCOUNTS[0].name
    for left in desk.jobs(EVERYTHING):  # by a run that was cut off
        if left.state in (JobState.RUNNING, JobState.PAUSED, JobState.STOPPED):
            desk.cancel(EVERYTHING, left.id, who=who)
    nth = "SELECT received_us FROM item ORDER BY received_us LIMIT 1 OFFSET :n"
    with store.database.read() as connection:
        since_us = connection.execute(text(nth), {"n": max(0, open_ones - BULK)}).scalar_one()
    began = time.perf_counter()
    preview = desk.preview(EVERYTHING, Selection(wanted=ItemFilter(since_us=since_us)), Order(action=Action.RETRY), who=who)
    job = desk.confirm(EVERYTHING, preview.id, who=who, reason="bench", terms=Terms()).id
    took_s = time.perf_counter() - began

    def move(does: Callable[..., object], *states: JobState) -> None:
        now = desk.job(EVERYTHING, job)
        if now is not None and now.state in states:
            does(EVERYTHING, job, who=who)

    slows = portal_job.rounds(
        traffic.look,
        lambda: move(desk.pause, JobState.RUNNING),
        lambda: move(desk.resume, JobState.PAUSED, JobState.STOPPED),
        url=url,
        pairs=pairs[0],
        round_s=pairs[1],
    )
    move(desk.cancel, JobState.RUNNING, JobState.PAUSED, JobState.STOPPED)
    ended = desk.job(EVERYTHING, job)
    assert ended is not None
    return preview.count, took_s, slows | {"offered": ended.figures.succeeded + ended.figures.under_way}


def run(*, messages: int = 1_000_000, postgres: bool = False, home: str | None = None, as_json: bool = False) -> int:
    """Measures and prints."""
    with nullcontext(home) if home else TemporaryDirectory(prefix="koppelpunt-portal-") as folder:
        there = Path(folder).resolve()
        there.mkdir(parents=True, exist_ok=True)
        url = _postgres(there / "postgres" if home else None) if postgres else f"sqlite:///{there / 'store.db'}"
        result = measure(there, url, messages)
    if as_json:
        print_json(result)
        return 0
    slows = {f"bulk_slows {name}": value for name, value in result["bulk_slows"].items()}
    figures = [{"what": name, "figure": value} for name, value in (result | slows).items() if not isinstance(value, dict)]
    print_table(("what", "figure"), figures)
    by_page = [{"page": name, "p50_ms": result["p50_ms"][name], "p95_ms": result["p95_ms"][name]} for name in PAGES]
    print_table(("page", "p50_ms", "p95_ms"), by_page, title="Server time, as the portal logs it")
    return 0


def _postgres(keep: Path | None) -> str:
    """A database of its own on a private server, which ends with this process; its data may be kept in a folder."""
    from sqlalchemy import create_engine

    from tests.support import postgres

    url = postgres.server(durable=True, keep=keep, settings=SERVER)
    engine = create_engine(url.format(database="postgres"), isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        if not connection.execute(text("SELECT 1 FROM pg_database WHERE datname = 'portal_bench'")).first():
            connection.execute(text("CREATE DATABASE portal_bench TEMPLATE template0"))
    engine.dispose()
    return url.format(database="portal_bench")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--messages", type=int, default=1_000_000)
    parser.add_argument("--postgres", action="store_true")
    parser.add_argument("--home", metavar="DIR")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    raise SystemExit(run(messages=options.messages, postgres=options.postgres, home=options.home, as_json=options.json))


if __name__ == "__main__":
    main()
