"""Judging what takes long, in a process of its own: a message of a megabyte takes up to half a second, and nobody else waits for it.

A thread does not do: libxml2 calls back into Python for every mistake in a document, and canonicalising `#default` is work of our own.
Measured with such messages one after another, a small one beside them took 1 to 2 ms (p99) with a process, and 6 to 135 ms with a thread.
It also keeps what a large document does to the memory, or to libxml2, out of the process that holds everybody's connections.
"""

from __future__ import annotations

import asyncio
import logging
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, replace
from typing import Any, Final

from lxml import etree

from routing.register import Register
from routing.register_asked import NotAsked
from routing.work import NewMessage, NewRefusal, StoreUnavailable
from schemas.envelope import Envelope
from schemas.faults import Fault, OurFailure
from schemas.oin import Oin
from workers.desk import Desk, Hints
from workers.register_cache import RegisterCache

log = logging.getLogger("koppelpunt.gateway")

#: Bytes up to which a message is judged at once: at most 16,000 tags, 3 ms. Ten thousand of ours (five pupils) are smaller than this.
AT_ONCE: Final = 64 << 10
#: Namespace declarations with which it is; canonicalising takes time with each of them for every tag. Ours have ten, toolkits twenty.
MOST_DECLARATIONS: Final = 50
#: Seconds that a message waits for its turn, and for being judged.
PATIENCE_S: Final = 10.0
#: Seconds after which nothing came out of the other process though something is in it: then it is ended. A message takes one at most.
STUCK_S: Final = 9.0
#: Seconds that it waits for another register. What did not answer by then is at hand when the sender comes again.
ASKING_S: Final = 1.0
#: How much the other process is nicer than the gateway: where both want the processor, what everybody waits for goes first.
LESS_URGENT: Final = 5


