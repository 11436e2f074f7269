"""The topology on a real broker: what each party may do, what it may not, and what becomes of too much and of poison."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import replace

import pika
import pytest

from adapters.rabbit import BrokerRefused, BrokerUnavailable, Consumer, Inspector, Outgoing, Published, Publisher
from adapters.rabbit_admin import AdminError, summary
from broker_config.topology import Bounds, Party, password_hash
from tests.support.broker import GEMEENTE, LAS, TestBroker, party, run, until

pytestmark = pytest.mark.broker


def hand_in(oin: str, body: bytes = b"<a/>") -> Outgoing:
    return Outgoing(exchange="intake", routing_key=oin, body=body, content_type="text/xml; charset=utf-8")


def check(broker: TestBroker, *parties: object) -> list[str]:
    async def act() -> list[str]:
        async with broker.admin() as admin:
            return await admin.check(broker.topology(*parties))  # type: ignore[arg-type]

    return run(act())


def test_applying_the_topology_twice_changes_nothing_the_second_time(broker: TestBroker) -> None:
    assert any("is missing" in sentence for sentence in check(broker))
    assert "2 users, 3 permissions" in summary(broker.apply())
    assert check(broker) == []
    assert broker.apply() == {}


def test_a_changed_limit_is_reported_and_then_changed_on_queues_that_exist(broker: TestBroker) -> None:
    broker.apply(bounds=Bounds(mailbox=7))
    assert [s for s in check(broker) if "koppelpunt-mailbox" in s and "'max-length': 7" in s]
    assert broker.apply().keys() == {"policies"}
    assert check(broker) == []


def test_every_queue_really_follows_its_policy(broker: TestBroker) -> None:
    broker.apply()

    async def act() -> None:
        async with broker.admin() as admin:
            await until(lambda: _policies_effective(admin, broker))

    run(act())


async def _policies_effective(admin: object, broker: TestBroker) -> bool:
    rows = await admin._call("GET", f"queues/{broker.vhost}")  # type: ignore[attr-defined]
    limits = {row["name"]: row.get("effective_policy_definition") or {} for row in rows}
    if any("delivery-limit" not in limit for limit in limits.values()):
        return False
    for name, limit in limits.items():
        if name not in ("dead", "epoch"):
            assert (limit["dead-letter-exchange"], limit["dead-letter-strategy"], limit["overflow"]) == (
                "dead",
                "at-least-once",
                "reject-publish",
            )
    assert limits[f"intake.{LAS}"]["max-length"] == 50_000
    return True


def test_what_rabbitmq_cannot_change_is_said_before_anything_is_changed(broker: TestBroker) -> None:
    broker.apply(party(LAS))
    with pika.BlockingConnection(pika.URLParameters(_with_rights(broker))) as connection:
        channel = connection.channel()
        channel.queue_declare(f"intake.{GEMEENTE}", durable=True)
    with pytest.raises(AdminError, match=f"queue intake.{GEMEENTE} exists with other properties"):
        broker.apply()
    assert not [s for s in check(broker, party(LAS)) if "left over: user" in s], "nothing was applied"


# ---- hand-in queues of an earlier version --------------------------------------------------------------------------------------


def as_an_earlier_version_made_it(broker: TestBroker, *parties: Party) -> None:
    """The topology with hand-in queues that lack `x-single-active-consumer`."""

    async def act() -> None:
        older = broker.topology(*parties)
        for queue in older["queues"]:
            queue["arguments"] = {"x-queue-type": "quorum"}
        async with broker.admin() as admin:
            await admin._call("POST", "definitions", older)

    run(act())


def test_an_empty_hand_in_queue_of_an_earlier_version_is_replaced_once_and_its_party_goes_on(broker: TestBroker) -> None:
    as_an_earlier_version_made_it(broker)
    assert [s for s in check(broker) if f"queue intake.{LAS} was made by an earlier version" in s]

    async def act() -> None:
        async with broker.publisher(LAS) as las, broker.admin() as admin:
            changed = await admin.apply(broker.topology())
            assert {item["name"] for item in changed["queues"]} == {f"intake.{LAS}", f"intake.{GEMEENTE}"}
            assert await admin.check(broker.topology()) == []
            assert await admin.apply(broker.topology()) == {}
            await until(lambda: las.is_connected)  # it was cut off for a moment
            assert await las.publish(hand_in(LAS)) is Published.CONFIRMED
            assert await broker.depth(f"intake.{LAS}") == 1

    run(act())


def test_a_hand_in_queue_of_an_earlier_version_that_is_not_empty_stays_with_all_that_is_in_it(broker: TestBroker) -> None:
    as_an_earlier_version_made_it(broker)

    async def act() -> None:
        async with broker.publisher(LAS) as las:
            for _ in range(3):
                assert await las.publish(hand_in(LAS)) is Published.CONFIRMED
        async with broker.admin() as admin:
            changed = await admin.apply(broker.topology())
            assert {item["name"] for item in changed["queues"]} == {f"intake.{GEMEENTE}"}, "the counts RabbitMQ shows may be old"
            (left,) = await admin.check(broker.topology())
            assert f"queue intake.{LAS} was made by an earlier version" in left and "once it is empty" in left
            await until(lambda: _holds(broker, 3))
            async with Consumer(broker.url, [f"intake.{LAS}"]) as intake:
                while await broker.depth(f"intake.{LAS}"):
                    intake.ack(await intake.next_batch(idle_s=1))
                assert [item["name"] for item in (await admin.apply(broker.topology()))["queues"]] == [f"intake.{LAS}"]
                assert await admin.check(broker.topology()) == []

    run(act())


async def _holds(broker: TestBroker, messages: int) -> bool:
    return await broker.depth(f"intake.{LAS}") == messages


def test_nothing_that_was_confirmed_is_lost_when_a_hand_in_queue_is_replaced_under_load(broker: TestBroker) -> None:
    as_an_earlier_version_made_it(broker, party(LAS))
    confirmed: set[bytes] = set()
    handled: list[bytes] = []

    async def publish(las: Publisher, stop: asyncio.Event) -> None:
        number = 0
        while not stop.is_set():
            number += 1
            body = f"{number}".encode()
            try:
                if await las.publish(hand_in(LAS, body)) is Published.CONFIRMED:
                    confirmed.add(body)
            except BrokerUnavailable:
                continue  # cut off for a moment

    async def take(intake: Consumer, publishing: asyncio.Task[None]) -> None:
        while not publishing.done() or confirmed - set(handled):
            batch = await intake.next_batch(idle_s=0.2)
            handled.extend(one.body for one in batch)
            intake.ack(batch)

    async def act() -> None:
        stop = asyncio.Event()
        async with broker.publisher(LAS) as las, Consumer(broker.url, [f"intake.{LAS}"]) as intake, broker.admin() as admin:
            publishing = asyncio.create_task(publish(las, stop))
            taking = asyncio.create_task(take(intake, publishing))
            await until(lambda: len(confirmed) > 100)
            while await admin.check(broker.topology(party(LAS))):
                await admin.apply(broker.topology(party(LAS)))
            before = len(confirmed)
            await until(lambda: len(confirmed) > before + 100)
            stop.set()
            await asyncio.gather(publishing, taking)

    run(act())
    assert confirmed <= set(handled)
    assert handled == sorted(handled, key=int), "and their order is kept"


# ---- one worker per party at a time --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("leaves", ["as it should", "killed"])
def test_a_second_intake_worker_waits_until_the_first_is_gone_and_goes_on_in_order(broker: TestBroker, leaves: str) -> None:
    broker.apply()
    bodies = [f"{number}".encode() for number in range(200)]

    async def act() -> None:
        async with broker.publisher(LAS) as las, broker.publisher(GEMEENTE) as other:
            first, second = (Consumer(broker.url, [], prefetch=80, in_order=True) for _ in range(2))
            async with second:
                async with first:
                    for worker in (first, second):
                        await worker.set_queues([f"intake.{LAS}", f"intake.{GEMEENTE}"])
                    assert set(await las.publish_many([hand_in(LAS, body) for body in bodies])) == {Published.CONFIRMED}
                    taken = await first.next_batch(30, 0.2, idle_s=5)
                    first.ack(taken[:20])
                    assert await second.next_batch(idle_s=0.5) == []
                    assert not second.missing, "it stands by"
                    if leaves == "killed":
                        first._connection._transport.abort()
                        await first.set_queues([])  # or it would come back
                handled = [one.body for one in taken[:20]]  # the first died with 10 in its hands and more on their way to it
                while len(handled) < len(bodies):
                    batch = await second.next_batch(idle_s=5)
                    assert batch, f"after {len(handled)} nothing more came"
                    handled += [one.body for one in batch]
                    second.ack(batch)
                assert handled == bodies
                assert await other.publish(hand_in(GEMEENTE)) is Published.CONFIRMED
                assert len(await second.next_batch(idle_s=5)) == 1

    run(act())


def test_two_workers_share_the_parties_between_them(broker: TestBroker) -> None:
    """Each is the active one of the queue it came to first, so two parties' hand-ins are handled at the same time."""
    broker.apply()

    async def act() -> None:
        async with Consumer(broker.url, [f"intake.{LAS}"]) as one, Consumer(broker.url, [f"intake.{GEMEENTE}"]) as two:
            await until(lambda: not one.missing and not two.missing)
            for worker in (one, two):
                await worker.set_queues([f"intake.{LAS}", f"intake.{GEMEENTE}"])
            async with broker.publisher(LAS) as las, broker.publisher(GEMEENTE) as gemeente:
                await las.publish_many([hand_in(LAS)] * 5)
                await gemeente.publish_many([hand_in(GEMEENTE)] * 5)
            assert {m.queue for m in await one.next_batch(10, 0.5, idle_s=5)} == {f"intake.{LAS}"}
            assert {m.queue for m in await two.next_batch(10, 0.5, idle_s=5)} == {f"intake.{GEMEENTE}"}

    run(act())


