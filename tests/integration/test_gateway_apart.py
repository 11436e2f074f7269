"""Messages that take long to judge, at the gateway: they are judged in a process of their own, and answered like any other."""

from __future__ import annotations

import asyncio
import gzip
import multiprocessing
import os
import pickle
import signal
from collections.abc import Iterator

import pytest
from lxml import etree

from adapters import soap
from schemas.faults import NotAllowed
from tests.integration.test_gateway import Answer, ask, client, confirmations, fault_of, headers, post, receipt_of, start, verified
from tests.support import signing as s
from tests.support.exchange import MBO, PROEF, SCHOOL, Exchange
from workers import apart

pytestmark = pytest.mark.broker


@pytest.fixture(scope="module")
def exchange() -> Iterator[Exchange]:
    with Exchange() as made:
        made.run(start(made))
        yield made


def large(exchange: Exchange, message_id: str, filling: bytes = b" " * (apart.AT_ONCE + 1)) -> bytes:
    """A message of the vo school, larger than is judged at once; with another filling than space its content is wrong."""
    plain = exchange.proef(s.message_id())
    content = plain[plain.index(b"<proef") : plain.index(b"</soapenv:Body>")]
    inside = content.index(b">") + 1
    return exchange.signed(content[:inside] + filling + content[inside:], message_id, PROEF, receiver=MBO)


def test_a_large_message_gets_its_receipt_like_any_other(exchange: Exchange) -> None:
    message_id = s.message_id()
    answer = ask(exchange, large(exchange, message_id))
    receipt = receipt_of(answer)
    assert verified(answer[2]).relates_to == ((soap.REPLY, message_id),)
    found = exchange.rows("SELECT message_id, sender, size FROM message WHERE reference = :r", r=receipt["referentie"])
    assert [(row["message_id"], row["sender"]) for row in found] == [(message_id, SCHOOL)]
    assert found[0]["size"] > apart.AT_ONCE


def test_a_quarter_of_a_million_tags_are_refused_with_a_reason_and_the_message_s_own_name(exchange: Exchange) -> None:
    message_id = s.message_id()
    packed = gzip.compress(large(exchange, message_id, b"<b/>" * 250_000))
    answer = ask(exchange, packed, headers=headers(Content_Encoding="gzip"))
    assert fault_of(answer)[0] == "Client.DK0004"
    assert verified(answer[2]).relates_to == ((soap.REPLY, message_id),)
    assert verified(answer[2]).content.find("detail") is not None


def test_a_large_message_that_was_changed_after_signing_is_answered_by_what_it_says_of_itself(exchange: Exchange) -> None:
    message_id = s.message_id()
    raw = large(exchange, message_id)
    answer = ask(exchange, raw.replace(b"ontvangendeInstantie>0", b"ontvangendeInstantie>1"))
    assert fault_of(answer)[0] == "Client.EK0031"
    envelope = verified(answer[2])
    assert (envelope.relates_to, envelope.receiver) == (((soap.REPLY, message_id),), SCHOOL)
    assert confirmations(answer[2]) == [soap.parse(raw).findtext(f".//{{{soap.DS}}}SignatureValue")]
    assert exchange.rows("SELECT code, via FROM refusal WHERE message_id = :id", id=message_id) == [
        {"code": "Client.EK0031", "via": "https"}
    ]


def test_what_the_channel_asks_of_a_large_message_is_asked_too(exchange: Exchange) -> None:
    message_id = s.message_id()
    answer = ask(exchange, large(exchange, message_id), headers=headers(SOAPAction='"urn:x-backbone:proef:1/other"'))
    assert fault_of(answer)[0] == "Client.DK0003"
    found = exchange.rows("SELECT code, sender, system FROM refusal WHERE message_id = :id", id=message_id)
    assert found == [{"code": "Client.DK0003", "sender": SCHOOL, "system": s.LAS}]


def test_a_fault_of_the_channel_s_own_survives_the_other_process(exchange: Exchange) -> None:
    answer = ask(exchange, large(exchange, s.message_id()), headers=headers(Content_Type="application/json"))
    code, text = fault_of(answer)
    assert (code, "content type" in text) == ("Client.DK0009", True)


