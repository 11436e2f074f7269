"""The Protocols through which workers meet their adapters; `run.py` passes the real ones in."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from enum import StrEnum
from typing import Any, Final, Protocol

from routing.board import Board, BoardKeeper
from routing.mailbox import Copy, InMailbox, Standing, TakenBack, Withdrawn
from routing.outcome import Asked, Heard
from routing.party import Changes, Cursor, Letter, MailboxLine, Opened, Pile, Status, WordHeard
from routing.register_book import RegisterBook as RegisterBook
from routing.register_desk import Caller, EndpointChange, NewEndpoint, Result, Written
from routing.register_model import Mandate, Register
from routing.release import Circuit
from routing.work import (
    Claimed,
    Confirmation,
    HandInResult,
    Lease,
    NewDelivery,
    NewMessage,
    NewRefusal,
    OutboxFilter,
    Routable,
    RoutedMessage,
    SealedParts,
    Settlement,
    StreamStep,
    Telling,
    Ticket,
    Verification,
    Waiting,
)
from schemas.envelope import Envelope
from schemas.events import Event
from schemas.faults import Fault
from schemas.oin import Oin, is_oin
from schemas.rules import Judgement

#: Where the broker says in which queue a message died first.
DIED_IN: Final = "x-first-death-queue"


class BrokerError(Exception):
    """The broker did not do what was asked; the text is one sentence."""


class BrokerUnavailable(BrokerError):
    """The broker is away, blocked or silent: hold the work and try again. What was under way may or may not have happened."""


class BrokerRefused(BrokerError):
    """The broker says no: wrong rights (403), no such exchange or queue (404), too large or otherwise impossible (406)."""

    def __init__(self, text: str, code: int) -> None:
        super().__init__(text)
        self.code = code  #: AMQP's reply code


class Published(StrEnum):
    """What became of one published message."""

    CONFIRMED = "confirmed"  #: in at least one queue, and safe there
    RETURNED = "returned"  #: no queue is bound for it; it was not kept (the broker confirms it all the same)
    NACKED = "nacked"  #: a queue is full or could not take it; try again later


@dataclass(slots=True, kw_only=True)
class Outgoing:
    """A message to be published; always persistent and mandatory."""

    exchange: str = ""  #: "" puts it straight into the queue that the routing key names
    routing_key: str
    body: bytes = field(repr=False)
    content_type: str | None = None
    message_id: str | None = None
    correlation_id: str | None = None
    headers: Mapping[str, Any] | None = None


@dataclass(slots=True, eq=False, kw_only=True)
class Incoming:
    """A message in hand: ours until we acknowledge it, or until the connection ends. Not to be changed (not frozen: a third faster)."""

    queue: str
    tag: int  #: the broker's number for it, on this connection only
    generation: int  #: which connection brought it; one that is gone has put it back already
    redelivered: bool
    exchange: str
    routing_key: str
    content_type: str | None
    content_encoding: str | None = None
    message_id: str | None = None
    correlation_id: str | None
    headers: Mapping[str, Any]
    body: bytes = field(repr=False)

    @property
    def earlier_deliveries(self) -> int:
        """How often it was handed out before. For people to look at, never to decide on: after a cut connection it may be too low."""
        return int(self.headers.get("x-delivery-count", 0))

    @property
    def died_in(self) -> str:
        """For a message from `dead`: the queue it came from, by its routing key, which the broker checks and a dead letter keeps.

        The broker's header says so too, but on 3.10 it leaves one that the sender brought along: it decides only between the two
        queues of the party that published this.
        """
        if not is_oin(self.routing_key):
            return self.routing_key  # ours, put straight into the queue of that name
        confirm = f"confirm.{self.routing_key}"
        return confirm if self.headers.get(DIED_IN) == confirm else f"intake.{self.routing_key}"


class Publisher(Protocol):
    """Publishes with confirms in flight by the hundred."""

    connections: int  #: how many were made so far; another number means that the broker was away, and may have been wiped

    async def publish_many(self, messages: Sequence[Outgoing]) -> list[Published]:
        """Each message's fate, in order. Raises BrokerError."""


