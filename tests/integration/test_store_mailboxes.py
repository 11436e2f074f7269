"""A school leaves a system: what stands unconfirmed in its mailbox goes to the successor, or waits; and copies are accounted for."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from adapters.store import Store
from routing.mailbox import LOOK_AGAIN_S, SUCCESSOR_S, InMailbox, TakenBack, Withdrawn
from routing.ports import BrokerUnavailable, Foreign
from routing.work import LeaseLost
from tests.support.register import AMERSFOORT, CIVIC, DOCUMENT, LAS, OTHER_LAS, UTRECHT, VO, but, chain
from tests.support.store import (
    ACTION,
    DAY,
    LANE,
    MAILBOX,
    NOW,
    SECOND,
    YES,
    a_delivery,
    claim,
    confirm,
    deliver,
    kinds,
    lead,
    outcome,
    release,
    route,
    run_sql,
    settle,
    states,
    take,
    waiting_delivery,
)
from workers.clock import Clock
from workers.loop import Worker
from workers.mailboxes import TakingBack, Withdrawal
from workers.places import is_strange, place_of
from workers.register_cache import RegisterCache

NEXT = "00000001900000003000"


def unconfirmed(store: Store, *endpoints: str) -> list[InMailbox]:
    return store.mailboxes.unconfirmed(LANE, endpoints or ("e1",), "delivered", after=0, limit=100)


def to_successor(one: InMailbox, **changes: Any) -> Withdrawn:
    fields: dict[str, Any] = {
        "delivery": one,
        "state": "routed",
        "because": "Het mandaat liep tot en met gisteren.",
        "register_version": 2,
        "endpoint": "e2",
        "lane": f"mailbox {NEXT}",
        "receiver_system": NEXT,
        "decisions": (YES,),
    }
    return Withdrawn(**(fields | changes))


def to_wait(one: InMailbox, **changes: Any) -> Withdrawn:
    nowhere = {"endpoint": None, "lane": None, "receiver_system": None, "hold_code": "ROUTE_NO_MANDATE", "owner": "school"}
    return to_successor(one, **(nowhere | changes))


def withdraw(store: Store, how: Callable[[InMailbox], Withdrawn] = to_successor, *, now_us: int = NOW) -> int:
    lease = store.registry.take_lease("mailboxes", "t", now_us=now_us, until_us=now_us) or lead(store, "mailboxes", now_us=now_us + 2)
    return store.mailboxes.withdraw(lease, LANE, [how(one) for one in unconfirmed(store)], actor="timetable-1", now_us=now_us)


def told(store: Store) -> list[tuple[str, str | None]]:
    return [(t.event.kind, t.event.code) for t in store.journal.untold(now_us=10**17)]


def sought(store: Store) -> list[tuple[str, str, int]]:
    return [tuple(row) for row in run_sql(store, "SELECT system, delivery, looks FROM withdrawal ORDER BY delivery")]


# -- leaving ----------------------------------------------------------------------------------------------------------------------------
def test_an_unconfirmed_delivery_goes_to_the_successor_with_its_id_and_a_new_release(store: Store) -> None:
    lease, references = lead(store), take(store, "1")
    (one,) = route(store, *references)
    (first,) = deliver(store, lease)
    assert withdraw(store) == 1
    assert states(store) == {one.id: "routed"}
    (again,) = deliver(store, lease)
    assert (again.id, again.message_id, again.endpoint, again.receiver_system) == (one.id, first.message_id, "e2", NEXT)
    assert again.release > first.release
    assert kinds(store, references[0]) == ["received", "routed", "delivered", "withdrawn", "resolved", "delivered"]
    assert told(store) == [], "to its sender nothing has changed"


def test_the_old_systems_word_counts_no_more_and_the_successors_does(store: Store) -> None:
    lease, references = lead(store), take(store, "1")
    (one,) = route(store, *references)
    deliver(store, lease)
    withdraw(store)
    assert confirm(store, one.id) == []
    assert confirm(store, one.id, confirmed=False, code="NOT_ENROLLED", owner="school") == []
    assert states(store) == {one.id: "routed"}
    deliver(store, lease)
    confirm(store, one.id)
    assert states(store) == {one.id: "delivered"}
    confirm(store, one.id, system=NEXT)
    assert states(store) == {one.id: "acknowledged"}
    assert kinds(store, references[0]).count("confirmation_refused") == 3


def test_without_a_successor_it_waits_with_an_owner_and_its_sender_is_told(store: Store) -> None:
    lease = lead(store)
    (one,) = route(store, *take(store, "1"))
    deliver(store, lease)
    withdraw(store, to_wait)
    (waiting,) = store.outbox.waiting()
    assert (waiting.id, waiting.hold_code) == (one.id, "ROUTE_NO_MANDATE")
    assert told(store) == [("waiting", "ROUTE_NO_MANDATE")]
    assert release(store, lease) == []
    assert confirm(store, one.id) == []
    assert states(store) == {one.id: "routed"}
    store.outbox.reroute_waiting([(waiting, a_delivery(id=one.id, endpoint="e2", receiver_system=NEXT))], actor="t", now_us=NOW)
    (again,) = deliver(store, lease)
    assert (again.id, again.receiver_system) == (one.id, NEXT)


def test_one_that_waits_fails_at_the_contracts_deadline_and_one_with_a_successor_gets_a_day_at_least(store: Store) -> None:
    lease = lead(store)
    late, moved = route(store, *take(store, "1", "2")), NOW + SUCCESSOR_S * SECOND
    run_sql(store, "UPDATE delivery SET deadline_us = :d", d=NOW + 1)
    deliver(store, lease)
    withdraw(store, lambda one: to_wait(one) if one.id == late[0].id else to_successor(one, deadline_us=moved))
    assert store.outbox.expire(actor="timetable-1", now_us=NOW + 2) == 1
    rows = run_sql(store, "SELECT state, code, owner FROM delivery ORDER BY seq")
    assert [tuple(row) for row in rows] == [("failed", "ROUTE_NO_MANDATE", "school"), ("routed", None, None)]


def test_a_receiver_that_is_gone_for_good_makes_it_fail(store: Store) -> None:
    lease = lead(store)
    (one,) = route(store, *take(store, "1"))
    deliver(store, lease)
    withdraw(store, lambda d: to_wait(d, state="failed", hold_code=None, code="ROUTE_UNKNOWN_PARTY", owner="supplier"))
    assert states(store) == {one.id: "failed"}
    assert told(store) == [("failed", "ROUTE_UNKNOWN_PARTY")]


def test_what_was_confirmed_meanwhile_is_left_alone(store: Store) -> None:
    lease, references = lead(store), take(store, "1")
    (one,) = route(store, *references)
    deliver(store, lease)
    page = unconfirmed(store)
    confirm(store, one.id)
    assert store.mailboxes.withdraw(lead(store, "mailboxes"), LANE, [to_successor(page[0])], actor="t", now_us=NOW) == 0
    assert states(store) == {one.id: "acknowledged"}
    assert (kinds(store, references[0])[-1], sought(store)) == ("acknowledged", [])


def test_a_leader_that_was_replaced_withdraws_nothing(store: Store) -> None:
    lease = lead(store)
    (one,) = route(store, *take(store, "1"))
    deliver(store, lease)
    old = store.registry.take_lease("mailboxes", "old", now_us=NOW, until_us=NOW)
    assert old is not None
    lead(store, "mailboxes", now_us=NOW + 1)
    with pytest.raises(LeaseLost):
        store.mailboxes.withdraw(old, LANE, [to_successor(unconfirmed(store)[0])], actor="t", now_us=NOW)
    assert states(store) == {one.id: "delivered"}


def test_the_order_per_key_and_the_successors_window_hold(store: Store) -> None:
    """The first of a key stood in the old mailbox, the next two wait behind it: the successor gets them one by one."""
    lease = lead(store)
    made = route(store, *take(store, "1", "2", "3", order="k")) + route(store, *take(store, "4", "5"))
    assert [one.id for one in deliver(store, lease)] == [made[0].id, made[3].id, made[4].id]
    assert withdraw(store) == 3
    run_sql(store, "UPDATE delivery SET endpoint = 'e2', lane = :l, receiver_system = :s", l=f"mailbox {NEXT}", s=NEXT)
    first = claim(store, release(store, lease, window=2))
    assert [one.id for one in first] == [made[0].id, made[3].id], "two fit in its window"
    settle(store, *(outcome(one) for one in first))
    assert release(store, lease, window=2) == []
    confirm(store, made[0].id, system=NEXT)
    (second,) = claim(store, release(store, lease, window=2))
    assert second.id == made[1].id, "the next of its key, now that the first is confirmed"


def test_only_what_goes_to_the_endpoints_that_ended_is_read_page_by_page(store: Store) -> None:
    lease = lead(store)
    gone = route(store, *take(store, "1", "2", "3"))
    route(store, *take(store, "4"), to=[a_delivery(endpoint="other school")])
    deliver(store, lease)
    assert {(s.endpoint, s.state, s.count) for s in store.mailboxes.standing(LANE)} == {
        ("e1", "delivered", 3),
        ("other school", "delivered", 1),
    }
    first = store.mailboxes.unconfirmed(LANE, ["e1"], "delivered", after=0, limit=2)
    rest = store.mailboxes.unconfirmed(LANE, ["e1"], "delivered", after=first[-1].seq, limit=2)
    assert [one.id for one in first + rest] == [one.id for one in gone]
    assert store.mailboxes.open_lanes() == [LANE]


def test_a_renamed_row_of_the_register_leaves_it_where_it_stands(store: Store) -> None:
    lease, references = lead(store), take(store, "1")
    (one,) = route(store, *references)
    deliver(store, lease)
    moved = to_successor(unconfirmed(store)[0], lane=LANE, receiver_system=MAILBOX)
    assert store.mailboxes.point(lead(store, "mailboxes"), LANE, [moved], now_us=NOW) == 1
    assert (states(store), sought(store)) == ({one.id: "delivered"}, [])
    confirm(store, one.id)
    assert states(store) == {one.id: "acknowledged"}


def test_what_was_not_fetched_in_time_stays_failed_but_is_the_old_systems_to_confirm_no_more(store: Store) -> None:
    lease, references = lead(store), take(store, "1", "2")
    gone, stays = route(store, references[0])[0], route(store, references[1], to=[a_delivery(endpoint="other school")])[0]
    deliver(store, lease)
    assert store.outbox.unfetched(actor="t", now_us=NOW + DAY, fetch_within_us={ACTION: SECOND}) == 2
    assert store.mailboxes.open_lanes() == [LANE]
    assert {(s.endpoint, s.state, s.count) for s in store.mailboxes.standing(LANE)} == {("e1", "failed", 1), ("other school", "failed", 1)}
    page = store.mailboxes.unconfirmed(LANE, ["e1"], "failed", after=0, limit=10)
    assert store.mailboxes.withdraw(lead(store, "mailboxes"), LANE, [to_wait(page[0])], actor="t", now_us=NOW + DAY) == 1
    assert sought(store) == [(MAILBOX, gone.id, 0)]
    confirm(store, gone.id, stays.id)
    assert states(store) == {gone.id: "failed", stays.id: "acknowledged"}
    assert kinds(store, references[0])[-3:] == ["failed", "withdrawn", "confirmation_refused"]
    assert store.repair.retry(references[0], actor="operator", now_us=NOW + DAY).deliveries == 1
    (again,) = claim(store, store.outbox.unclaimed(now_us=NOW + DAY)[1])
    assert (again.id, again.endpoint, again.receiver_system) == (gone.id, None, None), "judged anew: it goes to the successor"


# -- copies -----------------------------------------------------------------------------------------------------------------------------
def test_a_copy_taken_back_unread_was_seen_by_nobody_and_one_that_had_been_handed_out_may_have_been(store: Store) -> None:
    lease, references = lead(store), take(store, "1", "2", "3")
    unread, given_back, fetched = route(store, *references)
    deliver(store, lease)
    withdraw(store)
    assert store.mailboxes.due(NOW - 1) is None
    assert store.mailboxes.due(NOW) == MAILBOX
    copies = lead(store, "copies")
    taken = [TakenBack(id=unread.id, handed_out=False), TakenBack(id=given_back.id, handed_out=True)]
    store.mailboxes.took_back(copies, MAILBOX, taken, actor="t", now_us=NOW)
    assert sought(store) == [(MAILBOX, fetched.id, 0)]
    assert store.mailboxes.looked_through(copies, MAILBOX, began_us=NOW, actor="t", now_us=NOW) == 1
    ends = [kinds(store, reference)[5:] for reference in references]
    assert ends == [["taken_back"], ["seen", "taken_back"], ["seen"]]
    (seen,) = [event for event in store.journal.of_message(references[2]) if event.kind == "seen"]
    assert (seen.receiver_system, seen.at_us, seen.delivery) == (MAILBOX, NOW, fetched.id)


def test_what_was_not_found_is_looked_for_again_and_journalled_once(store: Store) -> None:
    lease, references = lead(store), take(store, "1")
    (one,) = route(store, *references)
    deliver(store, lease)
    withdraw(store)
    copies, now_us = lead(store, "copies"), NOW
    for after_s in LOOK_AGAIN_S:
        assert store.mailboxes.due(now_us) == MAILBOX
        store.mailboxes.looked_through(copies, MAILBOX, began_us=now_us, actor="t", now_us=now_us)
        assert store.mailboxes.due(now_us) is None
        now_us += after_s * SECOND
    store.mailboxes.looked_through(copies, MAILBOX, began_us=now_us, actor="t", now_us=now_us)
    assert sought(store) == []
    assert kinds(store, references[0]).count("seen") == 1
    assert states(store) == {one.id: "routed"}


def test_a_copy_that_comes_back_from_the_old_systems_hands_is_taken_out_then(store: Store) -> None:
    lease, references = lead(store), take(store, "1")
    (one,) = route(store, *references)
    deliver(store, lease)
    withdraw(store)
    copies = lead(store, "copies")
    store.mailboxes.looked_through(copies, MAILBOX, began_us=NOW, actor="t", now_us=NOW)
    store.mailboxes.took_back(copies, MAILBOX, [TakenBack(id=one.id, handed_out=True)], actor="t", now_us=NOW + DAY)
    assert (kinds(store, references[0])[-2:], sought(store)) == (["seen", "taken_back"], [])


def test_what_was_withdrawn_while_a_mailbox_was_looked_through_is_not_called_seen_by_that_look(store: Store) -> None:
    lease, references = lead(store), take(store, "1")
    (one,) = route(store, *references)
    deliver(store, lease)
    withdraw(store, now_us=NOW + 5)
    assert store.mailboxes.looked_through(lead(store, "copies"), MAILBOX, began_us=NOW, actor="t", now_us=NOW + 9) == 0
    assert sought(store) == [(MAILBOX, one.id, 0)]


def test_a_delivery_that_came_back_to_the_mailbox_is_not_looked_for_any_more(store: Store) -> None:
    lease, references = lead(store), take(store, "1")
    route(store, *references)
    deliver(store, lease)
    withdraw(store)
    run_sql(store, "UPDATE delivery SET receiver_system = :s", s=MAILBOX)
    assert store.mailboxes.looked_through(lead(store, "copies"), MAILBOX, began_us=NOW, actor="t", now_us=NOW) == 0
    assert (sought(store), "seen" in kinds(store, references[0])) == ([], False)


def test_one_that_was_tried_before_and_then_judged_elsewhere_may_have_left_a_copy(store: Store) -> None:
    """As after `retry` of what was not fetched in time; but nobody is said to have seen it on that alone."""
    lease, references = lead(store), take(store, "1")
    (one,) = route(store, *references)
    (claimed,) = claim(store, release(store, lease))
    settle(store, outcome(claimed, "routed", endpoint="e2", lane=f"mailbox {NEXT}", receiver_system=NEXT))
    assert sought(store) == [], "it was never put there"
    (claimed,) = claim(store, release(store, lease))
    settle(store, outcome(claimed, "routed", hold_code="ROUTE_NO_MANDATE", owner="school"))
    assert sought(store) == [(NEXT, one.id, 0)]
    assert store.mailboxes.looked_through(lead(store, "copies"), NEXT, began_us=NOW, actor="t", now_us=NOW) == 0
    assert "seen" not in kinds(store, references[0])


def test_a_mailbox_that_cannot_be_reached_does_not_hold_up_another(store: Store) -> None:
    lease = lead(store)
    route(store, *take(store, "1"))
    deliver(store, lease)
    withdraw(store)
    run_sql(store, f"INSERT INTO withdrawal (system, delivery, at_us, certain, look_at_us) VALUES ('x', 'y', {NOW}, true, {NOW + 1})")
    assert store.mailboxes.due(NOW + 1) == MAILBOX
    store.mailboxes.put_off(MAILBOX, until_us=NOW + DAY)
    assert store.mailboxes.due(NOW + 1) == "x"


def test_copies_are_told_by_where_their_delivery_is_now(store: Store) -> None:
    lease = lead(store)
    stays, waits = route(store, *take(store, "1", "2")), route(store, *take(store, "3"), to=[waiting_delivery()])
    deliver(store, lease)
    found = {copy.id: copy for copy in store.mailboxes.copies([stays[0].id, waits[0].id, "no such delivery"])}
    assert {id: (copy.state, copy.receiver_system) for id, copy in found.items()} == {
        stays[0].id: ("delivered", MAILBOX),
        waits[0].id: ("routed", None),
    }


# -- the look ---------------------------------------------------------------------------------------------------------------------------
class Looking:
    """The worker's look over a real store, with a register that changes."""

    def __init__(self, store: Store) -> None:
        self.store, self.asked = store, 0
        worker = Worker("timetable", store.registry, Clock())
        self.register = RegisterCache(store.register)
        self.withdrawal = Withdrawal(worker, store, self.register, worker.clock)
        self.withdrawal._changed_at = float("-inf")
        standing = store.mailboxes.standing

        def counted(lane: str) -> Any:
            self.asked += 1
            return standing(lane)

        store.mailboxes.standing = counted  # type: ignore[method-assign]

    def load(self, register: Any) -> None:
        self.store.registry.save_register(register.to_document(), who="test", now_us=NOW)
        self.register._looked_at = float("-inf")

    def look(self, *, settled: bool = True) -> None:
        lease = self.withdrawal._leader._lease or lead(self.store, "mailboxes", now_us=int(datetime.now(UTC).timestamp() * 1e6))
        self.withdrawal._leader._lease = lease
        asyncio.run(self.withdrawal._cycle(lease))
        if settled:  # as if that was a while after the change
            self.withdrawal._changed_at = float("-inf")
            asyncio.run(self.withdrawal._cycle(lease))


