"""The client of another register's API v2: asked of a real gateway's, and of servers that answer as they should not."""

from __future__ import annotations

import asyncio
import json
import ssl
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from copy import deepcopy
from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest

from adapters import osr_client, osr_register, pki
from adapters.endpoints import context_of
from adapters.osr_client import (
    OsrClient,
    OsrCut,
    OsrError,
    OsrFailing,
    OsrRefused,
    OsrSlow,
    OsrTooOften,
    OsrUnreachable,
    OsrWrong,
)
from adapters.osr_register import OsrRegister, endpoint_of
from adapters.osr_shapes import BASE
from routing.register_asked import EndpointQuestion, MandateQuestion, NotAsked, Question, RegisterAway, Said
from schemas.oin import Oin
from tests.support.broker import free_port
from tests.support.exchange import DOCUMENT, HUB, LAS, MBO, SCHOOL, SIS
from tests.support.gateways import Gateways, wait
from tests.support.odd_register import Odd, OddRegister, says
from tests.support.osr import Api

PROEF = "urn:x-backbone:proef:1"
KENMERK = Oin(SCHOOL[:15] + "00530")
TODAY = datetime.now(UTC).date()
IS_LAS = MandateQuestion(SCHOOL, "proef", LAS, TODAY, (PROEF,))
IS_SIS = MandateQuestion(SCHOOL, "proef", SIS, TODAY, (PROEF,))
WHERE = EndpointQuestion(SCHOOL, "proef", "1", TODAY, PROEF)


def document() -> dict[str, Any]:
    made: dict[str, Any] = deepcopy(DOCUMENT)
    made["endpoints"] = [
        {"organisation": SCHOOL, "dienst": "proef", "versie": "1", "system": LAS, "url": "https://las.example/in", "until": "2099-07-31"},
        {
            "organisation": SCHOOL,
            "routeringskenmerk": KENMERK,
            "dienst": "proef",
            "versie": "1",
            "system": LAS,
            "url": "https://las.example/n",
        },
        {"organisation": MBO, "dienst": "proef", "versie": "1", "system": SIS, "mailbox": True},
    ]
    return made


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateways]:
    """The other register. We are the system of the LAS to it."""
    with Gateways(tmp_path_factory.mktemp("other"), document=document(), settings={"KOPPELPUNT_REGISTER_READS": "30"}) as running:
        yield running


@pytest.fixture
def odd(hub: Gateways) -> Iterator[OddRegister]:
    with OddRegister(hub.folder) as running:
        yield running


def tls(hub: Gateways, party: pki.Party | None = None) -> ssl.SSLContext:
    party = party or hub.las
    return context_of(replace(hub.settings, key=party.key, cert=party.certificate))


def ask(hub: Gateways, url: str, question: Callable[[OsrClient], Coroutine[Any, Any, Any]], **options: Any) -> Any:
    """One question, by a client of its own."""
    context = tls(hub, options.pop("party", None))

    async def act() -> Any:
        client = OsrClient(url, lambda: context, **options)
        try:
            return await question(client)
        finally:
            await client.close()

    return asyncio.run(act())


def ours(hub: Gateways) -> str:
    return f"https://localhost:{hub.port}{BASE}"


def mandate(client: OsrClient) -> Coroutine[Any, Any, bool]:
    return client.has_mandate(school=SCHOOL, supplier=LAS, namespace=PROEF)


# -- a register that answers as it should -------------------------------------------------------------------------------------------------


def test_everything_that_is_asked_of_a_register_is_answered_by_ours(hub: Gateways, tmp_path: Path) -> None:
    key = tmp_path / "osr.key"
    key.write_text(Api(hub, [LAS]).keys[LAS] + "\n")

    async def everything(client: OsrClient) -> dict[str, Any]:
        return {
            "schools": await client.schools(brin="25BE"),
            "services": await client.services("proef"),
            "versions": await client.service_versions("proef"),
            "mandate": await client.has_mandate(school=SCHOOL, supplier=LAS, namespace=PROEF, day=date(2030, 1, 1)),
            "none": await client.has_mandate(school=SCHOOL, supplier=SIS, namespace=PROEF),
            "all": await client.endpoints(school=SCHOOL, namespace=PROEF),
            "one": await client.endpoints(routing_id=KENMERK, namespace=PROEF),
            "nowhere": await client.endpoints(school=SCHOOL, namespace="urn:nothing"),
            "mine": await client.school_mandates("proef"),
        }

    found = ask(hub, ours(hub), everything, key=key, party=hub.las)
    assert [row["oin"] for row in found["schools"]] == [SCHOOL]
    assert [row["code"] for row in found["services"]] == ["proef"]
    assert [row["namespace"] for row in found["versions"]] == [PROEF]
    assert (found["mandate"], found["none"]) == (True, False)
    assert [row["url"] for row in found["all"]] == ["https://las.example/in", "https://las.example/n"]
    assert [row["routing_id"] for row in found["one"]] == [KENMERK]
    assert found["nowhere"] == []
    assert [(row["school_oin"], row["supplier_oin"]) for row in found["mine"]] == [(SCHOOL, LAS)]


