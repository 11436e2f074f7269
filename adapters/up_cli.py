"""The command `up`: broker, store and workers of one machine, until somebody stops them."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import sys
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, Protocol

from adapters.backbone import Backbone
from adapters.errors import UsageError
from adapters.home import alone_in, make_private_home, worker_environment
from broker_config.settings import Settings


class Workers(Protocol):
    """The backbone's own processes."""

    @property
    def pids(self) -> Mapping[str, Any]:
        """By name."""

    async def start(self) -> None: ...

    async def stop(self) -> None: ...


def add_arguments(parser: argparse.ArgumentParser, usual: Sequence[str]) -> None:
    """`up`."""
    parser.add_argument(
        "--workers",
        metavar="NAMES",
        default=",".join(usual),
        help="which workers, one process each (default: %(default)s)",
    )


def run(
    arguments: argparse.Namespace,
    settings: Settings,
    environment: Mapping[str, str],
    *,
    known: Collection[str],
    workers: Callable[[Sequence[str], Mapping[str, str]], Workers],
    until_signal: Callable[[], asyncio.Event],
) -> int:
    """Raises UsageError for a worker that is not known. `workers`: names and environment -> those processes."""
    names = [name for name in arguments.workers.split(",") if name]
    unknown = sorted(set(names) - set(known))
    if unknown:
        raise UsageError(f"There is no worker {unknown[0]!r}; there are {', '.join(sorted(known))}.")
    with alone_in(settings.home):
        settings = make_private_home(settings, environment)
        for warning in settings.warnings():
            sys.stderr.write(f"koppelpunt: {warning}\n")
        return asyncio.run(_run(settings, names, lambda: workers(names, worker_environment(settings, environment)), until_signal))


async def _run(settings: Settings, names: Sequence[str], make: Callable[[], Workers], until_signal: Callable[[], asyncio.Event]) -> int:
    async with Backbone(settings) as backbone:
        workers = make()  # not before the broker's address is known
        await workers.start()
        sys.stdout.write(f"{backbone.addresses(names)}\n  workers     {', '.join(workers.pids)}\nStop it with Ctrl-C or SIGTERM.\n")
        sys.stdout.flush()
        try:
            await backbone.keep(until_signal())
            _say("Stopping: workers finish what they have in hand ...")
        finally:
            await workers.stop()
    _say("Stopped.")
    return 0


def _say(sentence: str) -> None:
    with contextlib.suppress(OSError):  # the terminal may be what was closed
        sys.stdout.write(f"{sentence}\n")
        sys.stdout.flush()