HERE = f"{VO}/vva/1/{LAS}"


def stand(store: Store, *names: str) -> list[str]:
    to = {"receiver": str(VO), "endpoint": HERE, "lane": f"mailbox {LAS}", "receiver_system": str(LAS)}
    made = [one.id for name in names for one in route(store, *take(store, name, dienst="vva"), to=[a_delivery(**to, deadline_us=10**17)])]
    deliver(store, lead(store))
    return made


def test_a_look_costs_nothing_while_the_register_stays_the_same(store: Store) -> None:
    stand(store, "1", "2")
    looking = Looking(store)
    looking.load(chain())
    looking.look()
    asked = looking.asked
    assert asked > 0, "a leader that has just begun looks once"
    for _ in range(5):
        looking.look()
    assert looking.asked == asked
    looking.load(chain(systems=but(DOCUMENT["systems"], 1, name="Klassenboek 2")))
    looking.look()
    assert looking.asked > asked


def test_a_new_register_moves_what_stands_in_the_mailbox_to_the_successor(store: Store) -> None:
    made = stand(store, "1", "2", "3")
    looking = Looking(store)
    looking.load(chain())
    looking.look()
    assert set(states(store).values()) == {"delivered"}
    following = {"organisation": VO, "dienst": "vva", "system": OTHER_LAS}
    looking.load(chain(mandates=[following], endpoints=[following | {"versie": "1", "mailbox": True}]))
    looking.look()
    rows = run_sql(store, "SELECT id, state, lane, receiver_system FROM delivery ORDER BY seq")
    assert [tuple(row) for row in rows] == [(id, "routed", f"mailbox {OTHER_LAS}", OTHER_LAS) for id in made]
    (decisions,) = {
        tuple(d.get("rule") for d in store.journal.decisions_of(r.reference))[-2:] for r in run_sql(store, "SELECT reference FROM message")
    }
    assert decisions == ("endpoint-gone", "endpoint")


