"""A register's server that answers as a test tells it to: over mutual TLS, byte by byte, slowly, or not at all."""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from adapters import pki

#: What a question gets; it may be changed at any time.
Reply = Callable[[str], "Odd"]


class Odd:
    """One answer: its bytes; `hangs`: seconds before the rest of it; `cut`: it ends after so many bytes."""

    def __init__(self, raw: bytes, *, hangs: float = 0.0, cut: int | None = None) -> None:
        self.raw, self.hangs, self.cut = raw, hangs, cut


def says(said: Any, status: int = 200, *, kind: str = "application/json", headers: str = "") -> Odd:
    """A whole answer; bytes go as they are, and anything else as JSON."""
    body = said if isinstance(said, bytes) else json.dumps(said).encode()
    return Odd(f"HTTP/1.1 {status} X\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n{headers}\r\n".encode() + body)


class OddRegister:
    """Use as `with`, outside of any event loop. Listens on `port`; `url` is its API."""

    def __init__(self, folder: Path, *, server: pki.Party | None = None) -> None:
        """`folder`: the PKI. `server`: whose certificate it shows."""
        self._party = server or pki.issue(folder, oin="00000003999999990009", name="odd-register")
        self._context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=str(folder / "ca.pem"))
        self._context.verify_mode = ssl.CERT_REQUIRED
        self._context.load_cert_chain(self._party.certificate, self._party.key)
        self.reply: Odd = says([])
        self.asked: list[str] = []  #: request lines
        self.headers: list[str] = []
        self._threads = ThreadPoolExecutor(1)
        self._loop = asyncio.new_event_loop()
        self.port = 0

    @property
    def url(self) -> str:
        """What comes before `/endpoints`."""
        return f"https://localhost:{self.port}/api/v2"

    def __enter__(self) -> OddRegister:
        self._threads.submit(self._loop.run_forever)
        self.port = asyncio.run_coroutine_threadsafe(self._start(), self._loop).result(10)
        return self

    def __exit__(self, *_: object) -> None:
        asyncio.run_coroutine_threadsafe(self._end(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._threads.shutdown()

    async def _start(self) -> int:
        self._server = await asyncio.start_server(self._serve, "localhost", self.port, ssl=self._context)
        return int(self._server.sockets[0].getsockname()[1])

    async def _end(self) -> None:
        self._server.close()
        tasks = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                self.asked.append(head.split(b"\r\n")[0].decode())
                self.headers.append(head.decode())
                reply = self.reply
                half = len(reply.raw) // 2
                if reply.hangs:
                    writer.write(reply.raw[:half])
                    await writer.drain()
                    await asyncio.sleep(reply.hangs)
                    writer.write(reply.raw[half:])
                else:
                    writer.write(reply.raw[: reply.cut])
                await writer.drain()
                if reply.cut is not None:
                    break
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.transport.abort()
