"""The register's rows as its API shows them, and what it takes: names as in the sources (domain facts 1.1 and 1.3), ours marked in
docs/register-api.md."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import date
from typing import Any, Final, TypeVar
from urllib.parse import quote

from aiohttp import web

from adapters.osr_problem import invalid
from routing.register import Board, DienstVersion, Endpoint, Mandate, Organisation
from schemas.oin import BRIN_SHAPE, is_oin

T = TypeVar("T")

BASE: Final = "/osr/api/v2"
#: Characters of a text in a question or a body.
LONGEST: Final = 200
LONGEST_URL: Final = 2_000
_DAY: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}\Z")
_TOKEN: Final = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\Z", re.IGNORECASE)
#: What no text may hold: control characters, and halves of characters that no file can be written with.
_CONTROL: Final = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
#: Attributes of one endpoint: labels that can stand in a list with commas.
MOST_ATTRIBUTES: Final = 20
_LABEL: Final = re.compile(r"[\x21-\x2b\x2d-\x7e]{1,40}\Z")


def _link(*path: str) -> dict[str, str]:
    return {"href": "/".join((BASE, *(quote(part, safe="") for part in path)))}


def _day(day: date | None) -> str | None:
    return day.isoformat() if day else None


def version_id(row: DienstVersion) -> str:
    """What a dienst version is called in a path; neither part has a colon."""
    return f"{row.dienst}:{row.versie}"


def school(row: Organisation) -> dict[str, Any]:
    """An onderwijsinstelling."""
    links = {"self": _link("schools", row.oin)}
    if row.board:
        links["board"] = _link("boards", row.board)
    return {"oin": row.oin, "brin": row.brin, "name": row.name, "oa_id": row.oa_id, "_links": links}


def board(row: Board) -> dict[str, Any]:
    """A bestuur."""
    return {"oin": row.oin, "name": row.name, "_links": {"self": _link("boards", row.oin)}}


def service(rows: Sequence[DienstVersion]) -> dict[str, Any]:
    """A dienst, from all its versions: name and description are those of the newest that has them."""
    code = rows[0].dienst
    name = next((row.name for row in reversed(rows) if row.name), code)
    description = next((row.description for row in reversed(rows) if row.description), "")
    return {"code": code, "name": name, "description": description, "_links": {"self": _link("services", code)}}


def service_version(row: DienstVersion, today: date) -> dict[str, Any]:
    """A dienst version; one that may not be used today is not active, whatever its status says."""
    return {
        "namespace": row.namespace,
        "status": row.status if row.covers(today) else "inactive",
        "service_code": row.dienst,
        "start_date": _day(row.start),
        "end_date": _day(row.until),
        "_links": {"self": _link("service-versions", version_id(row)), "service": _link("services", row.dienst)},
    }


def mandate(row: Mandate) -> dict[str, Any]:
    """A mandate with its token: for the mandated system only."""
    return {
        "token": row.token,
        "school_oin": row.organisation,
        "supplier_oin": row.system,
        "service_code": row.dienst,
        "start_date": _day(row.start),
        "end_date": _day(row.until),
        "revoked": row.revoked,
        "_links": {
            "self": _link("mandates", row.token or ""),
            "school": _link("schools", row.organisation),
            "service": _link("services", row.dienst),
        },
    }


def endpoint(row: Endpoint, version: DienstVersion) -> dict[str, Any]:
    """An endpoint."""
    return {
        "token": row.id,
        "routing_id": row.routeringskenmerk,
        "school_oin": row.organisation,
        "supplier_oin": row.system,
        "service_version_namespace": version.namespace,
        "url": row.url,
        "mailbox": row.url is None,
        "attributes": list(row.attributes),
        "start_date": _day(row.start),
        "end_date": _day(row.until),
        "_links": {
            "self": _link("endpoints", row.id),
            "school": _link("schools", row.organisation),
            "service_version": _link("service-versions", version_id(version)),
        },
    }


def as_json(said: Any, *, status: int = 200, headers: Mapping[str, str] | None = None) -> web.Response:
    """An answer; nobody between us and the caller is to keep it."""
    body = json.dumps(said, ensure_ascii=False, separators=(",", ":")).encode()
    kept = {"Cache-Control": "no-store", **(headers or {})}
    return web.Response(status=status, body=body, content_type="application/json", headers=kept)


def page(request: web.Request, rows: Sequence[T], limit: int, show: Callable[[T], Any], key: Callable[[T], str]) -> web.Response:
    """The first of these rows; when there are more, the header Link says where they are (RFC 8288)."""
    headers = {}
    if len(rows) > limit:
        following = request.rel_url.update_query({"after": key(rows[limit - 1])})
        headers["Link"] = f'<{following}>; rel="next"'
    return as_json([show(row) for row in rows[:limit]], headers=headers)


# -- what comes in -------------------------------------------------------------------------------------------------------------------------

#: Mistakes that are named in one answer, and parameters of a question.
MOST_ERRORS: Final = 20
MOST_PARAMETERS: Final = 30


class Fields:
    """Named values of a request, each read with its shape; everything that is wrong is collected, for one answer."""

    def __init__(self, given: Mapping[str, Any], known: Sequence[str], errors: list[tuple[str, str]] | None = None) -> None:
        self._given = given
        self.errors = [] if errors is None else errors
        for name in given:
            if name not in known:
                there = "; see the others" if self.errors else f"; there are: {', '.join(known) or 'none'}"
                self.wrong(str(name)[:40], f"there is no such field here{there}")
                if len(self.errors) >= MOST_ERRORS:  # a megabyte of names would be an answer of fifty
                    break

    def __contains__(self, name: str) -> bool:
        return name in self._given

    def check(self) -> None:
        """Raises Wrong when anything was wrong."""
        if self.errors:
            raise invalid(*self.errors)

    def wrong(self, name: str, reason: str) -> None:
        """Note a mistake, as long as anybody reads them."""
        if len(self.errors) < MOST_ERRORS:
            self.errors.append((name, reason))

    def _read(self, name: str, good: Callable[[str], bool], must: str, *, required: bool, most: int = LONGEST) -> str | None:
        value = self._given.get(name)
        if value is None:
            if required:
                self.wrong(name, "it is missing")
            return None
        if not (isinstance(value, str) and 0 < len(value) <= most and not _CONTROL.search(value) and good(value)):
            self.wrong(name, must)
            return None
        return value

    def text(
        self, name: str, *, required: bool = False, most: int = LONGEST, shape: re.Pattern[str] | None = None, must: str = ""
    ) -> str | None:
        """A text; `shape`: of this shape, as `must` says."""
        said = must or f"it must be a text of 1 to {most:,} characters, without control characters"
        return self._read(
            name, lambda value: bool(value.strip() and (shape is None or shape.match(value))), said, required=required, most=most
        )

    def oin(self, name: str, *, required: bool = False) -> str | None:
        """An OIN or routeringskenmerk."""
        must = "it must be an OIN or routeringskenmerk: 20 positions, eight digits and then twelve digits or capitals"
        return self._read(name, is_oin, must, required=required)

    def brin(self, name: str) -> str | None:
        """A BRIN."""
        return self._read(
            name, lambda value: BRIN_SHAPE.match(value) is not None, "it must be a BRIN: two digits and two capitals", required=False
        )

    def token(self, name: str) -> str | None:
        """A mandate token."""
        found = self._read(name, lambda value: _TOKEN.match(value) is not None, "it must be a mandate token: a UUID", required=False)
        return found.lower() if found else None

    def day(self, name: str) -> date | None:
        """A day."""
        found = self._read(name, _is_day, "it must be a day, as YYYY-MM-DD", required=False)
        return date.fromisoformat(found) if found else None

    def flag(self, name: str) -> bool:
        """`true` or `false`, of a question."""
        value = self._given.get(name)
        if value not in (None, "true", "false"):
            self.wrong(name, "it must be true or false")
        return value == "true"

    def yes(self, name: str) -> bool:
        """True where it is said, of a body; nothing else may be said."""
        value = self._given.get(name)
        if value is not None and value is not True:
            self.wrong(name, "it can only be true; leave it out otherwise")
        return value is True

    def number(self, name: str, least: int, most: int, default: int) -> int:
        """A whole number, of a question."""
        value = self._given.get(name)
        if value is None:
            return default
        if not (isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 10 and least <= int(value) <= most):
            self.wrong(name, f"it must be a whole number from {least:,} to {most:,}")
            return default
        return int(value)

    def quantity(self, name: str, least: float, most: float) -> float | None:
        """A number of a body; whole where `least` is. 2.0 is a whole number in JSON."""
        value = self._given.get(name)
        if value is None:
            return None
        whole = isinstance(least, int)
        if isinstance(value, bool) or not isinstance(value, int | float) or not least <= value <= most or (whole and value != int(value)):
            self.wrong(name, f"it must be a {'whole ' if whole else ''}number from {least:g} to {most:g}")
            return None
        return int(value) if whole else value

    def labels(self, name: str) -> tuple[str, ...]:
        """A list of different labels."""
        value = self._given.get(name)
        if value is None:
            return ()
        good = (
            isinstance(value, list) and len(value) <= MOST_ATTRIBUTES and all(isinstance(one, str) and _LABEL.match(one) for one in value)
        )
        if not good or len(set(value)) != len(value):
            self.wrong(name, f"it must be a list of at most {MOST_ATTRIBUTES} different labels: 1 to 40 of ASCII, without a comma or space")
            return ()
        return tuple(value)


def question(request: web.Request, *names: str) -> Fields:
    """The parameters behind the question mark. Raises Wrong when there are more than anything here has."""
    if len(request.query) > MOST_PARAMETERS:
        raise invalid(("query", f"it has more than {MOST_PARAMETERS} parameters"))
    asked = Fields(dict(request.query), names)
    for name in {name for name in request.query if len(request.query.getall(name)) > 1}:
        asked.wrong(name[:40], "it is given more than once")
    return asked


def token_in(request: web.Request) -> str | None:
    """The token in the path; None when it cannot be one."""
    token = request.match_info["token"]
    return token if len(token) <= LONGEST and token.isprintable() else None


def _is_day(text: str) -> bool:
    try:
        return _DAY.match(text) is not None and date.fromisoformat(text).year >= 1
    except ValueError:
        return False


def read_json(body: bytes) -> Any:
    """Raises Wrong."""
    try:
        return json.loads(body, parse_constant=_no_number, object_pairs_hook=_once)
    except (ValueError, RecursionError):
        raise invalid(("body", "it is not JSON in UTF-8, or an object in it names a member twice")) from None


def _no_number(name: str) -> Any:
    raise ValueError(name)


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) != len(pairs):
        raise ValueError("a member is named twice")
    return made
