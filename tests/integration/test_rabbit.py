"""Publishing and consuming on a real broker, also while it goes away."""

from __future__ import annotations

import asyncio
import os
import signal

import pytest

from adapters.rabbit import BrokerRefused, BrokerUnavailable, Consumer, Incoming, Inspector, Outgoing, Published, Publisher, get_all, put
from broker_config.topology import Bounds
from tests.support.broker import GEMEENTE, LAS, TestBroker, party, run, until

pytestmark = pytest.mark.broker


def ticket(number: int) -> Outgoing:
    return Outgoing(routing_key="route", body=str(number).encode())


def numbers(batch: list[Incoming]) -> list[int]:
    return [int(one.body) for one in batch]


async def take(consumer: Consumer, count: int) -> list[Incoming]:
    taken: list[Incoming] = []
    while len(taken) < count:
        taken += await consumer.next_batch()
    return taken


def test_each_message_gets_its_own_answer_in_the_order_of_publishing(broker: TestBroker) -> None:
    broker.apply()

    async def act() -> None:
        async with broker.publisher() as ours:
            astray = Outgoing(routing_key="nowhere", body=b"same")
            fates = await ours.publish_many(
                [ticket(1), astray, ticket(2), astray, Outgoing(exchange="intake", routing_key="nobody", body=b"")]
            )
            assert fates == ["confirmed", "returned", "confirmed", "returned", "returned"]
            assert await ours.publish_many([]) == []

    run(act())


def test_what_goes_in_comes_out_whole(broker: TestBroker) -> None:
    broker.apply()
    headers = {"delivery_id": "d1", "attempt": 2, "dienst": "vva"}
    large = os.urandom(700_000)  # more than one frame

    async def act() -> None:
        async with broker.publisher(LAS) as las, Consumer(broker.url, [f"intake.{LAS}"]) as worker:
            await las.publish(
                Outgoing(
                    exchange="intake",
                    routing_key=LAS,
                    body=large,
                    content_type="text/xml",
                    correlation_id="c",
                    message_id="m",
                    headers=headers,
                )
            )
            (one,) = await worker.next_batch()
            assert one.body == large
            assert (one.queue, one.exchange, one.routing_key, one.redelivered) == (f"intake.{LAS}", "intake", LAS, False)
            assert (one.content_type, one.correlation_id, one.message_id) == ("text/xml", "c", "m")
            assert headers.items() <= one.headers.items()

    run(act())


