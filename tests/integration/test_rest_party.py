"""What parties ask of the gateway over REST: their mailboxes, what became of what they handed in, and whether they are ready."""

from __future__ import annotations

import asyncio
import contextlib
import json
import ssl
import uuid
from collections.abc import AsyncIterator, Iterator
from copy import deepcopy
from datetime import UTC, datetime, timedelta
from typing import Any

import aiohttp
import jsonschema
import pytest

import run
from adapters import rest_party, verify_policy
from adapters.https import AT_A_TIME
from adapters.parties import invented
from adapters.pki import Party
from adapters.store.enquiries import Enquiries
from routing.work import StoreUnavailable
from schemas.oin import Oin
from tests.support import openapi
from tests.support import signing as s
from tests.support.broker import until
from tests.support.exchange import CIVIC, DOCUMENT, GANGER, HUB, LAS, MBO, PROEF, SCHOOL, SIS, UTRECHT, Exchange

pytestmark = pytest.mark.broker

Answer = tuple[int, dict[str, str], bytes]
WORKERS = ("gateway", "relay", "route", "deliver", "audit", "timetable")


def register() -> dict[str, list[dict[str, Any]]]:
    """The municipality's system has no AMQP, and receives `proef` too."""
    document = deepcopy(DOCUMENT)
    next(row for row in document["systems"] if row["oin"] == CIVIC)["channels"] = ["https"]
    document["mandates"].append({"organisation": UTRECHT, "dienst": "proef", "system": CIVIC})
    document["endpoints"].append({"organisation": UTRECHT, "dienst": "proef", "versie": "1", "system": CIVIC, "mailbox": True})
    return document


@pytest.fixture(scope="module")
def exchange() -> Iterator[Exchange]:
    with Exchange(document=register()) as made:

        async def start() -> None:
            for name in WORKERS:
                made.start_worker(name)

        made.run(start())
        made.run(listening(made))
        yield made


async def listening(exchange: Exchange) -> None:
    async def answers() -> bool:
        with contextlib.suppress(aiohttp.ClientError):
            async with client(exchange) as session, session.get("/rest/mailboxes") as answer:
                return answer.status == 200
        return False

    while not await answers():
        await asyncio.sleep(0.05)


def civic() -> Party:
    return s.party("civic", oin=CIVIC)


@contextlib.asynccontextmanager
async def client(exchange: Exchange, party: Party | None = None) -> AsyncIterator[aiohttp.ClientSession]:
    context = ssl.create_default_context(cafile=s.folder() / "ca.pem")
    files = party or s.party()
    context.load_cert_chain(files.certificate, files.key)
    connector = aiohttp.TCPConnector(ssl=context, limit=0)
    async with aiohttp.ClientSession(f"https://localhost:{exchange.settings.gateway_port}", connector=connector) as session:
        yield session


async def request(session: aiohttp.ClientSession, method: str, path: str, **given: Any) -> Answer:
    """Every answer under /rest is held against the OpenAPI description."""
    async with session.request(method, path, **given) as answer:
        status, headers, body = answer.status, dict(answer.headers), await answer.read()
    if path.startswith("/rest"):
        openapi.check(method, path, status, headers, body)
    return status, headers, body


def ask(exchange: Exchange, path: str, party: Party | None = None, *, method: str = "GET", **given: Any) -> Answer:
    """One request on a connection of its own; without `party` as the LAS."""

    async def act() -> Answer:
        async with client(exchange, party) as session:
            return await request(session, method, path, **given)

    return exchange.run(act())


def get(exchange: Exchange, path: str, party: Party | None = None) -> dict[str, Any]:
    """What a good question is answered with."""
    status, headers, body = ask(exchange, path, party)
    assert status == 200, (path, status, body)
    assert headers["Content-Type"] == "application/json"
    return dict(json.loads(body))


def problem(answer: Answer) -> tuple[int, str]:
    status, headers, body = answer
    assert headers["Content-Type"].startswith("application/problem+json"), answer
    said = json.loads(body)
    assert said["status"] == status
    assert all(said[name] for name in ("owner", "remedy", "remedy_en", "detail"))
    return status, said["code"]


def say(exchange: Exchange, delivery_id: str, what: str, party: Party, **body: Any) -> Answer:
    return ask(exchange, f"/rest/mailbox/{delivery_id}/{what}", party, method="POST", **({"json": body} if body else {}))


def hand_in(exchange: Exchange, raw: bytes, action: str = PROEF, path: str = "/wus/proef/1") -> None:
    """Over HTTPS by the LAS, whatever becomes of it."""
    headers = {"Content-Type": "text/xml; charset=utf-8", "SOAPAction": f'"{action}"'}
    ask(exchange, path, method="POST", data=raw, headers=headers)


def delivered(exchange: Exchange, receiver: Oin, **given: Any) -> tuple[bytes, str, str]:
    """A proef message of the school that stands in a mailbox: its bytes, MessageID and delivery_id."""
    message_id = s.message_id()
    raw = exchange.proef(message_id, receiver=receiver, **given)
    hand_in(exchange, raw)
    return raw, message_id, exchange.run(in_mailbox(exchange, message_id))


