"""Deliver: hand one delivery to its receiver. A release is claimed once; only a crash after the answer can make it arrive twice.

In this file: mailboxes; endpoints are in workers.push. The receiver's mandate and endpoint are judged again, at every attempt (rule 4).
"""

from __future__ import annotations

import json
import logging
import re
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Final

from routing.mailbox import has_queue
from routing.ports import Incoming, Outgoing, Publisher, Store, Vault
from routing.register import Register
from routing.work import Claimed, Confirmation, Settlement, Ticket
from schemas.faults import kind_of
from schemas.privacy import plain, redact
from workers.asking import decide
from workers.clock import Clock, micros
from workers.loop import Worker, consume, follow_queues
from workers.parcel import Forwarder, Parcels
from workers.parts import Parts, Tasks
from workers.places import elsewhere, erased, place_of, settled, strange_places
from workers.register_cache import Records, RegisterCache
from workers.relay import decode_tickets

log = logging.getLogger("koppelpunt.deliver")

#: A claim ends after this; then, and only when the broker hands the same ticket out again, another worker may take it over.
CLAIM_S: Final = 10.0
#: A mailbox that does not exist (topology not applied yet) or is full is tried again after this.
MAILBOX_RETRY_S: Final = 5.0

#: Bytes; what a party says of one delivery fits in far less.
LARGEST_CONFIRMATION: Final = 16_384
#: The ids that we give: anything else names no delivery, and is not kept.
_DELIVERY: Final = re.compile(r"[0-9A-Za-z-]{1,64}\Z")

#: What a party may give as reason for a refusal, and the code it becomes; anything else is MAILBOX_REFUSED with its own words.
REASONS: Final[Mapping[str, str]] = {
    "not_our_resident": "NOT_OUR_RESIDENT",
    "not_enrolled": "NOT_ENROLLED",
    "unreadable": "MAILBOX_UNREADABLE",
    "double": "MAILBOX_DOUBLE",
}


class Courier:
    """Delivers what tickets name into mailboxes, and takes the parties' confirmations."""

    def __init__(
        self,
        worker: Worker,
        store: Store,
        publisher: Publisher,
        vault: Vault,
        register: RegisterCache,
        forwarder: Forwarder,
        passes_through: Callable[[str], bool],
        clock: Clock,
    ) -> None:
        self._worker, self._store, self._publisher, self._register, self._clock = worker, store, publisher, register, clock
        self._parcels = Parcels(vault, forwarder, passes_through)
        self._record = Records()
        self._in_hand: set[Ticket] = set()

    async def handle(self, batch: list[Incoming]) -> Sequence[Incoming]:
        """Claims, sends, settles. Returns the incoming tickets of which somebody else still holds a claim."""
        wanted = {ticket: incoming for incoming in batch for ticket in decode_tickets(incoming.body)}
        # a claim keeps other workers away, and not another batch of ours that is in hand at the same time
        mine = [ticket for ticket in wanted if ticket not in self._in_hand]
        self._in_hand.update(mine)
        try:
            held = await self._deliver(mine)
        finally:
            self._in_hand.difference_update(mine)
        again = [*held, *(wanted.keys() - set(mine))]
        return list({id(wanted[ticket]): wanted[ticket] for ticket in again}.values())

    async def _deliver(self, tickets: Sequence[Ticket]) -> Sequence[Ticket]:
        """Claims, sends, settles; returns what others hold."""
        insist, outbox = self._worker.insist, self._store.outbox
        now_us = self._clock.now_us()
        claimed, held = await insist(
            "claim", lambda: outbox.claim(tickets, worker=self._worker.id, now_us=now_us, until_us=now_us + int(CLAIM_S * 1e6))
        )
        if claimed:
            register = await insist("register", self._register)
            if await strange_places(self._worker, claimed, register, self._clock.now()):
                # whoever pointed it there may have seen a newer version: by ours it would go back to where it was just taken from
                register = await insist("register", self._register.newest)
            settlements = await self._send(claimed, register)
            await insist("settle", lambda: outbox.settle(settlements, worker=self._worker.id, actor=self._worker.id))
            self._worker.counts.update(("delivery", settlement.state) for settlement in settlements)
        return held

    async def _send(self, claimed: Sequence[Claimed], register: Register) -> list[Settlement]:
        now = self._clock.now()
        started = time.perf_counter()
        settlements: list[Settlement] = []
        sent: list[tuple[Claimed, str]] = []
        outgoing: list[Outgoing] = []
        strange = await strange_places(self._worker, claimed, register, now)
        for one in claimed:
            if place_of(one) in strange:
                settlements.append(await decide(self._worker, "judge", partial(elsewhere, one, register, now, self._record)))
            elif one.wrapped_key is None or one.body is None:
                settlements.append(erased(one, register, now))
            elif not has_queue(register, one.receiver_system):  # its party reads the store, over REST
                settlements.append(settled(one, "delivered", now, register, envelope=self._parcels.envelope(one)))
            else:
                envelope, message = self._parcels.mail(one, one.wrapped_key, one.body)
                sent.append((one, envelope))
                outgoing.append(message)
        fates = await self._worker.insist_async("publish to mailboxes", lambda: self._publisher.publish_many(outgoing)) if outgoing else []
        took_us = int((time.perf_counter() - started) * 1e6) // max(len(sent), 1)
        done = self._clock.now()
        for (one, envelope), fate in zip(sent, fates, strict=True):
            if fate == "confirmed":
                settlements.append(settled(one, "delivered", done, register, took_us=took_us, envelope=envelope))
            else:
                log.warning("mailbox_not_reached", extra={"delivery": one.id, "fate": fate})
                settlements.append(
                    settled(
                        one,
                        "postponed",
                        done,
                        register,
                        took_us=took_us,
                        hold_code="ENDPOINT_UNREACHABLE",
                        reason=f"the mailbox did not take it ({fate})",
                        not_before_us=micros(done) + int(MAILBOX_RETRY_S * 1e6),
                    )
                )
        return settlements

    async def handle_confirmations(self, batch: list[Incoming]) -> Sequence[Incoming]:
        """Parties' words on their mailbox deliveries. Those that overtook our own commit are offered again."""
        read = {confirmation: incoming for incoming in batch if (confirmation := read_confirmation(incoming)) is not None}
        if len(read) < len(batch):
            log.warning("confirmations_unreadable", extra={"count": len(batch) - len(read)})
        early = await self._worker.insist(
            "store confirmations", lambda: self._store.outbox.confirm(list(read), actor=self._worker.id, now_us=self._clock.now_us())
        )
        return [read[confirmation] for confirmation in early]


