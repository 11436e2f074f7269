"""Many wishes at once: each is judged by the register as those before it leave it."""

from __future__ import annotations

import random
from datetime import date, timedelta
from typing import Any

import pytest

from routing.register import read_register
from routing.register_bulk import InTurn
from routing.register_case import MOST_OF_PLACE
from routing.register_rules import OPERATOR, Actor, Role, RuleBroken, judge
from routing.register_wishes import AddEndpoint, ChangeEndpoint, EndEndpoint, EndMandate, GiveMandate, MoveAddress
from schemas.oin import Oin
from tests.support.register import DOCUMENT, LAS, OTHER_LAS, VO, but, chain

TODAY = date(2026, 3, 2)
SUPPLIER = Actor(Role.SUPPLIER, LAS)
URL = "https://las.example/in"


def kenmerk(number: int) -> Oin:
    return Oin(f"{VO[:15]}{number:05d}")


def addition(number: int, **more: Any) -> AddEndpoint:
    return AddEndpoint(organisation=VO, dienst="vva", versie="1", system=LAS, routeringskenmerk=kenmerk(number), url=URL, **more)


def refusal(turn: InTurn, wish: Any) -> RuleBroken:
    with pytest.raises(RuleBroken) as refused:
        turn.judge(wish)
    return refused.value


def test_a_row_follows_on_those_before_it_and_a_refused_one_leaves_no_trace() -> None:
    turn = InTurn(chain(), SUPPLIER, TODAY)
    (made,) = turn.judge(addition(1, id="one"))[0].changes
    before = list(turn.changes)
    assert refusal(turn, addition(1)).row == "one"
    assert turn.changes == before == [made]
    turn.judge(EndEndpoint(id="one", until=date(2026, 5, 1)))
    turn.judge(addition(1, id="two", start=date(2026, 5, 2)))
    assert turn.register.endpoint("two") is not None
    _, different = turn.judge(ChangeEndpoint(id="two", url="https://las.example/2"))
    assert [(one.key, one.before and one.before["url"], one.after and one.after["url"]) for one in different] == [
        ("two", URL, "https://las.example/2")
    ]


def test_what_is_taken_back_is_no_more_and_the_place_is_free_again() -> None:
    turn = InTurn(chain(), SUPPLIER, TODAY)
    turn.judge(addition(1, id="one", start=date(2026, 5, 1)))
    turn.judge(EndEndpoint(id="one", until=TODAY))
    assert turn.register.endpoint("one") is None
    assert turn.register.endpoints_of(kenmerk(1), "vva", "1") == ()
    turn.judge(addition(1, id="two", start=date(2026, 5, 1)))


def test_mandates_are_judged_in_turn_with_the_endpoints_under_them() -> None:
    register = chain(mandates=but(DOCUMENT["mandates"], 0, token="t1"))
    turn = InTurn(register, Actor(Role.ORGANISATION, VO), TODAY)
    _, different = turn.judge(EndMandate(organisation=VO, token="t1", until=date(2026, 7, 31)))
    assert [(one.list, one.before is not None) for one in different] == [("mandates", True), ("endpoints", True)]
    turn.judge(GiveMandate(organisation=VO, dienst="vva", system=LAS, start=date(2026, 8, 1)))
    assert refusal(turn, GiveMandate(organisation=VO, dienst="vva", system=LAS, start=date(2026, 9, 1))).code == "OVERLAP"
    turn.judge(GiveMandate(organisation=VO, dienst="vva", system=OTHER_LAS))
    assert {row.system for row in turn.register.mandates_of(VO, "vva")} == {LAS, OTHER_LAS}


def test_a_systems_address_is_moved_for_what_was_just_added_too() -> None:
    turn = InTurn(chain(), SUPPLIER, TODAY)
    turn.judge(addition(1, id="one"))
    moved, _ = turn.judge(MoveAddress(system=LAS, old=URL, new="https://las.example/2", day=TODAY + timedelta(days=1)))
    assert [change.row and change.row["url"] for change in moved.changes] == [URL, "https://las.example/2"]


@pytest.mark.parametrize("seed", range(5))
def test_in_turn_comes_to_the_same_as_one_version_for_each(seed: int) -> None:
    random_ = random.Random(seed)
    register = chain()
    turn = InTurn(register, SUPPLIER, TODAY)
    for step in range(60):
        day = TODAY + timedelta(days=random_.randrange(40))
        number, ids = random_.randrange(4), [row.id for row in register.parts.of_system(LAS).endpoints]
        wish: Any = random_.choice(
            [
                addition(number, id=f"e{step}", start=day, until=day + timedelta(days=random_.randrange(9))),
                ChangeEndpoint(id=random_.choice(ids), url=f"https://las.example/{step}", day=random_.choice([None, day])),
                EndEndpoint(id=random_.choice(ids), until=day),
            ]
        )
        try:
            alone: Any = judge(register, SUPPLIER, wish, TODAY).changes
        except RuleBroken as broken:
            assert refusal(turn, wish).en == broken.en
            continue
        assert turn.judge(wish)[0].changes == alone
        rows = {row["id"]: row for row in register.to_document()["endpoints"]}  # type: ignore[attr-defined]
        for change in alone:
            rows.pop(change.key, None)
            if change.row is not None:
                rows[change.key] = change.row
        register = read_register({**register.to_document(), "endpoints": list(rows.values())}, version=register.version)
        assert set(turn.register.endpoints_of(VO, "vva", "1")) == set(register.endpoints_of(VO, "vva", "1"))
        assert set(turn.register.endpoints_of(kenmerk(number), "vva", "1")) == set(register.endpoints_of(kenmerk(number), "vva", "1"))
        assert turn.register.parts.endpoints_of(LAS) == register.parts.endpoints_of(LAS)


# -- how many


def full(count: int) -> Any:
    rows = [
        {"organisation": VO, "dienst": "vva", "versie": "1", "system": LAS, "url": URL, "routeringskenmerk": kenmerk(number)}
        for number in range(1, count + 1)
    ]
    return chain(endpoints=rows)


def test_a_thousand_endpoints_of_a_system_for_one_school_are_enough() -> None:
    turn = InTurn(full(MOST_OF_PLACE - 1), SUPPLIER, TODAY)
    turn.judge(addition(5_000))
    broken = refusal(turn, addition(5_001))
    assert broken.code == "QUOTA" and "1000 endpoints for Emmaus College" in broken.en and "change one" in broken.en
    assert refusal(turn, ChangeEndpoint(id=turn.changes[0].key, url="https://x.example", day=date(2026, 6, 1))).code == "QUOTA"
    turn.judge(ChangeEndpoint(id=turn.changes[0].key, url="https://x.example"))
    assert judge(turn.register, OPERATOR, addition(5_001), TODAY).changes, "an operator may"


def test_a_system_may_have_so_many_in_all_and_a_move_counts_what_it_adds() -> None:
    register = full(9)
    assert judge(register, SUPPLIER, addition(50), TODAY, most=10).changes
    with pytest.raises(RuleBroken, match="has 9 endpoints already"):
        judge(register, SUPPLIER, addition(50), TODAY, most=9)
    move = MoveAddress(system=LAS, old=URL, new="https://las.example/2", day=date(2026, 6, 1))
    with pytest.raises(RuleBroken, match="no more than 17"):
        judge(register, SUPPLIER, move, TODAY, most=17)
    assert len(judge(register, SUPPLIER, move, TODAY, most=18).changes) == 18
