"""What may leave now: order keys, windows, claims and leadership (rule 7; design section 3, order and claims)."""

from __future__ import annotations

import multiprocessing
from pathlib import Path
from typing import Any

import pytest

from adapters.store import LifecycleError, Store, open_store
from adapters.store.release import LOOK_AGAIN_US
from routing.work import LeaseLost, RoutedMessage, Ticket
from schemas.lifecycle import DELIVERY_BORN, DELIVERY_MOVES, MESSAGE_MOVES, DeliveryState, MessageState
from tests.support.store import (
    LANE,
    MAILBOX,
    NOW,
    RECEIVER,
    SECOND,
    VAULT,
    a_delivery,
    a_message,
    claim,
    confirm,
    deliver,
    fresh_url,
    hand_in,
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


# -- lifecycle --------------------------------------------------------------------------------------------------------------------------
def _force(store: Store, table: str, state: str) -> None:
    """Puts the one row in a state, whatever the lifecycle says: what an attacker or a future bug would do, so that moves can be tried."""
    if store.database.is_sqlite:
        trigger = run_sql(store, "SELECT sql FROM sqlite_master WHERE name = :n", n=f"{table}_moves")[0].sql
        run_sql(store, f"DROP TRIGGER {table}_moves")
        run_sql(store, f"UPDATE {table} SET state = :s", s=state)
        run_sql(store, trigger)
    else:
        run_sql(store, f"ALTER TABLE {table} DISABLE TRIGGER USER")
        run_sql(store, f"UPDATE {table} SET state = :s", s=state)
        run_sql(store, f"ALTER TABLE {table} ENABLE TRIGGER USER")


@pytest.mark.parametrize(("table", "moves"), [("message", MESSAGE_MOVES), ("delivery", DELIVERY_MOVES)])
def test_the_database_itself_refuses_every_move_that_is_not_in_the_table(store: Store, table: str, moves: dict[Any, Any]) -> None:
    route(store, *take(store, "1"))
    for before in moves:
        for after in [*moves, "invented"]:
            _force(store, table, str(before))
            if before == after or after in moves[before]:
                run_sql(store, f"UPDATE {table} SET state = :s", s=str(after))
            else:
                with pytest.raises(LifecycleError):
                    run_sql(store, f"UPDATE {table} SET state = :s", s=str(after))
            assert run_sql(store, f"SELECT state FROM {table}")[0].state == (after if after in moves[before] else before)


def test_nothing_is_born_in_another_state_than_its_first(store: Store) -> None:
    take(store, "1")
    for state in MessageState:
        insert = (
            "INSERT INTO message (seq, reference, state, sender, system, receiver, message_id, address, action, dienst, versie, bericht, "
            "digest, received_us, created_us, stale, via, size, register_version) SELECT seq + :n, reference || :s, :s, sender, system, "
            "receiver, message_id, address, action, dienst, versie, bericht, digest, received_us, created_us, stale, via, size, "
            "register_version FROM message WHERE seq = 1"
        )
        values = {"n": 100 + list(MessageState).index(state), "s": str(state)}
        if state == MessageState.RECEIVED:
            run_sql(store, insert, **values)
        else:
            with pytest.raises(LifecycleError):
                run_sql(store, insert, **values)
    for number, born in enumerate(DeliveryState):
        insert = (
            "INSERT INTO delivery (seq, id, message_seq, target, state, receiver, deadline_us, at_us) "
            "VALUES (:n, :s, 1, 't', :s, 'r', 1, 1)"
        )
        if born in DELIVERY_BORN:
            run_sql(store, insert, n=100 + number, s=str(born))
        else:
            with pytest.raises(LifecycleError):
                run_sql(store, insert, n=100 + number, s=str(born))


# -- messages to route ------------------------------------------------------------------------------------------------------------------
def test_messages_are_handed_to_route_once_in_order_and_no_more_than_the_window(store: Store) -> None:
    lease, references = lead(store), take(store, *"12345")
    first = store.outbox.release_messages(lease, window=3, limit=2)
    second = store.outbox.release_messages(lease, window=3, limit=2)
    assert [t.seq for t in first + second] == [1, 2, 3]
    assert store.outbox.release_messages(lease, window=3, limit=2) == []
    route(store, references[0])
    assert [t.seq for t in store.outbox.release_messages(lease, window=3, limit=2)] == [4]
    assert [t.seq for t in store.outbox.unclaimed(now_us=NOW)[0]] == [2, 3, 4]


def test_a_message_is_routed_once_however_many_workers_hold_its_ticket(store: Store) -> None:
    (reference,) = take(store, "1")
    (message,) = store.outbox.routable([Ticket(1, 1)])
    routed = [RoutedMessage(message=message, deliveries=(a_delivery(),), register_version=1) for _ in range(2)]
    assert [store.outbox.commit_routes([one], actor="route-1", now_us=NOW) for one in routed] == [1, 0]
    assert len(states(store)) == 1
    assert kinds(store, reference) == ["received", "routed"]
    assert store.outbox.routable([Ticket(1, 1)]) == []


def test_a_message_that_may_not_be_routed_fails_with_code_and_owner_and_the_sender_is_told(store: Store) -> None:
    (reference,) = take(store, "1")
    (message,) = store.outbox.routable([Ticket(1, 1)])
    routed = RoutedMessage(message=message, deliveries=(), code="Client.DK0002", owner="school", reason="mandate revoked")
    assert store.outbox.commit_routes([routed], actor="route-1", now_us=NOW) == 1
    found = store.queries.message(reference)
    assert found is not None
    assert (found["state"], found["code"], found["owner"]) == ("failed", "Client.DK0002", "school")
    assert [t.event.code for t in store.journal.untold(now_us=NOW)] == ["Client.DK0002"]


def test_filtered_and_impossible_receivers_are_recorded_and_never_sent(store: Store) -> None:
    lease, references = lead(store), take(store, "1")
    made = route(
        store,
        *references,
        to=[a_delivery(), a_delivery(target="b", filtered=True), a_delivery(target="c", code="ROUTE_AMBIGUOUS", owner="us", reason="two")],
    )
    assert [states(store)[one.id] for one in made] == ["routed", "filtered", "failed"]
    assert [c.id for c in deliver(store, lease)] == [made[0].id]
    assert kinds(store, references[0])[1:4] == ["routed", "filtered", "failed"]


# -- order ------------------------------------------------------------------------------------------------------------------------------
def test_nothing_leaves_while_something_earlier_with_the_same_order_key_is_unfinished(store: Store) -> None:
    lease = lead(store)
    made = route(store, *take(store, *"123", order="k"))
    for number, one in enumerate(made):
        (claimed,) = deliver(store, lease)
        assert claimed.id == one.id
        assert release(store, lease) == [], "the receiver has not confirmed it"
        confirm(store, one.id)
        assert list(states(store).values()).count("acknowledged") == number + 1
    assert release(store, lease) == []


def test_a_message_that_is_not_routed_yet_holds_back_later_ones_with_its_order_key(store: Store) -> None:
    lease = lead(store)
    slow, quick = take(store, "1", "2", order="k")
    (later,) = route(store, quick)
    assert release(store, lease) == [], "the first is still with a route worker"
    (earlier,) = route(store, slow)
    assert [c.id for c in deliver(store, lease)] == [earlier.id]
    confirm(store, earlier.id)
    assert [c.id for c in deliver(store, lease)] == [later.id]


def test_another_receiver_and_another_key_do_not_wait(store: Store) -> None:
    lease = lead(store)
    made = route(store, *take(store, "1", order="k"))
    made += route(store, *take(store, "2", order="k"), to=[a_delivery(receiver=RECEIVER[:-1] + "9")])
    made += route(store, *take(store, "3", order="other")) + route(store, *take(store, "4"))
    assert {c.id for c in deliver(store, lease)} == {one.id for one in made}


def test_a_failed_one_does_not_block(store: Store) -> None:
    lease = lead(store)
    made = route(store, *take(store, "1", "2", order="k"))
    assert [c.id for c in deliver(store, lease, "failed", code="MAILBOX_REFUSED", owner="receiver")] == [made[0].id]
    assert [c.id for c in deliver(store, lease)] == [made[1].id]


@pytest.mark.parametrize("state", ["postponed", "uncertain"])
def test_one_that_is_postponed_or_uncertain_does_block(store: Store, state: str) -> None:
    lease = lead(store)
    route(store, *take(store, "1", "2", order="k"))
    assert len(deliver(store, lease, state, not_before_us=NOW + SECOND)) == 1
    assert release(store, lease) == []


def test_one_that_waits_for_the_register_blocks_later_ones_with_the_same_key(store: Store) -> None:
    lease = lead(store)
    (first,) = route(store, *take(store, "1", order="k"), to=[waiting_delivery()])
    (second,) = route(store, *take(store, "2", order="k"))
    assert release(store, lease) == []
    (waiting,) = store.outbox.waiting()
    store.outbox.reroute_waiting([(waiting, a_delivery(id=first.id))], actor="timetable-1", now_us=NOW)
    assert [c.id for c in deliver(store, lease)] == [first.id]
    confirm(store, first.id)
    assert [c.id for c in deliver(store, lease)] == [second.id]


def test_ten_messages_with_one_key_arrive_in_order_through_two_lanes_of_one_receiver(store: Store) -> None:
    """A supplier switch half-way: the successor's mailbox must not overtake the old one."""
    lease = lead(store)
    references = take(store, *map(str, range(10)), order="k")
    made = []
    for number, reference in enumerate(references):
        system = MAILBOX if number < 5 else "00000001900000009000"
        made += route(store, reference, to=[a_delivery(lane=f"mailbox {system}", receiver_system=system)])
    arrived = []
    for number in range(10):
        (claimed,) = deliver(store, lease)
        arrived.append(claimed.id)
        confirm(store, claimed.id, system=MAILBOX if number < 5 else "00000001900000009000")
    assert arrived == [one.id for one in made]


@pytest.mark.parametrize("newest_first", [False, True], ids=["routed in order", "the newest is routed first"])
def test_the_newest_state_message_replaces_older_unsent_ones(store: Store, newest_first: bool) -> None:
    lease = lead(store)
    old, new = take(store, "1", "2", order="k")
    made = {}
    for reference in (new, old) if newest_first else (old, new):
        (made[reference],) = route(store, reference, newest_replaces=True)
    assert states(store) == {made[old].id: "superseded", made[new].id: "routed"}
    (event,) = [e for e in store.journal.of_message(old) if e.kind == "superseded"]
    assert event.details == {"by": new}
    assert [t.event.kind for t in store.journal.untold(now_us=NOW)] == ["superseded"]
    assert [c.id for c in deliver(store, lease)] == [made[new].id]


def test_in_one_batch_only_the_newest_of_each_key_remains(store: Store) -> None:
    take(store, "1", "2", "3", order="k")
    take(store, "4", order="other")
    messages = store.outbox.routable([Ticket(seq, 1) for seq in (1, 2, 3, 4)])
    routed = [RoutedMessage(message=m, deliveries=(a_delivery(),), newest_replaces=True, register_version=1) for m in messages]
    store.outbox.commit_routes(routed, actor="route-1", now_us=NOW)
    assert [row.state for row in run_sql(store, "SELECT state FROM delivery ORDER BY message_seq")] == [
        "superseded",
        "superseded",
        "routed",
        "routed",
    ]


def test_a_state_message_on_its_way_is_not_replaced_but_comes_before_the_newer(store: Store) -> None:
    lease = lead(store)
    (first,) = route(store, *take(store, "1", order="k"), newest_replaces=True)
    (claimed,) = claim(store, release(store, lease))
    (second,) = route(store, *take(store, "2", order="k"), newest_replaces=True)
    assert states(store) == {first.id: "released", second.id: "routed"}
    settle(store, outcome(claimed))
    confirm(store, first.id)
    assert [c.id for c in deliver(store, lease)] == [second.id]


@pytest.mark.parametrize("newest_first", [False, True])
def test_a_newer_one_that_was_filtered_or_failed_replaces_nothing(store: Store, newest_first: bool) -> None:
    old, filtered, failed = take(store, "1", "2", "3", order="k")
    made = [] if newest_first else route(store, old, newest_replaces=True)
    route(store, filtered, to=[a_delivery(filtered=True)], newest_replaces=True)
    route(store, failed, to=[a_delivery(code="ROUTE_AMBIGUOUS", owner="us")], newest_replaces=True)
    if newest_first:
        made = route(store, old, newest_replaces=True)
    assert states(store)[made[0].id] == "routed"


# -- windows ----------------------------------------------------------------------------------------------------------------------------
def test_a_lane_never_has_more_open_deliveries_than_its_window(store: Store) -> None:
    lease = lead(store)
    made = route(store, *take(store, *"12345"))
    assert len(release(store, lease, window=2)) == 2
    tickets, idle = store.outbox.release_deliveries(lease, [(LANE, 2)], now_us=NOW, limit=100)
    assert (tickets, idle) == ([], {LANE})
    claimed = claim(store, [Ticket(1, 1), Ticket(2, 1)])
    settle(store, *(outcome(one) for one in claimed))
    assert release(store, lease, window=2) == [], "delivered in a mailbox is not finished"
    confirm(store, made[0].id)
    assert [t.seq for t in release(store, lease, window=2)] == [3]
    assert release(store, lease, window=0) == []


def test_a_lane_that_is_full_or_flooding_does_not_hold_up_another(store: Store) -> None:
    lease = lead(store)
    for i in range(6):
        route(store, *take(store, f"a{i}"), to=[a_delivery(lane="mailbox a")])
    route(store, *take(store, "b1"), to=[a_delivery(lane="mailbox b")])
    tickets, idle = store.outbox.release_deliveries(lease, [("mailbox a", 0), ("mailbox b", 5)], now_us=NOW, limit=100)
    assert ([t.seq for t in tickets], idle) == ([7], {"mailbox a"})
    route(store, *take(store, "b2"), to=[a_delivery(lane="mailbox b")])
    lanes = [("mailbox a", 100), ("mailbox b", 100)]
    turns = [store.outbox.release_deliveries(lease, lanes, now_us=NOW, limit=2) for _ in range(2)]
    assert [t.seq for t in turns[0][0]] == [1, 2]
    assert turns[0][1] == set(), "a lane that was not looked at is not idle"
    assert 8 in [t.seq for t in turns[1][0]], "the lane the limit cut off comes first the next time"


def test_work_behind_many_rows_that_must_wait_is_found(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """More rows wait for their order keys than one look reads; and what became ready at the front is found again afterwards."""
    monkeypatch.setattr("adapters.store.release.LOOK", 200)
    lease = lead(store)
    (first,) = route(store, *take(store, "first", order="k"))
    deliver(store, lease)
    take(store, *(f"w{i}" for i in range(250)), order="k")
    take(store, "free")
    rows = run_sql(store, "SELECT seq FROM message WHERE state = 'received' ORDER BY seq")
    messages = store.outbox.routable([Ticket(row.seq, 1) for row in rows])
    routed = [RoutedMessage(message=m, deliveries=(a_delivery(),), register_version=1) for m in messages]
    store.outbox.commit_routes(routed, actor="route-1", now_us=NOW)
    found = [release(store, lease, window=5000) for _ in range(2)]
    assert [len(tickets) for tickets in found] == [0, 1]
    confirm(store, first.id)
    again = [release(store, lease, window=5000, now_us=NOW + i * LOOK_AGAIN_US) for i in range(3)]
    assert [len(tickets) for tickets in again].count(1) == 1


def test_what_became_ready_elsewhere_is_found_within_half_a_second(store: Store) -> None:
    """Two hundred rows wait for a delivery in another lane: nothing in their own lane changes when that one ends."""
    lease = lead(store)
    (first,) = route(store, *take(store, "first", order="k"), to=[a_delivery(lane="mailbox other", receiver_system="other")])
    (claimed,) = claim(store, release(store, lease))
    settle(store, outcome(claimed))
    for i in range(200):
        route(store, *take(store, f"w{i}", order="k"))
    assert release(store, lease) == []
    confirm(store, first.id, system="other")
    assert len(release(store, lease, now_us=NOW + LOOK_AGAIN_US)) == 1


# -- postponed --------------------------------------------------------------------------------------------------------------------------
def test_a_postponed_delivery_is_released_again_when_its_time_has_come_and_not_before(store: Store) -> None:
    lease = lead(store)
    made = route(store, *take(store, "1"))
    deliver(store, lease, "postponed", not_before_us=NOW + SECOND, hold_code="ENDPOINT_UNREACHABLE")
    assert store.outbox.release_due(lease, now_us=NOW, limit=10)[0] == []
    assert release(store, lease, now_us=NOW + 2 * SECOND) == []
    (ticket,) = store.outbox.release_due(lease, now_us=NOW + SECOND, limit=10)[0]
    assert ticket == Ticket(1, 2)
    (claimed,) = claim(store, [ticket])
    assert (claimed.id, claimed.attempts) == (made[0].id, 1)
    assert settle(store, outcome(claimed)) == 1
    assert [t["number"] for t in store.queries.message(claimed.reference)["deliveries"][0]["tries"]] == [1, 2]  # type: ignore[index]


def test_postponed_deliveries_keep_to_their_lanes_window(store: Store) -> None:
    lease = lead(store)
    route(store, *take(store, *"1234"))
    deliver(store, lease, "postponed", not_before_us=NOW)
    assert len(store.outbox.release_due(lease, now_us=NOW, limit=10, window_of=lambda lane: 3)[0]) == 3
    assert store.outbox.release_due(lease, now_us=NOW, limit=10, window_of=lambda lane: 3)[0] == []


def test_where_more_is_due_than_there_is_room_for_the_lane_is_named_so_that_nothing_newer_takes_its_place(store: Store) -> None:
    lease = lead(store)
    route(store, *take(store, *"12"))
    deliver(store, lease, "postponed", not_before_us=NOW)
    tickets, crowded = store.outbox.release_due(lease, now_us=NOW, limit=10, window_of=lambda lane: 1)
    assert (len(tickets), len(crowded)) == (1, 1)
    tickets, crowded = store.outbox.release_due(lease, now_us=NOW, limit=10, window_of=lambda lane: 2)
    assert (len(tickets), len(crowded)) == (1, 0)


# -- claims -----------------------------------------------------------------------------------------------------------------------------
def test_only_one_of_two_workers_gets_a_release(store: Store) -> None:
    lease = lead(store)
    route(store, *take(store, "1"))
    tickets = release(store, lease)
    mine, held = store.outbox.claim(tickets, worker="deliver-1", now_us=NOW, until_us=NOW + 10 * SECOND)
    theirs, theirs_held = store.outbox.claim(tickets, worker="deliver-2", now_us=NOW, until_us=NOW + 10 * SECOND)
    assert (len(mine), held, theirs, theirs_held) == (1, [], [], tickets)
    assert settle(store, outcome(mine[0]), worker="deliver-1") == 1
    assert store.outbox.claim(tickets, worker="deliver-2", now_us=NOW, until_us=NOW) == ([], [])


def test_the_claim_of_a_worker_that_died_is_taken_over_only_after_its_time(store: Store) -> None:
    lease = lead(store)
    route(store, *take(store, "1"))
    tickets = release(store, lease)
    (dead,) = claim(store, tickets, "deliver-1")
    assert claim(store, tickets, "deliver-2", now_us=NOW + 9 * SECOND) == []
    (alive,) = claim(store, tickets, "deliver-2", now_us=NOW + 11 * SECOND)
    assert settle(store, outcome(dead), worker="deliver-1") == 0, "it was only slow: what it says counts no more"
    assert states(store) == {alive.id: "released"}
    assert settle(store, outcome(alive), worker="deliver-2") == 1
    assert kinds(store, alive.reference).count("delivered") == 1
    assert len(store.queries.message(alive.reference)["deliveries"][0]["tries"]) == 1  # type: ignore[index]


def test_a_ticket_of_an_earlier_release_is_nobodys_work(store: Store) -> None:
    lease = lead(store)
    route(store, *take(store, "1"))
    old = release(store, lease)
    deliver_now = claim(store, old)
    settle(store, outcome(deliver_now[0], "postponed", not_before_us=NOW))
    new = store.outbox.release_due(lease, now_us=NOW, limit=10)[0]
    assert store.outbox.claim(old, worker="deliver-2", now_us=NOW, until_us=NOW + SECOND) == ([], [])
    (claimed,) = claim(store, new)
    assert settle(store, outcome(deliver_now[0])) == 0, "the same worker's word about the release before counts no more"
    assert settle(store, outcome(claimed)) == 1


def test_all_that_nobody_works_on_is_published_again_by_a_new_leader(store: Store) -> None:
    lease = lead(store)
    route(store, *take(store, *"123"))
    tickets = release(store, lease)
    claim(store, tickets[:1])
    assert store.outbox.unclaimed(now_us=NOW)[1] == tickets[1:]
    assert store.outbox.unclaimed(now_us=NOW + 11 * SECOND)[1] == tickets


def test_after_a_broker_wipe_mailboxes_are_filled_again_and_old_tickets_mean_nothing(store: Store) -> None:
    lease = lead(store)
    made = route(store, *take(store, *"123"))
    tickets = release(store, lease, limit=2)
    (delivered, claimed) = claim(store, tickets)
    settle(store, outcome(delivered))
    assert store.outbox.release_after_wipe(lease, now_us=NOW) == 1
    assert settle(store, outcome(claimed)) == 0
    again = store.outbox.unclaimed(now_us=NOW)[1]
    assert again == [Ticket(1, 2), Ticket(2, 2)]
    assert claim(store, tickets) == []
    assert len(claim(store, again)) == 2
    assert states(store)[made[2].id] == "routed"


# -- leadership -------------------------------------------------------------------------------------------------------------------------
def test_one_leader_at_a_time_and_each_new_one_has_a_higher_token(store: Store) -> None:
    registry = store.registry
    first = registry.take_lease("relay", "a", now_us=NOW, until_us=NOW + 10)
    assert first is not None
    assert registry.take_lease("relay", "b", now_us=NOW + 10, until_us=NOW + 20) is None
    assert registry.keep_lease(first, until_us=NOW + 30)
    assert registry.take_lease("relay", "b", now_us=NOW + 11, until_us=NOW + 20) is None
    second = registry.take_lease("relay", "b", now_us=NOW + 31, until_us=NOW + 40)
    assert second is not None
    assert second.token > first.token
    assert not registry.keep_lease(first, until_us=NOW + 99)
    registry.give_lease(first)
    assert registry.take_lease("relay", "c", now_us=NOW + 32, until_us=NOW + 99) is None, "an old leader cannot give away another's lease"
    registry.give_lease(second)
    assert registry.take_lease("relay", "c", now_us=NOW + 32, until_us=NOW + 99) is not None


def test_a_paused_leader_that_comes_back_can_release_and_chain_nothing(store: Store) -> None:
    old = store.registry.take_lease("relay", "a", now_us=NOW, until_us=NOW + 1)
    assert old is not None
    references = take(store, "1", "2")
    route(store, references[0])
    new = lead(store, now_us=NOW + 2)
    for act in (
        lambda lease: store.outbox.release_messages(lease, window=10, limit=10),
        lambda lease: release(store, lease),
        lambda lease: store.outbox.release_after_wipe(lease, now_us=NOW),
        lambda lease: store.journal.chain(lease, now_us=NOW),
    ):
        with pytest.raises(LeaseLost):
            act(old)
    assert set(states(store).values()) == {"routed"}
    assert len(release(store, new)) == 1
    assert len(store.outbox.release_messages(new, window=10, limit=10)) == 1


def _take_lease(url: str, name: str, ready: object, answers: object) -> None:
    store = open_store(url, upgrade=False)
    got = 0
    for number in range(20):
        ready.wait()  # type: ignore[attr-defined]
        got += store.registry.take_lease(f"lease-{number}", name, now_us=NOW, until_us=NOW + SECOND) is not None
    answers.put(got)  # type: ignore[attr-defined]
    store.close()


@pytest.mark.parametrize("kind", ["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
def test_of_two_processes_that_want_to_lead_exactly_one_does(kind: str, tmp_path: Path) -> None:
    url = fresh_url(kind, tmp_path)
    spawn = multiprocessing.get_context("spawn")
    ready, answers = spawn.Barrier(2, timeout=60), spawn.Queue()
    rivals = [spawn.Process(target=_take_lease, args=(url, name, ready, answers)) for name in ("a", "b")]
    for rival in rivals:
        rival.start()
    assert sum(answers.get(timeout=60) for _ in rivals) == 20
    for rival in rivals:
        rival.join(30)


def test_order_keys_stand_in_the_store_only_as_keyed_hashes(store: Store) -> None:
    hand_in(store, a_message("1", order="999990019"))
    key = bytes(run_sql(store, "SELECT order_key FROM message")[0].order_key)
    assert key == VAULT.index("order 999990019")
    assert b"999990019" not in key
