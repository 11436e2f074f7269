"""Ids that we give: time-ordered UUIDs (version 7, RFC 9562).

Rows that are written together then stand together in every index; with random ids each row of a batch would touch, and have to log,
a page of its own in each of them.
"""

from __future__ import annotations

import os
import re
import time
from typing import Final


def new_id() -> str:
    """A new UUID of version 7, in small letters: milliseconds since 1970, then 74 random bits."""
    value = (time.time_ns() // 1_000_000) << 80 | int.from_bytes(os.urandom(10), "big")
    value = value & ~(0xF << 76) | 7 << 76  # version
    digits = f"{value & ~(0x3 << 62) | 0x2 << 62:032x}"  # variant
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"


_UUID_NAME: Final = re.compile(r"(?:urn:uuid:|uuid:)?[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}\Z")


def uuid_name(text: str | None) -> str | None:
    """The text where it is a UUID, as it is or as a URN; else None."""
    return text if text and _UUID_NAME.match(text) else None
