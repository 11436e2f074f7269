"""Keeping the board: the audit worker's side of `routing.board`, a little at a time and behind the work.

Five things, each of which may stop anywhere and go on from what is noted in the store:

- `follow` reads the blocks of the journal as they come. What an event may have changed on the board (it is unusual, or something of its
  message is there) is looked up in the tables of the work, and the board made to say the same. So events need no order, and are never
  counted on: one that is seen twice changes nothing.
- `sweep` goes through messages and deliveries in the store's order, one and a half seconds behind. What is still open then becomes an
  item. So healthy traffic costs one look at each row, and a new board, empty or emptied, fills in the same way.
- `count` adds up what passed, block by block: sums and the block's number are written in one transaction.
- `close` takes off refusals that were made good or are old; `pack` adds up the hours of days that are over.
"""

from __future__ import annotations

import hashlib
import time
from collections import deque
from collections.abc import Iterable, Sequence
from typing import Any, Final

from sqlalchemy import Connection, text

from adapters.store.board_own import fold
from adapters.store.board_standing import OF_ITEM, Changes, count_anew
from adapters.store.board_traffic import Sums, add_years_anew, hour_of, pack
from adapters.store.board_where import PROVEN
from adapters.store.database import Database
from adapters.store.rows import event_row, write_events
from adapters.store.sql import Sql
from adapters.store.tables.board import item
from routing.board import FALLEN_STATES, REFUSALS_STAY, GroupKey
from routing.work import Lease
from schemas import events as avro
from schemas.events import Event
from schemas.lifecycle import UNFINISHED
from schemas.oin import brin_of, institution_of

#: Blocks of the journal that are read in one go.
BLOCKS: Final = 20
#: References whose items are made in one transaction: some ten milliseconds for whoever wants to write too.
CHUNK: Final = 200
#: What is open for longer than this becomes an item. Seconds; what fails does not wait for it.
SETTLED_S: Final = 1.5
#: What passed is kept by the hour for so many hours: eight days, so that a week can be told in any zone. Then by the day.
HOURS_STAY: Final = 192
#: Rows that one sweep looks at, at most: ten milliseconds.
SWEEP: Final = 20_000
#: PostgreSQL gives out numbers before they are committed. So every half minute what came since a minute ago is swept once more.
AGAIN_S: Final = 30.0
LOOK_BACK_S: Final = 60.0
#: How long the place of `follow` may be newer in memory than in the store.
NOTE_S: Final = 1.0

#: Kinds of events after which nothing need be said that the sweep does not say.
_USUAL: Final = ("received", "routed", "filtered", "delivered", "acknowledged", "duplicate", "fetched")
_COUNTED: Final = ("received", "refused", "acknowledged", "failed")
_HEAD: Final = 7


def _heads(kinds: Sequence[str]) -> tuple[str, str]:
    """`IN (...)` for the first bytes of a payload: for SQLite and for PostgreSQL."""
    heads = [avro.head(kind)[:_HEAD].hex() for kind in kinds]
    return ", ".join(f"x'{head}'" for head in heads), ", ".join(f"decode('{head}', 'hex')" for head in heads)


class _OfBlocks:
    """A question about the events of some blocks; `{head}` and `{usual}`, `{counted}` stand for the beginning of an event's bytes."""

    def __init__(self, statement: str) -> None:
        usual, counted = _heads(_USUAL), _heads(_COUNTED)
        sqlite = statement.format(head=f"substr(e.payload, 1, {_HEAD})", usual=usual[0], counted=counted[0])
        other = statement.format(head=f"substring(e.payload FROM 1 FOR {_HEAD})", usual=usual[1], counted=counted[1])
        self._sqlite, self._other = Sql(sqlite), Sql(other)

    def __call__(self, connection: Connection, blocks: Sequence[Any]) -> Any:
        return (self._sqlite if connection.dialect.name == "sqlite" else self._other)(
            connection,
            first=min(row.first_id for row in blocks),
            last=max(row.last_id for row in blocks),
            start=blocks[0].seq,
            end=blocks[-1].seq,
        )


