"""Names for numbers: what the register calls an OIN, so that pages say *school* and *systeem* by name."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from typing import Final

from routing.register import Kind, Organisation, Register
from schemas.oin import institution_of, is_oin

#: Mandates looked at to see what kind of system it is; the first of them say enough.
_ENOUGH: Final = 40


class Directory:
    """The register of one moment, as pages ask it."""

    def __init__(self, register: Register) -> None:
        self._register = register
        self._kinds: dict[str, str] = {}

    def name(self, oin: str | None) -> str:
        """What it is called; an OIN that the register does not know is shown as it is, and "" stands for nobody."""
        if not oin:
            return ""
        if (system := self._register.systems.get(oin)) is not None:
            return system.name
        organisation = self.organisation(oin)
        if organisation is not None:
            return organisation.name
        board = self._register.boards.get(oin)
        return oin if board is None else board.name

    def organisation(self, oin: str) -> Organisation | None:
        """Of an OIN, or of a routeringskenmerk the institution behind it."""
        return self._register.organisation(institution_of(oin) if is_oin(oin) else oin)

    def brin(self, oin: str | None) -> str | None:
        """Of a school."""
        organisation = self.organisation(oin) if oin else None
        return None if organisation is None else organisation.brin

    def known(self, oin: str) -> bool:
        """Whether the register has it."""
        return oin in self._register.systems or self.organisation(oin) is not None

    def supplier(self, system: str) -> str | None:
        """Who makes a system."""
        found = self._register.systems.get(system)
        return None if found is None else found.supplier

    def suppliers(self) -> list[str]:
        """All of them, by name."""
        return sorted({system.supplier for system in self._register.systems.values()}, key=str.casefold)

    def systems_of(self, supplier: str) -> tuple[str, ...]:
        """Its systems."""
        return tuple(sorted(oin for oin, system in self._register.systems.items() if system.supplier == supplier))

    def municipalities(self) -> list[tuple[str, str]]:
        """OIN and name, by name."""
        every = self._register.organisations.values()
        return sorted(((str(row.oin), row.name) for row in every if row.kind is Kind.MUNICIPALITY), key=lambda row: row[1].casefold())

    def diensten(self) -> list[str]:
        """Their codes."""
        return sorted({dienst for dienst, _ in self._register.diensten})

    def search(self, words: str, *, most: int = 20) -> list[tuple[str, str]]:
        """Organisations and systems by a part of their name, their BRIN or OIN: OIN and name."""
        wanted = words.casefold().strip()
        if len(wanted) < 2:
            return []
        every: Iterable[tuple[str, str, str]] = (
            *((str(row.oin), row.name, row.supplier) for row in self._register.systems.values()),
            *((str(row.oin), row.name, row.brin or "") for row in self._register.organisations.values()),
        )
        found = [(oin, name) for oin, name, more in every if any(wanted in text.casefold() for text in (name, more, oin))]
        return sorted(found, key=lambda row: (not row[1].casefold().startswith(wanted), row[1].casefold()))[:most]

    def kind(self, system: str) -> str:
        """What a system is to the chain: `las`, `sis`, `municipality`, `central` or `other`, by who mandated it. May ask the store."""
        if system not in self._kinds:
            self._kinds[system] = _kind(self._register, system)
        return self._kinds[system]


class Directories:
    """Keeps the directory of the newest register, with what it found out."""

    def __init__(self, register: Callable[[], Register]) -> None:
        self._newest = register
        self._kept: tuple[Register, Directory] | None = None

    def now(self) -> Directory:
        """Of the register as it is now. May ask the store."""
        register = self._newest()
        if self._kept is None or self._kept[0] is not register:
            self._kept = (register, Directory(register))
        return self._kept[1]


def _kind(register: Register, system: str) -> str:
    itself = register.organisation(system)
    if itself is not None and itself.kind in (Kind.CENTRAL, Kind.HUB):
        return "central"
    mandates, endpoints = register.parts.of_system(system)
    oins = [*(row.organisation for row in mandates[:_ENOUGH]), *(row.organisation for row in endpoints[:_ENOUGH])]
    organisations = map(register.organisation, oins)
    tally = Counter(_kind_of(organisation) for organisation in organisations if organisation is not None)
    return tally.most_common(1)[0][0] if tally else "other"


def _kind_of(organisation: Organisation) -> str:
    if organisation.kind is Kind.SCHOOL:
        return "sis" if "mbo" in organisation.roles else "las"
    return {Kind.MUNICIPALITY: "municipality", Kind.CENTRAL: "central"}.get(organisation.kind, "other")
