"""What REST answers when something is wrong: `application/problem+json` (RFC 9457), with the same code, owner and remedy as elsewhere."""

from __future__ import annotations

import json
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final

from aiohttp import web

from schemas.faults import Cause, Fault
from schemas.openapi import CODE_TYPE, PROBLEM

#: Seconds after which a sender that came too often, or at a bad moment, is asked to come again.
COME_AGAIN_S: Final = 2
CONTENT_TYPE: Final = PROBLEM
TYPE: Final = CODE_TYPE
_STATUS: Final[Mapping[Cause, int]] = MappingProxyType(
    {
        Cause.CERT: 401,
        Cause.AUTH: 403,
        Cause.SCHEMA: 400,
        Cause.CONTENT: 422,
        Cause.DUPLICATE: 409,
        Cause.ROUTE: 422,
        Cause.RECEIVER: 422,
        Cause.EXPIRED: 410,
        Cause.TRANSPORT: 503,
        Cause.INTERNAL: 503,
    }
)
#: Codes whose status is not that of their cause.
_STATUS_OF_CODE: Final[Mapping[str, int]] = MappingProxyType({"Client.TOO_LARGE": 413, "DELIVERY_UNKNOWN": 404})


def here(text: str) -> str:
    """The words of REST for what a code, which is of WUS too, calls by its header."""
    return text.replace("wsa:To", "edu-to").replace("wsa:From", "edu-from")


def status_of(fault: Fault) -> int:
    """The HTTP status of a fault: 503 for what may succeed unchanged; 413, 415 or 404 for what is too large, of another type than is
    taken, or at a path where there is no dienst or delivery; else by the cause of its code."""
    if fault.kind.retry:
        return 503
    if fault.code in _STATUS_OF_CODE:
        return _STATUS_OF_CODE[fault.code]
    if fault.where == "Content-Type" or (fault.where == "Content-Encoding" and fault.code == "Client.DK0009"):
        return 415
    return 404 if (fault.code, fault.where) == ("UNKNOWN_DIENST", "path") else _STATUS[fault.kind.cause]


def document(fault: Fault, *, reference: str | None = None) -> dict[str, Any]:
    """The answer's members: Dutch first, as everywhere. No content of the message and no personal numbers (a Fault has none)."""
    remedy_nl, remedy_en = fault.remedy
    said: dict[str, Any] = {
        "type": TYPE + fault.code,
        "title": here(fault.kind.nl),
        "title_en": here(fault.kind.en),
        "status": status_of(fault),
        "detail": fault.reason,
        "code": fault.code,
        "owner": str(fault.owner),
        "remedy": here(remedy_nl or ""),
        "remedy_en": here(remedy_en or ""),
        "retry": fault.kind.retry,
    }
    if fault.where:
        said["where"] = fault.where
    if fault.details:
        said["errors"] = list(fault.details)
    if reference:
        said["reference"] = reference
    return said


def response(fault: Fault, *, reference: str | None = None, status: int | None = None) -> web.Response:
    """The answer, with Retry-After where coming again makes sense. `status`: another than the fault's own, such as 404."""
    said = document(fault, reference=reference)
    if status is not None:
        said["status"] = status
    headers = {"Retry-After": str(COME_AGAIN_S)} if fault.kind.retry else {}
    return web.Response(
        status=said["status"], body=json.dumps(said, ensure_ascii=False).encode(), content_type=CONTENT_TYPE, headers=headers
    )
