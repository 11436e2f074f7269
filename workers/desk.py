"""The desk: one hand-in is judged, whichever way it came. Identification, authentication, authorisation, content, in that order.

Nothing here touches store or broker: it gives a `NewMessage` or a `NewRefusal`, and the store decides about duplicates.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from routing.answers import answer_in
from routing.decisions import decide
from routing.explain import not_carried
from routing.mandate import DecisionCache
from routing.ports import Incoming, JudgeStep, Vault, Verifier
from routing.register import Register
from routing.register_asked import RegisterAway
from routing.work import Answer, NewMessage, NewRefusal, RecordedDecision, StreamStep
from schemas.content import Content, read_content
from schemas.contract import MessageKind
from schemas.contracts import Contracts
from schemas.envelope import Envelope
from schemas.faults import Fault, NotAllowed, Owner, Refused
from schemas.ids import new_id
from schemas.oin import Oin, institution_of
from schemas.privacy import plain, redact
from schemas.rules import Judgement, judge_sequence
from workers.clock import Clock, micros
from workers.register_cache import Records

#: Over AMQP; larger messages come over HTTPS (design section 4).
AMQP_LIMIT: Final = 1024 * 1024
#: Without Expires a Timestamp is good for this long, and clocks may differ by the skew (facts 3.5).
MAX_AGE: Final = timedelta(minutes=10)
SKEW: Final = timedelta(minutes=5)
#: `json.dumps` with options makes such an encoder anew each time, for as much again.
_JSON: Final = json.JSONEncoder(separators=(",", ":")).encode


@dataclass(frozen=True, slots=True, kw_only=True)
class Hints:
    """What the channel says of a hand-in that cannot be read: never trusted, only echoed so that a sender recognises its receipt."""

    message_id: str | None = None
    look: Callable[[], str | None] | None = None  #: tells it when it is needed; for a channel that must read the message for it


_MESSAGE_ID: Final = re.compile(r"(urn:uuid:|uuid:)?[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}\Z")


def named(incoming: Incoming) -> str | None:
    """The MessageID that the properties of a hand-in name, as it may be stored and shown: a sender may put anything there."""
    said = (incoming.correlation_id or incoming.message_id or "")[:100]
    return (said if _MESSAGE_ID.match(said) else plain(redact(said))[:100]) or None


class Desk:
    """Judges hand-ins with one verifier, one set of contracts, one vault."""

    def __init__(self, *, verifier: Verifier, contracts: Contracts, vault: Vault, own_oins: Collection[str], clock: Clock) -> None:
        self._verifier, self._contracts, self._vault, self._own, self._clock = verifier, contracts, vault, frozenset(own_oins), clock
        self._senders = DecisionCache()
        self._record = Records()
        self._signatures: dict[tuple[int, Oin, str], RecordedDecision] = {}

    def judge(
        self,
        raw: bytes,
        *,
        system: Oin,
        register: Register,
        via: str,
        hints: Hints,
        fault: Fault | None = None,
        redelivered: bool = False,
        question: Callable[[Envelope], None] | None = None,
        unsigned: bool = False,
        unfit: Fault | None = None,
        explain: bool = True,
    ) -> NewMessage | NewRefusal:
        """What this hand-in is to become. `system` is the party the channel was opened by: certificate or AMQP user. `fault`: what
        the channel already found wrong with it. `redelivered`: somebody may have taken it in before and died. `question`: what the
        channel itself asks of a verified envelope; it raises a Fault. Raises NotAsked, and RegisterAway while another register that must
        be asked does not answer. `unsigned`: the system's certificate on the channel will do.
        `unfit`: what the channel found wrong with the content; told only to who may send it. Without `explain`, raises Unexplained
        (schemas.content) for content that does not fit its XSD."""
        now = self._clock.now()
        reference = new_id()
        envelope: Envelope | None = None
        kind: MessageKind | None = None
        decisions: list[RecordedDecision] = []
        try:
            if fault:
                raise fault
            envelope = self._verifier.verify(raw, at=now, connected=system if unsigned else None)
            if question:
                question(envelope)
            signed_by(envelope, system)
            decisions.append(self._signed(register.version, system, "signature-good" if envelope.signed else "connection-good"))
            kind = self._contracts.kind(envelope.action)
            decision = self._senders.judge_sender(register, system=system, sender=envelope.sender, kind=kind, now=now)
            if decision.outcome == "wait":  # nobody can say so now: it is neither taken in nor refused
                raise RegisterAway.of(decision.inputs)
            decisions.append(self._record(decision))
            if decision.outcome != "yes":
                raise NotAllowed(decision.code or "Client.DK0002", decision.text_en, where="wsa:From", owner=decision.owner)
            if not kind.carried:
                decisions.append(self._record(not_carried(register, kind)))
                raise Refused("PEER_TO_PEER", f"{kind.dienst} version {kind.versie} is not carried here", where="wsa:Action")
            if kind.to == "hub" and envelope.receiver not in self._own:
                raise Refused(
                    "Client.DK0011", f"{kind.name} is addressed to the hub: wsa:To must name {sorted(self._own)[0]}", where="wsa:To"
                )
            if unfit:
                raise unfit
            content = read_content(
                envelope.content,
                action=envelope.action,
                sender=envelope.sender,
                receiver=envelope.receiver,
                contracts=self._contracts,
                now=now,
                explain=explain,
            )
            answer = answer_in(content, envelope) if kind.answers else None
        except Fault as fault:
            return refusal(
                fault,
                reference=reference,
                at=now,
                digest=hashlib.sha256(raw).digest(),
                via=via,
                system=system,
                sender=envelope.sender if envelope else None,
                message_id=envelope.message_id if envelope else hints.look() if hints.look else hints.message_id,
                kind=kind,
                decisions=decisions,
                redelivered=redelivered,
            )
        return as_message(
            envelope,
            content,
            reference=reference,
            system=system,
            register=register,
            vault=self._vault,
            via=via,
            at=now,
            decisions=tuple(decisions),
            redelivered=redelivered,
            answer=answer,
        )

    def _signed(self, version: int, system: Oin, rule: str) -> RecordedDecision:
        """The same record for every good signature of one system."""
        known = self._signatures.get((version, system, rule))
        if known is None:
            if len(self._signatures) >= 10_000:
                self._signatures.clear()
            known = self._signatures[version, system, rule] = self._record(decide(rule, version, {"system": str(system)}))
        return known


def as_message(
    envelope: Envelope,
    content: Content,
    *,
    reference: str,
    system: Oin,
    register: Register,
    vault: Vault,
    via: str,
    at: datetime,
    decisions: tuple[RecordedDecision, ...],
    redelivered: bool = False,
    answer: Answer | None = None,
) -> NewMessage:
    """What was judged and found good, as it is stored."""
    kind, index, step = content.kind, vault.index, content.sequence
    return NewMessage(
        reference=reference,
        sender=envelope.sender,
        system=system,
        receiver=envelope.receiver,
        message_id=envelope.message_id,
        business_id=content.business_id,
        address=envelope.to,
        action=envelope.action,
        dienst=kind.dienst,
        versie=kind.versie,
        bericht=kind.name,
        order_key=index(f"order {kind.dienst} {kind.name} {content.order_key}") if content.order_key else None,
        subject=index(f"subject {content.subject}") if content.subject else None,
        digest=content_digest(envelope),
        received_us=micros(at),
        created_us=micros(envelope.created),
        expires_us=micros(envelope.expires) if envelope.expires else None,
        stale=not envelope.signed or not timestamp_good(envelope, at),
        via=via,
        size=len(envelope.xml),
        warnings=(*content.warnings, *unknown_receiver(kind, envelope.receiver, register)),
        register_version=register.version,
        sealed=vault.seal(reference, envelope.xml, _JSON(content.facts).encode()),
        decisions=decisions,
        step=StreamStep(key=index(f"stream {kind.dienst} {envelope.sender} {step.key}"), number=step.number, status=step.status)
        if step
        else None,
        answer=answer,
        law_day=content.law_day,
        replaces=content.facts.get("vervangtBedrijfsdocument", "").lower() or None,
        redelivered=redelivered,
    )


def refusal(
    fault: Fault,
    *,
    reference: str,
    at: datetime,
    digest: bytes,
    via: str,
    system: Oin,
    sender: Oin | None,
    message_id: str | None,
    kind: MessageKind | None = None,
    decisions: Sequence[RecordedDecision] = (),
    redelivered: bool = False,
) -> NewRefusal:
    """A hand-in that was refused, as it is stored. `digest`: SHA-256 of its bytes."""
    return NewRefusal(
        reference=reference,
        at_us=micros(at),
        code=fault.code,
        owner=str(fault.owner),
        reason=str(fault),
        digest=digest,
        via=via,
        system=system,
        sender=sender,
        message_id=message_id,
        dienst=kind.dienst if kind else None,
        bericht=kind.name if kind else None,
        details=fault.details,
        decisions=tuple(decisions),
        redelivered=redelivered,
    )


def step_judge(contracts: Contracts) -> JudgeStep:
    """The contracts' word on a message that follows another in its stream."""

    def judge(action: str, _versie: str, last: StreamStep | None, step: StreamStep) -> Judgement:
        rule = contracts.kind(action).sequence
        return judge_sequence(rule, last, step) if rule else Judgement()

    return judge


