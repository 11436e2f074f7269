"""Debian's Chromium, and axe-core inside it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

from broker_config.install import BROWSER, PACKAGES, by_hand, is_there
from routing.people import digest_of, new_secret
from tests.support.portal import Portal

#: What WCAG 2.2 AA asks, as axe-core marks its rules, and what it advises besides.
RULES = {"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]}


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    """One browser for the tests of a module: while it is there, an event loop runs in this thread, and others cannot have theirs. Skips
    without Chromium, but fails in CI."""
    if missing := [name for name in BROWSER if not is_there(PACKAGES[name])]:
        why = f"Nobody looked at the portal: {' and '.join(missing)} not there. {by_hand(*missing)}"
        if os.environ.get("CI") == "true":
            pytest.fail(why)
        pytest.skip(why)
    with sync_playwright() as playwright:
        # as root, which containers are, it starts without its sandbox only; it opens nothing but our own pages
        running = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"] if os.geteuid() == 0 else [])
        yield running
        running.close()


class Window:
    """One browser window, which remembers what its console said."""

    def __init__(self, chromium: Browser, portal: Portal, account: str | None = None, **context: Any) -> None:
        """`account`: who has signed in already. `context`: as Playwright's."""
        self.portal = portal
        self.context: BrowserContext = chromium.new_context(**{"viewport": {"width": 1280, "height": 800}, **context})
        if account is not None:
            secret = new_secret()
            portal.store.people.open_session(digest_of(secret), account, now_us=portal.clock.now_us())
            self.context.add_cookies([{"name": "koppelpunt", "value": secret, "url": portal.url}])
        self.page: Page = self.context.new_page()
        self.said: list[str] = []
        self.page.on("console", lambda message: self.said.append(f"{message.type}: {message.text}"))
        self.page.on("pageerror", lambda error: self.said.append(f"error: {error}"))

    def __enter__(self) -> Window:
        return self

    def __exit__(self, *_: object) -> None:
        self.context.close()

    def open(self, path: str) -> Page:
        """Goes to a page of the portal."""
        self.page.goto(self.portal.url + path)
        return self.page

    def violations(self) -> list[str]:
        """What axe finds on the page as it is now: rule, and the first place."""
        found = Axe().run(self.page, options=RULES).response["violations"]
        return [f"{one['id']}: {one['nodes'][0]['html'][:200]}" for one in found]
