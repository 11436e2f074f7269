"""A store with a season in it, written straight into the tables: a million messages in a minute or two. A fifth of them is open, or
200,000 where there are more than a million.

600 schools and 340 municipalities; 12 connecting systems and 8 receiving ones. Whatever is open is spread over the whole season, as it is
where everything went wrong. Bodies are not in it: no page reads one.
"""

from __future__ import annotations

import hashlib
import time
import uuid
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, Final

from sqlalchemy import Connection, create_engine, make_url, text

from adapters.store import Store, open_store
from adapters.store.tables.deliveries import attempt, delivery
from adapters.store.tables.journal import decision, event, journal
from adapters.store.tables.lifecycle import drop_lifecycle_triggers, lifecycle_triggers
from adapters.store.tables.messages import body, message, refusal, used_id
from routing.work import Lease
from schemas import events as avro
from schemas.events import Event
from schemas.oin import Oin, brin_of, school_oin

SCHOOLS: Final = tuple(school_oin(f"{n % 100:02}{chr(65 + n // 100)}V") for n in range(600))
TOWNS: Final = tuple(Oin(f"0000000100{n:06}0000") for n in range(340))
SENDING: Final = tuple(Oin(f"0000000390{n:06}0000") for n in range(12))
RECEIVING: Final = tuple(Oin(f"0000000391{n:06}0000") for n in range(8))
#: Every one in so many is open or fell out; but no more of them than this.
OPEN_EACH: Final = 5
MOST_OPEN: Final = 200_000
#: And so many hand-ins are refused.
REFUSED_EACH: Final = 100
SEASON_S: Final = 150 * 86_400
BLOCK: Final = 1_000
_CHUNK: Final = 20_000
CODES: Final = (
    ("NOT_OUR_RESIDENT", "school"),
    ("MAILBOX_NOT_FETCHED", "receiver"),
    ("DEADLINE_PASSED", "us"),
    ("Client.DK0004", "supplier"),
    ("Client.DK0002", "school"),
    ("ENDPOINT_UNAVAILABLE", "receiver"),
)
KINDS: Final = (("vva", "mboGangerBericht"), ("vva", "aanmeldStatusBericht"), ("proef", "proefBericht"))


@dataclass(slots=True)
class One:
    """One message with its delivery."""

    n: int
    at_us: int
    reference: str
    delivery: str
    message_id: str
    business_id: str
    sender: str
    system: str
    receiver: str
    receiver_system: str
    dienst: str
    bericht: str
    state: str
    code: str | None
    owner: str | None
    hold: str | None

    @property
    def lane(self) -> str:
        return f"mailbox {self.receiver_system}"

    @property
    def law_day(self) -> int | None:
        """Every other status is an application, of the day before its hand-in."""
        return self.at_us // 86_400_000_000 - 1 if self.bericht == "aanmeldStatusBericht" and self.n // 37 % 2 else None


