"""A message's content as JSON: decoded within bounds, and written as the XML of its kind, of which everything else here speaks.

One mapping, both ways. The body is an object with one member, named after the root element. An element is a member by its local name;
one that may occur more than once is an array, always; an attribute is a member `@name`; text beside attributes is `$`. Namespaces and
the order of elements are the XSD's. `xs:boolean` is true or false; a number is a number, or a string where the digits as written matter;
everything else is a string. `null` is an element with `xsi:nil`, and only where the XSD has that.

What does not fit the mapping is told by JSON Pointer (RFC 6901), what does not fit the XSD is for the XSD to say. Values are not repeated.
"""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final

from lxml import etree

from adapters.https import LARGEST
from adapters.json_schema import schema_of
from adapters.json_shapes import Member, NoJson, Shape, Value, root_of
from schemas.content import Finding
from schemas.contract import Contract, MessageKind
from schemas.faults import Refused
from schemas.privacy import plain, redact
from schemas.xml import MOST_REASONS

#: Levels of objects and arrays. The deepest XSD we know has a dozen.
DEEPEST: Final = 64
#: Brackets, commas and colons: bounds the values, so the memory, of a document; as many as an XML message may have tags.
MOST_PARTS: Final = 300_000
#: Digits of one number, written out in full.
MOST_DIGITS: Final = 100

_XSI_NIL: Final = "{http://www.w3.org/2001/XMLSchema-instance}nil"
_BOM: Final = b"\xef\xbb\xbf"
_WIDE: Final = re.compile(rb"\xff\xfe|\xfe\xff|.{0,2}\x00", re.DOTALL)
#: A string, whole or broken off; or a bracket. Possessive, so that nothing is looked at twice.
_PARTS: Final = re.compile(rb'"(?:[^"\\]++|\\.)*+(?:"|\\?\Z)|([\[{])|([\]}])', re.DOTALL)
_NOT_XML_TEXT: Final = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_NUMBER: Final = re.compile(r"(-?)(\d+)(?:\.(\d+))?(?:[eE]([+-]?\d+))?\Z")
_TYPES: Final = {
    "boolean": ("true of false", "true or false"),
    "integer": ("een geheel getal", "a whole number"),
    "number": ("een getal", "a number"),
    "string": ("een tekst", "a string"),
}


class _Number(str):
    """A number as it is written: no precision is lost, and nothing is computed from what a stranger sent."""

    __slots__ = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """JSON content as XML."""

    kind: MessageKind
    xml: bytes  #: one element; not whole when it is unfit
    unfit: Refused | None  #: DK0004 with what does not fit the mapping, in `details`


def json_schema(kind: MessageKind, contract: Contract) -> dict[str, Any]:
    """A JSON Schema (2020-12) of the body that `POST /rest/{dienst}/{versie}` takes as `application/json`: an object whose one member is
    named after the root element. Self-contained: no references, or only to its own `$defs`. Raises `json_shapes.NoJson` for a kind whose
    XSD JSON cannot follow (a repeated group of several elements, substitution groups, `xs:any`, mixed content); that is XML only."""
    return schema_of(kind, contract)


def read_json(raw: bytes, contract: Contract) -> Written:
    """The content in these bytes. Raises Refused: NOT_JSON, TOO_LARGE or DK0009 for what cannot be read, UNKNOWN_DIENST for a message that
    this dienst does not have or has as XML only."""
    said = _decode(raw)
    name = next(iter(said)) if isinstance(said, dict) and len(said) == 1 else None
    kinds = {kind.name: kind for kind in contract.kinds.values()}
    if name not in kinds:
        known = ", ".join(sorted(kinds))
        raise Refused("UNKNOWN_DIENST", f"the body must be an object with one member, named after the message: {known}", where="/")
    kind = kinds[name]
    try:
        root = root_of(kind, contract)
    except NoJson as error:
        raise Refused("UNKNOWN_DIENST", f"{name} is taken as XML only: {error}", where="Content-Type") from None
    element = etree.Element(root.tag, nsmap={"b": kind.namespace})  # a prefix: elements below may be in no namespace
    writer = _Writer()
    writer.fill(element, root, said[name], f"/{name}")
    findings = writer.findings
    unfit = Refused("Client.DK0004", findings[0].en, where=findings[0].where, details=map(str, findings)) if findings else None
    xml = etree.tostring(element, encoding="UTF-8")
    if len(xml) > LARGEST:  # names are longer there
        raise Refused("Client.TOO_LARGE", f"as XML it is more than {LARGEST:,} bytes; at most that many are taken here", where=f"/{name}")
    return Written(kind=kind, xml=xml, unfit=unfit)


