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

from sqlalchemy import Connection

from adapters.store.board_where import in_parallel, reading
from adapters.store.database import Database
from adapters.store.job_rows import job_event, job_of, locked, scope_text
from adapters.store.people import names_of_person
from adapters.store.rows import write_events
from adapters.store.selections import BY_PLACE, BY_STAND, selected
from adapters.store.sql import Insert, Sql
from adapters.store.tables.jobs import ACTIVE, job_item
from routing.actions import Action, CannotAct, Job, Order, Preview, Selection, Stand, Subject, Verdict, Why, is_doubtful, judge
from routing.jobs import PREVIEW_S, ItemState, JobState, Terms
from routing.people import Scope
from schemas.ids import new_id

#: Rows of a selection written in one transaction: on SQLite everybody else who writes waits for it.
CHUNK: Final = 5_000
CHUNK_POSTGRESQL: Final = 25_000
#: Rows of a forgotten preview that are removed in one transaction.
SWEEP: Final = 5_000
_NEW: Final = Sql(
    "INSERT INTO job (id, state, action, endpoint, deliver_again, selection, scope, shown, count, digest, made_by, made_us, "
    "changed_us, planned, skipped) VALUES (:id, 'preview', :action, :endpoint, :deliver_again, :selection, :scope, :shown, :count, "
    ":digest, :who, :now, :now, :planned, :skipped) RETURNING seq"
)
_ITEMS: Final = Insert(job_item, "job", "number", "subject", "seq", "reference", "state", "why")
#: On PostgreSQL as one text: row by row the driver takes longer than the database. (A reference is a UUID and the rest are names of ours:
#: nothing in it need be escaped.)
_COPY: Final = f"COPY job_item ({', '.join(_ITEMS.columns)}) FROM STDIN"
_OVER: Final = Sql(f"SELECT seq, id FROM job WHERE {ACTIVE} AND state = 'preview' AND made_us < :before ORDER BY seq LIMIT 1")
#: They are numbered from 1 on. (Not `number IN (...)`: PostgreSQL, which has not looked at 100,000 new rows yet, would take minutes.)
_SWEEP: Final = Sql("DELETE FROM job_item WHERE job = :job AND number < (SELECT min(number) FROM job_item WHERE job = :job) + :limit")
_OF_WHOM: Final = Sql(f"SELECT seq, id FROM job WHERE {ACTIVE} AND state = 'preview' AND made_by = :who ORDER BY seq")
_FORGET: Final = Sql("DELETE FROM job WHERE seq = :job AND state = 'preview'")
_CONFIRM: Final = Sql(
    "UPDATE job SET state = :state, trial = :trial, rate = :rate, stop_below = :stop_below, patience_s = :patience_s, reason = :reason, "
    "confirmed_us = :now, changed_us = :now, changed_by = :who, trial_left = :trial, in_trial = :in_trial, "
    "deliver_again = COALESCE(CAST(:deliver_again AS boolean), deliver_again) "
    "WHERE seq = :job AND state = 'preview'"
)
#: What one person confirmed within so many seconds counts together towards the number that needs a second person.
TOGETHER_S: Final = 3_600
#: How much that is, without what a second person judges, and what was cancelled before it began.
_LATELY: Final = Sql(
    "SELECT CAST(COALESCE(SUM(count - skipped - CASE state WHEN 'cancelled' THEN planned ELSE 0 END), 0) AS bigint) FROM job "
    "WHERE made_by IN @who AND confirmed_us > :since AND state NOT IN ('preview', 'to_approve') AND approved_by IS NULL"
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
        """Freezes what is selected, in place of what this person froze before and did not confirm. `shown`: the selection in words.
        `allowed`: whether what is for this receiver, dienst and version may go to the order's endpoint. Raises CannotAct."""
        with reading(self._db) as connection, in_parallel(connection):
            rows = selected(connection, scope, selection, order.action, now_us)
        if not rows:
            raise CannotAct(
                "There is nothing that this is about: nothing on the board fits it.",
                "Dit gaat over niets: er staat niets open dat hierbij past.",
            )
        keys = list(map(BY_PLACE if order.action is Action.REDIRECT else BY_STAND, rows))
        tally = Counter(keys)
        verdicts = {key: _verdict(order, key, allowed) for key in tally}
        acts, not_possible = Counter[str | None](), Counter[Why]()
        for key, count in tally.items():
            if verdicts[key].acts:
                acts[key[5]] += count
            elif not verdicts[key].supersedes:
                not_possible[verdicts[key].why or Why.GONE] += count
        superseded = len(rows) - acts.total() - not_possible.total()
        preview = Preview(
            id=new_id(),
            order=order,
            count=len(rows),
            digest=hashlib.sha256("\n".join([row[4] or row[3] for row in rows]).encode()).hexdigest(),
            acts=acts.total(),
            superseded=superseded,
            not_possible=dict(not_possible),
            doubtful=sum(count for code, count in acts.items() if is_doubtful(order.action, code)),
            codes={code: count for code, count in acts.most_common() if code},
            needs_approval=acts.total() + superseded > approve_above,
            made_us=now_us,
            until_us=now_us + PREVIEW_S * 1_000_000,
        )
        self._replace(who)
        job = self._begin(preview, scope=scope_text(scope), selection=json.dumps(shown), who=who, approve_above=approve_above)
        begins = {key: _begins(verdict) for key, verdict in verdicts.items()}
        items = [
            (job, number, row[0], row[2], row[3] if row[2] is None else None, *begins[key])
            for number, (row, key) in enumerate(zip(rows, keys, strict=True), 1)
        ]
        chunk = CHUNK if self._db.is_sqlite else CHUNK_POSTGRESQL
        for start in range(0, len(items), chunk):
            with self._db.write() as tx:
                if locked(tx, preview.id) is None:
                    raise CannotAct(
                        "You made a newer preview meanwhile, which takes the place of this one.",
                        "U maakte intussen een nieuwer voorstel; dat komt in de plaats van dit.",
                    )
                _write_items(tx, items[start : start + chunk])
        return preview

    def _begin(self, preview: Preview, *, who: str, approve_above: int, **texts: str) -> int:
        order, planned = preview.order, preview.acts + preview.superseded
        with self._db.write() as tx:
            job: int = _NEW(
                tx,
                id=preview.id,
                action=str(order.action),
                endpoint=order.endpoint,
                deliver_again=order.deliver_again,
                shown=json.dumps({"needs_approval": preview.needs_approval, "approve_above": approve_above}),
                count=preview.count,
                digest=bytes.fromhex(preview.digest),
                who=who,
                now=preview.made_us,
                planned=planned,
                skipped=preview.count - planned,
                **texts,
            ).scalar_one()
        return job

    def confirm(self, scope: Scope, preview: str, *, who: str, reason: str, terms: Terms, deliver_again: bool | None, now_us: int) -> Job:
        """See routing.actions.Actions. What nobody need wait for begins in the same transaction: the caller passes it to `begin`."""
        with self._db.write() as tx:
            row = locked(tx, preview)
            if row is None or row.state != "preview" or row.made_by != who or row.scope != scope_text(scope):
                raise CannotAct(
                    "There is no such preview of yours: it was confirmed already, or a newer one took its place. Look again.",
                    "U hebt zo'n voorstel niet: het is al bevestigd, of er kwam een nieuwer voor in de plaats. Kijk opnieuw.",
                )
            if now_us > row.made_us + PREVIEW_S * 1_000_000:
                raise CannotAct(
                    "The preview is over an hour old: look at it again, for much may have changed.",
                    "Het voorstel is meer dan een uur oud: kijk opnieuw, want er kan veel veranderd zijn.",
                )
            if not row.planned:
                raise CannotAct("Nothing of it can be done; the preview says why.", "Niets hiervan kan; in het voorstel staat waarom.")
            shown = json.loads(row.shown)
            names = names_of_person(tx, who)
            self._db.one_at_a_time(tx, [hashlib.sha256(f"jobs of {names[0]}".encode()).digest()])
            lately = _LATELY(tx, who=names, since=now_us - TOGETHER_S * 1_000_000).scalar_one()
            needs = shown["needs_approval"] or row.planned + lately > shown.get("approve_above", row.planned + lately)
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
                deliver_again=deliver_again if row.action == Action.RETURN else None,
            )
            after = locked(tx, preview)
            write_events(tx, [job_event("job_confirmed", after, who, now_us)])
            return job_of(after)

    def sweep(self, *, now_us: int) -> bool:
        """Removes a part of a preview that nobody confirmed in time; False when there is none."""
        with self._db.read() as connection:
            old = _OVER(connection, before=now_us - PREVIEW_S * 1_000_000).first()
        if old is None:
            return False
        self._remove(old)
        return True

    def _replace(self, who: str) -> None:
        with self._db.read() as connection:
            before = _OF_WHOM(connection, who=who).all()
        for old in before:
            while self._remove(old):
                pass

    def _remove(self, old: Any) -> bool:
        """A part of a preview; False when that was the last of it."""
        with self._db.write() as tx:
            row = locked(tx, old.id)  # whoever writes it yet, or confirms it, comes before this or after it
            if row is None or row.state != "preview":
                return False
            if _SWEEP(tx, job=old.seq, limit=SWEEP).rowcount == SWEEP:
                return True
            _FORGET(tx, job=old.seq)
            return False


