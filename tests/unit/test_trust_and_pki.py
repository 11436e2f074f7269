"""Certificates, chains and CRLs: which are believed, and whose fault it is when we cannot tell."""

from __future__ import annotations

import asyncio
import stat
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from adapters import pki
from adapters.crls import CrlFetcher
from adapters.store.registry import StoredCrl
from adapters.trust import Revocation, TrustError, TrustStore, read_certificates, read_crls
from schemas.faults import Fault, NotAllowed, OurFailure
from tests.support import signing as s

NOW = datetime.now(UTC).replace(microsecond=0)
DAY = timedelta(days=1)
KEYS: dict[str, rsa.RSAPrivateKey] = {}


def key(name: str, bits: int = 2048) -> rsa.RSAPrivateKey:
    if name not in KEYS:
        KEYS[name] = rsa.generate_private_key(public_exponent=65537, key_size=bits)
    return KEYS[name]


def usage(**bits: bool) -> x509.KeyUsage:
    names = "digital_signature content_commitment key_encipherment data_encipherment key_agreement key_cert_sign crl_sign"
    return x509.KeyUsage(**{name: bits.get(name, False) for name in f"{names} encipher_only decipher_only".split()})


def certificate(
    name: str,
    issuer: str,
    *,
    by: Any = None,
    own: Any = None,
    oins: Iterable[str] = (),
    ca: bool = False,
    path_length: int | None = None,
    use: x509.KeyUsage | None = None,
    before: datetime = NOW - DAY,
    after: datetime = NOW + 365 * DAY,
    pss: bool = False,
    algorithm: hashes.HashAlgorithm | None = None,
    extra: x509.ExtensionType | None = None,
) -> x509.Certificate:
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name), *(x509.NameAttribute(NameOID.SERIAL_NUMBER, oin) for oin in oins)])
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, issuer)]))
        .public_key((own or key(name)).public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(before)
        .not_valid_after(after)
        .add_extension(x509.BasicConstraints(ca=ca, path_length=path_length), critical=True)
    )
    if use is not None:
        builder = builder.add_extension(use, critical=True)
    if extra is not None:
        builder = builder.add_extension(extra, critical=not isinstance(extra, x509.CRLDistributionPoints))
    how = {"rsa_padding": padding.PSS(padding.MGF1(hashes.SHA256()), 32)} if pss else {}
    return builder.sign(by or key(issuer), algorithm or hashes.SHA256(), **how)  # type: ignore[arg-type]


def der(of: x509.Certificate) -> bytes:
    return of.public_bytes(Encoding.DER)


CA_USE = usage(key_cert_sign=True, crl_sign=True)
ROOT = certificate("root", "root", ca=True, use=CA_USE)
INTER = certificate("inter", "root", ca=True, path_length=0, use=CA_USE)
LEAF = certificate("leaf", "inter", oins=[s.LAS], use=usage(digital_signature=True))


def crl(
    issuer: str,
    *revoked: tuple[int, datetime],
    by: Any = None,
    updated: datetime = NOW - DAY,
    until: datetime = NOW + DAY,
    only: Any = None,
    critical: bool = True,
) -> x509.CertificateRevocationList:
    builder = x509.CertificateRevocationListBuilder().issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, issuer)]))
    builder = builder.last_update(updated).next_update(until)
    if only is not None:
        builder = builder.add_extension(only, critical=critical)
    for number, at in revoked:
        builder = builder.add_revoked_certificate(x509.RevokedCertificateBuilder().serial_number(number).revocation_date(at).build())
    return builder.sign(by or key(issuer), hashes.SHA256())


def refusal(store: TrustStore, of: x509.Certificate | bytes, at: datetime = NOW) -> Fault:
    with pytest.raises(Fault) as caught:
        store.check(of if isinstance(of, bytes) else der(of), at=at)
    assert caught.value.where == "BinarySecurityToken"
    return caught.value


def test_a_chain_of_three_is_believed_and_gives_the_oin() -> None:
    trusted = TrustStore([ROOT, INTER]).check(der(LEAF), at=NOW)
    assert (trusted.oin, trusted.pinned) == (s.LAS, False)
    assert trusted.sha256 == LEAF.fingerprint(hashes.SHA256()).hex()


def test_an_intermediate_alone_may_be_the_anchor_and_a_root_alone_is_not_enough() -> None:
    assert TrustStore([INTER]).check(der(LEAF), at=NOW).oin == s.LAS
    assert refusal(TrustStore([ROOT]), LEAF).code == "Client.EK0031"


