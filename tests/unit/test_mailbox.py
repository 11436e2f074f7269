"""A mandate ends while messages stand unconfirmed in a mailbox: what may stay, who gets the rest, and which copies belong there."""

from __future__ import annotations

from itertools import pairwise

import pytest

from routing.mailbox import LOOK_AGAIN_S, Copy, InMailbox, SecondLook, next_look, same_place
from routing.register import Register
from tests.support.register import DOCUMENT, LAS, NOW, OTHER_LAS, VO, but, chain, noon

HERE = f"{VO}/vva/1/{LAS}"
NEXT = {"organisation": VO, "dienst": "vva", "versie": "1", "system": OTHER_LAS, "mailbox": True}
MANDATES, ENDPOINTS = DOCUMENT["mandates"], DOCUMENT["endpoints"]
FOR_NEXT = {"organisation": VO, "dienst": "vva", "system": OTHER_LAS}


def in_mailbox(**changes: object) -> InMailbox:
    fields: dict[str, object] = {
        "seq": 1,
        "id": "d1",
        "state": "delivered",
        "receiver": str(VO),
        "endpoint": HERE,
        "receiver_system": str(LAS),
        "reference": "r1",
        "message_id": "m1",
        "business_id": None,
        "system": "s",
        "sender": "s",
        "dienst": "vva",
        "versie": "1",
        "bericht": "aanmeldStatusBericht",
    }
    return InMailbox(**(fields | changes))  # type: ignore[arg-type]


def ended(**more: list[dict[str, object]]) -> Register:
    """The mandate of the first system ran until the end of February."""
    rows = [row for row in MANDATES if row["organisation"] != VO]
    mine = {"organisation": VO, "dienst": "vva", "system": LAS, "until": "2026-02-28"}
    return chain(mandates=[*rows, mine, *more.get("mandates", [])], endpoints=[*ENDPOINTS, *more.get("endpoints", [])])


def revoked() -> Register:
    place = next(n for n, row in enumerate(MANDATES) if row["organisation"] == VO and row["system"] == LAS)
    return chain(mandates=but(MANDATES, place, revoked=True))


def test_while_the_mandate_stands_everything_stays() -> None:
    assert SecondLook(chain(), NOW).judge(in_mailbox()) is None


def test_on_its_last_day_everything_stays_and_on_the_next_it_must_leave() -> None:
    assert SecondLook(ended(), noon("2026-02-28")).judge(in_mailbox()) is None
    move = SecondLook(ended(), noon("2026-03-01")).judge(in_mailbox())
    assert move is not None
    assert move.because.rule == "endpoint-mandate-ended"


def test_after_a_supplier_switch_the_successor_gets_it() -> None:
    move = SecondLook(ended(mandates=[FOR_NEXT], endpoints=[NEXT]), NOW).judge(in_mailbox())
    assert move is not None
    assert move.to.endpoint is not None
    assert (move.to.endpoint.system, move.to.endpoint.lane) == (OTHER_LAS, f"mailbox {OTHER_LAS}")
    assert not same_place(move.to.endpoint, LAS)


@pytest.mark.parametrize(
    ("register", "because", "code", "owner"),
    [
        (ended(), "endpoint-mandate-ended", "ROUTE_NO_MANDATE", "school"),
        (revoked(), "endpoint-mandate-revoked", "ROUTE_NO_MANDATE", "school"),
        (chain(endpoints=[row for row in ENDPOINTS if row["organisation"] != VO]), "endpoint-gone", "ROUTE_NO_ENDPOINT", "supplier"),
    ],
    ids=["ended", "revoked", "endpoint gone"],
)
def test_without_a_successor_it_waits_and_somebody_owns_the_next_action(register: Register, because: str, code: str, owner: str) -> None:
    move = SecondLook(register, NOW).judge(in_mailbox())
    assert move is not None
    assert move.because.rule == because
    assert (move.to.endpoint, move.to.decision.outcome, move.to.decision.code, move.to.decision.owner) == (None, "wait", code, owner)


def test_a_school_that_has_ended_gets_nothing_any_more() -> None:
    organisations = [row | {"until": "2026-02-28"} if row["oin"] == VO else row for row in DOCUMENT["organisations"]]
    move = SecondLook(chain(organisations=organisations), NOW).judge(in_mailbox())
    assert move is not None
    assert (move.to.endpoint, move.to.decision.outcome) == (None, "no")


@pytest.mark.parametrize("change", [{"system": OTHER_LAS}, {"url": "https://las.example/vva", "mailbox": None}], ids=["system", "url"])
def test_an_endpoint_that_kept_its_name_but_is_another_place_is_another_place(change: dict[str, str]) -> None:
    place = next(n for n, row in enumerate(ENDPOINTS) if row["organisation"] == VO)
    register = chain(endpoints=but(ENDPOINTS, place, id="e1", **change), mandates=[*MANDATES, FOR_NEXT])
    move = SecondLook(register, NOW).judge(in_mailbox(endpoint="e1"))
    assert move is not None
    assert (move.because.rule, str(LAS) in move.because.text_nl) == ("endpoint-moved", True)
    assert move.to.endpoint is not None
    assert not same_place(move.to.endpoint, LAS)


def test_a_renamed_endpoint_of_the_same_mailbox_is_the_same_place() -> None:
    place = next(n for n, row in enumerate(ENDPOINTS) if row["organisation"] == VO)
    move = SecondLook(chain(endpoints=but(ENDPOINTS, place, id="new")), NOW).judge(in_mailbox())
    assert move is not None
    assert same_place(move.to.endpoint, LAS)


def test_equal_questions_get_the_very_same_decision() -> None:
    look = SecondLook(ended(), NOW)
    first, second = look.judge(in_mailbox()), look.judge(in_mailbox(seq=2, id="d2"))
    assert first is not None
    assert second is not None
    assert (first.because is second.because, first.to is second.to) == (True, True)


@pytest.mark.parametrize(
    ("state", "system", "register", "belongs"),
    [
        ("delivered", LAS, chain(), True),
        ("delivered", OTHER_LAS, chain(), False),
        ("routed", None, chain(), False),
        ("delivered", LAS, ended(), True),
        ("released", LAS, ended(), True),
        ("failed", LAS, chain(), True),
        ("failed", LAS, ended(), False),
        ("acknowledged", LAS, ended(), False),
    ],
    ids=[
        "its own",
        "the successor's",
        "waiting",
        "not withdrawn yet",
        "under way",
        "not fetched",
        "not fetched, ended",
        "confirmed, ended",
    ],
)
def test_a_copy_belongs_in_a_mailbox_as_long_as_the_store_says_so(
    state: str, system: str | None, register: Register, belongs: bool
) -> None:
    """What is open is dropped only after it was withdrawn: a copy is never thrown away on the register's word alone."""
    assert SecondLook(register, NOW).belongs(Copy(id="d1", state=state, receiver_system=system, endpoint=HERE), LAS) is belongs


def test_copies_in_somebodys_hands_are_looked_for_less_and_less_often_and_then_no_more() -> None:
    found = [next_look(looks) for looks in range(1, len(LOOK_AGAIN_S) + 2)]
    assert found == [*LOOK_AGAIN_S, None]
    assert all(sooner < later for sooner, later in pairwise(LOOK_AGAIN_S))
