"""Mailboxes over REST, for parties without AMQP and without an endpoint: list, fetch, confirm, refuse. Modelled on NHS MESH."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from typing import Any, Final

from aiohttp import web

from adapters.https import OUTCOME, read_body
from adapters.rest_party import LONGEST_WAIT, Asked, Visits, as_json, moment, wrong
from routing.party import Letter, MailboxLine, Said, WordHeard
from routing.ports import Postbox
from schemas.faults import Fault, OurFailure, Refused
from schemas.oin import Oin

#: Deliveries in one list: all that a mailbox shows at once.
MOST: Final = 1_000
FEW: Final = 100
_DELIVERY: Final = re.compile(r"[0-9A-Za-z-]{1,64}\Z")
_HEADERS: Final = ("delivery_id", "received_at", "dienst", "versie", "routeringskenmerk", "attempt")


class MailboxPages:
    """`/rest/mailboxes` and `/rest/mailbox`."""

    def __init__(self, postbox: Postbox, visits: Visits) -> None:
        self._postbox, self._visits = postbox, visits

    def routes(self) -> Iterable[web.RouteDef]:
        """See `https.Pages`."""
        return (
            web.get("/rest/mailboxes", self._mailboxes, allow_head=False),
            web.get("/rest/mailbox", self._letters, allow_head=False),
            web.get("/rest/mailbox/{delivery_id}", self._fetch, allow_head=False),
            web.post("/rest/mailbox/{delivery_id}/confirm", self._confirm),
            web.post("/rest/mailbox/{delivery_id}/refuse", self._refuse),
        )

    async def _mailboxes(self, request: web.Request) -> web.Response:
        async def act(system: Oin) -> web.Response:
            Asked(request)
            lines = await self._visits.aside(lambda: self._postbox.mailboxes(system))
            return as_json({"mailboxes": [_line(line) for line in lines]})

        return await self._visits.answer(request, act)

    async def _letters(self, request: web.Request) -> web.Response:
        def asked() -> Asked:
            return Asked(request, "dienst", "versie", "routeringskenmerk", "limit", "wait")

        def look(system: Oin) -> list[Letter]:
            wanted = asked()
            return self._postbox.letters(
                system,
                dienst=wanted.text("dienst"),
                versie=wanted.text("versie"),
                receiver=wanted.oin("routeringskenmerk"),
                limit=wanted.number("limit", most=MOST, default=FEW, least=1),
            )

        return await self._visits.answer_when(
            request,
            look,
            wait_s=lambda: asked().number("wait", most=LONGEST_WAIT, default=0),
            enough=bool,
            show=lambda letters: as_json({"deliveries": [_letter(letter) for letter in letters]}),
        )

    async def _fetch(self, request: web.Request) -> web.Response:
        async def act(system: Oin) -> web.Response:
            Asked(request)
            delivery_id = _id(request)
            opened = await self._visits.aside(lambda: self._postbox.fetch(system, delivery_id))
            if opened is None:
                raise _unknown()
            OUTCOME.get().reference = opened.reference
            headers = {"-".join(part.capitalize() for part in name.split("_")): opened.headers[name] for name in _HEADERS}
            headers |= {"Message-Id": opened.message_id, "Content-Type": "text/xml; charset=utf-8", "Cache-Control": "no-store"}
            return web.Response(body=opened.body, headers=headers)

        return await self._visits.answer(request, act)

    async def _confirm(self, request: web.Request) -> web.Response:
        return await self._say(request, confirmed=True)

    async def _refuse(self, request: web.Request) -> web.Response:
        return await self._say(request, confirmed=False)

    async def _say(self, request: web.Request, *, confirmed: bool) -> web.Response:
        async def act(system: Oin) -> web.Response:
            Asked(request)
            reason, delivery_id = _reason(await read_body(request)), _id(request)
            if not confirmed and not reason:
                raise wrong('say why: {"reason": "…"}', where="reason")
            try:
                heard = await self._visits.aside(lambda: self._postbox.say(system, delivery_id, confirmed=confirmed, reason=reason))
            except ValueError:
                raise _unknown() from None
            return _answer(delivery_id, heard)

        return await self._visits.answer(request, act)


def _id(request: web.Request) -> str:
    """The delivery that the path names. Raises Refused for what is no id that we give: it names none, and is not looked for."""
    given = request.match_info["delivery_id"]
    if not _DELIVERY.match(given):
        raise _unknown()
    return given


def _reason(body: bytes) -> str | None:
    """What a confirmation or refusal says besides; nothing at all is an empty object. Raises Refused."""
    try:
        said = json.loads(body or b"{}")
    except (ValueError, RecursionError):
        raise wrong("the body is not JSON", where="body") from None
    if not isinstance(said, dict) or not said.keys() <= {"reason"} or not isinstance(said.get("reason"), str | None):
        raise wrong('the body must be an object with at most "reason", a text', where="body")
    reason = said.get("reason")
    if reason is not None and len(reason) > 2_000:
        raise wrong("it must have at most 2,000 characters", where="reason")
    return reason


def _answer(delivery_id: str, heard: WordHeard) -> web.Response:
    """Raises Refused (DELIVERY_UNKNOWN, DELIVERY_FINISHED) or OurFailure."""
    if heard.said is Said.UNKNOWN:
        raise _unknown()
    if heard.said is Said.EARLY:
        raise OurFailure("this delivery is put in the mailbox at this moment; say it again", where="delivery_id")
    if heard.said is Said.FINISHED:
        how = f"{heard.state}{f' ({heard.code})' if heard.code else ''}"
        raise Refused("DELIVERY_FINISHED", f"it is {how} already, so this changed nothing", where="delivery_id")
    return as_json({"delivery_id": delivery_id, "counted": heard.said is Said.COUNTED, "state": heard.state, "code": heard.code})


def _unknown() -> Fault:
    """One answer for what does not exist and for what is another's."""
    return Refused("DELIVERY_UNKNOWN", "no such delivery stands in a mailbox of yours", where="delivery_id")


def _line(line: MailboxLine) -> dict[str, Any]:
    return {
        "organisation": line.organisation,
        "name": line.name,
        "routeringskenmerk": line.routeringskenmerk,
        "dienst": line.dienst,
        "versie": line.versie,
        "open": line.open,
        "overdue": line.overdue,
        "oldest_at": moment(line.oldest_us),
    }


def _letter(letter: Letter) -> dict[str, Any]:
    return {
        "delivery_id": letter.delivery_id,
        "received_at": moment(letter.received_us),
        "delivered_at": moment(letter.delivered_us),
        "dienst": letter.dienst,
        "versie": letter.versie,
        "bericht": letter.bericht,
        "routeringskenmerk": letter.receiver,
        "sender": letter.sender,
        "message_id": letter.message_id,
        "size": letter.size,
        "attempt": letter.attempt,
        "overdue": letter.overdue,
    }
