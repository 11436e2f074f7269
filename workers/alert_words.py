"""Alerts, digests and weekly reports in words: Dutch and English, as plain text, simple HTML, CSV, and data for a webhook.

Numbers, codes, OINs and names of systems, never anything of a message. Every text goes through `schemas.privacy.redact`.
"""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta
from typing import Any, Final
from urllib.parse import urlencode

from broker_config.settings import Settings
from routing.alerts import Alert, AlertState, Kind, Letter
from routing.board import Flow, ItemFilter, Report, ReportLine, View
from routing.contacts import Contact, Language
from routing.register import Register
from routing.tellings import Written
from schemas.cells import cell
from schemas.faults import CODES, Owner
from schemas.glossary import GLOSSARY
from schemas.privacy import plain, redact
from workers.bilingual import Page, Pair, masked, number, of, span, when, written
from workers.clock import moment

#: Causes spelt out in one message; the rest is counted, and stands in the portal.
MOST: Final = 20
#: Of those, of each partner that is not the contact's own party.
OF_EACH: Final = 5
#: The same for programs.
MOST_DATA: Final = 200

#: How many, in words, by what the alert is about.
_SIZES: Final[Mapping[Kind, Pair]] = {
    Kind.FAILURES: ("{n} keer in het afgelopen etmaal", "{n} times in the last 24 hours"),
    Kind.UNANSWERED: ("{n} keer in het afgelopen etmaal", "{n} times in the last 24 hours"),
    Kind.PAUSED: ("{n} berichten wachten", "{n} messages wait"),
    Kind.UNFETCHED: ("{n} berichten staan in de postbus", "{n} messages stand in the mailbox"),
    Kind.SILENT: ("{n} scholen", "{n} schools"),
    Kind.WARNING: ("het gaat om {n}", "{n} of them"),
    Kind.BEHIND: ("", ""),
}
_US: Final[Pair] = ("de beheerder van het Koppelpunt", "the operator of the Koppelpunt")


