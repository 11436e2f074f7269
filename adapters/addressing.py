"""The parts of an envelope, each found by its place, and what its WS-Addressing headers say (facts 2).

Nothing here says that any of it was signed: that is for `adapters.signature`, over the very elements that are found here.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass
from functools import lru_cache
from types import MappingProxyType
from typing import Final
from urllib.parse import unquote

from lxml import etree

from adapters import soap
from adapters.soap import (
    ACTOR,
    BODY,
    DEFAULT_LIMITS,
    DS,
    FOR_US,
    HEADER,
    MUST_UNDERSTAND,
    SECURITY,
    SIGNATURE,
    SOAP,
    WSA,
    Limits,
    local_name,
)
from schemas.faults import Refused
from schemas.oin import Oin, is_oin

_ENVELOPE = f"{{{SOAP}}}Envelope"
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
SPACE: Final = " \t\r\n"
_BASE64 = re.compile(r"[A-Za-z0-9+/=\s]{4,2000}\Z")


@dataclass(slots=True)
class Frame:
    """The elements of an envelope, each found by its place."""

    header: etree._Element
    body: etree._Element
    addressing: dict[str, etree._Element]  #: every WS-Addressing header that may occur once
    relates_to: list[etree._Element]
    others: list[etree._Element]  #: headers that are ignored; known only because a signature may cover them too
    security: etree._Element | None


@dataclass(frozen=True, slots=True)
class Addresses:
    """What the WS-Addressing headers say, checked."""

    to: str
    receiver: Oin
    sender: Oin
    action: str
    message_id: str
    relates_to: tuple[tuple[str, str], ...]


def read_frame(root: etree._Element, most: int) -> Frame:
    """The parts by their place. Raises Refused for another SOAP version, and for headers that may not be there."""
    if root.tag != _ENVELOPE:
        raise Refused("VersionMismatch.DK0001", "the root element is not the Envelope of SOAP 1.1", where="Envelope")
    if len(root) == 1 and root[0].tag == BODY:
        raise Refused("Client.DK0005", "the envelope has no Header, so no wsa:To", where="Header")
    if len(root) != 2 or root[0].tag != HEADER or root[1].tag != BODY:
        raise Refused("VersionMismatch.DK0001", "an Envelope holds exactly one Header and then exactly one Body", where="Envelope")
    frame = Frame(root[0], root[1], {}, [], [], None)
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


def _ignore(child: etree._Element, tag: str, frame: Frame) -> None:
    """A header outside the profile: harmless when nobody has to understand it (facts 6.2, note 3), unless it looks like addressing."""
    if tag.startswith(f"{{{WSA}}}"):
        raise Refused("Client.DK0011", "a WS-Addressing header is not one of the profile", where=local_name(child))
    if _OLD_ADDRESSING.match(tag):
        raise Refused(
            "Client.DK0011", f"only WS-Addressing 1.0 ({WSA}) is taken, and this header is of another version", where=local_name(child)
        )
    if must_understand(child) and child.get(ACTOR) in FOR_US:
        raise Refused("Client.DK0010", "a header that is not in the profile says that we must understand it", where=local_name(child))
    frame.others.append(child)


def must_understand(element: etree._Element) -> bool:
    return (element.get(MUST_UNDERSTAND) or "0").strip(SPACE) not in ("0", "false")


def read_addresses(frame: Frame, forms: Collection[str]) -> Addresses:
    found = frame.addressing
    for name, code in _MANDATORY:
        if name not in found:
            raise Refused(code, f"wsa:{name} is missing", where=name)
    to = _leaf(found["To"], "To")
    receiver = party_in(to)
    if isinstance(receiver, int):
        raise _bad_party("To", receiver, "Client.EK0022")
    action = _leaf(found["Action"], "Action")
    if not _ABSOLUTE.match(action) or len(action) > 1_000:
        raise Refused("Client.DK0011", "wsa:Action is not an absolute URI", where="Action")
    message_id = _leaf(found["MessageID"], "MessageID")
    if (shape := _UUID.match(message_id)) is None or (shape.group(1) or "") not in forms:
        raise Refused("Client.EK0023", "wsa:MessageID is not a UUID in a form that is taken here", where="MessageID")
    sender = party_in(_endpoint(found["From"], "From") or "")
    if isinstance(sender, int):
        raise _bad_party("From", sender, "Client.EK0021")
    for name in ("ReplyTo", "FaultTo"):
        if name in found and _endpoint(found[name], name) not in (soap.ANONYMOUS, soap.NONE):
            raise Refused(
                "Client.DK0011", f"wsa:{name} may only be anonymous or none: answers go back the way the message came", where=name
            )
    relates_to = tuple((element.get("RelationshipType") or soap.REPLY, _leaf(element, "RelatesTo")) for element in frame.relates_to)
    return Addresses(to, receiver, sender, action, message_id, relates_to)


def _leaf(element: etree._Element, name: str) -> str:
    if len(element):
        raise Refused("Client.DK0011", f"wsa:{name} must hold text only", where=name)
    return (element.text or "").strip(SPACE)


def _endpoint(element: etree._Element, name: str) -> str | None:
    """The one Address of an endpoint reference; None when it has none."""
    address = None
    for child in element:
        if child.tag == _ADDRESS:
            if address is not None:
                raise Refused("Client.DK0011", f"wsa:{name} holds more than one Address", where=name)
            address = _leaf(child, name)
        elif child.tag not in _IGNORED_IN_ENDPOINT or must_understand(child):
            raise Refused("Client.DK0011", f"wsa:{name} may hold one Address only", where=name)
    return address


@lru_cache(maxsize=4096)
def party_in(uri: str) -> Oin | int:
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
        return (elements[0].text or "").strip(SPACE) if len(elements) == 1 else ""

    message_id, value = text_of(f"{{{WSA}}}MessageID"), text_of(SECURITY, SIGNATURE, f"{{{DS}}}SignatureValue")
    party = party_in(text_of(f"{{{WSA}}}From", _ADDRESS))
    return Glance(
        message_id=message_id if _UUID.match(message_id) else None,
        sender=None if isinstance(party, int) else party,
        signature_value=value if _BASE64.match(value) else None,
    )
