"""The loop that every worker shares, with a consumer that is only a list: what is handed over, in what order, and what becomes of it."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest

from routing.ports import Incoming
from workers.clock import Clock
from workers.loop import Stopping, Worker, consume

ROOT = Path(__file__).parents[2]


def incoming(number: int) -> Incoming:
    return Incoming(
        queue="q",
        tag=number,
        generation=1,
        redelivered=False,
        exchange="",
        routing_key="q",
        content_type=None,
        content_encoding=None,
        correlation_id=None,
        headers={},
        body=b"",
    )


SCHEDULED = """
import asyncio, os, sys
from unittest.mock import Mock
from workers.clock import Clock
from workers.loop import Worker

worker = Worker("some", Mock(), Clock())

async def work():
    print(os.sched_getscheduler(0))
    worker.stop()

asyncio.run(worker.run(work(), prompt=sys.argv[1] == "True"))
"""


@pytest.mark.skipif(not hasattr(os, "SCHED_BATCH"), reason="Linux has it")
@pytest.mark.parametrize("prompt", [False, True])
def test_a_worker_whose_answers_somebody_waits_for_does_not_wait_for_the_batches_of_others(prompt: bool) -> None:
    done = subprocess.run([sys.executable, "-c", SCHEDULED, str(prompt)], cwd=ROOT, capture_output=True, text=True, timeout=60, check=True)
    assert int(done.stdout) == (os.SCHED_OTHER if prompt else os.SCHED_BATCH)


class Listed:
    """Hands out what it was given, and remembers what was acknowledged."""

    def __init__(self, count: int) -> None:
        self.waiting = [incoming(number) for number in range(count)]
        self.acked: list[int] = []
        self.nacked: list[int] = []

    async def next_batch(self, limit: int = 100, wait_s: float = 0, *, idle_s: float | None = None) -> list[Incoming]:
        await asyncio.sleep(0 if self.waiting else 0.005)
        taken, self.waiting = self.waiting[:limit], self.waiting[limit:]
        return taken

    def ack(self, messages: Iterable[Incoming]) -> int:
        self.acked += [message.tag for message in messages]
        return 0

    def nack(self, messages: Iterable[Incoming], *, requeue: bool = True) -> int:
        self.nacked += [message.tag for message in messages]
        return 0

    async def set_queues(self, queues: Iterable[str]) -> None:
        raise AssertionError("nobody asked for other queues")


def a_worker(registry: Any = None) -> Worker:
    return Worker("intake", registry or Mock(), Clock())


def tags(batch: Sequence[Incoming]) -> list[int]:
    return [one.tag for one in batch]


def test_a_worker_that_lost_the_broker_says_so_and_not_that_it_runs() -> None:
    registry = Mock()
    some = a_worker(registry)
    some.state = "running"
    some._seen()
    some.broker_away = lambda: True
    some._seen()
    some.state = "draining"
    some._seen()
    assert [call.args[4] for call in registry.worker_seen.call_args_list] == ["running", "no broker", "draining"]


def test_the_next_batch_is_worked_on_while_the_broker_still_confirms_the_one_before() -> None:
    async def main() -> None:
        worker, consumer, seen, confirmed = a_worker(), Listed(4), [], asyncio.Event()

        async def handle(batch: list[Incoming]) -> Sequence[Incoming]:
            seen.append(tags(batch))
            if len(seen) == 1:
                await confirmed.wait()
            else:
                assert consumer.acked == []
                confirmed.set()
                worker.stop()
            return ()

        await asyncio.wait_for(consume(worker, consumer, handle, limit=2, at_once=2), 5)
        assert seen == [[0, 1], [2, 3]]
        assert sorted(consumer.acked) == [0, 1, 2, 3]

    asyncio.run(main())


def test_one_at_a_time_means_that_nothing_is_begun_before_the_last_is_acknowledged() -> None:
    async def main() -> None:
        worker, consumer = a_worker(), Listed(4)

        async def handle(batch: list[Incoming]) -> Sequence[Incoming]:
            assert consumer.acked == list(range(batch[0].tag))
            await asyncio.sleep(0.01)
            if batch[-1].tag == 3:
                worker.stop()
            return ()

        await asyncio.wait_for(consume(worker, consumer, handle, limit=2), 5)
        assert consumer.acked == [0, 1, 2, 3]

    asyncio.run(main())


def test_a_worker_that_stops_finishes_every_batch_it_has_in_hand() -> None:
    async def main() -> None:
        worker, consumer, done = a_worker(), Listed(2), []

        async def handle(batch: list[Incoming]) -> Sequence[Incoming]:
            if batch[0].tag == 1:
                worker.stop()
            await asyncio.sleep(0.05)
            done.append(batch[0].tag)
            return ()

        await asyncio.wait_for(consume(worker, consumer, handle, limit=1, at_once=3), 5)
        assert sorted(done) == sorted(consumer.acked) == [0, 1]

    asyncio.run(main())


def test_what_is_in_hand_when_the_store_is_away_and_the_worker_stops_goes_back_to_the_broker() -> None:
    async def main() -> None:
        worker, consumer = a_worker(), Listed(1)

        async def handle(batch: list[Incoming]) -> Sequence[Incoming]:
            worker.stop()
            raise Stopping("store")

        await asyncio.wait_for(consume(worker, consumer, handle, at_once=2), 5)
        assert consumer.acked == consumer.nacked == []

    asyncio.run(main())


def test_one_bad_message_goes_back_alone_and_the_others_of_its_batch_are_done(caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        worker, consumer = a_worker(), Listed(3)

        async def handle(batch: list[Incoming]) -> Sequence[Incoming]:
            if 1 in tags(batch):
                raise ValueError("bad")
            if 2 in tags(batch):
                worker.stop()
            return ()

        await asyncio.wait_for(consume(worker, consumer, handle), 5)
        assert (consumer.acked, consumer.nacked) == ([0, 2], [1])

    asyncio.run(main())


def test_what_could_not_be_finished_is_offered_again() -> None:
    async def main() -> None:
        worker, consumer, offered = a_worker(), Listed(2), []

        async def handle(batch: list[Incoming]) -> Sequence[Incoming]:
            offered.append(tags(batch))
            if len(offered) == 1:
                return batch[1:]
            worker.stop()
            return ()

        await asyncio.wait_for(consume(worker, consumer, handle), 5)
        assert offered == [[0, 1], [1]]
        assert consumer.acked == [0, 1]

    asyncio.run(main())
