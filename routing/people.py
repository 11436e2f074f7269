"""Who may look at the portal, and at what: roles, the one table of what each may do, accounts, and the scope that follows from them.

An account's scope is worked out from the account in the store at every request, never from anything that a request brings.
"""

from __future__ import annotations

import hashlib
import re
import secrets
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum
from types import MappingProxyType
from typing import Any, Final, Protocol

from routing.said import Said
from schemas.oin import Oin, parse_oin


class Role(StrEnum):
    """What somebody is to the chain. One account may have several roles."""

    CHAIN_MANAGER = "chain_manager"  #: ketenregisseur: watches the traffic, and settles what falls out with the partners
    OPERATOR = "operator"  #: runs the backbone
    PARTNER = "partner"  #: a supplier, a municipality or a central service
    SCHOOL = "school"  #: a school or its board
    AUDITOR = "auditor"
    READER = "reader"  #: looks along, and changes nothing


class Permission(StrEnum):
    """One thing that a page, an action or a call asks for."""

    SEE_EVERYTHING = "see_everything"
    SEE_OWN = "see_own"  #: the traffic of the account's own organisations and systems
    SEE_CONTENT = "see_content"  #: the content of a message, with a reason that is journalled (break-glass)
    ACT = "act"  #: retry, redirect, archive, return
    ACT_TECHNICAL = "act_technical"  #: pause, resume, send a test message
    APPROVE = "approve"  #: the second person for what is large
    GROUPS = "groups"  #: notes, assignment and life cycle of failure groups
    TELL = "tell"  #: send a partner its report
    MANAGE_ACCOUNTS = "manage_accounts"
    EXPORT = "export"
    SEE_REGISTER = "see_register"
    CHANGE_REGISTER = "change_register"  #: of everybody, by the operator's rules
    CHANGE_REGISTER_OWN = "change_register_own"


_R = Role
_P = Permission

#: Who may do what; docs/security.md has the same table.
MAY: Final[Mapping[Permission, frozenset[Role]]] = MappingProxyType(
    {
        _P.SEE_EVERYTHING: frozenset({_R.CHAIN_MANAGER, _R.OPERATOR, _R.AUDITOR, _R.READER}),
        _P.SEE_OWN: frozenset({_R.PARTNER, _R.SCHOOL}),
        _P.SEE_CONTENT: frozenset({_R.CHAIN_MANAGER, _R.AUDITOR}),
        _P.ACT: frozenset({_R.CHAIN_MANAGER}),
        _P.ACT_TECHNICAL: frozenset({_R.CHAIN_MANAGER, _R.OPERATOR}),
        _P.APPROVE: frozenset({_R.CHAIN_MANAGER, _R.OPERATOR}),
        _P.GROUPS: frozenset({_R.CHAIN_MANAGER, _R.OPERATOR}),
        _P.TELL: frozenset({_R.CHAIN_MANAGER, _R.OPERATOR}),
        _P.MANAGE_ACCOUNTS: frozenset({_R.OPERATOR}),
        _P.EXPORT: frozenset({_R.CHAIN_MANAGER, _R.OPERATOR, _R.AUDITOR, _R.PARTNER, _R.SCHOOL}),
        _P.SEE_REGISTER: frozenset(_R),
        _P.CHANGE_REGISTER: frozenset({_R.OPERATOR}),
        _P.CHANGE_REGISTER_OWN: frozenset({_R.PARTNER, _R.SCHOOL}),
    }
)
#: What every page that shows traffic asks for: either of them. How much of it is shown is the scope's to say.
SEE: Final = frozenset({_P.SEE_EVERYTHING, _P.SEE_OWN})
#: Roles that see their own traffic only, so that an account with none but these needs an OIN.
OWN_ONLY: Final = frozenset(_R) - MAY[_P.SEE_EVERYTHING]

#: How an account may be called. One of an identity provider's begins with `oidc:` and may be longer.
NAME_SHAPE: Final = re.compile(r"[a-z0-9][a-z0-9._@+-]{1,63}\Z")
EMAIL_SHAPE: Final = re.compile(r"[^@\s\x00-\x20\x7f]{1,64}@[^@\s\x00-\x20\x7f]{1,253}\Z")
#: What an API token looks like, so that one that was pasted where it should not be can be searched for.
TOKEN_PREFIX: Final = "kpt_"  # noqa: S105 - no password
TOKEN_SHAPE: Final = re.compile(r"kpt_[A-Za-z0-9_-]{43}\Z")
#: Days for which an API token counts, at most.
TOKENS_LONGEST: Final = 730
#: Characters of a password that somebody chooses (NIST SP 800-63B: length, and no rules about kinds of characters).
SHORTEST_PASSWORD, LONGEST_PASSWORD = 12, 200
#: A session ends after so long without a request, and after so long whatever happens.
IDLE: Final = timedelta(minutes=30)
ABSOLUTE: Final = timedelta(hours=10)
#: For so long a handle is good.
HANDLE: Final = timedelta(minutes=30)


