"""Hand in over REST as a supplier's software does it: real TLS, real sockets, a real store; XML or JSON in, JSON or a problem out."""

from __future__ import annotations

import asyncio
import gzip
import json
import logging
import re
import uuid
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime
from typing import Any, Final

import aiohttp
import pytest

from adapters import c14n, https, soap
from adapters import problem as rest_problem
from adapters.json_content import to_json
from adapters.parties import invented
from schemas.contracts import load_contracts
from tests.integration.test_gateway import Answer, ask, client, client_context, post, raw_exchange, receipt_of, start
from tests.support import content as c
from tests.support import signing as s
from tests.support.diensten import registered, variant
from tests.support.exchange import DOCUMENT, HUB, LAS, MBO, PROEF, SCHOOL, SIS, UTRECHT, Exchange, today

pytestmark = pytest.mark.broker

PGN: Final = invented.bsn(0)
BRIN: Final = SCHOOL[11:15]
JSON, XML = "application/json", "application/xml"


@pytest.fixture(scope="module")
def exchange() -> Iterator[Exchange]:
    folder = variant("3", ("rest = true\n", ""))
    with Exchange(settings={"KOPPELPUNT_DIENSTEN": str(folder)}, document=registered(DOCUMENT, "3")) as made:
        made.run(start(made))
        for name in ("relay", "route", "deliver"):
            made.start_worker(name)
        yield made


def path(dienst: str = "proef/1", query: str | None = None, *, sender: str = SCHOOL, receiver: str = MBO) -> str:
    return f"/rest/{dienst}?" + (f"edu-from={sender}&edu-to={receiver}" if query is None else query)


def proef(business_id: str | None = None, *, receiver: str = MBO) -> bytes:
    return invented.proef(business_id=business_id or str(uuid.uuid4()), sender=SCHOOL, receiver=receiver, created=datetime.now(UTC))


def as_json(raw: bytes, action: str = PROEF) -> dict[str, Any]:
    contracts = load_contracts()
    kind = contracts.kind(action)
    contract = contracts.find(kind.dienst, kind.versie)
    assert contract is not None
    return to_json(soap.parse(raw), kind, contract)


def ganger(**changes: Any) -> bytes:
    now = today()
    given = {
        "sender": BRIN,
        "brin": BRIN,
        "created": now,
        "peildatum": f"{now:%Y-%m-%d}",
        "business_id": str(uuid.uuid4()),
        "receiver": HUB,
    }
    year = now.year if now.month >= 8 else now.year - 1
    return c.ganger(**given | {"schooljaar": f"{year}-{year + 1}", "geboortedatum": f"{year - 16}-03-04"} | changes)


def send(exchange: Exchange, body: Any, to: str | None = None, content_type: str | None = XML, **headers: str | None) -> Answer:
    given = {"Content-Type": content_type} | {name.replace("_", "-"): value for name, value in headers.items()}
    if isinstance(body, dict):
        body, given["Content-Type"] = json.dumps(body).encode(), JSON
    return ask(exchange, body, to or path(), headers={name: value for name, value in given.items() if value is not None})


def accepted(answer: Answer) -> dict[str, Any]:
    status, headers, body = answer
    assert status == 201, (status, body[:2000])
    said = dict(json.loads(body))
    assert said["accepted"] is True
    assert headers["Location"] == f"/rest/status?reference={said['reference']}"
    return said


def problem(answer: Answer) -> dict[str, Any]:
    status, headers, body = answer
    assert headers["Content-Type"].partition(";")[0] == "application/problem+json", (status, body[:2000])
    said = dict(json.loads(body))
    assert said["status"] == status
    assert not re.search(rb"Traceback|\.py\b", body)
    assert PGN.encode() not in body
    return said


def refusals(exchange: Exchange) -> list[tuple[str, str]]:
    return [(row["code"], row["via"]) for row in exchange.rows("SELECT code, via FROM refusal ORDER BY at_us")]


# -- what is accepted --------------------------------------------------------------------------------------------------------------------


def test_a_receiver_that_is_not_in_the_register_is_warned_of_in_the_answer(exchange: Exchange) -> None:
    nobody = "0000000700099ZZ00000"
    said = accepted(send(exchange, proef(receiver=nobody), path(receiver=nobody)))
    assert said["warnings"] == [
        f"De ontvanger {nobody} staat niet in het serviceregister. / The receiver {nobody} is not in the service register."
    ]


