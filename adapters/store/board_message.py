"""One message, as far as a scope sees it: the sender's side sees all of it, a receiver its own delivery only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

from sqlalchemy import Connection

from adapters.store.board_items import items_of
from adapters.store.board_where import PROVEN, Where, ask, reading
from adapters.store.database import Database
from adapters.store.journal import Journal
from adapters.store.queries import Queries
from adapters.store.sql import Sql
from routing.board import MessageView, Related
from routing.people import Scope
from schemas.ids import uuid_name
from schemas.oin import institution_of

#: The institution behind an OIN or routeringskenmerk, in SQL (schemas.oin.institution_of).
_INSTITUTION: Final = "CASE WHEN {0} LIKE '00000007000%' THEN substr({0}, 1, 15) || '00000' ELSE {0} END"
#: Columns that are for the store alone.
_OURS_ALONE: Final = frozenset({"seq", "message_seq", "delivery_seq", "again_of", "digest"})
#: Hand-ins that one id may name.
_MOST: Final = 200
_IDS: Final = Sql(
    "SELECT reference FROM message WHERE reference = :id UNION ALL SELECT reference FROM refusal WHERE reference = :id "
    "UNION ALL SELECT m.reference FROM delivery d JOIN message m ON m.seq = d.message_seq WHERE d.id = :id"
)
_USED: Final = Sql("SELECT key, reference FROM used_id WHERE key >= :start AND key < :end ORDER BY key LIMIT :limit")
_REFUSED: Final = Sql(
    "SELECT reference FROM refusal WHERE message_id = :id UNION SELECT reference FROM refusal WHERE business_id IN @ids LIMIT :limit"
)
_REPLACES: Final = Sql(
    "SELECT u.reference, m.state FROM replacement r JOIN used_id u ON u.key = r.key JOIN message m ON m.reference = u.reference "
    "WHERE r.reference = :reference"
)
_REPLACED: Final = Sql("SELECT reference FROM replacement WHERE key = :key")
_STATES: Final = Sql("SELECT reference, state FROM message WHERE reference IN @references")


class BoardMessages:
    """Questions about one message."""

    def __init__(self, database: Database) -> None:
        self._db, self._queries, self._journal = database, Queries(database), Journal(database)

    def find(self, scope: Scope, id: str) -> str | None:
        """See routing.board."""
        with reading(self._db) as connection:
            found = list(_IDS(connection, id=id).scalars())
            if not found:
                for start in (f"m:{id}:", f"b:{id.lower()}:"):  # then comes the sender: an OIN, without a colon
                    rows = _USED(connection, start=start, end=start[:-1] + chr(ord(":") + 1), limit=_MOST)
                    found += [row.reference for row in rows if ":" not in row.key.removeprefix(start)]
            if not found:
                found = list(_REFUSED(connection, id=id, ids=[id, id.lower(), id.upper()], limit=_MOST).scalars())
            seen = _seen(connection, scope, found)
        return next((reference for reference in found if reference in seen), None)

    def message(self, scope: Scope, reference: str) -> MessageView | None:
        """See routing.board."""
        with reading(self._db) as connection:
            whole = _seen(connection, scope, [reference]).get(reference)
            if whole is None:
                return None
            mine = None if whole else _deliveries(connection, scope, reference)
        facts = self._queries.message(reference)
        if facts is None:
            return None
        deliveries = _anew([one for one in facts.pop("deliveries", ()) if mine is None or one["id"] in mine])
        others = {one["id"]: _others(scope, one) for one in deliveries} if mine is not None else {}
        events, decisions = self._journal.of_message(reference), self._journal.decisions_of(reference)
        if mine is not None:  # what became of it elsewhere is not theirs
            events = [replace(event, details={}) for event in events if event.delivery in mine or event.kind == "received"]
            events = [event for event in events if not others.get(event.delivery or "") or event.receiver_system in (None, *scope.systems)]
            decisions = [one for one in decisions if one["delivery"] in mine and not _of_another(scope, others, one)]
            for one in deliveries:
                if others[one["id"]]:
                    one["tries"] = [attempt for attempt in one["tries"] if attempt["endpoint"] == one["endpoint"]]
            facts["warnings"] = []
            facts["answers"] = None
            for name in ("code", "owner"):
                facts[name] = None
        if facts["state"] == "refused":  # nobody checked what it is
            facts["message_id"] = uuid_name(facts["message_id"])
            events = [replace(event, message_id=uuid_name(event.message_id)) for event in events]
        with reading(self._db) as connection:
            items = [item for item in items_of(connection, reference) if mine is None or item.id in mine]
            related = _related(connection, facts, deliveries, whole=mine is None)
        return MessageView(
            facts={name: value for name, value in _shown(facts).items() if name != "answers"},
            deliveries=tuple(deliveries),
            events=tuple(replace(event, digest=None) for event in events),
            decisions=tuple(decisions),
            related=related,
            items=tuple(items),
            kept=bool(facts.get("kept")),
            whole=mine is None,
        )


def _anew(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """As they are shown: each with the delivery that it offers anew, and with those that offered it anew (delivery_ids)."""
    ids = {row["seq"]: row["id"] for row in rows}
    return [
        {
            **_shown(row),
            "anew_of": ids.get(row.get("again_of")),
            "anew_as": [one["id"] for one in rows if one.get("again_of") == row["seq"]],
        }
        for row in rows
    ]


def _shown(row: dict[str, Any]) -> dict[str, Any]:
    """Without the store's own numbers, which tell how much there is of everybody, and without the digest of the content: whoever has that
    may try every BSN until one fits."""
    tries = {"tries": [_shown(one) for one in row["tries"]]} if "tries" in row else {}
    return {name: value for name, value in row.items() if name not in _OURS_ALONE} | tries


def _others(scope: Scope, delivery: dict[str, Any]) -> bool:
    """Whether it may have been tried at a system before that is not in the scope; the organisation that it is for sees them all."""
    return institution_of(delivery["receiver"]) not in scope.organisations


def _of_another(scope: Scope, others: Mapping[str, bool], decision: dict[str, Any]) -> bool:
    """Whether this was decided of a system before."""
    system = (decision.get("inputs") or {}).get("system")
    return others[decision["delivery"]] and decision["question"] == "endpoint" and system is not None and system not in scope.systems


def _party(scope: Scope, organisation: str, system: str) -> Where:
    """Whether these columns name somebody in the scope."""
    parts, values = [], dict[str, Any]()
    if scope.organisations:
        parts.append(f"{_INSTITUTION.format(organisation)} IN @organisations")
        values["organisations"] = sorted(scope.organisations)
    if scope.systems:
        parts.append(f"{system} IN @systems")
        values["systems"] = sorted(scope.systems)
    return Where(f"({' OR '.join(parts)})" if parts else "FALSE", values)


def _seen(connection: Connection, scope: Scope, references: list[str]) -> dict[str, bool]:
    """Those of these that the scope sees, and whether the whole of it."""
    if not references:
        return {}
    given = {"references": references}
    if scope.everything:
        sql = " UNION ".join(f"SELECT reference FROM {table} WHERE reference IN @references" for table in ("message", "refusal"))
        return dict.fromkeys(ask(connection, sql, given).scalars(), True)
    there, sent = _party(scope, "d.receiver", "d.receiver_system"), _party(scope, "m.sender", "m.system")
    organisations = Scope(organisations=scope.organisations)
    refused, claimed = _party(Scope(systems=scope.systems), "", "r.system"), _party(organisations, "r.sender", "")
    addressed = _party(organisations, "m.receiver", "")
    sql = (
        "SELECT m.reference, 0 AS whole FROM message m JOIN delivery d ON d.message_seq = m.seq "
        f"WHERE m.reference IN @references AND d.state <> 'filtered' AND {there.sql} "
        f"UNION SELECT m.reference, 0 FROM message m WHERE m.reference IN @references AND m.state NOT IN ('received', 'failed') "
        f"AND {addressed.sql} "
        f"UNION SELECT m.reference, 1 FROM message m WHERE m.reference IN @references AND {sent.sql} "
        f"UNION SELECT r.reference, 1 FROM refusal r WHERE r.reference IN @references AND {refused.sql} "
        f"UNION SELECT r.reference, 1 FROM refusal r WHERE r.reference IN @references AND {PROVEN} AND {claimed.sql} ORDER BY 2"
    )
    return {row.reference: bool(row.whole) for row in ask(connection, sql, {**sent.values, **given})}


def _deliveries(connection: Connection, scope: Scope, reference: str) -> set[str]:
    """The deliveries of a message that are for somebody in the scope."""
    there = _party(scope, "d.receiver", "d.receiver_system")
    sql = (
        "SELECT d.id FROM delivery d JOIN message m ON m.seq = d.message_seq "
        f"WHERE m.reference = :reference AND d.state <> 'filtered' AND {there.sql}"
    )
    return set(ask(connection, sql, {**there.values, "reference": reference}).scalars())


def _related(connection: Connection, facts: dict[str, Any], deliveries: list[dict[str, Any]], *, whole: bool) -> tuple[Related, ...]:
    named = [("answered by", reference) for one in deliveries for reference in one["answers"]]
    if facts.get("answers"):
        named.append(("answers", facts["answers"]["reference"]))
    if whole and facts.get("business_id") and facts.get("sender"):
        key = f"b:{facts['business_id'].lower()}:{facts['sender']}"
        replaced = [("replaced by", reference) for reference in _REPLACED(connection, key=key).scalars()]
    else:
        replaced = []
    every = [reference for _, reference in (*named, *replaced)]
    states = {row.reference: row.state for row in _STATES(connection, references=every)} if every else {}

    def related(those: list[tuple[str, str]]) -> list[Related]:
        return [Related(how=how, reference=reference, state=states.get(reference)) for how, reference in those]

    replaces = [Related(how="replaces", **row._mapping) for row in _REPLACES(connection, reference=facts["reference"])] if whole else []
    return (*related(named), *replaces, *related([one for one in replaced if one[1] in states]))
