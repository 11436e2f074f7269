"""Bodies at rest: encrypted with a key of their own, wrapped by a master key that is not in the store (rule 6).

Erasing the wrapped key erases the body. Keyed hashes (order keys, pupils) use a key derived from the same master key, so a stolen
store says neither what was sent nor about whom.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import os
import secrets
from pathlib import Path
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

#: A message's key encrypts each of its parts once, so a fixed nonce per part is never repeated under one key.
_PARTS: Final = {"body": (1).to_bytes(12, "big"), "facts": (2).to_bytes(12, "big")}
_KEY_BYTES: Final = 32


class VaultError(Exception):
    """The master key is missing, malformed, or not the one this was sealed with."""


class Sealed:
    """What is stored of one message: its wrapped key and its encrypted parts."""

    __slots__ = ("body", "facts", "wrapped_key")

    def __init__(self, wrapped_key: bytes, body: bytes, facts: bytes) -> None:
        self.wrapped_key, self.body, self.facts = wrapped_key, body, facts


class Vault:
    """Seals and opens with one master key."""

    def __init__(self, master_key: bytes) -> None:
        if len(master_key) != _KEY_BYTES:
            raise VaultError(f"the master key has {len(master_key)} bytes instead of {_KEY_BYTES}")
        self._wrap = AESGCM(hashlib.blake2b(b"wrap", key=master_key, digest_size=32).digest())
        self._index_key = index_key(master_key)

    def __repr__(self) -> str:
        return "Vault(***)"

    def seal(self, reference: str, body: bytes, facts: bytes) -> Sealed:
        """Encrypts a message's parts under a fresh key; `reference` is bound to all of them, so parts cannot be exchanged."""
        key, name = secrets.token_bytes(_KEY_BYTES), reference.encode()
        nonce = os.urandom(12)
        cipher = AESGCM(key)
        return Sealed(
            nonce + self._wrap.encrypt(nonce, key, name),
            cipher.encrypt(_PARTS["body"], body, name),
            cipher.encrypt(_PARTS["facts"], facts, name),
        )

    def open(self, reference: str, wrapped_key: bytes, part: str, sealed: bytes) -> bytes:
        """One part (`body` or `facts`) in the clear. Raises VaultError when key, reference or bytes do not belong together."""
        name = reference.encode()
        try:
            key = self._wrap.decrypt(wrapped_key[:12], wrapped_key[12:], name)
            return AESGCM(key).decrypt(_PARTS[part], sealed, name)
        except (InvalidTag, ValueError) as error:  # ValueError: what there is, is too short to be a key
            raise VaultError(f"{part} of {reference} cannot be decrypted with this master key") from error

    def index(self, text: str) -> bytes:
        """A keyed hash (16 bytes) by which equal texts are found again without being kept."""
        return keyed_hash(self._index_key, text)


def index_key(master_key: bytes) -> bytes:
    """The key of all keyed hashes. It follows from the master key, and not the reverse."""
    return hashlib.blake2b(b"index", key=master_key, digest_size=32).digest()


def keyed_hash(key: bytes, text: str) -> bytes:
    """What is kept instead of a text that must be found again (16 bytes)."""
    return hashlib.blake2b(text.encode(), key=key, digest_size=16).digest()


def open_vault(master_key: Path) -> Vault:
    """With the master key in this file. Raises VaultError with a sentence that says what to do."""
    return Vault(read_master_key(master_key))


def read_master_key(path: Path) -> bytes:
    """The master key in a file (base64). Raises VaultError with a sentence that says what to do."""
    try:
        key = base64.b64decode(path.read_text(encoding="ascii").strip(), validate=True)
    except FileNotFoundError as error:
        raise VaultError(
            f"there is no master key at {path}: without it stored messages cannot be read; "
            "restore it from its backup, or set KOPPELPUNT_MASTER_KEY to where it is"
        ) from error
    except (OSError, UnicodeDecodeError, binascii.Error) as error:
        raise VaultError(f"the master key at {path} cannot be read as base64: restore it from its backup") from error
    if len(key) != _KEY_BYTES:
        raise VaultError(f"the master key at {path} has {len(key)} bytes instead of {_KEY_BYTES}: restore it from its backup")
    return key


def create_master_key(path: Path) -> None:
    """Makes a new master key, readable by its owner only. An existing one is left alone."""
    if path.exists():
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(base64.b64encode(secrets.token_bytes(_KEY_BYTES)) + b"\n")
