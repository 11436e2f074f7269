"""Why a delivery that could leave does not: its lane is held, or its mailbox is not emptied. For people and senders; nothing is stored."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from sqlalchemy import Connection

from adapters.store.sql import Sql
from adapters.store.tables.deliveries import OPEN
from schemas.faults import CODES, Owner

#: Microseconds that a delivery waits before a mailbox that nobody empties is named as the reason. A relay that runs takes far less.
PATIENCE_US: Final = 60_000_000

_HELD: Final = Sql("SELECT lane, code FROM lane WHERE lane IN @lanes AND state <> 'closed'")
_UNCONFIRMED: Final = Sql(
    f"SELECT j.value AS lane FROM @lanes AS j WHERE EXISTS (SELECT 1 FROM delivery WHERE {OPEN} AND lane = j.value AND state = 'delivered')"
)
_BEHIND: Final = (
    "eerdere aanbiedingen aan dit endpoint zijn mislukt; dit bericht wacht daarop / "
    "earlier attempts at this endpoint failed; this message waits for it"
)


def explained(connection: Connection, rows: Iterable[Mapping[Any, Any]]) -> list[dict[str, Any]]:
    """The deliveries with `hold_code`, `owner` and `reason` as they stand now. Each row needs `state`, `lane`, `code`, `at_us` and those
    three."""
    found = [dict(row) for row in rows]
    for row in found:
        if row["state"] in ("routed", "released") and not (row["code"] or row["hold_code"]):
            row["owner"] = row["reason"] = None  # of a wait that is over
    waiting = [row for row in found if row["state"] == "routed" and row["lane"] and not row["hold_code"]]
    if waiting:
        _explain(connection, waiting)
    return found


def _explain(connection: Connection, waiting: Sequence[dict[str, Any]]) -> None:
    lanes = sorted({row["lane"] for row in waiting})
    held = {row.lane: row.code for row in _HELD(connection, lanes=lanes).all()}
    full = set(_UNCONFIRMED(connection, lanes=[lane for lane in lanes if lane.startswith("mailbox ")]).scalars().all())
    now_us = time.time_ns() // 1_000
    for row in waiting:
        code, reason = None, None
        if row["lane"] in held:
            code = held[row["lane"]]
            code, reason = (code, _BEHIND) if code else ("HELD_BY_OPERATOR", None)
        elif row["lane"] in full and now_us - row["at_us"] > PATIENCE_US:
            code = "MAILBOX_FULL"
        if code:
            row |= {"hold_code": code, "owner": str(CODES[code].owner if code in CODES else Owner.US), "reason": reason}
