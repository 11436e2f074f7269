"""The rules of the register: what becomes of a wish, judged by one version of it, for one actor on one day. Pure.

A caller reads the newest version, judges, and has the store make the change for that very version; when the register moved meanwhile, the
wish is judged again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import date
from typing import Any, Final

from routing import register_endpoints, register_mandates, register_municipalities
from routing.addresses import public
from routing.register import Register
from routing.register_book import RowChange
from routing.register_case import MOST_OF_SYSTEM as MOST_OF_SYSTEM
from routing.register_case import Case, Judged, Sentence
from routing.register_wishes import (
    ACTION,
    AddEndpoint,
    ChangeEndpoint,
    Delegate,
    EndDelegation,
    EndEndpoint,
    EndMandate,
    EndMandates,
    GiveMandate,
    MoveAddress,
    Redivide,
    RevokeMandate,
    Wish,
)
from routing.register_wishes import OPERATOR as OPERATOR
from routing.register_wishes import Actor as Actor
from routing.register_wishes import Role as Role
from routing.register_wishes import RuleBroken as RuleBroken

_JUDGES: Final[Mapping[type[Any], Callable[[Case, Any], Judged]]] = {
    GiveMandate: register_mandates.give,
    EndMandate: register_mandates.end,
    EndMandates: register_mandates.end_all,
    RevokeMandate: register_mandates.revoke,
    AddEndpoint: register_endpoints.add,
    ChangeEndpoint: register_endpoints.change,
    EndEndpoint: register_endpoints.end,
    MoveAddress: register_endpoints.move,
    Delegate: register_municipalities.delegate,
    EndDelegation: register_municipalities.end_delegation,
    Redivide: register_municipalities.redivide,
}


def judge(
    register: Register,
    actor: Actor,
    wish: Wish,
    today: date,
    *,
    may_call: Callable[[str], bool] = public,
    most: int = MOST_OF_SYSTEM,
) -> Judged:
    """The rows that are to change, and warnings. Raises RuleBroken. `today`: the Amsterdam day; `may_call`: which IP addresses a URL
    may hold; `most`: endpoints that one system may have."""
    case = Case(register, actor, ACTION[type(wish)], today, may_call, most)
    case.allowed()
    return _JUDGES[type(wish)](case, wish)


__all__ = ["OPERATOR", "Actor", "Judged", "Role", "RowChange", "RuleBroken", "Sentence", "judge"]