async def in_mailbox(exchange: Exchange, message_id: str) -> str:
    def found() -> list[dict[str, Any]]:
        return exchange.rows(
            "SELECT d.id FROM delivery d JOIN message m ON m.seq = d.message_seq WHERE m.message_id = :id AND d.state = 'delivered'",
            id=message_id,
        )

    await until(lambda: bool(found()))
    return str(found()[0]["id"])


def kinds(exchange: Exchange, message_id: str) -> list[str]:
    (row,) = exchange.rows("SELECT reference FROM message WHERE message_id = :id", id=message_id)
    return [event.kind for event in exchange.store.journal.of_message(row["reference"])]


# -- mailboxes ---------------------------------------------------------------------------------------------------------------------------


def test_a_party_without_amqp_lists_fetches_and_confirms_and_the_sender_hears_of_it(exchange: Exchange) -> None:
    raw, message_id, delivery_id = delivered(exchange, UTRECHT)
    (letter,) = [one for one in get(exchange, "/rest/mailbox", civic())["deliveries"] if one["delivery_id"] == delivery_id]
    assert (letter["dienst"], letter["versie"], letter["bericht"], letter["routeringskenmerk"]) == ("proef", "1", "proef", UTRECHT)
    assert (letter["sender"], letter["message_id"], letter["size"], letter["attempt"]) == (SCHOOL, message_id, len(raw), 1)
    status, headers, body = ask(exchange, f"/rest/mailbox/{delivery_id}", civic())
    assert (status, body) == (200, raw), "the sender named the receiver, so its bytes travel untouched"
    assert {name: headers[name] for name in ("Delivery-Id", "Routeringskenmerk", "Attempt", "Message-Id", "Received-At")} == {
        "Delivery-Id": delivery_id,
        "Routeringskenmerk": UTRECHT,
        "Attempt": "1",
        "Message-Id": message_id,
        "Received-At": letter["received_at"],
    }
    answer = say(exchange, delivery_id, "confirm", civic())
    assert json.loads(answer[2]) == {"delivery_id": delivery_id, "counted": True, "state": "acknowledged", "code": None}
    assert kinds(exchange, message_id)[-3:] == ["delivered", "fetched", "acknowledged"]
    assert delivery_id not in str(get(exchange, "/rest/mailbox", civic()))


def test_no_copy_is_put_on_the_broker_for_a_party_without_amqp_and_one_is_for_a_party_with_it(exchange: Exchange) -> None:
    async def depth(system: Oin) -> int | None:
        return await (await exchange.inspector()).depth(f"mailbox.{system}")

    before = exchange.run(depth(SIS)) or 0
    delivered(exchange, UTRECHT)
    _, _, delivery_id = delivered(exchange, MBO)
    assert exchange.run(depth(CIVIC)) is None
    assert exchange.run(depth(SIS)) == before + 1
    sis = s.party("sis", oin=SIS)
    assert ask(exchange, f"/rest/mailbox/{delivery_id}", sis)[0] == 200, "who has both channels may use either"
    assert json.loads(say(exchange, delivery_id, "confirm", sis)[2])["counted"] is True


def test_what_a_rest_reader_gets_is_what_the_amqp_mailbox_holds(exchange: Exchange) -> None:
    _, _, delivery_id = delivered(exchange, MBO)

    async def copy() -> tuple[bytes, dict[str, Any], str | None]:
        consumer = await exchange.consumer("mailbox", SIS)
        while True:
            for one in await consumer.next_batch():
                consumer.ack([one])
                if one.headers["delivery_id"] == delivery_id:
                    return one.body, dict(one.headers), one.message_id

    body, headers, named = exchange.run(copy())
    _, over_rest, fetched = ask(exchange, f"/rest/mailbox/{delivery_id}", s.party("sis", oin=SIS))
    assert (fetched, over_rest["Message-Id"]) == (body, named)
    assert {name: str(headers[name]) for name in ("delivery_id", "received_at", "dienst", "versie", "routeringskenmerk", "attempt")} == {
        name: over_rest[name.replace("_", "-").title()]
        for name in ("delivery_id", "received_at", "dienst", "versie", "routeringskenmerk", "attempt")
    }


def test_a_fetch_is_journalled_once_per_attempt_however_often_it_is_done(exchange: Exchange) -> None:
    _, message_id, delivery_id = delivered(exchange, UTRECHT)

    async def often() -> list[Answer]:
        async with client(exchange, civic()) as session:
            return await asyncio.gather(*(request(session, "GET", f"/rest/mailbox/{delivery_id}") for _ in range(8)))

    assert {answer[0] for answer in exchange.run(often())} == {200}
    assert kinds(exchange, message_id).count("fetched") == 1


