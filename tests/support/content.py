"""Content to judge: the built-in diensten, messages that are good, and ways to spoil them. All invented."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

from adapters import soap
from adapters.parties import invented
from schemas.content import Content, read_content
from schemas.contracts import Contracts, load_contracts
from schemas.faults import Refused
from schemas.oin import Oin, school_oin

NOW = datetime(2026, 11, 24, 9, 30, tzinfo=UTC)
HUB = Oin("00000004003214345000")
VO, MBO = school_oin("01AA"), school_oin("25XX")
BUSINESS_ID = "6f1c1a52-0d0e-4c1b-9a57-2b8f3c9d4e10"
GANGER, STATUS = "urn:x-backbone:vva:1/mboGangerBericht", "urn:x-backbone:vva:1/aanmeldStatusBericht"
BENCHMARKS = Path(__file__).parents[2] / "benchmarks" / "diensten"
SHARED = Path(__file__).parents[2] / "../shared/data"


@cache
def contracts() -> Contracts:
    return load_contracts(BENCHMARKS)


def ganger(**changes: Any) -> bytes:
    fields: dict[str, Any] = {
        "business_id": BUSINESS_ID,
        "sender": "01AA",
        "receiver": HUB,
        "created": NOW,
        "brin": "01AA",
        "schooljaar": "2026-2027",
        "geboortedatum": "2010-03-04",
        "peildatum": "2026-11-20",
        "burgerservicenummer": invented.bsn(3),
        "gemeentecode": "0344",
    }
    return invented.mbo_ganger_bericht(**fields | changes)


def status(**changes: Any) -> bytes:
    fields: dict[str, Any] = {
        "business_id": BUSINESS_ID,
        "sender": "25XX",
        "receiver": HUB,
        "created": NOW,
        "keten_id": "25XX:00000001",
        "volgnummer": 1,
        "brin": "25XX",
        "status": "AO",
        "statusdatum": "2026-11-23",
        "geboortedatum": "2009-03-04",
        "studiejaar": "2027-2028",
        "burgerservicenummer": invented.bsn(4),
    }
    return invented.aanmeld_status_bericht(**fields | changes)


def read(raw: bytes, action: str = GANGER, *, now: datetime = NOW, sender: Oin | None = None, receiver: Oin = HUB) -> Content:
    """Reads as the desk does: content that stands inside an envelope's Body."""
    body = soap.parse(b"<s:Body xmlns:s='http://schemas.xmlsoap.org/soap/envelope/'>" + raw + b"</s:Body>")
    who = sender or (VO if action == GANGER else MBO)
    return read_content(body[0], action=action, sender=who, receiver=receiver, contracts=contracts(), now=now)


def refusal(raw: bytes, action: str = GANGER, **how: Any) -> Refused:
    """The refusal that reading it must end in."""
    try:
        content = read(raw, action, **how)
    except Refused as refused:
        return refused
    raise AssertionError(f"was accepted: {content!r}")
