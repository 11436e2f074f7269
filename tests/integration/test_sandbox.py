"""The sandbox as a backbone meets it: real TLS, real sockets; each behaviour does what it says."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import hashlib
import json
import os
import re
import signal
import socket
import ssl
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

import aiohttp
import pytest
from lxml import etree

import run
from adapters import pki, soap, verify_policy, wsse
from adapters.answers import NAMESPACE
from adapters.errors import UsageError
from adapters.parties.behaviour import KINDS, Behaviour
from adapters.parties.sandbox import Control, Received, Sandbox
from adapters.parties.sandbox_cli import _as_json, _as_line
from adapters.signing import Signer
from schemas.envelope import Envelope
from schemas.faults import Fault
from schemas.oin import Oin
from tests.support import signing as s
from tests.support.broker import until

T = TypeVar("T")
Answer = tuple[int, dict[str, str], bytes]
#: The receiver; its supplier's system; the backbone that connects.
GEMEENTE, SYSTEM, HUB = Oin("00000001001234560000"), "00000003272448370000", s.HUB
ROOT = Path(run.__file__).parent


def act(work: Coroutine[Any, Any, T], *, within_s: float = 30.0) -> T:
    async def limited() -> T:
        async with asyncio.timeout(within_s):
            return await work

    return asyncio.run(limited())


def sandbox(*behaviours: str, **more: Any) -> Sandbox:
    files = s.party("civic", oin=SYSTEM)
    made = Sandbox(*more.pop("oins", (GEMEENTE,)), cert=files.certificate, key=files.key, trust=s.folder() / "ca.pem", **more)
    made.plan = [Behaviour.of(text) for text in behaviours]
    return made


def hub() -> pki.Party:
    return s.party("hub", oin=HUB)


@contextlib.asynccontextmanager
async def backbone(target: Sandbox, party: pki.Party | None = None, **more: Any) -> AsyncIterator[aiohttp.ClientSession]:
    context = ssl.create_default_context(cafile=s.folder() / "ca.pem")
    if party is not None:
        context.load_cert_chain(party.certificate, party.key)
    async with aiohttp.ClientSession(target.url, connector=aiohttp.TCPConnector(ssl=context, limit=0), **more) as session:
        yield session


def message(**changes: Any) -> bytes:
    """A message that passes through: signed by the sender's system, from the school, for the municipality."""
    return s.signed(**{"receiver": GEMEENTE, "created": datetime.now(UTC)} | changes)


async def post(session: aiohttp.ClientSession, body: bytes, **headers: str) -> Answer:
    given = {"Content-Type": "text/xml; charset=utf-8", "SOAPAction": f'"{s.ACTION}"'} | {
        k.replace("_", "-"): v for k, v in headers.items()
    }
    async with session.post("/wus/ontvanger?x=1", data=body, headers=given, allow_redirects=False) as answer:
        return answer.status, dict(answer.headers), await answer.read()


async def push(target: Sandbox, body: bytes | None = None, **headers: str) -> Answer:
    """One message on a connection of its own."""
    async with backbone(target, hub()) as session:
        return await post(session, message() if body is None else body, **headers)


def met(behaviour: str, body: bytes | None = None, **more: Any) -> Answer:
    """What a message gets from a sandbox that behaves so."""

    async def meet() -> Answer:
        async with sandbox(behaviour, **more) as target:
            return await push(target, body)

    return act(meet())


def verified(body: bytes) -> Envelope:
    return s.verifier(verify_policy.VerifyPolicy(limits=soap.Limits(size=8 << 20))).verify(body, at=datetime.now(UTC))


def refusal(body: bytes) -> str:
    """The code with which our own verifier refuses this answer."""
    with pytest.raises(Fault) as refused:
        verified(body)
    return refused.value.code


def confirmations(body: bytes) -> list[str | None]:
    return [one.get("Value") for one in soap.parse(body).iter(f"{{{soap.WSSE11}}}SignatureConfirmation")]


