"""How the board is kept: what comes on it and goes off it, whatever crashes; and what is added up."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest

from adapters.store import Store
from adapters.store.board_keeper import BoardKeeper
from adapters.store.board_standing import count_anew
from routing.work import LeaseLost
from schemas.ids import new_id
from schemas.oin import school_oin
from tests.support.board import chain, fail_whole, keep, keeper_of, on_board, take, whole_board
from tests.support.store import (
    DAY,
    MAILBOX,
    NOW,
    RECEIVER,
    SECOND,
    SENDER,
    SYSTEM,
    YES,
    a_delivery,
    a_message,
    a_refusal,
    claim,
    confirm,
    deliver,
    hand_in,
    lead,
    outcome,
    route,
    run_sql,
    settle,
    waiting_delivery,
)
from tests.support.store import take as take_in

SCHOOL = school_oin("01AA")


def test_a_message_is_on_the_board_until_its_delivery_is_confirmed(store: Store) -> None:
    (reference,) = take_in(store, "1")
    keep(store)
    assert on_board(store) == {reference: ("message", "received", None)}
    (one,) = route(store, reference)
    keep(store)
    assert on_board(store) == {one.id: ("delivery", "routed", None)}
    deliver(store, lead(store))
    keep(store)
    assert on_board(store) == {one.id: ("delivery", "delivered", None)}
    confirm(store, one.id)
    keep(store)
    assert on_board(store) == {}


def test_healthy_traffic_that_has_ended_by_then_never_is_on_the_board(store: Store) -> None:
    keeper = BoardKeeper(store.database, settled_s=3_600)
    (one,) = route(store, *take_in(store, "1"))
    keep(store, keeper)
    assert on_board(store) == {}
    deliver(store, lead(store))
    confirm(store, one.id)
    keep(store)
    assert on_board(store) == {}


def test_what_fails_waits_or_is_refused_is_there_without_waiting_for_the_sweep(store: Store) -> None:
    keeper = BoardKeeper(store.database, settled_s=3_600)
    first, second = take_in(store, "1", "2")
    failed, waits = route(store, first, to=[a_delivery(code="FILTER_ERROR", owner="us"), waiting_delivery()])
    fail_whole(store, second)
    (refused,) = hand_in(store, a_refusal())
    keep(store, keeper)
    assert on_board(store) == {
        failed.id: ("delivery", "failed", "FILTER_ERROR"),
        waits.id: ("delivery", "routed", "ROUTE_NO_ENDPOINT"),
        second: ("message", "failed", "ROUTE_UNKNOWN"),
        refused.reference: ("refusal", "refused", "Client.DK0004"),
    }
    rows = {row.id: row for row in run_sql(store, "SELECT * FROM item")}
    assert not rows[waits.id].fallen and rows[failed.id].fallen and rows[second].fallen and rows[refused.reference].fallen
    assert (rows[waits.id].school, rows[waits.id].organisation, rows[waits.id].system) == (SENDER, RECEIVER, SYSTEM)


def test_a_failure_that_is_offered_again_and_delivered_goes_off(store: Store) -> None:
    (one,) = route(store, *take_in(store, "1"))
    deliver(store, lead(store))
    confirm(store, one.id, confirmed=False, code="NOT_OUR_RESIDENT", owner="school")
    keep(store)
    assert on_board(store)[one.id] == ("delivery", "failed", "NOT_OUR_RESIDENT")
    store.repair.retry(run_sql(store, "SELECT reference FROM message")[0].reference, actor="somebody", now_us=NOW)
    keep(store)
    assert on_board(store)[one.id] == ("delivery", "released", None)
    (claimed,) = claim(store, store.outbox.unclaimed(now_us=NOW, wiped=True)[1])
    settle(store, outcome(claimed))
    confirm(store, one.id)
    keep(store)
    assert on_board(store) == {}


def test_a_confirmed_delivery_stays_while_its_answer_is_due(store: Store) -> None:
    (one,) = route(store, *take_in(store, "1"), answer_within_us=DAY)
    deliver(store, lead(store))
    confirm(store, one.id)
    keep(store)
    assert on_board(store) == {one.id: ("delivery", "acknowledged", None)}
    store.outbox.unanswered(actor="timetable", now_us=NOW + 2 * DAY)
    keep(store)
    assert on_board(store) == {one.id: ("delivery", "failed", "ANSWER_MISSING")}


@pytest.mark.parametrize(
    "good",
    [
        {"message_id": "urn:uuid:r", "business_id": "new"},
        {"message_id": "urn:uuid:new", "business_id": "B-R"},
        {"message_id": "urn:uuid:new", "business_id": "new", "replaces": "b-r"},
    ],
    ids=["the same MessageID", "the same business id", "one that replaces it"],
)
def test_a_refusal_goes_off_when_its_sender_hands_in_well_what_was_refused(store: Store, good: dict[str, str]) -> None:
    (refused,) = hand_in(store, a_refusal(sender=SENDER, message_id="urn:uuid:r", business_id="B-R"))
    other = SENDER[:-1] + "9"
    hand_in(store, a_message("other", sender=other, received_us=NOW + SECOND, **good))
    keep(store)
    assert refused.reference in on_board(store), "another sender's ids say nothing"
    hand_in(store, a_message("mine", received_us=NOW + SECOND, **good))
    keep(store)
    assert refused.reference not in on_board(store)
    store.board_keeper.start_anew()
    keep(store)
    assert refused.reference not in on_board(store)


def test_a_refusal_because_the_id_was_used_before_stays(store: Store) -> None:
    take_in(store, "1")
    (refused,) = hand_in(store, a_message("1", content="other", received_us=NOW + SECOND))
    assert refused.code == "DUPLICATE_OTHER_CONTENT"
    keep(store)
    assert on_board(store)[refused.reference] == ("refusal", "refused", "DUPLICATE_OTHER_CONTENT")


def test_a_refusal_of_a_month_ago_goes_off(store: Store) -> None:
    hand_in(store, a_refusal())
    keep(store, now_us=NOW + 29 * DAY)
    assert len(on_board(store)) == 1
    keep(store, now_us=NOW + 31 * DAY)
    assert on_board(store) == {}
    store.board_keeper.start_anew()
    keep(store, now_us=NOW + 31 * DAY)
    assert on_board(store) == {}


def a_busy_day(store: Store) -> None:
    """Something of everything."""
    lease = lead(store)
    names = [str(n) for n in range(12)]
    references = take_in(store, *names)
    made = [route(store, reference)[0] for reference in references[:8]]
    route(store, references[8], to=[waiting_delivery()])
    fail_whole(store, references[9])
    deliver(store, lease)
    confirm(store, *(one.id for one in made[:3]))
    confirm(store, made[3].id, confirmed=False, code="NOT_OUR_RESIDENT", owner="school")
    hand_in(store, a_refusal("a", sender=SENDER), a_refusal("b", sender=SENDER, at_us=NOW + 1))


class Crash(Exception):
    """In the midst of things."""


@pytest.mark.parametrize("after", range(9))
def test_a_keeper_that_dies_anywhere_is_followed_by_one_that_comes_to_the_same(
    store: Store, after: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It dies before its nth transaction is committed; the next one begins with what the store says."""
    for part in range(3):  # in several blocks
        hand_in(store, a_refusal(str(part), at_us=NOW + 10 + part))
        chain(store)
    a_busy_day(store)
    keeper, write, left = keeper_of(store), store.database.require, itertools.count(after, -1)

    def require(tx: object, lease: object) -> None:
        if next(left) == 0:
            raise Crash
        write(tx, lease)  # type: ignore[arg-type]

    chain(store)
    lease = take(store, "board")
    monkeypatch.setattr(store.database, "require", require)
    died = False
    try:
        for chore in (keeper.follow, keeper.sweep, keeper.count, keeper.close):
            while chore(lease, now_us=NOW):
                pass
    except Crash:
        died = True
    monkeypatch.undo()
    assert died or after > 5
    keep(store)
    found = whole_board(store)
    store.board_keeper.start_anew()
    assert on_board(store) == {}
    keep(store)
    assert whole_board(store) == found
    assert len(found["item"]) == 5 + 1 + 1 + 2 + 5, "open or refused by its party; waits; failed whole; unrouted; refused"
    assert sum(int(row[5]) for row in found["traffic"]) == 12


