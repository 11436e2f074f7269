"""Repairs by people: what failed is offered again, with the same ids, and the journal says who did it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from adapters.store.acts import NUDGE, Act, supersede_outdated
from adapters.store.database import Database
from adapters.store.rows import Row, event_row, ids_of, write_events
from adapters.store.sql import Sql
from routing.actions import Action, Order
from schemas.events import Event

_DELIVERIES_AGAIN: Final = Sql(
    "UPDATE delivery SET state = 'released', release = release + 1, claim = NULL, claim_until_us = NULL, code = NULL, owner = NULL, "
    "reason = NULL, hold_code = NULL, at_us = :now "
    "WHERE state = 'failed' AND message_seq = :seq AND (lane IS NULL OR lane NOT LIKE 'push %') RETURNING id, receiver, receiver_system"
)
#: To an endpoint it goes as everything else does, when the relay lets it: in order, in the window, and not while somebody holds the lane.
#: (By way of `released`: the lifecycle knows no shorter one.) Its deadline may be over; whoever offers it again gives it another day.
_PUSH_AGAIN: Final = Sql(
    "UPDATE delivery SET state = 'released', claim = NULL, claim_until_us = NULL, code = NULL, owner = NULL, reason = NULL, "
    "hold_code = NULL, not_before_us = 0, at_us = :now, deadline_us = CASE WHEN deadline_us < :day THEN :day ELSE deadline_us END "
    "WHERE state = 'failed' AND message_seq = :seq AND lane LIKE 'push %' RETURNING seq, id, receiver, receiver_system"
)
_TO_RELAY: Final = Sql("UPDATE delivery SET state = 'routed' WHERE seq IN @seqs AND state = 'released'")
_DAY_US: Final = 86_400_000_000
#: It stays `failed` until it is routed: that is the move the lifecycle allows. Without a code it is found and routed (tables.AGAIN).
_MESSAGE_AGAIN: Final = Sql("UPDATE message SET release = release + 1, code = NULL, owner = NULL WHERE seq = :seq AND state = 'failed'")
_MESSAGE: Final = Sql(
    "SELECT seq, state, code, kept, receiver, reference, message_id, business_id, system, sender, dienst, versie, bericht FROM message "
    "WHERE reference = :reference"
)
_STATES: Final = Sql("SELECT state, count(*) AS n FROM delivery WHERE message_seq = :seq GROUP BY state ORDER BY state")
_REFUSAL: Final = Sql("SELECT code FROM refusal WHERE reference = :reference")
_FAILED: Final = Sql("SELECT seq FROM delivery WHERE message_seq = :seq AND state = 'failed' AND order_key IS NOT NULL ORDER BY seq")
_UNREAD: Final = Sql("SELECT 1 FROM counter a, counter b WHERE a.name = 'newest' AND b.name = 'newest_until' AND a.value < b.value")

_UNCERTAIN: Final = Sql(
    "SELECT d.seq, d.id, d.state, d.code, d.receiver, d.receiver_system, m.reference, m.message_id, m.business_id, m.system, m.sender, "
    "m.dienst, m.versie, m.bericht FROM delivery d JOIN message m ON m.seq = d.message_seq "
    "WHERE m.reference = :reference AND (d.id = :id OR :id = '') ORDER BY d.seq"
)
_ARRIVED: Final = Sql(
    "UPDATE delivery SET state = 'delivered', code = NULL, owner = NULL, reason = NULL, delivered_us = :now, at_us = :now "
    "WHERE seq = :seq AND state = 'uncertain' RETURNING seq"
)
_ACKNOWLEDGED: Final = Sql("UPDATE delivery SET state = 'acknowledged' WHERE seq = :seq AND state = 'delivered'")
_LOST: Final = Sql(
    "UPDATE delivery SET state = 'failed', owner = 'us', at_us = :now WHERE seq = :seq AND state = 'uncertain' RETURNING seq"
)


class CannotRetry(Exception):
    """There is nothing of it to be offered again; the text is one sentence that says why, and what to do instead."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Retried:
    """What is offered again."""

    message: bool  #: the whole of it, to routing: it had failed before anybody was found to deliver it to
    deliveries: int  #: to their receivers, with the same ids
    superseded: int = 0  #: not offered again, because a newer state came since


