"""How the sandbox behaves: each behaviour by its name, what it takes, and the reply that it makes of a message.

In text, as the command line and the control port have it: `NAME`, `NAME=VALUE`, and either with `*N` behind it for the next N messages.
Everything here is pure but for drawing ids and signing; `adapters.parties.sandbox` puts a `Reply` on the wire.
"""

from __future__ import annotations

import math
import re
import secrets
import tempfile
import uuid
import zlib
from base64 import b64encode
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

from adapters import pki, soap
from adapters.answers import receipt_content
from adapters.errors import UsageError
from adapters.signing import BodyPart, Signer
from schemas.envelope import Envelope
from schemas.faults import CODES
from schemas.oin import Oin, institution_of, parse_oin

XML: Final = MappingProxyType({"Content-Type": "text/xml; charset=utf-8"})
#: Bytes that are made at a time of something huge.
_PIECE: Final = 1 << 20
_END: Final = b"</soapenv:Envelope>"
_TEXT = re.compile(r"([a-z-]+)(?:=(.*?))?(?:\*([1-9][0-9]{0,5}))?\Z", re.DOTALL)
_FAULT = re.compile(r"((?:Client|Server|VersionMismatch|MustUnderstand)(?:\.[^,]*)?)(?:,(.*))?\Z", re.DOTALL)
_STATUS = re.compile(r"([2-5][0-9]{2})((?:,[A-Za-z-]+=(?:[!-+\--~ ]|, )*)*)(,body)?\Z")
_HEADER = re.compile(r",([A-Za-z-]+)=((?:[!-+\--~ ]|, )*)")

Content = Callable[[Envelope, datetime], bytes]


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """What goes back, and how."""

    body: bytes = b""
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=lambda: XML)
    wait_s: float = 0.0  #: before the first byte
    pad: int = 0  #: bytes of white space before the end tag of the Envelope, where no signature looks
    packed: bool = False  #: by gzip, while it is sent
    between_s: float | None = None  #: seconds between two bytes
    part: float = 1.0  #: of the body, after which the connection is closed; 0: nothing at all is answered

    @property
    def plain(self) -> bool:
        """Whether it is sent in one go, and whole."""
        return not self.pad and self.between_s is None and self.part == 1

    def pieces(self) -> Iterator[bytes]:
        """The body as it is written; some pieces are empty."""
        if self.between_s is not None:
            yield from (self.body[at : at + 1] for at in range(len(self.body)))
        elif not self.pad:
            yield self.body[: math.ceil(len(self.body) * self.part)]
        elif not self.packed:
            yield from self._padded()
        else:
            packer = zlib.compressobj(9, wbits=31)
            yield from map(packer.compress, self._padded())
            yield packer.flush()

    def _padded(self) -> Iterator[bytes]:
        yield self.body.removesuffix(_END)
        for done in range(0, self.pad, _PIECE):
            yield b" " * min(_PIECE, self.pad - done)
        yield _END


@dataclass(frozen=True, slots=True)
class Behaviour:
    """What the sandbox does with a message. Raises UsageError when there is no such behaviour, or its value is not one."""

    name: str = "good"
    value: str = ""  #: see `KINDS`; empty: that behaviour's default
    times: int | None = None  #: for so many messages; None: until told otherwise

    def __post_init__(self) -> None:
        if self.name not in KINDS:
            raise UsageError(f"There is no behaviour {self.name[:40]!r}; there are: {', '.join(KINDS)}.")
        if self.name == "down" and self.times is not None:
            raise UsageError("A sandbox that is down counts no messages: set another behaviour to bring it up.")
        try:
            self.parameter()
        except ValueError as error:
            raise UsageError(f"{self.value[:60]!r} is no value for behaviour {self.name}: {error}.") from None

    @classmethod
    def of(cls, text: str) -> Behaviour:
        """From its text. Raises UsageError."""
        found = _TEXT.match(text)
        if found is None:
            raise UsageError(f"{text[:60]!r} is not a behaviour: write NAME or NAME=VALUE, with *N behind it for the next N messages.")
        name, value, times = found.groups()
        return cls(name, value or "", int(times) if times else None)

    def __str__(self) -> str:
        return self.name + (f"={self.value}" if self.value else "") + (f"*{self.times}" if self.times is not None else "")

    def parameter(self) -> Any:
        """The value as `KINDS` reads it. Raises ValueError."""
        kind = KINDS[self.name]
        if self.value and not kind.takes:
            raise ValueError("it takes none")
        return kind.read(self.value or kind.default)

    def reply(self, voice: Voice, message: Envelope) -> Reply:
        """What a verified message gets."""
        return KINDS[self.name].make(voice, message, self.parameter())


