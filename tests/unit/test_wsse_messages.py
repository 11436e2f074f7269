"""Signed messages, genuine and bad: what is accepted, and with which code and place the rest is refused."""

from __future__ import annotations

import base64
import hashlib
import re
from datetime import timedelta

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding
from lxml import etree

from adapters import c14n, pki, second_opinion, signing, soap, wsse
from adapters.signature import Reference, SignatureBroken, check_digests
from adapters.signing import BodyPart
from adapters.trust import TrustStore
from adapters.verify_policy import VerifyPolicy
from schemas.faults import Fault, NotAllowed, OurFailure, Refused
from tests.support import signing as s
from tests.support.tampering import ACCEPTED, EXC, TAMPERED, WRAPPED, WRONG, Change, E, moved, replace, signed_all_the_same


def refused(raw: bytes, policy: VerifyPolicy | None = None) -> Fault:
    with pytest.raises(Fault) as caught:
        s.verifier(policy).verify(raw, at=s.NOW)
    return caught.value


def test_a_signed_message_is_accepted_and_says_who_what_and_which_parts_were_covered() -> None:
    raw = s.signed(relates_to=((soap.ORIGINAL, "urn:uuid:0f1a4c52-7f0b-4a7e-9d55-0d8f6a1c2b3e"),))
    envelope = s.verifier().verify(raw, at=s.NOW)
    assert (envelope.sender, envelope.receiver, envelope.certificate_oin) == (s.SCHOOL, s.HUB, s.LAS)
    assert envelope.action == s.ACTION
    assert envelope.relates_to == ((soap.ORIGINAL, "urn:uuid:0f1a4c52-7f0b-4a7e-9d55-0d8f6a1c2b3e"),)
    assert set(envelope.signed) == {"To", "Action", "MessageID", "From", "RelatesTo", "Timestamp", "Body", "BinarySecurityToken"}
    assert envelope.created == s.NOW
    assert envelope.expires == s.NOW + timedelta(minutes=5)
    assert envelope.content.tag == "{urn:example:proef:v1}melding"
    assert envelope.xml is raw


def test_a_message_built_without_parsing_is_accepted_and_keeps_the_digest_of_its_body() -> None:
    first = s.verifier().verify(s.signed(), at=s.NOW)
    part = BodyPart.of(first)
    again = s.signer("hub", oin=s.HUB).envelope(
        part, to=soap.address(s.SCHOOL), sender=soap.address(s.SCHOOL), action="urn:a&b", message_id=s.message_id(), created=s.NOW
    )
    second = s.verifier().verify(again, at=s.NOW)
    assert BodyPart.of(second).digest == part.digest
    assert wsse.content_digest(second) == wsse.content_digest(first)
    assert second.action == "urn:a&b"


def test_only_the_body_itself_and_without_a_prefix_list_is_told_in_canonical_form() -> None:
    body, header = soap.parse(b"<Body><a/></Body>"), soap.parse(b"<Body><b/></Body>")

    def reference(element: etree._Element, *prefixes: str) -> tuple[str, etree._Element, Reference]:
        digest = base64.b64encode(hashlib.sha256(c14n.exclusive(element, prefixes)).digest()).decode()
        return "Body", element, (prefixes, hashlib.sha256, digest)

    assert check_digests([reference(body), reference(header)], body) == b"<Body><a></a></Body>"
    assert check_digests([reference(body, "x"), reference(header)], body) == b""


def test_a_body_that_holds_our_own_ids_still_travels_on() -> None:
    content = f'<a xmlns="urn:a" xmlns:w="{soap.WSU}" w:Id="kp-to"/>'.encode()
    assert s.verifier().verify(s.fast(content=content), at=s.NOW).content.tag == "{urn:a}a"


def test_namespaces_used_only_in_values_survive_the_journey_of_a_body() -> None:
    raw = s.signed(change=lambda r: replace('xmlns:soapenv="', 'xmlns:q="urn:q" xmlns:soapenv="')(r).replace(b">A-1<", b' t="q:v">A-1<'))
    part = BodyPart.of(s.verifier().verify(raw, at=s.NOW))
    assert soap.parse(part.xml).nsmap["q"] == "urn:q"


