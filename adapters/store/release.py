"""The store's side of the relay: what may leave now (rule 7; design section 3, order).

What makes a look cheap with 100,000 rows waiting: each question is answered from the front of a partial index, one statement tells how
full all lanes are, and a lane in which many rows only wait for their order keys is not read again before something in it changed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final

from sqlalchemy import Connection

from adapters.store.database import Database
from adapters.store.sql import Sql
from adapters.store.tables.deliveries import DUE, OPEN, ORDERED, ROUTED
from adapters.store.tables.messages import AGAIN, RECEIVED_ORDERED
from routing.work import Lease, Ticket

#: Rows of one lane looked at in one go: enough to find work behind a few hundred rows that wait for their order key.
LOOK: Final = 2000
#: A look that read this many rows in vain is only repeated when the lane changed, or after `LOOK_AGAIN_US`: what they wait for may
#: also end elsewhere (in another lane, or unrouted).
VAIN: Final = 100
LOOK_AGAIN_US: Final = 500_000
#: Rows read in vain (about 4 µs each) after which a turn ends and the next begins: other lanes' work must not wait for it.
VAIN_PER_TURN: Final = 4000
#: No claim ends later than this from now.
LONGEST_CLAIM_US: Final = 86_400_000_000

_IN_ROUTING: Final = Sql("SELECT count(*) FROM (SELECT 1 FROM message WHERE state = 'received' AND release > 0 LIMIT :most) AS busy")
_TO_ROUTE: Final = Sql("SELECT seq FROM message WHERE state = 'received' AND release = 0 ORDER BY seq LIMIT :limit")
_RELEASE_MESSAGES: Final = Sql("UPDATE message SET release = 1 WHERE seq IN @seqs AND state = 'received' AND release = 0 RETURNING seq")


def distinct_lanes(predicate: str) -> Sql:
    """Distinct lanes, by hopping through a partial index instead of reading it."""
    return Sql(
        f"WITH RECURSIVE l(lane) AS (SELECT min(lane) FROM delivery WHERE {predicate} UNION ALL "
        f"SELECT (SELECT min(lane) FROM delivery WHERE {predicate} AND lane > l.lane) FROM l WHERE l.lane IS NOT NULL) "
        "SELECT lane FROM l WHERE lane IS NOT NULL"
    )


_LANES: Final = distinct_lanes(ROUTED)
_LANES_POSTPONED: Final = distinct_lanes(DUE)
#: How many deliveries of each lane are open (counted up to the largest window), and the newest that waits in it.
_FILLING: Final = Sql(
    f"SELECT j.value AS lane, (SELECT count(*) FROM (SELECT 1 FROM delivery WHERE {OPEN} AND lane = j.value LIMIT :most) AS o) AS open, "
    f"(SELECT max(seq) FROM delivery WHERE {ROUTED} AND lane = j.value) AS newest FROM @lanes AS j"
)
#: The release rule: in order of hand-in; nothing while something earlier with the same order key is unfinished for the same receiver,
#: or has not been routed yet, for it may turn out to be for the same receiver.
_RELEASABLE: Final = Sql(
    "SELECT d.seq FROM (SELECT seq, order_key, receiver, message_seq, not_before_us FROM delivery "
    f"WHERE {ROUTED} AND lane = :lane AND seq > :after ORDER BY seq LIMIT :look) AS d "
    "WHERE d.not_before_us <= :now AND (d.order_key IS NULL OR ("
    f"NOT EXISTS (SELECT 1 FROM delivery WHERE {ORDERED} "
    "AND order_key = d.order_key AND receiver = d.receiver AND message_seq < d.message_seq) "
    f"AND NOT EXISTS (SELECT 1 FROM message WHERE {RECEIVED_ORDERED} AND order_key = d.order_key AND seq < d.message_seq))) "
    "ORDER BY d.seq LIMIT :limit"
)
_LOOKED_AT: Final = Sql(
    f"SELECT count(*) AS rows, max(seq) AS last FROM (SELECT seq FROM delivery WHERE {ROUTED} AND lane = :lane AND seq > :after "
    "ORDER BY seq LIMIT :look) AS d"
)
_RELEASE_DELIVERIES: Final = Sql(
    "UPDATE delivery SET state = 'released', release = release + 1, claim = NULL, claim_until_us = NULL, hold_code = NULL, at_us = :now "
    "WHERE seq IN @seqs AND state IN ('routed', 'postponed') AND lane IS NOT NULL RETURNING seq, release, lane LIKE 'push %' AS push"
)
_IS_DUE: Final = Sql(
    f"SELECT seq FROM delivery WHERE {DUE} AND lane = :lane AND not_before_us <= :now ORDER BY not_before_us, seq LIMIT :limit"
)
_UNCLAIMED_MESSAGES: Final = Sql(
    "SELECT seq, release FROM message WHERE state = 'received' AND release > 0 "
    f"UNION ALL SELECT seq, release FROM message WHERE {AGAIN} ORDER BY seq"
)
_UNCLAIMED_DELIVERIES: Final = Sql(
    f"SELECT seq, release, lane LIKE 'push %' AS push FROM delivery WHERE {OPEN} AND state = 'released' "
    "AND (claim IS NULL OR claim_until_us < :ended) ORDER BY lane, seq"  # the order of the index
)
#: What is under way to an endpoint needs no broker: its worker ends it, or somebody takes the claim over.
_AFTER_WIPE_RELEASED: Final = Sql(
    "UPDATE delivery SET release = release + 1, claim = NULL, claim_until_us = NULL "
    f"WHERE {OPEN} AND state = 'released' AND lane NOT LIKE 'push %'"
)
_AFTER_WIPE: Final = Sql(
    "UPDATE delivery SET state = 'released', release = release + 1, claim = NULL, claim_until_us = NULL, at_us = :now "
    f"WHERE {OPEN} AND state = 'delivered' AND lane LIKE 'mailbox %'"
)


class Part:
    """One part of the outbox."""

    def __init__(self, database: Database) -> None:
        self._db = database


class Release(Part):
    """Handing out what may leave now."""

    def __init__(self, database: Database) -> None:
        super().__init__(database)
        self._after: dict[str, int] = {}  # lane -> where its next look begins, when the last one found only rows that must wait
        self._vain: dict[str, tuple[int, int, int]] = {}  # lane -> open, newest and time at a look that read many rows in vain
        self._in_vain = 0  # rows read in vain in this turn
        self._first = ""  # lane to begin with: the last turn ended before it

    def release(
        self, lease: Lease, lanes: Iterable[tuple[str, int]], *, window: int, now_us: int, limit: int
    ) -> tuple[list[Ticket], list[Ticket], set[str]]:
        """Hands out what may leave now, in one transaction: the oldest received messages to the route workers, at most `window` of them
        being under way, and the deliveries of `lanes` (each with its window). Third: the lanes that had no room or nothing ready. When
        there is more to do than fits in one turn, the next call begins where this one ended, so that no lane starves another.
        Raises LeaseLost."""
        with self._db.read() as connection:
            messages = self._to_route(connection, window, limit)
            deliveries, idle = self._to_deliver(connection, dict(lanes), now_us, limit)
        handed = self._hand_out(lease, messages, deliveries, now_us)
        return (*handed, idle)

    def release_messages(self, lease: Lease, *, window: int, limit: int) -> list[Ticket]:
        """Only the messages of `release`. Raises LeaseLost."""
        return self.release(lease, (), window=window, now_us=0, limit=limit)[0]

    def release_deliveries(
        self, lease: Lease, lanes: Iterable[tuple[str, int]], *, now_us: int, limit: int
    ) -> tuple[list[Ticket], set[str]]:
        """Only the deliveries of `release`. Raises LeaseLost."""
        return self.release(lease, lanes, window=0, now_us=now_us, limit=limit)[1:]

    @staticmethod
    def _to_route(connection: Connection, window: int, limit: int) -> Sequence[int]:
        room = window - _IN_ROUTING(connection, most=window).scalar_one() if window else 0
        return _TO_ROUTE(connection, limit=min(limit, room)).scalars().all() if room > 0 else ()

    def lanes(self) -> list[str]:
        """Lanes with something to send."""
        with self._db.read() as connection:
            return list(_LANES(connection).scalars().all())

    def _to_deliver(self, connection: Connection, windows: dict[str, int], now_us: int, limit: int) -> tuple[list[int], set[str]]:
        found: list[int] = []
        idle: set[str] = set()
        if not windows:
            return found, idle
        self._in_vain = 0
        filling = {row.lane: row for row in _FILLING(connection, lanes=list(windows), most=max(windows.values())).all()}
        for lane in sorted(windows, key=lambda lane: (lane < self._first, lane)):
            if len(found) >= limit or self._in_vain >= VAIN_PER_TURN:
                self._first = lane
                break
            room = min(limit - len(found), windows[lane] - filling[lane].open)
            seqs = self._ready(connection, filling[lane], now_us, room) if room > 0 else []
            found += seqs
            if not seqs:
                idle.add(lane)
        return found, idle

    def _ready(self, connection: Connection, filling: Any, now_us: int, room: int) -> Sequence[int]:
        lane = filling.lane
        in_vain = self._vain.get(lane)
        if in_vain and in_vain[:2] == (filling.open, filling.newest) and 0 <= now_us - in_vain[2] < LOOK_AGAIN_US:
            return ()
        after = self._after.get(lane, 0)
        seqs = _RELEASABLE(connection, lane=lane, after=after, look=LOOK, now=now_us, limit=room).scalars().all()
        self._vain.pop(lane, None)
        if not seqs:
            looked = _LOOKED_AT(connection, lane=lane, after=after, look=LOOK).one()
            self._in_vain += looked.rows
            if looked.rows >= LOOK:
                self._after[lane] = looked.last
            else:  # that was the end of the lane: from the beginning
                self._after.pop(lane, None)
            if VAIN <= looked.rows < LOOK:
                self._vain[lane] = (filling.open, filling.newest, now_us)
        elif after:
            self._after.pop(lane)
        return seqs

    def _hand_out(self, lease: Lease, messages: Sequence[int], deliveries: Sequence[int], now_us: int) -> tuple[list[Ticket], list[Ticket]]:
        if not messages and not deliveries:
            return [], []
        with self._db.write() as tx:
            self._db.require(tx, lease)
            to_route = _RELEASE_MESSAGES(tx, seqs=messages).scalars().all() if messages else ()
            to_deliver = _RELEASE_DELIVERIES(tx, seqs=deliveries, now=now_us).all() if deliveries else ()
        by_seq = sorted((Ticket(row.seq, row.release, bool(row.push)) for row in to_deliver), key=lambda ticket: ticket.seq)
        return [Ticket(seq, 1) for seq in sorted(to_route)], by_seq

    def release_due(
        self, lease: Lease, *, now_us: int, limit: int, window_of: Callable[[str], int] | None = None
    ) -> tuple[list[Ticket], set[str]]:
        """Hands out postponed deliveries whose time has come, in each lane as many as its window has room for. Second: the lanes in which
        more are due than there was room for: nothing newer may take their place. Raises LeaseLost."""
        found: list[int] = []
        crowded: set[str] = set()
        with self._db.read() as connection:
            lanes = list(_LANES_POSTPONED(connection).scalars().all())
            windows = {lane: window_of(lane) if window_of else limit for lane in lanes}
            counts = (
                {row.lane: row.open for row in _FILLING(connection, lanes=lanes, most=max(windows.values())).all()}
                if lanes and window_of
                else {}
            )
            for lane, window in windows.items():
                room = max(0, min(limit - len(found), window - counts.get(lane, 0)))
                due = _IS_DUE(connection, lane=lane, now=now_us, limit=room + 1).scalars().all()
                found += due[:room]
                if len(due) > room:
                    crowded.add(lane)
        return self._hand_out(lease, (), found, now_us)[1], crowded

    def unclaimed(self, *, now_us: int, wiped: bool = False) -> tuple[list[Ticket], list[Ticket]]:
        """Released messages (also those offered again) and deliveries nobody works on: a new leader, or one that was nudged, publishes
        their tickets again, in the same release. `wiped`: the broker's tickets are gone, so also those of what somebody works on: that
        worker may die."""
        ended = now_us + LONGEST_CLAIM_US if wiped else now_us
        with self._db.read() as connection:
            messages = [Ticket(row.seq, row.release) for row in _UNCLAIMED_MESSAGES(connection).all()]
            deliveries = [Ticket(row.seq, row.release, bool(row.push)) for row in _UNCLAIMED_DELIVERIES(connection, ended=ended).all()]
        return messages, sorted(deliveries, key=lambda ticket: ticket.seq)

    def release_after_wipe(self, lease: Lease, *, now_us: int) -> int:
        """The broker lost everything: what stood in mailboxes or on its way is released again. Returns how many mailbox deliveries."""
        with self._db.write() as tx:
            self._db.require(tx, lease)
            _AFTER_WIPE_RELEASED(tx)
            return _AFTER_WIPE(tx, now=now_us).rowcount