@pytest.mark.parametrize(
    ("reason", "code", "owner"),
    [
        ("not_our_resident", "NOT_OUR_RESIDENT", "school"),
        ("unreadable", "MAILBOX_UNREADABLE", "us"),
        ("double", "MAILBOX_DOUBLE", "supplier"),
        ("wij doen niet mee", "MAILBOX_REFUSED", "school"),
    ],
)
def test_a_refusal_becomes_a_failure_with_an_owner(exchange: Exchange, reason: str, code: str, owner: str) -> None:
    _, _, delivery_id = delivered(exchange, UTRECHT)
    answer = say(exchange, delivery_id, "refuse", civic(), reason=reason)
    assert json.loads(answer[2]) == {"delivery_id": delivery_id, "counted": True, "state": "failed", "code": code}
    assert exchange.rows("SELECT state, code, owner FROM delivery WHERE id = :id", id=delivery_id) == [
        {"state": "failed", "code": code, "owner": owner}
    ]


def test_the_first_word_about_a_delivery_counts_a_repeat_is_told_so_and_another_is_a_conflict(exchange: Exchange) -> None:
    _, _, delivery_id = delivered(exchange, UTRECHT)
    assert json.loads(say(exchange, delivery_id, "confirm", civic())[2])["counted"] is True
    assert json.loads(say(exchange, delivery_id, "confirm", civic())[2])["counted"] is False
    assert problem(say(exchange, delivery_id, "refuse", civic(), reason="double")) == (409, "DELIVERY_FINISHED")
    assert exchange.rows("SELECT state FROM delivery WHERE id = :id", id=delivery_id) == [{"state": "acknowledged"}]


def test_anothers_delivery_and_one_that_does_not_exist_get_the_same_answer(exchange: Exchange) -> None:
    _, message_id, delivery_id = delivered(exchange, UTRECHT)
    for path in ("", "/confirm", "/refuse"):
        answers = []
        for one in (delivery_id, str(uuid.uuid4()), "%00", "%ff", "x" * 65, "999900006"):
            method, body = ("POST", {"json": {"reason": "double"}}) if path else ("GET", {})
            answer = ask(exchange, f"/rest/mailbox/{one}{path}", s.party("sis", oin=SIS), method=method, **body)
            assert problem(answer) == (404, "DELIVERY_UNKNOWN")
            answers.append(answer[2])
        assert set(answers) == {answers[0]}
    assert exchange.rows("SELECT state FROM delivery WHERE id = :id", id=delivery_id) == [{"state": "delivered"}]
    assert kinds(exchange, message_id).count("confirmation_refused") == 2, "and it is journalled"
    assert "fetched" not in kinds(exchange, message_id)
    assert delivery_id not in str(get(exchange, "/rest/mailbox", s.party("sis", oin=SIS)))


def test_one_call_lists_every_mailbox_with_how_much_stands_there_and_since_when(exchange: Exchange) -> None:
    delivered(exchange, UTRECHT)
    lines = get(exchange, "/rest/mailboxes", civic())["mailboxes"]
    assert [(line["organisation"], line["dienst"], line["versie"]) for line in lines] == [(UTRECHT, "vva", "1"), (UTRECHT, "proef", "1")]
    proef, vva = lines[1], lines[0]
    assert proef["name"] == "Gemeente Utrecht"
    assert proef["open"] >= 1
    assert datetime.now(UTC) - timedelta(minutes=5) < datetime.fromisoformat(proef["oldest_at"]) <= datetime.now(UTC)
    assert (vva["open"], vva["overdue"], vva["oldest_at"]) == (0, 0, None)


def test_a_list_can_be_of_one_dienst_or_one_receiver(exchange: Exchange) -> None:
    _, _, delivery_id = delivered(exchange, UTRECHT)
    for query, there in (
        ("?dienst=proef&versie=1", True),
        (f"?routeringskenmerk={UTRECHT}", True),
        ("?dienst=vva", False),
        ("?versie=2", False),
        (f"?routeringskenmerk={MBO}", False),
    ):
        assert (delivery_id in str(get(exchange, f"/rest/mailbox{query}", civic()))) is there, query
    assert len(get(exchange, "/rest/mailbox?limit=1", civic())["deliveries"]) == 1


@pytest.mark.parametrize(
    "path",
    [
        "/rest/mailbox?limit=0",
        "/rest/mailbox?limit=1001",
        "/rest/mailbox?limit=²",
        "/rest/mailbox?wait=31",
        "/rest/mailbox?wait=-1",
        "/rest/mailbox?dients=proef",
        "/rest/mailbox?dienst=",
        "/rest/mailbox?limit=1&limit=2",
        "/rest/mailbox?dienst=%00",
        "/rest/mailbox?routeringskenmerk=12",
        "/rest/mailboxes?dienst=proef",
    ],
)
def test_a_question_that_is_wrong_is_told_which_parameter(exchange: Exchange, path: str) -> None:
    answer = ask(exchange, path, civic())
    assert problem(answer) == (400, "REQUEST_INVALID")
    assert json.loads(answer[2])["where"] in path


