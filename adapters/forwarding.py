"""The backbone's own envelope around a sender's unchanged Body (design section 3, envelopes)."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Callable
from datetime import datetime
from typing import Any, Final

from lxml import etree

from adapters import c14n, soap
from adapters.signing import BodyPart, Signer, free_id, ids_in
from schemas.oin import Oin

#: RelationshipType by which a delivery of ours names the message it came from.
ORIGINAL: Final = "urn:x-backbone:original"
_NCNAME: Final = re.compile(r"[^\W\d][\w.-]*\Z")
_LIMITS: Final = soap.Limits(size=64 << 20)


class Forwarding:
    """Signs deliveries that cannot travel in their sender's envelope. From stays the sender's OIN, To names the receiver."""

    def __init__(self, signer: Signer | Callable[[str | None, datetime], Signer], limits: soap.Limits = _LIMITS) -> None:
        """`signer`: one for all, or by the receiving system and the moment that the envelope says it was created at."""
        self._signer_for = (lambda _system, _created: signer) if isinstance(signer, Signer) else signer
        self._limits = limits

    def forward(
        self,
        original: bytes,
        *,
        message_id: str,
        sender: str,
        receiver: str,
        system: str | None = None,
        address: str | None,
        action: str,
        relates_to: str | None,
        created: datetime,
        signed: bool = True,
    ) -> bytes:
        """The Body of `original`, which we verified at hand-in, in a fresh envelope. `system`: that it goes to. `address`: the wsa:To to
        keep; None: one is made. `signed`: false for an endpoint of a dienst without signatures (2W-be, WB011).

        The Body of an unsigned message may lack what a signature needs, a good wsu:Id: then it gets one, and that is all.
        """
        body = soap.parse(original, limits=self._limits).find(soap.BODY)
        if body is None:
            raise ValueError("a stored message has no Body")
        addresses: dict[str, Any] = {
            "to": address or soap.address(Oin(receiver)),
            "sender": soap.address(Oin(sender)),
            "action": action,
            "message_id": message_id,
            "relates_to": ((ORIGINAL, relates_to),) if relates_to else (),
        }
        if not signed:
            return soap.unsigned_envelope(content=etree.tostring(body[0], with_tail=False, encoding="UTF-8"), **addresses)
        if not _NCNAME.match(body.get(soap.ID) or ""):
            body.set(soap.ID, free_id("kp-body", ids_in(body)))
        part = BodyPart(
            xml=etree.tostring(body, with_tail=False, encoding="UTF-8"),
            digest=base64.b64encode(hashlib.sha256(c14n.exclusive(body)).digest()).decode(),
            id=body.get(soap.ID) or "",
        )
        return self._signer_for(system, created).envelope(part, created=created, **addresses)
