"""Apache WSS4J (what CXF signs with) at the gateway: accepted once it is told what the standard asks, and it verifies our answers.

The Java program is tests/interop/java/Wss4jClient.java; no code of ours on its side of the wire but the unsigned envelope.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from adapters import soap, wsdl
from adapters.parties import invented
from schemas.contracts import load_contracts
from tests.integration.test_gateway import start
from tests.integration.test_gateway_clients import in_thread
from tests.support import interop
from tests.support import signing as s
from tests.support.exchange import HUB, MBO, PROEF, SCHOOL, Exchange

pytestmark = pytest.mark.broker

#: What WSSecurityEngine checked of each answer, a fault too.
SIGNED = {"Body", "Timestamp", "To", "From", "Action", "MessageID", "RelatesTo", "SignatureConfirmation"}


@pytest.fixture(scope="module")
def exchange() -> Iterator[Exchange]:
    interop.java_classes()
    with Exchange() as made:
        made.run(start(made))
        yield made


def message(message_id: str, business_id: str) -> bytes:
    """A good message, not yet signed."""
    content = invented.proef(business_id=business_id, sender=SCHOOL, receiver=MBO, created=datetime.now(UTC).replace(microsecond=0))
    change = s.without("wsse:Security")
    return change(s.unsigned(content=content, receiver=MBO, action=PROEF, message=message_id))


def settings(exchange: Exchange, unsigned: Path) -> dict[str, object]:
    """What the program needs to know."""
    party = s.party()
    return {
        "url": f"https://localhost:{exchange.settings.gateway_port}/wus/proef/1",
        "action": PROEF,
        "unsigned": unsigned,
        "ca": s.folder() / "ca.pem",
        "key": party.key,
        "cert": party.certificate,
        "hub": HUB,
    }


def hand_in(exchange: Exchange, unsigned: Path, **more: str) -> dict[str, str]:
    """What the program said, by name."""
    done = in_thread(exchange, lambda: interop.java("Wss4jClient", settings(exchange, unsigned) | more))
    return {name: value for name, _, value in (line.partition("=") for line in done.stdout.splitlines())}


def test_what_wss4j_signs_is_accepted_and_it_verifies_our_receipt(exchange: Exchange, tmp_path: Path) -> None:
    message_id, unsigned = s.message_id(), tmp_path / "unsigned.xml"
    unsigned.write_bytes(message(message_id, str(uuid.uuid4())))
    said = hand_in(exchange, unsigned)
    assert said["ontvangstBevestiging"] == "J"
    assert set(said["verified"].split()) == SIGNED
    assert exchange.rows("SELECT reference FROM message WHERE message_id = :id", id=message_id) == [{"reference": said["referentie"]}]
    again = hand_in(exchange, unsigned)
    assert again["referentie"] == said["referentie"]


def test_each_addressing_header_that_cxf_adds_must_be_signed_too(exchange: Exchange, tmp_path: Path) -> None:
    reply_to = f"<wsa:ReplyTo><wsa:Address>{soap.ANONYMOUS}</wsa:Address></wsa:ReplyTo></soapenv:Header>".encode()
    unsigned = tmp_path / "unsigned.xml"
    unsigned.write_bytes(message(s.message_id(), str(uuid.uuid4())).replace(b"</soapenv:Header>", reply_to))
    assert "the signature does not cover ReplyTo" in hand_in(exchange, unsigned)["faultstring"]
    assert hand_in(exchange, unsigned, also="ReplyTo")["ontvangstBevestiging"] == "J"


def test_wss4j_verifies_a_message_that_we_send_on(exchange: Exchange, tmp_path: Path) -> None:
    (tmp_path / "onward.xml").write_bytes(interop.onward())
    said = hand_in(exchange, tmp_path, received=str(tmp_path / "onward.xml"))
    assert set(said["verified"].split()) == SIGNED - {"SignatureConfirmation"}


@pytest.mark.parametrize(
    ("setting", "text"),
    [
        ("signatureKeyIdentifier", "wsse:Security has no BinarySecurityToken: send the certificate along in one"),
        ("signatureAlgorithm", "the signature method is not allowed; RSA with SHA-256, SHA-384 or SHA-512 is"),
        ("signatureDigestAlgorithm", "a digest method is not allowed; SHA-256, SHA-384 and SHA-512 are"),
        ("signatureParts", "the signature does not cover Timestamp and To and Action and MessageID and From"),
    ],
    ids=["issuer and serial number", "RSA-SHA1", "SHA-1", "Body only"],
)
def test_each_default_of_wss4j_that_the_standard_forbids_is_named_in_a_fault(
    exchange: Exchange, tmp_path: Path, setting: str, text: str
) -> None:
    unsigned = tmp_path / "unsigned.xml"
    unsigned.write_bytes(message(s.message_id(), str(uuid.uuid4())))
    said = hand_in(exchange, unsigned, defaults=setting)
    assert said["faultcode"] == "soapenv:Client.EK0031"
    assert text in said["faultstring"]
    assert set(said["verified"].split()) == SIGNED


def test_an_answer_that_was_changed_on_its_way_is_not_believed_by_wss4j(exchange: Exchange, tmp_path: Path) -> None:
    """Otherwise the tests above would pass with a program that verifies nothing."""
    unsigned = tmp_path / "unsigned.xml"
    unsigned.write_bytes(message(s.message_id(), str(uuid.uuid4())))
    done = in_thread(exchange, lambda: interop.java("Wss4jClient", settings(exchange, unsigned) | {"forge": SCHOOL}, check=False))
    assert done.stdout.splitlines() == ["status=200"]
    assert "The signature or decryption was invalid" in done.stderr


@pytest.mark.parametrize("dienst", ["proef", "vva"])
def test_wsimport_makes_java_classes_from_our_wsdl(tmp_path: Path, dienst: str) -> None:
    """JAX-WS's own; with one method per message kind, and the Action that the standard wants."""
    interop.need("wsimport")
    contract = load_contracts().find(dienst, "1")
    assert contract is not None
    (tmp_path / "dienst.wsdl").write_bytes(wsdl.description(contract, url="https://localhost/wus", inline=True))
    interop.run("wsimport", "-Xnocompile", "-d", tmp_path, "-p", "made", tmp_path / "dienst.wsdl")
    made = (tmp_path / "made" / f"{dienst.capitalize()}V1.java").read_text()
    assert re.findall(r'@Action\(input = "([^"]+)"', made) == [kind.action for kind in contract.kinds.values()]