_IN_BLOCKS: Final = "FROM event e WHERE e.id BETWEEN :first AND :last AND e.block BETWEEN :start AND :end "
_TOUCHED: Final = _OfBlocks(
    f"SELECT DISTINCT e.reference {_IN_BLOCKS} AND e.reference IS NOT NULL "
    "AND ({head} NOT IN ({usual}) OR EXISTS (SELECT 1 FROM item i WHERE i.reference = e.reference))"
)
_COUNTABLE: Final = _OfBlocks(f"SELECT e.schema, e.payload {_IN_BLOCKS} AND {{head}} IN ({{counted}})")
_PROVEN_OF: Final = Sql(f"SELECT r.reference FROM refusal r WHERE r.reference IN @references AND {PROVEN}")
_BLOCKS: Final = Sql("SELECT seq, first_id, last_id, at_us FROM journal WHERE seq > :after ORDER BY seq LIMIT :limit")
_PLACES: Final = Sql("SELECT name, value FROM counter WHERE name LIKE 'board%'")
_NOTE: Final = Sql("UPDATE counter SET value = :value WHERE name = :name")
_NOTE_FROM: Final = Sql("UPDATE counter SET value = :value WHERE name = :name AND value = :before RETURNING value")

_OPEN: Final = ", ".join(f"'{state}'" for state in UNFINISHED)
_ON_BOARD: Final = f"(d.state IN ({_OPEN}, 'failed') OR (d.state = 'acknowledged' AND d.answer_within_us IS NOT NULL))"
_UNROUTED: Final = "m.state IN ('received', 'failed')"
_MINE: Final = (
    *("id", "kind", "seq", "reference", "dienst", "versie", "bericht", "sender", "system", "receiver", "receiver_system", "target"),
    *("state", "code", "owner", "reason", "received_us", "at_us", "deadline_us", "business_id", "message_id", "order_key", "subject"),
    *("lane", "endpoint", "attempts", "kept", "message_seq", "law_day"),
)
_OF_MESSAGE: Final = "m.dienst, m.versie, m.bericht, m.sender, m.system"
_IDS: Final = "m.business_id, m.message_id, m.order_key, m.subject"
_DELIVERY: Final = (
    f"SELECT d.id, 'delivery', d.seq, m.reference, {_OF_MESSAGE}, d.receiver, d.receiver_system, d.target, d.state, "
    f"COALESCE(d.code, d.hold_code), d.owner, d.reason, m.received_us, d.at_us, d.deadline_us, {_IDS}, d.lane, d.endpoint, d.attempts, "
    "m.kept, d.message_seq, m.law_day, true FROM delivery d JOIN message m ON m.seq = d.message_seq "
)
#: When a message failed as a whole stands in its events only.
_FAILED_AT: Final = "CASE WHEN m.state = 'failed' THEN (SELECT max(e.at_us) FROM event e WHERE e.reference = m.reference) END"
_MESSAGE: Final = (
    f"SELECT m.reference, 'message', m.seq, m.reference, {_OF_MESSAGE}, m.receiver, NULL, NULL, m.state, m.code, m.owner, NULL, "
    f"m.received_us, COALESCE({_FAILED_AT}, m.received_us), NULL, {_IDS}, NULL, NULL, 0, m.kept, NULL, m.law_day, true FROM message m "
)
_REFUSAL: Final = (
    "SELECT r.reference, 'refusal', 0, r.reference, r.dienst, NULL, r.bericht, r.sender, r.system, NULL, NULL, NULL, 'refused', r.code, "
    "r.owner, r.reason, r.at_us, r.at_us, NULL, r.business_id, r.message_id, NULL, NULL, NULL, NULL, 0, false, NULL, NULL, "
    f"{PROVEN} FROM refusal r "
)
_NOT_CLOSED: Final = "r.at_us > :since AND NOT EXISTS (SELECT 1 FROM refusal_closed c WHERE c.reference = r.reference)"
_DELIVERIES_OF: Final = Sql(f"{_DELIVERY} WHERE m.reference IN @references AND {_ON_BOARD} ORDER BY d.seq")
_MESSAGES_OF: Final = Sql(f"{_MESSAGE} WHERE m.reference IN @references AND {_UNROUTED} ORDER BY m.seq")
_REFUSALS_OF: Final = Sql(f"{_REFUSAL} WHERE r.reference IN @references AND {_NOT_CLOSED} ORDER BY r.at_us, r.reference")
_DELIVERIES_FROM: Final = Sql(f"{_DELIVERY} WHERE d.seq > :after AND d.seq <= :until AND {_ON_BOARD} ORDER BY d.seq LIMIT :limit")
_MESSAGES_FROM: Final = Sql(f"{_MESSAGE} WHERE m.seq > :after AND m.seq <= :until AND {_UNROUTED} ORDER BY m.seq LIMIT :limit")
_REFUSALS_FROM: Final = Sql(
    f"{_REFUSAL} WHERE (r.at_us, r.reference) > (:after, :reference) AND {_NOT_CLOSED} ORDER BY r.at_us, r.reference LIMIT :limit"
)
_NEWEST: Final = Sql("SELECT (SELECT max(seq) FROM message) AS message, (SELECT max(seq) FROM delivery) AS delivery")
_TAKEN: Final = Sql("SELECT n, id FROM item WHERE n IN @numbers")
_GONE: Final = Sql(f"DELETE FROM item WHERE reference IN @references AND NOT (id IN @ids) RETURNING {', '.join(OF_ITEM)}")
_THERE: Final = Sql(f"SELECT id, {', '.join(OF_ITEM)} FROM item WHERE id IN @ids")

