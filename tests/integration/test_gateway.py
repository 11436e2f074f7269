"""The gateway as suppliers' software meets it: real TLS, real sockets, a real store; the answers verified as a receiver would."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import json
import re
import shutil
import socket
import sqlite3
import ssl
import subprocess
import threading
import uuid
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import aiohttp
import pytest
from lxml import etree
from sqlalchemy import text

import run
from adapters import answers, https, pki, problem, soap, verify_policy
from adapters.answers import NAMESPACE
from adapters.parties import invented
from adapters.parties.hand_in import _read_answer
from adapters.trust import TrustStore
from broker_config.settings import Settings
from routing.register import Register
from schemas.envelope import Envelope
from schemas.faults import NotAllowed
from tests.support import signing as s
from tests.support.broker import until
from tests.support.exchange import DOCUMENT, GANGER, HUB, LAS, MBO, PROEF, SCHOOL, SIS, Exchange
from workers import gateway
from workers.register_cache import RegisterCache

pytestmark = pytest.mark.broker

Answer = tuple[int, dict[str, str], bytes]

CONNECTING = (run.ROOT / "docs/connecting-a-party.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def exchange() -> Iterator[Exchange]:
    with Exchange() as made:
        made.run(start(made))
        yield made


async def start(exchange: Exchange) -> None:
    exchange.start_worker("gateway")
    await until(lambda: listening(exchange.settings.gateway_port))


def listening(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
        return True
    return False


def client_context(party: pki.Party | None = None, **changes: Any) -> ssl.SSLContext:
    """TLS as a supplier's software sets it up: our CAs trusted, its own certificate shown."""
    context = ssl.create_default_context(cafile=s.folder() / "ca.pem")
    for name, value in changes.items():
        setattr(context, name, value)
    if party is not None:
        context.load_cert_chain(party.certificate, party.key)
    return context


@contextlib.asynccontextmanager
async def client(exchange: Exchange, party: pki.Party | None = None, **changes: Any) -> AsyncIterator[aiohttp.ClientSession]:
    connector = aiohttp.TCPConnector(ssl=client_context(party or s.party(), **changes))
    async with aiohttp.ClientSession(f"https://localhost:{exchange.settings.gateway_port}", connector=connector) as session:
        yield session


def without_certificate(exchange: Exchange) -> aiohttp.ClientSession:
    """Inside a running loop."""
    connector = aiohttp.TCPConnector(ssl=client_context())
    return aiohttp.ClientSession(f"https://localhost:{exchange.settings.gateway_port}", connector=connector)


def headers(action: str = PROEF, **changes: str | None) -> dict[str, str]:
    given = {"Content-Type": "text/xml; charset=utf-8", "SOAPAction": f'"{action}"'} | {k.replace("_", "-"): v for k, v in changes.items()}
    return {name: value for name, value in given.items() if value is not None}


async def post(session: aiohttp.ClientSession, body: Any, path: str = "/wus/proef/1", **given: Any) -> Answer:
    async with session.post(path, data=body, headers=given.get("headers", headers())) as answer:
        return answer.status, dict(answer.headers), await answer.read()


def ask(exchange: Exchange, body: Any, path: str = "/wus/proef/1", party: pki.Party | None = None, **given: Any) -> Answer:
    """One request on a connection of its own."""

    async def act() -> Answer:
        async with client(exchange, party) as session:
            return await post(session, body, path, **given)

    return exchange.run(act())


def verified(answer: bytes) -> Envelope:
    """The answer as its receiver verifies it: signed by the backbone, every addressing header and the confirmation covered."""
    found = s.verifier(verify_policy.VerifyPolicy()).verify(answer, at=datetime.now(UTC))
    assert found.certificate_oin == found.sender == HUB
    return found


def fault_of(answer: Answer) -> tuple[str, str]:
    """Code and text of a signed fault."""
    status, _, body = answer
    assert status == 500, (status, body[:300])
    fault = verified(body).content
    assert fault.tag == f"{{{soap.SOAP}}}Fault"
    return str(fault.findtext("faultcode")).removeprefix("soapenv:"), str(fault.findtext("faultstring"))


def receipt_of(answer: Answer) -> dict[str, str]:
    status, _, body = answer
    assert status == 200, (status, body[:2000])
    content = verified(body).content
    assert content.tag == f"{{{NAMESPACE}}}ontvangst"
    return {etree.QName(child).localname: child.text or "" for child in content}


def confirmations(answer: bytes) -> list[str | None]:
    return [one.get("Value") for one in soap.parse(answer).iter(f"{{{soap.WSSE11}}}SignatureConfirmation")]


