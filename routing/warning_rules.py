"""How warnings are found: in the register, and in what was seen of certificates, endpoints and traffic. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Final
from urllib.parse import urlsplit

from routing.amsterdam import amsterdam_day, dutch_days
from routing.mandate import owner_of
from routing.register import Endpoint, Mandate, Organisation, Register
from routing.register_plan import ends_soon, name_of, places_of, receiver_name, system_name, where_on
from routing.register_rows import key_of
from routing.register_spans import DAY
from routing.register_values import Dated, turns
from routing.warning_board import CertificateUse, LastHandIn, SeenCertificate, SilentLane
from routing.warnings import HORIZONS, Warning, WarningKind, horizon
from schemas.faults import CODES, Owner
from schemas.oin import Oin, institution_of

#: Days within which open messages are looked at whose receiver is to change hands.
HANDOVER: Final = timedelta(days=7)
#: How long an endpoint must have been failing.
UNREACHABLE_FOR: Final = timedelta(days=1)
#: A school that handed in nothing for so long is silent, when of those like it at least so many, and at least half, did.
SILENT_FOR: Final = timedelta(days=7)
COMPARABLE: Final = 3
#: A certificate that ended longer ago than this, and was replaced by none that we saw, is of a system that left.
ENDED_LONG_AGO: Final = timedelta(days=30)

_K = WarningKind
#: name -> its sentence in Dutch and English
_WORDS: Final[Mapping[str, tuple[str, str]]] = {
    "our-certificate": ("Ons eigen certificaat loopt af op {day}; zet een nieuw klaar (run.py certificate).", "Our own certificate ends on {day}; prepare the next one (run.py certificate)."),
    "our-certificate-followed": ("Ons eigen certificaat loopt af op {day}; het volgende is gepubliceerd, stap over.", "Our own certificate ends on {day}; the next one is published, switch to it."),
    "certificate": ("Het certificaat van {system} loopt af op {day} ({uses}); zonder nieuw stopt het verkeer.", "The certificate of {system} ends on {day} ({uses}); without a new one its traffic stops."),
    "mandate-ends": ("Het mandaat van {name} voor {system} en {dienst} eindigt op {day}, en daarna heeft niemand er een; verleng het of geef een nieuw.", "The mandate of {name} for {system} and {dienst} ends on {day}, and nobody has one after it; extend it or give a new one."),
    "endpoint-ends": ("{system} ontvangt {dienst} voor {name} tot en met {day}, en daarna niemand; leg een endpoint vast, anders wachten berichten.", "{system} receives {dienst} for {name} up to and including {day}, and nobody does after it; record an endpoint, or messages wait."),
    "endpoint-follows": ("Vanaf de dag na {day} heeft {system} het mandaat van {name} voor {dienst}, maar nog geen endpoint; leg het vast, anders wachten berichten.", "From the day after {day}, {system} has the mandate of {name} for {dienst}, but no endpoint yet; record it, or messages wait."),
    "mandate-begins": ("{name} machtigt {system} voor {dienst} vanaf {day}.", "{name} mandates {system} for {dienst} from {day}."),
    "mandate-begins-bare": ("{name} machtigt {system} voor {dienst} vanaf {day}, maar een endpoint is er nog niet; leg het vast.", "{name} mandates {system} for {dienst} from {day}, but there is no endpoint yet; record it."),
    "endpoint-begins": ("{system} ontvangt {dienst} voor {name} vanaf {day}.", "{system} receives {dienst} for {name} from {day}."),
    "mail-moves": ("{count} berichten {dienst} voor {name} staan open bij {system}; vanaf {day} gaan ze naar {after}. Haal ze voor die tijd op.", "{count} messages {dienst} for {name} are open at {system}; from {day} they go to {after}. Fetch them before that."),
    "mail-waits": ("{count} berichten {dienst} voor {name} staan open bij {system}; vanaf {day} ontvangt niemand ze, en wachten ze: {why}", "{count} messages {dienst} for {name} are open at {system}; from {day} nobody receives them, and they wait: {why}"),
    "unreachable": ("{system} is op {host} sinds {day} niet bereikbaar; {count} berichten wachten.", "{system} has not been reachable at {host} since {day}; {count} messages wait."),
    "silent": ("{name} leverde {dienst} voor het laatst aan op {day}; {active} van de {all} vergelijkbare scholen bij {system} leverden deze week aan.", "{name} last handed in {dienst} on {day}; {active} of {all} comparable schools with {system} did this week."),
    "silent-always": ("{name} leverde nog nooit {dienst} aan; {active} van de {all} vergelijkbare scholen bij {system} leverden deze week aan.", "{name} never handed in {dienst}; {active} of {all} comparable schools with {system} did this week."),
}  # fmt: skip
# ruff: noqa: E501 - one sentence, one line

_USES: Final[Mapping[CertificateUse, str]] = {CertificateUse.CLIENT: "client", CertificateUse.SIGNING: "ondertekening / signing", CertificateUse.SERVER: "server"}  # fmt: skip


def of_register(register: Register, mandates: Iterable[Mandate], endpoints: Iterable[Endpoint], today: date) -> list[Warning]:
    """What ends without a successor within 60 days, and what begins within 60 days, of these."""
    mandates, endpoints = list(mandates), list(endpoints)
    alone = [end for end in ends_soon(register, mandates, endpoints, today) if not end.followed]
    found = [_mandate_ends(register, end.row, end.horizon) for end in alone if isinstance(end.row, Mandate)]
    mandateless = {(end.row.organisation, end.row.dienst, end.row.until) for end in alone if isinstance(end.row, Mandate)}
    for end in alone:  # an endpoint that ends with its mandate needs the mandate first
        if isinstance(end.row, Endpoint) and (end.row.organisation, end.row.dienst, end.row.until) not in mandateless:
            found.append(_endpoint_ends(register, end.row, end.horizon))
    last = today + timedelta(days=HORIZONS[0])
    found += [
        _mandate_begins(register, row) for row in mandates if _begins(row, today, last) and not row.revoked and not _goes_on(register, row)
    ]
    found += [_endpoint_begins(register, row) for row in endpoints if _begins(row, today, last) and not _stays(register, row)]
    return found


def _mandate_ends(register: Register, row: Mandate, within: int) -> Warning:
    about = row.organisation, row.system
    owner = _owner(register, row.organisation)
    return _warning(_K.MANDATE_ENDS, key_of(row), "mandate-ends", owner, about, row.until, within, **_names(register, row))


def _endpoint_ends(register: Register, row: Endpoint, within: int) -> Warning:
    """Its turn: whoever has the mandate on the next day."""
    assert row.until is not None
    follows = [one for one in register.mandates_of(row.organisation, row.dienst) if one.covers(row.until + DAY) and not one.revoked]
    system = row.system if not follows or row.system in [one.system for one in follows] else follows[0].system
    which = "endpoint-ends" if system == row.system else "endpoint-follows"
    names = {**_names(register, row), "system": system_name(register, system)}
    return _warning(_K.ENDPOINT_ENDS, row.id, which, Owner.SUPPLIER, (row.organisation, system), row.until, within, **names)


def _begins(row: Mandate | Endpoint, today: date, last: date) -> bool:
    return row.start is not None and today < row.start <= last


def _goes_on(register: Register, row: Mandate) -> bool:
    """Whether this system has a mandate the day before too: then nothing begins."""
    assert row.start is not None
    before = row.start - DAY
    rows = register.mandates_of(row.organisation, row.dienst)
    return any(one.system == row.system and one.covers(before) and not one.revoked for one in rows)


def _mandate_begins(register: Register, row: Mandate) -> Warning:
    assert row.start is not None
    rows = [one for place in places_of(register, row) for one in register.endpoints_of(*place)]
    bare = not any(one.system == row.system and one.covers(row.start) for one in rows)
    about = row.organisation, row.system
    which = "mandate-begins-bare" if bare else "mandate-begins"
    return _warning(_K.MANDATE_BEGINS, key_of(row), which, Owner.SUPPLIER, about, row.start, None, **_names(register, row))


def _stays(register: Register, row: Endpoint) -> bool:
    """Whether it is received at the same place the day before too."""
    assert row.start is not None
    before = where_on(register, row.routeringskenmerk or row.organisation, row.dienst, row.versie, row.start - DAY).endpoint
    return before is not None and before.lane == row.lane


def _endpoint_begins(register: Register, row: Endpoint) -> Warning:
    about = row.organisation, row.system
    return _warning(_K.ENDPOINT_BEGINS, row.id, "endpoint-begins", Owner.SUPPLIER, about, row.start, None, **_names(register, row))


# -- mail that changes hands -----------------------------------------------------------------------------------------------------------------


def turning_days(rows: Iterable[Mandate | Endpoint], register: Register, today: date) -> list[date]:
    """The days of the coming week on which a receiver may be another than the day before."""
    return _turning([*rows, *register.delegations.values()], today)


def _turning(rows: Iterable[Dated], today: date) -> list[date]:
    return sorted({day for row in rows for day in turns(row) if today < day <= today + HANDOVER})


def concerned(register: Register, endpoints: Iterable[Endpoint], today: date) -> list[Endpoint]:
    """Of these, and of what a delegation is about that turns in the coming week: where mail may stand that changes hands."""
    found = {row.id: row for row in endpoints if row.until is not None and today <= row.until < today + HANDOVER}
    for given in register.delegations.values():
        if _turning([given], today):
            for dienst, versie in register.diensten:
                if dienst == given.dienst:
                    both = (given.municipality, given.region)
                    found |= {row.id: row for oin in both for row in register.endpoints_of(oin, dienst, versie) if row.covers(today)}
    return list(found.values())


def mail_that_moves(
    register: Register, endpoints: Iterable[Endpoint], days: Sequence[date], open_: Mapping[tuple[str, str], int]
) -> list[Warning]:
    """Open messages whose receiver is another system's, or nobody's, from one of these days on. `open_`: (endpoint, receiver) -> how
    many."""
    by_id = {row.id: row for row in endpoints}
    moves = (_moves(register, by_id[id], Oin(receiver), count, days) for (id, receiver), count in open_.items() if id in by_id)
    return [warning for warning in moves if warning is not None]


def _moves(register: Register, row: Endpoint, receiver: Oin, count: int, days: Sequence[date]) -> Warning | None:
    """On the first of these days on which they go elsewhere."""
    names = {"name": name_of(register, receiver), "system": system_name(register, row.system), "dienst": row.dienst, "count": str(count)}
    about, key = (institution_of(receiver), row.system), f"{row.id} {receiver}"
    for day in days:
        then = where_on(register, receiver, row.dienst, row.versie, day)
        if then.endpoint is None:
            owner = then.decision.owner or Owner.SUPPLIER
            why = {"why_nl": then.decision.text_nl, "why_en": then.decision.text_en}
            return _warning(_K.MAIL_CHANGES_HANDS, key, "mail-waits", owner, about, day, None, **names, **why)
        if then.endpoint.lane != row.lane:
            names["after"] = system_name(register, then.endpoint.system)
            return _warning(_K.MAIL_CHANGES_HANDS, key, "mail-moves", Owner.SUPPLIER, about, day, None, **names)
    return None


# -- certificates ----------------------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class OwnCertificate:
    """Ours."""

    until: datetime
    followed: bool  #: the next one is published


def of_certificates(register: Register, seen: Iterable[SeenCertificate], own: OwnCertificate | None, today: date) -> list[Warning]:
    """Certificates that end within 60 days, or ended lately, and were replaced by none that we saw: of each system, use and place the one
    that ends last counts. Of systems that do not connect any more none does."""
    found: list[Warning] = []
    if own is not None:
        day = amsterdam_day(own.until)
        within = horizon(day, today)
        if within is not None and not (own.followed and within > HORIZONS[-1]):
            which = "our-certificate-followed" if own.followed else "our-certificate"
            found.append(_warning(_K.CERTIFICATE_ENDS, "ours", which, Owner.US, (None, None), day, within))
    last: dict[tuple[str, CertificateUse, str], SeenCertificate] = {}
    for one in seen:
        place = (one.system, one.use, one.place)
        if place not in last or last[place].until_us <= one.until_us:
            last[place] = one
    uses: dict[tuple[str, str], list[SeenCertificate]] = {}
    for one in last.values():
        uses.setdefault((one.system, one.sha256), []).append(one)
    for (oin, sha256), rows in uses.items():
        day = amsterdam_day(_moment(rows[0].until_us))
        within, system = horizon(day, today), register.system(oin)
        if within is None or day < today - ENDED_LONG_AGO or system is None or not system.covers(today):
            continue
        words = ", ".join(sorted(f"{_USES[one.use]} {one.place}".strip() for one in rows))
        names = {"system": system.name, "uses": words}
        found.append(
            _warning(_K.CERTIFICATE_ENDS, f"{oin} {sha256[:16]}", "certificate", Owner.SUPPLIER, (None, system.oin), day, within, **names)
        )
    return found


# -- endpoints and traffic -------------------------------------------------------------------------------------------------------------------


def of_lanes(register: Register, silent: Iterable[SilentLane]) -> list[Warning]:
    """Endpoints of the register that could not be reached for a day."""
    places = {place.lane: place for place in register.parts.lanes()}
    found = []
    for one in silent:
        place = places.get(one.lane)
        if place is None or place.url is None:
            continue
        owner = CODES[one.code].owner if one.code and one.code in CODES else Owner.RECEIVER
        names = {"system": system_name(register, place.system), "host": urlsplit(place.url).netloc, "count": one.waiting}
        day = amsterdam_day(_moment(one.since_us))
        found.append(_warning(_K.ENDPOINT_UNREACHABLE, one.lane, "unreachable", owner, (None, place.system), day, None, **names))
    return found


def recent_senders(last: Iterable[LastHandIn], now: datetime) -> dict[tuple[str, str], dict[str, int]]:
    """(system, dienst) -> organisation -> when it last handed in; of systems that handed in lately for enough organisations to tell."""
    since_us = int((now - SILENT_FOR).timestamp() * 1e6)
    found: dict[tuple[str, str], dict[str, int]] = {}
    for one in last:
        found.setdefault((one.system, one.dienst), {})[one.organisation] = one.last_us
    return {pair: rows for pair, rows in found.items() if sum(us >= since_us for us in rows.values()) >= COMPARABLE}


def silent_schools(
    register: Register,
    system: Oin,
    dienst: str,
    mandates: Iterable[Mandate],
    last: Mapping[str, int],
    roles: Collection[str],
    now: datetime,
) -> list[Warning]:
    """Organisations that let this system act in this dienst all week, and for which it handed in nothing, while it did for at least half
    of those with the same roles. `last`: organisation -> when it last handed in; `roles`: of who may send in this dienst; empty: anybody."""
    today, since = amsterdam_day(now), now - SILENT_FOR
    since_us, week_ago = int(since.timestamp() * 1e6), amsterdam_day(since)
    groups: dict[tuple[str, ...], list[Organisation]] = {}
    for oin in {row.organisation for row in mandates if row.covers(week_ago) and row.covers(today) and not row.revoked}:
        organisation = register.organisation(oin)
        if organisation is not None and organisation.covers(today) and (not roles or set(roles) & set(organisation.roles)):
            likeness = tuple(sorted(set(organisation.roles) & set(roles) if roles else organisation.roles))
            groups.setdefault(likeness, []).append(organisation)
    found = []
    for group in groups.values():
        active = sum(last.get(one.oin, 0) >= since_us for one in group)
        if active < COMPARABLE or 2 * active < len(group):
            continue
        for one in group:
            if (at_us := last.get(one.oin, 0)) < since_us:
                names = {"name": one.name, "dienst": dienst, "system": system_name(register, system), "active": active, "all": len(group)}
                day = amsterdam_day(_moment(at_us)) if at_us else None
                key, which = f"{one.oin} {dienst} {system}", "silent" if day else "silent-always"
                found.append(_warning(_K.SCHOOL_SILENT, key, which, Owner.SUPPLIER, (one.oin, system), day, None, **names))
    return found


# -- words -----------------------------------------------------------------------------------------------------------------------------------


def _warning(
    kind: WarningKind,
    about: str,
    which: str,
    owner: Owner,
    whose: tuple[Oin | None, Oin | None],
    day: date | None,
    within: int | None,
    **names: object,
) -> Warning:
    """`about`: what it is about, as its key says; `whose`: organisation and system. A name that ends in `_nl` or `_en` is for that
    language only."""
    given = {"day": day, **names}
    nl, en = (
        words.format_map(given | {name.removesuffix(end): value for name, value in names.items() if name.endswith(end)})
        for words, end in zip(_WORDS[which], ("_nl", "_en"), strict=True)
    )
    organisation, system = whose
    return Warning(
        key=f"{kind} {about}",
        kind=kind,
        nl=dutch_days(nl),
        en=en,
        owner=owner,
        organisation=organisation,
        system=system,
        day=day,
        within=within,
    )


def _names(register: Register, row: Mandate | Endpoint) -> dict[str, str]:
    name = receiver_name(register, row) if isinstance(row, Endpoint) else name_of(register, row.organisation)
    dienst = f"{row.dienst} {row.versie}" if isinstance(row, Endpoint) else row.dienst
    return {"name": name, "system": system_name(register, row.system), "dienst": dienst}


def _owner(register: Register, oin: Oin) -> Owner:
    organisation = register.organisation(oin)
    return owner_of(organisation) if organisation else Owner.SCHOOL


def _moment(us: int) -> datetime:
    return datetime.fromtimestamp(us / 1e6, UTC)
