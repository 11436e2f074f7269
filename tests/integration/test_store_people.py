"""Accounts, sessions, handles, tries and tokens, on SQLite and PostgreSQL."""

from __future__ import annotations

from dataclasses import replace

import pytest
from sqlalchemy import text

from adapters.store import Store
from adapters.store.people import SESSIONS
from routing.people import Account, AccountError, NotConfirmed, Role, Scope, Source, digest_of, new_account, short
from schemas.events import decode
from tests.support.store import DAY, NOW, RECEIVER, SECOND, SENDER, SYSTEM, run_sql
from tests.support.store import store as store

HOUR, MINUTE = 3_600 * SECOND, 60 * SECOND
ANNA = new_account("anna", [Role.CHAIN_MANAGER])
SUPPLIER = new_account("supplier", [Role.PARTNER], systems=[SYSTEM], organisations=[RECEIVER])


def _add(store: Store, account: Account, **more: object) -> None:
    given = {"password": "hash", "one_time": False, "totp": None, "who": "operator piet", "now_us": NOW, **more}
    store.people.add(account, **given)  # type: ignore[arg-type]


def _journalled(store: Store) -> list[tuple[str, str, dict[str, str]]]:
    """Kind, actor and details of every event, in order."""
    with store.database.read() as connection:
        rows = connection.execute(text("SELECT payload, schema FROM event ORDER BY id")).all()
    found = [decode(bytes(row.payload), row.schema) for row in rows]
    return [(e.kind, e.actor, dict(e.details)) for e in found]


def test_an_account_comes_back_as_it_was_made_and_the_journal_says_who_made_it(store: Store) -> None:
    _add(store, SUPPLIER, one_time=True, totp=b"sealed")
    found = store.people.sign_in("supplier")
    assert found is not None
    assert found.account == SUPPLIER
    assert (found.password, found.one_time, found.totp) == ("hash", True, b"sealed")
    assert found.account.scope == Scope(organisations=frozenset({RECEIVER}), systems=frozenset({SYSTEM}))  # type: ignore[arg-type]
    assert _journalled(store) == [
        ("account_added", "operator piet", {"account": "supplier", "roles": "partner", "organisations": RECEIVER, "systems": SYSTEM})
    ]


def test_a_name_is_given_once(store: Store) -> None:
    _add(store, ANNA)
    with pytest.raises(AccountError, match="already"):
        _add(store, replace(ANNA, roles=frozenset({Role.READER})))
    assert store.people.account("anna") == ANNA


def test_what_is_not_there_cannot_be_changed(store: Store) -> None:
    for act in (
        lambda: store.people.change(ANNA, who="x", now_us=NOW),
        lambda: store.people.set_password("anna", "h", one_time=False, who="x", now_us=NOW),
        lambda: store.people.set_totp("anna", None, who="x", now_us=NOW),
        lambda: store.people.add_token(b"d" * 32, "anna", "label", until_us=NOW + DAY, who="x", now_us=NOW),
    ):
        with pytest.raises(AccountError, match="There is no account anna"):
            act()
    assert _journalled(store) == []


def test_an_account_that_is_disabled_loses_its_sessions_and_its_tokens_at_once(store: Store) -> None:
    _add(store, ANNA)
    store.people.open_session(b"s", "anna", now_us=NOW)
    store.people.add_token(b"d" * 32, "anna", "script", until_us=NOW + DAY, who="x", now_us=NOW)
    assert store.people.by_token(b"d" * 32, now_us=NOW) == ANNA
    store.people.change(replace(ANNA, disabled=True), who="operator piet", now_us=NOW)
    assert store.people.session(b"s", now_us=NOW) is None
    assert store.people.by_token(b"d" * 32, now_us=NOW) is None
    store.people.change(ANNA, who="operator piet", now_us=NOW)
    assert store.people.session(b"s", now_us=NOW) is None, "it must sign in again"


def test_a_session_ends_after_half_an_hour_without_a_request_and_after_ten_hours_whatever_happens(store: Store) -> None:
    _add(store, ANNA)
    store.people.open_session(b"s", "anna", now_us=NOW)
    for minutes in range(20, 10 * 60, 20):
        assert store.people.session(b"s", now_us=NOW + minutes * MINUTE) is not None
    assert store.people.session(b"s", now_us=NOW + 10 * HOUR) is None
    store.people.open_session(b"t", "anna", now_us=NOW)
    assert store.people.session(b"t", now_us=NOW + 31 * MINUTE) is None


