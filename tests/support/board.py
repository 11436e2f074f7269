"""Boards for tests: kept as the audit worker keeps them, but at once."""

from __future__ import annotations

from typing import Any

from adapters.store import Store
from adapters.store.board_keeper import BoardKeeper
from adapters.store.board_standing import count_anew
from routing.work import Lease, RoutedMessage, Ticket
from tests.support.store import NOW, run_sql


def keeper_of(store: Store) -> BoardKeeper:
    """One that waits for nothing, as if it had just been started."""
    return BoardKeeper(store.database, settled_s=0)


def chain(store: Store, *, now_us: int = NOW) -> None:
    """Binds all events."""
    audit = take(store, "audit", now_us=now_us)
    while store.journal.chain(audit, now_us=now_us):
        pass


def take(store: Store, name: str, *, now_us: int = NOW) -> Lease:
    """The lease, whoever had it."""
    run_sql(store, "UPDATE lease SET until_us = 0 WHERE name = :name", name=name)
    lease = store.registry.take_lease(name, "test", now_us=now_us, until_us=now_us + 10**15)
    assert lease is not None
    return lease


def keep(store: Store, keeper: BoardKeeper | None = None, *, now_us: int = NOW) -> None:
    """Brings the board up to date; what was added and taken off then stands there as if it had been counted."""
    check_standing(store)
    chain(store, now_us=now_us)
    keeper, lease = keeper or keeper_of(store), take(store, "board", now_us=now_us)
    for chore in (keeper.follow, keeper.sweep, keeper.count, keeper.close, keeper.pack):
        while chore(lease, now_us=now_us):
            pass
    check_standing(store)


def check_standing(store: Store) -> None:
    """How much of each sort stands there, and since when, is what counting says."""
    everything = "SELECT * FROM standing ORDER BY sort"
    added_up = [tuple(row)[:-1] for row in run_sql(store, everything)]
    with store.database.write() as tx:
        count_anew(tx)
    assert added_up == [tuple(row)[:-1] for row in run_sql(store, everything)]


def on_board(store: Store) -> dict[str, tuple[str, str, str | None]]:
    """id -> kind, state and code."""
    return {row.id: (row.kind, row.state, row.code) for row in run_sql(store, "SELECT id, kind, state, code FROM item ORDER BY seq")}


def whole_board(store: Store) -> dict[str, list[Any]]:
    """Everything on it."""
    tables = {
        name: run_sql(store, f"SELECT * FROM {name}")
        for name in ("item", "standing", "traffic", "traffic_year", "traffic_party", "traffic_own", "season", "fallout")
    }
    return {name: sorted(tuple(str(value) for value in row) for row in rows) for name, rows in tables.items()}


def fail_whole(store: Store, reference: str, *, code: str = "ROUTE_UNKNOWN", owner: str = "school", now_us: int = NOW) -> None:
    """Nobody is found to deliver it to."""
    seq = run_sql(store, "SELECT seq FROM message WHERE reference = :r", r=reference)[0].seq
    (message,) = store.outbox.routable([Ticket(seq, 1)])
    failed = RoutedMessage(message=message, deliveries=(), code=code, owner=owner, register_version=1)
    store.outbox.commit_routes([failed], actor="route-1", now_us=now_us)
