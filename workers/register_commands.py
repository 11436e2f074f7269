"""The command `register`: what it takes, showing a list, and explaining a message, a pair of parties, or a system's readiness.

Bulk files, wishes and plans have modules of their own. `run.py` passes in whatever reads or verifies; what is printed is put in words by
`routing.register_cli`.
"""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from collections.abc import Callable
from datetime import date, datetime, timedelta
from pathlib import Path

from routing.amsterdam import amsterdam_day, start_of_day
from routing.decisions import Decision
from routing.explain import explain as decide
from routing.explain import explain_between
from routing.ports import Verifier
from routing.readiness import readiness, to_dict
from routing.register import Register
from routing.register_asked import patiently
from routing.register_cli import SHOWN, explained, lines, made_ready
from routing.register_cli import show as table_of
from routing.warning_board import Warnings
from schemas.content import read_content
from schemas.contracts import Contracts
from workers import api_key_commands, register_file_commands, register_plan_commands, register_wish_commands, warning_commands
from workers.clock import micros
from workers.commands import WrongArgument
from workers.register_work import Work, day_of, moment_of, oin_of
from workers.tables import print_json, say

#: Of a certificate: whose it is, and its last moment.
Read = Callable[[Path], tuple[str, datetime]]
Asking = Callable[[Register], Register]


def add_arguments(parser: ArgumentParser, common: Callable[[ArgumentParser], None]) -> None:
    """`register load FILE|show LIST|explain …` and the others, each with the options that many commands have in `common`."""
    what = parser.add_subparsers(dest="what", required=True, metavar="WHAT")
    register_file_commands.add_arguments(what, common)
    show = what.add_parser("show", help="one list of the register, with how each row stands on a day")
    show.add_argument("list", nargs="?", default="organisations", metavar="LIST", help=f"{', '.join(SHOWN)} (default: %(default)s)")
    show.add_argument("--on", metavar="DAY", help="how it stands on another day, as YYYY-MM-DD")
    show.add_argument("--at", metavar="MOMENT", help="as it was known then, such as 2026-02-01T14:03")
    show.add_argument("--find", metavar="TEXT", default="", help="only rows that hold this text")
    common(show)
    register_wish_commands.add_arguments(what, common)
    register_plan_commands.add_arguments(what, common)
    warning_commands.add_arguments(what, common)
    api_key_commands.add_arguments(what.add_parser("api-key", help="the keys with which systems change their endpoints"), common)
    follow = what.add_parser("follow", help="put the register at KOPPELPUNT_FOLLOW_URL in the place of the one here, and follow it")
    unfollow = what.add_parser("unfollow", help="the copy of another register becomes our own, and does not expire")
    common(follow)
    common(unfollow)
    explain = what.add_parser("explain", help="the dry run: where would this go, and why; or is a system ready for its schools")
    explain.add_argument("--message", type=Path, metavar="FILE", help="a signed message")
    explain.add_argument("--from", dest="sender", metavar="OIN", help="without a message: who sends (OIN or BRIN)")
    explain.add_argument("--to", dest="receiver", metavar="OIN", help="and to whom (OIN, BRIN or routeringskenmerk)")
    explain.add_argument("--system", metavar="OIN", help="by which system (default: each that has a mandate); alone: is it ready?")
    explain.add_argument("--cert", type=Path, metavar="FILE", help="with --system alone: its certificate, to see whether it is still valid")
    explain.add_argument("--dienst", metavar="CODE", help="without a message: in which dienst")
    explain.add_argument("--versie", metavar="VERSION", help="and in which version of it")
    explain.add_argument("--bericht", metavar="NAME", help="which kind of message (default: the first that the sender may send)")
    at = "a day: by the newest register, as on that day; a moment such as 2026-02-01T14:03: by the register as it was known then"
    explain.add_argument("--at", "--as-of", metavar="DATE", help=at)
    common(explain)


def show(arguments: Namespace, work: Work) -> int:
    """One list, as it stands today or on the day asked for; as it is known now, or was at a moment."""
    if arguments.list not in SHOWN:
        raise WrongArgument(f"The register has no list {arguments.list!r}; it has {', '.join(SHOWN)}.")
    now = moment_of(arguments.at) if arguments.at else work.now()
    register = work.register_at(version_at(work, arguments.at))
    table = table_of(register, arguments.list, day_of(arguments.on) if arguments.on else amsterdam_day(now), find=arguments.find)
    if arguments.json:
        print_json(table.records())
    else:
        say("\n".join([table.title, *lines(table)]))
    return 0


def version_at(work: Work, at: str | None) -> int:
    """The version that was known at a moment; the newest when none was asked for. Raises WrongArgument."""
    return work.book.version_at(micros(moment_of(at))) if at else work.book.newest()


