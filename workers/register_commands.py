"""The command `register`: load a new version, show a list of the one there is, explain what it says about a message.

`run.py` passes in whatever reads or verifies; what is printed is put in words by `routing.register_cli`.
"""

from __future__ import annotations

import json
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Callable
from datetime import date, datetime
from pathlib import Path
from typing import Any

from routing.amsterdam import amsterdam_day
from routing.explain import explain as decide
from routing.ports import Verifier
from routing.readiness import readiness, to_dict
from routing.register import Register, read_register
from routing.register_cli import SHOWN, explained, lines, loaded, made_ready, without_contract
from routing.register_cli import show as table_of
from schemas.content import read_content
from schemas.contracts import Contracts
from schemas.oin import Oin, is_oin
from workers.commands import WrongArgument
from workers.tables import print_json, say


def add_arguments(parser: ArgumentParser, common: Callable[[ArgumentParser], None]) -> None:
    """`register load FILE|show LIST|explain …`, each with the options that many commands have in `common`."""
    what = parser.add_subparsers(dest="what", required=True, metavar="load|show|explain")
    load = what.add_parser("load", help="check a file (JSON) and make it the newest version; all or nothing")
    load.add_argument("file", type=Path, metavar="FILE")
    load.add_argument("--dry-run", action="store_true", help="only check")
    show = what.add_parser("show", help="one list of the register, with how each row stands on a day")
    show.add_argument(
        "list",
        nargs="?",
        default="organisations",
        help=f"{', '.join(SHOWN)} (default: %(default)s)",
    )
    show.add_argument("--on", metavar="DAY", help="another day, as YYYY-MM-DD")
    show.add_argument("--find", metavar="TEXT", default="", help="only rows that hold this text")
    explain = what.add_parser("explain", help="the dry run: where would this message go, and why; or is a system ready for its schools")
    about = explain.add_mutually_exclusive_group(required=True)
    about.add_argument("--message", type=Path, metavar="FILE", help="a signed message")
    about.add_argument("--system", metavar="OIN", help="a system: are certificate, mandate and endpoint right for each of its schools?")
    explain.add_argument("--dienst", metavar="CODE", help="with --system: in which dienst")
    explain.add_argument("--versie", metavar="VERSION", help="with --system: in which version of it")
    explain.add_argument("--as-of", metavar="DAY", help="with --system: on another day, as YYYY-MM-DD")
    for sub in (load, show, explain):
        common(sub)


def load(arguments: Namespace, contracts: Contracts, *, save: Callable[[dict[str, Any]], int]) -> int:
    """Checks a file and, unless it is a dry run, saves it: `save` returns its version. Raises RegisterError and WrongArgument."""
    try:
        document = json.loads(arguments.file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise WrongArgument(f"{arguments.file} is not JSON in UTF-8: {error}. Nothing was loaded.") from error
    checked = read_register(document, version=0)
    for sentence in without_contract(checked, {(kind.dienst, kind.versie) for kind in contracts.kinds}):
        sys.stderr.write(f"koppelpunt: {sentence}\n")
    version = 0 if arguments.dry_run else save(document)
    if arguments.json:
        print_json({"version": version, **checked.sizes()})
    else:
        say(loaded(checked, version))
    return 0


def show(arguments: Namespace, register: Callable[[], Register], *, now: datetime) -> int:
    """One list, as it stands today or on the day asked for."""
    if arguments.list not in SHOWN:
        raise WrongArgument(f"The register has no list {arguments.list!r}; it has {', '.join(SHOWN)}.")
    table = table_of(register(), arguments.list, _day(arguments.on, now), find=arguments.find)
    if arguments.json:
        print_json(table.records())
    else:
        say("\n".join([table.title, *lines(table)]))
    return 0


def explain(arguments: Namespace, register: Register, contracts: Contracts, verifier: Verifier, *, now: datetime) -> int:
    """Where a signed message would go, and why. Exit 1 when it would not go everywhere it should."""
    envelope = verifier.verify(arguments.message.read_bytes(), at=now)
    content = read_content(
        envelope.content, action=envelope.action, sender=envelope.sender, receiver=envelope.receiver, contracts=contracts, now=now
    )
    decisions = decide(register, content.kind, content.facts, envelope.sender, envelope.receiver, envelope.certificate_oin, now)
    if arguments.json:
        print_json([decision.to_dict() for decision in decisions])
    else:
        say("\n".join(explained(decisions)))
    return 0 if all(decision.outcome in ("yes", "filtered") for decision in decisions) else 1


def ready(arguments: Namespace, register: Register, *, now: datetime) -> int:
    """Whether a system is ready for each of its schools. Exit 1 when it is not, for one of them; and when it has none."""
    if not is_oin(arguments.system):
        raise WrongArgument(f"{arguments.system[:40]!r} is not an OIN of 20 positions.")
    if not arguments.dienst or not arguments.versie:
        raise WrongArgument("--system goes with --dienst and --versie.")
    found = readiness(
        register,
        system=Oin(arguments.system),
        dienst=arguments.dienst,
        versie=arguments.versie,
        day=_day(arguments.as_of, now),
    )
    if arguments.json:
        print_json(to_dict(found))
    else:
        say("\n".join(made_ready(found)))
    return 0 if found.schools and all(found.receives(school) for school in found.schools) else 1


def _day(given: str | None, now: datetime) -> date:
    """Raises WrongArgument."""
    try:
        return date.fromisoformat(given) if given else amsterdam_day(now)
    except ValueError as error:
        raise WrongArgument(str(error)) from error
