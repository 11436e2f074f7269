"""A follower that does not read the snapshot it asked for is cut off, and costs nobody else anything."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from adapters import snapshot_http
from adapters.https import OUTCOME, Outcome
from adapters.rest_party import Visits
from adapters.snapshot_http import PATH, SnapshotPages
from routing.following import Made
from schemas.oin import Oin

FOLLOWER = Oin("00000003272448340000")
RAW = bytes(32 << 20)


async def _aside(act: Any) -> Any:
    return act()


async def _answer(request: web.Request, act: Any) -> Any:
    """As `Visits.answer`: what goes wrong becomes an answer."""
    OUTCOME.set(Outcome())
    try:
        return await act(FOLLOWER)
    except Exception as error:
        return Visits._problem(request, error)


def test_a_follower_that_reads_nothing_is_cut_off_and_may_ask_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(snapshot_http, "FETCH_S", 0.5)
    shelf: Any = SimpleNamespace(made=lambda: Made(1, 1, 2), raw=lambda _: RAW)
    visits: Any = SimpleNamespace(aside=_aside, answer=_answer)

    async def act() -> None:
        app = web.Application()
        app.router.add_routes(SnapshotPages(shelf, visits, [FOLLOWER]).routes())
        runner = web.AppRunner(app)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        port = runner.addresses[0][1]
        reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1024)
        writer.write(f"GET {PATH} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        await asyncio.sleep(1.5)
        got, rest = b"", b"x"
        try:
            while rest:
                got += (rest := await asyncio.wait_for(reader.read(1 << 20), 10))
        except ConnectionError:
            pass
        assert len(got) < len(RAW)
        assert got.count(b"HTTP/1.1 ") == 1, "nothing follows on half an answer"
        writer.close()
        async with aiohttp.ClientSession() as session, session.get(f"http://127.0.0.1:{port}{PATH}") as answer:
            assert len(await answer.read()) == len(RAW)
        await runner.cleanup()

    asyncio.run(act())