def test_who_does_not_lead_any_more_changes_nothing(store: Store) -> None:
    old, keeper = take(store, "board"), keeper_of(store)
    a_busy_day(store)
    chain(store)
    take(store, "board", now_us=NOW + 1)
    for chore in (keeper.follow, keeper.sweep, keeper.count):
        with pytest.raises(LeaseLost):
            chore(old, now_us=NOW)
    assert on_board(store) == {}


def test_what_changes_between_two_looks_of_the_sweep_is_put_right_by_the_journal(store: Store) -> None:
    """The sweep read that it was open; it ended before the sweep wrote so."""
    (one,) = route(store, *take_in(store, "1"))
    deliver(store, lead(store))
    keep(store)
    run_sql(store, "UPDATE item SET state = 'routed'")
    with store.database.write() as tx:
        count_anew(tx)
    confirm(store, one.id)
    keep(store)
    assert on_board(store) == {}


def test_what_passed_is_counted_by_hour_party_and_season(store: Store) -> None:
    reference = "0" + new_id()[1:]  # handed in long ago
    (handed,) = hand_in(store, a_message("1", reference=reference))
    (one,) = route(store, handed.reference)
    deliver(store, lead(store))
    confirm(store, one.id, now_us=NOW + 3_600 * SECOND)
    hand_in(store, a_refusal(sender=SENDER, dienst="proef", bericht="proefBericht", decisions=(YES,)))
    keep(store)
    hour = NOW // 3_600_000_000
    passed = {
        (row.hour, row.receiver_system): (row.handed_in, row.refused, row.delivered, row.failed)
        for row in run_sql(store, "SELECT * FROM traffic")
    }
    assert passed == {(hour, ""): (1, 1, 0, 0), (hour + 1, MAILBOX): (0, 0, 1, 0)}
    parties = {(row.organisation, row.side): (row.handed_in, row.delivered) for row in run_sql(store, "SELECT * FROM traffic_party")}
    assert parties == {(SENDER, "from"): (1, 1), (RECEIVER, "to"): (0, 1)}
    seasons = {(row.year, row.side, row.organisation, row.n) for row in run_sql(store, "SELECT * FROM season")}
    assert seasons == {(2025, "from", SENDER, 1), (2025, "to", RECEIVER, 1)}
    (fell,) = run_sql(store, "SELECT * FROM fallout")
    assert (fell.code, fell.owner, fell.school, fell.n) == ("Client.DK0004", "supplier", SENDER, 1)


