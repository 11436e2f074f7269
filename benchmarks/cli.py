"""The command `bench`."""

from __future__ import annotations

import argparse


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """`bench [register]`."""
    parser.add_argument("what", nargs="?", choices=("register",), help="a national service register, instead of messages end to end")
    parser.add_argument("--messages", type=int, default=10_000, metavar="N", help="end to end (default: %(default)s)")
    parser.add_argument("--pupils", type=int, default=5, metavar="N", help="per message (default: %(default)s)")
    parser.add_argument("--postgres", action="store_true", help="the register in a private PostgreSQL server, instead of SQLite")


def run(arguments: argparse.Namespace) -> int:
    """End to end on this machine, in one run with what a message costs at least; or the service register at national size."""
    if arguments.what == "register":
        from benchmarks import register

        return register.run(postgres=arguments.postgres, as_json=arguments.json)
    from benchmarks import end_to_end

    return end_to_end.run(messages=arguments.messages, pupils=arguments.pupils, as_json=arguments.json)
