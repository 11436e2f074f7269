"""Passwords by argon2id, and second factors by TOTP (RFC 6238) whose secrets are sealed with a key for that alone."""

from __future__ import annotations

import hmac
import logging
from typing import Final

import pyotp
from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from adapters.portal_keys import PortalKeys
from adapters.vault import Vault, VaultError
from routing.people import People, SecondFactorUnreadable

log = logging.getLogger("koppelpunt.people")

#: Seconds of a TOTP time step, as every authenticator app has it.
STEP_S: Final = 30
#: How the authenticator app calls it.
ISSUER: Final = "Koppelpunt"
#: Bytes of a wrapped key (nonce, key and tag), with which a secret began that was sealed with the master key.
_WRAPPED: Final = 12 + 32 + 16
#: argon2-cffi's own choice is RFC 9106's second: 64 MiB, three passes.
_HASHER: Final = PasswordHasher()
#: What an account that is not there is checked against, so that it takes as long as one that is.
_NOBODY: Final = _HASHER.hash("nobody has this password")


class Passwords:
    """`routing.people.Passwords`."""

    def __init__(self, keys: PortalKeys) -> None:
        self._keys = keys

    def hash(self, password: str) -> str:
        """See `routing.people.Passwords`."""
        return _HASHER.hash(password)

    def check(self, kept: str | None, password: str) -> bool:
        """See `routing.people.Passwords`."""
        try:
            return _HASHER.verify(kept or _NOBODY, password) and kept is not None
        except (VerificationError, InvalidHashError):
            return False

    def new_totp(self, name: str) -> tuple[bytes, str]:
        """See `routing.people.Passwords`."""
        secret = pyotp.random_base32()
        return self._keys.seal(_place(name), secret.encode()), pyotp.TOTP(secret).provisioning_uri(name=name, issuer_name=ISSUER)

    def totp_step(self, name: str, sealed: bytes, code: str, *, now_us: int) -> int | None:
        """See `routing.people.Passwords`."""
        if PortalKeys.sealed_before(sealed):
            raise SecondFactorUnreadable(
                "it is still sealed with the master key: the timetable worker seals it anew, a minute after its start"
            )
        try:
            secret = self._keys.open(_place(name), sealed).decode()
        except VaultError as error:
            raise SecondFactorUnreadable(f"{error}: are the portal's keys those of this master key (`run.py account keys`)?") from error
        # not `at`, which goes by local time and is wrong for an hour when summer time ends
        codes, now = pyotp.TOTP(secret, interval=STEP_S), int(now_us // 1_000_000) // STEP_S
        given = code.replace(" ", "").encode()
        matching = [step for step in (now, now - 1, now + 1) if hmac.compare_digest(codes.generate_otp(step).encode(), given)]
        return matching[0] if matching else None


def show_qr(text: str) -> None:
    """Shows it on a terminal as a QR code, for an authenticator app."""
    import segno

    segno.make(text).terminal(compact=True)


def reseal(people: People, vault: Vault, keys: PortalKeys) -> int:
    """Seals second factors of before with the key for signing in; returns how many there were. One that the master key does not open stays
    as it is. Raises StoreUnavailable."""
    found = 0
    for one in people.accounts():
        if one.totp is None or not PortalKeys.sealed_before(one.totp):
            continue
        place = _place(one.account.name)
        try:
            secret = vault.open(place, one.totp[:_WRAPPED], "body", one.totp[_WRAPPED:])
        except VaultError as error:
            log.error("second_factor_unreadable", extra={"account": one.account.name, "error": str(error)})
            continue
        people.reseal_totp(one.account.name, one.totp, keys.seal(place, secret))
        found += 1
    return found


def _place(name: str) -> str:
    return f"account:{name}:totp"
