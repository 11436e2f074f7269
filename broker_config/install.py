"""System packages this needs: found, installed through apt where we may, or named in one sentence."""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """`prepare`."""
    parser.add_argument("--tests", action="store_true", help="also what the tests need: PostgreSQL, other people's SOAP stacks, a browser")


def prepare(arguments: argparse.Namespace) -> int:
    """RabbitMQ (and what the tests need) are there, or installed where we may. Raises NotInstalled."""
    require(*(("rabbitmq", "postgresql") if arguments.tests else ("rabbitmq",)))
    if arguments.tests:
        for names in (OTHER_STACKS, BROWSER):
            try:
                require(*names, within_s=100)
            except NotInstalled as missing:
                sys.stderr.write(f"{missing} Tests that need it say so.\n")
    return 0


class NotInstalled(Exception):
    """A system package is missing and we may not install it; the text says what to install."""


@dataclass(frozen=True, slots=True)
class Package:
    """A system package, and how to see that it is there."""

    apt: str
    program: str
    places: tuple[str, ...]  #: glob patterns of folders to look in beside PATH


PACKAGES: Final = {
    "rabbitmq": Package("rabbitmq-server", "rabbitmq-server", ("/usr/sbin", "/usr/lib/rabbitmq/bin", "/opt/rabbitmq/sbin")),
    "postgresql": Package("postgresql", "initdb", ("/usr/lib/postgresql/*/bin",)),
    "xmlsec1": Package("xmlsec1", "xmlsec1", ()),
    "node": Package("nodejs", "node", ()),
    "npm": Package("npm", "npm", ()),
    "javac": Package("default-jdk-headless", "javac", ()),
    "wsimport": Package("jaxws", "wsimport", ()),
    "wss4j": Package("libwss4j-java", "wss4j.jar", ("/usr/share/java",)),
    "chromium": Package("chromium", "chromium", ()),
    "libatomic": Package("libatomic1", "libatomic.so.1", ("/usr/lib/*", "/usr/lib*")),
}
#: Other people's SOAP stacks, with which the tests hand in at the gateway. The rest of the tests can do without.
OTHER_STACKS: Final = ("xmlsec1", "node", "npm", "javac", "wsimport", "wss4j")
#: A browser, with which the tests look at the portal, and what the program that Playwright drives it with is linked to.
BROWSER: Final = ("chromium", "libatomic")
#: Keeps a server that was installed from starting by itself: it would take the standard ports, and we start our own nodes.
POLICY: Final = Path("/usr/sbin/policy-rc.d")


def is_there(package: Package) -> bool:
    """Whether its program can be found."""
    if shutil.which(package.program):
        return True
    return any((folder / package.program).exists() for place in package.places for folder in Path("/").glob(place.lstrip("/")))


def by_hand(*names: str) -> str:
    """What a person has to do to have these."""
    return f"Install it (Debian, Ubuntu: sudo apt-get install {' '.join(PACKAGES[name].apt for name in names)}) and try again."


def may_install() -> bool:
    """Whether we are root on a system with apt."""
    return shutil.which("apt-get") is not None and os.geteuid() == 0


def is_offered(name: str) -> bool:
    """Whether apt knows the package here."""
    return may_install() and subprocess.run(["apt-cache", "show", PACKAGES[name].apt], capture_output=True, check=False).returncode == 0  # noqa: S603, S607 - fixed words


def require(*names: str, within_s: float | None = None) -> None:
    """Sees to it that the packages are there. Fetching them may take `within_s` seconds in all; installing what was fetched is not hurried.

    Raises NotInstalled, after all of them were tried.
    """
    missing = [name for name in names if not is_there(PACKAGES[name])]
    if not missing:
        return
    if not may_install():
        listed = " and ".join(PACKAGES[name].apt for name in missing)
        raise NotInstalled(
            f"{listed} {'is' if len(missing) == 1 else 'are'} not installed, and only root may install it here. {by_hand(*missing)}"
        )
    sys.stderr.write(f"Installing {', '.join(PACKAGES[name].apt for name in missing)} ...\n")
    until = None if within_s is None else time.monotonic() + within_s
    problems = []
    with _no_service_starts():
        no_lists = _apt("update", "-q", until=until)
        not_fetched = {name: _apt(*_install(name), "--download-only", until=until) for name in missing}
        for name in missing:  # apt that is stopped while it unpacks leaves a broken system: from here on nothing is given up
            why = (not_fetched[name] and (no_lists or not_fetched[name])) or _apt(*_install(name), "--no-download", until=None)
            if why is not None:
                problems.append(f"apt-get could not install {PACKAGES[name].apt}: {why}. {by_hand(name)}")
            elif not is_there(PACKAGES[name]):
                problems.append(
                    f"{PACKAGES[name].apt} was installed, but its program {PACKAGES[name].program} cannot be found. {by_hand(name)}"
                )
    if problems:
        raise NotInstalled(" ".join(problems))


def _install(name: str) -> tuple[str, ...]:
    return ("install", "-yq", "--no-install-recommends", PACKAGES[name].apt)


def _apt(*words: str, until: float | None) -> str | None:
    """Runs apt-get; what went wrong, if anything."""
    left = None if until is None else max(until - time.monotonic(), 0.0)
    try:
        done = subprocess.run(  # noqa: S603 - fixed words
            ["apt-get", *words],  # noqa: S607 - where the distribution has it
            env={**os.environ, "DEBIAN_FRONTEND": "noninteractive"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=left,
        )
    except subprocess.TimeoutExpired:
        return "it took too long"
    return None if done.returncode == 0 else (done.stderr.strip().splitlines() or ["no reason given"])[-1].rstrip(".")


@contextmanager
def _no_service_starts() -> Iterator[None]:
    ours = not POLICY.exists()
    if ours:
        POLICY.write_text("#!/bin/sh\nexit 101\n")
        POLICY.chmod(0o755)
    try:
        yield
    finally:
        if ours:
            POLICY.unlink(missing_ok=True)
