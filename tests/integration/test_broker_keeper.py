"""The broker as a whole: the topology goes where the workers connect, and follows the register."""

from __future__ import annotations

import time
from pathlib import Path
from urllib.parse import quote

import pytest

from adapters.broker_keeper import Keeper, password_file
from adapters.rabbit import Inspector, Outgoing
from adapters.store import open_store
from broker_config.settings import Settings
from broker_config.topology import EPOCH
from routing.ports import BrokerUnavailable
from routing.register import Register, read_register
from tests.support.broker import GEMEENTE, LAS, TestBroker, run
from tests.support.store import fresh_url

pytestmark = pytest.mark.broker


def register_of(*systems: str) -> Register:
    rows = [{"oin": oin, "name": f"Systeem {oin[-4:]}", "supplier": "Leverancier", "channels": ["amqp"]} for oin in systems]
    return read_register({"systems": rows}, version=1)


def keeper_of(broker: TestBroker, home: Path, *systems: str, amqp: str | None = None) -> Keeper:
    home.mkdir(exist_ok=True)
    settings = Settings.from_environment({}, home=home)
    store = open_store(fresh_url("sqlite", home))
    return Keeper(settings, store.registry, lambda: register_of(*systems), amqp or broker.url, broker.node.management_url)


def test_the_topology_is_applied_to_the_vhost_that_the_workers_connect_to(broker: TestBroker, tmp_path: Path) -> None:
    assert broker.vhost != "koppelpunt"
    keeper = keeper_of(broker, tmp_path, LAS, GEMEENTE)

    async def act() -> None:
        await keeper.apply_topology()
        assert await keeper.differences() == []
        assert await broker.depth(f"intake.{LAS}") == 0
        assert await keeper.epoch() is None
        await keeper.set_epoch("1")
        assert await keeper.epoch() == "1"
        assert await broker.depth(EPOCH) == 1
        password = password_file(tmp_path, LAS).read_text().strip()
        address = broker.url_of(LAS, quote(password, safe=""))
        async with type(broker.publisher())(address) as party:
            assert party.is_connected, "a party connects to the same vhost with the password it was given"

    run(act())


def test_another_vhost_of_the_same_broker_is_left_alone(broker: TestBroker, tmp_path: Path) -> None:
    other = TestBroker(broker.node)
    try:
        run(keeper_of(broker, tmp_path / "one", LAS).apply_topology())
        run(keeper_of(other, tmp_path / "two", GEMEENTE).apply_topology())

        async def act() -> None:
            assert await other.depth(f"intake.{LAS}") is None
            assert await broker.depth(f"intake.{GEMEENTE}") is None

        run(act())
    finally:
        other.remove()


def test_the_rights_of_a_user_that_is_not_ours_are_left_to_whoever_made_it(broker: TestBroker, tmp_path: Path) -> None:
    broker.apply()
    wanted = keeper_of(broker, tmp_path, amqp=broker.admin_url).wanted(register_of(LAS))
    assert {row["user"] for row in wanted["permissions"]} == {LAS}


def test_a_hand_in_queue_of_an_earlier_version_is_replaced_by_the_timetable_once_it_is_empty(
    broker: TestBroker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keeper = keeper_of(broker, tmp_path, LAS)
    older = keeper.wanted(register_of(LAS))
    for queue in older["queues"]:
        queue["arguments"] = {"x-queue-type": "quorum"}

    async def act() -> None:
        async with broker.admin() as admin:
            await admin._call("POST", "definitions", older)
        async with broker.publisher() as ours:
            await ours.publish(Outgoing(routing_key=f"intake.{LAS}", body=b"1"))
        await keeper.follow_register()
        await keeper.follow_register()
        assert len(await keeper.differences()) == 1
        async with Inspector(broker.url) as inspector:
            assert await inspector.depth(f"intake.{LAS}") == 1
            await inspector.purge(f"intake.{LAS}")
        monkeypatch.setattr(keeper, "_again_at", 0.0)  # a minute later
        await keeper.follow_register()
        assert await keeper.differences() == []
        assert keeper._again_at == float("inf")

    run(act())


def test_the_topology_is_applied_by_one_process_at_a_time(broker: TestBroker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    keeper = keeper_of(broker, tmp_path, LAS)
    registry, now_us = keeper._registry, int(time.time() * 1e6)
    other = registry.take_lease("topology", "another process", now_us=now_us, until_us=now_us + 60_000_000)
    assert other is not None
    monkeypatch.setattr("adapters.broker_keeper._ALONE_S", 0.2)

    async def act() -> None:
        with pytest.raises(BrokerUnavailable, match="Somebody else is applying the topology"):
            await keeper.apply_topology()
        assert await broker_is_empty()
        registry.give_lease(other)
        await keeper.apply_topology()
        await keeper.apply_topology()
        assert await keeper.differences() == []

    async def broker_is_empty() -> bool:
        async with broker.admin() as admin:
            return not (await admin.read())["queues"]

    run(act())
