"""Taking in: a batch of hand-ins becomes messages, duplicates or refusals in one transaction (rules 1 and 2)."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Final

from sqlalchemy import Connection

from adapters.store.answers import Answers
from adapters.store.database import Database
from adapters.store.rows import Row, decision_rows, event_row, write_decisions, write_events
from adapters.store.sql import Insert, Sql
from adapters.store.tables.messages import UNSETTLED, body, message, refusal, replacement, used_id
from routing.ports import JudgeStep
from routing.work import Answerable, HandInResult, NewMessage, NewRefusal, StreamStep
from schemas.events import Event
from schemas.faults import Refused, kind_of
from schemas.rules import Judgement

_FINE: Final = Judgement()

_TAKE: Final = Insert(used_id, "key", "reference", "digest", "received_us", unless_there=True)
_HOLDERS: Final = Sql("SELECT key, reference, digest, received_us FROM used_id WHERE key IN @keys")
_GIVE_BACK: Final = Sql("DELETE FROM used_id WHERE key IN @keys")
_POINT: Final = Sql("UPDATE used_id SET reference = :reference, received_us = :received_us WHERE key IN @keys")
_STORED: Final = Sql("SELECT reference, system, warnings FROM message WHERE reference IN @references")
_STORED_REFUSALS: Final = Sql("SELECT reference FROM refusal WHERE reference IN @references")
#: Refusals of the same bytes for the same reason, of which the broker may deliver the hand-in once more; the oldest first.
_UNSETTLED: Final = Sql(
    f"SELECT reference, at_us, reason FROM refusal WHERE {UNSETTLED} AND digest = :digest AND system = :system AND code = :code "
    "ORDER BY at_us, reference"
)
_SETTLED: Final = Sql(f"UPDATE refusal SET unsettled = false WHERE reference IN @references AND {UNSETTLED}")
_LAST_STEP: Final = Sql("SELECT number, status FROM stream WHERE key = :key")
_STEP: Final = Sql(
    "INSERT INTO stream (key, number, status) VALUES (:key, :number, :status) "
    "ON CONFLICT (key) DO UPDATE SET number = :number, status = :status"
)
_MESSAGES: Final = Insert(
    message,
    *("seq", "reference", "state", "release", "sender", "system", "receiver", "message_id", "business_id", "address", "action"),
    *("dienst", "versie", "bericht", "order_key", "subject", "digest", "received_us", "created_us", "expires_us", "stale", "via"),
    *("size", "warnings", "register_version", "law_day"),
)
_REPLACEMENTS: Final = Insert(replacement, "key", "reference", "at_us")
_BODIES: Final = Insert(body, "seq", "wrapped_key", "facts", "body")
_REFUSALS: Final = Insert(
    refusal,
    *("reference", "at_us", "system", "sender", "message_id", "business_id", "dienst", "bericht", "code", "owner", "reason"),
    *("details", "digest", "via", "unsettled"),
)


def keys_of(new: NewMessage) -> list[str]:
    """The ids by which this message is recognised again; per sender, so that nobody can use up another's."""
    keys = [f"m:{new.message_id}:{new.sender}"]
    return [*keys, f"b:{new.business_id.lower()}:{new.sender}"] if new.business_id else keys


class HandIns:
    """The store's side of taking in."""

    def __init__(self, database: Database) -> None:
        self._db = database

    def accept(
        self, items: Sequence[NewMessage | NewRefusal], *, actor: str, judge_step: JudgeStep, settled: Sequence[str] = ()
    ) -> list[HandInResult]:
        """Stores what is new, recognises duplicates, records refusals; all of it or nothing. Results in the order of the items.

        A refused hand-in may come back from the broker when whoever recorded it died before it acknowledged it. A refusal is therefore
        unsettled until its reference is among `settled`, and a redelivered hand-in takes over one unsettled refusal of the same bytes
        instead of becoming another. Counted one for one: an honest second hand-in of the same bytes is a refusal of its own.
        """
        batch = _Batch(items, actor)
        with self._db.write() as tx:
            if settled:
                _SETTLED(tx, references=settled)
            batch.take_ids(tx)
            # streams are judged one at a time; and of two messages with one order key, the one that commits first has the lower number
            self._db.one_at_a_time(tx, batch.ordered_keys())
            batch.judge(tx, judge_step)
            batch.write(tx, self._db.numbers(tx, "message", len(batch.new)))
        return batch.results()


