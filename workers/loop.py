"""What every worker does alike, written once: consume, batch, hand over, acknowledge; hold while store or broker is away; stop in order.

Stopping: take no more, finish the batch in hand (20 s), give the rest back to the broker by closing, say goodbye in the store.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import gc
import logging
import os
import signal
import socket
import time
import uuid
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Final, TypeVar

from routing.ports import BrokerError, Consumer, Incoming, Registry
from routing.work import HandInResult, Lease, LeaseLost, StoreUnavailable
from workers.clock import Clock

log = logging.getLogger("koppelpunt.worker")

T = TypeVar("T")

#: A batch is up to this many messages, or what came within these seconds after the first: one transaction, one burst of publishes.
BATCH: Final = 100
BATCH_WAIT_S: Final = 0.005
#: How long an idle consumer sleeps before it looks whether it is to stop.
IDLE_S: Final = 0.5
#: Pauses between tries while store or broker is away; work in hand is held, never given back in a loop.
HOLD_S: Final = (0.1, 0.2, 0.5, 1.0, 2.0)
#: How long a worker finishes what it has in hand after SIGTERM.
DRAIN_S: Final = 20.0
#: A leader's lease, and how often it is renewed.
LEASE_S: Final = 10.0
RENEW_S: Final = 2.5
#: Objects made, and not freed yet, between two looks for garbage in cycles. Python's 700 is less than a batch makes.
GC_AFTER: Final = 20_000
#: glibc's M_TRIM_THRESHOLD and M_MMAP_THRESHOLD, in bytes: what one batch needs, and not what a burst of the largest messages did.
_KEEP: Final = {-1: 32 << 20, -3: 4 << 20}
#: How often a worker says that it lives; three times missed is dead.
SEEN_EVERY_S: Final = 5.0
#: How often the event loop shows that it turns.
TURN_EVERY_S: Final = 1.0


class Stopping(Exception):
    """The worker was told to stop while it held work: that work goes back to the broker."""


#: What a worker is said to be that would work, if there were a broker.
NO_BROKER: Final = "no broker"


class Worker:
    """One running worker: its name, whether it is to stop, and how it holds work."""

    def __init__(self, name: str, registry: Registry, clock: Clock) -> None:
        self.name = name
        self.id = f"{name}-{uuid.uuid4().hex[:8]}"
        self.clock = clock
        self.handled = 0
        self.in_hand = 0  #: messages taken and not finished
        self.counts: Counter[tuple[str, ...]] = Counter()  #: what this process did: (what, how it ended), and for hand-ins the channel
        self.turned_at = time.monotonic()  #: when its event loop last showed that it turns
        self.metrics_address: str | None = None  #: host:port where it can be asked how it is
        self.on_hangup: Callable[[], None] = lambda: None  #: on SIGHUP
        self.broker_away: Callable[[], bool] = lambda: False  #: whether it lost the broker, or that takes no messages now
        self.state = "starting"
        self._registry = registry
        self._stop = asyncio.Event()
        self._started_us = clock.now_us()

    @property
    def stopping(self) -> bool:
        """Whether no new work is to be taken."""
        return self._stop.is_set()

    def stop(self) -> None:
        """Take no more work."""
        self._stop.set()

    def count_hand_ins(self, via: str, results: Iterable[HandInResult]) -> None:
        """These were answered, after their commit."""
        for result in results:
            self.counts["hand_in", via, "accepted" if result.accepted else result.code or ""] += 1

    async def pause(self, seconds: float) -> None:
        """Sleeps, but not through a stop."""
        try:
            await asyncio.wait_for(self._stop.wait(), seconds)
        except TimeoutError:
            return

    async def insist(self, what: str, act: Callable[[], T]) -> T:
        """Does something with the store, again and again while the store is away. Raises Stopping when told to stop meanwhile."""
        tries = 0
        while True:
            try:
                return act()
            except StoreUnavailable as error:
                await self._hold(what, error, tries)
                tries += 1

    async def insist_async(self, what: str, act: Callable[[], Awaitable[T]]) -> T:
        """The same for the broker; or for the store in a thread, by those who must not stand still while it is locked."""
        tries = 0
        while True:
            try:
                return await act()
            except (BrokerError, StoreUnavailable) as error:
                await self._hold(what, error, tries)
                tries += 1

    async def _hold(self, what: str, error: Exception, tries: int) -> None:
        if self.stopping:
            raise Stopping(what) from error
        if tries in (0, 10) or tries % 60 == 0:
            log.warning("held", extra={"worker": self.id, "what": what, "error": str(error), "tries": tries})
        self.state = "holding"
        await self.pause(HOLD_S[min(tries, len(HOLD_S) - 1)])
        self.state = "running"

    async def run(self, *tasks: Awaitable[None], prompt: bool = False) -> None:
        """Runs the worker's loops until SIGTERM or SIGINT, then lets them finish what they have in hand. A second signal leaves at once.
        `prompt`: somebody waits for its answers, so that it does not wait for others' batches (its own p99 was a tenth less)."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._on_signal)
        loop.add_signal_handler(signal.SIGHUP, lambda: self.on_hangup())
        _keep_memory()
        if not prompt:
            _work_in_batches()
        gc.freeze()  # what is there now stays; and what a batch makes has no cycles, so looking for them may be rare
        gc.set_threshold(GC_AFTER)
        self.state = "running"
        turning = asyncio.ensure_future(self._turn())
        running = [asyncio.ensure_future(task) for task in tasks]
        running.append(asyncio.ensure_future(self._say_alive()))
        stopped = asyncio.ensure_future(self._stop.wait())
        await asyncio.wait([*running, stopped], return_when=asyncio.FIRST_COMPLETED)
        self.stop()
        stopped.cancel()
        self.state = "draining"
        _, late = await asyncio.wait(running, timeout=DRAIN_S)
        for task in late:
            log.error("drain_timed_out", extra={"worker": self.id, "seconds": DRAIN_S})
            task.cancel()
        await asyncio.gather(*late, return_exceptions=True)
        turning.cancel()
        self._say_goodbye()
        for task in running:
            if not task.cancelled() and (error := task.exception()) and not isinstance(error, Stopping):
                raise error

    def _on_signal(self) -> None:
        if self.stopping:
            os._exit(130)
        self.stop()

    async def _turn(self) -> None:
        while True:
            self.turned_at = time.monotonic()
            await asyncio.sleep(TURN_EVERY_S)

    async def _say_alive(self) -> None:
        while not self.stopping:
            await asyncio.to_thread(self._seen)  # while the store is away it takes seconds
            await self.pause(SEEN_EVERY_S)

    def _seen(self) -> None:
        try:
            self._registry.worker_seen(
                self.id,
                self.name,
                os.getpid(),
                socket.gethostname(),
                NO_BROKER if self.state == "running" and self.broker_away() else self.state,
                started_us=self._started_us,
                now_us=self.clock.now_us(),
                handled=self.handled,
                metrics=self.metrics_address,
            )
        except StoreUnavailable:
            return  # those who hold work say so already

    def _say_goodbye(self) -> None:
        try:
            self._registry.worker_gone(self.id)
        except StoreUnavailable:
            return


