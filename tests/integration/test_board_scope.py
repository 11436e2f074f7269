"""Whoever looks at the board sees their own traffic, and cannot tell from anything that there is any other.

For each question and each kind of party there are two stores: one with the party's own traffic, and one in which everybody else's stands
beside it. The answers must be the same to the letter; and no word of the others may be in them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from datetime import date
from typing import Any

import pytest

from adapters.store import Store, board_where, open_store
from routing.board import Board, GroupKey, ItemFilter, Sort, View
from routing.people import Scope
from schemas.oin import Oin, school_oin
from tests.support.board import fail_whole, keep
from tests.support.store import (
    BOTH,
    DAY,
    NOW,
    SECOND,
    YES,
    a_delivery,
    a_message,
    a_refusal,
    confirm,
    deliver,
    fresh_url,
    hand_in,
    lead,
    route,
    run_sql,
)

HOUR = 3_600 * SECOND
SCHOOL, OTHER_SCHOOL = school_oin("01AA"), school_oin("02BB")
LAS, OTHER_LAS = Oin("00000003900000001000"), Oin("00000003900000002000")
TOWN, OTHER_TOWN = Oin("00000001800000003000"), Oin("00000001800000004000")
BOX, OTHER_BOX = Oin("00000003900000003000"), Oin("00000003900000004000")
OTHERS = (OTHER_SCHOOL, OTHER_LAS, OTHER_TOWN, OTHER_BOX, "02BB", "other", "andere-code")


def an_id(name: str) -> str:
    """The same in every store."""
    return f"{name}-id"


def traffic(store: Store, prefix: str, school: Oin, las: Oin, town: Oin, box: Oin, code: str) -> None:
    """One of everything: delivered, waiting, failed, refused, unrouted, failed as a whole; last season too."""
    store.registry.give_lease(leader := lead(store))
    run = {"sender": school, "system": las, "receiver": town}
    for number, at_us in enumerate((NOW - 300 * DAY, NOW - 2 * HOUR, NOW - HOUR, NOW - 60 * SECOND)):
        name = f"{prefix}{number}"
        hand_in(store, a_message(name, reference=an_id(name), received_us=at_us, dienst="vva", bericht="mboGangerBericht", **run))
        place = {"receiver": town, "receiver_system": box, "lane": f"mailbox {box}", "endpoint": f"e {box}"}
        route(store, an_id(name), to=[a_delivery(id=f"{name}-delivery", **place)], now_us=at_us)
    leader = lead(store)
    deliver(store, leader)
    store.registry.give_lease(leader)
    for number, right in ((0, True), (1, False), (2, False)):
        why = {} if right else {"code": code, "owner": "school", "reason": f"{prefix} reason"}
        confirm(store, f"{prefix}{number}-delivery", confirmed=right, system=box, **why)
    hand_in(
        store,
        a_message(f"{prefix}u", reference=an_id(f"{prefix}u"), dienst="vva", **run),
        a_message(f"{prefix}f", reference=an_id(f"{prefix}f"), dienst="vva", **run),
        a_refusal(f"{prefix}r", reference=an_id(f"{prefix}r"), code=code, sender=school, system=las, message_id=f"urn:uuid:{prefix}r"),
    )
    fail_whole(store, an_id(f"{prefix}f"), code=code)


def mine(store: Store) -> None:
    traffic(store, "mine", SCHOOL, LAS, TOWN, BOX, "NOT_OUR_RESIDENT")


SCOPES = {
    "a school": Scope(organisations=frozenset({SCHOOL})),
    "a supplier": Scope(systems=frozenset({LAS})),
    "a town": Scope(organisations=frozenset({TOWN})),
    "a town's supplier": Scope(systems=frozenset({BOX})),
    "a board with its own system": Scope(organisations=frozenset({SCHOOL}), systems=frozenset({LAS})),
}
KEYS = [
    GroupKey(code=code, owner="school", dienst="vva", system=las, receiver_system=box)
    for code in ("NOT_OUR_RESIDENT", "andere-code")
    for las, box in ((LAS, BOX), (OTHER_LAS, OTHER_BOX), (OTHER_LAS, ""))
]
IDS = [f"{name}{number}" for name in ("mine", "other") for number in ("0", "1", "u", "f", "r")]
FILTERS = [
    ItemFilter(),
    ItemFilter(view=View.FALLEN, dienst="vva"),
    ItemFilter(school=OTHER_SCHOOL),
    ItemFilter(party=OTHER_LAS),
    ItemFilter(receiver_systems=(OTHER_BOX,)),
    ItemFilter(code="NOT_OUR_RESIDENT"),
    ItemFilter(business_id="b-other1"),
    ItemFilter(message_id="urn:uuid:m-other1"),
    ItemFilter(reference="other1-id"),
    ItemFilter(lane=f"mailbox {OTHER_BOX}"),
    *(ItemFilter(group=key) for key in KEYS),
]
MONDAY = date(2026, 1, 12)
QUESTIONS: dict[str, Callable[[Board, Scope], Any]] = {
    "overview": lambda board, scope: board.overview(scope, now_us=NOW).__class__.__name__ and _overview(board, scope),
    "chain_map": lambda board, scope: board.chain_map(scope, since_us=NOW - 7 * DAY, now_us=NOW),
    "items": lambda board, scope: [
        board.items(scope, wanted, now_us=NOW, sort=sort, limit=100).items for wanted in FILTERS for sort in Sort
    ],
    "count": lambda board, scope: [board.count(scope, wanted, now_us=NOW) for wanted in FILTERS],
    "tally": lambda board, scope: [
        board.tally(scope, wanted, by, now_us=NOW) for wanted in FILTERS for by in ("state", "code", "owner", "system", "receiver_system")
    ],
    "groups": lambda board, scope: board.groups(scope, now_us=NOW, solved=True),
    "group": lambda board, scope: [board.group(scope, key, now_us=NOW) for key in KEYS],
    "find": lambda board, scope: [
        board.find(scope, id.format(name)) for name in IDS for id in ("{}-id", "{}-delivery", "urn:uuid:m-{}", "b-{}", "urn:uuid:{}")
    ],
    "message": lambda board, scope: [_plain(board.message(scope, an_id(name))) for name in IDS],
    "parties": lambda board, scope: board.parties(scope, now_us=NOW),
    "party": lambda board, scope: [
        board.party(scope, oin, now_us=NOW) for oin in (SCHOOL, LAS, TOWN, BOX, OTHER_SCHOOL, OTHER_LAS, OTHER_TOWN, OTHER_BOX)
    ],
    "last_received": lambda board, scope: [board.last_received(scope, oin, now_us=NOW) for oin in (BOX, OTHER_BOX)],
    "lanes": lambda board, scope: board.lanes(scope, now_us=NOW),
    "partners": lambda board, scope: board.partners(scope, monday=MONDAY),
    "reports": lambda board, scope: [
        board.reports(scope, monday=MONDAY, now_us=NOW),
        *(board.reports(scope, monday=MONDAY, now_us=NOW, system=system) for system in (LAS, BOX, OTHER_LAS, OTHER_BOX)),
    ],
}


def _overview(board: Board, scope: Scope) -> Any:
    """Without how far the board is: that is everybody's."""
    found = board.overview(scope, now_us=NOW)
    return (found.diensten, found.lanes, found.unread, found.calendar, found.owners)


