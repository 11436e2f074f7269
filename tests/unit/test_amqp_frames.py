"""Messages are written and read as pika does it: it is the measure of what is done here without it."""

from __future__ import annotations

import struct
from typing import Any
from unittest.mock import Mock

import pika
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pika import frame, spec
from pika.exceptions import ShortStringTooLong

from adapters.amqp_frames import BurstConnection, Delivered, publish

FRAME_MAX = 4_096
short = st.text(max_size=60)
headers = st.dictionaries(
    st.text(max_size=20),
    st.one_of(st.text(max_size=300), st.integers(-(2**62), 2**62), st.booleans(), st.none(), st.lists(st.integers(0, 9), max_size=3)),
    max_size=6,
)


def frames_of(raw: bytes) -> list[Any]:
    """What pika reads in these bytes."""
    found = []
    while raw:
        used, value = frame.decode_frame(raw)
        assert used
        found.append(value)
        raw = raw[used:]
    return found


@given(
    exchange=short,
    routing_key=short,
    body=st.binary(max_size=10_000),
    content_type=st.none() | short,
    message_id=st.none() | short,
    correlation_id=st.none() | short,
    headers=st.none() | headers,
)
def test_pika_reads_in_our_frames_what_was_to_be_published(
    exchange: str,
    routing_key: str,
    body: bytes,
    content_type: str | None,
    message_id: str | None,
    correlation_id: str | None,
    headers: dict[str, Any] | None,
) -> None:
    raw = publish(
        7,
        exchange=exchange,
        routing_key=routing_key,
        body=body,
        content_type=content_type,
        message_id=message_id,
        correlation_id=correlation_id,
        headers=headers,
        frame_max=FRAME_MAX,
    )
    method, header, *bodies = frames_of(raw)
    assert {value.channel_number for value in (method, header, *bodies)} == {7}
    assert (method.method.exchange, method.method.routing_key) == (exchange, routing_key)
    assert (method.method.mandatory, method.method.immediate) == (True, False)
    said = header.properties
    assert (said.delivery_mode, said.content_type, said.message_id, said.correlation_id) == (2, content_type, message_id, correlation_id)
    assert said.headers == headers
    assert header.body_size == len(body)
    assert b"".join(value.fragment for value in bodies) == body
    assert all(len(value.fragment) <= FRAME_MAX - 8 for value in bodies)


def test_a_name_that_amqp_cannot_carry_is_refused_before_anything_is_sent() -> None:
    with pytest.raises(ShortStringTooLong):
        publish(
            1,
            exchange="",
            routing_key="q",
            body=b"",
            content_type=None,
            message_id="x" * 256,
            correlation_id=None,
            headers=None,
            frame_max=FRAME_MAX,
        )


class Wire:
    """A connection with nothing behind it: bytes go in, and what was delivered, confirmed or left to pika comes out."""

    def __init__(self) -> None:
        self.connection = BurstConnection.__new__(BurstConnection)
        self.connection._rest = b""
        self.connection._short_ways = {}
        self.connection.frames_received = self.connection.bytes_received = 0
        self.connection._process_frame = self.left_to_pika = Mock()
        self.arrived: list[Delivered] = []
        self.confirmed: list[tuple[int, bool]] = []
        self.channel = Mock(channel_number=3)
        self.connection.on_delivery(self.channel, "ours", self.arrived.append)
        self.connection.on_confirm(self.channel, lambda tag, multiple: self.confirmed.append((tag, multiple)))

    def comes(self, raw: bytes, chunk: int) -> None:
        for start in range(0, len(raw), chunk):
            self.connection._on_data_available(raw[start : start + chunk])


def delivery(body: bytes, properties: Any, *, channel: int = 3, consumer: str = "ours", tag: int = 5, redelivered: bool = True) -> bytes:
    """As a broker writes it, with pika."""
    method = spec.Basic.Deliver(consumer_tag=consumer, delivery_tag=tag, redelivered=redelivered, exchange="intake", routing_key="sleutel")
    parts = [body[start : start + 100] for start in range(0, len(body), 100)]
    return (
        frame.Method(channel, method).marshal()
        + frame.Header(channel, len(body), properties).marshal()
        + b"".join(frame.Body(channel, part).marshal() for part in parts)
    )


