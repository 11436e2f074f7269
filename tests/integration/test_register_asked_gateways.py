"""A gateway that asks another backbone's register over its API: two real gateways, two registers, mutual TLS between them."""

from __future__ import annotations

import asyncio
import json
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

import run as program
from adapters.osr_shapes import BASE
from adapters.osr_watch import Watch, asked_register, standing
from tests.support import signing as s
from tests.support.exchange import DOCUMENT, LAS, MBO, SCHOOL, SIS
from tests.support.gateways import Gateways, wait
from tests.support.osr import Api
from workers.clock import Clock
from workers.register_cache import RegisterCache


def without(document: dict[str, Any], *systems: str) -> dict[str, Any]:
    """The register, without the mandates and endpoints of these systems."""
    made = deepcopy(document)
    for name in ("mandates", "endpoints"):
        made[name] = [row for row in made[name] if row["system"] not in systems]
    return made


NOBODY = without(DOCUMENT, LAS, SIS)


def shared(home: Path) -> Path:
    """A home whose PKI is the one that all of them have."""
    shutil.copytree(s.folder(), home / "own-pki")
    return home


def save(gateways: Gateways, document: dict[str, Any]) -> None:
    gateways.store.registry.save_register(document, who="test", now_us=int(time.time() * 1e6))


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateways]:
    """The other backbone, which keeps the register."""
    with Gateways(shared(tmp_path_factory.mktemp("other")), document=NOBODY, settings={"KOPPELPUNT_REGISTER_READS": "6000"}) as running:
        yield running


@pytest.fixture(scope="module")
def ours(other: Gateways, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateways]:
    """Ours knows the municipality's mandate, and that of the mbo school, and asks for all others."""
    home = shared(tmp_path_factory.mktemp("ours"))
    key = home / "osr.key"
    key.write_text(Api(other, [LAS]).make_key(LAS))
    settings = {
        "KOPPELPUNT_REGISTER_SOURCE": "first",
        "KOPPELPUNT_OSR_URL": f"https://localhost:{other.port}{BASE}",
        "KOPPELPUNT_OSR_KEY": str(key),
        "KOPPELPUNT_OSR_KEEP_S": "1",
        "KOPPELPUNT_OSR_PER_MINUTE": "6000",
    }
    with Gateways(home, document=without(DOCUMENT, LAS), settings=settings) as running:
        yield running


@pytest.fixture(autouse=True)
def as_it_was(other: Gateways) -> None:
    save(other, NOBODY)


@contextmanager
def standing_still(other: Gateways) -> Iterator[None]:
    """It takes connections, and answers nothing."""
    for process in other.processes:
        process.send_signal(signal.SIGSTOP)
    try:
        yield
    finally:
        for process in other.processes:
            process.send_signal(signal.SIGCONT)


def accepted(ours: Gateways) -> bool:
    status, _ = ours.ask(ours.sender.message())
    return status == 202 or status == 200


def code(ours: Gateways) -> str:
    _, body = ours.ask(ours.sender.message())
    for one in ("Client.DK0002", "Server.DK0051"):
        if one.encode() in body:
            return one
    return ""


def command(ours: Gateways, *words: str) -> tuple[int, str]:
    done = subprocess.run(
        [sys.executable, str(program.ROOT / "run.py"), *words], env=ours.shell(), capture_output=True, text=True, timeout=60, check=False
    )
    assert "Traceback" not in done.stderr and "Unclosed" not in done.stderr, done.stderr
    return done.returncode, done.stdout + done.stderr


def test_a_mandate_that_is_mended_in_the_other_register_counts_within_seconds(ours: Gateways, other: Gateways) -> None:
    assert code(ours) == "Client.DK0002"
    save(other, DOCUMENT)
    wait(lambda: accepted(ours), within_s=15)
    (row,) = [one for one in _decisions(ours) if one["question"] == "sender" and one["outcome"] == "yes"][-1:]
    assert row["inputs"]["register"] == f"localhost:{other.port}"
    assert row["inputs"]["asked"].endswith("Z")
    save(other, NOBODY)
    wait(lambda: code(ours) == "Client.DK0002", within_s=15)