def _plain(view: Any) -> Any:
    """Without the store's own numbers and the order in which it drew them."""
    return view and re.sub(r"('seq'|'message_seq'|'register_version'): \d+", "", repr(view))


@pytest.fixture(scope="module", params=BOTH)
def stores(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Store, Store]]:
    """One with mine only, and one in which the others' stands before and after it. For reading only."""
    alone, beside = (open_store(fresh_url(request.param, tmp_path_factory.mktemp("store"))) for _ in range(2))
    mine(alone)
    traffic(beside, "other", OTHER_SCHOOL, OTHER_LAS, OTHER_TOWN, OTHER_BOX, "NOT_OUR_RESIDENT")
    mine(beside)
    traffic(beside, "other-b", OTHER_SCHOOL, OTHER_LAS, OTHER_TOWN, OTHER_BOX, "andere-code")
    for store in (alone, beside):
        keep(store, now_us=NOW)
    yield alone, beside
    alone.close()
    beside.close()


@pytest.mark.parametrize("name", list(QUESTIONS))
def test_nobody_can_tell_from_any_answer_that_there_is_traffic_of_others(stores: tuple[Store, Store], name: str) -> None:
    ask, (alone, beside) = QUESTIONS[name], stores
    for who, scope in SCOPES.items():
        answer = ask(beside.board, scope)
        assert answer == ask(alone.board, scope), who
        words = repr(answer)
        assert not [word for word in OTHERS if str(word) in words], who
        if name not in ("lanes", "last_received"):
            assert re.search(r"mine|NOT_OUR|[1-9]", words), f"{who} sees something of its own"


