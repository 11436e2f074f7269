"""The audit worker keeps the board beside its other work: soon, and without standing in its way."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from adapters.store import Store, open_store
from routing.register import read_register
from routing.work import Lease, StoreUnavailable
from tests.support.board import fail_whole, on_board
from tests.support.store import a_refusal, fresh_url, hand_in
from tests.support.store import take as take_in
from workers import board as module
from workers.audit import Auditor
from workers.board import BoardKeeping
from workers.clock import Clock
from workers.loop import Worker


@pytest.fixture
def store(tmp_path: Path) -> Any:
    opened = open_store(fresh_url("sqlite", tmp_path))
    yield opened
    opened.close()


#: A register that knows nobody.
EMPTY = read_register({}, version=1)


class Silent:
    """A broker of which nothing is expected."""

    connections = 1

    async def publish_many(self, messages: Any) -> list[Any]:
        return ["confirmed" for _ in messages]


async def with_audit(store: Store, act: Callable[[], Any], keeper: Any = None) -> Any:
    """What `act` returns, in a thread, while the audit worker's two loops run."""
    worker = Worker("audit", store.registry, Clock())
    loops = [
        asyncio.ensure_future(Auditor(worker, store, Silent(), lambda: EMPTY).run()),  # type: ignore[arg-type]
        asyncio.ensure_future(BoardKeeping(worker, store.registry, keeper or store.board_keeper).run()),
    ]
    try:
        return await asyncio.to_thread(act)
    finally:
        worker.stop()
        await asyncio.gather(*loops)


def until(condition: Callable[[], bool], within_s: float) -> bool:
    end = time.monotonic() + within_s
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.02)
    return False


def test_a_freshly_failed_message_is_on_the_board_within_two_seconds(store: Store) -> None:
    def act() -> list[float]:
        took = []
        for name in "abc":
            now_us = Clock().now_us()
            (reference,) = take_in(store, name, via="https", received_us=now_us)
            began = time.monotonic()
            fail_whole(store, reference, now_us=now_us)
            assert until(lambda reference=reference: on_board(store).get(reference, ("", ""))[1] == "failed", 30)  # type: ignore[misc]
            took.append(time.monotonic() - began)
        return took

    assert sorted(asyncio.run(with_audit(store, act)))[1] < 2.0, "the one in the middle: the machine may stand still once"


class Broken:
    """A keeper that can do nothing."""

    def __init__(self, error: Exception) -> None:
        self._error, self.asked = error, 0

    def follow(self, lease: Lease, *, now_us: int) -> int:
        self.asked += 1
        raise self._error

    sweep = count = close = pack = follow


@pytest.mark.parametrize("error", [StoreUnavailable("away"), RuntimeError("a mistake of ours")], ids=["away", "broken"])
def test_a_board_that_cannot_be_kept_stops_neither_chaining_nor_telling(
    store: Store, error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "SULK_S", 0.05)
    keeper = Broken(error)

    def act() -> bool:
        assert until(lambda: keeper.asked > 1, 20), "it is tried again"
        hand_in(store, a_refusal(at_us=Clock().now_us()))
        return until(lambda: store.journal.verify().events == 1, 20)

    assert asyncio.run(with_audit(store, act, keeper))


class Slow:
    """A keeper that hangs until it is let go."""

    def __init__(self) -> None:
        self.let_go, self.asked = False, False

    def follow(self, lease: Lease, *, now_us: int) -> int:
        self.asked = True
        assert until(lambda: self.let_go, 60)
        return 0

    sweep = count = close = pack = follow


def test_a_board_that_takes_forever_stops_neither_chaining_nor_telling(store: Store) -> None:
    keeper = Slow()

    def act() -> bool:
        assert until(lambda: keeper.asked, 20)
        hand_in(store, a_refusal(at_us=Clock().now_us()))
        try:
            return until(lambda: store.journal.verify().events == 1, 20)
        finally:
            keeper.let_go = True

    assert asyncio.run(with_audit(store, act, keeper))
