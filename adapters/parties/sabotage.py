"""Envelopes as broken software, expired arrangements and impatient people make them. For the demo and the tests."""

from __future__ import annotations

import re
import uuid
from dataclasses import dataclass
from datetime import UTC, datetime

from adapters import soap
from adapters.parties.season import ADDRESS, Planned
from adapters.signing import BodyPart, Signer
from schemas.oin import Oin


@dataclass(frozen=True, slots=True)
class Sabotaged:
    """What is handed in instead of the good envelope, and under which MessageID its receipt is expected."""

    message_id: str
    signed: bytes


def envelope(planned: Planned, own_oin: str, signer: Signer, *, message_id: str | None = None, action: str | None = None) -> Sabotaged:
    """A good envelope around what was planned."""
    message_id = message_id or f"urn:uuid:{uuid.uuid4()}"
    signed = signer.envelope(
        BodyPart.around(planned.content),
        to=soap.address(Oin(own_oin), ADDRESS),
        sender=soap.address(Oin(planned.sender)),
        action=action or planned.action,
        message_id=message_id,
        created=datetime.now(UTC),
    )
    return Sabotaged(message_id, signed)


def sabotaged(planned: Planned, own_oin: str, signer: Signer, revoked: Signer) -> Sabotaged:
    """What `planned.sabotage` makes of it. Raises KeyError for a sabotage that does not exist."""
    good = envelope(planned, own_oin, signer)
    if planned.sabotage == "changed after signing":
        return Sabotaged(good.message_id, good.signed.replace(b">JA<", b">VERVALLEN<"))
    if planned.sabotage == "revoked certificate":
        return envelope(planned, own_oin, revoked)
    if planned.sabotage == "unknown action":
        return envelope(planned, own_oin, signer, action=planned.action + "Oud")
    if planned.sabotage == "truncated":
        return Sabotaged(good.message_id, good.signed[: len(good.signed) // 2])
    if planned.sabotage == "no mandate":
        return good
    unsigned = soap.unsigned_envelope(
        content=planned.content,
        to=soap.address(Oin(own_oin), ADDRESS),
        sender=soap.ANONYMOUS if planned.sabotage == "no OIN in From" else soap.address(Oin(planned.sender)),
        action=planned.action,
        message_id="bericht-" + uuid.uuid4().hex[:6] if planned.sabotage == "MessageID is no UUID" else good.message_id,
    )
    if planned.sabotage == "From is missing":
        unsigned = re.sub(rb"<wsa:From .*?</wsa:From>", b"", unsigned)
    elif planned.sabotage not in ("no OIN in From", "MessageID is no UUID"):
        raise KeyError(planned.sabotage)
    return Sabotaged(good.message_id, signer.sign(unsigned, strict=False))
