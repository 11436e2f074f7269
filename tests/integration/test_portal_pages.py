"""The pages, over real sockets on a real store: what somebody finds on each, and what happens when a button is pressed."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from tests.support.board import keep
from tests.support.pages import ALL, BOX, LAS, NOW, PUPIL, SCHOOL, SECRET, TOWN, Pages, alert_of, an_id, mine, others, pages
from tests.support.portal import Browser
from tests.support.store import DAY, kinds, lead, run_sql, states

KEY = "NOT_OUR_RESIDENT~school~vva~00000003900000001000~00000003900000003000"


@pytest.fixture(scope="module")
def looked_at(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pages]:
    """For tests that change nothing."""
    with pages(tmp_path_factory.mktemp("pages"), mine, others) as running:
        yield running


@pytest.fixture
def portal(tmp_path: Path) -> Iterator[Pages]:
    with pages(tmp_path, mine) as running:
        yield running


def hidden(text: str, name: str) -> str:
    found = re.search(rf'name="{name}" value="([^"]*)"', text)
    assert found, name
    return found.group(1)


def propose(browser: Browser, action: str, **form: str) -> str:
    """The address of a preview."""
    answer = browser.submit("/opdrachten/voorstel", page="/openstaand", actie=action, **form)
    assert "/opdrachten/voorstel/" in answer.url, answer.text
    return urlsplit(answer.url).path


# -- looking -------------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/", "/openstaand", "/uitval", "/partijen", "/rapporten", "/opdrachten"])
@pytest.mark.parametrize("language", ["nl", "en"])
def test_every_page_is_there_in_both_languages(looked_at: Pages, path: str, language: str) -> None:
    browser = looked_at.signed_in("anna")
    browser.get(f"/?taal={language}")
    answer = browser.get(path)
    assert answer.status_code == 200
    assert f'<html lang="{language}"' in answer.text


def test_the_overview_says_in_one_sentence_how_the_chain_is(looked_at: Pages) -> None:
    text = looked_at.signed_in("anna").get("/").text
    assert re.search(r'<h1[^>]*id="verdict">De keten loopt', text)
    assert "wachten op een ketenpartner" in text


def test_a_school_is_told_what_waits_for_the_school(looked_at: Pages) -> None:
    text = looked_at.signed_in("school").get("/").text
    assert "Uw verkeer" in text
    assert "wachten op u" in text


def test_the_map_shows_who_sends_to_whom_by_name(looked_at: Pages) -> None:
    text = looked_at.signed_in("anna").get("/").text
    assert "Leerlingboek → Gemeenten" in text
    assert "De keten: wie stuurt aan wie" in text


def test_an_unfinished_delivery_is_openstaand_and_a_failed_one_is_uitval(looked_at: Pages) -> None:
    browser = looked_at.signed_in("anna")
    waiting, fallen = browser.get("/openstaand").text, browser.get("/openstaand?lijst=uitval").text
    assert "mine2-id" in waiting
    assert "mine1-id" not in waiting
    assert "mine1-id" in fallen
    assert "mine2-id" not in fallen


@pytest.mark.parametrize(
    ("query", "there", "not_there"),
    [
        ("brin=01AA", "mine1-id", "other1-id"),
        ("leverancier=Leerlingboek+BV", "mine1-id", "other1-id"),
        (f"systeem={LAS}", "mine1-id", "other1-id"),
        ("code=GEMEENTECODE_UNKNOWN", "other1-id", "mine1-id"),
        ("status=refused", "miner-id", "mine1-id"),
        ("nummer=mine1-id", "mine1-id", "mine2-id"),
        ("nummer=mine1-delivery", "mine1-id", "mine2-id"),
        ("nummer=urn:uuid:m-mine1", "mine1-id", "mine2-id"),
        ("nummer=b-mine1", "mine1-id", "mine2-id"),
        (f"groep={KEY}", "mine1-id", "other1-id"),
        ("ouder=3600", "mine1-id", "mine2-id"),
    ],
)
def test_filters_of_the_address_decide_what_is_listed(looked_at: Pages, query: str, there: str, not_there: str) -> None:
    text = looked_at.signed_in("anna").get(f"/openstaand?lijst=alles&{query}").text
    assert f"/bericht/{there}" in text
    assert f"/bericht/{not_there}" not in text


def test_a_form_that_was_hardly_filled_in_makes_a_short_address_to_share(looked_at: Pages) -> None:
    answer = looked_at.signed_in("anna").get("/openstaand?lijst=alles&brin=01AA&dienst=&status=&van=&tot=")
    assert answer.url.endswith("/openstaand?lijst=alles&brin=01AA")


def test_everything_that_failed_since_a_moment_in_amsterdam_is_one_list(looked_at: Pages) -> None:
    browser, cause = looked_at.signed_in("anna"), "/openstaand?lijst=uitval&code=NOT_OUR_RESIDENT"
    assert "/bericht/mine1-id" in browser.get(f"{cause}&sinds=2026-01-15T01:00").text, "it is midnight in UTC"
    assert "Niets voldoet aan deze filters" in browser.get(f"{cause}&sinds=2026-01-15T01:01").text
    assert "sinds is een moment" in browser.get(f"{cause}&sinds=gisteren").text


def test_a_filter_that_cannot_be_says_so_on_the_page(looked_at: Pages) -> None:
    answer = looked_at.signed_in("anna").get("/openstaand?van=gisteren")
    assert answer.status_code == 400
    assert "van is een dag" in answer.text
    browser = looked_at.signed_in("anna")
    browser.get("/?taal=en")
    assert "van is a day" in browser.get("/openstaand?van=gisteren").text


def test_what_nobody_is_told_about_stays_empty_with_a_sentence(looked_at: Pages) -> None:
    assert "Niets voldoet aan deze filters" in looked_at.signed_in("anna").get("/openstaand?brin=99ZZ").text


def test_a_pupil_is_found_by_a_number_that_never_stands_in_an_address(looked_at: Pages) -> None:
    browser = looked_at.signed_in("anna")
    answer = browser.submit("/openstaand/zoek", page="/openstaand", leerling=PUPIL, terug="lijst=alles")
    assert PUPIL not in answer.url
    assert PUPIL not in answer.text
    assert "/bericht/mine1-id" in answer.text
    assert "/bericht/mine2-id" not in answer.text
    handle = parse_qs(urlsplit(answer.url).query)["zoek"][0]
    assert "De zoekopdracht is vervallen" in looked_at.signed_in("bert").get(f"/openstaand?lijst=alles&zoek={handle}").text, "another's"


def test_a_personal_number_in_an_address_is_refused_and_not_repeated(looked_at: Pages) -> None:
    answer = looked_at.signed_in("anna").get(f"/openstaand?nummer={PUPIL}")
    assert answer.status_code == 400
    assert "hoort niet in een adres" in answer.text


def test_the_export_has_the_same_rows_and_nobodys_personal_data(looked_at: Pages) -> None:
    answer = looked_at.signed_in("anna").get("/openstaand.csv?lijst=alles&brin=01AA")
    rows = list(csv.DictReader(io.StringIO(answer.content.decode("utf-8-sig"))))
    assert {row["Ontvangstkenmerk"] for row in rows} == {an_id("mine1"), an_id("mine2"), an_id("minef"), an_id("miner")}
    assert PUPIL not in answer.text


@pytest.mark.parametrize(
    ("language", "row"),
    [
        ("nl", {"Naam van de school": "De Eik", "Stand": "Uitgevallen", "Wie is aan zet": "school", "Soort": "levering"}),
        ("en", {"Name of the school": "De Eik", "State": "Failed", "Whose turn it is": "school", "Kind": "delivery"}),
    ],
)
def test_an_export_uses_the_words_of_the_pages(looked_at: Pages, language: str, row: dict[str, str]) -> None:
    browser = looked_at.signed_in("anna")
    browser.get(f"/?taal={language}")
    made = csv.DictReader(io.StringIO(browser.get("/openstaand.csv?lijst=alles&nummer=mine1-id").content.decode("utf-8-sig")))
    assert row.items() <= next(made).items()
    assert len(set(made.fieldnames or ())) == len(made.fieldnames or ()), "each column has its own name"


def test_a_cell_that_a_spreadsheet_would_run_is_only_text() -> None:
    from portal.pages.kit import safe_cell

    assert [safe_cell(value) for value in ("=1+1", "-2", "@x", "gewoon", None, 3)] == ["'=1+1", "'-2", "'@x", "gewoon", "", "3"]


def test_one_fault_of_one_system_is_one_line_with_what_to_do(looked_at: Pages) -> None:
    text = looked_at.signed_in("anna").get("/uitval").text
    assert text.count("NOT_OUR_RESIDENT") >= 1
    assert "Controleer het woonadres" in text
    opened = looked_at.signed_in("anna").get(f"/uitval/groep?groep={KEY}").text
    assert "De Eik" in opened
    assert "/bericht/mine1-id" in opened


def test_a_message_tells_its_whole_story_and_keeps_its_content_to_itself(looked_at: Pages) -> None:
    text = looked_at.signed_in("anna").get("/bericht/mine1-id").text
    assert "Ontvangen en bevestigd" in text
    assert "Uitgevallen" in text
    assert "Poging 1" in text
    assert "Postbus van Dorpsbalie" in text
    assert "De inhoud voldoet aan het XSD en de regels van vva 1." in text
    assert "Van wat geweigerd is, wordt de inhoud niet bewaard." in looked_at.signed_in("anna").get("/bericht/miner-id").text
    assert SECRET.split(">")[1].split("<")[0] not in text


def test_a_report_of_a_week_says_what_fell_out_as_page_and_as_file(looked_at: Pages) -> None:
    browser = looked_at.signed_in("anna")
    assert "NOT_OUR_RESIDENT" in browser.get(f"/rapporten?systeem={LAS}").text
    rows = list(csv.DictReader(io.StringIO(browser.get(f"/rapporten.csv?systeem={LAS}").content.decode("utf-8-sig"))))
    assert {row["code"] for row in rows if row["what"] == "fallen"} >= {"NOT_OUR_RESIDENT", "ROUTE_UNKNOWN_PARTY"}
    assert browser.get("/rapporten?week=2026-W99").status_code == 400
    received = browser.get(f"/rapporten?systeem={BOX}").text
    assert "Wat uitviel van wat voor dit systeem was" in received
    assert "Niets viel uit" not in received
    rows = list(csv.DictReader(io.StringIO(browser.get(f"/rapporten.csv?systeem={BOX}").content.decode("utf-8-sig"))))
    assert [row["code"] for row in rows if row["what"] == "received:fallen"] == ["NOT_OUR_RESIDENT"]


def test_a_party_is_found_by_a_part_of_its_name(looked_at: Pages) -> None:
    text = looked_at.signed_in("anna").get("/partijen?zoek=dorps").text
    assert "Dorpsbalie" in text
    assert "Leerlingboek" not in text


# -- doing ---------------------------------------------------------------------------------------------------------------------------------


def test_looking_inside_needs_a_reason_and_the_journal_says_who_and_why(portal: Pages) -> None:
    browser = portal.signed_in("anna")
    refused = browser.submit("/bericht/mine1-id/inhoud", page="/bericht/mine1-id", waarom="  ")
    assert refused.status_code == 400
    assert SECRET.split(">")[1].split("<")[0] not in refused.text
    assert "content_opened" not in kinds(portal.store, an_id("mine1"))
    opened = browser.submit("/bericht/mine1-id/inhoud", page="/bericht/mine1-id", waarom="De gemeente vraagt ernaar, ticket 12")
    assert "999990019" in opened.text
    (event,) = [event for event in portal.store.journal.of_message(an_id("mine1")) if event.kind == "content_opened"]
    assert (event.actor, event.reason) == ("anna", "De gemeente vraagt ernaar, ticket 12")
    assert "999990019" not in browser.get("/bericht/mine1-id").text, "the next look needs a reason again"


def test_an_erased_message_cannot_be_looked_into(portal: Pages) -> None:
    run_sql(portal.store, "UPDATE body SET wrapped_key = NULL, body = NULL, facts = NULL")
    browser = portal.signed_in("adam")
    assert browser.submit("/bericht/mine1-id/inhoud", page="/bericht/mine1-id", waarom="audit").status_code == 410


def test_when_nobody_opens_content_the_page_says_so_in_words_and_nothing_is_left(portal: Pages, monkeypatch: pytest.MonkeyPatch) -> None:
    """The process with the master key is away."""
    monkeypatch.setattr("portal.pages.message.PATIENCE_S", 0.2)
    monkeypatch.setattr("workers.contents.Opener.look", lambda self: 0)
    browser = portal.signed_in("anna")
    answer = browser.submit("/bericht/mine1-id/inhoud", page="/bericht/mine1-id", waarom="audit")
    assert (answer.status_code, "antwoordt niet" in answer.text) == (503, True)
    assert run_sql(portal.store, "SELECT id FROM content_request") == []
    assert "content_opened" not in kinds(portal.store, an_id("mine1"))


def test_whoever_is_refused_by_the_process_that_opens_is_told_so(portal: Pages, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("workers.contents.MOST_AN_HOUR", 0)
    answer = portal.signed_in("anna").submit("/bericht/mine1-id/inhoud", page="/bericht/mine1-id", waarom="audit")
    assert (answer.status_code, "te veel berichten ingezien" in answer.text) == (429, True)


def test_a_group_goes_to_a_partner_and_is_solved_with_a_reason(portal: Pages) -> None:
    browser = portal.signed_in("anna")
    path = f"/uitval/groep?groep={KEY}"
    browser.submit("/uitval/groep", page=path, groep=KEY, wat="bij_partner", ticket="TOP-1", dag="2026-02-01")
    text = browser.submit("/uitval/groep", page=path, groep=KEY, wat="notitie", tekst="Gebeld met Leerlingboek").text
    assert "TOP-1" in text
    assert "Bij partner" in text
    assert "Gebeld met Leerlingboek" in text
    assert "Opgelost" not in browser.submit("/uitval/groep", page=path, groep=KEY, wat="opgelost", waarom="").text
    assert (
        "gaat de groep vanzelf weer open" in browser.submit("/uitval/groep", page=path, groep=KEY, wat="opgelost", waarom="Release 3").text
    )


def test_what_is_confirmed_is_what_was_shown_and_a_reason_is_needed(portal: Pages) -> None:
    browser = portal.signed_in("anna")
    preview = propose(browser, "retry", id="mine1-delivery")
    shown = browser.get(preview).text
    assert "Er is nog niets gebeurd" in shown
    assert states(portal.store)["mine1-delivery"] == "failed"
    assert browser.submit(preview, waarom="").status_code == 409
    done = browser.submit(preview, waarom="De gemeente nam de leerling op", proef="0")
    assert "/opdrachten/" in done.url
    assert states(portal.store)["mine1-delivery"] == "routed"
    assert browser.get("/opdrachten").text.count("De gemeente nam de leerling op") == 1


def test_all_that_a_filter_finds_is_closed_after_a_second_person_said_yes(portal: Pages) -> None:
    anna = portal.signed_in("anna")
    preview = propose(anna, "archive", welke="alle", filter="lijst=uitval&systeem=" + LAS)
    job = urlsplit(anna.submit(preview, waarom="Seizoen voorbij", proef="0").url).path
    assert "Wacht op akkoord van een tweede persoon" in anna.get(job).text
    assert anna.submit(f"{job}/akkoord", page=job).status_code == 409, "not the one who confirmed it"
    assert "akkoord van bert" in portal.signed_in("bert").submit(f"{job}/akkoord", page=job).text


def confirmed(browser: Browser, action: str, **form: str) -> str:
    """The page of a job that was done at once."""
    return browser.submit(propose(browser, action, **form), waarom="afgesproken, ticket 12", proef="0").url


def test_what_was_refused_is_closed_from_its_own_page(portal: Pages) -> None:
    browser = portal.signed_in("anna")
    assert 'value="archive"' in browser.get("/bericht/miner-id").text
    confirmed(browser, "archive", id="miner-id")
    after = browser.get("/bericht/miner-id").text
    assert 'value="archive"' not in after
    assert "Gesloten: er komt niets meer" in after
    assert "door anna" in after


def test_a_message_that_found_no_receiver_can_be_dealt_with_on_its_own_page(portal: Pages) -> None:
    browser = portal.signed_in("anna")
    text = browser.get("/bericht/minef-id").text
    assert all(f'value="{action}"' in text for action in ("retry", "return", "archive"))
    confirmed(browser, "archive", id="minef-id")
    assert 'value="reopen"' in browser.get("/bericht/minef-id").text


def test_of_an_erased_message_only_what_needs_no_body_is_offered(portal: Pages) -> None:
    run_sql(portal.store, "UPDATE message SET kept = false")
    text = portal.signed_in("anna").get("/bericht/mine1-id").text
    assert 'value="return"' in text
    assert not any(f'value="{action}"' in text for action in ("retry", "redirect", "resend", "reopen"))


@pytest.mark.parametrize(("chosen", "told"), [("ja", True), ("nee", False), ("", True)])
def test_whoever_returns_something_says_whether_its_source_is_to_hand_it_in_again(portal: Pages, chosen: str, told: bool) -> None:
    browser = portal.signed_in("anna")
    preview = propose(browser, "return", id="mine1-delivery")
    assert "Moet de bron het opnieuw aanleveren?" in browser.get(preview).text
    browser.submit(preview, waarom="afgesproken", proef="0", opnieuw=chosen)
    assert [bool(row.deliver_again) for row in run_sql(portal.store, "SELECT deliver_again FROM retour")] == [told]
    text = browser.get("/bericht/mine1-id").text
    assert "door anna" in text
    assert "Opnieuw aanleveren" in text


def test_what_a_job_closed_is_opened_again_as_it_was_closed(portal: Pages) -> None:
    browser = portal.signed_in("anna")
    job = confirmed(browser, "archive", welke="alle", filter=f"lijst=uitval&groep={KEY}")
    assert "Heropenen wat gesloten is" in browser.get(urlsplit(job).path).text
    confirmed(portal.signed_in("bert"), "reopen", rest=job.rsplit("/", 1)[1])
    assert states(portal.store)["mine1-delivery"] == "failed"


def test_all_that_failed_since_a_moment_with_one_cause_is_one_action_of_its_group(portal: Pages) -> None:
    browser = portal.signed_in("anna")
    filters = {"welke": "alle", "filter": f"lijst=uitval&groep={KEY}", "getoond": "1"}
    assert 'name="sinds"' in browser.get(f"/uitval/groep?groep={KEY}").text
    late = browser.submit("/opdrachten/voorstel", page="/openstaand", actie="retry", sinds="2099-01-01T00:00", **filters)
    assert late.status_code == 409
    assert "/opdrachten/voorstel/" in browser.get(propose(browser, "retry", sinds="2020-01-01T10:00", **filters)).url


def test_a_group_of_one_receiver_is_redirected_to_where_the_register_has_it_now(portal: Pages) -> None:
    browser = portal.signed_in("anna")
    text = browser.get(f"/uitval/groep?groep={KEY}").text
    (place,) = re.findall(r'<option value="([^"]+)">Dorpsbalie · Postbus', text)
    confirmed(browser, "redirect", welke="alle", filter=f"lijst=uitval&groep={KEY}", endpoint=place)
    assert states(portal.store)["mine1-delivery"] == "routed"


def test_lists_that_are_asked_for_every_day_are_a_press_away(looked_at: Pages) -> None:
    browser = looked_at.signed_in("anna")
    addresses = re.findall(r'class="kp-chip" href="(/openstaand[^"]+)"', browser.get("/openstaand").text)
    assert [browser.get(address.replace("&amp;", "&")).status_code for address in addresses] == [200, 200, 200]
    assert "/bericht/minef-id" in browser.get("/openstaand?lijst=alles&nooit=ja").text


def test_a_preview_is_of_one_session(portal: Pages) -> None:
    preview = propose(portal.signed_in("anna"), "retry", id="mine1-delivery")
    assert portal.signed_in("bert").get(preview).status_code == 404


def test_nothing_chosen_is_said_and_nothing_is_done(portal: Pages) -> None:
    answer = portal.signed_in("anna").submit("/opdrachten/voorstel", page="/openstaand", actie="retry")
    assert answer.status_code == 409
    assert "Er is niets gekozen" in answer.text


def test_an_endpoint_is_paused_and_resumed_by_an_operator(portal: Pages) -> None:
    browser = portal.signed_in("olga")
    path, lane = f"/partijen/{BOX}", f"mailbox {BOX}"
    paused = browser.submit(f"{path}/pauze", page=path, wachtrij=lane, wat="pauzeren")
    assert "Berichten wachten op volgorde" in paused.text
    assert [row.by_hand for row in portal.store.board.lanes(ALL, now_us=NOW) if row.lane == lane] == [True]
    assert "Hervatten" in paused.text
    browser.submit(f"{path}/pauze", page=path, wachtrij=lane, wat="hervatten")
    assert not [row for row in portal.store.board.lanes(ALL, now_us=NOW) if row.state == "held"]


def test_a_proef_is_sent_from_the_page_of_its_receiver_and_its_outcome_stands_there(portal: Pages) -> None:
    browser, path, lane = portal.signed_in("olga"), f"/partijen/{BOX}", f"mailbox {BOX}"
    asked = browser.submit(f"{path}/proef", page=path, wachtrij=lane)
    assert "Het proefbericht is gevraagd" in asked.text
    assert "Wordt gemaakt" in asked.text
    assert "hx-trigger" in asked.text[asked.text.index('id="proeven"') :].partition(">")[0], "it follows what comes of it"
    (one,) = portal.store.proefs.proefs(ALL)
    assert (one.lane, one.organisation, one.asked_by) == (lane, TOWN, "olga")
    assert "nog onderweg" in browser.submit(f"{path}/proef", page=path, wachtrij=lane).text
    lease = lead(portal.store, "proefs", "timetable-1")
    portal.store.proefs.refuse(one, code="UNKNOWN_DIENST", owner="us", reason="dat <kan> niet", lease=lease, now_us=NOW)
    for page in (path, f"/partijen/{TOWN}"):
        text = browser.get(page).text
        assert "Kon niet worden gemaakt" in text
        assert "dat &lt;kan&gt; niet" in text
        assert "hx-trigger" not in text[text.index('id="proeven"') :].partition("</section>")[0], "nothing more will come"


def test_the_page_says_why_no_proef_may_go(portal: Pages) -> None:
    browser, path, lane = portal.signed_in("olga"), f"/partijen/{BOX}", f"mailbox {BOX}"
    portal.store.outbox.hold(lane, who="bert", now_us=NOW)
    refused = browser.submit(f"{path}/proef", page=path, wachtrij=lane)
    assert refused.status_code == 409
    assert "gepauzeerd door bert" in refused.text
    assert "paused by bert" in browser.submit(f"{path}/proef", page=f"{path}?taal=en", wachtrij=lane).text
    school = browser.submit(f"/partijen/{SCHOOL}/proef", page=path)
    assert school.status_code == 409
    assert "De Eik has mandated no system yet that receives proef version 1" in school.text
    assert portal.store.proefs.proefs(ALL) == []


def test_an_alert_is_taken_with_a_reason_once(portal: Pages) -> None:
    id = alert_of(portal.store, LAS, "Bij Leerlingboek vallen berichten uit")
    anna, bert = portal.signed_in("anna"), portal.signed_in("bert")
    assert "Bij Leerlingboek vallen berichten uit" in anna.get("/meldingen").text
    assert anna.submit(f"/meldingen/{id}", page="/meldingen", waarom="").status_code == 400
    assert "Opgepakt" in anna.submit(f"/meldingen/{id}", page="/meldingen", waarom="Ik bel ze").text
    assert "anna: Ik bel ze" in bert.get("/meldingen").text
    assert bert.submit(f"/meldingen/{id}", page="/meldingen", waarom="Ik ook").status_code == 409


def test_a_saved_view_is_its_owners_and_keeps_no_search_for_a_pupil(portal: Pages) -> None:
    browser = portal.signed_in("anna")
    browser.submit("/weergaven", page="/openstaand", naam="Mijn school", terug="lijst=alles&brin=01AA&zoek=abc")
    assert "/openstaand?lijst=alles&amp;brin=01AA" in browser.get("/openstaand").text
    assert "Mijn school" not in portal.signed_in("bert").get("/openstaand").text
    portal.signed_in("bert").submit("/weergaven/vergeet", page="/openstaand", naam="Mijn school", terug="")
    assert "Mijn school" in browser.get("/openstaand").text, "another cannot forget it"
    browser.submit("/weergaven/vergeet", page="/openstaand", naam="Mijn school", terug="")
    assert "Mijn school" not in browser.get("/openstaand").text


def test_a_freshly_failed_message_is_told_to_a_page_that_listens(portal: Pages) -> None:
    browser = portal.signed_in("anna")
    with browser.get("/live", stream=True, timeout=20) as stream:
        lines = stream.iter_lines(chunk_size=1)
        first = next(line for line in lines if line.startswith(b"data:"))
        portal.clock.ahead_us += DAY
        others(portal.store)
        keep(portal.store, now_us=portal.clock.now_us())
        assert next(line for line in lines if line.startswith(b"data:")) != first


# -- what belongs together -----------------------------------------------------------------------------------------------------------------


def test_what_was_offered_anew_after_its_end_says_so_on_both_deliveries(portal: Pages) -> None:
    browser = portal.signed_in("anna")
    path = propose(browser, "resend", id="mine0-delivery")
    done = browser.submit(path, waarom="De gemeente zette een reservekopie terug", proef="0", tempo="50", stop="90")
    assert "/opdrachten/" in done.url, done.text
    view = portal.store.board.message(ALL, an_id("mine0"))
    assert view is not None
    old, new = view.deliveries
    assert (old["anew_as"], old["anew_of"], new["anew_as"], new["anew_of"]) == ([new["id"]], None, [], old["id"])
    page = browser.get(f"/bericht/{an_id('mine0')}").text
    assert re.search(rf'Opnieuw aangeboden als</dt><dd><a [^>]*href="#{new["id"]}"', page)
    assert re.search(rf'Opnieuw aangeboden van</dt><dd><a [^>]*href="#{old["id"]}"', page)
    assert page.count(f'id="{new["id"]}"') == 1


@pytest.mark.parametrize(
    ("who", "oin", "there"),
    [
        ("anna", LAS, "systeem"),
        ("anna", SCHOOL, "organisatie"),
        ("leverancier", LAS, "systeem"),
        ("gemeente", TOWN, "organisatie"),
        ("school", SCHOOL, "organisatie"),
    ],
)
def test_a_party_and_its_page_in_the_register_lead_to_each_other(looked_at: Pages, who: str, oin: str, there: str) -> None:
    browser = looked_at.signed_in(who)
    assert f'href="/register/{there}/{oin}"' in browser.get(f"/partijen/{oin}").text
    assert f'href="/partijen/{oin}"' in browser.get(f"/register/{there}/{oin}").text


@pytest.mark.parametrize("path", ["/register", "/register/plan", f"/register/systeem/{LAS}", "/partijen", "/uitval", "/rapporten"])
def test_a_number_that_was_taken_out_of_an_address_is_told_of_on_the_page(looked_at: Pages, path: str) -> None:
    browser = looked_at.signed_in("anna")
    answer = browser.get(f"{path}?zoek={PUPIL}")
    assert answer.status_code == 200 and PUPIL not in answer.url and PUPIL not in answer.text
    assert answer.text.count("het is weggelaten") == 1
    assert "het is weggelaten" not in browser.get(path).text


def test_in_a_list_a_number_that_was_taken_out_is_told_of_once(looked_at: Pages) -> None:
    text = looked_at.signed_in("anna").get(f"/openstaand?nummer={PUPIL}").text
    assert "hoort niet in een adres" in text and "het is weggelaten" not in text