def one(n: int, count: int, now_us: int) -> One:
    """The nth of so many."""
    at_us = now_us - SEASON_S * 1_000_000 * (count - n) // count - 1_000_000
    spread = zlib.crc32(n.to_bytes(5))
    school, town = spread % len(SCHOOLS), spread // len(SCHOOLS) % len(TOWNS)
    dienst, bericht = KINDS[n % 37 % 2 if n % 47 else 2]
    state, code, owner, hold = "acknowledged", None, None, None
    each = max(OPEN_EACH, count // MOST_OPEN)
    if n % each == 0:
        turn = n // each
        state = ("failed", "delivered", "routed", "failed", "postponed", "delivered", "routed", "uncertain")[turn % 8]
        if state == "failed":
            code, owner = CODES[turn % 5 * turn % len(CODES)]
        elif state == "routed" and turn % 3:
            hold, owner = "ROUTE_NO_ENDPOINT", "receiver"
        elif state in ("postponed", "uncertain"):
            code, owner = "ENDPOINT_UNAVAILABLE", "receiver"
    return One(
        n=n,
        at_us=at_us,
        reference=_id(at_us, n, 7),
        delivery=_id(at_us, n, 8),
        message_id=f"urn:uuid:{_id(at_us, n, 9)}",
        business_id=_id(at_us, n, 10),
        sender=SCHOOLS[school],
        system=SENDING[school * 5 % len(SENDING)],
        receiver=TOWNS[town],
        receiver_system=RECEIVING[town % len(RECEIVING)],
        dienst=dienst,
        bericht=bericht,
        state=state,
        code=code,
        owner=owner,
        hold=hold,
    )


def _id(at_us: int, n: int, kind: int) -> str:
    """As schemas.ids gives them: milliseconds first."""
    ms = at_us // 1_000
    return f"{ms >> 16:08x}-{ms & 0xFFFF:04x}-7{n & 0xFFF:03x}-8{kind:03x}-{n:012x}"


_PLACES: Final = (
    "reference",
    "delivery",
    "message_id",
    "business_id",
    "system",
    "sender",
    "receiver",
    "receiver_system",
    "dienst",
    "bericht",
)
_SOME: Final = one(0, 2, 1_790_000_000_000_000)


def _template(kind: str, **more: Any) -> bytes:
    """An event's bytes around which others are made by putting their ids in."""
    some = {name: getattr(_SOME, name) for name in _PLACES[:-2]}
    return avro.encode(Event(kind=kind, at_us=_SOME.at_us, actor="bench", state=kind, dienst="vva", versie="1", **some, **more))


def payload(template: bytes, this: One) -> bytes:
    """This message's event."""
    made = template.replace(avro._long(_SOME.at_us), avro._long(this.at_us + 1_000_000), 1)
    for name in _PLACES[:-2]:
        made = made.replace(getattr(_SOME, name).encode(), getattr(this, name).encode(), 1)
    return made


_USUAL: Final = [_template(kind) for kind in ("received", "delivered")]
_ENDED: Final = _template("acknowledged")
_FAILED: Final = {code: _template("failed", code=code, owner=owner, bericht="mboGangerBericht") for code, owner in CODES}
_WAITING: Final = _template("waiting", code="ROUTE_NO_ENDPOINT", owner="receiver")


def events_of(this: One) -> list[bytes]:
    """What happened to it."""
    if this.state == "failed":
        return [payload(t, this) for t in (*_USUAL, _FAILED[this.code or ""])]
    if this.state == "acknowledged":
        return [payload(t, this) for t in (*_USUAL, _ENDED)]
    if this.hold:
        return [payload(t, this) for t in (_USUAL[0], _WAITING)]
    return [payload(t, this) for t in _USUAL]


def build(url: str, count: int, now_us: int) -> float:
    """Makes and fills a store; seconds it took."""
    began = time.perf_counter()
    open_store(url).close()
    database = make_url(url)
    if database.get_backend_name() == "sqlite":
        # as nobody else looks yet, and a half-built one is thrown away, nothing needs to be synced
        engine = create_engine(url)
        pragmas = ("journal_mode=DELETE", "journal_mode=OFF", "synchronous=OFF", "locking_mode=EXCLUSIVE", "cache_size=-400000")
    else:
        engine, pragmas = create_engine(database.set(drivername="postgresql+psycopg")), ()
    with engine.connect() as connection:
        for pragma in pragmas:
            connection.exec_driver_sql(f"PRAGMA {pragma}")
        connection.commit()
        _fill(connection, count, now_us)
        connection.commit()
    if database.get_backend_name() != "sqlite":
        with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.exec_driver_sql("VACUUM ANALYZE")
    engine.dispose()
    return time.perf_counter() - began


def _fill(tx: Connection, count: int, now_us: int) -> None:
    dialect = tx.dialect.name
    indexes = [index for table in _FILLED for index in table.indexes]
    for statement in drop_lifecycle_triggers(dialect):
        tx.exec_driver_sql(statement)
    for index in indexes:
        index.drop(tx)
    if dialect != "sqlite":  # so what is copied into them is neither logged nor looked at again
        tx.exec_driver_sql(f"TRUNCATE {', '.join(table.name for table in _FILLED)} CASCADE")
        tx.exec_driver_sql("SET LOCAL maintenance_work_mem = '512MB'")
        tx.exec_driver_sql("SET LOCAL session_replication_role = replica")  # foreign keys are not looked up one by one
    place = [0, 0]  # the last event, the last block
    for start in range(0, count, _CHUNK):
        some = [one(n, count, now_us) for n in range(start, min(start + _CHUNK, count))]
        for table, columns, rows in _rows(some, place):
            (_insert if dialect == "sqlite" else _copy)(tx, table, columns, rows)
    for index in indexes:
        index.create(tx)
    for statement in lifecycle_triggers(dialect):
        tx.exec_driver_sql(statement)
    for name in ("message", "delivery"):
        if dialect == "sqlite":
            tx.execute(text("UPDATE counter SET value = :n WHERE name = :name"), {"n": count + 1, "name": name})
        else:
            tx.execute(text("SELECT setval(CAST(:name AS regclass), :n)"), {"n": count + 1, "name": f"{name}_seq"})
    if dialect != "sqlite":
        for name, last in (("event", place[0]), ("decision", count)):
            tx.execute(text("SELECT setval(pg_get_serial_sequence(:name, 'id'), :n)"), {"n": last + 1, "name": name})
    tx.execute(text(_GROUPS))


_FILLED: Final = (message, delivery, event, journal, used_id, decision, attempt, refusal, body)
_GROUPS: Final = (
    "INSERT INTO failure_group (code, owner, dienst, system, receiver_system, count, first_us, last_us, example) "
    "SELECT d.code, d.owner, 'vva', m.system, d.receiver_system, count(*), min(d.at_us), max(d.at_us), min(m.reference) "
    "FROM delivery d JOIN message m ON m.seq = d.message_seq WHERE d.state = 'failed' "
    "GROUP BY d.code, d.owner, m.system, d.receiver_system"
)


def _rows(some: Sequence[One], place: list[int]) -> Iterator[tuple[Any, tuple[str, ...], list[tuple[Any, ...]]]]:
    """Table, columns and rows of some messages."""
    digest = hashlib.sha256(b"bench").digest()
    us = 1_000_000
    yield (
        message,
        (
            *("seq", "reference", "state", "release", "sender", "system", "receiver", "message_id", "business_id", "address", "action"),
            *("dienst", "versie", "bericht", "subject", "digest", "received_us", "created_us", "stale", "via", "size", "register_version"),
            *("kept", "law_day"),
        ),
        [
            (
                *(m.n + 1, m.reference, "routed", 1, m.sender, m.system, m.receiver, m.message_id, m.business_id, "https://hub", m.bericht),
                *(m.dienst, "1", m.bericht, hashlib.sha256(str(m.n % 500_000).encode()).digest(), digest, m.at_us, m.at_us - us, False),
                *("https", 5_000, 1, m.state != "acknowledged", m.law_day),
            )
            for m in some
        ],
    )
    yield (
        delivery,
        (
            *("seq", "id", "message_seq", "target", "state", "release", "receiver", "endpoint", "lane", "receiver_system", "hold_code"),
            *("code", "owner", "attempts", "deadline_us", "delivered_us", "at_us"),
        ),
        [
            (
                *(m.n + 1, m.delivery, m.n + 1, "woongemeente", m.state, 1, m.receiver, f"{m.receiver}/{m.dienst}"),
                *(None if m.hold else m.lane, None if m.hold else m.receiver_system, m.hold, m.code, m.owner, int(not m.hold)),
                *(m.at_us + 30 * 86_400 * us, None if m.hold else m.at_us + us, m.at_us + us),
            )
            for m in some
        ],
    )
    ids = [
        (f"{kind}:{id}:{m.sender}", m.reference, digest, m.at_us) for m in some for kind, id in (("b", m.business_id), ("m", m.message_id))
    ]
    yield used_id, ("key", "reference", "digest", "received_us"), sorted(ids)
    yield (
        decision,
        ("id", "reference", "delivery", "at_us", "question", "outcome", "register_version", "record"),
        [(m.n + 1, m.reference, m.delivery, m.at_us, "recipient", "yes", 1, '{"nl": "ja", "en": "yes"}') for m in some],
    )
    yield (
        attempt,
        ("delivery_seq", "number", "at_us", "took_us", "endpoint", "register_version", "envelope", "outcome"),
        [(m.n + 1, 1, m.at_us + us, 900, f"{m.receiver}/{m.dienst}", 1, "original", "delivered") for m in some if not m.hold],
    )
    refused = [m for m in some if m.n % REFUSED_EACH == 1]
    yield (
        refusal,
        (
            *("reference", "at_us", "system", "sender", "message_id", "dienst", "bericht", "code", "owner", "reason", "digest", "via"),
            "unsettled",
        ),
        [
            (
                _id(m.at_us, m.n, 11),
                m.at_us,
                m.system,
                m.sender,
                f"{m.message_id}-r",
                m.dienst,
                m.bericht,
                *CODES[3],
                "-",
                digest,
                "https",
                False,
            )
            for m in refused
        ],
    )
    events = iter([(m, raw) for m in some for raw in events_of(m)])
    while block := list(islice(events, BLOCK)):
        place[1] += 1
        first = place[0] + 1
        rows = [(first + at, m.at_us + us, m.reference, avro.CURRENT, raw, place[1]) for at, (m, raw) in enumerate(block)]
        place[0] += len(rows)
        yield event, ("id", "at_us", "reference", "schema", "payload", "block"), rows
        hashed = hashlib.sha256(str(place[1]).encode()).digest()
        previous = hashlib.sha256(str(place[1] - 1).encode()).digest()
        yield (
            journal,
            ("seq", "previous", "hash", "events", "first_id", "last_id", "at_us"),
            [(place[1], previous, hashed, len(rows), first, place[0], block[-1][0].at_us)],
        )


def _insert(tx: Any, table: Any, columns: tuple[str, ...], rows: list[tuple[Any, ...]]) -> None:
    if rows:
        tx.exec_driver_sql(f"INSERT INTO {table.name} ({', '.join(columns)}) VALUES ({', '.join('?' * len(columns))})", rows)


def _copy(tx: Any, table: Any, columns: tuple[str, ...], rows: list[tuple[Any, ...]]) -> None:
    with tx.connection.cursor() as cursor, cursor.copy(f"COPY {table.name} ({', '.join(columns)}) FROM STDIN (FREEZE)") as copy:
        for row in rows:
            copy.write_row(row)


def now_us() -> int:
    """The clock."""
    return time.time_ns() // 1_000


def take(store: Store, name: str) -> Lease:
    """The lease; nobody else wants it, whatever a run that was cut off left behind."""
    with store.database.write() as tx:
        tx.execute(text("UPDATE lease SET until_us = 0 WHERE name = :name"), {"name": name})
    lease = store.registry.take_lease(name, f"bench-{uuid.uuid4().hex[:6]}", now_us=now_us(), until_us=now_us() + 86_400_000_000)
    assert lease is not None, f"somebody else leads {name}"
    return lease


def fill(store: Store) -> float:
    """Seconds until the board is whole, at full speed; from an upgrade on, as the migration leaves it."""
    with store.database.write() as tx:
        tx.execute(text("UPDATE counter SET value = (SELECT max(seq) FROM journal) WHERE name = 'board'"))
    began, keeper, lease = time.perf_counter(), store.board_keeper, take(store, "board")
    keeper.sweep(lease, now_us=now_us())
    time.sleep(1.6)
    for chore in (keeper.sweep, keeper.follow, keeper.count, keeper.close, keeper.pack):
        while chore(lease, now_us=now_us()):
            pass
        store.database.tidy_log()
    store.registry.give_lease(lease)
    return time.perf_counter() - began


def register() -> dict[str, list[dict[str, Any]]]:
    """Everybody in the register, so that pages have their names: each three systems are of one supplier."""
    first = "2020-08-01"
    systems, by_school = (*SENDING, *RECEIVING), {school: SENDING[n * 5 % len(SENDING)] for n, school in enumerate(SCHOOLS)}
    return {
        "organisations": [
            *({"oin": oin, "name": f"School {brin_of(oin)}", "kind": "school", "roles": ["vo"]} for oin in SCHOOLS),
            *(
                {"oin": oin, "name": f"Gemeente {n}", "kind": "municipality", "roles": ["gemeente"], "gemeentecodes": [{"code": f"{n:04}"}]}
                for n, oin in enumerate(TOWNS)
            ),
        ],
        "systems": [{"oin": oin, "name": f"Systeem {n}", "supplier": f"Leverancier {n // 3}"} for n, oin in enumerate(systems)],
        "diensten": [
            {"dienst": dienst, "versie": "1", "namespace": f"urn:x:{dienst}:1"} for dienst in sorted({dienst for dienst, _ in KINDS})
        ],
        "mandates": [
            {"token": _id(0, n, 1), "organisation": oin, "dienst": "vva", "system": system, "from": first}
            for n, (oin, system) in enumerate(by_school.items())
        ],
        "endpoints": [
            {
                "id": f"{oin}/vva",
                "organisation": oin,
                "dienst": "vva",
                "versie": "1",
                "system": RECEIVING[n % len(RECEIVING)],
                "mailbox": True,
                "from": first,
            }
            for n, oin in enumerate(TOWNS)
        ],
    }