def test_a_good_message_gets_a_signed_receipt_that_names_it_and_confirms_its_signature(exchange: Exchange) -> None:
    message_id = s.message_id()
    raw = exchange.proef(message_id)
    answer = ask(exchange, raw)
    receipt, envelope = receipt_of(answer), verified(answer[2])
    assert receipt["ontvangstBevestiging"] == "J"
    assert exchange.rows("SELECT reference, via FROM message WHERE message_id = :id", id=message_id) == [
        {"reference": receipt["referentie"], "via": "https"}
    ]
    assert envelope.relates_to == ((soap.REPLY, message_id),)
    assert (envelope.receiver, envelope.action) == (SCHOOL, PROEF)
    assert confirmations(answer[2]) == re.findall(rb"<ds:SignatureValue>(.*?)</ds:SignatureValue>", raw)[0].decode().split()
    assert set(envelope.signed) >= {"Body", "Timestamp", "To", "From", "Action", "MessageID", "RelatesTo", "SignatureConfirmation"}


def test_a_receiver_that_is_not_in_the_register_is_warned_of_in_the_receipt(exchange: Exchange) -> None:
    nobody = "0000000700099ZZ00000"
    raw = exchange.proef(s.message_id(), receiver=nobody)
    for _ in range(2):  # a repeated receipt says it again
        warning = receipt_of(ask(exchange, raw))["waarschuwing"]
        assert warning == (
            f"De ontvanger {nobody} staat niet in het serviceregister. / The receiver {nobody} is not in the service register."
        )
    administration = MBO[:15] + "00001"  # of an organisation that is in it
    for good in (exchange.proef(s.message_id()), exchange.proef(s.message_id(), receiver=administration)):
        assert "waarschuwing" not in receipt_of(ask(exchange, good))


def test_a_sender_that_sends_again_gets_the_same_reference_with_the_same_bytes_and_with_a_new_signature(exchange: Exchange) -> None:
    message_id, now = s.message_id(), datetime.now(UTC)
    content = invented.proef(business_id=str(uuid.uuid4()), sender=SCHOOL, receiver=MBO, created=now)
    first = exchange.signed(content, message_id, PROEF, receiver=MBO, created=now - timedelta(seconds=60))
    again = exchange.signed(content, message_id, PROEF, receiver=MBO, created=now)
    receipts = [receipt_of(ask(exchange, raw)) for raw in (first, first, again)]
    assert receipts[0] == receipts[1] == receipts[2]


def test_many_at_once_over_kept_connections_are_each_stored_once(exchange: Exchange) -> None:
    async def act() -> list[dict[str, str]]:
        async with client(exchange) as session:
            gate = asyncio.Semaphore(12)

            async def one() -> Answer:
                async with gate:
                    return await post(session, exchange.proef(s.message_id()))

            return [receipt_of(answer) for answer in await asyncio.gather(*(one() for _ in range(60)))]

    references = {receipt["referentie"] for receipt in exchange.run(act())}
    assert len(references) == 60
    assert len(exchange.rows(f"SELECT 1 FROM message WHERE reference IN ({', '.join(repr(one) for one in references)})")) == 60


def test_a_refused_message_is_told_why_in_a_signed_fault_and_stands_in_the_journal(exchange: Exchange) -> None:
    message_id = s.message_id()
    raw = exchange.proef(message_id).replace(b"ontvangendeInstantie>0", b"ontvangendeInstantie>1")
    answer = ask(exchange, raw)
    code, text = fault_of(answer)
    assert code == "Client.EK0031"
    assert text.startswith("Ondertekening ontbreekt of is onjuist: Body changed after signing")
    found = exchange.rows("SELECT reference, code, via FROM refusal WHERE message_id = :id", id=message_id)
    assert [(row["code"], row["via"]) for row in found] == [("Client.EK0031", "https")]
    assert re.search(r"\[referentie [0-9a-f-]{36}\]", text)
    assert verified(answer[2]).relates_to == ((soap.REPLY, message_id),)