def test_a_queue_that_refuses_for_long_is_tried_over_another_connection_and_nothing_else_is_lost(
    broker: TestBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So that a channel that holds on to a lost leader is left. A queue that is full refuses for ever: it is left ever less often."""
    broker.apply(bounds=Bounds(receipt=1))
    monkeypatch.setattr("adapters.rabbit._REFUSED_S", 0.3)
    full, other = Outgoing(routing_key=f"receipt.{LAS}", body=b"x"), ticket(1)

    async def act() -> None:
        loop = asyncio.get_running_loop()
        async with Inspector(broker.url) as inspector, broker.publisher() as ours:
            while await ours.publish(full) is not Published.NACKED:
                pass
            sent, left_at = 0, [loop.time()]
            while len(left_at) < 3:
                before = ours.connections
                for fates in await asyncio.gather(*(ours.publish_many([full, other, other]) for _ in range(3))):
                    assert fates == ["nacked", "confirmed", "confirmed"]
                    sent += 2
                left_at += [loop.time()] * (ours.connections - before)
            assert await inspector.depth("route") == sent
            assert left_at[2] - left_at[1] > 0.55

    run(act())


def test_a_queue_that_takes_messages_again_before_its_connection_is_left_costs_nothing() -> None:
    async def act() -> None:
        ours = Publisher("amqp://nobody:x@127.0.0.1:1/%2F")
        ours._refusing, ours._pending = {("", "full"): -60.0}, {1: object()}  # type: ignore[dict-item]
        leaving = asyncio.create_task(ours._leave_what_refuses())
        await asyncio.sleep(0)
        ours._refusing.clear()  # what was in flight is answered: it was taken
        ours._pending.clear()
        ours._room.set()
        await leaving
        assert ours._left_at < 0, "it was not left"

    run(act())


def test_more_than_the_window_leaves_in_order_and_all_of_it_arrives(broker: TestBroker) -> None:
    broker.apply()

    async def act() -> None:
        async with broker.publisher(window=50) as ours, Consumer(broker.url, ["route"]) as worker:
            fates = await ours.publish_many([ticket(number) for number in range(2_000)])
            assert fates == [Published.CONFIRMED] * 2_000
            batches: list[Incoming] = []
            while len(batches) < 2_000:
                batch = await worker.next_batch(idle_s=5)
                assert 0 < len(batch) <= 100 and worker.ack(batch) == len(batch)
                batches += batch
            assert numbers(batches) == list(range(2_000))
            assert worker.in_hand == 0
        assert await broker.depth("route") == 0

    run(act())


def test_calls_at_the_same_time_each_get_their_own_answers(broker: TestBroker) -> None:
    broker.apply()

    async def act() -> None:
        async with broker.publisher(window=20) as ours:
            astray = Outgoing(routing_key="nowhere", body=b"x")
            good, bad = await asyncio.gather(ours.publish_many([ticket(n) for n in range(100)]), ours.publish_many([astray] * 100))
            assert set(good) == {"confirmed"} and set(bad) == {"returned"}

    run(act())


def test_only_what_was_acknowledged_stays_away(broker: TestBroker) -> None:
    broker.apply()

    async def act() -> None:
        async with broker.publisher() as ours:
            await ours.publish_many([ticket(number) for number in range(10)])
        async with Consumer(broker.url, ["route"]) as worker:
            batch = await take(worker, 10)
            assert worker.ack([batch[1], batch[2], batch[5]]) == 3, "0 is still in hand: one by one"
            assert worker.ack([batch[0], batch[3], batch[7]]) == 3, "up to 3 together, 7 by itself"
            assert worker.ack([batch[0], batch[7]]) == 0, "once is enough"
            assert worker.in_hand == 4
        async with Consumer(broker.url, ["route"]) as worker:
            again = await take(worker, 4)
            assert sorted(numbers(again)) == [4, 6, 8, 9]
            assert all(one.redelivered and one.earlier_deliveries == 1 for one in again)

    run(act())


def test_who_takes_one_at_a_time_has_no_second_in_hand(broker: TestBroker) -> None:
    """So that what kills it takes nothing else along."""
    broker.apply()

    async def act() -> None:
        async with broker.publisher() as ours, Consumer(broker.url, ["dead"], prefetch=1) as worker:
            await ours.publish_many([Outgoing(routing_key="dead", body=b"%d" % number) for number in range(3)])
            assert len(await worker.next_batch(3, wait_s=0.5)) == 1
            assert await broker.depth("dead") == 2

    run(act())


def test_a_batch_waits_a_little_to_fill_and_an_idle_one_is_empty(broker: TestBroker) -> None:
    broker.apply()

    async def act() -> None:
        async with broker.publisher() as ours, Consumer(broker.url, ["route"]) as worker:
            assert await worker.next_batch(idle_s=0.05) == []
            waiting = asyncio.create_task(worker.next_batch(limit=3, wait_s=5))
            for number in range(3):
                await ours.publish(ticket(number))
            started = asyncio.get_running_loop().time()
            assert numbers(await waiting) == [0, 1, 2]
            assert asyncio.get_running_loop().time() - started < 2, "a full batch does not wait"

    run(act())


def test_queues_come_and_go_while_consuming(broker: TestBroker) -> None:
    broker.apply(party(LAS))

    async def act() -> None:
        async with broker.publisher() as ours, Consumer(broker.url, [f"intake.{GEMEENTE}"]) as worker:
            assert worker.missing == {f"intake.{GEMEENTE}"}, "a party whose queue is not there yet harms nobody"
            await worker.set_queues([f"intake.{LAS}", f"intake.{GEMEENTE}"])
            assert worker.missing == {f"intake.{GEMEENTE}"}
            await ours.publish(Outgoing(exchange="intake", routing_key=LAS, body=b"1"))
            one = await take(worker, 1)
            async with broker.admin() as admin:
                await admin.apply(broker.topology())
                await until(lambda: not worker.missing)
                await ours.publish(Outgoing(exchange="intake", routing_key=GEMEENTE, body=b"2"))
                two = await take(worker, 1)
                assert [message.queue for message in one + two] == [f"intake.{LAS}", f"intake.{GEMEENTE}"]
                await admin.remove_party(GEMEENTE, even_with_messages=True)
                await until(lambda: worker.missing)
            assert worker.ack(one) == 1, "the other queue is not disturbed"
            await worker.set_queues([])
            await ours.publish(Outgoing(exchange="intake", routing_key=LAS, body=b"3"))
            assert await worker.next_batch(idle_s=0.2) == []

    run(act())
    assert run(broker.depth(f"intake.{LAS}")) == 1


def test_many_queues_share_what_may_be_in_hand(broker: TestBroker) -> None:
    broker.apply()

    async def act() -> None:
        async with broker.publisher() as ours, Consumer(broker.url, ["route", f"intake.{LAS}"], prefetch=20) as worker:
            await ours.publish_many([ticket(n) for n in range(50)])
            await ours.publish(Outgoing(exchange="intake", routing_key=LAS, body=b"51"))
            await until(lambda: worker.in_hand == 11)
            assert numbers(await take(worker, 11)) == [*range(10), 51], "the other party's message is not behind fifty"

    run(act())


def test_reading_what_is_not_ours_is_said_and_not_endlessly_waited_for(broker: TestBroker) -> None:
    broker.apply()

    async def act() -> None:
        theirs = Consumer(broker.url_of(LAS), [f"mailbox.{GEMEENTE}"])
        try:
            with pytest.raises(BrokerRefused, match="403"):
                await theirs.next_batch(idle_s=10)
            await theirs.set_queues([f"mailbox.{LAS}"])
            await until(lambda: theirs.is_connected and not theirs.missing)
        finally:
            await theirs.close()

    run(act())


def test_nothing_confirmed_is_lost_when_the_broker_is_killed_under_load(broker: TestBroker) -> None:
    broker.apply(settle_s=2.0)
    taken: set[int] = set()
    sure: set[int] = set()
    failures: list[str] = []

    async def publish(ours: Publisher) -> None:
        for start in range(0, 3_000, 100):
            batch = [ticket(number) for number in range(start, start + 100)]
            while True:
                try:
                    fates = await ours.publish_many(batch)
                except BrokerUnavailable as error:
                    failures.append(str(error))
                    await asyncio.sleep(0.1)
                else:
                    sure.update(
                        number for number, fate in zip(range(start, start + 100), fates, strict=True) if fate is Published.CONFIRMED
                    )
                    break

    async def consume(worker: Consumer) -> None:
        while len(taken) < 3_000:
            batch = await worker.next_batch(idle_s=0.5)
            await asyncio.sleep(0.002)
            worker.ack(batch)
            taken.update(numbers(batch))

    async def act() -> None:
        ours, worker = broker.publisher(wait_s=2), Consumer(broker.url, ["route"])  # connect when they are first used
        holding = Consumer(broker.url, ["route"], prefetch=20)
        try:
            working = asyncio.gather(publish(ours), consume(worker))
            await until(lambda: len(taken) > 300)
            held = await holding.next_batch(limit=20, wait_s=0.2)
            assert held
            await asyncio.to_thread(broker.node.kill)
            await until(lambda: not (worker.is_connected or holding.is_connected))
            assert holding.ack(held) == 0, "the broker has these again: an answer from before means nothing"
            await holding.close()
            with pytest.raises(BrokerUnavailable):
                await ours.publish(ticket(0))
            await asyncio.to_thread(broker.node.start)
            await working
            assert ours.connections == 2
        finally:
            for one in (ours, worker, holding):
                await one.close()

    run(act())
    assert sure == taken == set(range(3_000))
    assert failures
    password = broker.url.split(":")[2].split("@")[0]
    assert not [text for text in failures if password in text], "an error never shows a password"


def test_a_broker_that_says_nothing_is_given_up_and_found_again(broker: TestBroker) -> None:
    broker.apply()
    pid = broker.node.pid
    assert pid is not None

    async def act() -> None:
        async with broker.publisher(confirm_s=0.5, wait_s=10) as ours:
            os.kill(pid, signal.SIGSTOP)
            try:
                with pytest.raises(BrokerUnavailable, match=r"confirmed nothing for 0\.5 s"):
                    await ours.publish(ticket(1))
            finally:
                os.kill(pid, signal.SIGCONT)
            await until(lambda: ours.is_connected)
            assert await ours.publish(ticket(2)) is Published.CONFIRMED

    run(act())


def test_a_broker_that_is_not_there_is_said_in_one_sentence() -> None:
    async def act() -> None:
        absent = Publisher("amqp://backbone:secret@127.0.0.1:9/x", wait_s=0.3)
        try:
            with pytest.raises(
                BrokerUnavailable, match=r"The broker at amqp://backbone:\*\*\*@127\.0\.0\.1:9/x cannot be reached \(.*refused"
            ):
                await absent.publish(ticket(1))
        finally:
            await absent.close()

    run(act())


def test_the_inspector_survives_questions_about_what_is_not_there(broker: TestBroker) -> None:
    broker.apply()

    async def act() -> None:
        async with broker.publisher() as ours, Inspector(broker.url) as inspector:
            assert await inspector.depth("nowhere") is None
            with pytest.raises(BrokerRefused, match="404"):
                await inspector.get("nowhere")
            assert await inspector.get("epoch") is None
            await ours.publish(Outgoing(routing_key="epoch", body=b"e1"))
            found = await inspector.get("epoch")
            assert found is not None and found.body == b"e1"
            inspector.requeue(found)
            again = await inspector.get("epoch")
            assert again is not None and again.redelivered
            inspector.ack(again)
            assert await inspector.get("epoch") is None
            assert await inspector.purge("epoch") == 0

    run(act())


def test_the_epoch_can_be_taken_out_and_put_back(broker: TestBroker) -> None:
    broker.apply()

    async def act() -> None:
        await put(broker.url, "epoch", [b"e1", b"e2"])
        assert await get_all(broker.url, "epoch") == [b"e1", b"e2"]
        assert await get_all(broker.url, "epoch") == []
        assert await get_all(broker.url, "nowhere") == []
        with pytest.raises(BrokerUnavailable):
            await put(broker.url, "nowhere", [b"e1"])

    run(act())
