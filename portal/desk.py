"""What the pages see of the backbone: the board, the actions, the register and a few more things; `run.py` passes the real ones in."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any, Protocol

from routing.actions import Actions
from routing.alerts import Alerts
from routing.board import Board
from routing.contents import Contents
from routing.people import Scope
from routing.proef import Proefs
from routing.register import Register
from routing.register_changing import RegisterChanges
from routing.reporting import ReportPost
from routing.warning_board import Warnings


class LaneKeeper(Protocol):
    """Pausing endpoints and letting them go; each is journalled with who."""

    def hold(self, lane: str, *, who: str, now_us: int) -> None:
        """Nothing leaves for it any more, in order, until it is let go."""

    def let_go(self, lane: str, *, who: str, now_us: int) -> bool:
        """False when it was not held."""


class SavedViews(Protocol):
    """Filters of lists that people gave a name; of each account, by name."""

    def views(self, account: str) -> list[tuple[str, str]]:
        """Name and query of each, by name."""

    def save(self, account: str, name: str, query: str, *, now_us: int) -> bool:
        """Under its name, instead of what had it. False when the account has as many as it may."""

    def forget(self, account: str, name: str) -> None:
        """It is gone."""


class Heed(Protocol):
    """Something that will break unless somebody acts (`routing.warnings.Warning`)."""

    @property
    def nl(self) -> str:
        """In Dutch."""

    @property
    def en(self) -> str:
        """In English."""

    @property
    def organisation(self) -> str | None:
        """That it is about."""

    @property
    def system(self) -> str | None:
        """That it is about."""

    @property
    def day(self) -> date | None:
        """On which it happens."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Desk:
    """Everything the pages ask. What is None is not there in this process, and its part of the page is left out."""

    board: Board
    actions: Actions
    register: Callable[[], Register]
    lanes: LaneKeeper
    contents: Contents  #: of messages, which this process has no key for
    views: SavedViews
    index: Callable[[str], bytes]  #: the keyed hash of a pupil or a ketenId
    ordered: Sequence[tuple[str, str]] = ()  #: dienst and kind of the messages that have an order key
    processes: Callable[[], Sequence[Mapping[str, Any]]] | None = None  #: our own: name, state, started_us, seen_us
    heeds: Callable[[Scope], Sequence[Heed]] | None = None
    alerts: Alerts | None = None  #: and whom to ask at a party
    changes: RegisterChanges | None = None  #: of the service register
    reports: ReportPost | None = None  #: partners' reports by mail
    proefs: Proefs | None = None  #: test messages to endpoints


def heeds_of(warnings: Warnings) -> Callable[[Scope], Sequence[Heed]]:
    """What stands of those parties that somebody sees."""

    def heeds(scope: Scope) -> Sequence[Heed]:
        parties = None if scope.everything else sorted(scope.organisations | scope.systems)
        return [kept.warning for kept in warnings.standing(parties=parties)]

    return heeds
