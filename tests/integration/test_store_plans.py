"""A backlog costs nothing: with many rows waiting, every question that is asked all day is answered from an index."""

from __future__ import annotations

import re

import pytest
from sqlalchemy import text

from adapters.store import (
    Store,
    answers,
    deliveries,
    enquiries,
    figures,
    hand_in,
    journal,
    lanes,
    letters,
    mailboxes,
    open_store,
    register,
    register_changes,
    release,
    routes,
    upkeep,
    warnings,
)
from adapters.store.sql import Sql
from tests.support.store import ACTION, LANE, NOW, fresh_url, run_sql

ROWS = 20_000
LANES = 50
#: name -> statement and values for its parameters
HOT: dict[str, tuple[Sql, dict[str, object]]] = {
    "used ids": (hand_in._HOLDERS, {"keys": ["m:1:s"]}),
    "refusals not settled": (hand_in._UNSETTLED, {"digest": b"d", "system": "s", "code": "c"}),
    "settled": (hand_in._SETTLED, {"references": ["r1"]}),
    "stored": (hand_in._STORED, {"references": ["r1"]}),
    "ids that answers name": (answers._NAMED, {"names": ["b:1", "m:urn:uuid:1"]}),
    "deliveries that answers name": (answers._NAMED_DELIVERIES, {"ids": ["d1", "d2"]}),
    "what answers name": (answers._SENT_READ, {"references": ["r1", "r2"]}),
    "in routing": (release._IN_ROUTING, {"most": 2000}),
    "to route": (release._TO_ROUTE, {"limit": 100}),
    "release messages": (release._RELEASE_MESSAGES, {"seqs": [1, 2]}),
    "lanes": (release._LANES, {}),
    "lanes with postponed ones": (release._LANES_POSTPONED, {}),
    "how full": (release._FILLING, {"lanes": [LANE, "mailbox 1"], "most": 1000}),
    "releasable": (release._RELEASABLE, {"lane": "mailbox 1", "after": 0, "look": 2000, "now": NOW, "limit": 100}),
    "looked at": (release._LOOKED_AT, {"lane": "mailbox 1", "after": 0, "look": 2000}),
    "release": (release._RELEASE_DELIVERIES, {"seqs": [1, 2], "now": NOW}),
    "due": (release._IS_DUE, {"lane": "mailbox 1", "now": NOW, "limit": 100}),
    "routable": (routes._ROUTABLE, {"seqs": [1, 2]}),
    "routed": (routes._ROUTED, {"seqs": [1, 2]}),
    "outdated": (routes._OUTDATED, {"seqs": [1, 2]}),
    "ids of messages": (routes.MESSAGE_IDS, {"seqs": [1, 2]}),
    "claim": (deliveries._CLAIM, {"seqs": [1], "release": 1, "worker": "w", "now": NOW, "until": NOW}),
    "claimed before": (deliveries._CLAIMED_BEFORE, {"seqs": [1, 2]}),
    "sent unheard": (deliveries._UNHEARD, {"seqs": [1, 2]}),
    "acknowledge": (deliveries._ACKNOWLEDGE, {"seqs": [1, 2]}),
    "claimed": (deliveries._CLAIMED, {"seqs": [1, 2]}),
    "deliveries by id": (deliveries.BY_ID, {"ids": ["d1"]}),
    "these lanes": (lanes._THESE, {"lanes": ["push 1", "push 2"]}),
    "lane goes on": (lanes._GO_ON, {"lane": "mailbox 1", "now": NOW}),
    "lane waits for its probe": (lanes._READY, {"lane": "mailbox 1", "at": NOW}),
    "waits for a lane": (lanes.WAITING_IN, {"lane": "mailbox 1"}),
    "unclaimed": (release._UNCLAIMED_DELIVERIES, {"ended": NOW}),
    "after a wipe": (release._AFTER_WIPE_RELEASED, {}),
    "waiting": (upkeep._WAITING, {"after": 0, "limit": 1000}),
    "expired": (upkeep._EXPIRED, {"now": NOW, "limit": 100}),
    "unanswered": (upkeep._UNANSWERED, {"now": NOW, "limit": 100}),
    "not answered": (upkeep._NOT_ANSWERED, {"now": NOW, "seqs": [1, 2]}),
    "erasable": (upkeep._ERASABLE, {"action": ACTION, "before": 5, "limit": 100}),
    "mailboxes": (mailboxes._LANES, {}),
    "standing in a mailbox": (mailboxes._STANDING, {"lane": "mailbox 1"}),
    "unconfirmed": (mailboxes._IN_MAILBOX, {"lane": "mailbox 1", "endpoints": ["e"], "after": 0, "limit": 100}),
    "mailboxes not fetched": (mailboxes._LANES_NOT_FETCHED, {}),
    "not fetched from a mailbox": (mailboxes._NOT_FETCHED, {"lane": "mailbox 1"}),
    "failed there": (mailboxes._FAILED_THERE, {"lane": "mailbox 1", "endpoints": ["e"], "after": 0, "limit": 100}),
    "leave": (mailboxes._LEAVE, {"seqs": [1, 2], "lane": "mailbox 1"}),
    "copies": (mailboxes._COPIES, {"ids": ["d1"]}),
    "open piles": (letters._OPEN_PILES, {"lane": "mailbox 1"}),
    "overdue piles": (letters._OVERDUE_PILES, {"lane": "mailbox 1"}),
    "open letters": (letters._OPEN_LETTERS, {"lane": "mailbox 1", "endpoints": ["e"], "limit": 100}),
    "overdue letters": (letters._OVERDUE_LETTERS, {"lane": "mailbox 1", "endpoints": ["e"], "limit": 100}),
    "sealed": (letters._SEALED, {"id": "d1", "lane": "mailbox 1"}),
    "fetched for the first time": (letters._FIRST_TIME, {"seq": 1, "attempt": 1, "now": NOW}),
    "messages by reference": (enquiries._MESSAGES, {"references": ["r1"], "system": "s"}),
    "their deliveries": (enquiries._DELIVERIES, {"seqs": [1, 2]}),
    "refusals by reference": (enquiries._REFUSALS, {"references": ["r1"], "system": "s"}),
    "refusals by MessageID": (enquiries._REFUSED_MESSAGES, {"id": "m", "system": "s", "limit": 9}),
    "refusals by business id": (enquiries._REFUSED_BUSINESS, {"ids": ["b"], "system": "s", "limit": 9}),
    "who used an id": (enquiries._USED, {"start": "m-1", "end": "m-2", "limit": 9}),
    "changed": (enquiries._CHANGED, {"system": "s", "block": 1, "reference": "r1", "limit": 200}),
    "blocks not looked at": (enquiries._BLOCKS, {"limit": 20}),
    "messages of blocks": (enquiries._OF_MESSAGES, {"from": 1, "to": 1, "first": 1, "last": 100}),
    "refusals of blocks": (enquiries._OF_REFUSALS, {"from": 1, "to": 1, "first": 1, "last": 100}),
    "unchained": (journal._UNCHAINED, {"limit": 1000}),
    "last block": (journal._LAST_BLOCK, {}),
    "newest register": (register_changes.NEWEST, {}),
    "rows by key": (register_changes._OF_KEYS, {"list": "endpoints", "keys": ["e1", "e2"]}),
    "what an organisation has": (register._OF_ORGANISATION, {"oin": "o1", "version": 1}),
    "what a system has": (register._OF_SYSTEM, {"system": "s1", "version": 1}),
    "schools of a system": (register._SCHOOLS_OF, {"system": "s1", "version": 1}),
    "endpoint by id": (register._rows(("key",), True), {"list": "endpoints", "key": "e1", "version": 1, "limit": 9}),
    "rows of a receiver": (
        register._rows(("organisation", "receiver"), False),
        {"list": "endpoints", "organisation": "o1", "receiver": "o1", "limit": 9},
    ),
    "changed rows": (register._CHANGED, {"since": 200, "upto": 201, "limit": 100}),
    "history of a row": (register._HISTORY, {"list": "endpoints", "key": "e1"}),
    "untold": (journal._UNTOLD, {"now": NOW, "limit": 100}),
    "messages since the last look": (warnings._ARRIVED, {"after": ROWS, "limit": 100}),
    "mail open at endpoints": (warnings._OPEN_AT, {"lanes": ["mailbox 1"], "endpoints": ["e"]}),
}
#: What metrics ask: it may cost something for each row that is open, and nothing for those that are finished.
FIGURES: dict[str, Sql] = {
    "unrouted": figures._UNROUTED,
    "again": figures._AGAIN,
    "routed": figures._ROUTED,
    "postponed": figures._POSTPONED,
    "open": figures._OPEN,
    "waiting": figures._WAITING,
    "lanes": figures._LANES_ROUTED,
    "unchained": figures._UNCHAINED,
    "untold": figures._UNTOLD,
    "oldest message": figures._OLDEST_MESSAGE,
    "oldest delivery": figures._OLDEST_DELIVERY,
}
_SCANNED = re.compile(r"\bSCAN (\w+)\b(?! USING (?:COVERING )?INDEX \w+_(?:routed|due|open|unchained))|Seq Scan on (\w+)")
#: Small, or made by the statement itself, or (the newest version) read from its end.
_SMALL = {"json_each", "j", "l", "busy", "o", "journal", "CONSTANT", "lease", "counter", "register_version"}


