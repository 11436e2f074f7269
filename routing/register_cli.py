"""The register for people: what `register load`, `show` and `explain` print. Text in, text out; 100 columns at most."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import date
from typing import Final

from routing.decisions import Decision
from routing.readiness import Readiness
from routing.register_model import Dated, Register, Standing

#: Columns of a terminal that everybody has.
WIDTH: Final = 100
#: Lists that few registers have.
_MAY_LACK: Final = frozenset({"boards", "delegations"})
#: Columns of OINs: people copy them, so they are shown whole.
_WHOLE: Final = frozenset({"oin", "organisation", "system", "receiver", "municipality", "region"})


def without_contract(register: Register, served: Collection[tuple[str, str]]) -> list[str]:
    """A sentence for each dienst of the register that is not among those served."""
    unknown = sorted({(row.dienst, row.versie) for row in register.diensten.values()} - set(served))
    return [f"there is no contract for dienst {d} version {v}; its messages are refused until there is." for d, v in unknown]


def loaded(register: Register, version: int) -> str:
    """What `register load` says; version 0: it was only checked."""
    said = f"This is version {version} of the register" if version else "The register is in order"
    return f"{said}: " + ", ".join(f"{count} {name}" for name, count in register.sizes().items() if count or name not in _MAY_LACK) + "."


@dataclass(frozen=True, slots=True)
class Table:
    """A title, the columns' names, and rows of as many texts."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]

    def records(self) -> list[dict[str, str]]:
        """For `--json`: one object per row, nothing cut off."""
        return [dict(zip(self.columns, row, strict=True)) for row in self.rows]


def show(register: Register, what: str, day: date, *, find: str = "") -> Table:
    """One list of the register with how each row stands on a day; `find` keeps the rows that hold this text in any column.

    Raises KeyError for a list that does not exist; `SHOWN` names them.
    """
    columns, rows = SHOWN[what]
    wanted = find.casefold()
    found = tuple(row for row in rows(register, day) if wanted in "\t".join(row).casefold())
    return Table(f"{what}, register version {register.version}, {day}: {len(found)}", columns, found)


def lines(table: Table, width: int = WIDTH) -> list[str]:
    """The table as lines of at most `width` columns; the widest column gives way, and an ellipsis shows where. An OIN is never cut."""
    widths = [max(map(len, column)) for column in zip(table.columns, *table.rows, strict=True)]
    too_wide = sum(widths) + 2 * (len(widths) - 1) - width
    may_give = [place for place, name in enumerate(table.columns) if name not in _WHOLE]
    while too_wide > 0:
        widest = max(may_give, key=widths.__getitem__)
        if widths[widest] == 1:
            break  # more columns than the width has room for
        widths[widest] -= 1
        too_wide -= 1
    rule = tuple("-" * size for size in widths)
    shown = (table.columns, rule, *table.rows)
    return ["  ".join(_cut(text, size).ljust(size) for text, size in zip(row, widths, strict=True)).rstrip() for row in shown]


def explained(decisions: Iterable[Decision], *, language: str = "nl", width: int = WIDTH) -> list[str]:
    """Decisions in the order they were asked: the answer, its sentence, and whose turn it is."""
    shown = []
    for decision in decisions:
        words = decision.text_nl if language == "nl" else decision.text_en
        target = decision.inputs.get("target")
        about = f"{decision.question}{f' ({target})' if target else ''}: {decision.outcome}"
        tail = " ".join(part for part in (decision.code or "", f"[{decision.owner}]" if decision.owner else "") if part)
        shown.append(f"{about}  {tail}".rstrip())
        shown += textwrap.wrap(words, width - 4, initial_indent="    ", subsequent_indent="    ")
        if "asked" in decision.inputs:
            shown.append(f"    @ {decision.inputs['register']}, asked {decision.inputs['asked']}")
        if decision.candidates:
            shown += textwrap.wrap("; ".join(decision.candidates), width - 4, initial_indent="    < ", subsequent_indent="      ")
    return shown


