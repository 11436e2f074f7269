"""Broker and store of one machine, as `up`, the demo, tests and benchmarks need them before the first worker starts."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Collection

from adapters import pki
from adapters.broker_keeper import Keeper
from adapters.crls import CrlFetcher
from adapters.home import amqp_urls
from adapters.store import Store, open_store
from broker_config.node import PrivateNode
from broker_config.settings import Settings, mask
from routing.register import Register
from routing.register_stored import read_stored


class Backbone:
    """Broker and store of one machine, made ready: node started, tables there, topology applied and checked."""

    def __init__(self, settings: Settings, *, port: int | None = None) -> None:
        """`port`: of a private node, instead of the setting; 0 draws a free one."""
        self.settings = settings
        self.node = None if settings.amqp_url else PrivateNode(settings.home, port=settings.amqp_port if port is None else port)
        self.store: Store | None = None

    async def __aenter__(self) -> Backbone:
        started = asyncio.create_task(asyncio.to_thread(self.node.start)) if self.node else None
        try:
            self.store = open_store(self.settings.store)
            if started:
                await started
            await self.apply_topology()
            await self.fetch_crls()
        except BaseException:
            if started:
                await asyncio.wait([started])
            await self.__aexit__()
            raise
        return self

    async def apply_topology(self) -> None:
        """Applies what the register wants and checks it; says so when the broker does not look as it must."""
        assert self.store is not None
        keeper = Keeper(self.settings, self.store.registry, self._register, *amqp_urls(self.settings))
        await keeper.apply_topology()
        for sentence in await keeper.differences():
            _warn(f"broker: {sentence}")

    def _register(self) -> Register:
        """The newest register; an empty one before any was loaded."""
        assert self.store is not None
        return read_stored(self.store.register, self.store.register.newest())

    async def fetch_crls(self) -> None:
        """Without CRLs no signature can be judged, so they come before the workers do."""
        assert self.store is not None
        if (self.settings.home / "pki").is_dir():
            pki.renew_crl(self.settings.home / "pki")
        await CrlFetcher.of(self.settings, self.store.registry).fetch_all()

    async def keep(self, stopped: asyncio.Event) -> None:
        """Until told to stop: starts a private node again that died, and renews the CRLs of a private PKI."""
        renew_at = 0.0
        while not stopped.is_set():
            if self.node and not self.node.is_running():
                _warn("the private broker died; it is started again.")
                await asyncio.to_thread(self.node.start)
            if (self.settings.home / "pki").is_dir() and time.monotonic() >= renew_at:
                renew_at = time.monotonic() + 12 * 3600
                await asyncio.to_thread(pki.renew_crl, self.settings.home / "pki")
            try:
                await asyncio.wait_for(stopped.wait(), 1.0)
            except TimeoutError:
                continue

    def addresses(self, workers: Collection[str]) -> str:
        """Where everything is, in lines for whoever started it."""
        settings, (amqp, management) = self.settings, amqp_urls(self.settings)
        lines = [
            f"Koppelpunt runs. home {settings.home}",
            f"  AMQP        {mask(amqp)}",
            f"  management  {mask(management or '(not known)')}",
        ]
        if "gateway" in workers:
            lines.append(f"  gateway     {settings.gateway_address}/wus/DIENST/VERSIE")
        if "portal" in workers:
            lines.append(f"  portal      {settings.portal_address}")
            if self.store is not None and not settings.oidc_issuer and not self.store.people.accounts():
                home = f" --home {settings.home}" if "KOPPELPUNT_HOME" in settings.named else ""
                lines.append(f"              nobody has an account yet: run.py account add NAME --role chain_manager{home}")
        return "\n".join([*lines, f"  trust       {settings.trust}"])

    async def __aexit__(self, *_: object) -> None:
        if self.store:
            self.store.close()
        if self.node:
            await asyncio.to_thread(self.node.stop)


def _warn(sentence: str) -> None:
    sys.stderr.write(f"koppelpunt: {sentence}\n")
