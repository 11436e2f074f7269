"""Is the connected system ready for its schools? Certificate, mandate and endpoint of hundreds of schools in one question."""

from __future__ import annotations

import json
import ssl
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, date, datetime
from typing import Any, Final

from aiohttp import web

from adapters.https import read_body
from adapters.rest_party import Asked, Visits, as_json, wrong
from routing.amsterdam import amsterdam_day
from routing.readiness import readiness, to_dict
from routing.register import Register
from schemas.oin import Oin, is_oin

#: Schools in one question.
MOST: Final = 1_000


class ExplainPages:
    """`/rest/explain`."""

    def __init__(self, register: Callable[[], Register], visits: Visits, today: Callable[[], date]) -> None:
        """`register`: raises StoreUnavailable."""
        self._register, self._visits, self._today = register, visits, today

    def routes(self) -> Iterable[web.RouteDef]:
        """See `https.Pages`."""
        return (web.get("/rest/explain", self._all, allow_head=False), web.post("/rest/explain", self._these))

    async def _all(self, request: web.Request) -> web.Response:
        async def act(system: Oin) -> web.Response:
            asked = Asked(request, "dienst", "versie", "as-of")
            return await self._explain(request, system, asked.must("dienst"), asked.must("versie"), asked.text("as-of"), None)

        return await self._visits.answer(request, act)

    async def _these(self, request: web.Request) -> web.Response:
        async def act(system: Oin) -> web.Response:
            Asked(request)
            said = _question(await read_body(request))
            return await self._explain(request, system, said["dienst"], said["versie"], said.get("as_of"), _schools(said.get("schools")))

        return await self._visits.answer(request, act)

    async def _explain(
        self, request: web.Request, system: Oin, dienst: str, versie: str, as_of: str | None, schools: Sequence[Oin] | None
    ) -> web.Response:
        day, until = self._today() if as_of is None else _day(as_of), _last_day(request)

        def act() -> dict[str, Any]:
            found = readiness(
                self._register(), system=system, dienst=dienst, versie=versie, day=day, schools=schools, certificate_until=until
            )
            return to_dict(found)

        return as_json(await self._visits.aside(act))


def _question(body: bytes) -> dict[str, Any]:
    """Raises Refused."""
    try:
        said = json.loads(body)
    except (ValueError, RecursionError):
        raise wrong("the body is not JSON", where="body") from None
    if not isinstance(said, dict) or not said.keys() <= {"dienst", "versie", "schools", "as_of"}:
        raise wrong("the body must be an object with dienst, versie, schools and perhaps as_of, and nothing else", where="body")
    for name in ("dienst", "versie"):
        if not isinstance(said.get(name), str) or not 0 < len(said[name]) <= 200 or not said[name].isprintable():
            raise wrong("it must be a text of 1 to 200 characters", where=name)
    if not isinstance(said.get("as_of"), str | None):
        raise wrong("it must be a day, as YYYY-MM-DD", where="as_of")
    return said


def _schools(given: Any) -> list[Oin]:
    """Raises Refused."""
    if not isinstance(given, list) or not 0 < len(given) <= MOST:
        raise wrong(f"it must be a list of 1 to {MOST:,} OINs", where="schools")
    for place, oin in enumerate(given):
        if not isinstance(oin, str) or not is_oin(oin):
            raise wrong("it is not an OIN of 20 positions", where=f"schools[{place}]")
    return [Oin(oin) for oin in given]


def _day(text: str) -> date:
    """Raises Refused."""
    try:
        if len(text) != len("2027-08-01"):
            raise ValueError
        return date.fromisoformat(text)
    except ValueError:
        raise wrong("it must be a day, as YYYY-MM-DD", where="as_of") from None


def _last_day(request: web.Request) -> date | None:
    """Of the certificate that this connection was made with."""
    peer = request.transport.get_extra_info("peercert") if request.transport else None
    if not peer or "notAfter" not in peer:
        return None
    return amsterdam_day(datetime.fromtimestamp(ssl.cert_time_to_seconds(peer["notAfter"]), UTC))
