"""A test PKI: root, intermediate, party certificates with the OIN in the subject serialNumber, and a CRL. Never for production.

A folder holds `root.key`, `root.crt`, `intermediate.key`, `intermediate.crt`, `ca.pem` (both CAs, for --trust), `crl.pem` (a CRL of
each, for --crl), and per party `NAME.key` and `NAME.crt`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID, SignatureAlgorithmOID

from adapters.trust import read_certificates, read_crls
from schemas.oin import parse_oin

CA_LIFETIME: Final = timedelta(days=3650)
CRL_LIFETIME: Final = timedelta(days=7)
#: A certificate is valid from a day before now: clocks differ, and a test may want a message of this morning.
BACKDATE: Final = timedelta(days=1)
_PSS: Final = padding.PSS(padding.MGF1(hashes.SHA256()), padding.PSS.DIGEST_LENGTH)
#: A party name becomes a file name, never a path.
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}\Z")
_RESERVED: Final = frozenset({"root", "intermediate", "ca", "crl"})


class PkiError(ValueError):
    """A key, certificate or PKI folder cannot be used; the text says which, and what to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Party:
    """The files of one issued certificate."""

    key: Path
    certificate: Path


def init(folder: Path, *, key_size: int = 2048, pss: bool = False, now: datetime | None = None) -> None:
    """Make root, intermediate, `ca.pem` and empty CRLs. `pss`: its CAs sign everything with RSASSA-PSS, as PKIoverheid G4 does (facts 4.2).

    Raises PkiError when the folder has a PKI already or cannot be written.
    """
    now = now or datetime.now(UTC)
    if (folder / "root.key").exists():
        raise PkiError(f"{folder} already holds a PKI; choose another folder, or remove it first")
    folder.mkdir(parents=True, exist_ok=True)
    root_key, intermediate_key = _new_key(key_size), _new_key(key_size)
    root = _authority("Koppelpunt TEST Root", root_key, None, root_key, path_length=1, pss=pss, now=now)
    intermediate = _authority("Koppelpunt TEST CA", intermediate_key, root, root_key, path_length=0, pss=pss, now=now)
    for name, key, certificate in (("root", root_key, root), ("intermediate", intermediate_key, intermediate)):
        _write_key(folder / f"{name}.key", key)
        (folder / f"{name}.crt").write_bytes(_pem(certificate))
    (folder / "ca.pem").write_bytes(_pem(intermediate) + _pem(root))
    renew_crl(folder, now=now)


def issue(
    folder: Path, *, oin: str, name: str, days: int = 365, revoked: bool = False, key_size: int = 2048, now: datetime | None = None
) -> Party:
    """Give a party a key and a certificate; the same name again replaces both. `days` may be negative: then it has expired already.

    Raises PkiError for a wrong OIN or name, or a folder without a PKI.
    """
    now = now or datetime.now(UTC)
    try:
        number = parse_oin(oin)
    except ValueError as error:
        raise PkiError(str(error)) from None
    if not _NAME.match(name) or name in _RESERVED:
        raise PkiError(f"{name[:70]!r} cannot be a name: it becomes a file name, so letters, digits, dot, dash and underscore only")
    key, issuer_key, issuer = _new_key(key_size), *_authority_of(folder, "intermediate")
    subject = x509.Name(
        [
            x509.NameAttribute(NameOID.COUNTRY_NAME, "NL"),
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, name),
            x509.NameAttribute(NameOID.SERIAL_NUMBER, number),
            x509.NameAttribute(NameOID.COMMON_NAME, name),
        ]
    )
    end = now + timedelta(days=days)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(min(now, end) - BACKDATE)
        .not_valid_after(end)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(digital_signature=True, key_encipherment=True), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(issuer_key, hashes.SHA256(), rsa_padding=_PSS if _signs_with_pss(issuer) else None)
    )
    party = Party(key=folder / f"{name}.key", certificate=folder / f"{name}.crt")
    _write_key(party.key, key)
    party.certificate.write_bytes(_pem(certificate))
    if revoked:
        renew_crl(folder, revoke=[certificate], now=now)
    return party


