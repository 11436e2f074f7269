"""What a sender's system asks: how its messages and refusals stand, one by one, or all that changed since it last asked.

The order of changes is the journal's: numbers of blocks, which one leader gives out after the events in them were committed. Ids of
events would not do: they are drawn before the commit, so a later one may be seen before an earlier one. The leader notes of every block,
in order and in one transaction with the block's number, of which system's messages it tells. So who has seen block 7 has seen all of it
and of those before it, whatever is committed afterwards.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

from sqlalchemy import Connection

from adapters.store.database import Database
from adapters.store.sql import Insert, Sql
from adapters.store.tables.journal import change
from adapters.store.waits import explained
from routing.party import Changes, Cursor, DeliveryStatus, Status
from routing.work import Lease

#: Hand-ins that one id names, at most: refusals of the same id, or the messages of a system's many senders.
MOST: Final = 200
#: Behind every reference.
_LAST: Final = "z"

_MESSAGES: Final = Sql(
    "SELECT seq, reference, message_id, business_id, sender, dienst, versie, bericht, received_us, via, state, code, owner, "
    "warnings "
    "FROM message WHERE reference IN @references AND system = :system"
)
_DELIVERIES: Final = Sql(
    "SELECT message_seq, id, target, receiver, state, hold_code, code, owner, reason, lane, attempts, at_us, delivered_us, "
    "deadline_us FROM delivery WHERE message_seq IN @seqs ORDER BY seq"
)
_SHOWN: Final = ("target", "receiver", "state", "hold_code", "code", "owner", "reason", "attempts", "at_us", "delivered_us", "deadline_us")
_REFUSED: Final = (
    "SELECT reference, message_id, business_id, sender, dienst, bericht, at_us, via, code, owner, reason, details FROM refusal "
)
_REFUSALS: Final = Sql(_REFUSED + "WHERE reference IN @references AND system = :system")
_REFUSED_MESSAGES: Final = Sql(_REFUSED + "WHERE message_id = :id AND system = :system ORDER BY at_us DESC LIMIT :limit")
_REFUSED_BUSINESS: Final = Sql(_REFUSED + "WHERE business_id IN @ids AND system = :system ORDER BY at_us DESC LIMIT :limit")
_RETOURS: Final = Sql("SELECT reference, delivery, deliver_again FROM retour WHERE reference IN @references")
_USED: Final = Sql("SELECT key, reference FROM used_id WHERE key >= :start AND key < :end ORDER BY key LIMIT :limit")
_CHANGED: Final = Sql(
    "SELECT block, reference FROM change WHERE system = :system AND (block, reference) > (:block, :reference) "
    "ORDER BY block, reference LIMIT :limit"
)
_PLACE: Final = Sql("SELECT value FROM counter WHERE name = 'changes'")
_BLOCKS: Final = Sql(
    "SELECT seq, first_id, last_id FROM journal WHERE seq > (SELECT value FROM counter WHERE name = 'changes') ORDER BY seq LIMIT :limit"
)
_OF_BLOCKS: Final = (
    "SELECT DISTINCT o.system, e.block, e.reference FROM event e JOIN {} o ON o.reference = e.reference "
    "WHERE e.id BETWEEN :first AND :last AND e.block BETWEEN :from AND :to AND o.system IS NOT NULL"
)
_OF_MESSAGES: Final = Sql(_OF_BLOCKS.format("message"))
_OF_REFUSALS: Final = Sql(_OF_BLOCKS.format("refusal"))
_MOVE: Final = Sql("UPDATE counter SET value = :to WHERE name = 'changes' AND value = :after RETURNING value")
_CHANGES: Final = Insert(change, "system", "block", "reference", unless_there=True)


class Enquiries:
    """Reading for senders: only what the asking system handed in itself."""

    def __init__(self, database: Database) -> None:
        self._db = database

    def by_reference(self, system: str, reference: str) -> list[Status]:
        """The message or refusal with our reference."""
        with self._db.read() as connection:
            return self._told(_stand(connection, system, [reference]))

    def by_message_id(self, system: str, message_id: str) -> list[Status]:
        """Messages with this wsa:MessageID, and refusals; the newest last."""
        with self._db.read() as connection:
            found = _stand(connection, system, _users(connection, f"m:{message_id}:", None))
            refused = _REFUSED_MESSAGES(connection, id=message_id, system=system, limit=MOST).all()
            return self._told(_in_order(found, refused))

    def by_business_id(self, system: str, business_id: str, sender: str | None) -> list[Status]:
        """The same by identificatiecodeBedrijfsdocument: of one sender, or of every one this system handed in for."""
        with self._db.read() as connection:
            found = _stand(connection, system, _users(connection, f"b:{business_id.lower()}:", sender))
            refused = _REFUSED_BUSINESS(
                connection, ids=[business_id, business_id.lower(), business_id.upper()], system=system, limit=MOST
            ).all()
            return self._told(_in_order(found, [row for row in refused if sender in (None, row.sender)]))

    def changed(self, system: str, after: Cursor, *, limit: int) -> Changes:
        """What changed for this system since then, each as it stands now: a page of so many."""
        with self._db.read() as connection:
            rows = _CHANGED(connection, system=system, block=after.block, reference=after.reference, limit=limit).all()
            found = _stand(connection, system, list(dict.fromkeys(row.reference for row in rows))) if rows else []
        there = Cursor(rows[-1].block, rows[-1].reference) if rows else after
        return Changes(found=self._told(found), next=there, more=len(rows) == limit)

    def newest(self) -> Cursor:
        """Behind everything there is now."""
        with self._db.read() as connection:
            return Cursor(_PLACE(connection).scalar_one(), _LAST)

    def follow(self, lease: Lease, *, limit: int = 20) -> int:
        """Notes for whom the next blocks of the journal tell of a change; returns of how many. Raises LeaseLost."""
        with self._db.read() as connection:  # only the leader adds blocks, and none is ever changed
            blocks = _BLOCKS(connection, limit=limit).all()
            if not blocks:
                return 0
            numbers = {"from": blocks[0].seq, "to": blocks[-1].seq}
            ids = {"first": min(row.first_id for row in blocks), "last": max(row.last_id for row in blocks)}
            rows = [tuple(row) for ask in (_OF_MESSAGES, _OF_REFUSALS) for row in ask(connection, **numbers, **ids).all()]
        with self._db.write() as tx:
            self._db.require(tx, lease)
            if _MOVE(tx, after=blocks[0].seq - 1, to=blocks[-1].seq).first() is not None:
                _CHANGES(tx, sorted(rows))
        return len(blocks)

    def _told(self, found: list[Status]) -> list[Status]:
        """They leave us: what they say must be on disk."""
        if found:
            self._db.sync()
        return found


def _users(connection: Connection, start: str, sender: str | None) -> list[str]:
    """References of the messages that use this id (`kind:id:`, then comes the sender: an OIN, without a colon)."""
    begin = f"{start}{sender}" if sender else start
    end = f"{begin}\1" if sender else start[:-1] + chr(ord(":") + 1)
    rows = _USED(connection, start=begin, end=end, limit=MOST).all()
    return [row.reference for row in rows if ":" not in row.key.removeprefix(start)]


def _stand(connection: Connection, system: str, references: Sequence[str]) -> list[Status]:
    """How these stand, in their order; others' are left out."""
    if not references:
        return []
    messages = {row.reference: row for row in _MESSAGES(connection, references=list(references), system=system).all()}
    deliveries: dict[int, list[DeliveryStatus]] = {row.seq: [] for row in messages.values()}
    rows = explained(connection, _DELIVERIES(connection, seqs=sorted(deliveries)).mappings() if deliveries else ())
    returned = any(row["state"] == "returned" for row in rows) or any(row.state == "returned" for row in messages.values())
    retours = _RETOURS(connection, references=sorted(messages)).all() if returned else ()
    again = {(row.reference, row.delivery): bool(row.deliver_again) for row in retours}
    reference_of = {row.seq: row.reference for row in messages.values()}
    for row in rows:
        deliveries[row["message_seq"]].append(_delivery(row, again.get((reference_of[row["message_seq"]], row["id"]))))
    rest = [reference for reference in references if reference not in messages]
    refused = {row.reference: row for row in _REFUSALS(connection, references=rest, system=system).all()} if rest else {}
    found = []
    for reference in references:
        if reference in messages:
            found.append(_message(messages[reference], deliveries[messages[reference].seq], again.get((reference, ""))))
        elif reference in refused:
            found.append(_refusal(refused[reference]))
    return found


