"""What is missing on a machine is installed where we may, within bounds, or named in one sentence."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from broker_config import install
from broker_config.install import NotInstalled, Package, require


@pytest.fixture(autouse=True)
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine on which we are root and two packages are missing; its `apt-get` is what a test writes."""
    monkeypatch.setattr(install, "POLICY", tmp_path / "policy-rc.d")
    monkeypatch.setattr(install, "PACKAGES", {"one": Package("one-apt", "one.jar", (str(tmp_path),)), "two": Package("two-apt", "two", ())})
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    return tmp_path


def apt_get(machine: Path, script: str) -> None:
    (machine / "apt-get").write_text(f'#!/bin/sh\necho "$@" >> {machine}/asked\n{script}\n')
    (machine / "apt-get").chmod(0o755)


def test_what_is_missing_is_fetched_first_and_then_installed_and_no_service_starts(machine: Path) -> None:
    apt_get(machine, f'case "$*" in *no-download*) cp {machine}/policy-rc.d {machine}/seen; touch {machine}/one.jar;; esac')
    require("one")
    assert [line.split()[0] for line in (machine / "asked").read_text().splitlines()] == ["update", "install", "install"]
    assert "exit 101" in (machine / "seen").read_text()
    assert not (machine / "policy-rc.d").exists()
    require("one")
    assert len((machine / "asked").read_text().splitlines()) == 3


def test_one_that_apt_does_not_have_is_named_and_the_other_is_installed_all_the_same(machine: Path) -> None:
    apt_get(
        machine,
        f'case "$*" in *one-apt*) echo "E: Unable to locate package one-apt" >&2; exit 100;; *no-download*) cp "$0" {machine}/two;; esac',
    )
    with pytest.raises(NotInstalled) as refused:
        require("one", "two")
    assert str(refused.value) == (
        "apt-get could not install one-apt: E: Unable to locate package one-apt. "
        "Install it (Debian, Ubuntu: sudo apt-get install one-apt) and try again."
    )
    assert (machine / "two").exists()


@pytest.mark.timeout(30)
def test_a_network_that_does_not_answer_is_not_waited_for(machine: Path) -> None:
    apt_get(machine, "exec sleep 60")
    with pytest.raises(NotInstalled, match=r"one-apt: it took too long.* two-apt: it took too long"):
        require("one", "two", within_s=0.5)


@pytest.mark.timeout(30)
def test_what_takes_long_to_install_does_not_count_as_time_to_fetch(machine: Path) -> None:
    apt_get(
        machine,
        f'case "$*" in *one-apt*no-download) sleep 1.2; touch {machine}/one.jar;; *no-download*) cp "$0" {machine}/two;; esac',
    )
    require("one", "two", within_s=1)
    assert (machine / "two").exists()


def test_a_list_of_packages_that_cannot_be_renewed_does_not_matter_where_the_old_one_will_do(machine: Path) -> None:
    apt_get(machine, f'case "$*" in update*) echo "E: no such host" >&2; exit 100;; *no-download*) touch {machine}/one.jar;; esac')
    require("one")
    apt_get(machine, 'case "$*" in update*) echo "E: no such host" >&2;; *) echo "E: Unable to locate" >&2;; esac; exit 100')
    with pytest.raises(NotInstalled, match="could not install two-apt: E: no such host"):
        require("two")


def test_what_a_browser_for_the_tests_is_linked_to_is_looked_for_where_libraries_are(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.undo()
    places = install.PACKAGES["libatomic"].places
    assert "libatomic" in install.BROWSER
    for folder in ("usr/lib/x86_64-linux-gnu", "usr/lib64"):
        assert any(Path(folder).match(place.lstrip("/")) for place in places)


@pytest.mark.parametrize(
    ("has", "says"),
    [
        (
            [],
            "Python 3.11 or newer is needed. Install it "
            "(Debian, Ubuntu: sudo apt-get install python3 python3-venv rabbitmq-server) and try again.",
        ),
        (
            ["python3"],
            "Python cannot make a virtual environment. Install it "
            "(Debian, Ubuntu: sudo apt-get install python3-venv rabbitmq-server) and try again.",
        ),
    ],
)
def test_who_may_not_install_is_told_by_make_of_everything_at_once(machine: Path, has: list[str], says: str) -> None:
    """`python3` here is one that cannot make virtual environments."""
    for program, does in {"id": "echo 1000", "apt-get": "exit 0", **dict.fromkeys(has, 'case "$*" in *ensurepip*) exit 1;; esac')}.items():
        (machine / program).write_text(f"#!/bin/sh\n{does}\n")
        (machine / program).chmod(0o755)
    for name in ("Makefile", "pyproject.toml"):
        shutil.copy(Path(__file__).parents[2] / name, machine)
    made = subprocess.run(
        [shutil.which("make") or "make", "-C", str(machine), "demo"],
        env={"PATH": str(machine)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert says in made.stdout
    assert made.returncode != 0


def test_who_may_not_install_is_told_what_to_install(machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    apt_get(machine, "exit 0")
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(NotInstalled, match=r"one-apt and two-apt are not installed.*apt-get install one-apt two-apt"):
        require("one", "two")
    assert not (machine / "asked").exists()
