"""How many connections the gateway's server keeps, and who must go: real sockets and TLS, and a page that only says hello."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import time
from collections.abc import AsyncIterator, Callable, Iterable
from pathlib import Path
from types import SimpleNamespace

import pytest
from aiohttp import web

from adapters import connections, https
from adapters.connections import Connections
from adapters.https import OUTCOME, GatewayServer
from schemas.faults import OurFailure
from schemas.oin import Oin
from tests.support import signing as s
from tests.support.broker import until
from tests.support.exchange import HUB

Pair = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class Hello:
    """A page for everybody; `/wait` answers when it is told to."""

    def __init__(self) -> None:
        self.free = asyncio.Event()

    def routes(self) -> Iterable[web.RouteDef]:
        """See `https.Pages`."""
        paths = (web.get("/", self._hello), web.get("/wait", self._wait), web.get("/again", self._again))
        return (*paths, web.post("/body", self._body))

    async def _hello(self, _: web.Request) -> web.Response:
        OUTCOME.get().system = Oin(s.LAS)  # a connection without one is closed after its answer
        return web.Response(text="hello")

    async def _wait(self, request: web.Request) -> web.Response:
        await self.free.wait()
        return await self._hello(request)

    async def _body(self, request: web.Request) -> web.Response:
        try:
            await https.read_body(request)
        except OurFailure as failure:
            return web.Response(status=503, text=failure.reason)
        return await self._hello(request)

    async def _again(self, request: web.Request) -> web.Response:
        answer = await self._hello(request)
        answer.headers["Retry-After"] = "2"
        return answer


class Place:
    """A server, and its clients' side."""

    def __init__(self, kept: Connections) -> None:
        ours = s.party("hub", oin=HUB)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(ours.certificate, ours.key)
        context.load_verify_locations(s.folder() / "ca.pem")
        context.verify_mode = ssl.CERT_OPTIONAL
        self.kept, self.page = kept, Hello()
        self.server = GatewayServer([self.page], context=context, connections=kept)

    def context(self, oin: str = s.LAS) -> ssl.SSLContext:
        """A client's TLS."""
        files = s.party(f"party-{oin}", oin=oin)
        context = ssl.create_default_context(cafile=s.folder() / "ca.pem")
        context.load_cert_chain(files.certificate, files.key)
        return context

    async def connect(self, oin: str = s.LAS, source: str = "127.0.0.1") -> Pair:
        """A connection on which nothing was asked yet."""
        return await asyncio.open_connection(
            "127.0.0.1", self.server.port, ssl=self.context(oin), server_hostname="localhost", local_addr=(source, 0)
        )

    async def connect_plainly(self) -> Pair:
        """A connection that never begins with TLS."""
        return await asyncio.open_connection("127.0.0.1", self.server.port)


@contextlib.asynccontextmanager
async def place(kept: Connections) -> AsyncIterator[Place]:
    made = Place(kept)
    await made.server.start("127.0.0.1", 0)
    try:
        yield made
    finally:
        made.page.free.set()
        await made.server.stop()


async def asked(pair: Pair, path: str = "/") -> bytes:
    """The answer's first line on this connection; empty when it is closed instead."""
    reader, writer = pair
    try:
        writer.write(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 10)
        await reader.readexactly(5)
    except (OSError, asyncio.IncompleteReadError):
        return b""
    return head.split(b"\r\n")[0]


OK = b"HTTP/1.1 200 OK"


async def closed(pair: Pair) -> bool:
    """Whether the other side hangs up; waits for it."""
    try:
        return await asyncio.wait_for(pair[0].read(), 10) == b""
    except TimeoutError:  # an OSError too
        return False
    except OSError:
        return True


