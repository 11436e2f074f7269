"""Push: the backbone calls receivers' endpoints. Real TLS and sockets; the receiver is a sandbox partner that behaves as it is told."""

from __future__ import annotations

import asyncio
import contextlib
import copy
import hashlib
import socket
import ssl
import tempfile
import uuid
from collections.abc import Iterator
from datetime import timedelta
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest

import run as program
from adapters import endpoints, pki
from adapters.credentials import FollowingContext
from adapters.endpoints import Endpoints, may_call
from adapters.parties import invented
from adapters.parties.behaviour import Behaviour
from adapters.parties.sandbox import Sandbox
from broker_config.settings import Settings
from routing.outcome import Asked, Heard, Trust, Wire
from schemas.events import decode
from schemas.oin import Oin
from tests.support import signing as s
from tests.support.broker import free_port, until
from tests.support.exchange import CIVIC, DOCUMENT, GANGER, HUB, LAS, MBO, PROEF, SCHOOL, SIS, UTRECHT, Exchange, MovedClock, said

pytestmark = pytest.mark.broker

LOOPBACK = (ip_network("127.0.0.0/8"), ip_network("::1/128"))
MUNICIPALITY, SYSTEM = Oin(UTRECHT), Oin(CIVIC)


# -- one call -----------------------------------------------------------------------------------------------------------------------------


def partner(*behaviours: str, oin: Oin = MUNICIPALITY, system: Oin = SYSTEM, **more: Any) -> Sandbox:
    files = s.party(f"receiver-{system}", oin=system)
    made = Sandbox(oin, cert=files.certificate, key=files.key, trust=s.folder() / "ca.pem", **more)
    made.plan = [Behaviour.of(text) for text in behaviours]
    return made


def caller(*, answer_s: float = 2.0, allowed: Any = LOOPBACK, files: Any = None, trust: Any = None) -> Endpoints:
    return Endpoints(caller_context(files, trust), s.verifier(), allowed=allowed, answer_s=answer_s)


def caller_context(files: Any = None, trust: Any = None) -> ssl.SSLContext:
    ours = files or s.party("hub", oin=HUB)
    values = {"KEY": ours.key, "CERT": ours.certificate, "TRUST": trust or s.folder() / "ca.pem"}
    settings = Settings.from_environment({f"KOPPELPUNT_{name}": str(value) for name, value in values.items()})
    return endpoints.context_of(settings)


def message() -> tuple[bytes, Asked]:
    message_id = s.message_id()
    raw = s.signed(by=s.signer("hub", oin=HUB), receiver=MUNICIPALITY, message=message_id, created=None)
    return raw, Asked(message_id=message_id, receiver=MUNICIPALITY, system=SYSTEM)


async def offer(url: str, calling: Endpoints | None = None) -> Heard:
    one = calling or caller()
    raw, asked = message()
    try:
        return await one.offer(url, raw, action=s.ACTION, asked=asked)
    finally:
        await one.close()


async def heard_from(*behaviours: str, **more: Any) -> Heard:
    async with partner(*behaviours, **more) as receiver:
        return await offer(receiver.url)


def run(work: Any) -> Any:
    async def limited() -> Any:
        async with asyncio.timeout(30):
            return await work

    return asyncio.run(limited())


def test_a_receiver_that_answers_well_is_heard_and_gets_what_the_standard_asks_for():
    async def call() -> None:
        async with partner() as receiver:
            heard = await offer(receiver.url)
            assert (heard.wire, heard.status, heard.trust, heard.fault) == (Wire.ANSWERED, 200, Trust.GOOD, None)
            (received,) = receiver.received
            assert received.code is None
            assert received.soap_action == s.ACTION
            assert (received.connected, received.signed_by, received.receiver) == (HUB, HUB, MUNICIPALITY)
            assert received.content_type == "text/xml; charset=utf-8"

    run(call())