def test_a_page_that_was_left_open_does_not_keep_a_session_alive(store: Store) -> None:
    _add(store, ANNA)
    store.people.open_session(b"s", "anna", now_us=NOW)
    for minutes in range(29):
        assert store.people.session(b"s", now_us=NOW + minutes * MINUTE, touch=False) is not None
    assert store.people.session(b"s", now_us=NOW + 30 * MINUTE, touch=False) is None


def test_a_session_shows_the_account_as_it_is_now(store: Store) -> None:
    _add(store, SUPPLIER)
    store.people.open_session(b"s", "supplier", now_us=NOW)
    store.people.change(replace(SUPPLIER, systems=frozenset()), who="x", now_us=NOW)
    session = store.people.session(b"s", now_us=NOW + SECOND)
    assert session is not None
    assert session.account.scope == Scope(organisations=frozenset({RECEIVER}))  # type: ignore[arg-type]


def test_another_password_ends_every_session_but_the_one_it_was_set_in(store: Store) -> None:
    _add(store, ANNA, one_time=True)
    for key in (b"s", b"t"):
        store.people.open_session(key, "anna", now_us=NOW)
    store.people.set_password("anna", "other", one_time=False, who="anna", now_us=NOW, keep=b"s")
    kept = store.people.session(b"s", now_us=NOW)
    assert kept is not None
    assert not kept.one_time
    assert store.people.session(b"t", now_us=NOW) is None


def test_signing_in_once_too_often_ends_the_session_that_was_not_used_longest(store: Store) -> None:
    _add(store, ANNA)
    for number in range(SESSIONS + 1):
        store.people.open_session(bytes([number]), "anna", now_us=NOW + number)
    standing = [number for number in range(SESSIONS + 1) if store.people.session(bytes([number]), now_us=NOW + SECOND)]
    assert standing == list(range(1, SESSIONS + 1))


def test_what_an_identity_provider_says_today_replaces_what_it_said_before_but_lets_nobody_back_in(store: Store) -> None:
    first = new_account("oidc:7", [Role.PARTNER], systems=[SYSTEM], source=Source.OIDC, label="Bea")
    assert store.people.from_provider(first, now_us=NOW) == first
    store.people.change(replace(first, disabled=True), who="operator piet", now_us=NOW)
    second = new_account("oidc:7", [Role.SCHOOL], organisations=[SENDER], source=Source.OIDC, label="Bea B.")
    found = store.people.from_provider(second, now_us=NOW)
    assert found == replace(second, disabled=True) == store.people.account("oidc:7")
    with pytest.raises(AccountError, match="identity provider"):
        store.people.set_password("oidc:7", "h", one_time=False, who="x", now_us=NOW)


def test_an_unchanged_account_of_an_identity_provider_is_journalled_once(store: Store) -> None:
    account = new_account("oidc:7", [Role.PARTNER], systems=[SYSTEM], source=Source.OIDC)
    for _ in range(3):
        store.people.from_provider(account, now_us=NOW)
    assert [kind for kind, _, _ in _journalled(store)] == ["account_added"]


def test_a_code_is_good_once_and_none_before_it(store: Store) -> None:
    _add(store, ANNA, totp=b"sealed")
    assert store.people.use_totp("anna", 100)
    assert not store.people.use_totp("anna", 100)
    assert not store.people.use_totp("anna", 99)
    assert store.people.use_totp("anna", 101)


def test_tries_are_counted_under_each_key_until_one_is_full(store: Store) -> None:
    window = 15 * MINUTE

    def tried(now_us: int, *keys: bytes) -> int:
        return store.people.too_many(dict.fromkeys(keys, 3), now_us=now_us, window_us=window)

    assert [tried(NOW + n, b"a", b"b") for n in range(3)] == [0, 0, 0]
    assert tried(NOW + 3, b"a") == window - 3
    assert tried(NOW + 3, b"b", b"c") > 0, "one full key is enough"
    assert [tried(NOW + n, b"c") for n in range(3)] == [0, 0, 0], "and then nothing was counted under the others"
    assert tried(NOW + window, b"a") == 0, "the count begins anew"


