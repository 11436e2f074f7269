"""Which delivery does a message answer? Decided from what the answer names, and from who was sent what."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from routing.work import Answer, Answerable
from schemas.content import Content
from schemas.envelope import REPLY, Envelope
from schemas.faults import Refused
from schemas.lifecycle import DeliveryState, steps_to_answered
from schemas.oin import institution_of
from schemas.privacy import plain

#: In these a delivery is with its receiver, or may be; in any other it is when it was offered before.
_THERE: Final = frozenset(
    {DeliveryState.RELEASED, DeliveryState.DELIVERED, DeliveryState.UNCERTAIN, DeliveryState.ACKNOWLEDGED, DeliveryState.ANSWERED}
)


def answer_in(content: Content, envelope: Envelope) -> Answer | None:
    """What a message says of the one it answers; None when its kind answers nothing. Raises Refused (Client.DK0008)."""
    kind = content.kind
    if kind.answers is None:
        return None
    business_id = content.facts.get(kind.answers, "").lower() or None
    relates_to = tuple(dict.fromkeys(message for relation, message in envelope.relates_to if relation == REPLY and message))
    if business_id is None and not relates_to:
        raise Refused(
            "Client.DK0008",
            f"{kind.name} answers an earlier message: name that one in wsa:RelatesTo (its MessageID) or in {kind.answers}",
            where="wsa:RelatesTo",
        )
    return Answer(fact=kind.answers, business_id=business_id, relates_to=relates_to, kinds=kind.answered)


def correlate(answer: Answer, *, sender: str, receiver: str, named: Sequence[Sequence[Answerable]]) -> Answerable:
    """The delivery that is answered. `named`: what each name in the answer stands for, whosesoever it is; one that stands for nothing
    is empty. Raises Refused: ANSWER_UNKNOWN when none of it was delivered to this sender (organisation) on behalf of whom it answers,
    which does not tell whether it exists; Client.DK0011 when the names do not mean one and the same message.

    Of several deliveries to one organisation, the first that has not been answered yet is.
    """
    theirs = [[one for one in several if _may_answer(answer, one, sender, receiver)] for several in named]
    if not any(theirs):
        raise Refused("ANSWER_UNKNOWN", f"{receiver} sent {sender} no message that has {_names(answer)} and is answered by this kind")
    meant = [one for one in theirs[0] if all(one in several for several in theirs[1:])]
    if not meant:
        raise Refused(
            "Client.DK0011", f"{_names(answer)} do not name one and the same message: correct or leave out one", where="wsa:RelatesTo"
        )
    return min(meant, key=lambda one: (one.sender != receiver, has_ended(one), one.receiver != sender, one.seq))


def has_ended(one: Answerable) -> bool:
    """Whether an answer changes nothing any more: it was answered before, or superseded or returned."""
    return not steps_to_answered(DeliveryState(one.state))


def _may_answer(answer: Answer, one: Answerable, sender: str, receiver: str) -> bool:
    return (
        one.action in answer.kinds
        and (one.offered or one.state in _THERE)
        and institution_of(one.receiver) == institution_of(sender)
        and institution_of(one.sender) == institution_of(receiver)
    )


def _names(answer: Answer) -> str:
    names = [f"{answer.fact} {answer.business_id}"] if answer.business_id else []
    return " and ".join(plain(name)[:120] for name in (*names, *(f"wsa:RelatesTo {message}" for message in answer.relates_to)))