def fault_of(body: bytes) -> tuple[str, str]:
    content = verified(body).content
    assert content.tag == f"{{{soap.SOAP}}}Fault"
    return str(content.findtext("faultcode")), str(content.findtext("faultstring"))


# -- good --------------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["las", "hub"])
def test_a_message_signed_by_its_sender_or_by_the_backbone_gets_a_signed_answer(name: str) -> None:
    message_id = s.message_id().upper().replace("URN:UUID:", "urn:uuid:")
    raw = message(message=message_id, by=s.signer(name, oin=HUB if name == "hub" else s.LAS))
    status, headers, body = met("good", raw)
    asked, answer = verified(raw), verified(body)
    assert (status, headers["Content-Type"]) == (200, "text/xml; charset=utf-8")
    assert answer.relates_to == ((soap.REPLY, message_id),)
    assert answer.to == soap.address(s.SCHOOL)
    assert (answer.sender, answer.action, answer.certificate_oin) == (GEMEENTE, s.ACTION, SYSTEM)
    assert answer.message_id != asked.message_id
    assert confirmations(body) == [asked.signature_value]
    assert {"To", "From", "Action", "MessageID", "RelatesTo", "Timestamp", "Body"} <= set(answer.signed)
    assert answer.content.tag == f"{{{NAMESPACE}}}ontvangst"


def test_the_content_of_a_good_answer_can_be_somebody_elses() -> None:
    body = met("good", content=lambda message, _now: f"<dank><voor>{message.message_id}</voor></dank>".encode())[2]
    assert verified(body).content.tag == "dank"


def test_a_sandbox_receives_for_several_and_answers_as_the_one_that_was_addressed() -> None:
    school = Oin("0000000700011BB00000")
    body = met("good", message(receiver="0000000700011BB00001"), oins=(GEMEENTE, school))[2]
    assert verified(body).sender == school


# -- what it receives --------------------------------------------------------------------------------------------------------------------


def test_it_remembers_what_came_by_ids_and_hashes() -> None:
    raw, again = message(message="urn:uuid:0f1a4c52-7f0b-4a7e-9d55-0d8f6a1c2b3e"), message(by=s.signer("hub", oin=HUB))

    async def meet() -> Sandbox:
        async with sandbox() as target:
            await push(target, raw)
            await push(target, again)
            return target

    target = act(meet())
    first, second = target.received
    assert first.message_id == "urn:uuid:0f1a4c52-7f0b-4a7e-9d55-0d8f6a1c2b3e"
    assert first.sha256 == hashlib.sha256(raw).hexdigest() != second.sha256
    assert first.content_sha256 == second.content_sha256 == wsse.content_digest(verified(raw)).hex()
    assert (first.sender, first.receiver, first.signed_by, first.connected) == (s.SCHOOL, GEMEENTE, s.LAS, HUB)
    assert second.signed_by == HUB
    assert (first.path, first.soap_action, first.content_type) == ("/wus/ontvanger?x=1", s.ACTION, "text/xml; charset=utf-8")
    assert (first.code, str(first.behaviour)) == (None, "good")
    assert first.at <= second.at
    assert (target.requests, target.at_once) == (2, 0)


def test_it_counts_how_many_came_at_once() -> None:
    async def meet() -> Sandbox:
        async with sandbox("hang") as target, backbone(target, hub()) as session:
            asked = [asyncio.ensure_future(post(session, message())) for _ in range(5)]
            await until(lambda: len(target.received) == 5)
            for one in asked:
                one.cancel()
            await until(lambda: target.at_once == 0)  # who hangs up is no longer waited for
            target.behaviour = Behaviour("good")
            await post(session, message())
            return target

    assert act(meet()).most_at_once == 5


def test_it_forgets_the_oldest_but_counts_them() -> None:
    async def meet() -> None:
        async with sandbox() as target, backbone(target, hub()) as session:
            target.received = type(target.received)(maxlen=2)
            for number in range(3):
                await post(session, message(message=f"urn:uuid:00000000-0000-4000-8000-00000000000{number}"))
            assert [one.message_id[-1:] for one in target.received if one.message_id] == ["1", "2"]
            assert target.requests == 3

    act(meet())


