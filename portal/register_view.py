"""The register as its pages show it: rows with what belongs to them, how they stand on a day, filtered and in pages. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Final, Generic, TypeVar

from portal.directory import Directory
from routing.register import Delegation, Endpoint, Mandate, Register, Standing
from routing.register_people import Whose
from routing.register_plan import Gap, Turn, small_changes, systems_mandates_without_endpoint, what_changes
from routing.register_spans import Span, shared, span
from routing.register_values import Dated
from schemas.oin import BRIN_SHAPE, Oin, is_oin, school_oin

T = TypeVar("T")

#: Rows on a page.
PAGE: Final = 50
#: Mandates and endpoints of which it is still worked out at once what will change, where nobody said whose.
PLANNED: Final = 20_000
#: Years in which days may lie: further off is a mistake, and so far off that days cannot be counted.
YEARS: Final = range(1900, 2200)
#: Days an endpoint has been there before it is called unused.
UNUSED_DAYS: Final = 30
#: How a row stands, as a filter: of which days it is.
STANDINGS: Final[Mapping[str, frozenset[Standing]]] = {
    "nu": frozenset({Standing.CURRENT}),
    "straks": frozenset({Standing.NOT_YET}),
    "voorbij": frozenset({Standing.ENDED}),
    "alles": frozenset(Standing),
}
#: Without a filter: what is and what comes.
LIVE: Final = frozenset({Standing.CURRENT, Standing.NOT_YET})
#: Lists of a system.
LISTS: Final = ("mandaten", "endpoints", "zonder-endpoint", "ongebruikt")


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """A mandate with the endpoints under it."""

    mandate: Mandate
    endpoints: tuple[Endpoint, ...]
    gap: Span | None  #: the first days on which nothing is received under it


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """An address of a system, and how many endpoints are or will be there."""

    url: str | None  #: None: its mailbox
    now: int
    later: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Paged(Generic[T]):
    """One page of a list."""

    rows: Sequence[T]
    total: int
    number: int  #: from 1
    pages: int


def paged(rows: Sequence[T], number: str | None, size: int = PAGE) -> Paged[T]:
    """The page of this number; the nearest there is."""
    pages = max(1, -(-len(rows) // size))
    wanted = int(number) if number and number.isdigit() and len(number) < 8 else 1
    place = min(max(wanted, 1), pages)
    return Paged(rows=rows[(place - 1) * size : place * size], total=len(rows), number=place, pages=pages)


def standing(row: Dated, day: date) -> str:
    """`current`, `not-yet`, `ended`, or `revoked`."""
    if isinstance(row, Mandate) and row.revoked:
        return "revoked"
    return str(row.standing(day))


def is_live(row: Dated, day: date) -> bool:
    """Whether it is, or will be."""
    return standing(row, day) in LIVE


def lines_of(mandates: Iterable[Mandate], endpoints: Sequence[Endpoint], day: date) -> list[Line]:
    """Each mandate with what is under it; of one whose system receives nothing on some days, which."""
    mandates = list(mandates)
    under: dict[tuple[str, str, str], list[Endpoint]] = {}
    for row in endpoints:
        under.setdefault((row.organisation, row.dienst, row.system), []).append(row)
    systems = {mandate.system for mandate in mandates}
    gaps = {id(gap.row): gap.days for system in systems for gap in _gaps(mandates, endpoints, system, day)}
    return [
        Line(
            mandate=mandate,
            endpoints=tuple(
                row
                for row in under.get((mandate.organisation, mandate.dienst, mandate.system), ())
                if shared(span(row), span(mandate)) and (not is_live(mandate, day) or is_live(row, day))
            ),
            gap=gaps.get(id(mandate)),
        )
        for mandate in mandates
    ]


def _gaps(mandates: Iterable[Mandate], endpoints: Iterable[Endpoint], system: str, day: date) -> Iterable[Gap]:
    return systems_mandates_without_endpoint(
        [row for row in mandates if row.system == system], [row for row in endpoints if row.system == system], day
    )


def loose(endpoints: Iterable[Endpoint], lines: Iterable[Line]) -> list[Endpoint]:
    """Endpoints that are under no mandate: of an organisation that connects itself, or of one that was loaded so."""
    held = {row.id for line in lines for row in line.endpoints}
    return [row for row in endpoints if row.id not in held]


def places_of(endpoints: Iterable[Endpoint], day: date) -> list[Place]:
    """The addresses of a system, the busiest first."""
    now: Counter[str | None] = Counter()
    later: Counter[str | None] = Counter()
    for row in endpoints:
        if row.standing(day) is Standing.CURRENT:
            now[row.url] += 1
        elif row.standing(day) is Standing.NOT_YET:
            later[row.url] += 1
    found = [Place(url=url, now=now[url], later=later[url]) for url in now.keys() | later.keys()]
    return sorted(found, key=lambda place: (-place.now, -place.later, place.url or ""))


@dataclass(frozen=True, slots=True, kw_only=True)
class RowFilter:
    """What a list of mandates or endpoints is narrowed to."""

    words: str = ""  #: in the name, BRIN or OIN of the organisation
    dienst: str = ""
    when: str = ""  #: a key of STANDINGS; "": what is and what comes

    def keep(self, names: Directory, day: date) -> Callable[[Mandate | Endpoint], bool]:
        """Whether a row is of it."""
        wanted, standings = self.words.casefold().strip(), STANDINGS.get(self.when, LIVE)

        def kept(row: Mandate | Endpoint) -> bool:
            if self.dienst and row.dienst != self.dienst:
                return False
            at = standing(row, day)
            if at not in standings and not (at == "revoked" and Standing.ENDED in standings):
                return False
            oins = filter(None, (row.organisation, getattr(row, "routeringskenmerk", None)))
            return not wanted or any(wanted in text.casefold() for text in (names.name(row.organisation), *oins))

        return kept


def in_order(rows: Iterable[T], names: Directory, day: date) -> list[T]:
    """What is now first, then what comes, then what was; by organisation, dienst and first day."""
    rank = {"current": 0, "not-yet": 1, "ended": 2, "revoked": 3}

    def key(row: T) -> tuple[object, ...]:
        of = row.mandate if isinstance(row, Line) else row
        assert isinstance(of, Mandate | Endpoint | Delegation)
        whose = of.municipality if isinstance(of, Delegation) else of.organisation
        return rank[standing(of, day)], names.name(whose).casefold(), whose, of.dienst, of.start or date.min

    return sorted(rows, key=key)


def changes_of(register: Register, whose: Whose, of: str | None, day_from: date, day_to: date) -> list[Turn] | None:
    """What changes on these days, of an organisation, a board's schools or a system, or of all that is theirs.

    None: nobody said whose, and the register is too large to look through it all.
    """
    mandates: dict[str, Mandate] = {}
    endpoints: dict[str, Endpoint] = {}
    organisations, systems = _asked(register, whose, of)
    everything = of is None and whose.sees_all
    if everything:
        if sum(register.parts.sizes()) > PLANNED:
            return None
        mandates = {row.token or str(number): row for number, row in enumerate(register.parts.every_mandate())}
        endpoints = {row.id: row for row in register.parts.every_endpoint()}
    for pair in (*map(register.parts.of_organisation, organisations), *map(register.parts.of_system, systems)):
        mandates.update({row.token or f"{row.organisation} {row.key} {row.dienst}": row for row in pair.mandates})
        endpoints.update({row.id: row for row in pair.endpoints})
    turns = what_changes(register, mandates.values(), endpoints.values(), day_from, day_to)
    small = [turn for turn in small_changes(register, day_from, day_to) if everything or turn.organisation in organisations]
    seen = {(turn.day, turn.what, turn.key) for turn in turns}
    more = [turn for turn in small if (turn.day, turn.what, turn.key) not in seen]
    return sorted([*turns, *more], key=lambda turn: (turn.day, not turn.is_trouble, turn.organisation, turn.dienst, turn.what))


def _asked(register: Register, whose: Whose, of: str | None) -> tuple[set[Oin], set[Oin]]:
    if of is None:
        return (set(), set()) if whose.sees_all else (set(whose.organisations), set(whose.systems))
    if register.organisation(of) is not None and whose.sees_organisation(of):
        return {Oin(of)}, {Oin(of)} & register.systems.keys()
    if of in register.boards and whose.sees_organisation(of):
        return {row.oin for row in register.organisations.values() if row.board == of}, set()
    return set(), {Oin(of)} if whose.sees_system(of) else set()


def next_of(day: date, month: int, day_of_month: int) -> date:
    """The first such day that is to come."""
    this = date(day.year, month, day_of_month)
    return this if this > day else date(day.year + 1, month, day_of_month)


def oin_typed(text: str) -> str | None:
    """What somebody typed as an OIN, or as the BRIN of a school; None for anything else."""
    typed = "".join(text.split()).upper()
    if BRIN_SHAPE.match(typed):
        return school_oin(typed)
    return typed if is_oin(typed) else None


def day_typed(text: str | None) -> date | None:
    """A day as YYYY-MM-DD, of a time that registers speak of; None for none. Raises ValueError for anything else."""
    if not text:
        return None
    found = date.fromisoformat(text) if len(text) == 10 else None
    if found is None or found.year not in YEARS:
        raise ValueError(text[:40])
    return found


def days_on(day: date, days: int) -> date:
    """So many days later."""
    return day + timedelta(days=days)
