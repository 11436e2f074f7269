"""Peer to peer: both systems must be mandated, and a contract says whether we carry the message too."""

from __future__ import annotations

from typing import Any

import pytest

from routing.explain import explain, explain_between
from routing.peers import to_dict, where
from routing.register import Register
from schemas.contract import Contract
from schemas.contracts import Contracts, load_contracts
from schemas.faults import Owner
from tests.support.answers import DIENSTEN
from tests.support.register import DOCUMENT, LAS, MBO, NOW, OTHER_LAS, SIS, VO, VO_NORTH, but, chain

CONTRACTS: Contracts = load_contracts(DIENSTEN)
URL = "https://studiekern.example/toets"


def contract(dienst: str = "toets") -> Contract:
    found = CONTRACTS.find(dienst, "1")
    assert found is not None
    return found


def register(**changes: Any) -> Register:
    """The LAS and the test system of the vo school, and the system of the mbo school, in both diensten."""
    mandates, endpoints, diensten = [], [], list(DOCUMENT["diensten"])
    for dienst in ("toets", "overstap"):
        diensten.append({"dienst": dienst, "versie": "1", "namespace": f"urn:test:{dienst}:1"})
        mandates += [{"organisation": who, "dienst": dienst, "system": system} for who, system in ((VO, LAS), (VO, OTHER_LAS), (MBO, SIS))]
        at = {"dienst": dienst, "versie": "1"}
        endpoints += [
            {"organisation": VO, "routeringskenmerk": VO_NORTH, "system": OTHER_LAS, "url": "https://toets.example/in", **at},
            {"organisation": MBO, "system": SIS, "url": URL, **at},
        ]
    return chain(**{"diensten": diensten, "mandates": mandates, "endpoints": endpoints} | changes)


def asked(register: Register, *, dienst: str = "toets", system: Any = LAS, receiver: Any = MBO) -> Any:
    return where(register, contract(dienst), system=system, sender=VO, receiver=receiver, now=NOW)


@pytest.mark.parametrize("dienst", ["toets", "overstap"])
def test_when_both_are_mandated_the_answer_is_the_endpoint(dienst: str) -> None:
    found = asked(register(), dienst=dienst)
    assert (found.sender.rule, found.receiver.rule) == ("mandate", "peer-to-peer")
    said = to_dict(contract(dienst), found)
    assert (said["url"], said["system"], said["carried"], said["endpoint"]["ok"]) == (URL, SIS, dienst == "overstap", True)
    assert URL in said["endpoint"]["en"]


def test_two_systems_of_one_school_find_each_other_by_routeringskenmerk() -> None:
    assert to_dict(contract(), asked(register(), receiver=VO_NORTH))["url"] == "https://toets.example/in"


def test_a_system_without_a_mandate_is_told_nothing() -> None:
    found = asked(register(), system=SIS)
    assert found.endpoint is None and found.sender.outcome == "no" and found.sender.owner is Owner.SCHOOL


def test_the_other_side_without_a_mandate_is_named_with_whose_turn_it_is() -> None:
    mandates = but([{"organisation": who, "dienst": "toets", "system": system} for who, system in ((VO, LAS), (MBO, SIS))], 1, revoked=True)
    said = to_dict(contract(), asked(register(mandates=mandates)))
    assert said["url"] is None and said["system"] is None
    assert (said["endpoint"]["code"], said["endpoint"]["owner"]) == ("ROUTE_NO_MANDATE", "school")


def test_a_mailbox_here_is_no_place_to_deliver_at_but_we_carry_what_may_be_carried() -> None:
    at = {"versie": "1", "organisation": MBO, "system": SIS, "mailbox": True}
    there = register(endpoints=[{**at, "dienst": "toets"}, {**at, "dienst": "overstap"}])
    alone = to_dict(contract(), asked(there))
    assert (alone["system"], alone["endpoint"]["code"], alone["endpoint"]["owner"]) == (None, "ROUTE_NO_ENDPOINT", "supplier")
    carried = to_dict(contract("overstap"), asked(there, dienst="overstap"))
    assert (carried["url"], carried["system"], carried["endpoint"]["ok"]) == (None, SIS, True)


def test_explain_says_where_and_of_a_message_that_it_is_not_taken_in() -> None:
    (kind,) = contract().kinds.values()
    decisions = explain_between(register(), [kind], VO, MBO, NOW)
    assert [one.rule for one in decisions] == ["mandate", "mandate", "peer-to-peer"]
    refused = explain(register(), kind, {}, VO, MBO, LAS, NOW)
    assert [(one.rule, one.code) for one in refused] == [("mandate", None), ("not-carried", "PEER_TO_PEER")]
    (carried,) = contract("overstap").kinds.values()
    assert [one.rule for one in explain(register(), carried, {}, VO, MBO, LAS, NOW)] == ["mandate", "addressed", "endpoint"]


def test_a_kind_is_carried_unless_its_contract_only_says_where() -> None:
    assert {one.dienst: {kind.carried for kind in one.kinds.values()} for one in CONTRACTS.contracts} == {
        "proef": {True},
        "vva": {True},
        "verzuim": {True},
        "toets": {False},
        "overstap": {True},
    }