class Consumer(Protocol):
    """Takes batches from a changeable set of queues."""

    connections: int  #: how many were made so far

    async def next_batch(self, limit: int = 100, wait_s: float = 0.005, *, idle_s: float | None = None) -> list[Incoming]:
        """What has arrived: up to `limit`, at most `wait_s` after the first; empty after `idle_s` of silence. Raises BrokerRefused."""

    def ack(self, messages: Iterable[Incoming]) -> int:
        """These are done with."""

    def nack(self, messages: Iterable[Incoming], *, requeue: bool = True) -> int:
        """These could not be handled: back to the queue, or (after its delivery limit, or without requeue) to `dead`."""

    async def set_queues(self, queues: Iterable[str]) -> None:
        """From now on take from these; one that does not exist yet is looked for."""

    def brought(self) -> Collection[str]:
        """The queues that gave us something since this was last asked."""

    async def close(self) -> None:
        """Lets go of everything in hand; asking for the next batch connects again."""


class Verifier(Protocol):
    """Is it signed, by whom, and what does the signature cover? (rule 4, first question)"""

    def verify(self, raw: bytes, *, at: datetime, connected: Oin | None = None) -> Envelope:
        """The message as read from its signed parts. `connected`: whose certificate the connection has; then it may be unsigned, and
        that says whose it is. Raises Refused or OurFailure."""


class Vault(Protocol):
    """Bodies at rest."""

    def seal(self, reference: str, body: bytes, facts: bytes) -> SealedParts: ...

    def open(self, reference: str, wrapped_key: bytes, part: str, sealed: bytes) -> bytes: ...

    def index(self, text: str) -> bytes: ...


class JudgeStep(Protocol):
    """Whether a message may follow the last one of its stream: a fault code when it may not, else perhaps a warning for its receipt."""

    def __call__(self, action: str, versie: str, last: StreamStep | None, step: StreamStep, /) -> Judgement: ...


class Counter(Protocol):
    """Where a channel that answers at once hands in: judged, stored in one transaction with others, and only then answered."""

    async def hand_in(
        self,
        raw: bytes,
        *,
        system: Oin,
        via: str,
        message_id: Callable[[], str | None],
        fault: Fault | None = None,
        question: Callable[[Envelope], None] | None = None,
        unsigned: bool = False,
        unfit: Fault | None = None,
        seen: Callable[[Any], None] | None = None,
    ) -> tuple[NewMessage | NewRefusal, HandInResult]:
        """What it became, after the commit. `message_id`: tells how a message that cannot be verified calls itself, only to be echoed.
        `fault`: what the channel found wrong already. `question`: what it asks of a verified envelope, whose content may be left out.
        `unsigned`: the connection's certificate will do (profile 2W-be). `unfit`: what is wrong with the content already, for whoever may
        send it. `seen`: told what a large message that was not verified says of itself, instead of a call of `message_id`. Raises
        OurFailure when nobody knows: then the sender offers it again, and a duplicate is recognised."""

    def may_connect(self, system: Oin) -> bool:
        """Whether the register has this system, today, with the channel `https`. Raises OurFailure when the register cannot be read."""

    def schools_of(self, system: Oin) -> int:
        """For how many organisations it may act: what it may do at a time grows with that."""


