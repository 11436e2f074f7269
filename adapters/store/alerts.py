"""Alerts in the store, and the outbox of what is told of them.

One look is one transaction: what was opened, told, escalated or closed, its journal events, and the messages to be sent. So a crash
leaves either all of it or nothing, and a message that was written is sent at least once, always under the same id.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from sqlalchemy import Connection, delete, or_, select, text, update

from adapters.store.contacts import Contacts, read_contact
from adapters.store.database import Database
from adapters.store.rows import event_row, write_events
from adapters.store.sql import Sql
from adapters.store.tables.alerts import STANDING, UNSENT, alert, contact, telling
from routing.alerts import Alert, AlertState, CannotAcknowledge, Cause, Kind, Letter, Pace, Plan, What
from routing.contacts import Contact, ContactRole
from routing.people import Scope
from routing.tellings import Due, Written, new_id
from routing.work import Lease
from schemas.events import Event
from schemas.privacy import redact

_DAY_US: Final = 86_400_000_000
#: Contents of messages are kept so long after they were made; that they were made, and when, a year.
CONTENT_KEPT_US: Final = 90 * _DAY_US
KEPT_US: Final = 366 * _DAY_US
_MORE: Final = (
    "says",
    "do",
    "role",
    "urgent",
    "times",
    "absent_us",
    "step",
    "step_us",
    "told",
    "who",
    "why",
    "acknowledged_us",
    "by_ticket",
)
_COLUMNS: Final = (
    "kind",
    "partner",
    "dienst",
    "code",
    "about",
    "state",
    "size",
    "since_us",
    "last_us",
    "opened_us",
    "told_us",
    "closed_us",
)
_ADD: Final = Sql(
    "INSERT INTO telling (id, key, kind, contact, party, alerts, subject, content, made_us, due_us, attempts) VALUES "
    "(:id, :key, :kind, :contact, :party, :alerts, :subject, :content, :now, :now, 0) ON CONFLICT (key) DO NOTHING"
)
_MADE: Final = Sql("SELECT key FROM telling WHERE key IN @keys")
_STANDING_BY: Final = Sql(f"SELECT kind, state, count(*) AS n FROM alert WHERE {STANDING} GROUP BY kind, state")
_UNSENT: Final = Sql(f"SELECT count(*) AS waiting, sum(CASE WHEN attempts > 0 THEN 1 ELSE 0 END) AS failing FROM telling WHERE {UNSENT}")
_TAKEN: Final = Sql(f"SELECT id FROM alert WHERE {STANDING} AND state = 'acknowledged'")
_SAVE: Final = text(
    f"INSERT INTO alert (id, {', '.join(_COLUMNS)}, more) VALUES (:id, {', '.join(':' + name for name in _COLUMNS)}, :more) "
    f"ON CONFLICT (id) DO UPDATE SET {', '.join(f'{name} = :{name}' for name in (*_COLUMNS[5:], 'more'))}"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class AlertFigures:
    """How much there is to tell."""

    alerts: Mapping[tuple[str, str], int]  #: (kind, state) -> alerts that are not over
    waiting: int  #: messages to contacts that are to be sent
    failing: int  #: those of them that were not taken yet when they were tried


class AlertBook:
    """Alerts, contacts and messages; for pages it is `routing.alerts.Alerts`."""

    def __init__(self, database: Database) -> None:
        self._db = database
        self.book = Contacts(database)

    # -- one look ----------------------------------------------------------------------------------------------------
    def look(
        self,
        lease: Lease,
        signalled: Collection[str],
        decide: Callable[[Sequence[Alert], Sequence[Contact], Mapping[str, Sequence[tuple[int, Pace]]]], Plan],
        write: Callable[[Letter], Written],
        *,
        now_us: int,
    ) -> Plan:
        """Lets `decide` judge what is known (open alerts, and those with one of these ids), and keeps what it decides. What somebody took
        while it was judged stays taken. Raises LeaseLost."""
        known = select(alert).where(or_(alert.c.state != str(AlertState.CLOSED), alert.c.id.in_(sorted(signalled))))
        with self._db.read() as connection:  # only the leader changes any of it, but for taking an alert
            alerts = [read_alert(row) for row in connection.execute(known)]
            contacts = [read_contact(row) for row in connection.execute(select(contact).where(contact.c.ended_us.is_(None)))]
            sent = _sent(connection, since_us=now_us - _DAY_US)
        plan = decide(alerts, contacts, sent)
        letters = [(new_id(4), letter, write(letter)) for letter in plan.letters]
        rows = [_row(one) for one in plan.changed]
        taken_before = {one.id for one in alerts if one.state is AlertState.ACKNOWLEDGED}
        with self._db.write() as tx:
            self._db.require(tx, lease)
            taken = set(_TAKEN(tx).scalars()) - taken_before
            if rows := [row for row in rows if row["id"] not in taken]:
                tx.execute(_SAVE, rows)
            write_events(tx, [event_row(_event(what, one, lease.holder, now_us)) for what, one in plan.happened if one.id not in taken])
            for id, letter, written in letters:
                _add(tx, id, f"alert {letter.pace} {id}", "alert", letter.contact, written, [one.id for one in letter.alerts], now_us)
        return plan

    # -- what is made once ----------------------------------------------------------------------------------------------------
    def made(self, keys: Collection[str]) -> set[str]:
        """Which of these messages were made already."""
        with self._db.read() as connection:
            return set(_MADE(connection, keys=sorted(keys)).scalars())

    def add_once(self, lease: Lease, letters: Sequence[tuple[str, str, Contact, Written]], *, now_us: int) -> int:
        """Messages as (key, kind, contact, content); those whose key was made already are left out. Raises LeaseLost."""
        with self._db.write() as tx:
            self._db.require(tx, lease)
            return sum(_add(tx, new_id(4), key, kind, one, written, (), now_us) for key, kind, one, written in letters)

    # -- sending ----------------------------------------------------------------------------------------------------
    def due(self, *, now_us: int, limit: int = 50) -> list[Due]:
        """Messages to be sent now, the longest due first. They are on disk: what is sent is never made again."""
        wanted = (
            select(telling, contact.c.secret, *[column.label(f"c_{column.name}") for column in contact.c])
            .join(contact, contact.c.id == telling.c.contact)
            .where(telling.c.sent_us.is_(None), telling.c.given_up_us.is_(None), telling.c.due_us <= now_us)
            .order_by(telling.c.due_us, telling.c.id)
            .limit(limit)
        )
        with self._db.read() as connection:
            rows = connection.execute(wanted).all()
        if rows:
            self._db.sync()
        return [_due(row) for row in rows]

    def sent(self, id: str, *, now_us: int) -> None:
        """It has been taken by whoever it was handed to."""
        with self._db.write() as tx:
            done = update(telling).where(telling.c.id == id, telling.c.sent_us.is_(None))
            tx.execute(done.values(sent_us=now_us, attempts=telling.c.attempts + 1, error=None))

    def not_sent(self, id: str, error: str, *, again_us: int | None, now_us: int) -> None:
        """It was not taken: again at that moment, or (None) never."""
        with self._db.write() as tx:
            values = {"given_up_us": now_us} if again_us is None else {"due_us": again_us}
            failed = update(telling).where(telling.c.id == id, telling.c.sent_us.is_(None))
            tx.execute(failed.values(attempts=telling.c.attempts + 1, error=redact(error)[:300], **values))

    def forget(self, *, now_us: int) -> None:
        """Contents of old messages, and then the messages and alerts that are over."""
        with self._db.write() as tx:
            old = telling.c.made_us < now_us - CONTENT_KEPT_US
            tx.execute(update(telling).where(old, telling.c.content != "").values(content=""))
            tx.execute(delete(telling).where(telling.c.made_us < now_us - KEPT_US))
            tx.execute(delete(alert).where(alert.c.closed_us < now_us - KEPT_US, alert.c.state == str(AlertState.CLOSED)))

    # -- for people ----------------------------------------------------------------------------------------------------
    def alerts(self, scope: Scope, *, closed: bool = False, limit: int = 200) -> list[Alert]:
        """Those that are open or taken, the most pressing first; `closed`: those that are over instead, the newest first."""
        state = alert.c.state == str(AlertState.CLOSED) if closed else alert.c.state != str(AlertState.CLOSED)
        order = alert.c.closed_us.desc() if closed else alert.c.size.desc()
        with self._db.read() as connection:
            found = [read_alert(row) for row in connection.execute(_scoped(select(alert).where(state), scope).order_by(order).limit(limit))]
        return found if closed else sorted(found, key=lambda one: (not one.urgent, one.state is not AlertState.OPEN, -one.size))

    def alert(self, scope: Scope, id: str) -> Alert | None:
        """One of them."""
        with self._db.read() as connection:
            row = connection.execute(_scoped(select(alert).where(alert.c.id == id), scope)).first()
        return None if row is None else read_alert(row)

    def acknowledge(self, scope: Scope, id: str, *, who: str, why: str, now_us: int) -> Alert:
        """Somebody takes it: nobody is told any more. Raises CannotAcknowledge."""
        with self._db.write() as tx:
            wanted = _scoped(select(alert).where(alert.c.id == id), scope)
            row = tx.execute(wanted if self._db.is_sqlite else wanted.with_for_update()).first()
            if row is None:
                raise CannotAcknowledge(
                    f"There is no alert {id[:20]!r}; `run.py alerts` lists them.",
                    f"Er is geen melding {id[:20]!r}; zie de pagina Meldingen.",
                )
            one = read_alert(row)
            if one.state is not AlertState.OPEN:
                if one.state is AlertState.CLOSED:
                    raise CannotAcknowledge(f"Alert {id} is over.", f"Melding {id} is voorbij.")
                raise CannotAcknowledge(f"Alert {id} was taken by {one.who}.", f"Melding {id} is al opgepakt door {one.who}.")
            one = replace(one, state=AlertState.ACKNOWLEDGED, who=who, why=redact(why)[:500], acknowledged_us=now_us)
            tx.execute(_SAVE, _row(one))
            write_events(tx, [event_row(_event("alert_acknowledged", one, who, now_us, reason=one.why))])
            return one

    def figures(self) -> AlertFigures:
        """How many there are, for metrics."""
        with self._db.read() as connection:
            alerts = {(row.kind, row.state): int(row.n) for row in _STANDING_BY(connection)}
            unsent = _UNSENT(connection).one()
        return AlertFigures(alerts=alerts, waiting=int(unsent.waiting), failing=int(unsent.failing or 0))

    def contacts(self, scope: Scope, party: str | None = None) -> list[Contact]:
        """Whom parties want to be told, by party, dienst and step."""
        return self.book.every(scope, party)

    def tellings(self, scope: Scope, *, limit: int = 200) -> list[dict[str, Any]]:
        """Messages made lately, newest first."""
        names = ("id", "kind", "party", "subject", "made_us", "sent_us", "given_up_us", "attempts", "error")
        wanted = select(*(telling.c[name] for name in names), contact.c.channel, contact.c.address).join(
            contact, contact.c.id == telling.c.contact
        )
        if not scope.everything:
            wanted = wanted.where(telling.c.party.in_(sorted(scope.organisations | scope.systems)))
        with self._db.read() as connection:
            return [dict(row._mapping) for row in connection.execute(wanted.order_by(telling.c.made_us.desc()).limit(limit))]


def read_alert(row: Any) -> Alert:
    """A row of the table."""
    more = json.loads(row.more)
    more |= {name: tuple(more[name]) for name in ("says", "do")}
    more |= {"told": frozenset(more["told"]), "role": ContactRole(more["role"])}
    cause = Cause(kind=Kind(row.kind), partner=row.partner, dienst=row.dienst, code=row.code, about=row.about)
    return Alert(cause=cause, state=AlertState(row.state), **{name: getattr(row, name) for name in _COLUMNS[6:]}, **more)


def _row(one: Alert) -> dict[str, Any]:
    more = {name: getattr(one, name) for name in _MORE} | {"told": sorted(one.told)}
    cause = {name: getattr(one.cause, name) for name in ("partner", "dienst", "code", "about")}
    values = {name: getattr(one, name) for name in _COLUMNS[6:]}
    more_text = json.dumps(more, ensure_ascii=False)
    return {"id": one.id, "kind": str(one.cause.kind), "state": str(one.state), "more": more_text, **cause, **values}


def _scoped(statement: Any, scope: Scope) -> Any:
    return statement if scope.everything else statement.where(alert.c.partner.in_(sorted(scope.organisations | scope.systems)))


def _sent(tx: Connection, *, since_us: int) -> dict[str, list[tuple[int, Pace]]]:
    """By contact. The pace is the second word of a message's key; those of before there was one were ordinary."""
    found: dict[str, list[tuple[int, Pace]]] = {}
    made = select(telling.c.contact, telling.c.made_us, telling.c.key).where(telling.c.made_us >= since_us, telling.c.kind == "alert")
    for row in tx.execute(made):
        word = row.key.split(" ")[1]
        found.setdefault(row.contact, []).append((row.made_us, Pace(word) if word in set(Pace) else Pace.ORDINARY))
    return found