def _with_rights(broker: TestBroker) -> str:
    async def act() -> None:
        async with broker.admin() as admin:
            everything = {"user": "beheer", "vhost": broker.vhost, "configure": ".*", "write": ".*", "read": ".*"}
            await admin._call("POST", "definitions", {"permissions": [everything]})

    run(act())
    return broker.admin_url


def test_a_policy_of_somebody_else_that_overrules_ours_is_reported(broker: TestBroker) -> None:
    broker.apply()

    async def act() -> None:
        async with broker.admin() as admin:
            theirs = {"name": "theirs", "vhost": broker.vhost, "pattern": "^mailbox", "apply-to": "queues", "priority": 99}
            await admin._call("POST", "definitions", {"policies": [{**theirs, "definition": {"max-length": 3}}]})

            async def reported() -> bool:
                return any(f"queue mailbox.{LAS} follows the policy theirs" in s for s in await admin.check(broker.topology()))

            await until(reported)

    run(act())


def test_a_party_that_left_is_reported_and_removed_only_when_its_queues_are_empty(broker: TestBroker) -> None:
    broker.apply()
    left = check(broker, party(LAS))
    assert [s for s in left if s.startswith("left over") and f"topology remove {GEMEENTE}`" in s] == left != []

    async def act() -> None:
        async with broker.publisher(GEMEENTE) as theirs:
            assert await theirs.publish(hand_in(GEMEENTE)) is Published.CONFIRMED
        async with broker.admin() as admin:
            await until(lambda: _counted(admin, f"intake.{GEMEENTE}"))
            with pytest.raises(AdminError, match=f"messages stand in intake.{GEMEENTE}"):
                await admin.remove_party(GEMEENTE)
            await admin.remove_party(GEMEENTE, even_with_messages=True)
            await admin.remove_party(GEMEENTE)
        assert await broker.depth(f"intake.{GEMEENTE}") is None
        assert await broker.depth(f"intake.{LAS}") == 0

    run(act())
    assert check(broker, party(LAS)) == []


