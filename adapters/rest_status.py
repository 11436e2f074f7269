"""What became of a message, for the system that handed it in: by one of its ids, or everything that changed."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from aiohttp import web

from adapters.problem import here
from adapters.rest_party import LONGEST_WAIT, Asked, Visits, as_json, moment, wrong
from routing.party import Changes, Cursor, DeliveryStatus, Status, WrongCursor
from routing.ports import Enquiries
from schemas.faults import CODES, remedy_of
from schemas.oin import Oin
from schemas.privacy import plain, redact

#: Messages on a page of changes.
MOST: Final = 200
#: `since` of whoever wants to hear of what is to come only.
NEWEST: Final = "newest"
_IDS: Final = ("reference", "message-id", "business-id")


class StatusPages:
    """`/rest/status` and `/rest/changes`."""

    def __init__(self, enquiries: Enquiries, visits: Visits) -> None:
        self._enquiries, self._visits = enquiries, visits

    def routes(self) -> Iterable[web.RouteDef]:
        """See `https.Pages`."""
        return (web.get("/rest/status", self._status, allow_head=False), web.get("/rest/changes", self._changes, allow_head=False))

    async def _status(self, request: web.Request) -> web.Response:
        async def act(system: Oin) -> web.Response:
            asked = Asked(request, *_IDS, "sender")
            given = [name for name in _IDS if asked.text(name) is not None]
            if len(given) != 1:
                raise wrong(f"give exactly one of {', '.join(_IDS)}", where="query")
            id, sender = asked.must(given[0]), asked.oin("sender")
            if sender is not None and given[0] != "business-id":
                raise wrong("it goes with business-id only", where="sender")
            found = await self._visits.aside(lambda: self._find(system, given[0], id, sender))
            return as_json({"messages": [_status(status) for status in found]})

        return await self._visits.answer(request, act)

    def _find(self, system: Oin, kind: str, id: str, sender: Oin | None) -> list[Status]:
        if kind == "reference":
            return self._enquiries.by_reference(system, id)
        if kind == "message-id":
            return self._enquiries.by_message_id(system, id)
        return self._enquiries.by_business_id(system, id, sender)

    async def _changes(self, request: web.Request) -> web.Response:
        began: list[Cursor] = []  # with `newest`: where the list ended when the question came

        def look(system: Oin) -> Changes:
            asked = Asked(request, "since", "limit", "wait")
            limit = asked.number("limit", most=MOST, default=MOST, least=1)
            if not began:
                began.append(self._cursor(asked.text("since")))
            return self._enquiries.changed(system, began[0], limit=limit)

        return await self._visits.answer_when(
            request,
            look,
            wait_s=lambda: Asked(request, "since", "limit", "wait").number("wait", most=LONGEST_WAIT, default=0),
            enough=lambda changes: bool(changes.found) or changes.more,
            show=lambda changes: as_json(
                {"messages": [_status(status) for status in changes.found], "next": str(changes.next), "more": changes.more}
            ),
        )

    def _cursor(self, since: str | None) -> Cursor:
        if since is None:
            return Cursor()
        if since == NEWEST:
            return self._enquiries.newest()
        try:
            return Cursor.read(since)
        except WrongCursor:
            raise wrong(
                f"it is no cursor of ours; give the `next` of the last page, {NEWEST}, or nothing for everything", where="since"
            ) from None


def _status(status: Status) -> dict[str, Any]:
    return {
        "reference": status.reference,
        "message_id": _safe(status.message_id),
        "business_id": _safe(status.business_id),
        "sender": status.sender,
        "dienst": status.dienst,
        "versie": status.versie,
        "bericht": status.bericht,
        "received_at": moment(status.received_us),
        "state": status.state,
        **_fault(status.code, status.owner, status.reason, status.via),
        "errors": list(status.details),
        "warnings": list(status.warnings),
        "deliver_again": status.deliver_again,
        "deliveries": [_delivery(delivery, status.via) for delivery in status.deliveries],
    }


def _delivery(delivery: DeliveryStatus, via: str) -> dict[str, Any]:
    waits = delivery.hold_code is not None and delivery.state == "routed"
    return {
        "delivery_id": delivery.delivery_id,
        "target": delivery.target,
        "receiver": delivery.receiver,
        "state": "waiting" if waits else delivery.state,
        **_fault(delivery.code or delivery.hold_code, delivery.owner, delivery.reason, via),
        "attempts": delivery.attempts,
        "changed_at": moment(delivery.at_us),
        "delivered_at": moment(delivery.delivered_us),
        "deadline": moment(delivery.deadline_us),
        "deliver_again": delivery.deliver_again,
    }


def _fault(code: str | None, owner: str | None, reason: str | None, via: str) -> dict[str, str | None]:
    """What is wrong, whose turn it is, and what to do, in words of REST for what came that way; nothing of it when nothing is. The store
    keeps the reason of a refusal as `code: sentence (at place)`."""
    kind = CODES.get(code or "")
    remedy_nl, remedy_en = remedy_of(code, owner)
    words = {
        "title": kind.nl if kind else None,
        "title_en": kind.en if kind else None,
        "remedy": remedy_nl,
        "remedy_en": remedy_en,
        "reason": _safe((reason or "").removeprefix(f"{code}: ") or None),
    }
    if via == "rest":
        words = {name: here(text) if text else None for name, text in words.items()}
    return {"code": code, "owner": owner or (str(kind.owner) if kind else None), **words}


def _safe(text: str | None) -> str | None:
    return None if text is None else plain(redact(text))
