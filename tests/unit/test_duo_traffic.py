"""Recorded traffic of others: accept exactly the genuine messages, and name the failing part of the rest."""

from __future__ import annotations

import base64
import json
import re
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509

from adapters import second_opinion
from adapters.signature import SignatureBroken
from adapters.trust import TrustStore
from adapters.wsse import Verifier, check_from
from schemas.faults import NotAllowed, Refused

FOLDER = Path(__file__).parents[2] / "../shared/data/duo-traffic"
MANIFEST: dict[str, dict[str, Any]] = json.loads((FOLDER / "manifest.json").read_text()) if (FOLDER / "manifest.json").exists() else {}
pytestmark = pytest.mark.skipif(not MANIFEST, reason="the recorded traffic is not on this machine (../shared/data/duo-traffic)")


def read(name: str) -> tuple[bytes, TrustStore]:
    raw = (FOLDER / name).read_bytes()
    token = re.search(rb"BinarySecurityToken[^>]*>([^<]+)<", raw)
    assert token is not None
    return raw, TrustStore([x509.load_der_x509_certificate(base64.b64decode(token[1]))])


@pytest.mark.parametrize("name", [name for name, entry in MANIFEST.items() if entry["accept"]])
def test_a_genuine_recorded_message_is_accepted(name: str) -> None:
    raw, trust = read(name)
    entry = MANIFEST[name]
    envelope = Verifier(trust).verify(raw, at=None)
    assert list(envelope.signed) == entry["signed"]
    assert (envelope.to, envelope.action) == (entry["to"], entry["action"])
    assert entry["from"].endswith(envelope.sender)
    assert f"={envelope.certificate_oin}," in entry["subject"]
    assert second_opinion.ask(raw).valid
    check_from(envelope, pinned=trust.pinned)


@pytest.mark.parametrize("name", [name for name, entry in MANIFEST.items() if not entry["accept"]])
def test_a_broken_recorded_message_is_refused_and_the_failing_part_named(name: str) -> None:
    raw, trust = read(name)
    with pytest.raises(SignatureBroken) as caught:
        Verifier(trust).verify(raw, at=None)
    assert caught.value.where == ", ".join(MANIFEST[name]["bad"])
    assert not second_opinion.ask(raw).valid


@pytest.mark.parametrize("name", [name for name, entry in MANIFEST.items() if entry["accept"]])
@pytest.mark.parametrize("part", ["To", "Action", "MessageID", "From", "Timestamp", "Body"])
def test_a_recorded_message_that_is_tampered_with_names_the_part_and_signxml_agrees(name: str, part: str) -> None:
    raw, trust = read(name)
    tampered = re.sub(
        rb"(<(?:[\w.-]+:)?%s\b[^>]*>)(.*?)(</(?:[\w.-]+:)?%s>)" % (part.encode(), part.encode()),
        lambda m: m[1] + re.sub(rb"(>|^)([^<>]*[0-9A-Za-z])([^<>]*)", _other, m[2], count=1) + m[3],
        raw,
        count=1,
        flags=re.DOTALL,
    )
    assert tampered != raw
    with pytest.raises(Refused) as caught:
        Verifier(trust).verify(tampered, at=None)
    assert part in str(caught.value.where)
    assert not second_opinion.ask(tampered).valid


def _other(found: re.Match[bytes]) -> bytes:
    """The text with one character, a digit or letter, made another."""
    last = found[2][-1:]
    return found[1] + found[2][:-1] + (b"1" if last != b"1" else b"2") + found[3]


def test_a_pinned_certificate_of_somebody_else_does_not_help() -> None:
    raw, _ = read("000.xml")
    _, other = read("003.xml")
    with pytest.raises(NotAllowed):
        Verifier(other).verify(raw, at=None)
