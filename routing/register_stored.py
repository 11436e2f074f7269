"""A register whose mandates and endpoints stay in the store, and are read when somebody asks.

What was read is kept, bounded, and a new version lets go only of what it changed. May be used by several threads at a time.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import replace
from datetime import date
from typing import Any, Final, Generic, NoReturn, TypeVar, cast

from routing.register_book import RegisterBook
from routing.register_model import Register
from routing.register_parts import Holding, OwnParts, Pair, Parts, Place, hold
from routing.register_rows import key_of, value_of
from routing.register_values import Board, Dated, Delegation, DienstVersion, Endpoint, Mandate, Organisation, System
from schemas.oin import Oin

K = TypeVar("K")
V = TypeVar("V")

#: Mandates and endpoints that one process keeps, some 400 bytes each: most of the organisations of a national register.
ROWS_KEPT: Final = 160_000
#: Endpoints that are kept by their id.
ENDPOINTS_KEPT: Final = 50_000
#: After a change of more rows than this everything is read anew.
CHANGES_FOLLOWED: Final = 20_000
_PAGE: Final = 1_000
_SMALL: Final = ("organisations", "boards", "systems", "diensten", "delegations")


class Recent(Generic[K, V]):
    """What was asked for lately: the older half of it leaves when there is no more room."""

    def __init__(self, room: int, size: Callable[[V], int] = lambda _: 1) -> None:
        self._half, self._size = room // 2, size
        self._young: dict[K, V] = {}
        self._old: dict[K, V] = {}
        self._filled = 0
        self._turn = threading.Lock()

    def get(self, key: K) -> V | None:
        """None: not kept."""
        found = self._young.get(key)
        if found is None and (found := self._old.get(key)) is not None:
            self.put(key, found)
        return found

    def put(self, key: K, value: V) -> None:
        """Keeps it."""
        with self._turn:
            self._filled += self._size(value)
            if self._filled > self._half:
                self._young, self._old, self._filled = {}, self._young, self._size(value)
            self._young[key] = value

    def without(self, keys: Collection[K]) -> Recent[K, V]:
        """The same, but for these; this one stays as it is."""
        with self._turn:
            other: Recent[K, V] = Recent(self._half * 2, self._size)
            other._young = {key: value for key, value in self._young.items() if key not in keys}
            other._old = {key: value for key, value in self._old.items() if key not in keys}
            other._filled = self._filled
        return other


class NotKept(Exception):
    """Whoever may not wait for the store asked what is not in memory. `fetch` brings it there: call it aside, and ask again."""

    def __init__(self, fetch: Callable[[], object]) -> None:
        super().__init__("not in memory")
        self.fetch = fetch


class StoredParts(OwnParts):
    """`Parts` of one version in the store. Raises StoreUnavailable."""

    def __init__(self, book: RegisterBook, version: int) -> None:
        self._book, self._version = book, version
        self._holdings: Recent[str, Holding] = Recent(ROWS_KEPT, lambda held: len(held.mandates) + len(held.endpoints) + 1)
        self._systems: Recent[str, Pair] = Recent(ROWS_KEPT // 8, lambda pair: len(pair.mandates) + len(pair.endpoints) + 1)
        self._endpoints: Recent[str, tuple[Endpoint | None]] = Recent(ENDPOINTS_KEPT)
        self._schools: dict[str, int] = {}
        self._stamps: dict[str, object] = {}  # of the systems that somebody asked about, and a change forgets
        self._places: dict[str, list[Place]] | None = None

    def moved(self, version: int, changed: Iterable[tuple[str, str, str | None, str | None]]) -> StoredParts:
        """The parts of a newer version: all that is kept here, but for what changed."""
        rows = [row for row in changed if row[0] in ("mandates", "endpoints")]
        systems = {system for _, _, _, system in rows if system is not None}
        newer = StoredParts(self._book, version)
        newer._holdings = self._holdings.without({organisation for _, _, organisation, _ in rows if organisation is not None})
        newer._systems = self._systems.without(systems)
        newer._endpoints = self._endpoints.without({key for name, key, _, _ in rows if name == "endpoints"})
        newer._schools = {system: count for system, count in self._schools.copy().items() if system not in systems}
        newer._stamps = {system: stamp for system, stamp in self._stamps.copy().items() if system not in systems}
        if self._places is not None:
            newer._places = {system: places for system, places in self._places.items() if system not in systems}
            if systems:
                newer._read_places(newer._places, sorted(systems))
        return newer

    def of_organisation(self, oin: str) -> Holding:
        """See the port."""
        found = self._holdings.get(oin)
        if found is None:
            found = hold(*_pair(self._book.of_organisation(oin, self._version)))
            self._holdings.put(oin, found)
        return found

    def of_system(self, system: str) -> Pair:
        """See the port."""
        found = self._systems.get(system)
        if found is None:
            found = _pair(self._book.of_system(system, self._version))
            self._systems.put(system, found)
        return found

    def schools_of(self, system: str) -> int:
        """See the port."""
        found = self._schools.get(system)
        if found is None:
            found = self._schools[system] = self._book.schools_of(system, self._version)
        return found

    def endpoints_of(self, system: str) -> int:
        """See the port. Not kept: only whoever adds endpoints asks, and so changes it."""
        return self._book.endpoints_of(system, self._version)

    def stamp(self, system: str) -> object:
        """See the port."""
        return self._stamps.setdefault(system, object())

    def endpoint(self, id: str) -> Endpoint | None:
        """See the port."""
        found = self._endpoints.get(id)
        if found is None:
            rows = self._book.rows("endpoints", version=self._version, key=id)
            if not rows:  # not kept: there is no end to what is none
                return None
            found = (cast(Endpoint, value_of("endpoints", rows[0])),)
            self._endpoints.put(id, found)
        return found[0]

    def lanes(self) -> Sequence[Place]:
        """See the port."""
        if self._places is None:
            found: dict[str, list[Place]] = {}
            self._read_places(found, None)
            self._places = found
        return [place for places in self._places.values() for place in places]

    def _read_places(self, into: dict[str, list[Place]], systems: Sequence[str] | None) -> None:
        for system, url, at_once, per_second in self._book.places(self._version, systems):
            into.setdefault(system, []).append(Place(Oin(system), url, at_once, per_second))

    def next_change(self, day: date) -> date | None:
        """See the port."""
        found = self._book.next_day(self._version, day.isoformat())
        return None if found is None else date.fromisoformat(found)

    def every_mandate(self) -> Iterator[Mandate]:
        """See the port."""
        return (cast(Mandate, row) for row in self._every("mandates"))

    def every_endpoint(self) -> Iterator[Endpoint]:
        """See the port."""
        return (cast(Endpoint, row) for row in self._every("endpoints"))

    def _every(self, name: str) -> Iterator[Dated]:
        after: str | None = None
        while page := self._book.rows(name, version=self._version, after=after, limit=_PAGE):
            for row in (value_of(name, fields) for fields in page):
                after = key_of(row)
                yield row

    def sizes(self) -> tuple[int, int]:
        """See the port."""
        counts = self._book.counts(self._version)
        return counts.get("mandates", 0), counts.get("endpoints", 0)

    def kept_only(self) -> KeptParts:
        """The same for whoever may not wait for the store."""
        return KeptParts(self)


class KeptParts(OwnParts):
    """What is in memory of `StoredParts`; raises NotKept for the rest."""

    def __init__(self, parts: StoredParts) -> None:
        self._parts = parts

    def of_organisation(self, oin: str) -> Holding:
        """See the port."""
        found = self._parts._holdings.get(oin)
        if found is None:
            raise NotKept(lambda: self._parts.of_organisation(oin))
        return found

    def schools_of(self, system: str) -> int:
        """See the port."""
        found = self._parts._schools.get(system)
        if found is None:
            raise NotKept(lambda: self._parts.schools_of(system))
        return found

    def __getattr__(self, name: str) -> NoReturn:
        raise AttributeError(f"{name} asks the store: not for whoever may not wait for it")


def without_waiting(register: Register) -> Register:
    """This register for an event loop that must go on: it raises NotKept instead of asking the store."""
    if not isinstance(register.parts, StoredParts):
        return register
    return replace(register, parts=cast(Parts, register.parts.kept_only()))


def read_stored(book: RegisterBook, version: int) -> Register:
    """The register of a version in the store. Raises StoreUnavailable."""
    lists = {name: _values(name, book.rows(name, version=version)) if version else [] for name in _SMALL}
    return _build(version, lists, StoredParts(book, version))


def follow(book: RegisterBook, before: Register, version: int) -> Register:
    """The register of a version, made from the one before: only what changed is read. Raises StoreUnavailable."""
    parts = before.parts
    if not isinstance(parts, StoredParts) or not 0 < before.version < version:
        return read_stored(book, version)
    changed = book.changed(before.version, version, CHANGES_FOLLOWED + 1)
    if len(changed) > CHANGES_FOLLOWED:
        return read_stored(book, version)
    newer = parts.moved(version, changed)
    small = {name: {key for where, key, _, _ in changed if where == name} for name in _SMALL}
    if not any(small.values()):
        return replace(before, version=version, parts=newer)
    lists: dict[str, list[Dated]] = {}
    for name, keys in small.items():
        rows: Iterable[Dated] = getattr(before, name).values()
        found = _values(name, book.rows(name, version=version, keys=sorted(keys))) if keys else []
        lists[name] = [*(row for row in rows if not keys or key_of(row) not in keys), *found]
    return _build(version, lists, newer)


def _build(version: int, lists: dict[str, list[Dated]], parts: Parts) -> Register:
    return Register.build(
        version,
        organisations=cast(list[Organisation], lists["organisations"]),
        boards=cast(list[Board], lists["boards"]),
        systems=cast(list[System], lists["systems"]),
        diensten=cast(list[DienstVersion], lists["diensten"]),
        delegations=cast(list[Delegation], lists["delegations"]),
        parts=parts,
    )


def _values(name: str, rows: Iterable[dict[str, Any]]) -> list[Dated]:
    return [value_of(name, row) for row in rows]


def _pair(rows: Iterable[tuple[str, Any]]) -> Pair:
    mandates, endpoints = [], []
    for name, fields in rows:
        row = value_of(name, fields)
        if isinstance(row, Mandate):
            mandates.append(row)
        elif isinstance(row, Endpoint):
            endpoints.append(row)
    return Pair(tuple(mandates), tuple(endpoints))
