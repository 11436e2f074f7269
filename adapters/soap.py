"""Bytes <-> SOAP 1.1: the hardened parser through which all XML of others comes in, and the envelopes and faults we send.

Nothing of lxml's errors leaves this module, and no text of a message stands in an error: a libxml2 message may quote content,
so only its kind, line and column are told.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final
from xml.sax.saxutils import escape

from lxml import etree

from schemas.envelope import REPLY as REPLY
from schemas.faults import Fault, Refused

SOAP: Final = "http://schemas.xmlsoap.org/soap/envelope/"
SOAP12: Final = "http://www.w3.org/2003/05/soap-envelope"
WSA: Final = "http://www.w3.org/2005/08/addressing"
WSSE: Final = "http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-wssecurity-secext-1.0.xsd"
WSSE11: Final = "http://docs.oasis-open.org/wss/oasis-wss-wssecurity-secext-1.1.xsd"
WSU: Final = "http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-wssecurity-utility-1.0.xsd"
DS: Final = "http://www.w3.org/2000/09/xmldsig#"
EXC_C14N: Final = "http://www.w3.org/2001/10/xml-exc-c14n#"
X509V3: Final = "http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-x509-token-profile-1.0#X509v3"
BASE64: Final = "http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-soap-message-security-1.0#Base64Binary"
RSA_SHA256: Final = "http://www.w3.org/2001/04/xmldsig-more#rsa-sha256"
SHA256: Final = "http://www.w3.org/2001/04/xmlenc#sha256"

#: What stands in an envelope of the profile, by the names lxml gives.
HEADER, BODY = f"{{{SOAP}}}Header", f"{{{SOAP}}}Body"
SECURITY, TOKEN = f"{{{WSSE}}}Security", f"{{{WSSE}}}BinarySecurityToken"
TIMESTAMP, SIGNATURE = f"{{{WSU}}}Timestamp", f"{{{DS}}}Signature"
ACTOR, MUST_UNDERSTAND, ID = f"{{{SOAP}}}actor", f"{{{SOAP}}}mustUnderstand", f"{{{WSU}}}Id"
#: A header with one of these as its actor is for whoever reads the message (SOAP 1.1, 4.2.2).
FOR_US: Final = (None, "", "http://schemas.xmlsoap.org/soap/actor/next")

ANONYMOUS: Final = WSA + "/anonymous"
NONE: Final = WSA + "/none"
#: RelationshipType of an envelope in which the backbone passes on somebody else's message (design section 3).
ORIGINAL: Final = "urn:x-backbone:original"
FAULT_ACTION: Final = WSA + "/soap/fault"


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How much XML we are willing to look at. Everything is counted before any digest or signature is computed."""

    size: int = 1 << 20  #: bytes; design section 4: at most 1 MiB over AMQP
    markup: int = 300_000  #: `<` characters: bounds the nodes, so the memory, of a document (at most about 250 bytes each)
    depth: int = 256  #: levels of elements; libxml2 itself stops at 256
    attributes: int = 100  #: on one element; libxml2's canonicaliser sorts them in quadratic time
    all_attributes: int = 300_000  #: `=` characters: bounds the attributes of a document
    namespaces: int = 2_000  #: namespace declarations in the whole document; canonicalisation copies those in scope


DEFAULT_LIMITS: Final = Limits()

#: Below this many `=` signs a document cannot break a limit on attributes or namespaces, and needs no closer look.
_FEW: Final = 100
#: Canonicalising looks for each element through all declarations in scope, so their product is bounded too (about 0.3 s).
_MOST_LOOKUPS: Final = 100_000_000

_DECLARATION = re.compile(rb"""(?:\xef\xbb\xbf)?<\?xml\s+version\s*=\s*["']([^"']{1,20})["'](?:\s+encoding\s*=\s*["']([^"']{1,40})["'])?""")
_DOCTYPE = re.compile(rb"(?:\xef\xbb\xbf)?(?>\s+|<\?.*?\?>|<!--.*?-->)*+<!DOCTYPE", re.DOTALL)
#: Byte order marks of UTF-16 and UTF-32, and the same encodings without one.
_WIDE = (b"\xff\xfe", b"\xfe\xff", b"\x00\x00\xfe\xff", b"<\x00", b"\x00<", b"\x00\x00\x00<")

#: One parser for all. `remove_comments` makes `<a>x<!-- -->y</a>` read as "xy", just as it is signed.
_PARSER: Final = etree.XMLParser(
    encoding="utf-8",
    resolve_entities=False,
    no_network=True,
    load_dtd=False,
    dtd_validation=False,
    attribute_defaults=False,
    huge_tree=False,
    recover=False,
    remove_comments=True,
    remove_pis=False,
    collect_ids=False,
)
_INSTRUCTION_END = re.compile(rb"\?>")


