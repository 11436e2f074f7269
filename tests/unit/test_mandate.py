"""May this system send for this organisation? And may it still receive?"""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest

from routing.decisions import RULES, decide
from routing.mandate import DecisionCache, judge_receiver, judge_sender, judge_standing
from routing.register import read_register
from schemas.faults import CODES
from schemas.oin import Oin
from tests.support.register import (
    CENTRAAL,
    CENTRAL_KIND,
    CIVIC,
    DOCUMENT,
    GANGER,
    LAS,
    MBO,
    NOW,
    OTHER_LAS,
    UTRECHT,
    VO,
    VO_NORTH,
    but,
    chain,
    document,
    noon,
)

STRANGER = Oin("00000003000000000000")


def judged(register=None, *, system=LAS, sender=VO, kind=GANGER, now=NOW):
    return judge_sender(register or chain(), system=system, sender=sender, kind=kind, now=now)


def test_a_mandated_system_may_send_for_its_school():
    decision = judged()
    assert (decision.outcome, decision.code, decision.owner, decision.rule) == ("yes", None, None, "mandate")
    assert decision.register_version == 7
    assert decision.candidates == (LAS,)
    assert decision.text_nl == "Emmaus College heeft Leerlingwijzer gemachtigd voor vva."


def test_a_school_s_administration_is_covered_by_the_school_s_mandate():
    assert judged(sender=VO_NORTH).outcome == "yes"


def test_an_organisation_with_its_own_certificate_needs_no_mandate():
    assert judged(system=CENTRAAL, sender=CENTRAAL, kind=CENTRAL_KIND).rule == "own-certificate"


def test_a_certificate_of_one_s_own_says_nothing_about_another_organisation():
    assert judged(system=CENTRAAL, sender=VO).rule == "mandate-missing"


@pytest.mark.parametrize(
    ("changes", "ask", "rule", "owner", "words"),
    [
        ({}, {"system": STRANGER}, "system-unknown", "supplier", "certificaat-OIN 00000003000000000000 staat niet in het serviceregister"),
        ({"systems": but(DOCUMENT["systems"], 0, until="2026-03-01")}, {}, "system-ended", "supplier", "tot en met 01-03-2026"),
        ({"systems": but(DOCUMENT["systems"], 0, from_="2026-03-03")}, {}, "system-not-yet", "supplier", "pas vanaf 03-03-2026"),
        ({}, {"sender": STRANGER}, "sender-unknown", "supplier", "controleer het OIN in wsa:From"),
        (
            {"organisations": but(DOCUMENT["organisations"], 0, until="2026-03-01")},
            {},
            "sender-ended",
            "school",
            "de laatste dag was 01-03-2026",
        ),
        ({"organisations": but(DOCUMENT["organisations"], 0, from_="2026-08-01")}, {}, "sender-not-yet", "school", "pas vanaf 01-08-2026"),
        ({}, {"sender": MBO, "system": LAS}, "role-not-allowed", "supplier", "alleen een organisatie met de rol vo"),
        ({}, {"system": OTHER_LAS}, "mandate-missing", "school", "heeft Klassenboek niet gemachtigd voor vva"),
        ({"mandates": but(DOCUMENT["mandates"], 0, until="2026-03-01")}, {}, "mandate-ended", "school", "liep tot en met 01-03-2026"),
        ({"mandates": but(DOCUMENT["mandates"], 0, from_="2026-08-01")}, {}, "mandate-not-yet", "school", "gaat pas in op 01-08-2026"),
        ({"mandates": but(DOCUMENT["mandates"], 0, revoked=True)}, {}, "mandate-revoked", "school", "per direct ingetrokken"),
        ({"mandates": but(DOCUMENT["mandates"], 0, dienst="proef")}, {}, "mandate-missing", "school", "niet gemachtigd voor vva"),
    ],
)
def test_who_may_not_send_hears_why_and_whose_turn_it_is(changes, ask, rule, owner, words):
    decision = judged(chain(**changes), **ask)
    assert (decision.outcome, decision.code, decision.rule, decision.owner) == ("no", "Client.DK0002", rule, owner)
    assert words in decision.text_nl


