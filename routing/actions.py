"""What people may do about what is open or fell out: on one message, a group of failures, or all that a filter finds.

Pure rules first: which action is possible in which state, and why not. Then the values and the Protocol by which the portal and the
command line ask for it. A preview freezes its selection: what is confirmed is exactly what was shown, however the chain moves on. What is
frozen is judged again when its turn comes, in the transaction that acts.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType
from typing import Final, Protocol

from routing.board import ItemFilter
from routing.jobs import Figures, ItemState, JobState, Terms
from routing.people import Scope
from routing.said import Said
from schemas.faults import CODES, Cause
from schemas.lifecycle import DeliveryState as _D
from schemas.lifecycle import MessageState as _M
from schemas.oin import Oin
from schemas.privacy import plain, redact

#: The fact by which a new delivery says which document it replaces: the failure of that one is closed by it.
REPLACES: Final = "vervangtBedrijfsdocument"
#: Characters of a reason.
LONGEST_REASON: Final = 500


class Action(StrEnum):
    """What may be done."""

    RETRY = "retry"  #: the same message to the same receiver, with the same ids
    RETURN = "return"  #: retour: the system that handed it in hears that nothing more will come of it here, and what to do
    REDIRECT = "redirect"  #: to another endpoint that the register allows now for this receiver and dienst
    ARCHIVE = "archive"  #: closed without delivery; of a refusal: nothing more will come of it
    REOPEN = "reopen"  #: what was closed without delivery has failed again, and waits for somebody
    RESEND = "resend"  #: after a final state: a new delivery of the same Body and business id, in our envelope with a new MessageID


class Subject(StrEnum):
    """What one line of a selection is."""

    DELIVERY = "delivery"
    MESSAGE = "message"  #: that failed as a whole: nobody was found to deliver it to
    REFUSAL = "refusal"  #: a hand-in that became no message


class Why(StrEnum):
    """Why an action is not possible for one of a selection; `WHY` has it in words."""

    REFUSED = "refused"
    ERASED = "erased"
    OPEN = "open"
    UNROUTED = "unrouted"
    AGAIN = "again"
    FINISHED = "finished"
    NOT_CLOSED = "not_closed"
    NOT_FINAL = "not_final"
    FILTERED = "filtered"
    NEWER = "newer"
    NOT_ALLOWED = "not_allowed"
    GONE = "gone"
    NOT_HEARD = "not_heard"


WHY: Final[Mapping[Why, tuple[str, str]]] = MappingProxyType(
    {
        Why.REFUSED: (
            "Geweigerd bij aanlevering: er is geen bericht; de afzender moet het herstellen en opnieuw aanleveren.",
            "Refused at hand-in: there is no message; its sender must mend it and hand it in again.",
        ),
        Why.ERASED: (
            "De inhoud is aan het eind van de bewaartermijn gewist: alleen retour kan nog.",
            "Its body was erased at the end of its retention: it can only be returned.",
        ),
        Why.OPEN: ("Nog onderweg: het is niet uitgevallen.", "It is still on its way: it has not failed."),
        Why.UNROUTED: ("Het heeft nog geen ontvanger.", "It has no receiver yet."),
        Why.AGAIN: ("Het wordt al opnieuw aangeboden.", "It is being offered again already."),
        Why.FINISHED: (
            "Al afgerond; zo nodig kan het na deze eindstatus opnieuw worden aangeboden (nieuw MessageID).",
            "It has ended; where needed it can be offered anew after this final state (new MessageID).",
        ),
        Why.NOT_CLOSED: ("Het is niet gesloten zonder levering.", "It was not closed without delivery."),
        Why.NOT_FINAL: ("Het heeft geen eindstatus.", "It has not reached a final state."),
        Why.FILTERED: ("Niet voor deze ontvanger bestemd.", "It is not meant for this receiver."),
        Why.NEWER: ("Vervallen: er is een nieuwere stand.", "Superseded: there is a newer state."),
        Why.NOT_ALLOWED: (
            "Het serviceregister staat dat endpoint nu niet toe voor deze ontvanger en dienst.",
            "The service register does not allow that endpoint now for this receiver and dienst.",
        ),
        Why.GONE: ("Het is er niet meer.", "It is not there any more."),
        Why.NOT_HEARD: (
            "Er is niet op tijd iets van vernomen; het is nog onderweg.",
            "Nothing was heard of it in time; it is still on its way.",
        ),
    }
)

_FINAL: Final = frozenset({_D.ACKNOWLEDGED, _D.ANSWERED, _D.RETURNED, _D.ARCHIVED, _D.SUPERSEDED})
#: States of a delivery that may be pointed elsewhere.
REDIRECTABLE: Final = frozenset({_D.FAILED, _D.ROUTED, _D.POSTPONED})


@dataclass(frozen=True, slots=True, kw_only=True)
class Stand:
    """How one of a selection stands: all that the rules look at."""

    subject: Subject
    state: str
    again: bool = False  #: a message that failed as a whole and is being offered to routing again
    kept: bool = True  #: its body has not been erased
    outdated: bool = False  #: a state message, and a newer one came for the same order key and receiver


@dataclass(frozen=True, slots=True)
class Verdict:
    """What an action comes to for one of a selection: it is done; or it is superseded instead; or it is left alone, and why."""

    acts: bool = False
    supersedes: bool = False  #: never with `acts`
    why: Why | None = None


_ACTS: Final = Verdict(acts=True)
_SUPERSEDES: Final = Verdict(supersedes=True, why=Why.NEWER)


def judge(action: Action, stand: Stand) -> Verdict:
    """May this be done with it, as it stands? Whether the register allows an endpoint (redirect) is not judged here."""
    if stand.subject is Subject.REFUSAL:
        return _ACTS if action is Action.ARCHIVE else Verdict(why=Why.REFUSED)
    if not stand.kept and action is not Action.RETURN and action is not Action.ARCHIVE:
        return Verdict(why=Why.ERASED)
    why = _why_not_message(action, stand) if stand.subject is Subject.MESSAGE else _why_not_delivery(action, _D(stand.state))
    if why is not None:
        return Verdict(why=why)
    if stand.outdated and action in (Action.RETRY, Action.REDIRECT):
        return _SUPERSEDES
    return Verdict(why=Why.NEWER) if stand.outdated and action is Action.RESEND else _ACTS


def _why_not_message(action: Action, stand: Stand) -> Why | None:
    state = _M(stand.state)
    if state is _M.RECEIVED or stand.again:
        return Why.AGAIN if stand.again else Why.OPEN
    if action in (Action.REDIRECT, Action.RESEND):
        return Why.UNROUTED
    if action is Action.REOPEN:
        return None if state is _M.ARCHIVED else Why.NOT_CLOSED
    possible = (_M.FAILED, _M.ARCHIVED) if action is Action.RETURN else (_M.FAILED,)
    return None if state in possible else Why.FINISHED


def _why_not_delivery(action: Action, state: _D) -> Why | None:
    if state is _D.FILTERED:
        return Why.FILTERED
    if action is Action.RESEND:
        return None if state in _FINAL else Why.NOT_FINAL
    if action is Action.REOPEN:
        return None if state is _D.ARCHIVED else Why.NOT_CLOSED
    if action is Action.REDIRECT and state in REDIRECTABLE:
        return None
    if state is _D.FAILED or (action is Action.RETURN and state is _D.ARCHIVED):
        return None
    return Why.FINISHED if state in _FINAL else Why.OPEN


def is_doubtful(action: Action, code: str | None) -> bool:
    """Whether offering it again as it is will hardly help: by its code, another has to mend something first."""
    kind = CODES.get(code or "")
    return action is Action.RETRY and kind is not None and not kind.retry


def wants_again(code: str | None) -> bool:
    """Whether the source of something that is returned is to hand it in again, unless a person says otherwise: not what its receiver has
    already."""
    kind = CODES.get(code or "")
    return kind is None or kind.cause is not Cause.DUPLICATE


class CannotAct(Said):
    """It cannot be done; the sentence says why, and what to do instead."""


def checked_reason(text: str) -> str:
    """The reason of a person's action, which goes into the journal. Raises CannotAct for none, for one that is too long, and for one with
    what may be a personal number in it."""
    reason = " ".join(text.split())
    if not reason:
        raise CannotAct("Say why: the reason goes into the journal.", "Geef een reden: die gaat in het journaal.")
    if len(reason) > LONGEST_REASON:
        raise CannotAct(
            f"The reason has {len(reason)} characters; write at most {LONGEST_REASON}.",
            f"De reden heeft {len(reason)} tekens; schrijf er ten hoogste {LONGEST_REASON}.",
        )
    if redact(reason) != reason:
        raise CannotAct(
            "The reason has nine digits in a row, which may be a personal number: leave it out, and name the reference.",
            "In de reden staan negen cijfers achter elkaar; dat kan een persoonsgebonden nummer zijn: laat het weg, en noem de referentie.",
        )
    if plain(reason) != reason:
        raise CannotAct(
            "The reason has characters in it that cannot be shown; leave them out.",
            "In de reden staan tekens die niet te tonen zijn; laat ze weg.",
        )
    return reason


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """What an action is about: one of these three."""

    ids: tuple[str, ...] = ()  #: references, delivery_ids, MessageIDs or business ids: of a message, all that the action is for
    wanted: ItemFilter | None = None  #: what stands on the board: a group of failures, or anything else that a list can be narrowed to
    job: str | None = None  #: what an earlier job was about and did not finish: failed, left alone, or not begun; to reopen: what it closed


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What is to be done."""

    action: Action
    endpoint: str | None = None  #: redirect: id of an endpoint in the register
    deliver_again: bool | None = None  #: return: whether the source is to hand it in again, with a new business id; None: by its code


