"""Accounts: who may look at the portal, and what each may do. Each act is journalled with who did it (`routing.people.People`)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any, Final
from urllib.parse import quote

from aiohttp import web
from multidict import MultiDictProxy

from portal.pages.kit import Kit
from portal.register_view import oin_typed
from portal.shell import Answer, Visit, page
from portal.texts import text
from routing.people import (
    TOKENS_LONGEST,
    Account,
    AccountError,
    Permission,
    Role,
    SignIn,
    Source,
    TokenRow,
    digest_of,
    new_account,
    new_password,
    new_token,
    not_ours,
    taken,
)

MANAGE: Final = Permission.MANAGE_ACCOUNTS
Form = MultiDictProxy[Any]
#: Where it matters who it was. With a token for somebody else's account one would do this in his name, and he would notice nothing.
WEIGHTY: Final = frozenset(
    {Permission.SEE_CONTENT, Permission.ACT, Permission.APPROVE, Permission.CHANGE_REGISTER, Permission.MANAGE_ACCOUNTS}
)


@dataclass(frozen=True, slots=True)
class Done:
    """What was done to an account, and what is shown now and never again."""

    said: str  #: a key under `accounts.said`
    once: tuple[tuple[str, str], ...] = field(default=(), repr=False)  #: which (a key under `accounts.once`), and the secret


def routes(kit: Kit) -> list[web.RouteDef]:
    """Its paths."""
    people = kit.shell.ports.people

    @page(permission=MANAGE)
    async def listed(request: web.Request, visit: Visit) -> Answer:
        return await _list(kit, request, visit)

    @page(permission=MANAGE)
    async def add(request: web.Request, visit: Visit) -> Answer:
        form = await request.post()
        try:
            name, done = await kit.ask(_add, kit, visit, form)
        except AccountError as error:
            return await _list(kit, request, visit, problem=error.in_language(visit.language), form=form)
        return await _show(kit, request, visit, await kit.ask(people.sign_in, name), done=done)

    @page(permission=MANAGE)
    async def opened(request: web.Request, visit: Visit) -> Answer:
        return await _show(kit, request, visit, await kit.ask(people.sign_in, request.match_info["name"]))

    @page(permission=MANAGE)
    async def change(request: web.Request, visit: Visit) -> Answer:
        name, form = request.match_info["name"], await request.post()
        known = await kit.ask(people.sign_in, name)
        act = ACTS.get(str(form.get("wat", "")))
        if known is None or act is None:
            raise web.HTTPNotFound
        try:
            done = await kit.ask(act, kit, visit, known.account, form)
        except AccountError as error:
            return await _show(kit, request, visit, known, problem=error.in_language(visit.language), form=form)
        if not done.once:
            raise web.HTTPSeeOther(f"{path_of(name)}?gedaan={done.said}")
        return await _show(kit, request, visit, await kit.ask(people.sign_in, name), done=done)

    return [
        web.get("/accounts", listed),
        web.post("/accounts", add),
        web.get("/accounts/{name}", opened),
        web.post("/accounts/{name}", change),
    ]


# -- what is done: in a thread, for a password takes its time ----------------------------------------------------------------------------


def _add(kit: Kit, visit: Visit, form: Form) -> tuple[str, Done]:
    """Raises AccountError."""
    ports = kit.shell.ports
    made = _described(str(form.get("naam", "")).strip().lower(), form)
    if ports.people.account(made.name) is not None:
        raise taken(made.name)
    password = new_password()
    totp, address = ports.passwords.new_totp(made.name) if form.get("factor") else (None, None)
    hashed = ports.passwords.hash(password)
    who, now_us = visit.account.name, kit.now_us
    ports.people.add(made, password=hashed, one_time=True, until_us=_until(kit, now_us), totp=totp, who=who, now_us=now_us)
    return made.name, Done("toegevoegd", (("password", password), *((("totp", address),) if address else ())))


def _described(name: str, form: Form, before: Account | None = None) -> Account:
    """As the form has it. Raises AccountError."""

    def oins(key: str) -> list[str]:
        return [oin_typed(line) or line.strip() for line in str(form.get(key, "")).splitlines() if line.strip()]

    roles = [str(role) for role in form.getall("rol", ())]
    email = str(form.get("email", "")).strip()
    made = new_account(name, roles, organisations=oins("organisations"), systems=oins("systems"), email=email)
    return made if before is None else replace(made, disabled=before.disabled, label=before.label)


def _change(kit: Kit, visit: Visit, account: Account, form: Form) -> Done:
    if account.source is not Source.LOCAL:
        raise not_ours(account.name)
    changed = _described(account.name, form, account)
    if account.person == visit.account.person and _is_more(changed, account):
        raise AccountError(text("accounts.own.more", "en"), text("accounts.own.more", "nl"))
    return _save(kit, visit, changed, "wijzigen")


def _is_more(changed: Account, before: Account) -> bool:
    """Whether it may or sees more than before, or is somebody else's: by whose address it is, one person is not the second as well."""
    names = ("permissions", "organisations", "systems")
    return changed.email != before.email or any(getattr(changed, name) - getattr(before, name) for name in names)


