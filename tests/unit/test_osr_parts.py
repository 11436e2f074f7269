"""The register's API without a gateway: its description, what its fields take, how often may be asked, and what is found on a day."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator

from adapters.osr import OsrPages
from adapters.osr_limits import Rate
from adapters.osr_openapi import PATH, OsrOpenApiPages, description
from adapters.osr_problem import Wrong
from adapters.osr_shapes import Fields, read_json
from adapters.osr_writes import ANSWERS, change_of, new_endpoint, rows_of
from routing import register_lookup as lookup
from routing.api_keys import SHAPE, digest_of, new_api_key, short
from routing.rate import MOST
from routing.register import Register
from routing.register_book import RegisterMoved, RowChange
from routing.register_desk import Caller, NewEndpoint
from routing.register_wishes import RuleBroken
from schemas.faults import OurFailure
from schemas.oin import Oin
from tests.support.register import AMERSFOORT, CENTRAAL, CIVIC, LAS, MBO, OTHER_LAS, SIS, UTRECHT, VO, VO_NORTH, chain
from workers.clock import Clock
from workers.register_desk import TRIES, RegisterDesk

NOBODY: Any = None
ROOT = Path(__file__).parents[2]
DAY = date(2027, 3, 1)


# -- the description -----------------------------------------------------------------------------------------------------------------------


def test_the_description_is_openapi_3_1_and_says_every_page_and_nothing_else() -> None:
    made = description(url="https://koppelpunt.example")
    OpenAPIV31SpecValidator(made).validate()
    pages = (OsrPages(NOBODY, NOBODY, NOBODY, NOBODY), OsrOpenApiPages({}))
    there = {(route.method.lower(), re.sub(r":\(.*\+\}", "}", route.path)) for page in pages for route in page.routes()}
    assert {(method, path) for path, item in made["paths"].items() for method in item} == there


def test_every_write_and_whatever_has_a_token_needs_a_key() -> None:
    keyed = {
        (method, path.removeprefix("/osr/api/v2"))
        for path, item in description(url="https://x.example")["paths"].items()
        for method, operation in item.items()
        if operation.get("security") == [{"certificate": [], "key": []}]
    }
    assert keyed == {
        ("get", "/mandates/{token}"),
        ("get", "/school-mandates"),
        ("post", "/endpoints"),
        ("post", "/endpoints/bulk"),
        ("patch", "/endpoints/{token}"),
    }
    assert description(url="https://x.example")["paths"][PATH]["get"]["security"] == []


def test_the_page_about_the_api_lists_every_code_and_path() -> None:
    page = (ROOT / "docs/register-api.md").read_text(encoding="utf-8")
    code = "".join(file.read_text(encoding="utf-8") for file in (ROOT / "adapters").glob("osr*.py"))
    codes = set(re.findall(r'"(REGISTER_[A-Z_]+)"', code)) | {f"REGISTER_{rule}" for rule in ANSWERS}
    listed = page.partition("## Codes")[2]
    assert {code for code in codes - {"REGISTER_FORBIDDEN"} if f"`{code}`" not in listed} == set()
    for path in description(url="https://x.example")["paths"]:
        assert path.removeprefix("/osr/api/v2").partition("{")[0].rstrip("/") in page, path


# -- what comes in -------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("day", "2027-02-29"),
        ("day", "20270228"),
        ("day", 20270228),
        ("oin", "0000000700025be00000"),
        ("brin", "25BEX"),
        ("token", "6a47bfdd81a746cdb41fd907e91ebdfc"),
        ("text", ""),
        ("text", " "),
        ("text", "a\u0000b"),
        ("text", "\ud800"),
        ("text", "x" * 201),
        ("flag", "yes"),
        ("flag", True),
        ("yes", False),
        ("yes", 1),
        ("labels", "LAS"),
        ("labels", ["a,b"]),
        ("labels", ["a b"]),
        ("labels", ["a"] * 2),
        ("labels", [str(number) for number in range(21)]),
    ],
)
def test_a_field_of_another_shape_is_refused_by_its_name(name: str, value: object) -> None:
    fields = Fields({name: value}, (name,))
    getattr(fields, name)(name)
    with pytest.raises(Wrong) as refused:
        fields.check()
    assert [error["field"] for error in refused.value.errors] == [name] and refused.value.status == 400


def test_a_space_is_a_text_only_with_something_beside_it() -> None:
    assert Fields({"name": "de Vecht"}, ("name",)).text("name") == "de Vecht"


@pytest.mark.parametrize("value", [0, 1_001, 1.5, True, "2", 1e400, float("nan")])
def test_a_number_is_whole_and_within_its_bounds(value: object) -> None:
    fields = Fields({"at_once": value}, ("at_once",))
    assert fields.quantity("at_once", 1, 1_000) is None
    assert fields.errors


def test_two_point_zero_is_a_whole_number_in_json() -> None:
    assert repr(Fields({"at_once": 2.0}, ("at_once",)).quantity("at_once", 1, 1_000)) == "2"


@pytest.mark.parametrize("body", [b"", b"{", b"\xff", b'{"a":1,"a":2}', b'{"a":{"b":1,"b":1}}', b"NaN", b"[" * 100_000])
def test_what_is_not_json_is_refused(body: bytes) -> None:
    with pytest.raises(Wrong, match=r"Validation error\(s\)"):
        read_json(body)


def test_a_change_says_only_what_it_names() -> None:
    change = change_of("e1", {"end_date": None, "address": None, "reason": "x"})
    assert (dict(change.fields), change.reason, change.day) == ({"until": None, "address": None}, "x", None)
    assert dict(change_of("e1", {"mailbox": True}).fields) == {"url": None}


@pytest.mark.parametrize(
    "said", [{}, {"reason": "x"}, {"url": None}, {"url": "https://a.example", "mailbox": True}, {"routing_id": VO_NORTH}]
)
def test_a_change_of_nothing_or_of_whose_it_is_is_refused(said: dict[str, Any]) -> None:
    with pytest.raises(Wrong):
        change_of("e1", said)


@pytest.mark.parametrize("address", ["no uri", "urn:a b", "https://a.example?oin=1", "https://a.example?x=1&OIN=2", "x" * 300])
def test_an_address_is_a_uri_without_oin(address: str) -> None:
    with pytest.raises(Wrong) as refused:
        new_endpoint({"service_version_namespace": "urn:x", "mailbox": True, "address": address})
    assert refused.value.errors[0]["field"] == "address"


@pytest.mark.parametrize(
    "said", [{}, {"endpoints": {}}, {"endpoints": []}, {"endpoints": [{}], "x": 1}, {"endpoints": [{}] * 501}, {"endpoints": [1]}]
)
def test_many_are_a_list_of_objects(said: dict[str, Any]) -> None:
    with pytest.raises(Wrong):
        rows_of(said)


def test_a_personal_number_in_a_question_is_not_repeated() -> None:
    with pytest.raises(Wrong) as refused:
        Fields({"123456782": "x"}, ("oin",)).check()
    assert "123456782" not in str(refused.value.errors) + refused.value.en


# -- how often -----------------------------------------------------------------------------------------------------------------------------


def test_a_rate_lets_a_minutes_worth_through_and_then_one_by_one() -> None:
    now = [0.0]
    rate = Rate(6, lambda: now[0])
    assert [rate.take(LAS) for _ in range(7)] == [0] * 6 + [10]
    assert rate.take(SIS) == 0
    now[0] = 4.0
    assert rate.take(LAS) == 6  # asking in vain costs nothing
    now[0] = 10.0
    assert [rate.take(LAS), rate.take(LAS)] == [0, 10]
    now[0] = 1_000.0
    assert [rate.take(LAS) for _ in range(7)] == [0] * 6 + [10]  # what was not used is not saved up


def test_many_rows_at_once_are_let_through_and_waited_for_afterwards() -> None:
    now = [0.0]
    rate = Rate(60, lambda: now[0])
    assert [rate.take(LAS, 500), rate.take(LAS), rate.take(SIS)] == [0, 441, 0]
    now[0] = 441.0
    assert [rate.take(LAS, 500), rate.take(LAS, 500)] == [0, 500]


def test_a_flood_of_unknown_fields_is_answered_with_the_first_of_them() -> None:
    fields = Fields({f"x{number}": 1 for number in range(100_000)}, ("url",))
    with pytest.raises(Wrong) as refused:
        fields.check()
    assert len(refused.value.errors) == 20
    assert len(refused.value.en) < 2_000


def test_a_rate_forgets_who_asked_longest_ago() -> None:
    rate = Rate(1, lambda: 0.0)
    assert rate.take(LAS) == 0
    for number in range(MOST):
        rate.take(Oin(f"{number:020d}"))
    assert rate.take(LAS) == 0
    assert rate.take(Oin(f"{MOST - 1:020d}")) > 0


# -- keys ----------------------------------------------------------------------------------------------------------------------------------


def test_keys_differ_have_256_bits_and_are_called_by_a_part_of_their_digest() -> None:
    keys = {new_api_key() for _ in range(50)}
    assert len(keys) == 50 and all(SHAPE.match(key) for key in keys)
    key = keys.pop()
    assert len(digest_of(key)) == 32 and short(digest_of(key)) not in key


# -- looking up ----------------------------------------------------------------------------------------------------------------------------


def found(register: Register, receiver: str, **asked: Any) -> list[str]:
    version = register.dienst("vva", "1")
    assert version is not None
    return [row.id for row in lookup.endpoints_on(register, receiver=receiver, version=version, day=asked.pop("day", DAY), **asked)]


def switched() -> Register:
    """On 1 August another supplier takes the school over; the old one's endpoint was forgotten, and has no last day."""
    return chain(
        mandates=[
            {"organisation": VO, "dienst": "vva", "system": LAS, "until": "2027-07-31"},
            {"organisation": VO, "dienst": "vva", "system": OTHER_LAS, "from": "2027-08-01"},
        ],
        endpoints=[
            {"id": "old", "organisation": VO, "dienst": "vva", "versie": "1", "system": LAS, "mailbox": True},
            {"id": "new", "organisation": VO, "dienst": "vva", "versie": "1", "system": OTHER_LAS, "mailbox": True, "from": "2027-08-01"},
            {
                "id": "north",
                "organisation": VO,
                "routeringskenmerk": VO_NORTH,
                "dienst": "vva",
                "versie": "1",
                "system": LAS,
                "mailbox": True,
            },
            {"id": "own", "organisation": CENTRAAL, "dienst": "vva", "versie": "1", "system": CENTRAAL, "mailbox": True},
        ],
    )


