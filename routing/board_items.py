"""What stands on the board, and which of it people ask for: items, filters as they stand in URLs, and pages of them."""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from datetime import date, timedelta
from enum import StrEnum
from typing import Any, Final

from routing.said import Said
from schemas.lifecycle import UNFINISHED

#: What a count ends at; pages write "more than 10,000".
MOST: Final = 10_000
#: Rows on a page.
PAGE: Final = 50
#: A refusal that nobody closed, and that no later hand-in made good, leaves the board after this.
REFUSALS_STAY: Final = timedelta(days=30)


class BoardError(Said, ValueError):
    """What was asked cannot be; the sentence says what to ask instead."""


class Kind(StrEnum):
    """What an item is."""

    DELIVERY = "delivery"  #: one message for one receiver: not finished, or failed, or its answer is due
    MESSAGE = "message"  #: not routed yet, or failed as a whole
    REFUSAL = "refusal"  #: refused at hand-in, and not closed


class View(StrEnum):
    """Which items: the two lists that chain managers know."""

    OPEN = "openstaand"  #: not finished: on its way, waiting, or an answer is due
    FALLEN = "uitval"  #: failed or refused, and not closed
    ALL = "alles"


class Sort(StrEnum):
    """In which order."""

    OLDEST = "oudste"  #: by hand-in, the oldest first
    NEWEST = "nieuwste"
    MOVED = "laatst"  #: by its last move, the newest first
    DEADLINE = "termijn"  #: by deadline, the nearest first; what has none is left out


#: States of items that are openstaand; all others on the board are uitval. (`acknowledged`: an answer is due; `received`: not routed yet.)
OPEN_STATES: Final = frozenset({"received", *map(str, UNFINISHED), "acknowledged"})
#: States of items that fell out. A message that failed as a whole and is being routed again is `failed` without a code, until it is.
FALLEN_STATES: Final = frozenset({"failed", "refused"})


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupKey:
    """The cause of failures: what makes them one group. "" where a failure names none. No personal data."""

    code: str
    owner: str
    dienst: str
    system: str  #: OIN of the connecting system
    receiver_system: str

    def __str__(self) -> str:
        """As it stands in URLs."""
        return "~".join((self.code, self.owner, self.dienst, self.system, self.receiver_system))

    @classmethod
    def read(cls, text: str) -> GroupKey:
        """Raises BoardError."""
        parts = text.split("~")
        if len(parts) != 5 or len(text) > 300 or not text.isprintable():
            raise BoardError(
                "This names no group of failures: follow a link of the page Uitval.",
                "Dit is geen groep van uitgevallen berichten: volg een link van de pagina Uitval.",
            )
        return cls(code=parts[0], owner=parts[1], dienst=parts[2], system=parts[3], receiver_system=parts[4])


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """One thing that is open or fell out."""

    id: str  #: the delivery_id; of a message or refusal its reference
    kind: Kind
    reference: str  #: ours, of the message or refusal
    dienst: str | None
    versie: str | None
    bericht: str | None
    sender: str | None  #: OIN or routeringskenmerk in wsa:From
    school: str | None  #: the institution behind it
    brin: str | None  #: of the school, when its OIN has one
    system: str | None  #: certificate OIN of the system that handed it in
    receiver: str | None  #: organisation OIN or routeringskenmerk
    organisation: str | None  #: the institution behind it
    receiver_system: str | None
    target: str | None  #: the contract's name for this receiver, such as `woongemeente`
    state: str
    code: str | None  #: why it failed, or what it waits for
    owner: str | None  #: whose turn it is
    reason: str | None
    received_us: int
    at_us: int  #: of its last move
    deadline_us: int | None
    business_id: str | None
    message_id: str | None
    lane: str | None  #: the endpoint's window: `mailbox <system>` or `push <system> <url>`
    endpoint: str | None
    attempts: int
    again: bool  #: its body is still there, so that it can be offered again

    @property
    def group(self) -> GroupKey | None:
        """The group it is counted in; None when it did not fall out."""
        if self.state not in FALLEN_STATES or not self.code:
            return None
        names = {"dienst": self.dienst, "system": self.system, "receiver_system": self.receiver_system}
        return GroupKey(code=self.code, owner=self.owner or "", **{name: value or "" for name, value in names.items()})


#: Names of filters in URLs. What is not here (the keyed hashes) never stands in one.
_IN_URLS: Final = {
    "view": "lijst",
    "dienst": "dienst",
    "versie": "versie",
    "bericht": "bericht",
    "brin": "brin",
    "school": "school",
    "systems": "systeem",
    "receiver": "ontvanger",
    "receiver_systems": "ontvangend",
    "party": "partij",
    "state": "status",
    "code": "code",
    "owner": "aanzet",
    "since_day": "van",
    "until_day": "tot",
    "older_than_s": "ouder",
    "business_id": "bedrijfsdocument",
    "message_id": "bericht-id",
    "reference": "kenmerk",
    "address": "routeringskenmerk",
    "lane": "wachtrij",
    "group": "groep",
    "never_attempted": "nooit",
    "handle": "zoek",
}
#: Names of all of them.
PARAMETERS: Final = tuple(_IN_URLS.values())
#: A day that something is compared with: before our time and after it, all days are alike.
_FIRST_DAY, _LAST_DAY = date(2000, 1, 1), date(2099, 12, 31)
#: An OIN or routeringskenmerk, whose letters may have been typed in lower case.
_OIN: Final = re.compile(r"[0-9]{8}[0-9A-Za-z]{12}\Z")
_DAY: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}\Z")


