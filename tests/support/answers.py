"""A dienst whose messages must be answered, and messages of it. Invented."""

from __future__ import annotations

from pathlib import Path
from typing import Final

DIENSTEN: Final = Path(__file__).parent / "diensten"
MELDING, TERUGKOPPELING = "urn:test:verzuim:1/melding", "urn:test:verzuim:1/terugkoppeling"


def melding(business_id: str) -> bytes:
    """What is to be answered."""
    return _content("melding", business_id)


def terugkoppeling(business_id: str, answered: str | None = None) -> bytes:
    """Its answer; `answered`: the business id of the melding."""
    named = f"<beantwoordBedrijfsdocument>{answered}</beantwoordBedrijfsdocument>" if answered is not None else ""
    return _content("terugkoppeling", business_id, named)


def _content(name: str, business_id: str, more: str = "") -> bytes:
    id = f"<identificatiecodeBedrijfsdocument>{business_id}</identificatiecodeBedrijfsdocument>"
    return f'<{name} xmlns="urn:test:verzuim:1">{id}{more}</{name}>'.encode()
