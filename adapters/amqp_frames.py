"""AMQP 0-9-1, the two things that nearly all traffic is made of: a message going out (Basic.Publish) and one coming in (Basic.Deliver).

pika does everything else: connecting, heartbeats, channels, errors. For these two it makes an object per frame and a call per field:
45 µs for a message either way, and there are seven of those in the path of one hand-in, which is more than verifying it costs. Written
and read straight they cost 5. `BurstConnection` is pika's own connection with that one detour, and one more: all frames of one turn of
the event loop leave in one write, where pika makes three packets of every message, each of which wakes the broker.

What is not exactly the usual (another method, another channel, a consumer we do not know) goes to pika untouched.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Mapping
from functools import lru_cache
from struct import Struct
from typing import Any, Final, NamedTuple

from pika import data, frame
from pika.adapters.asyncio_connection import AsyncioConnection
from pika.exceptions import ChannelWrongStateError, ShortStringTooLong

#: Bytes gathered before they go to the socket within one turn of the event loop, and read from it at a time.
BURST_BYTES: Final = 65_536
#: Longest wait for the last bytes to leave.
_CLOSE_S: Final = 5.0

_METHOD, _HEADER, _BODY, _HEARTBEAT = 1, 2, 3, 8
_KINDS: Final = frozenset((_METHOD, _HEADER, _BODY, _HEARTBEAT))
_END: Final = b"\xce"
_END_OCTET: Final = 0xCE
_FRAME: Final = Struct(">BHI")  # kind, channel, size
_PUBLISH: Final = Struct(">IH")  # method 60.40, reserved
_PUBLISH_METHOD: Final = 60 << 16 | 40
_DELIVER_METHOD: Final = 60 << 16 | 60
_ACK_METHOD: Final = 60 << 16 | 80
_U32: Final = Struct(">I")
_U64: Final = Struct(">Q")
_PROPERTIES: Final = Struct(">HHQH")  # class 60, weight 0, size of the body, flags
_MANDATORY: Final = b"\1"

#: The properties in the order in which they are written, each with its flag. `s`: short text, `t`: table, `o`: octet, `q`: 64 bits.
_LAYOUT: Final = (
    (0x8000, "content_type", "s"),
    (0x4000, "content_encoding", "s"),
    (0x2000, "headers", "t"),
    (0x1000, "delivery_mode", "o"),
    (0x0800, "priority", "o"),
    (0x0400, "correlation_id", "s"),
    (0x0200, "reply_to", "s"),
    (0x0100, "expiration", "s"),
    (0x0080, "message_id", "s"),
    (0x0040, "timestamp", "q"),
    (0x0020, "type", "s"),
    (0x0010, "user_id", "s"),
    (0x0008, "app_id", "s"),
    (0x0004, "cluster_id", "s"),
)
_CONTENT_TYPE, _HEADERS, _DELIVERY_MODE, _CORRELATION_ID, _MESSAGE_ID = 0x8000, 0x2000, 0x1000, 0x0400, 0x0080
_PERSISTENT: Final = b"\2"


class Delivered(NamedTuple):
    """A message that came in, whole."""

    tag: int
    redelivered: bool
    exchange: str
    routing_key: str
    properties: dict[str, Any]  #: those that were set, by name
    body: bytes


def _short(text: str) -> bytes:
    raw = text.encode()
    if len(raw) > 255:
        raise ShortStringTooLong(raw)
    return bytes((len(raw),)) + raw


#: Names and values of which there are few: exchanges, routing keys, content types, names of headers.
_known = lru_cache(maxsize=4_096)(_short)


def _table(values: Mapping[str, Any]) -> bytes:
    pieces: list[bytes] = []
    for name, value in values.items():
        pieces.append(_known(name))
        if type(value) is str:
            raw = value.encode()
            pieces += (b"S", _U32.pack(len(raw)), raw)
        else:
            data.encode_value(pieces, value)
    table = b"".join(pieces)
    return _U32.pack(len(table)) + table


def publish(
    channel: int,
    *,
    exchange: str,
    routing_key: str,
    body: bytes,
    content_type: str | None,
    message_id: str | None,
    correlation_id: str | None,
    headers: Mapping[str, Any] | None,
    frame_max: int,
) -> bytes:
    """All frames of one persistent, mandatory message, for a connection whose frames may have `frame_max` bytes.

    Raises ShortStringTooLong for a name or id of more than 255 bytes, UnsupportedAMQPFieldException for a header AMQP cannot carry.
    """
    method = _PUBLISH.pack(_PUBLISH_METHOD, 0) + _known(exchange) + _known(routing_key) + _MANDATORY
    flags, values = _DELIVERY_MODE, []
    if content_type is not None:
        flags |= _CONTENT_TYPE
        values.append(_known(content_type))
    if headers is not None:
        flags |= _HEADERS
        values.append(_table(headers))
    values.append(_PERSISTENT)
    if correlation_id is not None:
        flags |= _CORRELATION_ID
        values.append(_short(correlation_id))
    if message_id is not None:
        flags |= _MESSAGE_ID
        values.append(_short(message_id))
    header = _PROPERTIES.pack(60, 0, len(body), flags) + b"".join(values)
    frames = [_FRAME.pack(_METHOD, channel, len(method)), method, _END, _FRAME.pack(_HEADER, channel, len(header)), header, _END]
    most = frame_max - _FRAME.size - len(_END)
    for start in range(0, len(body), most):
        part = body if len(body) <= most else body[start : start + most]
        frames += (_FRAME.pack(_BODY, channel, len(part)), part, _END)
    return b"".join(frames)


def _properties(raw: bytes, at: int, flags: int) -> dict[str, Any]:
    """The properties behind a content header's flags. The broker has read them too, so there are no others than AMQP 0-9-1 has."""
    found: dict[str, Any] = {}
    for flag, name, kind in _LAYOUT:
        if not flags & flag:
            continue
        if kind == "s":
            end = at + 1 + raw[at]
            found[name] = raw[at + 1 : end].decode(errors="replace")
            at = end
        elif kind == "t":
            found[name] = _read_table(raw, at)
            at += 4 + _U32.unpack_from(raw, at)[0]
        elif kind == "o":
            found[name] = raw[at]
            at += 1
        else:
            (found[name],) = _U64.unpack_from(raw, at)
            at += 8
    return found