@pytest.mark.parametrize(
    ("raw", "headers", "code"),
    [
        (lambda: message().replace(b"A-1", b"A-2"), {}, "Client.EK0031"),
        (lambda: message(created=datetime.now(UTC) - timedelta(hours=1)), {}, "Client.EK0031"),
        (lambda: message(by=s.foreign_signer()), {}, "Client.EK0031"),
        (lambda: message(receiver="00000001001799600000"), {}, "Client.DK0002"),
        (lambda: b"hello", {}, "Client.NOT_XML"),
        (message, {"SOAPAction": '"urn:another"'}, "Client.DK0003"),
        (message, {"Content_Type": "application/json"}, "Client.DK0009"),
        (message, {"Content_Encoding": "br"}, "Client.DK0009"),
    ],
    ids=["changed", "old", "untrusted", "not for it", "not XML", "SOAPAction", "content type", "encoding"],
)
def test_a_message_that_is_wrong_is_refused_with_a_signed_fault_whatever_the_behaviour(
    raw: Callable[[], bytes], headers: dict[str, str], code: str
) -> None:
    async def meet() -> tuple[Answer, Sandbox]:
        async with sandbox("http=503*1") as target:
            return await push(target, raw(), **headers), target

    (status, _, body), target = act(meet())
    assert status == 500
    assert b"<wsse:Security" in body
    assert f"<faultcode>soapenv:{code}</faultcode>".encode() in body
    if code != "Client.NOT_XML":  # then nobody can be named in To
        assert fault_of(body)[0] == f"soapenv:{code}"
    assert [one.code for one in target.received] == [code]
    assert str(target.behaviour) == "http=503*1"  # it is for a message that is right


def test_a_packed_message_is_unpacked() -> None:
    async def meet() -> Answer:
        async with sandbox() as target:
            return await push(target, gzip.compress(message()), Content_Encoding="gzip")

    assert act(meet())[0] == 200


@pytest.mark.parametrize(("connects", "code"), [("nobody", "Client.EK0030"), ("another", "Client.DK0002")])
def test_who_shows_no_certificate_or_may_not_connect_is_refused(connects: str, code: str) -> None:
    async def meet() -> Answer:
        async with (
            sandbox(peers=[Oin(HUB)]) as target,
            backbone(target, None if connects == "nobody" else s.party()) as session,
        ):
            return await post(session, message())

    status, _, body = act(meet())
    assert status == 500
    assert f"<faultcode>soapenv:{code}</faultcode>".encode() in body


@pytest.mark.parametrize("given", [True, False])
def test_who_connects_or_signs_with_a_revoked_certificate_is_refused_when_the_list_was_given(tmp_path: Path, given: bool) -> None:
    """A PKI of its own: others write the shared list meanwhile."""
    pki.init(tmp_path)
    ours, client = pki.issue(tmp_path, oin=SYSTEM, name="civic"), pki.issue(tmp_path, oin=HUB, name="hub")
    gone = pki.issue(tmp_path, oin=HUB, name="gone", revoked=True)
    lists = {"crls": [tmp_path / "crl.pem"]} if given else {}

    async def meet() -> list[str]:
        heard = []
        target = Sandbox(GEMEENTE, cert=ours.certificate, key=ours.key, trust=tmp_path / "ca.pem", **lists)
        async with target:
            for connects, signs in ((gone, client), (client, gone), (client, client)):
                context = ssl.create_default_context(cafile=tmp_path / "ca.pem")
                context.load_cert_chain(connects.certificate, connects.key)
                signer = Signer(pki.read_key(signs.key), pki.read_certificate(signs.certificate))
                async with aiohttp.ClientSession(target.url, connector=aiohttp.TCPConnector(ssl=context)) as session:
                    _, _, body = await post(session, message(by=signer, sender=HUB))
                heard.append(body.decode().partition("<faultcode>")[2].partition("<")[0])
        return heard

    codes = ["soapenv:Client.EK0030", "soapenv:Client.EK0031"] if given else ["", ""]
    assert act(meet()) == [*codes, ""]


