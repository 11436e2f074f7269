"""Stores for tests: the same tests run on SQLite and PostgreSQL, each test on a fresh store. And messages to fill them with."""

from __future__ import annotations

import atexit
import hashlib
import shutil
import uuid
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import pytest
from sqlalchemy import create_engine, text

from adapters.store import Store, open_store
from adapters.vault import Vault
from routing.work import (
    Claimed,
    Confirmation,
    HandInResult,
    Lease,
    NewDelivery,
    NewMessage,
    NewRefusal,
    RecordedDecision,
    RoutedMessage,
    Settlement,
    StreamStep,
    Ticket,
)
from schemas.rules import Judgement
from tests.support import postgres

SENDER, SYSTEM, RECEIVER, MAILBOX = "00000001800000001000", "00000001900000001000", "00000001800000002000", "00000001900000002000"
LANE = f"mailbox {MAILBOX}"
ACTION = "proef/1/proefBericht"
VAULT = Vault(b"k" * 32)
#: 2026-01-15, in microseconds.
NOW = 1_768_435_200_000_000
SECOND = 1_000_000
DAY = 86_400 * SECOND
YES = RecordedDecision(question="sender", outcome="yes", code=None, register_version=1, record="{}")

BOTH = ["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)]


@cache
def _sqlite_template() -> Path:
    folder = mkdtemp(prefix="kp-store-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    path = Path(folder) / "template.db"
    open_store(f"sqlite:///{path}").close()
    return path


def _postgres(statement: str) -> None:
    engine = create_engine(postgres.server().format(database="postgres"), isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(text(statement))
    engine.dispose()


@cache
def _postgres_template() -> str:
    _postgres("CREATE DATABASE template_store")
    open_store(postgres.server().format(database="template_store")).close()
    return "template_store"


def fresh_url(kind: str, folder: Path, *, empty: bool = False) -> str:
    """The URL of a new store, with its tables unless `empty`."""
    if kind == "sqlite":
        path = folder / f"{uuid.uuid4().hex}.db"
        if not empty:
            shutil.copy(_sqlite_template(), path)
        return f"sqlite:///{path}"
    name = f"t_{uuid.uuid4().hex}"
    postgres.server()
    _postgres(f"CREATE DATABASE {name} TEMPLATE {'template0' if empty else _postgres_template()}")
    return postgres.server().format(database=name)


@pytest.fixture(params=BOTH)
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    """A fresh store."""
    opened = open_store(fresh_url(request.param, tmp_path))
    yield opened
    opened.close()


@pytest.fixture(params=BOTH)
def empty_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Where a store without tables can be opened."""
    return fresh_url(request.param, tmp_path, empty=True)


def run_sql(store: Store, statement: str, **values: Any) -> list[Any]:
    """What no program of ours does: a statement straight to the database."""
    with store.database.write() as tx:
        result = tx.execute(text(statement), values)
        return list(result) if result.returns_rows else []


def a_message(name: str = "1", **changes: Any) -> NewMessage:
    """A hand-in that may become a message; `name` makes its ids, `content` its digest, `order` its order key."""
    content = str(changes.pop("content", name))
    order = changes.pop("order", None)
    reference = changes.pop("reference", str(uuid.uuid4()))
    fields: dict[str, Any] = {
        "reference": reference,
        "sender": SENDER,
        "system": SYSTEM,
        "receiver": RECEIVER,
        "message_id": f"urn:uuid:m-{name}",
        "business_id": f"b-{name}",
        "address": f"http://ontvanger.test?oin={RECEIVER}",
        "action": ACTION,
        "dienst": "proef",
        "versie": "1",
        "bericht": "proefBericht",
        "order_key": VAULT.index(f"order {order}") if order else None,
        "subject": None,
        "digest": hashlib.sha256(content.encode()).digest(),
        "received_us": NOW,
        "created_us": NOW - SECOND,
        "expires_us": None,
        "stale": False,
        "via": "amqp",
        "size": 100,
        "warnings": (),
        "register_version": 1,
        "sealed": VAULT.seal(reference, f"<x>{content}</x>".encode(), b"{}"),
        "decisions": (YES,),
    }
    return NewMessage(**(fields | changes))


def a_refusal(name: str = "1", **changes: Any) -> NewRefusal:
    """A hand-in that is refused whatever the store says."""
    fields: dict[str, Any] = {
        "reference": str(uuid.uuid4()),
        "at_us": NOW,
        "code": "Client.DK0004",
        "owner": "supplier",
        "reason": "not valid",
        "digest": hashlib.sha256(name.encode()).digest(),
        "via": "amqp",
        "system": SYSTEM,
    }
    return NewRefusal(**(fields | changes))


def rising(_action: str, _versie: str, last: StreamStep | None, step: StreamStep) -> Judgement:
    """A sequence rule: each number must be higher than the last; one that leaves numbers out gets a warning."""
    if last is not None and step.number <= last.number:
        return Judgement("STATUS_ORDER")
    return Judgement(warning="gat / gap") if last is not None and step.number > last.number + 1 else Judgement()


def hand_in(store: Store, *items: NewMessage | NewRefusal, judge_step: Any = rising, settled: Sequence[str] = ()) -> list[HandInResult]:
    """One batch."""
    return store.hand_ins.accept(items, actor="intake-1", judge_step=judge_step, settled=settled)


def lead(store: Store, name: str = "relay", holder: str = "relay-1", *, now_us: int = NOW) -> Lease:
    """A lease that lasts as long as the test."""
    lease = store.registry.take_lease(name, holder, now_us=now_us, until_us=now_us + DAY * 400)
    assert lease is not None
    return lease


def a_delivery(**changes: Any) -> NewDelivery:
    """To a mailbox, unless told otherwise."""
    fields: dict[str, Any] = {
        "id": str(uuid.uuid4()),
        "target": "ontvanger",
        "receiver": RECEIVER,
        "endpoint": "e1",
        "lane": LANE,
        "receiver_system": MAILBOX,
        "deadline_us": NOW + 30 * DAY,
    }
    return NewDelivery(**(fields | changes))


def waiting_delivery(**changes: Any) -> NewDelivery:
    """One whose receiver has no endpoint now."""
    waits = {"endpoint": None, "lane": None, "receiver_system": None, "hold_code": "ROUTE_NO_ENDPOINT", "owner": "receiver"}
    return a_delivery(**(waits | changes))


def route(
    store: Store, *references: str, to: Sequence[NewDelivery] = (), newest_replaces: bool = False, now_us: int = NOW, **more: Any
) -> list[NewDelivery]:
    """Routes these messages (one delivery each, to the mailbox, unless `to` says otherwise); returns their deliveries. `more`: as in
    RoutedMessage."""
    made: list[NewDelivery] = []
    for reference in references:
        seq = run_sql(store, "SELECT seq FROM message WHERE reference = :r", r=reference)[0].seq
        (message,) = store.outbox.routable([Ticket(seq, 1)])
        deliveries = tuple(to) or (a_delivery(),)
        routed = RoutedMessage(message=message, deliveries=deliveries, newest_replaces=newest_replaces, register_version=1, **more)
        assert store.outbox.commit_routes([routed], actor="route-1", now_us=now_us) == 1
        made += deliveries
    return made


def take(store: Store, *names: str, **changes: Any) -> list[str]:
    """Messages handed in; their references."""
    return [hand_in(store, a_message(name, **changes))[0].reference for name in names]


def release(store: Store, lease: Lease, *, window: int = 1000, now_us: int = NOW, limit: int = 500) -> list[Ticket]:
    """What may leave now, all lanes having the same window."""
    tickets, _ = store.outbox.release_deliveries(lease, [(lane, window) for lane in store.outbox.lanes()], now_us=now_us, limit=limit)
    return tickets


def claim(store: Store, tickets: Sequence[Ticket], worker: str = "deliver-1", *, now_us: int = NOW) -> list[Claimed]:
    """What this worker got of them."""
    claimed, _ = store.outbox.claim(tickets, worker=worker, now_us=now_us, until_us=now_us + 10 * SECOND)
    return claimed


def outcome(claimed: Claimed, state: str = "delivered", **changes: Any) -> Settlement:
    """What an attempt came to."""
    fields = {"at_us": NOW, "took_us": 100, "register_version": 1, "envelope": "original"}
    return Settlement(claimed=claimed, state=state, **(fields | changes))


def settle(store: Store, *settlements: Settlement, worker: str = "deliver-1") -> int:
    """How many of them were this worker's to settle."""
    return store.outbox.settle(settlements, worker=worker, actor=worker)


def deliver(store: Store, lease: Lease, state: str = "delivered", **changes: Any) -> list[Claimed]:
    """Releases, claims and settles all that may leave now."""
    claimed = claim(store, release(store, lease))
    if claimed:
        assert settle(store, *(outcome(one, state, **changes) for one in claimed)) == len(claimed)
    return claimed


def confirm(store: Store, *ids: str, confirmed: bool = True, system: str = MAILBOX, now_us: int = NOW, **why: Any) -> list[Confirmation]:
    """What a party says; returns what came too early."""
    said = [Confirmation(delivery_id=id, system=system, confirmed=confirmed, **why) for id in ids]
    return store.outbox.confirm(said, actor="deliver-1", now_us=now_us)


def states(store: Store) -> dict[str, str]:
    """delivery_id -> state."""
    return {row.id: row.state for row in run_sql(store, "SELECT id, state FROM delivery")}


def kinds(store: Store, reference: str) -> list[str]:
    """The events of a message, in order."""
    return [event.kind for event in store.journal.of_message(reference)]