def test_content_that_does_not_fit_is_explained_in_the_detail(exchange: Exchange) -> None:
    raw = exchange.signed(b'<proef xmlns="urn:x-backbone:proef:1"><bedrijfsdocument/></proef>', s.message_id(), PROEF, receiver=MBO)
    answer = ask(exchange, raw)
    code, _ = fault_of(answer)
    assert code == "Client.DK0004"
    assert b"identificatiecodeBedrijfsdocument" in etree.tostring(verified(answer[2]).content.find("detail"))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("given", "code"),
    [
        ({"SOAPAction": None}, "Client.DK0003"),
        ({"SOAPAction": '"urn:x-backbone:proef:1/other"'}, "Client.DK0003"),
        ({"SOAPAction": '""'}, None),
        ({"SOAPAction": PROEF}, None),
        ({"Content_Type": "text/xml"}, None),
        ({"Content_Type": "text/xml; charset=iso-8859-1"}, "Client.DK0009"),
        ({"Content_Type": "application/json"}, "Client.DK0009"),
        ({"Content_Type": "application/soap+xml; charset=utf-8"}, "VersionMismatch.DK0001"),
        ({"Content_Encoding": "br"}, "Client.DK0009"),
        ({"Content_Encoding": "gzip"}, "Client.NOT_XML"),
    ],
)
def test_the_headers_of_a_request_are_judged(exchange: Exchange, given: dict[str, str | None], code: str | None) -> None:
    answer = ask(exchange, exchange.proef(s.message_id()), headers=headers(**given))
    assert (receipt_of(answer)["ontvangstBevestiging"] if code is None else fault_of(answer)[0]) == (code or "J")


def test_a_packed_message_is_taken_and_one_that_unpacks_to_too_much_is_not(exchange: Exchange) -> None:
    packed = gzip.compress(exchange.proef(s.message_id()))
    assert receipt_of(ask(exchange, packed, headers=headers(Content_Encoding="gzip")))["ontvangstBevestiging"] == "J"
    bomb = gzip.compress(b" " * (64 << 20))
    assert fault_of(ask(exchange, bomb, headers=headers(Content_Encoding="gzip")))[0] == "Client.TOO_LARGE"
    assert fault_of(ask(exchange, packed[:-20], headers=headers(Content_Encoding="gzip")))[0] == "Client.NOT_XML"
    for more in (b"junk", gzip.compress(b"<more/>"), b"\0" * (https.LARGEST + 1)):
        assert fault_of(ask(exchange, packed + more, headers=headers(Content_Encoding="gzip")))[0] in ("Client.NOT_XML", "Client.TOO_LARGE")


def test_a_packed_body_that_goes_on_for_ever_without_unpacking_to_anything_is_cut_off(exchange: Exchange) -> None:
    async def nothing() -> AsyncIterator[bytes]:
        yield gzip.compress(b"")[:10]  # its header
        for _ in range(1_000):
            yield b"\0\0\0\xff\xff" * 10_000  # empty blocks

    answer = ask(exchange, nothing(), headers=headers(Content_Encoding="gzip"))
    assert fault_of(answer)[0] == "Client.TOO_LARGE"


def test_a_message_that_is_too_large_is_refused_for_good_and_one_in_pieces_is_taken(exchange: Exchange) -> None:
    async def pieces(raw: bytes) -> AsyncIterator[bytes]:
        for start_at in range(0, len(raw), 700):
            yield raw[start_at : start_at + 700]

    answer = ask(exchange, b" " * (https.LARGEST + 1))
    assert fault_of(answer)[0] == "Client.TOO_LARGE"
    assert "Retry-After" not in answer[1]
    assert receipt_of(ask(exchange, pieces(exchange.proef(s.message_id()))))["ontvangstBevestiging"] == "J"


@pytest.mark.parametrize("path", ["/wus/proef/2", "/wus/vva/1"])
def test_a_message_at_another_dienst_is_refused(exchange: Exchange, path: str) -> None:
    assert fault_of(ask(exchange, exchange.proef(s.message_id()), path))[0] == "Client.UNKNOWN_DIENST"


@pytest.mark.parametrize("path", ["/", "/wus", "/wus/proef", "/elsewhere"])
def test_another_path_does_not_exist(exchange: Exchange, path: str) -> None:
    assert ask(exchange, exchange.proef(s.message_id()), path)[0] == 404


# -- who connects ------------------------------------------------------------------------------------------------------------------------


def test_without_a_certificate_a_message_is_refused_with_ek0030(exchange: Exchange) -> None:
    async def act() -> Answer:
        async with without_certificate(exchange) as session:
            return await post(session, exchange.proef(s.message_id()))

    status, _, body = exchange.run(act())
    assert status == 500
    assert b"<faultcode>soapenv:Client.EK0030</faultcode>" in body


