"""Changes of the register by people of the portal: judged by its rules, shown, and made for the very version by which they were judged."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import suppress
from datetime import date, datetime
from typing import Any, Final

from routing.amsterdam import amsterdam_day
from routing.people import Account
from routing.ports import RegisterBook
from routing.register import Register
from routing.register_book import RegisterMoved, RowChange
from routing.register_changing import Otherwise, Proposal
from routing.register_files import Difference
from routing.register_people import actor_of
from routing.register_rows import read_row
from routing.register_rules import OPERATOR, Actor, judge
from routing.register_stored import read_stored
from routing.register_values import Dated
from routing.register_wishes import Wish
from routing.work import StoreUnavailable
from schemas.faults import OurFailure
from workers.clock import Clock, micros, moment
from workers.register_cache import RegisterCache

#: How often a change is judged again because the register moved. Each time somebody else's change was made.
TRIES: Final = 20
#: Rows asked of the store at a time.
_PAGE: Final = 500


class RegisterChanges:
    """A `routing.register_changing.RegisterChanges`."""

    def __init__(self, book: RegisterBook, cache: RegisterCache, clock: Clock, *, may_call: Callable[[str], bool]) -> None:
        """`may_call`: which IP addresses may stand in an endpoint's URL."""
        self._book, self._cache, self._clock, self._may_call = book, cache, clock, may_call

    def register(self) -> Register:
        """See the port."""
        return self._cache()

    def at(self, at: datetime) -> Register:
        """See the port."""
        return read_stored(self._book, self._book.version_at(micros(at)))

    def today(self) -> date:
        """See the port."""
        return amsterdam_day(moment(self._clock.now_us()))

    def propose(self, account: Account, wish: Wish) -> Proposal:
        """See the port."""
        return self._judged(account, wish)[2]

    def _judged(self, account: Account, wish: Wish) -> tuple[Actor, tuple[RowChange, ...], Proposal]:
        """By the newest register. Raises RuleBroken."""
        register = self._cache.newest()
        actor = actor_of(account, register, wish)
        judged = judge(register, actor, wish, self.today(), may_call=self._may_call)
        lists = {change.list for change in judged.changes}
        before = {name: self._rows(name, (one.key for one in judged.changes if one.list == name), register.version) for name in lists}
        found = (Difference(one.list, one.key, before[one.list].get(one.key), one.row) for one in judged.changes)
        return actor, judged.changes, Proposal(version=register.version, differences=tuple(found), warnings=judged.warnings)

    def make(self, account: Account, wish: Wish, *, why: str, digest: str) -> Proposal:
        """See the port."""
        for _ in range(TRIES):
            actor, changes, proposal = self._judged(account, wish)
            if proposal.digest != digest:
                raise Otherwise(proposal)
            who = account.name if actor == OPERATOR else f"{account.name} for {actor}"
            try:
                version = self._book.change(changes, who=who, why=why, now_us=self._clock.now_us(), expected=proposal.version)
            except RegisterMoved:
                continue
            with suppress(StoreUnavailable):  # it is made, whatever happens now
                self._cache.newest()  # whoever looks here next sees it
            return Proposal(version=version, differences=proposal.differences, warnings=proposal.warnings)
        raise OurFailure("others are changing the register all the time")

    def row(self, list: str, key: str) -> Dated | None:
        """See the port."""
        found = self._book.rows(list, key=key)
        return read_row(list, found[0]) if found else None

    def history(self, list: str, key: str) -> list[dict[str, Any]]:
        """See the port."""
        return self._book.history(list, key)

    def _rows(self, list: str, keys: Iterable[str], version: int) -> dict[str, dict[str, Any]]:
        """Of a version, by key."""
        wanted = sorted(set(keys) - {""})
        name = "token" if list == "mandates" else "id"
        pages = (self._book.rows(list, keys=wanted[start : start + _PAGE], version=version) for start in range(0, len(wanted), _PAGE))
        return {row[name]: row for page in pages for row in page}
