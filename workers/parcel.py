"""What a receiver gets: the envelope of one delivery, whichever way it goes to its mailbox (design section 3, envelopes)."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any, Protocol

from routing.ports import Outgoing, Vault
from routing.work import Claimed
from workers.clock import moment


class Forwarder(Protocol):
    """Makes the envelope a message travels on in when its own bytes cannot be used (design section 3)."""

    def forward(
        self,
        original: bytes,
        *,
        message_id: str,
        sender: str,
        receiver: str,
        system: str | None,
        address: str | None,
        action: str,
        relates_to: str | None,
        created: datetime,
        signed: bool = True,
    ) -> bytes:
        """The unchanged Body of `original` in an envelope signed by us."""


class Parcels:
    """Makes what a mailbox holds."""

    def __init__(self, vault: Vault, forwarder: Forwarder, passes_through: Callable[[str], bool]) -> None:
        """`passes_through`: whether the sender of a message with this Action names the final receiver."""
        self._vault, self._forwarder, self.passes_through = vault, forwarder, passes_through

    def envelope(self, one: Claimed) -> str:
        """Whose it travels in: `original`, untouched, where the sender named the receiver and the Timestamp was valid at hand-in; else
        `ours`."""
        return "original" if self.passes_through(one.action) and not one.stale and one.again_of is None else "ours"

    def message_id(self, action: str, original: str, delivery_id: str, *, anew: bool) -> str:
        """The envelope's: a late pass-through keeps its MessageID; where we chose the receiver, or a person had it offered anew, the
        delivery has its own."""
        return original if self.passes_through(action) and not anew else f"urn:uuid:{delivery_id}"

    def mail(self, one: Claimed, wrapped_key: bytes, sealed: bytes) -> tuple[str, Outgoing]:
        """The envelope (see above) as it is put in a mailbox, and whose it is.

        Ours, too, says that it was created at hand-in: whenever it leaves us, and whenever it is fetched, `received_at` is then the one
        moment at which a receiver verifies. With the time of sending in it, what waited here or in the mailbox for more than some
        minutes could be read by nobody.
        """
        original = self._vault.open(one.reference, wrapped_key, "body", sealed)
        passes = self.passes_through(one.action)
        received_at = moment(one.received_us)
        envelope = self.envelope(one)
        message_id = self.message_id(one.action, one.message_id, one.id, anew=one.again_of is not None)
        if envelope == "original":
            body = original
        else:
            body = self._forwarder.forward(
                original,
                message_id=message_id,
                sender=one.sender,
                receiver=one.receiver,
                system=one.receiver_system,
                address=one.address if passes else None,
                action=one.action,
                relates_to=None if message_id == one.message_id else one.message_id,
                created=received_at,
            )
        headers: dict[str, Any] = {
            "delivery_id": one.id,
            "received_at": received_at.isoformat(),
            "dienst": one.dienst,
            "versie": one.versie,
            "routeringskenmerk": one.receiver,
            "attempt": one.attempts + 1,
        }
        return envelope, Outgoing(
            routing_key=f"mailbox.{one.receiver_system}",
            body=body,
            content_type="text/xml; charset=utf-8",
            message_id=message_id,
            headers=headers,
        )