@pytest.mark.parametrize("content_type", [XML, "text/xml", 'application/xml; charset="UTF-8"', JSON, "application/json; charset=utf-8"])
def test_a_good_message_is_stored_before_its_sender_is_told(exchange: Exchange, content_type: str) -> None:
    raw = proef()
    body = json.dumps(as_json(raw)).encode() if "json" in content_type else raw
    said = accepted(send(exchange, body, content_type=content_type))
    rows = exchange.rows(
        "SELECT via, sender, system, receiver, message_id, action, stale FROM message WHERE reference = :r", r=said["reference"]
    )
    assert [(row["via"], row["sender"], row["system"], row["receiver"], row["action"]) for row in rows] == [
        ("rest", SCHOOL, LAS, MBO, PROEF)
    ]
    assert rows[0]["message_id"] == said["message_id"]
    assert datetime.fromisoformat(said["received_at"]).tzinfo is not None
    assert said["warnings"] == []


@pytest.mark.parametrize("form", ["xml", "json"])
def test_a_message_reaches_its_receiver_in_an_envelope_that_we_signed(exchange: Exchange, form: str) -> None:
    raw = proef()
    said = accepted(send(exchange, raw if form == "xml" else as_json(raw)))

    async def fetch() -> bytes:
        mailbox = await exchange.consumer("mailbox", SIS)
        async with asyncio.timeout(30):
            while True:
                for one in await mailbox.next_batch(idle_s=1):
                    mailbox.ack([one])
                    if one.message_id == said["message_id"]:
                        return one.body

    arrived = s.verifier().verify(exchange.run(fetch()), at=datetime.now(UTC))
    assert (arrived.certificate_oin, arrived.sender, arrived.receiver, arrived.action) == (HUB, SCHOOL, MBO, PROEF)
    if form == "xml":
        assert c14n.exclusive(arrived.content) == c14n.exclusive(soap.parse(raw))
    else:
        contracts = load_contracts()
        contract = contracts.find("proef", "1")
        assert contract is not None
        assert to_json(arrived.content, contracts.kind(PROEF), contract) == as_json(raw)


def test_a_warning_of_the_content_rules_is_in_the_answer(exchange: Exchange) -> None:
    said = accepted(send(exchange, as_json(ganger(gemeentecode=None), c.GANGER), path("vva/1", receiver=HUB)))
    assert any("gemeentecode" in warning for warning in said["warnings"])


def test_packed_json_a_byte_order_mark_and_an_xml_declaration_are_taken(exchange: Exchange) -> None:
    packed = gzip.compress(json.dumps(as_json(proef())).encode())
    accepted(send(exchange, packed, content_type=JSON, Content_Encoding="gzip"))
    accepted(send(exchange, b"\xef\xbb\xbf" + json.dumps(as_json(proef())).encode(), content_type=JSON))
    accepted(send(exchange, b'\xef\xbb\xbf<?xml version="1.0" encoding="UTF-8"?>\n<!-- x -->' + proef()))


# -- coming again ------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("key", [str(uuid.uuid4()), f'"{uuid.uuid4()}"', "levering-2026/00017", "x" * 200])
def test_the_same_key_with_the_same_content_gets_the_same_reference(exchange: Exchange, key: str) -> None:
    body = as_json(proef())
    first, again = (accepted(send(exchange, body, Idempotency_Key=key)) for _ in range(2))
    assert (first["reference"], first["received_at"], first["message_id"]) == (
        again["reference"],
        again["received_at"],
        again["message_id"],
    )
    assert re.fullmatch(r"urn:uuid:[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", first["message_id"])
    assert (first["message_id"] == f"urn:uuid:{key.strip(chr(34))}") is (len(key.strip('"')) == 36)


def test_the_same_key_with_other_content_is_a_conflict_and_the_key_of_another_sender_is_not(exchange: Exchange) -> None:
    key = "levering-1"
    first = accepted(send(exchange, proef(), Idempotency_Key=key))
    said = problem(send(exchange, proef(), Idempotency_Key=key))
    assert (said["status"], said["code"]) == (409, "DUPLICATE_OTHER_CONTENT")
    other = invented.proef(business_id=str(uuid.uuid4()), sender=MBO, receiver=SCHOOL, created=datetime.now(UTC))

    async def act() -> Answer:
        async with client(exchange, s.party("sis", oin=SIS)) as session:
            return await post(session, other, path(sender=MBO, receiver=SCHOOL), headers={"Content-Type": XML, "Idempotency-Key": key})

    assert accepted(exchange.run(act()))["message_id"] != first["message_id"]


