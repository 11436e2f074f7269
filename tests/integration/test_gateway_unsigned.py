"""A dienst of profile 2W-be at the gateway: unsigned in, unsigned back, and on to its receiver in our own signed envelope."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest
from lxml import etree

from adapters import c14n, soap, wsdl
from adapters.answers import NAMESPACE
from adapters.parties import invented
from schemas.contracts import load_contracts
from tests.integration.test_gateway import Answer, ask, fault_of, headers, receipt_of, start
from tests.support import signing as s
from tests.support.diensten import registered, variant
from tests.support.exchange import DOCUMENT, HUB, LAS, MBO, PROEF, SCHOOL, SIS, Exchange, said

pytestmark = pytest.mark.broker

BE = "urn:x-backbone:proef:2/proef"
PATH = "/wus/proef/2"


@pytest.fixture(scope="module")
def exchange() -> Iterator[Exchange]:
    folder = variant("2", ('profile = "2W-be-S"', 'profile = "2W-be"'))
    with Exchange(settings={"KOPPELPUNT_DIENSTEN": str(folder)}, document=registered(DOCUMENT, "2")) as made:
        made.run(start(made))
        for name in ("intake", "relay", "route", "deliver"):
            made.start_worker(name)
        yield made


def content(version: str = "2") -> bytes:
    now = datetime.now(UTC)
    made = invented.proef(business_id=str(uuid.uuid4()), sender=SCHOOL, receiver=MBO, created=now)
    return made.replace(b"proef:1", f"proef:{version}".encode())


def unsigned(message_id: str, *, action: str = BE, version: str = "2", created: datetime | None = None) -> bytes:
    return s.unsigned(content=content(version), sender=SCHOOL, receiver=MBO, action=action, message=message_id, created=created)


def unsigned_answer(answer: Answer, status: int) -> etree._Element:
    """The content of an answer that is not signed."""
    assert answer[0] == status, answer
    root = soap.parse(answer[2])
    assert root.find(f"{soap.HEADER}/{soap.SECURITY}") is None
    return root[1][0]


def hand_in(exchange: Exchange, raw: bytes, path: str = PATH, action: str = BE) -> Answer:
    return ask(exchange, raw, path, headers=headers(action))


def receipt(answer: Answer) -> str:
    found = unsigned_answer(answer, 200)
    assert found.tag == f"{{{NAMESPACE}}}ontvangst"
    return str(found.findtext(f"{{{NAMESPACE}}}referentie"))


def fault(answer: Answer) -> tuple[str, str]:
    found = unsigned_answer(answer, 500)
    return str(found.findtext("faultcode")).removeprefix("soapenv:"), str(found.findtext("faultstring"))


def test_an_unsigned_message_gets_an_unsigned_receipt_and_reaches_its_receiver_in_our_envelope(exchange: Exchange) -> None:
    message_id = s.message_id()
    raw = unsigned(message_id)
    answer = hand_in(exchange, raw)
    reference = receipt(answer)
    addressed = {etree.QName(child).localname: "".join(map(str, child.itertext())) for child in soap.parse(answer[2])[0]}
    assert (addressed["RelatesTo"], addressed["Action"]) == (message_id, BE)
    assert f"oin={HUB}" in addressed["From"] and f"oin={SCHOOL}" in addressed["To"]

    async def fetch() -> bytes:
        mailbox = await exchange.consumer("mailbox", SIS)
        async with asyncio.timeout(30):
            while True:
                for one in await mailbox.next_batch(idle_s=1):
                    mailbox.ack([one])
                    if one.message_id == message_id:
                        return one.body

    arrived = s.verifier().verify(exchange.run(fetch()), at=datetime.now(UTC))
    assert (arrived.certificate_oin, arrived.sender, arrived.receiver, arrived.message_id) == (HUB, SCHOOL, MBO, message_id)
    assert c14n.exclusive(arrived.content) == c14n.exclusive(soap.parse(raw)[1][0])
    rows = exchange.rows(
        "SELECT a.envelope FROM attempt a JOIN delivery d ON d.seq = a.delivery_seq JOIN message m ON m.seq = d.message_seq "
        "WHERE m.reference = :r",
        r=reference,
    )
    assert [row["envelope"] for row in rows] == ["ours"]
    assert "connection-good" in [decision["rule"] for decision in exchange.store.journal.decisions_of(reference)]


def test_a_sender_that_sends_again_gets_the_same_reference_signed_or_not(exchange: Exchange) -> None:
    message_id, body = s.message_id(), content()
    plain = s.unsigned(content=body, sender=SCHOOL, receiver=MBO, action=BE, message=message_id, created=None)
    fresh = s.unsigned(content=body, sender=SCHOOL, receiver=MBO, action=BE, message=message_id, created=datetime.now(UTC))
    signed = s.signer().sign(plain)
    assert len({receipt(hand_in(exchange, raw)) for raw in (plain, fresh, signed)}) == 1


def test_a_signature_that_is_there_and_wrong_is_refused_in_an_unsigned_fault(exchange: Exchange) -> None:
    changed = s.signer().sign(unsigned(s.message_id(), created=datetime.now(UTC))).replace(b"oin=0000000700004", b"oin=0000000700005", 1)
    code, text = fault(hand_in(exchange, changed))
    assert code == "Client.EK0031"
    assert "To changed after signing" in text


def test_a_signature_that_is_not_whole_is_refused(exchange: Exchange) -> None:
    raw = s.signer().sign(unsigned(s.message_id(), created=datetime.now(UTC)))
    code, text = fault(hand_in(exchange, s.without("ds:Signature")(raw)))
    assert code == "Client.EK0031"
    assert "has no Signature" in text


def test_a_message_that_another_system_signed_is_refused(exchange: Exchange) -> None:
    raw = s.signer("sis", oin=SIS).sign(unsigned(s.message_id(), created=datetime.now(UTC)))
    assert fault(hand_in(exchange, raw))[0] == "Client.DK0002"


def test_what_is_wrong_with_an_unsigned_message_is_told_with_the_standards_codes(exchange: Exchange) -> None:
    raw = unsigned(s.message_id())
    assert fault(hand_in(exchange, raw.replace(b"urn:uuid:", b"urn:x:")))[0] == "Client.EK0023"
    assert fault(hand_in(exchange, raw[:-10]))[0] == "Client.NOT_XML"
    assert fault(hand_in(exchange, raw.replace(b"datumTijdBedrijfsdocument", b"datum")))[0] == "Client.DK0004"
    assert fault(ask(exchange, raw, PATH, party=s.party("sis", oin=SIS), headers=headers(BE)))[0] == "Client.DK0002"
    assert fault(ask(exchange, raw, PATH, headers=headers(BE, Content_Type="application/json")))[0] == "Client.DK0009"


def test_a_dienst_of_profile_2w_be_s_refuses_unsigned_messages_in_a_signed_fault(exchange: Exchange) -> None:
    raw = unsigned(s.message_id(), action=PROEF, version="1")
    code, text = fault_of(hand_in(exchange, raw, "/wus/proef/1", PROEF))
    assert code == "Client.EK0031"
    assert "not signed" in text
    assert receipt_of(ask(exchange, exchange.proef(s.message_id())))["ontvangstBevestiging"] == "J"


def test_an_unsigned_message_does_not_get_in_by_the_path_of_another_dienst(exchange: Exchange) -> None:
    raw = unsigned(s.message_id(), action=PROEF, version="1")
    assert fault(hand_in(exchange, raw, PATH, PROEF))[0] == "Client.UNKNOWN_DIENST"


def test_over_amqp_a_message_of_profile_2w_be_must_be_signed(exchange: Exchange) -> None:
    message_id = s.message_id()
    signed_id = s.message_id()
    bodies = {message_id: unsigned(message_id), signed_id: s.signer().sign(unsigned(signed_id, created=datetime.now(UTC)))}

    async def act() -> dict[str, dict[str, object]]:
        publisher, receipts = await exchange.publisher(LAS), await exchange.consumer("receipt", LAS)
        await publisher.publish_many([exchange.hand_in(body, id) for id, body in bodies.items()])
        found: dict[str, dict[str, object]] = {}
        async with asyncio.timeout(30):
            while found.keys() != bodies.keys():
                for one in await receipts.next_batch(idle_s=1):
                    receipts.ack([one])
                    if one.correlation_id in bodies:
                        found.setdefault(str(one.correlation_id), said(one.body))
        return found

    found = exchange.run(act())
    assert found[message_id]["code"] == "Client.EK0031"
    assert found[signed_id]["accepted"] is True


def test_the_wsdl_says_which_profile_it_is(exchange: Exchange) -> None:
    contracts = load_contracts(variant("2", ('profile = "2W-be-S"', 'profile = "2W-be"')))
    texts = {}
    for versie in "12":
        contract = contracts.find("proef", versie)
        assert contract is not None
        texts[versie] = wsdl.description(contract, url="https://x").decode()
    assert "Digikoppeling 2W-be-S:" in texts["1"] and "signed with WS-Security" in texts["1"]
    assert "Digikoppeling 2W-be:" in texts["2"] and "WS-Security" not in texts["2"]
