"""What mailboxes and endpoints have in common: may it go there now, where else, and what one attempt came to (rule 4)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any

from routing.amsterdam import amsterdam_day
from routing.decisions import Decision
from routing.mandate import judge_receiver, judge_standing
from routing.register import Endpoint, Register
from routing.register_asked import RegisterAway
from routing.resolver import may_pass_on, resolve
from routing.work import MAYBE_SENT, NOT_SENT, Claimed, RecordedDecision, Settlement
from schemas.contract import MessageKind
from schemas.faults import kind_of
from schemas.oin import Oin
from workers.asking import decide_each
from workers.clock import micros, moment
from workers.loop import Worker

Place = tuple[str, str, str, str | None]


def place_of(one: Claimed) -> Place:
    """The endpoint, the system it was, the lane (mailbox or URL), and for whom."""
    return (one.endpoint, one.receiver_system, one.lane, one.receiver)


def endpoint_there(register: Register, id: str) -> Endpoint | None:
    """The endpoint with this id; None where it is not, or cannot be asked for now: then `elsewhere` says which, and it waits."""
    try:
        return register.endpoint(id) if id else None
    except RegisterAway:
        return None


async def strange_places(worker: Worker, claimed: Sequence[Claimed], register: Register, now: datetime) -> set[Place]:
    """Places to which these deliveries may not go now, or that are not what they were. Raises Stopping."""
    places = list({place_of(one) for one in claimed})
    judged = await decide_each(worker, "judge", places, lambda place: is_strange(place, register, now))
    return {place for place, strange in zip(places, judged, strict=True) if strange}


def is_strange(place: Place, register: Register, now: datetime) -> bool:
    """Whether nothing may go there now, or it is not what it was."""
    id, system, lane, receiver = place
    endpoint = endpoint_there(register, id)
    if endpoint is None or endpoint.lane != lane:
        return True
    return judge_receiver(register, id, now, system=system, receiver=receiver).outcome != "yes"


def elsewhere(one: Claimed, register: Register, now: datetime, record: Callable[[Decision], RecordedDecision]) -> Settlement:
    """The endpoint or its mandate is gone: the successor for the same receiver gets it; without one it waits, with an owner."""
    found = resolve(register, receiver=Oin(one.receiver), dienst=one.dienst, versie=one.versie, now=now)
    decision, endpoint = found.decision, found.endpoint
    decisions = (record(decision),)
    why: dict[str, Any]
    if decision.outcome == "no" and may_pass_on(register, one.receiver, amsterdam_day(now)):  # the timetable finds out to whom
        why = {"hold_code": decision.code, "owner": str(decision.owner), "reason": decision.text_nl}
        return settled(one, "routed", now, register, decisions=decisions, **why)
    if decision.outcome == "no":
        why = {"code": decision.code, "owner": str(decision.owner), "reason": decision.text_nl}
        return settled(one, "failed", now, register, decisions=decisions, **why)
    if endpoint is None:
        why = {"hold_code": decision.code, "owner": str(decision.owner), "reason": decision.text_nl}
        return settled(one, "routed", now, register, decisions=decisions, **why)
    to: dict[str, Any] = {"endpoint": endpoint.id, "lane": endpoint.lane, "receiver_system": endpoint.system}
    return settled(one, "routed", now, register, decisions=decisions, **to)


def revoked_since(
    one: Claimed, kind: MessageKind, register: Register, now: datetime, record: Callable[[Decision], RecordedDecision]
) -> Settlement | None:
    """It failed, if its sender's mandate was revoked at once since the hand-in; None: it may go on."""
    sender, system = Oin(one.sender), Oin(one.system)
    standing = judge_standing(register, system=system, sender=sender, kind=kind, received_at=moment(one.received_us), now=now)
    if standing.outcome == "yes":
        return None
    why: dict[str, Any] = {"code": standing.code, "owner": str(standing.owner), "reason": standing.text_nl}
    return settled(one, "failed", now, register, decisions=(record(standing),), **why)


def erased(one: Claimed, register: Register, now: datetime) -> Settlement:
    """Its body is gone: there is nothing left to deliver."""
    return settled(one, "failed", now, register, code="DEADLINE_PASSED", reason="the body has been erased")


def settled(
    one: Claimed, state: str, at: datetime, register: Register, *, took_us: int = 0, envelope: str | None = None, **rest: Any
) -> Settlement:
    """What one attempt came to; `rest`: further fields of a Settlement. The owner is the code's, unless named. Without an `envelope` it
    brought nothing to the receiver."""
    if envelope is None:
        envelope = MAYBE_SENT if one.taken_over else NOT_SENT
    if rest.get("code") and "owner" not in rest:
        rest["owner"] = str(kind_of(rest["code"]).owner)
    return Settlement(
        claimed=one, state=state, at_us=micros(at), took_us=took_us, register_version=register.version, envelope=envelope, **rest
    )
