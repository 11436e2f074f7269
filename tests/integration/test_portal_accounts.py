"""Accounts on the portal's own pages: made, changed, disabled and given new secrets by whoever may, and journalled with who did it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pyotp
import pytest
from sqlalchemy import text

from routing.people import Role
from schemas.events import decode
from tests.support.pages import HOUR, LAS, SCHOOL, Pages, pages
from tests.support.portal import PASSWORD, Browser


@pytest.fixture
def portal(tmp_path: Path) -> Iterator[Pages]:
    with pages(tmp_path) as running:
        yield running


@pytest.fixture
def olga(portal: Pages) -> Browser:
    """The operator, who may manage accounts."""
    return portal.signed_in("olga")


def journalled(portal: Pages) -> list[tuple[str, str, dict[str, str]]]:
    """Kind, actor and details of what olga did to accounts, in order."""
    with portal.store.database.read() as connection:
        rows = connection.execute(text("SELECT payload, schema FROM event ORDER BY id")).all()
    events = [decode(bytes(row.payload), row.schema) for row in rows]
    return [(one.kind, one.actor, dict(one.details)) for one in events if one.actor == "olga" and one.kind != "signed_in"]


def shown(text: str, what: str) -> str:
    """A secret that the page shows once."""
    found = re.search(rf"<dt>{what}[^<]*</dt><dd[^>]*>([^<]+)</dd>", text)
    assert found, text
    return found.group(1).replace("&amp;", "&")


def test_a_new_account_gets_its_password_and_second_factor_once_and_signs_in_with_them(portal: Pages, olga: Browser) -> None:
    made = olga.submit(
        "/accounts", naam="Nieuw.Iemand", rol=["partner", "school"], organisations="01AA\n", systems=f"  {LAS} ", factor="ja"
    )
    assert made.status_code == 200 and "Het account is gemaakt" in made.text
    password, address = shown(made.text, "Wachtwoord"), shown(made.text, "Tweede factor, voor")
    known = portal.store.people.sign_in("nieuw.iemand")
    assert known is not None and known.one_time and known.totp
    assert (known.account.roles, known.account.organisations, known.account.systems) == (
        {Role.PARTNER, Role.SCHOOL},
        {SCHOOL},
        {LAS},
    )
    assert password not in olga.get("/accounts/nieuw.iemand").text
    code = pyotp.parse_uri(address).at(portal.clock.now_us() // 1_000_000)  # type: ignore[attr-defined]
    entered = portal.browser().sign_in("nieuw.iemand", password, code)
    assert entered.url.endswith("/wachtwoord"), "somebody else chose it"
    assert [kind for kind, _, _ in journalled(portal)] == ["account_added"]
    assert password not in str(journalled(portal))


@pytest.mark.parametrize(
    ("form", "said"),
    [
        ({"naam": "anna", "rol": "reader"}, "Er is al een account anna"),
        ({"naam": "x y", "rol": "reader"}, "kan geen naam van een account zijn"),
        ({"naam": "nieuw"}, "heeft een rol nodig"),
        ({"naam": "nieuw", "rol": "keizer"}, "Die rol is er niet"),
        ({"naam": "nieuw", "rol": "school"}, "zou niets zien"),
        ({"naam": "nieuw", "rol": "school", "organisations": "De Eik"}, "Dit is geen OIN"),
        ({"naam": "nieuw", "rol": "reader", "email": "geen adres"}, "is geen e-mailadres"),
    ],
)
def test_an_account_that_makes_no_sense_is_not_made_and_the_form_is_kept(
    portal: Pages, olga: Browser, form: dict[str, str], said: str
) -> None:
    before = portal.store.people.accounts()
    answer = olga.submit("/accounts", **form)
    assert answer.status_code == 422 and said in answer.text
    assert f'value="{form["naam"]}"' in answer.text
    assert portal.store.people.accounts() == before and journalled(portal) == []


def test_other_roles_and_organisations_count_at_the_next_request(portal: Pages, olga: Browser) -> None:
    school = portal.signed_in("school")
    assert school.get("/").status_code == 200 and "Accounts" not in school.get("/").text
    answer = olga.submit("/accounts/school", wat="wijzigen", rol="operator", organisations="", systems="")
    assert "zijn opgeslagen" in answer.text
    assert school.get("/accounts").status_code == 200
    assert journalled(portal) == [("account_changed", "olga", {"account": "school", "roles": "operator"})]


def test_an_account_that_is_disabled_is_out_at_once_and_may_be_let_in_again(portal: Pages, olga: Browser) -> None:
    rina, token = portal.signed_in("rina"), portal.token("rina")
    assert "geblokkeerd en afgemeld" in olga.submit("/accounts/rina", wat="blokkeren").text
    assert "/inloggen" in rina.get("/").url
    assert portal.browser().get("/api/v1/me", headers={"Authorization": f"Bearer {token}"}).status_code == 401
    assert "mag zich weer aanmelden" in olga.submit("/accounts/rina", wat="toelaten").text
    assert portal.browser().sign_in("rina").status_code == 200
    assert [kind for kind, _, _ in journalled(portal)] == ["account_changed", "account_changed"]


def test_a_new_password_takes_the_place_of_the_old_one(portal: Pages, olga: Browser) -> None:
    answer = olga.submit("/accounts/rina", wat="wachtwoord")
    password = shown(answer.text, "Wachtwoord")
    assert portal.browser().sign_in("rina", PASSWORD).status_code == 403
    assert portal.browser().sign_in("rina", password).url.endswith("/wachtwoord")
    assert ("account_password_set", "olga", {"account": "rina"}) in journalled(portal)


def test_a_password_that_is_made_here_is_over_in_time_and_the_list_says_so(portal: Pages, olga: Browser) -> None:
    made = olga.submit("/accounts", naam="nieuw", rol="reader", email="nieuw@example.nl")
    password = shown(made.text, "Wachtwoord")
    olga.submit("/accounts/rina", wat="wachtwoord")
    until_us = portal.clock.now_us() + portal.shell.one_time_h * HOUR
    for name in ("nieuw", "rina"):
        known = portal.store.people.sign_in(name)
        assert known is not None and known.one_time_until_us is not None and 0 <= until_us - known.one_time_until_us < HOUR
    portal.clock.ahead_us += portal.shell.one_time_h * HOUR
    assert "eenmalige wachtwoord is niet meer geldig" in portal.browser().sign_in("nieuw", password).text
    later = portal.signed_in("olga").get("/accounts").text
    assert later.count("eenmalig wachtwoord verlopen") == 2


def test_whose_account_it_is_stays_when_something_else_is_changed_and_may_be_changed_too(portal: Pages, olga: Browser) -> None:
    olga.submit("/accounts", naam="nieuw", rol="reader", email="nieuw@example.nl")
    assert 'value="nieuw@example.nl"' in olga.get("/accounts/nieuw").text, "the form sends it along"
    olga.submit("/accounts/nieuw", wat="blokkeren")
    olga.submit("/accounts/nieuw", wat="toelaten")
    account = portal.store.people.account("nieuw")
    assert account is not None and account.email == "nieuw@example.nl"
    olga.submit("/accounts/nieuw", wat="wijzigen", rol="reader", email="")
    account = portal.store.people.account("nieuw")
    assert account is not None and account.email == ""


def test_a_second_factor_is_given_anew_and_taken_away(portal: Pages, olga: Browser) -> None:
    address = shown(olga.submit("/accounts/rina", wat="factor").text, "Tweede factor, voor")
    code = pyotp.parse_uri(address).at(portal.clock.now_us() // 1_000_000)  # type: ignore[attr-defined]
    assert portal.browser().sign_in("rina").status_code == 403
    assert portal.browser().sign_in("rina", code=code).status_code == 200
    olga.submit("/accounts/rina", wat="zonder")
    assert portal.browser().sign_in("rina").status_code == 200
    assert [details["second_factor"] for kind, _, details in journalled(portal)] == ["totp", "none"]


def test_tokens_are_made_shown_once_and_ended(portal: Pages, olga: Browser) -> None:
    token = shown(olga.submit("/accounts/rina", wat="token", waarvoor="weekcijfers", dagen="30").text, "API-token")
    headers = {"Authorization": f"Bearer {token}"}
    assert portal.browser().get("/api/v1/me", headers=headers).json()["account"] == "rina"
    page = olga.get("/accounts/rina").text
    assert token not in page and "weekcijfers" in page
    (row,) = portal.store.people.tokens("rina")
    assert "Het token geldt niet meer" in olga.submit("/accounts/rina", wat="token_einde", token=row.key).text
    assert portal.browser().get("/api/v1/me", headers=headers).status_code == 401
    assert "gold al niet meer" in olga.submit("/accounts/rina", wat="token_einde", token=row.key).text
    for wrong in ({"waarvoor": "x", "dagen": "0"}, {"waarvoor": "x", "dagen": "731"}, {"waarvoor": " ", "dagen": "3"}, {"waarvoor": "x"}):
        assert olga.submit("/accounts/rina", wat="token", **wrong).status_code == 409
    assert len(portal.store.people.tokens("rina")) == 1
    assert [kind for kind, _, _ in journalled(portal)] == ["token_made", "token_ended"]


def test_nobody_gets_a_token_with_which_somebody_else_would_seem_to_act(portal: Pages, olga: Browser) -> None:
    portal.account("otto", "operator")
    portal.account("dirk", "auditor")
    olga.submit("/accounts/dirk", wat="blokkeren")
    for name in ("anna", "adam", "otto", "dirk"):
        answer = olga.submit(f"/accounts/{name}", wat="token", waarvoor="x", dagen="3")
        assert answer.status_code == 409 and "in naam van een ander" in answer.text
        assert 'name="waarvoor"' not in olga.get(f"/accounts/{name}").text and portal.store.people.tokens(name) == []
    for name in ("olga", "rina", "school", "leverancier"):
        assert "Er is een nieuw token" in olga.submit(f"/accounts/{name}", wat="token", waarvoor="x", dagen="3").text


def test_the_last_who_may_manage_accounts_cannot_lock_everybody_out(portal: Pages, olga: Browser) -> None:
    for form in ({"wat": "blokkeren"}, {"wat": "wijzigen", "rol": "reader"}):
        answer = olga.submit("/accounts/olga", **form)
        assert answer.status_code == 409 and "het laatste dat accounts mag beheren" in answer.text
    assert olga.get("/accounts").status_code == 200 and journalled(portal) == []
    portal.account("otto", "operator")
    olga.submit("/accounts/olga", wat="wijzigen", rol="reader")
    assert olga.get("/accounts").status_code == 403
    otto = portal.signed_in("otto")
    assert otto.submit("/accounts/otto", wat="blokkeren").status_code == 409
    assert portal.store.people.account("otto").disabled is False  # type: ignore[union-attr]


def test_nobody_gets_new_secrets_of_his_own_by_a_session_alone(portal: Pages, olga: Browser) -> None:
    before = portal.store.people.sign_in("olga")
    for wat in ("wachtwoord", "factor", "zonder"):
        assert "Dit is uw eigen account" in olga.submit("/accounts/olga", wat=wat).text
    assert portal.store.people.sign_in("olga") == before
    assert olga.get("/accounts").status_code == 200


@pytest.mark.parametrize(
    "more",
    [
        {"rol": ["operator", "auditor"], "email": "olga@example.nl"},
        {"rol": "operator", "email": "olga@example.nl", "systems": LAS},
        {"rol": "operator", "email": "somebody.else@example.nl"},
        {"rol": "operator", "email": ""},
    ],
)
def test_whoever_manages_accounts_does_not_make_his_own_more_than_it_is(portal: Pages, olga: Browser, more: dict[str, str]) -> None:
    people = portal.store.people
    own = people.account("olga")
    assert own is not None
    people.change(replace(own, email="olga@example.nl"), who="x", now_us=portal.clock.now_us())
    portal.account("olga2", "operator")
    second = people.account("olga2")
    assert second is not None
    people.change(replace(second, email="Olga+2@example.nl"), who="x", now_us=portal.clock.now_us())
    before = people.accounts()
    for name in ("olga", "olga2"):  # by whose address it is, both are hers
        answer = olga.submit(f"/accounts/{name}", wat="wijzigen", **more)
        assert answer.status_code == 409 and "eigen account krijgt hier geen rol" in answer.text
    assert people.accounts() == before
    otto = portal.account("otto", "operator")
    assert otto is not None
    assert "zijn opgeslagen" in olga.submit("/accounts/otto", wat="wijzigen", rol=["operator", "auditor"]).text, "another's may be"


def test_an_account_of_the_identity_provider_is_changed_there_and_disabled_here(portal: Pages, olga: Browser) -> None:
    from routing.people import Source, new_account

    theirs = new_account("oidc:p/1", [Role.READER], source=Source.OIDC, label="Piet <Pietersen>")
    portal.store.people.from_provider(theirs, now_us=portal.clock.now_us())
    page = olga.get("/accounts").text
    assert "Piet &lt;Pietersen&gt;" in page and 'href="/accounts/oidc%3Ap%2F1"' in page
    assert "Piet &lt;Pietersen&gt;" in olga.get("/accounts/oidc%3Ap%2F1").text
    for form in ({"wat": "wijzigen", "rol": "operator"}, {"wat": "wachtwoord"}, {"wat": "factor"}):
        assert "is van de aanmelddienst" in olga.submit("/accounts/oidc:p%2F1", **form).text
    assert "geblokkeerd en afgemeld" in olga.submit("/accounts/oidc:p%2F1", wat="blokkeren").text
    assert portal.store.people.account("oidc:p/1").disabled is True  # type: ignore[union-attr]


@pytest.mark.parametrize("who", ["anna", "rina", "adam", "leverancier", "school"])
def test_whoever_may_not_manage_accounts_sees_and_does_nothing_here(portal: Pages, who: str) -> None:
    browser, before = portal.signed_in(who), portal.store.people.accounts()
    assert "/accounts" not in browser.get("/").text
    assert browser.get("/accounts").status_code == browser.get("/accounts/olga").status_code == 403
    for wat in ("wijzigen", "blokkeren", "wachtwoord", "token"):
        form = {"wat": wat, "rol": "operator", "waarvoor": "x", "dagen": "3"}
        assert browser.submit(f"/accounts/{who}", page="/openstaand", **form).status_code == 403
    assert portal.store.people.accounts() == before


def test_what_is_not_there_is_not_found(olga: Browser) -> None:
    assert olga.get("/accounts/niemand").status_code == 404
    assert olga.submit("/accounts/niemand", page="/accounts", wat="blokkeren").status_code == 404
    assert olga.submit("/accounts/anna", wat="iets").status_code == 404
    assert "Geen account voldoet" in olga.get("/accounts?zoek=nergens").text
    assert "leverancier" in olga.get("/accounts?zoek=ketenpartner").text