@pytest.mark.parametrize(
    "body", [b"nonsense", b"[]", b'{"reason": 1}', b'{"why": "x"}', b"[" * 100_000, b'{"reason": "%s"}' % (b"x" * 2001)]
)
def test_a_word_that_is_wrong_changes_nothing(exchange: Exchange, body: bytes) -> None:
    _, _, delivery_id = delivered(exchange, UTRECHT)
    answer = ask(exchange, f"/rest/mailbox/{delivery_id}/refuse", civic(), method="POST", data=body)
    assert problem(answer) == (400, "REQUEST_INVALID")
    assert problem(say(exchange, delivery_id, "refuse", civic())) == (400, "REQUEST_INVALID"), "a refusal says why"
    assert exchange.rows("SELECT state FROM delivery WHERE id = :id", id=delivery_id) == [{"state": "delivered"}]


def test_where_the_backbone_chose_the_receiver_it_gets_our_envelope_under_the_message_id_of_the_list(exchange: Exchange) -> None:
    message_id, now = s.message_id(), datetime.now(UTC)
    content = invented.mbo_ganger_bericht(
        business_id=str(uuid.uuid4()),
        sender="25BE",
        receiver=HUB,
        created=now,
        brin="25BE",
        schooljaar="2026-2027",
        geboortedatum="2010-04-01",
        peildatum="2026-10-01",
        burgerservicenummer=invented.bsn(1),
        gemeentecode="0344",
    )
    hand_in(exchange, exchange.signed(content, message_id, GANGER), GANGER, "/wus/vva/1")
    delivery_id = exchange.run(in_mailbox(exchange, message_id))
    (letter,) = get(exchange, "/rest/mailbox?dienst=vva", civic())["deliveries"]
    _, headers, body = ask(exchange, f"/rest/mailbox/{delivery_id}", civic())
    received = datetime.fromisoformat(headers["Received-At"])
    envelope = s.verifier(verify_policy.VerifyPolicy()).verify(body, at=received)
    assert envelope.certificate_oin == HUB
    assert (envelope.sender, envelope.receiver) == (SCHOOL, UTRECHT)
    assert envelope.message_id == letter["message_id"] == headers["Message-Id"] == f"urn:uuid:{delivery_id}"


def test_mail_that_was_not_fetched_in_time_can_still_be_listed_fetched_and_confirmed(exchange: Exchange) -> None:
    raw, _, delivery_id = delivered(exchange, UTRECHT)
    later = int((datetime.now(UTC) + timedelta(days=2)).timestamp() * 1e6)
    assert exchange.store.outbox.unfetched(actor="test", now_us=later, fetch_within_us={PROEF: 86_400_000_000}) >= 1
    (letter,) = [one for one in get(exchange, "/rest/mailbox?limit=1000", civic())["deliveries"] if one["delivery_id"] == delivery_id]
    assert letter["overdue"] is True
    assert sum(line["overdue"] for line in get(exchange, "/rest/mailboxes", civic())["mailboxes"]) >= 1
    assert ask(exchange, f"/rest/mailbox/{delivery_id}", civic())[2] == raw
    assert problem(say(exchange, delivery_id, "refuse", civic(), reason="double")) == (409, "DELIVERY_FINISHED")
    assert json.loads(say(exchange, delivery_id, "confirm", civic())[2])["counted"] is True


def empty(exchange: Exchange) -> None:
    """Confirms whatever stands in the municipality's mailboxes."""

    async def act() -> None:
        async with client(exchange, civic()) as session:
            while found := json.loads((await request(session, "GET", "/rest/mailbox?limit=1000"))[2])["deliveries"]:
                for one in found:
                    await request(session, "POST", f"/rest/mailbox/{one['delivery_id']}/confirm")

    exchange.run(act())


def test_whoever_waits_gets_the_mail_when_it_comes_and_an_empty_list_when_none_does(exchange: Exchange) -> None:
    empty(exchange)
    assert get(exchange, "/rest/mailbox?wait=1", civic()) == {"deliveries": []}

    async def act() -> tuple[Answer, str]:
        async with client(exchange, civic()) as session, client(exchange) as las:
            waiting = asyncio.create_task(request(session, "GET", "/rest/mailbox?wait=30"))
            await asyncio.sleep(0.2)
            assert not waiting.done()
            message_id = s.message_id()
            headers = {"Content-Type": "text/xml; charset=utf-8", "SOAPAction": f'"{PROEF}"'}
            await request(las, "POST", "/wus/proef/1", data=exchange.proef(message_id, receiver=UTRECHT), headers=headers)
            return await waiting, message_id

    answer, message_id = exchange.run(act())
    (letter,) = json.loads(answer[2])["deliveries"]
    assert letter["message_id"] == message_id