def test_what_stands_in_a_municipality_s_mailbox_goes_to_the_region_when_it_delegates_and_nothing_else_does(store: Store) -> None:
    region = {"organisation": AMERSFOORT, "dienst": "vva", "system": LAS}
    lists = {
        "mandates": [*DOCUMENT["mandates"], region],
        "endpoints": [*DOCUMENT["endpoints"], region | {"versie": "1", "mailbox": True}],
    }
    there, here = f"{AMERSFOORT}/vva/1/{LAS}", f"{UTRECHT}/vva/1/{CIVIC}"
    places = ((VO, HERE, LAS), (UTRECHT, here, CIVIC), (AMERSFOORT, there, LAS))
    school, mine, theirs = (
        route(
            store,
            *take(store, receiver, dienst="vva"),
            to=[a_delivery(receiver=receiver, endpoint=endpoint, lane=f"mailbox {oin}", receiver_system=oin, deadline_us=10**17)],
        )[0].id
        for receiver, endpoint, oin in places
    )
    deliver(store, lead(store))
    looking = Looking(store)
    looking.load(chain(**lists))
    looking.look()
    assert set(states(store).values()) == {"delivered"}
    looking.load(chain(**lists, delegations=[{"municipality": UTRECHT, "dienst": "vva", "region": AMERSFOORT}]))
    looking.look()
    assert states(store) == {school: "delivered", mine: "routed", theirs: "delivered"}
    (moved,) = run_sql(store, "SELECT endpoint, receiver, receiver_system FROM delivery WHERE state = 'routed'")
    assert tuple(moved) == (there, UTRECHT, LAS)


