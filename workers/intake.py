"""Intake: signed messages from `intake.<oin>`, a receipt on `receipt.<oin>` after the commit (rule 2).

The routing key says which system handed a message in: the broker checks that it is the user's own. The queue it came from does not: up
to 3.12 a header CC or BCC puts a copy into somebody else's. Such a queue gives everything to one consumer at a time, so that a party's
hand-ins are stored in the order in which they came; the workers share the parties.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Final

from routing.ports import Consumer, Incoming, JudgeStep, Outgoing, Publisher, Registry, Store, Verifier
from routing.register import Register
from routing.register_asked import RegisterAway
from routing.work import HandInResult, NewMessage, NewRefusal, StoreUnavailable
from schemas.contracts import Contracts
from schemas.faults import Fault, Refused
from schemas.oin import Oin, is_oin
from workers.asking import decide_each
from workers.audit import receipt
from workers.desk import AMQP_LIMIT, Desk, Hints, named, step_judge
from workers.loop import SEEN_EVERY_S, Worker, consume
from workers.parts import Parts, Tasks
from workers.register_cache import RegisterCache

log = logging.getLogger("koppelpunt.intake")

PREFIX: Final = "intake."
CONTENT_TYPES: Final = frozenset({"text/xml; charset=utf-8", "text/xml;charset=utf-8"})


#: How often a worker looks who else takes hand-ins, and which systems there are.
LOOK_EVERY_S: Final = 1.0
#: Seconds after which a hand-in that waits, and is offered again every second, was given back to its queue in between.
GIVEN_BACK_S: Final = 30.0
#: Seconds that a batch waits for another register.
ASKING_S: Final = 0.2
#: After a worker has come, each takes only its own share for so long: twice what all need to notice and to let go of the rest.
STAND_BY_AFTER_S: Final = 3.0
#: A worker that serves another's parties lets go of them at most this often: the other one may be alive and yet not take them.
LET_GO_EVERY_S: Final = 30.0


class Share:
    """Which parties' hand-ins this worker takes, and for which it stands by in case another dies.

    The broker gives all of a queue to whoever came first. So that a worker that comes later gets its share, those before it hang up,
    and everybody takes its own share first and stands by for the rest a little later. When one goes, those who stand by take over.
    The same after a time without the broker, and when one finds itself serving another's parties because one of the two was late.
    """

    def __init__(self, worker: Worker, consumer: Consumer, registry: Registry, systems: Callable[[], Sequence[str]]) -> None:
        self._worker, self._consumer, self._registry, self._systems = worker, consumer, registry, systems
        self._known: set[str] = set()
        self._stand_by_at = 0.0
        self._let_go_at = 0.0
        self._connection = 1  #: the connection on which we are known to take our share only
        self._anothers: dict[str, int] = {}  #: worker -> when we first noticed that we serve a party of its

    async def follow(self) -> None:
        """Until the worker stops: also systems and workers that come later."""
        while not self._worker.stopping:
            try:
                await self.look()
            except StoreUnavailable as error:
                log.warning("queues_not_followed", extra={"worker": self._worker.id, "error": str(error)})
            await self._worker.pause(LOOK_EVERY_S)

    async def look(self) -> None:
        """One look at who there is. Raises StoreUnavailable."""
        seen, systems, now = self._seen(), self._systems(), time.monotonic()
        newcomer, several = bool(seen.keys() - self._known), len(seen) > 1
        # the broker was away: whoever found it again first got everything
        back = several and self._consumer.connections > self._connection
        self._connection = max(self._connection, self._consumer.connections)
        if newcomer or back or (now >= self._let_go_at and self._serves_anothers(seen, systems)):
            self._stand_by_at = now + (STAND_BY_AFTER_S if several else 0.0)
            self._let_go_at = now + LET_GO_EVERY_S
            if self._known:  # not by leaving queues one by one: what is in hand would be overtaken by what comes after it
                await self._consumer.close()
                self._connection = self._consumer.connections + 1
            self._anothers.clear()
            self._consumer.brought()
        self._known = set(seen)
        mine = share(self._worker.id, self._known, systems)
        rest = [] if now < self._stand_by_at else [oin for oin in systems if oin not in mine]
        await self._consumer.set_queues([PREFIX + oin for oin in (*mine, *rest)])

    def _serves_anothers(self, seen: Mapping[str, int], systems: Sequence[str]) -> bool:
        """Whether hand-ins came to us of whose worker we know that it lives: it said so after we first noticed."""
        brought = self._consumer.brought()
        owners = {worker for worker in seen if any(PREFIX + oin in brought for oin in share(worker, seen, systems))} - {self._worker.id}
        now_us = self._worker.clock.now_us()
        # an older notice is of another time: since then the owner may have served them again, and died a moment ago
        recent = {owner: at_us for owner, at_us in self._anothers.items() if now_us - at_us < LET_GO_EVERY_S * 1e6}
        self._anothers = dict.fromkeys(owners, now_us) | recent
        return any(seen[owner] > self._anothers[owner] for owner in owners)

    def _seen(self) -> dict[str, int]:
        """Who takes hand-ins, and when each last said that it lives."""
        now_us = self._worker.clock.now_us()
        since_us = now_us - int(3 * SEEN_EVERY_S * 1e6)
        others = {row["id"]: row["seen_us"] for row in self._registry.workers() if row["name"] == self._worker.name}
        return {worker: at_us for worker, at_us in others.items() if at_us > since_us} | {self._worker.id: now_us}


def share(worker: str, workers: Collection[str], systems: Sequence[str]) -> list[str]:
    """The systems of one of these workers: dealt out in turn, so that none has more than one more than another."""
    place = sorted(workers).index(worker)
    return sorted(systems)[place :: len(workers)]


class Refusals:
    """Refusals whose hand-ins were not acknowledged yet when they were recorded: until they are, the broker may deliver those again."""

    def __init__(self) -> None:
        self._acknowledged: list[tuple[int, str]] = []  # generation of the connection that brought it, reference

    def settled(self, batch: Sequence[Incoming]) -> tuple[str, ...]:
        """Those of earlier batches: they were acknowledged in between, unless their connection has gone since."""
        acknowledged, self._acknowledged = self._acknowledged, []
        return tuple(reference for generation, reference in acknowledged if generation == batch[0].generation)

    def note(self, batch: Sequence[Incoming], results: Sequence[HandInResult]) -> None:
        """What was recorded and answered; the loop acknowledges it right after this."""
        self._acknowledged += [(batch[0].generation, result.reference) for result in results if not result.accepted]


class Lines:
    """Hand-ins that wait for another register's answer. A system's later ones wait behind its earlier ones; others' do not."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        #: by system: connection and number of each, in the order in which they came, and when it was offered last
        self._lines: dict[Oin, dict[tuple[int, int], float]] = {}

    def part(
        self, batch: Sequence[Incoming], judged: Sequence[NewMessage | NewRefusal | None]
    ) -> tuple[list[Incoming], list[NewMessage | NewRefusal], list[Incoming]]:
        """Those that go on, what each becomes, and those that are to be offered again."""
        ready: list[Incoming] = []
        items: list[NewMessage | NewRefusal] = []
        later: list[Incoming] = []
        for incoming, item in zip(batch, judged, strict=True):
            system, mark = _system(incoming), (incoming.generation, incoming.tag)
            line = self._line(system, mark)
            if item is not None and next(iter(line), mark) == mark:
                ready.append(incoming)
                items.append(item)
                line.pop(mark, None)
            else:
                later.append(incoming)
                line[mark] = self._clock()
        return ready, items, later

    def _line(self, system: Oin, mark: tuple[int, int]) -> dict[tuple[int, int], float]:
        """Those that may still come before this one: what an earlier connection brought comes again on this one, and what was not offered
        for a while was given back to its queue."""
        known, since = self._lines.get(system, {}), self._clock() - GIVEN_BACK_S
        line = {one: at for one, at in known.items() if one[0] == mark[0] and (at > since or one == mark)}
        self._lines[system] = line  # of systems that the register has, so not many
        return line


