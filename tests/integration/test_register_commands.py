"""`run.py register …` on a real store: what an operator types, and what a school, board or supplier may with `--as`."""

from __future__ import annotations

import json
import threading
from argparse import Namespace
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

import run
from adapters.store import Store, open_store
from routing.amsterdam import AMSTERDAM, amsterdam_day
from routing.register import Register, read_register
from routing.register_book import RowChange
from routing.register_rows import FIELDS
from routing.register_stored import follow
from routing.register_wishes import AddEndpoint, RuleBroken
from schemas.oin import Oin, school_oin
from tests.support.register import AMERSFOORT, CIVIC, DOCUMENT, LAS, MBO, OTHER_LAS, SIS, UTRECHT, VO, but, document
from tests.support.store import BOTH, fresh_url
from workers.clock import Clock, micros
from workers.register_work import Work, grant

TODAY = amsterdam_day(Clock().now())
NEXT_YEAR = TODAY.year + 1
JULY, AUGUST = date(NEXT_YEAR, 7, 31), date(NEXT_YEAR, 8, 1)
BOARD = Oin("00000003000000010000")
SECOND = school_oin("25MB")


@dataclass
class Typed:
    exit: int
    out: str
    err: str

    @property
    def words(self) -> str:
        """What was printed, on one line."""
        return " ".join(self.out.split())

    @property
    def json(self) -> Any:
        assert self.exit == 0, self.err
        return json.loads(self.out)


Type = Callable[..., Typed]


@pytest.fixture(params=BOTH)
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return fresh_url(request.param, tmp_path)


@pytest.fixture
def store(url: str) -> Any:
    opened = open_store(url)
    yield opened
    opened.close()


