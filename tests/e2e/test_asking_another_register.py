"""A whole exchange that asks another backbone's register: who may send, and where to deliver; while it is away, and when it is back."""

from __future__ import annotations

import asyncio
import json
import shutil
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest

from adapters.osr_shapes import BASE
from adapters.parties import invented
from tests.support import signing as s
from tests.support.broker import free_port, require_rabbitmq, until
from tests.support.exchange import DOCUMENT, LAS, MBO, PROEF, SCHOOL, SIS, Exchange
from tests.support.exchange import said as read
from tests.support.gateways import Gateways, wait
from tests.support.push import all_are, arrivals, deliveries, hand_in, receiver, stand

pytestmark = [pytest.mark.broker, pytest.mark.slow]

WORKERS = ("intake", "relay", "route", "push", "deliver", "audit", "timetable")


def theirs(port: int) -> dict[str, Any]:
    """The other register: the mbo school's system receives `proef` there at this port, and the vo school's may send."""
    made = deepcopy(DOCUMENT)
    made["endpoints"] = [
        {"id": "e1", "organisation": MBO, "dienst": "proef", "versie": "1", "system": SIS, "url": f"https://localhost:{port}/proef"}
    ]
    return made


def ours() -> dict[str, Any]:
    """Ours knows nothing of the mbo school, nor who may send for the vo school; what is for the vo school goes to its mailbox."""
    made = deepcopy(DOCUMENT)
    made["mandates"] = [row for row in made["mandates"] if row["organisation"] not in (MBO,)]
    made["endpoints"] = [row for row in made["endpoints"] if row["organisation"] != MBO]
    return made


class Both:
    """The exchange, and the other backbone, whose gateway may be started and ended."""

    def __init__(self, exchange: Exchange, other: Gateways, port: int) -> None:
        """`port`: of the mbo school's endpoint."""
        self.exchange, self.other, self.port = exchange, other, port

    def says(self, document: dict[str, Any]) -> None:
        """The other register, from now on."""
        self.other.store.registry.save_register(document, who="test", now_us=int(time.time() * 1e6))

    def come(self) -> None:
        """The other register answers."""
        self.other.start()

    def go(self) -> None:
        """It is gone."""
        for process in self.other.processes:
            process.terminate()
            process.wait(30)
        self.other.processes.clear()

    def held(self, ids: list[str]) -> set[tuple[str, str]]:
        """Why these wait, and whose turn it is."""
        return {(row["hold_code"], row["owner"]) for row in deliveries(self.exchange, ids).values()}

    def decisions(self, question: str) -> list[dict[str, Any]]:
        """Records of this kind, in the order in which they were made."""
        rows = self.exchange.rows("SELECT record FROM decision ORDER BY at_us")
        return [found for row in rows if (found := json.loads(row["record"]))["question"] == question]


@contextmanager
def together(home: Path, document: dict[str, Any], source: str = "first", **more: str) -> Iterator[Both]:
    shutil.copytree(s.folder(), home / "own-pki")
    port = free_port()
    with Gateways(home, count=0, document=theirs(port), settings={"KOPPELPUNT_REGISTER_READS": "6000"}) as other:
        settings = {
            "KOPPELPUNT_REGISTER_SOURCE": source,
            "KOPPELPUNT_OSR_URL": f"https://localhost:{other.port}{BASE}",
            "KOPPELPUNT_OSR_KEEP_S": "2",
            "KOPPELPUNT_OSR_PER_MINUTE": "6000",
        } | more
        with Exchange(document=document, settings=settings) as exchange:
            yield Both(exchange, other, port)


@pytest.fixture
def both(tmp_path: Path) -> Iterator[Both]:
    require_rabbitmq()
    with together(tmp_path / "other", ours()) as made:
        yield made