@pytest.mark.parametrize("change", ACCEPTED.values(), ids=ACCEPTED.keys())
def test_a_variation_is_accepted_by_us_and_by_the_second_opinion(change: Change) -> None:
    raw = s.signed(change=change)
    envelope = s.verifier().verify(raw, at=None)  # at its own Created: one of them is stamped when it is signed
    assert envelope.canonical_content() == c14n.exclusive(envelope.content)
    assert envelope.receiver == s.HUB
    assert second_opinion.ask(raw).valid


@pytest.mark.parametrize(("change", "code", "where"), WRONG.values(), ids=WRONG.keys())
def test_a_wrong_envelope_is_refused_with_its_own_code_and_place(change: Change, code: str, where: str) -> None:
    fault = refused(signed_all_the_same(change))
    assert (fault.code, fault.where) == (code, where)


@pytest.mark.parametrize(("change", "where"), TAMPERED.values(), ids=TAMPERED.keys())
def test_a_message_changed_after_signing_is_refused_and_names_the_part(change: Change, where: str) -> None:
    raw = change(s.fast())
    policy = VerifyPolicy(limits=soap.Limits(size=8 << 20))
    fault = refused(raw, policy)
    assert (fault.code, fault.where) == (E, where)
    if isinstance(fault, SignatureBroken):
        assert not second_opinion.ask(raw).valid


@pytest.mark.parametrize(("name", "tag", "other"), [(name, *value) for name, value in WRAPPED.items()], ids=WRAPPED.keys())
def test_a_signed_part_that_was_moved_does_not_vouch_for_what_stands_in_its_place(name: str, tag: str, other: str) -> None:
    raw = moved(tag, other)(s.signed())
    fault = refused(raw)
    assert fault.code == E
    assert name in str(fault.where)


def test_the_same_id_on_the_moved_and_the_new_part_is_refused() -> None:
    fault = refused(moved("soapenv:Body", f'<soapenv:Body xmlns:wsu="{soap.WSU}" wsu:Id="kp-body"><a/></soapenv:Body>')(s.signed()))
    assert fault.where == "Envelope"


ENVELOPED = b'<ds:Transform Algorithm="http://www.w3.org/2000/09/xmldsig#enveloped-signature"/>'


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (replace('soapenv:Body wsu:Id="kp-body"', 'soapenv:Body Id="kp-body"'), "Body has an Id that is not a wsu:Id"),
        (lambda raw: raw.replace(b"<ds:Transforms>", b"<ds:Transforms>" + ENVELOPED), "leave out enveloped-signature"),
        (s.without("wsse:BinarySecurityToken"), "send the certificate along in one"),
    ],
    ids=["Id", "enveloped-signature", "issuer and serial number"],
)
def test_what_toolkits_do_by_default_is_refused_in_words_that_say_what_to_set(change: Change, told: str) -> None:
    assert told in refused(change(s.signed())).reason


# ---------------------------------------------------------------- variations that need their own signature