def test_a_party_that_left_can_neither_stay_connected_nor_come_back_and_its_queues_stay(broker: TestBroker) -> None:
    broker.apply()

    async def act() -> None:
        async with broker.publisher(GEMEENTE) as theirs, broker.publisher(LAS) as others, broker.admin() as admin:
            assert await theirs.publish(hand_in(GEMEENTE)) is Published.CONFIRMED
            assert await admin.shut_out(broker.topology(party(LAS))) == ([GEMEENTE], [GEMEENTE])
            await until(lambda: not theirs.is_connected)
            with pytest.raises(BrokerUnavailable, match="does not let this user in"):
                await broker.publisher(GEMEENTE).open(wait_s=3)
            assert await admin.shut_out(broker.topology(party(LAS))) == ([], [GEMEENTE]), "a second time there is nobody left to shut out"
            assert await others.publish(hand_in(LAS)) is Published.CONFIRMED
        assert await broker.depth(f"intake.{GEMEENTE}") == 1

    run(act())
    left = check(broker, party(LAS))
    (sentence,) = left
    assert all(one.startswith(("queue", "binding")) for one in sentence.removeprefix("left over: ").partition(";")[0].split(", "))


def test_a_party_that_comes_back_has_its_rights_and_its_queues_again(broker: TestBroker) -> None:
    broker.apply()

    async def act() -> None:
        async with broker.admin() as admin:
            await admin.shut_out(broker.topology(party(LAS)))
            await admin.apply(broker.topology())
        async with broker.publisher(GEMEENTE) as theirs:
            assert await theirs.publish(hand_in(GEMEENTE)) is Published.CONFIRMED

    run(act())
    assert check(broker) == []


