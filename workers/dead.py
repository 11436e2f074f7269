"""The dead: messages that no worker could handle. Read one at a time, judged again, journalled; never lost, never looping."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from broker_config.topology import DEAD
from routing.ports import DIED_IN, Incoming, Outgoing, Published, Publisher, Store
from routing.work import Confirmation, NewRefusal
from schemas.faults import Owner, kind_of
from schemas.ids import new_id
from schemas.rules import Judgement
from workers.audit import Auditor, receipt
from workers.board import BoardKeeping
from workers.deliver import read_confirmation
from workers.desk import named
from workers.intake import Refusals
from workers.loop import Stopping, Worker, consume
from workers.parts import Parts, Tasks
from workers.relay import decode_tickets, encode_tickets

log = logging.getLogger("koppelpunt.dead")

#: Why the broker says it put a message here, and what is said when its sender let it expire; nobody can say that of another's.
WHY: Final = "x-first-death-reason"
#: The broker writes it on each dead letter, and so not on a copy that we made of one.
DIED: Final = "x-death"
EXPIRED: Final = "the message expired before it was read, because its sender gave it an expiration; leave that property out"


class Dead:
    """Ends what ended in `dead`."""

    def __init__(self, worker: Worker, store: Store, publisher: Publisher) -> None:
        self._worker, self._store, self._publisher = worker, store, publisher
        self._refusals = Refusals()

    async def handle(self, batch: list[Incoming]) -> Sequence[Incoming]:
        """Tickets that died together are tried apart; one that dies alone ends its message or delivery. A hand-in is answered, a
        confirmation judged once more, a mailbox delivery ended. Returns confirmations that came before our own commit, and tickets on
        which somebody still holds a claim."""
        early: list[Incoming] = []
        for incoming in batch:
            origin = incoming.died_in
            kind, _, system = origin.partition(".")
            log.error("dead", extra={"queue": origin, "bytes": len(incoming.body)})
            if origin in ("route", "deliver", "push"):
                early += await self._tickets(origin, incoming)
            elif kind == "intake":
                await self._hand_in(system, incoming)
            elif kind in ("confirm", "mailbox"):
                early += await self._word(kind, system, incoming)
            else:  # a receipt its sender's software gave back again and again: without one it sends again, and gets another
                await self._note(origin, system, incoming, None)
        return early

    async def _word(self, kind: str, system: str, incoming: Incoming) -> Sequence[Incoming]:
        """What a party said, or by giving it back showed, of a delivery. It may have died only because of what was handled beside it, so
        it is judged once more, alone; but not by two of us in turn, if it is what killed the first."""
        said = read_confirmation(incoming) if kind == "confirm" else _given_back(incoming)
        if said is not None and incoming.redelivered and DIED in incoming.headers and await self._put_afresh(incoming):
            return ()
        if said is not None and not incoming.redelivered:
            word = replace(said, system=system)
            confirm, worker = self._store.outbox.confirm, self._worker
            try:
                again = await worker.insist("store dead", lambda: confirm([word], actor=worker.id, now_us=worker.clock.now_us()))
                return [incoming] if again else ()
            except Stopping:
                raise
            except Exception as error:
                log.error("batch_failed", extra={"worker": worker.id, "messages": 1, "error": type(error).__name__}, exc_info=error)
        await self._note(f"{kind}.{system}", system, incoming, said.delivery_id if said else None)
        return ()

    async def _put_afresh(self, incoming: Incoming) -> bool:
        """Puts a copy in its place; whether that is there. RabbitMQ 4.x may call a dead letter redelivered because it was so before it
        died; of the copy that mark says what we ask: whether one of us had it in hand and died."""
        headers = {name: value for name, value in incoming.headers.items() if not name.startswith("x-")} | {DIED_IN: incoming.died_in}
        copy = Outgoing(
            exchange=DEAD,
            routing_key=incoming.routing_key,
            body=incoming.body,
            content_type=incoming.content_type,
            message_id=incoming.message_id,
            correlation_id=incoming.correlation_id,
            headers=headers,
        )
        (fate,) = await self._worker.insist_async("judge afresh", lambda: self._publisher.publish_many([copy]))
        return fate is Published.CONFIRMED

    async def _note(self, queue: str, system: str, incoming: Incoming, delivery: str | None) -> None:
        await self._worker.insist(
            "note dead",
            lambda: self._store.outbox.note_dead(
                actor=self._worker.id,
                now_us=self._worker.clock.now_us(),
                queue=queue,
                system=system or None,
                digest=hashlib.sha256(incoming.body).digest(),
                message_id=named(incoming),
                delivery=delivery,
            ),
        )

    async def _hand_in(self, system: str, incoming: Incoming) -> None:
        """What made a worker of ours fail again and again is refused, with us as owner: its sender must not wait for ever."""
        kind = kind_of("POISON")
        expired = incoming.headers.get(WHY) == "expired"
        refused = NewRefusal(
            reference=new_id(),
            at_us=self._worker.clock.now_us(),
            code=kind.code,
            owner=str(Owner.SUPPLIER if expired else kind.owner),
            reason=EXPIRED if expired else kind.en,
            digest=hashlib.sha256(incoming.body).digest(),
            via="amqp",
            system=system,
            message_id=named(incoming),
            redelivered=incoming.redelivered,
        )
        settled = self._refusals.settled([incoming])
        results = await self._worker.insist(
            "store refusal",
            lambda: self._store.hand_ins.accept([refused], actor=self._worker.id, judge_step=lambda *_: Judgement(), settled=settled),
        )
        (result,) = results
        body = receipt(
            accepted=False, reference=result.reference, received_us=result.received_us, code=result.code, reason=result.reason, warnings=()
        )
        answer = Outgoing(routing_key=f"receipt.{system}", body=body, correlation_id=result.message_id)
        await self._worker.insist_async("publish receipt", lambda: self._publisher.publish_many([answer]))
        self._refusals.note([incoming], results)

    async def _tickets(self, origin: str, incoming: Incoming) -> Sequence[Incoming]:
        tickets = decode_tickets(incoming.body)
        if len(tickets) > 1:
            outgoing = [Outgoing(routing_key=origin, body=encode_tickets([ticket])[0]) for ticket in tickets]
            await self._worker.insist_async("offer apart", lambda: self._publisher.publish_many(outgoing))
            return ()
        _, held = await self._worker.insist(
            "fail poison",
            lambda: self._store.outbox.fail_poison(
                messages=tickets if origin == "route" else (),
                deliveries=tickets if origin != "route" else (),
                actor=self._worker.id,
                now_us=self._worker.clock.now_us(),
            ),
        )
        return [incoming] if held else ()


def _given_back(incoming: Incoming) -> Confirmation | None:
    """A message its receiver's software took from the mailbox and gave back, without an answer, until the broker gave up: refused in its
    stead, so that somebody acts on it before `fetch_within` ends. None when it is not one of ours."""
    delivery = incoming.headers.get("delivery_id")
    if not isinstance(delivery, str):
        return None
    kind = kind_of("MAILBOX_UNREADABLE")
    return Confirmation(
        delivery_id=delivery[:64],
        system="",
        confirmed=False,
        code=kind.code,
        owner=str(kind.owner),
        reason="De software van de ontvanger gaf het bericht steeds terug zonder antwoord. / "
        "The receiver's software gave the message back again and again without an answer.",
    )


def tasks(parts: Parts) -> Tasks:
    """What the worker `audit` runs."""
    worker, store, dead = parts.worker, parts.store, Dead(parts.worker, parts.store, parts.publisher)
    return [
        Auditor(worker, store, parts.publisher, parts.register, own=parts.settings.own_oins).run(),
        BoardKeeping(worker, store.registry, store.board_keeper).run(),
        consume(worker, parts.consumer("dead", prefetch=1), dead.handle, limit=1),
    ]
