"""Does an answer look as the OpenAPI description says? Stricter than a client would be: what is not described may not be there."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from copy import deepcopy
from typing import Any

from jsonschema import Draft202012Validator, FormatChecker
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT202012

from adapters.openapi import description
from schemas.contracts import load_contracts

DOCUMENT = description(load_contracts(), url="https://koppelpunt.example")


def _closed(schema: Any) -> Any:
    """The same schema, with objects that have no other members than those described."""
    if isinstance(schema, Mapping):
        closed = {name: _closed(part) for name, part in schema.items()}
        if closed.get("type") == "object" and "properties" in closed:
            closed.setdefault("additionalProperties", False)
        return closed
    return [_closed(part) for part in schema] if isinstance(schema, list) else schema


class Described:
    """Answers are held against one description."""

    def __init__(self, document: Mapping[str, Any]) -> None:
        self._closed = _closed(deepcopy(document))
        resource: Resource[Any] = Resource.from_contents(self._closed, default_specification=DRAFT202012)
        self._registry: Registry[Any] = Registry().with_resource("urn:openapi", resource)

    def operation(self, method: str, path: str) -> Mapping[str, Any]:
        """The operation that describes this request. Raises AssertionError when none does."""
        plain = path.partition("?")[0]
        for template, item in sorted(self._closed["paths"].items(), key=lambda one: "{" in one[0]):
            pattern = re.sub(r"\\\{[^}]*\\\}", "[^/]+", re.escape(template))
            if re.fullmatch(pattern, plain) and method.lower() in item:
                return dict(item[method.lower()])
        raise AssertionError(f"{method} {plain} is not described")

    def check(self, method: str, path: str, status: int, headers: Mapping[str, str], body: bytes) -> None:
        """Raises AssertionError or jsonschema's ValidationError when the answer is not as described."""
        responses = self.operation(method, path)["responses"]
        response = responses.get(str(status)) or responses["default"]
        if "$ref" in response:
            response = self._closed["components"]["responses"][response["$ref"].rpartition("/")[2]]
        for name, header in response.get("headers", {}).items():
            assert not header.get("required") or headers.get(name), f"{name} is missing"
        kind = headers["Content-Type"].partition(";")[0]
        assert kind in response["content"], f"{kind} is not described for {status}"
        if kind != "text/xml":
            self.validate(json.loads(body), response["content"][kind]["schema"])

    def validate(self, instance: Any, schema: Mapping[str, Any]) -> None:
        """Raises jsonschema's ValidationError. References in the schema are to the description."""
        absolute = json.loads(json.dumps(schema).replace('"#/', '"urn:openapi#/'))
        Draft202012Validator(absolute, registry=self._registry, format_checker=FormatChecker()).validate(instance)


_REST = Described(DOCUMENT)
operation, check, validate = _REST.operation, _REST.check, _REST.validate
