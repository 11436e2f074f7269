"""A sending system (LAS or SIS): signs with its own key, sends from its own outbox, takes its receipts and outcomes."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final

from adapters import soap
from adapters.parties.outbox import PartyOutbox, ToSend
from adapters.signing import BodyPart, Signer
from routing.ports import BrokerError, Consumer, Outgoing, Publisher
from schemas.oin import Oin

log = logging.getLogger("koppelpunt.party")

CONTENT_TYPE: Final = "text/xml; charset=utf-8"
#: Without a receipt after this long, it is sent again; the backbone recognises it and repeats the receipt.
RESEND_AFTER_S: Final = 30.0


class SendingSystem:
    """One certificate, many schools: hands in for all that mandated it."""

    def __init__(
        self,
        oin: Oin,
        *,
        outbox: PartyOutbox,
        signer: Signer,
        publisher: Publisher,
        consumer: Consumer,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        resend_after_s: float = RESEND_AFTER_S,
    ) -> None:
        self.oin = oin
        self.outbox = outbox
        self._signer, self._publisher, self._consumer, self._now, self._resend_after_s = signer, publisher, consumer, now, resend_after_s
        self._stop = asyncio.Event()

    def stop(self) -> None:
        """Take no more work."""
        self._stop.set()

    async def run(self) -> None:
        """Sends and listens until stopped."""
        await asyncio.gather(self._relay(), self._listen())

    async def send_waiting(self) -> int:
        """Sends what has no receipt yet; returns how many the broker took. Raises BrokerError."""
        now = self._now()
        waiting = self.outbox.to_send(now=now, resend_after_s=self._resend_after_s)
        if not waiting:
            return 0
        fates = await self._publisher.publish_many([self._hand_in(row, now) for row in waiting])
        taken = [row.id for row, fate in zip(waiting, fates, strict=True) if fate == "confirmed"]
        self.outbox.sent(taken, now=now)
        if len(taken) < len(waiting):
            log.warning("hand_ins_not_taken", extra={"system": self.oin, "count": len(waiting) - len(taken)})
        return len(taken)

    def _hand_in(self, row: ToSend, now: datetime) -> Outgoing:
        signed = row.signed or self._signer.envelope(
            BodyPart.around(row.content),
            to=soap.address(row.receiver, row.address),
            sender=soap.address(row.sender),
            action=row.action,
            message_id=row.message_id,
            created=now,
        )
        return Outgoing(exchange="intake", routing_key=self.oin, body=signed, content_type=CONTENT_TYPE, message_id=row.message_id)

    async def _relay(self) -> None:
        while not self._stop.is_set():
            try:
                sent = await self.send_waiting()
            except BrokerError:
                sent = 0
            await self._rest(0.02 if sent else 0.2)

    async def _listen(self) -> None:
        while not self._stop.is_set():
            batch = await self._consumer.next_batch(200, 0.02, idle_s=0.3)
            if batch:
                self.outbox.answered([(incoming.correlation_id, json.loads(incoming.body)) for incoming in batch])
                self._consumer.ack(batch)

    async def _rest(self, seconds: float) -> None:
        try:
            await asyncio.wait_for(self._stop.wait(), seconds)
        except TimeoutError:
            return