@pytest.mark.timeout(150)
def test_what_ours_does_not_know_waits_while_the_other_is_away_and_flows_when_it_is_back(both: Both) -> None:
    exchange = both.exchange

    async def act() -> None:
        for name in WORKERS:
            exchange.start_worker(name)
        ids = await hand_in(exchange, 30)  # ours knows that the LAS may, and not where the mbo school is
        await until(lambda: len(deliveries(exchange, ids)) == 30, within_s=30)
        assert both.held(ids) == {("ROUTE_REGISTER_AWAY", "us")}
        assert not exchange.rows("SELECT 1 FROM message WHERE state = 'failed'")
        mailbox = await exchange.consumer("mailbox", LAS)
        to_school = [s.message_id() for _ in range(5)]  # what ours knows goes on
        publisher = await exchange.publisher(LAS)
        await publisher.publish_many([exchange.hand_in(exchange.proef(one, receiver=SCHOOL), one) for one in to_school])
        came = await mailbox.next_batch(5, 5.0, idle_s=20.0)
        assert came, "what ours knows waits for the other register"
        async with receiver(exchange, port=both.port) as school:
            await asyncio.to_thread(both.come)
            try:
                await until(all_are(exchange, ids, "acknowledged"), within_s=60)
            except TimeoutError:
                raise AssertionError(stand(exchange, ids)) from None
            assert dict(arrivals(school)) == dict.fromkeys(ids, 1), "lost or doubled"
        found = [one for one in both.decisions("endpoint") if one["outcome"] == "yes" and one["inputs"]["receiver"] == MBO]
        assert found and all(one["inputs"]["register"] == f"localhost:{both.other.port}" and one["inputs"]["asked"] for one in found)
        away = [one for one in both.decisions("endpoint") if one["rule"] == "endpoint-register-away"]
        assert away and "no connection can be made" in away[0]["inputs"]["trouble"]

    exchange.run(act(), within_s=140)


@pytest.mark.timeout(150)
def test_a_mandate_mended_in_the_other_register_lets_what_waits_for_it_go_within_seconds(both: Both) -> None:
    exchange = both.exchange

    async def act() -> None:
        nobody = theirs(both.port)
        nobody["mandates"] = [row for row in nobody["mandates"] if row["organisation"] != MBO]
        both.says(nobody)
        await asyncio.to_thread(both.come)
        await asyncio.to_thread(wait, lambda: bool(both.other.addresses()))
        for name in WORKERS:
            exchange.start_worker(name)
        async with receiver(exchange, port=both.port) as school:
            ids = await hand_in(exchange, 3)
            await until(lambda: both.held(ids) == {("ROUTE_NO_ENDPOINT", "supplier")}, within_s=30)
            both.says(theirs(both.port))
            began = time.monotonic()
            await until(all_are(exchange, ids, "acknowledged"), within_s=40)
            print(f"mended and delivered after {time.monotonic() - began:.1f} s")
            assert dict(arrivals(school)) == dict.fromkeys(ids, 1)
            # and when it ends there, nothing more goes to that system
            both.says(nobody)
            await asyncio.sleep(2.5)  # what it said is believed for two seconds
            requests = school.requests
            later = await hand_in(exchange, 3)
            await until(lambda: both.held(later) == {("ROUTE_NO_ENDPOINT", "supplier")}, within_s=30)
            assert school.requests == requests

    exchange.run(act(), within_s=140)


@pytest.mark.timeout(150)
def test_a_hand_in_that_only_the_other_register_can_judge_stays_in_its_queue_until_it_can_in_order(tmp_path: Path) -> None:
    require_rabbitmq()
    document = deepcopy(DOCUMENT)
    document["mandates"] = [row for row in document["mandates"] if row["system"] != LAS]
    with together(tmp_path / "other", document) as both:
        exchange = both.exchange

        async def act() -> None:
            exchange.start_worker("intake")
            receipts = await exchange.consumer("receipt", LAS)
            ids = await hand_in(exchange, 40)
            sis = s.signer("sis", oin=SIS)
            theirs_receipts = await exchange.consumer("receipt", SIS)
            one = s.message_id()
            known = exchange.signed(_content(exchange), one, PROEF, sender=MBO, receiver=SCHOOL, signer=sis)
            await (await exchange.publisher(SIS)).publish_many([exchange.hand_in(known, one, system=SIS)])
            (receipt,) = await theirs_receipts.next_batch(1, 1.0, idle_s=30.0)
            assert read(receipt.body)["accepted"], "whom ours knows waits for those whom it does not"
            assert await receipts.next_batch(1, 0.1, idle_s=2.0) == []
            await asyncio.to_thread(both.come)
            came: list[Any] = []
            while len(came) < 40:
                batch = await receipts.next_batch(40, 0.5, idle_s=40.0)
                assert batch, f"{len(came)} of 40 receipts"
                came += batch
            assert all(read(one.body)["accepted"] for one in came)
            stored = exchange.rows("SELECT message_id FROM message WHERE system = :las ORDER BY seq", las=LAS)
            assert [row["message_id"] for row in stored] == ids, "a system's hand-ins are stored in the order in which they came"

        exchange.run(act(), within_s=140)


def _content(exchange: Exchange) -> bytes:
    return invented.proef(business_id=str(uuid.uuid4()), sender=MBO, receiver=SCHOOL, created=exchange.clock.now())
