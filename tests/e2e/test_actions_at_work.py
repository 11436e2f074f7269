"""A chain manager repairs what fell out, with broker, store, workers and parties as they are: in parts, through a kill -9, and back to
whoever handed it in."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import ssl
from collections import Counter
from collections.abc import Iterator, Sequence
from copy import deepcopy
from typing import Any

import aiohttp
import pytest

import run as program
from adapters.store.contents import ContentRequests
from routing.actions import Action, Job, Order, Selection
from routing.board import ItemFilter
from routing.contents import Opened, Outcome
from routing.jobs import JobState, Terms
from routing.people import Role, Scope, new_account
from routing.ports import Incoming, Outgoing
from tests.support import openapi
from tests.support import signing as s
from tests.support.broker import require_rabbitmq, until
from tests.support.exchange import DOCUMENT, LAS, MBO, SIS, Exchange, said

pytestmark = [pytest.mark.broker, pytest.mark.slow]

ALL = Scope(everything=True)
INSIDE = ("intake", "relay", "route", "deliver", "audit", "gateway")
MANY = 120


@pytest.fixture(scope="module")
def exchange() -> Iterator[Exchange]:
    require_rabbitmq()
    with Exchange(processes=("timetable",)) as made:  # which is killed
        made.run(awake(made))
        yield made


async def awake(exchange: Exchange) -> None:
    for name in INSIDE:
        exchange.start_worker(name)
    inspector = await exchange.inspector()
    await until(lambda: inspector.depth("epoch"), within_s=30)


class Chain:
    """What the parties and the chain manager do."""

    def __init__(self, exchange: Exchange) -> None:
        self.exchange = exchange
        self.desk = program.action_desk_of(exchange.settings, exchange.store)
        self.letters: Counter[str] = Counter()  #: copies the receiver's system got, by delivery_id

    async def hand_in(self, count: int) -> list[str]:
        """Messages of the school for the other school; their MessageIDs."""
        ids = [s.message_id() for _ in range(count)]
        publisher = await self.exchange.publisher(LAS)
        await publisher.publish_many([self.exchange.hand_in(self.exchange.proef(id), id) for id in ids])
        return ids

    async def answer(self, count: int, outcome: str) -> None:
        """The receiver's system takes so many from its mailbox, and says this of each."""
        consumer, publisher = await self.exchange.consumer("mailbox", SIS), await self.exchange.publisher(SIS)
        taken = 0
        async with asyncio.timeout(60):
            while taken < count:
                batch: Sequence[Incoming] = await consumer.next_batch(limit=50, idle_s=1.0)
                if not batch:
                    continue
                words = [{"delivery_id": one.headers["delivery_id"], "outcome": outcome, "reason": "unreadable"} for one in batch]
                self.letters.update(word["delivery_id"] for word in words)
                await publisher.publish_many(
                    [Outgoing(exchange="confirm", routing_key=SIS, body=json.dumps(word).encode()) for word in words]
                )
                consumer.ack(batch)
                taken += len(batch)

    async def on_board(self, count: int, **filters: Any) -> ItemFilter:
        """The filter, once the board shows so many."""
        wanted = ItemFilter(**filters)
        await until(lambda: self.exchange.store.board.count(ALL, wanted, now_us=self.exchange.clock.now_us()) == count, within_s=30)
        return wanted

    def confirm(self, selection: Selection, order: Order, **terms: Any) -> Job:
        preview = self.desk.preview(ALL, selection, order, who="anna")
        return self.desk.confirm(ALL, preview.id, who="anna", reason="mended", terms=Terms(**terms))

    async def ended(self, job: Job, *states: JobState) -> Job:
        await until(lambda: self.desk.job(ALL, job.id).state in states, within_s=60)
        found = self.desk.job(ALL, job.id)
        assert found is not None
        return found

    def rows(self, query: str, **values: object) -> list[dict[str, Any]]:
        return self.exchange.rows(query, **values)

    async def register(self, mandates: Sequence[dict[str, Any]]) -> None:
        document = deepcopy(DOCUMENT) | {"mandates": list(mandates)}
        version = self.exchange.store.registry.save_register(document, who="test", now_us=self.exchange.clock.now_us())
        await until(lambda: self.exchange.register_versions() == {version})