@pytest.fixture
def type_(url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Type:
    monkeypatch.setenv("KOPPELPUNT_STORE", url)
    monkeypatch.setenv("USER", "beheer")
    monkeypatch.delenv("SUDO_USER", raising=False)

    def call(*words: object) -> Typed:
        exit = run.main(["register", *map(str, words), "--home", str(tmp_path)])
        out, err = capsys.readouterr()
        return Typed(exit, out, err)

    return call


@pytest.fixture
def loaded(type_: Type, tmp_path: Path) -> Type:
    """The chain of tests.support.register, with a board of two schools and a dienst whose contract is there."""
    organisations = [
        *but(DOCUMENT["organisations"], 0, board=BOARD),
        {"oin": SECOND, "name": "Erasmus College", "kind": "school", "roles": ["vo"], "board": BOARD},
    ]
    file = tmp_path / "register.json"
    file.write_text(json.dumps(document(organisations=organisations, boards=[{"oin": BOARD, "name": "Stichting Rijn"}])))
    assert type_("load", file).exit == 0
    return type_


def token(type_: Type, organisation: str, system: str) -> str:
    rows = type_("export", "mandates", "--json").json
    return next(row["token"] for row in rows if (row["organisation"], row["system"]) == (organisation, system))


def old_endpoint() -> str:
    return f"{VO}/vva/1/{LAS}"


# changes


def test_a_supplier_switch_is_typed_by_the_school_and_the_supplier_and_shown_beforehand(loaded: Type, store: Store) -> None:
    end = loaded(
        "mandate",
        "end",
        "--organisation",
        "25BE",
        "--dienst",
        "vva",
        "--system",
        LAS,
        "--until",
        JULY,
        "--as",
        VO,
        "--why",
        "naar Klassenboek",
        "--json",
    )
    assert [(one["list"], one["after"]["until"]) for one in end.json["changes"]] == [("mandates", str(JULY)), ("endpoints", str(JULY))]
    loaded("mandate", "give", "--organisation", "25BE", "--dienst", "vva", "--system", OTHER_LAS, "--from", AUGUST, "--as", VO)
    plan = loaded("plan", "--from", AUGUST, "--organisation", "25BE")
    assert "! Messages vva 1 for Emmaus College no longer go to Leerlingwijzer (mailbox), and wait" in plan.words
    add = loaded(
        "endpoint",
        "add",
        "--organisation",
        "25BE",
        "--dienst",
        "vva",
        "--versie",
        "1",
        "--system",
        OTHER_LAS,
        "--mailbox",
        "--as",
        OTHER_LAS,
    )
    assert add.exit == 0, add.err
    plan = loaded("plan", "--from", AUGUST, "--organisation", VO)
    assert " Messages vva 1 for Emmaus College go from Leerlingwijzer (mailbox) to Klassenboek (mailbox)." in plan.words
    assert [(one["who"], one["why"]) for one in store.register.versions()[1:]] == [
        (f"operator beheer for organisation {VO}", "naar Klassenboek"),
        (f"operator beheer for organisation {VO}", "register mandate give"),
        (f"operator beheer for supplier {OTHER_LAS}", "register endpoint add"),
    ]


def test_what_the_rules_refuse_is_one_sentence_and_changes_nothing(loaded: Type, store: Store) -> None:
    before = store.register.newest()
    refused = loaded("endpoint", "end", old_endpoint(), "--until", JULY, "--as", OTHER_LAS)
    assert (refused.exit, refused.out) == (1, "")
    assert refused.err.startswith(f"koppelpunt: {old_endpoint()} is not of {OTHER_LAS}") and refused.err.count("\n") == 1
    assert store.register.newest() == before


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("mandate", "revoke", "nobody"), "There is no mandate nobody"),
        (("mandate", "revoke"), "Name the mandate by its token, or by"),
        (("mandate", "revoke", "--organisation", VO, "--dienst", "vva", "--system", SIS), "has 0 current or coming mandates"),
        (("mandate", "give", "--organisation", "1", "--dienst", "vva", "--system", SIS), "is not an OIN of 20 positions, nor a BRIN of 4"),
        (("mandate", "end", "x", "--until", "tomorrow"), "no mandate x"),
        (
            ("mandate", "give", "--organisation", VO, "--dienst", "vva", "--system", SIS, "--from", "1-8-2027"),
            "is not a day; write it as YYYY-MM-DD",
        ),
        (
            ("mandate", "give", "--organisation", VO, "--dienst", "vva", "--system", SIS, "--as", "00000003000000000000"),
            "is no board, organisation or system",
        ),
        (("endpoint", "change", f"{VO}/vva/1/{LAS}"), "Say what is to change"),
        (("endpoint", "change", f"{VO}/vva/1/{LAS}", "--url", "https://10.0.0.1/in"), "leads to a private or loopback address"),
        (("redivide", "--into", UTRECHT, "--day", AUGUST), "Say what changes"),
        (("history", "mandates", "nobody"), "There never was a row nobody"),
        (("history", "people", "x"), "has no list 'people'"),
        (("export", "people"), "has no list 'people'"),
        (("show", "--at", "yesterday"), "is not a moment"),
        (("plan", "--from", AUGUST, "--to", JULY), "lies before"),
        (("plan", "--organisation", "00000003000000000000"), "is no organisation in the register"),
        (("explain",), "Say what to explain"),
        (("explain", "--from", MBO), "go together"),
        (("explain", "--from", MBO, "--to", VO, "--dienst", "x", "--versie", "1"), "There is no dienst x 1"),
        (("explain", "--from", MBO, "--to", VO, "--dienst", "vva", "--versie", "1", "--bericht", "x"), "is none of"),
    ],
)
def test_what_cannot_be_meant_is_one_sentence_that_says_what_to_type(loaded: Type, words: tuple[object, ...], said: str) -> None:
    found = loaded(*words)
    assert (found.exit, found.out) == (1, "")
    assert said in found.err and found.err.count("\n") == 1


def test_a_dry_run_shows_the_change_and_makes_none(loaded: Type, store: Store) -> None:
    before = store.register.newest()
    found = loaded("mandate", "revoke", token(loaded, VO, LAS), "--dry-run")
    assert "This would change:" in found.words and "revoked true (was -)" in found.words
    assert store.register.newest() == before


def test_a_board_gives_a_mandate_for_its_schools_at_once(loaded: Type) -> None:
    found = loaded("mandate", "give", "--organisation", BOARD, "--dienst", "vva", "--system", OTHER_LAS, "--as", BOARD, "--json").json
    assert {one["after"]["organisation"] for one in found["changes"]} == {VO, SECOND}
    words = ("--organisation", BOARD, "--dienst", "vva", "--system", OTHER_LAS, "--until", JULY, "--as", BOARD)
    ended = loaded("mandate", "end", *words, "--json").json
    assert [one["after"]["until"] for one in ended["changes"]] == [str(JULY)] * 2


def test_a_systems_address_is_moved_once_for_all_its_schools(loaded: Type) -> None:
    loaded("endpoint", "change", old_endpoint(), "--url", "https://old.example/in")
    found = loaded(
        "endpoint",
        "move",
        "--system",
        LAS,
        "--old",
        "https://old.example/in",
        "--new",
        "https://new.example/in",
        "--day",
        AUGUST,
        "--as",
        LAS,
    )
    assert f"~ endpoints {old_endpoint()}: until {JULY} (was -)" in found.words
    assert "url https://new.example/in" in found.words