def signed_by(envelope: Envelope, system: Oin) -> None:
    """Raises NotAllowed when a message was signed by another system than the one that hands it in; an unsigned one has no other."""
    if envelope.certificate_oin != system:
        raise NotAllowed(
            "Client.DK0002",
            f"the message was signed by system {envelope.certificate_oin}, but handed in by {system}: hand in what you signed yourself",
            where="BinarySecurityToken",
            owner=Owner.SUPPLIER,
        )


def unknown_receiver(kind: MessageKind, receiver: Oin, register: Register) -> tuple[str, ...]:
    """A warning when the sender itself chose the receiver and the register has none of that OIN; routing would say so later."""
    if register.organisation(institution_of(receiver)) or not any(rule.rule == "addressed" for rule in kind.recipients):
        return ()
    return (f"De ontvanger {receiver} staat niet in het serviceregister. / The receiver {receiver} is not in the service register.",)


def timestamp_good(envelope: Envelope, now: datetime) -> bool:
    """Whether a receiver that looks at `now` would accept the Timestamp as it is (facts 3.5).

    By differences: the sender chose the times, and a sum with the last second of the year 9999 does not exist.
    """
    if envelope.created - now > SKEW:
        return False
    return now - envelope.expires <= SKEW if envelope.expires else now - envelope.created <= MAX_AGE + SKEW


def content_digest(envelope: Envelope) -> bytes:
    """What makes two hand-ins the same (rule 2): content, To and Action; not Timestamp, token or signature, which a retry renews."""
    return hashlib.sha256(b"\0".join((envelope.to.encode(), envelope.action.encode(), envelope.canonical_content()))).digest()
