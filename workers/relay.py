"""The relay: hands out what may leave now, and nothing twice (rules 1 and 7). One leader.

A release is committed first and its ticket published afterwards; a crash in between loses nothing, because whoever leads next publishes
the tickets of unclaimed releases again. Tickets are small lists of ids; who works on one claims its row first.
"""

from __future__ import annotations

import json
import logging
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from typing import Final, TypeVar

from routing.ports import BrokerKeeper, Outgoing, Publisher, Store
from routing.register import Register
from routing.release import Circuit, as_of, is_mailbox, narrowed, window
from routing.work import Lease, Ticket
from workers.loop import Leader, Worker, lead
from workers.parts import Parts, Tasks

log = logging.getLogger("koppelpunt.relay")

T = TypeVar("T")

#: Rows handed out per cycle, and per ticket message.
RELEASE_LIMIT: Final = 500
TICKET_SIZE: Final = 50
#: Messages that may be with the route workers at once: queues hold short work only.
ROUTE_WINDOW: Final = 2_000
#: A cycle costs some milliseconds and one commit, however much it hands out. So the more there was, the longer the next one waits for
#: more, this many seconds for each thing handed out: a quiet backbone is quick, a busy one hands out dozens at a time. In proportion, and
#: not from some number on: that would make a slow cycle a busy one, and keep it slow.
FOR_EACH_S: Final = 0.00028
BUSY_S: Final = 0.06
REST_S: Final = 0.003
#: When there was nothing to do: longer and longer up to this. A cycle without work is a few indexed reads.
QUIET_S: Final = 0.02
#: A lane whose window is full, or whose rows must all wait, is looked at again after this.
LANE_REST_S: Final = 0.03
#: Postponed deliveries fall due by the minute; they are looked for this often.
DUE_EVERY_S: Final = 0.5
#: Told again after a broker wipe (design section 4).
TELL_AGAIN_DAYS: Final = 7
_DAY_US: Final = 86_400_000_000

#: Between two looks for the epoch, before its absence is taken for a wipe: everything would go out again.
LOOK_TWICE_S: Final = 1.0
EPOCH: Final = "epoch"
#: A note in the store; another value means that somebody released something by hand, and its ticket is still to be published.
NUDGE: Final = "nudge"


def encode_tickets(tickets: Sequence[Ticket], size: int = TICKET_SIZE) -> list[bytes]:
    """Tickets as bodies for `route`, `deliver` and `push`: JSON lists of at most `size` of [seq, release]."""
    return [
        json.dumps([[t.seq, t.release] for t in tickets[start : start + size]], separators=(",", ":")).encode()
        for start in range(0, len(tickets), size)
    ]


def decode_tickets(body: bytes) -> list[Ticket]:
    """The reverse. Raises ValueError for anything else."""
    rows = json.loads(body)
    if not isinstance(rows, list):
        raise ValueError("not a list of tickets")
    return [Ticket(int(seq), int(release)) for seq, release in rows]


class Windows:
    """How many deliveries of a lane may be open: as the settings say, or less where the register does."""

    def __init__(self, register: Callable[[], Register], *, mailbox: int, push: int) -> None:
        self._register, self._mailbox, self._push = register, mailbox, push
        self._narrow: tuple[int, dict[str, int]] = (-1, {})

    def of(self, lane: str) -> int:
        """Raises StoreUnavailable."""
        if is_mailbox(lane):
            return self._mailbox
        register = self._register()
        if self._narrow[0] != register.version:
            self._narrow = (register.version, narrowed(register))
        return min(self._push, self._narrow[1].get(lane, self._push))