class Voice:
    """Composes answers as one party, honestly or not."""

    def __init__(
        self,
        signer: Signer,
        oins: tuple[Oin, ...],
        *,
        content: Content | None = None,
        other: Signer | None = None,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """`oins`: for whom it speaks. `content`: the element in a good answer, default our `ontvangst`. `other`: somebody else, for the
        behaviour `stranger`; default an impostor with a certificate of a CA that nobody knows."""
        self.oins, self.now = oins, now
        self._signer, self._other, self._content = signer, other, content

    @cached_property
    def other(self) -> Signer:
        """Somebody else."""
        return self._other or _impostor(self.oins[0])

    def content(self, message: Envelope) -> bytes:
        """The element in a good answer."""
        if self._content is not None:
            return self._content(message, self.now())
        return receipt_content(reference=str(uuid.uuid4()), received_at=self.now())

    def parts(self, message: Envelope) -> dict[str, Any]:
        """The headers of an honest answer, as `Signer.envelope` takes them (facts 2.6)."""
        own = message.receiver if message.receiver in self.oins else institution_of(message.receiver)
        return {
            "to": soap.address(message.sender),
            "sender": soap.address(own),
            "action": message.action,
            "message_id": f"urn:uuid:{uuid.uuid4()}",
            "relates_to": ((soap.REPLY, message.message_id),),
            "created": self.now(),
        }

    def signed(self, message: Envelope, content: bytes | None = None, *, by: Signer | None = None, **changes: Any) -> bytes:
        """An answer; `changes` are to its headers."""
        parts = self.parts(message) | {"confirms": (message.signature_value,)} | changes
        return (by or self._signer).envelope(BodyPart.around(content or self.content(message)), **parts)

    def unsigned(self, message: Envelope) -> bytes:
        """An answer that lacks its signature only."""
        return soap.unsigned_envelope(content=self.content(message), **self.parts(message))


def _impostor(oin: Oin) -> Signer:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        pki.init(folder)
        files = pki.issue(folder, oin=oin, name="impostor")
        return Signer(pki.read_key(files.key), pki.read_certificate(files.certificate))


# -- what a value says ---------------------------------------------------------------------------------------------------------------------


def _seconds(value: str) -> float:
    if not re.fullmatch(r"[0-9]{1,6}(\.[0-9]{1,3})?", value):
        raise ValueError("it must be a number of seconds, such as 2.5")
    return float(value)


def _megabytes(value: str) -> int:
    if not re.fullmatch(r"[1-9][0-9]{0,4}", value):
        raise ValueError("it must be a whole number of MiB, at most 99999")
    return int(value) << 20


def _fault(value: str) -> tuple[str, str]:
    """Code and text."""
    found = _FAULT.match(value)
    if found is None:
        raise ValueError("it must be CODE or CODE,TEXT; a code begins with Client, Server, VersionMismatch or MustUnderstand")
    code, text = found.groups()
    known = CODES.get(".".join(code.split(".")[:2]))
    return code, text or (known.nl if known else "Het bericht is niet verwerkt")


def _status(value: str) -> Reply:
    found = _STATUS.match(value)
    if found is None:
        raise ValueError("it must be STATUS, from 200 to 599, then any number of ,HEADER=VALUE and perhaps ,body")
    status, headers, body = found.groups()
    text = f"<html><body><h1>{status}</h1></body></html>".encode() if body else b""
    return Reply(status=int(status), body=text, headers={"Content-Type": "text/html"} | dict(_HEADER.findall(headers)))


def _plain(value: str) -> str:
    if not re.fullmatch(r"[ -~]{1,200}", value):
        raise ValueError("it must be plain ASCII")
    return value


# -- the replies ---------------------------------------------------------------------------------------------------------------------------


def _fault_element(code: str, text: str) -> bytes:
    return (
        f'<soapenv:Fault xmlns:soapenv="{soap.SOAP}"><faultcode>soapenv:{soap.text(code)}</faultcode>'
        f'<faultstring xml:lang="nl">{soap.text(text)}</faultstring></soapenv:Fault>'
    ).encode()


def _signed_fault(voice: Voice, message: Envelope, fault: tuple[str, str]) -> Reply:
    return Reply(status=500, body=voice.signed(message, _fault_element(*fault), action=soap.FAULT_ACTION))


def _bare_fault(_voice: Voice, _message: Envelope, fault: tuple[str, str]) -> Reply:
    """As what stands before a service sends one: no header at all."""
    body = f'<soapenv:Envelope xmlns:soapenv="{soap.SOAP}"><soapenv:Body>'.encode() + _fault_element(*fault)
    return Reply(status=500, body=body + b"</soapenv:Body></soapenv:Envelope>")


def _rejection(code: str) -> bytes:
    """As DUO says no: an answer like any other, in which it stands (facts 6.2)."""
    return (
        '<antwoord xmlns="urn:x-backbone:sandbox:1"><requestGoedgekeurd>false</requestGoedgekeurd>'
        f"<foutmelding><foutcode>{soap.text(code)}</foutcode><fouttekst>De sandbox keurt dit af</fouttekst></foutmelding></antwoord>"
    ).encode()


def _broken(voice: Voice, message: Envelope, _value: str) -> Reply:
    """A rejection was signed; an acceptance stands in its place."""
    signed, put = _rejection("A01161"), voice.content(message)
    return Reply(body=voice.signed(message, signed).replace(signed, put))


def _wrapped(voice: Voice, message: Envelope, _value: str) -> Reply:
    """The signed Body stands in a header that nobody reads, and still has its Id; another stands in its place."""
    signed = BodyPart.around(_rejection("A01161")).xml
    put = b"</w:weg></soapenv:Header><soapenv:Body>" + voice.content(message) + b"</soapenv:Body>"
    whole = voice.signed(message, _rejection("A01161"))
    return Reply(body=whole.replace(b"</soapenv:Header>" + signed, b'<w:weg xmlns:w="urn:x-weg">' + signed + put))


def _good(voice: Voice, message: Envelope) -> Reply:
    return Reply(body=voice.signed(message))


def _lie(**changes: Callable[[Voice, Any], Any]) -> Callable[[Voice, Envelope, Any], Reply]:
    """A good answer with something else in its headers."""
    return lambda voice, message, value: Reply(body=voice.signed(message, **{name: make(voice, value) for name, make in changes.items()}))


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """One behaviour."""

    does: str  #: for --help and the documentation
    make: Callable[[Voice, Envelope, Any], Reply]
    takes: str = ""  #: what its value is; empty: it has none
    default: str = ""
    read: Callable[[str], Any] = str  #: raises ValueError


KINDS: Final[Mapping[str, Kind]] = MappingProxyType(
    {
        "good": Kind(does="a signed answer", make=lambda v, m, _: _good(v, m)),
        "slow": Kind(
            does="a good answer after so many seconds",
            takes="SECONDS",
            default="5",
            read=_seconds,
            make=lambda v, m, s: replace(_good(v, m), wait_s=s),
        ),
        "hang": Kind(does="never answers, and keeps the connection", make=lambda *_: Reply(wait_s=math.inf)),
        "down": Kind(does="does not listen: connections are refused", make=lambda *_: Reply(part=0)),
        "cut": Kind(does="closes the connection after reading the request", make=lambda *_: Reply(part=0)),
        "cut-half": Kind(does="closes the connection after half of a good answer", make=lambda v, m, _: replace(_good(v, m), part=0.5)),
        "http": Kind(
            does="this HTTP status without SOAP, such as 503,Retry-After=30 or 302,Location=https://… or 502,body",
            takes="STATUS[,HEADER=VALUE…][,body]",
            default="503",
            read=_status,
            make=lambda _, __, reply: reply,
        ),
        "fault": Kind(
            does="a signed SOAP fault; any code, also a bare Client or one with a third part",
            takes="CODE[,TEXT]",
            default="Server.DK0051",
            read=_fault,
            make=_signed_fault,
        ),
        "unsigned-fault": Kind(
            does="a SOAP fault without any header", takes="CODE[,TEXT]", default="Server.DK0051", read=_fault, make=_bare_fault
        ),
        "duplicate": Kind(
            does="a signed fault Server.DK0050: not unique, the message was received before",
            make=lambda v, m, _: _signed_fault(v, m, ("Server.DK0050", "identificatiecodeBedrijfsdocument is niet uniek")),
        ),
        "rejected": Kind(
            does="a signed answer, HTTP 200, with requestGoedgekeurd=false and a foutmelding",
            takes="FOUTCODE",
            default="A01161",
            make=lambda v, m, code: Reply(body=v.signed(m, _rejection(code))),
        ),
        "unsigned": Kind(does="a good answer without a signature", make=lambda v, m, _: Reply(body=v.unsigned(m))),
        "broken": Kind(does="a Body that was changed after signing", make=_broken),
        "stranger": Kind(does="signed by somebody else", make=lambda v, m, _: Reply(body=v.signed(m, by=v.other))),
        "wrapped": Kind(does="the signed Body moved away, another in its place", make=_wrapped),
        "relates-to": Kind(
            does="RelatesTo another message", make=_lie(relates_to=lambda _, __: ((soap.REPLY, f"urn:uuid:{uuid.uuid4()}"),))
        ),
        "from": Kind(
            does="From somebody else",
            takes="OIN",
            default="00000099000000990000",
            read=parse_oin,
            make=_lie(sender=lambda _, oin: soap.address(oin)),
        ),
        "old": Kind(
            does="signed so many seconds ago",
            takes="SECONDS",
            default="3600",
            read=_seconds,
            make=_lie(created=lambda v, s: v.now() - timedelta(seconds=s)),
        ),
        "confirmation": Kind(
            does="a SignatureConfirmation of another message",
            make=_lie(confirms=lambda _, __: (b64encode(secrets.token_bytes(256)).decode(),)),
        ),
        "no-confirmation": Kind(does="a good answer without SignatureConfirmation, as DUO sends", make=_lie(confirms=lambda _, __: ())),
        "huge": Kind(
            does="a good answer with so many MiB of white space in it, streamed",
            takes="MIB",
            default="100",
            read=_megabytes,
            make=lambda v, m, size: replace(_good(v, m), pad=size),
        ),
        "drip": Kind(
            does="a good answer, byte by byte with so many seconds between",
            takes="SECONDS",
            default="1",
            read=_seconds,
            make=lambda v, m, s: replace(_good(v, m), between_s=s),
        ),
        "not-xml": Kind(does="text that is not XML", make=lambda *_: Reply(body=b"Bedankt, wij hebben het bericht ontvangen.")),
        "doctype": Kind(
            does="a good answer with a DOCTYPE before it",
            make=lambda v, m, _: Reply(body=b'<!DOCTYPE x [<!ENTITY e "e">]>' + v.signed(m)),
        ),
        "content-type": Kind(
            does="a good answer with another content type",
            takes="TYPE",
            default="text/html",
            read=_plain,
            make=lambda v, m, given: replace(_good(v, m), headers={"Content-Type": given}),
        ),
        "gzip-bomb": Kind(
            does="as huge, packed by gzip to a thousandth",
            takes="MIB",
            default="1000",
            read=_megabytes,
            make=lambda v, m, size: replace(_good(v, m), pad=size, packed=True, headers=dict(XML) | {"Content-Encoding": "gzip"}),
        ),
    }
)
GOOD: Final = Behaviour()
