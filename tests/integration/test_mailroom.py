"""Taking copies back from a mailbox on a real broker: others' messages stay, in order, while their system may be reading them."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import aclosing

import pytest

from adapters.mailroom import CHUNK, Mailroom
from adapters.rabbit import Consumer, Inspector, Outgoing, Published
from broker_config.topology import Bounds
from routing.mailbox import TakenBack
from routing.ports import BrokerUnavailable
from tests.support.broker import LAS, TestBroker, run, until

pytestmark = pytest.mark.broker

MAILBOX = f"mailbox.{LAS}"


def copy(id: str) -> Outgoing:
    headers = {"delivery_id": id, "received_at": "2026-01-15T00:00:00+00:00", "dienst": "proef", "attempt": 1}
    return Outgoing(
        routing_key=MAILBOX, body=b"<a>" + id.encode(), content_type="text/xml; charset=utf-8", message_id=f"urn:{id}", headers=headers
    )


async def fill(broker: TestBroker, ids: Sequence[str]) -> None:
    async with broker.publisher() as ours:
        assert set(await ours.publish_many([copy(id) for id in ids])) <= {Published.CONFIRMED}


async def sift(broker: TestBroker, strange: set[str]) -> list[TakenBack]:
    async def foreign(ids: Sequence[str]) -> set[str]:
        return strange & set(ids)

    taken: list[TakenBack] = []
    async with aclosing(Mailroom(broker.url).sift(LAS, foreign)) as parts:
        async for part in parts:
            taken += part
    return taken


async def standing(broker: TestBroker) -> list[tuple[str, bytes, object, bool]]:
    """All that stands in the mailbox, in order; it stays there."""
    async with Inspector(broker.url) as inspector:
        found = []
        while (one := await inspector.get(MAILBOX)) is not None:
            found.append((str(one.headers["delivery_id"]), one.body, one.headers.get("handed_out"), one.redelivered))
        return found


def test_what_is_foreign_is_taken_out_and_the_rest_stays_as_it_was_and_in_order(broker: TestBroker) -> None:
    broker.apply()
    ids = [f"d{n}" for n in range(3 * CHUNK + 7)]

    async def act() -> None:
        await fill(broker, ids)
        strange = set(ids[::3])
        assert await sift(broker, strange) == [TakenBack(id=id, handed_out=False) for id in ids[::3]]
        rest = [id for id in ids if id not in strange]
        assert await standing(broker) == [(id, b"<a>" + id.encode(), None, False) for id in rest]

    run(act())


def test_what_stays_has_the_same_properties_and_headers(broker: TestBroker) -> None:
    broker.apply()

    async def act() -> None:
        await fill(broker, ["d1"])
        await sift(broker, set())
        async with Inspector(broker.url_of(LAS)) as theirs:
            found = await theirs.get(MAILBOX)
            assert found is not None
            headers = {name: value for name, value in found.headers.items() if not name.startswith("x-")}  # those are the broker's
            assert (found.message_id, found.content_type, headers) == ("urn:d1", "text/xml; charset=utf-8", copy("d1").headers)

    run(act())


def test_an_empty_mailbox_and_one_that_does_not_exist_have_nothing_to_take(broker: TestBroker) -> None:
    broker.apply()

    async def act() -> None:
        assert await sift(broker, {"d1"}) == []
        parts = Mailroom(broker.url).sift("00000009000000000000", lambda ids: pytest.fail("nothing to ask"))
        assert [part async for part in parts] == []

    run(act())


def test_what_was_handed_out_and_came_back_is_known_as_such_also_after_it_was_put_back_once(broker: TestBroker) -> None:
    broker.apply()

    async def act() -> None:
        await fill(broker, ["read", "fresh"])
        async with Inspector(broker.url_of(LAS)) as theirs:
            assert await theirs.get(MAILBOX) is not None  # closing without an answer gives it back
        assert await sift(broker, set()) == []
        assert {(id, handed_out) for id, _, handed_out, _ in await standing(broker)} == {("read", True), ("fresh", None)}
        assert {(one.id, one.handed_out) for one in await sift(broker, {"read"})} == {("read", True)}

    run(act())


def test_what_the_system_has_in_hand_stays_in_its_hands(broker: TestBroker) -> None:
    broker.apply()

    async def act() -> None:
        await fill(broker, ["held", "waits", "stays"])
        async with Inspector(broker.url_of(LAS)) as theirs:
            held = await theirs.get(MAILBOX)
            assert held is not None
            assert [one.id for one in await sift(broker, {"held", "waits"})] == ["waits"]
            theirs.ack(held)
            assert await theirs.depth(MAILBOX) == 1
        assert [id for id, *_ in await standing(broker)] == ["stays"]

    run(act())


def test_a_system_that_reads_while_its_mailbox_is_looked_through_gets_each_message_once(broker: TestBroker) -> None:
    broker.apply()
    ids = [f"d{n}" for n in range(400)]
    strange = set(ids[::2])

    async def act() -> None:
        await fill(broker, ids)
        got: list[str] = []

        async def read() -> None:
            async with Consumer(broker.url_of(LAS), [MAILBOX], prefetch=5) as theirs:
                while True:
                    batch = await theirs.next_batch(5, idle_s=0.5)
                    got.extend(str(one.headers["delivery_id"]) for one in batch)
                    theirs.ack(batch)
                    await asyncio.sleep(0.01)

        reading = asyncio.create_task(read())
        await until(lambda: len(got) > 20)
        taken = [one.id for one in await sift(broker, strange)]
        await until(lambda: len(got) + len(taken) == len(ids))
        await asyncio.sleep(0.3)
        reading.cancel()
        await asyncio.wait([reading])
        assert sorted([*got, *taken]) == sorted(ids), "each is either read or taken back, and once"
        assert set(taken) <= strange
        assert taken

    run(act())


@pytest.mark.parametrize("when", ["before they are put back", "before the old ones are gone"])
def test_a_crash_half_way_loses_nothing(broker: TestBroker, when: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first way nothing stands there twice; the other repeats one part at most, with the same MessageIDs."""
    broker.apply()
    ids = [f"d{n}" for n in range(CHUNK + 10)]

    async def crash(*_: object, **__: object) -> set[str]:
        raise RuntimeError("pulled the plug")

    async def act() -> None:
        await fill(broker, ids)
        if when == "before they are put back":
            with pytest.raises(RuntimeError):
                await anext(Mailroom(broker.url).sift(LAS, crash))
        else:
            with monkeypatch.context() as patch:
                patch.setattr(Inspector, "ack", lambda *_: (_ for _ in ()).throw(RuntimeError("pulled the plug")))
                with pytest.raises(RuntimeError):
                    await sift(broker, {"d0"})
        async with Inspector(broker.url) as inspector:
            repeats = 0 if when == "before they are put back" else CHUNK - 1

            async def given_back() -> bool:
                return await inspector.depth(MAILBOX) == len(ids) + repeats

            await until(given_back)
        assert {one.id for one in await sift(broker, {"d0"})} == {"d0"}
        found = [id for id, *_ in await standing(broker)]
        assert set(found) == set(ids) - {"d0"}
        assert len(found) == len(set(found)) + repeats

    run(act())


def test_a_full_mailbox_keeps_what_it_cannot_take_back_twice(broker: TestBroker) -> None:
    broker.apply(bounds=Bounds(mailbox=5))
    ids = [f"d{n}" for n in range(5)]

    async def act() -> None:
        await fill(broker, ids)
        try:
            await sift(broker, set())
        except BrokerUnavailable as error:
            assert "it is full" in str(error)  # whether copies in hand count is the broker's to say
        assert sorted(id for id, *_ in await standing(broker)) == ids

    run(act())


def test_another_systems_mailbox_is_not_touched(broker: TestBroker) -> None:
    broker.apply()

    async def act() -> None:
        other = "mailbox.00000001001799600000"
        async with broker.publisher() as ours:
            await ours.publish(Outgoing(routing_key=other, body=b"x", headers={"delivery_id": "d1"}))
        await fill(broker, ["d1"])
        assert len(await sift(broker, {"d1"})) == 1
        assert (await broker.depth(other), await broker.depth(MAILBOX)) == (1, 0)

    run(act())
