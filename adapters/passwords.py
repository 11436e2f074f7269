"""Passwords by argon2id, and second factors by TOTP (RFC 6238) whose secrets are sealed with the master key."""

from __future__ import annotations

import hmac
from typing import Final

import pyotp
from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from adapters.vault import Vault

#: Seconds of a TOTP time step, as every authenticator app has it.
STEP_S: Final = 30
#: How the authenticator app calls it.
ISSUER: Final = "Koppelpunt"
#: Bytes of a wrapped key: nonce, key and tag.
_WRAPPED: Final = 12 + 32 + 16
#: argon2-cffi's own choice is RFC 9106's second: 64 MiB, three passes.
_HASHER: Final = PasswordHasher()
#: What an account that is not there is checked against, so that it takes as long as one that is.
_NOBODY: Final = _HASHER.hash("nobody has this password")


class Passwords:
    """`routing.people.Passwords` with the master key."""

    def __init__(self, vault: Vault) -> None:
        self._vault = vault

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
        sealed = self._vault.seal(_place(name), secret.encode(), b"")
        return sealed.wrapped_key + sealed.body, pyotp.TOTP(secret).provisioning_uri(name=name, issuer_name=ISSUER)

    def totp_step(self, name: str, sealed: bytes, code: str, *, now_us: int) -> int | None:
        """See `routing.people.Passwords`. Raises VaultError when the master key is another than the secret was sealed with."""
        secret = self._vault.open(_place(name), sealed[:_WRAPPED], "body", sealed[_WRAPPED:]).decode()
        # not `at`, which goes by local time and is wrong for an hour when summer time ends
        codes, now = pyotp.TOTP(secret, interval=STEP_S), int(now_us // 1_000_000) // STEP_S
        given = code.replace(" ", "").encode()
        matching = [step for step in (now, now - 1, now + 1) if hmac.compare_digest(codes.generate_otp(step).encode(), given)]
        return matching[0] if matching else None


def show_qr(text: str) -> None:
    """Shows it on a terminal as a QR code, for an authenticator app."""
    import segno

    segno.make(text).terminal(compact=True)


def _place(name: str) -> str:
    return f"account:{name}:totp"
