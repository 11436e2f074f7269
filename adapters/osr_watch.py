"""How the other register is, for whoever looks: asked every half minute by one process, and kept in the store."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Collection, Mapping
from datetime import datetime
from typing import Any, Final, Protocol
from urllib.parse import urlsplit

from adapters.credentials import ours
from adapters.endpoints import context_of
from adapters.errors import UsageError
from adapters.osr_client import OsrClient, OsrError, OsrRefused
from adapters.osr_register import OsrRegister
from broker_config.settings import Settings
from routing.amsterdam import amsterdam_day
from routing.register import Register

#: Of the store's single values.
NOTE: Final = "register_asked"


class Notes(Protocol):
    """The store's single values. Both raise StoreUnavailable."""

    def note(self, name: str) -> str | None: ...

    def set_note(self, name: str, value: str) -> None: ...


def asked_register(
    settings: Settings, now: Callable[[], datetime], heard: Callable[[str], None] = lambda outcome: None
) -> OsrRegister | None:
    """The other register of the settings; None where ours alone decides. `heard`: as OsrRegister. Raises UsageError without its address, or
    our certificate."""
    if settings.register_source == "own":
        return None
    if not settings.osr_url:
        raise UsageError("KOPPELPUNT_REGISTER_SOURCE needs the other register's address: set KOPPELPUNT_OSR_URL, or make it own.")
    url, credentials = settings.osr_url, ours(settings, context_of)

    def make() -> OsrClient:
        return OsrClient(url, lambda: credentials().context, key=settings.osr_key, per_minute=settings.osr_per_minute)

    parts = urlsplit(url)
    name = f"{parts.hostname}:{parts.port}" if parts.port else str(parts.hostname)
    return OsrRegister(make, name, now, keep_s=settings.osr_keep_s, heard=heard)


class Watch:
    """Asks for the versions of diensten it knows, and, where we have an API key, whether that counts."""

    def __init__(
        self, other: OsrRegister, notes: Notes, register: Callable[[], Register], now: Callable[[], datetime], *, key: bool
    ) -> None:
        self._other, self._notes, self._register, self._now, self._key = other, notes, register, now, key

    async def act(self) -> None:
        """Once. Raises StoreUnavailable."""
        before = standing(self._notes) or {}
        register, now_us = self._register(), int(self._now().timestamp() * 1e6)
        found: dict[str, Any] = {"register": self._other.name, "looked_us": now_us, "trouble": None, "key": None, "missing": []}
        try:
            found |= {"answered_us": now_us, "missing": await self._missing(register)}
            if self._key:
                found["key"] = await self._key_counts(register)
        except OsrError as error:
            same = before.get("register") == self._other.name
            found |= {"answered_us": before.get("answered_us") if same else None, "trouble": str(error)}
        await asyncio.to_thread(self._notes.set_note, NOTE, json.dumps(found))

    async def _missing(self, register: Register) -> list[str]:
        """Namespaces of ours that it does not know: nothing can be asked about those."""
        rows = await asyncio.wrap_future(self._other.call(lambda client: client.service_versions()))
        known = {row.get("namespace") for row in rows}
        today = amsterdam_day(self._now())
        return sorted(row.namespace for row in register.diensten.values() if row.covers(today) and row.namespace not in known)

    async def _key_counts(self, register: Register) -> str:
        codes: Collection[str] = sorted({row.dienst for row in register.diensten.values()})
        code = next(iter(codes), "")
        try:
            await asyncio.wrap_future(self._other.call(lambda client: client.school_mandates(code), tells=False))
        except OsrRefused as refused:
            return str(refused)
        return "counts"


def standing(notes: Notes) -> Mapping[str, Any] | None:
    """How it was at the last look; None: nobody looked. Raises StoreUnavailable."""
    text = notes.note(NOTE)
    found: Mapping[str, Any] | None = json.loads(text) if text else None
    return found


def shown(settings: Settings, notes: Notes) -> Mapping[str, Any] | None:
    """The same with which register it is; None where ours alone decides."""
    if settings.register_source == "own":
        return None
    return {"source": settings.register_source, "url": settings.osr_url, **(standing(notes) or {})}