class Intake:
    """Judges a batch, stores it in one transaction, and answers."""

    def __init__(
        self, worker: Worker, store: Store, publisher: Publisher, desk: Desk, register: RegisterCache, judge_step: JudgeStep
    ) -> None:
        self._worker, self._store, self._publisher = worker, store, publisher
        self._desk, self._register, self._judge_step = desk, register, judge_step
        self._turn = asyncio.Lock()  # batches in hand at the same time are stored in the order in which they came
        self._refusals = Refusals()
        self._lines = Lines()

    async def handle(self, batch: list[Incoming]) -> Sequence[Incoming]:
        """Every hand-in gets one receipt, accepted or refused; nothing is acknowledged before that is in the broker's hands. Returns those
        about whose sender another register has not answered yet, and what came after them from the same system."""
        async with self._turn:
            register = await self._worker.insist("register", self._register)
            judged = await decide_each(self._worker, "judge", batch, lambda one: self._judge_or_wait(one, register), within_s=ASKING_S)
            batch, items, later = self._lines.part(batch, judged)
            if not batch:
                return later
            settled = self._refusals.settled(batch)
            results = await self._worker.insist(
                "store hand-ins",
                lambda: self._store.hand_ins.accept(items, actor=self._worker.id, judge_step=self._judge_step, settled=settled),
            )
        self._worker.count_hand_ins("amqp", results)
        receipts = [_receipt(incoming, result) for incoming, result in zip(batch, results, strict=True)]
        fates = await self._worker.insist_async("publish receipts", lambda: self._publisher.publish_many(receipts))
        deaf = sorted({r.routing_key for r, fate in zip(receipts, fates, strict=True) if fate != "confirmed"})
        if deaf:  # full or not there: the sender sends again, as it must without a receipt, and then gets it
            log.warning("receipts_not_taken", extra={"queues": deaf})
        self._refusals.note(batch, results)
        return later

    def _judge_or_wait(self, incoming: Incoming, register: Register) -> NewMessage | NewRefusal | None:
        """None: another register must say whether its sender may, and does not answer now."""
        try:
            return self._judge(incoming, register)
        except RegisterAway:
            return None

    def _judge(self, incoming: Incoming, register: Register) -> NewMessage | NewRefusal:
        system = _system(incoming)
        if incoming.queue != PREFIX + system:
            log.warning("handed_in_through_another", extra={"system": system, "queue": incoming.queue})
        return self._desk.judge(
            incoming.body,
            system=system,
            register=register,
            via="amqp",
            hints=Hints(message_id=named(incoming)),
            fault=_wrong_properties(incoming),
            redelivered=incoming.redelivered,
        )


def _system(incoming: Incoming) -> Oin:
    key = incoming.routing_key
    return Oin(key if is_oin(key) else incoming.queue.removeprefix(PREFIX))  # else an operator put it into the queue by hand


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
        routing_key=f"receipt.{_system(incoming)}",
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


def tasks(parts: Parts, contracts: Contracts, verifier: Verifier) -> Tasks:
    """What the worker `intake` runs."""
    settings, worker = parts.settings, parts.worker
    desk = Desk(verifier=verifier, contracts=contracts, vault=parts.vault, own_oins=settings.own_oins, clock=parts.clock)
    intake = Intake(worker, parts.store, parts.publisher, desk, parts.asking, step_judge(contracts))
    consumer = parts.consumer(prefetch=4 * settings.batch_size, least=20, in_order=True)
    return [
        consume(worker, consumer, intake.handle, limit=settings.batch_size, wait_s=settings.batch_ms / 1000, at_once=2),
        Share(worker, consumer, parts.store.registry, parts.systems).follow(),
    ]
