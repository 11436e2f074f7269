"""Signed snapshots of the register: what another hub may route by, and what it must not."""

from __future__ import annotations

import base64
import gzip
import json
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters import pki, snapshot
from adapters.signing import Signer
from adapters.snapshot import SnapshotRefused
from adapters.trust import TrustStore
from tests.support import signing as s
from tests.support.register import DOCUMENT, VO, document

NOW = datetime.now(UTC).replace(microsecond=0)
HUB = s.HUB


def trust() -> TrustStore:
    return TrustStore.from_files([s.folder() / "ca.pem"])


def hub() -> Signer:
    return s.signer("hub", oin=HUB)


def made(content: Any = None, *, version: int = 7, at: datetime = NOW, by: Signer | None = None, **more: Any) -> bytes:
    return snapshot.make(content or DOCUMENT, version=version, issuer=HUB, sealer=by or hub(), now=at, **more)


def read(raw: bytes, *, issuer: str = HUB, now: datetime = NOW, at_least: int = 0) -> snapshot.Snapshot:
    return snapshot.read(raw, check=trust().check, issuer=issuer, now=now, at_least=at_least)


def refused(raw: bytes, **how: Any) -> str:
    with pytest.raises(SnapshotRefused) as why:
        read(raw, **how)
    return str(why.value)


def with_header(raw: bytes, change: Callable[[dict[str, Any]], None], *, by: Signer | None = None) -> bytes:
    """The same with another first line; signed again when somebody does so."""
    header, signature, content = raw.split(b"\n", 2)
    said = json.loads(header)
    change(said)
    header = json.dumps(said).encode()
    return b"\n".join((header, base64.b64encode(by.seal(header)) if by else signature, content))


def test_a_hub_reads_what_another_signed_and_decides_with_the_same_register() -> None:
    found = read(made())
    assert (found.issuer, found.version, found.made) == (HUB, 7, NOW)
    assert found.valid_until == NOW + snapshot.VALID_FOR
    assert found.register.version == 7
    assert found.register.to_document() == snapshot.read_register(DOCUMENT, version=7).to_document()


def test_tokens_of_mandates_stay_with_their_register() -> None:
    mandates = [{**row, "token": "6a47bfdd-81a7-46cd-b41f-d907e91ebdfc"} for row in DOCUMENT["mandates"]]
    content = gzip.decompress(made({**DOCUMENT, "mandates": mandates}).split(b"\n", 2)[2])
    assert b"6a47bfdd" not in content
    assert len(json.loads(content)["mandates"]) == len(mandates)


def test_a_snapshot_is_refused_once_it_has_expired_and_before_it_was_made() -> None:
    raw = made(valid_for=timedelta(hours=1))
    assert read(raw, now=NOW + timedelta(hours=1)).version == 7
    assert "was valid until" in refused(raw, now=NOW + timedelta(hours=1, seconds=1))
    assert "not yet" in refused(raw, now=NOW - timedelta(minutes=6))


def test_an_older_version_does_not_bring_ended_mandates_back() -> None:
    assert read(made(version=8), at_least=8).version == 8
    assert "version 8 is in use already" in refused(made(version=7), at_least=8)


def test_a_snapshot_of_another_register_is_not_used_whoever_signed_it() -> None:
    assert f"that of {VO} is followed" in refused(made(), issuer=VO)
    by_las = made(by=s.signer())
    assert f"the certificate that signed it of {s.LAS}" in refused(by_las)


def test_a_certificate_of_strangers_signs_nothing_for_us() -> None:
    assert "not trusted" in refused(made(by=s.foreign_signer()))


def test_a_revoked_certificate_signs_nothing_for_us(tmp_path) -> None:
    pki.init(tmp_path)
    party = pki.issue(tmp_path, oin=HUB, name="hub", revoked=True)
    by = Signer(pki.read_key(party.key), pki.read_certificate(party.certificate))
    store = TrustStore.from_files([tmp_path / "ca.pem"], [tmp_path / "crl.pem"])
    later = datetime.now(UTC) + timedelta(seconds=2)
    with pytest.raises(SnapshotRefused, match="revoked"):
        snapshot.read(made(by=by), check=store.check, issuer=HUB, now=later)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda raw: raw[:-40], "cut off or changed"),
        (lambda raw: raw[:-9] + bytes([raw[-9] ^ 1]) + raw[-8:], "cut off or changed"),
        (lambda raw: with_header(raw, lambda said: said.update(version=9)), "signature is wrong"),
        (lambda raw: with_header(raw, lambda said: said.update(valid_until="2099-01-01T00:00:00Z")), "signature is wrong"),
        (lambda raw: with_header(raw, lambda said: said.update(extra="x"), by=hub()), "and nothing else"),
        (lambda raw: with_header(raw, lambda said: said.update(version=True), by=hub()), "and nothing else"),
        (lambda raw: with_header(raw, lambda said: said.update(made="yesterday"), by=hub()), "made is not a moment"),
        (lambda raw: with_header(raw, lambda said: said.update(format="other"), by=hub()), "does not say koppelpunt-register-1"),
        (lambda raw: with_header(raw, lambda said: said.update(certificate="%%%"), by=hub()), "not base64"),
        (lambda raw: with_header(raw, lambda said: said.update(certificate="AAAA"), by=hub()), "not trusted"),
        (lambda raw: raw.replace(b"\n", b"\n!", 1), "not base64"),
        (lambda raw: b"", "no header"),
        (lambda raw: b"[]\n\n", "does not say"),
        (lambda raw: b"{" * 20_000 + b"\n\n", "no header"),
        (lambda raw: raw.split(b"\n")[0], "no header"),
    ],
)
def test_what_was_cut_off_changed_or_never_was_a_snapshot_is_refused_with_the_reason(change: Callable[[bytes], bytes], says: str) -> None:
    assert says in refused(change(made()))


def signed_content(content: bytes) -> bytes:
    """A snapshot whose content its keeper signed, whatever it is."""
    raw = b"\n".join((*made().split(b"\n", 2)[:2], content))
    return with_header(raw, lambda said: said.update(sha256=snapshot.hashlib.sha256(content).hexdigest()), by=hub())


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"no gzip", "not gzipped JSON"),
        (gzip.compress(b"[1]"), "not gzipped JSON"),
        (gzip.compress(b"{" * 5), "not gzipped JSON"),
        (gzip.compress(b"[" * 200_000), "not gzipped JSON"),
        (gzip.compress(b"{}") + b"more", "not gzipped JSON"),
        (gzip.compress(b"{}")[:-4], "not gzipped JSON"),
        (gzip.compress(json.dumps(document(mandates=[{"organisation": VO}])).encode()), "no register that can be used"),
    ],
)
def test_a_signature_makes_no_register_of_what_is_none(content: bytes, says: str) -> None:
    assert says in refused(signed_content(content))


def test_a_bomb_is_not_unpacked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(snapshot, "LARGEST", 10_000)
    assert "too large" in refused(signed_content(gzip.compress(b'{"systems": [' + b" " * 50_000 + b"]}")))
    monkeypatch.setattr(snapshot, "LARGEST_PACKED", 100)
    assert "too large" in refused(made())


WHOLE = made()


@given(st.integers(0, len(WHOLE) - 1), st.integers(1, 255))
def test_no_byte_of_a_snapshot_can_be_another_one(place: int, bits: int) -> None:
    raw = bytearray(WHOLE)
    raw[place] ^= bits
    with suppress(SnapshotRefused):
        assert read(bytes(raw)).document == read(WHOLE).document  # such as another way to write the same base64
