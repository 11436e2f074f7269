"""What a running intake makes of bad input: a receipt that says what is wrong and where, and nothing else changes.

All of it is handed in at once, by one system, over a real broker, with good messages in between: so it also comes in one batch with them.
Every one holds an invented personal number, which may come out nowhere.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import signal
import string
import struct
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Final

import pika
import pytest

from adapters import soap
from adapters.home import amqp_urls
from adapters.parties import invented
from adapters.rabbit import BrokerRefused, Inspector, Published
from adapters.rabbit_admin import BrokerAdmin
from routing.ports import Incoming, Outgoing
from schemas.faults import Owner, kind_of
from tests.support import signing as s
from tests.support.broker import require_rabbitmq, until
from tests.support.content import ganger
from tests.support.exchange import CIVIC, CONTENT_TYPE, GANGER, HUB, LAS, MBO, PROEF, SCHOOL, SIS, UTRECHT, Exchange, said, today
from tests.support.tampering import ACCEPTED, TAMPERED, WRAPPED, WRONG, Change, E, W, header, moved, replace, signed_all_the_same
from workers.desk import AMQP_LIMIT

pytestmark = [pytest.mark.broker, pytest.mark.slow]

#: The personal number in what is handed in here.
PGN: Final = invented.bsn(0)
assert PGN.encode() in s.CONTENT


@dataclass(frozen=True, kw_only=True)
class Bad:
    """One hand-in and what its receipt must say."""

    body: bytes
    code: str
    says: str  #: a part of the reason, that tells what is wrong or where
    owner: Owner | None = None  #: whose turn it is, where that is not the code's own
    message_id: str | None = None  #: by which the sender recognises the receipt
    properties: dict[str, Any] = field(default_factory=dict)  #: of AMQP, other than usual


Make = Callable[[str], Bad]


def _wrong(name: str) -> Make:
    change, code, where = WRONG[name]
    return lambda id: Bad(body=signed_all_the_same(change, message=id), code=code, says=f"(at {where})")


def _tampered(name: str) -> Make:
    change, where = TAMPERED[name]

    def make(id: str) -> Bad:
        body = change(s.fast(message=id))
        if len(body) > AMQP_LIMIT:
            return Bad(body=body, code="Client.TOO_LARGE", says="larger messages come over HTTPS")
        return Bad(body=body, code=E, says=f"(at {where})")

    return make


def _moved(name: str) -> Make:
    tag, other = WRAPPED[name]
    return lambda id: Bad(body=moved(tag, other)(s.signed(message=id)), code=E, says=name)


def _raw(body: Callable[[bytes], bytes] | bytes, code: str, says: str, **properties: Any) -> Make:
    """Bytes of which nothing can be read; `body` may make them from a good message."""
    return lambda id: Bad(body=body if isinstance(body, bytes) else body(s.fast(message=id)), code=code, says=says, properties=properties)


def _signed(code: str, says: str, **how: Any) -> Make:
    """A message that is as it should be but for one thing."""
    return lambda id: Bad(body=s.signed(message=id, **how), code=code, says=says)


def _by(signer: Callable[[], Any], code: str, says: str) -> Make:
    return lambda id: Bad(body=s.signed(message=id, by=signer()), code=code, says=says, owner=Owner.SUPPLIER)


def _content(code: str, says: str, *, action: str = GANGER, **fields: Any) -> Make:
    """A mboGangerBericht, rightly signed, of which one value is wrong."""
    now = today()
    start = now.year if now.month >= 8 else now.year - 1
    right: dict[str, Any] = {
        "sender": "25BE",
        "brin": "25BE",
        "receiver": HUB,
        "created": now - timedelta(minutes=1),
        "peildatum": f"{now:%Y-%m-%d}",
        "schooljaar": f"{start}-{start + 1}",
        "geboortedatum": f"{now.year - 16}-03-04",
        "burgerservicenummer": PGN,
    }

    def make(id: str) -> Bad:
        content = ganger(**(right | {"business_id": str(uuid.uuid4())} | fields))
        return Bad(body=s.signed(message=id, content=content, action=action), code=code, says=says)

    return make


def _many_attributes(_: bytes) -> bytes:
    names = itertools.islice(itertools.product(string.ascii_lowercase, repeat=4), 100_000)
    return b"<a" + b"".join(b' %s=""' % "".join(name).encode() for name in names) + b"/>"


def _many_references(good: bytes) -> bytes:
    """As short as a Reference can be, so that ten thousand of them fit."""
    return good.replace(b"</ds:SignedInfo>", b"<ds:Reference/>" * 10_000 + b"</ds:SignedInfo>", 1)


_LAUGHS: Final = "".join(f'<!ENTITY l{n} "{f"&l{n - 1};" * 10}">' for n in range(1, 10))
_NUMBER: Final = PGN.encode()

BAD: Final[dict[str, Make]] = {
    # what cannot be read
    "not XML": _raw(b"Geachte heer, mevrouw, het nummer is " + _NUMBER, "Client.NOT_XML", "line 1"),
    "empty": _raw(b"", "Client.NOT_XML", "XML"),
    "spaces only": _raw(b" \n ", "Client.NOT_XML", "XML"),
    "not UTF-8": _raw(lambda good: good.replace(b"A-1", b"caf\xe9"), "Client.DK0009", "byte "),
    "UTF-16": _raw(lambda good: good.decode().encode("utf-16"), "Client.DK0009", "UTF-16"),
    "another encoding declared": _raw(lambda good: b'<?xml version="1.0" encoding="latin1"?>' + good, "Client.DK0009", "encoding"),
    "truncated": _raw(lambda good: good[: len(good) // 2], "Client.NOT_XML", "line 1, column"),
    "truncated in a number": _raw(lambda good: good[: good.index(_NUMBER) + 9], "Client.NOT_XML", "line 1, column"),
    "a DTD": _raw(lambda good: b'<!DOCTYPE a SYSTEM "https://x/a.dtd">' + good, "Client.NOT_XML", "DOCTYPE"),
    "an external entity": _raw(b'<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]><a>&x;</a>', "Client.NOT_XML", "DOCTYPE"),
    "billion laughs": _raw(f'<!DOCTYPE a [<!ENTITY l0 "{PGN}">{_LAUGHS}]><a>&l9;</a>'.encode(), "Client.NOT_XML", "DOCTYPE"),
    "an entity that nobody declared": _raw(lambda good: good.replace(b"A-1", b"&who;"), "Client.NOT_XML", "line 1, column"),
    "a processing instruction": _raw(lambda good: good.replace(b"A-1", b"<?x?>"), "Client.NOT_XML", "processing instruction"),
    "100,000 nested elements": _raw(b"<a>" * 100_000 + _NUMBER + b"</a>" * 100_000, "Client.NOT_XML", "too deeply"),
    "100,000 attributes": _raw(_many_attributes, "Client.NOT_XML", "attributes"),
    "100,000 elements": _raw(b"<s>" + b"<a/>" * 100_000 + b"</s>", "VersionMismatch.DK0001", "(at Envelope)"),
    "10,000 short references": _raw(_many_references, E, "(at SignedInfo)"),
    "over 1 MiB": _raw(lambda good: good.replace(b"A-1", b"A" * AMQP_LIMIT), "Client.TOO_LARGE", "1048576"),
    # the envelope and its signature
    **{name: _wrong(name) for name in WRONG},
    **{f"after signing: {name}": _tampered(name) for name in TAMPERED},
    **{f"moved: {name}": _moved(name) for name in WRAPPED},
    "a header named after a pupil": _signed(
        "Client.DK0010", "understand", change=header(f'<x:h{PGN} xmlns:x="urn:x" soapenv:mustUnderstand="1"/>')
    ),
    # who signed
    "certificate expired": _by(lambda: s.signer("expired", days=-5), E, "expired on"),
    "certificate revoked": _by(lambda: s.signer("revoked", revoked=True), E, "revoked on"),
    "certificate of a foreign CA": _by(s.foreign_signer, E, "not issued by a CA that we trust"),
    "certificate without OIN": _by(s.signer_without_oin, "Client.EK0030", "(at BinarySecurityToken)"),
    "signed by another system": _by(lambda: s.signer("sis", oin=SIS), "Client.DK0002", "hand in what you signed yourself"),
    # when
    "over 400 days old": _signed(E, "older than 400 days", created=s.NOW - timedelta(days=401)),
    "from the future": _signed(E, "in the future", created=s.NOW + timedelta(days=1)),
    # for whom, and what
    "for a school without mandate": _signed("Client.DK0002", "(at wsa:From)", sender=MBO, action=PROEF),
    "unknown dienst": _signed("UNKNOWN_DIENST", s.ACTION),
    "unknown version": _content("UNKNOWN_DIENST", "vva:2", action=GANGER.replace(":1/", ":2/")),
    "a number in the Action": _signed("UNKNOWN_DIENST", "(at wsa:Action)", action=f"urn:leerling:{PGN}"),
    "another message than the Action says": _signed("Client.DK0004", "wsa:Action says so", action=GANGER),
    "an element that does not exist": _content("Client.DK0004", "/mboGangerBericht", verwachting="MISSCHIEN"),
    "a personal number where a code belongs": _content("Client.DK0004", "/mboGangerBericht", gemeentecode=PGN),
    "a date that does not exist": _content("Client.DK0004", "/mboGangerBericht/geboortedatum", geboortedatum="2010-02-30"),
    "elfproef": _content("PGN_INVALID", "/mboGangerBericht/burgerservicenummer", burgerservicenummer=invented.wrong_number(PGN)),
    "another school's BRIN": _content("BRIN_NOT_SENDER", "/mboGangerBericht/brin", brin="04XY"),
    "a gemeentecode that does not exist": _content("GEMEENTECODE_UNKNOWN", "/mboGangerBericht/gemeentecode", gemeentecode="0000"),
    # AMQP itself
    "content_type of JSON": _raw(lambda good: good, "Client.DK0009", "(at AMQP content_type)", content_type="application/json"),
    "content_type of another charset": _raw(
        lambda good: good, "Client.DK0009", "(at AMQP content_type)", content_type="text/xml; charset=iso-8859-1"
    ),
}


class Answers:
    """What came of it all."""

    def __init__(self) -> None:
        self.bad: dict[str, Bad] = {}
        self.receipts: dict[str | None, list[dict[str, Any]]] = {}  #: by correlation_id
        self.raw: list[bytes] = []
        self.pids: tuple[dict[str, int], dict[str, int]] = ({}, {})
        self.mail: list[Incoming] = []

    def of(self, message_id: str | None) -> dict[str, Any]:
        """The one receipt."""
        (receipt,) = self.receipts[message_id]
        return receipt


@pytest.fixture(scope="module")
def exchange() -> Iterator[Exchange]:
    """Broker, store and workers, started once."""
    require_rabbitmq()
    for by in ({"name": "expired", "days": -5}, {"name": "revoked", "revoked": True}):
        s.signer(**by)  # type: ignore[arg-type] # before the workers read the CRL
    with Exchange(processes=("intake", "relay", "route", "deliver", "audit")) as exchange:
        yield exchange


async def receipts_for(exchange: Exchange, answers: Answers, ids: set[str | None], *, within_s: float = 30.0) -> None:
    """Takes receipts (not the outcomes) until all of these have come."""
    consumer = await exchange.consumer("receipt", LAS)
    async with asyncio.timeout(within_s):
        while not ids <= answers.receipts.keys():
            batch = await consumer.next_batch(500, 0.02, idle_s=0.5)
            for incoming in batch:
                answers.raw += [incoming.body, repr((incoming.correlation_id, incoming.message_id, incoming.headers)).encode()]
                if "accepted" in (receipt := said(incoming.body)):
                    answers.receipts.setdefault(incoming.correlation_id, []).append(receipt)
            consumer.ack(batch)


async def mail_for(exchange: Exchange, answers: Answers, ids: set[str]) -> None:
    """Takes what comes in the other school's mailbox, and confirms it."""
    consumer, publisher = await exchange.consumer("mailbox", SIS), await exchange.publisher(SIS)
    async with asyncio.timeout(20):
        while not ids <= {one.message_id for one in answers.mail}:
            batch = await consumer.next_batch(500, 0.02, idle_s=0.5)
            words = [json.dumps({"delivery_id": one.headers["delivery_id"], "outcome": "confirmed"}).encode() for one in batch]
            await publisher.publish_many([Outgoing(exchange="confirm", routing_key=SIS, body=word) for word in words])
            consumer.ack(batch)
            answers.mail += batch