@dataclass(frozen=True, slots=True, kw_only=True)
class ItemFilter:
    """Which items; None, and an empty tuple, mean that it does not matter. All that is given must be so.

    `handle` stands in URLs for a search by personal number or ketenId: the page POSTs the number, takes the keyed hash
    (`subject_text`, `order_text`, with the vault's `index`), keeps that under an expiring handle of the session, and fills in `subject`
    or `orders` from it at each request. A filter with a handle that is not filled in finds nothing.
    """

    view: View = View.ALL
    dienst: str | None = None
    versie: str | None = None
    bericht: str | None = None
    brin: str | None = None  #: of the school that sent it
    school: str | None = None  #: institution that sent it
    systems: tuple[str, ...] = ()  #: connecting systems: those of one supplier
    receiver: str | None = None  #: institution that is to have it: a municipality, a school
    receiver_systems: tuple[str, ...] = ()
    party: str | None = None  #: an OIN on either side: school, receiver or system
    state: str | None = None
    code: str | None = None
    owner: str | None = None
    since_day: date | None = None  #: handed in from this Amsterdam day on
    until_day: date | None = None  #: up to and including this one
    since_us: int | None = None  #: handed in from this moment on; not in URLs
    failed_since_us: int | None = None  #: last moved from this moment on: "everything that failed since 10:00"; not in URLs
    older_than_s: int | None = None  #: handed in longer ago than so many seconds
    business_id: str | None = None  #: in any case of letters
    message_id: str | None = None
    reference: str | None = None  #: of the receipt
    address: str | None = None  #: routeringskenmerk of either side
    lane: str | None = None
    group: GroupKey | None = None
    never_attempted: bool = False
    handle: str | None = None
    subject: bytes | None = field(default=None, repr=False)  #: keyed hash of a personal number
    orders: tuple[bytes, ...] = field(default=(), repr=False)  #: keyed hashes of order keys: a ketenId, in each kind that has one

    def as_query(self) -> dict[str, str]:
        """Its parameters in a URL, without personal data; several systems stand with a comma between them."""
        found = {}
        for name, key in _IN_URLS.items():
            value = getattr(self, name)
            if value in (None, (), False) or (name == "view" and value is View.ALL):
                continue
            found[key] = ",".join(value) if isinstance(value, tuple) else "ja" if value is True else str(value)
        return found

    @classmethod
    def from_query(cls, query: Mapping[str, str]) -> ItemFilter:
        """What these parameters ask for; empty ones and those of other things are passed over. Raises BoardError."""
        given: dict[str, Any] = {}
        for name, key in _IN_URLS.items():
            text = query.get(key, "").strip()
            if text:
                given[name] = _read(name, key, text)
        return cls(**given)

    @property
    def names_nothing(self) -> bool:
        """Whether it asks for all there is."""
        return all(getattr(self, f.name) == f.default for f in fields(self))


def _read(name: str, key: str, text: str) -> Any:
    if len(text) > 300 or not text.isprintable():
        raise BoardError(
            f"{key}: this is too long, or holds characters that nobody can type.",
            f"{key}: dit is te lang, of bevat tekens die niemand kan typen.",
        )
    if name == "view":
        if text not in set(View):
            raise BoardError(f"{key} is {', '.join(View)}.", f"{key} is {', '.join(View)}.")
        return View(text)
    if name in ("since_day", "until_day"):
        try:
            return min(max(date.fromisoformat(text if _DAY.match(text) else ""), _FIRST_DAY), _LAST_DAY)
        except ValueError:
            raise BoardError(f"{key} is a day, such as 2026-02-01.", f"{key} is een dag, zoals 2026-02-01.") from None
    if name == "older_than_s":
        if not (text.isascii() and text.isdigit() and len(text) <= 9):
            raise BoardError(f"{key} is a number of seconds.", f"{key} is een aantal seconden.")
        return int(text)
    if name == "group":
        return GroupKey.read(text)
    if name == "never_attempted":
        return text in ("ja", "yes", "1", "on")
    if name in ("systems", "receiver_systems"):
        return tuple(part for part in (piece.strip() for piece in text.split(",")) if part)[:200]
    if name in ("school", "receiver", "party", "address") and not _OIN.match(text):
        return text  # such as `gemeentecode 0501`
    return text.upper() if name in ("brin", "school", "receiver", "party", "address") else text


def subject_text(number: str) -> str:
    """What the vault's `index` is taken of, for the personal number of a pupil (as workers.desk does at hand-in)."""
    return f"subject {number}"


def order_text(dienst: str, bericht: str, key: str) -> str:
    """The same for an order key of this kind of message, such as a ketenId."""
    return f"order {dienst} {bericht} {key}"


@dataclass(frozen=True, slots=True)
class Place:
    """Where a page begins: behind this value of the sort, and this item."""

    value: int
    n: int

    def __str__(self) -> str:
        """As it stands in URLs."""
        return base64.urlsafe_b64encode(f"{self.value}:{self.n}".encode()).decode().rstrip("=")

    @classmethod
    def read(cls, text: str) -> Place:
        """Raises BoardError."""
        try:
            plain = base64.b64decode((text + "=" * (-len(text) % 4)).encode("ascii"), altchars=b"-_", validate=True).decode("ascii")
        except ValueError:
            plain = ""
        found = re.match(r"(-?[0-9]{1,18}):([0-9]{1,18})\Z", plain)
        if found is None:
            raise BoardError(
                "This is no place in the list: begin at its first page.", "Dit is geen plaats in de lijst: begin bij de eerste pagina."
            )
        return cls(int(found.group(1)), int(found.group(2)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """Some items in order."""

    items: tuple[Item, ...]
    next: Place | None  #: where the next page begins (`after`); None: there is none
    before: Place | None  #: where this one begins, for the page before it (`items(..., after=before, backwards=True)`); None: the first
    more: bool