def test_a_refusal_whose_sender_was_not_proven_counts_for_the_connection_and_never_for_the_school_it_names(store: Store) -> None:
    """Anybody may write a school's OIN in wsa:From: with a bad signature, or without a mandate."""
    no = replace(YES, outcome="no", code="Client.DK0002")
    hand_in(
        store,
        a_refusal("bad signature", sender=SCHOOL, code="Client.DK0003"),
        a_refusal("no mandate", sender=SCHOOL, code="Client.DK0002", decisions=(no,)),
        a_refusal("mandated", sender=SCHOOL, decisions=(YES,)),
        a_refusal("its own", sender=SYSTEM),
    )
    keep(store)
    fell = {(row.code, row.system, row.school): row.n for row in run_sql(store, "SELECT * FROM fallout")}
    assert fell == {
        ("Client.DK0003", SYSTEM, ""): 1,
        ("Client.DK0002", SYSTEM, ""): 1,
        ("Client.DK0004", SYSTEM, SCHOOL): 1,
        ("Client.DK0004", SYSTEM, SYSTEM): 1,
    }
    parties = {(row.organisation, row.system): row.refused for row in run_sql(store, "SELECT * FROM traffic_party")}
    assert parties == {(SCHOOL, SYSTEM): 1, (SYSTEM, SYSTEM): 1}
    assert [row.refused for row in run_sql(store, "SELECT sum(refused) AS refused FROM traffic WHERE system = :s", s=SYSTEM)] == [4]
    items = {(row.code, row.school, row.brin) for row in run_sql(store, "SELECT * FROM item WHERE sender = :s", s=SCHOOL)}
    assert items == {("Client.DK0003", None, "01AA"), ("Client.DK0002", None, "01AA"), ("Client.DK0004", SCHOOL, "01AA")}


