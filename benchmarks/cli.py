"""The command `bench`."""

from __future__ import annotations

import argparse


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """`bench [register]`."""
    parser.add_argument("what", nargs="?", choices=("register", "portal"), help="a national service register, or the portal's pages")
    parser.add_argument("--messages", type=int, metavar="N", help="end to end (default: 10000), or in the portal's store (1000000)")
    parser.add_argument("--pupils", type=int, default=5, metavar="N", help="per message (default: %(default)s)")
    parser.add_argument("--postgres", action="store_true", help="register or portal in a private PostgreSQL server, instead of SQLite")
    parser.add_argument("--home", metavar="DIR", help="portal: where its store stays, to be measured again without being filled again")


def run(arguments: argparse.Namespace) -> int:
    """End to end on this machine, in one run with what a message costs at least; or the service register at national size."""
    if arguments.what == "portal":
        from benchmarks import portal

        messages = arguments.messages or 1_000_000
        return portal.run(messages=messages, postgres=arguments.postgres, home=arguments.home, as_json=arguments.json)
    if arguments.what == "register":
        from benchmarks import register

        return register.run(postgres=arguments.postgres, as_json=arguments.json)
    from benchmarks import end_to_end

    return end_to_end.run(messages=arguments.messages or 10_000, pupils=arguments.pupils, as_json=arguments.json)
