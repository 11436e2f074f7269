"""Signed snapshots of the service register: what another hub routes by while it cannot ask.

A snapshot is one file: a header (JSON, one line) that says whose register it is, which version, made when and valid until when, and the
SHA-256 of the content; the signature over exactly that line (base64, one line); then the content, the register's document as JSON, gzipped.
The signature is RSA PKCS#1 v1.5 with SHA-256, by a certificate in the header that our trusted CAs issued to that OIN. Ours: the sources
describe no snapshot. Tokens of mandates are secrets of their suppliers and are left out.
"""

from __future__ import annotations

import base64
import binascii
import gzip
import hashlib
import json
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final, Protocol

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15

from adapters.credentials import ours
from adapters.trust import TrustedCertificate
from broker_config.settings import Settings
from routing.register import Register, RegisterError, read_register
from schemas.faults import Fault
from schemas.oin import Oin, is_oin

FORMAT: Final = "koppelpunt-register-1"
#: How long a snapshot is good for, unless said otherwise.
VALID_FOR: Final = timedelta(hours=24)
#: Bytes of a header line and of a signature line; of a packed and an unpacked content. A national register has some 120 MB.
LARGEST_LINE, LARGEST_PACKED, LARGEST = 16 << 10, 128 << 20, 1 << 30
#: How far the clock of whoever made it may be ahead of ours.
AHEAD: Final = timedelta(minutes=5)
_FIELDS: Final = {"format": str, "issuer": str, "version": int, "made": str, "valid_until": str, "sha256": str, "certificate": str}
_MOMENT: Final = "%Y-%m-%dT%H:%M:%SZ"


class SnapshotRefused(ValueError):
    """A snapshot that is not used; the sentence says why, and what to do."""


class Sealer(Protocol):
    """What signs: `adapters.signing.Signer`."""

    der: bytes

    def seal(self, data: bytes) -> bytes:
        """The RSA signature over these bytes."""


class Check(Protocol):
    """Who is trusted: `TrustStore.check`, or `FollowingVerifier.certificate`."""

    def __call__(self, der: bytes, *, at: datetime) -> TrustedCertificate:
        """The certificate. Raises a Fault."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A register as its keeper signed it. `version` counts the changes of that keeper's register."""

    issuer: Oin
    version: int
    made: datetime
    valid_until: datetime
    document: Mapping[str, Any]
    register: Register  #: what the document says, to decide with


def make(
    document: Mapping[str, Any], *, version: int, issuer: str, sealer: Sealer, now: datetime, valid_for: timedelta = VALID_FOR
) -> bytes:
    """The snapshot of a register's document."""
    public = dict(document)
    public["mandates"] = [{name: value for name, value in row.items() if name != "token"} for row in document.get("mandates", ())]
    content = gzip.compress(json.dumps(public, ensure_ascii=False, separators=(",", ":")).encode(), 6, mtime=0)
    header = json.dumps(
        {
            "format": FORMAT,
            "issuer": issuer,
            "version": version,
            "made": now.astimezone(UTC).strftime(_MOMENT),
            "valid_until": (now + valid_for).astimezone(UTC).strftime(_MOMENT),
            "sha256": hashlib.sha256(content).hexdigest(),
            "certificate": base64.b64encode(sealer.der).decode(),
        }
    ).encode()
    return b"\n".join((header, base64.b64encode(sealer.seal(header)), content))


def maker(settings: Settings) -> Callable[[Mapping[str, Any], int, datetime], bytes]:
    """Document, version and moment -> a snapshot of ours, signed with our certificate as it is then, good for the hours of the settings.
    Raises UsageError when we have none."""
    credentials, valid_for = ours(settings), timedelta(hours=settings.snapshot_hours)

    def made(document: Mapping[str, Any], version: int, now: datetime) -> bytes:
        own = credentials()
        return make(document, version=version, issuer=own.oin, sealer=own.signer, now=now, valid_for=valid_for)

    return made


