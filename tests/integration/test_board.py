"""What pages ask of the board: lists in order, groups and their life, the overview, one message, parties and reports."""

from __future__ import annotations

import uuid
from dataclasses import replace
from datetime import date

import pytest

from adapters.store import Store
from adapters.store.board_standing import count_anew
from adapters.store.board_traffic import day_number
from routing.board import BoardError, Flow, GroupKey, GroupState, ItemFilter, Kind, Place, Sort, View, order_text, subject_text
from routing.people import Scope
from schemas.oin import Oin, school_oin
from tests.support.board import fail_whole, keep, keeper_of
from tests.support.board import take as take_lease
from tests.support.store import (
    DAY,
    LANE,
    MAILBOX,
    NOW,
    RECEIVER,
    SECOND,
    SENDER,
    SYSTEM,
    VAULT,
    a_delivery,
    a_message,
    a_refusal,
    confirm,
    deliver,
    hand_in,
    lead,
    route,
    run_sql,
    take,
    waiting_delivery,
)

ALL = Scope(everything=True)
HOUR = 3_600 * SECOND
PART = Scope(organisations=frozenset({Oin(SENDER)}), systems=frozenset({Oin(MAILBOX)}))
BRIN = school_oin("01AA")


def ids(store: Store, wanted: ItemFilter | None = None, scope: Scope = ALL, **more: object) -> list[str]:
    """References of items, in order."""
    page = store.board.items(scope, wanted or ItemFilter(), now_us=NOW, **more)  # type: ignore[arg-type]
    return [item.reference for item in page.items]


def named(store: Store, names: str, **changes: object) -> dict[str, str]:
    """name -> reference of messages, each handed in a second after the one before."""
    return {name: take(store, name, received_us=NOW + at * SECOND, **changes)[0] for at, name in enumerate(names)}


# -- lists -------------------------------------------------------------------------------------------------------------------------------


def test_each_filter_finds_what_it_names_and_nothing_else(store: Store) -> None:
    (mine,) = take(
        store,
        "1",
        sender=BRIN[:15] + "34567",
        system=MAILBOX,
        order=None,
        subject=VAULT.index(subject_text("999999990")),
        order_key=VAULT.index(order_text("proef", "proefBericht", "01AA:00000001")),
        received_us=NOW + SECOND,
    )
    (delivery,) = route(store, mine, to=[waiting_delivery(receiver="0000000700002BB12345", deadline_us=NOW + DAY)])
    (other,) = take(store, "2", dienst="vva", versie="2", bericht="mboGangerBericht")
    keep(store)
    found = {
        "dienst": "proef",
        "versie": "1",
        "bericht": "proefBericht",
        "brin": "01AA",
        "school": BRIN,
        "systems": (MAILBOX,),
        "receiver": school_oin("02BB"),
        "party": school_oin("02BB"),
        "state": "routed",
        "code": "ROUTE_NO_ENDPOINT",
        "owner": "receiver",
        "since_us": NOW + SECOND,
        "business_id": "B-1",
        "message_id": "urn:uuid:m-1",
        "reference": mine,
        "address": "0000000700002BB12345",
        "subject": VAULT.index(subject_text("999999990")),
        "orders": (VAULT.index(order_text("proef", "proefBericht", "01AA:00000001")),),
    }
    for name, value in found.items():
        assert ids(store, ItemFilter(**{name: value})) == [mine], name
        assert store.board.count(ALL, ItemFilter(**{name: value}), now_us=NOW) == 1, name
    assert ids(store, ItemFilter(**found)) == [mine]  # type: ignore[arg-type]
    assert ids(store, ItemFilter(older_than_s=1, until_day=date(2026, 1, 15))) == []
    assert store.board.items(ALL, ItemFilter(older_than_s=1), now_us=NOW + 2 * SECOND).items[0].reference == other
    assert ids(store, ItemFilter(since_day=date(2026, 1, 15), until_day=date(2026, 1, 15))) == [other, mine]
    assert ids(store, ItemFilter(until_day=date(2026, 1, 14))) == ids(store, ItemFilter(since_day=date(2026, 1, 16))) == []
    (item,) = store.board.items(ALL, ItemFilter(reference=mine), now_us=NOW).items
    assert (item.id, item.kind, item.brin, item.organisation, item.again) == (delivery.id, Kind.DELIVERY, "01AA", school_oin("02BB"), True)


