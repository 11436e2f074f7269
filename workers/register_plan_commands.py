"""`register plan`, `lists` and `history`: what will change, what is amiss, and what became of one row."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Mapping
from datetime import date, timedelta
from typing import Any, Final

from routing.amsterdam import amsterdam_day
from routing.register import Endpoint, Mandate, Register
from routing.register_files import Difference
from routing.register_plan import (
    endpoints_nobody_uses,
    endpoints_without_mandate,
    ends_soon,
    mandates_without_endpoint,
    small_changes,
    what_changes,
)
from routing.register_rows import FIELDS, write_row
from routing.register_spans import in_words
from workers.clock import moment
from workers.commands import WrongArgument
from workers.register_work import Work, day_of, oin_of, say_below
from workers.tables import print_json, say

#: `register lists NAME`.
LISTS: Final = ("no-endpoint", "no-mandate", "unused", "ending")

Rows = tuple[list[Mandate], list[Endpoint]]


def add_arguments(what: Any, common: Callable[[ArgumentParser], None]) -> None:
    """The three, below `register`."""
    plan = what.add_parser("plan", help="what will change on a day or in a period, and who is sent the messages from then on")
    plan.add_argument("--from", dest="from_day", metavar="DAY", help="(default: tomorrow)")
    plan.add_argument("--to", dest="to_day", metavar="DAY", help="(default: the same day)")
    lists = what.add_parser(
        "lists", help="mandates without an endpoint and the reverse, endpoints nobody uses, what ends within 60, 30 and 7 days"
    )
    lists.add_argument("name", nargs="?", choices=LISTS, metavar="LIST", help=f"{', '.join(LISTS)} (default: all)")
    lists.add_argument("--days", type=int, default=30, metavar="N", help="unused: for so long (default: %(default)s)")
    for parser in (plan, lists):
        whose = parser.add_mutually_exclusive_group()
        whose.add_argument("--organisation", metavar="OIN", help="only of this organisation (OIN or BRIN), or of a board's schools")
        whose.add_argument("--system", metavar="OIN", help="only of this system")
        common(parser)
    history = what.add_parser("history", help="what became of one row: each change, when, by whom and why")
    history.add_argument("list", metavar="LIST", help=", ".join(FIELDS))
    history.add_argument("key", metavar="KEY", help="oin, id, a mandate's token, or `<dienst> <versie>`")
    common(history)


def plan(arguments: Namespace, work: Work) -> int:
    """What begins and ends, and what that means for whoever is sent messages."""
    first = day_of(arguments.from_day) if arguments.from_day else work.today + timedelta(days=1)
    last = day_of(arguments.to_day) if arguments.to_day else first
    if last < first:
        raise WrongArgument(f"--to {last} lies before --from {first}.")
    register = work.register()
    turns = what_changes(register, *_rows(register, arguments), first, last)
    if arguments.system is None and arguments.organisation is None:
        turns = sorted([*turns, *small_changes(register, first, last)], key=lambda turn: turn.day)
    if arguments.json:
        fields = ("what", "organisation", "dienst", "key", "system", "nl", "en", "is_trouble")
        print_json([{"day": turn.day.isoformat()} | {name: getattr(turn, name) for name in fields} for turn in turns])
        return 0
    if not turns:
        say(f"Nothing changes from {first} up to and including {last}.")
    day = None
    for turn in turns:
        if turn.day != day:
            day = turn.day
            say(str(day))
        say_below(turn.en, "  ! " if turn.is_trouble else "    ")
    return 0


def lists(arguments: Namespace, work: Work, last_delivered: Callable[[], Mapping[str, int]]) -> int:
    """What is amiss. `last_delivered`: by endpoint, when something was last delivered there, in microseconds."""
    register = work.register()
    mandates, endpoints = _rows(register, arguments)
    found: dict[str, list[dict[str, Any]]] = {}
    for name in LISTS if arguments.name is None else (arguments.name,):
        if name in ("no-endpoint", "no-mandate"):
            gaps = mandates_without_endpoint(register, mandates, work.today) if name == "no-endpoint" else []
            gaps += endpoints_without_mandate(register, endpoints, work.today) if name == "no-mandate" else []
            found[name] = [{**write_row(gap.row), "without": in_words(gap.days)[1]} for gap in gaps]
        elif name == "unused":
            since = work.today - timedelta(days=arguments.days)
            contact = {id: _day(us) for id, us in last_delivered().items()}
            unused = endpoints_nobody_uses(endpoints, contact, since, work.today)
            found[name] = [{**write_row(row), "last": str(contact[row.id]) if row.id in contact else None} for row in unused]
        else:
            endings = ends_soon(register, mandates, endpoints, work.today)
            found[name] = [{"list": e.list, "within": e.horizon, "followed": e.followed, **write_row(e.row)} for e in endings]
    if arguments.json:
        print_json(found)
        return 0
    for name, rows in found.items():
        say(f"{_TITLES[name].format(days=arguments.days)}: {len(rows)}")
        for row in rows:
            say_below(_LINES[name](row))
    return 0


def history(arguments: Namespace, work: Work) -> int:
    """Oldest first. Raises WrongArgument for a row that never was."""
    if arguments.list not in FIELDS:
        raise WrongArgument(f"The register has no list {arguments.list!r}; it has {', '.join(FIELDS)}.")
    changes = work.book.history(arguments.list, arguments.key)
    if not changes:
        raise WrongArgument(f"There never was a row {arguments.key[:60]} in {arguments.list}.")
    if arguments.json:
        print_json([{**change, "at": moment(change["at_us"]).isoformat()} for change in changes])
        return 0
    before = None
    for change in changes:
        why = f": {change['why']}" if change["why"] else ""
        say(f"version {change['version']}  {moment(change['at_us']).isoformat(timespec='seconds')}  {change['who']}{why}")
        say_below(Difference(arguments.list, arguments.key, before, change["row"]).in_words(), "    ")
        before = change["row"]
    return 0


def _rows(register: Register, arguments: Namespace) -> Rows:
    """Whose were asked for."""
    if arguments.system is not None:
        mandates, endpoints = register.parts.of_system(oin_of(arguments.system))
        return list(mandates), list(endpoints)
    if arguments.organisation is None:
        return list(register.parts.every_mandate()), list(register.parts.every_endpoint())
    oin = oin_of(arguments.organisation)
    whose = [oin] if register.organisation(oin) else [row.oin for row in register.organisations.values() if row.board == oin]
    if not whose:
        raise WrongArgument(f"{oin} is no organisation in the register, nor a board of any.")
    found = [register.parts.of_organisation(one) for one in whose]
    return [row for mandates, _ in found for row in mandates], [row for _, endpoints in found for row in endpoints]


def _day(us: int) -> date:
    return amsterdam_day(moment(us))


_TITLES: Final[Mapping[str, str]] = {
    "no-endpoint": "Mandates without an endpoint",
    "no-mandate": "Endpoints without a mandate",
    "unused": "Endpoints to which nothing was delivered for {days} days",
    "ending": "What ends within 60 days",
}


def _named(row: Mapping[str, Any]) -> str:
    version = f" {row['versie']}" if "versie" in row else ""
    return f"{row.get('routeringskenmerk') or row['organisation']} {row['dienst']}{version} by {row['system']}"


_LINES: Final[Mapping[str, Callable[[Mapping[str, Any]], str]]] = {
    "no-endpoint": lambda row: f"{_named(row)}: none {row['without']} (mandate {row.get('token', '-')})",
    "no-mandate": lambda row: f"{_named(row)}: none {row['without']} (endpoint {row['id']})",
    "unused": lambda row: f"{_named(row)}: {'last on ' + row['last'] if row['last'] else 'never'} (endpoint {row['id']})",
    "ending": lambda row: (
        f"{row['until']} (within {row['within']} days) {row['list'][:-1]} {_named(row)}"
        f"{'' if row['followed'] else ': nobody follows'} ({row.get('token') or row.get('id')})"
    ),
}