@pytest.mark.parametrize("name", list(QUESTIONS))
def test_an_empty_scope_sees_nothing(stores: tuple[Store, Store], name: str) -> None:
    words = repr(QUESTIONS[name](stores[0].board, Scope()))
    assert not [word for word in (SCHOOL, LAS, TOWN, BOX, "mine", "01AA") if str(word) in words]


@pytest.mark.parametrize("name", list(QUESTIONS))
def test_a_party_with_much_on_the_board_has_the_answers_of_one_with_little(
    stores: tuple[Store, Store], name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    ask, (_, beside) = QUESTIONS[name], stores
    little = {who: ask(beside.board, scope) for who, scope in SCOPES.items()}
    monkeypatch.setattr(board_where, "FEW", 0)
    assert {who: ask(beside.board, scope) for who, scope in SCOPES.items()} == little


def test_whoever_sees_everything_sees_both(stores: tuple[Store, Store]) -> None:
    everything = Scope(everything=True)
    words = repr([ask(stores[1].board, everything) for ask in QUESTIONS.values()])
    assert all(str(word) in words for word in (*OTHERS, SCHOOL, LAS, TOWN, BOX))


def test_a_receiver_sees_its_own_delivery_of_a_message_and_nothing_of_the_other_receivers(store: Store) -> None:
    hand_in(store, a_message("fan", reference="fan-id", sender=SCHOOL, system=LAS, warnings=("other",)))
    places = [
        {"id": f"fan-{name}", "receiver": town, "receiver_system": box, "lane": f"mailbox {box}", "target": name}
        for name, town, box in (("ours", TOWN, BOX), ("theirs", OTHER_TOWN, OTHER_BOX))
    ]
    route(store, "fan-id", to=[a_delivery(**place) for place in places])
    keep(store)
    for scope in (SCOPES["a town"], SCOPES["a town's supplier"]):
        view = store.board.message(scope, "fan-id")
        assert view is not None and not view.whole
        assert [one["id"] for one in view.deliveries] == ["fan-ours"]
        assert not [word for word in (OTHER_TOWN, OTHER_BOX, "theirs", "other") if word in repr(view)]
        assert [item.id for item in store.board.items(scope, ItemFilter(reference="fan-id"), now_us=NOW).items] == ["fan-ours"]
        assert store.board.find(scope, "fan-theirs") in (None, "fan-id")
    view = store.board.message(SCOPES["a school"], "fan-id")
    assert view is not None and view.whole and len(view.deliveries) == 2


def test_notes_and_assignees_are_for_those_who_see_everything(store: Store) -> None:
    mine(store)
    keep(store)
    (group, *_) = store.board.groups(SCOPES["a school"], now_us=NOW)
    store.board.note(group.key, "a word among us", who="an", now_us=NOW)
    store.board.assign(group.key, "bo", who="an", now_us=NOW)
    store.board.with_partner(group.key, ticket="T-1", agreed_on=None, who="an", now_us=NOW)
    detail = store.board.group(SCOPES["a school"], group.key, now_us=NOW)
    assert detail is not None
    assert (detail.notes, detail.group.assignee, detail.group.example, detail.group.ticket) == ((), None, None, "T-1")


def test_a_successor_sees_what_it_did_itself_and_not_what_its_predecessor_did(store: Store) -> None:
    leader = lead(store)
    hand_in(store, a_message("moved", reference="moved-id", sender=SCHOOL, system=LAS, receiver=TOWN))
    place = {"receiver": TOWN, "receiver_system": OTHER_BOX, "lane": f"mailbox {OTHER_BOX}", "endpoint": "other-endpoint"}
    route(store, "moved-id", to=[a_delivery(id="moved-delivery", **place)])
    deliver(store, leader, "postponed", code="other-code", reason="other reason", not_before_us=NOW)
    run_sql(
        store,
        "UPDATE delivery SET endpoint = 'e', receiver_system = :box, lane = :lane, code = NULL, reason = NULL, "
        "owner = NULL WHERE id = 'moved-delivery'",
        box=BOX,
        lane=f"mailbox {BOX}",
    )
    keep(store)
    mine = store.board.message(SCOPES["a town's supplier"], "moved-id")
    assert mine is not None
    assert mine.deliveries[0]["tries"] == []
    assert not [word for word in (OTHER_BOX, "other-endpoint", "other-code", "other reason") if word in repr(mine)]
    assert [event.kind for event in mine.events] == ["received"]
    town = store.board.message(SCOPES["a town"], "moved-id")
    assert town is not None and [one["endpoint"] for one in town.deliveries[0]["tries"]] == ["other-endpoint"]


def test_whoever_is_merely_named_in_a_message_that_failed_as_a_whole_sees_nothing_of_it(store: Store) -> None:
    hand_in(store, a_message("named", reference="named-id", sender=SCHOOL, system=LAS, receiver=TOWN))
    for failed in (False, True):
        if failed:
            fail_whole(store, "named-id", code="NOT_OUR_RESIDENT")
        keep(store)
        assert store.board.items(SCOPES["a town"], ItemFilter(), now_us=NOW).items == ()
        assert store.board.message(SCOPES["a town"], "named-id") is None
        assert not store.board.groups(SCOPES["a town"], now_us=NOW)
        for who in ("a school", "a supplier"):
            assert [item.kind for item in store.board.items(SCOPES[who], ItemFilter(), now_us=NOW).items] == ["message"]
            assert store.board.message(SCOPES[who], "named-id") is not None


def test_a_refusal_is_a_schools_own_only_where_it_is_certain_that_it_comes_from_there(store: Store) -> None:
    refusals = {
        "forged": {"sender": SCHOOL, "system": OTHER_LAS},
        "mandated": {"sender": SCHOOL, "system": OTHER_LAS, "decisions": (YES,)},
        "itself": {"sender": SCHOOL, "system": SCHOOL},
    }
    hand_in(store, *(a_refusal(name, reference=name, **fields) for name, fields in refusals.items()))
    keep(store)
    found = store.board.items(SCOPES["a school"], ItemFilter(), now_us=NOW).items
    assert {item.id for item in found} == {"mandated", "itself"}
    assert [store.board.message(SCOPES["a school"], name) is not None for name in refusals] == [False, True, True]
    theirs = Scope(systems=frozenset({OTHER_LAS}))
    assert {item.id for item in store.board.items(theirs, ItemFilter(), now_us=NOW).items} == {"forged", "mandated"}
    assert store.board.message(theirs, "forged") is not None