def test_on_each_day_the_endpoint_of_whoever_has_the_mandate_is_found() -> None:
    register = switched()
    assert found(register, VO, day=date(2027, 7, 31)) == ["north", "old"]
    assert found(register, VO, day=date(2027, 8, 1)) == ["new"]
    assert found(register, VO_NORTH) == ["north"]
    assert found(register, VO, future=True) == ["north", "old", "new"]
    assert found(register, CENTRAAL) == ["own"]


def test_a_municipality_that_delegated_is_reached_where_its_region_is() -> None:
    delegation = {"id": "d", "municipality": UTRECHT, "dienst": "vva", "region": AMERSFOORT, "from": "2027-08-01"}
    mandate = {"dienst": "vva", "system": CIVIC}
    place = {"dienst": "vva", "versie": "1", "system": CIVIC, "mailbox": True}
    register = chain(
        delegations=[delegation],
        mandates=[{**mandate, "organisation": UTRECHT}, {**mandate, "organisation": AMERSFOORT}],
        endpoints=[{**place, "id": "own", "organisation": UTRECHT}, {**place, "id": "region", "organisation": AMERSFOORT}],
    )
    assert found(register, UTRECHT, day=date(2027, 7, 31)) == ["own"]
    assert found(register, UTRECHT, day=date(2027, 8, 1)) == ["region"]


