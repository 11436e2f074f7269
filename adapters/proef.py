"""A proef of our own, as an envelope without a signature: whoever sends it on signs it, so only senders need our key."""

from __future__ import annotations

from datetime import datetime

from adapters import soap
from routing.proef import ACTION
from schemas.envelope import Envelope
from schemas.oin import Oin

_NAMESPACE = "urn:x-backbone:proef:1"
_LIMITS = soap.Limits(size=16_384)
ECHO = "Proef van het Koppelpunt"


def compose(id: str, *, own: Oin, receiver: Oin, at: datetime) -> Envelope:
    """The same for the same id and moment, so that a worker that died may have made it already. `id`: a UUID."""
    content = (
        f'<proef xmlns="{_NAMESPACE}"><bedrijfsdocument>'
        f"<identificatiecodeBedrijfsdocument>{id}</identificatiecodeBedrijfsdocument>"
        f"<verzendendeInstantie>{own}</verzendendeInstantie>"
        f"<ontvangendeInstantie>{soap.text(receiver)}</ontvangendeInstantie>"
        f"<datumTijdBedrijfsdocument>{at:%Y-%m-%dT%H:%M:%SZ}</datumTijdBedrijfsdocument>"
        f"</bedrijfsdocument><echo>{ECHO}</echo></proef>"
    ).encode()
    to, message_id = soap.address(receiver), f"urn:uuid:{id}"
    raw = soap.unsigned_envelope(content=content, to=to, sender=soap.address(own), action=ACTION, message_id=message_id)
    body = soap.parse(raw, limits=_LIMITS).find(soap.BODY)
    assert body is not None
    return Envelope(
        message_id=message_id,
        sender=own,
        receiver=receiver,
        to=to,
        action=ACTION,
        created=at,
        expires=None,
        certificate_oin=own,
        certificate_sha256="",
        signed=(),
        signature_value="",
        content=body[0],
        xml=raw,
    )
