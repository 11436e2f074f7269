"""What will change in the register and for whom, and what is amiss in it: mandates without an endpoint, endpoints nobody uses, what ends soon.

Mandates and endpoints are passed in (those of a school, of a system, or all), because a register does not hold them all at once.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Final

from routing.amsterdam import dutch_days, start_of_day
from routing.register import Endpoint, Mandate, Register
from routing.register_model import Dated
from routing.register_rows import key_of
from routing.register_spans import DAY, Span, shared, span, union
from routing.resolver import Resolution, resolve
from routing.warnings import HORIZONS as HORIZONS
from routing.warnings import horizon
from schemas.oin import Oin

NOON: Final = timedelta(hours=12)


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """Something that is different from a day on. `what` is a key of `_WORDS`."""

    day: date
    what: str
    organisation: str  #: or routeringskenmerk
    dienst: str
    key: str  #: of the mandate, endpoint, delegation or organisation
    system: str | None
    nl: str
    en: str

    @property
    def is_trouble(self) -> bool:
        """Whether messages will wait, for as long as nobody does anything about it."""
        return self.what == "receiver-lost"


#: what -> its sentence in Dutch and English
_WORDS: Final[Mapping[str, tuple[str, str]]] = {
    "mandate-begins": ("{name} machtigt {system} voor {dienst}.", "{name} mandates {system} for {dienst}."),
    "mandate-ends": ("Het mandaat van {name} voor {system} en {dienst} is voorbij.", "The mandate of {name} for {system} and {dienst} is over."),
    "endpoint-begins": ("{system} ontvangt {dienst} voor {name} op {where}.", "{system} receives {dienst} for {name} at {where}."),
    "endpoint-ends": ("{system} ontvangt {dienst} niet meer voor {name} op {where}.", "{system} no longer receives {dienst} for {name} at {where}."),
    "receiver-changes": ("Berichten {dienst} voor {name} gaan van {before} naar {after}.", "Messages {dienst} for {name} go from {before} to {after}."),
    "receiver-found": ("Berichten {dienst} voor {name} gaan naar {after}; wat wachtte, gaat verder.", "Messages {dienst} for {name} go to {after}; what waited goes on."),
    "receiver-lost": ("Berichten {dienst} voor {name} gaan niet meer naar {before} en wachten: {why}", "Messages {dienst} for {name} no longer go to {before}, and wait: {why}"),
    "delegation-begins": ("{region} ontvangt {dienst} voor {name}.", "{region} receives {dienst} for {name}."),
    "delegation-ends": ("{region} ontvangt {dienst} niet meer voor {name}.", "{region} no longer receives {dienst} for {name}."),
    "organisation-begins": ("{name} doet mee.", "{name} takes part."),
    "organisation-ends": ("{name} doet niet meer mee.", "{name} takes part no more."),
    "gemeentecode-begins": ("Gemeentecode {code} is van {name}.", "Gemeentecode {code} is that of {name}."),
    "gemeentecode-ends": ("Gemeentecode {code} is niet meer van {name}.", "Gemeentecode {code} is no longer that of {name}."),
}  # fmt: skip
# ruff: noqa: E501 - one sentence, one line


def what_changes(
    register: Register, mandates: Iterable[Mandate], endpoints: Iterable[Endpoint], day_from: date, day_to: date
) -> list[Turn]:
    """Everything that begins or is over on these days (both included), and what that means for whoever is sent messages."""
    mandates, endpoints = [row for row in mandates if not row.revoked], list(endpoints)
    days = (day_from, day_to)
    turns: list[Turn] = []
    touched: set[tuple[date, Oin, str, str]] = set()
    for mandate in mandates:
        for day, what in _turns(mandate, days):
            names = {"name": name_of(register, mandate.organisation), "system": system_name(register, mandate.system)}
            key = key_of(mandate)
            turns.append(_turn(f"mandate-{what}", day, mandate.organisation, mandate.dienst, key, mandate.system, names))
            touched |= {(day, *place) for place in places_of(register, mandate)}
    for row in endpoints:
        for day, what in _turns(row, days):
            names = {"name": receiver_name(register, row), "system": system_name(register, row.system), "where": row.url or "mailbox"}
            place = row.routeringskenmerk or row.organisation
            turns.append(_turn(f"endpoint-{what}", day, place, f"{row.dienst} {row.versie}", row.id, row.system, names))
            touched.add((day, place, row.dienst, row.versie))
    delegations = register.delegations.values()
    touched |= {(day, row.municipality, *version) for day, place, *version in touched for row in delegations if row.region == place}  # type: ignore[misc]
    turns += [turn for place in sorted(touched) for turn in _handover(register, *place)]
    return sorted(turns, key=lambda turn: (turn.day, turn.organisation, turn.dienst, turn.what))


def small_changes(register: Register, day_from: date, day_to: date) -> list[Turn]:
    """The same of organisations, their gemeentecodes, and delegations (and who is sent a municipality's messages from then on)."""
    days = (day_from, day_to)
    turns = []
    for organisation in register.organisations.values():
        for day, what in _turns(organisation, days):
            turns.append(_turn(f"organisation-{what}", day, organisation.oin, "", organisation.oin, None, {"name": organisation.name}))
        for code in organisation.gemeentecodes:
            for day, what in _turns(code, days):
                names = {"name": organisation.name, "code": code.code}
                turns.append(_turn(f"gemeentecode-{what}", day, organisation.oin, "", code.code, None, names))
    for row in register.delegations.values():
        for day, what in _turns(row, days):
            names = {"name": name_of(register, row.municipality), "region": name_of(register, row.region)}
            turns.append(_turn(f"delegation-{what}", day, row.municipality, row.dienst, row.id, None, names))
            turns += [
                turn
                for dienst, versie in register.diensten
                if dienst == row.dienst
                for turn in _handover(register, day, row.municipality, dienst, versie)
            ]
    return sorted(turns, key=lambda turn: (turn.day, turn.organisation, turn.what))


@dataclass(frozen=True, slots=True)
class Gap:
    """A mandate without an endpoint, or an endpoint without a mandate, and the first and last of the days on which it is so."""

    row: Mandate | Endpoint
    days: Span


def mandates_without_endpoint(register: Register, mandates: Iterable[Mandate], today: date) -> list[Gap]:
    """Mandates, current and coming, for which the system has recorded no endpoint at all on some of their days; the first such gap."""
    gaps = []
    for mandate in mandates:
        days = shared(span(mandate), (today, date.max))
        if mandate.revoked or days is None:
            continue
        rows = [row for place in places_of(register, mandate) for row in register.endpoints_of(*place) if row.system == mandate.system]
        gap = _first_gap(days, union(span(row) for row in rows))
        if gap is not None:
            gaps.append(Gap(mandate, gap))
    return gaps


def systems_mandates_without_endpoint(mandates: Iterable[Mandate], endpoints: Iterable[Endpoint], today: date) -> list[Gap]:
    """The same of one system, given all its mandates and endpoints: nothing is asked of the register, also for thousands of schools."""
    received: dict[tuple[str, str], list[Span]] = {}
    for row in endpoints:
        received.setdefault((row.organisation, row.dienst), []).append(span(row))
    gaps = []
    for mandate in mandates:
        days = shared(span(mandate), (today, date.max))
        if not mandate.revoked and days is not None:
            gap = _first_gap(days, union(received.get((mandate.organisation, mandate.dienst), ())))
            if gap is not None:
                gaps.append(Gap(mandate, gap))
    return gaps


def endpoints_without_mandate(register: Register, endpoints: Iterable[Endpoint], today: date) -> list[Gap]:
    """Endpoints, current and coming, whose system may not act on some of their days: a loaded file can say so. The first such gap."""
    gaps = []
    for row in endpoints:
        days = shared(span(row), (today, date.max))
        if days is not None and row.organisation != row.system:
            mandates = register.mandates_of(row.organisation, row.dienst)
            gap = _first_gap(days, union(span(one) for one in mandates if one.system == row.system and not one.revoked))
            if gap is not None:
                gaps.append(Gap(row, gap))
    return gaps


def endpoints_nobody_uses(endpoints: Iterable[Endpoint], last_contact: Mapping[str, date], since: date, today: date) -> list[Endpoint]:
    """Endpoints that have been there since that day or longer, and to which nothing was delivered from that day on. `last_contact`: by
    id, the last day on which something was."""
    there = [row for row in endpoints if row.covers(today) and (row.start is None or row.start <= since)]
    return [row for row in there if last_contact.get(row.id, date.min) < since]


@dataclass(frozen=True, slots=True)
class Ending:
    """A row that ends soon: within `horizon` days."""

    list: str
    row: Dated
    horizon: int
    followed: bool  #: somebody takes over on the next day


def ends_soon(
    register: Register, mandates: Iterable[Mandate], endpoints: Iterable[Endpoint], today: date, horizons: Sequence[int] = HORIZONS
) -> list[Ending]:
    """What ends within 60, 30 or 7 days, the first to end first; the smallest horizon it falls within."""
    found: list[Ending] = []
    for mandate in mandates:
        within = None if mandate.revoked else _horizon(mandate, today, horizons)
        if within is not None and mandate.until is not None:
            next_day = mandate.until + DAY
            rows = register.mandates_of(mandate.organisation, mandate.dienst)
            followed = any(row.covers(next_day) and not row.revoked for row in rows)
            found.append(Ending("mandates", mandate, within, followed))
    for endpoint in endpoints:
        within = _horizon(endpoint, today, horizons)
        if within is not None and endpoint.until is not None:
            place = endpoint.routeringskenmerk or endpoint.organisation
            followed = where_on(register, place, endpoint.dienst, endpoint.versie, endpoint.until + DAY).endpoint is not None
            found.append(Ending("endpoints", endpoint, within, followed))
    return sorted(found, key=lambda ending: (ending.row.until or date.max, ending.list, key_of(ending.row)))


def _turns(row: Dated, days: Span) -> Iterator[tuple[date, str]]:
    if row.start is not None and days[0] <= row.start <= days[1]:
        yield row.start, "begins"
    if row.until is not None and row.until < date.max and days[0] <= row.until + DAY <= days[1]:
        yield row.until + DAY, "ends"


def _turn(what: str, day: date, organisation: str, dienst: str, key: str, system: str | None, names: Mapping[str, str]) -> Turn:
    nl, en = (words.format_map({"dienst": dienst} | dict(names)) for words in _WORDS[what])
    return Turn(day=day, what=what, organisation=organisation, dienst=dienst, key=key, system=system, nl=dutch_days(nl), en=en)


def _handover(register: Register, day: date, place: Oin, dienst: str, versie: str) -> Iterator[Turn]:
    """Who is sent the messages from this day on, where that is another than the day before."""
    was, will = (where_on(register, place, dienst, versie, at) for at in (day - DAY, day))
    if was.endpoint is will.endpoint is None or (was.endpoint and will.endpoint and was.endpoint.lane == will.endpoint.lane):
        return
    names = {"name": name_of(register, place), "before": _place(register, was.endpoint), "after": _place(register, will.endpoint)}
    version = f"{dienst} {versie}"
    if will.endpoint is not None:
        what = "receiver-found" if was.endpoint is None else "receiver-changes"
        yield _turn(what, day, place, version, will.endpoint.id, will.endpoint.system, names)
    elif was.endpoint is not None:
        nl, en = (
            words.format_map({"dienst": version, "why": why} | names)
            for words, why in zip(_WORDS["receiver-lost"], (will.decision.text_nl, will.decision.text_en), strict=True)
        )
        key, system = was.endpoint.id, was.endpoint.system
        yield Turn(day=day, what="receiver-lost", organisation=place, dienst=version, key=key, system=system, nl=nl, en=en)


def where_on(register: Register, place: Oin, dienst: str, versie: str, day: date) -> Resolution:
    """Where it goes on a day, at noon."""
    return resolve(register, receiver=place, dienst=dienst, versie=versie, now=start_of_day(day) + NOON)


def places_of(register: Register, mandate: Mandate) -> list[tuple[Oin, str, str]]:
    """The receivers and dienst versions that a mandate may be about: the organisation, and each of its routeringskenmerken."""
    places: dict[tuple[Oin, str, str], None] = {}
    for dienst, versie in register.diensten:
        if dienst == mandate.dienst:
            places[mandate.organisation, dienst, versie] = None
            for row in register.endpoints_of(mandate.organisation, dienst, versie):
                places[row.routeringskenmerk or row.organisation, dienst, versie] = None
    return list(places)


def _first_gap(days: Span, covered: Sequence[Span]) -> Span | None:
    start = days[0]
    for first, last in covered:
        if last < start:
            continue
        if first > start:
            return start, min(first - DAY, days[1])
        if last >= days[1]:
            return None
        start = last + DAY
    return (start, days[1]) if start <= days[1] else None


def _horizon(row: Dated, today: date, horizons: Sequence[int]) -> int | None:
    if row.until is None or not row.covers(today):
        return None
    return horizon(row.until, today, horizons)


def name_of(register: Register, oin: str) -> str:
    """Of an organisation; of a routeringskenmerk with the kenmerk itself."""
    organisation = register.organisation(oin) or register.organisation(oin[:15] + "00000")
    if organisation is None:
        return oin
    return organisation.name if organisation.oin == oin else f"{organisation.name} ({oin})"


def receiver_name(register: Register, row: Endpoint) -> str:
    """For whom an endpoint receives."""
    return name_of(register, row.routeringskenmerk or row.organisation)


def system_name(register: Register, oin: str) -> str:
    """Of a system; its OIN when the register has it no more."""
    system = register.system(oin)
    return system.name if system else oin


def _place(register: Register, endpoint: Endpoint | None) -> str:
    return f"{system_name(register, endpoint.system)} ({endpoint.url or 'mailbox'})" if endpoint else "-"
