"""What the API answers when something is wrong: `application/problem+json` (RFC 9457), in Dutch and in English."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final

from aiohttp import web

from routing.said import Said
from schemas.openapi import CODE_TYPE, PROBLEM
from schemas.privacy import plain, redact

#: (field, Dutch, English)
Mistake = tuple[str, str, str]


@dataclass(frozen=True, slots=True)
class _Said:
    """What is always true of a status."""

    code: str  #: the same for the same kind of mistake, for programs
    title: tuple[str, str]
    what: tuple[str, str]


_STATUSES: Final[Mapping[int, _Said]] = MappingProxyType(
    {
        400: _Said(
            "REQUEST_INVALID",
            ("Dit verzoek klopt niet", "This request is not right"),
            ("Zie de beschrijving, /api/v1/openapi.json.", "See the description, /api/v1/openapi.json."),
        ),
        401: _Said(
            "TOKEN_REQUIRED",
            ("Geen geldig token", "No valid token"),
            (
                "Geef `Authorization: Bearer` met een token dat nog geldt; de beheerder maakt er een met `run.py account tokens`.",
                "Give `Authorization: Bearer` with a token that still counts; the operator makes one with `run.py account tokens`.",
            ),
        ),
        403: _Said(
            "NOT_PERMITTED",
            ("Dit mag dit token niet", "This token may not do this"),
            (
                "Uw rol laat dit niet toe; /api/v1/me zegt wat wel.",
                "Your role does not allow it; /api/v1/me says what it does.",
            ),
        ),
        404: _Said(
            "NOT_FOUND",
            ("Niet gevonden", "Not found"),
            ("Hier is niets, of niets dat dit token mag zien.", "Nothing is here, or nothing that this token may see."),
        ),
        405: _Said(
            "METHOD_NOT_ALLOWED",
            ("Dit kan hier niet", "That cannot be done here"),
            ("Allow zegt met welke methode het kan.", "Allow says with which method it can."),
        ),
        409: _Said(
            "CANNOT_BE_DONE",
            ("Dit kan zo niet", "This cannot be done so"),
            ("Zoals het er nu voor staat, kan dit niet.", "As things stand, this cannot be done."),
        ),
        413: _Said(
            "TOO_LARGE",
            ("Te groot", "Too large"),
            ("Stuur minder tegelijk: ten hoogste 256 KiB.", "Send less at a time: at most 256 KiB."),
        ),
        415: _Said(
            "NOT_JSON",
            ("Dit is geen JSON", "This is not JSON"),
            ("Stuur JSON, met `Content-Type: application/json`.", "Send JSON, with `Content-Type: application/json`."),
        ),
        429: _Said(
            "TOO_OFTEN",
            ("Te vaak", "Too often"),
            ("Retry-After zegt over hoeveel seconden het weer mag.", "Retry-After says after how many seconds it may be again."),
        ),
        500: _Said(
            "FAILED",
            ("Er ging hier iets mis", "Something went wrong here"),
            (
                "De beheerder ziet dit in zijn logboek. Er is niets half gedaan.",
                "The operator finds it in the log. Nothing was done by half.",
            ),
        ),
        503: _Said(
            "STORE_UNAVAILABLE",
            ("De gegevens zijn nu niet bereikbaar", "The data cannot be reached now"),
            ("Kom over enkele seconden terug.", "Come again in a few seconds."),
        ),
    }
)


class Problem(Exception):
    """A request that is not done, and what whoever asked is told."""

    def __init__(
        self,
        status: int,
        *,
        nl: str = "",
        en: str = "",
        errors: Sequence[Mistake] = (),
        headers: Mapping[str, str] | None = None,
    ) -> None:
        """`nl`, `en`: what is wrong with this very request, and what to do; without them what is always true of the status.
        `errors`: each field that is wrong, and how."""
        super().__init__(en)
        self.status, self.nl, self.en = status, nl, en
        self.errors, self.headers = list(errors), dict(headers or {})

    @property
    def _always(self) -> _Said:
        return _STATUSES.get(self.status) or _STATUSES[400 if self.status < 500 else 500]

    def document(self) -> dict[str, Any]:
        """The answer's members. Nothing in it may be a personal number, whatever was asked."""
        always = self._always
        said = {
            "type": CODE_TYPE + always.code,
            "title": always.title[1],
            "title_nl": always.title[0],
            "status": self.status,
            "detail": _safe(self.en or always.what[1]),
            "detail_nl": _safe(self.nl or always.what[0]),
            "code": always.code,
        }
        if self.errors:
            said["errors"] = [{"field": _safe(name), "reason": _safe(en), "reason_nl": _safe(nl)} for name, nl, en in self.errors]
        return said

    def response(self) -> web.Response:
        """The answer."""
        body = json.dumps(self.document(), ensure_ascii=False).encode()
        return web.Response(status=self.status, body=body, content_type=PROBLEM, headers={"Cache-Control": "no-store", **self.headers})


def _safe(said: str) -> str:
    return plain(redact(said))


def invalid(*errors: Mistake) -> Problem:
    """The request itself is not as it must be."""
    names = ", ".join(name for name, _, _ in errors)
    return Problem(
        400,
        nl=f"Zie `errors`: {names}.",
        en=f"See `errors`: {names}.",
        errors=errors,
    )


def not_found() -> Problem:
    """There is no such thing, or not for this account: nobody can tell which."""
    return Problem(404)


def cannot(said: Said) -> Problem:
    """It cannot be done as things stand."""
    return Problem(409, nl=said.nl, en=said.en)