def to_json(content: etree._Element, kind: MessageKind, contract: Contract) -> dict[str, Any]:
    """Valid content as JSON has it. Raises NoJson."""
    return {kind.name: _read(content, root_of(kind, contract))}


# -- decoding ------------------------------------------------------------------------------------------------------------------------------


def _wrong(reason: str, where: str | None = None) -> Refused:
    return Refused("Client.NOT_JSON", reason, where=where)


def _decode(raw: bytes) -> Any:
    """The JSON value in these bytes, numbers as they are written. Everything is counted before anything is decoded."""
    raw = raw.removeprefix(_BOM)
    if _WIDE.match(raw):
        raise Refused("Client.DK0009", "the body is in UTF-16 or UTF-32; only UTF-8 is taken")
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise Refused("Client.DK0009", f"byte {error.start + 1} is not UTF-8", where=f"byte {error.start + 1}") from None
    if sum(map(raw.count, (b"{", b"[", b",", b":"))) > MOST_PARTS:
        raise Refused("Client.TOO_LARGE", f"the body has more than {MOST_PARTS:,} brackets, commas and colons")
    if raw.count(b"{") + raw.count(b"[") > DEEPEST:
        _require_shallow(raw)
    try:
        return json.loads(text, object_pairs_hook=_object, parse_int=_number, parse_float=_number, parse_constant=_constant)
    except json.JSONDecodeError as error:  # its text may quote the body
        raise _wrong(f"the body is not JSON: {error.msg.partition(':')[0].lower()}", f"line {error.lineno}, column {error.colno}") from None
    except RecursionError:
        raise _wrong(f"the body nests more than {DEEPEST} levels deep") from None


def _require_shallow(raw: bytes) -> None:
    depth = 0
    for found in _PARTS.finditer(raw):
        opens, closes = found.groups()
        depth += 1 if opens else -1 if closes else 0
        if depth > DEEPEST:
            raise _wrong(f"the body nests more than {DEEPEST} levels deep", f"byte {found.start() + 1}")


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        seen: set[str] = set()
        twice = next(name for name, _ in pairs if name in seen or seen.add(name))  # type: ignore[func-returns-value]
        raise _wrong(f"an object has the member {_shown(twice)} more than once")
    return found


def _number(text: str) -> _Number:
    if len(text) > MOST_DIGITS:
        raise _wrong(f"a number has more than {MOST_DIGITS} digits")
    return _Number(text)


def _constant(_: str) -> Any:
    raise _wrong("NaN and Infinity are not JSON")


def _shown(name: str) -> str:
    """A member's name as it may be told: whoever invents members may put anything there."""
    return plain(redact(name))[:60]


# -- writing XML ---------------------------------------------------------------------------------------------------------------------------


class _Enough(Exception):
    """More findings help nobody."""