def read_confirmation(incoming: Incoming) -> Confirmation | None:
    """A confirmation as a party published it (design section 4); None when it is not one. Who says so stands in the routing key, which the
    broker checked."""
    if len(incoming.body) > LARGEST_CONFIRMATION:
        return None
    try:
        said = json.loads(incoming.body)
        delivery_id, outcome, reason = said["delivery_id"], said["outcome"], said.get("reason")
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None
    if (
        not isinstance(delivery_id, str)
        or not _DELIVERY.match(delivery_id)
        or redact(delivery_id) != delivery_id
        or outcome not in ("confirmed", "refused")
        or not isinstance(reason, str | None)
    ):
        return None
    if outcome == "confirmed":
        return Confirmation(delivery_id=delivery_id, system=incoming.routing_key, confirmed=True)
    code = REASONS.get(reason or "", "MAILBOX_REFUSED")
    return Confirmation(
        delivery_id=delivery_id,
        system=incoming.routing_key,
        confirmed=False,
        code=code,
        owner=str(kind_of(code).owner),
        reason=plain(redact(reason or kind_of(code).en))[:500],
    )


def tasks(parts: Parts, forwarder: Forwarder, passes_through: Callable[[str], bool]) -> Tasks:
    """What the worker `deliver` runs."""
    settings, worker = parts.settings, parts.worker
    courier = Courier(worker, parts.store, parts.publisher, parts.vault, parts.asking, forwarder, passes_through, parts.clock)
    confirmations = parts.consumer(prefetch=2 * settings.batch_size, least=settings.batch_size)  # small things, of few parties at a time
    return [
        consume(worker, parts.consumer("deliver", prefetch=20), courier.handle, limit=4, wait_s=0, at_once=2),
        # nobody waits for what a confirmation becomes, so a batch may take longer to fill
        consume(worker, confirmations, courier.handle_confirmations, limit=settings.batch_size, wait_s=4 * settings.batch_ms / 1000),
        follow_queues(worker, confirmations, "confirm", parts.systems),
    ]
