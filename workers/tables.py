"""Tables and lines for people on a terminal: 100 columns at most, and the same rows as JSON for programs."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final, TextIO

from schemas.privacy import plain, redact

WIDTH: Final = 100


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
    """A table that fits 100 columns; cells that do not are folded."""
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    rows = list(rows)
    console = Console(width=WIDTH, highlight=False)
    if not rows:
        console.print(f"{title}: {empty}" if title else empty, markup=False)
        return
    table = Table(title=title, title_justify="left", box=SIMPLE_HEAD, pad_edge=False)
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*(Text("" if row.get(column) is None else _cell(row[column])) for column in columns))
    console.print(table)


def _cell(value: object) -> str:
    return "\n".join(map(plain, redact(str(value)).split("\n")))


def _plain(value: object) -> object:
    if isinstance(value, bytes):
        return value.hex()
    return str(value)