@dataclass(frozen=True, slots=True, kw_only=True)
class Preview:
    """What would happen, frozen: confirmed, it is about these and no others."""

    id: str
    order: Order
    count: int  #: selected
    digest: str  #: SHA-256 (hex) over what was selected, in order: delivery_ids, or references, a line each
    acts: int  #: with which it would be done now
    superseded: int  #: older states of which a newer one came: they become `superseded`, and are not sent
    not_possible: Mapping[Why, int] = field(default_factory=dict)
    doubtful: int = 0  #: offering these again as they are will hardly help: another must mend something first
    codes: Mapping[str, int] = field(default_factory=dict)  #: of those with which it would be done
    needs_approval: bool = False  #: of another person, because there are so many
    made_us: int
    until_us: int  #: it is forgotten then, unless it is confirmed


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """An action on a frozen selection, and how far it is."""

    id: str
    state: JobState
    order: Order
    selection: Mapping[str, object]  #: as it was asked for: for people, and without personal data
    count: int
    digest: str
    terms: Terms
    figures: Figures
    reason: str
    made_by: str
    made_us: int
    confirmed_us: int | None = None
    approved_by: str | None = None
    changed_by: str | None = None  #: who paused, resumed, cancelled it, or "" when it stopped by itself
    changed_us: int
    stopped: str | None = None  #: why it stopped by itself: code of routing.jobs.Stop, with figures in words


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What became of one of a job's messages."""

    number: int
    subject: Subject
    reference: str
    delivery: str | None
    state: str  #: routing.jobs.ItemState
    why: str | None  #: a Why, or the code with which it failed again
    at_us: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Errand:
    """One of a job's selection whose turn has come, with what is needed to find its place in the register."""

    number: int
    subject: Subject
    seq: int | None  #: the store's number of the delivery or message; None: a refusal
    receiver: str = ""
    dienst: str = ""
    versie: str = ""
    target: str = ""
    id: str = ""  #: delivery_id
    reference: str = ""  #: of a refusal
    placed: bool = True  #: it has an endpoint


