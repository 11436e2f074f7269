"""What a careless or hostile client may send to the gateway. Whatever it is: an answer that says so or a closed connection, and the next
request is answered as if nothing had happened."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import re
import socket
import ssl
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from tempfile import mkdtemp

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.x509.oid import NameOID

from adapters import https, pki
from adapters.crls import CrlFetcher
from tests.integration.test_connections import resident_kb
from tests.integration.test_gateway import ask, client, client_context, headers, post, receipt_of, start
from tests.support import signing as s
from tests.support.exchange import LAS, PROEF, Exchange

pytestmark = pytest.mark.broker


@pytest.fixture(scope="module")
def exchange() -> Iterator[Exchange]:
    revoked()  # so that the CRL has it
    with Exchange() as made:
        made.run(CrlFetcher.of(made.settings, made.store.registry).fetch_all())
        made.run(start(made))
        yield made


async def spoken(exchange: Exchange, sent: bytes, context: ssl.SSLContext, within_s: float = 15.0) -> bytes:
    """All that comes back for these bytes, until the gateway hangs up or, when it has answered, says no more for a moment."""
    said = b""
    try:
        reader, writer = await asyncio.open_connection("localhost", exchange.settings.gateway_port, ssl=context)
    except (ssl.SSLError, OSError):
        return b"(no TLS)"
    with contextlib.suppress(ssl.SSLError, OSError):
        writer.write(sent)
        wait = within_s
        while part := await asyncio.wait_for(reader.read(1 << 20), wait):
            said += part
            wait = 0.3 if b"HTTP/1." in said else within_s
    writer.transport.abort()
    return said or b"(closed)"


def request(body: bytes, *more: str, line: str = "POST /wus/proef/1 HTTP/1.1", length: bool = True) -> bytes:
    """A hand-in, byte for byte."""
    fields = ["Host: localhost", "Content-Type: text/xml; charset=utf-8", f'SOAPAction: "{PROEF}"', *more]
    if length:
        fields.append(f"Content-Length: {len(body)}")
    return "\r\n".join([line, *fields, "", ""]).encode() + body


def chunked(body: bytes, size: int = 60_000) -> bytes:
    """In pieces."""
    pieces = [body[at : at + size] for at in range(0, len(body), size)]
    return b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"


@dataclass(frozen=True)
class Case:
    """What is sent, and how each answer to it begins, or holds after its first line."""

    sent: Callable[[bytes], bytes]  #: from a good message
    answers: tuple[str, ...]  #: patterns, one for each answer


RECEIPT, FAULT_400, CLOSED, TOO_LARGE = "200 .*ontvangstBevestiging>J<", "400 ", r"\(closed\)", "500 .*Client.TOO_LARGE"
NOT_WHOLE = "(400 |500 .*Client.NOT_XML)"
SMUGGLED = b"GET /wus/proef/1?wsdl HTTP/1.1\r\nHost: localhost\r\n\r\n"
CHUNKED = "Transfer-Encoding: chunked"

CASES = {
    "too much, in pieces": Case(lambda _: request(chunked(b" " * (https.LARGEST + 1)), CHUNKED, length=False), (TOO_LARGE,)),
    "too much, announced": Case(lambda _: request(b" " * https.LARGEST * 2, "Content-Length: 99999999", length=False), (TOO_LARGE,)),
    "a good one, in pieces": Case(lambda good: request(chunked(good, 99), CHUNKED, length=False), (RECEIPT,)),
    "asks before it sends": Case(lambda good: request(good, "Expect: 100-continue"), ("100 Continue", RECEIPT)),
    "expects something else": Case(lambda good: request(good, "Expect: 200-ok"), ("417 ",)),
    "one behind the other": Case(lambda good: request(good) + request(good), (RECEIPT, RECEIPT)),
    "a bad one before a good one": Case(lambda good: request(b"<x>") + request(good), ("500 .*Client.NOT_XML", RECEIPT)),
    "length and pieces": Case(lambda good: request(chunked(good) + SMUGGLED, CHUNKED), (FAULT_400,)),
    "pieces and length": Case(lambda good: request(SMUGGLED, "Content-Length: 4", CHUNKED, length=False), (FAULT_400,)),
    "two lengths": Case(lambda good: request(good + SMUGGLED, f"Content-Length: {len(good)}"), (FAULT_400,)),
    "one length twice": Case(lambda good: request(good, f"Content-Length: {len(good)}"), (FAULT_400,)),
    "a list of lengths": Case(lambda good: request(good, f"Content-Length: {len(good)}, {len(good)}", length=False), (FAULT_400,)),
    "a length with a sign": Case(lambda good: request(good, f"Content-Length: +{len(good)}", length=False), (FAULT_400,)),
    "a negative length": Case(lambda good: request(good, "Content-Length: -1", length=False), (FAULT_400,)),
    "a length in hexadecimal": Case(lambda good: request(good, f"Content-Length: {len(good):#x}", length=False), (FAULT_400,)),
    "pieces twice": Case(lambda good: request(chunked(good), CHUNKED, CHUNKED, length=False), (FAULT_400,)),
    "pieces of a kind unknown": Case(lambda good: request(chunked(good), "Transfer-Encoding: xchunked", length=False), (FAULT_400,)),
    "pieces that are not last": Case(lambda good: request(chunked(good), "Transfer-Encoding: chunked, gzip", length=False), (FAULT_400,)),
    "a space before the colon": Case(lambda good: request(good, f"Content-Length : {len(good)}", length=False), (FAULT_400,)),
    "a header on two lines": Case(lambda good: request(good, "X-Fold: a\r\n b"), (FAULT_400,)),
    "a null in a header": Case(lambda good: request(good, "X-Null: a\0b"), (FAULT_400,)),
    "a piece with a wrong length": Case(lambda good: request(b"-5\r\nhello\r\n0\r\n\r\n", CHUNKED, length=False), (NOT_WHOLE,)),
    "a header too large": Case(lambda good: request(good, "X-Large: " + "x" * 20_000), (FAULT_400,)),
    "headers without end": Case(lambda good: request(good, *(f"X-{number}: {'x' * 1_000}" for number in range(3_000))), (FAULT_400,)),
    "a path too large": Case(lambda good: request(good, line=f"POST /{'x' * 20_000} HTTP/1.1"), (FAULT_400,)),
    "HTTP/1.0": Case(lambda good: request(good, line="POST /wus/proef/1 HTTP/1.0"), (RECEIPT,)),
    "HTTP/2": Case(lambda _: b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", (FAULT_400,)),
    "HTTP/9.9": Case(lambda good: request(good, line="POST /wus/proef/1 HTTP/9.9"), (FAULT_400,)),
    "an absolute address": Case(lambda good: request(good, line="POST https://localhost/wus/proef/1 HTTP/1.1"), (RECEIPT,)),
    "another's address": Case(lambda good: request(good, line="POST http://elsewhere.example/wus/proef/1 HTTP/1.1"), (RECEIPT,)),
    "PUT": Case(lambda good: request(good, line="PUT /wus/proef/1 HTTP/1.1"), ("405 ",)),
    "DELETE": Case(lambda good: request(good, line="DELETE /wus/proef/1 HTTP/1.1"), ("405 ",)),
    "TRACE": Case(lambda _: b"TRACE /wus/proef/1 HTTP/1.1\r\nHost: localhost\r\n\r\n", ("405 ",)),
    "CONNECT": Case(lambda _: b"CONNECT elsewhere.example:443 HTTP/1.1\r\nHost: elsewhere.example\r\n\r\n", ("(400|404|405) ",)),
    "a method unknown": Case(lambda good: request(good, line="HAND /wus/proef/1 HTTP/1.1"), ("(400|405) ",)),
    "TLS in TLS": Case(lambda _: b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", (FAULT_400,)),
    "a body that stops half-way": Case(lambda good: request(good)[:-100], ("500 .*Server.DK0051",)),
    "headers that stop half-way": Case(lambda good: request(good)[:60], (CLOSED,)),
    "nothing": Case(lambda _: b"", (CLOSED,)),
}  # fmt: skip


def answers_in(said: bytes) -> list[str]:
    """Each answer from its status on."""
    text = said.decode(errors="replace")
    return [part for part in re.split(r"HTTP/1\.[01] (?=\d{3} )", text) if part]


@pytest.mark.parametrize("name", CASES)
def test_whatever_is_sent_gets_its_answer_and_the_next_request_is_served(
    exchange: Exchange, name: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    case = CASES[name]
    if "half-way" in name or name == "nothing":
        monkeypatch.setattr(https, "READ_S", 0.5)
        exchange.run(again(exchange))
    said = exchange.run(spoken(exchange, case.sent(exchange.proef(s.message_id())), client_context(s.party())))
    answers = answers_in(said)
    assert len(answers) == len(case.answers), said[:600]
    for answer, expected in zip(answers, case.answers, strict=True):
        assert re.match(expected, answer, re.DOTALL), answer[:600]
    assert "Traceback" not in caplog.text
    assert "Traceback" not in said.decode(errors="replace")
    monkeypatch.undo()
    assert receipt_of(ask(exchange, exchange.proef(s.message_id())))["ontvangstBevestiging"] == "J"


async def again(exchange: Exchange) -> None:
    """The gateway, with limits as they are now."""
    await exchange.stop_workers("gateway")
    await start(exchange)


# -- certificates and TLS ----------------------------------------------------------------------------------------------------------------


def revoked() -> pki.Party:
    return s.party("revoked", oin=LAS, revoked=True)


@cache
def elsewhere() -> Path:
    """A PKI of somebody's own."""
    made = Path(mkdtemp())
    pki.init(made)
    return made


