"""The board: what is open, what fell out and how much passed, as people ask for it. Plain values, and the Protocol of what keeps it.

The board is a read model. The audit worker keeps it beside the work, from the journal and the tables of the work, so that nothing here
costs the path of a message anything; it can be thrown away and made anew (docs/operation.md, "How the board is kept"). What fails is on
it within two seconds. Healthy traffic that ends within two seconds never is.

Every question takes a `Scope` (routing.people), which the store applies in SQL: what stands outside it is not shown, counted, sorted by
or named by any error. All times are microseconds since 1970 UTC, as everywhere in the store.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from datetime import date, timedelta
from enum import StrEnum
from typing import Any, Final, Protocol

from routing.people import Scope
from routing.work import Lease
from schemas.events import Event
from schemas.lifecycle import UNFINISHED

#: What a count ends at; pages write "more than 10,000".
MOST: Final = 10_000
#: Rows on a page.
PAGE: Final = 50
#: A refusal that nobody closed, and that no later hand-in made good, leaves the board after this.
REFUSALS_STAY: Final = timedelta(days=30)
#: Whoever sent less than this part of what they sent in the whole of last season, is named by the law's calendar.
FEW: Final = 0.5


class BoardError(ValueError):
    """What was asked cannot be; the text is one sentence that says what to ask instead."""


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
            raise BoardError("This names no group of failures: follow a link of the page Uitval.")
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
        raise BoardError(f"{key}: this is too long, or holds characters that nobody can type.")
    if name == "view":
        if text not in set(View):
            raise BoardError(f"{key} is {', '.join(View)}.")
        return View(text)
    if name in ("since_day", "until_day"):
        try:
            return min(max(date.fromisoformat(text if _DAY.match(text) else ""), _FIRST_DAY), _LAST_DAY)
        except ValueError:
            raise BoardError(f"{key} is a day, such as 2026-02-01.") from None
    if name == "older_than_s":
        if not (text.isascii() and text.isdigit() and len(text) <= 9):
            raise BoardError(f"{key} is a number of seconds.")
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
            raise BoardError("This is no place in the list: begin at its first page.")
        return cls(int(found.group(1)), int(found.group(2)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """Some items in order."""

    items: tuple[Item, ...]
    next: Place | None  #: where the next page begins (`after`); None: there is none
    before: Place | None  #: where this one begins, for the page before it (`items(..., after=before, backwards=True)`); None: the first
    more: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Freshness:
    """How far the board is."""

    at_us: int  #: what was in the journal at this moment is on it
    behind: int  #: blocks of the journal that it has not seen
    filling: bool  #: it is being made, or made anew: what is old may not be on it yet


@dataclass(frozen=True, slots=True, kw_only=True)
class Flow:
    """What passed in a span of time: handed in, and what became of deliveries in that time (whenever they were handed in)."""

    handed_in: int = 0
    refused: int = 0
    delivered: int = 0  #: deliveries that their receivers acknowledged
    failed: int = 0  #: deliveries and messages; one that fails again counts again
    took_s: int = 0  #: seconds from hand-in to acknowledgement of all delivered ones together
    in_minute: int = 0  #: of the delivered ones, those that took at most a minute
    in_hour: int = 0
    in_day: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class DienstLine:
    """One dienst on the overview."""

    dienst: str
    hour: Flow  #: the last 60 to 120 minutes: whole hours of the clock, the present one included; organisations are counted per day: none
    day: Flow  #: the last 24 hours of the clock; of organisations: today and yesterday
    season: Flow  #: since the school year began, 1 August
    waiting: int  #: openstaand now
    fallen: int  #: uitval now
    oldest_us: int | None  #: hand-in of the oldest that is openstaand
    hours: tuple[Flow, ...] = ()  #: the last 24 hours of the clock, the oldest first, for a chart; of organisations: none


@dataclass(frozen=True, slots=True, kw_only=True)
class LaneLine:
    """An endpoint or mailbox that has trouble, or holds something up."""

    lane: str
    system: str  #: receiving system
    state: str  #: `closed` (it flows), `held`, `half-open`
    by: str | None  #: who held it; None: its own failures did, or it is not held
    by_hand: bool  #: held until somebody lets it go
    code: str | None
    since_us: int | None
    probe_at_us: int | None
    waiting: int  #: openstaand for it
    oldest_us: int | None  #: since when the oldest of them is with us, or stands in the mailbox


@dataclass(frozen=True, slots=True, kw_only=True)
class Silent:
    """A school that sent nothing this season, or less than half of what it sent in the whole of the last one."""

    school: str
    system: str  #: that handed in for it: this season, or else in the last
    now: int
    last_season: int
    last_us: int | None  #: when it last handed in


@dataclass(frozen=True, slots=True, kw_only=True)
class LegalDate:
    """A date of the law for one kind of message. The list: `LEGAL_DATES`."""

    name: str
    dienst: str
    bericht: str
    month: int
    day: int  #: included
    watch_month: int  #: from this day on, who stays behind is named
    watch_day: int
    at_receivers: bool  #: it is a date for the receivers to have it; else one to hand it in


#: Sources: domain facts 2.1 and 2.6 (WVO 2020, WEB art. 8.0.3; the VVA's FAQ for 1 February). The date of an application stands inside
#: the message, which the board does not read: counted is what was handed in by then, and a status cannot be dated later than that.
LEGAL_DATES: Final = (
    LegalDate(
        name="mboGangers",
        dienst="vva",
        bericht="mboGangerBericht",
        month=2,
        day=1,
        watch_month=1,
        watch_day=15,
        at_receivers=False,
    ),
    LegalDate(
        name="aanmeldingen",
        dienst="vva",
        bericht="aanmeldStatusBericht",
        month=4,
        day=1,
        watch_month=4,
        watch_day=1,
        at_receivers=True,
    ),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class CalendarLine:
    """How a date of the law stands in the school year of now."""

    law: LegalDate
    day: date  #: in this school year
    days_left: int  #: below zero: it is over
    handed_in: int  #: this season, whole
    last_season: int
    late: int  #: of `at_receivers`: handed in by that day, and still openstaand or uitval
    schools: int  #: that sent something this season
    silent: tuple[Silent, ...]  #: from the watch day on; the largest senders of last season first, at most 200
    silent_count: int  #: how many there are


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """One line on the map of the chain: who sends to whom, of one dienst."""

    dienst: str
    system: str  #: connecting system
    receiver_system: str  #: "" while nobody is known to deliver to
    delivered: int
    failed: int
    waiting: int
    fallen: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Overview:
    """The first page."""

    fresh: Freshness
    diensten: tuple[DienstLine, ...]
    lanes: tuple[LaneLine, ...]  #: paused or held endpoints, those that waited longest first, at most 50
    unread: tuple[LaneLine, ...]  #: mailboxes in which something stands longer than an hour, at most 50
    calendar: tuple[CalendarLine, ...]
    owners: Mapping[str, int]  #: whose turn it is -> uitval


class GroupState(StrEnum):
    """The life of a group of failures."""

    OPEN = "open"
    WITH_PARTNER = "with_partner"
    SOLVED = "solved"  #: until it comes back: then it is open again by itself


@dataclass(frozen=True, slots=True, kw_only=True)
class FailureGroup:
    """Failures with one cause, as far as the scope sees them."""

    key: GroupKey
    count: int  #: all there ever were
    still_open: int  #: of them, still on the board
    first_us: int
    last_us: int
    example: str | None  #: reference of the newest; None for whoever does not see everything
    state: GroupState = GroupState.OPEN
    ticket: str | None = None
    agreed_on: date | None = None
    assignee: str | None = None  #: None also for whoever does not see everything
    changed_us: int | None = None
    hours: tuple[int, ...] = ()  #: failures in each of the last 24 hours of the clock, the oldest first


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupNote:
    """Something somebody did to a group, or wrote about it."""

    at_us: int
    who: str
    what: str  #: note, assigned, with_partner, solved, reopened
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """A school or receiver in a group, and how much of it."""

    oin: str
    brin: str | None
    count: int  #: still on the board
    oldest_us: int


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupDetail:
    """One group, opened."""

    group: FailureGroup
    schools: tuple[Part, ...]  #: largest first, at most 200
    receivers: tuple[Part, ...]
    notes: tuple[GroupNote, ...]  #: newest first; none for whoever does not see everything


@dataclass(frozen=True, slots=True, kw_only=True)
class Related:
    """Another message that belongs to this one."""

    how: str  #: `answers`, `answered by`, `replaces`, `replaced by`, `again as`, `again of`
    reference: str
    state: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageView:
    """One message or refusal with all that happened, as far as the scope sees it: whoever is only one of several receivers sees its own
    delivery and nothing of the others'."""

    facts: Mapping[str, Any]  #: as `Queries.message` gives it, without the deliveries; `state` "refused" for a refusal, with `details`
    deliveries: tuple[Mapping[str, Any], ...]  #: each with `tries` (its attempts) and `answers` (references)
    events: tuple[Event, ...]  #: in order; operators' actions among them, `actor` says whose
    decisions: tuple[Mapping[str, Any], ...]
    related: tuple[Related, ...]
    items: tuple[Item, ...]  #: what of it is on the board
    kept: bool  #: its body has not been erased
    whole: bool  #: False: only a receiver's part of it is shown


