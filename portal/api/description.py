"""The OpenAPI 3.1 description of the API, made from its calls."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from portal.api.calls import BASE, Call, Rows
from portal.api.shapes import Shapes
from portal.api.values import Field, body_schema
from schemas.openapi import Schema, all_of, array, in_path, json_answer, operation, problem_response, query

#: Version of this interface: the first number changes when a client that did well would not any more.
VERSION: Final = "1.0"
PATH: Final = f"{BASE}/openapi.json"

_TEXT: Final[Schema] = {"type": "string"}
_PROBLEM: Final = all_of(
    {
        "type": {**_TEXT, "format": "uri"},
        "title": _TEXT,
        "title_nl": {**_TEXT, "description": "The same in Dutch."},
        "status": {"type": "integer", "minimum": 400, "maximum": 599},
        "detail": {**_TEXT, "description": "This very case, and what to do."},
        "detail_nl": _TEXT,
        "code": _TEXT,
        "errors": array(all_of({"field": _TEXT, "reason": _TEXT, "reason_nl": _TEXT})),
    },
    optional=("errors",),
    about="RFC 9457.",
)
_CSV: Final = {"description": "The file.", "content": {"text/csv": {"schema": _TEXT}}}


def description(calls: Sequence[Call], *, url: str | None = None) -> dict[str, Any]:
    """The whole document. `url`: where we are, as clients know it; None: where they got this from."""
    shapes, paths = Shapes(), dict[str, dict[str, Any]]()
    for call in calls:
        paths.setdefault(BASE + call.path, {})[call.method.lower()] = _operation(call, shapes)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Koppelpunt: portal",
            "version": VERSION,
            "summary": "What chain managers and partners see and do, for programs.",
            "description": "A token shows what its account may see, and nothing else. What is another's answers as what does not exist. "
            "How often a token may ask is limited. Moments are in UTC, days are of Amsterdam.",
            "license": {"name": "EUPL-1.2", "identifier": "EUPL-1.2"},
        },
        "servers": [{"url": url or "/"}],
        "security": [{"token": []}],
        "tags": [{"name": name} for name in dict.fromkeys(call.tag for call in calls)],
        "paths": paths | _own(),
        "components": {
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer", "description": "From `run.py account tokens`."}},
            "schemas": {**dict(sorted(shapes.schemas.items())), "Problem": _PROBLEM},
            "responses": {"Problem": problem_response("429, 503")},
        },
    }


def _own() -> dict[str, Any]:
    answer = {"200": json_answer("This description.", {"type": "object"})}
    return {PATH: {"get": {"operationId": "openapi", "tags": [], "summary": "This description", "security": [], "responses": answer}}}


def _operation(call: Call, shapes: Shapes) -> dict[str, Any]:
    answer = _CSV if call.answer is Rows else json_answer("It.", shapes.of(call.answer))
    if call.method == "GET" and call.answer is not Rows:
        answer = {**answer, "headers": {"ETag": {"description": "For If-None-Match: 304 when it is the same.", "schema": _TEXT}}}
    parameters = [in_path(field.name, _said(field)) for field in call.place]
    parameters += [_in_query(field) for field in call.query]
    body = {"required": True, "content": {"application/json": {"schema": body_schema(call.body)}}} if call.body else None
    may = " or ".join(sorted(call.permission)) if len(call.permission) < 5 else "any"
    made = operation(call.id, call.tag, call.summary, parameters, answer, body=body, status=str(call.status))
    return {**made, "description": f"Asks for the permission {may}."}


def _said(field: Field) -> Schema:
    return {**field.kind.schema, "description": field.about}


def _in_query(field: Field) -> dict[str, Any]:
    schema: Mapping[str, Any] = field.kind.schema
    if isinstance(field.default, str | int | bool):
        schema = {**schema, "default": field.default if isinstance(field.default, int) else str(field.default)}
    said = query(field.name, schema, field.about, required=field.required)
    return {**said, "style": "form", "explode": False} if schema["type"] == "array" else said