def _add(tx: Connection, id: str, key: str, kind: str, one: Contact, written: Written, alerts: Sequence[str], now_us: int) -> int:
    return _ADD(
        tx,
        id=id,
        key=key,
        kind=kind,
        contact=one.id,
        party=one.party,
        alerts=json.dumps(list(alerts)),
        subject=written.subject,
        content=written.as_json(),
        now=now_us,
    ).rowcount


def _due(row: Any) -> Due:
    to = {name.removeprefix("c_"): value for name, value in row._mapping.items() if name.startswith("c_")}
    ended = to["ended_us"] is not None
    return Due(
        id=row.id,
        kind=row.kind,
        contact=read_contact(_Row(**to)),
        ended=ended,
        secret=None if row.secret is None else bytes(row.secret),
        written=Written.from_json(row.content),
        made_us=row.made_us,
        attempts=row.attempts,
    )


class _Row:
    """Columns under their own names."""

    def __init__(self, **columns: Any) -> None:
        self.__dict__.update(columns)


def _event(what: What | str, one: Alert, actor: str, now_us: int, *, reason: str | None = None) -> Event:
    return Event(
        kind=str(what),
        at_us=now_us,
        actor=actor,
        dienst=one.cause.dienst or None,
        code=one.cause.code or None,
        reason=reason,
        details={"alert": one.id, "cause": str(one.cause.kind), "partner": one.cause.partner, "size": str(one.size)},
    )