def test_a_connection_that_was_kept_shows_our_new_certificate_and_a_call_under_way_is_not_cut():
    """Two OINs stand for the certificate before and after: the receiver notes whose certificate it met."""

    async def call() -> None:
        contexts = [caller_context(), caller_context(s.party("successor", oin=SIS))]
        async with partner("slow=0.5*1") as receiver:
            one = Endpoints(FollowingContext(lambda: contexts[0], ssl.PROTOCOL_TLS_CLIENT), s.verifier(), allowed=LOOPBACK, answer_s=5.0)
            try:
                slow = asyncio.create_task(one.offer(receiver.url, (sent := message())[0], action=s.ACTION, asked=sent[1]))
                await until(lambda: receiver.received)
                contexts.pop(0)
                for _ in range(2):
                    raw, asked = message()
                    assert (await one.offer(receiver.url, raw, action=s.ACTION, asked=asked)).trust is Trust.GOOD
                assert (await slow).trust is Trust.GOOD
                contexts.insert(0, caller_context())
                raw, asked = message()
                await one.offer(receiver.url, raw, action=s.ACTION, asked=asked)
            finally:
                await one.close()
            assert [found.connected for found in receiver.received] == [HUB, SIS, SIS, HUB]

    run(call())


def test_an_answer_without_signature_confirmation_is_enough_as_duo_sends_none():
    assert run(heard_from("no-confirmation")).trust is Trust.GOOD


@pytest.mark.parametrize(
    ("lie", "trust", "word"),
    [
        ("unsigned", Trust.UNSIGNED, "not trusted"),
        ("broken", Trust.BROKEN, "not trusted"),
        ("stranger", Trust.BROKEN, "not trusted"),
        ("wrapped", Trust.BROKEN, "not trusted"),
        ("relates-to", Trust.BROKEN, "RelatesTo"),
        ("from", Trust.BROKEN, "From is"),
        ("old", Trust.BROKEN, "not trusted"),
        ("confirmation", Trust.BROKEN, "SignatureConfirmation"),
    ],
)
def test_an_answer_that_lies_is_not_the_receivers(lie: str, trust: Trust, word: str):
    heard = run(heard_from(lie))
    assert (heard.wire, heard.soap, heard.fault, heard.trust) == (Wire.ANSWERED, True, None, trust)
    assert word in heard.says


def test_an_answer_signed_by_another_system_that_is_trusted_here_is_not_the_receivers():
    heard = run(heard_from("stranger", other=s.signer("las")))
    assert heard.trust is Trust.BROKEN
    assert f"signed by system {s.LAS}" in heard.says


@pytest.mark.parametrize(
    ("behaviour", "wire", "word"),
    [
        ("huge=3", Wire.UNREADABLE, "larger than"),
        ("gzip-bomb=300", Wire.UNREADABLE, "packed"),
        ("cut", Wire.CUT, "connection ended"),
        ("cut-half", Wire.CUT, "connection ended"),
        ("hang", Wire.SILENT, "within 2 s"),
        ("drip=1", Wire.SILENT, "within 2 s"),
        ("slow=9", Wire.SILENT, "within 2 s"),
    ],
)
def test_an_endpoint_that_does_not_answer_properly_costs_us_nothing_but_the_time_it_has(behaviour: str, wire: Wire, word: str):
    heard = run(heard_from(behaviour))
    assert heard.wire is wire
    assert word in heard.says


@pytest.mark.parametrize(
    ("behaviour", "status", "fault"),
    [
        ("http=500", 500, None),
        ("http=404,body", 404, None),
        ("http=302,Location=https://elsewhere.example/", 302, None),
        ("not-xml", 200, None),
        ("doctype", 200, None),
        ("content-type", 200, None),
        ("fault=Client.DK0004", 500, "Client.DK0004"),
        ("fault=Client.DK0004.Bericht niet conform XSD", 500, "Client.DK0004.Bericht niet conform XSD"),
        ("fault=Client", 500, "Client"),
        ("unsigned-fault=Server.DK0051", 500, "Server.DK0051"),
    ],
)
def test_what_is_not_an_answer_to_the_message_is_heard_as_what_it_is(behaviour: str, status: int, fault: str | None):
    heard = run(heard_from(behaviour))
    assert (heard.wire, heard.status, heard.fault) == (Wire.ANSWERED, status, fault)
    assert heard.soap is (fault is not None)


def test_a_redirect_is_not_followed():
    async def call() -> None:
        async with partner() as elsewhere, partner() as receiver:
            receiver.behaviour = Behaviour.of(f"http=307,Location={elsewhere.url}")
            assert (await offer(receiver.url)).status == 307
            assert elsewhere.requests == 0

    run(call())


