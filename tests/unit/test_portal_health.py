"""The verdict on the chain: what is an alarm, what is worth a look, and what is only worth knowing."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from typing import Any

import pytest

from portal.health import OLD_S, UNREAD_S, Level, judge
from routing.board import LEGAL_DATES, CalendarLine, DienstLine, Flow, Freshness, LaneLine, Overview
from schemas.faults import Owner

NOW = 1_768_435_200_000_000
SECOND = 1_000_000
GOOD = Overview(
    fresh=Freshness(at_us=NOW, behind=0, filling=False),
    diensten=(DienstLine(dienst="vva", hour=Flow(delivered=100), day=Flow(), season=Flow(), waiting=3, fallen=0, oldest_us=NOW - SECOND),),
    lanes=(),
    unread=(),
    calendar=(),
    owners={},
)


def lane(**changes: Any) -> LaneLine:
    fields: dict[str, Any] = {
        "lane": "mailbox 00000003900000001000",
        "system": "00000003900000001000",
        "state": "held",
        "by": None,
        "by_hand": False,
        "code": "ENDPOINT_UNAVAILABLE",
        "since_us": NOW - 60 * SECOND,
        "probe_at_us": None,
        "waiting": 5,
        "oldest_us": NOW - 60 * SECOND,
    }
    return LaneLine(**(fields | changes))


def hour(**changes: int) -> tuple[DienstLine, ...]:
    return (replace(GOOD.diensten[0], hour=Flow(**changes)),)


def calendar(**changes: Any) -> tuple[CalendarLine, ...]:
    fields: dict[str, Any] = {
        "law": LEGAL_DATES[1],
        "day": date(2026, 4, 1),
        "days_left": 76,
        "handed_in": 10,
        "last_season": 10,
        "late": 0,
        "schools": 3,
        "silent": (),
        "silent_count": 0,
    }
    return (CalendarLine(**(fields | changes)),)


def test_traffic_that_flows_is_good_and_says_nothing_more() -> None:
    assert judge(GOOD, now_us=NOW).level is Level.GOOD
    assert judge(GOOD, now_us=NOW).findings == ()


@pytest.mark.parametrize(
    ("changes", "level", "key"),
    [
        ({"owners": {"supplier": 3, "us": 0}}, Level.NOTE, "health.theirs"),
        ({"owners": {"us": 1}}, Level.TROUBLE, "health.ours"),
        ({"lanes": (lane(),)}, Level.TROUBLE, "health.paused"),
        ({"lanes": (lane(waiting=0),)}, Level.LOOK, "health.paused"),
        ({"lanes": (lane(by="olga", by_hand=True),)}, Level.NOTE, "health.held"),
        ({"unread": (lane(state="closed", oldest_us=NOW - 3 * 3_600 * SECOND),)}, Level.NOTE, "health.unread"),
        ({"unread": (lane(state="closed", oldest_us=NOW - (UNREAD_S + 1) * SECOND),)}, Level.LOOK, "health.unread"),
        ({"diensten": hour(delivered=90, failed=5, refused=5)}, Level.TROUBLE, "health.failing"),
        ({"diensten": hour(delivered=400, failed=10)}, Level.LOOK, "health.failing"),
        ({"diensten": (replace(GOOD.diensten[0], oldest_us=NOW - (OLD_S + 1) * SECOND),)}, Level.LOOK, "health.old"),
        ({"fresh": Freshness(at_us=NOW - 61 * SECOND, behind=3, filling=False)}, Level.TROUBLE, "health.behind"),
        ({"fresh": Freshness(at_us=NOW, behind=3, filling=True)}, Level.LOOK, "health.filling"),
        ({"calendar": calendar(late=4, days_left=10)}, Level.LOOK, "health.late"),
        ({"calendar": calendar(late=4, days_left=-1)}, Level.TROUBLE, "health.late"),
        ({"calendar": calendar(law=LEGAL_DATES[0], silent_count=2, days_left=17)}, Level.LOOK, "health.silent"),
    ],
)
def test_each_reason_has_its_weight(changes: dict[str, Any], level: Level, key: str) -> None:
    health = judge(replace(GOOD, **changes), now_us=NOW)
    assert [(finding.level, finding.key) for finding in health.findings] == [(level, key)]
    assert health.level is level


def test_what_the_law_counts_is_looked_for_whenever_it_was_handed_in_and_also_where_it_fell_out() -> None:
    (finding,) = judge(replace(GOOD, calendar=calendar(late=4, days_left=-1)), now_us=NOW).findings
    assert finding.href == "/openstaand?dienst=vva&bericht=aanmeldStatusBericht&lijst=alles"


@pytest.mark.parametrize(
    "changes",
    [
        {"diensten": hour(delivered=10, failed=9)},  # too few to say anything
        {"diensten": hour(delivered=10_000, failed=100)},  # one in a hundred
        {"calendar": calendar(late=4, days_left=60)},  # there is time
        {"lanes": (lane(state="closed"),)},
    ],
)
def test_what_is_usual_is_no_reason(changes: dict[str, Any]) -> None:
    assert judge(replace(GOOD, **changes), now_us=NOW).level is Level.GOOD


def test_what_could_not_be_read_is_weighed_against_all_that_came() -> None:
    unreadable = replace(GOOD.diensten[0], dienst="", hour=Flow(refused=20))
    few = replace(GOOD, diensten=(replace(GOOD.diensten[0], hour=Flow(delivered=2_000)), unreadable))
    many = replace(GOOD, diensten=(replace(GOOD.diensten[0], hour=Flow(delivered=500)), unreadable))
    assert judge(few, now_us=NOW).level is Level.GOOD
    assert [(finding.level, finding.key) for finding in judge(many, now_us=NOW).findings] == [(Level.LOOK, "health.unreadable")]


def test_a_school_is_told_what_waits_for_the_school_and_not_for_us() -> None:
    fell = replace(GOOD, owners={"school": 2, "supplier": 1, "us": 1})
    health = judge(fell, now_us=NOW, mine=frozenset({Owner.SCHOOL}))
    told = [(finding.level, finding.key, finding.count) for finding in health.findings]
    assert told == [(Level.LOOK, "health.yours", 2), (Level.NOTE, "health.others", 2)]


def processes(*gone: str, state: str = "running", begun_s: int = 600) -> list[dict[str, Any]]:
    names = ("audit", "deliver", "relay", "route", "timetable", "portal")
    seen = {name: NOW - (120 if name in gone else 1) * 1_000_000 for name in names}
    return [{"name": name, "state": state, "seen_us": seen[name], "started_us": NOW - begun_s * 1_000_000} for name in names]


def test_without_a_broker_or_somebody_to_do_the_work_the_chain_does_not_flow() -> None:
    assert judge(GOOD, now_us=NOW, processes=processes()).level is Level.GOOD
    without = judge(GOOD, now_us=NOW, processes=processes("relay", "route"))
    assert [(one.level, one.key, one.name) for one in without.findings] == [
        (Level.TROUBLE, "health.no_worker", "relay"),
        (Level.TROUBLE, "health.no_worker", "route"),
    ]
    (away,) = judge(GOOD, now_us=NOW, processes=processes(state="no broker")).findings
    assert (away.level, away.key) == (Level.TROUBLE, "health.no_broker")


def test_who_has_just_begun_misses_nobody_yet() -> None:
    assert judge(GOOD, now_us=NOW, processes=processes("relay", begun_s=5)).level is Level.GOOD


def test_the_worst_stands_first() -> None:
    bad = replace(GOOD, owners={"supplier": 9, "us": 1}, unread=(lane(oldest_us=NOW - (UNREAD_S + 1) * SECOND),))
    assert [finding.key for finding in judge(bad, now_us=NOW).findings] == ["health.ours", "health.unread", "health.theirs"]
