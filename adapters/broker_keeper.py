"""The broker as a whole: its topology follows the service register, and its epoch tells whether it was wiped (rule 1)."""

from __future__ import annotations

import asyncio
import json
import logging
import secrets
import time
import uuid
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Final

from adapters.errors import UsageError
from adapters.rabbit import Inspector, get_all, put
from adapters.rabbit_admin import AdminError, BrokerAdmin
from broker_config.settings import Settings
from broker_config.topology import EPOCH, Definitions, Party, backbone_of, password_hash, renewable, topology, vhost_of
from routing.amsterdam import amsterdam_day
from routing.ports import BrokerUnavailable, Registry
from routing.register import Register, Standing

log = logging.getLogger("koppelpunt.broker")

#: Notes in the store that hold a party's password hash, so that any process can apply the topology again after a wipe.
_NOTE: Final = "amqp:"
#: Seconds until hand-in queues that could not be replaced, because they were not empty, are looked at again.
_AGAIN_S: Final = 60
#: How long whoever applies the topology keeps others from doing so, when it dies in the middle; applying takes a second, and replacing
#: queues some five.
_ALONE_S: Final = 20.0
#: Note in the store with the systems that left and of which queues still stand, so that every worker goes on emptying those.
_DEPARTED: Final = "departed"


def password_file(home: Path, oin: str) -> Path:
    """Where the first password of a party is put for the operator to hand over; readable by its owner only."""
    return home / "parties" / f"{oin}.password"