def parse(raw: bytes, *, limits: Limits = DEFAULT_LIMITS) -> etree._Element:
    """The root of a document that is UTF-8, free of DTD and processing instructions, and within the limits. Raises Refused.

    WS006 (UTF-8 only); SOAP 1.1 section 3 (no DTD, no processing instructions); facts 3.8 point 1.
    """
    if len(raw) > limits.size:
        raise Refused("Client.TOO_LARGE", f"the message is {len(raw):,} bytes; at most {limits.size:,} are taken here")
    _require_utf8(raw)
    if _DOCTYPE.match(raw):
        raise Refused("Client.NOT_XML", "the message has a DOCTYPE; SOAP forbids document type definitions and entities")
    # A node takes at least four bytes, so only large documents can have too many.
    if len(raw) > 4 * limits.markup and raw.count(b"<") > limits.markup:
        raise Refused("Client.TOO_LARGE", f"the message has more than {limits.markup:,} tags")
    if (equals := raw.count(b"=")) > _FEW:
        if equals > limits.all_attributes:
            raise Refused("Client.TOO_LARGE", f"the message has more than {limits.all_attributes:,} attributes")
        _count_namespaces(raw, limits.namespaces)
    try:
        root = etree.fromstring(raw, _PARSER)
    except etree.XMLSyntaxError as error:
        raise _not_xml(error) from None  # its text may quote the message
    except (etree.LxmlError, ValueError):
        raise Refused("Client.NOT_XML", "the message is not well-formed XML") from None
    if root is None:
        raise Refused("Client.NOT_XML", "the message holds no element")
    if _INSTRUCTION_END.search(raw) and _has_instruction(root):
        raise Refused("Client.NOT_XML", "the message has a processing instruction; SOAP 1.1 forbids them")
    if equals > min(_FEW, limits.attributes):
        _count_attributes(root, limits.attributes)
    if limits.depth < 256:
        _measure_depth(root, limits.depth)
    return root


def _require_utf8(raw: bytes) -> None:
    if raw.startswith(_WIDE):
        raise Refused("Client.DK0009", "the message is in UTF-16 or UTF-32; only UTF-8 is taken")
    if (declared := _DECLARATION.match(raw)) is not None:
        version, encoding = declared.groups()
        if encoding is not None and encoding.lower() != b"utf-8":
            raise Refused("Client.DK0009", "the XML declaration names another encoding; only UTF-8 is taken", where="XML declaration")
        if version != b"1.0":
            raise Refused("Client.NOT_XML", "the XML declaration names another version; only XML 1.0 is taken", where="XML declaration")
    try:
        raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise Refused("Client.DK0009", f"byte {error.start + 1} is not UTF-8", where=f"byte {error.start + 1}") from None


def _not_xml(error: etree.XMLSyntaxError) -> Refused:
    line, column = error.position
    entry = getattr(error.error_log, "last_error", None)
    name = entry.type_name if entry is not None else ""
    where = f"line {line}, column {column}"
    if name == "ERR_RESOURCE_LIMIT" or "depth" in (error.msg or "").lower():
        return Refused("Client.NOT_XML", "the message nests elements too deeply, or has a name or text that is too long", where=where)
    kind = name.removeprefix("ERR_").removeprefix("NS_ERR_").replace("_", " ").lower()
    return Refused("Client.NOT_XML", "the message is not well-formed XML" + (f" ({kind})" if kind else ""), where=where)


def _has_instruction(root: etree._Element) -> bool:
    """Whether there is a processing instruction in the root element or beside it. The first one is enough: XPath, which collects all of
    them, takes quadratic time for it."""
    kind = etree.ProcessingInstruction
    places = (root.iter(kind), root.itersiblings(kind), root.itersiblings(kind, preceding=True))
    return any(next(iter(place), None) is not None for place in places)


def _count_namespaces(raw: bytes, most: int) -> None:
    declarations = raw.count(b"xmlns")
    if declarations > most or declarations * raw.count(b"<") > _MOST_LOOKUPS:
        raise Refused("Client.NOT_XML", "the message has too many namespace declarations")


def _count_attributes(root: etree._Element, most: int) -> None:
    if root.xpath("boolean(//*[@*[$n]])", n=most + 1):
        raise Refused("Client.NOT_XML", f"an element has more than {most} attributes")


def _measure_depth(root: etree._Element, most: int) -> None:
    if root.xpath("boolean(" + "/*" * (most + 1) + ")"):
        raise Refused("Client.NOT_XML", f"the message nests elements more than {most} levels deep")


def local_name(element: etree._Element) -> str:
    """The name of an element without its namespace, and no longer than fits in a sentence."""
    return etree.QName(element).localname[:60]


def text(value: str) -> str:
    """The value as XML character data, in its canonical form: `&`, `<`, `>` and carriage return escaped."""
    return escape(value, {"\r": "&#xD;"})


def attribute(value: str) -> str:
    """The value for between double quotes, in its canonical form."""
    value = value.replace("&", "&amp;").replace("<", "&lt;").replace('"', "&quot;")
    return value.replace("\t", "&#x9;").replace("\n", "&#xA;").replace("\r", "&#xD;")


