"""`account add|list|set|reset|disable|tokens`: who may look at the portal. A password or token is shown once, when it is made.

`account keys` needs no store: run.py answers it.
"""

from __future__ import annotations

import getpass
import sys
from argparse import ArgumentParser, BooleanOptionalAction, Namespace
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

from routing.people import (
    TOKENS_LONGEST,
    Account,
    Passwords,
    People,
    Role,
    SignIn,
    Source,
    digest_of,
    new_account,
    new_password,
    new_token,
    no_account,
    not_ours,
    short,
    taken,
    what_is_wrong,
)
from workers.clock import Clock, moment
from workers.commands import WrongArgument
from workers.tables import print_json, print_table, say


@dataclass(frozen=True, slots=True, kw_only=True)
class Desk:
    """What the commands work with."""

    people: People
    passwords: Passwords
    clock: Clock
    who: str  #: at the keyboard, for the journal
    address: str  #: of the portal
    show_qr: Callable[[str], None]  #: shows a text as a QR code, where there is a terminal
    one_time: timedelta  #: for how long a password is good that these commands make
    token_days: int  #: days after its owner's last sign-in at the identity provider for which a token counts


def add_arguments(parser: ArgumentParser, common: Callable[[ArgumentParser], None]) -> None:
    """What the commands take. A password is in none of them: command lines can be read by others."""
    does = parser.add_subparsers(dest="does", required=True, metavar="add|list|set|reset|disable|tokens|keys")
    add = does.add_parser("add", help="a new account; its password is shown now, and never again")
    change = does.add_parser("set", help="other roles or OINs; what is not named stays. Also lets a disabled account in again")
    reset = does.add_parser("reset", help="another password, and another second factor if asked for; ends its sessions")
    disable = does.add_parser("disable", help="nobody signs in with it any more; ends its sessions, and its tokens do not count")
    tokens = does.add_parser("tokens", help="API tokens for /api/v1, which may what the account may")
    listing = does.add_parser("list", help="every account, with what it may see")
    keys = does.add_parser("keys", help="makes the portal's own keys, out of the master key; no portal starts without")
    for sub in (add, change, reset, disable):
        sub.add_argument("name", metavar="NAME")
    for sub in (add, change):
        sub.add_argument("--role", action="append", metavar="ROLE", choices=list(Role), help=f"{', '.join(Role)}; may be repeated")
        sub.add_argument("--organisation", action="append", metavar="OIN", help="a school or municipality whose traffic it sees")
        sub.add_argument("--system", action="append", metavar="OIN", help="a supplier's system whose traffic it sees")
        sub.add_argument("--email", metavar="ADDRESS", help="the person's own: two accounts with one address are one person's")
    for sub in (add, reset):
        sub.add_argument("--ask", action="store_true", help="ask for the password instead of making one that is to be changed at once")
    add.add_argument("--totp", action=BooleanOptionalAction, default=True, help="a second factor, for an authenticator app (default: yes)")
    reset.add_argument("--totp", action=BooleanOptionalAction, default=None, help="another second factor, or none (default: it stays)")
    change.add_argument("--enable", action="store_true", help="a disabled account may sign in again")
    tokens.add_argument("action", choices=("list", "make", "end"))
    tokens.add_argument("name", metavar="NAME")
    tokens.add_argument("--label", metavar="TEXT", help="make: what it is for")
    tokens.add_argument("--days", type=int, default=365, metavar="N", help="make: for how long it counts (default: %(default)s)")
    tokens.add_argument("--token", metavar="KEY", help="end: which one, as `list` calls it")
    for sub in (add, change, reset, disable, tokens, listing, keys):
        common(sub)


def run(arguments: Namespace, desk: Desk) -> int:
    """One of them. Raises AccountError or WrongArgument."""
    does = {"add": _add, "list": _list, "set": _set, "reset": _reset, "disable": _disable, "tokens": _tokens}
    return does[arguments.does](arguments, desk)


