"""Local accounts: password, second factor, limits, and a password that somebody else chose."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pyotp
import pytest

from adapters.passwords import reseal
from adapters.portal_keys import PortalKeys
from adapters.vault import Vault
from portal.shell import Shell, network_of
from portal.sign_in import TRIES_ADDRESS, TRIES_BOTH, WINDOW_US
from routing.people import Role
from tests.support.portal import MASTER_KEY, PASSWORD, Browser, Portal

WRONG = "Naam, wachtwoord of code klopt niet"


@pytest.fixture
def portal(tmp_path: Path) -> Iterator[Portal]:
    with Portal(tmp_path) as running:
        running.account("anna", Role.CHAIN_MANAGER)
        yield running


class _Quick:
    """Judges passwords at once, where a test is about everything else; codes as the real one."""

    def __init__(self, portal: Portal) -> None:
        self._real = portal.passwords
        self.new_totp, self.totp_step = self._real.new_totp, self._real.totp_step

    def hash(self, password: str) -> str:
        return self._real.hash(password)

    def check(self, kept: str | None, password: str) -> bool:
        return kept is not None and password == PASSWORD


def _cookie(browser: Browser) -> str | None:
    return browser.cookies.get("koppelpunt")


def test_signing_in_gives_another_secret_than_the_browser_had_and_signing_out_ends_it(portal: Portal) -> None:
    browser = portal.browser()
    browser.get("/inloggen")
    before = _cookie(browser)
    assert "Aangemeld als anna" in browser.sign_in(" Anna ").text, "names are written without capitals"
    after = _cookie(browser)
    assert before and after and before != after
    stolen = portal.browser()
    stolen.cookies.set("koppelpunt", after, domain="localhost.local", path="/")
    assert "Aangemeld als anna" in stolen.get("/").text
    browser.submit("/uitloggen", page="/")
    assert "/inloggen" in stolen.get("/").url, "the secret is worth nothing any more"
    assert _cookie(browser) is None or _cookie(browser) != after


def test_whatever_is_wrong_the_answer_is_the_same(portal: Portal) -> None:
    portal.account("lena", Role.READER, password="another long password")
    lena = portal.store.people.account("lena")
    assert lena is not None
    portal.store.people.change(replace(lena, disabled=True), who="x", now_us=portal.clock.now_us())
    tries = [("anna", "wrong"), ("nobody", PASSWORD), ("lena", "another long password"), ("anna", "x" * 201), ("", "")]
    pages = []
    for name, password in tries:
        answer = portal.browser().sign_in(name, password)
        assert answer.status_code == 403
        pages.append(re.sub(r"[0-9a-f]{48}", "", answer.text))
    assert WRONG in pages[0]
    assert len(set(pages)) == 1


def test_after_five_wrong_tries_even_the_right_password_waits_a_quarter_of_an_hour(portal: Portal) -> None:
    portal.ports.passwords = _Quick(portal)
    browser = portal.browser()
    assert [browser.sign_in("anna", "wrong").status_code for _ in range(TRIES_BOTH)] == [403] * TRIES_BOTH
    held = browser.sign_in("anna")
    assert held.status_code == 429
    assert "Wacht 15 minuten" in held.text
    assert 0 < int(held.headers["Retry-After"]) <= 15 * 60
    portal.clock.ahead_us += WINDOW_US
    assert "Aangemeld als anna" in browser.sign_in("anna").text


def test_one_address_that_tries_many_names_is_held_back_and_whoever_gets_in_does_not_count(portal: Portal) -> None:
    portal.ports.passwords = _Quick(portal)
    for _ in range(3):
        assert "Aangemeld als anna" in portal.browser().sign_in("anna").text
    answers = [portal.browser().sign_in(f"name{n}").status_code for n in range(TRIES_ADDRESS + 1)]
    assert answers == [403] * TRIES_ADDRESS + [429]


@pytest.mark.parametrize(
    ("address", "counted"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::1", "2001:db8:1:2::/64"),
        ("2001:db8:1:3::1", "2001:db8:1:3::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("unknown", "unknown"),
    ],
)
def test_of_ipv6_a_whole_network_is_one_visitor(address: str, counted: str) -> None:
    assert network_of(address) == counted


def test_one_ipv6_network_that_tries_many_names_is_held_back(portal: Portal, monkeypatch: pytest.MonkeyPatch) -> None:
    portal.ports.passwords = _Quick(portal)
    addresses = (f"2001:db8::{n:x}" for n in range(1, 1_000))
    monkeypatch.setattr(Shell, "address_of", lambda self, request: next(addresses))
    answers = [portal.browser().sign_in(f"name{n}").status_code for n in range(TRIES_ADDRESS + 1)]
    assert answers == [403] * TRIES_ADDRESS + [429]


def test_a_second_factor_is_asked_for_and_its_code_is_good_once(portal: Portal) -> None:
    portal.ports.passwords = _Quick(portal)
    sealed, uri = portal.passwords.new_totp("berend")
    portal.account("berend", Role.OPERATOR, totp=sealed)
    secret = parse_qs(urlsplit(uri).query)["secret"][0]
    assert secret.encode() not in sealed
    codes = pyotp.TOTP(secret)
    portal.clock.ahead_us += 30_000_000 - portal.clock.now_us() % 30_000_000  # at the beginning of a step, so that none ends meanwhile
    step = portal.clock.now_us() // 30_000_000
    assert portal.browser().sign_in("berend").status_code == 403
    assert portal.browser().sign_in("berend", code="000000" if codes.generate_otp(step) != "000000" else "111111").status_code == 403
    assert portal.browser().sign_in("berend", code=codes.generate_otp(step - 2)).status_code == 403, "too old"
    code = codes.generate_otp(step)
    assert "Aangemeld als berend" in portal.browser().sign_in("berend", code=f"{code[:3]} {code[3:]}").text
    assert portal.browser().sign_in("berend", code=code).status_code == 403
    portal.clock.ahead_us += WINDOW_US
    assert "Aangemeld als berend" in portal.browser().sign_in("berend", code=codes.generate_otp(portal.clock.now_us() // 30_000_000)).text


def test_another_accounts_second_factor_is_none(portal: Portal) -> None:
    portal.ports.passwords = _Quick(portal)
    sealed, uri = portal.passwords.new_totp("berend")
    portal.account("carla", Role.OPERATOR, totp=sealed)
    codes = pyotp.TOTP(parse_qs(urlsplit(uri).query)["secret"][0])
    answer = portal.browser().sign_in("carla", code=codes.generate_otp(portal.clock.now_us() // 30_000_000))
    assert answer.status_code == 503, "sealed for another account: the store was tampered with"
    assert "/inloggen" in portal.browser().get("/").url


def test_a_password_that_somebody_else_chose_is_changed_before_anything_else(portal: Portal) -> None:
    portal.account("dirk", Role.READER, one_time=True)
    browser = portal.browser()
    came = browser.sign_in("dirk")
    assert came.url == portal.url + "/wachtwoord"
    assert "Iemand anders koos uw wachtwoord" in came.text
    assert browser.get("/").url == portal.url + "/wachtwoord"
    wishes = [
        ({"now": PASSWORD, "new": "too short", "again": "too short"}, "minder dan 12 tekens"),
        ({"now": PASSWORD, "new": "long enough to be good", "again": "but not the same at all"}, "niet gelijk"),
        ({"now": PASSWORD, "new": PASSWORD, "again": PASSWORD}, "ander wachtwoord dan het huidige"),
        ({"now": "wrong", "new": "long enough to be good", "again": "long enough to be good"}, "huidige wachtwoord klopt niet"),
    ]
    for fields, told in wishes:
        answer = browser.submit("/wachtwoord", **fields)
        assert (answer.status_code, told in answer.text) == (422, True), told
    after = browser.submit("/wachtwoord", now=PASSWORD, new="long enough to be good", again="long enough to be good")
    assert after.url == portal.url + "/"
    assert "Aangemeld als dirk" in portal.browser().sign_in("dirk", "long enough to be good").text
    assert portal.browser().sign_in("dirk").status_code == 403


def test_a_one_time_password_is_good_until_its_time_is_over_and_says_so_to_who_knows_it(portal: Portal) -> None:
    portal.ports.passwords = _Quick(portal)
    portal.account("dirk", Role.READER, one_time=True, until_us=portal.clock.now_us() + WINDOW_US)
    assert portal.browser().sign_in("dirk").url == portal.url + "/wachtwoord"
    portal.clock.ahead_us += WINDOW_US
    late = portal.browser().sign_in("dirk")
    assert (late.status_code, "eenmalige wachtwoord is niet meer geldig" in late.text) == (403, True)
    assert WRONG in portal.browser().sign_in("dirk", "wrong").text
    hashed = portal.passwords.hash(PASSWORD)
    portal.store.people.set_password("dirk", hashed, one_time=False, who="x", now_us=portal.clock.now_us())
    assert "Aangemeld als dirk" in portal.browser().sign_in("dirk").text, "his own does not end"


def test_whoever_must_choose_a_password_may_also_leave(portal: Portal) -> None:
    portal.account("dirk", Role.READER, one_time=True)
    browser = portal.signed_in("dirk")
    assert "/inloggen" in browser.submit("/uitloggen", page="/wachtwoord").url
    assert "/inloggen" in browser.get("/").url


def test_guessing_the_current_password_of_an_open_session_is_held_back_too(portal: Portal) -> None:
    portal.ports.passwords = _Quick(portal)
    browser = portal.signed_in("anna")
    new = "long enough to be good"
    tries = [browser.submit("/wachtwoord", now="wrong", new=new, again=new).status_code for _ in range(TRIES_BOTH + 1)]
    assert tries == [422] * TRIES_BOTH + [429]


def test_a_session_that_was_idle_for_half_an_hour_signs_in_again(portal: Portal) -> None:
    browser = portal.signed_in("anna")
    assert browser.get("/").url == portal.url + "/"
    portal.clock.ahead_us += 31 * 60 * 1_000_000
    assert "/inloggen" in browser.get("/").url


def test_after_signing_in_one_comes_to_a_page_of_ours_whatever_was_asked(portal: Portal) -> None:
    portal.ports.passwords = _Quick(portal)
    for to in ("https://evil.example/", "//evil.example", "/\\evil.example", "/inloggen", "/\tx"):
        assert portal.browser().sign_in("anna", to=to).url == portal.url + "/", to
    browser = portal.signed_in("anna")
    assert browser.get("/inloggen?naar=//evil.example").url == portal.url + "/"


def test_the_store_has_neither_passwords_nor_secrets(portal: Portal, tmp_path: Path) -> None:
    browser = portal.browser()
    browser.sign_in("anna")
    secret = _cookie(browser)
    assert secret
    portal.store.database.tidy_log()
    raw = b"".join(file.read_bytes() for file in tmp_path.glob("*.db*") if file.is_file())
    assert b"$argon2id$" in raw
    assert PASSWORD.encode() not in raw
    assert secret.encode() not in raw


# -- who must have a second factor ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def strict(tmp_path: Path) -> Iterator[Portal]:
    """Where chain managers must have one."""
    with Portal(tmp_path, second_factor=frozenset({Role.CHAIN_MANAGER})) as running:
        running.ports.passwords = _Quick(running)
        running.account("anna", Role.CHAIN_MANAGER)
        running.account("rina", Role.READER)
        yield running


def _new_secret(page: str) -> str:
    found = re.search(r'<code class="utrecht-code">([A-Z2-7 ]+)</code>', page)
    assert found
    return found.group(1).replace(" ", "")


def _handle(page: str) -> str:
    found = re.search(r'name="handle" value="([^"]+)"', page)
    assert found
    return found.group(1)


def test_whoever_must_have_a_second_factor_gets_one_before_anything_else_and_needs_it_from_then_on(strict: Portal) -> None:
    browser = strict.browser()
    came = browser.sign_in("anna")
    assert came.url == strict.url + "/tweede-factor"
    assert "Uw rol vraagt om een tweede factor" in came.text and "<svg" in came.text
    assert browser.get("/").url == strict.url + "/tweede-factor"
    other = strict.signed_in("anna")
    strict.clock.ahead_us += 30_000_000 - strict.clock.now_us() % 30_000_000
    codes, step = pyotp.TOTP(_new_secret(came.text)), strict.clock.now_us() // 30_000_000
    wrong = browser.submit("/tweede-factor", handle=_handle(came.text), code="1" + codes.generate_otp(step))
    assert (wrong.status_code, "Deze code klopt niet" in wrong.text) == (422, True)
    assert strict.store.people.sign_in("anna").totp is None  # type: ignore[union-attr]
    after = browser.submit("/tweede-factor", handle=_handle(wrong.text), code=codes.generate_otp(step))
    assert after.url == strict.url + "/" and "Aangemeld als anna" in after.text
    assert "/inloggen" in other.get("/").url, "who signed in without it signs in again"
    assert strict.browser().sign_in("anna").status_code == 403
    assert strict.browser().sign_in("anna", code=codes.generate_otp(step)).status_code == 403, "used already"
    assert "Aangemeld als anna" in strict.browser().sign_in("anna", code=codes.generate_otp(step + 1)).text
    assert "U hebt een tweede factor" in browser.get("/tweede-factor").text, "and another is for the operator to give"
    assert codes.secret.encode() not in b"".join(file.read_bytes() for file in Path(strict.store.database.url.database).parent.iterdir())  # type: ignore[arg-type]


def test_who_need_not_have_a_second_factor_may_and_a_handle_of_another_session_is_none(strict: Portal) -> None:
    rina, anna = strict.signed_in("rina"), strict.signed_in("anna")
    assert rina.get("/").url == strict.url + "/"
    shown = rina.get("/tweede-factor").text
    assert "Uw rol vraagt" not in shown
    code = pyotp.TOTP(_new_secret(shown)).generate_otp(strict.clock.now_us() // 30_000_000)
    stolen = anna.submit("/tweede-factor", handle=_handle(shown), code=code)
    assert (stolen.status_code, "te lang open" in stolen.text) == (422, True)
    assert strict.store.people.sign_in("anna").totp is None  # type: ignore[union-attr]
    rina.submit("/tweede-factor", handle=_handle(shown), code=code)
    assert strict.store.people.sign_in("rina").totp is not None  # type: ignore[union-attr]


def test_codes_for_a_new_second_factor_cannot_be_tried_for_ever(strict: Portal) -> None:
    browser = strict.signed_in("anna")
    shown = browser.get("/tweede-factor").text
    form = {"csrf": browser.csrf("/tweede-factor"), "handle": _handle(shown), "code": "no code"}
    assert [browser.post("/tweede-factor", data=form).status_code for _ in range(TRIES_BOTH + 1)] == [422] * TRIES_BOTH + [429]


def test_a_second_factor_of_before_is_said_to_be_unreadable_until_it_is_sealed_anew(portal: Portal) -> None:
    portal.ports.passwords = _Quick(portal)
    vault, secret = Vault(MASTER_KEY), pyotp.random_base32()
    sealed = vault.seal("account:berend:totp", secret.encode(), b"")
    portal.account("berend", Role.OPERATOR, totp=sealed.wrapped_key + sealed.body)
    portal.account("carla", Role.OPERATOR, totp=b"x" * 100)
    code = pyotp.TOTP(secret).generate_otp(portal.clock.now_us() // 30_000_000)
    early = portal.browser().sign_in("berend", code=code)
    assert (early.status_code, "kan nu niet worden gelezen" in early.text) == (503, True)
    keys = PortalKeys.of(MASTER_KEY)
    assert [reseal(portal.store.people, vault, keys) for _ in range(2)] == [1, 0]
    code = pyotp.TOTP(secret).generate_otp(portal.clock.now_us() // 30_000_000)
    assert "Aangemeld als berend" in portal.browser().sign_in("berend", code=code).text
    assert portal.store.people.sign_in("carla").totp == b"x" * 100, "what no key opens stays as it is"  # type: ignore[union-attr]
