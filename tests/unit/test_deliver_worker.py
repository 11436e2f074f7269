"""What the deliver worker writes down of an attempt: whose envelope came into a mailbox, or that nothing did."""

from __future__ import annotations

import asyncio
import dataclasses
import json
from collections.abc import Sequence
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest

from routing.ports import Incoming, Published
from routing.work import NOT_SENT, Claimed, Settlement, Ticket
from tests.support.register import CIVIC, DOCUMENT, UTRECHT, chain
from workers.clock import Clock
from workers.deliver import Courier
from workers.loop import Worker


def attempt(fate: Published, **changed: Any) -> Settlement:
    """What is settled when the broker says this of the mailbox of Utrecht's system. `changed`: of the register."""
    register, settled = chain(**changed), list[Settlement]()
    (endpoint,) = [one for one in chain().parts.every_endpoint() if one.organisation == UTRECHT]
    values: dict[str, Any] = {field.name: None for field in dataclasses.fields(Claimed)} | {
        "seq": 1, "release": 1, "id": "d1", "attempts": 0, "receiver": UTRECHT, "endpoint": endpoint.id, "lane": endpoint.lane,
        "receiver_system": CIVIC, "action": "a", "dienst": "vva", "versie": "1", "message_id": "urn:uuid:1", "reference": "r",
        "stale": False, "wrapped_key": b"k", "body": b"b", "received_us": int(datetime.now(UTC).timestamp() * 1e6), "taken_over": False,
    }  # fmt: skip

    def claim(tickets: Sequence[Ticket], **_: Any) -> tuple[list[Claimed], list[Ticket]]:
        return [Claimed(**values)], []

    def settle(settlements: Sequence[Settlement], **_: Any) -> int:
        settled.extend(settlements)
        return len(settlements)

    async def publish_many(outgoing: Sequence[Any]) -> list[Published]:
        return [fate] * len(outgoing)

    registry = SimpleNamespace(worker_seen=lambda *_, **__: None)
    courier = Courier(
        Worker("deliver", registry, Clock()),  # type: ignore[arg-type]
        SimpleNamespace(outbox=SimpleNamespace(claim=claim, settle=settle)),  # type: ignore[arg-type]
        SimpleNamespace(publish_many=publish_many),  # type: ignore[arg-type]
        SimpleNamespace(open=lambda *_: b"<x/>"),  # type: ignore[arg-type]
        type("Cache", (), {"__call__": lambda _: register, "newest": lambda _: register})(),  # type: ignore[arg-type]
        SimpleNamespace(forward=lambda *_, **__: b"<ours/>"),  # type: ignore[arg-type]
        lambda _: True,
        Clock(),
    )
    incoming = Incoming(
        queue="deliver", tag=1, generation=1, redelivered=False, exchange="", routing_key="deliver", content_type=None, correlation_id=None,
        headers={}, body=json.dumps([[1, 1]]).encode(),
    )  # fmt: skip
    assert asyncio.run(courier.handle([incoming])) == []
    (one,) = settled
    return one


def test_what_came_into_a_mailbox_was_sent() -> None:
    one = attempt(Published.CONFIRMED)
    assert (one.state, one.envelope) == ("delivered", "original")


@pytest.mark.parametrize("fate", [Published.NACKED, Published.RETURNED], ids=["full", "not there yet"])
def test_what_did_not_come_into_a_mailbox_was_not_sent(fate: Published) -> None:
    one = attempt(fate)
    assert (one.state, one.hold_code, one.envelope) == ("postponed", "ENDPOINT_UNREACHABLE", NOT_SENT)


def test_what_waits_for_another_mandate_was_not_sent() -> None:
    one = attempt(Published.CONFIRMED, mandates=[row for row in DOCUMENT["mandates"] if row["organisation"] != UTRECHT])
    assert (one.state, one.envelope) == ("routed", NOT_SENT)
    assert one.hold_code is not None


def test_what_stands_in_the_store_for_a_party_without_amqp_was_sent() -> None:
    systems = [row | ({"channels": ["https"]} if row["oin"] == CIVIC else {}) for row in DOCUMENT["systems"]]
    one = attempt(Published.NACKED, systems=systems)
    assert (one.state, one.envelope) == ("delivered", "original")