def test_an_administration_with_a_routeringskenmerk_sends_under_it(exchange: Exchange) -> None:
    administration = SCHOOL[:15] + "00017"
    said = accepted(send(exchange, proef(), path(sender=administration)))
    assert exchange.rows("SELECT sender FROM message WHERE reference = :r", r=said["reference"]) == [{"sender": administration}]


def test_without_a_key_the_business_id_tells_that_it_is_the_same_message(exchange: Exchange) -> None:
    raw = proef()
    references = {accepted(send(exchange, body))["reference"] for body in (raw, raw, raw.replace(b"?>", b"?>\n"))}
    assert len(references) == 1


def test_a_refused_message_does_not_use_up_its_key(exchange: Exchange) -> None:
    body = as_json(proef())
    body["proef"]["echo"] = 7
    assert problem(send(exchange, body, Idempotency_Key="key-1"))["code"] == "Client.DK0004"
    body["proef"]["echo"] = "7"
    accepted(send(exchange, body, Idempotency_Key="key-1"))


@pytest.mark.parametrize("key", ["", "x" * 201, "caf\u00e9", f"leerling-{PGN}"])
def test_a_key_that_cannot_be_used_is_refused(exchange: Exchange, key: str) -> None:
    said = problem(send(exchange, proef(), Idempotency_Key=key))
    assert (said["status"], said["code"], said["where"]) == (400, "Client.DK0011", "Idempotency-Key")


# -- what is refused ---------------------------------------------------------------------------------------------------------------------

FROM, TO = f"edu-from={SCHOOL}", f"edu-to={MBO}"


@pytest.mark.parametrize(
    ("query", "code", "where"),
    [
        ("", "Client.EK0020", "edu-from"),
        (TO, "Client.EK0020", "edu-from"),
        (FROM, "Client.DK0005", "edu-to"),
        (f"{FROM}&{FROM}&{TO}", "Client.DK0011", "edu-from"),
        (f"{FROM}&{TO}&{TO}", "Client.DK0011", "edu-to"),
        (f"edu-from=&{TO}", "Client.EK0021", "edu-from"),
        (f"edu-from={PGN}&{TO}", "Client.EK0021", "edu-from"),
        (f"edu-from={SCHOOL.lower()}&{TO}", "Client.EK0021", "edu-from"),
        (f"{FROM}&edu-to={MBO}%00", "Client.EK0022", "edu-to"),
        (f"{FROM}&edu-to={MBO}%26oin%3D{SCHOOL}", "Client.EK0022", "edu-to"),
        (f"Edu-From={SCHOOL}&{TO}", "Client.EK0020", "edu-from"),
    ],
)
def test_the_parties_in_the_query_are_judged(exchange: Exchange, query: str, code: str, where: str) -> None:
    said = problem(send(exchange, proef(), path(query=query)))
    assert (said["status"], said["code"], said["where"]) == (400, code, where)
    assert said["reference"]


@pytest.mark.parametrize(
    ("content_type", "headers", "status", "code"),
    [
        (None, {}, 415, "Client.DK0009"),
        ("text/plain", {}, 415, "Client.DK0009"),
        ("application/x-www-form-urlencoded", {}, 415, "Client.DK0009"),
        ("application/soap+xml", {}, 415, "Client.DK0009"),
        ("application/xml; charset=iso-8859-1", {}, 415, "Client.DK0009"),
        ("application/json; charset=utf-16", {}, 415, "Client.DK0009"),
        (XML, {"Content_Encoding": "br"}, 415, "Client.DK0009"),
        (XML, {"Content_Encoding": "gzip"}, 400, "Client.NOT_XML"),
        (JSON, {}, 400, "Client.NOT_JSON"),
    ],
)
def test_the_headers_of_a_request_are_judged(
    exchange: Exchange, content_type: str | None, headers: dict[str, str], status: int, code: str
) -> None:
    said = problem(send(exchange, proef(), content_type=content_type, **headers))
    assert (said["status"], said["code"]) == (status, code)


@pytest.mark.parametrize("dienst", ["proef/9", "nergens/1", "proef/3"])
def test_a_dienst_that_is_not_there_or_not_over_rest_is_not_found(exchange: Exchange, dienst: str) -> None:
    said = problem(send(exchange, proef(), path(dienst)))
    assert (said["status"], said["code"]) == (404, "UNKNOWN_DIENST")


