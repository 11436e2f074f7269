"""The benchmark of the portal runs, on a small store, and prints what it promises."""

from __future__ import annotations

import json
import subprocess
import sys

from adapters.store import open_store
from benchmarks import portal as bench
from benchmarks import portal_store as season
from schemas import events
from tests.support.store import run_sql


def test_it_prints_what_it_promises() -> None:
    ran = subprocess.run([sys.executable, bench.__file__, "--messages", "1000", "--json"], capture_output=True, text=True, timeout=100)
    assert ran.returncode == 0, ran.stderr
    figures = json.loads(ran.stdout)
    assert figures["messages"] == 1_000 and figures["open"] >= 200
    assert list(figures["p95_ms"]) == list(bench.PAGES)
    assert all(value > 0 for value in figures["p95_ms"].values())
    assert "bulk_accept_s" in figures
    assert figures["bulk_slows"]["offered"] > 0 and figures["bulk_slows"]["ms_with"] > 0


def test_the_store_it_builds_is_one_that_we_could_have_written(empty_url: str) -> None:
    now_us = season.now_us()
    season.build(empty_url, 400, now_us)
    opened = open_store(empty_url)
    season.fill(opened)
    rows = run_sql(opened, "SELECT schema, payload, reference FROM event")
    decoded = [events.decode(bytes(row.payload), row.schema) for row in rows]
    assert all(event.reference == row.reference for event, row in zip(decoded, rows, strict=True))
    assert opened.board.count(bench.EVERYTHING, bench.ItemFilter(), now_us=now_us) == 80, "a fifth; its refusals are older than a month"
    last = season.one(399, 400, now_us)
    view = opened.board.message(bench.EVERYTHING, last.reference)
    assert view is not None and [event.kind for event in view.events] == ["received", "delivered", "acknowledged"]
    opened.close()