def test_a_group_that_was_solved_opens_by_itself_when_it_comes_back(store: Store) -> None:
    hand_in(store, a_refusal("a"))
    keep(store)
    values = "SELECT code, owner, dienst, system, receiver_system, 'solved', NULL, NULL, NULL, :at FROM failure_group"
    run_sql(store, f"INSERT INTO group_life {values}", at=NOW + SECOND)
    keep(store)
    assert [row.state for row in run_sql(store, "SELECT * FROM group_life")] == ["solved"]
    hand_in(store, a_refusal("b", at_us=NOW + 2 * SECOND))
    keep(store)
    assert [row.state for row in run_sql(store, "SELECT * FROM group_life")] == ["open"]
    assert [row.what for row in run_sql(store, "SELECT * FROM group_note")] == ["reopened"]


def test_hours_of_long_ago_are_added_up_per_amsterdam_day_and_nothing_is_lost(store: Store) -> None:
    for at in range(30):
        hand_in(store, a_message(str(at), received_us=NOW - 20 * DAY + at * 3_600 * SECOND))
    hand_in(store, a_message("today"))
    keep(store)
    rows = {row.hour: row.handed_in for row in run_sql(store, "SELECT hour, handed_in FROM traffic")}
    today = NOW // 3_600_000_000
    midnight = today - 20 * 24 - 1  # NOW is midnight UTC, an hour past midnight in Amsterdam
    assert rows == {midnight: 23, midnight + 24: 7, today: 1}
    keep(store)
    assert sum(row.handed_in for row in run_sql(store, "SELECT handed_in FROM traffic")) == 31


def test_what_passed_in_a_school_year_is_the_same_whether_it_was_counted_or_added_up(store: Store) -> None:
    route(store, *take_in(store, "1", "2"))
    deliver(store, lead(store))
    keep(store)
    counted = run_sql(store, "SELECT * FROM traffic_year ORDER BY receiver_system")
    assert [(row.year, row.handed_in) for row in counted if row.handed_in] == [(2025, 2)]
    keep(store)  # a new leader, who adds it up out of the hours
    assert run_sql(store, "SELECT * FROM traffic_year ORDER BY receiver_system") == counted


def test_since_when_something_of_a_sort_is_there_is_right_when_the_oldest_of_it_goes(store: Store) -> None:
    first, second, third = hand_in(store, *(a_refusal(name, at_us=NOW + at * SECOND) for at, name in enumerate("abc")))
    keep(store, now_us=NOW + 5 * SECOND)
    for gone, left in ((second, [(2, NOW)]), (first, [(1, NOW + 2 * SECOND)]), (third, [])):
        assert store.board.close_refusal(gone.reference, who="somebody", why="mended", now_us=NOW + 5 * SECOND)
        assert [(row.n, row.first_us) for row in run_sql(store, "SELECT n, first_us FROM standing")] == left
