"""Takes copies out of a mailbox by draining and refilling it (design section 4), while its system may be reading it too."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Any, Final

from adapters.rabbit import Inspector, Publisher
from broker_config.topology import queue
from routing.mailbox import TakenBack
from routing.ports import BrokerUnavailable, Foreign, Incoming, Outgoing, Published

#: Copies in hand at a time: what a crash at the worst moment makes a receiver see twice, at most.
CHUNK: Final = 50
#: Says on a copy that was put back that it had been handed out before: the broker's own mark on it is lost by that.
HANDED_OUT: Final = "handed_out"


class Mailroom:
    """Mailboxes, reached over AMQP as the backbone."""

    def __init__(self, amqp: str) -> None:
        self._amqp = amqp

    async def sift(self, system: str, foreign: Foreign) -> AsyncGenerator[list[TakenBack], None]:
        """As `routing.ports.Mailroom` says.

        Copies are taken without acknowledging, part by part; those that stay are published again behind all others, and only when the
        broker has confirmed them all are the old ones acknowledged. A crash before that gives every copy back; one between the confirms
        and the acknowledgements gives a part back that stands there again already: a repeat with the same MessageID, never a loss.
        Taking one by one (and not as a consumer) leaves nothing in our hands that we did not ask for.
        """
        name = queue("mailbox", system)
        async with (
            Inspector(self._amqp, name="koppelpunt mailroom") as inspector,
            Publisher(self._amqp, name="koppelpunt mailroom") as refill,
        ):
            left = await inspector.depth(name) or 0
            while left > 0:
                hand: list[Incoming] = []
                while len(hand) < min(left, CHUNK) and (found := await inspector.get(name)) is not None:
                    hand.append(found)
                if not hand:
                    return  # its system was quicker
                left -= len(hand)
                out = await foreign(list({one for copy in hand if (one := _delivery(copy)) is not None}))
                stay = [copy for copy in hand if _delivery(copy) not in out]
                fates = await refill.publish_many([_again(name, copy) for copy in stay])
                refused = {copy.tag for copy, fate in zip(stay, fates, strict=True) if fate is not Published.CONFIRMED}
                for copy in hand:
                    if copy.tag in refused:
                        inspector.requeue(copy)
                    else:
                        inspector.ack(copy)
                await inspector.depth(name)  # an answer means that the acknowledgements before it arrived
                yield [
                    TakenBack(id=one, handed_out=_handed_out(copy)) for copy in hand if (one := _delivery(copy)) in out and one is not None
                ]
                if refused:
                    raise BrokerUnavailable(f"Queue {name} took back {len(stay) - len(refused)} of {len(stay)} copies; it is full.")


def _delivery(copy: Incoming) -> str | None:
    found = copy.headers.get("delivery_id")
    return found if isinstance(found, str) else None


def _handed_out(copy: Incoming) -> bool:
    return copy.redelivered or copy.earlier_deliveries > 0 or bool(copy.headers.get(HANDED_OUT))


def _again(name: str, copy: Incoming) -> Outgoing:
    """The same message; without what the broker wrote on it, which counts for this copy no more."""
    headers: dict[str, Any] = {key: value for key, value in copy.headers.items() if not key.startswith("x-")}
    if _handed_out(copy):
        headers[HANDED_OUT] = True
    return Outgoing(
        routing_key=name,
        body=copy.body,
        content_type=copy.content_type,
        message_id=copy.message_id,
        correlation_id=copy.correlation_id,
        headers=headers,
    )