def test_requests_that_wait_keep_nobody_out_have_a_bound_of_their_own_and_end_when_the_gateway_stops(exchange: Exchange) -> None:
    empty(exchange)
    assert rest_party.WAITING_EACH > AT_A_TIME

    async def act() -> tuple[list[Answer], Answer, Answer]:
        async with client(exchange, civic()) as session:
            waiting = [asyncio.create_task(request(session, "GET", "/rest/mailbox?wait=30")) for _ in range(AT_A_TIME)]
            await asyncio.sleep(0.5)
            waiting += [
                asyncio.create_task(request(session, "GET", "/rest/mailbox?wait=30")) for _ in range(rest_party.WAITING_EACH - AT_A_TIME)
            ]
            await asyncio.sleep(0.5)
            another = await request(session, "GET", "/rest/mailboxes")
            one_more = await request(session, "GET", "/rest/mailbox?wait=30")
            assert not any(task.done() for task in waiting)
            async with asyncio.timeout(5):
                await exchange.stop_workers("gateway")
                answers = await asyncio.gather(*waiting)
        exchange.start_worker("gateway")
        await listening(exchange)
        return answers, another, one_more

    answers, another, one_more = exchange.run(act())
    assert another[0] == 200
    assert problem(one_more) == (503, "Server.DK0051")
    assert one_more[1]["Retry-After"]
    assert {(status, body) for status, _, body in answers} == {(200, b'{"deliveries":[]}')}


def test_whoever_hangs_up_while_it_waits_makes_room_for_others(exchange: Exchange) -> None:
    empty(exchange)

    async def act() -> None:
        async with client(exchange, civic()) as session:
            waiting = [asyncio.create_task(request(session, "GET", "/rest/mailbox?wait=30")) for _ in range(rest_party.WAITING_EACH)]
            while (await request(session, "GET", "/rest/mailbox?wait=1"))[0] != 503:
                await asyncio.sleep(0.05)
            for task in waiting:
                task.cancel()
            await asyncio.gather(*waiting, return_exceptions=True)
        async with client(exchange, civic()) as session, asyncio.timeout(15):
            while (await request(session, "GET", "/rest/mailbox?wait=1"))[0] != 200:
                await asyncio.sleep(0.05)

    exchange.run(act())


def test_when_a_mandate_ends_nothing_can_be_listed_or_fetched_any_more(exchange: Exchange) -> None:
    _, _, delivery_id = delivered(exchange, UTRECHT)
    ended = register()
    for row in ended["mandates"]:
        if (row["organisation"], row["dienst"]) == (UTRECHT, "proef"):
            row["until"] = "2026-01-01"

    async def switch(document: dict[str, Any]) -> None:
        exchange.store.registry.save_register(document, who="test", now_us=exchange.clock.now_us())

    exchange.run(switch(ended))
    try:
        exchange.run(until_gone(exchange, "/rest/mailboxes", '"proef"'))
        assert delivery_id not in str(get(exchange, "/rest/mailbox?limit=1000", civic()))
        assert problem(ask(exchange, f"/rest/mailbox/{delivery_id}", civic())) == (404, "DELIVERY_UNKNOWN")
        exchange.run(until(lambda: exchange.rows("SELECT state FROM delivery WHERE id = :id", id=delivery_id) == [{"state": "routed"}]))
        assert problem(say(exchange, delivery_id, "confirm", civic())) == (404, "DELIVERY_UNKNOWN")
    finally:
        exchange.run(switch(register()))
    exchange.run(in_mailbox(exchange, reference_of(exchange, delivery_id)))
    reference = exchange.rows("SELECT m.reference FROM message m JOIN delivery d ON d.message_seq = m.seq WHERE d.id = :id", id=delivery_id)
    events = [event.kind for event in exchange.store.journal.of_message(reference[0]["reference"])]
    assert "withdrawn" in events
    assert "seen" not in events, "nobody had it: there was no copy, and it was not fetched"


def reference_of(exchange: Exchange, delivery_id: str) -> str:
    """The MessageID of a delivery's message."""
    query = "SELECT m.message_id FROM message m JOIN delivery d ON d.message_seq = m.seq WHERE d.id = :id"
    return str(exchange.rows(query, id=delivery_id)[0]["message_id"])


async def until_gone(exchange: Exchange, path: str, what: str) -> None:
    """The gateway sees a new register within a second or two."""
    async with client(exchange, civic()) as session:
        while what in (await request(session, "GET", path))[2].decode():
            await asyncio.sleep(0.1)


# -- what became of it -------------------------------------------------------------------------------------------------------------------


def row_of(exchange: Exchange, message_id: str) -> dict[str, Any]:
    (row,) = exchange.rows("SELECT reference, business_id, sender FROM message WHERE message_id = :id", id=message_id)
    return row