def scanned(plan: str) -> set[str]:
    """Tables that are read from one end to the other."""
    made = set(re.findall(r"(?:CO-ROUTINE|MATERIALIZE) (\w+)", plan))
    return {one or other for one, other in _SCANNED.findall(plan)} - made - _SMALL


def fill(store: Store, rows: int, lanes: int) -> None:
    """Messages being routed and waiting; deliveries waiting, one in three for its order key; finished ones; events told and chained."""
    sqlite = store.database.is_sqlite
    recursive = f"WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {rows * 2})"
    series = recursive if sqlite else f"WITH n(i) AS (SELECT * FROM generate_series(1, {rows * 2}))"
    key = "CAST(i / 3 AS blob)" if sqlite else "CAST(CAST(i / 3 AS text) AS bytea)"
    number = "rowid" if sqlite else "at_us"
    blob = "x'00'" if sqlite else "'\\x00'::bytea"
    run_sql(
        store,
        "INSERT INTO message (seq, reference, state, sender, system, receiver, message_id, address, action, dienst, versie, bericht, "
        f"order_key, digest, received_us, created_us, stale, via, size, register_version) {series} "
        f"SELECT i, 'r' || i, 'received', 's', 's', 'r', 'm', 'a', 'x', 'd', '1', 'b', {key}, {blob}, i, i, false, 'amqp', 1, 1 FROM n",
    )
    run_sql(store, f"INSERT INTO body (seq, wrapped_key, facts, body) {series} SELECT i, {blob}, {blob}, {blob} FROM n")
    run_sql(store, f"UPDATE message SET state = 'routed' WHERE seq <= {rows}")
    run_sql(
        store,
        "INSERT INTO delivery (seq, id, message_seq, target, state, receiver, endpoint, lane, receiver_system, order_key, deadline_us, "
        f"at_us) {series} SELECT i, 'd' || i, i, 't', 'routed', 'r', 'e', 'mailbox ' || (i % {lanes}), 's', {key}, {NOW} + i, 1 "
        f"FROM n WHERE i <= {rows}",
    )
    run_sql(store, f"INSERT INTO used_id (key, reference, digest, received_us) {series} SELECT 'm-' || i, 'r', {blob}, i FROM n")
    run_sql(
        store,
        f"INSERT INTO refusal (reference, at_us, code, owner, reason, digest, via, unsettled) {series} "
        f"SELECT 'r' || i, i, 'c', 'o', 'x', {key}, 'amqp', i > {rows * 2 - 100} FROM n",
    )
    run_sql(store, f"INSERT INTO event (at_us, reference, schema, payload, block) {series} SELECT i, 'r' || i, 1, {blob}, 1 FROM n")
    run_sql(
        store,
        "INSERT INTO attempt (delivery_seq, number, at_us, took_us, endpoint, register_version, envelope, outcome) "
        f"{series} SELECT i, 1, 1, 1, 'e', 1, 'ours', 'postponed' FROM n WHERE i <= {rows}",
    )
    run_sql(
        store,
        "INSERT INTO lane (lane, state, failures, probes, probe_at_us, code, at_us, who) "
        f"{series} SELECT 'push ' || i, 'held', 0, 1, i, 'c', 1, 'w' FROM n",
    )
    run_sql(store, f"INSERT INTO change (system, block, reference) {series} SELECT 's' || (i % 9), i, 'r' || i FROM n")
    run_sql(
        store,
        "INSERT INTO register_row (list, key, since, before, organisation, system, receiver, fields) "
        f"{series} SELECT 'endpoints', 'e' || i, i % 400, CASE WHEN i % 3 = 0 THEN 400 END, 'o' || (i % 900), 's' || (i % 99), "
        "'o' || (i % 900), '{}' FROM n",
    )
    run_sql(store, f"INSERT INTO register_version (version, at_us, who, document) {series} SELECT i, i, 'w', 'null' FROM n WHERE i <= 400")
    run_sql(store, f"UPDATE refusal SET message_id = 'm' || {number}, business_id = 'b' || {number}")
    for name in ("message", "delivery"):
        set_last = "UPDATE counter SET value = :n WHERE name = :name" if sqlite else "SELECT setval(CAST(:name || '_seq' AS regclass), :n)"
        run_sql(store, set_last, n=rows * 2, name=name)
    with store.database.engine.connect() as connection:
        connection.execution_options(isolation_level="AUTOCOMMIT").execute(text("ANALYZE"))