def test_a_system_that_is_not_in_the_register_is_refused_with_dk0002(exchange: Exchange) -> None:
    stranger = s.party("stranger", oin="00000003000000990000")
    assert fault_of(ask(exchange, exchange.proef(s.message_id()), party=stranger))[0] == "Client.DK0002"


def test_a_system_that_is_in_the_register_for_amqp_only_is_refused_with_dk0002(exchange: Exchange) -> None:
    civic = s.party("civic", oin="00000003272448370000")
    code, text = fault_of(ask(exchange, exchange.proef(s.message_id()), party=civic))
    assert code == "Client.DK0002"
    assert "channel https" in text


def test_a_message_that_another_system_signed_is_refused_with_dk0002_and_it_is_the_suppliers_turn(exchange: Exchange) -> None:
    other, message_id = s.party("sis", oin=SIS), s.message_id()
    assert fault_of(ask(exchange, exchange.proef(message_id), party=other))[0] == "Client.DK0002"
    assert exchange.rows("SELECT owner FROM refusal WHERE message_id = :id", id=message_id) == [{"owner": "supplier"}]
    status = f"/rest/status?message-id={message_id}"

    async def look() -> dict[str, Any]:
        async with client(exchange, other) as session, session.get(status) as answer:
            return dict((await answer.json())["messages"][0])

    said = exchange.run(look())
    assert (said["code"], said["owner"]) == ("Client.DK0002", "supplier")
    assert "hand in what your own system signed" in said["remedy_en"]
    assert "mandate" not in said["remedy_en"]


def test_without_a_mandate_a_message_is_refused_with_dk0002(exchange: Exchange) -> None:
    raw = exchange.signed(b"<x/>", s.message_id(), GANGER, signer=s.signer("sis", oin=SIS))
    answer = ask(exchange, raw, "/wus/vva/1", party=s.party("sis", oin=SIS), headers=headers(GANGER))
    assert fault_of(answer)[0] == "Client.DK0002"


def test_a_revoked_certificate_is_refused_with_ek0030(exchange: Exchange) -> None:
    revoked = s.party("revoked", oin=LAS, revoked=True)

    async def act() -> Answer:
        from adapters.crls import CrlFetcher

        await CrlFetcher.of(exchange.settings, exchange.store.registry).fetch_all()
        await exchange.stop_workers("gateway")
        await start(exchange)
        async with client(exchange, revoked) as session:
            return await post(session, exchange.proef(s.message_id()))

    status, _, body = exchange.run(act())
    assert status == 500
    assert b"<faultcode>soapenv:Client.EK0030</faultcode>" in body
    assert b"revoked" in body


@pytest.mark.parametrize("party", ["expired", "not yet valid"])
def test_a_certificate_outside_its_days_is_refused_with_ek0030_and_the_day(exchange: Exchange, party: str) -> None:
    start_at = datetime.now(UTC) + timedelta(days=30)
    files = s.party("old", oin=LAS, days=-1) if party == "expired" else pki.issue(s.folder(), oin=LAS, name="new", now=start_at)
    found = pki.read_certificate(files.certificate)
    expired = party == "expired"
    day = found.not_valid_after_utc if expired else found.not_valid_before_utc
    status, _, body = ask(exchange, exchange.proef(s.message_id()), party=files)
    assert status == 500
    text = soap.parse(body).findtext(f"{soap.BODY}/{{{soap.SOAP}}}Fault/faultstring") or ""
    assert b"<faultcode>soapenv:Client.EK0030</faultcode>" in body
    assert f"the client certificate or a CA above it {'expired on' if expired else 'is not valid before'} {day:%Y-%m-%d %H:%M} UTC" in text


def test_under_a_ca_that_has_expired_a_client_comes_through_tls_and_is_refused_by_who_judges_certificates(tmp_path: Path) -> None:
    pki.init(tmp_path, now=datetime.now(UTC) - timedelta(days=4_000))
    files = pki.issue(tmp_path, oin=LAS, name="las")
    ours = s.party("hub", oin=HUB)
    environment = {"KOPPELPUNT_KEY": ours.key, "KOPPELPUNT_CERT": ours.certificate, "KOPPELPUNT_TRUST": tmp_path / "ca.pem"}
    context = https.context_of(Settings.from_environment({name: str(file) for name, file in environment.items()}))
    there, back = ssl.MemoryBIO(), ssl.MemoryBIO()
    server, sender = (
        context.wrap_bio(there, back, server_side=True),
        client_context(files).wrap_bio(back, there, server_hostname="localhost"),
    )
    for side in (sender, server, sender, server):
        with contextlib.suppress(ssl.SSLWantReadError):
            side.do_handshake()
    der = server.getpeercert(binary_form=True)
    assert der
    with pytest.raises(NotAllowed, match="a CA above it expired on"):
        TrustStore.from_files([tmp_path / "ca.pem"]).check(der, at=datetime.now(UTC))


