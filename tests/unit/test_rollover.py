"""Our certificate's roll-over: what may be done when, and which certificate is used towards whom."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from routing.rollover import CannotRollOver, NextCertificate, RollOver

NOW = datetime(2026, 11, 1, 12, tzinfo=UTC)
DAY_US = 86_400_000_000
NOW_US = int(NOW.timestamp()) * 1_000_000
FRESH = NextCertificate(
    pem="-----BEGIN CERTIFICATE-----",
    sha256="bb",
    cert="/etc/next.crt",
    key="/etc/next.key",
    not_before_us=NOW_US - DAY_US,
    from_us=NOW_US + 61 * DAY_US,
    published_us=NOW_US,
    published_by="operator x",
)
ONE, OTHER = "00000003272448340000", "00000003272448350000"


def published(**changes: int) -> RollOver:
    return RollOver().published(replace(FRESH, **changes), current="aa", at_short_notice=True)


def test_the_next_certificate_is_published_sixty_days_ahead_unless_it_cannot_wait() -> None:
    soon = replace(FRESH, from_us=NOW_US + 59 * DAY_US)
    with pytest.raises(CannotRollOver, match="60 days"):
        RollOver().published(soon, current="aa")
    assert RollOver().published(soon, current="aa", at_short_notice=True).next == soon
    assert RollOver().published(FRESH, current="aa").next == FRESH


@pytest.mark.parametrize(
    ("at", "fresh", "current", "why"),
    [
        (published(), FRESH, "aa", "There is a next certificate already"),
        (RollOver(), FRESH, "bb", "That is the certificate in use"),
        (RollOver(), replace(FRESH, not_before_us=FRESH.from_us + 1), "aa", "not valid on that day yet"),
    ],
)
def test_what_cannot_be_next_is_said(at: RollOver, fresh: NextCertificate, current: str, why: str) -> None:
    with pytest.raises(CannotRollOver, match=why):
        at.published(fresh, current=current)


def test_each_receiver_is_switched_on_its_own_and_back() -> None:
    at = published().confirmed(ONE, by="J. Beheer", now_us=NOW_US).switched([ONE], now_us=NOW_US)
    assert (at.uses_next(ONE, NOW), at.uses_next(OTHER, NOW), at.uses_next(None, NOW)) == (True, False, False)
    at = at.back([ONE])
    assert not at.uses_next(ONE, NOW)
    assert at.parties[ONE].confirmed_by == "J. Beheer", "that it registered it stays known"


def test_a_receiver_that_did_not_confirm_is_not_switched_unless_told_so() -> None:
    at = published().confirmed(ONE, by="J. Beheer", now_us=NOW_US)
    with pytest.raises(CannotRollOver, match=f"{OTHER} did not confirm"):
        at.switched([ONE, OTHER], now_us=NOW_US)
    assert at.switched([ONE, OTHER], now_us=NOW_US, unconfirmed=True).uses_next(OTHER, NOW)


def test_a_certificate_that_is_not_valid_yet_is_used_for_nothing() -> None:
    at = published(not_before_us=NOW_US + DAY_US)
    with pytest.raises(CannotRollOver, match="not valid yet"):
        at.switched([ONE], now_us=NOW_US, unconfirmed=True)


def test_what_was_handed_in_before_the_next_certificate_was_valid_is_signed_with_the_one_before() -> None:
    at = published().switched([ONE], now_us=NOW_US, unconfirmed=True)
    assert at.uses_next(ONE, NOW - timedelta(hours=23))
    assert not at.uses_next(ONE, NOW - timedelta(hours=25))


def test_it_ends_when_it_has_taken_over_or_when_nobody_uses_it() -> None:
    at = published().switched([ONE], now_us=NOW_US, unconfirmed=True)
    with pytest.raises(CannotRollOver, match="1 receivers were switched"):
        at.withdrawn(current="aa")
    assert at.withdrawn(current="bb") == at.back([ONE]).withdrawn(current="aa") == RollOver()


@pytest.mark.parametrize("step", ["confirm", "switch", "back", "withdraw"])
def test_without_a_next_certificate_there_is_nothing_to_do(step: str) -> None:
    at = RollOver()
    steps = {
        "confirm": lambda: at.confirmed(ONE, by="x", now_us=NOW_US),
        "switch": lambda: at.switched([ONE], now_us=NOW_US),
        "back": lambda: at.back([ONE]),
        "withdraw": lambda: at.withdrawn(current="aa"),
    }
    with pytest.raises(CannotRollOver, match="There is no next certificate"):
        steps[step]()


def test_it_is_kept_as_json() -> None:
    at = published().confirmed(ONE, by="J. Beheer", now_us=NOW_US).switched([ONE], now_us=NOW_US)
    assert RollOver.from_dict(json.loads(json.dumps(at.to_dict()))) == at
    assert RollOver.from_dict({}) == RollOver()