@pytest.fixture(scope="module")
def full(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Store:
    """A store with a backlog."""
    store = open_store(fresh_url(request.param, tmp_path_factory.mktemp("plans")))
    request.addfinalizer(store.close)
    fill(store, ROWS, LANES)
    return store


@pytest.mark.parametrize("full", ["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)], indirect=True)
@pytest.mark.parametrize("name", HOT)
def test_a_hot_question_never_reads_a_whole_table(full: Store, name: str) -> None:
    statement, values = HOT[name]
    with full.database.write() as tx:
        plan = "\n".join(str(row[-1]) for row in statement.explain(tx, **values))
    assert scanned(plan) == set(), plan


@pytest.fixture(scope="module")
def mostly_finished(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Store:
    """A store in which little is open."""
    store = open_store(fresh_url(request.param, tmp_path_factory.mktemp("plans")))
    request.addfinalizer(store.close)
    fill(store, ROWS, LANES)
    run_sql(store, f"UPDATE message SET state = 'routed' WHERE state = 'received' AND seq < {2 * ROWS - 10}")
    run_sql(store, f"UPDATE delivery SET state = 'superseded' WHERE seq < {ROWS - 10}")
    with store.database.engine.connect() as connection:
        connection.execution_options(isolation_level="AUTOCOMMIT").execute(text("ANALYZE"))
    return store


@pytest.mark.parametrize("mostly_finished", ["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)], indirect=True)
@pytest.mark.parametrize("name", FIGURES)
def test_a_figure_is_counted_in_an_index_of_what_is_open(mostly_finished: Store, name: str) -> None:
    with mostly_finished.database.write() as tx:
        plan = "\n".join(str(row[-1]) for row in FIGURES[name].explain(tx))
    partial = (
        {"message_received", "message_again"}
        | {f"delivery_{of}" for of in ("routed", "due", "open", "waiting", "unsent_deadline")}
        | {"event_unchained", "event_untold"}
    )
    used = set(re.findall(r"(?:USING (?:COVERING )?INDEX|Index Scan using|Index Only Scan using|Bitmap Index Scan on) (\w+)", plan))
    assert used & partial, plan
    assert "Seq Scan" not in plan, plan
