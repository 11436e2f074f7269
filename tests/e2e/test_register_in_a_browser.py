"""The pages of the service register in a real browser: by the rules of axe, on a telephone, by keyboard, and without scripts."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from playwright.sync_api import Browser, expect

from tests.e2e.test_pages_in_a_browser import _STICKS_OUT, clean
from tests.support.browser import Window
from tests.support.browser import chromium as chromium
from tests.support.register_pages import BOARD, EMMAUS, KLASSEN, LARGE, UTRECHT, WIJZER, RegisterPages, register_pages

#: Who looks -> at what.
PATHS: dict[str, list[str]] = {
    "emmaus": [
        "/register",
        "/register/plan?vanaf=2026-08-01&tot=2026-08-01",
        "/register/plan?van-wie=nergens",
        "/register/wens/mandaat-geven?organisatie=" + EMMAUS,
        "/register/wens/mandaat-intrekken?mandaat=m-emmaus-oud",
        "/register/geschiedenis/mandates/m-emmaus-oud",
        f"/register/organisatie/{EMMAUS}?kennis=2026-01-15T00:30",
    ],
    "bestuur": ["/register", f"/register/organisatie/{BOARD}", f"/register/wens/mandaten-beeindigen?organisatie={BOARD}"],
    "breed": [
        f"/register/systeem/{LARGE}",
        f"/register/systeem/{LARGE}?lijst=zonder-endpoint",
        f"/register/systeem/{LARGE}?lijst=ongebruikt",
    ],
    "wijzer": [
        f"/register/systeem/{WIJZER}?lijst=endpoints",
        f"/register/wens/endpoint-toevoegen?systeem={WIJZER}",
        "/register/wens/endpoint-wijzigen?endpoint=e-zuider",
        f"/register/wens/adres-verhuizen?systeem={WIJZER}",
    ],
    "olga": [
        "/register",
        "/register?zoek=school",
        f"/register/organisatie/{UTRECHT}",
        f"/register/wens/delegatie-geven?organisatie={UTRECHT}",
    ],
}


@pytest.fixture(scope="module")
def looked_at(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RegisterPages]:
    with register_pages(tmp_path_factory.mktemp("register")) as running:
        yield running


@contextmanager
def tab(browser: Browser, portal: RegisterPages, who: str, *, language: str = "nl", theme: str = "licht", **more: Any) -> Iterator[Window]:
    """A window in which this account is signed in. A form that was refused is no complaint of the browser's."""
    with Window(browser, portal, who, base_url=portal.url, reduced_motion="reduce", locale=language, **more) as window:
        switches = (("taal", language), ("thema", theme))
        window.context.add_cookies([{"name": name, "value": value, "url": portal.url} for name, value in switches])
        yield window
        assert [said for said in window.said if said.startswith("error") and not re.search("status of 4(09|22)", said)] == []


@pytest.mark.parametrize(("language", "theme"), [("nl", "licht"), ("nl", "donker"), ("en", "licht"), ("en", "donker")])
def test_every_page_is_accessible_in_both_languages_and_both_themes(
    chromium: Browser, looked_at: RegisterPages, language: str, theme: str
) -> None:
    for who, paths in PATHS.items():
        with tab(chromium, looked_at, who, language=language, theme=theme) as window:
            page = window.page
            for path in paths:
                page.goto(path)
                clean(window)


def test_on_a_telephone_nothing_sticks_out(chromium: Browser, looked_at: RegisterPages) -> None:
    for who, paths in PATHS.items():
        with tab(chromium, looked_at, who) as window:
            page = window.page
            page.set_viewport_size({"width": 390, "height": 800})
            for path in paths:
                page.goto(path)
                assert page.evaluate(_STICKS_OUT) == "", path


@pytest.mark.parametrize("scripts", [True, False])
def test_a_school_changes_its_supplier_by_keyboard_and_without_scripts(chromium: Browser, looked_at: RegisterPages, scripts: bool) -> None:
    """It ends one mandate, is refused with a sentence, mends it, sees what ends with it, and records it; then its history says so."""
    last = "2026-06-30" if scripts else "2026-05-31"
    with tab(chromium, looked_at, "emmaus", java_script_enabled=scripts) as window:
        page = window.page
        page.goto("/register")
        page.get_by_role("row", name=re.compile("Leerlingwijzer")).get_by_role("link", name=re.compile("^Beëindig")).first.focus()
        page.keyboard.press("Enter")
        page.get_by_label("Laatste dag").fill("2025-12-31")
        page.get_by_role("button", name="Bekijk wat er verandert").click()
        expect(page.get_by_role("alert")).to_contain_text("De laatste dag 31-12-2025 is voorbij")
        if scripts:
            clean(window)
        page.get_by_label("Laatste dag").fill(last)
        page.get_by_role("button", name="Bekijk wat er verandert").press("Enter")
        expect(page.get_by_role("row", name=re.compile("Endpoint"))).to_have_count(2)
        expect(page.get_by_text("Er is nog niets gebeurd")).to_be_visible()
        if scripts:
            clean(window)
        page.get_by_label("Reden").fill("naar Klassenboek")
        page.keyboard.press("Enter")
        expect(page.get_by_text("De laatste dag van het mandaat is vastgelegd")).to_be_visible()
        page.goto("/register/geschiedenis/mandates/m-emmaus-oud")
        expect(page.get_by_text("naar Klassenboek").first).to_be_visible()


def test_the_new_supplier_fills_the_gap_that_its_page_names(chromium: Browser, looked_at: RegisterPages) -> None:
    with tab(chromium, looked_at, "klassen") as window:
        page = window.page
        page.goto(f"/register/systeem/{KLASSEN}?lijst=zonder-endpoint")
        page.get_by_role("row", name=re.compile("Gaat nog in")).get_by_role("link", name=re.compile("Voeg een endpoint toe")).click()
        expect(page.get_by_label("Voor wie")).to_have_value(EMMAUS)
        expect(page.get_by_label(re.compile("Eerste dag"))).to_have_value("2026-08-01")
        page.get_by_label(re.compile("Adres")).fill("https://boek.example/in")
        page.get_by_role("button", name="Bekijk wat er verandert").click()
        page.get_by_label("Reden").fill("klaar voor 1 augustus")
        page.get_by_role("button", name="Leg vast").click()
        expect(page.get_by_text("Het endpoint is vastgelegd")).to_be_visible()
