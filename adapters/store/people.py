"""Accounts, sessions and tokens of the portal. Each change and its journal event are one transaction."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any, Final

from sqlalchemy import Connection, delete, insert, select, text, update

from adapters.store.database import Database
from adapters.store.rows import event_row, write_events
from adapters.store.tables.people import account, account_session, account_token, content_request, handle, sign_in_try
from routing.people import (
    ABSOLUTE,
    IDLE,
    Account,
    NotConfirmed,
    Permission,
    Role,
    Session,
    SignIn,
    Source,
    TokenRow,
    digest_of,
    no_account,
    nobody_manages,
    not_ours,
    short,
    taken,
)
from schemas.events import Event
from schemas.oin import Oin
from schemas.privacy import redact

_IDLE_US: Final = int(IDLE.total_seconds() * 1e6)
_ABSOLUTE_US: Final = int(ABSOLUTE.total_seconds() * 1e6)
#: A session is written down as seen no more often than this: a page is to cost no write.
_TOUCH_US: Final = 60_000_000
#: How many sessions one account has at a time; the one unseen longest goes first.
SESSIONS: Final = 10

_COUNT_TRY: Final = text(
    "INSERT INTO sign_in_try (key, tries, until_us) VALUES (:key, 1, :until) ON CONFLICT (key) DO UPDATE SET "
    "tries = CASE WHEN sign_in_try.until_us <= :now THEN 1 ELSE sign_in_try.tries + 1 END, "
    "until_us = CASE WHEN sign_in_try.until_us <= :now THEN :until ELSE sign_in_try.until_us END"
)


class People:
    """`routing.people.People` on the store."""

    def __init__(self, database: Database) -> None:
        self._db = database

    # -- accounts ------------------------------------------------------------------------------------------------------------------------

    def account(self, name: str) -> Account | None:
        """See `routing.people.People`."""
        found = self.sign_in(name)
        return found.account if found else None

    def accounts(self) -> list[SignIn]:
        """See `routing.people.People`."""
        with self._db.read() as connection:
            return [_sign_in(row) for row in connection.execute(select(account).order_by(account.c.name))]

    def add(
        self,
        new: Account,
        *,
        password: str,
        one_time: bool,
        totp: bytes | None,
        who: str,
        now_us: int,
        until_us: int | None = None,
    ) -> None:
        """See `routing.people.People`."""
        with self._db.write() as tx:
            if _find(tx, new.name) is not None:
                raise taken(new.name)
            secrets = {"password": password, "one_time": one_time, "one_time_until_us": until_us, "totp": totp, "totp_step": 0}
            tx.execute(insert(account), {**_columns(new), **secrets, "made_us": now_us})
            _journal(tx, "account_added", new.name, who, now_us, _described(new))

    def change(self, changed: Account, *, who: str, now_us: int, managed: bool = False) -> None:
        """See `routing.people.People`."""
        with self._db.write() as tx:
            if managed:
                self._db.one_at_a_time(tx, [digest_of("who manages accounts")])
            if (known := _find(tx, changed.name)) is None:
                raise no_account(changed.name)
            tx.execute(update(account).where(account.c.name == changed.name).values(**_columns(changed)))
            if managed and not _is_managed(tx):
                raise nobody_manages(changed.name)
            if changed.disabled:
                _end_all(tx, changed.name)
            _journal(tx, "account_changed", changed.name, who, now_us, _described(changed) | _moved(changed, known.email))

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
        """See `routing.people.People`."""
        values = {"password": password, "one_time": one_time, "one_time_until_us": until_us if one_time else None}
        with self._db.write() as tx:
            _require_local(tx, name)
            tx.execute(update(account).where(account.c.name == name).values(**values))
            _end_all(tx, name, keep)
            _journal(tx, "account_password_set", name, who, now_us)

    def set_totp(self, name: str, totp: bytes | None, *, who: str, now_us: int) -> None:
        """See `routing.people.People`."""
        with self._db.write() as tx:
            _require_local(tx, name)
            tx.execute(update(account).where(account.c.name == name).values(totp=totp, totp_step=0))
            _end_all(tx, name)
            _journal(tx, "account_second_factor_set", name, who, now_us, {"second_factor": "none" if totp is None else "totp"})

    def first_totp(self, name: str, totp: bytes, step: int, *, keep: bytes, now_us: int) -> bool:
        """See `routing.people.People`."""
        none_yet = (account.c.name == name, account.c.totp.is_(None), account.c.source == str(Source.LOCAL))
        with self._db.write() as tx:
            if tx.execute(update(account).where(*none_yet).values(totp=totp, totp_step=step)).rowcount != 1:
                return False
            _end_all(tx, name, keep)
            _journal(tx, "account_second_factor_set", name, name, now_us, {"second_factor": "totp"})
            return True

    def reseal_totp(self, name: str, before: bytes, after: bytes) -> None:
        """See `routing.people.People`."""
        with self._db.write() as tx:
            tx.execute(update(account).where(account.c.name == name, account.c.totp == before).values(totp=after))

    def catch_up(self, *, now_us: int, one_time_until_us: int) -> int:
        """See `routing.people.People`."""
        begun = (
            ((account.c.source == str(Source.OIDC)) & account.c.confirmed_us.is_(None), {"confirmed_us": now_us}),
            (account.c.one_time.is_(True) & account.c.one_time_until_us.is_(None), {"one_time_until_us": one_time_until_us}),
        )
        with self._db.read() as connection:
            due = [(which, values) for which, values in begun if connection.execute(select(account.c.name).where(which)).first()]
        if not due:
            return 0
        with self._db.write() as tx:
            return sum(tx.execute(update(account).where(which).values(**values)).rowcount for which, values in due)

    def from_provider(self, described: Account, *, now_us: int) -> Account:
        """See `routing.people.People`."""
        with self._db.write() as tx:
            self._db.one_at_a_time(tx, [digest_of(f"account:{described.name}")])
            known = _find(tx, described.name)
            if known is None:
                tx.execute(insert(account), {**_columns(described), "made_us": now_us, "confirmed_us": now_us})
                _journal(tx, "account_added", described.name, "oidc", now_us, _described(described))
                return described
            before = _account(known)
            after = Account(
                name=described.name,
                roles=described.roles,
                organisations=described.organisations,
                systems=described.systems,
                source=Source.OIDC,
                disabled=before.disabled,
                label=described.label,
                email=described.email,
            )
            tx.execute(update(account).where(account.c.name == after.name).values(**_columns(after), confirmed_us=now_us))
            if after != before:
                _journal(tx, "account_changed", after.name, "oidc", now_us, _described(after) | _moved(after, before.email))
            return after

    # -- signing in ----------------------------------------------------------------------------------------------------------------------

    def sign_in(self, name: str) -> SignIn | None:
        """See `routing.people.People`."""
        with self._db.read() as connection:
            row = _find(connection, name)
        return _sign_in(row) if row is not None else None

    def use_totp(self, name: str, step: int) -> bool:
        """See `routing.people.People`."""
        with self._db.write() as tx:
            used = update(account).where(account.c.name == name, account.c.totp_step < step).values(totp_step=step)
            return tx.execute(used).rowcount == 1

    def too_many(self, keys: Mapping[bytes, int], *, now_us: int, window_us: int) -> int:
        """See `routing.people.People`."""
        with self._db.write() as tx:
            self._db.one_at_a_time(tx, keys)
            found = {
                bytes(row.key): row
                for row in tx.execute(select(sign_in_try).where(sign_in_try.c.key.in_(list(keys)), sign_in_try.c.until_us > now_us))
            }
            full = [int(row.until_us) - now_us for key, row in found.items() if row.tries >= keys[key]]
            if full:
                return max(full)
            for key in sorted(keys):
                tx.execute(_COUNT_TRY, {"key": key, "now": now_us, "until": now_us + window_us})
        return 0

    def forget_tries(self, keys: Iterable[bytes], *, take_back: Iterable[bytes] = ()) -> None:
        """See `routing.people.People`."""
        one = sign_in_try.c.key.in_(list(take_back)), sign_in_try.c.tries > 0
        with self._db.write() as tx:
            tx.execute(delete(sign_in_try).where(sign_in_try.c.key.in_(list(keys))))
            tx.execute(update(sign_in_try).where(*one).values(tries=sign_in_try.c.tries - 1))

    def refused(self, name: str, why: str, *, now_us: int) -> None:
        """See `routing.people.People`."""
        with self._db.write() as tx:
            if _find(tx, name) is not None:
                _journal(tx, "sign_in_refused", name, name, now_us, {"why": why})

    # -- sessions ------------------------------------------------------------------------------------------------------------------------

    def open_session(self, key: bytes, name: str, *, now_us: int) -> None:
        """See `routing.people.People`."""
        with self._db.write() as tx:
            newest = select(account_session.c.key).where(account_session.c.account == name)
            keep = tx.execute(newest.order_by(account_session.c.seen_us.desc()).limit(SESSIONS - 1)).scalars().all()
            tx.execute(delete(account_session).where(account_session.c.account == name, account_session.c.key.not_in(keep)))
            tx.execute(insert(account_session), {"key": key, "account": name, "began_us": now_us, "seen_us": now_us})
            _journal(tx, "signed_in", name, name, now_us)

    def session(self, key: bytes, *, now_us: int, touch: bool = True) -> Session | None:
        """See `routing.people.People`."""
        with self._db.read() as connection:
            row = connection.execute(
                select(account_session, account)
                .join(account, account.c.name == account_session.c.account)
                .where(
                    account_session.c.key == key,
                    account_session.c.seen_us > now_us - _IDLE_US,
                    account_session.c.began_us > now_us - _ABSOLUTE_US,
                    account.c.disabled.is_(False),
                )
            ).first()
        if row is None:
            return None
        if touch and row.seen_us < now_us - _TOUCH_US:
            with self._db.write() as tx:
                tx.execute(
                    update(account_session).where(account_session.c.key == key, account_session.c.seen_us < now_us).values(seen_us=now_us)
                )
        return Session(
            key=key,
            account=_account(row),
            began_us=row.began_us,
            seen_us=row.seen_us,
            one_time=row.one_time,
            second_factor=row.totp is not None,
        )

    def end_session(self, key: bytes, *, now_us: int) -> None:
        """See `routing.people.People`."""
        with self._db.write() as tx:
            name = tx.execute(delete(account_session).where(account_session.c.key == key).returning(account_session.c.account)).scalar()
            tx.execute(delete(handle).where(handle.c.session == key))
            if name is not None:
                _journal(tx, "signed_out", name, name, now_us)

    def end_sessions(self, name: str, *, who: str, now_us: int) -> int:
        """See `routing.people.People`."""
        with self._db.write() as tx:
            ended = _end_all(tx, name)
            if ended:
                _journal(tx, "signed_out", name, who, now_us, {"sessions": str(ended)})
            return ended

    def keep_handle(self, key: bytes, session: bytes, kind: str, value: bytes, *, until_us: int) -> None:
        """See `routing.people.People`."""
        with self._db.write() as tx:
            tx.execute(insert(handle), {"key": key, "session": session, "kind": kind, "value": value, "until_us": until_us})

    def handle(self, key: bytes, session: bytes, kind: str, *, now_us: int, once: bool = False) -> bytes | None:
        """See `routing.people.People`."""
        mine = (handle.c.key == key, handle.c.session == session, handle.c.kind == kind, handle.c.until_us > now_us)
        if once:
            with self._db.write() as tx:
                found = tx.execute(delete(handle).where(*mine).returning(handle.c.value)).scalar()
        else:
            with self._db.read() as connection:
                found = connection.execute(select(handle.c.value).where(*mine)).scalar()
        return None if found is None else bytes(found)

    # -- tokens --------------------------------------------------------------------------------------------------------------------------

    def add_token(self, digest: bytes, name: str, label: str, *, until_us: int, who: str, now_us: int) -> None:
        """See `routing.people.People`."""
        with self._db.write() as tx:
            if _find(tx, name) is None:
                raise no_account(name)
            tx.execute(insert(account_token), {"hash": digest, "account": name, "label": label, "made_us": now_us, "until_us": until_us})
            _journal(tx, "token_made", name, who, now_us, {"token": short(digest), "label": redact(label)})

    def tokens(self, name: str | None = None) -> list[TokenRow]:
        """See `routing.people.People`."""
        query = select(account_token).order_by(account_token.c.account, account_token.c.made_us)
        with self._db.read() as connection:
            rows = connection.execute(query if name is None else query.where(account_token.c.account == name)).all()
        return [
            TokenRow(
                key=short(row.hash), account=row.account, label=row.label, made_us=row.made_us, until_us=row.until_us, ended_us=row.ended_us
            )
            for row in rows
        ]

    def end_token(self, name: str, key: str, *, who: str, now_us: int) -> bool:
        """See `routing.people.People`."""
        with self._db.write() as tx:
            mine = select(account_token.c.hash).where(account_token.c.account == name, account_token.c.ended_us.is_(None))
            found = [bytes(digest) for digest in tx.execute(mine).scalars() if short(digest) == key]
            for digest in found:
                tx.execute(update(account_token).where(account_token.c.hash == digest).values(ended_us=now_us))
                _journal(tx, "token_ended", name, who, now_us, {"token": key})
            return bool(found)

    def by_token(self, digest: bytes, *, now_us: int, confirmed_after_us: int = 0) -> Account | None:
        """See `routing.people.People`."""
        with self._db.read() as connection:
            row = connection.execute(
                select(account)
                .join(account_token, account.c.name == account_token.c.account)
                .where(
                    account_token.c.hash == digest,
                    account_token.c.until_us > now_us,
                    account_token.c.ended_us.is_(None),
                    account.c.disabled.is_(False),
                )
            ).first()
        if row is not None and row.source == Source.OIDC and row.confirmed_us is not None and row.confirmed_us < confirmed_after_us:
            raise NotConfirmed
        return _account(row) if row is not None else None

    def tidy(self, *, now_us: int) -> int:
        """See `routing.people.People`."""
        over = (
            delete(account_session).where(
                (account_session.c.seen_us <= now_us - _IDLE_US) | (account_session.c.began_us <= now_us - _ABSOLUTE_US)
            ),
            delete(handle).where(handle.c.until_us <= now_us),
            delete(sign_in_try).where(sign_in_try.c.until_us <= now_us),
            delete(content_request).where(content_request.c.until_us <= now_us),
        )
        with self._db.write() as tx:
            return sum(tx.execute(statement).rowcount for statement in over)


def _find(connection: Connection, name: str) -> Any:
    return connection.execute(select(account).where(account.c.name == name)).first()


def account_named(connection: Connection, name: str) -> Account | None:
    """Within somebody else's transaction."""
    row = _find(connection, name)
    return None if row is None else _account(row)


