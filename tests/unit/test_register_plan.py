"""What will change on a day, and what is amiss: answered from the register, as routing itself will answer on that day."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Any

import pytest

from routing.register import Register
from routing.register_plan import (
    HORIZONS,
    endpoints_nobody_uses,
    endpoints_without_mandate,
    ends_soon,
    mandates_without_endpoint,
    small_changes,
    systems_mandates_without_endpoint,
    what_changes,
)
from tests.support.register import AMERSFOORT, CIVIC, DOCUMENT, LAS, OTHER_LAS, UTRECHT, VO, VO_NORTH, but, chain

JULY, AUGUST = date(2026, 7, 31), date(2026, 8, 1)
TODAY = date(2026, 3, 2)


def switch(**lists: list[dict[str, Any]]) -> Register:
    """Emmaus College goes from Leerlingwijzer to Klassenboek on 1 August."""
    mandates = [
        *but(DOCUMENT["mandates"], 0, until="2026-07-31"),
        {"organisation": VO, "dienst": "vva", "system": OTHER_LAS, "from": "2026-08-01"},
    ]
    old, *others = but(DOCUMENT["endpoints"], 0, until="2026-07-31")
    new = {"organisation": VO, "dienst": "vva", "versie": "1", "system": OTHER_LAS, "url": "https://boek.example/in", "from": "2026-08-01"}
    return chain(**({"mandates": mandates, "endpoints": [old, new, *others]} | lists))


def told(register: Register, first: date = AUGUST, last: date = AUGUST) -> list[tuple[date, str]]:
    return [
        (turn.day, turn.what)
        for turn in what_changes(register, register.parts.every_mandate(), register.parts.every_endpoint(), first, last)
    ]


def test_a_switch_on_the_first_of_august_shows_who_receives_before_and_after():
    register = switch()
    turns = what_changes(register, register.parts.every_mandate(), register.parts.every_endpoint(), AUGUST, AUGUST)
    assert [turn.what for turn in turns] == ["mandate-begins", "mandate-ends", "endpoint-begins", "endpoint-ends", "receiver-changes"]
    (change,) = [turn for turn in turns if turn.what == "receiver-changes"]
    assert change.nl == "Berichten vva 1 voor Emmaus College gaan van Leerlingwijzer (mailbox) naar Klassenboek (https://boek.example/in)."
    assert not change.is_trouble
    assert told(register, JULY, JULY) == told(register, AUGUST + timedelta(days=1), date(2027, 1, 1)) == []


def test_a_successor_without_an_endpoint_is_trouble_and_the_sentence_says_why():
    found = what_changes(
        register := switch(endpoints=but(DOCUMENT["endpoints"], 0, until="2026-07-31")),
        register.parts.every_mandate(),
        register.parts.every_endpoint(),
        AUGUST,
        AUGUST,
    )
    (lost,) = [turn for turn in found if turn.is_trouble]
    assert lost.what == "receiver-lost" and "Leerlingwijzer" in lost.nl and "31-07-2026" in lost.nl and "2026-07-31" in lost.en


def test_what_waited_for_an_endpoint_is_foretold():
    register = switch(
        endpoints=[
            *but(DOCUMENT["endpoints"], 0, until="2026-07-31"),
            {"organisation": VO, "dienst": "vva", "versie": "1", "system": OTHER_LAS, "mailbox": True, "from": "2026-08-03"},
        ]
    )
    assert (date(2026, 8, 3), "receiver-found") in told(register, AUGUST, date(2026, 8, 31))


def test_gemeentecodes_and_delegations_that_turn_are_told():
    organisations = but(but(DOCUMENT["organisations"], 2, gemeentecodes=[{"code": "0344", "until": "2026-12-31"}]), 3, until="2026-12-31")
    register = chain(
        organisations=organisations, delegations=[{"municipality": UTRECHT, "dienst": "vva", "region": AMERSFOORT, "from": "2027-01-01"}]
    )
    found = small_changes(register, date(2027, 1, 1), date(2027, 1, 1))
    assert {(turn.what, turn.organisation) for turn in found} == {
        ("gemeentecode-ends", UTRECHT),
        ("delegation-begins", UTRECHT),
        ("receiver-lost", UTRECHT),  # Amersfoort, which is to receive for it, ends that very day
        ("organisation-ends", AMERSFOORT),
    }


def test_a_region_that_goes_to_another_supplier_takes_the_municipalities_that_delegate_to_it_along():
    mandates = [{"organisation": AMERSFOORT, "dienst": "vva", "system": CIVIC}, *DOCUMENT["mandates"]]
    endpoint = {"organisation": AMERSFOORT, "dienst": "vva", "versie": "1", "system": CIVIC}
    endpoints = [
        endpoint | {"id": "old", "url": "https://old.example/in", "until": "2026-07-31"},
        endpoint | {"id": "new", "url": "https://new.example/in", "from": "2026-08-01"},
    ]
    delegations = [{"municipality": UTRECHT, "dienst": "vva", "region": AMERSFOORT}]
    register = chain(mandates=mandates, endpoints=endpoints, delegations=delegations)
    found = what_changes(register, *register.parts.of_organisation(AMERSFOORT), AUGUST, AUGUST)
    assert [turn.organisation for turn in found if turn.what == "receiver-changes"] == [UTRECHT, AMERSFOORT]


def test_a_mandate_without_an_endpoint_is_named_with_the_days_nothing_is_received():
    register = switch(endpoints=but(DOCUMENT["endpoints"], 0, until="2026-07-01"))
    gaps = {gap.row.system: gap.days for gap in mandates_without_endpoint(register, register.mandates_of(VO, "vva"), TODAY)}
    assert gaps == {LAS: (date(2026, 7, 2), JULY), OTHER_LAS: (AUGUST, date.max)}
    assert mandates_without_endpoint(register, register.mandates_of(VO, "vva")[:1], AUGUST) == []


@pytest.mark.parametrize("until", ["2026-07-31", "2026-07-01", "2026-02-01", None])
def test_for_one_system_it_is_the_same_without_asking_for_each_school(until: str | None):
    kept = but(DOCUMENT["endpoints"], 0, until=until, routeringskenmerk=VO_NORTH)
    register = switch(endpoints=kept)
    for system in register.systems:
        pair = register.parts.of_system(system)
        assert systems_mandates_without_endpoint(*pair, TODAY) == mandates_without_endpoint(register, pair.mandates, TODAY)


def test_an_endpoint_of_one_administration_counts_for_its_mandate():
    register = chain(endpoints=but(DOCUMENT["endpoints"], 0, routeringskenmerk=VO_NORTH))
    assert mandates_without_endpoint(register, register.mandates_of(VO, "vva"), TODAY) == []


def test_an_endpoint_that_outlives_its_mandate_is_named_with_the_days_it_has_none():
    register = switch(endpoints=DOCUMENT["endpoints"])
    gaps = endpoints_without_mandate(register, register.parts.every_endpoint(), TODAY)
    assert [(gap.row.system, gap.days) for gap in gaps] == [(LAS, (AUGUST, date.max))]
    assert endpoints_without_mandate(chain(), chain().parts.every_endpoint(), TODAY) == [], "one connects itself"


def test_endpoints_to_which_nothing_was_delivered_are_listed_but_not_new_ones():
    register = chain(
        endpoints=[
            row | {"from": start} for row, start in zip(DOCUMENT["endpoints"], ("2026-01-01", "2026-02-20", "2026-01-01"), strict=True)
        ]
    )
    used, new, unused = register.parts.every_endpoint()
    found = endpoints_nobody_uses(
        register.parts.every_endpoint(), {used.id: TODAY, unused.id: date(2026, 1, 9)}, TODAY - timedelta(days=30), TODAY
    )
    assert found == [unused] and new not in found


@pytest.mark.parametrize(("left", "horizon"), [(0, 7), (6, 7), (7, 30), (29, 30), (30, 60), (59, 60), (60, None)])
def test_what_ends_is_warned_of_60_30_and_7_days_before(left: int, horizon: int | None):
    until = (TODAY + timedelta(days=left)).isoformat()
    register = chain(mandates=but(DOCUMENT["mandates"], 2, until=until))
    found = ends_soon(register, register.parts.every_mandate(), register.parts.every_endpoint(), TODAY)
    assert [(ending.list, ending.horizon, ending.row.system) for ending in found] == ([("mandates", horizon, CIVIC)] if horizon else [])
    assert HORIZONS == (60, 30, 7)


def test_what_has_a_successor_is_told_apart_from_what_has_none():
    register = switch()
    found = ends_soon(register, register.parts.every_mandate(), register.parts.every_endpoint(), JULY)
    assert [(ending.list, ending.followed) for ending in found] == [("endpoints", True), ("mandates", True)]
    alone = switch(mandates=but(DOCUMENT["mandates"], 0, until="2026-07-31"))
    assert [ending.followed for ending in ends_soon(alone, alone.parts.every_mandate(), alone.parts.every_endpoint(), JULY)] == [
        False,
        False,
    ]