def test_retry_after_is_understood_in_seconds_and_as_a_date():
    assert run(heard_from("http=503,Retry-After=30")).retry_after_s == 30
    assert run(heard_from("http=503,Retry-After=Wed, 21 Oct 2015 07:28:00 GMT")).retry_after_s == 0
    assert run(heard_from("http=503,Retry-After=soon")).retry_after_s is None


def test_a_functional_rejection_is_processed_and_says_why():
    heard = run(heard_from("rejected=A01161"))
    assert (heard.trust, heard.rejected) == (Trust.GOOD, True)
    assert "A01161" in heard.says


def test_a_personal_number_in_a_receivers_words_is_masked():
    heard = run(heard_from("fault=Server.DK0050,burgerservicenummer 123456782 onbekend"))
    assert "123456782" not in heard.says
    assert "onbekend" in heard.says


def test_nobody_listening_is_unreachable():
    assert run(offer(f"https://localhost:{free_port()}/x")).wire is Wire.UNREACHABLE
    assert run(offer("https://no-such-name.invalid/x")).wire is Wire.UNREACHABLE


def test_a_server_that_is_not_who_its_address_says_is_not_trusted_and_gets_nothing():
    async def call() -> None:
        async with partner() as receiver:
            there = receiver.url.replace("localhost", "127.0.0.2")  # reached, and not what its certificate names
            heard = await offer(there)
            assert heard.wire in (Wire.NOT_TRUSTED, Wire.UNREACHABLE)
            strange = await offer(receiver.url, caller(trust=other_ca()))
            assert strange.wire is Wire.NOT_TRUSTED
            assert receiver.requests == 0

    run(call())


def other_ca() -> Any:
    folder = Path(tempfile.mkdtemp(prefix="koppelpunt-other-ca-"))
    pki.init(folder)
    return folder / "ca.pem"


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_an_endpoint_that_refuses_our_certificate_says_so_and_nothing_was_processed(version: ssl.TLSVersion):
    async def call() -> None:
        server_files = s.party(f"receiver-{SYSTEM}", oin=SYSTEM)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = context.maximum_version = version
        context.load_cert_chain(server_files.certificate, server_files.key)
        context.load_verify_locations(other_ca())
        context.verify_mode = ssl.CERT_REQUIRED
        with socket.create_server(("127.0.0.1", 0)) as listening:  # not asyncio's: that hangs up without OpenSSL's alert
            serving = asyncio.get_running_loop().run_in_executor(None, refuse_one, listening, context)
            heard = await offer(f"https://localhost:{listening.getsockname()[1]}/x")
            await serving
        assert heard.wire is Wire.REFUSES_US, heard

    run(call())


def refuse_one(listening: socket.socket, context: ssl.SSLContext) -> None:
    connection, _ = listening.accept()
    with contextlib.suppress(OSError), context.wrap_socket(connection, server_side=True) as wrapped:
        wrapped.recv(1)
    connection.close()


@pytest.mark.parametrize("url", ["http://localhost/x", "ftp://localhost/x", "https://me:secret@localhost/x", "https:///x", "https://["])
def test_only_https_addresses_are_called(url: str):
    assert run(offer(url)).wire is Wire.NOT_ALLOWED


@pytest.mark.parametrize(
    "url", ["https://127.0.0.1:{}/x", "https://localhost:{}/x", "https://[::1]:{}/x", "https://[::ffff:127.0.0.1]:{}/x"]
)
def test_addresses_inside_this_network_are_not_called_unless_the_operator_allows_them(url: str):
    async def call() -> None:
        async with partner() as receiver:
            heard = await offer(url.format(receiver.port), caller(allowed=()))
            assert heard.wire is Wire.NOT_ALLOWED
            assert "KOPPELPUNT_PUSH_NETWORKS" in heard.says
            assert receiver.requests == 0

    run(call())


