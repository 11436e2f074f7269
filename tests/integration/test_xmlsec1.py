"""xmlsec1 (libxmlsec1's own command) on files: it verifies what we sign, and we accept what it signs."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from adapters import soap
from tests.integration.test_gateway import ask, start
from tests.support import interop
from tests.support import signing as s
from tests.support.exchange import HUB, Exchange

ROOT = Path(__file__).parents[2]
PARTS = ("To", "Action", "MessageID", "From")


@pytest.fixture(autouse=True, scope="module")
def xmlsec1() -> None:
    interop.need("xmlsec1")


def run_py(*words: str | Path) -> str:
    return interop.run(sys.executable, ROOT / "run.py", *words, check=False).stdout


def ids() -> list[str]:
    """xmlsec1 has to be told which attributes are ids, for each element by its name."""
    elements = [f"{soap.WSA}:{name}" for name in (*PARTS, "RelatesTo")]
    elements += [f"{soap.SOAP}:Body", f"{soap.WSU}:Timestamp", f"{soap.WSSE}:BinarySecurityToken", f"{soap.WSSE11}:SignatureConfirmation"]
    return [word for element in elements for word in ("--id-attr:Id", element)]


def verified_parts(file: Path, certificate: Path) -> str:
    """What xmlsec1 says of a file, judged with this certificate, since it does not read a SecurityTokenReference."""
    done = interop.run("xmlsec1", "--verify", "--pubkey-cert-pem", certificate, *ids(), file, check=False)
    return "".join(line for line in (done.stdout + done.stderr).splitlines(keepends=True) if line.startswith(("OK", "FAIL", "SignedInfo")))


def template(raw: bytes, certificate: Path) -> bytes:
    """An unsigned envelope with a token and an empty signature, as one would write it for xmlsec1."""
    token = "".join(certificate.read_text().split("-----")[2].split())
    exclusive = f'Algorithm="{soap.EXC_C14N}"'
    references = "".join(
        f'<ds:Reference URI="#{identifier}"><ds:Transforms><ds:Transform {exclusive}/></ds:Transforms>'
        f'<ds:DigestMethod Algorithm="{soap.SHA256}"/><ds:DigestValue/></ds:Reference>'
        for identifier in ("kp-to", "kp-action", "kp-msgid", "kp-from", "kp-ts", "kp-body", "token")
    )
    security = (
        f'<wsse:BinarySecurityToken wsu:Id="token" ValueType="{soap.X509V3}" EncodingType="{soap.BASE64}">{token}'
        f"</wsse:BinarySecurityToken>"
        f'<ds:Signature xmlns:ds="{soap.DS}"><ds:SignedInfo><ds:CanonicalizationMethod {exclusive}/>'
        f'<ds:SignatureMethod Algorithm="{soap.RSA_SHA256}"/>{references}</ds:SignedInfo><ds:SignatureValue/><ds:KeyInfo>'
        f'<wsse:SecurityTokenReference><wsse:Reference URI="#token" ValueType="{soap.X509V3}"/></wsse:SecurityTokenReference></ds:KeyInfo>'
        f"</ds:Signature></wsse:Security>"
    )
    return raw.replace(b"</wsse:Security>", security.encode())


def test_xmlsec1_verifies_a_file_that_sign_signed_and_notices_a_change(tmp_path: Path) -> None:
    party, unsigned, signed = s.party(), tmp_path / "unsigned.xml", tmp_path / "signed.xml"
    unsigned.write_bytes(s.unsigned())
    run_py("sign", unsigned, "--key", party.key, "--cert", party.certificate, "-o", signed)
    assert verified_parts(signed, party.certificate) == "OK\nSignedInfo References (ok/all): 7/7\n"
    signed.write_bytes(signed.read_bytes().replace(b"A-1", b"A-2"))
    assert verified_parts(signed, party.certificate).startswith("FAIL")


def test_verify_accepts_a_file_that_xmlsec1_signed_from_a_template_and_notices_a_change(tmp_path: Path) -> None:
    party, unsigned, signed = s.party(), tmp_path / "template.xml", tmp_path / "signed.xml"
    unsigned.write_bytes(template(s.unsigned(created=datetime.now(UTC)), party.certificate))
    interop.run("xmlsec1", "--sign", "--privkey-pem", party.key, *ids(), "--output", signed, unsigned)
    judge = ("verify", signed, "--trust", s.folder() / "ca.pem", "--mandate", f"{s.SCHOOL}:{s.LAS}", "--second-opinion", "--json")
    said = json.loads(run_py(*judge))
    assert said["accepted"], said
    assert {*PARTS, "Body", "Timestamp"} <= set(said["signed"])
    signed.write_bytes(signed.read_bytes().replace(b"A-1", b"A-2"))
    assert json.loads(run_py(*judge))["code"] == "Client.EK0031"


def test_xmlsec1_verifies_a_message_that_we_send_on(tmp_path: Path) -> None:
    (tmp_path / "onward.xml").write_bytes(interop.onward())
    assert verified_parts(tmp_path / "onward.xml", s.party("hub", oin=HUB).certificate) == "OK\nSignedInfo References (ok/all): 8/8\n"


@pytest.fixture(scope="module")
def exchange() -> Iterator[Exchange]:
    with Exchange() as made:
        made.run(start(made))
        yield made


@pytest.mark.broker
@pytest.mark.parametrize("change", [b"", b"x"], ids=["receipt", "fault"])
def test_xmlsec1_verifies_what_our_gateway_answers(exchange: Exchange, tmp_path: Path, change: bytes) -> None:
    """Every part of it: token, Timestamp, Body, five addressing headers, and the confirmation of the request's signature."""
    raw = exchange.proef(s.message_id()).replace(b"<ontvangendeInstantie>", b"<ontvangendeInstantie>" + change)
    answer = tmp_path / "answer.xml"
    answer.write_bytes(ask(exchange, raw)[2])
    assert (b"faultcode" in answer.read_bytes()) == bool(change)
    assert verified_parts(answer, s.party("hub", oin=HUB).certificate) == "OK\nSignedInfo References (ok/all): 9/9\n"