@dataclass(frozen=True, slots=True, kw_only=True)
class PartyLine:
    """A system and how it does: as a sender's and as a receiver's."""

    system: str
    organisations: int  #: for which it handed in or was to receive in this season
    sent_us: int | None  #: when it last handed in
    heard_us: int | None  #: when it last acknowledged something
    handed_in: int  #: in the last seven days
    delivered: int  #: to it, in the last seven days
    waiting: int  #: openstaand for it
    fallen: int  #: uitval of what it handed in
    fallen_to: int  #: uitval of what it was to receive
    oldest_us: int | None
    lanes: tuple[LaneLine, ...]  #: its endpoints that are on record: with trouble, or something waiting


@dataclass(frozen=True, slots=True, kw_only=True)
class OrganisationLine:
    """A school or other organisation in the party page of a system, or found by its OIN."""

    organisation: str
    brin: str | None
    system: str
    side: str  #: `from` or `to`
    dienst: str
    bericht: str
    season: int  #: this season
    last_season: int
    last_us: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Party:
    """One system or organisation, opened."""

    oin: str
    lines: tuple[PartyLine, ...]  #: the systems: itself, or those through which the organisation's traffic went
    organisations: tuple[OrganisationLine, ...]  #: at most 500, those heard of last first
    hours: tuple[Flow, ...]  #: of the last 48 hours of the clock, the oldest first; of an organisation: none
    groups: tuple[FailureGroup, ...]  #: largest first, at most 50


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportLine:
    """How often one code fell out in a week."""

    code: str
    owner: str
    dienst: str
    fallen: int
    schools: int  #: how many schools it was of
    still_open: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """One partner's week, without personal data."""

    system: str
    monday: date
    flows: Mapping[str, Flow]  #: by dienst, of what it handed in; `delivered` and `failed`: of its messages, at their receivers
    received: Mapping[str, Flow]  #: by dienst, of what was for it: `delivered` and `failed`
    codes: tuple[ReportLine, ...]  #: most first
    waiting: int  #: openstaand now, of what it handed in or is to receive
    fallen: int
    oldest_us: int | None


