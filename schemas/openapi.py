"""Pieces that every OpenAPI 3.1 description of ours is made from: schemas (JSON Schema 2020-12), operations, parameters, answers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

#: What is answered when something is wrong (RFC 9457).
PROBLEM: Final = "application/problem+json"
#: Its `type`, before the code. A code is a name, not a place: nothing is to be fetched there.
CODE_TYPE: Final = "urn:x-backbone:code:"

Schema = Mapping[str, Any]


def ref(name: str) -> Schema:
    """A schema of the document, by name."""
    return {"$ref": f"#/components/schemas/{name}"}


def text(about: str) -> Schema:
    """A short text."""
    return {"type": "string", "minLength": 1, "maxLength": 200, "description": about}


def array(items: Schema) -> Schema:
    """A list of these."""
    return {"type": "array", "items": items}


def maybe(schema: Schema) -> Schema:
    """The same, or null."""
    if isinstance(schema.get("type"), str) and "enum" not in schema:
        return {**schema, "type": [schema["type"], "null"]}
    return {"anyOf": [schema, {"type": "null"}]}


def all_of(fields: Mapping[str, Schema], *, optional: tuple[str, ...] = (), about: str = "") -> Schema:
    """An object that has all these fields, but for those that may be left out."""
    said = {"description": about} if about else {}
    return {"type": "object", **said, "required": [name for name in fields if name not in optional], "properties": dict(fields)}


def operation(
    id: str,
    tag: str,
    summary: str,
    parameters: list[dict[str, Any]],
    answer: dict[str, Any],
    *,
    body: dict[str, Any] | None = None,
    status: str = "200",
) -> dict[str, Any]:
    """What is asked at a path, and answered: this, or a problem."""
    made: dict[str, Any] = {"operationId": id, "tags": [tag], "summary": summary, "parameters": parameters}
    if body is not None:
        made["requestBody"] = body
    made["responses"] = {status: answer, "default": {"$ref": "#/components/responses/Problem"}}
    return made


def json_answer(what: str, schema: Schema) -> dict[str, Any]:
    """An answer in JSON."""
    return {"description": what, "content": {"application/json": {"schema": schema}}}


def problem_response(when: str = "503") -> dict[str, Any]:
    """What is answered when something is wrong. `when`: the statuses that come with Retry-After."""
    return {
        "description": "Something is wrong (RFC 9457): with a code, whose turn it is, and what to do.",
        "headers": {"Retry-After": {"description": f"Seconds, where the same may succeed later ({when}).", "schema": {"type": "integer"}}},
        "content": {PROBLEM: {"schema": ref("Problem")}},
    }


def query(name: str, schema: Schema, about: str = "", *, required: bool = False) -> dict[str, Any]:
    """A parameter behind the question mark."""
    said = {"description": about} if about else {}
    return {"name": name, "in": "query", "required": required, **said, "schema": schema}


def in_path(name: str, schema: Schema) -> dict[str, Any]:
    """A parameter in the path."""
    return {"name": name, "in": "path", "required": True, "schema": schema}


def number(least: int, most: int, default: int) -> Schema:
    """A whole number."""
    return {"type": "integer", "minimum": least, "maximum": most, "default": default}
