"""Who gets a VVA message: every target its own filter and outcome."""

from __future__ import annotations

import pytest

from routing.explain import explain, explain_between
from routing.recipients import recipients
from routing.register_cli import SHOWN, explained, lines, show
from schemas.contract import Condition, RecipientRule
from schemas.oin import Oin, is_oin
from tests.support.register import (
    ADDRESSED,
    AMERSFOORT,
    CENTRAAL,
    DOCUMENT,
    FACTS,
    GANGER,
    LAS,
    MBO,
    NOW,
    SIS,
    STATUS,
    UTRECHT,
    VO,
    VO_NORTH,
    but,
    chain,
    message_kind,
    noon,
)

HUB = Oin("00000004009999990000")


def sent(facts=FACTS, *, kind=STATUS, register=None, receiver=HUB, now=NOW):
    return {row.target: row for row in recipients(kind, facts, receiver=receiver, register=register or chain(), now=now)}


def without(*names):
    return {name: value for name, value in FACTS.items() if name not in names}


def test_a_status_goes_to_centraal_aanmelden_the_latende_school_and_the_woongemeente():
    found = sent()
    assert {target: (row.outcome, row.receiver) for target, row in found.items()} == {
        "centraal-aanmelden": ("deliver", CENTRAAL),
        "latende-school": ("deliver", VO),
        "woongemeente": ("deliver", UTRECHT),
    }
    assert all(row.resolution is not None and row.resolution.endpoint is not None for row in found.values())
    assert found["woongemeente"].decision.text_nl == "Gemeentecode 0344 hoort bij Gemeente Utrecht."


def test_centraal_aanmelden_gets_every_status():
    assert sent({})["centraal-aanmelden"].outcome == "deliver"


@pytest.mark.parametrize(
    ("facts", "reason"),
    [
        (without("gemeentecode"), "Geen Nederlandse gemeente."),
        (FACTS | {"leeftijd": "23"}, "Niet jonger dan 23."),
        (without("leeftijd"), "Niet jonger dan 23."),
        (FACTS | {"startkwalificatie": "true"}, "Heeft een startkwalificatie."),
    ],
)
def test_the_woongemeente_does_not_get_what_is_not_for_it_and_the_reason_is_recorded(facts, reason):
    row = sent(facts)["woongemeente"]
    assert (row.outcome, row.receiver, row.resolution, row.code) == ("filtered", None, None, None)
    assert (row.decision.outcome, row.decision.text_nl) == ("filtered", reason)
    assert not set(facts.values()) & set(row.decision.inputs.values())  # what the pupil is does not stand in a decision


def test_a_student_of_22_is_under_23():
    assert sent(FACTS | {"leeftijd": "22"})["woongemeente"].outcome == "deliver"


def test_a_filter_for_one_target_leaves_the_others_alone():
    found = sent(FACTS | {"leeftijd": "40"})
    assert [row.outcome for row in found.values()] == ["deliver", "deliver", "filtered"]


def test_without_a_latende_school_nothing_goes_to_a_school():
    assert sent(without("latendeBrin"))["latende-school"].decision.text_en == "There is no latende school."


def test_a_latende_school_that_has_closed_is_no_current_one():
    row = sent(register=chain(organisations=but(DOCUMENT["organisations"], 0, until="2026-03-01")))["latende-school"]
    assert (row.outcome, row.decision.rule) == ("filtered", "school-ended")
    assert "01-03-2026" in row.decision.text_nl


def test_a_latende_school_that_is_no_vo_school_is_not_relevant():
    assert sent(FACTS | {"latendeBrin": "04XY"})["latende-school"].decision.rule == "school-not-relevant"


def test_a_latende_school_whose_system_is_not_connected_waits():
    row = sent(register=chain(endpoints=DOCUMENT["endpoints"][1:]))["latende-school"]
    assert (row.outcome, row.receiver, row.code, row.owner) == ("waiting", VO, "ROUTE_NO_ENDPOINT", "supplier")


def test_an_unknown_latende_school_has_failed_and_the_sending_school_must_act():
    row = sent(FACTS | {"latendeBrin": "99ZZ"})["latende-school"]
    assert (row.outcome, row.receiver, row.named, row.code, row.owner) == ("failed", None, "BRIN 99ZZ", "ROUTE_UNKNOWN_PARTY", "school")


def test_an_mbo_ganger_goes_to_the_woongemeente_only():
    assert {target: row.receiver for target, row in sent(kind=GANGER).items()} == {"woongemeente": UTRECHT}