def test_a_certificate_of_an_unknown_ca_ends_the_handshake(tmp_path: Path) -> None:
    pki.init(tmp_path)
    unknown = pki.issue(tmp_path, oin=HUB, name="hub")

    async def meet() -> None:
        async with sandbox() as target, backbone(target, unknown) as session:
            with pytest.raises(aiohttp.ClientError):
                await post(session, message())
            assert target.requests == 0

    act(meet())


# -- late, or not at all -----------------------------------------------------------------------------------------------------------------


def test_slow_answers_well_and_not_before_its_time() -> None:
    async def meet() -> tuple[Answer, float]:
        async with sandbox("slow=0.3") as target:
            started = asyncio.get_running_loop().time()
            return await push(target), asyncio.get_running_loop().time() - started

    answer, took_s = act(meet())
    assert verified(answer[2]).sender == GEMEENTE
    assert took_s >= 0.3


def test_hang_never_answers_until_it_stops() -> None:
    async def meet() -> None:
        async with sandbox("hang") as target:
            asked = asyncio.ensure_future(push(target))
            await until(lambda: target.received)
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(asyncio.shield(asked), 0.3)
        with pytest.raises(aiohttp.ClientError):
            await asked

    act(meet())


def test_down_refuses_connections_ends_those_there_are_and_comes_up_on_the_same_port() -> None:
    async def meet() -> None:
        async with sandbox("down") as target, backbone(target, hub()) as session:
            with pytest.raises(aiohttp.ClientConnectorError):
                await post(session, message())
            target.behaviour = Behaviour("good")
            assert (await post(session, message()))[0] == 200
            target.behaviour = Behaviour("hang")
            asked = asyncio.ensure_future(post(session, message()))
            await until(lambda: len(target.received) == 2)
            target.behaviour = Behaviour("down")
            with pytest.raises(aiohttp.ClientError):
                await asked
            with pytest.raises(aiohttp.ClientConnectorError):
                await post(session, message())
            for name in ("good", "down", "good"):  # faster than the loop can follow
                target.behaviour = Behaviour(name)
            assert (await post(session, message()))[0] == 200

    act(meet())


def test_coming_up_on_a_port_that_somebody_took_meanwhile_fails_and_can_be_tried_again() -> None:
    async def meet() -> None:
        async with sandbox("down") as target:
            with socket.create_server(("127.0.0.1", target.port)), pytest.raises(OSError, match="in use"):
                target.behaviour = Behaviour("good")
            assert target.behaviour.name == "down"
            target.behaviour = Behaviour("good")
            assert (await push(target))[0] == 200

    act(meet())


def test_cut_closes_after_reading_the_request() -> None:
    async def meet() -> None:
        async with sandbox("cut") as target:
            with pytest.raises(aiohttp.ClientConnectionError):
                await push(target)
            assert target.received[0].content_sha256

    act(meet())


def test_cut_half_closes_after_half_of_the_answer() -> None:
    async def meet() -> tuple[int, int]:
        async with sandbox("cut-half") as target, backbone(target, hub()) as session:
            headers = {"Content-Type": "text/xml", "SOAPAction": '""'}
            async with session.post("/", data=message(), headers=headers) as answer:
                got, whole = b"", int(answer.headers["Content-Length"])
                with pytest.raises(aiohttp.ClientPayloadError):
                    async for part in answer.content.iter_any():
                        got += part
                return len(got), whole

    got, whole = act(meet())
    assert got == (whole + 1) // 2


def test_drip_sends_byte_by_byte() -> None:
    async def meet() -> list[int]:
        headers = {"Content-Type": "text/xml", "SOAPAction": '""'}
        async with (
            sandbox("drip=0.05") as target,
            backbone(target, hub()) as session,
            session.post("/", data=message(), headers=headers) as answer,
        ):
            return [len(await answer.content.readany()) for _ in range(4)]

    assert act(meet()) == [1, 1, 1, 1]


