"""Metrics in Prometheus' text format. What a process counted itself, and (where asked) figures about the whole store.

No label holds anything of a message: codes, states, systems (OINs from certificates that a CA of ours signed) and names of ours.
"""

from __future__ import annotations

import threading
import time
from collections import Counter as Tally
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any, Final, Protocol

from cryptography import x509
from prometheus_client import CollectorRegistry, Counter, Histogram, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from adapters import reloading, timekeeping
from adapters.osr_watch import standing as standing_of
from adapters.store import Store
from adapters.store.database import StoreRefused
from broker_config.settings import mask
from routing.work import StoreUnavailable

#: Seconds for which figures about the store hold, however often they are asked for.
FIGURES_HOLD_S: Final = 10.0
#: Seconds. A receipt usually takes some milliseconds; a sender is kept waiting for ten seconds at most.
_TIMES_S: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20)
#: A worker is dead when it was not heard of for so many seconds.
_ALIVE_S: Final = 15.0


class Working(Protocol):
    """The worker whose metrics these are."""

    @property
    def name(self) -> str: ...

    @property
    def id(self) -> str: ...

    @property
    def state(self) -> str: ...

    @property
    def handled(self) -> int: ...

    @property
    def in_hand(self) -> int: ...

    @property
    def counts(self) -> Mapping[tuple[str, ...], int]: ...

    @property
    def turned_at(self) -> float: ...

    @property
    def stopping(self) -> bool: ...


class Requests:
    """What the gateway counts as it answers."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._count = Counter("koppelpunt_requests", "Requests answered by the gateway.", ("system", "status", "code"), registry=registry)
        self._seconds = Histogram(
            "koppelpunt_request_seconds", "Seconds from a request's headers to its answer.", buckets=_TIMES_S, registry=registry
        )

    def __call__(self, system: str | None, status: int, code: str | None, seconds: float) -> None:
        """One more. `system`: None without a certificate; `code`: None for what was accepted."""
        self._count.labels(system or "", str(status), code or "").inc()
        self._seconds.observe(seconds)


class Pages:
    """What the portal counts as it answers."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._count = Counter("koppelpunt_portal_requests", "Requests answered by the portal.", ("status",), registry=registry)
        self._seconds = Histogram(
            "koppelpunt_portal_request_seconds", "Seconds that an answer of the portal takes.", buckets=_TIMES_S, registry=registry
        )

    def __call__(self, status: int, seconds: float) -> None:
        """One more."""
        self._count.labels(str(status)).inc()
        self._seconds.observe(seconds)


class OfProcess(Collector):
    """What one worker process says of itself."""

    def __init__(self, worker: Working, store: Store, own: Callable[[], x509.Certificate | None]) -> None:
        self._worker, self._store, self._own = worker, store, own

    def collect(self) -> Iterator[Metric]:
        """Read when somebody asks."""
        worker = self._worker
        info = GaugeMetricFamily("koppelpunt_worker", "1; which worker this is, and how it is.", labels=("worker", "id", "state"))
        info.add_metric((worker.name, worker.id, worker.state), 1)
        yield info
        yield CounterMetricFamily("koppelpunt_handled", "What the worker has handled since it began.", worker.handled)
        yield GaugeMetricFamily("koppelpunt_in_hand", "Messages taken and not finished.", worker.in_hand)
        yield GaugeMetricFamily(
            "koppelpunt_loop_idle_seconds", "Since the event loop last turned; one or two is usual.", time.monotonic() - worker.turned_at
        )
        hand_ins = CounterMetricFamily("koppelpunt_hand_ins", "Hand-ins answered, by channel and code.", labels=("via", "code"))
        deliveries = CounterMetricFamily("koppelpunt_delivery_attempts", "Attempts to deliver, by what they came to.", labels=("outcome",))
        tellings = CounterMetricFamily(
            "koppelpunt_tellings", "Tries to send a mail or webhook, by what they came to.", labels=("channel", "outcome")
        )
        asked = CounterMetricFamily(
            "koppelpunt_register_asked", "Questions to the other register, by what they came to.", labels=("outcome",)
        )
        families = {"hand_in": hand_ins, "delivery": deliveries, "telling": tellings, "asked": asked}
        for (what, *labels), count in Tally(worker.counts).items():
            families[what].add_metric(labels, count)
        yield from families.values()
        if (own := self._own()) is not None:
            left = (own.not_valid_after_utc - datetime.now(UTC)).total_seconds()
            yield GaugeMetricFamily("koppelpunt_own_certificate_left_seconds", "Until our certificate in use here ends.", left)
        refused = GaugeMetricFamily("koppelpunt_files_refused", "1 for replaced files that cannot be used.", labels=("what",))
        for name, _ in reloading.refused():
            refused.add_metric((name,), 1)
        yield refused
        yield from self._clock()

    def _clock(self) -> Iterator[Metric]:
        offset = GaugeMetricFamily("koppelpunt_clock_offset_seconds", "How far our clock runs ahead.", labels=("against",))
        kernel = timekeeping.kernel_offset()
        if kernel is not None:
            offset.add_metric(("kernel",), kernel.seconds)
        try:
            if (server := timekeeping.store_offset(self._store.database)) is not None:
                offset.add_metric(("store",), server.seconds)
        except (StoreUnavailable, StoreRefused):
            pass
        yield offset
        yield GaugeMetricFamily(
            "koppelpunt_clock_kept", "Whether the kernel says that a time service keeps the clock right.", kernel is not None
        )