def explain(
    arguments: Namespace, work: Work, contracts: Contracts, verifier: Callable[[], Verifier], certificate: Read, asking: Asking
) -> int:
    """Where something would go, and why, by the code that routes. Exit 1 when it would not go everywhere it should."""
    register, at = _seen(arguments, work)
    asked = asking(register)
    if arguments.message is not None:
        checked = verifier()
        return _told(arguments, patiently(lambda: _of_message(arguments, asked, contracts, checked, now=work.now(), at=at)))
    if arguments.sender is not None or arguments.receiver is not None:
        return _told(arguments, patiently(lambda: _between(arguments, asked, contracts, at)))
    if arguments.system is not None:
        return ready(arguments, register, read=certificate, day=amsterdam_day(at))
    raise WrongArgument("Say what to explain: --message FILE, --from and --to, or --system.")


def _seen(arguments: Namespace, work: Work) -> tuple[Register, datetime]:
    """The register to judge by, and the moment to judge at: of a day its noon."""
    if not arguments.at:
        return work.register(), work.now()
    if len(arguments.at) == 10:
        return work.register(), start_of_day(day_of(arguments.at)) + timedelta(hours=12)
    return work.register_at(version_at(work, arguments.at)), moment_of(arguments.at)


def _of_message(
    arguments: Namespace, register: Register, contracts: Contracts, verifier: Verifier, *, now: datetime, at: datetime
) -> list[Decision]:
    """A message is verified and read now, whenever it is to be judged. Raises Fault."""
    envelope = verifier.verify(arguments.message.read_bytes(), at=now)
    content = read_content(
        envelope.content, action=envelope.action, sender=envelope.sender, receiver=envelope.receiver, contracts=contracts, now=now
    )
    return decide(register, content.kind, content.facts, envelope.sender, envelope.receiver, envelope.certificate_oin, at)


def _between(arguments: Namespace, register: Register, contracts: Contracts, at: datetime) -> list[Decision]:
    if not all((arguments.sender, arguments.receiver, arguments.dienst, arguments.versie)):
        raise WrongArgument("--from, --to, --dienst and --versie go together.")
    contract = contracts.find(arguments.dienst, arguments.versie)
    if contract is None:
        known = ", ".join(f"{one.dienst} {one.versie}" for one in contracts.contracts)
        raise WrongArgument(f"There is no dienst {arguments.dienst[:40]} {arguments.versie[:40]}; there are: {known}.")
    kinds = [kind for kind in contract.kinds.values() if arguments.bericht in (None, kind.name)]
    if not kinds:
        raise WrongArgument(f"{arguments.bericht[:60]!r} is none of {', '.join(kind.name for kind in contract.kinds.values())}.")
    system = oin_of(arguments.system) if arguments.system else None
    return explain_between(register, kinds, oin_of(arguments.sender), oin_of(arguments.receiver), at, system=system)


def _told(arguments: Namespace, decisions: list[Decision]) -> int:
    if arguments.json:
        print_json([decision.to_dict() for decision in decisions])
    else:
        say("\n".join(explained(decisions)))
    senders = [decision for decision in decisions if decision.question == "sender"]
    others = [decision for decision in decisions if decision.question != "sender"]
    may = any(decision.outcome == "yes" for decision in senders)
    return 0 if may and all(decision.outcome in ("yes", "filtered") for decision in others) else 1


def ready(arguments: Namespace, register: Register, *, read: Read, day: date) -> int:
    """Whether a system is ready for each of its schools. Exit 1 when it is not, for one of them; and when it has none."""
    if not arguments.dienst or not arguments.versie:
        raise WrongArgument("--system goes with --dienst and --versie.")
    system = oin_of(arguments.system)
    until: date | None = None
    if arguments.cert:
        oin, end = read(arguments.cert)
        if oin != system:
            raise WrongArgument(f"{arguments.cert} is of {oin}, not of {system}.")
        until = amsterdam_day(end)
    found = readiness(register, system=system, dienst=arguments.dienst, versie=arguments.versie, day=day, certificate_until=until)
    if arguments.json:
        print_json(to_dict(found))
    else:
        say("\n".join(made_ready(found, certificate_until=until)))
    return 0 if found.schools and all(found.receives(school) for school in found.schools) else 1


def run(
    arguments: Namespace,
    work: Work,
    *,
    contracts: Callable[[], Contracts],
    verifier: Callable[[], Verifier],
    last_delivered: Callable[[], dict[str, int]],
    certificate: Read,
    warnings: Warnings,
    asking: Asking = lambda register: register,
) -> int:
    """The command that was typed. `asking`: the register as routing asks it."""
    match arguments.what:
        case "load":
            return register_file_commands.load(arguments, work, contracts())
        case "diff":
            return register_file_commands.diff(arguments, work, contracts())
        case "export":
            return register_file_commands.export(arguments, work, version_at(work, arguments.at))
        case "show":
            return show(arguments, work)
        case "explain":
            return explain(arguments, work, contracts(), verifier, certificate, asking)
        case "plan":
            return register_plan_commands.plan(arguments, work)
        case "lists":
            return register_plan_commands.lists(arguments, work, last_delivered)
        case "warnings":
            return warning_commands.warnings(arguments, work, warnings)
        case "history":
            return register_plan_commands.history(arguments, work)
        case "api-key":
            return api_key_commands.api_key(arguments, work)
        case _:
            return register_wish_commands.run(arguments, work)
