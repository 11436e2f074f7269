"""Signing for the Edukoppeling WUS profile 2W-be-S (facts 3.2). It alone sees a private key.

What we compose ourselves we write in canonical form, so that its digest is taken from the text and nothing is parsed. An envelope
that somebody else composed is taken apart, and gets what it lacks. Verifying is in `adapters.wsse`.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from lxml import etree

from adapters import c14n, soap
from adapters.soap import (
    ACTOR,
    BODY,
    DS,
    EXC_C14N,
    FOR_US,
    HEADER,
    ID,
    MUST_UNDERSTAND,
    RSA_SHA256,
    SECURITY,
    SHA256,
    SIGNATURE,
    SOAP,
    TIMESTAMP,
    TOKEN,
    WSA,
    WSSE,
    WSU,
    Limits,
    local_name,
)
from adapters.wsse import require_addressed
from schemas.envelope import Envelope
from schemas.faults import Refused

#: Namespace declarations as they stand in the canonical form of our headers, token and Timestamp.
_WSA_WSU: Final = f' xmlns:wsa="{WSA}" xmlns:wsu="{WSU}"'
_WSSE_WSU: Final = f' xmlns:wsse="{WSSE}" xmlns:wsu="{WSU}"'
_ONLY_WSU: Final = f' xmlns:wsu="{WSU}"'
_PKCS1 = padding.PKCS1v15()
#: Ids that begin as ours do; a Body that has one gets other ids around it.
_OUR_IDS = re.compile(rb"kp-(?!body)")
_ALL_IDS = etree.XPath("//@*[local-name()='Id']", smart_strings=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class BodyPart:
    """A Body that travels on unchanged: as it is written, and its digest, which holds in any envelope (exclusive C14N needs no context)."""

    xml: bytes
    digest: str  #: base64 SHA-256 over the exclusive canonical form
    id: str  #: its wsu:Id

    @classmethod
    def of(cls, envelope: Envelope) -> BodyPart:
        """The Body of a verified message."""
        body = envelope.content.getparent()
        if body is None:
            raise ValueError("the content was taken out of its Body")
        return cls(
            xml=etree.tostring(body, with_tail=False, encoding="UTF-8"),
            digest=_digest(c14n.exclusive(body)),
            id=body.get(ID) or "",
        )

    @classmethod
    def around(cls, content: bytes) -> BodyPart:
        """A new Body around one serialised element. Raises Refused when that is not XML."""
        xml = soap.body(content)
        return cls(xml=xml, digest=_digest(c14n.exclusive(soap.parse(xml, limits=Limits(size=len(xml))))), id="kp-body")


class Signer:
    """Signs as one party. It prints nothing of its key."""

    def __init__(
        self,
        key: rsa.RSAPrivateKey,
        certificate: x509.Certificate,
        *,
        lifetime: timedelta = timedelta(minutes=5),
        must_understand: bool = True,
    ) -> None:
        """`lifetime`: Expires minus Created of what we sign. Raises ValueError when key and certificate do not belong together."""
        if certificate.public_key() != key.public_key():
            raise ValueError("the private key does not belong to the certificate")
        self._key = key
        self._lifetime = lifetime
        self.der = certificate.public_bytes(Encoding.DER)  #: the certificate
        token = base64.b64encode(self.der).decode()
        self._token = (
            f'<wsse:BinarySecurityToken xmlns:wsse="{WSSE}" xmlns:wsu="{WSU}" EncodingType="{soap.BASE64}"'
            f' ValueType="{soap.X509V3}" wsu:Id="kp-bst">{token}</wsse:BinarySecurityToken>'
        )
        self._token_digest = _digest(self._token.encode())
        self._must_understand = ' soapenv:mustUnderstand="1"' if must_understand else ""

    def __repr__(self) -> str:
        return "Signer(...)"

    def seal(self, data: bytes) -> bytes:
        """The RSA PKCS#1 v1.5 signature with SHA-256 over these bytes: for what is no envelope."""
        return self._key.sign(data, _PKCS1, hashes.SHA256())

    def envelope(
        self,
        body: BodyPart,
        *,
        to: str,
        sender: str,
        action: str,
        message_id: str,
        relates_to: Iterable[tuple[str, str]] = (),
        created: datetime | None = None,
        confirms: Iterable[str | None] = (),
    ) -> bytes:
        """A signed message around a Body, built without parsing anything. `to` and `sender` are whole addresses, see `soap.address`.
        `confirms`: in an answer, the signature value of the request; None where it had none (WB014; WSS 1.1, 8.5).

        Every part but the Body is composed in its canonical form, so its digest is taken from the text; then the namespace declarations
        that all parts share are written once, on the Envelope. That makes a fifth of a short message, which everybody who carries,
        stores or parses it would pay for.
        """
        mark = _mark(body)
        headers = soap.addressing(to=to, sender=sender, action=action, message_id=message_id, relates_to=relates_to, mark=mark)
        stamp = soap.timestamp(created or datetime.now(UTC), self._lifetime, mark)
        confirmations = [soap.confirmation(value, f"{mark}-sc{number}") for number, value in enumerate(confirms)]
        token = self._token.replace('wsu:Id="kp-bst"', f'wsu:Id="{mark}-bst"') if mark != "kp" else self._token
        digests = [(identifier, _digest(xml.encode())) for identifier, xml in headers]
        digests += [(identifier, _digest(xml.encode())) for identifier, xml in confirmations]
        digests += [(f"{mark}-ts", _digest(stamp.encode())), (body.id, body.digest)]
        digests.append((f"{mark}-bst", self._token_digest if mark == "kp" else _digest(token.encode())))
        return (
            (
                f'<soapenv:Envelope xmlns:soapenv="{SOAP}"{_WSA_WSU}><soapenv:Header>'
                f"{''.join(xml.replace(_WSA_WSU, '', 1) for _, xml in headers)}"
                f'<wsse:Security xmlns:wsse="{WSSE}"{self._must_understand}>{token.replace(_WSSE_WSU, "", 1)}'
                f"{stamp.replace(_ONLY_WSU, '', 1)}{''.join(xml.replace(_ONLY_WSU, '', 1) for _, xml in confirmations)}"
                f"{self._signature(digests)}</wsse:Security></soapenv:Header>"
            ).encode()
            + body.xml
            + b"</soapenv:Envelope>"
        )

    def sign(self, unsigned: bytes, *, at: datetime | None = None, strict: bool = True) -> bytes:
        """The envelope with every WS-Addressing header, Timestamp, Body and token signed (facts 3.2). A Timestamp that is there is kept.

        `at`: Created of a new Timestamp, default now. Raises Refused for what a receiver would refuse, unless `strict` is off, and
        always for an envelope that is signed already or has no place for a signature.
        """
        root = soap.parse(unsigned, limits=Limits(size=64 << 20))
        if strict:
            require_addressed(root)
        header, body = root.find(HEADER), root.find(BODY)
        if header is None or body is None:
            raise Refused("VersionMismatch.DK0001", "there is no SOAP 1.1 Header and Body to sign", where="Envelope")
        taken = ids_in(root)
        security = next((child for child in header.iterchildren(SECURITY) if child.get(ACTOR) in FOR_US), None)
        if security is None:
            security = etree.SubElement(header, SECURITY, nsmap={"wsse": WSSE})
            if self._must_understand:
                security.set(MUST_UNDERSTAND, "1")
        if security.find(SIGNATURE) is not None:
            raise Refused("Client.EK0031", "the envelope is signed already", where="Signature")
        stamp = security.find(TIMESTAMP)
        if stamp is None:
            security.append(_own(soap.timestamp(at or datetime.now(UTC), self._lifetime).replace("kp-ts", free_id("kp-ts", taken))))
            stamp = security[-1]
        if (token := security.find(TOKEN)) is not None:
            taken.discard(token.get(ID, ""))
            security.remove(token)
        parts = [child for child in header if str(child.tag).startswith(f"{{{WSA}}}")]
        digests = []
        for element in (*parts, stamp, body):
            identifier = element.get(ID)
            if identifier is None:
                identifier = free_id(f"kp-{local_name(element).lower()}", taken)
                element.set(ID, identifier)
            digests.append((identifier, _digest(c14n.exclusive(element))))
        token_id = free_id("kp-bst", taken)
        text = self._token.replace('wsu:Id="kp-bst"', f'wsu:Id="{token_id}"')
        digests.append((token_id, _digest(text.encode())))
        fresh = _own(f"<new>{text}{self._signature(digests)}</new>")
        security.insert(0, fresh[0])
        security.append(fresh[0])
        return etree.tostring(root, encoding="UTF-8")

    def _signature(self, digests: list[tuple[str, str]]) -> str:
        """The Signature over parts with these (id, digest), the last of which is the token."""
        references = "".join(
            f'<ds:Reference URI="#{soap.attribute(identifier)}">'
            f'<ds:Transforms><ds:Transform Algorithm="{EXC_C14N}"></ds:Transform></ds:Transforms>'
            f'<ds:DigestMethod Algorithm="{SHA256}"></ds:DigestMethod><ds:DigestValue>{digest}</ds:DigestValue></ds:Reference>'
            for identifier, digest in digests
        )
        signed_info = (
            f'<ds:SignedInfo xmlns:ds="{DS}"><ds:CanonicalizationMethod Algorithm="{EXC_C14N}"></ds:CanonicalizationMethod>'
            f'<ds:SignatureMethod Algorithm="{RSA_SHA256}"></ds:SignatureMethod>{references}</ds:SignedInfo>'
        )
        value = base64.b64encode(self._key.sign(signed_info.encode(), _PKCS1, hashes.SHA256())).decode()
        return (
            f'<ds:Signature xmlns:ds="{DS}">{signed_info}<ds:SignatureValue>{value}</ds:SignatureValue><ds:KeyInfo>'
            f'<wsse:SecurityTokenReference xmlns:wsse="{WSSE}"><wsse:Reference URI="#{soap.attribute(digests[-1][0])}"'
            f' ValueType="{soap.X509V3}"/></wsse:SecurityTokenReference></ds:KeyInfo></ds:Signature>'
        )


def _digest(canonical: bytes) -> str:
    return base64.b64encode(hashlib.sha256(canonical).digest()).decode()


def _mark(body: BodyPart) -> str:
    """What our Ids begin with: `kp`, unless the Body holds one of those itself; then something that no Body can hold, being its hash."""
    return f"kp-{hashlib.sha256(body.xml).hexdigest()}" if _OUR_IDS.search(body.xml) else "kp"


def ids_in(root: etree._Element) -> set[str]:
    """Every Id in use."""
    found = _ALL_IDS(root)
    assert isinstance(found, list)
    return {str(value) for value in found}


def free_id(wanted: str, taken: set[str]) -> str:
    """An Id that is not in use yet; from now on it is."""
    identifier, number = wanted, 1
    while identifier in taken:
        number += 1
        identifier = f"{wanted}-{number}"
    taken.add(identifier)
    return identifier


def _own(xml: str) -> etree._Element:
    """XML that we wrote ourselves, as an element."""
    return soap.parse(xml.encode())
