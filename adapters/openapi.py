"""The OpenAPI 3.1 description of everything under `/rest`, made from the contracts: a new dienst stands in it without code.

What is said and answered is described in `adapters.openapi_schemas`; here are the paths.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any, Final

from aiohttp import web

from adapters import rest_explain, rest_mailbox, rest_status
from adapters.https import LARGEST
from adapters.json_content import json_schema
from adapters.json_shapes import NoJson
from adapters.openapi_schemas import SCHEMAS
from adapters.rest_party import LONGEST_WAIT
from schemas.contract import Contract, MessageKind
from schemas.contracts import Contracts
from schemas.openapi import Schema, in_path, json_answer, number, operation, problem_response, query, ref, text

#: Version of this interface: the first number changes when a client that did well would not any more.
VERSION: Final = "1.0"
PATH: Final = "/rest/openapi.json"

_OIN: Final = ref("Oin")


def _content(kind: MessageKind, contract: Contract) -> Schema | None:
    """What a message looks like as JSON; None for a kind that is taken in XML only."""
    try:
        said = json_schema(kind, contract)
    except NoJson:
        return None
    return {name: value for name, value in said.items() if name != "$schema"}  # it is that of OpenAPI 3.1


def description(contracts: Contracts, *, url: str) -> dict[str, Any]:
    """The whole document. `url`: our address as partners know it, without a path."""
    paths = {**_own(), **_status(), **_mailboxes(), **_explain(), **_where()}
    for contract in contracts.contracts:
        if contract.rest and contract.peer_to_peer != "where":
            paths[f"/rest/{contract.dienst}/{contract.versie}"] = {"post": _hand_in(contract)}
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Koppelpunt",
            "version": VERSION,
            "summary": "Hand in, ask what became of it, empty mailboxes, see whether schools are ready.",
            "description": "Mutual TLS (1.2 or 1.3). The OIN in the client certificate says which system asks; it sees its own only.",
            "license": {"name": "EUPL-1.2", "identifier": "EUPL-1.2"},
        },
        "servers": [{"url": url}],
        "security": [{"certificate": []}],
        "tags": [{"name": name} for name in ("hand in", "status", "mailboxes", "readiness", "peer to peer", "description")],
        "paths": paths,
        "components": {
            "securitySchemes": {"certificate": {"type": "mutualTLS", "description": "With one OIN in subject.serialNumber."}},
            "schemas": SCHEMAS,
            "responses": {"Problem": problem_response()},
        },
    }


class OpenApiPages:
    """`GET /rest/openapi.json`, for which no certificate is needed: it says nothing that the documentation does not."""

    def __init__(self, document: Mapping[str, Any]) -> None:
        self._document = json.dumps(document, ensure_ascii=False).encode()

    def routes(self) -> Iterable[web.RouteDef]:
        """See `https.Pages`."""
        return (web.get(PATH, self._answer),)

    async def _answer(self, request: web.Request) -> web.Response:
        return web.Response(body=self._document, content_type="application/json")


# -- paths ---------------------------------------------------------------------------------------------------------------------------------


def _own() -> dict[str, Any]:
    answer = {"200": json_answer("This description.", {"type": "object"})}
    described = {"operationId": "openapi", "tags": ["description"], "summary": "This description", "security": [], "responses": answer}
    return {PATH: {"get": described}}


def _status() -> dict[str, Any]:
    most = rest_status.MOST
    return {
        "/rest/status": {
            "get": operation(
                "status",
                "status",
                "What became of a message, or of a refused hand-in",
                [
                    query("reference", text("Ours, from the receipt."), "Give exactly one of reference, message-id and business-id."),
                    query("message-id", text("wsa:MessageID.")),
                    query("business-id", text("identificatiecodeBedrijfsdocument.")),
                    query("sender", _OIN, "With business-id: only of this sender."),
                ],
                json_answer("What there is, oldest first; empty when there is nothing of yours.", ref("Messages")),
            )
        },
        "/rest/changes": {
            "get": operation(
                "changes",
                "status",
                "Everything that changed since a cursor, as it stands now",
                [
                    query("since", text("`next` of the page before, or `newest`."), "Left out: from the beginning."),
                    query("limit", number(1, most, most)),
                    _wait("change"),
                ],
                json_answer("A page of changes, in the order of the journal.", ref("Changes")),
            )
        },
    }


def _mailboxes() -> dict[str, Any]:
    delivery = in_path("delivery_id", {"type": "string", "pattern": "^[0-9A-Za-z-]{1,64}$"})
    headers = ("Delivery-Id", "Message-Id", "Received-At", "Dienst", "Versie", "Routeringskenmerk", "Attempt")
    envelope = {
        "description": "The signed envelope, byte for byte as the AMQP mailbox has it. Verify it at Received-At.",
        "headers": {name: {"required": True, "schema": {"type": "string"}} for name in headers},
        "content": {"text/xml": {"schema": {"type": "string"}}},
    }
    refusal = {"required": True, "content": {"application/json": {"schema": ref("Refusal")}}}
    confirmation = {"required": False, "content": {"application/json": {"schema": ref("Confirmation")}}}
    heard = json_answer("What was said stands.", ref("Heard"))
    return {
        "/rest/mailboxes": {
            "get": operation(
                "mailboxes",
                "mailboxes",
                "Every mailbox you may empty today",
                [],
                json_answer("One for each endpoint with a mailbox.", ref("Mailboxes")),
            )
        },
        "/rest/mailbox": {
            "get": operation(
                "letters",
                "mailboxes",
                "What stands in your mailboxes, oldest first",
                [
                    query("dienst", text("Code of the dienst.")),
                    query("versie", text("Version of the dienst.")),
                    query("routeringskenmerk", _OIN, "Of an administration, or the organisation's OIN."),
                    query("limit", number(1, rest_mailbox.MOST, rest_mailbox.FEW)),
                    _wait("delivery"),
                ],
                json_answer("Deliveries to be confirmed or refused.", ref("Letters")),
            )
        },
        "/rest/mailbox/{delivery_id}": {
            "get": operation("fetch", "mailboxes", "Fetch a delivery; journalled as seen", [delivery], envelope)
        },
        "/rest/mailbox/{delivery_id}/confirm": {
            "post": operation("confirm", "mailboxes", "Confirm a delivery", [delivery], heard, body=confirmation)
        },
        "/rest/mailbox/{delivery_id}/refuse": {
            "post": operation("refuse", "mailboxes", "Refuse a delivery, with a reason", [delivery], heard, body=refusal)
        },
    }


def _explain() -> dict[str, Any]:
    answer = json_answer("How things are for each school.", ref("Readiness"))
    question = {"required": True, "content": {"application/json": {"schema": ref("Question")}}}
    day = {"type": "string", "format": "date"}
    return {
        "/rest/explain": {
            "get": operation(
                "explainAll",
                "readiness",
                "Are certificate, mandate and endpoint right for every school that ever gave you a mandate?",
                [
                    query("dienst", text("Code of the dienst."), required=True),
                    query("versie", text("Version of the dienst."), required=True),
                    query("as-of", day, "Another day than today."),
                ],
                answer,
            ),
            "post": operation(
                "explain", "readiness", f"The same for up to {rest_explain.MOST:,} schools that you name", [], answer, body=question
            ),
        }
    }


def _where() -> dict[str, Any]:
    return {
        "/rest/where": {
            "get": operation(
                "where",
                "peer to peer",
                "Where do you deliver a message yourself, in a dienst that runs between systems?",
                [
                    query("dienst", text("Code of the dienst."), required=True),
                    query("versie", text("Version of the dienst."), required=True),
                    query("edu-from", _OIN, "The school for which you send, which has mandated you.", required=True),
                    query("edu-to", _OIN, "The receiver's OIN or routeringskenmerk.", required=True),
                ],
                json_answer("Where, or why nowhere now.", ref("Where")),
            )
        }
    }


def _hand_in(contract: Contract) -> dict[str, Any]:
    kinds = [schema for kind in contract.kinds.values() if (schema := _content(kind, contract)) is not None]
    as_json = {"application/json": {"schema": kinds[0] if len(kinds) == 1 else {"anyOf": kinds}}} if kinds else {}
    xml = {"schema": {"type": "string", "description": f"The root element, as the XSD has it (namespace {contract.namespace})."}}
    content = {
        "required": True,
        "description": f"At most {LARGEST:,} bytes.",
        "content": {**as_json, "application/xml": xml, "text/xml": xml},
    }
    key = {
        "name": "Idempotency-Key",
        "in": "header",
        "required": False,
        "description": "The same again with the same content is the same hand-in, and gets the same reference.",
        "schema": {"type": "string", "pattern": "^[\\x21-\\x7e]{1,200}$"},
    }
    place = {"Location": {"required": True, "description": "Where to ask what became of it.", "schema": {"type": "string"}}}
    return operation(
        f"handIn_{contract.dienst}_{contract.versie}".replace("-", "_").replace(".", "_"),
        "hand in",
        f"Hand in: {contract.name} ({contract.dienst} {contract.versie})",
        [
            query("edu-from", _OIN, "The school, or its routeringskenmerk.", required=True),
            query("edu-to", _OIN, "The receiver's OIN or routeringskenmerk.", required=True),
            key,
        ],
        json_answer("Durable and authorised; it says nothing about what the receiver will make of it.", ref("Receipt"))
        | {"headers": place},
        body=content,
        status="201",
    )


def _wait(what: str) -> dict[str, Any]:
    return query("wait", number(0, LONGEST_WAIT, 0), f"Seconds to wait for the first {what}, when there is none yet.")
