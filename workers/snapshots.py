"""The timetable's work on register snapshots: signs ours for whoever follows us, and takes over that of the register we follow."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime, timedelta
from functools import partial
from typing import Any, Protocol

from broker_config.settings import Settings
from routing.following import Followed, Made
from routing.register_book import RegisterBook
from workers.clock import Clock, micros
from workers.commands import WrongArgument
from workers.tables import say

log = logging.getLogger("koppelpunt.timetable")


class Shelf(Protocol):
    """Where snapshots are kept. All raise StoreUnavailable."""

    def made(self) -> Made | None: ...

    def put(self, made: Made, raw: bytes) -> None: ...

    def stop_following(self) -> None: ...


class Snapshot(Protocol):
    """One that was verified."""

    @property
    def issuer(self) -> str: ...

    @property
    def version(self) -> int: ...

    @property
    def valid_until(self) -> datetime: ...

    @property
    def document(self) -> Mapping[str, Any]: ...


#: Document, version and moment -> the signed bytes.
Make = Callable[[Mapping[str, Any], int, datetime], bytes]


class Publishing:
    """Signs a snapshot when the register changed, and again when half of its time is over."""

    def __init__(
        self,
        book: RegisterBook,
        shelf: Shelf,
        make: Make,
        clock: Clock,
        *,
        valid_for: timedelta,
    ) -> None:
        self._book, self._shelf, self._make, self._clock, self._valid_for = book, shelf, make, clock, valid_for

    async def act(self) -> None:
        """In a thread: a national register is a hundred megabytes. Raises StoreUnavailable."""
        await asyncio.to_thread(self._act)

    def _act(self) -> None:
        newest, now, known = self._book.newest(), self._clock.now(), self._shelf.made()
        if self._book.followed() is not None:  # another's register is not ours to sign
            return
        if not newest or (known is not None and known.version == newest and micros(now + self._valid_for / 2) < known.until_us):
            return
        raw = self._make(self._book.document(newest), newest, now)
        self._shelf.put(Made(newest, micros(now), micros(now + self._valid_for)), raw)
        log.info("register_snapshot_made", extra={"version": newest, "bytes": len(raw)})


class Follower:
    """Fetches the other register's snapshot, and makes ours the same. Until a snapshot's time is over its copy goes on being used."""

    def __init__(
        self,
        book: RegisterBook,
        clock: Clock,
        *,
        actor: str,
        issuer: str,
        fetch: Callable[[str | None], Awaitable[tuple[bytes, str] | None]],
        read: Callable[[bytes, int, datetime], Snapshot],
    ) -> None:
        """`issuer`: OIN of whose register it is. `fetch`: the mark of what we have -> bytes and their mark, or None when there is nothing
        else; raises OSError. `read`: bytes, least version, moment -> what was verified; raises ValueError."""
        self._book, self._clock, self._actor, self._issuer = book, clock, actor, issuer
        self._fetch, self._read = fetch, read

    async def act(self) -> None:
        """Looks once. What goes wrong is logged: the next look may go well. Raises StoreUnavailable."""
        known = await asyncio.to_thread(self._book.followed)
        try:
            if known is None and await asyncio.to_thread(self._book.newest) > 0:
                raise ValueError("the register here is one of its own; run register follow to put the other one in its place")
            await self.take_over(known)
        except (OSError, ValueError) as error:
            until_us = known.valid_until_us if known else None
            log.error("register_not_followed", extra={"error": str(error), "valid_until_us": until_us})

    async def take_over(self, known: Followed | None) -> bool:
        """Fetches, and makes the register here the same, whatever it was; False when there is nothing else than what is known. Raises
        OSError, ValueError and StoreUnavailable."""
        if known is not None and known.issuer != self._issuer:  # its versions and marks say nothing of this one's
            known = None
        fetched = await self._fetch(known.mark if known else None)
        if fetched is None:
            return False
        await asyncio.to_thread(self._take_over, *fetched, known)
        return True

    def _take_over(self, raw: bytes, mark: str, known: Followed | None) -> None:
        now = self._clock.now()
        found = self._read(raw, known.version if known else 0, now)
        why = f"snapshot of the register of {found.issuer}, version {found.version}"

        def followed(ours: int) -> Followed:
            return Followed(
                issuer=found.issuer,
                version=found.version,
                ours=ours,
                mark=mark,
                fetched_us=micros(now),
                valid_until_us=micros(found.valid_until),
            )

        ours = self._book.save(found.document, who=self._actor, why=why, now_us=micros(now), followed=followed)
        log.info("register_followed", extra={"issuer": found.issuer, "version": found.version, "register_version": ours})


def chore(
    settings: Settings,
    book: RegisterBook,
    shelf: Shelf,
    clock: Clock,
    *,
    follower: Callable[[], Follower],
    maker: Callable[[Settings], Make],
) -> Callable[[], Awaitable[None]]:
    """The timetable's: follows another register, or signs snapshots of ours with what `maker` makes, or neither. Raises UsageError for
    settings that say half of it."""
    if settings.follow_url or settings.follow_oin:
        return follower().act
    if not settings.snapshot_hours:
        return partial(look_whether_followed, book)
    publishing = Publishing(book, shelf, maker(settings), clock, valid_for=timedelta(hours=settings.snapshot_hours))

    async def act() -> None:
        await look_whether_followed(book)
        await publishing.act()

    return act


async def look_whether_followed(book: RegisterBook) -> None:
    """For a hub that is not told to follow: a copy that is left keeps its time until somebody says that it is ours. Raises
    StoreUnavailable."""
    followed = await asyncio.to_thread(book.followed)
    if followed is not None:
        whose = f"the register here is a copy of that of {followed.issuer}"
        error = f"KOPPELPUNT_FOLLOW_URL is not set, and {whose}: set it, or run register unfollow"
        log.error("register_not_followed", extra={"error": error, "valid_until_us": followed.valid_until_us})


async def follow_now(follower: Follower, book: RegisterBook) -> int:
    """The command `register follow`. Raises OSError, and WrongArgument for a snapshot that is refused."""
    try:
        await follower.take_over(book.followed())
    except ValueError as error:
        raise WrongArgument(f"Nothing was changed: {error}.") from None
    followed = book.followed()
    assert followed is not None, "it was taken over"
    say(f"The register here is version {followed.version} of that of {followed.issuer}, and follows it from now on.")
    return 0


def unfollow(book: RegisterBook, shelf: Shelf) -> int:
    """The command `register unfollow`. Raises WrongArgument when nothing is followed."""
    followed = book.followed()
    if followed is None:
        raise WrongArgument("The register here follows no other one.")
    shelf.stop_following()
    say(f"The copy of the register of {followed.issuer} is our own from now on, and does not expire.")
    return 0
