"""Personal numbers never leave the message: every text that is logged, journalled or shown goes through here."""

from __future__ import annotations

import re

#: Nine digits that are not part of a longer run: the shape of a BSN or onderwijsnummer (an OIN has twenty, a UUID's last part twelve).
PERSONAL_NUMBER = re.compile(r"(?<![0-9])[0-9]{9}(?![0-9])")

MASK = "[*********]"


def redact(text: str) -> str:
    """The text with every personal number masked (domain facts 9.2, point 10)."""
    return PERSONAL_NUMBER.sub(MASK, text)


def plain(text: str) -> str:
    """The text with every character that is none to look at written out: what others chose must not play with a terminal (escape
    sequences, text from right to left), forge a line, or be impossible to store (null, half a character)."""
    return text if text.isprintable() else "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