class RegisterDesk(Protocol):
    """The service register as its API asks it. Everything raises StoreUnavailable, and may be called by several threads."""

    def register(self) -> Register:
        """The newest register, as it was known a second ago at most; after a change made here, with that."""

    def kept(self) -> Register:
        """The same as it was when somebody looked last, for an event loop: it raises NotKept (routing.register_stored) for what is not in
        memory, and asks no store. Nothing but organisations, their mandates and endpoints may be asked of it."""

    def today(self) -> date:
        """The Amsterdam day."""

    def owner_of_key(self, key: str) -> Caller | None:
        """The system that an API key was given to; None for one that never was, or has ended."""

    def mandate(self, token: str) -> Mandate | None:
        """The mandate with this token, whatever its days."""

    def mandates_of(self, system: str, dienst: str, *, after: str | None, limit: int) -> list[Mandate]:
        """The mandates that a system was given for a dienst, of every day, by token; `after`: those with a higher one."""

    def add_endpoint(self, wish: NewEndpoint, caller: Caller) -> Written:
        """Makes it. Raises RuleBroken (routing.register_wishes), and OurFailure when others change too much."""

    def change_endpoint(self, change: EndpointChange, caller: Caller) -> Written:
        """Changes or ends it. Raises as above."""

    def write_many(self, wishes: Sequence[NewEndpoint | EndpointChange], caller: Caller) -> list[Result]:
        """The same of each, judged by the register as those before it leave it; those with one reason that follow each other are made
        together. What would be raised for one is its result."""


class HandIns(Protocol):
    """The store's side of taking in."""

    def accept(
        self, items: Sequence[NewMessage | NewRefusal], *, actor: str, judge_step: JudgeStep, settled: Sequence[str] = ()
    ) -> list[HandInResult]:
        """What becomes of each, in order. `settled`: refusals of before whose hand-ins the broker will not deliver again."""


class Outbox(Protocol):
    """The store's side of relay, route, deliver and timetable; see adapters.store.outbox for what each promises."""

    def lanes(self) -> list[str]: ...

    def release(
        self, lease: Lease, lanes: Iterable[tuple[str, int]], *, window: int, now_us: int, limit: int
    ) -> tuple[list[Ticket], list[Ticket], set[str]]: ...

    def release_due(
        self, lease: Lease, *, now_us: int, limit: int, window_of: Callable[[str], int] | None = None
    ) -> tuple[list[Ticket], set[str]]: ...

    def unclaimed(self, *, now_us: int, wiped: bool = False) -> tuple[list[Ticket], list[Ticket]]: ...

    def release_after_wipe(self, lease: Lease, *, now_us: int) -> int: ...

    def routable(self, tickets: Sequence[Ticket]) -> list[Routable]: ...

    def commit_routes(self, routes: Sequence[RoutedMessage], *, actor: str, now_us: int) -> int: ...

    def claim(self, tickets: Sequence[Ticket], *, worker: str, now_us: int, until_us: int) -> tuple[list[Claimed], list[Ticket]]: ...

    def settle(self, settlements: Sequence[Settlement], *, worker: str, actor: str) -> int: ...

    def unheard(self, seqs: Sequence[int]) -> set[int]: ...

    def circuits(self) -> dict[str, Circuit]: ...

    def confirm(self, confirmations: Sequence[Confirmation], *, actor: str, now_us: int) -> list[Confirmation]: ...

    def waiting(self, *, after: int = 0, limit: int = 1000, receivers: Collection[str] | None = None) -> list[Waiting]: ...

    def gemeentecodes(self, waiting: Sequence[Waiting]) -> dict[str, str]: ...

    def unknown(self, receivers: Collection[str], *, now_us: int, after: int, limit: int) -> list[Waiting]: ...

    def revive(
        self, changes: Sequence[tuple[Waiting, NewDelivery]], *, states: Collection[str], actor: str, now_us: int, reason: str
    ) -> int: ...

    def reroute_waiting(self, changes: Sequence[tuple[Waiting, NewDelivery]], *, actor: str, now_us: int) -> None: ...

    def places_in(self, lane: str) -> list[tuple[str, str, str]]: ...

    def waiting_in(self, lane: str, endpoint: str, receiver: str, *, after: int, limit: int) -> list[Waiting]: ...

    def move(self, lane: str, changes: Sequence[tuple[Waiting, NewDelivery]], *, actor: str, now_us: int) -> None: ...

    def expire(self, *, actor: str, now_us: int, limit: int = 500) -> int: ...

    def fail_poison(
        self, *, messages: Sequence[Ticket], deliveries: Sequence[Ticket], actor: str, now_us: int
    ) -> tuple[int, list[Ticket]]: ...

    def note_dead(
        self, *, actor: str, now_us: int, queue: str, system: str | None, digest: bytes, message_id: str | None, delivery: str | None
    ) -> None: ...

    def erase_finished(self, *, now_us: int, retention_us: Mapping[str, int], limit: int = 500) -> int: ...

    def forget_ids(self, *, before_us: int, limit: int = 5_000) -> int: ...

    def unfetched(self, *, actor: str, now_us: int, fetch_within_us: Mapping[str, int], limit: int = 500) -> int: ...

    def unanswered(self, *, actor: str, now_us: int, limit: int = 500) -> int: ...