@pytest.mark.parametrize(("days", "rule"), [({"until": "2026-03-01"}, "dienst-ended"), ({"from_": "2026-03-03"}, "dienst-not-yet")])
def test_a_version_that_is_not_in_use_is_refused(days, rule):
    decision = judged(chain(diensten=but(DOCUMENT["diensten"], 0, **days)))
    assert (decision.rule, decision.code, decision.owner) == (rule, "UNKNOWN_DIENST", "supplier")


def test_a_version_the_register_does_not_know_is_for_us_to_add():
    decision = judge_sender(chain(diensten=DOCUMENT["diensten"][:1]), system=LAS, sender=VO, kind=CENTRAL_KIND, now=NOW)
    assert (decision.rule, decision.owner) == ("dienst-unknown", "us")


def test_the_last_day_of_a_mandate_counts_to_its_last_second_by_our_clock():
    register = chain(mandates=but(DOCUMENT["mandates"], 0, until="2026-07-31"))
    assert judged(register, now=datetime(2026, 7, 31, 21, 59, 59, 999999, tzinfo=UTC)).outcome == "yes"
    ended = judged(register, now=datetime(2026, 7, 31, 22, 0, tzinfo=UTC))
    assert (ended.rule, ended.inputs["until"]) == ("mandate-ended", "2026-07-31")


def test_a_renewed_mandate_is_found_beside_the_ended_one():
    register = chain(mandates=[*but(DOCUMENT["mandates"], 0, until="2026-01-31"), DOCUMENT["mandates"][0] | {"from": "2026-02-01"}])
    assert judged(register).outcome == "yes"
    assert judged(register).candidates == (f"{LAS} ..2026-01-31", f"{LAS} 2026-02-01..")


def test_of_several_ended_mandates_the_last_one_is_named():
    rows = [DOCUMENT["mandates"][0] | {"until": until} for until in ("2025-01-31", "2026-01-31", "2024-01-31")]
    assert judged(chain(mandates=rows)).inputs["until"] == "2026-01-31"


# after the hand-in


def standing(register, received="2026-03-01"):
    return judge_standing(register, system=LAS, sender=VO, kind=GANGER, received_at=noon(received), now=NOW)


def test_a_message_stays_good_when_its_mandate_merely_ends():
    assert standing(chain(mandates=but(DOCUMENT["mandates"], 0, until="2026-03-01"))).outcome == "yes"


def test_a_message_stays_good_when_its_mandate_is_no_longer_in_the_register():
    assert standing(chain(mandates=[])).outcome == "yes"


def test_an_immediate_revocation_stops_a_message_that_was_accepted():
    decision = standing(chain(mandates=but(DOCUMENT["mandates"], 0, revoked=True)))
    assert (decision.outcome, decision.code, decision.owner) == ("no", "ROUTE_MANDATE_REVOKED", "school")


def test_a_revocation_of_another_period_does_not_stop_it():
    assert standing(chain(mandates=but(DOCUMENT["mandates"], 0, revoked=True, until="2026-02-28"))).outcome == "yes"


def test_a_message_that_two_mandates_allowed_goes_on_while_one_of_them_stands():
    rows = [DOCUMENT["mandates"][0], DOCUMENT["mandates"][0] | {"from": "2026-01-01", "revoked": True}]
    assert standing(chain(mandates=rows)).outcome == "yes"


# the receiver


@pytest.mark.parametrize(
    ("changes", "rule", "code", "owner"),
    [
        ({}, "endpoint", None, None),
        ({"endpoints": []}, "endpoint-gone", "ROUTE_NO_ENDPOINT", "supplier"),
        ({"endpoints": but(DOCUMENT["endpoints"], 0, until="2026-03-01")}, "endpoint-ended", "ROUTE_NO_ENDPOINT", "supplier"),
        ({"mandates": []}, "endpoint-mandate-missing", "ROUTE_NO_MANDATE", "school"),
        ({"mandates": but(DOCUMENT["mandates"], 0, until="2026-03-01")}, "endpoint-mandate-ended", "ROUTE_NO_MANDATE", "school"),
        ({"mandates": but(DOCUMENT["mandates"], 0, from_="2026-03-03")}, "endpoint-mandate-not-yet", "ROUTE_NO_MANDATE", "school"),
        ({"mandates": but(DOCUMENT["mandates"], 0, revoked=True)}, "endpoint-mandate-revoked", "ROUTE_NO_MANDATE", "school"),
        ({"systems": but(DOCUMENT["systems"], 0, until="2026-03-01")}, "endpoint-system-not-current", "ROUTE_NO_ENDPOINT", "supplier"),
        ({"organisations": but(DOCUMENT["organisations"], 0, from_="2026-03-03")}, "party-not-yet", "ROUTE_NO_ENDPOINT", "school"),
    ],
)
def test_the_receiver_is_judged_again_at_every_attempt(changes, rule, code, owner):
    decision = judge_receiver(chain(**changes), f"{VO}/vva/1/{LAS}", NOW)
    assert (decision.rule, decision.code, decision.owner) == (rule, code, owner)
    assert decision.outcome == ("yes" if code is None else "wait")
    assert decision.text_nl and decision.text_en