def test_all_that_drips_is_a_good_answer() -> None:
    assert verified(met("drip=0")[2]).sender == GEMEENTE


# -- rude HTTP, and faults ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("behaviour", "status", "headers"),
    [
        ("http=500", 500, {}),
        ("http=502,body", 502, {}),
        ("http=503,Retry-After=30", 503, {"Retry-After": "30"}),
        ("http=503,Retry-After=Fri, 31 Dec 2027 23:59:59 GMT", 503, {"Retry-After": "Fri, 31 Dec 2027 23:59:59 GMT"}),
        ("http=302,Location=https://elsewhere.example/a?b=c", 302, {"Location": "https://elsewhere.example/a?b=c"}),
        ("http=429,Retry-After=5,X-Limit=2,body", 429, {"Retry-After": "5", "X-Limit": "2"}),
        *((f"http={status}", status, {}) for status in (200, 202, 204, 400, 401, 403, 404, 599)),
    ],
)
def test_any_http_status_with_or_without_a_body(behaviour: str, status: int, headers: dict[str, str]) -> None:
    found, given, body = met(behaviour)
    assert found == status
    assert {name: given[name] for name in headers} == headers
    assert bool(body) is behaviour.endswith("body")
    assert b"Envelope" not in body


@pytest.mark.parametrize(
    ("value", "code", "text"),
    [
        ("Client.DK0002", "Client.DK0002", "Niet geautoriseerd voor deze aanroep"),
        ("Client.DK0004", "Client.DK0004", "Bericht niet conform XSD"),
        ("Server.DK0050,waarde <X> bestaat niet, kies Y", "Server.DK0050", "waarde <X> bestaat niet, kies Y"),
        ("Server.DK0051", "Server.DK0051", "Service niet beschikbaar"),
        ("Client.EK0031", "Client.EK0031", "Ondertekening ontbreekt of is onjuist"),
        ("Client", "Client", "Het bericht is niet verwerkt"),
        ("Client.DK0004.Bericht niet conform XSD", "Client.DK0004.Bericht niet conform XSD", "Bericht niet conform XSD"),
    ],
)
@pytest.mark.parametrize("kind", ["fault", "unsigned-fault"])
def test_any_fault_signed_or_without_any_header(kind: str, value: str, code: str, text: str) -> None:
    status, headers, body = met(f"{kind}={value}")
    assert (status, headers["Content-Type"]) == (500, "text/xml; charset=utf-8")
    if kind == "fault":
        assert fault_of(body) == (f"soapenv:{code}", text)
        assert verified(body).action == soap.FAULT_ACTION
    else:
        root = soap.parse(body)
        assert [etree.QName(child).localname for child in root] == ["Body"]
        assert (root.findtext(".//faultcode"), root.findtext(".//faultstring")) == (f"soapenv:{code}", text)


def test_duplicate_refuses_as_not_unique() -> None:
    status, _, body = met("duplicate")
    assert (status, *fault_of(body)) == (500, "soapenv:Server.DK0050", "identificatiecodeBedrijfsdocument is niet uniek")


def test_rejected_is_a_signed_answer_that_says_no() -> None:
    status, _, body = met("rejected=B0042")
    found = {etree.QName(one).localname: one.text for one in verified(body).content.iter()}
    assert (status, found["requestGoedgekeurd"], found["foutcode"]) == (200, "false", "B0042")


# -- lies --------------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("behaviour", ["unsigned", "broken", "wrapped", "stranger", "old"])
def test_an_answer_whose_signature_is_not_what_it_must_be_is_refused_by_our_verifier(behaviour: str) -> None:
    status, _, body = met(behaviour)
    assert (status, refusal(body)) == (200, "Client.EK0031")
    assert b"ontvangstBevestiging>J<" in body  # what a careless reader would take from it


