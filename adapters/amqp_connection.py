"""A connection to the broker that comes back by itself, and the translation of pika's errors (on which `adapters.rabbit` is built).

What a subclass sets up on a connection goes with it, and is set up again on the next. Whoever waits meanwhile gets BrokerUnavailable
after a time of their own; a refusal by the broker is BrokerRefused.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
from collections.abc import Callable
from functools import partial
from typing import Any, Final, Self

import pika
from pika.exceptions import (
    AMQPError,
    ChannelClosedByBroker,
    ConnectionClosedByBroker,
    ProbableAccessDeniedError,
    ProbableAuthenticationError,
)

from adapters.amqp_frames import BurstConnection
from broker_config.settings import mask
from routing.ports import BrokerError, BrokerRefused, BrokerUnavailable

log = logging.getLogger(__name__)
# Whatever pika meets is translated here; its own lines would repeat that as tracebacks.
logging.getLogger("pika").setLevel(logging.CRITICAL)

#: Seconds without a sign of life after which either side gives up. A batch may keep the event loop busy for 20 s: we send a sign
#: every 30 s, so the broker, which waits for two intervals, has seen one within 50 s.
HEARTBEAT_S: Final = 60
#: Seconds between attempts to connect: a restart of the broker takes about five.
_BACK_OFF_S: Final = (0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0)
_ANSWER_S: Final = 15.0  #: longest wait for an answer to a single question
_NOT_FOUND: Final = 404  #: AMQP's reply code
_CLOSE_S: Final = 5.0


class Connection:
    """A connection that comes back by itself. Subclasses say what to set up on it, and what its loss means."""

    def __init__(self, url: str, *, name: str) -> None:
        self._shown = mask(url)
        self._parameters = _parameters(url, name)
        self._task: asyncio.Task[None] | None = None
        self._connection: Any = None
        self._lost: asyncio.Future[BrokerError] | None = None
        self._usable = False  # connected and set up; it may be blocked all the same
        self._ready = asyncio.Event()
        #: How many connections were made so far: another number means that the broker was away, and may have been wiped.
        self.connections = 0
        #: Why there is no connection now, as a sentence; None when there is one.
        self.problem: str | None = None
        #: The broker's reason for taking no messages (an alarm: memory or disk); None when it takes them.
        self.blocked: str | None = None

    async def __aenter__(self) -> Self:
        try:
            await self.open()
        except BaseException:
            await self.close()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    @property
    def is_connected(self) -> bool:
        """Whether it can be used right now."""
        return self._ready.is_set()

    async def open(self, *, wait_s: float = 10.0) -> None:
        """Connects now, not at the first use. Raises BrokerUnavailable when it takes longer, but goes on trying until `close`."""
        await self._connected_within(wait_s)

    async def close(self) -> None:
        """Ends the connection. What was not acknowledged goes back to its queue."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task

    def _start(self) -> None:
        if self._task is None:
            self._task = asyncio.create_task(self._stay_connected(), name="broker connection")

    async def _connected_within(self, seconds: float) -> None:
        if self._ready.is_set():
            return
        self._start()
        try:
            async with asyncio.timeout(seconds):
                await self._ready.wait()
        except TimeoutError as error:
            if self.blocked is not None:
                raise BrokerUnavailable(f"The broker at {self._shown} takes no messages now ({self.blocked}).") from error
            raise BrokerUnavailable(self.problem or f"The broker at {self._shown} did not answer within {seconds:g} s.") from error

    async def _stay_connected(self) -> None:
        attempt = 0
        while True:
            self._lost = asyncio.get_running_loop().create_future()
            reason: BrokerError = BrokerUnavailable("The connection to the broker was closed.")
            try:
                try:
                    self._connection = await self._connect()
                    await self._set_up(self._connection)
                    self.problem, attempt, self._usable = None, 0, True
                    self.connections += 1
                    if self.blocked is None:
                        self._ready.set()
                    reason = await asyncio.shield(self._lost)
                except BrokerError as error:
                    reason = error
                except AMQPError as error:  # pika's answer to a call on a connection that has just gone
                    reason = self._translate(error)
            finally:
                self._ready.clear()
                self.blocked, self._usable = None, False
                self._torn_down(reason)
                await self._disconnect()
            if self.problem is None:
                log.warning("broker_connection_lost", extra={"broker": self._shown, "reason": str(reason)})
            self.problem = str(reason)
            pause = _BACK_OFF_S[min(attempt, len(_BACK_OFF_S) - 1)]
            attempt += 1
            await asyncio.sleep(pause * random.uniform(0.5, 1.0))  # noqa: S311 (so that not all workers come back at the same moment)

    async def _connect(self) -> Any:
        opened: asyncio.Future[Any] = asyncio.get_running_loop().create_future()

        def failed(_connection: object, error: BaseException | str) -> None:
            settle(opened, error=self._translate(error))

        connection = BurstConnection(
            self._parameters,
            on_open_callback=partial(settle, opened),
            on_open_error_callback=failed,
            on_close_callback=self._on_connection_closed,
        )
        connection.add_on_connection_blocked_callback(self._on_blocked)
        connection.add_on_connection_unblocked_callback(self._on_unblocked)
        self._connection = connection
        return await opened

    async def _disconnect(self) -> None:
        connection, self._connection = self._connection, None
        if connection is None or connection.is_closed:
            return
        gone: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        connection.add_on_close_callback(lambda *_: settle(gone))
        connection.add_on_open_error_callback(lambda *_: settle(gone))
        with contextlib.suppress(AMQPError, TimeoutError):
            if not connection.is_closing:
                connection.close()
            async with asyncio.timeout(_CLOSE_S):
                await gone

    async def _open_channel(self, connection: Any) -> Any:
        """A channel whose end by the broker is the end of the connection, for then messages in flight have lost their numbers."""
        opened: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        connection.channel(on_open_callback=partial(settle, opened))
        channel = await self._answer(opened)
        channel.add_on_close_callback(self._on_channel_closed)
        return channel

    async def _answer(self, question: asyncio.Future[Any]) -> Any:
        """The answer, unless the connection goes first."""
        assert self._lost is not None
        try:
            await asyncio.wait((question, self._lost), timeout=_ANSWER_S, return_when=asyncio.FIRST_COMPLETED)
            if question.done():
                return question.result()
        finally:
            question.cancel()  # nobody waits for it any more
        if self._lost.done():
            raise self._lost.result()
        raise BrokerUnavailable(f"The broker at {self._shown} did not answer within {_ANSWER_S:g} s.")

    def _give_up(self, reason: BrokerError) -> None:
        """Ends this connection; another one is made. From here on nobody takes the old one for usable."""
        self._ready.clear()
        if self._lost is not None:
            settle(self._lost, reason)

    def _on_connection_closed(self, connection: object, error: BaseException) -> None:
        if connection is self._connection:
            self._give_up(self._translate(error))

    def _on_channel_closed(self, channel: Any, error: BaseException) -> None:
        if channel.connection is self._connection:
            self._give_up(self._translate(error))

    def _on_blocked(self, connection: object, frame: Any) -> None:
        if connection is self._connection:
            self.blocked = str(frame.method.reason or "no reason given")
            self._ready.clear()
            log.warning("broker_blocked", extra={"broker": self._shown, "reason": self.blocked})

    def _on_unblocked(self, connection: object, _frame: object) -> None:
        if connection is self._connection:
            self.blocked = None
            if self._usable:
                self._ready.set()

    def _translate(self, error: BaseException | str) -> BrokerError:
        """Any error of pika's, in a sentence; without what it may quote of a message."""
        error = _innermost(error)
        if isinstance(error, (ChannelClosedByBroker, ConnectionClosedByBroker)):
            text = f"The broker at {self._shown} answered {error.reply_code} {error.reply_text[:200]}"
            return BrokerRefused(text, error.reply_code) if isinstance(error, ChannelClosedByBroker) else BrokerUnavailable(text)
        if isinstance(error, (ProbableAuthenticationError, ProbableAccessDeniedError)):
            return BrokerUnavailable(f"The broker at {self._shown} does not let this user in; check name, password and vhost.")
        text = (isinstance(error, OSError) and error.strerror) or str(error) or repr(error)
        return BrokerUnavailable(f"The broker at {self._shown} cannot be reached ({text[:160]}).")

    async def _set_up(self, connection: Any) -> None:
        raise NotImplementedError

    def _torn_down(self, reason: BrokerError) -> None:
        raise NotImplementedError


