"""Our own key and certificate, as they are now: what signs and what speaks TLS follows their files."""

from __future__ import annotations

import logging
import ssl
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from adapters.errors import UsageError
from adapters.pki import PkiError, read_certificate, read_key
from adapters.reloading import Following
from adapters.signing import Signer
from broker_config.settings import Settings
from routing.rollover import NextCertificate, RollOver
from routing.work import StoreUnavailable

log = logging.getLogger("koppelpunt.files")

#: How often the store is asked which certificate is used towards whom, and how soon a next one that could not be read is tried again.
LOOK_EVERY_S: Final = 5.0


@dataclass(frozen=True, slots=True)
class Credentials:
    """A certificate with its key, read from its files."""

    certificate: x509.Certificate
    signer: Signer
    tls: ssl.SSLContext | None = None  #: for a server that shows it

    @property
    def oin(self) -> str:
        """Whose it is."""
        return oin_of(self.certificate)

    @property
    def sha256(self) -> str:
        """Hex fingerprint."""
        return self.certificate.fingerprint(hashes.SHA256()).hex()

    @property
    def pem(self) -> str:
        """The certificate alone."""
        return self.certificate.public_bytes(Encoding.PEM).decode()

    @property
    def not_before_us(self) -> int:
        """Its first moment."""
        return int(self.certificate.not_valid_before_utc.timestamp() * 1e6)

    @property
    def not_after_us(self) -> int:
        """Its last."""
        return int(self.certificate.not_valid_after_utc.timestamp() * 1e6)

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


def standing_of(cert: Path) -> tuple[str, datetime]:
    """Whose a certificate is, and its last moment. Raises PkiError or OSError."""
    found = read_certificate(cert)
    return oin_of(found), found.not_valid_after_utc


class RollOverSigner:
    """Which of our two certificates an envelope is signed with (`routing.rollover`)."""

    def __init__(self, current: Callable[[], Credentials], state: Callable[[], RollOver]) -> None:
        """`state`: reads where the roll-over is. Raises StoreUnavailable."""
        self._current, self._state = current, state
        self._known, self._look_at = RollOver(), float("-inf")
        self._next: Callable[[], Credentials] | None = None
        self._one_at_a_time = threading.Lock()

    def __call__(self, system: str | None, created: datetime) -> Signer:
        """For an envelope to this system that says it was created then. The certificate in use signs where the next one cannot be read."""
        with self._one_at_a_time:
            self._look()
            known, following = self._known, self._next
        if following is not None and known.uses_next(system, created):
            return following().signer
        return self._current().signer

    def _look(self) -> None:
        if time.monotonic() < self._look_at:
            return
        self._look_at = time.monotonic() + LOOK_EVERY_S
        try:
            found = self._state()
        except StoreUnavailable:
            return  # whoever holds work for it says so already
        wanted = found.next
        if wanted is not None and (self._next is None or wanted != self._known.next):
            try:
                self._next = _published(wanted)
            except (OSError, ValueError) as error:
                self._next = None
                log.error("next_certificate_not_usable", extra={"certificate": wanted.cert, "error": str(error)})
        self._known = found


def _published(wanted: NextCertificate) -> Following[Credentials]:
    """The next certificate from its files, which must hold the very one that was published. Raises PkiError."""

    def make() -> Credentials:
        found = read(Path(wanted.key), Path(wanted.cert))
        if found.sha256 != wanted.sha256:
            raise PkiError(f"{wanted.cert} holds another certificate than the one that was published")
        return found

    return Following("next certificate", (Path(wanted.key), Path(wanted.cert)), make)


def published(current: Credentials, state: RollOver) -> dict[str, Any]:
    """For a public page: what receivers may meet, now and from which day."""
    shown: dict[str, Any] = {"oin": current.oin, "current": {"sha256": current.sha256, "pem": current.pem}, "next": None}
    if state.next is not None and state.next.sha256 != current.sha256:
        start = datetime.fromtimestamp(state.next.from_us / 1e6, UTC)
        shown["next"] = {"sha256": state.next.sha256, "pem": state.next.pem, "from": start.isoformat()}
    return shown


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
        self.current = current

    def wrap_bio(self, *arguments: Any, **named: Any) -> ssl.SSLObject:
        """What asyncio begins a connection with."""
        return self.current().wrap_bio(*arguments, **named)
