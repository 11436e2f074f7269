"""How far a register that follows another one is: whose, which version, and until when it may be decided with."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Final

#: Of the store's single values.
NOTE: Final = "register_followed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Followed:
    """The last snapshot that was taken over."""

    issuer: str  #: OIN of whose register it is
    version: int  #: of theirs
    ours: int  #: the version that it became here
    mark: str  #: what the other side calls this snapshot (its ETag), so that it sends only another one
    fetched_us: int
    valid_until_us: int

    def why_not(self, now_us: int) -> str | None:
        """Why nothing may be decided with it any more; None while it is good."""
        if now_us <= self.valid_until_us:
            return None
        until = datetime.fromtimestamp(self.valid_until_us / 1e6, UTC)
        return f"the copy of the service register of {self.issuer} was valid until {until:%Y-%m-%d %H:%M} UTC"

    def to_json(self) -> str:
        """For the store."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str | None) -> Followed | None:
        """None when no register is followed."""
        return cls(**json.loads(text)) if text else None


@dataclass(frozen=True, slots=True)
class Made:
    """A snapshot of ours that others may fetch."""

    version: int
    made_us: int
    until_us: int

    @property
    def mark(self) -> str:
        """Its ETag: another version, or the same signed again."""
        return f'"{self.version}-{self.made_us}"'
