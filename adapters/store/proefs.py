"""The store's side of proefs: asking for one, and what became of it (routing.proef)."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from typing import Any, Final

from sqlalchemy import Connection

from adapters.store.acts import NUDGE
from adapters.store.mailboxes import may_have_left
from adapters.store.release import Part
from adapters.store.rows import Row, event_row, ids_of, write_events
from adapters.store.sql import Insert, Sql
from adapters.store.tables.deliveries import OPEN
from adapters.store.tables.proefs import STANDING, proef
from routing.party import NOT_FETCHED
from routing.people import Scope
from routing.proef import EVERY_S, HOUR_S, PER_HOUR, Proef, ProefState, paused, too_soon, waits
from routing.release import is_mailbox
from routing.work import Lease
from schemas.events import Event

#: A day's worth of what is looked back at; older ones are forgotten with the ids of messages.
KEPT_US: Final = 400 * 86_400_000_000

_FIELDS: Final = tuple(Proef.__dataclass_fields__)
_COLUMNS: Final = ", ".join(_FIELDS)
_ADD: Final = Insert(proef, *_FIELDS)
_HELD: Final = Sql("SELECT who FROM lane WHERE lane = :lane AND state = 'held' AND probe_at_us IS NULL")
_LAST: Final = Sql("SELECT asked_us, ended_us, state FROM proef WHERE lane = :lane ORDER BY seq DESC LIMIT 1")
#: The oldest of the last so many to a system.
_NTH: Final = Sql("SELECT asked_us FROM proef WHERE system = :system ORDER BY seq DESC LIMIT 1 OFFSET :n")
_SEEN: Final = "(:everything = 1 OR system IN @systems OR organisation IN @organisations)"
_ONE: Final = Sql(f"SELECT {_COLUMNS} FROM proef WHERE id = :id AND {_SEEN}")
_ALL: Final = Sql(f"SELECT {_COLUMNS} FROM proef WHERE {_SEEN} ORDER BY seq DESC LIMIT :limit")
_OF_LANE: Final = Sql(
    f"SELECT {_COLUMNS} FROM proef WHERE lane = :lane AND (:party = '' OR system = :party OR organisation = :party) AND {_SEEN} "
    "ORDER BY seq DESC LIMIT :limit"
)
_OF_PARTY: Final = Sql(
    f"SELECT {_COLUMNS} FROM proef WHERE seq IN (SELECT seq FROM proef WHERE system = :party UNION "
    f"SELECT seq FROM proef WHERE organisation = :party) AND {_SEEN} ORDER BY seq DESC LIMIT :limit"
)
_STANDING: Final = Sql(f"SELECT {_COLUMNS} FROM proef WHERE {STANDING} ORDER BY seq")
_SENT: Final = Sql("UPDATE proef SET state = 'under_way' WHERE id = :id AND state = 'asked'")
_NOTE: Final = Sql(
    "UPDATE proef SET state = :state, code = :code, owner = :owner, reason = :reason, took_us = :took_us, ended_us = :ended_us, "
    "lane = COALESCE(:lane, lane), endpoint = COALESCE(:endpoint, endpoint), system = COALESCE(:system, system) "
    f"WHERE id = :id AND {STANDING}"
)
_FORGET: Final = Sql(f"DELETE FROM proef WHERE asked_us < :before AND NOT ({STANDING})")
#: The delivery of each, its last attempt, and how its lane stands.
_STANDS: Final = Sql(
    "SELECT m.reference, m.seq AS message_seq, m.state AS message_state, m.code AS message_code, m.owner AS message_owner, m.message_id, "
    "m.business_id, m.system, m.sender, m.dienst, m.versie, m.bericht, d.seq, d.id, d.state, d.receiver, d.receiver_system, d.endpoint, "
    "d.lane, d.attempts, d.hold_code, d.code, d.owner, d.reason, d.delivered_us, d.at_us, a.took_us, a.reason AS said, "
    "l.state AS lane_state, l.probe_at_us FROM message m LEFT JOIN delivery d ON d.message_seq = m.seq "
    "LEFT JOIN attempt a ON a.delivery_seq = d.seq AND a.number = d.attempts LEFT JOIN lane l ON l.lane = d.lane "
    "WHERE m.reference IN @references ORDER BY m.seq, d.seq"
)
#: A lane that failed is tried with it at once, when nothing else is under way there: it is the probe.
_PROBE: Final = Sql(
    "UPDATE delivery SET state = 'released', release = release + 1, claim = NULL, claim_until_us = NULL, hold_code = NULL, at_us = :now "
    "WHERE seq = :seq AND state = 'routed' AND lane = :lane AND attempts = 0 AND EXISTS (SELECT 1 FROM lane l WHERE l.lane = :lane "
    "AND l.state = 'held' AND l.probe_at_us IS NOT NULL) AND NOT EXISTS (SELECT 1 FROM delivery o WHERE o.lane = :lane "
    f"AND {OPEN.replace('state', 'o.state')}) RETURNING seq"
)
_FAIL: Final = Sql(
    "UPDATE delivery SET state = 'failed', code = :code, owner = :owner, reason = :reason, hold_code = NULL, at_us = :now "
    "WHERE seq = :seq AND state = :before AND attempts = :attempts RETURNING seq"
)
_CLOSE: Final = Sql("UPDATE delivery SET state = 'archived', at_us = :now WHERE seq = :seq AND state = 'failed' RETURNING seq")
_CLOSE_MESSAGE: Final = Sql("UPDATE message SET state = 'archived' WHERE seq = :seq AND state = 'failed' RETURNING seq")


class Proefs(Part):
    """What is asked of the store about them."""

    def ask(self, wanted: Proef) -> Proef:
        """Keeps it, for a worker to make. Raises NoProef where an operator holds the lane, and for one too many."""
        with self._db.write() as tx:
            self._db.one_at_a_time(tx, [hashlib.sha256(f"proef {wanted.system}".encode()).digest()])
            _check(tx, wanted)
            _ADD(tx, [tuple(_plain(getattr(wanted, name)) for name in _FIELDS)])
            happened = Event(
                kind="proef_asked",
                at_us=wanted.asked_us,
                actor=wanted.asked_by,
                reference=wanted.id,
                receiver=wanted.receiver,
                receiver_system=wanted.system,
                details={"lane": wanted.lane},
            )
            write_events(tx, [event_row(happened)])
        return wanted

    def proefs(self, scope: Scope, *, party: str | None = None, lane: str | None = None, limit: int = 20) -> list[Proef]:
        """See routing.proef."""
        with self._db.read() as connection:
            seen = {**_seen(scope), "limit": limit}
            if lane is not None:
                rows = _OF_LANE(connection, lane=lane, party=party or "", **seen).all()
            elif party is not None:
                rows = _OF_PARTY(connection, party=party, **seen).all()
            else:
                rows = _ALL(connection, **seen).all()
        return [_proef(row) for row in rows]

    def proef(self, scope: Scope, id: str) -> Proef | None:
        """See routing.proef."""
        with self._db.read() as connection:
            row = _ONE(connection, id=id, **_seen(scope)).first()
        return None if row is None else _proef(row)

    # -- for the worker -------------------------------------------------------------------------------------------------------------------

    def standing(self) -> list[Proef]:
        """Those that have not ended, the oldest first."""
        with self._db.read() as connection:
            return [_proef(row) for row in _STANDING(connection).all()]

    def handed_in(self, id: str, *, lease: Lease) -> None:
        """Its message is in the store. Raises LeaseLost."""
        with self._db.write() as tx:
            self._db.require(tx, lease)
            _SENT(tx, id=id)

    def refuse(self, one: Proef, *, code: str, owner: str, reason: str, lease: Lease, now_us: int) -> None:
        """No message could be made of it. Raises LeaseLost."""
        with self._db.write() as tx:
            self._db.require(tx, lease)
            _note(tx, one.id, ProefState.REFUSED, code=code, owner=owner, reason=reason, now_us=now_us)
            event = Event(
                kind="proef_ended",
                at_us=now_us,
                actor=lease.holder,
                reference=one.id,
                receiver=one.receiver,
                receiver_system=one.system,
                code=code,
                owner=owner,
                reason=reason,
            )
            write_events(tx, [event_row(event)])

    def look(self, some: Sequence[Proef], *, lease: Lease, now_us: int) -> int:
        """Notes what became of those that were handed in. One that did not arrive is closed, so that nobody has to: what came of it stands
        here. Returns how many ended. Raises LeaseLost."""
        with self._db.read() as connection:
            rows = {row.reference: row for row in _STANDS(connection, references=[one.id for one in some]).all()}
        todo = [(one, rows[one.id], act) for one in some if one.id in rows and (act := _what(one, rows[one.id])) is not None]
        if not todo:
            return 0
        ended = 0
        with self._db.write() as tx:
            self._db.require(tx, lease)
            for one, row, act in todo:
                ended += act(tx, one, row, lease.holder, now_us)
        return ended

    def forget(self, *, now_us: int) -> None:
        """Those of long ago."""
        with self._db.write() as tx:
            _FORGET(tx, before=now_us - KEPT_US)


def _check(tx: Connection, wanted: Proef) -> None:
    """Raises NoProef."""
    held = _HELD(tx, lane=wanted.lane).first()
    if held is not None:
        raise paused(wanted.lane, held.who)
    last = _LAST(tx, lane=wanted.lane).first()
    if last is not None and last.ended_us is None and last.state != ProefState.DELIVERED:
        raise waits()
    nth = _NTH(tx, system=wanted.system, n=PER_HOUR - 1).scalar()
    free_us = max(
        last.asked_us + EVERY_S * 1_000_000 if last is not None else 0,
        nth + HOUR_S * 1_000_000 if nth is not None else 0,
    )
    if free_us > wanted.asked_us:
        raise too_soon(-(-(free_us - wanted.asked_us) // 1_000_000))


_Act = Callable[[Connection, Proef, Any, str, int], int]


def _what(one: Proef, row: Any) -> _Act | None:
    """What is to be noted or done, by how its delivery stands; None: nothing yet. Returns of what it calls: whether it ended."""
    if row.message_state in ("failed", "archived"):
        return _message_failed
    if row.seq is None or row.state == "released":
        return None
    if row.state in ("acknowledged", "answered"):
        return _arrived
    if row.state == "delivered":
        return None if one.state is ProefState.DELIVERED else _stands_there
    if row.state == "routed":
        waits_for_register = row.hold_code is not None and row.hold_code != "ROUTE_REGISTER_AWAY"
        probes = row.lane_state == "held" and row.probe_at_us is not None and row.attempts == 0
        return _failed if waits_for_register else _probe if probes else None
    return _failed


def _arrived(tx: Connection, one: Proef, row: Any, who: str, now_us: int) -> int:
    """In a mailbox, what took time is its system's confirming it."""
    took_us = row.at_us - row.delivered_us if is_mailbox(row.lane) and row.delivered_us is not None else row.took_us
    _note(tx, one.id, ProefState.ACKNOWLEDGED, code=row.code, reason=row.reason, took_us=took_us, now_us=row.at_us, at=row)
    return 1


