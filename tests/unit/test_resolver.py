"""Where a message for a receiver goes today."""

from __future__ import annotations

from datetime import UTC, date, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from routing.amsterdam import amsterdam_day
from routing.mandate import judge_receiver
from routing.resolver import resolve
from schemas.oin import Oin
from tests.support.register import CENTRAAL, CIVIC, DOCUMENT, LAS, MBO, NOW, OTHER_LAS, UTRECHT, VO, VO_NORTH, but, chain, noon


def resolved(register, receiver=VO, now=NOW):
    return resolve(register, receiver=receiver, dienst="vva", versie="1", now=now)


def place(system, *, kenmerk=None, **days):
    row = {"organisation": VO, "dienst": "vva", "versie": "1", "system": system, "mailbox": True, "routeringskenmerk": kenmerk}
    return row | {name.rstrip("_"): day for name, day in days.items()}


def mandate(system, **days):
    return {"organisation": VO, "dienst": "vva", "system": system} | {name.rstrip("_"): day for name, day in days.items()}


def test_the_one_endpoint_of_an_organisation_is_used():
    found = resolved(chain())
    assert found.endpoint is not None and found.endpoint.system == LAS
    assert found.decision.outcome == "yes"
    assert found.decision.text_en == "Emmaus College receives vva through Leerlingwijzer."


def test_an_organisation_that_connects_itself_needs_no_mandate_to_receive():
    found = resolved(chain(), CENTRAAL)
    assert found.endpoint is not None and found.endpoint.url == "https://portaal.example/vva"


@pytest.mark.parametrize(
    ("changes", "receiver", "outcome", "rule", "code", "owner"),
    [
        ({}, Oin("00000003000000000000"), "no", "party-unknown", "ROUTE_UNKNOWN_PARTY", "supplier"),
        (
            {"organisations": but(DOCUMENT["organisations"], 0, until="2026-03-01")},
            VO,
            "no",
            "party-ended",
            "ROUTE_UNKNOWN_PARTY",
            "supplier",
        ),
        ({}, MBO, "wait", "no-endpoint", "ROUTE_NO_ENDPOINT", "supplier"),
        ({"mandates": []}, MBO, "wait", "no-system", "ROUTE_NO_ENDPOINT", "school"),
        ({}, VO_NORTH, "wait", "no-endpoint", "ROUTE_NO_ENDPOINT", "supplier"),
        ({"endpoints": [place(LAS, until="2026-03-01")]}, VO, "wait", "endpoint-ended", "ROUTE_NO_ENDPOINT", "supplier"),
        ({"endpoints": [place(LAS, from_="2026-03-03")]}, VO, "wait", "endpoint-not-yet", "ROUTE_NO_ENDPOINT", "supplier"),
        ({"mandates": []}, VO, "wait", "endpoint-mandate-missing", "ROUTE_NO_MANDATE", "school"),
        ({"mandates": [mandate(LAS, until="2026-03-01")]}, VO, "wait", "endpoint-mandate-ended", "ROUTE_NO_MANDATE", "school"),
        ({"mandates": []}, UTRECHT, "wait", "endpoint-mandate-missing", "ROUTE_GEMEENTE_NOT_CONNECTED", "municipality"),
        ({"endpoints": [], "mandates": []}, UTRECHT, "wait", "no-system", "ROUTE_GEMEENTE_NOT_CONNECTED", "municipality"),
        ({"endpoints": []}, UTRECHT, "wait", "no-endpoint", "ROUTE_GEMEENTE_NOT_CONNECTED", "municipality"),
    ],
)
def test_a_receiver_without_an_answer_has_a_code_an_owner_and_waits_only_where_waiting_helps(changes, receiver, outcome, rule, code, owner):
    found = resolved(chain(**changes), receiver)
    assert found.endpoint is None
    assert (found.decision.outcome, found.decision.rule, found.decision.code, found.decision.owner) == (outcome, rule, code, owner)
    assert found.decision.text_nl and found.decision.text_en


def test_two_administrations_that_may_both_receive_wait_for_the_school_to_choose():
    register = chain(endpoints=[place(LAS), place(OTHER_LAS, kenmerk=VO_NORTH)], mandates=[mandate(LAS), mandate(OTHER_LAS)])
    found = resolved(register)
    assert (found.decision.code, found.decision.owner, found.decision.outcome) == ("ROUTE_AMBIGUOUS", "school", "wait")
    assert found.decision.candidates == (f"{VO}/vva/1/{LAS}", f"{VO_NORTH}/vva/1/{OTHER_LAS}")


