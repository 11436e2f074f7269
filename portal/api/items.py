"""What is open and what fell out, item by item."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlencode

from portal.api.calls import BASE, Asked, Rows, get, post
from portal.api.problems import invalid
from portal.api.shapes import as_json
from portal.api.values import BOUND, BRIN, ID, LANE, MOMENT, OIN, WORD, YES, Field, many, one_of, shaped, whole
from routing.board import (
    FALLEN_STATES,
    MOST,
    OPEN_STATES,
    PAGE,
    GroupKey,
    Item,
    ItemFilter,
    Place,
    Sort,
    View,
    order_text,
    subject_text,
)
from routing.people import SEE, Permission
from schemas.faults import Owner

#: Items of one page, at most; and those that a file is made of at a time.
MOST_ITEMS: Final = 500

GROUP: Final = shaped(
    "[A-Za-z0-9_.-]{0,60}(~[A-Za-z0-9_.-]{0,60}){4}", "dit is de id van een groep", "it is the id of a group", read=GroupKey.read
)

#: Name here -> name in ItemFilter.
_ATTRIBUTES: Final[Mapping[str, str]] = {
    "system": "systems",
    "receiver_system": "receiver_systems",
    "since": "since_day",
    "until": "until_day",
    "handed_in_since": "since_us",
    "failed_since": "failed_since_us",
}
FILTER: Final = (
    Field(name="view", kind=one_of(View), default=View.ALL, about="openstaand: not finished; uitval: failed or refused, and not closed."),
    Field(name="dienst", kind=WORD, about="Code of the dienst."),
    Field(name="versie", kind=WORD, about="Version of the dienst."),
    Field(name="bericht", kind=WORD, about="Kind of message."),
    Field(name="brin", kind=BRIN, about="Of the school that sent it."),
    Field(name="school", kind=OIN, about="Institution that sent it."),
    Field(name="system", kind=many(OIN, 200), default=(), about="Systems that handed it in: those of one supplier."),
    Field(name="receiver", kind=OIN, about="Institution that is to have it."),
    Field(name="receiver_system", kind=many(OIN, 200), default=(), about="Systems that are to receive it."),
    Field(name="party", kind=OIN, about="On either side: school, receiver or system."),
    Field(name="state", kind=one_of(sorted(OPEN_STATES | FALLEN_STATES)), about="State of the item."),
    Field(name="code", kind=WORD, about="Why it failed, or what it waits for."),
    Field(name="owner", kind=one_of(Owner, str), about="Whose turn it is."),
    Field(name="since", kind=BOUND, about="Handed in from this Amsterdam day on."),
    Field(name="until", kind=BOUND, about="Handed in up to and including this Amsterdam day."),
    Field(name="handed_in_since", kind=MOMENT, about="Handed in from this moment on."),
    Field(name="failed_since", kind=MOMENT, about="Last moved from this moment on."),
    Field(name="older_than_s", kind=whole(0, 999_999_999), about="Handed in longer ago than so many seconds."),
    Field(name="business_id", kind=ID, about="identificatiecodeBedrijfsdocument."),
    Field(name="message_id", kind=ID, about="wsa:MessageID."),
    Field(name="reference", kind=ID, about="Of the receipt."),
    Field(name="address", kind=OIN, about="Routeringskenmerk of either side."),
    Field(name="lane", kind=LANE, about="Endpoint or mailbox, as /lanes names it."),
    Field(name="group", kind=GROUP, about="Id of a group of failures."),
    Field(name="never_attempted", kind=YES, default=False, about="Nothing was ever sent of it."),
)
_AFTER: Final = Field(
    name="after", kind=shaped("[A-Za-z0-9_-]{2,60}", "dit is een plaats uit `after`", "it is a place from `after`"), about="From `after`."
)
SORT: Final = (
    Field(name="sort", kind=one_of(Sort), default=Sort.OLDEST, about="By hand-in (oudste, nieuwste), last move, deadline."),
    _AFTER,
    Field(name="limit", kind=whole(1, MOST_ITEMS), default=PAGE, about="Items of one page."),
)
_PUPIL: Final = (
    Field(
        name="personal_number",
        kind=shaped("[0-9]{9}", "dit zijn negen cijfers", "it is nine digits"),
        about="BSN or onderwijsnummer. It is looked for by a keyed hash, and not kept.",
    ),
    Field(name="keten_id", kind=ID, about="ketenId of an application."),
)
#: Columns of the file: nothing that is about a pupil.
COLUMNS: Final = (
    *("id", "kind", "reference", "dienst", "versie", "bericht", "school", "brin", "system", "receiver", "organisation", "receiver_system"),
    *("state", "code", "owner", "received_us", "at_us", "deadline_us", "business_id", "message_id", "attempts"),
)
_BY: Final = ("state", "code", "owner", "dienst", "bericht", "system", "receiver_system")


@dataclass(frozen=True, slots=True, kw_only=True)
class ItemPage:
    """Some items in order."""

    items: tuple[Item, ...]
    after: str | None  #: where the next page begins; None: there is none
    next: str | None  #: its address; of a search, which has none, always None


@dataclass(frozen=True, slots=True, kw_only=True)
class Count:
    """How many there are."""

    count: int
    more: bool  #: there are more than `count`


@dataclass(frozen=True, slots=True, kw_only=True)
class Tally:
    """How many there are by one of their values, most first."""

    by: str
    counts: Mapping[str, int]


def wanted(given: Mapping[str, Any], **more: Any) -> ItemFilter:
    """The filter that these fields are."""
    values = {_ATTRIBUTES.get(field.name, field.name): given[field.name] for field in FILTER}
    return ItemFilter(**values, **more)


@get("/items", tag="items", summary="What is open and what fell out", permission=SEE, answer=ItemPage, query=(*FILTER, *SORT))
def items(asked: Asked) -> ItemPage:
    """A page."""
    page = _page(asked, wanted(asked.given))
    following = None if page.after is None else f"{BASE}/items?{urlencode({**asked.query, 'after': page.after})}"
    return ItemPage(items=page.items, after=page.after, next=following)


@post(
    "/items/search",
    tag="items",
    summary="The same, of one pupil or application: what may not stand in a URL",
    permission=SEE,
    answer=ItemPage,
    body=(*_PUPIL, *FILTER, *SORT),
)
def search_items(asked: Asked) -> ItemPage:
    """A page of a search."""
    number, keten_id, index = asked["personal_number"], asked["keten_id"], asked.desk.index
    if number is None and keten_id is None:
        raise invalid(("personal_number", "geef dit of keten_id", "give this or keten_id"))
    orders = () if keten_id is None else tuple(index(order_text(dienst, bericht, keten_id)) for dienst, bericht in asked.desk.ordered)
    if keten_id is not None and not orders:
        return ItemPage(items=(), after=None, next=None)
    return _page(asked, wanted(asked.given, subject=index(subject_text(number)) if number else None, orders=orders))


def _page(asked: Asked, filter: ItemFilter) -> ItemPage:
    after = asked["after"]
    place = None if after is None else _place(after)
    page = asked.desk.board.items(asked.scope, filter, now_us=asked.now_us, sort=asked["sort"], after=place, limit=asked["limit"])
    return ItemPage(items=page.items, after=None if page.next is None else str(page.next), next=None)


def _place(text: str) -> Place:
    try:
        return Place.read(text)
    except ValueError:
        raise invalid(("after", "begin vooraan in de lijst", "begin at the start of the list")) from None


@get("/items/count", tag="items", summary="How many there are", permission=SEE, answer=Count, query=FILTER)
def count_items(asked: Asked) -> Count:
    """At most so many are counted."""
    count = asked.desk.board.count(asked.scope, wanted(asked.given), now_us=asked.now_us)
    return Count(count=min(count, MOST), more=count > MOST)


@get(
    "/items/tally",
    tag="items",
    summary="How many there are by state, code, owner or another value",
    permission=SEE,
    answer=Tally,
    query=(Field(name="by", kind=one_of(_BY), required=True, about="By which value."), *FILTER),
)
def tally_items(asked: Asked) -> Tally:
    """At most 100 values."""
    return Tally(by=asked["by"], counts=asked.desk.board.tally(asked.scope, wanted(asked.given), asked["by"], now_us=asked.now_us))


@get(
    "/items.csv",
    tag="items",
    summary="All of them as CSV (RFC 4180), without personal data",
    permission=Permission.EXPORT,
    answer=Rows,
    query=(*FILTER, SORT[0]),
)
def items_csv(asked: Asked) -> Rows:
    """Made page by page while it is sent."""
    filter, board = wanted(asked.given), asked.desk.board

    def rows() -> Iterator[list[object]]:
        place: Place | None = None
        while True:
            page = board.items(asked.scope, filter, now_us=asked.now_us, sort=asked["sort"], after=place, limit=MOST_ITEMS)
            for item in page.items:
                said = as_json({name: getattr(item, name) for name in COLUMNS})
                yield list(said.values())
            if page.next is None:
                return
            place = page.next

    return Rows(name="koppelpunt.csv", header=tuple(as_json(dict.fromkeys(COLUMNS, 0))), rows=rows())


CALLS: Final = (items, search_items, count_items, tally_items, items_csv)