@dataclass(frozen=True, slots=True)
class Done:
    """What came of it."""

    number: int
    state: ItemState
    why: str | None = None
    made: int | None = None  #: the new delivery


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a delivery may go."""

    endpoint: str
    system: Oin
    lane: str


class Actions(Protocol):
    """What the portal and the command line ask. Whether somebody may act at all, or approve, is judged before (routing.people). Each raises
    CannotAct with one sentence, or StoreUnavailable. None of them runs a job: the timetable's process does."""

    def preview(self, scope: Scope, selection: Selection, order: Order, *, who: str) -> Preview:
        """Freezes what is selected, and says what would happen."""

    def confirm(self, scope: Scope, preview: str, *, who: str, reason: str, terms: Terms, deliver_again: bool | None = None) -> Job:
        """Lets it begin, or wait for the second person. Whoever made the preview confirms it, within its time, and once. `deliver_again`:
        of a return, in place of what its order said."""

    def jobs(self, scope: Scope, *, limit: int = 50) -> list[Job]:
        """The newest first; under a scope only those that were made under the same one, or a part of it."""

    def job(self, scope: Scope, id: str) -> Job | None:
        """One of them. An unambiguous beginning of an id will do."""

    def results(self, scope: Scope, id: str, *, state: str | None = None, after: int = 0, limit: int = 100) -> list[Result]:
        """What became of its messages, page by page (`after`: the last number seen), in order."""

    def pause(self, scope: Scope, id: str, *, who: str) -> Job:
        """Nothing more is begun; what is under way goes on."""

    def resume(self, scope: Scope, id: str, *, who: str) -> Job:
        """Goes on with the rest; one that stopped by itself begins with a trial batch again."""

    def cancel(self, scope: Scope, id: str, *, who: str) -> Job:
        """The rest stays as it is, for good."""

    def approve(self, scope: Scope, id: str, *, who: str) -> Job:
        """The second person says yes. Raises CannotAct for the person that confirmed it."""

    def places(self, scope: Scope, delivery: str) -> list[Place]:
        """Where the register would let this delivery go now (for redirect)."""
