"""Other people's SOAP stacks at the gateway: what they send is taken, or refused with a fault that says what to set; and they read us.

zeep composes from our WSDL, xmlsec (libxmlsec1) signs and verifies: no code of ours on their side of the wire.
"""

from __future__ import annotations

import asyncio
import base64
import uuid
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

import pytest
import requests
import xmlsec
from cryptography import x509
from lxml import etree
from zeep import Client
from zeep.exceptions import Fault
from zeep.plugins import HistoryPlugin
from zeep.transports import Transport
from zeep.wsse.signature import BinarySignature

from adapters import soap
from tests.integration.test_gateway import start
from tests.support import interop
from tests.support import signing as s
from tests.support.exchange import HUB, MBO, SCHOOL, Exchange

pytestmark = pytest.mark.broker

T = TypeVar("T")

FROM = f"http://www.w3.org/2005/08/addressing/anonymous?oin={SCHOOL}"


@pytest.fixture(scope="module")
def exchange() -> Iterator[Exchange]:
    with Exchange() as made:
        made.run(start(made))
        yield made


def in_thread(exchange: Exchange, act: Callable[[], T]) -> T:
    """zeep waits for its answers, and the gateway runs in the test's own event loop."""
    return exchange.run(asyncio.to_thread(act))


class Edukoppeling:
    """A zeep plugin for profile 2W-be-S, as a supplier would write it (docs/connecting-a-party.md)."""

    def __init__(self, key: str, certificate: str, *, ca: str, hub: str, message_id: str | None = None) -> None:
        """PEM files; `hub`: the OIN that answers. `message_id`: of the message that is sent again; zeep draws a new one for every call."""
        self._key_file, self._certificate_file, self._message_id = key, certificate, message_id
        self._trusted, self._hub = x509.load_pem_x509_certificates(Path(ca).read_bytes()), hub

    def apply(self, envelope: etree._Element, headers: dict[str, str]) -> tuple[etree._Element, dict[str, str]]:
        """Adds token, Timestamp and a signature over every addressing header, Timestamp and Body."""
        header, body = envelope.find(soap.HEADER), envelope.find(soap.BODY)
        if self._message_id is not None:
            header.find(f"{{{soap.WSA}}}MessageID").text = self._message_id
        security = etree.SubElement(header, soap.SECURITY)
        der = etree.SubElement(security, soap.TOKEN, EncodingType=soap.BASE64, ValueType=soap.X509V3)
        der.text = "".join(Path(self._certificate_file).read_text().split("-----")[2].split())
        stamp = etree.SubElement(security, soap.TIMESTAMP)
        now = datetime.now(UTC)
        etree.SubElement(stamp, f"{{{soap.WSU}}}Created").text = now.strftime("%Y-%m-%dT%H:%M:%SZ")
        etree.SubElement(stamp, f"{{{soap.WSU}}}Expires").text = (now + timedelta(minutes=5)).strftime("%Y-%m-%dT%H:%M:%SZ")
        signature = xmlsec.template.create(envelope, xmlsec.Transform.EXCL_C14N, xmlsec.Transform.RSA_SHA256)
        security.append(signature)
        reference = etree.SubElement(
            etree.SubElement(xmlsec.template.ensure_key_info(signature), f"{{{soap.WSSE}}}SecurityTokenReference"),
            f"{{{soap.WSSE}}}Reference",
        )
        context = xmlsec.SignatureContext()
        context.key = xmlsec.Key.from_file(self._key_file, xmlsec.KeyFormat.PEM)
        for part in (der, stamp, body, *(one for one in header if one.tag.startswith(f"{{{soap.WSA}}}"))):
            identifier = f"id-{uuid.uuid4()}"
            part.set(soap.ID, identifier)
            context.register_id(part, "Id", soap.WSU)
            if part is der:
                reference.set("URI", f"#{identifier}")
                reference.set("ValueType", soap.X509V3)
            xmlsec.template.add_transform(
                xmlsec.template.add_reference(signature, xmlsec.Transform.SHA256, uri=f"#{identifier}"), xmlsec.Transform.EXCL_C14N
            )
        context.sign(signature)
        return envelope, headers

    def verify(self, envelope: etree._Element) -> etree._Element:
        """The hub signed the very Body, Timestamp and headers that zeep reads. Raises xmlsec.Error, InvalidSignature or ValueError."""
        header = envelope.find(soap.HEADER)
        security = header.find(soap.SECURITY)
        der = base64.b64decode(security.findtext(soap.TOKEN))
        self._require_hub(x509.load_der_x509_certificate(der))
        parts = [envelope.find(soap.BODY), security.find(soap.TIMESTAMP), *(one for one in header if one.tag.startswith(f"{{{soap.WSA}}}"))]
        parts += security.findall(f"{{{soap.WSSE11}}}SignatureConfirmation")
        context = xmlsec.SignatureContext()
        context.key = xmlsec.Key.from_memory(der, xmlsec.KeyFormat.CERT_DER)
        for part in (*parts, security.find(soap.TOKEN)):
            context.register_id(part, "Id", soap.WSU)
        signature = security.find(soap.SIGNATURE)
        context.verify(signature)
        signed = {reference.get("URI") for reference in signature.iter(f"{{{soap.DS}}}Reference")}
        if missing := [part.tag for part in parts if f"#{part.get(soap.ID)}" not in signed]:
            raise ValueError(f"not signed: {missing}")
        return envelope

    def _require_hub(self, certificate: x509.Certificate) -> None:
        issuer = next((ca for ca in self._trusted if ca.subject == certificate.issuer), None)
        if issuer is None:
            raise ValueError("the certificate in the answer is of somebody else's CA")
        certificate.verify_directly_issued_by(issuer)
        if certificate.not_valid_after_utc < datetime.now(UTC):
            raise ValueError("the certificate in the answer has expired")
        if [one.value for one in certificate.subject.get_attributes_for_oid(x509.NameOID.SERIAL_NUMBER)] != [self._hub]:
            raise ValueError("the answer is not signed by the hub")


