"""Intake on a real broker and a real store: what a sender, the journal and the counts see when a worker dies in the middle."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from adapters.rabbit import Consumer, Outgoing, Publisher
from adapters.store import Store, open_store
from routing.register import read_register
from schemas.rules import Judgement
from tests.support.broker import LAS, TestBroker, run
from tests.support.store import fresh_url, run_sql
from workers.clock import Clock
from workers.desk import Desk
from workers.intake import Intake
from workers.loop import Worker

pytestmark = pytest.mark.broker

QUEUE = f"intake.{LAS}"
#: Wrong in a way that is seen before anything is read: no content_type.
WRONG = Outgoing(exchange="intake", routing_key=LAS, body=b"<bericht/>", message_id="urn:uuid:m-1")


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return open_store(fresh_url("sqlite", tmp_path))


def an_intake(store: Store, publisher: Publisher) -> Intake:
    """An intake worker that only ever meets hand-ins with wrong properties."""
    clock = Clock()
    worker = Worker("intake", store.registry, clock)
    nothing: Any = None
    desk = Desk(verifier=nothing, contracts=nothing, vault=nothing, own_oins=(), clock=clock)
    empty = read_register({}, version=1)
    return Intake(worker, store, publisher, desk, lambda: empty, lambda *_: Judgement())  # type: ignore[arg-type]


async def handle(intake: Intake, consumer: Consumer, *, dies: bool = False) -> int:
    """One batch; a worker that dies has stored and answered it, and not acknowledged it."""
    batch = await consumer.next_batch(10, 0.3, idle_s=5)
    await intake.handle(batch)
    if not dies:
        consumer.ack(batch)
    return len(batch)


async def receipts(broker: TestBroker) -> list[dict[str, Any]]:
    async with Consumer(broker.url_of(LAS), [f"receipt.{LAS}"]) as las:
        batch = await las.next_batch(100, 0.3, idle_s=5)
        las.ack(batch)
        return [json.loads(one.body) for one in batch]


def recorded(store: Store) -> list[str]:
    return [row.reference for row in run_sql(store, "SELECT reference FROM refusal ORDER BY at_us")]


def test_a_refused_hand_in_that_comes_back_after_a_crash_is_one_refusal_with_two_equal_receipts(broker: TestBroker, store: Store) -> None:
    broker.apply()

    async def act() -> None:
        async with broker.publisher() as ours, broker.publisher(LAS) as las:
            await las.publish_many([WRONG, WRONG])  # an honest second one
            async with Consumer(broker.url, [QUEUE], in_order=True) as consumer:
                assert await handle(an_intake(store, ours), consumer, dies=True) == 2
            first = recorded(store)
            assert len(first) == 2
            async with Consumer(broker.url, [QUEUE], in_order=True) as consumer:
                intake = an_intake(store, ours)
                assert await handle(intake, consumer) == 2
                assert recorded(store) == first
                assert len(store.journal.of_message(first[0])) == 1
                told = await receipts(broker)
                assert sorted(one["reference"] for one in told) == sorted(first * 2)
                await las.publish(WRONG)  # and a third one, later
                assert await handle(intake, consumer) == 1
            assert len(recorded(store)) == 3

    run(act())


def test_a_refusal_is_settled_once_its_hand_in_was_acknowledged(broker: TestBroker, store: Store) -> None:
    broker.apply()

    async def act() -> None:
        async with broker.publisher() as ours, broker.publisher(LAS) as las, Consumer(broker.url, [QUEUE]) as consumer:
            intake = an_intake(store, ours)
            for _ in range(2):
                await las.publish(WRONG)
                await handle(intake, consumer)
            first, second = run_sql(store, "SELECT unsettled FROM refusal ORDER BY at_us")
            assert not first.unsettled
            assert second.unsettled, "its acknowledgement may still be on its way"

    run(act())