def test_a_sender_finds_its_message_by_each_of_its_ids_with_what_to_do(exchange: Exchange) -> None:
    _, message_id, delivery_id = delivered(exchange, UTRECHT)
    row = row_of(exchange, message_id)
    say(exchange, delivery_id, "refuse", civic(), reason="not_our_resident")
    answers = [
        get(exchange, f"/rest/status?{query}")["messages"]
        for query in (
            f"reference={row['reference']}",
            f"message-id={message_id}",
            f"business-id={row['business_id']}&sender={SCHOOL}",
            f"business-id={row['business_id']}",
        )
    ]
    assert answers == [answers[0]] * 4
    (told,) = answers[0]
    assert (told["reference"], told["message_id"], told["business_id"], told["sender"]) == (
        row["reference"],
        message_id,
        row["business_id"],
        SCHOOL,
    )
    assert (told["state"], told["dienst"], told["versie"], told["bericht"]) == ("routed", "proef", "1", "proef")
    (delivery,) = told["deliveries"]
    assert (delivery["state"], delivery["code"], delivery["owner"], delivery["receiver"]) == (
        "failed",
        "NOT_OUR_RESIDENT",
        "school",
        UTRECHT,
    )
    assert delivery["remedy"].startswith("Controleer het woonadres")
    assert delivery["remedy_en"].startswith("Check the pupil's address")
    assert told["received_at"] < delivery["delivered_at"] < delivery["changed_at"] < delivery["deadline"]


def test_what_was_handed_in_over_rest_is_described_and_its_location_says_what_became_of_it(exchange: Exchange) -> None:
    business_id = str(uuid.uuid4())
    content = {
        "identificatiecodeBedrijfsdocument": business_id,
        "verzendendeInstantie": SCHOOL,
        "ontvangendeInstantie": UTRECHT,
        "datumTijdBedrijfsdocument": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
    }
    body = {"proef": {"bedrijfsdocument": content}}
    operation = openapi.operation("POST", "/rest/proef/1")
    openapi.validate(body, operation["requestBody"]["content"]["application/json"]["schema"])
    path = f"/rest/proef/1?edu-from={SCHOOL}&edu-to={UTRECHT}"
    status, headers, answer = ask(exchange, path, method="POST", json=body)
    assert status == 201, answer
    (told,) = get(exchange, headers["Location"])["messages"]
    assert (told["reference"], told["business_id"]) == (json.loads(answer)["reference"], business_id)
    del content["verzendendeInstantie"]
    refused = ask(exchange, path, method="POST", json=body)
    assert problem(refused) == (400, "Client.DK0004")
    with pytest.raises(jsonschema.ValidationError):
        openapi.validate(body, operation["requestBody"]["content"]["application/json"]["schema"])


def test_a_refused_hand_in_is_found_too_with_every_mistake(exchange: Exchange) -> None:
    message_id = s.message_id()
    raw = exchange.signed(b'<proef xmlns="urn:x-backbone:proef:1"><bedrijfsdocument/></proef>', message_id, PROEF, receiver=MBO)
    hand_in(exchange, raw)
    (told,) = get(exchange, f"/rest/status?message-id={message_id}")["messages"]
    assert (told["state"], told["code"], told["owner"], told["deliveries"]) == ("refused", "Client.DK0004", "supplier", [])
    assert any("identificatiecodeBedrijfsdocument" in error for error in told["errors"])
    assert get(exchange, f"/rest/status?reference={told['reference']}")["messages"] == [told]


def test_another_certificate_sees_nothing_of_it(exchange: Exchange) -> None:
    _, message_id, _ = delivered(exchange, UTRECHT)
    row = row_of(exchange, message_id)
    for party in (civic(), s.party("sis", oin=SIS)):
        for query in (f"reference={row['reference']}", f"message-id={message_id}", f"business-id={row['business_id']}"):
            assert get(exchange, f"/rest/status?{query}", party) == {"messages": []}
        assert get(exchange, "/rest/changes", party)["messages"] == []


@pytest.mark.parametrize(
    ("path", "where"),
    [
        ("/rest/status", "query"),
        ("/rest/status?reference=1&message-id=2", "query"),
        ("/rest/status?reference=1&sender=00000003272448340000", "sender"),
        ("/rest/status?business-id=1&sender=school", "sender"),
        ("/rest/status?refrence=1", "refrence"),
        ("/rest/status?reference=%00", "reference"),
        ("/rest/changes?since=yesterday", "since"),
        ("/rest/changes?limit=201", "limit"),
        ("/rest/changes?wait=60", "wait"),
    ],
)
def test_a_question_about_a_message_that_is_wrong_is_told_why(exchange: Exchange, path: str, where: str) -> None:
    answer = ask(exchange, path)
    assert problem(answer) == (400, "REQUEST_INVALID")
    assert json.loads(answer[2])["where"] == where


