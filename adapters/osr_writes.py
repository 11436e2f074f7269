"""What a supplier wants of an endpoint, read from JSON; and the rules' refusals, in the words of the API."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

from adapters.osr_problem import VALIDATION, Wrong, invalid
from adapters.osr_shapes import LONGEST_URL, Fields
from routing.register_desk import EndpointChange, NewEndpoint
from routing.register_wishes import RuleBroken
from schemas.oin import Oin

#: Rows of one bulk request.
MOST_ROWS: Final = 500
#: A logical address for wsa:To: an absolute URI; `oin` is added by whoever writes there.
ADDRESS: Final = "[A-Za-z][A-Za-z0-9+.-]*:[!$-;=?-~]+"
_ADDRESS: Final = re.compile(rf"(?!.*[?&][Oo][Ii][Nn]=){ADDRESS}\Z")
#: Fields that an endpoint may have, apart from whose and for what it is.
_DELIVERY: Final = ("url", "mailbox", "attributes", "start_date", "end_date", "address", "at_once", "per_second")
NEW: Final = ("mandate_token", "routing_id", "service_version_namespace", *_DELIVERY, "reason")
CHANGE: Final = (*_DELIVERY, "change_date", "reason")

#: Code of a rule -> HTTP status, and the title of the answer.
ANSWERS: Final[Mapping[str, tuple[int, str]]] = {
    "FORBIDDEN": (403, "Not allowed"),
    "NOT_YOURS": (403, "Not yours"),
    "UNKNOWN": (404, "Mandate not found"),
    "WRONG": (400, VALIDATION),
    "NO_MANDATE": (403, "No mandate"),
    "OVERLAP": (409, "Overlapping endpoint"),
    "QUOTA": (400, VALIDATION),
    "FOLLOWS": (409, "The register follows another one"),
}


def new_endpoint(said: Mapping[str, Any]) -> NewEndpoint:
    """The endpoint that is to be made. Raises Wrong."""
    given = Fields(said, NEW)
    url = given.text("url", most=LONGEST_URL)
    if not given.errors and (url is None) != given.yes("mailbox"):
        given.wrong("url", 'give either a url or "mailbox": true')
    routing_id = given.oin("routing_id")
    made = NewEndpoint(
        namespace=given.text("service_version_namespace", required=True) or "",
        mandate_token=given.token("mandate_token"),
        routing_id=Oin(routing_id) if routing_id else None,
        url=url,
        attributes=given.labels("attributes"),
        start=given.day("start_date"),
        until=given.day("end_date"),
        more=_more(given),
        reason=given.text("reason"),
    )
    given.check()
    return made


def change_of(id: str, said: Mapping[str, Any]) -> EndpointChange:
    """What is to be different of an endpoint: members that are left out stay as they are (RFC 7396). Raises Wrong."""
    given = Fields(said, CHANGE)
    fields: dict[str, Any] = dict(_more(given, taken_away=True))
    url, mailbox = given.text("url", most=LONGEST_URL), given.yes("mailbox")
    if url is not None and mailbox:
        given.wrong("url", 'give either a url or "mailbox": true')
    if "url" in given and url is None and not given.errors:
        given.wrong("url", 'an endpoint without a url has "mailbox": true, and no url beside it')
    if url is not None or mailbox:
        fields["url"] = url
    if "attributes" in given:
        fields["attributes"] = given.labels("attributes")
    for name, field in (("start_date", "start"), ("end_date", "until")):
        if name in given:
            fields[field] = given.day(name)
    made = EndpointChange(id=id, fields=fields, day=given.day("change_date"), reason=given.text("reason"))
    if not fields:
        given.wrong("body", f"it says nothing to change; there are: {', '.join(_DELIVERY)}")
    given.check()
    return made


def _more(given: Fields, *, taken_away: bool = False) -> dict[str, Any]:
    values = {
        "address": given.text("address", shape=_ADDRESS, must="it must be the absolute URI of the service, without oin (that is added)"),
        "at_once": given.quantity("at_once", 1, 1_000),
        "per_second": given.quantity("per_second", 0.01, 10_000.0),
    }
    return {name: value for name, value in values.items() if value is not None or (taken_away and name in given)}


def rows_of(said: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    """The rows of a bulk request. Raises Wrong."""
    rows = said.get("endpoints")
    if said.keys() != {"endpoints"} or not isinstance(rows, list) or not 0 < len(rows) <= MOST_ROWS:
        raise invalid(("endpoints", f"it must be a list of 1 to {MOST_ROWS} endpoints, and nothing may stand beside it"))
    wrong = [number for number, row in enumerate(rows, 1) if not isinstance(row, dict)]
    if wrong:
        raise invalid(("endpoints", f"row {wrong[0]} is no object"))
    return rows


def refused(broken: RuleBroken, wish: NewEndpoint | EndpointChange) -> Wrong:
    """What the rules say, as an answer."""
    status, title = ANSWERS.get(broken.code, (400, VALIDATION))
    if broken.code == "UNKNOWN" and isinstance(wish, EndpointChange):
        title = f"Endpoint with id {wish.id[:100]} does not exist"
    errors = [("request", broken.en)] if status == 400 else []
    conflict = {"row": broken.row} if broken.row is not None else None
    return Wrong(status, f"REGISTER_{broken.code}", title, en=broken.en, nl=broken.nl, errors=errors, conflict=conflict)
