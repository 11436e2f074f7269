"""Mandates: given by an organisation, or by a board for all its schools; ended with the endpoints under them; revoked at once."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from datetime import date
from uuid import uuid4

from routing.register import Endpoint, Kind, Mandate, Organisation, Register
from routing.register_book import RowChange
from routing.register_case import Case, Judged, dated, days_in_words
from routing.register_rows import key_of, write_row
from routing.register_spans import DAY, Span, limits, shared, span, union
from routing.register_wishes import OWN_IS, Actor, EndMandate, EndMandates, GiveMandate, RevokeMandate, Role
from schemas.oin import Oin


def give(case: Case, wish: GiveMandate) -> Judged:
    """One mandate; a board gives one for each of its schools that takes part then and has none yet. Raises RuleBroken."""
    days = case.new_days(wish.start, wish.until)
    organisations = _givers(case, wish.organisation, days)
    case.versions(wish.dienst)
    system = case.system(wish.system)
    if shared(days, span(system)) != days:
        case.warn(f"{system.name} is niet op al deze dagen aangesloten.", f"{system.name} is not connected on all these days.")
    whole_board = wish.organisation in case.register.boards
    tokens = _tokens(wish.tokens)
    changes = []
    for organisation in organisations:
        there = _overlapping(case.register, organisation.oin, wish.dienst, wish.system, days)
        if there is not None and not whole_board:
            raise _already(case, organisation, there)
        if there is not None:
            case.warn(
                f"{organisation.name} heeft dit mandaat al (mandaat {there.token}).",
                f"{organisation.name} has given this mandate already (mandate {there.token}).",
            )
            continue
        _others_too(case, organisation, wish, days)
        mandate = Mandate(
            organisation=organisation.oin,
            dienst=wish.dienst,
            system=wish.system,
            token=next(tokens),
            **dated((wish.start or days[0], days[1])),
        )
        changes.append(RowChange("mandates", key_of(mandate), write_row(mandate)))
    return Judged(tuple(changes), tuple(case.warnings))


def end(case: Case, wish: EndMandate) -> Judged:
    """Shorter or longer; what is under it is shortened with it, and never made longer. Raises RuleBroken."""
    return Judged(tuple(_with_endpoints(case, [_ended(case, wish)])), tuple(case.warnings))


def end_all(case: Case, wish: EndMandates) -> Judged:
    """The same for each that would go on after that day. Raises RuleBroken when there is none."""
    changes: list[RowChange] = []
    for organisation in _givers(case, wish.organisation, (case.today, date.max)):
        rows = [
            row
            for row in case.register.mandates_of(organisation.oin, wish.dienst)
            if row.system == wish.system and not row.revoked and (row.until is None or row.until > wish.until)
        ]
        ended = [_ended(case, EndMandate(organisation=organisation.oin, token=key_of(row), until=wish.until)) for row in rows]
        changes += _with_endpoints(case, ended)
    if not changes:
        raise case.broken("no-mandate", name=wish.organisation, system=wish.system, dienst=wish.dienst)
    return Judged(tuple(changes), tuple(case.warnings))


def revoke(case: Case, wish: RevokeMandate) -> Judged:
    """On no day any more. Endpoints end yesterday: today nothing goes there. Raises RuleBroken."""
    mandate = _theirs(case, wish.organisation, wish.token)
    return Judged(tuple(_with_endpoints(case, [(mandate, replace(mandate, revoked=True))])), tuple(case.warnings))


def covered_by(mandates: Iterable[Mandate], system: str, *, today: date) -> list[Span]:
    """The days on which these mandates of one organisation and dienst let a system act. What was revoked counted until yesterday."""
    spans = []
    for row in mandates:
        if row.system == system:
            start, until = span(row)
            spans.append((start, min(until, today - DAY)) if row.revoked else (start, until))
    return union(spans)


def shortening(case: Case, endpoints: Iterable[Endpoint], covered: Sequence[Span]) -> list[RowChange]:
    """The rows of endpoints that are not over, as far as the days left to them make a difference: what is left after a day without a
    mandate becomes a row of its own."""
    changes = []
    for endpoint in endpoints:
        parts = [part for part in (shared(span(endpoint), days) for days in covered) if part is not None]
        if parts == [span(endpoint)] or (endpoint.until is not None and endpoint.until < case.today - DAY):
            continue
        left = [
            replace(endpoint, id=case.free_id(endpoint, part[0]) if number else endpoint.id, start=limits(part)[0], until=limits(part)[1])
            for number, part in enumerate(parts)
        ]
        changes.append(RowChange("endpoints", endpoint.id, write_row(left[0]) if left else None))
        changes += [RowChange("endpoints", row.id, write_row(row)) for row in left[1:]]
        nl, en = (f"eindigt op {left[0].until}", f"ends on {left[0].until}") if left else ("vervalt", "is taken back")
        case.warn(f"Endpoint {endpoint.id} {nl}.", f"Endpoint {endpoint.id} {en}.")
        for row in left[1:]:
            case.warn(f"Het gaat verder als {row.id}, vanaf {row.start}.", f"It goes on as {row.id}, from {row.start}.")
    return changes


def of_system(register: Register, organisation: str, dienst: str, system: str) -> list[Endpoint]:
    """The endpoints of an organisation that a system has for a dienst, of every version and day."""
    return [row for row in register.parts.of_organisation(organisation).endpoints if row.system == system and row.dienst == dienst]


def _ended(case: Case, wish: EndMandate) -> tuple[Mandate, Mandate | None]:
    """The mandate, and what becomes of it: None when it is taken back whole. Raises RuleBroken."""
    mandate = _theirs(case, wish.organisation, wish.token)
    last = case.last_day(wish.token, span(mandate), wish.until)
    if last is None:
        return mandate, None
    changed = replace(mandate, until=last)
    for row in case.register.mandates_of(mandate.organisation, mandate.dienst):
        if row.token != mandate.token and row.system == mandate.system and not row.revoked and shared(span(row), span(changed)):
            raise _already(case, case.organisation(mandate.organisation), row)
    return mandate, changed


def _with_endpoints(case: Case, mandates: Sequence[tuple[Mandate, Mandate | None]]) -> list[RowChange]:
    """The rows of mandates of one organisation, dienst and system, before and after, and those of the endpoints under them: judged by
    what is left of all, since an endpoint may be under several."""
    changes = [RowChange("mandates", key_of(old), write_row(new) if new else None) for old, new in mandates]
    one = mandates[0][0] if mandates else None
    if one is not None and one.organisation != one.system:
        changed = {key_of(old) for old, _ in mandates}
        others = (row for row in case.register.mandates_of(one.organisation, one.dienst) if key_of(row) not in changed)
        covered = covered_by((*others, *(new for _, new in mandates if new)), one.system, today=case.today)
        changes += shortening(case, of_system(case.register, one.organisation, one.dienst, one.system), covered)
    return changes


def _theirs(case: Case, organisation: str, token: str) -> Mandate:
    mandate = case.mandate(organisation, token)
    case.theirs(token, organisation=case.organisation(organisation))
    if mandate.revoked:
        raise case.broken("revoked", key=token)
    return mandate


def _givers(case: Case, oin: Oin, days: Span) -> list[Organisation]:
    """The one organisation, or the schools of a board that take part on all of these days' beginning."""
    if oin in case.register.boards and (case.register.organisation(oin) is None):
        if not case.may_all and case.actor != Actor(Role.BOARD, oin):
            raise case.broken("not-yours", what=oin, actor=case.actor.oin, role=case.actor.role, own=OWN_IS[case.actor.role])
        schools = [row for row in case.register.organisations.values() if row.board == oin and row.kind is Kind.SCHOOL]
        schools = [row for row in schools if shared(days, span(row))]
        if not schools:
            raise case.broken("no-schools", key=oin)
        return schools
    organisation = case.organisation(oin)
    case.theirs(organisation.name, organisation=organisation)
    if not shared(days, span(organisation)):
        raise case.broken("party-over", name=organisation.name, **days_in_words(span(organisation)))
    return [organisation]