def test_a_party_with_rights_in_somebody_elses_vhost_loses_only_those_in_ours(broker: TestBroker) -> None:
    broker.apply()
    other = f"{broker.vhost}-other"

    async def act() -> None:
        async with broker.admin() as admin:
            everything = {"user": GEMEENTE, "vhost": other, "configure": ".*", "write": ".*", "read": ".*"}
            await admin._call("POST", "definitions", {"vhosts": [{"name": other}], "permissions": [everything]})
            try:
                await admin.shut_out(broker.topology(party(LAS)))
                assert GEMEENTE in {user["name"] for user in (await admin.read())["users"]}
                with pytest.raises(BrokerUnavailable, match="does not let this user in"):
                    await broker.publisher(GEMEENTE).open(wait_s=3)
            finally:
                await admin._call("DELETE", f"vhosts/{other}")

    run(act())


async def _counted(admin: object, queue: str) -> bool:
    return (await admin.depths())[queue].messages > 0  # type: ignore[attr-defined]


def test_a_new_password_replaces_the_old_one(broker: TestBroker) -> None:
    broker.apply()
    broker.apply(replace(party(LAS), password_hash=password_hash("another")), party(GEMEENTE))

    async def act() -> None:
        async with broker.publisher() as any_other:
            assert any_other.is_connected
        with pytest.raises(BrokerUnavailable, match="does not let this user in") as caught:
            await broker.publisher(LAS).open(wait_s=3)
        assert "p%3Aw" not in str(caught.value)

    run(act())


# ---- rights --------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("exchange", "key"),
    [
        ("intake", GEMEENTE),
        ("confirm", GEMEENTE),
        ("intake", LAS + "\n"),
        ("intake", LAS + "0"),
        ("intake", "#"),
        ("", f"receipt.{GEMEENTE}"),
        ("", f"intake.{LAS}"),
        ("", "deliver"),
        ("dead", ""),
        ("amq.topic", LAS),
    ],
)
def test_a_party_publishes_nowhere_but_under_its_own_name(broker: TestBroker, exchange: str, key: str) -> None:
    broker.apply()

    async def act() -> None:
        async with broker.publisher(LAS) as las:
            with pytest.raises(BrokerRefused, match="403"):
                await las.publish(Outgoing(exchange=exchange, routing_key=key, body=b"x"))
            assert await las.publish(hand_in(LAS)) is Published.CONFIRMED, "it can go on"

    run(act())


@pytest.mark.parametrize(
    "queue", [f"mailbox.{GEMEENTE}", f"receipt.{GEMEENTE}", f"intake.{LAS}", f"confirm.{LAS}", "deliver", "dead", "epoch"]
)
def test_a_party_reads_nothing_but_its_own_receipts_and_mailbox(broker: TestBroker, queue: str) -> None:
    broker.apply()

    async def act() -> None:
        async with Inspector(broker.url_of(LAS)) as inspector:
            with pytest.raises(BrokerRefused, match="403"):
                await inspector.get(queue)
            with pytest.raises(BrokerRefused, match="403"):
                await inspector.purge(queue)
            assert await inspector.get(f"mailbox.{LAS}") is None
            assert await inspector.get(f"receipt.{LAS}") is None

    run(act())


def test_a_party_declares_binds_and_deletes_nothing(broker: TestBroker) -> None:
    broker.apply()
    with pika.BlockingConnection(pika.URLParameters(broker.url_of(LAS))) as connection:
        for attempt in (
            lambda channel: channel.queue_declare("mine"),
            lambda channel: channel.queue_declare("", exclusive=True),
            lambda channel: channel.exchange_declare("mine"),
            lambda channel: channel.queue_bind(f"mailbox.{LAS}", "intake", GEMEENTE),
            lambda channel: channel.queue_delete(f"mailbox.{LAS}"),
            lambda channel: channel.queue_delete(f"mailbox.{GEMEENTE}"),
            lambda channel: channel.exchange_delete("intake"),
        ):
            with pytest.raises(pika.exceptions.ChannelClosedByBroker) as refused:
                attempt(connection.channel())
            assert refused.value.reply_code == 403