class _Batch:
    """One call of `accept`: who holds which id decides what each item is."""

    def __init__(self, items: Sequence[NewMessage | NewRefusal], actor: str) -> None:
        self._items, self._actor = items, actor
        self._holders: dict[str, Any] = {}  # key -> the row of an earlier message that holds it
        self.new: list[NewMessage] = []
        self._refused: list[NewRefusal] = []
        self._duplicates: list[tuple[NewMessage, str]] = []
        self._results: list[HandInResult] = []
        self._gave_back = False
        #: a commit whose answer was lost is tried again with the same references: what it stored is not stored twice
        self._stored: set[str] = set()
        #: what the receipts of messages in the store and of new ones warn of, by reference: a repeated receipt says the same
        self._warned: dict[str, tuple[str, ...]] = {}
        self._system_of = {item.reference: item.system for item in items}  #: who handed it in; also of messages in the store
        self._known_refusals: set[str] | None = None  #: which of these references are of refusals in the store; looked up when needed
        self._taken_over: set[str] = set()  # unsettled refusals that redelivered items of this batch turned out to be

    def take_ids(self, tx: Connection) -> None:
        """Inserts every id in key order, so that crossed batches cannot deadlock, and reads who holds those already taken."""
        rows = [_id_row(item, key) for item in self._items if isinstance(item, NewMessage) for key in keys_of(item)]
        references = [item.reference for item in self._items]
        rows.sort(key=lambda row: row[0])  # stable: of two items with one id, the first in the batch gets it
        if _TAKE(tx, rows) != len(rows):
            self._holders = {row.key: row for row in _HOLDERS(tx, keys=sorted({row[0] for row in rows}))}
            held = {row.reference for row in self._holders.values()}
            stored = _STORED(tx, references=sorted(held.union(references))).all()
            self._warned = {row.reference: tuple(json.loads(row.warnings)) for row in stored}
            self._system_of |= {row.reference: row.system for row in stored}
            self._stored = self._warned.keys() & set(references)

    def ordered_keys(self) -> set[bytes]:
        """Streams and order keys in this batch."""
        messages = [item for item in self._items if isinstance(item, NewMessage)]
        return {item.step.key for item in messages if item.step} | {item.order_key for item in messages if item.order_key}

    def judge(self, tx: Connection, judge_step: JudgeStep) -> None:
        """Each item in turn: new, a duplicate, or refused. A refused hand-in gives its ids back."""
        last: dict[bytes, StreamStep | None] = {}
        self._answers = Answers(tx, [item for item in self._items if isinstance(item, NewMessage) and item.answer])
        for item in self._items:
            if isinstance(item, NewRefusal):
                self._refuse(tx, item)
                continue
            keys = keys_of(item)
            held = {key: row for key in keys if (row := self._holders.get(key)) is not None and row.reference != item.reference}
            ours = [key for key in keys if key not in held]
            other = next((key for key, row in held.items() if bytes(row.digest) != item.digest), None)
            if item.reference in self._stored:
                self._accept(item)
            elif other:
                self._refuse_message(tx, item, "DUPLICATE_OTHER_CONTENT", self._used(item, other, held[other].reference), ours)
            elif held:
                self._repeat(tx, item, next(iter(held.values())), ours)
            elif isinstance(answered := self._answered(item), Refused):
                self._refuse_message(tx, item, answered.code, str(answered), ours)
            elif (step := self._step(tx, item, last, judge_step)).code:
                self._refuse_message(tx, item, step.code, kind_of(step.code).en, ours)
            else:
                warnings = (step.warning, self._answers.take(item, answered) if answered else None)
                if any(warnings):
                    item = replace(item, warnings=(*item.warnings, *filter(None, warnings)))
                if self._gave_back:  # an earlier item of this batch held one of these ids and was refused after all
                    _TAKE(tx, [_id_row(item, key) for key in keys])
                    self._holders |= {row.key: row for row in _HOLDERS(tx, keys=keys)}
                self.new.append(item)
                self._accept(item)

    def _used(self, item: NewMessage, key: str, reference: str) -> str:
        """Why an id cannot be used. Which message has it is for the system that handed that in: after a supplier switch it is another's."""
        which = "MessageID" if key.startswith("m:") else "identificatiecodeBedrijfsdocument"
        theirs = f" (reference {reference})" if self._system_of.get(reference) == item.system else ""
        return f"this {which} was used before for a message with other content{theirs}"

    def _answered(self, item: NewMessage) -> Answerable | Refused | None:
        """The delivery that this message answers, or why it is refused; None for one that answers nothing."""
        try:
            return self._answers.find(item, item.answer) if item.answer else None
        except Refused as wrong:
            return wrong

    def _repeat(self, tx: Connection, item: NewMessage, first: Any, ours: list[str]) -> None:
        """A duplicate of `first`. An honest retry may bring a new MessageID: from now on that names the first message too."""
        if ours:
            if self._gave_back:  # somebody before it in this batch held them, and not any more
                _TAKE(tx, [_id_row(item, key) for key in ours])
            _POINT(tx, keys=ours, reference=first.reference, received_us=first.received_us)
            self._holders |= dict.fromkeys(ours, first)
        item = replace(item, warnings=self._warned.get(first.reference, item.warnings))
        self._duplicates.append((item, first.reference))
        self._results.append(
            HandInResult(
                accepted=True,
                reference=first.reference,
                received_us=first.received_us,
                duplicate=True,
                warnings=item.warnings,
                message_id=item.message_id,
            )
        )

    def _accept(self, item: NewMessage) -> None:
        warnings = self._warned.setdefault(item.reference, item.warnings)
        self._results.append(
            HandInResult(
                accepted=True,
                reference=item.reference,
                received_us=item.received_us,
                warnings=warnings,
                message_id=item.message_id,
            )
        )

    @staticmethod
    def _step(tx: Connection, item: NewMessage, last: dict[bytes, StreamStep | None], judge_step: JudgeStep) -> Judgement:
        """Whether this message may follow the last one of its stream."""
        step = item.step
        if step is None:
            return _FINE
        if step.key not in last:
            row = _LAST_STEP(tx, key=step.key).first()
            last[step.key] = StreamStep(key=step.key, number=row.number, status=row.status) if row else None
        judgement = judge_step(item.action, item.versie, last[step.key], step)
        if judgement.code is None:
            last[step.key] = step
        return judgement

    def _refuse(self, tx: Connection, refused: NewRefusal) -> None:
        recorded = self._recorded(tx, refused) if refused.redelivered else None
        if recorded is None and refused.reference not in self._stored_refusals(tx):
            self._refused.append(refused)
        self._results.append(
            HandInResult(
                accepted=False,
                reference=recorded.reference if recorded else refused.reference,
                received_us=recorded.at_us if recorded else refused.at_us,
                code=refused.code,
                reason=recorded.reason if recorded else refused.reason,
                message_id=refused.message_id,
            )
        )

    def _stored_refusals(self, tx: Connection) -> set[str]:
        """Refusals that this very batch stored before: it was committed, and its answer lost."""
        if self._known_refusals is None:
            references = [item.reference for item in self._items]
            self._known_refusals = set(_STORED_REFUSALS(tx, references=references).scalars())
        return self._known_refusals

    def _recorded(self, tx: Connection, refused: NewRefusal) -> Any:
        """The refusal that was recorded when this hand-in was delivered before; None when whoever had it did not come to that."""
        stored = self._stored_refusals(tx)
        if refused.reference in stored:  # this very batch was committed, and its answer lost
            return None
        for row in _UNSETTLED(tx, digest=refused.digest, system=refused.system, code=refused.code).all():
            if row.reference not in self._taken_over and row.reference not in stored:
                self._taken_over.add(row.reference)
                return row
        return None

    def _refuse_message(self, tx: Connection, item: NewMessage, code: str, reason: str, ours: list[str]) -> None:
        if ours:
            _GIVE_BACK(tx, keys=ours)
            self._gave_back = True
            for key in ours:
                self._holders.pop(key, None)
        self._refuse(
            tx,
            NewRefusal(
                reference=item.reference,
                at_us=item.received_us,
                code=code,
                owner=kind_of(code).owner,
                reason=reason,
                digest=item.digest,
                via=item.via,
                system=item.system,
                sender=item.sender,
                message_id=item.message_id,
                business_id=item.business_id,
                dienst=item.dienst,
                bericht=item.bericht,
                decisions=item.decisions,
                redelivered=item.redelivered,
            ),
        )

    def write(self, tx: Connection, numbers: Sequence[int]) -> None:
        """The rows and events of what was decided."""
        numbered = list(zip(numbers, self.new, strict=True))
        _MESSAGES(tx, [_message_row(new, seq) for seq, new in numbered])
        _BODIES(tx, [(seq, new.sealed.wrapped_key, new.sealed.facts, new.sealed.body) for seq, new in numbered])
        for step in {new.step.key: new.step for new in self.new if new.step}.values():
            _STEP(tx, key=step.key, number=step.number, status=step.status)
        _REPLACEMENTS(tx, [(f"b:{new.replaces}:{new.sender}", new.reference, new.received_us) for new in self.new if new.replaces])
        _REFUSALS(tx, [_refusal_row(refused) for refused in self._refused])
        decisions, events = [], []
        for new in self.new:
            decisions += decision_rows(new.reference, None, new.received_us, new.decisions)
            events.append(event_row(_event(new, "received", self._actor, state="received"), tell=_told(new), told=True))
        for item, reference in self._duplicates:
            events.append(event_row(_event(item, "duplicate", self._actor, reference=reference)))
        for refused in self._refused:
            decisions += decision_rows(refused.reference, None, refused.at_us, refused.decisions)
            events.append(event_row(_refused_event(refused, self._actor), tell=_told(refused), told=True))
        events += self._answers.write(tx, {new.reference: seq for seq, new in numbered}, self._actor)
        write_decisions(tx, decisions)
        write_events(tx, events)

    def results(self) -> list[HandInResult]:
        return self._results


