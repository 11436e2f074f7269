"""Warnings in the store: kept from look to look, cheaply, from what the store knows of register, traffic, lanes and certificates."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

import run
from adapters.metrics import OfStore
from adapters.store import Store
from routing.outcome import Lane
from routing.register_book import RowChange
from routing.register_rows import key_of
from routing.release import HOLD_AFTER
from routing.warning_board import CertificateUse, SeenCertificate
from routing.warning_rules import OwnCertificate
from routing.warnings import Warning, WarningKind
from schemas.faults import Owner
from schemas.oin import school_oin
from tests.support.register import DOCUMENT, LAS, OTHER_LAS, VO, but, document, message_kind
from tests.support.store import (
    DAY,
    NOW,
    SECOND,
    a_delivery,
    a_message,
    claim,
    hand_in,
    lead,
    outcome,
    release,
    route,
    run_sql,
    settle,
    take,
)
from tests.support.store import store as store
from workers.clock import Clock, micros, moment
from workers.register_cache import RegisterCache
from workers.warnings import Watch

K = WarningKind
PUSH = f"push {LAS} https://las.example/in"
TODAY = moment(NOW).date()


def a_warning(about: str = "t1", kind: WarningKind = K.MANDATE_ENDS, **changes: Any) -> Warning:
    fields: dict[str, Any] = {
        "key": f"{kind} {about}",
        "kind": kind,
        "nl": "nl",
        "en": "en",
        "owner": Owner.SCHOOL,
        "organisation": VO,
        "system": LAS,
        "day": date(2026, 3, 1),
        "within": 60,
    }
    return Warning(**fields | changes)


def keep(store: Store, *found: Warning, now_us: int = NOW, kinds: set[WarningKind] | None = None, **more: Any) -> tuple[int, int]:
    return store.warnings.keep(found, kinds=kinds or {K.MANDATE_ENDS, K.ENDPOINT_ENDS}, now_us=now_us, **more)


# -- keeping


def test_a_warning_stands_from_the_first_look_until_one_that_does_not_see_it(store: Store) -> None:
    assert keep(store, a_warning()) == (1, 0)
    assert keep(store, a_warning(), now_us=NOW + DAY) == (0, 0)
    (kept,) = store.warnings.standing()
    assert (kept.warning, kept.since_us, kept.seen_us, kept.ended_us) == (a_warning(), NOW, NOW + DAY, None)
    assert keep(store, now_us=NOW + 2 * DAY) == (0, 1)
    assert store.warnings.standing() == [] and store.warnings.counts() == {}
    (ended,) = store.warnings.changed(NOW + 2 * DAY)
    assert (ended.ended_us, ended.seen_us, ended.since_us) == (NOW + 2 * DAY, NOW, NOW)
    assert keep(store, a_warning(), now_us=NOW + 3 * DAY) == (1, 0)
    assert [one.since_us for one in store.warnings.standing()] == [NOW + 3 * DAY], "it is back"


def test_alerts_hear_of_what_began_ended_or_came_nearer_and_of_nothing_else(store: Store) -> None:
    keep(store, a_warning("a"), a_warning("b"))
    keep(store, a_warning("a", within=30), a_warning("b", en="3 messages"), now_us=NOW + DAY)
    assert [one.warning.key for one in store.warnings.changed(NOW + 1)] == ["mandate-ends a"]
    assert {one.warning.en for one in store.warnings.standing()} == {"en", "3 messages"}


def test_a_look_at_some_kinds_or_organisations_leaves_the_others_alone(store: Store) -> None:
    keep(store, a_warning("a"), a_warning("b", organisation=LAS), a_warning("c", K.ENDPOINT_ENDS))
    assert keep(store, kinds={K.ENDPOINT_ENDS}) == (0, 1)
    assert keep(store, organisations=[LAS]) == (0, 1)
    assert store.warnings.counts() == {"mandate-ends": 1}


def test_who_asks_for_some_sees_what_is_about_them(store: Store) -> None:
    keep(store, a_warning("a", system=OTHER_LAS, day=None), a_warning("b"), a_warning("c", organisation=None, day=date(2026, 2, 1)))
    found = store.warnings.standing

    def keys(**asked: Any) -> list[str]:
        return [one.warning.key.split()[1] for one in found(**asked)]

    assert keys(parties=[LAS]) == ["c", "b"], "the first to happen first"
    assert set(keys(parties=[VO])) == {"a", "b"}
    assert keys(kinds=[K.ENDPOINT_ENDS]) == [] and len(keys()) == 3


def test_ended_ones_are_forgotten_after_a_while(store: Store) -> None:
    keep(store, a_warning())
    keep(store, now_us=NOW + 1)
    assert store.warnings.forget(NOW) == 0 and store.warnings.forget(NOW + 2) == 1
    assert store.warnings.changed(0) == []


# -- facts


def test_who_handed_in_when_is_learned_in_steps_and_once(store: Store) -> None:
    for number, (organisation, at) in enumerate([(VO, 3), (VO, 5), (VO[:15] + "00530", 4), (LAS, 1)]):
        hand_in(store, a_message(str(number), sender=organisation, system=LAS, dienst="vva", received_us=NOW + at * SECOND))
    facts, later = store.warning_facts, NOW + 2 * DAY
    assert facts.follow_traffic(now_us=NOW + 30 * SECOND, limit=2) == 0, "they may not all be there yet"
    assert [facts.follow_traffic(now_us=later, limit=3) for _ in range(3)] == [3, 1, 0]
    assert {(one.system, one.organisation, one.dienst): one.last_us for one in facts.last_hand_ins()} == {
        (LAS, VO, "vva"): NOW + 5 * SECOND,
        (LAS, LAS, "vva"): NOW + SECOND,
    }


def test_open_mail_is_counted_by_endpoint_and_receiver_from_what_is_open(store: Store) -> None:
    take(store, "1", "2", "3")
    references = [row.reference for row in run_sql(store, "SELECT reference FROM message ORDER BY seq")]
    lead_ = lead(store)
    route(store, references[0])
    claimed = claim(store, release(store, lead_))
    settle(store, *(outcome(one) for one in claimed))
    route(store, references[1], to=[a_delivery(endpoint="e1", receiver=VO)])
    route(store, references[2], to=[a_delivery(endpoint="e2")])
    lane = claimed[0].lane
    assert store.warning_facts.open_at(["e1"], [lane]) == {("e1", claimed[0].receiver): 1, ("e1", VO): 1}
    assert store.warning_facts.open_at(["e1"], [PUSH]) == {} and store.warning_facts.open_at([], []) == {}


def push_once(store: Store, lease: Any, name: str, heard: Lane, at_us: int) -> None:
    reference = take(store, name)[0]
    route(store, reference, to=[a_delivery(endpoint="p", lane=PUSH, receiver_system=LAS)])
    (one,) = claim(store, release(store, lease, now_us=at_us), now_us=at_us)
    state = "acknowledged" if heard is Lane.WORKS else "failed"
    code = None if heard is Lane.WORKS else "ENDPOINT_UNREACHABLE"
    settle(store, outcome(one, state, code=code, heard=heard, at_us=at_us))


def test_an_endpoint_is_unreachable_since_its_first_failure_after_the_last_success(store: Store) -> None:
    lease = lead(store)
    for number in range(HOLD_AFTER):
        push_once(store, lease, f"a{number}", Lane.FAILS, NOW + number * SECOND)
    facts = store.warning_facts
    assert [(one.lane, one.since_us, one.code) for one in facts.unreachable(NOW)] == [(PUSH, NOW, "ENDPOINT_UNREACHABLE")]
    assert facts.unreachable(NOW - 1) == [], "not that long"
    push_once(store, lease, "b", Lane.WORKS, NOW + 100 * SECOND)
    assert facts.unreachable(NOW + DAY) == []
    for number in range(HOLD_AFTER):
        push_once(store, lease, f"c{number}", Lane.FAILS, NOW + (200 + number) * SECOND)
    assert [one.since_us for one in facts.unreachable(NOW + DAY)] == [NOW + 200 * SECOND]


def test_what_an_operator_holds_is_not_unreachable(store: Store) -> None:
    store.outbox.hold(PUSH, who="beheer", now_us=NOW)
    assert store.warning_facts.unreachable(NOW + DAY) == []


# -- the timetable's look


class Still(Clock):
    at_us = NOW

    def now(self) -> datetime:
        return moment(self.at_us)


class Looking:
    """The watch, by a clock of ours."""

    def __init__(self, store: Store) -> None:
        self.store, self.clock = store, Still()
        self.cache = RegisterCache(store.register)
        self.watch = Watch(
            store.warnings,
            store.warning_facts,
            self.cache.newest,
            store.register,
            [message_kind(senders=("vo",))],
            self.clock,
            own=lambda: OwnCertificate(moment(NOW + 20 * DAY), followed=False),
        )

    def load(self, **changes: Any) -> None:
        self.store.registry.save_register(document(**changes), who="test", now_us=NOW)

    def look(self, days: int = 0) -> dict[str, int]:
        self.clock.at_us = NOW + days * DAY
        for job in self.watch.jobs():
            asyncio.run(job.act())
        return self.store.warnings.counts()


@pytest.fixture
def looking(store: Store) -> Looking:
    return Looking(store)


def days(left: int) -> str:
    return (TODAY + timedelta(days=left)).isoformat()


def test_the_look_finds_what_ends_and_lets_go_of_it_when_it_was_mended(looking: Looking) -> None:
    looking.load(mandates=but(DOCUMENT["mandates"], 0, until=days(20)), endpoints=but(DOCUMENT["endpoints"], 0, until=days(20)))
    assert looking.look() == {"mandate-ends": 1, "certificate-ends": 1}
    looking.load()
    assert looking.look() == {"certificate-ends": 1}


def test_a_change_of_one_organisation_ends_no_warning_of_another_and_is_seen_in_the_next_look(looking: Looking) -> None:
    looking.load(mandates=but(DOCUMENT["mandates"], 1, until=days(20)))
    assert looking.look()["mandate-ends"] == 1
    row = next(row for row in looking.store.register.rows("mandates") if row["organisation"] == VO)
    looking.store.register.change(
        [RowChange("mandates", row["token"], {**row, "until": days(5)})], who="test", why="", now_us=NOW, expected=None
    )
    assert looking.look()["mandate-ends"] == 2
    (school,) = looking.store.warnings.standing(parties=[VO], kinds=[K.MANDATE_ENDS])
    assert school.warning.within == 7 and row["token"] in school.warning.key


def test_a_day_later_what_was_far_away_is_near(looking: Looking) -> None:
    looking.load(mandates=but(DOCUMENT["mandates"], 0, until=days(60)), endpoints=but(DOCUMENT["endpoints"], 0, until=days(60)))
    assert looking.look() == {"certificate-ends": 1}
    assert looking.look(1) == {"mandate-ends": 1, "certificate-ends": 1}


def test_certificates_and_endpoints_are_looked_at(looking: Looking) -> None:
    endpoint = {"organisation": VO, "dienst": "vva", "versie": "1", "system": LAS, "url": "https://las.example/in"}
    looking.load(endpoints=[endpoint, *DOCUMENT["endpoints"][1:]])
    seen = SeenCertificate(system=LAS, use=CertificateUse.CLIENT, sha256="ab" * 32, until_us=NOW + 5 * DAY, seen_us=NOW)
    looking.store.registry.saw_certificates([seen])
    lease = lead(looking.store)
    for number in range(HOLD_AFTER):
        push_once(looking.store, lease, f"a{number}", Lane.FAILS, NOW + number * SECOND)
    assert looking.look() == {"certificate-ends": 2}
    assert looking.look(2) == {"certificate-ends": 2, "endpoint-unreachable": 1}


def test_mail_that_is_about_to_change_hands_is_told(looking: Looking) -> None:
    mandates = [*but(DOCUMENT["mandates"], 0, until=days(5)), {"organisation": VO, "dienst": "vva", "system": OTHER_LAS, "from": days(6)}]
    next_one = {"organisation": VO, "dienst": "vva", "versie": "1", "system": OTHER_LAS, "mailbox": True, "from": days(6)}
    looking.load(mandates=mandates, endpoints=[*but(DOCUMENT["endpoints"], 0, until=days(5), id="old"), next_one])
    (reference,) = take(looking.store, "1")
    route(looking.store, reference, to=[a_delivery(receiver=VO, endpoint="old", lane=f"mailbox {LAS}", receiver_system=LAS)])
    assert looking.look()["mail-changes-hands"] == 1
    assert "1 messages vva for Emmaus College" in looking.store.warnings.standing(kinds=[K.MAIL_CHANGES_HANDS])[0].warning.en


def test_a_school_that_is_silent_among_those_that_send_is_found(looking: Looking) -> None:
    oins = [school_oin(f"1{number}AB") for number in range(5)]
    more = [{"oin": oin, "name": f"School {oin}", "kind": "school", "roles": ["vo"]} for oin in oins]
    mandates = [{"organisation": oin, "dienst": "vva", "system": LAS} for oin in oins]
    looking.load(organisations=[*DOCUMENT["organisations"], *more], mandates=[*DOCUMENT["mandates"], *mandates])
    for number, oin in enumerate(oins[:4]):
        hand_in(looking.store, a_message(str(number), sender=oin, system=LAS, dienst="vva"))
    assert looking.look(1)["school-silent"] == 2, "Emmaus College, and the fifth"
    assert {one.warning.organisation for one in looking.store.warnings.standing(kinds=[K.SCHOOL_SILENT])} == {VO, oins[4]}


# -- the command


def test_an_operator_reads_them_of_all_and_of_a_school_and_status_counts_them(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("KOPPELPUNT_STORE", store.database.url.render_as_string(hide_password=False))
    store.registry.save_register(document(), who="test", now_us=NOW)
    day = datetime.now(UTC).date() + timedelta(days=10)
    keep(store, a_warning("t1", day=day), a_warning("t2", organisation=None, system=OTHER_LAS), now_us=micros(datetime.now(UTC)))

    def typed(*words: str) -> tuple[int, str, str]:
        exit = run.main(["register", "warnings", *words, "--home", str(tmp_path)])
        return exit, *capsys.readouterr()

    exit, out, _ = typed("--for", "25BE", "--json")
    (found,) = json.loads(out)
    assert exit == 0 and (found["key"], found["owner"], found["day"]) == ("mandate-ends t1", "school", day.isoformat())
    assert found["days_left"] in (9, 10)
    assert "Warnings: 2" in typed()[1]
    assert "school's turn" in typed("--kind", "mandate-ends")[1]
    assert typed("--for", "99ZZ")[0] == 1 and "no organisation" in typed("--for", "99ZZ")[2]
    assert "there are: certificate-ends" in typed("--kind", "x")[2]


def test_status_and_metrics_count_them_by_kind(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("KOPPELPUNT_STORE", store.database.url.render_as_string(hide_password=False))
    keep(store, a_warning("a"), a_warning("b"), a_warning("c", K.ENDPOINT_ENDS))
    assert run.main(["status", "--json", "--home", str(tmp_path)]) == 1, "no worker runs"
    assert json.loads(capsys.readouterr().out)["warnings"] == {"mandate-ends": 2, "endpoint-ends": 1}
    shown = {family.name: family for family in OfStore(store).collect()}["koppelpunt_warnings"]
    assert {sample.labels["kind"]: sample.value for sample in shown.samples} == {"mandate-ends": 2, "endpoint-ends": 1}


def test_every_mandate_that_is_warned_of_can_be_looked_up_by_its_key(looking: Looking) -> None:
    looking.load(mandates=but(DOCUMENT["mandates"], 0, until=days(20)))
    looking.look()
    (one,) = looking.store.warnings.standing(kinds=[K.MANDATE_ENDS])
    key = one.warning.key.split()[1]
    assert key in {key_of(row) for row in looking.cache.newest().parts.every_mandate()}
