"""What the API answers: the values of `routing` as JSON, and the JSON Schema of each, both from the same dataclass.

Moments, in microseconds in the code (`received_us`), are RFC 3339 in UTC here (`received_at`).
"""

from __future__ import annotations

import types
from collections.abc import Callable, Collection, Mapping
from dataclasses import fields, is_dataclass
from datetime import UTC, date, datetime
from enum import StrEnum
from functools import cache
from operator import attrgetter
from typing import Any, Final, Union, get_args, get_origin, get_type_hints

from routing.alerts import Alert
from routing.board import GroupKey, Item, Place
from routing.jobs import Figures
from schemas.openapi import Schema, all_of, array, maybe, ref

_TEXT: Final[Schema] = {"type": "string"}
_MOMENT: Final[Schema] = {"type": "string", "format": "date-time"}
#: Microseconds that are no moment.
_DURATIONS: Final = frozenset({"took_us"})
#: What a value says of itself besides its fields: type, and how it is found.
_SAYS: Final[Mapping[type, Mapping[str, tuple[Any, Callable[[Any], Any]]]]] = {
    GroupKey: {"id": (str, str)},
    Item: {"group": (GroupKey | None, attrgetter("group"))},
    Alert: {
        "id": (str, attrgetter("id")),
        "nl": (str, lambda alert: alert.says[0]),
        "en": (str, lambda alert: alert.says[1]),
        "do_nl": (str, lambda alert: alert.do[0]),
        "do_en": (str, lambda alert: alert.do[1]),
    },
    Figures: {"ratio": (float | None, attrgetter("ratio"))},
}
#: What is said otherwise, and whom we told: that is between them and us.
_HIDDEN: Final[Mapping[type, frozenset[str]]] = {Alert: frozenset({"says", "do", "told", "step", "step_us", "absent_us"})}


def moment(us: int) -> str:
    """RFC 3339, to the millisecond."""
    return datetime.fromtimestamp(us / 1e6, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def name_of(name: str, value: Any = 0) -> str:
    """What a field is called in JSON."""
    if not name.endswith("_us") or name in _DURATIONS or not isinstance(value, int | None):
        return name
    plain = name.removesuffix("_us")
    return plain if plain in ("at", "since", "until") or plain.endswith("_at") else f"{plain}_at"


def as_json(value: Any) -> Any:
    """A value as `json.dumps` takes it. Raises TypeError for one that has no place in an answer."""
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, str):
        return str(value)
    if isinstance(value, Place):
        return str(value)
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, Mapping):
        return {name_of(str(key), one): _field(str(key), one) for key, one in value.items()}
    if is_dataclass(value) and not isinstance(value, type):
        own = {name_of(name): _field(name, getattr(value, name)) for name in _names(type(value))}
        return own | {name: as_json(find(value)) for name, (_, find) in _SAYS.get(type(value), {}).items()}
    if isinstance(value, frozenset | set):
        return sorted(map(as_json, value))
    if isinstance(value, Collection):
        return [as_json(one) for one in value]
    raise TypeError(f"{type(value).__name__} has no place in an answer")


def _field(name: str, value: Any) -> Any:
    return moment(value) if name_of(name) != name and isinstance(value, int) else as_json(value)


@cache
def _names(kind: type) -> tuple[str, ...]:
    hidden = _HIDDEN.get(kind, frozenset())
    return tuple(field.name for field in fields(kind) if field.name not in hidden)


class Shapes:
    """The schemas of answers, each dataclass once, by its name."""

    def __init__(self) -> None:
        self.schemas: dict[str, Schema] = {}
        self._kinds: dict[str, type] = {}

    def of(self, hint: Any) -> Schema:
        """The schema of a type. Raises TypeError for one that no answer has."""
        origin, given = get_origin(hint), get_args(hint)
        if origin in (Union, types.UnionType):
            rest = [one for one in given if one is not type(None)]
            if len(rest) != 1 or len(rest) == len(given):
                raise TypeError(f"an answer cannot be {hint}")
            return maybe(self.of(rest[0]))
        if origin is not None and issubclass(origin, Mapping):
            return {"type": "object", "additionalProperties": self.of(given[1])}
        if origin is not None and issubclass(origin, Collection):
            return array(self.of(given[0]))
        return self._plain(hint)

    def _plain(self, hint: Any) -> Schema:
        if hint in (Any, object):
            return {}
        hint = getattr(hint, "__supertype__", hint)  # a NewType is written as what it is
        if isinstance(hint, type) and issubclass(hint, StrEnum):
            return {"type": "string", "enum": [str(one) for one in hint]}
        if isinstance(hint, type) and is_dataclass(hint) and hint is not Place:
            return self._object(hint)
        simple: Mapping[Any, Schema] = {
            str: _TEXT,
            bytes: _TEXT,
            Place: _TEXT,
            bool: {"type": "boolean"},
            int: {"type": "integer"},
            float: {"type": "number"},
            date: {"type": "string", "format": "date"},
        }
        if hint not in simple:
            raise TypeError(f"an answer cannot be {hint}")
        return simple[hint]

    def _object(self, kind: type) -> Schema:
        if self._kinds.setdefault(kind.__name__, kind) is not kind:
            raise TypeError(f"two answers are called {kind.__name__}")
        if kind.__name__ not in self.schemas:
            self.schemas[kind.__name__] = {}  # it may name itself
            hints = get_type_hints(kind)
            said = {name_of(name): self._moment_or(name, hints[name]) for name in _names(kind)}
            said |= {name: self.of(hint) for name, (hint, _) in _SAYS.get(kind, {}).items()}
            about = " ".join((kind.__doc__ or "").split("\n\n")[0].split())
            self.schemas[kind.__name__] = {**all_of(said, about=about), "additionalProperties": False}
        return ref(kind.__name__)

    def _moment_or(self, name: str, hint: Any) -> Schema:
        if not name.endswith("_us"):
            return self.of(hint)
        return maybe(_MOMENT) if type(None) in get_args(hint) else _MOMENT
