"""`register warnings`: what will break unless somebody acts, and whose turn it is."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from collections.abc import Callable
from datetime import date
from typing import Any

from routing.register import Register
from routing.warning_board import KeptWarning, Warnings
from routing.warnings import WarningKind
from workers.clock import moment
from workers.commands import WrongArgument
from workers.register_work import Work, oin_of, say_below
from workers.tables import print_json, say


def add_arguments(what: Any, common: Callable[[ArgumentParser], None]) -> None:
    """Below `register`."""
    warnings = what.add_parser("warnings", help="what will break unless somebody acts: certificates, mandates, endpoints, silence")
    warnings.add_argument(
        "--for", dest="party", metavar="OIN", help="only about this organisation (OIN or BRIN), system, or board's schools"
    )
    warnings.add_argument("--kind", metavar="KIND", help=", ".join(WarningKind))
    common(warnings)


def warnings(arguments: Namespace, work: Work, board: Warnings) -> int:
    """The first to happen first. Raises WrongArgument."""
    kinds = None if arguments.kind is None else [_kind(arguments.kind)]
    parties = None if arguments.party is None else _parties(work.register(), oin_of(arguments.party))
    found, today = board.standing(parties=parties, kinds=kinds), work.today
    if arguments.json:
        print_json([as_json(one, today) for one in found])
        return 0
    say(f"Warnings: {len(found)}")
    for one in found:
        left = one.warning.days_left(today)
        when = "" if one.warning.day is None else f" {one.warning.day}" + (f" ({left} days)" if left is not None and left >= 0 else "")
        say(f"{one.warning.kind}{when}: {one.warning.owner}'s turn" if one.warning.owner != "us" else f"{one.warning.kind}{when}: our turn")
        say_below(one.warning.en, "    ")
    return 0


def as_json(one: KeptWarning, today: date) -> dict[str, Any]:
    """One warning, for programs."""
    warning = one.warning
    return {
        "key": warning.key,
        "kind": str(warning.kind),
        "owner": str(warning.owner),
        "organisation": warning.organisation,
        "system": warning.system,
        "day": warning.day.isoformat() if warning.day else None,
        "days_left": warning.days_left(today),
        "within": warning.within,
        "since": moment(one.since_us).isoformat(),
        "seen": moment(one.seen_us).isoformat(),
        "nl": warning.nl,
        "en": warning.en,
    }


def _kind(text: str) -> WarningKind:
    try:
        return WarningKind(text)
    except ValueError:
        raise WrongArgument(f"There are no warnings of kind {text[:40]!r}; there are: {', '.join(WarningKind)}.") from None


def _parties(register: Register, oin: str) -> list[str]:
    """The party itself; of a board its schools."""
    if oin in register.boards:
        return [row.oin for row in register.organisations.values() if row.board == oin]
    if register.organisation(oin) is None and register.system(oin) is None:
        raise WrongArgument(f"{oin} is no organisation, system or board in the register.")
    return [oin]
