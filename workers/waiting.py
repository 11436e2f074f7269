"""What waits for the register: looked at again when that changed, and sent on to whoever must have it now (part of the timetable)."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import date
from typing import Final

from routing.amsterdam import amsterdam_day
from routing.decisions import Decision
from routing.ports import Outbox
from routing.recipients import code_in, named_by, of_gemeentecode, without_their_codes
from routing.register import Gemeentecode, Register
from routing.register_asked import AskedParts, NotAsked, Question
from routing.release import CircuitState
from routing.resolver import resolve
from routing.work import NewDelivery, Waiting
from schemas.oin import Oin
from workers.asking import answered
from workers.clock import Clock
from workers.places import is_strange
from workers.register_cache import Records

log = logging.getLogger("koppelpunt.waiting")

WAITING_PAGE: Final = 1_000
#: Seconds after a change of the register: by then every worker has seen it, and what they had in hand is stored.
LOOK_AGAIN_S: Final = 5.0
#: How often it is found out to whom goes what was meant for a municipality that ended.
PASS_ON_S: Final = 6.0
#: Questions about waiting deliveries that another register is asked at a time, every two seconds; and how long a look waits for answers.
ASKED_AT_ONCE: Final = 8
ASKING_S: Final = 1.5

_NONE: Final[frozenset[str]] = frozenset()


class WaitingRoom:
    """Everything that waits for the register, and who may not have what waits for them any more."""

    def __init__(self, outbox: Outbox, register: Callable[[], Register], clock: Clock, *, actor: str, states: Collection[str] = ()) -> None:
        """`states`: actions of state messages, of which only the newest counts."""
        self._outbox, self._register, self._clock, self._actor, self._states = outbox, register, clock, actor, frozenset(states)
        self._record = Records()
        self._seen: tuple[int, date] | None = None  # register version and day the waiting deliveries were last looked at with
        self._look_again_at: float | None = None
        self._pass_on_at = float("-inf")
        self._asked_after = 0  # up to which waiting delivery another register was asked
        self._codes: dict[str, frozenset[Gemeentecode]] = {}  # of every municipality, at the last look
        self._without: Mapping[str, object] = {}  # those that do not have all of theirs

    async def look(self) -> None:
        """Whoever waited for the register is looked at again when it changed, or when a new day began; and a little later once more, for
        what was decided meanwhile by the register of before. Another register does not say when it changed: it is asked at every look."""
        register = self._register()
        seen = (register.version, amsterdam_day(self._clock.now()))
        if seen != self._seen:
            lost = self._lost(register, seen[1])
            await self._look(register, lost)
            self._follow_held_lanes(register)
            self._follow_municipalities(register, lost)
            self._revive(register)
            self._seen, self._look_again_at = seen, time.monotonic() + LOOK_AGAIN_S
        elif self._look_again_at is not None and time.monotonic() >= self._look_again_at:
            await self._look(register, frozenset(self._without))
            self._revive(register)
            self._look_again_at = None
            self._pass_on_at = time.monotonic() + PASS_ON_S
        elif self._without and time.monotonic() >= self._pass_on_at:  # workers find what was meant for a municipality that ended
            await self._look(register, frozenset(self._without), only=True)
            self._pass_on_at = time.monotonic() + PASS_ON_S
        elif isinstance(register.parts, AskedParts):
            await self._ask_again(register)

    def _lost(self, register: Register, day: date) -> frozenset[str]:
        """The municipalities that have fewer gemeentecodes than their rows name, or other ones than at the last look."""
        before, self._codes = self._codes, {row.oin: frozenset(row.gemeentecodes) for row in register.organisations.values()}
        self._without = without_their_codes(register, day)
        changed = {oin for oin, codes in before.items() if codes - self._codes.get(Oin(oin), frozenset())}
        return frozenset(changed | self._without.keys())

    async def _look(self, register: Register, lost: frozenset[str], *, only: bool = False) -> None:
        """At everything that waits, or only at what waits for these."""
        after = 0
        while page := self._outbox.waiting(after=after, limit=WAITING_PAGE, receivers=lost if only else None):
            after = page[-1].seq
            await self._look_at(page, register, lost)

    async def _ask_again(self, register: Register) -> None:
        """Asks another register, some questions at a time, about one page after another."""
        page = self._outbox.waiting(after=self._asked_after, limit=WAITING_PAGE)
        looked = await self._look_at(page, register, frozenset(self._without))
        over = looked == len(page) < WAITING_PAGE
        self._asked_after = 0 if over or not looked else page[looked - 1].seq
        self._follow_held_lanes(register)

    async def _look_at(self, page: Sequence[Waiting], register: Register, lost: frozenset[str]) -> int:
        """What waits for the register, and has another answer now. Where another register must be asked, so much as may be at a time;
        returns up to where the page was looked at."""
        changes: list[tuple[Waiting, NewDelivery]] = []
        asked: dict[Question, asyncio.Future[None]] = {}
        unknown: list[Waiting] = []
        codes = self._codes_of(page, lost)
        looked = len(page)
        for place, row in enumerate(page):
            if not row.hold_code.startswith("ROUTE_"):
                continue
            try:
                changes += self._changed(row, register, codes)
            except NotAsked as missing:
                if missing.question not in asked and len(asked) >= ASKED_AT_ONCE:
                    looked = min(looked, place)
                    continue
                asked[missing.question] = asyncio.ensure_future(answered(missing))
                unknown.append(row)
        if asked:
            await asyncio.wait(asked.values(), timeout=ASKING_S)
        for row in unknown:
            with suppress(NotAsked):  # the next look will do
                changes += self._changed(row, register, codes)
        if changes:
            self._outbox.reroute_waiting(changes, actor=self._actor, now_us=self._clock.now_us())
        return looked

    def _codes_of(self, rows: Sequence[Waiting], lost: frozenset[str]) -> Mapping[str, str]:
        """By which gemeentecode these were found, of what is for a municipality that may not have it any more."""
        some = [row for row in rows if row.receiver in lost]
        return self._outbox.gemeentecodes(some) if some else {}

    # -- what waits in lanes --------------------------------------------------------------------------------------------------------------

    def _follow_held_lanes(self, register: Register) -> None:
        """What waits in a held lane leaves it when the register has another place for it: nobody tries it there, so nobody notices."""
        now = self._clock.now()
        for lane in [lane for lane, circuit in self._outbox.circuits().items() if circuit.state is not CircuitState.CLOSED]:
            for endpoint, system, receiver in self._outbox.places_in(lane):
                try:
                    strange = is_strange((endpoint, system, lane, receiver), register, now)
                except NotAsked as missing:
                    missing.begin()  # the next look will do
                    continue
                if strange:
                    self._empty(register, lane, endpoint, receiver)

    def _follow_municipalities(self, register: Register, lost: frozenset[str]) -> None:
        """What has not left for a municipality that lost its gemeentecode goes to the one that has it."""
        for oin in sorted(lost):
            regions = [row.region for row in register.delegations.values() if row.municipality == oin]
            for endpoint in (row for one in (oin, *regions) for row in register.parts.of_organisation(one).endpoints):
                self._empty(register, endpoint.lane, endpoint.id, oin, lost=lost)

    def _empty(self, register: Register, lane: str, endpoint: str, receiver: str, *, lost: frozenset[str] = _NONE) -> None:
        """Moves what waits in a lane for an endpoint and receiver to where the register has it now; it stays while nobody can say."""
        after = 0
        while page := self._outbox.waiting_in(lane, endpoint, receiver, after=after, limit=WAITING_PAGE):
            after = page[-1].seq
            codes = self._codes_of(page, lost or frozenset(self._without))
            changes = [(row, new) for row in page if (new := self._elsewhere(row, lane, register, codes)) is not None]
            if changes:
                self._outbox.move(lane, changes, actor=self._actor, now_us=self._clock.now_us())

    def _elsewhere(self, row: Waiting, lane: str, register: Register, codes: Mapping[str, str]) -> NewDelivery | None:
        try:
            new = self._now(row, register, codes.get(row.id))
        except NotAsked as missing:
            missing.begin()
            return None
        stays = (new.lane, new.endpoint, new.receiver) == (lane, row.endpoint, row.receiver)
        return None if stays or new.hold_code == "ROUTE_REGISTER_AWAY" else new

    # -- what failed because the register did not know a gemeentecode ----------------------------------------------------------------------

    def _revive(self, register: Register) -> None:
        """It is taken up again by itself when a municipality has the code, or will have: as if it had waited. What failed longer ago than
        its dienst gives it is for a person to judge."""
        named, after, revived = [named_by(code) for code in register.gemeentecodes()], 0, 0
        while page := self._outbox.unknown(named, now_us=self._clock.now_us(), after=after, limit=WAITING_PAGE):
            after = page[-1].seq
            changes = [(row, new) for row in page if (new := self._known_now(row, register)) is not None]
            if changes:
                why = f"the register has its gemeentecode since version {register.version}"
                revived += self._outbox.revive(changes, states=self._states, actor=self._actor, now_us=self._clock.now_us(), reason=why)
        if revived:
            log.info("codes_known", extra={"revived": revived, "register_version": register.version})

    def _known_now(self, row: Waiting, register: Register) -> NewDelivery | None:
        """None: it is nobody's still, or the register sends it nowhere."""
        code = code_in(row.receiver)
        who, decision = of_gemeentecode(code or "", register, amsterdam_day(self._clock.now()), {"target": row.target})
        if who is None or decision.outcome == "no":
            return None
        if decision.outcome == "wait":
            return self._waits(row, who.oin, decision)
        try:
            found = self._now(replace(row, receiver=who.oin), register, None)
        except NotAsked as missing:
            missing.begin()  # the look a little later will do
            return None
        if found.endpoint is None and found.decisions[-1].outcome == "no":
            return None
        return replace(found, decisions=(self._record(decision), *found.decisions))

    # -- one delivery ---------------------------------------------------------------------------------------------------------------------

    def _changed(self, row: Waiting, register: Register, codes: Mapping[str, str]) -> list[tuple[Waiting, NewDelivery]]:
        """Raises NotAsked."""
        new = self._again(row, register, codes.get(row.id))
        return [] if new is None else [(row, new)]

    def _again(self, row: Waiting, register: Register, code: str | None) -> NewDelivery | None:
        new = self._now(row, register, code)
        if new.code is not None or new.endpoint is not None:
            return new
        if new.hold_code == "ROUTE_REGISTER_AWAY" or (new.hold_code, new.receiver) == (row.hold_code, row.receiver):
            return None  # nothing new; at its deadline it fails with what it waits for
        return new if new.decisions[-1].outcome != "no" else None

    def _now(self, row: Waiting, register: Register, code: str | None) -> NewDelivery:
        """Where the register has it now, or why nowhere. `code`: the gemeentecode by which its receiver was found, and which may be another
        one's now; when it is nobody's any more, the delivery has failed. Raises NotAsked."""
        receiver, decisions = Oin(row.receiver), []
        if code is not None:
            who, decision = of_gemeentecode(code, register, amsterdam_day(self._clock.now()), {"target": row.target})
            if decision.rule == "gemeente-ended":
                return self._failed(row, decision)
            if who is not None and decision.outcome == "wait":  # its day has not come
                return self._waits(row, who.oin, decision)
            if who is not None and decision.outcome == "yes" and who.oin != receiver:
                receiver = who.oin
                decisions.append(self._record(decision))
        found = resolve(register, receiver=receiver, dienst=row.dienst, versie=row.versie, now=self._clock.now())
        endpoint, decision = found.endpoint, found.decision
        if decision.outcome == "no" and row.hold_code == decision.code:  # whoever had it in hand left it to us
            return self._failed(row, decision)
        return NewDelivery(
            id=row.id,
            target=row.target,
            receiver=receiver,
            endpoint=endpoint.id if endpoint else None,
            lane=endpoint.lane if endpoint else None,
            receiver_system=endpoint.system if endpoint else None,
            hold_code=None if endpoint else decision.code,
            owner=None if endpoint else _owner(decision),
            reason=None if endpoint else decision.text_nl,
            decisions=(*decisions, self._record(decision)),
        )

    def _waits(self, row: Waiting, receiver: Oin, decision: Decision) -> NewDelivery:
        return NewDelivery(
            id=row.id,
            target=row.target,
            receiver=receiver,
            hold_code=decision.code,
            owner=_owner(decision),
            reason=decision.text_nl,
            decisions=(self._record(decision),),
        )

    def _failed(self, row: Waiting, decision: Decision) -> NewDelivery:
        return NewDelivery(
            id=row.id,
            target=row.target,
            receiver=row.receiver,
            code=decision.code,
            owner=_owner(decision),
            reason=decision.text_nl,
            decisions=(self._record(decision),),
        )


def _owner(decision: Decision) -> str | None:
    return str(decision.owner) if decision.owner else None