def test_a_delivery_for_a_municipality_that_was_merged_away_has_failed_and_the_school_must_act():
    register = chain(organisations=but(DOCUMENT["organisations"], 2, until="2026-03-01"))
    decision = judge_receiver(register, f"{UTRECHT}/vva/1/{CIVIC}", NOW)
    assert (decision.outcome, decision.code, decision.owner) == ("no", "ROUTE_GEMEENTE_ENDED", "school")


# the cache


def test_the_cache_answers_as_the_judge_does_and_gives_the_same_decision_again():
    cache, register = DecisionCache(), chain()
    asked = {"system": LAS, "sender": VO, "kind": GANGER, "now": NOW}
    assert cache.judge_sender(register, **asked) == judge_sender(register, **asked)
    assert cache.judge_sender(register, **asked) is cache.judge_sender(register, **asked)


def test_the_cache_never_answers_one_question_with_the_answer_to_another():
    cache, register = DecisionCache(), chain()
    later = read_register(document(mandates=[]), version=8)
    for known in (register, later):
        for system in (LAS, OTHER_LAS):
            for sender in (VO, MBO):
                for kind in (GANGER, CENTRAL_KIND):
                    asked = {"system": system, "sender": sender, "kind": kind, "now": NOW}
                    assert cache.judge_sender(known, **asked) == judge_sender(known, **asked)


def test_the_cache_forgets_at_midnight_in_amsterdam_and_with_a_new_register():
    cache, register = DecisionCache(), chain(mandates=but(DOCUMENT["mandates"], 0, until="2026-07-31"))
    before, after = datetime(2026, 7, 31, 21, 59, tzinfo=UTC), datetime(2026, 7, 31, 22, 0, tzinfo=UTC)
    assert cache.judge_sender(register, system=LAS, sender=VO, kind=GANGER, now=before).outcome == "yes"
    assert cache.judge_sender(register, system=LAS, sender=VO, kind=GANGER, now=after).outcome == "no"


def test_the_cache_is_bounded():
    cache, register = DecisionCache(limit=3), chain()
    for number in range(10):
        cache.judge_sender(register, system=LAS, sender=Oin(f"0000000300000000{number:04}"), kind=GANGER, now=NOW)
    assert len(cache) == 3


# the words


def test_every_rule_has_a_known_code_and_both_languages_name_the_same_inputs():
    import string

    def names(text):
        return {name for _, name, _, _ in string.Formatter().parse(text) if name}

    for rule in RULES.values():
        assert (rule.code is None) == (rule.outcome in ("yes", "filtered")), rule.name
        assert rule.code is None or rule.code in CODES, rule.name
        assert names(rule.nl) == names(rule.en), rule.name


def test_a_decision_s_record_is_json_and_masks_a_personal_number_that_got_in():
    decision = decide("gemeente-unknown", 7, {"gemeentecode": "123456782"})
    record = decision.to_json()
    assert decision.to_json() is record
    assert "123456782" not in record
    assert json.loads(record) == {
        "question": "recipients",
        "outcome": "no",
        "rule": "gemeente-unknown",
        "code": "GEMEENTECODE_UNKNOWN",
        "owner": "school",
        "register_version": 7,
        "inputs": {"gemeentecode": "[*********]"},
        "nl": "Gemeentecode [*********] bestaat niet; controleer het adres van de leerling.",
        "en": "Gemeentecode [*********] does not exist; check the pupil's address.",
    }