def plugin(**more: Any) -> Edukoppeling:
    """The LAS's."""
    party = s.party()
    return Edukoppeling(
        **{"key": str(party.key), "certificate": str(party.certificate), "ca": str(s.folder() / "ca.pem"), "hub": HUB} | more
    )


def zeep_client(exchange: Exchange, dienst: str, wsse: Any, *, query: str = f"?oin={MBO}") -> tuple[Client, Any, HistoryPlugin]:
    """A client made from the WSDL that the gateway serves, over mutual TLS with the LAS's certificate; and its service.

    Our WSDL says that addressing is required, so zeep adds the headers; wsa:To is the address it is given, with the receiver's OIN.
    """
    party, session, history = s.party(), requests.Session(), HistoryPlugin()
    session.trust_env = False  # else a CA bundle in the environment goes before ours
    session.cert, session.verify = (str(party.certificate), str(party.key)), str(s.folder() / "ca.pem")
    url = f"https://localhost:{exchange.settings.gateway_port}/wus/{dienst}/1"
    transport = Transport(session=session, timeout=20, operation_timeout=20)
    client = in_thread(exchange, lambda: Client(f"{url}?wsdl", wsse=wsse, transport=transport, plugins=[history]))
    binding = next(iter(client.wsdl.bindings))
    return client, client.create_service(binding, url + query), history


def melding() -> dict[str, Any]:
    return {
        "bedrijfsdocument": {
            "identificatiecodeBedrijfsdocument": str(uuid.uuid4()),
            "verzendendeInstantie": SCHOOL,
            "ontvangendeInstantie": MBO,
            "datumTijdBedrijfsdocument": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        },
        "echo": "hallo",
    }


def sender() -> etree._Element:
    """The wsa:From that zeep's plugin does not add."""
    element = etree.Element(f"{{{soap.WSA}}}From")
    etree.SubElement(element, f"{{{soap.WSA}}}Address").text = FROM
    return element