def test_a_routeringskenmerk_chooses_between_two_administrations():
    register = chain(endpoints=[place(LAS), place(OTHER_LAS, kenmerk=VO_NORTH)], mandates=[mandate(LAS), mandate(OTHER_LAS)])
    found = resolved(register, VO_NORTH)
    assert found.endpoint is not None and found.endpoint.system == OTHER_LAS


def test_an_endpoint_without_a_mandate_is_passed_over_for_one_that_has_it():
    register = chain(
        endpoints=[place(LAS), place(OTHER_LAS)], mandates=[mandate(LAS, until="2026-03-01"), mandate(OTHER_LAS, from_="2026-03-02")]
    )
    found = resolved(register)
    assert found.endpoint is not None and found.endpoint.system == OTHER_LAS
    assert len(found.decision.candidates) == 2


def switched():
    """Emmaus College changes from Leerlingwijzer to Klassenboek on 1 August; the administration keeps its routeringskenmerk."""
    return chain(
        mandates=[mandate(LAS, until="2026-07-31"), mandate(OTHER_LAS, from_="2026-08-01")],
        endpoints=[place(LAS, kenmerk=VO_NORTH, until="2026-07-31"), place(OTHER_LAS, kenmerk=VO_NORTH, from_="2026-08-01")],
    )


@pytest.mark.parametrize("receiver", [VO, VO_NORTH])
@pytest.mark.parametrize(
    ("now", "system"),
    [(datetime(2026, 7, 31, 21, 59, 59, tzinfo=UTC), LAS), (datetime(2026, 7, 31, 22, 0, 0, tzinfo=UTC), OTHER_LAS)],
)
def test_on_1_august_the_successor_gets_what_was_meant_for_the_same_administration(now, system, receiver):
    found = resolved(switched(), receiver, now)
    assert found.endpoint is not None and found.endpoint.system == system


def test_a_delivery_that_was_to_go_to_the_old_system_is_stopped_at_midnight_and_resolved_anew():
    register, midnight = switched(), datetime(2026, 7, 31, 22, 0, tzinfo=UTC)
    old = f"{VO_NORTH}/vva/1/{LAS}"
    assert judge_receiver(register, old, noon("2026-07-31")).outcome == "yes"
    assert judge_receiver(register, old, midnight).outcome == "wait"
    found = resolved(register, VO_NORTH, midnight)
    assert found.endpoint is not None and judge_receiver(register, found.endpoint.id, midnight).outcome == "yes"


def test_without_a_successor_the_message_waits():
    register = chain(mandates=[mandate(LAS, until="2026-07-31")], endpoints=[place(LAS, until="2026-07-31")])
    found = resolved(register, now=noon("2026-08-01"))
    assert (found.decision.outcome, found.decision.rule, found.decision.owner) == ("wait", "no-system", "school")


DAY = st.dates(date(2026, 7, 1), date(2026, 7, 10))
SPAN = st.tuples(st.none() | DAY, st.none() | DAY).filter(lambda d: None in d or d[0] <= d[1])


def days(span):
    return {name: str(day) for name, day in zip(("from", "until"), span, strict=True) if day}


@settings(max_examples=300)
@given(
    st.lists(st.tuples(st.sampled_from([LAS, OTHER_LAS, CIVIC]), SPAN, st.booleans()), max_size=4),
    st.lists(st.tuples(st.sampled_from([LAS, OTHER_LAS, CIVIC]), SPAN), max_size=4),
    DAY,
)
def test_never_an_endpoint_whose_mandate_is_not_valid_that_day(mandates, endpoints, day):
    # revoked rows may repeat a valid one: only the same triple with the same days is a duplicate
    rows = {(system, span): mandate(system) | days(span) | {"revoked": revoked} for system, span, revoked in mandates}
    places = [place(system) | days(span) | {"id": f"e{n}"} for n, (system, span) in enumerate(endpoints)]
    register = chain(mandates=list(rows.values()), endpoints=places)
    now = noon(str(day))
    assert amsterdam_day(now) == day

    def covers(row):
        return row.get("from", "0") <= str(day) <= row.get("until", "9")

    allowed = {row["system"] for row in rows.values() if covers(row) and not row["revoked"]}
    usable = [row["id"] for row in places if covers(row) and row["system"] in allowed]
    found = resolved(register, now=now)
    assert (found.endpoint.id if found.endpoint else None) == (usable[0] if len(usable) == 1 else None)
    assert (found.decision.outcome == "yes") == (found.endpoint is not None)
    assert (found.decision.code == "ROUTE_AMBIGUOUS") == (len(usable) > 1)
    assert found.decision.text_nl and found.decision.text_en
