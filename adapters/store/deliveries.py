"""The store's side of deliver: claims, what became of attempts, and what parties confirm."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import groupby
from typing import Any, Final

from sqlalchemy import Connection

from adapters.store.lanes import note_heard
from adapters.store.mailboxes import may_have_left
from adapters.store.release import Part
from adapters.store.rows import Row, decision_rows, event_row, ids_of, write_decisions, write_events
from adapters.store.sql import Insert, Sql
from adapters.store.tables.deliveries import attempt
from routing.party import NOT_FETCHED, Said, WordHeard
from routing.release import is_mailbox
from routing.work import Claimed, Confirmation, Settlement, Ticket
from schemas.events import Event

_CLAIM: Final = Sql(
    "UPDATE delivery SET claim = :worker, claim_until_us = :until WHERE seq IN @seqs AND state = 'released' AND release = :release "
    "AND (claim IS NULL OR claim = :worker OR claim_until_us < :now) RETURNING seq"
)
_HELD: Final = Sql("SELECT seq, release FROM delivery WHERE seq IN @seqs AND state = 'released'")
#: Sent, and no word of the receiver's came that says what became of it: not within the time, from a proxy before it, or not to be trusted.
_UNHEARD: Final = Sql(
    "SELECT delivery_seq FROM attempt WHERE delivery_seq IN @seqs "
    "AND code IN ('ANSWER_NOT_HEARD', 'ENDPOINT_UNAVAILABLE', 'RESPONSE_NOT_TRUSTED')"
)
_CLAIMED_BEFORE: Final = Sql("SELECT seq FROM delivery WHERE seq IN @seqs AND state = 'released' AND claim IS NOT NULL")
CLAIMED_FIELDS: Final = tuple(name for name in Claimed.__dataclass_fields__ if name != "taken_over")
_OF_DELIVERY: Final = frozenset(
    ("seq", "release", "id", "message_seq", "target", "receiver", "endpoint", "lane", "receiver_system", "attempts", "deadline_us")
) | {"again_of"}
_OF_BODY: Final = frozenset(("wrapped_key", "body"))


def _column(field: str) -> str:
    table = "d" if field in _OF_DELIVERY else "b" if field in _OF_BODY else "m"
    return f"{table}.{'receiver' if field == 'message_receiver' else field}"


CLAIMED_COLUMNS: Final = ", ".join(_column(field) for field in CLAIMED_FIELDS)
_CLAIMED: Final = Sql(
    f"SELECT {CLAIMED_COLUMNS} FROM delivery d JOIN message m ON m.seq = d.message_seq "
    "JOIN body b ON b.seq = m.seq WHERE d.seq IN @seqs ORDER BY d.seq"
)
_SETTLE: Final = Sql(
    "UPDATE delivery SET state = :state, attempts = attempts + 1, claim = NULL, claim_until_us = NULL, at_us = :now, code = :code, "
    "owner = :owner, reason = :reason, hold_code = :hold_code, not_before_us = :not_before, delivered_us = :delivered "
    "WHERE seq IN @seqs AND state = 'released' AND claim = :worker AND release = :release RETURNING seq"
)
_ACKNOWLEDGE: Final = Sql("UPDATE delivery SET state = 'acknowledged' WHERE seq IN @seqs AND state = 'delivered'")
_POINT_ELSEWHERE: Final = Sql("UPDATE delivery SET endpoint = :endpoint, lane = :lane, receiver_system = :receiver_system WHERE seq = :seq")
_ATTEMPTS: Final = Insert(
    attempt,
    *("delivery_seq", "number", "at_us", "took_us", "endpoint", "register_version", "envelope", "outcome", "code", "reason"),
)
BY_ID: Final = Sql(
    "SELECT d.seq, d.id, d.state, d.target, d.receiver, d.receiver_system, d.code, m.reference, m.message_id, m.business_id, m.system, "
    "m.sender, m.dienst, m.versie, m.bericht FROM delivery d JOIN message m ON m.seq = d.message_seq WHERE d.id IN @ids"
)
#: What a party that was too late may still confirm.
_CONFIRMABLE: Final = f"(state = 'delivered' OR (state = 'failed' AND code = '{NOT_FETCHED}'))"
_CONFIRMED: Final = Sql(
    "UPDATE delivery SET state = 'acknowledged', code = NULL, owner = NULL, reason = NULL, at_us = :now "
    f"WHERE seq IN @seqs AND {_CONFIRMABLE} RETURNING seq"
)
_REFUSED: Final = Sql(
    "UPDATE delivery SET state = 'failed', code = :code, owner = :owner, reason = :reason, at_us = :now "
    "WHERE seq = :seq AND state = 'delivered' RETURNING seq"
)


class Deliveries(Part):
    """Working on what was released."""

    def claim(self, tickets: Sequence[Ticket], *, worker: str, now_us: int, until_us: int) -> tuple[list[Claimed], list[Ticket]]:
        """Claims what may be worked on now. Second: tickets whose release somebody else holds; look again when its claim has ended."""
        mine: set[int] = set()
        before: set[int] = set()
        with self._db.write() as tx:
            if pushed := [ticket.seq for ticket in tickets if ticket.push]:
                before.update(_CLAIMED_BEFORE(tx, seqs=pushed).scalars().all())
            for release, seqs in by_release(tickets):
                mine.update(_CLAIM(tx, seqs=seqs, release=release, worker=worker, now=now_us, until=until_us).scalars().all())
        with self._db.read() as connection:
            rows = _CLAIMED(connection, seqs=sorted(mine)).all() if mine else []
            held = still_held(connection, [ticket for ticket in tickets if ticket.seq not in mine])
        claimed = [Claimed(**dict(zip(CLAIMED_FIELDS, row, strict=True)), taken_over=row.seq in before) for row in rows]
        return claimed, held

    def unheard(self, seqs: Sequence[int]) -> set[int]:
        """Which of these deliveries were sent before without an answer to rely on: they may have arrived."""
        with self._db.read() as connection:
            return set(_UNHEARD(connection, seqs=list(seqs)).scalars().all())

    def settle(self, settlements: Sequence[Settlement], *, worker: str, actor: str) -> int:
        """State, attempt and event of each attempt, in one transaction. A delivery whose claim was lost meanwhile is left alone."""
        with self._db.write() as tx:
            done: set[int] = set()
            for _, group in groupby(sorted(settlements, key=_alike), key=_alike):
                members = list(group)
                first = members[0]
                moved = _SETTLE(
                    tx,
                    seqs=[s.claimed.seq for s in members],
                    release=first.claimed.release,
                    worker=worker,
                    state="delivered" if first.state == "acknowledged" else first.state,
                    now=first.at_us,
                    code=first.code,
                    owner=first.owner,
                    reason=first.reason,
                    hold_code=first.hold_code,
                    not_before=first.not_before_us,
                    delivered=first.at_us if first.state in ("delivered", "acknowledged") else None,
                )
                seqs = moved.scalars().all()
                if first.state == "acknowledged":
                    _ACKNOWLEDGE(tx, seqs=seqs)
                done.update(seqs)
            settled = [s for s in settlements if s.claimed.seq in done]
            for s in settled:
                if s.state == "routed":
                    _POINT_ELSEWHERE(tx, seq=s.claimed.seq, endpoint=s.endpoint, lane=s.lane, receiver_system=s.receiver_system)
            may_have_left(tx, [(s.claimed.receiver_system, s.claimed.id) for s in settled if _left_a_mailbox(s)], settlements[0].at_us)
            _ATTEMPTS(tx, [_attempt_row(s) for s in settled])
            write_decisions(tx, [row for s in settled for row in decision_rows(s.claimed.reference, s.claimed.id, s.at_us, s.decisions)])
            late = [_late_event(s, actor) for s in settlements if s.claimed.seq not in done and s.heard is not None]
            write_events(tx, [_settled_event(s, actor) for s in settled] + note_heard(tx, settled, actor) + late)
            return len(settled)

    def confirm(self, confirmations: Sequence[Confirmation], *, actor: str, now_us: int) -> list[Confirmation]:
        """Finishes what parties confirmed or refused; of two words about one delivery the first counts. Returns those that came before
        our own commit of the delivery: offer them again."""
        with self._db.write() as tx:
            return self._hear(tx, confirmations, actor, now_us)[0]

    def hear(self, confirmation: Confirmation, *, actor: str, now_us: int) -> WordHeard:
        """The same for one, whose party waits for an answer. A delivery that never was is not journalled: anybody can make up ids."""
        with self._db.read() as connection:
            if BY_ID(connection, ids=[confirmation.delivery_id]).first() is None:
                return WordHeard(said=Said.UNKNOWN)
        with self._db.write() as tx:
            before = BY_ID(tx, ids=[confirmation.delivery_id]).first()
            if before is None or before.receiver_system != confirmation.system:
                self._hear(tx, [confirmation], actor, now_us)  # it is journalled
                return WordHeard(said=Said.UNKNOWN)
            early, counted = self._hear(tx, [confirmation], actor, now_us)
            row = BY_ID(tx, ids=[confirmation.delivery_id]).one()
        if row.receiver_system != confirmation.system:  # withdrawn at this very moment
            return WordHeard(said=Said.UNKNOWN)
        if early:
            return WordHeard(said=Said.EARLY, state=row.state)
        if counted:
            return WordHeard(said=Said.COUNTED, state=row.state, code=row.code)
        ended = row.state in ("acknowledged", "answered") if confirmation.confirmed else row.code == confirmation.code
        return WordHeard(said=Said.REPEATED if ended else Said.FINISHED, state=row.state, code=row.code)

    @staticmethod
    def _hear(tx: Connection, confirmations: Sequence[Confirmation], actor: str, now_us: int) -> tuple[list[Confirmation], set[int]]:
        """Those that came too early, and the deliveries that the others ended."""
        early: list[Confirmation] = []
        events: list[Row] = []
        good: dict[int, Any] = {}
        refused: set[int] = set()
        rows = {row.id: row for row in BY_ID(tx, ids=sorted({c.delivery_id for c in confirmations})).all()}
        for c in confirmations:
            row = rows.get(c.delivery_id)
            if row is None or row.receiver_system != c.system:
                events.append(_not_theirs(c, row, actor, now_us))
            elif row.state == "released":
                early.append(c)
            elif row.seq in good:
                continue
            elif c.confirmed and (row.state == "delivered" or (row.state == "failed" and row.code == NOT_FETCHED)):
                good[row.seq] = row
            elif row.state == "delivered" and _REFUSED(tx, seq=row.seq, code=c.code, owner=c.owner, reason=c.reason, now=now_us).first():
                refused.add(row.seq)
                events.append(_confirmed_event(row, "failed", actor, now_us, code=c.code, owner=c.owner, reason=c.reason))
        confirmed = sorted(_CONFIRMED(tx, seqs=sorted(good), now=now_us).scalars().all()) if good else []
        events += [_confirmed_event(good[seq], "acknowledged", actor, now_us) for seq in confirmed]
        write_events(tx, events)
        return early, refused.union(confirmed)


def by_release(tickets: Iterable[Ticket]) -> list[tuple[int, list[int]]]:
    """The numbers of what these tickets name, by release."""
    ordered = sorted(tickets, key=lambda ticket: (ticket.release, ticket.seq))
    return [(release, [ticket.seq for ticket in group]) for release, group in groupby(ordered, key=lambda ticket: ticket.release)]


def still_held(connection: Connection, tickets: Sequence[Ticket]) -> list[Ticket]:
    """Those of these, none of which could be had, whose release is still the open one: somebody else has it."""
    open_ones = {(row.seq, row.release) for row in _HELD(connection, seqs=[ticket.seq for ticket in tickets]).all()} if tickets else set()
    return [ticket for ticket in tickets if (ticket.seq, ticket.release) in open_ones]


def _alike(s: Settlement) -> tuple[Any, ...]:
    """Settlements with the same values are one UPDATE."""
    words = (s.state, s.code or "", s.owner or "", s.reason or "", s.hold_code or "")
    return (*words, s.not_before_us, s.at_us, s.claimed.release)


def _left_a_mailbox(s: Settlement) -> bool:
    """Whether a copy may stand where it was: it was tried before, and goes elsewhere now."""
    elsewhere = s.state == "routed" and s.receiver_system != s.claimed.receiver_system
    return elsewhere and is_mailbox(s.claimed.lane) and s.claimed.attempts > 0 and s.claimed.receiver_system is not None


def _attempt_row(s: Settlement) -> Row:
    return (
        s.claimed.seq,
        s.claimed.attempts + 1,
        s.at_us,
        s.took_us,
        s.claimed.endpoint,
        s.register_version,
        s.envelope,
        s.state,
        s.code or s.hold_code,
        s.reason,
    )


#: Outcomes of an attempt the sender's system is told of; `delivered` in a mailbox is not finished until the party confirms.
_TOLD: Final = frozenset({"acknowledged", "failed", "uncertain", "waiting"})


def _settled_event(s: Settlement, actor: str) -> Row:
    kind = s.state if s.state != "routed" else "waiting" if s.hold_code else "resolved"
    return event_row(
        Event(
            kind=kind,
            at_us=s.at_us,
            actor=actor,
            delivery=s.claimed.id,
            receiver=s.claimed.receiver,
            receiver_system=s.receiver_system if s.state == "routed" else s.claimed.receiver_system,
            state=s.state,
            code=s.code or s.hold_code,
            owner=s.owner,
            reason=s.reason,
            register_version=s.register_version,
            details={"claimed_before": "yes"} if s.claimed.taken_over else {},  # it may have come to the receiver twice
            **ids_of(s.claimed),
        ),
        tell=s.claimed.system if kind in _TOLD else None,
    )


def _late_event(s: Settlement, actor: str) -> Row:
    """An endpoint was called, and what it said came when the delivery had gone on without it: it changes nothing, but it happened."""
    return event_row(
        Event(
            kind="attempt_late",
            at_us=s.at_us,
            actor=actor,
            delivery=s.claimed.id,
            receiver=s.claimed.receiver,
            receiver_system=s.claimed.receiver_system,
            code=s.code or s.hold_code,
            reason=s.reason,
            details={"would_be": s.state},
            **ids_of(s.claimed),
        )
    )


def _not_theirs(c: Confirmation, row: Any, actor: str, now_us: int) -> Row:
    """A word about a delivery that does not exist, or is somebody else's."""
    return event_row(
        Event(
            kind="confirmation_unknown" if row is None else "confirmation_refused",
            at_us=now_us,
            actor=actor,
            reference=None if row is None else row.reference,
            delivery=c.delivery_id,
            receiver_system=c.system,
        )
    )


def _confirmed_event(
    row: Any, kind: str, actor: str, now_us: int, *, code: str | None = None, owner: str | None = None, reason: str | None = None
) -> Row:
    return event_row(
        Event(
            kind=kind,
            at_us=now_us,
            actor=actor,
            delivery=row.id,
            receiver=row.receiver,
            receiver_system=row.receiver_system,
            state=kind,
            code=code,
            owner=owner,
            reason=reason,
            **ids_of(row),
        ),
        tell=row.system,
    )
