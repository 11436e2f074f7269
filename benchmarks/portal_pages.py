"""The portal's own process, and people who ask it for pages: the addresses, and the server's time for each."""

from __future__ import annotations

import html
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from http.client import HTTPConnection
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlencode

from adapters.home import make_private_home
from adapters.store import Store
from benchmarks import portal_store as season
from benchmarks.portal_store import now_us
from broker_config.settings import Settings
from routing.amsterdam import amsterdam_day
from routing.board import ItemFilter, Sort, View
from routing.people import Role, digest_of, new_account, new_secret
from tests.support.broker import free_port

#: The systems of one large supplier: a quarter of what is sent is theirs.
THEIRS: Final = season.SENDING[:3]
ACCOUNTS: Final = (new_account("manager", (Role.CHAIN_MANAGER,)), new_account("partner", (Role.PARTNER,), systems=THEIRS))
_PATIENCE_S: Final = 60.0


@dataclass(frozen=True, slots=True)
class Page:
    """One page of the portal: where it is, of each turn, and the links in it that are followed every other turn."""

    address: Callable[[int], str]
    link: str | None = None  #: a regular expression; its first group is the address


def pages(count: int, began_us: int, systems: tuple[str, ...]) -> dict[str, Page]:
    """All of them, for somebody who sees these systems, in a store with so many messages."""
    today = amsterdam_day(datetime.now(UTC))
    monday = today - timedelta(days=today.weekday())

    def overview(turn: int) -> str:
        return _at("/", kaart=("dag", "week", "seizoen")[turn % 3])

    def openstaand(turn: int) -> str:
        sorts = tuple(Sort)
        return _at("/openstaand", **wanted(turn).as_query(), sorteer=sorts[turn // 10 % len(sorts)])

    def uitval(turn: int) -> str:
        return _at("/uitval", **({}, {"aanzet": "receiver"}, {"dienst": "vva"})[turn % 3])

    def message(turn: int) -> str:
        n = turn * 7_919 % count
        while (found := season.one(n, count, began_us)).system not in systems:
            n = (n + 1) % count
        return f"/bericht/{found.reference}"

    def parties(turn: int) -> str:
        return _at("/partijen", **({}, {"soort": "las"}, {"zoek": "systeem"})[turn % 3])

    def reports(turn: int) -> str:
        year, week, _ = (monday - timedelta(days=7 * (turn % 4))).isocalendar()
        one = {} if turn % 4 == 3 else {"systeem": systems[turn % len(systems)]}
        return _at("/rapporten", week=f"{year}-W{week:02}", **one)

    return {
        "overview": Page(overview),
        "openstaand": Page(openstaand, r'rel="next" href="([^"]+)"'),
        "uitval": Page(uitval, r'href="(/uitval/groep\?groep=[^"]+)"'),
        "message": Page(message),
        "parties": Page(parties, r'href="(/partijen/[0-9]{20})"'),
        "reports": Page(reports),
    }


def wanted(turn: int) -> ItemFilter:
    """The filters people use, one after another."""
    view = (View.OPEN, View.FALLEN, View.OPEN, View.ALL)[turn // 10 % 4]
    system = season.SENDING[turn % len(season.SENDING)]
    some: tuple[Mapping[str, Any], ...] = (
        {},
        {"dienst": "vva"},
        {"systems": (system,)},
        {"school": season.SCHOOLS[turn * 11 % len(season.SCHOOLS)]},
        {"code": season.CODES[turn % len(season.CODES)][0]},
        {"owner": "receiver", "bericht": "mboGangerBericht"},
        {"receiver": season.TOWNS[turn % len(season.TOWNS)]},
        {"older_than_s": 7 * 86_400, "receiver_systems": (season.RECEIVING[turn % len(season.RECEIVING)],)},
        {"state": "failed" if view is View.FALLEN else "postponed", "systems": (system,)},
        {"party": system, "dienst": "proef"},
    )
    return ItemFilter(view=view, **some[turn % len(some)])


def _at(path: str, **query: str) -> str:
    return f"{path}?{urlencode(query)}" if query else path


class Portal:
    """`run.py work portal` on a store that is there already. Use as `with`."""

    def __init__(self, home: Path, url: str, store: Store) -> None:
        """`home`: an empty folder of its own."""
        self.port, self.store = free_port(), store
        self._log = home / "portal.log"
        self._environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("KOPPELPUNT_")},
            "KOPPELPUNT_HOME": str(home),
            "KOPPELPUNT_STORE": url,
            "KOPPELPUNT_PORTAL_PORT": str(self.port),
            "KOPPELPUNT_METRICS_PORT": str(free_port()),
            "KOPPELPUNT_CLOCK": "none",
            "KOPPELPUNT_PORTAL_SECOND_FACTOR": "none",
            "AMQP_URL": "amqp://nobody:x@127.0.0.1:1/none",
        }
        make_private_home(Settings.from_environment(self._environment), environment=self._environment)
        for account in ACCOUNTS:
            if store.people.account(account.name) is None:
                store.people.add(account, password="", one_time=False, totp=None, who="bench", now_us=now_us())

    def __enter__(self) -> Portal:
        with self._log.open("wb") as log:
            command = [sys.executable, str(Path(__file__).resolve().parents[1] / "run.py"), "work", "portal"]
            self._process = subprocess.Popen(command, env=self._environment, stdout=log, stderr=log)
        self._lines = self._log.open(encoding="utf-8")
        try:
            self._line("portal_listens")
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.wait(30)
        self._lines.close()

    def _line(self, event: str) -> str:
        """The next line of its log about this."""
        end, line = time.monotonic() + _PATIENCE_S, ""
        while time.monotonic() < end:
            line += self._lines.readline()
            if not line.endswith("\n"):
                if self._process.poll() is not None:
                    break
                time.sleep(0.01)
            elif f" {event} " in line:
                return line
            else:
                line = ""
        raise SystemExit(f"the portal did not say {event}:\n{self._log.read_text()[-2_000:]}")

    def server_s(self) -> float:
        """Of the next request in its log."""
        found = re.search(r" ms=([0-9.]+)", self._line("portal_request"))
        assert found, "portal_request has its ms"
        return float(found.group(1)) / 1_000


class Visitor:
    """Somebody who signed in, on one connection that is kept. The session is made in the store: passwords are slow on purpose."""

    def __init__(self, portal: Portal, name: str, asked: Mapping[str, Page]) -> None:
        secret = new_secret()
        portal.store.people.open_session(digest_of(secret), name, now_us=now_us())
        self._portal, self._asked = portal, asked
        self._cookie = {"Cookie": f"koppelpunt={secret}"}
        self._connection = HTTPConnection("127.0.0.1", portal.port, timeout=_PATIENCE_S)

    def look(self, name: str, turn: int) -> list[float]:
        """The server's seconds for a page, and every other turn for what a link in it leads to."""
        page = self._asked[name]
        seconds, text = self._get(page.address(turn))
        links = re.findall(page.link, text) if page.link and turn % 2 else []
        return [seconds, *(self._get(html.unescape(link))[0] for link in links[turn % len(links) :][:1])] if links else [seconds]

    def _get(self, address: str) -> tuple[float, str]:
        self._connection.request("GET", address, headers=self._cookie)
        answer = self._connection.getresponse()
        text = answer.read().decode()
        if answer.status != 200:
            raise SystemExit(f"{address}: {answer.status}")
        return self._portal.server_s(), text
