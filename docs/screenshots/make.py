"""Makes the pictures in this folder anew, but for the register's: of the portal of a `run.py demo --stay`, in Chromium. The hours before
it are invented.

`.venv/bin/python docs/screenshots/make.py`, after `run.py prepare --tests`. Takes a minute or two. Nothing is left behind.
"""

from __future__ import annotations

import math
import random
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from playwright.sync_api import Browser, Page, sync_playwright

HERE: Final = Path(__file__).resolve().parent
ROOT: Final = HERE.parents[1]

SIZE: Final = {"width": 1440, "height": 900}
TELEPHONE: Final = {"width": 390, "height": 800}
#: A municipality's system, of whose page there is a picture; and a supplier whose report is shown.
MAILBOX: Final = "00000003900000220000"
SUPPLIER: Final = "00000003900000030000"


@contextmanager
def demo(home: Path) -> Iterator[tuple[str, dict[str, str]]]:
    """A running demo: the portal's address, and the accounts' passwords."""
    log = home.with_suffix(".log")
    with log.open("w") as out:
        process = subprocess.Popen(
            [sys.executable, "run.py", "demo", "--stay", "--messages", "1000", "--home", str(home)], cwd=ROOT, stdout=out, stderr=out
        )
    try:
        end = time.monotonic() + 600
        while "meelezer" not in log.read_text().partition("The portal: ")[2]:
            if process.poll() is not None or time.monotonic() > end:
                raise SystemExit(f"The demo did not come up:\n{log.read_text()[-2000:]}")
            time.sleep(0.5)
        said = log.read_text().partition("The portal: ")[2]
        address = re.match(r"(http://localhost:\d+)", said)
        assert address is not None
        yield address[1], dict(re.findall(r"^ ([a-z]+) +(\w{5}(?:-\w{5})+) ", said, re.M))
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(60)


def invent_hours(store: Path) -> None:
    """Two days before the demo, busy when schools are, and a season before this one."""
    luck, now = random.Random(4), int(time.time()) // 3600

    def busy(hour: int) -> float:
        at = (hour + 1) % 24
        return 0.05 + 1.3 * (math.exp(-(((at - 10) / 2.4) ** 2)) + 0.8 * math.exp(-(((at - 14.5) / 2) ** 2)))

    with sqlite3.connect(store, timeout=60) as db:
        db.row_factory = sqlite3.Row

        def rows(table: str) -> list[dict[str, Any]]:
            return [dict(row) for row in db.execute(f"SELECT * FROM {table}")]

        def add(table: str, row: dict[str, Any]) -> None:
            db.execute(f"INSERT OR IGNORE INTO {table} ({', '.join(row)}) VALUES ({', '.join('?' * len(row))})", list(row.values()))

        for table in ("traffic", "traffic_own"):
            counted = ("handed_in", "refused", "delivered", "failed")
            for row in rows(table):
                for back in range(1, 48):
                    factor = busy(now - back) * luck.uniform(0.45, 0.65)
                    past = {
                        name: int(value * factor + luck.random() * 0.6) if name in counted and value else value
                        for name, value in row.items()
                    }
                    add(table, {**past, "hour": row["hour"] - back})
        for row in rows("fallout"):
            for back in range(1, 24):
                if n := int(row["n"] * busy(now - back) * luck.uniform(0, 1.4)):
                    add("fallout", {**row, "hour": row["hour"] - back, "n": n})
        year_us = 365 * 86_400_000_000
        for row in rows("season"):
            first, last = row["first_us"] - year_us, row["last_us"] - year_us
            add("season", {**row, "year": row["year"] - 1, "n": int(row["n"] * luck.uniform(0.6, 3)), "first_us": first, "last_us": last})


