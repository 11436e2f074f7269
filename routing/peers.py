"""Peer to peer: where the system of another school takes a message that goes there directly (domain facts 1.6, pattern 2).

Both systems must be mandated by their schools: the one that asks is judged as a sender, the other as a receiver, by the code that routes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from routing.decisions import Decision
from routing.explain import directly, kind_for
from routing.mandate import judge_sender
from routing.readiness import check
from routing.register import Endpoint, Register
from routing.resolver import resolve
from schemas.contract import Contract, MessageKind
from schemas.oin import Oin


@dataclass(frozen=True, slots=True)
class Where:
    """The answer. `endpoint`: where it is delivered, when both may; without a URL it is a mailbox here, and only we can carry it there."""

    sender: Decision
    receiver: Decision
    endpoint: Endpoint | None


def where(register: Register, contract: Contract, *, system: Oin, sender: Oin, receiver: Oin, now: datetime) -> Where:
    """Where `system` delivers what it sends for `sender` to `receiver` (an organisation or routeringskenmerk), in a dienst that is peer to
    peer."""
    kinds: Sequence[MessageKind] = tuple(contract.kinds.values())
    may = judge_sender(register, system=system, sender=sender, kind=kind_for(register, kinds, sender), now=now)
    found = resolve(register, receiver=receiver, dienst=contract.dienst, versie=contract.versie, now=now)
    endpoint, decision = found.endpoint, found.decision
    if endpoint is not None and (endpoint.url is not None or contract.peer_to_peer == "where"):
        decision = directly(register, endpoint, decision)
        endpoint = endpoint if decision.outcome == "yes" else None
    return Where(may, decision, endpoint if may.outcome == "yes" else None)


def to_dict(contract: Contract, found: Where) -> dict[str, Any]:
    """As JSON has it."""
    endpoint = found.endpoint
    return {
        "dienst": contract.dienst,
        "versie": contract.versie,
        "carried": contract.peer_to_peer == "carry",
        "register_version": found.receiver.register_version,
        "url": endpoint.url if endpoint else None,
        "system": endpoint.system if endpoint else None,
        "address": endpoint.address if endpoint else None,
        "until": endpoint.until.isoformat() if endpoint and endpoint.until else None,
        "endpoint": check(found.receiver),
    }
