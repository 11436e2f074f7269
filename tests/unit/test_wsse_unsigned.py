"""Profile 2W-be: the connection says whose a message is, and everything else is judged as in a signed one."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from adapters import c14n, soap, wsse
from adapters.forwarding import Forwarding
from adapters.verify_policy import VerifyPolicy
from schemas.envelope import Envelope
from schemas.faults import Refused
from schemas.oin import Oin
from tests.support import signing as s
from tests.support.tampering import ACCEPTED, TAMPERED, WRONG, Change, replace

SIS = Oin("00000003272448360000")


def verify(raw: bytes, *, connected: Oin | None = SIS, **policy: object) -> Envelope:
    return s.verifier(VerifyPolicy(**policy)).verify(raw, at=s.NOW, connected=connected)  # type: ignore[arg-type]


def refused(raw: bytes, **how: object) -> Refused:
    with pytest.raises(Refused) as caught:
        verify(raw, **how)  # type: ignore[arg-type]
    return caught.value


def test_an_unsigned_message_is_that_of_whoever_is_connected() -> None:
    envelope = verify(s.unsigned(created=None))
    assert (envelope.certificate_oin, envelope.sender, envelope.receiver) == (SIS, s.SCHOOL, s.HUB)
    assert (envelope.signed, envelope.signature_value, envelope.certificate_sha256) == ((), "", "")
    assert (envelope.created, envelope.expires) == (s.NOW, None)


def test_where_nobody_vouches_for_the_connection_a_message_must_be_signed() -> None:
    assert refused(s.unsigned(), connected=None).code == "Client.EK0031"


def test_a_signed_message_is_verified_though_it_need_not_be_signed() -> None:
    envelope = verify(s.signed())
    assert envelope.certificate_oin == s.LAS
    assert "Body" in envelope.signed


@pytest.mark.parametrize("change", ACCEPTED.values(), ids=ACCEPTED)
def test_what_a_signed_message_may_vary_an_unsigned_one_may(change: Change) -> None:
    assert verify(change(s.unsigned())).signed == ()


@pytest.mark.parametrize(("change", "code", "where"), WRONG.values(), ids=WRONG)
def test_what_is_wrong_without_a_signature_has_the_code_and_place_it_has_with_one(change: Change, code: str, where: str) -> None:
    fault = refused(change(s.unsigned()))
    assert (fault.code, fault.where) == (code, where)


@pytest.mark.parametrize("name", [name for name in TAMPERED if name != "not signed"])
def test_a_signature_that_is_wrong_is_refused_though_none_was_needed(name: str) -> None:
    change, where = TAMPERED[name]
    fault = refused(change(s.fast()), limits=soap.Limits(size=8 << 20))
    assert (fault.code, fault.where) == ("Client.EK0031", where)


def test_a_timestamp_without_a_signature_is_judged_by_the_clock() -> None:
    assert verify(s.unsigned(created=s.NOW - timedelta(minutes=2))).expires == s.NOW + timedelta(minutes=3)
    assert "expired" in refused(s.unsigned(created=s.NOW - timedelta(hours=3))).reason
    assert "future" in refused(s.unsigned(created=s.NOW + timedelta(hours=3))).reason


def test_an_unsigned_message_for_another_receiver_or_too_large_is_refused() -> None:
    assert refused(s.unsigned(), own_oins=frozenset({SIS})).code == "Client.DK0002"
    assert refused(s.unsigned(), limits=soap.Limits(size=100)).code == "Client.TOO_LARGE"
    assert refused(b"<!DOCTYPE a [<!ENTITY b 'c'>]>" + s.unsigned()).code == "Client.NOT_XML"


BODY_ID = ' wsu:Id="kp-body"'


@pytest.mark.parametrize(
    "change",
    [
        lambda raw: raw,
        replace(BODY_ID, ""),
        replace(BODY_ID, ' wsu:Id="not a name"'),
        lambda raw: replace("<p:kenmerk>", '<p:kenmerk Id="kp-body">')(replace(BODY_ID, "")(raw)),
        lambda raw: replace("<p:kenmerk>", '<p:kenmerk Id="kp-to">')(replace(' wsu:Id="kp-to"', "")(raw)),
    ],
    ids=["with an Id", "without one", "with one that is no name", "ours is taken", "another of ours is taken"],
)
def test_an_unsigned_body_travels_on_in_an_envelope_of_ours_that_its_receiver_accepts(change: Change) -> None:
    raw = change(s.unsigned(created=None))
    envelope = verify(raw)
    forward = Forwarding(s.signer("hub", oin=s.HUB), soap.DEFAULT_LIMITS).forward
    now = datetime.now(UTC)
    sent = forward(
        raw,
        message_id=envelope.message_id,
        sender=envelope.sender,
        receiver=envelope.receiver,
        address=envelope.to,
        action=envelope.action,
        relates_to=None,
        created=now,
    )
    arrived = s.verifier().verify(sent, at=now)
    assert (arrived.certificate_oin, arrived.sender, arrived.to) == (s.HUB, s.SCHOOL, envelope.to)
    assert wsse.content_digest(arrived) == wsse.content_digest(envelope)
    assert c14n.exclusive(arrived.content) == c14n.exclusive(envelope.content)
