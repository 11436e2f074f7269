"""What an endpoint says with Retry-After; the calls themselves are in tests/integration/test_push.py."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from adapters.endpoints import retry_after

NOW = datetime(2026, 3, 2, 11, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("said", "seconds"),
    [
        ("120", 120),
        (" 120 ", 120),
        ("0", 0),
        ("9" * 500, 999_999_999),
        (format_datetime(NOW + timedelta(minutes=5), usegmt=True), 300),
        ("Mon, 02 Mar 2026 12:05:00 +0100", 300),
        (format_datetime(NOW - timedelta(days=1), usegmt=True), 0),
    ],
)
def test_seconds_and_dates_are_understood_and_the_past_is_now(said, seconds):
    assert retry_after(said, NOW) == seconds


@pytest.mark.parametrize("said", [None, "", "soon", "-5", "1.5", "²", "٣٠", "Mon, 02 Mar 2026 11:05:00", "1 Jan 99999999999 00:00:00 GMT"])
def test_what_is_neither_seconds_nor_a_moment_says_nothing(said):
    assert retry_after(said, NOW) is None


_WORDS = st.sampled_from(["Mon,", "02", "Mar", "2026", "99999999999", "-1", "11:05:00", "99:99:99999999999", "GMT", "+9999", "-0000"])


@given(st.text(max_size=60) | st.lists(_WORDS, max_size=8).map(" ".join))
@example("Wed, 21 Oct 2015 99999999999:28:00 GMT")
def test_whatever_a_server_writes_there_is_a_time_to_wait_or_nothing(said):
    found = retry_after(said, NOW)
    assert found is None or found >= 0
