"""Ways to spoil a message, and what each must be refused with. The unit tests ask the verifier; the end-to-end tests, a running intake."""

from __future__ import annotations

import re
from collections.abc import Callable

from adapters import soap
from schemas.faults import Refused
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


W = f'xmlns:wsa="{soap.WSA}"'
ANY = '<x:h xmlns:x="urn:x"{}>ignored</x:h>'


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


def signed_all_the_same(change: Change, **parts: object) -> bytes:
    """A message that is wrong and signed; not signed where there is nothing to sign."""
    raw = change(s.unsigned(**parts))  # type: ignore[arg-type]
    try:
        return s.signer().sign(raw, strict=False)
    except Refused:
        return raw


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
    "another oin where a reader may look for the text oin= alone": (replace("v1?oin=", f"v1?coin={s.LAS}&amp;oin="), "Client.DK0011", "To"),
    "another oin in the path": (replace("/v1?oin=", f"/oin={s.LAS}/v1?oin="), "Client.DK0011", "To"),
    "another oin in the fragment": (replace("/v1?oin=" + s.HUB, f"/v1?oin={s.HUB}#OIN={s.LAS}"), "Client.DK0011", "To"),
    "another oin, escaped, in a value": (replace("anonymous?oin=", f"anonymous?x=%26oin%3D{s.LAS}&amp;oin="), "Client.DK0011", "From"),
    "a second oin in disguise": (replace("v1?oin=", f"v1?%6fIN={s.LAS}&amp;oin="), "Client.DK0011", "To"),
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
