"""A small chain to route in: schools, a municipality, Centraal Aanmelden, their systems and mandates. All invented."""

from __future__ import annotations

from copy import deepcopy
from datetime import UTC, date, datetime, timedelta
from typing import Any

from routing.amsterdam import start_of_day
from routing.register import Register, read_register
from schemas.contract import Condition, MessageKind, RecipientRule
from schemas.oin import Oin, school_oin

VO = school_oin("25BE")
VO_NORTH = Oin(VO[:15] + "00530")
MBO = school_oin("04XY")
UTRECHT = Oin("00000001001234560000")
AMERSFOORT = Oin("00000001001234570000")
CENTRAAL = Oin("00000004003214345000")
LAS = Oin("00000003272448340204")
OTHER_LAS = Oin("00000003272448350000")
SIS = Oin("00000003272448360000")
CIVIC = Oin("00000003272448370000")

NOW = datetime(2026, 3, 2, 11, 0, tzinfo=UTC)


def noon(day: str) -> datetime:
    """The middle of an Amsterdam day, as an instant."""
    return start_of_day(date.fromisoformat(day)) + timedelta(hours=12)


DOCUMENT: dict[str, list[dict[str, Any]]] = {
    "organisations": [
        {"oin": VO, "name": "Emmaus College", "kind": "school", "roles": ["vo"], "brin": "25BE"},
        {"oin": MBO, "name": "ROC de Vecht", "kind": "school", "roles": ["mbo"]},
        {"oin": UTRECHT, "name": "Gemeente Utrecht", "kind": "municipality", "roles": ["gemeente"], "gemeentecodes": [{"code": "0344"}]},
        {
            "oin": AMERSFOORT,
            "name": "Gemeente Amersfoort",
            "kind": "municipality",
            "roles": ["gemeente"],
            "gemeentecodes": [{"code": "0307"}],
        },
        {"oin": CENTRAAL, "name": "Centraal Aanmelden", "kind": "central", "roles": ["centraal-aanmelden"]},
    ],
    "systems": [
        {"oin": LAS, "name": "Leerlingwijzer", "supplier": "Wijzer BV"},
        {"oin": OTHER_LAS, "name": "Klassenboek", "supplier": "Boek BV"},
        {"oin": SIS, "name": "Studiekern", "supplier": "Kern BV"},
        {"oin": CIVIC, "name": "Burgerbalie", "supplier": "Balie BV"},
        {"oin": CENTRAAL, "name": "Portaal", "supplier": "Centraal Aanmelden"},
    ],
    "diensten": [
        {"dienst": "vva", "versie": "1", "namespace": "urn:x-backbone:vva:1"},
        {"dienst": "proef", "versie": "1", "namespace": "urn:x-backbone:proef:1"},
    ],
    "mandates": [
        {"organisation": VO, "dienst": "vva", "system": LAS},
        {"organisation": MBO, "dienst": "vva", "system": SIS},
        {"organisation": UTRECHT, "dienst": "vva", "system": CIVIC},
    ],
    "endpoints": [
        {"organisation": VO, "dienst": "vva", "versie": "1", "system": LAS, "mailbox": True},
        {"organisation": UTRECHT, "dienst": "vva", "versie": "1", "system": CIVIC, "mailbox": True},
        {"organisation": CENTRAAL, "dienst": "vva", "versie": "1", "system": CENTRAAL, "url": "https://portaal.example/vva"},
    ],
}


def document(**changes: list[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    """A copy of the chain's document, with whole lists replaced."""
    return deepcopy(DOCUMENT) | deepcopy(changes)


def chain(**changes: list[dict[str, Any]]) -> Register:
    """The chain as a register, version 7, with whole lists replaced."""
    return read_register(document(**changes), version=7)


def but(rows: list[dict[str, Any]], place: int, **fields: Any) -> list[dict[str, Any]]:
    """The rows with fields of one of them changed; `from_` stands for `from`, and None takes a field away."""
    changed = deepcopy(rows)
    for name, value in fields.items():
        changed[place][name.rstrip("_")] = value
    changed[place] = {name: value for name, value in changed[place].items() if value is not None}
    return changed


def message_kind(name: str = "aanmeldStatusBericht", **changes: Any) -> MessageKind:
    """A kind of message of vva/1, routed as the dienst routes it."""
    kind: dict[str, Any] = {
        "dienst": "vva",
        "versie": "1",
        "namespace": "urn:x-backbone:vva:1",
        "name": name,
        "action": f"urn:x-backbone:vva:1/{name}",
        "senders": ("mbo",),
        "to": "hub",
        "recipients": FAN_OUT,
        "business_id": None,
        "subject": (),
        "order_key": (),
        "deliver_within": timedelta(days=14),
        "fetch_within": timedelta(days=14),
        "retention": timedelta(days=30),
    }
    return MessageKind(**kind | changes)


FAN_OUT = (
    RecipientRule(target="centraal-aanmelden", rule="role", role="centraal-aanmelden"),
    RecipientRule(
        target="latende-school",
        rule="brin",
        fact="latendeBrin",
        role="vo",
        when=(
            Condition(fact="latendeBrin", present=True, reason_nl="Er is geen latende school.", reason_en="There is no latende school."),
        ),
    ),
    RecipientRule(
        target="woongemeente",
        rule="gemeente",
        fact="gemeentecode",
        when=(
            Condition(fact="gemeentecode", present=True, reason_nl="Geen Nederlandse gemeente.", reason_en="No Dutch municipality."),
            Condition(fact="leeftijd", below=23, reason_nl="Niet jonger dan 23.", reason_en="Not under 23."),
            Condition(
                fact="startkwalificatie", equals="false", reason_nl="Heeft een startkwalificatie.", reason_en="Has a startkwalificatie."
            ),
        ),
    ),
)

GANGER = message_kind(
    "mboGangerBericht",
    senders=("vo",),
    recipients=(RecipientRule(target="woongemeente", rule="gemeente", fact="gemeentecode"),),
)
STATUS = message_kind()
ADDRESSED = message_kind(
    "proefBericht", dienst="vva", senders=(), to="receiver", recipients=(RecipientRule(target="ontvanger", rule="addressed"),)
)

#: A student of 17 from Utrecht who comes from Emmaus College.
FACTS = {"latendeBrin": "25BE", "gemeentecode": "0344", "leeftijd": "17", "startkwalificatie": "false"}

#: What anybody may send, of another dienst.
CENTRAL_KIND = message_kind("proefAntwoord", dienst="proef", namespace="urn:x-backbone:proef:1", senders=())
