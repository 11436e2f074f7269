"""A PKI made once per test session, and messages signed by its parties. For every test that needs a signed message."""

from __future__ import annotations

import re
import tempfile
import uuid
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes

from adapters import pki, soap
from adapters.signing import BodyPart, Signer
from adapters.trust import Revocation, TrustStore
from adapters.verify_policy import VerifyPolicy
from adapters.wsse import Verifier

#: Invented parties.
LAS = "00000003272448340000"
SCHOOL = "0000000700025BE00000"
HUB = "00000001800866472000"
ACTION = "urn:example:proef:v1/melding"
CONTENT = b'<p:melding xmlns:p="urn:example:proef:v1"><p:kenmerk>A-1</p:kenmerk><p:nummer>999900006</p:nummer></p:melding>'
#: The moment of all sample messages, whole seconds, fixed for the session. An hour ago: a test that gives such a message to something with
#: a clock of its own fails at once, and not only when the tests take longer than its five minutes.
NOW = datetime.now(UTC).replace(microsecond=0) - timedelta(hours=1)


@cache
def folder() -> Path:
    """The session's PKI."""
    path = Path(tempfile.mkdtemp(prefix="koppelpunt-pki-"))
    pki.init(path)
    return path


def party(name: str = "las", *, oin: str = LAS, days: int = 365, revoked: bool = False) -> pki.Party:
    """A party's key and certificate files; the same arguments give the same files."""
    return _issue(name, oin, days, revoked)


@cache
def _issue(name: str, oin: str, days: int, revoked: bool) -> pki.Party:
    # two tests may call different parties by one name; neither overwrites the other's files
    taken = (folder() / f"{name}.crt").exists()
    return pki.issue(folder(), oin=oin, name=f"{name}-{oin}-{days}" if taken else name, days=days, revoked=revoked)


@cache
def signer(name: str = "las", *, oin: str = LAS, days: int = 365, revoked: bool = False) -> Signer:
    """Signs as that party."""
    files = party(name, oin=oin, days=days, revoked=revoked)
    return Signer(pki.read_key(files.key), pki.read_certificate(files.certificate))


@cache
def foreign_signer() -> Signer:
    """Somebody who calls himself the LAS, with a certificate of a CA of his own."""
    elsewhere = Path(tempfile.mkdtemp(prefix="koppelpunt-foreign-pki-"))
    pki.init(elsewhere)
    files = pki.issue(elsewhere, oin=LAS, name="las")
    return Signer(pki.read_key(files.key), pki.read_certificate(files.certificate))


@cache
def signer_without_oin() -> Signer:
    """A certificate of the session's CA that names nobody: its subject has no serialNumber."""
    files = party("nobody")
    key, certificate = pki.read_key(files.key), pki.read_certificate(files.certificate)
    builder = x509.CertificateBuilder().subject_name(x509.Name(list(certificate.subject)[:2])).issuer_name(certificate.issuer)
    builder = builder.public_key(key.public_key()).serial_number(x509.random_serial_number())
    builder = builder.not_valid_before(certificate.not_valid_before_utc).not_valid_after(certificate.not_valid_after_utc)
    builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
    return Signer(key, builder.sign(pki.read_key(folder() / "intermediate.key"), hashes.SHA256()))


@cache
def trust() -> TrustStore:
    """Trusts the session's CAs, without revocation."""
    return TrustStore.from_files([folder() / "ca.pem"])


def trust_with_crls(revocation: Revocation = Revocation.CHAIN) -> TrustStore:
    """Trusts the session's CAs, with the CRLs as they are now."""
    return TrustStore.from_files([folder() / "ca.pem"], [folder() / "crl.pem"], revocation=revocation)


def verifier(policy: VerifyPolicy | None = None) -> Verifier:
    return Verifier(trust(), policy or VerifyPolicy())


def message_id() -> str:
    return f"urn:uuid:{uuid.uuid4()}"


def unsigned(
    *,
    content: bytes = CONTENT,
    sender: str = SCHOOL,
    receiver: str = HUB,
    action: str = ACTION,
    message: str | None = None,
    relates_to: tuple[tuple[str, str], ...] = (),
    created: datetime | None = NOW,
    lifetime: timedelta = timedelta(minutes=5),
) -> bytes:
    """An envelope without signature; `sender` and `receiver` are OINs."""
    return soap.unsigned_envelope(
        content=content,
        to=soap.address(receiver, "https://koppelpunt.example/proef/v1"),
        sender=soap.address(sender),
        action=action,
        message_id=message or message_id(),
        relates_to=relates_to,
        created=created,
        lifetime=lifetime,
    )


def signed(*, by: Signer | None = None, change: Callable[[bytes], bytes] | None = None, **parts: object) -> bytes:
    """A message signed by a party (default the LAS). `change` is applied to the envelope before it is signed, right or wrong."""
    raw = unsigned(**parts)  # type: ignore[arg-type]
    return (by or signer()).sign(change(raw) if change else raw, strict=False)


def fast(
    *,
    by: Signer | None = None,
    content: bytes = CONTENT,
    sender: str = SCHOOL,
    receiver: str = HUB,
    created: datetime = NOW,
    message: str | None = None,
) -> bytes:
    """A message signed without parsing, for tests that need many."""
    return (by or signer()).envelope(
        BodyPart.around(content),
        to=soap.address(receiver, "https://koppelpunt.example/proef/v1"),
        sender=soap.address(sender),
        action=ACTION,
        message_id=message or message_id(),
        created=created,
    )


def without(tag: str) -> Callable[[bytes], bytes]:
    """Leave out an element, by its prefixed name."""
    return lambda raw: re.sub(rf"<{tag}[ >].*?</{tag}>".encode(), b"", raw, count=1, flags=re.DOTALL)
