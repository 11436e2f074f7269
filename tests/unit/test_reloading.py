"""Files that are replaced while we run."""

from __future__ import annotations

import logging
import os
import time
from pathlib import Path

import pytest

from adapters import reloading
from adapters.reloading import Following


def number_in(file: Path) -> Following[int]:
    def require(before: int, after: int) -> None:
        if after < before:
            raise ValueError(f"{after} is less than {before}")

    return Following("number", [file], lambda: int(file.read_text()), require)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    (tmp_path / "number").write_text("1")
    return tmp_path / "number"


def test_a_file_is_read_when_two_looks_saw_the_same(file: Path) -> None:
    number = number_in(file)
    file.write_text("20")
    number.look()
    assert number() == 1, "somebody may still be writing"
    file.write_text("300")
    number.look()
    assert number() == 1
    number.look()
    assert number() == 300


def test_another_file_put_in_its_place_is_noticed_though_it_is_as_long_and_as_old(file: Path) -> None:
    number, before = number_in(file), file.stat()
    fresh = file.with_name("fresh")
    fresh.write_text("2")
    os.utime(fresh, ns=(before.st_atime_ns, before.st_mtime_ns))
    fresh.replace(file)
    number.look(at_once=True)
    assert number() == 2


@pytest.mark.parametrize(("text", "why"), [("no", "invalid literal"), ("0", "0 is less than 1"), (None, "No such file")])
def test_what_cannot_be_used_is_refused_once_and_what_was_in_use_stays(
    file: Path, text: str | None, why: str, caplog: pytest.LogCaptureFixture
) -> None:
    number = number_in(file)
    if text is None:
        file.unlink()
    else:
        file.write_text(text)
    with caplog.at_level(logging.INFO):
        for _ in range(4):
            number.look()
        assert [record.message for record in caplog.records] == ["files_refused"]
        assert number() == 1
        assert why in dict(reloading.refused())["number"]
        file.write_text("7")
        reloading.look_again()
    assert number() == 7
    assert "number" not in dict(reloading.refused())
    assert caplog.records[-1].message == "files_replaced"


def test_a_file_that_is_not_there_at_the_start_is_whoever_starts_its_problem(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="none"):
        number_in(tmp_path / "none")


def test_a_file_is_followed_though_nothing_of_it_is_used_and_the_log_says_in_which_worker(
    file: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(reloading, "LOOK_EVERY_S", 0.02)
    number = number_in(file)
    end = reloading.keep_looking("push-1234")
    try:
        with caplog.at_level(logging.INFO):
            file.write_text("2")
            give_up_at = time.monotonic() + 10
            while not caplog.records and time.monotonic() < give_up_at:
                time.sleep(0.01)
    finally:
        end()
    assert [(record.message, record.__dict__["worker"]) for record in caplog.records] == [("files_replaced", "push-1234")]
    assert number() == 2