def test_a_list_in_pages_is_read_to_its_end(hub: Gateways) -> None:
    found = ask(hub, ours(hub), lambda client: client.schools(limit="1"))
    assert [row["oin"] for row in found] == sorted([SCHOOL, MBO])


def test_a_register_that_is_read_too_often_is_left_alone_for_as_long_as_it_says(hub: Gateways) -> None:
    async def flood(client: OsrClient) -> float:
        with pytest.raises(OsrTooOften, match="429"):
            for _ in range(40):
                await client.endpoints(school=SCHOOL, namespace=PROEF)
        with pytest.raises(OsrTooOften) as told:
            await client.endpoints(school=SCHOOL, namespace=PROEF)
        assert await mandate(client), "only what was asked too often waits"
        return told.value.again_s

    assert 0 < ask(hub, ours(hub), flood, per_minute=60_000) <= 2


def test_a_key_that_is_no_key_is_refused_by_name_and_never_shown(hub: Gateways, tmp_path: Path) -> None:
    Api(hub, [LAS])
    for content, says_ in (("f" * 43, "401"), ("short", "holds no API key"), (None, "cannot be read")):
        key = tmp_path / "osr.key"
        key.unlink(missing_ok=True)
        if content is not None:
            key.write_text(content)
        with pytest.raises(OsrRefused, match=says_) as told:
            ask(hub, ours(hub), lambda client: client.school_mandates("proef"), key=key)
        assert content is None or content not in str(told.value)
    with pytest.raises(OsrRefused, match="KOPPELPUNT_OSR_KEY"):
        ask(hub, ours(hub), lambda client: client.school_mandates("proef"))


def test_the_key_goes_only_where_it_is_needed(hub: Gateways, odd: OddRegister, tmp_path: Path) -> None:
    key = tmp_path / "osr.key"
    key.write_text("secret-key-of-ours")
    odd.reply = says([])
    ask(hub, odd.url, lambda client: client.endpoints(school=SCHOOL, namespace=PROEF), key=key)
    assert "secret" not in "".join(odd.headers).lower()
    ask(hub, odd.url, lambda client: client.school_mandates("proef"), key=key)
    assert "x-api-key: secret-key-of-ours" in odd.headers[-1].lower()


# -- one that does not --------------------------------------------------------------------------------------------------------------------

LONG = json.dumps([{"a": "x" * 1000}] * 1100).encode()
HTML = says(b"<html>not found</html>", 404, kind="text/html")