def test_what_a_worker_delivers_by_the_old_register_just_after_the_change_is_found_too(store: Store) -> None:
    looking = Looking(store)
    looking.load(chain())
    to = {"receiver": str(VO), "endpoint": HERE, "lane": f"mailbox {LAS}", "receiver_system": str(LAS)}
    (one,) = route(store, *take(store, "1", dienst="vva"), to=[a_delivery(**to, deadline_us=10**17)])
    (claimed,) = claim(store, release(store, lead(store)))
    looking.load(chain(mandates=[], endpoints=[]))
    looking.look()
    assert states(store) == {one.id: "released"}
    settle(store, outcome(claimed))
    looking.look(settled=False)
    assert states(store) == {one.id: "routed"}
    (waiting,) = store.outbox.waiting()
    assert (waiting.id, waiting.hold_code) == (one.id, "ROUTE_NO_ENDPOINT")


def test_a_deliver_worker_that_has_not_seen_the_new_register_yet_does_not_send_it_back(store: Store) -> None:
    """It looks once more before it judges: whoever pointed the delivery to a place it does not know may have known more."""
    looking = Looking(store)
    looking.load(chain())
    assert looking.register().version == 1
    following = {"organisation": VO, "dienst": "vva", "system": OTHER_LAS}
    newer = chain(mandates=[following], endpoints=[following | {"versie": "1", "mailbox": True}])
    store.registry.save_register(newer.to_document(), who="test", now_us=NOW)
    assert looking.register().version == 1, "it may be a second behind"
    assert looking.register.newest().version == 2
    to = {"receiver": str(VO), "endpoint": f"{VO}/vva/1/{OTHER_LAS}", "lane": f"mailbox {OTHER_LAS}", "receiver_system": str(OTHER_LAS)}
    route(store, *take(store, "1", dienst="vva"), to=[a_delivery(**to, deadline_us=10**17)])
    claimed = claim(store, release(store, lead(store)))
    now = datetime.now(UTC)
    place = place_of(claimed[0])
    assert place == (to["endpoint"], OTHER_LAS, to["lane"], to["receiver"])
    assert is_strange(place, chain(), now)
    assert not is_strange(place, looking.register(), now)