def test_a_known_municipality_that_is_not_connected_waits_and_must_act_itself():
    row = sent(FACTS | {"gemeentecode": "0307"})["woongemeente"]
    assert (row.outcome, row.receiver, row.code, row.owner) == ("waiting", AMERSFOORT, "ROUTE_GEMEENTE_NOT_CONNECTED", "municipality")


def test_an_unknown_gemeentecode_has_failed():
    row = sent(FACTS | {"gemeentecode": "9998"})["woongemeente"]
    assert (row.outcome, row.named, row.code, row.owner) == ("failed", "gemeentecode 9998", "GEMEENTECODE_UNKNOWN", "school")


def test_a_message_that_must_name_a_municipality_and_does_not_has_failed():
    row = sent({}, kind=GANGER)["woongemeente"]
    assert (row.outcome, row.code, row.decision.rule) == ("failed", "GEMEENTECODE_UNKNOWN", "gemeente-absent")


@pytest.mark.parametrize(
    ("day", "code", "outcome", "reason"),
    [
        ("2026-12-31", "0344", "deliver", None),
        ("2027-01-01", "0344", "failed", "ROUTE_GEMEENTE_ENDED"),
        ("2026-12-31", "0345", "waiting", "ROUTE_GEMEENTE_NOT_CONNECTED"),
        ("2027-01-01", "0345", "deliver", None),
    ],
)
def test_the_redivision_on_1_january(day, code, outcome, reason):
    """Utrecht's code 0344 becomes 0345 on 1 January 2027."""
    codes = [{"code": "0344", "until": "2026-12-31"}, {"code": "0345", "from": "2027-01-01"}]
    register = chain(organisations=but(DOCUMENT["organisations"], 2, gemeentecodes=codes))
    row = sent(FACTS | {"gemeentecode": code}, kind=GANGER, register=register, now=noon(day))["woongemeente"]
    assert (row.outcome, row.code) == (outcome, reason)
    if reason:
        assert row.owner == ("municipality" if outcome == "waiting" else "school")
        assert ("31-12-2026" if code == "0344" else "01-01-2027") in row.deciding.text_nl


def test_a_message_that_names_its_receiver_goes_to_that_administration():
    register = chain(endpoints=but(DOCUMENT["endpoints"], 0, routeringskenmerk=VO_NORTH))
    assert sent(kind=ADDRESSED, register=register, receiver=VO_NORTH)["ontvanger"].receiver == VO_NORTH


def test_a_message_that_names_an_unknown_receiver_has_failed():
    row = sent(kind=ADDRESSED)["ontvanger"]
    assert (row.outcome, row.code, row.owner, row.named) == ("failed", "ROUTE_UNKNOWN_PARTY", "supplier", HUB)


def test_a_named_receiver_that_has_closed_has_failed_with_its_last_day():
    register = chain(organisations=but(DOCUMENT["organisations"], 0, until="2026-03-01"))
    row = sent(kind=ADDRESSED, register=register, receiver=VO)["ontvanger"]
    assert (row.outcome, row.code) == ("failed", "ROUTE_UNKNOWN_PARTY")
    assert "01-03-2026" in row.deciding.text_nl


@pytest.mark.parametrize(
    ("organisations", "rule", "code"),
    [
        (DOCUMENT["organisations"][:4], "role-unknown", "ROUTE_UNKNOWN_PARTY"),
        (but(DOCUMENT["organisations"], 1, roles=["mbo", "centraal-aanmelden"]), "role-ambiguous", "ROUTE_AMBIGUOUS"),
    ],
)
def test_a_role_that_not_exactly_one_organisation_has_is_for_us_to_mend(organisations, rule, code):
    register = chain(organisations=organisations, systems=DOCUMENT["systems"], endpoints=DOCUMENT["endpoints"][:2])
    row = sent(register=register)["centraal-aanmelden"]
    assert (row.outcome, row.decision.rule, row.code, row.owner) == ("failed", rule, code, "us")


def test_a_fact_that_should_be_a_number_and_is_not_has_failed_and_harms_nobody_else():
    found = sent(FACTS | {"leeftijd": "zeventien"})
    assert (found["woongemeente"].outcome, found["woongemeente"].code) == ("failed", "CONTENT_RULE")
    assert found["latende-school"].outcome == "deliver"


def test_a_condition_may_ask_that_a_fact_is_absent():
    rule = RecipientRule(
        target="ontvanger", rule="addressed", when=(Condition(fact="leeftijd", present=False, reason_nl="Nee.", reason_en="No."),)
    )
    kind = message_kind(recipients=(rule,), senders=())
    assert sent(kind=kind, receiver=VO)["ontvanger"].outcome == "filtered"
    assert sent(without("leeftijd"), kind=kind, receiver=VO)["ontvanger"].outcome == "deliver"