def test_a_message_that_found_no_receiver_was_never_attempted_and_a_refusal_is_none(store: Store) -> None:
    (failed,) = take(store, "1")
    fail_whole(store, failed)
    hand_in(store, a_refusal())
    keep(store)
    assert ids(store, ItemFilter(never_attempted=True)) == [failed]


def test_what_is_for_a_place_without_an_oin_is_found_by_the_link_to_it() -> None:
    """A municipality code that ended is named as the receiver, and is no OIN that could be in lower case."""
    assert ItemFilter.from_query({"ontvanger": "gemeentecode 0501"}).receiver == "gemeentecode 0501"
    assert ItemFilter.from_query({"ontvanger": "0000000700002bb12345"}).receiver == "0000000700002BB12345"
    assert ItemFilter.from_query({"brin": "01aa"}).brin == "01AA"


def test_a_handle_that_was_not_filled_in_finds_nothing(store: Store) -> None:
    take(store, "1")
    keep(store)
    assert ids(store, ItemFilter(handle="abc")) == []
    assert store.board.count(ALL, ItemFilter(handle="abc"), now_us=NOW) == 0


def test_a_filter_stands_in_a_url_without_the_hash_of_a_number_and_comes_back_from_it() -> None:
    key = GroupKey(code="Client.DK0002", owner="supplier", dienst="vva", system=SYSTEM, receiver_system="")
    wanted = ItemFilter(
        view=View.FALLEN,
        systems=(SYSTEM, MAILBOX),
        since_day=date(2026, 2, 1),
        older_than_s=60,
        group=key,
        never_attempted=True,
        handle="x",
    )
    assert ItemFilter.from_query(wanted.as_query()) == wanted
    secret = replace(wanted, subject=b"hash", orders=(b"hash",))
    assert secret.as_query() == wanted.as_query()
    assert "hash" not in repr(secret)
    assert ItemFilter().names_nothing and not secret.names_nothing
    assert ItemFilter.from_query({"dienst": " ", "anders": "x"}) == ItemFilter()


@pytest.mark.parametrize(
    "query",
    [{"van": "2026-13-01"}, {"van": "20260101"}, {"ouder": "-1"}, {"lijst": "?"}, {"groep": "x"}, {"code": "a\nb"}, {"code": "x" * 301}],
)
def test_a_url_that_asks_for_what_cannot_be_is_answered_with_a_sentence(query: dict[str, str]) -> None:
    with pytest.raises(BoardError, match=r"\.$"):
        ItemFilter.from_query(query)


@pytest.mark.parametrize("sort", list(Sort))
@pytest.mark.parametrize(
    "scope", [ALL, Scope(organisations=frozenset({Oin(SENDER)}), systems=frozenset({Oin(MAILBOX)}))], ids=["all", "part"]
)
def test_pages_forth_and_back_hold_each_item_once_and_in_order(store: Store, sort: Sort, scope: Scope) -> None:
    references = [take(store, str(n), received_us=NOW + (n % 7) * SECOND)[0] for n in range(23)]
    for n, reference in enumerate(references[:17]):
        route(store, reference, to=[a_delivery(deadline_us=NOW + (n % 5) * DAY)], now_us=NOW + n % 4)
    keep(store)
    board, pages, after = store.board, [], None
    while True:
        page = board.items(scope, ItemFilter(), now_us=NOW, sort=sort, after=after, limit=5)
        pages.append(page)
        assert (page.before is None) == (after is None)
        if page.next is None:
            break
        after = Place.read(str(page.next))
    seen = [item for page in pages for item in page.items]
    assert len({item.id for item in seen}) == len(seen) == (17 if sort is Sort.DEADLINE else 23)
    values = [{"laatst": item.at_us, "termijn": item.deadline_us or 0}.get(sort, item.received_us) for item in seen]
    assert values == sorted(values, reverse=sort in (Sort.NEWEST, Sort.MOVED))
    place = pages[-1].before
    for page in reversed(pages[:-1]):
        assert place is not None
        again = board.items(scope, ItemFilter(), now_us=NOW, sort=sort, after=place, backwards=True, limit=5)
        assert again.items == page.items
        place = again.before
    assert place is None


