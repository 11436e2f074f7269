"""What a person's action does to deliveries and messages, in the caller's transaction: each is judged as it stands now, moved, and
journalled with who did it, why, and in which job.

What is offered again goes as everything else does, when the relay lets it: in order, in the window, and not while somebody holds its lane.
(By way of `released`: the lifecycle knows no shorter one.) Its deadline may be over; whoever offers it again gives it another day.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any, Final

from sqlalchemy import Connection

from adapters.store.database import Database
from adapters.store.mailboxes import may_have_left
from adapters.store.refusals import close_refusals
from adapters.store.routes import supersede
from adapters.store.rows import Row, decision_rows, event_row, ids_of, write_decisions, write_events
from adapters.store.selections import stand_of
from adapters.store.sql import Insert, Sql
from adapters.store.tables.deliveries import delivery as delivery_table
from adapters.store.tables.deliveries import retour
from routing.actions import Action, Done, Errand, Order, Subject, Why, judge, wants_again
from routing.jobs import ItemState
from routing.party import NOT_FETCHED
from routing.release import is_mailbox
from routing.work import NewDelivery
from schemas.events import Event
from schemas.ids import new_id

#: A note in the store that the relay looks at: another value means that somebody released something by hand.
NUDGE: Final = Sql("INSERT INTO note (name, value) VALUES ('nudge', :value) ON CONFLICT (name) DO UPDATE SET value = :value")
_DAY_US: Final = 86_400_000_000

_IDS: Final = "m.reference, m.message_id, m.business_id, m.system, m.sender, m.dienst, m.versie, m.bericht, m.action, m.kept, m.received_us"
_DELIVERIES: Final = (
    "SELECT 'delivery' AS subject, d.seq, d.id, d.message_seq, d.state, false AS again, d.target, d.receiver, d.receiver_system, "
    "d.endpoint, d.lane, d.order_key, d.code, d.owner, d.attempts, d.deadline_us, d.answer_within_us, "
    "n.message_seq > d.message_seq AS outdated, "
    f"(SELECT reference FROM message WHERE seq = n.message_seq) AS newest, {_IDS} "
    "FROM delivery d JOIN message m ON m.seq = d.message_seq LEFT JOIN newest n ON n.order_key = d.order_key AND n.receiver = d.receiver "
    "WHERE d.seq IN @seqs ORDER BY d.seq"
)
_READ, _LOCKED = Sql(_DELIVERIES), Sql(f"{_DELIVERIES} FOR UPDATE OF d")
_MESSAGES: Final = (
    "SELECT 'message' AS subject, m.seq, m.state, m.state = 'failed' AND m.code IS NULL AS again, m.receiver, m.code, m.owner, "
    f"false AS outdated, {_IDS} FROM message m WHERE m.seq IN @seqs ORDER BY m.seq"
)
_READ_MESSAGES, _LOCKED_MESSAGES = Sql(_MESSAGES), Sql(f"{_MESSAGES} FOR UPDATE OF m")

_AFRESH: Final = (
    "claim = NULL, claim_until_us = NULL, code = NULL, not_before_us = 0, delivered_us = NULL, at_us = :now, "
    "deadline_us = CASE WHEN deadline_us < :day THEN :day ELSE deadline_us END"
)
_AIM: Final = (
    "endpoint = :endpoint, lane = :lane, receiver_system = :receiver_system, hold_code = :hold_code, owner = :owner, reason = :reason"
)
_AGAIN: Final = Sql(
    f"UPDATE delivery SET state = 'released', {_AFRESH}, hold_code = NULL, owner = NULL, reason = NULL "
    "WHERE seq IN @seqs AND state = 'failed'"
)
_AGAIN_THERE: Final = Sql(f"UPDATE delivery SET state = 'released', {_AFRESH}, {_AIM} WHERE seq IN @seqs AND state = 'failed'")
#: Of what had none, because nobody had the gemeentecode by which it was looked up.
_RECEIVER: Final = Sql("UPDATE delivery SET receiver = :receiver WHERE seq = :seq AND state = 'routed'")
_TO_RELAY: Final = Sql("UPDATE delivery SET state = 'routed' WHERE seq IN @seqs AND state = 'released'")
_ELSEWHERE: Final = Sql(
    f"UPDATE delivery SET {_AIM}, not_before_us = 0, at_us = :now WHERE seq IN @seqs AND state IN ('routed', 'postponed')"
)
_MOVE: Final = Sql("UPDATE delivery SET state = :state, at_us = :now WHERE seq IN @seqs AND state = :before")
_SUPERSEDE: Final = Sql(
    "UPDATE delivery SET state = 'superseded', hold_code = NULL, code = NULL, owner = NULL, reason = NULL, at_us = :now WHERE seq IN @seqs"
)
_LET_GO: Final = Sql("UPDATE delivery SET endpoint = NULL, lane = NULL, receiver_system = NULL WHERE seq IN @seqs AND state = 'returned'")
_MOVE_MESSAGE: Final = Sql("UPDATE message SET state = :state WHERE seq IN @seqs AND state = :before")
#: It stays `failed` until it is routed: that is the move the lifecycle allows. Without a code it is found and routed (tables.AGAIN).
_MESSAGE_AGAIN: Final = Sql("UPDATE message SET release = release + 1, code = NULL, owner = NULL WHERE seq IN @seqs AND state = 'failed'")
_RETOURS: Final = Insert(retour, "reference", "delivery", "deliver_again", unless_there=True)
_ANEW: Final = Insert(
    delivery_table,
    *("seq", "id", "message_seq", "target", "state", "release", "receiver", "endpoint", "lane", "receiver_system", "order_key"),
    *("hold_code", "owner", "reason", "attempts", "not_before_us", "deadline_us", "answer_within_us", "at_us", "again_of"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Act:
    """What is done, by whom and why."""

    order: Order
    actor: str
    reason: str
    job: str
    now_us: int

    @property
    def details(self) -> dict[str, str]:
        """What every event of it says."""
        return {name: value for name, value in (("why", self.reason), ("job", self.job)) if value}


#: Where deliveries go, by their number: as the register has it now, or why nowhere (`hold_code`). None: it does not allow the endpoint.
Aims = Mapping[int, NewDelivery | None]


@dataclass(slots=True)
class _Written:
    """What is written at the end."""

    events: list[Row] = field(default_factory=list)
    decisions: list[Row] = field(default_factory=list)
    done: list[Done] = field(default_factory=list)
    nudged: bool = False


def perform(database: Database, tx: Connection, act: Act, errands: Sequence[Errand], aims: Aims) -> list[Done]:
    """Does it with each of these, as far as it is possible now; says what became of each."""
    of = {Subject.DELIVERY: _deliveries(database, tx, errands), Subject.MESSAGE: _messages(tx, errands)}
    written, going = _Written(), dict[Subject, list[tuple[Errand, Any]]]()
    late: list[tuple[Errand, Any]] = []
    _close_refusals(tx, act, [errand for errand in errands if errand.subject is Subject.REFUSAL], written)
    for errand in errands:
        if errand.subject is Subject.REFUSAL:
            continue
        row = of[errand.subject].get(errand.seq or 0)
        if row is None:
            written.done.append(Done(errand.number, ItemState.SKIPPED, str(Why.GONE)))
            continue
        verdict, aim = judge(act.order.action, stand_of(row)), aims.get(row.seq)
        if verdict.supersedes:
            late.append((errand, row))
        elif verdict.why is not None:
            written.done.append(Done(errand.number, ItemState.SKIPPED, str(verdict.why)))
        elif act.order.action is Action.REDIRECT and aim is None:
            written.done.append(Done(errand.number, ItemState.SKIPPED, str(Why.NOT_ALLOWED)))
        elif aim is not None and aim.code is not None:  # the register says that it can go nowhere
            written.done.append(Done(errand.number, ItemState.FAILED, aim.code))
        else:
            going.setdefault(errand.subject, []).append((errand, row))
    _supersede(tx, act, late, written)
    if some := going.get(Subject.DELIVERY):
        _DO[act.order.action](database, tx, act, some, aims, written)
    if some := going.get(Subject.MESSAGE):
        _do_messages(tx, act, some, written)
    write_decisions(tx, written.decisions)
    write_events(tx, written.events)
    if written.nudged:
        NUDGE(tx, value=str(act.now_us))
    return written.done


def _close_refusals(tx: Connection, act: Act, some: Sequence[Errand], written: _Written) -> None:
    if act.order.action is not Action.ARCHIVE:
        written.done += [Done(errand.number, ItemState.SKIPPED, str(Why.REFUSED)) for errand in some]
        return
    references = [errand.reference for errand in some]
    closed = close_refusals(tx, references, who=act.actor, why=act.reason, now_us=act.now_us, details={"job": act.job} if act.job else {})
    for errand in some:
        gone = errand.reference not in closed
        written.done.append(Done(errand.number, ItemState.SKIPPED if gone else ItemState.SUCCEEDED, str(Why.GONE) if gone else None))


def _deliveries(database: Database, tx: Connection, errands: Iterable[Errand]) -> dict[int, Any]:
    seqs = [errand.seq for errand in errands if errand.subject is Subject.DELIVERY]
    if not seqs:
        return {}
    rows = _READ(tx, seqs=seqs).all()
    if not database.is_sqlite:
        # a newer state that is being routed at this moment: one of the two must see the other
        database.one_at_a_time(tx, {bytes(row.order_key) for row in rows if row.order_key is not None})
        rows = _LOCKED(tx, seqs=seqs).all()
    return {row.seq: row for row in rows}


def _messages(tx: Connection, errands: Iterable[Errand]) -> dict[int, Any]:
    seqs = [errand.seq for errand in errands if errand.subject is Subject.MESSAGE]
    ask = _READ_MESSAGES if tx.dialect.name == "sqlite" else _LOCKED_MESSAGES
    return {row.seq: row for row in ask(tx, seqs=seqs).all()} if seqs else {}


def _supersede(tx: Connection, act: Act, some: Sequence[tuple[Errand, Any]], written: _Written) -> None:
    if some:
        _SUPERSEDE(tx, seqs=[row.seq for _, row in some], now=act.now_us)
    for errand, row in some:
        written.events.append(_event(act, "superseded", row, state="superseded", tell=row.system, by=row.newest or ""))
        written.done.append(Done(errand.number, ItemState.SUPERSEDED, str(Why.NEWER)))


def supersede_outdated(database: Database, tx: Connection, act: Act, seqs: Sequence[int]) -> list[int]:
    """Of these failed deliveries those of which a newer state came: they are superseded, and not to be offered again."""
    errands = [Errand(number=seq, subject=Subject.DELIVERY, seq=seq) for seq in seqs]
    written = _Written()
    some = [(errand, row) for errand in errands if (row := _deliveries(database, tx, [errand])[errand.number]).outdated]
    _supersede(tx, act, some, written)
    write_events(tx, written.events)
    return [errand.number for errand, _ in some]


def _retry(_: Database, tx: Connection, act: Act, some: Sequence[tuple[Errand, Any]], aims: Aims, written: _Written) -> None:
    """To where they were to go; what had no place goes to where the register has it now, or waits for it."""
    seqs = [row.seq for _, row in some if aims.get(row.seq) is None]
    if seqs:
        _AGAIN(tx, seqs=seqs, now=act.now_us, day=act.now_us + _DAY_US)
        _TO_RELAY(tx, seqs=seqs)
    _aim(tx, act, some, aims, written, _AGAIN_THERE)
    for errand, row in some:
        written.events.append(_event(act, "retried", row, state="routed", failed=row.code or ""))
        written.done.append(Done(errand.number, ItemState.UNDER_WAY))


def _redirect(_: Database, tx: Connection, act: Act, some: Sequence[tuple[Errand, Any]], aims: Aims, written: _Written) -> None:
    _aim(tx, act, [(errand, row) for errand, row in some if row.state == "failed"], aims, written, _AGAIN_THERE)
    _aim(tx, act, [(errand, row) for errand, row in some if row.state != "failed"], aims, written, _ELSEWHERE)
    for errand, row in some:
        to = aims[row.seq]
        assert to is not None
        event = _event(act, "redirected", row, state="routed", system=to.receiver_system, was=row.endpoint or "", to=to.endpoint or "")
        written.events.append(event)
        written.done.append(Done(errand.number, ItemState.UNDER_WAY))


def _aim(tx: Connection, act: Act, some: Iterable[tuple[Errand, Any]], aims: Aims, written: _Written, statement: Sql) -> None:
    """Points each to its place. A copy may stand in the mailbox it was in."""
    aimed = [(row, aim) for _, row in some if (aim := aims.get(row.seq)) is not None]
    more = {"day": act.now_us + _DAY_US} if statement is _AGAIN_THERE else {}
    for place, group in groupby(sorted(aimed, key=lambda pair: _place(pair[1])), key=lambda pair: _place(pair[1])):
        members = list(group)
        seqs, aim = [row.seq for row, _ in members], members[0][1]
        statement(tx, seqs=seqs, now=act.now_us, **_values(aim), **more)
        if statement is _AGAIN_THERE:
            _TO_RELAY(tx, seqs=seqs)
        left = [(row.receiver_system, row.id) for row, _ in members if _stood_in_mailbox(row) and row.receiver_system != place[2]]
        may_have_left(tx, left, act.now_us)
    moved = [(row.seq, aim.receiver) for row, aim in aimed if aim.receiver != row.receiver]
    for seq, receiver in moved:
        _RECEIVER(tx, seq=seq, receiver=receiver)
    if moved:  # their receiver is known only now: so is whether a newer state came for it
        written.events += supersede(tx, [seq for seq, _ in moved], act.actor, act.now_us, states=False)
    for row, aim in aimed:
        written.decisions += decision_rows(row.reference, row.id, act.now_us, aim.decisions)


def _stood_in_mailbox(row: Any) -> bool:
    return bool(row.lane and is_mailbox(row.lane) and row.attempts and row.receiver_system)


def _place(aim: NewDelivery) -> tuple[str, ...]:
    return (aim.endpoint or "", aim.lane or "", aim.receiver_system or "", aim.hold_code or "", aim.owner or "", aim.reason or "")


def _values(aim: NewDelivery) -> dict[str, Any]:
    names = ("endpoint", "lane", "receiver_system", "hold_code", "owner", "reason")
    return {name: getattr(aim, name) for name in names}


def _return(_: Database, tx: Connection, act: Act, some: Sequence[tuple[Errand, Any]], __: Aims, written: _Written) -> None:
    archived = [row.seq for _, row in some if row.state == "archived"]
    if archived:
        _MOVE(tx, seqs=archived, before="archived", state="failed", now=act.now_us)
    _MOVE(tx, seqs=[row.seq for _, row in some], before="failed", state="returned", now=act.now_us)
    unfetched = [row for _, row in some if _stood_in_mailbox(row) and row.code == NOT_FETCHED]
    if unfetched:  # nobody is to fetch it any more
        may_have_left(tx, [(row.receiver_system, row.id) for row in unfetched], act.now_us)
        _LET_GO(tx, seqs=[row.seq for row in unfetched])
    _RETOURS(tx, [(row.reference, row.id, _again(act, row)) for _, row in some])
    _returned(act, some, written)


def _again(act: Act, row: Any) -> bool:
    wanted = act.order.deliver_again
    return wants_again(row.code) if wanted is None else wanted


def _returned(act: Act, some: Sequence[tuple[Errand, Any]], written: _Written) -> None:
    for errand, row in some:
        again = "yes" if _again(act, row) else "no"
        written.events.append(
            _event(act, "returned", row, state="returned", code=row.code, owner=row.owner, tell=row.system, deliver_again=again)
        )
        written.done.append(Done(errand.number, ItemState.SUCCEEDED))


def _archive(_: Database, tx: Connection, act: Act, some: Sequence[tuple[Errand, Any]], __: Aims, written: _Written) -> None:
    _MOVE(tx, seqs=[row.seq for _, row in some], before="failed", state="archived", now=act.now_us)
    _noted(act, "archived", "archived", some, written)


def _reopen(_: Database, tx: Connection, act: Act, some: Sequence[tuple[Errand, Any]], __: Aims, written: _Written) -> None:
    _MOVE(tx, seqs=[row.seq for _, row in some], before="archived", state="failed", now=act.now_us)
    _noted(act, "reopened", "failed", some, written)


def _noted(act: Act, kind: str, state: str, some: Sequence[tuple[Errand, Any]], written: _Written) -> None:
    for errand, row in some:
        written.events.append(_event(act, kind, row, state=state, code=row.code, owner=row.owner))
        written.done.append(Done(errand.number, ItemState.SUCCEEDED))


def _resend(database: Database, tx: Connection, act: Act, some: Sequence[tuple[Errand, Any]], aims: Aims, written: _Written) -> None:
    """A new delivery of each, of the same message to the same receiver, as the register has it now; it has as long as the first one had."""
    rows: list[Row] = []
    for seq, (errand, row) in zip(database.numbers(tx, "delivery", len(some)), some, strict=True):
        aim, id = aims.get(row.seq), new_id()
        receiver = row.receiver if aim is None else aim.receiver
        place = _values(aim) if aim else dict.fromkeys(("endpoint", "lane", "receiver_system", "hold_code", "owner", "reason"))
        deadline_us = act.now_us + max(_DAY_US, row.deadline_us - row.received_us)
        rows.append(
            (
                *(seq, id, row.message_seq, row.target, "routed", 0, receiver, place["endpoint"], place["lane"]),
                *(place["receiver_system"], row.order_key, place["hold_code"], place["owner"], place["reason"], 0, 0),
                *(deadline_us, row.answer_within_us, act.now_us, row.seq),
            )
        )
        written.events.append(_event(act, "resent", row, state=row.state, new=id))
        born = {"target": row.target, "again_of": row.id, **act.details}
        waits = {"code": place["hold_code"], "owner": place["owner"]} if place["hold_code"] else {}
        happened = Event(
            kind="waiting" if waits else "routed",
            at_us=act.now_us,
            actor=act.actor,
            delivery=id,
            receiver=receiver,
            receiver_system=place["receiver_system"],
            state="routed",
            details=born,
            **waits,
            **ids_of(row),
        )
        written.events.append(event_row(happened))
        if aim is not None:
            written.decisions += decision_rows(row.reference, id, act.now_us, aim.decisions)
        written.done.append(Done(errand.number, ItemState.UNDER_WAY, made=seq))
    _ANEW(tx, rows)


_DO: Final = {
    Action.RETRY: _retry,
    Action.RETURN: _return,
    Action.REDIRECT: _redirect,
    Action.ARCHIVE: _archive,
    Action.REOPEN: _reopen,
    Action.RESEND: _resend,
}


def _do_messages(tx: Connection, act: Act, some: Sequence[tuple[Errand, Any]], written: _Written) -> None:
    """The same for messages that failed as a whole."""
    seqs = [row.seq for _, row in some]
    if act.order.action is Action.RETRY:
        _MESSAGE_AGAIN(tx, seqs=seqs)
        written.nudged = True
        for errand, row in some:
            written.events.append(_event(act, "retried", row, failed=row.code or ""))
            written.done.append(Done(errand.number, ItemState.UNDER_WAY))
    elif act.order.action is Action.RETURN:
        _MOVE_MESSAGE(tx, seqs=seqs, before="archived", state="failed")
        _MOVE_MESSAGE(tx, seqs=seqs, before="failed", state="returned")
        _RETOURS(tx, [(row.reference, "", _again(act, row)) for _, row in some])
        _returned(act, some, written)
    else:
        kind, before, after = (
            ("archived", "failed", "archived") if act.order.action is Action.ARCHIVE else ("reopened", "archived", "failed")
        )
        _MOVE_MESSAGE(tx, seqs=seqs, before=before, state=after)
        _noted(act, kind, after, some, written)


def _event(
    act: Act,
    kind: str,
    row: Any,
    *,
    state: str | None = None,
    code: str | None = None,
    owner: str | None = None,
    system: str | None = None,
    tell: str | None = None,
    **details: str,
) -> Row:
    of_delivery = row.subject == "delivery"
    happened = Event(
        kind=kind,
        at_us=act.now_us,
        actor=act.actor,
        delivery=row.id if of_delivery else None,
        receiver=row.receiver,
        receiver_system=(system or row.receiver_system) if of_delivery else None,
        state=state,
        code=code,
        owner=owner,
        details={name: value for name, value in details.items() if value} | act.details,
        **ids_of(row),
    )
    return event_row(happened, tell=tell)
