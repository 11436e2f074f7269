"""Handing in files over AMQP and waiting for their receipts: what `run.py send` does."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from adapters.rabbit import Consumer, Publisher
from routing.ports import BrokerUnavailable, Incoming, Outgoing, Published

CONTENT_TYPE: Final = "text/xml; charset=utf-8"


@dataclass(frozen=True, slots=True, kw_only=True)
class HandIn:
    """One file to hand in, under the MessageID its receipt will name."""

    file: str
    message_id: str
    signed: bytes


async def hand_in(url: str, system: str, files: Sequence[HandIn], *, wait_s: float = 30.0) -> dict[str, dict[str, Any]]:
    """Publishes the files as `system`, and returns the receipts by MessageID; one that did not come in time is not there.

    Receipts and outcomes of other messages go back to the queue when the connection closes. Raises BrokerError.
    """
    wanted = {one.message_id for one in files}
    found: dict[str, dict[str, Any]] = {}
    async with Consumer(url, [f"receipt.{system}"], prefetch=1000) as consumer, Publisher(url) as publisher:
        out = [
            Outgoing(exchange="intake", routing_key=system, body=one.signed, content_type=CONTENT_TYPE, message_id=one.message_id)
            for one in files
        ]
        for one, fate in zip(files, await publisher.publish_many(out), strict=True):
            if fate is not Published.CONFIRMED:
                raise BrokerUnavailable(f"The broker did not take {one.file} ({fate}); the hand-in queue may be full, try again later.")
        until = time.monotonic() + wait_s
        while len(found) < len(wanted) and time.monotonic() < until:
            done: list[Incoming] = []
            for incoming in await consumer.next_batch(200, 0.02, idle_s=0.5):
                said = json.loads(incoming.body)
                if incoming.correlation_id in wanted and "accepted" in said:
                    found[incoming.correlation_id] = said
                    done.append(incoming)
            consumer.ack(done)
    return found
