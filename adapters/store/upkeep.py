"""The store's side of timetable and dead: what ends by the clock, by the register, or because nobody could handle it."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final

from sqlalchemy import Connection

from adapters.store.deliveries import BY_ID, by_release, still_held
from adapters.store.release import Part
from adapters.store.routes import MESSAGE_IDS, UNROUTED, failed_delivery, supersede
from adapters.store.rows import Row, decision_rows, event_row, ids_of, write_decisions, write_events
from adapters.store.sql import Sql
from adapters.store.tables.deliveries import ANSWER_BY, AWAITING_ANSWER, DUE, OPEN, ROUTED, UNKNOWN_CODE, UNSENT, WAITING
from adapters.store.tables.messages import KEPT
from routing.work import NewDelivery, Ticket, Waiting
from schemas.events import Event
from schemas.faults import kind_of

_WAITING_FIELDS: Final = tuple(name for name in Waiting.__dataclass_fields__ if name != "details")
_OF_MESSAGE: Final = frozenset(("dienst", "versie", "bericht", "action", "reference"))
_WAITING: Final = Sql(
    f"SELECT {', '.join(('m.' if name in _OF_MESSAGE else 'd.') + name for name in _WAITING_FIELDS)} FROM "
    f"(SELECT * FROM delivery WHERE {WAITING} AND seq > :after ORDER BY seq LIMIT :limit) AS d "
    "JOIN message m ON m.seq = d.message_seq ORDER BY d.seq"
)
_UNHOLD: Final = Sql(
    "UPDATE delivery SET endpoint = :endpoint, lane = :lane, receiver = :receiver, receiver_system = :receiver_system, "
    f"hold_code = :hold_code, owner = :owner, reason = :reason WHERE seq = :seq AND {WAITING} RETURNING seq"
)
#: The same of some receivers only.
_WAITING_OF: Final = Sql(
    f"SELECT {', '.join(('m.' if name in _OF_MESSAGE else 'd.') + name for name in _WAITING_FIELDS)} FROM "
    f"(SELECT * FROM delivery WHERE {WAITING} AND receiver IN @receivers AND seq > :after ORDER BY seq LIMIT :limit) AS d "
    "JOIN message m ON m.seq = d.message_seq ORDER BY d.seq"
)
#: As the router decided, or whoever passed it on; the last one counts.
_WHO: Final = Sql(
    "SELECT delivery, record FROM decision WHERE reference IN @references AND question = 'recipients' AND delivery IS NOT NULL ORDER BY id"
)
_FAIL_WAITING: Final = Sql(
    "UPDATE delivery SET state = 'failed', code = :code, hold_code = NULL, owner = :owner, reason = :reason, at_us = :now "
    "WHERE seq = :seq AND state IN ('routed', 'postponed') AND (lane = :left OR (hold_code IS NOT NULL AND :left = '')) RETURNING seq"
)
#: What waits for its turn or its next attempt in a lane, of one endpoint.
_PLACES: Final = Sql(
    f"SELECT DISTINCT endpoint, receiver_system, receiver FROM delivery WHERE {ROUTED} AND lane = :lane "
    f"UNION SELECT DISTINCT endpoint, receiver_system, receiver FROM delivery WHERE {DUE} AND lane = :lane"
)
_IN_LANE: Final = Sql(
    f"SELECT {', '.join(('m.' if name in _OF_MESSAGE else 'd.') + name for name in _WAITING_FIELDS)} FROM "
    f"(SELECT * FROM (SELECT * FROM delivery WHERE {ROUTED} AND lane = :lane "
    f"UNION ALL SELECT * FROM delivery WHERE {DUE} AND lane = :lane) AS w "
    "WHERE endpoint = :endpoint AND receiver = :receiver AND seq > :after ORDER BY seq LIMIT :limit) AS d "
    "JOIN message m ON m.seq = d.message_seq ORDER BY d.seq"
)
_MOVE: Final = Sql(
    "UPDATE delivery SET endpoint = :endpoint, lane = :lane, receiver = :receiver, receiver_system = :receiver_system, "
    "hold_code = :hold_code, owner = :owner, reason = :reason, not_before_us = :now "
    f"WHERE seq = :seq AND {UNSENT} AND lane = :left RETURNING seq"
)
#: Failed because nobody had its gemeentecode, and still in time.
_UNKNOWN: Final = Sql(
    f"SELECT {', '.join(('m.' if name in _OF_MESSAGE else 'd.') + name for name in _WAITING_FIELDS)} FROM "
    f"(SELECT * FROM delivery WHERE {UNKNOWN_CODE} AND receiver IN @receivers AND deadline_us > :now AND seq > :after "
    "ORDER BY seq LIMIT :limit) AS d JOIN message m ON m.seq = d.message_seq ORDER BY d.seq"
)
_ORDER_KEYS: Final = Sql("SELECT order_key FROM delivery WHERE seq IN @seqs AND order_key IS NOT NULL")
#: By way of `released`: the lifecycle knows no shorter one.
_REVIVE: Final = Sql(
    "UPDATE delivery SET state = 'released', receiver = :receiver, endpoint = :endpoint, lane = :lane, "
    "receiver_system = :receiver_system, hold_code = :hold_code, code = NULL, owner = :owner, reason = :reason, not_before_us = 0, "
    f"at_us = :now WHERE seq = :seq AND {UNKNOWN_CODE} AND EXISTS (SELECT 1 FROM message m WHERE m.seq = message_seq AND m.{KEPT}) "
    "RETURNING seq"
)
_TO_RELAY: Final = Sql("UPDATE delivery SET state = 'routed' WHERE seq IN @seqs AND state = 'released'")
_EXPIRED: Final = Sql(
    "SELECT seq, (SELECT code FROM lane WHERE lane.lane = delivery.lane AND lane.state = 'held') AS held "
    f"FROM delivery WHERE {UNSENT} AND deadline_us < :now ORDER BY deadline_us LIMIT :limit"
)
_EXPIRE: Final = Sql(
    "UPDATE delivery SET state = 'failed', code = COALESCE(hold_code, :code), hold_code = NULL, "
    f"owner = COALESCE(owner, :owner), at_us = :now WHERE seq IN @seqs AND {UNSENT} "
    "RETURNING id, message_seq, code, owner, receiver, receiver_system"
)
_POISON_MESSAGES: Final = Sql(
    f"UPDATE message SET state = 'failed', code = 'POISON', owner = 'us' WHERE seq IN @seqs AND release = :release AND {UNROUTED} "
    "RETURNING seq"
)
_POISON_DELIVERIES: Final = Sql(
    "UPDATE delivery SET state = 'failed', code = 'POISON', owner = 'us', claim = NULL, claim_until_us = NULL, at_us = :now "
    "WHERE seq IN @seqs AND state = 'released' AND release = :release AND (claim IS NULL OR claim_until_us < :now) "
    "RETURNING id, message_seq, receiver, receiver_system"
)
#: Nothing of it is open any more (no answer awaited either), and all of it ended before that moment.
_ENDED: Final = (
    "m.state IN ('routed', 'returned', 'archived') AND NOT EXISTS (SELECT 1 FROM delivery d WHERE d.message_seq = m.seq "
    "AND (d.at_us >= :before OR d.state NOT IN ('acknowledged', 'answered', 'filtered', 'superseded', 'returned', 'archived') "
    "OR (d.state = 'acknowledged' AND d.answer_within_us IS NOT NULL)))"
)
_ERASABLE: Final = Sql(
    f"SELECT m.seq FROM message m WHERE m.{KEPT} AND m.action = :action AND m.received_us < :before AND {_ENDED} LIMIT :limit"
)
_ERASE: Final = Sql(f"UPDATE message AS m SET kept = false WHERE m.seq IN @seqs AND m.{KEPT} AND {_ENDED} RETURNING seq")
_ERASE_BODY: Final = Sql("UPDATE body SET wrapped_key = NULL, facts = NULL, body = NULL WHERE seq IN @seqs")
_UNFETCHED: Final = Sql(
    f"SELECT d.seq FROM delivery d JOIN message m ON m.seq = d.message_seq WHERE {OPEN.replace('state', 'd.state')} "
    "AND d.state = 'delivered' AND m.action = :action AND d.delivered_us < :before LIMIT :limit"
)
_NOT_FETCHED: Final = Sql(
    "UPDATE delivery SET state = 'failed', code = 'MAILBOX_NOT_FETCHED', owner = 'receiver', at_us = :now WHERE seq IN @seqs "
    "AND state = 'delivered' AND delivered_us < :before RETURNING id, message_seq, receiver, receiver_system"
)
_UNANSWERED: Final = Sql(f"SELECT seq FROM delivery WHERE {AWAITING_ANSWER} AND {ANSWER_BY} < :now LIMIT :limit")
_NOT_ANSWERED: Final = Sql(
    "UPDATE delivery SET state = 'failed', code = 'ANSWER_MISSING', owner = 'receiver', reason = NULL, at_us = :now WHERE seq IN @seqs "
    f"AND {AWAITING_ANSWER} AND {ANSWER_BY} < :now RETURNING id, message_seq, receiver, receiver_system"
)

_FORGET: Final = Sql("DELETE FROM used_id WHERE key IN (SELECT key FROM used_id WHERE received_us < :before LIMIT :limit)")


class Upkeep(Part):
    """What the timetable and the reader of `dead` do."""

    def waiting(self, *, after: int = 0, limit: int = 1000, receivers: Collection[str] | None = None) -> list[Waiting]:
        """Deliveries that wait for the register; of these receivers only."""
        with self._db.read() as connection:
            if receivers is None:
                rows = _WAITING(connection, after=after, limit=limit).all()
            else:
                rows = _WAITING_OF(connection, receivers=sorted(receivers), after=after, limit=limit).all()
        return [Waiting(**dict(zip(_WAITING_FIELDS, row, strict=True))) for row in rows]

    def gemeentecodes(self, waiting: Sequence[Waiting]) -> dict[str, str]:
        """Delivery -> the gemeentecode by which its receiver was found, of those that were found by one."""
        wanted = {one.id for one in waiting}
        with self._db.read() as connection:
            rows = _WHO(connection, references=sorted({one.reference for one in waiting})).all()
        inputs = ((row.delivery, json.loads(row.record).get("inputs", {})) for row in rows if row.delivery in wanted)
        return {delivery: found["gemeentecode"] for delivery, found in inputs if "gemeentecode" in found}

    def reroute_waiting(self, changes: Sequence[tuple[Waiting, NewDelivery]], *, actor: str, now_us: int) -> None:
        """What the register says of them now: an endpoint, another receiver, another reason to wait, or (`code`) that they have failed. One
        that waits no more is left alone."""
        self._point(_UNHOLD, changes, actor, now_us)

    def unknown(self, receivers: Collection[str], *, now_us: int, after: int, limit: int) -> list[Waiting]:
        """Deliveries that failed because nobody had the gemeentecode by which their receiver was looked up (these: as
        routing.recipients.named_by), and whose deadline has not passed."""
        with self._db.read() as connection:
            rows = _UNKNOWN(connection, receivers=sorted(receivers), now=now_us, after=after, limit=limit).all()
        return [Waiting(**{**dict(zip(_WAITING_FIELDS, row, strict=True)), "hold_code": row.hold_code or ""}) for row in rows]

    def revive(
        self, changes: Sequence[tuple[Waiting, NewDelivery]], *, states: Collection[str], actor: str, now_us: int, reason: str
    ) -> int:
        """Takes these up again: to where the register has them now, or to wait for it; those that a person took up meanwhile are left
        alone. `states`: actions of state messages, of which only the newest goes on. Returns how many."""
        with self._db.write() as tx:
            keys = _ORDER_KEYS(tx, seqs=[waiting.seq for waiting, _ in changes]).scalars()
            self._db.one_at_a_time(tx, {bytes(key) for key in keys})
            names = ("endpoint", "lane", "receiver", "receiver_system", "hold_code", "owner", "reason")
            done = [
                (waiting, new)
                for waiting, new in changes
                if _REVIVE(tx, seq=waiting.seq, now=now_us, **{name: getattr(new, name) for name in names}).first() is not None
            ]
            _TO_RELAY(tx, seqs=[waiting.seq for waiting, _ in done])
            known = {m.seq: m for m in MESSAGE_IDS(tx, seqs=sorted({waiting.message_seq for waiting, _ in done})).all()}
            events = [_revived(known[waiting.message_seq], new, actor, now_us, reason) for waiting, new in done]
            if newest := [waiting.seq for waiting, _ in done if waiting.action in states]:
                events += supersede(tx, newest, actor, now_us)
            write_decisions(tx, [row for waiting, new in done for row in decision_rows(waiting.reference, new.id, now_us, new.decisions)])
            write_events(tx, events)
            return len(done)

    def _point(self, statement: Sql, changes: Sequence[tuple[Waiting, NewDelivery]], actor: str, now_us: int, **more: Any) -> None:
        with self._db.write() as tx:
            events, decisions = [], []
            known = {m.seq: m for m in MESSAGE_IDS(tx, seqs=[waiting.message_seq for waiting, new in changes if new.code]).all()}
            for waiting, new in changes:
                if new.code is not None:
                    left, owner = more.get("left", ""), new.owner or str(kind_of(new.code).owner)
                    failed: dict[str, Any] = {"code": new.code, "owner": owner, "reason": new.reason}
                    if _FAIL_WAITING(tx, seq=waiting.seq, left=left, now=now_us, **failed).first() is not None:
                        decisions += decision_rows(waiting.reference, waiting.id, now_us, new.decisions)
                        events.append(failed_delivery(new, known[waiting.message_seq], actor, now_us, **failed))
                    continue
                moved = statement(
                    tx,
                    seq=waiting.seq,
                    endpoint=new.endpoint,
                    lane=new.lane,
                    receiver=new.receiver,
                    receiver_system=new.receiver_system,
                    hold_code=new.hold_code,
                    owner=new.owner,
                    reason=new.reason,
                    **more,
                )
                if moved.first() is not None:
                    decisions += decision_rows(waiting.reference, waiting.id, now_us, new.decisions)
                    events.append(_rerouted(waiting, new, actor, now_us))
            write_decisions(tx, decisions)
            write_events(tx, events)

    def places_in(self, lane: str) -> list[tuple[str, str, str]]:
        """The endpoints, the systems they were, and the receivers for which something waits in this lane."""
        with self._db.read() as connection:
            return [(row.endpoint, row.receiver_system, row.receiver) for row in _PLACES(connection, lane=lane).all()]

    def waiting_in(self, lane: str, endpoint: str, receiver: str, *, after: int, limit: int) -> list[Waiting]:
        """What waits in this lane for one endpoint and receiver."""
        with self._db.read() as connection:
            rows = _IN_LANE(connection, lane=lane, endpoint=endpoint, receiver=receiver, after=after, limit=limit).all()
        return [Waiting(**{**dict(zip(_WAITING_FIELDS, row, strict=True)), "hold_code": row.hold_code or ""}) for row in rows]

    def move(self, lane: str, changes: Sequence[tuple[Waiting, NewDelivery]], *, actor: str, now_us: int) -> None:
        """From this lane to where the register has them now, or to wait; what has left meanwhile is left alone."""
        self._point(_MOVE, changes, actor, now_us, left=lane, now=now_us)

    def expire(self, *, actor: str, now_us: int, limit: int = 500) -> int:
        """Deliveries that are not sent at their contract's deadline have failed, with the code and owner they waited for."""
        with self._db.read() as connection:
            expired = _EXPIRED(connection, now=now_us, limit=limit).all()
        if not expired:
            return 0
        by_code: dict[str, list[int]] = {}
        for row in expired:
            by_code.setdefault(row.held or "DEADLINE_PASSED", []).append(row.seq)
        with self._db.write() as tx:
            rows: list[Any] = []
            for code, seqs in by_code.items():
                rows += _EXPIRE(tx, seqs=seqs, code=code, owner=str(kind_of(code).owner), now=now_us).all()
            messages = _messages(tx, rows)
            reason = "not delivered before the deadline"
            write_events(
                tx,
                [failed_delivery(r, messages[r.message_seq], actor, now_us, code=r.code, owner=r.owner, reason=reason) for r in rows],
            )
            return len(rows)

    def fail_poison(self, *, messages: Sequence[Ticket], deliveries: Sequence[Ticket], actor: str, now_us: int) -> tuple[int, list[Ticket]]:
        """What no worker could handle, again and again, has failed: the operator's turn. Not what was released again since: that has a
        ticket of its own. Returns how many were stopped, and the tickets of deliveries that somebody holds a claim on, and may be sending:
        offer them again when it has ended."""
        reason = kind_of("POISON").en
        stopped: list[int] = []
        rows: list[Any] = []
        with self._db.write() as tx:
            for release, seqs in by_release(messages):
                stopped += _POISON_MESSAGES(tx, seqs=seqs, release=release).scalars().all()
            for release, seqs in by_release(deliveries):
                rows += _POISON_DELIVERIES(tx, seqs=seqs, release=release, now=now_us).all()
            held = still_held(tx, deliveries)
            known = {m.seq: m for m in MESSAGE_IDS(tx, seqs=sorted({*stopped, *(r.message_seq for r in rows)})).all()}
            events = [_poisoned(known[seq], actor, now_us, reason) for seq in stopped]
            events += [failed_delivery(r, known[r.message_seq], actor, now_us, code="POISON", owner="us", reason=reason) for r in rows]
            write_events(tx, events)
        return len(events), held

    def note_dead(
        self, *, actor: str, now_us: int, queue: str, system: str | None, digest: bytes, message_id: str | None, delivery: str | None
    ) -> None:
        """Something of a party's ended in `dead` and could not be handled there either: journalled, with the delivery it is about when
        that is this system's. A party cannot write into the timeline of another's."""
        with self._db.write() as tx:
            row = BY_ID(tx, ids=[delivery]).first() if delivery else None
            theirs = row is not None and row.receiver_system == system
            ids = ids_of(row) if theirs else {"system": system, "message_id": message_id}
            happened = Event(
                kind="dead",
                at_us=now_us,
                actor=actor,
                delivery=delivery if theirs else None,
                receiver_system=system if theirs else None,
                code="POISON",
                owner="us",
                reason=kind_of("POISON").en,
                digest=digest,
                details={"queue": queue},
                **ids,
            )
            write_events(tx, [event_row(happened)])

    def erase_finished(self, *, now_us: int, retention_us: Mapping[str, int], limit: int = 500) -> int:
        """Erases the keys of bodies whose deliveries have all ended longer ago than their dienst keeps them. Returns how many."""
        erased = 0
        for action, keep_us in sorted(retention_us.items()):
            with self._db.read() as connection:
                seqs = _ERASABLE(connection, action=action, before=now_us - keep_us, limit=limit).scalars().all()
            if seqs:
                with self._db.write() as tx:
                    gone = _ERASE(tx, seqs=seqs, before=now_us - keep_us).scalars().all()
                    _ERASE_BODY(tx, seqs=gone)
                    erased += len(gone)
        return erased

    def forget_ids(self, *, before_us: int, limit: int = 5_000) -> int:
        """Deletes ids that senders used before this moment; returns how many."""
        with self._db.write() as tx:
            return _FORGET(tx, before=before_us, limit=limit).rowcount

    def unfetched(self, *, actor: str, now_us: int, fetch_within_us: Mapping[str, int], limit: int = 500) -> int:
        """Mailbox deliveries their party did not confirm within the contract's time have failed; confirming later still ends well."""
        count = 0
        for action, within_us in sorted(fetch_within_us.items()):
            before = now_us - within_us
            with self._db.read() as connection:
                seqs = _UNFETCHED(connection, action=action, before=before, limit=limit).scalars().all()
            if not seqs:
                continue
            with self._db.write() as tx:
                rows = _NOT_FETCHED(tx, seqs=seqs, before=before, now=now_us).all()
                known = _messages(tx, rows)
                failed = {"code": "MAILBOX_NOT_FETCHED", "owner": "receiver", "reason": kind_of("MAILBOX_NOT_FETCHED").en}
                write_events(tx, [failed_delivery(r, known[r.message_seq], actor, now_us, **failed) for r in rows])
            count += len(rows)
        return count

    def unanswered(self, *, actor: str, now_us: int, limit: int = 500) -> int:
        """Confirmed deliveries whose answer did not come in time have failed; an answer that comes later still ends them well."""
        with self._db.read() as connection:
            seqs = _UNANSWERED(connection, now=now_us, limit=limit).scalars().all()
        if not seqs:
            return 0
        with self._db.write() as tx:
            rows = _NOT_ANSWERED(tx, seqs=seqs, now=now_us).all()
            known = _messages(tx, rows)
            failed = {"code": "ANSWER_MISSING", "owner": "receiver", "reason": kind_of("ANSWER_MISSING").en}
            write_events(tx, [failed_delivery(r, known[r.message_seq], actor, now_us, **failed) for r in rows])
        return len(rows)


