"""Gateways that are operated while senders go on: files replaced, a process killed, certificates that roll over. Real processes."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import shutil
import signal
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path

import aiohttp
import pytest
from cryptography import x509

import run
from adapters import pki
from tests.support.exchange import HUB, LAS
from tests.support.gateways import Gateways, get, wait


@pytest.fixture(scope="module")
def gateways(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateways]:
    with Gateways(tmp_path_factory.mktemp("gateways")) as running:
        yield running


def test_a_new_certificate_is_shown_and_signs_within_seconds_while_connections_go_on(gateways: Gateways) -> None:
    async def act() -> None:
        async with gateways.sender.session(gateways.port) as session:
            assert (await gateways.sender.post(session, gateways.sender.message()))[0] == 200
            before = await asyncio.to_thread(gateways.shown)
            pki.issue(gateways.folder, oin=HUB, name="hub", key_size=3072)
            fresh = pki.read_certificate(gateways.ours.certificate)
            assert fresh != before
            await asyncio.to_thread(wait, lambda: "files_replaced" in gateways.log())  # while nobody connects or asks anything
            assert await asyncio.to_thread(gateways.shown) == fresh
            status, body = await gateways.sender.post(session, gateways.sender.message())
            assert status == 200
            connection = next(iter(session.connector._conns.values()))[0][0]  # type: ignore[union-attr]
            assert x509.load_der_x509_certificate(connection.transport.get_extra_info("ssl_object").getpeercert(True)) == before
            assert base64.b64encode(fresh.public_bytes(pki.serialization.Encoding.DER)) in body, "signed with the new one"
            assert gateways.answer(body).certificate_oin == HUB

    asyncio.run(act())
    assert 'worker="gateway-' in next(line for line in gateways.log().splitlines() if "files_replaced" in line)


@pytest.mark.parametrize("what", ["not a certificate", "another key", "another party", "expired"])
def test_a_broken_file_is_refused_and_what_was_in_use_stays(gateways: Gateways, what: str) -> None:
    before, refused = gateways.shown(), gateways.log().count("files_refused")
    kept = {file: file.read_bytes() for file in (gateways.ours.key, gateways.ours.certificate)}
    if what == "not a certificate":
        gateways.ours.certificate.write_text("-----BEGIN CERTIFICATE-----\nnot so\n-----END CERTIFICATE-----\n")
    elif what == "another key":
        shutil.copy(gateways.las.key, gateways.ours.key)
    else:
        pki.issue(gateways.folder, oin=LAS if what == "another party" else HUB, name="hub", days=365 if what == "another party" else -1)
    process = gateways.processes[0]
    process.send_signal(signal.SIGHUP)
    wait(lambda: gateways.log().count("files_refused") > refused)
    assert gateways.shown() == before
    (address,) = gateways.addresses()
    assert get(address, "/readyz")[0] == 200
    assert 'koppelpunt_files_refused{what="certificate"} 1.0' in get(address, "/metrics")[1]
    assert gateways.ask(gateways.sender.message())[0] == 200
    assert gateways.log().count("files_refused") == refused + 1
    for file, data in kept.items():
        file.write_bytes(data)
    process.send_signal(signal.SIGHUP)
    wait(lambda: "koppelpunt_files_refused{" not in get(address, "/metrics")[1])


def test_a_ca_that_is_taken_away_is_trusted_no_longer_and_one_that_is_added_is(gateways: Gateways, tmp_path: Path) -> None:
    pki.init(tmp_path / "other")
    newcomer = pki.issue(tmp_path / "other", oin=LAS, name="las")
    ca, lists = gateways.folder / "ca.pem", gateways.folder / "crl.pem"
    kept, kept_lists = ca.read_bytes(), lists.read_bytes()

    def taken() -> bool:
        try:
            return gateways.ask(gateways.sender.message(newcomer), newcomer)[0] == 200
        except aiohttp.ClientError:
            return False

    assert not taken()
    ca.write_bytes(kept + (tmp_path / "other" / "ca.pem").read_bytes())
    lists.write_bytes(kept_lists + (tmp_path / "other" / "crl.pem").read_bytes())
    gateways.fetch_crls()
    wait(taken)
    ca.write_bytes(kept)
    lists.write_bytes(kept_lists)
    wait(lambda: not taken())
    assert gateways.ask(gateways.sender.message())[0] == 200


@pytest.mark.skipif(not hasattr(os, "SCHED_BATCH"), reason="Linux has it")
def test_a_gateway_is_woken_at_once_because_somebody_waits_for_its_answers(gateways: Gateways) -> None:
    assert gateways.ask(gateways.sender.message())[0] == 200
    assert os.sched_getscheduler(gateways.processes[0].pid) == os.SCHED_OTHER


def test_a_revocation_counts_within_seconds_when_its_list_stands_in_a_file_or_somebody_asks_for_it(gateways: Gateways) -> None:
    def operator(*arguments: str) -> tuple[int, str]:
        command = [sys.executable, str(run.ROOT / "run.py"), *arguments]
        done = subprocess.run(command, env=gateways.shell(), capture_output=True, text=True, timeout=60, check=False)
        return done.returncode, done.stdout + done.stderr

    def is_refused(party: pki.Party) -> bool:
        return b"Client.EK0030" in gateways.ask(gateways.sender.message(party), party)[1]

    with gateways.beside("timetable") as timetable:
        wait(lambda: "crl_fetched" in gateways.log())
        revoked = pki.issue(gateways.folder, oin=LAS, name="gone", revoked=True)
        wait(lambda: is_refused(revoked))
        before = gateways.log().count("crl_fetched")
        timetable.send_signal(signal.SIGHUP)
        wait(lambda: gateways.log().count("crl_fetched") > before)
    revoked = pki.issue(gateways.folder, oin=LAS, name="gone-too", revoked=True)
    assert not is_refused(revoked), "no timetable runs"
    status, said = operator("crl", "fetch", "--json")
    assert (status, [row["state"] for row in json.loads(said)]) == (0, ["current"])
    wait(lambda: is_refused(revoked))
    good = (gateways.folder / "crl.pem").read_bytes()
    (gateways.folder / "crl.pem").write_text("no list")
    status, said = operator("crl", "fetch")
    assert status == 1
    assert "no list" not in said and "current" in said, "the one there was is used"
    (gateways.folder / "crl.pem").write_bytes(good)


def test_two_certificates_of_one_party_are_valid_at_the_same_time(gateways: Gateways) -> None:
    before = gateways.las
    after = pki.issue(gateways.folder, oin=LAS, name="las-next", key_size=3072)
    for shows in (before, after):
        for signs in (before, after):
            assert gateways.ask(gateways.sender.message(signs), shows)[0] == 200


def test_of_two_gateways_on_one_port_one_is_killed_while_senders_go_on_and_nothing_is_lost_or_doubled(tmp_path: Path) -> None:
    with Gateways(tmp_path, count=2) as gateways:
        raws = {
            message_id: gateways.sender.message(message_id=message_id) for message_id in (f"urn:uuid:{uuid.uuid4()}" for _ in range(120))
        }
        answered: dict[str, int] = {}

        async def sender(mine: list[str]) -> None:
            while mine:
                async with gateways.sender.session(
                    gateways.port
                ) as session:  # a connection that broke: a new one, and the same message again
                    try:
                        while mine:
                            status, body = await gateways.sender.post(session, raws[mine[0]])
                            assert status == 200, body
                            answered[mine.pop(0)] = status
                    except aiohttp.ClientError:
                        continue

        async def killer() -> None:
            while len(answered) < 30:
                await asyncio.sleep(0.01)
            gateways.processes[0].kill()

        async def act() -> None:
            ids = list(raws)
            async with asyncio.timeout(60), asyncio.TaskGroup() as group:
                group.create_task(killer())
                for place in range(6):
                    group.create_task(sender(ids[place::6]))

        asyncio.run(act())
        assert gateways.processes[0].wait() == -signal.SIGKILL
        with gateways.store.database.read() as connection:
            stored = connection.exec_driver_sql("SELECT message_id, count(*) FROM message GROUP BY message_id").all()
        assert sorted(row[0] for row in stored) == sorted(raws)
        assert {row[1] for row in stored} == {1}
        (address,) = gateways.addresses()
        assert get(address, "/readyz")[0] == 200


@pytest.mark.slow
@pytest.mark.parametrize("bits", [2048, 3072, 4096])
def test_chains_signed_with_pss_and_long_keys_are_good_for_the_connection_and_for_the_message(tmp_path: Path, bits: int) -> None:
    with Gateways(tmp_path, pss=True, key_size=bits) as gateways:
        leaf, root = (pki.read_certificate(file) for file in (gateways.las.certificate, gateways.folder / "root.crt"))
        assert {one.signature_algorithm_oid.dotted_string for one in (leaf, root)} == {"1.2.840.113549.1.1.10"}
        assert gateways.shown().public_key().key_size == bits  # type: ignore[union-attr]
        status, body = gateways.ask(gateways.sender.message())
        assert status == 200, body
        assert gateways.answer(body).certificate_oin == HUB
        if bits > 2048:
            return
        revoked = pki.issue(gateways.folder, oin=LAS, name="gone", revoked=True)
        gateways.fetch_crls()
        wait(lambda: b"revoked" in gateways.ask(gateways.sender.message(), revoked)[1])