def takes_long(raw: bytes) -> bool:
    """Whether judging a message may take more than a few milliseconds. Content that does not fit its XSD takes long too."""
    return len(raw) > AT_ONCE or raw.count(b"xmlns") > MOST_DECLARATIONS or b"#default" in raw


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """What the channel says of a hand-in: see `Desk.judge`."""

    via: str
    fault: Fault | None
    unsigned: bool
    unfit: Fault | None

    def judge(
        self,
        desk: Desk,
        raw: bytes,
        *,
        system: Oin,
        register: Register,
        hints: Hints,
        question: Callable[[Envelope], None] | None,
        explain: bool = True,
    ) -> NewMessage | NewRefusal:
        """As `Desk.judge`."""
        return desk.judge(
            raw,
            system=system,
            register=register,
            via=self.via,
            hints=hints,
            fault=self.fault,
            question=question,
            unsigned=self.unsigned,
            unfit=self.unfit,
            explain=explain,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """What a message is to become, and what can be known of it without reading it again."""

    item: NewMessage | NewRefusal
    envelope: Envelope | None  #: with an empty content; None when it was not verified
    seen: Any  #: what the channel may know of one that was not verified


class Judge:
    """The desk in the other process."""

    def __init__(self, desk: Desk, register: RegisterCache, look: Callable[[bytes], Any]) -> None:
        """`look`: reads what a message that was not verified says of itself; what it returns can be pickled, and has a `message_id`."""
        self._desk, self._register, self._look = desk, register, look

    def __call__(self, raw: bytes, system: Oin, known: Known) -> Judged:
        """As `Desk.judge`, without the channel's own question. Raises OurFailure."""
        seen: list[Any] = []
        verified: list[Envelope] = []

        def message_id() -> str | None:
            seen.append(self._look(raw))
            found: str | None = seen[0].message_id
            return found

        try:
            register = self._register()
            hints = Hints(look=message_id)
            try:
                item = known.judge(self._desk, raw, system=system, register=register, hints=hints, question=verified.append)
            except NotAsked as missing:
                verified.clear()
                missing.begin().result(ASKING_S)
                item = known.judge(self._desk, raw, system=system, register=register, hints=hints, question=verified.append)
        except (StoreUnavailable, TimeoutError, NotAsked):  # others wait for this process
            raise OurFailure("the service register cannot be read now") from None
        # an element of lxml's cannot be passed on, and the bytes are there already
        envelope = replace(verified[0], content=None, xml=b"") if verified else None  # type: ignore[arg-type]
        return Judged(item=item, envelope=envelope, seen=seen[0] if seen else None)


class Apart:
    """The other process: started when the first message needs it, and again when it died. Each system has one message in it at a time."""

    def __init__(self, make: Callable[[], Judge]) -> None:
        """`make` is called there; it can be pickled."""
        self._make = make
        self._pool: ProcessPoolExecutor | None = None
        self._in_hand, self._moved_at = 0, 0.0  #: messages that wait or are judged; when one was finished, or the first was given
        self._lines: dict[Oin, asyncio.Lock] = {}  # of systems that the register has, so not many

    async def judge(self, raw: bytes, *, system: Oin, known: Known) -> Judged:
        """As `Desk.judge`. Raises OurFailure, also when it took too long: then the sender offers it again."""
        process = None
        try:
            async with asyncio.timeout(PATIENCE_S), self._lines.setdefault(system, asyncio.Lock()):
                process = self._process()
                if not self._in_hand:
                    self._moved_at = time.monotonic()
                self._in_hand += 1
                try:
                    judged = await asyncio.get_running_loop().run_in_executor(process, _judge, raw, system, known)
                    self._moved_at = time.monotonic()
                finally:
                    self._in_hand -= 1
        except TimeoutError:
            if process is not None and process is self._pool and time.monotonic() - self._moved_at > STUCK_S:
                self._end_at_once(system, len(raw))
            raise OurFailure(f"large or wrong messages of system {system} are judged one at a time, and others came first") from None
        except BrokenProcessPool:
            log.error("judge_died", extra={"system": system, "bytes": len(raw)})
            if process is self._pool:  # the first of those that were in it
                self.close()
            raise OurFailure("the message could not be judged") from None
        if judged.envelope is None:
            return judged
        return replace(judged, envelope=replace(judged.envelope, content=etree.Element("content"), xml=raw))

    def _process(self) -> ProcessPoolExecutor:
        if self._pool is None:
            spawn = multiprocessing.get_context("spawn")  # a copy of this process would hold its connections
            self._pool = ProcessPoolExecutor(1, spawn, _begin, (self._make,))
        return self._pool

    def _end_at_once(self, system: Oin, size: int) -> None:
        """The process has been at one message for too long, whatever it is: everybody else's would wait for it."""
        log.error("judge_died", extra={"system": system, "bytes": size})
        pool, self._pool = self._pool, None
        if pool is not None:
            for process in list(pool._processes.values()):  # Python 3.14 has a method for it
                process.kill()
            pool.shutdown(wait=False, cancel_futures=True)

    def close(self) -> None:
        """Ends the process, when it has finished what it has in hand."""
        if self._pool is not None:
            self._pool.shutdown(wait=False, cancel_futures=True)
            self._pool = None


# -- in the other process -----------------------------------------------------------------------------------------------------------------

_judges: list[Judge] = []


def _begin(make: Callable[[], Judge]) -> None:
    for number in (signal.SIGINT, signal.SIGTERM):  # the gateway ends it, when it has answered
        signal.signal(number, signal.SIG_IGN)
    threading.Thread(target=_leave_with_the_gateway, daemon=True).start()
    os.nice(LESS_URGENT)
    _judges.append(make())


def _leave_with_the_gateway() -> None:
    """A gateway that is killed closes nothing."""
    if (gateway := multiprocessing.parent_process()) is not None:
        gateway.join()
        os._exit(1)


def _judge(raw: bytes, system: Oin, known: Known) -> Judged:
    return _judges[0](raw, system, known)