# -- looking through a mailbox ----------------------------------------------------------------------------------------------------------
class Room:
    """A mailroom that finds these copies, and then loses the broker when told to."""

    def __init__(self, *found: str, breaks: bool = False) -> None:
        self.found, self.breaks, self.strange = found, breaks, set[str]()

    async def sift(self, system: str, foreign: Foreign) -> AsyncGenerator[list[TakenBack], None]:
        self.strange = await foreign(self.found)
        yield [TakenBack(id=id, handed_out=False) for id in self.found if id in self.strange]
        if self.breaks:
            raise BrokerUnavailable("The broker went away.")


def look_through(store: Store, room: Room) -> None:
    clock = Clock()
    worker = Worker("timetable", store.registry, clock)
    taking = TakingBack(worker, store, RegisterCache(store.register), room, clock)
    taking._leader._lease = lease = lead(store, "copies", now_us=clock.now_us())
    asyncio.run(taking._cycle(lease))


def test_copies_of_what_was_withdrawn_are_taken_and_what_was_not_there_had_been_fetched(store: Store) -> None:
    lease, references = lead(store), take(store, "1", "2", "3")
    unread, fetched = route(store, *references[:2])
    (other,) = route(store, references[2], to=[a_delivery(endpoint="other school")])
    deliver(store, lease)
    withdraw(store)
    look_through(store, room := Room(unread.id, other.id, "no such delivery"))
    assert room.strange == {unread.id}
    assert [kinds(store, reference)[5:] for reference in references[:2]] == [["taken_back"], ["seen"]]
    assert kinds(store, references[2])[-1] == "delivered"
    assert sought(store) == [(MAILBOX, fetched.id, 1)]


def test_a_mailbox_that_was_only_looked_through_in_part_says_nothing_of_what_was_not_found(store: Store) -> None:
    lease, references = lead(store), take(store, "1", "2")
    unread, _ = route(store, *references)
    deliver(store, lease)
    withdraw(store)
    look_through(store, Room(unread.id, breaks=True))
    assert [kinds(store, reference)[5:] for reference in references] == [["taken_back"], []]
    now_us = Clock().now_us()
    assert store.mailboxes.due(now_us) is None, "the next mailbox has its turn first"
    assert store.mailboxes.due(now_us + 11 * SECOND) == MAILBOX
