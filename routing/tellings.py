"""What is told to contacts: one message, ready to be sent, and what came of sending it."""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Final, Protocol

from routing.contacts import Contact

#: Letters that nobody takes for others, in fives: never the shape of a personal number.
_LETTERS: Final = "ABCDEFGHJKMNPQRSTVWXYZ23456789"


def new_id(groups: int = 2) -> str:
    """An id that nobody has yet, such as `K7QXM-2PDAB`."""
    return "-".join("".join(secrets.choice(_LETTERS) for _ in range(5)) for _ in range(groups))


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """A message in words, for any channel. No personal data: its maker masks every text."""

    subject: str
    text: str
    html: str
    attachment: tuple[str, str] | None = None  #: a CSV file: its name, and its text
    data: Mapping[str, Any] = field(default_factory=dict)  #: the same for programs

    def as_json(self) -> str:
        """As the store keeps it."""
        return json.dumps({one.name: getattr(self, one.name) for one in fields(self)}, ensure_ascii=False)

    @classmethod
    def from_json(cls, text: str) -> Written:
        """The reverse."""
        given = json.loads(text)
        given["attachment"] = None if given["attachment"] is None else tuple(given["attachment"])
        return cls(**given)


@dataclass(frozen=True, slots=True, kw_only=True)
class Due:
    """A message that is to be sent now."""

    id: str  #: the same at every attempt
    kind: str  #: alert, digest, report or test
    contact: Contact
    ended: bool = False  #: the contact has ended since
    secret: bytes | None = field(default=None, repr=False)  #: of a webhook, sealed
    written: Written
    made_us: int
    attempts: int = 0


class NotSent(Exception):
    """It was not taken, or nobody knows whether it was; the text is one sentence. Sent again under the same id."""

    def __init__(self, says: str, *, final: bool = False, after_s: float | None = None) -> None:
        super().__init__(says)
        self.final = final  #: trying again makes no sense
        self.after_s = after_s  #: not sooner than this, says the other side


class Sender(Protocol):
    """One channel. Ports: adapters.mail, adapters.webhook."""

    async def send(self, due: Due) -> None:
        """Hands it over. Raises NotSent."""
        ...
