"""Who may do what: one table, and what follows from it for an account."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from portal.texts import TEXTS, text
from routing.people import (
    MAY,
    OWN_ONLY,
    SEE,
    Account,
    AccountError,
    Permission,
    Role,
    Scope,
    Source,
    new_account,
    new_password,
    what_is_wrong,
)
from schemas.glossary import DELIVERY_STATES, GLOSSARY, MESSAGE_STATES, Term
from schemas.lifecycle import DeliveryState, MessageState

ROOT = Path(__file__).parents[2]
SECURITY = (ROOT / "docs/security.md").read_text(encoding="utf-8")
SCHOOL, SYSTEM = "0000000700025BE00000", "00000003900000010000"


def _cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_who_may_do_what_in_the_portal_is_one_table_in_code_and_in_docs() -> None:
    section = SECURITY.partition("### What each role may do")[2].partition("\n##")[0]
    table = [_cells(line) for line in section.splitlines() if line.startswith("|")]
    assert table[0] == ["permission", *(f"`{role}`" for role in Role), "that is"]
    assert [row[:-1] for row in table[2:]] == [
        [f"`{permission}`", *("yes" if role in MAY[permission] else "-" for role in Role)] for permission in Permission
    ]
    assert all(row[-1] for row in table[2:])


def test_every_permission_is_somebodys_and_nobody_but_an_operator_makes_accounts() -> None:
    assert set(MAY) == set(Permission)
    assert all(MAY.values())
    assert MAY[Permission.MANAGE_ACCOUNTS] == {Role.OPERATOR}


def test_partners_schools_and_readers_neither_act_nor_look_inside() -> None:
    limited = {Role.PARTNER, Role.SCHOOL, Role.READER}
    for permission in (
        Permission.ACT,
        Permission.ACT_TECHNICAL,
        Permission.APPROVE,
        Permission.SEE_CONTENT,
        Permission.GROUPS,
        Permission.TELL,
    ):
        assert not MAY[permission] & limited


@pytest.mark.parametrize("role", Role)
def test_each_role_sees_everything_or_its_own_and_never_both(role: Role) -> None:
    account = new_account("somebody", [role], organisations=[SCHOOL], systems=[SYSTEM])
    assert len(account.permissions & SEE) == 1
    own = Scope(organisations=frozenset({SCHOOL}), systems=frozenset({SYSTEM}))  # type: ignore[arg-type]
    assert account.scope == (own if role in OWN_ONLY else Scope(everything=True))


def test_an_account_that_is_disabled_or_has_no_role_sees_and_may_nothing() -> None:
    for account in (Account(name="a", roles=frozenset(Role), disabled=True), Account(name="a", roles=frozenset())):
        assert account.permissions == frozenset()
        assert account.scope == Scope()


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"name": "Anna B"}, "is no name for an account"),
        ({"name": "oidc:7"}, "is no name for an account"),
        ({"roles": ["overlord"]}, "There is no such role; there are chain_manager"),
        ({"roles": []}, "needs a role"),
        ({"roles": ["school"], "organisations": []}, "would see nothing"),
        ({"roles": ["partner", "school"], "organisations": []}, "would see nothing"),
        ({"organisations": ["25BE"]}, "is not an OIN"),
        ({"systems": ["0000000700025be00000"]}, "is not an OIN"),
    ],
)
def test_an_account_that_makes_no_sense_is_not_made(given: dict[str, object], told: str) -> None:
    wanted = {"name": "anna", "roles": ["school"], "organisations": [SCHOOL], **given}
    with pytest.raises(AccountError, match=told):
        new_account(**wanted)  # type: ignore[arg-type]


def test_an_account_of_an_identity_provider_has_the_name_it_gave() -> None:
    account = new_account("oidc:A-7 x", ["reader"], source=Source.OIDC, label="Bea")
    assert (account.name, account.shown) == ("oidc:A-7 x", "Bea")


def test_a_password_that_is_made_is_one_that_may_be_chosen_and_never_the_same() -> None:
    made = {new_password() for _ in range(50)}
    assert len(made) == 50
    assert all(what_is_wrong(one, one) is None for one in made)
    assert what_is_wrong("short", "short") == "A password has 12 to 200 characters."
    assert what_is_wrong("long enough to be good", "x") == "The two passwords are not the same."


def _terms() -> dict[str, Term]:
    states = {
        **{f"delivery.{key}": term for key, term in DELIVERY_STATES.items()},
        **{f"message.{k}": t for k, t in MESSAGE_STATES.items()},
    }
    return {**GLOSSARY, **states}


@pytest.mark.parametrize("key", _terms())
def test_every_word_of_the_glossary_is_there_and_explained_in_both_languages(key: str) -> None:
    term = _terms()[key]
    assert all(part.strip() == part and part for part in (term.nl, term.en, term.explained_nl, term.explained_en))
    assert term.explained_nl != term.explained_en
    assert all(explained.endswith(".") for explained in (term.explained_nl, term.explained_en))


def test_every_state_has_a_word_of_its_own() -> None:
    assert set(DELIVERY_STATES) == set(DeliveryState)
    assert set(MESSAGE_STATES) == {*MessageState, "refused"}
    for terms in (DELIVERY_STATES, MESSAGE_STATES):
        assert len({term.nl for term in terms.values()}) == len({term.en for term in terms.values()}) == len(terms)


@pytest.mark.parametrize("key", TEXTS)
def test_every_sentence_is_there_in_both_languages_with_the_same_to_fill_in(key: str) -> None:
    nl, en = TEXTS[key]
    assert nl.strip() and en.strip()
    assert sorted(re.findall(r"\{(\w*)\}", nl)) == sorted(re.findall(r"\{(\w*)\}", en))
    assert key not in GLOSSARY


def test_a_key_that_does_not_exist_is_a_mistake_and_no_empty_place_on_a_page() -> None:
    with pytest.raises(KeyError):
        text("no.such.key", "nl")
    assert text("uitval", "nl") == "Uitval"
    assert text("uitval", "en") == "Failures"


def test_every_key_that_a_template_names_exists() -> None:
    for template in (ROOT / "portal/templates").rglob("*.html"):
        for key in re.findall(r"""[{ (]t\(["']([a-z0-9_.]+)["'][,)]""", template.read_text(encoding="utf-8")):
            assert key in TEXTS or key in GLOSSARY, f"{template.name}: {key}"
