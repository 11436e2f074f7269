"""Personal numbers never leave the message: every text that is logged, journalled or shown goes through here."""

from __future__ import annotations

import re

#: Nine digits that are not part of a longer run: the shape of a BSN or onderwijsnummer (an OIN has twenty).
PERSONAL_NUMBER = re.compile(r"(?<![0-9])[0-9]{9}(?![0-9])")
#: One in seventy UUIDs has nine digits between letters in its last part; by a masked id nobody finds anything again.
_NUMBER_OR_UUID = re.compile(rf"([0-9A-Fa-f]{{8}}(?:-[0-9A-Fa-f]{{4}}){{3}}-[0-9A-Fa-f]{{12}})|{PERSONAL_NUMBER.pattern}")

MASK = "[*********]"


def redact(text: str) -> str:
    """The text with every personal number masked (domain facts 9.2, point 10)."""
    return _NUMBER_OR_UUID.sub(lambda found: found[1] or MASK, text)
