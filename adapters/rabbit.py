"""
RabbitMQ over AMQP, with pika: publishing with confirms in flight by the hundred, consuming in batches, looking into a queue.

Three classes, one connection each, because a broker that is short of memory stops reading from connections that publish:
  Publisher   publish_many(...)                many messages, one answer for each
  Consumer    next_batch(...), ack(...)        from a set of queues that may change
  Inspector   get(...), depth(...)             one question at a time: the epoch, the dead letters

Each connects when it is first used, and again by itself until it is closed (`adapters.amqp_connection`). No error of pika's leaves
this module: they become BrokerUnavailable (hold, and try again later) or BrokerRefused (trying again does not help), see routing.ports.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

import pika
from pika.exceptions import AMQPError

from adapters.amqp_connection import Connection, Scratch, settle
from adapters.amqp_frames import Delivered
from routing.ports import BrokerError, BrokerRefused, BrokerUnavailable, Incoming, Outgoing, Published

log = logging.getLogger(__name__)

_LOOK_AGAIN_S: Final = 1.0  #: how often a queue that does not exist (yet) is looked for
#: A queue without a leader answers nobody, and holds up the channel on which it is asked: it is left alone for this long.
_STUCK_S: Final = 60.0
_CONSUME_S: Final = 5.0
#: A queue that refuses all it is given for this long is published to over another connection; the next time it takes twice as long, up to
#: the second number. A full queue is no better for it. But a channel that first publishes to a quorum queue just when its leader is lost
#: holds on to that leader for good, and refuses for it, whatever leader the queue has got since (seen with 3.10: rabbit_fifo_client asks
#: the first server it knows, and is told that the node is down).
_REFUSED_S, _REFUSED_MOST_S = 5.0, 600.0
_ACCESS_REFUSED: Final = 403


# ---- publishing ----------------------------------------------------------------------------------------------------------------


@dataclass(slots=True, eq=False)
class _Call:
    """One `publish_many` under way."""

    results: list[Published | None]
    left: int
    done: asyncio.Future[None]


class Publisher(Connection):
    """Publishes many messages at a time and reports on each, by the broker's own confirms."""

    def __init__(
        self, url: str, *, name: str = "koppelpunt publisher", window: int = 500, wait_s: float = 10.0, confirm_s: float = 30.0
    ) -> None:
        """`window`: messages in flight at most; `wait_s`: longest wait for a connection; `confirm_s`: longest wait for the last confirm."""
        super().__init__(url, name=name)
        self._window, self._wait_s, self._confirm_s = window, wait_s, confirm_s
        self._channel: Any = None
        self._tag = 0
        self._pending: dict[int, tuple[_Call, int, Outgoing]] = {}  # by the broker's number, in the order of publishing
        self._refusing: dict[tuple[str, str], float] = {}  # exchange and key -> since when nothing but refusals came
        self._patience_s, self._left_at = _REFUSED_S, -_REFUSED_MOST_S
        self._room = asyncio.Event()
        self._turn = asyncio.Lock()  # calls at the same time take turns, so that each keeps its own order

    async def publish(self, message: Outgoing) -> Published:
        """One message; each costs a round trip, so prefer `publish_many`."""
        return (await self.publish_many((message,)))[0]

    async def publish_many(self, messages: Sequence[Outgoing]) -> list[Published]:
        """Publishes in the given order, and returns when the broker has answered for every one.

        Raises BrokerUnavailable or BrokerRefused; any of them may then have arrived, so publish all of them again.
        """
        if not messages:
            return []
        call = _Call([None] * len(messages), len(messages), asyncio.get_running_loop().create_future())
        try:
            async with self._turn:
                await self._leave_what_refuses()
                await self._connected_within(self._wait_s)
                for index, message in enumerate(messages):
                    if len(self._pending) >= self._window:
                        await self._await_room()
                    if call.done.done():  # the connection went
                        break
                    self._send(call, index, message)
            async with asyncio.timeout(self._confirm_s):
                await call.done
        except TimeoutError as error:
            reason = BrokerUnavailable(f"The broker at {self._shown} confirmed nothing for {self._confirm_s:g} s{self._because()}.")
            self._give_up(reason)
            raise reason from error
        except AMQPError as error:
            raise self._translate(error) from error
        finally:
            call.done.cancel()  # nobody waits for it any more
        return [result for result in call.results if result is not None]

    def _send(self, call: _Call, index: int, message: Outgoing) -> None:
        self._connection.publish(
            self._channel,
            exchange=message.exchange,
            routing_key=message.routing_key,
            body=message.body,
            content_type=message.content_type,
            message_id=message.message_id,
            correlation_id=message.correlation_id,
            headers=message.headers,
        )
        self._tag += 1
        self._pending[self._tag] = (call, index, message)

    async def _leave_what_refuses(self) -> None:
        """Another connection, when a queue has refused for too long; not before everything in flight was answered."""
        now = asyncio.get_running_loop().time()
        if not self._refusing:
            if now - self._left_at > 2 * self._patience_s:
                self._patience_s = _REFUSED_S
            return
        seconds = now - min(self._refusing.values())
        if seconds < self._patience_s:
            return
        async with asyncio.timeout(self._confirm_s):
            while self._pending:
                await self._await_room()
                await asyncio.sleep(0)
        if not self._refusing:  # it took what was in flight, or the connection is gone already
            return
        self._left_at, self._patience_s = now, min(2 * self._patience_s, _REFUSED_MOST_S)
        (exchange, key), *_ = sorted(self._refusing)
        self._give_up(BrokerUnavailable(f"{exchange or 'queue'} {key} refused all messages for {seconds:.0f} s on this connection."))

    async def _await_room(self) -> None:
        """Half the window empty, so that messages leave in bursts."""
        self._room.clear()
        async with asyncio.timeout(self._confirm_s):
            await self._room.wait()

    def _because(self) -> str:
        return f" ({self.blocked})" if self.blocked else ""

    async def _set_up(self, connection: Any) -> None:
        channel = await self._open_channel(connection)
        channel.add_on_return_callback(self._on_return)
        selected: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        channel.confirm_delivery(self._on_pika_confirm, callback=partial(settle, selected))
        connection.on_confirm(channel, partial(self._on_confirm, Published.CONFIRMED))
        await self._answer(selected)
        self._channel, self._tag = channel, 0  # not before: what is published now is numbered from 1

    def _torn_down(self, reason: BrokerError) -> None:
        pending, self._pending = self._pending, {}
        self._refusing.clear()
        for call, _index, _message in pending.values():
            settle(call.done, error=reason)
        self._room.set()

    def _on_return(self, _channel: object, method: Any, _properties: object, body: bytes) -> None:
        """A return names no number. Returns come in the order of publishing, before their confirm, so it is the first that fits."""
        for call, index, message in self._pending.values():
            fits = message.routing_key == method.routing_key and message.exchange == method.exchange and message.body == body
            if fits and call.results[index] is None:
                call.results[index] = Published.RETURNED
                return

    def _on_pika_confirm(self, frame: Any) -> None:
        outcome = Published.CONFIRMED if isinstance(frame.method, pika.spec.Basic.Ack) else Published.NACKED
        self._on_confirm(outcome, frame.method.delivery_tag, frame.method.multiple)

    def _on_confirm(self, outcome: Published, number: int, multiple: bool) -> None:
        tags = [number]
        if multiple:
            tags = []
            for tag in self._pending:
                if tag > number:
                    break
                tags.append(tag)
        for tag in tags:
            entry = self._pending.pop(tag, None)
            if entry is None:
                continue
            call, index, message = entry
            if outcome is Published.NACKED:
                self._refusing.setdefault((message.exchange, message.routing_key), asyncio.get_running_loop().time())
            elif self._refusing:
                self._refusing.pop((message.exchange, message.routing_key), None)
            if call.results[index] is None or outcome is Published.NACKED:
                call.results[index] = outcome
            call.left -= 1
            if not call.left:
                settle(call.done)
        if len(self._pending) <= self._window // 2:
            self._room.set()


