"""What an action is about, read once: the deliveries, failed messages and refusals that a person selected, and how each of them stands."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from sqlalchemy import Connection, text

from adapters.store.queries import reference_of
from adapters.store.sql import Sql
from routing.actions import Action, CannotAct, Selection, Stand, Subject
from routing.people import Scope
from schemas.lifecycle import DeliveryState as _D
from schemas.oin import institution_of

#: Ids that may be named one by one.
MOST_IDS: Final = 1_000

_OF_DELIVERY: Final = (
    "SELECT 'delivery' AS subject, d.seq, m.reference, d.id AS delivery, d.state, false AS again, m.kept, d.code, d.receiver, "
    "d.receiver_system, m.sender, m.system, m.dienst, m.versie, d.message_seq, n.message_seq > d.message_seq AS outdated "
    "FROM delivery d JOIN message m ON m.seq = d.message_seq "
    "LEFT JOIN newest n ON n.order_key = d.order_key AND n.receiver = d.receiver "
)
_OF_MESSAGE: Final = (
    "SELECT 'message' AS subject, m.seq, m.reference, NULL AS delivery, m.state, m.state = 'failed' AND m.code IS NULL AS again, m.kept, "
    "m.code, m.receiver, NULL AS receiver_system, m.sender, m.system, m.dienst, m.versie, m.seq AS message_seq, false AS outdated "
    "FROM message m "
)
_DELIVERY: Final = Sql(f"{_OF_DELIVERY}WHERE d.id = :id")
_DELIVERIES: Final = Sql(f"{_OF_DELIVERY}WHERE m.reference = :reference ORDER BY d.seq")
_MESSAGE: Final = Sql(f"{_OF_MESSAGE}WHERE m.reference = :reference")
_REFUSAL: Final = Sql(
    "SELECT 'refusal' AS subject, NULL AS seq, r.reference, NULL AS delivery, 'refused' AS state, false AS again, false AS kept, r.code, "
    "'' AS receiver, NULL AS receiver_system, COALESCE(r.sender, '') AS sender, COALESCE(r.system, '') AS system, r.dienst, "
    "NULL AS versie, 0 AS message_seq, false AS outdated FROM refusal r WHERE r.reference = :reference"
)

#: States of deliveries that an action is about, where a selection names none.
_STATES: Final = {
    Action.RETRY: (_D.FAILED,),
    Action.RETURN: (_D.FAILED,),
    Action.REDIRECT: (_D.FAILED, _D.ROUTED, _D.POSTPONED),
    Action.ARCHIVE: (_D.FAILED,),
    Action.REOPEN: (_D.ARCHIVED,),
    Action.RESEND: (_D.ACKNOWLEDGED, _D.ANSWERED),
}


def stand_of(row: Any) -> Stand:
    """How a row of this module stands."""
    return Stand(
        subject=Subject(row.subject), state=row.state, again=bool(row.again), kept=bool(row.kept), outdated=bool(row.outdated)
    )


def selected(connection: Connection, scope: Scope, selection: Selection, action: Action) -> list[Any]:
    """The rows, in order of hand-in. Raises CannotAct for a selection that is none."""
    if selection.ids:
        rows = _named(connection, selection, action)
    else:
        rows = _found(connection, selection, action)
    if not scope.everything:
        rows = [row for row in rows if _in_scope(scope, row)]
    rows.sort(key=lambda row: (row.message_seq, row.seq or 0))
    return rows


def _named(connection: Connection, selection: Selection, action: Action) -> list[Any]:
    if len(selection.ids) > MOST_IDS:
        raise CannotAct(f"{len(selection.ids)} ids are too many to name one by one ({MOST_IDS}); select by a filter instead.")
    rows: dict[tuple[str, object], Any] = {}
    for id in selection.ids:
        for row in _of_id(connection, id, action):
            rows[row.reference, row.delivery] = row
    return list(rows.values())


def _of_id(connection: Connection, id: str, action: Action) -> list[Any]:
    """One delivery; or of a message what the action is for, and all of it when there is nothing of that, so that it can be said why."""
    named = _DELIVERY(connection, id=id).all()
    if named:
        return list(named)
    reference = reference_of(connection, id)
    if reference is None:
        raise CannotAct(f"There is no message, delivery or refusal {id[:60]}; give a reference, delivery_id, MessageID or business id.")
    (*message,) = _MESSAGE(connection, reference=reference).all()
    if not message:
        return list(_REFUSAL(connection, reference=reference).all())
    deliveries = list(_DELIVERIES(connection, reference=reference).all())
    if not deliveries:
        return message
    return [row for row in deliveries if row.state in _STATES[action]] or deliveries


def _found(connection: Connection, selection: Selection, action: Action) -> list[Any]:
    conditions = dict(_conditions(selection))
    if not conditions and selection.state is None:
        raise CannotAct("Say what it is about: an id, a group of failures, or a filter such as a code or a receiver.")
    states = (selection.state,) if selection.state else _STATES[action]
    values: dict[str, Any] = {name: value for clauses in conditions.values() for name, value in clauses[2].items()}
    values |= {f"state{number}": str(state) for number, state in enumerate(states)}
    wanted = ", ".join(f":state{number}" for number in range(len(states)))
    deliveries = " AND ".join([f"d.state IN ({wanted})", *(clause[0] for clause in conditions.values())])
    found = list(connection.execute(text(f"{_OF_DELIVERY}WHERE {deliveries}"), values))
    clauses = [clause[1] for clause in conditions.values()]
    if action in (Action.RETRY, Action.RETURN, Action.ARCHIVE, Action.REOPEN) and all(clauses):
        again = "" if action is Action.REOPEN else " AND m.code IS NOT NULL"
        messages = " AND ".join([f"m.state IN ({wanted}){again}", *map(str, clauses)])
        found += connection.execute(text(f"{_OF_MESSAGE}WHERE {messages}"), values)
    return found


def _conditions(selection: Selection) -> Iterator[tuple[str, tuple[str, str | None, dict[str, Any]]]]:
    """What each part of a selection asks of a delivery, and of a message that failed as a whole (None: there is none such)."""
    parts: dict[str, Any] = {
        name: getattr(selection, name) for name in ("code", "owner", "dienst", "system", "sender", "receiver", "receiver_system")
    }
    if selection.group is not None:
        of_group = {name: getattr(selection.group, name) for name in ("code", "owner", "dienst", "system", "receiver_system")}
        if any(parts[name] not in (None, value) for name, value in of_group.items()):
            raise CannotAct("The filter and the group exclude each other; leave one of them out.")
        parts |= of_group
    for name, value in parts.items():
        if value is None:
            continue
        of_delivery = f"d.{name}" if name in ("code", "owner", "receiver", "receiver_system") else f"m.{name}"
        if name == "receiver_system":
            of_message = "1 = 1" if value == "" else None
        else:
            of_message = f"COALESCE(m.{name}, '') = :{name}"
        yield name, (f"COALESCE({of_delivery}, '') = :{name}", of_message, {name: value})
    if selection.since_us is not None:
        yield "since", ("d.at_us >= :since", "m.received_us >= :since", {"since": selection.since_us})
    if selection.never_attempted:
        yield "never", ("d.attempts = 0", "1 = 1", {})


def _in_scope(scope: Scope, row: Any) -> bool:
    if scope.systems.intersection((row.system, row.receiver_system)):
        return True
    return any(oin and institution_of(oin) in scope.organisations for oin in (row.sender, row.receiver))
