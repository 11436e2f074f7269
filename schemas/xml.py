"""Bytes against the right XSD: libxml2 says yes or no, xmlschema explains a no (6 µs against 620 µs; design section 7).

An XSD may include and import only files of its own folder, so that loading a dienst reads no other file and no network. The
explanations never repeat a value: it may be a name, a date of birth or a number. They say what belongs there, from the XSD's
own documentation (`xml:lang` nl and en) where it has one.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Final, cast
from urllib.parse import unquote

from lxml import etree

from schemas.faults import OurFailure
from schemas.privacy import redact

#: More than this many reasons help nobody.
MOST_REASONS: Final = 20
#: Elements that xmlschema may look at: 16 µs for each good one and 85 for each bad one, so at most a sixth of a second. Larger
#: content gets libxml2's own short reasons.
MOST_EXPLAINED: Final = 2_000

_XS: Final = "{http://www.w3.org/2001/XMLSchema}"
_LANGUAGE: Final = "{http://www.w3.org/XML/1998/namespace}lang"
_LONGEST_NAME: Final = 60
_LONGEST_PATH: Final = 400


class SchemaError(ValueError):
    """An XSD that cannot be used; the sentence says which and why."""


@dataclass(frozen=True, slots=True)
class Reason:
    """Why content does not fit its XSD."""

    where: str
    nl: str
    en: str


#: What belongs in an element of a built-in type, for XSDs that document nothing.
_BUILT_IN: Final = {
    "date": ("een bestaande datum als jjjj-mm-dd", "an existing date as yyyy-mm-dd"),
    "dateTime": ("een bestaand tijdstip als jjjj-mm-ddTuu:mm:ss", "an existing moment as yyyy-mm-ddThh:mm:ss"),
    "boolean": ("true of false", "true or false"),
    "decimal": ("een getal", "a number"),
    "integer": ("een geheel getal", "a whole number"),
    "int": ("een geheel getal", "a whole number"),
    "positiveInteger": ("een geheel getal groter dan nul", "a whole number above zero"),
}


_DOES_NOT_FIT: Final = ("De inhoud van dit element past niet bij het schema.", "The content of this element does not fit the schema.")


class Schema:
    """One XSD, compiled once. Not for several threads at a time."""

    def __init__(self, xsd: Path) -> None:
        """Raises SchemaError when the file, or one it includes, cannot be used."""
        self._path = xsd.resolve()
        documents = dict(_documents(self._path, self._path.parent, set()))
        main = documents[self._path]
        self.target: str = main.get("targetNamespace", "")
        declared = [element for document in documents.values() for element in document.iter(f"{_XS}element")]
        #: names of every element the XSD declares or refers to, without namespace
        self.elements = frozenset(filter(None, (e.get("name") or e.get("ref", "").rpartition(":")[2] for e in declared)))
        #: names of the elements a document of the target namespace may start with
        self.roots = frozenset(
            name
            for document in documents.values()
            if document.get("targetNamespace", self.target) == self.target
            for child in document.iterchildren(f"{_XS}element")
            if (name := child.get("name"))
        )
        #: target namespaces of the XSD and what it includes
        self.namespaces = tuple(sorted({document.get("targetNamespace", "") for document in documents.values()} - {""}))
        try:
            self._schema = etree.XMLSchema(etree.parse(self._path, _parser()))
        except etree.XMLSchemaParseError as error:
            raise SchemaError(f"{self._path}: not a valid XSD: {error}") from error
        self._explainer: Any = None

    def accepts(self, content: etree._Element) -> bool:
        """Whether the element is valid. Raises OurFailure when libxml2 cannot tell."""
        try:
            return self._schema.validate(content)
        except etree.XMLSchemaValidateError as error:
            raise OurFailure(f"the XSD {self._path.name} could not be applied") from error

    def explain(self, content: etree._Element) -> tuple[Reason, ...]:
        """At least one and at most twenty reasons why libxml2 says no."""
        if sum(1 for _ in islice(content.iter(), MOST_EXPLAINED + 1)) > MOST_EXPLAINED:
            return self._short_reasons(content)
        found: dict[str, Reason] = {}
        for error in self._errors(content):
            reason = self._reason(error, content)
            found.setdefault(reason.where, reason)
            if len(found) == MOST_REASONS:
                break
        return tuple(found.values()) or self._short_reasons(content)

    def _errors(self, content: etree._Element) -> Iterator[Any]:
        # imported here, because it takes a tenth of a second that a start without mistakes can do without
        from xmlschema import XMLSchema, XMLSchemaException

        try:
            if self._explainer is None:
                # includes stay in the folder: that was checked when this schema was loaded
                self._explainer = XMLSchema(str(self._path), allow="local")
            yield from self._explainer.iter_errors(content, use_location_hints=False)
        except (XMLSchemaException, RecursionError):
            return  # libxml2 decided; its own reasons are given instead

    def _reason(self, error: Any, content: etree._Element) -> Reason:
        element = error.elem if error.elem is not None else content
        if hasattr(error, "expected"):
            return self._wrong_children(error, element, content)
        where = path_of(element, content)
        kind = type(error.validator).__name__
        if "Attribute" in kind or isinstance(error.obj, dict):
            return Reason(
                where, "Dit element heeft een attribuut dat hier niet hoort.", "This element has an attribute that does not belong."
            )
        if kind == "XsdGroup":
            nl, en = "Tussen de elementen staat tekst; die hoort er niet.", "There is text between the elements; it does not belong."
            return Reason(where, nl, en)
        if kind == "XsdElement":
            return Reason(where, *_DOES_NOT_FIT)
        nl, en = _expected_value(error.validator, kind)
        if len(element) == 0 and not (element.text or "").strip():
            return Reason(
                where,
                f"Dit element is leeg. Laat een leeg element weg, of vul het als het verplicht is: {nl}.",
                f"This element is empty. Leave an empty element out, or fill it if it is mandatory: {en}.",
            )
        return Reason(where, f"Deze waarde is niet goed. Verwacht: {nl}.", f"This value is not right. Expected: {en}.")

    def _wrong_children(self, error: Any, parent: etree._Element, content: etree._Element) -> Reason:
        expected = list(dict.fromkeys(filter(None, (getattr(item, "local_name", None) for item in error.expected or ()))))
        nl, en = " of ".join(expected[:10]), " or ".join(expected[:10])
        child = error.invalid_child
        if child is None:
            return Reason(
                path_of(parent, content),
                f"Er ontbreekt een element: {nl or 'zie het schema'}.",
                f"An element is missing: {en or 'see the schema'}.",
            )
        name, namespace = _name(child), etree.QName(child).namespace or ""
        if name in self.elements and self.namespaces and namespace not in self.namespaces:
            why_nl = f"Het element {name} staat niet in namespace {self.target}"
            why_en = f"The element {name} is not in namespace {self.target}"
        elif name in self.elements and expected:
            why_nl = f"Het element {name} staat op de verkeerde plaats of te vaak, of ervoor ontbreekt iets"
            why_en = f"The element {name} is in the wrong place, or there too often, or something before it is missing"
        elif name in self.elements:
            why_nl, why_en = (
                f"Het element {name} staat op de verkeerde plaats of te vaak",
                f"The element {name} is in the wrong place or there too often",
            )
        else:
            why_nl, why_en = f"Het schema kent hier geen element {name}", f"The schema knows no element {name} here"
        return Reason(
            path_of(child, content),
            f"{why_nl}. Verwacht: {nl or 'niets meer'}.",
            f"{why_en}. Expected: {en or 'nothing more'}.",
        )

    def _short_reasons(self, content: etree._Element) -> tuple[Reason, ...]:
        """libxml2's reasons without their texts, which quote values."""
        self.accepts(content)
        found: dict[str, Reason] = {}
        for entry in islice(cast(Iterable[Any], self._schema.error_log), MOST_REASONS):
            where = redact(re.sub(r"(?<=/)[^/:\[]+:", "", entry.path or f"/{_name(content)}"))[:_LONGEST_PATH]
            if entry.type_name == "SCHEMAV_ELEMENT_CONTENT":
                nl, en = "Dit element hoort hier niet, of er ontbreekt er een.", "This element does not belong here, or one is missing."
            else:
                nl, en = _DOES_NOT_FIT
            found.setdefault(where, Reason(where, nl, en))
        return tuple(found.values())


