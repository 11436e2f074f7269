"""Certificates that systems used, remembered until somebody has time to write them down: whoever verifies must not wait for the store."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes

from adapters.trust import TrustedCertificate
from routing.warning_board import CertificateUse, SeenCertificate
from routing.work import StoreUnavailable

log = logging.getLogger("koppelpunt.files")

#: Certificates remembered; at more than this all are forgotten, and those in use are seen (and not written) once more.
REMEMBERED: Final = 20_000

Place = tuple[str, CertificateUse, str, object]


class Sightings:
    """Of one process; for several threads. A certificate is written once, however often it is used."""

    def __init__(self, write: Callable[[Sequence[SeenCertificate]], object]) -> None:
        """`write`: keeps those that are new. Raises StoreUnavailable."""
        self._write = write
        self._known: set[Place] = set()
        self._fresh: dict[Place, SeenCertificate] = {}

    def saw(self, use: CertificateUse, certificate: TrustedCertificate) -> None:
        """A good one, of the system that it names."""
        place = (certificate.oin, use, "", certificate.sha256)
        if place not in self._known:
            self._note(place, certificate.sha256, certificate.not_after)

    def saw_server(self, system: str, where: str, der: bytes) -> None:
        """That of a server whose TLS was believed, where a system receives."""
        place = (system, CertificateUse.SERVER, where, hash(der))
        if place not in self._known:
            certificate = x509.load_der_x509_certificate(der)
            self._note(place, certificate.fingerprint(hashes.SHA256()).hex(), certificate.not_valid_after_utc)

    def _note(self, place: Place, sha256: str, until: datetime) -> None:
        if len(self._known) >= REMEMBERED:
            self._known.clear()
        self._known.add(place)
        system, use, where, _ = place
        now_us = int(datetime.now(UTC).timestamp() * 1e6)
        until_us = int(until.timestamp() * 1e6)
        self._fresh[place] = SeenCertificate(system=system, use=use, place=where, sha256=sha256, until_us=until_us, seen_us=now_us)

    def write_down(self) -> None:
        """What was seen since the last time; what cannot be written now stays for the next."""
        fresh = dict(self._fresh)
        if not fresh:
            return
        try:
            self._write(list(fresh.values()))
        except StoreUnavailable as error:
            log.info("certificates_not_noted", extra={"count": len(fresh), "error": str(error)})
            return
        for place in fresh:
            self._fresh.pop(place, None)