def names_of_person(connection: Connection, name: str) -> list[str]:
    """All accounts of whose account this is, as far as is known, in order; of a name that is no account's: just that."""
    known = account_named(connection, name)
    if known is None or not known.email:
        return [name]
    others = connection.execute(select(account).where(account.c.email != ""))
    return sorted(row.name for row in others if _account(row).person == known.person)


def _require_local(tx: Connection, name: str) -> None:
    row = _find(tx, name)
    if row is None or row.source != Source.LOCAL:
        raise no_account(name) if row is None else not_ours(name)


def _is_managed(tx: Connection) -> bool:
    """Whether there is an account left that may manage the others."""
    return any(Permission.MANAGE_ACCOUNTS in _account(row).permissions for row in tx.execute(select(account)))


def _end_all(tx: Connection, name: str, keep: bytes | None = None) -> int:
    mine = delete(account_session).where(account_session.c.account == name)
    return tx.execute(mine if keep is None else mine.where(account_session.c.key != keep)).rowcount


def _columns(of: Account) -> dict[str, Any]:
    lists = {"roles": of.roles, "organisations": of.organisations, "systems": of.systems}
    return {
        "name": of.name,
        "source": str(of.source),
        "disabled": of.disabled,
        "label": of.label,
        "email": of.email,
        **{name: json.dumps(sorted(map(str, values))) for name, values in lists.items()},
    }