def test_broken_and_wrapped_lie_where_they_say() -> None:
    broken, wrapped = soap.parse(met("broken")[2]), met("wrapped")[2]
    assert broken.find(f"{soap.BODY}/{{{NAMESPACE}}}ontvangst") is not None
    for behaviour in ("broken", "wrapped", "old"):
        with pytest.raises(Fault):
            verified(met(behaviour)[2])
    moved = re.search(rb'<w:weg xmlns:w="urn:x-weg">(.*)</w:weg>', wrapped, re.DOTALL)
    assert moved is not None
    healed = wrapped.replace(moved[0], b"").partition(b"<soapenv:Body>")[0] + moved[1] + b"</soapenv:Envelope>"
    assert verified(healed).sender == GEMEENTE  # the signature itself is right


def test_a_stranger_may_be_a_party_that_we_trust() -> None:
    answer = verified(met("stranger", other=s.signer("sis", oin="00000003272448360000"))[2])
    assert (answer.certificate_oin, answer.sender) == ("00000003272448360000", GEMEENTE)


def test_old_is_good_but_for_its_age() -> None:
    body = met("old=7200")[2]
    then = s.verifier().verify(body, at=None)
    assert timedelta(seconds=7190) < datetime.now(UTC) - then.created < timedelta(seconds=7260)


def test_relates_to_from_and_confirmation_lie_under_a_good_signature() -> None:
    raw = message()
    asked = verified(raw)
    other = verified(met("relates-to", raw)[2])
    assert other.relates_to[0][0] == soap.REPLY
    assert other.relates_to[0][1] != asked.message_id
    assert verified(met("from=00000001001799600000", raw)[2]).sender == "00000001001799600000"
    wrong = met("confirmation", raw)[2]
    assert len(confirmations(wrong)) == len(verified(wrong).relates_to) == 1
    assert confirmations(wrong) != [asked.signature_value]
    assert confirmations(met("no-confirmation", raw)[2]) == []


@pytest.mark.parametrize("behaviour", ["not-xml", "doctype"])
def test_what_is_not_xml_as_it_must_be_is_refused_by_our_parser(behaviour: str) -> None:
    status, headers, body = met(behaviour)
    assert (status, headers["Content-Type"], refusal(body)) == (200, "text/xml; charset=utf-8", "Client.NOT_XML")


def test_content_type_lies_about_a_good_answer() -> None:
    _, headers, body = met("content-type=application/soap+xml; charset=utf-8")
    assert headers["Content-Type"] == "application/soap+xml; charset=utf-8"
    assert verified(body).sender == GEMEENTE


def test_huge_is_a_good_answer_but_for_its_size() -> None:
    _, headers, body = met("huge=3")
    assert len(body) > 3 << 20
    assert "Content-Length" not in headers
    assert verified(body).sender == GEMEENTE


def test_a_gzip_bomb_is_small_and_becomes_huge() -> None:
    async def meet() -> bytes:
        async with sandbox("gzip-bomb=6") as target, backbone(target, hub(), auto_decompress=False) as session:
            _, headers, body = await post(session, message())
            assert headers["Content-Encoding"] == "gzip"
            return body

    packed = act(meet())
    assert len(packed) < 20_000
    unpacked = gzip.decompress(packed)
    assert len(unpacked) > 6 << 20
    assert verified(unpacked).sender == GEMEENTE


def test_who_gives_up_on_something_huge_leaves_nothing_behind() -> None:
    async def meet() -> None:
        async with sandbox("huge=1000") as target, backbone(target, hub()) as session:
            async with session.post("/", data=message(), headers={"Content-Type": "text/xml", "SOAPAction": '""'}) as answer:
                await answer.content.readexactly(1 << 20)
                answer.close()
            await until(lambda: target.at_once == 0)
            target.behaviour = Behaviour("good")
            assert (await post(session, message()))[0] == 200

    act(meet())


# -- for how long ------------------------------------------------------------------------------------------------------------------------


def test_a_behaviour_for_some_messages_falls_back_to_good() -> None:
    async def meet() -> list[int]:
        async with sandbox("http=503*2", "http=404*1") as target, backbone(target, hub()) as session:
            found = [(await post(session, message()))[0] for _ in range(4)]
            target.behaviour = Behaviour("http", "429", times=1)
            return [*found, *[(await post(session, message()))[0] for _ in range(2)]]

    assert act(meet()) == [503, 503, 404, 200, 429, 200]


