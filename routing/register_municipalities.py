"""Municipalities: one that lets a region receive a dienst for it, and redivision on 1 January."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import replace
from typing import Final

from routing.register import Delegation, Gemeentecode, Kind, Organisation
from routing.register_book import RowChange
from routing.register_case import Case, Judged, dated, days_in_words, versions_of
from routing.register_model import Dated
from routing.register_rows import delegation_id, key_of, write_row
from routing.register_spans import DAY, Span, shared, span
from routing.register_wishes import Delegate, EndDelegation, Redivide

_CODE: Final = re.compile(r"[0-9]{4}\Z")


def delegate(case: Case, wish: Delegate) -> Judged:
    """A region receives a dienst for a municipality. Raises RuleBroken where another one does, or the region hands it on itself."""
    municipality, region = _municipality(case, wish.municipality), case.organisation(wish.region)
    case.theirs(municipality.name, organisation=municipality)
    case.versions(wish.dienst)
    if municipality.oin == region.oin:
        raise case.broken("same-party", name=municipality.name)
    days = case.new_days(wish.start, wish.until)
    for row in case.register.delegations.values():
        if row.dienst != wish.dienst or not shared(span(row), days):
            continue
        if row.municipality == municipality.oin:
            other, words = case.organisation(row.region).name, days_in_words(span(row))
            raise case.broken("delegated", row=row.id, name=municipality.name, dienst=row.dienst, region=other, **words)
        if row.municipality == region.oin:
            raise case.broken("delegates-itself", row=row.id, name=region.name, dienst=row.dienst)
        if row.region == municipality.oin:
            raise case.broken("delegates-itself", row=row.id, name=case.organisation(row.municipality).name, dienst=row.dienst)
    if not any(case.register.endpoints_of(region.oin, wish.dienst, versie) for versie in versions_of(case.register, wish.dienst)):
        case.warn(f"{region.name} heeft nog geen endpoint voor {wish.dienst}.", f"{region.name} has no endpoint for {wish.dienst} yet.")
    known = case.register.delegations
    id = wish.id or next(id for id in _ids(delegation_id(municipality.oin, wish.dienst, days[0])) if id not in known)
    row = Delegation(id=id, municipality=municipality.oin, dienst=wish.dienst, region=region.oin, **dated(days))
    return Judged((RowChange("delegations", id, write_row(row)),), tuple(case.warnings))


def end_delegation(case: Case, wish: EndDelegation) -> Judged:
    """The municipality receives for itself again from the day after. Raises RuleBroken."""
    row = case.register.delegations.get(wish.id)
    if row is None:
        raise case.broken("unknown", what_nl="Delegatie", what_en="Delegation", key=wish.id)
    case.theirs(row.id, organisation=case.organisation(row.municipality))
    last = case.last_day(row.id, span(row), wish.until)
    changed = None if last is None else replace(row, until=last)
    for other in case.register.delegations.values():
        same = (other.municipality, other.dienst) == (row.municipality, row.dienst) and other.id != row.id
        if same and changed and shared(span(other), span(changed)):
            names = {"name": case.organisation(row.municipality).name, "region": case.organisation(other.region).name}
            raise case.broken("delegated", row=other.id, dienst=row.dienst, **names, **days_in_words(span(other)))
    return Judged((RowChange("delegations", row.id, write_row(changed) if changed else None),), tuple(case.warnings))


def redivide(case: Case, wish: Redivide) -> Judged:
    """Those that end keep their history; `into` has the codes from that day on. Raises RuleBroken."""
    into = _municipality(case, wish.into)
    if not into.covers(wish.day):
        raise case.broken("party-over", name=into.name, **days_in_words(span(into)))
    changes: list[RowChange] = []
    for oin in wish.ended:
        if oin == into.oin:
            raise case.broken("same-party", name=into.name)
        changes += _ended(case, _municipality(case, oin), wish)
    codes = [_code(case, into, code, wish) for code in wish.codes]
    gained = tuple(code for code in codes if code is not None)
    if gained:
        changes.append(RowChange("organisations", into.oin, write_row(replace(into, gemeentecodes=(*into.gemeentecodes, *gained)))))
    return Judged(tuple(changes), tuple(case.warnings))


def _municipality(case: Case, oin: str) -> Organisation:
    found = case.organisation(oin)
    if found.kind is not Kind.MUNICIPALITY:
        raise case.broken("not-a-municipality", name=found.name)
    return found


def _ids(base: str) -> Iterable[str]:
    yield base
    for number in range(2, 1_000):
        yield f"{base}/{number}"


def _ended(case: Case, organisation: Organisation, wish: Redivide) -> Iterable[RowChange]:
    """Its own row and all that it has, up to and including the day before."""
    left: Span = span(organisation)[0], wish.day - DAY
    if shared(span(organisation), left) is None or not organisation.covers(wish.day - DAY):
        raise case.broken("party-over", name=organisation.name, **days_in_words(span(organisation)))
    codes = tuple(replace(code, until=min(code.until or left[1], left[1])) for code in organisation.gemeentecodes if _begins(code, left))
    yield RowChange("organisations", organisation.oin, write_row(replace(organisation, gemeentecodes=codes, until=left[1])))
    mandates, endpoints = case.register.parts.of_organisation(organisation.oin)
    lists: tuple[tuple[str, Iterable[Dated]], ...] = (
        ("mandates", [row for row in mandates if not row.revoked]),
        ("endpoints", endpoints),
        ("delegations", [row for row in case.register.delegations.values() if row.municipality == organisation.oin]),
    )
    for name, rows in lists:
        for row in rows:
            if row.until is None or row.until > left[1]:
                yield RowChange(name, key_of(row), write_row(replace(row, until=left[1])) if _begins(row, left) else None)


def _begins(row: Dated, left: Span) -> bool:
    return row.start is None or row.start <= left[1]


def _code(case: Case, into: Organisation, code: str, wish: Redivide) -> Gemeentecode | None:
    """The code as `into` gets it; None: it has it then already."""
    if not _CODE.match(code):
        raise case.broken("gemeentecode", key=code)
    days: Span = wish.day, span(into)[1]
    for organisation in case.register.organisations.values():
        for row in organisation.gemeentecodes:
            common = shared(shared(span(row), span(organisation)) or (days[1], days[0]), days) if row.code == code else None
            if common is None or organisation.oin in wish.ended:
                continue
            if organisation.oin == into.oin:
                return None
            raise case.broken("gemeentecode-held", row=organisation.oin, key=code, name=organisation.name, **days_in_words(span(row)))
    return Gemeentecode(code=code, start=wish.day)