class Source(StrEnum):
    """Where an account comes from."""

    LOCAL = "local"  #: made here, with a password
    OIDC = "oidc"  #: an identity provider's; made anew at each sign-in


class AccountError(Said):
    """An account cannot be made or changed so; the sentence says what to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scope:
    """What an account may see. Every query takes one and applies it in SQL; the empty one shows nothing."""

    everything: bool = False
    organisations: frozenset[Oin] = frozenset()  #: schools, municipalities: what they sent or were to receive
    systems: frozenset[Oin] = frozenset()  #: a supplier's systems: what came through them, either way


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """One person, or one program with tokens."""

    name: str
    roles: frozenset[Role]
    organisations: frozenset[Oin] = frozenset()
    systems: frozenset[Oin] = frozenset()
    source: Source = Source.LOCAL
    disabled: bool = False
    label: str = ""  #: how an identity provider calls the person
    email: str = ""  #: the person's, by which another account of the same person is known; empty: nobody told us

    @property
    def shown(self) -> str:
        """What people know it by."""
        return self.label or self.name

    @property
    def permissions(self) -> frozenset[Permission]:
        """What its roles allow; nothing once it is disabled."""
        return frozenset(p for p, roles in MAY.items() if roles & self.roles) if not self.disabled else frozenset()

    @property
    def scope(self) -> Scope:
        """What it may see."""
        if Permission.SEE_EVERYTHING in self.permissions:
            return Scope(everything=True)
        if Permission.SEE_OWN in self.permissions:
            return Scope(organisations=self.organisations, systems=self.systems)
        return Scope()

    @property
    def person(self) -> str:
        """Whose account it is, as far as we know: the same text for two accounts of one person. `anna+2@x.nl` gets anna's mail."""
        name, _, host = self.email.casefold().rpartition("@")
        return f"{name.partition('+')[0]}@{host}" if host else f"account:{self.name}"


def no_account(name: str) -> AccountError:
    """There is none of this name."""
    return AccountError(
        f"There is no account {name[:70]}; `account list` shows the ones that exist.", f"Er is geen account {name[:70]}; zie de lijst."
    )


def taken(name: str) -> AccountError:
    """There is one of this name already."""
    return AccountError(
        f"There is an account {name} already; `account set` changes it.",
        f"Er is al een account {name}; wijzig dat, of kies een andere naam.",
    )


def not_ours(name: str) -> AccountError:
    """Its roles, password and second factor are not kept here."""
    return AccountError(
        f"Account {name} is the identity provider's; change it there.", f"Account {name} is van de aanmelddienst; wijzig het daar."
    )


def nobody_manages(name: str) -> AccountError:
    """It is the last that may manage accounts."""
    return AccountError(
        f"Account {name} is the last one that may manage accounts: give another one that role first.",
        f"Account {name} is het laatste dat accounts mag beheren: geef eerst een ander account die rol.",
    )


def new_account(
    name: str,
    roles: Iterable[str],
    *,
    organisations: Iterable[str] = (),
    systems: Iterable[str] = (),
    source: Source = Source.LOCAL,
    label: str = "",
    email: str = "",
) -> Account:
    """An account that makes sense. Raises AccountError."""
    if source is Source.LOCAL and not NAME_SHAPE.match(name):
        raise AccountError(
            f"{name[:70]!r} is no name for an account: 2 to 64 of a-z, 0-9 and ._@+-, beginning with a letter or digit.",
            f"{name[:70]!r} kan geen naam van een account zijn: 2 tot 64 tekens a-z, 0-9 en ._@+-, met een letter of cijfer vooraan.",
        )
    try:
        held = frozenset(Role(role) for role in roles)
    except ValueError:
        raise AccountError(
            f"There is no such role; there are {', '.join(Role)}.", f"Die rol is er niet; er zijn {', '.join(Role)}."
        ) from None
    try:
        own, through = frozenset(map(parse_oin, organisations)), frozenset(map(parse_oin, systems))
    except ValueError as error:
        raise AccountError(
            f"{error}.", "Dit is geen OIN: die heeft 20 posities, acht cijfers en dan twaalf cijfers of hoofdletters."
        ) from None
    if email and not EMAIL_SHAPE.match(email):
        raise AccountError(
            f"{email[:70]!r} is no e-mail address, such as anna@example.nl.",
            f"{email[:70]!r} is geen e-mailadres, zoals anna@example.nl.",
        )
    if not held:
        raise AccountError(f"Account {name} needs a role: {', '.join(Role)}.", f"Account {name} heeft een rol nodig.")
    if held <= OWN_ONLY and not own | through:
        raise AccountError(
            f"Account {name} would see nothing: name its organisations or systems, by OIN.",
            f"Account {name} zou niets zien: noem zijn organisaties of systemen, met hun OIN.",
        )
    return Account(name=name, roles=held, organisations=own, systems=through, source=source, label=label, email=email)


