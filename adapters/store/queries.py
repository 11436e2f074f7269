"""Reading for people: what is open, what fell out, one message's timeline, and counts."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from sqlalchemy import ColumnElement, Connection, Text, and_, case, cast, func, null, or_, select, text, union_all

from adapters.store.database import Database
from adapters.store.tables.deliveries import answer, attempt, delivery
from adapters.store.tables.journal import failure_group
from adapters.store.tables.messages import AGAIN, message, refusal, used_id
from adapters.store.waits import explained
from routing.work import OutboxFilter
from schemas.lifecycle import UNFINISHED


class Queries:
    """Read-only questions."""

    def __init__(self, database: Database) -> None:
        self._db = database

    def outbox(self, wanted: OutboxFilter) -> list[dict[str, Any]]:
        """Deliveries that are not finished, or whose answer is awaited (or in the state asked for), oldest first; messages not routed yet
        among them."""
        conditions: list[ColumnElement[bool]] = [delivery.c.state == wanted.state if wanted.state else _OPEN]
        unrouted: list[ColumnElement[bool]] = [
            and_(message.c.state == wanted.state, message.c.state.in_(("received", "failed")))
            if wanted.state
            else or_(message.c.state == "received", _AGAIN)
        ]
        for clauses in (conditions, unrouted):
            if wanted.dienst:
                clauses.append(message.c.dienst == wanted.dienst)
            if wanted.before_us:
                clauses.append(message.c.received_us < wanted.before_us)
            if wanted.party:
                sides = [message.c.sender == wanted.party, message.c.system == wanted.party]
                sides += [delivery.c.receiver == wanted.party, delivery.c.receiver_system == wanted.party] if clauses is conditions else []
                clauses.append(or_(*sides))
        rows = (
            select(
                *_ROW,
                delivery.c.id,
                delivery.c.target,
                delivery.c.state,
                delivery.c.receiver,
                delivery.c.receiver_system,
                delivery.c.attempts,
                *_WHY,
                delivery.c.deadline_us,
            )
            .join(delivery, delivery.c.message_seq == message.c.seq)
            .where(and_(*conditions))
            .order_by(delivery.c.seq)
            .limit(wanted.limit)
        )
        early = (
            select(*_ROW, message.c.state, message.c.receiver, message.c.code, message.c.owner)
            .where(and_(*unrouted))
            .order_by(message.c.seq)
            .limit(wanted.limit)
        )
        with self._db.read() as connection:
            found = explained(connection, (row._mapping for row in connection.execute(rows)))
            for row in found:
                held = row.pop("hold_code")
                row["code"] = row["code"] or held
                del row["lane"], row["at_us"]
            found += [dict(row._mapping) for row in connection.execute(early)]
        return sorted(found, key=lambda row: row["received_us"])[: wanted.limit]

    def failures(self, limit: int = 200) -> list[dict[str, Any]]:
        """What fell out, newest first: refused hand-ins, failed messages and failed deliveries."""
        columns = ("at_us", "reference", "system", "sender", "receiver", "dienst", "bericht", "code", "owner", "reason")
        refused = select(
            refusal.c.at_us,
            refusal.c.reference,
            refusal.c.system,
            refusal.c.sender,
            _none("receiver"),
            refusal.c.dienst,
            refusal.c.bericht,
            refusal.c.code,
            refusal.c.owner,
            refusal.c.reason,
        )
        deliveries = (
            select(
                delivery.c.at_us,
                message.c.reference,
                message.c.system,
                message.c.sender,
                delivery.c.receiver,
                message.c.dienst,
                message.c.bericht,
                delivery.c.code,
                delivery.c.owner,
                delivery.c.reason,
            )
            .join(message, message.c.seq == delivery.c.message_seq)
            .where(delivery.c.state == "failed")
        )
        messages = select(
            message.c.received_us.label("at_us"),
            message.c.reference,
            message.c.system,
            message.c.sender,
            message.c.receiver,
            message.c.dienst,
            message.c.bericht,
            message.c.code,
            message.c.owner,
            _none("reason"),
        ).where(message.c.state == "failed", message.c.code.is_not(None))
        every = union_all(refused, deliveries, messages).subquery()
        with self._db.read() as connection:
            rows = connection.execute(select(*(every.c[name] for name in columns)).order_by(every.c.at_us.desc()).limit(limit))
            return [dict(row._mapping) for row in rows]

    def failure_groups(self) -> list[dict[str, Any]]:
        """Failures grouped by cause and owner, largest first, as the audit worker keeps them."""
        with self._db.read() as connection:
            return [
                dict(row._mapping)
                for row in connection.execute(select(failure_group).order_by(failure_group.c.count.desc(), failure_group.c.code))
            ]

    def find(self, id: str) -> str | None:
        """The reference of a message or refusal by reference, delivery_id, MessageID or business id."""
        with self._db.read() as connection:
            return reference_of(connection, id)

    def message(self, reference: str) -> dict[str, Any] | None:
        """One message with its deliveries, their attempts and the messages that answered them, and with the delivery it answers itself;
        or one refusal; None for an unknown reference."""
        with self._db.read() as connection:
            row = connection.execute(select(message).where(message.c.reference == reference)).first()
            if row is None:
                refused = connection.execute(select(refusal).where(refusal.c.reference == reference)).first()
                return None if refused is None else {**_plain(refused._mapping), "state": "refused", "details": json.loads(refused.details)}
            of_message = select(delivery).where(delivery.c.message_seq == row.seq).order_by(delivery.c.seq)
            deliveries = [_plain(d) for d in explained(connection, (d._mapping for d in connection.execute(of_message)))]
            for one in deliveries:
                attempts = connection.execute(select(attempt).where(attempt.c.delivery_seq == one["seq"]).order_by(attempt.c.number))
                one["tries"] = [_plain(a._mapping) for a in attempts]
                one["answers"] = [
                    str(reference) for reference in connection.execute(_ANSWERS.where(answer.c.delivery_seq == one["seq"])).scalars()
                ]
            answered = connection.execute(_ANSWERED.where(answer.c.message_seq == row.seq)).first()
            return {
                **_plain(row._mapping),
                "warnings": json.loads(row.warnings),
                "deliveries": deliveries,
                "answers": None if answered is None else dict(answered._mapping),
            }

    def last_delivered(self) -> dict[str, int]:
        """By endpoint, when something was last delivered there, in microseconds. Reads every delivery: for people who ask now and then."""
        statement = (
            select(delivery.c.endpoint, func.max(delivery.c.delivered_us).label("last"))
            .where(delivery.c.endpoint.is_not(None), delivery.c.delivered_us.is_not(None))
            .group_by(delivery.c.endpoint)
        )
        with self._db.read() as connection:
            return {row.endpoint: row.last for row in connection.execute(statement)}

    def counts(self) -> dict[str, dict[str, int]]:
        """How many messages, deliveries, refusals and failures there are, by state and by code."""
        with self._db.read() as connection:

            def tally(statement: Any) -> dict[str, int]:
                return {str(key): count for key, count in connection.execute(statement)}

            waiting = case((and_(delivery.c.hold_code.is_not(None), delivery.c.state == "routed"), "waiting"), else_=delivery.c.state)
            return {
                "messages": tally(select(message.c.state, func.count()).group_by(message.c.state)),
                "deliveries": tally(select(waiting, func.count()).group_by(waiting)),
                "refused": tally(select(refusal.c.code, func.count()).group_by(refusal.c.code)),
                "failed": tally(select(delivery.c.code, func.count()).where(delivery.c.state == "failed").group_by(delivery.c.code)),
                "failed_messages": tally(
                    select(message.c.code, func.count())
                    .where(message.c.state == "failed", message.c.code.is_not(None))
                    .group_by(message.c.code)
                ),
                "held": tally(
                    select(delivery.c.hold_code, func.count())
                    .where(delivery.c.hold_code.is_not(None), delivery.c.state.in_(("routed", "postponed")))
                    .group_by(delivery.c.hold_code)
                ),
            }

    def open_deliveries(self) -> int:
        """Deliveries still on their way (waiting ones not counted) and messages not routed yet."""
        with self._db.read() as connection:
            return int(
                connection.execute(
                    text(
                        "SELECT (SELECT count(*) FROM message WHERE state = 'received') + "
                        f"(SELECT count(*) FROM message WHERE {AGAIN}) + "
                        "(SELECT count(*) FROM delivery WHERE state = 'routed' AND hold_code IS NULL) + "
                        "(SELECT count(*) FROM delivery WHERE state IN ('released', 'delivered'))"
                    )
                ).scalar_one()
            )


def reference_of(connection: Connection, id: str) -> str | None:
    """The reference of a message or refusal by reference, delivery_id, MessageID or business id."""
    newest = select(refusal.c.reference).where(or_(refusal.c.message_id == id, refusal.c.business_id == id))
    for statement in (
        select(message.c.reference).where(message.c.reference == id),
        select(refusal.c.reference).where(refusal.c.reference == id),
        select(message.c.reference).join(delivery, delivery.c.message_seq == message.c.seq).where(delivery.c.id == id),
    ):
        found = connection.execute(statement.limit(1)).scalar()
        if found is not None:
            return str(found)
    for start in (f"m:{id}:", f"b:{id.lower()}:"):  # then comes the sender: an OIN, without a colon
        end = start[:-1] + chr(ord(":") + 1)
        for row in connection.execute(select(used_id).where(used_id.c.key >= start, used_id.c.key < end)):
            if ":" not in row.key.removeprefix(start):
                return str(row.reference)
    found = connection.execute(newest.order_by(refusal.c.at_us.desc()).limit(1)).scalar()
    return None if found is None else str(found)


#: Messages that answer a delivery, and the delivery that a message answers.
_ANSWERS = select(message.c.reference).join(answer, answer.c.message_seq == message.c.seq).order_by(message.c.seq)
_ANSWERED = (
    select(message.c.reference, delivery.c.id.label("delivery"))
    .join(delivery, delivery.c.message_seq == message.c.seq)
    .join(answer, answer.c.delivery_seq == delivery.c.seq)
)
_AGAIN: ColumnElement[bool] = and_(message.c.state == "failed", message.c.code.is_(None))
_OPEN: ColumnElement[bool] = or_(
    delivery.c.state.in_([str(state) for state in UNFINISHED]),
    and_(delivery.c.state == "acknowledged", delivery.c.answer_within_us.is_not(None)),
)
_ROW = (
    message.c.reference,
    message.c.received_us,
    message.c.dienst,
    message.c.versie,
    message.c.bericht,
    message.c.sender,
    message.c.system,
    message.c.business_id,
)
_WHY = (delivery.c.code, delivery.c.hold_code, delivery.c.owner, delivery.c.reason, delivery.c.lane, delivery.c.at_us)


def _none(name: str) -> ColumnElement[str]:
    return cast(null(), Text).label(name)


def _plain(row: Mapping[Any, Any]) -> dict[str, Any]:
    """Without the columns that are nobody's business outside the store: keyed hashes and keys."""
    return {
        k: (bytes(v).hex() if isinstance(v, bytes | memoryview) else v)
        for k, v in row.items()
        if k not in ("order_key", "subject", "claim", "claim_until_us")
    }
