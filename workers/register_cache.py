"""The service register in memory, following the store's version number (rule 4): a change is seen within two seconds."""

from __future__ import annotations

import threading
import time
from typing import Final

from routing.decisions import Decision
from routing.ports import RegisterBook
from routing.register import Register, read_register
from routing.register_stored import follow
from routing.work import RecordedDecision

#: How often the version number is looked at.
LOOK_EVERY_S: Final = 1.0

_EMPTY: Final = read_register({}, version=0)


class RegisterCache:
    """The newest register. Raises StoreUnavailable when a new version is there but cannot be read; so do the mandates and endpoints of what
    it gives, which stay in the store until somebody asks for them."""

    def __init__(self, book: RegisterBook) -> None:
        self._book = book
        self._register = _EMPTY
        self._looked_at = float("-inf")
        self._one_at_a_time = threading.Lock()  # what changed is read once, and a register never replaced by an older one

    def __call__(self) -> Register:
        """The register now."""
        with self._one_at_a_time:
            return self._look()

    def _look(self) -> Register:
        if time.monotonic() - self._looked_at >= LOOK_EVERY_S:
            version = self._book.newest()
            if version != self._register.version:
                self._register = follow(self._book, self._register, version)
            self._looked_at = time.monotonic()
        return self._register

    def known(self) -> Register:
        """As it was when somebody looked last, without asking the store."""
        return self._register

    def newest(self) -> Register:
        """The register as the store has it at this moment: for whoever meets something that a newer version may explain."""
        self._looked_at = float("-inf")
        return self()


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
