"""The folder that holds all state: who may start in it, what is made there, and what only looks makes nothing."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import run
from adapters.errors import UsageError
from adapters.home import alone_in, make_private_home, read_settings
from adapters.portal_keys import PortalKeys
from adapters.vault import read_master_key


@pytest.fixture(autouse=True)
def _bare_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("KOPPELPUNT_") or name == "AMQP_URL"]:
        monkeypatch.delenv(name)


@pytest.fixture(autouse=True)
def _logging_as_it_was() -> Iterator[None]:
    """A command configures it, for its process."""
    root, ours = logging.getLogger(), logging.getLogger("koppelpunt")
    handlers, levels = list(root.handlers), (root.level, ours.level)
    yield
    root.handlers[:] = handlers
    root.setLevel(levels[0])
    ours.setLevel(levels[1])


@pytest.fixture
def another(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """A process that has the home."""
    code = "import sys, pathlib; from adapters.home import alone_in\n"
    code += "with alone_in(pathlib.Path(sys.argv[1])): print('in', flush=True); input()"
    command = [sys.executable, "-c", code, str(tmp_path)]
    with subprocess.Popen(command, cwd=run.ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "in\n"
        yield process
        process.kill()


@pytest.mark.parametrize("command", ["up", "demo"])
def test_a_second_up_in_a_home_says_who_runs_there_and_touches_nothing(
    tmp_path: Path, another: subprocess.Popen[str], command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run.main([command, "--home", str(tmp_path)]) == 1
    assert capsys.readouterr().err.startswith(f"koppelpunt: Another `up` (pid {another.pid}) runs in {tmp_path};")
    assert [file.name for file in tmp_path.iterdir()] == ["up.lock"]


def test_a_home_is_free_again_when_whoever_had_it_is_killed(tmp_path: Path, another: subprocess.Popen[str]) -> None:
    with pytest.raises(UsageError, match=f"pid {another.pid}"), alone_in(tmp_path):
        pass
    another.send_signal(signal.SIGKILL)
    another.wait(10)
    with alone_in(tmp_path):
        assert (tmp_path / "up.lock").read_text() == f"{os.getpid()}\n"


@pytest.mark.parametrize(
    "command",
    [
        "status",
        "outbox",
        "failures --group",
        "message 1",
        "retry 1",
        "resolve 1 --failed",
        "lanes",
        "journal verify",
        "register show",
        "register explain --message none.xml",
        "certificate show",
        "topology check",
    ],
)
def test_a_command_that_looks_where_there_is_no_store_says_so_and_makes_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run.main(command.split()) == 1
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err == f"koppelpunt: There is no store in {tmp_path}/var; name it with --home, or start it with `run.py up`.\n"
    assert list(tmp_path.iterdir()) == []


def test_a_store_that_is_named_and_not_there_is_said_by_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("KOPPELPUNT_STORE", f"sqlite:///{tmp_path}/elsewhere.db")
    assert run.main(["status", "--home", str(tmp_path)]) == 1
    assert f"There is no store at {tmp_path}/elsewhere.db; KOPPELPUNT_STORE names it" in capsys.readouterr().err


def test_a_home_that_was_made_before_has_the_same_settings_at_its_second_start(tmp_path: Path) -> None:
    first = make_private_home(read_settings({}, home=tmp_path), {})
    assert (first.trust, first.crl) == (tmp_path / "pki" / "ca.pem", (str(tmp_path / "pki" / "crl.pem"),))
    assert make_private_home(read_settings({}, home=tmp_path), {}) == first


def test_the_portals_keys_are_made_with_the_master_key_and_follow_it(tmp_path: Path) -> None:
    settings = make_private_home(read_settings({}, home=tmp_path), {})
    keys = PortalKeys.read(settings.portal_secrets)
    assert keys == PortalKeys.of(read_master_key(settings.master_key))
    settings.master_key.unlink()
    make_private_home(settings, {})
    assert PortalKeys.read(settings.portal_secrets) == PortalKeys.of(read_master_key(settings.master_key)) != keys


def test_what_was_made_for_a_home_stays_when_something_more_is_made(tmp_path: Path) -> None:
    own = {"KOPPELPUNT_TRUST": str(tmp_path / "own.pem")}
    first = make_private_home(read_settings(own, home=tmp_path), own)
    second = make_private_home(read_settings({}, home=tmp_path), {})
    assert second.trust == tmp_path / "pki" / "ca.pem"
    assert (second.key, second.cert) == (first.key, first.cert)
    assert read_settings({}, home=tmp_path).cert == first.cert
