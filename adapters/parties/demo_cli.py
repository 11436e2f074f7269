"""The command `demo`: a season in a home of its own, what became of it, and with `--stay` a look around."""

from __future__ import annotations

import argparse
import asyncio
import shutil
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from adapters.backbone import Backbone
from adapters.home import alone_in
from adapters.parties import demo, demo_accounts
from adapters.parties.world import build_world
from adapters.passwords import Passwords
from adapters.portal_keys import portal_keys


class Progress(demo.Progress, Protocol):
    """Tells somebody how far it is."""

    def close(self) -> None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Terminal:
    """How whoever typed the command is told."""

    progress: Callable[[], AbstractContextManager[Progress]]
    show: Callable[[Mapping[str, Any], Sequence[Mapping[str, Any]]], None]  #: a summary, and what fell out
    print_json: Callable[[Any], None]
    print_table: Callable[..., None]


def run(
    arguments: argparse.Namespace,
    environment: Mapping[str, str],
    *,
    names: Sequence[str],
    workers: Callable[[Sequence[str], Mapping[str, str], Path], demo.Workers],
    until_signal: Callable[[], asyncio.Event],
    terminal: Terminal,
) -> int:
    """Exit 1 when anything was lost or doubled. `names`: of the workers. `workers`: names, environment and log file -> those processes."""
    with _home(arguments.home) as home:
        port = demo_accounts.portal_port()
        names = (*names, "portal") if arguments.stay else names
        processes = workers(names, _environment(environment, home, port), home / "workers.log")
        return asyncio.run(_run(home, port, arguments, processes, until_signal, terminal))


@contextmanager
def _home(given: Path | None) -> Iterator[Path]:
    """The folder that was given, or else a temporary one that is removed afterwards. Raises UsageError while another runs there."""
    home = given or Path(tempfile.mkdtemp(prefix="koppelpunt-demo-"))
    home.mkdir(parents=True, exist_ok=True)
    home.chmod(0o755)  # the broker's own user must be able to reach its folder
    try:
        with alone_in(home):
            yield home
    finally:
        if not given:
            shutil.rmtree(home, ignore_errors=True)


def _environment(environment: Mapping[str, str], home: Path, port: int) -> dict[str, str]:
    """Without anybody's settings."""
    private = {name: value for name, value in environment.items() if not name.startswith("KOPPELPUNT_") and name != "AMQP_URL"}
    portal = {"KOPPELPUNT_PORTAL_PORT": str(port), "KOPPELPUNT_PORTAL_SECOND_FACTOR": "none"}  # whoever looks at a demo has its passwords
    return private | {"KOPPELPUNT_LOG_LEVEL": "WARNING", "KOPPELPUNT_HOME": str(home), **portal}


async def _run(
    home: Path,
    port: int,
    arguments: argparse.Namespace,
    workers: demo.Workers,
    until_signal: Callable[[], asyncio.Event],
    terminal: Terminal,
) -> int:
    with terminal.progress() as progress:

        async def stay(backbone: Backbone, result: demo.Summary, groups: demo.Groups) -> None:
            progress.close()
            terminal.show(result.as_dict(), groups)
            _show_accounts(backbone, port, terminal)
            sys.stdout.write(f"Everything keeps running; look at it with --home {home}. Ctrl-C stops it.\n")
            sys.stdout.flush()
            await backbone.keep(until_signal())

        afterwards: Callable[[Backbone, demo.Summary, demo.Groups], Awaitable[None]] | None = stay if arguments.stay else None
        result, groups = await demo.perform(
            home, workers=workers, progress=progress, messages=arguments.messages, seed=arguments.seed, afterwards=afterwards
        )
    if arguments.json:
        terminal.print_json(result.as_dict())
    elif not arguments.stay:
        terminal.show(result.as_dict(), groups)
    return 1 if result.lost or result.duplicated else 0


def _show_accounts(backbone: Backbone, port: int, terminal: Terminal) -> None:
    """Makes an account for each role, and says what to sign in with."""
    settings, store = backbone.settings, backbone.store
    assert store is not None
    wanted = demo_accounts.accounts(build_world(settings.own_oins[0]))
    rows = demo_accounts.make(store.people, Passwords(portal_keys(settings)), wanted, now_us=time.time_ns() // 1_000)
    title = f"The portal: http://localhost:{port}, and who may sign in there"
    terminal.print_table(("name", "password", "role", "sees"), rows, title=title)
