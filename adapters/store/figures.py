"""Figures about the whole store, for metrics. Each is counted in an index of what is open; what is finished is never read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from sqlalchemy import Connection

from adapters.store.database import Database
from adapters.store.release import distinct_lanes
from adapters.store.sql import Sql
from adapters.store.tables.deliveries import DUE, OPEN, ROUTED, WAITING
from adapters.store.tables.journal import UNCHAINED, UNTOLD
from adapters.store.tables.messages import AGAIN, RECEIVED

_UNROUTED: Final = Sql(f"SELECT count(*) FROM message WHERE {RECEIVED}")
_AGAIN: Final = Sql(f"SELECT count(*) FROM message WHERE {AGAIN}")
_ROUTED: Final = Sql(f"SELECT count(*) FROM delivery WHERE {ROUTED}")
_POSTPONED: Final = Sql(f"SELECT count(*) FROM delivery WHERE {DUE}")
_OPEN: Final = Sql(f"SELECT state, count(*) AS n FROM delivery WHERE {OPEN} GROUP BY state")
_WAITING: Final = Sql(f"SELECT hold_code AS code, owner, count(*) AS n FROM delivery WHERE {WAITING} GROUP BY hold_code, owner")
_LANES_ROUTED, _LANES_OPEN, _LANES_POSTPONED = (distinct_lanes(which) for which in (ROUTED, OPEN, DUE))
_UNCHAINED: Final = Sql(f"SELECT count(*) FROM event WHERE {UNCHAINED}")
_UNTOLD: Final = Sql(f"SELECT count(*) FROM event WHERE {UNTOLD}")
#: The store's order is that of hand-in, so the lowest number is the oldest. `+ 0`: PostgreSQL would look for it from the first row there
#: ever was on, past all that is finished.
_OLDEST_MESSAGE: Final = Sql(f"SELECT received_us FROM message WHERE seq = (SELECT min(seq + 0) FROM message WHERE {RECEIVED})")
_OLDEST_DELIVERY: Final = Sql(
    "SELECT m.received_us FROM delivery AS d JOIN message AS m ON m.seq = d.message_seq "
    f"WHERE d.seq = (SELECT min(seq + 0) FROM delivery WHERE {ROUTED})"
)
#: Small: a row for each endpoint that ever failed.
_HELD: Final = Sql("SELECT state, count(*) AS n FROM lane GROUP BY state")
#: Small: a row for each cause and owner there ever was.
_FAILURES: Final = Sql("SELECT code, owner, sum(count) AS n FROM failure_group GROUP BY code, owner")


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreFigures:
    """What is open, and what fell out."""

    unrouted: int  #: messages whose receivers are still to be decided
    deliveries: dict[str, int]  #: state -> deliveries, of the states in which the backbone or a mailbox still has them
    waiting: dict[tuple[str, str], int]  #: (code, owner) -> deliveries that wait for the register or for an endpoint
    lanes: dict[str, int]  #: `routed`, `open`, `postponed` -> endpoints and mailboxes that have deliveries in that state
    breakers: dict[str, int]  #: state of their circuit breaker -> endpoints that failed lately or are held
    oldest_us: int | None  #: hand-in of the oldest message that is to be routed, or delivery that may leave but has not
    failures: dict[tuple[str, str], int]  #: (code, owner) -> how many fell out, as the audit worker has counted them
    unchained: int  #: events that the journal does not bind yet
    untold: int  #: outcomes that a sender is still to be told

    @property
    def depth(self) -> int:
        """The outbox: all that has not left."""
        return self.unrouted + sum(self.deliveries.get(state, 0) for state in ("routed", "postponed", "released"))


class Figures:
    """Counts what is open."""

    def __init__(self, database: Database) -> None:
        self._db = database

    def __call__(self) -> StoreFigures:
        """The figures now: some milliseconds with a backlog of tens of thousands. Raises StoreUnavailable."""
        with self._db.read() as connection:

            def one(statement: Sql) -> int:
                return int(statement(connection).scalar_one())

            oldest = [found for sql in (_OLDEST_MESSAGE, _OLDEST_DELIVERY) if (found := sql(connection).scalar()) is not None]
            return StoreFigures(
                unrouted=one(_UNROUTED) + one(_AGAIN),
                deliveries={
                    "routed": one(_ROUTED),
                    "postponed": one(_POSTPONED),
                    "released": 0,
                    "delivered": 0,
                    **{row.state: row.n for row in _OPEN(connection)},
                },
                waiting=_by_code_and_owner(connection, _WAITING),
                lanes={
                    "routed": len(_LANES_ROUTED(connection).all()),
                    "open": len(_LANES_OPEN(connection).all()),
                    "postponed": len(_LANES_POSTPONED(connection).all()),
                },
                breakers={row.state: row.n for row in _HELD(connection)},
                oldest_us=min(oldest) if oldest else None,
                failures=_by_code_and_owner(connection, _FAILURES),
                unchained=one(_UNCHAINED),
                untold=one(_UNTOLD),
            )


def _by_code_and_owner(connection: Connection, statement: Sql) -> dict[tuple[str, str], int]:
    return {(row.code, row.owner or ""): int(row.n) for row in statement(connection)}
