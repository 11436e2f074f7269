"""`register api-key make|list|end`: the keys with which systems use the register's API. A key is shown once, when it is made."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from routing.api_keys import digest_of, new_api_key, short
from schemas.oin import Oin
from workers.clock import micros
from workers.commands import WrongArgument
from workers.register_work import Work, oin_of
from workers.tables import print_json, print_table, say


def add_arguments(parser: ArgumentParser, common: Callable[[ArgumentParser], None]) -> None:
    """What the three of them take."""
    does = parser.add_subparsers(dest="does", required=True, metavar="make|list|end")
    make = does.add_parser("make", help="a new key for a system; it is shown now, and never again")
    make.add_argument("--label", required=True, metavar="TEXT", help="what it is for, such as the name of the server that gets it")
    listing = does.add_parser("list", help="every key that a system ever had, without the key itself")
    end = does.add_parser("end", help="the key counts no more, from this moment on")
    end.add_argument("key", metavar="KEY", help="as `list` calls it")
    for sub in (make, listing, end):
        sub.add_argument("--system", required=True, metavar="OIN", help="the system's certificate OIN")
        common(sub)


def api_key(arguments: Namespace, work: Work) -> int:
    """One of the three. Raises WrongArgument."""
    return {"make": _make, "list": _list, "end": _end}[arguments.does](arguments, work, oin_of(arguments.system))


def _make(arguments: Namespace, work: Work, system: Oin) -> int:
    if work.register().system(system) is None:
        raise WrongArgument(f"System {system} is not in the service register; load it there first.")
    if not (0 < len(arguments.label) <= 100 and arguments.label.isprintable()):
        raise WrongArgument("--label must be a text of 1 to 100 characters.")
    key = new_api_key()
    digest = digest_of(key)
    work.book.add_api_key(digest, system, arguments.label, micros(work.now()), who=work.who)
    if arguments.json:
        print_json({"system": system, "key": short(digest), "label": arguments.label, "api_key": key})
    else:
        say(f"API key {short(digest)} of system {system} ({arguments.label}). Keep it now; it is not shown again:\n{key}")
    return 0


def _list(arguments: Namespace, work: Work, system: Oin) -> int:
    rows = [_row(row) for row in work.book.api_keys(system)]
    if arguments.json:
        print_json(rows)
    else:
        print_table(("key", "label", "made", "ended"), rows)
    return 0


def _end(arguments: Namespace, work: Work, system: Oin) -> int:
    found = [row["hash"] for row in work.book.api_keys(system) if short(row["hash"]) == arguments.key and row["ended_us"] is None]
    if not found:
        raise WrongArgument(f"System {system} has no key {arguments.key[:20]} that still counts; `list` shows its keys.")
    for digest in found:
        work.book.end_api_key(digest, micros(work.now()), who=work.who)
    if arguments.json:
        print_json({"system": system, "key": arguments.key, "ended": True})
    else:
        say(f"API key {arguments.key} of system {system} counts no more.")
    return 0


def _row(row: dict[str, Any]) -> dict[str, Any]:
    return {"key": short(row["hash"]), "label": row["label"], "made": _moment(row["made_us"]), "ended": _moment(row["ended_us"])}


def _moment(at_us: int | None) -> str | None:
    return None if at_us is None else datetime.fromtimestamp(at_us / 1e6, UTC).isoformat(timespec="seconds")
