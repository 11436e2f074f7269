"""A school changes its supplier on 1 August, by a clock that the test moves: what goes where before, on and after the day, and why.

What school and suppliers do, they do with `run.py register`, as themselves. Broker, store and workers are the real ones.
"""

from __future__ import annotations

import argparse
import json
import uuid
from collections.abc import Iterator
from copy import deepcopy
from datetime import date, datetime, time, timedelta
from typing import Any

import pytest

import run as program
from adapters.credentials import standing_of
from adapters.parties import invented
from adapters.signing import Signer
from routing.amsterdam import AMSTERDAM
from routing.ports import Incoming, Outgoing, Published
from routing.register import read_register
from routing.register_stored import follow
from schemas.contracts import load_contracts
from schemas.oin import Oin
from tests.support import signing as s
from tests.support.broker import require_rabbitmq, until
from tests.support.exchange import DOCUMENT, HUB, LAS, MBO, PROEF, SCHOOL, SIS, Exchange, MovedClock, said
from workers import register_commands
from workers.register_work import Work

pytestmark = [pytest.mark.broker, pytest.mark.slow]

NEW = Oin("00000003272448350000")
FIRST = next(day for year in range(2026, 2100) if (day := date(year, 8, 1)) > datetime.now(AMSTERDAM).date() + timedelta(days=1))
LAST = FIRST - timedelta(days=1)
#: Certificates that are good on that day too.
DAYS = 800
DIENST = ("--dienst", "proef", "--versie", "1")


def signer(name: str, oin: Oin) -> Signer:
    return s.signer(f"{name}-for-years", oin=oin, days=DAYS)


def document() -> dict[str, Any]:
    register = deepcopy(DOCUMENT)
    register["systems"].append({"oin": NEW, "name": "Klassenboek", "supplier": "Boek BV", "channels": ["amqp"]})
    return register


@pytest.fixture
def clock() -> MovedClock:
    return MovedClock()


@pytest.fixture
def exchange(clock: MovedClock) -> Iterator[Exchange]:
    require_rabbitmq()
    ours = s.party("hub-for-years", oin=HUB, days=DAYS)
    move(clock, LAST, time(12))
    settings = {"KOPPELPUNT_KEY": str(ours.key), "KOPPELPUNT_CERT": str(ours.certificate), "KOPPELPUNT_CRL": ""}
    with Exchange(clock=clock, document=document(), settings=settings) as exchange:
        yield exchange


def move(clock: MovedClock, day: date, at: time) -> None:
    """It is then, in Amsterdam."""
    clock.ahead += datetime.combine(day, at, AMSTERDAM) - clock.now()


