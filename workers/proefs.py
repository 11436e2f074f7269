"""Proefs (routing.proef): asked for at a desk, made and handed in by the timetable's process, and followed until something came of them.

The desk only asks: it signs nothing and opens nothing. What is made here is not signed either: it always travels in our envelope, which
whoever sends it signs.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Final, Protocol

from routing.people import Scope
from routing.ports import HandIns, JudgeStep, Registry, Vault
from routing.proef import ACTION, VIA, NoProef, Proef, ProefState, aim, judge_own
from routing.register import Register
from routing.register_asked import patiently
from routing.work import Lease, LeaseLost, NewMessage
from schemas.content import read_content
from schemas.contracts import Contracts
from schemas.envelope import Envelope
from schemas.faults import Fault, NotAllowed, Refused
from schemas.ids import new_id
from schemas.oin import Oin, institution_of, is_oin
from workers.clock import Clock, moment
from workers.desk import as_message
from workers.loop import Leader, Stopping, Worker, lead
from workers.register_cache import Records

log = logging.getLogger("koppelpunt.proefs")

#: Seconds between two looks while there are any, and while there are none.
STEP_S, REST_S = 0.3, 1.0
#: Seconds between two times that those of long ago are forgotten.
FORGET_S: Final = 86_400.0


class ProefBook(Protocol):
    """The store's side; see adapters.store.proefs."""

    def ask(self, wanted: Proef) -> Proef: ...

    def proefs(self, scope: Scope, *, party: str | None = None, lane: str | None = None, limit: int = 20) -> list[Proef]: ...

    def proef(self, scope: Scope, id: str) -> Proef | None: ...

    def standing(self) -> list[Proef]: ...

    def handed_in(self, id: str, *, lease: Lease) -> None: ...

    def refuse(self, one: Proef, *, code: str, owner: str, reason: str, lease: Lease, now_us: int) -> None: ...

    def look(self, some: Sequence[Proef], *, lease: Lease, now_us: int) -> int: ...

    def forget(self, *, now_us: int) -> None: ...


class Compose(Protocol):
    """Makes the envelope of one (adapters.proef)."""

    def __call__(self, id: str, *, own: Oin, receiver: Oin, at: datetime) -> Envelope: ...


class ProefDesk:
    """See routing.proef.Proefs. May be used by several threads, and not on an event loop: another register may have to be asked."""

    def __init__(self, book: ProefBook, register: Callable[[], Register], clock: Clock) -> None:
        """`register`: as routing asks it."""
        self._book, self._register, self._clock = book, register, clock

    def ask(self, scope: Scope, *, organisation: str | None = None, system: str | None = None, lane: str | None = None, who: str) -> Proef:
        """See the Protocol."""
        if organisation is None and system is None and lane is None:
            raise NoProef(
                "Name an organisation, a system or a lane to send a test message to.",
                "Noem een organisatie, een systeem of een wachtrij om een proefbericht heen te sturen.",
            )
        if organisation is not None and not is_oin(organisation):
            raise NoProef("That is no OIN or routeringskenmerk of 20 positions.", "Dat is geen OIN of routeringskenmerk van 20 posities.")
        now = self._clock.now()
        receiver, endpoint = patiently(lambda: aim(self._register(), organisation=organisation, system=system, lane=lane, now=now))
        owner = institution_of(receiver)
        if not (scope.everything or endpoint.system in scope.systems or owner in scope.organisations):
            raise NoProef("That endpoint is not yours.", "Dat endpoint is niet van u.")
        return self._book.ask(
            Proef(
                id=new_id(),
                receiver=receiver,
                organisation=owner,
                system=endpoint.system,
                endpoint=endpoint.id,
                lane=endpoint.lane,
                asked_by=who,
                asked_us=self._clock.now_us(),
            )
        )

    def proefs(self, scope: Scope, *, party: str | None = None, lane: str | None = None, limit: int = 20) -> list[Proef]:
        """See the Protocol."""
        return self._book.proefs(scope, party=party, lane=lane, limit=limit)

    def proef(self, scope: Scope, id: str) -> Proef | None:
        """See the Protocol."""
        return self._book.proef(scope, id)


