"""When a receiver's mandate or endpoint ends while deliveries stand unconfirmed in a mailbox (rule 4; design section 4, "mailbox").

Each is judged again: the successor for the same receiver gets it; without one it waits, with an owner. The values here are what workers,
store and broker hand each other about that; nothing here knows a queue or a table.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from routing.decisions import Decision, decide
from routing.mandate import judge_receiver
from routing.register import Endpoint, Register
from routing.resolver import Resolution, resolve
from routing.work import RecordedDecision
from schemas.oin import Oin

#: Seconds between looks for copies that were not in the queue: the old system has them in hand, and they come back when it disconnects.
#: After a day and four hours nobody is expected to hold them still.
LOOK_AGAIN_S: Final = (10, 60, 600, 3_600, 10_800, 86_400)
#: A successor gets at least this long, however late in the life of the message the switch comes: it was delivered in time once.
SUCCESSOR_S: Final = 86_400
#: States in which a delivery's copy belongs where the delivery points, whatever the register says: judging it again comes first.
_OPEN: Final = frozenset({"released", "delivered"})


def has_queue(register: Register, system: str) -> bool:
    """Whether a system's mailbox is a queue on the broker as well. One without the channel `amqp` is read from the store, over REST."""
    known = register.system(system)
    return known is None or "amqp" in known.channels


def next_look(looks: int) -> int | None:
    """Seconds until the next look through a mailbox, after so many; None: enough."""
    return LOOK_AGAIN_S[looks - 1] if looks <= len(LOOK_AGAIN_S) else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """How many deliveries of one mailbox go to one endpoint: `released`, `delivered`, or `failed` because they were not fetched in time."""

    endpoint: str
    state: str
    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class InMailbox:
    """A delivery that stands unconfirmed in a mailbox."""

    seq: int
    id: str
    state: str  #: `delivered`; or `failed`, because it was not fetched in time: its system might still confirm it
    receiver: str
    endpoint: str
    receiver_system: str
    reference: str
    message_id: str
    business_id: str | None
    system: str
    sender: str
    dienst: str
    versie: str
    bericht: str


@dataclass(frozen=True, slots=True)
class Move:
    """A delivery may not stay where it is."""

    because: Decision  #: why not
    to: Resolution  #: who gets it instead; without an endpoint it waits (outcome `wait`), or has failed (`no`)


@dataclass(frozen=True, slots=True, kw_only=True)
class Withdrawn:
    """One delivery that leaves a mailbox, as it is to be stored. `state` is `routed` (to a successor, or waiting) or `failed`."""

    delivery: InMailbox
    state: str
    because: str  #: one sentence
    copied: bool = True  #: a copy of it was put on the broker
    register_version: int
    endpoint: str | None = None
    lane: str | None = None
    receiver_system: str | None = None
    hold_code: str | None = None
    code: str | None = None
    owner: str | None = None
    reason: str | None = None
    deadline_us: int = 0  #: at least until then
    decisions: tuple[RecordedDecision, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Copy:
    """Where the delivery is now, of which a copy was found in a mailbox."""

    id: str
    state: str
    receiver_system: str | None
    endpoint: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class TakenBack:
    """A copy that was taken out of a mailbox."""

    id: str  #: delivery_id
    handed_out: bool  #: it had been handed to somebody before, who may have read it


@dataclass(slots=True)
class SecondLook:
    """Judges what stands in mailboxes, by one register at one moment. Equal questions get the very same decision, recorded once."""

    register: Register
    now: datetime
    _places: dict[tuple[str, str, str | None], Decision] = field(default_factory=dict)
    _found: dict[tuple[str, str, str], Resolution] = field(default_factory=dict)

    def suspect(self, endpoint: str, system: str) -> bool:
        """Whether something that goes to this endpoint may have to leave this system's mailbox: `judge` says what."""
        if self.place(endpoint, system).outcome != "yes":
            return True
        row = self.register.endpoint(endpoint)
        return row is not None and self.register.delegates(row.dienst)

    def place(self, endpoint: str, system: str, receiver: str | None = None) -> Decision:
        """May what goes to this endpoint (for this receiver) stand in this system's mailbox?"""
        known = self._places.get((endpoint, system, receiver))
        if known is None:
            known = judge_receiver(self.register, endpoint, self.now, system=system, receiver=receiver)
            row = self.register.endpoint(endpoint)
            if known.outcome == "yes" and row is not None and row.url is not None:  # it became a URL
                known = decide("endpoint-moved", self.register.version, {**known.inputs, "endpoint": endpoint, "system": system})
            self._places[endpoint, system, receiver] = known
        return known

    def judge(self, delivery: InMailbox) -> Move | None:
        """Where it goes instead; None when it may stay."""
        because = self.place(delivery.endpoint, delivery.receiver_system, delivery.receiver)
        if because.outcome == "yes":
            return None
        asked = (delivery.receiver, delivery.dienst, delivery.versie)
        found = self._found.get(asked)
        if found is None:
            found = self._found[asked] = resolve(
                self.register, receiver=Oin(delivery.receiver), dienst=delivery.dienst, versie=delivery.versie, now=self.now
            )
        return Move(because, found)

    def belongs(self, copy: Copy, system: str) -> bool:
        """Does a copy belong in this system's mailbox?

        An open delivery's does as long as the store says that it stands there: only what was withdrawn first is ever dropped. One that
        has ended (confirmed, or not fetched in time) does as long as its endpoint is good.
        """
        if copy.receiver_system != system:
            return False
        return copy.state in _OPEN or (copy.endpoint is not None and self.place(copy.endpoint, system).outcome == "yes")


def same_place(endpoint: Endpoint | None, system: str) -> bool:
    """Whether a successor is this very mailbox: another row of the register, the same queue."""
    return endpoint is not None and endpoint.url is None and endpoint.system == system