def _told(item: NewMessage | NewRefusal) -> str | None:
    """Who gets the receipt on a queue; over HTTPS it is the answer."""
    return item.system if item.via == "amqp" else None


def _id_row(new: NewMessage, key: str) -> Row:
    return (key, new.reference, new.digest, new.received_us)


def _message_row(new: NewMessage, seq: int) -> Row:
    return (
        seq,
        new.reference,
        "received",
        0,
        new.sender,
        new.system,
        new.receiver,
        new.message_id,
        new.business_id,
        new.address,
        new.action,
        new.dienst,
        new.versie,
        new.bericht,
        new.order_key,
        new.subject,
        new.digest,
        new.received_us,
        new.created_us,
        new.expires_us,
        new.stale,
        new.via,
        new.size,
        json.dumps(new.warnings) if new.warnings else "[]",
        new.register_version,
        new.law_day,
    )


def _refusal_row(refused: NewRefusal) -> Row:
    return (
        refused.reference,
        refused.at_us,
        refused.system,
        refused.sender,
        refused.message_id,
        refused.business_id,
        refused.dienst,
        refused.bericht,
        refused.code,
        refused.owner,
        refused.reason,
        json.dumps(refused.details),
        refused.digest,
        refused.via,
        refused.via == "amqp",
    )


def _event(new: NewMessage, kind: str, actor: str, *, state: str | None = None, reference: str | None = None) -> Event:
    return Event(
        kind=kind,
        at_us=new.received_us,
        actor=actor,
        reference=reference or new.reference,
        message_id=new.message_id,
        business_id=new.business_id,
        system=new.system,
        sender=new.sender,
        receiver=new.receiver,
        dienst=new.dienst,
        versie=new.versie,
        bericht=new.bericht,
        state=state,
        register_version=new.register_version,
        digest=new.digest,
        details={"warnings": json.dumps(new.warnings)} if new.warnings else {},
    )


def _refused_event(refused: NewRefusal, actor: str) -> Event:
    return Event(
        kind="refused",
        at_us=refused.at_us,
        actor=actor,
        reference=refused.reference,
        message_id=refused.message_id,
        business_id=refused.business_id,
        system=refused.system,
        sender=refused.sender,
        dienst=refused.dienst,
        bericht=refused.bericht,
        state="refused",
        code=refused.code,
        owner=refused.owner,
        reason=refused.reason,
        digest=refused.digest,
    )