class Keeper:
    """Applies the topology and keeps the epoch, through AMQP and the management interface."""

    def __init__(self, settings: Settings, registry: Registry, register: Callable[[], Register], amqp: str, management: str | None) -> None:
        self._settings, self._registry, self._register, self._amqp, self._management = settings, registry, register, amqp, management
        self._vhost = vhost_of(amqp)  # where the workers connect, the topology must be
        self._applied: tuple[int, date] | None = None  # register version and day
        self._again_at = float("inf")  # when to look whether hand-in queues of an earlier version have become empty

    def wanted(self, register: Register) -> Definitions:
        """What the broker must look like for this register. A party without a password gets one."""
        parties = [self._party(oin) for oin in amqp_systems(register, _today())]
        return topology(parties, vhost=self._vhost, backbone=backbone_of(self._amqp))

    def _party(self, oin: str) -> Party:
        hashed = self._registry.note(_NOTE + oin)
        if hashed is None:
            password = secrets.token_urlsafe(24)
            path = password_file(self._settings.home, oin)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch(mode=0o600)
            path.write_text(password + "\n", encoding="ascii")
            hashed = password_hash(password)
            self._registry.set_note(_NOTE + oin, hashed)
        return Party(oin=oin, password_hash=hashed)

    async def apply_topology(self) -> None:
        """Makes the broker look as the register wants, and shuts out the systems that left it. Raises BrokerUnavailable."""
        if self._management is None:
            log.warning("topology_not_applied", extra={"why": "KOPPELPUNT_AMQP_MANAGEMENT is not set"})
            return
        try:
            async with self._alone(), BrokerAdmin(self._management, vhost=self._vhost) as admin:
                register, today = self._register(), _today()  # not before it was our turn: an older one would let somebody in again
                wanted = self.wanted(register)
                await admin.apply(wanted)
                if register.version:  # no register at all says nothing about anybody
                    await self._shut_out(admin, wanted)
                old = renewable(wanted, await admin.read())
        except AdminError as error:
            raise BrokerUnavailable(str(error)) from error
        self._applied = (register.version, today)
        self._again_at = time.monotonic() + _AGAIN_S if old else float("inf")
        if old:
            log.warning("queues_not_renewed", extra={"queues": old, "retry_in_s": _AGAIN_S})

    @asynccontextmanager
    async def _alone(self) -> AsyncIterator[None]:
        """One at a time: another would let a party in again whose hand-in queue is just being replaced. Raises BrokerUnavailable."""
        holder, give_up_at = f"keeper-{uuid.uuid4().hex[:8]}", time.monotonic() + 2 * _ALONE_S
        while True:
            now_us = int(time.time() * 1e6)
            held = self._registry.take_lease("topology", holder, now_us=now_us, until_us=now_us + int(_ALONE_S * 1e6))
            if held:
                break
            if time.monotonic() > give_up_at:
                raise BrokerUnavailable("Somebody else is applying the topology; try again when it is done.")
            await asyncio.sleep(0.2)
        try:
            yield
        finally:
            self._registry.give_lease(held)

    async def _shut_out(self, admin: BrokerAdmin, wanted: Definitions) -> None:
        gone, left = await admin.shut_out(wanted)
        for oin in gone:
            log.warning("party_shut_out", extra={"system": oin})
        if sorted(left) != departed_systems(self._registry):
            self._registry.set_note(_DEPARTED, json.dumps(sorted(left)))

    async def follow_register(self) -> None:
        """Applies the topology when the register has changed since the last time, on each new day, and when something was left to do.
        Raises BrokerUnavailable."""
        if (self._register().version, _today()) != self._applied or time.monotonic() >= self._again_at:
            await self.apply_topology()

    async def remove(self, oin: str, *, even_with_messages: bool = False) -> None:
        """Removes the queues a system left behind. Raises UsageError while the register still connects it, or (unless
        `even_with_messages`) while messages stand in them."""
        if oin in amqp_systems(self._register(), _today()):
            raise UsageError(f"System {oin} is connected: take it out of the register, or take amqp from its channels, then try again.")
        if self._management is None:
            raise UsageError("Set KOPPELPUNT_AMQP_MANAGEMENT to an administrator's address of the broker's management interface.")
        async with self._alone(), BrokerAdmin(self._management, vhost=self._vhost) as admin:
            try:
                await admin.remove_party(oin, even_with_messages=even_with_messages)
                await self._shut_out(admin, self.wanted(self._register()))
            except AdminError as error:
                raise UsageError(str(error)) from error

    async def differences(self) -> list[str]:
        """Sentences about where the running broker does not look as it must. Raises BrokerUnavailable."""
        if self._management is None:
            return ["KOPPELPUNT_AMQP_MANAGEMENT is not set, so the topology can be neither applied nor checked."]
        try:
            async with BrokerAdmin(self._management, vhost=self._vhost) as admin:
                return await admin.check(self.wanted(self._register()))
        except AdminError as error:
            raise BrokerUnavailable(str(error)) from error

    async def epoch(self) -> str | None:
        """The value kept in queue `epoch`; None when queue or value is not there. Raises BrokerError.

        It is put back before it is taken away, so a crash in between leaves it there twice and never not at all.
        """
        async with Inspector(self._amqp) as inspector:
            if await inspector.depth(EPOCH) is None or (found := await inspector.get(EPOCH)) is None:
                return None
            await put(self._amqp, EPOCH, [found.body])
            inspector.ack(found)
            await inspector.depth(EPOCH)
        return found.body.decode()

    async def set_epoch(self, value: str) -> None:
        """Keeps this value instead of any other. Raises BrokerError."""
        await get_all(self._amqp, EPOCH)
        await put(self._amqp, EPOCH, [value.encode()])


def amqp_systems(register: Register, day: date) -> Iterable[str]:
    """The systems that connect over AMQP. One whose first day is to come may try its connection; one whose last day is over is gone."""
    return sorted(
        oin for oin, system in register.systems.items() if "amqp" in system.channels and system.standing(day) is not Standing.ENDED
    )


def departed_systems(registry: Registry) -> list[str]:
    """Systems that left and of which queues still stand."""
    return list(json.loads(registry.note(_DEPARTED) or "[]"))


def followed_systems(register: Register, registry: Registry) -> list[str]:
    """The systems whose queues our workers empty: those that connect, and those that left something to be handled."""
    return sorted({*amqp_systems(register, _today()), *departed_systems(registry)})


def _today() -> date:
    return amsterdam_day(datetime.now(UTC))