def test_a_behaviour_for_one_message_goes_before_the_others() -> None:
    mine = s.message_id()

    async def meet() -> list[int]:
        async with sandbox("http=503*1") as target, backbone(target, hub()) as session:
            target.by_message_id[mine] = [Behaviour("http", "404", times=1)]
            return [(await post(session, message(message=one)))[0] for one in (mine, mine, s.message_id())]

    assert act(meet()) == [404, 503, 200]


@pytest.mark.parametrize(
    "text",
    [
        "kind",
        "good=1",
        "slow=soon",
        "slow=-1",
        "http=99",
        "http=503,Retry-After",
        "http=200,X=a\r\nY: b",
        "fault=DK0002",
        "from=123",
        "huge=0",
        "down*3",
        "slow=1*0",
        "content-type=a\nb",
        "",
    ],
)
def test_what_is_no_behaviour_is_refused_in_one_sentence(text: str) -> None:
    with pytest.raises(UsageError, match=r"\.$"):
        Behaviour.of(text)


@pytest.mark.parametrize("text", ["good", "slow=2.5*3", "http=503,Retry-After=5,body*2", "fault=Client.DK0004.tekst,nog een"])
def test_a_behaviour_reads_back_as_it_was_written(text: str) -> None:
    assert str(Behaviour.of(text)) == text


def test_nothing_can_follow_on_being_down() -> None:
    with pytest.raises(UsageError, match="down"):
        sandbox("good*2", "down")


# -- from outside ------------------------------------------------------------------------------------------------------------------------


def test_the_control_port_tells_and_changes_how_it_behaves_and_what_came() -> None:
    mine = s.message_id()

    async def meet() -> None:
        async with sandbox() as target, Control(target) as control, aiohttp.ClientSession(f"http://127.0.0.1:{control.port}") as outside:

            async def put(said: Any) -> tuple[int, Any]:
                async with outside.put("/behaviour", data=said if isinstance(said, bytes) else json.dumps(said)) as answer:
                    return answer.status, await answer.json()

            async with outside.get("/behaviour") as answer:
                assert await answer.json() == {"behaviour": ["good"], "by_message_id": {}}
            assert await put({"behaviour": ["http=503*1", "duplicate"], "by_message_id": {mine: "cut*1"}}) == (
                200,
                {"behaviour": ["http=503*1", "duplicate"], "by_message_id": {mine: ["cut*1"]}},
            )
            assert [(await push(target))[0] for _ in range(2)] == [503, 500]
            with pytest.raises(aiohttp.ClientConnectionError):
                await push(target, message(message=mine))
            for wrong in (
                {"behaviour": "kind"},
                {"behaviour": 1},
                {"behavior": "good"},
                [],
                b"{",
                b"\xff",
                {"by_message_id": {"x": 1}},
                {},
            ):
                status, said = await put(wrong)
                assert (status, list(said)) == (400, ["error"])
            assert target.behaviour.name == "duplicate"
            await put({"behaviour": "down"})
            with pytest.raises(aiohttp.ClientConnectorError):
                await push(target)
            await put({"behaviour": "good"})
            assert (await push(target))[0] == 200
            async with outside.get("/received") as answer:
                said = await answer.json()
            assert (said["requests"], said["most_at_once"]) == (4, 1)
            assert [set(one) for one in said["received"]] == [{"message_id", "at", "code"}] * 4
            assert said["received"][2]["message_id"] == mine

    act(meet())


def test_a_port_that_somebody_else_has_is_an_error_and_leaves_nothing_behind() -> None:
    async def meet() -> None:
        async with sandbox() as first:
            with pytest.raises(OSError, match="in use"):
                await sandbox(port=first.port).start()
            with pytest.raises(OSError, match="in use"):
                await Control(first, first.port).__aenter__()
            assert (await push(first))[0] == 200

    act(meet())


