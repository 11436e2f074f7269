"""What the backbone answers on the connection a message came by: a receipt or a fault, signed when the dienst's profile is 2W-be-S and
not when it is 2W-be (facts 2.6, 3.6 and 6.1; WB011).

The answer goes to whom the request says it is from. When the request was not verified, that is a guess, which costs nobody anything: the
answer travels back over the connection, whatever it says.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final

import schemas
from adapters import addressing, soap
from adapters.signing import BodyPart, Signer
from schemas.envelope import Envelope
from schemas.faults import Fault, kind_of
from schemas.oin import Oin

NAMESPACE: Final = "urn:x-backbone:ontvangst:1"
XSD: Final = Path(schemas.__file__).parent / "ontvangst.xsd"


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What an answer needs to know of the request. Any of it may be unknown."""

    message_id: str | None = None
    sender: Oin | None = None
    signature_value: str | None = None
    action: str | None = None
    unread: bool = False  #: refused before its body was looked at: whether it was signed is not known, so nothing is confirmed

    @classmethod
    def of(cls, envelope: Envelope) -> Request:
        """Of a verified message."""
        value = envelope.signature_value or None
        return cls(message_id=envelope.message_id, sender=envelope.sender, signature_value=value, action=envelope.action)

    @classmethod
    def glance(cls, raw: bytes, limits: soap.Limits) -> Request:
        """As far as it can be read from bytes that were refused. Nothing of it is trusted."""
        seen = addressing.glance(raw, limits)
        return cls(message_id=seen.message_id, sender=seen.sender, signature_value=seen.signature_value)


def receipt_content(*, reference: str, received_at: datetime, warnings: Sequence[str] = ()) -> bytes:
    """The element of a receipt, see `ontvangst.xsd`."""
    said = "".join(f"<waarschuwing>{soap.text(warning)}</waarschuwing>" for warning in warnings)
    return (
        f'<ontvangst xmlns="{NAMESPACE}"><ontvangstBevestiging>J</ontvangstBevestiging><referentie>{soap.text(reference)}</referentie>'
        f"<ontvangenOp>{soap.moment(received_at)}</ontvangenOp>{said}</ontvangst>"
    ).encode()


class Answers:
    """Makes answers, signed as the backbone, or not at all."""

    def __init__(self, signer: Signer | None, own_oin: Oin) -> None:
        """`signer`: None for answers that are not signed."""
        self._signer, self._own_oin, self._from = signer, own_oin, soap.address(own_oin)

    def unsigned(self) -> Answers:
        """The same answers, not signed."""
        return Answers(None, self._own_oin)

    def receipt(self, request: Request, *, reference: str, received_at: datetime, warnings: Sequence[str]) -> bytes:
        """Accepted: durable and authorised. Its Action is the request's, as DUO does and our WSDL says."""
        content = receipt_content(reference=reference, received_at=received_at, warnings=warnings)
        return self._envelope(content, request, request.action or soap.FAULT_ACTION)

    def fault(self, request: Request, fault: Fault, *, reference: str | None = None) -> bytes:
        """Refused, or not possible now. The short Dutch text of the code comes first, then what is wrong in this very case."""
        return self._envelope(soap.fault(Told(fault, reference), language="nl"), request, soap.FAULT_ACTION)

    def _envelope(self, content: bytes, request: Request, action: str) -> bytes:
        to = soap.address(request.sender) if request.sender else soap.ANONYMOUS
        message_id = f"urn:uuid:{uuid.uuid4()}"
        relates_to = ((soap.REPLY, request.message_id),) if request.message_id else ()
        if self._signer is None:
            return soap.unsigned_envelope(
                content=content, to=to, sender=self._from, action=action, message_id=message_id, relates_to=relates_to
            )
        return self._signer.envelope(
            BodyPart.around(content),
            to=to,
            sender=self._from,
            action=action,
            message_id=message_id,
            relates_to=relates_to,
            confirms=() if request.unread else (request.signature_value,),
        )


class Told(Fault):
    """A fault in the words of an answer."""

    def __init__(self, fault: Fault, reference: str | None = None) -> None:
        place = f" ({fault.where})" if fault.where else ""
        known = f" [referentie {reference}]" if reference else ""
        particular = f": {fault.reason}" if fault.reason != fault.kind.en else ""
        super().__init__(fault.code, f"{fault.kind.nl}{particular}{place}{known}", details=fault.details, owner=fault.owner)


def fault_of(code: str, reason: str, details: Sequence[str] = ()) -> Fault:
    """A fault from how the store keeps it: `code: sentence (at place)`."""
    return Fault(code, reason.removeprefix(f"{kind_of(code).code}: "), details=details)