def path_of(element: etree._Element, root: etree._Element) -> str:
    """The XPath of an element from the content's root, in local names, with a number where several have one name."""
    steps: list[str] = []
    node: etree._Element | None = element
    while node is not None:
        if node is root:
            steps.append(_name(node))
            break
        before = sum(1 for _ in node.itersiblings(node.tag, preceding=True))
        several = before or next(node.itersiblings(node.tag), None) is not None
        steps.append(f"{_name(node)}[{before + 1}]" if several else _name(node))
        node = node.getparent()
    path = "/" + "/".join(reversed(steps))
    return path if len(path) <= _LONGEST_PATH else "…" + path[-_LONGEST_PATH:]


def _name(element: etree._Element) -> str:
    """The local name, short and without personal numbers: whoever invents elements may put anything there."""
    return redact(etree.QName(element).localname[:_LONGEST_NAME])


def _expected_value(validator: Any, kind: str) -> tuple[str, str]:
    """What belongs in an element, as noun phrases: the type's own documentation, else its list of values, else its pattern."""
    owner = getattr(validator, "parent", None) if kind.endswith(("Facet", "Facets")) else validator
    texts: dict[str, str] = {}
    annotation = getattr(owner, "annotation", None)
    for text in annotation.documentation if annotation is not None else ():
        language = text.get(_LANGUAGE)
        if language is not None and text.text:
            texts.setdefault(language, " ".join(text.text.split()))
    nl, en = texts.get("nl"), texts.get("en")
    values = [str(value) for value in getattr(validator, "enumeration", None) or ()]
    if values:
        shown = ", ".join(values[:20]) + (", …" if len(values) > 20 else "")
        return f"{nl or 'een van deze waarden'} ({shown})", f"{en or 'one of these values'} ({shown})"
    if nl or en:
        return nl or en or "", en or nl or ""
    patterns = getattr(validator, "regexps", None)
    if patterns:
        shown = " of ".join(patterns)[:200]
        return f"een waarde volgens het patroon {shown}", f"a value that fits the pattern {shown}"
    name = (getattr(owner, "name", None) or "").rpartition("}")[2]
    return _BUILT_IN.get(
        name, (f"een waarde van het type {name}", f"a value of type {name}") if name else ("iets anders", "something else")
    )


