"""Tables and lines for people on a terminal, and the same rows as JSON for programs."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final, TextIO

from schemas.privacy import plain, redact

#: Columns of a terminal that everybody has. Nothing is folded where no terminal is.
WIDTH: Final = 100
#: What stands between two columns of a table, and at both ends.
_BETWEEN, _ENDS = 3, 2


def when(us: int | None) -> str:
    """A moment of the store, for people: UTC, to the second."""
    return datetime.fromtimestamp(us / 1e6, UTC).strftime("%Y-%m-%d %H:%M:%S") if us else ""


def age(us: int, now_us: int) -> str:
    """How long ago: `3s`, `12m`, `5h`, `9d`."""
    seconds = max(0, (now_us - us) // 1_000_000)
    for size, unit in ((86_400, "d"), (3_600, "h"), (60, "m")):
        if seconds >= size:
            return f"{seconds // size}{unit}"
    return f"{seconds}s"


def say(text: str) -> None:
    """A sentence for whoever typed the command."""
    sys.stdout.write(f"{text}\n")


def print_json(value: object, out: TextIO | None = None) -> None:
    """One JSON value on one line."""
    text = json.dumps(value, ensure_ascii=False, default=_plain)
    # what is no character to look at stands inside a text: elsewhere JSON has only ASCII
    (out or sys.stdout).write("".join(c if c.isprintable() else json.dumps(c)[1:-1] for c in text) + "\n")


def print_table(columns: Sequence[str], rows: Iterable[Mapping[str, Any]], *, title: str | None = None, empty: str = "nothing") -> None:
    """A table. On a terminal, cells that do not fit 100 columns are folded, between words only: people copy ids, codes and addresses, so
    a table of many of them is wider."""
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    cells = [[_cell(row.get(column)) for column in columns] for row in rows]
    widths = _widths([[column, *(row[at] for row in cells)] for at, column in enumerate(columns)], fold=sys.stdout.isatty())
    # with a height as well: without one Rich has 80 columns for what says that it is a dumb terminal
    console = Console(width=sum(widths) + _BETWEEN * len(widths) + WIDTH, height=25, highlight=False)
    if not cells:
        console.print(f"{title}: {empty}" if title else empty, markup=False)
        return
    table = Table(title=title, title_justify="left", box=SIMPLE_HEAD, pad_edge=False)
    for column, width in zip(columns, widths, strict=True):
        table.add_column(column, overflow="fold", width=width)
    for row in cells:
        table.add_row(*map(Text, row))
    with console.capture() as printed:
        console.print(table)
    sys.stdout.write("".join(f"{line.rstrip()}\n" for line in printed.get().splitlines()))


def _widths(columns: Sequence[Sequence[str]], *, fold: bool) -> list[int]:
    """How wide each column of these cells is: as its longest line; or, to `fold`, the widest ones narrower, but not than a word."""
    from rich.cells import cell_len

    widths = [max(cell_len(line) for cell in column for line in cell.split("\n")) for column in columns]
    least = [min(WIDTH, max((cell_len(word) for cell in column for word in cell.split()), default=0)) for column in columns]
    room = WIDTH - _ENDS - _BETWEEN * (len(columns) - 1)
    while fold and sum(widths) > room and (slack := [at for at, width in enumerate(widths) if width > least[at]]):
        widths[max(slack, key=lambda at: widths[at])] -= 1
    return widths


def _cell(value: object) -> str:
    return "" if value is None else "\n".join(map(plain, redact(str(value)).split("\n")))


def _plain(value: object) -> object:
    if isinstance(value, bytes):
        return value.hex()
    return str(value)