#: What of an item may change while it is on the board.
_CHANGING: Final = (
    *("receiver", "organisation", "receiver_system", "fallen", "state", "code", "owner", "reason", "at_us", "deadline_us", "lane"),
    *("endpoint", "attempts", "kept", "message_seq", "law_day"),
)
_COLUMNS: Final = (*_MINE, "school", "brin", "organisation", "fallen", "n")
_ITEMS: Final = tuple(
    f"INSERT INTO item ({', '.join(_COLUMNS)}) VALUES ({', '.join([mark] * len(_COLUMNS))}) "
    f"ON CONFLICT (id) DO UPDATE SET {', '.join(f'{name} = excluded.{name}' for name in _CHANGING)}"
    for mark in ("?", "%s")
)
assert set(_COLUMNS) == set(item.columns.keys())

_MADE_GOOD: Final = Sql(
    "SELECT i.reference FROM item i WHERE i.state = 'refused' AND ("
    "EXISTS (SELECT 1 FROM used_id u WHERE u.key = 'm:' || i.message_id || ':' || i.sender AND u.received_us > i.received_us) "
    "OR EXISTS (SELECT 1 FROM used_id u WHERE u.key = 'b:' || i.business_id || ':' || i.sender AND u.received_us > i.received_us) "
    "OR EXISTS (SELECT 1 FROM replacement p WHERE p.key = 'b:' || i.business_id || ':' || i.sender AND p.at_us > i.received_us)) "
    "LIMIT :limit"
)
_CLOSED: Final = Sql(
    "INSERT INTO refusal_closed (reference, at_us, who, why) SELECT i.value, :now, 'audit', 'made good' FROM @references AS i "
    "WHERE TRUE ON CONFLICT DO NOTHING"
)
_OFF: Final = Sql(f"DELETE FROM item WHERE reference IN @references AND state = 'refused' RETURNING {', '.join(OF_ITEM)}")
_OLD: Final = Sql(f"DELETE FROM item WHERE state = 'refused' AND received_us <= :before RETURNING {', '.join(OF_ITEM)}")

_BACK: Final = Sql(
    "UPDATE group_life SET state = 'open', ticket = NULL, agreed_on = NULL, changed_us = :now WHERE state = 'solved' AND EXISTS "
    "(SELECT 1 FROM failure_group g WHERE g.code = group_life.code AND g.owner = group_life.owner AND g.dienst = group_life.dienst "
    "AND g.system = group_life.system AND g.receiver_system = group_life.receiver_system AND g.last_us > group_life.changed_us) "
    "RETURNING code, owner, dienst, system, receiver_system"
)
_ADD_NOTE: Final = Sql("INSERT INTO group_note (key, at_us, who, what, text) VALUES (:key, :now, :who, :what, :text)")


