"""Pieces that the OpenAPI descriptions of this gateway are made from: operations, parameters, answers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from adapters.openapi_schemas import ref
from adapters.problem import CONTENT_TYPE

Schema = Mapping[str, Any]


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
        "content": {CONTENT_TYPE: {"schema": ref("Problem")}},
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
