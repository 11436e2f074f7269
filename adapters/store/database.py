"""The connection to SQLite or PostgreSQL: transactions, numbers, and errors in our own words."""

from __future__ import annotations

import fcntl
import os
import sqlite3
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from sqlalchemy import Connection, create_engine, event, exc, make_url

from adapters.store.sql import Sql
from routing.work import Lease, LeaseLost, StoreUnavailable

#: How long a writer waits for another before the store counts as unavailable.
LOCK_WAIT_S: Final = 5.0

#: SQLite, per connection. WAL with full sync: a committed receipt survives a power cut. But SQLite's own FULL syncs the log while it
#: holds the one write lock, for all others to wait; so it is told NORMAL (which syncs at checkpoints, and never damages the file), and
#: `write` syncs the log itself, after the lock is free and before it returns. For the same reason `tidy_log` carries the log over into
#: the file, once in a while and beside the writers; SQLite does it in the midst of a write only where nobody calls that (at 512 MB).
_PRAGMAS: Final = (
    "journal_mode=WAL",
    "synchronous=NORMAL",
    f"busy_timeout={int(LOCK_WAIT_S * 1000)}",
    "foreign_keys=ON",
    "cache_size=-16000",
    "wal_autocheckpoint=128000",
    "temp_store=MEMORY",
    "secure_delete=ON",
)


#: Pages of 4 kB after which the log begins anew.
LONG_LOG: Final = 48_000


class StoreRefused(Exception):
    """The database refused a statement and would do so again: a mistake of ours, or a damaged store. Nothing was committed."""


class LifecycleError(StoreRefused):
    """A statement tried a move that the lifecycle does not allow."""


class Database:
    """One store. `write` is a transaction that may change things, `read` one that may not."""

    def __init__(self, url: str) -> None:
        self.url = make_url(url)
        self.is_sqlite = self.url.get_backend_name() == "sqlite"
        self._lock_file: int | None = None
        self._log_file: int | None = None
        self._log_turn = threading.Lock()
        self._tidier: sqlite3.Connection | None = None
        self._turn = threading.Lock()
        if self.is_sqlite:
            path = Path(str(self.url.database))
            try:
                path.parent.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise StoreUnavailable(f"there can be no store at {path}: {error.strerror}") from error
            self._lock_path = path.with_name(path.name + ".writer")
            self.engine = create_engine(
                self.url, hide_parameters=True, connect_args={"timeout": LOCK_WAIT_S, "isolation_level": None, "check_same_thread": False}
            )
            event.listen(self.engine, "connect", _on_sqlite_connect)
        else:
            if self.url.drivername == "postgresql":
                self.url = self.url.set(drivername="postgresql+psycopg")
            self.engine = create_engine(self.url, hide_parameters=True, connect_args={"connect_timeout": 5})
        # a single SELECT needs no transaction of its own: on PostgreSQL that saves two of three round trips
        self._reader = self.engine if self.is_sqlite else self.engine.execution_options(isolation_level="AUTOCOMMIT")

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """A transaction; when this returns it is on disk. Raises StoreUnavailable when it could not be done; then nothing of it was, or
        (when the disk failed to answer) all of it may have been."""
        with self._one_writer(), _translated(), self.engine.connect() as connection:
            # SQLite takes its write lock here and not at the first write, so a transaction never fails half-way for a lock
            if self.is_sqlite:
                connection.exec_driver_sql("BEGIN IMMEDIATE")
            try:
                yield connection
                connection.commit()
            except BaseException:
                connection.rollback()
                raise
        self.sync()

    def sync(self) -> None:
        """Puts on disk whatever was committed so far, by anybody. `write` does so itself; whoever only reads, and then tells somebody
        outside, calls this in between: another process may have committed what was read, and not have synced it yet. Nothing to do on
        PostgreSQL. Raises StoreUnavailable."""
        if not self.is_sqlite:
            return
        try:
            with self._log_turn:
                if self._log_file is None or os.fstat(self._log_file).st_nlink == 0:  # the last one to leave takes the log away
                    self._close_log()
                    self._log_file = os.open(f"{self.url.database}-wal", os.O_RDONLY)
                log = self._log_file
            os.fdatasync(log)
        except FileNotFoundError:
            return  # taken over into the database, and synced there, in the meantime
        except OSError as error:
            raise StoreUnavailable(f"the store's log cannot be synced: {error.strerror}") from error

    def tidy_log(self) -> None:
        """Carries the log over into the database file while others write; when the log has grown long, also lets it begin anew, for
        which writers wait some milliseconds. Nothing to do on PostgreSQL. Raises StoreUnavailable."""
        if not self.is_sqlite:
            return
        try:
            if self._tidier is None:
                self._tidier = sqlite3.connect(str(self.url.database), timeout=0, isolation_level=None, check_same_thread=False)
            _, frames, _ = self._tidier.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
            if frames > LONG_LOG:
                with self._one_writer():  # most is done: what came in the meantime is all that is left
                    self._tidier.execute("PRAGMA wal_checkpoint(RESTART)").fetchone()
        except sqlite3.Error as error:
            raise StoreUnavailable(f"the store's log cannot be carried over: {error}") from error

    def _close_log(self) -> None:
        if self._log_file is not None:
            os.close(self._log_file)
            self._log_file = None

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A connection to read with; each statement sees a consistent state."""
        with _translated(), self._reader.connect() as connection:
            yield connection
            connection.rollback()

    @contextmanager
    def snapshot(self) -> Iterator[Connection]:
        """A connection to read much with: all its statements see one and the same state, and results need not fit in memory."""
        with _translated(), self.engine.connect() as connection:
            connection.exec_driver_sql("BEGIN" if self.is_sqlite else "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
            yield connection.execution_options(yield_per=1000)
            connection.rollback()

    def require(self, connection: Connection, lease: Lease) -> None:
        """Raises LeaseLost unless this lease is still the newest; on PostgreSQL nobody can take it over during this transaction."""
        token = (_TOKEN if self.is_sqlite else _TOKEN_SHARED)(connection, name=lease.name).scalar()
        if token != lease.token:
            raise LeaseLost(f"{lease.holder} is not the leader for {lease.name} any more")

    def one_at_a_time(self, connection: Connection, keys: Iterable[bytes]) -> None:
        """Until the end of this transaction nobody else works on these keys. SQLite has one writer anyway."""
        if not self.is_sqlite:
            # in one order, so that crossed batches cannot deadlock; two keys with one number only wait for each other without need
            numbers = sorted({int.from_bytes(key[:8], "big", signed=True) for key in keys})
            if numbers:
                _LOCK_KEYS(connection, numbers=numbers)

    @contextmanager
    def _one_writer(self) -> Iterator[None]:
        """SQLite's own waiting sleeps up to 100 ms between looks; a file lock looked at twice a millisecond hands over at once."""
        if not self.is_sqlite:
            yield
            return
        deadline, pause = time.monotonic() + LOCK_WAIT_S, 0.0002
        locked = StoreUnavailable(f"the store was locked by another writer for {LOCK_WAIT_S:g} s")
        if not self._turn.acquire(timeout=LOCK_WAIT_S):  # a file lock does not tell threads apart
            raise locked
        try:
            file = self._open_lock_file()
            while not _try_lock(file):
                if time.monotonic() > deadline:
                    raise locked
                time.sleep(pause)
                pause = min(pause * 1.5, 0.0005)
            try:
                yield
            finally:
                fcntl.flock(file, fcntl.LOCK_UN)
        finally:
            self._turn.release()

    def _open_lock_file(self) -> int:
        if self._lock_file is None:
            try:
                self._lock_file = os.open(self._lock_path, os.O_RDWR | os.O_CREAT, 0o600)
            except OSError as error:
                raise StoreUnavailable(f"{self._lock_path} cannot be opened: {error.strerror}") from error
        return self._lock_file

    def numbers(self, connection: Connection, name: str, count: int) -> list[int]:
        """The next `count` numbers for `message` or `delivery`, rising: the store's order."""
        if not count:
            return []
        if self.is_sqlite:
            last = _NEXT(connection, name=name, count=count).scalar_one()
            return list(range(last - count + 1, last + 1))
        return sorted(_DRAW(connection, name=f"{name}_seq", count=count).scalars())

    def close(self) -> None:
        """Gives the connections back."""
        self.engine.dispose()
        self._close_log()
        if self._tidier is not None:
            self._tidier.close()
            self._tidier = None
        if self._lock_file is not None:
            os.close(self._lock_file)
            self._lock_file = None