def self_signed() -> pki.Party:
    return pki.Party(key=elsewhere() / "root.key", certificate=elsewhere() / "root.crt")


def foreign() -> pki.Party:
    return pki.issue(elsewhere(), oin=LAS, name="las")


def with_subject(name: str, *more: x509.NameAttribute) -> pki.Party:
    """A certificate of our CA with more in its subject, or less."""
    folder, now = s.folder(), datetime.now(UTC)
    key = pki.read_key(s.party().key)
    issuer = pki.read_certificate(folder / "intermediate.crt")
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name), *more])
    builder = x509.CertificateBuilder().subject_name(subject).issuer_name(issuer.subject).public_key(key.public_key())
    builder = builder.serial_number(x509.random_serial_number())
    builder = builder.not_valid_before(now - timedelta(days=1)).not_valid_after(now + timedelta(days=30))
    builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
    file = folder / f"{name}.crt"
    made = builder.sign(pki.read_key(folder / "intermediate.key"), hashes.SHA256())
    file.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    return pki.Party(key=s.party().key, certificate=file)


def serial(value: str) -> x509.NameAttribute:
    return x509.NameAttribute(NameOID.SERIAL_NUMBER, value)


PARTIES: dict[str, tuple[Callable[[], pki.Party], str]] = {
    "two OINs": (lambda: with_subject("two", serial(LAS), serial("00000003272448360000")), "500 .*Client.EK0030"),
    "the same OIN twice": (lambda: with_subject("twice", serial(LAS), serial(LAS)), "500 .*Client.EK0030"),
    "no OIN": (lambda: with_subject("none"), "500 .*Client.EK0030"),
    "an OIN of 19": (lambda: with_subject("short", serial(LAS[:-1])), "500 .*Client.EK0030"),
    "revoked": (revoked, "500 .*Client.EK0030"),
    "expired": (lambda: s.party("old", oin=LAS, days=-1), "500 .*Client.EK0030.* expired on "),
    "foreign": (foreign, r"\((no TLS|closed)\)"),
    "self-signed": (self_signed, r"\((no TLS|closed)\)"),
}