def rebuild(
    *,
    prefix_list: str | None = None,
    method_list: str | None = None,
    digest: str = "sha256",
    token: bool = True,
    tokens_first: bool = True,
    spaces: bool = False,
    ds: str = "ds:",
    only_once: bool = False,
) -> bytes:
    """A message signed by hand, with the canonicaliser of our own (tested against lxml elsewhere) and any PrefixList."""
    raw = s.unsigned().replace(b"<soapenv:Envelope ", b'<soapenv:Envelope xmlns="urn:default" xmlns:duo="urn:duo" ', 1)
    files = s.party()
    key, certificate = pki.read_key(files.key), pki.read_certificate(files.certificate)
    root = soap.parse(raw)
    security = root[0].find(f"{{{soap.WSSE}}}Security")
    assert security is not None
    bst = base64.b64encode(certificate.public_bytes(pki.serialization.Encoding.DER)).decode()
    bst = "\n".join(re.findall(".{1,64}", bst)) if spaces else bst
    security.insert(
        0 if tokens_first else 1,
        soap.parse(
            f'<wsse:BinarySecurityToken xmlns:wsse="{soap.WSSE}" xmlns:wsu="{soap.WSU}" wsu:Id="tok" ValueType="{soap.X509V3}"'
            f' EncodingType="{soap.BASE64}">{bst}</wsse:BinarySecurityToken>'.encode()
        ),
    )
    uris = {
        "sha256": ("http://www.w3.org/2001/04/xmlenc#sha256", soap.RSA_SHA256, hashes.SHA256()),
        "sha384": ("http://www.w3.org/2001/04/xmldsig-more#sha384", "http://www.w3.org/2001/04/xmldsig-more#rsa-sha384", hashes.SHA384()),
        "sha512": ("http://www.w3.org/2001/04/xmlenc#sha512", "http://www.w3.org/2001/04/xmldsig-more#rsa-sha512", hashes.SHA512()),
    }
    digest_uri, method_uri, algorithm = uris[digest]

    def inclusive(listed: str | None) -> str:
        return "" if listed is None else f'<ec:InclusiveNamespaces xmlns:ec="{EXC}" PrefixList="{listed}"/>'

    def split(listed: str | None) -> tuple[str, ...]:
        return tuple((listed or "").split())

    gap = "\n  " if spaces else ""
    parts = [
        (e, e.get(f"{{{soap.WSU}}}Id"))
        for e in root.iter()
        if e.get(f"{{{soap.WSU}}}Id") and (token or e.get(f"{{{soap.WSU}}}Id") != "tok")
    ]
    references = ""
    for number, (element, identifier) in enumerate(parts):
        listed = prefix_list if number == 0 or not only_once else None
        value = base64.b64encode(hashlib.new(digest, c14n.exclusive(element, split(listed))).digest()).decode()
        value = "\n".join(re.findall(".{1,60}", value)) if spaces else value
        references += (
            f'{gap}<{ds}Reference URI="#{identifier}">{gap}<{ds}Transforms>{gap}<{ds}Transform Algorithm="{EXC}">{inclusive(listed)}'
            f'</{ds}Transform>{gap}</{ds}Transforms>{gap}<{ds}DigestMethod Algorithm="{digest_uri}"/>{gap}'
            f"<{ds}DigestValue>{value}</{ds}DigestValue>{gap}</{ds}Reference>"
        )
    xmlns = f'xmlns:{ds[:-1]}="{soap.DS}"' if ds else f'xmlns="{soap.DS}"'
    signature = soap.parse(
        f'<{ds}Signature {xmlns}>{gap}<{ds}SignedInfo>{gap}<{ds}CanonicalizationMethod Algorithm="{EXC}">{inclusive(method_list)}'
        f'</{ds}CanonicalizationMethod>{gap}<{ds}SignatureMethod Algorithm="{method_uri}"/>{references}{gap}</{ds}SignedInfo>{gap}'
        f'<{ds}SignatureValue/>{gap}<{ds}KeyInfo><wsse:SecurityTokenReference xmlns:wsse="{soap.WSSE}"><wsse:Reference URI="#tok"/>'
        f"</wsse:SecurityTokenReference></{ds}KeyInfo></{ds}Signature>".encode()
    )
    security.insert(1, signature)
    root = soap.parse(etree.tostring(root))
    signature = next(root.iter(f"{{{soap.DS}}}Signature"))
    value = key.sign(c14n.exclusive(signature[0], split(method_list)), padding.PKCS1v15(), algorithm)
    signature[1].text = base64.b64encode(value).decode()
    return etree.tostring(root)


LISTS = [
    None,
    "",
    "duo",
    "duo soapenv wsa",
    " duo\n soapenv ",
    "absent",
    "#default",
    "#default duo soapenv",
    "duo #default",
    "wsse  wsa duo\tsoapenv",
]


@pytest.mark.parametrize("listed", LISTS)
@pytest.mark.parametrize("where", ["transforms", "method", "both"])
def test_a_prefix_list_in_every_form_is_honoured(listed: str | None, where: str) -> None:
    listed_in = {"prefix_list": listed if where != "method" else None, "method_list": listed if where != "transforms" else None}
    raw = rebuild(**listed_in)
    assert "Body" in s.verifier().verify(raw, at=s.NOW).signed
    opinion = second_opinion.ask(raw)
    assert opinion.valid or opinion.known_limit
    assert isinstance(refused(raw.replace(b"A-1", b"A-2")), SignatureBroken)
    if listed is not None:
        assert "parameters" in refused(raw, VerifyPolicy(prefix_lists=False)).reason


