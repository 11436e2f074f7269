"""Numbers, ages and moments as a Dutch or an English reader expects them."""

from __future__ import annotations

from datetime import UTC, date, datetime

import pytest

from portal.formats import NOTHING, Formats, brin, iso, microseconds, moment
from schemas.oin import school_oin

NOW = datetime(2026, 11, 27, 20, 0, tzinfo=UTC)
NL, EN = Formats("nl", NOW), Formats("en", NOW)


def us(*parts: int) -> int:
    return microseconds(datetime(*parts, tzinfo=UTC))  # type: ignore[misc, arg-type]


def test_thousands_are_separated_as_each_language_does() -> None:
    assert (NL.number(1_234_567), EN.number(1_234_567), NL.number(0)) == ("1.234.567", "1,234,567", "0")


@pytest.mark.parametrize(
    ("part", "whole", "nl", "en"),
    [
        (0, 1000, "0%", "0%"),
        (1, 3, "33,3%", "33.3%"),
        (1, 100_000, "<0,1%", "<0.1%"),
        (99_999, 100_000, ">99,9%", ">99.9%"),
        (5, 5, "100%", "100%"),
        (0, 0, NOTHING, NOTHING),
    ],
)
def test_a_single_failure_in_a_hundred_thousand_is_never_shown_as_none(part: int, whole: int, nl: str, en: str) -> None:
    assert (NL.share(part, whole), EN.share(part, whole)) == (nl, en)


@pytest.mark.parametrize(
    ("seconds", "nl", "en"),
    [
        (0.0404, "40 ms", "40 ms"),
        (3.24, "3,2 s", "3.2 s"),
        (59.9, "59 s", "59 s"),
        (12 * 60 + 40, "12 min", "12 min"),
        (2 * 3600 + 5 * 60, "2 u 05 min", "2 h 05 min"),
        (26 * 3600, "26 u 00 min", "26 h 00 min"),
        (3 * 86_400 + 5, "3 dagen", "3 days"),
        (None, NOTHING, NOTHING),
    ],
)
def test_a_duration_has_at_most_two_parts(seconds: float | None, nl: str, en: str) -> None:
    assert (NL.duration(seconds), EN.duration(seconds)) == (nl, en)


def test_what_our_clock_has_not_reached_is_just_now() -> None:
    assert NL.age(us(2026, 11, 27, 20, 0, 5)) == "1 s"


@pytest.mark.parametrize(
    ("at", "nl", "en"),
    [
        (us(2026, 11, 27, 19, 3), "20:03", "20:03"),
        (us(2026, 11, 26, 23, 30), "00:30", "00:30"),  # in Amsterdam that is today
        (us(2026, 11, 26, 13, 0), "gisteren 14:00", "yesterday 14:00"),
        (us(2026, 11, 28, 13, 0), "morgen 14:00", "tomorrow 14:00"),
        (us(2026, 7, 6, 12, 0), "ma 6 jul 14:00", "Mon 6 Jul 14:00"),  # summer time
        (us(2025, 10, 1, 12, 0), "wo 1 okt 2025 14:00", "Wed 1 Oct 2025 14:00"),
        (None, NOTHING, NOTHING),
    ],
)
def test_a_moment_is_told_in_the_time_of_amsterdam(at: int | None, nl: str, en: str) -> None:
    assert (NL.when(at), EN.when(at)) == (nl, en)


def test_a_moment_one_quotes_has_its_offset() -> None:
    assert NL.moment(us(2026, 11, 23, 13, 3, 7) + 123_456) == "2026-11-23 14:03:07.123 +01:00"
    assert NL.moment(us(2026, 7, 23, 12, 3, 7)) == "2026-07-23 14:03:07.000 +02:00"


def test_a_day_of_another_year_names_it() -> None:
    assert (NL.day(date(2027, 2, 1)), EN.day(date(2026, 2, 1))) == ("ma 1 feb 2027", "Sun 1 Feb")


@pytest.mark.parametrize(("octets", "shown"), [(312, "312 B"), (4_100, "4,1 kB"), (1_000_000, "1 MB"), (2_500_000_000, "2,5 GB")])
def test_a_size_has_a_unit(octets: int, shown: str) -> None:
    assert NL.size(octets) == shown


def test_a_moment_survives_the_way_to_microseconds_and_back() -> None:
    at = datetime(2026, 3, 29, 1, 30, 0, 123_457, tzinfo=UTC)
    assert moment(microseconds(at)) == at
    assert (iso(microseconds(at)), iso(None)) == ("2026-03-29T01:30:00Z", "")


def test_a_brin_is_read_from_a_schools_oin_only() -> None:
    assert brin(school_oin("25AB")) == "25AB"
    assert brin("00000003900000010000") is None
    assert brin(None) is None