def test_municipalities_delegate_and_are_redivided(loaded: Type) -> None:
    assert (
        loaded(
            "delegation", "give", "--municipality", UTRECHT, "--dienst", "vva", "--region", AMERSFOORT, "--from", AUGUST, "--as", UTRECHT
        ).exit
        == 0
    )
    assert loaded("delegation", "end", f"{UTRECHT}/vva/{AUGUST}", "--until", AUGUST).exit == 0
    january = date(NEXT_YEAR + 1, 1, 1)
    found = loaded("redivide", "--ended", UTRECHT, "--into", AMERSFOORT, "--day", january, "--code", "0344")
    assert found.exit == 0, found.err
    assert f"{january}" in loaded("plan", "--from", january).out
    assert "Gemeentecode 0344 is that of Gemeente Amersfoort." in loaded("plan", "--from", january).words


def test_of_two_who_want_the_same_place_at_the_same_moment_one_gets_it_and_the_other_hears_whose_it_is(loaded: Type, store: Store) -> None:
    """Both judge by the same version; the store makes the change of one, and the other is judged again."""
    loaded("endpoint", "end", old_endpoint(), "--until", TODAY)
    for system in (SIS, CIVIC):
        loaded("mandate", "give", "--organisation", VO, "--dienst", "vva", "--system", system)
    both_have_judged = threading.Barrier(2)

    def work() -> Work:
        waited = iter((True, False))

        def register_at(version: int) -> Register:
            found = follow(store.register, read_register({}, version=0), version)
            if next(waited, False):
                both_have_judged.wait(20)
            return found

        return Work(book=store.register, register_at=register_at, who="t", now=Clock().now, may_call=lambda _: True)

    def add(system: Oin) -> object:
        start = TODAY + timedelta(days=1)
        wish = AddEndpoint(organisation=VO, dienst="vva", versie="1", system=system, start=start)
        given = Namespace(acting_as=system, dry_run=False, json=True, why="race", what="endpoint", how="add")
        try:
            return grant(given, work(), lambda _: wish)
        except RuleBroken as broken:
            return broken.code, (broken.row or "").split("/")[3]

    with ThreadPoolExecutor(2) as threads:
        told = list(threads.map(add, (SIS, CIVIC)))
    (winner,) = [row["system"] for row in store.register.rows("endpoints", organisation=VO) if row.get("from")]
    assert sorted(told, key=str) == [("OVERLAP", winner), 0]


# as of


def test_what_the_register_said_at_a_moment_has_one_answer(loaded: Type, store: Store) -> None:
    key = token(loaded, VO, LAS)
    row = store.register.rows("mandates", key=key)[0]
    two, three = datetime(2026, 2, 1, 14, 2, tzinfo=AMSTERDAM), datetime(2026, 2, 1, 14, 4, tzinfo=AMSTERDAM)
    _move_back(store, two)
    changed = RowChange("mandates", key, row | {"until": "2026-07-31"})
    store.register.change([changed], who="op", why="einde contract", now_us=micros(three))
    shown = [loaded("show", "mandates", "--find", VO, "--at", f"2026-02-01T14:0{minute}", "--json").json for minute in (1, 3, 4)]
    assert [[row["when"] for row in rows] for rows in shown] == [[], ["current"], ["until 2026-07-31"]]
    assert (
        loaded("show", "mandates", "--find", VO, "--at", "2026-02-01T14:04", "--on", "2026-08-01", "--json").json[0]["when"]
        == "ended 2026-07-31"
    )
    told = loaded("history", "mandates", key)
    assert "2026-02-01T13:04:00+00:00 op: einde contract ~ mandates" in told.words and "until 2026-07-31 (was -)" in told.words
    assert [change["version"] for change in loaded("history", "mandates", key, "--json").json] == [1, 2]


def _move_back(store: Store, moment: datetime) -> None:
    """As if the first version had been made then."""
    with store.database.write() as tx:
        tx.execute(text("UPDATE register_version SET at_us = :at"), {"at": micros(moment)})


