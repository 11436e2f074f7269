"""Ours, another register, or the first that knows: what is decided with each, and what the record of the decision says."""

from __future__ import annotations

import asyncio
import json
from concurrent.futures import Future
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest

from routing.amsterdam import amsterdam_day
from routing.explain import explain_between
from routing.mandate import DecisionCache, judge_receiver, judge_sender, judge_standing
from routing.people import Scope
from routing.ports import Incoming
from routing.register import Endpoint, Mandate, Register
from routing.register_asked import (
    EndpointQuestion,
    MandateQuestion,
    NotAsked,
    Question,
    RegisterAway,
    Said,
    Source,
    asking,
    endpoint_id_of,
    never_waiting,
    patiently,
)
from routing.register_cli import explained
from routing.resolver import Resolution, resolve
from routing.work import Waiting
from schemas.faults import Owner
from schemas.oin import Oin
from tests.support.register import ADDRESSED, DOCUMENT, GANGER, LAS, NOW, OTHER_LAS, SIS, UTRECHT, VO, VO_NORTH, but, chain, noon
from workers.asking import AskingCache
from workers.clock import Clock
from workers.intake import Lines
from workers.proefs import ProefDesk
from workers.waiting import ASKED_AT_ONCE, WaitingRoom

TODAY = amsterdam_day(NOW)
ASKED_AT = datetime(2026, 3, 2, 10, 58, 7, tzinfo=UTC)
ELSEWHERE = Oin("00000003999999990000")
VVA = "urn:x-backbone:vva:1"


class Other:
    """Another register: what it says, and what it was asked."""

    name = "osr.example"

    def __init__(self) -> None:
        self.mandates: set[tuple[str, str]] = set()  #: organisation, system
        self.endpoints: dict[str, list[dict[str, Any]]] = {}  #: by receiver
        self.away = False
        self.asked: list[Question] = []
        self.at_hand: set[Question] | None = None  #: None: everything

    def said(self, question: Question) -> Said:
        """See the port."""
        if self.at_hand is not None and question not in self.at_hand:
            raise NotAsked(question, lambda: self._begin(question))
        self.asked.append(question)
        if self.away:
            raise RegisterAway(self.name, "no whole answer came within 5 s", ASKED_AT)
        if isinstance(question, MandateQuestion):
            there = (question.organisation, question.system) in self.mandates
            found = Mandate(organisation=question.organisation, dienst=question.dienst, system=question.system)
            return Said(found if there else None, (), ASKED_AT)
        rows = self.endpoints.get(question.receiver, [])
        return Said(None, tuple(self._row(row, question) for row in rows), ASKED_AT)

    @staticmethod
    def _row(row: dict[str, Any], question: EndpointQuestion) -> Endpoint:
        row = {"organisation": VO, "dienst": question.dienst, "versie": question.versie, "url": "https://las.example/in"} | row
        return Endpoint(**{"id": endpoint_id_of(question, "t1")} | row)

    def _begin(self, question: Question) -> Future[None]:
        assert self.at_hand is not None
        self.at_hand.add(question)
        done: Future[None] = Future()
        done.set_result(None)
        return done


def with_(other: Other, source: Source, **changes: list[dict[str, Any]]) -> Register:
    return asking(chain(**changes), other, lambda: TODAY, source=source)


def sender(register: Register, *, system: Oin = LAS, at: datetime = NOW) -> Any:
    return judge_sender(register, system=system, sender=VO, kind=GANGER, now=at)


def where(register: Register, receiver: Oin = VO, at: datetime = NOW) -> Resolution:
    return resolve(register, receiver=receiver, dienst="vva", versie="1", now=at)


NOTHING: dict[str, list[dict[str, Any]]] = {"mandates": [], "endpoints": []}

# -- may it be sent -----------------------------------------------------------------------------------------------------------------------


def test_ours_alone_never_asks_another() -> None:
    other = Other()
    assert sender(with_(other, "own", mandates=[])).rule == "mandate-missing"
    assert other.asked == []


def test_the_first_that_knows_is_ours_and_then_the_other() -> None:
    other = Other()
    other.mandates = {(VO, OTHER_LAS)}
    register = with_(other, "first")
    assert (sender(register).rule, other.asked) == ("mandate", [])
    assert "register" not in sender(register).inputs
    decision = sender(register, system=OTHER_LAS)
    assert (decision.outcome, decision.rule) == ("yes", "mandate")
    assert other.asked == [MandateQuestion(VO, "vva", OTHER_LAS, TODAY, (VVA,))]