BAD: Final[dict[str, tuple[Any, str, int, str]]] = {
    "no body": (b"", XML, 400, "Client.NOT_XML"),
    "no body of JSON": (b"", JSON, 400, "Client.NOT_JSON"),
    "cut-off XML": (proef()[:-20], XML, 400, "Client.NOT_XML"),
    "cut-off JSON": (json.dumps(as_json(proef())).encode()[:-3], JSON, 400, "Client.NOT_JSON"),
    "an envelope": (s.unsigned(), XML, 400, "UNKNOWN_DIENST"),
    "the root of another dienst": (ganger(), XML, 400, "UNKNOWN_DIENST"),
    "the root of another dienst in JSON": (json.dumps({"mboGangerBericht": {}}).encode(), JSON, 400, "UNKNOWN_DIENST"),
    "the root in another namespace": (b"<proef/>", XML, 400, "UNKNOWN_DIENST"),
    "no object": (b"[]", JSON, 400, "UNKNOWN_DIENST"),
    "two messages": (json.dumps({"proef": {}, "x": {}}).encode(), JSON, 400, "UNKNOWN_DIENST"),
    "null": (b'{"proef": null}', JSON, 400, "Client.DK0004"),
    "a DOCTYPE": (b"<!DOCTYPE a [<!ENTITY x SYSTEM 'file:///etc/passwd'>]><proef>&x;</proef>", XML, 400, "Client.NOT_XML"),
    "a processing instruction": (b"<?xml-stylesheet href='x'?>" + proef(), XML, 400, "Client.NOT_XML"),
    "UTF-16": (proef().decode().encode("utf-16"), XML, 400, "Client.DK0009"),
    "UTF-16 JSON": (json.dumps({"proef": {}}).encode("utf-16"), JSON, 400, "Client.DK0009"),
    "JSON in another charset": ('{"proef": {"echo": "\u00e9"}}'.encode("latin-1"), JSON, 400, "Client.DK0009"),
    "deep JSON": (b'{"proef":' + b"[" * 100_000, JSON, 400, "Client.NOT_JSON"),
    "deep XML": (b'<proef xmlns="urn:x-backbone:proef:1">' + b"<a>" * 253 + b"</a>" * 253 + b"</proef>", XML, 400, "Client.NOT_XML"),
    "much JSON": (b'{"proef":[' + b"0," * 400_000 + b"0]}", JSON, 413, "Client.TOO_LARGE"),
    "the same member twice": (b'{"proef": {"echo": "a", "echo": "b"}}', JSON, 400, "Client.NOT_JSON"),
    "the same message twice": (b'{"proef": {}, "proef": {}}', JSON, 400, "Client.NOT_JSON"),
    "NaN": (b'{"proef": {"echo": NaN}}', JSON, 400, "Client.NOT_JSON"),
    "Infinity": (b'{"proef": {"echo": -Infinity}}', JSON, 400, "Client.NOT_JSON"),
    "a number of a million digits": (b'{"proef": {"echo": ' + b"9" * 1_000_000 + b"}}", JSON, 400, "Client.NOT_JSON"),
    "half a character": (b'{"proef": {"echo": "\\ud800"}}', JSON, 400, "Client.DK0004"),
    "null inside a text": (b'{"proef": {"echo": "\\u0000"}}', JSON, 400, "Client.DK0004"),
    "a member that is a personal number": (json.dumps({"proef": {PGN: PGN}}).encode(), JSON, 400, "Client.DK0004"),
    "a personal number twice": (f'{{"{PGN}": 1, "{PGN}": 2}}'.encode(), JSON, 400, "Client.NOT_JSON"),
    "a root that is a personal number": (json.dumps({PGN: {}}).encode(), JSON, 400, "UNKNOWN_DIENST"),
    "a root element with a personal number": (f"<a{PGN}/>".encode(), XML, 400, "UNKNOWN_DIENST"),
    "a member that does not exist": (json.dumps({"proef": as_json(proef())["proef"] | {"x": 1}}).encode(), JSON, 400, "Client.DK0004"),
    "an element that does not exist": (proef().replace(b"</proef>", b"<x>1</x></proef>"), XML, 400, "Client.DK0004"),
    "another type": (json.dumps({"proef": as_json(proef())["proef"] | {"echo": True}}).encode(), JSON, 400, "Client.DK0004"),
    "another receiver than edu-to": (proef(receiver=UTRECHT), XML, 422, "HEADER_NOT_SENDER"),
    "a personal number where none may be": (
        json.dumps({"proef": as_json(proef())["proef"] | {"echo": PGN}}).encode(),
        JSON,
        422,
        "CONTENT_RULE",
    ),
}