# what people see


def test_explain_asks_everything_even_when_the_sender_may_not_send():
    questions = [d.question for d in explain(chain(), STATUS, FACTS, MBO, HUB, SIS, NOW)]
    assert questions == ["sender", *["recipients", "endpoint"] * 3]
    refused = explain(chain(), STATUS, FACTS | {"leeftijd": "40"}, MBO, HUB, LAS, NOW)
    assert [d.outcome for d in refused] == ["no", "yes", "yes", "yes", "yes", "filtered"]


def test_an_explanation_says_for_each_question_what_why_and_whose_turn():
    text = "\n".join(explained(explain(chain(), STATUS, FACTS | {"gemeentecode": "0307"}, MBO, HUB, SIS, NOW)))
    assert "recipients (woongemeente): yes" in text
    assert "endpoint: wait  ROUTE_GEMEENTE_NOT_CONNECTED [municipality]" in text
    assert all(len(line) <= 100 for line in text.splitlines())


@pytest.mark.parametrize("what", SHOWN)
def test_a_table_of_the_register_fits_100_columns(what):
    rows = but(
        DOCUMENT["endpoints"], 2, url="https://een-heel-lange-naam.portaal.example/" + "pad/" * 40, from_="2026-01-01", until="2026-12-31"
    )
    organisations = but(DOCUMENT["organisations"], 0, name="Scholengemeenschap " * 12, roles=["vo", "vso", "vavo", "po", "centraal"])
    more = {
        "boards": [{"oin": MBO, "name": "Stichting voor onderwijs " * 8}],
        "delegations": [{"municipality": UTRECHT, "dienst": "vva", "region": AMERSFOORT, "until": "2026-12-31"}],
    }
    table = show(chain(endpoints=rows, organisations=organisations, **more), what, NOW.date())
    printed = lines(table)
    assert len(printed) == len(table.rows) + 2
    assert max(map(len, printed)) <= 100
    assert table.records()[0].keys() == set(table.columns)
    for oin in (cell for row in table.rows for cell in row if is_oin(cell)):
        assert any(oin in line for line in printed)


def test_a_row_says_when_it_started_ends_or_ended():
    rows = [
        DOCUMENT["mandates"][0] | days
        for days in ({"until": "2026-03-01"}, {"until": "2026-03-02"}, {"from": "2026-03-03"}, {"revoked": True})
    ]
    shown = show(chain(mandates=rows), "mandates", NOW.date()).rows
    assert [row[3] for row in shown] == ["ended 2026-03-01", "until 2026-03-02", "from 2026-03-03", "revoked"]


def test_a_table_can_be_searched_in_every_column():
    assert [row[1] for row in show(chain(), "organisations", NOW.date(), find="0344").rows] == ["Gemeente Utrecht"]
    assert show(chain(), "mandates", NOW.date(), find=LAS).rows[0][0] == VO


# without a message


def between(register=None, kinds=(STATUS,), sender=MBO, receiver=VO, now=NOW, system=None):
    return [
        (one.rule, one.inputs.get("system")) for one in explain_between(register or chain(), kinds, sender, receiver, now, system=system)
    ]


def test_between_two_parties_each_system_of_the_sender_is_judged_and_then_where_it_goes():
    assert between() == [("mandate", SIS), ("endpoint", LAS)]
    mandates = [*DOCUMENT["mandates"], {"organisation": MBO, "dienst": "vva", "system": LAS, "until": "2026-01-31"}]
    assert between(chain(mandates=mandates)) == [("mandate", SIS), ("mandate-ended", LAS), ("endpoint", LAS)]
    assert between(system=LAS) == [("mandate-missing", LAS), ("endpoint", LAS)]


def test_between_two_parties_the_kind_is_the_first_that_the_sender_may_send():
    assert between(kinds=(GANGER, STATUS))[0] == ("mandate", SIS)
    assert between(kinds=(GANGER,))[0] == ("role-not-allowed", SIS)


def test_between_two_parties_what_nobody_recorded_is_said():
    assert between(chain(mandates=[], endpoints=[])) == [("system-unknown", MBO), ("no-system", None)]
    assert between(sender=CENTRAAL, kinds=(ADDRESSED,)) == [("own-certificate", CENTRAAL), ("endpoint", LAS)]
    assert between(receiver=HUB)[-1] == ("party-unknown", None)
