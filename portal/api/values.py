"""What the API takes: kinds of values, each with its JSON Schema, what it must be in words, and how it is read.

The schema that stands in the description is the one that values are held against, so that the two cannot differ.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from enum import StrEnum
from functools import cache
from typing import Any, Final

from portal.api.problems import Mistake, invalid
from portal.personal import may_be_personal
from schemas.openapi import Schema

#: Characters of what people write.
LONGEST_TEXT: Final = 2_000
#: Mistakes that are named in one answer.
MOST_ERRORS: Final = 20

_MISSING: Final = ("ontbreekt", "it is missing")
_PERSONAL: Final = (
    "hierin mag geen persoonsgebonden nummer staan; zoek daarop met POST /api/v1/items/search",
    "no personal number may stand in here; look for one with POST /api/v1/items/search",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """A kind of value."""

    schema: Schema
    words: tuple[str, str]  #: what it must be: Dutch, English
    read: Callable[[Any], Any] = lambda value: value  #: of one that fits the schema; raises ValueError for one that is none all the same

    def said(self, text: str) -> Any:
        """A value as it stands in a URL, as JSON would have it; the text itself where it is nothing of the kind."""
        wanted = self.schema.get("type")
        if wanted == "integer" and re.fullmatch(r"-?[0-9]{1,15}", text, re.ASCII):
            return int(text)
        if wanted == "boolean" and text in ("true", "false"):
            return text == "true"
        return text.split(",") if wanted == "array" else text


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """One named value of a request."""

    name: str
    kind: Kind
    about: str
    required: bool = False
    default: Any = None


def text_of(most: int = LONGEST_TEXT) -> Kind:
    """What a person writes."""
    return Kind(
        schema={"type": "string", "minLength": 1, "maxLength": most, "pattern": r"^[^\x00-\x1f\x7f-\x9f]*\S[^\x00-\x1f\x7f-\x9f]*$"},
        words=(
            f"dit is een tekst van 1 tot {most} tekens, zonder stuurtekens",
            f"it is a text of 1 to {most} characters, without control characters",
        ),
    )


def one_of(values: Sequence[str] | type[StrEnum], read: Callable[[str], Any] | None = None) -> Kind:
    """One of these."""
    listed = [str(value) for value in values]
    return Kind(
        schema={"type": "string", "enum": listed},
        words=(f"dit is een van {', '.join(listed)}", f"it is one of {', '.join(listed)}"),
        read=read or (values if isinstance(values, type) else str),
    )


def whole(least: int, most: int) -> Kind:
    """A whole number."""
    return Kind(
        schema={"type": "integer", "minimum": least, "maximum": most},
        words=(f"dit is een geheel getal van {least} tot {most}", f"it is a whole number from {least} to {most}"),
        read=int,
    )


def number(least: float, most: float) -> Kind:
    """A number."""
    return Kind(
        schema={"type": "number", "minimum": least, "maximum": most},
        words=(f"dit is een getal van {least:g} tot {most:g}", f"it is a number from {least:g} to {most:g}"),
        read=float,
    )


def shaped(pattern: str, nl: str, en: str, *, read: Callable[[str], Any] = str) -> Kind:
    """A text of this shape, which says how long it may be too."""
    return Kind(schema={"type": "string", "pattern": f"^{pattern}$"}, words=(nl, en), read=read)


def many(kind: Kind, most: int) -> Kind:
    """Several of them; in a URL with a comma between each two."""
    return Kind(
        schema={"type": "array", "items": kind.schema, "minItems": 1, "maxItems": most},
        words=(f"dit zijn er 1 tot {most}: {kind.words[0]}", f"these are 1 to {most}: {kind.words[1]}"),
        read=lambda values: tuple(kind.read(value) for value in values),
    )


YES: Final = Kind(schema={"type": "boolean"}, words=("dit is true of false", "it is true or false"))
_A_DAY: Final = ("dit is een dag, zoals 2026-02-01", "it is a day, such as 2026-02-01")
DAY: Final = Kind(
    schema={"type": "string", "format": "date", "pattern": "^[0-9]{4}-[0-9]{2}-[0-9]{2}$"}, words=_A_DAY, read=date.fromisoformat
)
#: A day that something is compared with: before our time and after it, all days are alike.
BOUND: Final = Kind(
    schema=DAY.schema, words=_A_DAY, read=lambda text: min(max(date.fromisoformat(text), date(2000, 1, 1)), date(2099, 12, 31))
)
MOMENT: Final = Kind(
    schema={"type": "string", "pattern": "^20[0-9]{2}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])T([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9]Z$"},
    words=("dit is een moment in UTC, zoals 2026-02-01T10:00:00Z", "it is a moment in UTC, such as 2026-02-01T10:00:00Z"),
    read=lambda text: round(datetime.fromisoformat(text).timestamp() * 1_000_000),
)
OIN: Final = shaped(
    "[0-9]{8}[0-9A-Z]{12}",
    "dit is een OIN of routeringskenmerk van 20 posities",
    "it is an OIN or routeringskenmerk of 20 positions",
)
BRIN: Final = shaped("[0-9]{2}[A-Z]{2}", "dit is een BRIN: twee cijfers en twee hoofdletters", "it is a BRIN: two digits and two capitals")
WORD: Final = shaped(
    "[A-Za-z0-9][A-Za-z0-9_.-]{0,79}",
    "dit is een naam van letters, cijfers, punten en streepjes",
    "it is a name of letters, digits, dots and dashes",
)
ID: Final = shaped(
    "[\\x21-\\x7e]{1,300}", "dit is een kenmerk van ten hoogste 300 zichtbare tekens", "it is an id of at most 300 visible characters"
)
LANE: Final = shaped(
    "(mailbox [0-9A-Z]{20}|push [0-9A-Z]{20} [\\x21-\\x7e]{1,250})",
    "dit is een wachtrij zoals /lanes die noemt",
    "it is a lane as /lanes names it",
)


# -- holding a value against a schema ------------------------------------------------------------------------------------------------------

_TYPES: Final[Mapping[str, Any]] = {
    "string": (str,),
    "integer": (int, float),  # 2.0 is a whole number in JSON
    "number": (int, float),
    "boolean": (bool,),
    "array": (list,),
    "object": (dict,),
}


@cache
def _pattern(text: str) -> re.Pattern[str]:
    return re.compile(text.removesuffix("$") + r"\Z" if text.endswith("$") else text)


def fits(schema: Schema, value: Any) -> bool:
    """Whether a value is as the schema says: of those keywords that the kinds here use."""
    wanted: str = schema["type"]
    if not isinstance(value, _TYPES[wanted]) or (isinstance(value, bool) and wanted != "boolean"):
        return False
    if wanted == "string":
        return _fits_text(schema, value)
    if wanted == "array":
        return _fits_list(schema, value)
    return wanted not in ("integer", "number") or _fits_number(schema, value)  # of an object `read` says of each field what is wrong


def _fits_text(schema: Schema, value: str) -> bool:
    shape = schema.get("pattern")
    return (
        schema.get("minLength", 0) <= len(value) <= schema.get("maxLength", LONGEST_TEXT)
        and (shape is None or _pattern(shape).search(value) is not None)
        and value in schema.get("enum", (value,))
        and not any("\ud800" <= c <= "\udfff" for c in value)
    )


def _fits_list(schema: Schema, value: list[Any]) -> bool:
    return schema.get("minItems", 0) <= len(value) <= schema["maxItems"] and all(fits(schema["items"], one) for one in value)


def _fits_number(schema: Schema, value: float) -> bool:
    return (schema["type"] == "number" or value == int(value)) and bool(schema["minimum"] <= value <= schema["maximum"])


def read(fields: Sequence[Field], given: Mapping[str, Any], *, in_url: bool = False, within: str = "") -> dict[str, Any]:
    """Every field by name, read; what was not given has its default. Raises Problem with all that is wrong."""
    errors: list[Mistake] = []
    known = {field.name: field for field in fields}
    for name in given:
        if name not in known:
            there = ", ".join(known) or "-"
            errors.append((within + name[:40], f"dit bestaat hier niet; er zijn: {there}", f"there is no such field; there are: {there}"))
    found = {field.name: field.default for field in fields}
    for field in fields:
        if field.name in given:
            _read(field, given[field.name], found, errors, in_url, within)
        elif field.required:
            errors.append((within + field.name, *_MISSING))
    if errors:
        raise invalid(*errors[:MOST_ERRORS])
    return found


def _read(field: Field, value: Any, found: dict[str, Any], errors: list[Mistake], in_url: bool, within: str) -> None:
    if in_url:
        if field.kind.schema["type"] == "string" and may_be_personal(value):
            errors.append((field.name, *_PERSONAL))
            return
        value = field.kind.said(value)
    try:
        if not fits(field.kind.schema, value):
            raise ValueError
        found[field.name] = field.kind.read(value)
    except ValueError:
        errors.append((within + field.name, *field.kind.words))


def nested(name: str, fields: Sequence[Field]) -> Kind:
    """An object with these fields, in a body."""
    return Kind(
        schema=body_schema(fields),
        words=("dit is een JSON-object", "it is a JSON object"),
        read=lambda value: read(fields, value, within=f"{name}."),
    )


def body_schema(fields: Sequence[Field]) -> Schema:
    """The JSON object that has these fields."""
    return {
        "type": "object",
        "required": [field.name for field in fields if field.required],
        "properties": {field.name: {**field.kind.schema, "description": field.about} for field in fields},
        "additionalProperties": False,
    }
