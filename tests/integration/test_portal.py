"""The portal's shell, over real sockets on a real store: who comes in, and what everybody is told."""

from __future__ import annotations

import asyncio
import json
import logging
import re
import socket
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import requests
from aiohttp import web

from portal import pages as all_pages
from portal import server, shell
from portal.rendering import NavItem, render
from portal.server import CSP, application
from portal.shell import EVERYBODY, Answer, Shell, Visit, page
from portal.statics import FOLDER
from routing.people import SEE, Permission, Role, digest_of
from routing.work import StoreUnavailable
from tests.support.exchange import LAS, SCHOOL
from tests.support.portal import Portal


def _pages(shell: Shell) -> list[web.RouteDef]:
    """Pages that a test can look at: what the visit is, one for chain managers, one that fails."""

    @page(permission=SEE)
    async def visit_(request: web.Request, visit: Visit) -> Answer:
        scope = visit.scope
        return web.json_response([visit.account.name, scope.everything, sorted(scope.organisations), sorted(scope.systems)])

    @page(permission=Permission.ACT)
    async def act(request: web.Request, visit: Visit) -> Answer:
        return web.json_response({"acted": visit.account.name})

    @page(permission=EVERYBODY)
    async def failing(request: web.Request, visit: Visit) -> Answer:
        raise RuntimeError("secret detail")

    @page(permission=EVERYBODY)
    async def storeless(request: web.Request, visit: Visit) -> Answer:
        raise StoreUnavailable("the store is away")

    @page(permission=EVERYBODY)
    async def shown(request: web.Request, visit: Visit) -> Answer:
        handle = request.query.get("handle")
        kept = await shell.kept(visit.session.key, "pupil", handle) if handle and visit.session else None
        return render(request, "error.html", title=(kept or b"<b>nothing</b>").decode(), what="", again_s=0)

    return [
        web.get("/visit", visit_),
        web.get("/api/v1/visit", visit_),
        web.post("/act", act),
        web.post("/api/v1/act", act),
        web.get("/failing", failing),
        web.get("/storeless", storeless),
        web.get("/shown", shown),
    ]


@pytest.fixture
def portal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Portal]:
    menu = (NavItem("/", "home", EVERYBODY), NavItem("/visit", "openstaand", {Permission.ACT}))
    monkeypatch.setattr(
        server, "application", lambda shell, **more: application(shell, pages=[*all_pages.PAGES, _pages], menu=menu, **more)
    )
    with Portal(tmp_path) as running:
        running.accounts()
        yield running


def test_a_handler_that_does_not_say_who_may_come_to_it_stops_the_portal_from_starting(portal: Portal) -> None:
    async def open_door(request: web.Request) -> Answer:
        return web.Response(text="everything")

    with pytest.raises(TypeError, match=r"/door: its handler says nothing about who may come"):
        application(portal.shell, pages=[lambda shell: [web.get("/door", open_door)]])
    with pytest.raises(ValueError, match="at least one permission"):
        page(permission=[])


def test_whoever_did_not_sign_in_is_sent_to_do_so_and_comes_back_to_the_page(portal: Portal) -> None:
    browser = portal.browser()
    asked = browser.get("/visit?dienst=vva")
    assert asked.url == portal.url + "/inloggen?naar=/visit?dienst%3Dvva"
    assert browser.sign_in("chain_manager", to="/visit?dienst=vva").url == portal.url + "/visit?dienst=vva"


@pytest.mark.parametrize(
    ("role", "expected"),
    [
        (Role.CHAIN_MANAGER, [True, [], []]),
        (Role.OPERATOR, [True, [], []]),
        (Role.AUDITOR, [True, [], []]),
        (Role.READER, [True, [], []]),
        (Role.PARTNER, [False, [], [LAS]]),
        (Role.SCHOOL, [False, [SCHOOL], []]),
    ],
)
def test_the_scope_is_the_accounts_own_whatever_the_request_says(portal: Portal, role: Role, expected: list[object]) -> None:
    wishes = {"scope": "everything", "organisations": "00000001800000000000", "account": "chain_manager", "role": "chain_manager"}
    headers = {"X-Account": "chain_manager", "X-Scope": "everything", "X-Forwarded-User": "chain_manager"}
    browser, token = portal.signed_in(role.value), portal.token(role.value)
    for name, value in {"account": "chain_manager", "role": "chain_manager", "scope": "everything"}.items():
        browser.cookies.set(name, value, domain="localhost.local", path="/")
    assert browser.get("/visit", params=wishes, headers=headers).json() == [role.value, *expected]
    bearer = {**headers, "Authorization": f"Bearer {token}"}
    assert requests.get(f"{portal.url}/api/v1/visit", params=wishes, headers=bearer, timeout=30).json() == [role.value, *expected]


