"""The portal's shell, over real sockets on a real store: who comes in, and what everybody is told."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from routing.people import Role
from tests.support.portal import Portal


@pytest.fixture
def portal(tmp_path: Path) -> Iterator[Portal]:
    with Portal(tmp_path) as running:
        yield running


def test_somebody_who_signs_in_comes_to_the_page_that_was_asked_for(portal: Portal) -> None:
    portal.account("anna", Role.CHAIN_MANAGER)
    browser = portal.browser()
    asked = browser.get("/?dienst=vva")
    assert "/inloggen" in asked.url
    came = browser.sign_in("anna", to="/")
    assert came.status_code == 200
    assert "Aangemeld als anna" in came.text


def test_a_wrong_password_is_refused_and_says_nothing_about_what_was_wrong(portal: Portal) -> None:
    portal.account("anna", Role.CHAIN_MANAGER)
    wrong, unknown = (portal.browser().sign_in(name, "not the password") for name in ("anna", "nobody"))
    assert wrong.status_code == unknown.status_code == 403
    assert "Naam, wachtwoord of code klopt niet" in wrong.text
    assert "Naam, wachtwoord of code klopt niet" in unknown.text


def test_a_page_for_one_role_is_forbidden_to_another_and_an_unknown_address_is_not_found(portal: Portal) -> None:
    portal.account("rina", Role.READER)
    browser = portal.signed_in("rina")
    assert browser.get("/").status_code == 200
    nothing = browser.get("/nergens")
    assert nothing.status_code == 404
    assert "Aangemeld als rina" in nothing.text
