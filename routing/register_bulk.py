"""Many wishes at once: each is judged by the register as those before it would leave it, and what was granted is made as one version."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from datetime import date
from typing import TypeVar

from routing.addresses import public
from routing.register import Register
from routing.register_book import RowChange
from routing.register_files import Difference
from routing.register_parts import Holding, OwnParts, Pair, Parts, Place, hold, places_of
from routing.register_rows import key_of, value_of, write_row
from routing.register_rules import MOST_OF_SYSTEM, Judged, judge
from routing.register_values import Endpoint, Mandate
from routing.register_wishes import Actor, Wish

R = TypeVar("R", Mandate, Endpoint)


class InTurn:
    """Judges wishes about mandates and endpoints one after another. Nothing is made; `changes` is what was granted so far."""

    def __init__(
        self, register: Register, actor: Actor, today: date, *, may_call: Callable[[str], bool] = public, most: int = MOST_OF_SYSTEM
    ) -> None:
        """`may_call`, `most`: as of `judge`."""
        self._parts = ChangedParts(register.parts)
        self.register = replace(register, parts=self._parts)  #: as it would be now
        self._actor, self._today, self._may_call, self._most = actor, today, may_call, most
        self.changes: list[RowChange] = []

    def judge(self, wish: Wish) -> tuple[Judged, list[Difference]]:
        """What is granted, and what it makes of the rows before it. Raises RuleBroken; then everything is as it was."""
        judged = judge(self.register, self._actor, wish, self._today, may_call=self._may_call, most=self._most)
        different = [Difference(one.list, one.key, self._parts.row(one), one.row) for one in judged.changes]
        self._parts.apply(judged.changes)
        self.changes += judged.changes
        return judged, different


class ChangedParts(OwnParts):
    """`Parts` with changes that are in no version yet. For one thread."""

    def __init__(self, base: Parts) -> None:
        self._base = base
        self._held: dict[str, Holding] = {}  # of the organisations that were asked about
        self._endpoints: dict[str, Endpoint | None] = {}
        self._had: dict[str, int] = {}  # system -> its endpoints
        self._more: Counter[str] = Counter()  # and how many more it would have

    def apply(self, changes: Sequence[RowChange]) -> None:
        """From now on these are made."""
        for change in changes:
            old = self._found(change)
            new = None if change.row is None else value_of(change.list, change.row)
            for row, more in ((old, -1), (new, 1)):
                if isinstance(row, Endpoint):
                    self._more[row.system] += more
            if change.list == "endpoints":
                self._endpoints[change.key] = new if isinstance(new, Endpoint) else None
            if isinstance(whose := new or old, Mandate | Endpoint):
                self._held[whose.organisation] = _with(self.of_organisation(whose.organisation), old, new)

    def row(self, change: RowChange) -> dict[str, object] | None:
        """The row of this list and key; None: there is none."""
        found = self._found(change)
        return None if found is None else write_row(found)

    def _found(self, change: RowChange) -> Mandate | Endpoint | None:
        """A mandate that somebody changes was looked up with its organisation before."""
        if change.list == "endpoints":
            return self.endpoint(change.key)
        rows = (row for held in self._held.values() for row in held.mandates)
        return next((row for row in rows if change.key and key_of(row) == change.key), None)

    def of_organisation(self, oin: str) -> Holding:
        """See the port."""
        found = self._held.get(oin)
        if found is None:
            found = self._held[oin] = hold(*self._base.of_organisation(oin))
        return found

    def of_system(self, system: str) -> Pair:
        """See the port: what is in the store, with what was changed of the organisations that were asked about."""
        mandates, endpoints = self._base.of_system(system)
        held = list(self._held.values())
        return Pair(
            (*(row for row in mandates if row.organisation not in self._held), *_of_system(system, (one.mandates for one in held))),
            (*(row for row in endpoints if row.organisation not in self._held), *_of_system(system, (one.endpoints for one in held))),
        )

    def endpoints_of(self, system: str) -> int:
        """See the port."""
        if system not in self._had:
            self._had[system] = self._base.endpoints_of(system)
        return self._had[system] + self._more[system]

    def endpoint(self, id: str) -> Endpoint | None:
        """See the port."""
        if id not in self._endpoints:
            self._endpoints[id] = self._base.endpoint(id)
        return self._endpoints[id]

    # -- not asked by the rules: as they are in the store --------------------------------------------------------------------------------
    def schools_of(self, system: str) -> int:
        """See the port."""
        return self._base.schools_of(system)

    def stamp(self, system: str) -> object:
        """See the port."""
        return object()

    def lanes(self) -> Sequence[Place]:
        """See the port."""
        return self._base.lanes()

    def next_change(self, day: date) -> date | None:
        """See the port."""
        return self._base.next_change(day)

    def every_mandate(self) -> Iterator[Mandate]:
        """See the port."""
        return self._base.every_mandate()

    def every_endpoint(self) -> Iterator[Endpoint]:
        """See the port."""
        return self._base.every_endpoint()

    def sizes(self) -> tuple[int, int]:
        """See the port."""
        return self._base.sizes()


def _of_system(system: str, held: Iterable[Iterable[R]]) -> Iterator[R]:
    return (row for rows in held for row in rows if row.system == system)


def _with(held: Holding, old: Mandate | Endpoint | None, new: object) -> Holding:
    if isinstance(new or old, Mandate):
        return _with_mandate(held, old if isinstance(old, Mandate) else None, new if isinstance(new, Mandate) else None)
    return _with_endpoint(held, old if isinstance(old, Endpoint) else None, new if isinstance(new, Endpoint) else None)


def _with_mandate(held: Holding, old: Mandate | None, new: Mandate | None) -> Holding:
    rows = tuple(row for row in held.mandates if old is None or row.token != old.token)
    return hold((*rows, new) if new is not None else rows, held.endpoints)


def _with_endpoint(held: Holding, old: Endpoint | None, new: Endpoint | None) -> Holding:
    """Only what finds that row is made anew: a bulk of hundreds is often of one school."""

    def changed(rows: tuple[Endpoint, ...], row: Endpoint | None) -> tuple[Endpoint, ...]:
        left = rows if old is None else tuple(one for one in rows if one.id != old.id)
        return (*left, row) if row is not None else left

    made, by_place = Holding(held.mandates, changed(held.endpoints, new)), dict(held.by_place)
    places = {place for row in (old, new) if row is not None for place in places_of(row)}
    for place in places:
        by_place[place] = changed(by_place.get(place, ()), new if new is not None and place in places_of(new) else None)
    made.by_dienst, made.by_place = held.by_dienst, by_place
    return made
