"""The journal: events are written in the transaction of the work, chained afterwards by the one leader, and told to partners."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, Final

from sqlalchemy import Connection, insert, select, update

from adapters.store.database import Database
from adapters.store.sql import Sql
from adapters.store.tables.journal import decision, event, failure_group, journal
from routing.work import Lease, Telling, Verification
from schemas import events as avro
from schemas.events import Event

#: What the first block follows.
GENESIS: Final = bytes(32)
#: How the events begin that are grouped.
_FAILURES: Final = (avro.head("failed"), avro.head("refused"))

_UNCHAINED: Final = Sql("SELECT id, schema, payload FROM event WHERE block IS NULL ORDER BY id LIMIT :limit")
_LAST_BLOCK: Final = Sql("SELECT seq, hash FROM journal ORDER BY seq DESC LIMIT 1")
_BIND: Final = Sql("UPDATE event SET block = :number WHERE id IN @ids AND block IS NULL")
_OF_BLOCK: Final = Sql("SELECT schema, payload, reference FROM event WHERE id BETWEEN :first AND :last AND block = :number ORDER BY id")
_CHAINED: Final = Sql("SELECT count(*) FROM event WHERE block IS NOT NULL")
_WAITING: Final = Sql("SELECT count(*) FROM event WHERE block IS NULL")
_UNTOLD: Final = Sql(
    "SELECT id, tell, schema, payload FROM event WHERE tell_after_us IS NOT NULL AND tell_after_us <= :now "
    "ORDER BY tell_after_us, id LIMIT :limit"
)
_TELL_AFTER: Final = Sql("UPDATE event SET tell_after_us = :after WHERE id IN @ids")


class Journal:
    """Reading and extending the chain; one leader extends it (its lease is checked in the same transaction)."""

    def __init__(self, database: Database) -> None:
        self._db = database

    def chain(self, lease: Lease, *, now_us: int, limit: int = 1000) -> int:
        """Binds up to `limit` unchained events in one new block; returns how many. Raises LeaseLost."""
        with self._db.read() as connection:  # only the leader binds events, so what is read here is still unbound below
            rows: Sequence[Any] = _UNCHAINED(connection, limit=limit).all()
        if not rows:
            return 0
        ids = [id for id, _, _ in rows]
        digests = [avro.digest(payload, schema) for _, schema, payload in rows]
        # decoding costs as much as all the rest: only what is a failure is
        failures = [avro.decode(payload, schema) for _, schema, payload in rows if payload.startswith(_FAILURES)]
        with self._db.write() as tx:
            self._db.require(tx, lease)
            last = _LAST_BLOCK(tx).first()
            number, previous = (last.seq + 1, bytes(last.hash)) if last else (1, GENESIS)
            block = {"seq": number, "previous": previous, "hash": avro.link(previous, number, digests), "events": len(rows)}
            tx.execute(insert(journal), block | {"first_id": ids[0], "last_id": ids[-1], "at_us": now_us})
            _BIND(tx, ids=ids, number=number)
            self._group(tx, failures)
        return len(rows)

    def _group(self, tx: Connection, happened: Sequence[Event]) -> None:
        """Counts failures by code, owner, dienst and the two systems."""
        groups: dict[tuple[str, str, str, str, str], list[Event]] = {}
        for e in happened:
            if e.code:
                groups.setdefault((e.code, e.owner or "", e.dienst or "", e.system or "", e.receiver_system or ""), []).append(e)
        for (code, owner, dienst, system, receiver_system), members in sorted(groups.items()):
            _COUNT(
                tx,
                code=code,
                owner=owner,
                dienst=dienst,
                system=system,
                receiver_system=receiver_system,
                n=len(members),
                first_us=members[0].at_us,
                last_us=members[-1].at_us,
                example=members[-1].reference or "",
            )

    def untold(self, *, now_us: int, limit: int = 500) -> list[Telling]:
        """Receipts and outcomes to be told now, oldest first."""
        with self._db.read() as connection:
            rows = _UNTOLD(connection, now=now_us, limit=limit).all()
        if rows:
            self._db.sync()
        return [Telling(event_id=row.id, system=row.tell, event=avro.decode(row.payload, row.schema)) for row in rows]

    def mark_told(self, told: Sequence[int], *, put_off: Sequence[int], until_us: int) -> None:
        """The broker has confirmed `told`; the others are to be tried again at `until_us`."""
        with self._db.write() as tx:
            for ids, after in ((told, None), (put_off, until_us)):
                if ids:
                    _TELL_AFTER(tx, ids=list(ids), after=after)

    def tell_again(self, *, since_us: int, now_us: int) -> int:
        """After a broker wipe: everything told since then is told once more (design section 4)."""
        with self._db.write() as tx:
            again = update(event).where(event.c.tell.is_not(None), event.c.at_us >= since_us).values(tell_after_us=now_us)
            return tx.execute(again).rowcount

    def verify(self) -> Verification:
        """Walks the whole chain as it stands now, while others may add to it. Says at which block it breaks, or how many events still
        wait to be chained."""
        previous, number, events = GENESIS, 0, 0

        def broken(problem: str) -> Verification:
            return Verification(False, number, events, 0, problem)

        with self._db.snapshot() as connection:
            for block in connection.execute(select(journal).order_by(journal.c.seq)):
                if block.seq != number + 1 or bytes(block.previous) != previous:
                    return broken(f"block {number + 1} is missing or does not follow the one before it")
                found = _OF_BLOCK(connection, first=block.first_id, last=block.last_id, number=block.seq).all()
                digests = [avro.digest(row.payload, row.schema) for row in found]
                if len(digests) != block.events:
                    return broken(f"block {block.seq} has {len(digests)} events instead of {block.events}")
                if avro.link(previous, block.seq, digests) != bytes(block.hash):
                    return broken(f"an event in block {block.seq} is not what was written")
                if not all(avro.is_filed_under(row.reference, bytes(row.payload), row.schema) for row in found):
                    return broken(f"an event in block {block.seq} is filed under another message than it is of")
                previous, number, events = bytes(block.hash), block.seq, events + block.events
            if (chained := _CHAINED(connection).scalar_one()) != events:
                return broken(f"{chained - events} events point at blocks after {number} that do not exist, or stand outside their block")
            return Verification(True, number, events, _WAITING(connection).scalar_one(), None)

    def of_message(self, reference: str) -> list[Event]:
        """A message's events, in order."""
        with self._db.read() as connection:
            rows = connection.execute(select(event.c.schema, event.c.payload).where(event.c.reference == reference).order_by(event.c.id))
            return [avro.decode(row.payload, row.schema) for row in rows]

    def decisions_of(self, reference: str) -> list[dict[str, Any]]:
        """A message's decisions, in order, as JSON objects."""
        with self._db.read() as connection:
            rows = connection.execute(select(decision).where(decision.c.reference == reference).order_by(decision.c.id))
            return [
                {
                    "at_us": r.at_us,
                    "delivery": r.delivery,
                    "question": r.question,
                    "outcome": r.outcome,
                    "code": r.code,
                    **json.loads(r.record),
                }
                for r in rows
            ]


_KEY: Final = [c.name for c in failure_group.primary_key.columns]
_COUNT: Final = Sql(
    "INSERT INTO failure_group (code, owner, dienst, system, receiver_system, count, first_us, last_us, example) "
    "VALUES (:code, :owner, :dienst, :system, :receiver_system, :n, :first_us, :last_us, :example) "
    f"ON CONFLICT ({', '.join(_KEY)}) DO UPDATE SET count = failure_group.count + :n, last_us = :last_us, example = :example"
)
