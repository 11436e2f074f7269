"""Server-sent events: what a page is told while it is open."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import requests
from aiohttp import web

from portal import live, server
from portal.live import STREAMS, event, stream
from portal.server import application
from portal.shell import EVERYBODY, Answer, Shell, Visit, page
from routing.people import Role
from routing.work import StoreUnavailable
from tests.support.exchange import LAS, SCHOOL
from tests.support.portal import Browser, Portal


class _Board:
    """What is looked at."""

    def __init__(self) -> None:
        self.html = {"open": "<b>1</b>"}
        self.looks, self.away = 0, False

    async def look(self) -> dict[str, str]:
        self.looks += 1
        if self.away:
            raise StoreUnavailable("away")
        return dict(self.html)


@pytest.fixture
def board() -> _Board:
    return _Board()


@pytest.fixture
def portal(tmp_path: Path, board: _Board, monkeypatch: pytest.MonkeyPatch) -> Iterator[Portal]:
    def routes(shell: Shell) -> list[web.RouteDef]:
        @page(permission=EVERYBODY)
        async def events(request: web.Request, visit: Visit) -> Answer:
            return await stream(request, visit, board.look, every_s=0.05)

        return [web.get("/live", events)]

    monkeypatch.setattr(server, "application", lambda shell, **more: application(shell, pages=[routes], menu=(), **more))
    with Portal(tmp_path) as running:
        running.account("anna", Role.READER)
        yield running


def _open(browser: Browser) -> requests.Response:
    return browser.get("/live", headers={"Accept": "text/event-stream"}, stream=True)


def _events(answer: requests.Response, count: int) -> list[str]:
    found: list[str] = []
    lines: list[str] = []
    for line in answer.iter_lines(chunk_size=1, decode_unicode=True):
        if line:
            lines.append(line)
            continue
        found.append("|".join(lines))
        lines = []
        if len(found) == count:
            break
    return found


def test_a_page_hears_what_changed_and_nothing_twice(portal: Portal, board: _Board) -> None:
    answer = _open(portal.signed_in("anna"))
    assert answer.headers["Content-Type"] == "text/event-stream; charset=utf-8"
    told = answer.iter_lines(chunk_size=1, decode_unicode=True)

    def following() -> str:
        return "|".join(iter(lambda: next(told), ""))

    assert following() == "retry: 3000"
    assert following() == "event: open|data: <b>1</b>"
    looks = board.looks
    while board.looks < looks + 3:  # it looked again, and said nothing
        threading.Event().wait(0.01)
    board.html = {"open": "<b>2</b>\n<i>x</i>"}
    assert following() == "event: open|data: <b>2</b>|data: <i>x</i>"
    answer.close()


def test_a_stream_outlives_a_store_that_is_away(portal: Portal, board: _Board) -> None:
    board.away = True
    answer = _open(portal.signed_in("anna"))
    threading.Timer(0.3, lambda: setattr(board, "away", False)).start()
    assert _events(answer, 2)[1] == "event: open|data: <b>1</b>"
    answer.close()


def test_a_stream_ends_with_its_session(portal: Portal, board: _Board, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "LOOK_AGAIN_S", 0.0)
    browser = portal.signed_in("anna")
    answer = _open(browser)
    _events(answer, 2)
    portal.store.people.end_sessions("anna", who="operator piet", now_us=portal.clock.now_us())
    board.html = {"open": "<b>for nobody</b>"}
    rest = answer.raw.read().decode()  # until it ends
    assert rest.count("for nobody") <= 1, "at most the look that was under way"
    assert "/inloggen" in browser.get("/live").url


@pytest.mark.parametrize("change", [{"roles": (Role.OPERATOR,)}, {"systems": (LAS,)}])
def test_a_stream_ends_when_its_account_may_do_or_see_something_else(
    portal: Portal, board: _Board, monkeypatch: pytest.MonkeyPatch, change: dict[str, Any]
) -> None:
    monkeypatch.setattr(live, "LOOK_AGAIN_S", 0.0)
    anna = portal.account("partner", Role.PARTNER, organisations=(SCHOOL,))
    answer = _open(portal.signed_in("partner"))
    told = answer.iter_lines(chunk_size=1, decode_unicode=True)
    next(told)
    changed = replace(anna, **{name: frozenset(value) for name, value in change.items()})
    portal.store.people.change(changed, who="operator piet", now_us=portal.clock.now_us())
    deadline = time.monotonic() + 20.0  # of the two minutes that it takes otherwise
    while portal.shell.streams["partner"] and time.monotonic() < deadline:
        threading.Event().wait(0.05)
    assert not portal.shell.streams["partner"]
    answer.close()


def test_a_stream_ends_when_the_portal_stops(portal: Portal, board: _Board) -> None:
    answer = _open(portal.signed_in("anna"))
    _events(answer, 2)
    portal._loop.call_soon_threadsafe(portal.worker.stop)
    answer.raw.read()


def test_one_account_has_no_more_streams_than_a_browser_makes(portal: Portal, board: _Board) -> None:
    browser = portal.signed_in("anna")
    open_ones = [_open(browser) for _ in range(STREAMS)]
    for answer in open_ones:
        _events(answer, 2)
    refused = _open(browser)
    assert refused.status_code == 429
    for answer in open_ones:
        answer.close()


def test_html_of_several_lines_is_one_event() -> None:
    assert event("open", "a\r\nb\rc\n\nd") == b"event: open\ndata: a\ndata: b\ndata: c\ndata: \ndata: d\n\n"
