"""The portal over a service register in a store: a board with two schools and a school of nobody's, suppliers old and new, a supplier with
many schools, and municipalities. It is the fifteenth of January 2026. All invented."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from adapters.store import open_store
from routing.people import Role
from schemas.oin import Oin, school_oin
from tests.support.pages import Pages
from tests.support.store import fresh_url

BOARD: Final = Oin("00000004123456780000")
EMMAUS, ZUIDER, LINDE = school_oin("25BE"), school_oin("26AA"), school_oin("02BB")
NORTH: Final = Oin(EMMAUS[:15] + "00530")
WIJZER, KLASSEN, RIVAL = Oin("00000003272448340204"), Oin("00000003272448350000"), Oin("00000003272448390000")
LARGE: Final = Oin("00000003272448380000")
UTRECHT, STICHT, OTHER_TOWN = Oin("00000001001234560000"), Oin("00000001001234570000"), Oin("00000001001234580000")
CIVIC: Final = Oin("00000003272448370000")
CENTRAAL: Final = Oin("00000004003214345000")
#: Schools of the large supplier.
MANY: Final = [school_oin(f"{10 + number // 26:02}{chr(65 + number % 26)}Z") for number in range(130)]

ADDRESS: Final = "https://berichten.wijzer.example/vva"


def a_mandate(organisation: str, system: str, token: str, **more: Any) -> dict[str, Any]:
    return {"organisation": organisation, "dienst": "vva", "system": system, "token": token, **more}


def an_endpoint(organisation: str, system: str, id: str, **more: Any) -> dict[str, Any]:
    return {"id": id, "organisation": organisation, "dienst": "vva", "versie": "1", "system": system, **({"url": ADDRESS} | more)}


DOCUMENT: Final[dict[str, list[dict[str, Any]]]] = {
    "boards": [{"oin": BOARD, "name": "Stichting De Vecht"}],
    "organisations": [
        {"oin": EMMAUS, "name": "Emmaus College", "kind": "school", "roles": ["vo"], "board": BOARD},
        {"oin": ZUIDER, "name": "Zuiderlyceum", "kind": "school", "roles": ["vo"], "board": BOARD},
        {"oin": LINDE, "name": "De Linde", "kind": "school", "roles": ["vo"]},
        {"oin": UTRECHT, "name": "Gemeente Utrecht", "kind": "municipality", "roles": ["gemeente"], "gemeentecodes": [{"code": "0344"}]},
        {
            "oin": STICHT,
            "name": "Gemeente Stichtse Vecht",
            "kind": "municipality",
            "roles": ["gemeente"],
            "gemeentecodes": [{"code": "1904"}],
        },
        {"oin": OTHER_TOWN, "name": "Gemeente Andere", "kind": "municipality", "roles": ["gemeente"], "gemeentecodes": [{"code": "0363"}]},
        {"oin": CENTRAAL, "name": "Centraal Aanmelden", "kind": "central", "roles": ["centraal-aanmelden"]},
        *({"oin": oin, "name": f"School {oin[11:15]}", "kind": "school", "roles": ["vo"]} for oin in MANY),
    ],
    "systems": [
        {"oin": WIJZER, "name": "Leerlingwijzer", "supplier": "Wijzer BV"},
        {"oin": KLASSEN, "name": "Klassenboek", "supplier": "Boek BV"},
        {"oin": RIVAL, "name": "Rivaal", "supplier": "Rivaal BV"},
        {"oin": LARGE, "name": "Schoolbreed", "supplier": "Breed BV"},
        {"oin": CIVIC, "name": "Burgerbalie", "supplier": "Balie BV"},
        {"oin": CENTRAAL, "name": "Portaal Aanmelden", "supplier": "Centraal Aanmelden"},
    ],
    "diensten": [
        {"dienst": "vva", "versie": "1", "namespace": "urn:x-backbone:vva:1"},
        {"dienst": "proef", "versie": "1", "namespace": "urn:x-backbone:proef:1"},
    ],
    "mandates": [
        a_mandate(EMMAUS, WIJZER, "m-emmaus-oud", until="2026-07-31"),
        a_mandate(EMMAUS, KLASSEN, "m-emmaus-nieuw", **{"from": "2026-08-01"}),
        a_mandate(EMMAUS, KLASSEN, "m-emmaus-proef", dienst="proef"),
        a_mandate(ZUIDER, WIJZER, "m-zuider"),
        a_mandate(LINDE, RIVAL, "m-linde"),
        a_mandate(UTRECHT, CIVIC, "m-utrecht"),
        a_mandate(OTHER_TOWN, RIVAL, "m-andere"),
        *(a_mandate(oin, LARGE, f"m-{oin[11:15]}") for oin in MANY),
    ],
    "endpoints": [
        an_endpoint(EMMAUS, WIJZER, "e-emmaus", until="2026-07-31"),
        an_endpoint(EMMAUS, WIJZER, "e-emmaus-noord", until="2026-07-31", routeringskenmerk=NORTH, attributes=["noord"]),
        an_endpoint(ZUIDER, WIJZER, "e-zuider"),
        an_endpoint(LINDE, RIVAL, "e-linde", url="https://rivaal.example/in"),
        an_endpoint(UTRECHT, CIVIC, "e-utrecht", url=None, mailbox=True),
        an_endpoint(OTHER_TOWN, RIVAL, "e-andere", url="https://rivaal.example/stad"),
        an_endpoint(CENTRAAL, CENTRAAL, "e-centraal", url="https://portaal.example/vva"),
        *(an_endpoint(oin, LARGE, f"e-{oin[11:15]}", url="https://breed.example/vva") for oin in MANY[:-2]),
    ],
    "delegations": [
        {"id": "d-sticht", "municipality": STICHT, "dienst": "vva", "region": UTRECHT},
        {"id": "d-andere", "municipality": OTHER_TOWN, "dienst": "proef", "region": CENTRAAL},
    ],
}
for _row in DOCUMENT["endpoints"]:
    if _row.get("url", "") is None:
        del _row["url"]

#: Name of an account -> its role, and whose it is.
PEOPLE: Final[dict[str, tuple[Role, dict[str, Any]]]] = {
    "emmaus": (Role.SCHOOL, {"organisations": (EMMAUS,)}),
    "bestuur": (Role.SCHOOL, {"organisations": (BOARD,)}),
    "wijzer": (Role.PARTNER, {"systems": (WIJZER,)}),
    "klassen": (Role.PARTNER, {"systems": (KLASSEN,)}),
    "breed": (Role.PARTNER, {"systems": (LARGE,)}),
    "utrecht": (Role.PARTNER, {"organisations": (UTRECHT,)}),
    "sticht": (Role.PARTNER, {"organisations": (STICHT,)}),
    "centraal": (Role.PARTNER, {"organisations": (CENTRAAL,)}),
}


class RegisterPages(Pages):
    """The portal's pages with a register that can be changed."""

    DOCUMENT = DOCUMENT

    def __enter__(self) -> RegisterPages:
        super().__enter__()
        for name, (role, own) in PEOPLE.items():
            self.account(name, role, **own)
        return self


@contextmanager
def register_pages(folder: Path) -> Iterator[RegisterPages]:
    """Over a store of its own."""
    store = open_store(fresh_url("sqlite", folder))
    try:
        with RegisterPages(folder, store) as running:
            yield running
    finally:
        store.close()