class Shots:
    """Pages as somebody sees them."""

    def __init__(self, browser: Browser, address: str, passwords: dict[str, str]) -> None:
        self._browser, self._address, self._passwords = browser, address, passwords

    def sign_in(self, who: str, *, theme: str = "licht", language: str = "nl", size: dict[str, int] = SIZE) -> Page:
        context = self._browser.new_context(
            base_url=self._address,
            viewport={"width": size["width"], "height": size["height"]},
            reduced_motion="reduce",
            locale="nl-NL",
            timezone_id="Europe/Amsterdam",
        )
        page = context.new_page()
        page.goto("/inloggen")
        page.fill("[name=name]", who)
        page.fill("[name=password]", self._passwords[who])
        page.click("main button[type=submit]")
        page.goto(f"/?taal={language}")
        page.goto(f"/?thema={theme}")
        return page

    def take(self, page: Page, name: str) -> None:
        page.wait_for_timeout(400)
        page.screenshot(path=HERE / f"{name}.png")
        print(name)


def chain_manager(shots: Shots) -> None:
    """His morning."""
    page = shots.sign_in("ketenregisseur")
    page.goto(f"/partijen/{MAILBOX}")
    page.get_by_role("button", name="Pauzeren").first.click()
    page.wait_for_load_state()
    shots.take(page, "partij")
    page.goto("/")
    shots.take(page, "overzicht")
    page.goto("/openstaand?lijst=uitval&aanzet=school")
    page.locator("tbody input[type=checkbox]").first.check()
    shots.take(page, "openstaand")
    page.goto("/uitval")
    shots.take(page, "uitval")
    page.locator('a[href*="NOT_ENROLLED"]').first.click()
    page.wait_for_load_state()
    page.get_by_label("Ticketnummer").fill("TOP-2041")
    page.get_by_label("Afgesproken op").fill(time.strftime("%Y-%m-%d", time.localtime(time.time() + 6 * 86_400)))
    page.get_by_role("button", name="Opslaan").first.click()
    page.wait_for_load_state()
    page.get_by_label("Notitie").fill("Gebeld met de leverancier: wordt hersteld in de release van vrijdag.")
    page.get_by_role("button", name="Notitie toevoegen").click()
    page.wait_for_load_state()
    shots.take(page, "uitval-groep")
    page.get_by_role("button", name=re.compile("Opnieuw aanbieden")).first.click()
    page.wait_for_load_state()
    page.get_by_label("Reden").fill("De leverancier heeft de inschrijvingen hersteld (TOP-2041)")
    shots.take(page, "voorstel")
    page.get_by_role("button", name=re.compile("Bevestigen")).click()
    page.wait_for_url(re.compile("/opdrachten/[0-9a-f-]+$"))
    page.wait_for_timeout(6_000)
    shots.take(page, "opdracht")
    page.goto("/uitval")
    page.locator('a[href*="NOT_OUR_RESIDENT"]').first.click()
    page.wait_for_load_state()
    page.locator('section a[href^="/bericht/"]').first.click()
    page.wait_for_load_state()
    shots.take(page, "bericht")
    for path, name in (
        ("/partijen", "partijen"),
        (f"/rapporten?systeem={SUPPLIER}", "rapport"),
        ("/opdrachten", "opdrachten"),
        ("/meldingen", "meldingen"),
        ("/register?zoek=gemeente", "register"),
    ):
        page.goto(path)
        shots.take(page, name)


def others(shots: Shots) -> None:
    """What others see; and the look in the dark, in English, and on a telephone."""
    seen: tuple[tuple[str, str, str, dict[str, Any]], ...] = (
        ("ketenregisseur", "/", "overview-dark-en", {"theme": "donker", "language": "en"}),
        ("school", "/", "school", {}),
        ("leerlingwijzer", "/uitval", "leverancier", {}),
        ("ketenregisseur", "/", "telefoon", {"size": TELEPHONE}),
        ("beheerder", "/accounts", "accounts", {}),
    )
    for who, path, name, look in seen:
        page = shots.sign_in(who, **look)
        page.goto(path)
        shots.take(page, name)


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="koppelpunt-pictures-") as folder, demo(Path(folder) / "home") as (address, passwords):
        time.sleep(5)  # until the board has all of it
        invent_hours(Path(folder) / "home" / "koppelpunt.db")
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
            parts: tuple[Callable[[Shots], None], ...] = (chain_manager, others)
            for part in parts:
                part(Shots(browser, address, passwords))
            browser.close()


if __name__ == "__main__":
    main()
