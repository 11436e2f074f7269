"""What an address or a form of Openstaand asks for: parameters that are known, each once, and none with what may be a personal number.

Nothing is cut off or passed over: a filter that lost a part would find more than whoever reads the page sees.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import datetime
from typing import Final
from urllib.parse import parse_qsl, urlencode

from portal.directory import Directory
from portal.formats import microseconds
from portal.pages.kit import Kit, Told
from portal.personal import REFUSED, is_personal
from portal.shell import Visit
from routing.amsterdam import AMSTERDAM
from routing.board import PARAMETERS, BoardError, ItemFilter, Place, Sort
from schemas.privacy import redact

#: Characters, and parameters, of all filters together.
LONGEST, MOST_PARAMETERS = 4_000, 40
#: What a search by number is kept as, and the parameter with its handle.
SEARCH: Final = "zoek"
#: Parameters that say where in the list a page is; and others of this page, beside the board's own.
PLACES: Final = ("na", "terug")
_OWN: Final = ("leverancier", "nummer", "sinds", "sorteer", *PLACES)
_KNOWN: Final = frozenset({*PARAMETERS, *_OWN})
_ADDRESS: Final = re.compile(r"[0-9]{8}[0-9A-Za-z]{12}\Z")


def asked_of(pairs: Iterable[tuple[str, str]]) -> dict[str, str]:
    """What is asked for, by name, without what was left empty. Raises Told."""
    found: dict[str, str] = {}
    length = 0
    for name, value in pairs:
        length += len(name) + len(value)
        if length > LONGEST:
            raise Told("items.filter.long")
        if name == REFUSED or is_personal(name, value):
            raise Told("items.number.personal")
        if name not in _KNOWN:
            raise Told("items.filter.unknown", name=redact(name)[:40])
        if found.setdefault(name, value) != value:
            raise Told("items.filter.twice", name=name)
    return {name: value for name, value in found.items() if value.strip()}


def asked_in(query: str) -> dict[str, str]:
    """The same, of what a form sends back to us as one text. Raises Told."""
    try:
        return asked_of(parse_qsl(query, keep_blank_values=True, max_num_fields=MOST_PARAMETERS))
    except BoardError:
        raise
    except ValueError:
        raise Told("items.filter.long") from None


def query_of(wanted: ItemFilter, asked: Mapping[str, str]) -> str:
    """The list that was shown, and no place in it, for a form that is about all of it."""
    own = {name: value for name, value in asked.items() if name not in PLACES}
    return urlencode({**own, "lijst": str(wanted.view)})


def address_of(asked: Mapping[str, str]) -> str:
    """Where it is shown."""
    return f"/openstaand?{urlencode(asked)}" if asked else "/openstaand"


def filter_of(query: Mapping[str, str], names: Directory) -> ItemFilter:
    """What an address asks for. Beside the board's own filters: `leverancier` (its systems), `nummer`, whichever number that is, and
    `sinds`, the moment in Amsterdam from which on it last moved. Raises BoardError."""
    wanted = ItemFilter.from_query({key: value for key, value in query.items() if key not in ("na", "terug", "sorteer")})
    if supplier := query.get("leverancier", "").strip():
        wanted = replace(wanted, systems=names.systems_of(supplier) or ("-",))
    if since := query.get("sinds", "").strip():
        wanted = replace(wanted, failed_since_us=_moment(since))
    if (number := query.get("nummer", "").strip()) != "":
        if redact(number) != number:
            raise Told("items.number.personal")
        wanted = replace(wanted, address=number.upper()) if _ADDRESS.match(number) else replace(wanted, reference=number)
    return wanted


def _moment(text: str) -> int:
    try:
        at = datetime.strptime(text, "%Y-%m-%dT%H:%M")  # noqa: DTZ007 - its zone is the next thing that is said
    except ValueError:
        raise BoardError(
            "sinds is a moment in Amsterdam, such as 2026-02-01T10:00.", "sinds is een moment in Amsterdam, zoals 2026-02-01T10:00."
        ) from None
    return microseconds(at.replace(tzinfo=AMSTERDAM, year=min(max(at.year, 2000), 2099)))


async def wanted_of(kit: Kit, visit: Visit, query: Mapping[str, str]) -> ItemFilter:
    """The same, with what its handle stands for, if it still does and is this session's, and with the message that has the number,
    whichever of its ids that is. Raises BoardError."""
    wanted = filter_of(query, await kit.directory())
    if (number := query.get("nummer", "").strip()) and wanted.reference == number:
        found = await kit.ask(kit.board.find, visit.scope, number)
        wanted = replace(wanted, reference=found or number)
    if wanted.handle is None or visit.session is None:
        return wanted
    kept = await kit.shell.kept(visit.session.key, SEARCH, wanted.handle)
    if kept is None:
        return wanted
    hashes = json.loads(kept)
    subject = bytes.fromhex(hashes["subject"]) if "subject" in hashes else None
    return replace(wanted, subject=subject, orders=tuple(bytes.fromhex(order) for order in hashes.get("orders", ())))


def sort_of(query: Mapping[str, str]) -> Sort:
    """The order. Raises BoardError."""
    asked = query.get("sorteer") or Sort.OLDEST
    if asked not in set(Sort):
        raise BoardError(f"sorteer is {', '.join(Sort)}.", f"sorteer is {', '.join(Sort)}.")
    return Sort(asked)


def place_of(query: Mapping[str, str]) -> tuple[Place | None, bool]:
    """Where the page begins, and whether it is the one before that place. Raises BoardError."""
    if back := query.get("terug"):
        return Place.read(back), True
    return (Place.read(query["na"]), False) if query.get("na") else (None, False)