def test_a_scope_that_an_operator_narrows_counts_from_the_next_request_on(portal: Portal) -> None:
    browser, account = portal.signed_in("partner"), portal.store.people.account("partner")
    assert account is not None
    assert browser.get("/visit").json()[3] == [LAS]
    portal.store.people.change(replace(account, systems=frozenset()), who="x", now_us=portal.clock.now_us())
    assert browser.get("/visit").json()[3] == []
    portal.store.people.change(replace(account, disabled=True), who="x", now_us=portal.clock.now_us())
    assert "/inloggen" in browser.get("/visit").url


@pytest.mark.parametrize("role", sorted(set(Role) - {Role.CHAIN_MANAGER}))
def test_what_a_role_may_not_do_is_forbidden_in_the_browser_and_over_the_api(portal: Portal, role: Role) -> None:
    browser, bearer = portal.signed_in(role.value), {"Authorization": f"Bearer {portal.token(role.value)}"}
    refused = browser.submit("/act", page="/")
    assert refused.status_code == 403
    assert "Uw rol laat dit niet toe" in refused.text
    told = requests.post(f"{portal.url}/api/v1/act", headers=bearer, timeout=30)
    assert (told.status_code, told.headers["Content-Type"]) == (403, "application/problem+json")
    assert told.json()["detail"].startswith("Your role does not allow it")
    assert "Openstaand" not in browser.get("/").text, "nor is it offered"


def test_a_form_is_taken_from_our_own_pages_only(portal: Portal) -> None:
    browser = portal.signed_in("chain_manager")
    token = browser.csrf()
    assert browser.post("/act").status_code == 403
    assert browser.post("/act", data={"csrf": "0" * 48}).status_code == 403
    assert browser.post("/act", data={"csrf": portal.signed_in("chain_manager").csrf()}).status_code == 403, "another session's"
    assert browser.post("/act", data={"csrf": token}, headers={"Origin": "https://evil.example"}).status_code == 403
    assert browser.post("/act", data={"csrf": token}, headers={"Origin": "null"}).status_code == 403
    refused = browser.post("/act", headers={"Origin": portal.url})
    assert "kwam niet van een pagina van dit portaal" in refused.text
    assert browser.post("/act", data={"csrf": token}, headers={"Origin": portal.url}).json() == {"acted": "chain_manager"}
    assert browser.post("/act", headers={"X-CSRF-Token": token}).json() == {"acted": "chain_manager"}
    assert browser.post("/api/v1/act").status_code == 403, "a cookie brings a browser along, and so does its forgery"


def test_a_token_counts_under_api_only_and_until_it_is_ended(portal: Portal) -> None:
    token = portal.token("chain_manager")
    bearer = {"Authorization": f"Bearer {token}"}
    assert requests.post(f"{portal.url}/api/v1/act", headers=bearer, timeout=30).json() == {"acted": "chain_manager"}
    assert "/inloggen" in requests.get(f"{portal.url}/visit", headers=bearer, timeout=30).url
    (row,) = portal.store.people.tokens("chain_manager")
    portal.store.people.end_token("chain_manager", row.key, who="x", now_us=portal.clock.now_us())
    for given in (bearer, {"Authorization": "Bearer kpt_" + "x" * 43}, {"Authorization": "Bearer x"}, {}):
        refused = requests.get(f"{portal.url}/api/v1/visit", headers=given, timeout=30)
        assert (refused.status_code, refused.headers["WWW-Authenticate"]) == (401, "Bearer")