_OWNERS: Final[Mapping[str, str]] = {
    Owner.SCHOOL: "school",
    Owner.SUPPLIER: "leverancier",
    Owner.RECEIVER: "ontvanger",
    Owner.MUNICIPALITY: "gemeente",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Words:
    """What every message needs besides what it tells."""

    portal: str  #: its address; empty: there is none
    ours: str  #: our own OIN
    name: Callable[[str], str]  #: of a party, as the service register has it

    def party(self, oin: str, language: Language) -> str:
        """A party with its name."""
        if oin == self.ours:
            return of(_US, language)
        name = plain(self.name(oin))
        return f"{name} ({oin})" if name else oin

    def link(self, one: Alert) -> str:
        """Where the portal shows what it is about."""
        if not self.portal:
            return ""
        cause = one.cause
        if cause.kind not in (Kind.FAILURES, Kind.UNANSWERED):
            return self.portal if cause.partner == self.ours else f"{self.portal}/partijen/{cause.partner}"
        system = (cause.partner,) if cause.partner != self.ours else ()
        receives = cause.about in (Owner.RECEIVER, Owner.MUNICIPALITY)
        wanted = ItemFilter(
            view=View.FALLEN,
            code=cause.code or None,
            dienst=cause.dienst or None,
            systems=() if receives else system,
            receiver_systems=system if receives else (),
        )
        return f"{self.portal}/openstaand?{urlencode(wanted.as_query())}"


def words_of(settings: Settings, register: Callable[[], Register]) -> Words:
    """With the portal's address and our OIN as the settings have them, and the names of the register as it is at each message."""

    def name(oin: str) -> str:
        found = register().organisation(oin) or register().system(oin)
        return found.name if found else ""

    return Words(portal=(settings.portal_url or "").rstrip("/"), ours=settings.own_oins[0], name=name)


# -- alerts ------------------------------------------------------------


def write_alerts(letter: Letter, words: Words) -> Written:
    """One message of all that is new to a contact."""
    shown = _spelt_out(letter)
    first, rest = shown[0], len(letter.alerts) - len(shown)
    more: Pair = (f" (en nog {len(letter.alerts) - 1})", f" (and {len(letter.alerts) - 1} more)") if len(letter.alerts) > 1 else ("", "")
    theirs = all(one.cause.partner == letter.contact.party for one in letter.alerts)
    intro: Pair = (
        ("Dit vraagt uw aandacht:", "This needs your attention:")
        if theirs
        else (
            "Dit heeft nog niemand aangenomen, of er is niemand anders om het te vertellen:",
            "Nobody took this yet, or there is nobody else to tell:",
        )
    )
    end: Pair = (
        "Neem de melding aan in het portaal, dan hoort verder niemand ervan. Wat weer goed gaat, sluit vanzelf.",
        "Take the alert in the portal, and nobody else is told. What is well again closes by itself.",
    )

    def body(language: Language) -> Page:
        page = Page(language)
        page.line(of(intro, language))
        for place, one in enumerate(shown, 1):
            _alert(page, one, words, place)
        if rest > 0:
            page.line(
                of((f"En nog {rest} meldingen; ze staan in het portaal.", f"And {rest} more alerts; they are in the portal."), language)
            )
        page.line(of(end, language))
        return page

    subject = tuple(f"{said}{what}" for said, what in zip(first.says, more, strict=True))
    data = {"alerts": [as_data(one, words) for one in letter.alerts[:MOST_DATA]], "count": len(letter.alerts)}
    return written((subject[0], subject[1]), body, letter.contact, data)


def _spelt_out(letter: Letter) -> list[Alert]:
    """Of every other party a few, so that one with many causes does not take the place of all the rest."""
    counts, found = Counter[str](), []
    for one in letter.alerts:
        partner = one.cause.partner
        counts[partner] += 1
        if partner == letter.contact.party or counts[partner] <= OF_EACH:
            found.append(one)
    return found[:MOST]


def as_data(one: Alert, words: Words) -> dict[str, Any]:
    """An alert for programs."""
    cause = one.cause
    found = {
        "id": one.id,
        "kind": str(cause.kind),
        "state": str(one.state),
        "partner": cause.partner,
        "dienst": cause.dienst or None,
        "code": cause.code or None,
        "about": cause.about or None,
        "count": one.size,
        "since": moment(one.since_us).isoformat(),
        "last": moment(one.last_us).isoformat(),
        "opened": moment(one.opened_us).isoformat(),
        "times": one.times,
        "what": dict(zip(("nl", "en"), one.says, strict=True)),
        "todo": dict(zip(("nl", "en"), one.do, strict=True)),
        "acknowledged_by": one.who,
        "link": words.link(one) or None,
    }
    return dict(masked(found))


# -- the daily digest ------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Day:
    """What a digest is made of."""

    day: date
    standing: Sequence[Alert]  #: open, or taken
    closed: Sequence[Alert]  #: since the digest before
    fallen: Mapping[str, int]  #: code -> what fell out and is not settled
    waiting: int  #: openstaand

    def __bool__(self) -> bool:
        return bool(self.standing or self.closed or self.fallen)


def write_digest(day: Day, contact: Contact, words: Words) -> Written:
    """The day of one party."""
    subject: Pair = (f"Dagoverzicht {day.day:%d-%m-%Y}", f"Daily digest {day.day.isoformat()}")

    def body(language: Language) -> Page:
        page = Page(language)
        page.line(of(("Voor", "For"), language) + f" {words.party(contact.party, language)}")
        numbers = (GLOSSARY["openstaand"], day.waiting), (GLOSSARY["uitval"], sum(day.fallen.values()))
        page.line("; ".join(f"{term.word(language)}: {number(n, language)}" for term, n in numbers))
        page.heading(of(("Meldingen", "Alerts"), language))
        for place, one in enumerate(day.standing[:MOST], 1):
            _alert(page, one, words, place)
        if not day.standing:
            page.line(of(("Er staan geen meldingen open.", "No alerts are open."), language))
        if day.closed:
            page.heading(of(("Weer in orde sinds gisteren", "Well again since yesterday"), language))
            page.list([f"{of(one.says, language)} ({one.id})" for one in day.closed[:MOST]])
        if day.fallen:
            page.heading(GLOSSARY["uitval"].word(language))
            rows = sorted(day.fallen.items(), key=lambda row: -row[1])
            page.list([f"{number(n, language)} x {code_words(code, language)}" for code, n in rows[:MOST]])
        if words.portal:
            page.line(words.portal)
        return page

    data = {
        "day": day.day.isoformat(),
        "alerts": [as_data(one, words) for one in day.standing[:MOST_DATA]],
        "closed": [as_data(one, words) for one in day.closed[:MOST_DATA]],
        "fallen": dict(day.fallen),
        "waiting": day.waiting,
    }
    return written(subject, body, contact, data)


# -- the weekly report ------------------------------------------------------------


def write_report(reports: Sequence[Report], monday: date, contact: Contact, words: Words) -> Written:
    """The week of one party: numbers per code, how long things took, what is still open; with the same as CSV."""
    sunday = monday + timedelta(days=6)
    week = f"{monday.isocalendar().year}-W{monday.isocalendar().week:02}"
    subject: Pair = (
        f"Weekoverzicht {week} ({monday:%d-%m} t/m {sunday:%d-%m-%Y})",
        f"Weekly report {week} ({monday.isoformat()} to {sunday.isoformat()})",
    )

    def body(language: Language) -> Page:
        page = Page(language)
        for report in reports:
            page.heading(words.party(report.system, language))
            for sent, flows in ((True, report.flows), (False, report.received)):
                page.list([_flow(dienst, flow, language, sent=sent) for dienst, flow in sorted(flows.items())])
            for heading, codes in (
                (("Uitval per code, van wat dit systeem inleverde:", "Failures by code, of what this system handed in:"), report.codes),
                (
                    ("Uitval per code, van wat voor dit systeem was:", "Failures by code, of what was for this system:"),
                    report.received_codes,
                ),
            ):
                if codes:
                    page.line(of(heading, language))
                    page.list([_code_line(line, language) for line in codes[:50]])
            oldest = "" if report.oldest_us is None else f" ({of(('oudste', 'oldest'), language)} {when(report.oldest_us)})"
            page.line(
                f"{GLOSSARY['openstaand'].word(language)}: {number(report.waiting, language)}{oldest}; "
                f"{GLOSSARY['uitval'].word(language)}: {number(report.fallen, language)}"
            )
        if not reports:
            page.line(of(("Er was deze week geen verkeer.", "There was no traffic this week."), language))
        return page

    data = {"week": week, "systems": [report.system for report in reports]}
    made = written(subject, body, contact, data)
    return replace(made, attachment=(f"koppelpunt-{week}.csv", as_csv(reports)))


def as_csv(reports: Iterable[Report]) -> str:
    """Every number of them, one a line, for a spreadsheet: system, monday, what, dienst, code, owner, number."""
    out = io.StringIO()
    rows = csv.writer(out, lineterminator="\r\n")

    def write(line: Iterable[object]) -> None:
        rows.writerow(map(cell, line))

    write(("system", "monday", "what", "dienst", "code", "owner", "number"))
    for report in reports:
        start = (report.system, report.monday.isoformat())
        for side, flows in (("sent", report.flows), ("received", report.received)):
            for dienst, flow in sorted(flows.items()):
                for name in ("handed_in", "refused", "delivered", "failed", "took_s", "in_minute", "in_hour", "in_day"):
                    write((*start, f"{side}_{name}", dienst, "", "", getattr(flow, name)))
        for before, codes in (("", report.codes), ("received_", report.received_codes)):
            for line in codes:
                for name in ("fallen", "schools", "still_open"):
                    write((*start, f"{before}{name}", line.dienst, line.code, line.owner, getattr(line, name)))
        write((*start, "waiting_now", "", "", "", report.waiting))
        write((*start, "fallen_now", "", "", "", report.fallen))
    return redact(out.getvalue())


def _flow(dienst: str, flow: Flow, language: Language, *, sent: bool) -> str:
    n = {name: number(getattr(flow, name), language) for name in ("handed_in", "refused", "delivered", "failed")}
    took = ""
    if flow.delivered:
        within = f"{100 * flow.in_hour // flow.delivered}%"
        took = of(
            (
                f"; gemiddeld {span(flow.took_s / flow.delivered, 'nl')}, {within} binnen een uur",
                f"; {span(flow.took_s / flow.delivered, 'en')} on average, {within} within an hour",
            ),
            language,
        )
    if sent:
        said = (
            f"aangeleverd {n['handed_in']}, geweigerd {n['refused']}, geleverd {n['delivered']}, uitgevallen {n['failed']}",
            f"handed in {n['handed_in']}, refused {n['refused']}, delivered {n['delivered']}, failed {n['failed']}",
        )
    else:
        said = (f"ontvangen {n['delivered']}, uitgevallen {n['failed']}", f"received {n['delivered']}, failed {n['failed']}")
    return f"{dienst}: {of(said, language)}{took}"


def _code_line(line: ReportLine, language: Language) -> str:
    n, still = number(line.fallen, language), number(line.still_open, language)
    said = of(("nog open: {still}; aan zet: {turn}", "still open: {still}; turn of: {turn}"), language)
    turn = owner_words(line.owner, language)
    return f"{n} x {code_words(line.code, language)} ({line.dienst}); " + said.format(still=still, turn=turn)


# -- a test ------------------------------------------------------------


def write_test(contact: Contact, words: Words) -> Written:
    """So that somebody sees that messages arrive."""
    said: Pair = (
        "Dit is een proef: meldingen van het Koppelpunt komen op dit adres aan. U hoeft niets te doen.",
        "This is a test: alerts of the Koppelpunt reach this address. There is nothing to do.",
    )

    def body(language: Language) -> Page:
        page = Page(language)
        page.line(of(said, language))
        return page

    return written(("Proefbericht", "Test message"), body, contact, {"test": True})


# -- parts of them ------------------------------------------------------------


def _alert(page: Page, one: Alert, words: Words, number: int) -> None:
    """One cause: what, how many, since when, whose turn, what to do."""
    page.item(f"{number}. {redact(of(one.says, page.language))}", alert_lines(one, words, page.language))


def alert_lines(one: Alert, words: Words, language: Language) -> list[str]:
    """What stands under an alert's name."""
    cause = one.cause
    counted = cause.kind in (Kind.FAILURES, Kind.UNANSWERED)
    size = of(_SIZES[cause.kind], language).format(n=number(one.size, language))
    since = of(("sinds", "since"), language) + f" {when(one.since_us)}"
    if one.last_us - one.since_us > 60_000_000:
        since += ", " + of(("het laatst", "last"), language) + f" {when(one.last_us)}"
    terms = (
        ("dienst", cause.dienst),
        ("code", cause.code),
        (of(("waar", "where"), language), "" if counted else cause.about),
        (of(("melding", "alert"), language), one.id),
    )
    found = ["; ".join(filter(None, (size, since))), "; ".join(f"{name} {plain(value)}" for name, value in terms if value)]
    turn = f"{owner_words(cause.about, language)}, " if counted and cause.partner != words.ours else ""
    found.append(f"{GLOSSARY['eigenaar'].word(language)}: {turn}{words.party(cause.partner, language)}")
    if one.state is AlertState.ACKNOWLEDGED:
        found.append(of((f"Aangenomen door {one.who}: {one.why}", f"Taken by {one.who}: {one.why}"), language))
    if one.times > 1:
        found.append(of((f"Dit is de {one.times}e keer", f"This is time number {one.times}"), language))
    if do := of(one.do, language):
        found.append(of(("Wat te doen", "What to do"), language) + f": {do}")
    if link := words.link(one):
        found.append(link)
    return [redact(line) for line in found]


def code_words(code: str, language: Language) -> str:
    """A code with what it means."""
    kind = CODES.get(code)
    return f"{code}: {kind.en if language == 'en' else kind.nl}" if kind else code


def owner_words(owner: str, language: Language) -> str:
    """Whose turn it is, in a word."""
    key = _OWNERS.get(owner)
    return GLOSSARY[key].word(language).lower() if key else of(_US, language)
