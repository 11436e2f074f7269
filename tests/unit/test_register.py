"""The service register: what a document must say, and what a register answers."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from routing.amsterdam import amsterdam_day, end_of_day, start_of_day
from routing.register import Mandate, RegisterError, Standing, read_register
from schemas.oin import Oin
from tests.support.register import AMERSFOORT, CENTRAAL, CIVIC, DOCUMENT, LAS, MBO, OTHER_LAS, UTRECHT, VO, VO_NORTH, but, chain, document

DAYS = st.dates(date(2024, 1, 1), date(2028, 12, 31))
FEW_DAYS = st.dates(date(2026, 1, 1), date(2026, 1, 12))


def problems(**changes: list[dict[str, Any]]) -> tuple[str, ...]:
    with pytest.raises(RegisterError) as refused:
        read_register(document(**changes), version=1)
    return refused.value.problems


def one_problem(**changes: list[dict[str, Any]]) -> str:
    found = problems(**changes)
    assert len(found) == 1, found
    return found[0]


# days


def test_the_end_day_is_included_until_its_last_second_in_amsterdam():
    last = Mandate(organisation=VO, dienst="vva", system=LAS, until=date(2026, 7, 31))
    assert last.covers(amsterdam_day(datetime(2026, 7, 31, 21, 59, 59, tzinfo=UTC)))  # 23:59:59 in Amsterdam, in summer
    assert not last.covers(amsterdam_day(datetime(2026, 7, 31, 22, 0, tzinfo=UTC)))


@pytest.mark.parametrize(("day", "hours"), [("2026-03-28", 24), ("2026-03-29", 23), ("2026-10-25", 25)])
def test_a_day_on_which_the_clock_changes_has_another_length(day, hours):
    of = date.fromisoformat(day)
    assert end_of_day(of) - start_of_day(of) == timedelta(hours=hours)
    assert amsterdam_day(start_of_day(of)) == amsterdam_day(end_of_day(of) - timedelta(microseconds=1)) == of


def test_a_time_without_a_zone_is_no_instant():
    with pytest.raises(ValueError, match="no time zone"):
        amsterdam_day(datetime(2026, 1, 1))  # noqa: DTZ001


@given(DAYS, st.none() | DAYS, st.none() | DAYS)
def test_a_day_is_covered_exactly_when_it_lies_between_from_and_until_both_included(day, start, until):
    row = Mandate(organisation=VO, dienst="vva", system=LAS, start=start, until=until)
    after_start, before_end = start is None or start <= day, until is None or day <= until
    assert row.covers(day) == (after_start and before_end)
    if start is None or until is None or start <= until:
        expected = Standing.CURRENT if row.covers(day) else Standing.ENDED if after_start else Standing.NOT_YET
        assert row.standing(day) is expected


# the document


def test_a_register_is_written_out_as_the_document_it_came_from():
    register = chain()
    again = read_register(json.loads(json.dumps(register.to_document())), version=7)
    assert again.to_document() == register.to_document()
    assert list(again.parts.every_endpoint()) == list(register.parts.every_endpoint())
    assert again.organisations == register.organisations


def test_an_empty_document_is_an_empty_register():
    assert read_register({}, version=1).organisations == {}


@pytest.mark.parametrize("nonsense", [None, [], "register", 3])
def test_a_document_that_is_no_object_is_refused(nonsense):
    with pytest.raises(RegisterError, match="must be a JSON object"):
        read_register(nonsense, version=1)


def test_every_problem_of_a_document_is_named_at_once_with_its_list_and_row():
    found = problems(
        organisations=[*but(DOCUMENT["organisations"], 0, oin="123"), {"oin": VO, "name": "", "kind": "college"}, "school"],  # type: ignore[list-item]
        mandates=[{"organisation": MBO, "dienst": "vva", "system": "00000003000000000000", "untill": "2026-07-31"}],
        users=[],
    )
    text = "\n".join(found)
    for words in (
        "'users' is not a list of the register",
        "organisations row 1 (123): oin '123' is not an OIN",
        "organisations row 6 (0000000700025BE00000): name must be",
        "kind 'college' is unknown; use school, municipality, central, hub",
        "organisations row 7: must be an object",
        "'untill' is not a field of mandates",
        "system 00000003000000000000 is not in systems; add it there",
    ):
        assert words in text


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("from_", "31-07-2026", "not a day; write it as YYYY-MM-DD"),
        ("from_", "2026-02-30", "not a day"),
        ("until", 20260731, "not a day"),
        ("roles", "vo", "must be a list of different texts"),
        ("roles", ["vo", "vo"], "must be a list of different texts"),
        ("roles", ["VO school"], "must be small letters"),
        ("brin", "25be", "is not a BRIN"),
        ("brin", "25BF", "brin 25BF is not the BRIN in its OIN, 25BE"),
        ("kind", "central", "only a school has a BRIN"),
        ("oin", "0000000700025BE00530", "is a routeringskenmerk; write the OIN of the institution, 0000000700025BE00000"),
        ("gemeentecodes", [{"code": "0355"}], "only a municipality has gemeentecodes"),
    ],
)
def test_a_wrong_field_of_a_school_is_refused_with_what_to_do(field, value, words):
    found = problems(organisations=but(DOCUMENT["organisations"], 0, **{field: value}))
    assert any(words in problem and "organisations row 1 (" in problem for problem in found), found


def test_an_end_before_the_start_is_refused():
    assert "lies before from 2026-08-01" in one_problem(mandates=but(DOCUMENT["mandates"], 0, from_="2026-08-01", until="2026-07-31"))


def test_a_school_with_another_kind_of_oin_is_refused():
    assert "a school's OIN holds its BRIN" in one_problem(organisations=but(DOCUMENT["organisations"], 4, kind="school"))


def test_a_municipality_without_a_code_is_refused():
    assert "a municipality has gemeentecodes" in one_problem(organisations=but(DOCUMENT["organisations"], 3, gemeentecodes=None))


def test_a_gemeentecode_keeps_its_leading_zero():
    found = one_problem(organisations=but(DOCUMENT["organisations"], 3, gemeentecodes=[{"code": "307"}]))
    assert "organisations row 4 gemeentecodes row 1 (307): code '307' is not a gemeentecode" in found


def test_the_same_row_twice_is_refused_and_names_the_first():
    assert "organisations row 6 (0000000700025BE00000): says the same as row 1" in one_problem(
        organisations=[*DOCUMENT["organisations"], DOCUMENT["organisations"][0]]
    )
    assert "mandates row 4" in one_problem(mandates=[*DOCUMENT["mandates"], DOCUMENT["mandates"][0]])


def test_two_versions_cannot_share_a_namespace():
    assert "namespace is that of row 1" in one_problem(diensten=but(DOCUMENT["diensten"], 1, namespace="urn:x-backbone:vva:1"))


def test_a_mandate_of_an_unknown_organisation_is_refused():
    found = one_problem(mandates=but(DOCUMENT["mandates"], 0, organisation="0000000700011BB00000"))
    assert "mandates row 1" in found and "organisation 0000000700011BB00000 is not in organisations; add it there" in found


def test_a_mandate_for_an_unknown_dienst_is_refused():
    assert "dienst oso is not in diensten" in one_problem(mandates=but(DOCUMENT["mandates"], 0, dienst="oso"))


def test_an_endpoint_of_an_unknown_version_is_refused():
    assert "dienst vva version 2 is not in diensten" in one_problem(endpoints=but(DOCUMENT["endpoints"], 0, versie="2"))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"mailbox": None}, "exactly one of url and"),
        ({"url": "https://las.example"}, "exactly one of url and"),
        ({"mailbox": None, "url": "http://las.example/"}, "write https://host/path"),
        ({"mailbox": None, "url": "https://user:secret@las.example/"}, "without name or password"),
        ({"mailbox": None, "url": "https://[las/"}, "write https://host/path"),
        ({"mailbox": "yes"}, "mailbox must be true or false"),
        ({"routeringskenmerk": VO}, "the organisation's own OIN; leave it out"),
        ({"routeringskenmerk": "0000000700011BB00530"}, "is not one of 0000000700025BE00000"),
        ({"routeringskenmerk": "25BE"}, "is not an OIN"),
    ],
)
def test_a_wrong_endpoint_is_refused_with_what_to_do(changes, words):
    found = problems(endpoints=but(DOCUMENT["endpoints"], 0, **changes))
    assert any(words in problem and "endpoints row 1" in problem for problem in found), found


def test_two_endpoints_of_one_routeringskenmerk_on_one_day_are_refused_and_both_named():
    old = {"id": "old", "organisation": VO, "routeringskenmerk": VO_NORTH, "dienst": "vva", "versie": "1", "system": LAS, "mailbox": True}
    new = old | {"id": "new", "system": OTHER_LAS, "from": "2026-08-01"}
    assert chain(endpoints=[old | {"until": "2026-07-31"}, new])
    found = one_problem(endpoints=[old | {"until": "2026-08-01"}, new])
    assert "endpoints row 2 (new)" in found
    assert "also that of row 1 (old), until 2026-08-01 included" in found


def test_an_overlap_is_seen_behind_an_earlier_endpoint_that_has_ended():
    row = {"organisation": VO, "routeringskenmerk": VO_NORTH, "dienst": "vva", "versie": "1", "system": LAS, "mailbox": True}
    spans = (("2026-01-01", "2026-01-31"), ("2026-02-01", "2026-02-28"), ("2026-02-28", "2026-03-31"))
    found = one_problem(endpoints=[row | {"id": f"e{n}", "from": start, "until": until} for n, (start, until) in enumerate(spans)])
    assert "row 3 (e2)" in found and "row 2 (e1)" in found


@given(
    st.lists(
        st.tuples(st.none() | FEW_DAYS, st.none() | FEW_DAYS).filter(lambda d: None in d or d[0] <= d[1]),
        min_size=2,
        max_size=5,
        unique=True,
    )
)
def test_overlap_is_refused_exactly_when_two_endpoints_share_a_day(spans):
    row = {"organisation": VO, "routeringskenmerk": VO_NORTH, "dienst": "vva", "versie": "1", "system": LAS, "mailbox": True}
    rows = [row | {"id": f"e{n}", "from": start and str(start), "until": until and str(until)} for n, (start, until) in enumerate(spans)]
    share = any(
        max(a[0] or date.min, b[0] or date.min) <= min(a[1] or date.max, b[1] or date.max)
        for n, a in enumerate(spans)
        for b in spans[n + 1 :]
    )
    try:
        read_register(document(endpoints=rows), version=1)
        assert not share
    except RegisterError:
        assert share


def test_two_municipalities_with_one_code_on_one_day_are_refused_and_both_named():
    found = one_problem(organisations=but(DOCUMENT["organisations"], 3, gemeentecodes=[{"code": "0344", "from": "2026-01-01"}]))
    assert f"organisations row 4 ({AMERSFOORT} Gemeente Amersfoort): gemeentecode 0344, from 2026-01-01" in found
    assert f"row 3 ({UTRECHT} Gemeente Utrecht), always" in found


def test_a_municipality_may_take_over_the_code_of_one_that_has_ended_itself():
    rows = but(but(DOCUMENT["organisations"], 2, until="2025-12-31"), 3, gemeentecodes=[{"code": "0344", "from": "2026-01-01"}])
    assert chain(organisations=rows).by_gemeentecode("0344", date(2026, 1, 1)).standing is Standing.CURRENT


def test_http_is_for_this_machine_only():
    assert chain(endpoints=but(DOCUMENT["endpoints"], 0, mailbox=None, url="http://127.0.0.1:9000/in")).parts.lanes()


def test_a_personal_number_in_a_document_does_not_come_back_in_a_problem():
    assert "[*********]" in one_problem(systems=but(DOCUMENT["systems"], 3, channels=None, note_123456782=1))


# the answers


def test_an_endpoint_without_an_id_gets_one_that_stays_the_same():
    assert chain().endpoint(f"{VO}/vva/1/{LAS}") == read_register(document(), version=8).endpoint(f"{VO}/vva/1/{LAS}")


def test_schools_behind_one_url_share_a_lane_and_so_does_a_system_s_mailbox():
    rows = [
        {"organisation": VO, "dienst": "vva", "versie": "1", "system": LAS, "url": "https://las.example/in"},
        {"organisation": MBO, "dienst": "vva", "versie": "1", "system": LAS, "url": "https://las.example/in"},
        {"organisation": UTRECHT, "dienst": "vva", "versie": "1", "system": CIVIC, "mailbox": True},
        {"organisation": UTRECHT, "dienst": "proef", "versie": "1", "system": CIVIC, "mailbox": True},
    ]
    lanes = [endpoint.lane for endpoint in chain(endpoints=rows).parts.every_endpoint()]
    assert lanes[0] == lanes[1] != lanes[2] == lanes[3]


def test_an_organisation_is_found_by_oin_brin_role_and_gemeentecode():
    register = chain()
    today = date(2026, 3, 2)
    school, city = register.organisation(VO), register.organisation(UTRECHT)
    assert school is not None and school.brin == "25BE"
    assert register.by_brin("25BE") is school
    assert register.by_brin("00AA") is None
    assert [row.oin for row in register.by_role("centraal-aanmelden", today)] == [CENTRAAL]
    assert register.by_role("duo", today) == ()
    assert register.by_gemeentecode("0344", today).organisation is city
    assert register.organisation(Oin("00000003000000000000")) is None


def redivided():
    """Amersfoort takes over code 0344 on 1 January 2027, after a week in which nobody had it."""
    rows = but(DOCUMENT["organisations"], 2, gemeentecodes=[{"code": "0344", "until": "2026-12-24"}])
    return chain(
        organisations=but(
            rows, 3, gemeentecodes=[{"code": "0307"}, {"code": "0344", "from": "2027-01-01"}, {"code": "9999", "from": "2027-01-01"}]
        )
    )


@pytest.mark.parametrize(
    ("code", "day", "standing", "oin"),
    [
        ("0344", "2026-12-24", "current", UTRECHT),
        ("0344", "2026-12-31", "ended", UTRECHT),
        ("0344", "2027-01-01", "current", AMERSFOORT),
        ("9999", "2026-12-31", "not-yet", AMERSFOORT),
        ("9999", "2027-01-01", "current", AMERSFOORT),
        ("1234", "2027-01-01", "unknown", None),
    ],
)
def test_a_gemeentecode_is_current_ended_not_yet_or_unknown_on_a_day(code, day, standing, oin):
    found = redivided().by_gemeentecode(code, date.fromisoformat(day))
    assert (found.standing, found.organisation and found.organisation.oin) == (standing, oin)


def test_a_code_ends_with_its_municipality():
    register = chain(organisations=but(DOCUMENT["organisations"], 2, until="2026-12-31"))
    assert register.by_gemeentecode("0344", date(2026, 12, 31)).standing is Standing.CURRENT
    assert register.by_gemeentecode("0344", date(2027, 1, 1)).standing is Standing.ENDED


def test_the_next_change_is_the_day_something_starts_or_the_day_after_something_ends():
    register = chain(mandates=but(but(DOCUMENT["mandates"], 0, until="2026-07-31"), 1, from_="2026-09-01"))
    assert register.next_change(date(2026, 7, 31)) == date(2026, 8, 1)
    assert register.next_change(date(2026, 8, 1)) == date(2026, 9, 1)
    assert register.next_change(date(2026, 9, 1)) is None
    assert redivided().next_change(date(2026, 12, 24)) == date(2026, 12, 25)


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("address", "portaal.example/vva", "is not usable; write the absolute URI of the service, without oin (that is added)"),
        ("address", "https://portaal.example/vva?oin=00000004003214345000", "without oin"),
        ("address", "https://portaal.example/a b", "is not usable"),
        ("address", "", "address must be"),
        ("address", 3, "address must be"),
        ("at_once", 0, "at_once must be a number from 1 to 1000, whole"),
        ("at_once", 1001, "at_once must be a number from 1 to 1000, whole"),
        ("at_once", 2.5, "whole"),
        ("at_once", True, "whole"),
        ("at_once", "3", "whole"),
        ("per_second", 0, "per_second must be a number from 0.01 to 10000"),
        ("per_second", 10_001, "per_second must be a number from 0.01 to 10000"),
        ("per_second", float("nan"), "per_second must be a number"),
        ("per_second", False, "per_second must be a number"),
    ],
)
def test_a_wrong_limit_or_address_of_an_endpoint_is_refused_with_what_to_do(field, value, words):
    found = one_problem(endpoints=but(DOCUMENT["endpoints"], 2, **{field: value}))
    assert words in found and "endpoints row 3 (" in found


def test_limits_and_address_of_an_endpoint_are_kept_and_written_out_again():
    fields = {"address": "https://portaal.example/vva", "at_once": 4, "per_second": 0.5}
    register = chain(endpoints=but(DOCUMENT["endpoints"], 2, **fields))
    (endpoint,) = [one for one in register.parts.every_endpoint() if one.url]
    assert (endpoint.address, endpoint.at_once, endpoint.per_second) == tuple(fields.values())
    again = read_register(json.loads(json.dumps(register.to_document())), version=7)
    assert list(again.parts.every_endpoint()) == list(register.parts.every_endpoint())


@pytest.mark.parametrize(
    ("address", "to"),
    [
        (None, None),
        ("https://portaal.example/vva", f"https://portaal.example/vva?oin={CENTRAAL}"),
        ("https://portaal.example/vva?versie=1", f"https://portaal.example/vva?versie=1&oin={CENTRAAL}"),
    ],
)
def test_where_we_write_the_envelope_its_address_names_the_receiver(address, to):
    register = chain(endpoints=but(DOCUMENT["endpoints"], 2, address=address))
    (endpoint,) = [one for one in register.parts.every_endpoint() if one.url]
    assert endpoint.address_for(CENTRAAL) == to
