"""The shape of a message kind as JSON sees it: which members an element has, in which order they become elements, of which type.

Read once from the XSD's component model (xmlschema). JSON has no order and no namespaces, so only an XSD that leaves no choice of either
has a shape: one order in which the elements stand, whatever is chosen or left out, and one element to a name. `NoJson` says why not.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import Any, Final

from schemas.contract import Contract, MessageKind

_XS: Final = "{http://www.w3.org/2001/XMLSchema}"
_FLOATS: Final = frozenset({"float", "double"})


#: A shape is there before it is filled: another thread would find it empty.
_ONE_AT_A_TIME: Final = threading.RLock()


class NoJson(ValueError):
    """A message kind whose XSD JSON cannot follow; the sentence says why. It is handed in as XML."""


@dataclass(slots=True)
class Value:
    """A text in an element or attribute."""

    kind: str  #: `boolean`, `integer`, `number` or `string`: its type in JSON
    type: Any  #: xmlschema's simple type


@dataclass(slots=True)
class Member:
    """An element below another one, or an attribute of it."""

    tag: str  #: as lxml writes it
    shape: Shape
    many: bool = False  #: may occur more than once: an array
    nillable: bool = False
    required: bool = False  #: of an attribute
    component: Any = None  #: xmlschema's element or attribute


@dataclass(slots=True, eq=False)
class Shape:
    """A type."""

    type: Any
    value: Value | None = None  #: what its text is
    attributes: dict[str, Member] = field(default_factory=dict)  #: by `@name`
    elements: dict[str, Member] = field(default_factory=dict)  #: by name, in the order in which they stand

    @property
    def scalar(self) -> bool:
        """Whether it is a value by itself, and no object."""
        return self.value is not None and not self.attributes


def root_of(kind: MessageKind, contract: Contract) -> Member:
    """The kind's root element. Raises NoJson."""
    return _Shapes.of(contract.xsd.resolve()).root(f"{{{kind.namespace}}}{kind.name}")


class _Shapes:
    """What was read of one XSD."""

    def __init__(self, xsd: Path) -> None:
        # imported here, because it takes a tenth of a second that a start without JSON can do without
        from xmlschema import XMLSchema

        self._schema = XMLSchema(str(xsd), allow="local")
        self._roots: dict[str, Member | NoJson] = {}
        self._shapes: dict[int, Shape] = {}

    @classmethod
    def of(cls, xsd: Path) -> _Shapes:
        with _ONE_AT_A_TIME:
            return cls._made(xsd)

    @classmethod
    @lru_cache(maxsize=64)
    def _made(cls, xsd: Path) -> _Shapes:
        return cls(xsd)

    def root(self, tag: str) -> Member:
        with _ONE_AT_A_TIME:
            return self._root(tag)

    def _root(self, tag: str) -> Member:
        if tag not in self._roots:
            try:
                self._roots[tag] = self._member(self._schema.maps.elements[tag])
            except NoJson as error:
                self._roots[tag] = error
                self._shapes.clear()  # some are half read
        found = self._roots[tag]
        if isinstance(found, NoJson):
            raise found
        return found

    def _member(self, element: Any) -> Member:
        if element.abstract or any(True for _ in element.iter_substitutes()):
            raise NoJson(f"element {element.local_name} may be replaced by others (substitutionGroup)")
        return Member(element.name, self._shape(element.type), nillable=element.nillable, component=element)

    def _shape(self, xsd_type: Any) -> Shape:
        known = self._shapes.get(id(xsd_type))
        if known is not None:
            return known
        shape = self._shapes[id(xsd_type)] = Shape(xsd_type)  # before it is filled: a type may hold itself
        if xsd_type.is_simple():
            shape.value = _value(xsd_type)
            return shape
        if xsd_type.abstract or xsd_type.mixed or xsd_type.name == f"{_XS}anyType":
            raise NoJson(f"type {xsd_type.local_name} is abstract, or mixes text with elements")
        for name, attribute in xsd_type.attributes.items():
            if name is not None and attribute.use != "prohibited":
                member = Member(name, Shape(attribute.type, _value(attribute.type)), required=attribute.use == "required")
                member.component = attribute
                if shape.attributes.setdefault(f"@{attribute.local_name}", member) is not member:
                    raise NoJson(f"two attributes are called {attribute.local_name}")
        if xsd_type.has_simple_content():
            shape.value = _value(xsd_type.content)
        else:
            self._fill(shape, xsd_type.content)
        return shape

    def _fill(self, shape: Shape, group: Any) -> None:
        before: dict[str, set[str]] = {}
        found: dict[str, Member] = {}
        for element, many in _elements(group, many=False):
            member = self._member(element)
            member.many = many
            known = found.setdefault(element.local_name, member)
            known.many = known.many or many
            if known.tag != member.tag or known.shape is not member.shape:
                raise NoJson(f"two different elements are called {element.local_name}")
            before.setdefault(element.local_name, set())
        _order(group, before)
        try:
            order = list(TopologicalSorter({name: sorted(names) for name, names in before.items()}).static_order())
        except CycleError:
            raise NoJson(f"the elements of type {shape.type.local_name or group.parent.local_name} have no fixed order") from None
        shape.elements = {name: found[name] for name in order}


def particles(group: Any) -> Iterator[Any]:
    """The parts of a group that say something: elements and groups. What a wildcard lets in has no names, so no place in JSON."""
    for part in group:
        if part.max_occurs == 0:
            continue
        if hasattr(part, "model") or hasattr(part, "nillable"):
            yield part
        elif part.min_occurs:
            raise NoJson("it must hold elements that the XSD does not name (xs:any)")


def _elements(group: Any, *, many: bool) -> Iterator[tuple[Any, bool]]:
    """Every element of a group with those in it, and whether it may occur more than once."""
    several = group.max_occurs != 1
    inside = []
    for part in particles(group):
        if hasattr(part, "model"):
            inside += list(_elements(part, many=many or several))
        else:
            inside.append((part, many or several or part.max_occurs != 1))
    if several and len({element.name for element, _ in inside}) > 1:
        raise NoJson("it repeats a group of elements, whose order JSON does not keep")
    yield from inside


def _order(group: Any, before: dict[str, set[str]]) -> set[str]:
    """The names in a group; notes which of them stand before which."""
    names: set[str] = set()
    last: set[str] = set()
    for part in particles(group):
        own = _order(part, before) if hasattr(part, "model") else {str(part.local_name)}
        if group.model == "sequence" and own:
            for name in own:
                before[name] |= last
            last = own
        names |= own
    return names


def _value(simple: Any) -> Value:
    primitive = getattr(simple, "primitive_type", None)
    if not hasattr(simple, "is_atomic") or not simple.is_atomic() or primitive is None:
        return Value("string", simple)  # a list or a union: its text
    name = primitive.local_name
    if name in ("QName", "NOTATION"):
        raise NoJson("it holds names with a namespace (xs:QName)")
    if name == "decimal":
        return Value("integer" if simple.is_derived(simple.schema.maps.types[f"{_XS}integer"]) else "number", simple)
    return Value("boolean" if name == "boolean" else "number" if name in _FLOATS else "string", simple)