def test_the_record_says_which_register_answered_and_when_it_was_asked() -> None:
    other = Other()
    other.mandates = {(VO, OTHER_LAS)}
    for system, outcome in ((OTHER_LAS, "yes"), (SIS, "no")):
        record = json.loads(sender(with_(other, "first"), system=system).to_json())
        assert (record["outcome"], record["inputs"]["register"]) == (outcome, "osr.example")
        assert record["inputs"]["asked"] == "2026-03-02T10:58:07Z"


def test_a_revoked_mandate_of_ours_is_not_overruled_and_one_that_is_over_is() -> None:
    other = Other()
    other.mandates = {(VO, LAS)}
    revoked = with_(other, "first", mandates=but(DOCUMENT["mandates"], 0, revoked=True))
    assert (sender(revoked).rule, other.asked) == ("mandate-revoked", [])
    over = with_(other, "first", mandates=but(DOCUMENT["mandates"], 0, until="2026-02-01"))
    assert sender(over).outcome == "yes"
    other.mandates = set()
    assert sender(over).rule == "mandate-ended", "neither has one for today: ours says what there was"


def test_where_the_other_decides_ours_is_not_looked_at() -> None:
    other = Other()
    decision = sender(with_(other, "remote"))
    assert (decision.outcome, decision.rule, len(other.asked)) == ("no", "mandate-missing", 1)


def test_who_may_connect_stays_ours() -> None:
    other = Other()
    other.mandates = {(VO, ELSEWHERE)}
    assert sender(with_(other, "remote"), system=ELSEWHERE).rule == "system-unknown"
    assert other.asked == []


def test_while_the_other_is_away_nobody_is_refused_whom_it_may_know() -> None:
    other = Other()
    other.away = True
    register = with_(other, "first")
    assert sender(register).outcome == "yes", "ours knows this one"
    decision = sender(register, system=OTHER_LAS)
    assert (decision.outcome, decision.code, decision.owner) == ("wait", "ROUTE_REGISTER_AWAY", Owner.US)
    assert "osr.example" in decision.text_nl and "no whole answer" in decision.text_en


def test_what_the_other_said_is_not_remembered_with_our_version() -> None:
    other, cache = Other(), DecisionCache()
    register = with_(other, "first")

    def judged(system: Oin) -> str:
        return cache.judge_sender(register, system=system, sender=VO, kind=GANGER, now=NOW).outcome

    assert judged(OTHER_LAS) == "no"
    other.mandates = {(VO, OTHER_LAS)}  # mended
    assert judged(OTHER_LAS) == "yes"
    assert judged(LAS) == "yes" and len(cache) == 1


def test_what_was_handed_in_on_the_others_word_goes_on_when_that_mandate_ends() -> None:
    register = with_(Other(), "remote")
    decision = judge_standing(register, system=LAS, sender=VO, kind=GANGER, received_at=NOW - timedelta(days=1), now=NOW)
    assert decision.outcome == "yes"


# -- where does it go ---------------------------------------------------------------------------------------------------------------------


def test_where_ours_has_no_endpoint_the_others_is_used_with_its_mandate() -> None:
    other = Other()
    other.mandates = {(VO, OTHER_LAS)}
    other.endpoints = {VO: [{"system": OTHER_LAS}]}
    for source in ("first", "remote"):
        found = where(with_(other, source, **NOTHING))  # type: ignore[arg-type]
        assert found.endpoint is not None and found.endpoint.url == "https://las.example/in"
        assert (found.decision.inputs["register"], found.decision.inputs["system_name"]) == ("osr.example", "Klassenboek")


def test_an_endpoint_of_ours_goes_before_the_others() -> None:
    other = Other()
    other.endpoints = {VO: [{"system": OTHER_LAS}]}
    found = where(with_(other, "first"))
    assert found.endpoint is not None and found.endpoint.url is None and other.asked == []


def test_an_endpoint_without_its_mandate_in_either_waits_for_the_school() -> None:
    other = Other()
    other.endpoints = {VO: [{"system": OTHER_LAS}]}
    found = where(with_(other, "first", **NOTHING))
    assert (found.endpoint, found.decision.code, found.decision.owner) == (None, "ROUTE_NO_MANDATE", Owner.SCHOOL)


def test_an_endpoint_of_ours_may_have_its_mandate_in_the_other_unless_it_is_a_mailbox() -> None:
    other = Other()
    other.mandates = {(VO, LAS)}
    url = but(DOCUMENT["endpoints"], 0, mailbox=None, url="https://las.example/own")
    assert where(with_(other, "first", mandates=[], endpoints=url)).decision.outcome == "yes"
    assert where(with_(other, "first", mandates=[])).decision.code == "ROUTE_NO_MANDATE"