def _decisions(gateways: Gateways) -> list[dict[str, Any]]:
    with gateways.store.database.read() as connection:
        return [json.loads(row[0]) for row in connection.execute(text("SELECT record FROM decision"))]


def test_while_it_stands_still_senders_come_again_and_those_whom_ours_knows_do_not_wait(ours: Gateways, other: Gateways) -> None:
    save(other, DOCUMENT)
    wait(lambda: accepted(ours), within_s=15)
    time.sleep(1.2)  # what it said is believed for one second
    with standing_still(other):

        async def act() -> tuple[bytes, int]:
            """One waits for the other register; meanwhile health and the register's own API answer."""
            async with ours.sender.session(ours.port) as session:
                waits = asyncio.create_task(ours.sender.post(session, ours.sender.message()))
                for _ in range(10):
                    async with session.get(f"{BASE}/schools", params={"brin": "25BE"}) as answer:
                        assert answer.status == 200
                assert not waits.done(), "it did not wait for the other register, and so this says nothing"
                status, body = await waits
                return body, status

        body, _ = asyncio.run(act())
        assert b"Server.DK0051" in body
        assert code(ours) == "Server.DK0051", "nobody is refused for what nobody can say now"
    wait(lambda: accepted(ours), within_s=40)


def test_explain_says_which_register_answered_and_when(ours: Gateways, other: Gateways) -> None:
    words = ("register", "explain", "--from", SCHOOL, "--to", MBO, "--dienst", "proef", "--versie", "1", "--system", LAS)
    save(other, DOCUMENT)
    status, said = command(ours, *words)
    assert f"@ localhost:{other.port}, asked 20" in said and "heeft Leerlingwijzer gemachtigd" in said, said
    assert status == 0, said
    found = json.loads(command(ours, *words, "--json")[1])
    assert found[0]["inputs"]["register"] == f"localhost:{other.port}"
    with standing_still(other):
        status, said = command(ours, *words)
        assert status == 1 and "ROUTE_REGISTER_AWAY" in said and "[us]" in said


def test_status_says_how_the_other_register_is_and_what_it_does_not_know(ours: Gateways, other: Gateways) -> None:
    clock = Clock()
    asked = asked_register(ours.settings, clock.now)
    assert asked is not None
    watch = Watch(asked, ours.store.registry, RegisterCache(ours.store.register), clock.now, key=True)
    asyncio.run(watch.act())
    known = standing(ours.store.registry)
    assert known is not None and known["trouble"] is None and known["missing"] == []
    assert "403" in known["key"], "our key there was given to another system"
    changed = deepcopy(NOBODY)
    changed["diensten"] = [row for row in changed["diensten"] if row["dienst"] != "vva"]
    changed["mandates"] = changed["endpoints"] = []
    save(other, changed)

    def looked() -> dict[str, Any]:
        asyncio.run(watch.act())
        return dict(standing(ours.store.registry) or {})

    wait(lambda: looked()["missing"] == ["urn:x-backbone:vva:1"], within_s=10)
    answered = looked()["answered_us"]
    with standing_still(other):
        assert "no whole answer" in looked()["trouble"]
        assert looked()["answered_us"] == answered
    _, said = command(ours, "status")
    assert re.search(rf"other register localhost:{other.port} \(first\) +no whole answer came within 5 s +[0-9]+ ?s", said), said
    assert json.loads(command(ours, "status", "--json")[1])["other_register"]["source"] == "first"


@pytest.mark.parametrize(("name", "value"), [("KOPPELPUNT_OSR_URL", ""), ("KOPPELPUNT_KEY", "")])
def test_without_an_address_or_a_certificate_nothing_starts(ours: Gateways, name: str, value: str) -> None:
    environment = {**ours.shell(), name: value, **({"KOPPELPUNT_CERT": ""} if name == "KOPPELPUNT_KEY" else {})}
    done = subprocess.run(
        [sys.executable, str(program.ROOT / "run.py"), "work", "route"],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1 and name in done.stderr and "Traceback" not in done.stderr