def test_a_sender_that_asks_for_changes_hears_of_each_once_and_waits_for_the_next(exchange: Exchange) -> None:
    async def act() -> None:
        async with client(exchange) as session, client(exchange, civic()) as receiver:

            async def changes(since: str, wait: int) -> dict[str, Any]:
                status, _, body = await request(session, "GET", f"/rest/changes?since={since}&wait={wait}")
                assert status == 200, body
                return dict(json.loads(body))

            async def until_state(since: str, state: str) -> str:
                while True:
                    page = await changes(since, 30)
                    since = page["next"]
                    for told in page["messages"]:
                        if told["message_id"] == message_id and [one["state"] for one in told["deliveries"]] == [state]:
                            return since

            since = (await changes("newest", 0))["next"]
            while (page := await changes(since, 1))["messages"]:  # what earlier tests left behind is done with
                since = page["next"]
            assert page == {"messages": [], "next": since, "more": False}
            message_id = s.message_id()
            headers = {"Content-Type": "text/xml; charset=utf-8", "SOAPAction": f'"{PROEF}"'}
            await request(session, "POST", "/wus/proef/1", data=exchange.proef(message_id, receiver=UTRECHT), headers=headers)
            since = await until_state(since, "delivered")
            delivery_id = await in_mailbox(exchange, message_id)
            await request(receiver, "POST", f"/rest/mailbox/{delivery_id}/confirm")
            since = await until_state(since, "acknowledged")
            assert (await changes(since, 0))["messages"] == []

    exchange.run(act())


def test_everything_from_the_beginning_comes_in_pages_that_leave_nothing_out(exchange: Exchange) -> None:
    async def act() -> tuple[set[str], set[str]]:
        found, since = set(), ""
        async with client(exchange) as session:
            while True:
                page = json.loads((await request(session, "GET", f"/rest/changes?limit=3{since}"))[2])
                assert len(page["messages"]) <= 3
                found |= {told["reference"] for told in page["messages"]}
                since = f"&since={page['next']}"
                if not page["more"]:
                    break
        handed_in = exchange.rows("SELECT reference FROM message WHERE system = :oin", oin=LAS)
        handed_in += exchange.rows("SELECT reference FROM refusal WHERE system = :oin", oin=LAS)
        return found, {row["reference"] for row in handed_in}

    exchange.run(until(lambda: not exchange.rows("SELECT 1 FROM event WHERE block IS NULL")))
    newest = "SELECT 1 FROM counter WHERE name = 'changes' AND value = (SELECT max(seq) FROM journal)"
    exchange.run(until(lambda: bool(exchange.rows(newest))))
    found, handed_in = exchange.run(act())
    assert len(handed_in) > 20
    assert found == handed_in


