"""What all processes share besides messages: register versions, CRLs, leases, workers, and single values."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

from sqlalchemy import bindparam, delete, insert, select, text, update

from adapters.store.database import Database
from adapters.store.register import RegisterBook
from adapters.store.tables.processes import crl, lease, note, worker
from adapters.store.tables.register import register_version
from adapters.store.warnings import saw_certificates
from routing.warning_board import SeenCertificate
from routing.work import Lease

#: Sets a single value.
SET_NOTE: Final = text("INSERT INTO note (name, value) VALUES (:name, :value) ON CONFLICT (name) DO UPDATE SET value = :value")
_FIRST_LEASE: Final = text("INSERT INTO lease (name, holder, token, until_us) VALUES (:name, '', 0, 0) ON CONFLICT DO NOTHING")
_TAKE_LEASE: Final = (
    update(lease)
    .where(lease.c.name == bindparam("which"), lease.c.until_us < bindparam("now"))
    .values(holder=bindparam("me"), token=lease.c.token + 1, until_us=bindparam("until"))
    .returning(lease.c.token)
)
_KEEP_LEASE: Final = (
    update(lease)
    .where(lease.c.name == bindparam("which"), lease.c.holder == bindparam("me"), lease.c.token == bindparam("held"))
    .values(until_us=bindparam("until"))
    .returning(lease.c.token)
)
_ADD_CRL: Final = text(
    "INSERT INTO crl (source, pem, this_update_us, next_update_us, fetched_us) "
    "VALUES (:source, :pem, :this_update_us, :next_update_us, :fetched_us) ON CONFLICT (source) DO NOTHING"
)


@dataclass(frozen=True, slots=True)
class StoredCrl:
    """One CRL source as last fetched, shared by all processes."""

    source: str
    pem: bytes
    this_update_us: int
    next_update_us: int
    fetched_us: int


class Registry:
    """Shared facts in the store."""

    def __init__(self, database: Database) -> None:
        self._db = database
        self._book = RegisterBook(database)

    # -- service register (`adapters.store.register`, for those who need no more of it) --------------------------------------------------
    def register_version(self) -> int:
        """The newest version; 0 when none was loaded yet."""
        return self._book.newest()

    def save_register(self, document: Mapping[str, Any], *, who: str, now_us: int) -> int:
        """Makes the register what a document says; earlier versions stay. Raises ValueError for a row that cannot be read."""
        return self._book.save(document, who=who, now_us=now_us)

    def register_document(self, version: int) -> dict[str, Any]:
        """The register as it was in this version. Raises KeyError for one that does not exist."""
        return self._book.document(version)

    def register_age(self) -> tuple[int, int] | None:
        """Newest version and when it was loaded."""
        with self._db.read() as connection:
            row = connection.execute(
                select(register_version.c.version, register_version.c.at_us).order_by(register_version.c.version.desc()).limit(1)
            ).first()
            return (row.version, row.at_us) if row else None

    # -- leases ------------------------------------------------------------------------------------------------------------------------
    def take_lease(self, name: str, holder: str, *, now_us: int, until_us: int) -> Lease | None:
        """Becomes the leader when nobody is; each new leader gets a higher token, by which an old one is fenced off."""
        with self._db.read() as connection:
            row = connection.execute(select(lease).where(lease.c.name == name)).first()
            if row and row.until_us >= now_us:
                return None
        with self._db.write() as tx:
            tx.execute(_FIRST_LEASE, {"name": name})
            token = tx.execute(_TAKE_LEASE, {"which": name, "me": holder, "now": now_us, "until": until_us}).scalar()
            return Lease(name=name, holder=holder, token=token) if token is not None else None

    def keep_lease(self, held: Lease, *, until_us: int) -> bool:
        """Stays the leader for longer; False when somebody else took over."""
        with self._db.write() as tx:
            return (
                tx.execute(_KEEP_LEASE, {"which": held.name, "me": held.holder, "held": held.token, "until": until_us}).scalar() is not None
            )

    def give_lease(self, held: Lease) -> None:
        """Stops being the leader at once, so that the next one need not wait."""
        with self._db.write() as tx:
            tx.execute(update(lease).where(lease.c.name == held.name, lease.c.token == held.token).values(until_us=0))

    # -- workers -----------------------------------------------------------------------------------------------------------------------
    def worker_seen(
        self,
        id: str,
        name: str,
        pid: int,
        host: str,
        state: str,
        *,
        started_us: int,
        now_us: int,
        handled: int,
        metrics: str | None = None,
    ) -> None:
        """A worker says that it lives. `metrics`: where it can be asked how it is, as host:port."""
        row = {
            "id": id,
            "name": name,
            "pid": pid,
            "host": host,
            "state": state,
            "started_us": started_us,
            "seen_us": now_us,
            "handled": handled,
            "metrics": metrics,
        }
        with self._db.write() as tx:
            if tx.execute(update(worker).where(worker.c.id == id).values(state=state, seen_us=now_us, handled=handled)).rowcount == 0:
                tx.execute(insert(worker), row)

    def worker_gone(self, id: str) -> None:
        """A worker has stopped in order."""
        with self._db.write() as tx:
            tx.execute(delete(worker).where(worker.c.id == id))

    def forget_workers(self, before_us: int) -> None:
        """Workers that have not been heard of since then."""
        with self._db.write() as tx:
            tx.execute(delete(worker).where(worker.c.seen_us < before_us))

    def workers(self) -> list[dict[str, Any]]:
        """Every worker known, by name."""
        with self._db.read() as connection:
            return [dict(row._mapping) for row in connection.execute(select(worker).order_by(worker.c.name, worker.c.started_us))]

    # -- CRLs and single values --------------------------------------------------------------------------------------------------------
    def save_crl(self, fetched: StoredCrl, *, known: StoredCrl | None) -> bool:
        """Replaces what was known of this source, which is what it was compared with (None: nothing). False, and nothing is done, when
        another process has saved another one since: then compare again."""
        with self._db.write() as tx:
            if known is None:
                return tx.execute(_ADD_CRL, asdict(fetched)).rowcount == 1
            as_known = (crl.c[name] == value for name, value in asdict(known).items())
            return tx.execute(update(crl).where(*as_known).values(**asdict(fetched))).rowcount == 1

    def crls(self) -> list[StoredCrl]:
        """All CRLs, as last fetched."""
        with self._db.read() as connection:
            return [
                StoredCrl(r.source, bytes(r.pem), r.this_update_us, r.next_update_us, r.fetched_us)
                for r in connection.execute(select(crl).order_by(crl.c.source))
            ]

    def crl_times(self) -> list[StoredCrl]:
        """All CRLs without their lists, which may be megabytes: how old they are."""
        columns = (crl.c.source, crl.c.this_update_us, crl.c.next_update_us, crl.c.fetched_us)
        with self._db.read() as connection:
            return [
                StoredCrl(r.source, b"", r.this_update_us, r.next_update_us, r.fetched_us)
                for r in connection.execute(select(*columns).order_by(crl.c.source))
            ]

    def crl_stamp(self) -> str:
        """Changes when any CRL does: what processes poll before they read them all. Of every row, because what is saved last need not have
        the latest moment: downloads take time, and clocks are put right."""
        return hashlib.sha256(repr(self.crl_times()).encode()).hexdigest()

    def saw_certificates(self, seen: Sequence[SeenCertificate]) -> int:
        """Certificates that systems used; returns how many are new."""
        with self._db.write() as tx:
            return saw_certificates(tx, seen)

    def note(self, name: str) -> str | None:
        """A single value, such as the broker's epoch."""
        with self._db.read() as connection:
            return connection.execute(select(note.c.value).where(note.c.name == name)).scalar()

    def set_note(self, name: str, value: str) -> None:
        """Sets a single value."""
        with self._db.write() as tx:
            tx.execute(SET_NOTE, {"name": name, "value": value})