def test_a_sign_in_that_went_well_forgets_its_own_tries_and_takes_one_of_its_address_back(store: Store) -> None:
    limits = {b"mine": 3, b"address": 3}
    for n in range(3):
        assert store.people.too_many(limits, now_us=NOW + n, window_us=HOUR) == 0
    store.people.forget_tries([b"mine"], take_back=[b"address"])
    assert store.people.too_many(limits, now_us=NOW + 4, window_us=HOUR) == 0
    assert store.people.too_many(limits, now_us=NOW + 5, window_us=HOUR) > 0


def test_a_refused_sign_in_is_journalled_under_its_account_and_an_unknown_name_nowhere(store: Store) -> None:
    _add(store, ANNA)
    store.people.refused("anna", "password", now_us=NOW)
    store.people.refused("hunter2 typed in the wrong field", "no such account", now_us=NOW)
    assert _journalled(store)[1:] == [("sign_in_refused", "anna", {"account": "anna", "why": "password"})]


def test_a_handle_is_one_sessions_own_until_its_time_is_over(store: Store) -> None:
    store.people.keep_handle(b"h", b"s", "pupil", b"hash", until_us=NOW + MINUTE)
    assert store.people.handle(b"h", b"s", "pupil", now_us=NOW) == b"hash"
    assert store.people.handle(b"h", b"t", "pupil", now_us=NOW) is None
    assert store.people.handle(b"h", b"s", "other", now_us=NOW) is None
    assert store.people.handle(b"h", b"s", "pupil", now_us=NOW + MINUTE) is None
    assert store.people.handle(b"h", b"s", "pupil", now_us=NOW, once=True) == b"hash"
    assert store.people.handle(b"h", b"s", "pupil", now_us=NOW) is None


def test_signing_out_takes_the_handles_along(store: Store) -> None:
    _add(store, ANNA)
    store.people.open_session(b"s", "anna", now_us=NOW)
    store.people.keep_handle(b"h", b"s", "pupil", b"hash", until_us=NOW + MINUTE)
    store.people.end_session(b"s", now_us=NOW)
    assert store.people.session(b"s", now_us=NOW) is None
    assert store.people.handle(b"h", b"s", "pupil", now_us=NOW) is None
    assert [kind for kind, _, _ in _journalled(store)] == ["account_added", "signed_in", "signed_out"]


def test_a_token_counts_until_its_day_or_until_it_is_ended_and_the_store_has_only_its_digest(store: Store) -> None:
    _add(store, ANNA)
    token = "kpt_" + "a" * 43
    store.people.add_token(digest_of(token), "anna", "script", until_us=NOW + DAY, who="operator piet", now_us=NOW)
    assert store.people.by_token(digest_of(token), now_us=NOW) == ANNA
    assert store.people.by_token(digest_of(token), now_us=NOW + DAY) is None
    assert not store.people.end_token("supplier", short(digest_of(token)), who="x", now_us=NOW), "another account's"
    assert store.people.end_token("anna", short(digest_of(token)), who="operator piet", now_us=NOW)
    assert store.people.by_token(digest_of(token), now_us=NOW) is None
    assert not store.people.end_token("anna", short(digest_of(token)), who="operator piet", now_us=NOW)
    assert token not in str(run_sql(store, "SELECT hash, label FROM account_token")) + str(_journalled(store))


def test_the_journal_says_that_an_account_became_somebody_elses_and_not_whose(store: Store) -> None:
    _add(store, ANNA)
    for email in ("anna@example.nl", "anna@example.nl", ""):
        store.people.change(replace(ANNA, email=email), who="operator piet", now_us=NOW)
    bea = new_account("oidc:7", [Role.READER], source=Source.OIDC, email="bea@example.nl")
    store.people.from_provider(bea, now_us=NOW)
    store.people.from_provider(replace(bea, email="b@example.nl"), now_us=NOW)
    changed = [details.get("email") for kind, _, details in _journalled(store) if kind == "account_changed"]
    assert changed == ["changed", None, "none", "changed"]
    assert "@" not in str(_journalled(store))


