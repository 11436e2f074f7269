"""The store's side of circuit breakers: how each lane stands, in one row, written in the transaction of the attempts that tell of it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Final

from sqlalchemy import Connection

from adapters.store.release import Part
from adapters.store.rows import Row, event_row, write_events
from adapters.store.sql import Sql
from adapters.store.tables.deliveries import DUE, OPEN, ROUTED
from routing.outcome import Lane
from routing.release import CLOSED, Circuit, CircuitState, after_failure, after_success, as_of, held_by_hand, stopped
from routing.work import Settlement
from schemas.events import Event

_STANDING: Final = Sql("SELECT lane, state, failures, probes, probe_at_us, code, at_us, who FROM lane ORDER BY lane")
_THESE: Final = Sql("SELECT lane, state, failures, probes, probe_at_us FROM lane WHERE lane IN @lanes")
#: What an operator holds stays held: whoever read the row before that may not write over it.
_SET: Final = Sql(
    "INSERT INTO lane (lane, state, failures, probes, probe_at_us, code, at_us, who, since_us) "
    "VALUES (:lane, :state, :failures, :probes, :probe_at, :code, :now, :who, :now) ON CONFLICT (lane) DO UPDATE SET state = :state, "
    "failures = :failures, probes = :probes, probe_at_us = :probe_at, code = :code, at_us = :now, who = :who, "
    "since_us = CASE WHEN lane.state = 'closed' AND lane.failures = 0 THEN :now ELSE coalesce(lane.since_us, :now) END "
    "WHERE lane.probe_at_us IS NOT NULL OR lane.state <> 'held' OR :by_hand = 1"
)
#: What waited for the lane goes at once when it flows again, the oldest first. What has failed there more than twice keeps to its own
#: time: it may be why the lane was held, and would hold it again at once.
_GO_ON: Final = Sql(f"UPDATE delivery SET not_before_us = :now WHERE {DUE} AND lane = :lane AND not_before_us > :now AND attempts <= 2")
#: While a lane is held, what waits in it waits for the probe, and not for longer: what was tried least goes first, then the oldest.
_READY: Final = Sql(
    f"UPDATE delivery SET not_before_us = :at + attempts WHERE {DUE} AND lane = :lane AND not_before_us > :at "
    "AND not_before_us > :at + attempts"
)
WAITING_IN: Final = Sql(
    f"SELECT (SELECT count(*) FROM delivery WHERE {ROUTED} AND lane = :lane) + (SELECT count(*) FROM delivery WHERE {DUE} AND lane = :lane)"
    f" + (SELECT count(*) FROM delivery WHERE {OPEN} AND state = 'released' AND lane = :lane) AS waiting"
)


class Lanes(Part):
    """How each lane stands, for relay and operators."""

    def circuits(self) -> dict[str, Circuit]:
        """The lanes that had trouble, and how they stand; any other flows."""
        with self._db.read() as connection:
            return {row.lane: _circuit(row) for row in _STANDING(connection).all()}

    def standing(self, now_us: int) -> list[dict[str, Any]]:
        """The same for people, with what waits for each."""
        now = _moment(now_us)
        with self._db.read() as connection:
            return [
                {
                    "lane": row.lane,
                    "state": str(as_of(_circuit(row), now).state),
                    "failures": row.failures,
                    "probe_at_us": row.probe_at_us,
                    "code": row.code,
                    "since_us": row.at_us,
                    "by": row.who,
                    "waiting": WAITING_IN(connection, lane=row.lane).scalar_one(),
                }
                for row in _STANDING(connection).all()
            ]

    def hold(self, lane: str, *, who: str, now_us: int) -> None:
        """Holds it until it is let go: nothing leaves, not even a probe."""
        with self._db.write() as tx:
            self._by_hand(tx, lane, Circuit(state=CircuitState.HELD), "lane_held", who, now_us)

    def let_go(self, lane: str, *, who: str, now_us: int) -> bool:
        """Lets it flow, whoever held it. False when it was not held."""
        with self._db.write() as tx:
            row = next(iter(_THESE(tx, lanes=[lane]).all()), None)
            if row is None or row.state != str(CircuitState.HELD):
                return False
            self._by_hand(tx, lane, CLOSED, "lane_let_go", who, now_us)
            _GO_ON(tx, lane=lane, now=now_us)
            return True

    @staticmethod
    def _by_hand(tx: Connection, lane: str, circuit: Circuit, kind: str, who: str, now_us: int) -> None:
        _write(tx, lane, circuit, code=None, who=who, now_us=now_us, by_hand=True)
        write_events(tx, [event_row(Event(kind=kind, at_us=now_us, actor=who, details={"lane": lane}))])


def note_heard(tx: Connection, settled: Sequence[Settlement], actor: str) -> list[Row]:
    """What these attempts say of their lanes, in the order in which they ended. Returns events of those that are held, or flow again.
    One lane after another by name, so that two workers do not wait for each other crosswise."""
    telling = sorted((s for s in settled if s.heard is not None), key=lambda s: (s.claimed.lane, s.at_us))
    if not telling:
        return []
    known = {row.lane: _circuit(row) for row in _THESE(tx, lanes=sorted({s.claimed.lane for s in telling})).all()}
    events: list[Row] = []
    for s in telling:
        lane, before = s.claimed.lane, known.get(s.claimed.lane, CLOSED)
        after = _after(before, s)
        if after == before:
            continue
        known[lane] = after
        if not _write(tx, lane, after, code=s.code or s.hold_code, who=actor, now_us=s.at_us):
            continue  # an operator held it since we looked
        if before.state is CircuitState.HELD and after.state is CircuitState.CLOSED:
            _GO_ON(tx, lane=lane, now=s.at_us)
            events.append(_event("lane_flows", s, actor))
        elif before.state is CircuitState.CLOSED and after.state is CircuitState.HELD:
            events.append(_event("lane_held", s, actor))
    for lane, circuit in known.items():
        if circuit.probe_at is not None:
            _READY(tx, lane=lane, at=_micros(circuit.probe_at))
    return events


def _after(circuit: Circuit, s: Settlement) -> Circuit:
    now = _moment(s.at_us)
    if s.heard == Lane.WORKS:
        return after_success(circuit)
    if s.heard == Lane.STOP:
        return stopped(circuit, _moment(max(s.stop_until_us, s.at_us)))
    return circuit if held_by_hand(circuit) else after_failure(as_of(circuit, now), now)


def _write(tx: Connection, lane: str, circuit: Circuit, *, code: str | None, who: str, now_us: int, by_hand: bool = False) -> bool:
    """Whether it was written: not over an operator's hold."""
    written = _SET(
        tx,
        lane=lane,
        state=str(circuit.state),
        failures=circuit.failures,
        probes=circuit.probes,
        probe_at=None if circuit.probe_at is None else _micros(circuit.probe_at),
        code=code,
        now=now_us,
        who=who,
        by_hand=int(by_hand),
    )
    return written.rowcount > 0


def _circuit(row: Any) -> Circuit:
    probe_at = None if row.probe_at_us is None else _moment(row.probe_at_us)
    return Circuit(state=CircuitState(row.state), failures=row.failures, probes=row.probes, probe_at=probe_at)


def _moment(at_us: int) -> datetime:
    return datetime.fromtimestamp(at_us / 1e6, UTC)


def _micros(at: datetime) -> int:
    return round(at.timestamp() * 1e6)


def _event(kind: str, s: Settlement, actor: str) -> Row:
    return event_row(
        Event(
            kind=kind,
            at_us=s.at_us,
            actor=actor,
            receiver_system=s.claimed.receiver_system,
            code=s.code or s.hold_code,
            reason=s.reason,
            details={"lane": s.claimed.lane},
        )
    )
