"""Changing the register from the portal: a wish is judged and shown before it is made, and what is made is what was shown. Ports."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, Protocol

from routing.people import Account
from routing.register import Register
from routing.register_case import Sentence
from routing.register_files import Difference
from routing.register_values import Dated
from routing.register_wishes import Wish


@dataclass(frozen=True, slots=True, kw_only=True)
class Proposal:
    """What a wish would change; nothing was yet."""

    version: int  #: by which it was judged; of one that was made, the new one
    differences: tuple[Difference, ...]
    warnings: tuple[Sentence, ...] = ()

    @property
    def digest(self) -> str:
        """The same for the same changes of the same rows. A mandate that is to be made has no token yet that counts."""
        return hashlib.sha256(json.dumps(list(map(_plain, self.differences)), sort_keys=True).encode()).hexdigest()


def _plain(one: Difference) -> list[Any]:
    if one.list == "mandates" and one.before is None and one.after is not None:
        return [one.list, {name: value for name, value in one.after.items() if name != "token"}]
    return [one.list, one.key, one.before, one.after]


class Otherwise(Exception):
    """The register moved, and the wish would change other things now than were shown. Nothing was changed; `proposal` is to be shown."""

    def __init__(self, proposal: Proposal) -> None:
        super().__init__("the register changed since it was shown what would change")
        self.proposal = proposal


class RegisterChanges(Protocol):
    """The register as the portal's people change it. Everything raises StoreUnavailable, and may be called by several threads."""

    def register(self) -> Register:
        """The newest register; after a change made here, with that."""

    def at(self, at: datetime) -> Register:
        """The register as it was known at that moment."""

    def today(self) -> date:
        """The Amsterdam day."""

    def propose(self, account: Account, wish: Wish) -> Proposal:
        """What it would change, as this account, by the newest register. Raises RuleBroken."""

    def make(self, account: Account, wish: Wish, *, why: str, digest: str) -> Proposal:
        """Makes it, with who and why in the register's history. `digest`: of the proposal that was shown. Raises RuleBroken, Otherwise when
        it would change other things now, and OurFailure when others are changing the register all the time."""

    def row(self, list: str, key: str) -> Dated | None:
        """A mandate, endpoint or delegation, as it is in the newest register."""

    def history(self, list: str, key: str) -> list[dict[str, Any]]:
        """As `RegisterBook.history`."""