def _account(row: Any) -> Account:
    known = set(Role)
    return Account(
        name=row.name,
        roles=frozenset(Role(role) for role in json.loads(row.roles) if role in known),  # a newer version may know more
        organisations=frozenset(Oin(oin) for oin in json.loads(row.organisations)),
        systems=frozenset(Oin(oin) for oin in json.loads(row.systems)),
        source=Source(row.source),
        disabled=row.disabled,
        label=row.label,
        email=row.email,
    )


def _sign_in(row: Any) -> SignIn:
    return SignIn(
        account=_account(row),
        password=row.password,
        one_time=row.one_time,
        one_time_until_us=row.one_time_until_us,
        totp=None if row.totp is None else bytes(row.totp),
        totp_step=row.totp_step,
        confirmed_us=row.confirmed_us,
    )


def _described(of: Account) -> dict[str, str]:
    described = {
        "roles": ",".join(sorted(of.roles)),
        "organisations": ",".join(sorted(of.organisations)),
        "systems": ",".join(sorted(of.systems)),
    }
    return {name: value for name, value in described.items() if value} | ({"disabled": "yes"} if of.disabled else {})


def _moved(of: Account, email: str) -> dict[str, str]:
    """That it has another address than this: whose it is decides who is a second person. Not which: that is the person's."""
    return {} if of.email == email else {"email": "changed" if of.email else "none"}


def _journal(tx: Connection, kind: str, name: str, who: str, now_us: int, details: Mapping[str, str] | None = None) -> None:
    write_events(tx, [event_row(Event(kind=kind, at_us=now_us, actor=who, details={"account": name, **(details or {})}))])
