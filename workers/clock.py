"""Our clock: the only one that decisions go by."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


class Clock:
    """The time now; a test or the demo may pass one that runs ahead."""

    def now(self) -> datetime:
        """UTC, with its time zone."""
        return datetime.now(UTC)

    def now_us(self) -> int:
        """The same as microseconds since 1970."""
        return micros(self.now())


def micros(moment: datetime) -> int:
    """Microseconds since 1970 UTC, as the store keeps times."""
    return (moment - _EPOCH) // _MICROSECOND


def moment(us: int) -> datetime:
    """The reverse of `micros`."""
    return _EPOCH + timedelta(microseconds=us)