def _stands_there(tx: Connection, one: Proef, row: Any, who: str, now_us: int) -> int:
    _note(tx, one.id, ProefState.DELIVERED, at=row)
    return 0


def _probe(tx: Connection, one: Proef, row: Any, who: str, now_us: int) -> int:
    if _PROBE(tx, seq=row.seq, lane=row.lane, now=now_us).first() is not None:
        NUDGE(tx, value=str(now_us))
    return 0


def _failed(tx: Connection, one: Proef, row: Any, who: str, now_us: int) -> int:
    """It is not offered again: whoever tests has their answer. Left alone when it moved on since it was looked at."""
    code, owner, reason = row.code or row.hold_code, row.owner, row.reason or row.said
    events: list[Row] = []
    if row.state in ("routed", "postponed", "uncertain"):
        values = {"code": code, "owner": owner, "reason": reason}
        if _FAIL(tx, seq=row.seq, before=row.state, attempts=row.attempts, now=now_us, **values).first() is None:
            return 0
        events.append(_event("failed", row, who, now_us, state="failed", **values))
    if _CLOSE(tx, seq=row.seq, now=now_us).first() is not None:
        events.append(_event("archived", row, who, now_us, state="archived", code=code, owner=owner, details={"why": "proef"}))
        if code == NOT_FETCHED:
            may_have_left(tx, [(row.receiver_system, row.id)], now_us)
    _note(tx, one.id, ProefState.FAILED, code=code, owner=owner, reason=reason, took_us=row.took_us, now_us=now_us, at=row)
    write_events(tx, events)
    return 1