def _in_order(found: list[Status], refused: Sequence[Any]) -> list[Status]:
    """The messages, and those refusals that are not among them, by the time they came."""
    return sorted([*found, *map(_refusal, refused)], key=lambda status: (status.received_us, status.reference))


def _message(row: Any, deliveries: Sequence[DeliveryStatus], deliver_again: bool | None) -> Status:
    return Status(
        reference=row.reference,
        message_id=row.message_id,
        business_id=row.business_id,
        sender=row.sender,
        dienst=row.dienst,
        versie=row.versie,
        bericht=row.bericht,
        received_us=row.received_us,
        via=row.via,
        state=row.state,
        code=row.code,
        owner=row.owner,
        warnings=tuple(json.loads(row.warnings)),
        deliveries=tuple(deliveries),
        deliver_again=deliver_again,
    )


def _refusal(row: Any) -> Status:
    return Status(
        reference=row.reference,
        message_id=row.message_id,
        business_id=row.business_id,
        sender=row.sender,
        dienst=row.dienst,
        versie=None,
        bericht=row.bericht,
        received_us=row.at_us,
        via=row.via,
        state="refused",
        code=row.code,
        owner=row.owner,
        reason=row.reason,
        details=tuple(json.loads(row.details)),
    )


def _delivery(row: Mapping[Any, Any], deliver_again: bool | None) -> DeliveryStatus:
    return DeliveryStatus(
        delivery_id=row["id"],
        deliver_again=deliver_again,
        **{name: row[name] for name in _SHOWN},
    )
