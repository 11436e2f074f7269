"""A dienst without signatures (2W-be, WB011): what is pushed has none, and an answer needs none, but must be an answer."""

from __future__ import annotations

from datetime import UTC, datetime

from adapters import reply, soap
from adapters.forwarding import Forwarding
from routing.outcome import Asked, Trust, judge
from schemas.oin import Oin
from tests.support import signing as s

MUNICIPALITY, SYSTEM = Oin("00000001001234560000"), Oin("00000003272448370000")
ASKED = s.message_id()


def answer(*, relates_to: str = ASKED, sender: str = MUNICIPALITY) -> bytes:
    return soap.unsigned_envelope(
        content=b'<ok xmlns="urn:x"/>',
        to=soap.address(s.SCHOOL),
        sender=soap.address(sender),
        action=s.ACTION,
        message_id=s.message_id(),
        relates_to=((soap.REPLY, relates_to),),
    )


def heard(raw: bytes, *, signed: bool = False, server: Oin | None = SYSTEM):
    return reply.read(
        raw,
        status=200,
        content_type="text/xml; charset=utf-8",
        asked=Asked(message_id=ASKED, receiver=MUNICIPALITY, system=SYSTEM, signed=signed),
        signature_value=None,
        judge=s.verifier(),
        at=datetime.now(UTC),
        server=server,
    )


def test_an_unsigned_answer_of_a_server_with_another_or_no_certificate_is_not_believed():
    assert heard(answer(), server=Oin(s.LAS)).trust is not Trust.GOOD
    assert heard(answer(), server=None).trust is not Trust.GOOD


def test_an_unsigned_answer_to_the_message_is_enough():
    assert heard(answer()).trust is Trust.GOOD
    assert judge(heard(answer()), ours=True).state == "acknowledged"


def test_the_same_answer_is_not_enough_where_the_dienst_has_signatures():
    assert judge(heard(answer(), signed=True), ours=True).state == "uncertain"


def test_an_unsigned_answer_to_another_message_or_of_another_party_is_not_believed():
    for raw in (answer(relates_to=s.message_id()), answer(sender=s.SCHOOL)):
        assert judge(heard(raw), ours=True).state == "uncertain"


def test_a_signature_that_is_there_must_be_right():
    broken = s.signed(by=s.signer("civic", oin=SYSTEM), sender=MUNICIPALITY, relates_to=((soap.REPLY, ASKED),)).replace(b"A-1", b"A-2")
    assert heard(broken).trust is Trust.BROKEN


def test_what_is_sent_has_no_signature_and_reads_as_a_good_message():
    original = s.signed(receiver=MUNICIPALITY)
    forwarding = Forwarding(s.signer("hub", oin=s.HUB), soap.Limits())
    message_id = s.message_id()
    sent = forwarding.forward(
        original,
        message_id=message_id,
        sender=s.SCHOOL,
        receiver=MUNICIPALITY,
        address=None,
        action=s.ACTION,
        relates_to=None,
        created=datetime.now(UTC),
        signed=False,
    )
    assert b"Security" not in sent
    envelope = s.verifier().verify(sent, at=datetime.now(UTC), connected=Oin(s.HUB))
    assert (envelope.message_id, envelope.sender, envelope.receiver) == (message_id, s.SCHOOL, MUNICIPALITY)
    assert envelope.content.findtext("{*}kenmerk") == "A-1"