def _message_failed(tx: Connection, one: Proef, row: Any, who: str, now_us: int) -> int:
    """As a whole, before anybody was found to deliver it to."""
    if _CLOSE_MESSAGE(tx, seq=row.message_seq).first() is not None:
        write_events(tx, [_event("archived", row, who, now_us, state="archived", code=row.message_code, details={"why": "proef"})])
    _note(tx, one.id, ProefState.FAILED, code=row.message_code, owner=row.message_owner, now_us=now_us)
    return 1


def _note(
    tx: Connection,
    id: str,
    state: ProefState,
    *,
    code: str | None = None,
    owner: str | None = None,
    reason: str | None = None,
    took_us: int | None = None,
    now_us: int | None = None,
    at: Any = None,
) -> None:
    """`at`: where it went, which the register may have changed since it was asked for."""
    place = {"lane": at.lane, "endpoint": at.endpoint, "system": at.receiver_system} if at is not None else {}
    values = {"code": code, "owner": owner, "reason": reason, "took_us": took_us, "ended_us": now_us}
    _NOTE(tx, id=id, state=str(state), **values, **(dict.fromkeys(("lane", "endpoint", "system")) | place))


def _event(kind: str, row: Any, who: str, now_us: int, **more: Any) -> Row:
    """Nobody is told: it is our own."""
    happened = Event(
        kind=kind,
        at_us=now_us,
        actor=who,
        delivery=row.id,
        receiver=row.receiver,
        receiver_system=row.receiver_system,
        **more,
        **ids_of(row),
    )
    return event_row(happened)


def _seen(scope: Scope) -> dict[str, Any]:
    return {"everything": int(scope.everything), "systems": sorted(scope.systems), "organisations": sorted(scope.organisations)}


def _plain(value: Any) -> Any:
    return str(value) if isinstance(value, ProefState) else value


def _proef(row: Any) -> Proef:
    return Proef(**{**row._mapping, "state": ProefState(row.state)})
