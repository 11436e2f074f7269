"""Content rules beyond the XSD: pure functions over the facts of a message. A contract names which apply to which fact.

A rule answers None, or a `Verdict`: with a code it refuses, without one it only warns. The sentences never repeat a value from
the message: it may be personal data. Dutch first, then English.

What is *not* judged here: whether a gemeentecode or BRIN exists, and on which day. The service register knows that, with start
and end days (`ROUTE_GEMEENTE_*`); a code list shipped with the software would be out of date on the first of January. Here only
codes are refused that can never be a municipality.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from functools import lru_cache
from types import MappingProxyType
from typing import Final, NamedTuple, Protocol
from zoneinfo import ZoneInfo

from schemas.contract import Check, MessageKind, SequenceRule
from schemas.oin import Oin, brin_of, institution_of
from schemas.privacy import PERSONAL_NUMBER

AMSTERDAM: Final = ZoneInfo("Europe/Amsterdam")

#: Ages between which a pupil of these diensten can plausibly be; the upper one is also the oldest anybody gets.
YOUNGEST, OLDEST = 10, 120

#: In the population register's table 33 these are no municipalities: unknown, and the register of non-residents (RNI).
_NO_MUNICIPALITY: Final = frozenset({"0000", "1999"})
#: Municipality codes (CBS) are given out below this one; higher ones name things abroad or nothing at all.
_FIRST_CODE_NEVER_USED: Final = "2000"


class Verdict(NamedTuple):
    """What a rule found: a refusal when it has a code, else a warning."""

    code: str | None
    nl: str
    en: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """What a rule may know besides the content. Sender and receiver are None for content without an envelope: those rules are silent."""

    sender: Oin | None
    receiver: Oin | None
    today: date  #: in Europe/Amsterdam, by our clock
    today_text: str
    tomorrow_text: str


def context(*, sender: Oin | None, receiver: Oin | None, now: datetime) -> Context:
    """The context of a hand-in at `now`. Raises ValueError for a time without a zone, which is no instant."""
    if now.tzinfo is None:
        raise ValueError(f"{now.isoformat()} has no time zone; use UTC")
    today = now.astimezone(AMSTERDAM).date()
    return Context(sender=sender, receiver=receiver, today=today, today_text=str(today), tomorrow_text=_after(today))


@lru_cache(maxsize=8)
def _after(day: date) -> str:
    return str(day + timedelta(days=1))


Rule = Callable[[str | None, Mapping[str, str], Check, Context], Verdict | None]


# ---- personal numbers (domain facts 8.1) ---------------------------------------------------------------------------


def _remainder(number: str) -> int | None:
    """The weighted sum (9 8 7 6 5 4 3 2 -1) modulo 11; None for anything but nine digits, of which not all are zero."""
    if len(number) != 9 or not (number.isascii() and number.isdigit()) or number == "000000000":
        return None
    a, b, c, d, e, f, g, h, i = map(int, number)
    return (9 * a + 8 * b + 7 * c + 6 * d + 5 * e + 4 * f + 3 * g + 2 * h - i) % 11


def is_bsn(number: str) -> bool:
    """Whether the number passes the elfproef of a burgerservicenummer: remainder 0."""
    return _remainder(number) == 0


def is_onderwijsnummer(number: str) -> bool:
    """Whether the number passes the test of an onderwijsnummer: it starts with 1 and the weighted sum of the others is, modulo 11, its last
    digit and 5: so that digit is 0 to 5. None is also a BSN. Source: domain facts 8.1."""
    return number[:1] == "1" and _remainder(number) == 5 and number[-1] in "012345"


def _bsn(value: str | None, facts: Mapping[str, str], check: Check, at: Context) -> Verdict | None:
    if value is None or is_bsn(value):
        return None
    if is_onderwijsnummer(value):
        return Verdict(
            "PGN_KIND",
            "Hier hoort een burgerservicenummer (BSN), maar dit is een onderwijsnummer; zet het in het element voor onderwijsnummers.",
            "A burgerservicenummer (BSN) belongs here, but this is an onderwijsnummer; put it in the element for onderwijsnummers.",
        )
    return Verdict(
        "PGN_INVALID",
        "Dit burgerservicenummer (BSN) bestaat niet: het voldoet niet aan de elfproef. Controleer op een tikfout bij de bron.",
        "This burgerservicenummer (BSN) does not exist: it fails the elfproef. Check for a typing error at its source.",
    )


def _onderwijsnummer(value: str | None, facts: Mapping[str, str], check: Check, at: Context) -> Verdict | None:
    if value is None or is_onderwijsnummer(value):
        return None
    if is_bsn(value):
        return Verdict(
            "PGN_KIND",
            "Hier hoort een onderwijsnummer, maar dit is een burgerservicenummer (BSN); zet het in het element voor BSN's.",
            "An onderwijsnummer belongs here, but this is a burgerservicenummer (BSN); put it in the element for BSNs.",
        )
    return Verdict(
        "PGN_INVALID",
        "Dit onderwijsnummer bestaat niet: het voldoet niet aan de controle. Controleer op een tikfout bij de bron.",
        "This onderwijsnummer does not exist: it fails its check. Check for a typing error at its source.",
    )


def _no_personal_number(value: str | None, facts: Mapping[str, str], check: Check, at: Context) -> Verdict | None:
    if value is None or not PERSONAL_NUMBER.search(value):
        return None
    return Verdict(
        "CONTENT_RULE",
        "Deze tekst bevat negen cijfers, zoals een BSN; deze dienst draagt geen persoonsgegevens. Laat ze weg.",
        "This text holds nine digits, like a BSN; this dienst carries no personal data. Leave them out.",
    )


# ---- who speaks ----------------------------------------------------------------------------------------------------


def _names(value: str, oin: Oin) -> bool:
    """Whether a business header's Instantie names this organisation: by OIN, by BRIN, or by BRIN6."""
    brin = brin_of(oin)
    if brin is not None and value.startswith(brin):
        rest = value[4:]
        return not rest or (len(rest) == 2 and rest.isascii() and rest.isdigit())
    return value in (oin, institution_of(oin))