class Relay:
    """One cycle after another, as long as it leads."""

    def __init__(self, worker: Worker, store: Store, publisher: Publisher, keeper: BrokerKeeper, window_of: Callable[[str], int]) -> None:
        self._worker, self._store, self._publisher, self._keeper, self._window_of = worker, store, publisher, keeper, window_of
        self._leader = Leader(worker, store.registry, "relay")
        self._resting: dict[str, float] = {}  # lane -> until when
        self._circuits: Mapping[str, Circuit] = {}
        self._due_at = 0.0
        self._crowded: set[str] = set()  #: lanes in which more is due than there is room for
        self._quiet = 0  #: cycles without work since the last one with
        self._nudge: str | None = None
        self._connections = 0  #: the publisher's, when we last made sure
        self._unsure = True  #: some tickets may not have reached the broker

    async def run(self) -> None:
        """Leads until the worker stops."""
        await lead(self._worker, self._leader, self._cycle)

    async def _cycle(self, lease: Lease) -> float:
        if self._leader.took_over or self._unsure or self._publisher.connections != self._connections:
            self._leader.took_over = self._unsure = False
            self._connections = self._publisher.connections
            await self._make_sure(lease)
        insist, outbox, clock = self._worker.insist, self._store.outbox, self._worker.clock
        now = time.monotonic()
        some = [lane for lane in await insist("lanes", outbox.lanes) if self._resting.get(lane, 0) <= now]
        if now >= self._due_at or not all(map(is_mailbox, some)):
            self._circuits = await insist("circuits", outbox.circuits)
        due = await self._due(lease, now) if now >= self._due_at else []
        flowing = [lane for lane in some if lane not in self._crowded]
        lanes = await insist("windows", lambda: [(lane, self._room_of(lane)) for lane in flowing])
        messages, deliveries, idle = await self._release(
            lambda: outbox.release(lease, lanes, window=ROUTE_WINDOW, now_us=clock.now_us(), limit=RELEASE_LIMIT)
        )
        self._resting = {lane: until for lane, until in self._resting.items() if until > now} | dict.fromkeys(idle, now + LANE_REST_S)
        deliveries = due + deliveries
        await self._publish(messages, deliveries)
        handed = len(messages) + len(deliveries)
        self._worker.handled += handed
        if handed >= RELEASE_LIMIT:
            return 0.0
        self._quiet = 0 if handed else self._quiet + 1
        return min(max(REST_S, FOR_EACH_S * handed), BUSY_S) if handed else min(REST_S * (1 + self._quiet), QUIET_S)

    async def _due(self, lease: Lease, now: float) -> list[Ticket]:
        """What was postponed and is due goes first: where there is no room for all of it, nothing newer takes its place."""
        nudge = await self._worker.insist("nudge", lambda: self._store.registry.note(NUDGE))
        self._unsure, self._nudge = self._unsure or nudge != self._nudge, nudge
        release_due, clock = self._store.outbox.release_due, self._worker.clock
        due, self._crowded = await self._release(
            lambda: release_due(lease, now_us=clock.now_us(), limit=RELEASE_LIMIT, window_of=self._room_of)
        )
        self._due_at = now + (LANE_REST_S if self._crowded else DUE_EVERY_S)
        return due

    def _room_of(self, lane: str) -> int:
        """The lane's window: smaller while its receiver fails (rule 7)."""
        most, circuit = self._window_of(lane), self._circuits.get(lane)
        return most if circuit is None else min(most, window(lane, as_of(circuit, self._worker.clock.now())))

    async def _release(self, act: Callable[[], T]) -> T:
        """Hands something out. When the store goes away in the midst of it, nobody knows whether it was kept, and tried again it may find
        nothing to hand out any more: then the next cycle publishes whatever nobody works on."""

        def once() -> T:
            sure, self._unsure = not self._unsure, True
            found = act()
            self._unsure = not sure
            return found

        return await self._worker.insist("release", once)

    async def _publish(self, messages: Sequence[Ticket], deliveries: Sequence[Ticket]) -> None:
        to_mailboxes, to_endpoints = [t for t in deliveries if not t.push], [t for t in deliveries if t.push]
        # one that waits for an endpoint's answer must not keep others' tickets from being acknowledged
        tickets = (("route", messages, TICKET_SIZE), ("deliver", to_mailboxes, TICKET_SIZE), ("push", to_endpoints, 1))
        outgoing = [Outgoing(routing_key=queue, body=body) for queue, some, size in tickets for body in encode_tickets(some, size)]
        if not outgoing:
            return
        fates = await self._worker.insist_async("publish tickets", lambda: self._publisher.publish_many(outgoing))
        if any(fate != "confirmed" for fate in fates):
            log.warning("tickets_not_taken", extra={"fates": sorted(set(fates))})
            self._unsure = True
            await self._worker.pause(1.0)

    async def _make_sure(self, lease: Lease) -> None:
        """A new leader, or a broker that was away: was it wiped? Then publish again whatever nobody works on."""
        insist, store = self._worker.insist, self._store
        known = await insist("epoch", lambda: store.registry.note(EPOCH))
        kept = await self._worker.insist_async("epoch", self._keeper.epoch)
        if kept is None and known is not None:  # a relay that led until a moment ago may have it in hand: look twice before believing it
            await self._worker.pause(LOOK_TWICE_S)
            kept = await self._worker.insist_async("epoch", self._keeper.epoch)
        wiped = kept is None or kept != known
        if wiped:
            await self._worker.insist_async("topology", self._keeper.apply_topology)
            if known is not None:
                now_us = self._worker.clock.now_us()
                count = await insist("release again", lambda: store.outbox.release_after_wipe(lease, now_us=now_us))
                told = await insist(
                    "tell again", lambda: store.journal.tell_again(since_us=now_us - TELL_AGAIN_DAYS * _DAY_US, now_us=now_us)
                )
                log.warning("broker_was_wiped", extra={"mailbox_deliveries": count, "receipts_and_outcomes": told})
            value = str(uuid.uuid4())
            await insist("epoch", lambda: store.registry.set_note(EPOCH, value))
            await self._worker.insist_async("epoch", lambda: self._keeper.set_epoch(value))
        messages, deliveries = await insist("unclaimed", lambda: store.outbox.unclaimed(now_us=self._worker.clock.now_us(), wiped=wiped))
        await self._publish(messages, deliveries)


def tasks(parts: Parts, keeper: BrokerKeeper) -> Tasks:
    """What the worker `relay` runs."""
    windows = Windows(parts.register, mailbox=parts.settings.mailbox_window, push=parts.settings.push_window)
    return [Relay(parts.worker, parts.store, parts.publisher, keeper, windows.of).run()]
