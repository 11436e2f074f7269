"""What a store must survive: locked, full, restarted, opened by many at once, and later versions of its schemas."""

from __future__ import annotations

import asyncio
import errno
import json
import multiprocessing
import os
import sqlite3
import threading
import time
from collections.abc import Sequence
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import TextClause, create_engine, text

import schemas.events as avro
from adapters.store import LifecycleError, Store, StoreRefused, migrate, open_store
from adapters.store.tables import metadata
from routing.ports import Outgoing
from routing.work import StoreUnavailable, StreamStep
from schemas.rules import Judgement
from tests.support.store import (
    NOW,
    SECOND,
    a_message,
    claim,
    confirm,
    deliver,
    fresh_url,
    hand_in,
    lead,
    outcome,
    release,
    route,
    run_sql,
    settle,
    take,
)
from workers.clock import Clock
from workers.loop import Worker
from workers.relay import Relay


@pytest.fixture
def on_sqlite(tmp_path: Path) -> Store:
    """A fresh store in a file."""
    return open_store(fresh_url("sqlite", tmp_path))


def _count(store: Store, table: str) -> int:
    return int(run_sql(store, f"SELECT count(*) AS n FROM {table}")[0].n)


# -- SQLite -----------------------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("locked_by", ["one of us", "somebody else's program"])
def test_a_store_locked_for_a_while_is_unavailable_and_then_fine(on_sqlite: Store, locked_by: str, monkeypatch: pytest.MonkeyPatch) -> None:
    path = str(on_sqlite.database.url.database)
    take(on_sqlite, "0")
    monkeypatch.setattr("adapters.store.database.LOCK_WAIT_S", 0.3)
    with on_sqlite.database.read() as connection:
        connection.exec_driver_sql("PRAGMA busy_timeout=300")
    other = sqlite3.connect(path, isolation_level=None)
    rival = open_store(f"sqlite:///{path}")
    rival_tx = rival.database.write()
    if locked_by == "one of us":
        rival_tx.__enter__()
    else:
        other.execute("BEGIN IMMEDIATE")
    began = time.monotonic()
    with pytest.raises(StoreUnavailable):
        hand_in(on_sqlite, a_message("1"))
    assert time.monotonic() - began < 3
    assert on_sqlite.queries.counts()["messages"] == {"received": 1}, "reading goes on"
    if locked_by == "one of us":
        rival_tx.__exit__(None, None, None)
    else:
        other.execute("COMMIT")
    assert hand_in(on_sqlite, a_message("1"))[0].accepted
    rival.close()
    other.close()


def test_a_full_store_is_unavailable_nothing_is_half_done_and_then_it_is_fine(on_sqlite: Store) -> None:
    lease = lead(on_sqlite)
    with on_sqlite.database.read() as connection:  # the one pooled connection: the limit is its own
        pages = connection.exec_driver_sql("PRAGMA page_count").scalar_one()
        connection.exec_driver_sql(f"PRAGMA max_page_count={pages + 8}")
    filled, refs = 0, []
    with pytest.raises(StoreUnavailable, match="full"):
        while True:
            refs += [r.reference for r in hand_in(on_sqlite, *(a_message(f"{filled}-{i}") for i in range(5)))]
            filled += 1
    assert _count(on_sqlite, "message") == _count(on_sqlite, "body") == _count(on_sqlite, "event") == filled * 5
    assert _count(on_sqlite, "used_id") == filled * 10
    with on_sqlite.database.read() as connection:
        connection.exec_driver_sql("PRAGMA max_page_count=1000000")
    assert all(r.accepted and not r.duplicate for r in hand_in(on_sqlite, *(a_message(f"{filled}-{i}") for i in range(5))))
    route(on_sqlite, *refs)
    assert len(deliver(on_sqlite, lease)) == filled * 5


def test_a_full_store_in_the_middle_of_a_delivery_leaves_it_claimed_and_unsettled(on_sqlite: Store) -> None:
    lease = lead(on_sqlite)
    route(on_sqlite, *take(on_sqlite, *map(str, range(40))))
    claimed = claim(on_sqlite, release(on_sqlite, lease))
    with on_sqlite.database.read() as connection:
        pages = connection.exec_driver_sql("PRAGMA page_count").scalar_one()
        connection.exec_driver_sql(f"PRAGMA max_page_count={pages}")
    with pytest.raises(StoreUnavailable):
        for _ in range(3):
            settle(on_sqlite, *(outcome(one, reason="x" * 5000) for one in claimed))
    assert {row.state for row in run_sql(on_sqlite, "SELECT state FROM delivery")} == {"released"}
    assert _count(on_sqlite, "attempt") == 0
    with on_sqlite.database.read() as connection:
        connection.exec_driver_sql("PRAGMA max_page_count=1000000")
    assert settle(on_sqlite, *(outcome(one, reason="x" * 5000) for one in claimed)) == 40


