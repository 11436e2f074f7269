"""Whom parties want to be told, in the store. A contact is never changed: it ends, and another one is added."""

from __future__ import annotations

from typing import Any

from sqlalchemy import insert, select, update

from adapters.store.database import Database
from adapters.store.rows import event_row, write_events
from adapters.store.tables.alerts import contact
from routing.contacts import Channel, Contact, ContactRole, parse_quiet, within
from routing.people import Scope
from schemas.events import Event


class Contacts:
    """Contacts in the store."""

    def __init__(self, database: Database) -> None:
        self._db = database

    def add(self, one: Contact, *, secret: bytes | None, who: str, now_us: int) -> None:
        """Adds one, with a webhook's sealed secret."""
        row = {
            "id": one.id,
            "party": one.party,
            "dienst": one.dienst,
            "role": str(one.role),
            "channel": str(one.channel),
            "address": one.address,
            "language": one.language,
            "quiet": str(one.quiet),
            "step": one.step,
            "digest": one.digest,
            "secret": secret,
            "made_us": now_us,
        }
        with self._db.write() as tx:
            tx.execute(insert(contact), row)
            write_events(tx, [event_row(_event("contact_added", one, who, now_us))])

    def end(self, id: str, *, who: str, now_us: int) -> Contact | None:
        """Nothing is sent to it any more. None when there is no such contact, or it has ended."""
        with self._db.write() as tx:
            ended = update(contact).where(contact.c.id == id, contact.c.ended_us.is_(None)).values(ended_us=now_us).returning(*contact.c)
            row = tx.execute(ended).first()
            if row is None:
                return None
            one = read_contact(row)
            write_events(tx, [event_row(_event("contact_ended", one, who, now_us))])
            return one

    def secret(self, id: str) -> bytes | None:
        """A webhook's sealed secret."""
        with self._db.read() as connection:
            found = connection.execute(select(contact.c.secret).where(contact.c.id == id)).scalar()
        return None if found is None else bytes(found)

    def every(self, scope: Scope, party: str | None = None) -> list[Contact]:
        """Those that the scope may see, by party, dienst and step."""
        wanted = (
            select(contact).where(contact.c.ended_us.is_(None)).order_by(contact.c.party, contact.c.dienst, contact.c.step, contact.c.id)
        )
        if party is not None:
            wanted = wanted.where(contact.c.party == party)
        if not scope.everything:
            wanted = wanted.where(contact.c.party.in_(sorted(scope.organisations | scope.systems)))
        with self._db.read() as connection:
            return [one for row in connection.execute(wanted) if within(scope, (one := read_contact(row)).party)]


def read_contact(row: Any) -> Contact:
    """A row of the table."""
    return Contact(
        id=row.id,
        party=row.party,
        dienst=row.dienst,
        role=ContactRole(row.role),
        channel=Channel(row.channel),
        address=row.address,
        language="en" if row.language == "en" else "nl",
        quiet=parse_quiet(row.quiet),
        step=row.step,
        digest=row.digest,
    )


def _event(kind: str, one: Contact, who: str, now_us: int) -> Event:
    """Without the address: that is a person's."""
    about = {"contact": one.id, "party": one.party, "dienst": one.dienst, "role": str(one.role), "channel": str(one.channel)}
    return Event(kind=kind, at_us=now_us, actor=who, details=about)