@pytest.mark.parametrize("listed", ["duo", "#default", "#default duo"])
def test_a_prefix_list_that_was_not_signed_with_changes_the_digest(listed: str) -> None:
    """Otherwise the tests above would pass for a verifier that ignores PrefixLists."""
    raw = rebuild(prefix_list=listed)
    other = raw.replace(f'PrefixList="{listed}"'.encode(), b'PrefixList="absent"')
    assert isinstance(refused(other), SignatureBroken)


@pytest.mark.parametrize(
    "variation",
    [
        {"digest": "sha384"},
        {"digest": "sha512"},
        {"digest": "sha512", "spaces": True},
        {"token": False},
        {"tokens_first": False},
        {"spaces": True},
        {"ds": ""},
        {"ds": "x:"},
        {"ds": "", "spaces": True, "prefix_list": "duo"},
        {"prefix_list": "duo", "only_once": True},
    ],
    ids=str,
)
def test_what_toolkits_do_differently_is_accepted(variation: dict[str, object]) -> None:
    raw = rebuild(**variation)  # type: ignore[arg-type]
    envelope = s.verifier().verify(raw, at=s.NOW)
    assert {"Body", "Timestamp", "To", "From", "Action", "MessageID"} <= set(envelope.signed)
    assert second_opinion.ask(raw).valid
    assert isinstance(refused(raw.replace(b"A-1", b"A-2")), SignatureBroken)


def test_settings_can_be_stricter() -> None:
    unsigned_token = rebuild(token=False)
    assert refused(unsigned_token, VerifyPolicy(token_must_be_signed=True)).where == "BinarySecurityToken"
    assert refused(s.signed(), VerifyPolicy(must_understand=True)).where == "Security"
    assert refused(s.signed(), VerifyPolicy(message_id_forms=("uuid:",))).code == "Client.EK0023"
    assert refused(s.signed(), VerifyPolicy(max_lifetime=timedelta(minutes=1))).where == "Timestamp"
    assert refused(rebuild(digest="sha512"), VerifyPolicy(digest_methods=(soap.SHA256,))).where == "DigestMethod"
    assert refused(rebuild(digest="sha512"), VerifyPolicy(signature_methods=(soap.RSA_SHA256,))).where == "SignatureMethod"


# ---------------------------------------------------------------- time, receiver, sender


def token_of(raw: bytes) -> bytes:
    """The certificate in a message."""
    token = soap.parse(raw).find(f".//{{{soap.WSSE}}}BinarySecurityToken")
    assert token is not None
    return base64.b64decode(token.text or "")


def test_the_timestamp_window_has_a_skew_on_both_sides() -> None:
    raw, minute = s.signed(), timedelta(minutes=1)
    verifier = s.verifier()
    for at in (s.NOW - 5 * minute, s.NOW, s.NOW + 10 * minute):
        assert verifier.verify(raw, at=at).created == s.NOW
    for at in (s.NOW - 6 * minute, s.NOW + 11 * minute):
        with pytest.raises(Refused, match="Timestamp"):
            verifier.verify(raw, at=at)
    assert verifier.verify(raw, at=None).created == s.NOW


@pytest.mark.parametrize("created", ["9999-12-31T23:59:59Z", "0001-01-01T00:00:00Z"])
def test_the_last_and_the_first_second_of_the_calendar_are_judged_like_any_other(created: str, monkeypatch: pytest.MonkeyPatch) -> None:
    stamp = f"<wsu:Created>{created}</wsu:Created>".encode()
    raw = s.signed(change=lambda r: re.sub(rb"<wsu:Created>.*?</wsu:Expires>", stamp, r))
    trusted = s.trust().check(token_of(raw), at=s.NOW)
    monkeypatch.setattr(TrustStore, "check", lambda *_, **__: trusted)  # as if the certificate never expired
    assert s.verifier().verify(raw, at=None).created.year in (1, 9999)
    with pytest.raises(Refused, match="Timestamp"):
        s.verifier().verify(raw, at=s.NOW)


def test_a_message_without_expires_ages() -> None:
    raw = s.signed(change=lambda r: re.sub(rb"<wsu:Expires>.*?</wsu:Expires>", b"", r))
    assert s.verifier().verify(raw, at=s.NOW + timedelta(minutes=15)).expires is None
    with pytest.raises(Refused, match="too old"):
        s.verifier().verify(raw, at=s.NOW + timedelta(minutes=16))


