"""Where warnings are kept, and the facts they are made from. Ports: `adapters.store.warnings` is both."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from routing.warnings import Warning, WarningKind


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptWarning:
    """A warning, and since when it is there. Times are microseconds since 1970 UTC."""

    warning: Warning
    since_us: int  #: when it was first seen; of one that came back, since it is back
    seen_us: int  #: the last look that saw it
    ended_us: int | None = None  #: when a look saw it no more; kept for a month after that


class Warnings(Protocol):
    """The warnings that stand, for whoever shows or sends them. All raise StoreUnavailable."""

    def standing(self, *, parties: Collection[str] | None = None, kinds: Collection[WarningKind] | None = None) -> list[KeptWarning]:
        """Those that have not ended, the first to happen first. `parties`: only about one of these organisations or systems (of a board:
        its schools); `kinds`: only these."""

    def changed(self, since_us: int) -> list[KeptWarning]:
        """Those that began, ended, or came within a smaller horizon, at that moment or later; by that moment. For alerts."""

    def counts(self) -> dict[str, int]:
        """kind -> how many stand; kinds of which none does are left out."""

    def keep(
        self, found: Sequence[Warning], *, kinds: Collection[WarningKind], now_us: int, organisations: Collection[str] | None = None
    ) -> tuple[int, int]:
        """What a look found of these kinds. Those that stand and were not found have ended. `organisations`: the look was only at these.
        Returns how many began and how many ended."""

    def forget(self, before_us: int) -> int:
        """Those that ended before that moment are kept no longer; returns how many."""


class CertificateUse(StrEnum):
    """For what a system uses a certificate."""

    CLIENT = "client"  #: to connect to us over HTTPS
    SIGNING = "signing"
    SERVER = "server"  #: its endpoint shows it to us


@dataclass(frozen=True, slots=True, kw_only=True)
class SeenCertificate:
    """A certificate that was good when a system used it."""

    system: str
    use: CertificateUse
    place: str = ""  #: of a server: host:port
    sha256: str  #: hex fingerprint
    until_us: int  #: its last moment
    seen_us: int  #: when it was first seen


@dataclass(frozen=True, slots=True, kw_only=True)
class SilentLane:
    """An endpoint that nobody could reach."""

    lane: str
    since_us: int  #: the first failure since the last success
    code: str | None
    waiting: int  #: deliveries that wait for it


@dataclass(frozen=True, slots=True, kw_only=True)
class LastHandIn:
    """When a system last handed in something for an organisation in a dienst."""

    system: str
    organisation: str
    dienst: str
    last_us: int


class WarningFacts(Protocol):
    """What warnings are made from, besides the register. Each is cheap, however many messages there are. All raise StoreUnavailable."""

    def certificates(self) -> list[SeenCertificate]:
        """Every certificate that was seen, the newest of each system, use and place last."""

    def unreachable(self, before_us: int) -> list[SilentLane]:
        """Endpoints that have been failing since before that moment; not those that an operator holds."""

    def open_at(self, endpoints: Collection[str], lanes: Collection[str]) -> Mapping[tuple[str, str], int]:
        """(endpoint, receiver) -> how many deliveries are open that are pointed at one of these endpoints, in these lanes."""

    def follow_traffic(self, *, now_us: int, limit: int) -> int:
        """Looks at up to so many messages that came in since the last look; returns how many those were."""

    def last_hand_ins(self) -> Iterable[LastHandIn]:
        """One for each system, organisation and dienst that ever sent."""

    def turning(self, first: str, last: str) -> list[tuple[str, Mapping[str, object]]]:
        """List and fields of mandates and endpoints, as they are now, whose first or last day is one of these (YYYY-MM-DD, both
        included)."""
