"""A JSON Schema (2020-12) of a message kind, from its XSD: what `adapters.json_content` takes, said in advance.

Members and types are exact. Which elements exclude each other is said with `oneOf` or `anyOf`. Patterns that only XSD can say are left out.
"""

from __future__ import annotations

import re
from typing import Any, Final

from adapters.json_shapes import Member, Shape, Value, particles, root_of
from schemas.contract import Contract, MessageKind

DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"

_XS: Final = "{http://www.w3.org/2001/XMLSchema}"
_LANGUAGE: Final = "{http://www.w3.org/XML/1998/namespace}lang"
_PARTS: Final = re.compile(r"\\.|.", re.DOTALL)
_XSD_ESCAPES: Final = frozenset(f"\\{letter}" for letter in "iIcCpPwW")
_BOUNDS: Final = {
    "minInclusive": "minimum",
    "maxInclusive": "maximum",
    "minExclusive": "exclusiveMinimum",
    "maxExclusive": "exclusiveMaximum",
}
_LENGTHS: Final = {"minLength": ("minLength",), "maxLength": ("maxLength",), "length": ("minLength", "maxLength")}
#: XSD lets a date have a zone and a moment go without; JSON's formats do not. A pattern may settle that.
_FORMATS: Final = {
    "date": ("date", "2026-11-24", "2026-11-24Z"),
    "dateTime": ("date-time", "2026-11-24T09:30:00Z", "2026-11-24T09:30:00"),
}


def schema_of(kind: MessageKind, contract: Contract) -> dict[str, Any]:
    """The schema of the whole body: an object whose one member is named after the root element. Self-contained. Raises NoJson."""
    root = root_of(kind, contract)
    writer = _Writer(f"{kind.namespace}/{kind.name}.json")
    body = writer.member(root)
    said = {
        "$schema": DIALECT,
        "title": kind.name,
        "type": "object",
        "properties": {kind.name: body},
        "required": [kind.name],
        "additionalProperties": False,
    }
    if writer.shared:  # types that hold themselves; an $id, so that the references lead here wherever the schema is put
        said |= {"$id": writer.id, "$defs": writer.shared}
    return said


class _Writer:
    def __init__(self, identifier: str) -> None:
        self.id = identifier
        self.shared: dict[str, Any] = {}
        self._open: list[Shape] = []
        self._names: dict[int, str] = {}

    def member(self, member: Member) -> dict[str, Any]:
        said = self._shape(member.shape)
        if member.nillable:
            said = {"anyOf": [said, {"type": "null"}]}
        if member.many:
            said = {"type": "array", "items": said}
        texts = _documentation(member.component)
        return {**said, "description": texts} if texts else said

    def _shape(self, shape: Shape) -> dict[str, Any]:
        if shape.scalar and shape.value is not None:
            return _scalar(shape.value)
        if shape in self._open:
            known = self._names.setdefault(id(shape), f"{shape.type.local_name or 'type'}-{len(self._names) + 1}")
            return {"$ref": f"#/$defs/{known}"}
        self._open.append(shape)
        said = self._object(shape)
        self._open.pop()
        if (name := self._names.get(id(shape))) is not None:
            self.shared[name] = said
            return {"$ref": f"#/$defs/{name}"}
        return said

    def _object(self, shape: Shape) -> dict[str, Any]:
        properties = {name: self.member(member) for name, member in (*shape.attributes.items(), *shape.elements.items())}
        required = [name for name, member in shape.attributes.items() if member.required]
        rules: list[dict[str, Any]] = []
        if shape.value is not None:
            properties["$"] = _scalar(shape.value)
            required.append("$")
        elif shape.elements:
            must, rules = _presence(shape.type.content)
            required += must
        said: dict[str, Any] = {"type": "object", "properties": properties, "required": sorted(set(required), key=list(properties).index)}
        said["additionalProperties"] = False
        return said | ({"allOf": rules} if rules else {})


def _presence(group: Any) -> tuple[list[str], list[dict[str, Any]]]:
    """Which members must be there whenever the group is, and the rules that say more than that."""
    required: list[str] = []
    rules: list[dict[str, Any]] = []
    if group.max_occurs != 1 and group.min_occurs == 0:
        return [], []  # one element, any number of times (`json_shapes` takes no other repeated group)
    if group.model == "choice":
        rules.append(_choice(group))
    else:
        for part in particles(group):
            if not hasattr(part, "model"):
                required += [part.local_name] if part.min_occurs else []
                continue
            must, more = _presence(part)
            if part.min_occurs:
                required += must
                rules += more
            elif must or more:
                rules.append({"anyOf": [_said(must, more), _none_of(_names(part))]})
    return required, rules


