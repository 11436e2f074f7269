"""One account for each role, for the parties of the demo's chain."""

from __future__ import annotations

import socket
from collections.abc import Iterable
from typing import Final

from adapters.parties.world import CIVIC, LASSEN, NAMES, World, gemeente_oin
from routing.people import Account, AccountError, Passwords, People, Role, new_account, new_password

#: Where the portal is, unless somebody else is there.
USUAL_PORT: Final = 8080
_WHO: Final = "demo"


def accounts(world: World) -> list[Account]:
    """Who looks at the demo: those who see everything, a supplier, a municipality and a school."""
    school = next(one for one in world.vo if one.system == LASSEN[0])
    code, _ = next(one for one in world.gemeenten if world.civic_system(one[0]) == CIVIC[1])
    return [
        new_account("ketenregisseur", [Role.CHAIN_MANAGER]),
        new_account("beheerder", [Role.OPERATOR]),
        new_account(NAMES[LASSEN[0]].lower(), [Role.PARTNER], systems=[LASSEN[0]]),
        new_account("gemeente", [Role.PARTNER], organisations=[gemeente_oin(code)]),
        new_account("school", [Role.SCHOOL], organisations=[school.oin]),
        new_account("auditor", [Role.AUDITOR]),
        new_account("meelezer", [Role.READER]),
    ]


def make(people: People, passwords: Passwords, wanted: Iterable[Account], *, now_us: int) -> list[dict[str, str]]:
    """Makes them, each with a password of its own, for as long as the demo lasts; says what to sign in with. An account that was there
    gets another password."""
    rows = []
    for account in wanted:
        password = new_password()
        hashed = passwords.hash(password)
        try:
            people.add(account, password=hashed, one_time=False, totp=None, who=_WHO, now_us=now_us)
        except AccountError:
            people.set_password(account.name, hashed, one_time=False, who=_WHO, now_us=now_us)
        sees = ", ".join(sorted(account.organisations | account.systems)) or "everything"
        rows.append({"name": account.name, "password": password, "role": ", ".join(account.roles), "sees": sees})
    return rows


def portal_port() -> int:
    """The usual one, or another that is free."""
    for port in (USUAL_PORT, 0):
        with socket.socket() as trial:
            trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                trial.bind(("127.0.0.1", port))
            except OSError:
                continue
            return int(trial.getsockname()[1])
    return USUAL_PORT
