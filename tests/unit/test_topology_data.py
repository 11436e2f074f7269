"""The topology as data: who may do what, and what differs."""

from __future__ import annotations

import copy
import re

import pika
import pytest

from broker_config.topology import (
    Bounds,
    Party,
    backbone_of,
    departed,
    difference,
    immovable,
    is_password,
    left_behind,
    missing,
    password_hash,
    renewable,
    topology,
    vhost_of,
)

LAS, GEMEENTE = "00000001003214345000", "00000001001799600000"
PARTIES = (Party(oin=LAS, password_hash="a"), Party(oin=GEMEENTE, password_hash="b", sends=False))
WANTED = topology(PARTIES)


def by(kind: str, name: str, key: str = "name") -> dict[str, object]:
    (found,) = [item for item in WANTED[kind] if item[key] == name]
    return found


def test_the_contract_of_design_section_4_is_kept() -> None:
    assert by("exchanges", "intake")["type"] == by("exchanges", "confirm")["type"] == "topic"
    intake = by("policies", "koppelpunt-intake")["definition"]
    assert isinstance(intake, dict)
    assert (intake["max-length"], intake["overflow"]) == (50_000, "reject-publish")
    assert {q["name"] for q in WANTED["queues"]} == {
        f"intake.{LAS}", f"receipt.{LAS}", f"mailbox.{LAS}", f"confirm.{LAS}", f"mailbox.{GEMEENTE}", f"confirm.{GEMEENTE}",
        "route", "deliver", "push", "dead", "epoch",
    }  # fmt: skip
    assert {"source": "intake", "destination": f"intake.{LAS}", "routing_key": LAS}.items() <= by(
        "bindings", f"intake.{LAS}", "destination"
    ).items()


def test_every_queue_is_quorum_has_a_delivery_limit_and_all_but_two_a_way_to_dead() -> None:
    for queue in WANTED["queues"]:
        assert queue["arguments"]["x-queue-type"] == "quorum" and queue["durable"]
        policies = [p["definition"] for p in WANTED["policies"] if re.search(p["pattern"], queue["name"])]
        assert len(policies) == 1, "one policy holds per queue"
        assert policies[0]["delivery-limit"] > 0
        if queue["name"] not in ("dead", "epoch"):
            assert policies[0]["dead-letter-exchange"] == "dead"
            assert (policies[0]["dead-letter-strategy"], policies[0]["overflow"]) == ("at-least-once", "reject-publish")
            assert "max-length" in policies[0]


def test_the_hand_ins_of_one_party_are_taken_by_one_worker_at_a_time() -> None:
    """So that they are stored in the order in which they came. No other queue needs it, and each would lose its parallelism."""
    alone = {queue["name"] for queue in WANTED["queues"] if queue["arguments"].get("x-single-active-consumer") is True}
    assert alone == {f"intake.{LAS}"}


def made_by_an_earlier_version() -> dict[str, list[dict[str, object]]]:
    """A broker whose hand-in queues lack the argument."""
    actual = copy.deepcopy(WANTED)
    for queue in actual["queues"]:
        queue["arguments"] = {"x-queue-type": "quorum"}
    return actual


def test_a_hand_in_queue_of_an_earlier_version_is_reported_with_what_to_do_and_is_no_obstacle() -> None:
    actual = made_by_an_earlier_version()
    assert renewable(WANTED, actual) == [f"intake.{LAS}"]
    assert immovable(WANTED, actual) == []
    (sentence,) = difference(WANTED, actual)
    assert sentence.startswith(f"queue intake.{LAS} was made by an earlier version")
    assert "topology apply" in sentence and "empty" in sentence
    assert renewable(WANTED, copy.deepcopy(WANTED)) == []


def test_a_hand_in_queue_that_differs_in_more_than_that_is_not_replaced() -> None:
    actual = made_by_an_earlier_version()
    for queue in actual["queues"]:
        queue["arguments"] = {"x-queue-type": "classic"}
    assert renewable(WANTED, actual) == []
    assert [sentence for sentence in immovable(WANTED, actual) if f"queue intake.{LAS} exists with other properties" in sentence]


def test_a_party_has_rights_on_its_own_names_only() -> None:
    rights = {p["user"]: p for p in WANTED["permissions"]}
    assert rights[LAS]["configure"] == rights[GEMEENTE]["configure"] == "^$"
    names = [q["name"] for q in WANTED["queues"]] + [e["name"] for e in WANTED["exchanges"]] + ["amq.default", "amq.topic"]

    def allowed(user: str, what: str) -> set[str]:
        return {name for name in names if re.search(rights[user][what].replace(r"\z", r"\Z"), name)}

    assert allowed(LAS, "write") == {"intake", "confirm"}
    assert allowed(LAS, "read") == {f"receipt.{LAS}", f"mailbox.{LAS}"}
    assert allowed(GEMEENTE, "write") == {"confirm"}
    assert allowed(GEMEENTE, "read") == {f"mailbox.{GEMEENTE}"}
    topics = {(t["user"], t["exchange"]): t["write"] for t in WANTED["topic_permissions"]}
    assert topics == {(LAS, "intake"): rf"\A({LAS})\z", (LAS, "confirm"): rf"\A({LAS})\z", (GEMEENTE, "confirm"): rf"\A({GEMEENTE})\z"}


def test_the_order_of_the_parties_does_not_matter_and_strange_names_are_refused() -> None:
    assert topology(reversed(PARTIES)) == WANTED
    with pytest.raises(ValueError, match="not an OIN"):
        topology([Party(oin="guest|.*", password_hash="a")])
    with pytest.raises(ValueError, match="named twice"):
        topology([*PARTIES, PARTIES[0]])


