"""Whom a partner wants to be told, how, and when not: contacts per party and dienst.

Quiet hours are hours on the wall clock in Amsterdam, so that they mean the same in summer and winter.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, time
from enum import StrEnum
from typing import Final, Literal

from routing.amsterdam import AMSTERDAM
from routing.people import Scope

Language = Literal["nl", "en"]

_DAYS: Final = ("ma", "di", "wo", "do", "vr", "za", "zo")
_HOURS: Final = re.compile(r"([01][0-9]|2[0-3]):([0-5][0-9])-([01][0-9]|2[0-3]):([0-5][0-9])\Z")
#: Addresses as mail servers everywhere take them (RFC 5321 without quoting and comments); nothing that could end a header line.
_MAIL: Final = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~.-]{1,64}@(?=.{1,253}\Z)[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?\Z")


class ContactRole(StrEnum):
    """What a contact sees to."""

    FUNCTIONAL = "functional"  #: content, mandates, answers
    TECHNICAL = "technical"  #: software, endpoints, certificates


class Channel(StrEnum):
    """How a contact is told."""

    EMAIL = "email"
    WEBHOOK = "webhook"


@dataclass(frozen=True, slots=True, kw_only=True)
class QuietHours:
    """When somebody is not to be disturbed. `start` equal to `end`: at no hour."""

    start: time = time()
    end: time = time()  #: not itself; before `start`: the next morning
    days: frozenset[int] = frozenset()  #: whole days, Monday is 0

    def cover(self, now: datetime) -> bool:
        """Whether it is quiet at this instant."""
        there = now.astimezone(AMSTERDAM)
        if there.weekday() in self.days:
            return True
        at = there.time()
        return self.start <= at < self.end if self.start <= self.end else at >= self.start or at < self.end

    def __str__(self) -> str:
        hours = "" if self.start == self.end else f"{self.start:%H:%M}-{self.end:%H:%M}"
        return " ".join(filter(None, (hours, *(_DAYS[day] for day in sorted(self.days)))))


def parse_quiet(text: str) -> QuietHours:
    """`18:00-08:00 za zo` as QuietHours; an empty text is none. Raises ValueError with a sentence."""
    hours, days = QuietHours(), set()
    for word in text.lower().replace(",", " ").split():
        if word in _DAYS:
            days.add(_DAYS.index(word))
        elif (found := _HOURS.match(word)) and hours == QuietHours():
            a, b, c, d = map(int, found.groups())
            hours = QuietHours(start=time(a, b), end=time(c, d))
        else:
            raise ValueError(f"{word[:20]!r} is no quiet time: write hours and days in Amsterdam, such as '18:00-08:00 za zo'")
    return QuietHours(start=hours.start, end=hours.end, days=frozenset(days))


@dataclass(frozen=True, slots=True, kw_only=True)
class Contact:
    """One address of a party."""

    id: str
    party: str  #: OIN of an organisation or a system, or our own
    dienst: str = ""  #: empty: every dienst
    role: ContactRole
    channel: Channel
    address: str = field(repr=False)  #: e-mail address or https URL
    language: Language = "nl"  #: which of the two comes first
    quiet: QuietHours = QuietHours()
    step: int = 1  #: who is told first; the next number when nobody took it
    digest: bool = True  #: whether it gets the daily digest and the weekly report

    def hears(self, now: datetime, *, urgent: bool = False) -> bool:
        """Whether it may be told now."""
        return urgent or not self.quiet.cover(now)


def check_mail_address(text: str) -> str:
    """An e-mail address we write to. Raises ValueError with a sentence."""
    if not _MAIL.match(text) or ".." in text:
        raise ValueError(f"{text[:80]!r} is not an e-mail address: write name@host.nl")
    return text


def for_cause(contacts: Sequence[Contact], party: str, dienst: str, role: ContactRole) -> tuple[tuple[Contact, ...], ...]:
    """Who of a party is told of something in this dienst: groups, the first to be told first. Contacts of the dienst go before those of
    all, and the wanted role before the other one: a lone technical contact hears of content too."""
    theirs = [one for one in contacts if one.party == party and one.dienst in ("", dienst)]
    theirs = [one for one in theirs if one.dienst] or theirs if dienst else theirs
    theirs = [one for one in theirs if one.role is role] or theirs
    steps = sorted({one.step for one in theirs})
    return tuple(tuple(one for one in theirs if one.step == step) for step in steps)


def within(scope: Scope, party: str) -> bool:
    """Whether somebody with this scope may see what is told to a party."""
    return scope.everything or party in scope.organisations or party in scope.systems
