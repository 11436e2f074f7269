"""`run.py retry`, `return`, `redirect`, `archive` and `job`, as they are typed."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

import run as program
from adapters.store import Store, open_store
from tests.support.board import keep
from tests.support.jobs import DOCUMENT, Bench, StillClock
from tests.support.store import MAILBOX, RECEIVER, SYSTEM, fresh_url, kinds, run_sql
from workers.commands import WrongArgument
from workers.job_commands import parse_since

#: Exit status, what stands on stdout, and on stderr.
Said = tuple[int, str, str]
NOW = datetime(2026, 7, 1, 10, 30, tzinfo=UTC)


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Store]:
    url = fresh_url("sqlite", tmp_path)
    monkeypatch.setenv("KOPPELPUNT_STORE", url)
    monkeypatch.setenv("SUDO_USER", "anna")
    opened = open_store(url)
    opened.registry.save_register(DOCUMENT, who="test", now_us=1)
    yield opened
    opened.close()


@pytest.fixture
def bench(store: Store) -> Bench:
    """Failures of this moment: commands go by the real clock."""
    bench = Bench(store)
    bench.clock = StillClock(int(datetime.now(UTC).timestamp() * 1e6))
    return bench


@pytest.fixture
def typed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., Said]:
    def run(*words: str) -> Said:
        status = program.main([*words, "--home", str(tmp_path)])
        said = capsys.readouterr()
        return status, said.out, said.err

    return run


def test_a_filter_is_previewed_confirmed_and_followed(bench: Bench, typed: Callable[..., Said]) -> None:
    bench.fail(*map(str, range(12)))
    words = ("--code", "ENDPOINT_REFUSES_US", "--since", "1h", "--dienst", "proef", "--system", SYSTEM, "--receiver", RECEIVER)
    status, out, err = typed("retry", *words, "--trial", "3", "--rate", "10", "--stop-below", "0.5", "--reason", "admitted", "--yes")
    assert (status, err) == (0, "")
    assert "another must mend something first" in out
    assert "a trial batch of 3 first: 12 planned" in out
    _, shown, _ = typed("job", "list", "--json")
    (job,) = json.loads(shown)
    assert (job["state"], job["order"]["action"], job["count"], job["made_by"]) == ("running", "retry", 12, "operator anna")
    assert job["terms"] == {"trial": 3, "rate": 10.0, "stop_below": 0.5, "patience_s": 300}
    assert typed("job", "pause", job["id"][:8]) == (0, f"Job {job['id']} is paused: 12 planned.\n", "")
    status, out, _ = typed("job", "show", job["id"], "--results", "planned")
    assert status == 0
    assert out.count("planned") >= 12
    assert typed("job", "cancel", job["id"])[0] == 0


def test_without_yes_json_is_a_dry_run(bench: Bench, store: Store, typed: Callable[..., Said]) -> None:
    (reference,) = bench.fail("1")
    status, out, _ = typed("archive", "--code", "ENDPOINT_REFUSES_US", "--json")
    preview = json.loads(out)
    assert status == 0
    assert (preview["count"], preview["acts"], preview["order"]["action"]) == (1, 1, "archive")
    assert kinds(store, reference)[-1] == "failed"
    assert typed("job", "list")[1].startswith("There are no jobs")


def test_one_that_is_closed_by_its_id_is_closed_at_once_and_reopened(bench: Bench, store: Store, typed: Callable[..., Said]) -> None:
    (reference,) = bench.fail("1")
    assert "1 succeeded" in typed("archive", reference, "--reason", "too late now", "--yes")[1]
    assert kinds(store, reference)[-1] == "archived"
    assert typed("archive", reference, "--reopen", "--reason", "not too late", "--yes")[0] == 0
    assert kinds(store, reference)[-1] == "reopened"
    assert store.journal.of_message(reference)[-1].details["why"] == "not too late"


def test_a_retour_says_whether_to_deliver_again(bench: Bench, store: Store, typed: Callable[..., Said]) -> None:
    (reference,) = bench.fail("1")
    assert typed("return", reference, "--deliver-again", "no", "--reason", "settled by phone", "--yes")[0] == 0
    assert store.enquiries.by_reference(SYSTEM, reference)[0].deliveries[0].deliver_again is False


def test_a_redirect_goes_only_where_the_register_allows(bench: Bench, store: Store, typed: Callable[..., Said]) -> None:
    (reference,) = bench.fail("1")
    status, out, err = typed("redirect", reference, "--to", "e3", "--reason", "x", "--yes")
    assert status == 1
    assert "does not allow that endpoint" in out
    assert err == "koppelpunt: Nothing was done: none of it can be, as the table says.\n"
    assert typed("redirect", reference, "--to", "e2", "--reason", "moved", "--yes")[0] == 0
    assert kinds(store, reference)[-1] == "redirected"


def test_a_group_of_failures_is_named_by_its_key(bench: Bench, typed: Callable[..., Said]) -> None:
    bench.fail("1", "2")
    _, out, _ = typed("retry", "--group", f"ENDPOINT_REFUSES_US~receiver~proef~{SYSTEM}~{MAILBOX}", "--json")
    assert json.loads(out)["count"] == 2


def test_what_a_job_left_is_taken_up_by_its_id(bench: Bench, typed: Callable[..., Said]) -> None:
    bench.fail(*map(str, range(12)))
    typed("retry", "--code", "ENDPOINT_REFUSES_US", "--reason", "x", "--yes")
    (job,) = json.loads(typed("job", "list", "--json")[1])
    typed("job", "cancel", job["id"])
    assert json.loads(typed("return", "--left-by", job["id"][:8], "--json")[1])["acts"] == 12


def test_a_second_person_is_needed_above_the_threshold(bench: Bench, typed: Callable[..., Said], monkeypatch: pytest.MonkeyPatch) -> None:
    bench.fail("1", "2")
    monkeypatch.setenv("KOPPELPUNT_APPROVE_ABOVE", "1")
    _, out, _ = typed("retry", "--code", "ENDPOINT_REFUSES_US", "--reason", "x", "--yes")
    assert "waits for another person" in out
    (job,) = json.loads(typed("job", "list", "--json")[1])
    status, _, err = typed("job", "approve", job["id"])
    assert status == 1
    assert err == "koppelpunt: Whoever confirmed a job cannot approve it: another person must.\n"
    monkeypatch.setenv("SUDO_USER", "bob")
    assert "is running" in typed("job", "approve", job["id"])[1]


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("retry",), "Say what it is about in one way"),
        (("retry", "a", "b", "--code", "POISON", "--reason", "x", "--yes"), "Say what it is about in one way"),
        (("return", "unknown", "--yes"), "Say why"),
        (("return", "unknown", "--reason", "x", "--yes"), "There is no message, delivery or refusal unknown"),
        (("return", "--code", "NOTHING", "--reason", "x", "--yes"), "There is no code NOTHING"),
        (("return", "--code", "POISON", "--reason", "x", "--yes"), "nothing on the board fits it"),
        (("return", "--code", "POISON", "--reason", "pupil 123456782", "--yes"), "nine digits"),
        (("archive", "--since", "noon", "--reason", "x", "--yes"), "is no moment"),
        (("archive", "--group", "x", "--reason", "x", "--yes"), "names no group"),
        (("retry", "--code", "POISON", "--rate", "0", "--reason", "x", "--yes"), "The rate is a number"),
        (("retry", "--left-by", "none", "--reason", "x", "--yes"), "There is no job none"),
        (("job", "show"), "Which job?"),
        (("job", "show", "none"), "There is no job none"),
        (("job", "pause", "none"), "There is no job none"),
        (("retry", "123456782", "--reason", "1234.56.782"), "There is no message"),
    ],
)
def test_what_is_wrong_is_said_in_one_sentence(store: Store, typed: Callable[..., Said], words: tuple[str, ...], says: str) -> None:
    status, out, err = typed(*words)
    assert (status, out, err.count("\n")) == (1, "", 1), err
    assert says in err
    assert "Traceback" not in err


def test_nothing_is_done_without_an_answer(bench: Bench, store: Store, typed: Callable[..., Said], monkeypatch: pytest.MonkeyPatch) -> None:
    (reference,) = bench.fail("1")
    assert "say --yes" in typed("archive", reference, "--reason", "x")[2]

    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    for answer, after in (("n\n", "failed"), ("", "failed"), ("y\n", "archived")):
        monkeypatch.setattr(sys, "stdin", Terminal(answer))
        assert typed("archive", reference, "--reason", "x")[0] == (0 if after == "archived" else 1)
        assert kinds(store, reference)[-1] == after


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("10:00", datetime(2026, 7, 1, 8, 0, tzinfo=UTC)),
        ("2h", datetime(2026, 7, 1, 8, 30, tzinfo=UTC)),
        ("2026-06-30", datetime(2026, 6, 29, 22, 0, tzinfo=UTC)),
        ("2026-07-01T08:00+00:00", datetime(2026, 7, 1, 8, 0, tzinfo=UTC)),
    ],
)
def test_a_moment_is_typed_as_people_say_it(text: str, moment: datetime) -> None:
    assert parse_since(text, NOW) == moment


@pytest.mark.parametrize("text", ["24:00", "yesterday", "2026-13-01", "13:00", "99999999d", ""])
def test_what_is_no_moment_or_still_to_come_is_refused(text: str) -> None:
    with pytest.raises(WrongArgument):
        parse_since(text, NOW)


def test_never_attempted_is_what_its_name_says(bench: Bench, store: Store, typed: Callable[..., Said]) -> None:
    bench.fail("1", "2")
    run_sql(store, "UPDATE delivery SET attempts = 0 WHERE seq = 1")
    store.board_keeper.start_anew()
    keep(store, now_us=bench.clock.at_us)
    found: dict[str, Any] = json.loads(typed("retry", "--never-attempted", "--json")[1])
    assert found["count"] == 1
