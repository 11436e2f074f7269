"""API keys of the register: 256 random bits that only the system has; the store has their SHA-256 (domain facts 1.3)."""

from __future__ import annotations

import hashlib
import re
import secrets
from typing import Final

#: What a key looks like, so that one that was pasted where it should not be can be searched for.
PREFIX: Final = "kpr_"
SHAPE: Final = re.compile(r"kpr_[A-Za-z0-9_-]{43}\Z")


def new_api_key() -> str:
    """A key that nobody has."""
    return PREFIX + secrets.token_urlsafe(32)


def digest_of(key: str) -> bytes:
    """What the store keeps of it. A key that cannot be guessed needs no salt and no slow hash."""
    return hashlib.sha256(key.encode()).digest()


def short(digest: bytes) -> str:
    """What people call a key by: too little to do anything with."""
    return digest.hex()[:8]
