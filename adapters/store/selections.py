"""What an action is about, read once: the deliveries, failed messages and refusals that a person selected, and how each of them stands."""

from __future__ import annotations

from operator import itemgetter
from typing import Any, Final

from sqlalchemy import Connection

from adapters.store.board_where import ask, conditions
from adapters.store.job_rows import found, no_job, sees
from adapters.store.queries import reference_of
from adapters.store.sql import Sql
from routing.actions import Action, CannotAct, Selection, Stand, Subject
from routing.people import Scope
from schemas.lifecycle import DeliveryState as _D
from schemas.oin import institution_of

#: Ids that may be named one by one.
MOST_IDS: Final = 1_000
#: Selected in all, at most: they are held in memory and frozen one by one.
MOST: Final = 500_000

_COLUMNS: Final = (
    "SELECT 'delivery' AS subject, d.message_seq, d.seq, m.reference, d.id AS delivery, d.state, false AS again, m.kept, "
    "n.message_seq > d.message_seq AS outdated, d.code, d.receiver, m.dienst, m.versie, d.receiver_system, m.sender, m.system"
)
_NEWEST: Final = "JOIN message m ON m.seq = d.message_seq LEFT JOIN newest n ON n.order_key = d.order_key AND n.receiver = d.receiver"
_DELIVERIES: Final = f"{_COLUMNS} FROM delivery d {_NEWEST}"
_MESSAGE: Final = (
    "SELECT 'message' AS subject, m.seq AS message_seq, m.seq, m.reference, NULL AS delivery, m.state, "
    "m.state = 'failed' AND m.code IS NULL AS again, m.kept, false AS outdated, m.code, m.receiver, m.dienst, m.versie, "
    "NULL AS receiver_system, m.sender, m.system FROM message m"
)
_REFUSAL: Final = (
    "SELECT 'refusal' AS subject, 0 AS message_seq, NULL AS seq, r.reference, NULL AS delivery, 'refused' AS state, false AS again, "
    "false AS kept, false AS outdated, r.code, '' AS receiver, r.dienst, NULL AS versie, NULL AS receiver_system, "
    "COALESCE(r.sender, '') AS sender, COALESCE(r.system, '') AS system FROM refusal r"
)
_BY_ID: Final = Sql(f"{_DELIVERIES} WHERE d.id = :id")
_OF_MESSAGE: Final = Sql(f"{_DELIVERIES} WHERE m.reference = :reference ORDER BY d.seq")
_ITSELF: Final = Sql(f"{_MESSAGE} WHERE m.reference = :reference")
_REFUSED: Final = Sql(f"{_REFUSAL} WHERE r.reference = :reference")
#: What stands on the board, found by the very conditions (`{where}`) by which people were shown it, as it stands there: a second or two
#: behind the work. In a large store, to read the deliveries of 100,000 takes longer than all the rest, and each is judged again when its
#: turn comes. Only those of `{looked_up}` are read: what the version before this put there without its message's number, for one.
_ON_BOARD: Final = (
    "SELECT i.kind AS subject, COALESCE(i.message_seq, d.message_seq, i.seq) AS message_seq, "
    "CASE WHEN i.kind <> 'refusal' THEN i.seq END AS seq, i.reference, CASE WHEN i.kind = 'delivery' THEN i.id END AS delivery, "
    "COALESCE(d.state, i.state) AS state, i.kind = 'message' AND i.state = 'failed' AND i.code IS NULL AS again, i.kept, "
    "n.message_seq > COALESCE(i.message_seq, d.message_seq) AS outdated, CASE WHEN d.seq IS NULL THEN i.code ELSE d.code END AS code, "
    "COALESCE(i.receiver, '') AS receiver, i.dienst, i.versie, i.receiver_system, i.sender, i.system "
    "FROM (SELECT * FROM item WHERE {where}) AS i "
    "LEFT JOIN delivery d ON d.seq = CASE WHEN i.kind = 'delivery' AND {looked_up} THEN i.seq END "
    "LEFT JOIN newest n ON i.kind = 'delivery' AND n.order_key = i.order_key AND n.receiver = i.receiver "
    "LIMIT {limit}"
)
#: What is on its way stands on the board with what it waits for as its code; a redirect, the one action for such, counts by its own.
_LOOKED_UP: Final = {True: "(i.message_seq IS NULL OR NOT i.fallen)", False: "i.message_seq IS NULL"}
_LEFT: Final = "WHERE i.job = :job AND i.state IN ('planned', 'failed', 'skipped')"
_CLOSED: Final = "WHERE i.job = :job AND i.state = 'succeeded'"
_CLOSED_BY: Final = (
    Sql(f"{_COLUMNS} FROM job_item i JOIN delivery d ON d.seq = i.seq {_NEWEST} {_CLOSED} AND i.subject = 'delivery'"),
    Sql(f"{_MESSAGE} JOIN job_item i ON i.seq = m.seq {_CLOSED} AND i.subject = 'message'"),
)
_OF_JOB: Final = (
    Sql(f"{_COLUMNS} FROM job_item i JOIN delivery d ON d.seq = COALESCE(i.made, i.seq) {_NEWEST} {_LEFT} AND i.subject = 'delivery'"),
    Sql(f"{_MESSAGE} JOIN job_item i ON i.seq = m.seq {_LEFT} AND i.subject = 'message'"),
)