def _work_in_batches() -> None:
    """Tells the kernel (Linux) that this process is not interactive: one that wakes up does not push another out in the midst of its
    batch. A third of the context switches, and a tenth less processor time per message where there are more workers than cores."""
    if hasattr(os, "sched_setscheduler"):
        with contextlib.suppress(OSError):  # a container may forbid it
            os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))


def _keep_memory() -> None:
    """Tells the C library (glibc) to keep the memory of one batch for the next: given back and asked for again, every page of it is
    cleared by the kernel each time."""
    with contextlib.suppress(AttributeError, OSError):  # another C library
        for option, size in _KEEP.items():
            ctypes.CDLL(None).mallopt(option, size)


Handler = Callable[[list[Incoming]], Awaitable[Sequence[Incoming]]]


async def consume(
    worker: Worker, consumer: Consumer, handle: Handler, *, limit: int = BATCH, wait_s: float = BATCH_WAIT_S, at_once: int = 1
) -> None:
    """Takes batches and hands them over until the worker stops; then those in hand are finished.

    `handle` returns those it could not finish yet (somebody else's claim still stands); they are offered to it again a second later. A
    batch that raises is repeated one by one; what raises alone goes back to its queue, whose delivery limit ends it in `dead`.
    `at_once`: batches in hand at a time. With 2 the next one is worked on while the broker still confirms what the one before sent.
    """
    later: list[tuple[float, Incoming]] = []
    running: set[asyncio.Task[Sequence[Incoming]]] = set()
    while not worker.stopping:
        now = time.monotonic()
        batch = [incoming for due, incoming in later if due <= now]
        later = [(due, incoming) for due, incoming in later if due > now]
        if len(batch) < limit:
            batch += await _take(worker, consumer, limit - len(batch), wait_s, 0.05 if later else IDLE_S)
        if batch:
            running.add(asyncio.create_task(_handle(worker, consumer, handle, batch)))
        if len(running) >= at_once:
            await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
        for task in [task for task in running if task.done()]:
            running.discard(task)
            if isinstance(task.exception(), Stopping):
                break  # the worker stops; what was in hand goes back to the broker
            later += [(time.monotonic() + 1.0, incoming) for incoming in task.result()]
    for result in await asyncio.gather(*running, return_exceptions=True):
        if isinstance(result, BaseException) and not isinstance(result, Stopping):
            raise result