class BoardKeeper:
    """The board's one writer at a time: each change checks the leader's lease in its transaction. Everything raises LeaseLost."""

    def __init__(self, database: Database, *, settled_s: float = SETTLED_S) -> None:
        self._db, self._settled_s = database, settled_s
        self._seen: tuple[Lease, int] | None = None  #: the last block that `follow` saw; in the store it may be a second older
        self._counted: Lease | None = None  #: since when `standing` is right
        self._noted_at = 0.0
        self._marks: deque[tuple[float, int, int]] = deque()  #: moment, and the newest message and delivery there were
        self._again_at = 0.0
        self._refusals: tuple[int, str] | None = None  #: how far the refusals of before have been gone through

    def follow(self, lease: Lease, *, now_us: int) -> int:
        """Brings on the board what the next blocks of the journal tell of; returns how many blocks. A new leader first counts what stands
        there: the one before may have been of a version that does not."""
        if self._counted != lease:
            with self._db.write() as tx:
                self._db.require(tx, lease)
                count_anew(tx)
                add_years_anew(tx, now_us)
            self._counted = lease
        with self._db.read() as connection:
            noted = self._place(connection, "board")
            place = max(noted, self._seen[1]) if self._seen and self._seen[0] == lease else noted
            blocks = _BLOCKS(connection, after=place, limit=BLOCKS).all()
            touched = sorted(_TOUCHED(connection, blocks).scalars().all()) if blocks else []
        for chunk in _chunks(touched):
            self._say(lease, chunk, now_us)
        newest = blocks[-1].seq if blocks else place
        self._seen = (lease, newest)
        if newest > noted and (touched or time.monotonic() > self._noted_at + NOTE_S):
            with self._db.write() as tx:
                self._db.require(tx, lease)
                _NOTE(tx, name="board", value=newest)
            self._noted_at = time.monotonic()
        return len(blocks)

    def _say(self, lease: Lease, references: Sequence[str], now_us: int) -> None:
        """Makes the board say of these what the tables say now. (A change after this look has an event after it, which comes later.)"""
        since = now_us - _micros(REFUSALS_STAY.total_seconds())
        with self._db.read() as connection:
            rows = [
                *_DELIVERIES_OF(connection, references=references).all(),
                *_MESSAGES_OF(connection, references=references).all(),
                *_REFUSALS_OF(connection, references=references, since=since).all(),
            ]
        with self._db.write() as tx:
            self._db.require(tx, lease)
            changes = _put(tx, rows)
            changes.go(_GONE(tx, references=references, ids=[row[0] for row in rows]).all())
            changes.write(tx)

    def sweep(self, lease: Lease, *, now_us: int) -> int:
        """Makes items of what came some time ago and is still open; returns how many rows it looked at; SWEEP: there are more."""
        moment = time.monotonic()
        with self._db.read() as connection:
            places = self._places(connection)
            newest = _NEWEST(connection).one()
        self._marks.append((moment, newest.message or 0, newest.delivery or 0))
        settled = [mark for mark in self._marks if mark[0] <= moment - self._settled_s]
        while len(self._marks) > 1 and self._marks[1][0] <= moment - LOOK_BACK_S:
            self._marks.popleft()
        looked = self._sweep_refusals(lease, places, now_us)
        if not settled:
            return looked
        _, message, delivery = settled[-1]
        if not self._db.is_sqlite and moment > self._again_at + AGAIN_S and self._marks[0][0] <= moment - AGAIN_S:
            self._again_at, (_, old_message, old_delivery) = moment, self._marks[0]
            for name, statement, after, until in (
                ("board_message", _MESSAGES_FROM, min(old_message, places["board_message"]), places["board_message"]),
                ("board_delivery", _DELIVERIES_FROM, min(old_delivery, places["board_delivery"]), places["board_delivery"]),
            ):
                self._look(lease, name, statement, after, until)
        looked += self._look(lease, "board_message", _MESSAGES_FROM, places["board_message"], message)
        looked += self._look(lease, "board_delivery", _DELIVERIES_FROM, places["board_delivery"], delivery)
        return looked

    def _look(self, lease: Lease, name: str, statement: Sql, after: int, until: int) -> int:
        if until <= after:
            return 0
        until = min(until, after + SWEEP)
        with self._db.read() as connection:
            rows: list[Any] = list(statement(connection, after=after, until=until, limit=CHUNK))
        if len(rows) == CHUNK:
            until = rows[-1][2]
        with self._db.write() as tx:
            self._db.require(tx, lease)
            # written anew by somebody meanwhile: the board is to be made anew, and this row is gone through again
            _NOTE_FROM(tx, name=name, value=until, before=after)
            _put(tx, rows).write(tx)
        return until - after if len(rows) < CHUNK else SWEEP

    def _sweep_refusals(self, lease: Lease, places: dict[str, int], now_us: int) -> int:
        """Those from before there was a board; the others come with their events. Counter `board_refusal_us`: done."""
        if places["board_refusal_us"]:
            self._refusals = None
            return 0
        since = now_us - _micros(REFUSALS_STAY.total_seconds())
        at_us, reference = self._refusals or (since, "")
        with self._db.read() as connection:
            rows: list[Any] = list(_REFUSALS_FROM(connection, after=at_us, reference=reference, since=since, limit=CHUNK))
        with self._db.write() as tx:
            self._db.require(tx, lease)
            _put(tx, rows).write(tx)
            if len(rows) < CHUNK:
                _NOTE(tx, name="board_refusal_us", value=now_us)
        self._refusals = (rows[-1][_MINE.index("received_us")], rows[-1][0]) if rows else None
        return len(rows)

    def count(self, lease: Lease, *, now_us: int) -> int:
        """Adds what the next blocks tell of to what passed; returns how many blocks."""
        with self._db.read() as connection:
            place = self._place(connection, "board_count")
            blocks = _BLOCKS(connection, after=place, limit=BLOCKS).all()
            if not blocks:
                return 0
            seen = [avro.glance(bytes(row.payload), row.schema) for row in _COUNTABLE(connection, blocks).all()]
            refused = [e.reference for e in seen if e.kind == "refused" and e.sender and e.reference]
            proven = set(_PROVEN_OF(connection, references=refused).scalars()) if refused else set()
        sums = Sums()
        for e in seen:
            sums.add(e, proven=e.kind != "refused" or e.reference in proven)
        with self._db.write() as tx:
            self._db.require(tx, lease)
            if _NOTE_FROM(tx, name="board_count", value=blocks[-1].seq, before=place).first() is not None:
                sums.write(tx)
            if sums.failures:
                _come_back(tx, now_us)
        return len(blocks)

    def close(self, lease: Lease, *, now_us: int) -> int:
        """Takes off refusals whose sender has since handed in well what was refused, and those of long ago; returns how many."""
        before = now_us - _micros(REFUSALS_STAY.total_seconds())
        with self._db.read() as connection:
            good = _MADE_GOOD(connection, limit=CHUNK).scalars().all()
            old = connection.execute(_ANY_OLD, {"before": before}).first() is not None
        if not good and not old:
            return 0
        with self._db.write() as tx:
            self._db.require(tx, lease)
            _CLOSED(tx, references=good, now=now_us)
            changes, outdated = Changes(), _OLD(tx, before=before).all()
            changes.go([*_OFF(tx, references=good).all(), *outdated])
            changes.write(tx)
            return len(good) + len(outdated)

    def pack(self, lease: Lease, *, now_us: int) -> int:
        """Adds up the hours of one day of more than eight days ago, and a part of an organisation's; returns 0 when there are none. Not
        while old blocks are still being counted."""
        with self._db.read() as connection:
            places = self._places(connection)
            if _BLOCKS(connection, after=places["board_count"] + BLOCKS, limit=1).first() is not None:
                return 0
        with self._db.write() as tx:
            self._db.require(tx, lease)
            end = pack(tx, places["board_packed"], hour_of(now_us) - HOURS_STAY)
            if end is not None:
                _NOTE(tx, name="board_packed", value=end)
            folded = fold(tx, hour_of(now_us) - HOURS_STAY)
        return 0 if end is None and not folded else 1

    def start_anew(self) -> None:
        """Empties the board; the audit worker fills it again out of the tables and the journal, beside its other work. What people made of
        groups, and which refusals they closed, stays."""
        with self._db.write() as tx:
            for name in ("item", "standing", "traffic", "traffic_year", "traffic_party", "traffic_own", "season", "fallout"):
                tx.execute(text(f"DELETE FROM {name}" if self._db.is_sqlite else f"TRUNCATE {name}"))
            for name in ("board_message", "board_delivery", "board_count", "board_refusal_us", "board_packed"):
                _NOTE(tx, name=name, value=0)

    @staticmethod
    def _places(connection: Connection) -> dict[str, int]:
        return {row.name: row.value for row in _PLACES(connection).all()}

    def _place(self, connection: Connection, name: str) -> int:
        return self._places(connection)[name]