@pytest.mark.parametrize("party", ["foreign", "self-signed"])
def test_a_certificate_of_nobody_we_trust_ends_the_handshake_the_log_says_why_and_the_next_request_is_served(
    exchange: Exchange, party: str, caplog: pytest.LogCaptureFixture
) -> None:
    elsewhere = Path(mkdtemp())
    pki.init(elsewhere)
    files = pki.issue(elsewhere, oin=LAS, name="las")
    if party == "self-signed":
        files = pki.Party(key=elsewhere / "root.key", certificate=elsewhere / "root.crt")
    with caplog.at_level("WARNING", "koppelpunt.access"), pytest.raises(aiohttp.ClientError):
        ask(exchange, exchange.proef(s.message_id()), party=files)
    refused = [record for record in caplog.records if record.message == "tls_refused"]
    assert len(refused) == 1
    assert "certificate" in refused[0].__dict__["reason"]
    assert ask(exchange, exchange.proef(s.message_id()))[0] == 200


def test_tls_1_1_is_not_spoken_and_1_2_is_with_forward_secrecy_only(exchange: Exchange) -> None:
    async def act() -> Answer:
        async with client(exchange, maximum_version=ssl.TLSVersion.TLSv1_2) as session:
            return await post(session, exchange.proef(s.message_id()))

    assert exchange.run(act())[0] == 200
    context = client_context(s.party(), maximum_version=ssl.TLSVersion.TLSv1_2)
    context.set_ciphers("AES256-GCM-SHA384:AES128-SHA")  # without forward secrecy

    async def weak() -> None:
        await asyncio.open_connection("localhost", exchange.settings.gateway_port, ssl=context)

    with pytest.raises((ssl.SSLError, ConnectionError)):
        exchange.run(weak())


