"""Endpoints: recorded under a mandate or an organisation's own connection, changed from a day on, moved with their system's address.

An endpoint has a mandate on each of its days. An organisation that is itself a system connects by its own row in `systems`, whose days are
the dated agreement.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import date
from typing import Any, Final

from routing.register import Endpoint, is_address
from routing.register_book import RowChange
from routing.register_case import MOST_OF_PLACE, Case, Judged, dated, days_in_words
from routing.register_mandates import covered_by, shortening
from routing.register_rows import write_row
from routing.register_spans import DAY, Span, holds, in_words, limits, shared, span, union
from routing.register_wishes import AddEndpoint, ChangeEndpoint, EndEndpoint, MoveAddress, RuleBroken, _Absent
from schemas.oin import Oin, institution_of, is_oin

#: Ids are shown and typed; those we make fit as well.
_ID: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/-]{0,199}\Z")
#: Search labels of an endpoint, at most.
_ATTRIBUTES: Final = 20

#: Fields of an endpoint besides what it is for: name -> least and most, where it is a number.
MORE: Final[Mapping[str, tuple[float, float] | None]] = {"address": None, "at_once": (1, 1_000), "per_second": (0.01, 10_000)}


def add(case: Case, wish: AddEndpoint) -> Judged:
    """A new endpoint. Raises RuleBroken without a mandate for all its days, and where there is one already."""
    organisation = case.organisation(wish.organisation)
    system = case.system(wish.system)
    case.theirs(system.oin, organisation=organisation, system=system.oin)
    _version(case, wish.dienst, wish.versie)
    _kenmerk(case, wish.routeringskenmerk, organisation.oin)
    case.url(wish.url)
    _attributes(case, wish.attributes)
    if wish.id is not None and not _ID.match(wish.id):
        raise case.broken("no-value", key="id", value=wish.id)
    if wish.id is not None and case.register.endpoint(wish.id) is not None:
        raise case.broken("id-taken", row=wish.id)
    days = _days(case, wish, _covered(case, wish.organisation, wish.dienst, wish.system, wish.token))
    endpoint = Endpoint(
        id=wish.id or case.free_id(wish, days[0]),
        organisation=organisation.oin,
        routeringskenmerk=wish.routeringskenmerk,
        dienst=wish.dienst,
        versie=wish.versie,
        system=system.oin,
        url=wish.url,
        attributes=wish.attributes,
        **_more(case, wish.more),
        **dated(days),
    )
    case.ids.add(endpoint.id)
    _not_too_many(case, [endpoint])
    changes = _room_for(case, endpoint)
    _version_covers(case, endpoint)
    return Judged((*changes, RowChange("endpoints", endpoint.id, write_row(endpoint))), tuple(case.warnings))


def change(case: Case, wish: ChangeEndpoint) -> Judged:
    """Delivery or days of one endpoint, as a whole or from a day on. Raises RuleBroken."""
    endpoint = _theirs(case, wish.id)
    _not_over(case, endpoint)
    fields: dict[str, Any] = _more(case, wish.more)
    for name in ("url", "attributes", "start", "until"):
        value = getattr(wish, name)
        if not isinstance(value, _Absent):
            fields[name] = value
    if "url" in fields:
        case.url(fields["url"])
    _attributes(case, fields.get("attributes", ()))
    before, after = _from(case, endpoint, wish.day)
    changed = replace(after, **fields)
    _may_have(case, after, changed)
    return Judged(tuple(_replaced(case, endpoint, before, changed)), tuple(case.warnings))


def end(case: Case, wish: EndEndpoint) -> Judged:
    """The last day of one endpoint. Raises RuleBroken."""
    endpoint = _theirs(case, wish.id)
    last = case.last_day(endpoint.id, span(endpoint), wish.until)
    if last is None:
        return Judged((RowChange("endpoints", endpoint.id, None),), tuple(case.warnings))
    changed = replace(endpoint, until=last)
    _may_have(case, endpoint, changed)
    return Judged(tuple(_replaced(case, endpoint, None, changed)), tuple(case.warnings))


def move(case: Case, wish: MoveAddress) -> Judged:
    """Every endpoint of a system at one address, changed once. Raises RuleBroken when there is none, and for a day that is over."""
    system = case.system(wish.system)
    case.theirs(system.oin, system=system.oin)
    if wish.old == wish.new:
        raise case.broken("same-address")
    case.url(wish.new)
    case.new_days(wish.day, None)
    changes: list[RowChange] = []
    more: list[Endpoint] = []
    for endpoint in case.register.parts.of_system(system.oin).endpoints:
        if endpoint.url == wish.old and (endpoint.until is None or endpoint.until >= wish.day):
            before, after = _from(case, endpoint, wish.day)
            more += [after] if before is not None else []
            changes += _rows(before, replace(after, url=wish.new))
    _not_too_many(case, more)
    if not changes:
        raise case.broken("nothing-there", key=system.oin, day=wish.day, address=wish.old or "mailbox")
    return Judged(tuple(changes), tuple(case.warnings))


def _theirs(case: Case, id: str) -> Endpoint:
    endpoint = case.endpoint(id)
    case.theirs(id, system=endpoint.system)
    return endpoint


def _not_over(case: Case, endpoint: Endpoint) -> None:
    if endpoint.until is not None and endpoint.until < case.today and not case.may_set_the_past:
        raise case.broken("over", key=endpoint.id, until=endpoint.until)


def _version(case: Case, dienst: str, versie: str) -> None:
    if case.register.dienst(dienst, versie) is None:
        raise case.broken("unknown", what_nl="Dienst", what_en="Dienst", key=f"{dienst} {versie}")


def _version_covers(case: Case, endpoint: Endpoint) -> None:
    version = case.register.dienst(endpoint.dienst, endpoint.versie)
    if version is not None and shared(span(version), span(endpoint)) != span(endpoint):
        nl, en = in_words(span(version))
        name = f"{endpoint.dienst} {endpoint.versie}"
        case.warn(f"Dienst {name} kan alleen {nl} worden gebruikt.", f"Dienst {name} can only be used {en}.")


def _kenmerk(case: Case, kenmerk: Oin | None, organisation: Oin) -> None:
    if kenmerk is not None and (not is_oin(kenmerk) or kenmerk == organisation or institution_of(kenmerk) != organisation):
        raise case.broken("kenmerk", key=kenmerk, organisation=organisation)


def _more(case: Case, fields: Mapping[str, Any]) -> dict[str, Any]:
    for name, value in fields.items():
        if name not in MORE or not (value is None or _is_value(value, MORE[name])):
            raise case.broken("no-value", key=name, value=value)
    return dict(fields)


def _is_value(value: object, limits: tuple[float, float] | None) -> bool:
    """Of an address, or of a number within limits: a whole one where they are."""
    if limits is None:
        return isinstance(value, str) and is_address(value)
    right = isinstance(value, int if isinstance(limits[0], int) else int | float) and not isinstance(value, bool)
    return right and limits[0] <= value <= limits[1]  # type: ignore[operator]


def _attributes(case: Case, words: Sequence[str]) -> None:
    for word in words:
        if not 0 < len(word) <= 100 or not word.isprintable() or len(words) > _ATTRIBUTES or words.count(word) > 1:
            raise case.broken("no-value", key="attributes", value=word)


def _covered(case: Case, organisation: str, dienst: str, system: str, token: str | None = None) -> list[Span]:
    """The days on which this system may act for this organisation. Raises RuleBroken where there are none."""
    if organisation == system:
        return [span(case.system(system))]
    name = case.organisation(organisation).name
    mandates = case.register.mandates_of(organisation, dienst)
    if token is not None:
        mandates = tuple(row for row in mandates if row.token == token and row.system == system)
        if not mandates:
            raise case.broken("token", key=token, system=system, organisation=organisation, dienst=dienst)
    covered = covered_by(mandates, system, today=case.today)
    if not covered:
        raise case.broken("no-mandate", name=name, system=system, dienst=dienst)
    return covered


def _days(case: Case, wish: AddEndpoint, covered: list[Span]) -> Span:
    """What was asked for, else as long as the mandate goes. Raises RuleBroken."""
    asked = wish.start or case.today
    around = [days for days in covered if days[1] >= asked] or covered[-1:]
    start = wish.start or max(asked, around[0][0])
    days = case.new_days(start, wish.until or limits((start, around[0][1]))[1] if around[0][1] >= start else wish.until)
    _within(case, days, covered, wish.organisation, wish.dienst, wish.system)
    return days


def _within(case: Case, days: Span, covered: list[Span], organisation: str, dienst: str, system: str) -> None:
    if not holds(covered, days):
        name = case.organisation(organisation).name
        words = [in_words(one) for one in covered]
        raise case.broken(
            "outside-connection" if organisation == system else "outside-mandate",
            name=name,
            system=system,
            dienst=dienst,
            covered_nl="; ".join(nl for nl, _ in words),
            covered_en="; ".join(en for _, en in words),
            **days_in_words(days),
        )


def _may_have(case: Case, old: Endpoint, new: Endpoint) -> None:
    """Whether a row may get these days. Raises RuleBroken."""
    if (new.start, new.until) == (old.start, old.until):
        return
    days = span(new)
    if days[1] < days[0]:
        raise case.broken("days-turned", start=days[0], until=days[1])
    if not case.may_set_the_past:
        if new.start != old.start and min(span(old)[0], days[0]) < case.today:
            raise case.broken("start-over", start=days[0], today=case.today)
        if new.until != old.until and days[1] < case.today - DAY:
            raise case.broken("until-over", until=days[1], earliest=case.today - DAY)
    if not holds([span(old)], days):  # fewer days need nothing
        _within(case, days, _covered(case, new.organisation, new.dienst, new.system), new.organisation, new.dienst, new.system)
    _version_covers(case, new)


def _from(case: Case, endpoint: Endpoint, day: date | None) -> tuple[Endpoint | None, Endpoint]:
    """The part before a day, and the part from it on: the row itself when it begins then, or no day was named. Raises RuleBroken."""
    if day is None or span(endpoint)[0] >= day:
        return None, endpoint
    case.new_days(day, None)
    if endpoint.until is not None and endpoint.until < day:
        raise case.broken("over", key=endpoint.id, until=endpoint.until)
    return replace(endpoint, until=day - DAY), replace(endpoint, id=case.free_id(endpoint, day), start=day)


def _replaced(case: Case, endpoint: Endpoint, before: Endpoint | None, after: Endpoint) -> Iterable[RowChange]:
    """The rows that come in the place of one, with whatever makes room for them. Raises RuleBroken."""
    _not_too_many(case, [after] if before is not None else [])
    return [*_room_for(case, after, besides=endpoint.id), *_rows(before, after)]


def _rows(before: Endpoint | None, after: Endpoint) -> Iterable[RowChange]:
    return [RowChange("endpoints", row.id, write_row(row)) for row in (before, after) if row is not None]


def _room_for(case: Case, endpoint: Endpoint, *, besides: str | None = None) -> list[RowChange]:
    """Raises RuleBroken for a day on which there is another for the same receiver and dienst version.

    One that outlived its mandate (a document can say so) is in nobody's way: it keeps the days it has a mandate for.
    """
    changes: list[RowChange] = []
    receiver = endpoint.routeringskenmerk or endpoint.organisation
    for row in case.register.endpoints_of(receiver, endpoint.dienst, endpoint.versie):
        if row.id in (besides, endpoint.id) or row.routeringskenmerk != endpoint.routeringskenmerk or not shared(span(row), span(endpoint)):
            continue
        covered = _judged_days(case, row)
        if any(part and shared(part, span(endpoint)) for part in (shared(span(row), days) for days in covered)):
            raise _overlap(case, row, receiver)
        changes += shortening(case, [row], covered)
    return changes


def _not_too_many(case: Case, more: Sequence[Endpoint]) -> None:
    """Raises RuleBroken when these, of one system, are more than it may have. An operator may have any number."""
    if not more or case.may_all:
        return
    system = more[0].system
    there = case.register.parts.endpoints_of(system)
    if there + len(more) > case.most:
        raise case.broken("quota-in-all", system=system, count=there, most=case.most)
    for (organisation, dienst, versie), count in Counter((row.organisation, row.dienst, row.versie) for row in more).items():
        rows = case.register.endpoints_of(organisation, dienst, versie)
        here = sum(row.system == system for row in rows)
        if here + count > MOST_OF_PLACE:
            name = case.organisation(organisation).name
            raise case.broken("quota", system=system, name=name, dienst=dienst, versie=versie, count=here, most=MOST_OF_PLACE)


def _judged_days(case: Case, row: Endpoint) -> list[Span]:
    if row.organisation == row.system:
        return [span(row)]
    return union(covered_by(case.register.mandates_of(row.organisation, row.dienst), row.system, today=case.today))


def _overlap(case: Case, row: Endpoint, receiver: str) -> RuleBroken:
    return case.broken(
        "overlap", row=row.id, receiver=receiver, dienst=row.dienst, versie=row.versie, system=row.system, **days_in_words(span(row))
    )