def test_one_connection_too_many_closes_the_one_that_is_idle_longest() -> None:
    async def act() -> None:
        async with place(Connections(most=3)) as here:
            first, second, third = [await here.connect() for _ in range(3)]
            for pair in (second, third, first):
                assert await asked(pair) == OK
            fourth = await here.connect()
            assert await asked(fourth) == OK
            assert await closed(second)
            assert [await asked(pair) for pair in (first, third, fourth)] == [OK] * 3
            assert here.kept.count() == 3

    asyncio.run(act())


def test_when_none_is_idle_the_new_one_is_closed_and_no_request_is_lost() -> None:
    async def act() -> None:
        async with place(Connections(most=2)) as here:
            waiting = [asyncio.create_task(asked(await here.connect(), "/wait")) for _ in range(2)]
            await until(lambda: here.server._in_hand == 2)
            with pytest.raises(OSError):
                await here.connect()
            here.page.free.set()
            assert await asyncio.gather(*waiting) == [OK, OK]
            assert await asked(await here.connect()) == OK

    asyncio.run(act())


def test_an_address_that_has_all_it_may_have_takes_nothing_from_another() -> None:
    async def act() -> None:
        async with place(Connections(most=100, most_of_address=2)) as here:
            other = await here.connect(source="127.0.0.2")
            assert await asked(other) == OK
            mine = [await here.connect() for _ in range(4)]
            assert await closed(mine[0])
            assert await closed(mine[1])
            assert [await asked(pair) for pair in (*mine[2:], other)] == [OK] * 3

    asyncio.run(act())


def test_a_certificate_that_has_all_it_may_have_loses_its_own_connections_wherever_they_come_from(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "MOST_OF_CERTIFICATE", 2)

    async def act() -> None:
        async with place(Connections()) as here:
            other = await here.connect("00000003272448360000")
            mine = [await here.connect(source=f"127.0.0.{number}") for number in range(1, 4)]
            assert [await asked(pair) for pair in (other, *mine)] == [OK] * 4
            assert await closed(mine[0])
            assert [await asked(pair) for pair in (other, *mine[1:])] == [OK] * 3

    asyncio.run(act())


