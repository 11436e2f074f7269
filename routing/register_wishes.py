"""What somebody may want of the register, who they are, and the one table of who may do what (domain facts 1.4).

A wish is data: the command line, the API and bulk files make the same ones, and `routing.register_rules.judge` answers them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from enum import StrEnum
from typing import Any, Final

from schemas.oin import Oin


class Role(StrEnum):
    """As whom somebody comes to the register."""

    OPERATOR = "operator"
    BOARD = "board"
    ORGANISATION = "organisation"  #: a school, municipality or central service
    SUPPLIER = "supplier"  #: one of its systems, by certificate and API key
    ANYONE = "anyone"  #: any party with a good certificate


@dataclass(frozen=True, slots=True)
class Actor:
    """Who wishes. `oin`: of the board, the organisation or the system; an operator has none."""

    role: Role
    oin: Oin | None = None

    def __str__(self) -> str:
        return f"{self.role} {self.oin}" if self.oin else str(self.role)


OPERATOR: Final = Actor(Role.OPERATOR)


class RuleBroken(Exception):
    """A wish that cannot be granted; nothing was changed.

    `code`: FORBIDDEN (the role may never), NOT_YOURS, UNKNOWN (no such row), WRONG (days, OIN, URL), NO_MANDATE, OVERLAP, QUOTA (too
    many endpoints) or FOLLOWS (the register is a copy of another one);
    `nl` and `en`: one sentence that says what is wrong and what to do; `row`: key of the row that is in the way.
    """

    def __init__(self, code: str, nl: str, en: str, row: str | None = None) -> None:
        super().__init__(en)
        self.code, self.nl, self.en, self.row = code, nl, en, row


class _Absent:
    """A field that a change leaves as it is."""

    def __repr__(self) -> str:
        return "ABSENT"


ABSENT: Final = _Absent()


@dataclass(frozen=True, slots=True, kw_only=True)
class GiveMandate:
    """An organisation lets a system act for it in a dienst; a board does so for all its schools at once."""

    organisation: Oin  #: or the board
    dienst: str
    system: Oin
    start: date | None = None  #: None: today
    until: date | None = None
    tokens: tuple[str, ...] = ()  #: of the mandates to be made; as many as are missing are drawn


@dataclass(frozen=True, slots=True, kw_only=True)
class EndMandate:
    """A mandate runs up to and including a day, and no endpoint under it for longer. Before its first day it is taken back whole."""

    organisation: Oin
    token: str
    until: date


@dataclass(frozen=True, slots=True, kw_only=True)
class EndMandates:
    """Every mandate for a system and dienst that would go on after a day, of an organisation or of all schools of a board, ends then."""

    organisation: Oin  #: or the board
    dienst: str
    system: Oin
    until: date


@dataclass(frozen=True, slots=True, kw_only=True)
class RevokeMandate:
    """A mandate counts on no day any more, and what was handed in under it goes no further (design rule 4)."""

    organisation: Oin
    token: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AddEndpoint:
    """Where an organisation, or one administration of it, receives a dienst version from now on or from a later day."""

    organisation: Oin
    dienst: str
    versie: str
    system: Oin
    routeringskenmerk: Oin | None = None
    url: str | None = None  #: None: the system's mailbox
    token: str | None = None  #: of the mandate; None: whichever the organisation gave the system for these days
    attributes: tuple[str, ...] = ()
    start: date | None = None  #: None: today, or the mandate's first day when that is later
    until: date | None = None  #: None: the mandate's last day
    more: Mapping[str, Any] = field(default_factory=dict)  #: address, at_once, per_second
    id: str | None = None  #: None: made from what it is for


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangeEndpoint:
    """An endpoint's delivery or last day. `day`: from then on (the old row ends the day before); None: the row as a whole is corrected."""

    id: str
    url: str | _Absent | None = ABSENT  #: None: the system's mailbox
    attributes: tuple[str, ...] | _Absent = ABSENT
    start: date | _Absent | None = ABSENT
    until: date | _Absent | None = ABSENT
    more: Mapping[str, Any] = field(default_factory=dict)  #: address, at_once, per_second; None takes one away
    day: date | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class EndEndpoint:
    """An endpoint's last day; before its first day it is taken back whole."""

    id: str
    until: date


