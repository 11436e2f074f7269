"""Gateway: hand-ins that are answered on the connection they came by. Judged one by one, stored many at a time, answered after the commit.

What is judged in a moment is judged here, systems in turn; what takes long, in another process (workers.apart).
What speaks HTTPS is an adapter (`adapters.https`, `adapters.wus`); it hands in here. While one batch is being committed the next one
gathers: with few senders a batch is one message and nobody waits for another, with many it is as large as they make it.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import Any, Final, Protocol

from routing.amsterdam import amsterdam_day
from routing.ports import JudgeStep, Store, Verifier
from routing.register import Register
from routing.register_asked import NotAsked, never_waiting
from routing.register_stored import NotKept
from routing.work import HandInResult, NewMessage, NewRefusal, StoreUnavailable
from schemas.content import Unexplained
from schemas.contracts import Contracts
from schemas.envelope import Envelope
from schemas.faults import Fault, OurFailure
from schemas.oin import Oin
from workers.apart import Apart, Known, takes_long
from workers.asking import answered
from workers.desk import Desk, Hints, refusal, step_judge
from workers.loop import HOLD_S, Worker
from workers.parcel import Forwarder, Parcels
from workers.parts import Parts, Tasks
from workers.postbox import Postbox
from workers.register_cache import LOOK_EVERY_S, RegisterCache
from workers.register_desk import RegisterDesk
from workers.turns import Turns

log = logging.getLogger("koppelpunt.gateway")

#: How long a sender is kept waiting while the store is away. After that nobody knows; it offers the message again.
PATIENCE_S: Final = 10.0
#: How often a message is judged that needs what the register has not in memory: twice, and more where that changes meanwhile.
FETCHES: Final = 5
#: Seconds between two tries to get the port.
LISTEN_AGAIN_S: Final = 5.0


@dataclass(slots=True)
class _Waiting:
    """One hand-in whose sender waits for the commit."""

    item: NewMessage | NewRefusal
    result: asyncio.Future[HandInResult]
    since: float = field(default_factory=time.monotonic)


@dataclass(frozen=True, slots=True)
class _Register:
    """What the store had when somebody looked last."""

    register: Register
    kept: Register  #: the same, which never waits for the store
    schools: dict[str, int]  #: for how many organisations each system may act
    seen_at: float  #: by the monotonic clock


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
        self,
        worker: Worker,
        store: Store,
        desk: Desk,
        register: RegisterCache,
        judge_step: JudgeStep,
        *,
        apart: Apart,
        beside: Callable[[], None],
        batch_size: int = 200,
    ) -> None:
        """`apart`: judges what takes long. `beside`: called every second in a thread, for what else must follow the store."""
        self._worker, self._store, self._desk, self._register, self._judge_step = worker, store, desk, register, judge_step
        self._apart, self._beside, self._batch_size = apart, beside, batch_size
        self._turns = Turns()
        self._waiting: list[_Waiting] = []
        self._some = asyncio.Event()
        self._last: _Register | None = None
        self._served = False  #: nobody will hand in any more
        # one thread: TLS and judging go on during a commit, and batches are stored in the order in which they came
        self._storing = ThreadPoolExecutor(max_workers=1, thread_name_prefix="store")
        self._fetching = ThreadPoolExecutor(max_workers=4, thread_name_prefix="fetch")  # as many as ask a store that is slow
        self._looking = ThreadPoolExecutor(max_workers=1, thread_name_prefix="look")  # never behind anything else

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
        seen: Callable[[Any], None] | None = None,
    ) -> tuple[NewMessage | NewRefusal, HandInResult]:
        """See `routing.ports.Counter`. Raises OurFailure."""
        self._worker.in_hand += 1
        try:
            item = None
            known = Known(via=via, fault=fault, unsigned=unsigned, unfit=unfit)
            if takes_long(raw):
                item = await self._judge_apart(raw, system, known, question, seen)
            async with self._turns.in_hand(system):
                if item is None:
                    await self._turns.take(system)
                    item = await self._judge_here(raw, system, known, message_id, question)
                if item is None:
                    item = await self._judge_apart(raw, system, known, question, seen)
                waiting = _Waiting(item, asyncio.get_running_loop().create_future())
                self._waiting.append(waiting)
                self._some.set()
                result = await waiting.result
            await self._turns.take(system)  # for the signature of its answer
            return item, result
        finally:
            self._worker.in_hand -= 1

    async def _judge_here(
        self,
        raw: bytes,
        system: Oin,
        known: Known,
        message_id: Callable[[], str | None],
        question: Callable[[Envelope], None] | None,
    ) -> NewMessage | NewRefusal | None:
        """What it is to become; None when that takes longer than others can wait. What the register has not in memory is fetched from the
        store aside of the event loop, and the message then judged once more."""
        for _ in range(FETCHES):
            try:
                return self._judge(raw, system, known, message_id, question)
            except NotKept as missing:
                await self._fetch(missing)
            except StoreUnavailable as away:
                raise OurFailure(str(away)) from None
        raise OurFailure("the service register changes too fast to be read now")

    async def _fetch(self, missing: NotKept) -> None:
        try:
            async with asyncio.timeout(PATIENCE_S):
                if isinstance(missing, NotAsked):
                    return await answered(missing)
                await asyncio.get_running_loop().run_in_executor(self._fetching, missing.fetch)
        except (StoreUnavailable, TimeoutError):
            raise OurFailure("the service register cannot be read now") from None

    def _judge(
        self,
        raw: bytes,
        system: Oin,
        known: Known,
        message_id: Callable[[], str | None],
        question: Callable[[Envelope], None] | None,
    ) -> NewMessage | NewRefusal | None:
        """What it is to become; None when that takes longer than others can wait."""
        register, hints = self._current().kept, Hints(look=message_id)
        try:
            return known.judge(self._desk, raw, system=system, register=register, hints=hints, question=question, explain=False)
        except Unexplained:
            return None

    async def _judge_apart(
        self,
        raw: bytes,
        system: Oin,
        known: Known,
        question: Callable[[Envelope], None] | None,
        seen: Callable[[Any], None] | None,
    ) -> NewMessage | NewRefusal:
        judged = await self._apart.judge(raw, system=system, known=known)
        if judged.envelope is None:
            if seen is not None:
                seen(judged.seen)
        elif question is not None:
            try:
                question(judged.envelope)
            except Fault as wrong:
                return refusal(
                    wrong,
                    reference=judged.item.reference,
                    at=self._worker.clock.now(),
                    digest=hashlib.sha256(raw).digest(),
                    via=known.via,
                    system=system,
                    sender=judged.envelope.sender,
                    message_id=judged.envelope.message_id,
                )
        return judged.item

    def may_connect(self, system: Oin) -> bool:
        """See `routing.ports.Counter`. Raises OurFailure."""
        known = self._current().register.system(system)
        return known is not None and "https" in known.channels and known.covers(amsterdam_day(self._worker.clock.now()))

    def schools_of(self, system: Oin) -> int:
        """See `routing.ports.Counter`. Raises OurFailure."""
        return self._current().schools.get(system, 0)

    def _current(self) -> _Register:
        """The register as it was last seen; while the store is away, for as long as a sender would be kept waiting for it anyway: whether
        a message is taken in is decided by the commit."""
        if self._last is None or time.monotonic() - self._last.seen_at > PATIENCE_S:
            raise OurFailure("the service register cannot be read now")
        return self._last

    async def _follow(self) -> None:
        """Looks every second what the store has for us: in a thread, because while the store is away a look may take seconds."""
        while not self._served:
            await asyncio.sleep(LOOK_EVERY_S)
            await asyncio.get_running_loop().run_in_executor(self._looking, self._look)

    def _look(self) -> None:
        try:
            self._beside()
            register, seen_at = self._register.newest(), time.monotonic()
            schools = {system: register.parts.schools_of(system) for system in register.systems}
        except StoreUnavailable:
            return
        except Exception as error:  # whatever it is: the next look may go well, and somebody must look at it here
            log.error("look_failed", extra={"worker": self._worker.id, "error": type(error).__name__}, exc_info=error)
            return
        if self._last is not None and self._last.register is register:
            self._last = replace(self._last, seen_at=seen_at)
            return
        self._last = _Register(register, never_waiting(register), schools, seen_at)

    async def serve(self, server: Server, host: str, port: int) -> None:
        """Listens until the worker stops, and until all are answered. A port that somebody else has is tried again: it may be ours of a
        moment ago."""
        worker = self._worker
        await asyncio.to_thread(self._look)
        following = asyncio.create_task(self._follow())
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
            following.cancel()

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
            self._looking.shutdown(wait=False)
            self._fetching.shutdown(wait=False)
            self._apart.close()

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


def tasks(
    parts: Parts,
    contracts: Contracts,
    verifier: Verifier,
    forwarder: Forwarder,
    *,
    apart: Apart,
    beside: Callable[[], None],
    may_call: Callable[[str], bool],
    serve: Callable[[Gateway, Postbox, RegisterDesk], Server],
) -> Tasks:
    """What the worker `gateway` runs. `serve` makes the server of those that answer; the others as `Gateway` and `RegisterDesk` say."""
    settings, clock = parts.settings, parts.clock
    desk = Desk(verifier=verifier, contracts=contracts, vault=parts.vault, own_oins=settings.own_oins, clock=clock)
    judge_step, size = step_judge(contracts), settings.batch_size
    gateway = Gateway(parts.worker, parts.store, desk, parts.asking, judge_step, apart=apart, beside=beside, batch_size=size)
    parcels = Parcels(parts.vault, forwarder, lambda action: contracts.kind(action).passes_through)
    postbox = Postbox(parts.store.letters, parts.register, parcels, clock, actor=parts.worker.id)
    registrar = RegisterDesk(parts.store.register, parts.register, clock, may_call=may_call, most=settings.register_endpoints)
    return [gateway.run(), gateway.serve(serve(gateway, postbox, registrar), settings.gateway_host, settings.gateway_port)]
