"""The portal's shell in a real browser: nothing that its own policy keeps out, usable by everybody, with and without scripts."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser

from routing.people import Role
from tests.support.browser import Window
from tests.support.browser import chromium as chromium
from tests.support.portal import PASSWORD, Portal


@pytest.fixture
def portal(tmp_path: Path) -> Iterator[Portal]:
    with Portal(tmp_path) as running:
        running.account("anna", Role.CHAIN_MANAGER)
        running.account("dirk", Role.READER, one_time=True)
        yield running


@pytest.mark.parametrize("theme", ["licht", "donker"])
@pytest.mark.parametrize("language", ["nl", "en"])
def test_everybody_can_use_the_shells_pages_in_both_languages_and_themes(
    chromium: Browser, portal: Portal, language: str, theme: str
) -> None:
    switches = f"taal={language}&thema={theme}"
    with Window(chromium, portal) as window:
        window.open(f"/inloggen?{switches}")
        assert window.violations() == []
        window.page.fill("#name", "anna")
        window.page.fill("#password", "wrong")
        window.page.click("main button")
        window.page.wait_for_selector("[role=alert]")
        assert window.violations() == []
        # a 403 is what the browser says of a wrong password; nothing else may be said, above all by its content policy
        assert [line for line in window.said if "403" not in line] == []
    for account, paths in (("anna", ["/", "/wachtwoord", "/nergens"]), ("dirk", ["/wachtwoord"])):
        with Window(chromium, portal, account) as window:
            for path in paths:
                window.open(f"{path}?{switches}")
                assert window.page.evaluate("document.documentElement.lang") == language
                assert window.violations() == [], path
            assert [line for line in window.said if "404" not in line] == []


def test_the_theme_follows_the_device_unless_somebody_chose(chromium: Browser, portal: Portal) -> None:
    colour = "getComputedStyle(document.body).backgroundColor"
    seen = {}
    for scheme in ("light", "dark"):
        with Window(chromium, portal, color_scheme=scheme) as window:
            window.open("/inloggen")
            seen[scheme] = window.page.evaluate(colour)
            window.page.click("text=Licht")
            assert window.page.evaluate(colour) == seen["light"]
            window.page.click("text=Donker")
            seen[f"{scheme}, dark chosen"] = window.page.evaluate(colour)
    assert seen["light"] != seen["dark"] == seen["light, dark chosen"] == seen["dark, dark chosen"]


def test_whoever_uses_the_keyboard_comes_to_the_content_first_and_sees_where_he_is(chromium: Browser, portal: Portal) -> None:
    with Window(chromium, portal, "anna") as window:
        page = window.open("/")
        page.keyboard.press("Tab")
        focused = "document.activeElement"
        assert page.evaluate(f"{focused}.getAttribute('href')") == "#main"
        assert page.evaluate(f"{focused}.getBoundingClientRect().top") >= 0, "it is there to be seen"
        page.keyboard.press("Enter")
        page.keyboard.press("Tab")
        assert page.evaluate(f"document.querySelector('.kp-header').contains({focused})") is False
        page.keyboard.press("Shift+Tab")
        page.focus(".kp-nav a")
        page.keyboard.press("Tab")
        assert page.evaluate(f"getComputedStyle({focused}).outlineStyle") == "solid"


def test_without_scripts_one_signs_in_and_out_all_the_same(chromium: Browser, portal: Portal) -> None:
    with Window(chromium, portal, java_script_enabled=False) as window:
        page = window.open("/")
        page.fill("#name", "anna")
        page.fill("#password", PASSWORD)
        page.click("main button")
        assert page.inner_text(".kp-who") == "Aangemeld als anna"
        page.click(".kp-who")
        assert page.inner_text("h1") == "Nieuw wachtwoord"
        page.click("text=Afmelden")
        assert page.url == portal.url + "/inloggen"


def test_a_narrow_screen_scrolls_in_one_direction_only(chromium: Browser, portal: Portal) -> None:
    with Window(chromium, portal, "anna", viewport={"width": 320, "height": 640}) as window:
        for path in ("/", "/wachtwoord", "/nergens"):
            page = window.open(path)
            assert page.evaluate("document.documentElement.scrollWidth") <= 320, path