def test_an_endpoint_of_a_system_that_is_not_ours_waits_for_the_operator() -> None:
    other = Other()
    other.endpoints = {VO: [{"system": ELSEWHERE}]}
    decision = where(with_(other, "remote")).decision
    assert (decision.rule, decision.outcome, decision.owner) == ("endpoint-system-unknown", "wait", Owner.US)


def test_where_neither_has_an_endpoint_the_supplier_must_record_one() -> None:
    decision = where(with_(Other(), "first", **NOTHING)).decision
    assert (decision.rule, decision.owner, decision.inputs["register"]) == ("no-endpoint", Owner.SUPPLIER, "osr.example")


def test_a_routeringskenmerk_is_asked_for_as_such() -> None:
    other = Other()
    where(with_(other, "first"), VO_NORTH)
    assert other.asked == [EndpointQuestion(VO_NORTH, "vva", "1", TODAY, VVA)]


def test_another_day_is_asked_about_as_of_that_day() -> None:
    other = Other()
    where(with_(other, "remote"), at=noon("2026-08-01"))
    assert [question.day for question in other.asked] == [date(2026, 8, 1)]


def test_while_the_other_is_away_the_message_waits_and_is_never_unknown() -> None:
    other = Other()
    other.away = True
    decision = where(with_(other, "first", **NOTHING)).decision
    assert (decision.rule, decision.outcome, decision.owner) == ("endpoint-register-away", "wait", Owner.US)
    assert decision.inputs["since"] == "2026-03-02T10:58:07Z"
    assert where(with_(other, "first")).endpoint is not None, "what ours knows goes on"


def test_an_endpoint_of_the_other_is_judged_again_by_its_id_alone() -> None:
    other = Other()
    other.mandates = {(VO, OTHER_LAS)}
    other.endpoints = {VO: [{"system": OTHER_LAS}]}
    register = with_(other, "first", **NOTHING)
    endpoint = where(register).endpoint
    assert endpoint is not None

    def judged() -> str:
        return judge_receiver(register, endpoint.id, NOW, system=OTHER_LAS, receiver=VO).rule

    assert judged() == "endpoint"
    other.away = True
    assert judged() == "endpoint-register-away"
    other.away = False
    other.mandates = set()
    assert judged() == "endpoint-mandate-missing"
    other.endpoints = {}
    assert judged() == "endpoint-gone"


def test_a_municipality_that_delegated_is_asked_for_at_its_region() -> None:
    other = Other()
    delegations = [{"municipality": UTRECHT, "dienst": "vva", "region": VO}]
    where(with_(other, "remote", delegations=delegations), UTRECHT)
    assert [question.receiver for question in other.asked if isinstance(question, EndpointQuestion)] == [VO]


# -- never waiting ------------------------------------------------------------------------------------------------------------------------


def test_what_was_not_asked_is_told_to_whoever_must_not_wait_and_asked_for_a_command() -> None:
    other = Other()
    other.at_hand = set()
    other.mandates = {(VO, OTHER_LAS)}
    register = never_waiting(with_(other, "first"))
    with pytest.raises(NotAsked):
        sender(register, system=OTHER_LAS)
    assert patiently(lambda: sender(register, system=OTHER_LAS)).outcome == "yes"


def test_explain_shows_which_register_said_so() -> None:
    other = Other()
    other.mandates = {(VO, OTHER_LAS)}
    register = with_(other, "first", **NOTHING)
    shown = explained(explain_between(register, [ADDRESSED], VO, VO_NORTH, NOW, system=OTHER_LAS))
    assert sum("@ osr.example, asked 2026-03-02T10:58:07Z" in line for line in shown) == 2


def test_the_register_that_asks_is_the_same_while_ours_is() -> None:
    ours = [chain()]
    cache = AskingCache(lambda: ours[0], Other(), lambda: TODAY, source="first")  # type: ignore[arg-type]
    first = cache()
    assert cache() is first
    ours[0] = replace(ours[0], version=8)
    assert cache().version == 8


# -- hand-ins over AMQP that wait ---------------------------------------------------------------------------------------------------------


def incoming(system: Oin, tag: int, generation: int = 1) -> Incoming:
    return Incoming(
        queue=f"intake.{system}", tag=tag, generation=generation, redelivered=False, exchange="intake", routing_key=system,
        content_type=None, correlation_id=None, headers={}, body=b"",
    )  # fmt: skip


def tags(found: list[Incoming]) -> list[int]:
    return [one.tag for one in found]