@contextlib.contextmanager
def ended(process: subprocess.Popen[str]) -> Iterator[subprocess.Popen[str]]:
    """However the test goes."""
    with process:
        try:
            yield process
        finally:
            process.kill()


@pytest.mark.parametrize("stop", [signal.SIGTERM, signal.SIGINT])
def test_the_command_says_where_it_listens_and_what_came_and_stops_when_told(stop: signal.Signals) -> None:
    files = s.party("civic", oin=SYSTEM)
    command = [sys.executable, str(ROOT / "run.py"), "sandbox", "--oin", GEMEENTE, "--port", "0", "--control-port", "0", "--json"]
    command += ["--cert", str(files.certificate), "--key", str(files.key), "--trust", str(s.folder() / "ca.pem"), "--behave", "rejected*1"]
    mine = s.message_id()
    with ended(subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        said = json.loads(process.stdout.readline())
        target = sandbox()
        target.port = int(said["address"].rpartition(":")[2])
        bodies = [act(push(target, message(message=mine)))[2] for _ in range(2)]
        lines = [json.loads(process.stdout.readline()) for _ in range(2)]
        process.send_signal(stop)
        assert process.wait(20) == 0
        assert process.stderr.read() == ""
    assert [b"requestGoedgekeurd>false" in body for body in bodies] == [True, False]
    assert [line["message_id"] for line in lines] == [mine, mine]
    assert [line["behaviour"] for line in lines] == ["rejected*1", "good"]
    assert said["control"].startswith("http://127.0.0.1:")


@pytest.mark.parametrize("tell", [_as_line, _as_json])
def test_what_is_printed_of_a_message_is_one_line_without_content_or_personal_numbers(
    tell: Callable[[Received], None], capsys: pytest.CaptureFixture[str]
) -> None:
    mine = s.message_id()

    async def meet() -> None:
        async with sandbox(tell=tell) as target, backbone(target, hub()) as session:
            await post(session, message(message=mine))
            await post(session, b"hello")
            async with session.post("/999900006", data=message(), headers={"SOAPAction": "\x9b 999900006", "Content-Type": "999900006"}):
                pass

    act(meet())
    good, unreadable, wrong = capsys.readouterr().out.splitlines()
    assert all(told in good for told in (mine, s.SCHOOL, GEMEENTE, s.LAS, HUB, "good"))
    assert "Client.NOT_XML" in unreadable
    assert "Client.DK0009" in wrong
    assert "999900006" not in good + unreadable + wrong
    assert (good + unreadable + wrong).isprintable()


@pytest.mark.parametrize(
    ("more", "says"),
    [
        (["--behave", "kind"], "There is no behaviour 'kind'"),
        (["--other-cert", "x"], "go together"),
        (["--key", "/nowhere"], "/nowhere"),
        (["--key", "another's"], "does not belong"),
        (["--trust", os.devnull], "cannot be used"),
        (["--host", "192.0.2.1"], "assign requested address"),
        (["--answer", os.devnull], "one XML element"),
    ],
)
def test_the_command_says_in_one_sentence_what_is_wrong(more: list[str], says: str, capsys: pytest.CaptureFixture[str]) -> None:
    files = s.party("civic", oin=SYSTEM)
    given = ["sandbox", "--oin", GEMEENTE, "--cert", str(files.certificate), "--key", str(files.key), "--trust", str(s.folder() / "ca.pem")]
    more = [str(s.party().key) if one == "another's" else one for one in more]
    assert run.main([*given, "--port", "0", *more]) == 1
    assert says in capsys.readouterr().err


def test_every_behaviour_is_in_the_help_and_in_the_documentation(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        run.main(["sandbox", "--help"])
    told, page = capsys.readouterr().out, (ROOT / "docs/connecting-a-party.md").read_text(encoding="utf-8")
    section = page.partition("## A partner to test against")[2].partition("\n## ")[0]
    for name, kind in KINDS.items():
        written = f"{name}={kind.takes}" if kind.takes else name
        assert f"  {written}\n      {kind.does}" in told
        assert f"| `{written}` | {kind.does}" in section
