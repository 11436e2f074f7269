"""One message with all that happened to it; and its content, with a reason that is journalled."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from portal.api.calls import Asked, found, get, post
from portal.api.values import ID, Field, text_of
from routing.actions import CannotAct, checked_reason
from routing.actions import Place as Place_
from routing.board import MessageView
from routing.people import SEE, Permission

_REFERENCE: Final = Field(name="reference", kind=ID, required=True, about="Of the receipt.")
#: Columns of rows that mean nothing outside the store.
_INTERNAL: Final = frozenset(
    {"seq", "message_seq", "delivery_seq", "order_key", "subject", "claim", "release", "wrapped_key", "body", "facts"}
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What something is called here."""

    reference: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Places:
    """Where the register would let a delivery go now."""

    places: tuple[Place_, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Content:
    """A message as it was handed in."""

    reference: str
    why: str  #: as the journal has it
    content: str  #: XML


@dataclass(frozen=True, slots=True, kw_only=True)
class Closed:
    """A refusal that is off the board."""

    reference: str


@get(
    "/messages",
    tag="messages",
    summary="Find a message or refusal by any of its ids",
    permission=SEE,
    answer=Found,
    query=(Field(name="id", kind=ID, required=True, about="Reference, delivery_id, MessageID or business id."),),
)
def find_message(asked: Asked) -> Found:
    """By any id."""
    return Found(reference=found(asked.desk.board.find(asked.scope, asked["id"])))


@get(
    "/messages/{reference}",
    tag="messages",
    summary="One message: its deliveries, attempts, events, decisions and what belongs to it, without its content",
    permission=SEE,
    answer=MessageView,
    place=(_REFERENCE,),
)
def message(asked: Asked) -> MessageView:
    """All that the scope may see of it."""
    view: MessageView = found(asked.desk.board.message(asked.scope, asked["reference"]))
    return replace(
        view,
        facts=_shown(view.facts),
        deliveries=tuple(map(_shown, view.deliveries)),
        decisions=tuple(map(_shown, view.decisions)),
    )


def _shown(row: Mapping[str, Any]) -> dict[str, Any]:
    shown = {name: value for name, value in row.items() if name not in _INTERNAL}
    if "tries" in shown:
        shown["tries"] = [_shown(one) for one in shown["tries"]]
    return shown


@post(
    "/messages/{reference}/content",
    tag="messages",
    summary="Its content, which the journal says that you saw, and why",
    permission=Permission.SEE_CONTENT,
    answer=Content,
    place=(_REFERENCE,),
    body=(Field(name="why", kind=text_of(500), required=True, about="Why you must see it, for the journal."),),
)
def message_content(asked: Asked) -> Content:
    """Break-glass, as the page of the message does it."""
    view: MessageView = found(asked.desk.board.message(asked.scope, asked["reference"]))
    found(True if view.whole else None)
    reference, why = str(view.facts["reference"]), checked_reason(asked["why"])
    opened = asked.desk.contents.open(reference, who=asked.who, why=why, now_us=asked.now_us)
    if opened is None:
        raise CannotAct("There is no content of this message any more.", "De inhoud van dit bericht is er niet meer.")
    return Content(reference=reference, why=why, content=opened.decode("utf-8", "replace"))


@post(
    "/refusals/{reference}/close",
    tag="messages",
    summary="Take a refusal off the board: nothing more will come of it",
    permission=Permission.ACT,
    answer=Closed,
    place=(_REFERENCE,),
    body=(Field(name="why", kind=text_of(500), required=True, about="Why, for the journal."),),
)
def close_refusal(asked: Asked) -> Closed:
    """With a reason."""
    reference, why = asked["reference"], checked_reason(asked["why"])
    found(asked.desk.board.message(asked.scope, reference))
    closed = asked.desk.board.close_refusal(reference, who=asked.who, why=why, now_us=asked.now_us)
    found(True if closed else None)
    return Closed(reference=reference)


@get(
    "/deliveries/{id}/places",
    tag="messages",
    summary="Where the register would let this delivery go now",
    permission=Permission.ACT,
    answer=Places,
    place=(Field(name="id", kind=ID, required=True, about="delivery_id."),),
)
def delivery_places(asked: Asked) -> Places:
    """For redirect."""
    return Places(places=tuple(asked.desk.actions.places(asked.scope, asked["id"])))


CALLS: Final = (find_message, message, message_content, close_refusal, delivery_places)
