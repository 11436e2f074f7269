"""WS-Security for the Edukoppeling WUS profiles 2W-be-S and 2W-be: reading only what was signed (rule 3; facts 2, 3 and 6.2).

A signature points at ids, and a reader looks at places; an attack lives in the gap between the two. So here each part is
found by its place (`_Frame`), and a reference counts only when it resolves to that very element. There is no lookup of an
id anywhere else in the document. Structure, counts and allow-lists come before any crypto:

    parse -> envelope and headers -> addressing values -> Security, Timestamp, SignedInfo -> coverage
          -> certificate -> signature value -> digests -> time -> Body

`Envelope` is made from those elements of that tree and nothing else. Signing is in `adapters.signing`.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache
from types import MappingProxyType
from typing import Any, Final
from urllib.parse import unquote

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from lxml import etree

from adapters import c14n, soap
from adapters.soap import (
    ACTOR,
    BODY,
    DEFAULT_LIMITS,
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
    WSSE11,
    WSU,
    Limits,
    local_name,
)
from adapters.trust import TrustStore
from schemas.envelope import Envelope
from schemas.faults import NotAllowed, Refused
from schemas.oin import Oin, institution_of, is_oin

#: The allow-lists of facts 3.3 (SIGN003, SIGN004); everything else is refused before any crypto.
SIGNATURE_METHODS: Final[Mapping[str, hashes.HashAlgorithm]] = MappingProxyType(
    {
        RSA_SHA256: hashes.SHA256(),
        "http://www.w3.org/2001/04/xmldsig-more#rsa-sha384": hashes.SHA384(),
        "http://www.w3.org/2001/04/xmldsig-more#rsa-sha512": hashes.SHA512(),
    }
)
DIGEST_METHODS: Final[Mapping[str, Callable[[bytes], hashlib._Hash]]] = MappingProxyType(
    {
        SHA256: hashlib.sha256,
        "http://www.w3.org/2001/04/xmldsig-more#sha384": hashlib.sha384,
        "http://www.w3.org/2001/04/xmlenc#sha512": hashlib.sha512,
    }
)

_ENVELOPE = f"{{{SOAP}}}Envelope"
_TOKEN_REFERENCE, _DIRECT = f"{{{WSSE}}}SecurityTokenReference", f"{{{WSSE}}}Reference"
_CONFIRMATION = f"{{{WSSE11}}}SignatureConfirmation"
_CREATED, _EXPIRES = f"{{{WSU}}}Created", f"{{{WSU}}}Expires"
_SIGNED_INFO, _VALUE = f"{{{DS}}}SignedInfo", f"{{{DS}}}SignatureValue"
_KEY_INFO, _REFERENCE = f"{{{DS}}}KeyInfo", f"{{{DS}}}Reference"
_METHODS = (f"{{{DS}}}CanonicalizationMethod", f"{{{DS}}}SignatureMethod")
_TRANSFORM = f"{{{DS}}}Transform"
_REFERENCE_PARTS = (f"{{{DS}}}Transforms", f"{{{DS}}}DigestMethod", f"{{{DS}}}DigestValue")
_INCLUSIVE = f"{{{EXC_C14N}}}InclusiveNamespaces"
_ADDRESS = f"{{{WSA}}}Address"
#: Inside From or ReplyTo these are ignored, and never read (facts 2.2 does not allow them, toolkits send them all the same).
_IGNORED_IN_ENDPOINT = (f"{{{WSA}}}Metadata", f"{{{WSA}}}ReferenceParameters")
_WSA_HEADERS: Final = MappingProxyType(
    {f"{{{WSA}}}{name}": name for name in ("To", "Action", "MessageID", "From", "RelatesTo", "ReplyTo", "FaultTo")}
)
#: Without these there is no message (facts 2.2), each with its own code.
_MANDATORY: Final = (("To", "Client.DK0005"), ("Action", "Client.DK0006"), ("MessageID", "Client.DK0007"), ("From", "Client.EK0020"))
_OLD_ADDRESSING = re.compile(r"\{(?:http://schemas\.xmlsoap\.org/ws/200\d/\d\d/addressing|http://www\.w3\.org/\d{4}/\d\d/addressing)\}")

_UUID = re.compile(r"(urn:uuid:|uuid:)?[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}\Z")
_ABSOLUTE = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:[^\s<>\"]+\Z")
_MOMENT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,9})?Z\Z")
_SPACE: Final = " \t\r\n"
_BASE64 = re.compile(r"[A-Za-z0-9+/=\s]{4,2000}\Z")
#: The values of all attributes that end in Id; empty where one is not plain, so that nothing escaped passes for something else.
_ID_VALUES = re.compile(rb"""Id\s*=\s*["']((?:[^"'&\s]+(?=["']))?)""")
_SOMEWHERE = etree.XPath("boolean(//*[@wsu:Id = $id or @Id = $id])", namespaces={"wsu": WSU})
_PKCS1 = padding.PKCS1v15()
#: For each element, canonicalising looks for each prefix of a PrefixList through all declarations in scope, level by level (about 0.4 s).
_MOST_PREFIX_LOOKUPS: Final = 300_000_000
#: Tags in a message with `#default` in a PrefixList, for which canonicalising is work of our own (about 0.3 s).
_MOST_DEFAULT_TAGS: Final = 100_000


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifyPolicy:
    """What a connection accepts. The defaults take every variation that facts 3.2-3.7 list and that costs no security."""

    message_id_forms: Collection[str] = ("urn:uuid:", "uuid:", "")  #: what may stand before the UUID
    prefix_lists: bool = True  #: InclusiveNamespaces with a PrefixList, on transforms and on the canonicalisation method
    token_must_be_signed: bool = False  #: DUO's text asks for it, DUO's practice does not
    must_understand: bool | None = None  #: require (True) or refuse (False) mustUnderstand="1" on Security; None: either
    signature_methods: Collection[str] = tuple(SIGNATURE_METHODS)
    digest_methods: Collection[str] = tuple(DIGEST_METHODS)
    skew: timedelta = timedelta(minutes=5)  #: how far the sender's clock may be off, on both bounds (WB002)
    max_age: timedelta = timedelta(minutes=10)  #: of a message without Expires
    any_age: timedelta | None = None  #: over AMQP: Created may be this old, and a past Expires is no reason to refuse (design section 3)
    max_lifetime: timedelta | None = None  #: of Expires minus Created; None: no maximum
    own_oins: frozenset[str] | None = None  #: receivers we serve; a message for another is refused. None: any
    references: int = 64  #: at most so many in SignedInfo, and so many WS-Addressing headers
    limits: Limits = DEFAULT_LIMITS


EDUKOPPELING: Final = VerifyPolicy()


class SignatureBroken(Refused):
    """A digest or the signature value is wrong: the one kind of refusal on which signxml can have an opinion."""

    def __init__(self, reason: str, where: str) -> None:
        super().__init__("Client.EK0031", reason, where=where)


@dataclass(slots=True)
class _Frame:
    """The elements of an envelope, each found by its place."""

    header: etree._Element
    body: etree._Element
    addressing: dict[str, etree._Element]  #: every WS-Addressing header that may occur once
    relates_to: list[etree._Element]
    others: list[etree._Element]  #: headers that are ignored; known only because a signature may cover them too
    security: etree._Element | None


@dataclass(frozen=True, slots=True)
class _Addresses:
    """What the WS-Addressing headers say, checked."""

    to: str
    receiver: Oin
    sender: Oin
    action: str
    message_id: str
    relates_to: tuple[tuple[str, str], ...]


#: What one ds:Reference says: PrefixList of its transform, digest method, digest value.
_Reference = tuple[tuple[str, ...], Callable[[bytes], "hashlib._Hash"], str]


@dataclass(slots=True)
class _Security:
    """The children of Security, and the SignedInfo taken apart."""

    token: etree._Element
    timestamp: etree._Element
    confirmations: list[etree._Element]
    signed_info: bytes  #: in canonical form: what the signature value is over
    value: str
    method: hashes.HashAlgorithm
    references: dict[str, _Reference]  #: by id, in the signature's order
    token_id: str  #: the id to which KeyInfo points


class Verifier:
    """Says of received bytes whether they are a signed message, and what it says. One object serves a whole process."""

    def __init__(self, trust: TrustStore, policy: VerifyPolicy = EDUKOPPELING) -> None:
        self._trust = trust
        self._policy = policy

    def verify(self, raw: bytes, *, at: datetime | None, connected: Oin | None = None) -> Envelope:
        """The message in these bytes, as judged at this time (None: at its own Created, for old recordings). `connected`: whose
        certificate the connection has that it came by; then it need not be signed (profile 2W-be), and a signature that is there must
        be right all the same.

        Raises Refused (NotAllowed about the certificate and the receiver) with the most specific code of facts 6.2 and the failing
        part as `where`; OurFailure when a CRL that we need is absent or expired.
        """
        policy = self._policy
        root = soap.parse(raw, limits=policy.limits)
        frame = _frame(root, policy.references)
        addresses = _addresses(frame, policy.message_id_forms)
        if connected is not None and at is not None and _unsigned(frame):
            return self._unsigned(raw, root, frame, addresses, at=at, connected=connected)
        security = _security(frame, policy, raw)
        created, expires = _times(security.timestamp)
        _require_unique_ids(root, raw)
        covered = _coverage(root, frame, security, policy)

        certificate = self._trust.check(_token_bytes(security.token.text or ""), at=created if at is None else at)
        _check_signature(security, certificate.public_key)
        _check_digests(covered, security)

        _check_times(created, expires, created if at is None else at, policy)
        return self._envelope(
            raw,
            frame,
            addresses,
            created=created,
            expires=expires,
            certificate_oin=certificate.oin,
            certificate_sha256=certificate.sha256,
            signed=tuple(name for name, _, _ in covered),
            signature_value=security.value,
        )

    def _unsigned(
        self, raw: bytes, root: etree._Element, frame: _Frame, addresses: _Addresses, *, at: datetime, connected: Oin
    ) -> Envelope:
        """A message of profile 2W-be. A Timestamp in it is judged as in a signed one; no two Ids may be the same, because it travels on
        in an envelope that we sign."""
        created, expires = at, None
        if frame.security is not None and len(frame.security):
            created, expires = _times(frame.security[0])
            _check_times(created, expires, at, self._policy)
        _require_unique_ids(root, raw)
        return self._envelope(
            raw,
            frame,
            addresses,
            created=created,
            expires=expires,
            certificate_oin=connected,
            certificate_sha256="",
            signed=(),
            signature_value="",
        )

    def _envelope(self, raw: bytes, frame: _Frame, addresses: _Addresses, **rest: Any) -> Envelope:
        """The message, when it is for us and its Body holds one element (WW003)."""
        own_oins = self._policy.own_oins
        if own_oins is not None and not {addresses.receiver, institution_of(addresses.receiver)} & own_oins:
            raise NotAllowed("Client.DK0002", f"the message is for {addresses.receiver}, which is not served here", where="To")
        if len(frame.body) != 1:
            raise Refused("Client.DK0004", "the Body must hold exactly one element", where="Body")
        return Envelope(
            message_id=addresses.message_id,
            sender=addresses.sender,
            receiver=addresses.receiver,
            to=addresses.to,
            action=addresses.action,
            relates_to=addresses.relates_to,
            content=frame.body[0],
            xml=raw,
            **rest,
        )


def check_from(envelope: Envelope, *, mandates: Collection[tuple[str, str]] = (), pinned: Collection[str] = ()) -> None:
    """Whether the signer may speak for From, where no register can tell. Raises NotAllowed with Client.DK0002.

    It may when both OINs are the same, when the pair (From OIN, certificate OIN) is in `mandates`, or when the signing certificate
    itself was configured (`pinned`: SHA-256 fingerprints in hex).
    """
    if envelope.sender == envelope.certificate_oin or envelope.certificate_sha256 in pinned:
        return
    if (envelope.sender, envelope.certificate_oin) not in mandates:
        raise NotAllowed(
            "Client.DK0002",
            f"the message is from {envelope.sender} but signed by {envelope.certificate_oin}, and no mandate of that pair was given",
            where="From",
        )


def require_addressed(root: etree._Element, policy: VerifyPolicy = EDUKOPPELING) -> None:
    """Raises Refused when a receiver would refuse this envelope for its headers, signed or not."""
    _addresses(_frame(root, policy.references), policy.message_id_forms)


@dataclass(frozen=True, slots=True, kw_only=True)
class Glance:
    """What stands in a message that was refused, where it has the right form. Only for addressing the refusal: none of it is trusted."""

    message_id: str | None = None
    sender: Oin | None = None
    signature_value: str | None = None


def glance(raw: bytes, limits: Limits = DEFAULT_LIMITS) -> Glance:
    """MessageID, From and signature value of a message, each None where it is not there, or not alone, or not of the right form."""
    try:
        root = soap.parse(raw, limits=limits)
    except Refused:
        return Glance()
    header = root[0] if len(root) and root[0].tag == HEADER else []
    found: dict[str, list[etree._Element]] = {}
    for child in header:
        found.setdefault(str(child.tag), []).append(child)

    def text_of(path: str, *inside: str) -> str:
        elements = found.get(path, [])
        for tag in inside:
            elements = [one for element in elements[:1] for one in element if one.tag == tag] if len(elements) == 1 else []
        return (elements[0].text or "").strip(_SPACE) if len(elements) == 1 else ""

    message_id, value = text_of(f"{{{WSA}}}MessageID"), text_of(SECURITY, SIGNATURE, _VALUE)
    party = _party(text_of(f"{{{WSA}}}From", _ADDRESS))
    return Glance(
        message_id=message_id if _UUID.match(message_id) else None,
        sender=None if isinstance(party, int) else party,
        signature_value=value if _BASE64.match(value) else None,
    )


def content_digest(envelope: Envelope) -> bytes:
    """SHA-256 over the exclusive canonical form of the content: the same for an honest retry, whatever its ids and signature (rule 2)."""
    return hashlib.sha256(c14n.exclusive(envelope.content)).digest()


# ---------------------------------------------------------------- reading an envelope


def _frame(root: etree._Element, most: int) -> _Frame:
    """The parts by their place. Raises Refused for another SOAP version, and for headers that may not be there."""
    if root.tag != _ENVELOPE:
        raise Refused("VersionMismatch.DK0001", "the root element is not the Envelope of SOAP 1.1", where="Envelope")
    if len(root) == 1 and root[0].tag == BODY:
        raise Refused("Client.DK0005", "the envelope has no Header, so no wsa:To", where="Header")
    if len(root) != 2 or root[0].tag != HEADER or root[1].tag != BODY:
        raise Refused("VersionMismatch.DK0001", "an Envelope holds exactly one Header and then exactly one Body", where="Envelope")
    frame = _Frame(root[0], root[1], {}, [], [], None)
    for child in frame.header:
        tag = str(child.tag)
        name = _WSA_HEADERS.get(tag)
        if name is not None:
            if child.get(ACTOR) not in FOR_US:
                raise Refused("Client.DK0011", f"wsa:{name} has an actor; the addressing headers are for the receiver", where=name)
            if name == "RelatesTo":
                frame.relates_to.append(child)
            elif name in frame.addressing:
                raise Refused("Client.DK0011", f"wsa:{name} occurs more than once", where=name)
            else:
                frame.addressing[name] = child
        elif tag == SECURITY:
            if child.get(ACTOR) in FOR_US:
                if frame.security is not None:
                    raise Refused("Client.EK0031", "there is more than one wsse:Security header for us", where="Security")
                frame.security = child
        else:
            _ignore(child, tag, frame)
    if len(frame.relates_to) > most:
        raise Refused("Client.DK0011", f"wsa:RelatesTo occurs more than {most} times", where="RelatesTo")
    return frame


def _ignore(child: etree._Element, tag: str, frame: _Frame) -> None:
    """A header outside the profile: harmless when nobody has to understand it (facts 6.2, note 3), unless it looks like addressing."""
    if tag.startswith(f"{{{WSA}}}"):
        raise Refused("Client.DK0011", "a WS-Addressing header is not one of the profile", where=local_name(child))
    if _OLD_ADDRESSING.match(tag):
        raise Refused(
            "Client.DK0011", f"only WS-Addressing 1.0 ({WSA}) is taken, and this header is of another version", where=local_name(child)
        )
    if _must_understand(child) and child.get(ACTOR) in FOR_US:
        raise Refused("Client.DK0010", "a header that is not in the profile says that we must understand it", where=local_name(child))
    frame.others.append(child)


def _must_understand(element: etree._Element) -> bool:
    return (element.get(MUST_UNDERSTAND) or "0").strip(_SPACE) not in ("0", "false")


def _addresses(frame: _Frame, forms: Collection[str]) -> _Addresses:
    found = frame.addressing
    for name, code in _MANDATORY:
        if name not in found:
            raise Refused(code, f"wsa:{name} is missing", where=name)
    to = _leaf(found["To"], "To")
    receiver = _party(to)
    if isinstance(receiver, int):
        raise _bad_party("To", receiver, "Client.EK0022")
    action = _leaf(found["Action"], "Action")
    if not _ABSOLUTE.match(action) or len(action) > 1_000:
        raise Refused("Client.DK0011", "wsa:Action is not an absolute URI", where="Action")
    message_id = _leaf(found["MessageID"], "MessageID")
    if (shape := _UUID.match(message_id)) is None or (shape.group(1) or "") not in forms:
        raise Refused("Client.EK0023", "wsa:MessageID is not a UUID in a form that is taken here", where="MessageID")
    sender = _party(_endpoint(found["From"], "From") or "")
    if isinstance(sender, int):
        raise _bad_party("From", sender, "Client.EK0021")
    for name in ("ReplyTo", "FaultTo"):
        if name in found and _endpoint(found[name], name) not in (soap.ANONYMOUS, soap.NONE):
            raise Refused(
                "Client.DK0011", f"wsa:{name} may only be anonymous or none: answers go back the way the message came", where=name
            )
    relates_to = tuple((element.get("RelationshipType") or soap.REPLY, _leaf(element, "RelatesTo")) for element in frame.relates_to)
    return _Addresses(to, receiver, sender, action, message_id, relates_to)


def _leaf(element: etree._Element, name: str) -> str:
    if len(element):
        raise Refused("Client.DK0011", f"wsa:{name} must hold text only", where=name)
    return (element.text or "").strip(_SPACE)


def _endpoint(element: etree._Element, name: str) -> str | None:
    """The one Address of an endpoint reference; None when it has none."""
    address = None
    for child in element:
        if child.tag == _ADDRESS:
            if address is not None:
                raise Refused("Client.DK0011", f"wsa:{name} holds more than one Address", where=name)
            address = _leaf(child, name)
        elif child.tag not in _IGNORED_IN_ENDPOINT or _must_understand(child):
            raise Refused("Client.DK0011", f"wsa:{name} may hold one Address only", where=name)
    return address


@lru_cache(maxsize=4096)
def _party(uri: str) -> Oin | int:
    """The party an address names; or, when it does not name exactly one properly, how many `oin` parameters it has (-1: it is no URI).

    There are readers that take what follows the text `oin=` wherever it stands (facts 2.3), and the message may travel on to one: so an
    address that has that text more than once, if only after decoding, names more than one party.
    """
    if len(uri) > 2_000 or not _ABSOLUTE.match(uri):
        return -1
    if (texts := unquote(uri).lower().count("oin=")) > 1:
        return texts
    query = uri.partition("#")[0].partition("?")[2]
    pairs = [pair.partition("=") for pair in query.split("&")]
    values = [value for name, _, value in pairs if (unquote(name) if "%" in name else name).lower() == "oin"]
    return Oin(values[0]) if len(values) == 1 and is_oin(values[0]) else len(values)


def _bad_party(name: str, count: int, no_oin: str) -> Refused:
    if count > 1:
        return Refused("Client.DK0011", f"the address in wsa:{name} has more than one oin parameter", where=name)
    return Refused(no_oin, f"the address in wsa:{name} has no parameter oin with an OIN of 20 positions", where=name)


# ---------------------------------------------------------------- reading a signature


def _wrong(reason: str, where: str) -> Refused:
    return Refused("Client.EK0031", reason, where=where)


def _unsigned(frame: _Frame) -> bool:
    """Whether nothing of a signature is there: no Security header, or one with a Timestamp at most. Anything else in it is judged as a
    signature that is not complete, and refused."""
    return frame.security is None or [child.tag for child in frame.security] in ([], [TIMESTAMP])


def _security(frame: _Frame, policy: VerifyPolicy, raw: bytes) -> _Security:
    """Security taken apart, every algorithm and form held against the allow-lists. No crypto yet."""
    if frame.security is None:
        raise _wrong("the message is not signed: there is no wsse:Security header", "Security")
    if policy.must_understand is not None and _must_understand(frame.security) is not policy.must_understand:
        raise _wrong(f"wsse:Security must {'' if policy.must_understand else 'not '}say mustUnderstand here", "Security")
    found: dict[str, etree._Element] = {}
    confirmations = []
    for child in frame.security:
        tag = str(child.tag)
        if tag == _CONFIRMATION:
            confirmations.append(child)
        elif tag not in (TOKEN, TIMESTAMP, SIGNATURE):
            raise _wrong("wsse:Security holds something outside the profile", local_name(child))
        elif tag in found:
            raise _wrong(f"wsse:Security holds more than one {local_name(child)}", local_name(child))
        else:
            found[tag] = child
    for tag, name, advice in (
        (SIGNATURE, "Signature", ""),
        (TIMESTAMP, "Timestamp", ""),
        (TOKEN, "BinarySecurityToken", ": send the certificate along in one, and refer to that (direct reference)"),
    ):
        if tag not in found:
            raise _wrong(f"wsse:Security has no {name}{advice}", name)
    if len(confirmations) > policy.references:
        raise _wrong("there are too many SignatureConfirmations", "SignatureConfirmation")
    token = found[TOKEN]
    if token.get("ValueType", soap.X509V3) != soap.X509V3 or token.get("EncodingType", soap.BASE64) != soap.BASE64 or len(token):
        raise _wrong("the token is not one X.509 v3 certificate in base64", "BinarySecurityToken")

    signature = found[SIGNATURE]
    if [child.tag for child in signature] != [_SIGNED_INFO, _VALUE, _KEY_INFO]:
        raise _wrong("the Signature must hold SignedInfo, SignatureValue and KeyInfo, and nothing else", "Signature")
    signed_info, value, key_info = signature
    count = len(signed_info) - 2
    if count < 1 or count > policy.references:
        raise _wrong(
            f"SignedInfo has {max(count, 0)} references; there must be one per part, and at most {policy.references}", "SignedInfo"
        )
    canonicalisation, method = signed_info[0], signed_info[1]
    if (canonicalisation.tag, method.tag) != _METHODS or canonicalisation.get("Algorithm") != EXC_C14N:
        raise _wrong("the canonicalisation must be exclusive C14N without comments", "CanonicalizationMethod")
    algorithm = method.get("Algorithm")
    if algorithm not in policy.signature_methods or len(method):
        raise _wrong("the signature method is not allowed; RSA with SHA-256, SHA-384 or SHA-512 is", "SignatureMethod")
    prefixes = _prefixes(canonicalisation, policy) if len(canonicalisation) else ()
    _require_bounded(prefixes, raw)
    octets = c14n.exclusive(signed_info, prefixes)
    references = _usual_references(octets, signed_info.prefix, count, policy)
    if references is None:
        references = _references(list(signed_info)[2:], policy)
    for listed in {reference[0] for reference in references.values()}:
        _require_bounded(listed, raw)
    return _Security(
        token=token,
        timestamp=found[TIMESTAMP],
        confirmations=confirmations,
        signed_info=octets,
        value=value.text or "",
        method=SIGNATURE_METHODS[str(algorithm)],
        references=references,
        token_id=_token_id(key_info),
    )


@lru_cache(maxsize=64)
def _usual_reference(prefix: str) -> re.Pattern[bytes]:
    """A Reference in canonical form, where nothing between its tags declares a namespace anew."""
    ds = re.escape(prefix + ":" if prefix else "")
    parameters = rf'\s*<(?:[\w.-]+:)?InclusiveNamespaces xmlns(?::[\w.-]+)?="{re.escape(EXC_C14N)}" PrefixList="([^"&]*)"></[\w.:-]+>\s*'
    pattern = (
        rf'\s*<{ds}Reference URI="#([^"&]+)">\s*<{ds}Transforms>\s*<{ds}Transform Algorithm="{re.escape(EXC_C14N)}">(?:{parameters})?'
        rf'</{ds}Transform>\s*</{ds}Transforms>\s*<{ds}DigestMethod Algorithm="([^"]*)"></{ds}DigestMethod>\s*'
        rf"<{ds}DigestValue>([A-Za-z0-9+/=\s]*)</{ds}DigestValue>\s*</{ds}Reference>"
    )
    return re.compile(pattern.encode())


def _usual_references(octets: bytes, prefix: str | None, count: int, policy: VerifyPolicy) -> dict[str, _Reference] | None:
    """The references, read from the canonical octets that are signed, when each has the usual form; else None.

    Half the work of a small message is walking SignedInfo; this does the walking at a fifth of the cost. It only recognises:
    whatever it does not is taken apart, and where wrong refused, by `_references`.
    """
    pattern = _usual_reference(prefix or "")
    references: dict[str, _Reference] = {}
    found = pattern.match(octets, octets.find(b"SignatureMethod>") + len("SignatureMethod>"))
    while found is not None:
        identifier, listed, method, value = found.groups()
        algorithm = method.decode()
        if algorithm not in policy.digest_methods or (listed is not None and (not policy.prefix_lists or len(listed) > 2_000)):
            return None
        prefixes = tuple(dict.fromkeys(listed.decode().split())) if listed else ()
        references[identifier.decode()] = (prefixes, DIGEST_METHODS[algorithm], value.decode())
        found = pattern.match(octets, found.end())
    return references if len(references) == count else None


def _references(elements: list[etree._Element], policy: VerifyPolicy) -> dict[str, _Reference]:
    references = {}
    for element in elements:
        uri = element.get("URI")
        if element.tag != _REFERENCE or len(element) != 3:
            raise _wrong("a Reference must hold Transforms, DigestMethod and DigestValue, and nothing else", "Reference")
        if not uri or uri[0] != "#" or len(uri) == 1:
            raise _wrong("a Reference must point at a part of this message with #id; it is empty or external", "Reference")
        if uri[1:] in references:
            raise _wrong("two References point at the same part", "Reference")
        transforms, method, value = element
        if (transforms.tag, method.tag, value.tag) != _REFERENCE_PARTS or len(transforms) != 1:
            advice = "exclusive C14N is the only transform, so leave out enveloped-signature and any other"
            raise _wrong(f"a Reference must hold one Transform, one DigestMethod and one DigestValue; {advice}", "Reference")
        transform = transforms[0]
        if transform.get("Algorithm") != EXC_C14N or transform.tag != _TRANSFORM:
            raise _wrong("a transform is not allowed; exclusive C14N without comments is the only one", "Transform")
        algorithm = method.get("Algorithm")
        if algorithm not in policy.digest_methods or len(method):
            raise _wrong("a digest method is not allowed; SHA-256, SHA-384 and SHA-512 are", "DigestMethod")
        prefixes = _prefixes(transform, policy) if len(transform) else ()
        references[uri[1:]] = (prefixes, DIGEST_METHODS[str(algorithm)], value.text or "")
    return references


def _prefixes(element: etree._Element, policy: VerifyPolicy) -> tuple[str, ...]:
    """The PrefixList below a Transform or CanonicalizationMethod: names between any white space, perhaps none, perhaps `#default`."""
    if not policy.prefix_lists or len(element) != 1 or element[0].tag != _INCLUSIVE or len(element[0]):
        raise _wrong("a canonicalisation has parameters that are not allowed", local_name(element))
    listed = element[0].get("PrefixList") or ""
    if len(listed) > 2_000:
        raise _wrong("a PrefixList is too long", local_name(element))
    return tuple(dict.fromkeys(listed.split()))


def _require_bounded(prefixes: tuple[str, ...], raw: bytes) -> None:
    """A PrefixList must leave the work of canonicalising within bounds, whatever the message holds."""
    if not prefixes:
        return
    tags = raw.count(b"<")
    lookups = len(prefixes) * tags * (raw.count(b"xmlns") + 256)  # the deepest nesting there is
    if lookups > _MOST_PREFIX_LOOKUPS or (c14n.DEFAULT in prefixes and tags > _MOST_DEFAULT_TAGS):
        raise _wrong("a PrefixList is too long for so large a message", "PrefixList")


def _token_id(key_info: etree._Element) -> str:
    """Direct reference only (WB010)."""
    if len(key_info) == 1 and key_info[0].tag == _TOKEN_REFERENCE and len(key_info[0]) == 1 and key_info[0][0].tag == _DIRECT:
        direct = key_info[0][0]
        uri = direct.get("URI") or ""
        if uri.startswith("#") and direct.get("ValueType", soap.X509V3) == soap.X509V3:
            return uri[1:]
    raise _wrong("KeyInfo must refer to the token in this message by a direct reference, and in no other way", "KeyInfo")


def _times(timestamp: etree._Element) -> tuple[datetime, datetime | None]:
    tags = [child.tag for child in timestamp]
    if tags not in ([_CREATED], [_CREATED, _EXPIRES]):
        raise _wrong("the Timestamp must hold Created, perhaps Expires after it, and nothing else", "Timestamp")
    created = _moment(timestamp[0])
    expires = _moment(timestamp[1]) if len(tags) == 2 else None
    if expires is not None and expires <= created:
        raise _wrong("the Timestamp expires before it was created", "Timestamp")
    return created, expires


def _moment(element: etree._Element) -> datetime:
    value = (element.text or "").strip(_SPACE)
    if not len(element) and _MOMENT.match(value):
        try:
            return datetime.fromisoformat(value)
        except ValueError:
            pass  # the 31st of February
    raise _wrong("a time in the Timestamp is not a UTC time with Z", "Timestamp")


def _require_unique_ids(root: etree._Element, raw: bytes) -> None:
    """No two Ids in the whole document are the same, though none is ever looked up outside its place.

    Every Id attribute is found by its text (equal Ids give equal texts, unless escaped or with white space in them); only when some
    texts are equal, perhaps of other attributes that end in Id, does the slower search through the tree decide.
    """
    values = _ID_VALUES.findall(raw)
    if len(set(values)) == len(values) and b"" not in values:
        return
    seen: set[str] = set()
    for element in root.iter():  # XPath takes quadratic time to collect them
        for identifier in (element.get(ID), element.get("Id")):
            if identifier is None:
                continue
            if identifier in seen:
                raise _wrong("two elements have the same Id", "Envelope")
            seen.add(identifier)


def _coverage(
    root: etree._Element, frame: _Frame, security: _Security, policy: VerifyPolicy
) -> list[tuple[str, etree._Element, _Reference]]:
    """What each reference covers, in the signature's order: (part, the element at that place, reference). Nothing is digested yet.

    Raises Refused when a part that must be covered is not, naming it, or when a reference leads anywhere but to a part.
    """
    required = [("Body", frame.body), ("Timestamp", security.timestamp), *frame.addressing.items()]
    required += [("RelatesTo", element) for element in frame.relates_to]
    required += [("SignatureConfirmation", element) for element in security.confirmations]
    if policy.token_must_be_signed:
        required.append(("BinarySecurityToken", security.token))
    parts: dict[str, tuple[str, etree._Element]] = {}
    missing = []
    for name, element in required:
        identifier = element.get(ID)
        if identifier is None or identifier not in security.references:
            missing.append(name)
        else:
            parts[identifier] = (name, element)
    if missing:
        plain = [name for name, element in required if name in missing and element.get("Id") is not None]
        advice = f"; {' and '.join(plain)} {'has' if len(plain) == 1 else 'have'} an Id that is not a wsu:Id" if plain else ""
        raise _wrong(f"the signature does not cover {' and '.join(missing)} at the place where it is read{advice}", ", ".join(missing))
    token_id = security.token.get(ID)
    if token_id is None or token_id != security.token_id:
        raise _wrong("KeyInfo does not point at the token in this Security header", "KeyInfo")
    parts[token_id] = ("BinarySecurityToken", security.token)
    if len(security.references) > len(required) and frame.others:
        parts |= {element.get(ID, ""): (local_name(element), element) for element in frame.others}
    covered = []
    for identifier, reference in security.references.items():
        if identifier not in parts:
            moved = _SOMEWHERE(root, id=identifier)
            told = "an element that is not a part of the message by its place" if moved else "nothing in this message"
            raise _wrong(f"a Reference points at {told}", "Reference")
        covered.append((*parts[identifier], reference))
    return covered


@lru_cache(maxsize=1_000)
def _token_bytes(text: str) -> bytes:
    """The DER in a token. Kept, because a system sends the same token with every message."""
    if len(text) <= 32_768:
        try:
            return base64.b64decode("".join(text.split()), validate=True)
        except binascii.Error:
            pass
    raise _wrong("the token is not a certificate in base64", "BinarySecurityToken")


def _check_signature(security: _Security, key: rsa.RSAPublicKey) -> None:
    try:
        value = base64.b64decode("".join(security.value.split()), validate=True)
        key.verify(value, security.signed_info, _PKCS1, security.method)
    except (binascii.Error, InvalidSignature):
        raise SignatureBroken("the signature value does not match SignedInfo and the token", "SignatureValue") from None


def _check_digests(covered: list[tuple[str, etree._Element, _Reference]], security: _Security) -> None:
    bad = []
    for name, element, (prefixes, digest, value) in covered:
        computed = base64.b64encode(digest(c14n.exclusive(element, prefixes)).digest()).decode()
        if computed != value and computed != "".join(value.split()):
            bad.append(name)
    if bad:
        raise SignatureBroken(f"{' and '.join(bad)} changed after signing: the digest differs", ", ".join(bad))


def _check_times(created: datetime, expires: datetime | None, at: datetime, policy: VerifyPolicy) -> None:
    # differences, not sums: a sum with the first or last day of the calendar does not exist
    if created - at > policy.skew:
        raise _wrong(f"the Timestamp was created in the future, at {created:%Y-%m-%d %H:%M:%S} UTC; check the clock", "Timestamp")
    if policy.max_lifetime is not None and expires is not None and expires - created > policy.max_lifetime:
        raise _wrong("the Timestamp is valid longer than is taken here", "Timestamp")
    if policy.any_age is not None:
        if at - created > policy.any_age:
            raise _wrong(f"the Timestamp is older than {policy.any_age.days} days", "Timestamp")
    elif expires is not None:
        if at - expires > policy.skew:
            raise _wrong(f"the Timestamp expired at {expires:%Y-%m-%d %H:%M:%S} UTC", "Timestamp")
    elif at - created > policy.max_age + policy.skew:
        raise _wrong(f"the Timestamp, which has no Expires, is from {created:%Y-%m-%d %H:%M:%S} UTC: too old", "Timestamp")
