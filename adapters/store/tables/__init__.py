"""The store's tables (SQLAlchemy Core), the same on SQLite and PostgreSQL: one module per part, of which this has the metadata together.

Every index costs a write per row, and one on random ids a page per row: there is one for each hot question and none besides.

Times are microseconds since 1970 UTC in `*_us` columns: one integer, the same in both databases and cheap to write.
"""

from __future__ import annotations

from adapters.store.tables import alerts, board, deliveries, jobs, journal, messages, people, processes, proefs, register, warnings
from adapters.store.tables.shared import metadata

__all__ = [
    "alerts",
    "board",
    "deliveries",
    "jobs",
    "journal",
    "messages",
    "metadata",
    "people",
    "processes",
    "proefs",
    "register",
    "warnings",
]
