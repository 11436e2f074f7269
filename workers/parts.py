"""What every worker is built from: `run.py` fills it in, and each worker's module says in `tasks` what its process runs."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from typing import Any

from broker_config.settings import Settings
from routing.ports import Consumer, Publisher, Store, Vault
from workers.clock import Clock
from workers.loop import Worker
from workers.register_cache import RegisterCache

#: What a process runs beside each other, until its worker is told to stop.
Tasks = list[Coroutine[Any, Any, None]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """The parts of one process."""

    settings: Settings
    worker: Worker
    clock: Clock
    store: Store
    vault: Vault
    publisher: Publisher
    register: RegisterCache  #: ours
    asking: RegisterCache  #: as routing asks it: ours, another one too, or another one instead
    consumer: Callable[..., Consumer]  #: queues, prefetch and how -> one with a connection of its own, closed when the worker ends
    systems: Callable[[], Sequence[str]]  #: OINs of the systems whose queues are emptied
