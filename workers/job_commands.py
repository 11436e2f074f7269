"""`run.py retry`, `return`, `redirect`, `archive` and `job`: what people do about what fell out, with a preview before anything happens."""

from __future__ import annotations

import re
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Mapping
from dataclasses import asdict
from datetime import datetime
from typing import Any, Final

from routing.actions import WHY, Action, Actions, CannotAct, Job, Order, Preview, Selection, checked_reason
from routing.amsterdam import AMSTERDAM
from routing.board import GroupKey, ItemFilter, View
from routing.jobs import Figures, Terms
from routing.people import Scope
from schemas.faults import CODES
from workers import commands
from workers.clock import micros
from workers.commands import WrongArgument, parse_age
from workers.tables import print_json, print_table, say, when

#: Whoever is at the keyboard of the backbone sees all of it.
_ALL: Final = Scope(everything=True)
_DEFAULT: Final = Terms()


def selection_arguments(parser: ArgumentParser) -> None:
    """What an action is about, and how it is to go."""
    parser.add_argument("id", nargs="*", metavar="ID", help="reference, delivery_id, MessageID or identificatiecodeBedrijfsdocument")
    which = parser.add_argument_group("instead of ids: what fell out, all of which must be so")
    which.add_argument("--code", metavar="C", help="why it failed")
    which.add_argument("--dienst", metavar="D")
    which.add_argument("--system", metavar="OIN", help="the connecting system that handed it in")
    which.add_argument("--receiver", metavar="OIN", help="the organisation that is to have it")
    which.add_argument("--receiver-system", metavar="OIN")
    which.add_argument(
        "--since", metavar="T", help="failed since then: 10:00 (today, in Amsterdam), 2026-02-01T10:00, or an age such as 2h"
    )
    which.add_argument("--group", metavar="KEY", help="a group of failures: CODE~OWNER~DIENST~SYSTEM~RECEIVER-SYSTEM")
    which.add_argument("--never-attempted", action="store_true", help="nothing was ever sent of it")
    which.add_argument("--left-by", metavar="JOB", help="what an earlier job did not finish")
    how = parser.add_argument_group("how")
    how.add_argument("--trial", type=int, metavar="N", help=f"a trial batch first (default: {_DEFAULT.trial}; 0: none)")
    how.add_argument("--rate", type=float, metavar="R", help=f"a second, at most (default: {_DEFAULT.rate:g})")
    how.add_argument("--stop-below", type=float, metavar="RATIO", help=f"stop when less succeeds (default: {_DEFAULT.stop_below:g})")
    how.add_argument("--reason", metavar="TEXT", help="why, for the journal; no personal data")
    how.add_argument("--yes", action="store_true", help="do it without asking")


def retry_arguments(parser: ArgumentParser) -> None:
    """`retry`."""
    selection_arguments(parser)
    parser.add_argument("--anew", action="store_true", help="after a final state: a new delivery, with a new MessageID")


def return_arguments(parser: ArgumentParser) -> None:
    """`return`."""
    selection_arguments(parser)
    parser.add_argument("--deliver-again", choices=("yes", "no"), help="whether the source is to hand it in again (default: by the code)")


def redirect_arguments(parser: ArgumentParser) -> None:
    """`redirect`."""
    selection_arguments(parser)
    parser.add_argument("--to", required=True, metavar="ENDPOINT", help="id of an endpoint in the service register")


def archive_arguments(parser: ArgumentParser) -> None:
    """`archive`."""
    selection_arguments(parser)
    parser.add_argument("--reopen", action="store_true", help="what was closed without delivery has failed again, and can be offered again")


def job_arguments(parser: ArgumentParser) -> None:
    """`job`."""
    parser.add_argument("what", choices=("list", "show", *_MOVES))
    parser.add_argument("id", nargs="?", metavar="JOB", help="its id, or an unambiguous beginning of it")
    parser.add_argument("--results", metavar="STATE", help="with show: the messages that came to this, such as failed or skipped")


def act(arguments: Namespace, desk: Actions, store: commands.Repairable, *, who: str, now: Callable[[], datetime]) -> int:
    """Previews, asks, and confirms. Raises WrongArgument or CannotAct."""
    if _is_one(arguments):
        return commands.retry(arguments, store, who=who)
    order, terms, selection = _order(arguments), _terms(arguments), _selection(arguments, now())
    dry = arguments.json and not arguments.yes
    reason = "" if dry else checked_reason(arguments.reason or "")
    preview = desk.preview(_ALL, selection, order, who=who)
    if dry:
        print_json(asdict(preview))
        return 0
    if not arguments.json:
        _show_preview(preview)
    if not preview.acts + preview.superseded:
        raise CannotAct("Nothing was done: none of it can be, as the table says.", "Er is niets gedaan: niets hiervan kan, zie de tabel.")
    if not arguments.yes and not _agrees(f"{order.action} {preview.acts} of {preview.count}?"):
        say("Nothing was done.")
        return 1
    job = desk.confirm(_ALL, preview.id, who=who, reason=reason, terms=terms)
    if arguments.json:
        print_json({"preview": asdict(preview), "job": asdict(job)})
    else:
        say(_begun(job))
    return 0