def moment(at: datetime) -> str:
    """A time as in `wsu:Created`: UTC, milliseconds, `Z` (WB002). Raises ValueError for a time without a zone."""
    if at.tzinfo is None:
        raise ValueError("a Timestamp needs a time with a zone")
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.") + f"{at.microsecond // 1000:03d}Z"


def address(oin: str, url: str = ANONYMOUS) -> str:
    """An address that names a party: the URL with `oin=` behind it (facts 2.3)."""
    return f"{url}{'&' if '?' in url else '?'}oin={oin}"


def addressing(
    *, to: str, sender: str, action: str, message_id: str, relates_to: Iterable[tuple[str, str]] = (), mark: str = "kp"
) -> list[tuple[str, str]]:
    """The WS-Addressing headers in our order, as (wsu:Id, canonical XML). `sender` is the address in From, not a bare OIN.

    Ids begin with `mark`. Each is written just as exclusive C14N would write it, so that its digest can be taken from the text itself.
    """

    def header(name: str, part: str, inner: str, attributes: str = "") -> tuple[str, str]:
        identifier = f"{mark}-{part}"
        return identifier, f'<wsa:{name} xmlns:wsa="{WSA}" xmlns:wsu="{WSU}"{attributes} wsu:Id="{identifier}">{inner}</wsa:{name}>'

    parts = [
        header("To", "to", text(to)),
        header("Action", "action", text(action)),
        header("MessageID", "msgid", text(message_id)),
        header("From", "from", f"<wsa:Address>{text(sender)}</wsa:Address>"),
    ]
    for number, (relation, message) in enumerate(relates_to):
        kind = "" if relation == REPLY else f' RelationshipType="{attribute(relation)}"'
        parts.append(header("RelatesTo", f"rel{number}", text(message), kind))
    return parts


def timestamp(created: datetime, lifetime: timedelta, mark: str = "kp") -> str:
    """A Timestamp in canonical form: Created, and Expires after `lifetime`. Its Id begins with `mark`."""
    return (
        f'<wsu:Timestamp xmlns:wsu="{WSU}" wsu:Id="{mark}-ts"><wsu:Created>{moment(created)}</wsu:Created>'
        f"<wsu:Expires>{moment(created + lifetime)}</wsu:Expires></wsu:Timestamp>"
    )


def confirmation(value: str | None, identifier: str) -> tuple[str, str]:
    """A SignatureConfirmation (WSS 1.1) as (wsu:Id, canonical XML); without a value it says that the request was not signed."""
    said = "" if value is None else f' Value="{attribute(value)}"'
    name = "wsse11:SignatureConfirmation"
    return identifier, f'<{name} xmlns:wsse11="{WSSE11}" xmlns:wsu="{WSU}"{said} wsu:Id="{identifier}"></{name}>'


def body(content: bytes) -> bytes:
    """A Body around one element, which is taken as it is (no XML declaration before it)."""
    return b'<soapenv:Body xmlns:soapenv="%s" xmlns:wsu="%s" wsu:Id="kp-body">%s</soapenv:Body>' % (SOAP.encode(), WSU.encode(), content)


def unsigned_envelope(
    *,
    content: bytes,
    to: str,
    sender: str,
    action: str,
    message_id: str,
    relates_to: Iterable[tuple[str, str]] = (),
    created: datetime | None = None,
    lifetime: timedelta = timedelta(minutes=5),
) -> bytes:
    """An envelope that lacks only its signature. `to` and `sender` are whole addresses with their `oin`, see `address`.

    `content` is one serialised element. With `created` a Timestamp is put in; without it, signing does that.
    """
    parts = addressing(to=to, sender=sender, action=action, message_id=message_id, relates_to=relates_to)
    declared = f' xmlns:wsa="{WSA}" xmlns:wsu="{WSU}"'
    headers = "".join(xml.replace(declared, "", 1) for _, xml in parts)  # once, on the Envelope, is enough here
    security = "" if created is None else f'<wsse:Security xmlns:wsse="{WSSE}">{timestamp(created, lifetime)}</wsse:Security>'
    return (
        f'<soapenv:Envelope xmlns:soapenv="{SOAP}"{declared}><soapenv:Header>{headers}{security}</soapenv:Header>'
        f'<soapenv:Body wsu:Id="kp-body">'.encode()
        + content
        + b"</soapenv:Body></soapenv:Envelope>"
    )


def fault(problem: Fault, *, actor: str | None = None, language: str = "en") -> bytes:
    """The SOAP 1.1 Fault element for a problem, to be the content of a Body (facts 6.1). Our own codes travel as `Client.` or `Server.`.

    `detail` is there exactly when the problem concerns the Body.
    """
    code = problem.code if "." in problem.code else f"{'Server' if problem.kind.retry else 'Client'}.{problem.code}"
    parts = [
        f'<soapenv:Fault xmlns:soapenv="{SOAP}"><faultcode>soapenv:{text(code)}</faultcode>',
        f'<faultstring xml:lang="{language}">{text(problem.reason)}</faultstring>',
    ]
    if actor is not None:
        parts.append(f"<faultactor>{text(actor)}</faultactor>")
    if problem.details:
        lines = "".join(f"<k:melding>{text(detail)}</k:melding>" for detail in problem.details)
        parts.append(f'<detail><k:meldingen xmlns:k="urn:x-backbone:fault">{lines}</k:meldingen></detail>')
    parts.append("</soapenv:Fault>")
    return "".join(parts).encode()
