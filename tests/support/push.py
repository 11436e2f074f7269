"""An exchange that pushes: a school's endpoint for proef, a municipality's for vva, and what came to them."""

from __future__ import annotations

import asyncio
import copy
import uuid
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any

from adapters.parties import invented
from adapters.parties.behaviour import Behaviour
from adapters.parties.sandbox import Sandbox
from schemas.oin import Oin
from tests.support import signing as s
from tests.support.content import status
from tests.support.exchange import CIVIC, DOCUMENT, HUB, LAS, MBO, SIS, STATUS, UTRECHT, Exchange, MovedClock


def document(*, proef: int | None = None, vva: int | None = None) -> dict[str, Any]:
    """The register, with endpoints on these ports in place of the mailboxes of the mbo school and the municipality."""
    changed = copy.deepcopy(DOCUMENT)
    for row in changed["endpoints"]:
        port = {(MBO, "proef"): proef, (UTRECHT, "vva"): vva}.get((row["organisation"], row["dienst"]))
        if port is not None:
            del row["mailbox"]
            row["url"] = f"https://localhost:{port}/{row['dienst']}"
    return changed


def save(exchange: Exchange, changed: dict[str, Any]) -> None:
    """From now on the register says this; workers see it within a second."""
    exchange.store.registry.save_register(changed, who="test", now_us=exchange.clock.now_us())


def receiver(exchange: Exchange, *behaviours: str, port: int, oin: Oin = MBO, system: Oin = SIS) -> Sandbox:
    """A system that takes pushes for this organisation, by the exchange's clock."""
    files = s.party(f"receiver-{system}", oin=system)
    made = Sandbox(oin, cert=files.certificate, key=files.key, trust=s.folder() / "ca.pem", port=port, now=exchange.clock.now)
    made.plan = [Behaviour.of(text) for text in behaviours]
    return made


def municipality(exchange: Exchange, *behaviours: str, port: int) -> Sandbox:
    """The municipality's."""
    return receiver(exchange, *behaviours, port=port, oin=UTRECHT, system=CIVIC)


async def hand_in(exchange: Exchange, count: int) -> list[str]:
    """Proef messages for the mbo school, one after another; their MessageIDs."""
    ids = [s.message_id() for _ in range(count)]
    publisher = await exchange.publisher(LAS)
    await publisher.publish_many([exchange.hand_in(exchange.proef(one), one) for one in ids])
    return ids


async def hand_in_steps(exchange: Exchange, ketens: int, steps: int) -> dict[str, list[str]]:
    """Statuses of applications at the mbo school, for the municipality; by ketenId, their MessageIDs in order."""
    now, sis = exchange.clock.now(), s.signer("sis", oin=SIS)
    start = now.year if now.month >= 8 else now.year - 1
    made: dict[str, list[str]] = {f"04XY:{number:08d}": [] for number in range(ketens)}
    outgoing = []
    for step in range(1, steps + 1):
        for number, (keten, ids) in enumerate(made.items()):
            content = status(
                created=now,
                receiver=HUB,
                geboortedatum=f"{now.year - 16}-03-04",
                gemeentecode="0344",
                business_id=str(uuid.uuid4()),
                sender="04XY",
                brin="04XY",
                keten_id=keten,
                volgnummer=step,
                status="AO",
                statusdatum=f"{now - timedelta(days=1):%Y-%m-%d}",
                studiejaar=f"{start}-{start + 1}",
                latende_brin="25BE",
                burgerservicenummer=invented.bsn(number),
            )
            ids.append(s.message_id())
            signed = exchange.signed(content, ids[-1], STATUS, sender=MBO, signer=sis)
            outgoing.append(exchange.hand_in(signed, ids[-1], system=SIS))
    await (await exchange.publisher(SIS)).publish_many(outgoing)
    return made


def deliveries(exchange: Exchange, ids: Sequence[str], *, to: Oin | None = None) -> dict[str, dict[str, Any]]:
    """MessageID -> its delivery, of those that are routed; `to`: to this organisation."""
    rows = exchange.rows("SELECT m.message_id, d.* FROM delivery d JOIN message m ON m.seq = d.message_seq ORDER BY d.seq")
    wanted = set(ids)
    return {row["message_id"]: row for row in rows if row["message_id"] in wanted and to in (None, row["receiver"])}


def all_are(exchange: Exchange, ids: Sequence[str], *states: str, **facts: Any) -> Callable[[], bool]:
    """Whether the delivery of each is in one of these states, for `until`."""

    def there() -> bool:
        rows = deliveries(exchange, ids)
        return len(rows) == len(ids) and all(row["state"] in states and facts.items() <= row.items() for row in rows.values())

    return there


def stand(exchange: Exchange, ids: Sequence[str]) -> str:
    """How they stand, for whoever wonders why a test failed."""
    rows = deliveries(exchange, ids).values()
    lanes = exchange.rows("SELECT * FROM lane")
    return f"{Counter((row['state'], row['code'], row['hold_code']) for row in rows)} of {len(ids)}; {lanes}"


def arrivals(*receivers: Sandbox) -> Counter[str]:
    """How often each MessageID came to them."""
    return Counter(str(one.message_id) for receiver in receivers for one in receiver.received)


async def as_time_passes(exchange: Exchange, done: Callable[[], bool], *, step: timedelta, within: timedelta) -> None:
    """Moves the clock on, until done. Raises TimeoutError when it is not after so long by that clock."""
    assert isinstance(exchange.clock, MovedClock)
    last = exchange.clock.ahead + within
    while not done():
        if exchange.clock.ahead > last:
            raise TimeoutError
        exchange.clock.ahead += step
        await asyncio.sleep(0.05)
