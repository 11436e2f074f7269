"""Previews in the store: what an action would be about, frozen and judged; and what is confirmed of them.

Freezing 100,000 writes them a few thousand at a time, so that hand-ins wait for none of it; until the last of them is written nobody can
confirm the preview, for nobody knows its id.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from adapters.store.database import Database
from adapters.store.job_rows import job_event, job_of, locked, scope_text
from adapters.store.rows import write_events
from adapters.store.selections import selected, stand_of
from adapters.store.sql import Insert, Sql
from adapters.store.tables import ACTIVE, job_item
from routing.actions import Action, CannotAct, Job, Order, Preview, Selection, Verdict, Why, is_doubtful, judge
from routing.jobs import PREVIEW_S, JobState, Terms
from routing.people import Scope
from schemas.ids import new_id

#: Rows of a selection written in one transaction.
CHUNK: Final = 2_000
#: Rows of a forgotten preview that are removed in one transaction.
SWEEP: Final = 5_000
_NEW: Final = Sql(
    "INSERT INTO job (id, state, action, endpoint, deliver_again, selection, scope, shown, count, digest, made_by, made_us, "
    "changed_us, planned, skipped) VALUES (:id, 'preview', :action, :endpoint, :deliver_again, :selection, :scope, :shown, :count, "
    ":digest, :who, :now, :now, :planned, :skipped) RETURNING seq"
)
_ITEMS: Final = Insert(job_item, "job", "number", "subject", "seq", "reference", "delivery", "state", "why")
_OVER: Final = Sql(f"SELECT seq FROM job WHERE {ACTIVE} AND state = 'preview' AND made_us < :before ORDER BY seq LIMIT 1")
_SWEEP: Final = Sql(
    "DELETE FROM job_item WHERE job = :job AND number IN (SELECT number FROM job_item WHERE job = :job ORDER BY number LIMIT :limit)"
)
_FORGET: Final = Sql("DELETE FROM job WHERE seq = :job AND state = 'preview'")
_CONFIRM: Final = Sql(
    "UPDATE job SET state = :state, trial = :trial, rate = :rate, stop_below = :stop_below, patience_s = :patience_s, reason = :reason, "
    "confirmed_us = :now, changed_us = :now, changed_by = :who, trial_left = :trial, in_trial = :in_trial "
    "WHERE seq = :job AND state = 'preview'"
)


class Previews:
    """Freezing and confirming."""

    def __init__(self, database: Database) -> None:
        self._db = database

    def freeze(
        self,
        scope: Scope,
        selection: Selection,
        order: Order,
        *,
        shown: Mapping[str, object],
        allowed: Callable[[str, str, str], bool],
        approve_above: int,
        who: str,
        now_us: int,
    ) -> Preview:
        """Freezes what is selected. `shown`: the selection in words. `allowed`: whether what is for this receiver, dienst and version may
        go to the order's endpoint. Raises CannotAct."""
        with self._db.read() as connection:
            rows = selected(connection, scope, selection, order.action, now_us)
        if not rows:
            raise CannotAct("There is nothing that this is about: nothing on the board fits it.")
        judged = _Judged(order, allowed)
        verdicts = [judged(row) for row in rows]
        acts = [row for row, verdict in zip(rows, verdicts, strict=True) if verdict.acts]
        superseded = sum(verdict.supersedes for verdict in verdicts)
        digest = hashlib.sha256("".join(f"{row.reference} {row.delivery or ''}\n" for row in rows).encode())
        preview = Preview(
            id=new_id(),
            order=order,
            count=len(rows),
            digest=digest.hexdigest(),
            acts=len(acts),
            superseded=superseded,
            not_possible=Counter(verdict.why for verdict in verdicts if verdict.why is not None and _is_left(verdict)),
            doubtful=sum(is_doubtful(order.action, row.code) for row in acts),
            codes=Counter(row.code for row in acts if row.code),
            needs_approval=len(acts) + superseded > approve_above,
            made_us=now_us,
            until_us=now_us + PREVIEW_S * 1_000_000,
        )
        self._write(preview, rows, verdicts, scope=scope_text(scope), selection=json.dumps(shown), who=who)
        return preview

    def _write(self, preview: Preview, rows: Sequence[Any], verdicts: Sequence[Verdict], *, who: str, **texts: str) -> None:
        order, planned = preview.order, preview.acts + preview.superseded
        with self._db.write() as tx:
            job = _NEW(
                tx,
                id=preview.id,
                action=str(order.action),
                endpoint=order.endpoint,
                deliver_again=order.deliver_again,
                shown=json.dumps({"needs_approval": preview.needs_approval}),
                count=preview.count,
                digest=bytes.fromhex(preview.digest),
                who=who,
                now=preview.made_us,
                planned=planned,
                skipped=preview.count - planned,
                **texts,
            ).scalar_one()
        items = [
            (job, number, row.subject, row.seq, row.reference, row.delivery, "skipped" if _is_left(verdict) else "planned", _why(verdict))
            for number, (row, verdict) in enumerate(zip(rows, verdicts, strict=True), 1)
        ]
        for start in range(0, len(items), CHUNK):
            with self._db.write() as tx:
                _ITEMS(tx, items[start : start + CHUNK])

    def confirm(self, scope: Scope, preview: str, *, who: str, reason: str, terms: Terms, now_us: int) -> Job:
        """See routing.actions.Actions. What nobody need wait for begins in the same transaction: the caller passes it to `begin`."""
        with self._db.write() as tx:
            row = locked(tx, preview)
            if row is None or row.state != "preview" or row.made_by != who or row.scope != scope_text(scope):
                raise CannotAct("There is no such preview of yours, or it was confirmed already: look at it again.")
            if now_us > row.made_us + PREVIEW_S * 1_000_000:
                raise CannotAct("The preview is over an hour old: look at it again, for much may have changed.")
            if not row.planned:
                raise CannotAct("Nothing of it can be done; the preview says why.")
            needs = json.loads(row.shown)["needs_approval"]
            state = JobState.TO_APPROVE if needs else JobState.RUNNING
            _CONFIRM(
                tx,
                job=row.seq,
                state=str(state),
                trial=terms.trial,
                rate=terms.rate,
                stop_below=terms.stop_below,
                patience_s=terms.patience_s,
                reason=reason,
                who=who,
                now=now_us,
                in_trial=terms.trial > 0,
            )
            after = locked(tx, preview)
            write_events(tx, [job_event("job_confirmed", after, who, now_us)])
            return job_of(after)

    def sweep(self, *, now_us: int) -> bool:
        """Removes a part of a preview that nobody confirmed in time; False when there is none."""
        with self._db.read() as connection:
            old = _OVER(connection, before=now_us - PREVIEW_S * 1_000_000).scalar()
        if old is None:
            return False
        with self._db.write() as tx:
            if _SWEEP(tx, job=old, limit=SWEEP).rowcount < SWEEP:
                _FORGET(tx, job=old)
        return True


class _Judged:
    """Verdicts. Most of a large selection stand alike."""

    def __init__(self, order: Order, allowed: Callable[[str, str, str], bool]) -> None:
        self._order, self._allowed = order, allowed
        self._known: dict[tuple[object, ...], Verdict] = {}
        self._places: dict[tuple[str, str, str], bool] = {}

    def __call__(self, row: Any) -> Verdict:
        key = (row.subject, row.state, row.again, row.kept, row.outdated)
        verdict = self._known.get(key)
        if verdict is None:
            verdict = self._known[key] = judge(self._order.action, stand_of(row))
        if self._order.action is Action.REDIRECT and verdict.acts and not self._goes(row.receiver, row.dienst, row.versie):
            return Verdict(why=Why.NOT_ALLOWED)
        return verdict

    def _goes(self, receiver: str, dienst: str, versie: str) -> bool:
        place = (receiver, dienst, versie)
        if place not in self._places:
            self._places[place] = self._allowed(*place)
        return self._places[place]


def _is_left(verdict: Verdict) -> bool:
    """Whether it is left alone."""
    return not verdict.acts and not verdict.supersedes


def _why(verdict: Verdict) -> str | None:
    return None if verdict.why is None else str(verdict.why)
