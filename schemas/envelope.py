"""The envelope as a value: what we read from it, and the bytes exactly as they arrived."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from lxml import etree

from schemas.oin import Oin

#: Relationship type of a wsa:RelatesTo that names none: this message answers that one (WS-Addressing 1.0 Core, 3.1).
REPLY: Final = "http://www.w3.org/2005/08/addressing/reply"


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt:
    """What a sender gets for a hand-in: durable and authorised, or refused and why (design section 4)."""

    accepted: bool
    reference: str  #: ours; repeated unchanged for a duplicate
    received_at: datetime  #: UTC; the moment of the first hand-in
    code: str | None = None
    reason: str | None = None
    warnings: tuple[str, ...] = ()