def test_a_broker_as_wanted_has_no_differences_and_foreign_things_are_none_of_ours() -> None:
    actual = copy.deepcopy(WANTED)
    actual["users"] += [{"name": "guest", "password_hash": "g", "tags": ["administrator"], "limits": {}}]
    actual["users"] += [{"name": "00000009000000000000", "password_hash": "elders", "tags": [], "limits": {}}]
    actual["queues"] += [{"name": "theirs", "vhost": "koppelpunt", "durable": True, "auto_delete": False, "arguments": {}}]
    actual["queues"] += [{"name": f"intake.{GEMEENTE}", "vhost": "other", "durable": True, "auto_delete": False, "arguments": {}}]
    assert difference(WANTED, actual) == []
    assert missing(WANTED, actual) == {}


def test_each_difference_is_one_sentence() -> None:
    assert len(difference(WANTED, {})) == sum(len(items) for items in WANTED.values())
    actual = copy.deepcopy(WANTED)
    actual["users"][0]["password_hash"] = "secret-hash"
    actual["permissions"][1]["read"] = ".*"
    actual["queues"].append({**actual["queues"][0], "name": "mailbox.00000001001799699999"})
    actual["bindings"].append({**actual["bindings"][1], "destination": "spy"})
    sentences = difference(WANTED, actual)
    assert len(sentences) == 4
    assert "secret-hash" not in " ".join(sentences)
    assert [s for s in sentences if "permissions of" in s and "read is '.*', wanted" in s]
    assert [s for s in sentences if "left over: queue mailbox.00000001001799699999" in s]
    assert [s for s in sentences if "left over: binding of intake to spy" in s]


def test_a_party_that_left_is_reported_with_all_it_had() -> None:
    sentences = difference(topology(PARTIES[:1]), WANTED)
    assert len(sentences) == 1
    had, _, remedy = sentences[0].removeprefix("left over: ").partition("; ")
    assert len(had.split(", ")) == 6, "user, permissions, topic permission, two queues, a binding"
    assert f"`run.py topology remove {GEMEENTE}`" in remedy


def test_a_party_that_left_is_shut_out_and_its_queues_are_known_until_they_are_gone() -> None:
    without = topology(PARTIES[:1])
    assert (departed(WANTED, WANTED), left_behind(WANTED, WANTED)) == ([], [])
    assert (departed(without, WANTED), left_behind(without, WANTED)) == ([GEMEENTE], [GEMEENTE])
    shut_out = copy.deepcopy(WANTED) | {"users": without["users"], "permissions": without["permissions"]}
    assert (departed(without, shut_out), left_behind(without, shut_out)) == ([], [GEMEENTE])


def test_users_of_somebody_else_are_never_shut_out() -> None:
    actual = copy.deepcopy(WANTED)
    actual["users"] += [{"name": "guest", "password_hash": "g", "tags": [], "limits": {}}]
    actual["users"] += [{"name": "00000009000000000000", "password_hash": "elders", "tags": [], "limits": {}}]
    actual["permissions"] += [{"user": "guest", "vhost": "koppelpunt", "configure": "", "write": "", "read": ""}]
    actual["permissions"] += [{"user": "00000009000000000000", "vhost": "other", "configure": "", "write": "", "read": ""}]
    assert departed(WANTED, actual) == []


def test_what_cannot_be_changed_is_told_apart_from_what_can() -> None:
    actual = copy.deepcopy(WANTED)
    actual["queues"][0]["arguments"] = {"x-queue-type": "classic"}
    actual["policies"][0]["definition"] = {}
    assert len(immovable(WANTED, actual)) == 1
    assert missing(WANTED, actual).keys() == {"queues", "policies"}
    assert len(difference(WANTED, actual)) == 2


def test_limits_are_ours_to_change() -> None:
    assert [
        p["definition"]["max-length"] for p in topology([], bounds=Bounds(intake=7))["policies"] if p["name"] == "koppelpunt-intake"
    ] == [7]


def test_a_password_hash_is_salted_and_recognised() -> None:
    assert (
        password_hash("test12", bytes.fromhex("908dc60a")) == "kI3GCqW5JLMJa4iX1lo7X4D6XbYqlLgxIs30+P6tENUV2POR"
    )  # RabbitMQ's own example
    assert password_hash("x") != password_hash("x")
    assert is_password("x", password_hash("x")) and not is_password("y", password_hash("x"))


@pytest.mark.parametrize(
    ("url", "vhost"),
    [
        ("amqps://backbone:secret@mq/koppelpunt", "koppelpunt"),
        ("amqps://backbone:secret@mq:5671/acceptatie?heartbeat=30", "acceptatie"),
        ("amqp://backbone:secret@mq/%2Fonderwijs", "/onderwijs"),
        ("amqp://backbone:secret@mq/", "/"),
        ("amqp://backbone:secret@mq", "/"),
    ],
)
def test_the_vhost_is_the_one_the_address_names_as_the_workers_read_it(url: str, vhost: str) -> None:
    assert vhost_of(url) == pika.URLParameters(url).virtual_host == vhost


def test_only_our_own_users_rights_are_ours_to_set() -> None:
    assert backbone_of("amqps://backbone:secret@mq/koppelpunt") == "backbone"
    assert backbone_of("amqps://somebody:secret@mq/koppelpunt") is None