def _is_one(arguments: Namespace) -> bool:
    """Whether it is `retry ID`, as it always was."""
    plain = arguments.command == "retry" and len(arguments.id) == 1 and not arguments.anew
    return plain and not any(getattr(arguments, name) for name in (*_FILTERS, "trial", "rate", "stop_below", "left_by"))


def _order(arguments: Namespace) -> Order:
    if arguments.command == "return":
        wanted = arguments.deliver_again
        return Order(action=Action.RETURN, deliver_again=None if wanted is None else wanted == "yes")
    if arguments.command == "redirect":
        return Order(action=Action.REDIRECT, endpoint=arguments.to)
    if arguments.command == "archive":
        return Order(action=Action.REOPEN if arguments.reopen else Action.ARCHIVE)
    return Order(action=Action.RESEND if arguments.anew else Action.RETRY)


def _terms(arguments: Namespace) -> Terms:
    given = {name: value for name in ("trial", "rate", "stop_below") if (value := getattr(arguments, name)) is not None}
    try:
        return Terms(**given)
    except ValueError as wrong:
        raise WrongArgument(str(wrong)) from None


#: Options that narrow down what is on the board.
_FILTERS: Final = ("code", "dienst", "system", "receiver", "receiver_system", "since", "group", "never_attempted")


def _selection(arguments: Namespace, now: datetime) -> Selection:
    filtered = any(getattr(arguments, name) for name in _FILTERS)
    if bool(arguments.id) + filtered + bool(arguments.left_by) != 1:
        raise WrongArgument("Say what it is about in one way: ids, or filters such as --code and --since, or --left-by JOB.")
    if arguments.id:
        return Selection(ids=tuple(arguments.id))
    if arguments.left_by:
        return Selection(job=arguments.left_by)
    if arguments.code and arguments.code not in CODES:
        raise WrongArgument(f"There is no code {arguments.code[:60]}; `failures --group` shows those that occur.")
    return Selection(
        wanted=ItemFilter(
            view=View.ALL if arguments.command == "redirect" else View.FALLEN,
            code=arguments.code,
            dienst=arguments.dienst,
            systems=(arguments.system,) if arguments.system else (),
            receiver=arguments.receiver,
            receiver_systems=(arguments.receiver_system,) if arguments.receiver_system else (),
            failed_since_us=None if arguments.since is None else micros(parse_since(arguments.since, now)),
            group=None if arguments.group is None else GroupKey.read(arguments.group),
            never_attempted=arguments.never_attempted,
        )
    )


_HOUR: Final = re.compile(r"([01]?[0-9]|2[0-3]):([0-5][0-9])\Z")


def parse_since(text: str, now: datetime) -> datetime:
    """`10:00` (today, in Amsterdam), a day, a moment, or an age -> the moment. Raises WrongArgument, also for one that is still to come."""
    hour = _HOUR.match(text)
    try:
        if hour:
            found = now.astimezone(AMSTERDAM).replace(hour=int(hour[1]), minute=int(hour[2]), second=0, microsecond=0)
        elif text[-1:] in "smhd":
            found = now - parse_age(text)
        else:
            found = datetime.fromisoformat(text)
            found = found if found.tzinfo else found.replace(tzinfo=AMSTERDAM)
    except (ValueError, OverflowError):
        raise WrongArgument(f"--since {text[:40]!r} is no moment: write 10:00, 2026-02-01T10:00 or an age such as 2h.") from None
    if found > now:
        raise WrongArgument(f"--since {text[:40]} is still to come.")
    return found


def _agrees(question: str) -> bool:
    if not sys.stdin.isatty():
        raise WrongArgument("Nothing was done: look at the preview, and say --yes to confirm it.")
    try:
        return input(f"{question} [y/N] ").strip().lower() in ("y", "yes", "j", "ja")
    except EOFError:
        return False


def _show_preview(preview: Preview) -> None:
    rows = [
        {"": "selected", " ": preview.count},
        {"": f"to {preview.order.action}", " ": preview.acts},
        {"": "superseded instead: a newer state came", " ": preview.superseded},
        *({"": f"left alone: {WHY[why][1]}", " ": count} for why, count in preview.not_possible.items()),
        {"": "of these, another must mend something first", " ": preview.doubtful},
        *({"": f"with code {code}", " ": count} for code, count in preview.codes.items()),
    ]
    print_table(("", " "), [row for row in rows if row[" "]], title="Preview")
    say(f"Frozen: {preview.count} messages, digest {preview.digest[:16]}.")
    if preview.needs_approval:
        say("Another person must approve it (`job approve`) before anything happens.")