def _disable(kit: Kit, visit: Visit, account: Account, form: Form) -> Done:
    return _save(kit, visit, replace(account, disabled=True), "blokkeren")


def _enable(kit: Kit, visit: Visit, account: Account, form: Form) -> Done:
    return _save(kit, visit, replace(account, disabled=False), "toelaten")


def _save(kit: Kit, visit: Visit, changed: Account, said: str) -> Done:
    kit.shell.ports.people.change(changed, who=visit.account.name, now_us=kit.now_us, managed=True)
    return Done(said)


def _password(kit: Kit, visit: Visit, account: Account, form: Form) -> Done:
    _another(visit, account)
    password, ports = new_password(), kit.shell.ports
    hashed = ports.passwords.hash(password)
    who, now_us = visit.account.name, kit.now_us
    ports.people.set_password(account.name, hashed, one_time=True, until_us=_until(kit, now_us), who=who, now_us=now_us)
    return Done("wachtwoord", (("password", password),))


def _until(kit: Kit, now_us: int) -> int:
    """Until when a password is good that is made now."""
    return now_us + kit.shell.one_time_h * 3_600_000_000


def _totp(kit: Kit, visit: Visit, account: Account, form: Form) -> Done:
    _another(visit, account)
    totp, address = kit.shell.ports.passwords.new_totp(account.name)
    kit.shell.ports.people.set_totp(account.name, totp, who=visit.account.name, now_us=kit.now_us)
    return Done("factor", (("totp", address),))


def _no_totp(kit: Kit, visit: Visit, account: Account, form: Form) -> Done:
    _another(visit, account)
    kit.shell.ports.people.set_totp(account.name, None, who=visit.account.name, now_us=kit.now_us)
    return Done("zonder")


def _another(visit: Visit, account: Account) -> None:
    """Raises AccountError for one's own account: whoever loses what is shown once would be locked out; and a session alone, left open
    somewhere, is not to be enough for another password."""
    if account.name == visit.account.name:
        raise AccountError(text("accounts.own", "en"), text("accounts.own", "nl"))


def _sign_out(kit: Kit, visit: Visit, account: Account, form: Form) -> Done:
    kit.shell.ports.people.end_sessions(account.name, who=visit.account.name, now_us=kit.now_us)
    return Done("afmelden")


def _may_have_token(visit: Visit, account: Account) -> bool:
    """Whether this visitor may make a token for it."""
    granted = replace(account, disabled=False).permissions  # and it may be let in again
    return account.person == visit.account.person or not granted & WEIGHTY


def _make_token(kit: Kit, visit: Visit, account: Account, form: Form) -> Done:
    if not _may_have_token(visit, account):
        raise AccountError(text("accounts.token.theirs", "en"), text("accounts.token.theirs", "nl"))
    label, days = " ".join(str(form.get("waarvoor", "")).split()), str(form.get("dagen", ""))
    number = int(days) if days.isascii() and days.isdigit() and len(days) < 5 else 0
    if not (1 <= len(label) <= 100 and label.isprintable() and 1 <= number <= TOKENS_LONGEST):
        raise AccountError(*(text("accounts.token.wrong", language, most=TOKENS_LONGEST) for language in ("en", "nl")))
    token, now_us = new_token(), kit.now_us
    until_us = now_us + int(timedelta(days=number).total_seconds() * 1e6)
    kit.shell.ports.people.add_token(digest_of(token), account.name, label, until_us=until_us, who=visit.account.name, now_us=now_us)
    return Done("token", (("token", token),))