@pytest.mark.parametrize(
    ("address", "fine"),
    [
        ("8.8.8.8", True), ("2a00:1450::1", True), ("10.1.2.3", False), ("192.168.1.1", False), ("172.16.0.1", False),
        ("169.254.169.254", False), ("127.0.0.1", False), ("0.0.0.0", False), ("224.0.0.1", False), ("100.64.0.1", False),
        ("64:ff9b::808:808", True), ("64:ff9b::a00:1", False), ("2002:a00:1::", False), ("::127.0.0.1", False),
        ("::1", False), ("fe80::1%eth0", False), ("fc00::1", False), ("::ffff:10.0.0.1", False), ("::ffff:8.8.8.8", True),
        ("fec0::1", False), ("64:ff9b:1::7f00:1", False), ("::ffff:0:127.0.0.1", False), ("5f00::1", False), ("100:0:0:1::1", False),
        ("ff0e::1", False), ("4000::1", False), ("2002:808:808::", True), ("2001:db8::1", False),
    ],
)  # fmt: skip
def test_which_addresses_are_public(address: str, fine: bool):
    assert may_call(address, ()) is fine
    assert may_call("10.1.2.3", (ip_network("10.1.0.0/16"),))
    assert may_call("fec0::1", (ip_network("fec0::/10"),))


@pytest.mark.parametrize("host", ["127.1", "2130706433", "0177.0.0.1", "0x7f000001", "0X7F.1", "127.0.0.0x1", "127.1.", "8.8.2056"])
def test_an_address_in_an_old_spelling_is_no_name_and_is_not_called(host: str):
    """Only what looks up names knows what they mean, and each its own way."""
    heard = run(offer(f"https://{host}/x", caller(allowed=[ip_network("0.0.0.0/0")])))
    assert heard.wire is Wire.NOT_ALLOWED
    assert "four decimal numbers" in heard.says


# -- the whole way ------------------------------------------------------------------------------------------------------------------------

WORKERS = ("intake", "relay", "route", "push", "deliver", "audit", "timetable")


@pytest.fixture(scope="module")
def exchange() -> Iterator[Exchange]:
    with Exchange(clock=MovedClock(), settings={"KOPPELPUNT_PUSH_ANSWER_S": "2"}) as made:
        made.run(start(made))
        yield made


#: Where the school's and the municipality's endpoints are, one test after another: workers look at the register every second only.
PORTS = {MBO: free_port(), UTRECHT: free_port()}


async def start(exchange: Exchange) -> None:
    load(exchange)
    for name in WORKERS:
        exchange.start_worker(name)


def load(exchange: Exchange, **elsewhere: int) -> None:
    """The register with the mbo school's own endpoint for proef, and the municipality's for vva, in place of their mailboxes."""
    document = copy.deepcopy(DOCUMENT)
    for row in document["endpoints"]:
        if (row["organisation"], row["dienst"]) in ((MBO, "proef"), (UTRECHT, "vva")):
            del row["mailbox"]
            row["url"] = f"https://localhost:{elsewhere.get(row['dienst'], PORTS[row['organisation']])}/wus"
            row["address"] = "https://ontvanger.example/dienst/v1"
    exchange.store.registry.save_register(document, who="test", now_us=exchange.clock.now_us())


async def hand_in(exchange: Exchange, **more: Any) -> tuple[str, bytes]:
    message_id = s.message_id()
    raw = exchange.proef(message_id, **more)
    await (await exchange.publisher(LAS)).publish_many([exchange.hand_in(raw, message_id)])
    return message_id, raw


def ganger(exchange: Exchange) -> bytes:
    now = exchange.clock.now()
    return invented.mbo_ganger_bericht(
        business_id=str(uuid.uuid4()),
        sender=SCHOOL,
        receiver=HUB,
        created=now,
        brin="25BE",
        schooljaar="2026-2027",
        geboortedatum="2010-05-06",
        peildatum=now.date(),
        burgerservicenummer=invented.bsn(7),
        gemeentecode="0344",
    )


def delivery_of(exchange: Exchange, message_id: str) -> dict[str, Any] | None:
    rows = exchange.rows("SELECT d.* FROM delivery d JOIN message m ON m.seq = d.message_seq WHERE m.message_id = :id", id=message_id)
    return rows[0] if rows else None