PROPERTIES = st.fixed_dictionaries(
    {},
    optional={
        **dict.fromkeys(("content_type", "content_encoding", "correlation_id", "reply_to", "expiration", "message_id"), short),
        **dict.fromkeys(("type", "user_id", "app_id", "cluster_id"), short),
        "headers": headers,
        "delivery_mode": st.sampled_from([1, 2]),
        "priority": st.integers(0, 255),
        "timestamp": st.integers(0, 2**40),
    },
)


@given(body=st.binary(max_size=350), properties=PROPERTIES, chunk=st.integers(1, 500), redelivered=st.booleans())
def test_a_delivery_is_read_as_a_broker_wrote_it_however_it_is_cut(
    body: bytes, properties: dict[str, Any], chunk: int, redelivered: bool
) -> None:
    wire = Wire()
    raw = delivery(body, pika.BasicProperties(**properties), redelivered=redelivered)
    wire.comes(raw + raw, chunk)
    once = Delivered(5, redelivered, "intake", "sleutel", properties, body)
    assert wire.arrived == [once, once]
    assert not wire.left_to_pika.called
    assert wire.connection.bytes_received == 2 * len(raw)


def test_what_is_for_another_channel_or_consumer_is_left_to_pika_also_in_the_midst_of_a_message() -> None:
    wire, plain = Wire(), pika.BasicProperties()
    raw = delivery(b"x" * 250, plain)
    used, _ = frame.decode_frame(raw)
    heartbeat, other = frame.Heartbeat().marshal(), delivery(b"ander", plain, channel=4)
    stranger = delivery(b"vreemd", plain, consumer="gone")
    wire.comes(stranger + raw[:used] + heartbeat + other + raw[used:] + heartbeat, 64)
    assert [message.body for message in wire.arrived] == [b"x" * 250]
    assert wire.left_to_pika.call_count == 3 + 1 + 3 + 1


def test_confirms_are_read_and_a_refusal_is_left_to_pika() -> None:
    wire = Wire()
    acks = [spec.Basic.Ack(delivery_tag=9, multiple=True), spec.Basic.Ack(delivery_tag=2**40, multiple=False)]
    wire.comes(b"".join(frame.Method(3, method).marshal() for method in (*acks, spec.Basic.Nack(delivery_tag=4))), 1_000)
    assert wire.confirmed == [(9, True), (2**40, False)]
    assert wire.left_to_pika.call_count == 1


def _deep() -> bytes:
    table = b""
    for _ in range(3_000):
        table = b"\1aF" + len(table).to_bytes(4, "big") + table
    return table


UNREADABLE = {
    "a moment that no calendar has": b"\1tT" + (2**62).to_bytes(8, "big"),
    "not a number": b"\1td" + struct.pack(">d", float("nan")),
    "no end of numbers": b"\1tf" + struct.pack(">f", float("inf")),
    "a kind that AMQP does not know": b"\1t?",
    "a list that is longer than its table": b"\1tA\0\0\xff\xff",
    "tables in each other": _deep(),
}


@pytest.mark.parametrize("table", UNREADABLE.values(), ids=UNREADABLE)
def test_headers_nobody_can_read_cost_a_party_its_headers_and_nobody_the_connection(table: bytes) -> None:
    """The broker passes them on, so a message that ended our connection would end it again and again, for all parties."""
    wire = Wire()
    properties = pika.BasicProperties(message_id="m", content_type="text/xml", headers={})
    method, header, _ = frames_of(raw := delivery(b"inhoud", properties))
    marshaled = header.marshal()
    evil = marshaled[7:-1].replace(b"text/xml" + bytes(4), b"text/xml" + len(table).to_bytes(4, "big") + table)
    wire.comes(method.marshal() + marshaled[:3] + len(evil).to_bytes(4, "big") + evil + b"\xce" + frame.Body(3, b"inhoud").marshal(), 4_096)
    wire.comes(raw, 4_096)
    assert [message.body for message in wire.arrived] == [b"inhoud", b"inhoud"]
    assert wire.arrived[0].properties == {"message_id": "m", "content_type": "text/xml", "headers": {}}