@pytest.mark.parametrize("path", ["/", "/inloggen", "/nergens", "/failing", "/storeless", "/static/portal.css", "/api/v1/visit", "/visit"])
def test_every_answer_keeps_browsers_to_what_is_ours(portal: Portal, path: str) -> None:
    for browser in (portal.browser(), portal.signed_in("reader")):
        answer = browser.get(path, allow_redirects=False)
        assert answer.headers["Content-Security-Policy"] == CSP
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.headers["X-Frame-Options"] == "DENY"
        assert answer.headers["Referrer-Policy"] == "same-origin"
        assert "aiohttp" not in answer.headers["Server"]
        kept = "immutable" if path.startswith("/static/") else "no-store"
        assert kept in answer.headers["Cache-Control"]
    assert "unsafe" not in CSP
    assert "http" not in CSP


@pytest.mark.parametrize("path", ["/", "/inloggen", "/nergens", "/wachtwoord"])
def test_no_page_has_a_script_or_style_inside_or_from_elsewhere(portal: Portal, path: str) -> None:
    html = portal.signed_in("reader").get(path).text + portal.browser().get(path).text
    assert not re.search(r"<style|\sstyle=|\son[a-z]+=|javascript:", html)
    assert not re.search(r"<script(?![^>]*\ssrc=)", html)
    assert all(address.startswith("/") for address in re.findall(r'(?:src|href|action)="([^"#][^"]*)"', html))


@pytest.mark.parametrize(
    ("path", "status", "nl", "en"),
    [
        ("/nergens", 404, "Niet gevonden", "Not found"),
        ("/failing", 500, "Er ging hier iets mis", "Something went wrong here"),
        ("/storeless", 503, "De gegevens zijn nu niet bereikbaar", "The data cannot be reached now"),
        ("/act", 405, "Dit kan hier niet", "That cannot be done here"),
    ],
)
def test_what_goes_wrong_is_told_on_a_page_in_the_visitors_language(portal: Portal, path: str, status: int, nl: str, en: str) -> None:
    browser = portal.signed_in("reader")
    dutch = browser.get(path)
    english = browser.get(f"{path}?taal=en")
    assert (dutch.status_code, english.status_code) == (status, status)
    assert nl in dutch.text
    assert en in english.text
    assert '<html lang="en"' in english.text
    assert "Signed in as reader" in english.text
    assert "secret detail" not in english.text
    assert "Traceback" not in english.text


def test_a_page_without_its_store_comes_back_by_itself(portal: Portal) -> None:
    answer = portal.signed_in("reader").get("/storeless")
    assert answer.headers["Retry-After"] == "5"
    assert '<meta http-equiv="refresh" content="5">' in answer.text


def test_a_store_that_is_away_when_somebody_is_to_be_known_is_told_likewise(portal: Portal, monkeypatch: pytest.MonkeyPatch) -> None:
    browser = portal.signed_in("reader")

    def away(*_: object, **__: object) -> None:
        raise StoreUnavailable("the store is away")

    monkeypatch.setattr(portal.ports.people, "session", away)
    answer = browser.get("/visit")
    assert answer.status_code == 503
    assert "De opslag antwoordt niet" in answer.text


def test_language_and_theme_are_remembered_and_leave_the_address(portal: Portal) -> None:
    browser = portal.signed_in("reader")
    switched = browser.get("/visit?dienst=vva&taal=en&thema=donker", allow_redirects=False)
    assert (switched.status_code, switched.headers["Location"]) == (303, "/visit?dienst=vva")
    html = browser.get("/").text
    assert '<html lang="en" data-theme="donker"' in html
    assert 'href="/?taal=nl"' in html
    assert '<html lang="en" data-theme="donker"' in browser.get("/?taal=xx&thema=roze").text
    away = browser.get("//evil.example/?taal=en", allow_redirects=False)
    assert not away.headers.get("Location", "/").startswith("//")


def test_what_is_shown_is_escaped_and_a_handle_opens_in_its_own_session_only(portal: Portal) -> None:
    browser, other = portal.signed_in("reader"), portal.signed_in("auditor")
    assert "&lt;b&gt;nothing&lt;/b&gt;" in browser.get("/shown").text
    session = portal.store.people.session(_key(browser), now_us=portal.clock.now_us())
    assert session is not None
    handle = asyncio.run_coroutine_threadsafe(portal.shell.keep(session.key, "pupil", b"a pupil's hash"), portal._loop).result(30)
    assert "a pupil&#39;s hash" in browser.get("/shown", params={"handle": handle}).text
    assert "a pupil" not in other.get("/shown", params={"handle": handle}).text
    portal.clock.ahead_us += 31 * 60 * 1_000_000
    fresh = portal.signed_in("reader")
    assert "a pupil" not in fresh.get("/shown", params={"handle": handle}).text