def renew_crl(folder: Path, *, revoke: list[x509.Certificate] | None = None, now: datetime | None = None) -> Path:
    """Write `crl.pem` anew, valid for seven days from now, with what was revoked before and what is revoked now.

    A certificate counts as revoked from the first moment of its validity: a test wants it refused whatever the time.
    """
    now = now or datetime.now(UTC)
    path = folder / "crl.pem"
    before = {crl.issuer.public_bytes(): crl for crl in read_crls(path.read_bytes())} if path.exists() else {}
    blocks = []
    for name in ("intermediate", "root"):
        key, certificate = _authority_of(folder, name)
        builder = x509.CertificateRevocationListBuilder().issuer_name(certificate.subject).last_update(now).next_update(now + CRL_LIFETIME)
        builder = builder.add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(key.public_key()), critical=False)
        for entry in before.get(certificate.subject.public_bytes(), ()):
            builder = builder.add_revoked_certificate(entry)
        for gone in revoke or ():
            if gone.issuer == certificate.subject:
                entry = (
                    x509.RevokedCertificateBuilder().serial_number(gone.serial_number).revocation_date(gone.not_valid_before_utc).build()
                )
                builder = builder.add_revoked_certificate(entry)
        how = _PSS if _signs_with_pss(certificate) else None
        blocks.append(builder.sign(key, hashes.SHA256(), rsa_padding=how).public_bytes(serialization.Encoding.PEM))
    path.write_bytes(b"".join(blocks))
    return path


def read_key(path: Path) -> rsa.RSAPrivateKey:
    """The RSA private key in an unencrypted PEM file. Raises PkiError with a sentence that names the file and never its content."""
    try:
        key = serialization.load_pem_private_key(path.read_bytes(), password=None)
    except OSError as error:
        raise PkiError(f"{path} cannot be read: {error.strerror or 'unknown reason'}") from None
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise PkiError(f"{path} holds no private key that can be read (PEM, without a password)") from None
    if not isinstance(key, rsa.RSAPrivateKey):
        raise PkiError(f"{path} holds a key that is not RSA")
    return key


def read_certificate(path: Path) -> x509.Certificate:
    """The first certificate in a PEM or DER file. Raises PkiError with a sentence that names the file."""
    try:
        return read_certificates(path.read_bytes())[0]
    except OSError as error:
        raise PkiError(f"{path} cannot be read: {error.strerror or 'unknown reason'}") from None
    except ValueError as error:
        raise PkiError(f"{path} cannot be used: {error}") from None


def _new_key(size: int) -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=size)


def _authority(
    name: str,
    key: rsa.RSAPrivateKey,
    issuer: x509.Certificate | None,
    issuer_key: rsa.RSAPrivateKey,
    *,
    path_length: int,
    pss: bool,
    now: datetime,
) -> x509.Certificate:
    subject = x509.Name([x509.NameAttribute(NameOID.COUNTRY_NAME, "NL"), x509.NameAttribute(NameOID.COMMON_NAME, name)])
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer.subject if issuer else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        # Well before now: a test may issue a certificate that expired months ago, and only that certificate should be at fault.
        .not_valid_before(now - timedelta(days=500))
        .not_valid_after(now + CA_LIFETIME)
        .add_extension(x509.BasicConstraints(ca=True, path_length=path_length), critical=True)
        .add_extension(_usage(key_cert_sign=True, crl_sign=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(issuer_key, hashes.SHA256(), rsa_padding=_PSS if pss else None)
    )


def _signs_with_pss(authority: x509.Certificate) -> bool:
    """A CA of ours signs as it was signed."""
    return authority.signature_algorithm_oid == SignatureAlgorithmOID.RSASSA_PSS


def _usage(
    *, digital_signature: bool = False, key_encipherment: bool = False, key_cert_sign: bool = False, crl_sign: bool = False
) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=digital_signature,
        content_commitment=False,
        key_encipherment=key_encipherment,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=key_cert_sign,
        crl_sign=crl_sign,
        encipher_only=False,
        decipher_only=False,
    )


def _authority_of(folder: Path, name: str) -> tuple[rsa.RSAPrivateKey, x509.Certificate]:
    if not (folder / f"{name}.key").exists():
        raise PkiError(f"{folder} holds no PKI; make one with `pki init {folder}`")
    return read_key(folder / f"{name}.key"), read_certificate(folder / f"{name}.crt")


def _write_key(path: Path, key: rsa.RSAPrivateKey) -> None:
    """The key appears whole and readable by its owner only, or not at all."""
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    fresh = path.with_suffix(".key.new")
    fresh.unlink(missing_ok=True)
    fresh.touch(mode=0o600, exist_ok=False)
    fresh.write_bytes(pem)
    fresh.replace(path)


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)