class Play:
    """What the parties do, and what became of it."""

    def __init__(self, exchange: Exchange, capsys: pytest.CaptureFixture[str]) -> None:
        self.exchange, self._capsys = exchange, capsys
        self.references: dict[str, str] = {}

    async def start(self) -> None:
        for name in ("intake", "relay", "route", "deliver", "audit", "timetable"):
            self.exchange.start_worker(name)
        inspector = await self.exchange.inspector()
        await until(lambda: inspector.depth("epoch"), within_s=20)

    def register(self, *words: object) -> str:
        """`run.py register …` at the time of the play."""
        parser, store = argparse.ArgumentParser(), self.exchange.store
        program.commands()["register"][0](parser)
        empty = read_register({}, version=0)
        work = Work(
            book=store.register,
            register_at=lambda version: follow(store.register, empty, version),
            who="operator test",
            now=self.exchange.clock.now,
            may_call=lambda _: False,
        )
        arguments = parser.parse_args([str(word) for word in words])
        register_commands.run(
            arguments,
            work,
            contracts=load_contracts,
            verifier=lambda: s.verifier(),
            last_delivered=store.queries.last_delivered,
            certificate=standing_of,
            warnings=store.warnings,
        )
        return " ".join(self._capsys.readouterr().out.split())

    async def message(self, name: str) -> None:
        """From the mbo school to the school that changes its supplier."""
        content = invented.proef(business_id=str(uuid.uuid4()), sender=MBO, receiver=SCHOOL, created=self.exchange.clock.now())
        receipt = await self.hand_in(content, SIS, MBO, SCHOOL, signer("sis", SIS))
        assert receipt["accepted"], receipt
        self.references[name] = receipt["reference"]

    async def from_school(self, system: Oin, *, written: datetime) -> dict[str, Any]:
        """From the school, by one of its systems, with this moment in it everywhere."""
        content = invented.proef(business_id=str(uuid.uuid4()), sender=SCHOOL, receiver=MBO, created=written)
        return await self.hand_in(content, system, SCHOOL, MBO, signer(str(system), system), created=written)

    async def hand_in(
        self, content: bytes, system: Oin, sender: Oin, receiver: Oin, by: Signer, *, created: datetime | None = None
    ) -> dict[str, Any]:
        message_id = s.message_id()
        signed = self.exchange.signed(content, message_id, PROEF, sender=sender, receiver=receiver, created=created, signer=by)
        fate = await (await self.exchange.publisher(system)).publish(self.exchange.hand_in(signed, message_id, system=system))
        assert fate is Published.CONFIRMED
        consumer = await self.exchange.consumer("receipt", system)
        while True:
            for incoming in await consumer.next_batch(1, idle_s=20):
                consumer.ack([incoming])
                if incoming.correlation_id == message_id and "accepted" in (receipt := said(incoming.body)):
                    return receipt

    async def fetch(self, system: Oin, count: int) -> dict[str, Incoming]:
        """What comes into a mailbox, by the names of the messages."""
        consumer, found = await self.exchange.consumer("mailbox", system), dict[str, Incoming]()
        while len(found) < count:
            batch = await consumer.next_batch(count, idle_s=20)
            names = {row["id"]: name for name in self.references for row in self.deliveries(name)}
            found |= {names[str(one.headers["delivery_id"])]: one for one in batch}
        return found

    async def confirm(self, system: Oin, received: Incoming) -> None:
        body = {"delivery_id": received.headers["delivery_id"], "outcome": "confirmed", "reason": None}
        publisher = await self.exchange.publisher(system)
        await publisher.publish(Outgoing(exchange="confirm", routing_key=system, body=json.dumps(body).encode()))

    def deliveries(self, name: str) -> list[dict[str, Any]]:
        query = "SELECT d.* FROM delivery d JOIN message m ON m.seq = d.message_seq WHERE m.reference = :r ORDER BY d.seq"
        return self.exchange.rows(query, r=self.references[name])

    def stands(self, name: str) -> tuple[str, str | None, str | None]:
        """State, whose it is, and what it waits for."""
        rows = self.deliveries(name) or [{"state": "not routed", "receiver_system": None, "hold_code": None}]
        return rows[0]["state"], rows[0]["receiver_system"], rows[0]["hold_code"]

    def told(self, name: str) -> list[tuple[str, str | None]]:
        """The decisions about where it goes: rule, and system where there is one."""
        decisions = self.exchange.store.journal.decisions_of(self.references[name])
        return [(one["rule"], one["inputs"].get("system")) for one in decisions if one["question"] == "endpoint"]

    def words(self, name: str) -> str:
        return " ".join(one["nl"] for one in self.exchange.store.journal.decisions_of(self.references[name]))