def test_a_systems_later_hand_ins_wait_behind_its_earlier_ones_and_others_do_not() -> None:
    lines, good, unknown = Lines(), object(), None
    one, two, three, others = incoming(LAS, 1), incoming(LAS, 2), incoming(LAS, 3), incoming(SIS, 4)
    ready, _, later = lines.part([one, two, others], [unknown, good, good])  # type: ignore[list-item]
    assert (tags(ready), tags(later)) == ([4], [1, 2])
    ready, _, later = lines.part([three], [good])  # type: ignore[list-item]
    assert (tags(ready), tags(later)) == ([], [3])
    ready, _, later = lines.part([one, two], [good, unknown])  # type: ignore[list-item]
    assert (tags(ready), tags(later)) == ([1], [2])
    ready, _, later = lines.part([two, three], [good, good])  # type: ignore[list-item]
    assert (tags(ready), tags(later)) == ([2, 3], [])


def test_after_a_new_connection_nobody_waits_for_what_came_by_the_old_one() -> None:
    lines, good = Lines(), object()
    lines.part([incoming(LAS, 1)], [None])
    ready, _, later = lines.part([incoming(LAS, 1, generation=2)], [good])  # type: ignore[list-item]
    assert (tags(ready), later) == ([1], [])


def test_nobody_waits_for_a_hand_in_that_was_given_back_to_its_queue() -> None:
    now, good = [0.0], object()
    lines = Lines(lambda: now[0])
    lines.part([incoming(LAS, 1)], [None])
    now[0] = 10.0
    assert tags(lines.part([incoming(LAS, 2)], [good])[2]) == [2]  # type: ignore[list-item]
    now[0] = 35.0
    assert tags(lines.part([incoming(LAS, 2)], [good])[0]) == [2]  # type: ignore[list-item]


# -- what waits, looked at again ----------------------------------------------------------------------------------------------------------


def waiting(seq: int, receiver: Oin) -> Waiting:
    return Waiting(
        seq=seq, id=f"d{seq}", target="t", receiver=receiver, endpoint=None, hold_code="ROUTE_NO_ENDPOINT", dienst="vva", versie="1",
        bericht="b", action="a", message_seq=seq, reference="r", deadline_us=0,
    )  # fmt: skip


class Outbox:
    """What waits, and where it went."""

    def __init__(self, rows: list[Waiting]) -> None:
        self.rows, self.changes = rows, list[tuple[Waiting, Any]]()

    def waiting(self, *, after: int, limit: int) -> list[Waiting]:
        return [row for row in self.rows if row.seq > after][:limit]

    def reroute_waiting(self, changes: list[tuple[Waiting, Any]], **_: Any) -> None:
        self.changes += changes
        gone = {row.seq for row, new in changes if new.endpoint}
        self.rows = [row for row in self.rows if row.seq not in gone]

    def circuits(self) -> dict[str, Any]:
        return {}


def test_what_waits_is_asked_about_some_at_a_time_until_all_of_it_was() -> None:
    other = Other()
    other.at_hand = set()
    other.mandates = {(VO, LAS)}
    receivers = [Oin(f"{VO[:15]}{number:05d}") for number in range(1, 21)]
    other.endpoints = {receiver: [{"system": LAS, "routeringskenmerk": receiver}] for receiver in receivers}
    outbox = Outbox([waiting(number, receiver) for number, receiver in enumerate(receivers, 1)])
    register, questions = with_(other, "first", **NOTHING), []

    async def act() -> None:
        room = WaitingRoom(outbox, lambda: register, ClockAt(), actor="timetable")  # type: ignore[arg-type]
        room._seen = (register.version, TODAY)
        for _ in range(9):
            before = len(other.at_hand or ())
            await room.look()
            questions.append(len(other.at_hand or ()) - before)

    asyncio.run(act())
    assert sorted(row.seq for row, new in outbox.changes if new.endpoint) == list(range(1, 21))
    assert 0 < max(questions) <= ASKED_AT_ONCE, "the other register is not flooded"


def test_a_test_message_goes_where_the_other_register_has_it() -> None:
    other = Other()
    other.at_hand, other.mandates, other.endpoints = set(), {(VO, LAS)}, {VO: [{"system": LAS}]}
    book: Any = SimpleNamespace(ask=lambda wanted: wanted)
    desk = ProefDesk(book, lambda: with_(other, "first", **NOTHING), ClockAt())
    assert desk.ask(Scope(everything=True), organisation=VO, who="anna").lane == f"push {LAS} https://las.example/in"


class ClockAt(Clock):
    """Stands still."""

    def now(self) -> datetime:
        return NOW
