"""Progress on a terminal; one line a step where there is none, nothing at all when asked to be quiet."""

from __future__ import annotations

import sys
from typing import Any, Self


class Progress:
    """Says what is being done, then shows a bar of hand-ins sent and finished."""

    def __init__(self, *, quiet: bool = False) -> None:
        self._quiet = quiet
        self._live = not quiet and sys.stderr.isatty()
        self._bar: Any = None
        self._tasks: tuple[Any, Any] | None = None

    def __enter__(self) -> Self:
        if self._live:
            from rich.console import Console
            from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

            self._bar = Progress(
                TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), console=Console(stderr=True)
            )
            self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def say(self, what: str) -> None:
        """A step begins."""
        if self._bar:
            self._bar.console.print(f"... {what}")
        elif not self._quiet:
            print(f"... {what}", file=sys.stderr, flush=True)  # noqa: T201 - this is the command line's voice

    def tick(self, sent: int, finished: int) -> None:
        """How many were handed in, and how many of them answered."""
        if self._bar is None:
            return
        if self._tasks is None:
            self._tasks = (self._bar.add_task("sent", total=None), self._bar.add_task("answered", total=None))
        self._bar.update(self._tasks[0], completed=sent, total=max(sent, 1))
        self._bar.update(self._tasks[1], completed=finished, total=max(sent, 1))

    def close(self) -> None:
        """Ends the bar."""
        if self._bar:
            self._bar.stop()
            self._bar = None