def test_over_amqp_a_message_may_be_months_old_but_not_from_the_future() -> None:
    patient = s.verifier(VerifyPolicy(any_age=timedelta(days=400)))
    raw = s.signed(created=s.NOW - timedelta(days=300))
    assert patient.verify(raw, at=s.NOW).expires == s.NOW - timedelta(days=300) + timedelta(minutes=5)
    with pytest.raises(Refused):
        s.verifier().verify(raw, at=s.NOW)
    with pytest.raises(Refused, match="older"):
        patient.verify(s.signed(created=s.NOW - timedelta(days=401)), at=s.NOW)
    with pytest.raises(Refused, match="future"):
        patient.verify(s.signed(created=s.NOW + timedelta(minutes=6)), at=s.NOW)


def test_a_message_for_somebody_we_do_not_serve_is_not_allowed() -> None:
    ours = VerifyPolicy(own_oins=frozenset({s.HUB, "0000000700011BB00000"}))
    s.verifier(ours).verify(s.signed(), at=s.NOW)
    s.verifier(ours).verify(s.signed(receiver="0000000700011BB00001"), at=s.NOW)  # a routeringskenmerk of a school we serve
    with pytest.raises(NotAllowed) as caught:
        s.verifier(ours).verify(s.signed(receiver=s.SCHOOL), at=s.NOW)
    assert (caught.value.code, caught.value.where) == ("Client.DK0002", "To")


def test_who_may_sign_for_whom_without_a_register() -> None:
    envelope = s.verifier().verify(s.signed(), at=s.NOW)
    with pytest.raises(NotAllowed) as caught:
        wsse.check_from(envelope)
    assert (caught.value.code, caught.value.where) == ("Client.DK0002", "From")
    with pytest.raises(NotAllowed):
        wsse.check_from(envelope, mandates={(s.LAS, s.SCHOOL)})
    wsse.check_from(envelope, mandates={(s.SCHOOL, s.LAS)})
    wsse.check_from(envelope, pinned={envelope.certificate_sha256})
    wsse.check_from(s.verifier().verify(s.signed(sender=s.LAS), at=s.NOW))


@pytest.mark.parametrize(
    ("by", "code"),
    [
        ({"name": "expired", "days": -5}, E),
        ({"name": "revoked", "revoked": True}, E),
    ],
    ids=["expired", "revoked"],
)
def test_a_certificate_that_is_no_longer_good_is_not_allowed(by: dict[str, object], code: str) -> None:
    raw = s.signed(by=s.signer(**by))  # type: ignore[arg-type]
    with pytest.raises(NotAllowed) as caught:
        wsse.Verifier(s.trust_with_crls()).verify(raw, at=s.NOW)
    assert (caught.value.code, caught.value.where) == (code, "BinarySecurityToken")


def test_a_foreign_certificate_is_not_allowed() -> None:
    with pytest.raises(NotAllowed, match="not issued by a CA that we trust"):
        wsse.Verifier(TrustStore([])).verify(s.signed(), at=s.NOW)


def test_an_expired_crl_is_our_failure_and_not_the_senders() -> None:
    raw = s.signed(created=s.NOW + timedelta(days=8))
    with pytest.raises(OurFailure) as caught:
        wsse.Verifier(s.trust_with_crls()).verify(raw, at=s.NOW + timedelta(days=8))
    assert caught.value.code == "Server.DK0051"


def test_signing_refuses_what_a_receiver_would_refuse_and_what_is_signed_already() -> None:
    for change, code in ((s.without("wsa:To"), "Client.DK0005"), (s.without("wsa:From"), "Client.EK0020")):
        with pytest.raises(Refused) as caught:
            s.signer().sign(change(s.unsigned()))
        assert caught.value.code == code
    with pytest.raises(Refused, match="signed already"):
        s.signer().sign(s.signed())


def test_a_signer_shows_no_key_and_takes_no_key_of_somebody_else() -> None:
    assert repr(s.signer()) == "Signer(...)"
    with pytest.raises(ValueError, match="does not belong"):
        signing.Signer(pki.read_key(s.party("a").key), pki.read_certificate(s.party("b").certificate))
