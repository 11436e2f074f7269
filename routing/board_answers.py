"""What the board says of everything together: the overview, groups of failures, one message, parties and reports. Plain values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from enum import StrEnum
from typing import Any, Final

from routing.board_items import GroupKey, Item
from schemas.events import Event

#: Whoever sent less than this part of what they sent in the whole of last season, is named by the law's calendar.
FEW: Final = 0.5


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


#: Sources: domain facts 2.1 and 2.6 (WVO 2020, WEB art. 8.0.3; the VVA's FAQ for 1 February). Which message `at_receivers` counts
#: by which day is for its contract to say (`law_day`): of an aanmeldStatusBericht, an AO by its statusdatum.
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
    late: int  #: of `at_receivers`: dated up to and including that day, and still openstaand or uitval
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

    how: str  #: `answers`, `answered by`, `replaces`, `replaced by`
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
    codes: tuple[ReportLine, ...]  #: of what it handed in; most first
    received_codes: tuple[ReportLine, ...]  #: of what was for it
    waiting: int  #: openstaand now, of what it handed in or is to receive
    fallen: int
    oldest_us: int | None