@pytest.mark.timeout(180)
def test_a_supplier_switch_on_the_first_of_august(exchange: Exchange, clock: MovedClock, capsys: pytest.CaptureFixture[str]) -> None:
    play = Play(exchange, capsys)

    async def act() -> None:
        await play.start()
        # 31 July, noon: the school plans; its old system still does all the work
        play.register("mandate", "end", "--organisation", SCHOOL, "--dienst", "proef", "--system", LAS, "--until", LAST, "--as", SCHOOL)
        play.register("mandate", "give", "--organisation", SCHOOL, "--dienst", "proef", "--system", NEW, "--from", FIRST, "--as", SCHOOL)
        plan = play.register("plan", "--organisation", SCHOOL)
        assert (
            f"{FIRST} Emmaus College" in plan
            and "! Messages proef 1 for Emmaus College no longer go to Leerlingwijzer (mailbox), and wait" in plan
        )
        await play.message("read before")
        fetched = await play.fetch(LAS, 1)
        await play.confirm(LAS, fetched["read before"])
        await until(lambda: play.stands("read before")[0] == "acknowledged", within_s=20)
        await exchange.let_go("mailbox", LAS)
        await play.message("unread")
        assert (await play.from_school(LAS, written=clock.now()))["accepted"]
        early = await play.from_school(NEW, written=clock.now())
        assert (early["accepted"], early["code"]) == (False, "Client.DK0002")

        # a minute before midnight, still the old one
        move(clock, LAST, time(23, 59))
        await play.message("at the last minute")
        await until(lambda: play.stands("at the last minute") == ("delivered", LAS, None), within_s=20)

        # 1 August: the new one may, and has no endpoint yet
        move(clock, FIRST, time(0, 1))
        waits = {"unread", "at the last minute"}
        await until(lambda: all(play.stands(name)[0] != "delivered" for name in waits), within_s=30)
        await play.message("on the day")
        waits.add("on the day")
        await until(lambda: {play.stands(name)[2] for name in waits} == {"ROUTE_NO_ENDPOINT"}, within_s=20)
        inspector = await exchange.inspector()

        async def emptied() -> bool:
            return await inspector.depth(f"mailbox.{LAS}") == 0

        await until(emptied, within_s=30)
        for written in (clock.now(), datetime.combine(LAST, time(18), AMSTERDAM)):
            refused = await play.from_school(LAS, written=written)
            assert (refused["accepted"], refused["code"]) == (False, "Client.DK0002"), "an ex-supplier handed in"
            assert str(LAST) in refused["reason"], refused
        assert (await play.from_school(NEW, written=clock.now()))["accepted"]

        # the new supplier records where it receives: what waited flows
        version = exchange.store.register.newest()
        play.register("endpoint", "add", "--organisation", SCHOOL, *DIENST, "--system", NEW, "--mailbox", "--as", NEW)
        arrived = await play.fetch(NEW, 3)
        assert arrived.keys() == waits
        for received in arrived.values():
            await play.confirm(NEW, received)
        move(clock, FIRST, time(9))
        await play.message("after")
        await play.confirm(NEW, (await play.fetch(NEW, 1))["after"])
        await until(lambda: {play.stands(name)[:2] for name in (*waits, "after")} == {("acknowledged", NEW)}, within_s=20)
        assert play.stands("read before")[:2] == ("acknowledged", LAS)

        # each decision says why, and by which version of the register
        assert play.told("read before") == [("endpoint", LAS)]
        assert [rule for rule, _ in play.told("unread")][1:-1], "nothing was said about the wait"
        for name in ("unread", "at the last minute"):
            assert (play.told(name)[0], play.told(name)[-1]) == (("endpoint", LAS), ("endpoint", NEW))
            assert LAST.strftime("%d-%m-%Y") in play.words(name)
        assert [play.told("on the day")[-1], play.told("after")] == [("endpoint", NEW), [("endpoint", NEW)]]
        last = exchange.store.journal.decisions_of(play.references["on the day"])[-1]
        assert last["register_version"] == version + 1

        # and so does the dry run, before and after
        words = ("explain", "--from", MBO, "--to", SCHOOL, *DIENST, "--json", "--at")
        for day, system in ((LAST, LAS), (FIRST, NEW)):
            (*_, where) = json.loads(play.register(*words, day))
            assert (where["rule"], where["inputs"]["system"]) == ("endpoint", system)
        assert "no longer" not in play.register("plan", "--from", FIRST, "--organisation", SCHOOL).replace("no longer receives", "")
        await exchange.stop_workers()

    exchange.run(act(), within_s=170)
