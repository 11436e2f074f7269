"""A real browser: the machine's own Chromium (Debian: `apt-get install chromium`), by Playwright."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

from routing.people import digest_of, new_secret
from tests.support.portal import Portal

#: Names under which Linux distributions have it.
NAMES = ("chromium", "chromium-browser", "google-chrome-stable", "google-chrome")


@contextmanager
def chromium() -> Iterator[Browser]:
    """Skips at home where there is none, fails in CI: a page that no browser opened is not tested."""
    path = next(filter(None, map(shutil.which, NAMES)), None)
    if path is None:
        told = "There is no Chromium on this machine: apt-get install chromium"
        if os.environ.get("CI") == "true":
            pytest.fail(told)
        pytest.skip(told)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])  # it opens our own pages only
        try:
            yield browser
        finally:
            browser.close()


@contextmanager
def tab(browser: Browser, portal: Portal, who: str, *, language: str = "nl", theme: str = "licht", **more: Any) -> Iterator[Page]:
    """A tab in which this account is signed in. Whatever the browser complains of fails the test."""
    context: BrowserContext = browser.new_context(
        viewport={"width": 1440, "height": 900}, base_url=portal.url, reduced_motion="reduce", locale=language, **more
    )
    secret = new_secret()
    portal.store.people.open_session(digest_of(secret), who, now_us=portal.clock.now_us())
    host = urlsplit(portal.url).hostname
    for name, value in (("koppelpunt", secret), ("taal", language), ("thema", theme)):
        context.add_cookies([{"name": name, "value": value, "domain": host, "path": "/"}])
    page = context.new_page()
    complaints: list[str] = []
    page.on("console", lambda said: complaints.append(said.text) if said.type == "error" else None)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    try:
        yield page
        assert not [said for said in complaints if "status of 4" not in said], complaints
    finally:
        context.close()