def _read_table(raw: bytes, at: int) -> dict[Any, Any]:
    """Headers; none when they cannot be read: what a party writes there (a thousand tables in each other, a day that no calendar has)
    is no reason to lose the connection."""
    try:
        return dict(data.decode_table(raw, at)[0])
    except Exception:  # noqa: BLE001 (pika promises nothing about what it raises here)
        return {}


class _Channel:
    """What is read here on one channel: the deliveries of these consumers, and confirms."""

    __slots__ = ("body", "confirmed", "consumers", "left", "method", "properties")

    def __init__(self) -> None:
        self.consumers: dict[bytes, Callable[[Delivered], None]] = {}  # by consumer tag
        self.confirmed: Callable[[int, bool], None] | None = None
        self.method: tuple[Callable[[Delivered], None], int, bool, str, str] | None = None  # of a delivery whose rest is to come
        self.properties: dict[str, Any] | None = None
        self.body: list[bytes] = []
        self.left = 0

    def on_method(self, raw: bytes, at: int) -> bool:
        (method,) = _U32.unpack_from(raw, at)
        if method == _DELIVER_METHOD:
            at += 5
            end = at + raw[at - 1]
            consumer = self.consumers.get(raw[at:end])
            if consumer is None:
                return False
            (tag,) = _U64.unpack_from(raw, end)
            redelivered = bool(raw[end + 8] & 1)
            at = end + 10
            end = at + raw[at - 1]
            exchange = raw[at:end].decode()
            routing_key = raw[end + 1 : end + 1 + raw[end]].decode(errors="replace")
            self.method = (consumer, tag, redelivered, exchange, routing_key)
            return True
        if method == _ACK_METHOD and self.confirmed is not None:
            self.confirmed(_U64.unpack_from(raw, at + 4)[0], bool(raw[at + 12] & 1))
            return True
        return False

    def on_header(self, raw: bytes, at: int) -> bool:
        if self.method is None:
            return False
        _, _, self.left, flags = _PROPERTIES.unpack_from(raw, at)
        self.properties = _properties(raw, at + _PROPERTIES.size, flags)
        if not self.left:
            self._deliver(b"")
        return True

    def on_body(self, raw: bytes, at: int, end: int) -> bool:
        if self.method is None:
            return False
        self.left -= end - at
        if self.left <= 0 and not self.body:
            self._deliver(raw[at:end])
            return True
        self.body.append(raw[at:end])
        if self.left <= 0:
            body, self.body = b"".join(self.body), []
            self._deliver(body)
        return True

    def _deliver(self, body: bytes) -> None:
        assert self.method is not None
        (consumer, tag, redelivered, exchange, routing_key), properties = self.method, self.properties
        self.method = self.properties = None
        consumer(Delivered(tag, redelivered, exchange, routing_key, properties or {}, body))


