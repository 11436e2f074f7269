"""A small invented chain: schools, mbo institutions, real municipality codes, their systems, mandates and endpoints."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import Any, Final

from schemas.oin import Oin, school_oin

LASSEN: Final = (Oin("00000003900000010000"), Oin("00000003900000020000"), Oin("00000003900000030000"))
SISSEN: Final = (Oin("00000003900000110000"), Oin("00000003900000120000"))
CIVIC: Final = (Oin("00000003900000210000"), Oin("00000003900000220000"), Oin("00000003900000230000"))
CENTRAAL: Final = Oin("00000004900000010000")
STRANGER: Final = Oin("00000003900000990000")  #: a system that is connected, but that no school mandated

NAMES: Final = {
    LASSEN[0]: "Leerlingwijzer",
    LASSEN[1]: "Klassenboek",
    LASSEN[2]: "SchoolKompas",
    SISSEN[0]: "Studiekern",
    SISSEN[1]: "Campusplein",
    CIVIC[0]: "Leerplichtbalie",
    CIVIC[1]: "Jongerenloket",
    CIVIC[2]: "Regioplein",
    CENTRAAL: "Centraal Aanmelden",
    STRANGER: "Proefsysteem",
}

#: A real code that ended on 1 January 2023.
ENDED_CODE: Final = "0501"
#: In the list, but the municipality has not connected.
UNCONNECTED_CODE: Final = "1960"
#: Connected, but it forgot to extend its system's mandate.
UNMANDATED_CODE: Final = "1952"


@dataclass(frozen=True, slots=True)
class School:
    """A vo school or mbo institution, and the system that acts for it."""

    brin: str
    name: str
    system: Oin
    gemeentecode: str

    @property
    def oin(self) -> Oin:
        """As the register knows it."""
        return school_oin(self.brin)


@dataclass(frozen=True, slots=True)
class World:
    """Who there is."""

    vo: tuple[School, ...]
    mbo: tuple[School, ...]
    gemeenten: tuple[tuple[str, str], ...]  #: code and name of those connected
    unreachable: School  #: a vo school whose supplier has recorded no endpoint yet
    document: dict[str, Any]  #: the service register

    def civic_system(self, code: str) -> Oin:
        """The system that works for a municipality."""
        return _civic(code)


def gemeente_oin(code: str) -> Oin:
    """An invented OIN for a municipality: of the family of RSINs, from its code."""
    return Oin(f"00000001{800100000 + int(code):09d}000")


def _civic(code: str) -> Oin:
    return CIVIC[int(code) % len(CIVIC)]


def _gemeenten() -> list[tuple[str, str]]:
    with (files("schemas") / "gemeenten.csv").open(encoding="utf-8") as file:
        return [(row["gemeentecode"], row["naam"]) for row in csv.DictReader(file)]


def build_world(own_oin: str, vo: int = 12, mbo: int = 4) -> World:
    """The same chain every time. `own_oin`: the hub's."""
    codes = _gemeenten()
    connected = [row for row in codes if row[0] not in (UNCONNECTED_CODE, UNMANDATED_CODE)]
    vo_schools = tuple(
        School(
            f"{10 + n:02d}V{chr(65 + n % 26)}",
            f"{connected[n * 5 % len(connected)][1]} College",
            LASSEN[n % len(LASSEN)],
            connected[n * 5 % len(connected)][0],
        )
        for n in range(vo)
    )
    mbo_schools = tuple(
        School(f"{30 + n:02d}M{chr(65 + n)}", f"ROC {connected[n * 17][1]}", SISSEN[n % len(SISSEN)], connected[n * 17][0])
        for n in range(mbo)
    )
    unreachable = School("29VZ", "De Nieuwe School", LASSEN[2], connected[3][0])
    return World(vo_schools, mbo_schools, tuple(connected), unreachable, _document(own_oin, codes, vo_schools, mbo_schools, unreachable))


def _document(
    own_oin: str, codes: Sequence[tuple[str, str]], vo: Sequence[School], mbo: Sequence[School], unreachable: School
) -> dict[str, Any]:
    schools = [(s, "vo") for s in (*vo, unreachable)] + [(s, "mbo") for s in mbo]
    organisations: list[dict[str, Any]] = [{"oin": s.oin, "name": s.name, "kind": "school", "roles": [role]} for s, role in schools]
    organisations += [
        {
            "oin": gemeente_oin(code),
            "name": f"Gemeente {name}",
            "kind": "municipality",
            "roles": ["gemeente"],
            "gemeentecodes": [{"code": code}],
        }
        for code, name in codes
    ]
    organisations.append(
        {
            "oin": gemeente_oin(ENDED_CODE),
            "name": "Gemeente Brielle",
            "kind": "municipality",
            "roles": ["gemeente"],
            "gemeentecodes": [{"code": ENDED_CODE, "until": "2022-12-31"}],
        }
    )
    organisations.append({"oin": CENTRAAL, "name": "Centraal Aanmelden", "kind": "central", "roles": ["centraal-aanmelden"]})
    organisations.append({"oin": own_oin, "name": "Koppelpunt", "kind": "hub", "roles": ["hub"]})
    mandates: list[dict[str, Any]] = [
        {"organisation": s.oin, "dienst": dienst, "system": s.system} for s, _ in schools for dienst in ("vva", "proef")
    ]
    endpoints: list[dict[str, Any]] = [
        {"organisation": s.oin, "dienst": dienst, "versie": "1", "system": s.system, "mailbox": True}
        for s, role in schools
        for dienst in ("vva", "proef")
        if not (s is unreachable or (role == "mbo" and dienst == "vva"))
    ]
    for code, _ in codes:
        if code == UNCONNECTED_CODE:
            continue
        row: dict[str, Any] = {"organisation": gemeente_oin(code), "dienst": "vva", "system": _civic(code)}
        mandates.append(row | {"until": "2025-12-31"} if code == UNMANDATED_CODE else row)
        endpoints.append(row | {"versie": "1", "mailbox": True})
    endpoints.append({"organisation": CENTRAAL, "dienst": "vva", "versie": "1", "system": CENTRAAL, "mailbox": True})
    return {
        "organisations": organisations,
        "systems": [{"oin": oin, "name": name, "supplier": f"{name} BV", "channels": ["amqp"]} for oin, name in NAMES.items()],
        "diensten": [
            {"dienst": "vva", "versie": "1", "namespace": "urn:x-backbone:vva:1"},
            {"dienst": "proef", "versie": "1", "namespace": "urn:x-backbone:proef:1"},
        ],
        "mandates": mandates,
        "endpoints": endpoints,
    }