def _begun(job: Job) -> str:
    if job.state == "to_approve":
        return f"Job {job.id} waits for another person: `job approve {job.id[:8]}`."
    trial = f", a trial batch of {job.terms.trial} first" if 0 < job.terms.trial < job.figures.planned else ""
    return f"Job {job.id} is {job.state}{trial}: {_in_words(job.figures)}. See `job show {job.id[:8]}`."


def _in_words(figures: Figures) -> str:
    return ", ".join(f"{count} {name.replace('_', ' ')}" for name, count in asdict(figures).items() if count)


# -- jobs ---------------------------------------------------------------------------------------------------------------------------------

_MOVES: Final[Mapping[str, Callable[..., Job]]] = {
    "pause": lambda desk, id, who: desk.pause(_ALL, id, who=who),
    "resume": lambda desk, id, who: desk.resume(_ALL, id, who=who),
    "cancel": lambda desk, id, who: desk.cancel(_ALL, id, who=who),
    "approve": lambda desk, id, who: desk.approve(_ALL, id, who=who),
}


def job(arguments: Namespace, desk: Actions, *, who: str) -> int:
    """Shows jobs, or changes one. Raises WrongArgument or CannotAct."""
    if arguments.what == "list":
        _list(desk.jobs(_ALL), as_json=arguments.json)
        return 0
    if not arguments.id:
        raise WrongArgument(f"Which job? Write `job {arguments.what} ID`; `job list` shows them.")
    if arguments.what == "show":
        found = desk.job(_ALL, arguments.id)
        if found is None:
            raise CannotAct(
                f"There is no job {arguments.id[:40]}, or more than one that begins so; `job list` shows them.",
                f"Er is geen opdracht {arguments.id[:40]}, of meer dan een die zo begint; zie `job list`.",
            )
        _show(found, desk, arguments)
        return 0
    changed = _MOVES[arguments.what](desk, arguments.id, who)
    if arguments.json:
        print_json(asdict(changed))
    else:
        say(f"Job {changed.id} is {changed.state}: {_in_words(changed.figures)}.")
    return 0


def _list(jobs: list[Job], *, as_json: bool) -> None:
    if as_json:
        print_json([asdict(one) for one in jobs])
        return
    rows = [
        {
            "job": one.id[:8],
            "when (UTC)": when(one.confirmed_us),
            "by": one.made_by,
            "action": one.order.action,
            "of": one.count,
            "state": f"{one.state} ({one.stopped})" if one.stopped else one.state,
            "so far": _in_words(one.figures),
        }
        for one in jobs
    ]
    print_table(("job", "when (UTC)", "by", "action", "of", "state", "so far"), rows, empty="There are no jobs.")


def _show(found: Job, desk: Actions, arguments: Namespace) -> None:
    results = _results(desk, found.id, arguments.results) if arguments.results else []
    if arguments.json:
        print_json(asdict(found) | ({"results": [asdict(one) for one in results]} if arguments.results else {}))
        return
    facts = {
        "job": found.id,
        "state": f"{found.state} ({found.stopped})" if found.stopped else found.state,
        "action": " ".join(filter(None, (found.order.action, found.order.endpoint))),
        "selection": ", ".join(f"{name} {value}" for name, value in found.selection.items()),
        "frozen": f"{found.count} messages, digest {found.digest[:16]}",
        "terms": f"trial {found.terms.trial}, {found.terms.rate:g} a second, stop below {found.terms.stop_below:g}",
        "reason": found.reason,
        "by": found.made_by,
        "approved by": found.approved_by,
        "last changed (UTC)": f"{when(found.changed_us)} by {found.changed_by}",
        "so far": _in_words(found.figures),
    }
    print_table(("", " "), [{"": name, " ": value} for name, value in facts.items() if value])
    if arguments.results:
        rows = [{"reference": one.reference, "delivery": one.delivery, "state": one.state, "why": _why(one.why)} for one in results]
        print_table(("reference", "delivery", "state", "why"), rows, title="Results")


def _results(desk: Actions, id: str, state: str) -> list[Any]:
    rows: list[Any] = []
    while page := desk.results(_ALL, id, state=state, after=rows[-1].number if rows else 0, limit=1_000):
        rows += page
    return rows


def _why(why: str | None) -> str | None:
    found = next((words[1] for reason, words in WHY.items() if reason == why), None)
    return found or why
