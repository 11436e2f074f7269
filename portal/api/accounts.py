"""Who may look at the portal. Made, widened and given new secrets only on its page, by a person who signed in: of a token that was lost,
somebody could make himself another account here; so here they are only seen, disabled, and their tokens ended."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Final

from portal.api.calls import Asked, found, get, post
from portal.api.problems import not_found
from portal.api.values import Field, shaped
from routing.people import Permission, Role, SignIn, Source, TokenRow

_NAME: Final = Field(
    name="name",
    kind=shaped("[^\\x00-\\x20\\x7f]{1,300}", "dit is de naam van een account", "it is the name of an account"),
    required=True,
    about="Of the account.",
)
_TOKEN: Final = Field(
    name="token",
    kind=shaped("[0-9a-f]{8}", "dit is een token zoals het account dat noemt", "it is a token as its account calls it"),
    required=True,
    about="As the account lists it.",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountLine:
    """One person, or one program with tokens."""

    name: str
    label: str
    source: Source
    disabled: bool
    one_time_password: bool
    second_factor: bool
    roles: tuple[Role, ...]
    organisations: tuple[str, ...]
    systems: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountLines:
    """By name."""

    accounts: tuple[AccountLine, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountDetail:
    """An account and every token it ever had, without the tokens themselves."""

    account: AccountLine
    tokens: tuple[TokenRow, ...]


def _line(one: SignIn) -> AccountLine:
    account = one.account
    return AccountLine(
        name=account.name,
        label=account.label,
        source=account.source,
        disabled=account.disabled,
        one_time_password=one.one_time,
        second_factor=one.totp is not None,
        roles=tuple(sorted(account.roles)),
        organisations=tuple(sorted(account.organisations)),
        systems=tuple(sorted(account.systems)),
    )


def _known(asked: Asked) -> SignIn:
    """Raises Problem for one that is not there, and for whoever does not see everything."""
    if not asked.scope.everything:
        raise not_found()
    one: SignIn = found(asked.ports.people.sign_in(asked["name"]))
    return one


def _detail(asked: Asked) -> AccountDetail:
    one = _known(asked)
    return AccountDetail(account=_line(one), tokens=tuple(asked.ports.people.tokens(one.account.name)))


@get("/accounts", tag="accounts", summary="Accounts, by name", permission=Permission.MANAGE_ACCOUNTS, answer=AccountLines)
def accounts(asked: Asked) -> AccountLines:
    """All of them."""
    if not asked.scope.everything:
        raise not_found()
    return AccountLines(accounts=tuple(map(_line, asked.ports.people.accounts())))


@get(
    "/accounts/{name}",
    tag="accounts",
    summary="One account, and its tokens",
    permission=Permission.MANAGE_ACCOUNTS,
    answer=AccountDetail,
    place=(_NAME,),
)
def account(asked: Asked) -> AccountDetail:
    """Opened."""
    return _detail(asked)


@post(
    "/accounts/{name}/disable",
    tag="accounts",
    summary="Nobody signs in with it any more, and its tokens do not count; let in again on its page",
    permission=Permission.MANAGE_ACCOUNTS,
    answer=AccountDetail,
    place=(_NAME,),
)
def disable_account(asked: Asked) -> AccountDetail:
    """At once."""
    changed = replace(_known(asked).account, disabled=True)
    asked.ports.people.change(changed, who=asked.who, now_us=asked.now_us, managed=True)
    return _detail(asked)


@post(
    "/accounts/{name}/tokens/{token}/end",
    tag="accounts",
    summary="A token counts no more",
    permission=Permission.MANAGE_ACCOUNTS,
    answer=AccountDetail,
    place=(_NAME, _TOKEN),
)
def end_token(asked: Asked) -> AccountDetail:
    """At once."""
    _known(asked)
    ended: Any = asked.ports.people.end_token(asked["name"], asked["token"], who=asked.who, now_us=asked.now_us) or None
    found(ended)
    return _detail(asked)


CALLS: Final = (accounts, account, disable_account, end_token)
