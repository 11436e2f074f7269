"""The register's rules: who may change what, and that no sequence of changes breaks what routing relies on."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from routing.register import Register, read_register
from routing.register_book import RowChange
from routing.register_rules import OPERATOR, Actor, Judged, Role, RuleBroken, judge
from routing.register_spans import holds, limits, shared, span, union
from routing.register_wishes import (
    ABSENT,
    ACTION,
    MAY,
    AddEndpoint,
    ChangeEndpoint,
    Delegate,
    EndDelegation,
    EndEndpoint,
    EndMandate,
    EndMandates,
    GiveMandate,
    MoveAddress,
    Redivide,
    RevokeMandate,
    Wish,
)
from schemas.oin import Oin, school_oin
from tests.support.register import AMERSFOORT, CENTRAAL, CIVIC, DOCUMENT, LAS, MBO, OTHER_LAS, SIS, UTRECHT, VO, VO_NORTH, but, document

TODAY = date(2026, 3, 2)
AUGUST = date(2026, 8, 1)
JULY = date(2026, 7, 31)
BOARD = Oin("00000003000000010000")
REGION = Oin("00000001001234580000")
SECOND = school_oin("25MB")
SCHOOL_OF_LAS = Actor(Role.ORGANISATION, VO)


def rows(**lists: list[dict[str, Any]]) -> dict[str, Any]:
    """The chain with tokens, a board over two schools, a region, and the lists given here in the place of its own."""
    organisations = but(DOCUMENT["organisations"], 0, board=BOARD)
    organisations += [
        {"oin": SECOND, "name": "Erasmus College", "kind": "school", "roles": ["vo"], "board": BOARD},
        {"oin": REGION, "name": "Regio Eemland", "kind": "municipality", "roles": ["gemeente"], "gemeentecodes": [{"code": "0310"}]},
    ]
    mandates = [row | {"token": f"token-{n}"} for n, row in enumerate(DOCUMENT["mandates"])]
    plain = {"organisations": organisations, "boards": [{"oin": BOARD, "name": "Stichting Rijn"}], "mandates": mandates}
    return document(**(plain | lists))


def register(**lists: list[dict[str, Any]]) -> Register:
    return read_register(rows(**lists), version=7)


def applied(found: Register, changes: tuple[RowChange, ...]) -> Register:
    """The register after these changes; reading it checks what a document must be."""
    lists: dict[str, Any] = found.to_document()
    names = {"endpoints": "id", "delegations": "id", "mandates": "token", "organisations": "oin"}
    for change in changes:
        name = names[change.list]
        lists[change.list] = [row for row in lists[change.list] if row[name] != change.key]
        if change.row is not None:
            assert change.row[name] == change.key
            lists[change.list].append(dict(change.row))
    return read_register(lists, version=found.version + 1)


def after(found: Register, actor: Actor, *wishes: Wish, today: date = TODAY) -> Register:
    for wish in wishes:
        found = applied(found, judge(found, actor, wish, today).changes)
    return found


def refused(found: Register, actor: Actor, wish: Wish, today: date = TODAY) -> RuleBroken:
    with pytest.raises(RuleBroken) as caught:
        judge(found, actor, wish, today)
    return caught.value


def give(organisation: Oin = VO, system: Oin = OTHER_LAS, **days: Any) -> GiveMandate:
    return GiveMandate(organisation=organisation, dienst="vva", system=system, tokens=("new",), **days)


def add(system: Oin = OTHER_LAS, organisation: Oin = VO, **more: Any) -> AddEndpoint:
    return AddEndpoint(**{"organisation": organisation, "dienst": "vva", "versie": "1", "system": system} | more)


def only(judged: Judged) -> dict[str, Any]:
    (change,) = judged.changes
    assert change.row is not None
    return dict(change.row)


OLD_ENDPOINT = f"{VO}/vva/1/{LAS}"


# a supplier switch


def test_ending_a_mandate_shortens_the_endpoints_under_it_so_the_old_supplier_cannot_block_the_new_one():
    found = after(register(), SCHOOL_OF_LAS, EndMandate(organisation=VO, token="token-0", until=JULY), give(start=AUGUST))
    assert found.endpoint(OLD_ENDPOINT).until == JULY
    found = after(found, Actor(Role.SUPPLIER, OTHER_LAS), add(token="new", url="https://boek.example/in"))
    (new,) = [row for row in found.endpoints_of(VO, "vva", "1") if row.system == OTHER_LAS]
    assert (new.start, new.until) == (AUGUST, None)


def test_while_the_old_endpoint_goes_on_the_new_one_is_refused_and_the_row_in_the_way_is_named():
    found = after(register(), SCHOOL_OF_LAS, give(start=AUGUST))
    broken = refused(found, Actor(Role.SUPPLIER, OTHER_LAS), add(start=AUGUST))
    assert (broken.code, broken.row) == ("OVERLAP", OLD_ENDPOINT)
    assert OLD_ENDPOINT in broken.en and LAS in broken.nl


def test_an_endpoint_that_a_document_let_outlive_its_mandate_is_in_nobodys_way():
    mandates = [
        {"organisation": VO, "dienst": "vva", "system": LAS, "token": "old", "until": "2026-03-01"},
        {"organisation": VO, "dienst": "vva", "system": OTHER_LAS, "token": "new"},
    ]
    found = after(register(mandates=mandates), Actor(Role.SUPPLIER, OTHER_LAS), add())
    assert found.endpoint(OLD_ENDPOINT).until == date(2026, 3, 1)


TWO_WITH_A_GAP = [
    {"organisation": VO, "dienst": "vva", "system": LAS, "token": "spring", "until": "2026-03-10"},
    {"organisation": VO, "dienst": "vva", "system": LAS, "token": "autumn", "from": "2026-08-01"},
    {"organisation": VO, "dienst": "vva", "system": OTHER_LAS, "token": "new", "from": "2026-04-01", "until": "2026-07-31"},
]


def test_an_endpoint_that_spans_a_gap_between_two_mandates_makes_room_there_and_goes_on_after_it():
    judged = judge(register(mandates=TWO_WITH_A_GAP), Actor(Role.SUPPLIER, OTHER_LAS), add(), TODAY)
    found = applied(register(mandates=TWO_WITH_A_GAP), judged.changes)
    rows = [(row.id, row.system, *limits(span(row))) for row in sorted(found.endpoints_of(VO, "vva", "1"), key=lambda row: span(row))]
    assert [row[1:] for row in rows] == [
        (LAS, None, date(2026, 3, 10)),
        (OTHER_LAS, date(2026, 4, 1), JULY),
        (LAS, AUGUST, None),
    ]
    assert rows[0][0] == OLD_ENDPOINT
    said = " ".join(warning.en for warning in judged.warnings)
    assert OLD_ENDPOINT in said and rows[2][0] in said and "2026-08-01" in said


def test_the_row_that_goes_on_after_a_gap_takes_no_id_that_the_wish_itself_gives():
    taken = f"{VO}/vva/1/{LAS}/{AUGUST}"
    found = after(register(mandates=TWO_WITH_A_GAP), OPERATOR, add(id=taken))
    assert len(found.endpoints_of(VO, "vva", "1")) == 3
    assert found.endpoint(taken).system == OTHER_LAS


def test_revoking_the_middle_one_of_three_mandates_leaves_an_endpoint_its_later_days():
    mandates = [
        {"organisation": VO, "dienst": "vva", "system": LAS, "token": "one", "until": "2026-03-10"},
        {"organisation": VO, "dienst": "vva", "system": LAS, "token": "two", "from": "2026-03-11", "until": "2026-07-31"},
        {"organisation": VO, "dienst": "vva", "system": LAS, "token": "three", "from": "2026-08-01"},
    ]
    found = after(register(mandates=mandates), SCHOOL_OF_LAS, RevokeMandate(organisation=VO, token="two"))
    assert sorted(span(row) for row in found.endpoints_of(VO, "vva", "1")) == [(date.min, date(2026, 3, 10)), (AUGUST, date.max)]


def test_ending_several_mandates_at_once_leaves_no_endpoint_on_a_day_without_one():
    mandates = [
        {"organisation": VO, "dienst": "vva", "system": LAS, "token": "one", "until": "2026-07-31"},
        {"organisation": VO, "dienst": "vva", "system": LAS, "token": "two", "from": "2026-08-01"},
    ]
    until = date(2026, 3, 10)
    found = after(register(mandates=mandates), SCHOOL_OF_LAS, EndMandates(organisation=VO, dienst="vva", system=LAS, until=until))
    assert [span(row) for row in found.endpoints_of(VO, "vva", "1")] == [(date.min, until)]


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_making_room_never_takes_a_day_that_has_a_mandate(data: st.DataObject):
    """A document may hold a row that spans days without one; whoever comes there gets those days, and no others."""
    days = [TODAY + timedelta(days=n) for n in range(12)]
    with_one = data.draw(st.lists(st.booleans(), min_size=len(days), max_size=len(days)))
    mandates = [
        {"organisation": VO, "dienst": "vva", "system": LAS, "token": f"token-{day}", "from": str(day), "until": str(day)}
        for day, has in zip(days, with_one, strict=True)
        if has
    ]
    mandates.append({"organisation": VO, "dienst": "vva", "system": OTHER_LAS, "token": "new"})
    found = register(mandates=mandates)
    first, last = sorted(data.draw(st.tuples(st.sampled_from(days), st.sampled_from(days))))
    wanted = (first, last)
    free = not any(has and shared((day, day), wanted) for day, has in zip(days, with_one, strict=True))
    try:
        changed = after(found, Actor(Role.SUPPLIER, OTHER_LAS), add(start=first, until=last))
    except RuleBroken as broken:
        assert broken.code == "OVERLAP" and not free
        return
    assert free
    for day, has in zip(days, with_one, strict=True):
        there = {row.system for row in changed.endpoints_of(VO, "vva", "1") if shared((day, day), span(row))}
        assert there == ({LAS} if has else {OTHER_LAS} if shared((day, day), wanted) else there - {OTHER_LAS})


def test_giving_a_second_system_a_mandate_is_allowed_and_names_the_first():
    judged = judge(register(), SCHOOL_OF_LAS, give(), TODAY)
    assert ["Leerlingwijzer" in warning.nl and "token-0" in warning.en for warning in judged.warnings] == [True]


def test_a_mandate_that_is_there_already_is_not_given_twice():
    broken = refused(register(), SCHOOL_OF_LAS, give(system=LAS))
    assert (broken.code, broken.row) == ("OVERLAP", "token-0")


def test_a_mandate_that_has_not_begun_is_taken_back_whole_with_its_endpoint():
    found = after(register(), OPERATOR, EndMandate(organisation=VO, token="token-0", until=JULY), give(start=AUGUST), add(start=AUGUST))
    back = judge(found, SCHOOL_OF_LAS, EndMandate(organisation=VO, token="new", until=JULY), TODAY)
    assert [(change.list, change.row) for change in back.changes] == [("mandates", None), ("endpoints", None)]


def test_a_revoked_mandate_counts_no_more_and_its_endpoints_ended_yesterday():
    found = after(register(), SCHOOL_OF_LAS, RevokeMandate(organisation=VO, token="token-0"))
    assert found.mandates_of(VO, "vva")[0].revoked
    assert found.endpoint(OLD_ENDPOINT).until == TODAY - timedelta(days=1)
    assert after(found, OPERATOR, give(), add()).endpoints_of(VO, "vva", "1")[-1].system == OTHER_LAS
    assert refused(found, SCHOOL_OF_LAS, RevokeMandate(organisation=VO, token="token-0")).code == "WRONG"


def test_a_longer_mandate_makes_no_endpoint_longer():
    found = after(register(), OPERATOR, EndMandate(organisation=VO, token="token-0", until=JULY))
    found = after(found, OPERATOR, EndMandate(organisation=VO, token="token-0", until=date(2027, 7, 31)))
    assert found.endpoint(OLD_ENDPOINT).until == JULY


def test_two_mandates_that_follow_each_other_carry_one_endpoint():
    found = after(register(), OPERATOR, EndMandate(organisation=VO, token="token-0", until=JULY), give(system=LAS, start=AUGUST))
    judged = judge(found, Actor(Role.SUPPLIER, LAS), ChangeEndpoint(id=OLD_ENDPOINT, until=None), TODAY)
    assert "until" not in only(judged)
    found = applied(found, judged.changes)
    cut = judge(found, OPERATOR, EndMandate(organisation=VO, token="new", until=date(2026, 12, 31)), TODAY)
    assert [change.row["until"] for change in cut.changes if change.row] == ["2026-12-31"] * 2


# a board


def test_a_board_mandates_for_all_its_schools_at_once_and_skips_the_one_that_has_it():
    judged = judge(register(), Actor(Role.BOARD, BOARD), GiveMandate(organisation=BOARD, dienst="vva", system=LAS, start=AUGUST), TODAY)
    assert [change.row["organisation"] for change in judged.changes if change.row] == [SECOND]
    assert any("Emmaus College" in warning.en for warning in judged.warnings)
    both = judge(register(), Actor(Role.BOARD, BOARD), GiveMandate(organisation=BOARD, dienst="vva", system=OTHER_LAS), TODAY)
    assert {change.row["organisation"] for change in both.changes if change.row} == {VO, SECOND}
    assert len({change.key for change in both.changes}) == 2


def test_a_board_ends_the_mandates_of_all_its_schools_at_once_and_no_others():
    board = Actor(Role.BOARD, BOARD)
    found = after(register(), board, GiveMandate(organisation=BOARD, dienst="vva", system=LAS, start=TODAY))
    found = after(found, OPERATOR, give(organisation=MBO, system=LAS))
    found = after(found, board, EndMandates(organisation=BOARD, dienst="vva", system=LAS, until=JULY))
    ends = {row.organisation: row.until for row in found.parts.every_mandate() if row.system == LAS}
    assert ends == {VO: JULY, SECOND: JULY, MBO: None}
    assert found.endpoint(OLD_ENDPOINT).until == JULY
    assert refused(found, board, EndMandates(organisation=BOARD, dienst="vva", system=SIS, until=JULY)).code == "NO_MANDATE"
    assert refused(found, SCHOOL_OF_LAS, EndMandates(organisation=BOARD, dienst="vva", system=LAS, until=JULY)).code == "NOT_YOURS"


def test_a_board_has_no_say_in_the_schools_of_another():
    assert refused(register(), Actor(Role.BOARD, BOARD), give(organisation=MBO)).code == "NOT_YOURS"
    other = Actor(Role.BOARD, Oin("00000003000000020000"))
    assert refused(register(), other, give(organisation=BOARD)).code == "NOT_YOURS"
    assert refused(register(), other, EndMandate(organisation=VO, token="token-0", until=JULY)).code == "NOT_YOURS"


def test_who_takes_part_no_more_changes_nothing_and_who_is_to_come_may_prepare():
    over = register(systems=but(DOCUMENT["systems"], 0, until="2026-03-01"))
    assert refused(over, Actor(Role.SUPPLIER, LAS), ChangeEndpoint(id=OLD_ENDPOINT, url="https://las.example")).code == "WRONG"
    coming = register(organisations=but(rows()["organisations"], 1, from_="2026-08-01"))
    wish = give(organisation=MBO, start=AUGUST)
    assert only(judge(coming, Actor(Role.ORGANISATION, MBO), wish, TODAY))["from"] == "2026-08-01"


# endpoints


def test_an_endpoint_gets_the_days_of_its_mandate_where_none_are_named():
    found = after(
        register(), OPERATOR, EndMandate(organisation=VO, token="token-0", until=JULY), give(start=AUGUST, until=date(2027, 7, 31))
    )
    assert (
        only(judge(found, Actor(Role.SUPPLIER, OTHER_LAS), add(token="new"), TODAY)).items()
        >= {"from": "2026-08-01", "until": "2027-07-31"}.items()
    )


@pytest.mark.parametrize(
    ("wish", "code"),
    [
        (add(), "NO_MANDATE"),
        (add(token="token-0"), "NOT_YOURS"),
        (add(token="nobody"), "NOT_YOURS"),
        (add(organisation=Oin("00000003000000000000")), "UNKNOWN"),
        (add(versie="9"), "UNKNOWN"),
        (add(system=LAS), "NOT_YOURS"),
        (add(routeringskenmerk=VO), "WRONG"),
        (add(routeringskenmerk=Oin(MBO[:15] + "00001")), "WRONG"),
        (EndEndpoint(id=OLD_ENDPOINT, until=JULY), "NOT_YOURS"),
        (ChangeEndpoint(id=OLD_ENDPOINT, url="https://boek.example"), "NOT_YOURS"),
        (MoveAddress(system=LAS, old=None, new="https://boek.example", day=AUGUST), "NOT_YOURS"),
        (give(), "FORBIDDEN"),
        (Redivide(ended=(UTRECHT,), into=AMERSFOORT, day=AUGUST), "FORBIDDEN"),
    ],
)
def test_what_a_supplier_without_the_mandate_may_not(wish: Wish, code: str):
    assert refused(register(), Actor(Role.SUPPLIER, OTHER_LAS), wish).code == code


def test_an_endpoint_stays_within_its_mandate():
    found = after(register(), OPERATOR, EndMandate(organisation=VO, token="token-0", until=JULY))
    broken = refused(found, Actor(Role.SUPPLIER, LAS), ChangeEndpoint(id=OLD_ENDPOINT, until=AUGUST))
    assert broken.code == "NO_MANDATE" and "31-07-2026" in broken.nl and "2026-07-31" in broken.en


def test_an_organisation_that_connects_itself_needs_no_mandate_and_stays_within_its_own_row():
    systems = but(DOCUMENT["systems"], 4, until="2026-12-31")
    found = register(systems=systems, endpoints=[])
    wish = add(system=CENTRAAL, organisation=CENTRAAL)
    assert only(judge(found, Actor(Role.SUPPLIER, CENTRAAL), wish, TODAY))["until"] == "2026-12-31"
    late = add(system=CENTRAAL, organisation=CENTRAAL, until=date(2027, 1, 1))
    assert refused(found, Actor(Role.SUPPLIER, CENTRAAL), late).code == "NO_MANDATE"


def test_a_routeringskenmerk_and_the_whole_organisation_are_two_receivers():
    found = after(register(), OPERATOR, give())
    assert only(judge(found, OPERATOR, add(routeringskenmerk=VO_NORTH), TODAY))["routeringskenmerk"] == VO_NORTH
    found = after(found, OPERATOR, add(routeringskenmerk=VO_NORTH))
    assert refused(found, OPERATOR, add(system=LAS, routeringskenmerk=VO_NORTH)).code == "OVERLAP"


@pytest.mark.parametrize(
    "url",
    [
        "http://boek.example/in",
        "https://name:secret@boek.example/",
        "https://10.0.0.1/in",
        "https://127.0.0.1/",
        "http://localhost/",
        "https://[::1]/",
        "https://192.168.1.1:8443/x",
        "https://2130706433/",
        "https://0x7f000001/",
        "https://169.254.169.254/latest",
        "https://a.localhost/",
        "ftp://boek.example",
        "https://",
    ],
)
def test_a_url_that_may_not_be_called_is_refused(url: str):
    assert refused(register(), Actor(Role.SUPPLIER, LAS), ChangeEndpoint(id=OLD_ENDPOINT, url=url)).code == "WRONG"


@pytest.mark.parametrize(
    ("wish", "named"),
    [
        (add(id=OLD_ENDPOINT, system=LAS), OLD_ENDPOINT),
        (add(id="with a space", system=LAS), "with a space"),
        (add(attributes=("LAS", "LAS"), system=LAS), "LAS"),
        (add(attributes=("\x1b[2J",), system=LAS), r"\x1b[2J"),
        (add(more={"address": "no address"}, system=LAS), "no address"),
        (add(more={"address": "https://x.example/?oin=1"}, system=LAS), "oin=1"),
        (add(more={"at_once": 0}, system=LAS), "at_once"),
        (add(more={"per_second": True}, system=LAS), "per_second"),
        (add(more={"colour": "red"}, system=LAS), "colour"),
        (add(url="https://las.example/" + "x" * 2_000, system=LAS), "https://las.example"),
    ],
)
def test_a_value_that_an_endpoint_cannot_have_is_refused_by_its_name(wish: Wish, named: str):
    broken = refused(register(endpoints=DOCUMENT["endpoints"][:1]), Actor(Role.SUPPLIER, LAS), wish)
    assert broken.code in ("WRONG", "OVERLAP") and named in broken.en and broken.en.isprintable()


def test_a_private_address_may_be_used_where_the_operator_allows_its_network():
    wish = ChangeEndpoint(id=OLD_ENDPOINT, url="https://127.0.0.1:8443/in")
    assert only(judge(register(), OPERATOR, wish, TODAY, may_call=lambda address: address == "127.0.0.1"))["url"] == wish.url


def test_a_change_from_a_day_on_leaves_what_was_until_the_day_before():
    wish = ChangeEndpoint(id=OLD_ENDPOINT, url="https://las.example/in", day=AUGUST, more={"at_once": 2})
    found = after(register(), Actor(Role.SUPPLIER, LAS), wish)
    old, new = sorted(found.endpoints_of(VO, "vva", "1"), key=lambda row: row.start or date.min)
    assert (old.id, old.url, old.until, old.at_once) == (OLD_ENDPOINT, None, JULY, None)
    assert (new.url, new.start, new.until, new.at_once) == ("https://las.example/in", AUGUST, None, 2)


def test_a_system_address_that_serves_many_schools_is_moved_once_from_a_day():
    mandates = [{"organisation": oin, "dienst": "vva", "system": LAS, "token": oin} for oin in (VO, MBO, SECOND)]
    endpoints = [
        {"id": oin, "organisation": oin, "dienst": "vva", "versie": "1", "system": LAS, "url": url, **days}
        for oin, url, days in (
            (VO, "https://old.example/in", {}),
            (MBO, "https://old.example/in", {"from": "2026-09-01"}),
            (SECOND, "https://other.example/in", {}),
        )
    ]
    found = register(mandates=mandates, endpoints=endpoints)
    wish = MoveAddress(system=LAS, old="https://old.example/in", new="https://new.example/in", day=AUGUST)
    moved = after(found, Actor(Role.SUPPLIER, LAS), wish)
    assert [(row.url, row.until) for row in moved.endpoints_of(VO, "vva", "1")] == [
        ("https://old.example/in", JULY),
        ("https://new.example/in", None),
    ]
    assert [row.url for row in moved.endpoints_of(MBO, "vva", "1")] == ["https://new.example/in"]
    assert moved.endpoint(SECOND) == found.endpoint(SECOND)
    assert (
        refused(moved, Actor(Role.SUPPLIER, LAS), MoveAddress(system=LAS, old="https://nowhere.example", new=None, day=AUGUST)).code
        == "UNKNOWN"
    )


@pytest.mark.parametrize(
    "wish",
    [
        give(organisation=MBO, start=TODAY - timedelta(days=1)),
        give(organisation=MBO, start=AUGUST, until=JULY),
        EndMandate(organisation=MBO, token="token-1", until=TODAY - timedelta(days=2)),
        RevokeMandate(organisation=MBO, token="token-0"),
    ],
)
def test_days_that_are_over_are_not_for_a_school_to_set(wish: Wish):
    assert refused(register(), Actor(Role.ORGANISATION, MBO), wish).code in ("WRONG", "UNKNOWN")


# municipalities


def test_a_municipality_lets_a_region_receive_a_dienst_and_takes_it_back():
    wish = Delegate(municipality=AMERSFOORT, dienst="vva", region=REGION, start=AUGUST)
    found = after(register(), Actor(Role.ORGANISATION, AMERSFOORT), wish)
    (row,) = found.delegations.values()
    assert (row.municipality, row.region, row.start) == (AMERSFOORT, REGION, AUGUST)
    again = Delegate(municipality=AMERSFOORT, dienst="vva", region=UTRECHT, start=AUGUST + timedelta(days=9))
    assert (refused(found, OPERATOR, again).code, refused(found, OPERATOR, again).row) == ("OVERLAP", row.id)
    onward = Delegate(municipality=REGION, dienst="vva", region=UTRECHT, start=AUGUST)
    assert refused(found, OPERATOR, onward).code == "WRONG"
    inward = Delegate(municipality=UTRECHT, dienst="vva", region=AMERSFOORT, start=AUGUST)
    assert refused(found, OPERATOR, inward).row == row.id
    assert refused(found, Actor(Role.ORGANISATION, UTRECHT), EndDelegation(id=row.id, until=AUGUST)).code == "NOT_YOURS"
    assert after(found, OPERATOR, EndDelegation(id=row.id, until=AUGUST)).delegations[row.id].until == AUGUST
    assert after(found, OPERATOR, EndDelegation(id=row.id, until=TODAY)).delegations == {}


def test_a_municipality_goes_up_in_another_on_the_first_of_january_with_its_code():
    day = date(2027, 1, 1)
    found = after(register(), OPERATOR, Redivide(ended=(UTRECHT,), into=AMERSFOORT, day=day, codes=("0344", "0307")))
    assert found.by_gemeentecode("0344", date(2026, 12, 31)).organisation.oin == UTRECHT
    assert found.by_gemeentecode("0344", day).organisation.oin == AMERSFOORT
    assert found.organisation(UTRECHT).until == date(2026, 12, 31)
    assert found.mandates_of(UTRECHT, "vva")[0].until == found.endpoint(f"{UTRECHT}/vva/1/{CIVIC}").until == date(2026, 12, 31)
    assert refused(register(), OPERATOR, Redivide(ended=(), into=AMERSFOORT, day=day, codes=("0344",))).row == UTRECHT
    assert refused(register(), OPERATOR, Redivide(ended=(VO,), into=AMERSFOORT, day=day)).code == "WRONG"


# the table


@pytest.mark.parametrize("wish", ACTION)
def test_every_wish_has_its_line_in_the_table_and_anyone_may_do_none(wish: type[Any]):
    assert Role.ANYONE not in MAY[ACTION[wish]] and MAY[ACTION[wish]][Role.OPERATOR] == "all"


# whatever is wished


SYSTEMS = (LAS, OTHER_LAS)
SCHOOLS = (VO, SECOND)
DAYS = st.dates(TODAY, TODAY + timedelta(days=6))
KENMERKEN = (None, VO_NORTH)


@st.composite
def wishes(draw: st.DrawFn, found: Register) -> tuple[Actor, Wish]:
    """A wish that often can be granted, of somebody who often may."""
    system, school = draw(st.sampled_from(SYSTEMS)), draw(st.sampled_from(SCHOOLS))
    start, until, day = draw(st.none() | DAYS), draw(st.none() | DAYS), draw(DAYS)
    mandates, endpoints = list(found.parts.every_mandate()), list(found.parts.every_endpoint())
    mandate, endpoint = draw(st.sampled_from(mandates)), draw(st.sampled_from(endpoints)) if endpoints else None
    actor = draw(
        st.sampled_from(
            [OPERATOR, Actor(Role.ORGANISATION, school), Actor(Role.SUPPLIER, system), Actor(Role.BOARD, BOARD), Actor(Role.ANYONE)]
        )
    )
    url = draw(st.sampled_from([None, "https://a.example/in", "https://b.example/in"]))
    options: list[Wish] = [
        GiveMandate(organisation=draw(st.sampled_from([school, BOARD])), dienst="vva", system=system, start=start, until=until),
        EndMandate(organisation=mandate.organisation, token=mandate.token or "", until=day - timedelta(days=draw(st.integers(0, 2)))),
        RevokeMandate(organisation=mandate.organisation, token=mandate.token or ""),
        add(system=system, organisation=school, start=start, until=until, url=url, routeringskenmerk=draw(st.sampled_from(KENMERKEN))),
        MoveAddress(system=system, old=url, new=draw(st.sampled_from([None, "https://c.example/in"])), day=day),
    ]
    if endpoint is not None:
        options += [
            ChangeEndpoint(id=endpoint.id, url=url, until=draw(st.just(ABSENT) | st.none() | DAYS), day=draw(st.none() | DAYS)),
            ChangeEndpoint(id=endpoint.id, start=draw(st.none() | DAYS), until=until),
            EndEndpoint(id=endpoint.id, until=day),
        ]
    return actor, draw(st.sampled_from(options))


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_whatever_is_wished_no_two_endpoints_overlap_and_none_is_without_its_mandate(data: st.DataObject):
    mandates = [
        {"organisation": school, "dienst": "vva", "system": system, "token": f"{school} {system}"}
        for school in SCHOOLS
        for system in SYSTEMS
    ]
    found, today = register(mandates=mandates, endpoints=DOCUMENT["endpoints"][:1]), TODAY
    for _ in range(data.draw(st.integers(1, 12))):
        actor, wish = data.draw(wishes(found))
        today += timedelta(days=data.draw(st.sampled_from([0, 0, 0, 1])))
        try:
            judged = judge(found, actor, wish, today)
        except RuleBroken as broken:
            assert broken.nl and broken.en and "{" not in broken.nl + broken.en
            continue
        changed = applied(found, judged.changes)
        _is_sound(changed, today)
        _only_ones_own_changed(found, changed, actor)
        found = changed


def _is_sound(found: Register, today: date) -> None:
    rows = list(found.parts.every_endpoint())
    for place, row in enumerate(rows):
        for other in rows[place + 1 :]:
            same = (row.organisation, row.routeringskenmerk, row.versie) == (other.organisation, other.routeringskenmerk, other.versie)
            assert not (same and row.dienst == other.dienst and shared(span(row), span(other))), (row, other)
        days = shared(span(row), (today, date.max))
        if days:
            mandates = [m for m in found.mandates_of(row.organisation, row.dienst) if m.system == row.system and not m.revoked]
            assert holds(union(span(m) for m in mandates), days), row


def _only_ones_own_changed(before: Register, now: Register, actor: Actor) -> None:
    if actor.role is Role.SUPPLIER:
        assert {*before.parts.every_mandate()} == {*now.parts.every_mandate()}
        for id in {row.id for row in (*before.parts.every_endpoint(), *now.parts.every_endpoint())}:
            old, new = before.endpoint(id), now.endpoint(id)
            assert old == new or {row.system for row in (old, new) if row} == {actor.oin}
    elif actor.role is Role.ORGANISATION:
        differ = {*before.parts.every_mandate()} ^ {*now.parts.every_mandate()}
        assert {row.organisation for row in differ} <= {actor.oin}
    else:
        assert actor.role in (Role.OPERATOR, Role.BOARD)