def test_a_number_in_what_a_token_is_for_does_not_stay_in_the_journal(store: Store) -> None:
    _add(store, ANNA)
    store.people.add_token(b"d" * 32, "anna", "leerling 123456782", until_us=NOW + DAY, who="x", now_us=NOW)
    assert "123456782" not in str(_journalled(store))


def test_what_is_over_is_tidied_up_and_nothing_else(store: Store) -> None:
    _add(store, ANNA)
    store.people.open_session(b"old", "anna", now_us=NOW)
    store.people.keep_handle(b"old", b"s", "pupil", b"hash", until_us=NOW + MINUTE)
    store.people.too_many({b"old": 3}, now_us=NOW, window_us=MINUTE)
    store.people.open_session(b"new", "anna", now_us=NOW + 50 * MINUTE)
    store.people.keep_handle(b"new", b"s", "pupil", b"hash", until_us=NOW + 2 * HOUR)
    store.people.too_many({b"new": 3}, now_us=NOW + 50 * MINUTE, window_us=HOUR)
    assert store.people.tidy(now_us=NOW + HOUR) == 3
    assert store.people.session(b"new", now_us=NOW + HOUR) is not None
    assert store.people.handle(b"new", b"s", "pupil", now_us=NOW + HOUR) == b"hash"


def test_a_role_that_a_newer_version_gave_is_no_role_here(store: Store) -> None:
    _add(store, ANNA)
    run_sql(store, "UPDATE account SET roles = :roles", roles='["chain_manager", "overlord"]')
    assert store.people.account("anna") == ANNA
    run_sql(store, "UPDATE account SET roles = :roles", roles='["overlord"]')
    found = store.people.account("anna")
    assert found is not None
    assert found.permissions == frozenset()
    assert found.scope == Scope()


def test_what_a_version_before_made_begins_its_time_when_this_one_looks(store: Store) -> None:
    """It knew neither when a provider confirmed an account, nor of an end of one-time passwords."""
    bea = new_account("oidc:7", [Role.READER], source=Source.OIDC)
    store.people.from_provider(bea, now_us=NOW)
    _add(store, ANNA, one_time=True)
    _add(store, SUPPLIER)
    run_sql(store, "UPDATE account SET confirmed_us = NULL")
    store.people.add_token(b"t" * 32, "oidc:7", "script", until_us=NOW + 99 * DAY, who="x", now_us=NOW)
    assert store.people.by_token(b"t" * 32, now_us=NOW + DAY, confirmed_after_us=NOW) == bea, "not ended by the upgrade itself"
    assert [store.people.catch_up(now_us=NOW + DAY, one_time_until_us=NOW + 4 * DAY) for _ in range(2)] == [2, 0]
    times = {one.account.name: (one.confirmed_us, one.one_time_until_us) for one in store.people.accounts()}
    assert times == {"oidc:7": (NOW + DAY, None), "anna": (None, NOW + 4 * DAY), "supplier": (None, None)}
    assert store.people.by_token(b"t" * 32, now_us=NOW + DAY, confirmed_after_us=NOW + DAY) == bea
    with pytest.raises(NotConfirmed):
        store.people.by_token(b"t" * 32, now_us=NOW + DAY, confirmed_after_us=NOW + DAY + 1)


def test_a_second_factor_is_got_once_and_ends_the_other_sessions(store: Store) -> None:
    _add(store, ANNA)
    for key in (b"mine", b"other"):
        store.people.open_session(key, "anna", now_us=NOW)
    assert store.people.first_totp("anna", b"sealed", 7, keep=b"mine", now_us=NOW)
    assert not store.people.first_totp("anna", b"another", 8, keep=b"mine", now_us=NOW)
    mine = store.people.session(b"mine", now_us=NOW)
    assert mine is not None and mine.second_factor and store.people.session(b"other", now_us=NOW) is None
    assert not store.people.use_totp("anna", 7), "the code that was shown is used"
    store.people.reseal_totp("anna", b"older", b"wrong")
    store.people.reseal_totp("anna", b"sealed", b"anew")
    found = store.people.sign_in("anna")
    assert found is not None and found.totp == b"anew"
    bea = store.people.from_provider(new_account("oidc:7", [Role.READER], source=Source.OIDC), now_us=NOW)
    assert not store.people.first_totp(bea.name, b"sealed", 7, keep=b"", now_us=NOW)
