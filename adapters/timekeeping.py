"""How far this machine's clock is off, without asking anybody outside (facts 4.2: Beveiliging calls a correct system time essential).

Two things can be known here: how we differ from the PostgreSQL server, which all machines share, and what the kernel says of itself
(Linux), which only knows while a time service (chrony, systemd-timesyncd, ntpd) keeps it right. Neither proves what time it is.
"""

from __future__ import annotations

import ctypes
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from adapters.store.database import Database
from adapters.store.sql import Sql

#: Seconds; more makes a process not ready (issue: "a clock more than 1 s off fails readiness").
MOST_OFF_S: Final = 1.0
#: Of adjtimex(2): the clock is not kept right, and its offset is in nanoseconds.
_UNSYNCHRONISED, _NANOSECONDS = 0x0040, 0x2000
_SERVER_TIME: Final = Sql("SELECT extract(epoch FROM clock_timestamp())")


@dataclass(frozen=True, slots=True)
class Offset:
    """How we differ from another clock, in seconds: positive when we run ahead. The truth lies within `give_or_take_s` of it."""

    seconds: float
    give_or_take_s: float

    @property
    def too_much(self) -> bool:
        """Whether it is certainly more than a second."""
        return abs(self.seconds) - self.give_or_take_s > MOST_OFF_S


class _Timex(ctypes.Structure):
    """`struct timex` of Linux, which the C library fills in."""

    _fields_ = (
        ("modes", ctypes.c_uint),
        *((name, ctypes.c_long) for name in ("offset", "freq", "maxerror", "esterror")),
        ("status", ctypes.c_int),
        *((name, ctypes.c_long) for name in ("constant", "precision", "tolerance", "tv_sec", "tv_usec", "tick", "ppsfreq", "jitter")),
        ("shift", ctypes.c_int),
        ("rest", ctypes.c_byte * 128),
    )


def kernel_offset() -> Offset | None:
    """What the kernel still has to correct, and its own bound on what it does not know; None when nobody keeps its clock right, or this is
    not Linux. Changes nothing."""
    timex = _Timex()  # modes 0: only read
    try:
        state = ctypes.CDLL(None, use_errno=True).adjtimex(ctypes.byref(timex))
    except AttributeError:
        return None
    if state < 0 or timex.status & _UNSYNCHRONISED:
        return None
    return Offset(timex.offset / (1e9 if timex.status & _NANOSECONDS else 1e6), timex.maxerror / 1e6)


def store_offset(database: Database, now_s: Callable[[], float] = time.time) -> Offset | None:
    """How we differ from the PostgreSQL server, give or take half the round trip; None for SQLite, whose clock is ours. Raises
    StoreUnavailable."""
    if database.is_sqlite:
        return None
    with database.read() as connection:
        _SERVER_TIME(connection)  # a connection that is made first would count as travelling
        asked = now_s()
        server = float(_SERVER_TIME(connection).scalar_one())
        answered = now_s()
    return Offset((asked + answered) / 2 - server, (answered - asked) / 2)
