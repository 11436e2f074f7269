"""The store's side of mailboxes whose schools leave: what stands in them, what is withdrawn, and which copies are still to be found.

A withdrawn delivery goes `delivered -> released -> routed` in one transaction: both moves the lifecycle knows, a release number that no
ticket has, and from there the release rule (window and order key) decides when the successor gets it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import groupby
from typing import Any, Final

from sqlalchemy import Connection, text

from adapters.store.database import Database
from adapters.store.release import distinct_lanes
from adapters.store.rows import Row, decision_rows, event_row, ids_of, write_decisions, write_events
from adapters.store.sql import Sql
from adapters.store.tables.deliveries import NOT_FETCHED, OPEN
from routing.mailbox import Copy, InMailbox, Standing, TakenBack, Withdrawn, next_look
from routing.release import is_mailbox
from routing.work import Lease
from schemas.events import Event

_LANES: Final = distinct_lanes(OPEN)
_LANES_NOT_FETCHED: Final = distinct_lanes(NOT_FETCHED)
#: A mailbox has some thousand open deliveries at most, so this reads no more however many there are in all.
_STANDING: Final = Sql(
    f"SELECT endpoint, state, count(*) AS many FROM delivery WHERE {OPEN} AND lane = :lane AND endpoint IS NOT NULL "
    "GROUP BY endpoint, state"
)
_NOT_FETCHED: Final = Sql(
    f"SELECT endpoint, state, count(*) AS many FROM delivery WHERE {NOT_FETCHED} AND lane = :lane AND endpoint IS NOT NULL "
    "GROUP BY endpoint, state"
)
_FIELDS: Final = tuple(InMailbox.__dataclass_fields__)
_OF_DELIVERY: Final = frozenset(("seq", "id", "state", "receiver", "endpoint", "receiver_system"))
_READ: Final = (
    f"SELECT {', '.join(('d.' if name in _OF_DELIVERY else 'm.') + name for name in _FIELDS)} "
    "FROM (SELECT * FROM delivery WHERE {} AND lane = :lane AND seq > :after AND endpoint IN @endpoints ORDER BY seq LIMIT :limit) AS d "
    "JOIN message m ON m.seq = d.message_seq ORDER BY d.seq"
)
_IN_MAILBOX: Final = Sql(_READ.format(f"{OPEN} AND state = 'delivered'"))
_FAILED_THERE: Final = Sql(_READ.format(NOT_FETCHED))
_LEAVE: Final = Sql(
    "UPDATE delivery SET state = 'released', release = release + 1, claim = NULL, claim_until_us = NULL "
    "WHERE seq IN @seqs AND state = 'delivered' AND lane = :lane RETURNING seq"
)
_GO_BACK: Final = Sql(
    "UPDATE delivery SET state = :state, endpoint = :endpoint, lane = :lane, receiver_system = :receiver_system, hold_code = :hold_code, "
    "code = :code, owner = :owner, reason = :reason, not_before_us = 0, delivered_us = NULL, at_us = :now, "
    "deadline_us = CASE WHEN deadline_us < :deadline THEN :deadline ELSE deadline_us END WHERE seq IN @seqs AND state = 'released'"
)
#: What was not fetched in time has failed and stays so; but the system that did not fetch it cannot confirm it any more.
_LET_GO: Final = Sql(
    "UPDATE delivery SET endpoint = NULL, lane = NULL, receiver_system = NULL "
    f"WHERE seq IN @seqs AND {NOT_FETCHED} AND lane = :lane RETURNING seq"
)
_POINT: Final = Sql(
    "UPDATE delivery SET endpoint = :endpoint WHERE seq IN @seqs AND state IN ('delivered', 'failed') AND lane = :lane RETURNING seq"
)
_COPIES: Final = Sql("SELECT id, state, receiver_system, endpoint FROM delivery WHERE id IN @ids")
_IDS: Final = Sql(
    "SELECT d.id, d.receiver, m.reference, m.message_id, m.business_id, m.system, m.sender, m.dienst, m.versie, m.bericht "
    "FROM delivery d JOIN message m ON m.seq = d.message_seq WHERE d.id IN @ids ORDER BY d.seq"
)
_LOOK_FOR: Final = text(
    "INSERT INTO withdrawal (system, delivery, at_us, certain, looks, look_at_us) VALUES (:system, :delivery, :now, true, 0, :now) "
    "ON CONFLICT (system, delivery) DO UPDATE SET at_us = :now, certain = true, looks = 0, look_at_us = :now"
)
_MAYBE: Final = text(
    "INSERT INTO withdrawal (system, delivery, at_us, certain, looks, look_at_us) VALUES (:system, :delivery, :now, false, 0, :now) "
    "ON CONFLICT (system, delivery) DO NOTHING"
)
_DUE: Final = Sql("SELECT system FROM withdrawal WHERE look_at_us <= :now ORDER BY look_at_us LIMIT 1")
_SOUGHT: Final = Sql(
    "SELECT w.delivery, w.certain, w.looks, d.receiver_system FROM withdrawal w JOIN delivery d ON d.id = w.delivery "
    "WHERE w.system = :system AND w.at_us <= :began"
)
_SOUGHT_OF: Final = Sql("SELECT delivery, looks FROM withdrawal WHERE system = :system AND delivery IN @ids")
_FOUND: Final = Sql("DELETE FROM withdrawal WHERE system = :system AND delivery IN @ids")
_LOOK_LATER: Final = Sql("UPDATE withdrawal SET looks = looks + 1, look_at_us = :at WHERE system = :system AND delivery IN @ids")
_PUT_OFF: Final = Sql("UPDATE withdrawal SET look_at_us = :until WHERE system = :system AND look_at_us < :until")


class Mailboxes:
    """Taking back what is no longer a system's."""

    def __init__(self, database: Database) -> None:
        self._db = database

    def open_lanes(self) -> list[str]:
        """Mailboxes with open deliveries, or with some that were not fetched in time and may still be confirmed."""
        with self._db.read() as connection:
            lanes = {*_LANES(connection).scalars().all(), *_LANES_NOT_FETCHED(connection).scalars().all()}
        return sorted(lane for lane in lanes if is_mailbox(lane))

    def standing(self, lane: str) -> list[Standing]:
        """To which endpoints the deliveries of a mailbox go that are open, or were not fetched in time."""
        with self._db.read() as connection:
            rows = [*_STANDING(connection, lane=lane).all(), *_NOT_FETCHED(connection, lane=lane).all()]
        return [Standing(endpoint=row.endpoint, state=row.state, count=row.many) for row in rows]

    def unconfirmed(self, lane: str, endpoints: Iterable[str], state: str, *, after: int, limit: int) -> list[InMailbox]:
        """Deliveries that stand unconfirmed in a mailbox and go to these endpoints, page by page, in order: those that are `delivered`, or
        those that have `failed` because they were not fetched in time."""
        ask = _IN_MAILBOX if state == "delivered" else _FAILED_THERE
        with self._db.read() as connection:
            rows = ask(connection, lane=lane, endpoints=sorted(endpoints), after=after, limit=limit).all()
        return [InMailbox(**dict(zip(_FIELDS, row, strict=True))) for row in rows]

    def point(self, lease: Lease, lane: str, deliveries: Sequence[Withdrawn], *, now_us: int) -> int:
        """They stay in this mailbox, under another row of the register. Raises LeaseLost."""
        with self._db.write() as tx:
            self._db.require(tx, lease)
            done: set[int] = set()
            for endpoint, group in groupby(sorted(deliveries, key=lambda w: w.endpoint or ""), key=lambda w: w.endpoint):
                done.update(_POINT(tx, seqs=[w.delivery.seq for w in group], endpoint=endpoint, lane=lane).scalars().all())
            write_decisions(tx, _decisions([w for w in deliveries if w.delivery.seq in done], now_us))
            return len(done)

    def withdraw(self, lease: Lease, lane: str, deliveries: Sequence[Withdrawn], *, actor: str, now_us: int) -> int:
        """Takes unconfirmed deliveries away from a mailbox; one that was confirmed meanwhile is left alone, and one that had failed there
        stays failed. Returns how many left; their copies are looked for from now on. Raises LeaseLost."""
        with self._db.write() as tx:
            self._db.require(tx, lease)
            mine: set[int] = set()
            for state, leave in (("delivered", _LEAVE), ("failed", _LET_GO)):
                if seqs := [w.delivery.seq for w in deliveries if w.delivery.state == state]:
                    mine.update(leave(tx, seqs=seqs, lane=lane).scalars().all())
            gone = [w for w in deliveries if w.delivery.seq in mine]
            moving = [w for w in gone if w.delivery.state == "delivered"]
            for _, group in groupby(sorted(moving, key=_alike), key=_alike):
                members = list(group)
                first = members[0]
                _GO_BACK(
                    tx,
                    seqs=[w.delivery.seq for w in members],
                    state=first.state,
                    endpoint=first.endpoint,
                    lane=first.lane,
                    receiver_system=first.receiver_system,
                    hold_code=first.hold_code,
                    code=first.code,
                    owner=first.owner,
                    reason=first.reason,
                    deadline=first.deadline_us,
                    now=now_us,
                )
            rows = [{"system": w.delivery.receiver_system, "delivery": w.delivery.id, "now": now_us} for w in gone if w.copied]
            if rows:
                tx.execute(_LOOK_FOR, rows)
            # a party that is no user of the broker now may have been one when it came: what is found is taken back, and nothing follows
            # from what is not
            may_have_left(tx, [(w.delivery.receiver_system, w.delivery.id) for w in gone if not w.copied], now_us)
            write_decisions(tx, _decisions(gone, now_us))
            write_events(tx, [row for w in gone for row in _withdrawn_events(w, actor, now_us)])
            return len(gone)

    def due(self, now_us: int) -> str | None:
        """The system whose mailbox is to be looked through first; None when none is."""
        with self._db.read() as connection:
            return _DUE(connection, now=now_us).scalar()

    def copies(self, ids: Sequence[str]) -> list[Copy]:
        """Where these deliveries are now; an unknown one is left out."""
        with self._db.read() as connection:
            found = [Copy(**row._mapping) for row in _COPIES(connection, ids=list(ids)).all()]
        self._db.sync()  # copies are dropped by it
        return found

    def took_back(self, lease: Lease, system: str, copies: Sequence[TakenBack], *, actor: str, now_us: int) -> None:
        """These copies are out of the system's mailbox; what had been handed out is journalled as seen. Raises LeaseLost."""
        ids = [copy.id for copy in copies]
        with self._db.write() as tx:
            self._db.require(tx, lease)
            journalled = {row.delivery for row in _SOUGHT_OF(tx, system=system, ids=ids).all() if row.looks}
            _FOUND(tx, system=system, ids=ids)
            handed_out = {copy.id for copy in copies if copy.handed_out}
            events = []
            for row in _IDS(tx, ids=ids).all():
                if row.id in handed_out and row.id not in journalled:
                    events.append(_event("seen", row, system, actor, now_us, {"handed_out": "given back"}))
                events.append(_event("taken_back", row, system, actor, now_us, {"handed_out": "yes" if row.id in handed_out else "no"}))
            write_events(tx, events)

    def looked_through(self, lease: Lease, system: str, *, began_us: int, actor: str, now_us: int) -> int:
        """The whole mailbox was looked through. What was withdrawn before that and not found had been fetched: it is journalled as seen,
        once, and looked for again later. Returns how many were journalled. Raises LeaseLost."""
        with self._db.write() as tx:
            self._db.require(tx, lease)
            rows = _SOUGHT(tx, system=system, began=began_us).all()
            done = [row.delivery for row in rows if row.receiver_system == system]  # it came back to this mailbox
            missing = [row for row in rows if row.receiver_system != system]
            for looks, group in groupby(sorted(missing, key=lambda row: row.looks), key=lambda row: row.looks):
                ids, after_s = [row.delivery for row in group], next_look(looks + 1)
                if after_s is None:
                    done += ids
                else:
                    _LOOK_LATER(tx, system=system, ids=ids, at=now_us + after_s * 1_000_000)
            if done:
                _FOUND(tx, system=system, ids=done)
            fetched = [row.delivery for row in missing if row.certain and not row.looks]
            seen = _IDS(tx, ids=fetched).all() if fetched else []
            write_events(tx, [_event("seen", row, system, actor, now_us, {"handed_out": "not given back"}) for row in seen])
            return len(seen)

    def put_off(self, system: str, *, until_us: int) -> None:
        """This mailbox cannot be looked through now."""
        with self._db.write() as tx:
            _PUT_OFF(tx, system=system, until=until_us)