@pytest.fixture
def chain(exchange: Exchange) -> Chain:
    return Chain(exchange)


def test_a_job_whose_worker_is_killed_goes_on_and_brings_nothing_twice(exchange: Exchange, chain: Chain) -> None:
    async def play() -> None:
        await chain.hand_in(MANY)
        await chain.answer(MANY, "refused")
        wanted = await chain.on_board(MANY, code="MAILBOX_UNREADABLE")
        first = dict(chain.letters)
        job = chain.confirm(Selection(wanted=wanted), Order(action=Action.RETRY), trial=5, rate=40)
        await until(lambda: chain.desk.job(ALL, job.id).figures.planned < MANY - 30, within_s=30)
        pid = exchange.supervisor.pids["timetable"]
        os.kill(pid, signal.SIGKILL)
        assert chain.desk.job(ALL, job.id).state is JobState.RUNNING, "in the midst of it"
        await until(lambda: exchange.supervisor.pids.get("timetable") not in (None, pid), within_s=30)
        await chain.answer(MANY, "confirmed")
        done = await chain.ended(job, JobState.DONE)
        assert (done.figures.succeeded, done.figures.failed, done.figures.planned) == (MANY, 0, 0)
        assert set(first) == set(chain.letters), "the same deliveries"
        assert set(chain.letters.values()) == {2}, "refused once, and confirmed once"
        assert chain.rows("SELECT DISTINCT attempts, state FROM delivery") == [{"attempts": 2, "state": "acknowledged"}]
        references = [row["reference"] for row in chain.rows("SELECT reference FROM message")]
        retried = [event for reference in references for event in exchange.store.journal.of_message(reference)]
        assert Counter(event.kind for event in retried)["retried"] == MANY

    exchange.run(play(), within_s=170)


def test_content_that_the_portal_asks_for_is_opened_by_the_timetables_process(exchange: Exchange, chain: Chain) -> None:
    """The portal's side has the store and no key."""
    store, requests = exchange.store, ContentRequests(exchange.store.database)
    account = new_account("anna", [Role.CHAIN_MANAGER])
    given = {"password": "", "one_time": False, "totp": b"sealed", "who": "test", "now_us": exchange.clock.now_us()}
    store.people.add(account, **given)  # type: ignore[arg-type]
    store.people.open_session(b"session", "anna", now_us=exchange.clock.now_us())

    async def play() -> None:
        (id,) = await chain.hand_in(1)
        await until(lambda: chain.rows("SELECT reference FROM message WHERE message_id = :id", id=id), within_s=30)
        (row,) = chain.rows("SELECT reference FROM message WHERE message_id = :id", id=id)
        now_us = exchange.clock.now_us()
        asked = requests.ask(row["reference"], account="anna", proof=b"session", reason="ticket 12", now_us=now_us)
        answers: list[Opened] = []
        await until(lambda: bool(answers.append(found) if (found := requests.answer(asked)) else answers), within_s=30)
        assert answers[0].outcome is Outcome.OPENED and id.encode() in answers[0].content
        assert "content_opened" in [event.kind for event in store.journal.of_message(row["reference"])]
        await chain.answer(1, "confirmed")

    exchange.run(play(), within_s=100)


def test_a_trial_batch_that_fails_stops_and_after_mending_the_rest_goes(exchange: Exchange, chain: Chain) -> None:
    async def play() -> None:
        before = {row["id"] for row in chain.rows("SELECT id FROM delivery")}
        await chain.hand_in(12)
        await chain.answer(12, "refused")
        wanted = await chain.on_board(12, code="MAILBOX_UNREADABLE")
        await chain.register([row for row in DOCUMENT["mandates"] if row["system"] != SIS])
        job = chain.confirm(Selection(wanted=wanted), Order(action=Action.RETRY), trial=3)
        stopped = await chain.ended(job, JobState.STOPPED)
        assert (stopped.stopped, stopped.figures.failed, stopped.figures.planned) == ("trial_failed", 3, 9)
        states = Counter(row["state"] for row in chain.rows("SELECT id, state FROM delivery") if row["id"] not in before)
        assert states == {"routed": 3, "failed": 9}, "three wait for a mandate, the rest is untouched"
        await chain.register(DOCUMENT["mandates"])
        await chain.answer(3, "confirmed")
        chain.desk.resume(ALL, job.id, who="bob")
        await chain.answer(9, "confirmed")
        done = await chain.ended(job, JobState.DONE)
        assert (done.figures.succeeded, done.figures.failed) == (9, 3)
        assert set(chain.letters.values()) == {2}

    exchange.run(play(), within_s=120)