@pytest.mark.parametrize("name", PARTIES)
def test_a_certificate_that_is_not_one_of_ours_for_one_party_takes_nothing_in_and_the_next_request_is_served(
    exchange: Exchange, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    make, expected = PARTIES[name]
    message_id = s.message_id()
    answers = answers_in(exchange.run(spoken(exchange, request(exchange.proef(message_id)), client_context(make()))))
    assert len(answers) == 1
    assert re.match(expected, answers[0], re.DOTALL), answers[0][:600]
    assert exchange.rows("SELECT 1 FROM message WHERE message_id = :id", id=message_id) == []
    assert "Traceback" not in caplog.text
    assert receipt_of(ask(exchange, exchange.proef(s.message_id())))["ontvangstBevestiging"] == "J"


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion:DeprecationWarning")
def test_tls_1_1_is_refused_and_the_next_request_is_served(exchange: Exchange) -> None:
    context = client_context(s.party())
    context.set_ciphers("ALL:@SECLEVEL=0")  # otherwise the client itself would not begin
    context.minimum_version = ssl.TLSVersion.TLSv1

    def begin(most: ssl.TLSVersion) -> str | None:
        context.maximum_version = most
        with socket.create_connection(("localhost", exchange.settings.gateway_port), timeout=10) as connection:
            return context.wrap_socket(connection, server_hostname="localhost").version()

    with pytest.raises((ssl.SSLError, ConnectionError)):
        exchange.run(asyncio.to_thread(begin, ssl.TLSVersion.TLSv1_1))
    assert exchange.run(asyncio.to_thread(begin, ssl.TLSVersion.TLSv1_2)) == "TLSv1.2"
    assert receipt_of(ask(exchange, exchange.proef(s.message_id())))["ontvangstBevestiging"] == "J"


# -- many ----------------------------------------------------------------------------------------------------------------------------------


def test_two_thousand_bad_requests_leave_nothing_behind_in_memory(exchange: Exchange) -> None:
    good = exchange.proef(s.message_id())
    bad = (b"", b"<x>", b"\xff\xfe", good[:-40], good.replace(b"</wsa:To>", b"1</wsa:To>"), good.replace(b"<wsa:Action", b"<wsa:Other"))
    kinds = ("too much, announced", "length and pieces", "two lengths", "a header too large", "HTTP/2", "PUT")

    async def many(count: int) -> int:
        context = client_context(s.party())
        for name in itertools.islice(itertools.cycle(kinds), count // 20):
            await spoken(exchange, CASES[name].sent(good), context)
        async with client(exchange) as session:
            left = iter(range(count - count // 20))

            async def one() -> None:
                for number in left:
                    status, _, _ = await post(session, bad[number % len(bad)], headers=headers())
                    assert status == 500

            await asyncio.gather(*(one() for _ in range(8)))
        return resident_kb()

    before = exchange.run(many(400))
    assert exchange.run(many(2_000), within_s=110) - before < 16_000
    assert receipt_of(ask(exchange, exchange.proef(s.message_id())))["ontvangstBevestiging"] == "J"
