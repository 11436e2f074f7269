"""What an endpoint answered: read as far as it can be trusted, and no further (facts 2.2, 3.6, 6.1; WB013, WB014).

Everything here was chosen by somebody else's server. Of an answer that is not the receiver's own word only that is kept: not its content.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from typing import Final, Protocol

from lxml import etree

from adapters import soap
from adapters.soap import BODY, HEADER, SECURITY, SIGNATURE, SOAP, WSSE11, local_name
from adapters.trust import TrustedCertificate
from routing.outcome import Asked, Heard, Trust, Wire
from schemas.envelope import Envelope
from schemas.faults import Fault, OurFailure
from schemas.oin import Oin, institution_of
from schemas.privacy import plain, redact

#: Bytes of an answer: a receipt takes some thousands, one with the reasons for a rejection a little more. It is read between others'
#: answers, so what a small one may cost is bounded too: some 20 ms.
LARGEST: Final = 256 << 10
LIMITS: Final = soap.Limits(size=LARGEST, markup=5_000, all_attributes=5_000, namespaces=200)
#: Characters of a receiver's own words that are kept.
LONGEST_WORDS: Final = 300
_FAULT: Final = f"{{{SOAP}}}Fault"
_CONFIRMATION: Final = f"{{{WSSE11}}}SignatureConfirmation"
_XML: Final = ("text/xml", "application/xml", "application/soap+xml")
_NO: Final = ("false", "0")
#: A fault may lack the headers that every other message has (facts 2.2): then it is an unsigned one, and not a broken one.
_HEADERLESS: Final = ("Client.DK0005", "Client.DK0006", "Client.DK0007", "Client.EK0020", "Client.EK0022", "Client.EK0021", "Client.EK0023")


class Judge(Protocol):
    """Says whether bytes are a signed message of somebody we trust."""

    def verify(self, raw: bytes, *, at: datetime, connected: Oin | None = None) -> Envelope:
        """`connected`: whose server it is; then it need not be signed. Raises Fault."""

    def certificate(self, der: bytes, *, at: datetime) -> TrustedCertificate:
        """A certificate that was shown. Raises Fault."""


def read(
    body: bytes,
    *,
    status: int,
    content_type: str,
    asked: Asked,
    signature_value: str | None,
    judge: Judge,
    at: datetime,
    server: Oin | None = None,
    retry_after_s: float | None = None,
) -> Heard:
    """What was heard. `signature_value`: of the message that was sent. `server`: whose certificate the server has, for an answer that need
    not be signed. Never raises, whatever the bytes are."""

    def check() -> Envelope:
        envelope = judge.verify(body, at=at, connected=None if asked.signed else server)
        _require_answer(envelope, asked, signature_value)
        return envelope

    bare = Heard(wire=Wire.ANSWERED, status=status, says=f"HTTP {status}", retry_after_s=retry_after_s)
    kind = content_type.partition(";")[0].strip().lower()
    if not body.strip() or kind not in _XML:
        return replace(bare, says=f"HTTP {status}, and no XML ({plain(kind)[:60] or 'no content type'})" if body else f"HTTP {status}")
    try:
        root = soap.parse(body, limits=LIMITS)
    except Fault as fault:
        return replace(bare, says=f"HTTP {status}; the answer cannot be read: {fault.reason}")
    content = _content(root)
    if content is None:
        return replace(bare, says=f"HTTP {status}; the answer is no SOAP 1.1 message with one element in its Body")
    if content.tag == _FAULT:
        return _fault(content, root, bare, check)
    try:
        envelope = check()
    except OurFailure as failure:  # a CRL of ours is missing: as good as not heard
        return replace(bare, wire=Wire.SILENT, says=f"the answer could not be judged here: {failure.reason}")
    except Fault as fault:
        unsigned = _security_signature(root) is None
        return replace(
            bare, soap=True, trust=Trust.UNSIGNED if unsigned else Trust.BROKEN, says=f"the answer is not trusted: {fault.reason}"
        )
    rejected, says = _verdict(envelope.content)
    return replace(bare, soap=True, trust=Trust.GOOD, rejected=rejected, says=says)


def _fault(content: etree._Element, root: etree._Element, bare: Heard, check: Callable[[], Envelope]) -> Heard:
    code, words = _child_text(content, "faultcode")[:200], _words(_child_text(content, "faultstring"))
    trust = Trust.UNSIGNED
    if _security_signature(root) is not None:
        try:
            check()
            trust = Trust.GOOD
        except OurFailure as failure:
            return replace(bare, wire=Wire.SILENT, says=f"the fault could not be judged here: {failure.reason}")
        except Fault as fault:
            if fault.code not in _HEADERLESS:
                return replace(bare, soap=True, fault=plain(code), trust=Trust.BROKEN, says=f"the fault is not trusted: {fault.reason}")
    return replace(bare, soap=True, fault=plain(code.rpartition(":")[2]), trust=trust, says=words or f"fault {plain(code)[:60]}")


def _require_answer(envelope: Envelope, asked: Asked, signature_value: str | None) -> None:
    """Raises Fault unless this is the receiver's answer to this very message."""
    if envelope.certificate_oin != asked.system:
        raise Fault("Client.EK0031", f"it is signed by system {envelope.certificate_oin}, and the endpoint is of {asked.system}")
    if (soap.REPLY, asked.message_id) not in envelope.relates_to:
        raise Fault("Client.DK0008", "its RelatesTo does not name the message that was sent")
    if envelope.sender not in (asked.receiver, institution_of(asked.receiver), asked.system):
        raise Fault("Client.EK0021", f"its From is {envelope.sender}, which is not the receiver")
    header = envelope.content.getroottree().getroot().find(HEADER)
    confirmed = [one.get("Value") for one in (() if header is None else header.iterfind(f"{SECURITY}/{_CONFIRMATION}"))]
    if confirmed and signature_value not in confirmed:
        raise Fault("Client.EK0031", "its SignatureConfirmation is not of the message that was sent")


def _content(root: etree._Element) -> etree._Element | None:
    if root.tag != f"{{{SOAP}}}Envelope":
        return None
    bodies = root.findall(BODY)
    return bodies[0][0] if len(bodies) == 1 and len(bodies[0]) == 1 else None


def _security_signature(root: etree._Element) -> etree._Element | None:
    return root.find(f"{HEADER}/{SECURITY}/{SIGNATURE}")


def _child_text(parent: etree._Element, name: str) -> str:
    return next(((child.text or "").strip() for child in parent if local_name(child) == name), "")


def _verdict(content: etree._Element) -> tuple[bool, str]:
    """Whether the receiver processed it and said no, as DUO does (facts 6.2): `requestGoedgekeurd` is false; and with which reasons."""
    if not any((said.text or "").strip().lower() in _NO for said in content.iter("{*}requestGoedgekeurd")):
        return False, ""
    reasons = [
        " ".join(filter(None, (_child_text(one, "foutcode"), _child_text(one, "fouttekst")))) for one in content.iter("{*}foutmelding")
    ]
    return True, _words("; ".join(filter(None, reasons))) or "requestGoedgekeurd is false"


def _words(text: str) -> str:
    return plain(redact(" ".join(text[: 4 * LONGEST_WORDS].split())))[:LONGEST_WORDS]