#: States of a message's deliveries that an action is for, when the message is named.
_STATES: Final = {
    Action.RETRY: (_D.FAILED,),
    Action.RETURN: (_D.FAILED,),
    Action.REDIRECT: (_D.FAILED, _D.ROUTED, _D.POSTPONED),
    Action.ARCHIVE: (_D.FAILED,),
    Action.REOPEN: (_D.ARCHIVED,),
    Action.RESEND: (_D.ACKNOWLEDGED, _D.ANSWERED),
}

#: By hand-in. (By place: of 100,000 rows everything counts.)
_IN_ORDER: Final = itemgetter(1, 2)
#: By which one is judged: subject, state, again, kept, outdated; then its code; for a redirect also receiver, dienst and version.
BY_STAND: Final = itemgetter(0, 5, 6, 7, 8, 9)
BY_PLACE: Final = itemgetter(0, 5, 6, 7, 8, 9, 10, 11, 12)


def stand_of(row: Any) -> Stand:
    """How a row of this module stands."""
    subject = Subject(row.subject)
    return Stand(subject=subject, state=row.state, again=bool(row.again), kept=bool(row.kept), outdated=bool(row.outdated))


def selected(connection: Connection, scope: Scope, selection: Selection, action: Action, now_us: int) -> list[Any]:
    """The rows, in order of hand-in. Raises CannotAct for a selection that is none."""
    if selection.ids:
        rows = _named(connection, scope, selection.ids, action)
    elif selection.job:
        job = found(connection, selection.job)
        if job is None or not sees(scope, job):
            raise no_job(selection.job)
        parts = _CLOSED_BY if action is Action.REOPEN else _OF_JOB
        rows = [row for part in parts for row in part(connection, job=job.seq).all()]
    elif selection.wanted is not None and not selection.wanted.names_nothing:
        where = conditions(scope, selection.wanted, now_us=now_us)
        looked_up = _LOOKED_UP[action is Action.REDIRECT]
        rows = list(ask(connection, _ON_BOARD.format(where=where.sql, looked_up=looked_up, limit=MOST + 1), where.values))
        if len(rows) > MOST:
            raise CannotAct(
                f"This is about more than {MOST} messages, which is too many for one job: choose a narrower filter.",
                f"Dit gaat over meer dan {MOST} berichten, te veel voor een opdracht: kies een nauwer filter.",
            )
    else:
        raise CannotAct(
            "Say what it is about: an id, a group of failures, or a filter such as a code or a receiver.",
            "Zeg waar het over gaat: een id, een groep van uitgevallen berichten, of een filter zoals een code of een ontvanger.",
        )
    rows.sort(key=_IN_ORDER)
    return rows


def _named(connection: Connection, scope: Scope, ids: tuple[str, ...], action: Action) -> list[Any]:
    if len(ids) > MOST_IDS:
        raise CannotAct(
            f"{len(ids)} ids are too many to name one by one ({MOST_IDS}); select by a filter instead.",
            f"{len(ids)} id's zijn er te veel om een voor een te noemen ({MOST_IDS}); kies met een filter.",
        )
    rows: dict[tuple[str, str | None], Any] = {}
    for id in ids:
        meant = [row for row in _of_id(connection, id, action) if _in_scope(scope, row)]
        if not meant:  # what is outside the scope is not there
            raise CannotAct(
                f"There is no message, delivery or refusal {id[:60]}; give a reference, delivery_id, MessageID or business id.",
                f"Er is geen bericht, levering of weigering {id[:60]}; geef een referentie, delivery_id, MessageID of bedrijfsdocument.",
            )
        rows |= {(row.reference, row.delivery): row for row in meant}
    return list(rows.values())


def _of_id(connection: Connection, id: str, action: Action) -> list[Any]:
    """One delivery; or of a message what the action is for, and all of it when there is nothing of that, so that it can be said why."""
    if named := _BY_ID(connection, id=id).all():
        return list(named)
    reference = reference_of(connection, id)
    if reference is None:
        return []
    message = list(_ITSELF(connection, reference=reference).all())
    if not message:
        return list(_REFUSED(connection, reference=reference).all())
    deliveries = list(_OF_MESSAGE(connection, reference=reference).all())
    return [row for row in deliveries if row.state in _STATES[action]] or deliveries or message


def _in_scope(scope: Scope, row: Any) -> bool:
    if scope.everything or scope.systems.intersection((row.system, row.receiver_system)):
        return True
    return any(oin and institution_of(oin) in scope.organisations for oin in (row.sender, row.receiver))