def _add(arguments: Namespace, desk: Desk) -> int:
    made = new_account(
        arguments.name,
        arguments.role or (),
        organisations=arguments.organisation or (),
        systems=arguments.system or (),
        email=arguments.email or "",
    )
    if desk.people.account(made.name) is not None:
        raise taken(made.name)
    password, one_time = _password(arguments)
    totp, uri = desk.passwords.new_totp(made.name) if arguments.totp else (None, None)
    hashed, now_us = desk.passwords.hash(password), desk.clock.now_us()
    until_us = _until(desk, now_us) if one_time else None
    desk.people.add(made, password=hashed, one_time=one_time, until_us=until_us, totp=totp, who=desk.who, now_us=now_us)
    return _tell(arguments, desk, made.name, password if one_time else None, until_us, uri)


def _reset(arguments: Namespace, desk: Desk) -> int:
    _known(desk, arguments.name, local=True)
    password, one_time = _password(arguments)
    totp, uri = desk.passwords.new_totp(arguments.name) if arguments.totp else (None, None)
    now_us = desk.clock.now_us()
    until_us, hashed = _until(desk, now_us) if one_time else None, desk.passwords.hash(password)
    desk.people.set_password(arguments.name, hashed, one_time=one_time, until_us=until_us, who=desk.who, now_us=now_us)
    if arguments.totp is not None:
        desk.people.set_totp(arguments.name, totp, who=desk.who, now_us=now_us)
    return _tell(arguments, desk, arguments.name, password if one_time else None, until_us, uri)


def _until(desk: Desk, now_us: int) -> int:
    return now_us + int(desk.one_time.total_seconds() * 1e6)


def _password(arguments: Namespace) -> tuple[str, bool]:
    """A password, and whether its owner is to choose another at once."""
    if not arguments.ask:
        return new_password(), True
    first = getpass.getpass("Password: ")
    if wrong := what_is_wrong(first, getpass.getpass("Once more: ")):
        raise WrongArgument(wrong)
    return first, False


def _tell(arguments: Namespace, desk: Desk, name: str, password: str | None, until_us: int | None, uri: str | None) -> int:
    """What is shown now and never again."""
    until = f"{moment(until_us):%Y-%m-%d %H:%M} UTC" if until_us else None
    if arguments.json:
        print_json({"name": name, "portal": desk.address, "password": password, "until": until, "totp": uri})
        return 0
    say(f"Account {name}. It signs in at {desk.address}.")
    if password is not None:
        say(f"Its password, shown once and to be changed at the first sign-in, by {until}:\n{password}")
    if uri is not None:
        say(f"Its second factor, shown once, for an authenticator app:\n{uri}")
        if sys.stdout.isatty():
            desk.show_qr(uri)
    return 0


def _list(arguments: Namespace, desk: Desk) -> int:
    rows = [_row(one, desk) for one in desk.people.accounts()]
    if arguments.json:
        print_json(rows)
    else:
        shown = [{**row, **{key: ", ".join(row[key]) for key in ("roles", "organisations", "systems")}} for row in rows]
        print_table(("name", "source", "state", "second_factor", "email", "roles", "organisations", "systems"), shown)
    return 0


def _row(one: SignIn, desk: Desk) -> dict[str, Any]:
    account = one.account
    over = one.one_time_until_us is not None and one.one_time_until_us <= desk.clock.now_us()
    one_time = "one-time password, over" if over else "one-time password"
    return {
        "name": account.name,
        "label": account.label,
        "source": str(account.source),
        "state": "disabled" if account.disabled else one_time if one.one_time else "in use",
        "second_factor": "provider" if account.source is Source.OIDC else "totp" if one.totp else "none",
        "email": account.email,
        "roles": sorted(account.roles),
        "organisations": sorted(account.organisations),
        "systems": sorted(account.systems),
    }


