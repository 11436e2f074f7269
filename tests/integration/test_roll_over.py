"""Certificates that roll over, ours and a party's: over AMQP, with a real broker, and step by step with the command."""

from __future__ import annotations

import base64
import json
import logging
import shutil
import ssl
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

import run
from adapters import credentials, pki, soap
from adapters.credentials import RollOverSigner
from adapters.signing import Signer
from adapters.store import Store
from broker_config.settings import Settings
from routing.amsterdam import amsterdam_day
from routing.rollover import RollOver
from routing.work import StoreUnavailable
from schemas.events import decode
from tests.integration.test_gateway import listening
from tests.support import signing as s
from tests.support.broker import until
from tests.support.exchange import DOCUMENT, HUB, LAS, MBO, SIS, Exchange, said
from tests.support.store import NOW

NEXT_DAY = "2027-09-01"


@pytest.fixture(scope="module")
def exchange() -> Iterator[Exchange]:
    with Exchange() as made:
        made.run(start(made))
        yield made


async def start(exchange: Exchange) -> None:
    for name in ("intake", "relay", "route", "deliver", "gateway"):
        exchange.start_worker(name)
    await until(lambda: listening(exchange.settings.gateway_port))


def command(home: Path, *arguments: str) -> int:
    return run.main(["certificate", arguments[0], "--home", str(home), *arguments[1:]])


@pytest.fixture
def ours(exchange: Exchange, monkeypatch: pytest.MonkeyPatch) -> pki.Party:
    """What the environment of an operator's shell says; returns the files of the next certificate."""
    for row in exchange.settings.rows():
        if row.is_set and row.name != "KOPPELPUNT_HOME":
            monkeypatch.setenv(row.name, row.value)
    return pki.issue(s.folder(), oin=HUB, name="hub-next", key_size=3072)


def signed_with(envelope: bytes) -> x509.Certificate:
    token = soap.parse(envelope).find(f".//{soap.TOKEN}")
    assert token is not None
    return x509.load_der_x509_certificate(base64.b64decode(token.text or ""))


async def in_mailbox(exchange: Exchange) -> x509.Certificate:
    """Hands in a message whose Timestamp is not valid any more, so that it travels on in our envelope; who signed that."""
    mailbox = await exchange.consumer("mailbox", SIS)
    message_id = s.message_id()
    raw = exchange.proef(message_id, created=datetime.now(UTC) - timedelta(days=2))
    await (await exchange.publisher(LAS)).publish(exchange.hand_in(raw, message_id))
    while True:
        for found in await mailbox.next_batch(1, idle_s=1.0):
            mailbox.ack([found])
            if found.message_id == message_id:
                s.verifier().verify(found.body, at=datetime.fromisoformat(found.headers["received_at"]))
                return signed_with(found.body)


@pytest.mark.broker
def test_two_certificates_of_one_party_are_valid_at_the_same_time_over_amqp(exchange: Exchange) -> None:
    files = pki.issue(s.folder(), oin=LAS, name="las-next", key_size=3072)
    signers = (s.signer(), Signer(pki.read_key(files.key), pki.read_certificate(files.certificate)))

    async def act() -> list[bool]:
        receipts, publisher = await exchange.consumer("receipt", LAS), await exchange.publisher(LAS)
        answers = []
        for signer in (*signers, *signers):
            message_id = s.message_id()
            await publisher.publish(exchange.hand_in(exchange.proef(message_id, signer=signer), message_id))
            while not (found := await receipts.next_batch(1, idle_s=1.0)):
                pass
            receipts.ack(found)
            answers.append(said(found[0].body)["accepted"])
        await exchange.let_go("receipt", LAS)
        return answers

    assert exchange.run(act()) == [True] * 4


