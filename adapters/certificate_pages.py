"""`GET /certificates`: the certificate we sign and connect with, and the one that is to follow it, for receivers that register them."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Iterable
from typing import Any

from aiohttp import web

from adapters.credentials import LOOK_EVERY_S, Credentials, published
from adapters.problem import COME_AGAIN_S
from routing.rollover import RollOver
from routing.work import StoreUnavailable


class CertificatePages:
    """Public: certificates are no secret, and whoever must register the next one may have none of ours yet."""

    def __init__(self, current: Callable[[], Credentials], state: Callable[[], RollOver]) -> None:
        """`state`: reads where the roll-over is. Raises StoreUnavailable."""
        self._current, self._state = current, state
        self._shown: dict[str, Any] | None = None
        self._look_at = 0.0
        self._looking: asyncio.Task[None] | None = None

    def routes(self) -> Iterable[web.RouteDef]:
        """See `https.Pages`."""
        return (web.get("/certificates", self._show),)

    async def _show(self, _: web.Request) -> web.Response:
        due = time.monotonic() >= self._look_at
        if due and (self._looking is None or self._looking.done()):  # whoever asks a thousand times asks the store once
            self._looking = asyncio.create_task(self._look())
        if self._looking is not None and (due or self._shown is None):
            await asyncio.shield(self._looking)  # others wait for it too
        if self._shown is None:  # nobody knows yet whether there is a next one
            return web.Response(status=503, headers={"Retry-After": str(COME_AGAIN_S)}, text="Ask again in a moment.\n")
        return web.Response(body=json.dumps(self._shown).encode(), content_type="application/json")

    async def _look(self) -> None:
        try:
            self._shown = published(self._current(), await asyncio.to_thread(self._state))
            self._look_at = time.monotonic() + LOOK_EVERY_S
        except StoreUnavailable:  # what was known stays; whoever is asked to come again then finds out
            self._look_at = time.monotonic() + COME_AGAIN_S / 2