class ProefRunner:
    """Makes what was asked for, and sees what comes of it; one leader."""

    def __init__(
        self,
        worker: Worker,
        book: ProefBook,
        hand_ins: HandIns,
        registry: Registry,
        register: Callable[[], Register],
        contracts: Contracts,
        vault: Vault,
        compose: Compose,
        judge_step: JudgeStep,
        clock: Clock,
        *,
        own: Oin,
    ) -> None:
        """`own`: the OIN that we sign with."""
        self._worker, self._book, self._hand_ins, self._register = worker, book, hand_ins, register
        self._contracts, self._vault, self._compose, self._judge_step = contracts, vault, compose, judge_step
        self._clock, self._own = clock, own
        self._record = Records()
        self._leader = Leader(worker, registry, "proefs")
        self._forget_us = 0

    async def run(self) -> None:
        """Leads until the worker stops."""
        await lead(self._worker, self._leader, self._cycle)

    async def _cycle(self, lease: Lease) -> float:
        insist, book, now_us = self._worker.insist, self._book, self._clock.now_us()
        if now_us >= self._forget_us:
            await insist("forget proefs", lambda: book.forget(now_us=now_us))
            self._forget_us = now_us + int(FORGET_S * 1e6)
        standing = await insist("proefs", book.standing)
        for one in standing:
            if one.state is ProefState.ASKED:
                await self._send(lease, one)
        sent = [one for one in standing if one.state is not ProefState.ASKED]
        if sent:
            await insist("outcomes of proefs", lambda: book.look(sent, lease=lease, now_us=now_us))
        return STEP_S if standing else REST_S

    async def _send(self, lease: Lease, one: Proef) -> None:
        """Makes its message and hands it in; one that cannot be made ends here, with the reason."""
        insist, book = self._worker.insist, self._book
        register = await insist("register", self._register)
        try:
            new = self._message(one, register)
            (result,) = await insist("proef", lambda: self._hand_ins.accept([new], actor=self._worker.id, judge_step=self._judge_step))
            if not result.accepted:
                raise Refused(result.code or "POISON", result.reason or "")
        except (LeaseLost, Stopping):
            raise
        except Fault as fault:
            log.warning("proef_not_made", extra={"proef": one.id, "code": fault.code, "error": fault.reason})
            await self._refuse(lease, one, fault)
        except Exception as error:  # a defect in one holds up neither the others nor the timetable
            log.error("proef_not_made", extra={"proef": one.id, "code": "POISON", "error": type(error).__name__}, exc_info=error)
            await self._refuse(lease, one, Refused("POISON"))
        else:
            await insist("proef", lambda: book.handed_in(one.id, lease=lease))
            self._worker.handled += 1

    async def _refuse(self, lease: Lease, one: Proef, fault: Fault) -> None:
        now_us, refuse = self._clock.now_us(), self._book.refuse
        values = {"code": fault.code, "owner": str(fault.owner), "reason": fault.reason}
        await self._worker.insist("proef", lambda: refuse(one, **values, lease=lease, now_us=now_us))

    def _message(self, one: Proef, register: Register) -> NewMessage:
        """Raises Fault. Its ids and content are the same however often it is made: whoever made it before may have died."""
        asked, now, kind = moment(one.asked_us), self._clock.now(), self._contracts.kind(ACTION)
        made, decision = judge_own(register, own=self._own, kind=kind, now=now)
        if decision.outcome != "yes":
            raise NotAllowed(decision.code or "Client.DK0002", decision.text_nl, owner=decision.owner)
        receiver = Oin(one.receiver)
        envelope = self._compose(one.id, own=self._own, receiver=receiver, at=asked)
        content = read_content(envelope.content, action=ACTION, sender=self._own, receiver=receiver, contracts=self._contracts, now=now)
        return as_message(
            envelope,
            content,
            reference=one.id,
            system=self._own,
            register=register,
            vault=self._vault,
            via=VIA,
            at=now,
            decisions=(self._record(made), self._record(decision)),
        )