def test_a_connection_more_than_a_certificate_may_have_gets_its_answer_and_is_closed_when_none_is_idle(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(connections, "MOST_OF_CERTIFICATE", 1)

    async def act() -> None:
        async with place(Connections()) as here:
            waiting = asyncio.create_task(asked(await here.connect(), "/wait"))
            await until(lambda: here.server._in_hand == 1)
            second = await here.connect()
            assert await asked(second) == OK
            assert await closed(second)
            here.page.free.set()
            assert await waiting == OK

    asyncio.run(act())


@pytest.mark.parametrize("begin", [Place.connect_plainly, Place.connect], ids=["no TLS", "no request"])
def test_of_those_that_never_say_anything_the_oldest_go_and_others_are_served(
    begin: Callable[[Place], asyncio.Future[Pair]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "MOST_SILENT", 3)

    async def act() -> None:
        async with place(Connections()) as here:
            served = await here.connect()
            assert await asked(served) == OK
            silent = [await begin(here) for _ in range(4)]
            assert await closed(silent[0])
            assert [await asked(pair) for pair in (served, await here.connect())] == [OK] * 2
            assert await closed(silent[1])

    asyncio.run(act())


def test_a_handshake_that_does_not_finish_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(https, "HANDSHAKE_S", 0.3)

    async def act() -> None:
        async with place(Connections()) as here:
            pair = await here.connect_plainly()
            pair[1].write(b"\x16\x03\x01\x02\x00\x01")  # the beginning of a ClientHello
            assert await closed(pair)
            await until(lambda: here.kept.count() == 0)
            assert await asked(await here.connect()) == OK

    asyncio.run(act())


def test_bodies_that_come_slowly_are_not_all_given_up_at_once_but_each_after_its_own_part_of_the_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Their senders would come back all at once too, each with a handshake."""
    drawn = iter((0.0, 1.0))

    def uniform(low: float, high: float) -> float:
        return low + (high - low) * next(drawn)

    monkeypatch.setattr(https, "random", SimpleNamespace(uniform=uniform))
    monkeypatch.setattr(https, "READ_S", 60.0)
    monkeypatch.setattr(https, "LEAST", 0.01)

    async def act() -> None:
        async with place(Connections()) as here:
            first, second = [await here.connect() for _ in range(2)]
            for _, writer in (first, second):
                writer.write(b"POST /body HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\nbegun")
                asked = here.server._in_hand
                await until(lambda before=asked: here.server._in_hand > before)
            answer = await asyncio.wait_for(first[0].readuntil(b" s"), 20)
            assert b" 503 " in answer and answer.endswith(b"within 0.6 s"), "what everybody gets"
            second[1].write(b"done")
            assert (await asyncio.wait_for(second[0].readuntil(b"\r\n"), 20)).startswith(OK), "this one had all of it"

    asyncio.run(act())


@pytest.mark.parametrize(("patience", "after"), [(0.0, 0.75), (0.5, 0.875), (1.0, 1.0)])
def test_a_connection_without_a_request_is_closed_after_its_own_part_of_the_time(
    patience: float, after: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(https, "READ_S", 1e6)  # the server looks by itself, too

    async def act() -> None:
        async with place(Connections()) as here:
            goes, stays = await here.connect(), await here.connect()
            for one, more in zip(here.kept._open.values(), (1, -100), strict=True):
                one.patience, one.since = patience, time.monotonic() - 1_000 * after - more
            here.kept.hang_up_on_the_silent(1_000.0, 0.75)
            assert await closed(goes)
            assert await asked(stays) == OK

    asyncio.run(act())


def test_connections_differ_in_how_long_they_may_be_silent() -> None:
    async def act() -> None:
        async with place(Connections()) as here:
            pairs = [await here.connect_plainly() for _ in range(20)]
            await until(lambda: here.kept.count() == len(pairs))
            patience = {one.patience for one in here.kept._open.values()}
            assert len(patience) > 1
            assert min(patience) >= 0 and max(patience) <= 1

    asyncio.run(act())


def test_a_server_hangs_up_on_the_silent_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(https, "READ_S", 0.5)

    async def act() -> None:
        async with place(Connections()) as here:
            spoke, silent = await here.connect(), await here.connect()
            assert await asked(spoke) == OK
            assert await closed(silent)
            assert await asked(spoke) == OK, "that one is idle, which is something else"

    asyncio.run(act())


def test_who_is_asked_to_come_again_hears_so_a_moment_later_and_others_do_not_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(https, "HOLD_BACK_S", 60.0)

    async def act() -> None:
        async with place(Connections()) as here:
            again = asyncio.create_task(asked(await here.connect(), "/again"))
            await until(lambda: here.server._in_hand == 1)
            assert await asked(await here.connect()) == OK
            assert not again.done()
            stopping = asyncio.create_task(here.server.stop())  # nobody is held back then
            assert await again == OK
            await stopping

    asyncio.run(act())


def test_an_idle_connection_keeps_no_more_than_one_record_of_tls_in_memory() -> None:
    """With asyncio's own buffers a connection takes 256 KiB more."""
    count = 300

    async def act() -> int:
        async with place(Connections()) as here:
            before, pairs = resident_kb(), []
            for _ in range(count):  # both sides of each are in this process
                pairs.append(await here.connect())
                assert await asked(pairs[-1]) == OK
            taken = resident_kb() - before
            for _, writer in pairs:
                writer.transport.abort()
            await until(lambda: here.kept.count() == 0)
            return taken

    assert asyncio.run(act()) / count < 250


def resident_kb() -> int:
    """Memory of this process."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS"))


def test_a_host_with_several_addresses_is_listened_on_at_each_with_one_port() -> None:
    made = Connections().listeners("localhost", 0)
    try:
        assert len({one.getsockname()[1] for one in made}) == 1
        assert {one.family for one in made} <= {socket.AF_INET, socket.AF_INET6}
    finally:
        for one in made:
            one.close()
