"""Route: who gets it, where, may they? One transaction stores the deliveries, the decisions and the events of a batch."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Final

from routing.actions import REPLACES
from routing.decisions import Decision
from routing.mandate import judge_standing
from routing.ports import Incoming, Store, Vault
from routing.recipients import Recipient, recipients
from routing.register import Register
from routing.work import NewDelivery, Routable, RoutedMessage
from schemas.contract import MessageKind
from schemas.ids import new_id
from schemas.oin import Oin
from workers.asking import decide_each
from workers.clock import Clock, micros, moment
from workers.loop import Worker, consume
from workers.parts import Parts, Tasks
from workers.register_cache import Records, RegisterCache
from workers.relay import decode_tickets

log = logging.getLogger("koppelpunt.route")

#: Seconds that a batch waits for another register; what is not answered by then is routed a second later, and the rest now.
ASKING_S: Final = 0.1

KindOf = Callable[[str], MessageKind]


class Router:
    """Routes the messages behind tickets."""

    def __init__(self, worker: Worker, store: Store, vault: Vault, register: RegisterCache, kind_of: KindOf, clock: Clock) -> None:
        self._worker, self._store, self._vault, self._register, self._kind_of, self._clock = worker, store, vault, register, kind_of, clock
        self._record = Records()
        self._known: dict[tuple[object, ...], tuple[Recipient, ...]] = {}

    async def handle(self, batch: list[Incoming]) -> Sequence[Incoming]:
        """All tickets of a batch in one transaction. Returns those with a message about which another register is still being asked."""
        tickets = {ticket.seq: incoming for incoming in batch for ticket in decode_tickets(incoming.body)}
        wanted = [ticket for incoming in batch for ticket in decode_tickets(incoming.body)]
        insist = self._worker.insist
        messages = await insist("read messages", lambda: self._store.outbox.routable(wanted))
        if not messages:
            return ()
        register = await insist("register", self._register)
        now = self._clock.now()
        found = await decide_each(self._worker, "route", messages, lambda one: self._route(one, register, now), within_s=ASKING_S)
        routes = [route for route in found if route is not None]
        if routes:
            await insist("store routes", lambda: self._store.outbox.commit_routes(routes, actor=self._worker.id, now_us=micros(now)))
        later = [tickets[message.seq] for message, route in zip(messages, found, strict=True) if route is None]
        return tuple({id(incoming): incoming for incoming in later}.values())

    def _route(self, message: Routable, register: Register, now: datetime) -> RoutedMessage:
        kind = self._kind_of(message.action)
        standing = judge_standing(
            register, system=Oin(message.system), sender=Oin(message.sender), kind=kind, received_at=moment(message.received_us), now=now
        )
        if standing.outcome != "yes":
            return RoutedMessage(
                message=message,
                deliveries=(),
                decisions=(self._record(standing),),
                register_version=register.version,
                code=standing.code,
                owner=standing.owner,
                reason=standing.text_en,
            )
        facts: dict[str, str] = json.loads(self._vault.open(message.reference, message.wrapped_key, "facts", message.facts))
        deadline_us = message.received_us + int(kind.deliver_within.total_seconds() * 1e6)
        return RoutedMessage(
            message=message,
            deliveries=tuple(
                new_delivery(target, self._record, deadline_us)
                for target in self._recipients(kind, facts, Oin(message.receiver), register, now)
            ),
            newest_replaces=kind.newest_replaces,
            answer_within_us=int(kind.answer_within.total_seconds() * 1e6) if kind.answer_within else None,
            register_version=register.version,
            replaces=facts[REPLACES].lower() if facts.get(REPLACES) else None,
        )

    def _recipients(
        self, kind: MessageKind, facts: Mapping[str, str], receiver: Oin, register: Register, now: datetime
    ) -> tuple[Recipient, ...]:
        """Most messages of a kind differ only in a few facts that matter here; what was decided for the same ones today holds."""
        used = tuple(facts.get(name) for name in facts_that_decide(kind))
        key = (register.version, now.date(), now.hour, kind.action, receiver, used)
        known = self._known.get(key)
        if known is None:
            known = recipients(kind, facts, receiver=receiver, register=register, now=now)
            if any(one.resolution is not None and one.resolution.decision.fleeting for one in known):
                return known
            if len(self._known) >= 10_000:
                self._known.clear()
            self._known[key] = known
        return known


def facts_that_decide(kind: MessageKind) -> tuple[str, ...]:
    """The facts a contract's recipients depend on."""
    names = {rule.fact for rule in kind.recipients if rule.fact} | {condition.fact for rule in kind.recipients for condition in rule.when}
    return tuple(sorted(names))


def new_delivery(target: Recipient, record: Callable[[Decision], object], deadline_us: int) -> NewDelivery:
    """A recipient as a delivery to be stored: to be sent, waiting, filtered, or failed at once."""
    endpoint = target.resolution.endpoint if target.resolution and target.outcome == "deliver" else None
    decisions = (target.decision,) if target.resolution is None else (target.decision, target.resolution.decision)
    stopped = target.outcome in ("waiting", "failed")
    return NewDelivery(
        id=new_id(),
        target=target.target,
        receiver=target.receiver or target.named,
        filtered=target.outcome == "filtered",
        endpoint=endpoint.id if endpoint else None,
        lane=endpoint.lane if endpoint else None,
        receiver_system=endpoint.system if endpoint else None,
        hold_code=target.code if target.outcome == "waiting" else None,
        code=target.code if target.outcome == "failed" else None,
        owner=str(target.owner) if target.owner and stopped else None,
        reason=target.deciding.text_nl if stopped or target.outcome == "filtered" else None,
        deadline_us=deadline_us,
        decisions=tuple(record(decision) for decision in decisions),  # type: ignore[misc]
    )


def tasks(parts: Parts, kind_of: KindOf) -> Tasks:
    """What the worker `route` runs."""
    router = Router(parts.worker, parts.store, parts.vault, parts.asking, kind_of, parts.clock)
    return [consume(parts.worker, parts.consumer("route", prefetch=20), router.handle, limit=4, wait_s=0)]