class OfStore(Collector):
    """What is true of all processes together. Nothing of it is shown while the store is away, except that it is."""

    def __init__(self, store: Store, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._store, self._now = store, now
        self._turn = threading.Lock()
        self._known: list[Metric] = []
        self._known_at = float("-inf")

    def describe(self) -> list[Metric]:
        """Nothing is read when this is registered."""
        return []

    def collect(self) -> Iterator[Metric]:
        """At most ten seconds old."""
        with self._turn:
            if time.monotonic() - self._known_at >= FIGURES_HOLD_S:
                try:
                    self._known = [GaugeMetricFamily("koppelpunt_store_up", "Whether the store can be read.", 1), *self._read()]
                except (StoreUnavailable, StoreRefused):
                    self._known = [GaugeMetricFamily("koppelpunt_store_up", "Whether the store can be read.", 0)]
                self._known_at = time.monotonic()
            yield from self._known

    def _read(self) -> Iterator[Metric]:
        figures, now_us = self._store.figures(), int(self._now().timestamp() * 1e6)

        def gauge(name: str, about: str, values: Mapping[Any, float], *labels: str) -> Metric:
            family = GaugeMetricFamily(f"koppelpunt_{name}", about, labels=labels)
            for key, value in values.items():
                family.add_metric(key, value)
            return family

        def ages(us: int) -> float:
            return max(0.0, (now_us - us) / 1e6)

        yield gauge("outbox_depth", "Messages and deliveries that have not left.", {(): figures.depth})
        yield gauge("messages_unrouted", "Messages whose receivers are still to be decided.", {(): figures.unrouted})
        yield gauge("deliveries", "Deliveries, by state.", {(state,): n for state, n in figures.deliveries.items()}, "state")
        yield gauge("deliveries_waiting", "Deliveries that wait, by what for and whose turn it is.", figures.waiting, "code", "owner")
        yield gauge(
            "lanes", "Endpoints and mailboxes that have deliveries, by state.", {(s,): n for s, n in figures.lanes.items()}, "state"
        )
        yield gauge("breakers", "Endpoints, by state of their circuit breaker.", {(s,): n for s, n in figures.breakers.items()}, "state")
        oldest = ages(figures.oldest_us) if figures.oldest_us else 0.0
        yield gauge("oldest_waiting_seconds", "Since the hand-in of the oldest message that may leave.", {(): oldest})
        yield gauge("failures", "What fell out, ever, by code and owner.", figures.failures, "code", "owner")
        yield gauge("journal_unchained", "Events that the journal does not bind yet.", {(): figures.unchained})
        yield gauge("outcomes_untold", "Outcomes that a sender is still to be told.", {(): figures.untold})
        if loaded := self._store.registry.register_age():
            yield gauge("register_version", "The newest version of the service register.", {(): loaded[0]})
            yield gauge("register_age_seconds", "Since it was loaded.", {(): ages(loaded[1])})
        standing = {(kind,): count for kind, count in self._store.warnings.counts().items()}
        yield gauge("warnings", "What will break unless somebody acts, by kind.", standing, "kind")
        told = self._store.alerts.figures()
        yield gauge("alerts", "Alerts that are not over.", told.alerts, "kind", "state")
        yield gauge("tellings_waiting", "Mails and webhooks that are to be sent.", {(): told.waiting})
        yield gauge("tellings_failing", "Those of them that were tried, and not taken yet.", {(): told.failing})
        other = standing_of(self._store.registry) or {}
        yield gauge("register_away", "Whether the other register did not answer.", {(): bool(other.get("trouble"))} if other else {})
        answered = {(): ages(int(other["answered_us"]))} if other.get("answered_us") else {}
        yield gauge("register_answered_age_seconds", "Since the other register answered.", answered)
        crls = self._store.registry.crl_times()
        yield gauge("crl_age_seconds", "Since a CRL was fetched.", {(mask(c.source),): ages(c.fetched_us) for c in crls}, "source")
        left = {(mask(c.source),): (c.next_update_us - now_us) / 1e6 for c in crls}
        yield gauge("crl_left_seconds", "Until a CRL expires.", left, "source")
        alive = Tally((w["name"],) for w in self._store.registry.workers() if ages(w["seen_us"]) < _ALIVE_S)
        yield gauge("workers", "Worker processes that were heard of in the last 15 s.", alive, "worker")


def registry_of(worker: Working, store: Store, *, own: Callable[[], x509.Certificate | None], store_wide: bool) -> CollectorRegistry:
    """What one process shows. `own`: the certificate of ours that it uses, if any."""
    registry = CollectorRegistry(auto_describe=False)
    ProcessCollector(registry=registry)
    registry.register(OfProcess(worker, store, own))
    if store_wide:
        registry.register(OfStore(store))
    return registry