@pytest.mark.parametrize(
    ("reply", "error", "says_"),
    [
        (says({"title": "who are you"}, 401), OsrRefused, "401"),
        (says({"detail": "go 123456782"}, 403), OsrRefused, "403"),
        (says({}, 429, headers="Retry-After: 7\r\n"), OsrTooOften, "7 s"),
        (says({}, 429, headers="Retry-After: 999999999999\r\n"), OsrTooOften, "10 s"),
        (says({}, 429), OsrTooOften, "10 s"),
        (says({}, 500), OsrFailing, "500"),
        (says(b"busy", 503, kind="text/plain"), OsrFailing, "503"),
        (says({"title": "Validation error(s)"}, 400), OsrWrong, "400"),
        (HTML, OsrWrong, "404"),
        (says({"title": "no such page"}, 404), OsrWrong, "has no endpoints"),
        (says([], 301, headers="Location: https://elsewhere.example/\r\n"), OsrWrong, "301"),
        (says(b"<html/>", kind="text/html"), OsrWrong, "text/html"),
        (says(b"[{]"), OsrWrong, "JSON"),
        (says(b'[{"a":1,"a":2}]'), OsrWrong, "twice"),
        (says(b"[NaN]"), OsrWrong, "JSON"),
        (says(b"[" * 100_000), OsrWrong, "JSON"),
        (says({"endpoints": []}), OsrWrong, "list"),
        (says(["x"]), OsrWrong, "list"),
        (says(LONG), OsrWrong, "larger"),
        (says([], headers="Content-Encoding: gzip\r\n"), OsrWrong, "packed"),
        (says([], headers='Link: <https://elsewhere.example/api/v2/endpoints>; rel="next"\r\n'), OsrWrong, "elsewhere"),
        (says([], headers='Link: </api/v2/schools?after=1>; rel="next"\r\n'), OsrWrong, "elsewhere"),
        (Odd(b"hello\r\n\r\n"), OsrWrong, "HTTP"),
        (Odd(says([{"a": 1}] * 9).raw, cut=0), OsrCut, "ended"),
        (Odd(says([{"a": 1}] * 9).raw, cut=90), OsrCut, "ended"),
    ],
)
def test_a_wrong_answer_is_an_error_that_says_what_it_is(hub: Gateways, odd: OddRegister, reply: Odd, error: type, says_: str) -> None:
    odd.reply = reply
    with pytest.raises(OsrError) as told:
        ask(hub, odd.url, lambda client: client.endpoints(school=SCHOOL, namespace=PROEF))
    assert type(told.value) is error
    assert says_ in str(told.value)
    assert "123456782" not in str(told.value)


