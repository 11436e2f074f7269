"""What the commands that change the register share: for whom, a wish judged and made, and how the outcome is shown."""

from __future__ import annotations

import textwrap
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any, Final

from routing.amsterdam import AMSTERDAM, amsterdam_day
from routing.register import Register
from routing.register_book import RegisterBook, RegisterMoved, RowChange
from routing.register_files import Difference
from routing.register_rules import MOST_OF_SYSTEM, OPERATOR, Actor, Judged, Role, judge
from routing.register_wishes import ACTION, MAY, Wish
from schemas.oin import BRIN_SHAPE, Oin, is_oin, school_oin
from workers.clock import micros
from workers.commands import WrongArgument
from workers.tables import WIDTH, print_json, say

#: Words are OINs and URLs.
_WHOLE: Final[Any] = {"break_long_words": False, "break_on_hyphens": False}
#: How often a change is judged again because somebody else's came in between.
TRIES: Final = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """What `run.py` passes in."""

    book: RegisterBook
    register_at: Callable[[int], Register]  #: the register as it is in a version
    who: str
    now: Callable[[], datetime]
    may_call: Callable[[str], bool]  #: which IP addresses a URL may hold
    most: int = MOST_OF_SYSTEM  #: endpoints that one system may have

    def register(self) -> Register:
        """The newest."""
        return self.register_at(self.book.newest())

    @property
    def today(self) -> date:
        """In Amsterdam."""
        return amsterdam_day(self.now())

    def judged(self, register: Register, actor: Actor, wish: Wish) -> Judged:
        """Raises RuleBroken."""
        return judge(register, actor, wish, self.today, may_call=self.may_call, most=self.most)

    def make(self, changes: Sequence[RowChange], actor: Actor, *, why: str, expected: int) -> int:
        """The version with these changes. Raises RegisterMoved."""
        who = self.who if actor == OPERATOR else f"{self.who} for {actor}"
        return self.book.change(changes, who=who, why=why, now_us=micros(self.now()), expected=expected)

    def differences(self, changes: Sequence[RowChange]) -> list[Difference]:
        """What changes make of the rows that are there."""
        found = []
        for change in changes:
            before = next(iter(self.book.rows(change.list, key=change.key)), None) if change.key else None
            found.append(Difference(change.list, change.key, before, change.row))
        return found


def grant(arguments: Namespace, work: Work, as_wish: Callable[[Register], Wish]) -> int:
    """A wish judged by the newest register and, unless it is a dry run, made; then shown. Raises RuleBroken and WrongArgument."""
    for _ in range(TRIES):
        register = work.register()
        wish = as_wish(register)
        actor = actor_of(register, arguments.acting_as, ACTION[type(wish)])
        judged = work.judged(register, actor, wish)
        differences = work.differences(judged.changes)
        version = 0
        if not arguments.dry_run:
            try:
                version = work.make(judged.changes, actor, why=why_of(arguments), expected=register.version)
            except RegisterMoved:
                continue
        show(arguments, version, differences, judged)
        return 0
    raise WrongArgument("Others are changing the register all the time; nothing was changed. Try again.")


def show(arguments: Namespace, version: int, differences: Sequence[Difference], judged: Judged) -> None:
    """What changed, and what its maker should know."""
    if arguments.json:
        warnings = [{"nl": warning.nl, "en": warning.en} for warning in judged.warnings]
        print_json({"version": version, "changes": [as_json(one) for one in differences], "warnings": warnings})
        return
    say(f"Version {version} of the register:" if version else "This would change:")
    for one in differences:
        say_below(one.in_words())
    for warning in judged.warnings:
        say_below(f"! {warning.en}")


def say_below(text: str, indent: str = "  ") -> None:
    """A line that belongs to the one above it, in as many columns as everybody has; nothing that people copy is broken."""
    for line in textwrap.wrap(text, WIDTH, initial_indent=indent, subsequent_indent=f"{indent}    ", **_WHOLE):
        say(line)


def as_json(one: Difference) -> dict[str, Any]:
    """One difference."""
    return {"list": one.list, "key": one.key, "before": one.before, "after": one.after}


def change_options(parser: ArgumentParser) -> None:
    """What every command that changes something has."""
    parser.add_argument("--why", metavar="TEXT", help="the reason, kept with the change (no personal data)")
    parser.add_argument("--dry-run", action="store_true", help="only show what would change")
    acting_as_option(parser)


def acting_as_option(parser: ArgumentParser) -> None:
    """`--as`."""
    help_ = "do it as this school, municipality, board or system may, by its rules and not the operator's"
    parser.add_argument("--as", dest="acting_as", metavar="OIN", help=help_)


def why_of(arguments: Namespace) -> str:
    """The reason given; else which command it was."""
    words = ("register", arguments.what, getattr(arguments, "how", None))
    return arguments.why or " ".join(word for word in words if word)


def actor_of(register: Register, oin: str | None, action: str) -> Actor:
    """As whom an operator acts: of what the OIN is (a central service is an organisation and a system), the one that may do this."""
    if oin is None:
        return OPERATOR
    known = oin_of(oin)
    lists = ((Role.BOARD, register.boards), (Role.ORGANISATION, register.organisations), (Role.SUPPLIER, register.systems))
    roles = [role for role, rows in lists if known in rows]
    if not roles:
        raise WrongArgument(f"{known} is no board, organisation or system in the register.")
    return Actor(next((role for role in roles if role in MAY[action]), roles[0]), known)


def oin_of(text: str) -> Oin:
    """An OIN, or the BRIN of a school. Raises WrongArgument."""
    if BRIN_SHAPE.match(text):
        return school_oin(text)
    if not is_oin(text):
        raise WrongArgument(f"{text[:40]!r} is not an OIN of 20 positions, nor a BRIN of 4.")
    return Oin(text)


def day_of(text: str) -> date:
    """A day as YYYY-MM-DD. Raises WrongArgument."""
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise WrongArgument(f"{text[:40]!r} is not a day; write it as YYYY-MM-DD.") from None


def some_day(text: str | None) -> date | None:
    """The same, where it was given."""
    return day_of(text) if text is not None else None


def moment_of(text: str) -> datetime:
    """A moment such as 2026-02-01T14:03, Amsterdam time unless it says otherwise; of a day, its last moment. Raises WrongArgument."""
    try:
        if len(text) == 10:
            return datetime.combine(date.fromisoformat(text) + timedelta(days=1), datetime.min.time(), AMSTERDAM) - timedelta(
                microseconds=1
            )
        given = datetime.fromisoformat(text)
    except (ValueError, OverflowError):
        raise WrongArgument(f"{text[:40]!r} is not a moment; write it as 2026-02-01T14:03.") from None
    return given if given.tzinfo else given.replace(tzinfo=AMSTERDAM)