def test_an_id_that_looks_like_a_personal_number_is_in_no_answer_and_no_log(exchange: Exchange, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("DEBUG"):
        answer = ask(exchange, "/rest/status?reference=1&message-id=999900006")
        assert problem(answer) == (400, "REQUEST_INVALID")
        assert get(exchange, "/rest/status?business-id=999900006") == {"messages": []}
        assert problem(ask(exchange, "/rest/changes?since=999900006"))[0] == 400
    assert b"999900006" not in answer[2]
    logged = str([vars(record) for record in caplog.records])
    assert "'path': '/rest/status'" in logged
    assert "999900006" not in logged


# -- is everything ready? ----------------------------------------------------------------------------------------------------------------


def test_a_supplier_sees_for_every_school_whether_certificate_mandate_and_endpoint_are_right(exchange: Exchange) -> None:
    said = get(exchange, "/rest/explain?dienst=proef&versie=1")
    assert (said["system"], said["dienst"], said["version"]["ok"]) == (LAS, "proef", True)
    (school,) = said["schools"]
    assert (school["organisation"], school["name"], school["sends"], school["receives"]) == (SCHOOL, "Emmaus College", True, True)
    assert all(school[name]["ok"] for name in ("certificate", "mandate", "endpoint"))
    later = get(exchange, "/rest/explain?dienst=proef&versie=1&as-of=2031-08-01")
    assert later["as_of"] == "2031-08-01"
    assert (later["schools"][0]["certificate"]["rule"], later["schools"][0]["sends"]) == ("certificate-ended", False), "it is valid a year"


def test_a_supplier_asks_about_hundreds_of_schools_in_one_question(exchange: Exchange) -> None:
    schools = [SCHOOL, MBO, *(f"0000000700099{a}{b}00000" for a in "ABCDEFGHIJKLMNOPQRSTUVWXYZ" for b in "ABCDEFGHIJKL")]
    answer = ask(exchange, "/rest/explain", method="POST", json={"dienst": "proef", "versie": "1", "schools": schools})
    assert answer[0] == 200, answer
    told = {school["organisation"]: school for school in json.loads(answer[2])["schools"]}
    assert list(told) == schools
    assert told[SCHOOL]["receives"]
    assert (told[MBO]["mandate"]["rule"], told[MBO]["mandate"]["owner"]) == ("mandate-missing", "school")
    assert "Studiekern" not in answer[2].decode(), "whose mandate there is instead is nobody's business"


@pytest.mark.parametrize(
    ("changes", "where"),
    [
        ({"schools": []}, "schools"),
        ({"schools": [SCHOOL] * 1001}, "schools"),
        ({"schools": [SCHOOL, "12"]}, "schools[1]"),
        ({"schools": SCHOOL}, "schools"),
        ({"dienst": None}, "dienst"),
        ({"as_of": "1 August"}, "as_of"),
        ({"as_of": 2027}, "as_of"),
        ({"system": SIS}, "body"),
    ],
)
def test_a_question_about_schools_that_is_wrong_is_told_where(exchange: Exchange, changes: dict[str, Any], where: str) -> None:
    body = {"dienst": "proef", "versie": "1", "schools": [SCHOOL]} | changes
    answer = ask(exchange, "/rest/explain", method="POST", json=body)
    assert problem(answer) == (400, "REQUEST_INVALID")
    assert json.loads(answer[2])["where"] == where


def test_the_command_line_says_the_same(exchange: Exchange, capsys: pytest.CaptureFixture[str]) -> None:
    def explain(*given: str) -> int:
        arguments = ["register", "explain", "--dienst", "proef", "--versie", "1", "--home", str(exchange.home), *given]
        return exchange.run(asyncio.to_thread(run.main, arguments))

    assert explain("--system", LAS, "--json") == 0
    assert json.loads(capsys.readouterr().out) == get(exchange, "/rest/explain?dienst=proef&versie=1")
    assert explain("--system", LAS, "--as-of", "1999-01-01") == 0
    said = capsys.readouterr().out
    assert "Emmaus College: sends and receives" in said
    assert "certificate: not looked at" in said
    assert explain("--system", "00000003000000990000") == 1
    said = capsys.readouterr().out
    assert "Client.DK0002 [supplier]" in said
    assert "school" not in said.splitlines()[0], "of a system that is not known nobody can count them"
    assert explain("--system", "LAS") == 1
    assert "not an OIN" in capsys.readouterr().err


def test_the_command_line_sees_that_a_certificate_ends_before_the_day_that_is_asked_about(
    exchange: Exchange, capsys: pytest.CaptureFixture[str]
) -> None:
    def explain(*given: str) -> tuple[int, str]:
        arguments = ["register", "explain", "--dienst", "proef", "--versie", "1", "--home", str(exchange.home), "--system", LAS, *given]
        status = exchange.run(asyncio.to_thread(run.main, arguments))
        said = capsys.readouterr()
        return status, said.out + said.err

    cert = s.party("las-short", oin=LAS, days=30).certificate
    today = datetime.now(UTC)
    status, said = explain("--cert", str(cert), "--as-of", f"{today + timedelta(days=20):%Y-%m-%d}")
    assert (status, "sends and receives" in said, "certificate: until " in said) == (0, True, True)
    status, said = explain("--cert", str(cert), "--as-of", f"{today + timedelta(days=60):%Y-%m-%d}")
    assert (status, "not ready" in said, "Client.EK0030" in said) == (1, True, True)
    status, said = explain("--cert", str(s.party("sis", oin=SIS).certificate))
    assert (status, f"is of {SIS}, not of {LAS}" in said) == (1, True)


# -- the description, and who may ask ----------------------------------------------------------------------------------------------------


def without_certificate(exchange: Exchange, path: str) -> Answer:
    async def act() -> Answer:
        connector = aiohttp.TCPConnector(ssl=ssl.create_default_context(cafile=s.folder() / "ca.pem"))
        async with aiohttp.ClientSession(f"https://localhost:{exchange.settings.gateway_port}", connector=connector) as session:
            return await request(session, "GET", path)

    return exchange.run(act())


def test_the_openapi_description_is_there_for_everybody_and_names_this_gateway(exchange: Exchange) -> None:
    status, headers, body = without_certificate(exchange, "/rest/openapi.json")
    assert (status, headers["Content-Type"]) == (200, "application/json")
    assert json.loads(body) == json.loads(json.dumps(openapi.DOCUMENT | {"servers": [{"url": exchange.settings.gateway_address}]}))


@pytest.mark.parametrize(
    "path",
    ["/rest/mailboxes", "/rest/mailbox", "/rest/mailbox/1", "/rest/status?reference=1", "/rest/changes", "/rest/explain?dienst=a&versie=1"],
)
def test_whoever_shows_no_certificate_or_is_not_in_the_register_is_told_so(exchange: Exchange, path: str) -> None:
    assert problem(without_certificate(exchange, path)) == (401, "Client.EK0030")
    assert problem(ask(exchange, path, s.party("stranger", oin="00000003000000990000"))) == (403, "Client.DK0002")


def test_the_answers_of_a_store_that_is_away_say_that_it_may_be_tried_again(exchange: Exchange, monkeypatch: pytest.MonkeyPatch) -> None:
    def away(*_: object, **__: object) -> None:
        raise StoreUnavailable("locked")

    monkeypatch.setattr(Enquiries, "by_reference", away)
    monkeypatch.setattr(Enquiries, "changed", away)
    for path in ("/rest/status?reference=1", "/rest/changes?wait=30"):
        answer = ask(exchange, path)
        assert problem(answer) == (503, "Server.DK0051")
        assert answer[1]["Retry-After"] == "2"
