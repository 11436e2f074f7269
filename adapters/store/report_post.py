"""Reports that a person asked for, in the outbox of what is told (`adapters.store.alerts` sends from it)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date
from typing import Final

from adapters.store.database import Database
from adapters.store.rows import event_row, write_events
from adapters.store.sql import Sql
from routing.contacts import Contact
from routing.reporting import Draft, Sent
from routing.tellings import new_id
from schemas.events import Event

#: The kind of telling that the Monday morning's reports are too.
KIND: Final = "report"
_ADD: Final = Sql(
    "INSERT INTO telling (id, key, kind, contact, party, alerts, subject, content, made_us, due_us, attempts) VALUES "
    f"(:id, :key, '{KIND}', :contact, :party, '[]', :subject, :content, :now, :due, 0)"
)
#: Both keys, of the Monday morning's too, have the week as their last word.
_SENT: Final = Sql(
    "SELECT t.key, t.made_us, t.due_us, t.sent_us, t.given_up_us, t.attempts, c.address FROM telling t JOIN contact c ON c.id = t.contact "
    f"WHERE t.kind = '{KIND}' AND t.party = :party AND t.made_us >= :since AND c.channel = 'email' ORDER BY t.made_us DESC, t.id LIMIT 200"
)
_ASKED: Final = "asked"


class ReportRows:
    """Written with who asked for them."""

    def __init__(self, database: Database) -> None:
        self._db = database

    def add(self, draft: Draft, contacts: Sequence[Contact], due_us: Mapping[str, int], *, who: str, now_us: int) -> None:
        """One message to each contact, and one event in the journal, without the addresses: those are people's."""
        messages = {one.id: new_id(4) for one in contacts}
        with self._db.write() as tx:
            for one in contacts:
                written = draft.written[one.language]
                _ADD(
                    tx,
                    id=messages[one.id],
                    key=f"{KIND} {_ASKED} {messages[one.id]} {draft.monday}",
                    contact=one.id,
                    party=one.party,
                    subject=written.subject,
                    content=written.as_json(),
                    now=now_us,
                    due=due_us[one.id],
                )
            details = {"party": draft.system, "week": draft.monday.isoformat(), "contacts": ",".join(sorted(messages))}
            write_events(tx, [event_row(Event(kind="report_asked", at_us=now_us, actor=who, details=details))])

    def sent(self, party: str, monday: date, *, since_us: int) -> list[Sent]:
        """Of this week, the newest first."""
        with self._db.read() as connection:
            rows = _SENT(connection, party=party, since=since_us).all()
        return [
            Sent(
                address=row.address,
                by_person=row.key.split(" ")[1] == _ASKED,
                made_us=row.made_us,
                due_us=row.due_us,
                sent_us=row.sent_us,
                given_up_us=row.given_up_us,
                attempts=row.attempts,
            )
            for row in rows
            if row.key.endswith(f" {monday}")
        ]