async def becomes(exchange: Exchange, message_id: str, state: str, **facts: Any) -> dict[str, Any]:
    def there() -> bool:
        row = delivery_of(exchange, message_id)
        return row is not None and row["state"] == state and all(row[name] == value for name, value in facts.items())

    try:
        await until(there, within_s=20)
    except TimeoutError:
        raise AssertionError(f"not {state} {facts}: {delivery_of(exchange, message_id)}") from None
    row = delivery_of(exchange, message_id)
    assert row is not None
    return row


def school(exchange: Exchange, *behaviours: str) -> Sandbox:
    return partner(*behaviours, oin=MBO, system=SIS, now=exchange.clock.now, port=PORTS[MBO])


def test_a_message_for_a_named_receiver_arrives_with_its_own_bytes_and_its_sender_hears_of_it(exchange: Exchange):
    async def act() -> None:
        async with school(exchange) as receiver:
            outcomes = await exchange.consumer("receipt", LAS)
            message_id, raw = await hand_in(exchange)
            row = await becomes(exchange, message_id, "acknowledged")
            (received,) = receiver.received
            assert received.sha256 == hashlib.sha256(raw).hexdigest()
            assert (received.connected, received.signed_by, received.soap_action) == (HUB, LAS, PROEF)
            told = []
            while not any(one.get("state") == "acknowledged" for one in told):
                told += [said(incoming.body) for incoming in await outcomes.next_batch(10, 0.1)]
            attempt = exchange.rows("SELECT * FROM attempt WHERE delivery_seq = :seq", seq=row["seq"])
            assert [(one["outcome"], one["envelope"], one["code"]) for one in attempt] == [("acknowledged", "original", None)]

    exchange.run(act())


def test_what_the_backbone_addresses_itself_travels_in_its_own_envelope_to_the_logical_address(exchange: Exchange):
    async def act() -> None:
        async with partner(now=exchange.clock.now, port=PORTS[UTRECHT]) as receiver:
            message_id = s.message_id()
            content = ganger(exchange)
            raw = exchange.signed(content, message_id, GANGER)
            await (await exchange.publisher(LAS)).publish_many([exchange.hand_in(raw, message_id)])
            row = await becomes(exchange, message_id, "acknowledged")
            (received,) = receiver.received
            assert received.code is None
            assert (received.message_id, received.sender, received.receiver) == (f"urn:uuid:{row['id']}", SCHOOL, UTRECHT)
            assert received.signed_by == HUB

    exchange.run(act())


def test_an_answer_that_cannot_be_trusted_leaves_it_uncertain_and_it_is_not_sent_again(exchange: Exchange):
    async def act() -> None:
        async with school(exchange, "broken") as receiver:
            message_id, _ = await hand_in(exchange)
            row = await becomes(exchange, message_id, "uncertain", code="RESPONSE_NOT_TRUSTED", owner="us")
            receiver.plan = []
            second, _ = await hand_in(exchange)  # somebody else's goes on
            await becomes(exchange, second, "acknowledged")
            assert [one.message_id for one in receiver.received].count(message_id) == 1
            assert row["attempts"] == 1

    exchange.run(act())


def test_after_a_time_out_it_goes_again_with_the_same_ids_and_a_double_is_probably_delivered(exchange: Exchange):
    async def act() -> None:
        async with school(exchange, "hang*1", "duplicate") as receiver:
            message_id, _ = await hand_in(exchange)
            await becomes(exchange, message_id, "postponed", hold_code="ANSWER_NOT_HEARD")
            pass_time(exchange, minutes=10)
            row = await becomes(exchange, message_id, "acknowledged", code="PROBABLY_DELIVERED")
            first, second = receiver.received
            assert first.message_id == second.message_id == message_id
            assert first.content_sha256 == second.content_sha256
            assert (first.signed_by, second.signed_by) == (LAS, HUB), "the sender's Timestamp is over by then"
            assert row["attempts"] == 2

    exchange.run(act())


def pass_time(exchange: Exchange, **span: float) -> None:
    assert isinstance(exchange.clock, MovedClock)
    exchange.clock.ahead += timedelta(**span)


