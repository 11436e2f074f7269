"""What is warned of, whose turn it is, and how long before."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from typing import Any

import pytest

from routing import warning_rules as rules
from routing.amsterdam import amsterdam_day
from routing.register import Register
from routing.warning_board import CertificateUse, LastHandIn, SeenCertificate, SilentLane
from routing.warnings import Warning, WarningKind
from schemas.faults import Owner
from schemas.oin import Oin, school_oin
from tests.support.register import AMERSFOORT, CENTRAAL, CIVIC, DOCUMENT, LAS, NOW, OTHER_LAS, UTRECHT, VO, but, chain

TODAY = amsterdam_day(NOW)
K = WarningKind


def on(days: int) -> str:
    return (TODAY + timedelta(days=days)).isoformat()


def of(register: Register) -> list[Warning]:
    return rules.of_register(register, register.parts.every_mandate(), register.parts.every_endpoint(), TODAY)


def brief(found: list[Warning]) -> list[tuple[Any, ...]]:
    return [(one.kind, one.organisation, one.system, one.owner, one.within) for one in found]


def us(moment: datetime) -> int:
    return int(moment.timestamp() * 1e6)


# -- the register


@pytest.mark.parametrize(("left", "within"), [(6, 7), (29, 30), (59, 60)])
def test_a_mandate_that_ends_without_a_successor_is_the_schools_turn_and_its_endpoint_is_not_named_besides(left: int, within: int) -> None:
    register = chain(mandates=but(DOCUMENT["mandates"], 0, until=on(left)), endpoints=but(DOCUMENT["endpoints"], 0, until=on(left)))
    (warning,) = of(register)
    assert brief([warning]) == [(K.MANDATE_ENDS, VO, LAS, Owner.SCHOOL, within)]
    assert warning.days_left(TODAY) == left and warning.day == TODAY + timedelta(days=left)
    assert "Emmaus College" in warning.nl and f"{TODAY + timedelta(days=left):%d-%m-%Y}" in warning.nl


def test_a_mandate_with_a_successor_and_one_that_ends_later_are_no_warning() -> None:
    mandates = but(DOCUMENT["mandates"], 0, until=on(20))
    next_one = {"organisation": VO, "dienst": "vva", "system": LAS, "from": on(21)}
    endpoints = but(DOCUMENT["endpoints"], 0, until=on(61))
    assert of(chain(mandates=[*mandates, next_one], endpoints=endpoints)) == []


def test_an_endpoint_that_ends_while_its_mandate_goes_on_is_its_suppliers_turn() -> None:
    assert brief(of(chain(endpoints=but(DOCUMENT["endpoints"], 0, until=on(5))))) == [(K.ENDPOINT_ENDS, VO, LAS, Owner.SUPPLIER, 7)]


def test_after_a_switch_without_an_endpoint_it_is_the_new_suppliers_turn() -> None:
    mandates = [*but(DOCUMENT["mandates"], 0, until=on(5)), {"organisation": VO, "dienst": "vva", "system": OTHER_LAS, "from": on(6)}]
    found = of(chain(mandates=mandates, endpoints=but(DOCUMENT["endpoints"], 0, until=on(5))))
    assert brief(found) == [
        (K.ENDPOINT_ENDS, VO, OTHER_LAS, Owner.SUPPLIER, 7),
        (K.MANDATE_BEGINS, VO, OTHER_LAS, Owner.SUPPLIER, None),
    ]
    assert "no endpoint yet" in found[1].en and "no endpoint yet" in found[0].en


def test_what_begins_within_sixty_days_is_told_and_what_merely_goes_on_is_not() -> None:
    mandates = [*but(DOCUMENT["mandates"], 0, until=on(5)), {"organisation": VO, "dienst": "vva", "system": OTHER_LAS, "from": on(6)}]
    there = {"organisation": VO, "dienst": "vva", "versie": "1", "system": OTHER_LAS, "from": on(6), "mailbox": True}
    found = of(chain(mandates=mandates, endpoints=[*but(DOCUMENT["endpoints"], 0, until=on(5)), there]))
    assert [one.kind for one in found] == [K.MANDATE_BEGINS, K.ENDPOINT_BEGINS]
    assert "no endpoint" not in found[0].en
    same = {**there, "system": LAS}
    mandates[-1] = {**mandates[-1], "system": LAS}
    assert of(chain(mandates=mandates, endpoints=[*but(DOCUMENT["endpoints"], 0, until=on(5)), same])) == []


def test_a_warning_has_the_same_key_from_look_to_look() -> None:
    register = chain(mandates=but(DOCUMENT["mandates"], 0, until=on(20), token="t1"))
    later = rules.of_register(register, register.parts.every_mandate(), (), TODAY + timedelta(days=15))
    (now,) = of(chain(mandates=but(DOCUMENT["mandates"], 0, until=on(20), token="t1")))
    assert [(one.key, one.within) for one in later] == [(now.key, 7)] and now.within == 30


# -- mail that changes hands


def moves(register: Register, open_: dict[tuple[str, str], int]) -> list[Warning]:
    some = rules.concerned(register, register.parts.every_endpoint(), TODAY)
    days = rules.turning_days([*register.parts.every_mandate(), *register.parts.every_endpoint()], register, TODAY)
    return rules.mail_that_moves(register, some, days, open_)


def test_open_mail_of_a_school_that_changes_its_system_this_week_is_told_to_the_old_one() -> None:
    mandates = [*but(DOCUMENT["mandates"], 0, until=on(5)), {"organisation": VO, "dienst": "vva", "system": OTHER_LAS, "from": on(6)}]
    there = {"organisation": VO, "dienst": "vva", "versie": "1", "system": OTHER_LAS, "from": on(6), "mailbox": True}
    register = chain(mandates=mandates, endpoints=[*but(DOCUMENT["endpoints"], 0, until=on(5), id="old"), there])
    (warning,) = moves(register, {("old", VO): 12})
    assert (warning.system, warning.organisation, warning.owner, warning.day) == (LAS, VO, Owner.SUPPLIER, TODAY + timedelta(days=6))
    assert warning.en.startswith("12 messages") and "Klassenboek" in warning.en
    assert moves(register, {}) == []


def test_open_mail_that_nobody_will_receive_says_why_and_whose_turn_it_is() -> None:
    register = chain(mandates=but(DOCUMENT["mandates"], 0, until=on(3)), endpoints=but(DOCUMENT["endpoints"], 0, until=on(3), id="old"))
    (warning,) = moves(register, {("old", VO): 1})
    assert warning.owner is Owner.SCHOOL and "wait" in warning.en and warning.day == TODAY + timedelta(days=4)


def test_open_mail_of_a_municipality_that_delegates_this_week_is_told() -> None:
    mandates = [*DOCUMENT["mandates"], {"organisation": AMERSFOORT, "dienst": "vva", "system": LAS}]
    region = {"organisation": AMERSFOORT, "dienst": "vva", "versie": "1", "system": LAS, "mailbox": True}
    given = {"municipality": UTRECHT, "dienst": "vva", "region": AMERSFOORT, "from": on(2)}
    register = chain(mandates=mandates, endpoints=[*but(DOCUMENT["endpoints"], 1, id="utrecht"), region], delegations=[given])
    (warning,) = moves(register, {("utrecht", UTRECHT): 3, ("elsewhere", VO): 4})
    assert (warning.organisation, warning.system, warning.day) == (UTRECHT, CIVIC, TODAY + timedelta(days=2))


# -- certificates


def seen(
    days: float, *, system: str = LAS, use: CertificateUse = CertificateUse.SIGNING, sha: str = "ab", place: str = ""
) -> SeenCertificate:
    return SeenCertificate(system=system, use=use, place=place, sha256=sha * 32, until_us=us(NOW + timedelta(days=days)), seen_us=0)


def certificates(*rows: SeenCertificate, own: rules.OwnCertificate | None = None) -> list[Warning]:
    return rules.of_certificates(chain(), rows, own, TODAY)


def test_a_certificate_that_ends_is_told_once_with_all_its_uses() -> None:
    (warning,) = certificates(seen(20), seen(20, use=CertificateUse.CLIENT), seen(20, use=CertificateUse.SERVER, place="a.example:443"))
    assert (warning.kind, warning.system, warning.owner, warning.within) == (K.CERTIFICATE_ENDS, LAS, Owner.SUPPLIER, 30)
    assert "client" in warning.en and "server a.example:443" in warning.en and "Leerlingwijzer" in warning.en


def test_a_certificate_that_was_replaced_or_is_of_nobody_who_connects_is_no_warning() -> None:
    assert certificates(seen(20), seen(700, sha="cd"), seen(20, system="00000003999999990000")) == []
    assert certificates(seen(-31)) == [], "it left"
    assert [one.days_left(TODAY) for one in certificates(seen(-3))] == [-3], "it may be about to stop"


@pytest.mark.parametrize(("days", "followed", "told"), [(50, False, True), (50, True, False), (5, True, True), (70, False, False)])
def test_ours_is_our_turn_unless_the_next_one_is_published_and_there_is_time(days: int, followed: bool, told: bool) -> None:
    found = certificates(own=rules.OwnCertificate(NOW + timedelta(days=days), followed))
    assert [(one.owner, one.system, one.organisation) for one in found] == ([(Owner.US, None, None)] if told else [])


# -- endpoints and traffic


def test_an_endpoint_that_could_not_be_reached_is_told_with_what_waits_and_one_that_left_is_not() -> None:
    lane = f"push {CENTRAAL} https://portaal.example/vva"
    silent = [SilentLane(lane=lane, since_us=us(NOW - timedelta(days=2)), code="ENDPOINT_UNREACHABLE", waiting=7)]
    (warning,) = rules.of_lanes(chain(), [*silent, SilentLane(lane=f"{lane}/old", since_us=0, code=None, waiting=1)])
    assert (warning.system, warning.owner, warning.day) == (CENTRAAL, Owner.RECEIVER, TODAY - timedelta(days=2))
    assert "portaal.example" in warning.en and "7 messages" in warning.en


SCHOOLS = [school_oin(f"1{number}AB") for number in range(6)]


def schools(**changes: Any) -> Register:
    organisations = [
        {"oin": oin, "name": f"School {oin[11:15]}", "kind": "school", "roles": ["vo"], "from": "2020-01-01"} for oin in SCHOOLS
    ]
    mandates = [{"organisation": oin, "dienst": "vva", "system": LAS, "from": "2026-01-01"} for oin in SCHOOLS]
    return chain(organisations=[*DOCUMENT["organisations"], *organisations], mandates=changes.get("mandates", mandates))


def silent(register: Register, days_ago: dict[Oin, int], roles: tuple[str, ...] = ("vo",)) -> list[Warning]:
    last = [
        LastHandIn(system=LAS, organisation=oin, dienst="vva", last_us=us(NOW - timedelta(days=days))) for oin, days in days_ago.items()
    ]
    found: list[Warning] = []
    for (system, dienst), rows in rules.recent_senders(last, NOW).items():
        found += rules.silent_schools(register, Oin(system), dienst, register.parts.every_mandate(), rows, roles, NOW)
    return found


def test_a_school_that_sends_nothing_while_most_of_its_like_do_is_told_to_its_supplier() -> None:
    found = silent(schools(), dict.fromkeys(SCHOOLS[:4], 1) | {SCHOOLS[4]: 20})
    assert {(one.organisation, one.day) for one in found} == {(SCHOOLS[4], TODAY - timedelta(days=20)), (SCHOOLS[5], None)}
    assert all((one.kind, one.system, one.owner) == (K.SCHOOL_SILENT, LAS, Owner.SUPPLIER) for one in found)
    assert "4 of 6" in found[0].en


def test_in_the_holidays_nobody_is_silent_and_two_senders_are_no_comparison() -> None:
    assert silent(schools(), dict.fromkeys(SCHOOLS, 10)) == []
    assert silent(schools(), dict.fromkeys(SCHOOLS[:2], 1)) == []


def test_a_school_that_may_not_send_or_has_just_come_is_not_silent() -> None:
    active = dict.fromkeys(SCHOOLS[:5], 1)
    assert silent(schools(), active, roles=("mbo",)) == []
    new = [{"organisation": oin, "dienst": "vva", "system": LAS, "from": "2026-01-01"} for oin in SCHOOLS[:5]]
    new.append({"organisation": SCHOOLS[5], "dienst": "vva", "system": LAS, "from": on(-3)})
    assert silent(schools(mandates=new), active) == []


def test_no_day_means_no_days_left() -> None:
    (warning,) = silent(schools(), dict.fromkeys(SCHOOLS[:5], 1))
    assert warning.day is None and warning.days_left(date(2026, 3, 2)) is None
