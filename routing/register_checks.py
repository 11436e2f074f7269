"""What must hold between the rows of a document: namespaces differ, and what may be there once a day is there once."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date
from typing import TypeVar

from routing.register_values import Dated, Delegation, DienstVersion, Endpoint, Gemeentecode, Organisation, within
from schemas.oin import Oin

D = TypeVar("D", bound=Dated)


def namespaces_differ(diensten: list[tuple[int, DienstVersion]], problems: list[str]) -> None:
    """The namespace is the key of a dienst version (domain facts 1.1)."""
    first: dict[str, int] = {}
    for number, row in diensten:
        earlier = first.setdefault(row.namespace, number)
        if earlier != number and row.namespace:
            problems.append(
                f"diensten row {number} ({row.dienst} {row.versie}): namespace is that of row {earlier}; give each version its own"
            )


def _overlaps(rows: Iterable[tuple[D, str]]) -> Iterable[tuple[D, str, D, str]]:
    """Rows (with their names) that share a day with an earlier one: later row, its name, earlier row, its name."""
    ordered = sorted(rows, key=lambda row: row[0].start or date.min)
    longest: tuple[D, str] | None = None
    for row in ordered:
        if longest is not None and (longest[0].until is None or (row[0].start or date.min) <= longest[0].until):
            yield (*row, *longest)
        if longest is None or (longest[0].until is not None and (row[0].until is None or row[0].until > longest[0].until)):
            longest = row


def gemeentecodes_do_not_overlap(organisations: list[tuple[int, Organisation]], problems: list[str]) -> None:
    by_code: dict[str, list[tuple[Gemeentecode, str]]] = {}
    for number, organisation in organisations:
        for code in organisation.gemeentecodes:
            limited = within(code, organisation)
            if limited.start is None or limited.until is None or limited.start <= limited.until:  # else on no day at all
                by_code.setdefault(code.code, []).append((limited, f"row {number} ({organisation.oin} {organisation.name})"))
    for code_text, rows in by_code.items():
        for later, name, earlier, other in _overlaps(rows):
            problems.append(
                f"organisations {name}: gemeentecode {code_text}, {_span(later)}, is also that of {other}, {_span(earlier)}; "
                "end one of them before the other starts"
            )


def routeringskenmerken_do_not_overlap(endpoints: list[tuple[int, Endpoint]], problems: list[str]) -> None:
    """By routeringskenmerk there is one endpoint or none (domain facts 1.1)."""
    by_kenmerk: dict[tuple[Oin, str, str], list[tuple[Endpoint, str]]] = {}
    for number, row in endpoints:
        if row.routeringskenmerk is not None:
            by_kenmerk.setdefault((row.routeringskenmerk, row.dienst, row.versie), []).append((row, f"row {number} ({row.id})"))
    for (kenmerk, dienst, versie), rows in by_kenmerk.items():
        for later, name, earlier, other in _overlaps(rows):
            problems.append(
                f"endpoints {name}: {kenmerk} for {dienst} version {versie}, {_span(later)}, is also that of {other}, {_span(earlier)}; "
                "end one of them before the other starts"
            )


def delegations_do_not_overlap(delegations: list[tuple[int, Delegation]], problems: list[str]) -> None:
    """What goes to a region goes to one region."""
    by_dienst: dict[tuple[Oin, str], list[tuple[Delegation, str]]] = {}
    for number, row in delegations:
        by_dienst.setdefault((row.municipality, row.dienst), []).append((row, f"row {number} ({row.id})"))
    for (municipality, dienst), rows in by_dienst.items():
        for later, name, earlier, other in _overlaps(rows):
            problems.append(
                f"delegations {name}: {municipality} for {dienst}, {_span(later)}, is also {other}, {_span(earlier)}; "
                "end one of them before the other starts"
            )


def _span(row: Dated) -> str:
    """Its days in words."""
    if row.start is None and row.until is None:
        return "always"
    return " ".join(part for part in (f"from {row.start}" if row.start else "", f"until {row.until} included" if row.until else "") if part)