class Letters(Protocol):
    """The store's side of mailboxes that are read over REST; see adapters.store.letters for what each promises."""

    def piles(self, system: str) -> list[Pile]: ...

    def standing(self, system: str, endpoints: Iterable[str], *, limit: int) -> list[Letter]: ...

    def sealed(self, system: str, delivery_id: str) -> Claimed | None: ...

    def fetched(self, one: Claimed, *, actor: str, now_us: int) -> bool: ...

    def hear(self, confirmation: Confirmation, *, actor: str, now_us: int) -> WordHeard: ...


class Enquiries(Protocol):
    """The store's side of what senders ask; see adapters.store.enquiries for what each promises."""

    def by_reference(self, system: str, reference: str) -> list[Status]: ...

    def by_message_id(self, system: str, message_id: str) -> list[Status]: ...

    def by_business_id(self, system: str, business_id: str, sender: str | None) -> list[Status]: ...

    def changed(self, system: str, after: Cursor, *, limit: int) -> Changes: ...

    def newest(self) -> Cursor: ...

    def follow(self, lease: Lease, *, limit: int = 20) -> int: ...


class Postbox(Protocol):
    """A system's mailboxes, as it empties them over REST. Each of these waits for the store: call them aside of the event loop. They
    raise StoreUnavailable."""

    def mailboxes(self, system: Oin) -> list[MailboxLine]:
        """Every mailbox that this system may empty today."""

    def letters(self, system: Oin, *, dienst: str | None, versie: str | None, receiver: str | None, limit: int) -> list[Letter]:
        """What stands in them, the oldest first; only of this dienst, version, and organisation or routeringskenmerk."""

    def fetch(self, system: Oin, delivery_id: str) -> Opened | None:
        """A letter, once it has been journalled that it was seen. None when it does not stand there for this system (any more)."""

    def say(self, system: Oin, delivery_id: str, *, confirmed: bool, reason: str | None) -> WordHeard:
        """Confirms or refuses; exactly what the same words on the exchange `confirm` do. Raises ValueError for what is no such word."""


class Mailboxes(Protocol):
    """The store's side of mailboxes whose schools leave; see adapters.store.mailboxes for what each promises."""

    def open_lanes(self) -> list[str]: ...

    def standing(self, lane: str) -> list[Standing]: ...

    def unconfirmed(self, lane: str, endpoints: Iterable[str], state: str, *, after: int, limit: int) -> list[InMailbox]: ...

    def point(self, lease: Lease, lane: str, deliveries: Sequence[Withdrawn], *, now_us: int) -> int: ...

    def withdraw(self, lease: Lease, lane: str, deliveries: Sequence[Withdrawn], *, actor: str, now_us: int) -> int: ...

    def due(self, now_us: int) -> str | None: ...

    def copies(self, ids: Sequence[str]) -> list[Copy]: ...

    def took_back(self, lease: Lease, system: str, copies: Sequence[TakenBack], *, actor: str, now_us: int) -> None: ...

    def looked_through(self, lease: Lease, system: str, *, began_us: int, actor: str, now_us: int) -> int: ...

    def put_off(self, system: str, *, until_us: int) -> None: ...