@pytest.mark.broker
def test_each_receiver_is_switched_to_our_next_certificate_and_back_and_the_journal_says_who_did_it(
    exchange: Exchange, ours: pki.Party, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(credentials, "LOOK_EVERY_S", 0.0)
    monkeypatch.setenv("USER", "tester")
    monkeypatch.delenv("SUDO_USER", raising=False)
    before, after = pki.read_certificate(s.party("hub", oin=HUB).certificate), pki.read_certificate(ours.certificate)
    home = exchange.home
    assert exchange.run(in_mailbox(exchange)) == before
    files = ("--cert", str(ours.certificate), "--key", str(ours.key))
    assert command(home, "next", *files, "--from", NEXT_DAY) == 0
    assert exchange.run(in_mailbox(exchange)) == before, "published is not used"
    page = exchange.run(public_page(exchange))
    assert page["current"]["pem"] == pem(before)
    assert (page["next"]["pem"], page["next"]["from"][:10]) == (pem(after), "2027-08-31"), "the day begins in Amsterdam"
    assert command(home, "switch", "--party", SIS) == 1
    assert "did not confirm" in capsys.readouterr().err
    assert command(home, "confirm", "--party", SIS, "--by", "J. Beheer") == 0
    capsys.readouterr()
    assert command(home, "switch", "--party", SIS) == 0
    warning = capsys.readouterr().err
    assert "for use from 2027-08-31 22:00:00 UTC" in warning and f"`certificate back --party {SIS}`" in warning
    assert exchange.run(in_mailbox(exchange)) == after
    assert command(home, "withdraw") == 1
    assert command(home, "back", "--party", SIS) == 0
    assert exchange.run(in_mailbox(exchange)) == before
    capsys.readouterr()
    assert command(home, "show", "--json") == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown["next"]["sha256"] == after.fingerprint(pki.hashes.SHA256()).hex()
    assert {row["system"]: row["confirmed_by"] for row in shown["receivers"]}[SIS] == "J. Beheer"
    assert command(home, "withdraw") == 0
    with exchange.store.database.read() as connection:
        rows = connection.exec_driver_sql("SELECT payload FROM event ORDER BY id").scalars()
        events = [event for event in map(decoded, rows) if event.kind.startswith("certificate_")]
    assert [(event.kind.removeprefix("certificate_"), event.system) for event in events] == [
        ("published", None),
        ("confirmed", SIS),
        ("switched", SIS),
        ("switched_back", SIS),
        ("withdrawn", None),
    ]
    assert {event.actor for event in events} == {"operator tester"}
    assert events[1].details == {"sha256": shown["next"]["sha256"], "confirmed_by": "J. Beheer"}


def pem(certificate: x509.Certificate) -> str:
    return certificate.public_bytes(Encoding.PEM).decode()


async def public_page(exchange: Exchange) -> dict[str, Any]:
    """As a receiver's administrator sees it, without a certificate."""
    context = ssl.create_default_context(cafile=s.folder() / "ca.pem")
    async with aiohttp.ClientSession() as session:
        url = f"https://localhost:{exchange.settings.gateway_port}/certificates"
        async with session.get(url, ssl=context) as answer:
            assert answer.status == 200
            return dict(await answer.json())


def decoded(payload: bytes) -> Any:
    return decode(bytes(payload))


@pytest.mark.broker
@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"--from": "soon"}, "is not a day"),
        ({"--from": "2026-12-01"}, "60 days"),
        ({"--from": "2090-01-01"}, "ends before"),
        ({"--cert": "las"}, "we are 00000001800866472000"),
        ({"--key": "las"}, "does not belong to the certificate"),
        ({"--cert": "current"}, "That is the certificate in use"),
    ],
)
def test_a_certificate_that_cannot_be_next_is_refused_in_one_sentence(
    exchange: Exchange, ours: pki.Party, capsys: pytest.CaptureFixture[str], change: dict[str, str], sentence: str
) -> None:
    days = (datetime.now(UTC) + timedelta(days=70)).date().isoformat()
    given = {"--cert": str(ours.certificate), "--key": str(ours.key), "--from": days} | change
    las, current = s.party(), s.party("hub", oin=HUB)
    if given["--cert"] == "las":
        given |= {"--cert": str(las.certificate), "--key": str(las.key)}
    elif given["--key"] == "las":
        given |= {"--key": str(las.key)}
    elif given["--cert"] == "current":
        given |= {"--cert": str(current.certificate), "--key": str(current.key)}
    if given["--from"] == "2026-12-01":
        given["--from"] = (datetime.now(UTC) + timedelta(days=40)).date().isoformat()
    assert command(exchange.home, "next", *(part for pair in given.items() for part in pair)) == 1
    assert sentence in capsys.readouterr().err
    assert exchange.store.certificates.read() == RollOver()
    assert command(exchange.home, "switch", "--party", LAS[:-1] + "9") == 1
    assert "receives nothing" in capsys.readouterr().err


