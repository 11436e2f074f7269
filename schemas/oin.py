"""OINs and routeringskenmerken: who is meant, as twenty characters compared as text (OIN-Stelsel; Edukoppeling facts 5.1 and 5.2)."""

from __future__ import annotations

import re
from typing import Final, NewType

#: An OIN, HRN or routeringskenmerk whose shape was checked. Leading zeros count; it is never a number.
Oin = NewType("Oin", str)

OIN_SHAPE: Final = re.compile(r"[0-9]{8}[0-9A-Z]{12}\Z")
BRIN_FAMILY: Final = re.compile(r"00000007000([0-9]{2}[A-Z]{2})([0-9A-Z]{5})\Z")
BRIN_SHAPE: Final = re.compile(r"[0-9]{2}[A-Z]{2}\Z")


def is_oin(text: str) -> bool:
    """Whether the text has the shape of an OIN or routeringskenmerk (twenty positions, digits and capitals)."""
    return OIN_SHAPE.match(text) is not None


def parse_oin(text: str) -> Oin:
    """The text as an Oin. Raises ValueError with a sentence that says what is wrong with it."""
    if not is_oin(text):
        raise ValueError(f"{text[:40]!r} is not an OIN: it has 20 positions, eight digits and then twelve digits or capitals")
    return Oin(text)


def brin_of(oin: str) -> str | None:
    """The BRIN inside a school's OIN or routeringskenmerk; None for another family of OINs."""
    found = BRIN_FAMILY.match(oin)
    return found.group(1) if found else None


def institution_of(oin: str) -> Oin:
    """The institution behind a routeringskenmerk: positions 16-20 replaced by zeros. Other OINs are returned as they are."""
    found = BRIN_FAMILY.match(oin)
    return Oin(oin[:15] + "00000") if found else Oin(oin)


def school_oin(brin: str) -> Oin:
    """The OIN of the school with this BRIN. Raises ValueError for anything that is not a BRIN."""
    if not BRIN_SHAPE.match(brin):
        raise ValueError(f"{brin[:20]!r} is not a BRIN: two digits and two capitals")
    return Oin(f"00000007000{brin}00000")
