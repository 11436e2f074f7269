"""What the pages make of input that is cut, forged, too large, or somebody's number: refused with a sentence, never done by half."""

from __future__ import annotations

import html
import http.client
import re
import threading
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

import pytest

from portal.pages import export
from portal.personal import may_be_personal
from portal.shell import QUIET
from routing.board import ItemFilter, View
from tests.support.pages import ALL, LAS, NOW, PUPIL, Pages, mine, others, pages
from tests.support.portal import Browser
from tests.support.store import run_sql

KEY = "NOT_OUR_RESIDENT~school~vva~00000003900000001000~00000003900000003000"


@pytest.fixture(scope="module")
def looked_at(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pages]:
    """For tests that change nothing."""
    with pages(tmp_path_factory.mktemp("input"), mine, others) as running:
        yield running


@pytest.fixture
def portal(tmp_path: Path) -> Iterator[Pages]:
    with pages(tmp_path, mine, others) as running:
        yield running


def hidden(text: str, name: str) -> str:
    form = text[text.index('<form id="list"') :]
    found = re.search(rf'name="{name}" value="([^"]*)"', form)
    assert found, name
    return html.unescape(found.group(1))


def frozen(portal: Pages) -> int:
    return int(run_sql(portal.store, "SELECT count(*) AS n FROM job")[0].n)


# -- all that a filter finds, and nothing more ---------------------------------------------------------------------------------------------


def test_all_of_a_list_is_what_the_list_showed(portal: Pages) -> None:
    browser = portal.signed_in("anna")
    text = browser.get("/openstaand?lijst=uitval&code=ROUTE_UNKNOWN_PARTY&brin=&ouder=").text
    assert parse_qs(hidden(text, "filter")) == {"lijst": ["uitval"], "code": ["ROUTE_UNKNOWN_PARTY"]}
    shown = int(hidden(text, "getoond"))
    fields = {"actie": "archive", "welke": "alle", "filter": hidden(text, "filter"), "getoond": str(shown)}
    browser.submit("/opdrachten/voorstel", page="/openstaand", **fields)
    (job,) = run_sql(portal.store, "SELECT count FROM job")
    assert job.count == shown > 0


@pytest.mark.parametrize(
    "filter",
    [
        f"lijst=uitval&x={'a' * 3_990}&code=ROUTE_UNKNOWN_PARTY",
        f"lijst=uitval&code={'a' * 4_000}",
        "lijst=uitval&onbekend=ja",
        "lijst=uitval&code=ROUTE_UNKNOWN_PARTY&code=NOT_OUR_RESIDENT",
        "lijst=uitval" + "".join(f"&n{n}=1" for n in range(50)),
        f"lijst=uitval&kenmerk={PUPIL}",
    ],
)
def test_a_filter_that_is_too_long_or_unknown_finds_nothing_and_freezes_nothing(portal: Pages, filter: str) -> None:
    browser = portal.signed_in("anna")
    shown = browser.get(f"/openstaand?{filter}")
    assert shown.status_code == 400
    assert "/bericht/" not in shown.text
    answer = browser.submit("/opdrachten/voorstel", page="/openstaand", actie="archive", welke="alle", filter=filter)
    assert answer.status_code == 409
    assert PUPIL not in answer.text
    assert frozen(portal) == 0


def test_a_preview_of_another_number_than_the_list_had_says_so(portal: Pages) -> None:
    browser = portal.signed_in("anna")
    fields = {"actie": "archive", "welke": "alle", "filter": f"lijst=uitval&systeem={LAS}"}
    assert "Let op: op de lijst stonden er 1," in browser.submit("/opdrachten/voorstel", page="/openstaand", getoond="1", **fields).text
    count = portal.store.board.count(ALL, ItemFilter(view=View.FALLEN, systems=(LAS,)), now_us=NOW)
    assert "Let op: op de lijst" not in browser.submit("/opdrachten/voorstel", page="/openstaand", getoond=str(count), **fields).text


# -- links that stay here ------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["//evil.example/x", "///evil.example/x", "/%5Cevil.example/x"])
def test_a_page_that_is_not_there_links_to_nobody_else(looked_at: Pages, path: str) -> None:
    connection = http.client.HTTPConnection("localhost", looked_at.port, timeout=30)
    connection.request("GET", path)
    answer = connection.getresponse()
    text = answer.read().decode()
    connection.close()
    assert answer.status == 404
    links = re.findall(r'href="([^"]*taal=en)"', text)
    assert links
    assert all(re.match(r"/(?![/\\])", unquote(link)) or link.startswith("/%5C") for link in links), links


# -- personal numbers ----------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["nummer", "kenmerk", "bericht-id", "bedrijfsdocument", "school", "leverancier", "onbekend"])
def test_a_number_in_a_filter_leaves_the_address_and_is_not_repeated(looked_at: Pages, name: str) -> None:
    browser = looked_at.signed_in("anna")
    answer = browser.get(f"/openstaand?lijst=alles&{name}={PUPIL}")
    assert answer.status_code == 400
    assert "hoort niet in een adres" in answer.text
    assert PUPIL not in answer.url + answer.text
    assert "/bericht/" not in answer.text