def test_a_party_that_only_receives_hands_nothing_in(broker: TestBroker) -> None:
    broker.apply(party(GEMEENTE, sends=False))

    async def act() -> None:
        async with broker.publisher(GEMEENTE) as theirs:
            with pytest.raises(BrokerRefused, match="403"):
                await theirs.publish(hand_in(GEMEENTE))
            assert await theirs.publish(Outgoing(exchange="confirm", routing_key=GEMEENTE, body=b"{}")) is Published.CONFIRMED

    run(act())


def test_a_fresh_node_has_no_user_that_everybody_knows(broker: TestBroker) -> None:
    async def act() -> None:
        async with broker.admin() as admin:
            assert {user["name"] for user in (await admin.read())["users"]} == {"backbone", "beheer"}

    run(act())


# ---- too much, and poison --------------------------------------------------------------------------------------------------------


def test_a_flooding_party_is_nacked_and_another_notices_nothing(broker: TestBroker) -> None:
    broker.apply(bounds=Bounds(intake=5))

    async def act() -> None:
        async with broker.publisher(LAS) as flooding, broker.publisher(GEMEENTE) as other:
            fates = [await flooding.publish(hand_in(LAS)) for _ in range(10)]
            assert fates == sorted(fates), "confirmed until it was full, nacked from then on"
            taken = fates.count(Published.CONFIRMED)
            assert 5 <= taken < 10 and fates.count(Published.NACKED) == 10 - taken
            assert await broker.depth(f"intake.{LAS}") == taken
            assert await other.publish(hand_in(GEMEENTE)) is Published.CONFIRMED
            async with Inspector(broker.url) as inspector:
                await inspector.purge(f"intake.{LAS}")

            async def taken_again() -> bool:
                return await flooding.publish(hand_in(LAS)) is Published.CONFIRMED

            await until(taken_again)

    run(act())


def test_receipts_that_nobody_reads_fill_their_queue_and_no_more(broker: TestBroker) -> None:
    broker.apply(bounds=Bounds(receipt=5))

    async def act() -> None:
        async with broker.publisher() as ours:
            fates = [await ours.publish(Outgoing(routing_key=f"receipt.{LAS}", body=b"{}")) for _ in range(10)]
            assert fates[-1] is Published.NACKED
            assert await ours.publish(Outgoing(routing_key=f"receipt.{GEMEENTE}", body=b"{}")) is Published.CONFIRMED

    run(act())


def test_a_message_that_kills_whoever_takes_it_ends_in_dead_with_its_body(broker: TestBroker) -> None:
    broker.apply(bounds=Bounds(work_deliveries=3))

    async def act() -> None:
        async with broker.publisher(LAS) as las:
            await las.publish(hand_in(LAS, b"poison"))
        for _ in range(4):
            async with Consumer(broker.url, [f"intake.{LAS}"]) as worker:  # closing without an answer is what a crash looks like
                assert [one.body for one in await worker.next_batch(idle_s=5)] == [b"poison"]
        async with Consumer(broker.url, ["dead"]) as undertaker:
            (dead,) = await undertaker.next_batch(idle_s=10)
            assert (dead.body, dead.died_in, dead.routing_key) == (b"poison", f"intake.{LAS}", LAS)
            assert dead.content_type == "text/xml; charset=utf-8"
        assert await broker.depth(f"intake.{LAS}") == 0

    run(act())


def test_what_is_refused_again_and_again_ends_in_dead(broker: TestBroker) -> None:
    broker.apply(bounds=Bounds(work_deliveries=3))

    async def act() -> None:
        async with broker.publisher() as ours, Consumer(broker.url, ["route"]) as worker, Consumer(broker.url, ["dead"]) as undertaker:
            await ours.publish(Outgoing(routing_key="route", body=b"7"))
            handed_out = 0
            while batch := await worker.next_batch(idle_s=1):
                handed_out += worker.nack(batch)
            assert handed_out == 4
            assert [(one.body, one.died_in) for one in await undertaker.next_batch(idle_s=10)] == [(b"7", "route")]

    run(act())


