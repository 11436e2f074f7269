"""Another register that ours is a copy of: where its snapshots are fetched, and who must have signed them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime

from adapters import snapshot
from adapters.crls import FollowingVerifier
from adapters.endpoints import context_of
from adapters.errors import UsageError
from adapters.snapshot_http import SnapshotSource
from adapters.store.registry import Registry
from broker_config.settings import Settings


@dataclass(frozen=True, slots=True, kw_only=True)
class OtherRegister:
    """What `workers.snapshots.Follower` needs of it."""

    issuer: str  #: OIN of whoever keeps it
    fetch: Callable[[str | None], Awaitable[tuple[bytes, str] | None]]  #: as `SnapshotSource.fetch`
    read: Callable[[bytes, int, datetime], snapshot.Snapshot]  #: as `snapshot.read`: the bytes, the least version, the moment


def other_register(settings: Settings, registry: Registry) -> OtherRegister:
    """The register of the settings. Raises UsageError without its address, or without the OIN of whoever keeps it."""
    if not settings.follow_url or not settings.follow_oin:
        raise UsageError(
            "Set KOPPELPUNT_FOLLOW_URL to the other register's snapshots, and KOPPELPUNT_FOLLOW_OIN to the OIN of whoever signs them."
        )
    check, issuer = FollowingVerifier.for_amqp(settings, registry).certificate, settings.follow_oin

    def read(raw: bytes, at_least: int, now: datetime) -> snapshot.Snapshot:
        return snapshot.read(raw, check=check, issuer=issuer, now=now, at_least=at_least)

    return OtherRegister(issuer=issuer, fetch=SnapshotSource(settings.follow_url, lambda: context_of(settings)).fetch, read=read)