@dataclass(frozen=True, slots=True, kw_only=True)
class SignIn:
    """What the store has of a local account, to check a sign-in by."""

    account: Account
    password: str | None = field(repr=False)  #: argon2 hash; None: it cannot sign in with one
    one_time: bool = False  #: somebody else chose the password: the first thing to do is to choose another
    one_time_until_us: int | None = None  #: until when such a password is good; None: its time has not begun (see People.catch_up)
    totp: bytes | None = field(default=None, repr=False)  #: sealed; None: no second factor
    totp_step: int = 0  #: the last time step whose code was used; none is good twice
    confirmed_us: int | None = None  #: when the identity provider last said who it is; None: its time has not begun (see People.catch_up)


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """A browser that signed in."""

    key: bytes  #: SHA-256 of what the browser's cookie holds
    account: Account  #: as it is in the store now
    began_us: int
    seen_us: int
    one_time: bool = False  #: as in SignIn
    second_factor: bool = False  #: whether the account has one here

    def lacks_second_factor(self, required: Collection[Role]) -> bool:
        """Whether it must get a second factor before anything else, when accounts of these roles must have one."""
        return self.account.source is Source.LOCAL and not self.second_factor and bool(self.account.roles & frozenset(required))


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenRow:
    """An API token without the token."""

    key: str  #: what people call it by: too little to do anything with
    account: str
    label: str
    made_us: int
    until_us: int
    ended_us: int | None


class NotConfirmed(Exception):
    """A token counts no more until the owner of its account signs in at the identity provider again."""


class SecondFactorUnreadable(Exception):
    """A second factor cannot be judged with the key that this process has; the text is one sentence that says what to do."""


class People(Protocol):
    """Accounts, sessions and tokens in the store. Each change is journalled in its own transaction, with who made it.

    All raise StoreUnavailable.
    """

    def account(self, name: str) -> Account | None:
        """As it is now."""

    def accounts(self) -> list[SignIn]:
        """All of them, by name."""

    def add(
        self,
        account: Account,
        *,
        password: str,
        one_time: bool,
        totp: bytes | None,
        who: str,
        now_us: int,
        until_us: int | None = None,
    ) -> None:
        """A new local account; a one-time password is good until then. Raises AccountError when the name is taken."""

    def change(self, account: Account, *, who: str, now_us: int, managed: bool = False) -> None:
        """Its roles, OINs, and whether it is disabled, which ends its sessions. Raises AccountError when there is none, and (`managed`)
        when nobody could manage accounts any more."""

    def set_password(
        self,
        name: str,
        password: str,
        *,
        one_time: bool,
        who: str,
        now_us: int,
        keep: bytes | None = None,
        until_us: int | None = None,
    ) -> None:
        """Another argon2 hash, if one-time good until then; ends its sessions but `keep`. Raises AccountError when there is no such local
        account."""

    def set_totp(self, name: str, totp: bytes | None, *, who: str, now_us: int) -> None:
        """Another second factor, or none; ends its sessions. Raises AccountError when there is no such local account."""

    def first_totp(self, name: str, totp: bytes, step: int, *, keep: bytes, now_us: int) -> bool:
        """A second factor for an account without one, whose owner has just shown the code of this time step; ends its sessions but `keep`.
        False when it has one meanwhile."""

    def reseal_totp(self, name: str, before: bytes, after: bytes) -> None:
        """The same second factor, sealed otherwise; nothing when it is another by now."""

    def from_provider(self, account: Account, *, now_us: int) -> Account:
        """An account as the identity provider describes it today; what an operator disabled stays so."""

    def sign_in(self, name: str) -> SignIn | None:
        """What to check a sign-in by."""

    def use_totp(self, name: str, step: int) -> bool:
        """Uses a time step up; False when it or a later one was used before."""

    def too_many(self, keys: Mapping[bytes, int], *, now_us: int, window_us: int) -> int:
        """Counts one more try under each key, unless one of them has had as many as its number says within the window. Returns for how
        many microseconds nothing more is taken then; 0: it was counted, go on."""

    def forget_tries(self, keys: Iterable[bytes], *, take_back: Iterable[bytes] = ()) -> None:
        """After a sign-in that went well: forgets all of the first, and this one try of the others."""

    def refused(self, name: str, why: str, *, now_us: int) -> None:
        """Journals a sign-in to an account that did not go well. Nothing for a name that no account has: it may be a password."""

    def open_session(self, key: bytes, name: str, *, now_us: int) -> None:
        """Somebody signed in."""

    def session(self, key: bytes, *, now_us: int, touch: bool = True) -> Session | None:
        """The session and its account as they are now; `touch`: and it is not idle. None when it has ended, or its account is disabled."""

    def end_session(self, key: bytes, *, now_us: int) -> None:
        """Signs out."""

    def end_sessions(self, name: str, *, who: str, now_us: int) -> int:
        """Signs an account out everywhere; returns how many sessions there were."""

    def keep_handle(self, key: bytes, session: bytes, kind: str, value: bytes, *, until_us: int) -> None:
        """Keeps something for one session, under the hash of a handle."""

    def handle(self, key: bytes, session: bytes, kind: str, *, now_us: int, once: bool = False) -> bytes | None:
        """What was kept; None when it is over, or another session's. `once`: and it is gone then."""

    def add_token(self, digest: bytes, name: str, label: str, *, until_us: int, who: str, now_us: int) -> None:
        """An API token for an account. Raises AccountError when there is no such account."""

    def tokens(self, name: str | None = None) -> list[TokenRow]:
        """Every token that an account, or anybody, ever had."""

    def end_token(self, name: str, key: str, *, who: str, now_us: int) -> bool:
        """It counts no more; False when the account has no such token that still counts."""

    def by_token(self, digest: bytes, *, now_us: int, confirmed_after_us: int = 0) -> Account | None:
        """Whose token it is, if it counts now and the account is not disabled. Raises NotConfirmed when the account is an identity
        provider's, and that last let its owner in before `confirmed_after_us`."""

    def catch_up(self, *, now_us: int, one_time_until_us: int) -> int:
        """Lets the time begin of what a version made that knew of none: provider accounts count as confirmed now, one-time passwords are
        good until then. Returns how many."""

    def tidy(self, *, now_us: int) -> int:
        """Removes sessions, handles and tries that are over; returns how many."""


