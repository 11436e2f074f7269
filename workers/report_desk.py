"""Partners' reports by mail, when a person asks: what the portal's page of reports calls (`routing.reporting.ReportPost`)."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import date, datetime, time
from typing import Final, Protocol, get_args

from routing.amsterdam import AMSTERDAM
from routing.board import Board
from routing.contacts import Channel, Contact, ContactRole, Language, within
from routing.people import Scope
from routing.reporting import CannotSend, Draft, Sent, heard_at
from schemas.oin import Oin
from workers.alert_words import Words, write_report
from workers.clock import micros, moment

LANGUAGES: Final[tuple[Language, ...]] = get_args(Language)


class Rows(Protocol):
    """The store's side; see adapters.store.report_post."""

    def add(self, draft: Draft, contacts: Sequence[Contact], due_us: Mapping[str, int], *, who: str, now_us: int) -> None: ...

    def sent(self, party: str, monday: date, *, since_us: int) -> list[Sent]: ...


class ReportDesk:
    """See routing.reporting.ReportPost. May be used by several threads."""

    def __init__(
        self, rows: Rows, contacts: Callable[[Scope, str | None], Sequence[Contact]], board: Board, words: Words, *, ready: bool
    ) -> None:
        self._rows, self._contacts, self._board, self._words, self.ready = rows, contacts, board, words, ready

    def contacts(self, scope: Scope, system: str) -> list[Contact]:
        """See the Protocol."""
        return [one for one in self._contacts(scope, system) if one.channel is Channel.EMAIL]

    def draft(self, scope: Scope, system: str, monday: date, *, now_us: int) -> Draft | None:
        """See the Protocol."""
        if not within(scope, system):
            return None
        reports = self._board.reports(_own(system), monday=monday, now_us=now_us, system=system)
        if not reports:
            return None
        return Draft(
            system=system,
            monday=monday,
            written={language: write_report(reports, monday, _reader(system, language), self._words) for language in LANGUAGES},
        )

    def send(self, scope: Scope, draft: Draft, contacts: Collection[str], *, who: str, now_us: int) -> int:
        """See the Protocol."""
        there = [one for one in self.contacts(scope, draft.system) if one.id in contacts]
        if not there:
            raise CannotSend(
                "Choose to whom it is to go; contacts are added with `run.py contacts add`.",
                "Kies naar wie het gaat; contacten komen erbij met `run.py contacts add`.",
            )
        due_us = {one.id: micros(heard_at(one, moment(now_us))) for one in there}
        self._rows.add(draft, there, due_us, who=who, now_us=now_us)
        return len(there)

    def sent(self, scope: Scope, system: str, monday: date) -> list[Sent]:
        """See the Protocol."""
        if not within(scope, system):
            return []
        return self._rows.sent(system, monday, since_us=micros(datetime.combine(monday, time(), AMSTERDAM)))


def _own(system: str) -> Scope:
    """What is the partner's own: a report holds nothing else, whoever asks for it."""
    return Scope(systems=frozenset({Oin(system)}))


def _reader(system: str, language: Language) -> Contact:
    """Somebody who reads this language first."""
    return Contact(id="", party=system, role=ContactRole.FUNCTIONAL, channel=Channel.EMAIL, address="", language=language)