def test_small_content_that_does_not_fit_is_explained_by_the_other_process(exchange: Exchange, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []
    judge = apart.Apart.judge

    async def noted(self: apart.Apart, raw: bytes, **given: object) -> apart.Judged:
        asked.append(len(raw))
        return await judge(self, raw, **given)  # type: ignore[arg-type]

    monkeypatch.setattr(apart.Apart, "judge", noted)
    raw = exchange.signed(b'<proef xmlns="urn:x-backbone:proef:1"><bedrijfsdocument/></proef>', s.message_id(), PROEF, receiver=MBO)
    answer = ask(exchange, raw)
    assert fault_of(answer)[0] == "Client.DK0004"
    assert b"identificatiecodeBedrijfsdocument" in etree.tostring(verified(answer[2]).content.find("detail"))  # type: ignore[arg-type]
    assert asked == [len(raw)]


def other_process() -> int:
    """The process in which this one's gateway has messages judged."""
    children = multiprocessing.active_children()
    assert len(children) == 1
    assert children[0].pid is not None
    return children[0].pid


def test_when_the_other_process_dies_the_sender_is_asked_to_come_again_and_then_gets_its_receipt(
    exchange: Exchange, caplog: pytest.LogCaptureFixture
) -> None:
    raw = large(exchange, s.message_id())
    assert ask(exchange, raw)[0] == 200

    async def act() -> Answer:
        async with client(exchange) as session:
            os.kill(other_process(), signal.SIGSTOP)
            asked = asyncio.create_task(post(session, raw))
            await asyncio.sleep(0.3)
            assert not asked.done()
            os.kill(other_process(), signal.SIGKILL)
            return await asked

    answer = exchange.run(act())
    assert fault_of(answer)[0] == "Server.DK0051"
    assert answer[1]["Retry-After"]
    assert "judge_died" in caplog.text
    assert receipt_of(ask(exchange, raw))["ontvangstBevestiging"] == "J"


def test_while_a_large_message_is_judged_small_ones_are_answered_and_others_of_that_system_are_asked_to_come_again(
    exchange: Exchange, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(apart, "PATIENCE_S", 1.0)
    raw, another = large(exchange, s.message_id()), large(exchange, s.message_id())
    assert ask(exchange, raw)[0] == 200

    async def act() -> tuple[Answer, list[Answer]]:
        async with client(exchange) as session:
            judge = other_process()
            os.kill(judge, signal.SIGSTOP)
            try:
                asked = [asyncio.create_task(post(session, one)) for one in (raw, another)]
                small = await post(session, exchange.proef(s.message_id()))
                assert not any(one.done() for one in asked)
                return small, await asyncio.gather(*asked)
            finally:
                os.kill(judge, signal.SIGCONT)

    small, answers = exchange.run(act())
    assert receipt_of(small)["ontvangstBevestiging"] == "J"
    assert [fault_of(answer)[0] for answer in answers] == ["Server.DK0051"] * 2
    assert receipt_of(ask(exchange, another))["ontvangstBevestiging"] == "J"


def test_a_fault_is_the_same_after_a_journey_between_processes() -> None:
    fault = NotAllowed("Client.DK0002", "no mandate", where="wsa:From", details=["a", "b"], remedy=("doe dit", "do this"))
    again = pickle.loads(pickle.dumps(fault))
    assert type(again) is NotAllowed
    assert (str(again), again.details, again.owner, again.remedy) == (str(fault), fault.details, fault.owner, fault.remedy)


def test_what_takes_long_is_what_is_large_or_has_much_to_canonicalise(exchange: Exchange) -> None:
    assert not apart.takes_long(exchange.proef(s.message_id()))
    assert apart.takes_long(b" " * (apart.AT_ONCE + 1))
    assert apart.takes_long(b'<a xmlns:x="urn:x"/>' * (apart.MOST_DECLARATIONS + 1))
    assert apart.takes_long(b'<InclusiveNamespaces PrefixList="#default"/>')
