"""Push: offer one delivery to its receiver's endpoint, and act on what was heard (Edukoppeling facts 6.3; routing.outcome).

A call may take as long as the other side likes, up to the time-out. So each stands alone: an endpoint that hangs keeps its own window of
calls waiting and nobody else's. What came of them is committed together, many at a time.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Any, Final, TypeVar

from routing.outcome import NOT_OFFERED, Asked, Heard, Lane, Outcome, Wire, judge
from routing.ports import Endpoints, Incoming, Store, Vault
from routing.register import Endpoint, Register
from routing.retry import Retry, next_try
from routing.work import Claimed, Settlement, Ticket
from schemas.contract import MessageKind
from schemas.contracts import Contracts
from schemas.oin import Oin
from workers.asking import decide
from workers.clock import Clock, micros, moment
from workers.loop import Stopping, Worker, consume
from workers.parcel import Forwarder
from workers.parts import Parts, Tasks
from workers.places import Place, elsewhere, endpoint_there, erased, place_of, revoked_since, settled, strange_places
from workers.register_cache import Records, RegisterCache
from workers.relay import decode_tickets

log = logging.getLogger("koppelpunt.push")

T = TypeVar("T")

#: Tickets in one batch, and in hand at a time. A batch ends when its slowest call does, and may be of one: so there may be as many batches.
TOGETHER: Final = 10
AT_ONCE: Final = 2_000
#: A claim holds for as long as a call may take, and this many seconds more; see workers.deliver.
CLAIM_MORE_S: Final = 30.0
#: How long a worker that stops waits for answers; then what was sent counts as not answered, and goes again with the same ids.
LAST_S: Final = 10.0
#: Seconds that must be left of a Timestamp for the sender's own bytes to be sent: as long as the call may take to be read.
FRESH_S: Final = 30.0
#: How long a Timestamp without Expires is taken for fresh: facts 3.5 name no number, and receivers allow five to ten minutes.
UNNAMED: Final = timedelta(minutes=5)
#: Of a call that we cut short ourselves. It may have arrived, and says nothing of the endpoint.
STOPPED: Final = Heard(wire=Wire.SILENT, says="this worker was stopped before an answer came")


@dataclass(frozen=True, slots=True, kw_only=True)
class Parcel:
    """What is sent, and whose envelope it is in."""

    message: bytes
    message_id: str
    ours: bool


class Pusher:
    """Calls endpoints for what tickets name."""

    def __init__(
        self,
        worker: Worker,
        store: Store,
        vault: Vault,
        register: RegisterCache,
        forwarder: Forwarder,
        endpoints: Endpoints,
        kind: Callable[[str], MessageKind],
        signed: Callable[[str, str], bool],
        clock: Clock,
        *,
        answer_s: float,
    ) -> None:
        """`kind`: the contract of an action. `signed`: whether a dienst and version has signatures. `answer_s`: seconds a call takes at
        most."""
        self._signed = signed
        self._worker, self._store, self._vault, self._register = worker, store, vault, register
        self._forwarder, self._endpoints, self._kind, self._clock, self._answer_s = forwarder, endpoints, kind, clock, answer_s
        self._record = Records()
        self._in_hand: set[Ticket] = set()
        self._turns: dict[str, float] = {}  #: lane -> when its next call may begin, where the register sets a rate
        self._settling: list[tuple[Settlement, asyncio.Future[None]]] = []
        self._committing: asyncio.Task[None] | None = None

    async def handle(self, batch: list[Incoming]) -> Sequence[Incoming]:
        """Claims, calls, settles. Returns the incoming tickets of which somebody else still holds a claim."""
        wanted = {ticket: incoming for incoming in batch for ticket in decode_tickets(incoming.body)}
        mine = [Ticket(ticket.seq, ticket.release, push=True) for ticket in wanted if ticket not in self._in_hand]
        self._in_hand.update(mine)
        try:
            held = await self._push(mine)
        finally:
            self._in_hand.difference_update(mine)
        again = [*held, *(wanted.keys() - set(mine))]
        return list({id(wanted[ticket]): wanted[ticket] for ticket in again}.values())

    async def _push(self, tickets: Sequence[Ticket]) -> Sequence[Ticket]:
        insist, outbox, now_us = self._worker.insist, self._store.outbox, self._clock.now_us()
        until_us = now_us + int((self._answer_s + CLAIM_MORE_S) * 1e6)
        claimed, held = await self._write("claim", lambda: outbox.claim(tickets, worker=self._worker.id, now_us=now_us, until_us=until_us))
        if claimed:
            register, now = await insist("register", self._register), self._clock.now()
            strange = await strange_places(self._worker, claimed, register, now)
            if strange:  # whoever pointed it there may have seen a newer version
                register = await insist("register", self._register.newest)
                strange = await strange_places(self._worker, claimed, register, now)
            before = [one.seq for one in claimed if one.attempts]
            unheard = (await insist("earlier attempts", lambda: outbox.unheard(before))) if before else set()
            # a release that ended without an attempt (its worker died, its ticket did) may have been sent too
            maybe = unheard | {one.seq for one in claimed if one.taken_over or one.release > one.attempts + 1}
            calls = (self._deal_with(one, register, strange, one.seq in maybe) for one in claimed)
            for ended in await asyncio.gather(*calls, return_exceptions=True):
                if isinstance(ended, BaseException):
                    raise ended
        return held

    async def _deal_with(self, one: Claimed, register: Register, strange: set[Place], maybe: bool) -> None:
        """`maybe`: it may have arrived before."""
        kind, now, insist = self._kind(one.action), self._clock.now(), self._worker.insist
        endpoint = (
            None if place_of(one) in strange else await decide(self._worker, "judge", partial(endpoint_there, register, one.endpoint))
        )
        if endpoint is None or endpoint.url is None:
            await self._settle(await decide(self._worker, "judge", partial(elsewhere, one, register, now, self._record)))
        elif (revoked := await insist("judge", partial(revoked_since, one, kind, register, now, self._record))) is not None:
            await self._settle(revoked)
        elif one.wrapped_key is None or one.body is None:
            await self._settle(erased(one, register, now))
        elif maybe and not kind.idempotent:
            await self._settle(
                settled(one, "uncertain", now, register, code="ANSWER_NOT_HEARD", reason="an attempt before was not answered")
            )
        else:
            await self._settle(await self._attempt(one, one.wrapped_key, one.body, endpoint, endpoint.url, register, maybe))

    async def _attempt(
        self, one: Claimed, wrapped_key: bytes, sealed: bytes, endpoint: Endpoint, url: str, register: Register, maybe: bool
    ) -> Settlement:
        await self._turn(endpoint)
        kind, started = self._kind(one.action), time.perf_counter()
        signed = self._signed(one.dienst, one.versie)
        parcel = self._pack(one, self._vault.open(one.reference, wrapped_key, "body", sealed), kind, endpoint, signed)
        asked = Asked(message_id=parcel.message_id, receiver=Oin(one.receiver), system=Oin(one.receiver_system), signed=signed)
        heard = await self._call(url, parcel, one.action, asked)
        took_us, now = int((time.perf_counter() - started) * 1e6), self._clock.now()
        outcome = judge(heard, ours=parcel.ours, idempotent=kind.idempotent, may_have_arrived=maybe)
        envelope = None if heard.wire in NOT_OFFERED else "ours" if parcel.ours else "original"
        self._tell(one, outcome, heard)
        lane = None if heard is STOPPED else outcome.lane
        return self._settlement(one, outcome, lane, now, register, took_us, envelope)

    async def _turn(self, endpoint: Endpoint) -> None:
        """Waits until the rate that the register sets for this endpoint allows one more call. Raises Stopping when told to stop first."""
        if endpoint.per_second is None:
            return
        now = time.monotonic()
        at = max(self._turns.get(endpoint.lane, 0.0), now)
        self._turns[endpoint.lane] = at + 1 / endpoint.per_second
        if at > now:
            await self._worker.pause(at - now)
            if self._worker.stopping:
                raise Stopping("a call whose turn had not come")

    async def _call(self, url: str, parcel: Parcel, action: str, asked: Asked) -> Heard:
        """The call; cut short when the worker stops and the answer does not come."""
        call = asyncio.ensure_future(self._endpoints.offer(url, parcel.message, action=action, asked=asked))
        try:
            while not call.done():
                if self._worker.stopping:
                    await asyncio.wait({call}, timeout=LAST_S)
                    break
                await asyncio.wait({call}, timeout=1.0)
            return call.result() if call.done() else STOPPED
        finally:
            call.cancel()

    def _pack(self, one: Claimed, original: bytes, kind: MessageKind, endpoint: Endpoint, signed: bool) -> Parcel:
        """The sender's own bytes where it named the receiver and its Timestamp holds yet; otherwise our envelope, with the time of this
        attempt in it, and the same MessageID at every attempt (design section 3). Without signatures (2W-be) always ours."""
        now = self._clock.now()
        anew = one.again_of is not None
        if signed and kind.passes_through and not one.stale and not anew and self._is_fresh(one, now):
            return Parcel(message=original, message_id=one.message_id, ours=False)
        message_id = one.message_id if kind.passes_through and not anew else f"urn:uuid:{one.id}"
        message = self._forwarder.forward(
            original,
            message_id=message_id,
            sender=one.sender,
            receiver=one.receiver,
            system=one.receiver_system,
            address=one.address if kind.passes_through else endpoint.address_for(one.receiver),
            action=one.action,
            relates_to=None if message_id == one.message_id else one.message_id,
            created=now,
            signed=signed,
        )
        return Parcel(message=message, message_id=message_id, ours=True)

    @staticmethod
    def _is_fresh(one: Claimed, now: datetime) -> bool:
        """Whether a receiver that allows for no difference of clocks would still take the Timestamp when it reads it."""
        until = moment(one.created_us) + UNNAMED if one.expires_us is None else moment(one.expires_us)
        return until - now >= timedelta(seconds=FRESH_S)

    def _tell(self, one: Claimed, outcome: Outcome, heard: Heard) -> None:
        facts = {"delivery": one.id, "receiver_system": one.receiver_system, "code": outcome.code, "heard": str(heard.wire)}
        if outcome.alert:
            log.error("push_alert", extra=facts | {"state": outcome.state, "status": heard.status})
        elif outcome.state != "acknowledged":
            log.info("push_not_taken", extra=facts | {"state": outcome.state, "status": heard.status})

    def _settlement(
        self, one: Claimed, outcome: Outcome, lane: Lane | None, now: datetime, register: Register, took_us: int, envelope: str | None
    ) -> Settlement:
        """The outcome as it is stored: with a time for the next attempt, or failed when there is none left."""
        owner = str(outcome.owner) if outcome.owner else None
        stop_until_us = micros(now + timedelta(seconds=outcome.wait_s)) if lane is Lane.STOP else 0
        common: dict[str, Any] = {"took_us": took_us, "envelope": envelope, "heard": lane, "stop_until_us": stop_until_us}
        if outcome.state != "postponed":
            return settled(one, outcome.state, now, register, code=outcome.code, owner=owner, reason=outcome.reason or None, **common)
        assert outcome.code is not None
        following = next_try(outcome.code, one.attempts + 1, register=register, now=now, deadline=moment(one.deadline_us))
        if not isinstance(following, Retry):
            return settled(one, "failed", now, register, code=outcome.code, owner=owner, reason=outcome.reason, **common)
        at = max(following.at, now + timedelta(seconds=outcome.wait_s))
        return settled(
            one,
            "postponed",
            now,
            register,
            hold_code=outcome.code,
            owner=owner,
            reason=outcome.reason,
            not_before_us=micros(at),
            **common,
        )

    async def _settle(self, settlement: Settlement) -> None:
        """Commits it together with whatever else ends now; returns after the commit."""
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._settling.append((settlement, done))
        if self._committing is None or self._committing.done():
            self._committing = asyncio.create_task(self._commit())
        await done

    async def _commit(self) -> None:
        """Until nothing is left. A commit that fails for another reason than a store that is away is tried one by one: what fails alone
        goes back to the broker, and its claim stands until somebody takes it over."""
        while self._settling:
            await asyncio.sleep(0)  # those that end in this turn of the loop come along
            batch, self._settling = self._settling, []
            if not await self._store_all(batch):
                for one in batch:
                    await self._store_all([one], alone=True)

    async def _store_all(self, batch: Sequence[tuple[Settlement, asyncio.Future[None]]], *, alone: bool = False) -> bool:
        """Whether they are stored, or, `alone`, whoever waits knows that it is not."""
        settlements = [settlement for settlement, _ in batch]
        settle, me = self._store.outbox.settle, self._worker.id
        try:
            await self._write("settle", lambda: settle(settlements, worker=me, actor=me))
        except Exception as error:  # noqa: BLE001 (whoever waits for it gets it, and logs it)
            if alone or len(batch) == 1 or isinstance(error, Stopping):
                _end(batch, error)
                return True
            return False
        _end(batch, None)
        self._worker.counts.update(("delivery", settlement.state) for settlement in settlements)
        return True

    async def _write(self, what: str, act: Callable[[], T]) -> T:
        """In a thread: a locked store would hold up the clock by which answers are late, and not the answers."""
        return await self._worker.insist_async(what, lambda: asyncio.to_thread(act))


def _end(batch: Sequence[tuple[Settlement, asyncio.Future[None]]], error: Exception | None) -> None:
    for _, done in batch:
        if done.done():  # nobody waits for it any more
            continue
        if error is None:
            done.set_result(None)
        else:
            done.set_exception(error)


def tasks(parts: Parts, contracts: Contracts, forwarder: Forwarder, endpoints: Endpoints) -> Tasks:
    """What the worker `push` runs."""
    pusher = Pusher(
        parts.worker,
        parts.store,
        parts.vault,
        parts.asking,
        forwarder,
        endpoints,
        contracts.kind,
        contracts.signed,
        parts.clock,
        answer_s=parts.settings.push_answer_s,
    )
    return [consume(parts.worker, parts.consumer("push", prefetch=AT_ONCE), pusher.handle, limit=TOGETHER, at_once=AT_ONCE)]