async def _take(worker: Worker, consumer: Consumer, limit: int, wait_s: float, idle_s: float) -> list[Incoming]:
    try:
        return await consumer.next_batch(limit, wait_s, idle_s=idle_s)
    except BrokerError as error:
        log.error("queue_refused", extra={"worker": worker.id, "error": str(error)})
        await worker.pause(HOLD_S[-1])
        return []


async def _handle(worker: Worker, consumer: Consumer, handle: Handler, batch: list[Incoming]) -> Sequence[Incoming]:
    worker.in_hand += len(batch)
    try:
        unfinished = await handle(batch)
    except Stopping:
        raise
    except Exception as error:
        # whatever it is: one bad message must not stop the others, and must end where somebody looks at it
        log.error("batch_failed", extra={"worker": worker.id, "messages": len(batch), "error": type(error).__name__}, exc_info=error)
        if len(batch) == 1:
            consumer.nack(batch, requeue=True)
            return ()
        rest: list[Incoming] = []
        for incoming in batch:
            rest += await _handle(worker, consumer, handle, [incoming])
        return rest
    finally:
        worker.in_hand -= len(batch)
    open_ones = {id(incoming) for incoming in unfinished}
    consumer.ack([incoming for incoming in batch if id(incoming) not in open_ones])
    worker.handled += len(batch) - len(open_ones)
    return unfinished


class Leader:
    """One of many that does a task at a time: takes the lease, renews it, and stops acting when it is lost."""

    def __init__(self, worker: Worker, registry: Registry, name: str) -> None:
        self._worker, self._registry, self._name = worker, registry, name
        self._lease: Lease | None = None
        self._renew_at = 0.0
        self.took_over = False  #: set when the lease is new; whoever acts on it clears it

    async def lease(self) -> Lease | None:
        """The lease if we are the leader now; None: wait a little. Raises Stopping."""
        if self._lease and time.monotonic() < self._renew_at:
            return self._lease
        until = self._worker.clock.now_us() + int(LEASE_S * 1e6)
        if self._lease:
            held = self._lease
            if not await self._worker.insist("keep lease", lambda: self._registry.keep_lease(held, until_us=until)):
                log.warning("lease_lost", extra={"worker": self._worker.id, "lease": self._name})
                self._lease = None
        if not self._lease:
            now_us = self._worker.clock.now_us()
            self._lease = await self._worker.insist(
                "take lease", lambda: self._registry.take_lease(self._name, self._worker.id, now_us=now_us, until_us=until)
            )
            self.took_over = self._lease is not None
        self._renew_at = time.monotonic() + RENEW_S
        return self._lease

    def lost(self, error: LeaseLost) -> None:
        """A transaction was refused because somebody else is the leader."""
        log.warning("lease_lost", extra={"worker": self._worker.id, "lease": self._name, "error": str(error)})
        self._lease = None
        self._renew_at = 0.0

    def give_up(self) -> None:
        """Lets the next one begin at once."""
        if self._lease:
            try:
                self._registry.give_lease(self._lease)
            except StoreUnavailable:
                return


async def lead(worker: Worker, leader: Leader, act: Callable[[Lease], Awaitable[float]]) -> None:
    """Runs `act` while we are the leader; it returns how many seconds to wait before the next time (0: at once)."""
    try:
        while not worker.stopping:
            held = await leader.lease()
            if held is None:
                await worker.pause(RENEW_S / 2)
                continue
            try:
                wait_s = await act(held)
            except LeaseLost as error:
                leader.lost(error)
                continue
            if wait_s > 0:
                await worker.pause(wait_s)
            else:
                await asyncio.sleep(0)
    except Stopping:
        return
    finally:
        leader.give_up()


async def follow_queues(worker: Worker, consumer: Consumer, kind: str, systems: Callable[[], Sequence[str]]) -> None:
    """Consumes from `<kind>.<oin>` of every connected system, also of those that connect later."""
    while not worker.stopping:
        try:
            await consumer.set_queues([f"{kind}.{oin}" for oin in systems()])
        except StoreUnavailable as error:
            log.warning("queues_not_followed", extra={"worker": worker.id, "error": str(error)})
        await worker.pause(1.0)
