"""What the service register is made of: rows with days. Days are Europe/Amsterdam days, the end day included (rule 4).

Source: domain facts 1.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, timedelta
from enum import StrEnum
from typing import Final, Literal

from schemas.oin import Oin

Channel = Literal["amqp", "https"]

#: The status of a dienst version that says nothing else.
ACTIVE: Final = "active"


class Standing(StrEnum):
    """How something that has days stands on a day."""

    CURRENT = "current"
    ENDED = "ended"
    NOT_YET = "not-yet"
    UNKNOWN = "unknown"  #: never in the register


class Kind(StrEnum):
    """What an organisation is; it decides who must act when something of it is missing."""

    SCHOOL = "school"
    MUNICIPALITY = "municipality"
    CENTRAL = "central"
    HUB = "hub"


@dataclass(frozen=True, slots=True, kw_only=True)
class Dated:
    """Anything with days. None: no such limit."""

    start: date | None = None  #: first day; `from` in the document
    until: date | None = None  #: last day, itself included

    def covers(self, day: date) -> bool:
        """Whether it is valid on this day."""
        return (self.start is None or self.start <= day) and (self.until is None or day <= self.until)

    def standing(self, day: date) -> Standing:
        """Current, ended, or not yet."""
        if self.start is not None and day < self.start:
            return Standing.NOT_YET
        return Standing.CURRENT if self.until is None or day <= self.until else Standing.ENDED

    def days(self) -> dict[str, str]:
        """Its days as decisions and documents hold them: `from` and `until`, absent when there is no limit."""
        named = (("from", self.start), ("until", self.until))
        return {name: day.isoformat() for name, day in named if day is not None}


@dataclass(frozen=True, slots=True, kw_only=True)
class Gemeentecode(Dated):
    """A municipality code (CBS, four digits) for as long as it is this municipality's."""

    code: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Organisation(Dated):
    """Who speaks or is spoken to."""

    oin: Oin
    name: str
    kind: Kind
    roles: tuple[str, ...] = ()
    brin: str | None = None  #: of a school, as its OIN says
    gemeentecodes: tuple[Gemeentecode, ...] = ()
    board: Oin | None = None  #: of a school: the board (bevoegd gezag) that acts for it
    oa_id: str | None = None  #: how the national register numbers it (organisatieadministratie)


@dataclass(frozen=True, slots=True, kw_only=True)
class Board(Dated):
    """A board (bevoegd gezag), which gives mandates for all its schools at once."""

    oin: Oin
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class System(Dated):
    """What connects: its certificate's OIN is its name everywhere."""

    oin: Oin
    name: str
    supplier: str
    channels: tuple[Channel, ...] = ("amqp", "https")


@dataclass(frozen=True, slots=True, kw_only=True)
class DienstVersion(Dated):
    """A version of a dienst, and the days on which it may be used to hand in."""

    dienst: str
    versie: str
    namespace: str
    name: str = ""  #: of the dienst, for people
    description: str = ""
    status: str = ACTIVE


@dataclass(frozen=True, slots=True, kw_only=True)
class Mandate(Dated):
    """An organisation lets a system act for it in a dienst, in both directions."""

    organisation: Oin
    dienst: str
    system: Oin
    revoked: bool = False  #: withdrawn at once: counts on no day, and stops messages that were handed in under it (rule 4)
    token: str | None = None  #: what suppliers name it by (a UUID); None: not in the store yet

    @property
    def key(self) -> str:
        """What decisions call it: the system, and its days where it has any."""
        days = f" {self.start or ''}..{self.until or ''}" if self.start or self.until else ""
        return f"{self.system}{days}{' revoked' if self.revoked else ''}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint(Dated):
    """Where one organisation, or one administration of it, receives one dienst version: a URL, or a mailbox of its system."""

    id: str
    organisation: Oin
    routeringskenmerk: Oin | None = None
    dienst: str
    versie: str
    system: Oin
    url: str | None = None  #: None: the system's mailbox
    address: str | None = None  #: logical address for wsa:To, without oin, where we write the envelope; None: anonymous
    at_once: int | None = None  #: calls under way at a time, less than the usual
    per_second: float | None = None  #: calls a second, of each process that pushes
    attributes: tuple[str, ...] = ()

    def address_for(self, receiver: str) -> str | None:
        """wsa:To of a message for this receiver; None: whoever writes the envelope uses the anonymous address (facts 2.3)."""
        if self.address is None:
            return None
        return f"{self.address}{'&' if '?' in self.address else '?'}oin={receiver}"

    @property
    def lane(self) -> str:
        """What the window and the circuit breaker count by: all endpoints that are in truth one queue or one URL share it (rule 7)."""
        return lane_of(self.system, self.url)


@dataclass(frozen=True, slots=True, kw_only=True)
class Delegation(Dated):
    """On these days, a municipality's messages of a dienst go where those of its region go."""

    id: str
    municipality: Oin
    dienst: str
    region: Oin


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What a look-up on a day gave: the organisation there was, is or will be, and `row`, whose days say when."""

    standing: Standing
    organisation: Organisation | None = None
    row: Dated | None = None


def lane_of(system: str, url: str | None) -> str:
    """The name of a system's mailbox, or of one of its URLs."""
    return f"mailbox {system}" if url is None else f"push {system} {url}"


def within(code: Gemeentecode, organisation: Organisation) -> Gemeentecode:
    """The code for the days on which its municipality exists too."""
    if organisation.start is None and organisation.until is None:
        return code
    return Gemeentecode(
        code=code.code,
        start=max(filter(None, (code.start, organisation.start)), default=None),
        until=min(filter(None, (code.until, organisation.until)), default=None),
    )


def turns(row: Dated) -> Iterable[date]:
    """The days on which this row becomes valid, and on which it is so no more."""
    if row.start is not None:
        yield row.start
    if row.until is not None and row.until < date.max:
        yield row.until + timedelta(days=1)