def test_zeep_composes_from_our_wsdl_is_accepted_and_verifies_our_receipt(exchange: Exchange) -> None:
    _, service, history = zeep_client(exchange, "proef", plugin())
    receipt = in_thread(exchange, lambda: service.proef(**melding(), _soapheaders=[sender()]))
    assert receipt.ontvangstBevestiging == "J"
    sent = history.last_sent["envelope"].findtext(f"{soap.HEADER}/{{{soap.WSA}}}MessageID")
    assert exchange.rows("SELECT reference FROM message WHERE message_id = :id", id=sent) == [{"reference": receipt.referentie}]


def test_zeep_reads_our_fault_and_its_code(exchange: Exchange) -> None:
    _, service, _ = zeep_client(exchange, "proef", plugin())
    wrong = melding()
    wrong["bedrijfsdocument"]["ontvangendeInstantie"] = SCHOOL  # not whom wsa:To names
    with pytest.raises(Fault) as refused:
        in_thread(exchange, lambda: service.proef(**wrong, _soapheaders=[sender()]))
    assert refused.value.code == "soapenv:Client.HEADER_NOT_SENDER"
    assert "ontvangendeInstantie" in refused.value.message


def test_what_zeep_signs_by_default_is_refused_with_a_fault_that_names_the_algorithm(exchange: Exchange) -> None:
    """Its BinarySignature: RSA-SHA1, over the Body only."""
    party = s.party()

    class Default(BinarySignature):  # type: ignore[misc]
        def verify(self, envelope: etree._Element) -> etree._Element:
            return envelope

    _, service, _ = zeep_client(exchange, "proef", Default(str(party.key), str(party.certificate)))
    with pytest.raises(Fault) as refused:
        in_thread(exchange, lambda: service.proef(**melding(), _soapheaders=[sender()]))
    assert refused.value.code == "soapenv:Client.EK0031"


def test_without_from_zeep_is_told_that_it_is_missing(exchange: Exchange) -> None:
    _, service, _ = zeep_client(exchange, "proef", plugin())
    with pytest.raises(Fault) as refused:
        in_thread(exchange, lambda: service.proef(**melding()))
    assert refused.value.code == "soapenv:Client.EK0020"


def test_without_an_oin_behind_its_address_zeep_is_told_that_to_needs_one(exchange: Exchange) -> None:
    _, service, _ = zeep_client(exchange, "proef", plugin(), query="")
    with pytest.raises(Fault) as refused:
        in_thread(exchange, lambda: service.proef(**melding(), _soapheaders=[sender()]))
    assert refused.value.code == "soapenv:Client.EK0022"


def test_what_zeep_sends_again_gets_the_same_reference(exchange: Exchange) -> None:
    document, references = melding(), set()
    again = plugin(message_id=s.message_id())
    for _ in range(2):
        _, service, _ = zeep_client(exchange, "proef", again)
        references.add(in_thread(exchange, lambda service=service: service.proef(**document, _soapheaders=[sender()])).referentie)
    assert len(references) == 1


def test_xmlsec_verifies_a_message_that_we_send_on() -> None:
    onward = interop.onward()
    plugin().verify(etree.fromstring(onward))
    with pytest.raises(xmlsec.Error):
        plugin().verify(etree.fromstring(onward.replace(b"A-1", b"A-2")))
    with pytest.raises(ValueError, match="not signed by the hub"):
        plugin(hub=SCHOOL).verify(etree.fromstring(onward))
    with pytest.raises(ValueError, match=r"not signed: .*ReplyTo"):
        plugin().verify(etree.fromstring(onward.replace(b"</soapenv:Header>", b'<wsa:ReplyTo wsu:Id="more"/></soapenv:Header>')))


@pytest.mark.parametrize("dienst", ["vva", "proef"])
def test_zeep_finds_an_operation_for_each_message_kind(exchange: Exchange, dienst: str) -> None:
    client, _, _ = zeep_client(exchange, dienst, None)
    operations = set(next(iter(next(iter(client.wsdl.services.values())).ports.values())).binding._operations)
    assert operations == {"vva": {"mboGangerBericht", "aanmeldStatusBericht"}, "proef": {"proef"}}[dienst]
