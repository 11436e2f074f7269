"""One wish before the rules: who asks, of which register, on which day; and how what is refused is put in words."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import date
from typing import Any, Final
from urllib.parse import urlsplit

from routing.addresses import is_odd_number, public
from routing.amsterdam import dutch_days
from routing.register import Board, Endpoint, Mandate, Organisation, Register, Standing, System, is_https
from routing.register_book import RowChange
from routing.register_rows import endpoint_id
from routing.register_spans import DAY, Span, in_words, limits, span
from routing.register_wishes import ALL, MAY, OWN_IS, Actor, AddEndpoint, Role, RuleBroken
from schemas.privacy import plain, redact

#: Longer than any that a server takes.
LONGEST_URL: Final = 2_000

#: Endpoints of every day that one system may have for one organisation in one dienst version, and in all unless an operator sets another
#: number. Everything that is asked of an organisation is found among all of its endpoints, so they are not to be made without end.
MOST_OF_PLACE: Final = 1_000
MOST_OF_SYSTEM: Final = 100_000

#: name -> code, Dutch sentence, English sentence; `{names}` are facts of the case.
_REFUSED: Final[Mapping[str, tuple[str, str, str]]] = {
    "forbidden": ("FORBIDDEN", "Als {role} mag u dit niet: {action}; dat mag: {may}.", "As {role} you may not {action}; that is for: {may}."),
    "not-yours": ("NOT_YOURS", "{what} is niet van {actor}; als {role} gaat u over: {own}.", "{what} is not of {actor}; as {role} you have a say in: {own}."),
    "unknown": ("UNKNOWN", "{what_nl} {key} staat niet in het serviceregister; controleer de gegevens.", "{what_en} {key} is not in the service register; check what you wrote."),
    "days-turned": ("WRONG", "De laatste dag {until} ligt voor de eerste dag {start}.", "The last day {until} lies before the first day {start}."),
    "start-over": ("WRONG", "De eerste dag {start} is voorbij; kies {today} of later.", "The first day {start} is over; choose {today} or later."),
    "until-over": ("WRONG", "De laatste dag {until} is voorbij; kies {earliest} of later.", "The last day {until} is over; choose {earliest} or later."),
    "over": ("WRONG", "{key} is sinds {until} voorbij; leg een nieuwe rij vast.", "{key} has been over since {until}; record a new row."),
    "revoked": ("WRONG", "Mandaat {key} is al ingetrokken.", "Mandate {key} has already been revoked."),
    "own-connection": ("WRONG", "{key} sluit zelf aan en heeft voor zichzelf geen mandaat nodig.", "{key} connects itself and needs no mandate for itself."),
    "party-over": ("WRONG", "{name} doet op deze dagen niet mee ({days_nl}).", "{name} takes no part on these days ({days_en})."),
    "no-schools": ("UNKNOWN", "Onder bestuur {key} staan op deze dagen geen scholen in het serviceregister.", "No schools are under board {key} on these days in the service register."),
    "mandate-there": ("OVERLAP", "{name} heeft {system} al gemachtigd voor {dienst}, {days_nl} (mandaat {row}); laat het nieuwe daarna beginnen of pas de einddag aan.", "{name} has already mandated {system} for {dienst}, {days_en} (mandate {row}); let the new one start after it, or change its last day."),
    "kenmerk": ("WRONG", "Routeringskenmerk {key} hoort niet bij {organisation}; de eerste 15 posities moeten gelijk zijn en de laatste 5 een eigen nummer.", "Routeringskenmerk {key} is not one of {organisation}; its first 15 positions must be the same, and its last 5 a number of its own."),
    "url": ("WRONG", "De URL {key} kan niet; schrijf https://host/pad zonder naam of wachtwoord.", "The URL {key} is not usable; write https://host/path, without name or password."),
    "url-private": ("WRONG", "De URL {key} wijst naar een adres binnen een eigen netwerk; schrijf een adres dat van buiten bereikbaar is.", "The URL {key} leads to a private or loopback address; write one that can be reached from outside."),
    "same-address": ("WRONG", "Het oude en het nieuwe adres zijn gelijk.", "The old and the new address are the same."),
    "nothing-there": ("UNKNOWN", "Systeem {key} heeft vanaf {day} geen endpoint op {address}.", "System {key} has no endpoint at {address} from {day} on."),
    "token": ("NOT_YOURS", "Mandaattoken {key} is niet van systeem {system} voor {organisation} en {dienst}; vraag het mandaat op.", "Mandate token {key} is not that of system {system} for {organisation} and {dienst}; ask for your mandates."),
    "no-mandate": ("NO_MANDATE", "{name} heeft {system} niet gemachtigd voor {dienst}; de school moet het mandaat vastleggen.", "{name} has not mandated {system} for {dienst}; the school must record the mandate."),
    "outside-mandate": ("NO_MANDATE", "Het endpoint geldt {days_nl}, maar het mandaat van {name} voor {system} en {dienst} {covered_nl}; blijf binnen die dagen.", "The endpoint is for {days_en}, but the mandate of {name} for {system} and {dienst} is for {covered_en}; stay within those days."),
    "outside-connection": ("NO_MANDATE", "Het endpoint geldt {days_nl}, maar {name} is aangesloten {covered_nl}; blijf binnen die dagen.", "The endpoint is for {days_en}, but {name} is connected {covered_en}; stay within those days."),
    "overlap": ("OVERLAP", "Er is al een endpoint van {receiver} voor {dienst} versie {versie}, {days_nl}: {row} van systeem {system}; laat dat eerst eindigen.", "There is an endpoint of {receiver} for {dienst} version {versie} already, {days_en}: {row} of system {system}; let that one end first."),
    "id-taken": ("OVERLAP", "Er is al een endpoint {row}; kies een ander id of wijzig dat.", "There is an endpoint {row} already; choose another id, or change that one."),
    "quota": ("QUOTA", "{system} heeft voor {name} al {count} endpoints in {dienst} {versie}, en meer dan {most} kan niet; wijzig een bestaand endpoint.", "{system} has {count} endpoints for {name} in {dienst} {versie} already, and may have no more than {most}; change one that is there."),
    "quota-in-all": ("QUOTA", "{system} heeft al {count} endpoints, en meer dan {most} kan niet; wijzig een bestaand endpoint, of vraag de beheerder om meer.", "{system} has {count} endpoints already, and may have no more than {most}; change one that is there, or ask the operator for more."),
    "no-value": ("WRONG", "{key} kan niet {value} zijn; zie docs/register.md.", "{key} cannot be {value}; see docs/register.md."),
    "not-a-municipality": ("WRONG", "{name} is geen gemeente.", "{name} is no municipality."),
    "delegates-itself": ("WRONG", "{name} laat {dienst} op deze dagen zelf door een andere regio ontvangen ({row}).", "{name} itself lets another region receive {dienst} on these days ({row})."),
    "same-party": ("WRONG", "{name} kan niet aan zichzelf worden overgedragen.", "{name} cannot be handed over to itself."),
    "delegated": ("OVERLAP", "{name} laat {dienst} al ontvangen door {region}, {days_nl} ({row}); laat dat eerst eindigen.", "{name} already lets {region} receive {dienst}, {days_en} ({row}); let that end first."),
    "gemeentecode": ("WRONG", "{key} is geen gemeentecode; schrijf vier cijfers.", "{key} is not a gemeentecode; write four digits."),
    "gemeentecode-held": ("OVERLAP", "Gemeentecode {key} is {days_nl} van {name}; laat die eerst eindigen.", "Gemeentecode {key} is that of {name}, {days_en}; let that end first."),
}  # fmt: skip
# ruff: noqa: E501 - one refusal, one line: the table is read downwards


@dataclass(frozen=True, slots=True)
class Sentence:
    """Something to tell whoever wished, in Dutch and English."""

    nl: str
    en: str


@dataclass(frozen=True, slots=True)
class Judged:
    """A wish that is granted: what is to change (nothing was yet), and what its maker should know."""

    changes: tuple[RowChange, ...]
    warnings: tuple[Sentence, ...] = ()


@dataclass(slots=True)
class Case:
    """What one wish is judged by; collects the warnings."""

    register: Register
    actor: Actor
    action: str  #: the line of MAY
    today: date
    may_call: Callable[[str], bool] = public  #: whether an IP address may stand in a URL
    most: int = MOST_OF_SYSTEM  #: endpoints that one system may have
    warnings: list[Sentence] = field(default_factory=list)
    ids: set[str] = field(default_factory=set)  #: of endpoints that the wish makes

    # -- words -------------------------------------------------------------------------------------------------------------------------
    def broken(self, why: str, *, row: str | None = None, **facts: object) -> RuleBroken:
        """The refusal of this name; its sentences never repeat a personal number."""
        code, nl, en = _REFUSED[why]
        named = {"row": row or ""} | {name: plain(str(value)[:120]) for name, value in facts.items()}
        return RuleBroken(code, dutch_days(redact(nl.format_map(named))), redact(en.format_map(named)), row)

    def warn(self, nl: str, en: str) -> None:
        """Something its maker should know; the wish is granted."""
        self.warnings.append(Sentence(dutch_days(redact(nl)), redact(en)))

    # -- who ---------------------------------------------------------------------------------------------------------------------------
    def allowed(self) -> None:
        """Raises RuleBroken when the role may not do this at all, or who has it takes part no more."""
        roles, role, oin = MAY[self.action], self.actor.role, self.actor.oin or ""
        if role not in roles:
            raise self.broken("forbidden", role=role, action=self.action, may=", ".join(roles))
        rows: Mapping[Role, Board | Organisation | System | None] = {
            Role.BOARD: self.register.boards.get(oin),
            Role.ORGANISATION: self.register.organisation(oin),
            Role.SUPPLIER: self.register.system(oin),
        }
        row = rows.get(role)
        if row is not None and row.standing(self.today) is Standing.ENDED:
            raise self.broken("party-over", name=row.name, **days_in_words(span(row)))

    @property
    def may_all(self) -> bool:
        """Whether every row is theirs."""
        return MAY[self.action].get(self.actor.role) == ALL

    def theirs(self, what: str, *, organisation: Organisation | None = None, system: str | None = None) -> None:
        """Raises RuleBroken unless the actor has a say in this organisation's rows, or in this system's."""
        own: str | None = {
            Role.BOARD: organisation.board if organisation else None,
            Role.ORGANISATION: organisation.oin if organisation else None,
            Role.SUPPLIER: system,
        }.get(self.actor.role)
        if not self.may_all and (own is None or own != self.actor.oin):
            raise self.broken("not-yours", what=what, actor=self.actor.oin, role=self.actor.role, own=OWN_IS.get(self.actor.role, "-"))

    @property
    def may_set_the_past(self) -> bool:
        """Whether days that are over may be set."""
        return self.actor.role in MAY["set days that are over"]

    # -- what is there -----------------------------------------------------------------------------------------------------------------
    def organisation(self, oin: str) -> Organisation:
        """Raises RuleBroken for one that is not in the register."""
        found = self.register.organisation(oin)
        if found is None:
            raise self.broken("unknown", what_nl="Organisatie", what_en="Organisation", key=oin)
        return found

    def system(self, oin: str) -> System:
        """Raises RuleBroken for one that is not in the register."""
        found = self.register.system(oin)
        if found is None:
            raise self.broken("unknown", what_nl="Systeem", what_en="System", key=oin)
        return found

    def versions(self, dienst: str) -> list[str]:
        """The versions of a dienst. Raises RuleBroken for one that is not in the register."""
        found = versions_of(self.register, dienst)
        if not found:
            raise self.broken("unknown", what_nl="Dienst", what_en="Dienst", key=dienst)
        return found

    def mandate(self, organisation: str, token: str) -> Mandate:
        """Raises RuleBroken for one that this organisation never gave."""
        for row in self.register.parts.of_organisation(organisation).mandates:
            if row.token == token:
                return row
        raise self.broken("unknown", what_nl="Mandaat", what_en="Mandate", key=token)

    def endpoint(self, id: str) -> Endpoint:
        """Raises RuleBroken for one that is not in the register."""
        found = self.register.endpoint(id)
        if found is None:
            raise self.broken("unknown", what_nl="Endpoint", what_en="Endpoint", key=id)
        return found

    # -- days --------------------------------------------------------------------------------------------------------------------------
    def new_days(self, start: date | None, until: date | None) -> Span:
        """The days of a new row. Raises RuleBroken when they are over, or the wrong way round."""
        first, last = start or self.today, until or date.max
        if last < first:
            raise self.broken("days-turned", start=first, until=last)
        if first < self.today and not self.may_set_the_past:
            raise self.broken("start-over", start=first, today=self.today)
        return first, last

    def last_day(self, key: str, days: Span, until: date) -> date | None:
        """The new last day of a row that has these days; None: it had not begun and is to be taken back whole. Raises RuleBroken."""
        if not self.may_set_the_past:
            earliest = self.today - DAY
            if days[1] < earliest:
                raise self.broken("over", key=key, until=days[1])
            if until < earliest:
                raise self.broken("until-over", until=until, earliest=earliest)
        if until >= days[0]:
            return until
        if days[0] > self.today:
            return None
        raise self.broken("days-turned", start=days[0], until=until)

    def free_id(self, row: AddEndpoint | Endpoint, start: date) -> str:
        """An id that no endpoint has, made from what it is for, as a document without ids has them."""
        base = endpoint_id(row.routeringskenmerk or row.organisation, row.dienst, row.versie, row.system, start)
        number, id = 1, base
        while id in self.ids or self.register.endpoint(id) is not None:
            number += 1
            id = f"{base}/{number}"
        self.ids.add(id)
        return id

    def url(self, url: str | None) -> None:
        """Raises RuleBroken for a URL that may not be called; a name is looked up when it is called, and judged again then."""
        if url is None:
            return
        if not is_https(url) or len(url) > LONGEST_URL:
            raise self.broken("url", key=url)
        host = (urlsplit(url).hostname or "").rstrip(".")
        try:
            allowed = self.may_call("127.0.0.1" if host == "localhost" or host.endswith(".localhost") else host)
        except ValueError:  # a name
            allowed = not is_odd_number(host)
        if not allowed:
            raise self.broken("url-private", key=url)


def versions_of(register: Register, dienst: str) -> list[str]:
    """The versions of a dienst that the register knows."""
    return [versie for name, versie in register.diensten if name == dienst]


def days_in_words(days: Span) -> dict[str, str]:
    """As facts of a refusal."""
    nl, en = in_words(days)
    return {"days_nl": nl, "days_en": en}


def dated(days: Span) -> dict[str, Any]:
    """As fields of a row of the model."""
    start, until = limits(days)
    return {"start": start, "until": until}
