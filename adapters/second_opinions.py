"""The second opinion on stored messages: 1 in 1,000 is verified again by signxml; a disagreement that is no known limit is an alarm."""

from __future__ import annotations

import asyncio
import logging
from typing import Final

from sqlalchemy import text

from adapters import addressing, second_opinion, soap
from adapters.store import Store
from adapters.vault import Vault, VaultError

log = logging.getLogger("koppelpunt.second_opinion")

ONE_IN: Final = 1_000
_NOTE: Final = "second_opinion"
_LIMITS: Final = soap.Limits(size=64 << 20)
_SAMPLE: Final = text(
    "SELECT m.seq, m.reference, b.wrapped_key, b.body FROM message m JOIN body b ON b.seq = m.seq "
    "WHERE m.seq > :after AND m.seq % :one_in = 0 AND b.wrapped_key IS NOT NULL ORDER BY m.seq LIMIT 50"
)


class SecondOpinions:
    """Goes through the store once, from where it left off."""

    def __init__(self, store: Store, vault: Vault) -> None:
        self._store, self._vault = store, vault

    async def ask(self) -> None:
        """Up to fifty messages; each takes signxml some milliseconds."""
        after = int(self._store.registry.note(_NOTE) or 0)
        with self._store.database.read() as connection:
            rows = connection.execute(_SAMPLE, {"after": after, "one_in": ONE_IN}).all()
        for row in rows:
            try:
                original = self._vault.open(row.reference, row.wrapped_key, "body", row.body)
            except VaultError as error:
                log.error("second_opinion_impossible", extra={"reference": row.reference, "error": str(error)})
                continue
            if addressing.glance(original, _LIMITS).signature_value is None:
                continue  # of profile 2W-be, or handed in over REST: there is no signature to have an opinion on
            opinion = await asyncio.to_thread(second_opinion.ask, original, limits=_LIMITS)
            if not opinion.valid and opinion.known_limit is None:
                log.error("second_opinion_differs", extra={"reference": row.reference, "reason": opinion.reason})
        if rows:
            self._store.registry.set_note(_NOTE, str(rows[-1].seq))
