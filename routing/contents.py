"""Looking at a message's content, with a reason (*inhoud inzien met reden*): the portal asks, and a process with the master key answers.

The portal has no key that opens a message. It writes down who wants to see what and why, with a public key that it made for this one
question; the other process judges that anew from the store, journals it, and only then opens the message, for that public key alone.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum
from typing import Final, Protocol

#: A question, and its answer, are gone after this, whatever happened.
KEPT: Final = timedelta(minutes=1)


class Outcome(StrEnum):
    """What became of a question."""

    OPENED = "opened"
    GONE = "gone"  #: there is no such message, or its body was erased
    REFUSED = "refused"  #: this account may not see it
    TOO_OFTEN = "too_often"  #: it saw as many within the hour as one may
    FAILED = "failed"  #: it may, and it cannot be opened


@dataclass(frozen=True, slots=True, kw_only=True)
class ContentRequest:
    """A question, as it stands in the store."""

    id: bytes
    account: str
    proof: bytes = field(repr=False)  #: SHA-256 of the session's secret, or of the token
    reference: str
    reason: str
    public_key: bytes  #: X25519


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A question of ours; with it, and nothing else, its answer is read. It is kept in memory only."""

    id: bytes
    reference: str
    private_key: bytes = field(repr=False)  #: X25519


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """An answer."""

    outcome: Outcome
    content: bytes = field(default=b"", repr=False)  #: the envelope as it was handed in


class Contents(Protocol):
    """The portal's side. All raise StoreUnavailable."""

    def ask(self, reference: str, *, account: str, proof: bytes, reason: str, now_us: int) -> Asked:
        """Asks for the content of a message."""

    def answer(self, asked: Asked) -> Opened | None:
        """The answer, which is gone then; None while there is none."""

    def withdraw(self, asked: Asked) -> None:
        """Nobody waits for it any more: it is not opened, unless it was already."""


class ContentBook(Protocol):
    """The side with the master key. All raise StoreUnavailable."""

    def waiting(self, *, now_us: int) -> list[ContentRequest]:
        """What was asked and nobody took yet."""

    def open(self, request: ContentRequest, *, now_us: int) -> Outcome | None:
        """Takes it, notes in the journal who looks and why, and then decrypts it for who asked; in this order, so that nobody ever saw what
        the journal does not say. None when somebody else took it, or nobody waits any more."""

    def refuse(self, request: ContentRequest, outcome: Outcome, *, why: str, now_us: int) -> None:
        """Takes it, and says no; `why` is for the journal."""

    def tidy(self, *, now_us: int) -> int:
        """Removes what is over; returns how many."""
