"""Where a register has its mandates and endpoints: in memory (`WholeParts`), or in a store (`register_stored.StoredParts`)."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import NamedTuple, Protocol, TypeVar

from routing.register_values import Dated, Endpoint, Mandate, lane_of, turns
from schemas.oin import Oin, institution_of

N = TypeVar("N", int, float)


class Pair(NamedTuple):
    """Mandates and endpoints of every day."""

    mandates: tuple[Mandate, ...] = ()
    endpoints: tuple[Endpoint, ...] = ()


class Holding(Pair):
    """The pair of one organisation, with what finds a row in it. Made by `hold`."""

    by_dienst: Mapping[str, tuple[Mandate, ...]]
    by_place: Mapping[tuple[str, str, str], tuple[Endpoint, ...]]  #: by receiver, dienst and version


def hold(mandates: Iterable[Mandate] = (), endpoints: Iterable[Endpoint] = ()) -> Holding:
    """What one organisation has."""
    held = Holding(tuple(mandates), tuple(endpoints))
    by_dienst: dict[str, list[Mandate]] = {}
    for mandate in held.mandates:
        by_dienst.setdefault(mandate.dienst, []).append(mandate)
    by_place: dict[tuple[str, str, str], list[Endpoint]] = {}
    for endpoint in held.endpoints:
        for place in places_of(endpoint):
            by_place.setdefault(place, []).append(endpoint)
    held.by_dienst = {dienst: tuple(rows) for dienst, rows in by_dienst.items()}
    held.by_place = {place: tuple(rows) for place, rows in by_place.items()}
    return held


def places_of(row: Endpoint) -> list[tuple[str, str, str]]:
    """By which receivers, dienst and version an endpoint is found."""
    return [(receiver, row.dienst, row.versie) for receiver in (row.organisation, row.routeringskenmerk) if receiver]


NOTHING = hold()


@dataclass(frozen=True, slots=True)
class Place:
    """A URL of a system, or its mailbox, with the narrowest limits of the endpoints there."""

    system: Oin
    url: str | None
    at_once: int | None = None
    per_second: float | None = None

    @property
    def lane(self) -> str:
        """As `Endpoint.lane`."""
        return lane_of(self.system, self.url)


class Parts(Protocol):
    """The mandates and endpoints of one version. A store's raise StoreUnavailable."""

    def of_organisation(self, oin: str) -> Holding:
        """All of one organisation."""

    def mandates(
        self, organisation: str, dienst: str, system: str, day: date, *, mailbox: bool
    ) -> tuple[Sequence[Mandate], Mapping[str, str]]:
        """Those by which this system acts, acted or will act for the organisation in this dienst; and, where another register was asked,
        which and when, for the record. `day`: the one that is judged, because another register answers about one day. `mailbox`: it is
        asked for an endpoint that is a mailbox."""

    def endpoints(self, receiver: str, dienst: str, versie: str, day: date) -> tuple[Sequence[Endpoint], Mapping[str, str]]:
        """Those of an organisation (and of its administrations), or of one routeringskenmerk; the rest as above."""

    def of_system(self, system: str) -> Pair:
        """All that name this system."""

    def schools_of(self, system: str) -> int:
        """How many organisations ever gave this system a mandate."""

    def endpoints_of(self, system: str) -> int:
        """How many endpoints of every day name this system."""

    def stamp(self, system: str) -> object:
        """The very same object, also in newer versions, for as long as nothing changes that names this system."""

    def endpoint(self, id: str) -> Endpoint | None:
        """The endpoint with this id."""

    def lanes(self) -> Sequence[Place]:
        """Each place that an endpoint names, once."""

    def next_change(self, day: date) -> date | None:
        """The first day after `day` on which one starts, or is over."""

    def every_mandate(self) -> Iterator[Mandate]:
        """All of them: for people who list them, and never for a message."""

    def every_endpoint(self) -> Iterator[Endpoint]:
        """The same."""

    def sizes(self) -> tuple[int, int]:
        """How many mandates and endpoints there are."""


class OwnParts:
    """What a register answers that has all rows of an organisation itself."""

    def of_organisation(self, oin: str) -> Holding:
        """See the port."""
        raise NotImplementedError

    def mandates(
        self, organisation: str, dienst: str, system: str, day: date, *, mailbox: bool
    ) -> tuple[Sequence[Mandate], Mapping[str, str]]:
        """See the port."""
        return [row for row in self.of_organisation(organisation).by_dienst.get(dienst, ()) if row.system == system], {}

    def endpoints(self, receiver: str, dienst: str, versie: str, day: date) -> tuple[Sequence[Endpoint], Mapping[str, str]]:
        """See the port."""
        return self.of_organisation(institution_of(receiver)).by_place.get((receiver, dienst, versie), ()), {}


class WholeParts(OwnParts):
    """`Parts` in memory."""

    def __init__(self, mandates: Iterable[Mandate] = (), endpoints: Iterable[Endpoint] = ()) -> None:
        self._mandates = tuple(mandates)
        self._endpoints = {row.id: row for row in endpoints}
        mine: dict[str, tuple[list[Mandate], list[Endpoint]]] = {}
        for mandate in self._mandates:
            mine.setdefault(mandate.organisation, ([], []))[0].append(mandate)
        for endpoint in self._endpoints.values():
            mine.setdefault(endpoint.organisation, ([], []))[1].append(endpoint)
        self._holdings = {oin: hold(*both) for oin, both in mine.items()}
        self._changes = days_of(self._mandates, self._endpoints.values())

    def of_organisation(self, oin: str) -> Holding:
        """See the port."""
        return self._holdings.get(oin, NOTHING)

    def of_system(self, system: str) -> Pair:
        """See the port."""
        mandates = tuple(row for row in self._mandates if row.system == system)
        return Pair(mandates, tuple(row for row in self._endpoints.values() if row.system == system))

    def schools_of(self, system: str) -> int:
        """See the port."""
        return len({row.organisation for row in self._mandates if row.system == system})

    def endpoints_of(self, system: str) -> int:
        """See the port."""
        return sum(row.system == system for row in self._endpoints.values())

    def stamp(self, system: str) -> object:
        """See the port."""
        return self

    def endpoint(self, id: str) -> Endpoint | None:
        """See the port."""
        return self._endpoints.get(id)

    def lanes(self) -> Sequence[Place]:
        """See the port."""
        found: dict[str, Place] = {}
        for row in self._endpoints.values():
            before = found.get(row.lane, row)
            found[row.lane] = Place(row.system, row.url, _least(before.at_once, row.at_once), _least(before.per_second, row.per_second))
        return tuple(found.values())

    def next_change(self, day: date) -> date | None:
        """See the port."""
        return next_of(self._changes, day)

    def every_mandate(self) -> Iterator[Mandate]:
        """See the port."""
        return iter(self._mandates)

    def every_endpoint(self) -> Iterator[Endpoint]:
        """See the port."""
        return iter(self._endpoints.values())

    def sizes(self) -> tuple[int, int]:
        """See the port."""
        return len(self._mandates), len(self._endpoints)


def days_of(*lists: Iterable[Dated]) -> Sequence[date]:
    """The days on which something of these starts, or is over, in order."""
    return sorted({day for rows in lists for row in rows for day in turns(row)})


def next_of(days: Sequence[date], day: date) -> date | None:
    """The first of these days that is after `day`."""
    place = bisect_right(days, day)
    return days[place] if place < len(days) else None


def _least(one: N | None, other: N | None) -> N | None:
    return min(filter(None, (one, other)), default=None)