def _header_sender(value: str | None, facts: Mapping[str, str], check: Check, at: Context) -> Verdict | None:
    if value is None or at.sender is None or _names(value, at.sender):
        return None
    return Verdict(
        "HEADER_NOT_SENDER",
        "De verzendende instantie is niet de afzender van het bericht (wsa:From). Gebruik de BRIN of het OIN van de school zelf.",
        "The sending institution is not the message's sender (wsa:From). Use the BRIN or OIN of the school itself.",
    )


def _header_receiver(value: str | None, facts: Mapping[str, str], check: Check, at: Context) -> Verdict | None:
    if value is None or at.receiver is None or _names(value, at.receiver):
        return None
    return Verdict(
        "HEADER_NOT_SENDER",
        "De ontvangende instantie is niet de geadresseerde van het bericht (wsa:To). Gebruik hetzelfde OIN, of de BRIN daarvan.",
        "The receiving institution is not the one the message is addressed to (wsa:To). Use the same OIN, or its BRIN.",
    )


def _brin_of_sender(value: str | None, facts: Mapping[str, str], check: Check, at: Context) -> Verdict | None:
    if value is None or at.sender is None or brin_of(at.sender) == value:
        return None
    return Verdict(
        "BRIN_NOT_SENDER",
        "De BRIN is niet die van de afzender (wsa:From). Lever aan namens de school waarvan het bericht komt.",
        "The BRIN is not the sender's (wsa:From). Hand in on behalf of the school the message is from.",
    )


def _within_brin(value: str | None, facts: Mapping[str, str], check: Check, at: Context) -> Verdict | None:
    brin = facts.get(check.other or "")
    if value is None or brin is None or value.startswith(brin):
        return None
    return Verdict(
        "CONTENT_RULE",
        f"De eerste vier tekens zijn een andere BRIN dan in {check.other}; ze moeten gelijk zijn.",
        f"The first four characters are another BRIN than in {check.other}; they must be the same.",
    )


def _differs(value: str | None, facts: Mapping[str, str], check: Check, at: Context) -> Verdict | None:
    other = facts.get(check.other or "")
    if value is None or other is None or value.lower() != other.lower():
        return None
    return Verdict(
        "CONTENT_RULE",
        f"Dit is hetzelfde kenmerk als {check.other}; een bericht kan zichzelf niet vervangen.",
        f"This is the same id as {check.other}; a message cannot replace itself.",
    )


# ---- municipalities ------------------------------------------------------------------------------------------------


def _gemeentecode(value: str | None, facts: Mapping[str, str], check: Check, at: Context) -> Verdict | None:
    if value is None or (value < _FIRST_CODE_NEVER_USED and value not in _NO_MUNICIPALITY):
        return None
    return Verdict(
        "GEMEENTECODE_UNKNOWN",
        "Deze gemeentecode is geen gemeente. Laat het element weg als de leerling niet in een Nederlandse gemeente woont.",
        "This gemeentecode is no municipality. Leave the element out when the pupil does not live in a Dutch municipality.",
    )


def _gemeentecode_named(value: str | None, facts: Mapping[str, str], check: Check, at: Context) -> Verdict | None:
    if value is not None:
        return None
    return Verdict(
        None,
        "Zonder gemeentecode gaat dit bericht naar geen enkele gemeente.",
        "Without a gemeentecode this message goes to no municipality at all.",
    )


# ---- dates ---------------------------------------------------------------------------------------------------------


def years_between(birth: str, on: str) -> int:
    """Whole years from one date to the other, both yyyy-mm-dd. Who was born on 29 February is a year older on 1 March."""
    return int(on[:4]) - int(birth[:4]) - (on[5:10] < birth[5:10])