class Journal(Protocol):
    """The chain, and what is still to be told."""

    def chain(self, lease: Lease, *, now_us: int, limit: int = 1000) -> int: ...

    def untold(self, *, now_us: int, limit: int = 500) -> list[Telling]: ...

    def mark_told(self, told: Sequence[int], *, put_off: Sequence[int], until_us: int) -> None: ...

    def tell_again(self, *, since_us: int, now_us: int) -> int: ...

    def verify(self) -> Verification: ...

    def of_message(self, reference: str) -> list[Event]: ...

    def decisions_of(self, reference: str) -> list[dict[str, Any]]: ...


class Registry(Protocol):
    """What all processes share besides messages."""

    def register_version(self) -> int: ...

    def register_document(self, version: int) -> dict[str, Any]: ...

    def take_lease(self, name: str, holder: str, *, now_us: int, until_us: int) -> Lease | None: ...

    def keep_lease(self, held: Lease, *, until_us: int) -> bool: ...

    def give_lease(self, held: Lease) -> None: ...

    def worker_seen(
        self,
        id: str,
        name: str,
        pid: int,
        host: str,
        state: str,
        *,
        started_us: int,
        now_us: int,
        handled: int,
        metrics: str | None = None,
    ) -> None: ...

    def worker_gone(self, id: str) -> None: ...

    def workers(self) -> list[dict[str, Any]]: ...

    def register_age(self) -> tuple[int, int] | None: ...

    def forget_workers(self, before_us: int) -> None: ...

    def note(self, name: str) -> str | None: ...

    def set_note(self, name: str, value: str) -> None: ...


class Queries(Protocol):
    """What people ask: each row is a mapping of names to values, as it is shown or printed as JSON."""

    def outbox(self, wanted: OutboxFilter) -> list[dict[str, Any]]: ...

    def failures(self) -> list[dict[str, Any]]: ...

    def failure_groups(self) -> list[dict[str, Any]]: ...

    def find(self, id: str) -> str | None: ...

    def message(self, reference: str) -> dict[str, Any] | None: ...

    def counts(self) -> dict[str, dict[str, int]]: ...


class Store(Protocol):
    """One open store."""

    @property
    def hand_ins(self) -> HandIns: ...

    @property
    def outbox(self) -> Outbox: ...

    @property
    def mailboxes(self) -> Mailboxes: ...

    @property
    def letters(self) -> Letters: ...

    @property
    def enquiries(self) -> Enquiries: ...

    @property
    def journal(self) -> Journal: ...

    @property
    def registry(self) -> Registry: ...

    @property
    def register(self) -> RegisterBook: ...

    @property
    def queries(self) -> Queries: ...

    @property
    def board(self) -> Board: ...

    @property
    def board_keeper(self) -> BoardKeeper: ...


class Endpoints(Protocol):
    """Receivers' own software, called over HTTPS."""

    async def offer(self, url: str, message: bytes, *, action: str, asked: Asked) -> Heard:
        """One attempt: what was heard. Never raises for what the other side does."""

    async def close(self) -> None:
        """Hangs up."""


class BrokerKeeper(Protocol):
    """What the relay asks of the broker as a whole."""

    async def epoch(self) -> str | None:
        """The value kept in queue `epoch`; None when it is not there: the broker is new, or was wiped. Raises BrokerUnavailable."""

    async def set_epoch(self, value: str) -> None:
        """Keeps this value. Raises BrokerUnavailable."""

    async def apply_topology(self) -> None:
        """Makes the broker look as it must. Raises BrokerUnavailable."""


#: Which of these deliveries' copies are not to stand in the mailbox (any more).
Foreign = Callable[[Sequence[str]], Awaitable[set[str]]]


class Mailroom(Protocol):
    """Looks through a mailbox on the broker, while its system may be reading it too."""

    def sift(self, system: str, foreign: Foreign) -> AsyncGenerator[list[TakenBack], None]:
        """Takes out what `foreign` names and puts the rest back, in the old order; yields what is out for good, part by part. Nothing is
        ever in our memory only. Raises BrokerError; then the rest was not looked at."""
