"""The demo as a stranger runs it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from schemas.faults import CODES
from tests.support.broker import require_rabbitmq

ROOT = Path(__file__).parents[2]
KEYS = {"sent", "delivered", "filtered", "superseded", "waiting", "failed", "lost", "duplicated", "seconds"}


@pytest.mark.broker
@pytest.mark.slow
@pytest.mark.timeout(150)
def test_the_demo_ends_with_one_line_that_says_nothing_was_lost_or_doubled_and_what_fell_out() -> None:
    require_rabbitmq()
    done = subprocess.run(
        [sys.executable, "run.py", "demo", "--messages", "150", "--json"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=140,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    summary = json.loads(done.stdout.splitlines()[-1])
    assert set(summary) == KEYS
    assert summary["sent"] >= 150
    assert summary["delivered"] > 0
    assert (summary["lost"], summary["duplicated"]) == (0, 0)
    assert set(summary["failed"]) <= set(CODES)
    assert len(summary["failed"]) >= 12, f"a season must show at least twelve kinds of mistakes, not {sorted(summary['failed'])}"
