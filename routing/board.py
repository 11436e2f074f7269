"""The board: what is open, what fell out and how much passed, as people ask for it. Plain values, and the Protocol of what keeps it.

The board is a read model. The audit worker keeps it beside the work, from the journal and the tables of the work, so that nothing here
costs the path of a message anything; it can be thrown away and made anew (docs/operation.md, "How the board is kept"). What fails is on
it within two seconds. Healthy traffic that ends within two seconds never is.

Every question takes a `Scope` (routing.people), which the store applies in SQL: what stands outside it is not shown, counted, sorted by
or named by any error. All times are microseconds since 1970 UTC, as everywhere in the store.
"""

from __future__ import annotations

from datetime import date
from typing import Protocol

from routing.board_answers import (
    FEW,
    LEGAL_DATES,
    CalendarLine,
    DienstLine,
    FailureGroup,
    Flow,
    Freshness,
    GroupDetail,
    GroupNote,
    GroupState,
    LaneLine,
    LegalDate,
    Link,
    MessageView,
    OrganisationLine,
    Overview,
    Part,
    Party,
    PartyLine,
    Related,
    Report,
    ReportLine,
    Silent,
)
from routing.board_items import (
    FALLEN_STATES,
    MOST,
    OPEN_STATES,
    PAGE,
    PARAMETERS,
    REFUSALS_STAY,
    BoardError,
    GroupKey,
    Item,
    ItemFilter,
    Kind,
    Page,
    Place,
    Sort,
    View,
    order_text,
    subject_text,
)
from routing.people import Scope
from routing.work import Lease

__all__ = [
    "FALLEN_STATES",
    "FEW",
    "LEGAL_DATES",
    "MOST",
    "OPEN_STATES",
    "PAGE",
    "PARAMETERS",
    "REFUSALS_STAY",
    "Board",
    "BoardError",
    "BoardKeeper",
    "CalendarLine",
    "DienstLine",
    "FailureGroup",
    "Flow",
    "Freshness",
    "GroupDetail",
    "GroupKey",
    "GroupNote",
    "GroupState",
    "Item",
    "ItemFilter",
    "Kind",
    "LaneLine",
    "LegalDate",
    "Link",
    "MessageView",
    "OrganisationLine",
    "Overview",
    "Page",
    "Part",
    "Party",
    "PartyLine",
    "Place",
    "Related",
    "Report",
    "ReportLine",
    "Silent",
    "Sort",
    "View",
    "order_text",
    "subject_text",
]


class Board(Protocol):
    """What the pages ask. All of it raises StoreUnavailable (routing.work), and may be called from several threads."""

    def fresh(self, *, now_us: int) -> Freshness:
        """How far the board is."""

    def overview(self, scope: Scope, *, now_us: int) -> Overview:
        """The first page, but the map."""

    def chain_map(self, scope: Scope, *, since_us: int, now_us: int) -> list[Link]:
        """Who sends to whom: what passed since then, or since this school year began when that was later, and what is open now. Most
        traffic first, at most 500."""

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
