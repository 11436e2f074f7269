"""One message with all that happened to it; and its content, with a reason that is journalled."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from portal.api.calls import Asked, found, get, post
from portal.api.problems import Problem
from portal.api.values import ID, Field, text_of
from routing.actions import CannotAct, checked_reason
from routing.actions import Place as Place_
from routing.board import MessageView
from routing.contents import Opened, Outcome
from routing.people import SEE, Permission

_REFERENCE: Final = Field(name="reference", kind=ID, required=True, about="Of the receipt.")
#: Seconds for which a program waits for the process that opens content, in a thread that others wait for; and between two looks.
PATIENCE_S, LOOK_S = 3.0, 0.05
#: Why there is no content, in English and in Dutch.
_WHY_NOT: Final[Mapping[Outcome | None, tuple[str, str]]] = {
    None: (
        "The process that opens content does not answer. Nothing was shown; try again in a minute.",
        "Het proces dat inhoud opent, antwoordt niet. Er is niets getoond; probeer het over een minuut opnieuw.",
    ),
    Outcome.TOO_OFTEN: ("You looked at too many messages within the hour.", "U hebt het afgelopen uur te veel berichten ingezien."),
    Outcome.GONE: ("There is no content of this message any more.", "De inhoud van dit bericht is er niet meer."),
    Outcome.REFUSED: ("Your account may not look at this content now.", "Uw account mag deze inhoud nu niet inzien."),
    Outcome.FAILED: (
        "The content cannot be opened; the operator finds it in the log.",
        "De inhoud kan niet worden geopend; de beheerder ziet dit.",
    ),
}
_LATER: Final = frozenset({Outcome.TOO_OFTEN})
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
    opened = _opened(asked, reference, why)
    if opened is None or opened.outcome in _LATER:
        en, nl = _WHY_NOT[opened.outcome if opened else None]
        raise Problem(429 if opened else 503, en=en, nl=nl, headers={"Retry-After": "600" if opened else "60"})
    if opened.outcome is not Outcome.OPENED:
        raise CannotAct(*_WHY_NOT[opened.outcome])
    return Content(reference=reference, why=why, content=opened.content.decode("utf-8", "replace"))


def _opened(asked: Asked, reference: str, why: str) -> Opened | None:
    """What the process with the master key answers; None when it does not, and then it is not asked any more. In a thread of the API's."""
    contents, until = asked.desk.contents, time.monotonic() + PATIENCE_S
    question = contents.ask(reference, account=asked.who, proof=asked.visit.proof, reason=why, now_us=asked.now_us)
    opened = None
    try:
        while opened is None and time.monotonic() < until:
            time.sleep(LOOK_S)
            opened = contents.answer(question)
    finally:
        if opened is None:
            contents.withdraw(question)
    return opened


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
