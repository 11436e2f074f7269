"""Which certificates we believe: chain, validity, use, revocation, and the OIN in the subject (PKI001-PKI005, facts 4.2 and 5.3).

Everything comes from configured files; the token in a message brings only its end-entity certificate.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from functools import lru_cache
from pathlib import Path
from typing import Final, TypeVar

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, ExtensionOID, NameOID

from schemas.faults import NotAllowed, OurFailure
from schemas.oin import Oin, is_oin

#: Bits; Beveiliging allows no less for end entities (facts 4.2).
MINIMUM_RSA_BITS: Final = 2048
#: Certificates in a path, end entity and anchor included; PKIoverheid has four.
LONGEST_PATH: Final = 8
#: Parsed certificates kept; a token that is not among them costs a parse and a chain.
CACHED: Final = 2_000

_HASHES: Final = (hashes.SHA256, hashes.SHA384, hashes.SHA512)
_PEM_BLOCK = re.compile(rb"-----BEGIN (CERTIFICATE|X509 CRL)-----.*?-----END \1-----", re.DOTALL)
#: Critical extensions we understand, in an end-entity or CA certificate.
_UNDERSTOOD: Final = frozenset(
    {
        ExtensionOID.BASIC_CONSTRAINTS,
        ExtensionOID.KEY_USAGE,
        ExtensionOID.EXTENDED_KEY_USAGE,
        ExtensionOID.SUBJECT_ALTERNATIVE_NAME,
        ExtensionOID.CERTIFICATE_POLICIES,
    }
)


#: Purposes of a certificate with which messages are signed: that of the connection, or one for signing documents (facts 4.2).
_PURPOSES: Final = frozenset(
    {
        ExtendedKeyUsageOID.CLIENT_AUTH,
        ExtendedKeyUsageOID.SERVER_AUTH,
        ExtendedKeyUsageOID.EMAIL_PROTECTION,
        ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE,
        x509.ObjectIdentifier("1.3.6.1.5.5.7.3.36"),  # document signing
    }
)


class TrustError(ValueError):
    """A configured certificate or CRL cannot be used; the text names the file."""


class Revocation(StrEnum):
    """How much of a path must be covered by a CRL that is not expired. What CRLs we do have is always used."""

    NONE = "none"
    LEAF = "leaf"  #: the end entity's issuer
    CHAIN = "chain"  #: every issuer (DUO: revocation over the hierarchy)


@dataclass(frozen=True, slots=True, kw_only=True)
class TrustedCertificate:
    """An end-entity certificate that passed every check at the time asked."""

    oin: Oin  #: the one subject serialNumber
    sha256: str  #: hex fingerprint
    public_key: rsa.RSAPublicKey
    not_after: datetime
    pinned: bool  #: this very certificate is configured


@dataclass(frozen=True, slots=True, kw_only=True)
class CrlInfo:
    """For `status`: how old is what we know of revocations."""

    issuer: str
    this_update: datetime
    next_update: datetime


@dataclass(frozen=True, slots=True)
class _Crl:
    info: CrlInfo
    revoked: dict[int, datetime]
    points: frozenset[str]  #: the distribution points whose certificates it speaks for; empty: all of its issuer


@dataclass(frozen=True, slots=True)
class _Path:
    """What does not change about a certificate: its place under an anchor."""

    trusted: TrustedCertificate
    not_before: datetime  #: the latest beginning and the earliest end on the path
    not_after: datetime
    links: tuple[
        tuple[bytes, int, str, frozenset[str]], ...
    ]  #: (issuer's key, serial number, issuer's name, distribution points) per certificate below the anchor, end entity first


@dataclass(frozen=True, slots=True)
class _No:
    code: str
    reason: str


_Parsed = TypeVar("_Parsed")
#: What `cryptography` raises on bytes that are not what they claim to be.
_MALFORMED: Final = (
    ValueError,
    TypeError,
    UnsupportedAlgorithm,
    x509.InvalidVersion,
    x509.DuplicateExtension,
    x509.UnsupportedGeneralNameType,
)


def read_certificates(data: bytes) -> list[x509.Certificate]:
    """The certificates in a PEM file (other blocks are skipped), or the one in a DER file. Raises TrustError when there is none."""
    return _read(data, b"CERTIFICATE", x509.load_pem_x509_certificate, x509.load_der_x509_certificate)


def read_crls(data: bytes) -> list[x509.CertificateRevocationList]:
    """The CRLs in a PEM file, or the one in a DER file. Raises TrustError when there is none."""
    return _read(data, b"X509 CRL", x509.load_pem_x509_crl, x509.load_der_x509_crl)


def _read(data: bytes, label: bytes, pem: Callable[[bytes], _Parsed], der: Callable[[bytes], _Parsed]) -> list[_Parsed]:
    what = "CRL" if label.endswith(b"CRL") else "certificate"
    try:
        found = [pem(block.group()) for block in _PEM_BLOCK.finditer(data) if block.group(1) == label]
        if not found and b"-----BEGIN" not in data:
            found = [der(data)]
    except _MALFORMED:
        raise TrustError(f"a {what} in it cannot be read") from None
    if not found:
        raise TrustError(f"it holds no {what}")
    return found


class TrustStore:
    """Configured CAs, pinned end-entity certificates and CRLs. Safe to share between threads; only the CRLs can be replaced."""

    def __init__(
        self,
        certificates: Iterable[x509.Certificate],
        crls: Iterable[x509.CertificateRevocationList] = (),
        *,
        revocation: Revocation = Revocation.NONE,
    ) -> None:
        """`certificates`: CA certificates (each is trusted; a path runs as far up as the configured ones reach) and pinned end entities.

        Raises TrustError for a certificate that cannot be read.
        """
        self._authorities: dict[bytes, list[x509.Certificate]] = {}
        self._pinned: set[bytes] = set()
        for certificate in certificates:
            try:
                authority = _is_authority(certificate)
            except _MALFORMED:
                raise TrustError("a configured certificate has extensions that cannot be read") from None
            if authority:
                self._authorities.setdefault(certificate.subject.public_bytes(), []).append(certificate)
            else:
                self._pinned.add(certificate.public_bytes(Encoding.DER))
        self._revocation = revocation
        self._crls: dict[bytes, tuple[_Crl, ...]] = {}  # by issuer's key
        self._judge = lru_cache(maxsize=CACHED)(self._judge_anew)
        self.replace_crls(crls)

    @classmethod
    def from_files(cls, files: Iterable[Path], crl_files: Iterable[Path] = (), *, revocation: Revocation | None = None) -> TrustStore:
        """A store from PEM or DER files. With CRL files, unless told otherwise, the end entity's issuer must have a current CRL.

        Raises TrustError with a sentence that names the file.
        """
        certificates = [certificate for file in files for certificate in _from_file(file, read_certificates)]
        crls = [crl for file in crl_files for crl in _from_file(file, read_crls)]
        if revocation is None:
            revocation = Revocation.LEAF if crls else Revocation.NONE
        return cls(certificates, crls, revocation=revocation)

    def replace_crls(self, crls: Iterable[x509.CertificateRevocationList]) -> None:
        """Use these CRLs from now on. One that no configured CA signed is left out; of several by one CA for the same distribution points
        the newest counts."""
        fresh: dict[bytes, tuple[_Crl, ...]] = {}
        for (key, _), crl in self._accept_crls(crls).items():
            fresh[key] = (*fresh.get(key, ()), crl)
        self._crls = fresh

    def updates(self, crls: Iterable[x509.CertificateRevocationList]) -> dict[bytes, datetime]:
        """For which CAs (by a hash) these CRLs speak, and how new the newest of each is. Those in use are not touched."""
        newest: dict[bytes, datetime] = {}
        for (key, _), crl in self._accept_crls(crls).items():
            newest[key] = max(crl.info.this_update, newest.get(key, crl.info.this_update))
        return newest

    def _accept_crls(self, crls: Iterable[x509.CertificateRevocationList]) -> dict[tuple[bytes, frozenset[str]], _Crl]:
        fresh: dict[tuple[bytes, frozenset[str]], _Crl] = {}
        for crl in crls:
            try:
                key, parsed = self._accept_crl(crl)
            except _MALFORMED:
                continue
            if parsed is None:
                continue
            known = fresh.get((key, parsed.points))
            if known is None or known.info.this_update < parsed.info.this_update:
                fresh[key, parsed.points] = parsed
        return fresh

    @property
    def pinned(self) -> frozenset[str]:
        """Hex SHA-256 fingerprints of the configured end-entity certificates."""
        return frozenset(hashlib.sha256(der).hexdigest() for der in self._pinned)

    def crl_info(self) -> tuple[CrlInfo, ...]:
        """The CRLs in use, for `status` and the half-life alarm."""
        return tuple(crl.info for crls in self._crls.values() for crl in crls)

    def check(self, der: bytes, *, at: datetime) -> TrustedCertificate:
        """The certificate, if it may sign messages at this time.

        Raises NotAllowed with Client.EK0030 (OIN) or Client.EK0031 (anything else about the certificate), and OurFailure when a CRL
        that we need is absent or expired: then the certificate may be good, and the message may be offered again.
        """
        judged = self._judge(der)
        if isinstance(judged, _No):
            raise NotAllowed(judged.code, judged.reason, where="BinarySecurityToken")
        for path in judged:
            if path.not_before <= at <= path.not_after:
                self._check_revocation(path, at)
                return path.trusted
        path = judged[0]
        state = "expired on" if at > path.not_after else "is not valid before"
        day = path.not_after if at > path.not_after else path.not_before
        raise NotAllowed(
            "Client.EK0031", f"the signing certificate or a CA above it {state} {day:%Y-%m-%d %H:%M} UTC", where="BinarySecurityToken"
        )

    def _check_revocation(self, path: _Path, at: datetime) -> None:
        if not self._crls and self._revocation is Revocation.NONE:
            return
        for level, (key, serial, issuer, points) in enumerate(path.links):
            crls = self._crls.get(key, ())
            if points and any(crl.points for crl in crls):  # a CA may divide its certificates over several lists
                crls = tuple(crl for crl in crls if not crl.points or crl.points & points)
            if not crls:
                if self._revocation is Revocation.CHAIN or (self._revocation is Revocation.LEAF and level == 0):
                    raise OurFailure(f"we have no CRL of {issuer}, so its certificates cannot be judged", where="BinarySecurityToken")
                continue
            for crl in crls:
                since = crl.revoked.get(serial)
                if since is not None and since <= at:
                    who = "the signing certificate" if level == 0 else "a CA above the signing certificate"
                    raise NotAllowed("Client.EK0031", f"{who} was revoked on {since:%Y-%m-%d %H:%M} UTC", where="BinarySecurityToken")
            if (end := min(crl.info.next_update for crl in crls)) < at:  # each may hold what the others do not
                raise OurFailure(f"our CRL of {issuer} expired on {end:%Y-%m-%d %H:%M} UTC", where="BinarySecurityToken")

    def _accept_crl(self, crl: x509.CertificateRevocationList) -> tuple[bytes, _Crl | None]:
        points: frozenset[str] = frozenset()
        for extension in crl.extensions:
            value = extension.value
            if (extension.critical or isinstance(value, x509.DeltaCRLIndicator | x509.IssuingDistributionPoint)) and not _whole(value):
                return b"", None  # a delta, or a list of only some certificates or reasons
            if isinstance(value, x509.IssuingDistributionPoint):
                points = _addresses(value.full_name)
        for authority in self._authorities.get(crl.issuer.public_bytes(), ()):
            usage = _key_usage(authority)
            if (usage is None or usage.crl_sign) and _signed_by(crl, crl.tbs_certlist_bytes, authority) and crl.next_update_utc is not None:
                info = CrlInfo(issuer=_name(crl.issuer), this_update=crl.last_update_utc, next_update=crl.next_update_utc)
                return _key(authority), _Crl(info, {entry.serial_number: entry.revocation_date_utc for entry in crl}, points)
        return b"", None

    def _judge_anew(self, der: bytes) -> tuple[_Path, ...] | _No:
        try:
            return self._paths(x509.load_der_x509_certificate(der), der)
        except _MALFORMED:
            return _No("Client.EK0031", "the token holds no readable X.509 certificate")

    def _paths(self, certificate: x509.Certificate, der: bytes) -> tuple[_Path, ...] | _No:
        numbers = [attribute.value for attribute in certificate.subject.get_attributes_for_oid(NameOID.SERIAL_NUMBER)]
        public_key = certificate.public_key()
        usage = _key_usage(certificate)
        if _is_authority(certificate):
            return _No("Client.EK0031", "the token holds a CA certificate; messages are signed with an end-entity certificate")
        pinned = der in self._pinned
        chains = list(self._chains(certificate, 1))
        if not chains and not pinned:
            return _No("Client.EK0031", "the signing certificate is not issued by a CA that we trust")
        if len(numbers) != 1 or not isinstance(numbers[0], str) or not is_oin(numbers[0]):
            return _No("Client.EK0030", "the subject of the signing certificate must hold exactly one serialNumber, an OIN of 20 positions")
        if not isinstance(public_key, rsa.RSAPublicKey) or public_key.key_size < MINIMUM_RSA_BITS:
            return _No("Client.EK0031", f"the signing certificate needs an RSA key of at least {MINIMUM_RSA_BITS} bits")
        if usage is not None and not usage.digital_signature:
            return _No("Client.EK0031", "the key usage of the signing certificate does not allow digital signatures")
        if not _may_sign_messages(certificate):
            return _No("Client.EK0031", "the extended key usage of the signing certificate is for something else than messages or TLS")
        if _surprising(certificate):
            return _No("Client.EK0031", "the signing certificate has a critical extension that we do not know")
        trusted = TrustedCertificate(
            oin=Oin(numbers[0]),
            sha256=hashlib.sha256(der).hexdigest(),
            public_key=public_key,
            not_after=certificate.not_valid_after_utc,
            pinned=pinned,
        )
        paths = []
        for chain in chains or [()]:
            members = (certificate,) if pinned else (certificate, *chain)
            issued = zip((certificate, *chain), chain, strict=False)
            paths.append(
                _Path(
                    trusted,
                    max(member.not_valid_before_utc for member in members),
                    min(member.not_valid_after_utc for member in members),
                    tuple((_key(issuer), member.serial_number, _name(issuer.subject), _points(member)) for member, issuer in issued),
                )
            )
        return tuple(sorted(paths, key=lambda path: path.not_after, reverse=True))

    def _chains(self, certificate: x509.Certificate, length: int) -> Iterable[tuple[x509.Certificate, ...]]:
        """The ways up from a certificate to a configured CA above which no other is configured."""
        for authority in self._authorities.get(certificate.issuer.public_bytes(), ()):
            if not _may_issue(authority, length - 1) or not _signed_by(certificate, certificate.tbs_certificate_bytes, authority):
                continue
            if authority.issuer == authority.subject or authority.issuer.public_bytes() not in self._authorities:
                yield (authority,)
            elif length < LONGEST_PATH:
                for rest in self._chains(authority, length + 1):
                    yield (authority, *rest)


def _from_file(file: Path, read: Callable[[bytes], list[_Parsed]]) -> list[_Parsed]:
    try:
        return read(file.read_bytes())
    except OSError as error:
        raise TrustError(f"{file} cannot be read: {error.strerror or 'unknown reason'}") from None
    except ValueError as error:
        raise TrustError(f"{file} cannot be used: {error}") from None


def _key_usage(certificate: x509.Certificate) -> x509.KeyUsage | None:
    """None where the certificate does not restrict its use (RFC 5280, 4.2.1.3)."""
    try:
        return certificate.extensions.get_extension_for_class(x509.KeyUsage).value
    except x509.ExtensionNotFound:
        return None


def _is_authority(certificate: x509.Certificate) -> bool:
    try:
        return certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except x509.ExtensionNotFound:
        return False


def _may_issue(authority: x509.Certificate, below: int) -> bool:
    """Whether a CA may have `below` CAs between itself and the end entity."""
    longest = authority.extensions.get_extension_for_class(x509.BasicConstraints).value.path_length
    usage = _key_usage(authority)
    return (longest is None or below <= longest) and (usage is None or usage.key_cert_sign) and not _surprising(authority)


def _may_sign_messages(certificate: x509.Certificate) -> bool:
    """Whether one of its purposes fits, if it names any (RFC 5280, 4.2.1.12): one for OCSP answers or program code is not for messages."""
    try:
        purposes = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    except x509.ExtensionNotFound:
        return True
    return not _PURPOSES.isdisjoint(purposes)


def _surprising(certificate: x509.Certificate) -> bool:
    return any(extension.critical and extension.oid not in _UNDERSTOOD for extension in certificate.extensions)


def _whole(value: x509.ExtensionType) -> bool:
    """Whether a critical CRL extension still lets the list speak for all end-entity and CA certificates of its issuer."""
    return isinstance(value, x509.IssuingDistributionPoint) and not (
        value.indirect_crl
        or value.only_some_reasons
        or value.only_contains_attribute_certs
        or value.only_contains_ca_certs
        or value.only_contains_user_certs
    )


def _points(certificate: x509.Certificate) -> frozenset[str]:
    """The addresses of the CRLs that speak for a certificate, as it says itself; none where it does not."""
    try:
        found = certificate.extensions.get_extension_for_class(x509.CRLDistributionPoints).value
    except x509.ExtensionNotFound:
        return frozenset()
    return frozenset(address for point in found for address in _addresses(point.full_name))


def _addresses(names: Iterable[x509.GeneralName] | None) -> frozenset[str]:
    return frozenset(str(name.value) for name in names or ())


def _signed_by(signed: x509.Certificate | x509.CertificateRevocationList, tbs: bytes, authority: x509.Certificate) -> bool:
    """RSA (PKCS#1 v1.5 or PSS) or ECDSA, with SHA-256 or better."""
    algorithm = signed.signature_hash_algorithm
    parameters = signed.signature_algorithm_parameters
    key = authority.public_key()
    if algorithm is None or not isinstance(algorithm, _HASHES):
        return False
    try:
        if isinstance(key, rsa.RSAPublicKey) and key.key_size >= MINIMUM_RSA_BITS and not isinstance(parameters, ec.ECDSA) and parameters:
            key.verify(signed.signature, tbs, parameters, algorithm)
        elif isinstance(key, ec.EllipticCurvePublicKey) and isinstance(parameters, ec.ECDSA):
            key.verify(signed.signature, tbs, parameters)
        else:
            return False
    except InvalidSignature:
        return False
    return True


def _key(authority: x509.Certificate) -> bytes:
    """What tells two CAs with one name apart, and is the same for a CA that renewed its certificate: the name and the key."""
    spki = authority.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return hashlib.sha256(authority.subject.public_bytes() + spki).digest()


def _name(name: x509.Name) -> str:
    common = name.get_attributes_for_oid(NameOID.COMMON_NAME)
    return str(common[0].value) if common else name.rfc4514_string()
