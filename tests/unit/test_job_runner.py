"""How fast a job goes: the rate that was agreed, whatever the steps of its worker."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from types import SimpleNamespace

import pytest

from routing.actions import Action, Job, Order
from routing.jobs import AT_ONCE, Figures, JobState, Progress, Terms
from routing.work import Lease
from workers import jobs as module
from workers.clock import Clock
from workers.jobs import JobRunner
from workers.loop import Worker


class Time:
    """A clock that the test moves."""

    def __init__(self) -> None:
        self.now = 100.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def time(monkeypatch: pytest.MonkeyPatch) -> Time:
    made = Time()
    monkeypatch.setattr(module, "time", made)
    return made


def a_job(rate: float) -> Job:
    return Job(
        id="j",
        state=JobState.RUNNING,
        order=Order(action=Action.RETRY),
        selection={},
        count=1,
        digest="",
        terms=Terms(rate=rate),
        figures=Figures(),
        reason="",
        made_by="anna",
        made_us=0,
        changed_us=0,
    )


def runner() -> JobRunner:
    made = JobRunner.__new__(JobRunner)
    made._allowance = {}
    return made


@pytest.mark.parametrize("rate", [0.5, 10.0, 50.0, 1000.0])
def test_no_more_begins_in_a_span_of_time_than_the_rate_says(time: Time, rate: float) -> None:
    jobs, job, begun = runner(), a_job(rate), 0
    for _ in range(600):  # half a minute in steps of 50 ms, beginning whatever may begin
        may = min(AT_ONCE, int(jobs._allowed(job)))
        allowance, at = jobs._allowance["j"]
        jobs._allowance["j"] = (allowance - may, at)
        begun += may
        time.now += 0.05
    assert begun <= rate * 30 + max(1.0, rate)
    assert begun >= min(rate * 30, AT_ONCE * 600) * 0.95


def test_a_job_that_stood_still_does_not_make_up_for_it(time: Time) -> None:
    jobs, job = runner(), a_job(10)
    jobs._allowed(job)
    time.now += 3_600
    assert jobs._allowed(job) == 10


def test_a_job_that_fails_by_a_mistake_of_ours_holds_up_no_other_and_is_left_alone_for_a_minute(
    time: Time, caplog: pytest.LogCaptureFixture
) -> None:
    tried: list[str] = []

    class Jobs:
        def running(self) -> list[tuple[Job, Progress]]:
            return [(replace(a_job(1), id=id), Progress(figures=Figures(under_way=1), trial_left=0, in_trial=False)) for id in "ab"]

        def look(self, id: str, **_: object) -> int:
            tried.append(id)
            if id == "a":
                raise ValueError("a defect")
            return 0

    worker = Worker("timetable", SimpleNamespace(), Clock())  # type: ignore[arg-type]
    made = JobRunner(worker, Jobs(), SimpleNamespace(), lambda: None, [], Clock())  # type: ignore[arg-type, return-value]
    made._learning = False
    lease = Lease(name="jobs", holder="x", token=1)
    for _ in range(3):
        asyncio.run(made._cycle(lease))
        time.now += 1
    assert tried == ["a", "b", "b", "b"]
    assert [record.message for record in caplog.records] == ["job_stuck"]
    time.now += 60
    asyncio.run(made._cycle(lease))
    assert tried[-2:] == ["a", "b"]