@pytest.mark.parametrize(
    ("behaviour", "code", "owner"),
    [
        ("fault=Server.DK0050,Onderwijslocatie bestaat niet", "Server.DK0050", "receiver"),
        ("fault=Client.DK0002", "Client.DK0002", "school"),
        ("rejected=A01161", "RECEIVER_REJECTED", "school"),
        ("duplicate", "RECEIVER_DUPLICATE", "supplier"),
        ("http=415", "RECEIVER_REFUSED", "receiver"),
    ],
)
def test_a_receiver_that_says_no_makes_a_failure_with_an_owner(exchange: Exchange, behaviour: str, code: str, owner: str):
    async def act() -> None:
        async with school(exchange, behaviour) as receiver:
            message_id, _ = await hand_in(exchange)
            row = await becomes(exchange, message_id, "failed", code=code, owner=owner)
            assert row["reason"]
            assert receiver.requests == 1

    exchange.run(act())


def test_an_endpoint_that_is_down_is_held_and_when_it_is_back_everything_goes_in_order(exchange: Exchange):
    async def act() -> None:
        async with school(exchange, "down") as receiver:
            ids = [(await hand_in(exchange))[0] for _ in range(30)]
            await until(lambda: delivery_of(exchange, ids[-1]) is not None, within_s=20)
            await until(lambda: held(exchange) != [], within_s=20)
            receiver.plan = []
            assert receiver.requests == 0
            pass_time(exchange, minutes=1)
            for one in ids:
                await becomes(exchange, one, "acknowledged")
            assert held(exchange) == []
            kinds = [event.kind for event in lane_events(exchange)]
            assert kinds[-2:] == ["lane_held", "lane_flows"]

    exchange.run(act(), within_s=90)


def held(exchange: Exchange) -> list[str]:
    return [row["lane"] for row in exchange.rows("SELECT lane FROM lane WHERE state = 'held'")]


def lane_events(exchange: Exchange) -> list[Any]:
    rows = exchange.rows("SELECT payload, schema FROM event WHERE reference IS NULL ORDER BY id")
    return [event for row in rows if (event := decode(row["payload"], row["schema"])).kind.startswith("lane_")]


def test_a_receiver_that_asks_us_to_come_back_later_is_left_alone_until_then(exchange: Exchange):
    async def act() -> None:
        async with school(exchange, "http=503,Retry-After=600") as receiver:
            message_id, _ = await hand_in(exchange)
            await becomes(exchange, message_id, "postponed", hold_code="ENDPOINT_UNAVAILABLE")
            receiver.plan = []
            pass_time(exchange, minutes=9)
            second, _ = await hand_in(exchange)
            await until(lambda: delivery_of(exchange, second) is not None)
            await asyncio.sleep(1)
            assert receiver.requests == 1, (
                [one.message_id for one in receiver.received] + [message_id, second] + exchange.rows("SELECT * FROM lane")
            )
            pass_time(exchange, minutes=2)
            await becomes(exchange, message_id, "acknowledged")
            await becomes(exchange, second, "acknowledged")

    exchange.run(act())


def test_an_operator_holds_an_endpoint_and_lets_it_go(exchange: Exchange):
    async def act() -> None:
        async with school(exchange) as receiver:
            first, _ = await hand_in(exchange)
            row = await becomes(exchange, first, "acknowledged")
            outbox, now_us = exchange.store.outbox, exchange.clock.now_us()
            outbox.hold(row["lane"], who="operator", now_us=now_us)
            await asyncio.sleep(0.3)
            second, _ = await hand_in(exchange)
            await until(lambda: delivery_of(exchange, second) is not None)
            pass_time(exchange, minutes=30)
            await asyncio.sleep(0.5)
            assert receiver.requests == 1
            assert outbox.let_go(row["lane"], who="operator", now_us=exchange.clock.now_us())
            await becomes(exchange, second, "acknowledged")

    exchange.run(act())


def test_what_is_offered_again_waits_while_its_endpoint_is_held(exchange: Exchange):
    async def act() -> None:
        async with school(exchange, "http=415") as receiver:
            message_id, _ = await hand_in(exchange)
            row = await becomes(exchange, message_id, "failed")
            receiver.plan = []
            exchange.store.outbox.hold(row["lane"], who="operator", now_us=exchange.clock.now_us())
            pass_time(exchange, days=2)  # its deadline is over
            exchange.store.repair.retry(reference(exchange, message_id), actor="operator", now_us=exchange.clock.now_us())
            await asyncio.sleep(1)
            assert (await becomes(exchange, message_id, "routed"))["attempts"] == receiver.requests == 1
            exchange.store.outbox.let_go(row["lane"], who="operator", now_us=exchange.clock.now_us())
            await becomes(exchange, message_id, "acknowledged")

    exchange.run(act())


