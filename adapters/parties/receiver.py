"""A receiving system: empties its mailbox, verifies what it finds, works on each message once, and confirms or refuses."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sqlalchemy import Column, Engine, Integer, MetaData, Table, Text, func, select, text

from routing.ports import BrokerError, Consumer, Incoming, Outgoing, Publisher, Verifier
from schemas.envelope import Envelope
from schemas.faults import Fault
from schemas.oin import Oin

log = logging.getLogger("koppelpunt.party")

metadata: Final = MetaData()

#: What was worked on: the receiver's own deduplication, on the delivered MessageID.
received = Table(
    "koppelpunt_received",
    metadata,
    Column("message_id", Text, primary_key=True),
    Column("delivery_id", Text, nullable=False),
    Column("times", Integer, nullable=False),
    Column("outcome", Text, nullable=False),
    Column("reason", Text),
)
_SEEN = text("UPDATE koppelpunt_received SET times = times + 1 WHERE message_id = :message_id RETURNING outcome, reason")


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a receiver makes of a message; `reason` is one of the words of design section 4's `confirm`, or free text."""

    confirmed: bool
    reason: str | None = None


Work = Callable[[Envelope, Incoming], Verdict]


class ReceivingSystem:
    """One mailbox, emptied by one system for all its organisations."""

    def __init__(self, oin: Oin, *, engine: Engine, verifier: Verifier, publisher: Publisher, consumer: Consumer, work: Work) -> None:
        self.oin = oin
        self._engine, self._verifier, self._publisher, self._consumer, self._work = engine, verifier, publisher, consumer, work
        self._stop = asyncio.Event()
        self.away = False  #: for the demo and the tests: a receiver that does not come to work
        metadata.create_all(engine)

    def stop(self) -> None:
        """Take no more work."""
        self._stop.set()

    async def run(self) -> None:
        """Empties the mailbox until stopped."""
        while not self._stop.is_set():
            if self.away:
                await asyncio.sleep(0.1)
                continue
            batch = await self._consumer.next_batch(100, 0.02, idle_s=0.3)
            if batch:
                await self.take(batch)

    async def take(self, batch: list[Incoming]) -> None:
        """Works on a batch in one transaction of its own, then tells the backbone, then acknowledges."""
        answers: list[Outgoing] = []
        with self._engine.begin() as tx:
            for incoming in batch:
                known = tx.execute(_SEEN, {"message_id": incoming.message_id}).first()
                verdict = Verdict(known.outcome == "confirmed", known.reason) if known else self._judge(incoming)
                if not known:
                    tx.execute(
                        received.insert(),
                        {
                            "message_id": incoming.message_id,
                            "delivery_id": incoming.headers["delivery_id"],
                            "times": 1,
                            "outcome": "confirmed" if verdict.confirmed else "refused",
                            "reason": verdict.reason,
                        },
                    )
                answers.append(self._answer(incoming, verdict))
        while not self._stop.is_set():
            try:
                await self._publisher.publish_many(answers)
                break
            except BrokerError:
                await asyncio.sleep(0.5)
        else:
            return
        self._consumer.ack(batch)

    def _judge(self, incoming: Incoming) -> Verdict:
        handed_in = datetime.fromisoformat(str(incoming.headers["received_at"]))
        try:
            envelope = self._verifier.verify(incoming.body, at=handed_in)
        except Fault as fault:
            log.warning("unreadable", extra={"system": self.oin, "delivery": incoming.headers["delivery_id"], "code": fault.code})
            return Verdict(False, "unreadable")
        return self._work(envelope, incoming)

    def _answer(self, incoming: Incoming, verdict: Verdict) -> Outgoing:
        outcome = "confirmed" if verdict.confirmed else "refused"
        said = {"delivery_id": incoming.headers["delivery_id"], "outcome": outcome, "reason": verdict.reason}
        return Outgoing(exchange="confirm", routing_key=self.oin, body=json.dumps(said).encode())

    def counts(self) -> dict[str, int]:
        """Messages worked on, by outcome, and how many came more than once (`repeats`, recognised and not worked on again)."""
        with self._engine.connect() as connection:
            by_outcome: dict[str, int] = dict(
                connection.execute(select(received.c.outcome, func.count()).group_by(received.c.outcome)).all()
            )
            repeats = connection.execute(select(func.coalesce(func.sum(received.c.times - 1), 0))).scalar_one()
        return by_outcome | {"repeats": repeats}

    def delivery_ids(self) -> list[str]:
        """Every delivery worked on; one that stands here twice was worked on twice."""
        with self._engine.connect() as connection:
            return list(connection.execute(select(received.c.delivery_id)).scalars())
