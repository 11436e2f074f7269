"""The dry run: every decision a message would meet now, without handing it in."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime

from routing.decisions import Decision, decide
from routing.mandate import judge_sender
from routing.recipients import recipients
from routing.register import Endpoint, Register
from routing.resolver import resolve
from schemas.contract import MessageKind
from schemas.oin import Oin, institution_of


def explain(
    register: Register, kind: MessageKind, facts: Mapping[str, str], sender: Oin, receiver: Oin, system: Oin, now: datetime
) -> list[Decision]:
    """May it be sent; then for each target who gets it and, unless that already ended it, where. In the order in which they are asked.

    A sender that may not send does not end the list: somebody who sets up a school wants to see everything that is missing.
    """
    decisions = [judge_sender(register, system=system, sender=sender, kind=kind, now=now)]
    if not kind.carried:
        return [*decisions, not_carried(register, kind)]
    for recipient in recipients(kind, facts, receiver=receiver, register=register, now=now):
        decisions.append(recipient.decision)
        if recipient.resolution is not None:
            decisions.append(recipient.resolution.decision)
    return decisions


def explain_between(
    register: Register, kinds: Sequence[MessageKind], sender: Oin, receiver: Oin, now: datetime, *, system: Oin | None = None
) -> list[Decision]:
    """The same without a message: may a kind of one dienst version be sent for `sender`, by this system or by each that it mandated; and
    where does what is for `receiver` go. `kinds` has at least one; the first that the sender's roles allow is asked about."""
    kind = kind_for(register, kinds, sender)
    systems = [system] if system else _systems(register, sender, kind.dienst)
    decisions = [judge_sender(register, system=one, sender=sender, kind=kind, now=now) for one in systems]
    where = resolve(register, receiver=receiver, dienst=kind.dienst, versie=kind.versie, now=now)
    if where.endpoint is None or kind.carried:
        return [*decisions, where.decision]
    return [*decisions, directly(register, where.endpoint, where.decision)]


def kind_for(register: Register, kinds: Sequence[MessageKind], sender: Oin) -> MessageKind:
    """Of these kinds (there is at least one) the first that the sender's roles allow; else the first."""
    organisation = register.organisation(institution_of(sender))
    roles = set(organisation.roles) if organisation else set()
    return next((kind for kind in kinds if not kind.senders or roles.intersection(kind.senders)), kinds[0])


def not_carried(register: Register, kind: MessageKind) -> Decision:
    """Why a message of this kind is not taken in: its dienst runs between the systems themselves."""
    return decide("not-carried", register.version, {"dienst": kind.dienst, "versie": kind.versie})


def directly(register: Register, endpoint: Endpoint, decision: Decision) -> Decision:
    """The decision for an endpoint, in words of one who goes there itself; a mailbox here is no place to go to."""
    if endpoint.url is None:
        return decide("peer-to-peer-mailbox", register.version, decision.inputs, decision.candidates)
    return decide("peer-to-peer", register.version, {**decision.inputs, "url": endpoint.url}, decision.candidates)


def _systems(register: Register, sender: Oin, dienst: str) -> Iterable[Oin]:
    """Whoever ever acted for it, and itself where it connects itself or nobody does: then the answer says what is missing."""
    institution = institution_of(sender)
    mandated = [row.system for row in register.mandates_of(institution, dienst)]
    itself = [institution] if register.system(institution) is not None or not mandated else []
    return dict.fromkeys([*mandated, *itself])
