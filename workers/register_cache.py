"""The service register in memory, following the store's version number (rule 4): a change is seen within two seconds."""

from __future__ import annotations

import threading
import time
from typing import Final

from routing.decisions import Decision
from routing.following import Followed
from routing.ports import RegisterBook
from routing.register import Register, read_register
from routing.register_stored import follow
from routing.work import RecordedDecision, StoreUnavailable

#: How often the version number is looked at.
LOOK_EVERY_S: Final = 1.0

_EMPTY: Final = read_register({}, version=0)


class RegisterCache:
    """The newest register. Raises StoreUnavailable when a new version is there but cannot be read; so do the mandates and endpoints of what
    it gives, which stay in the store until somebody asks for them. And so does the copy of another register whose time is over: then
    everybody holds what they have until it is followed again."""

    def __init__(self, book: RegisterBook) -> None:
        self._book = book
        self._register = _EMPTY
        self._looked_at = float("-inf")
        self._followed: Followed | None = None
        self._one_at_a_time = threading.Lock()  # what changed is read once, and a register never replaced by an older one

    def __call__(self) -> Register:
        """The register now."""
        with self._one_at_a_time:
            return self._look()

    def _look(self) -> Register:
        if time.monotonic() - self._looked_at >= LOOK_EVERY_S:
            self._followed = self._book.followed()
            version = self._book.newest()
            if version != self._register.version:
                self._register = follow(self._book, self._register, version)
            self._looked_at = time.monotonic()
        if self._followed is not None and (why := self._followed.why_not(int(time.time() * 1e6))):
            raise StoreUnavailable(why)
        return self._register

    def known(self) -> Register:
        """As it was when somebody looked last, without asking the store."""
        return self._register

    def for_people(self) -> Register:
        """The register now. A copy whose time is over stops messages, not people: they go by the one of before."""
        try:
            return self()
        except StoreUnavailable:
            return self.known()

    def newest(self) -> Register:
        """The register as the store has it at this moment: for whoever meets something that a newer version may explain."""
        with self._one_at_a_time:  # or a look that began before this would count as ours
            self._looked_at = float("-inf")
            return self._look()


class Records:
    """Decisions as the store keeps them."""

    def __call__(self, decision: Decision) -> RecordedDecision:
        """The record of a decision; its words are made once per Decision, and caches hand out the same one again and again."""
        return RecordedDecision(
            question=decision.question,
            outcome=decision.outcome,
            code=decision.code,
            register_version=decision.register_version,
            record=decision.to_json(),
        )