class Passwords(Protocol):
    """Passwords and second factors: slow on purpose, so never called on an event loop."""

    def hash(self, password: str) -> str:
        """Argon2id."""

    def check(self, kept: str | None, password: str) -> bool:
        """Whether it is that password. With None it takes as long, and is false."""

    def new_totp(self, name: str) -> tuple[bytes, str]:
        """A second factor for this account: sealed, and as an `otpauth:` address to show once."""

    def totp_step(self, name: str, sealed: bytes, code: str, *, now_us: int) -> int | None:
        """The time step for which this code is right, now or half a minute to either side; None: for none. Raises
        SecondFactorUnreadable."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Flow:
    """A sign-in at the identity provider that has begun: kept under a handle until the browser comes back."""

    state: str
    nonce: str = field(repr=False)
    verifier: str = field(repr=False)  #: PKCE

    def to_dict(self) -> dict[str, str]:
        """For the store."""
        return {"state": self.state, "nonce": self.nonce, "verifier": self.verifier}


class SignInRefused(Exception):
    """The identity provider, or what it said, lets nobody in; the text is one sentence for the log and the journal."""


class IdentityProvider(Protocol):
    """OpenID Connect, code flow with PKCE."""

    name: str  #: as the button says it

    async def begin(self, redirect: str) -> tuple[str, Flow]:
        """Where the browser is to go. Raises SignInRefused when the provider cannot be asked."""

    async def finish(self, flow: Flow, answer: Mapping[str, Any], redirect: str) -> Account:
        """Who came back, from an id_token that was checked. Raises SignInRefused."""


def new_secret() -> str:
    """256 random bits as text: for a cookie, a handle, a token."""
    return secrets.token_urlsafe(32)


def new_token() -> str:
    """An API token that nobody has."""
    return TOKEN_PREFIX + new_secret()


def digest_of(secret: str) -> bytes:
    """What the store keeps of one. What cannot be guessed needs no salt and no slow hash."""
    return hashlib.sha256(secret.encode()).digest()


def short(digest: bytes) -> str:
    """What people call a token by: too little to do anything with."""
    return bytes(digest).hex()[:8]


def new_password() -> str:
    """A password of 100 bits that can be read aloud: no letters that look alike."""
    letters = "abcdefghjkmnpqrstuvwxyz23456789"
    return "-".join("".join(secrets.choice(letters) for _ in range(5)) for _ in range(4))


def what_is_wrong(password: str, again: str) -> str | None:
    """What is wrong with a password that somebody chose, as a sentence; None: nothing."""
    if password != again:
        return "The two passwords are not the same."
    if not SHORTEST_PASSWORD <= len(password) <= LONGEST_PASSWORD:
        return f"A password has {SHORTEST_PASSWORD} to {LONGEST_PASSWORD} characters."
    return None
