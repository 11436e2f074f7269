"""What the register's API answers when something is wrong: `application/problem+json` (RFC 9457), with the sources' words as its title.

Source: domain facts 1.3 (400 "Validation error(s)", 404 "Service with id {id} does not exist"). The statuses 401, 403, 409 and 429 and the
members of the document are ours.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

from aiohttp import web

from adapters import problem
from adapters.problem import COME_AGAIN_S
from schemas.faults import Fault
from schemas.privacy import redact

VALIDATION: Final = "Validation error(s)"


class Wrong(Exception):
    """A request that is not done, and what its sender is told."""

    def __init__(
        self,
        status: int,
        code: str,
        title: str,
        *,
        en: str = "",
        nl: str = "",
        errors: Sequence[tuple[str, str]] = (),
        conflict: Mapping[str, Any] | None = None,
        retry_after: int | None = None,
    ) -> None:
        """`title`: as in the sources. `en`, `nl`: what is wrong with this very request, and what to do. `errors`: each field, and what is
        wrong with it. `conflict`: the row of the register that is in the way. `retry_after`: seconds."""
        super().__init__(title)
        self.status, self.code, self.title, self.en, self.nl = status, code, redact(title), redact(en), redact(nl)
        self.errors = [{"field": redact(field), "reason": redact(reason)} for field, reason in errors]
        self.conflict, self.retry_after = conflict, retry_after


def invalid(*errors: tuple[str, str]) -> Wrong:
    """The request itself is not as it must be."""
    return Wrong(
        400,
        "REQUEST_INVALID",
        VALIDATION,
        en="; ".join(f"{field}: {reason}" for field, reason in errors),
        nl="Het verzoek is onjuist; `errors` noemt elk veld.",
        errors=errors,
    )


def not_found(title: str, en: str = "", nl: str = "") -> Wrong:
    """There is no such thing."""
    return Wrong(404, "REGISTER_UNKNOWN", title, en=en or f"{title}.", nl=nl or "Dit staat niet in het serviceregister.")


def document(wrong: Wrong) -> dict[str, Any]:
    """The answer's members."""
    said: dict[str, Any] = {
        "type": problem.TYPE + wrong.code,
        "title": wrong.title,
        "status": wrong.status,
        "detail": wrong.en or f"{wrong.title}.",
        "detail_nl": wrong.nl,
        "code": wrong.code,
    }
    if wrong.errors:
        said["errors"] = wrong.errors
    if wrong.conflict is not None:
        said["conflict"] = dict(wrong.conflict)
    return said


def of_fault(fault: Fault) -> Wrong:
    """What all pages may meet (a certificate, a size, a store that is away), in the shape of this API."""
    status = problem.status_of(fault)
    errors = [(fault.where or "request", fault.reason)] if status == 400 else []
    return Wrong(
        status,
        fault.code,
        VALIDATION if status == 400 else fault.kind.en,
        en=f"{fault.reason}. {fault.kind.remedy_en}",
        nl=f"{fault.kind.nl}. {fault.kind.remedy_nl}",
        errors=errors,
        retry_after=COME_AGAIN_S if fault.kind.retry else None,
    )


def response(wrong: Wrong) -> web.Response:
    """The answer; nobody between us and the caller is to keep it."""
    headers = {"Cache-Control": "no-store"}
    if wrong.retry_after is not None:
        headers["Retry-After"] = str(wrong.retry_after)
    body = json.dumps(document(wrong), ensure_ascii=False).encode()
    return web.Response(status=wrong.status, body=body, content_type=problem.CONTENT_TYPE, headers=headers)
