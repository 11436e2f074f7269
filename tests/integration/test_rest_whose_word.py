"""Over REST: a system whose mandate is over, one that makes up ids, and one that asks much, while others are served as always."""

from __future__ import annotations

import asyncio
import contextlib
import json
import threading
import uuid
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from adapters.rest_party import THREADS
from adapters.store.enquiries import Enquiries
from tests.integration.test_rest_beside import tasks_in
from tests.integration.test_rest_party import ask, civic, client, delivered, get, kinds, listening, problem, register, request, say
from tests.support.broker import until
from tests.support.exchange import UTRECHT, Exchange

pytestmark = pytest.mark.broker


@pytest.fixture(scope="module")
def exchange() -> Iterator[Exchange]:
    """Without the timetable: nothing is taken back from a mailbox."""
    with Exchange(document=register()) as made:

        async def start() -> None:
            for name in ("gateway", "relay", "route", "deliver"):
                made.start_worker(name)

        made.run(start())
        made.run(listening(made))
        yield made


@contextlib.asynccontextmanager
async def without_mandate(exchange: Exchange) -> AsyncIterator[None]:
    """While the municipality's system has no mandate for `proef`, and the gateway knows."""
    ended = register()
    for row in ended["mandates"]:
        if (row["organisation"], row["dienst"]) == (UTRECHT, "proef"):
            row["until"] = "2026-01-01"

    async def switch(document: dict[str, Any], there: bool) -> None:
        exchange.store.registry.save_register(document, who="test", now_us=exchange.clock.now_us())
        async with client(exchange, civic()) as session:
            while (b'"proef"' in (await request(session, "GET", "/rest/mailboxes"))[2]) is not there:
                await asyncio.sleep(0.1)

    await switch(ended, False)
    try:
        yield
    finally:
        await switch(register(), True)


def state_of(exchange: Exchange, delivery_id: str) -> str:
    (row,) = exchange.rows("SELECT state FROM delivery WHERE id = :id", id=delivery_id)
    return str(row["state"])


@pytest.mark.parametrize("what", ["confirm", "refuse"])
def test_a_system_whose_mandate_is_over_has_no_word_about_what_still_stands_in_its_mailbox(exchange: Exchange, what: str) -> None:
    """It leaves the mailbox some seconds later, and goes to whoever has the mandate now."""
    _, message_id, delivery_id = delivered(exchange, UTRECHT)
    body = {"reason": "double"} if what == "refuse" else {}

    async def act() -> tuple[int, dict[str, str], bytes]:
        async with without_mandate(exchange), client(exchange, civic()) as session:
            return await request(session, "POST", f"/rest/mailbox/{delivery_id}/{what}", json=body)

    assert problem(exchange.run(act())) == (404, "DELIVERY_UNKNOWN")
    assert state_of(exchange, delivery_id) == "delivered"
    assert kinds(exchange, message_id)[-1] == "delivered"
    assert json.loads(say(exchange, delivery_id, what, civic(), **body)[2])["counted"] is True, "with a mandate it has"


@pytest.mark.parametrize("what", ["confirm", "refuse"])
def test_nobody_fills_the_journal_with_ids_that_were_made_up(exchange: Exchange, what: str) -> None:
    _, message_id, delivery_id = delivered(exchange, UTRECHT)
    body = {"reason": "double"} if what == "refuse" else {}
    (before,) = exchange.rows("SELECT count(*) AS many FROM event")
    for _ in range(3):
        assert problem(say(exchange, str(uuid.uuid4()), what, civic(), **body)) == (404, "DELIVERY_UNKNOWN")
    assert exchange.rows("SELECT count(*) AS many FROM event") == [before]
    assert problem(ask(exchange, f"/rest/mailbox/{delivery_id}/{what}", method="POST", json=body)) == (404, "DELIVERY_UNKNOWN")
    assert kinds(exchange, message_id)[-1] == "confirmation_refused", "what is somebody else's is in that one's timeline"
    say(exchange, delivery_id, what, civic(), **body)


def test_a_system_that_asks_much_leaves_the_threads_that_ask_the_store_to_others(
    exchange: Exchange, monkeypatch: pytest.MonkeyPatch
) -> None:
    go_on, under_way, find = threading.Event(), [], Enquiries.by_reference

    def slow(self: Enquiries, *given: Any, **more: Any) -> Any:
        under_way.append(given)
        assert go_on.wait(30)
        return find(self, *given, **more)

    monkeypatch.setattr(Enquiries, "by_reference", slow)

    async def act() -> None:
        async with client(exchange) as las, client(exchange, civic()) as others:
            asked = [asyncio.create_task(request(las, "GET", "/rest/status?reference=1")) for _ in range(THREADS + 4)]
            await until(lambda: tasks_in("aside") == len(asked))
            try:
                async with asyncio.timeout(20):
                    assert (await request(others, "GET", "/rest/mailboxes"))[0] == 200
                assert len(under_way) == 1
                assert not any(task.done() for task in asked)
            finally:
                go_on.set()
            assert {answer[0] for answer in await asyncio.gather(*asked)} == {200}

    exchange.run(act())
    assert len(under_way) == THREADS + 4
    assert get(exchange, "/rest/mailboxes", civic())["mailboxes"]
