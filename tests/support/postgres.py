"""A private PostgreSQL server for the tests: its own folder, reachable through a unix socket only, gone when the tests end."""

from __future__ import annotations

import atexit
import os
import pwd
import shutil
import subprocess
import tempfile
from functools import cache
from pathlib import Path

import pytest

#: Where Debian keeps the server's programs, newest first; elsewhere they are on the PATH.
_FOLDERS = [str(path) for path in sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)]


def _program(name: str) -> str | None:
    return shutil.which(name, path=os.pathsep.join([*_FOLDERS, os.environ.get("PATH", "")]))


def _unprivileged() -> str | None:
    """PostgreSQL refuses to run as root: then it runs as somebody else."""
    if os.geteuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        try:
            return pwd.getpwnam(name).pw_name
        except KeyError:
            continue
    return None


@cache
def server(durable: bool = False, keep: Path | None = None, settings: tuple[str, ...] = ()) -> str:
    """The server's URL without a database name; started once per test run. Skips without PostgreSQL, but fails in CI.

    `durable`: with synced commits, for a benchmark. What is tested is what it does, not whether this machine's disk survives a power cut.
    `keep`: a folder in which its data stays, and is found again. `settings`: the server's own, each `name=value`.
    """
    initdb, control = _program("initdb"), _program("pg_ctl")
    if initdb is None or control is None:
        why = "PostgreSQL is not installed: the store is tested on SQLite only (apt install postgresql)"
        if os.environ.get("CI") == "true":
            pytest.fail(why)
        pytest.skip(why)
    folder = Path(tempfile.mkdtemp(prefix="kp-pg-"))
    user = _unprivileged()
    if user:
        shutil.chown(folder, user)

    def run(*command: str) -> None:
        subprocess.run(command, check=True, capture_output=True, cwd=folder, user=user, env={"PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8"})

    data = keep or folder / "data"
    if not (data / "PG_VERSION").exists():
        data.mkdir(parents=True, exist_ok=True)
        if user:
            shutil.chown(data, user)
        run(initdb, "-D", str(data), "-U", "tests", "--auth=trust", "--no-sync", "-E", "UTF8")
    options = f"-c listen_addresses='' -c unix_socket_directories='{folder}' -c fsync={'on' if durable else 'off'} -c max_connections=60"
    options += "".join(f" -c {setting}" for setting in settings)
    run(control, "-D", str(data), "-l", str(folder / "log"), "-w", "-t", "600", "-o", options, "start")

    def stop() -> None:
        how = "fast" if keep else "immediate"
        subprocess.run([control, "-D", str(data), "-m", how, "-t", "600", "stop"], check=False, capture_output=True, cwd=folder, user=user)
        shutil.rmtree(folder, ignore_errors=True)

    atexit.register(stop)
    return f"postgresql+psycopg://tests@/{{database}}?host={folder}"
