"""node-soap (Node.js) at the gateway: it composes from our WSDL, signs with its own WSSecurityCert, and xml-crypto verifies our receipt.

What it does by default is not what the standard asks for, and our fault says what to set.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from tests.integration.test_gateway import start
from tests.integration.test_gateway_clients import in_thread, melding
from tests.support import interop
from tests.support import signing as s
from tests.support.exchange import HUB, MBO, SCHOOL, Exchange

pytestmark = pytest.mark.broker

EXCLUSIVE = "http://www.w3.org/2001/10/xml-exc-c14n#"
RSA_SHA1 = "http://www.w3.org/2000/09/xmldsig#rsa-sha1"
WSU_IDS = {"idMode": "wssecurity"}


@pytest.fixture(scope="module")
def exchange() -> Iterator[Exchange]:
    interop.node_modules()
    with Exchange() as made:
        made.run(start(made))
        yield made


def hand_in(exchange: Exchange, **more: Any) -> dict[str, Any]:
    """What the client said: `receipt` and what it verified, or `fault`."""
    party = s.party()
    given = {
        "wsdl": f"https://localhost:{exchange.settings.gateway_port}/wus/proef/1?wsdl",
        "to": MBO,
        "from": SCHOOL,
        "hub": HUB,
        "ca": str(s.folder() / "ca.pem"),
        "key": str(party.key),
        "cert": str(party.certificate),
        "document": melding(),
    }
    return in_thread(exchange, lambda: interop.node("client.cjs", given | more))


def told(said: dict[str, Any]) -> tuple[str, str]:
    """Code and text of the fault, as node-soap reads it."""
    assert "fault" in said, said
    return said["fault"]["faultcode"], said["fault"]["faultstring"]["$value"]


def test_node_soap_composes_from_our_wsdl_is_accepted_and_xml_crypto_verifies_our_receipt(exchange: Exchange) -> None:
    said = hand_in(exchange)
    assert said["receipt"]["ontvangstBevestiging"] == "J"
    assert set(said["verified"]) >= {"Body", "Timestamp", "To", "From", "Action", "MessageID", "RelatesTo", "SignatureConfirmation"}
    found = exchange.rows("SELECT reference FROM message WHERE message_id = :id", id=said["messageId"])
    assert found == [{"reference": said["receipt"]["referentie"]}]


def test_what_node_soap_sends_again_gets_the_same_reference(exchange: Exchange) -> None:
    same = {"messageId": s.message_id(), "document": melding()}
    first, again = hand_in(exchange, **same), hand_in(exchange, **same)
    assert first["receipt"] == again["receipt"]


def test_xml_crypto_verifies_a_message_that_we_send_on(exchange: Exchange, tmp_path: Path) -> None:
    (tmp_path / "onward.xml").write_bytes(interop.onward())
    said = hand_in(exchange, received=str(tmp_path / "onward.xml"))
    assert set(said["verified"]) >= {"Body", "Timestamp", "To", "From", "Action", "MessageID", "RelatesTo"}
    (tmp_path / "onward.xml").write_bytes(interop.onward().replace(b"A-1", b"A-2"))
    with pytest.raises(pytest.fail.Exception, match=r"invalid signature|signature is wrong"):
        hand_in(exchange, received=str(tmp_path / "onward.xml"))


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({}, "exclusive C14N is the only transform, so leave out enveloped-signature"),
        ({"signatureTransformations": [EXCLUSIVE]}, "Body and Timestamp have an Id that is not a wsu:Id"),
        (
            {"signatureTransformations": [EXCLUSIVE], "signerOptions": WSU_IDS},
            "the signature does not cover To and From and Action and MessageID",
        ),
        (
            {"signatureTransformations": [EXCLUSIVE], "signerOptions": WSU_IDS, "hasTimeStamp": False},
            "wsse:Security has no Timestamp",
        ),
        (
            {"signatureTransformations": [EXCLUSIVE], "signerOptions": WSU_IDS, "signatureAlgorithm": RSA_SHA1},
            "the signature method is not allowed; RSA with SHA-256, SHA-384 or SHA-512 is",
        ),
    ],
    ids=["nothing set", "transforms set", "ids set too", "no Timestamp", "SHA-1"],
)
def test_each_thing_that_node_soap_is_not_told_is_named_in_a_fault(exchange: Exchange, options: dict[str, Any], text: str) -> None:
    code, said = told(hand_in(exchange, options=options))
    assert code == "soapenv:Client.EK0031"
    assert text in said


def test_without_addressing_headers_node_soap_is_told_that_to_is_missing(exchange: Exchange) -> None:
    code, _ = told(hand_in(exchange, headers=[], options={"signatureTransformations": [EXCLUSIVE]}))
    assert code == "soapenv:Client.DK0005"


def test_wssecuritycertwithtoken_sends_no_keyinfo_and_is_told_so(exchange: Exchange) -> None:
    """In node-soap 1.13 it leaves KeyInfo out around its reference, whatever it is told: WSSecurityCert is the one to use."""
    code, said = told(hand_in(exchange, token=True))
    assert code == "soapenv:Client.EK0031"
    assert "the Signature must hold SignedInfo, SignatureValue and KeyInfo" in said


def test_node_soap_reads_what_is_wrong_with_the_content(exchange: Exchange) -> None:
    wrong = melding()
    wrong["bedrijfsdocument"]["datumTijdBedrijfsdocument"] = datetime.now(UTC).strftime("%d-%m-%Y")
    said = hand_in(exchange, document=wrong)
    assert told(said)[0] == "soapenv:Client.DK0004"
    assert "datumTijdBedrijfsdocument" in str(said["fault"]["detail"])
