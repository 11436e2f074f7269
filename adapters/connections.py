"""The gateway's connections: how many at a time, how many of whom, and who must go when there are more: whoever is idle longest.

A connection that is one too many is closed before TLS, which is what makes it dear: some 50 kB and a signature of ours.
"""

from __future__ import annotations

import contextlib
import hashlib
import random
import resource
import socket
import time
from asyncio import sslproto
from collections import Counter, deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from aiohttp import web

#: Connections of one client certificate: 100 requests at a time is the most that anybody may have.
MOST_OF_CERTIFICATE: Final = 128
#: Connections that brought no request yet, handshakes under way among them. A good client's takes milliseconds: the oldest must go.
MOST_SILENT: Final = 500
#: Seconds for TLS to begin and to end.
HANDSHAKE_S, GOODBYE_S = 10.0, 3.0
#: Connections taken in one round of the loop: each soon costs some milliseconds, for a signature of ours and one of theirs.
IN_A_ROW: Final = 2
#: Files that are not connections.
_OTHER_FILES: Final = 100
#: What asyncio's TLS keeps in memory for each connection: one record, and not the 256 KiB it would take by itself.
_TLS_BUFFER: Final = 16 << 10


@dataclass(slots=True, eq=False)
class _Connection:
    socket: socket.socket
    address: str
    since: float  #: accepted, or its last request was answered; by the monotonic clock
    patience: float  #: between 0 and 1: which part of the time that one may take this one gets
    certificate: bytes | None = None  #: SHA-256, from the first request on
    spoke: bool = False
    busy: bool = False


class Connections:
    """All connections of one server. Not for several threads."""

    def __init__(self, most: int = 2_500, most_of_address: int = 500) -> None:
        """`most_of_address`: a school's or supplier's firewall may stand before all that it has."""
        self._most, self._most_of_address = min(most, _files() - _OTHER_FILES), most_of_address
        self._open: dict[Any, _Connection] = {}  #: by peer name; in the order in which they were last of use
        self._of_address: Counter[str] = Counter()
        self._silent: deque[_Connection] = deque()  #: in the order in which they came; some spoke since
        sslproto.SSLProtocol.max_size = _TLS_BUFFER

    def count(self) -> int:
        """How many are open."""
        self._forget_closed()
        return len(self._open)

    def listeners(self, host: str, port: int, *, shared: bool = True) -> list[socket.socket]:
        """Sockets on every address of this host, bound and not listening yet. `shared`: other processes may have the port too. Raises
        OSError."""
        made: list[socket.socket] = []
        try:
            for family, kind, protocol, _, address in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE):
                one = _Listener(self, family, kind, protocol)
                made.append(one)
                one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, int(shared))
                if family == socket.AF_INET6:
                    one.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
                one.bind(address)
                port = port or one.getsockname()[1]
        except OSError:
            for listener in made:
                listener.close()
            raise
        return made

    def admit(self, connection: socket.socket, peer: Any) -> bool:
        """Whether it may stay; perhaps another had to go for it."""
        address = str(peer[0])
        if len(self._open) >= self._most or self._of_address[address] >= self._most_of_address:
            self._forget_closed()
        if self._of_address[address] >= self._most_of_address and not self._hang_up(lambda one: one.address == address):
            return False
        if len(self._open) >= self._most and not self._hang_up(lambda _: True):
            return False
        self._forget(peer)  # its port has been given out again
        self._open[peer] = made = _Connection(connection, address, time.monotonic(), random.random())  # noqa: S311
        self._of_address[address] += 1
        self._silent.append(made)
        if len(self._silent) > MOST_SILENT:
            self._silent = deque(one for one in self._silent if not one.spoke and one.socket.fileno() >= 0)
            if len(self._silent) > MOST_SILENT:
                _close(self._silent.popleft())
        return True

    @contextlib.contextmanager
    def busy(self, request: web.Request) -> Iterator[bool]:
        """While a request is under way its connection is not idle. Yields whether it may stay open afterwards."""
        transport = request.transport
        peer = transport.get_extra_info("peername") if transport else None
        connection = self._open.get(peer)
        if transport is None or connection is None:
            yield True
            return
        stays = True
        connection.busy = True
        if not connection.spoke:
            connection.spoke = True
            stays = self._note_certificate(connection, transport.get_extra_info("ssl_object"))
        try:
            yield stays
        finally:
            connection.busy, connection.since = False, time.monotonic()
            if self._open.pop(peer, None) is not None:
                self._open[peer] = connection

    def _note_certificate(self, connection: _Connection, tls: Any) -> bool:
        der = tls.getpeercert(binary_form=True) if tls else None
        if not der:
            return True
        connection.certificate = certificate = hashlib.sha256(der).digest()
        if sum(1 for one in self._open.values() if one.certificate == certificate) <= MOST_OF_CERTIFICATE:
            return True
        self._forget_closed()
        if sum(1 for one in self._open.values() if one.certificate == certificate) <= MOST_OF_CERTIFICATE:
            return True
        return self._hang_up(lambda one: one.certificate == certificate)

    def hang_up_on_the_silent(self, after_s: float, least: float) -> None:
        """Closes what brought no whole request in this time, or in a part of it, `least` at least, which differs between connections:
        aiohttp waits for one as long as it takes."""
        self._forget_closed()
        now = time.monotonic()
        for one in self._open.values():
            if not one.spoke and now - one.since > after_s * (least + (1 - least) * one.patience):
                _close(one)

    def _hang_up(self, whom: Any) -> bool:
        """Closes the one of these that is idle longest; False when all have a request under way."""
        for peer, one in self._open.items():
            if not one.busy and whom(one):
                _close(one)
                self._forget(peer)
                return True
        return False

    def _forget_closed(self) -> None:
        for peer in [peer for peer, one in self._open.items() if one.socket.fileno() < 0]:
            self._forget(peer)

    def _forget(self, peer: Any) -> None:
        gone = self._open.pop(peer, None)
        if gone is not None:
            self._of_address[gone.address] -= 1
            if not self._of_address[gone.address]:
                del self._of_address[gone.address]


class _Listener(socket.socket):
    """Has each connection judged when it is accepted."""

    def __init__(self, connections: Connections, family: int, kind: int, protocol: int) -> None:
        super().__init__(family, kind, protocol)
        self._connections, self._in_a_row = connections, 0

    def accept(self) -> tuple[socket.socket, Any]:
        """The next one that may stay. Raises BlockingIOError when there is none now, and after so many in a row."""
        while self._in_a_row < IN_A_ROW:
            try:
                connection, peer = super().accept()
            except OSError:
                self._in_a_row = 0
                raise
            self._in_a_row += 1
            if self._connections.admit(connection, peer):
                return connection, peer
            connection.close()
        self._in_a_row = 0
        raise BlockingIOError


def _close(connection: _Connection) -> None:
    """Its transport, handshake or request finds the other side gone."""
    with contextlib.suppress(OSError):
        connection.socket.shutdown(socket.SHUT_RDWR)


def _files() -> int:
    """Lets this process have as many files as the system allows it; the usual 1,024 are soon taken by idle connections."""
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]