def test_signatures_with_pss_and_with_elliptic_curves_of_cas_are_understood() -> None:
    curve = ec.generate_private_key(ec.SECP256R1())
    for store, leaf in (
        (TrustStore([certificate("root", "root", ca=True, pss=True)]), certificate("leaf", "root", oins=[s.LAS], pss=True)),
        (TrustStore([certificate("ec", "ec", ca=True, by=curve, own=curve)]), certificate("leaf", "ec", oins=[s.LAS], by=curve)),
    ):
        assert store.check(der(leaf), at=NOW).oin == s.LAS


WEAK = rsa.generate_private_key(public_exponent=65537, key_size=1024)
REFUSED = {
    "foreign": (certificate("leaf", "other", oins=[s.LAS]), "Client.EK0031"),
    "signed by another key under the same name": (certificate("leaf", "inter", by=key("other"), oins=[s.LAS]), "Client.EK0031"),
    "no OIN": (certificate("leaf", "inter"), "Client.EK0030"),
    "two OINs": (certificate("leaf", "inter", oins=[s.LAS, s.SCHOOL]), "Client.EK0030"),
    "a serialNumber that is no OIN": (certificate("leaf", "inter", oins=["123456789"]), "Client.EK0030"),
    "no digital signature": (certificate("leaf", "inter", oins=[s.LAS], use=usage(key_encipherment=True)), "Client.EK0031"),
    "a weak key": (certificate("leaf", "inter", oins=[s.LAS], own=WEAK), "Client.EK0031"),
    "an elliptic curve": (certificate("leaf", "inter", oins=[s.LAS], own=ec.generate_private_key(ec.SECP256R1())), "Client.EK0031"),
    "a CA": (INTER, "Client.EK0031"),
    "expired": (certificate("leaf", "inter", oins=[s.LAS], after=NOW - timedelta(hours=1)), "Client.EK0031"),
    "not valid yet": (certificate("leaf", "inter", oins=[s.LAS], before=NOW + DAY), "Client.EK0031"),
    "an unknown critical extension": (
        certificate("leaf", "inter", oins=[s.LAS], extra=x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.4"), b"\x05\x00")),
        "Client.EK0031",
    ),
    "for OCSP answers only": (
        certificate("leaf", "inter", oins=[s.LAS], extra=x509.ExtendedKeyUsage([ExtendedKeyUsageOID.OCSP_SIGNING])),
        "Client.EK0031",
    ),
    "no certificate": (b"rubbish", "Client.EK0031"),
}


@pytest.mark.parametrize(("leaf", "code"), REFUSED.values(), ids=REFUSED.keys())
def test_a_certificate_that_cannot_sign_messages_is_refused(leaf: x509.Certificate | bytes, code: str) -> None:
    store = TrustStore([ROOT, INTER])
    for _ in range(2):  # the second answer comes from the cache
        fault = refusal(store, leaf)
        assert isinstance(fault, NotAllowed)
        assert fault.code == code


def test_a_chain_with_a_wrong_ca_in_it_is_refused() -> None:
    wrong = {
        "is no CA": certificate("inter", "root", use=CA_USE),
        "may not issue": certificate("inter", "root", ca=True, use=usage(digital_signature=True)),
        "expired": certificate("inter", "root", ca=True, use=CA_USE, after=NOW - timedelta(hours=1)),
        "signed with SHA-1 or other": certificate("inter", "other", ca=True, use=CA_USE, by=key("root"), algorithm=hashes.SHA224()),
    }
    for name in ("is no CA", "may not issue", "expired"):
        assert refusal(TrustStore([ROOT, wrong[name]]), LEAF).code == "Client.EK0031", name
    deep = certificate("deep", "inter", ca=True, use=CA_USE)
    below = certificate("leaf", "deep", oins=[s.LAS])
    assert refusal(TrustStore([ROOT, INTER, deep]), below).code == "Client.EK0031"  # INTER may have no CA below it
    free = certificate("inter", "root", ca=True, use=CA_USE)
    assert TrustStore([ROOT, free, deep]).check(der(below), at=NOW).oin == s.LAS


def test_a_signature_of_a_certificate_with_a_weak_hash_is_not_believed() -> None:
    assert refusal(TrustStore([ROOT, INTER]), certificate("leaf", "inter", oins=[s.LAS], algorithm=hashes.SHA224())).code == "Client.EK0031"


def test_a_pinned_certificate_is_believed_without_its_ca_but_not_beyond_its_time_or_use() -> None:
    store = TrustStore([LEAF])
    assert store.check(der(LEAF), at=NOW).pinned
    assert store.pinned == {LEAF.fingerprint(hashes.SHA256()).hex()}
    assert refusal(store, LEAF, NOW + 400 * DAY).code == "Client.EK0031"
    nameless = certificate("leaf", "inter")
    assert refusal(TrustStore([nameless]), nameless).code == "Client.EK0030"


def test_a_revoked_certificate_is_refused_from_the_moment_of_revocation() -> None:
    store = TrustStore([ROOT, INTER], [crl("inter", (LEAF.serial_number, NOW - timedelta(hours=1)))])
    assert refusal(store, LEAF).code == "Client.EK0031"
    assert store.check(der(LEAF), at=NOW - timedelta(hours=2)).oin == s.LAS


def test_a_revoked_intermediate_takes_its_certificates_with_it() -> None:
    store = TrustStore([ROOT, INTER], [crl("inter"), crl("root", (INTER.serial_number, NOW - DAY))])
    assert refusal(store, LEAF).code == "Client.EK0031"


def test_a_crl_that_is_absent_expired_or_not_signed_by_its_ca_is_our_failure_and_never_ek0031() -> None:
    cas = [ROOT, INTER]
    both = [crl("inter"), crl("root")]
    assert TrustStore(cas, both, revocation=Revocation.CHAIN).check(der(LEAF), at=NOW).oin == s.LAS
    for store in (
        TrustStore(cas, revocation=Revocation.LEAF),
        TrustStore(cas, [crl("inter")], revocation=Revocation.CHAIN),
        TrustStore(cas, [crl("inter", until=NOW - timedelta(seconds=1))]),
        TrustStore(cas, [crl("inter", by=key("other"))], revocation=Revocation.LEAF),
    ):
        fault = refusal(store, LEAF)
        assert isinstance(fault, OurFailure)
        assert fault.kind.retry
    assert TrustStore(cas, [crl("inter")], revocation=Revocation.LEAF).check(der(LEAF), at=NOW).oin == s.LAS


def test_crls_are_replaced_at_run_time_and_of_two_the_newest_counts() -> None:
    store = TrustStore([ROOT, INTER], [crl("inter")])
    store.check(der(LEAF), at=NOW)
    revoked = crl("inter", (LEAF.serial_number, NOW - DAY), updated=NOW)
    store.replace_crls([revoked, crl("inter")])
    assert refusal(store, LEAF).code == "Client.EK0031"
    assert [(info.issuer, info.this_update) for info in store.crl_info()] == [("inter", NOW)]


def at_address(url: str, **only: bool) -> x509.IssuingDistributionPoint:
    names = ("only_contains_user_certs", "only_contains_ca_certs", "indirect_crl", "only_contains_attribute_certs")
    flags = {name: only.get(name, False) for name in names}
    return x509.IssuingDistributionPoint([x509.UniformResourceIdentifier(url)], None, only_some_reasons=None, **flags)


def test_of_a_ca_with_several_lists_the_one_a_certificate_names_counts() -> None:
    """Otherwise the newest of all hides the revocations in the others."""
    point = x509.DistributionPoint([x509.UniformResourceIdentifier("http://crl/1")], None, None, None)
    named = certificate("leaf", "inter", oins=[s.LAS], extra=x509.CRLDistributionPoints([point]))
    plain = certificate("leaf", "inter", oins=[s.LAS])
    gone = (named.serial_number, NOW - DAY), (plain.serial_number, NOW - DAY)
    first, second = crl("inter", *gone, only=at_address("http://crl/1")), crl("inter", updated=NOW, only=at_address("http://crl/2"))
    store = TrustStore([ROOT, INTER], [first, second], revocation=Revocation.LEAF)
    assert "revoked" in refusal(store, named).reason
    assert "revoked" in refusal(store, plain).reason  # it names no list, so all are asked
    assert isinstance(refusal(TrustStore([ROOT, INTER], [second], revocation=Revocation.LEAF), named), OurFailure)


def test_a_list_that_is_current_does_not_stand_in_for_an_expired_one_that_applies_too() -> None:
    """The one that expired may be where the certificate would stand by now; one for other certificates does not matter."""
    point = x509.DistributionPoint([x509.UniformResourceIdentifier("http://crl/1")], None, None, None)
    named = certificate("leaf", "inter", oins=[s.LAS], extra=x509.CRLDistributionPoints([point]))
    plain = certificate("leaf", "inter", oins=[s.LAS])
    expired = crl("inter", updated=NOW - 3 * DAY, until=NOW - DAY, only=at_address("http://crl/1"))
    current = crl("inter", only=at_address("http://crl/2"))
    store = TrustStore([ROOT, INTER], [expired, current], revocation=Revocation.LEAF)
    for one in (plain, named):
        assert isinstance(found := refusal(store, one), OurFailure)
        assert "expired" in found.reason
    point = x509.DistributionPoint([x509.UniformResourceIdentifier("http://crl/2")], None, None, None)
    other = certificate("leaf", "inter", oins=[s.LAS], extra=x509.CRLDistributionPoints([point]))
    assert store.check(der(other), at=NOW).oin == s.LAS


@pytest.mark.parametrize("critical", [True, False])
@pytest.mark.parametrize(
    "only", [x509.DeltaCRLIndicator(1), at_address("u:", only_contains_ca_certs=True), at_address("u:", indirect_crl=True)], ids=str
)
def test_a_crl_of_a_part_is_not_taken_for_the_whole(only: Any, critical: bool) -> None:
    store = TrustStore([ROOT, INTER], [crl("inter", only=only, critical=critical)], revocation=Revocation.LEAF)
    assert isinstance(refusal(store, LEAF), OurFailure)


class Shelf:
    """The store's part that keeps CRLs."""

    def __init__(self) -> None:
        self.kept: dict[str, StoredCrl] = {}
        self.meanwhile: list[StoredCrl] = []  #: what another process saves just before us

    def crls(self) -> list[StoredCrl]:
        return list(self.kept.values())

    def save_crl(self, fetched: StoredCrl, *, known: StoredCrl | None) -> bool:
        if self.meanwhile:
            self.kept[fetched.source] = self.meanwhile.pop()
        if self.kept.get(fetched.source) != known:
            return False
        self.kept[fetched.source] = fetched
        return True


def test_a_fetched_crl_never_replaces_one_that_knows_more(tmp_path: Path) -> None:
    shelf, file = Shelf(), tmp_path / "crl.pem"
    fetcher = CrlFetcher([str(file)], shelf, lambda: TrustStore([ROOT, INTER]))  # type: ignore[arg-type]

    def fetched(*lists: x509.CertificateRevocationList) -> bytes:
        file.write_bytes(b"".join(one.public_bytes(Encoding.PEM) for one in lists))
        asyncio.run(fetcher.fetch_all())
        return shelf.kept[str(file)].pem if shelf.kept else b""

    assert fetched(crl("inter", by=key("other"))) == b"", "of no CA that is trusted"
    old, new = crl("inter"), crl("inter", (LEAF.serial_number, NOW), updated=NOW)
    assert fetched(new, crl("root")).count(b"BEGIN") == 2
    good = shelf.kept[str(file)].pem
    for worse in ([old, crl("root")], [new], [crl("inter", by=key("other"), updated=NOW + DAY)]):
        assert fetched(*worse) == good
    assert fetched(crl("inter", updated=NOW), crl("root", updated=NOW)) != good


def by_another(source: str, *revoked: tuple[int, datetime]) -> StoredCrl:
    pem = crl("inter", *revoked, updated=NOW).public_bytes(Encoding.PEM)
    return StoredCrl(source, pem, *(int(moment.timestamp() * 1e6) for moment in (NOW, NOW + DAY, NOW)))


@pytest.mark.parametrize("during", ["download", "save"])
def test_a_list_that_another_process_saved_during_a_fetch_is_not_replaced_by_an_older_one(during: str) -> None:
    shelf, older = Shelf(), crl("inter").public_bytes(Encoding.DER)

    async def fetched() -> tuple[str, dict[str, str]]:
        async def answer(_: web.Request) -> web.Response:
            newer = by_another(source, (LEAF.serial_number, NOW))
            if during == "download":
                shelf.kept[source] = newer
            else:
                shelf.meanwhile.append(newer)
            return web.Response(body=older)

        app = web.Application()
        app.router.add_get("/crl", answer)
        async with TestServer(app) as server:
            source = str(server.make_url("/crl"))
            return source, await CrlFetcher([source], shelf, lambda: TrustStore([ROOT, INTER])).fetch_all()  # type: ignore[arg-type]

    source, refused = asyncio.run(fetched())
    assert len(read_crls(shelf.kept[source].pem)[0]) == 1, "the newer one, with its revocation"
    assert "older" in refused[source]


def test_a_list_in_a_file_is_taken_as_soon_as_another_stands_there_and_not_in_the_midst_of_writing(tmp_path: Path) -> None:
    shelf, file = Shelf(), tmp_path / "crl.pem"
    fetcher = CrlFetcher([str(file)], shelf, lambda: TrustStore([ROOT, INTER]))  # type: ignore[arg-type]
    old, new = (crl("inter", *gone, updated=at).public_bytes(Encoding.PEM) for gone, at in (((), NOW - DAY), (((1, NOW),), NOW)))

    def looked() -> bytes | None:
        asyncio.run(fetcher.follow())
        return shelf.kept[str(file)].pem if shelf.kept else None

    assert looked() is None, "a file that is not there yet is for fetch_due to complain of"
    file.write_bytes(old)
    assert [looked(), looked()] == [None, old]
    file.write_bytes(new)
    assert [looked(), looked()] == [old, new]
    shelf.kept.clear()
    assert looked() is None, "it was taken already"
    fetcher.ask()
    assert looked() == new
    shelf.kept.clear()
    assert looked() is None, "asked once"


def test_files_that_cannot_be_used_are_named(tmp_path: Path) -> None:
    (tmp_path / "bad.pem").write_bytes(b"-----BEGIN CERTIFICATE-----\nrubbish\n-----END CERTIFICATE-----\n")
    (tmp_path / "empty.pem").write_bytes(b"")
    for name in ("bad.pem", "empty.pem", "absent.pem"):
        with pytest.raises(TrustError, match=name):
            TrustStore.from_files([tmp_path / name])
    with pytest.raises(TrustError, match="CRL"):
        TrustStore.from_files([s.folder() / "ca.pem"], [s.folder() / "ca.pem"])


def test_pem_files_may_hold_several_and_der_files_one() -> None:
    pem = ROOT.public_bytes(Encoding.PEM) + b"\n# text between\n" + INTER.public_bytes(Encoding.PEM)
    assert read_certificates(pem) == [ROOT, INTER]
    assert read_certificates(der(ROOT)) == [ROOT]
    lists = [crl("root"), crl("inter")]
    assert read_crls(b"".join(one.public_bytes(Encoding.PEM) for one in lists)) == lists
    assert read_crls(lists[0].public_bytes(Encoding.DER)) == lists[:1]


# ---------------------------------------------------------------- the test PKI


def test_the_test_pki_makes_what_it_says(tmp_path: Path) -> None:
    folder = tmp_path / "pki"
    pki.init(folder)
    party = pki.issue(folder, oin=s.LAS, name="las")
    store = TrustStore.from_files([folder / "ca.pem"], [folder / "crl.pem"], revocation=Revocation.CHAIN)
    leaf = pki.read_certificate(party.certificate)
    assert store.check(der(leaf), at=datetime.now(UTC)).oin == s.LAS
    assert pki.read_key(party.key).public_key() == leaf.public_key()
    for path in folder.glob("*.key"):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    weeks = [info.next_update - info.this_update for info in store.crl_info()]
    assert weeks == [timedelta(days=7)] * 2


def test_revoked_ones_stay_revoked_when_the_crl_is_renewed_and_others_are_issued(tmp_path: Path) -> None:
    pki.init(tmp_path)
    gone = pki.read_certificate(pki.issue(tmp_path, oin=s.LAS, name="gone", revoked=True).certificate)
    again = pki.read_certificate(pki.issue(tmp_path, oin=s.LAS, name="gone").certificate)
    pki.renew_crl(tmp_path, now=datetime.now(UTC) + timedelta(days=3))
    store = TrustStore.from_files([tmp_path / "ca.pem"], [tmp_path / "crl.pem"])
    assert refusal(store, gone, datetime.now(UTC)).code == "Client.EK0031"
    assert store.check(der(again), at=datetime.now(UTC) + timedelta(days=9)).oin == s.LAS


def test_the_test_pki_refuses_what_would_do_harm(tmp_path: Path) -> None:
    with pytest.raises(pki.PkiError, match="pki init"):
        pki.issue(tmp_path, oin=s.LAS, name="las")
    pki.init(tmp_path)
    with pytest.raises(pki.PkiError, match="already"):
        pki.init(tmp_path)
    for oin, name in (("123", "las"), (s.LAS, "../las"), (s.LAS, "root"), (s.LAS, "")):
        with pytest.raises(pki.PkiError):
            pki.issue(tmp_path, oin=oin, name=name)


def test_a_key_that_cannot_be_read_is_not_shown(tmp_path: Path) -> None:
    secret = "MIIsecret"
    for content in (f"-----BEGIN PRIVATE KEY-----\n{secret}\n-----END PRIVATE KEY-----\n", ""):
        (tmp_path / "x.key").write_text(content)
        with pytest.raises(pki.PkiError, match=r"x\.key") as caught:
            pki.read_key(tmp_path / "x.key")
        assert secret not in str(caught.value)
    with pytest.raises(pki.PkiError, match="absent"):
        pki.read_key(tmp_path / "absent.key")
