"""`run.py lanes`: how receivers' endpoints and mailboxes stand; an operator holds one, and lets it go."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Collection
from typing import Any, Protocol

from routing.register import Register
from workers.clock import Clock, moment
from workers.tables import print_json, print_table, say


class Lanes(Protocol):
    """The store's side; see adapters.store.lanes."""

    def standing(self, now_us: int) -> list[dict[str, Any]]: ...

    def hold(self, lane: str, *, who: str, now_us: int) -> None: ...

    def let_go(self, lane: str, *, who: str, now_us: int) -> bool: ...


class NoSuchLane(Exception):
    """There is none of that name, or it is not held; the text is one sentence."""


def _named(text: str, known: Collection[str]) -> str:
    """The one lane that is, or has as a part of its name, this text."""
    found = [lane for lane in known if text == lane] or sorted(lane for lane in known if text in lane.split(" "))
    if len(found) == 1:
        return found[0]
    if not found:
        raise NoSuchLane(
            f"No endpoint or mailbox in the register is {text[:100]!r}; name a URL, a system's OIN, or a lane as `lanes` shows it."
        )
    raise NoSuchLane(f"{text[:100]!r} may be any of {len(found)}; name one whole: {'; '.join(found[:5])}.")


def arguments(parser: ArgumentParser) -> None:
    """`lanes`, `lanes --hold LANE`, `lanes --let-go LANE`."""
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--hold", metavar="LANE", help="offer nothing there any more, until it is let go; a URL or a system's OIN is enough")
    which.add_argument("--let-go", metavar="LANE", help="let it flow again, whoever held it")


def lanes(given: Namespace, store: Lanes, register: Callable[[], Register], *, who: str) -> int:
    """Shows the lanes that had trouble, or changes one. Raises NoSuchLane."""
    now_us = Clock().now_us()
    rows = store.standing(now_us)
    if given.hold or given.let_go:
        known = {row["lane"] for row in rows} | {place.lane for place in register().parts.lanes()}
        lane = _named(given.hold or given.let_go, known)
        if given.hold:
            store.hold(lane, who=who, now_us=now_us)
        elif not store.let_go(lane, who=who, now_us=now_us):
            raise NoSuchLane(f"{lane!r} is not held.")
        say(f"{lane} is held; its messages wait until `lanes --let-go`." if given.hold else f"{lane} flows again.")
        return 0
    if given.json:
        print_json(rows)
        return 0
    for row in rows:
        row["probe"] = "" if row["probe_at_us"] is None else moment(row["probe_at_us"]).isoformat(timespec="seconds")
        row["since"] = moment(row["since_us"]).isoformat(timespec="seconds")
    print_table(("lane", "state", "failures", "code", "since", "probe", "waiting", "by"), rows)
    return 0
