"""Gateway: hand-ins that are answered on the connection they came by. Judged one by one, stored many at a time, answered after the commit.

What speaks HTTPS is an adapter (`adapters.https`, `adapters.wus`); it hands in here. While one batch is being committed the next one
gathers: with few senders a batch is one message and nobody waits for another, with many it is as large as they make it.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Final, Protocol

from routing.amsterdam import amsterdam_day
from routing.ports import JudgeStep, Store
from routing.register import Register
from routing.work import HandInResult, NewMessage, NewRefusal, StoreUnavailable
from schemas.envelope import Envelope
from schemas.faults import Fault, OurFailure
from schemas.oin import Oin
from workers.desk import Desk, Hints
from workers.loop import HOLD_S, Worker
from workers.register_cache import RegisterCache

log = logging.getLogger("koppelpunt.gateway")

#: How long a sender is kept waiting while the store is away. After that nobody knows; it offers the message again.
PATIENCE_S: Final = 10.0
#: Seconds between two looks for a register that cannot be read.
LOOK_AGAIN_S: Final = 1.0
#: Seconds between two tries to get the port.
LISTEN_AGAIN_S: Final = 5.0


@dataclass(slots=True)
class _Waiting:
    """One hand-in whose sender waits for the commit."""

    item: NewMessage | NewRefusal
    result: asyncio.Future[HandInResult]
    since: float = field(default_factory=time.monotonic)


class Server(Protocol):
    """What speaks HTTPS."""

    port: int

    async def start(self, host: str, port: int) -> None:
        """Listens from now on. Raises OSError when the port cannot be had."""

    async def stop(self) -> None:
        """Takes no more connections, and lets those that wait for an answer have it."""


class Gateway:
    """A `Counter` (routing.ports) on desk, store and register. `run` commits what `hand_in` brings."""

    def __init__(
        self, worker: Worker, store: Store, desk: Desk, register: RegisterCache, judge_step: JudgeStep, *, batch_size: int = 200
    ) -> None:
        self._worker, self._store, self._desk, self._register, self._judge_step = worker, store, desk, register, judge_step
        self._batch_size = batch_size
        self._waiting: list[_Waiting] = []
        self._some = asyncio.Event()
        self._last: Register | None = None
        self._last_at = self._look_again_at = 0.0
        self._served = False  #: nobody will hand in any more
        self._schools: tuple[int, dict[Oin, int]] = (-1, {})
        # one thread: TLS and judging go on during a commit, and batches are stored in the order in which they came
        self._storing = ThreadPoolExecutor(max_workers=1, thread_name_prefix="store")

    async def hand_in(
        self,
        raw: bytes,
        *,
        system: Oin,
        via: str,
        message_id: Callable[[], str | None],
        fault: Fault | None = None,
        question: Callable[[Envelope], None] | None = None,
        unsigned: bool = False,
        unfit: Fault | None = None,
    ) -> tuple[NewMessage | NewRefusal, HandInResult]:
        """See `routing.ports.Counter`. Raises OurFailure."""
        self._worker.in_hand += 1
        try:
            hints = Hints(look=message_id)
            item = self._desk.judge(
                raw,
                system=system,
                register=self._current(),
                via=via,
                hints=hints,
                fault=fault,
                question=question,
                unsigned=unsigned,
                unfit=unfit,
            )
            waiting = _Waiting(item, asyncio.get_running_loop().create_future())
            self._waiting.append(waiting)
            self._some.set()
            return item, await waiting.result
        finally:
            self._worker.in_hand -= 1

    def may_connect(self, system: Oin) -> bool:
        """See `routing.ports.Counter`. Raises OurFailure."""
        known = self._current().system(system)
        return known is not None and "https" in known.channels and known.covers(amsterdam_day(self._worker.clock.now()))

    def schools_of(self, system: Oin) -> int:
        """See `routing.ports.Counter`. Raises OurFailure."""
        register = self._current()
        if self._schools[0] != register.version:
            organisations: dict[Oin, set[Oin]] = {}
            for mandate in register.mandates:
                organisations.setdefault(mandate.system, set()).add(mandate.organisation)
            self._schools = (register.version, {oin: len(some) for oin, some in organisations.items()})
        return self._schools[1].get(system, 0)

    def _current(self) -> Register:
        """The register; while the store is away the last one, for as long as a sender would be kept waiting for it anyway: whether a
        message is taken in is decided by the commit."""
        now = time.monotonic()
        if now >= self._look_again_at:
            try:
                self._last, self._last_at = self._register(), now
            except StoreUnavailable:
                self._look_again_at = now + LOOK_AGAIN_S  # each look may take seconds, and everybody waits for it
        if self._last is None or now - self._last_at > PATIENCE_S:
            raise OurFailure("the service register cannot be read now")
        return self._last

    async def serve(self, server: Server, host: str, port: int) -> None:
        """Listens until the worker stops, and until all are answered. A port that somebody else has is tried again: it may be ours of a
        moment ago."""
        worker = self._worker
        try:
            while not worker.stopping and not server.port:
                try:
                    await server.start(host, port)
                    log.info("gateway_listens", extra={"worker": worker.id, "host": host, "port": server.port})
                except OSError as error:
                    log.error("gateway_cannot_listen", extra={"host": host, "port": port, "error": error.strerror or str(error)})
                    await worker.pause(LISTEN_AGAIN_S)
            while not worker.stopping:
                await worker.pause(1.0)
            await server.stop()
        finally:
            self._served = True

    async def run(self) -> None:
        """Commits batch after batch, until the server has stopped and nobody waits any more."""
        try:
            while not (self._served and not self._waiting and not self._worker.in_hand):
                if not self._waiting:
                    self._some.clear()
                    try:
                        await asyncio.wait_for(self._some.wait(), 0.2)
                    except TimeoutError:
                        continue
                batch, self._waiting = self._waiting[: self._batch_size], self._waiting[self._batch_size :]
                await self._commit(batch)
        finally:
            self._storing.shutdown()

    async def _commit(self, batch: Sequence[_Waiting]) -> None:
        tries = 0
        while batch:
            try:
                results = await self._store_batch(batch)
            except StoreUnavailable as error:
                if tries in (0, 10):
                    log.warning("held", extra={"worker": self._worker.id, "what": "store hand-ins", "error": str(error), "tries": tries})
                batch = self._give_up(batch)
                await asyncio.sleep(HOLD_S[min(tries, len(HOLD_S) - 1)])
                tries += 1
                continue
            except Exception as error:  # whatever it is: one bad message must not take the others with it
                log.error(
                    "batch_failed", extra={"worker": self._worker.id, "messages": len(batch), "error": type(error).__name__}, exc_info=error
                )
                if len(batch) > 1:
                    for one in batch:
                        await self._commit([one])
                else:
                    _settle(batch[0], OurFailure("the message could not be stored"))
                return
            for waiting, result in zip(batch, results, strict=True):
                _settle(waiting, result)
            self._worker.handled += len(batch)
            self._worker.count_hand_ins("https", results)
            return

    async def _store_batch(self, batch: Sequence[_Waiting]) -> list[HandInResult]:
        items = [waiting.item for waiting in batch]
        accept, actor, judge_step = self._store.hand_ins.accept, self._worker.id, self._judge_step
        return await asyncio.get_running_loop().run_in_executor(self._storing, lambda: accept(items, actor=actor, judge_step=judge_step))

    @staticmethod
    def _give_up(batch: Sequence[_Waiting]) -> list[_Waiting]:
        """Answers those who have waited long enough; returns the others. What they handed in may yet have been stored: that is for the
        duplicate check to find out when they come again."""
        latest = time.monotonic() - PATIENCE_S
        for waiting in batch:
            if waiting.since <= latest:
                _settle(waiting, OurFailure("the store is not available now"))
        return [waiting for waiting in batch if waiting.since > latest]


def _settle(waiting: _Waiting, outcome: HandInResult | OurFailure) -> None:
    if waiting.result.done():  # its connection is gone
        return
    if isinstance(outcome, OurFailure):
        waiting.result.set_exception(outcome)
    else:
        waiting.result.set_result(outcome)
