"""The envelope as a value: what we read from it, and the bytes exactly as they arrived."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from lxml import etree

from schemas.oin import Oin

#: Relationship type of a wsa:RelatesTo that names none: this message answers that one (WS-Addressing 1.0 Core, 3.1).
REPLY: Final = "http://www.w3.org/2005/08/addressing/reply"


#: A start tag in canonical form, where a value holds no raw `"`; and the prefixes declared in it.
_START_TAG: Final = re.compile(rb'<[^\s/>]+((?: [^\s=]+="[^"]*")*)>')
_DECLARED: Final = re.compile(rb' xmlns(?::([^\s=]+))?="')


def _only_child(parent: bytes) -> bytes:
    """The canonical form of an element's one child, cut out of that of the element: much cheaper than making it. Empty where it may be
    another: a prefix that the element declares, and the child may use, the child alone would declare itself."""
    start = _START_TAG.match(parent)
    if start is None:
        return b""
    inside = parent[start.end() : parent.rindex(b"</")]
    if any(not prefix or prefix + b":" in inside for prefix in _DECLARED.findall(start[1])):
        return b""
    return inside[inside.index(b"<") : inside.rindex(b">") + 1]  # without white space around it; in text there is neither


@dataclass(frozen=True, slots=True, kw_only=True)
class Envelope:
    """One verified message. Every field was read from an element the signature covers (rule 3), except `xml`, which is all of it.

    Of profile 2W-be it may be unsigned: then the connection it came by says whose it is (`signed` is empty).
    """

    message_id: str  #: wsa:MessageID exactly as sent; with the sender, a key by which we recognise a duplicate
    sender: Oin  #: whom the sender says it speaks for (oin in wsa:From); whether it may is for certificate and mandate to say
    receiver: Oin  #: OIN or routeringskenmerk from wsa:To
    to: str  #: wsa:To, whole: a logical address, not the URL that is called
    action: str  #: wsa:Action; chooses dienst, version and message kind
    relates_to: tuple[tuple[str, str], ...] = ()  #: (relationship type, MessageID) of each wsa:RelatesTo
    created: datetime  #: UTC; of an unsigned message without a Timestamp, when it was read
    expires: datetime | None  #: UTC; None when the sender named none
    certificate_oin: Oin  #: subject serialNumber of the signing certificate, else of the connection's: the connecting system
    certificate_sha256: str  #: hex fingerprint of the signing certificate; empty when unsigned
    signed: tuple[str, ...]  #: names of the covered parts, in the signature's order, such as "Body", "Timestamp", "To"
    signature_value: str  #: base64, as sent: an answer confirms it (WB014); empty when unsigned
    content: etree._Element = field(repr=False)  #: the one child of soap:Body
    xml: bytes = field(repr=False)  #: as received, never re-serialised: that would break the signature
    body: bytes = field(default=b"", repr=False)  #: soap:Body in exclusive canonical form; empty where no digest was taken of just that

    def canonical_content(self) -> bytes:
        """The content in exclusive canonical form, without comments."""
        cut = _only_child(self.body)
        return cut or etree.tostring(self.content, method="c14n", exclusive=True, with_comments=False, with_tail=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt:
    """What a sender gets for a hand-in: durable and authorised, or refused and why (design section 4)."""

    accepted: bool
    reference: str  #: ours; repeated unchanged for a duplicate
    received_at: datetime  #: UTC; the moment of the first hand-in
    code: str | None = None
    reason: str | None = None
    warnings: tuple[str, ...] = ()
