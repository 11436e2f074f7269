"""System packages this needs: found, installed through apt where we may, or named in one sentence."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Final


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
}


def is_there(package: Package) -> bool:
    """Whether its program can be found."""
    if shutil.which(package.program):
        return True
    return any((folder / package.program).exists() for place in package.places for folder in Path("/").glob(place.lstrip("/")))


def require(name: str) -> None:
    """Sees to it that the package is there. Raises NotInstalled."""
    package = PACKAGES[name]
    if is_there(package):
        return
    by_hand = f"Install it (Debian, Ubuntu: sudo apt-get install {package.apt}) and try again."
    if shutil.which("apt-get") is None or os.geteuid() != 0:
        raise NotInstalled(f"{package.apt} is not installed, and only root may install it here. {by_hand}")
    sys.stderr.write(f"Installing {package.apt} ...\n")
    # a server that starts by itself would take the standard ports: we start our own nodes
    policy = Path("/usr/sbin/policy-rc.d")
    ours = not policy.exists()
    if ours:
        policy.write_text("#!/bin/sh\nexit 101\n")
        policy.chmod(0o755)
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    try:
        for command in (["apt-get", "update", "-q"], ["apt-get", "install", "-yq", "--no-install-recommends", package.apt]):
            done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)  # noqa: S603 - fixed words
            if done.returncode != 0:
                last = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
                raise NotInstalled(f"apt-get could not install {package.apt}: {last}. {by_hand}")
    finally:
        if ours:
            policy.unlink(missing_ok=True)
    if not is_there(package):
        raise NotInstalled(f"{package.apt} was installed, but its program {package.program} cannot be found. {by_hand}")
