"""Bulk files: what is read, what is different before it is applied, and what each row of a supplier's file asks for."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from routing.register import Register, RegisterError, read_register
from routing.register_files import Bulk, FileError, asked, columns, differences, merged, read_file, write_csv
from routing.register_rows import FIELDS
from routing.register_rules import Actor, Role, RuleBroken, judge
from routing.register_wishes import AddEndpoint, ChangeEndpoint, EndMandate, GiveMandate, RevokeMandate
from tests.support.register import DOCUMENT, LAS, MBO, OTHER_LAS, SIS, UTRECHT, VO, VO_NORTH, chain, document, noon

TODAY = noon("2026-03-02").date()
MANDATES = [row | {"token": f"token-{n}"} for n, row in enumerate(DOCUMENT["mandates"])]
CURRENT: dict[str, Any] = chain(mandates=MANDATES).to_document()
SUPPLIER = Actor(Role.SUPPLIER, LAS)


def csv_(text: str, name: str = "endpoints.csv") -> Bulk:
    return read_file(name, text.encode())


def told(bulk: Bulk) -> list[str]:
    after = merged(CURRENT, bulk)
    return [one.in_words() for one in differences(CURRENT, read_register(after, version=8).to_document())]


def test_a_csv_of_one_list_adds_and_replaces_rows_and_leaves_all_others():
    text = f"organisation;dienst;system;from;until\n{VO};vva;{LAS};;2026-07-31\n{VO};vva;{OTHER_LAS};2026-08-01;\n"
    assert told(csv_(text, "mandates-2026.csv")) == [
        "~ mandates token-0: until 2026-07-31 (was -)",
        f"+ mandates : organisation {VO}, dienst vva, system {OTHER_LAS}, from 2026-08-01",
    ]


def test_a_json_document_is_the_whole_register_unless_its_rows_are_to_be_added():
    rows = json.dumps({"mandates": MANDATES[:1]})
    assert len(told(read_file("r.json", rows.encode(), add=True))) == 0
    whole = merged(CURRENT, read_file("r.json", json.dumps(document(mandates=MANDATES[:2])).encode()))
    assert [(one.list, one.key, one.after) for one in differences(CURRENT, read_register(whole, version=8).to_document())] == [
        ("mandates", "token-2", None)
    ]


def test_a_document_without_tokens_is_no_difference():
    assert told(read_file("register.json", json.dumps(DOCUMENT).encode())) == []


def test_of_two_mandates_with_the_same_days_each_keeps_its_own_token():
    again = [
        MANDATES[0] | {"token": "first", "revoked": True},
        MANDATES[0] | {"token": "second"},
        MANDATES[0] | {"token": "third", "revoked": True},
    ]
    current: Any = chain(mandates=again).to_document()
    bare = [{name: value for name, value in row.items() if name != "token"} for row in (again[1], again[0], again[2])]
    tokens = [row["token"] for row in merged(current, Bulk(document(mandates=bare), whole=True))["mandates"]]
    assert tokens == ["second", "first", "third"]


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_excels_files_are_read_with_their_mark_and_separator(delimiter: str):
    line = delimiter.join
    text = "\ufeff" + line(["organisation", "dienst", "versie", "system", "mailbox", "attributes", "at_once"]) + "\r\n"
    text += line([VO, "vva", "1", LAS, "ja", "LAS|proef", "4"]) + "\r\n" + line([""] * 7) + "\r\n"
    ((row,),) = csv_(text).rows.values()
    assert row == {
        "organisation": VO,
        "dienst": "vva",
        "versie": "1",
        "system": LAS,
        "mailbox": True,
        "attributes": ["LAS", "proef"],
        "at_once": 4,
    }


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"organisation,untill\n", "column 'untill' is not a field; endpoints has id, organisation"),
        (b"", "the first line must name each column once"),
        (b"id,id\n", "the first line must name each column once"),
        (b"id,url\nx\n", "row 1 (line 2) has 1 cells and the first line 2"),
        (b"id,mailbox\nx,perhaps\n", "endpoints.csv row 1 (line 2): mailbox must be true or false"),
        (b"id,at_once\nx,many\n", "at_once 'many' is not a number"),
        (b'id,url\n"x,y\n', "line 2"),
        (b"id\n\xff\n", "is not UTF-8 (byte 3)"),
    ],
)
def test_a_csv_that_cannot_be_read_says_where_and_what_to_do(content: bytes, words: str):
    with pytest.raises(FileError) as caught:
        read_file("endpoints.csv", content)
    assert words in str(caught.value)


def test_a_csv_of_no_list_is_asked_of_which_it_is():
    with pytest.raises(FileError, match="say --list"):
        read_file("export.csv", b"oin\n")
    assert read_file("export.csv", b"oin\n", list_name="boards").rows == {"boards": []}


def test_a_problem_names_the_row_of_the_file():
    text = f"organisation,dienst,versie,system,url\n{MBO},vva,1,{SIS},https://ok.example\n{MBO},vva,1,00000003000000000000,https://ok.example\n"
    with pytest.raises(RegisterError, match=r"endpoints row 2 \(.*system 00000003000000000000 is not in systems"):
        read_register(merged(CURRENT, csv_(text)), version=8)


@pytest.mark.parametrize("value", [None, 3, [], {"mandates": 3}, {"mandates": [3]}, {"mandates": [{"token": [], "organisation": {}}]}])
def test_whatever_stands_in_a_json_file_is_a_problem_and_no_defect(value: Any):
    after = merged(CURRENT, read_file("register.json", json.dumps(value).encode()))
    with pytest.raises(RegisterError):
        read_register(after, version=8)


@given(st.data())
def test_what_is_written_as_csv_is_read_back_the_same(data: st.DataObject):
    organisations = [
        *DOCUMENT["organisations"],
        {
            "oin": "00000001001234590000",
            "name": data.draw(st.text(st.characters(codec="utf-8", exclude_characters="\r\0"), min_size=1).map(str.strip).filter(bool)),
            "kind": "municipality",
            "gemeentecodes": [{"code": "0001", "from": "2026-01-01"}, {"code": "0002", "until": "2026-01-01"}, {"code": "0003"}],
        },
    ]
    rows = chain(organisations=organisations).to_document()
    for name in FIELDS:
        found = read_file(f"{name}.csv", write_csv(name, rows[name]).encode()).rows[name]  # type: ignore[arg-type]
        assert found == rows[name]


@pytest.mark.parametrize("name", FIELDS)
def test_every_field_of_a_list_has_a_column(name: str):
    assert set(columns(name)) == FIELDS[name]


# a supplier's file


def wishes(text: str, actor: Actor = SUPPLIER, name: str = "endpoints.csv", register: Register | None = None) -> list[Any]:
    found = list(asked(register or chain(mandates=MANDATES), actor, csv_(text, name)))
    return [one.wish or (one.problem.en if one.problem else None) for one in found]


def test_each_row_of_a_suppliers_file_is_a_wish_of_its_own():
    head = "organisation,routeringskenmerk,dienst,versie,url,mailbox,from,until\n"
    found = wishes(
        head
        + f"{VO},,vva,1,https://las.example/in,,,\n"
        + f",{VO_NORTH},vva,1,https://las.example/in,,2026-08-01,\n"
        + f"{VO},,vva,1,,true,,\n"
        + f"{VO},,vva,1,,,,\n"
        + f"{VO},,vva,1,https://las.example/in,,01-08-2026,\n"
    )
    change, add, same, neither, day = found
    assert isinstance(change, ChangeEndpoint) and change.url == "https://las.example/in"
    assert isinstance(add, AddEndpoint) and (add.organisation, add.system) == (VO, LAS)
    assert same is None
    assert "exactly one of url and mailbox" in neither
    assert "cannot be read" in day


def test_a_supplier_that_names_another_system_is_refused_by_the_rules_for_that_row():
    (wish,) = wishes(f"organisation,dienst,versie,system,mailbox\n{MBO},vva,1,{SIS},true\n")
    with pytest.raises(RuleBroken) as caught:
        judge(chain(), SUPPLIER, wish, TODAY)
    assert caught.value.code == "NOT_YOURS"


@pytest.mark.parametrize("value", [None, 3, [], {"endpoints": 3}])
def test_a_suppliers_json_without_rows_is_refused_as_a_whole(value: Any):
    with pytest.raises(FileError, match="lists of rows"):
        list(asked(chain(), SUPPLIER, read_file("endpoints.json", json.dumps(value).encode())))


@pytest.mark.parametrize(
    "row",
    [
        3,
        None,
        [],
        {"url": 3},
        {"id": []},
        {"id": 5, "mailbox": True},
        {"attributes": "LAS", "mailbox": True},
        {"attributes": [3]},
        {"organisation": VO, "dienst": "vva", "versie": "1", "mailbox": True, "from": "9"},
    ],
)
def test_whatever_a_suppliers_row_is_it_has_a_result(row: Any):
    (found,) = asked(chain(), SUPPLIER, read_file("endpoints.json", json.dumps({"endpoints": [row]}).encode()))
    assert found.number == 1 and found.wish is None and found.problem is not None


def test_a_personal_number_in_a_file_does_not_come_back_in_what_is_said_of_it():
    with pytest.raises(FileError, match=r"\[\*\*\*\*\*\*\*\*\*\]"):
        read_file("endpoints.csv", b"note 123456782\n")
    (said,) = wishes("organisation,dienst,versie,mailbox,from\n" + f"{VO},vva,1,ja,123456782\n")
    assert "123456782" not in said


def test_a_supplier_loads_endpoints_and_nothing_else():
    assert wishes(f"oin,name\n{UTRECHT},Mijn gemeente\n", name="organisations.csv") == [
        "As supplier you can load endpoints only, and no organisations."
    ]


def test_a_schools_file_gives_ends_and_revokes_mandates():
    head = "token,dienst,system,revoked,from,until\n"
    rows = (f",vva,{OTHER_LAS},,2026-08-01,", f"token-0,vva,{LAS},,,2026-07-31", f"token-0,vva,{LAS},true,,")
    text = head + "\n".join([*rows, f"nobody,vva,{LAS},,,", f"token-0,vva,{LAS},,,"])
    give, end, revoke, unknown, same = wishes(text, Actor(Role.ORGANISATION, VO), "mandates.csv")
    assert isinstance(give, GiveMandate) and isinstance(end, EndMandate) and isinstance(revoke, RevokeMandate)
    assert "there is no such mandate" in unknown and same is None
