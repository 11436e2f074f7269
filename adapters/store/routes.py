"""The store's side of route: a message's deliveries, decisions and events in one transaction."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from sqlalchemy import Connection

from adapters.store.release import Part
from adapters.store.replaced import close_replaced
from adapters.store.rows import Row, decision_rows, event_row, ids_of, write_decisions, write_events
from adapters.store.sql import Insert, Sql
from adapters.store.tables.deliveries import ORDERED, UNSENT, delivery
from adapters.store.tables.messages import AGAIN
from routing.work import NewDelivery, Routable, RoutedMessage, Ticket
from schemas.events import Event

#: Messages that are still to be routed: new ones, and failed ones that are offered again.
UNROUTED: Final = f"(state = 'received' OR ({AGAIN}))"

_ROUTABLE_FIELDS: Final = tuple(Routable.__dataclass_fields__)
_ROUTABLE: Final = Sql(
    f"SELECT {', '.join(('b.' if name in ('wrapped_key', 'facts') else 'm.') + name for name in _ROUTABLE_FIELDS)} "
    f"FROM message m JOIN body b ON b.seq = m.seq WHERE m.seq IN @seqs AND {UNROUTED} ORDER BY m.seq"
)
_ROUTED: Final = Sql(f"UPDATE message SET state = 'routed' WHERE seq IN @seqs AND {UNROUTED} RETURNING seq")
_MESSAGE_FAILED: Final = Sql(
    f"UPDATE message SET state = 'failed', code = :code, owner = :owner WHERE seq = :seq AND {UNROUTED} RETURNING seq"
)
_DELIVERIES: Final = Insert(
    delivery,
    *("seq", "id", "message_seq", "target", "state", "release", "receiver", "endpoint", "lane", "receiver_system", "order_key"),
    *("hold_code", "owner", "reason", "attempts", "not_before_us", "deadline_us", "answer_within_us", "at_us"),
)
_FAIL_NEW: Final = Sql("UPDATE delivery SET state = 'failed', code = :code, owner = :owner, reason = :reason WHERE seq = :seq")
#: Unsent deliveries with these messages' order keys, of which a newer one to the same receiver stands unfinished; and the newest such.
_OUTDATED: Final = Sql(
    "SELECT d.seq, d.id, d.message_seq, d.receiver, (SELECT max(n.message_seq) FROM delivery n "
    f"WHERE {ORDERED.replace('order_key', 'n.order_key').replace('state', 'n.state')} "
    "AND n.order_key = d.order_key AND n.receiver = d.receiver AND n.message_seq > d.message_seq) AS newer "
    "FROM delivery k JOIN delivery d ON d.order_key = k.order_key AND d.receiver = k.receiver "
    f"WHERE k.seq IN @seqs AND {ORDERED.replace('order_key', 'd.order_key').replace('state', 'd.state')} "
    f"AND {UNSENT.replace('state', 'd.state')} ORDER BY d.seq"
)
#: Which of these is the newest, from now on; and which is older than one that came before it (it had failed, and was routed again).
_NEWEST: Final = Sql(
    "INSERT INTO newest (order_key, receiver, message_seq) SELECT order_key, receiver, max(message_seq) FROM delivery WHERE seq IN @seqs "
    "GROUP BY order_key, receiver "
    "ON CONFLICT (order_key, receiver) DO UPDATE SET message_seq = excluded.message_seq WHERE newest.message_seq < excluded.message_seq"
)
_LATE: Final = Sql(
    "SELECT d.seq, d.id, d.message_seq, d.receiver, n.message_seq AS newer FROM delivery d "
    "JOIN newest n ON n.order_key = d.order_key AND n.receiver = d.receiver AND n.message_seq > d.message_seq WHERE d.seq IN @seqs"
)
_SUPERSEDE: Final = Sql(
    f"UPDATE delivery SET state = 'superseded', hold_code = NULL, at_us = :now WHERE seq IN @seqs AND {UNSENT} RETURNING seq"
)
MESSAGE_IDS: Final = Sql(
    "SELECT seq, reference, message_id, business_id, system, sender, dienst, versie, bericht FROM message WHERE seq IN @seqs"
)


class Routes(Part):
    """Storing where messages go."""

    def routable(self, tickets: Sequence[Ticket]) -> list[Routable]:
        """The messages behind the tickets that still are to be routed."""
        with self._db.read() as connection:
            rows = _ROUTABLE(connection, seqs=[ticket.seq for ticket in tickets]).all()
        return [Routable(**dict(zip(_ROUTABLE_FIELDS, row, strict=True))) for row in rows]

    def commit_routes(self, routes: Sequence[RoutedMessage], *, actor: str, now_us: int) -> int:
        """Stores the deliveries of routed messages; one routed by another worker meanwhile is left alone. Returns how many were stored."""
        with self._db.write() as tx:
            # of two state messages that are routed at the same moment, one must see the other
            self._db.one_at_a_time(tx, (r.message.order_key for r in routes if r.newest_replaces and r.message.order_key))
            mine = self._moved(tx, routes)
            routes = [route for route in routes if route.message.seq in mine]
            plans = [(route, new) for route in routes for new in route.deliveries]
            numbers = self._db.numbers(tx, "delivery", len(plans))
            rows, events, decisions, replacing = [], [], [], []
            for seq, (route, new) in zip(numbers, plans, strict=True):
                rows.append(_delivery_row(seq, route, new, now_us))
                events.append(_route_event(route, new, actor, now_us))
                decisions += decision_rows(route.message.reference, new.id, now_us, new.decisions)
                if route.newest_replaces and route.message.order_key and not new.filtered and not new.code:
                    replacing.append(seq)
            _DELIVERIES(tx, rows)
            for seq, (_, new) in zip(numbers, plans, strict=True):
                if new.code:
                    _FAIL_NEW(tx, seq=seq, code=new.code, owner=new.owner, reason=new.reason)
            if replacing:
                events += supersede(tx, replacing, actor, now_us)
            events += close_replaced(tx, routes, actor, now_us)
            for route in routes:
                decisions += decision_rows(route.message.reference, None, now_us, route.decisions)
                if route.code:
                    events.append(_failed_message(route, actor, now_us))
            write_decisions(tx, decisions)
            write_events(tx, events)
            return len(routes)

    @staticmethod
    def _moved(tx: Connection, routes: Sequence[RoutedMessage]) -> set[int]:
        good = [route.message.seq for route in routes if not route.code]
        mine = set(_ROUTED(tx, seqs=good).scalars().all()) if good else set()
        for route in routes:
            if route.code:
                mine.update(_MESSAGE_FAILED(tx, seq=route.message.seq, code=route.code, owner=route.owner).scalars().all())
        return mine


def supersede(tx: Connection, seqs: Sequence[int], actor: str, now_us: int, *, states: bool = True) -> list[Row]:
    """A newer state message takes the place of older unsent ones, whichever of them is routed first; returns the events. Without `states`
    nobody knows whether these are such messages: then only those are superseded of which a newer state is known."""
    if states:
        _NEWEST(tx, seqs=seqs)
    found = [*(_OUTDATED(tx, seqs=seqs).all() if states else ()), *_LATE(tx, seqs=seqs).all()]
    rows = {row.seq: row for row in found if row.newer is not None}
    if not rows:
        return []
    gone = sorted(_SUPERSEDE(tx, seqs=list(rows), now=now_us).scalars().all())
    wanted = {seq for row in rows.values() for seq in (row.message_seq, row.newer)}
    messages = {message.seq: message for message in MESSAGE_IDS(tx, seqs=sorted(wanted)).all()}
    return [
        event_row(
            Event(
                kind="superseded",
                at_us=now_us,
                actor=actor,
                delivery=rows[seq].id,
                receiver=rows[seq].receiver,
                state="superseded",
                details={"by": messages[rows[seq].newer].reference},
                **ids_of(messages[rows[seq].message_seq]),
            ),
            tell=messages[rows[seq].message_seq].system,
        )
        for seq in gone
    ]


def _delivery_row(seq: int, route: RoutedMessage, new: NewDelivery, now_us: int) -> Row:
    return (
        seq,
        new.id,
        route.message.seq,
        new.target,
        "filtered" if new.filtered else "routed",
        0,
        new.receiver,
        new.endpoint,
        new.lane,
        new.receiver_system,
        route.message.order_key,
        new.hold_code,
        new.owner,
        new.reason,
        0,
        0,
        new.deadline_us,
        route.answer_within_us,
        now_us,
    )


def _route_event(route: RoutedMessage, new: NewDelivery, actor: str, now_us: int) -> Row:
    kind = "failed" if new.code else "filtered" if new.filtered else "waiting" if new.hold_code else "routed"
    return event_row(
        Event(
            kind=kind,
            at_us=now_us,
            actor=actor,
            delivery=new.id,
            receiver=new.receiver,
            receiver_system=new.receiver_system,
            state="failed" if new.code else "filtered" if new.filtered else "routed",
            code=new.code or new.hold_code,
            owner=new.owner,
            reason=new.reason,
            register_version=route.register_version,
            details={"target": new.target},
            **ids_of(route.message),
        ),
        tell=None if kind == "routed" else route.message.system,
    )


def _failed_message(route: RoutedMessage, actor: str, now_us: int) -> Row:
    return event_row(
        Event(
            kind="failed",
            at_us=now_us,
            actor=actor,
            receiver=route.message.receiver,
            state="failed",
            code=route.code,
            owner=route.owner,
            reason=route.reason,
            register_version=route.register_version,
            **ids_of(route.message),
        ),
        tell=route.message.system,
    )


def failed_delivery(row: Any, message: Any, actor: str, now_us: int, *, code: str, owner: str, reason: str | None) -> Row:
    """The event of a delivery that has failed without an attempt; the sender's system is told."""
    return event_row(
        Event(
            kind="failed",
            at_us=now_us,
            actor=actor,
            delivery=row.id,
            receiver=row.receiver,
            receiver_system=row.receiver_system,
            state="failed",
            code=code,
            owner=owner,
            reason=reason,
            **ids_of(message),
        ),
        tell=message.system,
    )
