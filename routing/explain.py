"""The dry run: every decision a message would meet now, without handing it in."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from routing.decisions import Decision
from routing.mandate import judge_sender
from routing.recipients import recipients
from routing.register import Register
from schemas.contract import MessageKind
from schemas.oin import Oin


def explain(
    register: Register, kind: MessageKind, facts: Mapping[str, str], sender: Oin, receiver: Oin, system: Oin, now: datetime
) -> list[Decision]:
    """May it be sent; then for each target who gets it and, unless that already ended it, where. In the order in which they are asked.

    A sender that may not send does not end the list: somebody who sets up a school wants to see everything that is missing.
    """
    decisions = [judge_sender(register, system=system, sender=sender, kind=kind, now=now)]
    for recipient in recipients(kind, facts, receiver=receiver, register=register, now=now):
        decisions.append(recipient.decision)
        if recipient.resolution is not None:
            decisions.append(recipient.resolution.decision)
    return decisions
