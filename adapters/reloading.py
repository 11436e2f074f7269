"""What is made of files that may be replaced while we run: certificates, keys, trusted CAs.

Files are looked at every few seconds, in a worker whether or not it uses what is made of them, and at once after SIGHUP. They are read
when two looks have seen the same, so not while somebody is still writing them. Files that cannot be used are refused once, and what was
made before stays.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final, Generic, TypeVar
from weakref import WeakSet

log = logging.getLogger("koppelpunt.files")

T = TypeVar("T")

#: Seconds between two looks.
LOOK_EVERY_S: Final = 2.0

FileStamp = tuple[int, int, int]
_ALL: Final[WeakSet[Following]] = WeakSet()  # type: ignore[type-arg]
_ADDING: Final = threading.Lock()
_FACTS: Final[dict[str, str]] = {}  #: what each line of the log says beside its own facts


class Following(Generic[T]):
    """What was last made of some files."""

    def __init__(
        self, what: str, files: Sequence[Path], make: Callable[[], T], require: Callable[[T, T], None] = lambda before, after: None
    ) -> None:
        """`require` is asked about what is to follow what is in use. Both raise OSError or ValueError for what cannot be used; here at the
        start, `make`'s goes to the caller."""
        self.what, self._files, self._make, self._require = what, tuple(files), make, require
        self._tried = self._seen = self._stamp()
        self._value = make()
        self._look_at = time.monotonic() + LOOK_EVERY_S
        self._turn = threading.Lock()
        #: Why the files as they are now are not used, as a sentence; None when they are.
        self.problem: str | None = None
        with _ADDING:
            _ALL.add(self)

    def __call__(self) -> T:
        """What is in use now."""
        if time.monotonic() >= self._look_at:
            self.look()
        return self._value

    def look(self, *, at_once: bool = False) -> None:
        """Looks whether the files changed. `at_once`: whoever says so has finished writing."""
        if self._turn.acquire(blocking=False):  # health is asked for on threads of its own
            try:
                self._look(at_once)
            finally:
                self._turn.release()

    def _look(self, at_once: bool) -> None:
        self._look_at = time.monotonic() + LOOK_EVERY_S
        stamp = self._stamp()
        settled, self._seen = stamp == self._seen, stamp
        if stamp == self._tried or not (settled or at_once):
            return
        self._tried = stamp
        try:
            fresh = self._make()
            self._require(self._value, fresh)
        except (OSError, ValueError) as error:
            self.problem = str(error)
            log.error("files_refused", extra={**self._facts(), "error": self.problem})
            return
        self._value, self.problem = fresh, None
        log.info("files_replaced", extra=self._facts())

    def _facts(self) -> dict[str, object]:
        return {**_FACTS, "what": self.what, "files": [str(file) for file in self._files]}

    def _stamp(self) -> tuple[FileStamp | None, ...]:
        return tuple(file_stamp(file) for file in self._files)


def file_stamp(file: Path) -> FileStamp | None:
    """Other bytes have another stamp, whether the file was written to or another put in its place. None: it is not there."""
    try:
        found = file.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_ino, found.st_size


def keep_looking(worker: str) -> Callable[[], None]:
    """From now on every followed file is looked at, also those of which nothing is used for a while; the log says in which worker. Returns
    what ends it."""
    ended = threading.Event()
    _FACTS["worker"] = worker

    def run() -> None:
        while not ended.wait(LOOK_EVERY_S):
            for following in _every():
                following.look()

    threading.Thread(target=run, name="files", daemon=True).start()
    return ended.set


def look_again() -> None:
    """Looks at every followed file at once (SIGHUP)."""
    for following in _every():
        following.look(at_once=True)


def refused() -> Iterator[tuple[str, str]]:
    """What could not be replaced, and why."""
    for following in _every():
        if following.problem is not None:
            yield following.what, following.problem


def _every() -> tuple[Following[object], ...]:
    with _ADDING:
        return tuple(_ALL)