def _messages(tx: Connection, rows: Sequence[Any]) -> dict[int, Any]:
    return {m.seq: m for m in MESSAGE_IDS(tx, seqs=sorted({row.message_seq for row in rows})).all()}


def _poisoned(message: Any, actor: str, now_us: int, reason: str) -> Row:
    happened = Event(kind="failed", at_us=now_us, actor=actor, state="failed", code="POISON", owner="us", reason=reason, **ids_of(message))
    return event_row(happened, tell=message.system)


def _revived(message: Any, new: NewDelivery, actor: str, now_us: int, reason: str) -> Row:
    """As when a person offers it again."""
    happened = Event(
        kind="retried",
        at_us=now_us,
        actor=actor,
        delivery=new.id,
        receiver=new.receiver,
        receiver_system=new.receiver_system,
        state="routed",
        details={"failed": "GEMEENTECODE_UNKNOWN", "why": reason},
        **ids_of(message),
    )
    return event_row(happened)


def _rerouted(waiting: Waiting, new: NewDelivery, actor: str, now_us: int) -> Row:
    return event_row(
        Event(
            kind="waiting" if new.hold_code else "resolved",
            at_us=now_us,
            actor=actor,
            reference=waiting.reference,
            delivery=waiting.id,
            dienst=waiting.dienst,
            versie=waiting.versie,
            bericht=waiting.bericht,
            receiver=new.receiver,
            receiver_system=new.receiver_system,
            code=new.hold_code,
            owner=new.owner,
        )
    )
