"""The service register in memory, following the store's version number (rule 4): a change is seen within two seconds."""

from __future__ import annotations

import threading
import time
from typing import Final

from routing.decisions import Decision
from routing.following import NOTE, Followed
from routing.ports import Registry
from routing.register import Register, read_register
from routing.work import RecordedDecision, StoreUnavailable

#: How often the version number is looked at.
LOOK_EVERY_S: Final = 1.0

_EMPTY: Final = read_register({}, version=0)


class RegisterCache:
    """The newest register. Raises StoreUnavailable when a new version is there but cannot be read, and when it is the copy of another
    register whose time is over: then everybody holds what they have until it is followed again."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._register = _EMPTY
        self._looked_at = float("-inf")
        self._followed: Followed | None = None
        self._one_at_a_time = threading.Lock()  # a register is parsed once, and never replaced by an older one

    def __call__(self) -> Register:
        """The register now."""
        with self._one_at_a_time:
            return self._look()

    def _look(self) -> Register:
        if time.monotonic() - self._looked_at >= LOOK_EVERY_S:
            self._followed = Followed.from_json(self._registry.note(NOTE))
            version = self._registry.register_version()
            if version != self._register.version:
                self._register = read_register(self._registry.register_document(version), version=version)
            self._looked_at = time.monotonic()
        if self._followed is not None and (why := self._followed.why_not(int(time.time() * 1e6))):
            raise StoreUnavailable(why)
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