class Repair:
    """The store's side of `retry` and `resolve`."""

    def __init__(self, database: Database) -> None:
        self._db = database

    def retry(self, reference: str, *, actor: str, now_us: int, reason: str = "") -> Retried:
        """Offers again what has failed of one message: the message as a whole to routing, or its failed deliveries to their receivers.
        What is an older state than one that came since becomes superseded instead. The relay publishes the tickets within a second.
        `reason`: for the journal. Raises CannotRetry."""
        why = {"why": reason} if reason else {}
        with self._db.write() as tx:
            message = _MESSAGE(tx, reference=reference).first()
            if message is None:
                raise CannotRetry(_no_message(reference, _REFUSAL(tx, reference=reference).scalar()))
            if not message.kept:
                raise CannotRetry(f"The body of {reference} was erased at the end of its retention: there is nothing left to offer again.")
            if message.state == "failed":
                if message.code is None:
                    raise CannotRetry(f"{reference} is being offered to routing again already; see what comes of it with `message`.")
                _MESSAGE_AGAIN(tx, seq=message.seq)
                events = [_retried(message, actor, now_us, receiver=message.receiver, details={"failed": message.code} | why)]
                done = Retried(message=True, deliveries=0)
            else:
                ordered = _FAILED(tx, seq=message.seq).scalars().all()
                if ordered and _UNREAD(tx).first() is not None:
                    raise CannotRetry("After the upgrade it is still being read which states are the newest: try again in some minutes.")
                act = Act(order=Order(action=Action.RETRY), actor=actor, reason=reason, job="", now_us=now_us)
                superseded = len(supersede_outdated(self._db, tx, act, ordered))
                rows = list(_DELIVERIES_AGAIN(tx, seq=message.seq, now=now_us).all())
                pushed = _PUSH_AGAIN(tx, seq=message.seq, now=now_us, day=now_us + _DAY_US).all()
                _TO_RELAY(tx, seqs=[row.seq for row in pushed])
                rows += pushed
                if not rows and not superseded:
                    raise CannotRetry(_nothing_failed(message, _STATES(tx, seq=message.seq).all()))
                events = [
                    _retried(
                        message, actor, now_us, r.receiver, delivery=r.id, receiver_system=r.receiver_system, state="released", details=why
                    )
                    for r in rows
                ]
                done = Retried(message=False, deliveries=len(rows), superseded=superseded)
            write_events(tx, events)
            NUDGE(tx, value=str(now_us))
            return done

    def resolve(self, reference: str, *, delivery: str, arrived: bool, actor: str, now_us: int) -> int:
        """Records what the receiver said of deliveries of which nobody knew whether they arrived (WB013): all of the message's, or the one
        named. Arrived: finished. Not: failed, and `retry` may offer it again. Returns how many. Raises CannotRetry when none is."""
        with self._db.write() as tx:
            rows = _UNCERTAIN(tx, reference=reference, id=delivery).all()
            events: list[Row] = []
            for row in rows:
                if row.state != "uncertain" or (_ARRIVED if arrived else _LOST)(tx, seq=row.seq, now=now_us).first() is None:
                    continue
                if arrived:
                    _ACKNOWLEDGED(tx, seq=row.seq)
                events.append(_resolved(row, arrived, actor, now_us))
            if not events:
                stand = ", ".join(f"{row.id} is {row.state}" for row in rows) or "it has no such delivery"
                raise CannotRetry(f"Nothing of {reference} is uncertain: {stand}.")
            write_events(tx, events)
            return len(events)


def _resolved(row: Any, arrived: bool, actor: str, now_us: int) -> Row:
    state = "acknowledged" if arrived else "failed"
    ending = {} if arrived else {"code": row.code, "owner": "us"}
    happened = Event(
        kind=state,
        at_us=now_us,
        actor=actor,
        delivery=row.id,
        receiver=row.receiver,
        receiver_system=row.receiver_system,
        state=state,
        details={"resolved": row.code or ""},
        **ending,
        **ids_of(row),
    )
    return event_row(happened, tell=row.system)


def _retried(message: Any, actor: str, now_us: int, receiver: str, **more: Any) -> Row:
    return event_row(Event(kind="retried", at_us=now_us, actor=actor, receiver=receiver, **more, **ids_of(message)))


def _no_message(reference: str, refused: str | None) -> str:
    if refused is None:
        return f"There is no message {reference[:60]}."
    return (
        f"{reference} was refused at hand-in ({refused}) and its body not kept, so it cannot be offered again: "
        "its sender must mend it and hand it in again."
    )


def _nothing_failed(message: Any, deliveries: Sequence[Any]) -> str:
    stand = ", ".join(f"{row.n} {row.state}" for row in deliveries) or "none yet"
    return f"Nothing of {message.reference} has failed: the message is {message.state}, its deliveries are: {stand}."
