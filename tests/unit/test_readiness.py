"""Is a system ready for its schools? Certificate, mandate and endpoint, on any day, and nothing about anybody else."""

from __future__ import annotations

import json
from datetime import date
from typing import Any

import pytest

from routing.readiness import Readiness, readiness, to_dict
from routing.register import Register
from schemas.oin import Oin, school_oin
from tests.support.register import CENTRAAL, DOCUMENT, LAS, MBO, OTHER_LAS, SIS, VO, VO_NORTH, but, chain

DAY = date(2026, 3, 2)


def asked(
    register: Register | None = None, system: Oin = LAS, *, schools: list[Oin] | None = None, day: date = DAY, **rest: Any
) -> Readiness:
    return readiness(register or chain(), system=system, dienst="vva", versie="1", day=day, schools=schools, **rest)


def rules(found: Readiness) -> tuple[str, str, str, str]:
    (school,) = found.schools
    return found.certificate.rule, found.version.rule, school.mandate.rule, school.endpoint.rule


def able(found: Readiness) -> tuple[bool, bool]:
    (school,) = found.schools
    return found.sends(school), found.receives(school)


def test_where_everything_is_right_a_system_sends_and_receives() -> None:
    found = asked()
    assert [school.organisation for school in found.schools] == [VO]
    assert rules(found) == ("connection", "dienst-current", "mandate", "endpoint-there")
    assert able(found) == (True, True)
    assert found.schools[0].endpoint.text_en == "Leerlingwijzer has an endpoint of Emmaus College for vva version 1: mailbox."


RIGHT = ("connection", "dienst-current", "mandate", "endpoint-there")


@pytest.mark.parametrize(
    ("rows", "change", "wrong", "expected_able"),
    [
        ("systems", {"until": "2026-03-01"}, "system-ended", (False, False)),
        ("systems", {"from_": "2026-03-03"}, "system-not-yet", (False, False)),
        ("diensten", {"until": "2026-03-01"}, "dienst-ended", (False, False)),
        ("diensten", {"from_": "2026-03-03"}, "dienst-not-yet", (False, False)),
        ("mandates", {"until": "2026-03-01"}, "mandate-ended", (False, False)),
        ("mandates", {"from_": "2026-03-03"}, "mandate-not-yet", (False, False)),
        ("mandates", {"revoked": True}, "mandate-revoked", (False, False)),
        ("organisations", {"until": "2026-03-01"}, "sender-ended", (False, False)),
        ("endpoints", {"until": "2026-03-01"}, "endpoint-ended", (True, False)),
        ("endpoints", {"from_": "2026-03-03"}, "endpoint-not-yet", (True, False)),
        ("endpoints", {"versie": "2"}, "no-endpoint", (True, False)),
    ],
)
def test_each_thing_that_is_wrong_is_named_by_itself(rows: str, change: Any, wrong: str, expected_able: tuple[bool, bool]) -> None:
    diensten = [*DOCUMENT["diensten"], {"dienst": "vva", "versie": "2", "namespace": "urn:x-backbone:vva:2"}]
    found = asked(chain(**({"diensten": diensten} | {rows: but(DOCUMENT[rows] if rows != "diensten" else diensten, 0, **change)})))
    assert set(rules(found)) - set(RIGHT) == {wrong}
    assert len(set(rules(found)) & set(RIGHT)) == 3
    assert able(found) == expected_able
    for school in to_dict(found)["schools"]:
        for check in (school["certificate"], school["mandate"], school["endpoint"]):
            assert check["ok"] or all(check[name] for name in ("code", "owner", "nl", "en", "remedy", "remedy_en"))


def test_what_will_be_right_on_a_day_to_come_can_be_asked_now() -> None:
    switched = chain(
        mandates=[
            {"organisation": VO, "dienst": "vva", "system": LAS, "until": "2026-07-31"},
            {"organisation": VO, "dienst": "vva", "system": OTHER_LAS, "from": "2026-08-01"},
        ]
    )
    first = date(2026, 8, 1)
    assert (able(asked(switched)), able(asked(switched, day=first))) == ((True, True), (False, False))
    (school,) = asked(switched, OTHER_LAS, day=first).schools
    assert (school.mandate.rule, school.endpoint.rule) == ("mandate", "no-endpoint")


def test_a_certificate_that_will_have_expired_by_then_is_not_right() -> None:
    assert able(asked(certificate_until=DAY)) == (True, True)
    found = asked(certificate_until=date(2026, 3, 1))
    assert (found.certificate.rule, found.certificate.code, found.certificate.owner) == ("certificate-ended", "Client.EK0030", "supplier")
    assert able(found) == (False, False)


def test_nothing_is_said_of_what_another_system_may_do() -> None:
    found = asked(schools=[MBO])
    assert rules(found)[2:] == ("mandate-missing", "no-endpoint")
    said = json.dumps(to_dict(found))
    assert SIS not in said
    assert "Studiekern" not in said
    assert asked(schools=[CENTRAAL]).schools[0].endpoint.rule == "no-endpoint"


def test_schools_are_answered_in_the_order_asked_once_each_and_an_administration_as_its_school() -> None:
    unknown = school_oin("99ZZ")
    found = asked(schools=[unknown, VO_NORTH, VO])
    assert [school.organisation for school in found.schools] == [unknown, VO]
    assert found.schools[0].mandate.rule == "sender-unknown"
    assert found.schools[0].name is None


def test_every_school_that_ever_gave_a_mandate_is_in_the_list_and_a_party_that_is_its_own_system() -> None:
    mandates = [*DOCUMENT["mandates"], {"organisation": MBO, "dienst": "vva", "system": LAS, "until": "2020-01-01"}]
    assert [school.organisation for school in asked(chain(mandates=mandates)).schools] == sorted([VO, MBO])
    found = asked(system=CENTRAAL)
    assert rules(found) == ("connection", "dienst-current", "own-certificate", "endpoint-there")


def test_an_unknown_system_and_an_unknown_dienst_are_answered_too() -> None:
    found = readiness(chain(), system=Oin("00000003000000990000"), dienst="oso", versie="9", day=DAY, schools=[VO])
    assert rules(found) == ("system-unknown", "dienst-unknown", "system-unknown", "no-endpoint")
    json.dumps(to_dict(found))
