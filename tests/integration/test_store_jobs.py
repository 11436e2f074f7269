"""Jobs: a selection is frozen, tried, gone through, and stopped; on both databases."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import Any

import pytest

from adapters.store import Store, open_store, previews, selections
from routing.actions import Action, CannotAct, Order, Selection, Subject, Why
from routing.board import ItemFilter
from routing.jobs import Figures, JobState
from routing.people import Role, Scope, Source, new_account
from routing.work import LeaseLost
from tests.support.board import keep
from tests.support.jobs import ALL, ANNA, BOB, Bench
from tests.support.store import MAILBOX, NOW, SECOND, SENDER, SYSTEM, a_refusal, confirm, hand_in, kinds, lead, run_sql, states


@pytest.fixture
def bench(store: Store) -> Bench:
    return Bench(store)


def names(count: int, start: int = 1) -> list[str]:
    return [str(number) for number in range(start, start + count)]


def state_counts(store: Store) -> dict[str, int]:
    return {row.state: row.n for row in run_sql(store, "SELECT state, count(*) AS n FROM delivery GROUP BY state")}


def test_a_group_of_failures_is_offered_again_after_a_trial_batch(bench: Bench, store: Store) -> None:
    bench.fail(*names(30))
    preview = bench.preview(code="ENDPOINT_REFUSES_US")
    assert (preview.count, preview.acts, preview.superseded, preview.not_possible) == (30, 30, 0, {})
    assert preview.doubtful == 30, "its receiver must first admit our certificate"
    job = bench.confirm(preview, trial=10)
    assert (job.state, job.count, job.digest) == (JobState.RUNNING, 30, preview.digest)
    assert state_counts(store) == {"failed": 30}, "more than a trial batch: a worker runs it"
    bench.step(job.id)
    assert state_counts(store) == {"routed": 10, "failed": 20}
    for _ in range(3):
        bench.step(job.id)
    assert state_counts(store) == {"routed": 10, "failed": 20}, "the rest waits for the trial batch"
    assert bench.deliver() == 10
    while bench.step(job.id):
        bench.deliver()
    ended = bench.job(job.id)
    assert (ended.state, ended.figures) == (JobState.DONE, Figures(succeeded=30))
    assert state_counts(store) == {"acknowledged": 30}
    assert {result.state for result in bench.desk.results(ALL, job.id)} == {"succeeded"}


def test_a_trial_batch_that_fails_stops_the_job_and_leaves_the_rest_untouched(bench: Bench, store: Store) -> None:
    references = bench.fail(*names(12))
    job = bench.confirm(bench.preview(code="ENDPOINT_REFUSES_US"), trial=4)
    bench.step(job.id)
    bench.deliver("failed", code="ENDPOINT_REFUSES_US", owner="receiver")
    while bench.step(job.id):
        pass
    stopped = bench.job(job.id)
    assert (stopped.state, stopped.stopped) == (JobState.STOPPED, "trial_failed")
    assert stopped.figures == Figures(planned=8, failed=4)
    assert [result.why for result in bench.desk.results(ALL, job.id, state="failed")] == ["ENDPOINT_REFUSES_US"] * 4
    tried = [reference for reference in references if "retried" in kinds(store, reference)]
    assert tried == references[:4], "the oldest were tried, and nothing else was touched"


def test_after_the_cause_is_mended_the_rest_goes_with_a_trial_batch_of_its_own(bench: Bench, store: Store) -> None:
    bench.fail(*names(12))
    job = bench.confirm(bench.preview(code="ENDPOINT_REFUSES_US"), trial=4)
    bench.step(job.id)
    bench.deliver("failed", code="ENDPOINT_REFUSES_US", owner="receiver")
    while bench.step(job.id):
        pass
    assert bench.desk.resume(ALL, job.id, who=BOB).state is JobState.RUNNING
    bench.step(job.id)
    assert state_counts(store)["routed"] == 4
    bench.step(job.id)
    assert state_counts(store)["routed"] == 4, "a new trial batch"
    while bench.step(job.id):
        bench.deliver()
    assert bench.job(job.id).figures == Figures(succeeded=8, failed=4)
    assert bench.job(job.id).state is JobState.DONE


def test_what_fails_after_the_preview_is_not_a_part_of_it(bench: Bench, store: Store) -> None:
    references = bench.fail(*names(3))
    preview = bench.preview(code="ENDPOINT_REFUSES_US")
    later = bench.fail("later")
    ids = {
        row.reference: row.id for row in run_sql(store, "SELECT m.reference, d.id FROM message m JOIN delivery d ON d.message_seq = m.seq")
    }
    assert preview.digest == hashlib.sha256("\n".join(ids[one] for one in references).encode()).hexdigest()
    bench.confirm(preview)
    assert kinds(store, later[0])[-1] == "failed"
    assert all(kinds(store, one)[-1] == "retried" for one in references)


def test_what_the_version_before_put_on_the_board_is_frozen_as_it_stands_in_the_work(bench: Bench, store: Store) -> None:
    references = bench.fail(*names(3))
    preview = bench.preview(code="ENDPOINT_REFUSES_US")
    run_sql(store, "UPDATE item SET message_seq = NULL")
    same = bench.preview(code="ENDPOINT_REFUSES_US")
    assert (same.digest, same.acts, same.codes) == (preview.digest, 3, {"ENDPOINT_REFUSES_US": 3})
    bench.confirm(bench.preview(Action.ARCHIVE, references[1], who=BOB), who=BOB)
    assert bench.preview(code="ENDPOINT_REFUSES_US").not_possible == {Why.FINISHED: 1}


def test_what_the_board_does_not_tell_yet_is_left_alone_when_its_turn_comes(bench: Bench, store: Store) -> None:
    references = bench.fail(*names(3))
    bench.confirm(bench.preview(Action.ARCHIVE, references[1], who=BOB), who=BOB)
    preview = bench.preview(code="ENDPOINT_REFUSES_US")
    assert (preview.count, preview.acts) == (3, 3), "the board is a second or two behind"
    job = bench.confirm(preview)
    assert [(result.state, result.why) for result in bench.desk.results(ALL, job.id)][1] == ("skipped", "finished")
    keep(store)
    with pytest.raises(CannotAct, match="nothing on the board"):
        bench.preview(code="ENDPOINT_REFUSES_US", state="failed")


def test_what_changed_after_the_preview_is_left_alone(bench: Bench, store: Store) -> None:
    references = bench.fail(*names(3))
    preview = bench.preview(code="ENDPOINT_REFUSES_US")
    bench.confirm(bench.preview(Action.ARCHIVE, references[1], who=BOB), who=BOB)
    job = bench.confirm(preview)
    assert [(result.state, result.why) for result in bench.desk.results(ALL, job.id)] == [
        ("under_way", None),
        ("skipped", "finished"),
        ("under_way", None),
    ]
    assert kinds(store, references[1])[-1] == "archived"


def test_a_few_are_begun_at_once_and_the_journal_says_by_whom_why_and_in_which_job(bench: Bench, store: Store) -> None:
    (reference,) = bench.fail("1")
    job = bench.confirm(bench.preview(Action.RETRY, reference), reason="certificate admitted, ticket 77")
    assert job.figures == Figures(under_way=1)
    retried = store.journal.of_message(reference)[-1]
    assert (retried.kind, retried.actor, retried.state) == ("retried", ANNA, "routed")
    assert retried.details == {"failed": "ENDPOINT_REFUSES_US", "why": "certificate admitted, ticket 77", "job": job.id}
    assert bench.deliver() == 1
    while bench.step(job.id):
        pass
    assert bench.job(job.id).state is JobState.DONE


def test_what_is_offered_again_keeps_its_ids_and_leaves_in_the_window_of_its_lane(bench: Bench, store: Store) -> None:
    bench.fail(*names(8))
    before = run_sql(store, "SELECT id, message_seq FROM delivery ORDER BY seq")
    bench.confirm(bench.preview(code="ENDPOINT_REFUSES_US"))
    assert run_sql(store, "SELECT id, message_seq FROM delivery ORDER BY seq") == before
    assert store.outbox.unclaimed(now_us=bench.clock.at_us)[1] == [], "nothing goes past the relay"
    lane = store.outbox.lanes()[0]
    tickets, _ = store.outbox.release_deliveries(bench.relay, [(lane, 3)], now_us=bench.clock.at_us, limit=100)
    assert len(tickets) == 3


def test_more_than_the_threshold_waits_for_another_person(store: Store) -> None:
    bench = Bench(store, approve_above=2)
    bench.fail(*names(3))
    preview = bench.preview(code="ENDPOINT_REFUSES_US")
    assert preview.needs_approval
    job = bench.confirm(preview)
    assert job.state is JobState.TO_APPROVE
    assert not bench.step(job.id)
    for attempt in (
        lambda: bench.desk.approve(ALL, job.id, who=ANNA),
        lambda: bench.desk.resume(ALL, job.id, who=BOB),
        lambda: bench.desk.resume(ALL, job.id, who=ANNA),
    ):
        with pytest.raises(CannotAct):
            attempt()
    assert state_counts(store) == {"failed": 3}
    approved = bench.desk.approve(ALL, job.id, who=BOB)
    assert (approved.state, approved.made_by, approved.approved_by) == (JobState.RUNNING, ANNA, BOB)
    bench.step(job.id)
    assert state_counts(store) == {"routed": 3}
    with pytest.raises(CannotAct, match="is running"):
        bench.desk.approve(ALL, job.id, who=BOB)


def test_as_many_as_the_threshold_need_nobody_else(store: Store) -> None:
    bench = Bench(store, approve_above=3)
    bench.fail(*names(3))
    assert not bench.preview(code="ENDPOINT_REFUSES_US").needs_approval


def test_jobs_of_one_person_within_an_hour_count_together(store: Store) -> None:
    bench = Bench(store, approve_above=3)
    for count, start, who, state in (
        *[(2, 1, ANNA, JobState.RUNNING), (1, 3, ANNA, JobState.RUNNING), (1, 4, ANNA, JobState.TO_APPROVE)],
        *[(3, 5, BOB, JobState.RUNNING)],
    ):
        bench.fail(*names(count, start), code=f"C{start}")
        assert bench.confirm(bench.preview(code=f"C{start}", who=who), who=who, trial=1).state is state
    bench.clock.at_us += 3_601 * SECOND
    bench.fail("9", code="C9")
    assert bench.confirm(bench.preview(code="C9"), trial=1).state is not JobState.TO_APPROVE


def test_a_person_with_two_accounts_is_no_second_person(store: Store) -> None:
    bench = Bench(store, approve_above=2)
    people = {"anna": "Anna@Example.nl", "oidc:7": "anna+keten@example.nl", "bert": "bert@example.nl", "carla": "", "dirk": ""}
    for name, email in people.items():
        source = Source.OIDC if name.startswith("oidc:") else Source.LOCAL
        account = new_account(name, [Role.CHAIN_MANAGER], email=email, source=source)
        if source is Source.OIDC:
            store.people.from_provider(account, now_us=NOW)
        else:
            store.people.add(account, password="h", one_time=False, totp=None, who="x", now_us=NOW)
    bench.fail(*names(3), code="C1")
    bench.fail(*names(3, 4), code="C4")
    job = bench.confirm(bench.preview(code="C1", who="oidc:7"), who="oidc:7", trial=1)
    with pytest.raises(CannotAct, match="oidc:7, who confirmed this job, is the same person"):
        bench.desk.approve(ALL, job.id, who="anna")
    assert bench.desk.approve(ALL, job.id, who="bert").approved_by == "bert"
    unknown = bench.confirm(bench.preview(code="C4", who="carla"), who="carla", trial=1)
    assert bench.desk.approve(ALL, unknown.id, who="dirk").approved_by == "dirk", "of whom nobody knows who they are"


def test_what_one_person_confirms_with_two_accounts_counts_together(store: Store) -> None:
    bench = Bench(store, approve_above=3)
    for name in ("anna", "anna2"):
        account = new_account(name, [Role.CHAIN_MANAGER], email="anna@example.nl")
        store.people.add(account, password="h", one_time=False, totp=None, who="x", now_us=NOW)
    for count, start, who, state in ((2, 1, "anna", JobState.RUNNING), (2, 3, "anna2", JobState.TO_APPROVE)):
        bench.fail(*names(count, start), code=f"C{start}")
        assert bench.confirm(bench.preview(code=f"C{start}", who=who), who=who, trial=1).state is state


@pytest.mark.parametrize("change", [{"disabled": True}, {"roles": frozenset({Role.READER})}])
def test_a_job_of_somebody_who_may_not_act_any_more_is_neither_approved_nor_goes_on(store: Store, change: dict[str, Any]) -> None:
    account = new_account("anna", [Role.CHAIN_MANAGER])
    store.people.add(account, password="h", one_time=False, totp=None, who="x", now_us=NOW)
    bench = Bench(store, approve_above=2)
    bench.fail(*names(2), code="C1")
    bench.fail(*names(3, 3), code="C3")
    running, large = (bench.confirm(bench.preview(code=code, who="anna"), who="anna", trial=1) for code in ("C1", "C3"))
    assert (running.state, large.state) == (JobState.RUNNING, JobState.TO_APPROVE)
    store.people.change(replace(account, **change), who="x", now_us=NOW)
    with pytest.raises(CannotAct, match="may not act any more"):
        bench.desk.approve(ALL, large.id, who=BOB)
    bench.step(running.id)
    stopped = bench.job(running.id)
    assert (stopped.state, stopped.stopped, stopped.figures.planned) == (JobState.STOPPED, "confirmer", 2)
    with pytest.raises(CannotAct, match="may not act any more"):
        bench.desk.resume(ALL, running.id, who=BOB)


def test_a_job_is_paused_resumed_and_cancelled(bench: Bench, store: Store) -> None:
    bench.fail(*names(9))
    job = bench.confirm(bench.preview(code="ENDPOINT_REFUSES_US"), trial=2)
    bench.step(job.id)
    assert bench.desk.pause(ALL, job.id[:8], who=BOB).state is JobState.PAUSED
    assert not bench.step(job.id)
    bench.deliver()
    bench.step(job.id)
    assert bench.job(job.id).figures == Figures(planned=7, succeeded=2), "what was under way is still looked at"
    bench.desk.resume(ALL, job.id, who=BOB)
    bench.step(job.id)
    bench.step(job.id, allowance=3)
    cancelled = bench.desk.cancel(ALL, job.id, who=ANNA)
    assert cancelled.state is JobState.CANCELLED
    assert cancelled.figures == Figures(planned=4, under_way=3, succeeded=2)
    with pytest.raises(CannotAct, match="is cancelled"):
        bench.desk.resume(ALL, job.id, who=ANNA)
    assert bench.job_events() == [
        ("job_confirmed", ANNA),
        ("job_paused", BOB),
        ("job_resumed", BOB),
        ("job_cancelled", ANNA),
    ]


def test_nobody_else_confirms_a_preview_and_nobody_twice_or_too_late(bench: Bench) -> None:
    bench.fail("1")
    preview = bench.preview(code="ENDPOINT_REFUSES_US")
    with pytest.raises(CannotAct, match="no such preview of yours"):
        bench.confirm(preview, who=BOB)
    bench.clock.at_us += 3_601 * SECOND
    with pytest.raises(CannotAct, match="over an hour old"):
        bench.confirm(preview)
    again = bench.preview(code="ENDPOINT_REFUSES_US")
    bench.confirm(again)
    with pytest.raises(CannotAct, match="confirmed already"):
        bench.confirm(again)


def test_a_newer_preview_takes_the_place_of_what_the_same_person_did_not_confirm(bench: Bench, store: Store) -> None:
    bench.fail(*names(3))
    first, other = bench.preview(code="ENDPOINT_REFUSES_US"), bench.preview(code="ENDPOINT_REFUSES_US", who=BOB)
    second = bench.preview(code="ENDPOINT_REFUSES_US")
    assert {row.id for row in run_sql(store, "SELECT id FROM job")} == {other.id, second.id}
    assert run_sql(store, "SELECT count(*) AS n FROM job_item")[0].n == 6
    with pytest.raises(CannotAct, match="a newer one took its place"):
        bench.confirm(first)
    bench.confirm(second)
    bench.preview(code="ENDPOINT_REFUSES_US")
    assert bench.desk.job(ALL, second.id) is not None, "what was confirmed stays"


def test_a_preview_that_is_replaced_while_it_is_written_is_given_up_whole(
    bench: Bench, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.fail(*names(4))
    replaced = list[str]()
    monkeypatch.setattr(previews, "CHUNK", 2)
    monkeypatch.setattr(previews, "CHUNK_POSTGRESQL", 2)
    begun = previews.Previews._begin

    def begin(self: Any, preview: Any, **more: Any) -> int:
        job = begun(self, preview, **more)
        if not replaced:
            replaced.append(preview.id)
            replaced.append(bench.preview(code="ENDPOINT_REFUSES_US").id)
        return job

    monkeypatch.setattr(previews.Previews, "_begin", begin)
    with pytest.raises(CannotAct, match="newer preview meanwhile"):
        bench.preview(code="ENDPOINT_REFUSES_US")
    assert [row.id for row in run_sql(store, "SELECT id FROM job")] == [replaced[1]]
    assert run_sql(store, "SELECT count(*) AS n FROM job_item")[0].n == 4


def test_a_preview_of_more_than_fits_is_refused_with_a_sentence(bench: Bench, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    bench.fail(*names(3))
    monkeypatch.setattr(selections, "MOST", 2)
    with pytest.raises(CannotAct, match=r"more than 2 messages.*narrower filter"):
        bench.preview(code="ENDPOINT_REFUSES_US")
    assert run_sql(store, "SELECT count(*) AS n FROM job")[0].n == 0


def test_a_preview_that_nobody_confirms_is_forgotten(bench: Bench, store: Store) -> None:
    bench.fail(*names(3))
    bench.preview(code="ENDPOINT_REFUSES_US")
    assert not store.jobs.sweep(now_us=bench.clock.at_us)
    bench.clock.at_us += 3_601 * SECOND
    while store.jobs.sweep(now_us=bench.clock.at_us):
        pass
    assert run_sql(store, "SELECT count(*) AS n FROM job_item")[0].n == run_sql(store, "SELECT count(*) AS n FROM job")[0].n == 0


def test_a_reason_with_a_personal_number_goes_nowhere(bench: Bench, store: Store) -> None:
    bench.fail("1")
    with pytest.raises(CannotAct, match="nine digits"):
        bench.confirm(bench.preview(code="ENDPOINT_REFUSES_US"), reason="pupil 123456782 moved")
    assert state_counts(store) == {"failed": 1}


def test_a_leader_that_lost_its_lease_begins_nothing(bench: Bench, store: Store) -> None:
    bench.fail(*names(20))
    job = bench.confirm(bench.preview(code="ENDPOINT_REFUSES_US"))
    errands = store.jobs.next_errands(job.id, 5)
    run_sql(store, "UPDATE lease SET until_us = 0 WHERE name = 'jobs'")
    lead(store, "jobs", "timetable-2", now_us=bench.clock.at_us)
    with pytest.raises(LeaseLost):
        store.jobs.begin(job.id, errands, {}, lease=bench.lease, now_us=bench.clock.at_us)
    assert state_counts(store) == {"failed": 20}


def test_whoever_takes_over_goes_on_where_the_job_was_and_begins_nothing_twice(bench: Bench, store: Store) -> None:
    bench.fail(*names(20))
    job = bench.confirm(bench.preview(code="ENDPOINT_REFUSES_US"), trial=5)
    old, more = store.jobs.next_errands(job.id, 5), store.jobs.next_errands(job.id, 8)
    bench.step(job.id)
    other = open_store(store.database.url.render_as_string(hide_password=False))
    run_sql(store, "UPDATE lease SET until_us = 0 WHERE name = 'jobs'")
    lease = lead(other, "jobs", "timetable-2", now_us=bench.clock.at_us)
    for stale in (old, more):
        assert other.jobs.begin(job.id, stale, {}, lease=lease, now_us=bench.clock.at_us) == [], "some of these were begun"
    assert [errand.number for errand in other.jobs.next_errands(job.id, 3)] == [6, 7, 8]
    assert other.jobs.progress(job.id)[1].trial_left == 0
    other.close()
    assert state_counts(store) == {"routed": 5, "failed": 15}


def test_a_refused_hand_in_in_the_selection_is_counted_and_left_to_its_sender(bench: Bench, store: Store) -> None:
    hand_in(store, a_refusal(code="Client.DK0004"))
    bench.fail("1")
    preview = bench.preview(systems=(SYSTEM,))
    assert (preview.count, preview.acts, preview.not_possible) == (2, 1, {Why.REFUSED: 1})
    job = bench.confirm(preview)
    assert [(result.subject, result.state, result.why) for result in bench.desk.results(ALL, job.id)] == [
        (Subject.REFUSAL, "skipped", "refused"),
        (Subject.DELIVERY, "under_way", None),
    ]


def test_refusals_of_which_nothing_more_will_come_are_closed_with_the_rest_of_a_selection(bench: Bench, store: Store) -> None:
    refusal = a_refusal(code="Client.DK0004")
    hand_in(store, refusal)
    refused = refusal.reference
    (failed,) = bench.fail("1")
    preview = bench.preview(Action.ARCHIVE, systems=(SYSTEM,))
    assert (preview.count, preview.acts) == (2, 2)
    job = bench.confirm(preview, reason="kwam per telefoon")
    assert {(result.reference, result.state) for result in bench.desk.results(ALL, job.id)} == {
        (refused, "succeeded"),
        (failed, "succeeded"),
    }
    keep(store)
    assert store.board.count(ALL, ItemFilter(), now_us=NOW) == 0
    closed = store.journal.of_message(refused)[-1]
    assert (closed.kind, closed.actor, closed.reason, closed.details) == ("refusal_closed", ANNA, "kwam per telefoon", {"job": job.id})
    again = bench.act(Action.ARCHIVE, refused)
    assert [(result.state, result.why) for result in bench.desk.results(ALL, again.id)] == [("skipped", "gone")]


def test_only_what_was_never_attempted_can_be_selected(bench: Bench, store: Store) -> None:
    _, never = bench.fail("tried", "never")
    run_sql(store, "UPDATE delivery SET attempts = 0 WHERE message_seq = (SELECT seq FROM message WHERE reference = :r)", r=never)
    store.board_keeper.start_anew()
    keep(store)
    job = bench.confirm(bench.preview(never_attempted=True))
    assert [result.reference for result in bench.desk.results(ALL, job.id)] == [never]


def test_only_what_failed_since_a_moment_can_be_selected(bench: Bench) -> None:
    bench.fail("early")
    bench.clock.at_us += 60 * SECOND
    (late,) = bench.fail("late", code="ENDPOINT_REFUSES_US")
    job = bench.confirm(bench.preview(code="ENDPOINT_REFUSES_US", failed_since_us=bench.clock.at_us - SECOND))
    assert [result.reference for result in bench.desk.results(ALL, job.id)] == [late]


def test_a_selection_of_nothing_and_one_of_everything_are_refused(bench: Bench) -> None:
    bench.fail("1")
    for filters, says in (({}, "Say what it is about"), ({"code": "POISON"}, "nothing that this is about")):
        with pytest.raises(CannotAct, match=says):
            bench.preview(**filters)
    with pytest.raises(CannotAct, match="There is no message"):
        bench.preview(Action.RETRY, "unknown")


def test_what_lies_outside_a_scope_is_in_no_selection_and_no_list(bench: Bench) -> None:
    (reference,) = bench.fail("1")
    mine, other = Scope(systems=frozenset({MAILBOX})), Scope(organisations=frozenset({"00000001800000009000"}))
    assert bench.preview(scope=mine, code="ENDPOINT_REFUSES_US").count == 1
    assert bench.preview(Action.RETRY, reference, scope=Scope(organisations=frozenset({SENDER}))).count == 1
    for filters in ({"code": "ENDPOINT_REFUSES_US"}, {"reference": reference}):
        with pytest.raises(CannotAct, match="nothing that this is about"):
            bench.preview(scope=other, **filters)
    for id in (reference, "unknown"):  # one cannot be told from the other
        with pytest.raises(CannotAct, match=f"There is no message, delivery or refusal {id}"):
            bench.preview(Action.RETRY, id, scope=other)
    job = bench.act(Action.RETRY, reference)
    for scope in (mine, other, Scope()):
        assert bench.desk.jobs(scope) == []
        assert bench.desk.job(scope, job.id) is None
        assert bench.desk.results(scope, job.id) == []
        with pytest.raises(CannotAct, match="There is no job"):
            bench.desk.cancel(scope, job.id, who=BOB)


def test_what_a_stopped_job_left_can_be_selected_for_something_else(bench: Bench) -> None:
    bench.fail(*names(6))
    job = bench.confirm(bench.preview(code="ENDPOINT_REFUSES_US"), trial=2)
    bench.step(job.id)
    bench.deliver("failed", code="ENDPOINT_REFUSES_US", owner="receiver")
    while bench.step(job.id):
        pass
    preview = bench.desk.preview(ALL, Selection(job=job.id), Order(action=Action.RETURN), who=ANNA)
    assert (preview.count, preview.acts) == (6, 6)


def test_a_job_that_is_asked_for_by_too_short_an_id_is_none(bench: Bench) -> None:
    one, two = (bench.act(Action.RETRY, *bench.fail(name)) for name in ("1", "2"))
    assert bench.desk.job(ALL, "") is None
    assert [job.id for job in bench.desk.jobs(ALL)] == [two.id, one.id]


def test_results_come_page_by_page(bench: Bench) -> None:
    bench.fail(*names(5))
    job = bench.confirm(bench.preview(code="ENDPOINT_REFUSES_US"))
    first = bench.desk.results(ALL, job.id, limit=3)
    assert [result.number for result in first] == [1, 2, 3]
    assert [result.number for result in bench.desk.results(ALL, job.id, after=3, limit=3)] == [4, 5]


def test_a_mailbox_in_which_it_was_placed_is_a_success_before_anybody_confirms(bench: Bench, store: Store) -> None:
    (reference,) = bench.fail("1")
    job = bench.act(Action.RETRY, reference)
    bench.deliver("delivered")
    while bench.step(job.id):
        pass
    assert bench.job(job.id).figures == Figures(succeeded=1)
    confirm(store, *states(store))
    assert set(states(store).values()) == {"acknowledged"}