def _choice(group: Any) -> dict[str, Any]:
    parts = list(particles(group))
    simple = [part for part in parts if not hasattr(part, "model") and part.min_occurs]
    if len(simple) == len(parts) and group.min_occurs:
        return {"oneOf": [{"required": [part.local_name]} for part in parts]}
    everything = _names(group)
    branches = []
    for part in parts:
        own = _names(part) if hasattr(part, "model") else [part.local_name]
        must, more = _presence(part) if hasattr(part, "model") else ([part.local_name] if part.min_occurs else [], [])
        if hasattr(part, "model") and not part.min_occurs:
            must, more = [], [{"anyOf": [_said(must, more), _none_of(own)]}] if must or more else []
        branches.append(_said(must, more) | _none_of([name for name in everything if name not in own]))
    if not group.min_occurs:
        branches.append(_none_of(everything))
    return {"anyOf": branches}


def _said(required: list[str], rules: list[dict[str, Any]]) -> dict[str, Any]:
    return ({"required": required} if required else {}) | ({"allOf": rules} if rules else {})


def _none_of(names: list[str]) -> dict[str, Any]:
    return {"properties": dict.fromkeys(names, False)} if names else {}


def _names(group: Any) -> list[str]:
    found: list[str] = []
    for part in particles(group):
        found += _names(part) if hasattr(part, "model") else [part.local_name]
    return list(dict.fromkeys(found))


# -- values --------------------------------------------------------------------------------------------------------------------------------


def _scalar(value: Value) -> dict[str, Any]:
    said: dict[str, Any] = {"type": value.kind}
    if value.kind in ("integer", "number"):
        said["type"] = [value.kind, "string"]  # a string where the digits as written matter
    simple = value.type
    for facet, names in _LENGTHS.items():
        if value.kind == "string" and (found := simple.get_facet(f"{_XS}{facet}")) is not None:
            said |= dict.fromkeys(names, found.value)
    for facet, name in _BOUNDS.items():
        if value.kind in ("integer", "number") and (found := simple.get_facet(f"{_XS}{facet}")) is not None:
            said[name] = int(found.value) if found.value == int(found.value) else float(found.value)
    if simple.enumeration and value.kind == "string":
        said["enum"] = [str(one) for one in simple.enumeration]
    if value.kind != "boolean":
        patterns = [one for one in map(_pattern, _pattern_facets(simple)) if one]
        if len(patterns) == 1:
            said["pattern"] = patterns[0]
        elif patterns:
            said["allOf"] = [{"pattern": one} for one in patterns]
    primitive = getattr(getattr(simple, "primitive_type", None), "local_name", "")
    if primitive in _FORMATS and (form := _format(simple, *_FORMATS[primitive])):
        said["format"] = form
    elif primitive == "base64Binary":
        said["contentEncoding"] = "base64"
    texts = _documentation(simple)
    return {**said, "description": texts} if texts else said


def _pattern_facets(simple: Any) -> list[Any]:
    """The pattern facets of a type and of those it is derived from: each of them must hold, any one of the patterns in each."""
    found: list[Any] = []
    while simple is not None and getattr(simple, "name", None) != f"{_XS}anySimpleType":
        facet = getattr(simple, "facets", {}).get(f"{_XS}pattern")
        if facet is not None and facet not in found and not str(simple.name).startswith(_XS):
            found.append(facet)
        simple = simple.base_type
    return found


def _pattern(facet: Any) -> str | None:
    return None if any(map(_only_xsd, facet.regexps)) else "^(?:" + "|".join(facet.regexps) + ")$"


def _only_xsd(pattern: str) -> bool:
    """Whether ECMA-262 reads it differently, or not at all: XML name characters, Unicode categories, words, subtraction, `^` and `$`."""
    in_class = False
    for part in _PARTS.findall(pattern):
        if part in _XSD_ESCAPES or (part == "[" and in_class) or (part in ("^", "$") and not in_class):
            return True
        in_class = part != "]" if in_class else part == "["
    return False


def _format(simple: Any, name: str, wanted: str, unwanted: str) -> str | None:
    facets = _pattern_facets(simple)
    good, bad = (all(any(one.match(text) for one in facet.patterns) for facet in facets) for text in (wanted, unwanted))
    return name if good and not bad else None


def _documentation(component: Any) -> str | None:
    """What the XSD's author says of it: Dutch / English where the languages are named."""
    annotation = getattr(component, "annotation", None)
    texts = [
        (text.get(_LANGUAGE) or "", " ".join(text.text.split()))
        for text in (annotation.documentation if annotation is not None else ())
        if text.text
    ]
    texts.sort(key=lambda pair: ("nl", "en").index(pair[0]) if pair[0] in ("nl", "en") else 2)
    return " / ".join(text for _, text in texts)[:1_000] or None
