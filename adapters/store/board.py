"""The board as pages ask it: `routing.board.Board`."""

from __future__ import annotations

from adapters.store.board_groups import BoardGroups
from adapters.store.board_items import BoardItems
from adapters.store.board_message import BoardMessages
from adapters.store.board_overview import BoardOverview
from adapters.store.board_parties import BoardParties
from adapters.store.database import Database
from adapters.store.refusals import close_refusals
from routing.board import BoardError
from schemas.privacy import redact


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
            return bool(close_refusals(tx, [reference], who=who, why=words, now_us=now_us))