# ---- consuming -----------------------------------------------------------------------------------------------------------------


class Consumer(Connection):
    """Takes messages from a set of queues, in batches. One task at a time may wait in `next_batch`."""

    def __init__(
        self,
        url: str,
        queues: Iterable[str] = (),
        *,
        name: str = "koppelpunt consumer",
        prefetch: int = 300,
        least: int = 1,
        in_order: bool = False,
    ) -> None:
        """`prefetch`: messages in hand at most, shared by all queues evenly, so that none can crowd out another; but `least` of each.

        `in_order`: for queues with a single active consumer. When this one goes, the next first gets what it had in hand. RabbitMQ does
        so after a crash only: after a goodbye it hands out newer messages first (measured, 3.10). So such a consumer just hangs up.
        """
        super().__init__(url, name=name)
        self._prefetch, self._least, self._in_order = prefetch, least, in_order
        self._wanted: dict[str, None] = dict.fromkeys(queues)
        self._tags: dict[str, str] = {}  # consumer tag by queue
        self._channel: Any = None
        self._scratch: Scratch | None = None
        self._generation = 0
        self._arrived: deque[Incoming] = deque()
        self._open: dict[int, None] = {}  # what we hold and have not settled, by number, in order
        self._awaiting: tuple[int, asyncio.Future[None]] | None = None
        self._brought: set[str] = set()  # queues that gave us something since `brought` was asked
        self._stuck: dict[str, float] = {}  # until when these are left alone
        self._refusal: BrokerRefused | None = None
        self._searching: asyncio.Task[None] | None = None
        self._changing = asyncio.Lock()

    @property
    def queues(self) -> frozenset[str]:
        """The queues we want to take from."""
        return frozenset(self._wanted)

    @property
    def missing(self) -> frozenset[str]:
        """Those among them that we do not take from now: they do not exist, or we are not connected."""
        return frozenset(self._wanted.keys() - self._tags.keys())

    def brought(self) -> frozenset[str]:
        """The queues that gave us something since this was last asked."""
        found, self._brought = frozenset(self._brought), set()
        return found

    @property
    def in_hand(self) -> int:
        """Messages we hold and have not acknowledged, those not asked for yet included."""
        return len(self._open)

    async def set_queues(self, queues: Iterable[str]) -> None:
        """Takes from these queues from now on. Messages in hand from another queue stay valid. One that does not exist is looked for."""
        self._wanted = dict.fromkeys(queues)
        self._refusal = None
        if self._ready.is_set():
            with contextlib.suppress(BrokerUnavailable, AMQPError):  # the next connection sets them up
                await self._agree()

    async def next_batch(self, limit: int = 100, wait_s: float = 0.005, *, idle_s: float | None = None) -> list[Incoming]:
        """Up to `limit` messages, oldest first: waits for the first one (for `idle_s` at most; then the list is empty), and from
        then `wait_s` for the batch to fill. Waits through a lost connection. Raises BrokerRefused when we may not read a queue,
        once for each attempt to; the attempts go on, so it may be called again.
        """
        self._start()
        if not self._arrived:
            await self._await_arrivals(1, idle_s)
        if self._arrived and len(self._arrived) < limit and wait_s > 0:
            await self._await_arrivals(limit, wait_s)
        refusal, self._refusal = self._refusal, None
        if refusal is not None:
            raise refusal
        return [self._arrived.popleft() for _ in range(min(limit, len(self._arrived)))]

    def ack(self, messages: Iterable[Incoming]) -> int:
        """These are done. Returns how many of them; those of a lost connection do not count, the broker hands them out again."""
        tags = self._settle(messages)
        if not tags:
            return 0
        oldest = next(iter(self._open), None)
        whole = len(tags) if oldest is None else _count_below(tags, oldest)
        with self._dropping_stale():
            if whole:  # nothing older is in hand: one frame for all of these
                self._channel.basic_ack(tags[whole - 1], multiple=True)
            for tag in tags[whole:]:
                self._channel.basic_ack(tag)
        return len(tags)

    def nack(self, messages: Iterable[Incoming], *, requeue: bool = True) -> int:
        """These go back to their queue (or, without `requeue`, to `dead`). Counts towards the delivery limit. Returns how many.

        By `basic.reject`: from RabbitMQ 4.3 on `basic.nack` does not count, so that a poisonous message would come back for ever.
        """
        tags = self._settle(messages)
        with self._dropping_stale():
            for tag in tags:
                self._channel.basic_reject(tag, requeue=requeue)
        return len(tags)

    async def close(self) -> None:
        """Stops taking; everything in hand goes back to its queue."""
        searching, self._searching = self._searching, None
        if searching is not None:
            searching.cancel()
            await asyncio.wait((searching,))
        await super().close()

    async def _disconnect(self) -> None:
        if self._in_order and self._connection is not None and self._connection.is_open:
            await self._connection.hang_up()
        await super()._disconnect()

    def _settle(self, messages: Iterable[Incoming]) -> list[int]:
        """The numbers of those that are still ours, in order; from here on they are not."""
        tags = []
        for message in messages:
            if message.generation == self._generation and message.tag in self._open:
                del self._open[message.tag]
                tags.append(message.tag)
        tags.sort()
        return tags

    @contextlib.contextmanager
    def _dropping_stale(self) -> Iterator[None]:
        """A connection that went a moment ago makes these numbers void; the broker knows, so there is nothing to report."""
        with contextlib.suppress(AMQPError):
            yield

    async def _await_arrivals(self, count: int, seconds: float | None) -> None:
        assert self._awaiting is None, "two tasks wait for messages of one consumer"
        if self._refusal is not None:
            return
        loop = asyncio.get_running_loop()
        arrived: asyncio.Future[None] = loop.create_future()
        self._awaiting = (count, arrived)
        timer = None if seconds is None else loop.call_later(seconds, settle, arrived)
        try:
            await arrived
        finally:
            self._awaiting = None
            if timer is not None:
                timer.cancel()

    async def _set_up(self, connection: Any) -> None:
        self._scratch = Scratch(self, connection)
        self._channel = await self._open_channel(connection)
        self._channel.add_on_cancel_callback(self._on_cancelled)
        self._generation += 1
        await self._agree()
        if self._searching is None:
            self._searching = asyncio.create_task(self._search(), name="broker queues")

    def _torn_down(self, reason: BrokerError) -> None:
        self._arrived.clear()
        self._open.clear()
        self._tags.clear()
        self._generation += 1  # whatever is still in somebody's hands is void from now
        if isinstance(reason, BrokerRefused) and reason.code == _ACCESS_REFUSED:
            self._refusal = reason
            self._wake()

    async def _agree(self) -> None:
        """Makes what we take from equal to what is wanted."""
        async with self._changing:
            for queue in [queue for queue in self._tags if queue not in self._wanted]:
                tag = self._tags.pop(queue)
                self._channel.basic_cancel(tag)
                self._connection.forget_consumer(self._channel, tag)
            now = asyncio.get_running_loop().time()
            for queue in [queue for queue in self._wanted if queue not in self._tags and self._stuck.get(queue, 0.0) <= now]:
                assert self._scratch is not None
                try:
                    there = await self._scratch.depth(queue) is not None
                except BrokerRefused as error:
                    self._give_up(error)  # as consuming from it would
                    raise
                if there:  # consuming from one that is not there would end the connection
                    await self._consume(queue)

    async def _consume(self, queue: str) -> None:
        share = max(self._least, self._prefetch // max(1, len(self._wanted)))
        done: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._channel.basic_qos(prefetch_count=share)  # for the consumers that follow it; quorum queues know no other kind
        tag = self._channel.basic_consume(queue, _never, callback=partial(settle, done))
        self._tags[queue] = tag
        self._connection.on_delivery(self._channel, tag, partial(self._on_message, queue, self._channel))
        if not await self._is_answered(done):
            self._stuck[queue] = asyncio.get_running_loop().time() + _STUCK_S
            log.error("broker_queue_stuck", extra={"queue": queue, "retry_in_s": _STUCK_S})
            raise BrokerUnavailable(f"The queue {queue} answers nobody; it has no leader, so delete it and apply the topology again.")

    async def _is_answered(self, question: asyncio.Future[Any]) -> bool:
        try:
            async with asyncio.timeout(_CONSUME_S):
                await self._answer(question)
        except TimeoutError:
            return False
        return True

    async def _search(self) -> None:
        """Looks for queues that are wanted but were not there: they come when the topology is applied."""
        while True:
            await asyncio.sleep(_LOOK_AGAIN_S)
            if self._ready.is_set() and self.missing:
                with contextlib.suppress(BrokerError, AMQPError):  # the connection went or goes; the next one sets all up
                    await self._agree()

    def _on_cancelled(self, frame: Any) -> None:
        """The queue was deleted, or its node went away."""
        for queue, tag in list(self._tags.items()):
            if tag == frame.method.consumer_tag:
                del self._tags[queue]
                log.warning("broker_queue_gone", extra={"queue": queue})

    def _on_message(self, queue: str, channel: object, message: Delivered) -> None:
        if channel is not self._channel:
            return
        self._open[message.tag] = None
        self._brought.add(queue)
        found = message.properties.get
        self._arrived.append(
            Incoming(
                queue=queue,
                tag=message.tag,
                generation=self._generation,
                redelivered=message.redelivered,
                exchange=message.exchange,
                routing_key=message.routing_key,
                content_type=found("content_type"),
                content_encoding=found("content_encoding"),
                message_id=found("message_id"),
                correlation_id=found("correlation_id"),
                headers=found("headers") or {},
                body=message.body,
            )
        )
        if self._awaiting is not None and len(self._arrived) >= self._awaiting[0]:
            self._wake()

    def _wake(self) -> None:
        if self._awaiting is not None:
            settle(self._awaiting[1])


# ---- looking -------------------------------------------------------------------------------------------------------------------


class Inspector(Connection):
    """One question at a time: for the epoch, for dead letters, for depths that must be exact."""

    def __init__(self, url: str, *, name: str = "koppelpunt inspector") -> None:
        super().__init__(url, name=name)
        self._scratch: Scratch | None = None
        self._generation = 0

    async def get(self, queue: str, *, wait_s: float = 10.0) -> Incoming | None:
        """The oldest message of the queue, ours until `ack` or `requeue`; None when it is empty. Raises BrokerRefused for no queue."""
        await self._connected_within(wait_s)
        assert self._scratch is not None
        found = await self._scratch.ask(lambda channel, answer: channel.basic_get(queue, answer))
        if found is None:
            return None
        method, properties, body = found
        return _incoming(queue, self._generation, method, properties, body)

    async def depth(self, queue: str, *, wait_s: float = 10.0) -> int | None:
        """How many messages wait in the queue, those in somebody's hands not counted; None when there is no such queue.

        0 for a second after a restart of the broker, while the queue has no leader yet.
        """
        await self._connected_within(wait_s)
        assert self._scratch is not None
        return await self._scratch.depth(queue)

    async def purge(self, queue: str, *, wait_s: float = 10.0) -> int:
        """Empties the queue of what waits in it; returns how many that were. Raises BrokerRefused."""
        await self._connected_within(wait_s)
        assert self._scratch is not None
        found = await self._scratch.ask(lambda channel, answer: channel.queue_purge(queue, callback=answer))
        return int(found[0].method.message_count)

    def ack(self, message: Incoming) -> None:
        """This one is done with."""
        if message.generation == self._generation and self._scratch is not None:
            self._scratch.send(lambda channel: channel.basic_ack(message.tag))

    def requeue(self, message: Incoming) -> None:
        """Back to its queue, which up to RabbitMQ 4.2 counts as one delivery."""
        if message.generation == self._generation and self._scratch is not None:
            self._scratch.send(lambda channel: channel.basic_nack(message.tag, requeue=True))

    async def _set_up(self, connection: Any) -> None:
        self._generation += 1
        self._scratch = Scratch(self, connection)

    def _torn_down(self, reason: BrokerError) -> None:
        self._generation += 1
        self._scratch = None


def _never(*_: object) -> None:
    """pika wants a callback; deliveries come by `on_delivery`."""


def _incoming(queue: str, generation: int, method: Any, properties: Any, body: bytes) -> Incoming:
    return Incoming(
        queue=queue,
        tag=method.delivery_tag,
        generation=generation,
        redelivered=method.redelivered,
        exchange=method.exchange,
        routing_key=method.routing_key,
        content_type=_text(properties.content_type),
        content_encoding=_text(properties.content_encoding),
        message_id=_text(properties.message_id),
        correlation_id=_text(properties.correlation_id),
        headers=properties.headers or {},
        body=body,
    )


def _text(value: object) -> str | None:
    """A property as text; pika leaves what is not UTF-8 as bytes."""
    return value if isinstance(value, str) else None if value is None else "?"


def _count_below(tags: Sequence[int], limit: int) -> int:
    return sum(1 for tag in tags if tag < limit)


async def get_all(url: str, queue: str) -> list[bytes]:
    """Takes every message out of a queue; none when it does not exist. Raises BrokerUnavailable."""
    bodies: list[bytes] = []
    async with Inspector(url) as inspector:
        if await inspector.depth(queue) is None:
            return bodies
        while (message := await inspector.get(queue)) is not None:
            bodies.append(message.body)
            inspector.ack(message)
        await inspector.depth(queue)  # an answer means that the acknowledgements before it arrived
    return bodies


async def put(url: str, queue: str, bodies: Sequence[bytes]) -> None:
    """Puts messages straight into a queue. Raises BrokerError."""
    async with Publisher(url) as publisher:
        for result in await publisher.publish_many([Outgoing(routing_key=queue, body=body) for body in bodies]):
            if result is not Published.CONFIRMED:
                raise BrokerUnavailable(f"Queue {queue} did not take a message ({result}).")
