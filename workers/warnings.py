"""The timetable's look for what will break unless somebody acts. In a thread: with a national register it takes seconds."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from datetime import date, timedelta
from typing import Any, Final, cast

from routing import warning_rules as rules
from routing.amsterdam import amsterdam_day
from routing.register import Endpoint, Mandate, Register
from routing.register_book import RegisterBook
from routing.register_rows import value_of
from routing.warning_board import WarningFacts, Warnings
from routing.warnings import HORIZONS, Warning, WarningKind
from schemas.contract import MessageKind
from schemas.oin import Oin
from workers.clock import Clock, micros
from workers.timetable import Job

log = logging.getLogger("koppelpunt.timetable")

#: What only the register tells.
OF_REGISTER: Final = frozenset(
    {WarningKind.MANDATE_ENDS, WarningKind.ENDPOINT_ENDS, WarningKind.MANDATE_BEGINS, WarningKind.ENDPOINT_BEGINS}
)
#: What changes with the traffic.
OF_TRAFFIC: Final = frozenset({WarningKind.CERTIFICATE_ENDS, WarningKind.ENDPOINT_UNREACHABLE, WarningKind.MAIL_CHANGES_HANDS})
#: When a change of the register is about more organisations than this, all are looked at.
FEW: Final = 200
#: Messages looked at in one transaction, and such turns in one look: other work of the timetable waits for a look.
TURN: Final = 5_000
TURNS: Final = 20
#: How long an ended warning is kept.
KEPT: Final = timedelta(days=30)


class Watch:
    """Looks, and keeps what it finds."""

    def __init__(
        self,
        board: Warnings,
        facts: WarningFacts,
        register: Callable[[], Register],
        book: RegisterBook,
        kinds: Iterable[MessageKind],
        clock: Clock,
        *,
        own: Callable[[], rules.OwnCertificate | None],
    ) -> None:
        """`own`: our certificate. Everything raises StoreUnavailable."""
        self._board, self._facts, self._register, self._book, self._clock, self._own = board, facts, register, book, clock, own
        self._senders: dict[str, set[str]] = {}  # dienst -> roles that may send in it; empty: anybody
        for kind in kinds:
            roles = self._senders.setdefault(kind.dienst, set(kind.senders))
            self._senders[kind.dienst] = roles | set(kind.senders) if roles and kind.senders else set()
        self._is_behind = True
        self._seen: tuple[int, date] | None = None  # version and day of the register as it was looked at last

    def jobs(self) -> Sequence[Job]:
        """For the timetable. One thing at a time, in a thread, so the order in which they are due does not matter."""
        return tuple(
            Job(name=name, every_s=every_s, act=lambda act=act: asyncio.to_thread(act))  # type: ignore[misc]
            for name, every_s, act in (
                ("traffic", 60, self.follow_traffic),
                ("register warnings", 60, self.look_at_register),
                ("warnings", 600, self.look_at_traffic),
                ("silent schools", 3600, self.look_for_silence),
            )
        )

    def follow_traffic(self) -> None:
        """Who handed in since the last look. After an upgrade, with a million messages to look at, it takes ten looks."""
        self._is_behind = all(self._facts.follow_traffic(now_us=self._clock.now_us(), limit=TURN) >= TURN for _ in range(TURNS))

    def look_at_register(self) -> None:
        """What ends and begins: of everybody on a new day, else of those whose rows changed."""
        register, today = self._register(), self._today()
        if (register.version, today) == self._seen:
            return
        changed = self._changed(register, today)
        if changed is None:
            mandates, endpoints = self._turning(today)
        else:
            holdings = [register.parts.of_organisation(oin) for oin in changed]
            mandates = [row for held in holdings for row in held.mandates]
            endpoints = [row for held in holdings for row in held.endpoints]
        self._keep(rules.of_register(register, mandates, endpoints, today), OF_REGISTER, organisations=changed)
        self._seen = register.version, today

    def look_at_traffic(self) -> None:
        """Certificates, endpoints that cannot be reached, and mail that is about to change hands."""
        register, now, today = self._register(), self._clock.now(), self._today()
        found = rules.of_certificates(register, self._facts.certificates(), self._own(), today)
        found += rules.of_lanes(register, self._facts.unreachable(micros(now - rules.UNREACHABLE_FOR)))
        mandates, endpoints = self._turning(today, rules.HANDOVER)
        some = rules.concerned(register, endpoints, today)
        open_ = self._facts.open_at([row.id for row in some], {row.lane for row in some})
        found += rules.mail_that_moves(register, some, rules.turning_days([*mandates, *endpoints], register, today), open_)
        self._keep(found, OF_TRAFFIC)
        self._board.forget(micros(now - KEPT))

    def look_for_silence(self) -> None:
        """Schools for which nothing is handed in, while comparable ones send. Not while the traffic is not known yet."""
        if self._is_behind:
            return
        register, now = self._register(), self._clock.now()
        found: list[Warning] = []
        for (system, dienst), last in rules.recent_senders(self._facts.last_hand_ins(), now).items():
            rows = self._book.rows("mandates", system=system, dienst=dienst)
            mandates = [cast(Mandate, value_of("mandates", row)) for row in rows]
            found += rules.silent_schools(register, Oin(system), dienst, mandates, last, self._senders.get(dienst, ()), now)
        self._keep(found, {WarningKind.SCHOOL_SILENT})

    def _today(self) -> date:
        return amsterdam_day(self._clock.now())

    def _changed(self, register: Register, today: date) -> set[str] | None:
        """The organisations whose rows changed since the last look; None: all must be looked at."""
        if self._seen is None or self._seen[1] != today or self._seen[0] > register.version:
            return None
        rows = self._book.changed(self._seen[0], register.version, 10 * FEW)
        if len(rows) >= 10 * FEW or any(name not in ("mandates", "endpoints") for name, *_ in rows):
            return None
        changed = {organisation for _, _, organisation, _ in rows if organisation is not None}
        return changed if len(changed) <= FEW else None

    def _turning(self, today: date, within: timedelta = timedelta(days=HORIZONS[0])) -> tuple[list[Mandate], list[Endpoint]]:
        """Mandates and endpoints that end or begin on these days."""
        mandates: list[Mandate] = []
        endpoints: list[Endpoint] = []
        for name, fields in self._facts.turning(today.isoformat(), (today + within).isoformat()):
            row = value_of(name, cast(Mapping[str, Any], fields))
            if isinstance(row, Mandate):
                mandates.append(row)
            elif isinstance(row, Endpoint):
                endpoints.append(row)
        return mandates, endpoints

    def _keep(self, found: Sequence[Warning], kinds: Collection[WarningKind], *, organisations: Collection[str] | None = None) -> None:
        began, ended = self._board.keep(found, kinds=kinds, now_us=self._clock.now_us(), organisations=organisations)
        if began or ended:
            log.info("warnings_changed", extra={"kinds": sorted(str(kind) for kind in kinds), "began": began, "ended": ended})
