"""What alerts are made from: failures counted by cause and partner, lanes that are held, mailboxes, and how far our own workers are.

Failures are counted from the groups that the audit worker keeps: every look adds what came since the one before to the ten minutes of
now, so that "in the last hour" and "in the last day" cost a few hundred small rows, however many messages there are.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from sqlalchemy import Connection, text

from adapters.store.board_traffic import hour_of
from adapters.store.database import Database
from adapters.store.release import distinct_lanes
from adapters.store.sql import Sql
from adapters.store.tables.alerts import tally, total
from adapters.store.tables.deliveries import DUE, OPEN, ROUTED, UNSENT
from adapters.store.tables.journal import UNCHAINED
from routing.alert_signals import UNFETCHED_AFTER, Facts, Failing, HeldLane, Standing, party_of
from routing.amsterdam import amsterdam_day
from routing.board import GroupState
from routing.release import CircuitState, is_mailbox
from routing.work import Lease

_SLOT_US: Final = 600_000_000
_HOUR: Final = 6
_DAY: Final = 144
_BETWEEN: Final = "\x1f"

_GROUPS: Final = Sql(
    "SELECT code, owner, dienst, system, receiver_system, count, first_us, last_us, state, ticket, agreed_on FROM failure_group "
    "LEFT JOIN group_life USING (code, owner, dienst, system, receiver_system) WHERE code <> ''"
)
_TOTALS: Final = Sql(f"SELECT cause, total FROM {total.name}")
_SET_TOTAL: Final = text(
    f"INSERT INTO {total.name} (cause, total) VALUES (:cause, :total) ON CONFLICT (cause) DO UPDATE SET total = :total"
)
_COUNT: Final = text(
    f"INSERT INTO {tally.name} (cause, slot, n) VALUES (:cause, :slot, :n) ON CONFLICT (cause, slot) DO UPDATE SET n = {tally.name}.n + :n"
)
_COUNTS: Final = Sql(
    f"SELECT cause, sum(n) AS day, sum(CASE WHEN slot > :hour THEN n ELSE 0 END) AS hour, min(slot) AS first FROM {tally.name} "
    "WHERE slot > :day GROUP BY cause"
)
_FORGET: Final = Sql(f"DELETE FROM {tally.name} WHERE slot <= :day")
#: What was handed in by each system, refused or not; and what became of what was for it. Of whole hours of the clock.
_SENT: Final = Sql(
    "SELECT system AS party, dienst, sum(handed_in + refused) AS day, "
    "sum(CASE WHEN hour >= :hour THEN handed_in + refused ELSE 0 END) AS hour "
    "FROM traffic WHERE hour >= :day AND receiver_system = '' GROUP BY system, dienst"
)
_RECEIVED: Final = Sql(
    "SELECT receiver_system AS party, dienst, sum(delivered + failed) AS day, "
    "sum(CASE WHEN hour >= :hour THEN delivered + failed ELSE 0 END) AS hour "
    "FROM traffic WHERE hour >= :day AND receiver_system <> '' GROUP BY receiver_system, dienst"
)
_HELD: Final = Sql("SELECT lane, code, probes, probe_at_us, at_us FROM lane WHERE state <> :closed ORDER BY lane")
_WAITING: Final = " + ".join(
    f"(SELECT count(*) FROM (SELECT 1 FROM delivery WHERE {which} AND lane = :lane LIMIT 10000) AS x)" for which in (ROUTED, DUE)
)
_FOR_LANE: Final = Sql(f"SELECT {_WAITING}")
_LANES_OPEN: Final = distinct_lanes(OPEN)
#: The oldest by the store's order: nothing of a mailbox is read but its first row, unless that has stood there for long.
_OLDEST: Final = Sql(f"SELECT delivered_us FROM delivery WHERE {OPEN} AND lane = :lane AND state = 'delivered' ORDER BY seq LIMIT 1")
_STANDING: Final = Sql(f"SELECT count(*) FROM delivery WHERE {OPEN} AND lane = :lane AND state = 'delivered'")
_UNCHAINED: Final = Sql(f"SELECT at_us FROM event WHERE {UNCHAINED} ORDER BY id LIMIT 1")
_OVERDUE: Final = Sql(f"SELECT min(deadline_us) FROM delivery WHERE {UNSENT}")


class AlertFacts:
    """Counts and looks."""

    def __init__(self, database: Database) -> None:
        self._db = database

    def look(self, lease: Lease, *, missing: Mapping[str, int], now_us: int) -> Facts:
        """What is to be seen now. Raises LeaseLost, StoreUnavailable."""
        self._count(lease, now_us)
        with self._db.read() as connection:
            overdue = _OVERDUE(connection).scalar()
            return Facts(
                failures=_failures(connection, now_us),
                sent=_passed(connection, _SENT, now_us),
                received=_passed(connection, _RECEIVED, now_us),
                held=_held(connection),
                mailboxes=_mailboxes(connection, now_us),
                unchained_us=_UNCHAINED(connection).scalar(),
                overdue_us=overdue if overdue is not None and overdue < now_us else None,
                missing=dict(missing),
            )

    def _count(self, lease: Lease, now_us: int) -> None:
        """Adds what came since the last look to the ten minutes of now. Nobody else does, so that it is worked out before the store is
        locked for it."""
        slot = now_us // _SLOT_US
        with self._db.read() as connection:
            known = {row.cause: row.total for row in _TOTALS(connection)}
            groups = _groups(connection)
        totals, counts = [], []
        for cause, rows in groups.items():
            count = sum(row.count for row in rows)
            if count == known.get(cause):
                continue
            totals.append({"cause": cause, "total": count})
            # of a cause that is new here, what is older than a day is no news to anybody: this store is older than its alerts
            lately = sum(row.count for row in rows if row.first_us > now_us - _DAY * _SLOT_US)
            if (new := count - known[cause] if cause in known else lately) > 0:
                counts.append({"cause": cause, "slot": slot, "n": new})
        with self._db.write() as tx:
            self._db.require(tx, lease)
            for statement, rows in ((_SET_TOTAL, totals), (_COUNT, counts)):
                if rows:
                    tx.execute(statement, rows)
            _FORGET(tx, day=slot - _DAY)


def _groups(connection: Connection) -> dict[str, list[Any]]:
    """Groups of failures by who must act on them, and on what."""
    found: dict[str, list[Any]] = defaultdict(list)
    for row in _GROUPS(connection):
        found[_BETWEEN.join((row.code, row.owner, row.dienst, party_of(row.owner, row.system, row.receiver_system)))].append(row)
    return found


def _failures(connection: Connection, now_us: int) -> list[Failing]:
    slot, found = now_us // _SLOT_US, []
    counts = _COUNTS(connection, hour=slot - _HOUR, day=slot - _DAY).all()
    groups = _groups(connection) if counts else {}
    for row in counts:
        if row.cause in groups:
            members = groups[row.cause]
            code, owner, dienst, party = row.cause.split(_BETWEEN)
            last_us = max(one.last_us for one in members)
            first_us = min(last_us, max(min(one.first_us for one in members), row.first * _SLOT_US))
            found.append(
                Failing(
                    code=code,
                    owner=owner,
                    dienst=dienst,
                    party=party,
                    hour=int(row.hour),
                    day=int(row.day),
                    first_us=first_us,
                    last_us=last_us,
                    ticket=_ticket(members, now_us),
                )
            )
    return found


def _ticket(groups: Sequence[Any], now_us: int) -> str | None:
    """Under what their partner has them, when it has all that failed in the last day, and did not say that it would be done by now."""
    lately = [row for row in groups if row.last_us > now_us - _DAY * _SLOT_US]
    today = amsterdam_day(datetime.fromtimestamp(now_us / 1e6, UTC)).isoformat()
    if not lately or any(row.state != str(GroupState.WITH_PARTNER) or (row.agreed_on or today) < today for row in lately):
        return None
    return ", ".join(sorted({row.ticket or "" for row in lately}))


def _passed(connection: Connection, which: Sql, now_us: int) -> dict[tuple[str, str], tuple[int, int]]:
    hour = hour_of(now_us)
    return {(row.party, row.dienst): (int(row.hour), int(row.day)) for row in which(connection, hour=hour - 1, day=hour - 24)}


def _held(connection: Connection) -> list[HeldLane]:
    return [
        HeldLane(
            lane=row.lane,
            code=row.code,
            probes=row.probes,
            at_us=row.at_us,
            by_hand=row.probe_at_us is None,
            waiting=int(_FOR_LANE(connection, lane=row.lane).scalar_one()),
        )
        for row in _HELD(connection, closed=str(CircuitState.CLOSED)).all()
    ]


def _mailboxes(connection: Connection, now_us: int) -> list[Standing]:
    found = []
    for lane in _LANES_OPEN(connection).scalars().all():
        if is_mailbox(lane):
            oldest_us = _OLDEST(connection, lane=lane).scalar()
            if oldest_us is not None and now_us - oldest_us > UNFETCHED_AFTER // timedelta(microseconds=1):
                count = _STANDING(connection, lane=lane).scalar_one()
                found.append(Standing(system=lane.removeprefix("mailbox "), oldest_us=oldest_us, count=count))
    return found
