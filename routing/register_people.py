"""The register's rows before the people of the portal: which of them an account sees, which it may change, and as whom it then acts.

The rules are the register's own (`register_wishes.MAY`): an account acts as its organisation, its board or its system; an operator's as
an operator.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from routing.people import Account, Permission
from routing.register import Delegation, Endpoint, Mandate, Register
from routing.register_values import Dated
from routing.register_wishes import (
    ACTION,
    MAY,
    OPERATOR,
    Actor,
    AddEndpoint,
    ChangeEndpoint,
    Delegate,
    EndDelegation,
    EndEndpoint,
    EndMandate,
    EndMandates,
    GiveMandate,
    MoveAddress,
    RevokeMandate,
    Role,
    Wish,
)
from schemas.oin import Oin

#: Permissions of which one is needed to change anything.
CHANGE: Final = frozenset({Permission.CHANGE_REGISTER, Permission.CHANGE_REGISTER_OWN})


@dataclass(frozen=True, slots=True, kw_only=True)
class Whose:
    """What of the register is an account's, by one version of it. Made by `whose_of`."""

    sees_all: bool
    changes_all: bool
    changes_own: bool
    organisations: frozenset[Oin]  #: its own, and the schools of its boards
    boards: frozenset[Oin]
    systems: frozenset[Oin]  #: its own, and those of its organisations that connect themselves

    def sees_organisation(self, oin: str) -> bool:
        """Whether the page of an organisation or a board is theirs."""
        return self.sees_all or oin in self.organisations or oin in self.boards

    def sees_system(self, oin: str) -> bool:
        """Whether the page of a system is theirs."""
        return self.sees_all or oin in self.systems

    def sees(self, row: Dated | None) -> bool:
        """A mandate or endpoint: whoever's organisation or system it is; a delegation: both sides."""
        match row:
            case Mandate() | Endpoint():
                return self.sees_all or row.organisation in self.organisations or row.system in self.systems
            case Delegation():
                return self.sees_all or not {row.municipality, row.region}.isdisjoint(self.organisations)
            case _:
                return False

    def may_change(self, row: Dated | None) -> bool:
        """Whether to offer it; what becomes of a wish is for the rules to say."""
        if self.changes_all or not self.changes_own:
            return self.changes_all
        match row:
            case Mandate():
                return row.organisation in self.organisations
            case Endpoint():
                return row.system in self.systems
            case Delegation():
                return row.municipality in self.organisations
            case _:
                return False

    def may_mandate(self, oin: str) -> bool:
        """Whether to offer it to give mandates of this organisation, or of all schools of this board."""
        return self.changes_all or (self.changes_own and (oin in self.organisations or oin in self.boards))

    def may_keep(self, system: str) -> bool:
        """Whether to offer it to keep this system's endpoints."""
        return self.changes_all or (self.changes_own and system in self.systems)


def whose_of(account: Account, register: Register) -> Whose:
    """What of this version is the account's. Nothing, for one that may not see the register."""
    held = account.permissions
    if Permission.SEE_REGISTER not in held:
        nobody: frozenset[Oin] = frozenset()
        return Whose(sees_all=False, changes_all=False, changes_own=False, organisations=nobody, boards=nobody, systems=nobody)
    boards = frozenset(oin for oin in account.organisations if oin in register.boards)
    schools = {row.oin for row in register.organisations.values() if row.board in boards} if boards else set()
    return Whose(
        sees_all=Permission.SEE_EVERYTHING in held,
        changes_all=Permission.CHANGE_REGISTER in held,
        changes_own=Permission.CHANGE_REGISTER_OWN in held,
        organisations=account.organisations - boards | schools,
        boards=boards,
        systems=account.systems | {oin for oin in account.organisations if oin in register.systems},
    )


def actor_of(account: Account, register: Register, wish: Wish) -> Actor:
    """As whom an account wishes this: as an operator, else as the one of its own that the wish is about.

    Where it is about none of them, as one that may do such things, so that the rules say whose it is not; else as anybody.
    """
    whose, action = whose_of(account, register), ACTION[type(wish)]
    if whose.changes_all:
        return OPERATOR
    if not whose.changes_own:
        return Actor(Role.ANYONE)
    own = [Actor(role, oin) for role, oins in _own(whose, account).items() for oin in sorted(oins)]
    candidates = [*(actor for actor in _about(register, wish) if actor in own), *own]
    return next((actor for actor in candidates if actor.role in MAY[action]), Actor(Role.ANYONE))


def _about(register: Register, wish: Wish) -> list[Actor]:
    """Whoever may have a say in what a wish is about."""
    match wish:
        case GiveMandate() | EndMandate() | EndMandates() | RevokeMandate():
            return _of_organisation(register, wish.organisation)
        case AddEndpoint() | MoveAddress():
            return [Actor(Role.SUPPLIER, wish.system)]
        case ChangeEndpoint() | EndEndpoint():
            endpoint = register.endpoint(wish.id)
            return [Actor(Role.SUPPLIER, endpoint.system)] if endpoint else []
        case Delegate():
            return _of_organisation(register, wish.municipality)
        case EndDelegation():
            row = register.delegations.get(wish.id)
            return _of_organisation(register, row.municipality) if row else []
        case _:
            return []


def _of_organisation(register: Register, oin: Oin) -> list[Actor]:
    organisation = register.organisation(oin)
    board = organisation.board if organisation else oin if oin in register.boards else None
    found = [Actor(Role.ORGANISATION, oin)] if organisation else []
    return [*found, Actor(Role.BOARD, board)] if board else found


def _own(whose: Whose, account: Account) -> Mapping[Role, frozenset[Oin]]:
    """Who the account is itself: the account of a board acts as the board, and not as one of its schools."""
    return {Role.ORGANISATION: account.organisations - whose.boards, Role.BOARD: whose.boards, Role.SUPPLIER: whose.systems}