def _end_token(kit: Kit, visit: Visit, account: Account, form: Form) -> Done:
    key = str(form.get("token", ""))
    if not kit.shell.ports.people.end_token(account.name, key, who=visit.account.name, now_us=kit.now_us):
        raise AccountError(text("accounts.token.gone", "en"), text("accounts.token.gone", "nl"))
    return Done("token_einde")


#: By the button.
ACTS: Final = {
    "wijzigen": _change,
    "blokkeren": _disable,
    "toelaten": _enable,
    "wachtwoord": _password,
    "factor": _totp,
    "zonder": _no_totp,
    "afmelden": _sign_out,
    "token": _make_token,
    "token_einde": _end_token,
}


# -- what is shown -----------------------------------------------------------------------------------------------------------------------


def path_of(name: str) -> str:
    """Of an account's page. An identity provider's names hold anything."""
    return f"/accounts/{quote(name, safe='')}"


def state_of(one: SignIn, now_us: int) -> str:
    """A key under `accounts.state`."""
    over = one.one_time_until_us is not None and one.one_time_until_us <= now_us
    return "disabled" if one.account.disabled else f"one_time{'_over' if over else ''}" if one.one_time else "in_use"


def factor_of(one: SignIn) -> str:
    """A key under `accounts.factor`."""
    return "provider" if one.account.source is Source.OIDC else "totp" if one.totp else "none"


async def _list(
    kit: Kit, request: web.Request, visit: Visit, *, problem: str | None = None, form: Mapping[str, Any] | None = None
) -> web.Response:
    words = request.query.get("zoek", "").strip()
    found = await kit.ask(kit.shell.ports.people.accounts)
    return await kit.show(
        request,
        visit,
        "accounts.html",
        status=422 if problem else 200,
        accounts=[one for one in found if _fits(one.account, words, visit.language)],
        words=words[:100],
        problem=problem,
        **_of_form(form, None),
        state_of=lambda one: state_of(one, kit.now_us),
        path_of=path_of,
        factor_of=factor_of,
    )


def _fits(account: Account, words: str, language: str) -> bool:
    roles = [text(f"role.{role}", language) for role in account.roles]
    return words.casefold() in " ".join((account.name, account.label, *roles, *account.organisations, *account.systems)).casefold()


async def _show(
    kit: Kit,
    request: web.Request,
    visit: Visit,
    one: SignIn | None,
    *,
    problem: str | None = None,
    form: Mapping[str, Any] | None = None,
    done: Done | None = None,
) -> web.Response:
    """Raises HTTPNotFound."""
    if one is None:
        raise web.HTTPNotFound
    tokens: list[TokenRow] = await kit.ask(kit.shell.ports.people.tokens, one.account.name)
    now_us, after_us = kit.now_us, kit.now_us - kit.shell.token_days * 86_400_000_000
    counts = not one.account.disabled and not (one.account.source is Source.OIDC and (one.confirmed_us or now_us) < after_us)
    return await kit.show(
        request,
        visit,
        "account.html",
        status=409 if problem else 200,
        one=one,
        account=one.account,
        own=one.account.name == visit.account.name,
        local=one.account.source is Source.LOCAL,
        state=state_of(one, now_us),
        path_of=path_of,
        factor=factor_of(one),
        tokens=[(row, row.ended_us is None and row.until_us > now_us and counts) for row in reversed(tokens)],
        longest=TOKENS_LONGEST,
        tokenable=_may_have_token(visit, one.account),
        problem=problem,
        said=done.said if done else request.query.get("gedaan"),
        once=done.once if done else (),
        **_of_form(form if form and form.get("wat") == "wijzigen" else None, one.account),
    )


def _of_form(form: Any, account: Account | None) -> dict[str, Any]:
    """What the fields hold: what was sent, or the account's own."""
    given = {name: str(form.get(name, ""))[:2_000] if form else "" for name in ("naam", "email", "organisations", "systems")}
    roles = set(map(str, form.getall("rol", ()))) if form else set()
    if form is None and account is not None:
        given |= {name: "\n".join(sorted(getattr(account, name))) for name in ("organisations", "systems")}
        given["email"] = account.email
        roles = set(account.roles)
    return {"typed": given, "chosen": roles, "roles": list(Role), "factor_asked": form is None or bool(form.get("factor"))}