_ANY_OLD: Final = text("SELECT 1 FROM item WHERE state = 'refused' AND received_us <= :before LIMIT 1")


def _come_back(tx: Connection, now_us: int) -> None:
    """Groups that were solved, and of which something failed since, are open again."""
    events = []
    for row in _BACK(tx, now=now_us).all():
        key = GroupKey(**row._mapping)
        _ADD_NOTE(tx, key=str(key), now=now_us, who="audit", what="reopened", text="")
        events.append(event_row(Event(kind="group_reopened", at_us=now_us, actor="audit", details={"group": str(key)})))
    write_events(tx, events)


def _put(tx: Connection, rows: Iterable[Any]) -> Changes:
    """Writes them; what that changes is to be written too."""
    made, changes = [_item(*row) for row in rows], Changes()
    if made:
        before = {row.id: row for row in _THERE(tx, ids=[one[0] for one in made])}
        places = _places(tx, made)
        tx.exec_driver_sql(_ITEMS[0] if tx.dialect.name == "sqlite" else _ITEMS[1], [(*one, places[one[0]]) for one in made])
        changes.come(before, {one[0]: dict(zip(_COLUMNS, one, strict=False)) for one in made})
    return changes


def _places(tx: Connection, made: Sequence[tuple[Any, ...]]) -> dict[str, int]:
    """A place for each: rows of one time stand together, which is how they are read; and it stands in URLs, so it must not tell how many
    there are: seconds, then 28 bits of a hash, or the next that is free."""
    at = _MINE.index("received_us")
    wished = {one[0]: one[at] // 1_000_000 << 28 | int.from_bytes(hashlib.sha256(one[0].encode()).digest()[:4]) >> 4 for one in made}
    taken = {row.n: row.id for row in _TAKEN(tx, numbers=sorted(wished.values()))}
    for id, n in wished.items():
        while taken.setdefault(n, id) != id:
            n += 1
        wished[id] = n
    return wished


def _item(*row: Any) -> tuple[Any, ...]:
    """A row of the statements above, with what is worked out of it. The last of it: whether the sender is who it says; else no school is
    told of it, and it counts for none. Who sees everything finds it by the BRIN all the same."""
    *own, proven = row
    values = dict(zip(_MINE, own, strict=True))
    sender, receiver, state = values["sender"], values["receiver"], values["state"]
    if values["business_id"]:
        values["business_id"] = values["business_id"].lower()
    if state in ("routed", "released") and not values["code"]:
        values["owner"] = values["reason"] = None  # of a wait that is over
    school = institution_of(sender) if sender and proven else None
    fallen = state in FALLEN_STATES
    # The BRIN is only looked for, by whoever sees the connection anyway: a school that asks after its refusals is to be helped.
    organisation, brin = institution_of(receiver) if receiver else None, brin_of(sender) if sender else None
    return (*values.values(), school, brin, organisation, fallen)


def _chunks(references: Sequence[str]) -> Iterable[Sequence[str]]:
    return (references[start : start + CHUNK] for start in range(0, len(references), CHUNK))


def _micros(seconds: float) -> int:
    return int(seconds * 1e6)