def test_a_wide_question_is_answered_the_same_as_a_narrow_one(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of many rows a page comes out of an index in order, of few they are sorted: nobody may see the difference."""
    from adapters.store import board_where

    for name in "abcdefghij":
        hand_in(store, a_message(name, received_us=NOW - ord(name)), a_refusal(name, at_us=NOW + ord(name), sender=SENDER))
    keep(store)
    scopes = [ALL, Scope(organisations=frozenset({Oin(SENDER)})), Scope(systems=frozenset({Oin(SYSTEM), Oin(MAILBOX)})), Scope()]
    wanted = [ItemFilter(), ItemFilter(view=View.FALLEN), ItemFilter(dienst="proef"), ItemFilter(party=SYSTEM, code="Client.DK0004")]
    asked = [(scope, one, sort) for scope in scopes for one in wanted for sort in Sort]

    def answers() -> list[object]:
        return [
            (store.board.items(scope, one, now_us=NOW, sort=sort, limit=7), store.board.count(scope, one, now_us=NOW))
            for scope, one, sort in asked
        ]

    few = answers()
    monkeypatch.setattr(board_where, "FEW", 0)
    assert answers() == few
    monkeypatch.setattr(board_where, "SOME", 0)
    assert answers() == few
    assert store.board.count(ALL, ItemFilter(), now_us=NOW, most=5) == 6
    assert store.board.tally(ALL, ItemFilter(), "state", now_us=NOW) == {"received": 10, "refused": 10}
    with pytest.raises(BoardError):
        store.board.tally(ALL, ItemFilter(), "subject", now_us=NOW)


@pytest.mark.parametrize("text", ["", "x", "MTox", "Mi0x", str(Place(1, 2)) + "!"])
def test_a_place_that_we_did_not_make_is_refused(text: str) -> None:
    if text == "MTox":
        assert Place.read(text) == Place(1, 1)
        return
    with pytest.raises(BoardError):
        Place.read(text)


def test_a_delivery_in_a_lane_that_an_operator_holds_says_so(store: Store) -> None:
    (reference,) = take(store, "1")
    route(store, reference)
    store.outbox.hold(LANE, who="somebody", now_us=NOW)  # type: ignore[attr-defined]
    keep(store)
    (item,) = store.board.items(ALL, ItemFilter(), now_us=NOW).items
    assert (item.code, item.owner) == ("HELD_BY_OPERATOR", "us")
    (line,) = store.board.lanes(ALL, now_us=NOW)
    assert (line.lane, line.state, line.by, line.by_hand, line.waiting, line.oldest_us) == (LANE, "held", "somebody", True, 1, NOW)


# -- groups ------------------------------------------------------------------------------------------------------------------------------


def test_failures_are_one_group_per_cause_with_size_trend_schools_and_receivers(store: Store) -> None:
    lease = lead(store)
    for name, sender in (("1", BRIN), ("2", BRIN), ("3", school_oin("02BB"))):
        (one,) = route(store, *take(store, name, sender=sender))
        deliver(store, lease)
        confirm(store, one.id, confirmed=False, code="NOT_OUR_RESIDENT", owner="school", now_us=NOW + HOUR)
    hand_in(store, a_refusal())
    keep(store)
    store.board_keeper.follow(take_lease(store, "board"), now_us=NOW)
    large, small = store.board.groups(ALL, now_us=NOW + HOUR)
    assert (large.key.code, large.count, large.still_open, large.state) == ("NOT_OUR_RESIDENT", 3, 3, GroupState.OPEN)
    assert (small.key.code, small.key.dienst, small.hours[-2], large.hours[-1]) == ("Client.DK0004", "", 1, 3)
    detail = store.board.group(ALL, large.key, now_us=NOW + HOUR)
    assert detail is not None
    assert [(part.oin, part.brin, part.count) for part in detail.schools] == [(BRIN, "01AA", 2), (school_oin("02BB"), "02BB", 1)]
    assert [(part.oin, part.count) for part in detail.receivers] == [(RECEIVER, 3)]
    assert len(store.board.items(ALL, ItemFilter(group=large.key), now_us=NOW).items) == 3
    assert {item.group for item in store.board.items(ALL, ItemFilter(group=small.key), now_us=NOW).items} == {small.key}
    assert GroupKey.read(str(small.key)) == small.key


def test_a_group_goes_with_its_partner_is_solved_and_each_step_is_journalled_with_who_and_why(store: Store) -> None:
    hand_in(store, a_refusal())
    keep(store)
    (group,) = store.board.groups(ALL, now_us=NOW)
    board, key = store.board, group.key
    board.note(key, "belde over leerling 999999990", who="an", now_us=NOW + 1)
    board.assign(key, "bo", who="an", now_us=NOW + 2)
    board.with_partner(key, ticket="T-1", agreed_on=date(2026, 2, 1), who="an", now_us=NOW + 3)
    (now,) = board.groups(ALL, now_us=NOW)
    assert (now.state, now.ticket, now.agreed_on, now.assignee, now.changed_us) == (
        GroupState.WITH_PARTNER,
        "T-1",
        date(2026, 2, 1),
        "bo",
        NOW + 3,
    )
    board.solve(key, who="bo", now_us=NOW + 4, why="new release")
    assert [one.state for one in board.groups(ALL, now_us=NOW, state=GroupState.SOLVED)] == [GroupState.SOLVED]
    assert board.groups(ALL, now_us=NOW, state=GroupState.OPEN) == []
    hand_in(store, a_refusal("again", at_us=NOW + SECOND))
    keep(store, now_us=NOW + SECOND)
    (back,) = board.groups(ALL, now_us=NOW)
    assert (back.state, back.ticket, back.assignee, back.still_open) == (GroupState.OPEN, None, "bo", 2)
    detail = board.group(ALL, key, now_us=NOW)
    assert detail is not None
    assert [(note.what, note.who) for note in detail.notes] == [
        ("reopened", "audit"),
        ("solved", "bo"),
        ("with_partner", "an"),
        ("assigned", "an"),
        ("note", "an"),
    ]
    assert "999999990" not in detail.notes[-1].text
    events = [event for event in _events(store) if event.kind.startswith("group_")]
    assert [(event.kind, event.actor) for event in events] == [
        ("group_note", "an"),
        ("group_assigned", "an"),
        ("group_with_partner", "an"),
        ("group_solved", "bo"),
        ("group_reopened", "audit"),
    ]
    assert events[3].reason == "new release" and events[2].details["ticket"] == "T-1"
    assert store.journal.verify().whole


def _events(store: Store) -> list[object]:
    from schemas import events as avro

    return [avro.decode(bytes(row.payload), row.schema) for row in run_sql(store, "SELECT schema, payload FROM event ORDER BY id")]


def test_a_group_that_never_was_cannot_be_changed(store: Store) -> None:
    key = GroupKey(code="X", owner="", dienst="", system="", receiver_system="")
    with pytest.raises(BoardError):
        store.board.solve(key, who="an", now_us=NOW, why="")
    with pytest.raises(BoardError):
        store.board.note(key, "x", who="an", now_us=NOW)
    assert store.board.group(ALL, key, now_us=NOW) is None


def test_a_group_with_nothing_open_any_more_shows_only_among_the_solved(store: Store) -> None:
    (refused,) = hand_in(store, a_refusal())
    keep(store)
    assert store.board.close_refusal(refused.reference, who="an", why="kwam per telefoon", now_us=NOW)
    assert not store.board.close_refusal(refused.reference, who="an", why="again", now_us=NOW)
    assert store.board.groups(ALL, now_us=NOW) == []
    assert [one.count for one in store.board.groups(ALL, now_us=NOW, solved=True)] == [1]
    keep(store)
    assert ids(store) == []
    assert [event.kind for event in store.journal.of_message(refused.reference)] == ["refused", "refusal_closed"]
    with pytest.raises(BoardError):
        store.board.close_refusal(refused.reference, who="an", why=" ", now_us=NOW)


# -- the whole ---------------------------------------------------------------------------------------------------------------------------


def test_the_overview_says_what_passes_what_waits_and_whose_turn_it_is(store: Store) -> None:
    lease = lead(store)
    first, second, third = named(store, "abc").values()
    (done,) = route(store, first)
    deliver(store, lease)
    confirm(store, done.id, now_us=NOW + SECOND)
    route(store, second, to=[waiting_delivery()])
    fail_whole(store, third)
    hand_in(store, a_refusal(sender=SENDER, dienst="proef"))
    keep(store)
    overview = store.board.overview(ALL, now_us=NOW + HOUR)
    (line,) = overview.diensten
    expected = Flow(handed_in=3, refused=1, delivered=1, failed=1, took_s=0, in_minute=1, in_hour=1, in_day=1)
    assert (line.dienst, line.hour, line.day, line.season) == ("proef", expected, expected, expected)
    assert (line.waiting, line.fallen, line.oldest_us) == (1, 2, NOW + SECOND)
    assert line.hours[-2] == expected and line.hours[-1] == Flow()
    assert overview.owners == {"school": 1, "supplier": 1}
    assert (overview.fresh.behind, overview.fresh.filling) == (0, False)
    later = store.board.overview(ALL, now_us=NOW + 3 * HOUR).diensten[0]
    assert (later.hour, later.day) == (Flow(), expected)
    (link, *rest) = store.board.chain_map(ALL, since_us=NOW - HOUR, now_us=NOW)
    assert (link.dienst, link.system, link.receiver_system) in {("proef", SYSTEM, MAILBOX), ("proef", SYSTEM, "")}
    assert sum(one.delivered for one in (link, *rest)) == 1 and sum(one.waiting for one in (link, *rest)) == 1


def test_a_mailbox_that_nobody_empties_is_named_after_an_hour(store: Store) -> None:
    route(store, *take(store, "1"))
    deliver(store, lead(store))
    keep(store)
    assert store.board.overview(ALL, now_us=NOW + HOUR // 2).unread == ()
    (line,) = store.board.overview(ALL, now_us=NOW + 2 * HOUR).unread
    assert (line.system, line.waiting, line.oldest_us, line.state) == (MAILBOX, 1, NOW, "closed")


def test_the_calendar_names_schools_that_sent_nothing_or_few_from_15_january_on(store: Store) -> None:
    vva = {"dienst": "vva", "bericht": "mboGangerBericht"}
    last, schools = NOW - 360 * DAY, [school_oin(f"0{n}AA") for n in range(4)]
    for school, before, now in zip(schools, (4, 4, 4, 0), (0, 1, 2, 1), strict=True):
        for count, at_us in ((before, last), (now, NOW - DAY)):
            hand_in(store, *(a_message(f"{school}{at_us}{n}", sender=school, received_us=at_us, **vva) for n in range(count)))
    keep(store)
    line = store.board.overview(ALL, now_us=NOW).calendar[0]
    assert (line.day, line.days_left, line.handed_in, line.last_season, line.schools) == (date(2026, 2, 1), 17, 4, 12, 3)
    assert [(one.school, one.now, one.last_season, one.system) for one in line.silent] == [
        (schools[0], 0, 4, SYSTEM),
        (schools[1], 1, 4, SYSTEM),
    ]
    assert store.board.overview(ALL, now_us=NOW - 2 * DAY).calendar[0].silent == (), "not before the fifteenth"


def test_statuses_dated_up_to_the_first_of_april_that_are_not_at_their_receivers_are_counted_whenever_they_were_handed_in(
    store: Store,
) -> None:
    status = {"dienst": "vva", "bericht": "aanmeldStatusBericht"}
    first_of_april, in_may = date(2026, 4, 1), date(2026, 5, 12)
    day = day_number(in_may) * DAY
    for days in (*range(-3, 4), -365, 365, None):  # None: of another status, or handed in to a version that did not note it
        law_day = None if days is None else day_number(first_of_april) + days
        hand_in(store, a_message(f"{days}", received_us=day, law_day=law_day, **status))
    hand_in(store, a_message("early", received_us=NOW, **status), a_refusal(at_us=NOW, **status))
    hand_in(store, a_message("other", received_us=NOW, law_day=day_number(first_of_april), dienst="vva", bericht="mboGangerBericht"))
    keep(store, now_us=day)
    ours = (ALL, Scope(systems=frozenset({Oin(SYSTEM)})), Scope(organisations=frozenset({Oin(SENDER)})))
    for scope in ours:
        line = store.board.overview(scope, now_us=day).calendar[1]
        assert (line.day, line.days_left, line.late) == (first_of_april, (first_of_april - in_may).days, 5)


def test_a_status_that_reached_its_receiver_is_counted_no_more(store: Store) -> None:
    status = {"dienst": "vva", "bericht": "aanmeldStatusBericht", "law_day": day_number(date(2026, 1, 14))}
    routed = [route(store, *take(store, name, **status))[0] for name in ("1", "2")]
    deliver(store, lead(store))
    keep(store)
    assert store.board.overview(ALL, now_us=NOW).calendar[1].late == 2, "in its mailbox is not at its receiver"
    confirm(store, routed[0].id)
    keep(store)
    assert store.board.overview(ALL, now_us=NOW).calendar[1].late == 1


def test_an_item_that_the_version_before_made_is_counted_when_something_happens_to_it(store: Store) -> None:
    """While both run, its keeper copies no day."""
    status = {"dienst": "vva", "bericht": "aanmeldStatusBericht", "law_day": day_number(date(2026, 1, 14))}
    (reference,) = take(store, "1", **status)
    keep(store)
    run_sql(store, "UPDATE item SET law_day = NULL")
    with store.database.write() as tx:
        count_anew(tx)
    assert store.board.overview(ALL, now_us=NOW).calendar[1].late == 0
    fail_whole(store, reference)
    keep(store)
    assert store.board.overview(ALL, now_us=NOW).calendar[1].late == 1


# -- one message -------------------------------------------------------------------------------------------------------------------------


def test_a_message_is_shown_with_all_that_happened_and_what_belongs_to_it(store: Store) -> None:
    (first,) = take(store, "1")
    (one,) = route(store, first, to=[a_delivery()])
    deliver(store, lead(store))
    (newer,) = take(store, "2", replaces="b-1", received_us=NOW + SECOND)
    keep(store)
    for id in (first, one.id, "urn:uuid:m-1", "B-1"):
        assert store.board.find(ALL, id) == first
    view = store.board.message(ALL, first)
    assert view is not None
    assert (view.whole, view.kept, view.facts["reference"], len(view.deliveries[0]["tries"])) == (True, True, first, 1)
    assert [event.kind for event in view.events] == ["received", "routed", "delivered"]
    assert [item.state for item in view.items] == ["delivered"]
    assert [(one.how, one.reference) for one in view.related] == [("replaced by", newer)]
    other = store.board.message(ALL, newer)
    assert other is not None and [(one.how, one.reference) for one in other.related] == [("replaces", first)]
    assert store.board.message(ALL, "nothing") is None and store.board.find(ALL, "nothing") is None


def test_a_refusal_is_shown_too(store: Store) -> None:
    (refused,) = hand_in(store, a_refusal(message_id="urn:uuid:r", details=("one",)))
    view = store.board.message(ALL, refused.reference)
    assert view is not None and (view.facts["state"], view.facts["details"], view.kept) == ("refused", ["one"], False)
    assert store.board.find(ALL, "urn:uuid:r") == refused.reference


def test_what_a_refused_sender_wrote_as_its_message_id_is_shown_only_where_it_is_one(store: Store) -> None:
    right = f"urn:uuid:{uuid.uuid4()}"
    (wrong, good) = hand_in(store, a_refusal("1", message_id="=HYPERLINK(1)"), a_refusal("2", message_id=right))
    keep(store)
    for refused, shown in ((wrong, None), (good, right)):
        (item,) = store.board.items(ALL, ItemFilter(reference=refused.reference), now_us=NOW).items
        view = store.board.message(ALL, refused.reference)
        assert view is not None
        assert [item.message_id, view.facts["message_id"], *(event.message_id for event in view.events)] == [shown] * 3


# -- parties and reports -----------------------------------------------------------------------------------------------------------------


def test_parties_and_their_week(store: Store) -> None:
    lease = lead(store)
    for name in "123":
        (one,) = route(store, *take(store, name, sender=BRIN))
        deliver(store, lease)
        if name == "1":
            confirm(store, one.id)
        if name == "2":
            confirm(store, one.id, confirmed=False, code="NOT_OUR_RESIDENT", owner="school")
    keep(store)
    there, sends = (line for line in store.board.parties(ALL, now_us=NOW + HOUR))
    assert (sends.system, there.system) == (SYSTEM, MAILBOX) or (sends.system, there.system) == (MAILBOX, SYSTEM)
    lines = {line.system: line for line in (there, sends)}
    assert (lines[SYSTEM].handed_in, lines[SYSTEM].sent_us, lines[SYSTEM].fallen, lines[SYSTEM].organisations) == (3, NOW, 1, 1)
    assert (lines[MAILBOX].delivered, lines[MAILBOX].heard_us, lines[MAILBOX].waiting, lines[MAILBOX].fallen_to) == (1, NOW, 1, 1)
    assert [line.lane for line in lines[MAILBOX].lanes] == [LANE]
    party = store.board.party(ALL, SYSTEM, now_us=NOW)
    assert party is not None
    assert [(one.organisation, one.brin, one.side, one.season) for one in party.organisations] == [(BRIN, "01AA", "from", 3)]
    assert [(group.key.code, group.still_open) for group in party.groups] == [("NOT_OUR_RESIDENT", 1)]
    assert party.hours[-1].handed_in == 3
    school = store.board.party(ALL, BRIN, now_us=NOW)
    assert school is not None and [line.system for line in school.lines] == [SYSTEM]
    assert store.board.party(ALL, "0" * 20, now_us=NOW) is None
    monday = date(2026, 1, 12)
    assert store.board.partners(ALL, monday=monday) == sorted([SYSTEM, MAILBOX])
    (report,) = store.board.reports(ALL, monday=monday, now_us=NOW, system=SYSTEM)
    assert report.flows["proef"] == Flow(handed_in=3, delivered=1, failed=1, in_minute=1, in_hour=1, in_day=1)
    assert [(line.code, line.fallen, line.schools, line.still_open) for line in report.codes] == [("NOT_OUR_RESIDENT", 1, 1, 1)]
    assert (report.waiting, report.fallen, report.oldest_us) == (1, 1, NOW)
    (received,) = store.board.reports(ALL, monday=monday, now_us=NOW, system=MAILBOX)
    assert (received.received["proef"].delivered, received.waiting) == (1, 1)
    assert store.board.reports(ALL, monday=date(2026, 1, 5), now_us=NOW) == []
    with pytest.raises(BoardError):
        store.board.reports(ALL, monday=date(2026, 1, 13), now_us=NOW)


def test_a_report_tells_what_a_system_sent_from_what_was_on_its_way_to_it(store: Store) -> None:
    lease = lead(store)
    back = {"receiver_system": SYSTEM, "lane": f"mailbox {SYSTEM}"}
    for name, system, way in (("1", SYSTEM, {}), ("2", MAILBOX, back), ("3", MAILBOX, back)):
        (one,) = route(store, *take(store, name, system=system), to=[a_delivery(id=f"d-{name}", **way)])
        deliver(store, lease)
        confirm(store, one.id, system=one.receiver_system, confirmed=False, code="NOT_OUR_RESIDENT", owner="school")
    keep(store)
    reports = store.board.reports(ALL, monday=date(2026, 1, 12), now_us=NOW)
    told = {one.system: (one.fallen, [line.still_open for line in one.codes], one.received["proef"].failed) for one in reports}
    assert told == {SYSTEM: (3, [1], 2), MAILBOX: (3, [2], 1)}
    received = {one.system: [(line.code, line.fallen, line.still_open) for line in one.received_codes] for one in reports}
    assert received == {SYSTEM: [("NOT_OUR_RESIDENT", 2, 2)], MAILBOX: [("NOT_OUR_RESIDENT", 1, 1)]}


def test_a_board_that_is_being_filled_says_so(store: Store) -> None:
    assert store.board.fresh(now_us=NOW).filling
    keep(store)
    assert not store.board.fresh(now_us=NOW).filling
    take(store, "1")
    audit = take_lease(store, "audit")
    store.journal.chain(audit, now_us=NOW - HOUR)
    assert store.board.fresh(now_us=NOW).behind == 1
    keeper_of(store).follow(take_lease(store, "board"), now_us=NOW)
    assert store.board.fresh(now_us=NOW).behind == 0
