"""The adapters of one worker's process: made from its settings, and closed together.

What only some workers need is imported where it is made: each process loads what it uses.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from functools import cached_property
from ssl import SSLContext
from typing import Any, Self

from adapters.broker_keeper import Keeper, followed_systems
from adapters.checks import broker_answers
from adapters.credentials import Credentials, RollOverSigner, ours
from adapters.crls import FollowingVerifier
from adapters.forwarding import Forwarding
from adapters.home import amqp_urls
from adapters.metrics import Working
from adapters.operations import Operations
from adapters.portal_keys import PortalKeys
from adapters.rabbit import Consumer, Publisher
from adapters.reloading import Following, keep_looking, look_again
from adapters.store import Store
from adapters.vault import open_vault
from broker_config.settings import Settings
from routing.contacts import Channel
from routing.register import Register
from routing.tellings import Sender
from schemas.contracts import Contracts, load_contracts


class Surroundings:
    """What every worker's process has. As a context manager it closes all of it, the store too."""

    def __init__(self, settings: Settings, store: Store, worker: Working, now: Callable[[], datetime]) -> None:
        self.settings, self.store, self.now = settings, store, now
        self.operations = Operations(settings, store, worker, now=now)
        self.closing: list[Any] = []  #: what has a `close`, in the order in which that is called
        self.on_hangup: list[Callable[[], None]] = [look_again]  #: what is done on SIGHUP
        self._name = worker.id

    async def __aenter__(self) -> Self:
        self._look_no_more = keep_looking(self._name)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._look_no_more()
        self.operations.close()
        await self.close()

    async def close(self) -> None:
        """Lets go of everything that was made here, and of the store."""
        for one in self.closing:
            await one.close()
        self.store.close()

    def hang_up(self) -> None:
        """SIGHUP came."""
        for act in self.on_hangup:
            act()

    @cached_property
    def contracts(self) -> Contracts:
        """Every dienst of the settings."""
        return load_contracts(*self.settings.diensten)


class PortalAssembly(Surroundings):
    """The portal's: what people reach has neither the key that opens messages nor a way to the broker."""

    def __init__(self, settings: Settings, store: Store, worker: Working, now: Callable[[], datetime]) -> None:
        """Raises VaultError without the portal's keys."""
        super().__init__(settings, store, worker, now)
        self.keys = PortalKeys.read(settings.portal_secrets)


class Assembly(Surroundings):
    """That of every worker that handles messages."""

    def __init__(
        self,
        settings: Settings,
        store: Store,
        worker: Working,
        register: Callable[[], Register],
        now: Callable[[], datetime],
        *,
        publisher: Publisher | None = None,
    ) -> None:
        """Raises VaultError first of all: without the master key nothing may be taken in."""
        self.vault = open_vault(settings.master_key)
        super().__init__(settings, store, worker, now)
        self.amqp, self.management = amqp_urls(settings)
        self.publisher = publisher or Publisher(self.amqp)
        self.operations.connections.append(self.publisher)
        self._broker, self._register = broker_answers(self.operations.connections), register
        self._consumers: list[Consumer] = []

    async def close(self) -> None:
        """As `Surroundings`."""
        for consumer in self._consumers:
            await consumer.close()
        self.closing.append(self.publisher)
        await super().close()

    def broker_away(self) -> bool:
        """Whether one of the connections is lost, or takes no messages now."""
        return self._broker() is not None

    def channels(self) -> dict[Channel, Sender]:
        """How contacts are told."""
        from adapters.telling import senders

        made = senders(self.settings, self.vault)
        self.closing += made.values()
        return made

    def passes_through(self, action: str) -> bool:
        """Whether a message with this wsa:Action names its final receiver."""
        return self.contracts.kind(action).passes_through

    def consumer(self, *queues: str, prefetch: int, **more: Any) -> Consumer:
        """A consumer with a connection of its own."""
        made = Consumer(self.amqp, queues, prefetch=prefetch, **more)
        self._consumers.append(made)
        self.operations.connections.append(made)
        return made

    def systems(self) -> list[str]:
        """OINs of the systems that connect over AMQP, as the register has them now, and of those that left something to be handled."""
        return followed_systems(self._register(), self.store.registry)

    @property
    def keeper(self) -> Keeper:
        """What looks after the broker as a whole."""
        return Keeper(self.settings, self.store.registry, self._register, self.amqp, self.management)

    def credentials(self, context_of: Callable[[Settings], SSLContext] | None = None) -> Following[Credentials]:
        """Our key and certificate, and for a TLS side `context_of`; its operator sees how long they are good for. Raises UsageError."""
        found = ours(self.settings, context_of)
        self.operations.watch_certificate(lambda: found().certificate)
        return found

    @property
    def amqp_verifier(self) -> FollowingVerifier:
        """What judges hand-ins over AMQP."""
        return FollowingVerifier.for_amqp(self.settings, self.store.registry)

    @property
    def forwarder(self) -> Forwarding:
        """For a worker that signs, and speaks no TLS with our certificate."""
        return self.forwarding(self.credentials())

    def forwarding(self, credentials: Following[Credentials]) -> Forwarding:
        """What puts messages into our own envelopes, signed with the certificate that is used towards each receiver."""
        return Forwarding(RollOverSigner(credentials, self.store.certificates.read))