@pytest.fixture(scope="module")
def answers(exchange: Exchange) -> Answers:
    """Everything bad handed in in one burst, a good message before every tenth; then one more good one."""
    found = Answers()

    async def act() -> None:
        before, good = exchange.supervisor.pids, [s.message_id() for _ in range(len(BAD) // 10 + 1)]
        outgoing: list[Outgoing] = []
        for number, (name, make) in enumerate(BAD.items()):
            if number % 10 == 0:
                outgoing.append(exchange.hand_in(exchange.proef(good[number // 10]), good[number // 10]))
            id = s.message_id()
            bad = make(id)
            found.bad[name] = Bad(**{**bad.__dict__, "message_id": id})
            outgoing.append(exchange.hand_in(bad.body, id, **bad.properties))
        las = await exchange.publisher(LAS)
        assert set(await las.publish_many(outgoing)) == {Published.CONFIRMED}
        await receipts_for(exchange, found, {*good, *(bad.message_id for bad in found.bad.values())})
        last = s.message_id()
        await las.publish(exchange.hand_in(exchange.proef(last), last))
        await receipts_for(exchange, found, {last})
        await mail_for(exchange, found, {*good, last})
        found.pids = before, exchange.supervisor.pids

    exchange.run(act())
    return found


@pytest.mark.parametrize("name", BAD)
def test_a_bad_hand_in_is_refused_with_its_own_code_and_a_reason_that_says_what_is_wrong(
    exchange: Exchange, answers: Answers, name: str
) -> None:
    bad = answers.bad[name]
    receipt = answers.of(bad.message_id)
    assert (receipt["accepted"], receipt["code"]) == (False, bad.code), receipt
    assert bad.says in receipt["reason"]
    assert receipt["reason"].startswith(f"{bad.code}: ")
    (failure,) = [row for row in exchange.store.queries.failures(limit=10_000) if row["reference"] == receipt["reference"]]
    assert (failure["code"], failure["owner"], failure["system"]) == (bad.code, bad.owner or kind_of(bad.code).owner, LAS)
    (event,) = [one for one in exchange.store.journal.of_message(receipt["reference"]) if one.kind == "refused"]
    assert (event.code, event.reason, event.message_id) == (bad.code, receipt["reason"], bad.message_id)


def test_good_messages_among_and_after_bad_ones_are_delivered_by_the_same_workers(answers: Answers) -> None:
    accepted = [id for id, receipts in answers.receipts.items() if receipts[0]["accepted"]]
    assert len(accepted) == len(BAD) // 10 + 2
    assert sorted(accepted) == sorted(str(one.message_id) for one in answers.mail)
    before, after = answers.pids
    assert before == after and len(after) == 5


def test_no_personal_number_comes_out_in_a_receipt_a_log_or_the_store(exchange: Exchange, answers: Answers) -> None:
    numbers = [PGN, invented.wrong_number(PGN)]
    assert all(any(number.encode() in bad.body for bad in answers.bad.values()) for number in numbers)
    said_by_us = {
        "receipts": b"\n".join(answers.raw),
        "worker log": exchange.log().encode(),
        "failures": json.dumps(exchange.store.queries.failures(limit=10_000)).encode(),
        "store": b"".join(file.read_bytes() for file in exchange.home.glob("koppelpunt.db*")),
    }
    for what, text in said_by_us.items():
        assert not [number for number in numbers if number.encode() in text], f"a personal number stands in: {what}"
    assert "Traceback" not in exchange.log(), exchange.log()[-3000:]


# ---- headers that are nobody's business ------------------------------------------------------------------------------------------------

ELSEWHERE: Final = f"<wsa:Address>{soap.address(UTRECHT)}</wsa:Address><wsa:To>{soap.address(UTRECHT)}</wsa:To>"
#: Signed with the rest, and never read: each names another party than the headers that count.
IGNORED: Final[dict[str, Change]] = {
    "another header": header(f'<x:From xmlns:x="urn:x">{soap.address(UTRECHT)}</x:From>'),
    "Metadata in From": replace("</wsa:Address>", f"</wsa:Address><wsa:Metadata>{ELSEWHERE}</wsa:Metadata>"),
    "ReferenceParameters in From": replace(
        "</wsa:Address>", f"</wsa:Address><wsa:ReferenceParameters>{ELSEWHERE}</wsa:ReferenceParameters>"
    ),
    "Metadata in ReplyTo": header(
        f"<wsa:ReplyTo {W}><wsa:Address>{soap.ANONYMOUS}</wsa:Address><wsa:Metadata>{ELSEWHERE}</wsa:Metadata></wsa:ReplyTo>"
    ),
    "ReferenceParameters in ReplyTo": header(
        f"<wsa:ReplyTo {W}><wsa:ReferenceParameters>{ELSEWHERE}</wsa:ReferenceParameters>"
        f"<wsa:Address>{soap.ANONYMOUS}</wsa:Address></wsa:ReplyTo>"
    ),
    **{name: change for name, change in ACCEPTED.items() if not any(word in name for word in ("Id attribute", "MessageID", "Timestamp"))},
}


def test_what_a_header_outside_the_profile_says_is_ignored_and_the_message_delivered(exchange: Exchange, answers: Answers) -> None:
    ids = {name: s.message_id() for name in IGNORED}

    async def act() -> None:
        las = await exchange.publisher(LAS)
        for name, change in IGNORED.items():
            content = invented.proef(business_id=str(uuid.uuid4()), sender=SCHOOL, receiver=MBO, created=exchange.clock.now())
            body = s.signed(change=change, message=ids[name], content=content, action=PROEF, receiver=MBO)
            await las.publish(exchange.hand_in(body, ids[name]))
        await receipts_for(exchange, answers, set(ids.values()))
        assert [name for name, id in ids.items() if not answers.of(id)["accepted"]] == [], answers.receipts
        await mail_for(exchange, answers, set(ids.values()))

    exchange.run(act())
    rows = exchange.rows("SELECT message_id, sender, system, receiver FROM message")
    found = {row["message_id"]: (row["sender"], row["system"], row["receiver"]) for row in rows}
    assert {found[id] for id in ids.values()} == {(SCHOOL, LAS, MBO)}


# ---- properties that only a program of its own can send --------------------------------------------------------------------------------


def _publish_raw(exchange: Exchange, body: bytes, properties: pika.BasicProperties, key: str = LAS, to: str = "intake") -> None:
    """As any AMQP library would, and not only ours."""
    with pika.BlockingConnection(pika.URLParameters(exchange.url(LAS))) as connection:
        channel = connection.channel()
        channel.confirm_delivery()
        channel.basic_publish(to, key, body, properties, mandatory=True)


NUL: Final = "a\0b"


#: A number that stands where the bytes of a value go that pika itself cannot send.
_MARK: Final = 0x0123456789ABCDEF


class RawProperties(pika.BasicProperties):
    """Properties whose header `x` is written as these bytes: AMQP's letter for the kind of value, and the value."""

    def __init__(self, *, value: bytes | None = None, **properties: Any) -> None:
        super().__init__(**properties, **({"headers": {"x": _MARK}} if value is not None else {}))
        self._value = value

    def encode(self) -> list[bytes]:
        """As pika writes them, but for that value."""
        pieces: list[bytes] = super().encode()
        if self._value is None:
            return pieces
        whole, mark = b"".join(pieces), b"l" + struct.pack(">q", _MARK)
        at = whole.index(mark)
        table = at - 6  # the table's length stands before the header's name, which is `x` and its length
        assert whole[at - 2 : at] == b"\x01x"
        length = struct.pack(">I", 2 + len(self._value))
        return [whole[:table], length, whole[at - 2 : at], self._value, whole[at + len(mark) :]]


def _nested(levels: int) -> bytes:
    value = b"V"
    for _ in range(levels):
        value = b"F" + struct.pack(">I", len(value) + 2) + b"\x01x" + value
    return value


#: Properties, and the code that must come of them; None: they are ignored and the message is accepted.
PROPERTIES: Final[dict[str, tuple[dict[str, Any], str | None]]] = {
    "none at all": ({}, "Client.DK0009"),
    "a content_encoding": ({"content_type": CONTENT_TYPE, "content_encoding": "gzip"}, "Client.DK0009"),
    "a content_type that is not UTF-8": ({"content_type": b"text/\xff"}, "Client.DK0009"),
    "a message_id that is not UTF-8": ({"message_id": b"\xff\xfe", "content_type": "x"}, "Client.DK0009"),
    "a message_id with a zero byte": ({"message_id": NUL, "content_type": "x"}, "Client.DK0009"),
    "a message_id that is a personal number": ({"message_id": f"leerling {PGN}", "content_type": "x"}, "Client.DK0009"),
    "a correlation_id that is a personal number": ({"correlation_id": PGN, "content_type": "x"}, "Client.DK0009"),
    "a reply_to of its own choice": ({"content_type": CONTENT_TYPE, "reply_to": f"mailbox.{SIS}"}, None),
    "a header with a time after the year 9999": ({"content_type": CONTENT_TYPE, "value": b"T" + struct.pack(">Q", 1 << 62)}, None),
    "a header with a time that no clock has": ({"content_type": CONTENT_TYPE, "value": b"T" + b"\xff" * 8}, None),
    "headers nested without end": ({"content_type": CONTENT_TYPE, "value": _nested(5_000)}, None),
    "a header in which the broker tells of deaths": (
        {"content_type": CONTENT_TYPE, "headers": {"x-first-death-queue": "route", "x-delivery-count": 99, "x-death": "x"}},
        None,
    ),
}


@pytest.mark.parametrize("name", PROPERTIES)
def test_strange_properties_are_refused_or_ignored_and_stop_nobody(exchange: Exchange, answers: Answers, name: str) -> None:
    properties, code = PROPERTIES[name]
    message_id = s.message_id()

    async def act() -> None:
        pids = exchange.supervisor.pids
        before = sum(map(len, answers.receipts.values()))
        _publish_raw(exchange, exchange.proef(message_id), RawProperties(**properties))
        consumer = await exchange.consumer("receipt", LAS)
        found: list[tuple[Any, dict[str, Any]]] = []
        async with asyncio.timeout(15):
            while not found:
                batch = await consumer.next_batch(500, 0.02, idle_s=0.5)
                answers.raw += [one.body + repr((one.correlation_id, one.message_id, one.headers)).encode() for one in batch]
                found = [(one.correlation_id, receipt) for one in batch if "accepted" in (receipt := said(one.body))]
                consumer.ack(batch)
        assert before == sum(map(len, answers.receipts.values()))
        ((correlation_id, receipt),) = found
        assert (receipt["accepted"], receipt["code"]) == (code is None, code), receipt
        assert PGN not in str(correlation_id)
        if code is None:
            assert correlation_id == message_id
            await mail_for(exchange, answers, {message_id})
        assert exchange.supervisor.pids == pids
        inspector = await exchange.inspector()
        assert await inspector.depth("dead") == 0
        assert await inspector.depth(f"intake.{LAS}") == 0

    exchange.run(act())
    test_no_personal_number_comes_out_in_a_receipt_a_log_or_the_store(exchange, answers)


#: `{id}` stands for the delivery that was got; a word in which it stands is a refusal of it.
WORDS: Final[dict[str, bytes]] = {
    "no JSON": b"no JSON",
    "not UTF-8": b"\xff",
    "a list": b"[]",
    "nothing in it": b"{}",
    "null": b"null",
    "a number for an id": b'{"delivery_id": 7, "outcome": "confirmed"}',
    "a list for an outcome": b'{"delivery_id": "x", "outcome": ["confirmed"]}',
    "an outcome that does not exist": b'{"delivery_id": "x", "outcome": "maybe"}',
    "an id with a zero byte": b'{"delivery_id": "a\\u0000b", "outcome": "confirmed"}',
    "an id with half a character": b'{"delivery_id": "\\ud800", "outcome": "confirmed"}',
    "an id that is a personal number": b'{"delivery_id": "%s", "outcome": "confirmed"}' % _NUMBER,
    "a reason with half a character": b'{"delivery_id": "{id}", "outcome": "refused", "reason": "\\ud800 geen inwoner"}',
    "a reason with a zero byte": b'{"delivery_id": "{id}", "outcome": "refused", "reason": "nul \\u0000 byte"}',
    "a reason with a personal number": b'{"delivery_id": "{id}", "outcome": "refused", "reason": "%s woont hier niet"}' % _NUMBER,
    "100,000 nested lists": b"[" * 100_000,
    "a number of 10,000 digits": b'{"delivery_id": ' + b"9" * 10_000 + b"}",
}


@pytest.mark.parametrize("name", WORDS)
def test_a_strange_word_about_a_delivery_stops_nobody(exchange: Exchange, answers: Answers, name: str) -> None:
    """Refusals with strange reasons are refusals; whatever is no word at all leaves the delivery as it was, to be confirmed after all."""

    async def act() -> None:
        id = s.message_id()
        await (await exchange.publisher(LAS)).publish(exchange.hand_in(exchange.proef(id), id))
        mailbox, sis = await exchange.consumer("mailbox", SIS), await exchange.publisher(SIS)
        (mail,) = await mailbox.next_batch(1, idle_s=15)
        mailbox.ack([mail])
        assert mail.message_id == id
        delivery = str(mail.headers["delivery_id"])
        refuses = b"{id}" in WORDS[name]
        said_so = WORDS[name].replace(b"{id}", delivery.encode())
        good = json.dumps({"delivery_id": delivery, "outcome": "confirmed"}).encode()
        words = [said_so, good]
        await sis.publish_many([Outgoing(exchange="confirm", routing_key=SIS, body=body) for body in words])

        def ended() -> bool:
            (row,) = exchange.rows("SELECT state FROM delivery WHERE id = :id", id=delivery)
            return bool(row["state"] == ("failed" if refuses else "acknowledged"))

        await until(ended, within_s=10)
        assert await (await exchange.inspector()).depth("dead") == 0

    exchange.run(act())
    assert not [line for line in exchange.log().splitlines() if "batch_failed" in line]
    test_no_personal_number_comes_out_in_a_receipt_a_log_or_the_store(exchange, answers)


# ---- what a party may not do at all ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("to", "key"),
    [("intake", SIS), ("confirm", SIS), ("", "route"), ("", "deliver"), ("", f"intake.{LAS}"), ("", f"receipt.{SIS}"), ("dead", "")],
)
def test_the_broker_refuses_to_let_a_party_speak_for_another_or_to_a_worker(exchange: Exchange, to: str, key: str) -> None:
    async def act() -> None:
        las = await exchange.publisher(LAS)
        with pytest.raises(BrokerRefused, match="403"):
            await las.publish(Outgoing(exchange=to, routing_key=key, body=exchange.proef(s.message_id()), content_type=CONTENT_TYPE))

    exchange.run(act())


@pytest.mark.parametrize("queue", [f"mailbox.{SIS}", f"receipt.{SIS}", f"intake.{LAS}", "route", "deliver", "dead", "epoch"])
def test_the_broker_refuses_to_let_a_party_read_what_is_not_its_own(exchange: Exchange, queue: str) -> None:
    async def act() -> None:
        async with Inspector(exchange.url(LAS)) as inspector:
            with pytest.raises(BrokerRefused, match="403"):
                await inspector.get(queue)

    exchange.run(act())


def test_the_broker_refuses_to_let_a_party_declare_a_queue(exchange: Exchange) -> None:
    with (
        pika.BlockingConnection(pika.URLParameters(exchange.url(LAS))) as connection,
        pytest.raises(pika.exceptions.ChannelClosedByBroker, match="403"),
    ):
        connection.channel().queue_declare("mine")


def test_a_message_handed_in_by_the_system_that_did_not_sign_it_is_refused_and_its_ids_are_not_used_up(
    exchange: Exchange, answers: Answers
) -> None:
    """Somebody who overheard a message cannot burn the ids of the system it belongs to."""
    id = s.message_id()
    overheard = exchange.proef(id)

    async def act() -> None:
        sis = await exchange.publisher(SIS)
        await sis.publish(exchange.hand_in(overheard, id, system=SIS))
        consumer = await exchange.consumer("receipt", SIS)
        (receipt,) = await consumer.next_batch(1, idle_s=15)
        consumer.ack([receipt])
        assert said(receipt.body)["code"] == "Client.DK0002"
        await (await exchange.publisher(LAS)).publish(exchange.hand_in(overheard, id))
        await receipts_for(exchange, answers, {id})
        assert answers.of(id)["accepted"]
        await mail_for(exchange, answers, {id})

    exchange.run(act())


# ---- too much ----------------------------------------------------------------------------------------------------------------------------

FULL: Final = 40  #: hand-ins in a test's queue; in earnest 50,000


def test_a_party_that_floods_gets_a_nack_and_nothing_of_others_suffers(exchange: Exchange, answers: Answers) -> None:
    """The intake worker stands still, as it does while the store is away; what the broker took of the flood is answered afterwards."""
    id = s.message_id()

    async def act() -> None:
        wanted = exchange.keeper().wanted(exchange.keeper()._register())
        smaller = json.loads(json.dumps(wanted))
        (policy,) = [policy for policy in smaller["policies"] if policy["name"] == "koppelpunt-intake"]
        policy["definition"]["max-length"] = FULL
        _, management = amqp_urls(exchange.settings)
        assert management is not None
        intake = exchange.supervisor.pids["intake"]
        flood = [exchange.hand_in(b"<flood/>", f"flood-{number}") for number in range(1_000)]
        async with BrokerAdmin(management) as admin:
            await admin.apply(smaller)
            os.kill(intake, signal.SIGSTOP)
            try:
                fates = await (await exchange.publisher(LAS)).publish_many(flood)
                assert set(fates) == {Published.CONFIRMED, Published.NACKED}
                assert fates.count(Published.CONFIRMED) < 500
                civic = exchange.hand_in(exchange.proef(id), id, system=CIVIC)
                assert await (await exchange.publisher(CIVIC)).publish(civic) is Published.CONFIRMED, "another notices nothing"
            finally:
                os.kill(intake, signal.SIGCONT)
                await admin.apply(wanted)
        theirs = await exchange.consumer("receipt", CIVIC)
        (receipt,) = await theirs.next_batch(1, idle_s=15)
        theirs.ack([receipt])
        taken = {one.message_id for one, fate in zip(flood, fates, strict=True) if fate is Published.CONFIRMED}
        await receipts_for(exchange, answers, set(taken))
        refused = {one.message_id for one in flood} - taken
        assert not refused & answers.receipts.keys(), "what got a nack was not taken"
        assert exchange.supervisor.pids["intake"] == intake
        last = s.message_id()
        assert await (await exchange.publisher(LAS)).publish(exchange.hand_in(exchange.proef(last), last)) is Published.CONFIRMED
        await receipts_for(exchange, answers, {last})
        assert answers.of(last)["accepted"]
        await mail_for(exchange, answers, {last})

    exchange.run(act())
