"""A register that answers one question at a time: another one's API. Which of the two is asked, ours or the other, is decided here.

Nothing here waits. What the other register said lately is at hand; what it did not raises `NotAsked`, and whoever decides asks aside and
decides again. While it is away `RegisterAway` says so, and the message waits: it is never taken for unknown (domain facts 1.6, recipe 5).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from typing import Final, Literal, Protocol, TypeVar

from routing.register_model import Register
from routing.register_parts import Holding, Pair, Parts, Place
from routing.register_stored import NotKept, without_waiting
from routing.register_values import DienstVersion, Endpoint, Mandate
from routing.work import StoreUnavailable
from schemas.oin import Oin

T = TypeVar("T")

#: `own`: our register alone. `remote`: mandates and endpoints are the other's. `first`: ours, and the other's where ours has nothing for
#: the day.
Source = Literal["own", "remote", "first"]

#: Versions of a dienst whose namespaces are tried for one mandate, which is of the dienst: the newest first.
MOST_NAMESPACES: Final = 4
_ID: Final = re.compile(r"osr/([0-9]{8}[0-9A-Z]{12})/([^/]+)/([^/]+)/([^/]{1,64})\Z")


@dataclass(frozen=True, slots=True)
class MandateQuestion:
    """Whether a system may act for an organisation in a dienst on a day."""

    organisation: Oin
    dienst: str
    system: Oin
    day: date
    namespaces: tuple[str, ...]  #: of the dienst's versions: what another register calls it


@dataclass(frozen=True, slots=True)
class EndpointQuestion:
    """Where an organisation or routeringskenmerk receives a dienst version on a day."""

    receiver: Oin
    dienst: str
    versie: str
    day: date
    namespace: str


Question = MandateQuestion | EndpointQuestion


@dataclass(frozen=True, slots=True)
class Said:
    """What the other register answered. Of a mandate it says yes or no and not its days."""

    mandate: Mandate | None
    endpoints: tuple[Endpoint, ...]
    asked_at: datetime


class NotAsked(NotKept):
    """The other register was not asked this lately. `begin` asks it, aside; what comes is done when it answered or did not, and never
    raises. Then decide again."""

    def __init__(self, question: Question, begin: Callable[[], Future[None]]) -> None:
        super().__init__(lambda: begin().result())
        self.question, self.begin = question, begin


class RegisterAway(StoreUnavailable):
    """The other register does not answer now; `trouble` says how."""

    def __init__(self, register: str, trouble: str, since: datetime) -> None:
        super().__init__(f"the service register at {register} does not answer since {since:%Y-%m-%d %H:%M:%S} UTC: {trouble}")
        self.register, self.trouble, self.since = register, trouble, since

    @classmethod
    def of(cls, facts: Mapping[str, str]) -> RegisterAway:
        """From the record of a decision."""
        return cls(facts["register"], facts["trouble"], datetime.fromisoformat(facts["since"]))

    def again(self) -> RegisterAway:
        """The same to be raised once more; an exception that is raised twice remembers both ways it went."""
        return RegisterAway(self.register, self.trouble, self.since)

    def facts(self) -> dict[str, str]:
        """For the record of a decision."""
        return {"register": self.register, "trouble": self.trouble, "since": moment(self.since)}


class OtherRegister(Protocol):
    """Another register as its answers are at hand. For several threads."""

    @property
    def name(self) -> str:
        """What decisions call it: its host."""

    def said(self, question: Question) -> Said:
        """What it answered lately. Raises NotAsked, and RegisterAway."""


class AskedParts:
    """`Parts` of our register, with what another one says of mandates and endpoints. Lists are those of ours: the other has none for us.

    A mailbox is ours whole, its endpoint and its mandate: the other register names URLs, and systems that it does not know cannot connect.
    """

    def __init__(
        self,
        own: Parts,
        other: OtherRegister,
        diensten: Mapping[tuple[str, str], DienstVersion],
        today: Callable[[], date],
        *,
        own_first: bool,
    ) -> None:
        self.own = own
        self._other, self._diensten, self._today, self._own_first = other, diensten, today, own_first

    def mandates(
        self, organisation: str, dienst: str, system: str, day: date, *, mailbox: bool
    ) -> tuple[Sequence[Mandate], Mapping[str, str]]:
        """See the port."""
        rows, facts = self.own.mandates(organisation, dienst, system, day, mailbox=mailbox)
        if mailbox or (self._own_first and any(row.covers(day) for row in rows)):
            return rows, facts
        namespaces = self._namespaces(dienst, day)
        said = self._other.said(MandateQuestion(Oin(organisation), dienst, Oin(system), day, namespaces)) if namespaces else None
        return ([said.mandate] if said and said.mandate else rows if self._own_first else ()), self._facts(said)

    def endpoints(self, receiver: str, dienst: str, versie: str, day: date) -> tuple[Sequence[Endpoint], Mapping[str, str]]:
        """See the port."""
        rows, facts = self.own.endpoints(receiver, dienst, versie, day) if self._own_first else ((), {})
        if any(row.covers(day) for row in rows):
            return rows, facts
        said = self._ask_endpoints(receiver, dienst, versie, day)
        return ((*rows, *said.endpoints) if said else rows), self._facts(said)

    def endpoint(self, id: str) -> Endpoint | None:
        """See the port. One of the other register's is named by what to ask for it."""
        asked = _ID.match(id)
        if asked is None:
            return self.own.endpoint(id) if self._own_first else None
        said = self._ask_endpoints(asked[1], asked[2], asked[3], self._today())
        return next((row for row in said.endpoints if row.id == id), None) if said else None

    def _ask_endpoints(self, receiver: str, dienst: str, versie: str, day: date) -> Said | None:
        """None for a version that has no namespace here: it cannot be asked for."""
        version = self._diensten.get((dienst, versie))
        if version is None or not version.namespace:
            return None
        return self._other.said(EndpointQuestion(Oin(receiver), dienst, versie, day, version.namespace))

    def _namespaces(self, dienst: str, day: date) -> tuple[str, ...]:
        rows = [row for row in self._diensten.values() if row.dienst == dienst and row.namespace and row.covers(day)]
        return tuple(row.namespace for row in reversed(rows))[:MOST_NAMESPACES]

    def _facts(self, said: Said | None) -> dict[str, str]:
        return {"register": self._other.name, "asked": moment(said.asked_at)} if said else {}

    # -- what only ours has ------------------------------------------------------------------------------------------------------------

    def of_organisation(self, oin: str) -> Holding:
        """See the port."""
        return self.own.of_organisation(oin)

    def of_system(self, system: str) -> Pair:
        """See the port."""
        return self.own.of_system(system)

    def schools_of(self, system: str) -> int:
        """See the port."""
        return self.own.schools_of(system)

    def endpoints_of(self, system: str) -> int:
        """See the port."""
        return self.own.endpoints_of(system)

    def stamp(self, system: str) -> object:
        """See the port."""
        return self.own.stamp(system)

    def lanes(self) -> Sequence[Place]:
        """See the port."""
        return self.own.lanes()

    def next_change(self, day: date) -> date | None:
        """See the port."""
        return self.own.next_change(day)

    def every_mandate(self) -> Iterator[Mandate]:
        """See the port."""
        return self.own.every_mandate()

    def every_endpoint(self) -> Iterator[Endpoint]:
        """See the port."""
        return self.own.every_endpoint()

    def sizes(self) -> tuple[int, int]:
        """See the port."""
        return self.own.sizes()

    def kept_only(self, own: Parts) -> AskedParts:
        """The same beside what is in memory of ours."""
        return AskedParts(own, self._other, self._diensten, self._today, own_first=self._own_first)


def asking(register: Register, other: OtherRegister, today: Callable[[], date], *, source: Source) -> Register:
    """Our register, with the other one asked too, or instead. `today`: of endpoints that are asked for by their id."""
    if source == "own":
        return register
    return replace(register, parts=AskedParts(register.parts, other, register.diensten, today, own_first=source == "first"))


def never_waiting(register: Register) -> Register:
    """`register_stored.without_waiting`, also of a register that asks another one."""
    parts = register.parts
    if not isinstance(parts, AskedParts):
        return without_waiting(register)
    return replace(register, parts=parts.kept_only(without_waiting(replace(register, parts=parts.own)).parts))


def endpoint_id_of(question: EndpointQuestion, token: str) -> str:
    """What an endpoint of another register is called here: it says what to ask for it, in whichever process that is done."""
    return f"osr/{question.receiver}/{question.dienst}/{question.versie}/{token}"


def patiently(act: Callable[[], T]) -> T:
    """Does what may have to ask the other register, for a command: asks, and does it again."""
    while True:
        try:
            return act()
        except NotAsked as missing:
            missing.begin().result()


def moment(at: datetime) -> str:
    """As records hold it."""
    return f"{at.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"
