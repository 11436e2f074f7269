"""What `outbox` and `failures` take from the board, in the rows in which they print; and the board made anew."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from typing import Any, Final

from routing.board import Board, Item, ItemFilter, Sort, View
from routing.people import Scope
from routing.ports import Store
from workers.tables import print_json, say

#: The command line is for operators.
_ALL: Final = Scope(everything=True)
_MOST: Final = 200
_OUTBOX: Final = (
    *("reference", "received_us", "dienst", "versie", "bericht", "sender", "system", "business_id", "id", "target", "state", "receiver"),
    *("receiver_system", "attempts", "code", "owner", "reason", "deadline_us"),
)
_FAILURES: Final = ("at_us", "reference", "system", "sender", "receiver", "dienst", "bericht", "code", "owner", "reason")
_LIFE: Final = ("still_open", "state", "ticket", "agreed_on", "assignee")


def filter_arguments(parser: ArgumentParser, *, party: bool = False) -> None:
    """Filters of the board, with which `outbox` and `failures` read from it."""
    if party:
        parser.add_argument("--party", metavar="OIN", help="sender, receiver or connecting system")
        parser.add_argument("--dienst", metavar="D")
    parser.add_argument("--bericht", metavar="B", help="kind of message")
    parser.add_argument("--school", metavar="OIN", help="school that sent it")
    parser.add_argument("--code", metavar="C", help="why it waits or failed")
    parser.add_argument("--owner", metavar="O", help="whose turn it is: school, supplier, receiver, municipality, us")


def filters(arguments: Namespace, view: View, *, before_us: int | None = None, now_us: int) -> ItemFilter | None:
    """What was asked of the board; None when nothing was that only the board knows."""
    given = {name: getattr(arguments, name) for name in ("bericht", "school", "code", "owner") if getattr(arguments, name, None)}
    if not given and view is View.OPEN:
        return None
    given |= {name: getattr(arguments, name) for name in ("party", "dienst", "state") if getattr(arguments, name, None)}
    if not given:
        return None
    older = None if before_us is None else max(0, (now_us - before_us) // 1_000_000)
    return ItemFilter(view=view if "state" not in given else View.ALL, older_than_s=older, **given)


def open_rows(board: Board, wanted: ItemFilter, *, now_us: int) -> list[dict[str, Any]]:
    """As `Queries.outbox` has them."""
    return [_row(item, _OUTBOX) for item in board.items(_ALL, wanted, now_us=now_us, limit=_MOST).items]


def fallen_rows(board: Board, wanted: ItemFilter, *, now_us: int) -> list[dict[str, Any]]:
    """As `Queries.failures` has them."""
    return [_row(item, _FAILURES) for item in board.items(_ALL, wanted, now_us=now_us, sort=Sort.MOVED, limit=_MOST).items]


def with_life(rows: list[dict[str, Any]], board: Board, *, now_us: int) -> list[dict[str, Any]]:
    """Groups of failures with what is still open of each, and what people made of it."""
    known = {
        (g.key.code, g.key.owner, g.key.dienst, g.key.system, g.key.receiver_system): g
        for g in board.groups(_ALL, now_us=now_us, solved=True, limit=1_000_000)
    }
    found = []
    for row in rows:
        group = known.get((row["code"], row["owner"], row["dienst"], row["system"], row["receiver_system"]))
        found.append(row | ({name: getattr(group, name) for name in _LIFE} if group else dict.fromkeys(_LIFE)))
    return found


def rebuild(arguments: Namespace, store: Store) -> int:
    """Empties the board; the audit worker fills it again."""
    store.board_keeper.start_anew()
    if arguments.json:
        print_json({"rebuilding": True})
    else:
        say("The board is empty, and the audit worker fills it again: what is open first. Pages say how far it is.")
    return 0


def _row(item: Item, names: tuple[str, ...]) -> dict[str, Any]:
    return {name: getattr(item, name) for name in names}
