"""A supplier with nothing but the README gets its first message through: its own blocks are run, in its order."""

from __future__ import annotations

import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.broker import free_port, require_rabbitmq

ROOT = Path(__file__).parents[2]
GUIDE = (ROOT / "README.md").read_text(encoding="utf-8").partition("## Send your first message")[2].partition("\n## ")[0]
BLOCKS = re.findall(r"```(sh|json|python)\n(.*?)```", GUIDE, re.DOTALL)
SYSTEM = "00000099000000020000"


@pytest.fixture
def folder() -> Iterator[Path]:
    path = Path(tempfile.mkdtemp(prefix="kp-readme-"))
    path.chmod(0o755)
    yield path
    shutil.rmtree(path, ignore_errors=True)


def within(seconds: float, what: str, done: object) -> None:
    end = time.monotonic() + seconds
    while not done():  # type: ignore[operator]
        assert time.monotonic() < end, f"{what}: not within {seconds:g} s"
        time.sleep(0.1)


@pytest.mark.broker
@pytest.mark.slow
def test_whoever_follows_the_readme_sends_a_message_receives_it_and_sees_it_acknowledged(folder: Path) -> None:
    require_rabbitmq()
    port, home = free_port(), folder / "koppelpunt"
    start, certificate, register, load, message, send, follow, receiver = (text for _, text in BLOCKS)

    def here(text: str) -> str:
        """The README's own words, with this test's home, port and Python."""
        return text.replace("/tmp/koppelpunt", str(home)).replace(".venv/bin/python run.py", f"{sys.executable} {ROOT / 'run.py'}")

    def run(text: str) -> str:
        done = subprocess.run(["bash", "-euc", here(text)], cwd=folder, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, f"{text}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    setup, up = start.strip().splitlines()
    assert setup == "make setup"
    began = time.monotonic()
    command = f"exec env KOPPELPUNT_AMQP_PORT={port} {here(up)}"
    with (folder / "up.log").open("wb") as log:
        running = subprocess.Popen(["bash", "-c", command], cwd=folder, stdout=log, stderr=log)
    try:
        within(60, "up", lambda: b"Koppelpunt runs" in (folder / "up.log").read_bytes() or running.poll() is not None)
        answered = time.monotonic() - began
        run(certificate)
        (folder / "register.json").write_text(register, encoding="utf-8")
        run(load)
        within(20, "the password of the system", (home / "parties" / f"{SYSTEM}.password").exists)
        run(message)
        said = run(send)
        reference = re.search(r"True\s+([0-9a-f-]{36})", said)
        assert reference, said
        outbox, one = follow.strip().splitlines()
        assert "delivered" in run(outbox) or "routed" in run(outbox) or "released" in run(outbox)
        (folder / "mailbox.py").write_text(receiver, encoding="utf-8")
        fetch = [sys.executable, "mailbox.py", str(home), str(port)]

        def fetched() -> bool:
            done = subprocess.run(fetch, cwd=folder, capture_output=True, text=True, timeout=30, check=False)
            assert done.returncode == 0 or "empty" in done.stderr, done.stderr
            return done.returncode == 0

        within(20, "the message in the mailbox", fetched)
        print(f"answered after {answered:.1f} s, first message received after {time.monotonic() - began:.1f} s")
        one = re.sub(r"[0-9a-f]{8}-[0-9a-f-]{27}", reference.group(1), one.partition("#")[0])
        within(20, "the acknowledgement", lambda: "acknowledged" in run(one))
        assert "Nothing is open" in run(outbox)
    finally:
        running.send_signal(signal.SIGTERM)
        assert running.wait(60) == 0, (folder / "up.log").read_text()
    said = (folder / "up.log").read_text()
    assert "\nStopping: " in said and said.endswith("\nStopped.\n")
