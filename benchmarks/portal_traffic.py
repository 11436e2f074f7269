"""Traffic while the portal is measured: messages are handed in, routed, delivered and confirmed, the journal chained and the board kept.

    python benchmarks/portal_traffic.py URL

It goes on until standard input says stop, and then prints how much there was. To any other word it prints how many passed since the last,
and the milliseconds that each of them took.
"""

from __future__ import annotations

import json
import sys
import threading
import time
from collections import deque
from pathlib import Path
from typing import Final

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from sqlalchemy import text  # noqa: E402 - runs from any folder

from adapters.store import Store, open_store  # noqa: E402 - runs from any folder
from benchmarks import portal_store as season  # noqa: E402
from benchmarks.portal_store import now_us, take  # noqa: E402
from routing.work import Confirmation, Lease, NewDelivery, NewMessage, RecordedDecision, RoutedMessage, Settlement, Ticket  # noqa: E402
from schemas.ids import new_id  # noqa: E402
from schemas.rules import Judgement  # noqa: E402

#: Messages per second.
PER_S: Final = 100


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
        law_day=this.law_day,
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


def _listen(said: deque[str], stop: threading.Event) -> None:
    for line in sys.stdin:
        if line == "stop\n":
            break
        said.append(line)
    stop.set()


def traffic(url: str) -> None:
    """Messages go through until standard input says stop; the journal is chained and the board kept."""
    store = open_store(url)
    relay, audit, board = (take(store, name) for name in ("relay", "audit", "board"))
    stop, said = threading.Event(), deque[str]()
    threading.Thread(target=_listen, args=(said, stop), daemon=True).start()
    print("begun", flush=True)
    began, passed, keeper = time.monotonic(), 0, store.board_keeper
    since, busy_s = 0, 0.0
    while not stop.is_set():
        if said:
            said.popleft()
            print(json.dumps({"passed": passed - since, "ms": round(1e3 * busy_s / max(1, passed - since), 3)}), flush=True)
            since, busy_s = passed, 0.0
        before = time.perf_counter()
        passed += _pass(store, relay, passed, 25)
        busy_s += time.perf_counter() - before
        while store.journal.chain(audit, now_us=now_us()) >= 1_000:
            pass
        for chore in (keeper.follow, keeper.sweep, keeper.count):
            chore(board, now_us=now_us())
        ahead = passed / PER_S - (time.monotonic() - began)
        if ahead > 0:
            stop.wait(ahead)
    print(json.dumps({"traffic_per_s": round(passed / (time.monotonic() - began))}))
    store.close()


if __name__ == "__main__":
    traffic(sys.argv[1])
