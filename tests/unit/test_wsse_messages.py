"""Signed messages, genuine and bad: what is accepted, and with which code and place the rest is refused."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Callable
from datetime import timedelta

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding
from lxml import etree

from adapters import c14n, pki, second_opinion, soap, wsse
from adapters.trust import TrustStore
from adapters.wsse import BodyPart, SignatureBroken, VerifyPolicy
from schemas.faults import Fault, NotAllowed, OurFailure, Refused
from tests.support import signing as s

Change = Callable[[bytes], bytes]


def replace(old: str, new: str) -> Change:
    def change(raw: bytes) -> bytes:
        assert old.encode() in raw, old
        return raw.replace(old.encode(), new.encode(), 1)

    return change


def header(xml: str) -> Change:
    """Put a header in front of the others."""
    return replace("<soapenv:Header>", f"<soapenv:Header>{xml}")


def refused(raw: bytes, policy: VerifyPolicy | None = None) -> Fault:
    with pytest.raises(Fault) as caught:
        s.verifier(policy).verify(raw, at=s.NOW)
    return caught.value


W = f'xmlns:wsa="{soap.WSA}"'
ANY = '<x:h xmlns:x="urn:x"{}>ignored</x:h>'


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


def test_a_body_that_holds_our_own_ids_still_travels_on() -> None:
    content = f'<a xmlns="urn:a" xmlns:w="{soap.WSU}" w:Id="kp-to"/>'.encode()
    assert s.verifier().verify(s.fast(content=content), at=s.NOW).content.tag == "{urn:a}a"


def test_namespaces_used_only_in_values_survive_the_journey_of_a_body() -> None:
    raw = s.signed(change=lambda r: replace('xmlns:soapenv="', 'xmlns:q="urn:q" xmlns:soapenv="')(r).replace(b">A-1<", b' t="q:v">A-1<'))
    part = BodyPart.of(s.verifier().verify(raw, at=s.NOW))
    assert soap.parse(part.xml).nsmap["q"] == "urn:q"


ACCEPTED: dict[str, Change] = {
    "an unknown header": header(ANY.format("")),
    "an unknown header with mustUnderstand 0": header(ANY.format(' soapenv:mustUnderstand="0"')),
    "an unknown header for another actor": header(ANY.format(' soapenv:mustUnderstand="1" soapenv:actor="urn:other"')),
    "a Security header for another actor": header(f'<e:Security xmlns:e="{soap.WSSE}" soapenv:actor="urn:other"/>'),
    "mustUnderstand on an addressing header": replace('wsu:Id="kp-to"', 'wsu:Id="kp-to" soapenv:mustUnderstand="1"'),
    "Metadata in From": replace("</wsa:Address>", "</wsa:Address><wsa:Metadata><x xmlns='urn:x'/></wsa:Metadata>"),
    "ReferenceParameters in From": replace(
        "</wsa:Address>", "</wsa:Address><wsa:ReferenceParameters><x xmlns='urn:x'/></wsa:ReferenceParameters>"
    ),
    "an anonymous ReplyTo": header(f"<wsa:ReplyTo {W}><wsa:Address>{soap.ANONYMOUS}</wsa:Address></wsa:ReplyTo>"),
    "a FaultTo that is none": header(f"<wsa:FaultTo {W}><wsa:Address>{soap.NONE}</wsa:Address></wsa:FaultTo>"),
    "a comment inside a header": replace("https://koppelpunt", "https://kop<!-- x -->pelpunt"),
    "capitals in the parameter name": replace("?oin=", "?OIN="),
    "another parameter": replace("?oin=", "?a=b&amp;oin="),
    "MessageID as uuid:": replace("urn:uuid:", "uuid:"),
    "a bare MessageID": replace("urn:uuid:", ""),
    "no Expires": lambda raw: re.sub(rb"<wsu:Expires>.*?</wsu:Expires>", b"", raw),
    "no Timestamp before signing": s.without("wsu:Timestamp"),
    "an XML declaration and a byte order mark": lambda raw: b'\xef\xbb\xbf<?xml version="1.0" encoding="utf-8"?>' + raw,
    "an Id attribute of business content that is not unique": replace(
        "<p:kenmerk>A-1", '<p:a x:Id="1" xmlns:x="urn:x"/><p:b x:Id="1" xmlns:x="urn:x"/><p:kenmerk>A-1'
    ),
}


@pytest.mark.parametrize("change", ACCEPTED.values(), ids=ACCEPTED.keys())
def test_a_variation_is_accepted_by_us_and_by_the_second_opinion(change: Change) -> None:
    raw = s.signed(change=change)
    envelope = s.verifier().verify(raw, at=None)  # at its own Created: one of them is stamped when it is signed
    assert envelope.receiver == s.HUB
    assert second_opinion.ask(raw).valid


#: Wrong before it was signed; the signature itself is right.
WRONG: dict[str, tuple[Change, str, str]] = {
    "SOAP 1.2": (lambda r: r.replace(soap.SOAP.encode(), soap.SOAP12.encode()), "VersionMismatch.DK0001", "Envelope"),
    "another root": (lambda _: b"<a/>", "VersionMismatch.DK0001", "Envelope"),
    "no Header": (s.without("soapenv:Header"), "Client.DK0005", "Header"),
    "no Body": (s.without("soapenv:Body"), "VersionMismatch.DK0001", "Envelope"),
    "To missing": (s.without("wsa:To"), "Client.DK0005", "To"),
    "Action missing": (s.without("wsa:Action"), "Client.DK0006", "Action"),
    "MessageID missing": (s.without("wsa:MessageID"), "Client.DK0007", "MessageID"),
    "From missing": (s.without("wsa:From"), "Client.EK0020", "From"),
    "From without OIN": (replace("anonymous?oin=", "anonymous?x="), "Client.EK0021", "From"),
    "From with a short OIN": (replace(f"anonymous?oin={s.SCHOOL}", "anonymous?oin=123"), "Client.EK0021", "From"),
    "From without Address": (lambda r: re.sub(rb"<wsa:Address>.*?</wsa:Address>", b"", r), "Client.EK0021", "From"),
    "To without OIN": (replace("v1?oin=", "v1?x="), "Client.EK0022", "To"),
    "To that is no URI": (replace("https://koppelpunt", "//koppelpunt"), "Client.EK0022", "To"),
    "two oin parameters in To": (replace("v1?oin=", f"v1?oin={s.LAS}&amp;oin="), "Client.DK0011", "To"),
    "a second oin in disguise": (replace("v1?oin=", f"v1?%6fIN={s.LAS}&amp;oin="), "Client.DK0011", "To"),
    "another oin where a reader may look for the text oin= alone": (replace("v1?oin=", f"v1?coin={s.LAS}&amp;oin="), "Client.DK0011", "To"),
    "another oin in the path": (replace("/v1?oin=", f"/oin={s.LAS}/v1?oin="), "Client.DK0011", "To"),
    "another oin in the fragment": (replace("/v1?oin=" + s.HUB, f"/v1?oin={s.HUB}#OIN={s.LAS}"), "Client.DK0011", "To"),
    "another oin, escaped, in a value": (replace("anonymous?oin=", f"anonymous?x=%26oin%3D{s.LAS}&amp;oin="), "Client.DK0011", "From"),
    "two oin parameters in From": (replace("anonymous?oin=", f"anonymous?oin={s.LAS}&amp;oin="), "Client.DK0011", "From"),
    "MessageID without UUID": (lambda r: re.sub(rb"urn:uuid:[^<]*", b"urn:x:1", r, count=1), "Client.EK0023", "MessageID"),
    "a relative Action": (replace(s.ACTION, "melding"), "Client.DK0011", "Action"),
    "To twice": (header(f"<wsa:To {W}>https://x/?oin={s.HUB}</wsa:To>"), "Client.DK0011", "To"),
    "an unknown WS-Addressing header": (header(f"<wsa:Priority {W}>1</wsa:Priority>"), "Client.DK0011", "Priority"),
    "WS-Addressing of 2004": (
        lambda r: r.replace(soap.WSA.encode(), b"http://schemas.xmlsoap.org/ws/2004/08/addressing"),
        "Client.DK0011",
        "To",
    ),
    "ReplyTo elsewhere": (header(f"<wsa:ReplyTo {W}><wsa:Address>https://evil/</wsa:Address></wsa:ReplyTo>"), "Client.DK0011", "ReplyTo"),
    "an element inside To": (replace("https://koppelpunt", "<x/>https://koppelpunt"), "Client.DK0011", "To"),
    "two Addresses in From": (replace("</wsa:Address>", "</wsa:Address><wsa:Address>urn:x</wsa:Address>"), "Client.DK0011", "From"),
    "Metadata that must be understood": (
        replace("</wsa:Address>", '</wsa:Address><wsa:Metadata soapenv:mustUnderstand="1"/>'),
        "Client.DK0011",
        "From",
    ),
    "an addressing header for another actor": (replace('wsu:Id="kp-to"', 'wsu:Id="kp-to" soapenv:actor="urn:x"'), "Client.DK0011", "To"),
    "a header that must be understood": (header(ANY.format(' soapenv:mustUnderstand="1"')), "Client.DK0010", "h"),
    "a second Security header": (
        replace("</soapenv:Header>", f'<e:Security xmlns:e="{soap.WSSE}"/></soapenv:Header>'),
        "Client.EK0031",
        "Security",
    ),
    "two elements in the Body": (replace("<p:melding", '<p:a xmlns:p="urn:p"/><p:melding'), "Client.DK0004", "Body"),
    "an empty Body": (lambda r: r.replace(s.CONTENT, b""), "Client.DK0004", "Body"),
    "two equal Ids": (replace("<p:kenmerk>", f'<p:kenmerk w:Id="kp-to" xmlns:w="{soap.WSU}">'), "Client.EK0031", "Envelope"),
    "two equal Ids, one in disguise": (
        replace("<p:kenmerk>", f'<p:kenmerk w:Id="kp&#45;to" xmlns:w="{soap.WSU}">'),
        "Client.EK0031",
        "Envelope",
    ),
    "Created without zone": (lambda r: re.sub(rb"Z</wsu:Created>", b"</wsu:Created>", r), "Client.EK0031", "Timestamp"),
    "Created on a day that is none": (
        lambda r: re.sub(rb"<wsu:Created>....-..-..", b"<wsu:Created>2026-02-31", r),
        "Client.EK0031",
        "Timestamp",
    ),
    "Expires before Created": (lambda r: re.sub(rb"<wsu:Expires>....", b"<wsu:Expires>2001", r), "Client.EK0031", "Timestamp"),
    "Expires twice": (lambda r: re.sub(rb"(<wsu:Expires>.*?</wsu:Expires>)", rb"\1\1", r), "Client.EK0031", "Timestamp"),
}


@pytest.mark.parametrize(("change", "code", "where"), WRONG.values(), ids=WRONG.keys())
def test_a_wrong_envelope_is_refused_with_its_own_code_and_place(change: Change, code: str, where: str) -> None:
    raw = s.unsigned()
    try:
        raw = s.signer().sign(change(raw), strict=False)
    except Refused:
        raw = change(raw)  # there is nothing to sign
    fault = refused(raw)
    assert (fault.code, fault.where) == (code, where)


#: Wrong after it was signed: what an attacker, or a bad toolkit, does.
E = "Client.EK0031"
EXC = soap.EXC_C14N
TAMPERED: dict[str, tuple[Change, str]] = {
    "Body changed": (replace("A-1", "A-2"), "Body"),
    "To changed": (replace("proef/v1?", "proef/v2?"), "To"),
    "From changed": (replace(s.SCHOOL, "0000000700025MB00000"), "From"),
    "Action changed": (replace(s.ACTION + "<", s.ACTION + "X<"), "Action"),
    "Timestamp changed": (lambda r: re.sub(rb"<wsu:Created>....", b"<wsu:Created>2020", r), "Timestamp"),
    "not signed": (s.without("wsse:Security"), "Security"),
    "Signature left out": (s.without("ds:Signature"), "Signature"),
    "token left out": (s.without("wsse:BinarySecurityToken"), "BinarySecurityToken"),
    "Timestamp left out": (s.without("wsu:Timestamp"), "Timestamp"),
    "a second Signature": (lambda r: re.sub(rb"(<ds:Signature .*?</ds:Signature>)", rb"\1\1", r, flags=re.DOTALL), "Signature"),
    "a second token": (lambda r: re.sub(rb"(<wsse:BinarySecurityToken .*?Token>)", rb"\1\1", r), "BinarySecurityToken"),
    "a second Timestamp": (lambda r: re.sub(rb"(<wsu:Timestamp .*?Timestamp>)", rb"\1\1", r), "Timestamp"),
    "To added": (header(f"<wsa:ReplyTo {W}><wsa:Address>{soap.NONE}</wsa:Address></wsa:ReplyTo>"), "ReplyTo"),
    "Body without Id": (replace(' wsu:Id="kp-body"', ""), "Body"),
    "RelatesTo added": (header(f"<wsa:RelatesTo {W}>urn:x</wsa:RelatesTo>"), "RelatesTo"),
    "reference left out": (lambda r: re.sub(rb'<ds:Reference URI="#kp-action">.*?</ds:Reference>', b"", r), "Action"),
    "reference dangling": (replace('URI="#kp-bst"><ds', 'URI="#nowhere"><ds'), "Reference"),
    "reference empty": (replace('URI="#kp-bst"><ds', 'URI=""><ds'), "Reference"),
    "reference external": (replace('URI="#kp-bst"><ds', 'URI="https://x/"><ds'), "Reference"),
    "reference twice": (replace('URI="#kp-bst"><ds', 'URI="#kp-to"><ds'), "Reference"),
    "RSA-SHA1": (replace("2001/04/xmldsig-more#rsa-sha256", "2000/09/xmldsig#rsa-sha1"), "SignatureMethod"),
    "HMAC": (replace("2001/04/xmldsig-more#rsa-sha256", "2001/04/xmldsig-more#hmac-sha256"), "SignatureMethod"),
    "SHA-1 digest": (replace("2001/04/xmlenc#sha256", "2000/09/xmldsig#sha1"), "DigestMethod"),
    "SHA-224 digest": (replace("2001/04/xmlenc#sha256", "2001/04/xmldsig-more#sha224"), "DigestMethod"),
    "XSLT transform": (
        replace(f'<ds:Transform Algorithm="{EXC}"', '<ds:Transform Algorithm="http://www.w3.org/TR/1999/REC-xslt-19991116"'),
        "Transform",
    ),
    "with comments": (replace(f'<ds:Transform Algorithm="{EXC}"', f'<ds:Transform Algorithm="{EXC}WithComments"'), "Transform"),
    "inclusive C14N": (
        replace(f'Method Algorithm="{EXC}"', 'Method Algorithm="http://www.w3.org/TR/2001/REC-xml-c14n-20010315"'),
        "CanonicalizationMethod",
    ),
    "two transforms": (lambda r: re.sub(rb"(<ds:Transform .*?</ds:Transform>)", rb"\1\1", r, count=1), "Reference"),
    "something that is no Transform": (
        lambda r: re.sub(rb"<ds:Transform (.*?)</ds:Transform>", rb"<ds:Other \1</ds:Other>", r, count=1),
        "Transform",
    ),
    "an element inside the token": (lambda r: re.sub(rb'(wsu:Id="kp-bst">)', rb"\1<x/>", r), "BinarySecurityToken"),
    "no transform": (lambda r: re.sub(rb"<ds:Transform .*?</ds:Transform>", b"", r, count=1), "Reference"),
    "a parameter of a digest": (replace("</ds:DigestMethod>", "<x/></ds:DigestMethod>"), "DigestMethod"),
    "key by issuer and serial": (
        lambda r: re.sub(rb"<wsse:SecurityTokenReference .*?</wsse:SecurityTokenReference>", b"<ds:X509Data/>", r),
        "KeyInfo",
    ),
    "key reference to another part": (lambda r: re.sub(rb'(<wsse:Reference URI=")#kp-bst', rb"\1#kp-to", r), "KeyInfo"),
    "key reference external": (lambda r: re.sub(rb'(<wsse:Reference URI=")#kp-bst', rb"\1https://x/", r), "KeyInfo"),
    "token of another type": (replace("#X509v3", "#X509PKIPathv1"), "BinarySecurityToken"),
    "token in another encoding": (replace("#Base64Binary", "#HexBinary"), "BinarySecurityToken"),
    "token that is no base64": (lambda r: re.sub(rb'(wsu:Id="kp-bst">)....', rb"\1!!!!", r), "BinarySecurityToken"),
    "token that is no certificate": (lambda r: re.sub(rb'(wsu:Id="kp-bst">)[^<]*', rb"\1QUJD", r), "BinarySecurityToken"),
    "signature value changed": (lambda r: re.sub(rb"(<ds:SignatureValue>)....", rb"\1AAAA", r), "SignatureValue"),
    "signature value that is no base64": (lambda r: re.sub(rb"(<ds:SignatureValue>)....", rb"\1!!!!", r), "SignatureValue"),
    "an Object in the Signature": (replace("</ds:Signature>", "<ds:Object/></ds:Signature>"), "Signature"),
    "something else in Security": (replace("<wsu:Timestamp", "<x/><wsu:Timestamp"), "x"),
    "a SignatureConfirmation that is not signed": (
        replace("<wsu:Timestamp", f'<c:SignatureConfirmation xmlns:c="{soap.WSSE11}" Value="QQ=="/><wsu:Timestamp'),
        "SignatureConfirmation",
    ),
    "10,000 references": (lambda r: re.sub(rb"(<ds:Reference .*?</ds:Reference>)", lambda m: m[0] * 10_000, r, count=1), "SignedInfo"),
    "an Id that is another's in disguise": (replace("<p:kenmerk>", f'<p:kenmerk w:Id="kp&#45;to" xmlns:w="{soap.WSU}">'), "Envelope"),
    "an Id that is another's with other quotes": (replace("<p:kenmerk>", "<p:kenmerk Id = 'kp-to'>"), "Envelope"),
    "no references": (lambda r: re.sub(rb"<ds:Reference .*</ds:Reference>", b"", r), "SignedInfo"),
    "a PrefixList without end": (
        replace("</ds:Transform>", f'<e:InclusiveNamespaces xmlns:e="{EXC}" PrefixList="{"a " * 1500}"/></ds:Transform>'),
        "Transform",
    ),
}


@pytest.mark.parametrize(("change", "where"), TAMPERED.values(), ids=TAMPERED.keys())
def test_a_message_changed_after_signing_is_refused_and_names_the_part(change: Change, where: str) -> None:
    raw = change(s.fast())
    policy = VerifyPolicy(limits=soap.Limits(size=8 << 20))
    fault = refused(raw, policy)
    assert (fault.code, fault.where) == (E, where)
    if isinstance(fault, SignatureBroken):
        assert not second_opinion.ask(raw).valid


def moved(tag: str, replacement: str) -> Change:
    """Signature wrapping: the signed element moves into a header nobody reads, another takes its place."""

    def change(raw: bytes) -> bytes:
        element = re.search(rf"<{tag} .*?</{tag}>".encode(), raw, re.DOTALL)
        assert element is not None
        hidden = b'<x:h xmlns:x="urn:x">' + element[0] + b"</x:h>"
        return raw.replace(element[0], replacement.encode(), 1).replace(b"</soapenv:Header>", hidden + b"</soapenv:Header>", 1)

    return change


WRAPPED = {
    "Body": ("soapenv:Body", "<soapenv:Body>{}</soapenv:Body>".format('<p:melding xmlns:p="urn:example:proef:v1"/>')),
    "Timestamp": (
        "wsu:Timestamp",
        f'<wsu:Timestamp xmlns:wsu="{soap.WSU}"><wsu:Created>{soap.moment(s.NOW)}</wsu:Created></wsu:Timestamp>',
    ),
    "To": ("wsa:To", f"<wsa:To {W}>https://x/?oin={s.SCHOOL}</wsa:To>"),
    "From": ("wsa:From", f"<wsa:From {W}><wsa:Address>{soap.address(s.HUB)}</wsa:Address></wsa:From>"),
    "MessageID": ("wsa:MessageID", f"<wsa:MessageID {W}>urn:uuid:0f1a4c52-7f0b-4a7e-9d55-0d8f6a1c2b3e</wsa:MessageID>"),
}


@pytest.mark.parametrize(("name", "tag", "other"), [(name, *value) for name, value in WRAPPED.items()], ids=WRAPPED.keys())
def test_a_signed_part_that_was_moved_does_not_vouch_for_what_stands_in_its_place(name: str, tag: str, other: str) -> None:
    raw = moved(tag, other)(s.signed())
    fault = refused(raw)
    assert fault.code == E
    assert name in str(fault.where)


def test_the_same_id_on_the_moved_and_the_new_part_is_refused() -> None:
    fault = refused(moved("soapenv:Body", f'<soapenv:Body xmlns:wsu="{soap.WSU}" wsu:Id="kp-body"><a/></soapenv:Body>')(s.signed()))
    assert fault.where == "Envelope"


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
        "sha256": ("http://www.w3.org/2001/04/xmlenc#sha256", wsse.RSA_SHA256, hashes.SHA256()),
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
    assert refused(rebuild(digest="sha512"), VerifyPolicy(digest_methods=(wsse.SHA256,))).where == "DigestMethod"
    assert refused(rebuild(digest="sha512"), VerifyPolicy(signature_methods=(wsse.RSA_SHA256,))).where == "SignatureMethod"


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
        wsse.Signer(pki.read_key(s.party("a").key), pki.read_certificate(s.party("b").certificate))