def test_the_mandate_of_a_day_is_the_one_that_lasts_longest_and_a_revoked_one_is_none() -> None:
    days = {"organisation": VO, "dienst": "vva", "system": LAS}
    register = chain(mandates=[{**days, "until": "2027-12-31"}, {**days, "until": "2028-12-31"}, {**days, "revoked": True}], endpoints=[])
    row = lookup.mandate_on(register, school=VO_NORTH, system=LAS, dienst="vva", day=DAY)
    assert row is not None and row.until == date(2028, 12, 31)
    assert lookup.mandate_on(register, school=VO, system=LAS, dienst="vva", day=date(2029, 1, 1)) is None
    assert lookup.mandate_on(register, school=VO, system=OTHER_LAS, dienst="vva", day=DAY) is None
    assert lookup.mandate_on(register, school=MBO, system=SIS, dienst="vva", day=DAY) is None


# -- the desk ------------------------------------------------------------------------------------------------------------------------------


class Moving:
    """A book that moved so many times when it was to be changed; and the cache of it."""

    def __init__(self, times: int, register: Register) -> None:
        self.times, self._register = times, register
        self.changes: list[tuple[list[RowChange], dict[str, Any]]] = []

    def change(self, changes: list[RowChange], **more: Any) -> int:
        if self.times:
            self.times -= 1
            raise RegisterMoved(more["expected"], more["expected"] + 1)
        self.changes.append((changes, more))
        return 8

    def rows(self, _list: str, **_: Any) -> Iterator[dict[str, Any]]:
        return iter([])

    def newest(self) -> Register:
        return self._register

    known = newest


def desk(book: Any) -> RegisterDesk:
    return RegisterDesk(book, book, Clock(), may_call=lambda _: True)


OWN = NewEndpoint(namespace="urn:x-backbone:proef:1", url=None)
CALLER = Caller(system=CENTRAAL, key="1a2b3c4d")


def test_a_change_is_judged_again_when_somebody_else_was_first() -> None:
    book = Moving(3, chain())
    made = desk(book).add_endpoint(OWN, CALLER)
    ((changes, more),) = book.changes
    assert made.endpoint is not None and [change.key for change in changes] == [made.endpoint.id]
    assert (more["who"], more["why"], more["expected"]) == (f"system {CENTRAAL}, API key 1a2b3c4d", "POST /endpoints", 7)


def test_a_register_that_never_stands_still_is_our_failure() -> None:
    with pytest.raises(OurFailure):
        desk(Moving(TRIES, chain())).add_endpoint(OWN, CALLER)


def test_a_token_that_is_none_and_a_missing_one_are_told_apart() -> None:
    for caller, token, code in (
        (CALLER, "6a47bfdd-81a7-46cd-b41f-d907e91ebdfc", "UNKNOWN"),
        (Caller(system=LAS, key="x"), None, "NO_MANDATE"),
    ):
        book = Moving(0, chain())
        with pytest.raises(RuleBroken) as broken:
            desk(book).add_endpoint(NewEndpoint(namespace=OWN.namespace, mandate_token=token), caller)
        assert broken.value.code == code and not book.changes
