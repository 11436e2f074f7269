"""A municipality that delegates a dienst to a region: on those days its messages go to the region, and the record says so."""

from __future__ import annotations

from typing import Any

import pytest

from routing.mailbox import InMailbox, SecondLook
from routing.mandate import judge_receiver
from routing.register import Register, RegisterError, read_register
from routing.resolver import resolve
from schemas.oin import Oin
from tests.support.register import AMERSFOORT, CENTRAAL, CIVIC, DOCUMENT, LAS, UTRECHT, VO, but, chain, document, noon
from workers.places import is_strange

HERE, THERE = f"{UTRECHT}/vva/1/{CIVIC}", f"{AMERSFOORT}/vva/1/{LAS}"
DELEGATION = {"id": "d1", "municipality": UTRECHT, "dienst": "vva", "region": AMERSFOORT, "from": "2026-03-01", "until": "2026-08-31"}
MANDATE = {"organisation": AMERSFOORT, "dienst": "vva", "system": LAS}
ENDPOINT = {"organisation": AMERSFOORT, "dienst": "vva", "versie": "1", "system": LAS, "mailbox": True}


def delegated(*, endpoint: bool = True, **changes: Any) -> Register:
    lists = {
        "mandates": [*DOCUMENT["mandates"], MANDATE],
        "endpoints": [*DOCUMENT["endpoints"], *([ENDPOINT] if endpoint else [])],
        "delegations": [DELEGATION],
    }
    return chain(**(lists | changes))


def where(register: Register, day: str, receiver: Oin = UTRECHT) -> Any:
    return resolve(register, receiver=receiver, dienst="vva", versie="1", now=noon(day))


@pytest.mark.parametrize(("day", "endpoint"), [("2026-02-28", HERE), ("2026-03-01", THERE), ("2026-08-31", THERE), ("2026-09-01", HERE)])
def test_on_the_days_of_the_delegation_its_messages_go_to_the_region(day: str, endpoint: str) -> None:
    assert where(delegated(), day).endpoint.id == endpoint


def test_the_decision_names_the_delegation_and_both_of_them() -> None:
    decision = where(delegated(), "2026-04-01").decision
    assert decision.rule == "endpoint-delegated"
    assert decision.candidates[0] == "d1"
    assert {"receiver": UTRECHT, "municipality": UTRECHT, "region": AMERSFOORT, "delegation": "d1"}.items() <= decision.inputs.items()
    assert decision.text_nl == "Gemeente Utrecht heeft vva gedelegeerd aan Gemeente Amersfoort, die het ontvangt via Leerlingwijzer."


def test_another_dienst_and_the_region_s_own_messages_are_not_touched() -> None:
    assert where(delegated(), "2026-04-01", AMERSFOORT).decision.rule == "endpoint"
    other = resolve(delegated(), receiver=UTRECHT, dienst="proef", versie="1", now=noon("2026-04-01"))
    assert "delegation" not in other.decision.inputs


def test_a_region_without_an_endpoint_lets_the_message_wait_for_the_region() -> None:
    found = where(delegated(endpoint=False), "2026-04-01")
    assert (found.endpoint, found.decision.rule, found.decision.outcome) == (None, "no-endpoint", "wait")
    assert found.decision.inputs["name"] == "Gemeente Amersfoort"
    assert found.decision.inputs["delegation"] == "d1"


def test_a_region_that_does_not_take_part_any_more_ends_no_message() -> None:
    gone = delegated(organisations=but(DOCUMENT["organisations"], 3, until="2026-04-30"))
    assert where(gone, "2026-04-30").endpoint.id == THERE
    decision = where(gone, "2026-05-01").decision
    assert (decision.rule, decision.outcome, str(decision.owner)) == ("delegation-region-gone", "wait", "municipality")
    assert "gedelegeerd aan regio" in decision.text_nl


def test_what_is_under_way_is_judged_again_for_whom_it_is() -> None:
    """When the delegation begins or ends, the endpoint it was pointed to is as good as ever, but not for this receiver."""
    register = delegated()
    for day, right, wrong in (("2026-02-28", HERE, THERE), ("2026-04-01", THERE, HERE)):
        assert judge_receiver(register, right, noon(day), receiver=UTRECHT).outcome == "yes"
        decision = judge_receiver(register, wrong, noon(day), receiver=UTRECHT)
        assert (decision.rule, decision.outcome) == ("endpoint-not-theirs", "wait")
        assert decision.text_nl and decision.text_en
    lanes = {HERE: f"mailbox {CIVIC}", THERE: f"mailbox {LAS}"}
    assert not is_strange((THERE, LAS, lanes[THERE], UTRECHT), register, noon("2026-04-01"))
    assert is_strange((THERE, LAS, lanes[THERE], UTRECHT), register, noon("2026-09-01"))
    assert not is_strange((THERE, LAS, lanes[THERE], AMERSFOORT), register, noon("2026-09-01"))


def test_what_stands_in_the_region_s_mailbox_leaves_it_when_the_delegation_ends() -> None:
    mail = InMailbox(
        seq=1, id="d1", state="delivered", receiver=UTRECHT, endpoint=THERE, receiver_system=LAS, reference="r1", message_id="m1",
        business_id=None, system="s", sender="s", dienst="vva", versie="1", bericht="aanmeldStatusBericht",
    )  # fmt: skip
    assert SecondLook(delegated(), noon("2026-08-31")).judge(mail) is None
    look = SecondLook(delegated(), noon("2026-09-01"))
    assert look.suspect(THERE, LAS)
    move = look.judge(mail)
    assert move is not None and move.to.endpoint is not None and move.to.endpoint.id == HERE
    assert not SecondLook(chain(), noon("2026-09-01")).suspect(f"{VO}/vva/1/{LAS}", LAS)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"municipality": VO}, "only a municipality delegates"),
        ({"region": "00000001009999990000"}, "region 00000001009999990000 is not in organisations"),
        ({"region": UTRECHT}, "region is the municipality itself"),
        ({"dienst": "oso"}, "dienst oso is not in diensten"),
        ({"until": "2026-02-28"}, "lies before from"),
    ],
)
def test_a_wrong_delegation_is_refused_with_what_to_do(changes: dict[str, str], words: str) -> None:
    with pytest.raises(RegisterError) as refused:
        read_register(document(delegations=[DELEGATION | changes]), version=1)
    assert any(words in problem and "delegations row 1 (d1" in problem for problem in refused.value.problems)


def test_two_regions_on_one_day_are_refused_and_both_named() -> None:
    with pytest.raises(RegisterError, match=r"delegations row 2 \(d2\).*also row 1 \(d1\)"):
        read_register(document(delegations=[DELEGATION, DELEGATION | {"id": "d2", "region": CENTRAAL, "from": "2026-08-31"}]), version=1)
