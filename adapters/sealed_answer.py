"""Something sealed to whoever made a public key: X25519, HKDF with SHA-256 and AES-256-GCM (the parts of RFC 9180, for one
message).

Both halves of a pair are used for one answer. When they are forgotten nobody opens it any more, whatever a disk or backup still holds.
"""

from __future__ import annotations

from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from adapters.vault import VaultError

_PUBLIC: Final = 32
#: A key seals one thing, so its nonce may be fixed.
_NONCE: Final = bytes(12)
_PURPOSE: Final = b"koppelpunt content\0"


def seal_to(public_key: bytes, data: bytes, context: bytes) -> bytes:
    """For the owner of this key, bound to `context`. Raises VaultError for what is no key."""
    own = X25519PrivateKey.generate()
    try:
        shared = own.exchange(X25519PublicKey.from_public_bytes(public_key))
    except ValueError as error:
        raise VaultError("the public key of who asks is none") from error
    public = own.public_key().public_bytes_raw()
    return public + _cipher(shared, public, public_key).encrypt(_NONCE, data, context)


def open_sealed(private_key: bytes, sealed: bytes, context: bytes) -> bytes:
    """The reverse. Raises VaultError when key, context and bytes do not belong together."""
    public, cipher = sealed[:_PUBLIC], sealed[_PUBLIC:]
    try:
        own = X25519PrivateKey.from_private_bytes(private_key)
        shared = own.exchange(X25519PublicKey.from_public_bytes(public))
        return _cipher(shared, public, own.public_key().public_bytes_raw()).decrypt(_NONCE, cipher, context)
    except (InvalidTag, ValueError) as error:
        raise VaultError("an answer cannot be opened with the key that it was asked with") from error


def _cipher(shared: bytes, sender: bytes, receiver: bytes) -> AESGCM:
    return AESGCM(HKDF(algorithm=SHA256(), length=32, salt=None, info=_PURPOSE + sender + receiver).derive(shared))
