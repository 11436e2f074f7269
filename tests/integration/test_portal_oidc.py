"""Signing in at an identity provider: a real one, small, on a port of its own."""

from __future__ import annotations

import base64
import hashlib
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from joserfc.jwk import RSAKey

from adapters.oidc import Claims
from adapters.oidc import Provider as Client
from routing.people import Permission, Role, Scope
from tests.support.exchange import LAS
from tests.support.oidc import CLIENT, SECRET, Provider
from tests.support.portal import Portal

PERSON = {"sub": "7f3a", "name": "Bea Beheer", "groups": ["staff", "suppliers"], "systems": [LAS]}
CLAIMS = Claims(roles={("groups", "suppliers"): "partner", ("realm_access.roles", "keten"): "chain_manager"})
REFUSED = "De aanmelding bij 127.0.0.1 is niet gelukt"


@pytest.fixture
def provider() -> Iterator[Provider]:
    with Provider(PERSON) as running:
        yield running


@pytest.fixture
def portal(tmp_path: Path, provider: Provider) -> Iterator[Portal]:
    with Portal(tmp_path, provider=lambda url: Client(provider.issuer, CLIENT, SECRET, CLAIMS)) as running:
        yield running


def named(provider: Provider) -> str:
    return f"oidc:{hashlib.sha256(provider.issuer.encode()).hexdigest()[:8]}:7f3a"


def test_somebody_who_signs_in_there_has_the_roles_and_oins_that_the_provider_says(portal: Portal, provider: Provider) -> None:
    browser = portal.browser()
    assert 'href="/inloggen/oidc?naar=/%3Fa%3D1"' in browser.get("/?a=1").text
    came = browser.get("/inloggen/oidc?naar=/%3Fa%3D1")
    assert came.url == portal.url + "/?a=1"
    assert "Aangemeld als Bea Beheer" in came.text
    account = portal.store.people.account(named(provider))
    assert account is not None
    assert account.roles == {Role.PARTNER}
    assert account.scope == Scope(systems=frozenset({LAS}))  # type: ignore[arg-type]


def test_roles_may_stand_inside_another_claim_and_change_with_the_next_sign_in(portal: Portal, provider: Provider) -> None:
    portal.browser().get("/inloggen/oidc")
    provider.person = {"sub": "7f3a", "realm_access": {"roles": ["keten"]}}
    portal.browser().get("/inloggen/oidc")
    account = portal.store.people.account(named(provider))
    assert account is not None
    assert account.roles == {Role.CHAIN_MANAGER}
    assert Permission.SEE_EVERYTHING in account.permissions


def test_somebody_without_a_role_here_does_not_come_in_and_leaves_no_account(portal: Portal, provider: Provider) -> None:
    provider.person = {**PERSON, "groups": ["staff"]}
    refused = portal.browser().get("/inloggen/oidc")
    assert refused.status_code == 403
    assert REFUSED in refused.text
    assert portal.store.people.accounts() == []


def test_somebody_whose_account_was_disabled_does_not_come_in(portal: Portal, provider: Provider) -> None:
    portal.browser().get("/inloggen/oidc")
    account = portal.store.people.account(named(provider))
    assert account is not None
    portal.store.people.change(replace(account, disabled=True), who="operator piet", now_us=portal.clock.now_us())
    assert portal.browser().get("/inloggen/oidc").status_code == 403


@pytest.mark.parametrize(
    "spoil",
    [
        lambda claims: {**claims, "nonce": "another"},
        lambda claims: {name: value for name, value in claims.items() if name != "nonce"},
        lambda claims: {**claims, "iss": "https://somebody.else"},
        lambda claims: {**claims, "aud": "another-client"},
        lambda claims: {**claims, "aud": [CLIENT, "another-client"]},
        lambda claims: {**claims, "exp": int(time.time()) - 120},
        lambda claims: {**claims, "iat": int(time.time()) + 3_600},
        lambda claims: {**claims, "at_hash": "bm90IHRoZSBoYXNo"},
        lambda claims: {name: value for name, value in claims.items() if name != "exp"},
        lambda claims: {**claims, "sub": 7},
        lambda claims: {**claims, "systems": ["not an OIN"]},
        lambda claims: {**claims, "systems": []},
    ],
    ids=["nonce", "no-nonce", "iss", "aud", "azp", "exp", "iat", "at_hash", "no-exp", "sub", "oin", "sees-nothing"],
)
def test_an_id_token_that_is_not_good_lets_nobody_in(
    portal: Portal, provider: Provider, spoil: Callable[[dict[str, Any]], dict[str, Any]]
) -> None:
    provider.spoil = spoil
    browser = portal.browser()
    refused = browser.get("/inloggen/oidc")
    assert refused.status_code == 403
    assert REFUSED in refused.text
    assert "/inloggen" in browser.get("/").url
    assert portal.store.people.accounts() == []


