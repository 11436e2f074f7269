"""What workers and the store hand each other: plain values, so that a worker can be read without knowing any SQL.

Nobody changes one. But those of which a message needs several are not `frozen`: Python makes a frozen one three times slower, which was
3% of all that a message costs.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from schemas.events import Event


class SealedParts(Protocol):
    """A message's encrypted parts (see adapters.vault)."""

    wrapped_key: bytes
    body: bytes
    facts: bytes


@dataclass(slots=True, kw_only=True)
class RecordedDecision:
    """One answer to one of rule 4's three questions, ready to be stored."""

    question: str
    outcome: str
    code: str | None
    register_version: int
    record: str  #: JSON


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamStep:
    """The place of a message in its stream (contract's sequence rule)."""

    key: bytes  #: keyed hash of sender, dienst and stream key
    number: int
    status: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a message that answers another says of that one. At least one of the two names is there."""

    fact: str  #: name of the fact that holds `business_id`
    business_id: str | None  #: identificatiecodeBedrijfsdocument of the answered message, in small letters
    relates_to: tuple[str, ...]  #: MessageIDs of wsa:RelatesTo headers that say "reply"
    kinds: tuple[str, ...]  #: wsa:Actions of the kinds it may answer


@dataclass(slots=True, kw_only=True)
class Answerable:
    """A delivery that an answer names, with its message."""

    seq: int
    id: str
    state: str
    offered: bool  #: an attempt brought it to its receiver, or may have; one that ended before that does not count
    receiver: str
    receiver_system: str | None
    reference: str
    sender: str
    system: str
    message_id: str
    business_id: str | None
    action: str
    dienst: str
    versie: str
    bericht: str


@dataclass(slots=True, kw_only=True)
class NewMessage:
    """A verified, authorised and valid hand-in that is to become a message."""

    reference: str
    sender: str
    system: str
    receiver: str
    message_id: str
    business_id: str | None
    address: str
    action: str
    dienst: str
    versie: str
    bericht: str
    order_key: bytes | None
    subject: bytes | None
    digest: bytes
    received_us: int
    created_us: int
    expires_us: int | None
    stale: bool
    via: str
    size: int
    warnings: tuple[str, ...]
    register_version: int
    sealed: SealedParts
    decisions: tuple[RecordedDecision, ...]
    step: StreamStep | None = None
    answer: Answer | None = None
    law_day: int | None = None  #: as in schemas.content.Content
    replaces: str | None = None  #: business id that it names in `vervangtBedrijfsdocument`, in small letters
    redelivered: bool = False  #: the broker gave it to somebody before, who may have recorded a refusal and died before it said so


@dataclass(frozen=True, slots=True, kw_only=True)
class NewRefusal:
    """A hand-in that is refused; only digests and ids of it are kept."""

    reference: str
    at_us: int
    code: str
    owner: str
    reason: str
    digest: bytes
    via: str
    system: str | None = None
    sender: str | None = None
    message_id: str | None = None
    business_id: str | None = None
    dienst: str | None = None
    bericht: str | None = None
    details: tuple[str, ...] = ()
    decisions: tuple[RecordedDecision, ...] = ()
    redelivered: bool = False  #: as of a NewMessage


@dataclass(slots=True, kw_only=True)
class HandInResult:
    """What became of one hand-in, after the commit; the receipt says this."""

    accepted: bool
    reference: str
    received_us: int
    duplicate: bool = False
    code: str | None = None
    reason: str | None = None
    warnings: tuple[str, ...] = ()
    message_id: str | None = None


@dataclass(frozen=True, slots=True)
class Ticket:
    """An id on an internal queue: this row, in this release, is to be worked on."""

    seq: int
    release: int
    push: bool = field(default=False, compare=False)  #: for an endpoint, and not a mailbox: another queue, because it may take long


@dataclass(slots=True, kw_only=True)
class Routable:
    """A message to be routed, with its sealed facts."""

    seq: int
    release: int
    reference: str
    sender: str
    system: str
    receiver: str
    message_id: str
    business_id: str | None
    action: str
    dienst: str
    versie: str
    bericht: str
    order_key: bytes | None
    received_us: int
    wrapped_key: bytes
    facts: bytes


@dataclass(slots=True, kw_only=True)
class NewDelivery:
    """One receiver of a message: to be delivered, waiting, filtered, or impossible."""

    id: str
    target: str
    receiver: str
    filtered: bool = False
    endpoint: str | None = None
    lane: str | None = None
    receiver_system: str | None = None
    hold_code: str | None = None  #: it waits for this
    code: str | None = None  #: it has failed at once, for this
    owner: str | None = None
    reason: str | None = None
    deadline_us: int = 0
    decisions: tuple[RecordedDecision, ...] = ()


@dataclass(slots=True, kw_only=True)
class RoutedMessage:
    """The outcome of routing one message. `code` set: the message as a whole has failed."""

    message: Routable
    deliveries: tuple[NewDelivery, ...]
    newest_replaces: bool = False
    answer_within_us: int | None = None  #: an answer to each delivery must come so long after it
    decisions: tuple[RecordedDecision, ...] = ()
    register_version: int = 0
    code: str | None = None
    owner: str | None = None
    reason: str | None = None
    replaces: str | None = None  #: business id, in small letters, of the same sender's document whose failure this one closes


@dataclass(slots=True, kw_only=True)
class Claimed:
    """A delivery this worker has claimed, with all it needs to send it."""

    seq: int
    release: int
    id: str
    message_seq: int
    target: str
    receiver: str
    endpoint: str
    lane: str
    receiver_system: str
    attempts: int
    deadline_us: int
    reference: str
    sender: str
    system: str
    message_receiver: str
    message_id: str
    business_id: str | None
    address: str
    action: str
    dienst: str
    versie: str
    bericht: str
    received_us: int
    created_us: int
    expires_us: int | None
    stale: bool
    wrapped_key: bytes | None
    body: bytes | None
    again_of: int | None = None  #: offered anew after the final state of this delivery: in our envelope, with a MessageID of its own
    taken_over: bool = False  #: this release was claimed before, and not settled: it may have been sent


#: The envelope of an attempt that brought nothing to the receiver, and of one before which somebody else, who died, may have.
NOT_SENT, MAYBE_SENT = "none", "unknown"


@dataclass(slots=True, kw_only=True)
class Settlement:
    """What one attempt came to."""

    claimed: Claimed
    state: str  #: delivered, acknowledged, postponed, uncertain, failed, or routed (back to wait for an endpoint or mandate)
    at_us: int
    took_us: int
    register_version: int
    envelope: str  #: `original` or `ours`, or NOT_SENT, or MAYBE_SENT
    code: str | None = None
    owner: str | None = None
    reason: str | None = None
    hold_code: str | None = None
    not_before_us: int = 0
    endpoint: str | None = None  #: with `routed`: the endpoint to try instead
    lane: str | None = None
    receiver_system: str | None = None
    decisions: tuple[RecordedDecision, ...] = ()
    heard: str | None = None  #: what it says of the lane (routing.outcome.Lane); None: nothing
    stop_until_us: int = 0  #: with `stop`: when the receiver wants to hear of us again


@dataclass(frozen=True, slots=True, kw_only=True)
class Confirmation:
    """What a party says of a delivery in its mailbox."""

    delivery_id: str
    system: str  #: certificate OIN of the system that says so
    confirmed: bool
    code: str | None = None
    owner: str | None = None
    reason: str | None = None


@dataclass(slots=True, kw_only=True)
class Telling:
    """A receipt or outcome still to be told to a sender's system."""

    event_id: int
    system: str
    event: Event = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Lease:
    """The right to be the one leader for a task, with the fencing token that proves it."""

    name: str
    holder: str
    token: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """A delivery that waits for the register: looked at again when it changes."""

    seq: int
    id: str
    target: str
    receiver: str
    endpoint: str | None
    hold_code: str
    dienst: str
    versie: str
    bericht: str
    action: str
    message_seq: int
    reference: str
    deadline_us: int
    details: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class OutboxFilter:
    """What to show of the outbox; None means all."""

    party: str | None = None  #: OIN of sender, receiver or either system
    dienst: str | None = None
    state: str | None = None
    before_us: int | None = None  #: handed in before this moment
    limit: int = 200


@dataclass(frozen=True, slots=True)
class Verification:
    """What walking the chain came to."""

    whole: bool
    blocks: int
    events: int
    waiting: int  #: events not chained yet
    problem: str | None


class StoreUnavailable(Exception):
    """The store cannot be written or read now (locked, full, unreachable): hold the work and try again; nothing was committed."""


class LeaseLost(Exception):
    """Somebody else is the leader now; nothing was committed."""