def test_every_receiver_can_be_switched_at_once_and_the_steps_are_kept(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    store.registry.save_register(DOCUMENT, who="test", now_us=NOW)
    monkeypatch.setenv("KOPPELPUNT_STORE", store.database.url.render_as_string(hide_password=False))
    current, following = (pki.issue(s.folder(), oin=HUB, name=name) for name in ("hub-a", "hub-b"))
    for name, value in (("KEY", current.key), ("CERT", current.certificate), ("OIN", HUB)):
        monkeypatch.setenv(f"KOPPELPUNT_{name}", str(value))
    files = ("--cert", str(following.certificate), "--key", str(following.key))
    assert command(tmp_path, "next", *files, "--from", amsterdam_day(datetime.now(UTC)).isoformat()) == 1
    assert command(tmp_path, "next", *files, "--from", amsterdam_day(datetime.now(UTC)).isoformat(), "--short-notice") == 0
    assert command(tmp_path, "switch", "--all") == 1
    capsys.readouterr()
    assert command(tmp_path, "switch", "--all", "--unconfirmed") == 0
    assert capsys.readouterr().err == "", "its day has come"
    at = store.certificates.read()
    assert {oin for oin in at.parties if at.uses_next(oin, datetime.now(UTC))} == {row["system"] for row in DOCUMENT["endpoints"]}
    shown = credentials.published(credentials.read(current.key, current.certificate), at)
    assert shown["oin"] == HUB
    assert x509.load_pem_x509_certificate(shown["next"]["pem"].encode()) == pki.read_certificate(following.certificate)
    assert "key" not in json.dumps(shown)
    shutil.copy(following.key, current.key)  # it takes over: its files become ours
    shutil.copy(following.certificate, current.certificate)
    assert credentials.published(credentials.read(current.key, current.certificate), at)["next"] is None
    assert command(tmp_path, "show") == 0
    assert "The files on this machine hold it" in capsys.readouterr().out, "what other processes use is not known here"
    assert command(tmp_path, "withdraw") == 0
    assert store.certificates.read() == RollOver()


def test_a_next_certificate_that_is_not_there_is_told_of_and_the_one_in_use_signs(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    current = s.party("hub", oin=HUB)
    own = credentials.ours(Settings.from_environment({"KOPPELPUNT_KEY": str(current.key), "KOPPELPUNT_CERT": str(current.certificate)}))
    following = pki.issue(s.folder(), oin=HUB, name="hub-c")
    found = credentials.read(following.key, following.certificate)
    fresh = {"pem": found.pem, "sha256": found.sha256, "cert": str(tmp_path / "next.crt"), "key": str(tmp_path / "next.key")}
    at = RollOver.from_dict(
        {
            "next": fresh | {"not_before_us": 0, "from_us": 0, "published_us": 0, "published_by": "x"},
            "parties": {SIS: {"switched_us": 1}},
        }
    )
    answers: list[RollOver | StoreUnavailable] = [at]

    def state() -> RollOver:
        if isinstance(answers[0], StoreUnavailable):
            raise answers[0]
        return answers[0]

    monkeypatch.setattr(credentials, "LOOK_EVERY_S", 0.0)
    signer_for = RollOverSigner(own, state)
    with caplog.at_level(logging.ERROR):
        assert signer_for(SIS, datetime.now(UTC)) is own().signer
    assert [record.message for record in caplog.records] == ["next_certificate_not_usable"]
    shutil.copy(current.key, tmp_path / "next.key")
    shutil.copy(current.certificate, tmp_path / "next.crt")
    assert signer_for(SIS, datetime.now(UTC)) is own().signer, "another than the one that was published"
    shutil.copy(following.key, tmp_path / "next.key")
    shutil.copy(following.certificate, tmp_path / "next.crt")
    assert signer_for(SIS, datetime.now(UTC)) is not own().signer
    assert signer_for(MBO, datetime.now(UTC)) is own().signer
    answers[0] = StoreUnavailable("away")
    assert signer_for(SIS, datetime.now(UTC)) is not own().signer, "what was known stays while the store is away"