def test_an_id_token_signed_with_another_key_lets_nobody_in_and_a_key_that_was_replaced_is_fetched(
    portal: Portal, provider: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    stranger = RSAKey.generate_key(2048, {"kid": "one"})
    provider.signed_by = stranger
    assert portal.browser().get("/inloggen/oidc").status_code == 403
    provider.signed_by, provider.key = None, RSAKey.generate_key(2048, {"kid": "two", "use": "sig"})
    provider.header = {"kid": "two"}
    assert portal.browser().get("/inloggen/oidc").status_code == 403, "it was fetched a moment ago"
    monkeypatch.setattr("adapters.oidc.KEYS_AGAIN_S", 0.0)
    assert "Bea Beheer" in portal.browser().get("/inloggen/oidc").text


def test_a_token_without_a_signature_lets_nobody_in(portal: Portal, provider: Provider, monkeypatch: pytest.MonkeyPatch) -> None:
    good = provider.tokens

    def unsigned(form: Any, authorization: str) -> tuple[int, dict[str, Any]]:
        status, said = good(form, authorization)
        header = base64.urlsafe_b64encode(json.dumps({"alg": "none"}).encode()).rstrip(b"=").decode()
        said["id_token"] = f"{header}.{said['id_token'].split('.')[1]}."
        return status, said

    monkeypatch.setattr(provider, "tokens", unsigned)
    assert portal.browser().get("/inloggen/oidc").status_code == 403


def test_the_way_back_is_good_once_and_in_the_browser_that_left_only(portal: Portal, provider: Provider) -> None:
    browser = portal.browser()
    left = browser.get("/inloggen/oidc", allow_redirects=False)
    back = browser.get(left.headers["Location"], allow_redirects=False).headers["Location"]
    stranger = portal.browser()
    stranger.get("/inloggen")
    assert stranger.get(back).status_code == 403, "somebody else's answer would sign the stranger in as him"
    assert "Bea Beheer" in browser.get(back).text
    assert browser.get(back).status_code == 403


def test_an_answer_to_another_sign_in_is_refused(portal: Portal, provider: Provider) -> None:
    browser = portal.browser()
    left = browser.get("/inloggen/oidc", allow_redirects=False)
    back = browser.get(left.headers["Location"], allow_redirects=False).headers["Location"]
    assert browser.get(back.replace("state=", "state=x")).status_code == 403


@pytest.mark.parametrize(
    "described",
    [
        {"issuer": "https://somebody.else"},
        {"token_endpoint": "http://provider.example/token"},
        {"authorization_endpoint": None},
        {"jwks_uri": 7},
    ],
)
def test_a_provider_that_describes_itself_wrongly_is_not_used(portal: Portal, provider: Provider, described: dict[str, Any]) -> None:
    provider.described = described
    refused = portal.browser().get("/inloggen/oidc")
    assert refused.status_code == 403
    assert REFUSED in refused.text
    assert "/token" not in provider.asked


def test_a_provider_that_is_away_is_said_so_and_local_accounts_still_sign_in(portal: Portal, provider: Provider) -> None:
    provider.__exit__()
    refused = portal.browser().get("/inloggen/oidc")
    assert refused.status_code == 403
    assert REFUSED in refused.text
    portal.account("anna", Role.CHAIN_MANAGER)
    assert "Aangemeld als anna" in portal.browser().sign_in("anna").text


def test_an_address_that_leaves_for_the_provider_again_and_again_is_held_back(portal: Portal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("portal.sign_in.TRIES_OIDC", 3)
    answers = [portal.browser().get("/inloggen/oidc", allow_redirects=False).status_code for _ in range(4)]
    assert answers == [303, 303, 303, 429]


def test_where_to_go_afterwards_is_a_page_of_ours_whatever_was_asked(portal: Portal) -> None:
    for to in ("https://evil.example/", "//evil.example/", "/\\evil.example", "javascript:alert(1)", "/inloggen"):
        came = portal.browser().get("/inloggen/oidc", params={"naar": to})
        assert came.url == portal.url + "/", to


def test_without_a_provider_there_is_no_way_to_one(tmp_path: Path) -> None:
    with Portal(tmp_path) as portal:
        assert portal.browser().get("/inloggen/oidc").status_code == 404
        assert portal.browser().get("/inloggen/oidc/terug?code=x&state=y").status_code == 404
        assert "oidc" not in portal.browser().get("/inloggen").text


# -- what is bound to the provider's word --------------------------------------------------------------------------------------------------


def test_each_sign_in_confirms_the_account_anew(portal: Portal) -> None:
    for _ in range(2):
        before_us = portal.clock.now_us()
        portal.browser().get("/inloggen/oidc")
        (known,) = portal.store.people.accounts()
        assert known.confirmed_us is not None and known.confirmed_us >= before_us


@pytest.mark.parametrize(
    ("claims", "email"),
    [
        ({"email": "Bea@Example.nl", "email_verified": True}, "Bea@Example.nl"),
        ({"email": "bea@example.nl"}, "bea@example.nl"),
        ({"email": "bea@example.nl", "email_verified": False}, ""),
        ({"email": "no address"}, ""),
        ({"email": 7}, ""),
        ({}, ""),
    ],
)
def test_whose_account_it_is_the_provider_says_unless_it_does_not_stand_for_it(
    portal: Portal, provider: Provider, claims: dict[str, Any], email: str
) -> None:
    provider.person = {**PERSON, **claims}
    portal.browser().get("/inloggen/oidc")
    account = portal.store.people.account(named(provider))
    assert account is not None and account.email == email