def _verdict(order: Order, key: tuple[Any, ...], allowed: Callable[[str, str, str], bool]) -> Verdict:
    """Of all that stand as this key of `selections` says."""
    subject, state, again, kept, outdated = key[:5]
    stand = Stand(subject=Subject(subject), state=state, again=bool(again), kept=bool(kept), outdated=bool(outdated))
    verdict = judge(order.action, stand)
    if order.action is Action.REDIRECT and verdict.acts and not allowed(*key[6:]):
        return Verdict(why=Why.NOT_ALLOWED)
    return verdict


def _begins(verdict: Verdict) -> tuple[str, str | None]:
    """State and reason of an item with which nothing was done yet."""
    left = not verdict.acts and not verdict.supersedes
    return str(ItemState.SKIPPED if left else ItemState.PLANNED), None if verdict.why is None else str(verdict.why)


def _write_items(tx: Connection, items: Sequence[tuple[Any, ...]]) -> None:
    if tx.dialect.name == "sqlite":
        _ITEMS(tx, items)
        return
    rows = "".join(["\t".join(["\\N" if value is None else str(value) for value in item]) + "\n" for item in items])
    with tx.connection.cursor() as cursor, cursor.copy(_COPY) as copy:  # type: ignore[attr-defined]
        copy.write(rows)
