"""The outbox: what may leave now, who works on it, and what became of it.

Every change of state is one conditional UPDATE with RETURNING: only the rows it names were moved by this call, and only for those are
attempts and events written, in the same transaction.
"""

from __future__ import annotations

from adapters.store.deliveries import Deliveries
from adapters.store.lanes import Lanes
from adapters.store.release import Release
from adapters.store.routes import Routes
from adapters.store.upkeep import Upkeep


class Outbox(Release, Routes, Deliveries, Lanes, Upkeep):
    """The store's side of relay, route, deliver and timetable."""
