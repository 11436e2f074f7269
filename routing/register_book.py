"""What a change of the register is, whoever makes it, and what the store answers about changes. `RegisterBook` is a port."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from routing.following import Followed


@dataclass(frozen=True, slots=True)
class RowChange:
    """One row as it is from now on. Fields are as in `register_rows.FIELDS`."""

    list: str
    key: str  #: as `register_rows.key_of` gives it; "" for a mandate to which the store is to give a token
    row: Mapping[str, Any] | None  #: None: the row was a mistake, and is no more. What ends gets an `until` instead.


class RegisterMoved(Exception):
    """The newest version is not the one by which a change was judged: judge it again, by the newest one. Nothing was changed."""

    def __init__(self, expected: int, newest: int) -> None:
        super().__init__(f"the register is at version {newest}, and not at {expected} any more")
        self.newest = newest


class RegisterBook(Protocol):
    """The register's rows, and every row there ever was. Lists, fields and keys: `routing.register_rows`. All raise StoreUnavailable."""

    def newest(self) -> int:
        """The newest version; 0 when there is none."""

    def version_at(self, at_us: int) -> int:
        """The version that was the newest at that moment; 0 when there was none."""

    def versions(self, after: int = 0, limit: int | None = None) -> list[dict[str, Any]]:
        """`version`, `at_us`, `who` and `why` of those after this one, the oldest first."""

    def change(self, changes: Sequence[RowChange], *, who: str, why: str, now_us: int, expected: int | None = None) -> int:
        """Makes the next version, in one transaction with its journal event; returns it, or the newest when nothing is different.
        Raises ValueError for a row that cannot be read, RegisterMoved when `expected` is not the newest version, and RuleBroken (FOLLOWS)
        for a register that is the copy of another one."""

    def save(
        self, document: Mapping[str, Any], *, who: str, why: str, now_us: int, followed: Callable[[int], Followed] | None = None
    ) -> int:
        """Makes the register what a document says. A mandate without a token keeps the one that it has in the store. `followed`: the
        document is that of a register that is followed from now on; told the version that it became, it says how far we are, which is
        written in the same transaction. Raises ValueError, and RuleBroken as above for anybody else's."""

    def document(self, version: int) -> dict[str, list[dict[str, Any]]]:
        """The whole register of a version. Raises KeyError for one that does not exist."""

    def rows(
        self,
        list: str,
        *,
        version: int | None = None,
        organisation: str | None = None,
        system: str | None = None,
        dienst: str | None = None,
        versie: str | None = None,
        receiver: str | None = None,
        key: str | None = None,
        keys: Sequence[str] | None = None,
        after: str | None = None,
        limit: int | None = None,
    ) -> list[dict[str, Any]]:
        """Rows of a list, in the order of their keys, of every day; as of the newest version unless told otherwise. `receiver`: a
        routeringskenmerk, or an organisation, whose own endpoints have none. `keys`: these only. `after`: with a higher key than this."""

    def history(self, list: str, key: str) -> list[dict[str, Any]]:
        """What became of one row: `version`, `at_us`, `who`, `why` and `row`, which is None where it was taken away."""

    def changed(self, since: int, upto: int, limit: int | None = None) -> list[tuple[str, str, str | None, str | None]]:
        """List, key, organisation and system of each row that versions `since` + 1 to `upto` changed; of what it was, and of what it is."""

    def of_organisation(self, oin: str, version: int) -> list[tuple[str, Mapping[str, Any]]]:
        """Mandates and endpoints of an organisation as of a version: list and row, in the order in which they were written."""

    def of_system(self, system: str, version: int) -> list[tuple[str, Mapping[str, Any]]]:
        """The same of a system."""

    def schools_of(self, system: str, version: int) -> int:
        """How many organisations have a mandate for this system, of whatever days."""

    def endpoints_of(self, system: str, version: int) -> int:
        """How many endpoints name this system, of whatever days."""

    def places(self, version: int, systems: Sequence[str] | None = None) -> list[tuple[str, str | None, int | None, float | None]]:
        """Each system and URL (None: its mailbox) that an endpoint names, with the least `at_once` and `per_second`; of these systems."""

    def next_day(self, version: int, day: str) -> str | None:
        """The first day after `day` on which a mandate or endpoint starts, or is over (YYYY-MM-DD)."""

    def counts(self, version: int) -> dict[str, int]:
        """list -> how many rows it has; lists without rows are left out."""

    def followed(self) -> Followed | None:
        """The last snapshot of another register that was taken over; None when none is followed."""

    def add_api_key(self, hash: bytes, system: str, label: str, now_us: int, *, who: str = "") -> None:
        """A system may use this key from now on; `hash` is its SHA-256, and the key itself is never stored."""

    def system_of_api_key(self, hash: bytes) -> str | None:
        """Whose key it is; None for one that never was, or has ended."""

    def end_api_key(self, hash: bytes, now_us: int, *, who: str = "") -> bool:
        """It may not be used any more. False when it could not anyway."""

    def api_keys(self, system: str) -> list[dict[str, Any]]:
        """`hash`, `system`, `label`, `made_us` and `ended_us` of all keys it ever had, the oldest first."""