def test_a_retour_reaches_the_system_over_amqp_and_rest_even_after_its_mandate_ended(exchange: Exchange, chain: Chain) -> None:
    async def asked(path: str) -> dict[str, Any]:
        party, context = s.party(), ssl.create_default_context(cafile=s.folder() / "ca.pem")
        context.load_cert_chain(party.certificate, party.key)
        url = f"https://localhost:{exchange.settings.gateway_port}{path}"
        async with aiohttp.ClientSession() as session, session.get(url, ssl=context) as answer:
            body = await answer.read()
            openapi.check("GET", path, answer.status, dict(answer.headers), body)
            assert answer.status == 200, body
            return dict(json.loads(body))

    async def play() -> None:
        cursor = (await asked("/rest/changes?since=newest"))["next"]
        (id,) = await chain.hand_in(1)
        await chain.answer(1, "refused")
        wanted = await chain.on_board(1, code="MAILBOX_UNREADABLE")
        ended = [{**row, "until": "2020-01-01"} if row["system"] == LAS else row for row in DOCUMENT["mandates"]]
        await chain.register(ended)
        receipts = await exchange.consumer("receipt", LAS)
        chain.confirm(Selection(wanted=wanted), Order(action=Action.RETURN, deliver_again=True))
        retour: dict[str, Any] = {}
        async with asyncio.timeout(30):
            while not retour:
                batch = await receipts.next_batch(limit=500, idle_s=1.0)
                receipts.ack(batch)
                found = [said(one.body) for one in batch if one.correlation_id == id and said(one.body).get("state") == "returned"]
                retour = found[0] if found else {}
        assert retour["message_id"] == id
        assert (retour["code"], retour["deliver_again"], retour["receiver"]) == ("MAILBOX_UNREADABLE", True, MBO)
        assert retour["business_id"]
        assert retour["remedy"]
        (status,) = (await asked(f"/rest/status?reference={retour['reference']}"))["messages"]
        (delivery,) = status["deliveries"]
        assert (delivery["state"], delivery["deliver_again"], delivery["code"]) == ("returned", True, "MAILBOX_UNREADABLE")

        async def changed() -> bool:
            page = await asked(f"/rest/changes?since={cursor}")
            return any(d["state"] == "returned" for message in page["messages"] for d in message["deliveries"])

        async with asyncio.timeout(20):
            while not await changed():
                await asyncio.sleep(0.1)
        await chain.register(DOCUMENT["mandates"])

    exchange.run(play(), within_s=120)


def test_what_is_offered_anew_comes_with_a_message_id_of_its_own_and_names_the_original(exchange: Exchange, chain: Chain) -> None:
    async def play() -> None:
        (id,) = await chain.hand_in(1)
        await chain.answer(1, "confirmed")
        (delivery,) = chain.letters
        await until(lambda: chain.rows("SELECT state FROM delivery WHERE id = :id", id=delivery) == [{"state": "acknowledged"}])
        job = chain.confirm(Selection(ids=(delivery,)), Order(action=Action.RESEND))
        consumer = await exchange.consumer("mailbox", SIS)
        (letter,) = await consumer.next_batch(limit=1, idle_s=20)
        assert letter.headers["delivery_id"] != delivery
        assert letter.message_id == f"urn:uuid:{letter.headers['delivery_id']}"
        assert id.encode() in letter.body, "RelatesTo names the original"
        assert b"urn:x-backbone:original" in letter.body
        consumer.ack([letter])
        assert (await chain.ended(job, JobState.DONE)).figures.succeeded == 1

    exchange.run(play(), within_s=60)
