"""Audit: chains the events, groups failures, tells senders' systems what became of their messages, and judges what ended in `dead`."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Collection, Sequence
from typing import Final

from routing.ports import Outgoing, Publisher, Store
from routing.register import Register
from routing.work import Lease, Telling
from schemas.events import Event
from schemas.faults import remedy_of
from workers.clock import moment
from workers.loop import Leader, Worker, lead

log = logging.getLogger("koppelpunt.audit")

#: Events bound in one block of the journal, and outcomes told in one burst.
BLOCK: Final = 1_000
TELL: Final = 500
#: Blocks of which is noted at a time for whom they tell of a change: more than one only after an upgrade.
FOLLOW: Final = 20
#: How long to wait when there is less than a block's worth to chain: chaining a few events costs as much as chaining many.
REST_S: Final = 0.1
#: A system whose receipt queue is full or gone is tried again after this.
DEAF_S: Final = 30.0
#: `json.dumps` with options makes such an encoder anew each time, for as much again.
_JSON: Final = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


def receipt(*, accepted: bool, reference: str, received_us: int, code: str | None, reason: str | None, warnings: Sequence[str]) -> bytes:
    """The receipt a sender gets at hand-in (design section 4)."""
    return _JSON(
        {
            "accepted": accepted,
            "reference": reference,
            "received_at": moment(received_us).isoformat(),
            "code": code,
            "reason": reason,
            "warnings": list(warnings),
        }
    ).encode()


def outcome(event: Event) -> bytes:
    """A later outcome, as the sender's software reads it: whose turn it is, and what to do."""
    remedy_nl, remedy_en = remedy_of(event.code, event.owner)
    return _JSON(
        {
            "reference": event.reference,
            "state": event.kind,
            "code": event.code,
            "owner": event.owner,
            "remedy": f"{remedy_nl} / {remedy_en}" if remedy_nl else None,
            "receiver": event.receiver,
            "reason": event.reason,
            **(_retour(event) if event.kind == "returned" else {}),
        }
    ).encode()


def _retour(event: Event) -> dict[str, object]:
    """What a retour says besides: whose it is, by the ids that its sender gave it, and whether to hand it in again."""
    return {
        "message_id": event.message_id,
        "business_id": event.business_id,
        "deliver_again": event.details.get("deliver_again") == "yes",
    }


def to_tell(telling: Telling) -> Outgoing:
    """What goes to `receipt.<oin>` for one event: the receipt again, or an outcome."""
    event = telling.event
    if event.kind in ("received", "refused"):
        body = receipt(
            accepted=event.kind == "received",
            reference=event.reference or "",
            received_us=event.at_us,
            code=event.code,
            reason=event.reason,
            warnings=json.loads(event.details.get("warnings", "[]")),
        )
    else:
        body = outcome(event)
    return Outgoing(routing_key=f"receipt.{telling.system}", body=body, correlation_id=event.message_id)


class Auditor:
    """The journal's one writer, and the one that tells."""

    def __init__(
        self, worker: Worker, store: Store, publisher: Publisher, register: Callable[[], Register], *, own: Collection[str] = ()
    ) -> None:
        """`own`: our own OINs. What becomes of messages that we sent ourselves (routing.proef) stands where we look; nobody is told."""
        self._worker, self._store, self._publisher, self._register, self._own = worker, store, publisher, register, frozenset(own)
        self._leader = Leader(worker, store.registry, "audit")

    async def run(self) -> None:
        """Leads until the worker stops."""
        await lead(self._worker, self._leader, self._cycle)

    async def _cycle(self, lease: Lease) -> float:
        insist, journal = self._worker.insist, self._store.journal
        chained = await insist("chain", lambda: journal.chain(lease, now_us=self._worker.clock.now_us(), limit=BLOCK))
        followed = await insist("changes", lambda: self._store.enquiries.follow(lease, limit=FOLLOW))
        told = await self._tell()
        self._worker.handled += chained
        return 0.0 if chained >= BLOCK or told >= TELL or followed >= FOLLOW else REST_S

    async def _tell(self) -> int:
        journal, now_us = self._store.journal, self._worker.clock.now_us()
        tellings = await self._worker.insist("untold", lambda: journal.untold(now_us=now_us, limit=TELL))
        if not tellings:
            return 0
        register = await self._worker.insist("register", self._register)
        quiet = {system for system in {one.system for one in tellings} if system in self._own or _asks_itself(register, system)}
        queued = [telling for telling in tellings if telling.system not in quiet]
        outgoing = [to_tell(telling) for telling in queued]
        fates = await self._worker.insist_async("tell", lambda: self._publisher.publish_many(outgoing)) if outgoing else []
        fate_of = list(zip(queued, fates, strict=True))
        done = [telling.event_id for telling in tellings if telling.system in quiet]
        done += [telling.event_id for telling, fate in fate_of if fate == "confirmed"]
        deaf = [telling for telling, fate in fate_of if fate != "confirmed"]
        if deaf:
            log.warning("outcomes_not_taken", extra={"systems": sorted({telling.system for telling in deaf})})
        until_us = now_us + int(DEAF_S * 1e6)
        await self._worker.insist("mark told", lambda: journal.mark_told(done, put_off=[t.event_id for t in deaf], until_us=until_us))
        return len(done)


def _asks_itself(register: Register, system: str) -> bool:
    """Whether a system has no queue, because it connects over HTTPS only: there it asks what became of its messages."""
    known = register.system(system)
    return known is not None and "amqp" not in known.channels