def may_have_left(tx: Connection, rows: Sequence[tuple[str, str]], now_us: int) -> None:
    """Copies (system, delivery_id) that may stand in a mailbox from an earlier attempt: from now on they are looked for."""
    if rows:
        tx.execute(_MAYBE, [{"system": system, "delivery": delivery, "now": now_us} for system, delivery in rows])


def _alike(w: Withdrawn) -> tuple[Any, ...]:
    """Deliveries with the same values are one UPDATE."""
    words = (w.endpoint, w.lane, w.receiver_system, w.hold_code, w.code, w.owner, w.reason)
    return (w.state, w.deadline_us, *(word or "" for word in words))


def _decisions(deliveries: Iterable[Withdrawn], now_us: int) -> list[Row]:
    return [row for w in deliveries for row in decision_rows(w.delivery.reference, w.delivery.id, now_us, w.decisions)]


def _withdrawn_events(w: Withdrawn, actor: str, now_us: int) -> list[Row]:
    """That it left, and what became of it: the sender hears of a wait or a failure, as after any attempt."""
    ids = {"delivery": w.delivery.id, "receiver": w.delivery.receiver, "register_version": w.register_version, **ids_of(w.delivery)}
    had_failed = w.delivery.state == "failed"
    left = Event(
        kind="withdrawn",
        at_us=now_us,
        actor=actor,
        receiver_system=w.delivery.receiver_system,
        state="failed" if had_failed else "released",
        reason=w.because,
        **ids,
    )
    if had_failed:
        return [event_row(left)]
    kind = "failed" if w.code else "waiting" if w.hold_code else "resolved"
    then = Event(
        kind=kind,
        at_us=now_us,
        actor=actor,
        receiver_system=w.receiver_system,
        state=w.state,
        code=w.code or w.hold_code,
        owner=w.owner,
        reason=w.reason,
        **ids,
    )
    return [event_row(left), event_row(then, tell=None if kind == "resolved" else w.delivery.system)]


def _event(kind: str, row: Any, system: str, actor: str, now_us: int, details: dict[str, str]) -> Row:
    ids = {"delivery": row.id, "receiver": row.receiver, **ids_of(row)}
    return event_row(Event(kind=kind, at_us=now_us, actor=actor, receiver_system=system, details=details, **ids))
