"""The pages of the service register: what each party finds there, what it may change, and that nothing else is shown or changed."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from routing.people import Role, digest_of, new_account, new_secret
from routing.register_book import RowChange
from tests.integration.test_portal_process import _Home
from tests.support.portal import Browser
from tests.support.register_pages import (
    ADDRESS,
    BOARD,
    CENTRAAL,
    DOCUMENT,
    EMMAUS,
    KLASSEN,
    LARGE,
    LINDE,
    MANY,
    RIVAL,
    STICHT,
    UTRECHT,
    WIJZER,
    ZUIDER,
    RegisterPages,
    an_endpoint,
    register_pages,
)
from tests.support.store import NOW, run_sql
from workers.clock import Clock

AUGUST = "vanaf=2026-08-01&tot=2026-08-01"


@pytest.fixture(scope="module")
def looked_at(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RegisterPages]:
    """For tests that change nothing."""
    with register_pages(tmp_path_factory.mktemp("register")) as running:
        yield running


@pytest.fixture
def portal(tmp_path: Path) -> Iterator[RegisterPages]:
    with register_pages(tmp_path) as running:
        yield running


def text_of(answer: Any) -> str:
    """The words of a page."""
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", answer.text)).split())


def propose(browser: Browser, what: str, **fields: str) -> Any:
    """A form sent: the preview, or the form again with what is wrong."""
    return browser.submit(f"/register/wens/{what}", page="/register/plan", **fields)


def make(browser: Browser, preview: Any, why: str = "naar Klassenboek") -> Any:
    """The preview confirmed."""
    assert "/register/voorstel/" in preview.url, text_of(preview)
    seen = re.search(r'name="gezien" value="([^"]+)"', preview.text)
    assert seen
    return browser.submit(urlsplit(preview.url).path, gezien=seen.group(1), waarom=why)


def rows(portal: RegisterPages, list: str, **filters: Any) -> dict[str, dict[str, Any]]:
    return {row.get("token") or row["id"]: row for row in portal.store.register.rows(list, **filters)}


# -- looking -------------------------------------------------------------------------------------------------------------------------------

#: Path -> who finds it (and something on it); everybody else of PARTIES hears that there is no such page.
PAGES: dict[str, tuple[tuple[str, ...], str]] = {
    f"/register/organisatie/{EMMAUS}": (("emmaus", "bestuur"), "Leerlingwijzer"),
    f"/register/organisatie/{ZUIDER}": (("bestuur",), "Leerlingwijzer"),
    f"/register/organisatie/{BOARD}": (("bestuur",), "Zuiderlyceum"),
    f"/register/organisatie/{LINDE}": ((), "Rivaal"),
    f"/register/organisatie/{UTRECHT}": (("utrecht",), "Stichtse Vecht"),
    f"/register/organisatie/{STICHT}": (("sticht",), "Gemeente Utrecht"),
    f"/register/organisatie/{CENTRAAL}": (("centraal",), "portaal.example"),
    f"/register/systeem/{WIJZER}": (("wijzer",), "Zuiderlyceum"),
    f"/register/systeem/{KLASSEN}": (("klassen",), "Emmaus College"),
    f"/register/systeem/{RIVAL}": ((), "De Linde"),
    f"/register/systeem/{LARGE}": (("breed",), "School 10AZ"),
    f"/register/systeem/{CENTRAAL}?lijst=endpoints": (("centraal",), "portaal.example"),
    "/register/geschiedenis/mandates/m-emmaus-oud": (("emmaus", "bestuur", "wijzer"), "Leerlingwijzer"),
    "/register/geschiedenis/mandates/m-emmaus-nieuw": (("emmaus", "bestuur", "klassen"), "Klassenboek"),
    "/register/geschiedenis/mandates/m-linde": ((), "De Linde"),
    "/register/geschiedenis/endpoints/e-zuider": (("bestuur", "wijzer"), "Zuiderlyceum"),
    "/register/geschiedenis/endpoints/e-linde": ((), "De Linde"),
    "/register/geschiedenis/delegations/d-sticht": (("utrecht", "sticht"), "Gemeente Utrecht"),
    "/register/geschiedenis/delegations/d-andere": (("centraal",), "Gemeente Andere"),
    f"/register/geschiedenis/organisations/{EMMAUS}": (("emmaus", "bestuur"), "Emmaus College"),
    f"/register/geschiedenis/systems/{WIJZER}": (("wijzer",), "Leerlingwijzer"),
    f"/register/plan?van-wie={EMMAUS}&{AUGUST}": (("emmaus", "bestuur"), "Klassenboek"),
    f"/register/plan?van-wie={WIJZER}&{AUGUST}": (("wijzer",), "Emmaus College"),
}
PARTIES = ("emmaus", "bestuur", "wijzer", "klassen", "breed", "utrecht", "sticht", "centraal")


@pytest.mark.parametrize("path", PAGES)
def test_a_page_is_there_for_those_whose_rows_it_shows_and_for_nobody_else(looked_at: RegisterPages, path: str) -> None:
    whose, there = PAGES[path]
    for who in (*PARTIES, "anna", "olga", "rina", "adam"):
        answer = looked_at.signed_in(who).get(path)
        if who in whose or who not in PARTIES:
            assert answer.status_code == 200, who
            assert there in answer.text, who
        else:
            assert answer.status_code == 404, who
            assert there not in answer.text, who


@pytest.mark.parametrize(("who", "others"), [("wijzer", ("Rivaal", "De Linde", "School 10AZ")), ("klassen", ("Zuiderlyceum", "De Linde"))])
def test_a_supplier_finds_its_own_schools_in_every_list_and_nobody_elses(
    looked_at: RegisterPages, who: str, others: tuple[str, ...]
) -> None:
    system = {"wijzer": WIJZER, "klassen": KLASSEN}[who]
    browser = looked_at.signed_in(who)
    for path in (
        "/register?zoek=e",
        f"/register/plan?{AUGUST}",
        *(f"/register/systeem/{system}?lijst={name}" for name in ("mandaten", "endpoints", "zonder-endpoint", "ongebruikt")),
    ):
        answer = browser.get(path)
        assert answer.status_code == 200
        for name in others:
            assert name not in answer.text, path


def test_a_school_sees_its_mandates_where_it_receives_and_what_is_missing_from_1_august(looked_at: RegisterPages) -> None:
    answer = looked_at.signed_in("emmaus").get("/register")
    assert urlsplit(answer.url).path == f"/register/organisatie/{EMMAUS}", "its own page at once"
    said = text_of(answer)
    assert ADDRESS in said
    assert "Geen endpoint vanaf za 1 aug" in said, "the new system has recorded none yet"


def test_a_board_finds_its_schools(looked_at: RegisterPages) -> None:
    said = text_of(looked_at.signed_in("bestuur").get("/register"))
    for name in ("Stichting De Vecht", "Emmaus College", "Zuiderlyceum"):
        assert name in said
    assert "De Linde" not in said


def test_what_changes_on_1_august_says_who_receives_and_what_will_wait(looked_at: RegisterPages) -> None:
    said = text_of(looked_at.signed_in("emmaus").get(f"/register/plan?{AUGUST}"))
    assert "Emmaus College machtigt Klassenboek voor vva." in said
    assert "Berichten wachten" in said
    looked_at.signed_in("emmaus")
    quiet = text_of(looked_at.signed_in("emmaus").get("/register/plan?vanaf=2026-03-01&tot=2026-03-31"))
    assert "begint of eindigt er niets" in quiet


def test_a_plan_of_the_whole_register_is_for_those_who_see_it_all(looked_at: RegisterPages) -> None:
    assert "Emmaus College machtigt" in text_of(looked_at.signed_in("anna").get(f"/register/plan?{AUGUST}"))
    assert "Emmaus College machtigt" not in text_of(looked_at.signed_in("breed").get(f"/register/plan?{AUGUST}"))


def test_a_large_suppliers_schools_come_in_pages_and_are_found_by_name(looked_at: RegisterPages) -> None:
    browser = looked_at.signed_in("breed")
    path = f"/register/systeem/{LARGE}"
    pages = [set(re.findall(r"School \d\d[A-Z]Z", text_of(browser.get(f"{path}?blad={number}")))) for number in (1, 2, 3)]
    assert [len(page) for page in pages] == [50, 50, 30]
    assert len(set().union(*pages)) == len(MANY)
    found = text_of(browser.get(f"{path}?zoek={MANY[70][11:15]}"))
    assert re.findall(r"School \d\d[A-Z]Z", found)
    assert set(re.findall(r"School (\d\d[A-Z]Z)", found)) == {MANY[70][11:15]}


def test_mandates_without_an_endpoint_are_a_list(looked_at: RegisterPages) -> None:
    answer = looked_at.signed_in("breed").get(f"/register/systeem/{LARGE}?lijst=zonder-endpoint")
    assert set(re.findall(r"School (\d\d[A-Z]Z)", text_of(answer))) == {oin[11:15] for oin in MANY[-2:]}


def test_an_endpoint_is_unused_until_something_for_its_school_went_there(portal: RegisterPages) -> None:
    path = f"/register/systeem/{WIJZER}?lijst=ongebruikt"
    assert "Zuiderlyceum" in text_of(portal.signed_in("wijzer").get(path))
    run_sql(
        portal.store,
        "INSERT INTO season (year, dienst, bericht, side, organisation, system, n, first_us, last_us) "
        f"VALUES (2025, 'vva', 'b', 'to', '{ZUIDER}', '{WIJZER}', 1, {NOW}, {NOW})",
    )
    assert "Zuiderlyceum" not in text_of(portal.signed_in("wijzer").get(path))


@pytest.mark.parametrize(
    "query", ["kennis=gisteren", "kennis=9999-12-31T23:59Z", "dag=2026-13-01", "dag=0001-01-01", "dag=9999-12-31", "lijst=alles"]
)
def test_an_address_that_cannot_be_is_refused(looked_at: RegisterPages, query: str) -> None:
    assert looked_at.signed_in("wijzer").get(f"/register/systeem/{WIJZER}?{query}").status_code == 400


# -- changing ------------------------------------------------------------------------------------------------------------------------------


def test_a_school_that_ends_a_mandate_sees_first_which_endpoints_end_with_it(portal: RegisterPages) -> None:
    browser = portal.signed_in("emmaus")
    before = portal.store.register.newest()
    preview = propose(browser, "mandaat-beeindigen", mandaat="m-emmaus-oud", tot="2026-06-30")
    said = text_of(preview)
    assert "Endpoint e-emmaus eindigt op 30-06-2026." in said
    assert "Endpoint e-emmaus-noord eindigt op 30-06-2026." in said
    assert "Er is nog niets gebeurd" in said
    assert portal.store.register.newest() == before, "looking changes nothing"

    done = make(browser, preview)
    assert "De laatste dag van het mandaat is vastgelegd" in text_of(done)
    assert rows(portal, "mandates", organisation=EMMAUS)["m-emmaus-oud"]["until"] == "2026-06-30"
    assert {row["until"] for row in rows(portal, "endpoints", organisation=EMMAUS).values()} == {"2026-06-30"}
    last = portal.store.register.history("mandates", "m-emmaus-oud")[-1]
    assert (last["who"], last["why"]) == (f"emmaus for organisation {EMMAUS}", "naar Klassenboek")


def test_a_switch_on_1_august_from_the_schools_side_to_the_new_suppliers(portal: RegisterPages) -> None:
    school = portal.signed_in("emmaus")
    make(school, propose(school, "mandaat-geven", organisatie=EMMAUS, dienst="proef", systeem=WIJZER, vanaf="2026-08-01"))
    new = portal.signed_in("klassen")
    assert "Geen endpoint" in text_of(new.get("/register"))
    fields = {"ontvanger": "25BE", "dienstversie": "vva 1", "systeem": KLASSEN, "vanaf": "2026-08-01", "adres": "https://boek.example/in"}
    make(new, propose(new, "endpoint-toevoegen", **fields), why="klaar voor 1 augustus")
    assert "Berichten vva 1 voor Emmaus College" in text_of(school.get(f"/register/plan?{AUGUST}"))
    assert "https://boek.example/in" in text_of(school.get(f"/register/organisatie/{EMMAUS}"))


def test_a_board_gives_and_ends_for_all_its_schools(portal: RegisterPages) -> None:
    browser = portal.signed_in("bestuur")
    preview = propose(browser, "mandaat-geven", organisatie=BOARD, dienst="proef", systeem=KLASSEN, vanaf="2026-08-01")
    assert "Emmaus College heeft dit mandaat al" in text_of(preview)
    make(browser, preview)
    assert rows(portal, "mandates", organisation=ZUIDER, dienst="proef")
    make(browser, propose(browser, "mandaten-beeindigen", organisatie=BOARD, dienst="vva", systeem=WIJZER, tot="2026-05-31"))
    found = rows(portal, "mandates", system=WIJZER, dienst="vva")
    assert {row["until"] for row in found.values()} == {"2026-05-31"}
    assert portal.store.register.history("mandates", "m-zuider")[-1]["who"] == f"bestuur for board {BOARD}"


def test_a_supplier_moves_an_address_from_a_day_on_for_all_its_schools(portal: RegisterPages) -> None:
    browser = portal.signed_in("breed")
    old, new = "https://breed.example/vva", "https://nieuw.example/vva"
    preview = propose(browser, "adres-verhuizen", systeem=LARGE, oud=old, nieuw=new, dag="2026-03-01")
    assert "en nog" in text_of(preview), "a hundred are named, the rest counted"
    make(browser, preview)
    places = {row["url"] for row in rows(portal, "endpoints", system=LARGE).values() if row.get("from") == "2026-03-01"}
    assert places == {new}


def test_an_endpoint_is_changed_from_a_day_on_and_only_in_what_was_changed(portal: RegisterPages) -> None:
    browser = portal.signed_in("wijzer")
    form = browser.get("/register/wens/endpoint-wijzigen?endpoint=e-zuider")
    assert f'value="{ADDRESS}"' in form.text, "filled in as it is"
    nothing = propose(browser, "endpoint-wijzigen", endpoint="e-zuider", adres=ADDRESS)
    assert nothing.status_code == 422
    assert "Er is niets gewijzigd" in text_of(nothing)
    make(browser, propose(browser, "endpoint-wijzigen", endpoint="e-zuider", adres="", dag="2026-03-01"))
    found = rows(portal, "endpoints", organisation=ZUIDER)
    assert found["e-zuider"]["until"] == "2026-02-28"
    assert [row.get("from") for row in found.values() if row.get("mailbox")] == ["2026-03-01"]


def test_a_municipality_delegates_and_takes_it_back(portal: RegisterPages) -> None:
    browser = portal.signed_in("utrecht")
    make(browser, propose(browser, "delegatie-geven", organisatie=UTRECHT, dienst="proef", regio=CENTRAAL, vanaf="2026-02-01"))
    (made,) = [row for row in rows(portal, "delegations").values() if row["municipality"] == UTRECHT]
    make(browser, propose(browser, "delegatie-beeindigen", delegatie=made["id"], tot="2026-01-20"))
    assert not [row for row in rows(portal, "delegations").values() if row["municipality"] == UTRECHT], "it had not begun"


def test_an_operator_changes_everybodys_and_the_register_says_that_it_was_the_operator(portal: RegisterPages) -> None:
    browser = portal.signed_in("olga")
    make(browser, propose(browser, "mandaat-intrekken", mandaat="m-linde"), why="aangifte 12")
    assert rows(portal, "mandates", organisation=LINDE)["m-linde"]["revoked"] is True
    assert portal.store.register.history("mandates", "m-linde")[-1]["who"] == "olga"


def test_the_same_change_is_made_once_and_another_one_than_was_shown_never(portal: RegisterPages) -> None:
    browser = portal.signed_in("emmaus")
    preview = propose(browser, "mandaat-beeindigen", mandaat="m-emmaus-oud", tot="2026-06-30")
    again = an_endpoint(EMMAUS, WIJZER, "e-emmaus", until="2026-05-31")
    portal.store.register.change([RowChange("endpoints", "e-emmaus", again)], who="olga", why="intussen", now_us=NOW)
    moved = make(browser, preview)
    assert moved.status_code == 409
    assert "intussen gewijzigd" in text_of(moved)
    assert rows(portal, "mandates", organisation=EMMAUS)["m-emmaus-oud"]["until"] == "2026-07-31"

    seen = re.search(r'name="gezien" value="([^"]+)"', moved.text)
    assert seen
    path = urlsplit(preview.url).path
    browser.submit(path, page="/register/plan", gezien=seen.group(1), waarom="nu wel")
    assert rows(portal, "mandates", organisation=EMMAUS)["m-emmaus-oud"]["until"] == "2026-06-30"
    version = portal.store.register.newest()
    assert browser.submit(path, page="/register/plan", gezien=seen.group(1), waarom="nog eens").status_code == 404
    assert portal.store.register.newest() == version


def test_another_change_meanwhile_that_is_about_others_is_no_reason_to_look_again(portal: RegisterPages) -> None:
    browser = portal.signed_in("emmaus")
    preview = propose(browser, "mandaat-beeindigen", mandaat="m-emmaus-oud", tot="2026-06-30")
    row = an_endpoint(LINDE, RIVAL, "e-linde", url="https://elders.example/in")
    portal.store.register.change([RowChange("endpoints", "e-linde", row)], who="olga", why="anders", now_us=NOW)
    make(browser, preview)
    assert rows(portal, "mandates", organisation=EMMAUS)["m-emmaus-oud"]["until"] == "2026-06-30"


@pytest.mark.parametrize("why", ["", "   ", "leerling 999990019"])
def test_without_a_reason_or_with_a_personal_number_in_it_nothing_is_made(portal: RegisterPages, why: str) -> None:
    browser = portal.signed_in("emmaus")
    version = portal.store.register.newest()
    answer = make(browser, propose(browser, "mandaat-beeindigen", mandaat="m-emmaus-oud", tot="2026-06-30"), why=why)
    assert answer.status_code == 409
    assert 'role="alert"' in answer.text
    assert portal.store.register.newest() == version


@pytest.mark.parametrize(("language", "sentence", "conflict"), [
    ("nl", "Er is al een endpoint van", "Dit staat in de weg"),
    ("en", "There is an endpoint of", "This is in the way"),
])  # fmt: skip
def test_a_refusal_is_a_sentence_in_the_readers_language_with_the_row_in_the_way(
    portal: RegisterPages, language: str, sentence: str, conflict: str
) -> None:
    browser = portal.signed_in("wijzer")
    browser.get(f"/?taal={language}")
    fields = {"ontvanger": "26AA", "dienstversie": "vva 1", "systeem": WIJZER, "adres": "https://twee.example/in"}
    answer = propose(browser, "endpoint-toevoegen", **fields)
    assert answer.status_code == 409
    assert sentence in text_of(answer)
    assert conflict in text_of(answer)
    assert "/register/geschiedenis/endpoints/e-zuider" in answer.text
    assert 'value="https://twee.example/in"' in answer.text, "what was filled in is still there"


def test_a_row_of_somebody_else_that_is_in_the_way_is_named_and_not_shown(portal: RegisterPages) -> None:
    school = portal.signed_in("emmaus")
    make(school, propose(school, "mandaat-geven", organisatie=EMMAUS, dienst="vva", systeem=LARGE))
    answer = propose(portal.signed_in("breed"), "endpoint-toevoegen", ontvanger=EMMAUS, dienstversie="vva 1", systeem=LARGE)
    assert answer.status_code == 409
    assert "e-emmaus" in text_of(answer), "as the API names it"
    assert "Dit staat in de weg" not in text_of(answer)


@pytest.mark.parametrize(("what", "fields", "field"), [
    ("mandaat-geven", {"organisatie": EMMAUS, "dienst": "vva", "systeem": ""}, "systeem"),
    ("mandaat-geven", {"organisatie": EMMAUS, "dienst": "vva", "systeem": WIJZER, "tot": "31-07-2026"}, "tot"),
    ("mandaat-beeindigen", {"mandaat": "m-emmaus-oud", "tot": ""}, "tot"),
    ("mandaat-beeindigen", {"mandaat": "m-emmaus-oud", "tot": "20260731"}, "tot"),
    ("mandaat-beeindigen", {"mandaat": "m-emmaus-oud", "tot": "0001-01-01"}, "tot"),
])  # fmt: skip
def test_a_field_that_cannot_be_so_is_marked_and_the_rest_kept(
    looked_at: RegisterPages, what: str, fields: dict[str, str], field: str
) -> None:
    answer = propose(looked_at.signed_in("emmaus"), what, **fields)
    assert answer.status_code == 422
    assert re.search(rf'name="{field}"[^>]*aria-invalid="true"', answer.text)


#: Who, what, with which fields -> the answer: 200 a preview, 404 not theirs, 403 their role changes nothing, 409 the rules say no.
TRIES: list[tuple[str, str, dict[str, str], int]] = [
    ("emmaus", "mandaat-beeindigen", {"mandaat": "m-emmaus-oud", "tot": "2026-06-30"}, 200),
    ("emmaus", "mandaat-beeindigen", {"mandaat": "m-zuider", "tot": "2026-06-30"}, 404),
    ("emmaus", "mandaat-intrekken", {"mandaat": "m-linde"}, 404),
    ("emmaus", "mandaat-geven", {"organisatie": ZUIDER, "dienst": "vva", "systeem": KLASSEN}, 404),
    ("emmaus", "mandaat-geven", {"organisatie": BOARD, "dienst": "vva", "systeem": KLASSEN}, 404),
    ("emmaus", "mandaten-beeindigen", {"organisatie": BOARD, "dienst": "vva", "systeem": WIJZER, "tot": "2026-06-30"}, 404),
    ("emmaus", "endpoint-beeindigen", {"endpoint": "e-emmaus", "tot": "2026-06-30"}, 409),
    ("emmaus", "endpoint-wijzigen", {"endpoint": "e-zuider", "adres": "https://x.example/in"}, 404),
    ("emmaus", "endpoint-toevoegen", {"ontvanger": EMMAUS, "dienstversie": "vva 1", "systeem": WIJZER}, 404),
    ("emmaus", "delegatie-geven", {"organisatie": UTRECHT, "dienst": "vva", "regio": STICHT}, 404),
    ("bestuur", "mandaat-beeindigen", {"mandaat": "m-zuider", "tot": "2026-06-30"}, 200),
    ("bestuur", "mandaat-geven", {"organisatie": ZUIDER, "dienst": "proef", "systeem": KLASSEN}, 200),
    ("bestuur", "mandaat-geven", {"organisatie": LINDE, "dienst": "proef", "systeem": KLASSEN}, 404),
    ("wijzer", "mandaat-beeindigen", {"mandaat": "m-zuider", "tot": "2026-06-30"}, 409),
    ("wijzer", "mandaat-intrekken", {"mandaat": "m-emmaus-nieuw"}, 404),
    ("wijzer", "mandaat-geven", {"organisatie": ZUIDER, "dienst": "proef", "systeem": WIJZER}, 404),
    ("wijzer", "endpoint-beeindigen", {"endpoint": "e-zuider", "tot": "2026-06-30"}, 200),
    ("wijzer", "endpoint-beeindigen", {"endpoint": "e-linde", "tot": "2026-06-30"}, 404),
    ("wijzer", "endpoint-wijzigen", {"endpoint": "e-linde", "adres": "https://x.example/in"}, 404),
    ("wijzer", "endpoint-wijzigen", {"endpoint": "e-zuider", "adres": "https://127.0.0.1/in"}, 409),
    ("wijzer", "endpoint-wijzigen", {"endpoint": "e-zuider", "adres": "http://x.example/in"}, 409),
    ("wijzer", "endpoint-toevoegen", {"ontvanger": LINDE, "dienstversie": "vva 1", "systeem": WIJZER}, 409),
    ("wijzer", "endpoint-toevoegen", {"ontvanger": LINDE, "dienstversie": "vva 1", "systeem": RIVAL}, 404),
    ("wijzer", "adres-verhuizen", {"systeem": RIVAL, "oud": "https://rivaal.example/in", "nieuw": "", "dag": "2026-03-01"}, 404),
    ("wijzer", "adres-verhuizen", {"systeem": WIJZER, "oud": ADDRESS, "nieuw": "", "dag": "2026-01-01"}, 409),
    ("sticht", "delegatie-beeindigen", {"delegatie": "d-sticht", "tot": "2026-06-30"}, 200),
    ("utrecht", "delegatie-beeindigen", {"delegatie": "d-sticht", "tot": "2026-06-30"}, 409),
    ("utrecht", "delegatie-beeindigen", {"delegatie": "d-andere", "tot": "2026-06-30"}, 404),
    ("utrecht", "endpoint-beeindigen", {"endpoint": "e-utrecht", "tot": "2026-06-30"}, 409),
    ("centraal", "endpoint-wijzigen", {"endpoint": "e-centraal", "adres": "https://portaal.example/nieuw"}, 200),
    ("centraal", "mandaat-geven", {"organisatie": CENTRAAL, "dienst": "vva", "systeem": WIJZER}, 200),
    ("olga", "mandaat-beeindigen", {"mandaat": "m-linde", "tot": "2026-06-30"}, 200),
    ("olga", "endpoint-toevoegen", {"ontvanger": LINDE, "dienstversie": "proef 1", "systeem": RIVAL}, 409),
    ("olga", "mandaat-geven", {"organisatie": "99ZZ", "dienst": "vva", "systeem": RIVAL}, 409),
    ("olga", "herindeling", {"organisatie": UTRECHT}, 404),
    *((who, "mandaat-beeindigen", {"mandaat": "m-linde", "tot": "2026-06-30"}, 403) for who in ("anna", "adam", "rina")),
    *((who, "adres-verhuizen", {"systeem": RIVAL, "oud": "postbus", "dag": "2026-03-01"}, 403) for who in ("anna", "adam", "rina")),
]


@pytest.mark.parametrize(("who", "what", "fields", "status"), TRIES)
def test_each_may_wish_what_the_registers_table_says_and_looking_changes_nothing(
    looked_at: RegisterPages, who: str, what: str, fields: dict[str, str], status: int
) -> None:
    before = looked_at.store.register.newest()
    answer = propose(looked_at.signed_in(who), what, **fields)
    assert answer.status_code == status, text_of(answer)
    assert ("/register/voorstel/" in answer.url) == (status == 200)
    if status == 404:
        for name in ("Zuiderlyceum", "De Linde", "Rivaal", "rivaal.example"):
            assert name not in answer.text
    assert looked_at.store.register.newest() == before


def test_a_preview_is_of_the_session_that_asked_for_it(looked_at: RegisterPages) -> None:
    preview = propose(looked_at.signed_in("emmaus"), "mandaat-beeindigen", mandaat="m-emmaus-oud", tot="2026-06-30")
    path = urlsplit(preview.url).path
    assert looked_at.signed_in("emmaus").get(path).status_code == 404
    assert looked_at.signed_in("olga").get(path).status_code == 404


def test_an_account_that_lost_its_school_between_preview_and_making_makes_nothing(portal: RegisterPages) -> None:
    from dataclasses import replace

    browser = portal.signed_in("emmaus")
    preview = propose(browser, "mandaat-beeindigen", mandaat="m-emmaus-oud", tot="2026-06-30")
    seen = re.search(r'name="gezien" value="([^"]+)"', preview.text)
    assert seen
    token = browser.csrf(urlsplit(preview.url).path)
    account = portal.store.people.account("emmaus")
    assert account
    portal.store.people.change(replace(account, organisations=frozenset({LINDE})), who="olga", now_us=portal.clock.now_us())
    answer = browser.post(urlsplit(preview.url).path, data={"csrf": token, "gezien": seen.group(1), "waarom": "toch"})
    assert answer.status_code == 404
    assert rows(portal, "mandates", organisation=EMMAUS)["m-emmaus-oud"]["until"] == "2026-07-31"


# -- what it was ---------------------------------------------------------------------------------------------------------------------------


def test_as_it_was_known_and_as_it_stands_on_a_day(portal: RegisterPages) -> None:
    browser = portal.signed_in("emmaus")
    make(browser, propose(browser, "mandaat-beeindigen", mandaat="m-emmaus-oud", tot="2026-06-30"))
    path = f"/register/organisatie/{EMMAUS}"
    assert "di 30 jun" in text_of(browser.get(path))
    then = browser.get(f"{path}?kennis=2026-01-14T12:00")
    assert "vr 31 jul" in text_of(then)
    assert "/register/wens/" not in then.text, "nothing is changed as of another time"
    later = text_of(browser.get(f"{path}?dag=2026-09-01"))
    assert "Voorbij: 1" in later
    assert browser.get(f"{path}?kennis=2025-01-01T12:00").status_code == 404, "there was none"


def test_history_says_who_and_why_and_to_a_party_only_which_party(portal: RegisterPages) -> None:
    browser = portal.signed_in("emmaus")
    make(browser, propose(browser, "mandaat-beeindigen", mandaat="m-emmaus-oud", tot="2026-06-30"))
    path = "/register/geschiedenis/mandates/m-emmaus-oud"
    ours, theirs = text_of(portal.signed_in("anna").get(path)), text_of(portal.signed_in("wijzer").get(path))
    assert f"emmaus for organisation {EMMAUS}" in ours
    assert "beheer" in ours
    assert f"organisation {EMMAUS}" in theirs
    assert "emmaus for" not in theirs
    assert "beheer" not in theirs
    for said in (ours, theirs):
        assert "naar Klassenboek" in said
        assert "Eindigt eerder" in said


def test_the_process_itself_changes_the_register_and_takes_no_private_address(tmp_path: Path) -> None:
    home = _Home(tmp_path)
    people, secret = home.store.people, new_secret()
    now_us = Clock().now_us()
    home.store.register.save(DOCUMENT, who="beheer", why="begin", now_us=now_us)
    account = new_account("wijzer", [Role.PARTNER], systems=[WIJZER])
    people.add(account, password="none", one_time=False, totp=None, who="test", now_us=now_us)
    people.open_session(digest_of(secret), "wijzer", now_us=now_us)
    with home.portal():
        browser = Browser(f"http://localhost:{home.port}")
        browser.cookies.set("koppelpunt", secret, domain="localhost.local", path="/")
        private = propose(browser, "endpoint-wijzigen", endpoint="e-zuider", adres="https://10.0.0.1/in")
        assert private.status_code == 409, text_of(private)
        make(browser, propose(browser, "endpoint-wijzigen", endpoint="e-zuider", adres="https://nieuw.example/in"), why="ander adres")
    (row,) = home.store.register.rows("endpoints", key="e-zuider")
    assert row["url"] == "https://nieuw.example/in"
    assert home.store.register.history("endpoints", "e-zuider")[-1]["who"] == f"wijzer for supplier {WIJZER}"
    home.store.close()