def test_more_requests_at_a_time_than_a_system_may_have_are_asked_to_come_again(
    exchange: Exchange, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(https, "AT_A_TIME", 1)
    monkeypatch.setattr(https, "SCHOOLS_FOR_ONE_MORE", 1_000)
    free = asyncio.Event()

    async def slowly(raw: bytes) -> AsyncIterator[bytes]:
        yield raw[:100]
        await free.wait()
        yield raw[100:]

    async def act() -> tuple[Answer, Answer]:
        async with client(exchange) as session:
            first = asyncio.create_task(post(session, slowly(exchange.proef(s.message_id()))))
            await asyncio.sleep(0.5)
            second = await post(session, exchange.proef(s.message_id()))
            free.set()
            return await first, second

    first, second = exchange.run(act())
    assert receipt_of(first)["ontvangstBevestiging"] == "J"
    assert fault_of(second)[0] == "Server.DK0051"
    assert second[1]["Retry-After"] == str(problem.COME_AGAIN_S)


def test_a_body_that_comes_too_slowly_is_given_up(exchange: Exchange, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(https, "READ_S", 0.3)

    async def never(raw: bytes) -> AsyncIterator[bytes]:
        yield raw[:100]
        await asyncio.sleep(5)
        yield raw[100:]

    answer = ask(exchange, never(exchange.proef(s.message_id())))
    assert fault_of(answer)[0] == "Server.DK0051"


async def raw_exchange(exchange: Exchange, sent: bytes, *, within_s: float = 10.0) -> bytes:
    """What comes back for bytes that need not be HTTP, until the gateway hangs up."""
    port = exchange.settings.gateway_port
    reader, writer = await asyncio.open_connection("localhost", port, ssl=client_context(s.party()))
    try:
        writer.write(sent)
        async with asyncio.timeout(within_s):
            return await reader.read()
    finally:
        writer.close()


def test_a_connection_on_which_no_request_comes_is_closed(exchange: Exchange, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(https, "READ_S", 0.4)

    async def act() -> list[bytes]:
        await exchange.stop_workers("gateway")
        await start(exchange)
        return [await raw_exchange(exchange, sent) for sent in (b"", b"POST /wus/proef/1 HTTP/1.1\r\nHost: x\r\nX-Slow: ")]

    assert exchange.run(act()) == [b"", b""]
    assert ask(exchange, exchange.proef(s.message_id()))[0] == 200


@pytest.mark.parametrize(
    "sent",
    [
        b"\x16\x03\x01 not HTTP\r\n\r\n",
        b"POST /wus/proef/1 HTTP/1.1\r\nHost: x\r\nX: " + b"x" * 20_000 + b"\r\n\r\n",
        b"POST /wus/proef/1 HTTP/1.1\r\nHost: x\r\nContent-Length: abc\r\n\r\n",
        b"POST /wus/proef/1 HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    ],
)
def test_what_is_not_http_gets_a_400_and_the_next_request_is_served(
    exchange: Exchange, sent: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    answer = exchange.run(raw_exchange(exchange, sent))
    assert answer.startswith((b"HTTP/1.1 400 ", b"HTTP/1.0 400 "))
    assert "Traceback" not in caplog.text
    assert ask(exchange, exchange.proef(s.message_id()))[0] == 200


def test_a_chunked_body_that_is_not_chunked_is_refused(exchange: Exchange) -> None:
    head = f'POST /wus/proef/1 HTTP/1.1\r\nHost: x\r\nContent-Type: text/xml\r\nSOAPAction: "{PROEF}"\r\nTransfer-Encoding: chunked\r\n\r\n'
    answer = exchange.run(raw_exchange(exchange, head.encode() + b"zz\r\nnonsense\r\n"))
    assert b" 400 " in answer.split(b"\r\n")[0] or b"Client.NOT_XML" in answer
    assert ask(exchange, exchange.proef(s.message_id()))[0] == 200


# -- the WSDL ----------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dienst", ["vva", "proef"])
def test_the_wsdl_and_every_xsd_it_names_can_be_fetched_without_a_certificate_as_the_documentation_says(
    exchange: Exchange, dienst: str
) -> None:
    assert "`https://HOST:8443/wus/proef/1?wsdl` (no client certificate is needed)" in CONNECTING

    async def act() -> tuple[str, dict[str, int]]:
        async with without_certificate(exchange) as session:
            async with session.get(f"/wus/{dienst}/1?wsdl") as answer:
                text = await answer.text()
            found = {}
            for name in re.findall(r'schemaLocation="[^"]*\?xsd=([^"]+)"', text):
                async with session.get(f"/wus/{dienst}/1?xsd={name}") as answer:
                    etree.fromstring(await answer.read())
                    found[name] = answer.status
            async with session.get(f"/wus/{dienst}/1?xsd=../../etc/passwd") as answer:
                found["elsewhere"] = answer.status
            return text, found

    text, found = exchange.run(act())
    assert found == {f"{dienst}.xsd": 200, "ontvangst.xsd": 200, "elsewhere": 404}
    assert f'location="https://localhost:{exchange.settings.gateway_port}/wus/{dienst}/1"' in text


# -- stopping ----------------------------------------------------------------------------------------------------------------------------


def test_a_gateway_whose_port_is_taken_says_so_and_listens_when_it_is_free(
    exchange: Exchange, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(gateway, "LISTEN_AGAIN_S", 0.2)

    async def act() -> None:
        await exchange.stop_workers("gateway")
        with socket.socket() as other:
            other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            other.bind(("127.0.0.1", exchange.settings.gateway_port))
            other.listen()
            exchange.start_worker("gateway")
            await until(lambda: "gateway_cannot_listen" in caplog.text)
        async with client(exchange) as session:
            await until(lambda: "gateway_listens" in caplog.text)
            assert receipt_of(await post(session, exchange.proef(s.message_id())))["ontvangstBevestiging"] == "J"

    with caplog.at_level("INFO", logger="koppelpunt.gateway"):
        exchange.run(act())


def test_a_gateway_that_is_told_to_stop_takes_in_what_is_still_coming(exchange: Exchange) -> None:
    async def slowly(raw: bytes) -> AsyncIterator[bytes]:
        yield raw[:100]
        await asyncio.sleep(1.0)
        yield raw[100:]

    async def act() -> Answer:
        async with client(exchange) as session:
            asked = asyncio.create_task(post(session, slowly(exchange.proef(s.message_id()))))
            await asyncio.sleep(0.5)
            await exchange.stop_workers("gateway")
            answer = await asked
        await start(exchange)
        return answer

    assert receipt_of(exchange.run(act()))["ontvangstBevestiging"] == "J"


def test_while_the_store_is_away_for_a_moment_a_sender_waits_and_then_gets_its_receipt(exchange: Exchange) -> None:
    async def act() -> Answer:
        async with client(exchange) as session:
            assert (await post(session, exchange.proef(s.message_id())))[0] == 200
            path = str(exchange.store.database.url.database)
            held = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
            held.execute("BEGIN IMMEDIATE")
            asked = asyncio.create_task(post(session, exchange.proef(s.message_id())))
            await asyncio.sleep(1.5)
            assert not asked.done()
            held.execute("ROLLBACK")
            return await asked

    assert receipt_of(exchange.run(act()))["ontvangstBevestiging"] == "J"


def test_a_look_at_a_store_that_does_not_answer_holds_up_nobody_until_the_register_is_too_old(
    exchange: Exchange, monkeypatch: pytest.MonkeyPatch
) -> None:
    looking, away = threading.Event(), threading.Event()
    newest = RegisterCache.newest

    def waits(self: RegisterCache) -> Register:
        looking.set()
        away.wait(30)
        return newest(self)

    async def act() -> list[Answer]:
        async with client(exchange) as session:
            assert (await post(session, exchange.proef(s.message_id())))[0] == 200
            monkeypatch.setattr(RegisterCache, "newest", waits)
            await until(looking.is_set)
            answers = [await post(session, exchange.proef(s.message_id()))]
            monkeypatch.setattr(gateway, "PATIENCE_S", 0.0)
            answers.append(await post(session, exchange.proef(s.message_id())))
            monkeypatch.undo()
            away.set()
            await asyncio.sleep(0)
            answers.append(await post(session, exchange.proef(s.message_id())))
            return answers

    first, second, third = exchange.run(act())
    assert receipt_of(first)["ontvangstBevestiging"] == "J"
    assert fault_of(second)[0] == "Server.DK0051"
    assert receipt_of(third)["ontvangstBevestiging"] == "J"


def test_a_register_that_must_be_read_and_cannot_is_our_failure_and_the_message_may_come_again(
    exchange: Exchange, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its version can be read, and the mandates of a school that nobody asked for yet cannot."""
    mandates = [*DOCUMENT["mandates"], {"organisation": SCHOOL, "dienst": "proef", "system": SIS, "until": "2026-01-31"}]
    current, seen = gateway.Gateway._current, []
    monkeypatch.setattr(gateway.Gateway, "_current", lambda self: seen.append(self) or current(self))

    def rename(before: str, after: str) -> None:
        with exchange.store.database.write() as tx:
            tx.execute(text(f"ALTER TABLE {before} RENAME TO {after}"))

    async def act() -> tuple[str, str]:
        async with client(exchange) as session, asyncio.timeout(30):
            receipt_of(await post(session, exchange.proef(s.message_id())))
            version = exchange.store.register.save({**DOCUMENT, "mandates": mandates}, who="test", why="", now_us=exchange.clock.now_us())
            while seen[0]._last.register.version != version:
                await asyncio.sleep(0.05)
            rename("register_row", "away")
            try:
                failed = await post(session, exchange.proef("urn:uuid:0d9f9a52-7c4f-4b0e-8f0a-3a0f6f0c1a11"))
            finally:
                rename("away", "register_row")
            again = await post(session, exchange.proef("urn:uuid:0d9f9a52-7c4f-4b0e-8f0a-3a0f6f0c1a11"))
            return fault_of(failed)[0], receipt_of(again)["ontvangstBevestiging"]

    assert exchange.run(act()) == ("Server.DK0051", "J")


def test_a_change_of_the_register_is_followed(exchange: Exchange) -> None:
    without = {**DOCUMENT, "systems": [system for system in DOCUMENT["systems"] if system["oin"] != LAS]}
    without["mandates"] = [one for one in DOCUMENT["mandates"] if one["system"] != LAS]
    without["endpoints"] = [one for one in DOCUMENT["endpoints"] if one["system"] != LAS]

    async def act() -> str:
        async with client(exchange) as session, asyncio.timeout(30):
            exchange.store.registry.save_register(without, who="test", now_us=exchange.clock.now_us())
            while (answer := await post(session, exchange.proef(s.message_id())))[0] == 200:
                await asyncio.sleep(0.1)
            exchange.store.registry.save_register(DOCUMENT, who="test", now_us=exchange.clock.now_us())
            while (await post(session, exchange.proef(s.message_id())))[0] != 200:
                await asyncio.sleep(0.1)
            return fault_of(answer)[0]

    assert exchange.run(act()) == "Client.DK0002"


def test_a_gateway_that_is_told_to_stop_answers_what_it_has_in_hand(exchange: Exchange) -> None:
    async def act() -> list[Answer]:
        async with client(exchange) as session:
            asked = [asyncio.create_task(post(session, exchange.proef(s.message_id()))) for _ in range(10)]
            await asyncio.sleep(0.1)
            await exchange.stop_workers("gateway")
            answers = await asyncio.gather(*asked)
        await start(exchange)
        return answers

    assert {receipt_of(answer)["ontvangstBevestiging"] for answer in exchange.run(act())} == {"J"}


# -- by hand -----------------------------------------------------------------------------------------------------------------------------


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not on this machine")
def test_the_curl_command_of_the_documentation_hands_in_a_message(exchange: Exchange, tmp_path: Path) -> None:
    found = re.search(r"```sh\n(curl [^`]+?/wus/proef/1)\n```", CONNECTING)
    assert found is not None
    party = s.party()
    shutil.copy(party.certificate, tmp_path / "mine.crt")
    shutil.copy(party.key, tmp_path / "mine.key")
    shutil.copy(s.folder() / "ca.pem", tmp_path)
    (tmp_path / "signed.xml").write_bytes(exchange.proef(s.message_id()))
    command = (
        found.group(1).replace("HOST:8443", f"localhost:{exchange.settings.gateway_port}").replace("curl ", "curl -q --silent --fail ")
    )

    def act() -> subprocess.CompletedProcess[bytes]:
        return subprocess.run(["sh", "-c", command], cwd=tmp_path, capture_output=True, timeout=30, check=False)

    done = exchange.run(asyncio.to_thread(act))
    assert done.returncode == 0, done.stderr
    assert receipt_of((200, {}, done.stdout))["ontvangstBevestiging"] == "J"


# -- run.py send -------------------------------------------------------------------------------------------------------------------------


def test_send_hands_in_at_a_gateway_and_prints_the_receipt_that_it_verified(
    exchange: Exchange, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    good = tmp_path / "good.xml"
    good.write_bytes(exchange.proef(s.message_id()))
    party, url = s.party(), f"https://localhost:{exchange.settings.gateway_port}/wus/proef/1"
    monkeypatch.setenv("KOPPELPUNT_TRUST", str(s.folder() / "ca.pem"))
    arguments = ["send", str(good), "--to", url, "--cert", str(party.certificate), "--key", str(party.key), "--json"]

    def send(*given: str) -> int:
        return exchange.run(asyncio.to_thread(run.main, [*arguments, *given]))

    assert send("--home", str(exchange.home)) == 0
    said = json.loads(capsys.readouterr().out)
    assert (said["accepted"], said["warnings"]) == (True, [])
    assert exchange.rows("SELECT via FROM message WHERE reference = :r", r=said["reference"]) == [{"via": "https"}]
    elsewhere = url.replace("localhost", "127.0.0.1")  # not what the gateway's certificate says
    assert send("--wait", "5", "--home", str(exchange.home), "--to", elsewhere) != 0
    assert json.loads(capsys.readouterr().out)["accepted"] is None

    old = s.party("old", oin=LAS, days=-1)
    assert send("--home", str(exchange.home), "--cert", str(old.certificate), "--key", str(old.key)) != 0
    day = pki.read_certificate(old.certificate).not_valid_after_utc
    assert f"{old.certificate} expired on {day:%Y-%m-%d %H:%M} UTC" in capsys.readouterr().err

    pki.init(tmp_path / "pki")
    foreign = pki.issue(tmp_path / "pki", oin=LAS, name="las")
    assert send("--home", str(exchange.home), "--cert", str(foreign.certificate), "--key", str(foreign.key)) != 0
    assert "may not trust the CA of your certificate" in json.loads(capsys.readouterr().out)["reason"]


def test_an_answer_that_another_party_signed_is_not_taken_for_a_receipt(exchange: Exchange) -> None:
    """`send` reads it as a supplier should: signed by whom it says it is from, about this message, confirming its signature."""
    raw = exchange.proef(s.message_id())
    status, _, body = ask(exchange, raw)
    verifier = s.verifier(verify_policy.VerifyPolicy())
    mine, other = (verifier.verify(one, at=datetime.now(UTC)) for one in (raw, exchange.proef(s.message_id())))
    assert _read_answer(body, status, mine, verifier)["accepted"] is True
    assert _read_answer(body, 500, mine, verifier)["accepted"] is None
    assert _read_answer(body, status, other, verifier)["accepted"] is None
    forged = answers.Answers(s.signer("sis", oin=SIS), HUB).receipt(
        answers.Request.of(mine), reference="r", received_at=datetime.now(UTC), warnings=()
    )
    assert _read_answer(forged, 200, mine, verifier)["accepted"] is None