@dataclass(frozen=True, slots=True, kw_only=True)
class MoveAddress:
    """All endpoints of a system at one address go to another one from a day on. None: its mailbox."""

    system: Oin
    old: str | None
    new: str | None
    day: date


@dataclass(frozen=True, slots=True, kw_only=True)
class Delegate:
    """A region receives a dienst for a municipality."""

    municipality: Oin
    dienst: str
    region: Oin
    start: date | None = None  #: None: today
    until: date | None = None
    id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class EndDelegation:
    """A delegation's last day; before its first day it is taken back whole."""

    id: str
    until: date


@dataclass(frozen=True, slots=True, kw_only=True)
class Redivide:
    """Municipalities go up in another one on a day (1 January): their last day is the one before, and so is that of all they have."""

    ended: tuple[Oin, ...]
    into: Oin
    day: date
    codes: tuple[str, ...] = ()  #: gemeentecodes that `into` has from that day; also codes of those that end


Wish = (
    GiveMandate
    | EndMandate
    | EndMandates
    | RevokeMandate
    | AddEndpoint
    | ChangeEndpoint
    | EndEndpoint
    | MoveAddress
    | Delegate
    | EndDelegation
    | Redivide
)

#: What `MAY` says of a role: everything, or what is its own (`OWN` says what that means for each role), or nothing (no entry).
ALL, OWN = "all", "own"

#: Who may do what: action -> role -> ALL or OWN. docs/register.md prints this table.
MAY: Final[Mapping[str, Mapping[Role, str]]] = {
    "look up organisations, diensten and an endpoint": dict.fromkeys(Role, ALL),
    "check whether a mandate is there": dict.fromkeys(Role, ALL),
    "see mandates with their tokens": {Role.OPERATOR: ALL, Role.BOARD: OWN, Role.ORGANISATION: OWN, Role.SUPPLIER: OWN},
    "give a mandate": {Role.OPERATOR: ALL, Role.BOARD: OWN, Role.ORGANISATION: OWN},
    "end a mandate": {Role.OPERATOR: ALL, Role.BOARD: OWN, Role.ORGANISATION: OWN},
    "revoke a mandate": {Role.OPERATOR: ALL, Role.BOARD: OWN, Role.ORGANISATION: OWN},
    "add an endpoint": {Role.OPERATOR: ALL, Role.SUPPLIER: OWN},
    "change an endpoint": {Role.OPERATOR: ALL, Role.SUPPLIER: OWN},
    "end an endpoint": {Role.OPERATOR: ALL, Role.SUPPLIER: OWN},
    "move a system's address": {Role.OPERATOR: ALL, Role.SUPPLIER: OWN},
    "delegate a dienst to a region": {Role.OPERATOR: ALL, Role.ORGANISATION: OWN},
    "end a delegation": {Role.OPERATOR: ALL, Role.ORGANISATION: OWN},
    "redivide municipalities": {Role.OPERATOR: ALL},
    "load organisations, boards, systems and diensten": {Role.OPERATOR: ALL},
    "set days that are over": {Role.OPERATOR: ALL},
}

#: What a role's own is.
OWN_IS: Final[Mapping[Role, str]] = {
    Role.BOARD: "mandates of the schools under it",
    Role.ORGANISATION: "its own mandates, and a municipality's delegations",
    Role.SUPPLIER: "mandates given to the system, and its own endpoints; an organisation that connects itself is such a system",
}

#: The line of `MAY` that a wish falls under.
ACTION: Final[Mapping[type[Any], str]] = {
    GiveMandate: "give a mandate",
    EndMandate: "end a mandate",
    EndMandates: "end a mandate",
    RevokeMandate: "revoke a mandate",
    AddEndpoint: "add an endpoint",
    ChangeEndpoint: "change an endpoint",
    EndEndpoint: "end an endpoint",
    MoveAddress: "move a system's address",
    Delegate: "delegate a dienst to a region",
    EndDelegation: "end a delegation",
    Redivide: "redivide municipalities",
}