def test_explain_answers_for_two_parties_with_the_routers_own_words(loaded: Type) -> None:
    words = ("explain", "--from", "04XY", "--to", "25BE", "--dienst", "vva", "--versie", "1")
    sender, where = loaded(*words, "--json").json
    assert (sender["rule"], where["rule"], where["inputs"]["system"]) == ("mandate", "endpoint", LAS)
    loaded("mandate", "end", "--organisation", "25BE", "--dienst", "vva", "--system", LAS, "--until", JULY)
    assert loaded(*words).exit == loaded(*words, "--at", JULY).exit == 0
    later = loaded(*words, "--at", AUGUST)
    assert later.exit == 1 and "ROUTE_NO_ENDPOINT" in later.out
    assert loaded(*words, "--system", OTHER_LAS).exit == 1
    assert loaded("explain", "--system", LAS, "--dienst", "vva", "--versie", "1", "--as-of", AUGUST).exit == 1


# files


def test_a_csv_is_shown_first_and_then_loaded_whole(loaded: Type, store: Store, tmp_path: Path) -> None:
    file = tmp_path / "endpoints.csv"
    file.write_text(
        f"organisation;dienst;versie;system;url\n{MBO};vva;1;{SIS};https://sis.example/in\n{VO};vva;1;{LAS};https://las.example/in\n"
    )
    before = store.register.newest()
    diff = loaded("diff", file)
    assert f"~ endpoints {old_endpoint()}: mailbox - (was true), url https://las.example/in (was -)" in diff.words
    assert f"+ endpoints {MBO}/vva/1/{SIS}" in diff.words and store.register.newest() == before
    assert len(loaded("diff", file, "--json").json["changes"]) == 2
    assert loaded("load", file, "--why", "nieuwe adressen", "--json").json["changes"] == 2
    assert store.register.versions(before)[0]["why"] == "nieuwe adressen"
    assert "nothing is different" in loaded("diff", file).out


def test_one_wrong_row_leaves_an_operators_file_unloaded(loaded: Type, store: Store, tmp_path: Path) -> None:
    file = tmp_path / "mandates.csv"
    file.write_text(f"organisation,dienst,system\n{MBO},vva,{LAS}\n{MBO},vva,00000003000000000000\n")
    before = store.register.newest()
    found = loaded("load", file)
    assert found.exit == 1 and "mandates row 2 (" in found.err and "is not in systems" in found.err
    assert store.register.newest() == before


def test_a_suppliers_file_has_a_result_for_each_row(loaded: Type, tmp_path: Path) -> None:
    file = tmp_path / "endpoints.csv"
    rows = (f"{VO},vva,1,https://las.example/in", f"{MBO},vva,1,https://las.example/in", f"{VO},vva,1,https://10.0.0.1/in")
    file.write_text("organisation,dienst,versie,url\n" + "\n".join(rows))
    found = loaded("load", file, "--as", LAS, "--json")
    told = json.loads(found.out)
    assert (found.exit, told["refused"]) == (1, 2)
    assert [(row["row"], row["result"].partition(" in ")[0], row.get("code")) for row in told["rows"]] == [
        (1, "done", None),
        (2, "refused", "NO_MANDATE"),
        (3, "refused", "WRONG"),
    ]
    assert "3 rows, 2 refused." in loaded("diff", file, "--as", LAS).out


def test_what_is_exported_is_no_difference_when_it_is_loaded(loaded: Type, tmp_path: Path) -> None:
    whole = tmp_path / "whole.json"
    assert loaded("export", "-o", whole).exit == 0
    assert "nothing is different" in loaded("diff", whole).out
    for name in FIELDS:
        file = tmp_path / f"{name}.csv"
        assert loaded("export", name, "-o", file).exit == 0
        assert "nothing is different" in loaded("diff", file).out, name


# lists


def test_what_is_amiss_is_listed(loaded: Type, store: Store) -> None:
    soon = TODAY + timedelta(days=5)
    loaded("mandate", "end", "--organisation", "25BE", "--dienst", "vva", "--system", LAS, "--until", soon)
    found = loaded("lists", "--days", "0", "--json").json
    assert [(row["organisation"], row["system"]) for row in found["no-endpoint"]] == [(MBO, SIS)]
    assert {(row["list"], row["within"], row["followed"]) for row in found["ending"]} == {("mandates", 7, False), ("endpoints", 7, False)}
    assert CIVIC in {row["system"] for row in found["unused"]}
    assert found["no-mandate"] == []
    told = loaded("lists", "ending", "--organisation", VO).words
    assert f"{soon} (within 7 days) mandate {VO} vva by {LAS}: nobody follows" in told
