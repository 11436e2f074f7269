"""The keys that the portal has instead of the master key: one to find pupils and chains by, and one to seal second factors with.

Both follow from the master key, and the master key not from them: whoever takes the portal's file opens no message with it. It does let
him try out which pupil a keyed hash in the store is of, so it is a secret all the same.
"""

from __future__ import annotations

import base64
import binascii
import json
import os
import secrets
import sys
from argparse import Namespace
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from adapters.vault import VaultError, index_key, keyed_hash, read_master_key
from broker_config.settings import Settings

_KEY_BYTES: Final = 32
_NONCE: Final = 12
#: Before each thing that is sealed with the key for signing in; what was sealed with the master key begins otherwise.
_MARK: Final = b"kp-sign-in-1"
_NAMES: Final = ("index", "sign_in")


class PortalKeys:
    """One key for each purpose."""

    def __init__(self, *, index: bytes, sign_in: bytes) -> None:
        if len(index) != _KEY_BYTES or len(sign_in) != _KEY_BYTES:
            raise VaultError(f"the portal's keys do not have {_KEY_BYTES} bytes each")
        self._index, self._sign_in, self._cipher = index, sign_in, AESGCM(sign_in)

    def __repr__(self) -> str:
        return "PortalKeys(***)"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, PortalKeys) and (self._index, self._sign_in) == (other._index, other._sign_in)

    __hash__ = None  # type: ignore[assignment]

    @classmethod
    def of(cls, master_key: bytes) -> PortalKeys:
        """Those that follow from a master key: for hashes as they are in the store already, for signing in by HKDF (RFC 5869)."""
        sign_in = HKDF(algorithm=SHA256(), length=_KEY_BYTES, salt=None, info=b"koppelpunt portal sign-in").derive(master_key)
        return cls(index=index_key(master_key), sign_in=sign_in)

    @classmethod
    def read(cls, path: Path) -> PortalKeys:
        """Those in a file. Raises VaultError with a sentence that says what to do."""
        remedy = "make it with `run.py account keys` where the master key is, or set KOPPELPUNT_PORTAL_SECRETS to where it is"
        try:
            said = json.loads(path.read_text(encoding="ascii"))
            return cls(**{name: base64.b64decode(said[name], validate=True) for name in _NAMES})
        except FileNotFoundError as error:
            raise VaultError(f"there are no keys for the portal at {path}: {remedy}") from error
        except (VaultError, OSError, ValueError, KeyError, TypeError, binascii.Error) as error:
            raise VaultError(f"the portal's keys at {path} cannot be read: {remedy}") from error

    def write(self, path: Path) -> bool:
        """Into a file that only its owner may read, whole or not at all. False when just these are there already."""
        try:
            if PortalKeys.read(path) == self:
                return False
        except VaultError:
            pass  # none there, or none that can be read
        path.parent.mkdir(parents=True, exist_ok=True)
        said = {"index": self._index, "sign_in": self._sign_in}
        text = json.dumps({name: base64.b64encode(key).decode() for name, key in said.items()}, indent=1) + "\n"
        beside = path.with_name(f"{path.name}.{secrets.token_hex(4)}")
        with os.fdopen(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(text)
        beside.replace(path)
        return True

    def index(self, text: str) -> bytes:
        """A keyed hash (16 bytes), the same that a vault with the master key makes of it."""
        return keyed_hash(self._index, text)

    def seal(self, place: str, secret: bytes) -> bytes:
        """Something that signing in needs, bound to where it belongs."""
        nonce = os.urandom(_NONCE)
        return _MARK + nonce + self._cipher.encrypt(nonce, secret, place.encode())

    def open(self, place: str, sealed: bytes) -> bytes:
        """The reverse. Raises VaultError when key, place and bytes do not belong together."""
        nonce, cipher = sealed[len(_MARK) :][:_NONCE], sealed[len(_MARK) + _NONCE :]
        try:
            return self._cipher.decrypt(nonce, cipher, place.encode())
        except (InvalidTag, ValueError) as error:
            raise VaultError(f"{place} cannot be decrypted with this key for signing in") from error

    @staticmethod
    def sealed_before(sealed: bytes) -> bool:
        """Whether something is still sealed with the master key, as versions up to 0.5 did."""
        return not sealed.startswith(_MARK)


def portal_keys(settings: Settings) -> PortalKeys:
    """Those of the settings: from the master key where that is, which is the truth; else from the portal's file. Raises VaultError."""
    return PortalKeys.of(read_master_key(settings.master_key)) if settings.master_key.exists() else PortalKeys.read(settings.portal_secrets)


def make(arguments: Namespace, settings: Settings, *, print_json: Callable[[Any], None]) -> int:
    """The command `account keys`: the portal's keys, out of the master key. Raises VaultError."""
    file = settings.portal_secrets
    made = PortalKeys.of(read_master_key(settings.master_key)).write(file)
    if arguments.json:
        print_json({"file": str(file), "changed": made})
    else:
        sys.stdout.write(f"The portal's keys {'are now' if made else 'were already'} in {file}, for the portal's machine and user only.\n")
    return 0