def test_a_list_that_never_ends_is_given_up(hub: Gateways, odd: OddRegister, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(osr_client, "MOST_PAGES", 4)
    odd.reply = says([], headers='Link: </api/v2/schools?after=1>; rel="next"\r\n')
    with pytest.raises(OsrWrong, match="more than 4 pages"):
        ask(hub, odd.url, lambda client: client.schools())
    assert len(odd.asked) == 4


ECHO = {"title": "Not Found", "detail": "No static resource api/v2/mandates.", "instance": "/api/v2/mandates", "message": "no mandate"}


@pytest.mark.parametrize("reply", [HTML, says({"title": "Not Found"}, 404), says({}, 404), says(ECHO, 404), says(["no mandate"], 404)])
def test_a_wrong_address_does_not_look_like_a_school_without_a_mandate(hub: Gateways, odd: OddRegister, reply: Odd) -> None:
    odd.reply = reply
    with pytest.raises(OsrWrong):
        ask(hub, odd.url, mandate)
    odd.reply = says({"title": "Mandate not found"}, 404)
    assert ask(hub, odd.url, mandate) is False


A_MANDATE = {"token": "t", "school_oin": SCHOOL, "supplier_oin": LAS, "start_date": "2020-01-01", "end_date": None, "revoked": False}


@pytest.mark.parametrize(
    "said",
    [
        *([], {}, None, True, "ok?", [A_MANDATE], {"error": "no mandate"}, {"status": "NOT OK"}, {"status": None}, {"token": ""}),
        {"revoked": True, "school_oin": "other"},
        {"status": "OK", "revoked": True},
        A_MANDATE | {"status": "ENDED"},
        A_MANDATE | {"revoked": True},
        A_MANDATE | {"revoked": "true"},
        A_MANDATE | {"school_oin": MBO},
        A_MANDATE | {"school_oin": None},
        A_MANDATE | {"supplier_oin": SIS},
        A_MANDATE | {"end_date": "2020-12-31"},
        A_MANDATE | {"start_date": "2099-01-01"},
        A_MANDATE | {"start_date": 2020},
    ],
)
def test_what_is_not_known_to_mean_yes_is_no_mandate(hub: Gateways, odd: OddRegister, said: Any) -> None:
    odd.reply = says(said)
    with pytest.raises(OsrWrong, match="no yes"):
        ask(hub, odd.url, mandate)


@pytest.mark.parametrize("said", ["OK", {"status": "OK"}, A_MANDATE, {"token": "t", "_links": {}}, A_MANDATE | {"school_oin": KENMERK}])
def test_an_ok_and_a_mandate_that_counts_mean_yes(hub: Gateways, odd: OddRegister, said: Any) -> None:
    odd.reply = says(said)
    assert ask(hub, odd.url, mandate) is True


def test_one_that_hangs_in_the_midst_of_its_answer_is_not_waited_for(
    hub: Gateways, odd: OddRegister, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(osr_client, "ANSWER_S", 0.5)
    odd.reply = Odd(says([]).raw, hangs=30)
    with pytest.raises(OsrSlow, match=r"0\.5 s"):
        ask(hub, odd.url, mandate)


def test_one_that_is_not_there_or_that_nobody_trusts_is_not_asked(hub: Gateways, tmp_path: Path) -> None:
    with pytest.raises(OsrUnreachable, match="no connection"):
        ask(hub, f"https://localhost:{free_port()}/api/v2", mandate)
    elsewhere = tmp_path / "pki"
    pki.init(elsewhere)
    strange = pki.issue(elsewhere, oin=HUB, name="strange")
    with OddRegister(hub.folder, server=strange) as other, pytest.raises(OsrUnreachable, match="not trusted"):
        ask(hub, other.url, mandate)
    with pytest.raises(OsrError):
        ask(hub, ours(hub), mandate, party=strange)


def test_our_own_rate_makes_questions_wait_and_in_the_end_refuses_them(
    hub: Gateways, odd: OddRegister, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(osr_client, "TURN_S", 0.2)

    async def many(client: OsrClient) -> int:
        done = await asyncio.gather(*(client.schools() for _ in range(30)), return_exceptions=True)
        assert {type(one) for one in done} == {list, OsrTooOften}
        return sum(isinstance(one, list) for one in done)

    assert ask(hub, odd.url, many, per_minute=60) == len(odd.asked) == 10, "what may come at once at one a second"


# -- its answers, at hand -----------------------------------------------------------------------------------------------------------------


@pytest.fixture
def other(hub: Gateways, odd: OddRegister) -> Iterator[OsrRegister]:
    made = register_at(hub, odd.url)
    yield made
    made.close()


def register_at(hub: Gateways, url: str, *, keep_s: float = 60, heard: Callable[[str], None] = lambda outcome: None) -> OsrRegister:
    context = tls(hub)
    return OsrRegister(
        lambda: OsrClient(url, lambda: context, per_minute=60_000), "other", lambda: datetime.now(UTC), keep_s=keep_s, heard=heard
    )


def said(register: OsrRegister, question: Question) -> Said:
    """As a worker does."""
    while True:
        try:
            return register.said(question)
        except NotAsked as missing:
            missing.begin().result(20)


def test_what_there_is_is_asked_once_and_what_there_is_not_again_after_seconds(
    odd: OddRegister, other: OsrRegister, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(osr_register, "NONE_S", 0.3)
    odd.reply = says({"status": "OK"})
    for _ in range(5):
        assert said(other, IS_LAS).mandate is not None
    assert len(odd.asked) == 1
    odd.reply = says({"title": "Mandate not found"}, 404)
    assert [said(other, IS_SIS).mandate for _ in range(5)] == [None] * 5
    assert len(odd.asked) == 2
    odd.reply = says({"status": "OK"})  # the administrator mends it, while on the phone
    wait(lambda: said(other, IS_SIS).mandate is not None, within_s=10)
    assert 2 < len(odd.asked) < 10


def test_what_became_of_each_question_that_was_sent_is_counted(hub: Gateways, odd: OddRegister) -> None:
    heard: list[str] = []
    other = register_at(hub, odd.url, heard=heard.append)
    try:
        odd.reply = says({"status": "OK"})
        for _ in range(3):
            said(other, IS_LAS)
        odd.reply = says(b"<html/>", kind="text/html")
        with pytest.raises(RegisterAway):
            said(other, IS_SIS)
        odd.reply = says({}, 503)
        with pytest.raises(OsrError):
            other.call(lambda client: client.service_versions()).result(20)
        assert heard == ["answered", "refused", "away"], "what is remembered is not asked"
    finally:
        other.close()


def test_whoever_asks_the_same_at_the_same_time_asks_once(odd: OddRegister, other: OsrRegister) -> None:
    odd.reply = says({"status": "OK"})
    answers: list[Said] = []
    threads = [threading.Thread(target=lambda: answers.append(said(other, IS_LAS))) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert len(answers) == 20 and len(odd.asked) == 1


def test_while_it_is_away_what_it_said_goes_on_and_nobody_waits_for_the_rest(
    odd: OddRegister, other: OsrRegister, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(osr_client, "ANSWER_S", 0.5)
    monkeypatch.setattr(osr_register, "TRY_AGAIN_S", (0.2,))
    monkeypatch.setattr(osr_register, "NONE_S", 0.1)
    odd.reply = says({"status": "OK"})
    before = said(other, IS_LAS)
    odd.reply = Odd(says({"status": "OK"}).raw, hangs=60)
    with pytest.raises(RegisterAway, match="no whole answer"):
        said(other, IS_SIS)
    assert said(other, IS_LAS) == before
    for number in range(200):  # others' questions, none of which waits
        with pytest.raises(RegisterAway):
            other.said(replace(IS_SIS, system=Oin(f"0000000327244{number:07d}")))
    odd.reply = says({"status": "OK"})

    def back() -> bool:
        try:
            return said(other, IS_SIS).mandate is not None
        except RegisterAway:
            return False

    wait(back, within_s=20)


def test_a_wrong_answer_to_one_question_does_not_keep_others_from_being_asked(odd: OddRegister, other: OsrRegister) -> None:
    odd.reply = says(b"<html/>", kind="text/html")
    with pytest.raises(RegisterAway, match="text/html"):
        said(other, IS_SIS)
    odd.reply = says({"status": "OK"})
    assert said(other, IS_LAS).mandate is not None


def test_a_mandate_is_found_by_whichever_version_the_register_knows(odd: OddRegister, other: OsrRegister) -> None:
    odd.reply = says({"title": "Mandate not found"}, 404)
    assert said(other, replace(IS_LAS, namespaces=("urn:2", "urn:1"))).mandate is None
    assert [line.partition("namespace=")[2].partition("&")[0] for line in odd.asked] == ["urn:2", "urn:1"]


def test_endpoints_of_a_real_register_become_ours_and_mailboxes_elsewhere_do_not(hub: Gateways) -> None:
    register = register_at(hub, ours(hub))
    try:
        found = said(register, replace(WHERE, day=date(2030, 1, 1))).endpoints
        assert [(row.url, row.system, row.routeringskenmerk, row.until) for row in found] == [
            ("https://las.example/in", LAS, None, date(2099, 7, 31)),
            ("https://las.example/n", LAS, KENMERK, None),
        ]
        assert all(row.id.startswith(f"osr/{SCHOOL}/proef/1/") for row in found)
        assert said(register, EndpointQuestion(MBO, "proef", "1", TODAY, PROEF)).endpoints == ()
    finally:
        register.close()


ROW = {"routing_id": KENMERK, "service_version_namespace": PROEF, "url": "https://las.example/in", "start_date": "2026-01-01"}


def test_an_endpoint_without_what_the_sources_do_not_promise_is_still_one() -> None:
    bare = endpoint_of(ROW, WHERE)
    assert bare is not None and (bare.organisation, bare.routeringskenmerk, bare.system) == (SCHOOL, KENMERK, "-")
    linked = endpoint_of(ROW | {"_links": {"supplier": {"href": f"/api/v2/suppliers/{LAS}"}}}, WHERE)
    assert linked is not None and linked.system == LAS and linked.id == bare.id
    assert endpoint_of(ROW | {"school_oin": MBO}, WHERE) is None, "delegations are those of our own register"


@pytest.mark.parametrize(
    "wrong",
    [
        {"url": "http://las.example/in"},
        {"url": "https://u:p@las.example/in"},
        {"url": 7},
        {"routing_id": "0"},
        {"supplier_oin": {}},
        {"start_date": "1 August"},
        {"end_date": "20260801"},
        {"service_version_namespace": "urn:another"},
    ],
)
def test_an_endpoint_that_cannot_be_so_is_a_wrong_answer(wrong: dict[str, Any]) -> None:
    with pytest.raises(OsrWrong):
        endpoint_of(ROW | wrong, WHERE)


def test_it_is_left_alone_longer_and_longer(odd: OddRegister, other: OsrRegister, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(osr_register, "TRY_AGAIN_S", (0.05, 600.0))
    odd.reply = says({}, 500)
    with pytest.raises(RegisterAway):
        said(other, IS_LAS)

    def twice() -> bool:
        with pytest.raises(RegisterAway):
            other.said(IS_SIS)
        return len(odd.asked) == 2

    wait(twice)
    until = time.monotonic() + 0.5
    while time.monotonic() < until:
        twice()
    assert len(odd.asked) == 2
