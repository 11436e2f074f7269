"""The command line's machinery: how a command is named, and how one is run. `run.py` has the table of them."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from operator import attrgetter
from pathlib import Path
from typing import Any

Parser = argparse.ArgumentParser
Arguments = argparse.Namespace


#: Of one command: what adds its options, and what runs and returns the exit status.
Wired = tuple[Callable[[Parser], Any], Callable[[Arguments], int]]


def of(name: str, *then: Callable[[Any], Any], within: Callable[[Parser], None] | None = None) -> Callable[[Any], Any]:
    """The function `module:name`, imported when it is called; `then` are called with the same. `within`: for each of its own commands."""

    def call(given: Any) -> Any:
        result = _function(name)(given, within) if within else _function(name)(given)
        for another in then:
            another(given)
        return result

    return call


def given(name: str, *parts: str, **named: str) -> Callable[[Any, Any], Any]:
    """The function `module:name`, imported when it is called, with two things: it gets the first, and of the second these parts, each by
    its name there (`store.outbox`); or another function of a module."""

    def call(first: Any, whole: Any) -> Any:
        def part(text: str) -> Any:
            return _function(text) if ":" in text else attrgetter(text)(whole)

        return _function(name)(first, *map(part, parts), **{keyword: part(text) for keyword, text in named.items()})

    return call


def _function(name: str) -> Callable[..., Any]:
    module, _, function = name.partition(":")
    found: Callable[..., Any] = getattr(import_module(module), function)
    return found


def home_option(parser: Parser) -> None:
    """`--home`."""
    parser.add_argument("--home", type=Path, metavar="DIR", help="folder that holds all state (default: KOPPELPUNT_HOME, or ./var)")


def json_option(parser: Parser) -> None:
    """`--json`."""
    parser.add_argument("--json", action="store_true", help="print JSON instead of tables")


def home_and_json(parser: Parser) -> None:
    """Both."""
    home_option(parser)
    json_option(parser)


def run(about: Mapping[str, str], commands: Mapping[str, Wired], argv: Sequence[str]) -> int:
    """Runs the one that is named; returns the exit status: 0 only for success. What a user can meet is told in one sentence on stderr."""
    parser = Parser(
        prog="koppelpunt",
        description="Message exchange between schools, municipalities and central services: Edukoppeling in, RabbitMQ between, proof kept.",
    )
    subparsers = parser.add_subparsers(metavar="COMMAND", title="commands", dest="command")
    for name, says in about.items():
        sub = subparsers.add_parser(name, help=says, description=says[0].upper() + says[1:] + ".")
        if name in argv:
            commands[name][0](sub)
    arguments = parser.parse_args(argv)
    if arguments.command is None:
        parser.print_help()
        return 2
    from adapters.errors import in_one_sentence

    try:
        return commands[arguments.command][1](arguments)
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except Exception as error:
        sentence = in_one_sentence(error)
        if sentence is None:
            raise
        sys.stderr.write(f"koppelpunt: {sentence}\n")
        return 1