@pytest.mark.parametrize(("body", "content_type", "status", "code"), BAD.values(), ids=BAD)
def test_bad_content_gets_a_problem_that_says_what_and_where_and_the_next_request_is_served(
    exchange: Exchange, body: bytes, content_type: str, status: int, code: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    said = problem(send(exchange, body, content_type=content_type))
    assert (said["status"], said["code"]) == (status, code)
    assert said["detail"] and said["remedy"] and said["owner"] in ("supplier", "school")
    assert refusals(exchange)[-1] == (code, "rest")
    assert exchange.rows("SELECT code FROM refusal WHERE reference = :r", r=said["reference"]) == [{"code": code}]
    assert PGN not in caplog.text and "Traceback" not in caplog.text
    accepted(send(exchange, proef()))


def test_every_mistake_in_json_is_told_by_its_pointer(exchange: Exchange) -> None:
    body = as_json(proef())
    body["proef"]["bedrijfsdocument"]["verzendendeInstantie"] = 25
    body["proef"]["echo"] = ["a"]
    said = problem(send(exchange, body))
    assert [error.split(":")[0] for error in said["errors"]] == [
        "Client.DK0004 /proef/bedrijfsdocument/verzendendeInstantie",
        "Client.DK0004 /proef/echo",
    ]
    assert said["where"] == "/proef/bedrijfsdocument/verzendendeInstantie"


def test_a_mistake_that_the_xsd_finds_in_json_is_told_by_its_place(exchange: Exchange) -> None:
    body = as_json(proef())
    body["proef"]["bedrijfsdocument"]["identificatiecodeBedrijfsdocument"] = "no uuid"
    said = problem(send(exchange, body))
    assert said["where"] == "/proef/bedrijfsdocument/identificatiecodeBedrijfsdocument"
    assert "0b8e2f64-5c1d" in said["errors"][0], "what belongs there, in the XSD's own words"


def test_a_message_for_the_hub_says_in_words_of_rest_where_it_must_go(exchange: Exchange) -> None:
    said = problem(send(exchange, ganger(), path("vva/1")))
    assert (said["code"], said["where"]) == ("Client.DK0011", "edu-to")
    assert f"edu-to must name {HUB}" in said["detail"]


def test_too_much_packed_or_not_is_refused_for_good(exchange: Exchange) -> None:
    for body, headers in ((b" " * (https.LARGEST + 1), {}), (gzip.compress(b" " * (64 << 20)), {"Content_Encoding": "gzip"})):
        answer = send(exchange, body, content_type=JSON, **headers)
        assert (problem(answer)["status"], problem(answer)["code"]) == (413, "Client.TOO_LARGE")
        assert "Retry-After" not in answer[1]
    accepted(send(exchange, proef()))


def test_a_body_that_comes_too_slowly_is_given_up_and_may_come_again(exchange: Exchange, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(https, "READ_S", 0.3)

    async def never() -> AsyncIterator[bytes]:
        yield b'{"proef"'
        await asyncio.sleep(5)
        yield b": {}}"

    answer = send(exchange, never(), content_type=JSON)
    assert (problem(answer)["status"], problem(answer)["code"]) == (503, "Server.DK0051")
    assert answer[1]["Retry-After"] == str(rest_problem.COME_AGAIN_S)


def test_a_chunked_body_that_is_not_chunked_is_refused(exchange: Exchange) -> None:
    head = f"POST {path()} HTTP/1.1\r\nHost: x\r\nContent-Type: {JSON}\r\nTransfer-Encoding: chunked\r\n\r\n"
    answer = exchange.run(raw_exchange(exchange, head.encode() + b"zz\r\nnonsense\r\n"))
    assert b" 400 " in answer.split(b"\r\n")[0]
    accepted(send(exchange, proef()))


def test_only_post_is_answered_and_nothing_where_nothing_is_both_as_a_problem(exchange: Exchange) -> None:
    async def get(where: str) -> tuple[str | None, dict[str, Any]]:
        async with client(exchange) as session, session.get(where) as answer:
            return answer.headers.get("Allow"), problem((answer.status, dict(answer.headers), await answer.read()))

    allowed, said = exchange.run(get(path()))
    assert (allowed, said["status"], said["where"], said["detail"]) == ("POST", 405, "method", "only POST is taken here")
    for nowhere in ("/rest", "/rest/elsewhere", "/rest/proef/1/more"):
        allowed, said = exchange.run(get(nowhere))
        assert (allowed, said["status"], said["code"], said["where"]) == (None, 404, "REQUEST_INVALID", "path")


def test_what_is_wrong_is_told_in_words_of_rest_at_once_and_in_the_status(exchange: Exchange) -> None:
    said = problem(send(exchange, proef(), path(query=f"edu-from={SCHOOL}")))
    assert (said["code"], said["title"], said["title_en"]) == ("Client.DK0005", "edu-to ontbreekt", "edu-to is missing")
    nobody = "0000000700099ZZ00000"
    said = problem(send(exchange, proef(), path(sender=nobody)))
    assert (said["code"], said["where"]) == ("Client.DK0002", "edu-from")

    async def look() -> dict[str, Any]:
        async with client(exchange) as session, session.get(f"/rest/status?reference={said['reference']}") as answer:
            return dict((await answer.json())["messages"][0])

    status = exchange.run(look())
    assert said["detail"] in status["reason"]
    assert not any(name in json.dumps(one) for one in (said, status) for name in ("wsa:From", "wsa:To"))
    assert not status["reason"].startswith(status["code"])


# -- who connects, and in which order that is asked -------------------------------------------------------------------------------------


def from_party(exchange: Exchange, party: Any, body: bytes = b"nonsense") -> dict[str, Any]:
    async def act() -> Answer:
        connector = aiohttp.TCPConnector(ssl=client_context(party))
        async with aiohttp.ClientSession(f"https://localhost:{exchange.settings.gateway_port}", connector=connector) as session:
            return await post(session, body, path(), headers={"Content-Type": JSON})

    return problem(exchange.run(act()))


def test_without_a_certificate_nothing_else_is_looked_at(exchange: Exchange) -> None:
    said = from_party(exchange, None)
    assert (said["status"], said["code"], said["where"]) == (401, "Client.EK0030", "TLS")
    assert said["remedy_en"] == "Set your system's client certificate."


def test_an_expired_certificate_is_told_its_day_and_what_to_do(exchange: Exchange) -> None:
    said = from_party(exchange, s.party("old", oin=LAS, days=-1))
    assert (said["status"], said["code"], said["owner"]) == (401, "Client.EK0030", "supplier")
    assert "expired on 20" in said["detail"]
    assert said["remedy_en"] == "Use a client certificate that is valid now, of a CA that we trust."


def test_a_system_that_is_not_in_the_register_may_not_come_in(exchange: Exchange) -> None:
    said = from_party(exchange, s.party("stranger", oin="00000003000000990000"))
    assert (said["status"], said["code"], said["owner"]) == (403, "Client.DK0002", "supplier")
    assert said["remedy_en"].startswith("Have the operator put this system in the service register")


def test_the_content_is_judged_only_for_who_may_send_it(exchange: Exchange) -> None:
    body = as_json(proef())
    body["proef"]["echo"] = 7  # not what the XSD says
    said = from_party(exchange, s.party("sis", oin=SIS), json.dumps(body).encode())
    assert (said["status"], said["code"], said["where"], said["owner"]) == (403, "Client.DK0002", "edu-from", "school")
    assert "errors" not in said


def test_a_revoked_certificate_is_refused_with_ek0030(exchange: Exchange) -> None:
    revoked = s.party("revoked-rest", oin=LAS, revoked=True)

    async def act() -> None:
        from adapters.crls import CrlFetcher

        await CrlFetcher.of(exchange.settings, exchange.store.registry).fetch_all()
        await exchange.stop_workers("gateway")
        await start(exchange)

    exchange.run(act())
    said = from_party(exchange, revoked)
    assert (said["status"], said["code"]) == (401, "Client.EK0030")
    assert "revoked" in said["detail"]


def test_the_access_log_has_the_reference_and_no_query(exchange: Exchange, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "koppelpunt.access")
    said = accepted(send(exchange, proef()))
    lines = [record.__dict__ for record in caplog.records if record.getMessage() == "request"]
    assert [(line["path"], line["status"], line["reference"], line["system"]) for line in lines] == [
        ("/rest/proef/1", 201, said["reference"], LAS)
    ]


def test_the_same_message_over_wus_and_rest_is_recognised_by_its_business_id(exchange: Exchange) -> None:
    raw = proef()
    over_rest = accepted(send(exchange, raw))
    signed = s.signer().envelope(
        s.BodyPart.around(raw), to=soap.address(MBO), sender=soap.address(SCHOOL), action=PROEF, message_id=s.message_id()
    )
    assert receipt_of(ask(exchange, signed))["referentie"] == over_rest["reference"]
