"""The board as pages ask it: `routing.board.Board`."""

from __future__ import annotations

from typing import Final

from adapters.store.board_groups import BoardGroups
from adapters.store.board_items import BoardItems
from adapters.store.board_message import BoardMessages
from adapters.store.board_overview import BoardOverview
from adapters.store.board_parties import BoardParties
from adapters.store.board_standing import OF_ITEM, Changes
from adapters.store.database import Database
from adapters.store.rows import event_row, write_events
from adapters.store.sql import Sql
from routing.board import BoardError
from schemas.events import Event
from schemas.privacy import redact

_REFUSAL: Final = Sql("SELECT system, sender, dienst, bericht, code, owner FROM refusal WHERE reference = :reference")
_CLOSE: Final = Sql(
    "INSERT INTO refusal_closed (reference, at_us, who, why) VALUES (:reference, :now, :who, :why) "
    "ON CONFLICT DO NOTHING RETURNING reference"
)
_OFF: Final = Sql(f"DELETE FROM item WHERE reference = :reference AND state = 'refused' RETURNING {', '.join(OF_ITEM)}")


class Board(BoardItems, BoardOverview, BoardGroups, BoardMessages, BoardParties):
    """All questions, over one store."""

    def __init__(self, database: Database) -> None:
        BoardMessages.__init__(self, database)

    def close_refusal(self, reference: str, *, who: str, why: str, now_us: int) -> bool:
        """See routing.board."""
        words = redact(why.strip())[:2_000]
        if not words:
            raise BoardError(
                "Say why it needs nobody any more; the journal keeps it.",
                "Geef een reden waarom niemand er meer iets mee hoeft; die gaat in het journaal.",
            )
        with self._db.write() as tx:
            row = _REFUSAL(tx, reference=reference).first()
            if row is None or _CLOSE(tx, reference=reference, now=now_us, who=who, why=words).first() is None:
                return False
            changes = Changes()
            changes.go(_OFF(tx, reference=reference).all())
            changes.write(tx)
            happened = Event(kind="refusal_closed", at_us=now_us, actor=who, reference=reference, reason=words, **row._mapping)
            write_events(tx, [event_row(happened)])
            return True
