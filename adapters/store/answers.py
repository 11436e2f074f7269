"""The store's side of answers: which delivery a hand-in answers, and what becomes of that one, in the transaction of the hand-in.

All of a batch is read with three statements, and only when an answer is in it. The deliveries stay locked until the end of the
transaction, so that what is decided here is still true when it is written.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from sqlalchemy import Connection

from adapters.store.rows import Row, event_row, ids_of
from adapters.store.sql import Insert, Sql
from adapters.store.tables.deliveries import answer
from routing.answers import correlate
from routing.work import NOT_SENT, Answer, Answerable, NewMessage
from schemas.events import Event
from schemas.lifecycle import DeliveryState, steps_to_answered

#: References of messages by an id of any sender (see `used_id`): all that begins with `b:<id>:` or `m:<id>:`; a semicolon follows a colon.
_NAMED: Final = Sql(
    "SELECT j.value AS name, u.key, u.reference FROM @names AS j JOIN used_id u ON u.key > j.value || ':' AND u.key < j.value || ';'"
)
_NAMED_DELIVERIES: Final = Sql("SELECT d.seq, d.id, m.reference FROM delivery d JOIN message m ON m.seq = d.message_seq WHERE d.id IN @ids")
_FIELDS: Final = tuple(Answerable.__dataclass_fields__)
_OF_DELIVERY: Final = frozenset(("seq", "id", "state", "receiver", "receiver_system"))
#: A release that ended without an attempt (its worker died) may have been sent too.
_OFFERED: Final = (
    f"(d.release > d.attempts OR EXISTS (SELECT 1 FROM attempt a WHERE a.delivery_seq = d.seq AND a.envelope <> '{NOT_SENT}')) AS offered"
)
_SENT: Final = (
    f"SELECT {', '.join(_OFFERED if name == 'offered' else ('d.' if name in _OF_DELIVERY else 'm.') + name for name in _FIELDS)} "
    "FROM message m JOIN delivery d ON d.message_seq = m.seq WHERE m.reference IN @references ORDER BY d.seq"
)
_SENT_READ, _SENT_LOCKED = Sql(_SENT), Sql(f"{_SENT} FOR UPDATE OF d")
_STEP: Final = Sql(
    "UPDATE delivery SET state = :state, at_us = :now, delivered_us = COALESCE(delivered_us, :now), claim = NULL, claim_until_us = NULL, "
    "hold_code = NULL, code = NULL, owner = NULL, reason = NULL WHERE seq IN @seqs"
)
_ANSWERS: Final = Insert(answer, "message_seq", "delivery_seq")

#: The moves on the way to `answered` that are events of their own: what we had not been told, and now know.
_LEARNED: Final = (DeliveryState.DELIVERED, DeliveryState.ACKNOWLEDGED)
_URN: Final = "urn:uuid:"


class Answers:
    """The answers in one batch of hand-ins."""

    def __init__(self, tx: Connection, messages: Iterable[NewMessage]) -> None:
        said = [message.answer for message in messages if message.answer]
        self._named = _read(tx, said) if said else {}
        self._taken: list[tuple[NewMessage, Answerable, tuple[DeliveryState, ...]]] = []

    def find(self, message: NewMessage, said: Answer) -> Answerable:
        """The delivery it answers. Raises Refused."""
        named = [self._named.get(name, ()) for name in _names(said)]
        return correlate(said, sender=message.sender, receiver=message.receiver, named=named)

    def take(self, message: NewMessage, delivery: Answerable) -> str | None:
        """It is accepted. Returns what its receipt warns of."""
        steps, before = steps_to_answered(DeliveryState(delivery.state)), delivery.state
        self._taken.append((message, delivery, steps))
        if steps:
            delivery.state = str(DeliveryState.ANSWERED)
            return None
        reference = delivery.reference
        return (
            f"Bericht {reference}, waarop dit antwoordt, was al afgesloten ({before}); dit antwoord wordt wel doorgegeven. "
            f"/ Message {reference}, which this answers, was closed already ({before}); this answer is passed on all the same."
        )

    def write(self, tx: Connection, numbers: Mapping[str, int], actor: str) -> list[Row]:
        """Moves the answered deliveries, and returns the events. `numbers`: reference of each new message -> its number."""
        if not self._taken:
            return []
        moving: dict[tuple[DeliveryState, int], list[int]] = {}
        for message, delivery, steps in self._taken:
            for step in steps:
                moving.setdefault((step, message.received_us), []).append(delivery.seq)
        order = list(steps_to_answered(DeliveryState.ROUTED))  # the longest way; all others are a part of it
        for (step, at_us), seqs in sorted(moving.items(), key=lambda item: order.index(item[0][0])):
            _STEP(tx, seqs=seqs, state=str(step), now=at_us)
        _ANSWERS(tx, [(numbers[message.reference], delivery.seq) for message, delivery, _ in self._taken])
        return [row for taken in self._taken for row in _events(*taken, actor)]


def _names(said: Answer) -> list[str]:
    """What it names, as `used_id` has it."""
    return [f"b:{said.business_id}"] * (said.business_id is not None) + [f"m:{message}" for message in said.relates_to]


def _read(tx: Connection, said: Sequence[Answer]) -> dict[str, list[Answerable]]:
    """The deliveries each name stands for: all of a message, or, for a MessageID that we gave to one delivery, that one."""
    names = sorted({name for one in said for name in _names(one)})
    # an id may hold a colon: then others begin as it does
    found = [(row.name, row.reference) for row in _NAMED(tx, names=names).all() if row.key.rpartition(":")[0] == row.name]
    ids = sorted({name.removeprefix(f"m:{_URN}") for name in names if name.startswith(f"m:{_URN}")})
    ours = _NAMED_DELIVERIES(tx, ids=ids).all() if ids else []
    references = sorted({reference for _, reference in found} | {row.reference for row in ours})
    if not references:
        return {}
    rows = (_SENT_READ if tx.dialect.name == "sqlite" else _SENT_LOCKED)(tx, references=references).all()
    by_reference: dict[str, list[Answerable]] = {}
    by_seq: dict[int, Answerable] = {}
    for row in rows:
        by_seq[row.seq] = one = Answerable(**dict(zip(_FIELDS, row, strict=True)))
        by_reference.setdefault(row.reference, []).append(one)
    named: dict[str, list[Answerable]] = {}
    for name, reference in found:
        named.setdefault(name, []).extend(by_reference.get(reference, ()))
    for row in ours:
        named.setdefault(f"m:{_URN}{row.id}", []).append(by_seq[row.seq])
    return named


def _events(message: NewMessage, delivery: Answerable, steps: Sequence[DeliveryState], actor: str) -> list[Row]:
    """On the answered message: what its answer proves, and that it came; on the answer: what it answers."""
    about: dict[str, Any] = {"at_us": message.received_us, "actor": actor, "delivery": delivery.id}
    theirs = about | {"receiver": delivery.receiver, "receiver_system": delivery.receiver_system} | ids_of(delivery)
    rows = [
        event_row(Event(kind=str(step), state=str(step), reason=f"its answer proves it ({message.reference})", **theirs))
        for step in steps
        if step in _LEARNED
    ]
    came = Event(
        kind="answered" if steps else "answered_again",
        state=delivery.state,
        reason=f"{message.bericht} {message.message_id}",
        details={"answer": message.reference},
        **theirs,
    )
    answers = Event(
        kind="answers",
        receiver=message.receiver,
        reason=f"{delivery.bericht} {delivery.message_id}",
        details={"answers": delivery.reference},
        **about,
        **ids_of(message),
    )
    return [*rows, event_row(came, tell=delivery.system if steps else None), event_row(answers)]
