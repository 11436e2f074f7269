"""What ends in `dead`, on a real broker: judged again alone, ended with an owner, and never in a loop."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path

import pytest

from adapters.rabbit import Consumer, Outgoing, Publisher
from adapters.store import Store, open_store
from broker_config.topology import Bounds
from tests.support.broker import TestBroker, party, run
from tests.support.store import MAILBOX, SYSTEM, deliver, fresh_url, kinds, lead, route, run_sql, states, take
from workers.clock import Clock
from workers.dead import Dead
from workers.loop import Worker

pytestmark = pytest.mark.broker


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return open_store(fresh_url("sqlite", tmp_path))


def in_a_mailbox(store: Store) -> tuple[str, str]:
    """A message whose delivery stands in its receiver's mailbox: reference and delivery_id."""
    (reference,) = take(store, "1")
    (made,) = route(store, reference)
    deliver(store, lead(store))
    return reference, made.id


async def given_up(broker: TestBroker, queue: str, message: Outgoing) -> None:
    """Puts it in the queue and rejects it, as after the last delivery."""
    async with broker.publisher() as ours, Consumer(broker.admin_url, [queue]) as consumer:
        await ours.publish(message)
        batch = await consumer.next_batch(1, idle_s=5)
        assert consumer.nack(batch, requeue=False) == 1


class Killed(BaseException):
    """What the reader of `dead` does not survive."""


async def undertake(broker: TestBroker, store: Store, ours: Publisher) -> int:
    """The reader of `dead` handles what is there, until nothing is; started again when it is killed. Returns how often that was."""
    dead = Dead(Worker("audit", store.registry, Clock()), store, ours)
    for killed in range(5):
        async with Consumer(broker.url, ["dead"], prefetch=1, in_order=True) as consumer:
            with contextlib.suppress(Killed):
                idle_s = 10.0
                while batch := await consumer.next_batch(1, idle_s=idle_s):
                    assert await dead.handle(batch) in ((), [])
                    consumer.ack(batch)
                    idle_s = 1.0
                assert idle_s == 1.0, "nothing died"
                return killed
    raise AssertionError("it goes round and round")


def confirmed(delivery: str) -> Outgoing:
    body = json.dumps({"delivery_id": delivery, "outcome": "confirmed", "reason": None}).encode()
    return Outgoing(exchange="confirm", routing_key=MAILBOX, body=body)


def test_a_confirmation_that_died_beside_a_poisonous_one_still_ends_its_delivery(broker: TestBroker, store: Store) -> None:
    broker.apply(party(MAILBOX), party(SYSTEM), bounds=Bounds())
    reference, delivery = in_a_mailbox(store)

    async def act() -> None:
        async with broker.publisher() as ours:
            await given_up(broker, f"confirm.{MAILBOX}", confirmed(delivery))
            await undertake(broker, store, ours)

    run(act())
    assert states(store) == {delivery: "acknowledged"}
    assert kinds(store, reference)[-1] == "acknowledged"


def test_a_confirmation_that_kills_even_the_reader_of_dead_is_only_journalled(
    broker: TestBroker, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    def kill(*_: object, **__: object) -> None:
        raise Killed

    broker.apply(party(MAILBOX), party(SYSTEM))
    reference, delivery = in_a_mailbox(store)

    async def act() -> None:
        async with broker.publisher() as ours:
            await given_up(broker, f"confirm.{MAILBOX}", confirmed(delivery))
            with monkeypatch.context() as deadly:
                deadly.setattr(store.outbox, "confirm", kill)
                assert 1 <= await undertake(broker, store, ours) <= 2
            assert await broker.depth("dead") == 0

    run(act())
    assert states(store) == {delivery: "delivered"}, "it waits for another confirmation"
    assert kinds(store, reference)[-1] == "dead"


def test_a_message_its_receiver_gives_back_without_an_answer_has_failed_with_an_owner(broker: TestBroker, store: Store) -> None:
    broker.apply(party(MAILBOX), party(SYSTEM))
    reference, delivery = in_a_mailbox(store)
    mail = Outgoing(routing_key=f"mailbox.{MAILBOX}", body=b"<x/>", headers={"delivery_id": delivery})

    async def act() -> None:
        async with broker.publisher() as ours:
            await given_up(broker, f"mailbox.{MAILBOX}", mail)
            await undertake(broker, store, ours)

    run(act())
    (row,) = run_sql(store, "SELECT state, code, owner, reason FROM delivery")
    assert (row.state, row.code, row.owner) == ("failed", "MAILBOX_UNREADABLE", "us")
    assert row.reason.startswith("De software van de ontvanger") and " / The receiver" in row.reason
    assert kinds(store, reference)[-1] == "failed"


def test_a_message_from_another_partys_mailbox_cannot_end_a_delivery(broker: TestBroker, store: Store) -> None:
    broker.apply(party(MAILBOX), party(SYSTEM))
    _, delivery = in_a_mailbox(store)
    mail = Outgoing(routing_key=f"mailbox.{SYSTEM}", body=b"<x/>", headers={"delivery_id": delivery})

    async def act() -> None:
        async with broker.publisher() as ours:
            await given_up(broker, f"mailbox.{SYSTEM}", mail)
            await undertake(broker, store, ours)

    run(act())
    assert states(store) == {delivery: "delivered"}


def test_a_receipt_that_its_sender_cannot_read_is_journalled(broker: TestBroker, store: Store) -> None:
    broker.apply(party(MAILBOX), party(SYSTEM))

    async def act() -> None:
        async with broker.publisher() as ours:
            await given_up(broker, f"receipt.{SYSTEM}", Outgoing(routing_key=f"receipt.{SYSTEM}", body=b"{}"))
            await undertake(broker, store, ours)
            assert await broker.depth("dead") == 0

    run(act())
    assert run_sql(store, "SELECT count(*) AS n FROM event")[0].n == 1
