"""The push worker's own decisions: what is called at all, and what is stored of it. Store and endpoint are told what to say."""

from __future__ import annotations

import asyncio
import dataclasses
import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest

from routing.outcome import Asked, Heard, Trust, Wire
from routing.ports import Incoming
from routing.work import MAYBE_SENT, NOT_SENT, Claimed, Settlement, Ticket
from schemas.contracts import load_contracts
from tests.support.register import DOCUMENT, UTRECHT, but, chain
from workers.clock import Clock
from workers.loop import Worker
from workers.push import Pusher

URL = "https://utrecht.example/vva"
GOOD = Heard(wire=Wire.ANSWERED, status=200, soap=True, trust=Trust.GOOD)
GANGER = "urn:x-backbone:vva:1/mboGangerBericht"


class Said:
    """An endpoint that answers well unless told otherwise, and remembers that it was called."""

    def __init__(self, heard: Heard = GOOD) -> None:
        self.calls, self.heard = 0, heard
        self.message_ids: list[str] = []

    async def offer(self, *_: Any, asked: Asked, **__: Any) -> Heard:
        self.calls += 1
        self.message_ids.append(asked.message_id)
        return self.heard


class Outbox:
    """Hands out what it is given, and keeps what is settled; refuses what it is told to refuse."""

    def __init__(self, claimed: Sequence[Claimed], refuse: str = "") -> None:
        self.claimed, self.refuse, self.settled = list(claimed), refuse, []

    def claim(self, *_: Any, **__: Any) -> tuple[list[Claimed], list[Ticket]]:
        return self.claimed, []

    def unheard(self, _: Sequence[int]) -> set[int]:
        return set()

    def settle(self, settlements: Sequence[Settlement], **_: Any) -> int:
        if any(one.claimed.id == self.refuse for one in settlements):
            raise RuntimeError("a defect")
        self.settled += settlements
        return len(settlements)


def claimed(register: Any, number: int = 1, **more: Any) -> Claimed:
    (endpoint,) = [one for one in register.parts.every_endpoint() if one.url == URL]
    now = datetime.now(UTC)
    values: dict[str, Any] = {field.name: None for field in dataclasses.fields(Claimed)} | {
        "seq": number, "release": 1, "id": f"d{number}", "attempts": 0, "receiver": UTRECHT, "endpoint": endpoint.id, "lane": endpoint.lane,
        "receiver_system": endpoint.system, "action": GANGER, "dienst": "vva", "versie": "1", "sender": "0000000700025BE00000",
        "system": "00000003272448340000", "message_id": f"urn:uuid:{number}", "reference": "r", "stale": False, "wrapped_key": b"k",
        "body": b"b", "received_us": int(now.timestamp() * 1e6), "created_us": 0, "taken_over": False,
        "deadline_us": int((now + timedelta(days=1)).timestamp() * 1e6),
    }  # fmt: skip
    return Claimed(**values | more)


def push(outbox: Outbox, endpoints: Said, register: Any, *, idempotent: bool, **kind_is: Any) -> Sequence[Incoming] | BaseException:
    kind = dataclasses.replace(load_contracts().kind(GANGER), idempotent=idempotent, **kind_is)
    registry = SimpleNamespace(worker_seen=lambda *_, **__: None)
    current = SimpleNamespace(newest=lambda: register)
    worker = Worker("push", registry, Clock())  # type: ignore[arg-type]
    pusher = Pusher(
        worker,
        SimpleNamespace(outbox=outbox),  # type: ignore[arg-type]
        SimpleNamespace(open=lambda *_: b"<x/>"),  # type: ignore[arg-type]
        type("Cache", (), {"__call__": lambda _: register, "newest": lambda _: current.newest()})(),  # type: ignore[arg-type]
        SimpleNamespace(forward=lambda *_, **__: b"<ours/>"),  # type: ignore[arg-type]
        endpoints,  # type: ignore[arg-type]
        lambda _: kind,
        lambda *_: True,
        Clock(),
        answer_s=5,
    )
    body = json.dumps([[one.seq, one.release] for one in outbox.claimed]).encode()
    incoming = Incoming(
        queue="push", tag=1, generation=1, redelivered=False, exchange="", routing_key="push", content_type=None, correlation_id=None,
        headers={}, body=body,
    )  # fmt: skip

    async def act() -> Sequence[Incoming]:
        return await pusher.handle([incoming])

    try:
        return asyncio.run(act())
    except RuntimeError as error:
        return error


def register() -> Any:
    place = next(number for number, row in enumerate(DOCUMENT["endpoints"]) if row["organisation"] == UTRECHT)
    return chain(endpoints=but(DOCUMENT["endpoints"], place, url=URL, mailbox=None))


def test_what_may_not_be_done_twice_is_not_called_again_when_it_may_have_arrived():
    for before in ({"taken_over": True}, {"release": 3, "attempts": 1}):
        outbox, endpoint = Outbox([claimed(register(), **before)]), Said()
        push(outbox, endpoint, register(), idempotent=False)
        assert endpoint.calls == 0
        assert [(one.state, one.code) for one in outbox.settled] == [("uncertain", "ANSWER_NOT_HEARD")]


def test_what_may_be_done_twice_is_called_again():
    outbox, endpoint = Outbox([claimed(register(), taken_over=True)]), Said()
    push(outbox, endpoint, register(), idempotent=True)
    assert (endpoint.calls, [one.state for one in outbox.settled]) == (1, ["acknowledged"])


def test_one_that_cannot_be_stored_takes_no_other_with_it():
    outbox, endpoint = Outbox([claimed(register(), 1), claimed(register(), 2), claimed(register(), 3)], refuse="d2"), Said()
    ended = push(outbox, endpoint, register(), idempotent=True)
    assert isinstance(ended, RuntimeError), "its ticket goes back to the broker"
    assert sorted(one.claimed.id for one in outbox.settled) == ["d1", "d3"]
    assert endpoint.calls == 3


@pytest.mark.parametrize("wire", Wire)
@pytest.mark.parametrize("taken_over", [False, True], ids=["first", "after one that died"])
def test_an_attempt_that_the_receiver_could_not_read_was_not_sent_unless_another_may_have_sent_it(wire: Wire, taken_over: bool):
    outbox, endpoint = Outbox([claimed(register(), taken_over=taken_over)]), Said(dataclasses.replace(GOOD, wire=wire))
    push(outbox, endpoint, register(), idempotent=True)
    (attempt,) = outbox.settled
    if wire in (Wire.SILENT, Wire.CUT, Wire.UNREADABLE, Wire.ANSWERED):
        assert attempt.envelope == "ours"
    else:
        assert attempt.envelope == (MAYBE_SENT if taken_over else NOT_SENT)


@pytest.mark.parametrize(("again_of", "name", "envelope"), [(None, "urn:uuid:1", "original"), (7, "urn:uuid:d1", "ours")])
def test_what_is_offered_anew_travels_in_our_envelope_with_a_message_id_of_its_own(again_of: int | None, name: str, envelope: str):
    now_us = int(datetime.now(UTC).timestamp() * 1e6)
    outbox, endpoint = Outbox([claimed(register(), again_of=again_of, created_us=now_us)]), Said()
    push(outbox, endpoint, register(), idempotent=True, to="receiver")
    assert endpoint.message_ids == [name]
    assert [one.envelope for one in outbox.settled] == [envelope]
