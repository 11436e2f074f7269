"""`run.py proef`: a test message to a receiver's endpoint, and what came back."""

from __future__ import annotations

import time
from argparse import ArgumentParser, ArgumentTypeError, Namespace
from typing import Any, Final

from routing.people import Scope
from routing.proef import Proef, Proefs, ProefState
from schemas.oin import Oin, parse_oin
from workers.clock import moment
from workers.tables import print_json, print_table

#: Seconds between two looks at what came of it.
_LOOK_S: Final = 0.3
_WAIT_S: Final = 60.0
#: It arrived; in a mailbox it may stand for as long as its system likes, and be confirmed after nobody waits here any more.
_THERE: Final = (ProefState.DELIVERED, ProefState.ACKNOWLEDGED)
_COLUMNS: Final = ("asked", "state", "took_ms", "code", "reason", "organisation", "lane", "by", "reference")


def _oin(text: str) -> Oin:
    try:
        return parse_oin(text)
    except ValueError as error:
        raise ArgumentTypeError(str(error)) from error


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds <= 86_400:
        raise ArgumentTypeError("a number of seconds from 0 to 86400")
    return seconds


def arguments(parser: ArgumentParser) -> None:
    """`proef --organisation OIN --system OIN`, and `proef --list`."""
    parser.add_argument("--organisation", metavar="OIN", type=_oin, help="to this organisation or routeringskenmerk")
    parser.add_argument("--system", metavar="OIN", type=_oin, help="to an endpoint of this system")
    parser.add_argument(
        "--wait", metavar="S", type=_seconds, default=_WAIT_S, help="seconds to wait for what comes of it (default: %(default)g; 0: none)"
    )
    parser.add_argument("--list", action="store_true", help="send nothing, and show those that were sent")


def proef(given: Namespace, desk: Proefs, *, who: str) -> int:
    """Sends one, and shows what became of it; or shows those of before. Exit 1 unless it arrived. Raises CannotAct."""
    scope, party = Scope(everything=True), given.organisation or given.system
    if given.list:
        rows = desk.proefs(scope, party=party, limit=100)
        if given.organisation and given.system:
            rows = [one for one in rows if one.system == given.system]
        _show(given, [_row(one) for one in rows])
        return 0
    one = desk.ask(scope, organisation=given.organisation, system=given.system, who=who)
    until = time.monotonic() + given.wait
    while not one.ended and time.monotonic() < until:
        time.sleep(_LOOK_S)
        one = desk.proef(scope, one.id) or one
    _show(given, [_row(one)])
    return 0 if one.state in _THERE else 1


def _show(given: Namespace, rows: list[dict[str, Any]]) -> None:
    if given.json:
        print_json(rows if given.list else rows[0])
        return
    print_table(_COLUMNS, rows)


def _row(one: Proef) -> dict[str, Any]:
    return {
        "reference": one.id,
        "state": str(one.state),
        "asked": moment(one.asked_us).isoformat(timespec="seconds"),
        "took_ms": None if one.took_us is None else round(one.took_us / 1_000),
        "code": one.code,
        "owner": one.owner,
        "reason": one.reason,
        "receiver": one.receiver,
        "organisation": one.organisation,
        "system": one.system,
        "lane": one.lane,
        "by": one.asked_by,
    }