def test_a_receipt_survives_a_power_cut(on_sqlite: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """NORMAL in WAL never damages the file, and loses nothing that was synced: so each write syncs the log before it returns, and after
    it let the next writer in."""
    with on_sqlite.database.write() as first, on_sqlite.database.read() as second:
        for connection in (first, second):
            assert connection.exec_driver_sql("PRAGMA journal_mode").scalar_one() == "wal"
            assert connection.exec_driver_sql("PRAGMA synchronous").scalar_one() == 1
            assert connection.exec_driver_sql("PRAGMA foreign_keys").scalar_one() == 1
            assert connection.exec_driver_sql("PRAGMA secure_delete").scalar_one() == 1
    synced: list[tuple[str, int]] = []

    def sync(file: int) -> None:
        path = str(Path(f"/proc/self/fd/{file}").readlink())
        with sqlite3.connect(str(on_sqlite.database.url.database), timeout=0) as other:
            other.execute("BEGIN IMMEDIATE")  # the lock is free
            (count,) = other.execute("SELECT count(*) FROM message").fetchone()
        synced.append((path, count))

    monkeypatch.setattr(os, "fdatasync", sync)
    take(on_sqlite, "1")
    assert synced == [(f"{on_sqlite.database.url.database}-wal", 1)]


def test_what_is_only_read_is_on_disk_before_anybody_outside_hears_of_it(on_sqlite: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another process may have committed it a moment ago, and not have synced yet."""
    lease = lead(on_sqlite)
    route(on_sqlite, *take(on_sqlite, "1"))
    (one,) = deliver(on_sqlite, lease)
    confirm(on_sqlite, one.id)
    synced: list[int] = []
    monkeypatch.setattr(os, "fdatasync", synced.append)
    assert on_sqlite.journal.untold(now_us=NOW + SECOND)
    assert len(synced) == 1, "an outcome is told that a power cut could still take back"
    assert on_sqlite.mailboxes.copies([one.id])
    assert len(synced) == 2, "a copy is dropped for a reason that a power cut could still take back"


def test_a_release_of_which_nobody_knows_whether_it_was_kept_has_its_tickets_published_all_the_same(
    on_sqlite: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was committed, and only the answer was lost: tried again it finds nothing to release any more."""
    published: list[Outgoing] = []

    class Broker:
        connections = 0

        async def publish_many(self, messages: Sequence[Outgoing]) -> list[str]:
            published.extend(messages)
            return ["confirmed"] * len(messages)

        async def epoch(self) -> str | None:
            return on_sqlite.registry.note("epoch")

        async def apply_topology(self) -> None: ...

        async def set_epoch(self, value: str) -> None: ...

    sync, failures = os.fdatasync, [OSError(errno.EIO, "Input/output error")]

    def once(file: int) -> None:
        if failures:
            raise failures.pop()
        sync(file)

    async def act() -> None:
        broker, lease = Broker(), lead(on_sqlite)
        relay = Relay(Worker("relay", on_sqlite.registry, Clock()), on_sqlite, broker, broker, lambda _lane: 10)  # type: ignore[arg-type]
        await relay._cycle(lease)
        take(on_sqlite, "1")
        monkeypatch.setattr(os, "fdatasync", once)
        await relay._cycle(lease)
        await relay._cycle(lease)

    asyncio.run(act())
    assert not failures
    assert [one.routing_key for one in published] == ["route"]


def test_a_write_that_may_not_be_on_disk_is_not_called_done_and_comes_to_the_same_when_tried_again(
    on_sqlite: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(_file: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    item = a_message("1")
    with monkeypatch.context() as patched:
        patched.setattr(os, "fdatasync", broken)
        with pytest.raises(StoreUnavailable, match="synced"):
            hand_in(on_sqlite, item)
    (again,) = hand_in(on_sqlite, item)
    assert (again.accepted, again.duplicate, again.reference) == (True, False, item.reference)
    assert _count(on_sqlite, "message") == 1


def test_a_long_log_begins_anew_while_others_write_and_nothing_of_it_is_lost(on_sqlite: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("adapters.store.database.LONG_LOG", 50)
    log = Path(f"{on_sqlite.database.url.database}-wal")
    sizes = []
    for turn in range(12):
        take(on_sqlite, *(f"{turn}-{number}" for number in range(40)))
        on_sqlite.database.tidy_log()
        sizes.append(log.stat().st_size)
    assert max(sizes[2:]) <= 2 * sizes[0], "the log grew all the time"
    on_sqlite.close()
    assert _count(open_store(str(on_sqlite.database.url)), "message") == 480


def test_a_reader_that_takes_its_time_keeps_nobody_from_writing_while_the_log_is_carried_over(
    on_sqlite: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("adapters.store.database.LONG_LOG", 1)
    take(on_sqlite, "1")
    with on_sqlite.database.snapshot() as slow:
        assert slow.exec_driver_sql("SELECT count(*) FROM message").scalar_one() == 1
        take(on_sqlite, "2")
        began = time.monotonic()
        on_sqlite.database.tidy_log()
        take(on_sqlite, "3")
        assert time.monotonic() - began < 2
    assert _count(on_sqlite, "message") == 3


def test_the_log_is_found_again_after_the_last_one_took_it_away(on_sqlite: Store) -> None:
    take(on_sqlite, "1")
    on_sqlite.database.engine.dispose()  # as if nobody had the store open: SQLite deletes the log
    take(on_sqlite, "2")
    assert _count(on_sqlite, "message") == 2


def test_a_store_in_a_place_that_cannot_be_written_is_unavailable(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StoreUnavailable):
        open_store(f"sqlite:///{tmp_path}/file/store.db")


def test_an_error_of_the_database_says_nothing_of_what_was_to_be_stored(store: Store) -> None:
    take(store, "1")
    with pytest.raises(StoreRefused) as caught:
        run_sql(store, "UPDATE message SET reference = :r, sender = NULL", r="geheim-999990019")
    assert "geheim" not in str(caught.value)
    assert "geheim" not in str(caught.value.__cause__).partition("DETAIL")[0]


# -- PostgreSQL -------------------------------------------------------------------------------------------------------------------------
@pytest.mark.postgres
def test_a_killed_connection_makes_the_store_unavailable_and_the_next_try_connects_again(tmp_path: Path) -> None:
    store = open_store(fresh_url("postgresql", tmp_path))
    take(store, "1")
    killer = create_engine(store.database.url, isolation_level="AUTOCOMMIT")

    others = "pid <> pg_backend_pid() AND datname = current_database()"

    def kill() -> None:
        with killer.connect() as connection:
            connection.execute(text(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE {others}"))

    kill()
    with pytest.raises(StoreUnavailable):
        hand_in(store, a_message("2"))
    assert hand_in(store, a_message("2"))[0].duplicate is False

    def killed_meanwhile(*_: object) -> Judgement:
        kill()
        return Judgement()

    batch = [a_message("3"), a_message("4", step=StreamStep(key=b"s" * 16, number=1, status="nieuw"))]
    with pytest.raises(StoreUnavailable):
        hand_in(store, *batch, judge_step=killed_meanwhile)
    assert _count_with_patience(store) == 2
    assert [r.accepted for r in hand_in(store, *batch)] == [True, True]
    killer.dispose()
    store.close()


def _count_with_patience(store: Store) -> int:
    for _ in range(3):
        try:
            return _count(store, "message")
        except StoreUnavailable:
            continue
    raise AssertionError("the store did not come back")


@pytest.mark.postgres
def test_a_server_that_is_not_there_is_unavailable_at_once(tmp_path: Path) -> None:
    began = time.monotonic()
    with pytest.raises(StoreUnavailable):
        open_store(f"postgresql+psycopg://tests@/nothing?host={tmp_path}")
    assert time.monotonic() - began < 6


# -- migrations -------------------------------------------------------------------------------------------------------------------------
@pytest.mark.filterwarnings("ignore:.*expression-based index")  # on SQLite; the next test looks at it
def test_an_empty_database_becomes_exactly_the_tables_in_the_code_and_a_second_time_changes_nothing(empty_url: str) -> None:
    store = open_store(empty_url)
    migrate(store.database)
    with store.database.read() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True, "compare_server_default": True})
        assert compare_metadata(context, metadata) == []
    assert hand_in(store, a_message())[0].accepted
    again = open_store(empty_url)
    assert _count(again, "message") == 1
    again.close()
    store.close()


def test_partial_indexes_have_the_predicates_in_the_code(empty_url: str) -> None:
    """Alembic does not compare them, and a query that repeats another predicate would read the whole table."""
    store = open_store(empty_url)
    if not store.database.is_sqlite:
        pytest.skip("PostgreSQL rewrites predicates; the migration names one text for both databases")
    made = {row.name: row.sql for row in run_sql(store, "SELECT name, sql FROM sqlite_master WHERE type = 'index' AND sql IS NOT NULL")}
    for table in metadata.tables.values():
        for index in table.indexes:
            assert all(f"{expression}" in made[str(index.name)] for expression in index.expressions if isinstance(expression, TextClause))
            predicate = index.dialect_options["sqlite"]["where"]
            assert (f"WHERE {predicate}" in made[str(index.name)]) if predicate is not None else "WHERE" not in made[str(index.name)]
    store.close()


def test_a_changed_lifecycle_replaces_the_triggers_of_an_older_store(store: Store) -> None:
    run_sql(store, "UPDATE note SET value = 'of an older version' WHERE name = 'lifecycle'")
    if store.database.is_sqlite:
        run_sql(store, "DROP TRIGGER delivery_moves")
    else:
        run_sql(store, "DROP TRIGGER delivery_moves ON delivery")
    migrate(store.database)
    route(store, *take(store, "1"))
    with pytest.raises(LifecycleError):
        run_sql(store, "UPDATE delivery SET state = 'acknowledged'")


def _open(url: str, ready: object, answers: object) -> None:
    ready.wait()  # type: ignore[attr-defined]
    try:
        store = open_store(url)
        answers.put(_count(store, "note"))  # type: ignore[attr-defined]
        store.close()
    except StoreUnavailable as error:
        answers.put(str(error))  # type: ignore[attr-defined]


def test_processes_that_open_an_empty_store_at_once_all_find_it_ready(empty_url: str) -> None:
    spawn = multiprocessing.get_context("spawn")
    ready, answers = spawn.Barrier(3, timeout=60), spawn.Queue()
    openers = [spawn.Process(target=_open, args=(empty_url, ready, answers)) for _ in range(3)]
    for opener in openers:
        opener.start()
    assert [answers.get(timeout=60) for _ in openers] == [2, 2, 2]
    for opener in openers:
        opener.join(30)
        assert opener.exitcode == 0


# -- schema evolution -------------------------------------------------------------------------------------------------------------------
def test_an_event_written_with_schema_1_is_read_and_verified_under_a_later_schema(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An invented schema 2 has one more field, with a default."""
    lease = lead(store, "audit", "audit-1")
    (reference,) = take(store, "1")
    assert store.journal.chain(lease, now_us=NOW) == 1
    old = json.loads((avro._FOLDER / "event-1.avsc").read_text(encoding="utf-8"))
    new = old | {"fields": [*old["fields"], {"name": "region", "type": ["null", "string"], "default": None}]}
    for number, content in ((1, old), (2, new)):
        (tmp_path / f"event-{number}.avsc").write_text(json.dumps(content), encoding="utf-8")
    monkeypatch.setattr(avro, "_FOLDER", tmp_path)
    monkeypatch.setattr(avro, "CURRENT", 2)
    avro.schema.cache_clear()
    try:
        payload = bytes(run_sql(store, "SELECT payload FROM event")[0].payload)
        read = avro.fastavro.schemaless_reader(avro.BytesIO(payload), avro.schema(1), avro.schema(2))
        assert (read["kind"], read["reference"], read["region"]) == ("received", reference, None)
        assert store.journal.verify().whole
    finally:
        avro.schema.cache_clear()


# -- threads ----------------------------------------------------------------------------------------------------------------------------
def test_threads_of_one_process_can_share_a_store(store: Store) -> None:
    errors: list[BaseException] = []

    def work(name: str) -> None:
        try:
            for number in range(10):
                hand_in(store, a_message(f"{name}-{number}"))
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=(str(i),)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert errors == []
    assert _count(store, "message") == 40
