"""What a party asks of the gateway: its mailboxes, and what became of what it handed in. Plain values, as in routing/work.py."""

from __future__ import annotations

import base64
import re
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

#: What a delivery that a party did not fetch in time has failed with; it may still be fetched and confirmed.
NOT_FETCHED: Final = "MAILBOX_NOT_FETCHED"


@dataclass(frozen=True, slots=True, kw_only=True)
class Pile:
    """The deliveries that stand in a mailbox for one endpoint."""

    endpoint: str
    open: int  #: to be confirmed or refused
    overdue: int  #: not fetched in time: failed, but a confirmation still ends them well
    oldest_us: int | None  #: when the oldest of them came into the mailbox


@dataclass(frozen=True, slots=True, kw_only=True)
class MailboxLine:
    """One mailbox that a system may empty: an endpoint, and what stands there."""

    organisation: str
    name: str
    routeringskenmerk: str | None
    dienst: str
    versie: str
    open: int
    overdue: int
    oldest_us: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Letter:
    """A delivery that stands in a mailbox, without what is in it."""

    delivery_id: str
    received_us: int
    delivered_us: int
    dienst: str
    versie: str
    bericht: str
    action: str
    receiver: str  #: organisation OIN or routeringskenmerk: for whom it is
    sender: str
    message_id: str  #: of the envelope
    size: int  #: bytes, as it was handed in
    attempt: int
    overdue: bool
    anew: bool = False  #: offered anew after a final state: its envelope has a MessageID of its own


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """A letter from a mailbox: the envelope, and what stands in the AMQP mailbox as headers."""

    reference: str  #: ours, of the message
    message_id: str
    headers: dict[str, str]
    body: bytes


class Said(StrEnum):
    """What a party's word about a delivery came to."""

    COUNTED = "counted"
    REPEATED = "repeated"  #: it had ended the same way already
    FINISHED = "finished"  #: it had ended otherwise already
    EARLY = "early"  #: it is on its way (again) at this moment
    UNKNOWN = "unknown"  #: there is no such delivery, or it is not this system's


@dataclass(frozen=True, slots=True, kw_only=True)
class WordHeard:
    """The same, with how the delivery stands now."""

    said: Said
    state: str | None = None
    code: str | None = None


class WrongCursor(ValueError):
    """It was not made by us."""


_CURSOR: Final = re.compile(r"1:([0-9]{1,18}):([0-9a-f-]{36}|z?)\Z")


@dataclass(frozen=True, slots=True, order=True)
class Cursor:
    """A place in the list of changes: everything up to this message in this block of the journal has been seen."""

    block: int = 0
    reference: str = ""

    def __str__(self) -> str:
        """As partners keep it; what is in it is nobody's business."""
        return base64.urlsafe_b64encode(f"1:{self.block}:{self.reference}".encode()).decode().rstrip("=")

    @classmethod
    def read(cls, text: str) -> Cursor:
        """Raises WrongCursor."""
        try:
            plain = base64.b64decode((text + "=" * (-len(text) % 4)).encode("ascii"), altchars=b"-_", validate=True).decode("ascii")
        except ValueError:
            raise WrongCursor from None
        found = _CURSOR.match(plain)
        if found is None:
            raise WrongCursor
        return cls(int(found.group(1)), found.group(2))


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveryStatus:
    """How one delivery of a message stands."""

    delivery_id: str
    target: str
    receiver: str
    state: str
    hold_code: str | None  #: why it waits, while it waits
    code: str | None
    owner: str | None
    reason: str | None
    attempts: int
    at_us: int
    delivered_us: int | None
    deadline_us: int
    deliver_again: bool | None = None  #: once returned: whether the source is to hand it in again, with a new business id


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """How a hand-in stands: a message with its deliveries, or a refusal (state `refused`)."""

    reference: str
    message_id: str | None
    business_id: str | None
    sender: str | None
    dienst: str | None
    versie: str | None
    bericht: str | None
    received_us: int
    via: str  #: the channel it came by: `amqp`, `https` or `rest`
    state: str
    code: str | None
    owner: str | None
    reason: str | None = None
    details: tuple[str, ...] = ()  #: of a refusal: every mistake in the content
    warnings: tuple[str, ...] = ()
    deliveries: tuple[DeliveryStatus, ...] = ()
    deliver_again: bool | None = None  #: of a message that was returned as a whole


@dataclass(frozen=True, slots=True, kw_only=True)
class Changes:
    """A page of what changed, each as it stands now; and where the next page begins."""

    found: list[Status]
    next: Cursor
    more: bool  #: there is another page already