def test_a_number_does_not_come_along_to_the_sign_in_page_or_into_a_file(looked_at: Pages) -> None:
    assert PUPIL not in unquote(looked_at.browser().get(f"/openstaand?nummer={PUPIL}").url)
    assert PUPIL not in unquote(looked_at.browser().get(f"/bericht/{PUPIL}").url)
    answer = looked_at.signed_in("anna").get(f"/openstaand.csv?nummer={PUPIL}")
    assert answer.status_code == 400
    assert PUPIL not in answer.url + answer.text


def test_a_search_for_a_party_is_not_one_for_a_pupil(looked_at: Pages) -> None:
    answer = looked_at.signed_in("anna").get(f"/partijen?zoek={PUPIL}")
    assert "hoort niet in een adres" in answer.text
    assert PUPIL not in answer.url + answer.text


def test_finding_a_message_by_a_pupils_number_says_where_to_look(looked_at: Pages) -> None:
    answer = looked_at.signed_in("anna").get(f"/bericht?id={PUPIL}")
    assert "hoort niet in een adres" in answer.text
    assert PUPIL not in answer.url + answer.text
    assert PUPIL not in looked_at.signed_in("anna").get(f"/bericht/{PUPIL}").text


@pytest.mark.parametrize(
    ("value", "personal"),
    [
        (PUPIL, True),
        (f"x {PUPIL}", True),
        ("123 456 782", True),
        (LAS, False),
        ("0000000312345678Z000", False),
        (f"{LAS},{LAS}", False),
        (f"{LAS},{PUPIL}", True),
        (KEY, False),
        ("urn:uuid:0b8e5b0a-93ec-4a6f-8b0a-123456789012", False),
        ("2026-01-15T01:00", False),
    ],
)
def test_nine_digits_may_be_somebody_unless_they_are_part_of_a_number_of_ours(value: str, personal: bool) -> None:
    assert may_be_personal(value) == personal


def test_whoever_a_group_is_given_to_is_a_name_and_no_number(portal: Pages) -> None:
    path = f"/uitval/groep?groep={KEY}"
    text = portal.signed_in("anna").submit("/uitval/groep", page=path, groep=KEY, wat="toewijzen", aan=f"{PUPIL} {'x' * 5_000}").text
    assert PUPIL not in text
    assert "x" * 81 not in re.sub(r"<textarea.*", "", text)
    (life,) = run_sql(portal.store, "SELECT assignee FROM group_life")
    assert len(life.assignee) <= 80
    assert PUPIL not in life.assignee


@pytest.mark.parametrize("terug", ["lijst=alles&onbekend=1", f"lijst=alles&kenmerk={PUPIL}"])
def test_a_saved_view_is_of_filters_that_there_are(portal: Pages, terug: str) -> None:
    browser = portal.signed_in("anna")
    answer = browser.submit("/weergaven", page="/openstaand", naam="Mijn", terug=terug)
    assert answer.status_code == 400
    assert PUPIL not in answer.text
    assert "Mijn" not in browser.get("/openstaand").text


def test_a_saved_view_is_not_called_after_a_number(portal: Pages) -> None:
    browser = portal.signed_in("anna")
    answer = browser.submit("/weergaven", page="/openstaand", naam=f"van {PUPIL}", terug="lijst=alles")
    assert answer.status_code == 400
    assert "hoort geen persoonsgebonden nummer" in answer.text


# -- a page left open ----------------------------------------------------------------------------------------------------------------------


def test_a_page_that_refreshes_itself_does_not_keep_its_session_alive(portal: Pages) -> None:
    browser = portal.signed_in("anna")
    for _ in range(4):
        portal.clock.ahead_us += 9 * 60 * 1_000_000
        last = browser.get("/openstaand", headers={"HX-Request": "true", QUIET: "1"})
    assert last.status_code == 401
    assert last.headers["HX-Redirect"] == "/inloggen"


def test_somebody_who_works_keeps_the_session_and_a_form_cannot_be_quiet(portal: Pages) -> None:
    browser = portal.signed_in("anna")
    csrf = browser.csrf("/openstaand")
    for _ in range(4):
        portal.clock.ahead_us += 9 * 60 * 1_000_000
        last = browser.post("/openstaand/zoek", data={"csrf": csrf}, headers={QUIET: "1"}, allow_redirects=False)
    assert last.status_code == 303
    assert last.headers["Location"] == "/openstaand"


# -- files ---------------------------------------------------------------------------------------------------------------------------------


