"""A message that must be answered, through the whole exchange: mailbox, confirmation, answer; and an answer that does not come.

The workers run inside the test, by a clock that it moves.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from copy import deepcopy
from datetime import timedelta
from typing import Any

import pytest

from adapters import soap
from adapters.signing import BodyPart
from routing.ports import Incoming, Outgoing, Published
from schemas.oin import Oin
from tests.support import signing as s
from tests.support.answers import DIENSTEN, MELDING, TERUGKOPPELING, melding, terugkoppeling
from tests.support.broker import require_rabbitmq, until
from tests.support.exchange import DOCUMENT, LAS, MBO, SCHOOL, SIS, Exchange, MovedClock, said
from workers.commands import show_message

pytestmark = [pytest.mark.broker, pytest.mark.slow]

DIENST = {"dienst": "verzuim", "versie": "1"}


def document() -> dict[str, Any]:
    """The register, in which both schools take part in the dienst."""
    register = deepcopy(DOCUMENT)
    register["diensten"].append(DIENST | {"namespace": "urn:test:verzuim:1"})
    for organisation, system in ((SCHOOL, LAS), (MBO, SIS)):
        register["mandates"].append({"organisation": organisation, "dienst": "verzuim", "system": system})
        register["endpoints"].append(DIENST | {"organisation": organisation, "system": system, "mailbox": True})
    return register


@pytest.fixture
def clock() -> MovedClock:
    return MovedClock()


@pytest.fixture
def exchange(clock: MovedClock) -> Iterator[Exchange]:
    require_rabbitmq()
    with Exchange(clock=clock, document=document(), diensten=DIENSTEN) as exchange:
        yield exchange


async def take(exchange: Exchange, kind: str, system: Oin) -> Incoming:
    """The next message in a party's queue."""
    consumer = await exchange.consumer(kind, system)
    (incoming,) = await consumer.next_batch(1, idle_s=20)
    consumer.ack([incoming])
    return incoming


async def hand_in(exchange: Exchange, content: bytes, action: str, *, system: Oin, relates_to: str | None = None) -> dict[str, Any]:
    """From the vo school by its LAS, or from the mbo school by its SIS, to the other. Returns the receipt."""
    sender, receiver, signer = (SCHOOL, MBO, s.signer()) if system == LAS else (MBO, SCHOOL, s.signer("sis", oin=SIS))
    message_id = s.message_id()
    signed = signer.envelope(
        BodyPart.around(content),
        to=soap.address(receiver, "https://koppelpunt.example/verzuim/v1"),
        sender=soap.address(sender),
        action=action,
        message_id=message_id,
        relates_to=((soap.REPLY, relates_to),) if relates_to else (),
        created=exchange.clock.now(),
    )
    fate = await (await exchange.publisher(system)).publish(exchange.hand_in(signed, message_id, system=system))
    assert fate is Published.CONFIRMED
    receipt = await take(exchange, "receipt", system)
    assert receipt.correlation_id == message_id
    return said(receipt.body)


async def confirm(exchange: Exchange, system: Oin, received: Incoming) -> None:
    body = json.dumps({"delivery_id": received.headers["delivery_id"], "outcome": "confirmed", "reason": None}).encode()
    assert await (await exchange.publisher(system)).publish(Outgoing(exchange="confirm", routing_key=system, body=body))


def state(exchange: Exchange, reference: str) -> str:
    query = "SELECT d.state FROM delivery d JOIN message m ON m.seq = d.message_seq WHERE m.reference = :r"
    return "".join(row["state"] for row in exchange.rows(query, r=reference))


async def start(exchange: Exchange) -> None:
    for name in ("intake", "relay", "route", "deliver", "audit"):
        exchange.start_worker(name)
    inspector = await exchange.inspector()
    await until(lambda: inspector.depth("epoch"))


@pytest.mark.timeout(120)
def test_a_message_is_answered_and_its_sender_hears_of_it_and_gets_the_answer(
    exchange: Exchange, capsys: pytest.CaptureFixture[str]
) -> None:
    async def act() -> None:
        await start(exchange)
        business_id = str(uuid.uuid4())
        receipt = await hand_in(exchange, melding(business_id), MELDING, system=LAS)
        assert receipt["accepted"], receipt
        reference = receipt["reference"]
        received = await take(exchange, "mailbox", SIS)
        await confirm(exchange, SIS, received)
        acknowledged = said((await take(exchange, "receipt", LAS)).body)
        assert (acknowledged["reference"], acknowledged["state"]) == (reference, "acknowledged")

        nothing = await hand_in(exchange, terugkoppeling(str(uuid.uuid4())), TERUGKOPPELING, system=SIS)
        assert (nothing["accepted"], nothing["code"]) == (False, "Client.DK0008")
        unknown = await hand_in(exchange, terugkoppeling(str(uuid.uuid4()), str(uuid.uuid4())), TERUGKOPPELING, system=SIS)
        assert (unknown["accepted"], unknown["code"]) == (False, "ANSWER_UNKNOWN")
        assert state(exchange, reference) == "acknowledged"

        content = terugkoppeling(str(uuid.uuid4()), business_id.upper())
        answer = await hand_in(exchange, content, TERUGKOPPELING, system=SIS, relates_to=received.message_id)
        assert (answer["accepted"], answer["warnings"]) == (True, []), answer
        assert state(exchange, reference) == "answered"
        outcome = said((await take(exchange, "receipt", LAS)).body)
        assert (outcome["reference"], outcome["state"], outcome["receiver"]) == (reference, "answered", MBO)
        brought = await take(exchange, "mailbox", LAS)
        assert content in brought.body
        assert str(brought.message_id) in outcome["reason"]

        for one, other in ((reference, answer["reference"]), (answer["reference"], reference)):
            row = exchange.store.queries.message(one)
            assert row is not None
            show_message(row, exchange.store.journal.of_message(one), exchange.store.journal.decisions_of(one), as_json=False)
            assert other in capsys.readouterr().out

    exchange.run(act(), within_s=100)


@pytest.mark.timeout(120)
def test_an_answer_that_does_not_come_in_time_is_the_receivers_failure_and_a_late_one_still_ends_it_well(
    exchange: Exchange, clock: MovedClock
) -> None:
    async def act() -> None:
        await start(exchange)
        receipt = await hand_in(exchange, melding(str(uuid.uuid4())), MELDING, system=LAS)
        received = await take(exchange, "mailbox", SIS)
        await confirm(exchange, SIS, received)
        assert said((await take(exchange, "receipt", LAS)).body)["state"] == "acknowledged"
        clock.ahead = timedelta(days=3, minutes=1)
        exchange.start_worker("timetable")
        outcome = said((await take(exchange, "receipt", LAS)).body)
        assert (outcome["reference"], outcome["state"], outcome["code"], outcome["owner"]) == (
            *(receipt["reference"], "failed", "ANSWER_MISSING", "receiver"),
        )
        assert "alsnog antwoorden" in outcome["remedy"]
        late = await hand_in(exchange, terugkoppeling(str(uuid.uuid4())), TERUGKOPPELING, system=SIS, relates_to=received.message_id)
        assert late["accepted"], late
        assert said((await take(exchange, "receipt", LAS)).body)["state"] == "answered"
        kinds = [event.kind for event in exchange.store.journal.of_message(receipt["reference"])]
        assert kinds == ["received", "routed", "delivered", "acknowledged", "failed", "acknowledged", "answered"]

    exchange.run(act(), within_s=100)
