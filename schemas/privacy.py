"""Personal numbers never leave the message: every text that is logged, journalled or shown goes through here."""

from __future__ import annotations

import re

#: Where a number may begin: not inside a longer one; but behind an escaped character, whose own digits are none of it.
_BEGIN = r"(?:(?<!\d)|(?<=\\u[0-9a-f]{4})|(?<=\\x[0-9a-f]{2}))"
#: Nine digits that are not part of a longer run: the shape of a BSN or onderwijsnummer (an OIN has twenty, a UUID's last part twelve).
#: Also as people write them: 123 456 782 and 1234.56.782, unless they go on as an IP address or a date does.
PERSONAL_NUMBER = re.compile(
    rf"{_BEGIN}\d{{9}}(?!\d)"
    rf"|{_BEGIN}(?<!\d[\s.-])(?:\d{{3}}(?P<a>[\s.-])\d{{3}}(?P=a)\d{{3}}|\d{{4}}(?P<b>[\s.-])\d{{2}}(?P=b)\d{{3}})(?!\d|[\s.-]\d)"
)
_UUID = r"(?<![0-9A-Za-z])[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}(?![0-9A-Za-z])"
_UUID_OR_NUMBER = re.compile(rf"(?P<uuid>{_UUID})|(?:{PERSONAL_NUMBER.pattern})")

MASK = "[*********]"


def redact(text: str) -> str:
    """The text with every personal number masked (domain facts 9.2, point 10). A UUID stays whole: it is what things are found by."""
    return _UUID_OR_NUMBER.sub(lambda found: found["uuid"] or MASK, text)


def plain(text: str) -> str:
    """The text with every character that is none to look at written out: what others chose must not play with a terminal (escape
    sequences, text from right to left), forge a line, or be impossible to store (null, half a character)."""
    return text if text.isprintable() else "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