def test_a_file_is_sent_while_it_is_made_and_one_account_makes_one_at_a_time(portal: Pages, monkeypatch: pytest.MonkeyPatch) -> None:
    browser, go_on = portal.signed_in("anna"), threading.Event()
    monkeypatch.setattr(export, "AT_A_TIME", 1)
    whole, threads = portal.store.board.items, set[str]()

    def slow(*given: object, **named: object) -> object:
        threads.add(threading.current_thread().name.rpartition("_")[0])
        if named["after"] is not None:
            assert go_on.wait(30)
        return whole(*given, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(type(portal.store.board), "items", lambda self, *given, **named: slow(*given, **named))
    try:
        with browser.get("/openstaand.csv?lijst=alles", stream=True) as first:
            lines = first.iter_lines(chunk_size=1)
            assert "Ontvangen" in next(lines).decode()
            next(lines)  # a row is there, and the next is not made yet
            second = browser.get("/openstaand.csv?lijst=alles")
            assert second.status_code == 429
            assert "al een bestand voor u gemaakt" in second.text
            go_on.set()
            assert len(list(lines)) > 2
    finally:
        go_on.set()
    assert threads == {"export"}
    assert browser.get("/openstaand.csv?lijst=alles").status_code == 200


# -- input that is out of all bounds -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/openstaand?van=0001-01-01", 200),
        ("/openstaand?tot=9999-12-31", 200),
        ("/openstaand?sinds=0001-01-01T00:00", 200),
        ("/openstaand?sinds=9999-12-31T23:59", 200),
        ("/openstaand?ouder=²", 400),
        ("/openstaand?ouder=999999999999", 400),
        ("/rapporten?week=0001-W01", 400),
        ("/rapporten?week=9999-W52", 400),
        ("/rapporten.csv?week=0001-W01", 400),
    ],
)
def test_a_time_that_cannot_be_is_bounded_or_refused(looked_at: Pages, path: str, status: int) -> None:
    answer = looked_at.signed_in("anna").get(path)
    assert answer.status_code == status, answer.text
    assert "week van deze eeuw" in answer.text or "rapporten" not in path


def proposed(browser: Browser) -> str:
    answer = browser.submit("/opdrachten/voorstel", page="/openstaand", actie="archive", id="mine1-delivery")
    return urlsplit(answer.url).path


@pytest.mark.parametrize("number", ["inf", "-inf", "nan", "tien", "1e999"])
def test_a_number_that_is_none_is_refused_with_a_sentence(portal: Pages, number: str) -> None:
    browser = portal.signed_in("anna")
    answer = browser.submit(proposed(browser), waarom="ticket 12", proef=number)
    assert answer.status_code == 409
    assert "geef een getal" in answer.text


def test_a_result_page_that_is_no_number_is_the_first(portal: Pages) -> None:
    browser = portal.signed_in("anna")
    job = urlsplit(browser.submit(proposed(browser), waarom="ticket 12", proef="0").url).path
    assert browser.get(f"{job}?na=²").status_code == 200


@pytest.mark.parametrize("path", ["/weergaven", "/weergaven/vergeet", "/openstaand/zoek"])
def test_more_parameters_than_there_are_filters_are_no_fault_of_ours(looked_at: Pages, path: str) -> None:
    terug = "&".join(f"n{n}=1" for n in range(60))
    answer = looked_at.signed_in("anna").submit(path, page="/openstaand", naam="x", leerling=PUPIL, terug=terug)
    assert answer.status_code in (200, 400)
    assert PUPIL not in answer.text


def test_one_account_has_one_preview_and_the_newest_counts(portal: Pages) -> None:
    browser = portal.signed_in("anna")
    first, second = proposed(browser), proposed(browser)
    assert frozen(portal) == 1
    assert browser.submit(first, waarom="ticket 12").status_code == 409
    assert "/voorstel/" not in browser.submit(second, waarom="ticket 12").url


_HALVES = {
    "a charset of the form": ("application/x-www-form-urlencoded; charset=utf-7", "name=anna&password=%2B2AA-&actie=archive&id=%2B2AA-"),
    "a charset that there is not": ("application/x-www-form-urlencoded; charset=no-such", "name=anna&password=x&actie=archive&id=x"),
    "a charset of one field": (
        "multipart/form-data; boundary=b",
        "".join(
            f'--b\r\nContent-Disposition: form-data; name="{name}"\r\nContent-Type: text/plain; charset=utf-7\r\n\r\n{value}\r\n'
            for name, value in (("name", "anna"), ("password", "+2AA-"), ("actie", "archive"), ("id", "+2AA-"))
        )
        + "--b--\r\n",
    ),
}


@pytest.mark.parametrize("how", _HALVES)
@pytest.mark.parametrize("where", ["/inloggen", "/opdrachten/voorstel"])
def test_half_a_character_in_a_form_is_refused_with_a_sentence(looked_at: Pages, how: str, where: str) -> None:
    browser = looked_at.browser() if where == "/inloggen" else looked_at.signed_in("anna")
    csrf = browser.csrf("/inloggen" if where == "/inloggen" else "/openstaand")
    kind, form = _HALVES[how]
    answer = browser.post(where, data=form, headers={"Content-Type": kind, "X-CSRF-Token": csrf})
    assert answer.status_code == 400 and "<h1" in answer.text
