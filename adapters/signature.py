"""The Security header of an envelope: taken apart, held against the allow-lists, and checked (rule 3; facts 3).

A signature points at ids, and a reader looks at places; an attack lives in the gap between the two. So a reference counts only when it
resolves to the very element that `adapters.addressing` found at its place. There is no lookup of an id anywhere else in the document.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from lxml import etree

from adapters import c14n, soap
from adapters.addressing import SPACE, Frame, must_understand
from adapters.soap import DS, EXC_C14N, ID, SIGNATURE, TIMESTAMP, TOKEN, WSSE, WSSE11, WSU, local_name
from adapters.verify_policy import DIGEST_METHODS, SIGNATURE_METHODS, VerifyPolicy
from schemas.faults import Refused

_TOKEN_REFERENCE, _DIRECT = f"{{{WSSE}}}SecurityTokenReference", f"{{{WSSE}}}Reference"
_CONFIRMATION = f"{{{WSSE11}}}SignatureConfirmation"
_CREATED, _EXPIRES = f"{{{WSU}}}Created", f"{{{WSU}}}Expires"
_SIGNED_INFO, _VALUE = f"{{{DS}}}SignedInfo", f"{{{DS}}}SignatureValue"
_KEY_INFO, _REFERENCE = f"{{{DS}}}KeyInfo", f"{{{DS}}}Reference"
_METHODS = (f"{{{DS}}}CanonicalizationMethod", f"{{{DS}}}SignatureMethod")
_TRANSFORM = f"{{{DS}}}Transform"
_REFERENCE_PARTS = (f"{{{DS}}}Transforms", f"{{{DS}}}DigestMethod", f"{{{DS}}}DigestValue")
_INCLUSIVE = f"{{{EXC_C14N}}}InclusiveNamespaces"
_MOMENT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,9})?Z\Z")
#: The values of all attributes that end in Id; empty where one is not plain, so that nothing escaped passes for something else.
_ID_VALUES = re.compile(rb"""Id\s*=\s*["']((?:[^"'&\s]+(?=["']))?)""")
_SOMEWHERE = etree.XPath("boolean(//*[@wsu:Id = $id or @Id = $id])", namespaces={"wsu": WSU})
_PKCS1 = padding.PKCS1v15()
#: For each element, canonicalising looks for each prefix of a PrefixList through all declarations in scope, level by level (about 0.4 s).
_MOST_PREFIX_LOOKUPS: Final = 300_000_000
#: Tags in a message with `#default` in a PrefixList, for which canonicalising is work of our own (about 0.3 s).
_MOST_DEFAULT_TAGS: Final = 100_000


class SignatureBroken(Refused):
    """A digest or the signature value is wrong: the one kind of refusal on which signxml can have an opinion."""

    def __init__(self, reason: str, where: str) -> None:
        super().__init__("Client.EK0031", reason, where=where)


#: What one ds:Reference says: PrefixList of its transform, digest method, digest value.
Reference = tuple[tuple[str, ...], Callable[[bytes], "hashlib._Hash"], str]


@dataclass(slots=True)
class SecurityHeader:
    """The children of Security, and the SignedInfo taken apart."""

    token: etree._Element
    timestamp: etree._Element
    confirmations: list[etree._Element]
    signed_info: bytes  #: in canonical form: what the signature value is over
    value: str
    method: hashes.HashAlgorithm
    references: dict[str, Reference]  #: by id, in the signature's order
    token_id: str  #: the id to which KeyInfo points


def _wrong(reason: str, where: str) -> Refused:
    return Refused("Client.EK0031", reason, where=where)


def is_unsigned(frame: Frame) -> bool:
    """Whether nothing of a signature is there: no Security header, or one with a Timestamp at most. Anything else in it is judged as a
    signature that is not complete, and refused."""
    return frame.security is None or [child.tag for child in frame.security] in ([], [TIMESTAMP])


def read_security(frame: Frame, policy: VerifyPolicy, raw: bytes) -> SecurityHeader:
    """Security taken apart, every algorithm and form held against the allow-lists. No crypto yet."""
    if frame.security is None:
        raise _wrong("the message is not signed: there is no wsse:Security header", "Security")
    if policy.must_understand is not None and must_understand(frame.security) is not policy.must_understand:
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
    return SecurityHeader(
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


def _usual_references(octets: bytes, prefix: str | None, count: int, policy: VerifyPolicy) -> dict[str, Reference] | None:
    """The references, read from the canonical octets that are signed, when each has the usual form; else None.

    Half the work of a small message is walking SignedInfo; this does the walking at a fifth of the cost. It only recognises:
    whatever it does not is taken apart, and where wrong refused, by `_references`.
    """
    pattern = _usual_reference(prefix or "")
    references: dict[str, Reference] = {}
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


def _references(elements: list[etree._Element], policy: VerifyPolicy) -> dict[str, Reference]:
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


def read_times(timestamp: etree._Element) -> tuple[datetime, datetime | None]:
    tags = [child.tag for child in timestamp]
    if tags not in ([_CREATED], [_CREATED, _EXPIRES]):
        raise _wrong("the Timestamp must hold Created, perhaps Expires after it, and nothing else", "Timestamp")
    created = _moment(timestamp[0])
    expires = _moment(timestamp[1]) if len(tags) == 2 else None
    if expires is not None and expires <= created:
        raise _wrong("the Timestamp expires before it was created", "Timestamp")
    return created, expires


def _moment(element: etree._Element) -> datetime:
    value = (element.text or "").strip(SPACE)
    if not len(element) and _MOMENT.match(value):
        try:
            return datetime.fromisoformat(value)
        except ValueError:
            pass  # the 31st of February
    raise _wrong("a time in the Timestamp is not a UTC time with Z", "Timestamp")


def require_unique_ids(root: etree._Element, raw: bytes) -> None:
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


def coverage(
    root: etree._Element, frame: Frame, security: SecurityHeader, policy: VerifyPolicy
) -> list[tuple[str, etree._Element, Reference]]:
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
def token_bytes(text: str) -> bytes:
    """The DER in a token. Kept, because a system sends the same token with every message."""
    if len(text) <= 32_768:
        try:
            return base64.b64decode("".join(text.split()), validate=True)
        except binascii.Error:
            pass
    raise _wrong("the token is not a certificate in base64", "BinarySecurityToken")


def check_signature(security: SecurityHeader, key: rsa.RSAPublicKey) -> None:
    try:
        value = base64.b64decode("".join(security.value.split()), validate=True)
        key.verify(value, security.signed_info, _PKCS1, security.method)
    except (binascii.Error, InvalidSignature):
        raise SignatureBroken("the signature value does not match SignedInfo and the token", "SignatureValue") from None


def check_digests(covered: list[tuple[str, etree._Element, Reference]], body: etree._Element) -> bytes:
    """Raises SignatureBroken for what was changed. Returns the Body in exclusive canonical form; nothing where it has a PrefixList."""
    bad, canonical = [], b""
    for name, element, (prefixes, digest, value) in covered:
        octets = c14n.exclusive(element, prefixes)
        if element is body and not prefixes:
            canonical = octets
        computed = base64.b64encode(digest(octets).digest()).decode()
        if computed != value and computed != "".join(value.split()):
            bad.append(name)
    if bad:
        raise SignatureBroken(f"{' and '.join(bad)} changed after signing: the digest differs", ", ".join(bad))
    return canonical


def check_times(created: datetime, expires: datetime | None, at: datetime, policy: VerifyPolicy) -> None:
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
