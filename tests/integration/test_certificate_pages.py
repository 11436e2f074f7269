"""`GET /certificates` over real TLS, while the store that knows of a next certificate is away, slow, or there."""

from __future__ import annotations

import asyncio
import json
import ssl
import threading
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any

import aiohttp
import pytest

from adapters import certificate_pages, credentials, https
from adapters.certificate_pages import CertificatePages
from adapters.https import GatewayServer
from routing.rollover import NextCertificate, RollOver
from routing.work import StoreUnavailable
from tests.support import signing as s
from tests.support.broker import until
from tests.support.exchange import HUB

NEXT = RollOver(
    next=NextCertificate(pem="PEM", sha256="bb", cert="n.crt", key="n.key", not_before_us=0, from_us=0, published_us=0, published_by="x")
)


class State:
    """What the store says: something, or that it is away; at once, or when it is told to."""

    def __init__(self, says: RollOver | None = NEXT) -> None:
        self.says, self.asked, self.go_on = says, 0, threading.Event()
        self.go_on.set()

    def __call__(self) -> RollOver:
        self.asked += 1
        assert self.go_on.wait(30)
        if self.says is None:
            raise StoreUnavailable("away")
        return self.says


@asynccontextmanager
async def server(state: State) -> AsyncIterator[aiohttp.ClientSession]:
    """A client without a certificate of its own."""
    ours = s.party("hub", oin=HUB)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(ours.certificate, ours.key)
    current = credentials.read(ours.key, ours.certificate)
    made = GatewayServer([CertificatePages(lambda: current, state)], context=context)
    await made.start("127.0.0.1", 0)
    connector = aiohttp.TCPConnector(ssl=ssl.create_default_context(cafile=s.folder() / "ca.pem"))
    try:
        async with aiohttp.ClientSession(f"https://localhost:{made.port}", connector=connector) as session:
            yield session
    finally:
        await made.stop()


async def ask(session: aiohttp.ClientSession) -> tuple[int, str | None, bytes]:
    async with session.get("/certificates") as answer:
        return answer.status, answer.headers.get("Retry-After"), await answer.read()


def shown(answer: tuple[int, str | None, bytes]) -> Any:
    assert answer[0] == 200, answer
    return json.loads(answer[2])["next"]


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(https, "HOLD_BACK_S", 0.0)


def test_while_nobody_can_say_whether_there_is_a_next_certificate_the_page_does_not_say_that_there_is_none(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def act() -> None:
        state = State(None)
        async with server(state) as session:
            status, again, body = await ask(session)
            assert (status, again) == (503, "2")
            assert b"null" not in body
            state.says = NEXT
            monkeypatch.setattr(certificate_pages, "time", SimpleNamespace(monotonic=lambda: time.monotonic() + 2))
            assert shown(await ask(session))["sha256"] == "bb", "after as many seconds as the answer said"

    asyncio.run(act())


def test_what_was_known_is_shown_while_the_store_is_away(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(certificate_pages, "LOOK_EVERY_S", 0.0)

    async def act() -> None:
        state = State()
        async with server(state) as session:
            assert shown(await ask(session))["sha256"] == "bb"
            state.says = None
            assert shown(await ask(session))["sha256"] == "bb"
            assert state.asked == 2

    asyncio.run(act())


def test_whoever_asks_while_the_store_is_asked_for_the_first_time_gets_what_it_says_and_it_is_asked_once() -> None:
    async def act() -> None:
        state = State()
        state.go_on.clear()
        async with server(state) as session:
            first = asyncio.create_task(ask(session))
            await until(lambda: state.asked == 1)
            others = [asyncio.create_task(ask(session)) for _ in range(3)]
            done, _ = await asyncio.wait([first, *others], timeout=0.5)
            state.go_on.set()
            assert not done
            assert [shown(answer)["sha256"] for answer in await asyncio.gather(first, *others)] == ["bb"] * 4
            assert state.asked == 1

    asyncio.run(act())