def _key(browser: requests.Session) -> bytes:
    return digest_of(browser.cookies["koppelpunt"])


def test_the_access_log_names_path_and_account_and_neither_a_query_nor_a_personal_number(
    portal: Portal, caplog: pytest.LogCaptureFixture
) -> None:
    browser = portal.signed_in("reader")
    with caplog.at_level(logging.INFO, "koppelpunt.portal"):
        browser.get("/nergens/123456782?pgn=123456782&zoek=geheim")
    (record,) = [one for one in caplog.records if one.message == "portal_request"]
    facts = {name: record.__dict__[name] for name in ("method", "path", "status", "account")}
    assert facts == {"method": "GET", "path": "/nergens/[*********]", "status": 404, "account": "reader"}
    assert "123456782" not in json.dumps(record.__dict__, default=str)
    assert "geheim" not in json.dumps(record.__dict__, default=str)


def test_static_files_are_packed_and_kept_by_browsers_until_they_are_others(portal: Portal) -> None:
    browser = portal.browser()
    html = browser.get("/inloggen").text
    for address in re.findall(r'(?:src|href)="(/static/[^"]+)"', html):
        answer = browser.get(address)
        assert answer.status_code == 200
        assert answer.headers["Content-Encoding"] == "gzip"
        assert answer.content == (FOLDER / address.removeprefix("/static/").partition("?")[0]).read_bytes()
    for wrong in ("/static/", "/static/../server.py", "/static/%2e%2e/server.py", "/static/vendor", "/static/none.css"):
        assert browser.get(wrong).status_code == 404, wrong


def test_a_form_larger_than_any_of_ours_is_refused(portal: Portal) -> None:
    answer = portal.browser().post("/inloggen", data={"name": "x" * 300_000})
    assert answer.status_code == 413
    assert "Te groot" in answer.text


def _raw(portal: Portal, request: bytes) -> bytes:
    """What is answered to bytes that no library would send."""
    with socket.create_connection(("localhost", portal.port), timeout=30) as connection:
        connection.sendall(request)
        return b"".join(iter(lambda: connection.recv(65_536), b""))


