"""The benchmark of the register runs, on a small one, and prints what it promises."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from benchmarks import register as bench

KEYS = ["endpoints", "load_s", "cached_us", "uncached_us", "visible_s", "rss_mb", "api_reads_per_s"]


def test_it_prints_what_it_promises() -> None:
    ran = subprocess.run([sys.executable, bench.__file__, "--schools", "20", "--json"], capture_output=True, text=True, timeout=100)
    assert ran.returncode == 0, ran.stderr
    figures = json.loads(ran.stdout)
    assert list(figures) == KEYS
    assert figures["endpoints"] == 30 * (20 + bench.MUNICIPALITIES)
    assert all(figures[name] > 0 for name in KEYS)


def test_a_national_register_is_as_large_as_it_is_said_to_be() -> None:
    rows = [key for number in range(40) for year in bench.YEARS for name, key, _ in bench.rows_of(number, bench.school(number), year)]
    assert len({key for key in rows if key.count("/") == 0}) == 24 * 40
    assert len({key for key in rows if key.count("/") == 3}) == 30 * 40


@pytest.mark.parametrize("number", [0, 7_999])
def test_every_school_has_a_brin_of_its_own(number: int) -> None:
    assert len(set(bench.organisations(8_000))) == 8_340
    assert bench.school(number) in bench.organisations(8_000)