def _parser() -> etree.XMLParser:
    """For files that an operator or we put in a dienst's folder; messages are parsed elsewhere."""
    return etree.XMLParser(resolve_entities=False, no_network=True, load_dtd=False)


def documents(xsd: Path) -> dict[Path, etree._Element]:
    """An XSD and every file it includes, imports or redefines, freshly read, itself first. Raises SchemaError."""
    path = xsd.resolve()
    return dict(_documents(path, path.parent, set()))


def target_of(reference: etree._Element, path: Path) -> Path:
    """The file that an include, import or redefine in the XSD at `path` names."""
    return (path.parent / unquote(reference.get("schemaLocation", ""))).resolve()


def _documents(path: Path, folder: Path, seen: set[Path]) -> Iterator[tuple[Path, etree._Element]]:
    """The XSD and every file it includes, imports or redefines. Raises SchemaError for one outside the folder."""
    seen.add(path)
    try:
        tree = etree.parse(path, _parser())
    except OSError as error:
        raise SchemaError(f"{path}: cannot be read; put the XSD in the dienst's folder") from error
    except etree.XMLSyntaxError as error:
        raise SchemaError(f"{path}: not XML: {error}") from error
    if tree.docinfo.internalDTD is not None:
        raise SchemaError(f"{path}: holds a DOCTYPE; remove it, because a DTD can pull in other files")
    root = tree.getroot()
    if root.tag != f"{_XS}schema":
        raise SchemaError(f"{path}: not an XSD: its root element is not xs:schema")
    yield path, root
    for reference in root.iterchildren(f"{_XS}include", f"{_XS}import", f"{_XS}redefine"):
        location = reference.get("schemaLocation")
        if location is None:
            continue
        target = target_of(reference, path)
        if ":" in location or not target.is_relative_to(folder):
            raise SchemaError(
                f"{path}: schemaLocation {location!r} leaves the dienst's folder; put a copy there and name it without a path"
            )
        if target not in seen:
            yield from _documents(target, folder, seen)
