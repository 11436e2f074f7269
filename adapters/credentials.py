"""Our own key and certificate, as they are now: what signs and what speaks TLS follows their files."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.x509.oid import NameOID

from adapters.errors import UsageError
from adapters.pki import PkiError, read_certificate, read_key
from adapters.reloading import Following
from adapters.signing import Signer
from broker_config.settings import Settings


@dataclass(frozen=True, slots=True)
class Credentials:
    """A certificate with its key, read from its files."""

    certificate: x509.Certificate
    signer: Signer
    tls: ssl.SSLContext | None = None  #: for a server that shows it

    @property
    def context(self) -> ssl.SSLContext:
        """Of a server."""
        assert self.tls is not None
        return self.tls


def read(key: Path, cert: Path, context: ssl.SSLContext | None = None) -> Credentials:
    """Raises PkiError with a sentence that names the file."""
    certificate = read_certificate(cert)
    try:
        return Credentials(certificate, Signer(read_key(key), certificate), context)
    except PkiError:
        raise
    except ValueError as error:
        raise PkiError(f"{key} and {cert} cannot be used: {error}") from None


def ours(settings: Settings, context_of: Callable[[Settings], ssl.SSLContext] | None = None) -> Following[Credentials]:
    """Those of the settings, followed. `context_of`: makes the TLS side of a server of them, with the trusted CAs. Raises UsageError when
    there are none, PkiError or OSError when they cannot be read."""
    key, cert = settings.key, settings.cert
    if key is None or cert is None:
        raise UsageError(
            "Set KOPPELPUNT_KEY and KOPPELPUNT_CERT to our signing key and certificate, or let `run.py up` make a private home."
        )
    trust = (settings.trust,) if context_of and settings.trust else ()
    make: Callable[[], Credentials] = lambda: read(key, cert, context_of(settings) if context_of else None)  # noqa: E731
    return Following("certificate", (key, cert, *trust), make, _require_successor)


def _require_successor(before: Credentials, after: Credentials) -> None:
    """Raises PkiError for a certificate with which everything would stop."""
    if oin_of(after.certificate) != oin_of(before.certificate):
        raise PkiError(f"the new certificate is of {oin_of(after.certificate)}, the one in use of {oin_of(before.certificate)}")
    if after.certificate.not_valid_after_utc < datetime.now(UTC):
        raise PkiError(f"the new certificate expired on {after.certificate.not_valid_after_utc:%Y-%m-%d %H:%M} UTC")
    if after.certificate.not_valid_before_utc > datetime.now(UTC):
        raise PkiError(f"the new certificate is not valid before {after.certificate.not_valid_before_utc:%Y-%m-%d %H:%M} UTC")


def oin_of(certificate: x509.Certificate) -> str:
    """The subject's serialNumbers, of which there should be one."""
    return ", ".join(str(one.value) for one in certificate.subject.get_attributes_for_oid(NameOID.SERIAL_NUMBER)) or "nobody"


class FollowingSigner(Signer):
    """Signs with whatever key is ours at the moment."""

    def __init__(self, current: Callable[[], Signer]) -> None:
        self._current = current

    def envelope(self, *arguments: Any, **named: Any) -> bytes:
        """As `Signer.envelope`."""
        return self._current().envelope(*arguments, **named)

    def sign(self, *arguments: Any, **named: Any) -> bytes:
        """As `Signer.sign`."""
        return self._current().sign(*arguments, **named)


class FollowingContext(ssl.SSLContext):
    """A TLS side whose every new connection is spoken by whatever context is current; those there are go on as they began.

    A context in use can be given another certificate, but not have a CA taken away, and half of it has changed when a file is broken.
    """

    def __new__(cls, current: Callable[[], ssl.SSLContext], protocol: int = ssl.PROTOCOL_TLS_SERVER) -> FollowingContext:
        """`protocol`: that of the contexts it follows."""
        return super().__new__(cls, protocol)

    def __init__(self, current: Callable[[], ssl.SSLContext], protocol: int = ssl.PROTOCOL_TLS_SERVER) -> None:
        self._following = current

    def wrap_bio(self, *arguments: Any, **named: Any) -> ssl.SSLObject:
        """What asyncio begins a connection with."""
        return self._following().wrap_bio(*arguments, **named)