def _tokens(given: Sequence[str]) -> Iterator[str]:
    yield from given
    while True:
        yield str(uuid4())


def _overlapping(register: Register, organisation: str, dienst: str, system: str, days: Span) -> Mandate | None:
    for row in register.mandates_of(organisation, dienst):
        if row.system == system and not row.revoked and shared(span(row), days):
            return row
    return None


def _already(case: Case, organisation: Organisation, row: Mandate) -> Exception:
    return case.broken(
        "mandate-there", row=row.token, name=organisation.name, system=row.system, dienst=row.dienst, **days_in_words(span(row))
    )


def _others_too(case: Case, organisation: Organisation, wish: GiveMandate, days: Span) -> None:
    """Two systems may both be mandated (several administrations, or both ends of a peer to peer dienst); often one was forgotten."""
    for row in case.register.mandates_of(organisation.oin, wish.dienst):
        if row.system != wish.system and not row.revoked and shared(span(row), days):
            other, what = case.register.systems[row.system].name, f"{wish.dienst} (mandaat {row.token})"
            case.warn(
                f"{organisation.name} heeft ook {other} gemachtigd voor {what}; beëindig dat mandaat als dit de opvolger is.",
                f"{organisation.name} has mandated {other} too for {wish.dienst} (mandate {row.token}); end that if this is its successor.",
            )
