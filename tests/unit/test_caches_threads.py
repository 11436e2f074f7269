"""What several threads ask at the same moment: none of them gets what another has found out to be old."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any, TypeVar

import pytest

from adapters import credentials
from adapters.credentials import Credentials, RollOverSigner
from routing.rollover import NextCertificate, RollOver, Standing
from workers import register_cache
from workers.register_cache import RegisterCache

T = TypeVar("T")


class Gate:
    """Where the first that comes by waits until it is let through."""

    def __init__(self) -> None:
        self.reached, self._open = threading.Event(), threading.Event()

    def pass_through(self, found: T) -> T:
        """`found`, for the first one later."""
        if not self.reached.is_set():
            self.reached.set()
            assert self._open.wait(30)
        return found

    def while_one_waits(self, first: Callable[[], Any], second: Callable[[], Any]) -> tuple[Any, Any]:
        """What two threads find, of which the second begins while the first waits here, and ends before it if nothing keeps it."""
        with ThreadPoolExecutor(2) as threads:
            one: Future[Any] = threads.submit(first)
            assert self.reached.wait(30)
            other: Future[Any] = threads.submit(second)
            wait([other], timeout=0.5)
            self._open.set()
            return one.result(30), other.result(30)


class Book:
    """The newest register is of `version`, and empty; whoever looks first waits at one of the two gates."""

    def __init__(self) -> None:
        self.version = 1
        self.at_version, self.at_rows = Gate(), Gate()
        self.at_version.reached.set()
        self.at_rows.reached.set()

    def followed(self) -> None:
        return None

    def newest(self) -> int:
        return self.at_version.pass_through(self.version)

    def changed(self, since: int, upto: int, limit: int | None = None) -> list[Any]:
        return []

    def rows(self, *_: Any, **__: Any) -> list[Any]:
        return self.at_rows.pass_through([])


@pytest.fixture(autouse=True)
def seldom(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever did not look has what was found before."""
    monkeypatch.setattr(register_cache, "LOOK_EVERY_S", 3_600.0)
    monkeypatch.setattr(credentials, "LOOK_EVERY_S", 3_600.0)


def newer(book: Book, cache: RegisterCache) -> Callable[[], int]:
    """Somebody changes the register, and asks for the newest one."""

    def act() -> int:
        book.version = 2
        return cache.newest().version

    return act


def test_a_register_is_not_replaced_by_an_older_one_that_took_longer_to_read() -> None:
    book = Book()
    cache = RegisterCache(book)  # type: ignore[arg-type]
    book.at_rows = Gate()
    assert book.at_rows.while_one_waits(lambda: cache().version, newer(book, cache)) == (1, 2)
    assert cache().version == 2


def test_whoever_asks_for_the_newest_register_gets_it_while_another_just_looked() -> None:
    book = Book()
    cache = RegisterCache(book)  # type: ignore[arg-type]
    book.at_version = Gate()
    assert book.at_version.while_one_waits(lambda: cache().version, newer(book, cache)) == (1, 2)


def test_two_that_sign_when_a_receiver_was_just_switched_both_use_the_next_certificate(monkeypatch: pytest.MonkeyPatch) -> None:
    gate = Gate()
    system, now = "00000003272448340000", datetime.now(UTC)
    following = NextCertificate(
        pem="", sha256="bb", cert="next.crt", key="next.key", not_before_us=0, from_us=0, published_us=0, published_by="operator x"
    )
    switched = RollOver(next=following, parties={system: Standing(switched_us=1)})
    ours: dict[str, Any] = {name: SimpleNamespace(signer=name) for name in ("current", "next")}
    monkeypatch.setattr(credentials, "_published", lambda _: lambda: ours["next"])
    current: Callable[[], Credentials] = lambda: ours["current"]  # noqa: E731
    signer_for = RollOverSigner(current, lambda: gate.pass_through(switched))
    sign = lambda: signer_for(system, now)  # noqa: E731
    assert gate.while_one_waits(sign, sign) == ("next", "next")
