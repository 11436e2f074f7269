"""A message's content as JSON: decoded within bounds, and written as the XML of its kind, of which everything else here speaks.

One mapping, both ways. The body is an object with one member, named after the root element. An element is a member by its local name;
one that may occur more than once is an array, always; an attribute is a member `@name`; text beside attributes is `$`. Namespaces and
the order of elements are the XSD's. `xs:boolean` is true or false; a number is a number, or a string where the digits as written matter;
everything else is a string. `null` is an element with `xsi:nil`, and only where the XSD has that.
"""

from __future__ import annotations

from typing import Any

from adapters.json_schema import schema_of
from schemas.contract import Contract, MessageKind


def json_schema(kind: MessageKind, contract: Contract) -> dict[str, Any]:
    """A JSON Schema (2020-12) of the body that `POST /rest/{dienst}/{versie}` takes as `application/json`: an object whose one member is
    named after the root element. Self-contained: no references, or only to its own `$defs`. Raises `json_shapes.NoJson` for a kind whose
    XSD JSON cannot follow (a repeated group of several elements, substitution groups, `xs:any`, mixed content); that is XML only."""
    return schema_of(kind, contract)
