"""A partner's week, sent by mail because a person asked for it: shown first, and then exactly what was shown.

Whoever asks only leaves it in the store, with who asked; what tells people (workers.alerts) sends it from there, as it sends everything.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Final, Protocol, cast

from routing.contacts import Contact, Language
from routing.people import Scope
from routing.said import Said
from routing.tellings import Written

#: Quiet hours are looked at in steps of this, up to so far ahead.
_STEP: Final = timedelta(minutes=15)
_AHEAD: Final = timedelta(days=14)


class CannotSend(Said):
    """Nothing was sent."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """What would be sent of one system's week."""

    system: str
    monday: date
    written: Mapping[Language, Written]  #: by the language that comes first in it

    def as_json(self) -> str:
        """To keep between showing and sending."""
        written = {language: one.as_json() for language, one in self.written.items()}
        return json.dumps({"system": self.system, "monday": self.monday.isoformat(), "written": written}, ensure_ascii=False)

    @classmethod
    def from_json(cls, text: str) -> Draft:
        """The reverse."""
        given = json.loads(text)
        written = {cast(Language, language): Written.from_json(one) for language, one in given["written"].items()}
        return cls(system=given["system"], monday=date.fromisoformat(given["monday"]), written=written)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sent:
    """One report to one contact, asked for or of the Monday morning."""

    address: str
    by_person: bool
    made_us: int
    due_us: int
    sent_us: int | None
    given_up_us: int | None
    attempts: int


class ReportPost(Protocol):
    """Partners' reports by mail. Raises StoreUnavailable."""

    ready: bool  #: whether there is a mail server

    def contacts(self, scope: Scope, system: str) -> Sequence[Contact]:
        """To whom of this partner there can be mail."""

    def draft(self, scope: Scope, system: str, monday: date, *, now_us: int) -> Draft | None:
        """What would be sent. None when the scope sees nothing of it, or there is nothing to report."""

    def send(self, scope: Scope, draft: Draft, contacts: Collection[str], *, who: str, now_us: int) -> int:
        """Leaves it for these contacts (ids) in the store, and says so in the journal; returns to how many. It leaves at once, or when
        their quiet hours are over. Raises CannotSend."""

    def sent(self, scope: Scope, system: str, monday: date) -> Sequence[Sent]:
        """What was sent of this week, the newest first."""


def heard_at(one: Contact, now: datetime) -> datetime:
    """When it may be told: now, or when its quiet hours are over. Somebody who is never to be disturbed is told after a fortnight."""
    at = now
    while not one.hears(at) and at - now < _AHEAD:
        at += _STEP
    return at
