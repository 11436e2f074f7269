"""The portal in a real browser: every page by the rules of axe, in both languages and both themes; and a chain manager's morning."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, expect

from routing.contacts import parse_quiet
from tests.support.board import keep
from tests.support.browser import Window
from tests.support.browser import chromium as chromium
from tests.support.jobs import Bench
from tests.support.pages import ALL, BOX, DOCUMENT, LAS, Pages, alert_of, an_id, contact_of, many, mine, others, pages
from tests.support.store import confirm, deliver, kinds, states
from tests.support.telling import Post, send_all

KEY = f"NOT_OUR_RESIDENT~school~vva~{LAS}~{BOX}"
PATHS = [
    "/",
    "/openstaand",
    "/openstaand?lijst=uitval&brin=01AA",
    "/openstaand?brin=99ZZ",
    "/uitval",
    f"/uitval/groep?groep={KEY}",
    "/bericht/mine1-id",
    "/bericht/miner-id",
    "/partijen",
    f"/partijen/{BOX}",
    "/rapporten",
    "/opdrachten",
    "/meldingen",
    "/tweede-factor",
    "/nergens",
]
#: Something of the page that is wider than the window, where nothing around it scrolls; empty when all fits.
_STICKS_OUT = """() => document.documentElement.scrollWidth <= window.innerWidth ? "" :
  ([...document.querySelectorAll("main *")].filter((one) => one.getBoundingClientRect().right > window.innerWidth + 1)
  .map((one) => one.tagName + "." + one.className).join(" ").slice(0, 300) || "something")"""


@pytest.fixture(scope="module")
def looked_at(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pages]:
    with pages(tmp_path_factory.mktemp("pages"), mine, others) as running:
        alert_of(running.store, LAS, "Bij Leerlingboek vallen berichten uit")
        contact_of(running.store, LAS, "beheer@las.example.nl", quiet=parse_quiet("18:00-08:00 za zo"))
        assert running.ports.desk
        assert running.ports.desk.proefs
        running.ports.desk.proefs.ask(ALL, system=BOX, who="olga")
        running.store.outbox.hold(f"mailbox {BOX}", who="olga", now_us=running.clock.now_us())
        yield running


@contextmanager
def tab(browser: Browser, portal: Pages, who: str, *, language: str = "nl", theme: str = "licht", **more: Any) -> Iterator[Window]:
    """A window in which this account is signed in. Whatever the browser complains of, but for pages that are not there, fails the test."""
    settings = {"base_url": portal.url, "reduced_motion": "reduce", "locale": language, **more}
    with Window(browser, portal, who, **settings) as window:
        switches = (("taal", language), ("thema", theme))
        window.context.add_cookies([{"name": name, "value": value, "url": portal.url} for name, value in switches])
        yield window
        assert [said for said in window.said if said.startswith("error") and "404" not in said] == []


def clean(window: Window) -> None:
    """By axe."""
    assert window.violations() == [], window.page.url


@pytest.mark.parametrize("theme", ["licht", "donker"])
@pytest.mark.parametrize("language", ["nl", "en"])
def test_every_page_is_accessible_in_both_languages_and_both_themes(chromium: Browser, looked_at: Pages, language: str, theme: str) -> None:
    with tab(chromium, looked_at, "anna", language=language, theme=theme) as window:
        page = window.page
        for path in PATHS:
            page.goto(path)
            clean(window)


@pytest.mark.parametrize(("language", "theme"), [("nl", "licht"), ("en", "donker")])
def test_the_operators_own_pages_are_accessible(chromium: Browser, looked_at: Pages, language: str, theme: str) -> None:
    with tab(chromium, looked_at, "olga", language=language, theme=theme) as window:
        page = window.page
        for width in (1280, 390):
            page.set_viewport_size({"width": width, "height": 800})
            for path in ("/accounts", "/accounts/gemeente"):
                page.goto(path)
                for more in page.locator("main details").all():
                    more.evaluate("one => one.open = true")
                clean(window)
                assert page.evaluate(_STICKS_OUT) == "", path
            page.goto(f"/rapporten?systeem={LAS}")
            page.locator('form[action="/rapporten/versturen"] button').click()
            expect(page.get_by_label("beheer@las.example.nl")).to_be_checked()
            clean(window)
            assert page.evaluate(_STICKS_OUT) == "", "a report to send"


def test_the_pages_are_accessible_on_a_telephone_and_nothing_sticks_out(chromium: Browser, looked_at: Pages) -> None:
    with tab(chromium, looked_at, "anna") as window:
        page = window.page
        page.set_viewport_size({"width": 390, "height": 800})
        for path in PATHS:
            page.goto(path)
            clean(window)
            assert page.evaluate(_STICKS_OUT) == "", path


def test_zoomed_in_to_four_times_the_pages_are_read_without_scrolling_sideways_and_no_band_hides_them(
    chromium: Browser, looked_at: Pages
) -> None:
    with tab(chromium, looked_at, "anna", viewport={"width": 320, "height": 256}) as window:
        page = window.page
        for path in PATHS:
            page.goto(path)
            assert page.evaluate(_STICKS_OUT) == "", path
            page.mouse.wheel(0, 600)
            expect(page.locator(".kp-header")).not_to_be_in_viewport()


def test_what_is_printed_is_the_list_without_what_one_fills_in_or_presses(chromium: Browser, looked_at: Pages) -> None:
    with tab(chromium, looked_at, "anna") as window:
        page = window.page
        page.goto("/openstaand?lijst=uitval")
        page.emulate_media(media="print")
        expect(page.locator("#list tbody tr").first).to_be_visible()
        for gone in (".kp-header", ".kp-filters", ".kp-act", ".kp-tick >> nth=0", ".kp-private"):
            expect(page.locator(gone)).to_be_hidden()


def test_a_supplier_and_a_school_have_the_same_pages_with_their_own_traffic_and_no_buttons(chromium: Browser, looked_at: Pages) -> None:
    for who in ("leverancier", "school"):
        with tab(chromium, looked_at, who) as window:
            page = window.page
            for path in PATHS:
                page.goto(path)
                clean(window)
            page.goto("/uitval")
            expect(page.get_by_text("De Linde")).to_have_count(0)
            page.goto("/bericht/mine1-id")
            expect(page.get_by_text("De inhoud is verborgen")).to_be_visible()
            expect(page.get_by_role("button", name=re.compile("Opnieuw aanbieden"))).to_have_count(0)


def test_without_scripts_every_page_can_be_read_and_filtered(chromium: Browser, looked_at: Pages) -> None:
    with tab(chromium, looked_at, "anna", java_script_enabled=False) as window:
        page = window.page
        page.goto("/openstaand")
        page.get_by_label("BRIN").fill("01AA")
        page.get_by_role("button", name="Filter", exact=True).click()
        assert "brin=01AA" in page.url
        expect(page.locator("tbody tr")).to_have_count(1)


def test_the_keyboard_reaches_the_content_first_and_then_every_control(chromium: Browser, looked_at: Pages) -> None:
    with tab(chromium, looked_at, "anna") as window:
        page = window.page
        page.goto("/uitval")
        page.keyboard.press("Tab")
        expect(page.get_by_role("link", name="Naar de inhoud")).to_be_focused()
        page.keyboard.press("Enter")
        page.keyboard.press("Tab")
        expect(page.get_by_label("Wie is aan zet")).to_be_focused()


def test_a_page_that_refreshes_itself_says_so_and_sends_nothing_of_its_forms(chromium: Browser, tmp_path: Path) -> None:
    with pages(tmp_path, mine) as portal, tab(chromium, portal, "anna") as window:
        page = window.page
        page.goto("/openstaand?lijst=alles")
        page.locator("footer").click()
        with page.expect_request(lambda request: request.headers.get("hx-request") == "true", timeout=20_000) as asked:
            others(portal.store)
            portal.clock.ahead_us += 60_000_000
            keep(portal.store, now_us=portal.clock.now_us())
        assert asked.value.headers.get("x-koppelpunt-quiet") == "1"
        assert asked.value.url.endswith("/openstaand?lijst=alles")
        expect(page.locator("#list")).to_contain_text("other1-id"[-10:])


def test_a_chain_managers_morning(chromium: Browser, tmp_path: Path) -> None:
    """Open, see, filter, open a message, look inside with a reason, offer a group again with a trial batch that fails, mend the cause,
    offer the rest again, and send the partner its report."""
    with pages(tmp_path, mine, many, approve_above=100) as portal, tab(chromium, portal, "anna") as window:
        page = window.page
        workers = Workers(portal)
        # ten seconds: is it healthy?
        page.goto("/")
        expect(page.get_by_role("heading", level=1)).to_have_text("Er is nu iets te doen")
        page.get_by_role("link", name=re.compile("viel dit uur")).click()

        # one cause is one line; open it, and a message in it
        expect(page.locator("tbody tr").first).to_contain_text("12")
        page.locator(f'a[href$="{KEY}"]').click()
        page.get_by_role("link", name="Alle 12 bekijken").click()
        page.locator('a[href="/bericht/mine1-id"]').click()
        expect(page.get_by_role("heading", name="Verloop")).to_be_visible()

        # look inside, with a reason
        page.get_by_label("Reden").fill("De gemeente vraagt welk adres er staat, ticket 12")
        page.get_by_role("button", name="Inhoud inzien met reden").click()
        expect(page.locator(".kp-xml")).to_contain_text("999990019")
        expect(page.get_by_text("Inhoud ingezien")).to_be_visible()
        assert "content_opened" in kinds(portal.store, an_id("mine1"))

        # offer the group again with a trial batch of three; the municipality still refuses, and nothing else is touched
        page.goto(f"/uitval/groep?groep={KEY}")
        page.get_by_role("button", name=re.compile("Opnieuw aanbieden")).click()
        expect(page.get_by_text("Er is nog niets gebeurd")).to_be_visible()
        clean(window)
        page.get_by_label("Reden").fill("De gemeente heeft haar bestand bijgewerkt")
        page.get_by_label("Proefbatch").fill("3")
        page.get_by_role("button", name="Bevestigen (12)").click()
        page.wait_for_url(re.compile("/opdrachten/[0-9a-f-]+$"))
        job = page.url.rpartition("/")[2]
        workers.run(job, confirmed=False)
        expect(page.get_by_text("de proefbatch mislukte")).to_be_visible(timeout=15_000)
        assert [state for state in states(portal.store).values() if state == "failed"] == ["failed"] * 12
        clean(window)

        # it is the partner's turn: note the ticket
        page.goto(f"/uitval/groep?groep={KEY}")
        page.get_by_label("Ticketnummer").fill("TOP-1")
        page.get_by_role("button", name="Opslaan").first.click()
        expect(page.get_by_text("Ligt nu bij de partner")).to_be_visible()

        # mended: the rest goes on, a trial batch first, and the page follows it by itself
        page.goto(f"/opdrachten/{job}")
        page.get_by_role("button", name="Hervatten").click()
        expect(page.get_by_role("status").filter(has_text="Loopt")).to_be_visible()
        page.locator("footer").click()  # whoever is in a part of a page with the keyboard keeps it as it is
        workers.run(job, confirmed=True)
        expect(page.get_by_role("status").filter(has_text="Klaar")).to_be_visible(timeout=15_000)
        clean(window)

        # and the partner's report
        page.goto(f"/rapporten?systeem={LAS}")
        with page.expect_download() as download:
            page.get_by_role("link", name="Als CSV").click()
        assert "NOT_OUR_RESIDENT" in download.value.path().read_text(encoding="utf-8-sig")

        # send it: who gets what is shown first, and the worker that tells people does it
        contact_of(portal.store, LAS, "beheer@las.example.nl")
        page.get_by_role("button", name="Verstuur per e-mail").click()
        expect(page.get_by_label("beheer@las.example.nl")).to_be_checked()
        expect(page.locator(".kp-letter")).to_contain_text("NOT_OUR_RESIDENT")
        clean(window)
        with Post() as post:
            page.get_by_role("button", name="Versturen", exact=True).click()
            expect(page.get_by_role("status")).to_contain_text("Het rapport staat klaar")
            clean(window)
            assert post.mails == [], "the portal itself sends nothing"
            send_all(portal.store, portal.clock, post, tmp_path)
            assert [mail["To"] for mail in post.mails] == ["beheer@las.example.nl"] and "NOT_OUR_RESIDENT" in post.text()
        page.reload()
        expect(page.get_by_role("cell", name="verstuurd")).to_be_visible()


class Workers:
    """What the workers would do, at once: a job goes on, its messages go to the mailbox, and the municipality says what it says."""

    def __init__(self, portal: Pages) -> None:
        self._portal, self._bench = portal, Bench(portal.store, document=DOCUMENT)

    def run(self, job: str, *, confirmed: bool) -> None:
        """Until it has ended, or stopped by itself."""
        store, clock = self._portal.store, self._portal.clock
        why = {} if confirmed else {"code": "NOT_OUR_RESIDENT", "owner": "school", "reason": "not ours"}
        while True:
            clock.ahead_us += 1_000_000
            self._bench.clock.at_us = now_us = clock.now_us()
            if not self._bench.step(job):
                break
            deliver(store, self._bench.relay)
            standing = [id for id, state in states(store).items() if state == "delivered" and id != "mine2-delivery"]
            confirm(store, *standing, confirmed=confirmed, system=BOX, now_us=now_us, **why)
        keep(store, now_us=clock.now_us())
