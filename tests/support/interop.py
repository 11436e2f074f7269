"""Other people's SOAP stacks for the tests: found, or a sentence that says what is missing and why it is not here."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import tempfile
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any, NoReturn

import pytest

from adapters.forwarding import Forwarding
from adapters.soap import DEFAULT_LIMITS
from broker_config.install import PACKAGES, by_hand, is_offered, is_there
from tests.support import signing as s

PROGRAMS = Path(__file__).parents[1] / "interop"
#: Seconds that npm may take in all; a machine without network is not waited for.
NPM_S = 60


def need(*names: str) -> None:
    """Skips at home, fails in CI, when one of these packages is missing; but skips there too when it cannot be had."""
    for name in names:
        if not is_there(PACKAGES[name]):
            _leave(f"{PACKAGES[name].apt} is not installed. {by_hand(name)}", can_be_had=is_offered(name))


def run(
    *command: str | Path, within_s: float = 60, env: dict[str, str] | None = None, check: bool = True
) -> subprocess.CompletedProcess[str]:
    """A program of somebody else's. Fails the test with what it said, unless `check` is off."""
    done = subprocess.run(
        [str(word) for word in command],
        env={**os.environ, **(env or {})},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=within_s,
        check=False,
    )
    if check and done.returncode != 0:
        pytest.fail(f"{command[0]} ended with {done.returncode}: {done.stderr[-2_000:]}{done.stdout[-500:]}")
    return done


@cache
def node_modules() -> Path:
    """The Node.js packages of `tests/interop/node/package.json`, kept outside the project from one run to the next."""
    need("node", "npm")
    wanted = PROGRAMS / "node" / "package.json"
    least = tuple(map(int, json.loads(wanted.read_text())["engines"]["node"].removeprefix(">=").split(".")))
    version = run("node", "--version").stdout.strip()
    if tuple(map(int, version.removeprefix("v").split("."))) < least:
        _leave(f"Node.js {'.'.join(map(str, least))} or newer is needed; this is {version}", can_be_had=False)
    caches = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "koppelpunt"
    kept = caches / f"node-{hashlib.sha256(wanted.read_bytes()).hexdigest()[:12]}"
    if not kept.exists():
        caches.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=caches) as folder:
            shutil.copy(wanted, folder)
            _npm_install(Path(folder))
            if not kept.exists():  # another run may have been quicker
                (Path(folder) / "node_modules").rename(kept)
    return kept


def _npm_install(folder: Path) -> None:
    options = (
        "--ignore-scripts",
        "--no-audit",
        "--no-fund",
        "--no-package-lock",
        "--fetch-retries=1",
        "--fetch-retry-mintimeout=2000",
        "--fetch-timeout=20000",
    )
    try:
        done = run("npm", "install", "--prefix", folder, *options, within_s=NPM_S, check=False)
    except subprocess.TimeoutExpired:
        _leave(f"npm could not install node-soap within {NPM_S} seconds: is there a network?", can_be_had=False)
    if done.returncode != 0:
        said = next((line for line in done.stderr.splitlines() if "npm" in line and "code" in line), done.stderr.strip()[-200:])
        # no network, a proxy with a certificate of its own, a registry that is down: nothing of it is about this project
        _leave(f"npm could not install node-soap: {said}", can_be_had=False)


@cache
def java_classes() -> Path:
    """The Java programs of `tests/interop/java`, compiled against WSS4J."""
    need("javac", "wss4j")
    folder = Path(tempfile.mkdtemp(prefix="koppelpunt-java-"))
    run("javac", "-d", folder, "-cp", _JARS, *sorted((PROGRAMS / "java").glob("*.java")))
    return folder


_JARS = ":".join(f"/usr/share/java/{name}.jar" for name in ("wss4j", "xmlsec", "commons-logging", "slf4j-api"))


def java(program: str, given: dict[str, Any], *, check: bool = True) -> subprocess.CompletedProcess[str]:
    """Runs one of the Java programs; it reads its settings as `name=value` words."""
    words = [f"{name}={value}" for name, value in given.items()]
    return run("java", "-XX:TieredStopAtLevel=1", "-cp", f"{java_classes()}:{_JARS}", program, *words, check=check)


def node(program: str, given: dict[str, Any]) -> dict[str, Any]:
    """Runs one of the Node.js programs; it reads and prints JSON."""
    done = run("node", "--no-deprecation", PROGRAMS / "node" / program, json.dumps(given), env={"NODE_PATH": str(node_modules())})
    return dict(json.loads(done.stdout))


def onward() -> bytes:
    """A message as we send it on: its sender's Body in an envelope that we signed."""
    forwarding = Forwarding(s.signer("hub", oin=s.HUB), DEFAULT_LIMITS)
    return forwarding.forward(
        s.signed(),
        message_id=s.message_id(),
        sender=s.SCHOOL,
        receiver=s.HUB,
        address=None,
        action=s.ACTION,
        relates_to=s.message_id(),
        created=datetime.now(UTC),
    )


def _leave(why: str, *, can_be_had: bool) -> NoReturn:
    if os.environ.get("CI") == "true" and can_be_had:
        pytest.fail(why)
    pytest.skip(why)
