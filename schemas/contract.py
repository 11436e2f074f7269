"""The contract of a dienst version as data: what `dienst.toml` says about each message kind (design section 6)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """One condition of a recipient's filter, on one fact of the content. Exactly one of the tests is set; all conditions must hold."""

    fact: str
    present: bool | None = None  #: the fact stands in the message (True) or does not (False)
    equals: str | None = None  #: its value is exactly this; a boolean fact is "true" or "false"
    below: int | None = None  #: its value, a whole number, is less than this
    reason_nl: str  #: why a message that fails this condition is not for this recipient
    reason_en: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RecipientRule:
    """Who gets a message, and on what conditions. Each target has its own filter, delivery and outcome."""

    target: str  #: the name of this target in decisions and outcomes, such as "woongemeente"
    rule: str  #: `addressed` (wsa:To), `role` (the one organisation with that role), `brin` or `gemeente` (the organisation a fact names)
    role: str | None = None
    fact: str | None = None
    when: tuple[Condition, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class SequenceRule:
    """Messages with one key carry rising numbers and a status; which status may follow which."""

    key: str  #: fact that names the stream, such as ketenId
    number: str  #: fact with the rising number
    status: str  #: fact with the status
    first: tuple[str, ...]  #: statuses a stream may start with
    follows: Mapping[str, tuple[str, ...]]  #: status -> statuses that may come directly after it


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One content rule, applied to one fact; a fact that is absent is not judged, unless the rule is about absence."""

    rule: str  #: its name in schemas.rules.RULES
    fact: str
    other: str | None = None  #: the fact it is compared with, for rules that compare


@dataclass(frozen=True, slots=True, kw_only=True)
class Age:
    """An age in whole years, computed from two facts that are dates."""

    birth: str
    on: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LawDay:
    """The day by which a date of the law counts a message (the portal's calendar)."""

    fact: str  #: the day, yyyy-mm-dd
    only: Mapping[str, str]  #: facts and the values they must have for the law to count it; all of them


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageKind:
    """One kind of message of a dienst version."""

    dienst: str
    versie: str
    namespace: str  #: namespace URI of the dienst version; its key in the service register
    name: str  #: the root element's local name, such as mboGangerBericht
    action: str  #: wsa:Action
    senders: tuple[str, ...]  #: roles of the organisations that may send it; empty: any organisation
    to: str  #: what a sender writes in To: `hub` (the backbone's own OIN) or `receiver` (OIN or routeringskenmerk of the final receiver)
    recipients: tuple[RecipientRule, ...]
    facts: Mapping[str, str] = field(
        default_factory=dict
    )  #: fact name -> paths of local names below the root, such as "kop/brin"; "a|b": whichever of the two stands there
    business_id: str | None  #: name of the fact that is the identificatiecodeBedrijfsdocument
    subject: tuple[str, ...]  #: names of the facts that may hold the pupil's personal number (only keyed hashes of it are kept)
    order_key: tuple[str, ...]  #: names of the facts that together are the order key; empty: no order
    idempotent: bool = True  #: a receiver that gets it twice does the work once, so one that did not answer is asked again
    newest_replaces: bool = False  #: a state message: a newer one makes older unsent ones superseded
    sequence: SequenceRule | None = None
    defaults: Mapping[str, str] = field(default_factory=dict)  #: fact name -> its value when the message leaves it out
    ages: Mapping[str, Age] = field(default_factory=dict)  #: fact name -> the age that is computed for it
    law_day: LawDay | None = None  #: kept readable beside the sealed content: name no fact that says who it is about
    checks: tuple[Check, ...] = ()  #: content rules beyond the XSD, see schemas.rules
    deliver_within: timedelta  #: counted from hand-in; after it an undelivered or waiting delivery has failed
    fetch_within: timedelta  #: for mailboxes: counted from delivery into the mailbox; a day, unless the contract says otherwise
    retention: timedelta  #: how long the body is kept after the last delivery ended
    send_from: str | None = None  #: sending window of a school year, first day, as MM-DD, in Europe/Amsterdam; outside it: a warning
    send_until: str | None = None  #: last day, itself included, as MM-DD
    send_year: str | None = None  #: fact with the school year, such as 2026-2027, whose window it is
    answered_by: str | None = None  #: wsa:Action of the kind that must come back from each receiver (in the file also its name)
    answer_within: timedelta | None = None  #: counted from delivery; after it a delivery without an answer has failed
    answers: str | None = None  #: fact that names the message this one answers, by its identificatiecodeBedrijfsdocument
    answered: tuple[str, ...] = ()  #: wsa:Actions of the kinds it answers; not in the file: found when all contracts are loaded

    carried: bool = True  #: whether we take it in; not in the file: not where `peer_to_peer` of its contract is "where"

    @property
    def passes_through(self) -> bool:
        """Whether the sender names the final receiver, so that its bytes may travel untouched."""
        return self.to == "receiver"


@dataclass(frozen=True, slots=True, kw_only=True)
class Contract:
    """A dienst version: its folder, and its message kinds by action."""

    dienst: str
    versie: str
    namespace: str
    name: str  #: in Dutch, for people
    folder: Path
    xsd: Path
    kinds: Mapping[str, MessageKind]
    personal_data: bool = True
    profile: str = "2W-be-S"  #: of Digikoppeling WUS; `2W-be`: over HTTPS a message need not be signed, and answers are not (WB011)
    peer_to_peer: str | None = None  #: it runs between two systems, each mandated by its school: `where`: we only say where the other
    #: one receives; `carry`: we also carry the messages. None: it does not
    rest: bool = False  #: whether it may be handed in over REST, where no message is signed and TLS is the identity

    @property
    def signed(self) -> bool:
        """Whether messages and answers over WUS must be signed."""
        return self.profile == "2W-be-S"