class Scratch:
    """A channel for questions that may close it: a question about a queue that is not there does, without harm to any other channel."""

    def __init__(self, owner: Connection, connection: Any) -> None:
        self._owner, self._connection = owner, connection
        self._channel: Any = None
        self._question: asyncio.Future[Any] | None = None
        self._turn = asyncio.Lock()

    async def depth(self, queue: str) -> int | None:
        """Messages ready in the queue; None when there is no such queue. Raises BrokerRefused when we may not ask, which 4.3 sees to."""
        try:
            found = await self.ask(lambda channel, answer: channel.queue_declare(queue, passive=True, callback=answer))
        except BrokerRefused as error:
            if error.code != _NOT_FOUND:
                raise
            return None
        return int(found[0].method.message_count)

    async def ask(self, question: Callable[[Any, Callable[..., None]], object]) -> Any:
        """The arguments of the answer's callback (without the channel); None for "nothing there"."""
        async with self._turn:
            loop = asyncio.get_running_loop()
            if self._channel is None or not self._channel.is_open:
                opened = loop.create_future()
                self._connection.channel(on_open_callback=partial(settle, opened))
                self._channel = await self._owner._answer(opened)
                self._channel.add_on_close_callback(self._on_closed)
                self._channel.add_callback(lambda _frame: self._answered(None), [pika.spec.Basic.GetEmpty], one_shot=False)
            self._question = loop.create_future()
            question(self._channel, self._on_answer)
            return await self._owner._answer(self._question)

    def send(self, command: Callable[[Any], object]) -> None:
        """Something that has no answer; on a channel that has gone it does nothing, for then it is void."""
        with contextlib.suppress(AMQPError):
            command(self._channel)

    def _on_answer(self, *values: Any) -> None:
        self._answered(values[1:] if len(values) > 1 else values)

    def _answered(self, value: Any) -> None:
        if self._question is not None:
            settle(self._question, value)

    def _on_closed(self, _channel: object, error: BaseException) -> None:
        if self._question is not None:
            settle(self._question, error=self._owner._translate(error))


def _parameters(url: str, name: str) -> Any:
    parameters = pika.URLParameters(url)
    parameters.heartbeat = HEARTBEAT_S
    parameters.connection_attempts = 1
    parameters.socket_timeout = 10.0
    parameters.stack_timeout = 15.0
    parameters.client_properties = {"connection_name": name}
    return parameters


def _innermost(error: BaseException | str) -> BaseException | str:
    """What really happened: a failed attempt to connect wraps that in layers, in a different way at each."""
    while True:
        inner = [*getattr(error, "exceptions", ()), getattr(error, "exception", None), *getattr(error, "args", ())]
        causes = [cause for cause in inner if isinstance(cause, BaseException)]
        if not causes:
            return error
        error = causes[-1]


def settle(future: asyncio.Future[Any], value: Any = None, *, error: BaseException | None = None) -> None:
    """Settles a future once; whoever comes later is too late."""
    if future.done():
        return
    if error is not None:
        future.set_exception(error)
    else:
        future.set_result(value)
