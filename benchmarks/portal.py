"""How fast the portal's questions are answered in a large store, while traffic goes on.

    python run.py bench portal [--messages 1000000] [--postgres] [--json]

A store is built with so many messages, a fifth of them open (benchmarks/portal_store.py); its board is filled by the audit worker's own
code, as after an upgrade. Then each page's questions are asked many times, with the filters that people use, and each time is noted, while
another process hands in, routes, delivers and confirms messages and keeps the board.

    messages, open    in the store; on the board, openstaand and uitval together
    p95_ms            per page
    bulk_accept_s     from asking for the preview of a retry of 100,000 (`bulk`, where fewer are open) until it is frozen and confirmed

Beside these are printed how long building and filling took, and how much traffic there was.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any, Final

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from sqlalchemy import text  # noqa: E402 - runs from any folder

from adapters.store import Store, open_store  # noqa: E402 - runs from any folder
from benchmarks import portal_store as season  # noqa: E402
from routing.actions import Action, Order, Selection  # noqa: E402
from routing.amsterdam import amsterdam_day  # noqa: E402
from routing.board import Board, ItemFilter, Sort, View  # noqa: E402
from routing.jobs import Terms  # noqa: E402
from routing.people import Scope  # noqa: E402
from routing.register import read_register  # noqa: E402
from routing.work import Confirmation, Lease, NewDelivery, NewMessage, RecordedDecision, RoutedMessage, Settlement, Ticket  # noqa: E402
from schemas.ids import new_id  # noqa: E402
from schemas.rules import Judgement  # noqa: E402
from workers.actions import ActionDesk  # noqa: E402
from workers.clock import Clock  # noqa: E402
from workers.tables import print_json, print_table  # noqa: E402

PAGES: Final = ("overview", "openstaand", "uitval", "message", "parties", "reports")
#: How often each page is asked for.
TIMES: Final = 40
#: Messages that are handed in, delivered and confirmed beside it, per second.
TRAFFIC: Final = 100
#: Messages that are retried at once.
BULK: Final = 100_000
EVERYTHING: Final = Scope(everything=True)


def now_us() -> int:
    """The clock."""
    return time.time_ns() // 1_000


def take(store: Store, name: str) -> Lease:
    """The lease; nobody else wants it."""
    lease = store.registry.take_lease(name, f"bench-{uuid.uuid4().hex[:6]}", now_us=now_us(), until_us=now_us() + 86_400_000_000)
    assert lease is not None, f"somebody else leads {name}"
    return lease


def fill(store: Store) -> float:
    """Seconds until the board is whole, at full speed; from an upgrade on, as the migration leaves it."""
    with store.database.write() as tx:
        tx.execute(text("UPDATE counter SET value = (SELECT max(seq) FROM journal) WHERE name = 'board'"))
    began, keeper, lease = time.perf_counter(), store.board_keeper, take(store, "board")
    keeper.sweep(lease, now_us=now_us())
    time.sleep(1.6)
    for chore in (keeper.sweep, keeper.follow, keeper.count, keeper.close, keeper.pack):
        while chore(lease, now_us=now_us()):
            pass
        store.database.tidy_log()
    store.registry.give_lease(lease)
    return time.perf_counter() - began


def wanted(turn: int, view: View) -> ItemFilter:
    """The filters people use, one after another."""
    school, system = season.SCHOOLS[turn * 11 % 600], season.SENDING[turn % 12]
    some = (
        {},
        {"dienst": "vva"},
        {"systems": (system,)},
        {"school": school},
        {"code": season.CODES[turn % 6][0]},
        {"owner": "receiver", "bericht": "mboGangerBericht"},
        {"receiver": season.TOWNS[turn % 340]},
        {"older_than_s": 7 * 86_400, "receiver_systems": (season.RECEIVING[turn % 8],)},
        {"state": ("postponed", "failed")[view is View.FALLEN], "systems": (system,)},
        {"party": system, "dienst": "proef"},
    )
    return ItemFilter(view=view, **some[turn % len(some)])  # type: ignore[arg-type]


def scope(turn: int) -> Scope:
    """Mostly a chain manager; every fourth time a supplier, every eighth a school."""
    if turn % 8 == 3:
        return Scope(organisations=frozenset({season.SCHOOLS[turn % 600]}))
    return Scope(systems=frozenset({season.SENDING[turn % 12]})) if turn % 8 == 7 else EVERYTHING


def pages(board: Board, count: int, began_us: int) -> dict[str, Callable[[int], object]]:
    """What each page asks."""
    today = amsterdam_day(datetime.now(UTC))
    monday = today - timedelta(days=today.weekday() + 7)
    sorts = list(Sort)

    def openstaand(turn: int) -> object:
        who, filters, now = scope(turn), wanted(turn, View.OPEN), now_us()
        page = board.items(who, filters, now_us=now, sort=sorts[turn // 10 % len(sorts)])
        if page.next and turn % 2:
            board.items(who, filters, now_us=now, sort=sorts[turn // 10 % len(sorts)], after=page.next)
        return board.count(who, filters, now_us=now), board.fresh(now_us=now)

    def uitval(turn: int) -> object:
        groups = board.groups(scope(turn), now_us=now_us())
        if turn % 2 and groups:  # one group, opened
            key = groups[turn % len(groups)].key
            return board.group(scope(turn), key, now_us=now_us()), board.items(scope(turn), ItemFilter(group=key), now_us=now_us())
        return groups

    def message(turn: int) -> object:
        n = turn * 7_919 % count
        return board.message(EVERYTHING, season.one(n, count, began_us).reference)

    def parties(turn: int) -> object:
        if turn % 2:
            return board.party(scope(turn), season.SENDING[turn % 12], now_us=now_us())
        return board.parties(scope(turn), now_us=now_us())

    def overview(turn: int) -> object:
        now = now_us()
        return board.overview(scope(turn), now_us=now), board.chain_map(scope(turn), since_us=now - 86_400_000_000, now_us=now)

    def reports(turn: int) -> object:
        week: date = monday - timedelta(days=7 * (turn % 4))
        return board.partners(scope(turn), monday=week), board.reports(
            scope(turn), monday=week, now_us=now_us(), system=season.SENDING[turn % 12]
        )

    return dict(zip(PAGES, (overview, openstaand, uitval, message, parties, reports), strict=True))


def p95(times: Sequence[float]) -> float:
    """In milliseconds."""
    return round(sorted(times)[int(len(times) * 0.95)] * 1_000, 1)


def measure(url: str, count: int) -> dict[str, Any]:
    """Everything."""
    began_us = now_us()
    build_s = season.build(url, count, began_us)
    store = open_store(url)
    fill_s = fill(store)
    open_ones = sum(store.board.tally(EVERYTHING, ItemFilter(), "state", now_us=now_us()).values())
    traffic = subprocess.Popen([sys.executable, __file__, "--traffic", url], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert traffic.stdin is not None and traffic.stdout is not None
    traffic.stdout.readline()  # it has begun
    times: dict[str, list[float]] = {name: [] for name in PAGES}
    asked = pages(store.board, count, began_us)
    for turn in range(-2, TIMES):
        for name, ask in asked.items():
            began = time.perf_counter()
            ask(abs(turn))
            if turn >= 0:
                times[name].append(time.perf_counter() - began)
    bulk, bulk_accept_s = accept(store, open_ones)
    said, _ = traffic.communicate("stop\n", timeout=60)
    store.close()
    return {
        "messages": count,
        "open": open_ones,
        "p95_ms": {name: p95(some) for name, some in times.items()},
        "bulk_accept_s": round(bulk_accept_s, 2),
        "bulk": bulk,
        "median_ms": {name: round(sorted(some)[len(some) // 2] * 1_000, 1) for name, some in times.items()},
        "build_s": round(build_s, 1),
        "fill_s": round(fill_s, 1),
        **json.loads(said),
    }


def accept(store: Store, open_ones: int) -> tuple[int, float]:
    """Previews and confirms a retry of the newest 100,000 that are open: how many, and the seconds until the job may begin."""
    desk = ActionDesk(store.jobs, lambda: read_register({}, version=0), Clock(), approve_above=1_000_000)
    nth = "SELECT received_us FROM item ORDER BY received_us LIMIT 1 OFFSET :n"
    with store.database.read() as connection:
        since_us = connection.execute(text(nth), {"n": max(0, open_ones - BULK)}).scalar_one()
    began = time.perf_counter()
    preview = desk.preview(EVERYTHING, Selection(wanted=ItemFilter(since_us=since_us)), Order(action=Action.RETRY), who="bench")
    desk.confirm(EVERYTHING, preview.id, who="bench", reason="bench", terms=Terms())
    return preview.count, time.perf_counter() - began


# -- the traffic beside it ---------------------------------------------------------------------------------------------------------------


class _Parts:
    wrapped_key = body = facts = b"bench"


_YES: Final = RecordedDecision(question="sender", outcome="yes", code=None, register_version=1, record="{}")


def _message(n: int) -> NewMessage:
    this, at_us = season.one(n, 1_000_000, now_us()), now_us()
    return NewMessage(
        reference=new_id(),
        sender=this.sender,
        system=this.system,
        receiver=this.receiver,
        message_id=f"urn:uuid:{new_id()}",
        business_id=new_id(),
        address="https://hub",
        action=this.bericht,
        dienst=this.dienst,
        versie="1",
        bericht=this.bericht,
        order_key=None,
        subject=None,
        digest=b"d" * 32,
        received_us=at_us,
        created_us=at_us,
        expires_us=None,
        stale=False,
        via="https",
        size=5_000,
        warnings=(),
        register_version=1,
        sealed=_Parts(),
        decisions=(_YES,),
    )


def _pass(store: Store, relay: Lease, start: int, size: int) -> int:
    """So many messages go all the way; every fiftieth fails."""
    results = store.hand_ins.accept([_message(start + n) for n in range(size)], actor="bench", judge_step=lambda *_: Judgement())
    with store.database.read() as connection:
        number = text("SELECT seq FROM message WHERE reference = :r")
        seqs = [connection.execute(number, {"r": result.reference}).scalar_one() for result in results]
    routes = []
    for n, routable in enumerate(store.outbox.routable([Ticket(seq, 0) for seq in seqs])):
        this = season.one(start + n, 1_000_000, now_us())
        new = NewDelivery(
            id=new_id(),
            target="woongemeente",
            receiver=this.receiver,
            endpoint=f"{this.receiver}/live",
            lane=f"mailbox {season.RECEIVING[0][:-1]}9",
            receiver_system=f"{season.RECEIVING[0][:-1]}9",
            deadline_us=now_us() + 86_400_000_000,
        )
        routes.append(RoutedMessage(message=routable, deliveries=(new,), register_version=1))
    store.outbox.commit_routes(routes, actor="bench", now_us=now_us())
    lane = f"mailbox {season.RECEIVING[0][:-1]}9"
    tickets, _ = store.outbox.release_deliveries(relay, [(lane, 1_000)], now_us=now_us(), limit=size)  # type: ignore[attr-defined]
    claimed, _ = store.outbox.claim(tickets, worker="bench", now_us=now_us(), until_us=now_us() + 10_000_000)
    done = [
        Settlement(claimed=one, state="delivered", at_us=now_us(), took_us=100, register_version=1, envelope="original") for one in claimed
    ]
    if done:
        store.outbox.settle(done, worker="bench", actor="bench")
    words = [
        Confirmation(delivery_id=one.id, system=one.receiver_system, confirmed=bool(n % 50), code="NOT_OUR_RESIDENT", owner="school")
        for n, one in enumerate(claimed)
    ]
    store.outbox.confirm(words, actor="bench", now_us=now_us())
    return len(claimed)


def traffic(url: str) -> None:
    """Messages go through until standard input says stop; the journal is chained and the board kept."""
    import threading

    store = open_store(url)
    relay, audit, board = (take(store, name) for name in ("relay", "audit", "board"))
    stop = threading.Event()
    threading.Thread(target=lambda: (sys.stdin.readline(), stop.set()), daemon=True).start()
    print("begun", flush=True)
    began, passed, keeper = time.monotonic(), 0, store.board_keeper
    while not stop.is_set():
        passed += _pass(store, relay, passed, 25)
        while store.journal.chain(audit, now_us=now_us()) >= 1_000:
            pass
        for chore in (keeper.follow, keeper.sweep, keeper.count):
            chore(board, now_us=now_us())
        ahead = passed / TRAFFIC - (time.monotonic() - began)
        if ahead > 0:
            stop.wait(ahead)
    print(json.dumps({"traffic_per_s": round(passed / (time.monotonic() - began))}))
    store.close()


def run(*, messages: int = 1_000_000, postgres: bool = False, as_json: bool = False) -> int:
    """Measures and prints."""
    home = Path(tempfile.mkdtemp(prefix="koppelpunt-portal-"))
    try:
        result = measure(_postgres() if postgres else f"sqlite:///{home / 'store.db'}", messages)
    finally:
        shutil.rmtree(home, ignore_errors=True)
    if as_json:
        print_json(result)
    else:
        rows = [{"what": name, "figure": value} for name, value in result.items() if not isinstance(value, dict)]
        nested = [(name, value) for name, value in result.items() if isinstance(value, dict)]
        rows += [{"what": f"{name} {key}", "figure": one} for name, value in nested for key, one in value.items()]
        print_table(("what", "figure"), rows)
    return 0


def _postgres() -> str:
    """A database of its own on a private server, which ends with this process."""
    from sqlalchemy import create_engine

    from tests.support import postgres

    url = postgres.server(durable=True)
    engine = create_engine(url.format(database="postgres"), isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(text("CREATE DATABASE portal_bench TEMPLATE template0"))
    engine.dispose()
    return url.format(database="portal_bench")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--messages", type=int, default=1_000_000)
    parser.add_argument("--postgres", action="store_true")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--traffic", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.traffic:
        traffic(options.traffic)
    else:
        raise SystemExit(run(messages=options.messages, postgres=options.postgres, as_json=options.json))


if __name__ == "__main__":
    main()
