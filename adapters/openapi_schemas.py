"""What is said and answered under `/rest`, as JSON Schema (2020-12), for the OpenAPI description."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from adapters import rest_explain
from schemas.faults import CODES, Owner
from schemas.lifecycle import DeliveryState, MessageState
from schemas.openapi import Schema, all_of, array, maybe, ref, text

_TEXT: Final[Schema] = {"type": "string"}
_MOMENT: Final[Schema] = {"type": "string", "format": "date-time"}
_COUNT: Final[Schema] = {"type": "integer", "minimum": 0}
_BOOL: Final[Schema] = {"type": "boolean"}
_AGAIN: Final = "Once it was returned: whether the source is to hand it in again, with a new business id."
_OIN: Final = ref("Oin")
_CODE: Final = ref("Code")
_OWNER: Final = ref("Owner")
_WRONG: Final[Mapping[str, Schema]] = {
    "code": maybe(_CODE),
    "owner": maybe(_OWNER),
    "title": maybe(_TEXT),
    "title_en": maybe(_TEXT),
    "remedy": maybe(_TEXT),
    "remedy_en": maybe(_TEXT),
    "reason": maybe(_TEXT),
}

SCHEMAS: Final[Mapping[str, Schema]] = {
    "Oin": {"type": "string", "pattern": "^[0-9]{8}[0-9A-Z]{12}$", "description": "OIN, or routeringskenmerk, of 20 positions."},
    "Code": {"type": "string", "enum": sorted(CODES), "description": "What is wrong."},
    "Owner": {"type": "string", "enum": [str(owner) for owner in Owner], "description": "Whose turn it is."},
    "Problem": all_of(
        {
            "type": {"type": "string", "format": "uri"},
            "title": _TEXT,
            "title_en": _TEXT,
            "status": {"type": "integer", "minimum": 400, "maximum": 599},
            "detail": _TEXT,
            "code": _CODE,
            "owner": _OWNER,
            "remedy": _TEXT,
            "remedy_en": _TEXT,
            "retry": {**_BOOL, "description": "Whether the same may succeed later, unchanged."},
            "where": _TEXT,
            "errors": array(_TEXT),
            "reference": _TEXT,
        },
        optional=("where", "errors", "reference"),
        about="RFC 9457. `title` and `remedy` are in Dutch.",
    ),
    "Receipt": all_of(
        {
            "reference": {**_TEXT, "description": "Ours; the same again for the same message."},
            "received_at": {**_MOMENT, "description": "Of the first hand-in."},
            "accepted": {"const": True},
            "warnings": array(_TEXT),
            "message_id": maybe(_TEXT),
        }
    ),
    # status
    "Messages": all_of({"messages": array(ref("Message"))}),
    "Changes": all_of(
        {
            "messages": array(ref("Message")),
            "next": {**_TEXT, "description": "Cursor: `since` of the next question. Opaque."},
            "more": {**_BOOL, "description": "Whether there is another page already."},
        }
    ),
    "Message": all_of(
        {
            "reference": _TEXT,
            "message_id": maybe(_TEXT),
            "business_id": maybe(_TEXT),
            "sender": maybe(_OIN),
            "dienst": maybe(_TEXT),
            "versie": maybe(_TEXT),
            "bericht": maybe(_TEXT),
            "received_at": _MOMENT,
            "state": {"type": "string", "enum": [*map(str, MessageState), "refused"]},
            **_WRONG,
            "errors": {**array(_TEXT), "description": "Of a refusal: every mistake in the content."},
            "warnings": array(_TEXT),
            "deliver_again": {**maybe(_BOOL), "description": _AGAIN},
            "deliveries": array(ref("Delivery")),
        },
        about="A message with a delivery for each receiver, or a refused hand-in.",
    ),
    "Delivery": all_of(
        {
            "delivery_id": _TEXT,
            "target": _TEXT,
            "receiver": _OIN,
            "state": {"type": "string", "enum": [*map(str, DeliveryState), "waiting"]},
            **_WRONG,
            "attempts": _COUNT,
            "changed_at": _MOMENT,
            "delivered_at": maybe(_MOMENT),
            "deadline": _MOMENT,
            "deliver_again": {**maybe(_BOOL), "description": _AGAIN},
        }
    ),
    # mailboxes
    "Mailboxes": all_of({"mailboxes": array(ref("Mailbox"))}),
    "Mailbox": all_of(
        {
            "organisation": _OIN,
            "name": _TEXT,
            "routeringskenmerk": maybe(_OIN),
            "dienst": _TEXT,
            "versie": _TEXT,
            "open": {**_COUNT, "description": "Deliveries to be confirmed or refused."},
            "overdue": {**_COUNT, "description": "Not fetched in time: failed, but confirming still ends them well."},
            "oldest_at": maybe(_MOMENT),
        }
    ),
    "Letters": all_of({"deliveries": array(ref("Letter"))}),
    "Letter": all_of(
        {
            "delivery_id": _TEXT,
            "received_at": {**_MOMENT, "description": "When it was handed in; verify the envelope at this moment."},
            "delivered_at": _MOMENT,
            "dienst": _TEXT,
            "versie": _TEXT,
            "bericht": _TEXT,
            "routeringskenmerk": {**_OIN, "description": "For whom it is."},
            "sender": _OIN,
            "message_id": _TEXT,
            "size": {**_COUNT, "description": "Bytes, as it was handed in."},
            "attempt": _COUNT,
            "overdue": _BOOL,
        }
    ),
    "Confirmation": {"type": "object", "additionalProperties": False, "properties": {"reason": maybe(_TEXT)}},
    "Refusal": {
        "type": "object",
        "required": ["reason"],
        "additionalProperties": False,
        "properties": {
            "reason": {
                "type": "string",
                "minLength": 1,
                "maxLength": 2_000,
                "description": "not_our_resident, not_enrolled, unreadable or double; or in your own words, without names.",
            }
        },
    },
    "Heard": all_of(
        {
            "delivery_id": _TEXT,
            "counted": {**_BOOL, "description": "False: you had said so already."},
            "state": {"type": "string", "enum": [str(state) for state in DeliveryState]},
            "code": maybe(_CODE),
        }
    ),
    # readiness
    "Question": {
        "type": "object",
        "required": ["dienst", "versie", "schools"],
        "additionalProperties": False,
        "properties": {
            "dienst": text("Code of the dienst."),
            "versie": text("Version of the dienst."),
            "schools": {**array(_OIN), "minItems": 1, "maxItems": rest_explain.MOST},
            "as_of": {"type": ["string", "null"], "format": "date", "description": "Another day than today."},
        },
    },
    "Readiness": all_of(
        {
            "system": _OIN,
            "dienst": _TEXT,
            "versie": _TEXT,
            "as_of": {"type": "string", "format": "date"},
            "register_version": _COUNT,
            "version": ref("Check"),
            "schools": array(ref("School")),
        }
    ),
    "Where": all_of(
        {
            "dienst": _TEXT,
            "versie": _TEXT,
            "carried": {**_BOOL, "description": "Whether it may be handed in here too."},
            "register_version": _COUNT,
            "url": {**maybe(_TEXT), "description": "Null: nowhere now, or (with a system) in a mailbox here."},
            "system": {**maybe(_OIN), "description": "The OIN in the certificate that you must meet there."},
            "address": {**maybe(_TEXT), "description": "What wsa:To begins with, without oin; null: the anonymous address."},
            "until": {**maybe({"type": "string", "format": "date"}), "description": "The last day of this endpoint, where it has one."},
            "endpoint": ref("Check"),
        }
    ),
    "School": all_of(
        {
            "organisation": _OIN,
            "name": maybe(_TEXT),
            "sends": _BOOL,
            "receives": _BOOL,
            "certificate": ref("Check"),
            "mandate": ref("Check"),
            "endpoint": ref("Check"),
        }
    ),
    "Check": all_of(
        {
            "ok": _BOOL,
            "rule": _TEXT,
            "code": maybe(_CODE),
            "owner": maybe(_OWNER),
            "nl": _TEXT,
            "en": _TEXT,
            "remedy": maybe(_TEXT),
            "remedy_en": maybe(_TEXT),
        }
    ),
}