def test_input_that_no_browser_makes_is_refused_and_is_no_fault_of_ours(portal: Portal, caplog: pytest.LogCaptureFixture) -> None:
    browser = portal.browser()
    token = browser.csrf("/inloggen")
    cookie = f"Cookie: koppelpunt={browser.cookies['koppelpunt']}\r\n".encode()
    form = b"Content-Type: application/x-www-form-urlencoded\r\n"

    def post(head: bytes, body: bytes) -> bytes:
        length = b"Content-Length: %d\r\n" % len(body)
        return _raw(portal, b"POST /inloggen HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n" + head + length + b"\r\n" + body)

    good = f"csrf={token}&password=x&code=&naar=".encode()
    tries = {
        "a cookie of other letters": (post(b"Cookie: koppelpunt=\xff\xfe\r\n" + form, good), b"403"),
        "a token of other letters": (post(cookie + form + b"X-CSRF-Token: \xff\r\n", good), b"403"),
        "an Origin that is none": (post(cookie + form + b"Origin: http://[\r\n", good), b"403"),
        "a form of no letters": (post(cookie + form, b"csrf=\xff\xfe"), b"400"),
        "letters that do not exist": (post(cookie + b"Content-Type: application/x-www-form-urlencoded; charset=x\r\n", good), b"400"),
        "parts without an end": (post(cookie + b"Content-Type: multipart/form-data; boundary=x\r\n", b"--x\r\nnothing"), b"400"),
        "parts without a boundary": (post(cookie + b"Content-Type: multipart/form-data\r\n", b"--x\r\n"), b"400"),
        "a name with a null in it": (post(cookie + form, good + b"&name=an%00na"), b"403"),
        "a name in half a letter": (post(cookie + form, good + b"&name=%ed%a0%80"), b"403"),
    }
    assert {name: answer.partition(b" ")[2][:3] for name, (answer, _) in tries.items()} == {name: code for name, (_, code) in tries.items()}
    assert b"HTTP/1.1 404" in _raw(portal, b"GET /%ff%00 HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
    assert [record.message for record in caplog.records if record.message == "portal_failed"] == []


def test_a_request_that_does_not_come_in_is_not_waited_for(portal: Portal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "READ_S", 1.0)
    monkeypatch.setattr(shell, "READ_S", 0.5)
    with socket.create_connection(("localhost", portal.port), timeout=30) as slow:
        slow.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\nX-Slow: ")
        assert slow.recv(1) == b"", "the portal hung up"
    browser = portal.browser()
    browser.get("/inloggen")
    cookie = f"koppelpunt={browser.cookies['koppelpunt']}"
    with socket.create_connection(("localhost", portal.port), timeout=30) as slow:
        head = f"POST /inloggen HTTP/1.1\r\nHost: localhost\r\nCookie: {cookie}\r\nContent-Length: 100\r\n"
        slow.sendall(f"{head}Content-Type: application/x-www-form-urlencoded\r\n\r\ncsrf=".encode())
        assert slow.recv(15) == b"HTTP/1.1 408 Re"


def test_behind_a_tls_proxy_cookies_are_for_this_host_and_tls_only_and_addresses_are_the_visitors(tmp_path: Path) -> None:
    proxies = lambda address: address in ("127.0.0.1", "::1")  # noqa: E731 - one line is clearer
    with Portal(tmp_path, url="https://portal.example", https=True, proxied=proxies) as portal:
        portal.account("anna", Role.READER)
        answer = portal.browser().get("/inloggen")
        assert re.match(r"__Host-koppelpunt=[\w-]+; HttpOnly; Path=/; SameSite=Lax; Secure$", answer.headers["Set-Cookie"])
        assert answer.headers["Strict-Transport-Security"] == "max-age=31536000"
        cookie, token = answer.headers["Set-Cookie"].partition(";")[0], re.findall(r'name="csrf" value="(\w+)"', answer.text)[0]
        form = {"csrf": token, "name": "anna", "password": "wrong", "code": "", "naar": ""}
        headers = {"Cookie": cookie, "Origin": "https://portal.example"}

        def tried(forwarded: str) -> int:
            more = {**headers, "X-Forwarded-For": forwarded}
            return requests.post(f"{portal.url}/inloggen", data=form, headers=more, timeout=30).status_code

        assert [tried("198.51.100.9, 203.0.113.1") for _ in range(6)] == [403] * 5 + [429]
        assert tried("198.51.100.9, 203.0.113.2") == 403, "another visitor; what he says of himself does not count"


def test_every_file_that_is_vendored_has_its_version_and_licence() -> None:
    versions = (FOLDER / "vendor/VERSIONS.md").read_text(encoding="utf-8")
    assert len(re.findall(r"^\| [@\w./-]+ \| \d+\.\d+\.\d+ \| .*(?:EUPL-1\.2|BSD)", versions, re.MULTILINE)) == 4
    assert {path.name for path in (FOLDER / "vendor").glob("LICENSE*")} == {
        "LICENSE-utrecht.md",
        "LICENSE-tokens.md",
        "LICENSE-htmx",
        "LICENSE-htmx-sse",
    }
    css = (FOLDER / "vendor/utrecht.css").read_text(encoding="utf-8")
    assert "url(" not in css
    assert "@import" not in css


def test_templates_use_components_that_were_vendored() -> None:
    css = (FOLDER / "vendor/utrecht.css").read_text(encoding="utf-8")
    there = {re.split(r"__|--", name)[0] for name in re.findall(r"\.utrecht-([a-z0-9-]+)", css)}
    for template in (FOLDER.parent / "templates").rglob("*.html"):
        names = set(re.findall(r"\butrecht-([a-z0-9-]+)", template.read_text(encoding="utf-8")))
        # a name that ends in a dash goes on with a number of the template's
        used = {re.split(r"__|--", name + "1" if name.endswith("-") else name)[0] for name in names} - {"css"}
        assert used <= there, f"{template.name}: add {sorted(used - there)} to portal/vendoring.py and run it"