def test_a_dead_letter_is_never_given_up_however_often_it_is_put_back(broker: TestBroker) -> None:
    broker.apply()

    async def act() -> None:
        async with broker.publisher() as ours, Inspector(broker.url) as inspector:
            await ours.publish(Outgoing(routing_key="dead", body=b"poison"))
            for _ in range(30):  # 4.x gives up after 20 by itself
                found = await inspector.get("dead")
                assert found is not None
                inspector.requeue(found)
            assert await inspector.get("dead") is not None

    run(act())


# ---- what a party may write beside its message -----------------------------------------------------------------------------------


def test_a_copy_in_anothers_queue_carries_its_publishers_key(broker: TestBroker) -> None:
    """RabbitMQ up to 3.12 lets CC and BCC pass topic permissions, and later ones refuse them: the routing key is the publisher's anyhow."""
    broker.apply()
    with pika.BlockingConnection(pika.URLParameters(broker.url_of(LAS))) as connection:
        for header in ("CC", "BCC"):
            channel = connection.channel()
            channel.confirm_delivery()
            with contextlib.suppress(pika.exceptions.ChannelClosedByBroker):
                channel.basic_publish("intake", LAS, b"x", pika.BasicProperties(headers={header: [GEMEENTE]}))

    async def act() -> None:
        async with Consumer(broker.url, [f"intake.{GEMEENTE}"]) as worker:
            assert {found.routing_key for found in await worker.next_batch(wait_s=1, idle_s=1)} <= {LAS}

    run(act())


@pytest.mark.parametrize(
    "more", [{}, {"x-death": "nonsense"}, {"x-death": [{"queue": "deliver", "reason": "expired", "count": 1}]}], ids=str
)
def test_a_dead_letter_says_truly_whose_it_was_whatever_its_sender_wrote(broker: TestBroker, more: dict[str, object]) -> None:
    broker.apply()
    with pika.BlockingConnection(pika.URLParameters(broker.url_of(LAS))) as connection:
        headers = {"x-first-death-queue": "deliver", "x-first-death-reason": "rejected", **more}
        connection.channel().basic_publish("intake", LAS, b"[[1,1]]", pika.BasicProperties(expiration="0", headers=headers))

    async def act() -> None:
        async with Consumer(broker.url, ["dead"]) as undertaker:
            (dead,) = await undertaker.next_batch(idle_s=10)
            assert (dead.body, dead.died_in) == (b"[[1,1]]", f"intake.{LAS}")

    run(act())


def test_a_header_that_nobody_can_read_ends_no_connection(broker: TestBroker, monkeypatch: pytest.MonkeyPatch) -> None:
    broker.apply()
    plainly = pika.data.encode_value

    def strangely(pieces: list[bytes], value: object) -> int:
        if value != "strange":
            return int(plainly(pieces, value))
        pieces.append(b"T\x40\0\0\0\0\0\0\0")  # a moment that no datetime can hold
        return 9

    with pika.BlockingConnection(pika.URLParameters(broker.url_of(LAS))) as connection, monkeypatch.context() as patched:
        patched.setattr(pika.data, "encode_value", strangely)
        connection.channel().basic_publish("intake", LAS, b"<a/>", pika.BasicProperties(headers={"x": "strange"}))

    async def act() -> None:
        async with Consumer(broker.url, [f"intake.{LAS}"]) as worker:
            (one,) = await worker.next_batch(idle_s=5)
            assert (one.body, one.headers, worker.connections) == (b"<a/>", {}, 1)

    run(act())


def test_messages_that_their_sender_lets_expire_are_bounded_too(broker: TestBroker) -> None:
    """An expired message goes to `dead`, which nobody but us empties: when that is full the rest stays, and counts, where it was."""
    broker.apply(bounds=Bounds(intake=5, dead=3))

    async def act() -> None:
        async with broker.publisher(GEMEENTE) as other:
            with pika.BlockingConnection(pika.URLParameters(broker.url_of(LAS))) as connection:
                channel = connection.channel()
                channel.confirm_delivery()
                taken = 0
                with contextlib.suppress(pika.exceptions.NackError):
                    for _ in range(60):
                        channel.basic_publish("intake", LAS, b"x", pika.BasicProperties(expiration="0"))
                        taken += 1
                        connection.sleep(0.05)
            assert taken < 30
            assert await other.publish(hand_in(GEMEENTE)) is Published.CONFIRMED

    run(act(), within_s=30)