def reference(exchange: Exchange, message_id: str) -> str:
    return str(exchange.rows("SELECT reference FROM message WHERE message_id = :id", id=message_id)[0]["reference"])


def test_what_waits_for_a_held_endpoint_goes_to_the_successor_when_the_register_names_one(exchange: Exchange):
    async def act() -> None:
        async with school(exchange, "http=503,Retry-After=86400"):
            first, _ = await hand_in(exchange)
            await becomes(exchange, first, "postponed", hold_code="ENDPOINT_UNAVAILABLE")
            second, _ = await hand_in(exchange)
            row = await becomes(exchange, second, "routed")
            elsewhere = free_port()
            async with partner(oin=MBO, system=SIS, now=exchange.clock.now, port=elsewhere) as successor:
                load(exchange, proef=elsewhere)
                await becomes(exchange, first, "acknowledged")
                await becomes(exchange, second, "acknowledged")
                assert successor.requests == 2
        load(exchange)
        exchange.store.outbox.let_go(row["lane"], who="test", now_us=exchange.clock.now_us())
        await until(lambda: (delivery_of(exchange, second) or {})["state"] == "acknowledged")

    exchange.run(act())


@pytest.mark.parametrize(("word", "state"), [("--delivered", "acknowledged"), ("--failed", "failed")])
def test_an_operator_who_asked_the_receiver_ends_the_uncertainty(exchange: Exchange, word: str, state: str, capsys: Any):
    async def act() -> tuple[str, str]:
        async with school(exchange, "unsigned"):
            message_id, _ = await hand_in(exchange)
            row = await becomes(exchange, message_id, "uncertain")
            return message_id, row["id"]

    message_id, delivery = exchange.run(act())
    home = ["--home", str(exchange.home)]
    with settings_of(exchange):
        assert program.main(["resolve", delivery, word, *home]) == 0
        row = delivery_of(exchange, message_id)
        assert row is not None and row["state"] == state
        assert program.main(["resolve", delivery, word, *home]) == 1
    assert "Nothing of" in capsys.readouterr().err


@contextlib.contextmanager
def settings_of(exchange: Exchange) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("KOPPELPUNT_STORE", exchange.settings.store)
        yield


def test_an_operator_names_an_endpoint_by_its_address_and_is_told_when_there_is_none(exchange: Exchange, capsys: Any):
    home = ["--home", str(exchange.home)]
    with settings_of(exchange):
        assert program.main(["lanes", "--hold", f"https://localhost:{PORTS[UTRECHT]}/wus", *home]) == 0
        assert held(exchange) == [f"push {CIVIC} https://localhost:{PORTS[UTRECHT]}/wus"]
        capsys.readouterr()
        assert program.main(["lanes", *home]) == 0
        assert "held" in capsys.readouterr().out
        assert program.main(["lanes", "--let-go", CIVIC, *home]) == 0
        assert held(exchange) == []
        capsys.readouterr()
        assert program.main(["lanes", *home]) == 0
        shown = capsys.readouterr().out
        assert "flows" in shown and "closed" not in shown
        assert program.main(["lanes", "--let-go", CIVIC, *home]) == 1
        assert program.main(["lanes", "--hold", "https://nowhere.example/", *home]) == 1
    assert "No endpoint or mailbox" in capsys.readouterr().err


def test_an_endpoint_that_moves_takes_what_waits_along(exchange: Exchange):
    async def act() -> None:
        message_id, _ = await hand_in(exchange)
        await becomes(exchange, message_id, "postponed", hold_code="ENDPOINT_UNREACHABLE")
        elsewhere = free_port()
        load(exchange, proef=elsewhere)
        async with partner(oin=MBO, system=SIS, now=exchange.clock.now, port=elsewhere):
            while (delivery_of(exchange, message_id) or {})["state"] != "acknowledged":
                pass_time(exchange, minutes=3)
                await asyncio.sleep(0.3)

    exchange.run(act())