def made_ready(found: Readiness, *, certificate_until: date | None) -> list[str]:
    """A line for each school, and below it what is not right and whose turn it is; first what is so for all of them."""
    count = len(found.schools)
    many = "" if found.certificate.rule == "system-unknown" else ": 1 school" if count == 1 else f": {count or 'no'} schools"
    shown = [f"{found.dienst} {found.versie}, {found.day}, register version {found.register_version}{many}"]
    shown.append(
        f"certificate: until {certificate_until}" if certificate_until else "certificate: not looked at; name its file with --cert"
    )
    shown += _not_right((found.certificate, found.version))
    for school in found.schools:
        able = [word for word, yes in (("sends", found.sends(school)), ("receives", found.receives(school))) if yes]
        shown.append(f"{school.organisation}  {school.name or '?'}: {' and '.join(able) or 'not ready'}")
        shown += _not_right((school.mandate, school.endpoint))
    return shown


def _not_right(checks: Iterable[Decision]) -> list[str]:
    lines = []
    for check in checks:
        if check.outcome != "yes":
            words = f"{check.code} [{check.owner}] {check.text_nl}"
            lines += textwrap.wrap(words, WIDTH - 4, initial_indent="    ", subsequent_indent="    ")
    return lines


def _cut(text: str, size: int) -> str:
    return text if len(text) <= size else text[: size - 1] + "…"


def _when(row: Dated, day: date) -> str:
    """How it stands, with the day on which that changes or changed."""
    standing = row.standing(day)
    if standing is Standing.NOT_YET:
        return f"from {row.start}"
    if row.until is None:
        return "current"
    return f"until {row.until}" if standing is Standing.CURRENT else f"ended {row.until}"


def _organisations(register: Register, day: date) -> Iterable[tuple[str, ...]]:
    for row in register.organisations.values():
        codes = ",".join(code.code for code in row.gemeentecodes if code.covers(day))
        yield row.oin, row.name, str(row.kind), ",".join(row.roles), codes, _when(row, day)


def _systems(register: Register, day: date) -> Iterable[tuple[str, ...]]:
    for row in register.systems.values():
        yield row.oin, row.name, row.supplier, ",".join(row.channels), _when(row, day)


def _diensten(register: Register, day: date) -> Iterable[tuple[str, ...]]:
    for row in register.diensten.values():
        yield row.dienst, row.versie, row.namespace, _when(row, day)


def _mandates(register: Register, day: date) -> Iterable[tuple[str, ...]]:
    for row in register.parts.every_mandate():
        yield row.organisation, row.dienst, row.system, "revoked" if row.revoked else _when(row, day), row.token or ""


def _endpoints(register: Register, day: date) -> Iterable[tuple[str, ...]]:
    for row in register.parts.every_endpoint():
        yield (
            row.routeringskenmerk or row.organisation,
            f"{row.dienst}/{row.versie}",
            row.system,
            row.url or "mailbox",
            _when(row, day),
            row.id,
        )


def _boards(register: Register, day: date) -> Iterable[tuple[str, ...]]:
    for row in register.boards.values():
        schools = sum(1 for one in register.organisations.values() if one.board == row.oin)
        yield row.oin, row.name, str(schools), _when(row, day)


def _delegations(register: Register, day: date) -> Iterable[tuple[str, ...]]:
    for row in register.delegations.values():
        yield row.municipality, row.dienst, row.region, _when(row, day), row.id


_Rows = Callable[[Register, date], Iterable[tuple[str, ...]]]

#: list -> its columns, and what makes its rows
SHOWN: Final[Mapping[str, tuple[tuple[str, ...], _Rows]]] = {
    "organisations": (("oin", "name", "kind", "roles", "codes", "when"), _organisations),
    "boards": (("oin", "name", "schools", "when"), _boards),
    "systems": (("oin", "name", "supplier", "channels", "when"), _systems),
    "diensten": (("dienst", "versie", "namespace", "when"), _diensten),
    "mandates": (("organisation", "dienst", "system", "when", "token"), _mandates),
    "endpoints": (("receiver", "dienst", "system", "delivery", "when", "id"), _endpoints),
    "delegations": (("municipality", "dienst", "region", "when", "id"), _delegations),
}
