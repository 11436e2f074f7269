"""How intake workers share the parties: each queue gives all to one of them, so it matters who comes first."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any

import pytest

from workers import intake
from workers.clock import Clock
from workers.intake import Share, share
from workers.loop import Worker

SYSTEMS = [f"0000000300000000{n:04}" for n in range(7)]


class Everybody:
    """Who the store says there is."""

    def __init__(self) -> None:
        self.rows: list[dict[str, Any]] = []

    def workers(self) -> list[dict[str, Any]]:
        return self.rows

    def add(self, id: str, *, name: str = "intake", seen_s_ago: float = 0.0) -> None:
        self.rows.append({"id": id, "name": name, "seen_us": Clock().now_us() - int(seen_s_ago * 1e6)})


class Queues:
    """What the worker consumes from, and how often it hung up."""

    def __init__(self) -> None:
        self.queues: list[str] = []
        self.hung_up = 0
        self.gave: set[str] = set()
        self.connections = 1

    def brought(self) -> set[str]:
        found, self.gave = self.gave, set()
        return found

    async def set_queues(self, queues: Iterable[str]) -> None:
        self.queues = [queue.removeprefix("intake.") for queue in queues]

    async def close(self) -> None:
        self.hung_up += 1


def sharing(everybody: Everybody) -> tuple[Share, Queues, str]:
    queues, worker = Queues(), Worker("intake", everybody, Clock())  # type: ignore[arg-type]
    return Share(worker, queues, everybody, lambda: SYSTEMS), queues, worker.id  # type: ignore[arg-type]


def look(one: Share) -> None:
    asyncio.run(one.look())


def test_the_parties_are_dealt_out_evenly_and_each_to_one_worker() -> None:
    shares = [share(worker, {"a", "b", "c"}, SYSTEMS) for worker in "abc"]
    assert sorted(oin for one in shares for oin in one) == SYSTEMS
    assert {len(one) for one in shares} == {2, 3}
    assert share("a", ["c", "a", "b"], reversed(SYSTEMS)) == shares[0], "whatever the order in which they are named"  # type: ignore[arg-type]


def test_one_worker_takes_from_everybody_at_once() -> None:
    everybody = Everybody()
    everybody.add("route-1", name="route")
    everybody.add("intake-dead", seen_s_ago=16)
    one, queues, _ = sharing(everybody)
    look(one)
    assert queues.queues == SYSTEMS


def test_a_worker_that_comes_later_gets_its_share_and_all_stand_by_for_each_other(monkeypatch: pytest.MonkeyPatch) -> None:
    everybody = Everybody()
    first, queues, id = sharing(everybody)
    look(first)
    everybody.add(id)
    everybody.add("intake-later")
    look(first)
    assert queues.hung_up == 1, "it lets go of what it holds, in order, before another takes on"
    mine = share(id, {id, "intake-later"}, SYSTEMS)
    assert queues.queues == mine
    later = intake.time.monotonic() + intake.STAND_BY_AFTER_S
    monkeypatch.setattr(intake.time, "monotonic", lambda: later)
    look(first)
    assert queues.queues[: len(mine)] == mine
    assert sorted(queues.queues) == SYSTEMS
    assert queues.hung_up == 1


def test_when_another_worker_is_gone_nothing_is_interrupted() -> None:
    everybody = Everybody()
    everybody.add("intake-other")
    one, queues, _ = sharing(everybody)
    look(one)
    assert 0 < len(queues.queues) < len(SYSTEMS)
    everybody.rows.clear()
    look(one)
    assert queues.hung_up == 0


def test_a_worker_that_serves_anothers_party_lets_go_when_the_other_has_shown_that_it_lives(monkeypatch: pytest.MonkeyPatch) -> None:
    """Both started late, say: the broker gave the party to whoever came first, and would leave it there for ever."""
    everybody = Everybody()
    everybody.add("intake-other")
    one, queues, id = sharing(everybody)
    look(one)
    later = intake.time.monotonic() + intake.LET_GO_EVERY_S
    monkeypatch.setattr(intake.time, "monotonic", lambda: later)
    theirs = f"intake.{share('intake-other', {id, 'intake-other'}, SYSTEMS)[0]}"
    queues.gave = {theirs}
    look(one)
    assert queues.hung_up == 0, "the other may have died a moment ago: then it is right to serve its parties"
    assert sorted(queues.queues) == SYSTEMS
    queues.gave = {theirs}
    look(one)
    assert queues.hung_up == 0, "it has not been heard of since"
    everybody.rows[0]["seen_us"] += int(5e6)
    queues.gave = {theirs}
    look(one)
    assert queues.hung_up == 1
    assert queues.queues == share(id, {id, "intake-other"}, SYSTEMS)
    queues.gave = {theirs}
    look(one)
    assert queues.hung_up == 1, "once in a while, and not again and again"


def test_a_worker_that_serves_its_own_parties_is_not_interrupted(monkeypatch: pytest.MonkeyPatch) -> None:
    everybody = Everybody()
    everybody.add("intake-other")
    one, queues, id = sharing(everybody)
    look(one)
    later = intake.time.monotonic() + intake.LET_GO_EVERY_S
    monkeypatch.setattr(intake.time, "monotonic", lambda: later)
    for _ in range(3):
        everybody.rows[0]["seen_us"] += int(5e6)
        queues.gave = {f"intake.{share(id, {id, 'intake-other'}, SYSTEMS)[0]}"}
        look(one)
    assert queues.hung_up == 0


def test_after_a_time_without_the_broker_each_takes_its_own_share_first_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever finds the broker again first gets all queues it asks for, those it only stands by for included."""
    everybody = Everybody()
    everybody.add("intake-other")
    one, queues, id = sharing(everybody)
    look(one)
    later = intake.time.monotonic() + intake.STAND_BY_AFTER_S
    monkeypatch.setattr(intake.time, "monotonic", lambda: later)
    look(one)
    assert sorted(queues.queues) == SYSTEMS
    queues.connections = 2
    look(one)
    assert queues.hung_up == 1
    assert queues.queues == share(id, {id, "intake-other"}, SYSTEMS)
    queues.connections = 3  # our own, after hanging up
    look(one)
    assert queues.hung_up == 1


def test_one_worker_alone_is_not_interrupted_when_the_broker_comes_back() -> None:
    one, queues, _ = sharing(Everybody())
    look(one)
    queues.connections = 2
    look(one)
    assert queues.hung_up == 0
    assert queues.queues == SYSTEMS


def test_a_worker_that_has_just_died_is_stood_in_for_whatever_was_noticed_of_it_long_ago(monkeypatch: pytest.MonkeyPatch) -> None:
    everybody = Everybody()
    everybody.add("intake-other")
    one, queues, id = sharing(everybody)
    look(one)
    later = intake.time.monotonic() + intake.LET_GO_EVERY_S
    monkeypatch.setattr(intake.time, "monotonic", lambda: later)
    theirs = f"intake.{share('intake-other', {id, 'intake-other'}, SYSTEMS)[0]}"
    queues.gave = {theirs}
    look(one)  # a moment's failover, noticed
    now_us = Clock().now_us()
    monkeypatch.setattr(Clock, "now_us", lambda _: now_us + int((intake.LET_GO_EVERY_S + 5) * 1e6))
    everybody.rows[0]["seen_us"] = now_us + int((intake.LET_GO_EVERY_S + 3) * 1e6)  # alive until two seconds ago
    queues.gave = {theirs}
    look(one)
    assert queues.hung_up == 0
