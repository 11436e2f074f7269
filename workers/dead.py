"""The dead: messages that no worker could handle. Read one at a time, judged again, journalled; never lost, never looping."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Sequence
from typing import Final

from routing.ports import Incoming, Outgoing, Publisher, Store
from routing.work import NewRefusal
from schemas.faults import kind_of
from schemas.ids import new_id
from workers.audit import receipt
from workers.loop import Worker
from workers.relay import decode_tickets, encode_tickets

log = logging.getLogger("koppelpunt.dead")

#: Where the broker says a dead-lettered message came from.
ORIGIN: Final = "x-first-death-queue"


class Dead:
    """Ends what ended in `dead`."""

    def __init__(self, worker: Worker, store: Store, publisher: Publisher) -> None:
        self._worker, self._store, self._publisher = worker, store, publisher

    async def handle(self, batch: list[Incoming]) -> Sequence[Incoming]:
        """Tickets that died together are tried apart; one that dies alone ends its message or delivery. A hand-in is answered."""
        for incoming in batch:
            origin = str(incoming.headers.get(ORIGIN, ""))
            log.error("dead", extra={"queue": origin, "bytes": len(incoming.body)})
            if origin in ("route", "deliver"):
                await self._tickets(origin, incoming.body)
                continue
            if origin.startswith("intake."):
                await self._hand_in(origin.removeprefix("intake."), incoming)
                continue
            system = incoming.routing_key or None
            digest = hashlib.sha256(incoming.body).digest()
            message_id = incoming.known_as
            await self._worker.insist(
                "note dead",
                lambda origin=origin, system=system, digest=digest, message_id=message_id: self._store.outbox.note_dead(  # type: ignore[misc]
                    actor=self._worker.id,
                    now_us=self._worker.clock.now_us(),
                    digest=digest,
                    system=system,
                    message_id=message_id,
                    origin=origin,
                ),
            )
        return ()

    async def _hand_in(self, system: str, incoming: Incoming) -> None:
        """What made a worker of ours fail again and again is refused, with us as owner: its sender must not wait for ever."""
        kind = kind_of("POISON")
        refused = NewRefusal(
            reference=new_id(),
            at_us=self._worker.clock.now_us(),
            code=kind.code,
            owner=str(kind.owner),
            reason=kind.en,
            digest=hashlib.sha256(incoming.body).digest(),
            via="amqp",
            system=system,
            message_id=incoming.known_as,
        )
        await self._worker.insist(
            "store refusal",
            lambda: self._store.hand_ins.accept([refused], actor=self._worker.id, judge_step=lambda *_: None),
        )
        body = receipt(
            accepted=False, reference=refused.reference, received_us=refused.at_us, code=refused.code, reason=refused.reason, warnings=()
        )
        answer = Outgoing(routing_key=f"receipt.{system}", body=body, correlation_id=refused.message_id)
        await self._worker.insist_async("publish receipt", lambda: self._publisher.publish_many([answer]))

    async def _tickets(self, origin: str, body: bytes) -> None:
        tickets = decode_tickets(body)
        if len(tickets) > 1:
            outgoing = [Outgoing(routing_key=origin, body=encode_tickets([ticket])[0]) for ticket in tickets]
            await self._worker.insist_async("offer apart", lambda: self._publisher.publish_many(outgoing))
            return
        seqs = [ticket.seq for ticket in tickets]
        await self._worker.insist(
            "fail poison",
            lambda: self._store.outbox.fail_poison(
                messages=seqs if origin == "route" else (),
                deliveries=seqs if origin == "deliver" else (),
                actor=self._worker.id,
                now_us=self._worker.clock.now_us(),
            ),
        )