def read(raw: bytes, *, check: Check, issuer: str, now: datetime, at_least: int = 0) -> Snapshot:
    """The snapshot, verified. `issuer`: whose it must be; `at_least`: the version in use already, because an older one would bring ended
    mandates back. Raises SnapshotRefused, also for one that has expired or whose content is no register."""
    header, signature, content = _parts(raw)
    said = _said(header)
    if said["issuer"] != issuer:
        raise SnapshotRefused(f"the snapshot is of the register of {said['issuer']}, and that of {issuer} is followed")
    _verify(said, header, signature, check, now)
    made, until = _moment(said, "made"), _moment(said, "valid_until")
    if made > now + AHEAD:
        raise SnapshotRefused(f"the snapshot says it was made at {made:%Y-%m-%d %H:%M} UTC, which is not yet; look at both clocks")
    if until < now:
        raise SnapshotRefused(f"the snapshot was valid until {until:%Y-%m-%d %H:%M} UTC; ask for a new one")
    if said["version"] < at_least:
        raise SnapshotRefused(f"the snapshot has version {said['version']}, and version {at_least} is in use already")
    if hashlib.sha256(content).hexdigest() != said["sha256"]:
        raise SnapshotRefused("the snapshot's content is not what was signed: it was cut off or changed on its way; fetch it again")
    document = _document(content)
    try:
        register = read_register(document, version=said["version"])
    except RegisterError as error:
        raise SnapshotRefused(f"the snapshot holds no register that can be used. {error}") from None
    return Snapshot(Oin(issuer), said["version"], made, until, document, register)


def _parts(raw: bytes) -> tuple[bytes, bytes, bytes]:
    first = raw.find(b"\n", 0, LARGEST_LINE)
    second = raw.find(b"\n", first + 1, first + 1 + LARGEST_LINE) if first > 0 else -1
    if second < 0 or len(raw) > LARGEST_PACKED:
        raise SnapshotRefused("this is no snapshot of a register: it has no header and signature, or is too large")
    return raw[:first], raw[first + 1 : second], raw[second + 1 :]


def _said(header: bytes) -> dict[str, Any]:
    try:
        said = json.loads(header)
    except (ValueError, RecursionError):
        said = None
    if not isinstance(said, dict) or said.get("format") != FORMAT:
        raise SnapshotRefused(f"this is no snapshot of a register: its first line does not say {FORMAT}")
    if set(said) != set(_FIELDS) or any(type(said[name]) is not kind for name, kind in _FIELDS.items()) or not is_oin(said["issuer"]):
        raise SnapshotRefused(f"the snapshot's first line must have {', '.join(_FIELDS)}, and nothing else")
    return said


def _verify(said: Mapping[str, Any], header: bytes, signature: bytes, check: Check, now: datetime) -> None:
    try:
        der, value = base64.b64decode(said["certificate"], validate=True), base64.b64decode(signature, validate=True)
        trusted = check(der, at=now)
        trusted.public_key.verify(value, header, PKCS1v15(), hashes.SHA256())
    except binascii.Error:
        raise SnapshotRefused("the snapshot's certificate or signature is not base64") from None
    except Fault as fault:
        raise SnapshotRefused(f"the snapshot's certificate is not trusted: {fault.reason}") from None
    except InvalidSignature:
        raise SnapshotRefused("the snapshot's signature is wrong: its first line was changed, or another key signed it") from None
    if trusted.oin != said["issuer"]:
        raise SnapshotRefused(f"the snapshot is of the register of {said['issuer']}, and the certificate that signed it of {trusted.oin}")


def _moment(said: Mapping[str, Any], name: str) -> datetime:
    try:
        return datetime.strptime(said[name], _MOMENT).replace(tzinfo=UTC)
    except ValueError:
        raise SnapshotRefused(f"the snapshot's {name} is not a moment as in 2027-02-01T14:03:00Z") from None


def _document(content: bytes) -> Mapping[str, Any]:
    unpacker = zlib.decompressobj(wbits=31)
    try:
        unpacked = unpacker.decompress(content, LARGEST)
        found = json.loads(unpacked) if unpacker.eof and not unpacker.unused_data else None
    except (zlib.error, ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise SnapshotRefused("the snapshot's content is not gzipped JSON, or is too large")
    return found
