"""WS-Security for the Edukoppeling WUS profiles 2W-be-S and 2W-be: reading only what was signed (rule 3; facts 2, 3 and 6.2).

Each part is found by its place (`adapters.addressing`), and a reference of the signature counts only when it resolves to that very
element (`adapters.signature`). Structure, counts and allow-lists come before any crypto:

    parse -> envelope and headers -> addressing values -> Security, Timestamp, SignedInfo -> coverage
          -> certificate -> signature value -> digests -> time -> Body

`Envelope` is made from those elements of that tree and nothing else. Signing is in `adapters.signing`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection
from datetime import datetime
from typing import Any

from lxml import etree

from adapters import soap
from adapters.addressing import Addresses, Frame, read_addresses, read_frame
from adapters.signature import (
    check_digests,
    check_signature,
    check_times,
    coverage,
    is_unsigned,
    read_security,
    read_times,
    require_unique_ids,
    token_bytes,
)
from adapters.trust import TrustedCertificate, TrustStore
from adapters.verify_policy import EDUKOPPELING, VerifyPolicy
from schemas.envelope import Envelope
from schemas.faults import NotAllowed, Refused
from schemas.oin import Oin, institution_of


class Verifier:
    """Says of received bytes whether they are a signed message, and what it says. One object serves a whole process."""

    def __init__(
        self, trust: TrustStore, policy: VerifyPolicy = EDUKOPPELING, *, noted: Callable[[TrustedCertificate], None] = lambda _: None
    ) -> None:
        """`noted`: told with which certificate each good message was signed."""
        self._trust, self._policy, self._noted = trust, policy, noted

    def verify(self, raw: bytes, *, at: datetime | None, connected: Oin | None = None) -> Envelope:
        """The message in these bytes, as judged at this time (None: at its own Created, for old recordings). `connected`: whose
        certificate the connection has that it came by; then it need not be signed (profile 2W-be), and a signature that is there must
        be right all the same.

        Raises Refused (NotAllowed about the certificate and the receiver) with the most specific code of facts 6.2 and the failing
        part as `where`; OurFailure when a CRL that we need is absent or expired.
        """
        policy = self._policy
        root = soap.parse(raw, limits=policy.limits)
        frame = read_frame(root, policy.references)
        addresses = read_addresses(frame, policy.message_id_forms)
        if connected is not None and at is not None and is_unsigned(frame):
            return self._unsigned(raw, root, frame, addresses, at=at, connected=connected)
        security = read_security(frame, policy, raw)
        created, expires = read_times(security.timestamp)
        require_unique_ids(root, raw)
        covered = coverage(root, frame, security, policy)

        certificate = self._trust.check(token_bytes(security.token.text or ""), at=created if at is None else at)
        check_signature(security, certificate.public_key)
        body = check_digests(covered, frame.body)

        check_times(created, expires, created if at is None else at, policy)
        self._noted(certificate)
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
            body=body,
        )

    def _unsigned(self, raw: bytes, root: etree._Element, frame: Frame, addresses: Addresses, *, at: datetime, connected: Oin) -> Envelope:
        """A message of profile 2W-be. A Timestamp in it is judged as in a signed one; no two Ids may be the same, because it travels on
        in an envelope that we sign."""
        created, expires = at, None
        if frame.security is not None and len(frame.security):
            created, expires = read_times(frame.security[0])
            check_times(created, expires, at, self._policy)
        require_unique_ids(root, raw)
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

    def _envelope(self, raw: bytes, frame: Frame, addresses: Addresses, **rest: Any) -> Envelope:
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
    read_addresses(read_frame(root, policy.references), policy.message_id_forms)


def content_digest(envelope: Envelope) -> bytes:
    """SHA-256 over the exclusive canonical form of the content: the same for an honest retry, whatever its ids and signature (rule 2)."""
    return hashlib.sha256(envelope.canonical_content()).digest()
