"""The portal's API without a portal: its description, its documentation, what its fields take, and how values look in answers."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator

from portal.api.calls import Rows
from portal.api.description import PATH, description
from portal.api.items import FILTER, SORT
from portal.api.problems import Problem, invalid
from portal.api.server import CALLS
from portal.api.shapes import Shapes, as_json, moment
from portal.api.values import BOUND, BRIN, DAY, ID, MOMENT, OIN, YES, Field, Kind, many, nested, number, one_of, read, text_of, whole
from portal.shell import EVERYBODY
from routing.board import GroupKey, Sort
from routing.people import SEE
from routing.rate import Rate

GUIDE = (Path(__file__).parents[2] / "docs/portal-api.md").read_text(encoding="utf-8")
SYSTEM = "00000003272448340000"


# -- description and documentation ---------------------------------------------------------------------------------------------------------


def test_the_description_is_openapi_3_1_and_has_every_call_once() -> None:
    document = description(CALLS, url="https://portal.example")
    OpenAPIV31SpecValidator(document).validate()
    described = {(path, method.upper()) for path, item in document["paths"].items() for method in item}
    assert described == {(f"/api/v1{call.path}", call.method) for call in CALLS} | {(PATH, "GET")}
    assert len({call.id for call in CALLS}) == len(CALLS)


def test_only_the_description_is_for_everybody() -> None:
    document = description(CALLS)
    assert [path for path, item in document["paths"].items() for one in item.values() if one.get("security") == []] == [PATH]
    assert document["security"] == [{"token": []}]


def test_every_call_that_changes_something_asks_for_more_than_seeing() -> None:
    assert {call.id for call in CALLS if call.method == "POST" and call.permission & SEE} == {"searchItems"}


def test_the_guide_lists_every_call_with_who_may_make_it() -> None:
    rows = re.findall(r"^\| `(GET|POST) (/\S+)` \| (\S+) \|", GUIDE, re.MULTILINE)
    words = {EVERYBODY: "everybody", SEE: "sees"}
    assert sorted(rows) == sorted((c.method, c.path, words.get(c.permission) or f"`{', '.join(c.permission)}`") for c in CALLS)


def test_the_guide_explains_every_filter_and_every_code() -> None:
    listed = set(re.findall(r"`(\w+)`", " ".join(re.findall(r"^\| (`[^|]*) \|", GUIDE.partition("## Filters")[2], re.MULTILINE))))
    assert {field.name for field in FILTER} == listed
    assert [field.name for field in SORT] == ["sort", "after", "limit"]
    for status in (400, 401, 403, 404, 405, 409, 413, 415, 429, 500, 503):
        assert f"{status} `{Problem(status).document()['code']}`" in " ".join(GUIDE.split())


# -- what comes in -------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "value", "found"),
    [
        (OIN, SYSTEM, SYSTEM),
        (OIN, SYSTEM[:-1], None),
        (OIN, SYSTEM + "\n", None),
        (OIN, 3, None),
        (BRIN, "01AA", "01AA"),
        (BRIN, "01aa", None),
        (DAY, "2026-02-28", date(2026, 2, 28)),
        (DAY, "2026-02-29", None),
        (DAY, "20260228", None),
        (BOUND, "0001-01-01", date(2000, 1, 1)),
        (BOUND, "9999-12-31", date(2099, 12, 31)),
        (MOMENT, "2026-01-15T00:00:00Z", 1_768_435_200_000_000),
        (MOMENT, "2026-02-30T00:00:00Z", None),
        (whole(1, 5), 5, 5),
        (whole(1, 5), 2.0, 2),
        (whole(1, 5), 6, None),
        (whole(1, 5), True, None),
        (whole(1, 5), 1.5, None),
        (number(0, 1), 0.5, 0.5),
        (number(0, 1), float("inf"), None),
        (YES, True, True),
        (YES, 1, None),
        (one_of(Sort), "oudste", Sort.OLDEST),
        (one_of(Sort), "eerst", None),
        (many(OIN, 2), [SYSTEM], (SYSTEM,)),
        (many(OIN, 2), [], None),
        (many(OIN, 2), [SYSTEM] * 3, None),
        (many(OIN, 2), [SYSTEM, "x"], None),
        (text_of(5), "a b", "a b"),
        (text_of(5), "   ", None),
        (text_of(5), "a\nb", None),
        (text_of(5), "123456", None),
        (text_of(5), "\ud800", None),
        (ID, "urn:uuid:1", "urn:uuid:1"),
        (ID, "a b", None),
    ],
)
def test_a_value_is_read_or_refused_in_two_languages(kind: Kind, value: Any, found: Any) -> None:
    field = Field(name="it", kind=kind, about="")
    if found is not None:
        assert read([field], {"it": value}) == {"it": found}
        return
    with pytest.raises(Problem) as told:
        read([field], {"it": value})
    assert told.value.errors == [("it", *kind.words)] and kind.words[0] != kind.words[1]


def test_all_mistakes_are_told_at_once_and_where() -> None:
    inner = nested("filter", [Field(name="limit", kind=whole(1, 5), about="")])
    fields = [Field(name="needed", kind=ID, about="", required=True), Field(name="filter", kind=inner, about="")]
    with pytest.raises(Problem) as told:
        read(fields, {"filter": [], "other": 1})
    assert {name for name, _, _ in told.value.errors} == {"other", "filter", "needed"}
    with pytest.raises(Problem) as told:
        read(fields, {"filter": {"limit": 9, "x": 1}, "needed": "a"})
    assert {name for name, _, _ in told.value.errors} == {"filter.limit", "filter.x"}


@pytest.mark.parametrize("value", ["123456782", "x123456782", "1234.56.782", "a~123456782"])
def test_what_may_be_a_personal_number_is_refused_in_a_url_and_not_repeated(value: str) -> None:
    with pytest.raises(Problem) as told:
        read([Field(name="id", kind=ID, about="")], {"id": value}, in_url=True)
    assert "items/search" in str(told.value.document()) and "123456782" not in str(told.value.document())


def test_an_oin_in_which_nine_digits_stand_before_a_letter_is_no_personal_number() -> None:
    oin = "123456789A0000000000"
    assert read([Field(name="party", kind=OIN, about="")], {"party": oin}, in_url=True) == {"party": oin}


def test_a_problem_never_holds_a_personal_number_or_a_control_character() -> None:
    said = str(invalid(("id\x1b[1m", "nr 123456782", "number 123456782")).document())
    assert "123456782" not in said and "\x1b" not in said


# -- what goes out -------------------------------------------------------------------------------------------------------------------------


def test_moments_are_in_utc_and_durations_stay_numbers() -> None:
    assert moment(1_768_435_200_500_000) == "2026-01-15T00:00:00.500Z"
    assert as_json({"received_us": 0, "at_us": None, "since_us": 0, "took_us": 5, "probe_at_us": 0}) == {
        "received_at": "1970-01-01T00:00:00.000Z",
        "at": None,
        "since": "1970-01-01T00:00:00.000Z",
        "took_us": 5,
        "probe_at": "1970-01-01T00:00:00.000Z",
    }


def test_a_value_and_its_schema_have_the_same_fields() -> None:
    key = GroupKey(code="C", owner="us", dienst="d", system="s", receiver_system="")
    shapes = Shapes()
    shapes.of(GroupKey)
    assert set(as_json(key)) == set(shapes.schemas["GroupKey"]["properties"]) == set(shapes.schemas["GroupKey"]["required"])
    assert as_json(key)["id"] == "C~us~d~s~"


def test_what_has_no_place_in_an_answer_is_an_error_and_not_a_surprise() -> None:
    @dataclass
    class Odd:
        it: complex

    with pytest.raises(TypeError):
        as_json(1j)
    with pytest.raises(TypeError):
        Shapes().of(Odd)
    with pytest.raises(TypeError):
        Shapes().of(int | str)


def test_the_file_is_the_only_answer_that_is_no_json() -> None:
    assert [call.id for call in CALLS if call.answer is Rows] == ["itemsCsv"]


# -- how often -----------------------------------------------------------------------------------------------------------------------------


def test_asking_how_long_to_wait_takes_nothing() -> None:
    at = [0.0]
    rate = Rate[str](2, lambda: at[0])
    assert [rate.wait("a") for _ in range(5)] == [0] * 5
    assert [rate.take("a"), rate.take("a"), rate.take("a")] == [0, 0, 30]
    assert rate.wait("a") == 30 and rate.wait("b") == 0
    at[0] = 30.0
    assert rate.wait("a") == 0