@dataclass(slots=True)
class _Writer:
    findings: list[Finding] = field(default_factory=list)

    def fill(self, element: etree._Element, member: Member, value: Any, at: str) -> None:
        """Puts a value into the root element."""
        with contextlib.suppress(_Enough):
            self._fill(element, member, value, at)

    def _found(self, at: str, nl: str, en: str) -> None:
        self.findings.append(Finding(code="Client.DK0004", where=at[:400], nl=nl, en=en))
        if len(self.findings) == MOST_REASONS:
            raise _Enough

    def _fill(self, element: etree._Element, member: Member, value: Any, at: str) -> None:
        shape = member.shape
        if value is None:
            if member.nillable:
                element.set(_XSI_NIL, "true")
            else:
                self._found(at, "Null hoort hier niet; laat weg wat er niet is.", "Null does not belong here; leave out what is not there.")
        elif shape.scalar and shape.value is not None:
            element.text = self._text(shape.value, value, at)
        elif not isinstance(value, dict):
            self._found(at, "Hier hoort een object.", "An object belongs here.")
        else:
            self._object(element, shape, value, at)

    def _object(self, element: etree._Element, shape: Shape, value: dict[str, Any], at: str) -> None:
        for name in value:
            if name not in shape.elements and name not in shape.attributes and not (name == "$" and shape.value is not None):
                known = ", ".join((*shape.attributes, *shape.elements)[:10])
                self._found(
                    f"{at}/{_token(name)}",
                    f"Het schema kent hier geen {_shown(name)}. Verwacht: {known or 'niets meer'}.",
                    f"The schema knows no {_shown(name)} here. Expected: {known or 'nothing more'}.",
                )
        for name, member in shape.attributes.items():
            if name in value and member.shape.value is not None:
                element.set(member.tag, self._text(member.shape.value, value[name], f"{at}/{_token(name)}"))
        if shape.value is not None:
            element.text = self._text(shape.value, value.get("$", ""), f"{at}/$")
        for name, member in shape.elements.items():
            if name in value:
                for one, place in self._each(member, value[name], f"{at}/{_token(name)}"):
                    self._fill(etree.SubElement(element, member.tag), member, one, place)

    def _each(self, member: Member, value: Any, at: str) -> Iterator[tuple[Any, str]]:
        if not member.many:
            yield value, at
        elif isinstance(value, list):
            yield from ((one, f"{at}/{number}") for number, one in enumerate(value))
        else:
            self._found(at, "Hier hoort een lijst (array).", "An array belongs here.")

    def _text(self, wanted: Value, value: Any, at: str) -> str:
        """A value as its XML text; empty, with a finding, when it is not of the right type."""
        text = _lexical(wanted.kind, value)
        if text is None:
            nl, en = _TYPES[wanted.kind]
            self._found(at, f"Hier hoort {nl}.", f"Only {en} fits here.")
        elif _NOT_XML_TEXT.search(text):
            self._found(at, "In deze tekst staat een teken dat XML niet kent.", "This text has a character that XML does not have.")
        else:
            return text
        return ""


def _lexical(kind: str, value: Any) -> str | None:
    """A JSON value as XSD writes it; None when it is of another type."""
    if kind == "boolean":
        return str(value).lower() if isinstance(value, bool) else None
    if isinstance(value, _Number):
        return None if kind == "string" else _written_out(value, whole=kind == "integer")
    return value if isinstance(value, str) else None


def _written_out(number: str, *, whole: bool) -> str | None:
    """A number without an exponent, which xs:decimal does not have. None when it is not whole and must be, or becomes too long."""
    found = _NUMBER.match(number)
    if found is None:
        return None
    sign, before, after, exponent = found.groups()
    if exponent is None and after is None:
        return number
    shift = int(exponent or 0)
    if abs(shift) > MOST_DIGITS:
        return None
    digits, point = before + (after or ""), len(before) + shift
    digits, point = ("0" * -point + digits, 0) if point < 0 else (digits.ljust(point, "0"), point)
    if whole and digits[point:].strip("0"):
        return None
    fraction = "" if whole else digits[point:]
    return sign + (digits[:point].lstrip("0") or "0") + (f".{fraction}" if fraction else "")


def _token(name: str) -> str:
    """A name in a JSON Pointer."""
    return _shown(name).replace("~", "~0").replace("/", "~1")


# -- reading XML ---------------------------------------------------------------------------------------------------------------------------


def _read(element: etree._Element, member: Member) -> Any:
    shape = member.shape
    if member.nillable and element.get(_XSI_NIL) in ("true", "1"):
        return None
    if shape.scalar and shape.value is not None:
        return _json_value(shape.value, element.text or "")
    said: dict[str, Any] = {}
    for name, attribute in shape.attributes.items():
        if (text := element.get(attribute.tag)) is not None and attribute.shape.value is not None:
            said[name] = _json_value(attribute.shape.value, text)
    if shape.value is not None:
        said["$"] = _json_value(shape.value, element.text or "")
    by_tag = {one.tag: (name, one) for name, one in shape.elements.items()}
    for child in element:
        if child.tag not in by_tag:
            raise NoJson("it holds an element that the XSD does not name")
        name, below = by_tag[str(child.tag)]
        value = _read(child, below)
        if below.many:
            said.setdefault(name, []).append(value)
        else:
            said[name] = value
    return said


def _json_value(wanted: Value, text: str) -> Any:
    """A valid text as JSON has it: a number only when JSON would write the same digits."""
    bare = text.strip(" \t\r\n")
    if wanted.kind == "boolean":
        return bare in ("true", "1")
    if wanted.kind == "integer" and len(bare) <= 15 and re.fullmatch(r"0|-?[1-9][0-9]*", bare):
        return int(bare)
    if wanted.kind == "number" and len(bare) <= 15 and re.fullmatch(r"-?(0|[1-9][0-9]*)(\.[0-9]+)?", bare) and repr(float(bare)) == bare:
        return float(bare)
    return text