class BurstConnection(AsyncioConnection):  # type: ignore[misc] # pika is not typed here
    """pika's connection, with a short way for messages."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._burst: list[bytes] = []
        self._burst_bytes = 0
        self._rest = b""  # of a frame that has not come whole
        self._short_ways: dict[int, _Channel] = {}
        super().__init__(*args, **kwargs)

    # -- out

    def publish(
        self,
        channel: Any,
        *,
        exchange: str,
        routing_key: str,
        body: bytes,
        content_type: str | None = None,
        message_id: str | None = None,
        correlation_id: str | None = None,
        headers: Mapping[str, Any] | None = None,
    ) -> None:
        """Sends one persistent, mandatory message. Raises AMQPError: on a channel that is not open, and as the function `publish`."""
        if not channel.is_open or not self.is_open:
            raise ChannelWrongStateError("Channel is closed.")
        self.frames_sent += 3
        frames = publish(
            channel.channel_number,
            exchange=exchange,
            routing_key=routing_key,
            body=body,
            content_type=content_type,
            message_id=message_id,
            correlation_id=correlation_id,
            headers=headers,
            frame_max=self.params.frame_max,
        )
        self.bytes_sent += len(frames)
        self._adapter_emit_data(frames)

    def _adapter_emit_data(self, data: bytes) -> None:
        """Where pika's connections hand their bytes to the transport."""
        if not self._burst:
            asyncio.get_running_loop().call_soon(self._flush)
        self._burst.append(data)
        self._burst_bytes += len(data)
        if self._burst_bytes >= BURST_BYTES:
            self._flush()

    def _flush(self) -> None:
        burst, self._burst, self._burst_bytes = self._burst, [], 0
        if burst and self._transport is not None:  # else the connection went, and everybody has been told
            super()._adapter_emit_data(b"".join(burst))

    async def hang_up(self) -> None:
        """Ends without AMQP's goodbye, once all is written; to the broker this is what a crash looks like."""
        self._flush()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_CLOSE_S):
                while self._transport is not None and self._transport.get_write_buffer_size():
                    await asyncio.sleep(0.001)
        if self._transport is not None:
            self._transport.abort()

    # -- in

    def on_confirm(self, channel: Any, confirmed: Callable[[int, bool], None]) -> None:
        """Positive confirms of this channel go to `confirmed(tag, multiple)`; pika tells of negative ones."""
        self._short_way(channel).confirmed = confirmed

    def on_delivery(self, channel: Any, consumer_tag: str, arrived: Callable[[Delivered], None]) -> None:
        """Deliveries to this consumer go to `arrived`."""
        self._short_way(channel).consumers[consumer_tag.encode()] = arrived

    def forget_consumer(self, channel: Any, consumer_tag: str) -> None:
        """What still comes for a consumer that was cancelled is pika's, which gives it back to the broker."""
        self._short_way(channel).consumers.pop(consumer_tag.encode(), None)

    def _short_way(self, channel: Any) -> _Channel:
        return self._short_ways.setdefault(channel.channel_number, _Channel())

    def _on_data_available(self, data_in: bytes) -> None:
        """Where pika's connections get their bytes from the transport."""
        raw = self._rest + data_in if self._rest else data_in
        at, length = 0, len(raw)
        while length - at >= _FRAME.size + len(_END):
            kind, channel, size = _FRAME.unpack_from(raw, at)
            end = at + _FRAME.size + size
            if kind not in _KINDS:  # not AMQP, or another version of it: pika knows what to say
                self._rest = b""
                super()._on_data_available(raw[at:])
                return
            if end >= length:
                break
            if raw[end] != _END_OCTET or not self._took(kind, channel, raw, at + _FRAME.size, end):
                _, value = frame.decode_frame(raw[at : end + 1])
                self._process_frame(value)
            else:
                self.frames_received += 1
            self.bytes_received += end + 1 - at
            at = end + 1
        self._rest = raw[at:]

    def _took(self, kind: int, channel: int, raw: bytes, at: int, end: int) -> bool:
        """Whether the frame between these places was one for the short way."""
        way = self._short_ways.get(channel)
        if way is None:
            return False
        if kind == _BODY:
            return way.on_body(raw, at, end)
        if kind == _HEADER:
            return way.on_header(raw, at)
        return kind == _METHOD and way.on_method(raw, at)
