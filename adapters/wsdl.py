"""A WSDL 1.1 for a dienst version, made from its contract: a new dienst has one without code (facts 1.4).

document/literal (WW001), one portType (WS005), one operation per message kind, `wsam:Action` (WS008) equal to `soapAction` (WS002), UTF-8
(WS006), and WS-Addressing required. What no WSDL can say well, the security, is said in words.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from lxml import etree

from adapters import soap
from adapters.answers import NAMESPACE, XSD
from schemas import xml
from schemas.contract import Contract

_XS: Final = "http://www.w3.org/2001/XMLSchema"
_WSDL: Final = "http://schemas.xmlsoap.org/wsdl/"
_WSDL_SOAP: Final = "http://schemas.xmlsoap.org/wsdl/soap/"
_WSAM: Final = "http://www.w3.org/2007/05/addressing/metadata"
_WSAW: Final = "http://www.w3.org/2006/05/addressing/wsdl"
#: What each profile asks of messages and answers.
_SIGNING: Final = {
    "2W-be-S": (
        "verzoek en antwoord ondertekend volgens WS-Security (Body, Timestamp en elke WS-Addressing-header; RSA-SHA256, exclusive C14N, "
        "BinarySecurityToken met directe verwijzing)",
        "request and response signed with WS-Security (Body, Timestamp and every WS-Addressing header; RSA-SHA256, exclusive C14N, "
        "BinarySecurityToken by direct reference)",
    ),
    "2W-be": ("verzoek en antwoord zonder ondertekening", "request and response not signed"),
}


def _security(profile: str) -> str:
    nl, en = _SIGNING[profile]
    return (
        f"Profiel Digikoppeling {profile}: tweezijdig TLS (1.2 of 1.3) met een certificaat waarvan subject.serialNumber het OIN is; {nl}. "
        "wsa:To en wsa:From dragen het OIN van de eindpartijen als ?oin=; MessageID is een UUID. "
        f"/ Profile Digikoppeling {profile}: mutual TLS (1.2 or 1.3) with a certificate that has the OIN in subject.serialNumber; {en}. "
        "wsa:To and wsa:From carry the OINs of the end parties as ?oin=, MessageID holds a UUID."
    )


def documents(contract: Contract) -> dict[str, bytes]:
    """The XSDs a WSDL names, by the name they are asked for: the dienst's own with all that it includes or imports, and the receipt's."""
    found = {XSD.name: XSD.read_bytes()}
    for path, root in xml.documents(contract.xsd).items():
        for part in _references(root):
            part.set("schemaLocation", f"?xsd={_name(contract, xml.target_of(part, path))}")
        found[_name(contract, path)] = etree.tostring(root, encoding="UTF-8", xml_declaration=True)
    return found


def description(contract: Contract, *, url: str, inline: bool = False) -> bytes:
    """The WSDL. `url`: where the dienst is. `inline`: with the XSDs inside, for tools that fetch nothing."""
    types = _inlined(contract) if inline else _imported(contract, url)
    kinds = list(contract.kinds.values())
    name = f"{contract.dienst.capitalize()}_v{contract.versie}"
    text, attribute = soap.text, soap.attribute
    security = text(_security(contract.profile))
    messages = "".join(
        f'<wsdl:message name="{kind.name}"><wsdl:part name="body" element="d:{kind.name}"/></wsdl:message>' for kind in kinds
    )
    operations = "".join(
        f'<wsdl:operation name="{kind.name}">'
        f'<wsdl:input message="tns:{kind.name}" wsam:Action="{attribute(kind.action)}" wsaw:Action="{attribute(kind.action)}"/>'
        f'<wsdl:output message="tns:ontvangst" wsam:Action="{attribute(kind.action)}" wsaw:Action="{attribute(kind.action)}"/>'
        f"</wsdl:operation>"
        for kind in kinds
    )
    bound = "".join(
        f'<wsdl:operation name="{kind.name}"><soap:operation soapAction="{attribute(kind.action)}" style="document"/>'
        f'<wsdl:input><soap:body use="literal"/></wsdl:input><wsdl:output><soap:body use="literal"/></wsdl:output></wsdl:operation>'
        for kind in kinds
    )
    return (
        f'<?xml version="1.0" encoding="UTF-8"?>\n'
        f'<wsdl:definitions name="{name}" targetNamespace="{attribute(_target(contract))}" xmlns:tns="{attribute(_target(contract))}" '
        f'xmlns:d="{attribute(contract.namespace)}" xmlns:o="{NAMESPACE}" xmlns:wsdl="{_WSDL}" xmlns:soap="{_WSDL_SOAP}" '
        f'xmlns:wsam="{_WSAM}" xmlns:wsaw="{_WSAW}" xmlns:xs="{_XS}">'
        f"<wsdl:documentation>{text(contract.name)}, versie {text(contract.versie)}. {security}</wsdl:documentation>"
        f"<wsdl:types>{types}</wsdl:types>{messages}"
        f'<wsdl:message name="ontvangst"><wsdl:part name="body" element="o:ontvangst"/></wsdl:message>'
        f'<wsdl:portType name="{name}">{operations}</wsdl:portType>'
        f'<wsdl:binding name="{name}" type="tns:{name}"><soap:binding style="document" transport="http://schemas.xmlsoap.org/soap/http"/>'
        f'<wsaw:UsingAddressing wsdl:required="true"/>{bound}</wsdl:binding>'
        f'<wsdl:service name="{name}"><wsdl:documentation>{security}</wsdl:documentation>'
        f'<wsdl:port name="{name}" binding="tns:{name}"><soap:address location="{attribute(url)}"/></wsdl:port></wsdl:service>'
        f"</wsdl:definitions>\n"
    ).encode()


def _target(contract: Contract) -> str:
    """The contract's namespace, apart from that of the messages (facts 1.4: DUO has them apart as well)."""
    return f"{contract.namespace}/wsdl"


def _imported(contract: Contract, url: str) -> str:
    def one(namespace: str, name: str) -> str:
        return f'<xs:import namespace="{soap.attribute(namespace)}" schemaLocation="{soap.attribute(f"{url}?xsd={name}")}"/>'

    return f"<xs:schema>{one(contract.namespace, contract.xsd.name)}{one(NAMESPACE, XSD.name)}</xs:schema>"


def _inlined(contract: Contract) -> str:
    """Each namespace's schema inside the WSDL: what is included becomes part of it, and an import names its neighbour by namespace."""
    given = xml.documents(contract.xsd)
    main = next(iter(given))
    merged: set[Path] = set()

    def merge(path: Path) -> etree._Element:
        root = given[path]
        for part in _references(root):
            other = xml.target_of(part, path)
            if part.tag == f"{{{_XS}}}import":
                del part.attrib["schemaLocation"]
                continue
            if other not in merged and other != main:
                merged.add(other)
                for child in reversed(merge(other)):
                    part.addnext(child)
            root.remove(part)
        return root

    for path in given:
        merge(path)
    schemas = [root for path, root in given.items() if path not in merged]
    schemas.append(next(iter(xml.documents(XSD).values())))
    return "".join(etree.tostring(schema, encoding="unicode", with_tail=False) for schema in schemas)


def _references(root: etree._Element) -> list[etree._Element]:
    names = ("import", "include", "redefine")
    return [child for child in root if child.tag in {f"{{{_XS}}}{name}" for name in names} and child.get("schemaLocation")]


def _name(contract: Contract, path: Path) -> str:
    """What an XSD is asked for by: its place in the dienst's folder."""
    return path.relative_to(contract.xsd.resolve().parent).as_posix()