def _set(arguments: Namespace, desk: Desk) -> int:
    before = _known(desk, arguments.name, local=not arguments.enable or bool(_changes(arguments)))
    changed = new_account(
        before.name,
        before.roles if arguments.role is None else arguments.role,
        organisations=before.organisations if arguments.organisation is None else arguments.organisation,
        systems=before.systems if arguments.system is None else arguments.system,
        source=before.source,
        label=before.label,
        email=before.email if arguments.email is None else arguments.email,
    )
    changed = replace(changed, disabled=before.disabled and not arguments.enable)
    desk.people.change(changed, who=desk.who, now_us=desk.clock.now_us())
    return _say_what_it_is(arguments, desk, changed.name)


def _changes(arguments: Namespace) -> Any:
    return arguments.role or arguments.organisation or arguments.system or arguments.email


def _disable(arguments: Namespace, desk: Desk) -> int:
    before = _known(desk, arguments.name)
    desk.people.change(replace(before, disabled=True), who=desk.who, now_us=desk.clock.now_us())
    return _say_what_it_is(arguments, desk, before.name)


def _say_what_it_is(arguments: Namespace, desk: Desk, name: str) -> int:
    found = desk.people.sign_in(name)
    assert found is not None
    row = _row(found, desk)
    if arguments.json:
        print_json(row)
    else:
        say(f"Account {name}: {row['state']}; {', '.join(row['roles'])}.")
    return 0


def _known(desk: Desk, name: str, *, local: bool = False) -> Account:
    found = desk.people.account(name)
    if found is None:
        raise no_account(name)
    if local and found.source is not Source.LOCAL:
        raise not_ours(name)
    return found


def _tokens(arguments: Namespace, desk: Desk) -> int:
    account = _known(desk, arguments.name)
    return {"list": _list_tokens, "make": _make_token, "end": _end_token}[arguments.action](arguments, desk, account)


def _list_tokens(arguments: Namespace, desk: Desk, account: Account) -> int:
    now_us, known = desk.clock.now_us(), desk.people.sign_in(account.name)
    confirmed_us = known.confirmed_us if known and account.source is Source.OIDC else None
    silent = confirmed_us is not None and confirmed_us < now_us - desk.token_days * 86_400_000_000
    rows = [
        {
            "token": row.key,
            "label": row.label,
            "made": _day(row.made_us),
            "until": _day(row.until_us),
            "counts": row.ended_us is None and row.until_us > now_us and not account.disabled and not silent,
        }
        for row in desk.people.tokens(account.name)
    ]
    if arguments.json:
        print_json(rows)
    else:
        print_table(("token", "label", "made", "until", "counts"), rows)
    return 0


def _make_token(arguments: Namespace, desk: Desk, account: Account) -> int:
    if not (arguments.label and len(arguments.label) <= 100 and arguments.label.isprintable()):
        raise WrongArgument("--label must say in 1 to 100 characters what the token is for.")
    if not 1 <= arguments.days <= TOKENS_LONGEST:
        raise WrongArgument(f"--days must be 1 to {TOKENS_LONGEST}.")
    token, now_us = new_token(), desk.clock.now_us()
    until_us = now_us + int(timedelta(days=arguments.days).total_seconds() * 1e6)
    desk.people.add_token(digest_of(token), account.name, arguments.label, until_us=until_us, who=desk.who, now_us=now_us)
    row = {"token": short(digest_of(token)), "label": arguments.label, "until": _day(until_us)}
    if arguments.json:
        print_json({**row, "api_token": token})
    else:
        say(f"API token {row['token']} of account {account.name}, until {row['until']}. Keep it now; it is not shown again:\n{token}")
    return 0


def _end_token(arguments: Namespace, desk: Desk, account: Account) -> int:
    key = arguments.token or ""
    if not desk.people.end_token(account.name, key, who=desk.who, now_us=desk.clock.now_us()):
        raise WrongArgument(f"Account {account.name} has no token {key[:20]!r} that still counts; `tokens list` shows its tokens.")
    if arguments.json:
        print_json({"token": key, "ended": True})
    else:
        say(f"API token {key} of account {account.name} counts no more.")
    return 0


def _day(us: int) -> str:
    return moment(us).date().isoformat()
