"""Jobs that ended long ago are forgotten with what became of their messages; nothing else is, and the journal keeps what they did."""

from __future__ import annotations

import asyncio

import pytest

from adapters.store import Store, job_retention
from adapters.store.job_retention import JobRetention
from routing.actions import Action
from schemas.events import decode
from tests.support.jobs import ALL, Bench
from tests.support.store import DAY, NOW, run_sql
from tests.support.store import store as store
from workers.job_retention import OldJobs


def left(store: Store) -> dict[str, int]:
    """Id of each job there is -> how many results it has."""
    rows = run_sql(store, "SELECT j.id, count(i.number) AS n FROM job j LEFT JOIN job_item i ON i.job = j.seq GROUP BY j.id")
    return {row.id: row.n for row in rows}


def forget(store: Store, bench: Bench, days: int = 400) -> None:
    asyncio.run(OldJobs(JobRetention(store.database), bench.clock, days=days).forget())


def test_what_ended_too_long_ago_goes_in_small_parts_and_what_goes_on_stays(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(job_retention, "PART", 2)
    bench = Bench(store)
    references = bench.fail(*"abcde")
    done = bench.confirm(bench.preview(Action.ARCHIVE, *references), trial=0)
    cancelled = bench.confirm(bench.preview(Action.REOPEN, *references, who="x"), who="x", trial=1)
    bench.desk.cancel(ALL, cancelled.id, who="x")
    paused = bench.confirm(bench.preview(Action.REOPEN, *references), trial=1)
    bench.desk.pause(ALL, paused.id, who="x")
    preview = bench.preview(Action.REOPEN, *references, who="y")
    while bench.step(done.id):
        pass
    there = {done.id: 5, cancelled.id: 5, paused.id: 5, preview.id: 5}
    assert left(store) == there

    bench.clock.at_us = NOW + 399 * DAY
    forget(store, bench)
    assert left(store) == there
    bench.clock.at_us = NOW + 401 * DAY
    parts = []
    retention = JobRetention(store.database)
    before_us = bench.clock.at_us - 400 * DAY
    while (gone := retention.forget(before_us=before_us)) is not None:
        parts.append(gone)
    assert parts == [(0, 2), (0, 2), (1, 1)] * 2
    assert left(store) == {paused.id: 5, preview.id: 5}
    events = [decode(bytes(row.payload), row.schema).kind for row in run_sql(store, "SELECT payload, schema FROM event")]
    assert {"job_confirmed", "job_done", "job_cancelled"} <= set(events)
    assert store.jobs.results(ALL, done.id, state=None, after=0, limit=10) == []


def test_the_timetable_says_how_much_it_forgot(store: Store, caplog: pytest.LogCaptureFixture) -> None:
    bench = Bench(store)
    job = bench.act(Action.ARCHIVE, *bench.fail("a", "b"))
    while bench.step(job.id):
        pass
    bench.clock.at_us = NOW + 401 * DAY
    with caplog.at_level("INFO"):
        forget(store, bench)
    (said,) = [record for record in caplog.records if record.message == "jobs_forgotten"]
    assert (said.jobs, said.results) == (1, 2)  # type: ignore[attr-defined]
    assert left(store) == {}
