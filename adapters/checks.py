"""Whether a process can do its work now: each check answers with the sentence that says why not, or None."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Final, Protocol

from cryptography import x509

from adapters import timekeeping
from adapters.store import Store
from adapters.store.database import StoreRefused
from adapters.store.registry import Registry
from broker_config.settings import Settings, mask
from routing.work import StoreUnavailable

Check = Callable[[], str | None]

#: Seconds for which an answer holds: whoever asks often costs nothing.
HOLDS_S: Final = 1.0
#: Seconds to wait for somebody else's look at the same things, which may hang on a store that does not answer.
PATIENCE_S: Final = 3.0


class BrokerConnection(Protocol):
    """A connection that comes back by itself."""

    problem: str | None
    blocked: str | None


class Readiness:
    """All checks of a process. Safe to ask from several threads."""

    def __init__(self, checks: Mapping[str, Check]) -> None:
        """`checks`: by the name under which a reason is shown; may still be added to by whoever passes it."""
        self._checks = checks
        self._turn = threading.Lock()
        self._reasons: dict[str, str] = {}
        self._looked_at = float("-inf")

    def __call__(self) -> dict[str, str]:
        """Name -> why not; empty: ready."""
        if not self._turn.acquire(timeout=PATIENCE_S):
            return {"store": f"the checks have been waiting for an answer for more than {PATIENCE_S:g} s"}
        try:
            if time.monotonic() - self._looked_at >= HOLDS_S:
                self._reasons = {name: why for name, check in tuple(self._checks.items()) if (why := _asked(check)) is not None}
                self._looked_at = time.monotonic()
            return self._reasons
        finally:
            self._turn.release()


def _asked(check: Check) -> str | None:
    try:
        return check()
    except (StoreUnavailable, StoreRefused) as error:
        return f"not known: {error}"


def store_answers(store: Store) -> Check:
    """Whether the store can be read."""

    def check() -> str | None:
        try:
            store.registry.register_version()
        except (StoreUnavailable, StoreRefused) as error:
            return str(error)
        return None

    return check


def register_loaded(registry: Registry) -> Check:
    """Whether there is a service register."""
    return lambda: None if registry.register_age() else "no service register was loaded yet: `run.py register load FILE`"


def broker_answers(connections: Sequence[BrokerConnection]) -> Check:
    """Whether none of these lost the broker, and it takes messages."""

    def check() -> str | None:
        for connection in connections:
            if connection.problem:
                return connection.problem
            if connection.blocked:
                return f"the broker takes no messages now ({connection.blocked})"
        return None

    return check


def crls_current(sources: Sequence[str], registry: Registry, now: Callable[[], datetime]) -> Check:
    """Whether each configured list was fetched, and has not expired: without it every hand-in is answered with Server.DK0051."""

    def check() -> str | None:
        known = {crl.source: crl.next_update_us for crl in registry.crl_times()}
        now_us = int(now().timestamp() * 1e6)
        for source in sources:
            if source not in known:
                return f"the CRL {mask(source)} was not fetched yet"
            if known[source] < now_us:
                return f"the CRL {mask(source)} expired on {datetime.fromtimestamp(known[source] / 1e6, UTC):%Y-%m-%d %H:%M} UTC"
        return None

    return check


def certificate_valid(own: Callable[[], x509.Certificate], now: Callable[[], datetime]) -> Check:
    """Whether the certificate of ours that is in use is valid today."""

    def check() -> str | None:
        certificate = own()
        if now() < certificate.not_valid_before_utc:
            return f"our certificate is not valid before {certificate.not_valid_before_utc:%Y-%m-%d %H:%M} UTC"
        if now() > certificate.not_valid_after_utc:
            return f"our certificate expired on {certificate.not_valid_after_utc:%Y-%m-%d %H:%M} UTC"
        return None

    return check


def clock_right(settings: Settings, store: Store, now: Callable[[], datetime]) -> Check:
    """Whether the clock is at most a second off, as far as the setting says it is to be known."""

    def check() -> str | None:
        if "store" in settings.clock:
            offset = timekeeping.store_offset(store.database, lambda: now().timestamp())
            if offset is not None and offset.too_much:
                return f"this clock and the database server's differ by {offset.seconds:+.2f} s"
        if "kernel" in settings.clock:
            offset = timekeeping.kernel_offset()
            if offset is None:
                return "the kernel says that no time service keeps this clock right"
            if offset.too_much:
                return f"the kernel says that this clock is {offset.seconds:+.2f} s off"
        return None

    return check