class Board(Protocol):
    """What the pages ask. All of it raises StoreUnavailable (routing.work), and may be called from several threads."""

    def fresh(self, *, now_us: int) -> Freshness:
        """How far the board is."""

    def overview(self, scope: Scope, *, now_us: int) -> Overview:
        """The first page, but the map."""

    def chain_map(self, scope: Scope, *, since_us: int, now_us: int) -> list[Link]:
        """Who sends to whom: what passed since then, and what is open now. Most traffic first, at most 500."""

    def items(
        self,
        scope: Scope,
        wanted: ItemFilter,
        *,
        now_us: int,
        sort: Sort = Sort.OLDEST,
        after: Place | None = None,
        backwards: bool = False,
        limit: int = PAGE,
    ) -> Page:
        """A page of items. `backwards`: those right before `after`, still in the order of the sort."""

    def count(self, scope: Scope, wanted: ItemFilter, *, now_us: int, most: int = MOST) -> int:
        """How many there are; `most` + 1 when there are more than that."""

    def tally(self, scope: Scope, wanted: ItemFilter, by: str, *, now_us: int) -> dict[str, int]:
        """How many there are by one of `state`, `code`, `owner`, `dienst`, `bericht`, `system`, `receiver_system`; at most 100 values,
        most first. Raises BoardError for another `by`."""

    def groups(
        self,
        scope: Scope,
        *,
        now_us: int,
        state: GroupState | None = None,
        owner: str | None = None,
        solved: bool = False,
        limit: int = 200,
    ) -> list[FailureGroup]:
        """Failures by cause, those with most still open first. Groups of which nothing is open any more only when `solved`."""

    def group(self, scope: Scope, key: GroupKey, *, now_us: int) -> GroupDetail | None:
        """One group, opened; None when the scope sees nothing of it. Its items: `items` with `ItemFilter(group=key)`."""

    def note(self, key: GroupKey, text: str, *, who: str, now_us: int) -> None:
        """Adds a note. This and the next four are journalled, with who and why, and raise BoardError for a group that does not exist.
        Personal numbers in the text are masked. The caller has checked that `who` may (routing.people, `groups`)."""

    def assign(self, key: GroupKey, assignee: str | None, *, who: str, now_us: int, why: str = "") -> None:
        """Makes somebody's work of it; None: nobody's."""

    def with_partner(self, key: GroupKey, *, ticket: str, agreed_on: date | None, who: str, now_us: int, why: str = "") -> None:
        """The partner has it, under this ticket, and has agreed to mend it by that day."""

    def solve(self, key: GroupKey, *, who: str, now_us: int, why: str) -> None:
        """The cause is gone. It opens again by itself when another failure of it comes."""

    def reopen(self, key: GroupKey, *, who: str, now_us: int, why: str) -> None:
        """It is not gone after all."""

    def close_refusal(self, reference: str, *, who: str, why: str, now_us: int) -> bool:
        """Takes a refusal off the board: nothing more will come of it. Journalled. False when it is not there (any more)."""

    def find(self, scope: Scope, id: str) -> str | None:
        """The reference of a message or refusal in the scope by reference, delivery_id, MessageID or business id."""

    def message(self, scope: Scope, reference: str) -> MessageView | None:
        """One message or refusal; None when there is none, and also when the scope does not see it."""

    def parties(self, scope: Scope, *, now_us: int) -> list[PartyLine]:
        """The systems of which there was traffic this season or last, by OIN; at most 500."""

    def party(self, scope: Scope, oin: str, *, now_us: int) -> Party | None:
        """One system or organisation; None when the scope sees none of its traffic."""

    def last_received(self, scope: Scope, system: str, *, now_us: int) -> dict[tuple[str, str], int]:
        """By organisation and dienst, when something for it went to this system last, in microseconds; this season or the one before."""

    def lanes(self, scope: Scope, *, now_us: int) -> list[LaneLine]:
        """Endpoints and mailboxes that are held, or for which something waits."""

    def partners(self, scope: Scope, *, monday: date) -> list[str]:
        """The systems of which there is a report of the week of this Monday, by OIN."""

    def reports(self, scope: Scope, *, monday: date, now_us: int, system: str | None = None) -> list[Report]:
        """Reports of the week of this Monday (Amsterdam days): of one system, or of all in the scope. A scope of organisations gets
        reports over those organisations only. Raises BoardError for a day that is no Monday."""


class BoardKeeper(Protocol):
    """What the audit worker does to the board, a little at a time; see adapters.store.board_keeper for what each promises."""

    def follow(self, lease: Lease, *, now_us: int) -> int: ...

    def sweep(self, lease: Lease, *, now_us: int) -> int: ...

    def count(self, lease: Lease, *, now_us: int) -> int: ...

    def close(self, lease: Lease, *, now_us: int) -> int: ...

    def pack(self, lease: Lease, *, now_us: int) -> int: ...

    def start_anew(self) -> None: ...
