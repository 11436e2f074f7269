"""Hand in a message with zeep: composed from the WSDL, signed, receipt verified. Python 3.11; nothing of Koppelpunt.

    pip install zeep xmlsec requests lxml cryptography
    python zeep_client.py https://HOST:8443/wus/proef/1 --cert mine.crt --key mine.key --ca ca.pem --school OIN --receiver OIN --hub OIN

`--hub` is the backbone's own OIN: `oin` in https://HOST:8443/certificates. To send again after no answer, say the same `--message-id`,
`--business-id` and `--created`: a receipt repeats only for the same Body.
"""

from __future__ import annotations

import argparse
import base64
import uuid
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import requests
import xmlsec
from cryptography import x509
from lxml import etree
from zeep import Client
from zeep.exceptions import Fault
from zeep.transports import Transport

SOAP = "http://schemas.xmlsoap.org/soap/envelope/"
WSA = "http://www.w3.org/2005/08/addressing"
WSSE = "http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-wssecurity-secext-1.0.xsd"
WSSE11 = "http://docs.oasis-open.org/wss/oasis-wss-wssecurity-secext-1.1.xsd"
WSU = "http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-wssecurity-utility-1.0.xsd"
DS = "http://www.w3.org/2000/09/xmldsig#"
X509V3 = "http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-x509-token-profile-1.0#X509v3"
BASE64 = "http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-soap-message-security-1.0#Base64Binary"

HEADER, BODY = f"{{{SOAP}}}Header", f"{{{SOAP}}}Body"
SECURITY, TOKEN, TIMESTAMP = f"{{{WSSE}}}Security", f"{{{WSSE}}}BinarySecurityToken", f"{{{WSU}}}Timestamp"
SIGNATURE, ID = f"{{{DS}}}Signature", f"{{{WSU}}}Id"
SKEW = timedelta(minutes=5)


class Edukoppeling:
    """zeep's `wsse` for profile 2W-be-S. It remembers the request it signed last: one for each thread, one call at a time."""

    def __init__(self, key: str, certificate: str, *, ca: str, hub: str, message_id: str | None = None) -> None:
        """PEM files; `hub`: the OIN that answers. `message_id`: of the message that is sent again; zeep draws a new one for every call."""
        self._key_file, self._certificate_file, self._message_id = key, certificate, message_id
        self._trusted, self._hub = x509.load_pem_x509_certificates(Path(ca).read_bytes()), hub
        self._sent: tuple[str, str] | None = None  # MessageID and signature value

    def apply(self, envelope: etree._Element, headers: dict[str, str]) -> tuple[etree._Element, dict[str, str]]:
        """Adds token, Timestamp and a signature over every addressing header, Timestamp and Body."""
        header, body = envelope.find(HEADER), envelope.find(BODY)
        message_id = header.find(f"{{{WSA}}}MessageID")
        if self._message_id is not None:
            message_id.text = self._message_id
        security = etree.SubElement(header, SECURITY)
        der = etree.SubElement(security, TOKEN, EncodingType=BASE64, ValueType=X509V3)
        der.text = "".join(Path(self._certificate_file).read_text().split("-----")[2].split())
        stamp = etree.SubElement(security, TIMESTAMP)
        now = datetime.now(UTC)
        etree.SubElement(stamp, f"{{{WSU}}}Created").text = now.strftime("%Y-%m-%dT%H:%M:%SZ")
        etree.SubElement(stamp, f"{{{WSU}}}Expires").text = (now + timedelta(minutes=5)).strftime("%Y-%m-%dT%H:%M:%SZ")
        signature = xmlsec.template.create(envelope, xmlsec.Transform.EXCL_C14N, xmlsec.Transform.RSA_SHA256)
        security.append(signature)
        reference = etree.SubElement(
            etree.SubElement(xmlsec.template.ensure_key_info(signature), f"{{{WSSE}}}SecurityTokenReference"),
            f"{{{WSSE}}}Reference",
        )
        context = xmlsec.SignatureContext()
        context.key = xmlsec.Key.from_file(self._key_file, xmlsec.KeyFormat.PEM)
        for part in (der, stamp, body, *_addressing(header)):
            identifier = f"id-{uuid.uuid4()}"
            part.set(ID, identifier)
            context.register_id(part, "Id", WSU)
            if part is der:
                reference.set("URI", f"#{identifier}")
                reference.set("ValueType", X509V3)
            xmlsec.template.add_transform(
                xmlsec.template.add_reference(signature, xmlsec.Transform.SHA256, uri=f"#{identifier}"), xmlsec.Transform.EXCL_C14N
            )
        context.sign(signature)
        self._sent = message_id.text, _text(signature.findtext(f"{{{DS}}}SignatureValue"))
        return envelope, headers

    def verify(self, envelope: etree._Element) -> etree._Element:
        """The hub signed the very Body, Timestamp and headers that zeep reads, just now, and it is the answer to what was sent. Raises
        xmlsec.Error, InvalidSignature or ValueError."""
        header, body = envelope.find(HEADER), envelope.find(BODY)
        security = header.find(SECURITY)
        der = base64.b64decode(security.findtext(TOKEN))
        self._require_hub(x509.load_der_x509_certificate(der))
        stamp, confirmations = security.find(TIMESTAMP), security.findall(f"{{{WSSE11}}}SignatureConfirmation")
        parts = [body, stamp, *_addressing(header), *confirmations]
        context = xmlsec.SignatureContext()
        context.key = xmlsec.Key.from_memory(der, xmlsec.KeyFormat.CERT_DER)
        for part in (*parts, security.find(TOKEN)):
            context.register_id(part, "Id", WSU)
        signature = security.find(SIGNATURE)
        context.verify(signature)
        signed = {reference.get("URI") for reference in signature.iter(f"{{{DS}}}Reference")}
        if missing := [part.tag for part in parts if f"#{part.get(ID)}" not in signed]:
            raise ValueError(f"not signed: {missing}")
        if self._sent is not None:
            self._require_answer(self._sent, header, body, stamp, [_text(one.get("Value")) for one in confirmations])
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

    @staticmethod
    def _require_answer(
        sent: tuple[str, str], header: etree._Element, body: etree._Element, stamp: etree._Element, confirmed: list[str]
    ) -> None:
        message_id, value = sent
        created = datetime.fromisoformat(_text(stamp.findtext(f"{{{WSU}}}Created")))
        if abs(datetime.now(UTC) - created) > SKEW:
            raise ValueError("the answer was not made just now; is the clock right?")
        related = [_text(one.text) for one in header.findall(f"{{{WSA}}}RelatesTo")]
        fault = body.find(f"{{{SOAP}}}Fault") is not None  # may be from before the message was read
        if related != [message_id] and (related or not fault):
            raise ValueError("the answer is to another message")
        if confirmed != [value] and not fault:
            raise ValueError("the answer does not confirm our signature")