def _birth_date(value: str | None, facts: Mapping[str, str], check: Check, at: Context) -> Verdict | None:
    if value is None:
        return None
    if value > at.today_text:
        return Verdict("DATE_IMPLAUSIBLE", "Deze geboortedatum ligt in de toekomst.", "This date of birth lies in the future.")
    if YOUNGEST <= years_between(value, at.today_text) <= OLDEST:
        return None
    return Verdict(
        "DATE_IMPLAUSIBLE",
        f"Met deze geboortedatum is de leerling jonger dan {YOUNGEST} of ouder dan {OLDEST} jaar.",
        f"With this date of birth the pupil is younger than {YOUNGEST} or older than {OLDEST}.",
    )


def _not_future(value: str | None, facts: Mapping[str, str], check: Check, at: Context) -> Verdict | None:
    if value is None or value[:10] <= at.tomorrow_text:
        return None
    return Verdict(
        "DATE_IMPLAUSIBLE",
        "Deze datum ligt meer dan een dag in de toekomst.",
        "This date lies more than a day in the future.",
    )


def _school_year(value: str | None, facts: Mapping[str, str], check: Check, at: Context) -> Verdict | None:
    if value is None or int(value[5:9]) == int(value[:4]) + 1:
        return None
    return Verdict(
        "DATE_IMPLAUSIBLE",
        "Een schooljaar bestaat uit twee opeenvolgende jaren, zoals 2026-2027.",
        "A school year is two consecutive years, such as 2026-2027.",
    )


def outside_window(kind: MessageKind, facts: Mapping[str, str], today: date) -> Verdict | None:
    """A warning when `today` (Amsterdam, our clock) is outside the sending window of the school year the message names; never a refusal."""
    year = facts.get(kind.send_year or "")
    if year is None or kind.send_from is None or kind.send_until is None:
        return None
    first, last = (_window_day(day, int(year[:4])) for day in (kind.send_from, kind.send_until))
    if first <= str(today) <= last:
        return None
    return Verdict(
        None,
        f"Aangeleverd buiten de aanleverperiode van het schooljaar ({first} tot en met {last}); het bericht wordt wel verwerkt.",
        f"Handed in outside the sending window of the school year ({first} up to and including {last}); it is processed all the same.",
    )


def _window_day(day: str, starts_in: int) -> str:
    """A day MM-DD in the school year that starts on 1 August of a year, as yyyy-mm-dd."""
    return f"{starts_in if day >= '08-01' else starts_in + 1:04}-{day}"


#: The rules a contract may name.
RULES: Final[Mapping[str, Rule]] = MappingProxyType(
    {
        "birth-date": _birth_date,
        "brin-of-sender": _brin_of_sender,
        "bsn": _bsn,
        "differs": _differs,
        "gemeentecode": _gemeentecode,
        "gemeentecode-named": _gemeentecode_named,
        "header-receiver": _header_receiver,
        "header-sender": _header_sender,
        "no-personal-number": _no_personal_number,
        "not-future": _not_future,
        "onderwijsnummer": _onderwijsnummer,
        "school-year": _school_year,
        "within-brin": _within_brin,
    }
)

#: Those that compare with another fact.
COMPARING: Final = frozenset({"differs", "within-brin"})


# ---- the order of statuses (domain facts 10.3) ---------------------------------------------------------------------


class Step(Protocol):
    """One status in a stream, with its rising number."""

    @property
    def number(self) -> int: ...
    @property
    def status(self) -> str: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Sequence:
    """Where a message stands in its stream."""

    key: str  #: names the stream
    number: int
    status: str


class Judgement(NamedTuple):
    """Whether a status may come now: a fault code, or None; and a warning for a receipt."""

    code: str | None = None
    warning: str | None = None


_FINE: Final = Judgement()
_GAP: Final = Judgement(
    warning="Er ontbreken eerdere statussen van deze aanmelding; deze is wel verwerkt. / "
    "Earlier statuses of this application are missing; this one is processed all the same."
)
_REPEAT: Final = Judgement(
    warning="Deze status was al ontvangen met hetzelfde volgnummer. / This status was received before with the same number."
)


def judge_sequence(rule: SequenceRule, last: Step | None, new: Step) -> Judgement:
    """Whether `new` may follow `last`, the newest of its stream so far (None: the stream is new). Never raises.

    Numbers decide: a lower one is stale. A repeat (same status; same or next number) is fine. A gap may hide steps we never saw, so
    the status is not judged then. One number with two statuses, and a next number with a status that cannot follow, are wrong.
    """
    if last is None:
        if new.status in rule.first:
            return _FINE
        return _GAP if new.number > 1 else Judgement("STATUS_ORDER")
    if new.number < last.number:
        return Judgement("STATUS_STALE")
    if new.number > last.number + 1:
        return _GAP
    if new.status == last.status:
        return _FINE if new.number > last.number else _REPEAT
    if new.number == last.number:
        return Judgement("STATUS_ORDER")
    return _FINE if new.status in rule.follows.get(last.status, ()) else Judgement("STATUS_ORDER")
