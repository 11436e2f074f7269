"""What the timetable does that is about the outside world: revocation lists, the broker, files, and another register."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial

from adapters.assembly import Assembly
from adapters.credentials import ours
from adapters.crls import CrlFetcher
from adapters.osr_register import OsrRegister
from adapters.osr_watch import Watch
from adapters.passwords import reseal
from adapters.portal_keys import PortalKeys
from adapters.second_opinions import SecondOpinions
from adapters.vault import read_master_key
from broker_config.settings import Settings
from routing.register import Register
from routing.rollover import RollOver
from routing.warning_rules import OwnCertificate

#: Its name, every how many seconds, and what is done.
Chore = tuple[str, float, Callable[[], Awaitable[None]]]


def chores(its: Assembly, register: Callable[[], Register], other: OsrRegister | None) -> list[Chore]:
    """Each of them. SIGHUP asks for revocation lists. `other`: the register that is asked besides ours, or instead."""
    crls, keeper = CrlFetcher.of(its.settings, its.store.registry), its.keeper
    its.on_hangup.append(crls.ask)
    found: list[Chore] = [
        ("crls", 60, crls.fetch_due),
        ("crl files", 2, crls.follow),
        ("topology", 2, keeper.follow_register),
        ("second opinion", 600, SecondOpinions(its.store, its.vault).ask),
        ("accounts", 60, partial(asyncio.to_thread, _catch_up, its)),
        ("log", 2, partial(asyncio.to_thread, its.store.database.tidy_log)),
    ]
    if other is not None:
        watch = Watch(other, its.store.registry, register, its.now, key=its.settings.osr_key is not None)
        found.append(("other register", 30, watch.act))
    return found


def _catch_up(its: Assembly) -> None:
    """Makes what a version before left of accounts as this one has it."""
    settings, people, now_us = its.settings, its.store.people, int(its.now().timestamp() * 1e6)
    people.catch_up(now_us=now_us, one_time_until_us=now_us + settings.portal_one_time_h * 3_600_000_000)
    reseal(people, its.vault, PortalKeys.of(read_master_key(settings.master_key)))


def own_certificate(settings: Settings, state: Callable[[], RollOver]) -> Callable[[], OwnCertificate | None]:
    """Ours, as a warning may be about it; None where there is none. `state`: where the roll-over is."""
    credentials = ours(settings) if settings.key and settings.cert else None

    def own() -> OwnCertificate | None:
        if credentials is None:
            return None
        return OwnCertificate(credentials().certificate.not_valid_after_utc, followed=state().next is not None)

    return own
