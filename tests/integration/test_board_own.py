"""Schools and municipalities have the hourly chart and the map of the chain of their own traffic, whichever systems it went through."""

from __future__ import annotations

import pytest
from sqlalchemy import text

from adapters.store import Store
from adapters.store import board_own as own
from adapters.store.board_keeper import HOURS_STAY
from adapters.store.board_traffic import hour_of
from routing.people import Scope
from schemas.oin import Oin
from tests.support.board import keep
from tests.support.store import (
    DAY,
    MAILBOX,
    NOW,
    RECEIVER,
    SECOND,
    SENDER,
    SYSTEM,
    a_message,
    a_refusal,
    confirm,
    deliver,
    hand_in,
    lead,
    route,
    run_sql,
)
from tests.support.store import store as store

HOUR = 3_600 * SECOND
ALL = Scope(everything=True)
SCHOOL, TOWN = Scope(organisations=frozenset({Oin(SENDER)})), Scope(organisations=frozenset({Oin(RECEIVER)}))


def passed(store: Store, scope: Scope, now_us: int = NOW) -> list[tuple[int, int, int, int]]:
    """Handed in, refused, delivered and failed in each of the last hours, of all diensten."""
    lines = [line for line in store.board.overview(scope, now_us=now_us).diensten if line.hours]
    sums = [[line.hours[hour] for line in lines] for hour in range(24)] if lines else []
    return [tuple(sum(getattr(flow, name) for flow in flows) for name in own.COUNTS) for flows in sums]  # type: ignore[misc]


def links(store: Store, scope: Scope, *, days: int = 1, now_us: int = NOW) -> list[tuple[str, str, int, int]]:
    """System, receiving system, delivered and failed."""
    found = store.board.chain_map(scope, since_us=now_us - days * DAY, now_us=now_us)
    return sorted((one.system, one.receiver_system, one.delivered, one.failed) for one in found if one.delivered or one.failed)


def some_traffic(store: Store) -> None:
    """Three handed in an hour ago, of which two arrive now and one is refused by its receiver; and one refused at hand-in."""
    handed = hand_in(store, *(a_message(str(n), received_us=NOW - HOUR) for n in range(3)))
    run_sql(store, "UPDATE event SET at_us = :at", at=NOW - HOUR)
    made = [route(store, one.reference)[0] for one in handed]
    deliver(store, lead(store))
    for number, one in enumerate(made):
        confirm(store, one.id, confirmed=number < 2, **({} if number < 2 else {"code": "NOT_OURS", "owner": "school", "reason": "no"}))
    hand_in(store, a_refusal(sender=SENDER, dienst="proef", decisions=()))
    keep(store)


def test_a_school_and_a_receiver_see_the_hours_of_their_own_traffic_and_others_see_nothing(store: Store) -> None:
    some_traffic(store)
    assert [sum(column) for column in zip(*passed(store, ALL), strict=True)][2:] == [2, 1]
    school, town = passed(store, SCHOOL), passed(store, TOWN)
    assert [sum(column) for column in zip(*school, strict=True)][2:] == [2, 1]
    assert [sum(column) for column in zip(*town, strict=True)] == [0, 0, 2, 1]
    assert [row for row in town[:-1] if any(row)] == [] and town[-1][2:] == (2, 1), "in the hour in which it happened"
    (line,) = [line for line in store.board.overview(SCHOOL, now_us=NOW).diensten if line.dienst == "proef"]
    assert (line.hour.delivered, line.day.handed_in, line.season.handed_in) == (2, 3, 3)
    for stranger in (Scope(organisations=frozenset({Oin("00000001800000999000")})), Scope()):
        assert passed(store, stranger) == [] and links(store, stranger) == []


def test_who_sends_to_whom_is_on_the_map_of_the_school_and_of_the_receiver(store: Store) -> None:
    some_traffic(store)
    assert links(store, ALL) == links(store, SCHOOL) == links(store, TOWN) == [(SYSTEM, MAILBOX, 2, 1)]


def test_what_the_systems_of_an_account_show_is_not_counted_twice(store: Store) -> None:
    some_traffic(store)
    both = Scope(organisations=frozenset({Oin(SENDER)}), systems=frozenset({Oin(SYSTEM)}))
    assert links(store, both) == [(SYSTEM, MAILBOX, 2, 1)]
    assert [sum(column) for column in zip(*passed(store, both), strict=True)] == [
        sum(column) for column in zip(*passed(store, Scope(systems=both.systems)), strict=True)
    ]


def test_hours_of_long_ago_become_a_row_of_their_school_year_and_nothing_is_lost(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(own, "FOLD", 2)
    hour, rows = hour_of(NOW), []
    for ago, organisation in [(300 + n, f"0000000180000000{n:04}") for n in range(5)] + [(300, SENDER), (301, SENDER), (10, SENDER)]:
        rows.append({"hour": hour - ago, "organisation": organisation})
    rows.append({"hour": hour_of(NOW - 200 * DAY), "organisation": SENDER})  # of the season before
    with store.database.write() as tx:
        insert = "INSERT INTO traffic_own VALUES (:hour, :organisation, 'from', 'proef', 's', 'r', 1, 0, 2, 1)"
        for row in rows:
            tx.execute(text(insert), row)
    assert links(store, SCHOOL, days=6) == [("s", "r", 2, 1)], "of ten hours ago"
    keep(store)
    left = [row.hour for row in run_sql(store, "SELECT hour FROM traffic_own WHERE hour > 0")]
    assert left and min(left) >= hour - HOURS_STAY
    (now, before) = (
        run_sql(store, "SELECT * FROM traffic_own WHERE organisation = :o AND hour = :h", o=SENDER, h=hour)[0] for hour in (-2025, -2024)
    )
    assert (now.handed_in, now.delivered, now.failed) == (2, 4, 2) and (before.handed_in, before.delivered) == (1, 2)
    assert links(store, SCHOOL, days=366) == [("s", "r", 6, 3)], "this season, by day and by hour"
    assert links(store, SCHOOL, days=6) == [("s", "r", 2, 1)]


def test_each_row_is_looked_up_by_its_key_and_nobody_elses_is_read(store: Store) -> None:
    statement = own.Sql(
        "SELECT dienst, sum(delivered) AS n FROM traffic_own WHERE hour IN @hours AND organisation IN @organisations GROUP BY dienst"
    )
    with store.database.read() as connection:
        plan = " ".join(str(row[-1]) for row in statement.explain(connection, hours=[1, 2], organisations=[SENDER]))
    assert "hour=? AND organisation=?" in plan or "Index Cond: ((hour = ANY" in plan, plan


def test_a_board_made_anew_counts_the_same(store: Store) -> None:
    some_traffic(store)
    before = sorted(map(str, run_sql(store, "SELECT * FROM traffic_own")))
    store.board_keeper.start_anew()
    assert run_sql(store, "SELECT * FROM traffic_own") == []
    keep(store)
    assert before and sorted(map(str, run_sql(store, "SELECT * FROM traffic_own"))) == before
