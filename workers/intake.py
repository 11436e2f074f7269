"""Intake: signed messages from `intake.<oin>`, a receipt on `receipt.<oin>` after the commit (rule 2).

The queue a message came from says which system handed it in: only that system's user may publish to it.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Final

from routing.ports import Incoming, JudgeStep, Outgoing, Publisher, Store
from routing.register import Register
from routing.work import HandInResult, NewMessage, NewRefusal
from schemas.faults import Fault, Refused
from schemas.oin import Oin
from workers.audit import receipt
from workers.desk import AMQP_LIMIT, Desk, Hints
from workers.loop import Worker
from workers.register_cache import RegisterCache

log = logging.getLogger("koppelpunt.intake")

PREFIX: Final = "intake."
CONTENT_TYPES: Final = frozenset({"text/xml; charset=utf-8", "text/xml;charset=utf-8"})


class Intake:
    """Judges a batch, stores it in one transaction, and answers."""

    def __init__(
        self, worker: Worker, store: Store, publisher: Publisher, desk: Desk, register: RegisterCache, judge_step: JudgeStep
    ) -> None:
        self._worker, self._store, self._publisher = worker, store, publisher
        self._desk, self._register, self._judge_step = desk, register, judge_step

    async def handle(self, batch: list[Incoming]) -> Sequence[Incoming]:
        """Every hand-in gets one receipt, accepted or refused; nothing is acknowledged before that is in the broker's hands."""
        register = await self._worker.insist("register", self._register)
        items = [self._judge(incoming, register) for incoming in batch]
        results = await self._worker.insist(
            "store hand-ins", lambda: self._store.hand_ins.accept(items, actor=self._worker.id, judge_step=self._judge_step)
        )
        receipts = [_receipt(incoming, result) for incoming, result in zip(batch, results, strict=True)]
        fates = await self._worker.insist_async("publish receipts", lambda: self._publisher.publish_many(receipts))
        deaf = sorted({r.routing_key for r, fate in zip(receipts, fates, strict=True) if fate != "confirmed"})
        if deaf:  # full or not there: the sender sends again, as it must without a receipt, and then gets it
            log.warning("receipts_not_taken", extra={"queues": deaf})
        return ()

    def _judge(self, incoming: Incoming, register: Register) -> NewMessage | NewRefusal:
        system = Oin(incoming.queue.removeprefix(PREFIX))
        hints = Hints(message_id=incoming.known_as)
        return self._desk.judge(incoming.body, system=system, register=register, via="amqp", hints=hints, fault=_wrong_properties(incoming))


def _wrong_properties(incoming: Incoming) -> Fault | None:
    """What is wrong with a hand-in before its bytes are read (design section 4)."""
    if len(incoming.body) > AMQP_LIMIT:
        return Refused("Client.TOO_LARGE", f"{len(incoming.body)} bytes; over AMQP at most {AMQP_LIMIT}, larger messages come over HTTPS")
    if (incoming.content_type or "").lower() not in CONTENT_TYPES:
        return Refused("Client.DK0009", "content_type must be text/xml; charset=utf-8", where="AMQP content_type")
    if incoming.content_encoding:
        return Refused("Client.DK0009", "content_encoding is not used: send the XML as it is", where="AMQP content_encoding")
    return None


def _receipt(incoming: Incoming, result: HandInResult) -> Outgoing:
    return Outgoing(
        routing_key=f"receipt.{incoming.queue.removeprefix(PREFIX)}",
        body=receipt(
            accepted=result.accepted,
            reference=result.reference,
            received_us=result.received_us,
            code=result.code,
            reason=result.reason,
            warnings=result.warnings,
        ),
        correlation_id=result.message_id,
    )
