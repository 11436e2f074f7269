"""As whom an account acts in the register, and which rows are its own."""

from __future__ import annotations

from datetime import date

import pytest

from routing.people import Account, Permission, Role, new_account
from routing.people import Role as PortalRole
from routing.register import Register, read_register
from routing.register_people import actor_of, whose_of
from routing.register_wishes import (
    ACTION,
    MAY,
    OPERATOR,
    Actor,
    AddEndpoint,
    Delegate,
    EndDelegation,
    EndEndpoint,
    EndMandates,
    GiveMandate,
    MoveAddress,
    RevokeMandate,
    Wish,
)
from routing.register_wishes import Role as As
from tests.support.register_pages import BOARD, CENTRAAL, DOCUMENT, EMMAUS, KLASSEN, LINDE, RIVAL, STICHT, UTRECHT, WIJZER, ZUIDER

DAY = date(2026, 8, 1)


@pytest.fixture(scope="module")
def register() -> Register:
    return read_register(DOCUMENT, version=1)


def an_account(*roles: PortalRole, organisations: tuple[str, ...] = (), systems: tuple[str, ...] = ()) -> Account:
    return new_account("iemand", roles, organisations=organisations, systems=systems)


GIVE = GiveMandate(organisation=EMMAUS, dienst="vva", system=KLASSEN)
MOVE = MoveAddress(system=WIJZER, old=None, new="https://a.example/in", day=DAY)
ADD = AddEndpoint(organisation=EMMAUS, dienst="vva", versie="1", system=WIJZER)


@pytest.mark.parametrize(
    ("account", "wish", "actor"),
    [
        (an_account(Role.SCHOOL, organisations=(EMMAUS,)), GIVE, Actor(As.ORGANISATION, EMMAUS)),
        (an_account(Role.SCHOOL, organisations=(BOARD,)), GIVE, Actor(As.BOARD, BOARD)),
        (an_account(Role.SCHOOL, organisations=(BOARD, EMMAUS)), GIVE, Actor(As.ORGANISATION, EMMAUS)),
        (an_account(Role.SCHOOL, organisations=(BOARD,)), EndMandates(organisation=BOARD, dienst="vva", system=WIJZER, until=DAY), Actor(As.BOARD, BOARD)),
        (an_account(Role.SCHOOL, organisations=(LINDE,)), GIVE, Actor(As.ORGANISATION, LINDE)),
        (an_account(Role.SCHOOL, organisations=(EMMAUS, ZUIDER)), RevokeMandate(organisation=ZUIDER, token="m"), Actor(As.ORGANISATION, ZUIDER)),
        (an_account(Role.SCHOOL, organisations=(EMMAUS,)), ADD, Actor(As.ANYONE)),
        (an_account(Role.PARTNER, systems=(WIJZER,)), ADD, Actor(As.SUPPLIER, WIJZER)),
        (an_account(Role.PARTNER, systems=(RIVAL, WIJZER)), MOVE, Actor(As.SUPPLIER, WIJZER)),
        (an_account(Role.PARTNER, systems=(RIVAL, WIJZER)), EndEndpoint(id="e-linde", until=DAY), Actor(As.SUPPLIER, RIVAL)),
        (an_account(Role.PARTNER, systems=(KLASSEN,)), EndEndpoint(id="e-linde", until=DAY), Actor(As.SUPPLIER, KLASSEN)),
        (an_account(Role.PARTNER, systems=(WIJZER,)), GIVE, Actor(As.ANYONE)),
        (an_account(Role.PARTNER, organisations=(CENTRAAL,)), EndEndpoint(id="e-centraal", until=DAY), Actor(As.SUPPLIER, CENTRAAL)),
        (an_account(Role.PARTNER, organisations=(STICHT,)), EndDelegation(id="d-sticht", until=DAY), Actor(As.ORGANISATION, STICHT)),
        (an_account(Role.PARTNER, organisations=(UTRECHT,)), Delegate(municipality=STICHT, dienst="vva", region=UTRECHT), Actor(As.ORGANISATION, UTRECHT)),
        (an_account(Role.OPERATOR), GIVE, OPERATOR),
        (an_account(Role.OPERATOR, Role.SCHOOL, organisations=(EMMAUS,)), GIVE, OPERATOR),
        *((an_account(role, organisations=(EMMAUS,), systems=(WIJZER,)), wish, Actor(As.ANYONE))
          for role in (Role.CHAIN_MANAGER, Role.AUDITOR, Role.READER) for wish in (GIVE, ADD, MOVE)),
    ],
)  # fmt: skip
# ruff: noqa: E501 - one case, one line
def test_an_account_acts_as_the_one_of_its_own_that_a_wish_is_about(register: Register, account: Account, wish: Wish, actor: Actor) -> None:
    assert actor_of(account, register, wish) == actor


def test_nobody_but_an_operator_acts_as_one_and_anybody_may_change_nothing() -> None:
    assert all(As.ANYONE not in MAY[action] for action in set(ACTION.values()))
    for role in Role:
        held = an_account(role, organisations=(EMMAUS,)).permissions
        assert (Permission.CHANGE_REGISTER in held) == (role is Role.OPERATOR)


def test_a_disabled_account_sees_and_changes_nothing(register: Register) -> None:
    from dataclasses import replace

    gone = replace(an_account(Role.OPERATOR, Role.SCHOOL, organisations=(EMMAUS,)), disabled=True)
    whose = whose_of(gone, register)
    (row, *_) = register.parts.of_organisation(EMMAUS).mandates
    assert not whose.sees(row)
    assert not whose.may_change(row)
    assert not whose.sees_organisation(EMMAUS)
    assert actor_of(gone, register, GIVE) == Actor(As.ANYONE)


def test_a_supplier_sees_the_rows_at_a_school_that_name_its_system_and_may_change_its_endpoints_only(register: Register) -> None:
    whose = whose_of(an_account(Role.PARTNER, systems=(WIJZER,)), register)
    pair = register.parts.of_organisation(EMMAUS)
    assert {row.system for row in pair.mandates if whose.sees(row)} == {WIJZER}
    assert not any(whose.may_change(row) for row in pair.mandates)
    assert [whose.may_change(row) for row in pair.endpoints] == [True, True]
    assert not whose.sees_organisation(EMMAUS)


def test_a_board_has_a_say_in_its_schools_and_in_no_other(register: Register) -> None:
    whose = whose_of(an_account(Role.SCHOOL, organisations=(BOARD,)), register)
    assert whose.may_mandate(BOARD)
    assert whose.may_mandate(ZUIDER)
    assert not whose.may_mandate(LINDE)
    assert not whose.may_keep(WIJZER)
