"""The OpenAPI 3.1 description of the register's API v2. Pieces are those of `adapters.openapi_parts`; the pages are in `adapters.osr`."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any, Final

from aiohttp import web

from adapters.osr import MOST_ROWS
from adapters.osr_shapes import BASE, LONGEST, LONGEST_URL, MOST_ATTRIBUTES
from adapters.osr_writes import ADDRESS
from adapters.osr_writes import MOST_ROWS as MOST_WRITTEN
from schemas.openapi import Schema, all_of, array, in_path, json_answer, maybe, number, operation, problem_response, query, ref

#: Version of this interface: the sources' is 2; the second number changes when we add something.
VERSION: Final = "2.0"
PATH: Final = f"{BASE}/openapi.json"

_TEXT: Final[Schema] = {"type": "string"}
_BOOL: Final[Schema] = {"type": "boolean"}
_DAY: Final[Schema] = {"type": "string", "format": "date", "pattern": "^[0-9]{4}-[0-9]{2}-[0-9]{2}$"}
_BRIN: Final[Schema] = {"type": "string", "pattern": "^[0-9]{2}[A-Z]{2}$"}
_UUID: Final[Schema] = {
    "type": "string",
    "format": "uuid",
    "pattern": "^[0-9A-Fa-f]{8}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{12}$",
}
_OIN: Final = ref("Oin")
_SHOWN: Final = "[^\\x00-\\x1f\\x7f-\\x9f]*"
_SAID: Final[Schema] = {"type": "string", "maxLength": LONGEST, "pattern": f"^{_SHOWN}[^\\s\\x00-\\x1f\\x7f-\\x9f]{_SHOWN}$"}
_HOST: Final = "[a-z]([a-z0-9-]{0,30}[a-z0-9])?(\\.[a-z]([a-z0-9-]{0,30}[a-z0-9])?)+"
_URL: Final[Schema] = {
    "type": "string",
    "maxLength": LONGEST_URL,
    "pattern": f"^https://{_HOST}(:[1-9][0-9]{{0,3}})?(/[A-Za-z0-9._~/-]*)?$",
}
_LINK: Final = all_of({"href": {**_TEXT, "description": "From the root of this host."}})
_LABELS: Final[Schema] = {
    "type": "array",
    "items": {"type": "string", "pattern": "^[\\x21-\\x2b\\x2d-\\x7e]{1,40}$"},
    "maxItems": MOST_ATTRIBUTES,
    "uniqueItems": True,
}


def _links(*names: str, optional: tuple[str, ...] = ()) -> Schema:
    return all_of(dict.fromkeys((*names, *optional), _LINK), optional=optional)


_DELIVERY: Final[Mapping[str, Schema]] = {
    "url": {**_URL, "description": "Where to deliver, with https."},
    "mailbox": {"type": "boolean", "const": True, "description": "In the mailbox of the system, instead of at a url."},
    "attributes": maybe(_LABELS),
    "start_date": maybe(_DAY),
    "end_date": {**maybe(_DAY), "description": "The last day, itself included."},
    "address": maybe({"type": "string", "pattern": f"^{ADDRESS}$", "maxLength": LONGEST, "description": "For wsa:To, without oin."}),
    "at_once": maybe({"type": "integer", "minimum": 1, "maximum": 1_000, "description": "Calls under way at a time."}),
    "per_second": maybe({"type": "number", "minimum": 0.01, "maximum": 10_000, "description": "Calls a second."}),
}
_REASON: Final[Schema] = {**maybe(_SAID), "description": "Why, for the history of the register."}
_CHANGE: Final[Mapping[str, Schema]] = {
    **_DELIVERY,
    "change_date": {**maybe(_DAY), "description": "The change counts from this day; the endpoint as it was ends the day before."},
    "reason": _REASON,
}
_NEW: Final[Mapping[str, Schema]] = {
    "mandate_token": {**maybe(_UUID), "description": "Of the mandate; left out by an organisation that connects itself."},
    "routing_id": {**maybe(_OIN), "description": "Left out for an endpoint of the whole organisation."},
    "service_version_namespace": _SAID,
    **_DELIVERY,
    "reason": _REASON,
}


def _taken(fields: Mapping[str, Schema], *required: str, **more: Any) -> Schema:
    """An object that is sent: nothing else may be in it."""
    said = all_of(fields, optional=tuple(name for name in fields if name not in required))
    return {**said, "additionalProperties": False, **more}


SCHEMAS: Final[Mapping[str, Schema]] = {
    "Oin": {"type": "string", "pattern": "^[0-9]{8}[0-9A-Z]{12}$", "description": "OIN, or routeringskenmerk, of 20 positions."},
    "Problem": all_of(
        {
            "type": {"type": "string", "format": "uri"},
            "title": {**_TEXT, "description": "As in the sources, where they have a text: `Validation error(s)`, `… does not exist`."},
            "status": {"type": "integer", "minimum": 400, "maximum": 599},
            "detail": {**_TEXT, "description": "This very case, and what to do."},
            "detail_nl": _TEXT,
            "code": _TEXT,
            "errors": array(all_of({"field": _TEXT, "reason": _TEXT})),
            "conflict": {**all_of({"row": _TEXT}), "description": "The row of the register that is in the way."},
        },
        optional=("errors", "conflict"),
        about="RFC 9457.",
    ),
    "School": all_of(
        {"oin": _OIN, "brin": maybe(_BRIN), "name": _TEXT, "oa_id": maybe(_TEXT), "_links": _links("self", optional=("board",))}
    ),
    "Board": all_of({"oin": _OIN, "name": _TEXT, "_links": _links("self")}),
    "Service": all_of({"code": _TEXT, "name": _TEXT, "description": _TEXT, "_links": _links("self")}),
    "ServiceVersion": all_of(
        {
            "namespace": _TEXT,
            "status": {**_TEXT, "description": "`active`; `inactive` when it may not be used today."},
            "service_code": _TEXT,
            "start_date": maybe(_DAY),
            "end_date": maybe(_DAY),
            "_links": _links("self", "service"),
        }
    ),
    "Validation": all_of({"status": {"const": "OK"}}, about="All that others hear of a mandate; without one the answer is 404."),
    "Mandate": all_of(
        {
            "token": _UUID,
            "school_oin": _OIN,
            "supplier_oin": _OIN,
            "service_code": _TEXT,
            "start_date": maybe(_DAY),
            "end_date": maybe(_DAY),
            "revoked": {**_BOOL, "description": "Withdrawn at once: it counts on no day."},
            "_links": _links("self", "school", "service"),
        },
        about="For the mandated system only.",
    ),
    "Endpoint": all_of(
        {
            "token": {**_TEXT, "description": "What it is changed by."},
            "routing_id": maybe(_OIN),
            "school_oin": _OIN,
            "supplier_oin": _OIN,
            "service_version_namespace": _TEXT,
            "url": maybe(_TEXT),
            "mailbox": _BOOL,
            "attributes": array(_TEXT),
            "start_date": maybe(_DAY),
            "end_date": maybe(_DAY),
            "_links": _links("self", "school", "service_version"),
            "warnings": {**array(all_of({"nl": _TEXT, "en": _TEXT})), "description": "After a change: what may be a mistake all the same."},
        },
        optional=("warnings",),
    ),
    "NewEndpoint": _taken(_NEW, "service_version_namespace", oneOf=[{"required": ["url"]}, {"required": ["mailbox"]}]),
    "EndpointChange": _taken(
        _CHANGE,
        anyOf=[{"required": [name]} for name in _DELIVERY],
        **{"not": {"required": ["url", "mailbox"]}},
    ),
    "Results": all_of(
        {
            "results": array(
                all_of(
                    {
                        "row": {"type": "integer", "minimum": 1},
                        "status": {"type": "integer"},
                        "endpoint": maybe(ref("Endpoint")),
                        "problem": ref("Problem"),
                    },
                    optional=("endpoint", "problem"),
                )
            )
        },
        about="As many as there were rows, in their order; the status is what a request of its own would have been answered with.",
    ),
}


def description(*, url: str) -> dict[str, Any]:
    """The whole document. `url`: our address as partners know it, without a path."""
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Koppelpunt: service register",
            "version": VERSION,
            "summary": "Who may act for whom, and where to deliver.",
            "description": "Mutual TLS with any certificate that we trust and that has an OIN. Details of mandates and every write need "
            "an API key too. How often a certificate may read endpoints is limited: keep answers for some minutes.",
            "license": {"name": "EUPL-1.2", "identifier": "EUPL-1.2"},
        },
        "servers": [{"url": url}],
        "security": [{"certificate": []}],
        "tags": [{"name": name} for name in ("schools", "services", "mandates", "endpoints", "description")],
        "paths": {**_own(), **_schools(), **_services(), **_mandates(), **_endpoints()},
        "components": {
            "securitySchemes": {
                "certificate": {"type": "mutualTLS", "description": "With one OIN in subject.serialNumber."},
                "key": {"type": "apiKey", "in": "header", "name": "X-Api-Key", "description": "Of the same system as the certificate."},
            },
            "schemas": SCHEMAS,
            "responses": {"Problem": problem_response("429, 503")},
        },
    }


class OsrOpenApiPages:
    """`GET /osr/api/v2/openapi.json`, for which no certificate is needed: it says nothing that the documentation does not."""

    def __init__(self, document: Mapping[str, Any]) -> None:
        self._document = json.dumps(document, ensure_ascii=False).encode()

    def routes(self) -> Iterable[web.RouteDef]:
        """See `https.Pages`."""
        return (web.get(PATH, self._answer),)

    async def _answer(self, request: web.Request) -> web.Response:
        return web.Response(body=self._document, content_type="application/json")


# -- paths ---------------------------------------------------------------------------------------------------------------------------------

_LIMIT: Final = query("limit", number(1, MOST_ROWS, MOST_ROWS), "When there are more, the header Link says where they are (RFC 8288).")
_REFERENCE: Final = query("reference_date", _DAY, "As of another day than today.")
_NAMESPACE: Final = query("service_version_namespace", _SAID, required=True)


def _list(what: str, name: str) -> dict[str, Any]:
    return json_answer(what, array(ref(name)))


def _paged(what: str, name: str) -> dict[str, Any]:
    return {**_list(what, name), "headers": {"Link": {"description": "`rel=next`, when there are more.", "schema": _TEXT}}}


def _with_key(described: dict[str, Any]) -> dict[str, Any]:
    return {**described, "security": [{"certificate": [], "key": []}]}


def _own() -> dict[str, Any]:
    answer = {"200": json_answer("This description.", {"type": "object"})}
    described = {"operationId": "openapi", "tags": ["description"], "summary": "This description", "security": [], "responses": answer}
    return {PATH: {"get": described}}


def _schools() -> dict[str, Any]:
    parameters = [
        query("name", _SAID, "A part of the name."),
        query("oin", _OIN),
        query("brin", _BRIN),
        query("oa_id", _SAID, "Onderwijsaanbieder."),
        _LIMIT,
        query("after", _OIN, "Only those after this OIN."),
    ]
    answer = _paged("Those to which all of this applies, by OIN.", "School")
    return {
        f"{BASE}/schools": {"get": operation("schools", "schools", "Schools", parameters, answer)},
        f"{BASE}/schools/{{oin}}": {
            "get": operation("school", "schools", "A school", [in_path("oin", _OIN)], json_answer("The school.", ref("School")))
        },
        f"{BASE}/boards/{{oin}}": {
            "get": operation("board", "schools", "A board", [in_path("oin", _OIN)], json_answer("The board.", ref("Board")))
        },
    }


def _services() -> dict[str, Any]:
    word = {"type": "string", "pattern": "^[a-z0-9][a-z0-9._-]{0,39}$"}
    version = {"type": "string", "pattern": "^[a-z0-9][a-z0-9._-]{0,39}:[a-z0-9][a-z0-9._-]{0,39}$", "description": "Code and version."}
    return {
        f"{BASE}/services": {
            "get": operation(
                "services",
                "services",
                "Diensten",
                [query("name", _SAID, "A part of the name or code."), query("code", _SAID)],
                _list("Also when there are none.", "Service"),
            )
        },
        f"{BASE}/services/{{code}}": {
            "get": operation("service", "services", "A dienst", [in_path("code", word)], json_answer("The dienst.", ref("Service")))
        },
        f"{BASE}/service-versions": {
            "get": operation(
                "serviceVersions",
                "services",
                "Versions of diensten",
                [query("service_code", _SAID), query("service_version_namespace", _SAID)],
                _list("Also when there are none.", "ServiceVersion"),
            )
        },
        f"{BASE}/service-versions/{{id}}": {
            "get": operation(
                "serviceVersion", "services", "A version", [in_path("id", version)], json_answer("The version.", ref("ServiceVersion"))
            )
        },
    }


def _mandates() -> dict[str, Any]:
    parameters = [
        query("school_oin", _OIN, required=True),
        query("supplier_oin", _OIN, "The system's.", required=True),
        query("service_version_namespace", _SAID, "Either this or service_code."),
        query("service_code", _SAID),
        _REFERENCE,
    ]
    either = {"anyOf": [ref("Validation"), ref("Mandate")]}
    own = json_answer("All your mandates for this dienst, of every day, by token.", array(ref("Mandate")))
    paging = [query("service_code", _SAID, required=True), _LIMIT, query("after", _UUID, "Only those after this token.")]
    return {
        f"{BASE}/mandates": {
            "get": {
                **operation(
                    "mandate",
                    "mandates",
                    "May this system act for this school? With your key, about yourself: the mandate",
                    parameters,
                    json_answer("It may; 404 when it may not.", either),
                ),
                "security": [{"certificate": []}, {"certificate": [], "key": []}],
            }
        },
        f"{BASE}/mandates/{{token}}": {
            "get": _with_key(
                operation("ownMandate", "mandates", "A mandate of yours", [in_path("token", _UUID)], json_answer("It.", ref("Mandate")))
            )
        },
        f"{BASE}/school-mandates": {
            "get": _with_key(
                operation("schoolMandates", "mandates", "Your mandates", paging, {**own, "headers": _paged("", "")["headers"]})
            )
        },
    }


def _endpoints() -> dict[str, Any]:
    token = in_path("token", {"type": "string", "minLength": 1, "maxLength": LONGEST, "pattern": "^[0-9A-Za-z][0-9A-Za-z:/._-]*$"})
    questions = [
        query("routing_id", _OIN, "None or one endpoint. Give this or school_oin."),
        query("school_oin", _OIN, "All endpoints of the organisation and its administrations."),
        _NAMESPACE,
        query("attributes", _SAID, "Labels, separated by commas: endpoints that have them all."),
        _REFERENCE,
        query("include_future_endpoints", {"type": "boolean", "default": False}, "Those that begin after that day too."),
    ]
    place = {"Location": {"required": True, "description": "The endpoint.", "schema": _TEXT}}
    made = {**json_answer("It is in the register.", ref("Endpoint")), "headers": place}
    changed = operation(
        "changeEndpoint",
        "endpoints",
        "Change or end an endpoint of yours",
        [token],
        json_answer("As it is from then on.", ref("Endpoint")),
        body=_body(ref("EndpointChange")),
    )
    changed["responses"]["204"] = {"description": "It ended before its first day, and is no more."}
    # a row that is wrong has its own result, so any object may stand there
    about = "As NewEndpoint; or, with the `token` of an endpoint of yours, as EndpointChange."
    several = {"type": "object", "description": about}
    many = _taken({"endpoints": {**array(several), "minItems": 1, "maxItems": MOST_WRITTEN}}, "endpoints")
    return {
        f"{BASE}/endpoints": {
            "get": operation("endpoints", "endpoints", "Where to deliver", questions, _list("Also when there are none.", "Endpoint")),
            "post": _with_key(
                operation("addEndpoint", "endpoints", "Make an endpoint", [], made, body=_body(ref("NewEndpoint")), status="201")
            ),
        },
        f"{BASE}/endpoints/bulk": {
            "post": _with_key(
                operation(
                    "addEndpoints",
                    "endpoints",
                    "Make or change many; a row with a token is a change",
                    [],
                    json_answer("A result for each row.", ref("Results")),
                    body=_body(many),
                )
            )
        },
        f"{BASE}/endpoints/{{token}}": {
            "get": operation("endpoint", "endpoints", "An endpoint, on whatever day", [token], json_answer("It.", ref("Endpoint"))),
            "patch": _with_key(changed),
        },
    }


def _body(schema: Schema) -> dict[str, Any]:
    return {"required": True, "content": {"application/json": {"schema": schema}}}
