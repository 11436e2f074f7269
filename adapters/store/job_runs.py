"""Running jobs: their next ones are begun, and what becomes of them is noted, each in one small transaction under the lease."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any, Final

from sqlalchemy import Connection

from adapters.store.acts import Act, Aims, perform
from adapters.store.database import Database
from adapters.store.job_rows import FIGURES, JOB, KINDS, figures_of, job_event, job_of, locked, may_act
from adapters.store.rows import write_events
from adapters.store.sql import Sql
from adapters.store.tables.jobs import ACTIVE, UNDER_WAY
from routing.actions import Done, Errand, Job, Subject, Why
from routing.jobs import WINDOW, ItemState, JobState, Progress, Stop, outcome_of
from routing.work import Lease

#: Deliveries read in one go to learn which state is the newest.
LOOK: Final = 5_000

_RUNNING: Final = Sql(f"SELECT * FROM job WHERE {ACTIVE} AND state <> 'preview' ORDER BY seq")
_RECENT: Final = Sql(
    "SELECT state, count(*) AS n FROM (SELECT state FROM job_item WHERE job = :job AND number > :since AND number <= :last "
    "AND state IN ('succeeded', 'failed') ORDER BY number DESC LIMIT :window) AS r GROUP BY state"
)
_PLANNED: Final = Sql(
    "SELECT i.number, i.subject, i.seq, i.reference, d.id, COALESCE(d.receiver, '') AS receiver, COALESCE(d.target, '') AS target, "
    "COALESCE(m.dienst, '') AS dienst, COALESCE(m.versie, '') AS versie, d.endpoint FROM "
    "(SELECT number, subject, seq, reference FROM job_item WHERE job = :job AND number > :last AND state = 'planned' ORDER BY number "
    "LIMIT :limit) AS i LEFT JOIN delivery d ON i.subject = 'delivery' AND d.seq = i.seq "
    "LEFT JOIN message m ON m.seq = d.message_seq ORDER BY i.number"
)
_BEGUN: Final = Sql("UPDATE job SET last = :last, trial_left = :trial_left WHERE seq = :job AND last < :last AND state = 'running'")
_PASSED: Final = Sql("UPDATE job SET in_trial = false WHERE seq = :job")
_ITEM: Final = Sql("UPDATE job_item SET state = :state, why = :why, at_us = :now WHERE job = :job AND number IN @numbers")
_MADE: Final = Sql("UPDATE job_item SET state = 'under_way', at_us = :now, made = :made WHERE job = :job AND number = :number")
_COUNT: Final = Sql(f"UPDATE job SET {', '.join(f'{name} = {name} + :{name}' for name in FIGURES)} WHERE seq = :job")
_ON_THEIR_WAY: Final = Sql(
    "SELECT i.number, i.at_us AS since_us, d.state, d.hold_code, d.code, d.at_us FROM job_item i "
    f"JOIN delivery d ON d.seq = COALESCE(i.made, i.seq) WHERE i.job = :job AND i.{UNDER_WAY} AND i.subject = 'delivery'"
)
#: A message that had failed as a whole arrived when it was routed, and none of its deliveries failed at once.
_MESSAGES_ON_THEIR_WAY: Final = Sql(
    "SELECT i.number, i.at_us AS since_us, m.code, CASE WHEN m.state = 'routed' AND NOT EXISTS (SELECT 1 FROM delivery d "
    "WHERE d.message_seq = m.seq AND d.state = 'failed') THEN 'delivered' WHEN m.state = 'failed' AND m.code IS NULL THEN 'released' "
    "WHEN m.state IN ('returned', 'archived') THEN m.state ELSE 'failed' END AS state, NULL AS hold_code, i.at_us FROM job_item i "
    f"JOIN message m ON m.seq = i.seq WHERE i.job = :job AND i.{UNDER_WAY} AND i.subject = 'message'"
)
_KNOWN_UNTIL: Final = Sql("SELECT name, value FROM counter WHERE name IN ('newest', 'newest_until')")
_KNOWN: Final = Sql("UPDATE counter SET value = :to WHERE name = 'newest' AND value = :after")
#: The same in the route workers' transaction: adapters.store.routes.
_LEARN: Final = Sql(
    "INSERT INTO newest (order_key, receiver, message_seq) SELECT d.order_key, d.receiver, max(d.message_seq) FROM delivery d "
    "JOIN message m ON m.seq = d.message_seq WHERE d.seq > :after AND d.seq <= :to AND d.order_key IS NOT NULL AND d.state <> 'filtered' "
    "AND m.action IN @actions GROUP BY d.order_key, d.receiver "
    "ON CONFLICT (order_key, receiver) DO UPDATE SET message_seq = excluded.message_seq WHERE newest.message_seq < excluded.message_seq"
)


_END: Final = Sql("UPDATE job SET state = :state, changed_us = :now, stopped = :stopped WHERE seq = :job")


class JobRuns:
    """What the worker that runs jobs asks of the store."""

    def __init__(self, database: Database) -> None:
        self._db = database

    def running(self) -> list[tuple[Job, Progress]]:
        """The jobs that run, or of which something is still under way, and where each is."""
        with self._db.read() as connection:
            return [(job_of(row), _progress(connection, row)) for row in _RUNNING(connection).all()]

    def progress(self, job: str) -> tuple[Job, Progress]:
        """Where this one is."""
        with self._db.read() as connection:
            row = JOB(connection, id=job).one()
            return job_of(row), _progress(connection, row)

    def next_errands(self, job: str, limit: int) -> list[Errand]:
        """Those whose turn it is."""
        with self._db.read() as connection:
            row = JOB(connection, id=job).one()
            return [_errand(one) for one in _PLANNED(connection, job=row.seq, last=row.last, limit=limit).all()]

    def begin(self, job: str, errands: Sequence[Errand], aims: Aims, *, lease: Lease | None, now_us: int) -> list[Done]:
        """Does it with these, and notes what became of each, in one transaction. Without a lease: by the person that confirmed it, right
        then. One that was paused or begun by somebody else meanwhile is left alone. Raises LeaseLost."""
        with self._db.write() as tx:
            if lease is not None:
                self._db.require(tx, lease)
            row = locked(tx, job)
            if lease is not None and row.state == JobState.RUNNING and not may_act(tx, row):
                _end(tx, row, JobState.STOPPED, actor=lease.holder, now_us=now_us, why=Stop.CONFIRMER)
                return []
            trial_left = max(0, row.trial_left - len(errands))
            if not errands or errands[0].number <= row.last:
                return []
            if not _BEGUN(tx, job=row.seq, last=errands[-1].number, trial_left=trial_left).rowcount:
                return []
            act = Act(order=job_of(row).order, actor=row.made_by, reason=row.reason, job=row.id, now_us=now_us)
            done = perform(self._db, tx, act, errands, aims)
            _note(tx, row.seq, done, ItemState.PLANNED, now_us)
            return done

    def look(self, job: str, *, lease: Lease, now_us: int) -> int:
        """Notes what has become of those that are under way; returns how many ended. Raises LeaseLost."""
        with self._db.read() as connection:
            row = JOB(connection, id=job).one()
            rows = [one for ask in (_ON_THEIR_WAY, _MESSAGES_ON_THEIR_WAY) for one in ask(connection, job=row.seq).all()]
        ended = []
        for one in rows:
            state = outcome_of(
                one.state, one.hold_code, since_us=one.since_us, moved_us=one.at_us, now_us=now_us, patience_s=row.patience_s
            )
            if state is not ItemState.UNDER_WAY:
                why = (one.code or one.hold_code or str(Why.NOT_HEARD)) if state is ItemState.FAILED else None
                ended.append(Done(one.number, state, why))
        if ended:
            with self._db.write() as tx:
                self._db.require(tx, lease)
                _note(tx, row.seq, ended, ItemState.UNDER_WAY, now_us)
        return len(ended)

    def passed(self, job: str, *, lease: Lease) -> None:
        """The trial batch went well. Raises LeaseLost."""
        with self._db.write() as tx:
            self._db.require(tx, lease)
            _PASSED(tx, job=JOB(tx, id=job).one().seq)

    def end(self, job: str, to: JobState, *, lease: Lease, actor: str, now_us: int, why: Stop | None = None) -> None:
        """It is done, or stops by itself; unless a person changed it meanwhile. Raises LeaseLost."""
        with self._db.write() as tx:
            self._db.require(tx, lease)
            row = locked(tx, job)
            if row.state != JobState.RUNNING:
                return
            _end(tx, row, to, actor=actor, now_us=now_us, why=why)

    def learn(self, actions: Sequence[str]) -> bool:
        """Reads some of what was routed before this was kept: which state is the newest. False when all of it was read. `actions`: those of
        state messages."""
        with self._db.read() as connection:
            after, until = _known(connection)
        if after >= until:
            return False
        with self._db.write() as tx:
            to = min(after + LOOK, until)
            if _KNOWN(tx, after=after, to=to).rowcount and actions:
                _LEARN(tx, after=after, to=to, actions=list(actions))
        return True


def _end(tx: Connection, row: Any, to: JobState, *, actor: str, now_us: int, why: Stop | None) -> None:
    _END(tx, job=row.seq, state=str(to), now=now_us, stopped=None if why is None else str(why))
    write_events(tx, [job_event(KINDS[to], locked(tx, row.id), actor, now_us)])


def _known(connection: Connection) -> tuple[int, int]:
    counters = {row.name: int(row.value) for row in _KNOWN_UNTIL(connection).all()}
    return counters["newest"], counters["newest_until"]


def _errand(row: Any) -> Errand:
    return Errand(
        number=row.number,
        subject=Subject(row.subject),
        seq=row.seq,
        receiver=row.receiver,
        dienst=row.dienst,
        versie=row.versie,
        target=row.target,
        id=row.id or "",
        reference=row.reference or "",
        placed=row.endpoint is not None,
    )


def _note(tx: Connection, job: int, done: Sequence[Done], before: ItemState, now_us: int) -> None:
    """What became of these, which were `before`."""
    groups: dict[tuple[ItemState, str | None], list[int]] = {}
    for one in done:
        if one.made is not None:
            _MADE(tx, job=job, number=one.number, made=one.made, now=now_us)
        else:
            groups.setdefault((one.state, one.why), []).append(one.number)
    for (state, why), numbers in groups.items():
        _ITEM(tx, job=job, numbers=numbers, state=str(state), why=why, now=now_us)
    changes = Counter({str(before): -len(done)})
    changes.update(str(one.state) for one in done)
    _COUNT(tx, job=job, **{name: changes[name] for name in FIGURES})


def _progress(connection: Connection, row: Any) -> Progress:
    window = max(WINDOW, row.trial) if row.in_trial else WINDOW
    recent = {one.state: one.n for one in _RECENT(connection, job=row.seq, since=row.since, last=row.last, window=window).all()}
    return Progress(
        figures=figures_of(row),
        trial_left=row.trial_left,
        in_trial=bool(row.in_trial),
        succeeded=recent.get("succeeded", 0),
        failed=recent.get("failed", 0),
    )
