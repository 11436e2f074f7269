"""Bodies over REST that take long to read, and keys of several systems: nobody waits for another's, or is taken for another."""

from __future__ import annotations

import asyncio
import json
import threading
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from aiohttp import web

from adapters import rest
from adapters.parties import invented
from adapters.pki import Party
from schemas.contract import Contract
from tests.integration.test_gateway import Answer, ask, client, post, start
from tests.support import signing as s
from tests.support.broker import until
from tests.support.exchange import DOCUMENT, MBO, SCHOOL, SIS, Exchange

pytestmark = pytest.mark.broker

AT_ONCE = 8 << 10
PATH = f"/rest/proef/1?edu-from={SCHOOL}&edu-to={MBO}"


@pytest.fixture(scope="module")
def exchange() -> Iterator[Exchange]:
    """The school has a mandate for two systems, as in the days of a supplier switch."""
    mandates = [*DOCUMENT["mandates"], {"organisation": SCHOOL, "dienst": "proef", "system": SIS}]
    with Exchange(document={**DOCUMENT, "mandates": mandates}) as made:
        made.run(start(made))
        yield made


def sis() -> Party:
    return s.party("sis", oin=SIS)


def body(size: int = 0) -> bytes:
    """A good message; of this many bytes, if that is more than it needs."""
    return invented.proef(business_id=str(uuid.uuid4()), sender=SCHOOL, receiver=MBO, created=datetime.now(UTC)).ljust(size)


def headers(**more: str) -> dict[str, str]:
    return {"Content-Type": "application/xml"} | {name.replace("_", "-"): value for name, value in more.items()}


def said(answer: Answer) -> dict[str, Any]:
    assert answer[0] == 201, answer
    return dict(json.loads(answer[2]))


class Reading:
    """Stands between the page and its reading: remembers what was read, and where; and makes whoever reads a large one wait."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.began: list[tuple[int, bool]] = []  #: size, and whether the event loop goes on meanwhile
        self.go_on = threading.Event()
        self._read = rest._read
        monkeypatch.setattr(rest, "_read", self)

    def __call__(self, request: web.Request, raw: bytes, contract: Contract | None) -> object:
        beside = threading.current_thread() is not threading.main_thread()
        self.began.append((len(raw), beside))
        if beside:
            assert self.go_on.wait(30)
        return self._read(request, raw, contract)


def test_a_small_body_is_read_at_once_and_a_larger_one_beside_the_event_loop(exchange: Exchange, monkeypatch: pytest.MonkeyPatch) -> None:
    reading = Reading(monkeypatch)
    reading.go_on.set()
    for size in (AT_ONCE, AT_ONCE + 1):
        said(ask(exchange, body(size), PATH, headers=headers()))
    assert reading.began == [(AT_ONCE, False), (AT_ONCE + 1, True)]


def test_while_a_large_body_is_read_small_ones_are_answered(exchange: Exchange, monkeypatch: pytest.MonkeyPatch) -> None:
    reading = Reading(monkeypatch)

    async def act() -> None:
        async with client(exchange) as session:
            large = asyncio.create_task(post(session, body(AT_ONCE + 1), PATH, headers=headers()))
            await until(lambda: bool(reading.began))
            said(await post(session, body(), PATH, headers=headers()))
            assert not large.done()
            reading.go_on.set()
            said(await large)

    exchange.run(act())


def test_a_system_with_many_large_bodies_keeps_another_waiting_for_one_of_them_at_most(
    exchange: Exchange, monkeypatch: pytest.MonkeyPatch
) -> None:
    reading = Reading(monkeypatch)
    mine, theirs = AT_ONCE + 1, AT_ONCE + 2

    async def act() -> None:
        async with client(exchange) as flood, client(exchange, sis()) as other:
            asked = [asyncio.create_task(post(flood, body(mine), PATH, headers=headers())) for _ in range(4)]
            await until(lambda: bool(reading.began))
            await until(lambda: tasks_in("_read_beside") == 4)
            asked.append(asyncio.create_task(post(other, body(theirs), PATH, headers=headers())))
            await until(lambda: tasks_in("_read_beside") == 5)
            reading.go_on.set()
            for answer in await asyncio.gather(*asked):
                said(answer)

    exchange.run(act())
    assert [size for size, _ in reading.began].index(theirs) == 1


def tasks_in(name: str) -> int:
    """How many tasks of this event loop stand in a function of this name, or in what that one awaits."""
    return sum(_stands_in(task, name) for task in asyncio.all_tasks())


def _stands_in(task: asyncio.Task[Any], name: str) -> bool:
    coroutine: Any = task.get_coro()
    while coroutine is not None:
        if getattr(coroutine, "__name__", "") == name:
            return True
        coroutine = getattr(coroutine, "cr_await", None)
    return False


@pytest.mark.parametrize("size", [0, AT_ONCE + 1], ids=["small", "large"])
def test_a_key_is_of_the_system_that_sent_it(exchange: Exchange, size: int) -> None:
    """Both count from 1 for the same school: the second's first delivery is not the first's."""
    key = headers(Idempotency_Key=f"levering-1-{size}")
    first, second = body(size), body(size)
    mine = said(ask(exchange, first, PATH, headers=key))
    theirs = said(ask(exchange, second, PATH, sis(), headers=key))
    assert mine["message_id"] != theirs["message_id"]
    assert mine["reference"] != theirs["reference"]
    assert said(ask(exchange, first, PATH, headers=key)) == mine, "and each knows its own again"
    assert said(ask(exchange, second, PATH, sis(), headers=key)) == theirs
