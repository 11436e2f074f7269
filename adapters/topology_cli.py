"""The command `topology`: compares the running broker with what it must look like, makes it so, or removes what a system left behind."""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from adapters.errors import UsageError

if TYPE_CHECKING:
    from adapters.broker_keeper import Keeper


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """`topology check|apply|remove [OIN]`."""
    parser.add_argument(
        "what",
        choices=("check", "apply", "remove"),
        help="compare the running broker with what it must look like, make it so, or remove the queues of a system that left",
    )
    parser.add_argument("oin", nargs="?", metavar="OIN", help="with remove: whose queues")
    parser.add_argument("--even-with-messages", action="store_true", help="with remove: also queues that are not empty")


def run(arguments: argparse.Namespace, keeper: Keeper, *, print_json: Callable[[Any], None]) -> int:
    """Exit 1 when the broker does not look as it must. Raises UsageError and BrokerUnavailable."""
    if (arguments.what == "remove") != (arguments.oin is not None):
        raise UsageError("Name the system whose queues are to go: `topology remove OIN`; check and apply take no OIN.")
    if arguments.what == "apply":
        asyncio.run(keeper.apply_topology())
    if arguments.what == "remove":
        asyncio.run(keeper.remove(arguments.oin, even_with_messages=arguments.even_with_messages))
    sentences = asyncio.run(keeper.differences())
    if arguments.json:
        print_json({"differences": sentences})
    else:
        sys.stdout.write(("\n".join(sentences) or "The broker looks as it must.") + "\n")
    return 1 if sentences else 0
