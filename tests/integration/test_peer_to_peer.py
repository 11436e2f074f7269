"""A dienst between two systems at a real gateway: where, and what becomes of a hand-in."""

from __future__ import annotations

import copy
import uuid
from collections.abc import Iterator
from typing import Any

import pytest
import requests

import run
from adapters import pki, soap
from adapters.signing import BodyPart, Signer
from routing.register_book import RowChange
from tests.support.answers import DIENSTEN
from tests.support.exchange import DOCUMENT, LAS, MBO, SCHOOL, SIS
from tests.support.gateways import Gateways, wait
from tests.support.openapi import DOCUMENT as DESCRIPTION
from tests.support.openapi import Described
from tests.support.store import run_sql
from workers.clock import Clock, micros

DESCRIBED = Described(DESCRIPTION)
URL = "https://studiekern.example/in"
DIENSTEN_OF = {"toets": "uitslag", "overstap": "dossier"}


def document() -> dict[str, Any]:
    made = copy.deepcopy(DOCUMENT)
    for dienst in DIENSTEN_OF:
        made["diensten"].append({"dienst": dienst, "versie": "1", "namespace": f"urn:test:{dienst}:1"})
        for organisation, system in ((SCHOOL, LAS), (MBO, SIS)):
            made["mandates"].append({"organisation": organisation, "dienst": dienst, "system": system})
        made["endpoints"].append({"id": dienst, "organisation": MBO, "dienst": dienst, "versie": "1", "system": SIS, "url": URL})
    return made


@pytest.fixture(scope="module")
def gateways(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateways]:
    with Gateways(tmp_path_factory.mktemp("peers"), settings={"KOPPELPUNT_DIENSTEN": str(DIENSTEN)}, document=document()) as running:
        yield running


@pytest.fixture(autouse=True)
def as_it_was(gateways: Gateways) -> None:
    gateways.store.registry.save_register(document(), who="test", now_us=micros(Clock().now()))


def ask(gateways: Gateways, path: str, *, party: pki.Party | None = None, body: bytes | None = None, **asked: Any) -> tuple[int, Any]:
    party = party or gateways.las
    answer = requests.request(
        "GET" if body is None else "POST",
        f"https://localhost:{gateways.port}/rest/{path}",
        params=asked,
        data=body,
        headers={} if body is None else {"Content-Type": "application/xml"},
        cert=(str(party.certificate), str(party.key)),
        verify=str(gateways.folder / "ca.pem"),
        timeout=30,
    )
    if path == "where":
        DESCRIBED.check("GET", "/rest/where", answer.status_code, answer.headers, answer.content)
    return answer.status_code, answer.json()


def where(gateways: Gateways, dienst: str = "toets", **more: Any) -> tuple[int, Any]:
    return ask(gateways, "where", **{"dienst": dienst, "versie": "1", "edu-from": SCHOOL, "edu-to": MBO} | more)


def content(dienst: str) -> bytes:
    name = DIENSTEN_OF[dienst]
    id = f"<identificatiecodeBedrijfsdocument>{uuid.uuid4()}</identificatiecodeBedrijfsdocument>"
    return f'<{name} xmlns="urn:test:{dienst}:1">{id}</{name}>'.encode()


def test_a_system_asks_where_and_is_told_the_address_and_whose_certificate_it_must_meet(gateways: Gateways) -> None:
    status, said = where(gateways)
    assert status == 200, said
    assert (said["url"], said["system"], said["carried"], said["endpoint"]["ok"]) == (URL, SIS, False, True)
    assert where(gateways, "overstap")[1]["carried"] is True


def test_who_has_no_mandate_of_the_sender_is_refused_with_whose_turn_it_is(gateways: Gateways) -> None:
    status, said = where(gateways, **{"edu-from": MBO})
    assert (status, said["code"], said["owner"]) == (403, "Client.DK0002", "school")
    assert "mandaat" in said["remedy"]


def test_a_receiver_whose_mandate_ended_is_not_given_away(gateways: Gateways) -> None:
    book = gateways.store.register
    row = next(row for row in book.rows("mandates") if (row["organisation"], row["dienst"]) == (MBO, "toets"))
    book.change([RowChange("mandates", row["token"], {**row, "revoked": True})], who="test", why="", now_us=micros(Clock().now()))
    wait(lambda: where(gateways)[1]["url"] is None)
    status, said = where(gateways)
    assert (status, said["system"], said["endpoint"]["code"], said["endpoint"]["owner"]) == (200, None, "ROUTE_NO_MANDATE", "school")


@pytest.mark.parametrize(
    ("more", "code", "where_"),
    [
        ({"dienst": "proef"}, "REQUEST_INVALID", "dienst"),
        ({"dienst": "niets"}, "UNKNOWN_DIENST", "dienst"),
        ({"edu-to": "12"}, "REQUEST_INVALID", "edu-to"),
        ({"edu-from": None}, "REQUEST_INVALID", "edu-from"),
        ({"extra": "1"}, "REQUEST_INVALID", "extra"),
    ],
)
def test_a_question_that_is_wrong_is_told_where(gateways: Gateways, more: dict[str, Any], code: str, where_: str) -> None:
    status, said = where(gateways, **more)
    assert (status, said["code"], said["where"]) == (400, code, where_)


def test_a_message_that_we_do_not_carry_is_refused_over_rest_and_wus_and_kept_as_a_refusal(gateways: Gateways) -> None:
    status, said = ask(gateways, "toets/1", body=content("toets"), **{"edu-from": SCHOOL, "edu-to": MBO})
    assert (status, said["code"], said["owner"]) == (422, "PEER_TO_PEER", "supplier")
    assert "/rest/where" in said["remedy"]
    key, certificate = pki.read_key(gateways.las.key), pki.read_certificate(gateways.las.certificate)
    signed = Signer(key, certificate).envelope(
        BodyPart.around(content("toets")),
        to=soap.address(MBO),
        sender=soap.address(SCHOOL),
        action="urn:test:toets:1/uitslag",
        message_id=f"urn:uuid:{uuid.uuid4()}",
    )
    answer = requests.post(
        f"https://localhost:{gateways.port}/wus/toets/1",
        data=signed,
        headers={"Content-Type": "text/xml; charset=utf-8", "SOAPAction": '"urn:test:toets:1/uitslag"'},
        cert=(str(gateways.las.certificate), str(gateways.las.key)),
        verify=str(gateways.folder / "ca.pem"),
        timeout=30,
    )
    assert answer.status_code == 500 and b"PEER_TO_PEER" in answer.content
    kept = run_sql(gateways.store, "SELECT code, dienst, reference FROM refusal WHERE code = 'PEER_TO_PEER'")
    assert [row.dienst for row in kept] == ["toets", "toets"]
    rules = run_sql(gateways.store, "SELECT record FROM decision WHERE reference = :r", r=kept[0].reference)
    assert any('"rule":"not-carried"' in row.record for row in rules)


def test_a_message_that_we_carry_is_taken_in(gateways: Gateways) -> None:
    status, said = ask(gateways, "overstap/1", body=content("overstap"), **{"edu-from": SCHOOL, "edu-to": MBO})
    assert status == 201, said


def test_an_operator_asks_the_same_on_the_command_line(gateways: Gateways, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    for name, value in gateways.environment.items():
        monkeypatch.setenv(name, value)
    words = ["register", "explain", "--from", "25BE", "--to", "04XY", "--dienst", "toets", "--versie", "1"]
    assert run.main(words) == 0
    assert URL in capsys.readouterr().out
