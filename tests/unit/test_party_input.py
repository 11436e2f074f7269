"""What a party chooses itself (times, ids, headers, reasons) must stop no worker, take no other name, and play with no terminal."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from tests.support import signing as s
from workers.desk import timestamp_good


@pytest.mark.parametrize("year", [1, 9999])
def test_an_expiry_at_the_end_of_the_calendar_is_no_reason_to_fall_over(year: int) -> None:
    envelope = s.verifier().verify(s.signed(), at=s.NOW)
    far = datetime(year, 12, 31, 23, 59, 59, tzinfo=UTC)
    assert timestamp_good(replace(envelope, expires=far), s.NOW) is (year == 9999)
    assert not timestamp_good(replace(envelope, created=far, expires=None), s.NOW)
    assert timestamp_good(replace(envelope, expires=None), s.NOW + timedelta(minutes=15))