def _addressing(header: etree._Element) -> list[etree._Element]:
    return [one for one in header if str(one.tag).startswith(f"{{{WSA}}}")]


def _text(text: str | None) -> str:
    return "".join((text or "").split())


def sender_of(school: str) -> etree._Element:
    """The wsa:From that zeep does not add: the school's OIN, not that of your system."""
    element = etree.Element(f"{{{WSA}}}From")
    etree.SubElement(element, f"{{{WSA}}}Address").text = f"{WSA}/anonymous?oin={school}"
    return element


def service_of(
    url: str, wsse: Any, *, key: str, certificate: str, ca: str, query: str, plugins: list[Any] | None = None
) -> tuple[Client, Any]:
    """A client made from the WSDL at `url`, over mutual TLS, and its service.

    `query`: `?oin=` and the receiver; behind `url` it makes wsa:To.
    """
    session = requests.Session()
    session.trust_env = False  # else a CA bundle in the environment goes before `ca`
    session.cert, session.verify = (certificate, key), ca
    transport = Transport(session=session, timeout=30, operation_timeout=30)
    client = Client(f"{url}?wsdl", wsse=wsse, transport=transport, plugins=plugins or [])
    return client, client.create_service(next(iter(client.wsdl.bindings)), url + query)


def main() -> int:
    """Hands in one `proef`."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("url", help="of the dienst, such as https://HOST:8443/wus/proef/1")
    for name in ("cert", "key", "ca", "school", "receiver", "hub"):
        parser.add_argument(f"--{name}", required=True)
    parser.add_argument("--message-id", default=f"urn:uuid:{uuid.uuid4()}")
    parser.add_argument("--business-id", default=str(uuid.uuid4()))
    parser.add_argument("--created", default=datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"))
    given = parser.parse_args()
    wsse = Edukoppeling(given.key, given.cert, ca=given.ca, hub=given.hub, message_id=given.message_id)
    _, service = service_of(given.url, wsse, key=given.key, certificate=given.cert, ca=given.ca, query=f"?oin={given.receiver}")
    document = {
        "identificatiecodeBedrijfsdocument": given.business_id,
        "verzendendeInstantie": given.school,
        "ontvangendeInstantie": given.receiver,
        "datumTijdBedrijfsdocument": given.created,
    }
    try:
        receipt = service.proef(bedrijfsdocument=document, echo="hallo", _soapheaders=[sender_of(given.school)])
    except Fault as fault:
        print(f"refused: {fault.code} {fault.message}")
        return 1
    print(f"accepted: {receipt.referentie} at {receipt.ontvangenOp}")
    for warning in receipt.waarschuwing or ():
        print(f"warning: {warning}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