_NEXT: Final = Sql("UPDATE counter SET value = value + :count WHERE name = :name RETURNING value")
_DRAW: Final = Sql("SELECT nextval(CAST(:name AS regclass)) FROM generate_series(1, :count)")
_TOKEN: Final = Sql("SELECT token FROM lease WHERE name = :name")
_TOKEN_SHARED: Final = Sql("SELECT token FROM lease WHERE name = :name FOR SHARE")
_LOCK_KEYS: Final = Sql("SELECT pg_advisory_xact_lock(n) FROM unnest(CAST(:numbers AS bigint[])) AS n")


def _try_lock(file: int) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _on_sqlite_connect(connection: Any, _record: object) -> None:
    deadline = time.monotonic() + LOCK_WAIT_S
    while True:
        try:
            for pragma in _PRAGMAS:
                connection.execute(f"PRAGMA {pragma}")
            return
        except sqlite3.OperationalError:  # several processes turn a new file's WAL on at once: SQLite does not wait for that lock
            if time.monotonic() > deadline:
                raise
            time.sleep(0.01)


@contextmanager
def _translated() -> Iterator[None]:
    """Foreign errors become ours here, once."""
    try:
        yield
    except (exc.OperationalError, exc.InterfaceError, exc.TimeoutError) as error:
        raise StoreUnavailable(f"the store is unavailable: {_first_line(error)}") from error
    except exc.DBAPIError as error:
        if "lifecycle:" in str(error.orig):
            raise LifecycleError(_first_line(error)) from error
        if error.connection_invalidated:
            raise StoreUnavailable(f"the store is unavailable: {_first_line(error)}") from error
        raise StoreRefused(_first_line(error)) from error


def _first_line(error: exc.SQLAlchemyError) -> str:
    cause = getattr(error, "orig", None) or error
    return str(cause).partition("\n")[0][:200]
