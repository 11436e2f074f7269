"""The OpenAPI 3.1 description of `/api/v1`, made from the very values that it answers with."""

from __future__ import annotations

import dataclasses
import types
from collections.abc import Mapping
from datetime import date
from enum import Enum
from functools import cache
from typing import Any, Final, Union, get_args, get_origin, get_type_hints

from routing import actions, board, jobs
from schemas import events

_JSON: Final = {str: "string", bool: "boolean", int: "integer", float: "number"}  #: in this order: a bool is an int too
_FILTERS: Final = (
    *("lijst", "dienst", "versie", "bericht", "brin", "school", "systeem", "ontvanger", "ontvangend", "partij", "status", "code"),
    *("aanzet", "van", "tot", "ouder", "bedrijfsdocument", "bericht-id", "kenmerk", "routeringskenmerk", "wachtrij", "groep", "nooit"),
    *("leverancier", "nummer", "sinds", "sorteer", "na", "terug", "aantal"),
)
_HIDDEN: Final = frozenset({"digest"})


@cache
def description() -> dict[str, Any]:
    """Whole; the same at every call."""
    schemas: dict[str, Any] = {}
    listed = _object(
        items=_array(_schema(board.Item, schemas)),
        next={"type": ["string", "null"], "description": "where the next page begins: its parameter `na`"},
        count={"type": "integer", "description": f"how many there are, up to {board.MOST}"},
        more={"type": "boolean", "description": "there are more than that"},
    )
    paths = {
        "/api/v1/overview": _get("How the chain is", _schema(board.Overview, schemas)),
        "/api/v1/items": _get("What is open or fell out, a page of it", listed, query=_FILTERS),
        "/api/v1/groups": _get("What fell out", _object(groups=_array(_schema(board.FailureGroup, schemas))), query=("opgelost",)),
        "/api/v1/groups/{key}": _get("One group", _schema(board.GroupDetail, schemas), path="key"),
        "/api/v1/messages/{id}": _get("What happened to a message; not its content", _schema(board.MessageView, schemas), path="id"),
        "/api/v1/parties": _get("Systems, and how they do", _object(parties=_array(_schema(board.PartyLine, schemas)))),
        "/api/v1/parties/{oin}": _get("One system or organisation", _schema(board.Party, schemas), path="oin"),
        "/api/v1/reports": _get("A week, by partner", _object(reports=_array(_schema(board.Report, schemas))), query=("week", "systeem")),
        "/api/v1/jobs": _get("Jobs, the newest first", _object(jobs=_array(_schema(actions.Job, schemas)))),
        "/api/v1/jobs/{id}": _get("One job", _schema(actions.Job, schemas), path="id"),
        "/api/v1/openapi.json": _get("This description", {"type": "object"}),
    }
    problem = _object(type={"type": "string"}, status={"type": "integer"}, title={"type": "string"}, detail={"type": "string"})
    return {
        "openapi": "3.1.0",
        "info": {"title": "Koppelpunt: the portal's data", "version": "1", "license": {"name": "EUPL-1.2", "identifier": "EUPL-1.2"}},
        "paths": paths,
        "security": [{"token": []}],
        "components": {
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer", "description": "`run.py account tokens`"}},
            "schemas": {**dict(sorted(schemas.items())), "Problem": problem},
        },
    }


def _get(summary: str, schema: Mapping[str, Any], *, query: tuple[str, ...] = (), path: str | None = None) -> dict[str, Any]:
    def told(words: str) -> dict[str, Any]:
        return {"description": words, "content": {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}}

    parameters = [{"name": name, "in": "query", "schema": {"type": "string"}} for name in query]
    if path:
        parameters.append({"name": path, "in": "path", "required": True, "schema": {"type": "string"}})  # type: ignore[dict-item]
    answers: dict[str, Any] = {"200": {"description": "as it is now", "content": {"application/json": {"schema": schema}}}}
    answers["401"] = told("no token that counts")
    if query:
        answers["400"] = told("what was asked cannot be; `detail` says what to ask instead")
    if path:
        answers["404"] = told("there is none, or none that this token sees")
    return {"get": {"summary": summary, "parameters": parameters, "responses": answers}}


def _object(**properties: Mapping[str, Any]) -> dict[str, Any]:
    return {"type": "object", "properties": properties}


def _array(items: Mapping[str, Any]) -> dict[str, Any]:
    return {"type": "array", "items": items}


def _schema(kind: Any, schemas: dict[str, Any]) -> dict[str, Any]:
    """Of a type; dataclasses become components, by name."""
    origin, given = get_origin(kind), get_args(kind)
    if origin in (Union, types.UnionType):
        inside = [_schema(one, schemas) for one in given if one is not type(None)]
        return {"anyOf": [*inside, {"type": "null"}]} if type(None) in given else {"anyOf": inside}
    if origin in (tuple, list, frozenset):
        return _array(_schema(given[0], schemas))
    if origin is not None and issubclass(origin, Mapping):
        return {"type": "object", "additionalProperties": _schema(given[1], schemas)}
    if dataclasses.is_dataclass(kind):
        return _component(kind, schemas)
    if isinstance(kind, type) and issubclass(kind, Enum):
        return {"type": "string", "enum": [one.value for one in kind]}
    if kind is date:
        return {"type": "string", "format": "date"}
    plain = next((json for python, json in _JSON.items() if isinstance(kind, type) and issubclass(kind, python)), None)
    return {"type": plain} if plain else {}


def _component(kind: Any, schemas: dict[str, Any]) -> dict[str, Any]:
    name = kind.__name__
    if name not in schemas:
        schemas[name] = {}
        hints = get_type_hints(kind, vars(_MODULES[kind.__module__]))
        properties = {f.name: _schema(hints[f.name], schemas) for f in dataclasses.fields(kind) if f.name not in _HIDDEN}
        if kind is board.GroupKey:
            properties = {"key": {"type": "string"}, **properties}
        schemas[name] = {"type": "object", "properties": properties}
    return {"$ref": f"#/components/schemas/{name}"}


_MODULES: Final = {module.__name__: module for module in (actions, board, events, jobs)}
